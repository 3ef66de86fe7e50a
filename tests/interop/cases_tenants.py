"""Tenants at one gateway: policies name the certificate that each sees, and nobody comes in by another's."""

import json
from pathlib import Path

from cases_certificates import OTHERS, OURS, TENANT_NAME, two
from harness import case, check, setup
from labkit import network, toml
from labkit.client import Profile
from labkit.shell import run
from sstp_client import Sstp


def _tenants(config, reverse):
    two(config, reverse)
    given = {"pool": "users", "dns": [network.LAN_DNS]}
    config["policy"] = [
        {"name": "ours", "user": ["alice"], "certificate": OURS} | given,
        {"name": "tenant", "user": ["dave"], "certificate": OTHERS} | given,
    ]
    config["policy"][1]["test"] = [
        {"name": "the tenant's own", "user": "dave", "tunnel": "sstp", "server_name": TENANT_NAME, "expect": "grant", "policy": "tenant"},
        {"name": "nobody crosses", "user": "alice", "tunnel": "sstp", "server_name": TENANT_NAME, "expect": "deny", "reason": 48},
    ]
    if reverse:
        config["policy"].reverse()


@setup("tenants")
def tenants(config):
    _tenants(config, False)


@setup("tenants_reversed")
def tenants_reversed(config):
    _tenants(config, True)


THIRD = "gateway-ecdsa"
# Where the tenants come from, with the certificates and users that are theirs.
PLACES = {"10.99.1.0/24": (OURS, "alice"), f"{network.NAT_OUTSIDE}/32": (OTHERS, "dave"), "fd99:1::/64": (THIRD, "bob")}


@setup("tenants_apart")
def tenants_apart(config):
    """Three certificates that are for nobody in particular, and policies that nobody can be for two of."""
    two(config, False)
    folder = Path(config["certificate"][0]["chain"]).parent
    config["certificate"].append({"name": THIRD, "chain": str(folder / f"{THIRD}.pem"), "key": str(folder / f"{THIRD}.key")})
    for listener in config["listener"]:
        listener["certificates"] = [OURS, OTHERS, THIRD]
        del listener["default_certificate"]
    given = {"pool": "users", "dns": [network.LAN_DNS]}
    config["policy"] = [
        {"name": user, "user": [user], "client": [place], "certificate": certificate} | given for place, (certificate, user) in PLACES.items()
    ]


def _tells(world, attempt, name, policy):
    """The record says which certificate was shown, and which policy names it."""
    story = [line["text"] for line in world.attempt(attempt["id"])["timeline"]]
    line = next((line for line in story if line.startswith(f'gateway presents certificate "{name}"')), "")
    check(f'policy "{policy}" names it' in line, f"not {name} for {policy}: {story}")


def _up(world, user, name, policy):
    session = world.session_of(user)
    check((session["certificate"], session["policy"]) == (name, policy), f"{user} came in otherwise: {session}")
    _tells(world, world.attempts()[0], name, policy)


def _ikev2(world):
    """Clients that send no IDr and trust one authority each."""
    tenant = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, authority="other-ca", server_name=TENANT_NAME)
    world.login(Profile(user="alice"), ping=False)
    _up(world, "alice", OURS, "ours")
    world.login(tenant.but(user="dave"), role="client2", ping=False)
    _up(world, "dave", OTHERS, "tenant")
    crossed = f'"tenant": certificate wanted "{OTHERS}", but the client was shown "{OURS}"'
    refused = world.refused(Profile(user="dave"), notify="AUTH_FAILED", stage="policy", cause=crossed)
    _tells(world, refused, OURS, "ours")
    crossed = f'"ours": certificate wanted "{OURS}", but the client was shown "{OTHERS}"'
    world.refused(tenant.but(user="alice"), notify="AUTH_FAILED", stage="policy", cause=crossed, role="client2")


