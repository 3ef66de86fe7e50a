"""RADIUS over TLS (RFC 6614) with a real FreeRADIUS: logins, certificates, connections that break."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from cases_trace import decoded, tracing
from harness import case, check, setup
from labkit.client import Profile
from labkit.network import RADIUS_IPV4
from labkit.pki import RADIUS_NAME
from labkit.radius import SECRET, OverTls, Radius
from labkit.shell import in_namespace, wait_until
from sstp_client import Sstp

CUTTER, RADIUS_1_1 = Path(__file__).with_name("cutter.py"), Path(__file__).with_name("radius11.py")
PORT, CUT_PORT = 2083, 2084


@setup("radsec")
def _over_tls(config):
    config["radius"] = [_server(config, "radsec")]


@setup("radsec_revocation")
def _with_a_list(config):
    config["radius"] = [_server(config, "radsec", revocation="hard", crl=[str(Path(config["certificate"][0]["chain"]).parent / "ca.crl")])]


@setup("radsec_cut")
def _through_the_cutter(config):
    config["radius"] = [_server(config, "radsec", port=CUT_PORT, accounting=False)]


@setup("radsec_1_1")
def _without_md5(config):
    config["radius"] = [_server(config, "radsec", radius_1_1="require")]
    for listener in config["listener"]:
        if listener["protocol"] == "sstp":
            listener["auth"] = ["eap", "mschapv2", "pap"]


def _server(config, name, **more):
    pki = Path(config["certificate"][0]["chain"]).parent
    shown = {"chain": str(pki / "machine-rsa.pem"), "key": str(pki / "machine-rsa.key")}
    server = {"name": name, "transport": "tls", "address": RADIUS_IPV4, "tls_name": RADIUS_NAME, "ca": [str(pki / "ca.pem")]}
    return server | shown | {"revive_interval": "1s"} | more


@contextlib.contextmanager
def _radius(world, **options):
    server = Radius(
        world.lab.folder / "radius-tls", world.lab.namespace("radius"), world.lab.pki, users=world.radius.users, ports=(2812, 2813), tls=OverTls(PORT, **options)
    )
    try:
        yield server.start()
    finally:
        server.stop(hard=True)


def _counters(world):
    return world.gateway.json("status")["radius"][0]["counters"]


def _lasting(counters):
    """Connections without those that failed before the server was there: the gateway tells of its start at once."""
    return counters["connections"] - counters["connections_lost"]


def _call(world, **options):
    outcome = Sstp(world.lab, world.gateway.binary).call(**options)
    check(outcome["event"] == "up", f"the call did not come up: {outcome}")


def _logins(world, server):
    world.login().disconnect()
    _call(world)
    _call(world, auth="mschapv2", user="dave")
    check(wait_until(lambda: len([r for r in server.accounting() if r["Acct-Status-Type"] == "Stop"]) >= 3, 5), f"{server.accounting()}")


@case("radsec")
def the_doctor_asks_over_tls(world):
    argv = [world.gateway.binary, "doctor", "--json", "--config", world.gateway.config_file]
    with _radius(world):
        findings = json.loads(world.lab.network.exec("gateway", argv, check=False).stdout)["findings"]
    said = [finding["text"] for finding in findings if finding["check"] == "radius"]
    check(len(said) == 1 and "answered Status-Server within" in said[0], f"{said}")


@case("radsec")
def logins_and_accounting_share_a_connection(world):
    with _radius(world) as server:
        _logins(world, server)
        check(_lasting(_counters(world)) == 1, f"{_counters(world)}")
        check(world.gateway.json("status")["radius"][0]["address"].endswith(f":{PORT}"), "not the port of RADIUS over TLS")
    with _radius(world, version="1.3") as server:
        _call(world)
    log = world.gateway.daemon.log_file.read_text()
    check('version="TLS 1.2"' in log and 'version="TLS 1.3"' in log, "not both versions of TLS were spoken")


@case("radsec")
def a_capture_holds_what_tls_hides(world):
    """Packets of RADIUS as Wireshark reads them, with zeros for their secrets."""
    with tempfile.TemporaryDirectory() as folder, _radius(world):
        capture = Path(folder) / "radsec.pcapng"
        with tracing(world, "--user", "dave", "--json", "--pcap", capture) as trace:
            _call(world, auth="mschapv2", user="dave")
            check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
        shown = decoded(capture, "-V", "-Y", "radius")
        words = ("Code: Access-Request (1)", "Code: Access-Accept (2)", "t=User-Name(1)", "val=dave", "Code: Accounting-Request (4)")
        check(all(word in shown for word in words), f"Wireshark reads it otherwise: {shown}")
        response = bytes([26, 58, 0, 0, 1, 0x37, 25, 52])
        said = capture.read_bytes()
        check(response + bytes(50) in said, "MS-CHAP2-Response is not there, or in clear")


@case("radsec")
def another_server_is_not_believed(world):
    for certificate, cause in (("gateway-rsa", f"not made out to {RADIUS_NAME}"), ("other-radius", "leads to none of the accepted authorities")):
        with _radius(world, certificate=certificate):
            attempt = world.refused(Profile(), notify="AUTH_FAILED", stage="radius", cause=f"radsec.*{cause}")
            check(attempt["user"] == "alice", f"{attempt}")


@case("radsec")
def a_server_that_is_restarted(world):
    with _radius(world) as server:
        world.login().forget()
        server.stop()
        world.refused(Profile(), notify="AUTH_FAILED", stage="radius", cause="radsec.*no TCP connection")
        server.start()
        check(wait_until(lambda: world.gateway.json("status")["radius"][0]["standing"] == "alive", 10), "it was not found again")
        world.login()


@case("radsec_revocation")
def a_server_whose_certificate_is_revoked_is_asked_no_more(world):
    """Also not on the connection that is up."""
    log = world.gateway.daemon.log_file
    with _radius(world, certificate="radius-to-be-revoked"):
        world.login().disconnect()
        world.lab.pki.revoke("radius-to-be-revoked")
        world.lab.pki.list_revoked()
        world.gateway.daemon.signal(signal.SIGHUP)
        ended = lambda: re.search(r"a TLS connection to a RADIUS server ended.*was revoked at", log.read_text())  # noqa: E731
        check(wait_until(ended, 10), "the connection stays", [world.gateway.daemon.tail()])
        world.refused(Profile(), notify="AUTH_FAILED", stage="radius", cause=r"radsec.*was revoked at 20\d\d-\d\d-\d\d .*\(key compromise\)")
    with _radius(world):
        check(wait_until(lambda: world.gateway.json("status")["radius"][0]["standing"] == "alive", 10), "the good one was not found")
        world.login()


@case("radsec_cut")
def a_connection_that_breaks_in_mid_eap(world):
    """Status-Server aside, the third question is lost with the connection: it is asked again on another one, and the login goes on."""
    with _radius(world), _program(world, CUTTER, CUT_PORT, PORT, 3):
        world.login()
        counted = _counters(world)
        check(counted["connections"] == 2 and counted["connections_lost"] == 1 and counted["retransmitted"] == 1, f"{counted}")


@contextlib.contextmanager
def _program(world, *arguments):
    """A script in the radius namespace, which says `ready`; gives what it said after that, once it is over."""
    command = in_namespace(world.lab.namespace("radius"), [sys.executable, *arguments])
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    said = []
    try:
        check(process.stdout.readline() == "ready\n", f"{arguments[0]} does not run")
        yield said
    finally:
        process.kill()
        said += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()


def _radius_1_1(world, versions):
    pki = world.lab.pki.folder
    return _program(world, RADIUS_1_1, PORT, pki / "radius.pem", pki / "radius.key", pki / "ca.pem", SECRET, versions)


@case("radsec_1_1")
def logins_of_every_kind_without_md5(world):
    """A server of our own that knows RADIUS/1.1 alone, with FreeRADIUS behind it."""
    with _radius_1_1(world, "radius/1.1,radius/1.0") as said:
        world.login().disconnect()
        _call(world)
        _call(world, auth="mschapv2", user="dave")
        _call(world, auth="pap", user="dave")
        stops = lambda: [r for r in world.radius.accounting() if r["Acct-Status-Type"] == "Stop"]
        # What the gateway wrote down while nobody was there is sent first, when the server is asked again.
        check(wait_until(lambda: len(stops()) >= 4, 40), f"{world.radius.accounting()}")
        status = world.gateway.json("status")["radius"][0]
        check(status["radius_version"] == "1.1" and _lasting(status["counters"]) == 1, f"{status}")
    check(said == ["agreed radius/1.1"], f"{said}")


@case("radsec_1_1")
def the_doctor_asks_without_md5(world):
    """It speaks RADIUS/1.1 as logins do: with the probe user, where the configuration names one, and gets an answer."""
    text = world.gateway.config_file.read_text()
    file = world.gateway.folder / "probe.toml"
    file.write_text(text.replace("[[radius]]\n", '[[radius]]\nprobe_user = "nobody"\n', 1))
    with _radius_1_1(world, "radius/1.1,radius/1.0") as said:
        for config, question in ((world.gateway.config_file, "Status-Server"), (file, 'an Access-Request of "nobody"')):
            argv = [world.gateway.binary, "doctor", "--json", "--config", config]
            findings = json.loads(world.lab.network.exec("gateway", argv, check=False).stdout)["findings"]
            told = [finding["text"] for finding in findings if finding["check"] == "radius"]
            check(len(told) == 1 and f"answered {question} within" in told[0], f"{told}")
    check(said == ["agreed radius/1.1"] * 2, f"{said}")


@case("radsec_1_1")
def what_is_required_is_not_given_up(world):
    with _radius(world, version="1.3"):
        world.refused(Profile(), notify="AUTH_FAILED", stage="radius", cause="radsec.*does not speak RADIUS/1.1, which radius_1_1 requires")
    with _radius_1_1(world, "radius/1.0") as said:
        world.refused(Profile(), notify="AUTH_FAILED", stage="radius", cause="radsec.*(no_application_protocol|does not speak RADIUS/1.1)")
    check("agreed radius/1.0" not in said, f"{said}")


@case("radsec")
def the_newest_that_both_know_is_spoken(world):
    with _radius_1_1(world, "radius/1.1,radius/1.0") as said:
        world.login()
    check(said == ["agreed radius/1.1"], f"{said}")
    with _radius(world):
        check(wait_until(lambda: world.gateway.json("status")["radius"][0]["standing"] == "alive", 10), "it was not found again")
        _call(world)
        check(world.gateway.json("status")["radius"][0]["radius_version"] == "1.0", "a server that knows nothing of RADIUS/1.1")
