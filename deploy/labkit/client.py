"""A strongSwan client that behaves like the built-in Windows one: no IDr, an address as IDi with EAP, a full tunnel."""

import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from .charon import Charon
from .network import GATEWAY_IPV4
from .pki import GATEWAY_NAME, INTERMEDIATES, LEAVES, RADIUS_NAME
from .shell import wait_until

USER_SPACE, KERNEL = "kernel-libipsec kernel-netlink", "kernel-netlink"
LOAD = "socket-default vici resolve eap-identity eap-mschapv2 eap-tls eap-peap eap-md5"
DEFAULT_IKE = ("aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048", "aes128gcm16-prfsha256-ecp256")
DEFAULT_ESP = ("aes256gcm16", "aes128gcm16", "aes256-sha256")


@dataclass(frozen=True)
class Profile:
    """How to connect. Times are strongSwan's: `30s`, `0` turns off."""

    server: str = GATEWAY_IPV4
    # eap-mschapv2, eap-tls, eap-peap, or certificate
    method: str = "eap-mschapv2"
    user: str = "alice"
    password: str = "password"
    # Name in the PKI, for eap-tls and certificate; with eap-tls "" is none.
    certificate: str = "alice"
    # How the certificate's key signs: `pubkey`, or a scheme such as `rsa/pss-sha256`.
    proof: str = "pubkey"
    authority: str = "ca"
    # What the client expects the RADIUS server's certificate to hold, in EAP-TLS and PEAP.
    radius_name: str = RADIUS_NAME
    server_name: str = GATEWAY_NAME
    ike: tuple = DEFAULT_IKE
    esp: tuple = DEFAULT_ESP
    addresses: tuple = ("0.0.0.0",)
    remote: tuple = ("0.0.0.0/0", "::/0")
    fragmentation: str = "yes"
    mobike: str = "yes"
    # ESP in UDP although no NAT is on the way.
    encapsulation: str = "no"
    liveness: str = "0s"
    # Time until the client authenticates anew, with a second IKE SA before it deletes the first.
    reauthentication: str = "0"
    # How long that may take, so that it begins so long before a lifetime is over.
    over_time: str = "20s"
    # Announces INITIAL_CONTACT; strongSwan does so only where it sends IDr as well.
    initial_contact: bool = False
    # Postquantum preshared key: its id and secret; with `ppk_required` the client leaves a gateway that does not know it.
    ppk: tuple = ()
    # The gateway shall prove itself by EAP alone (RFC 5998), with a method such as `eap-tls`.
    eap_only: str = ""
    ppk_required: str = "no"
    # More settings of the Child SA, in strongSwan's words: pairs.
    child: tuple = ()
    seconds: float = 20

    def but(self, **changes):
        return replace(self, **changes)


@dataclass
class Outcome:
    """What came of a login, seen from the client."""

    up: bool
    seconds: float
    log: list = field(default_factory=list)
    error: str = ""

    @property
    def notifies(self):
        """Notify types the gateway sent, in short form as charon logs them (`AUTH_FAILED`, `NO_PROP`)."""
        return {name for line in self.log if line.startswith("parsed") for name in re.findall(r"N\((\w+)\)", line)}

    def saw(self, pattern):
        return any(re.search(pattern, line) for line in self.log)


