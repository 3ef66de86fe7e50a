"""A headless Chromium inside the laboratory, driven over a pair of pipes by the DevTools protocol: no port, no driver, nothing to be found by others."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from harness import check
from labkit.shell import LabError, in_namespace, run

CHROMIUM = {"/usr/bin/chromium": "chromium"}
CERTIFICATES = {"/usr/bin/certutil": "libnss3-tools", "/usr/bin/pk12util": "libnss3-tools"}
# Where Chromium looks for an administrator's orders.
ORDERS = Path("/etc/chromium")
# No sandbox: the tests are root. Nothing goes out by itself.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
DESKTOP, PHONE = (1360, 900), (360, 740)


class Browser:
    """One window at a time. What its page logs, throws and asks for is kept."""

    def __init__(self, namespace, *flags, identity=None):
        self.folder = tempfile.mkdtemp(prefix="evergate-browser-")
        theirs_in, self.out = os.pipe()
        self.into, theirs_out = os.pipe()
        argv = ["/usr/bin/chromium", *FLAGS, f"--user-data-dir={self.folder}", *flags, "about:blank"]
        if identity:
            # The orders are there for this browser alone: in a mount namespace of its own.
            script = 'mount --bind "$0" "$1" && shift && exec "$@"'
            argv = ["unshare", "--mount", "/bin/bash", "-c", script, self._introduced(identity), ORDERS, *argv]
        # The protocol reads from descriptor 3 and writes to 4, also through what enters the namespace. Not every shell takes descriptors beyond 9.
        shell = ["/bin/bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *map(str, in_namespace(namespace, argv) if namespace else argv)]
        environment = {"HOME": self.folder, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
        self.process = subprocess.Popen(
            shell, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.buffer, self.session = 0, b"", None
        self.complaints, self.requests = [], []

    def _introduced(self, identity):
        """Puts a certificate where this browser keeps its own, and orders it to be shown without a question, which nobody would see."""
        store, orders = Path(self.folder, ".pki/nssdb"), Path(self.folder, "orders")
        bundle = Path(self.folder, "identity.p12")
        store.mkdir(parents=True)
        run(["openssl", "pkcs12", "-export", "-in", identity.certificate, "-inkey", identity.key, "-passout", "pass:", "-out", bundle])
        run(["certutil", "-d", f"sql:{store}", "-N", "--empty-password"])
        run(["pk12util", "-d", f"sql:{store}", "-i", bundle, "-W", ""])
        managed = orders / "policies/managed"
        managed.mkdir(parents=True)
        rule = json.dumps({"pattern": identity.url, "filter": {}})
        (managed / "identity.json").write_text(json.dumps({"AutoSelectCertificateForUrls": [rule]}))
        return orders

    def open(self):
        """Another window, which knows nothing of those before."""
        self.session, self.complaints, self.requests = None, [], []
        self.context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(*DESKTOP)

    def shut(self):
        """Ends the window, with all that it kept."""
        self.session = None
        self.call("Target.disposeBrowserContext", browserContextId=self.context)

    def close(self):
        os.close(self.out)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.into)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **params):
        """Asks for something; what came of it."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 20
        while True:
            told = self._read(deadline)
            if told is None:
                raise LabError(f"the browser does not answer {method}")
            if told.get("id") != self.number:
                self._event(told)
            elif "error" in told:
                raise LabError(f"{method}: {told['error']}")
            else:
                return told["result"]

    def _read(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.into], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            more = os.read(self.into, 1 << 20)
            if not more:
                raise LabError("the browser has gone")
            self.buffer += more
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def _event(self, told):
        name, params = told.get("method"), told.get("params", {})
        if name == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"{params['type']}: {[one.get('value') or one.get('description') for one in params['args']]}")
        elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif name == "Network.requestWillBeSent":
            self.requests.append((params["request"]["method"], params["request"]["url"]))

    def run(self, expression):
        """The value of a JavaScript expression, promises awaited."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise LabError(f"{expression}: {done['exceptionDetails'].get('exception', {}).get('description')}")
        return done["result"].get("value")

    def wait(self, expression, what, seconds=10):
        """Until the expression holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(LabError):
                if self.run(f"!!({expression})"):
                    return
            time.sleep(0.05)
        text = self.run("document.body.innerText.slice(0, 1500)")
        raise LabError(f"{what} did not come; the page says:\n{text}\n{self.complaints}")

    def go(self, url, ready, what="the page"):
        self.call("Page.navigate", url=url)
        # The first page of a browser that has just been started.
        self.wait(ready, what, 30)

    def reload(self):
        self.call("Page.reload")

    def text(self, selector="main"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def says(self, text, selector="main", seconds=8):
        self.wait(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})", f"{text!r} in {selector}", seconds)

    def click(self, text, selector="button, a, summary", within="body"):
        """Clicks what has this name; the newest dialog stands before the page."""
        expression = (
            f"(() => {{ const root = [...document.querySelectorAll('dialog')].at(-1) ?? document.querySelector({json.dumps(within)});"
            f" const found = [...root.querySelectorAll({json.dumps(selector)})].filter((one) => one.checkVisibility()"
            f" && (one.innerText.trim() === {json.dumps(text)} || one.textContent.trim().startsWith({json.dumps(text)})) && !one.disabled);"
            " found[0]?.click(); return found.length > 0; })()"
        )
        self.wait(expression, f"something called {text!r} to click")

    def fill(self, selector, value):
        """Writes into a field as a person does, as far as the page can tell."""
        name = json.dumps(selector)
        self.wait(f"!!document.querySelector({name})", selector)
        self.run(
            f"(() => {{ const field = document.querySelector({name}); field.focus(); field.value = {json.dumps(value)};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); field.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def press(self, key, shift=False):
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
        common = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS.get(key, ord(key[0])), "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefers(self, **features):
        """`prefers(color_scheme="dark")`"""
        named = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def picture(self, path):
        """The whole page, however long it is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


class Identity(NamedTuple):
    """A certificate and its key, shown where the address begins like this."""

    certificate: Path
    key: Path
    url: str


@contextlib.contextmanager
def opened(world, *flags, role="gateway", identity=None):
    """A window of the browser in a role's namespace, which is started once for a group of cases; one with an identity is another browser."""
    if (role, identity) not in world.browsers:
        world.browsers[role, identity] = Browser(world.lab.namespace(role), *flags, identity=identity)
    browser = world.browsers[role, identity]
    browser.open()
    try:
        yield browser
    finally:
        browser.shut()


def pictures():
    """Where screenshots stay after the run: the folder that EVERGATE_SCREENSHOTS names, by default target/screenshots."""
    return Path(os.environ["EVERGATE_SCREENSHOTS"])


def quiet(browser, allowed=()):
    """Nothing was thrown or logged."""
    rest = [line for line in browser.complaints if not any(word in line for word in allowed)]
    check(not rest, f"the page complains: {rest}")
