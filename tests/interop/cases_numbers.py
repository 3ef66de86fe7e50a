"""Every row of the table behind `evergate explain NUMBER` (server/src/explain/numbers.toml), provoked over the wire: the gateway says in one line
of its log what happened, with the attempt's id and the cause that `evergate explain ATTEMPT` tells. A row that a gateway cannot see says so itself
(`client_only`); that each row has one or the other is held by a test beside the table.
"""

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import case, check, setup
from ikev2_client import device
from labkit import network, toml
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import run, wait_until
from sstp_client import Sstp

TLS_USER = "alice@example.test"
HALF_OPEN = "2s"


@dataclass(frozen=True)
class Row:
    """What a row's provocation must lead to."""

    title: str
    # Of the attempt's cause.
    cause: str
    # What Windows shows by it, as `explain` says; None: the case looks itself.
    windows: str | None = None
    # `evergate explain ATTEMPT` tells of the row.
    listed: bool = True


def row(group, title, cause, windows=None, listed=True):
    """Registers what provokes a row: a function of the world that returns the attempt, as the list of attempts has it."""

    def register(function):
        def provoke(world):
            if attempt := function(world):
                _is_told(world, attempt, Row(title, cause, windows, listed))

        case(group, function.__name__)(provoke)
        return function

    return register


def _is_told(world, attempt, wanted):
    story = world.explained(attempt, wanted.cause)
    shown = story["attempt"]
    check(wanted.windows is None or shown["windows_code"] == wanted.windows, f"Windows shows {shown['windows_code']}, not {wanted.windows}")
    check(shown["fix"], f"nothing is said to be done: {shown}")
    titles = [found["title"] for found in story["cases"]]
    check(not wanted.listed or wanted.title in titles, f"the story has {titles}, not {wanted.title!r}")


def _known(world):
    return {attempt["id"] for attempt in world.attempts()}


def _failed(world, provoke, seconds=10):
    """The one attempt that came of it, once it has failed."""
    before = _known(world)
    provoke()

    def fresh():
        found = [attempt for attempt in world.attempts() if attempt["id"] not in before]
        return found if found and all(attempt["outcome"] == "failed" for attempt in found) else None

    found = wait_until(fresh, seconds)
    check(found and len(found) == 1, f"not one failed attempt: {found or [a for a in world.attempts() if a['id'] not in before]}")
    return found[0]


def _login(world, **profile):
    """A strongSwan client's login that is to fail."""

    def attempt():
        outcome = world.client().connect(Profile(**profile))
        check(not outcome.up, "the login came up", outcome.log)
        world.client().forget()

    return _failed(world, attempt)


def _sstp(world, *options, role="client", server=network.GATEWAY_IPV4, **more):
    """A call that is to fail."""

    def call():
        found = Sstp(world.lab, world.gateway.binary, role, server=server).call(*options, **more)
        check(found.get("event") == "error", f"the call came up: {found}")

    return _failed(world, call)


def _ended(world, attempt, reason):
    """A session that ended: one line of the log, with the reason."""
    lines = wait_until(lambda: [line for line in world.log_of(attempt) if " disconnected " in line], 20)
    check(lines and len(lines) == 1 and f'reason="{reason}"' in lines[0], f"not one line that says {reason}: {lines}")
    told = world.gateway.json("explain", attempt["id"])["told"]
    check(sum(line.startswith("It ended: ") for line in told) == 1, f"{told}")


def _logged(world, words):
    """One line of the log, and no attempt: whoever asks by the address is told the same."""
    lines = wait_until(lambda: [line for line in world.gateway.daemon.log_file.read_text().splitlines() if words in line], 5)
    check(lines and len(lines) == 1, f"not one line of the log says {words!r}: {lines}")
    return lines[0]


def _told_by_address(world, address, *words):
    done = world.gateway.command("explain", address, check=False)
    missing = [part for part in words if part not in done.stderr]
    check(done.returncode == 1 and not missing, f"{missing} is not told: {done.stdout} {done.stderr}")


