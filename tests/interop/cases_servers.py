"""Several RADIUS servers: failover and return, slow but alive, who is asked about whom, and somebody on the path who forges replies."""

import contextlib
import re
import subprocess
import sys
import threading
from pathlib import Path

from harness import TEST_USERS, case, check, setup
from labkit.client import Profile
from labkit.network import NAS_IPV4, RADIUS_IPV4
from labkit.radius import SECRET, Radius, User
from labkit.shell import in_namespace, wait_until
from sstp_client import Sstp

FORGER = Path(__file__).with_name("forger.py")
# Ports of two servers of these cases' own, which they may kill, and of whoever sits before the first.
ONE, TWO, FORGED = 2812, 3812, 4812
USERS = (*TEST_USERS, User("slow", seconds=3), User("frank@one.test"), User("grace@two.test"))


def _server(config, name, port, **more):
    secret = config["radius"][0]["secret_file"]
    server = {"name": name, "address": RADIUS_IPV4, "port": port, "accounting_port": port + 1, "secret_file": secret}
    return server | {"retransmit_initial": "300ms", "tries": 2, "revive_interval": "1s"} | more


def _radius(world, name, port, **options):
    folder = world.lab.folder / f"radius-{name}"
    (folder / "radius.log").unlink(missing_ok=True)
    return Radius(folder, world.lab.namespace("radius"), world.lab.pki, users=USERS, ports=(port, port + 1), **options)


@contextlib.contextmanager
def _servers(world):
    one, two = _radius(world, "one", ONE), _radius(world, "two", TWO)
    try:
        yield one.start(), two.start()
    finally:
        one.stop(hard=True)
        two.stop(hard=True)


def _status(world, name):
    (found,) = [server for server in world.gateway.json("status")["radius"] if server["name"] == name]
    return found


def _is(world, name, standing, seconds=6):
    check(wait_until(lambda: _status(world, name)["standing"] == standing, seconds), f"not {standing}: {_status(world, name)}")


def _call(world, **options):
    """A login by MS-CHAPv2: one question to RADIUS."""
    return Sstp(world.lab, world.gateway.binary).call(auth="mschapv2", **options)


def _came_up(outcome):
    check(outcome["event"] == "up", f"the call did not come up: {outcome}")


@setup("servers")
def _two_servers(config):
    probe = {"probe": "status-server"}
    config["radius"] = [_server(config, "one", ONE, **probe), _server(config, "two", TWO, **probe)]
    config["radius_group"] = [{"name": "both", "servers": ["one", "two"]}]
    config["request_policy"] = [{"name": "all", "group": "both"}]


@case("servers")
def a_server_dies_in_mid_eap_and_returns(world):
    with _servers(world) as (one, two):
        before = {attempt["id"] for attempt in world.attempts()}
        sent = _status(world, "one")["counters"]["sent"]
        client = world.client()
        login = threading.Thread(target=lambda: client.connect(Profile(user="slow")))
        login.start()
        check(wait_until(lambda: _status(world, "one")["counters"]["sent"] >= sent + 3, 10), f"{_status(world, 'one')}")
        one.stop(hard=True)
        login.join(30)
        attempt = world.record(before, "radius", "one was lost in the middle of an EAP conversation")
        check(attempt["user"] == "slow", f"{attempt}")
        client.forget()
        _is(world, "one", "dead")
        world.login()
        check(two.logins() and world.session_of("alice")["radius"] == "two", f"{world.sessions()}")
        client.forget()
        one.start()
        _is(world, "one", "alive")
        world.login(Profile(user="dave"))
        check(world.session_of("dave")["radius"] == "one", f"{world.sessions()}")


@case("servers")
def a_slow_server_that_answers_probes_is_waited_for(world):
    with _servers(world) as (one, two):
        before = _status(world, "one")["counters"]["retransmitted"]
        _came_up(_call(world, user="slow", timeout="20"))
        check(_status(world, "one")["counters"]["retransmitted"] >= before + 2, "nothing was repeated: it was not slow")
        check("slow" in one.logins() and "slow" not in two.logins(), f"{one.logins()} {two.logins()}")


@setup("server_choice")
def _realms(config):
    config["radius"] = [_server(config, "one", ONE), _server(config, "two", TWO)]
    config["radius_group"] = [{"name": "first", "servers": ["one"]}, {"name": "second", "servers": ["two"]}]
    config["request_policy"] = [
        {"name": "ones", "realm": ["one.test"], "group": "first"},
        {"name": "twos", "realm": ["two.test"], "group": "second"},
        {"name": "corp", "realm": ["CORP"], "group": "second", "rewrite": [{"match": "CORP\\*", "replace": "{1}"}]},
    ]


@case("server_choice")
def realms_go_to_their_groups(world):
    with _servers(world) as (one, two):
        for user, server in (("frank@one.test", one), ("grace@two.test", two)):
            client = world.login(Profile(user=user))
            check(server.logins()[-1] == user, f"{one.logins()} {two.logins()}")
            client.forget()
        world.refused(Profile(user="alice"), notify="AUTH_FAILED", stage="radius", cause="none of 3 connection request policies matches.*ones.*twos")
        check("alice" not in one.logins() + two.logins(), "a server was asked")


@case("server_choice")
def a_rewritten_name_reaches_the_server(world):
    with _servers(world) as (one, two):
        _came_up(_call(world, user="CORP\\alice"))
        check(two.logins() == ["alice"] and not one.logins(), f"{one.logins()} {two.logins()}")


