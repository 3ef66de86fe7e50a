"""Ways that stay shut: each refusal shows the client the right notify and leaves exactly one attempt record with stage and cause."""

import os
import time

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until


@case("access")
def wrong_password(world):
    # strongSwan does not acknowledge the MSCHAPv2 failure: it leaves with N(AUTHENTICATION_FAILED) of its own.
    attempt = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    check(world.last.saw("ERROR_AUTHENTICATION_FAILURE"), "the client did not see E=691", world.last.log)
    check("691" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 691")
    world.login()


@case("access")
def unknown_user(world):
    attempt = world.refused(Profile(user="mallory"), notify=None, stage="radius", cause="mallory")
    check(attempt["user"] == "mallory", f"recorded user {attempt['user']}")


@case("access")
def radius_rejects_a_user_certificate(world):
    profile = Profile(method="eap-tls", user="alice@example.test", certificate="other-machine")
    attempt = world.refused(profile, notify=None, stage="radius", cause="freeradius.*rejects.*alice@example.test")
    check(world.last.saw("EAP_FAILURE|EAP/FAIL"), "the client saw no EAP-Failure", world.last.log)
    check(attempt["user"] == "alice@example.test", f"recorded user {attempt['user']}")


@case("access")
def client_distrusts_the_gateway(world):
    world.refused(Profile(authority="other-ca"), notify=None, stage="ike_auth", cause="certificate")
    check(world.last.saw("no trusted RSA public key found|no trusted .* public key"), "another reason", world.last.log)


@case("access")
def client_certificate_of_a_foreign_authority(world):
    profile = Profile(method="certificate", certificate="other-machine")
    world.refused(profile, notify="AUTH_FAILED", stage="ike_auth", cause="certificate.*(issuer|trust|authorit)")


@case("access")
def expired_client_certificate(world):
    profile = Profile(method="certificate", certificate="machine-expired")
    world.refused(profile, notify="AUTH_FAILED", stage="ike_auth", cause="expired")


@case("access")
def client_certificate_without_the_purpose(world):
    profile = Profile(method="certificate", certificate="machine-no-purpose")
    world.refused(profile, notify="AUTH_FAILED", stage="ike_auth", cause="clientAuth")


@case("access")
def no_common_ike_proposal(world):
    world.refused(Profile(ike=("aes128-md5-modp768",)), notify="NO_PROP", stage="sa_init", cause="propos")


@case("access")
def no_common_esp_proposal(world):
    world.refused(Profile(esp=("aes128-md5",)), notify="NO_PROP", stage="child_sa", cause="propos")


@case("access")
def no_inner_address_wanted(world):
    world.refused(Profile(addresses=()), notify="FAIL_CP_REQ", stage="ike_auth", cause="address")


@case("access")
def the_way_is_free_again_after_refusals(world):
    for _ in range(3):
        world.client().connect(Profile(password="wrong"))
    world.login()


@setup("pool_of_one")
def pool_of_one(config):
    config["pool"] = [{"name": "users", "ipv4": ["10.98.0.10-10.98.0.10"]}]


@case("pool_of_one")
def pool_exhausted(world):
    first = world.login()
    second = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave")
    attempt = world.refused(second, role="client2", notify="INT_ADDR_FAIL", stage="address", cause="users.*exhausted")
    check("13899" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 13899")
    world.ping()
    check(first.disconnect(), "no answer to DELETE")
    client = world.login(second, role="client2")
    check(client.addresses() == ["10.98.0.10"], f"assigned {client.addresses()}")


@setup("policies")
def policies(config):
    config["policy"] = [
        {"name": "no guests", "grant": False, "user": ["dave"]},
        {"name": "staff", "class": ["staff"], "pool": "users", "selectors": ["10.99.10.0/24"]},
        {"name": "machines", "method": ["certificate"], "pool": "machines"},
    ]
    config["pool"].append({"name": "machines", "ipv4": ["10.98.1.1-10.98.1.9"]})


@case("policies")
def policy_denies(world):
    attempt = world.refused(Profile(user="dave"), notify="AUTH_FAILED", stage="policy", cause="no guests")
    check("812" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 812")


@case("policies")
def no_policy_matches(world):
    attempt = world.refused(Profile(user="bob"), notify="AUTH_FAILED", stage="policy", cause="none of 3 network policies")
    decision = " ".join(world.attempt(attempt["id"])["decision"])
    check(all(name in decision for name in ("no guests", "staff", "machines")), f"the record explains {decision!r}")


@case("policies")
def class_chooses_policy_and_selectors(world):
    client = world.login()
    check(world.session_of("alice")["policy"] == "staff", f"{world.sessions()}")
    check(client.children()[0]["remote-ts"] == ["10.99.10.0/24"], f"{client.children()[0]['remote-ts']}")


@case("policies")
def certificate_gets_the_machines_pool(world):
    client = world.login(Profile(method="certificate", certificate="machine-rsa"))
    check(client.addresses()[0].startswith("10.98.1."), f"assigned {client.addresses()}")


@setup("eap_only")
def eap_only(config):
    config["listener"][0]["auth"] = ["eap"]
    config["listener"][0].pop("client_ca")


@case("eap_only")
def certificate_where_only_eap_may(world):
    profile = Profile(method="certificate", certificate="machine-rsa")
    world.refused(profile, notify="AUTH_FAILED", stage="ike_auth", cause="certificate")
    world.login()


@setup("cookies")
def cookies_for_everyone(config):
    config["limits"] = {"cookie_threshold": 0}


@case("cookies")
def cookie_is_asked_and_taken(world):
    before = len(world.attempts())
    world.login()
    check("COOKIE" in world.last.notifies, f"no COOKIE was asked for: {sorted(world.last.notifies)}", world.last.log)
    check(len(world.attempts()) == before + 1, "the login left more than one record")


def _impatient(server, **more):
    # What answered lately and has no probe is waited for until `timeout`.
    return server | {"retransmit_initial": "300ms", "tries": 2, "timeout": "2s"} | more


@setup("radius_failover")
def first_server_is_dead(config):
    (server,) = config["radius"]
    config["radius"] = [_impatient(server, name="dead", address="10.99.20.99"), server]


@case("radius_failover")
def second_radius_server_answers(world):
    world.login(Profile(seconds=40))
    check(world.session_of("alice")["radius"] == "freeradius", f"{world.sessions()}")


@setup("radius_secret")
def another_secret(config):
    (server,) = config["radius"]
    wrong = server["secret_file"] + ".wrong"
    os.makedirs(os.path.dirname(wrong), mode=0o700, exist_ok=True)
    with open(wrong, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write("not-the-shared-secret")
    config["radius"] = [_impatient(server, secret_file=wrong)]


@case("radius_secret")
def wrong_radius_secret(world):
    attempt = world.refused(Profile(seconds=40), notify="AUTH_FAILED", stage="radius", cause="freeradius.*(answer|reply|respon)")
    check("secret" in (world.attempt(attempt["id"])["fix"] or ""), "the fix does not speak of the secret")


@setup("radius_silence")
def short_patience(config):
    config["radius"] = [_impatient(server) for server in config["radius"]]


@case("radius_silence")
def radius_silent_while_a_session_lives(world):
    """A stuck RADIUS server delays nobody who is in: traffic and liveness go on while a login waits and fails."""
    client = world.login(Profile(liveness="1s"))
    world.radius.freeze()
    started = time.monotonic()
    with world.pinging():
        profile = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave", seconds=60)
        attempt = world.refused(profile, role="client2", notify="AUTH_FAILED", stage="radius", cause="freeradius")
        check(time.monotonic() - started > 1, "the refusal came too fast for a silence")
    mark = client.charon.log.read_text().count("sending DPD request")
    asked = wait_until(lambda: client.charon.log.read_text().count("sending DPD request") > mark, 5)
    check(asked and client.session(), "liveness failed while RADIUS is silent", client.charon.log.read_text().splitlines())
    check(world.attempt(attempt["id"])["fix"], "no fix is given")
    world.ping()
    world.radius.thaw()
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave"), role="client2")
