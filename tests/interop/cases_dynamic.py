"""Sessions that are ended and changed from outside while they run (RFC 5176), with FreeRADIUS's radclient."""

import re
import struct
import sys
import time
from pathlib import Path

from coa_sender import sender
from harness import WINDOWS_FILTER, case, check, setup
from labkit import network
from labkit.pki import GATEWAY_NAME
from labkit.shell import wait_until
from sstp_client import Sstp

SECRET = "for-dynamic-authorization-only"
# Error-Cause in radclient's words.
NO_SESSION, MISSING, OTHER_NAS, UNSUPPORTED = "Session-Context-Not-Found", "Missing-Attribute", "NAS-Identification-Mismatch", "Unsupported-Attribute"
INVALID = "Invalid-Attribute-Value"


@setup("dynamic")
def dynamic(config):
    file = Path(config["server"]["state_dir"] + ".dynamic")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SECRET + "\n")
    config["dynamic_client"] = [{"name": "portal", "address": network.RADIUS_IPV4, "secret_file": str(file)}]
    quarantine = {"name": "quarantine", "filter_id": ["quarantine"], "grant": False}
    short = {"name": "short", "filter_id": ["short"], "pool": config["pool"][0]["name"], "session_timeout": "2s"}
    lasting = {"name": "lasting", "filter_id": ["lasting"], "pool": config["pool"][0]["name"]}
    config["policy"][:0] = [quarantine, short, lasting]


OVER_TLS = Path(__file__).with_name("coa_over_tls.py")
DISCONNECT, DISCONNECT_ACK, DISCONNECT_NAK = 40, 41, 42


@setup("dynamic_tls")
def _dynamic_over_tls(config):
    dynamic(config)
    chain = config["certificate"][0]
    pki = Path(chain["chain"]).parent
    portal = {"name": "portal", "transport": "tls", "address": network.RADIUS_IPV4, "tls_name": "pc1.example.test", "ca": [str(pki / "ca.pem")]}
    # Somebody else may ask by datagrams.
    other = config["dynamic_client"][0] | {"name": "other", "address": "10.99.77.77"}
    config["dynamic_client"] = [portal | {"chain": chain["chain"], "key": chain["key"]}, other]


@setup("dynamic_tls_revoked")
def _whose_certificate_is_revoked(config):
    _dynamic_over_tls(config)
    portal = config["dynamic_client"][0]
    portal |= {"tls_name": "pc6.example.test", "crl": [str(Path(portal["chain"]).parent / "ca.crl")]}


def ask(world, kind, secret=SECRET, stamped=True, **attributes):
    """What radclient hears: `Disconnect-ACK`, `CoA-NAK Session-Context-Not-Found`, or None after two tries."""
    quoted = lambda value: value if value.startswith("0x") else f'"{value}"'
    lines = [f"{name.replace('_', '-')} = {quoted(value)}" for name, value in attributes.items()]
    lines += [f"Event-Timestamp = {int(time.time())}"] if stamped else []
    argv = ["radclient", "-x", "-t", "0.5", "-r", "2", f"{network.NAS_IPV4}:3799", kind, secret]
    done = world.lab.network.exec("radius", argv, check=False, timeout=20, input=", ".join(lines) + "\n")
    said = done.stdout + done.stderr
    answer = re.search(r"Received (\S+) Id", said)
    if not answer:
        return None
    cause = re.search(r"Error-Cause = (\S+)", said)
    return f"{answer[1]} {cause[1]}" if cause else answer[1]


def gone(world, user="alice"):
    return wait_until(lambda: not [s for s in world.gateway.json("sessions", "list")["sessions"] if s["user"] == user], 5)


def stop_cause(world, session):
    """Acct-Terminate-Cause of the session's Stop."""
    stop = lambda: [r for r in world.radius.accounting() if r.get("Acct-Session-Id") == session["attempt"] and r["Acct-Status-Type"] == "Stop"]
    found = wait_until(stop, 5)
    return found[0].get("Acct-Terminate-Cause") if found else None


@case("dynamic")
def a_user_is_disconnected(world):
    world.login()
    session = world.session_of("alice")
    heard = ask(world, "disconnect", User_Name="alice", Framed_IP_Address=session["inner"][0])
    check(heard == "Disconnect-ACK", f"radclient heard {heard}")
    check(gone(world), "the session lives on")
    check(stop_cause(world, session) == "Admin-Reset", f"the Stop says {stop_cause(world, session)}")
    check(wait_until(lambda: world.client().session() is None, 5), "the client was not told")
    record = world.gateway.json("attempts", "show", session["attempt"])
    check(any("portal ends the session" in line["text"] for line in record["timeline"]), f"{record['timeline']}")


def _counters(world):
    return world.gateway.json("status")["dynamic"]


def _grown(world, before):
    return {name: count - before[name] for name, count in _counters(world).items()}


