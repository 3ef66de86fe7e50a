"""A strongSwan gateway (charon, kernel-libipsec, eap-radius) in the place of Evergate: the yardstick of tests and benches."""

from .charon import Charon
from .network import RADIUS_IPV4
from .pki import GATEWAY_NAME
from .radius import ACCT_PORT, AUTH_PORT, SECRET

# eap-radius must load before vici, or Framed-IP-Address is ignored.
LOAD = "kernel-libipsec kernel-netlink socket-default eap-identity eap-radius vici"
IKE = (
    "aes256gcm16-prfsha384-ecp384",
    "aes128gcm16-prfsha256-ecp256",
    "aes256-aes128-sha512-sha384-sha256-sha1-ecp384-ecp256-ecp521-x25519-modp4096-modp3072-modp2048",
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha512-prfsha384-prfsha256-prfsha1-ecp384-ecp256-ecp521-x25519-modp4096-modp3072-modp2048",
)
PFS = "ecp384-ecp256-ecp521-x25519-modp4096-modp3072-modp2048"
AEADS, CIPHERS = "aes256gcm16-aes128gcm16-chacha20poly1305", "aes256-aes128-sha512-sha384-sha256-sha1"
ESP = (AEADS, CIPHERS, f"{AEADS}-{PFS}", f"{CIPHERS}-{PFS}")


class ReferenceGateway:
    def __init__(self, folder, namespace, pki, *, certificate="gateway-rsa", threads=16):
        self.pki, self.certificate = pki, certificate
        server = {"address": RADIUS_IPV4, "secret": SECRET, "auth_port": AUTH_PORT, "acct_port": ACCT_PORT, "sockets": 32}
        eap_radius = {"accounting": "yes", "nas_identifier": GATEWAY_NAME, "servers": {"freeradius": server}}
        options = {"threads": threads, "ikesa_table_size": 4096, "ikesa_table_segments": 16, "block_threshold": 0, "cookie_threshold": 0}
        self.charon = Charon(folder, namespace, load=LOAD, options=options, plugins={"eap-radius": eap_radius})

    def start(self):
        self.charon.start()
        with self.charon.vici() as vici:
            vici.demand("load-cert", {"type": "x509", "flag": "CA", "data": self.pki.cert("ca").read_bytes()})
            vici.demand("load-key", {"type": "any", "data": self.pki.key(self.certificate).read_bytes()})
            vici.demand("load-pool", {"users4": {"addrs": "10.98.0.10-10.98.15.250", "dns": ["10.99.10.53"]}})
            vici.demand("load-pool", {"users6": {"addrs": "fd98::10-fd98::fff"}})
            for name, remote in (("eap", {"auth": "eap-radius", "eap_id": "%any"}), ("machine", {"auth": "pubkey"})):
                vici.demand("load-conn", {name: self._connection(remote)})
        return self

    def stop(self):
        self.charon.stop()

    def pid(self):
        return self.charon.daemon.pid()

    def _connection(self, remote):
        child = {"local_ts": ["0.0.0.0/0", "::/0"], "esp_proposals": list(ESP), "rekey_time": "0", "dpd_action": "clear"}
        return {
            "version": "2",
            "proposals": list(IKE),
            "rekey_time": "0",
            "reauth_time": "0",
            "unique": "never",
            "send_cert": "always",
            "pools": ["radius", "users4", "users6"],
            "local": {"auth": "pubkey", "certs": [self.pki.cert(self.certificate).read_bytes()], "id": GATEWAY_NAME},
            "remote": {"id": "%any", **remote},
            "children": {"net": child},
        }
