"""What the laboratory can call inside the machine: `client` (strongSwan on kernel ESP), `sstp` (sstpc and pppd), `xfrm` (SAs) and
`shell` (commands)."""

import base64
import os
import pickle
import signal
import subprocess
import tempfile
import termios
import traceback
import tty
from pathlib import Path

from labkit.client import KERNEL, Client
from labkit.pki import Pki
from labkit.shell import LabError, run

from .sstp import Sstp
from .xfrm import Xfrm


class Shell:
    """Commands; those that run beside others have a name."""

    def __init__(self):
        self._beside = {}

    def run(self, argv, **options):
        return run(argv, **options)

    def begin(self, name, argv):
        """Starts a command beside what follows."""
        output = tempfile.TemporaryFile("w+")
        words = [str(word) for word in argv]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self._beside[name] = (process, output)

    def end(self, name, number=signal.SIGINT, seconds=10):
        """Ends a command that was begun, and gives what it said."""
        process, output = self._beside.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(seconds)
        finally:
            process.kill()
            output.seek(0)
            said = output.read()
            output.close()
        return said


def serve(line, settings):
    """Answers calls on a serial line for ever, a line of base64 each: pickled (object, method, arguments, options), then (well, value)."""
    state = Path(settings["state"])
    pki = Pki(settings["pki"])
    objects = {
        "client": Client(state / "client", None, pki, esp=KERNEL, tries=5, install_virtual_ip_on="lo"),
        "shell": Shell(),
        "sstp": Sstp(state / "sstp", pki),
        "xfrm": Xfrm(),
    }
    port = os.open(line, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port, termios.TCSANOW)
    _write(port, b"ready")
    with os.fdopen(os.dup(port), "rb") as requests:
        for request in requests:
            _write(port, base64.b64encode(pickle.dumps(_answer(objects, request))))


def _answer(objects, request):
    try:
        name, method, arguments, options = pickle.loads(base64.b64decode(request))
        value = getattr(objects[name], method)(*arguments, **options)
        # Objects stay here; what travels are values.
        return True, None if value is objects[name] else value
    except LabError as error:
        return False, str(error)
    except Exception:
        return False, traceback.format_exc()


def _write(port, line):
    rest = line + b"\n"
    while rest:
        rest = rest[os.write(port, rest) :]
