"""`evergate trace`: one client's packets and the gateway's decisions in one stream, and no secret in it."""

import contextlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from pathlib import Path

from cases_dynamic import SECRET, ask, dynamic, gone
from cases_inside import ask as inform
from cases_inside import lease
from harness import case, check, setup
from labkit import network, packages
from labkit.client import Profile
from labkit.shell import run, wait_until
from sstp_client import Sstp

# As the laboratory gives it to its first client.
CLIENT = "10.99.1.2"
BEGINS = "a trace begins"
# Reads captures as the administrator will.
TSHARK = {"/usr/bin/tshark": "tshark"}


class Trace:
    """A running `evergate trace`."""

    def __init__(self, world, *words):
        self.world, self.file = world, world.gateway.folder / "trace.out"
        self.mark = len(world.gateway.daemon.log_file.read_text())
        argv = [world.gateway.binary, "trace", *words, "--config", world.gateway.config_file]
        with self.file.open("w") as out:
            self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        check(wait_until(lambda: BEGINS in self.log(), 5), f"no trace begins: {self.text()}")

    def log(self):
        """What the gateway has said since the trace was asked for."""
        return self.world.gateway.daemon.log_file.read_text()[self.mark :]

    def text(self):
        return self.file.read_text()

    def events(self):
        return [json.loads(line) for line in self.text().splitlines() if line.endswith("}")]

    def titles(self):
        return [event["title"] for event in self.events()]

    def end(self):
        self.process.terminate()
        self.process.wait(5)


@contextlib.contextmanager
def tracing(world, *words):
    trace = Trace(world, *words)
    try:
        yield trace
    finally:
        trace.end()


def _fields(event):
    """Values by name, those of one name joined."""
    values = {}
    for field in event.get("fields", []):
        values.setdefault(field["name"], []).append(field["value"])
    return {name: "\n".join(several) for name, several in values.items()}


def _in_order(trace, *patterns):
    """Each pattern fits an event behind that of the one before."""
    titles = iter(trace.titles())
    for pattern in patterns:
        check(any(re.match(pattern, title) for title in titles), f"nothing says /{pattern}/ in its place: {trace.titles()}")


def _one(trace, pattern, **wanted):
    found = [event for event in trace.events() if re.match(pattern, event["title"]) and wanted.items() <= event.items()]
    check(found, f"nothing says /{pattern}/ {wanted}: {trace.titles()}")
    return found[0]


LOGIN = (
    "IKE_SA_INIT request 0",
    "NAT on the way",
    "IKE_SA_INIT response 0",
    "IKE_AUTH request 1",
    "IKE_AUTH response 1",
    "Access-Request",
    "Access-Challenge",
    "Access-Request",
    "Access-Accept",
    "radius freeradius accepts alice",
    "stage policy",
    "IKE_AUTH response",
    "stage up",
    "Accounting-Request",
    "Accounting-Response",
)


@case("trace")
def a_login_by_its_user(world):
    """From the first packet on, which came before the name; the password is nowhere."""
    with tracing(world, "--user", "ALICE", "--json") as trace:
        world.login(Profile(password="password"))
        check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"the trace ends before its time: {trace.titles()}")
        _in_order(trace, *LOGIN)
        attempts = {event["attempt"] for event in trace.events()}
        check(attempts == {world.session_of("alice")["attempt"]}, f"events of {attempts}")
        first = _one(trace, "IKE_SA_INIT request", direction="in", layer="ike")
        check("user" not in first and "proposal 1 of IKE: AES_" in _fields(first)["SA"], f"{first}")
        check(first["peer"] == f"{CLIENT}:500", f"{first}")
        asks = _one(trace, "IKE_AUTH request 1")
        check("ID_" in _fields(asks)["IDi"] and "CFG_REQUEST" in _fields(asks)["CP"], f"the inner payloads are missing: {asks}")
        check("INTERNAL_IP4_ADDRESS 10.98.0." in json.dumps(trace.events()[-30:]), "the address is missing")
        request = _fields(_one(trace, "Access-Request", layer="radius", direction="out"))
        check(request["User-Name"] == "alice" and request["Acct-Session-Id"] in attempts, f"{request}")
        check(request["Message-Authenticator"] == "withheld, 16 bytes" and "Identity" in request["EAP-Message"], f"{request}")
        accept = _fields(_one(trace, "Access-Accept"))
        check(accept["MS-MPPE-Recv-Key"].startswith("withheld, "), f"{accept}")
        check("EAP-MSCHAPv2 Response (withheld" in trace.text(), "the method is not told")
        text = trace.text()
    check("password" not in text and b"password".hex() not in text, "the password is in the trace")
    check('about=user "ALICE"' in trace.log() or "ALICE" in trace.log(), "the log does not say who is traced")
    check(wait_until(lambda: "a trace ends" in trace.log(), 5), "the end of the trace is not in the log")


