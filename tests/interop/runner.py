"""Gives the cases out to several laboratories side by side, and reports them as one run: a line a case, the failed ones again, the sums."""

import multiprocessing
import signal
import sys
from multiprocessing import connection

import docs_given
import hostapd
import networkmanager
from browser import CHROMIUM
from labkit import packages, peap, trixie
from labkit.shell import LabError
from worker import Outcome, Worker

# A laboratory takes seconds to build: not for fewer cases than these.
CASES_PER_LABORATORY = 8
# Cases are functions, which only a copy of this process knows.
FORK = multiprocessing.get_context("fork")
# How long a laboratory may take to go.
END_SECONDS = 60


class Queue:
    """Cases that wait. A laboratory stays with a group while it can: each group has a gateway of its own."""

    def __init__(self, cases):
        ordered = sorted((case for case in cases if not case.alone), key=lambda case: not case.long)
        self._groups = {}
        for case in ordered:
            self._groups.setdefault(case.group, []).append(case)
        self._started = set()
        self._alone = [case for case in cases if case.alone]

    def take(self, group, busy):
        """The next case for a laboratory that has a gateway for `group`; None: nothing, or nothing beside those that are busy."""
        if not self._groups:
            return self._alone.pop(0) if self._alone and not busy else None
        if group not in self._groups:
            fresh = [name for name in self._groups if name not in self._started]
            group = fresh[0] if fresh else max(self._groups, key=lambda name: len(self._groups[name]))
        self._started.add(group)
        found = self._groups[group].pop(0)
        if not self._groups[group]:
            del self._groups[group]
        return found

    def rest(self):
        """What nobody took."""
        return [case for cases in self._groups.values() for case in cases] + self._alone


class Laboratory:
    """A worker's process, seen from here."""

    def __init__(self, options, cases):
        self.line, theirs = FORK.Pipe()
        # Its copy of our end would keep it from noticing ours.
        self.process = FORK.Process(target=_work, args=(options, cases, theirs, self.line))
        self.process.start()
        theirs.close()
        # What it runs: the case, or None while it is idle or being built.
        self.case, self.group, self.busy = None, None, True

    def begin(self, case):
        self.case, self.group, self.busy = case, case.group, True
        self.line.send(case.title)

    def outcome(self):
        """What it says; an end without a word is a failure."""
        try:
            return self.line.recv()
        except (EOFError, ConnectionResetError):
            return Outcome("FAIL", f"laboratory: its process ended with {self.process.exitcode}")

    def dismiss(self):
        """Tells it to end: as soon as it listens, or at once."""
        if self.busy:
            self.process.terminate()
        else:
            self.line.send(None)

    def join(self):
        self.process.join(END_SECONDS)
        self.process.kill()


def _work(options, cases, line, other_end):
    other_end.close()
    Worker(options, cases).serve(line)


class Runner:
    def __init__(self, options):
        self.options = options
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.failed = []
        self.laboratories = []

    def run(self, cases):
        """Runs them all; the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if self.options.gateway != "evergate":
            cases = [case for case in cases if case.portable]
        jobs = max(1, min(self.options.jobs, -(-len(cases) // CASES_PER_LABORATORY)))
        try:
            self._prepare(cases, jobs)
            self.laboratories = [Laboratory(self.options, cases) for _ in range(jobs if cases else 0)]
            self._serve(Queue(cases))
        except LabError as error:
            self._count(Outcome("FAIL", f"laboratory: {error}"))
        finally:
            # All at once: each takes a while to tidy up.
            for laboratory in self.laboratories:
                laboratory.dismiss()
            for laboratory in self.laboratories:
                laboratory.join()
        return self._close()

    def _prepare(self, cases, jobs):
        """What laboratories would otherwise install at the same time."""
        packages.ensure(packages.BASE, packages.STRONGSWAN, *((packages.USER_MODE_LINUX, packages.SSTP, packages.BUILD) if jobs > 1 else ()))
        if any("strongswan6" in case.title or "newer" in case.name for case in cases):
            trixie.ensure()
        if any(case.group == "pppd_peap" for case in cases):
            packages.ensure(hostapd.NEEDED)
        if any(case.group == "docs" for case in cases):
            packages.ensure(docs_given.NEEDED)
        if any("networkmanager" in case.name for case in cases):
            packages.ensure(networkmanager.NEEDED)
        if any(case.group == "console" for case in cases):
            packages.ensure(CHROMIUM)
        if any("peap" in case.name for case in cases):
            try:
                peap.ensure()
            except LabError as error:
                print(f"note: no PEAP plugin for the client: {str(error).splitlines()[0]}", flush=True)

    def _serve(self, queue):
        while busy := [laboratory for laboratory in self.laboratories if laboratory.busy]:
            for line in connection.wait([laboratory.line for laboratory in busy]):
                (laboratory,) = [laboratory for laboratory in busy if laboratory.line is line]
                self._take(laboratory)
            for laboratory in self.laboratories:
                others = any(other.busy for other in self.laboratories)
                if not laboratory.busy and (case := queue.take(laboratory.group, others)):
                    laboratory.begin(case)
        for case in queue.rest():
            self._count(Outcome("FAIL", f"{case.title}: no laboratory is left to run it"))

    def _take(self, laboratory):
        """Reads and counts what a laboratory says; one that broke takes no further part."""
        outcome = laboratory.outcome()
        if outcome.text.startswith("laboratory:"):
            self.laboratories.remove(laboratory)
            laboratory.join()
            if laboratory.case:
                outcome = Outcome("FAIL", f"{laboratory.case.title}: {outcome.text}")
        laboratory.case, laboratory.busy = None, False
        if outcome.verdict != "ready":
            self._count(outcome)

    def _count(self, outcome):
        self.counts[outcome.verdict] += 1
        if outcome.verdict == "FAIL":
            self.failed.append(outcome.text.splitlines()[0])
        print(f"{outcome.verdict:<5} {outcome.text}", flush=True)

    def _close(self):
        if len(self.failed) > 1:
            print("\n".join(["failed:", *(f"      {line}" for line in self.failed)]))
        if self.counts["skip"]:
            print(f"{self.counts['skip']} skipped")
        print(f"{self.counts['ok']} passed, {self.counts['FAIL']} failed", flush=True)
        return 1 if self.counts["FAIL"] or not self.counts["ok"] else 0
