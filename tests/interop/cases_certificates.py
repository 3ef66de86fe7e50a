"""Several certificates, of different authorities and one of them a wildcard: who sees which, whatever their order, and what the record says."""

import json
from pathlib import Path

from harness import case, check, setup
from ikev2_client import device
from labkit import network, toml
from labkit.client import Profile
from labkit.shell import run, wait_until
from sstp_client import Sstp

OURS, OTHERS = "gateway-rsa", "tenant"
TENANT_NAME = "vpn.tenant.test"
WILDCARD = "*.tenant.test"


def two(config, reverse):
    """The gateway's own certificate, and a tenant's of another authority for all names of the tenant."""
    pki = Path(config["listener"][0]["client_ca"][0]).parent

    def certificate(name, file, authority, **more):
        chain = pki / f"{file}.chain"
        chain.write_text((pki / f"{file}.pem").read_text() + (pki / f"{authority}.pem").read_text())
        return {"name": name, "chain": str(chain), "key": str(pki / f"{file}.key")} | more

    config["certificate"] = [certificate(OURS, "gateway-rsa", "ca"), certificate(OTHERS, "tenant-gateway", "other-ca", names=[WILDCARD])]
    for listener in config["listener"]:
        listener |= {"certificates": [OURS, OTHERS], "default_certificate": OURS}
        if reverse:
            listener["certificates"].reverse()
    if reverse:
        config["certificate"].reverse()


@setup("certificates")
def certificates(config):
    two(config, False)


@setup("certificates_reversed")
def certificates_reversed(config):
    two(config, True)


def _story(world):
    """The timeline of the newest attempt."""
    newest = world.attempts()[0]
    return [line["text"] for line in world.attempt(newest["id"])["timeline"]]


def _presented(world, name, why, other, reason):
    story = _story(world)
    line = next((line for line in story if line.startswith("gateway presents certificate")), "")
    check(line.startswith(f'gateway presents certificate "{name}"') and why in line, f"expected {name} because {why}: {line!r}")
    passed = f'certificate "{other}" passed over: '
    check(any(line.startswith(passed) and reason in line for line in story), f"no line about {other} and {reason!r}: {story}")
    chosen = [line for line in world.log_of(world.attempts()[0]) if "certificate chosen" in line]
    wanted = (f'certificate="{name}" why={why}', f"passed_over={other}: ", reason)
    check(len(chosen) == 1 and all(part in chosen[0] for part in wanted), f"not one line that says {wanted}: {chosen}")


def _ikev2_by_authority(world):
    """Two clients that trust one authority each and send no IDr: CERTREQ decides."""
    world.login(Profile())
    _presented(world, OURS, "issued by an authority that the client trusts (CERTREQ)", OTHERS, "CN=Another Root CA")
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, authority="other-ca", server_name=TENANT_NAME, user="dave"), role="client2", ping=False)
    _presented(world, OTHERS, "issued by an authority that the client trusts (CERTREQ)", OURS, "CN=Evergate Lab Root CA")
    check(world.session_of("dave")["certificate"] == OTHERS, f"the session does not say which: {world.session_of('dave')}")


def _sstp_by_name(world):
    """SNI decides; without one of ours the default does."""
    pki = world.lab.pki

    def by_name(name, ca, role):
        server = network.GATEWAY_IPV4 if role == "client" else network.GATEWAY_IPV4_BEHIND_NAT
        return Sstp(world.lab, world.gateway.binary, role, server=server).call(server_name=name, ca=pki.cert(ca), user="dave")

    tenant = by_name(TENANT_NAME, "other-ca", "client")
    check(tenant.get("event") == "up", f"the tenant's client does not come in: {tenant}")
    _presented(world, OTHERS, f"made out to {TENANT_NAME} (SNI), by a wildcard", OURS, f"not made out to {TENANT_NAME} (SNI)")
    own = by_name("vpn.example.test", "ca", "client2")
    check(own.get("event") == "up", f"our own client does not come in: {own}")
    _presented(world, OURS, "made out to vpn.example.test (SNI)", OTHERS, "not made out to vpn.example.test (SNI)")
    check(own["tls"]["certificate_sha256"] != tenant["tls"]["certificate_sha256"], "both see one certificate")
    lost = by_name("nobody.test", "ca", "client")
    check(lost.get("event") == "error", f"a client that asks for another name came in: {lost}")
    found = wait_until(lambda: [line for line in _story(world) if "no certificate is made out to nobody.test (SNI)" in line], 5)
    check(found, f"the record does not say that nothing fits: {_story(world)}")


def _shown(world):
    """`evergate certificates` agrees, asked of the running gateway."""
    report = world.gateway.json("certificates")
    listed = {certificate["name"]: certificate for certificate in report["certificates"]}
    check(listed[OTHERS]["dialled"] == [WILDCARD] and listed[OURS]["default_of"] == ["ikev2", "sstp"], f"{listed}")
    check([link["sent"] for link in listed[OURS]["chain"]] == [True, False], f"the root is sent: {listed[OURS]['chain']}")
    gets = {(row["listener"], row["tells"]): row["certificate"] for row in report["clients"]}
    check(gets[("sstp", "SNI host.tenant.test")] == OTHERS and gets[("sstp", "no SNI, or another name")] == OURS, f"{gets}")
    check(gets[("ikev2", f'no IDr; CERTREQ with the authorities of "{OTHERS}" alone')] == OTHERS, f"{gets}")
    ends = {entry["name"]: entry["days_left"] for entry in world.gateway.json("status")["certificates"]}
    check(set(ends) == {OURS, OTHERS} and all(700 < days < 731 for days in ends.values()), f"{ends}")


for group in ("certificates", "certificates_reversed"):
    case(group, "ikev2_by_authority")(_ikev2_by_authority)
    case(group, "sstp_by_name")(_sstp_by_name)
    case(group, "shown_with_the_reasons")(_shown)


@setup("certificates_of_two_kinds")
def certificates_of_two_kinds(config):
    """For the same names, RSA and ECDSA: no default is needed."""
    check(len(config["certificate"]) == 2, "the laboratory has other certificates")


@case("certificates_of_two_kinds")
def each_kind_of_client_sees_the_key_that_suits_it(world):
    """Windows takes RSA with SHA-1 alone, so it sees ECDSA; Android sees RSA."""
    for profile, method, name, other in (("windows-aovpn", 9, "gateway-ecdsa", OURS), ("android", 14, OURS, "gateway-ecdsa")):
        with device(world) as pc:
            outcome = pc.tunnel("user", profile).login()
            check(outcome["method"] == method, f"the gateway proved itself to {profile} with method {outcome['method']}")
            _presented(world, name, "of those for the same names, its key", other, "suits this client less")


@case("certificates")
def a_tie_is_refused(world):
    """Without the default nothing decides for clients that ask for nothing: `check` names both certificates and the key."""
    config = world.gateway.default_config()
    two(config, False)
    for listener in config["listener"]:
        del listener["default_certificate"]
    file = world.gateway.folder / "tie.toml"
    file.write_text(toml.dumps(config))
    done = run([world.gateway.binary, "check", "--json", "--config", file], check=False)
    error = json.loads(done.stdout)["error"]
    for part in ("default_certificate: is missing", f'"{OURS}"', f'"{OTHERS}"', "clients that ask for no name"):
        check(part in error, f"{part!r} is not in: {error}")
    check(done.returncode == 1, f"check ends with {done.returncode}")
