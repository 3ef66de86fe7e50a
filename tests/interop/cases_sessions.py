"""A session's life: rekeys, limits, endings, accounting."""

import re
import subprocess
import time
from contextlib import contextmanager

from cases_tcp import connected
from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until


@case("sessions", portable=True)
def client_rekeys_the_child_sa(world):
    client = world.login(Profile(addresses=("0.0.0.0", "::")))
    with world.pinging():
        for _ in range(3):
            check(client.rekey_child(), "the Child SA was not rekeyed", client.charon.log.read_text().splitlines())
            time.sleep(0.3)
    check(wait_until(lambda: len(client.children()) == 1, 10), f"old Child SAs remain: {client.children()}")
    world.ping(target=network.LAN_IPV6)


@case("sessions", portable=True)
def client_rekeys_the_ike_sa(world):
    client = world.login()
    addresses = client.addresses()
    with world.pinging():
        for _ in range(3):
            check(client.rekey_ike(), "the IKE SA was not rekeyed", client.charon.log.read_text().splitlines())
            time.sleep(0.3)
    check(client.addresses() == addresses, f"the address changed from {addresses} to {client.addresses()}")
    if world.evergate:
        world.session_of("alice")
    check(client.rekey_child(), "the Child SA cannot be rekeyed afterwards")
    world.ping()


@case("sessions", portable=True)
def rekeys_behind_nat(world):
    client = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT))
    with world.pinging():
        check(
            client.rekey_child() and client.rekey_ike() and client.rekey_child(),
            "a rekey failed",
            client.charon.log.read_text().splitlines(),
        )
    # Not beside the echoes: a download at full speed overruns the client's own buffers.
    world.transfer(5, "down")


@case("sessions")
def framed_ip_address_is_honoured(world):
    client = world.login(Profile(user="bob"))
    check(client.addresses() == ["10.98.0.77"], f"assigned {client.addresses()}")


@case("sessions")
def framed_ip_address_outside_every_pool_is_routed(world):
    client = world.login(Profile(user="erin"))
    check(client.addresses() == ["10.97.0.9"], f"assigned {client.addresses()}")
    world.client().disconnect()
    routes = world.lab.network.exec("gateway", ["ip", "route", "show", "10.97.0.9"]).stdout
    check(wait_until(lambda: not world.lab.network.exec("gateway", ["ip", "route", "show", "10.97.0.9"]).stdout.strip(), 5), f"left behind: {routes}")


@case("sessions")
def an_address_of_radius_that_is_taken(world):
    """bob's Framed-IP-Address is one: his second device is refused, his first stays."""
    world.login(Profile(user="bob"))
    second = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="bob")
    world.refused(second, role="client2", notify="INT_ADDR_FAIL", stage="address", cause="10.98.0.77.*in use")
    world.ping()


@case("sessions", portable=True)
def client_moves_to_another_network(world):
    """MOBIKE (RFC 4555): the client loses its address and goes on behind the NAT router, then comes back."""
    client = world.login()
    away = ["ip", "addr", "del", "10.99.1.2/24", "dev", "wan0"]
    back = ["ip", "addr", "add", "10.99.1.2/24", "dev", "wan0"]
    outer6 = ["dev", "wan0", "fd99:1::2/64"]
    world.lab.network.exec("client", ["ip", "addr", "del", *outer6])
    world.lab.network.exec("client", away)
    try:
        _moved(world, client, "10.99.3.2")
    finally:
        world.lab.network.exec("client", back)
        world.lab.network.exec("client", ["ip", "addr", "add", *outer6, "nodad"])
    check(client.addresses() and (not world.evergate or world.session_of("alice")), "the session was lost")


@case("sessions")
def nat_router_changes_its_address(world):
    """Without MOBIKE the gateway follows the newest verified packet to where it comes from now (RFC 7296 section 2.23)."""
    client = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, mobike="no"))
    with _nat_router_at(world, "10.99.2.3"):
        _rebound(world, client, r"10\.99\.2\.3:\d+")
    _rebound(world, client, rf"{re.escape(network.NAT_OUTSIDE)}:\d+")


