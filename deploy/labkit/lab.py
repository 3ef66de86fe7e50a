"""The laboratory as a whole: one instance, its state folder and its parts."""

import json
import os
import re
import shutil
from pathlib import Path

from . import network, packages, peap, sstp
from .client import Client
from .evergate import Gateway
from .network import Network
from .pki import GATEWAY_NAME, Pki
from .radius import SECRET, USERS, Radius
from .reference import ReferenceGateway
from .shell import Daemon, LabError
from .webserver import PORT as WEB_PORT

TOOLS = Path(__file__).resolve().parent


class Lab:
    """Everything of instance `name` lives in its namespaces and in its state folder."""

    def __init__(self, name="evergate"):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,23}", name):
            raise LabError(f"instance name {name!r}: use up to 24 lower-case letters, digits and dashes, a letter first")
        self.name = name
        self.folder = Path(f"/tmp/evergate-lab-{name}")
        self.state_file = self.folder / "lab.json"
        self.network = Network(name)
        self.pki = Pki(self.folder / "pki")
        self.web = Daemon(self.namespace("lan"), self.folder / "web.pid", self.folder / "web.log")

    def namespace(self, role):
        return self.network.namespace(role)

    def radius(self, **options):
        return Radius(self.folder / "radius", self.namespace("radius"), self.pki, **options)

    def gateway(self, binary=None):
        return Gateway(self.folder / "gateway", self.namespace("gateway"), self.pki, SECRET, binary)

    def reference(self, **options):
        return ReferenceGateway(self.folder / "reference", self.namespace("gateway"), self.pki, **options)

    def client(self, role="client", **options):
        return Client(self.folder / role, self.namespace(role), self.pki, extra_plugins=peap.installed(), **options)

    def sstp(self, program=None):
        """The SSTP client; its program is beside the gateway's unless told otherwise."""
        program = program or self.gateway().binary.with_name(sstp.PROGRAM)
        return sstp.SstpClient(self.folder / "sstp", self.namespace("sstp"), self.pki, program)

    def prepare(self, *more_packages):
        """Packages, certificates, namespaces, web server; not RADIUS, gateway and clients. What an interrupted run left goes first."""
        packages.ensure(packages.BASE, packages.STRONGSWAN, *more_packages)
        if self.exists():
            self.down()
        self.folder.mkdir(mode=0o700)
        self.pki.make()
        self.network.up()
        self.web.start(["python3", TOOLS / "webserver.py", WEB_PORT], ready=self._web_answers, what="the web server")
        return self

    def transfer(self, role, megabytes, direction="down", host=network.LAN_IPV4):
        """Moves content between a client and the LAN host; gives bytes, seconds and whether the content arrived whole."""
        argv = ["python3", TOOLS / "transfer.py", host, WEB_PORT, int(megabytes * 1_000_000), direction]
        done = self.network.exec(role, argv, check=False, timeout=180)
        if not done.stdout.startswith("{"):
            raise LabError(f"transfer {direction} from {self.namespace(role)} failed: {done.stderr.strip().splitlines()[-1:]}")
        return json.loads(done.stdout)

    def exists(self):
        """Whether anything of this instance is there. A folder of somebody else under our name is refused: pid files in it would be theirs."""
        if self.folder.exists() and self.folder.stat().st_uid != os.getuid():
            raise LabError(f"{self.folder} belongs to another user: remove it, or choose another --name")
        return self.folder.exists() or self.network.exists()

    def down(self):
        """Ends what this instance started and removes its namespaces and files; clients first, so that they say goodbye."""
        for role in ("client", "client2"):
            self.client(role).stop()
        self.sstp().stop()
        self.gateway().stop()
        self.reference().stop()
        self.radius().stop()
        self.web.stop()
        self.network.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_state(self, **more):
        self.state_file.write_text(json.dumps(self.describe() | more, indent=2) + "\n")

    def state(self):
        """What `up` recorded, or None when the instance is not up."""
        try:
            return json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return None

    def live(self):
        """What `up` recorded and what runs now, or None when the instance is not up."""
        state = self.state()
        if state is None:
            return None
        gateway = self.gateway() if state["gateway"] == "evergate" else self.reference()
        ikev2, caller = self.client(), self.sstp()
        return state | {
            "gateway_pid": gateway.pid(),
            "client_pid": ikev2.pid(),
            "client_addresses": ikev2.addresses() if ikev2.running() else [],
            "sstp_client_pid": caller.pid(),
            "sstp_client_addresses": caller.addresses(),
        }

    def describe(self):
        """Where everything is, for people and for other programs."""
        gateway, radius = self.gateway(), self.radius()
        return {
            "name": self.name,
            "state_folder": str(self.folder),
            "client_netns": self.namespace("client"),
            "client2_netns": self.namespace("client2"),
            "sstp_client_netns": self.namespace("sstp"),
            "nat_netns": self.namespace("nat"),
            "gateway_netns": self.namespace("gateway"),
            "lan_netns": self.namespace("lan"),
            "radius_netns": self.namespace("radius"),
            "gateway_ipv4": network.GATEWAY_IPV4,
            "gateway_ipv6": network.GATEWAY_IPV6,
            "gateway_ipv4_behind_nat": network.GATEWAY_IPV4_BEHIND_NAT,
            "server_name": GATEWAY_NAME,
            "sstp_port": sstp.PORT,
            "lan_host_ipv4": network.LAN_IPV4,
            "lan_host_ipv6": network.LAN_IPV6,
            "lan_http_port": WEB_PORT,
            "ca_file": str(self.pki.cert("ca")),
            "client_cert_file": str(self.pki.cert("machine-rsa")),
            "client_key_file": str(self.pki.key("machine-rsa")),
            "user_cert_file": str(self.pki.cert("alice")),
            "user_key_file": str(self.pki.key("alice")),
            "pki_folder": str(self.pki.folder),
            "users": [{"name": user.name, "password": user.password} for user in USERS],
            "radius_ipv4": network.RADIUS_IPV4,
            "radius_secret": SECRET,
            "radius_accounting_file": str(radius.folder / "accounting"),
            "radius_log_file": str(radius.folder / "radius.log"),
            "control_socket": str(gateway.control_socket),
            "config_file": str(gateway.config_file),
            "gateway_log_file": str(gateway.daemon.log_file),
            "evergate": str(gateway.binary),
            "sstp_client": str(self.sstp().program),
            "sstp_client_log_file": str(self.sstp().daemon.log_file),
        }

    def _web_answers(self):
        probe = f"import socket; socket.create_connection(('::1', {WEB_PORT}), 1)"
        return self.network.exec("lan", ["python3", "-c", probe], check=False).returncode == 0
