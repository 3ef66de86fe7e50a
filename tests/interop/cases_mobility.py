"""Clients that go silent, move, rest without Child SA, or are sent to another gateway."""

import re
import threading
import time
from contextlib import contextmanager

from harness import NEWER, case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.evergate import Gateway
from labkit.radius import SECRET
from labkit.shell import wait_until

OTHER = network.GATEWAY_IPV4_BEHIND_NAT
LIVELY = {"liveness_interval": "1s", "retransmit_initial": "300ms", "retransmit_tries": 2}
# Nothing comes in, nothing goes out on the direct link.
CUT = """
table inet cut {
  chain in { type filter hook input priority 0; iifname "wan0" drop; }
  chain out { type filter hook output priority 0; oifname "wan0" drop; }
}
"""
# The client's IKE_SA_INIT passes, its IKE_AUTH does not.
NO_IKE_AUTH = """
table inet cut {
  chain out { type filter hook output priority 0; udp dport 4500 drop; }
}
"""


@setup("mobility")
def short_outage(config):
    config["timers"] = LIVELY | {"network_outage": "12s"}


@case("mobility")
def a_silent_client_goes_on_from_elsewhere(world):
    client = world.login()
    session, addresses = world.session_of("alice"), client.addresses()
    with _cut_off(world):
        check(wait_until(lambda: "silent_since" in world.session_of("alice"), 8), f"not silent: {world.session_of('alice')}")
        shown = world.gateway.command("sessions", "show", str(session["id"])).stdout
        check("may still come back" in shown, shown)
        with _without_addresses(world):
            found = wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 10)
            check(found, "no traffic from elsewhere", client.log())
            now = world.session_of("alice")
            check(now["id"] == session["id"] and "silent_since" not in now, f"{now}")
            check(now["client"].startswith(network.NAT_OUTSIDE), f"the gateway sends to {now['client']}")
    check(client.addresses() == addresses, f"the addresses changed from {addresses} to {client.addresses()}")
    timeline = [line["text"] for line in world.attempt(session["attempt"])["timeline"]]
    check(any("has been silent for" in text for text in timeline) and "the client is back" in timeline, f"{timeline}")


@case("mobility")
def a_client_that_stays_away_is_lost_at_the_end_of_the_outage(world):
    client = world.login()
    session, started = world.session_of("alice"), time.monotonic()
    client.stop(hard=True)
    check(wait_until(lambda: "silent_since" in world.session_of("alice"), 8), f"not silent: {world.sessions()}")
    world.no_sessions(20)
    seconds = time.monotonic() - started
    check(11 < seconds < 18, f"lost after {seconds:.1f} s instead of 12")
    check(world.accounting(session["attempt"], "Stop")["Acct-Terminate-Cause"] == "Lost-Carrier", "not Lost-Carrier")


@case("mobility")
def a_client_that_returns_with_a_login_takes_the_place_of_its_silent_session(world):
    client = world.login()
    old = world.session_of("alice")
    client.stop(hard=True)
    check(wait_until(lambda: "silent_since" in world.session_of("alice"), 8), f"not silent: {world.sessions()}")
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, initial_contact=True), role="client2")
    found = wait_until(lambda: [s["id"] for s in world.sessions()] not in ([], [old["id"]]) and len(world.sessions()) == 1, 3)
    check(found, f"{world.sessions()}")
    world.accounting(old["attempt"], "Stop")


@case("mobility")
def a_fixed_address_goes_to_the_newer_session_of_its_user_alone(world):
    """Without INITIAL_CONTACT, from elsewhere."""
    client = world.login(Profile(user="bob"))
    old = world.session_of("bob")
    client.stop(hard=True)
    check(wait_until(lambda: "silent_since" in world.session_of("bob"), 8), f"not silent: {world.sessions()}")
    stranger = Profile(user="rob", server=network.GATEWAY_IPV4_BEHIND_NAT)
    world.refused(stranger, role="client2", notify="INT_ADDR_FAIL", stage="address", cause="10.98.0.77 is in use by bob")
    back = world.login(Profile(user="bob", server=network.GATEWAY_IPV4_BEHIND_NAT, initial_contact=False), role="client2")
    check(back.addresses() == ["10.98.0.77"], f"assigned {back.addresses()}")
    check(wait_until(lambda: [s["id"] for s in world.sessions()] not in ([], [old["id"]]) and len(world.sessions()) == 1, 3), f"{world.sessions()}")
    stop = world.accounting(old["attempt"], "Stop")
    check((stop["Acct-Terminate-Cause"], stop["Framed-IP-Address"]) == ("Lost-Carrier", "10.98.0.77"), f"{stop}")
    check(world.attempt(old["attempt"])["cause"] == "replaced", f"{world.attempt(old['attempt'])}")
    world.ping("client2")
    world.ping("lan", "10.98.0.77")


