"""SSTP with the client that Linux has: sstpc below pppd, PPP in a kernel of its own."""

import re
import time

import hostapd
from harness import case, check, setup
from labkit import network, trixie
from labkit.pki import RADIUS_NAME
from labkit.shell import wait_until
from uml.sstp import Call

MEGABYTES = 20
CALL = Call(network.GATEWAY_IPV4_MACHINE)
# Exit statuses of pppd.
USER_REQUEST, HANGUP, PEER_REFUSED_US = 5, 16, 19


@setup("pppd")
def _every_method(config):
    for listener in config["listener"]:
        if listener["protocol"] == "sstp":
            listener["auth"] = ["eap", "mschapv2", "chap", "pap"]


def _call(world, call=CALL, ping=True):
    """Calls, and checks that the gateway and the client agree on what came of it."""
    sstp = world.sstp()
    link = sstp.connect(call)
    check(link.up, f"no link, pppd ended with {link.status}", link.log)
    session = world.session_of(call.user)
    check(session["tunnel"] == "sstp", f"{session}")
    check(link.address in session["inner"], f"{session['inner']} recorded, {link.address} assigned")
    if ping:
        world.ping("machine")
    world.link = link
    return sstp


def _hang_up(sstp):
    """Whether pppd or sstpc sees the end first is chance."""
    status = sstp.disconnect()
    check(status in (USER_REQUEST, HANGUP), f"pppd ended with {status}", sstp.log())


def _rejected(world, call, saw, number="691"):
    """RADIUS says no: pppd hears it, and the record names the user, RADIUS and the number that Windows would show."""
    before = {attempt["id"] for attempt in world.attempts()}
    link = world.sstp().connect(call)
    check(not link.up, f"a link came up with {call.method}: {link.address}", link.log)
    check(link.status == PEER_REFUSED_US, f"pppd ended with {link.status}", link.log)
    check(link.saw(saw), f"pppd did not see /{saw}/", link.log)
    world.no_sessions()
    attempt = world.record(before, ("auth", "radius"), f"freeradius rejects.*{call.user}")
    check(number in (world.attempt(attempt["id"])["windows_code"] or ""), f"no Windows code {number} with {call.method}: {attempt}")


def _method(world, method):
    sstp = _call(world, CALL.but(method=method))
    check(world.link.saw(SIGNS[method]), f"no sign of {method}", world.link.log)
    world.transfer(2, "down", "machine")
    _hang_up(sstp)
    world.no_sessions()


# What pppd's log shows of a method.
SIGNS = {
    "mschapv2": r"rcvd \[CHAP Success .*S=",
    "pap": r"rcvd \[PAP AuthAck",
    "chap": r"rcvd \[CHAP Success",
    "eap-mschapv2": r"rcvd \[EAP Request .*MSCHAPv2",
    "eap-tls": r"rcvd \[EAP Request .*TLS",
    "peap": r"rcvd \[EAP Request .*PEAP",
}
for method in ("mschapv2", "pap", "chap", "eap-mschapv2"):
    case("pppd", f"auth_{method.replace('-', '_')}")(lambda world, m=method: _method(world, m))

# pppd 2.4.9 answers another proposal than EAP-TLS with a Nak that asks for SRP: RADIUS proposes it to this user first.
EAP_TLS = CALL.but(method="eap-tls", user="tina")


@case("pppd")
def half_keys_of_eap_tls_bind_nothing(world):
    """pppd 2.4.9 keeps 16 of the 32 octets of each key, with which no client can answer for the keys of the login."""
    before = {attempt["id"] for attempt in world.attempts()}
    link = world.sstp().connect(EAP_TLS)
    check(not link.up and link.saw(r"mppe recv key \(16\)"), f"pppd ended with {link.status}", link.log)
    check(link.saw("ABORT") and link.saw("Value of attribute is incorrect"), "no ABORT for the binding", link.log)
    world.no_sessions()
    world.record(before, "crypto_binding", ".")


def _newer(world, method, user, keys=""):
    """Debian 13's pppd 2.5 and sstpc 1.0.20: the answer to the binding shows that they derived the keys of the login."""
    trixie.ensure()
    before = {attempt["id"] for attempt in world.attempts()}
    sstp = _call(world, CALL.but(method=method, user=user, newer=True))
    link = world.link
    version = world.machine().exec(trixie.command(["pppd", "--version"])).stdout
    check(" 2.5." in version, f"not the newer pppd: {version}")
    for sign in (SIGNS[method], r"SEND SSTP CRTL PKT\(112\)", keys):
        check(link.saw(sign), f"no /{sign}/ with {method}", link.log)
    for direction in ("down", "up"):
        world.transfer(2, direction, "machine")
    check(world.lab.network.ping("lan", link.address), f"no answer from {link.address} to the LAN", link.log)
    (attempt,) = [attempt for attempt in world.attempts() if attempt["id"] not in before]
    check(attempt["outcome"] == "up", f"{attempt}")
    _hang_up(sstp)
    world.no_sessions()


