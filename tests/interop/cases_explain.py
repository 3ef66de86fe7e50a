"""What `evergate explain` tells an administrator of real logins that failed."""

import re
import shlex

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from sstp_client import Sstp


def explained(world, what):
    return world.gateway.json("explain", what)


@case("explain")
def the_story_of_a_wrong_password(world):
    """By id, by user, by address and as the last one: the same attempt, with its cause, its numbers and what to type."""
    attempt = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    address = attempt["client"].rsplit(":", 1)[0]
    for what in (attempt["id"], "alice", "ALICE", "alice@example.test", "EXAMPLE\\alice", address, "last"):
        story = explained(world, what)
        check(story["attempt"]["id"] == attempt["id"], f"{what}: another attempt, {story['attempt']['id']}")
        told = "\n".join(story["told"])
        check("Windows shows error 691 or 812 to its user" in told and "failed in stage radius" in told, told)
        check({"691", "812"} <= {number for row in story["cases"] for number in row["numbers"]}, f"{story['cases']}")
    world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    told = "\n".join(explained(world, "last")["told"])
    check("more time" in told, f"the second try is not joined with the first: {told}")
    world.login()
    told = "\n".join(explained(world, "alice")["told"])
    check("failed" in told, "of a user the newest failed attempt is told")


@case("explain")
def a_user_is_followed_over_addresses_and_tunnels(world):
    """At home over SSTP, then elsewhere over IKEv2 in another form of the same name; whoever else is there does not count."""
    before = {attempt["id"] for attempt in world.attempts()}
    call = {"server": network.GATEWAY_IPV4_BEHIND_NAT, "auth": "mschapv2"}
    for user, password in (("alice", "wrong"), ("bob", "wrong")):
        found = Sstp(world.lab, world.gateway.binary, "client2", server=call["server"]).call(auth="mschapv2", user=user, password=password)
        check(found.get("event") == "error", f"a wrong password came in: {found}")
    first = next(attempt for attempt in world.attempts() if attempt["user"] == "alice" and attempt["id"] not in before)
    attempt = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    told = "\n".join(explained(world, attempt["id"])["told"])
    there = first["client"].rpartition(":")[0]
    check(f"alice failed over SSTP from {there} (attempt {first['id']})" in told, f"the other address is not named: {told}")
    check("bob" not in told, f"another user's attempt is told: {told}")
    told = "\n".join(explained(world, first["id"])["told"])
    check(f"(attempt {attempt['id']})" in told, f"the later one is not named: {told}")


@case("explain")
def numbers_need_no_gateway(world):
    for number, word in (("809", "firewall"), ("-2146885613", "revocation"), ("0x80092013", "revocation"), ("13868", "cipher"), ("0x800B010A", "intermediate")):
        check(any(word in row["title"] + row["cause"] for row in world.gateway.json("explain", number)["cases"]), number)
    shown = world.gateway.command("explain", "RasSstp", "event", "4").stdout
    check("answered with another status than 200" in shown, shown)
    shown = world.gateway.command("explain", "13868").stdout
    check("Where-Object ServerAddress -in $gateway" in shown and f"$gateway = '{GATEWAY_NAME}'" in shown, f"the gateway is not named: {shown}")


@setup("prepared")
def _prepared(config):
    """One address, and a group that RADIUS names."""
    config["pool"] = [{"name": "users", "ipv4": ["10.98.0.10-10.98.0.10"]}]
    config["policy"] = [{"name": "staff", "any": [{"class": ["staff"]}, {"filter_id": ["staff"]}], "pool": "users"}]


def _last(world):
    """What an administrator reads after `evergate explain last`: its words in one line, and the lines to type as they stand."""
    shown = world.gateway.command("explain", "last").stdout
    typed = [line.strip() for line in shown.split("What else may be behind")[0].splitlines()]
    return " ".join(shown.split()), typed


def _told(world, words, line):
    """The cause and the remedy in these words, and this line to type, whole."""
    said, typed = _last(world)
    missing = [part for part in words if part not in said]
    check(not missing, f"explain does not say {missing}: {said}")
    check(any(re.fullmatch(line, found) for found in typed), f"no line like {line!r}: {typed}")


@case("prepared")
def an_expired_certificate(world):
    world.refused(Profile(method="certificate", certificate="machine-expired"), notify="AUTH_FAILED", stage="ike_auth", cause=".")
    words = ("client certificate CN=pc9.example.test", "expired at 20", "13801", "give the client a valid certificate")
    _told(world, words, r"Get-ChildItem Cert:\\LocalMachine\\My .*")


@case("prepared")
def ciphers_that_do_not_meet(world):
    """What an unmanaged Windows profile offers."""
    world.refused(Profile(ike=("aes128-sha1-modp1024",)), notify="NO_PROP", stage="sa_init", cause=".")
    words = ("no common proposal; offered [AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024]", "differs in DH: MODP_1024 offered", "13868")
    each = r"\$gateway = '.*'; foreach .* Where-Object ServerAddress -in \$gateway .*"
    _told(world, words, each + r"Set-VpnConnectionIPsecConfiguration -ConnectionName \$_\.Name .* -PassThru -Force } }")


@case("prepared")
def a_user_who_is_not_in_the_group(world):
    world.refused(Profile(user="dave"), notify="AUTH_FAILED", stage="policy", cause=".")
    words = ('none of 1 network policies matches (default deny, reason 48): "staff": any: class wanted "staff", got "guest"', "812", "[[policy]]")
    again = r"evergate policy test --user dave --tunnel ikev2 .* --attribute Class=guest.*"
    _told(world, words, again)
    line = next(line for line in _last(world)[1] if re.fullmatch(again, line))
    answer = world.gateway.command(*shlex.split(line)[1:], check=False)
    check("no policy matches (reason 48)" in answer.stdout and 'class wanted "staff", got "guest"' in answer.stdout, f"the line does not ask the same again: {answer}")


@case("prepared")
def a_pool_without_a_free_address(world):
    """Over either tunnel."""
    with Sstp(world.lab, world.gateway.binary).held("--no-configure"):
        other = {"server": network.GATEWAY_IPV4_BEHIND_NAT, "user": "member"}
        words = ('pool "users" is exhausted', "1 of 1", "enlarge the pool, or end stale sessions")
        world.refused(Profile(**other), role="client2", notify="INT_ADDR_FAIL", stage="address", cause=".")
        _told(world, (*words, "13899"), r"evergate sessions disconnect \d+")
        before = {attempt["id"] for attempt in world.attempts()}
        found = Sstp(world.lab, world.gateway.binary, "client2", server=other["server"]).call(user="member")
        check(found.get("event") == "error", f"a second one came in: {found}")
        world.record(before, "address", ".")
        _told(world, (*words, "720 or 738"), r"evergate sessions disconnect \d+")


@case("radius_secret")
def another_secret_than_the_radius_server_has(world):
    world.refused(Profile(seconds=40), notify="AUTH_FAILED", stage="radius", cause=".")
    words = ("radius freeradius: no valid reply after 2 tries", "is this gateway a RADIUS client there, with the same secret?", "shares its secret")
    _told(world, words, rf"New-NpsRadiusClient -Name '{GATEWAY_NAME}' -Address .* -SharedSecret \(Read-Host '.*freeradius'\) .*")
    _told(world, words, "evergate doctor")