@case("trace")
def others_are_not_told(world):
    """The trace of one user says nothing of another; that of an address everything, in words too."""
    with tracing(world, "--user", "bob", "--json") as bob, tracing(world, "--peer", CLIENT) as peer:
        world.login(Profile(user="alice"))
        check(wait_until(lambda: "Accounting-Response" in peer.text(), 5), f"{peer.text()}")
        check(not bob.events(), f"bob is told of alice: {bob.titles()}")
        check(f"<- {CLIENT}:500 IKE_SA_INIT request 0" in peer.text(), peer.text())
        check("User-Name" in peer.text() and "alice" in peer.text(), peer.text())


@case("trace")
def a_running_session_and_its_end(world):
    """A trace of an attempt that is up shows what comes, down to its DELETE; one that is over is refused with the way to its record."""
    world.login()
    attempt = world.session_of("alice")["attempt"]
    with tracing(world, "--attempt", attempt, "--json") as trace:
        world.client().forget()
        check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
        _in_order(trace, "INFORMATIONAL request", "ended", "Accounting-Request", "Accounting-Response")
        check(_fields(_one(trace, "INFORMATIONAL request"))["Delete"] == "the IKE SA", f"{trace.events()}")
        check(_fields(_one(trace, "Accounting-Request"))["Acct-Status-Type"] == "Stop", f"{trace.events()}")
    refused = world.gateway.command("trace", "--attempt", attempt, check=False)
    check(refused.returncode == 1 and f"evergate attempts show {attempt}" in refused.stderr, f"{refused}")


@case("trace")
def a_refusal_by_radius(world):
    with tracing(world, "--user", "alice", "--json") as trace:
        world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
        check(wait_until(lambda: "failed: " in trace.text(), 5), f"{trace.titles()}")
        _in_order(trace, "Access-Request", "RADIUS reports E=691", "IKE_AUTH response", "INFORMATIONAL request", "failed: .*alice")
        check("wrong" not in json.dumps([_fields(event) for event in trace.events()]), "the password is in the trace")


SSTP_LOGIN = (
    "CALL_CONNECT_REQUEST",
    "CALL_CONNECT_ACK",
    "LCP Configure-Request",
    "LCP Configure-Ack",
    "CHAP Challenge",
    "CHAP Response",
    "Access-Request",
    "Access-Accept",
    "CHAP Success",
    "CALL_CONNECTED",
    "crypto binding verified",
    "stage up",
    "IPCP Configure-Nak",
    "IPCP is up",
)


