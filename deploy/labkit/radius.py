"""A FreeRADIUS 3.2 of its own in the radius namespace: nothing of /etc/freeradius is read."""

import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from .shell import Daemon

SECRET = "lab-radius-secret"
AUTH_PORT, ACCT_PORT = 1812, 1813


@dataclass(frozen=True)
class User:
    """An account and what its Access-Accept carries besides the keys."""

    name: str
    password: str = "password"
    reply: dict = field(default_factory=dict)
    # A computer whose certificate the gateway verifies: it is let in without a password, where the request says that nothing else is asked.
    machine: bool = False
    # The EAP method that is proposed first, where it is not the server's: for clients that cannot ask for another.
    eap: str | None = None
    # More of what the server knows of the account, in the words of its users file.
    control: str = ""
    # Waits for so many seconds before it lets the user in, as for a second factor; meanwhile it answers others.
    seconds: int = 0


USERS = (
    User("alice", reply={"Class": "0x7374616666", "Session-Timeout": 28800}),
    User("bob", reply={"Framed-IP-Address": "10.98.0.77"}),
    User("carol", reply={"Session-Timeout": 60}),
    User("dave", reply={"Class": "0x6775657374"}),
    User("erin", reply={"Framed-IP-Address": "10.97.0.9"}),
    User("alice@example.test", reply={"Class": "0x7374616666"}),
)

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
max_requests = 65536
hostname_lookups = no
correct_escapes = true
proxy_requests = no
log {{
  destination = files
  file = {folder}/radius.log
  auth = yes
}}
security {{
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}}
thread pool {{
  start_servers = 4
  max_servers = 16
  min_spare_servers = 2
  max_spare_servers = 8
  max_requests_per_server = 0
  auto_limit_acct = no
}}
client gateway {{
  ipaddr = 10.99.0.0/16
  secret = {secret}
  require_message_authenticator = yes
}}
modules {{
{waits}  pap {{
  }}
  chap {{
  }}
  mschap {{
    use_mppe = yes
    require_encryption = yes
    require_strong = yes
    with_ntdomain_hack = yes
  }}
  files {{
    usersfile = {folder}/users
    key = "%{{%{{Stripped-User-Name}}:-%{{User-Name}}}}"
  }}
  detail {{
    filename = {folder}/accounting
    escape_filenames = no
    permissions = 0600
    header = "%t"
  }}
  eap {{
    default_eap_type = {method}
    timer_expire = 60
    ignore_unknown_eap_types = no
    max_sessions = 65536
    tls-config lab {{
      private_key_file = {pki}/{certificate}.key
      certificate_file = {pki}/{certificate}.pem
      ca_file = {pki}/ca.pem
      cipher_list = "DEFAULT"
      tls_min_version = "1.2"
      tls_max_version = "1.2"
      fragment_size = 1024
      include_length = yes
      check_crl = no
    }}
    tls {{
      tls = lab
    }}
    peap {{
      tls = lab
      default_eap_type = mschapv2
      copy_request_to_tunnel = no
      use_tunneled_reply = yes
      virtual_server = inner
    }}
    mschapv2 {{
      send_error = yes
    }}
  }}
}}
policy {{
  # By itself this server signs only answers that carry EAP.
  sign_reply {{
{signature}  }}
  strip_nt_domain {{
    if (&User-Name =~ /^([^\\\\]+)\\\\(.+)$/) {{
      update request {{
        &Stripped-User-Name := "%{{2}}"
      }}
    }}
  }}
}}
server outer {{
  listen {{
    type = auth
    ipaddr = *
    port = {auth_port}
  }}
  listen {{
    type = acct
    ipaddr = *
    port = {acct_port}
  }}
{tls_listener}  authorize {{
    strip_nt_domain
    chap
    mschap
{proposals}    eap {{
      ok = return
    }}
    files
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
    Auth-Type CHAP {{
      chap
    }}
    Auth-Type MS-CHAP {{
      mschap
    }}
    eap
  }}
  preacct {{
    strip_nt_domain
  }}
  accounting {{
    detail
  }}
  # The rounds of EAP leave `authorize` early: the user's reply attributes are added to the final Access-Accept here.
  post-auth {{
    files.authorize
{dozes}    sign_reply
    Post-Auth-Type REJECT {{
      eap
      sign_reply
    }}
  }}
}}
server inner {{
  authorize {{
    strip_nt_domain
    mschap
    eap {{
      ok = return
    }}
    files
  }}
  authenticate {{
    Auth-Type MS-CHAP {{
      mschap
    }}
    eap
  }}
}}
"""

SIGNATURE = """    update reply {
      &Message-Authenticator := 0x00
    }
"""


# RADIUS over TLS (RFC 6614), with the secret that it prescribes.
TLS_LISTENER = """
  listen {{
    type = auth+acct
    proto = tcp
    ipaddr = *
    port = {port}
    clients = over_tls
    limit {{
      max_connections = 64
      lifetime = 0
      idle_timeout = 60
    }}
    tls {{
      private_key_file = {pki}/{certificate}.key
      certificate_file = {pki}/{certificate}.pem
      ca_file = {pki}/ca.pem
      require_client_cert = yes
      cipher_list = "DEFAULT"
      tls_min_version = "1.2"
      tls_max_version = "{version}"
      fragment_size = 8192
      include_length = yes
      check_crl = no
    }}
  }}