@case("dynamic")
def only_what_fits_in_all_is_meant(world):
    world.login()
    before = _counters(world)
    session = world.session_of("alice")
    for expected, attributes in (
        (f"Disconnect-NAK {NO_SESSION}", {"User_Name": "alice", "Framed_IP_Address": "10.1.2.3"}),
        (f"Disconnect-NAK {NO_SESSION}", {"User_Name": "nobody"}),
        (f"Disconnect-NAK {MISSING}", {"NAS_IP_Address": network.NAS_IPV4}),
        (f"Disconnect-NAK {OTHER_NAS}", {"User_Name": "alice", "NAS_Identifier": "another-gateway"}),
        (f"Disconnect-NAK {UNSUPPORTED}", {"User_Name": "alice", "Session_Timeout": "5"}),
    ):
        heard = ask(world, "disconnect", **attributes)
        check(heard == expected, f"{attributes}: {heard}, not {expected}")
    check(ask(world, "disconnect", stamped=False, User_Name="alice") == f"Disconnect-NAK {MISSING}", "a request without time hit a user")
    check(ask(world, "disconnect", secret="wrong", User_Name="alice") is None, "a wrong secret was answered")
    world.ping()
    grown = _grown(world, before)
    check(grown["dropped_authenticator"] >= 1 and grown["refused"] == 6, f"{grown}")
    heard = ask(world, "disconnect", stamped=False, Acct_Session_Id=session["attempt"], NAS_IP_Address=network.GATEWAY_IPV4)
    check(heard == "Disconnect-ACK" and gone(world), f"radclient heard {heard}")


@case("dynamic")
def limits_change_under_a_running_session(world):
    world.login()
    session = world.session_of("alice")
    check(ask(world, "coa", Acct_Session_Id=session["attempt"], Session_Timeout="1") == "CoA-ACK", "the change was refused")
    check(gone(world), "Session-Timeout of the CoA was not kept")
    check(stop_cause(world, session) == "Session-Timeout", f"the Stop says {stop_cause(world, session)}")
    world.login()
    session = world.session_of("alice")
    check(ask(world, "coa", User_Name="alice", Idle_Timeout="1") == "CoA-ACK", "the change was refused")
    check(gone(world) and stop_cause(world, session) == "Idle-Timeout", f"the Stop says {stop_cause(world, session)}")


@case("dynamic")
def a_new_filter_id_is_judged_by_the_policies(world):
    world.login()
    check(ask(world, "coa", User_Name="alice", Filter_Id="short") == "CoA-ACK", "the change was refused")
    check(world.session_of("alice")["policy"] == "short", f"{world.session_of('alice')}")
    check(gone(world), "the new policy's session timeout was not kept")
    world.login()
    check(ask(world, "coa", User_Name="alice", Filter_Id="quarantine") == "CoA-ACK", "the change was refused")
    check(gone(world), "a denied session lives on")


@case("dynamic")
def filters_and_rates_change_under_a_running_session(world):
    """The data plane's own: what passes before does not pass after, and the other way round."""
    world.login()
    passes = lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1)
    coa = lambda **changes: ask(world, "coa", User_Name="alice", **changes)
    shown = lambda name: world.session_of("alice").get(name)
    check(passes(), "no traffic before")
    check(coa(NAS_Filter_Rule="permit in udp from any to any 7001") == "CoA-ACK", "NAS-Filter-Rule was refused")
    check(shown("filters") == ["NAS-Filter-Rule"] and not passes(), f"no filter: {world.session_of('alice')}")
    # Nothing of a request is done that cannot be done as a whole.
    for expected, changes in (
        (INVALID, {"NAS_Filter_Rule": "permit in ip from any to moon", "WISPr_Bandwidth_Max_Up": "64000"}),
        (INVALID, {"Filter_Id": "nowhere", "Session_Timeout": "1"}),
        (INVALID, {"MS_Filter": "0x01000000", "Idle_Timeout": "1"}),
        (UNSUPPORTED, {"WISPr_Bandwidth_Max_Down": "64000", "WISPr_Session_Terminate_Time": "now"}),
    ):
        check(coa(**changes) == f"CoA-NAK {expected}", f"{changes}: not {expected}")
    time.sleep(1.2)
    now = world.session_of("alice")
    check(now["filters"] == ["NAS-Filter-Rule"] and not {"rate_limit_in", "rate_limit_out"} & now.keys(), f"half applied: {now}")
    check(coa(NAS_Filter_Rule="permit in ip from any to any") == "CoA-ACK" and passes(), "the new rule did not take the place of the old")
    check(coa(MS_Filter=WINDOWS_FILTER) == "CoA-ACK" and not passes(), "MS-Filter does not hold")
    check(shown("filters") == ["NAS-Filter-Rule", "MS-Filter"], f"{world.session_of('alice')}")
    check(coa(WISPr_Bandwidth_Max_Up="64000", WISPr_Bandwidth_Max_Down="128000") == "CoA-ACK", "the rates were refused")
    check((shown("rate_limit_in"), shown("rate_limit_out")) == (64000, 128000), f"{world.session_of('alice')}")
    check(coa(WISPr_Bandwidth_Max_Up="0") == "CoA-ACK" and shown("rate_limit_in") is None, f"{world.session_of('alice')}")


