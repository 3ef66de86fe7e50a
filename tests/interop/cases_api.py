"""The Admin API, asked by an HTTP client of another make."""

import http.client
import json
import queue
import socket
import threading

from harness import case, check


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
    for path in ("/v1/status", "/v1/certificates", "/v1/pools", "/v1/radius", "/v1/attempts", "/v1/sessions"):
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
