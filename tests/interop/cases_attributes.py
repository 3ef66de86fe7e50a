"""What stands in RADIUS requests and answers: attributes of the administrator's own, limits, filters, and what is ignored."""

import re

from harness import LADEN_CLASSES, case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until
from sstp_client import Sstp

SINGLE = Profile(user="single")
ELSEWHERE = Profile(user="single", server=network.GATEWAY_IPV4_BEHIND_NAT)
DNS, DNS6, NBNS = ["10.99.10.61", "10.99.10.62"], "fd99:10::61", ["10.99.10.71", "10.99.10.72"]


@setup("attributes")
def attributes(config):
    config["listener"][0]["tunnel_type"] = 0x013702
    config["radius"] = [server | {"attributes": ["NAS-Port-Id = lab", "Connect-Info = fast"]} for server in config["radius"]]
    config["policy"].insert(0, config["policy"][0] | {"name": "a group of Azure", "group": ["6ad1bd07"], "session_timeout": "2h"})


@case("attributes")
def requests_say_what_the_administrator_adds(world):
    world.login()
    start = world.accounting(world.session_of("alice")["attempt"], "Start")
    wanted = {"NAS-Port-Id": "lab", "Connect-Info": "fast"}
    check(wanted.items() <= start.items(), f"the Start says {start}")
    check("79618" in start.get("Tunnel-Type:0", start.get("Tunnel-Type", "")), f"the Start says {start}")


@case("attributes")
def a_reply_with_many_attributes(world):
    """What each of them does, to client, policies, session and accounting."""
    client = world.login(Profile(user="laden", addresses=("0.0.0.0", "::")))
    check(sorted(client.addresses()) == ["10.98.0.90", "fd98::90"], f"assigned {client.addresses()}")
    check(sorted(client.dns()) == sorted([*DNS, DNS6]), f"name servers {client.dns()}")
    session = world.session_of("laden@example.test")
    check((session["policy"], session["rate_limit_in"]) == ("a group of Azure", 64000000), f"{session}")
    timeline = [line["text"] for line in world.attempt(session["attempt"])["timeline"]]
    check("Reply-Message: Ask the desk" in timeline, f"{timeline}")
    start = world.accounting(session["attempt"], "Start")
    check((start["User-Name"], start["Framed-IP-Address"], start["Framed-IPv6-Address"]) == ("laden@example.test", "10.98.0.90", "fd98::90"), f"{start}")
    check(wait_until(lambda: not world.sessions(), 8), "Idle-Timeout was not kept")
    check(world.accounting(session["attempt"], "Stop")["Acct-Terminate-Cause"] == "Idle-Timeout", "the Stop says otherwise")


@case("attributes")
def name_servers_wins_and_every_class_over_sstp(world):
    with Sstp(world.lab, world.gateway.binary).held(user="laden", auth="mschapv2") as call:
        up = call.up["ipv4"]
        check((up["address"], up["dns"], up["nbns"]) == ("10.98.0.90", DNS, NBNS), f"{up}")
        session = world.session_of("laden@example.test")
    check(world.accounting(session["attempt"], "Stop"), "no Stop")
    blocks = (world.radius.folder / "accounting").read_text().split("\n\n")
    classes = [re.findall(r"^\tClass = (\S+)", block, re.M) for block in blocks if session["attempt"] in block]
    check(classes == [LADEN_CLASSES] * 2, f"{classes}")


@case("attributes")
def who_chooses_the_address(world):
    """255.255.255.255 leaves it to the client, 255.255.255.254 to the gateway (RFC 2865 section 5.8)."""
    for user, has_its_way in (("chooser", True), ("chosen", False)):
        client = world.login(Profile(user=user, addresses=("10.98.0.123",)))
        check((client.addresses() == ["10.98.0.123"]) == has_its_way, f"{user}: assigned {client.addresses()}")
        check(client.disconnect(), "no answer to DELETE")
        world.no_sessions()


@case("attributes")
def the_message_of_a_refusal_is_on_record(world):
    before = {attempt["id"] for attempt in world.attempts()}
    found = Sstp(world.lab, world.gateway.binary).call(user="laden", auth="mschapv2", password="wrong")
    check(found.get("event") == "error", f"{found}")
    world.record(before, "radius", "rejects user .laden.; .*E=691.*message: Ask the desk")


@case("attributes")
def a_filter_that_cannot_be_kept_keeps_the_user_out(world):
    attempt = world.refused(Profile(user="filtered"), notify="AUTH_FAILED", stage="radius", cause="packet filter that cannot be kept.*moon.*ignore_filters")
    check(attempt["user"] == "filtered", f"{attempt}")


@case("attributes")
def port_limit_counts_sessions(world):
    client = world.login(SINGLE)
    world.refused(ELSEWHERE, role="client2", notify="AUTH_FAILED", stage="radius", cause="single.*has 1 sessions already.*Port-Limit")
    world.ping()
    check(client.disconnect(), "no answer to DELETE")
    world.login(ELSEWHERE, role="client2")


@case("attributes")
def what_is_ignored_is_named_once(world):
    world.login(SINGLE)
    server = world.gateway.json("status")["radius"][0]
    check("Framed-Routing" in server["ignored"], f"ignored: {server['ignored']}")
    said = [line for line in world.gateway.daemon.log_file.read_text().splitlines() if "does not act upon" in line and "Framed-Routing" in line]
    check(len(said) == 1, f"{said}")


@setup("unfiltered")
def unfiltered(config):
    config["radius"] = [server | {"ignore_filters": True} for server in config["radius"]]


@case("unfiltered")
def filters_may_be_left_out(world):
    world.login(Profile(user="filtered"))
