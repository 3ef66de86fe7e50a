"""Strangers who send anything but a login."""

import sys
from pathlib import Path

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until

HOSTILE = Path(__file__).with_name("hostile.py")
# The VPN client sends its own packets with this mark, past its tunnel.
MARK = 0x42


@setup("hostile")
def _impatient(config):
    config["limits"] = {"half_open_timeout": "3s"}


def _attack(world, role, seed):
    world.lab.network.exec(role, [sys.executable, str(HOSTILE), network.GATEWAY_IPV4, str(seed), str(MARK)], check=True)


@case("hostile")
def garbage_disturbs_nobody(world):
    client = world.login()
    before = world.session_of("alice")
    with world.pinging():
        for seed in range(3):
            # Also from the client's own address: only what the keys of its session made may count as its word.
            _attack(world, "client2", seed)
            _attack(world, "client", seed + 100)
    check(world.session_of("alice")["id"] == before["id"], "the session was replaced")
    check(client.rekey_child() and client.rekey_ike(), "the session cannot be rekeyed afterwards")
    status = world.gateway.json("status")
    for counter in ("malformed", "unknown_spi", "unsupported_version", "cookies_sent"):
        check(status["ike"].get(counter, 0) > 0, f"{counter} was not counted: {status['ike']}")
    check(status["dataplane"]["drops"].get("unknown_spi", 0) > 0, f"ESP of strangers was not counted: {status['dataplane']}")


@case("hostile")
def logins_work_beside_an_attack_and_half_open_sessions_end(world):
    _attack(world, "client2", 7)
    check(world.gateway.json("status")["half_open"] <= 1000, "half-open sessions are not bounded")
    world.login()
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave"), role="client2")
    check(wait_until(lambda: world.gateway.json("status")["half_open"] == 0, 20), "half-open sessions stay")
    world.ping()
