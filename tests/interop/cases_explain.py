"""What `evergate explain` tells an administrator of real logins that failed."""

import re
import shlex

from harness import case, check, setup
from ikev2_client import device
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
    up = world.attempts()[0]["id"]
    told = "\n".join(explained(world, "alice")["told"])
    check("failed" in told, "of a user the newest failed attempt is told")
    check(f"has connected since, at 20" in told and f"evergate explain {up}" in told, f"that it works now is not told: {told}")
    told = "\n".join(explained(world, up)["told"])
    check("From the client came " in told and "nothing goes back" not in told, told)
    done = world.gateway.command("explain", "nobody", check=False)
    check(done.returncode == 1 and "no attempt" in done.stderr and "evergate explain last" in done.stderr and "never" not in done.stderr, done.stderr)


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


def _last(world, *options):
    """What an administrator reads after `evergate explain last`: its words in one line, and the lines to type as they stand."""
    shown = world.gateway.command("explain", "last", *options).stdout
    typed = [line.strip() for line in shown.split("What else may be behind")[0].splitlines()]
    return " ".join(shown.split()), typed


def _told(world, words, line, *options):
    """The cause and the remedy in these words, and this line to type, whole; without options the first one there is."""
    said, typed = _last(world, *options)
    check(options or f"The rest of it: evergate explain {world.attempts()[0]['id']} --more" == typed[-1], f"how to get the rest is not said: {typed}")
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
    check("weak: SHA-1, 1024-bit group" in _last(world)[0], "what the other way costs is not said")
    _told(world, words, r"compat = \"windows-default\"", "--more")
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
    check("RADIUS sent: Class=guest" in _last(world)[0], "what RADIUS sent is not told")
    shown = world.gateway.command("attempts", "show", "last").stdout
    check("RADIUS sent" in shown and "Class=guest" in shown, shown)
    check("no policy matches (reason 48)" in answer.stdout and 'class wanted "staff", got "guest"' in answer.stdout, f"the line does not ask the same again: {answer}")


@case("prepared")
def a_pool_without_a_free_address(world):
    """Over either tunnel."""
    with Sstp(world.lab, world.gateway.binary).held("--no-configure"):
        other = {"server": network.GATEWAY_IPV4_BEHIND_NAT, "user": "member"}
        words = ('pool "users" is exhausted', "1 of 1", "enlarge the pool, or end stale sessions")
        world.refused(Profile(**other), role="client2", notify="INT_ADDR_FAIL", stage="address", cause=".")
        _told(world, (*words, "13899"), "evergate status")
        _told(world, (*words, "13899"), r"evergate sessions disconnect \d+", "--more")
        before = {attempt["id"] for attempt in world.attempts()}
        found = Sstp(world.lab, world.gateway.binary, "client2", server=other["server"]).call(user="member")
        check(found.get("event") == "error", f"a second one came in: {found}")
        world.record(before, "address", ".")
        _told(world, (*words, "720 or 738"), r"evergate sessions disconnect \d+", "--more")


@case("radius_secret")
def another_secret_than_the_radius_server_has(world):
    attempt = world.refused(Profile(seconds=40), notify="AUTH_FAILED", stage="radius", cause=".")
    story = world.explained(attempt, "^radius freeradius: no valid reply after 2 tries")
    titles = [row["title"] for row in story["cases"]]
    check(story["attempt"]["windows_code"] == "809 or 691" and "no answer comes from RADIUS" in titles, f"{titles}")
    check(any("809 where the client has given up before" in line for line in story["told"]), f"{story['told']}")
    words = ("radius freeradius: no valid reply after 2 tries", "is this gateway a RADIUS client there, with the same secret?", "shares its secret")
    _told(world, words, "evergate doctor")
    _told(world, words, rf"New-NpsRadiusClient -Name '{GATEWAY_NAME}' -Address .* -SharedSecret \(Read-Host '.*freeradius'\) .*", "--more")


# UDP 4500 goes where nobody listens: what a balancer does that knows the source of one port only.
SPLIT = """
table inet split {
  chain arriving {
    type nat hook prerouting priority -100; policy accept;
    udp dport 4500 redirect to :4501
  }
}
"""


@case("numbers")
def a_balancer_that_sends_the_two_ports_apart(world):
    """The first gateway says what the second would; and here the rule is on its own host, which it reads."""
    before = {attempt["id"] for attempt in world.attempts()}
    gateway = world.lab.network
    gateway.exec("gateway", ["nft", "-f", "-"], input=SPLIT)
    try:
        with device(world) as pc:
            pc.tunnel("user", "windows-aovpn").step("init")
            pc.vanish()
        world.record(before, ("sa_init", "ike_auth"), "silent")
        shown = gateway.exec("gateway", [world.gateway.binary, "explain", "last", "--config", world.gateway.config_file]).stdout
    finally:
        gateway.exec("gateway", ["nft", "delete", "table", "inet", "split"])
    said = " ".join(shown.split())
    check("Windows shows error 809" in said and "balancer" in said and "# on the gateway" in said and "evergate doctor" in said, shown)
    check("udp/4500 over IPv4 is sent elsewhere in chain inet split arriving" in said, f"the rule of this host is not found: {shown}")


@case("explain")
def packets_that_get_no_answer(world):
    """Without forwarding a client is connected, and nothing comes back."""
    network_of = world.lab.network
    network_of.exec("gateway", ["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    try:
        world.login(ping=False)
        check(not network_of.ping("client", network.LAN_IPV4), "an answer came")
        up = world.attempts()[0]["id"]
        story = explained(world, up)
        check("Packets come, nothing goes back: run `evergate doctor`" in " ".join(story["told"]), f"{story['told']}")
        check(story["commands"][-1]["lines"] == ["evergate doctor"], f"{story['commands']}")
        session = world.gateway.command("sessions", "show", str(world.sessions()[0]["id"])).stdout
        check("nothing goes back: run `evergate doctor`" in session, session)
    finally:
        network_of.exec("gateway", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
