"""Accounting that loses nothing: crashes of either side and outages, against FreeRADIUS's detail file.

FreeRADIUS answers a repeated packet (same source, identifier and authenticator) from its memory without writing it again. A record that is
sent anew, because its answer was lost, is another packet with Acct-Delay-Time and else the same content: "once" below means once by
Acct-Session-Id, Acct-Status-Type and Event-Timestamp, with every further copy so marked.
"""

import contextlib
import json
import re
import select
import signal
import time
from collections import defaultdict

from harness import case, check, setup
from labkit import network
from labkit.shell import wait_until
from load_client import vigil
from sstp_client import Sstp

# Of each tunnel.
SESSIONS = 100
# How old counters may be that a killed gateway leaves behind: they are written every second.
CHECKPOINT = 1.5


@setup("accounting")
def retries(config):
    config["radius"][0] |= {"retransmit_initial": "300ms", "tries": 3, "timeout": "2s"}


@setup("accounting-on-off")
def on_and_off(config):
    config["accounting"] = {"on_off": True}


@setup("accounting-interim")
def every_minute(config):
    config["accounting"] = {"interim_interval": "1m"}


@setup("accounting-required")
def required(config):
    # A port where nobody takes accounting.
    config["radius"][0] |= {"retransmit_initial": "300ms", "tries": 2, "timeout": "2s", "accounting_port": 1899}
    config["accounting"] = {"required_within": "5s"}


def _books(world, mark):
    """The records since `mark` by session, in their order of arrival; copies are checked and left out."""
    books = defaultdict(list)
    seen = {}
    for record in world.radius.accounting()[mark:]:
        key = tuple(record.get(name) for name in ("Acct-Session-Id", "Acct-Status-Type", "Event-Timestamp"))
        content = {name: value for name, value in record.items() if name not in ("Acct-Delay-Time", "Timestamp", "Tmp-String-9")}
        if key in seen:
            check(int(record.get("Acct-Delay-Time", 0)) > 0, f"an unmarked copy: {record}")
            check(content == seen[key], f"a copy with other content: {record} and {seen[key]}")
        else:
            seen[key] = content
            books[record["Acct-Session-Id"]].append(record)
    return books


def _one_start_one_stop(books, sessions):
    for session in sessions:
        statuses = [record["Acct-Status-Type"] for record in books[session] if record["Acct-Status-Type"] != "Interim-Update"]
        check(statuses == ["Start", "Stop"], f"session {session}: {statuses}")


def _stopped(world, mark, sessions, seconds):
    done = lambda books: all(any(r["Acct-Status-Type"] == "Stop" for r in books[session]) for session in sessions)  # noqa: E731
    check(wait_until(lambda: done(_books(world, mark)), seconds), f"Stops are missing; status: {_status(world)}")
    return _books(world, mark)


def _status(world):
    return world.gateway.json("status")["accounting"]


def _kill(daemon):
    daemon.signal(signal.SIGKILL)
    check(wait_until(lambda: daemon.pid() is None, 5), "it does not die")


@contextlib.contextmanager
def _crowd(world):
    """Sessions of both tunnels, each with octets of its own: user N sent as many echoes as `_echoes` says, and got as many."""
    # Not beside the client, whose tunnel takes all that leaves its namespace.
    storm = Sstp(world.lab, world.gateway.binary, role="sstp").start(
        "storm", "--count", str(SESSIONS), "--parallel", "8", "--keep", "--hold", user="load9000{}", timeout="60", ping=network.LAN_IPV4
    )
    try:
        with vigil(world, "client2", SESSIONS, 1, "--ping", network.LAN_IPV4) as made:
            up = select.select([storm.stdout], [], [], 60)[0] and json.loads(storm.stdout.readline())
            check(up and up.get("up") == SESSIONS, f"the SSTP sessions did not come up: {up}")
            yield
            made.process.kill()
    finally:
        storm.kill()
        storm.wait()
        storm.stdin.close()
        storm.stdout.close()


def _echoes(user):
    """Packets of a session of the crowd, each way."""
    return 1 + int(user.removeprefix("load9000") if user.startswith("load9000") else user.removeprefix("load")) % 8


def _counters(record):
    return [int(record[f"Acct-{way}-{what}"]) for what in ("Octets", "Packets") for way in ("Input", "Output")]


@case("accounting")
def attributes_of_a_session(world):
    client = world.login(ping=False)
    session = world.session_of("alice")
    start = world.accounting(session["attempt"], "Start")
    check(client.disconnect(), "no answer to DELETE")
    stop = world.accounting(session["attempt"], "Stop")
    for record in (start, stop):
        wanted = {
            "Acct-Multi-Session-Id": session["attempt"],
            "Acct-Authentic": "RADIUS",
            "Acct-Tunnel-Connection": str(session["id"]),
            "MS-Acct-Auth-Type": "EAP",
            "MS-Acct-EAP-Type": "26",
            "Class": "0x7374616666",
            "Service-Type": "Framed-User",
            "Framed-Protocol": "PPP",
            "NAS-Port-Type": "Virtual",
        }
        found = {name: record.get(name) for name in wanted}
        check(found == wanted, f"{found} instead of {wanted}: {record}")
        check("Event-Timestamp" in record and record.get("Tunnel-Client-Endpoint:0", record.get("Tunnel-Client-Endpoint")), f"{record}")
        check("Acct-Delay-Time" not in record, f"{record}")
    status = _status(world)
    check((status["queued"], status["lost"], status["open"]) == (0, 0, 0), f"{status}")