@case("sessions")
def nat_router_forgets_its_mapping(world):
    """As above; the address stays, the port is another."""
    client = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, mobike="no"))
    rule = ["insert", "rule", "ip", "nat", "postrouting", "oifname", "out0", "udp", "dport", "4500", "masquerade", "to", ":40000-40100"]
    world.lab.network.exec("nat", ["nft", *rule])
    try:
        # A mapping goes with the address.
        with _nat_router_at(world, "10.99.2.3"):
            pass
        _rebound(world, client, rf"{re.escape(network.NAT_OUTSIDE)}:40\d\d\d")
    finally:
        world.lab.network.exec("nat", ["nft", "flush", "ruleset"])
        world.lab.network.exec("nat", ["nft", "-f", "-"], input=network.MASQUERADE)


@case("sessions")
def session_timeout_ends_the_session(world):
    client = world.login(Profile(user="carol"))
    session = world.session_of("carol")
    started = time.monotonic()
    check(wait_until(lambda: client.session() is None, 10), "the session outlives its Session-Timeout")
    check(time.monotonic() - started > 1.5, "the session ended too early")
    world.no_sessions()
    _stopped(world, session, "Session-Timeout")
    _ended(world, session, "session.timeout")


@case("sessions")
def reauthentication_keeps_the_addresses(world):
    """The client brings up its next session before it leaves the last (make before break); both have the addresses meanwhile."""
    _reauthenticates(world, Profile(addresses=("0.0.0.0", "::"), reauthentication="3s"))


@case("sessions")
def reauthentication_with_a_certificate(world):
    _reauthenticates(world, Profile(method="certificate", certificate="machine-rsa", reauthentication="3s"))


@case("sessions")
def reauthentication_keeps_framed_ip_address(world):
    """erin's address comes from RADIUS and lies in no pool: its route stays too."""
    _reauthenticates(world, Profile(user="erin", reauthentication="3s"))


@setup("lifetime")
def long_sessions(config):
    config["policy"][0]["session_timeout"] = "2h"


@case("lifetime")
def clients_are_told_when_to_authenticate_anew(world):
    """A minute before the Session-Timeout; of a short one (carol's, 3 s) nothing is said, it just ends."""
    world.login()
    check(world.last.saw("received AUTH_LIFETIME of 7140s, scheduling reauthentication"), "no AUTH_LIFETIME", world.last.log)
    world.client().forget()
    client = world.login(Profile(user="carol"))
    check(not world.last.saw("AUTH_LIFETIME"), "AUTH_LIFETIME of a short session", world.last.log)
    check(wait_until(lambda: client.session() is None, 10), "the session outlives its Session-Timeout")


@case("sessions")
def accounting_counts_what_passed(world):
    client = world.login(ping=False)
    session = world.session_of("alice")
    start = world.accounting(session["attempt"], "Start")
    check(start["User-Name"] == "alice" and start["Framed-IP-Address"] == client.addresses()[0], f"{start}")
    check(start.get("Class") == "0x7374616666", f"Class is not echoed: {start}")
    count, size = 5, 972
    world.ping(count=count, size=size)
    # An echo's packet: payload, 8 octets ICMP, 20 octets IPv4.
    octets = count * (size + 28)
    live = world.session_of("alice")
    check(
        (live["octets_in"], live["octets_out"]) == (octets, octets), f"{live['octets_in']} in, {live['octets_out']} out instead of {octets}"
    )
    check((live["packets_in"], live["packets_out"]) == (count, count), f"{live['packets_in']} and {live['packets_out']} packets")
    check(client.disconnect(), "no answer to DELETE")
    stop = world.accounting(session["attempt"], "Stop")
    found = [int(stop[f"Acct-{way}-{what}"]) for what in ("Octets", "Packets") for way in ("Input", "Output")]
    check(found == [octets, octets, count, count], f"Stop says {found}")
    check(stop["Acct-Terminate-Cause"] == "User-Request", f"{stop['Acct-Terminate-Cause']}")
    check(int(stop["Acct-Session-Time"]) <= 10 and stop["User-Name"] == "alice", f"{stop}")


