"""A collector of traces (OTLP over HTTP, JSON) that writes down what it gets, one request a line: run as a program in a namespace."""

import contextlib
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

# As a program it has no other part of the laboratory.
with contextlib.suppress(ImportError):
    from labkit.shell import Daemon

PORT = 4318


class Collector:
    """The program behind it, in a laboratory's namespace. With a certificate and its key it speaks TLS, and wants the token."""

    def __init__(self, folder, namespace, *tls):
        self.file = Path(folder) / "traces.json"
        self.tls = tls
        self.daemon = Daemon(namespace, Path(folder) / "collector.pid", Path(folder) / "collector.log")

    @contextlib.contextmanager
    def running(self):
        self.file.unlink(missing_ok=True)
        self.daemon.start([sys.executable, __file__, self.file, *self.tls], ready=self.file.exists, what="the collector")
        try:
            yield self
        finally:
            self.daemon.stop()

    def spans(self):
        """All spans so far, their attributes as a dict."""
        requests = [json.loads(line) for line in self.file.read_text().splitlines() if line]
        scopes = [scope for request in requests for resource in request["resourceSpans"] for scope in resource["scopeSpans"]]
        return [span | {"attributes": _plain(span["attributes"])} for scope in scopes for span in scope["spans"]]


def _plain(attributes):
    return {attribute["key"]: next(iter(attribute["value"].values())) for attribute in attributes}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        fits = self.path == "/v1/traces" and self.headers["content-type"] == "application/json" and self.headers["authorization"] == self.server.wanted
        if fits:
            with self.server.file.open("a") as file:
                file.write(json.dumps(json.loads(body)) + "\n")
        self.send_response(200 if fits else 404)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", PORT), Handler) as server:
        server.file, server.wanted = Path(sys.argv[1]), None
        if tls := sys.argv[2:]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls[:2])
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.wanted = tls[2]
        server.file.touch()
        server.serve_forever()