@case("roaming")
def a_client_moves_behind_a_nat_and_back(world):
    """MOBIKE there and back, twice: packets follow when the client has answered the return routability check at its new address."""
    world.clients["client"] = world.lab.client("client", tries=5, prefer_best_path="yes")
    client = world.login()
    session, addresses = world.session_of("alice"), client.addresses()
    for _ in range(2):
        with _without_addresses(world):
            _moved(world, client, session, network.NAT_OUTSIDE)
        _moved(world, client, session, "10.99.1.2")
    check(client.addresses() == addresses, f"the addresses changed from {addresses} to {client.addresses()}")
    log = "\n".join(client.log())
    check(log.count("INFORMATIONAL request") >= 8 and re.search(r"parsed INFORMATIONAL request \d+ \[ N\(COOKIE2\) \]", log), "no check", client.log())
    timeline = [line["text"] for line in world.attempt(session["attempt"])["timeline"]]
    check(sum("the client answers at" in text for text in timeline) >= 4, f"{timeline}")
    # One session for RADIUS: what FreeRADIUS tells sessions apart by stays as it was in the Start.
    client.forget()
    world.accounting(session["attempt"], "Stop")
    records = [record for record in world.radius.accounting() if record.get("Acct-Session-Id") == session["attempt"]]
    for name in ("NAS-IP-Address", "NAS-Identifier", "NAS-Port", "Called-Station-Id"):
        check(len({record.get(name) for record in records}) == 1, f"{name}: {records}")
    places = [record["Calling-Station-Id"] for record in records if record["Acct-Status-Type"] == "Interim-Update"]
    check(network.NAT_OUTSIDE in places, f"no Interim-Update of the move: {records}")


def _moved(world, client, session, address):
    def there():
        now = world.session_of("alice")
        return now["client"].startswith(address + ":") and now

    now = wait_until(there, 8)
    check(now, f"not at {address}: {world.session_of('alice')}", client.log())
    check(now["id"] == session["id"], f"{now}")
    check(wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 5), "no traffic", client.log())
    for direction in ("up", "down"):
        world.transfer(1, direction)


@setup("dpd")
def lively(config):
    config["timers"] = LIVELY


@case("dpd")
def a_client_notices_that_the_gateway_lost_everything_and_dials_again(world):
    world.clients["client"] = world.lab.client("client", tries=1, first_retry=0.5)
    client = world.login(Profile(liveness="1s", child=(("dpd_action", "start"),)))
    old = world.session_of("alice")
    # It neither says goodbye nor remembers.
    world.gateway.daemon.signal(9)
    check(wait_until(lambda: world.gateway.pid() is None, 5), "the gateway lives on")
    world.gateway.restart()
    found = wait_until(lambda: [s["attempt"] for s in world.sessions()] not in ([], [old["attempt"]]), 20)
    check(found, "the client did not dial again", client.log())
    check(wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 5), "no traffic", client.log())


@case("resting")
def a_client_deletes_its_idle_child_and_the_gateway_makes_a_new_one(world):
    """strongSwan's `inactivity`, as Windows after five minutes; a packet from inside brings the Child SA back."""
    client = world.login(Profile(child=(("inactivity", "2s"),)))
    session, before = world.session_of("alice"), world.accounting(world.session_of("alice")["attempt"], "Start")
    for _ in range(2):
        resting = _resting(world, client)
        check(resting["id"] == session["id"] and resting["inner"] == session["inner"], f"{resting}")
        found = wait_until(lambda: world.lab.network.ping("lan", session["inner"][0], count=1, deadline=1), 8)
        check(found, "a packet from inside does not wake the session", client.log())
        world.ping(role="lan", target=session["inner"][0])
        check("resting_since" not in world.session_of("alice"), f"{world.session_of('alice')}")
    check(before["Framed-IP-Address"] == session["inner"][0], f"{before}")
    live = world.session_of("alice")
    check(client.disconnect(), "no answer to DELETE")
    stop = world.accounting(session["attempt"], "Stop")
    check(int(stop["Acct-Input-Octets"]) == live["octets_in"] > 0, f"{stop['Acct-Input-Octets']} octets in instead of {live['octets_in']}")
    pool = world.gateway.json("status")["pools"]
    check(all(each["used"] == 0 for each in pool), f"{pool}")


