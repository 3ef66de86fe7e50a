"""Sends hostile datagrams, seeded and bounded: `python3 hostile.py HOST SEED [MARK]`. Runs in a namespace of the laboratory; the mark is
that of the VPN client's own packets, which do not go through its tunnel."""

import random
import socket
import struct
import sys

COUNT = 6000
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37


def header(dice, exchange, length, *, version=0x20, flags=0x08, first=33):
    spis = dice.randbytes(8), dice.randbytes(8) if exchange != IKE_SA_INIT else bytes(8)
    return struct.pack(">8s8sBBBBII", *spis, first, version, exchange, flags, dice.choice([0, 0, 1, 2, 0xFFFFFFFF]), length)


def init_request(dice, group=31, length=32):
    """A well-formed first message: one proposal (AES-GCM-256, SHA-256, X25519 or another group), KE, nonce. What follows is silence."""
    transforms = bytes.fromhex("0300000c01000014800e0100" "0300000802000005" "0000000804000000")[:-1] + bytes([group])
    proposal = struct.pack(">BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, 3) + transforms
    body = struct.pack(">BBH", 34, 0, 4 + len(proposal)) + proposal
    # The highest bit is not set: below the modulus.
    body += struct.pack(">BBHHHB", 40, 0, 8 + length, group, 0, dice.randrange(1, 128)) + dice.randbytes(length - 1)
    body += struct.pack(">BBH", 0, 0, 36) + dice.randbytes(32)
    return header(dice, IKE_SA_INIT, 28 + len(body)) + body


def datagram(dice):
    kind = dice.randrange(9)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 1400))
    if kind == 1:
        return init_request(dice)
    if kind == 2:
        whole = bytearray(init_request(dice))
        whole[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        return bytes(whole)
    if kind == 3:
        whole = init_request(dice)
        return whole[: dice.randrange(1, len(whole))]
    if kind == 4:
        body = dice.randbytes(dice.randrange(0, 600))
        exchange = dice.choice([IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, 200])
        return header(dice, exchange, 28 + len(body), first=46, flags=dice.randrange(256)) + body
    if kind == 5:
        body = dice.randbytes(64)
        return header(dice, 2, 28 + len(body), version=0x10, flags=0) + body
    if kind == 6:
        body = dice.randbytes(40)
        return header(dice, IKE_SA_INIT, dice.choice([0, 27, 0xFFFFFFFF, 28 + len(body)]), first=dice.randrange(256)) + body
    if kind == 7:
        return b"\xff" * dice.randrange(1, 4)
    return dice.randbytes(dice.choice([8, 40, 100, 1400, 40_000]))


def main(host, seed, mark=0):
    dice = random.Random(seed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        for _ in range(COUNT):
            port = dice.choice([500, 4500])
            # On 4500 half of them look like IKE, the other half like ESP.
            marker = bytes(4) if port == 4500 and dice.random() < 0.5 else b""
            try:
                wire.sendto(marker + datagram(dice), (host, port))
            except OSError:
                continue


if __name__ == "__main__":
    main(sys.argv[1], *(int(number) for number in sys.argv[2:]))
