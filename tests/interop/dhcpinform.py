"""Sends one DHCPINFORM as Windows does and prints the answer as JSON: dhcpinform.py ADDRESS[,CIADDR] INTERFACE SECONDS"""

import ipaddress
import json
import socket
import struct
import sys

address, _, ciaddr = sys.argv[1].partition(",")
interface, seconds = sys.argv[2], float(sys.argv[3])
head = struct.pack("!BBBBIHH4s12x16s192x4s", 1, 8, 0, 0, 0x5EED1234, 0, 0, socket.inet_aton(ciaddr or address), bytes(16), b"\x63\x82\x53\x63")
options = bytes([53, 1, 8, 12, 3]) + b"PC7" + bytes([60, 8]) + b"MSFT 5.0" + bytes([77, 14]) + b"RRAS.Microsoft" + bytes([55, 6, 6, 15, 44, 43, 249, 121, 255])

link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
link.bind((address, 68))
link.settimeout(seconds)
link.sendto(head + options, ("255.255.255.255", 67))
try:
    reply = link.recv(2048)
except TimeoutError:
    sys.exit(1)

found, at = {}, 240
while at < len(reply) and reply[at] != 255:
    if reply[at] == 0:
        at += 1
        continue
    found[reply[at]] = found.get(reply[at], b"") + reply[at + 2 : at + 2 + reply[at + 1]]
    at += 2 + reply[at + 1]


def routes(data):
    while data:
        length, octets = data[0], (data[0] + 7) // 8
        yield f"{ipaddress.IPv4Address(data[1 : 1 + octets].ljust(4, bytes(1)))}/{length}"
        data = data[5 + octets :]


print(
    json.dumps(
        {
            "type": found[53][0],
            "yiaddr": socket.inet_ntoa(reply[16:20]),
            "dns": [socket.inet_ntoa(found.get(6, b"")[i : i + 4]) for i in range(0, len(found.get(6, b"")), 4)],
            "server": socket.inet_ntoa(found.get(54, bytes(4))),
            "domain": found.get(15, b"").decode(),
            "routes": list(routes(found.get(249, b""))),
        }
    )
)
