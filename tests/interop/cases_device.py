"""Device tunnels: machines with a certificate, which RADIUS authorises by name."""

import time

from harness import case, check, setup
from labkit import network
from labkit.client import Profile
from labkit.shell import wait_until

# FreeRADIUS knows pc1 and pc2; pc3 has a good certificate all the same.
PC1 = Profile(method="certificate", certificate="machine-rsa")
PC2 = Profile(method="certificate", certificate="machine-ecdsa")
STRANGER = Profile(method="certificate", certificate="machine-p384")


def _asked(config):
    config["listener"][0]["certificate_authorization"] = "radius"


@setup("device")
def device(config):
    _asked(config)
    config["policy"].insert(0, {"name": "devices", "class": ["devices1"], "user": ["host/pc1.*"], "method": ["certificate"], "pool": "users"})


@case("device")
def accept_is_honoured_and_accounted(world):
    client = world.login(PC1)
    check(client.addresses() == ["10.98.0.81"], f"Framed-IP-Address is 10.98.0.81, assigned {client.addresses()}")
    session = world.session_of("host/pc1.example.test")
    check(session["policy"] == "devices" and session["radius"] == "freeradius", f"{session}")
    start = world.accounting(session["attempt"], "Start")
    wanted = {"User-Name": "host/pc1.example.test", "Class": "0x6465766963657331", "Framed-IP-Address": "10.98.0.81", "Acct-Authentic": "RADIUS"}
    check(wanted.items() <= start.items(), f"the Start says {start}")
    check(client.disconnect(), "no answer to DELETE")
    stop = world.accounting(session["attempt"], "Stop")
    check(stop["Class"] == wanted["Class"] and stop["Acct-Terminate-Cause"] == "User-Request", f"the Stop says {stop}")


@case("device")
def session_timeout_of_the_accept_ends_it(world):
    client = world.login(PC2)
    check(world.session_of("host/pc2.example.test")["policy"] == "everyone", f"{world.sessions()}")
    check(wait_until(lambda: not client.session(), 6), "the session outlives its Session-Timeout")
    world.no_sessions()


@case("device")
def reject_is_final(world):
    attempt = world.refused(STRANGER, notify="AUTH_FAILED", stage="radius", cause="freeradius rejects user .host/pc3.example.test.*certificate")
    check(attempt["user"] == "host/pc3.example.test", f"recorded user {attempt['user']}")
    world.login()


@setup("device_silence")
def device_silence(config):
    _asked(config)
    config["radius"] = [server | {"retransmit_initial": "700ms", "tries": 2, "timeout": "2s"} for server in config["radius"]]


@case("device_silence")
def silence_lets_nobody_in_and_delays_nobody(world):
    client = world.login(Profile(liveness="1s"))
    world.radius.freeze()
    started = time.monotonic()
    with world.pinging():
        profile = Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, method="certificate", certificate="machine-rsa", seconds=60)
        attempt = world.refused(profile, role="client2", notify="AUTH_FAILED", stage="radius", cause="freeradius.*no valid reply after [23] tries")
        check(time.monotonic() - started > 1, "the refusal came too fast for a silence")
    check(client.session(), "the other session is gone")
    check(world.attempt(attempt["id"])["fix"], "no fix is given")
    world.radius.thaw()
    world.login(profile, role="client2")
