"""Commands, background processes in namespaces, and waiting."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

NAMESPACES = Path("/run/netns")


class LabError(Exception):
    """Something in the laboratory did not work; the text names culprit and remedy."""


def say(text):
    """Progress for whoever watches."""
    print(text, file=sys.stderr, flush=True)


def run(argv, *, check=True, timeout=120, input=None, env=None, cwd=None):
    """Runs a command without a terminal and returns its CompletedProcess with text output."""
    source = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd, **source)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    if check and done.returncode != 0:
        raise LabError(f"`{' '.join(map(str, argv))}` failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done


def in_namespace(namespace, argv):
    """The command as it runs in a namespace; None: where we are."""
    where = ["ip", "netns", "exec", namespace] if namespace else []
    return [*where, *map(str, argv)]


def wait_until(condition, seconds, interval=0.05):
    """Polls `condition` and returns its first true value, or its last false one."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(interval)


def alive(pid):
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def lives_in(pid, namespace):
    """Whether the process runs in the namespace: a recycled pid elsewhere is none of ours."""
    if namespace is None:
        return True
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(NAMESPACES / namespace).st_ino
    except OSError:
        return False


class Daemon:
    """A background process in a namespace, known by its pid file so that a later call can end it."""

    def __init__(self, namespace, pid_file, log_file):
        self.namespace = namespace
        self.pid_file = Path(pid_file)
        self.log_file = Path(log_file)
        self._child = None

    def pid(self):
        """The running process, or None."""
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if alive(pid) and lives_in(pid, self.namespace) else None

    def start(self, argv, *, ready, seconds=10, env=None, what=None, stdin=subprocess.DEVNULL):
        """Starts `argv` and waits until `ready()`; the error shows the end of the log."""
        what = what or Path(argv[0]).name
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_file, "ab") as log:
            self._child = subprocess.Popen(
                in_namespace(self.namespace, argv), stdin=stdin, stdout=log, stderr=log, start_new_session=True, env=env
            )
        self.pid_file.write_text(f"{self._child.pid}\n")
        wait_until(lambda: self._child.poll() is not None or ready(), seconds)
        if self._child.poll() is not None:
            self.pid_file.unlink(missing_ok=True)
            raise LabError(f"{what} ended with {self._child.returncode} at its start; {self.log_file} says:\n{self.tail()}")
        if not ready():
            self.stop()
            raise LabError(f"{what} was not ready after {seconds} s; {self.log_file} says:\n{self.tail()}")
        return self

    def signal(self, number):
        pid = self.pid()
        if pid is not None:
            os.kill(pid, number)
        return pid

    def stop(self, seconds=10, hard=False):
        """Ends the process (SIGTERM, then SIGKILL) and returns its exit status where it is known."""
        pid = self.signal(signal.SIGKILL if hard else signal.SIGTERM)
        if pid is not None:
            self.signal(signal.SIGCONT)
            if not wait_until(lambda: self._gone(pid), seconds):
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: self._gone(pid), 5)
        self.pid_file.unlink(missing_ok=True)
        if not self._child:
            return None
        # It leaves its namespace a little before it has a status.
        wait_until(lambda: self._child.poll() is not None, 2)
        return self._child.poll()

    def _gone(self, pid):
        if self._child and self._child.pid == pid:
            self._child.poll()
        return not alive(pid)

    def tail(self, lines=15):
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"
