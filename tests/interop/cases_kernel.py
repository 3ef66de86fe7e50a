"""A client whose kernel does ESP: as IP protocol 50 and in UDP, with and without extended sequence numbers (ESN)."""

import re
import time

from harness import case, check
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until

DUAL = ("0.0.0.0", "::")
OUTSIDE, OUTSIDE_NAT = "10.99.4.2", "10.99.3.4"
MEGABYTES = 20
# strongSwan's word -> the transform as the kernel names it, the suite as the gateway does.
SUITES = {
    "aes256gcm16": (r"aead rfc4106\(gcm\(aes\)\) \S+ \(288 bits\) 128", "AES_GCM_16_256"),
    "aes128gcm16": (r"aead rfc4106\(gcm\(aes\)\) \S+ \(160 bits\) 128", "AES_GCM_16_128"),
    "chacha20poly1305": (r"aead rfc7539esp\(chacha20,poly1305\) \S+ \(288 bits\) 128", "CHACHA20_POLY1305"),
    "aes256-sha256": (r"auth-trunc hmac\(sha256\) \S+ \(256 bits\) 128\s+enc cbc\(aes\) \S+ \(256 bits\)", "AES_CBC_256/HMAC_SHA2_256_128"),
    "aes128-sha384": (r"auth-trunc hmac\(sha384\) \S+ \(384 bits\) 192\s+enc cbc\(aes\) \S+ \(128 bits\)", "AES_CBC_128/HMAC_SHA2_384_192"),
    "aes256-sha512": (r"auth-trunc hmac\(sha512\) \S+ \(512 bits\) 256\s+enc cbc\(aes\) \S+ \(256 bits\)", "AES_CBC_256/HMAC_SHA2_512_256"),
}
PATHS = {
    "plain": (Profile(server=network.GATEWAY_IPV4_MACHINE), OUTSIDE, None),
    "plain_ipv6": (Profile(server=network.GATEWAY_IPV6_MACHINE), "fd99:4::2", None),
    "udp": (Profile(server=network.GATEWAY_IPV4_MACHINE, encapsulation="yes"), OUTSIDE, 4500),
    "udp_ipv6": (Profile(server=network.GATEWAY_IPV6_MACHINE, encapsulation="yes"), "fd99:4::2", 4500),
    "nat": (Profile(server=network.GATEWAY_IPV4_BEHIND_NAT), OUTSIDE_NAT, 4500),
}


class Kernel:
    """The client's kernel: its SAs and what it thinks of the packets."""

    def __init__(self, world):
        self.machine = world.machine()
        self.errors_before = self._errors()

    def states(self):
        """A block of text for each SA."""
        return re.split(r"^(?=src )", self.machine.exec(["ip", "-s", "xfrm", "state"]).stdout, flags=re.M)[1:]

    def outbound(self, outside):
        (state,) = [state for state in self.states() if state.startswith(f"src {outside} ")]
        return state

    def sent(self, outside):
        """The 64-bit number of the last packet that left through the SA with ESN."""
        high, low = (int(re.search(rf"\b{name} 0x([0-9a-f]+)", self.outbound(outside))[1], 16) for name in ("oseq-hi", "oseq"))
        return high << 32 | low

    def set_sent(self, outside, sent):
        state = self.outbound(outside)
        spi = int(re.search(r"\bspi 0x([0-9a-f]+)", state)[1], 16)
        self.machine.object("xfrm").set_sent(re.search(r" dst (\S+)", state)[1], spi, sent)
        check(self.sent(outside) == sent, f"the sequence number was not set to {sent:#x}: {self.outbound(outside)}")

    def check_states(self, suite, esn, outside, port):
        """Two SAs, both as negotiated."""
        states, (transform, _) = self.states(), SUITES[suite]
        check(len(states) == 2, f"{len(states)} SAs in the client's kernel: {states}")
        for state in states:
            check(re.search(rf"\b(src|dst) {outside}\b", state), f"no SA of {outside}: {state}")
            check("mode tunnel" in state and re.search(transform, state), f"no SA with {transform}: {state}")
            check((port is not None) == ("encap type espinudp" in state), f"encapsulation: {state}")
            check(port is None or f"port {port}" in state, f"encapsulation with other ports than {port}: {state}")
            check(esn == bool(re.search(r"^\s+replay-window .* flag .*\besn\b", state, re.M)), f"ESN: {state}")

    def check_calm(self):
        """No packet since the start was dropped for anything ESP."""
        fresh = {name: count - self.errors_before[name] for name, count in self._errors().items()}
        check(not any(fresh.values()), f"the client's kernel dropped packets: { {name: count for name, count in fresh.items() if count} }")
        for state in self.states():
            stats = re.search(r"stats:\s+replay-window (\d+) replay (\d+) failed (\d+)", state)
            check(stats and set(stats.groups()) == {"0"}, f"the client's kernel counted errors: {state}")

    def _errors(self):
        lines = self.machine.exec(["cat", "/proc/net/xfrm_stat"]).stdout.splitlines()
        # Not those of policies: a packet may meet one whose SAs are just being made or removed.
        of_esp = [line.split() for line in lines if line.startswith(("XfrmInState", "XfrmInError", "XfrmOutState"))]
        return {name: int(count) for name, count in of_esp}


