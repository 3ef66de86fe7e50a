"""Client certificates that their authority has taken back, and what the gateway does when it cannot know."""

import signal
import time

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import Daemon, wait_until

PORT = 8089
URL = f"http://{network.LAN_IPV4}:{PORT}/ca.crl"
GOOD = Profile(method="certificate", certificate="machine-rsa")
REVOKED = Profile(method="certificate", certificate="machine-revoked")
CAUSE = r"CN=pc6\.example\.test.*serial number [0-9a-f]+ was revoked at 20\d\d-\d\d-\d\d .* \(key compromise\)"


def _refused(world, profile, cause):
    return world.refused(profile, notify="AUTH_FAILED", stage="ike_auth", cause=cause)


def _reload(world):
    log = world.gateway.daemon.log_file
    before = log.read_text().count("configuration reloaded")
    world.gateway.daemon.signal(signal.SIGHUP)
    check(wait_until(lambda: log.read_text().count("configuration reloaded") > before, 5), "SIGHUP has no effect", [world.gateway.daemon.tail()])


def _logged(world, text, seconds=5):
    return wait_until(lambda: text in world.gateway.daemon.log_file.read_text(), seconds)


@case("access")
def client_certificate_that_may_not_sign(world):
    _refused(world, Profile(method="certificate", certificate="machine-no-signatures"), "digitalSignature")


@setup("client_eku")
def client_eku(config):
    config["listener"][0]["client_eku"] = ["1.3.6.1.4.1.32473.7", "smartcardLogon"]


@case("client_eku")
def only_named_purposes_come_in(world):
    _refused(world, GOOD, "1.3.6.1.4.1.32473.7 or smartcardLogon")


@case("revocation")
def a_good_certificate_comes_in(world):
    world.login(GOOD)


@case("revocation")
def a_revoked_one_does_not(world):
    _refused(world, REVOKED, CAUSE)
    world.login(GOOD)


@case("revocation")
def a_list_that_has_run_out_is_soft(world):
    pki = world.lab.pki
    try:
        pki.list_revoked(start=-20, end=-1)
        _reload(world)
        check(_logged(world, "was to be replaced at"), "the log does not say that the list has run out")
        world.login(GOOD)
        _refused(world, REVOKED, CAUSE)
    finally:
        pki.list_revoked()
        _reload(world)


@case("revocation")
def a_certificate_revoked_meanwhile(world):
    """The file is read again without a word to the gateway."""
    second = Profile(method="certificate", certificate="machine-to-be-revoked")
    world.login(second)
    check(world.client().disconnect(), "no answer to DELETE")
    before = world.gateway.daemon.log_file.read_text().count("revocation list (new)")
    world.lab.pki.revoke("machine-to-be-revoked")
    world.lab.pki.list_revoked()
    read = wait_until(lambda: world.gateway.daemon.log_file.read_text().count("revocation list (new)") > before, 15)
    check(read, "the new list was not read", [world.gateway.daemon.tail()])
    _refused(world, second, "was revoked at")


@setup("revocation_hard")
def revocation_hard(config):
    config["listener"][0] |= {"revocation": "hard"}


@case("revocation_hard")
def only_cleared_certificates_come_in(world):
    pki = world.lab.pki
    world.login(GOOD)
    _refused(world, REVOKED, CAUSE)
    try:
        pki.list_revoked(start=-20, end=-1)
        _reload(world)
        _refused(world, GOOD, r"revocation list of .* was due to be replaced at 20.*hard")
        _refused(world, REVOKED, CAUSE)
    finally:
        pki.list_revoked()
        _reload(world)
    world.login(GOOD)


@setup("revocation_url")
def revocation_url(config):
    config["listener"][0] |= {"revocation": "hard", "crl": [URL]}


@case("revocation_url")
def a_list_that_was_fetched_outlives_a_restart(world):
    folder = world.lab.pki.folder.parent / "published"
    folder.mkdir(exist_ok=True)
    server = Daemon(world.lab.namespace("lan"), folder.parent / "crl-server.pid", folder.parent / "crl-server.log")
    # Nobody serves the list: one warning with the URL and the reason.
    check(_logged(world, f"source={URL}"), "no warning about the list", [world.gateway.daemon.tail()])
    _refused(world, GOOD, "there is no revocation list of .*Evergate Lab Root CA")
    (folder / "ca.crl").write_bytes(world.lab.pki.crl().read_bytes())
    probe = f"import socket; socket.create_connection(('{network.LAN_IPV4}', {PORT}), 1)"
    answers = lambda: world.lab.network.exec("lan", ["python3", "-c", probe], check=False).returncode == 0  # noqa: E731
    server.start(["python3", "-m", "http.server", str(PORT), "--directory", folder], ready=answers, what="the server of the list")
    try:
        _reload(world)
        check(_logged(world, "revocation list (new)"), "the list was not fetched", [world.gateway.daemon.tail()])
        time.sleep(0.2)
        world.login(GOOD)
        _refused(world, REVOKED, CAUSE)
    finally:
        server.stop()
    world.gateway.stop()
    world.gateway.restart()
    check(_logged(world, "revocation list (as it was kept)"), "the kept list was not read", [world.gateway.daemon.tail()])
    world.login(GOOD)
    _refused(world, REVOKED, CAUSE)
