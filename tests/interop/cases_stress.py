"""Many at once: sessions that must not feel a dead RADIUS server, a carrier's NAT beside a flood."""

import contextlib
import subprocess
import sys
from pathlib import Path

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import in_namespace, wait_until
from load_client import storm, vigil

STRANGERS = Path(__file__).with_name("strangers.py")
SESSIONS = 500


@setup("stress")
def _room_for_many(config):
    config["pool"] = [{"name": "users", "ipv4": ["10.98.0.10-10.98.15.250"]}]
    config["limits"] = {"cookie_threshold": 100, "half_open_timeout": "5s"}


@case("stress", alone=True)
def five_hundred_sessions_live_while_radius_is_dead(world):
    """Half of them give up after the 5 s of an Apple client, half after Android's 15 s; logins pour in all the time and wait."""
    with vigil(world, "client", SESSIONS, 10, "--newcomers-per-second", "30") as watch:
        world.radius.freeze()
        report = watch.watch(10)
        world.radius.thaw()
    check(report["sessions"] == SESSIONS and not report["lost"], f"sessions were lost: {report}")
    check(report["answered"] > 4 * SESSIONS, f"too few requests for a verdict: {report}")
    check(report["newcomers"] >= 200 and report["newcomers_up"] == 0, f"the newcomers did not wait: {report}")
    world.no_sessions(10)


@contextlib.contextmanager
def _flood(world, role, *arguments):
    command = in_namespace(world.lab.namespace(role), [sys.executable, STRANGERS, *arguments])
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        check(process.stdout.readline() == "ready\n", "the flood does not run")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@setup("flooded")
def _without_cookies(config):
    config["limits"] = {"cookie_threshold": 10_000, "half_open_per_source": 10_000, "half_open_timeout": "3s"}


@case("flooded", alone=True)
def sessions_are_rekeyed_during_a_flood_of_large_key_exchanges(world):
    """More first messages with MODP4096 than the gateway can compute, until it has no room for another."""
    client = world.login(Profile(esp=("aes256gcm16-ecp384",)))
    first = world.session_of("alice")
    with _flood(world, "client2", network.GATEWAY_IPV4_BEHIND_NAT, "10.99.3.20", "100", "2000", "16", "512"):
        busy = wait_until(lambda: any("busy" in (attempt["cause"] or "") for attempt in world.attempts()), 20)
        check(busy, "the gateway had room for all key exchanges")
        check(client.rekey_child(), "the Child SA was not rekeyed")
        check(client.rekey_ike(), "the IKE SA was not rekeyed")
        check(client.rekey_child(), "the Child SA was not rekeyed afterwards")
        world.ping()
    check(world.session_of("alice")["id"] == first["id"], "the session was replaced")


@case("stress", alone=True)
def two_hundred_behind_one_address_log_in_during_a_flood(world):
    """As many private addresses, one outside address with a port each; strangers elsewhere send first messages and never go on."""
    for number in range(200):
        world.lab.network.exec("client2", ["ip", "addr", "add", f"10.99.3.{number + 20}/24", "dev", "nat0"])
    before = world.gateway.json("status")["ike"].get("cookies_sent", 0)
    try:
        with _flood(world, "client", network.GATEWAY_IPV4, "10.99.1.20", "200", "600"):
            check(wait_until(lambda: world.gateway.json("status")["ike"].get("cookies_sent", 0) > before, 5), "no cookies above the threshold")
            locals_ = ["--local", "10.99.3.20", "--locals", "200", "--count", "200", "--parallel", "200", "--keep"]
            report = storm(world, "client2", *locals_, server=network.GATEWAY_IPV4_BEHIND_NAT)
            half_open = world.gateway.json("status")["half_open"]
    finally:
        world.lab.network.exec("client2", ["ip", "addr", "flush", "dev", "nat0"])
        world.lab.network.exec("client2", ["ip", "addr", "add", "10.99.3.3/24", "dev", "nat0"])
        world.lab.network.exec("client2", ["ip", "route", "replace", "default", "via", "10.99.3.1"])
    check(report["established"] == 200 and not report["failures"], f"{report}")
    check(half_open <= 310, f"{half_open} half-open IKE SAs above the threshold")
    outside = {attempt["client"] for attempt in world.attempts() if attempt["outcome"] != "failed"}
    ports = {client for client in outside if client.startswith(network.NAT_OUTSIDE + ":")}
    check(len(ports) >= 200, f"the 200 clients came from {len(ports)} ports of one address")
    check(wait_until(lambda: world.gateway.json("status")["half_open"] == 0, 15), "half-open IKE SAs stay")
    world.no_sessions()