@case("dynamic")
def sstp_sessions_end_likewise(world):
    with Sstp(world.lab, world.gateway.binary).held():
        check(ask(world, "disconnect", User_Name="alice") == "Disconnect-ACK", "it was refused")
        check(gone(world), "the session lives on")


@case("dynamic")
def who_is_no_client_is_not_heard(world):
    argv = ["radclient", "-x", "-t", "0.5", "-r", "1", f"{network.GATEWAY_IPV4}:3799", "disconnect", SECRET]
    done = world.lab.network.exec("client", argv, check=False, timeout=20, input='User-Name = "alice"\n')
    check("Received" not in done.stdout, done.stdout)
    check(world.gateway.json("status")["dynamic"]["dropped_source"] >= 1, f"{world.gateway.json('status')['dynamic']}")


def ask_over_tls(world, user, certificate="machine-rsa", secret="radsec", code=DISCONNECT):
    """What a client that shows this certificate hears, line by line."""
    pki = world.lab.pki
    shown = ("-", "-") if certificate is None else (pki.folder / f"{certificate}.pem", pki.folder / f"{certificate}.key")
    argv = [sys.executable, OVER_TLS, network.NAS_IPV4, 2083, pki.folder / "ca.pem", GATEWAY_NAME, *shown, code, secret]
    name = user.encode()
    done = world.lab.network.exec("radius", list(map(str, argv)), timeout=20, input=(struct.pack("!BB", 1, 2 + len(name)) + name).hex())
    return done.stdout.splitlines()


@case("dynamic_tls")
def a_user_is_disconnected_over_tls(world):
    world.login()
    before = _counters(world)
    check(ask_over_tls(world, "nobody") == ["alive", f"answer {DISCONNECT_NAK} 503", "alive"], f"{ask_over_tls(world, 'nobody')}")
    world.ping()
    heard = ask_over_tls(world, "alice")
    check(heard == ["alive", f"answer {DISCONNECT_ACK} 0", "alive"], f"{heard}")
    check(gone(world), "the session lives on")
    grown = _grown(world, before)
    check(grown["acknowledged"] == 1 and grown["connections_refused"] == 0, f"{grown}")


@case("dynamic_tls")
def freeradius_changes_and_ends_a_session_over_tls(world):
    world.login()
    before = _counters(world)
    with sender(world.lab, network.NAS_IPV4) as portal:
        for count, (status, user, filter_id, answer) in enumerate(
            (
                ("Start", "nobody", "short", "CoA-NAK"),
                ("Start", "alice", "nowhere", "CoA-NAK"),
                ("Start", "alice", "lasting", "CoA-ACK"),
                ("Stop", "nobody", "-", "Disconnect-NAK"),
                ("Stop", "alice", "-", "Disconnect-ACK"),
            )
        ):
            portal.ask(status, User_Name=user, Filter_Id=filter_id, Acct_Session_Id=f"of the portal {count}")
            check(wait_until(lambda: len(portal.heard()) == count + 1, 5), f"{count + 1} answers wanted: {portal.heard()}", portal.daemon.tail().splitlines())
            check(portal.heard()[-1] == answer, f"{user} {filter_id}: {portal.heard()}")
            if answer == "CoA-ACK":
                check(world.session_of("alice")["policy"] == "lasting", f"{world.session_of('alice')}")
    check(gone(world), "the session lives on")
    grown = _grown(world, before)
    check((grown["acknowledged"], grown["refused"], grown["connections_refused"]) == (2, 3, 0), f"{grown}")


@case("dynamic_tls_revoked")
def a_revoked_certificate_is_not_heard(world):
    heard = ask_over_tls(world, "alice", certificate="machine-revoked")
    check(len(heard) == 1 and heard[0].startswith("ended"), f"{heard}")
    log = world.gateway.daemon.log_file.read_text()
    check(re.search("dynamic authorization was refused.*was revoked at|was revoked at.*dynamic authorization was refused", log), log)


@case("dynamic_tls")
def only_the_right_certificate_is_heard(world):
    world.login()
    before = _counters(world)
    # Another name, another authority, for servers alone, too old, none at all.
    wrong = ("machine-ecdsa", "other-machine", "radius", "machine-expired", None)
    for certificate in wrong:
        heard = ask_over_tls(world, "alice", certificate=certificate)
        check(len(heard) == 1 and heard[0].startswith("ended"), f"{certificate}: {heard}")
    log = world.gateway.daemon.log_file.read_text()
    for cause in ("not made out to pc1.example.test", "leads to none of the accepted authorities", "expired"):
        check(re.search(f"dynamic authorization was refused.*{cause}|{cause}.*dynamic authorization was refused", log), f"{cause}: {log}")
    grown = {name: count for name, count in _grown(world, before).items() if count}
    check(grown == {"connections_refused": len(wrong)}, f"{grown}")
    # What everybody knows opens nothing by datagrams, and a broken request ends the connection.
    check(ask(world, "disconnect", secret="radsec", User_Name="alice") is None, "a datagram with the secret of TLS was answered")
    for heard in (ask_over_tls(world, "alice", secret="wrong"), ask_over_tls(world, "alice", code=1)):
        check(len(heard) == 2 and heard[1].startswith("ended"), f"{heard}")
    world.ping()