@case("resting")
def a_client_makes_a_new_child_itself(world):
    client = world.login(Profile(child=(("inactivity", "1s"),)))
    session = world.session_of("alice")
    _resting(world, client)
    with client.charon.vici() as vici:
        vici.call("initiate", {"ike": client.NAME, "child": "net", "timeout": 5000})
    world.ping()
    now = world.session_of("alice")
    check(now["id"] == session["id"] and "resting_since" not in now, f"{now}")


@case("resting")
def both_sides_make_a_new_child_at_once(world):
    # Where both make one, the client closes the idle one of the two after this time, and drops its route with it: later than what follows takes.
    client = world.login(Profile(child=(("inactivity", "3s"),)))
    session = world.session_of("alice")
    for _ in range(2):
        _resting(world, client)
        # The gateway waits two seconds for the client to make one.
        time.sleep(2.1)
        calling = threading.Thread(target=_initiate, args=(client,))
        calling.start()
        world.lab.network.ping("lan", session["inner"][0], count=1, deadline=0.2)
        calling.join()
        with world.pinging(interval=0.1):
            time.sleep(1)
        world.ping(role="lan", target=session["inner"][0])
    check(world.session_of("alice")["id"] == session["id"], f"{world.sessions()}")


@setup("families")
def _both_families(config):
    config["listener"][0]["addresses"] = [network.GATEWAY_IPV4, network.GATEWAY_IPV6]


@case("families")
def a_client_without_ipv4_goes_on_over_ipv6(world):
    """It was told of the gateway's other address when it logged in (RFC 4555 section 3.6)."""
    client = world.login()
    check(any(re.search(r"parsed IKE_AUTH response .*N\(ADD_6_ADDR\)", line) for line in client.log()), "no ADDITIONAL_IP6_ADDRESS", client.log())
    session = world.session_of("alice")
    with _without_ipv4(world):
        found = wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 15)
        check(found, "no traffic over the other family", client.log())
        now = world.session_of("alice")
        check(now["id"] == session["id"] and "fd99:1::2" in now["client"], f"{now}")


@setup("idle_children")
def gateway_deletes(config):
    config["timers"] = {"child_idle": "2s"}


@case("idle_children")
def the_gateway_deletes_an_idle_child_and_keeps_the_session(world):
    client = world.login()
    session = world.session_of("alice")
    with world.pinging(interval=0.2):
        time.sleep(4)
    check("resting_since" not in world.session_of("alice"), "a busy Child SA was deleted")
    resting = _resting(world, client)
    check(resting["id"] == session["id"], f"{resting}")
    found = wait_until(lambda: world.lab.network.ping("lan", session["inner"][0], count=1, deadline=1), 8)
    check(found, "a packet from inside does not wake the session", client.log())


NEWER.add("strongswan6_drain")


@setup("strongswan6_drain")
@setup("drain")
def one_address(config):
    config["listener"][0]["addresses"] = [network.GATEWAY_IPV4]
    config["listener"][1]["addresses"] = [network.GATEWAY_IPV4]


@case("drain")
def a_session_is_redirected(world):
    """REDIRECT in INFORMATIONAL (RFC 5685 section 5): the client goes to the other gateway by itself."""
    with _other_gateway(world) as other:
        client = world.login()
        session = world.session_of("alice")
        _drain(world, "--to", OTHER, "--within", "20s")
        check(wait_until(lambda: other.json("sessions")["sessions"], 8), "the client did not follow", client.log())
        world.no_sessions(8)
        check(wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 5), "no traffic", client.log())
        check(client.session()["remote-host"] == OTHER, f"{client.session()}")
        status = world.gateway.json("status")["drain"]
        check((status["to"], status["sent_away"], status["left"]) == (OTHER, 1, 0), f"{status}")
        check("nobody is left" in world.gateway.command("status").stdout, "the status does not say that nobody is left")
        check(world.accounting(session["attempt"], "Stop"), "no Stop")


