"""The first process inside User Mode Linux. Makes a root of the host's (read-only) under a memory layer, sets up the network, then serves
calls on the serial line (`inside.py`). Started by the kernel as `init.py FOLDER`; its death is the machine's."""

import json
import os
import subprocess
import sys
from pathlib import Path

MODULES = ("ipv6", "tun", "xfrm_user", "esp4", "esp6", "sch_netem")
CONSOLE = "/dev/console"


def main(folder):
    _standard_files()
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    settings = json.loads((Path(folder) / "machine.json").read_text())
    _run("mount", "-t", "proc", "proc", "/proc")
    _root(settings)
    _network(settings)
    sys.path[:0] = settings["path"]
    from uml import inside  # noqa: PLC0415

    inside.serve("/dev/ttyS0", settings)


def _standard_files():
    """Without a console the kernel starts us with nothing open, and the first file would become standard input."""
    while os.open("/", os.O_RDONLY) < 2:
        pass


def _root(settings):
    """Everything of the host is there, at the same place; what is written stays in memory and goes with the machine."""
    release, modules = os.uname().release, settings["modules"]
    _run("insmod", f"{modules}/kernel/fs/overlayfs/overlay.ko")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "memory", "/mnt")
    root = Path("/mnt/root")
    for name in ("upper", "work", "root"):
        (Path("/mnt") / name).mkdir()
    _run("mount", "-t", "overlay", "-o", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work,xino=off", "root", root)
    for kind, place in (("proc", "proc"), ("sysfs", "sys"), ("devtmpfs", "dev"), ("tmpfs", "run")):
        _run("mount", "-t", kind, kind, root / place)
    for place in ("pts", "shm", "net"):
        (root / "dev" / place).mkdir(exist_ok=True)
    _run("mount", "-t", "devpts", "-o", "mode=620,ptmxmode=666", "devpts", root / "dev/pts")
    _run("mount", "-t", "tmpfs", "shm", root / "dev/shm")
    os.chroot(root)
    os.chdir("/")
    console = os.open(CONSOLE, os.O_RDWR | os.O_NOCTTY)
    for number in range(3):
        os.dup2(console, number)
    found = Path("/usr/lib/modules") / release
    found.parent.mkdir(parents=True, exist_ok=True)
    if not found.exists():
        found.symlink_to(modules)
    Path("/run/lock").mkdir()
    # The host's resolver and name services are out of reach here: each look-up would wait for them.
    for name, text in {
        "resolv.conf": "options timeout:1 attempts:1\n",
        "hosts": "127.0.0.1 localhost machine\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n",
    }.items():
        path = Path("/etc") / name
        path.unlink(missing_ok=True)
        path.write_text(text)


def _network(settings):
    for module in MODULES:
        _run("modprobe", module)
    if not os.path.exists("/dev/net/tun"):
        os.mknod("/dev/net/tun", 0o020600, os.makedev(10, 200))
    _run("hostname", "machine")
    _run("ip", "link", "set", "lo", "up")
    for number, (card, addresses) in enumerate(settings["cards"].items()):
        _run("ip", "link", "set", f"vec{number}", "name", card)
        _run("ip", "link", "set", card, "up", "mtu", settings["mtu"])
        for address in addresses:
            _run("ip", "addr", "add", address, "dev", card, *(["nodad"] if ":" in address else []))
    for target, via in settings["routes"]:
        _run("ip", "route", "add", target, "via", via)


def _run(*argv):
    subprocess.run([str(word) for word in argv], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
