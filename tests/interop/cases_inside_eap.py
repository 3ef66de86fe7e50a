"""What passes through inside EAP: certificates of the RADIUS server and of the client, and who refuses whose."""

import re

from harness import case, check
from labkit.client import Profile
from labkit.pki import RADIUS_NAME

TLS_USER = "alice@example.test"


def timeline(world, attempt):
    return "\n".join(line["text"] for line in world.gateway.json("attempts", "show", attempt["id"])["timeline"])


@case("inside_eap")
def the_certificates_of_both_sides_are_on_record(world):
    world.login(Profile(method="eap-tls", user=TLS_USER), ping=False)
    text = timeline(world, world.attempts()[0])
    check("agree on TLS 1.2" in text, f"no TLS version in\n{text}")
    check(re.search(rf"RADIUS shows the certificate .*CN={RADIUS_NAME}.*SAN {RADIUS_NAME}.*serverAuth", text), f"no server certificate in\n{text}")
    check(re.search(r"the client shows the certificate .*CN=alice.*clientAuth", text), f"no client certificate in\n{text}")
    shown = world.gateway.json("status")["eap_certificates"]
    check(len(shown) == 1 and f"CN={RADIUS_NAME}" in shown[0]["subject"] and shown[0]["radius"] == "freeradius", f"status shows {shown}")


def failure(world, profile):
    before = {attempt["id"] for attempt in world.attempts()}
    outcome = world.client().connect(profile)
    check(not outcome.up, "the login came up", outcome.log)
    world.client().forget()
    attempt = world.record(before, ("eap", "radius"), ".")
    return world.gateway.json("attempts", "show", attempt["id"])


@case("inside_eap")
def a_client_that_does_not_trust_the_radius_server(world):
    shown = failure(world, Profile(method="eap-tls", user=TLS_USER, radius_name="elsewhere.example.test"))
    check(f"CN={RADIUS_NAME}" in shown["cause"] and "client refuses the RADIUS server's certificate" in shown["cause"], f"{shown['cause']}")
    check(shown["windows_code"] in ("857 or 860", "864 or 865"), f"Windows shows {shown['windows_code']}")
    check("EAP server names" in shown["fix"], f"{shown['fix']}")


@case("inside_eap")
def a_radius_server_that_does_not_trust_the_client(world):
    shown = failure(world, Profile(method="eap-tls", user="pc1.example.test", certificate="other-machine"))
    check("RADIUS refuses the client's certificate" in shown["cause"] and "CN=pc1.example.test" in shown["cause"], f"{shown['cause']}")
    check(shown["windows_code"] == "853" and "NTAuth" in shown["fix"], f"{shown['windows_code']}: {shown['fix']}")


@case("inside_eap")
def a_method_that_the_client_does_not_do(world):
    """RADIUS offers nothing but EAP-TLS to this user; the client has a password only."""
    shown = failure(world, Profile(method="eap-md5", user="tina"))
    check("wants EAP-MD5" in shown["cause"] and shown["windows_code"] == "850 or 812", f"{shown['cause']}, {shown['windows_code']}")
