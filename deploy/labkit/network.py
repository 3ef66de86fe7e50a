"""The laboratory's namespaces, links and addresses.

    client  wan0 10.99.1.2  fd99:1::2 ----------- wan0 10.99.1.1 fd99:1::1  gateway  lan0 10.99.10.1 fd99:10::1 --- lan     10.99.10.10 fd99:10::10
    client  nat0 10.99.3.2 --+ br0 10.99.3.1  nat                           gateway  mgt0 10.99.20.1 -------------- radius  10.99.20.10
    client2 nat0 10.99.3.3 --+ out0 10.99.2.2 (masquerade) - wan1 10.99.2.1 gateway
    machine nat0 ------------+
    machine wan0 -------------------------------- wan2 10.99.4.1 fd99:4::1  gateway
    sstp    wan0 10.99.5.2  fd99:5::2 ----------- wan3 10.99.5.1 fd99:5::1  gateway

None of the clients has a route to the LAN outside of a tunnel. The namespace `machine` is for a client with a kernel of its own, whose network devices it carries.
The addresses are the same in every instance; only the namespaces' names differ.
"""

import sys
from pathlib import Path

from .shell import LabError, NAMESPACES, in_namespace, run, wait_until

ECHO = Path(__file__).with_name("echo.py")
ROLES = ("client", "client2", "sstp", "machine", "nat", "gateway", "lan", "radius")

GATEWAY_IPV4 = "10.99.1.1"
GATEWAY_IPV6 = "fd99:1::1"
GATEWAY_IPV4_BEHIND_NAT = "10.99.2.1"
GATEWAY_IPV4_MACHINE = "10.99.4.1"
GATEWAY_IPV6_MACHINE = "fd99:4::1"
NAT_OUTSIDE = "10.99.2.2"
LAN_IPV4 = "10.99.10.10"
LAN_IPV6 = "fd99:10::10"
LAN_DNS = "10.99.10.53"
RADIUS_IPV4 = "10.99.20.10"
NAS_IPV4 = "10.99.20.1"

