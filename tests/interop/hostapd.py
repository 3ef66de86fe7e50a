"""hostapd's own RADIUS server: its PEAP has the cryptobinding of [MS-PEAP], as NPS has it and FreeRADIUS has not."""

from pathlib import Path

from labkit import packages
from labkit.shell import Daemon

NEEDED = {"/usr/sbin/hostapd": "hostapd"}
PORT = 1912
# Less than a certificate with its authority's: it takes several rounds of EAP.
FRAGMENT = 1024
CONFIG = """
driver=none
interface=none
ctrl_interface={folder}/control
logger_stdout=-1
logger_stdout_level=1
radius_server_clients={folder}/clients
radius_server_auth_port={port}
eap_server=1
eap_user_file={folder}/users
ca_cert={pki}/ca.pem
server_cert={folder}/chain.pem
private_key={pki}/radius.key
fragment_size={fragment}
"""
# pppd knows no other version of PEAP than Windows does.
USERS = '* PEAP [ver=0]\n"pia" MSCHAPV2 "password" [2]\n'


class Hostapd:
    """A process in the radius namespace, beside FreeRADIUS."""

    def __init__(self, folder, namespace, pki, secret):
        self.folder, self.pki, self.secret = Path(folder), pki, secret
        self.daemon = Daemon(namespace, self.folder / "hostapd.pid", self.folder / "hostapd.log")

    def __enter__(self):
        packages.ensure(NEEDED)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "clients").write_text(f"10.99.0.0/16 {self.secret}\n")
        (self.folder / "users").write_text(USERS)
        (self.folder / "chain.pem").write_text(self.pki.cert("radius").read_text() + self.pki.cert("ca").read_text())
        config = CONFIG.format(folder=self.folder, pki=self.pki.folder, port=PORT, fragment=FRAGMENT)
        (self.folder / "config").write_text(config)
        self.daemon.start(["/usr/sbin/hostapd", self.folder / "config"], ready=self._listens, what="hostapd")
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def _listens(self):
        pid = self.daemon.pid()
        return pid is not None and f":{PORT:04X} " in Path(f"/proc/{pid}/net/udp").read_text()
