"""The SSTP client of our own inside the laboratory: calls that are held, calls with faults, storms and floods."""

import contextlib
import json
import os
import select
import subprocess
import time
from pathlib import Path

from labkit import network
from labkit.pki import GATEWAY_NAME
from labkit.shell import LabError, in_namespace

HOLD_MARGIN = 10


class Sstp:
    """Runs `sstp-client` in a role's namespace against the gateway."""

    def __init__(self, lab, gateway_binary, role="client", server=network.GATEWAY_IPV4):
        self.lab, self.role, self.server = lab, role, server
        self.program = Path(gateway_binary).with_name("sstp-client")

    def argv(self, command, *options, user="alice", password="password", server_name=GATEWAY_NAME, ca=None, **more):
        if not self.program.exists():
            raise LabError(f"{self.program} does not exist: build it with `cargo build --release -p sstp-client`")
        passwords = [password] if isinstance(password, str) else password
        login = ["--server", self.server, "--server-name", server_name, "--ca", ca or self.lab.pki.cert("ca"), "--user", user]
        login += [part for each in passwords for part in ("--password", each)]
        login += [part for name, value in more.items() for part in (f"--{name.replace('_', '-')}", value)]
        return [self.program, command, *login, *options, "--json"]

    def run(self, command, *options, seconds=30, **more):
        """Runs to the end; returns its JSON lines. The last one has "event": "error" when the call failed."""
        done = self.lab.network.exec(self.role, self.argv(command, *options, **more), check=False, timeout=seconds)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise LabError(f"sstp-client {command} ended with {done.returncode} and said: {(done.stdout + done.stderr).strip()[-600:]}")
        return lines

    def call(self, *options, **more):
        """A call that ends at once: what it came to, or the error."""
        return self.run("connect", "--seconds", "0", *options, **more)[0]

    def misbehave(self, case, *options, seconds=30, **more):
        return self.run("misbehave", "--case", case, *options, seconds=seconds, **more)[-1]

    def start(self, command, *options, **more):
        argv = in_namespace(self.lab.namespace(self.role), self.argv(command, *options, **more))
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    @contextlib.contextmanager
    def held(self, *options, **more):
        """A call that lives as long as the `with` block."""
        held = Held(self.start("connect", *options, **more))
        try:
            yield held
        finally:
            held.close()


class Held:
    """A call in the background."""

    def __init__(self, process):
        self.process = process
        self.read = b""
        self.up = self.line(20)
        if self.up is None or self.up.get("event") != "up":
            self.close()
            raise LabError(f"the call did not come up: {self.up}")

    def line(self, seconds):
        """The next JSON line, or None."""
        deadline = time.monotonic() + seconds
        while True:
            text, newline, rest = self.read.partition(b"\n")
            if newline:
                self.read = rest
                if text.startswith(b"{"):
                    return json.loads(text)
                continue
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return None
            self.read += more

    def ended(self, seconds):
        """The line that tells why the call ended without our doing, or None while it lives."""
        return self.line(seconds)

    def hang_up(self):
        """Ends the call; the line that tells how."""
        self.process.stdin.close()
        return self.line(HOLD_MARGIN)

    def kill(self):
        """Ends the client without a word."""
        self.process.kill()
        self.process.wait()

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(HOLD_MARGIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
