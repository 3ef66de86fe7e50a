"""The two sides of the comparison: a gateway with its own client, started and stopped around every measurement."""

import contextlib
import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

from labkit import evergate, network
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import Daemon, LabError, say

Programs = namedtuple("Programs", "gateway load sstp")
# One RSA certificate on both sides: RSA and ECDSA signatures cost differently.
CERTIFICATE = "gateway-rsa"
IKE, ESP = "aes256gcm16-prfsha384-ecp384", "aes256gcm16"


def programs(folder):
    """The release programs, built unless `folder` holds them."""
    if folder is None:
        folder = evergate.program().parent
        cargo = shutil.which("cargo") or os.path.expanduser("~/.cargo/bin/cargo")
        say("building: cargo build --release -p evergate -p load -p sstp-client")
        command = [cargo, "build", "--release", "--locked", "-p", "evergate", "-p", "load", "-p", "sstp-client"]
        if subprocess.run(command, cwd=evergate.ROOT, stdin=subprocess.DEVNULL, stdout=2).returncode != 0:
            raise LabError("the programs do not build: see cargo's output above")
    found = Programs(*(Path(folder).resolve() / name for name in ("evergate", "evergate-load", "sstp-client")))
    for program in found:
        if not program.exists():
            raise LabError(f"{program} does not exist: leave --bin out to build it")
    return found


class Evergate:
    name = "evergate"

    def __init__(self, lab, programs):
        self.lab, self.programs = lab, programs
        self.client = Daemon(lab.namespace("client"), lab.folder / "load.pid", lab.folder / "load.log")

    @contextlib.contextmanager
    def gateway(self):
        gateway = self.lab.gateway(self.programs.gateway)
        config = gateway.default_config(certificates=(CERTIFICATE,))
        config["pool"][0]["ipv4"] = ["10.98.0.10-10.98.15.250"]
        gateway.start(config)
        try:
            yield gateway.pid()
        finally:
            gateway.stop()

    @contextlib.contextmanager
    def connected(self):
        with self.gateway() as pid:
            self.client.log_file.unlink(missing_ok=True)
            argv = [self.programs.load, "connect", *login_arguments(self.lab), "--user", "alice", "--suite", "aes256gcm", "--json"]
            self.client.start(argv, ready=self._up, what="evergate-load")
            try:
                up = self._up()
                if up["esp"] != "aes256-gcm":
                    raise LabError(f"the gateway chose {up['esp']} instead of AES-256-GCM")
                through_tunnel(self.lab, up["device"])
                yield pid
            finally:
                self.client.stop()

    def _up(self):
        """The line that the client prints when it is connected, or None so far."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            for line in self.client.log_file.read_text().splitlines():
                if line.startswith("{"):
                    return json.loads(line)
        return None


class StrongSwan:
    name = "strongswan"

    def __init__(self, lab, programs):
        self.lab, self.programs = lab, programs

    @contextlib.contextmanager
    def gateway(self):
        gateway = self.lab.reference(certificate=CERTIFICATE)
        # All logins come from one address, which its limits per address would stop.
        gateway.charon.options["dos_protection"] = "no"
        gateway.start()
        try:
            yield gateway.pid()
        finally:
            gateway.stop()

    @contextlib.contextmanager
    def connected(self):
        with self.gateway() as pid:
            client = self.lab.client()
            try:
                outcome = client.connect(Profile(ike=(IKE,), esp=(ESP,)))
                if not outcome.up:
                    raise LabError("strongSwan's client could not log in:\n  " + "\n  ".join(outcome.log[-5:] + [outcome.error]))
                child = client.children()[0]
                if (child.get("encr-alg"), child.get("encr-keysize")) != ("AES_GCM_16", "256"):
                    raise LabError(f"strongSwan negotiated {child.get('encr-alg')} instead of AES-256-GCM")
                through_tunnel(self.lab, "ipsec0")
                yield pid
            finally:
                client.stop()


ALL = (Evergate, StrongSwan)


def login_arguments(lab):
    return [
        "--server",
        network.GATEWAY_IPV4,
        "--server-name",
        GATEWAY_NAME,
        "--ca",
        lab.pki.cert("ca"),
        "--password",
        "password",
    ]


def through_tunnel(lab, device):
    """Refuses to measure anything that does not go through the tunnel, and waits until it carries packets."""
    route = json.loads(lab.network.exec("client", ["ip", "-j", "route", "get", network.LAN_IPV4]).stdout)[0]
    if route["dev"] != device:
        raise LabError(f"the client reaches the LAN through {route['dev']} instead of the tunnel device {device}")
    if not lab.network.ping("client", network.LAN_IPV4, count=3):
        raise LabError("no answer from the LAN host through the tunnel")
