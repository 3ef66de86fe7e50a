"""A stand-in for a Kubernetes cluster, as far as `kubectl` and `helm` need one to install the gateway and to run a command in it.

The API server keeps objects that the published schemas accept and refuses all others. One node starts the container of a Deployment as processes of
namespaces of their own, with its files from ConfigMaps, Secrets and volumes: the real program instead of the image.
"""

import base64
import hashlib
import json
import os
import re
import signal
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

VERSION = "1.31"
KINDS = {
    "": {"namespaces": "Namespace", "secrets": "Secret", "configmaps": "ConfigMap", "services": "Service", "pods": "Pod",
         "persistentvolumeclaims": "PersistentVolumeClaim"},
    "apps": {"deployments": "Deployment"},
}
PATH = re.compile(r"^/(?:api|apis/(?P<group>apps))/v1(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$")
# Of WebSockets, RFC 6455.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STDOUT, ERROR = 1, 3
# As the image: the user and group of the gateway, and a root that it does not write to but where volumes are. What the file of the image's program
# has of capabilities is ambient here.
CONTAINER = r"""
set -e
mount --make-rprivate /
mkdir "$PLACE/etc"
cp -a /etc/. "$PLACE/etc/"
mount --bind "$PLACE/etc" /etc
rm -rf /etc/evergate /etc/evergate-tls /etc/evergate-secrets
groupadd --system --non-unique --gid 10443 evergate 2>/dev/null || groupmod --non-unique --gid 10443 evergate
useradd --system --non-unique --uid 10443 --gid 10443 --no-create-home evergate 2>/dev/null || usermod --non-unique --uid 10443 --gid 10443 evergate
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /usr/local/bin
touch /usr/local/bin/evergate
mount --bind "$PROGRAM" /usr/local/bin/evergate
ip link set lo up
for file in "$PLACE"/mounts/*; do
  target=$(cat "$file/.target")
  case $target in /dev/*) continue ;; esac
  mkdir -p "$target"
  mount --bind "$file/content" "$target"
done
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
exec setpriv "$@"
"""


def _fields(data):
    """Number and content of each field of a protobuf message that has nothing but strings, bytes, messages and small numbers."""
    at = 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            length = number()
            yield key >> 3, data[at : at + length]
            at += length


def read(body):
    """The object of a request: YAML, JSON, or what typed clients send of Namespaces and Secrets (k8s.io/api/core/v1/generated.proto)."""
    if not body.startswith(b"k8s\0"):
        return yaml.safe_load(body)
    unknown = dict(_fields(body[4:]))
    version, kind = (dict(_fields(unknown[1]))[field].decode() for field in (1, 2))
    parts = list(_fields(unknown[2]))
    names = {1: "name", 3: "namespace"}
    found = {"apiVersion": version, "kind": kind}
    found["metadata"] = {names[field]: text.decode() for field, text in _fields(dict(parts)[1]) if field in names and text}
    if kind == "Secret":
        entries = [dict(_fields(part)) for field, part in parts if field == 2]
        found["data"] = {entry[1].decode(): base64.b64encode(entry[2]).decode() for entry in entries}
        found["type"] = dict(parts)[3].decode()
    return found


def _rights(context, group):
    """What setpriv makes of a container's securityContext."""
    user, own = context["runAsUser"], context.get("runAsGroup", 0)
    added = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
    more = [f"--inh-caps=-all,{added}", f"--ambient-caps=-all,{added}"] if user else []
    return [f"--reuid={user}", f"--regid={own}", f"--groups={group}", f"--bounding-set=-all,{added}", *more, "--no-new-privs"]


