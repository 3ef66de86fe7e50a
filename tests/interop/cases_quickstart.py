"""README's first command: from nothing to a gateway that runs, and to clients that connect with nothing but what it wrote and printed."""

import contextlib
import os
import re
import signal

from cases_sstp import client
from harness import case, check
from labkit import network
from labkit.shell import Daemon, wait_until
from swanctl import load

NAME = network.GATEWAY_IPV4


@contextlib.contextmanager
def _quickstart(world):
    """Runs it as its user does, but for the places of socket and state, which the laboratory must not share with the host."""
    gateway = world.gateway
    folder = gateway.folder / "quickstart"
    gateway.stop()
    gateway.control_socket.unlink(missing_ok=True)
    daemon = Daemon(gateway.namespace, gateway.folder / "quickstart.pid", gateway.folder / "quickstart.log")
    places = {"CONTROL_SOCKET": str(gateway.control_socket), "STATE_DIR": str(gateway.folder / "quickstart-state"), "RUN_AS": "root"}
    env = dict(os.environ, NO_COLOR="1") | {f"EVERGATE__SERVER__{key}": value for key, value in places.items()}
    argv = [gateway.binary, "quickstart", "--name", NAME, "--dir", folder]
    before = gateway.config_file
    try:
        daemon.start(argv, ready=lambda: " ready " in daemon.log_file.read_text(), env=env, what="evergate quickstart")
        # Commands find the running gateway by the socket that the environment named.
        gateway.config_file = folder / "commands.toml"
        text = (folder / "evergate.toml").read_text()
        gateway.config_file.write_text(text.replace("[server]", f'[server]\ncontrol_socket = "{gateway.control_socket}"'))
        yield folder, daemon
    finally:
        daemon.stop()
        gateway.config_file = before
        gateway.restart()


@case("quickstart")
def it_starts_serves_both_tunnels_and_ends(world):
    with _quickstart(world) as (folder, daemon):
        said = daemon.log_file.read_text()
        password = re.search(r"^Password +(\S+)", said, re.M).group(1)
        check(f"evergate run --config {folder}/evergate.toml" in said, said)
        clients = folder / "clients"
        swanctl = load(world, {"swanctl.conf": (clients / "swanctl.conf").read_bytes(), "x509ca/ca.pem": (clients / "ca.pem").read_bytes()})
        swanctl("--initiate", "--child", "evergate", "--timeout", "10")
        world.session_of("alice")
        world.ping()
        swanctl("--terminate", "--ike", "evergate")
        world.no_sessions()
        sstp = client(world)
        argv = [sstp.program, "connect", "--server", NAME, "--server-name", NAME, "--ca", folder / "clients/ca.pem", "--json"]
        argv += ["--user", "alice", "--password", password, "--ping", network.LAN_IPV4, "--seconds", "0"]
        done = world.lab.network.exec("client", argv, check=False)
        check('"event":"up"' in done.stdout.replace(" ", ""), f"{done.stdout} {done.stderr}")
        daemon.signal(signal.SIGTERM)
        check(wait_until(lambda: daemon.pid() is None, 10), "SIGTERM does not end it")
        check(daemon.stop() == 0, f"it did not end well: {daemon.tail()}")


@case("quickstart")
def a_second_time_overwrites_nothing(world):
    folder = world.gateway.folder / "twice"
    argv = [world.gateway.binary, "quickstart", "--name", NAME, "--dir", folder, "--no-start"]
    said = world.lab.network.exec("gateway", argv).stdout
    check(f"Start it, as root:\n  evergate run --config {folder}/evergate.toml" in said, said)
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = world.lab.network.exec("gateway", argv, check=False)
    check(again.returncode == 1 and "exists already" in again.stderr, f"a second time: {again.stderr}")
    check({path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == written, "files have changed")
