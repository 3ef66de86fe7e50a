"""Every suite of the list, each with traffic; INVALID_KE_PAYLOAD; perfect forward secrecy at rekeys."""

import re
from pathlib import Path

from harness import Skip, case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import Daemon

# strongSwan's spelling -> what its status shows.
AEADS = {"aes128gcm16": "AES_GCM_16-128", "aes256gcm16": "AES_GCM_16-256", "chacha20poly1305": "CHACHA20_POLY1305"}
CIPHERS = {"aes128": "AES_CBC-128", "aes256": "AES_CBC-256"}
HASHES = {"sha1": "HMAC_SHA1_96", "sha256": "HMAC_SHA2_256_128", "sha384": "HMAC_SHA2_384_192", "sha512": "HMAC_SHA2_512_256"}
PRFS = {"prfsha1": "PRF_HMAC_SHA1", "prfsha256": "PRF_HMAC_SHA2_256", "prfsha384": "PRF_HMAC_SHA2_384", "prfsha512": "PRF_HMAC_SHA2_512"}
GROUPS = {
    "modp2048": "MODP_2048",
    "modp3072": "MODP_3072",
    "modp4096": "MODP_4096",
    "ecp256": "ECP_256",
    "ecp384": "ECP_384",
    "ecp521": "ECP_521",
    "x25519": "CURVE_25519",
}


@setup("suites")
def every_suite(config):
    config["ciphers"] = {"compat": "windows-default"}


def _cipher(sa):
    return "-".join(filter(None, (sa.get("encr-alg"), sa.get("encr-keysize"))))


def _ike(world, proposal, cipher, integrity=None, prf=None, group=None):
    client = world.login(Profile(ike=(proposal,)))
    sa = client.session()
    found = (_cipher(sa), sa.get("integ-alg"), sa.get("prf-alg"), sa.get("dh-group"))
    wanted = (cipher, integrity, prf, group)
    check(all(want in (None, have) for want, have in zip(wanted, found)), f"negotiated {found}, not {wanted}")
    check(client.rekey_ike(), f"the IKE SA with {proposal} cannot be rekeyed")
    world.ping()


def _esp(world, proposal, cipher, integrity=None):
    client = world.login(Profile(esp=(proposal,)))
    child = client.children()[0]
    check(_cipher(child) == cipher and child.get("integ-alg") == integrity, f"negotiated {_cipher(child)} {child.get('integ-alg')}")
    world.ping(size=1300)
    world.transfer(0.5, "down")
    world.transfer(0.5, "up")


def _register():
    for name, shown in AEADS.items():
        case("suites", f"ike_{name}", portable=True)(lambda w, n=name, s=shown: _ike(w, f"{n}-prfsha256-ecp256", s))
        case("suites", f"esp_{name}", portable=True)(lambda w, n=name, s=shown: _esp(w, n, s))
    for cipher, shown in CIPHERS.items():
        for name, integrity in HASHES.items():
            title, proposal = f"{cipher}_{name}", f"{cipher}-{name}"
            case("suites", f"ike_{title}", portable=True)(lambda w, p=proposal, s=shown, i=integrity: _ike(w, f"{p}-ecp256", s, i))
            case("suites", f"esp_{title}", portable=True)(lambda w, p=proposal, s=shown, i=integrity: _esp(w, p, s, i))
    for name, shown in PRFS.items():
        case("suites", name, portable=True)(lambda w, n=name, s=shown: _ike(w, f"aes256gcm16-{n}-ecp256", "AES_GCM_16-256", prf=s))
    for name, shown in GROUPS.items():
        case("suites", f"group_{name}", portable=True)(lambda w, n=name, s=shown: _ike(w, f"aes256-sha256-{n}", "AES_CBC-256", group=s))
        case("suites", f"pfs_{name}", portable=True)(lambda w, n=name, s=shown: _pfs(w, n, s))


def _pfs(world, group, shown):
    """The group of a Child SA shows first when it is rekeyed (RFC 7296 section 1.2)."""
    client = world.login(Profile(esp=(f"aes256gcm16-{group}",)))
    check(client.rekey_child(), f"the Child SA with {group} cannot be rekeyed", client.charon.log.read_text().splitlines())
    check(any(child.get("dh-group") == shown for child in client.children()), f"{client.children()}")
    world.ping()