def _counted(world, counter):
    return world.gateway.json("status")["ike"][counter]


# --- IKEv2 -------------------------------------------------------------------------------------------------------------------------------


@setup("numbers")
def _numbers(config):
    config["limits"] = {"half_open_timeout": HALF_OPEN}
    config["policy"].insert(0, {"name": "no guests", "class": ["guest"], "grant": False})
    config["policy"].insert(1, {"name": "not this computer", "machine": ["pc2.*"], "grant": False})
    config["policy"].insert(2, {"name": "old addresses alone", "filter_id": ["staff"], "pool": "four"})
    config["pool"].append({"name": "four", "ipv4": ["10.98.4.1-10.98.4.9"]})
    config["policy"].insert(3, {"name": "narrow", "user": ["erin"], "pool": "users", "selectors": ["10.99.10.0/24"]})


def _first_message_alone(world, profile="windows-aovpn", **details):
    with device(world) as pc:
        outcome = pc.tunnel("user", profile, **details).step("init")
        pc.vanish()
    return outcome


@row("numbers", "the client waited, and nothing came back", "the peer has been silent for 2 s; the last thing that came from it was", "809")
def nothing_after_the_first_message(world):
    return _failed(world, lambda: _first_message_alone(world))


@row("numbers", "the client has no certificate that fits", "the peer has been silent", "809", listed=False)
def no_certificate_on_the_client(world):
    """It looks like a blocked port; that others come through tells them apart."""
    world.login(Profile(user="bob"), ping=False)
    attempt = _failed(world, lambda: _first_message_alone(world))
    told = " ".join(world.gateway.json("explain", attempt["id"])["told"])
    check("Others come through" in told and "no machine certificate on it (Windows: 13806)" in told, told)
    return attempt


@row("numbers", "client and gateway have no cipher in common", "^no common proposal; offered .*; accepted .*; nearest: #1 differs in", "13868")
def no_common_cipher(world):
    return _login(world, ike=("aes128-sha1-modp1024",))


@row("numbers", "the client does not accept the gateway's certificate", "^the client refuses the gateway's certificate .*CN=vpn.example.test", "13801")
def the_gateways_certificate_is_not_trusted(world):
    return _login(world, authority="other-ca")


@row("numbers", "the gateway does not accept the client's certificate (device tunnel)", "CN=pc1.example.test.* (issuer|trust|authorit)", "13801")
def a_client_certificate_of_another_authority(world):
    """Now and then: the same client comes in with the right one first."""
    world.login(Profile(method="certificate", certificate="machine-rsa"), ping=False)
    good = world.attempts()[0]["id"]
    world.client().forget()
    attempt = _login(world, method="certificate", certificate="other-machine")
    told = " ".join(world.gateway.json("explain", attempt["id"])["told"])
    wanted = rf"issuer differs from that of the one accepted at [\d: -]+ \(.+ vs .+; attempt {re.escape(good)}\)"
    check(re.search(wanted, told), told)
    return attempt


@row("numbers", "a certificate that is not meant for this", "CN=pc8.example.test.* clientAuth", "13801", listed=False)
def a_client_certificate_for_servers(world):
    return _login(world, method="certificate", certificate="machine-no-purpose")


def _complaint(world, code):
    def complain():
        with device(world) as pc:
            pc.tunnel("user", "windows-aovpn").step("complain", code=code)

    return _failed(world, complain)


@row("numbers", "the client cannot verify the gateway's signature", "^the client refuses the gateway's certificate .*Windows error 13838", "13801", listed=False)
def the_client_says_that_the_signature_is_wrong(world):
    return _complaint(world, 13838)


@row("numbers", "the client could not read a message", "Windows error 13843", "13801", listed=False)
def the_client_cannot_read_a_message(world):
    return _complaint(world, 13843)


@row("numbers", "Windows found something that it cannot work with", "Windows error 87", "13801", listed=False)
def the_client_finds_a_wrong_parameter(world):
    return _complaint(world, 87)


