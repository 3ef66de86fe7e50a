"""VICI, charon's control protocol (strongSwan, src/libcharon/plugins/vici/README.md): a client on a UNIX socket."""

import socket
import struct

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


class ViciError(Exception):
    pass


def _name(text):
    raw = text.encode()
    return struct.pack("!B", len(raw)) + raw


def _value(value):
    raw = value if isinstance(value, bytes) else str(value).encode()
    return struct.pack("!H", len(raw)) + raw


def encode(section):
    """A dict of strings, bytes, lists and dicts as a VICI message; None values are left out."""
    out = bytearray()
    for key, value in section.items():
        if isinstance(value, dict):
            out += bytes([SECTION_START]) + _name(key) + encode(value) + bytes([SECTION_END])
        elif isinstance(value, (list, tuple)):
            items = b"".join(bytes([LIST_ITEM]) + _value(item) for item in value)
            out += bytes([LIST_START]) + _name(key) + items + bytes([LIST_END])
        elif value is not None:
            out += bytes([KEY_VALUE]) + _name(key) + _value(value)
    return bytes(out)


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise ViciError("truncated VICI message")
        self.at += count
        return piece

    def byte(self):
        return self.take(1)[0]

    def name(self):
        return self.take(self.byte()).decode()

    def value(self):
        return self.take(struct.unpack("!H", self.take(2))[0]).decode(errors="replace")

    def list(self):
        items = []
        while (kind := self.byte()) == LIST_ITEM:
            items.append(self.value())
        if kind != LIST_END:
            raise ViciError(f"VICI element {kind} inside a list")
        return items

    def section(self, nested=False):
        out = {}
        while self.at < len(self.data):
            kind = self.byte()
            if kind == SECTION_END and nested:
                return out
            if kind == SECTION_START:
                key = self.name()
                out[key] = self.section(nested=True)
            elif kind == KEY_VALUE:
                key = self.name()
                out[key] = self.value()
            elif kind == LIST_START:
                key = self.name()
                out[key] = self.list()
            else:
                raise ViciError(f"unexpected VICI element {kind}")
        return out


def decode(data):
    return _Reader(data).section()


class Vici:
    """One connection; commands are answered in order, events reach the callback of the running command."""

    def __init__(self, path, timeout=30):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _send(self, kind, name, body=b""):
        packet = bytes([kind]) + _name(name) + body
        self._socket.sendall(struct.pack("!I", len(packet)) + packet)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ViciError("charon closed its VICI socket")
            data += piece
        return data

    def _receive(self):
        reader = _Reader(self._exactly(struct.unpack("!I", self._exactly(4))[0]))
        kind = reader.byte()
        name = reader.name() if kind == EVENT else None
        return kind, name, reader.section() if kind in (EVENT, CMD_RESPONSE) else {}

    def _reply(self, on_event):
        while True:
            kind, name, message = self._receive()
            if kind != EVENT:
                return kind, message
            if on_event:
                on_event(name, message)

    def call(self, command, message=None, events=(), on_event=None):
        """Sends a command and returns its answer; `events` are subscribed while it runs."""
        for event in events:
            self._send(EVENT_REGISTER, event)
            if self._reply(on_event)[0] != EVENT_CONFIRM:
                raise ViciError(f"charon knows no event {event}")
        self._send(CMD_REQUEST, command, encode(message or {}))
        kind, answer = self._reply(on_event)
        for event in events:
            self._send(EVENT_UNREGISTER, event)
            self._reply(on_event)
        if kind != CMD_RESPONSE:
            raise ViciError(f"charon knows no command {command}")
        return answer

    def demand(self, command, message=None):
        """Like `call`, but a refusal is an error."""
        answer = self.call(command, message)
        if answer.get("success", "yes") != "yes":
            raise ViciError(f"{command}: {answer.get('errmsg', answer)}")
        return answer

    def list(self, command, event, message=None):
        """Collects the events that a listing command streams."""
        found = []
        self.call(command, message, [event], lambda _, item: found.append(item))
        return found
