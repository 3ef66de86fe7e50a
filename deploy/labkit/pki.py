"""The laboratory's certificates, made with openssl."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

from .shell import run

GATEWAY_NAME = "vpn.example.test"
RADIUS_NAME = "radius.example.test"
ORGANISATION = "/C=DE/O=Example Test"

CA_CONFIG = """
[ca]
default_ca = lab
[lab]
database = {database}
new_certs_dir = {folder}
rand_serial = yes
crlnumber = {folder}/{name}.crlnumber
crl_extensions = list
default_md = sha256
policy = anything
copy_extensions = copy
unique_subject = no
x509_extensions = leaf
[list]
authorityKeyIdentifier = keyid
[anything]
countryName = optional
organizationName = optional
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

# Authorities below others: name -> (issuer, common name). Whoever shows a leaf of theirs shows them too: they follow it in its file.
INTERMEDIATES = {"issuing-ca": ("ca", "Evergate Lab Issuing CA")}

# So many names that a certificate fits no packet.
NAMES = ",".join(f"DNS:host-{number:02}.large.example.test" for number in range(60))

# name -> (issuer, key, common name, subject alternative name, extended key usage, days from now: start, end)
LEAVES = {
    "gateway-rsa": ("ca", "rsa", GATEWAY_NAME, f"DNS:{GATEWAY_NAME}", "serverAuth,1.3.6.1.5.5.8.2.2", -1, 730),
    "gateway-ecdsa": ("ca", "p256", GATEWAY_NAME, f"DNS:{GATEWAY_NAME}", "serverAuth,1.3.6.1.5.5.8.2.2", -1, 730),
    "radius": ("ca", "rsa", RADIUS_NAME, f"DNS:{RADIUS_NAME}", "serverAuth", -1, 730),
    "radius-to-be-revoked": ("ca", "p256", RADIUS_NAME, f"DNS:{RADIUS_NAME}", "serverAuth", -1, 730),
    "collector": ("ca", "p256", "collector", "DNS:localhost,IP:127.0.0.1", "serverAuth", -1, 730),
    "alice": ("ca", "rsa", "alice", "email:alice@example.test", "clientAuth", -1, 730),
    "machine-rsa": ("ca", "rsa", "pc1.example.test", "DNS:pc1.example.test", "clientAuth", -1, 730),
    "machine-ecdsa": ("ca", "p256", "pc2.example.test", "DNS:pc2.example.test", "clientAuth", -1, 730),
    "machine-p384": ("ca", "p384", "pc3.example.test", "DNS:pc3.example.test", "clientAuth", -1, 730),
    "machine-p521": ("ca", "p521", "pc5.example.test", "DNS:pc5.example.test", "clientAuth", -1, 730),
    "machine-ed25519": ("ca", "ed25519", "pc4.example.test", "DNS:pc4.example.test", "clientAuth", -1, 730),
    "machine-expired": ("ca", "rsa", "pc9.example.test", "DNS:pc9.example.test", "clientAuth", -400, -30),
    "machine-no-signatures": ("ca", "rsa", "pc7.example.test", "DNS:pc7.example.test", "clientAuth", -1, 730),
    "machine-revoked": ("ca", "rsa", "pc6.example.test", "DNS:pc6.example.test", "clientAuth", -1, 730),
    "machine-to-be-revoked": ("ca", "p256", "pc10.example.test", "DNS:pc10.example.test", "clientAuth", -1, 730),
    "machine-no-purpose": ("ca", "p256", "pc8.example.test", "DNS:pc8.example.test", "serverAuth", -1, 730),
    "other-gateway": ("other-ca", "rsa", GATEWAY_NAME, f"DNS:{GATEWAY_NAME}", "serverAuth", -1, 730),
    "tenant-gateway": ("other-ca", "p256", "*.tenant.test", "DNS:*.tenant.test", "serverAuth", -1, 730),
    "other-radius": ("other-ca", "p256", RADIUS_NAME, f"DNS:{RADIUS_NAME}", "serverAuth", -1, 730),
    "radius-large": ("issuing-ca", "rsa4096", RADIUS_NAME, f"DNS:{RADIUS_NAME},{NAMES}", "serverAuth", -1, 730),
    "alice-large": ("issuing-ca", "rsa4096", "alice", f"email:alice@example.test,{NAMES}", "clientAuth", -1, 730),
    "other-machine": ("other-ca", "rsa", "pc1.example.test", "DNS:pc1.example.test", "clientAuth", -1, 730),
}
# Leaves that may do something else than sign.
USES = {"machine-no-signatures": "keyEncipherment"}
REVOKED = ("machine-revoked",)
KEYS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "p521": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "ed25519": ["-algorithm", "ED25519"],
}


