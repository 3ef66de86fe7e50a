"""The accounting log in the format of NPS: what real logins write."""

import re
import signal
import xml.etree.ElementTree as xml
from datetime import UTC, datetime
from pathlib import Path

from cases_reload import configured
from cases_sstp import client, refused
from harness import case, check, setup
from labkit.client import Profile
from labkit.shell import wait_until


@setup("nps-log")
def beside_the_state(config):
    folder = Path(config["server"]["state_dir"] + ".nps")
    folder.mkdir(parents=True, exist_ok=True)
    config["nps_log"] = {"folder": str(folder), "rotate": "daily"}


def _events(world):
    file = world.gateway.json("status")["nps_log"].get("file")
    return [{part.tag: part.text for part in xml.fromstring(line)} for line in Path(file).read_text().splitlines()] if file else []


def _of(world, attempts):
    """The events of the classes of these attempts."""
    events = _events(world)
    classes = {event["Class"] for event in events if event.get("Acct-Session-Id") in attempts}
    return [event for event in events if event.get("Class") in classes]


@case("nps-log")
def a_session_of_each_tunnel(world):
    """Request, accept, start and stop have one Class; the file has the name of its day."""
    attempts = []
    connection = world.login(ping=False)
    attempts.append(world.session_of("alice")["attempt"])
    check(connection.disconnect(), "no answer to DELETE")
    world.no_sessions()
    with client(world).held(user="alice", auth="mschapv2"):
        attempts.append(world.session_of("alice")["attempt"])
    world.no_sessions()
    stops = lambda: [event for event in _of(world, attempts) if event.get("Acct-Status-Type") == "2"]  # noqa: E731
    check(wait_until(lambda: len(stops()) == 2, 5), f"{_of(world, attempts)}")
    events = _of(world, attempts)
    for attempt, kind in zip(attempts, ("5", "4"), strict=True):
        own = [event for event in events if event["Class"].endswith(f" {attempt.rsplit('-')[-1]}")]
        told = [tuple(event.get(name) for name in ("Packet-Type", "Reason-Code", "Acct-Status-Type")) for event in own]
        rounds = [("1", "0", None), ("11", "0", None)]
        while told[:2] == rounds:
            told, own = told[2:], own[2:]
        check(told == [("1", "0", None), ("2", "0", None), ("4", "0", "1"), ("4", "0", "2")], f"{told}")
        # EAP takes rounds, MS-CHAPv2 in PPP takes none.
        challenges = [event for event in events if event["Class"] == own[0]["Class"] and event["Packet-Type"] == "11"]
        check(bool(challenges) == (kind == "5"), f"{kind}: {challenges}")
        check(len({event["Class"] for event in own}) == 1 and re.match(r"311 1 \S+ \d\d/\d\d/\d{4} ", own[0]["Class"]), f"{own}")
        check(own[1]["Authentication-Type"] == kind and own[1]["NP-Policy-Name"] == "everyone", f"{own[1]}")
        check(own[3]["Acct-Terminate-Cause"] == "1" and int(own[3]["Acct-Session-Time"]) < 30, f"{own[3]}")
        check(own[2]["Framed-IP-Address"].startswith("10.98.0.") and own[2]["Acct-Session-Id"] == attempt, f"{own[2]}")
    file = world.gateway.json("status")["nps_log"]["file"]
    check(re.fullmatch(r"IN\d{6}\.log", Path(file).name), file)
    age = datetime.now(UTC) - datetime.strptime(events[-1]["Timestamp"], "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=UTC)
    check(abs(age.total_seconds()) < 30, f"{events[-1]}")


@case("nps-log")
def refusals_have_their_reason(world):
    world.refused(Profile(user="bob", password="wrong"), notify=None, stage="radius", cause="bob")
    refused(client(world).call(user="bob", password="wrong", auth="mschapv2"), stage="auth", code=691)
    attempts = [attempt["id"] for attempt in world.attempts()[:2]]
    check(wait_until(lambda: len(_of(world, attempts)) >= 4, 5), f"{_of(world, attempts)}")
    told = {(event["Packet-Type"], event["Reason-Code"]) for event in _of(world, attempts)}
    check(told == {("1", "0"), ("11", "0"), ("3", "16")}, f"{told}")


@case("nps-log")
def a_disk_in_trouble_keeps_nobody_out(world):
    """The folder is gone: sessions come up, the status says why nothing is written; it is made again, and nothing is missing."""
    world.login(Profile(user="bob"), ping=False).disconnect()
    check(wait_until(lambda: _events(world), 5), "nothing is written")
    folder = Path(world.gateway.json("status")["nps_log"]["file"]).parent
    aside = folder.with_name("aside")
    folder.rename(aside)
    try:
        world.login(ping=False).disconnect()
        check(wait_until(lambda: "failure" in world.gateway.json("status")["nps_log"], 5), "no failure is told")
    finally:
        aside.rename(folder)
    check(wait_until(lambda: world.gateway.json("status")["nps_log"]["waiting"] == 0, 5), f"{world.gateway.json('status')['nps_log']}")
    check(world.gateway.json("status")["nps_log"]["dropped"] == 0, f"{world.gateway.json('status')['nps_log']}")


@case("nps-log")
def sessions_that_a_crash_ends_have_a_stop(world):
    """It stands before the line of the gateway's next start, and has the Class of its login."""
    world.login(ping=False)
    session = world.session_of("alice")["attempt"]
    own = lambda: [event for event in _events(world) if event.get("Acct-Session-Id") == session]  # noqa: E731
    check(wait_until(lambda: own() and own()[-1].get("Acct-Status-Type") == "1", 5), f"{own()}")
    file, start = Path(world.gateway.json("status")["nps_log"]["file"]), own()[-1]
    world.gateway.daemon.signal(signal.SIGKILL)
    check(wait_until(lambda: world.gateway.daemon.pid() is None, 5), "it does not die")
    mark = len(file.read_text().splitlines())
    world.gateway.restart()
    check(wait_until(lambda: len(file.read_text().splitlines()) >= mark + 2, 10), f"{file.read_text().splitlines()[mark:]}")
    stop, on = [{part.tag: part.text for part in xml.fromstring(line)} for line in file.read_text().splitlines()[mark:][:2]]
    check((stop["Acct-Status-Type"], stop["Acct-Terminate-Cause"], on["Acct-Status-Type"]) == ("2", "11", "7"), f"{stop} {on}")
    for name in ("Class", "User-Name", "NP-Policy-Name", "Framed-IP-Address", "Client-IP-Address"):
        check(stop[name] == start[name], f"{name}: {start} {stop}")


@case("nps-log")
def a_reload_moves_it(world):
    """To another folder and back; one that is not there is refused, and the old one is written on."""
    world.login(Profile(user="bob"), ping=False).disconnect()
    check(wait_until(lambda: _events(world), 5), "nothing is written")
    first = Path(world.gateway.json("status")["nps_log"]["file"])
    other = first.parent.with_name("elsewhere")
    with configured(world) as config:

        def to(folder):
            return lambda new: new.update(nps_log={"folder": str(folder), "rotate": "never", "challenges": False})

        config.write(to(other))
        problem = world.gateway.command("reload", check=False)
        check(problem.returncode != 0 and "nps_log: no file can be opened in folder" in problem.stderr, f"{problem}")
        lines = len(first.read_text().splitlines())
        world.login(Profile(user="bob"), ping=False).disconnect()
        check(wait_until(lambda: len(first.read_text().splitlines()) > lines, 5), "the old folder is not written on")
        other.mkdir()
        report = config.reload(to(other))
        check([change["section"] for change in report["changes"]] == ["nps_log"] and not report["needs_restart"], f"{report}")
        world.login(Profile(user="bob"), ping=False).disconnect()
        check(wait_until(lambda: world.gateway.json("status")["nps_log"]["file"] == str(other / "iaslog.log"), 5), "it is not written there")
        check({event["Packet-Type"] for event in _events(world)} <= {"1", "2", "4"}, f"{_events(world)}")
        config.reload(lambda new: new.pop("nps_log"))
        check("nps_log" not in world.gateway.json("status"), "it goes on")
    check("nps_log" in world.gateway.json("status"), "it does not begin again")