def _sstp(world):
    """SNI decides."""

    def client(role):
        server = network.GATEWAY_IPV4 if role == "client" else network.GATEWAY_IPV4_BEHIND_NAT
        return Sstp(world.lab, world.gateway.binary, role, server=server)

    ours = {"server_name": "vpn.example.test", "ca": world.lab.pki.cert("ca")}
    tenant = {"server_name": TENANT_NAME, "ca": world.lab.pki.cert("other-ca")}
    for role, user, wants, name, policy in (("client", "alice", ours, OURS, "ours"), ("client2", "dave", tenant, OTHERS, "tenant")):
        outcome = client(role).call(user=user, **wants)
        check(outcome.get("event") == "up", f"{user} does not come in: {outcome}")
        _tells(world, world.attempts()[0], name, policy)
        decision = world.attempt(world.attempts()[0]["id"])["decision"][-1]
        check(decision == f'policy "{policy}" decides: grant', decision)
    before = {attempt["id"] for attempt in world.attempts()}
    lost = client("client").call(user="alice", **tenant)
    check(lost.get("event") == "error", f"alice came in by the tenant's name: {lost}")
    record = world.record(before, "policy", f'"ours": certificate wanted "{OURS}", but the client was shown "{OTHERS}"')
    _tells(world, record, OTHERS, "tenant")


def _shown(world):
    """The commands tell the same."""
    report = world.gateway.json("certificates")
    named = {certificate["name"]: certificate["policies"] for certificate in report["certificates"]}
    check(named == {OURS: ["ours"], OTHERS: ["tenant"]}, f"{named}")
    gets = {(row["listener"], row["client"]): row["certificate"] for row in report["clients"] if row["client"].startswith("of policy")}
    check(gets[("sstp", 'of policy "tenant"')] == OTHERS and gets[("ikev2", 'of policy "ours"')] == OURS, f"{gets}")
    verdict = world.gateway.json("policy", "test", "--tunnel", "sstp", "--user", "dave", "--server-name", TENANT_NAME)
    check(verdict["granted"] and verdict["certificate"]["name"] == OTHERS, f"{verdict}")
    verdict = world.gateway.json("policy", "test", "--tunnel", "sstp", "--user", "dave", "--certificate", OURS)
    check(not verdict["granted"] and "was shown" in verdict["tried"][-1]["reason"], f"{verdict}")


@case("tenants_apart")
def each_of_three_sees_the_own_certificate(world):
    """Where they come from decides, over both tunnels, though two of them ask for the same name and trust the same authority."""
    theirs = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, authority="other-ca", server_name=TENANT_NAME, user="dave")
    for profile, role, certificate in ((Profile(), "client", OURS), (theirs, "client2", OTHERS)):
        world.login(profile, role=role, ping=False)
        _up(world, profile.user, certificate, profile.user)
    world.client().forget()
    third = Profile(server=network.GATEWAY_IPV6, user="bob")
    world.login(third, ping=False)
    _up(world, "bob", THIRD, "bob")
    # Calls go past the tunnel.
    world.client().forget()
    ours = Sstp(world.lab, world.gateway.binary).call()
    check(ours.get("event") == "up", f"alice does not come in: {ours}")
    _tells(world, world.attempts()[0], OURS, "alice")
    own = Sstp(world.lab, world.gateway.binary, "client", server=network.GATEWAY_IPV6).call(user="bob")
    check(own.get("event") == "up", f"bob does not come in: {own}")
    _tells(world, world.attempts()[0], THIRD, "bob")
    crossed = '"alice": user wanted "alice", got "bob"'
    world.refused(Profile(user="bob"), notify="AUTH_FAILED", stage="policy", cause=crossed)


@case("tenants_apart")
def a_policy_more_leaves_it_to_luck(world):
    """One that names no certificate lets in whom the alphabet has shown something: `check` refuses that."""
    config = world.gateway.default_config()
    tenants_apart(config)
    config["policy"].append({"name": "all", "pool": "users", "group": ["staff"]})
    file = world.gateway.folder / "luck.toml"
    file.write_text(toml.dumps(config))
    done = run([world.gateway.binary, "check", "--json", "--config", file], check=False)
    error = json.loads(done.stdout)["error"]
    check(done.returncode == 1 and "nothing decides between" in error and "or let the policies decide" in error, f"{done.returncode} {error}")
    verdict = world.gateway.command("policy", "test", "--user", "dave", "--certificate", "tennant", check=False)
    check(verdict.returncode == 1 and 'did you mean "tenant"?' in verdict.stderr, f"{verdict}")


for group in ("tenants", "tenants_reversed"):
    case(group, "each_comes_in_by_the_own_certificate_over_ikev2")(_ikev2)
    case(group, "each_comes_in_by_the_own_name_over_sstp")(_sstp)
case("tenants", "the_commands_tell_who_sees_what")(_shown)
