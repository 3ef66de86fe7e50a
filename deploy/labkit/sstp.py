"""The SSTP client of the tests, which behaves on the wire as Windows does, connected in its namespace as a daemon."""

import json
import socket
from pathlib import Path

from .network import GATEWAY_IPV4
from .pki import GATEWAY_NAME
from .shell import Daemon, LabError, wait_until

PROGRAM = "sstp-client"
# Where the program calls an address without a port, and where the gateway listens.
PORT = 443
DEVICE = "sstp0"
# How a login is called here -> how the program calls it.
METHODS = {"eap-mschapv2": "eap", "eap-tls": "eap-tls", "mschapv2": "mschapv2"}
TLS_NAMES = {"TLSv1_2": "TLS 1.2", "TLSv1_3": "TLS 1.3"}


class SstpClient:
    """One client; it has at most one call."""

    def __init__(self, folder, namespace, pki, program):
        self.folder, self.pki, self.program = Path(folder), pki, Path(program)
        self.hang_up_socket = self.folder / "hang-up.sock"
        self.daemon = Daemon(namespace, self.folder / "sstp-client.pid", self.folder / "sstp-client.log")

    def connect(self, user="dave", password="password", method="eap-mschapv2", tls="both", server=GATEWAY_IPV4):
        """Makes a call that lasts until `disconnect`, everything routed into it; returns what it came to (`sstp-client connect --json`)."""
        if not self.program.exists():
            raise LabError(f"{self.program} does not exist: build it with `cargo build --release -p {PROGRAM}`")
        self.disconnect()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.daemon.log_file.unlink(missing_ok=True)
        login = ["--user", user, "--password", password, "--auth", METHODS[method], "--tls", tls]
        if method == "eap-tls":
            login += ["--cert", self.pki.cert("alice"), "--key", self.pki.key("alice")]
        whom = ["--server", server, "--server-name", GATEWAY_NAME, "--ca", self.pki.cert("ca")]
        inside = ["--tun", DEVICE, "--route", "0.0.0.0/0", "--route", "::/0", "--json"]
        self._start([self.program, "connect", *whom, *login, *inside])
        return self._event("up")

    def _start(self, argv):
        self.hang_up_socket.unlink(missing_ok=True)
        # The program holds its call until its standard input ends. A pipe would end with this process; a datagram socket
        # outlives it, and ends for a reader with an empty datagram.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as standard_input:
            standard_input.bind(str(self.hang_up_socket))
            try:
                self.daemon.start(argv, ready=lambda: self._event("up"), seconds=30, what=PROGRAM, stdin=standard_input)
            except LabError:
                failure = self._event("error")
                if failure is None:
                    raise
                raise LabError(f"no SSTP call: {failure['message']}") from None

    def disconnect(self):
        """Hangs up as Windows does; true if there was a call."""
        pid = self.pid()
        if pid is None:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hand:
            try:
                hand.sendto(b"", str(self.hang_up_socket))
            except OSError as error:
                raise LabError(f"{PROGRAM} (pid {pid}) cannot be told to hang up: {error}") from error
        wait_until(lambda: self.pid() is None, 10)
        self.daemon.stop()
        return True

    def stop(self):
        """Hangs up where that is possible, and ends the program."""
        try:
            self.disconnect()
        except LabError:
            self.daemon.stop()

    def pid(self):
        return self.daemon.pid()

    def session(self):
        """What the present call came to, or None."""
        return self._event("up") if self.pid() is not None and not self._event("end") else None

    def addresses(self):
        """The inner addresses that the gateway assigned."""
        return inner_addresses(self.session())

    def _event(self, name):
        """The program's last line of this kind."""
        try:
            # What follows the last line end is still being written.
            lines = self.daemon.log_file.read_text(errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return None
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return next((event for event in reversed(found) if event["event"] == name), None)


def inner_addresses(session):
    return [address for address in (session["ipv4"]["address"], session["ipv6"]) if address] if session else []


def tls_name(session):
    return TLS_NAMES.get(session["tls"]["version"], session["tls"]["version"])
