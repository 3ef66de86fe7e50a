"""Addresses and networks that RADIUS gives: networks behind the client, pools by name, prefixes, and what cannot be."""

import contextlib

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until
from sstp_client import Sstp

DUAL = ("0.0.0.0", "::")
# The client's own selectors: everything that is its own.
OFFICE = Profile(user="office", addresses=DUAL, child=(("local_ts", ["0.0.0.0/0", "::/0"]),))
BEHIND = ["10.95.0.0/16", "10.96.0.0/29", "fd94::/56", "fd95::/48"]
REPORTED = {
    "Framed-IP-Address": "10.96.0.1",
    "Framed-IP-Netmask": "255.255.255.248",
    "Framed-Route": "10.95.0.0/16 10.96.0.1 1",
    "Framed-IPv6-Prefix": "fd96:1::/64",
    "Framed-IPv6-Route": "fd95::/48 :: 1",
    "Delegated-IPv6-Prefix": "fd94::/56",
}


@setup("framed")
def framed(config):
    config["pool"].append({"name": "second", "ipv4": ["10.94.0.0/24"]})
    config["pool"].append({"name": "third", "ipv6": ["fd93::10-fd93::1f"]})
    config["policy"].insert(0, {"name": "of another server", "radius_server": ["elsewhere"], "grant": False})
    config["radius"].append(config["radius"][0] | {"name": "elsewhere", "accounting_port": 0})


def routes(world, prefix):
    family = "-6" if ":" in prefix else "-4"
    return world.lab.network.exec("gateway", ["ip", family, "route", "show", prefix]).stdout.strip()


def reported(record):
    values = {name: value.strip('"') for name, value in record.items()}
    check(REPORTED.items() <= values.items(), f"accounting says {record}")


@contextlib.contextmanager
def hosts_behind(world, *addresses):
    """Hosts behind the client, which for the lab are addresses of its own."""
    for address in addresses:
        world.lab.network.exec("client", ["ip", "addr", "add", address, "dev", "lo", *(["nodad"] if ":" in address else [])])
    try:
        yield
    finally:
        for address in addresses:
            world.lab.network.exec("client", ["ip", "addr", "del", address, "dev", "lo"])


@case("framed")
def networks_behind_an_ikev2_client(world):
    hosts = ("10.96.0.6", "10.95.200.1", "fd95::1", "fd94:0:0:ff::1")
    with hosts_behind(world, "10.96.0.6/32", "10.95.200.1/32", "fd95::1/128", "fd94:0:0:ff::1/128"):
        client = world.login(OFFICE)
        check(client.addresses() == ["10.96.0.1", "fd96:1::7"], f"assigned {client.addresses()}")
        session = world.session_of("office")
        check(session["networks"] == BEHIND, f"behind it: {session['networks']}")
        for host in hosts:
            world.ping("lan", host)
        reported(world.accounting(session["attempt"], "Start"))
        check(client.disconnect(), "no answer to DELETE")
    world.no_sessions()
    check(wait_until(lambda: not any(routes(world, prefix) for prefix in BEHIND), 5), f"routes are left: {[routes(world, prefix) for prefix in BEHIND]}")
    reported(world.accounting(session["attempt"], "Stop"))


@case("framed")
def networks_behind_an_sstp_client(world):
    sstp = Sstp(world.lab, world.gateway.binary)
    for source, target in (("10.96.0.6", network.LAN_IPV4), ("10.95.200.1", network.LAN_IPV4), ("fd94:0:0:ff::1", network.LAN_IPV6)):
        found = sstp.call("--ping", target, user="office", source=source)
        check(found.get("event") == "up" and found["ping"] == {target: 3}, f"{source}: {found}")
    check(found["ipv4"]["address"] == "10.96.0.1" and found["ipv6"] == "fd96:1::7", f"{found}")
    # Of what is not the client's nothing comes through.
    found = sstp.call("--ping", network.LAN_IPV4, "--count", "1", user="office", source="10.96.0.9")
    check(found["ping"] == {network.LAN_IPV4: 0}, f"{found}")
    found = sstp.call("--ping", network.LAN_IPV4, "--count", "1", source="10.96.0.6")
    check(found["ping"] == {network.LAN_IPV4: 0}, f"alice has the network of another: {found}")


@case("framed")
def one_network_has_one_client(world):
    # strongSwan would route the network, which takes a host in it: the tunnel of this one is for its own address.
    world.login(Profile(user="office"))
    second = Profile(user="branch", server=network.GATEWAY_IPV4_BEHIND_NAT)
    cause = r"10\.95\.7\.0/24 behind the client overlaps network 10\.95\.0\.0/16 of office"
    world.refused(second, role="client2", notify="INT_ADDR_FAIL", stage="address", cause=cause)
    world.ping()
    world.client().disconnect()
    world.no_sessions()
    world.login(second, role="client2")
    check(world.session_of("branch")["networks"] == ["10.95.7.0/24"], f"{world.sessions()}")


@case("framed")
def no_network_holds_the_gateway(world):
    attempt = world.refused(Profile(user="greedy"), notify="AUTH_FAILED", stage="radius", cause=r"10\.99\.0\.0/16 would lie behind the client, but it holds")
    check(world.attempt(attempt["id"])["windows_code"] == "812", f"{attempt}")


@case("framed")
def a_pool_that_there_is_not(world):
    cause = r'Framed-Pool "nowhere" names no pool of this gateway: its pools are .*"second", "third"'
    attempt = world.refused(Profile(user="nowhere"), notify="AUTH_FAILED", stage="radius", cause=cause)
    check(world.attempt(attempt["id"])["windows_code"] == "812", f"{attempt}")
    found = Sstp(world.lab, world.gateway.binary).call(user="nowhere", auth="mschapv2")
    check(found.get("event") == "error" and "E=649" in found["message"], f"{found}")


@case("framed")
def pools_by_name(world):
    client = world.login(Profile(user="pooled", addresses=DUAL))
    ipv4, ipv6 = client.addresses()
    check(ipv4.startswith("10.94.0.") and ipv6.startswith("fd93::"), f"assigned {client.addresses()}")


@case("framed")
def termination_action_asks_for_a_new_login(world):
    """Session-Timeout with RADIUS-Request: the client is told in time (RFC 4478), authenticates anew, and stays."""
    # A lifetime of 65 s is told: the client begins a few seconds after its login.
    client = world.login(Profile(user="renewed", over_time="60s"))
    check(world.last.saw(r"AUTH_LFT"), "the client is told no lifetime")
    first, addresses = world.session_of("renewed"), client.addresses()
    check(wait_until(lambda: [s["id"] for s in world.sessions() if s["user"] == "renewed"] not in ([], [first["id"]]), 20), "no second login", client.log())
    check(wait_until(lambda: [s["id"] > first["id"] for s in world.sessions() if s["user"] == "renewed"] == [True], 5), f"{world.sessions()}")
    check(client.addresses() == addresses, f"{addresses} became {client.addresses()}")
    world.ping()


@case("framed")
def termination_action_is_not_kept_over_sstp_and_the_record_says_so(world):
    found = Sstp(world.lab, world.gateway.binary).call(user="renewed", auth="mschapv2")
    check(found.get("event") == "up", f"{found}")
    timeline = [line["text"] for line in world.attempt(world.attempts()[0]["id"])["timeline"]]
    check(any("Termination-Action RADIUS-Request cannot be kept" in text for text in timeline), f"{timeline}")
    ignored = [server["ignored"] for server in world.gateway.json("status")["radius"]]
    check(any("Termination-Action" in names for names in ignored), f"{ignored}")