@row("numbers", "a signature or MAC of the login is wrong", "AUTH", "13801", listed=False)
def a_wrong_signature(world):
    def wrong():
        with device(world) as pc:
            pc.tunnel("device", "windows-aovpn", "machine-rsa", wrong_auth=True).refused("AUTHENTICATION_FAILED")

    return _failed(world, wrong)


@row("numbers", "the client asks for no address", "^the client asks for no inner address", "13900")
def no_address_wanted(world):
    return _login(world, addresses=())


@row("numbers", "the client wants traffic that the policy does not carry", "selectors.*10\\.77\\.0\\.0", "842")
def selectors_that_do_not_meet(world):
    return _login(world, user="erin", remote=("10.77.0.0/16",))


@row("numbers", "who the client is was proved, but it may not come in", '^network policy "not this computer" denies .*reason 65', "812", listed=False)
def a_computer_that_no_policy_wants(world):
    return _login(world, method="certificate", certificate="machine-ecdsa")


@row("numbers", "a policy forbids it, although the credentials are good", '^network policy "no guests" denies .*reason 65', "812")
def a_user_whom_a_policy_denies(world):
    return _login(world, user="dave")


@row("numbers", "user name or password is wrong", '^radius freeradius rejects user "alice".*E=691|wrong user name or password', "691 or 812")
def a_wrong_password(world):
    return _login(world, password="wrong")


@row("numbers", "there is no address for the client", '^policy "everyone": address 10.98.0.77 is in use by bob$', "13899")
def the_address_is_in_use(world):
    """RADIUS gives bob one address, and rob the same."""
    with Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).held("--no-configure", user="bob"):
        return _login(world, user="rob")


@row("numbers", "something about the account", "rejects user .stale.*password expired.*E=648", "691 or 812", listed=False)
def an_expired_password(world):
    return _login(world, user="stale")


@row("numbers", "client and server have no EAP method in common", "^the client refuses the EAP method that RADIUS offers and wants EAP-MD5", "850 or 812")
def an_eap_method_that_nobody_offers(world):
    return _login(world, method="eap-md5", user="tina")


@row("numbers", "the RADIUS server does not accept the user's certificate", "^RADIUS refuses the client's certificate .*CN=pc1.example.test", "853")
def a_user_certificate_of_another_authority(world):
    return _login(world, method="eap-tls", user="pc1.example.test", certificate="other-machine")


@row("numbers", "the client's certificate has no revocation address", "^RADIUS refuses the client's certificate .*carries no CDP .*reason 258", "853", listed=False)
def a_user_certificate_without_a_revocation_address(world):
    """Those of the laboratory's authorities have none."""
    return _login(world, method="eap-tls", user="pc1.example.test", certificate="other-machine")


@row("numbers", "the client does not accept the RADIUS server's certificate", "^the client refuses the RADIUS server's certificate .*CN=radius.example.test", "857 or 860")
def the_radius_servers_certificate_has_another_name(world):
    return _login(world, method="eap-tls", user=TLS_USER, radius_name="elsewhere.example.test")


@row("numbers", "the client has no certificate for EAP-TLS", "^the client has no certificate that it could show", "798")
def no_user_certificate(world):
    return _login(world, method="eap-tls", user="tina", certificate="")


def _suspicious(world):
    pki = world.lab.pki
    return _sstp(world, "--suspicious", auth="eap-tls", user=TLS_USER, cert=pki.cert("alice"), key=pki.key("alice"))


@row("numbers", "the client does not know the RADIUS server", "^the client stopped after it saw the RADIUS server's certificate .*CN=radius.example.test", "864, 865 or 866")
def the_client_leaves_after_the_radius_servers_certificate(world):
    return _suspicious(world)


@row("numbers", "the chain of the user's own certificate is broken on the client", "^the client stopped after it saw the RADIUS server's certificate", listed=False)
def the_client_leaves_for_its_own_chain(world):
    """From here it looks the same; the numbers that its user sees tell."""
    return _suspicious(world)


