"""Packet filters and rate limits: what a policy or FreeRADIUS restricts is restricted in the tunnel, whatever tunnel it is."""

from pathlib import Path

import cases_dynamic
from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until
from sstp_client import Sstp

# Sends a datagram to each port and tells which were answered; and its other end.
ASK = """
import socket, sys
heard = []
for port in map(int, sys.argv[2:]):
    with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.3)
        asker.connect((sys.argv[1], port))
        for _ in range(2):
            asker.send(b"?")
            try:
                heard += [port] if asker.recv(9) else []
                break
            except OSError:
                pass
print(*heard)
"""
ANSWER = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", port))
    ready.register(server, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.sendto(*key.fileobj.recvfrom(99))
"""
OPEN, SHUT = 7001, 7002


@setup("filters")
def filters(config):
    config["filter"] = [
        {"name": "narrow", "rules": [f"permit in udp from assigned to any {OPEN}", f"permit out udp from any {OPEN} to assigned"]},
        {"name": "deaf", "rules": ["deny out ip from any to assigned"]},
        {"name": "distant", "rules": [f"deny in icmp from any to {network.LAN_DNS}", f"deny out icmp from {network.LAN_DNS} to any"]},
    ]
    file = Path(config["server"]["state_dir"] + ".dynamic")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(cases_dynamic.SECRET + "\n")
    config["dynamic_client"] = [{"name": "portal", "address": network.RADIUS_IPV4, "secret_file": str(file)}]
    pool = config["pool"][0]["name"]
    config["policy"][:0] = [{"name": "slow", "user": ["dave"], "pool": pool, "rate_limit_out": "2M", "rate_limit_burst": "200ms"}]


class Answering:
    """Both ports answer in a namespace while the `with` block runs."""

    def __init__(self, world, role):
        self.end = world._beside(role, ["python3", "-c", ANSWER, OPEN, SHUT])
        self.world, self.role = world, role

    def __enter__(self):
        listening = lambda: str(SHUT) in self.world.lab.network.exec(self.role, ["ss", "-lun"]).stdout
        # Python alone takes seconds to start on a machine that has much to do.
        if not wait_until(listening, 30):
            check(False, f"nobody listens: {self.end()}")
        return self

    def __exit__(self, *_):
        self.end()


def heard(world, role, target):
    """The ports of `target` that answered."""
    return [int(port) for port in world.lab.network.exec(role, ["python3", "-c", ASK, target, OPEN, SHUT]).stdout.split()]


def inner(session, mark="."):
    return next(address for address in session["inner"] if mark in address)


def narrowed(world, user, names, families=(network.LAN_IPV4,)):
    """The open port passes both ways, the other neither way, and it is counted."""
    world.login(Profile(user=user, addresses=("0.0.0.0", "::")), ping=False)
    with Answering(world, "lan"), Answering(world, "client"):
        for target in families:
            check(heard(world, "client", target) == [OPEN], f"{target} answered on other ports")
    session = world.session_of(user)
    check(session["filters"] == names, f"{session}")
    check(session["filtered_in"] >= 2, f"{session}")
    return session


@case("filters")
def filter_id_names_a_configured_filter(world):
    session = narrowed(world, "narrow", ["narrow"], (network.LAN_IPV4, network.LAN_IPV6))
    with Answering(world, "client"):
        check(heard(world, "lan", inner(session)) == [], "an answer from a port that may not be reached")
    after = world.session_of("narrow")
    check(after["filtered_out"] >= 4, f"{after}")
    drops = world.gateway.json("status")["dataplane"]["drops"]
    check(drops["filtered_in"] >= after["filtered_in"] and drops["filtered_out"] >= 4, f"{drops}")


@case("filters")
def rules_of_radius_hold(world):
    narrowed(world, "ruled", ["NAS-Filter-Rule"], (network.LAN_IPV4, network.LAN_IPV6))


@case("filters")
def filters_of_windows_hold(world):
    narrowed(world, "windows", ["MS-Filter"])
    world.ping(target=network.LAN_IPV6)


@case("filters")
def a_filter_that_is_not_there_keeps_the_user_out(world):
    cause = "packet filter .nowhere. .Filter-Id.*not configured.*ignore_filters"
    world.refused(Profile(user="unknown"), notify="AUTH_FAILED", stage="radius", cause=cause)


@case("filters")
def a_coa_changes_the_filter_of_a_running_session(world):
    world.login()
    with Answering(world, "lan"):
        check(heard(world, "client", network.LAN_IPV4) == [OPEN, SHUT], "a port is shut without a filter")
        change = lambda name: cases_dynamic.ask(world, "coa", User_Name="alice", Filter_Id=name)
        check(change("nowhere") == "CoA-NAK Invalid-Attribute-Value", "a filter that is not there was acknowledged")
        check(heard(world, "client", network.LAN_IPV4) == [OPEN, SHUT], "a refused change changed something")
        for name, expected in (("narrow", [OPEN]), ("deaf", []), ("deaf.in", [OPEN, SHUT])):
            check(change(name) == "CoA-ACK", f"{name} was refused")
            check(heard(world, "client", network.LAN_IPV4) == expected, f"with the filter {name} other ports than {expected} answered")
    session = world.session_of("alice")
    check(session["filters"] == ["deaf.in"] and session["filtered_in"] > 0 and session["filtered_out"] > 0, f"{session}")


@case("filters")
def sstp_is_filtered_likewise(world):
    pings = ("--count", "1", "--ping", network.LAN_IPV4, "--ping", network.LAN_DNS)
    with Sstp(world.lab, world.gateway.binary).held(*pings, user="distant") as call:
        check(call.up["ping"] == {network.LAN_IPV4: 1, network.LAN_DNS: 0}, f"{call.up}")
        session = world.session_of("distant")
        check(session["filters"] == ["distant"] and session["filtered_in"] == 1, f"{session}")
        before = session["filtered_out"]
        argv = ["ping", "-c", "2", "-i", "0.2", "-W", "0.3", "-I", network.LAN_DNS, inner(session)]
        check(world.lab.network.exec("lan", argv, check=False).returncode != 0, "an answer although the echo request may not come")
        check(world.session_of("distant")["filtered_out"] - before == 2, f"{world.session_of('distant')}")


@case("filters")
def rates_are_kept(world):
    world.login(Profile(user="dave"), ping=False)
    moved = world.transfer(0.6, "down")
    rate = moved["bytes"] * 8 / moved["seconds"]
    check(rate < 2_300_000, f"{rate:.0f} bit/s with a limit of 2 Mbit/s")
    session = world.session_of("dave")
    check(session["rate_limit_out"] == 2_000_000 and session["rate_limited"] > 0, f"{session}")
