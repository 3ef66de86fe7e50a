"""The machine seen from the laboratory: starts User Mode Linux, calls objects inside, ends it."""

import base64
import json
import os
import pickle
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from labkit import network, packages
from labkit.shell import LabError, run

HERE = Path(__file__).resolve().parent
PROGRAM = "linux.uml"
MODULES = Path("/usr/lib/uml/modules")
MEMORY = "256M"
BOOT_SECONDS = 60
# Network card inside -> the device of the namespace it is bridged with, its addresses.
CARDS = {
    "eth0": ("wan0", ("10.99.4.2/24", "fd99:4::2/64")),
    "eth1": ("nat0", ("10.99.3.4/24",)),
}
# As in the namespace `client`: what has no tunnel ends at the NAT router, which knows no way to the LAN.
ROUTES = ((f"{network.GATEWAY_IPV4_BEHIND_NAT}/32", "10.99.3.1"), ("default", "10.99.3.1"))
CARRIER_MTU = 1500


class Machine:
    """One machine of the laboratory; `client` and so on are objects inside, whose methods are called from here."""

    def __init__(self, lab):
        self.namespace = lab.namespace("machine")
        self.folder = lab.folder / "machine"
        self.pki, self._network = lab.pki, lab.network
        self.console = self.folder / "console.log"
        self._process, self._line, self._unread = None, None, b""

    def start(self):
        """Boots if it does not run, which takes a few seconds."""
        if self.running():
            return self
        packages.ensure(packages.USER_MODE_LINUX, packages.SSTP, packages.BUILD)
        self.stop()
        self.folder.mkdir(mode=0o700)
        shutil.copy(HERE / "init.py", self.folder)
        run(["cc", "-shared", "-fPIC", "-O2", "-o", self.folder / "ptrace.so", HERE / "ptrace.c"])
        (self.folder / "machine.json").write_text(json.dumps(self._settings()))
        self._cables()
        self._power_on()
        greeting = self._read(BOOT_SECONDS)
        if greeting != b"ready":
            raise self._broken(f"said {greeting!r} at its start")
        self._network.elsewhere["machine"] = self.exec
        return self

    def running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self):
        """Pulls the plug: nothing inside is worth a shutdown."""
        self._network.elsewhere.pop("machine", None)
        if self._process:
            self._process.kill()
            self._process.wait()
            self._line.close()
            self._process = None
        for number in range(len(CARDS)):
            for device in (f"tap{number}", f"br{number}"):
                self._ip("link", "del", device, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def exec(self, argv, *, check=True, timeout=120, input=None):
        """Runs a command inside, as `labkit.shell.run` does here."""
        return self.object("shell", timeout + 10).run(argv, check=check, timeout=timeout, input=input)

    def object(self, name, seconds=60):
        """An object inside by its name in `inside.py`; every call ends within `seconds`."""
        return _Remote(self, name, seconds)

    def call(self, name, method, arguments, options, seconds):
        """Calls a method inside; what it raises is raised here."""
        if not self.running():
            raise self._broken("is not running")
        request = base64.b64encode(pickle.dumps((name, method, arguments, options))) + b"\n"
        self._line.sendall(request)
        try:
            well, value = pickle.loads(base64.b64decode(self._read(seconds), validate=True))
        except (ValueError, pickle.UnpicklingError) as error:
            raise self._broken(f"answered {name}.{method} with noise: {error}") from error
        if not well:
            raise LabError(f"{name}.{method} in the machine: {value}")
        return value

    def _settings(self):
        return {
            "modules": str(max(MODULES.glob("*.*"), default=MODULES)),
            "path": [str(HERE.parent), str(HERE.parents[2] / "deploy")],
            "pki": str(self.pki.folder),
            "state": "/var/tmp/machine",
            "mtu": CARRIER_MTU,
            "cards": {card: addresses for card, (_, addresses) in CARDS.items()},
            "routes": ROUTES,
        }

    def _cables(self):
        for number, (device, _) in enumerate(CARDS.values()):
            bridge, tap = f"br{number}", f"tap{number}"
            self._ip("tuntap", "add", tap, "mode", "tap")
            self._ip("link", "add", bridge, "type", "bridge")
            for port in (tap, device):
                self._ip("link", "set", port, "master", bridge, "up")
            self._ip("link", "set", bridge, "up")

    def _power_on(self):
        """A process-id namespace of its own: the end of its first process, or of us, is the end of everything in it."""
        ours, theirs = socket.socketpair()
        cards = [f"vec{n}:transport=tap,ifname=tap{n},depth=128,gro=1" for n in range(len(CARDS))]
        fence = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"]
        fence += ["env", f"LD_PRELOAD={self.folder}/ptrace.so"]
        root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]
        kernel = [PROGRAM, f"mem={MEMORY}", *root, "noreboot", "panic=-1", f"uml_dir={self.folder}/uml", "umid=machine"]
        lines = ["con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{theirs.fileno()}"]
        init = [f"init={os.path.realpath(sys.executable)}", "--", self.folder / "init.py", self.folder]
        argv = ["ip", "netns", "exec", self.namespace, *fence, *kernel, *lines, *cards, *init]
        with theirs, open(self.console, "wb") as console:
            self._process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        self._line, self._unread = ours, b""

    def _read(self, seconds):
        """One line of the machine; silence, an end or a crash shows its console."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._broken(f"was silent for {seconds} s")
            if not select.select([self._line], [], [], min(left, 0.5))[0]:
                if not self.running():
                    raise self._broken("ended")
                continue
            piece = self._line.recv(1 << 16)
            if not piece:
                raise self._broken("hung up")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _broken(self, what):
        """The error for a machine that is of no use any more; it is gone afterwards."""
        try:
            last = self.console.read_text(errors="replace").splitlines()[-15:]
        except FileNotFoundError:
            last = ["(no console)"]
        self.stop()
        return LabError("\n".join([f"User Mode Linux {what}; its console:", *last]))

    def _ip(self, *arguments, check=True):
        return run(["ip", "-n", self.namespace, *arguments], check=check)


class _Remote:
    """Stands for an object inside the machine."""

    def __init__(self, machine, name, seconds):
        self._machine, self._name, self._seconds = machine, name, seconds

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*arguments, **options):
            return self._machine.call(self._name, method, arguments, options, self._seconds)

        return call
