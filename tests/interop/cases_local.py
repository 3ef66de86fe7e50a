"""Logins without RADIUS: users from a file, EAP-MSCHAPv2, EAP-TLS and MS-CHAPv2 ended in the gateway."""

import re
import subprocess
from pathlib import Path

from cases_sstp import came_up, client, failed_record, ids, refused
from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.pki import GATEWAY_NAME
from labkit.shell import wait_until
from uml.sstp import Call

# The password of all of them is "password".
USERS = """\
alice nt=8846F7EAEE8FB117AD06BDD830B7586C groups=staff
bob nt=8846F7EAEE8FB117AD06BDD830B7586C groups=staff,kiosk address=10.98.0.77
carol nt=8846F7EAEE8FB117AD06BDD830B7586C
left nt=8846F7EAEE8FB117AD06BDD830B7586C groups=staff disabled
"""
TLS = Profile(method="eap-tls", user="alice@example.test", radius_name=GATEWAY_NAME)


def _users_file(state_dir):
    return Path(state_dir + ".users")


def _local(config, **more):
    config.pop("radius")
    file = _users_file(config["server"]["state_dir"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(USERS)
    file.chmod(0o600)
    config["local"] = {"users_file": str(file), "client_ca": config["listener"][0]["client_ca"],
                       "certificate": "gateway-rsa", "revocation": "off"} | more
    (policy,) = config["policy"]
    config["policy"] = [{"name": "kiosks", "group": ["kiosk"], "tunnel": ["sstp"], "grant": False}, policy | {"group": ["staff"]}]


@setup("local")
def passwords_first(config):
    _local(config)


@setup("local_tls")
def certificates_first(config):
    _local(config, eap=["tls", "mschapv2"], certificate="gateway-ecdsa", lockout_failures=2)


@setup("local_pppd")
def for_pppd(config):
    _local(config)


@setup("local_beside")
def beside_radius(config):
    radius = config["radius"]
    _local(config)
    config["radius"] = radius
    config["policy"] = config["policy"][1:] + [{"name": "others", "pool": "users"}]
    config["request_policy"] = [{"name": "here", "user": ["bob"], "provider": "local"}, {"name": "there"}]


def _accepted_locally(world, user):
    session = world.session_of(user)
    check(session["radius"] == "local", f"authenticated by {session['radius']}")
    story = " ".join(entry["text"] for entry in world.attempt(session["attempt"])["timeline"])
    check(f"the local provider accepts {user}" in story, story)


@case("local")
def ikev2_with_a_password(world):
    world.login()
    _accepted_locally(world, "alice")


@case("local")
def ikev2_with_a_user_certificate(world):
    """The client refuses EAP-MSCHAPv2, which is offered first, and names EAP-TLS."""
    world.login(TLS)
    _accepted_locally(world, "alice")


@case("local_tls")
def offered_first(world):
    world.login(TLS)
    _accepted_locally(world, "alice")
    world.client().disconnect()
    world.login(Profile(user="bob"))


@case("local_tls")
def status_tells_of_users_and_of_guessers(world):
    """Nobody of that name exists: guessers are not told, the administrator is."""

    def shown():
        return world.gateway.json("status")["local"]

    for _ in range(2):
        refused(client(world).call(user="mallory", auth="mschapv2"), stage="auth", code=691)
    check(wait_until(lambda: shown()["lockouts"], 5), f"no lockout: {shown()}")
    (lockout,) = shown()["lockouts"]
    check((lockout["user"], 200 < lockout["rest_secs"] <= 301) == ("mallory", True), f"{lockout}")
    counted = (shown()["users"], shown()["disabled"], shown()["groups"])
    check(counted == (4, 1, {"kiosk": 1, "staff": 3}), f"{shown()}")
    check("mallory" in world.gateway.command("status").stdout, "people are not told")
    file = Path(shown()["users_file"])
    try:
        file.write_text(USERS + "alice\n")
        check(wait_until(lambda: "alice" in shown().get("failure", ""), 5), f"a wrong file is not told of: {shown()}")
        check(shown()["users"] == 4, f"{shown()}")
    finally:
        file.write_text(USERS)
    check(wait_until(lambda: "failure" not in shown(), 5), f"{shown()}")


@case("local")
def wrong_password(world):
    attempt = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    check(world.last.saw("ERROR_AUTHENTICATION_FAILURE"), "the client did not see E=691", world.last.log)
    check("691" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 691")


@case("local")
def unknown_and_disabled_users(world):
    world.refused(Profile(user="mallory"), notify=None, stage="radius", cause="mallory")
    world.refused(Profile(user="left"), notify=None, stage="radius", cause="left.*disabled")


@case("local")
def a_certificate_of_a_foreign_authority(world):
    # The client hears the TLS alert, and acknowledges it or leaves.
    world.refused(TLS.but(certificate="other-machine"), notify=None, stage=("eap", "radius"), cause=".")


@case("local")
def groups_decide(world):
    world.refused(Profile(user="carol"), notify=None, stage="policy", cause='group wanted .staff., got none')
    before = ids(world)
    refused(client(world).call(user="bob"), stage="auth")
    record = failed_record(world, before)
    check(record["stage"] == "policy" and "kiosks" in record["cause"], f"{record}")
    refused(client(world).call(user="bob", auth="mschapv2"), stage="auth", code=649)


@case("local")
def a_fixed_address(world):
    world.login(Profile(user="bob"))
    check("10.98.0.77" in world.session_of("bob")["inner"], f"{world.session_of('bob')}")


@case("local")
def sstp_every_way(world):
    pki = world.lab.pki
    for more in (
        {"auth": "eap"},
        {"auth": "mschapv2"},
        {"auth": "eap-tls", "user": "alice@example.test", "cert": pki.cert("alice"), "key": pki.key("alice")},
    ):
        came_up(client(world).call("--ping", network.LAN_IPV4, **more))


@case("local")
def sstp_wrong_password(world):
    for auth in ("eap", "mschapv2"):
        before = ids(world)
        refused(client(world).call(auth=auth, password="wrong"), stage="auth", code=691)
        record = world.attempt(failed_record(world, before)["id"])
        check("the local provider rejects" in record["cause"] and "691" in record["cause"], f"{auth}: {record['cause']}")
    came_up(client(world).call(auth="mschapv2", password=["wrong", "password"]))


def _edits_users(world):
    """What runs `evergate user`, and the file that it changes."""
    file = _users_file(world.gateway.default_config()["server"]["state_dir"])

    def user(*words, password=""):
        done = subprocess.run([world.gateway.binary, "user", *words, "--file", file], input=password, capture_output=True, text=True, timeout=10)
        check(done.returncode == 0, f"evergate user {' '.join(words)}: {done.stderr}")

    return user, file


@case("local")
def passwords_that_have_run_out_are_changed_by_their_users(world):
    user, file = _edits_users(world)
    user("add", "erin", "--groups", "staff", password="the first one\n")
    old = "the first one"
    for auth, expiry, new in (("mschapv2", "--must-change", "the second one"), ("eap", "--password-expires=2020-12-31", "the th\u00efrd one")):
        call = lambda **more: client(world).call(user="erin", auth=auth, **more)  # noqa: B023, E731
        user("set", "erin", expiry)
        before = ids(world)
        refused(call(password=old), stage="auth", code=648)
        record = failed_record(world, before)
        check("password must be changed" in record["cause"] or "password expired" in record["cause"], f"{record}")
        refused(call(password=old, new_password="short"), stage="auth", code=709)
        refused(call(password="wrong", new_password=new), stage="auth", code=691)
        came_up(call(password=old, new_password=new))
        came_up(call(password=new))
        refused(call(password=old), stage="auth", code=691)
        check(file.stat().st_mode & 0o777 == 0o600, f"{file.stat()}")
        (line,) = (line for line in file.read_text().splitlines() if line.startswith("erin"))
        check("must-change" not in line and "password-expires" not in line and "groups=staff" in line, line)
        old = new
    world.login(Profile(user="erin", password=old))
    world.client().disconnect()
    user("remove", "erin")


@case("local")
def users_change_while_the_gateway_runs(world):
    user, _ = _edits_users(world)
    user("add", "dave", "--groups", "staff", password="first\n")
    world.login(Profile(user="dave", password="first"))
    world.client().disconnect()
    user("passwd", "dave", password="second\n")
    world.refused(Profile(user="dave", password="first"), notify=None, stage="radius", cause="dave")
    world.login(Profile(user="dave", password="second"))
    world.client().disconnect()
    user("disable", "dave")
    world.refused(Profile(user="dave", password="second"), notify=None, stage="radius", cause="disabled")


@case("local_beside")
def request_policies_choose_who_is_asked(world):
    world.login(Profile(user="bob"))
    _accepted_locally(world, "bob")
    world.client().disconnect()
    world.login()
    check(world.session_of("alice")["radius"] == "freeradius", f"{world.session_of('alice')}")


@case("local_pppd")
def sstpc_and_pppd(world):
    for method in ("mschapv2", "eap-mschapv2"):
        sstp = world.sstp()
        link = sstp.connect(Call(network.GATEWAY_IPV4_MACHINE).but(method=method))
        check(link.up, f"no link, pppd ended with {link.status}", link.log)
        _accepted_locally(world, "alice")
        world.ping("machine")
        sstp.disconnect()
        world.no_sessions()
