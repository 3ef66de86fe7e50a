"""The Admin API, asked by an HTTP client of another make."""

import contextlib
import hashlib
import http.client
import json
import queue
import re
import socket
import threading
import time
import tomllib
from pathlib import Path

from harness import case, check, setup
from labkit import packages, toml
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import run, wait_until

ROOT = Path(__file__).resolve().parents[2]
PARSER = {"/usr/lib/python3/dist-packages/prometheus_client/__init__.py": "python3-prometheus-client"}
CURL = {"/usr/bin/curl": "curl"}
PROMTOOL = {"/usr/bin/promtool": "prometheus"}
DEVICE = Profile(method="certificate", certificate="machine-rsa")
# Series that are there only once something has happened.
SOMETIMES = {"evergate_sessions_ended_total", "evergate_logins_total", "evergate_radius_eap_certificate_expiry_timestamp_seconds"}
# Where there is an NPS log.
SOMETIMES |= {"evergate_nps_log_failing", "evergate_nps_log_lost_lines_total"}
# Where revocation is checked.
SOMETIMES |= {"evergate_crl_present", "evergate_crl_issued_timestamp_seconds", "evergate_crl_next_update_timestamp_seconds"}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path):
        super().__init__("gateway", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(world, method, path, body=None):
    """The status, and what the body holds."""
    connection = UnixConnection(world.gateway.control_socket)
    headers = {} if body is None else {"Content-Type": "application/json"}
    # Who is refused for the head alone may find nobody to take the body; the answer is there.
    with contextlib.suppress(BrokenPipeError):
        connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def good(world, method, path, body=None):
    status, answer = ask(world, method, path, body)
    check(status == 200, f"{method} {path}: {status} {answer}")
    return answer


class Listener:
    """Hears server-sent events, in a thread."""

    def __init__(self, world):
        self.heard = queue.Queue()
        self.connection = UnixConnection(world.gateway.control_socket)
        self.connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        self.answer = self.connection.getresponse()
        check(self.answer.headers["content-type"] == "text/event-stream", f"{self.answer.headers}")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.answer:
            if line.startswith(b"data: "):
                self.heard.put(json.loads(line[6:]))

    def wait(self, event):
        """The next one of this kind."""
        while True:
            heard = self.heard.get(timeout=8)
            if heard["event"] == event:
                return heard


@case("api")
def sessions_are_listed_told_and_ended(world):
    listener = Listener(world)
    listener.wait("counters")
    client = world.login()
    up = listener.wait("session_up")["session"]
    for query in ("", "?user=ALICE", "?search=98.0", "?search=Everyone&limit=1", f"?after={up['id'] - 1}"):
        page = good(world, "GET", f"/v1/sessions{query}")
        check([one["id"] for one in page["sessions"]] == [up["id"]] and page["total"] == 1, f"{query}: {page}")
    for query in ("?user=bob", "?search=nobody", f"?after={up['id']}"):
        check(good(world, "GET", f"/v1/sessions{query}")["sessions"] == [], query)
    check(good(world, "GET", f"/v1/sessions/{up['id']}")["user"] == "alice", "another session")
    check(good(world, "GET", f"/v1/attempts/{up['attempt']}")["outcome"] == "up", "another attempt")
    check("alice" in " ".join(good(world, "GET", "/v1/explain?what=alice")["told"]), "nothing is told")
    ended = good(world, "POST", "/v1/sessions/disconnect", {"id": up["id"]})
    check(ended == {"ids": [up["id"]]}, f"{ended}")
    check(listener.wait("session_down")["octets_in"] > 0, "no octets")
    check(listener.wait("attempt")["attempt"]["outcome"] == "ended", "it has not ended")
    world.no_sessions()
    del client


@case("api")
def health_drain_and_errors(world):
    check(good(world, "GET", "/healthz")["ok"], "not alive")
    world.login(ping=False)
    check(good(world, "GET", "/readyz") == {"ok": True, "reasons": []}, "not ready")
    check(good(world, "GET", "/v1/radius")["radius"][0]["standing"] == "alive", "RADIUS")
    check(good(world, "GET", "/v1/pools")["pools"][0]["used"] == 1, "pools")
    check(good(world, "POST", "/v1/drain", {"within_secs": 600})["left"] == 1, "drain")
    status, health = ask(world, "GET", "/readyz")
    check(status == 503 and "emptied" in health["reasons"][0], f"{status} {health}")
    good(world, "DELETE", "/v1/drain")
    for expected, method, path, body in (
        (409, "DELETE", "/v1/drain", None),
        (404, "GET", "/v1/sessions/4711", None),
        (404, "GET", "/v2/sessions", None),
        (405, "POST", "/v1/status", {}),
        (400, "POST", "/v1/drain", {"within": 5}),
        (400, "GET", "/v1/sessions?color=red", None),
    ):
        status, problem = ask(world, method, path, body)
        check(status == expected and problem["error"] and problem["remedy"], f"{method} {path}: {status} {problem}")


@case("api")
def the_document_describes_what_is_sent(world):
    document = good(world, "GET", "/openapi.json")
    check(document["openapi"] == "3.1.0", document["openapi"])
    for path in ("/v1/status", "/v1/certificates", "/v1/pools", "/v1/radius", "/v1/attempts", "/v1/sessions", "/v1/history", "/v1/configuration", "/v1/doctor", "/v1/caller"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        fits(document, schema, good(world, "GET", path), path)


def fits(document, schema, value, where):
    """Every field that is sent is described, every one that is promised is sent; types fit."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if (one.get("type") == "null") == (value is None))
        return fits(document, schema, value, where)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        missing = set(schema.get("required", [])) - set(value)
        check(not missing, f"{where}: {missing} is not sent")
        for name, field in value.items():
            check(name in known or others, f"{where}: {name} is not described")
            fits(document, known.get(name, others), field, f"{where}.{name}")
    elif isinstance(value, list):
        for one in value:
            fits(document, schema["items"], one, f"{where}[]")
    else:
        kinds = {str: "string", bool: "boolean", int: "integer", type(None): "null"}
        allowed = schema.get("type", "string")
        check(kinds[type(value)] in ([allowed] if isinstance(allowed, str) else allowed), f"{where}: {value!r} is no {allowed}")


@setup("metrics")
def with_a_metrics_listener(config):
    config["metrics"] = {"listen": ["127.0.0.1:9464"]}
    config["nps_log"] = {"folder": config["server"]["state_dir"]}
    # Where nobody listens.
    config["telemetry"] = {"otlp": "http://127.0.0.1:9"}


@case("metrics")
def an_independent_parser_takes_them(world):
    packages.ensure(PARSER)
    before = scrape(world)
    check(before["evergate_radius_up", "freeradius"] == 1 and ("evergate_sessions_max",) in before, f"{sorted(before)}")
    wrong = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    client = world.login()
    time.sleep(1.1)
    after = scrape(world)
    grown = lambda *series: after.get(series, 0) - before.get(series, 0)
    check(grown("evergate_sessions", "ikev2") == 1, "no session")
    check(grown("evergate_logins_total", "", "established", "up", "ikev2") == 1, "no login")
    check(grown("evergate_logins_total", "refused", "failed", "radius", "ikev2") == 1, f"no failed login: {wrong}")
    check(grown("evergate_tunnel_bytes_total", "in") > 0 and grown("evergate_tunnel_packets_total", "out") > 0, "no traffic")
    check(grown("evergate_radius_response_seconds_count", "freeradius") >= 2, "no latency")
    check(grown("evergate_pool_used_addresses", "ipv4", "users") == 1, "no lease")
    check(after["evergate_certificate_expiry_timestamp_seconds", "gateway-rsa"] > time.time(), "no certificate")
    check(after[("process_resident_memory_bytes",)] > 1 << 20 and after[("process_open_fds",)] > 5, "no process")
    users = [series for series in after if "alice" in " ".join(series)]
    check(not users, f"users are labels: {users}")
    del client


# For Debian's Python, which knows Debian's packages.
SCRAPER = """
import json, urllib.request
from prometheus_client.openmetrics.parser import text_string_to_metric_families
answer = urllib.request.urlopen("http://127.0.0.1:9464/metrics")
families = list(text_string_to_metric_families(answer.read().decode()))
assert all(family.documentation for family in families)
samples = [[sample.name, sample.labels, sample.value] for family in families for sample in family.samples]
print(json.dumps([answer.headers["content-type"], samples]))
"""


def scrape(world):
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    kind, found = json.loads(world.lab.network.exec("gateway", ["/usr/bin/python3", "-c", SCRAPER]).stdout)
    check(kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind)
    return {(name, *(value for _, value in sorted(labels.items()))): number for name, labels, number in found}


@case("metrics")
def rules_and_dashboard_ask_for_metrics_that_there_are(world):
    """Their queries name series of this gateway; promtool takes the rules and finds that they fire as they should."""
    packages.ensure(PROMTOOL)
    world.login(ping=False)
    connection = UnixConnection(world.gateway.control_socket)
    connection.request("GET", "/metrics")
    known = {line.split("{")[0].split(" ")[0] for line in connection.getresponse().read().decode().splitlines() if not line.startswith("#")}
    folder = ROOT / "deploy"
    dashboard = json.loads((folder / "grafana/dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    check(len(queries) > 10, "a dashboard without queries")
    rules = (folder / "prometheus/alerts.yaml").read_text()
    for query in [*queries, rules]:
        asked = set(re.findall(r"\b(?:evergate|process)_[a-z_]+", query))
        check(asked <= known | SOMETIMES, f"{asked - known - SOMETIMES} are no metrics of the gateway: {query}")
    untested = set(re.findall(r"alert: (\w+)", rules)) - set(re.findall(r"alertname: (\w+)", (folder / "prometheus/alerts_test.yaml").read_text()))
    check(not untested, f"no test of {untested}")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = run(["promtool", *command], cwd=folder / "prometheus", check=False)
        check(done.returncode == 0, f"promtool {command}: {done.stdout} {done.stderr}")


@case("api")
def who_is_blocked_stays_out(world):
    """Before RADIUS is asked, over a restart, until it is taken back; the attempt says why."""
    sent = lambda: world.gateway.json("status")["radius"][0]["counters"]["sent"]
    client = world.login(ping=False)
    session = world.session_of("alice")
    done = world.gateway.json("sessions", "disconnect", str(session["id"]), "--hold", "15m", "--reason", "lost laptop")
    check(done["blocks"][0]["who"] == {"user": "alice"}, f"{done}")
    world.no_sessions()
    client.forget()
    before = sent()
    attempt = world.refused(Profile(), notify="AUTH_FAILED", stage="policy", cause="blocked by the operator.*lost laptop")
    check(sent() == before, "RADIUS was asked about somebody who is blocked")
    told = world.gateway.json("explain", attempt["id"])
    check("block list" in " ".join(told["told"]) and "evergate block remove 1" in told["attempt"]["fix"], f"{told}")
    world.gateway.stop()
    world.gateway.restart()
    world.refused(Profile(), notify=None, stage="policy", cause="lost laptop")
    world.gateway.command("block", "remove", "1")
    world.login(ping=False)
    world.client().disconnect()
    world.no_sessions()


@case("api")
def addresses_and_certificates_are_blocked(world):
    client = world.login(DEVICE, ping=False)
    session = world.sessions()[0]
    address = session["client"].rsplit(":", 1)[0]
    block = good(world, "POST", "/v1/blocks", {"who": {"address": f"{address}/32"}, "for_secs": 600, "disconnect": True})
    world.no_sessions()
    client.forget()
    world.refused(DEVICE, notify=None, stage="policy", cause="blocked by the operator .*address")
    good(world, "DELETE", f"/v1/blocks/{block['id']}")
    fingerprint = run(["openssl", "x509", "-in", world.lab.pki.cert("machine-rsa"), "-noout", "-fingerprint", "-sha256"]).stdout.strip().split("=")[1]
    serial = run(["openssl", "x509", "-in", world.lab.pki.cert("machine-rsa"), "-noout", "-serial"]).stdout.strip().split("=")[1]
    for number in (fingerprint, serial):
        block = world.gateway.json("block", "add", "--certificate", number)
        check(block in good(world, "GET", "/v1/blocks")["blocks"], f"{block} is not on the list")
        world.refused(DEVICE, notify=None, stage="policy", cause="blocked by the operator .*certificate")
        world.gateway.command("block", "remove", str(block["id"]))
    world.login(DEVICE, ping=False)
    world.client().disconnect()
    world.no_sessions()


TOKENS = {"read": "0123456789abcdef", "operate": "fedcba9876543210"}


@setup("api_tls")
def with_tls(config):
    """A token for each role, and certificates of machines, one of which may operate."""
    folder = Path(config["server"]["control_socket"]).parent
    lines = [f"{role} {role}er {hashlib.sha256(token.encode()).hexdigest()}" for role, token in TOKENS.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api.tokens").write_text("\n".join(lines) + "\n")
    (folder / "api.tokens").chmod(0o600)
    certificate = config["certificate"][0]
    config["api"] = {
        "listen": ["127.0.0.1:8443"],
        "chain": certificate["chain"],
        "key": certificate["key"],
        "tokens_file": str(folder / "api.tokens"),
        "client_ca": config["listener"][0]["client_ca"],
        "operators": ["pc1.example.test"],
        "revocation": "hard",
        "crl": [str(Path(certificate["chain"]).parent / "ca.crl")],
    }


def _curl(world):
    return ["curl", "-s", "--cacert", world.lab.pki.cert("ca"), "--resolve", f"{GATEWAY_NAME}:8443:127.0.0.1"]


def curl(world, path, *options):
    """The status with which an HTTPS client of another make is answered; 0: there was no answer."""
    argv = [*_curl(world), "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", *options, f"https://{GATEWAY_NAME}:8443{path}"]
    return int(world.lab.network.exec("gateway", argv, check=False).stdout)


@case("api_tls")
def over_tls_only_who_proves_itself_is_served(world):
    packages.ensure(CURL)
    bearer = lambda token: ("-H", f"Authorization: Bearer {token}")
    shown = lambda name: ("--cert", world.lab.pki.cert(name), "--key", world.lab.pki.key(name))
    order = ("-H", "Content-Type: application/json", "-d", '{"who": {"user": "mallory"}}')

    def counted():
        metrics = world.lab.network.exec("gateway", [*_curl(world), *bearer(TOKENS["read"]), f"https://{GATEWAY_NAME}:8443/metrics"]).stdout
        return {reason: int(count) for reason, count in re.findall(r'evergate_api_refused_total\{reason="(\w+)"\} (\d+)', metrics)}

    # Metrics may be a second old, also those of an earlier case.
    time.sleep(1.1)
    before = counted()
    grown = lambda: {reason: count - before[reason] for reason, count in counted().items()}  # noqa: E731
    try:
        _ask_as_everybody(world, bearer, shown, order)
        log = (world.gateway.folder / "gateway.log").read_text()
        check("token operateer" in log and "certificate CN=" in log, "orders are not in the log")
        check(not any(token in log for token in TOKENS.values()), "a token is in the log")
        check("a caller is turned away" in log and "from=127.0.0.1" in log, "nobody says who was turned away")
        expected = {"unknown": 4, "forbidden": 2, "tls": 3, "full": 0, "revoked": 0}
        check(wait_until(lambda: grown() == expected, 5), f"{grown()}")
    finally:
        for block in world.gateway.json("block", "list")["blocks"]:
            world.gateway.command("block", "remove", str(block["id"]))
    check(not world.gateway.json("block", "list")["blocks"], "somebody stays blocked")


def _ask_as_everybody(world, bearer, shown, order):
    for expected, path, *options in (
        (200, "/healthz"),
        (200, "/readyz"),
        (401, "/v1/status"),
        (401, "/metrics"),
        (401, "/v1/status", *bearer("wrong")),
        (200, "/v1/status", *bearer(TOKENS["read"])),
        (200, "/metrics", *bearer(TOKENS["read"])),
        (403, "/v1/blocks", *bearer(TOKENS["read"]), *order),
        (200, "/v1/blocks", *bearer(TOKENS["operate"]), *order),
        (401, "/v1/blocks", *order),
        (200, "/v1/status", *shown("machine-ecdsa")),
        (403, "/v1/blocks", *shown("machine-ecdsa"), *order),
        (200, "/v1/blocks", *shown("machine-rsa"), *order),
        (0, "/v1/status", *shown("gateway-rsa")),
        (0, "/v1/status", *shown("machine-revoked")),
    ):
        found = curl(world, path, *options)
        check(found == expected, f"{path} {options}: {found}, not {expected}")
    plain = world.lab.network.exec("gateway", ["curl", "-s", "--max-time", "5", "http://127.0.0.1:8443/healthz"], check=False)
    check(plain.returncode != 0, "an answer without TLS")


@case("api_tls")
def tokens_are_taken_by_a_reload(world):
    tokens = world.gateway.folder / "api.tokens"
    before = tokens.read_text()
    made = json.loads(world.gateway.command("token", "fresh", "--json").stdout)
    ended = queue.Queue()

    def listen():
        """Hears events by the old token; says with what error curl ends."""
        argv = [*_curl(world), "-N", "--max-time", "8", "-H", f"Authorization: Bearer {TOKENS['read']}", f"https://{GATEWAY_NAME}:8443/v1/events"]
        ended.put(world.lab.network.exec("gateway", argv, check=False))

    threading.Thread(target=listen, daemon=True).start()
    time.sleep(1)
    check(ended.empty(), "nobody may listen")
    try:
        tokens.write_text(made["line"] + "\n")
        world.gateway.command("reload")
        heard = ended.get(timeout=4)
        check("counters" in heard.stdout and heard.returncode not in (0, 28), f"who listens by a token that is gone goes on: {heard}")
        check(curl(world, "/v1/status", "-H", f"Authorization: Bearer {made['token']}") == 200, "the new token does not do")
        check(curl(world, "/v1/status", "-H", f"Authorization: Bearer {TOKENS['read']}") == 401, "the old token still does")
    finally:
        tokens.write_text(before)
        world.gateway.command("reload")


@case("api_tls")
def a_reload_moves_it_to_another_address_and_takes_it_away(world):
    packages.ensure(CURL)
    file = world.gateway.config_file
    before = file.read_text()

    def at(port):
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", world.lab.pki.cert("ca"), "--max-time", "5"]
        argv += ["--resolve", f"{GATEWAY_NAME}:{port}:127.0.0.1", f"https://{GATEWAY_NAME}:{port}/healthz"]
        return int(world.lab.network.exec("gateway", argv, check=False).stdout)

    try:
        check((at(8443), at(8444)) == (200, 0), "it is somewhere else")
        file.write_text(before.replace("127.0.0.1:8443", "127.0.0.1:8444"))
        report = world.gateway.json("reload")
        check([change["section"] for change in report["changes"]] == ["api"] and not report["needs_restart"], f"{report}")
        check((at(8443), at(8444)) == (0, 200), "it has not moved")
        config = tomllib.loads(before)
        del config["api"]
        file.write_text(toml.dumps(config))
        check(not world.gateway.json("reload")["needs_restart"] and at(8444) == 0, "it is still there")
    finally:
        file.write_text(before)
        world.gateway.command("reload")
    check(at(8443) == 200, "it has not come back")


@case("api")
def a_reload_is_foreseen(world):
    """What would change and whom it would refuse; then nothing has changed."""
    world.login(ping=False)
    text = world.gateway.config_file.read_text()
    question = {"user": "alice", "tunnel": "sstp", "attributes": ["Filter-Id=staff"], "time": "fri 18:30"}
    before = good(world, "GET", "/v1/policies")
    check([policy["name"] for policy in before["policies"]] == ["everyone"], f"{before}")
    check(good(world, "POST", "/v1/policies/test", question)["granted"], "the policies refuse alice")
    status, problem = ask(world, "POST", "/v1/policies/test", question | {"tunnel": "carrier pigeon"})
    check(status == 400 and "expected ikev2 or sstp" in problem["error"], f"{status} {problem}")
    try:
        world.gateway.config_file.write_text(text.replace('name = "everyone"', 'name = "nobody"\nuser = ["mallory"]'))
        foreseen = good(world, "GET", "/v1/configuration/changes")
        check({change["section"] for change in foreseen["changes"]} == {'policy "everyone"', 'policy "nobody"'}, f"{foreseen}")
        check([judged["verdict"] for judged in foreseen["judged"]] == ["refused"], f"{foreseen}")
        check("2 changes would take effect" in world.gateway.command("reload", "--dry-run").stdout, "the command says something else")
        world.gateway.config_file.write_text(text + "\n[nonsense]\n")
        status, problem = ask(world, "GET", "/v1/configuration/changes")
        check(status == 409 and "nonsense" in problem["error"], f"{status} {problem}")
    finally:
        world.gateway.config_file.write_text(text)
    check(good(world, "GET", "/v1/policies") == before and world.session_of("alice")["policy"] == "everyone", "something has changed")