@case("drain")
def a_new_client_is_redirected(world):
    """REDIRECT in the answer to IKE_SA_INIT; after --cancel it comes in."""
    with _other_gateway(world) as other:
        _drain(world, "--to", OTHER)
        client = world.client()
        outcome = client.connect(Profile())
        check(wait_until(lambda: other.json("sessions")["sessions"], 8), f"the client did not follow: {outcome.error}", outcome.log)
        check(not world.sessions() and world.gateway.json("status")["ike"]["redirected"] >= 1, f"{world.sessions()}")
        client.forget()
        world.gateway.command("drain", "--cancel")
        check("drain" not in world.gateway.json("status"), "still draining")
        world.login()
        world.session_of("alice")


def _redirected_in_ike_auth(world, profile):
    """The login has begun when the gateway is told to send clients elsewhere: REDIRECT in IKE_AUTH (RFC 5685 section 6)."""
    client, outcomes = world.client(), []
    with _other_gateway(world) as other:
        with _filtered(world, NO_IKE_AUTH):
            login = threading.Thread(target=lambda: outcomes.append(client.connect(profile)))
            login.start()
            begun = wait_until(lambda: any(attempt["outcome"] == "running" for attempt in world.attempts()), 5)
            _drain(world, "--to", OTHER)
        login.join()
        check(begun, f"no login began: {world.attempts()}", client.log())
        check(wait_until(lambda: other.json("sessions")["sessions"], 8), f"the client did not follow: {outcomes}", client.log())
        log = client.log()
        check(any(re.search(r"parsed IKE_AUTH response .*N\(REDIR\)", line) for line in log), "no REDIRECT in IKE_AUTH", log)
        check(not world.sessions(), f"{world.sessions()}")
        check(wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 5), "no traffic", log)
        check(client.session()["remote-host"] == OTHER, f"{client.session()}")


@case("strongswan6_drain")
def a_login_with_a_certificate_is_redirected(world):
    _redirected_in_ike_auth(world, Profile(method="certificate", certificate="machine-rsa"))


@case("strongswan6_drain")
def a_login_with_eap_is_redirected(world):
    _redirected_in_ike_auth(world, Profile())


@case("drain")
def two_gateways_that_are_emptied_into_one_another(world):
    """The second refuses whom the first has sent to it, instead of sending the client back (RFC 5685 section 10)."""
    with _other_gateway(world) as other:
        _drain(world, "--to", OTHER)
        other.command("drain", "--to", network.GATEWAY_IPV4)
        before = _redirected(world.gateway)
        outcome = world.client().connect(Profile(seconds=6))
        check(not outcome.up and not world.sessions() and not other.json("sessions")["sessions"], "it came in somewhere", outcome.log)
        found = other.json("attempts", "list")["attempts"]
        check(found and all("evergate drain" in each["cause"] and f"sent here by {network.GATEWAY_IPV4}" in each["cause"] for each in found), f"{found}")
        # It is free to begin anew, but nobody sends it round.
        check((_redirected(world.gateway) - before, _redirected(other)) == (len(found), 0), f"it was sent back: {found}")


@case("drain")
def two_gateways_that_name_one_another(world):
    """The configured `redirect` of each is the other: whom one sends away the other serves."""
    with _other_gateway(world, redirect=network.GATEWAY_IPV4) as other:
        _drain(world, "--to", OTHER)
        client = world.client()
        outcome = client.connect(Profile())
        check(wait_until(lambda: other.json("sessions")["sessions"], 8), f"the client did not come in: {outcome.error}", outcome.log)
        check(_redirected(other) == 0, "it was sent back")
        check(wait_until(lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1), 5), "no traffic", client.log())


@case("drain")
def who_cannot_be_redirected_stays_until_the_end(world):
    """And new ones are refused at once."""
    try:
        world.clients |= {role: world.lab.client(role, tries=2, follow_redirects="no") for role in ("client", "client2")}
        _stays_until_the_end(world)
    finally:
        world.gateway.command("drain", "--cancel")
        # The next case's clients follow again.
        for role in ("client", "client2"):
            world.clients.pop(role).stop()