@setup("server_routes")
def _one_server_a_realm(config):
    _realms(config)


@contextlib.contextmanager
def _gateway(world, there, back):
    """While the gateway's host has other addresses or routes: commands of `ip`, and those that take them back."""
    try:
        for command in there:
            world.lab.network.exec("gateway", ["ip", *command.split()])
        yield
    finally:
        for command in back:
            world.lab.network.exec("gateway", ["ip", *command.split()])


@case("server_routes")
def servers_are_asked_from_the_address_of_the_moment(world):
    """Where the source of requests is the kernel's choice, changed addresses and routes need no restart."""
    unknown, moved = "10.77.20.1", "10.99.20.3"
    add, remove = f"addr add {unknown}/32 dev mgt0", f"addr del {unknown}/32 dev mgt0"
    by_unknown = f"{RADIUS_IPV4}/32 dev mgt0 src {unknown}"
    with _servers(world):
        before = {attempt["id"] for attempt in world.attempts()}
        with _gateway(world, (add, f"route add {by_unknown}"), (f"route del {by_unknown}", remove)):
            check(_call(world, user="frank@one.test", timeout="20")["event"] != "up", "the server answered whom it does not know")
            world.record(before, "radius", "one.*no valid reply")
        _came_up(_call(world, user="frank@one.test"))
        said = f"is asked from another address.* source={NAS_IPV4} before={unknown}"
        log = world.gateway.daemon.log_file.read_text()
        check(re.search(said, re.sub(r"\x1b\[[0-9;]*m", "", log)), "the log does not say so")
        _came_up(_call(world, user="grace@two.test"))
        here, there = (f"addr {{}} {address}/24 dev mgt0" for address in (NAS_IPV4, moved))
        with _gateway(world, (here.format("del"), there.format("add")), (there.format("del"), here.format("add"))):
            _came_up(_call(world, user="grace@two.test"))


@setup("server_auto")
def _auto(config):
    config["radius"] = [_server(config, "one", ONE, require_message_authenticator="auto")]


@case("server_auto")
def auto_learns_from_replies_that_need_no_signature(world):
    """FreeRADIUS before 3.2.5 signs EAP alone: that tells nothing about the rest. One that signs the rest must go on doing so."""
    old, new = _radius(world, "one", ONE, signs=False), _radius(world, "one", ONE)
    try:
        old.start()
        world.login().forget()
        _came_up(_call(world))
        old.stop()
        new.start()
        _came_up(_call(world))
        new.stop()
        old.start()
        before = {attempt["id"] for attempt in world.attempts()}
        check(_call(world, timeout="20")["event"] != "up", "an unsigned reply was believed")
        world.record(before, "radius", "one.*without Message-Authenticator")
    finally:
        old.stop(hard=True)
        new.stop(hard=True)


@contextlib.contextmanager
def _forger(world, passes):
    command = [sys.executable, FORGER, FORGED, ONE, SECRET, "1" if passes else "0"]
    process = subprocess.Popen(in_namespace(world.lab.namespace("radius"), command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        check(process.stdout.readline() == "ready\n", "the forger does not run")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@setup("server_forged")
def _behind_a_forger(config):
    config["radius"] = [_server(config, "one", FORGED, accounting_port=ONE + 1)]


@case("server_forged")
def forged_replies_are_dropped_and_counted(world):
    one = _radius(world, "one", ONE)
    try:
        one.start()
        with _forger(world, passes=True):
            world.login().forget()
            _came_up(_call(world))
        counted = _status(world, "one")["counters"]
        for kind in ("source", "malformed", "unsolicited", "authenticator", "message_authenticator", "code", "proxy_state"):
            check(counted[f"dropped_{kind}"] > 0, f"no {kind} was counted: {counted}")
        with _forger(world, passes=False):
            before = {attempt["id"] for attempt in world.attempts()}
            check(_call(world, timeout="20")["event"] != "up", "a forged reply was believed")
            world.record(before, "radius", "one.*no valid reply.*Proxy-State")
            world.refused(Profile(user="dave"), notify="AUTH_FAILED", stage="radius", cause="one.*no valid reply.*Response Authenticator")
    finally:
        one.stop(hard=True)


@setup("server_large")
def _with_a_large_certificate(config):
    config["radius"] = [_server(config, "one", ONE)]


@case("server_large")
def eap_tls_with_certificates_larger_than_a_packet(world):
    """RSA keys of 4096 bits, an authority between root and leaf, and many names, on both sides and through both tunnels."""
    pki, user = world.lab.pki, "alice@example.test"
    one = _radius(world, "one", ONE, certificate="radius-large")

    def fragmented(login):
        before = _status(world, "one")["counters"]["sent"]
        login()
        rounds = _status(world, "one")["counters"]["sent"] - before
        check(rounds > 12, f"{rounds} requests carried both certificates: they are not large")
        timeline = [line["text"] for line in world.attempt(world.attempts()[0]["id"])["timeline"]]
        check(any("RADIUS shows the certificate" in text and "host-05.large" in text for text in timeline), f"{timeline}")
        check(any("the client shows the certificate" in text and "CN=alice" in text for text in timeline), f"{timeline}")

    try:
        one.start()
        fragmented(lambda: world.login(Profile(method="eap-tls", user=user, certificate="alice-large")))
        sstp = {"auth": "eap-tls", "user": user, "cert": pki.cert("alice-large"), "key": pki.key("alice-large")}
        fragmented(lambda: _came_up(Sstp(world.lab, world.gateway.binary).call(**sstp)))
    finally:
        one.stop(hard=True)