@case("trace")
def a_call_over_sstp(world):
    """SSTP and PPP with MS-CHAPv2, from the first message on; responses and passwords are withheld."""
    with tracing(world, "--user", "alice", "--json") as trace:
        with Sstp(world.lab, world.gateway.binary).held(auth="mschapv2"):
            check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
        check(wait_until(lambda: "CALL_DISCONNECT" in trace.text(), 5), f"{trace.titles()}")
        _in_order(trace, *SSTP_LOGIN)
        response = _fields(_one(trace, "CHAP Response", layer="ppp", direction="in"))
        check(response["Name"] == "alice" and response["Value"] == "withheld, 49 bytes", f"{response}")
        request = _fields(_one(trace, "Access-Request"))
        check(request["MS-CHAP2-Response"].startswith("withheld") and request["User-Name"] == "alice", f"{request}")
        address = _fields([event for event in trace.events() if event["title"].startswith("IPCP Configure-Nak")][-1])
        check(address["IP-Address"].startswith("10.98.0."), f"{address}")
        check("password" not in trace.text(), "the password is in the trace")


def _blocks(capture):
    """Kinds and bodies of a pcapng file."""
    at = 0
    while at < len(capture):
        kind, length = struct.unpack_from("<II", capture, at)
        check(length % 4 == 0 and struct.unpack_from("<I", capture, at + length - 4)[0] == length, f"a broken block at {at}")
        yield kind, capture[at + 8 : at + length - 4]
        at += length


def _datagrams(capture):
    """Source port, destination port and payload of each packet on the wire."""
    found = []
    kinds = []
    for kind, body in _blocks(capture):
        kinds.append(kind)
        if kind == 6 and struct.unpack_from("<I", body)[0] == 0:
            length = struct.unpack_from("<I", body, 12)[0]
            packet = body[20 : 20 + length]
            check(packet[0] == 0x45 and packet[9] == 17 and struct.unpack_from(">H", packet, 2)[0] == length, "no IPv4 packet with UDP")
            source, destination, size = struct.unpack_from(">HHH", packet, 20)
            check(size == length - 20, "the length of UDP is wrong")
            found.append((source, destination, packet[28:]))
    check(kinds[:7] == [0x0A0D0D0A, 1, 1, 1, 1, 1, 1], f"no head: {kinds[:7]}")
    return found


def _attributes(packet):
    """Numbers and values of a RADIUS packet."""
    at = 20
    while at < len(packet):
        number, length = packet[at : at + 2]
        check(2 <= length <= len(packet) - at, f"a broken attribute at {at}")
        yield number, packet[at + 2 : at + length]
        at += length


def _eap(packet):
    return b"".join(value for number, value in _attributes(packet) if number == 79)


def _captured(world, folder, *words):
    """The datagrams of a login as the capture has them, and the trace's text."""
    capture = folder / "login.pcapng"
    with tracing(world, "--user", "alice", "--json", "--pcap", capture, *words) as trace:
        world.login()
        check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
        world.client().forget()
        world.no_sessions()
    check(stat.S_IMODE(capture.stat().st_mode) == 0o600, "others can read the capture")
    check('"packets"' not in trace.text() and '"keys"' not in trace.text(), "packets or keys are on standard output")
    return _datagrams(capture.read_bytes()), trace