class Refused(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = code, reason


class Node:
    """Runs the containers of pods."""

    def __init__(self, folder, program):
        self.folder, self.program, self.running = folder, program, {}

    def start(self, objects, namespace, pod):
        place = self.folder / pod["metadata"]["name"]
        (place / "mounts").mkdir(parents=True)
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            self._mount(place / "mounts" / mount["name"], mount["mountPath"], volumes[mount["name"]], objects, namespace)
        env = {"PLACE": str(place), "PROGRAM": str(self.program), "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1"}
        rights = _rights(container["securityContext"], pod["spec"]["securityContext"]["fsGroup"])
        argv = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", CONTAINER, "sh", *rights]
        argv += ["evergate", "run"]
        with open(place / "log", "wb") as log:
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running[pod["metadata"]["name"]] = (process, place, env, rights)

    def _mount(self, place, target, volume, objects, namespace):
        content = place / "content"
        content.mkdir(parents=True)
        (place / ".target").write_text(target)
        if "configMap" in volume or "secret" in volume:
            kind, name = ("configmaps", volume["configMap"]["name"]) if "configMap" in volume else ("secrets", volume["secret"]["secretName"])
            found = objects[(kind, namespace, name)]
            data = {key: text.encode() for key, text in found.get("data", {}).items()}
            if kind == "secrets":
                data = {key: base64.b64decode(text) for key, text in data.items()}
            for key, text in data.items():
                (content / key).write_bytes(text)
                # fsGroup and defaultMode.
                os.chown(content / key, 0, 10443)
                (content / key).chmod(volume.get("secret", {}).get("defaultMode", 0o644))
        elif "persistentVolumeClaim" in volume:
            objects[("persistentvolumeclaims", namespace, volume["persistentVolumeClaim"]["claimName"])]
            os.chown(content, 0, 10443)
            content.chmod(0o2775)
        else:
            os.chown(content, 0, 10443)
            content.chmod(0o2777)

    def execute(self, pod, command):
        """Output and exit code of a command in the container."""
        process, place, env, rights = self.running[pod]
        for _ in range(150):
            if " ready " in (place / "log").read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        if process.poll() is not None:
            return b"the container has ended: " + (place / "log").read_bytes(), 128
        argv = ["nsenter", "-t", str(self._first(process)), "-m", "-n", "-u", "-p", "setpriv", *rights, *command]
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout, done.returncode

    def stop(self):
        """Ends the first process of each container, and so all of it."""
        for process, *_ in self.running.values():
            if process.poll() is None:
                os.kill(self._first(process), signal.SIGKILL)
            process.wait()

    def _first(self, process):
        return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, node):
        super().__init__(("127.0.0.1", 0), Handler)
        self.node, self.objects, self.asked, self.lock = node, {}, [], threading.RLock()

    def put(self, kind, namespace, found):
        """Keeps an object that the schema accepts, and does what a controller would."""
        name = found["metadata"]["name"]
        if kind not in ("namespaces",) and ("namespaces", None, namespace) not in self.objects:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        try:
            kubernetes_validate.validate(found, VERSION, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.VersionNotSupportedError) as error:
            raise Refused(422, "Invalid", f'{found["kind"]} "{name}" is invalid: {error}') from error
        number = str(len(self.asked) + 1)
        found["metadata"] |= {"uid": hashlib.sha256(f"{kind}{namespace}{name}".encode()).hexdigest()[:32], "resourceVersion": number,
                              "creationTimestamp": "2026-01-01T00:00:00Z"}
        if kind != "namespaces":
            found["metadata"]["namespace"] = namespace
        if kind == "secrets":
            for key, text in found.pop("stringData", {}).items():
                found.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
        self.objects[(kind, namespace, name)] = found
        if kind == "deployments":
            self._pod(namespace, found)
        return found

    def _pod(self, namespace, deployment):
        template = deployment["spec"]["template"]
        name = f"{deployment['metadata']['name']}-0"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, **template["metadata"]}, "spec": template["spec"],
               "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        self.objects[("pods", namespace, name)] = pod
        self.node.start(self.objects, namespace, pod)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(f"{self.command} {self.path}")
        try:
            with self.server.lock:
                known = _discovery(url.path)
                if known is None:
                    known = self._objects(url, body)
            if known is not None:
                self._answer(200 if self.command != "POST" else 201, known)
        except Refused as refused:
            self._answer(refused.code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(refused),
                                        "reason": refused.reason, "code": refused.code})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def _answer(self, code, value):
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _objects(self, url, body):
        found = PATH.match(url.path)
        if not found or found["kind"] not in KINDS.get(found["group"] or "", {}):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        kind, namespace, name, objects = found["kind"], found["namespace"], found["name"], self.server.objects
        if found["sub"] == "exec":
            return self._execute(name, parse_qs(url.query)["command"])
        if self.command in ("POST", "PUT") or "apply-patch" in self.headers.get("Content-Type", ""):
            return self.server.put(kind, namespace, read(body))
        if name and self.command == "GET" and (kind, namespace, name) in objects:
            return objects[(kind, namespace, name)]
        if name:
            raise Refused(404, "NotFound", f'{kind} "{name}" not found')
        wanted = dict(pair.split("=") for pair in parse_qs(url.query).get("labelSelector", [""])[0].split(",") if "=" in pair)
        items = [one for (of, place, _), one in objects.items()
                 if of == kind and place in (namespace, None) and wanted.items() <= one["metadata"].get("labels", {}).items()]
        group = f"{found['group']}/v1" if found["group"] else "v1"
        return {"kind": f"{KINDS[found['group'] or ''][kind]}List", "apiVersion": group, "metadata": {"resourceVersion": "1"}, "items": items}

    def _execute(self, pod, command):
        """A command's output over a WebSocket: each frame begins with the number of its channel."""
        accept = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + MAGIC).encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept),
                            ("Sec-WebSocket-Protocol", "v5.channel.k8s.io")):
            self.send_header(name, value)
        self.end_headers()
        said, code = self.server.node.execute(pod, command)
        status = {"metadata": {}, "status": "Success"}
        if code:
            status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": f"command terminated with exit code {code}",
                      "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
        self._frame(2, bytes([STDOUT]) + said)
        self._frame(2, bytes([ERROR]) + json.dumps(status).encode())
        self._frame(8, struct.pack(">H", 1000))
        self.close_connection = True

    def _frame(self, opcode, payload):
        length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
        self.wfile.write(bytes([0x80 | opcode]) + length + payload)
        self.wfile.flush()


