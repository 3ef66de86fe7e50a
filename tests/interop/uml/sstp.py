"""An SSTP client as Debian 12 has it, or Debian 13: sstpc below pppd, PPP in the machine's kernel."""

import ipaddress
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from labkit import trixie
from labkit.pki import GATEWAY_NAME, RADIUS_NAME
from labkit.shell import LabError, run, wait_until

# What pppd refuses for a method: everything but its own. EAP stands for all its types.
METHODS = {"mschapv2": "mschap-v2", "pap": "pap", "chap": "chap", "mschap": "mschap", "eap-mschapv2": "eap", "eap-tls": "eap", "peap": "eap"}
MODULES = ("ppp_generic", "ppp_async", "sch_netem")
# sstpc 1.0.18 waits for ever when the server's answer to its first message is there before it looks, as in a laboratory: our packets
# are late until the link is up.
DELAY = "5ms"
OPENSSL = """openssl_conf = all
[all]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
MinProtocol = TLSv{version}
MaxProtocol = TLSv{version}
"""
IP_UP = '#!/bin/sh\n{{ echo "interface=$1"; echo "address=$4"; echo "peer=$5"; echo "dns=$DNS1 $DNS2"; }} >{up}.new && mv {up}.new {up}\n'


@dataclass(frozen=True)
class Call:
    """How to connect."""

    server: str
    port: int = 443
    # A key of METHODS.
    method: str = "mschapv2"
    user: str = "alice"
    password: str = "password"
    # Name in the PKI, for eap-tls.
    certificate: str = "alice"
    authority: str = "ca"
    # The name that is dialled: sstpc compares it with the certificate's common name.
    server_name: str = GATEWAY_NAME
    # Whether the TLS client names the server (SNI); sstpc does not by itself.
    sni: bool = False
    # `1.2` or `1.3`; None: what sstpc chooses.
    tls: str | None = None
    ipv6: bool = True
    # What goes through the tunnel.
    routes: tuple = ("10.99.10.0/24", "fd99:10::/64")
    # More options of pppd.
    options: tuple = ()
    # pppd and sstpc of Debian 13, which the laboratory must have fetched.
    newer: bool = False
    seconds: float = 30

    def but(self, **changes):
        return replace(self, **changes)


@dataclass
class Link:
    """What came of a call: pppd's own account of it."""

    up: bool
    seconds: float
    log: list
    interface: str = ""
    address: str = ""
    # The gateway's end.
    peer: str = ""
    dns: list = field(default_factory=list)
    mtu: int = 0
    # pppd's exit status, when it ended.
    status: int | None = None

    def saw(self, pattern):
        return any(re.search(pattern, line) for line in self.log)