@case("trace")
def a_capture_has_packets_and_keys_only_when_asked(world):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        packets, trace = _captured(world, folder)
        check([file.name for file in folder.iterdir()] == ["login.pcapng"], f"{list(folder.iterdir())}")
        ike = [payload for source, destination, payload in packets if 500 in (source, destination)]
        check(len(ike) == 2 and all(payload[17] == 0x20 and payload[18] == 34 for payload in ike), "no IKE_SA_INIT and its answer")
        inside = [payload for source, destination, payload in packets if 4500 in (source, destination)]
        check(len(inside) >= 8 and all(payload[:4] == bytes(4) and payload[22] in (35, 37) for payload in inside), "no IKE_AUTH behind its marker")
        check(all(payload[20] in (46, 53) for payload in inside), "a message on port 4500 is not protected")
        radius = [payload for source, destination, payload in packets if 1812 in (source, destination)]
        check({payload[0] for payload in radius} == {1, 2, 11}, f"{[payload[0] for payload in radius]}")
        told = [packet for packet in map(_eap, radius) if packet[4:5] == b"\x1a"]
        check(len(told) >= 3 and not any(any(packet[5:]) for packet in told), f"EAP-MSCHAPv2 is in clear: {told}")
        keys = [value for payload in radius for number, value in _attributes(payload) if number == 26 and value[:4] == b"\0\0\x01\x37" and value[4] in (16, 17)]
        check(keys and not any(any(value[6:]) for value in keys), f"keys are in clear: {keys}")
        check(any(payload[0] == 4 for source, destination, payload in packets if destination == 1813), "no Accounting-Request")
        again = world.gateway.command("trace", "--user", "alice", "--pcap", folder / "login.pcapng", check=False)
        check(again.returncode == 1 and "is there already" in again.stderr, f"{again}")
    check("keys=false" in trace.log() and "is given the keys" not in trace.log(), "the log says that keys were given")
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "login.keys"
        packets, trace = _captured(world, Path(folder), "--reveal-session-keys", keys)
        check(stat.S_IMODE(keys.stat().st_mode) == 0o600, "others can read the keys")
        spis = {payload[4:20].hex() for source, destination, payload in packets if 4500 in (source, destination)}
        lines = keys.read_text().splitlines()
        fields = [line.split(",") for line in lines]
        check(len(lines) == 1 and spis == {fields[0][0] + fields[0][1]}, f"{len(lines)} lines; SPIs {spis}")
        check(fields[0][4] == '"AES-GCM-256 with 16 octet ICV [RFC5282]"' and len(fields[0][2]) == len(fields[0][3]) == 72, "another cipher")
        check("is given the keys of IKE SAs" in trace.log(), "the log does not say that keys were given")
        check(all(key not in trace.text() for key in fields[0][2:4]), "keys are on standard output")
        capture = Path(folder) / "login.pcapng"
        dark, clear = decoded(capture, "-V"), decoded(capture, "-V", keys=keys)
        for word in ("Payload: Identification - Initiator", "Payload: Extensible Authentication", "Payload: Traffic Selector - Responder"):
            check(word in clear and word not in dark, f"with the keys Wireshark does not show {word}, or without them it does")


def decoded(capture, *words, keys=None):
    """What Wireshark's own reader makes of a capture, with the keys of IKE SAs where they are given."""
    packages.ensure(TSHARK)
    settings = capture.parent / "wireshark"
    settings.mkdir(exist_ok=True)
    if keys:
        shutil.copy(keys, settings / "ikev2_decryption_table")
    env = os.environ | {"WIRESHARK_CONFIG_DIR": str(settings)}
    return run(["tshark", "-r", capture, *words], env=env).stdout


@case("trace")
def a_capture_of_sstp_holds_what_tls_hides(world):
    """PPP frames and control packets as Wireshark reads them; the response to the challenge is zeros."""
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "sstp.pcapng"
        with tracing(world, "--user", "alice", "--json", "--pcap", capture) as trace:
            with Sstp(world.lab, world.gateway.binary).held(auth="mschapv2"):
                check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
            check(wait_until(lambda: "CALL_DISCONNECT" in trace.text(), 5), f"{trace.titles()}")
        asked = [payload for source, destination, payload in _datagrams(capture.read_bytes()) if destination == 1812]
        found = [value for payload in asked for number, value in _attributes(payload) if number == 26 and value[:5] == b"\0\0\x01\x37\x19"]
        check(found and all(len(value) == 56 and not any(value[6:]) for value in found), f"MS-CHAP2-Response is in clear: {found}")
        check(any((1, b"alice") in _attributes(payload) for payload in asked), "the name is gone")
        inner = [(struct.unpack_from("<I", body)[0], body[20:]) for kind, body in _blocks(capture.read_bytes()) if kind == 6]
        responses = [packet for interface, packet in inner if interface == 1 and packet[1:6] == bytes([0xFF, 0x03, 0xC2, 0x23, 2])]
        check(len(responses) == 1 and responses[0][9] == 49 and responses[0][10:59] == bytes(49), f"the response is not zeros: {responses}")
        check(responses[0][59:64] == b"alice" and responses[0][0] == 0, f"the name is gone, or the direction: {responses}")
        check(any(interface == 2 and b"sstp" in packet for interface, packet in inner), "no control packet of SSTP")
        shown = decoded(capture)
        check(all(word in shown for word in ("PPP LCP", "PPP CHAP", "PPP IPCP", "SSTP", "RADIUS")), f"Wireshark reads it otherwise: {shown}")


