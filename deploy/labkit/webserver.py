"""A small HTTP server for the LAN host. `GET /bytes/N` gives N bytes that cannot be compressed, `POST /` answers with the body's SHA-256.

Run as a program: webserver.py PORT
"""

import hashlib
import random
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 16
PORT = 8080


def content(count):
    """The bytes of `/bytes/N`, the same at every call."""
    source = random.Random(count)
    for start in range(0, count, BLOCK):
        yield source.randbytes(min(BLOCK, count - start))


def digest(count):
    total = hashlib.sha256()
    for block in content(count):
        total.update(block)
    return total.hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, _, count = self.path.strip("/").partition("/")
        if name != "bytes" or not count.isdigit():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", count)
        self.end_headers()
        for block in content(int(count)):
            self.wfile.write(block)

    def do_POST(self):
        total, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            block = self.rfile.read(min(BLOCK, left))
            if not block:
                return
            total.update(block)
            left -= len(block)
        answer = total.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


if __name__ == "__main__":
    Server(("::", int(sys.argv[1])), Handler).serve_forever()