@case("pppd")
def newer_eap_tls(world):
    """Whole keys, unlike those of 2.4.9."""
    _newer(world, "eap-tls", "tina", r"mppe send key \(32\)")


for method in ("mschapv2", "eap-mschapv2"):
    case("pppd", f"newer_{method.replace('-', '_')}")(lambda world, m=method: _newer(world, m, "alice"))


@setup("pppd_peap")
def _peap(config):
    config["radius"][0] |= {"name": "hostapd", "port": hostapd.PORT}


@case("pppd_peap")
def newer_peap(world):
    """Its keys are of the cryptobinding alone, which is between pppd and the RADIUS server."""
    with hostapd.Hostapd(world.lab.folder / "hostapd", world.radius.daemon.namespace, world.lab.pki, world.radius.secret):
        _newer(world, "peap", "pia", "PEAP TLS: L?M bits? (is|are) set")
    link, attempt = world.link, world.attempts()[0]
    check(link.saw("PEAP CB: generate mppe keys"), "no cryptobinding", link.log)
    story = "\n".join(line["text"] for line in world.attempt(attempt["id"])["timeline"])
    check(re.search(rf"RADIUS shows the certificate .*CN={RADIUS_NAME}.*SAN {RADIUS_NAME}.*serverAuth", story), f"no server certificate in\n{story}")


@case("pppd")
def whole_call(world):
    """Addresses of both families, name server, packets of every size, content both ways, the books."""
    sstp = _call(world)
    link, before = world.link, world.session_of("alice")
    check(link.dns and set(link.dns) == {network.LAN_DNS}, f"name servers {link.dns}", link.log)
    check(link.mtu >= 1400, f"an MTU of {link.mtu}", link.log)
    check(link.saw(r"SEND SSTP CRTL PKT\(112\)"), "no crypto binding", link.log)
    check(wait_until(lambda: any(":" in address for address in sstp.addresses()), 10), f"no IPv6: {sstp.addresses()}", sstp.log())
    for target in (network.LAN_IPV4, network.LAN_IPV6):
        for size in (0, 1, 100, 1300, 1352):
            world.ping("machine", target, size=size, count=1)
        for direction in ("down", "up"):
            world.transfer(MEGABYTES, direction, "machine", target)
    after = world.session_of("alice")
    for counter in ("octets_in", "octets_out"):
        check(after[counter] - before[counter] > 2 * MEGABYTES * 1_000_000, f"{counter}: {before[counter]}, then {after[counter]}")
    _hang_up(sstp)
    world.no_sessions()
    stop = world.accounting(before["attempt"], "Stop")
    check(stop["Acct-Terminate-Cause"] == "User-Request", f"{stop}")
    check(int(stop["Acct-Input-Octets"]) >= after["octets_in"], f"{stop}")


@case("pppd")
def packets_in_fragments(world):
    """Their pieces leave the gateway together; sstpc takes one SSTP packet each time that its socket has something."""
    _call(world)
    for size in (1373, 1400, 3000, 20000):
        world.ping("machine", size=size, count=3)


for version in ("1.2", "1.3"):

    def tls(world, version=version):
        _call(world, CALL.but(tls=version, sni=version == "1.3"))
        world.transfer(2, "up", "machine")

    case("pppd", f"tls_{version.replace('.', '_')}")(tls)


@case("pppd")
def behind_nat(world):
    _call(world, CALL.but(server=network.GATEWAY_IPV4_BEHIND_NAT))
    world.transfer(2, "down", "machine")
    check(world.session_of("alice")["client"].startswith(network.NAT_OUTSIDE + ":"), f"{world.sessions()}")


@case("pppd")
def outer_ipv6(world):
    _call(world, CALL.but(server=network.GATEWAY_IPV6_MACHINE))
    world.transfer(2, "down", "machine")


@case("pppd")
def without_ipv6_inside(world):
    _call(world, CALL.but(ipv6=False))


@case("pppd")
def a_name_with_a_domain(world):
    _call(world, CALL.but(user="EXAMPLE\\alice"))


@case("pppd")
def framed_ip_address_is_honoured(world):
    _call(world, CALL.but(user="bob"))
    check(world.link.address == "10.98.0.77", f"assigned {world.link.address}")


