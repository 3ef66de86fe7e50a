"""The web console in a real browser, beside what the API says; clients of both tunnels are real."""

import base64
import concurrent.futures
import contextlib
import hashlib
import json
import select
import signal
import subprocess
from pathlib import Path

from browser import CERTIFICATES, CHROMIUM, DESKTOP, PHONE, Identity, opened, pictures, quiet
from cases_api import TOKENS, good, with_tls
from harness import case, check, setup
from labkit import packages
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import in_namespace, run, wait_until
from sstp_client import Sstp

AUDIT = (Path(__file__).with_name("audit.js")).read_text()
PORT = 8443
URL = f"https://{GATEWAY_NAME}:{PORT}"
PAGES = ("overview", "sessions", "attempts", "policies", "configuration", "doctor", "blocks", "certificates")
# Whoever calls himself this hopes that somebody makes markup of it.
STRANGER = "<img src=x onerror=alert(1)>"
READY = "document.querySelector('main .card, main .body') && !document.querySelector('main .spinner')"


@setup("console")
def with_console(config):
    with_tls(config)
    config["policy"].insert(0, {"name": "staff", "filter_id": ["staff"], "pool": "users"})


def _flags(world):
    """The browser finds the gateway by its name, and believes its key without knowing its authority."""
    key = run(["openssl", "x509", "-in", world.lab.pki.cert("gateway-rsa"), "-noout", "-pubkey"]).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key.encode(), stdout=subprocess.PIPE, check=True).stdout
    pin = base64.b64encode(hashlib.sha256(der).digest()).decode()
    return f"--host-resolver-rules=MAP {GATEWAY_NAME} 127.0.0.1", f"--ignore-certificate-errors-spki-list={pin}"


@contextlib.contextmanager
def _window(world, role="operate", page="overview"):
    """A browser that has signed in with a token."""
    packages.ensure(CHROMIUM)
    with opened(world, *_flags(world)) as browser:
        if role:
            _sign_in(browser, TOKENS[role])
            _visit(browser, page)
        yield browser
        quiet(browser, allowed=("status of 401", "status of 409"))
        elsewhere = [url for _, url in browser.requests if not url.startswith((URL, "data:", "about:", "http://127.0.0.1:"))]
        check(not elsewhere, f"the page asks elsewhere: {elsewhere}")


def _sign_in(browser, token):
    browser.go(URL, "document.querySelector('#token')", "the form")
    browser.fill("#token", token)
    browser.press("Enter")
    browser.wait("document.querySelector('#side a')", "the frame")


def _visit(browser, page, ready=READY, seconds=20):
    browser.run(f"location.hash = '#/{page}'")
    browser.wait(f"location.hash.startsWith('#/{page}') && {ready}", page, seconds)


def _good_for_all(browser, what):
    complaints = browser.run(AUDIT)
    check(not complaints, f"{what}: {complaints}")


@contextlib.contextmanager
def _guests(world):
    """Sessions of both tunnels, and a stranger who was refused."""
    world.login(ping=False)
    sstp = Sstp(world.lab, world.gateway.binary, role="sstp")
    sstp.call(user=STRANGER, password="wrong")
    with sstp.held(user="bob"):
        yield


