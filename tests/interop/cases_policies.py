"""Network policies as NPS orders them, with real peers over both tunnels: who decides, by which reason, and what `evergate explain` says."""

import datetime

from harness import case, check, setup
from labkit.client import Profile
from sstp_client import Sstp

# Windows shows these for a policy that says no.
WINDOWS = {"ikev2": "812", "sstp": "649 or 691"}


def _another_day():
    """Neither today nor a day beside it, wherever the gateway's clock stands."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)).strftime("%a").lower()


@setup("network_policies")
def _policies(config):
    """Groups as RADIUS tells them: by Class, or by a Filter-Id that names no filter."""
    member = {"any": [{"filter_id": ["staff"]}, {"class": ["staff"]}]}
    config["policy"] = [
        {"name": "off", "enabled": False},
        {"name": "no guests", "grant": False, "class": ["guest"]},
        {"name": "days", "user": ["carol"], "pool": "users", "allowed_hours": [f"{_another_day()} 00:00-24:00"]},
        {"name": "cards", "user": ["erin"], "pool": "users", "allowed_methods": ["EAP-TLS"]},
        {"name": "staff", **member, "pool": "staff"},
        {"name": "named", "user": ["carol", "erin", "dave"], "pool": "users"},
    ]
    config["pool"].append({"name": "staff", "ipv4": ["10.98.2.1-10.98.2.9"]})


# User: who decides, reason code, and what explain's line says.
REFUSED = {
    "dave": ("no guests", 65, r'^network policy "no guests" denies \(its conditions match, grant = false; reason 65\)$'),
    "carol": ("days", 68, r'^network policy "days" matches, but its constraint allowed_hours wanted .*, and no further policy is tried \(reason 68\)$'),
    "erin": ("cards", 66, r'^network policy "cards" matches, but its constraint allowed_methods wanted EAP-TLS, got EAP-MSCHAPv2, and no further'),
    "bob": (None, 48, r'^none of 6 network policies matches \(default deny, reason 48\): "off": disabled; "no guests": class wanted "guest", got none;'),
}


def _explained(world, attempt, tunnel, user):
    policy, reason, line = REFUSED[user]
    story = world.explained(attempt, line)
    shown = story["attempt"]
    check((shown["tunnel"], shown["user"], shown["stage"]) == (tunnel, user, "policy"), f"{shown}")
    check((shown["nps_reason"], shown["windows_code"]) == (reason, WINDOWS[tunnel]), f"{shown}")
    last = f'policy "{policy}" decides: deny (reason {reason})' if policy else f"no policy matches: deny (reason {reason})"
    check(shown["decision"][-1].startswith(last), f"{shown['decision']}")
    check(shown["decision"][0] == 'policy "off" does not match: disabled', f"{shown['decision']}")
    check("[[policy]]" in shown["fix"] and story["cases"], f"{story}")


@case("network_policies")
def over_ikev2(world):
    for user in REFUSED:
        attempt = world.refused(Profile(user=user), notify="AUTH_FAILED", stage="policy", cause=".")
        _explained(world, attempt, "ikev2", user)


@case("network_policies")
def over_sstp(world):
    for auth in ("eap", "mschapv2"):
        for user in ("dave", "carol", "bob", *(["erin"] if auth == "eap" else [])):
            before = {attempt["id"] for attempt in world.attempts()}
            found = Sstp(world.lab, world.gateway.binary).call(user=user, auth=auth)
            check(found.get("event") == "error", f"{user} came in: {found}")
            _explained(world, world.record(before, "policy", "."), "sstp", user)


@case("network_policies")
def members_of_the_group_come_in(world):
    """By Class and by Filter-Id; their policy gives them its pool over either tunnel."""
    for user in ("alice", "member"):
        client = world.login(Profile(user=user))
        session = world.session_of(user)
        check((session["policy"], session["tunnel"]) == ("staff", "ikev2") and client.addresses()[0].startswith("10.98.2."), f"{session}")
        check(client.disconnect(), "no answer to DELETE")
        world.no_sessions()
        with Sstp(world.lab, world.gateway.binary).held("--no-configure", user=user) as call:
            session = world.session_of(user)
            check((session["policy"], session["tunnel"]) == ("staff", "sstp"), f"{session}")
            check(call.up["ipv4"]["address"].startswith("10.98.2."), f"{call.up}")
            decision = world.attempt(session["attempt"])["decision"]
            check('policy "staff" decides: grant' in decision[-1], f"{decision}")
        world.no_sessions()
