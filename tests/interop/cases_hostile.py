"""Strangers who send anything but a login."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import in_namespace, wait_until

HOSTILE = Path(__file__).with_name("hostile.py")
SHADOW = Path(__file__).with_name("shadow.py")
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


@setup("sniffed")
def _talkative(config):
    config["timers"] = {"liveness_interval": "1s"}


@contextlib.contextmanager
def _shadow(world, seed):
    """Answers every datagram between client and gateway with forged ones to the gateway."""
    argv = [sys.executable, str(SHADOW), "wan0", network.GATEWAY_IPV4, str(seed), str(MARK)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(in_namespace(world.lab.namespace("client"), argv), **pipes)
    try:
        check(process.stdout.readline() == "ready\n", "the shadow does not run")
        yield
        check(process.poll() is None, "the shadow ended")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _undisturbed(world, profile):
    """A whole life of a session; nothing of it is said twice."""
    client = world.login(profile)
    first = world.session_of(profile.user)
    with world.pinging():
        check(client.rekey_child(), "the Child SA was not rekeyed")
        check(client.rekey_ike(), "the IKE SA was not rekeyed")
        check(client.rekey_child(), "the Child SA was not rekeyed afterwards")
    # The gateway asks for signs of life meanwhile.
    time.sleep(2.5)
    world.ping()
    last = world.session_of(profile.user)
    check((last["id"], last["client"], last["inner"]) == (first["id"], first["client"], first["inner"]), f"{first} became {last}")
    check(client.disconnect(), "no answer to DELETE")
    world.no_sessions()


@case("sniffed")
def forgeries_with_the_right_numbers_change_nothing(world):
    """EAP with MOBIKE, and a certificate in fragments: in no phase does a message without the keys end, delay or change anything."""
    client = world.client()
    mark = client.charon.log.stat().st_size
    with _shadow(world, 1):
        for profile in (Profile(), Profile(method="eap-tls", user="alice@example.test", fragmentation="force"), Profile(addresses=("0.0.0.0", "::"))):
            before = {attempt["id"] for attempt in world.attempts()}
            _undisturbed(world, profile)
            # A forged first message that comes when the login is over may begin one of its own, which goes no further.
            fresh = [attempt for attempt in world.attempts() if attempt["id"] not in before and attempt["stage"] != "sa_init"]
            check(len(fresh) == 1, f"{len(fresh)} attempt records instead of one: {fresh}")
    with open(client.charon.log, errors="replace") as log:
        log.seek(mark)
        again = [line for line in log if "retransmit" in line and "received retransmit" not in line]
    check(not again, f"the client had to ask again: {again}")
    status = world.gateway.json("status")
    check(status["ike"]["forged"] > 100, f"forgeries were not counted: {status['ike']}")
    check(status["dataplane"]["drops"].get("forged", 0) > 100, f"forged ESP was not counted: {status['dataplane']}")
    check(status["dataplane"]["drops"].get("replayed", 0) > 10, f"repeated ESP was not counted: {status['dataplane']}")