@case("accounting")
def radius_is_down_for_a_while(world):
    """It loses its memory of identifiers with the process; meanwhile sessions end and their records wait in order."""
    mark = len(world.radius.accounting())
    client = world.login(ping=False)
    session = world.session_of("alice")["attempt"]
    world.accounting(session, "Start")
    _kill(world.radius.daemon)
    try:
        world.ping(count=5, size=972)
        check(client.disconnect(), "no answer to DELETE")
        check(wait_until(lambda: _status(world)["queued"] == 1, 5), f"{_status(world)}")
        check(wait_until(lambda: "radius_failure" in _status(world), 10), f"{_status(world)}")
        check(world.gateway.stop() == 0, "the gateway did not end well")
        world.gateway.restart()
        check(_status(world)["queued"] == 1, f"over a restart of the gateway: {_status(world)}")
    finally:
        world.radius.start()
    books = _stopped(world, mark, [session], 30)
    _one_start_one_stop(books, [session])
    stop = books[session][-1]
    found = _counters(stop)
    check(found == [5000, 5000, 5, 5], f"Stop says {found}")
    check(int(stop["Acct-Delay-Time"]) > 0 and stop["Acct-Terminate-Cause"] == "User-Request", f"{stop}")
    check(wait_until(lambda: _status(world)["queued"] == 0, 5), f"{_status(world)}")


@case("accounting")
def the_gateway_is_killed(world):
    """Its clients' sessions get their Stops at the next start, with the last counters and the time they are of."""
    mark = len(world.radius.accounting())
    world.login(ping=False)
    session = world.session_of("alice")["attempt"]
    world.ping(count=5, size=972)
    time.sleep(1.5)
    live = world.session_of("alice")
    killed = time.time()
    _kill(world.gateway.daemon)
    time.sleep(2)
    world.gateway.restart()
    books = _stopped(world, mark, [session], 15)
    _one_start_one_stop(books, [session])
    stop = books[session][-1]
    found = _counters(stop)
    wanted = [live["octets_in"], live["octets_out"], live["packets_in"], live["packets_out"]]
    check(found == wanted == [5000, 5000, 5, 5], f"Stop says {found}, the session had {wanted}")
    check(stop["Acct-Terminate-Cause"] == "NAS-Reboot" and stop["Class"] == "0x7374616666", f"{stop}")
    ended = live["connected_at"] + int(stop["Acct-Session-Time"])
    check(killed - 2.5 <= ended <= killed + 1, f"it ended at {ended}, the gateway died at {killed}")
    status = _status(world)
    check((status["recovered"], status["lost"]) == (1, 0), f"{status}")


@case("accounting", long=True)
def both_sides_are_killed_during_traffic(world):
    """200 sessions, and one that moves packets until the very end, whose counters may be as old as the last checkpoint."""
    mark = len(world.radius.accounting())
    with _crowd(world):
        world.login(ping=False)
        crowd = {session["attempt"]: session for session in world.sessions() if session["user"] != "alice"}
        check(len(crowd) == 2 * SESSIONS, f"{len(crowd)} sessions")
        time.sleep(CHECKPOINT)
        ping = world.pinging(interval=0.02)
        _kill(world.radius.daemon)
        try:
            closed = [session for session in crowd.values() if session["id"] % 5 == 0]
            for session in closed:
                world.gateway.command("sessions", "disconnect", str(session["id"]))
            check(wait_until(lambda: _status(world)["open"] == len(crowd) + 1 - len(closed), 10), f"{len(closed)} closed, {_status(world)}")
            early = world.session_of("alice")
            time.sleep(CHECKPOINT)
            killed = time.time()
            _kill(world.gateway.daemon)
        finally:
            sent = int(re.search(r"(\d+) packets transmitted", ping.end())[1])
            world.radius.start()
    world.client().stop()
    world.gateway.restart()
    books = _stopped(world, mark, [*crowd, early["attempt"]], 30)
    _one_start_one_stop(books, [*crowd, early["attempt"]])
    _right_stops(books, crowd, closed, killed)
    stop = books[early["attempt"]][-1]
    octets, _, packets, _ = _counters(stop)
    check(octets == 84 * packets and early["packets_in"] <= packets <= sent, f"between {early} and {sent} packets: {stop}")
    check(wait_until(lambda: _status(world)["queued"] == 0, 10), f"{_status(world)}")


