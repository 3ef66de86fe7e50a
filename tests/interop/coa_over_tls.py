"""Sends one request for dynamic authorization over TLS: coa_over_tls.py ADDRESS PORT AUTHORITIES NAME CERTIFICATE KEY CODE SECRET, the attributes as
hexadecimal digits on standard input; CERTIFICATE may be `-`. Before it, and after it, a Status-Server on the same connection. Prints what came:
`alive`, `answer CODE ERROR_CAUSE` and `alive`, or `ended WHY`."""

import hashlib
import hmac
import os
import socket
import ssl
import struct
import sys


def status_server(secret, identifier):
    head = struct.pack("!BBH", 12, identifier, 38) + os.urandom(16)
    attribute = bytes([80, 18])
    return head + attribute + hmac.digest(secret, head + attribute + bytes(16), "md5")


def request(code, secret, attributes):
    head = struct.pack("!BBH", code, 7, 20 + len(attributes))
    return head + hashlib.md5(head + bytes(16) + attributes + secret).digest() + attributes


def receive(tls):
    packet = b""
    while len(packet) < 4 or len(packet) < struct.unpack("!H", packet[2:4])[0]:
        more = tls.recv(4096)
        if not more:
            raise ConnectionError("closed")
        packet += more
    return packet


def authentic(asked, answer, secret):
    wanted = hashlib.md5(answer[:4] + asked[4:20] + answer[20:] + secret).digest()
    return answer[1] == asked[1] and hmac.compare_digest(wanted, answer[4:20])


def exchange(tls, asked, secret):
    tls.sendall(asked)
    answer = receive(tls)
    assert authentic(asked, answer, secret), "an answer with a wrong authenticator"
    return answer


def error_cause(packet):
    rest = packet[20:]
    while rest:
        if rest[0] == 101:
            return struct.unpack("!I", rest[2:6])[0]
        rest = rest[rest[1] :]
    return 0


def main():
    address, port, authorities, name, certificate, key, code, secret = sys.argv[1:]
    attributes, secret = bytes.fromhex(sys.stdin.read()), secret.encode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authorities)
    if certificate != "-":
        context.load_cert_chain(certificate, key)
    try:
        with socket.create_connection((address, int(port)), 5) as tcp, context.wrap_socket(tcp, server_hostname=name) as tls:
            # The gateway's own secret is wrong only in the request itself.
            print("alive" if exchange(tls, status_server(b"radsec", 5), b"radsec")[0] == 2 else "odd")
            answer = exchange(tls, request(int(code), secret, attributes), secret)
            print("answer", answer[0], error_cause(answer))
            print("alive" if exchange(tls, status_server(b"radsec", 6), b"radsec")[0] == 2 else "odd")
    except OSError as error:
        print("ended", error)


if __name__ == "__main__":
    main()