# --- PPP and SSTP ------------------------------------------------------------------------------------------------------------------------


@row("numbers", "client and gateway have no way to authenticate in common", "allowed here: EAP|authenticat", "919 or 734")
def no_way_to_authenticate_in_common(world):
    return _sstp(world, auth="pap")


@row("numbers", "the connection was closed in the middle of the login", "^the client's connection ended without CALL_DISCONNECT", "619")
def the_connection_closes_in_the_login(world):
    """The client finds that it has no certificate, and says nothing of it."""
    return _sstp(world, auth="eap-tls", user="tina")


@row("numbers", "neither IPv4 nor IPv6 came up", "^the client terminated the link in phase Network", "720")
def no_family_in_common(world):
    return _failed(world, lambda: Sstp(world.lab, world.gateway.binary).call("--no-ipv4", user="member"))


@row("numbers", "SSTP was aborted", "CALL_ABORT sent", "0x800704D4")
def the_crypto_binding_is_wrong(world):
    return _failed(world, lambda: Sstp(world.lab, world.gateway.binary).misbehave("wrong-cmac"))


@row("numbers", "the request of SSTP was answered with another status than 200", "^HTTP 404", "0x800704D4", listed=False)
def a_uri_that_is_not_that_of_sstp(world):
    return _failed(world, lambda: Sstp(world.lab, world.gateway.binary).misbehave("http-wrong-path"))


@row("numbers", "the client could not set its cookie", "^HTTP 404", "0x800704D4", listed=False)
def an_odd_http_request(world):
    return _failed(world, lambda: Sstp(world.lab, world.gateway.binary).misbehave("http-wrong-path"))


def _revoked_list(world):
    """A list of the authority's with the gateway's certificate on it, which nobody but the client of this case reads."""
    pki = world.lab.pki
    (world.gateway.folder / "revoked").mkdir(exist_ok=True)
    folder = world.gateway.folder / "revoked"
    serial = run(["openssl", "x509", "-in", pki.cert("gateway-rsa"), "-noout", "-serial"]).stdout.strip().removeprefix("serial=")
    other = run(["openssl", "x509", "-in", pki.cert("gateway-ecdsa"), "-noout", "-serial"]).stdout.strip().removeprefix("serial=")
    (folder / "index").write_text("".join(f"R\t401231235959Z\t260101000000Z\t{number}\tunknown\t/CN=vpn\n" for number in (serial, other)))
    (folder / "number").write_text("01\n")
    (folder / "cnf").write_text(f"[ca]\ndefault_ca = a\n[a]\ndatabase = {folder}/index\ncrlnumber = {folder}/number\ndefault_md = sha256\n")
    run(["openssl", "ca", "-gencrl", "-config", folder / "cnf", "-cert", pki.cert("ca"), "-keyfile", pki.key("ca"), "-crldays", "9", "-out", folder / "crl.pem"])
    return folder / "crl.pem"


def _s_client(world, *options):
    """OpenSSL as the client: it checks the certificate as it is told, says why it does not like it, and leaves."""
    argv = ["openssl", "s_client", "-connect", f"{network.GATEWAY_IPV4}:443", "-servername", GATEWAY_NAME, "-CAfile", world.lab.pki.cert("ca")]
    return _failed(world, lambda: world.lab.network.exec("client", [*map(str, argv), *options], check=False, timeout=10, input=""))


STRICT = "-verify_return_error"
# TLS by hand, so that it is known what leaves in one packet.
LEAVES = """
import contextlib, socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[3])
link = socket.create_connection((sys.argv[1], 443), 5)
heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(heard, said, server_hostname=sys.argv[2])
while True:
    try:
        tls.do_handshake()
        break
    except ssl.SSLWantReadError:
        link.sendall(said.read())
        heard.write(link.recv(65536))
if "later" in sys.argv:
    link.sendall(said.read())
    time.sleep(0.2)
with contextlib.suppress(ssl.SSLError):
    tls.unwrap()
link.sendall(said.read())
link.shutdown(socket.SHUT_WR)
link.recv(65536)
"""


