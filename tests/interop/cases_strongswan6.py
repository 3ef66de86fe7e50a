"""strongSwan 6: what it has in common with version 5, and a second key exchange with ML-KEM (RFC 9242, RFC 9370)."""

import re

from harness import NEWER, case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until

GROUP = "strongswan6"
NEWER.add(GROUP)
# strongSwan's word -> the gateway's, and whether the gateway's half of the exchange needs fragments (RFC 7383); the client's always does.
KEMS = {"mlkem768": ("ML_KEM_768", False), "mlkem1024": ("ML_KEM_1024", True)}
PLAIN = Profile(ike=("aes256gcm16-prfsha384-ecp384",), esp=("aes256gcm16-ecp384",))


@setup(GROUP)
def _post_quantum(config):
    config["ciphers"] = {"additional": ["mlkem1024", "mlkem768"]}


def _rekeys(world, client):
    """Both kinds, also of SAs that came from rekeying, under traffic."""
    with world.pinging():
        for _ in range(2):
            check(client.rekey_child(), "the Child SA was not rekeyed", client.log())
            check(client.rekey_ike(), "the IKE SA was not rekeyed", client.log())
    check(client.rekey_child(), "the Child SA of a rekeyed IKE SA was not rekeyed", client.log())
    world.ping()
    for direction in ("down", "up"):
        world.transfer(2, direction)


def _login(world, profile):
    client = world.login(profile)
    check(any("strongSwan 6" in line for line in client.log()), "another version", client.log()[:3])
    return client


def _method(world, method, user):
    client = _login(world, PLAIN.but(method=method, user=user))
    (session,) = world.sessions()
    check("ADDKE" not in session["ike_suite"], f"{session}")
    _rekeys(world, client)
    check(client.disconnect(), "no answer to DELETE", client.log())
    world.no_sessions()


# Version 6 takes a certificate only for the identity that it names.
for method, user in (("eap-mschapv2", "alice"), ("eap-tls", "alice@example.test"), ("certificate", "alice")):
    case(GROUP, method.replace("-", "_"))(lambda world, m=method, u=user: _method(world, m, u))


def _profile(kem):
    suite = f"-ecp384-ke1_{kem}"
    return PLAIN.but(ike=(f"aes256gcm16-prfsha384{suite}",), esp=(f"aes256gcm16{suite}",))


def _check_suites(world, client, shown, when):
    wanted = f"AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1={shown}"
    found = world.session_of("alice")["ike_suite"]
    check(found == wanted, f"{found} {when}, not {wanted}")
    child = world.session_of("alice")["esp_suite"]
    check(child.startswith("AES_GCM_16_256/") and (f"/ECP_384/" in child and child.endswith(f"/ADDKE1={shown}")) == (when != "at first"), f"{child} {when}")
    check(client.session()["ake1"] == shown, f"the client sees {client.session()} {when}")


def _additional(world, kem):
    shown, fragments = KEMS[kem]
    client = _login(world, _profile(kem))
    check(world.last.saw(r"^generating IKE_INTERMEDIATE request 1 \[ EF\(2/2\)"), "the client did not need fragments", world.last.log)
    check(fragments == world.last.saw(r"^parsed IKE_INTERMEDIATE response 1 \[ EF\(2/2\)"), "other fragments than expected", world.last.log)
    _check_suites(world, client, shown, "at first")
    _rekeys(world, client)
    _check_suites(world, client, shown, "after rekeying")
    check(all(child.get("ake1") == shown for child in client.children()), f"{client.children()}")


for kem in KEMS:
    case(GROUP, kem)(lambda world, k=kem: _additional(world, k))


@case(GROUP)
def mlkem_behind_nat(world):
    client = _login(world, _profile("mlkem1024").but(server=network.GATEWAY_IPV4_BEHIND_NAT))
    _rekeys(world, client)
    check(world.session_of("alice")["nat"] != "none", f"{world.sessions()}")


@case(GROUP)
def mlkem_for_the_ike_sa_alone(world):
    """Child SAs take their keys from it, with a classical exchange or none of their own."""
    for esp in ("aes256gcm16-ecp384", "aes256gcm16"):
        client = _login(world, _profile("mlkem768").but(esp=(esp,)))
        _rekeys(world, client)
        check(client.disconnect(), "no answer to DELETE", client.log())
        world.no_sessions()


@setup("strongswan6_rekeys")
def _short_lives(config):
    _post_quantum(config)
    config["timers"] = {"ike_rekey": "12s", "child_rekey": "10s"}


NEWER.add("strongswan6_rekeys")


def _gateway_rekeys(world, profile):
    client = _login(world, profile)
    before = client.session()["initiator-spi"], client.children()[0]["spi-in"]

    def both():
        session, children = client.session(), client.children()
        return session and session["initiator-spi"] != before[0] and children and children[0]["spi-in"] != before[1]

    with world.pinging():
        check(wait_until(both, 40), "the gateway did not rekey", client.log())
    check(any(re.search(r"parsed IKE_FOLLOWUP_KE request", line) for line in client.log()), "no second exchange", client.log())
    check("ADDKE1" in world.session_of("alice")["ike_suite"] and "ake1" in client.session(), f"{client.session()}")
    world.ping()


@case("strongswan6_rekeys", long=True)
def the_gateway_rekeys_with_mlkem(world):
    _gateway_rekeys(world, _profile("mlkem768"))


@case("strongswan6_rekeys", long=True)
def the_gateway_rekeys_with_mlkem_for_the_ike_sa_alone(world):
    _gateway_rekeys(world, _profile("mlkem1024").but(esp=("aes256gcm16-ecp384",)))
