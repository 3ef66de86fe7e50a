"""A server for RADIUS/1.1 (RFC 9765) that asks a RADIUS/UDP server behind it: radius11.py PORT CERTIFICATE KEY AUTHORITIES SECRET VERSIONS.
VERSIONS are the ALPN names that it knows, with commas between them. It knows nothing but TLS 1.3 with client certificates, and holds each request to
the rules: a broken one ends the connection with a line `fault ..` on standard output. Its own answers fill what has to be ignored with noise."""

import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import sys

SERVER, PORTS = "10.99.20.10", {1: 1812, 4: 1813, 12: 1812}
USER_PASSWORD, VENDOR_SPECIFIC, MESSAGE_AUTHENTICATOR = 2, 26, 80
MICROSOFT, KEYS = 311, (16, 17)


class Fault(Exception):
    pass


def attributes(body):
    found = []
    while body:
        if len(body) < 2 or not 2 <= body[1] <= len(body):
            raise Fault("attributes that do not fill the packet")
        found.append((body[0], body[2 : body[1]]))
        body = body[body[1] :]
    return found


def joined(found):
    return b"".join(bytes([number, len(value) + 2]) + value for number, value in found)


def masked(secret, start, blocks, back):
    """RFC 2865 section 5.2 in both directions: `back` takes the mask off."""
    out, previous = b"", start
    for at in range(0, len(blocks), 16):
        block = blocks[at : at + 16]
        mask = hashlib.md5(secret + previous).digest()
        mixed = bytes(a ^ b for a, b in zip(block, mask))
        previous = block if back else mixed
        out += mixed
    return out


class Behind:
    """The server behind, by RADIUS/1.0 over UDP."""

    def __init__(self, secret):
        self.secret, self.next = secret, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((SERVER, 0))
        self.waiting = {}

    def ask(self, code, token, found):
        identifier, self.next = self.next, (self.next + 1) % 256
        authenticator = os.urandom(16)
        hidden = []
        for number, value in found:
            if number == USER_PASSWORD:
                value = masked(self.secret, authenticator, value + bytes(-len(value) % 16), False)
            hidden.append((number, value))
        if code != 4:
            hidden.insert(0, (MESSAGE_AUTHENTICATOR, bytes(16)))
        body = joined(hidden)
        head = struct.pack("!BBH", code, identifier, 20 + len(body))
        if code == 4:
            authenticator = hashlib.md5(head + bytes(16) + body + self.secret).digest()
        else:
            body = body[:2] + hmac.digest(self.secret, head + authenticator + body, "md5") + body[18:]
        self.waiting[identifier] = (token, authenticator)
        self.socket.sendto(head + authenticator + body, (SERVER, PORTS[code]))

    def answer(self):
        """Code, token and attributes of an answer, without what only RADIUS/1.0 needs."""
        packet = self.socket.recv(4096)
        token, authenticator = self.waiting.pop(packet[1])
        wanted = hashlib.md5(packet[:4] + authenticator + packet[20:] + self.secret).digest()
        assert hmac.compare_digest(wanted, packet[4:20]), "an answer with a wrong authenticator"
        found = [(number, self.plain(number, value, authenticator)) for number, value in attributes(packet[20:]) if number != MESSAGE_AUTHENTICATOR]
        return packet[0], token, found

    def plain(self, number, value, authenticator):
        if number != VENDOR_SPECIFIC or struct.unpack("!I", value[:4])[0] != MICROSOFT or value[4] not in KEYS:
            return value
        salt, string = value[6:8], value[8:]
        key = masked(self.secret, authenticator + salt, string, True)
        key = key[1 : 1 + key[0]]
        return value[:5] + bytes([len(key) + 2]) + key


class Connection:
    def __init__(self, tls, secret):
        self.tls, self.behind, self.received, self.last = tls, Behind(secret), b"", None

    def serve(self):
        while True:
            ready = [self.tls] if self.tls.pending() else select.select([self.tls, self.behind.socket], [], [])[0]
            if self.behind.socket in ready:
                self.send(*self.behind.answer())
            if self.tls in ready:
                data = self.tls.recv(16384)
                if not data:
                    return
                self.received += data
                self.requests()

    def requests(self):
        while len(self.received) >= 4:
            length = struct.unpack("!H", self.received[2:4])[0]
            if len(self.received) < length:
                return
            packet, self.received = self.received[:length], self.received[length:]
            self.request(packet)

    def request(self, packet):
        code, reserved, token, more = packet[0], packet[1], struct.unpack("!I", packet[4:8])[0], packet[8:20]
        if reserved or any(more):
            raise Fault("a reserved field that is not zero")
        if self.last is not None and token != (self.last + 1) % 2**32:
            raise Fault(f"token {token} after {self.last}")
        self.last = token
        found = attributes(packet[20:])
        numbers = [number for number, _ in found]
        if MESSAGE_AUTHENTICATOR in numbers:
            raise Fault("Message-Authenticator")
        if 3 in numbers and 60 not in numbers:
            raise Fault("CHAP-Password without CHAP-Challenge")
        if code not in PORTS:
            raise Fault(f"code {code}")
        self.behind.ask(code, token, found)

    def send(self, code, token, found):
        body = joined([(MESSAGE_AUTHENTICATOR, bytes(range(16))), *found])
        self.tls.sendall(struct.pack("!BBHI", code, 0x5A, 20 + len(body), token) + b"ignore this!" + body)


def main():
    port, certificate, key, authorities, secret, versions = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(versions.split(","))
    door = socket.create_server(("", int(port)))
    print("ready", flush=True)
    while True:
        client, _ = door.accept()
        try:
            with context.wrap_socket(client, server_side=True) as tls:
                print("agreed", tls.selected_alpn_protocol(), flush=True)
                if tls.selected_alpn_protocol() == "radius/1.1":
                    Connection(tls, secret.encode()).serve()
        except Fault as fault:
            print("fault", fault, flush=True)
        except OSError as error:
            print("ended", error, flush=True)


if __name__ == "__main__":
    main()