@row("numbers", "the client does not trust the gateway's certificate", "unknown_ca", "0x800B0109")
def the_root_is_unknown(world):
    return _sstp(world, ca=world.lab.pki.cert("other-ca"))


@row("numbers", "the gateway's certificate has expired", "certificate_expired", "0x800B0101")
def the_certificate_is_too_old_for_the_client(world):
    return _s_client(world, STRICT, "-attime", str(int(time.time()) + 3 * 365 * 86400))


@row("numbers", "the name that was dialled is not in the certificate", "bad_certificate", "0x800B010F or 0x80092013")
def another_name_was_dialled(world):
    return _s_client(world, STRICT, "-verify_hostname", "elsewhere.example.test")


@row("numbers", "the gateway's certificate is revoked", "certificate_revoked", "0x80092010")
def the_certificate_is_revoked(world):
    return _s_client(world, STRICT, "-crl_check", "-CRL", str(_revoked_list(world)))


@row("numbers", "the client cannot check whether the gateway's certificate is revoked", "^the client left after the TLS handshake, before SSTP_DUPLEX_POST", "0x80092013 or 0x80072746")
def the_client_leaves_after_tls(world):
    """Its goodbye comes with its last message of the handshake, or a moment later."""
    together = [sys.executable, "-c", LEAVES, network.GATEWAY_IPV4, GATEWAY_NAME, str(world.lab.pki.cert("ca"))]
    for argv in (together, [*together, "later"]):
        attempt = _failed(world, lambda argv=argv: world.lab.network.exec("client", argv))
        world.explained(attempt, "^the client left after the TLS handshake, before SSTP_DUPLEX_POST")
    return attempt


@row("numbers", "no version or cipher suite of TLS in common", "^no common ground with the client", "0x80090326")
def an_old_version_of_tls(world):
    return _s_client(world, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")


@row("numbers", "the connection was reset", "^the client left in the TLS handshake", "0x80092013 or 0x80072746")
def a_reset_in_the_tls_handshake(world):
    return _failed(world, lambda: Sstp(world.lab, world.gateway.binary).run("flood", "--count", "1", "--stop-at", "hello", "--watch", "0.3"))


@row("numbers", "the answer to the login came too late", "^RADIUS had not answered when the call ended: ", "619 or 718")
def radius_is_slower_than_the_client(world):
    world.radius.freeze()
    try:
        return _sstp(world, "--timeout", "2", auth="mschapv2")
    finally:
        world.radius.thaw()


# --- Settings of their own ---------------------------------------------------------------------------------------------------------------


@setup("numbers_revocation")
def _revocation(config):
    config["listener"][0] |= {"revocation": "hard"}


@row("numbers_revocation", "revocation could not be checked", "revocation list of .* was due to be replaced at 20", "13801", listed=False)
def a_revocation_list_that_has_run_out(world):
    pki, log = world.lab.pki, world.gateway.daemon.log_file

    def reload():
        before = log.read_text().count("configuration reloaded")
        world.gateway.command("reload")
        check(wait_until(lambda: log.read_text().count("configuration reloaded") > before, 5), "the gateway does not reload")

    try:
        pki.list_revoked(start=-20, end=-1)
        reload()
        return _login(world, method="certificate", certificate="machine-rsa")
    finally:
        pki.list_revoked()
        reload()


@setup("numbers_groups")
def _groups(config):
    config["limits"] = {"half_open_timeout": HALF_OPEN}
    config["ciphers"] = {"groups": ["ecp256", "modp2048"]}


@row("numbers_groups", "the key exchange and the proposal do not fit", "the peer has been silent for 2 s; .* key exchange group 16; it did not come again with", "809", listed=False)
def a_client_that_takes_no_other_group(world):
    attempt = _failed(world, lambda: _first_message_alone(world, "android", retries=False))
    story = [line["text"] for line in world.attempt(attempt["id"])["timeline"]]
    check(sum("asked the client to come again with" in line for line in story) == 1, f"{story}")
    return attempt


@setup("numbers_sessions")
def _sessions(config):
    config["server"]["max_sessions"] = 1
    config["timers"] = {"liveness_interval": "1s", "retransmit_initial": "200ms", "retransmit_tries": 2, "network_outage": "0s"}
    config["policy"].insert(0, {"name": "brief", "user": ["erin"], "pool": config["pool"][0]["name"], "idle_timeout": "1s"})


@row("numbers_sessions", "the gateway takes no more sessions", "^.*server.max_sessions = 1", "0x800704C9")
def one_session_too_many(world):
    with Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).held("--no-configure"):
        return _sstp(world, user="bob")


