"""Accounting that loses nothing: crashes of either side and outages, against FreeRADIUS's detail file.

FreeRADIUS answers a repeated packet (same source, identifier and authenticator) from its memory without writing it again. A record that is
sent anew, because its answer was lost, is another packet with Acct-Delay-Time and else the same content: "once" below means once by
Acct-Session-Id, Acct-Status-Type and Event-Timestamp, with every further copy so marked.
"""

import signal
import time
from collections import defaultdict

from harness import case, check, setup
from labkit.shell import wait_until
from sstp_client import Sstp

SESSIONS = 60


@setup("accounting")
def retries(config):
    config["radius"][0] |= {"retransmit_initial": "300ms", "tries": 3, "timeout": "2s"}


@setup("accounting-on-off")
def on_and_off(config):
    config["accounting"] = {"on_off": True}


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


def _crowd(world):
    """Many SSTP sessions of clients that do nothing any more, in the middle of a rush of logins."""
    storm = Sstp(world.lab, world.gateway.binary).start("storm", "--count", str(20 * SESSIONS), "--parallel", "8", "--keep", user="load{}", timeout="60")
    up = wait_until(lambda: len(world.sessions()) >= SESSIONS, 60)
    storm.send_signal(signal.SIGSTOP)
    check(up, f"only {len(world.sessions())} sessions")
    time.sleep(0.5)
    return storm


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
    found = [int(stop[f"Acct-{way}-{what}"]) for what in ("Octets", "Packets") for way in ("Input", "Output")]
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
    found = [int(stop[f"Acct-{way}-{what}"]) for what in ("Octets", "Packets") for way in ("Input", "Output")]
    wanted = [live["octets_in"], live["octets_out"], live["packets_in"], live["packets_out"]]
    check(found == wanted == [5000, 5000, 5, 5], f"Stop says {found}, the session had {wanted}")
    check(stop["Acct-Terminate-Cause"] == "NAS-Reboot" and stop["Class"] == "0x7374616666", f"{stop}")
    ended = live["connected_at"] + int(stop["Acct-Session-Time"])
    check(killed - 2.5 <= ended <= killed + 1, f"it ended at {ended}, the gateway died at {killed}")
    status = _status(world)
    check((status["recovered"], status["lost"]) == (1, 0), f"{status}")


@case("accounting")
def both_sides_are_killed_under_many_sessions(world):
    mark = len(world.radius.accounting())
    storm = _crowd(world)
    try:
        up = world.sessions()
        sessions, closed = [session["attempt"] for session in up], up[: SESSIONS // 3]
        _kill(world.radius.daemon)
        for session in closed:
            world.gateway.command("sessions", "disconnect", str(session["id"]))
        check(wait_until(lambda: _status(world)["open"] == len(up) - len(closed), 20), f"{len(up)} sessions, {_status(world)}")
        _kill(world.gateway.daemon)
    finally:
        storm.kill()
        if world.radius.daemon.pid() is None:
            world.radius.start()
    world.gateway.restart()
    books = _stopped(world, mark, sessions, 60)
    _one_start_one_stop(books, sessions)
    causes = sorted(books[session][-1]["Acct-Terminate-Cause"] for session in sessions)
    check(causes == ["Admin-Reset"] * len(closed) + ["NAS-Reboot"] * (len(up) - len(closed)), f"{causes}")
    check(wait_until(lambda: _status(world)["queued"] == 0, 10), f"{_status(world)}")


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
