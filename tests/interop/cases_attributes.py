"""What stands in RADIUS requests and answers: attributes of the administrator's own, limits, filters, and what is ignored."""

from harness import case, check, setup
from labkit import network
from labkit.client import Profile

SINGLE = Profile(user="single")
ELSEWHERE = Profile(user="single", server=network.GATEWAY_IPV4_BEHIND_NAT)


@setup("attributes")
def attributes(config):
    config["listener"][0]["tunnel_type"] = 0x013702
    config["radius"] = [server | {"attributes": ["NAS-Port-Id = lab", "Connect-Info = fast"]} for server in config["radius"]]


@case("attributes")
def requests_say_what_the_administrator_adds(world):
    world.login()
    start = world.accounting(world.session_of("alice")["attempt"], "Start")
    wanted = {"NAS-Port-Id": "lab", "Connect-Info": "fast"}
    check(wanted.items() <= start.items(), f"the Start says {start}")
    check("79618" in start.get("Tunnel-Type:0", start.get("Tunnel-Type", "")), f"the Start says {start}")


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