@row("numbers_sessions", "the tunnel broke", "")
def a_client_that_vanishes(world):
    with device(world) as pc:
        pc.tunnel("user", "android").login()
        attempt = world.attempts()[0]
        pc.vanish()
    _ended(world, attempt, "client_lost")


@row("numbers_sessions", "the session was idle", "")
def a_session_that_moves_nothing(world):
    world.login(Profile(user="erin"), ping=False)
    _ended(world, world.attempts()[0], "idle_timeout")


@row("numbers", "the client tried every protocol, and all failed", "")
def one_protocol_after_the_other(world):
    """By the client's address the story of one names the other."""
    over_ikev2 = _login(world, authority="other-ca")
    over_sstp = _sstp(world, ca=world.lab.pki.cert("other-ca"))
    for one, other in ((over_ikev2, over_sstp), (over_sstp, over_ikev2)):
        told = [line for line in world.gateway.json("explain", one["id"])["told"] if "shows 800 for the two together" in line]
        check(len(told) == 1 and f"evergate explain {other['id']}" in told[0], f"{told}")
    address = over_sstp["client"].rpartition(":")[0]
    check(world.gateway.json("explain", address)["attempt"]["id"] == over_sstp["id"], "the address does not lead there")


@row("numbers", "the new password was refused", "rejects user .stale.*new password refused .E=709", "691", listed=False)
def a_new_password_that_is_refused(world):
    return _sstp(world, "--new-password", "other", auth="mschapv2", user="stale")


@row("numbers", "PPP encryption", "")
def encryption_of_ppp(world):
    """CCP is rejected, and that is all: the call goes on."""
    saw = Sstp(world.lab, world.gateway.binary).misbehave("unknown-protocols", "--watch", "1")
    check(saw["up"], f"{saw}")
    told = [line["text"] for line in world.attempt(world.attempts()[0]["id"])["timeline"] if "CCP" in line["text"]]
    check(told == ["CCP is not spoken here: rejected"], f"{told}")


@row("numbers_sessions", "the client moved to another network, and the tunnel could not follow", "")
def a_client_without_mobike_that_is_elsewhere(world):
    with device(world) as pc:
        pc.tunnel("user", "windows-aovpn", mobike=False).login()
        attempt = world.attempts()[0]
        pc.vanish()
    _ended(world, attempt, "client_lost")


@row("numbers", "the connection closed after TLS", "")
def a_certificate_without_the_purpose_of_a_server(world):
    """Such a client leaves after TLS like any other, so the configuration is refused that would bring it to that."""
    pki, config = world.lab.pki, world.gateway.default_config()
    config["certificate"] = [{"name": "wrong", "chain": str(pki.cert("machine-rsa")), "key": str(pki.key("machine-rsa"))}]
    for listener in config["listener"]:
        listener["certificates"] = ["wrong"]
    file = world.gateway.folder / "purpose.toml"
    file.write_text(toml.dumps(config))
    done = run([world.gateway.binary, "check", "--json", "--config", file], check=False)
    error = json.loads(done.stdout)["error"]
    check(done.returncode == 1 and "lacks the extended key usage serverAuth" in error and "0x80070040" in error, error)


# --- Nobody's attempt: packets of strangers are counted --------------------------------------------------------------------------------------


