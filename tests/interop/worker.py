"""One laboratory of a run: takes cases one after the other, a fresh gateway for each group, and tells what came of them."""

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass

from harness import MACHINE, NEWER, SETUPS, TEST_USERS, Failed, Skip, World
from labkit.lab import Lab
from labkit.shell import LabError
from uml.machine import Machine

# Log lines of either side that a failure shows.
TAIL = 15


@dataclass(frozen=True)
class Outcome:
    """What came of a case, or of the laboratory itself."""

    # `ok`, `skip`, `FAIL`, or `ready` once the laboratory is up.
    verdict: str
    text: str = ""


class Worker:
    """Lives in a process of its own, which `serve` ends; its laboratory goes with it."""

    def __init__(self, options, cases):
        self.options = options
        self.cases = {case.title: case for case in cases}
        self.evergate = options.gateway == "evergate"
        self.lab = Lab(f"it{os.getpid()}")
        self.uml = Machine(self.lab)
        self.group, self.world = None, None

    def serve(self, line):
        """Answers every title from `line` with an Outcome, until None or the end of whoever asks."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        # Ctrl-C is for the runner, which then ends us.
        os.setpgrp()
        try:
            self.lab.prepare()
            self.radius = self.lab.radius(users=TEST_USERS).start()
            line.send(Outcome("ready"))
            while (title := line.recv()) is not None:
                line.send(self._case(self.cases[title]))
        except LabError as error:
            line.send(Outcome("FAIL", f"laboratory: {error}"))
        except (EOFError, BrokenPipeError):
            pass
        finally:
            self._leave()
            self.uml.stop()
            if not self.options.keep:
                self.lab.down()

    def _enter(self, group):
        if group != self.group:
            self._leave()
            self.world = World(self.lab, self._gateway(group), self.radius, self.evergate, self.uml, group in NEWER)
            self.group = group

    def _leave(self):
        if self.world is None:
            return
        for role, client in self.world.clients.items():
            if role not in MACHINE or self.uml.running():
                client.stop()
        for browser in self.world.browsers.values():
            browser.close()
        self.world.gateway.stop()
        self.group, self.world = None, None

    def _gateway(self, group):
        if not self.evergate:
            return self.lab.reference().start()
        gateway = self.lab.gateway(self.options.binary)
        # Cases count lines: what gateways of other groups said here is not theirs.
        gateway.daemon.log_file.unlink(missing_ok=True)
        config = gateway.default_config()
        SETUPS.get(group, lambda _: None)(config)
        return gateway.start(config)

    def _case(self, each):
        started = time.monotonic()
        try:
            self._enter(each.group)
        except LabError as error:
            return Outcome("FAIL", f"{each.title}: {error}")
        world = self.world
        log = world.gateway.daemon.log_file if self.evergate else world.gateway.charon.log
        mark = log.stat().st_size if log.exists() else 0
        problem = self._problem(each)
        try:
            world.tidy()
        except Exception as error:
            problem = problem or error
        if problem is None and world.gateway.pid() is None:
            problem = Failed("the gateway died")
        line = f"{each.title} ({time.monotonic() - started:.1f} s)"
        said = Outcome("ok", line)
        if isinstance(problem, Skip):
            said = Outcome("skip", f"{line}: {problem}")
        elif problem is not None:
            said = Outcome("FAIL", "\n".join([f"{line}: {problem}", *_explanation(problem, log, mark)]))
        if world.gateway.pid() is None:
            self._leave()
        return said

    def _problem(self, each):
        try:
            each.function(self.world)
        except Exception as problem:
            return problem
        return None


def _explanation(problem, log, mark):
    """Where an error of the case itself is, and the ends of both sides' logs."""
    if not isinstance(problem, (Failed, LabError)):
        yield from (f"        case   | {line}" for line in "".join(traceback.format_exception(problem)).splitlines())
    yield from (f"        client | {line}" for line in getattr(problem, "log", [])[-TAIL:])
    with open(log, errors="replace") as file:
        file.seek(mark)
        yield from (f"        gateway| {line}" for line in file.read().splitlines()[-TAIL:])
