"""What is measured: a TCP stream through the tunnel, a run of logins, and the processor time of the gateway meanwhile."""

import json
from pathlib import Path

from labkit.network import LAN_IPV4
from labkit.shell import Daemon, LabError

from sides import login_arguments

PORT = 5201


class IperfServer:
    """iperf3 in the LAN namespace, for the length of a `with` block."""

    def __init__(self, lab):
        self.lab = lab
        self.daemon = Daemon(lab.namespace("lan"), lab.folder / "iperf3.pid", lab.folder / "iperf3.log")

    def __enter__(self):
        self.daemon.start(["iperf3", "-s", "-p", PORT], ready=self._listens, what="iperf3")
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def _listens(self):
        pid = self.daemon.pid()
        return pid is not None and any(f":{PORT:04X} " in Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6"))


def cpu_seconds(pid):
    """Processor time of all threads of a process, user and kernel, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9


def throughput(lab, gateway_pid, direction, seconds):
    """(Gbit/s at the receiver, gateway processor seconds per GB) of one TCP stream; `up` is from the client to the LAN."""
    argv = ["iperf3", "-c", LAN_IPV4, "-p", PORT, "-t", seconds, "-J", *(["-R"] if direction == "down" else [])]
    before = cpu_seconds(gateway_pid)
    done = lab.network.exec("client", argv, check=False, timeout=seconds + 60)
    cpu = cpu_seconds(gateway_pid) - before
    try:
        received = json.loads(done.stdout)["end"]["sum_received"]
    except (ValueError, KeyError) as error:
        raise LabError(f"iperf3 failed: {(done.stdout + done.stderr).strip()[-400:]}") from error
    if received["bytes"] == 0:
        raise LabError("no byte came through the tunnel")
    return received["bits_per_second"] / 1e9, cpu / (received["bytes"] / 1e9)


def storm(lab, program, gateway_pid, count, parallel):
    """(logins per second, gateway processor milliseconds per login)."""
    argv = [program, "storm", *login_arguments(lab), "--user", "load{}", "--suite", "aes256gcm"]
    argv += ["--count", count, "--parallel", parallel, "--json"]
    before = cpu_seconds(gateway_pid)
    done = lab.network.exec("client", argv, check=False, timeout=120)
    cpu = cpu_seconds(gateway_pid) - before
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise LabError(f"evergate-load storm ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-400:]}")
    result = json.loads(lines[-1])
    if result["established"] != count:
        raise LabError(f"only {result['established']} of {count} logins succeeded: {result['failures']}")
    return count / result["seconds"], cpu * 1000 / count