def _discovery(path):
    """What the server has: groups, kinds, and that it checks fields by itself."""
    if path == "/version":
        major, minor = VERSION.split(".")
        return {"major": major, "minor": minor, "gitVersion": f"v{VERSION}.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = {"groupVersion": "apps/v1", "version": "v1"}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [{"name": "apps", "versions": [versions], "preferredVersion": versions}]}
    places = {"/api/v1": ("", "v1"), "/apis/apps/v1": ("apps", "apps/v1")}
    if path in places:
        group, version = places[path]
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        kinds = [{"name": name, "singularName": kind.lower(), "namespaced": name != "namespaces", "kind": kind, "verbs": verbs,
                  "shortNames": ["deploy"] if name == "deployments" else []}
                 for name, kind in KINDS[group].items()]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": kinds}
    if path == "/openapi/v3":
        return {"paths": {place.strip("/"): {"serverRelativeURL": f"/openapi/v3{place}"} for place in places}}
    if path.startswith("/openapi/v3/"):
        place = path.removeprefix("/openapi/v3")
        group, version = places[place]
        checked = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}]
        paths = {
            f"{place}/namespaces/{{namespace}}/{name}/{{name}}": {
                "patch": {"x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": {"group": group, "version": "v1", "kind": kind}},
                "parameters": checked,
            }
            for name, kind in KINDS[group].items()
        }
        for path_item in paths.values():
            path_item["patch"]["parameters"] = checked
        return {"openapi": "3.0.0", "info": {"title": "stand-in", "version": version}, "paths": paths}
    return None