@case("console")
def every_page_is_there_for_everybody(world):
    """Light and dark, on a desk and on a phone: names, contrast, headings, no sideways scrolling. The pictures are for people."""
    folder = pictures()
    with _guests(world), _window(world) as browser:
        failed = next(one["id"] for one in good(world, "GET", "/v1/attempts?failed=true")["attempts"])
        session = next(one["id"] for one in good(world, "GET", "/v1/sessions")["sessions"])
        for page in (*PAGES, f"attempts/{failed}", f"sessions/{session}"):
            _visit(browser, page)
            for look, size, theme in (("desk", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
                browser.size(*size)
                browser.prefers(color_scheme=theme)
                _good_for_all(browser, f"{page}, {look}")
                browser.picture(folder / f"{page.split('/')[0]}{'-one' if '/' in page else ''}-{look}.png")
        browser.size(*DESKTOP)


@case("console")
def pages_show_what_the_api_says(world):
    with _guests(world), _window(world) as browser:
        status = good(world, "GET", "/v1/status")
        browser.wait("/1 IKEv2, 1 SSTP/.test(document.querySelector('.tiles').innerText)", "the sessions by tunnel")
        for text in (status["name"], "freeradius", "gateway-ecdsa", "10.99.20.10:1812", STRANGER, "Nothing needs attention"):
            browser.says(text, "body")
        _visit(browser, "sessions")
        for session in good(world, "GET", "/v1/sessions")["sessions"]:
            for value in (session["user"], session["client"], *session["inner"]):
                browser.says(value)
        browser.click("User", "th button")
        names = "[...document.querySelectorAll('tbody td:first-child')].map((one) => one.innerText).join()"
        browser.wait(f"{names} === 'alice,bob' && document.querySelector('th[aria-sort=ascending]')", "names in order")
        browser.click("User", "th button")
        browser.wait(f"{names} === 'bob,alice' && document.querySelector('th[aria-sort=descending]')", "names the other way round")
        browser.fill("#search", "bob")
        browser.wait("document.querySelectorAll('tbody tr').length === 1", "one row")
        check("search=bob" in browser.run("location.hash"), "the address does not say what is searched for")
        browser.click("bob", "main a")
        browser.says("10.98.0.77")
        _visit(browser, "policies")
        browser.says("staff")
        _visit(browser, "configuration")
        for section in good(world, "GET", "/v1/configuration")["sections"]:
            browser.says(section["kind"])
        browser.says("radius.secret")
        check(world.gateway.secret_file.read_text().strip() not in browser.text(), "a secret is shown")
        _visit(browser, "doctor")
        browser.says("in order;", seconds=30)
        _visit(browser, "certificates")
        for certificate in good(world, "GET", "/v1/certificates")["certificates"]:
            browser.says(certificate["fingerprint"])
        # Of a gateway that has just begun two points take half a minute.
        _visit(browser, "overview", "document.querySelectorAll('.chart svg[role=img] path.line').length === 4", 60)
        check(browser.run("[...document.querySelectorAll('.chart desc')].every((one) => /^From 20/.test(one.textContent))"), "charts without words")
        browser.click("As a table", "summary")
        browser.wait("document.querySelectorAll('.chart tbody tr').length >= 2", "numbers")
        points = good(world, "GET", "/v1/history")["points"]
        check(all(point["secs"] >= 5 for point in points) and points[-1]["sessions_ikev2"] == 1, f"{points}")
        browser.click("Last day", "label")
        # Of a gateway that has hardly begun there is no line to draw: a point is five minutes long.
        drawn = len(good(world, "GET", "/v1/history?span=day")["points"]) > 1
        browser.wait(f"document.querySelectorAll('.chart .empty').length === {0 if drawn else 3}", "the day")


@case("console")
def revocation_lists_and_requests_in_flight_are_seen(world):
    file = world.lab.pki.crl()
    intact = file.read_bytes()
    revocation = lambda: good(world, "GET", "/v1/status")["revocation"]  # noqa: E731
    (told,) = revocation()
    with _window(world, page="certificates") as browser:
        row = "document.querySelector('section:has(caption) td[data-label=\"Next update\"]').closest('tr')"
        cell = lambda label: browser.run(f"{row}.querySelector('td[data-label=\"{label}\"]').innerText")  # noqa: E731
        check(cell("From") == told["source"] and cell("Issuer") == told["list"]["issuer"], f"{cell('From')}, {cell('Issuer')}")
        check(cell("Revoked") == str(told["list"]["entries"]) and cell("State").endswith(" left"), f"{cell('Revoked')}, {cell('State')}")
        check(cell("Issued") < cell("Next update") and cell("Issued").startswith("20"), f"{cell('Issued')} to {cell('Next update')}")
        try:
            file.write_bytes(b"no list")
            # A file is looked at every ten seconds; a reload would refuse this one.
            trouble = wait_until(lambda: revocation()[0].get("trouble"), 15)
            check(trouble, f"{revocation()}")
            _visit(browser, "overview")
            browser.says("not renewed", ".attention")
            browser.says(trouble, ".attention")
            _visit(browser, "certificates")
            check(cell("State").startswith("not renewed, ") and trouble[1:] in cell("From"), f"{cell('State')}, {cell('From')}")
            for look, size, theme in (("desk", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
                browser.size(*size)
                browser.prefers(color_scheme=theme)
                _good_for_all(browser, f"a list that is not renewed, {look}")
                browser.picture(pictures() / f"revocation-{look}.png")
            browser.size(*DESKTOP)
        finally:
            file.write_bytes(intact)
            world.gateway.command("reload")
        check(wait_until(lambda: not revocation()[0].get("trouble"), 12), f"{revocation()}")
        _visit(browser, "overview")
        browser.says("Nothing needs attention")
        flight = "[...document.querySelectorAll('td[data-label=\"In flight\"]')].map((one) => one.innerText).join()"
        browser.wait(f"{flight} === '0'", "nothing that waits")
        world.client()
        world.radius.freeze()
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            login = beside.submit(world.login, Profile(), ping=False)
            try:
                browser.wait(f"{flight} === '1'", "a request that waits")
            finally:
                world.radius.thaw()
            login.result()
        browser.wait(f"{flight} === '0'", "its answer")


@case("console")
def what_strangers_call_themselves_stays_text(world):
    Sstp(world.lab, world.gateway.binary, role="sstp").call(user=STRANGER, password="wrong")
    world.login(ping=False)
    with _window(world, page="attempts") as browser:
        browser.says(STRANGER)
        browser.says("alice")
        browser.fill("#search", "10.99.5.2")
        browser.wait("!document.querySelector('tbody').innerText.includes('alice')", "the stranger's alone")
        check(all("10.99.5.2" in one["client"] for one in good(world, "GET", "/v1/attempts?search=10.99.5.2")["attempts"]), "others")
        browser.click("20", "main td a")
        browser.says(f"Attempt of {STRANGER}")
        browser.says("What to do")
        check(browser.run("document.querySelectorAll('main img').length") == 0, "it became an element")
        told = good(world, "GET", f"/v1/explain?what={browser.run('location.hash').rsplit('/', 1)[1]}")
        for line in (*told["told"], *(line for one in told["commands"] for line in one["lines"])):
            browser.says(line)
        browser.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
        browser.click("Copy", "figure button")
        check(browser.run("window.copied") == "\n".join(told["commands"][0]["lines"]), "something else is copied")
        # The browser itself would not do it either.
        refused = "(() => {{ try {{ document.body.{} = '<b>x</b>'; return false; }} catch {{ return true; }} }})()"
        check(browser.run(refused.format("innerHTML")), "text may become markup")
        policy = browser.run("fetch('/').then((answer) => answer.headers.get('content-security-policy'))")
        check("default-src 'none'" in policy and "unsafe" not in policy, policy)
        browser.run("fetch('http://10.99.10.10/').catch(() => 0)")
        wait_until(lambda: browser.run("1") and browser.complaints, 2)
        blocked = [line for line in browser.complaints if "Content Security Policy" in line or "TrustedHTML" in line or "Trusted Type" in line]
        check(any("10.99.10.10" in line for line in blocked), f"the page may ask elsewhere: {browser.complaints}")
        browser.complaints = [line for line in browser.complaints if line not in blocked and "10.99.10.10" not in line]
        browser.requests = [one for one in browser.requests if "10.99.10.10" not in one[1]]


@case("console")
def a_session_is_ended_by_keyboard_and_its_user_kept_out(world):
    with _window(world, page="sessions") as browser:
        browser.says("Nobody is connected")
        client = world.login(ping=False)
        browser.says("alice")
        name = "document.activeElement.textContent.trim()"
        for _ in range(40):
            browser.press("Tab")
            outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
            check(outline != "none", f"the focus does not show: {browser.run(name)}")
            if browser.run(name).startswith("Disconnect"):
                break
        browser.press("Enter")
        browser.wait("document.querySelector('dialog[open]')", "a dialog")
        _good_for_all(browser, "the dialog")
        browser.picture(pictures() / "dialog.png")
        for _ in range(8):
            browser.press("Tab")
            check(browser.run("!!document.activeElement.closest('dialog') || document.activeElement === document.body"), "the focus leaves the dialog")
        browser.press("Escape")
        browser.wait("!document.querySelector('dialog')", "its end")
        check(browser.run(name).startswith("Disconnect"), "the focus is lost")
        browser.press("Enter")
        browser.fill("#hold", "900")
        browser.fill("#reason", "lost laptop")
        browser.press("Enter")
        browser.says("Nobody is connected")
        world.no_sessions()
        client.forget()
        check(good(world, "GET", "/v1/blocks")["blocks"][0]["reason"] == "lost laptop", "nobody is kept out")
        _visit(browser, "blocks")
        browser.says("lost laptop")
        browser.click("Let in")
        browser.click("Let in", "button")
        browser.says("Nobody is kept out")
        browser.click("Keep somebody out …")
        browser.fill("#kind", "address")
        browser.fill("#who", "no address")
        browser.click("Keep out", "dialog button")
        browser.wait("document.querySelector('dialog [role=alert]:not([hidden])')", "what is wrong")
        browser.fill("#who", "198.51.100.0/24")
        browser.click("Keep out", "dialog button")
        browser.says("198.51.100.0/24", "main table")
        browser.complaints = [line for line in browser.complaints if "400" not in line]
    for block in good(world, "GET", "/v1/blocks")["blocks"]:
        good(world, "DELETE", f"/v1/blocks/{block['id']}")


@case("console")
def policies_are_tried_and_a_reload_is_foreseen(world):
    world.login(ping=False)
    text = world.gateway.config_file.read_text()
    with _window(world, page="policies") as browser:
        browser.fill("#user", "alice")
        browser.fill("#attributes", "Filter-Id=staff")
        browser.click("Ask the policies")
        browser.says("Granted by policy staff")
        browser.fill("#attributes", "")
        browser.click("Ask the policies")
        browser.says("Granted by policy everyone")
        browser.picture(pictures() / "tester.png")
        browser.fill("#client", "nowhere")
        browser.click("Ask the policies")
        browser.wait("document.querySelector('.answer [role=alert]')", "what is wrong")
        browser.complaints = [line for line in browser.complaints if "400" not in line]
        _visit(browser, "configuration")
        browser.says("Nothing: the files say what runs.")
        try:
            world.gateway.config_file.write_text(text + "\n[nonsense]\n")
            browser.click("Look again")
            browser.says("nonsense")
            world.gateway.config_file.write_text(text.replace('name = "everyone"', 'name = "nobody"\nuser = ["mallory"]'))
            browser.click("Look again")
            browser.says("refused")
            browser.says('policy "nobody"')
            _good_for_all(browser, "what would change")
            browser.picture(pictures() / "changes.png")
            browser.click("Reload …")
            unasked = "!document.querySelector('dialog #end-refused').checked && !document.querySelector('dialog #apply-to-sessions').checked"
            browser.wait(unasked, "a question about sessions, not asked for")
            browser.click("Reload", "dialog button")
            browser.says("Has taken effect")
            check([one["name"] for one in good(world, "GET", "/v1/policies")["policies"]] == ["staff", "nobody"], "it has not")
            check(world.session_of("alice")["policy"] == "everyone", "a session ended without being asked for")
            browser.click("Reload …")
            browser.run("document.querySelector('dialog #end-refused').click()")
            browser.click("Reload", "dialog button")
            browser.says("told to end")
            world.no_sessions()
        finally:
            world.gateway.config_file.write_text(text)
            world.gateway.command("reload")


@case("console")
def who_may_only_look_finds_no_buttons_and_strangers_nothing(world):
    world.login(ping=False)
    with _window(world, role=None) as browser:
        browser.go(f"{URL}/#/sessions", "document.querySelector('#token')", "the form")
        _good_for_all(browser, "the form")
        browser.picture(pictures() / "form.png")
        browser.fill("#token", "wrong")
        browser.press("Enter")
        browser.says("does not know this token")
        check("alice" not in browser.run("document.documentElement.innerText"), "a stranger is shown something")
        browser.fill("#token", TOKENS["read"])
        browser.press("Enter")
        browser.says("alice")
        browser.says("may only look", "header")
        words = ("Disconnect", "Reload", "Keep somebody out", "Let in", "Empty the gateway", "Keep the user out", "Keep the address out")
        attempt, session = good(world, "GET", "/v1/attempts")["attempts"][0]["id"], world.session_of("alice")["id"]
        for page in (*PAGES, f"attempts/{attempt}", f"sessions/{session}"):
            _visit(browser, page)
            found = [word for word in words if word in browser.run("[...document.querySelectorAll('button, main a')].map((one) => one.textContent).join()")]
            check(not found, f"{page} has {found}")
        kept = browser.run("[document.cookie, JSON.stringify({...localStorage}), location.href].join()")
        check(TOKENS["read"] not in kept and browser.run("document.cookie") == "", f"the token is kept elsewhere: {kept}")
        browser.click("Sign out")
        browser.wait("document.querySelector('#token')", "the form")
        check(browser.run("sessionStorage.length") == 0, "the token stays")


@case("console")
def the_page_lives_with_the_gateway(world):
    """What happens is seen without asking; after a restart it goes on."""
    with _window(world) as browser:
        browser.says("Live", "header")
        client = world.login(ping=False)
        browser.wait("/1 IKEv2, 0 SSTP/.test(document.querySelector('.tiles').innerText)", "the session")
        client.forget()
        world.gateway.stop()
        browser.says("Connecting again", "header", 12)
        world.gateway.restart()
        browser.says("Live", "header", 12)
        browser.wait("/0 IKEv2, 0 SSTP/.test(document.querySelector('.tiles').innerText)", "the new beginning")
        browser.complaints = [line for line in browser.complaints if "net::ERR" not in line and "503" not in line]
        browser.click("Empty the gateway …")
        browser.fill("#drain-within", "900")
        browser.click("Empty it", "dialog button")
        browser.says("The gateway is being emptied", ".attention")
        check(good(world, "GET", "/v1/status")["drain"]["left"] == 0, "it is not")
        browser.click("Take clients again …")
        browser.click("Take clients", "dialog button")
        browser.says("Nothing needs attention")
        # The theme is a matter of the page, not of the system.
        browser.fill("select.theme", "dark")
        dark = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.fill("select.theme", "light")
        check(dark != browser.run("getComputedStyle(document.body).backgroundColor"), "there is no dark theme")
        browser.press("/")
        browser.run("location.hash = '#/sessions'")
        browser.wait("document.querySelector('#search')", "the search")
        browser.press("/")
        check(browser.run("document.activeElement.id") == "search", "/ does not search")


def _asked(world, port, path="/v1/status", **headers):
    """The status with which the relay answers a program in its namespace."""
    code = "import http.client, json, sys; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=5)\n"
    code += "c.putrequest('GET', sys.argv[2], skip_host=True)\n[c.putheader(*one) for one in json.loads(sys.argv[3])]\nc.endheaders(); print(c.getresponse().status)"
    named = [[name.replace("_", "-"), value] for name, value in headers.items()]
    return int(world.lab.network.exec("gateway", ["/usr/bin/python3", "-c", code, port, path, json.dumps(named)]).stdout)


@case("console")
def a_client_certificate_opens_it(world):
    """TLS with a certificate of the browser: no form, and what its holder may do; without it, the form."""
    packages.ensure(CHROMIUM, CERTIFICATES)
    world.login(ping=False)
    pki = world.lab.pki
    for name, operates in (("machine-rsa", True), ("machine-ecdsa", False)):
        with opened(world, *_flags(world), identity=Identity(pki.cert(name), pki.key(name), URL)) as browser:
            browser.go(URL, "document.querySelector('.tiles')", "the overview")
            _visit(browser, "sessions")
            browser.says("alice", "tbody")
            button = "[...document.querySelectorAll('tbody button')].some((one) => one.textContent.trim().startsWith('Disconnect'))"
            check(browser.run(button) == operates, f"{name}: {browser.text()}")
            check(not browser.run("!!document.querySelector('#token')"), f"{name} is asked for a token")
            quiet(browser)
    with opened(world, *_flags(world)) as browser:
        browser.go(URL, "document.querySelector('#token')", "the form")


@case("console")
def the_command_ends_with_whoever_started_it(world):
    """As `ssh` without a terminal leaves it: no signal comes, but nobody reads any more. That there is no input is no end."""
    argv = in_namespace(world.lab.namespace("gateway"), [world.gateway.binary, "console", "--json", "--config", world.gateway.config_file])
    process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        check(select.select([process.stdout], [], [], 10)[0] and json.loads(process.stdout.readline())["url"], "the command says nothing")
        check(process.poll() is None, "it has ended by itself")
        process.stdout.close()
        check(process.wait(5) == 0, "it goes on without anybody")
    finally:
        process.kill()
        process.wait()


@case("console")
def the_command_serves_it_to_a_browser_of_this_host(world):
    packages.ensure(CHROMIUM)
    world.login(ping=False)
    argv = in_namespace(world.lab.namespace("gateway"), [world.gateway.binary, "console", "--json", "--config", world.gateway.config_file])
    process = subprocess.Popen([str(part) for part in argv], stdout=subprocess.PIPE, text=True)
    try:
        check(select.select([process.stdout], [], [], 10)[0], "the command says nothing")
        url = json.loads(process.stdout.readline())["url"]
        port, key = int(url.split(":")[2].split("/")[0]), url.split("key=")[1]
        host, bearer = f"127.0.0.1:{port}", f"Bearer {key}"
        for expected, headers in (
            (200, {"Host": host, "Authorization": bearer}),
            (401, {"Host": host}),
            (401, {"Host": host, "Authorization": "Bearer " + "0" * len(key)}),
            (403, {"Host": f"evil.example:{port}", "Authorization": bearer}),
            (403, {"Host": host, "Authorization": bearer, "Origin": "http://evil.example"}),
        ):
            found = _asked(world, port, **headers)
            check(found == expected, f"{headers}: {found}, not {expected}")
        with opened(world, *_flags(world)) as browser:
            browser.go(url, "document.querySelector('.tiles')", "the overview")
            check(key not in browser.run("location.href"), "the key stays in the address")
            browser.says("Live", "header")
            _visit(browser, "sessions")
            browser.click("Disconnect")
            browser.click("Disconnect", "dialog button")
            browser.says("Nobody is connected")
            quiet(browser)
        world.no_sessions()
    finally:
        process.send_signal(signal.SIGINT)
        check(process.wait(5) == 0, "it does not end")