class Sstp:
    """One call at a time."""

    def __init__(self, folder, pki):
        self.folder, self.pki = Path(folder), pki
        self._up, self._log = self.folder / "up", self.folder / "log"
        self._pppd, self._late = None, None

    def start(self):
        """Prepares the kernel and pppd's own folder."""
        for module in MODULES:
            run(["modprobe", module])
        self.folder.mkdir(parents=True, exist_ok=True)
        run(["install", "-d", "-o", "sstpc", "-g", "sstpc", "/run/sstpc"])
        Path("/etc/ppp/options").write_text("")
        _write("/etc/ppp/ip-up", IP_UP.format(up=self._up), 0o755)
        return self

    def connect(self, call):
        """Calls; a refusal is an outcome, not an error."""
        if self.running():
            raise LabError("the SSTP client is connected already")
        self._prepare(call)
        started = time.monotonic()
        with open(self._log, "ab") as log:
            argv = ["pppd", "file", str(self.folder / "options")]
            argv = trixie.command(argv) if call.newer else argv
            self._pppd = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self._up.exists() or not self.running(), call.seconds)
        seconds = time.monotonic() - started
        self._in_time()
        if not self._up.exists():
            status = self.stop()
            return Link(False, seconds, self.log(), status=status)
        told = dict(line.split("=", 1) for line in self._up.read_text().splitlines())
        for target in call.routes:
            if call.ipv6 or ":" not in target:
                run(["ip", "route", "replace", target, "dev", told["interface"]])
        mtu = int(Path(f"/sys/class/net/{told['interface']}/mtu").read_text())
        return Link(True, seconds, self.log(), told["interface"], told["address"], told["peer"], told["dns"].split(), mtu)

    def running(self):
        return self._pppd is not None and self._pppd.poll() is None

    def addresses(self):
        """Global addresses of the link, those included that router advertisements gave."""
        lines = run(["ip", "-o", "addr", "show", "scope", "global"], check=False).stdout.splitlines()
        found = [re.search(r"ppp\d+\s+inet6? ([0-9a-f.:]+)", line) for line in lines]
        return [str(ipaddress.ip_address(match[1])) for match in found if match]

    def log(self):
        """pppd's and sstpc's log, line by line."""
        return self._log.read_text(errors="replace").replace("\0", "").splitlines()

    def disconnect(self):
        """Hangs up as a user does, and gives pppd's exit status."""
        return self._end(signal.SIGTERM)

    def vanish(self):
        """Ends without a word."""
        os.killpg(self._pppd.pid, signal.SIGKILL)
        return self._end(signal.SIGKILL)

    def wait(self, seconds):
        """Waits for the other side to hang up; pppd's exit status, or None if it did not."""
        wait_until(lambda: not self.running(), seconds)
        return self._pppd.poll()

    def stop(self):
        status = self._end(signal.SIGTERM) if self._pppd else None
        self._in_time()
        return status

    forget = stop

    def _end(self, number):
        if self.running():
            self._pppd.send_signal(number)
        try:
            return self._pppd.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._pppd.pid, signal.SIGKILL)
            self._pppd.wait(5)
            raise LabError("pppd did not end: " + "\n".join(self.log()[-15:])) from None

    def _prepare(self, call):
        for path in (self._up, self._log):
            path.unlink(missing_ok=True)
        _write("/etc/hosts", f"127.0.0.1 localhost machine\n::1 localhost\n{call.server} {call.server_name}\n", 0o644)
        _write(self.folder / "openssl.cnf", OPENSSL.format(version=call.tls) if call.tls else "", 0o644)
        _write(self.folder / "options", "\n".join(self._options(call)) + "\n", 0o600)
        certificate, key = self.pki.cert(call.certificate), self.pki.key(call.certificate)
        # Client, server, its certificate, the server's, authority, key, addresses.
        _write("/etc/ppp/eaptls-client", f'"{call.user}" * {certificate} - {self.pki.cert(call.authority)} {key} *\n', 0o600)
        route = run(["ip", "-o", "route", "get", call.server]).stdout
        self._late = re.search(r"\bdev (\S+)", route)[1]
        run(["tc", "qdisc", "replace", "dev", self._late, "root", "netem", "delay", DELAY, "limit", "10000"])

    def _in_time(self):
        if self._late:
            run(["tc", "qdisc", "del", "dev", self._late, "root"])
            self._late = None

    def _options(self, call):
        carrier = ["env", f"OPENSSL_CONF={self.folder / 'openssl.cnf'}"] if call.tls else []
        carrier += ["sstpc", "--nolaunchpppd", "--ipparam", "lab", "--log-stderr", "--log-level", "4"]
        port = "" if call.port == 443 else f":{call.port}"
        carrier += ["--ca-cert", str(self.pki.cert(call.authority)), *(["--tls-ext"] if call.sni else [])]
        yield f'pty "{" ".join(carrier)} {call.server_name}{port} 2>>{self._log}"'
        yield from ("plugin sstp-pppd-plugin.so", "sstp-sock /run/sstpc/sstpc-lab", "ipparam lab")
        # With EAP-TLS the other side is whoever shows the certificate: the RADIUS server.
        yield from (f"name {_quoted(call.user)}", f"remotename {RADIUS_NAME}")
        yield from (f"refuse-{word}" for word in ("pap", "chap", "mschap", "mschap-v2", "eap") if word != METHODS[call.method])
        if call.method == "eap-tls":
            yield f"ca {self.pki.cert(call.authority)}\ncert {self.pki.cert(call.certificate)}\nkey {self.pki.key(call.certificate)}"
        else:
            yield f"password {_quoted(call.password)}"
        if call.method == "peap":
            yield f"ca {self.pki.cert(call.authority)}"
        yield "+ipv6\nipv6cp-accept-local" if call.ipv6 else "noipv6"
        yield from ("noauth", "nodefaultroute", "usepeerdns", "ipcp-accept-local", "ipcp-accept-remote", "nodeflate", "nobsdcomp")
        yield from ("nodetach", "maxfail 1", "debug", f"logfile {self._log}", *call.options)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(path, text, mode):
    Path(path).write_text(text)
    os.chmod(path, mode)
