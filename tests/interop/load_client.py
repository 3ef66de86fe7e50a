"""The load client inside the laboratory: many logins and many sessions in one process."""

import contextlib
import json
import select
import subprocess
from pathlib import Path

from harness import check
from labkit import network
from labkit.pki import GATEWAY_NAME
from labkit.shell import LabError, in_namespace


def argv(world, command, *options, server=network.GATEWAY_IPV4):
    program = Path(world.gateway.binary).with_name("evergate-load")
    if not program.exists():
        raise LabError(f"{program} does not exist: build it with `cargo build --release -p load`")
    login = ["--server", server, "--server-name", GATEWAY_NAME, "--ca", world.lab.pki.cert("ca"), "--password", "password", "--user", "load{}"]
    return [program, command, *login, "--suite", "aes128gcm", "--json", *options]


def storm(world, role, *options, seconds=60, **where):
    """Logs in many times; what came of it."""
    done = world.lab.network.exec(role, argv(world, "storm", *options, **where), check=False, timeout=seconds)
    check(done.stdout.startswith("{"), f"evergate-load ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Vigil:
    """Sessions that are up and ask for signs of life."""

    def __init__(self, process):
        self.process = process

    def line(self, seconds):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        text = self.process.stdout.readline()
        return json.loads(text) if text.startswith("{") else None

    def watch(self, seconds):
        """Begins what is measured, and tells it."""
        self.begin()
        return self.report(seconds)

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def report(self, seconds):
        """What was measured, once that is over."""
        report = self.line(seconds + 30)
        check(report, "evergate-load said nothing")
        return report


@contextlib.contextmanager
def vigil(world, role, sessions, seconds, *options):
    command = in_namespace(world.lab.namespace(role), argv(world, "vigil", "--sessions", sessions, "--seconds", seconds, *options))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = Vigil(process)
    try:
        up = made.line(120)
        check(up and up["up"] == sessions, f"the sessions did not come up: {up}")
        yield made
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