def _stays_until_the_end(world):
    client = world.login()
    session = world.session_of("alice")
    _drain(world, "--to", OTHER, "--within", "4s")
    started = time.monotonic()
    attempt = world.refused(Profile(user="dave"), role="client2", notify="TEMP_FAIL", stage="sa_init", cause="evergate drain")
    check(time.monotonic() - started < 3, f"the refusal took {time.monotonic() - started:.1f} s")
    check(attempt["outcome"] == "failed" and client.session(), "the one that is in should stay", client.log())
    check(wait_until(lambda: client.session() is None, 8), "the client was not told goodbye")
    check(time.monotonic() - started > 2, "it was sent away too early")
    check(world.accounting(session["attempt"], "Stop")["Acct-Terminate-Cause"] == "Admin-Reset", "not Admin-Reset")


def _redirected(gateway):
    return gateway.json("status")["ike"]["redirected"]


def _drain(world, *arguments):
    world.gateway.command("drain", *arguments)


@contextmanager
def _other_gateway(world, **listener):
    """A second gateway beside the first, on the NAT side's address; it is gone afterwards, and the first takes clients again."""
    other = Gateway(world.lab.folder / "gateway2", world.lab.namespace("gateway"), world.lab.pki, SECRET, world.gateway.binary)
    config = other.default_config()
    config["server"]["tun"] = "evergate1"
    config["listener"] = config["listener"][:1]
    config["listener"][0] |= {"addresses": [OTHER], **listener}
    config["pool"] = [{"name": "users", "ipv4": ["10.96.0.10-10.96.0.250"], "ipv6": ["fd96::10-fd96::fff"]}]
    other.start(config)
    try:
        yield other
    finally:
        world.gateway.command("drain", "--cancel", check=False)
        for client in world.clients.values():
            if client.running():
                client.forget()
        other.stop()


def _initiate(client):
    with client.charon.vici() as vici:
        vici.call("initiate", {"ike": client.NAME, "child": "net", "timeout": 5000})


def _resting(world, client):
    """Waits until the session of alice has no Child SA, on both sides; the session."""
    found = wait_until(lambda: "resting_since" in world.session_of("alice"), 12)
    check(found, f"the Child SA is still there: {world.session_of('alice')}", client.log())
    check(any(sa.get("state") == "ESTABLISHED" for sa in client.charon.sas()), "the client has given up its IKE SA", client.log())
    return world.session_of("alice")


def _cut_off(world):
    """Nothing passes between the client and its direct link."""
    return _filtered(world, CUT)


@contextmanager
def _filtered(world, rules):
    """These rules, of table `cut`, hold at the client."""
    world.lab.network.exec("client", ["nft", "-f", "-"], input=rules)
    try:
        yield
    finally:
        world.lab.network.exec("client", ["nft", "delete", "table", "inet", "cut"])


@contextmanager
def _without_ipv4(world):
    """The client has IPv6 on its direct link, and nothing else."""
    links = (("wan0", "10.99.1.2/24"), ("nat0", "10.99.3.2/24"))
    for link, address in links:
        world.lab.network.exec("client", ["ip", "addr", "del", address, "dev", link])
    try:
        yield
    finally:
        for link, address in links:
            world.lab.network.exec("client", ["ip", "addr", "add", address, "dev", link])
        for target in ("10.99.2.0/24", "default"):
            world.lab.network.exec("client", ["ip", "route", "replace", target, "via", "10.99.3.1"])


@contextmanager
def _without_addresses(world):
    """The client's direct link has no addresses: only the way behind the NAT router is left."""
    ipv4, ipv6 = ["10.99.1.2/24", "dev", "wan0"], ["fd99:1::2/64", "dev", "wan0"]
    for address in (ipv6, ipv4):
        world.lab.network.exec("client", ["ip", "addr", "del", *address])
    try:
        yield
    finally:
        world.lab.network.exec("client", ["ip", "addr", "add", *ipv4])
        world.lab.network.exec("client", ["ip", "addr", "add", *ipv6, "nodad"])
