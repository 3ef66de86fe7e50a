"""Moves bytes through the tunnel and compares content. Runs inside a client's namespace and prints JSON.

Run as a program: transfer.py HOST PORT COUNT down|up
"""

import hashlib
import http.client
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from webserver import content, digest  # noqa: E402


def down(connection, count):
    connection.request("GET", f"/bytes/{count}")
    reply, total, received = connection.getresponse(), hashlib.sha256(), 0
    while block := reply.read(1 << 16):
        total.update(block)
        received += len(block)
    return received, total.hexdigest()


def up(connection, count):
    connection.request("POST", "/", body=content(count), headers={"Content-Length": str(count)})
    return count, connection.getresponse().read().decode()


def main(host, port, count, direction):
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    started = time.monotonic()
    moved, found = (down if direction == "down" else up)(connection, int(count))
    seconds = time.monotonic() - started
    whole = moved == int(count) and found == digest(int(count))
    print(json.dumps({"bytes": moved, "seconds": round(seconds, 3), "whole": whole}))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