def _right_stops(books, crowd, closed, killed):
    """Each Stop of the crowd says what its client moved, why its session ended and when."""
    closed = {session["attempt"] for session in closed}
    check(len(closed) >= SESSIONS // 5, f"{len(closed)} were closed")
    for attempt, session in crowd.items():
        stop, count = books[attempt][-1], _echoes(session["user"])
        # SSTP's clients got a Router Advertisement of 96 octets besides.
        beside = (96, 1) if session["tunnel"] == "sstp" else (0, 0)
        wanted = [500 * count, 500 * count + beside[0], count, count + beside[1]]
        check(_counters(stop) == wanted, f"{session['user']}: {_counters(stop)} instead of {wanted}")
        cause = "Admin-Reset" if attempt in closed else "NAS-Reboot"
        check(stop["Acct-Terminate-Cause"] == cause, f"{cause}: {stop}")
        ended = session["connected_at"] + int(stop["Acct-Session-Time"])
        check(attempt in closed or killed - 1 - CHECKPOINT <= ended <= killed + 1, f"it ended at {ended}, the gateway died at {killed}")


@case("accounting-on-off")
def accounting_on_and_off(world):
    world.login(ping=False)
    session = world.session_of("alice")["attempt"]
    world.accounting(session, "Start")
    check(world.gateway.stop() == 0, "the gateway did not end well")
    order = [record["Acct-Status-Type"] for record in world.radius.accounting()]
    check(order[-4:] == ["Accounting-On", "Start", "Stop", "Accounting-Off"], f"{order[-6:]}")
    world.gateway.restart()
    world.login()


@case("accounting-required", long=True)
def a_session_that_nobody_accounts_for_is_ended(world):
    """Both tunnels; once a server takes the records, the books say why."""
    mark = len(world.radius.accounting())
    with Sstp(world.lab, world.gateway.binary, role="sstp").held(user="bob") as call:
        world.login(ping=False)
        up = [world.session_of(user)["attempt"] for user in ("alice", "bob")]
        check(call.ended(10), "the SSTP client was not told")
        world.no_sessions(10)
        check(wait_until(lambda: world.client().session() is None, 5), "the IKEv2 client was not told")
    for attempt in map(world.attempt, up):
        check(attempt["outcome"] == "ended" and "required_within" in str(attempt["timeline"]), f"{attempt}")
    config = world.gateway.config_file.read_text()
    world.gateway.config_file.write_text(config.replace("accounting_port = 1899", "accounting_port = 1813"))
    world.gateway.stop()
    world.gateway.restart()
    books = _stopped(world, mark, up, 10)
    _one_start_one_stop(books, up)
    for attempt in up:
        check(books[attempt][-1]["Acct-Terminate-Cause"] == "Service-Unavailable", f"{books[attempt]}")
    world.login()
    time.sleep(6)
    world.session_of("alice")

@case("accounting-interim", long=True)
def interim_updates_count_exactly(world):
    """After the shortest interval that there is: what clients moved so far, and what they move later in the Stop alone."""
    mark = len(world.radius.accounting())
    call = Sstp(world.lab, world.gateway.binary, role="sstp")
    with call.held("--ping", network.LAN_IPV4, "--count", "4", "--size", "472", user="bob") as held:
        client = world.login(ping=False)
        world.ping(count=10, size=1000)
        alice, bob = (world.session_of(user)["attempt"] for user in ("alice", "bob"))
        # Besides its echoes it asked for routes and a Router Advertisement.
        shown = world.session_of("bob")
        due = lambda: [session for session in (alice, bob) if len(_books(world, mark)[session]) == 2]  # noqa: E731
        check(wait_until(lambda: len(due()) == 2, 75), f"no Interim-Updates: {_status(world)}")
        world.ping(count=5, size=1000)
        check(client.disconnect(), "no answer to DELETE")
        held.hang_up()
    books = _stopped(world, mark, [alice, bob], 10)
    moved = [shown[f"{what}_{way}"] for what in ("octets", "packets") for way in ("in", "out")]
    check(all(count >= least for count, least in zip(moved, (2000, 2000, 4, 4))), f"{shown}")
    wanted = {alice: ([10 * 1028] * 2 + [10] * 2, [15 * 1028] * 2 + [15] * 2), bob: (moved, moved)}
    for session, (then, finally_) in wanted.items():
        start, interim, stop = books[session]
        check([record["Acct-Status-Type"] for record in books[session]] == ["Start", "Interim-Update", "Stop"], f"{books[session]}")
        check(not any(name.endswith(("Octets", "Packets")) for name in start), f"a Start that counts: {start}")
        check(_counters(interim) == then, f"{_counters(interim)} instead of {then}: {interim}")
        check(_counters(stop) == finally_, f"{_counters(stop)} instead of {finally_}: {stop}")
        check(60 <= int(interim["Acct-Session-Time"]) <= 67 and int(stop["Acct-Session-Time"]) >= int(interim["Acct-Session-Time"]), f"{books[session]}")
        check(interim["Acct-Input-Gigawords"] == "0" and interim.get("Framed-IP-Address"), f"{interim}")
