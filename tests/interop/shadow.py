"""Somebody on the client's wire: for each datagram of its IKE SA and Child SA it sends the gateway others, from the client's address and
with the right SPIs and message IDs, but without keys: shadow.py INTERFACE GATEWAY SEED MARK

Runs until killed; says `ready`, and nothing else.
"""

import random
import socket
import struct
import sys

IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
SA, KE, NONCE, NOTIFY, DELETE, SK, SKF = 33, 34, 40, 41, 42, 46, 53
INITIATOR, RESPONSE = 0x08, 0x20
ETH_P_IP, UDP, ESP = 0x0800, 17, 50
# What goes out is shown to those who want every protocol.
ETH_P_ALL = 3
# The IP identification of what is forged here: it comes by too.
OURS = 0x5AD0
# Plain text, as nobody may say it: AUTHENTICATION_FAILED, INVALID_SYNTAX, NO_PROPOSAL_CHOSEN; DELETE of the IKE SA.
ERRORS = (24, 7, 14)
FAREWELL = struct.pack(">BBHBBH", 0, 0, 8, 1, 0, 0)


def message(spis, exchange, flags, number, first, body):
    return spis + struct.pack(">BBBBII", first, 0x20, exchange, flags, number, 28 + len(body)) + body


def sealed(dice, length=120):
    return struct.pack(">BBH", 0, 0, 4 + length) + dice.randbytes(length)


def fragment(dice, number, total):
    return struct.pack(">BBHHH", 35, 0, 8 + 100, number, total) + dice.randbytes(100)


def around(dice, spis, number, flags):
    """Every exchange with this message ID, sealed with other keys, in fragments, and in plain text."""
    for exchange in (IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL):
        yield message(spis, exchange, flags, number, SK, sealed(dice))
        yield message(spis, exchange, flags, number, SKF, fragment(dice, 1, 2))
        yield message(spis, exchange, flags, number, SKF, fragment(dice, 2, 60))
        yield message(spis, exchange, flags, number, NOTIFY, struct.pack(">BBHBBH", 0, 0, 8, 0, 0, dice.choice(ERRORS)))
    yield message(spis, INFORMATIONAL, flags, number, DELETE, FAREWELL)


def payloads(whole):
    """Type and place of each."""
    kind, at = whole[16], 28
    while kind and at + 4 <= len(whole):
        yield kind, at
        kind, at = whole[at], at + struct.unpack(">H", whole[at + 2 : at + 4])[0]


def proposals(whole, sa):
    """Where each begins in the SA payload."""
    at = sa + 4
    while True:
        yield at
        if not whole[at]:
            return
        at += struct.unpack(">H", whole[at + 2 : at + 4])[0]


def first_messages(dice, whole):
    """What the gateway would refuse, with a word, if it came alone: broken ones, another protocol, another group."""
    places = dict(payloads(whole))

    def bent(*changes):
        copy = bytearray(whole)
        copy[places[NONCE] + 4 : places[NONCE] + 8] = dice.randbytes(4)
        for at, new in changes:
            copy[at : at + len(new)] = new
        return bytes(copy)

    yield message(whole[:16], IKE_SA_INIT, INITIATOR, 0, 0, b"")
    yield message(whole[:16], IKE_SA_INIT, INITIATOR, 0, NONCE, struct.pack(">BBH", 0, 0, 36) + dice.randbytes(32))
    # A critical payload that nobody knows; a length that leads outside.
    yield bent((16, b"\xc8"), (29, b"\x80"))
    yield bent((30, b"\xff\xff"))
    # All proposals are for ESP; KE of a group that was not offered.
    yield bent(*((at + 5, b"\x03") for at in proposals(whole, places[SA])))
    yield bent((places[KE] + 4, b"\x00\x1f"))


def forged(dice, whole):
    """What goes to the gateway when this IKE message was seen, of either side."""
    spis, exchange, flags, number = whole[:16], whole[18], whole[19], struct.unpack(">I", whole[20:24])[0]
    from_client = bool(flags & INITIATOR)
    ours = INITIATOR if from_client else 0
    mine = flags & INITIATOR
    if exchange == IKE_SA_INIT:
        if flags & RESPONSE:
            # Before the client has computed its keys.
            yield from around(dice, spis, 1, INITIATOR)
        elif from_client:
            # Before the gateway has computed its own.
            yield from first_messages(dice, whole)
        return
    if from_client:
        bent = bytearray(whole)
        bent[-1] ^= 1
        yield bytes(bent)
        bent = bytearray(whole)
        bent[28 + dice.randrange(len(whole) - 28)] ^= 0x80
        yield bytes(bent)
        yield whole[: dice.randrange(28, len(whole))]
        # Taken for a retransmission: it is one.
        yield whole
        yield from around(dice, spis, number, ours | (flags & RESPONSE))
        yield from around(dice, spis, number + 1, ours)
    elif flags & RESPONSE:
        yield from around(dice, spis, number + 1, INITIATOR)
    else:
        # Answers to a request of the gateway.
        yield from around(dice, spis, number, INITIATOR ^ mine | RESPONSE)


def forged_esp(dice, packet):
    spi, sequence = struct.unpack(">II", packet[:8])
    bent = bytearray(packet)
    bent[-1] ^= 1
    yield bytes(bent)
    yield packet
    for ahead in (1, 63, 64, 5000, 0x7FFFFFFF):
        yield struct.pack(">II", spi, (sequence + ahead) & 0xFFFFFFFF) + packet[8:]


class Wire:
    def __init__(self, interface, gateway, seed, mark):
        self.dice, self.gateway, self.client = random.Random(seed), socket.inet_aton(gateway), None
        self.ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.ears.bind((interface, ETH_P_ALL))
        self.mouth = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.mouth.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)

    def send(self, source, protocol, payload):
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), OURS, 0, 64, protocol, 0, source, self.gateway)
        try:
            self.mouth.sendto(header + payload, (socket.inet_ntoa(self.gateway), 0))
        except OSError:
            pass

    def hear(self, packet):
        head, protocol, source, target = (packet[0] & 15) * 4, packet[9], packet[12:16], packet[16:20]
        if self.gateway not in (source, target) or struct.unpack(">H", packet[4:6])[0] == OURS:
            return
        client, payload = (target if source == self.gateway else source), packet[head : struct.unpack(">H", packet[2:4])[0]]
        if protocol == ESP and target == self.gateway:
            for each in forged_esp(self.dice, payload):
                self.send(client, ESP, each)
        if protocol == UDP and len(payload) > 8 + 28:
            self.datagram(client, payload, source == self.gateway)

    def datagram(self, client, payload, from_gateway):
        ports = struct.unpack(">HH", payload[:4])
        ours, theirs = ports[::-1] if from_gateway else ports
        content = payload[8:]
        if theirs == 4500 and content[:4] != bytes(4):
            forge = forged_esp(self.dice, content) if not from_gateway else ()
            marker = b""
        else:
            marker = bytes(4) if theirs == 4500 else b""
            forge = forged(self.dice, content[len(marker) :])
            if content[len(marker) + 18] == IKE_SA_INIT and from_gateway:
                # The client goes on at 4500.
                ours, theirs, marker = 4500, 4500, bytes(4)
        for each in forge:
            body = marker + each
            self.send(client, UDP, struct.pack(">HHHH", ours, theirs, 8 + len(body), 0) + body)


def main(interface, gateway, seed, mark):
    wire = Wire(interface, gateway, int(seed), int(mark))
    print("ready", flush=True)
    while True:
        packet, (_, protocol, *_) = wire.ears.recvfrom(65535)
        if protocol == ETH_P_IP:
            wire.hear(packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