LINKS = (
    ("client", "wan0", "gateway", "wan0"),
    ("nat", "out0", "gateway", "wan1"),
    ("client", "nat0", "nat", "port1"),
    ("client2", "nat0", "nat", "port2"),
    ("sstp", "wan0", "gateway", "wan3"),
    ("machine", "wan0", "gateway", "wan2"),
    ("machine", "nat0", "nat", "port3"),
    ("lan", "lan0", "gateway", "lan0"),
    ("radius", "mgt0", "gateway", "mgt0"),
)
ADDRESSES = (
    ("client", "wan0", "10.99.1.2/24", "fd99:1::2/64"),
    ("gateway", "wan0", f"{GATEWAY_IPV4}/24", f"{GATEWAY_IPV6}/64"),
    ("nat", "out0", f"{NAT_OUTSIDE}/24"),
    ("gateway", "wan1", f"{GATEWAY_IPV4_BEHIND_NAT}/24"),
    ("gateway", "wan2", f"{GATEWAY_IPV4_MACHINE}/24", f"{GATEWAY_IPV6_MACHINE}/64"),
    ("sstp", "wan0", "10.99.5.2/24", "fd99:5::2/64"),
    ("gateway", "wan3", "10.99.5.1/24", "fd99:5::1/64"),
    ("nat", "br0", "10.99.3.1/24"),
    ("client", "nat0", "10.99.3.2/24"),
    ("client2", "nat0", "10.99.3.3/24"),
    ("lan", "lan0", f"{LAN_IPV4}/24", f"{LAN_DNS}/24", f"{LAN_IPV6}/64"),
    ("gateway", "lan0", "10.99.10.1/24", "fd99:10::1/64"),
    ("radius", "mgt0", f"{RADIUS_IPV4}/24"),
    ("gateway", "mgt0", f"{NAS_IPV4}/24"),
)
ROUTES = (
    ("client", "10.99.2.0/24", "10.99.3.1"),
    ("client", "default", "10.99.3.1"),
    ("client2", "default", "10.99.3.1"),
    ("sstp", "10.99.1.0/24", "10.99.5.1"),
    ("sstp", "fd99:1::/64", "fd99:5::1"),
    ("nat", "10.99.1.0/24", GATEWAY_IPV4_BEHIND_NAT),
    ("nat", "10.99.4.0/24", GATEWAY_IPV4_BEHIND_NAT),
    ("lan", "default", "10.99.10.1"),
    ("lan", "default", "fd99:10::1"),
    ("radius", "default", NAS_IPV4),
)
MASQUERADE = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "out0" masquerade
  }
}
"""


class Network:
    """The namespaces of one instance."""

    def __init__(self, instance):
        self.instance = instance
        # Roles with a kernel of their own -> what runs a command there.
        self.elsewhere = {}

    def namespace(self, role):
        return f"{self.instance}-{role}"

    def exists(self):
        return any((NAMESPACES / self.namespace(role)).exists() for role in ROLES)

    def up(self):
        """Builds everything from nothing; what an interrupted run left is replaced."""
        self.down()
        for role in ROLES:
            run(["ip", "netns", "add", self.namespace(role)])
            self._ip(role, "link", "set", "lo", "up")
            self._settings(role)
        for left, left_name, right, right_name in LINKS:
            ends = [
                "name",
                left_name,
                "netns",
                self.namespace(left),
                "type",
                "veth",
                "peer",
                "name",
                right_name,
                "netns",
                self.namespace(right),
            ]
            run(["ip", "link", "add", *ends])
        self._ip("nat", "link", "add", "br0", "type", "bridge")
        for port in ("port1", "port2", "port3"):
            self._ip("nat", "link", "set", port, "master", "br0")
        for role, device in {(role, device) for link in LINKS for role, device in (link[:2], link[2:])} | {("nat", "br0")}:
            self._ip(role, "link", "set", device, "up")
        for role, device, *addresses in ADDRESSES:
            for address in addresses:
                self._ip(role, "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        for role, target, via in ROUTES:
            self._ip(role, "-6" if ":" in via else "-4", "route", "add", target, "via", via)
        self.exec("nat", ["nft", "-f", "-"], input=MASQUERADE)
        self._check()

    def down(self):
        for role in ROLES:
            if (NAMESPACES / self.namespace(role)).exists():
                run(["ip", "netns", "delete", self.namespace(role)])

    def exec(self, role, argv, **options):
        """Runs a command inside the role's namespace, or on its own kernel."""
        if role in self.elsewhere:
            return self.elsewhere[role](argv, **options)
        return run(in_namespace(self.namespace(role), argv), **options)

    def ping(self, role, target, *, count=2, size=56, interval=0.2, deadline=3):
        """Whether every echo came back."""
        argv = [sys.executable, ECHO, target, count, size, interval, deadline]
        found = self.exec(role, argv, check=False, timeout=60 + count * interval)
        return found.stdout.strip() == str(count)

    def _ip(self, role, *arguments):
        run(["ip", "-n", self.namespace(role), *arguments])

    def _settings(self, role):
        values = ["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.promote_secondaries=1"]
        # A tunnel's router advertisements are for the client program: the kernel would add an address that the gateway did not assign.
        values += ["net.ipv6.conf.default.accept_ra=0"]
        if role in ("gateway", "nat"):
            values += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
        self.exec(role, ["sysctl", "-q", "-w", *values])

    def _check(self):
        paths = (
            ("client", GATEWAY_IPV4),
            ("client", GATEWAY_IPV6),
            ("client", GATEWAY_IPV4_BEHIND_NAT),
            ("client2", GATEWAY_IPV4),
        ("sstp", GATEWAY_IPV4),
        ("sstp", GATEWAY_IPV6),
            ("gateway", LAN_IPV6),
            ("gateway", RADIUS_IPV4),
        )
        for role, target in paths:
            if not wait_until(lambda: self.ping(role, target, count=1, deadline=1), 5):
                raise LabError(f"no ping from namespace {self.namespace(role)} to {target}: is another firewall or namespace tool at work?")
