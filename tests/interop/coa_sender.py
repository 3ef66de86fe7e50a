"""FreeRADIUS as the one that ends and changes sessions over TLS (RFC 5176, RFC 6614): an Accounting-Request to it becomes a request of its own."""

import contextlib
import re
from pathlib import Path

from labkit.shell import Daemon

PORT, SECRET = 18130, "of-the-sender"
# A Start becomes a CoA-Request, a Stop a Disconnect-Request, about its User-Name.
CONFIG = """
prefix = /usr
confdir = {folder}
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
db_dir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/unused.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 1024
hostname_lookups = no
proxy_requests = yes
log {{
  destination = files
  file = {folder}/sender.log
}}
security {{
  max_attributes = 200
  reject_delay = 0
}}
modules {{
  always ok {{
    rcode = ok
  }}
}}
instantiate {{
}}
home_server gateway {{
  type = coa
  ipaddr = {gateway}
  port = 2083
  proto = tcp
  secret = radsec
  tls {{
    private_key_file = {pki}/{certificate}.key
    certificate_file = {pki}/{certificate}.pem
    ca_file = {pki}/ca.pem
    cipher_list = "DEFAULT"
    tls_min_version = "1.2"
    tls_max_version = "1.2"
  }}
}}
home_server_pool gateway {{
  type = fail-over
  home_server = gateway
}}
server sender {{
  listen {{
    type = acct
    ipaddr = 127.0.0.1
    port = {port}
  }}
  client here {{
    ipaddr = 127.0.0.1
    secret = {secret}
  }}
  preacct {{
  }}
  accounting {{
    if (&Acct-Status-Type == Start) {{
      update coa {{
        &User-Name := &User-Name
        &Filter-Id := &Filter-Id
        &Home-Server-Pool := "gateway"
      }}
    }}
    else {{
      update disconnect {{
        &User-Name := &User-Name
        &Home-Server-Pool := "gateway"
      }}
    }}
    ok
  }}
}}
"""


class Sender:
    def __init__(self, network, daemon):
        self.network, self.daemon = network, daemon

    def ask(self, status, **attributes):
        lines = [f"Acct-Status-Type = {status}", *(f'{name.replace("_", "-")} = "{value}"' for name, value in attributes.items())]
        argv = ["radclient", "-t", "2", "-r", "1", f"127.0.0.1:{PORT}", "acct", SECRET]
        self.network.exec("radius", argv, timeout=20, input=", ".join(lines) + "\n")

    def heard(self):
        """The answers so far: `CoA-ACK`, `Disconnect-NAK`, .."""
        return re.findall(r"Received ((?:CoA|Disconnect)-[AN][CA]K) Id", self.daemon.log_file.read_text())


@contextlib.contextmanager
def sender(lab, gateway, certificate="machine-rsa"):
    folder = Path(lab.folder) / "sender"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "dictionary").touch()
    values = {"folder": folder, "pki": lab.pki.folder, "certificate": certificate, "gateway": gateway, "port": PORT, "secret": SECRET}
    (folder / "radiusd.conf").write_text(CONFIG.format(**values))
    daemon = Daemon(lab.namespace("radius"), folder / "sender.pid", folder / "output.log")
    daemon.log_file.unlink(missing_ok=True)
    said = lambda: daemon.log_file.exists() and "Ready to process requests" in daemon.log_file.read_text()  # noqa: E731
    daemon.start(["freeradius", "-fxx", "-l", "stdout", "-d", folder], ready=said, what="FreeRADIUS as a sender")
    try:
        yield Sender(lab.network, daemon)
    finally:
        daemon.stop()
