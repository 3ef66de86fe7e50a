"""A PC or a phone that speaks IKEv2 as Windows, Apple and Android do, driven step by step: the program `ikev2-client`."""

import contextlib
import json
import select
import subprocess
import tempfile
from pathlib import Path

from harness import check
from labkit import network
from labkit.shell import LabError, in_namespace

# Of the clients' namespaces, on the side that the gateway hears.
DIRECT, BEHIND_NAT = "10.99.1.2", "10.99.3.3"


class Device:
    """One process: all tunnels share its ports 500 and 4500, as on a PC."""

    def __init__(self, world, role="client2", server=network.GATEWAY_IPV4_BEHIND_NAT, local=BEHIND_NAT):
        self.world = world
        self.program = Path(world.gateway.binary).with_name("ikev2-client")
        if not self.program.exists():
            raise LabError(f"{self.program} does not exist: build it with `cargo build --release -p ikev2-client`")
        self.complaints = tempfile.TemporaryFile("w+")
        argv = in_namespace(world.lab.namespace(role), [self.program, "--server", server, "--local", local])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True)

    def step(self, do, seconds=30, **details):
        self.send(do, **details)
        return self.outcome(do, seconds)

    def send(self, do, **details):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self.process.stdin.flush()

    def outcome(self, do, seconds=30):
        line = self.process.stdout.readline() if select.select([self.process.stdout], [], [], seconds)[0] else None
        if not line:
            self.complaints.seek(0)
            check(False, f"{do}: {'no answer' if line is None else 'the client ended'}", self.complaints.read().splitlines())
        return json.loads(line)

    def tunnel(self, name, profile, certificate=None, user="alice", password="password", **details):
        if certificate:
            pki = self.world.lab.pki
            details |= {"cert": str(pki.cert(certificate)), "key": str(pki.key(certificate))}
        self.step("open", tunnel=name, profile=profile, user=user, password=password, **details)
        return Tunnel(self, name)

    def wire(self, **faults):
        """What becomes of datagrams from now on: copies, reversed, forged, patience."""
        self.step("wire", **faults)

    def vanish(self):
        """Ends the client without a word to the gateway."""
        self.process.kill()

    def close(self):
        if self.process.poll() is None:
            self.send("farewell")
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.complaints.close()


class Tunnel:
    def __init__(self, device, name):
        self.device, self.name = device, name

    def step(self, do, seconds=30, **details):
        return self.device.step(do, seconds, tunnel=self.name, **details)

    def login(self):
        outcome = self.step("login")
        check(outcome.get("up"), f"{self.name}: the login failed: {outcome}")
        return outcome

    def refused(self, error):
        outcome = self.step("login")
        check(outcome["error"] == error and not outcome.get("up"), f"{self.name}: {outcome} instead of {error}")
        return outcome

    def alive(self):
        check(not self.step("liveness")["notifies"], f"{self.name}: no empty answer to an empty INFORMATIONAL")

    def echo(self, target=network.LAN_IPV4, count=3, **details):
        """Every one is answered."""
        missing = self.step("echo", 60, target=target, count=count, **details)["missing"]
        check(not missing, f"{self.name}: no answer to the echo requests {missing} of {count}")

    def attend(self, seconds, **details):
        return self.step("attend", seconds + 30, seconds=seconds, **details)["asked"]

    def rekey_child(self):
        outcome = self.step("rekey-child")
        check(not outcome["error"] and outcome["deleted"] == 1, f"{self.name}: the Child SA was not rekeyed: {outcome}")
        return outcome


@contextlib.contextmanager
def device(world, **options):
    """Says DELETE for what is still up at the end of the `with` block."""
    made = Device(world, **options)
    try:
        yield made
    finally:
        made.close()