class Client:
    """A client daemon in one of the client namespaces. `NAME` is the connection."""

    NAME = "vpn"

    def __init__(self, folder, namespace, pki, *, esp=USER_SPACE, tries=3, first_retry=1.0, extra_plugins=None, newer=False, **options):
        self.folder, self.pki = Path(folder), pki
        self.resolv = self.folder / "resolv.conf"
        self.charon = Charon(
            folder,
            namespace,
            load=f"{esp} {LOAD}",
            options={"retransmit_tries": tries, "retransmit_timeout": first_retry, "retransmit_base": 1.5, "make_before_break": "yes", **options},
            plugins={"resolve": {"file": self.resolv, "resolvconf": {"path": "/nonexistent"}}, "eap-peap": {"fragment_size": 1024}},
            extra_plugins=extra_plugins,
            newer=newer,
        )

    def start(self):
        if not self.running():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.resolv.write_text("")
            self.charon.start()
        return self

    def stop(self, hard=False):
        self.charon.stop(hard)

    def pid(self):
        return self.charon.daemon.pid()

    def running(self):
        return self.pid() is not None

    def log(self):
        """What the daemon wrote, line by line."""
        return self.charon.log.read_text(errors="replace").splitlines()

    def connect(self, profile):
        """Logs in; a refusal is an outcome, not an error."""
        self.start()
        log = []
        with self.charon.vici(profile.seconds + 30) as vici:
            self._load(vici, profile)
            order = {"ike": self.NAME, "child": "net", "timeout": int(profile.seconds * 1000), "loglevel": 1}
            started = time.monotonic()
            answer = vici.call("initiate", order, ["control-log"], lambda _, line: log.append(line.get("msg", "")))
            seconds = time.monotonic() - started
        up = answer.get("success") == "yes" and self.session() is not None
        return Outcome(up, seconds, log, answer.get("errmsg", ""))

    def disconnect(self):
        """Sends DELETE and waits for the answer; true if it came."""
        with self.charon.vici() as vici:
            return vici.call("terminate", {"ike": self.NAME, "timeout": 10000}).get("success") == "yes"

    def forget(self):
        """Drops every SA without waiting, and the configuration."""
        with self.charon.vici() as vici:
            for sa in self.charon.sas():
                vici.call("terminate", {"ike-id": sa["uniqueid"], "force": "yes", "timeout": 3000})
            vici.call("unload-conn", {"name": self.NAME})
            vici.call("clear-creds")

    def session(self):
        """The newest established IKE SA that has an installed Child SA, or None."""
        found = [sa for sa in self.charon.sas() if sa["name"] == self.NAME and sa.get("state") == "ESTABLISHED" and _children(sa)]
        return max(found, key=lambda sa: int(sa["uniqueid"]), default=None)

    def addresses(self):
        """The inner addresses that the gateway assigned."""
        sa = self.session()
        return sa.get("local-vips", []) if sa else []

    def dns(self):
        return re.findall(r"^nameserver (\S+)", self.resolv.read_text(), re.M)

    def children(self):
        sa = self.session()
        return _children(sa) if sa else []

    def rekey_child(self, seconds=10):
        """Rekeys the Child SA; true once a new one is installed."""
        before = {child["spi-in"] for child in self.children()}
        self._rekey({"child": "net"})
        return bool(wait_until(lambda: {child["spi-in"] for child in self.children()} - before, seconds))

    def rekey_ike(self, seconds=10):
        """Rekeys the IKE SA; true once a new one carries the Child SA and the old one is gone."""
        before = self.session()["initiator-spi"]

        def moved():
            now = [sa for sa in self.charon.sas() if sa["name"] == self.NAME]
            return len(now) == 1 and now[0]["initiator-spi"] != before and bool(_children(now[0]))

        self._rekey({"ike": self.NAME})
        return bool(wait_until(moved, seconds))

    def _rekey(self, what):
        with self.charon.vici() as vici:
            vici.demand("rekey", what)

    def _load(self, vici, profile):
        vici.call("unload-conn", {"name": self.NAME})
        vici.call("clear-creds")
        vici.demand("load-cert", {"type": "x509", "flag": "CA", "data": self.pki.cert(profile.authority).read_bytes()})
        if profile.method in ("certificate", "eap-tls"):
            if profile.certificate:
                issuer = LEAVES.get(profile.certificate, ["ca"])[0]
                if issuer in INTERMEDIATES:
                    vici.demand("load-cert", {"type": "x509", "flag": "NONE", "data": self.pki.cert(issuer).read_bytes()})
                vici.demand("load-key", {"type": "any", "data": self.pki.key(profile.certificate).read_bytes()})
        else:
            vici.demand("load-shared", {"type": "EAP", "data": profile.password, "owners": [profile.user]})
        if profile.ppk:
            identity, secret = profile.ppk
            vici.demand("load-shared", {"type": "ppk", "data": secret, "owners": [identity]})
        vici.demand("load-conn", {self.NAME: self._connection(profile)})

    def _connection(self, profile):
        child = {
            "local_ts": ["dynamic"],
            "remote_ts": list(profile.remote),
            "esp_proposals": list(profile.esp),
            "rekey_time": "0",
            "rand_time": "0",
            **dict(profile.child),
        }
        return {
            "version": "2",
            "remote_addrs": [profile.server],
            "proposals": list(profile.ike),
            "vips": list(profile.addresses),
            "fragmentation": profile.fragmentation,
            "mobike": profile.mobike,
            "encap": profile.encapsulation,
            "dpd_delay": profile.liveness,
            "rekey_time": "0",
            "reauth_time": profile.reauthentication,
            "over_time": profile.over_time,
            "unique": "replace" if profile.initial_contact else "never",
            "keyingtries": "1",
            "send_certreq": "yes",
            **({"ppk_id": profile.ppk[0], "ppk_required": profile.ppk_required} if profile.ppk else {}),
            "local": self._local(profile),
            "remote": {"auth": profile.eap_only or "pubkey", "id": profile.server_name if profile.initial_contact else _pattern(profile.server_name)},
            "children": {"net": child},
        }

    def _local(self, profile):
        if profile.method == "certificate":
            return {"auth": profile.proof, "certs": [self.pki.cert(profile.certificate).read_bytes()]}
        local = {"auth": profile.method, "eap_id": profile.user, "aaa_id": profile.radius_name}
        if profile.method == "eap-tls" and profile.certificate:
            local["certs"] = [self.pki.cert(profile.certificate).read_bytes()]
        return local


def _pattern(name):
    """A pattern is checked against the certificate, but not sent as IDr: as Windows does."""
    return "*." + name.partition(".")[2]


def _children(sa):
    return [child for child in sa.get("child-sas", {}).values() if child.get("state") == "INSTALLED"]
