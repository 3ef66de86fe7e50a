"""IKE and ESP over TCP (RFC 9329), on port 443 beside SSTP and on port 4500 alone, with the client of our own."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cases_trace import decoded, tracing
from harness import Skip, case, check, setup
from labkit import network
from labkit.pki import GATEWAY_NAME
from labkit.shell import in_namespace, wait_until
from sstp_client import Sstp

# Opens a connection, sends these bytes, and tells after how many milliseconds the gateway closed it (-1: not within five seconds).
STRANGER = """
import socket, sys, time
start = time.monotonic()
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
peer.sendall(bytes.fromhex(sys.argv[3]))
try:
    answer = peer.recv(100)
    print(answer.hex() or "-", int((time.monotonic() - start) * 1000))
except ConnectionResetError:
    print("reset", int((time.monotonic() - start) * 1000))
except TimeoutError:
    print("open", -1)
"""


@setup("tcp")
def tcp(config):
    (listener,) = (listener for listener in config["listener"] if listener["protocol"] == "ikev2")
    listener["tcp"] = [443, 4500]
    config.setdefault("limits", {})["half_open_timeout"] = "3s"


class Client:
    """`evergate-load connect`, which takes orders; `port`: of TCP, or none."""

    def __init__(self, world, port):
        program = Path(world.gateway.binary).with_name("evergate-load")
        if not program.exists():
            raise Skip(f"{program} does not exist: build it with `cargo build --release -p load`")
        login = ["--server", network.GATEWAY_IPV4, "--server-name", GATEWAY_NAME, "--ca", world.lab.pki.cert("ca"), "--ipv6"]
        argv = [program, "connect", *login, "--user", "alice", "--password", "password", "--orders", "--json"]
        argv += ["--tcp", port] if port else []
        self.process = subprocess.Popen(
            in_namespace(world.lab.namespace("client"), argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.read = b""

    def line(self, seconds=10):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.read:
            left = max(0, deadline - time.monotonic())
            more = os.read(self.process.stdout.fileno(), 65536) if select.select([self.process.stdout], [], [], left)[0] else b""
            check(more, f"the client says nothing more: {self.read}")
            self.read += more
        line, _, self.read = self.read.partition(b"\n")
        check(line.startswith(b"{"), f"the client says {line}")
        return json.loads(line)

    def send(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def order(self, word, event):
        self.send(word)
        said = self.line()
        check(said == {"event": event}, f"{said} after {word}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.process.stdin.close()


@contextlib.contextmanager
def connected(world, port=443):
    client = Client(world, port)
    try:
        up = client.line(20)
        check("device" in up, f"{up}")
        yield client
    finally:
        client.close()


def passes(world):
    for target in (network.LAN_IPV4, network.LAN_IPV6):
        world.ping(target=target)


def stranger(world, text, port=443, role="client2"):
    server = network.GATEWAY_IPV4_BEHIND_NAT if role == "client2" else network.GATEWAY_IPV4
    found = world.lab.network.exec(role, [sys.executable, "-c", STRANGER, server, str(port), text.hex()], timeout=20)
    said, milliseconds = found.stdout.split()
    return said, int(milliseconds)


def counters(world, part):
    return world.gateway.json("status")[part]


@case("tcp")
def beside_sstp_on_one_port(world):
    """EAP-MSCHAPv2 with RADIUS, both families, content both ways; an SSTP call at the same time."""
    with connected(world), Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).held(
        "--ping", network.LAN_IPV4, user="dave"
    ) as call:
        check(call.up["ping"] == {network.LAN_IPV4: 3}, f"echo replies over SSTP: {call.up['ping']}")
        passes(world)
        world.transfer(5, "down")
        world.transfer(5, "up")
        tunnels = {session["user"]: session["tunnel"] for session in world.sessions()}
        check(tunnels == {"alice": "ikev2", "dave": "sstp"}, f"{tunnels}")
        detail = world.attempt(world.session_of("alice")["attempt"])
        check(any("over TCP" in line["text"] for line in detail["timeline"]), f"{detail['timeline']}")
    world.no_sessions()


@case("tcp")
def a_capture_holds_what_goes_through_tcp(world):
    """Messages of IKE as Wireshark reads them, although no packet of the connection is in the capture."""
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "tcp.pcapng"
        with tracing(world, "--user", "alice", "--json", "--pcap", capture) as trace:
            with connected(world):
                check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
            check(wait_until(lambda: "INFORMATIONAL response" in trace.text(), 5), f"{trace.titles()}")
        shown = decoded(capture)
        words = ("ISAKMP", "IKE_SA_INIT MID=00 Initiator Request", "IKE_AUTH MID=01 Responder Response", "RADIUS")
        check(all(word in shown for word in words), f"Wireshark reads it otherwise: {shown}")
        check(b"ike in tcp" in capture.read_bytes() and capture.read_bytes().count(b"isakmp") >= 8, "no messages of IKE")
    world.no_sessions()


@case("tcp")
def on_a_port_of_its_own(world):
    with connected(world, 4500):
        passes(world)
        world.transfer(2, "down")
    world.no_sessions()


@case("tcp")
def both_rekeys_while_packets_flow(world):
    with connected(world) as client, world.pinging():
        client.order("rekey-child", "rekeyed-child")
        client.order("rekey-ike", "rekeyed-ike")
        client.order("rekey-child", "rekeyed-child")
    world.no_sessions()


@case("tcp")
def a_cut_connection_is_made_again(world):
    """The same session goes on, address and counters included; what was asked meanwhile is answered on the new connection."""
    with connected(world) as client:
        passes(world)
        before = world.session_of("alice")
        for _ in range(3):
            client.order("cut", "tcp")
            passes(world)
        after = world.session_of("alice")
        check((after["id"], after["inner"]) == (before["id"], before["inner"]), f"{before} became {after}")
        check(after["client"] != before["client"], "the connection is the same")
        client.order("rekey-ike", "rekeyed-ike")
        world.transfer(2, "up")
    world.no_sessions()


@case("tcp")
def mobike_to_udp_and_back(world):
    with connected(world) as client:
        passes(world)
        before = world.session_of("alice")
        client.order("udp", "udp")
        check(wait_until(lambda: world.session_of("alice")["client"].endswith(":4500"), 3), f"{world.sessions()}")
        passes(world)
        world.transfer(2, "down")
        client.order("tcp", "tcp")
        check(wait_until(lambda: not world.session_of("alice")["client"].endswith(":4500"), 3), f"{world.sessions()}")
        passes(world)
        world.transfer(2, "down")
        check(world.session_of("alice")["id"] == before["id"], "another session")
    world.no_sessions()


@case("tcp")
def garbage_is_closed_and_harms_nobody(world):
    """Bad prefixes and lengths end at once, a client that says nothing soon; each prefix with nothing behind it is on record."""
    with connected(world), world.pinging():
        known = {attempt["id"] for attempt in world.attempts()}
        for text in (b"IKETCX", b"IKETCP\0\0", b"IKETCP\xff\xff", b"IKETCP\0\x10" + bytes(14), b"IKETCP\0\x03\0"):
            said, milliseconds = stranger(world, text)
            check(said in ("-", "reset") and milliseconds < 1000, f"{text}: {said} after {milliseconds} ms")
        said, milliseconds = stranger(world, b"GET / HTTP/1.1\r\n\r\n", 4500)
        check(said in ("-", "reset") and milliseconds < 1000, f"{said} after {milliseconds} ms")
        said, milliseconds = stranger(world, b"IKETCP\0\x03\xff\0\x10")
        check(said == "-" and 2000 < milliseconds < 4500, f"{said} after {milliseconds} ms, with a keepalive and half a message")
        fresh = [attempt for attempt in world.attempts() if attempt["id"] not in known]
        check(len(fresh) == 5 and all(attempt["stage"] == "sa_init" for attempt in fresh), f"{fresh}")
        check(sum("TCP connection ended before IKE_SA_INIT" in attempt["cause"] for attempt in fresh) == 4, f"{fresh}")
        check(counters(world, "sstp")["not_ike"] == 2, f"{counters(world, 'sstp')}")
        check(counters(world, "dataplane")["drops"]["tcp_garbage"] == 4, f"{counters(world, 'dataplane')}")