"""
TLS_CLIENTS = """
clients over_tls {
  client gateway_over_tls {
    ipaddr = 10.99.0.0/16
    proto = tls
    secret = radsec
  }
}
"""


@dataclass(frozen=True)
class OverTls:
    """A listener for RADIUS over TLS: its port, its certificate in the PKI, the highest version of TLS."""

    port: int = 2083
    certificate: str = "radius"
    version: str = "1.2"


class Radius:
    """The server's files, process and accounting records."""

    def __init__(self, folder, namespace, pki, users=USERS, secret=SECRET, method="mschapv2", ports=(AUTH_PORT, ACCT_PORT), signs=True, tls=None, certificate="radius"):
        """`certificate`: what EAP clients are shown. `tls`: an `OverTls`. `ports`: for logins and for accounting. `signs`: whether replies without EAP have Message-Authenticator too."""
        self.folder = Path(folder)
        self.users, self.secret, self.method, self.pki = users, secret, method, pki
        self.ports, self.signs, self.tls, self.certificate = ports, signs, tls, certificate
        self.daemon = Daemon(namespace, self.folder / "radius.pid", self.folder / "output.log")

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "dictionary").touch()
        (self.folder / "users").write_text("".join(map(_entry, self.users)) + LOAD_USERS)
        values = {"folder": self.folder, "pki": self.pki.folder, "secret": self.secret, "method": self.method, "certificate": self.certificate}
        values["proposals"] = "".join(_proposal(user) for user in self.users if user.eap)
        slow = [user for user in self.users if user.seconds]
        values["waits"] = "".join(f'  exec wait_{user.name} {{\n    wait = yes\n    program = "/bin/sleep {user.seconds}"\n  }}\n' for user in slow)
        values["dozes"] = "".join(f'    if (&User-Name == "{user.name}") {{\n      wait_{user.name}\n    }}\n' for user in slow)
        values["signature"] = SIGNATURE if self.signs else ""
        listener = {"port": self.tls.port, "certificate": self.tls.certificate, "version": self.tls.version} if self.tls else {}
        values["tls_listener"] = TLS_LISTENER.format(pki=self.pki.folder, **listener) if self.tls else ""
        values["auth_port"], values["acct_port"] = self.ports
        (self.folder / "radiusd.conf").write_text(CONFIG.format(**values) + (TLS_CLIENTS if self.tls else ""))
        self.daemon.start(["freeradius", "-f", "-d", self.folder], ready=self._listens, what="FreeRADIUS")
        return self

    def stop(self, hard=False):
        self.daemon.stop(hard=hard)

    def logins(self):
        """User-Names of the logins that this process of the server and its predecessors accepted."""
        try:
            return re.findall(r"Login OK: \[([^\]]*)\]", (self.folder / "radius.log").read_text())
        except FileNotFoundError:
            return []

    def freeze(self):
        """Stops answering while the socket stays bound: silence, not a refusal."""
        self.daemon.signal(signal.SIGSTOP)

    def thaw(self):
        self.daemon.signal(signal.SIGCONT)

    def accounting(self):
        """The accounting requests received so far, as dicts of attribute -> value."""
        try:
            text = (self.folder / "accounting").read_text()
        except FileNotFoundError:
            return []
        records = []
        for block in text.split("\n\n"):
            pairs = re.findall(r"^\t(\S+) = (.*)$", block, re.M)
            if pairs:
                records.append({name: value.strip('"') for name, value in pairs})
        return records

    def _listens(self):
        pid = self.daemon.pid()
        if pid is None:
            return False
        bound = Path(f"/proc/{pid}/net/udp").read_text()
        stream = Path(f"/proc/{pid}/net/tcp").read_text()
        return all(f":{port:04X} " in bound for port in self.ports) and (not self.tls or f":{self.tls.port:04X} " in stream)


# For load tests: load0, load1, ..
LOAD_USERS = 'DEFAULT\tUser-Name =~ "^load[0-9]+$", Cleartext-Password := "password"\n\tClass = 0x6c6f6164\n'


def _entry(user):
    reply = ",\n".join(f"\t{name} = {value}" for name, value in user.reply.items())
    check = "Service-Type == Authorize-Only, Auth-Type := Accept" if user.machine else f'Cleartext-Password := "{user.password}"'
    check += f", {user.control}" if user.control else ""
    return f'"{user.name}"\t{check}\n{reply}\n'


def _proposal(user):
    """Before `eap` takes the user's first message, which is before the users' file is read."""
    condition = f'if (&User-Name == "{user.name}")'
    return f"    {condition} {{\n      update control {{\n        &EAP-Type := {user.eap}\n      }}\n    }}\n"