_register()


@case("suites")
def group_modp1024_under_compat(world):
    _ike(world, "aes256-sha1-modp1024", "AES_CBC-256", "HMAC_SHA1_96", group="MODP_1024")


@case("baseline")
def offered_groups_but_not_the_first(world):
    """The client guesses a group that the gateway does not take, and is told a better one."""
    world.login(Profile(ike=("aes256gcm16-prfsha384-modp1024-ecp384",)))
    check("INVAL_KE" in world.last.notifies, f"{world.last.notifies}", world.last.log)


@setup("additional")
def post_quantum(config):
    config["ciphers"] = {"additional": ["mlkem1024", "mlkem768"]}


@case("additional")
def a_client_with_ml_kem(world):
    """Our own client, for strongSwan has no ML-KEM before version 6."""
    program = Path(world.gateway.binary).with_name("evergate-load")
    if not program.exists():
        raise Skip(f"{program} does not exist: build it with `cargo build --release -p load`")
    daemon = Daemon(world.lab.namespace("client"), world.lab.folder / "load.pid", world.lab.folder / "load.log")
    login = ["--server", network.GATEWAY_IPV4, "--server-name", GATEWAY_NAME, "--ca", world.lab.pki.cert("ca")]
    user = ["--user", "alice", "--password", "password"]
    argv = [program, "connect", *login, *user, "--suite", "aes256gcmmlkem768", "--json"]
    daemon.start(argv, ready=lambda: '"device"' in daemon.log_file.read_text(), what="evergate-load")
    try:
        world.ping()
        suite = world.session_of("alice")["ike_suite"]
    finally:
        daemon.stop()
    check(suite == "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1=ML_KEM_768", suite)


@case("additional")
def a_client_without_ml_kem(world):
    world.login()
    check("ADDKE" not in world.session_of("alice")["ike_suite"], f"{world.sessions()}")


@case("baseline")
def windows_recommended_suite(world):
    """What `Set-VpnConnectionIPsecConfiguration` of a managed profile makes a Windows client offer."""
    client = world.login(Profile(ike=("aes128gcm16-prfsha256-modp2048",), esp=("aes128gcm16-ecp256",)))
    check(client.rekey_child(), "the Child SA cannot be rekeyed")
    world.ping()


@case("baseline")
def the_record_of_a_mismatch_leads_to_its_fix(world):
    """What was offered, what is accepted, what came nearest, and what to type on the client so that it fits."""
    offered = ("aes256-sha1-modp1024", "aes256-sha256-modp1024")
    attempt = world.refused(Profile(ike=offered), notify="NO_PROP", stage="sa_init", cause="propos")
    detail = world.attempt(attempt["id"])
    check(len(detail["offered"]) == 2 and all("MODP_1024" in line for line in detail["offered"]), f"{detail['offered']}")
    cause = detail["cause"]
    check(re.search(r"accepted \[[^]]*AES_GCM_16_256[^]]*ECP_256[^]]*\]", cause), f"what is accepted is missing: {cause}")
    check(re.search(r"nearest: #2 differs in DH: MODP_1024 offered, accepted: [^;]*ECP_256", cause), f"the nearest is missing: {cause}")
    line = (
        "Set-VpnConnectionIPsecConfiguration -ConnectionName $_.Name -AllUserConnection:$all -AuthenticationTransformConstants GCMAES256 "
        "-CipherTransformConstants GCMAES256 -EncryptionMethod GCMAES256 -IntegrityCheckMethod SHA256 -DHGroup ECP256 -PfsGroup ECP256 "
        "-PassThru -Force"
    )
    check(line in (detail["fix"] or ""), f"the fix is {detail['fix']!r}")


@case("baseline")
def group_modp1024_is_refused_without_compat(world):
    attempt = world.refused(Profile(ike=("aes256-sha1-modp1024",)), notify="NO_PROP", stage="sa_init", cause="propos")
    detail = world.attempt(attempt["id"])
    check("13868" in (detail["windows_code"] or ""), f"{detail['windows_code']}")
    check(any("MODP_1024" in line.upper() for line in detail["offered"]), f"{detail['offered']}")
    check(detail["fix"], "no fix is given")