@setup("trace_dynamic")
def _dynamic(config):
    dynamic(config)


@case("trace_dynamic")
def requests_of_a_portal_and_questions_inside(world):
    """DHCPINFORM inside the tunnel with its answer, a CoA-Request and the Disconnect-Request that ends it; then the trace of the attempt ends by itself."""
    address, device = lease(world, world.login())
    attempt = world.session_of("alice")["attempt"]
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "inside.pcapng"
        with tracing(world, "--attempt", attempt, "--json", "--pcap", capture) as trace:
            check(inform(world, address, device), "DHCPINFORM was not answered")
            check(ask(world, "coa", User_Name="alice", Session_Timeout="3600") == "CoA-ACK", "the change is refused")
            check(ask(world, "disconnect", secret=SECRET, User_Name="alice") == "Disconnect-ACK" and gone(world), "the session is still there")
            check(wait_until(lambda: trace.process.poll() is not None, 12), f"the trace goes on after its attempt: {trace.titles()}")
            steps = ("DHCPINFORM 10", "DHCPACK", "CoA-Request", ".* changes the session", "CoA-ACK", "Disconnect-Request", ".* ends the session", "Disconnect-ACK")
            _in_order(trace, *steps, "Accounting-Request", "the trace ends: its attempt is over")
            asked = _fields(_one(trace, "DHCPINFORM", layer="inside", direction="in"))
            check("249" in asked["Parameter Request List"] and asked["Vendor Class"] == "MSFT 5.0", f"{asked}")
            request = _fields(_one(trace, "Disconnect-Request", layer="radius", direction="in"))
            check(request["User-Name"] == "alice" and SECRET not in trace.text(), f"{request}")
        ports = {destination for source, destination, payload in _datagrams(capture.read_bytes())}
        check(3799 in ports, f"no CoA-Request in the capture: {ports}")
        shown = decoded(capture)
        check(all(word in shown for word in ("DHCP Inform", "DHCP ACK", "Disconnect-Request", "CoA-Request")), f"Wireshark reads it otherwise: {shown}")


@case("trace")
def a_trace_ends_in_time(world):
    with tracing(world, "--peer", network.NAS_IPV4, "--for", "1s", "--json") as trace:
        check(wait_until(lambda: trace.process.poll() == 0, 5), "the trace goes on")
        check(trace.titles() == ["the trace ends: it was to last 1 s (--for)"], f"{trace.titles()}")
    refused = world.gateway.command("trace", "--user", "alice", "--for", "25h", check=False)
    check(refused.returncode == 2 and "24h" in refused.stderr, f"{refused}")


@case("trace")
def keys_of_chacha20_are_said_to_be_missing(world):
    with tempfile.TemporaryDirectory() as folder:
        files = ["--pcap", Path(folder) / "x.pcapng", "--reveal-session-keys", Path(folder) / "x.keys"]
        with tracing(world, "--user", "alice", *files) as trace:
            world.login(Profile(ike=("chacha20poly1305-prfsha256-ecp256",)), ping=False)
            check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), trace.text())
            check(trace.text().count("no keys are written of this IKE SA") == 1, f"it is not said once: {trace.text()}")
        check((Path(folder) / "x.keys").read_text() == "", "a line that Wireshark does not take")