@case("sessions")
def accounting_tells_directions_apart(world):
    client = world.login(ping=False)
    session = world.session_of("alice")
    world.transfer(3, "down")
    check(client.disconnect(), "no answer to DELETE")
    stop = world.accounting(session["attempt"], "Stop")
    sent, received = int(stop["Acct-Output-Octets"]), int(stop["Acct-Input-Octets"])
    check(3_000_000 < sent < 4_500_000 and received < 300_000, f"{sent} octets to the client, {received} from it")


@case("sessions")
def operator_disconnects_a_session(world):
    client = world.login()
    session = world.session_of("alice")
    world.gateway.command("sessions", "disconnect", str(session["id"]))
    check(wait_until(lambda: client.session() is None, 5), "the client was not told")
    world.no_sessions()
    _stopped(world, session, "Admin-Reset")
    _ended(world, session, "operator")


@case("sessions")
def client_deletes(world):
    client = world.login()
    session = world.session_of("alice")
    check(client.disconnect(), "no answer to DELETE")
    world.no_sessions()
    _ended(world, session, "client.disconnected|delete")


@case("sessions")
def initial_contact_replaces_a_lost_session(world):
    client = world.login()
    old = world.session_of("alice")
    client.stop(hard=True)
    client = world.login(Profile(initial_contact=True))
    check(world.last.saw(r"generating IKE_AUTH request 1 \[.*N\(INIT_CONTACT\)"), "the client announced no INITIAL_CONTACT", world.last.log)
    check(
        wait_until(lambda: [s["id"] for s in world.sessions()] != [] and old["id"] not in [s["id"] for s in world.sessions()], 5),
        f"{world.sessions()}",
    )
    world.session_of("alice")
    world.accounting(old["attempt"], "Stop")
    _ended(world, old, "replaced")


@case("sessions")
def no_initial_contact_keeps_other_sessions(world):
    """Without INITIAL_CONTACT one user's sessions live side by side."""
    world.login()
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT), role="client2")
    check(len(world.sessions()) == 2, f"{world.sessions()}")


@case("sessions")
def only_the_leased_address_may_send(world):
    """A packet from another inner address than the leased one goes nowhere."""
    world.login()
    before = world.session_of("alice")
    world.lab.network.exec("client", ["ip", "addr", "add", "10.98.0.200/32", "dev", "ipsec0"])
    argv = ["ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.98.0.200", network.LAN_IPV4]
    check(world.lab.network.exec("client", argv, check=False).returncode != 0, "a foreign source address was answered")
    check(world.session_of("alice")["octets_out"] == before["octets_out"], "the gateway answered it")


@setup("rekeys")
def short_lives(config):
    config["timers"] = {"ike_rekey": "14s", "child_rekey": "10s"}


@case("rekeys", long=True)
def gateway_rekeys_by_age(world):
    """One client leaves it to the gateway; the other, behind NAT, rekeys of its own accord as well, so that both may begin together."""
    eager = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave", child=(("rekey_time", "9s"), ("rand_time", "1s")))
    quiet = world.login()
    other = world.login(eager, role="client2")
    sessions, addresses = world.sessions(), (quiet.addresses(), other.addresses())
    before = {child["spi-in"] for child in quiet.children()}
    mark = quiet.session()["initiator-spi"]
    with world.pinging(), world.pinging(role="client2"):
        found = wait_until(lambda: all(_rekeys(world, session, "Child SA") >= 3 and _rekeys(world, session, "IKE SA") >= 2 for session in sessions), 60)
        check(found, f"timelines: {[_timeline(world, session) for session in sessions]}")
    check(not before & {child["spi-in"] for child in quiet.children()}, "the first Child SA is still there")
    check(quiet.session()["initiator-spi"] != mark, "the first IKE SA is still there")
    check((quiet.addresses(), other.addresses()) == addresses, "an address changed")
    check({"ike_rekeyed_at", "child_rekeyed_at"} <= world.session_of("alice").keys(), f"{world.sessions()}")
    check({session["id"] for session in sessions} == {session["id"] for session in world.sessions()}, f"{world.sessions()}")
    for client in (quiet, other):
        check(wait_until(lambda: len(client.children()) == 1, 10), f"old Child SAs remain: {client.children()}")