class Pki:
    """Certificates (NAME.pem), PKCS#8 keys (NAME.key) and revocation lists (NAME.crl) in one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def cert(self, name):
        return self.folder / f"{name}.pem"

    def key(self, name):
        return self.folder / f"{name}.key"

    def crl(self, name="ca"):
        return self.folder / f"{name}.crl"

    def make(self):
        """Makes everything once; a folder that is complete stays as it is."""
        if (self.folder / "complete").exists():
            return self
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._authority("ca", "Evergate Lab Root CA")
        self._authority("other-ca", "Another Root CA")
        for name in INTERMEDIATES:
            self._intermediate(name)
        for name in LEAVES:
            self._leaf(name)
        for name in REVOKED:
            self.revoke(name)
        self.list_revoked()
        (self.folder / "complete").touch()
        return self

    def revoke(self, name):
        """Takes a leaf back; its authority's next list says so."""
        run(["openssl", "ca", *self._signer(LEAVES[name][0]), "-revoke", self.cert(name), "-crl_reason", "keyCompromise"])

    def list_revoked(self, name="ca", start=-1, end=30):
        """Makes the revocation list of an authority, valid from and to so many days from now; gives it in DER, as authorities publish it."""
        fresh = self.folder / f"{name}.crl.new"
        moments = ["-crl_lastupdate", _moment(start), "-crl_nextupdate", _moment(end)]
        run(["openssl", "ca", "-gencrl", *self._signer(name), *moments, "-out", fresh])
        run(["openssl", "crl", "-in", fresh, "-outform", "DER", "-out", fresh])
        # In one step: the gateway may be reading it.
        return fresh.replace(self.crl(name))

    def _signer(self, name):
        return ["-config", self.folder / f"{name}.cnf", "-cert", self.cert(name), "-keyfile", self.key(name)]

    def _new_key(self, name, kind):
        run(["openssl", "genpkey", *KEYS[kind], "-out", self.key(name)])
        self.key(name).chmod(0o600)

    def _authority(self, name, common_name):
        self._new_key(name, "rsa")
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        added = [part for extension in extensions for part in ("-addext", extension)]
        subject = f"{ORGANISATION}/CN={common_name}"
        run(
            [
                "openssl",
                "req",
                "-x509",
                "-new",
                "-key",
                self.key(name),
                "-subj",
                subject,
                "-days",
                "3650",
                "-sha256",
                *added,
                "-out",
                self.cert(name),
            ]
        )
        self._ledger(name)

    def _intermediate(self, name):
        issuer, common_name = INTERMEDIATES[name]
        self._new_key(name, "rsa")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        run(["openssl", "req", "-new", "-key", self.key(name), "-subj", f"{ORGANISATION}/CN={common_name}", "-out", request])
        extensions.write_text("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n")
        signer = ["-CA", self.cert(issuer), "-CAkey", self.key(issuer), "-CAcreateserial"]
        run(["openssl", "x509", "-req", "-in", request, *signer, "-days", "3650", "-sha256", "-extfile", extensions, "-out", self.cert(name)])
        self._ledger(name)

    def _ledger(self, name):
        """What `openssl ca` wants to sign with this authority."""
        database = self.folder / f"{name}.index"
        database.touch()
        (self.folder / f"{name}.crlnumber").write_text("01\n")
        (self.folder / f"{name}.cnf").write_text(CA_CONFIG.format(database=database, folder=self.folder, name=name))

    def _leaf(self, name):
        issuer, kind, common_name, alternative, purpose, start, end = LEAVES[name]
        self._new_key(name, kind)
        request = self.folder / f"{name}.csr"
        added = [
            "-addext",
            f"subjectAltName={alternative}",
            "-addext",
            f"extendedKeyUsage={purpose}",
            "-addext",
            f"keyUsage={USES.get(name, 'digitalSignature')}",
        ]
        run(["openssl", "req", "-new", "-key", self.key(name), "-subj", f"{ORGANISATION}/CN={common_name}", *added, "-out", request])
        days = ["-startdate", _moment(start), "-enddate", _moment(end)]
        run(["openssl", "ca", "-batch", "-notext", *self._signer(issuer), *days, "-in", request, "-out", self.cert(name)])
        request.unlink()
        if issuer in INTERMEDIATES:
            self.cert(name).write_text(self.cert(name).read_text() + self.cert(issuer).read_text())


def _moment(days_from_now):
    return (datetime.now(timezone.utc) + timedelta(days=days_from_now)).strftime("%Y%m%d%H%M%SZ")
