"""strongSwan's daemon with a private configuration, ESP in user space (kernel-libipsec: the host needs no IPsec in its kernel) or in the kernel."""

import contextlib
import socket
from pathlib import Path

from . import trixie
from .shell import Daemon
from .vici import Vici

PROGRAM = "/usr/lib/ipsec/charon"
PLUGINS = Path("/usr/lib/ipsec/plugins")
# /run is private, because charon keeps its pid file and sockets there; $2 may hold a richer set of plugins.
LAUNCH = 'mount --bind "$1" /run && { [ -z "$2" ] || mount --bind "$2" /usr/lib/ipsec/plugins; } && exec ' + PROGRAM
CRYPTO = "random nonce openssl aes gcm sha1 sha2 hmac kdf chapoly curve25519 md5 pem pkcs1 pkcs8 pubkey x509 constraints"
# Marked packets leave past the tunnel: without it, a tunnel that takes 0.0.0.0/0 would swallow its own ESP.
MARK = "0x42"
PAST_THE_TUNNEL = {
    "kernel-libipsec": {"allow_peer_ts": "yes"},
    "kernel-netlink": {"fwmark": f"!{MARK}"},
    "socket-default": {"fwmark": MARK},
}


def settings(tree, depth=0):
    """A nested dict in the syntax of strongswan.conf."""
    pad = "  " * depth
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{pad}{key} {{", settings(value, depth + 1), f"{pad}}}"]
        else:
            lines.append(f"{pad}{key} = {value}")
    return "\n".join(lines)


class Charon:
    """One daemon; VICI is the way to talk to it."""

    def __init__(self, folder, namespace, *, load, options=None, plugins=None, extra_plugins=None, newer=False):
        """`newer`: strongSwan 6 of Debian 13, whose own plugins `extra_plugins` do not replace."""
        self.folder = Path(folder)
        self.socket = self.folder / "charon.vici"
        self.log = self.folder / "charon.log"
        self.load, self.options, self.plugins = load, options or {}, plugins or {}
        self.extra_plugins, self.newer = None if newer else extra_plugins, newer
        self.daemon = Daemon(namespace, self.folder / "charon.pid", self.folder / "output.log")

    def start(self):
        for name in ("run", "etc"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.socket.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        # Of a daemon that was killed: as long as a process, even a dead one, has that number, charon would not start.
        (self.folder / "run" / "charon.pid").unlink(missing_ok=True)
        (self.folder / "strongswan.conf").write_text(settings(self._tree()) + "\n")
        environment = {"STRONGSWAN_CONF": str(self.folder / "strongswan.conf"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        argv = ["sh", "-c", LAUNCH, "charon", self.folder / "run", self.extra_plugins or ""]
        if self.newer:
            trixie.ensure()
            argv = trixie.command(argv)
        self.daemon.start(argv, ready=self._answers, env=environment, what="charon")
        return self

    def _answers(self):
        """The file of the socket is there before anybody listens on it."""
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def stop(self, hard=False):
        """`hard`: vanishes without a word to its peers."""
        self.daemon.stop(hard=hard)

    def vici(self, timeout=60):
        return Vici(self.socket, timeout)

    def sas(self):
        """The IKE SAs as flat dicts, each with its name."""
        with self.vici() as vici:
            found = vici.list("list-sas", "list-sa")
        return [{"name": name, **sa} for item in found for name, sa in item.items()]

    def _tree(self):
        charon = {
            "load_modular": "no",
            "load": f"{CRYPTO} {'ml ' if self.newer else ''}{self.load}",
            "threads": 16,
            "install_routes": "yes",
            "delete_rekeyed_delay": 2,
            "syslog": {"daemon": {"default": -1}, "auth": {"default": -1}},
            "filelog": {"log": {"path": self.log, "time_format": "%H:%M:%S", "default": 1, "esp": 0, "flush_line": "yes"}},
            **self.options,
            "plugins": {
                "vici": {"socket": f"unix://{self.socket}"},
                **(PAST_THE_TUNNEL if "kernel-libipsec" in self.load.split() else {}),
                **self.plugins,
            },
        }
        return {"charon": charon, "libtls": {"version_min": "1.2", "version_max": "1.2"}}