@case("sessions")
def a_client_learns_at_once_that_the_gateway_crashed(world):
    """RFC 6290: by the token that it had from the gateway when it logged in; without, its tries take two minutes."""
    # This one has port 4500 of its namespace to itself.
    world.client().stop()
    with connected(world, port=None) as client:
        world.ping()
        world.gateway.daemon.stop(hard=True)
        world.gateway.restart()
        check(client.process.poll() is None, "the client has not asked for anything yet")
        client.send("rekey-child")
        try:
            client.process.wait(3)
        except subprocess.TimeoutExpired:
            check(False, "the client waits for an answer of a gateway that knows nothing of it")


@setup("volume")
def a_small_volume(config):
    config["timers"] = {"child_volume_mb": 2}


@case("volume")
def gateway_rekeys_by_volume(world):
    """One direction has carried as much as a Child SA may: the next is there before it is missed."""
    client = world.login()
    session = world.session_of("alice")
    before = client.children()[0]["spi-in"]
    for direction in ("down", "up"):
        count = _rekeys(world, session, "Child SA")
        world.transfer(4, direction)
        check(wait_until(lambda: _rekeys(world, session, "Child SA") > count, 5), f"{direction}: {_timeline(world, session)}")
    check(any("has carried" in text for text in _timeline(world, session)), f"{_timeline(world, session)}")
    check(client.children()[0]["spi-in"] != before, "the first Child SA is still there")
    world.ping()


@setup("idle")
def idle_limit(config):
    config["policy"][0]["idle_timeout"] = "2s"


@case("idle")
def an_idle_session_ends(world):
    client = world.login()
    session = world.session_of("alice")
    check(wait_until(lambda: client.session() is None, 8), "the session outlives its idle time")
    _stopped(world, session, "Idle-Timeout")
    _ended(world, session, "idle")


@case("idle")
def a_busy_session_stays(world):
    client = world.login()
    with world.pinging(interval=0.5):
        time.sleep(6)
    check(client.session() is not None, "the session ended while traffic passed")


@setup("liveness")
def short_liveness(config):
    config["timers"] = {"liveness_interval": "1s", "retransmit_initial": "500ms", "retransmit_tries": 2}


@case("liveness")
def a_client_that_vanished_is_noticed(world):
    """One without MOBIKE: the others have the network outage time to come back."""
    client = world.login(Profile(mobike="no"))
    session = world.session_of("alice")
    client.stop(hard=True)
    world.no_sessions(20)
    _stopped(world, session, "Lost-Carrier")
    _ended(world, session, "client.lost|no answer|silen")


@case("liveness")
def a_client_that_is_only_quiet_stays(world):
    """It answers the gateway's empty requests; without an answer it would be gone after 4.5 s."""
    client = world.login()
    time.sleep(7)
    check(client.session() is not None, "the session was dropped")
    world.session_of("alice")
    world.ping()


@case("shutdown")
def sigterm_says_goodbye(world):
    client = world.login()
    session = world.session_of("alice")
    status = world.gateway.stop()
    check(status == 0, f"the gateway ended with {status}")
    check(wait_until(lambda: client.session() is None, 5), "the client was not told")
    _stopped(world, session, "Admin-Reboot")
    world.gateway.restart()
    world.login()