def _both_families(world):
    for target in (network.LAN_IPV4, network.LAN_IPV6):
        world.ping("machine", target)


def _tunnel(world, path, suite, esn):
    """Logs in, checks what is installed at both ends, moves bytes both ways and checks the books."""
    profile, outside, port = PATHS[path]
    kernel = Kernel(world)
    world.login(profile.but(addresses=DUAL, esp=(f"{suite}-{'esn' if esn else 'noesn'}",)), role="machine")
    kernel.check_states(suite, esn, outside, port)
    before = world.session_of("alice")
    wanted = f"{SUITES[suite][1]}/{'ESN' if esn else 'NO_ESN'}"
    check(before["esp_suite"] == wanted, f"the gateway says {before['esp_suite']}, not {wanted}")
    check((before["nat"] == "none") == (port is None), f"the gateway sees NAT: {before['nat']}")
    _both_families(world)
    for size in (0, 1, 15, 16, 17, 1300, 1400, 3000, 20000):
        world.ping("machine", size=size, count=1)
    for direction in ("down", "up"):
        world.transfer(MEGABYTES, direction, "machine")
    after = world.session_of("alice")
    for counter in ("octets_in", "octets_out"):
        check(after[counter] - before[counter] > MEGABYTES * 1_000_000, f"{counter}: {before[counter]}, then {after[counter]}")
    kernel.check_calm()


for path in PATHS:
    for esn in (False, True):
        case("kernel", f"esp_{path}{'_esn' if esn else ''}")(lambda world, p=path, e=esn: _tunnel(world, p, "aes256gcm16", e))
for suite in SUITES:
    if suite != "aes256gcm16":
        case("kernel", f"esp_plain_esn_{suite.replace('-', '_')}")(lambda world, s=suite: _tunnel(world, "plain", s, True))


def _rekeys(world, path, esp):
    profile, outside, _ = PATHS[path]
    kernel = Kernel(world)
    client = world.login(profile.but(addresses=DUAL, esp=(esp,)), role="machine")
    with world.pinging("machine"):
        for _ in range(3):
            check(client.rekey_child(), "the Child SA was not rekeyed", client.log())
            time.sleep(0.3)
        for _ in range(2):
            check(client.rekey_ike(), "the IKE SA was not rekeyed", client.log())
            check(client.rekey_child(), "the Child SA was not rekeyed after the IKE SA", client.log())
    check(wait_until(lambda: len(kernel.states()) == 2, 10), f"old SAs remain: {kernel.states()}")
    kernel.check_states("aes256gcm16", esp.endswith("-esn"), outside, PATHS[path][2])
    _both_families(world)
    world.transfer(2, "down", "machine")
    kernel.check_calm()


@case("kernel")
def rekeys_plain_esn(world):
    _rekeys(world, "plain", "aes256gcm16-ecp256-esn")


@case("kernel")
def rekeys_behind_nat(world):
    _rekeys(world, "nat", "aes256gcm16-noesn")


@case("kernel")
def esn_past_the_end_of_32_bits(world):
    """The client's sequence numbers pass 2^32 twice; the high half is nowhere on the wire, the gateway has to follow."""
    for suite in ("aes256gcm16", "aes256-sha256"):
        kernel = Kernel(world)
        client = world.login(PATHS["plain"][0].but(esp=(f"{suite}-esn",)), role="machine")
        # Only a window that is full looks ahead as far as the next step.
        for sent in (100_000, 0x7FFF_0000, 0xFFFF_0000):
            kernel.set_sent(OUTSIDE, sent)
            world.ping("machine", count=5, interval=0.02)
        for boundary in (1 << 32, 2 << 32):
            kernel.set_sent(OUTSIDE, boundary - 50)
            world.ping("machine", count=100, interval=0.005)
            check(boundary < kernel.sent(OUTSIDE) < boundary + 1000, f"{kernel.sent(OUTSIDE):#x} packets")
            if boundary == 1 << 32:
                kernel.set_sent(OUTSIDE, boundary + 0x7FFF_FFFF)
                world.ping("machine")
        world.transfer(2, "up", "machine")
        check(client.rekey_child(), "the Child SA was not rekeyed", client.log())
        world.ping("machine")
        kernel.check_calm()
        client.disconnect()


