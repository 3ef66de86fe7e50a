"""Echo requests that are all waited for: echo.py TARGET COUNT BYTES INTERVAL DEADLINE prints how many were answered.

ping of iputils gives up on the last ones after two round trips, which on a busy machine is no time at all.
"""

import os
import select
import socket
import struct
import sys
import time

target, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
interval, deadline = float(sys.argv[4]), float(sys.argv[5])

IPV6 = ":" in target
REQUEST, REPLY = (128, 129) if IPV6 else (8, 0)
identifier = os.getpid() & 0xFFFF
if IPV6:
    # The kernel computes the checksum of ICMPv6 itself.
    link = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
else:
    link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(sequence):
    body = bytes(index & 0xFF for index in range(size))
    head = struct.pack("!BBHHH", REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", REQUEST, 0, 0 if IPV6 else checksum(head + body), identifier, sequence) + body


def receive(until):
    """Takes replies until then, or until none is missing."""
    while len(answered) < count:
        left = until - time.monotonic()
        if left < 0 or not select.select([link], [], [], left)[0]:
            return
        packet, source = link.recvfrom(65535)
        message = packet if IPV6 else packet[(packet[0] & 15) * 4 :]
        kind, _, _, of, sequence = struct.unpack("!BBHHH", message[:8])
        if source[0].partition("%")[0] == target and kind == REPLY and of == identifier and len(message) == 8 + size:
            answered.add(sequence)


answered = set()
for sequence in range(count):
    try:
        link.sendto(request(sequence), (target, 0))
    except OSError as error:
        print(f"echo {sequence}: {error}", file=sys.stderr)
    receive(time.monotonic() + interval)
receive(time.monotonic() + deadline)
print(len(answered))
