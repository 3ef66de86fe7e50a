"""Relays TLS connections to a server and cuts them: cutter.py LISTEN_PORT SERVER_PORT RECORDS. The first connection ends when the client sends its
application data record number RECORDS, which the server never sees; later ones live. TLS 1.2 alone shows the records' types."""

import select
import socket
import sys

APPLICATION_DATA = 23


def whole_records(buffer):
    while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[3:5], "big"):
        length = 5 + int.from_bytes(buffer[3:5], "big")
        yield bytes(buffer[:length])
        del buffer[:length]


def relay(client, server, records):
    """Until either end closes, or the record comes that the server shall not see."""
    seen, buffer = 0, bytearray()
    while True:
        for ready in select.select([client, server], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            if ready is server:
                client.sendall(data)
                continue
            buffer += data
            for record in whole_records(buffer):
                seen += record[0] == APPLICATION_DATA
                if records and seen == records:
                    return
                server.sendall(record)


def main():
    listen, port, records = (int(argument) for argument in sys.argv[1:])
    door = socket.create_server(("", listen))
    print("ready", flush=True)
    while True:
        client, _ = door.accept()
        with client, socket.create_connection(("10.99.20.10", port)) as server:
            relay(client, server, records)
        records = 0


if __name__ == "__main__":
    main()
