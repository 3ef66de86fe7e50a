"""Traces of logins at a collector, and logins without it."""

from cases_reload import configured
from cases_sstp import client, refused
from harness import case, check, setup
from labkit.client import Profile
from labkit.shell import wait_until
from otlp import PORT, Collector


@setup("telemetry")
def to_this_host(config):
    config["telemetry"] = {"otlp": f"http://127.0.0.1:{PORT}", "service_name": "vpn"}


def _traces(collector, attempts):
    """Traces by the attempts of their roots, in that order."""
    spans = collector.spans()
    roots = {span["attributes"]["evergate.attempt"]: span for span in spans if "parentSpanId" not in span}
    found = [roots[attempt] for attempt in attempts if attempt in roots]
    return [[root] + [span for span in spans if span.get("parentSpanId") == root["spanId"]] for root in found]


@case("telemetry")
def logins_are_traces(world):
    """One login of each tunnel and one refusal: stages, rounds of RADIUS, and no password anywhere."""
    with Collector(world.gateway.folder, world.gateway.namespace).running() as collector:
        attempts = []
        connection = world.login(ping=False)
        attempts.append(world.session_of("alice")["attempt"])
        connection.disconnect()
        with client(world).held(user="bob", auth="mschapv2"):
            attempts.append(world.session_of("bob")["attempt"])
        before = {attempt["id"] for attempt in world.attempts()}
        secret = "not-this-password"
        refused(client(world).call(user="bob", password=secret, auth="mschapv2"), stage="auth", code=691)
        attempts.append(world.record(before, ("auth", "radius"), "bob")["id"])
        check(wait_until(lambda: len(_traces(collector, attempts)) == 3, 10), f"{collector.spans()}")
        ikev2, sstp, failed = _traces(collector, attempts)
        for trace, stages in ((ikev2, {"sa_init", "ike_auth", "eap", "radius", "policy"}), (sstp, {"sstp", "lcp", "auth", "policy"})):
            root, names = trace[0], {span["name"] for span in trace}
            check(stages <= names and "RADIUS Access-Request" in names, f"{names}")
            check(root["attributes"]["evergate.outcome"] == "up" and root["attributes"]["evergate.policy"] == "everyone", f"{root}")
            check("status" not in root and all(span["traceId"] == root["traceId"] for span in trace), f"{trace}")
            times = [(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])) for span in trace]
            check(all(times[0][0] <= begin <= end <= times[0][1] for begin, end in times), f"{times}")
        answers = [span["attributes"]["evergate.answer"] for span in ikev2 if span["name"] == "RADIUS Access-Request"]
        check(answers[-1] == "Access-Accept" and set(answers[:-1]) == {"Access-Challenge"}, f"{answers}")
        check(failed[0]["status"]["code"] == 2 and "bob" in failed[0]["status"]["message"], f"{failed[0]}")
        check(secret not in collector.file.read_text(), "a password left the gateway")
        status = world.gateway.json("status")["telemetry"]
        check(status["dropped"] == 0 and status["exported"] >= 3, f"{status}")


@case("telemetry")
def logins_go_on_without_a_collector(world):
    mark = len(world.gateway.daemon.log_file.read_text())
    world.login(Profile(user="bob"), ping=False).disconnect()
    check(wait_until(lambda: "failure" in world.gateway.json("status")["telemetry"], 10), "no failure is told")
    world.login(ping=False).disconnect()
    told = [line for line in world.gateway.daemon.log_file.read_text()[mark:].splitlines() if "do not reach the collector" in line]
    check(len(told) == 1, f"told {len(told)} times: {told}")


@case("telemetry")
def a_reload_takes_them_to_a_collector_over_tls(world):
    """It is believed by its authority alone, and told a token; what it did not get before comes then."""
    pki, token = world.lab.pki, "Bearer not-for-everybody"
    secured = Collector(world.gateway.folder, world.gateway.namespace, pki.cert("collector"), pki.key("collector"), token)
    with configured(world) as config, secured.running() as collector:
        headers = world.gateway.folder / "otlp.headers"
        headers.write_text(f"authorization: {token}\n")
        headers.chmod(0o600)

        def over_tls(authority):
            more = {"ca": [str(pki.cert(authority))], "headers_file": str(headers)}
            return lambda new: new.update(telemetry={"otlp": f"https://127.0.0.1:{PORT}"} | more)

        report = config.reload(over_tls("other-ca"))
        check([change["section"] for change in report["changes"]] == ["telemetry"] and not report["needs_restart"], f"{report}")
        world.login(ping=False)
        attempt = world.session_of("alice")["attempt"]
        failure = lambda: world.gateway.json("status")["telemetry"].get("failure", "")  # noqa: E731
        check(wait_until(lambda: "certificate" in failure(), 10), f"{failure()!r}")
        config.reload(over_tls("ca"))
        check(wait_until(lambda: _traces(collector, [attempt]), 10), f"{failure()!r}")
        check(wait_until(lambda: not failure(), 5), failure())
        check("not-for-everybody" not in world.gateway.daemon.log_file.read_text(), "the token is in the log")
