"""NetworkManager with the plugin of strongSwan, as a desktop has it: with a bus, a network, /etc and /run of its own, all of which go with it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check
from labkit import network
from labkit.charon import CRYPTO, PAST_THE_TUNNEL, settings
from labkit.pki import GATEWAY_NAME
from labkit.shell import run, wait_until

PLUGIN = "/usr/lib/ipsec/charon-nm"
NEEDED = {
    "/usr/sbin/NetworkManager": "network-manager",
    "/usr/lib/NetworkManager/VPN/nm-strongswan-service.name": "network-manager-strongswan",
    PLUGIN: "strongswan-nm",
    "/usr/bin/dbus-daemon": "dbus-daemon",
}
ADDRESS = "10.99.3.4"
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
MANAGER = """\
[main]
plugins=keyfile
auth-polkit=false
dns=none
rc-manager=unmanaged

[keyfile]
unmanaged-devices=interface-name:lo;interface-name:ipsec*
"""
WIRE = f"""\
[connection]
id=wire
type=ethernet
interface-name=eth0

[ipv4]
method=manual
address1={ADDRESS}/24,10.99.3.1

[ipv6]
method=disabled
"""
# Nobody runs udev: with /sys to read alone NetworkManager does not wait for it.
LAUNCH = """
mount --bind "$0/etc" /etc && mount --bind "$0/run" /run && mount --bind "$0/state" /var/lib && mount -t sysfs -o ro none /sys || exit 1
dbus-daemon --config-file=/etc/bus.conf --nofork --nopidfile &
read -r _ && exec NetworkManager --debug
"""
STRONGSWAN = {
    "charon-nm": {
        "load": f"{CRYPTO} kernel-libipsec kernel-netlink socket-default eap-identity eap-mschapv2 eap-tls",
        "plugins": PAST_THE_TUNNEL,
        "filelog": {"log": {"path": "/run/charon-nm.log", "default": 1, "flush_line": "yes"}},
    }
}


class NetworkManager:
    """Behind the laboratory's NAT."""

    def __init__(self, world, folder):
        self.folder = Path(folder)
        self._files()
        self.log = open(self.folder / "log", "wb")
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", LAUNCH, self.folder]
        self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        child = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = wait_until(lambda: child.read_text().strip(), 5)
        check(wait_until(lambda: (self.folder / "run/dbus/system_bus_socket").exists(), 5), self.text())
        self._wire(world)
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        check(wait_until(lambda: self("-g", "RUNNING", "general", status=None).stdout == "running\n", 10), self.text())

    def _files(self):
        for name in ("etc/NetworkManager/system-connections", "etc/evergate-client", "run/dbus", "state"):
            (self.folder / name).mkdir(parents=True)
        etc = self.folder / "etc"
        for name in ("passwd", "group", "ld.so.cache"):
            shutil.copy(f"/etc/{name}", etc)
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{network.GATEWAY_IPV4} {GATEWAY_NAME}\n")
        (etc / "bus.conf").write_text(BUS)
        (etc / "NetworkManager/NetworkManager.conf").write_text(MANAGER)
        (etc / "strongswan.conf").write_text(settings(STRONGSWAN) + "\n")
        self.put("wire.nmconnection", WIRE.encode())

    def put(self, name, content):
        """A connection, as root keeps it, or a file that one names."""
        folder = "NetworkManager/system-connections" if name.endswith(".nmconnection") else "evergate-client"
        file = self.folder / "etc" / folder / name
        file.write_bytes(content)
        file.chmod(0o600)

    def _wire(self, world):
        """It needs no name that others could have, and goes with either end."""
        nat, inner = world.lab.namespace("nat"), f"nm{os.getpid()}"
        run(["ip", "link", "add", inner, "netns", nat, "type", "veth", "peer", "name", "eth0", "netns", self.pid])
        run(["ip", "-n", nat, "link", "set", inner, "master", "br0", "up"])

    def exec(self, *argv, check=True):
        """In all of its namespaces: to a caller whose process it cannot see NetworkManager shows nothing."""
        return run(["nsenter", "--target", self.pid, "--mount", "--net", "--pid", "--", *argv], check=check, timeout=40)

    def __call__(self, *arguments, status=0):
        """nmcli; `status`: how it ends, None for no matter."""
        done = self.exec("nmcli", *arguments, check=False)
        check(status is None or done.returncode == status, f"nmcli {arguments}: {done.stdout}{done.stderr}\n{self.text()}")
        return done

    def ping(self, target):
        return self.exec(sys.executable, network.ECHO, target, 2, 56, 0.2, 3, check=False).stdout.strip() == "2"

    def text(self):
        charon = self.folder / "run/charon-nm.log"
        return "\n".join(file.read_text(errors="replace")[-4000:] for file in (self.folder / "log", charon) if file.exists())

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self.log.close()


@contextlib.contextmanager
def started(world):
    with tempfile.TemporaryDirectory(prefix="evergate-networkmanager-") as folder:
        manager = NetworkManager(world, folder)
        try:
            yield manager
        finally:
            manager.end()