@case("shutdown")
def sigterm_closes_the_books_of_a_client_that_sleeps(world):
    client = world.login()
    session = world.session_of("alice")
    client.stop(hard=True)
    check(world.gateway.stop() == 0, "the gateway did not end well")
    _stopped(world, session, "Admin-Reboot")
    world.gateway.restart()
    world.login()


def _reauthenticates(world, profile, times=2):
    """Passes through sessions under ping: no echo is lost, the addresses stay, and each session has its own Start and Stop."""
    client = world.login(profile)
    addresses = client.addresses()
    number = int(client.session()["uniqueid"])
    seen = [session["attempt"] for session in world.sessions()]

    def renewed():
        sessions = world.sessions()
        for session in sessions:
            check(sorted(session["inner"]) == sorted(addresses), f"{session} instead of {addresses}")
            if session["attempt"] not in seen:
                seen.append(session["attempt"])
        return len(seen) > times and len(sessions) == 1

    with world.pinging(), world.pinging(role="lan", target=addresses[0]):
        check(wait_until(renewed, 20), f"sessions so far: {seen}; now {world.sessions()}", client.log())
    check(client.addresses() == addresses, f"the addresses changed from {addresses} to {client.addresses()}")
    log = client.log()
    made, broken = (next(i for i, line in enumerate(log) if text in line) for text in (f"vpn[{number + 1}] established", f"deleting IKE_SA vpn[{number}]"))
    check(made < broken, "the client left its session before it had the next", log)
    world.ping()
    pools = world.gateway.json("status")["pools"]
    check(all(pool["used"] <= 1 for pool in pools), f"{pools}")
    for attempt in seen:
        world.accounting(attempt, "Start")
    for attempt in seen[:times]:
        world.accounting(attempt, "Stop")


def _moved(world, client, address):
    found = wait_until(lambda: (client.session() or {}).get("local-host") == address, 20)
    check(found, f"the client did not move to {address}", client.charon.log.read_text().splitlines())
    found = wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 10)
    check(found, f"no traffic after the move to {address}", client.charon.log.read_text().splitlines())
    world.ping(count=5)


@contextmanager
def _nat_router_at(world, address):
    """The NAT router has this address outside instead of its own; mappings of the address that goes are gone."""

    def change(new, old):
        world.lab.network.exec("nat", ["ip", "addr", "add", f"{new}/24", "dev", "out0"])
        world.lab.network.exec("nat", ["ip", "addr", "del", f"{old}/24", "dev", "out0"])

    change(address, network.NAT_OUTSIDE)
    try:
        yield
    finally:
        change(network.NAT_OUTSIDE, address)


def _rebound(world, client, outside):
    """Traffic passes both ways within two seconds, and the gateway sends to `outside`."""
    started = time.monotonic()
    found = wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=0.3), 5)
    seconds = time.monotonic() - started
    check(found and seconds < 2, f"no traffic after {seconds:.1f} s" if not found else f"traffic only after {seconds:.1f} s")
    world.ping(role="lan", target=client.addresses()[0], count=5)
    session = world.session_of("alice")
    check(re.fullmatch(outside, session["client"]), f"the gateway sends to {session['client']}")


def _timeline(world, session):
    return [line["text"] for line in world.attempt(session["attempt"])["timeline"]]


def _rekeys(world, session, what):
    return _timeline(world, session).count(f"{what} rekeyed")


def _stopped(world, session, cause):
    found = world.accounting(session["attempt"], "Stop")["Acct-Terminate-Cause"]
    check(found == cause, f"accounting says {found}, not {cause}")


def _ended(world, session, cause):
    attempt = wait_until(lambda: next((a for a in world.attempts() if a["id"] == session["attempt"] and a["outcome"] == "ended"), None), 5)
    check(attempt, f"attempt {session['attempt']} is not recorded as ended")
    check(re.search(cause, attempt["cause"] or "", re.I), f"the attempt ended because of {attempt['cause']!r}, expected /{cause}/")
