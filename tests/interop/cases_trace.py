"""`evergate trace`: one client's packets and the gateway's decisions in one stream, and no secret in it."""

import contextlib
import json
import re
import stat
import struct
import subprocess
import tempfile
from pathlib import Path

from harness import case, check
from labkit.client import Profile
from labkit.shell import wait_until
from sstp_client import Sstp

# As the laboratory gives it to its first client.
CLIENT = "10.99.1.2"
BEGINS = "a trace begins"


class Trace:
    """A running `evergate trace`."""

    def __init__(self, world, *words):
        self.world, self.file = world, world.gateway.folder / "trace.out"
        self.before = self.log().count(BEGINS)
        argv = [world.gateway.binary, "trace", *words, "--config", world.gateway.config_file]
        with self.file.open("w") as out:
            self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        check(wait_until(lambda: self.log().count(BEGINS) > self.before, 5), f"no trace begins: {self.text()}")

    def log(self):
        return self.world.gateway.daemon.log_file.read_text()

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
    """Source port, destination port and payload of each packet, with its comment."""
    found = []
    kinds = []
    for kind, body in _blocks(capture):
        kinds.append(kind)
        if kind == 6:
            length = struct.unpack_from("<I", body, 12)[0]
            packet = body[20 : 20 + length]
            check(packet[0] == 0x45 and packet[9] == 17 and struct.unpack_from(">H", packet, 2)[0] == length, "no IPv4 packet with UDP")
            source, destination, size = struct.unpack_from(">HHH", packet, 20)
            check(size == length - 20, "the length of UDP is wrong")
            found.append((source, destination, packet[28:]))
    check(kinds[:2] == [0x0A0D0D0A, 1], f"no head: {kinds[:2]}")
    return found


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