@case("kernel")
def repeated_sequence_numbers_are_dropped(world):
    kernel = Kernel(world)
    world.login(PATHS["plain"][0].but(esp=("aes256gcm16-esn",)), role="machine")
    world.ping("machine", count=20, interval=0.01)
    sent, before = kernel.sent(OUTSIDE), world.gateway.json("status")["dataplane"]["drops"]["replayed"]
    kernel.set_sent(OUTSIDE, sent - 10)
    check(not world.lab.network.ping("machine", network.LAN_IPV4, count=1, deadline=1), "a repeated number was answered")
    kernel.set_sent(OUTSIDE, sent)
    world.ping("machine", count=20, interval=0.01)
    drops = world.gateway.json("status")["dataplane"]["drops"]
    check(drops["replayed"] == before + 1, f"{drops}")


@case("kernel")
def moves_between_plain_and_udp(world):
    """MOBIKE (RFC 4555): from a path without NAT to one behind a NAT router, and back."""
    kernel = Kernel(world)
    client = world.login(PATHS["plain"][0].but(addresses=DUAL, esp=("aes256gcm16-esn",)), role="machine")
    for outside, port, changes in ((OUTSIDE_NAT, 4500, ("eth0 down",)), (OUTSIDE, None, ("eth0 up", "eth1 down"))):
        for change in changes:
            kernel.machine.exec(["ip", "link", "set", *change.split()])
        check(wait_until(lambda: (client.session() or {}).get("local-host") == outside, 20), f"no move to {outside}", client.log())
        check(wait_until(lambda: world.lab.network.ping("machine", network.LAN_IPV4, count=1, deadline=1), 10), "no traffic", client.log())
        _both_families(world)
        check(wait_until(lambda: len(kernel.states()) == 2, 10), f"{kernel.states()}")
        kernel.check_states("aes256gcm16", True, outside, port)
        nat = world.session_of("alice")["nat"]
        check(nat == ("none" if port is None else "client"), f"the gateway sees NAT: {nat} at {outside}")
    timeline = [line["text"] for line in world.attempt(world.session_of("alice")["attempt"])["timeline"]]
    check(sum("the client answers at" in text for text in timeline) >= 2, f"{timeline}")
    check(client.disconnect(), "no answer to DELETE", client.log())
    # Its routes went with the cards.
    kernel.machine.stop()


@case("kernel")
def padding_against_traffic_analysis(world):
    """The client fills every packet up (RFC 4303 section 2.7); what is inside says how long it is."""
    kernel = Kernel(world)
    profile = PATHS["plain"][0].but(addresses=DUAL, esp=("aes256gcm16-esn",), child=(("tfc_padding", "1200"),))
    client = world.login(profile, role="machine", ping=False)
    check("ESP_TFC_PAD_N" not in world.last.notifies, f"{sorted(world.last.notifies)}", world.last.log)
    wan = world.lab.network.exec("gateway", ["cat", "/sys/class/net/wan2/statistics/rx_bytes"])
    for size in (0, 100, 1000):
        world.ping("machine", size=size, count=10, interval=0.01)
    more = world.lab.network.exec("gateway", ["cat", "/sys/class/net/wan2/statistics/rx_bytes"])
    check(int(more.stdout) - int(wan.stdout) > 30 * 1200, f"the client does not pad: {wan.stdout} {more.stdout}")
    world.ping("machine", network.LAN_IPV6)
    world.transfer(2, "up", "machine")
    check(client.rekey_child(), "the Child SA was not rekeyed", client.log())
    world.ping("machine")
    kernel.check_calm()


LINKS = {"plain": (("machine", "eth0"), ("gateway", "wan2")), "nat": (("nat", "out0"), ("gateway", "wan1"))}


def _narrow(world, path, mtu):
    """A link on the way takes less than an ESP packet of full size: the client's own, or one behind a router."""
    kernel = Kernel(world)

    def set_mtu(value):
        for role, device in LINKS[path]:
            world.lab.network.exec(role, ["ip", "link", "set", device, "mtu", value])

    set_mtu(mtu)
    try:
        world.login(PATHS[path][0].but(addresses=DUAL, esp=("aes256gcm16-esn",)), role="machine")
        # What is too long for a router behind gets lost, and tells the client.
        world.lab.network.ping("machine", network.LAN_IPV4, size=1372, count=2)
        for size in (1172, 1372, 1400, 3000):
            world.ping("machine", size=size, count=3)
        for host in (network.LAN_IPV4, network.LAN_IPV6):
            for direction in ("down", "up"):
                world.transfer(3, direction, "machine", host)
        kernel.check_calm()
    finally:
        set_mtu(1500)


for path in LINKS:
    case("kernel", f"narrow_link_{path}")(lambda world, p=path: _narrow(world, p, 1300))