@setup("numbers_limits")
def _limits(config):
    config["limits"] = {"half_open_per_source": 1, "half_open_max": 16, "cookie_threshold": 16, "half_open_timeout": "5s"}


@row("numbers_limits", "too many logins from one address", "")
def half_open_logins_of_one_address(world):
    with device(world) as pc:
        for number in range(4):
            check(not pc.tunnel(f"t{number}", "windows-aovpn").step("init")["error"], f"login {number} was not begun")
        check(_counted(world, "half_open_refused") == 0, "refused too early")
        pc.tunnel("more", "windows-aovpn")
        pc.send("init", tunnel="more")
        check(wait_until(lambda: _counted(world, "half_open_refused"), 5), "it is not counted")
        line = _logged(world, "half-open limit for ")
        check(re.search(r"half-open limit for \S+ reached \(4 unauthenticated\); exempt balancer CIDR\?", line), line)
        pc.vanish()
    address = world.attempts()[0]["client"].rpartition(":")[0]
    check(wait_until(lambda: world.attempts()[0]["outcome"] == "failed", 10), "it goes on")
    told = " ".join(world.gateway.json("explain", address)["told"])
    check(f'exempt = ["{address}"] in [limits]' in told, told)


@row("numbers_limits", "packets for a tunnel that is gone", "")
def a_client_of_before_the_restart(world):
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        tunnel.login()
        world.gateway.daemon.stop(hard=True)
        world.gateway.restart()
        pc.send("liveness", tunnel="user")
        check(wait_until(lambda: _counted(world, "unknown_spi"), 5), "it is not counted")
        address = re.search(r"unknown SPI from (\S+) since restart: INVALID_IKE_SPI sent", _logged(world, "unknown SPI from "))[1]
        _told_by_address(world, address, "no attempt from", "unknown SPI from", "affinity by source address over both ports")
        pc.vanish()


# An IKEv1 Main Mode packet: cookies, no answer, next payload SA, version 1.0, Identity Protection, no flags, message 0, this length.
IKEV1 = """
import socket, struct, sys
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(3)
link.sendto(struct.pack("!QQBBBBII", 0x5eed, 0, 1, 0x10, 2, 0, 0, 28), (sys.argv[1], 500))
answer = link.recv(200)
print(answer[17], struct.unpack("!H", answer[34:36])[0])
"""


@row("numbers_limits", "an L2TP profile", "")
def a_packet_of_ikev1(world):
    """Version 2 answers, INVALID_MAJOR_VERSION (5)."""
    before = _counted(world, "unsupported_version")
    done = world.lab.network.exec("client", [sys.executable, "-c", IKEV1, network.GATEWAY_IPV4])
    check(done.stdout.split() == [str(0x20), "5"], f"{done.stdout}")
    check(_counted(world, "unsupported_version") == before + 1, "it is not counted")
    line = _logged(world, "IKEv1 packet from ")
    check("this server speaks IKEv2; profile type is L2TP? set it to IKEv2" in line, line)


# --- Provoked by other cases -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Elsewhere:
    """The test that provokes a row: its file, and its function."""

    title: str
    file: str
    function: str


ELSEWHERE = (
    Elsewhere("the client refused a rekey that it did not begin", "tests/interop/cases_windows.py", "the_gateway_rekeys_no_child_of_windows"),
    Elsewhere("no answer comes from RADIUS", "tests/interop/cases_explain.py", "another_secret_than_the_radius_server_has"),
    Elsewhere("PPP could not agree", "tests/sim/tests/cases/sstp/logins.rs", "options_that_are_insisted_upon_end_the_call_with_the_last_of_them"),
    Elsewhere("nobody answers PPP", "tests/sim/tests/cases/sstp/timers.rs", "lcp_that_is_not_answered_ends_by_its_own_count"),
)


@case("numbers")
def what_other_tests_provoke_is_there(world):
    for each in ELSEWHERE:
        text = (Path(__file__).parents[2] / each.file).read_text()
        check(re.search(rf"^(def|fn) {each.function}\b", text, re.M), f"{each.file} has no {each.function}")
