"""SSTP beside the limit of this machine: the same packets of a TUN device through a bare TLS connection of the same library and cipher.

`many`: as many packets in a TLS record as are there. `one`: one packet a record, as Windows sends.
"""

import contextlib
import json
import subprocess

from labkit import network
from labkit.pki import GATEWAY_NAME
from labkit.shell import LabError, in_namespace

from measure import cpu_seconds, throughput
from sides import CERTIFICATE, Evergate, through_tunnel

CIPHER = "aes256gcm"
BARE_PORT = 4433
BARE_GATEWAY, BARE_CLIENT = "10.96.0.1/24", "10.96.0.2/24"
LAN = "10.99.10.0/24"


class Process:
    """A program in a namespace that prints JSON lines and ends when its standard input does."""

    def __init__(self, lab, role, argv):
        self.argv = [str(part) for part in argv]
        self.process = subprocess.Popen(
            in_namespace(lab.namespace(role), self.argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.pid = self.process.pid

    def event(self, wanted):
        """The line with this event."""
        said = []
        for text in self.process.stdout:
            said.append(text)
            if text.startswith("{") and json.loads(text).get("event") == wanted:
                return json.loads(text)
        raise LabError(f"{' '.join(self.argv[:2])} ended: {''.join(said).strip()[-600:]}")

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running(lab, role, argv):
    process = Process(lab, role, argv)
    try:
        yield process
    finally:
        process.close()


def measure(lab, programs, arguments, number):
    """(metric, our value, name of the peer, its value), round `number`."""
    for fill, suffix in (("many", ""), ("one", "-single")):
        values = {}
        # Turns alternate, so that neither side always has the warmer machine.
        for side in (sstp, bare)[:: 1 if number % 2 == 0 else -1]:
            with side(lab, programs, fill) as pid:
                values[side] = {direction: throughput(lab, pid, direction, arguments.seconds) for direction in ("up", "down")}
        for direction in ("up", "down"):
            ours, limit = values[sstp][direction], values[bare][direction]
            yield f"sstp-{direction}{suffix}", ours[0], f"tls-{fill}", limit[0]
            yield f"sstp-{direction}{suffix}-cpu", ours[1], f"tls-{fill}", limit[1]
    yield from logins(lab, programs, arguments)


@contextlib.contextmanager
def sstp(lab, programs, fill):
    with Evergate(lab, programs).gateway() as pid:
        options = ["--user", "alice", "--tun", "sstp0", "--route", LAN, "--fill", fill]
        options += ["--cipher", CIPHER, "--no-configure", "--no-ipv6", "--json"]
        with running(lab, "client", [programs.sstp, "connect", *login(lab), *options]) as client:
            up = client.event("up")
            if "AES_256_GCM" not in up["tls"]["cipher"]:
                raise LabError(f"TLS negotiated {up['tls']['cipher']} instead of AES-256-GCM")
            through_tunnel(lab, up["device"])
            yield pid


@contextlib.contextmanager
def bare(lab, programs, fill):
    server = [programs.sstp, "bare-server", "--listen", f"{network.GATEWAY_IPV4}:{BARE_PORT}", "--address", BARE_GATEWAY]
    server += ["--cert", lab.pki.cert(CERTIFICATE), "--key", lab.pki.key(CERTIFICATE)]
    client = [programs.sstp, "bare-client", "--server", f"{network.GATEWAY_IPV4}:{BARE_PORT}", "--server-name", GATEWAY_NAME]
    client += ["--ca", lab.pki.cert("ca"), "--address", BARE_CLIENT, "--route", LAN]
    same = ["--fill", fill, "--cipher", CIPHER, "--json"]
    with running(lab, "gateway", server + same) as far:
        far.event("listening")
        with running(lab, "client", client + same) as near:
            through_tunnel(lab, near.event("up")["device"])
            yield far.pid


def logins(lab, programs, arguments):
    """Calls beside IKEv2 logins of the same gateway, and the time of one call beside that of TCP and TLS in it."""
    with Evergate(lab, programs).gateway() as pid:
        calls, call_cpu = _storm(lab, pid, programs.sstp, ["--cipher", CIPHER, "--port-delay", "0"], arguments.logins, arguments.parallel)
        ike, ike_cpu = _storm(lab, pid, programs.load, ["--suite", "aes256gcm"], arguments.logins, arguments.parallel)
        alone, _ = _storm(lab, pid, programs.sstp, ["--cipher", CIPHER, "--port-delay", "0"], max(20, arguments.logins // 8), 1)
    yield "sstp-logins", calls["count"] / calls["seconds"], "ikev2", ike["count"] / ike["seconds"]
    yield "sstp-login-cpu", call_cpu, "ikev2", ike_cpu
    yield "sstp-setup", alone["median_ms"], "tcp+tls", alone["median_tls_ms"]


def login(lab):
    return ["--server", network.GATEWAY_IPV4, "--server-name", GATEWAY_NAME, "--ca", lab.pki.cert("ca"), "--password", "password"]


def _storm(lab, gateway_pid, program, more, count, parallel):
    """(report, gateway processor milliseconds per login)."""
    argv = [program, "storm", *login(lab), *more, "--user", "load{}", "--count", count, "--parallel", parallel, "--json"]
    before = cpu_seconds(gateway_pid)
    done = lab.network.exec("client", argv, check=False, timeout=180)
    cpu = cpu_seconds(gateway_pid) - before
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise LabError(f"{program} storm ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}")
    report = json.loads(lines[0])
    if report["established"] != count:
        raise LabError(f"only {report['established']} of {count} logins succeeded: {report['failures']}")
    return report, cpu * 1000 / count