@case("pppd")
def echoes_keep_the_link(world):
    """pppd asks every second, and would hang up after two silent ones."""
    sstp = _call(world, CALL.but(options=("debug", "lcp-echo-interval 1", "lcp-echo-failure 2")))
    time.sleep(6)
    check(sstp.running(), "the link is gone", sstp.log())
    check(sum("rcvd [LCP EchoRep" in line for line in sstp.log()) >= 4, "echoes were not answered", sstp.log())
    world.ping("machine")


@case("pppd")
def wrong_password(world):
    for method, saw in (("mschapv2", r"CHAP Failure .*E=691"), ("pap", "PAP AuthNak"), ("chap", "CHAP Failure")):
        _rejected(world, CALL.but(method=method, password="wrong"), saw)
    _call(world)


@case("pppd")
def radius_rejects_a_user_certificate(world):
    _rejected(world, EAP_TLS.but(certificate="other-machine"), r"rcvd \[EAP Request .*TLS", "853")


@case("pppd")
def client_distrusts_the_gateway(world):
    link = world.sstp().connect(CALL.but(authority="other-ca"))
    check(not link.up and link.saw("certificate verification failed"), f"another outcome: {link.status}", link.log)
    world.no_sessions()
    _call(world)


@case("pppd")
def operator_disconnects(world):
    sstp = _call(world)
    session = world.session_of("alice")
    world.gateway.command("sessions", "disconnect", str(session["id"]))
    status = sstp.wait(8)
    check(status is not None, "the client was not told", sstp.log())
    check(any("rcvd [LCP TermReq" in line or "DISCONNECT" in line for line in sstp.log()), "no goodbye", sstp.log())
    world.no_sessions()
    stop = world.accounting(session["attempt"], "Stop")
    check(stop["Acct-Terminate-Cause"] == "Admin-Reset", f"{stop}")


@case("pppd")
def session_timeout_ends_the_call(world):
    sstp = _call(world, CALL.but(user="carol"), ping=False)
    check(sstp.wait(10) is not None, "the session outlives its Session-Timeout", sstp.log())
    world.no_sessions()


@case("pppd")
def a_client_that_crashed_is_noticed(world):
    """Its kernel closes the connection."""
    sstp = _call(world)
    session = world.session_of("alice")
    sstp.vanish()
    world.no_sessions(5)
    stop = world.accounting(session["attempt"], "Stop")
    check(stop["Acct-Terminate-Cause"] in ("Lost-Carrier", "User-Request"), f"{stop}")
    _call(world)


@case("pppd")
def only_the_leased_address_may_send(world):
    _call(world)
    before = world.session_of("alice")
    shell = world.machine()
    shell.exec(["ip", "addr", "add", "10.98.0.200/32", "dev", world.link.interface])
    argv = ["ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.98.0.200", network.LAN_IPV4]
    check(shell.exec(argv, check=False).returncode != 0, "a foreign source address was answered")
    check(world.session_of("alice")["octets_out"] == before["octets_out"], "the gateway answered it")


@case("pppd")
def reconnects_quickly(world):
    for _ in range(5):
        sstp = _call(world)
        _hang_up(sstp)
        world.no_sessions()


@case("pppd")
def beside_an_ikev2_session(world):
    """Two users, two protocols, at once."""
    world.login()
    _call(world, CALL.but(user="dave"))
    with world.pinging(), world.pinging("machine"):
        time.sleep(1)
    world.transfer(5, "down")
    world.transfer(5, "down", "machine")
    check({session["tunnel"] for session in world.sessions()} == {"ikev2", "sstp"}, f"{world.sessions()}")


@case("pppd")
def sigterm_says_goodbye(world):
    sstp = _call(world)
    session = world.session_of("alice")
    check(world.gateway.stop() == 0, "the gateway did not end well")
    check(sstp.wait(8) is not None, "the client was not told", sstp.log())
    stop = world.accounting(session["attempt"], "Stop")
    check(stop["Acct-Terminate-Cause"] == "Admin-Reboot", f"{stop}")
    world.gateway.restart()
    _call(world)


@setup("pppd_mschapv2_only")
def _one_method(config):
    for listener in config["listener"]:
        if listener["protocol"] == "sstp":
            listener["auth"] = ["mschapv2"]


@case("pppd_mschapv2_only")
def other_methods_stay_out(world):
    for method in ("pap", "chap", "eap-mschapv2"):
        link = world.sstp().connect(CALL.but(method=method))
        check(not link.up, f"{method} came up", link.log)
        world.no_sessions()
    _call(world)
