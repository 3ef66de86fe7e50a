"""Another configuration under running sessions: RADIUS servers, pools, policies, certificates; a wrong one; twenty in a row under load."""

import contextlib
import json
import shutil
import signal
import threading
import time
import tomllib
from pathlib import Path

from cases_dynamic import SECRET as DYNAMIC_SECRET
from cases_dynamic import ask
from harness import TEST_USERS, case, check, setup
from labkit import network, packages, toml
from labkit.client import Profile
from labkit.radius import Radius, User
from labkit.shell import wait_until
from load_client import vigil
from sstp_client import Sstp

ONE, TWO = 2812, 3812
OTHER_SECRET = "quite-another-shared-secret"
NEW_POOL = "10.98.200.10-10.98.200.20"
RELOADS = 20


class Config:
    """The gateway's configuration, to be changed while it runs."""

    def __init__(self, world):
        self.world, self.file = world, world.gateway.config_file
        self.before = self.file.read_text()

    def write(self, change):
        config = tomllib.loads(self.before)
        change(config)
        self.file.write_text(toml.dumps(config))

    def reload(self, change=lambda config: None, *options):
        self.write(change)
        return self.world.gateway.json("reload", *options)


@contextlib.contextmanager
def configured(world):
    config = Config(world)
    try:
        yield config
    finally:
        config.file.write_text(config.before)
        world.gateway.command("reload")


def _log(world):
    return world.gateway.daemon.log_file.read_text()


def _sections(changes):
    return {change["section"]: change["change"] for change in changes}


def _radius(world, name, port, secret):
    folder = world.lab.folder / f"radius-{name}"
    (folder / "radius.log").unlink(missing_ok=True)
    return Radius(folder, world.lab.namespace("radius"), world.lab.pki, users=(*TEST_USERS, User("slow", seconds=1)), secret=secret, ports=(port, port + 1))


def _server(config, name, port):
    file = Path(config["server"]["state_dir"] + f".{name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(OTHER_SECRET + "\n")
    file.chmod(0o600)
    more = {"retransmit_initial": "200ms", "tries": 2, "timeout": "1s"}
    return {"name": name, "address": network.RADIUS_IPV4, "port": port, "accounting_port": port + 1, "secret_file": str(file)} | more


@case("reload")
def a_new_secret_works_and_a_removed_server_is_not_asked(world):
    one, two = _radius(world, "one", ONE, "the-first-of-two-secrets"), _radius(world, "two", TWO, OTHER_SECRET)
    try:
        one.start(), two.start()
        with configured(world) as config:

            def first(new):
                new["radius"] = [_server(new, "one", ONE)]

            report = config.reload(first)
            check(_sections(report["changes"]) == {'radius "one"': "added", 'radius "freeradius"': "removed"}, f"{report}")
            world.refused(Profile(user="dave"), notify="AUTH_FAILED", stage="radius", cause="one.*no valid reply.*with the same secret")
            Path(tomllib.loads(config.before)["server"]["state_dir"] + ".one").write_text("the-first-of-two-secrets\n")
            report = world.gateway.json("reload")
            (change,) = report["changes"]
            check(change["section"] == 'radius "one"' and change["keys"][0]["content"], f"{report}")
            check("the-first-of-two" not in str(report) + _log(world), "the secret was shown")
            world.login().forget()
            check(one.logins() == ["alice"], f"{one.logins()}")
            config.reload(lambda new: new.update(radius=[_server(new, "two", TWO)]))
            world.login().forget()
            check(one.logins() == ["alice"] and two.logins() == ["alice"], f"{one.logins()} {two.logins()}")
    finally:
        one.stop(hard=True)
        two.stop(hard=True)


@case("reload")
def a_login_under_way_ends_with_the_server_it_began_with(world):
    one, two = _radius(world, "one", ONE, OTHER_SECRET), _radius(world, "two", TWO, OTHER_SECRET)
    try:
        one.start(), two.start()
        with configured(world) as config:
            config.reload(lambda new: new.update(radius=[_server(new, "one", ONE) | {"timeout": "10s", "tries": 5}]))
            client = world.client()
            login = threading.Thread(target=lambda: client.connect(Profile(user="slow")))
            login.start()
            sent = lambda: world.gateway.json("status")["radius"][0]["counters"]["sent"]
            check(wait_until(lambda: sent() >= 2, 8), "the login does not begin")
            config.reload(lambda new: new.update(radius=[_server(new, "two", TWO)]))
            world.login(Profile(user="dave"), role="client2")
            login.join(20)
            servers = {session["user"]: session["radius"] for session in world.sessions()}
            check(servers == {"slow": "one", "dave": "two"}, f"{servers} {world.attempts()[:2]}")
            stop = world.session_of("slow")["attempt"]
            client.forget()
            told = lambda: [r for r in two.accounting() if r.get("Acct-Session-Id") == stop and r["Acct-Status-Type"] == "Stop"]
            check(wait_until(told, 8), "nobody was told of the end of a session whose server is gone")
            check("dave" not in one.logins(), "a removed server was asked")
    finally:
        one.stop(hard=True)
        two.stop(hard=True)


@case("reload")
def other_ciphers_are_for_new_clients(world):
    world.login()
    with configured(world) as config:
        config.reload(lambda new: new.update(ciphers={"ike": ["aes256-gcm"]}))
        before = {attempt["id"] for attempt in world.attempts()}
        client = world.client("client2")
        check(not client.connect(Profile(user="dave", ike=("aes128gcm16-prfsha256-ecp256",))).up, "the old ciphers are accepted")
        client.forget()
        world.record(before, "sa_init", "proposal")
        check(world.client().rekey_ike(), "who is in cannot rekey any more")
        world.ping()


@case("reload")
def users_of_a_file_and_radius_take_turns(world):
    with configured(world) as config:
        users = Path(tomllib.loads(config.before)["server"]["state_dir"] + ".users")

        def local(new):
            users.parent.mkdir(parents=True, exist_ok=True)
            users.write_text("alice nt=8846F7EAEE8FB117AD06BDD830B7586C groups=staff\n")
            users.chmod(0o600)
            del new["radius"]
            new["local"] = {"users_file": str(users)}

        world.login()
        report = config.reload(local)
        check(_sections(report["changes"]) == {"local": "added", 'radius "freeradius"': "removed"}, f"{report}")
        world.login(role="client2")
        check({session["radius"] for session in world.sessions()} == {"freeradius", "local"}, f"{world.sessions()}")
        config.reload()
        world.client("client2").forget()
        world.login(Profile(user="dave"), role="client2")
        check({session["radius"] for session in world.sessions()} == {"freeradius"}, f"{world.sessions()}")


@case("reload")
def who_may_end_sessions_by_radius_can_come_later(world):
    world.login()
    with configured(world) as config:

        def portal(new):
            server = _server(new, "portal", 1)
            Path(server["secret_file"]).write_text(DYNAMIC_SECRET + "\n")
            new["dynamic_client"] = [{"name": "portal", "address": network.RADIUS_IPV4, "secret_file": server["secret_file"]}]

        check(ask(world, "disconnect", User_Name="alice") is None, "somebody listens")
        config.reload(portal)
        check(ask(world, "disconnect", User_Name="alice") == "Disconnect-ACK", "nobody listens")
    world.no_sessions()


def _other_pool(config):
    config["pool"] = [{"name": "new", "ipv4": [NEW_POOL]}]
    config["policy"][0]["pool"] = "new"


@case("reload")
def a_new_pool_serves_new_sessions_and_the_old_one_drains(world):
    world.login()
    with configured(world) as config:
        report = config.reload(_other_pool)
        check(_sections(report["changes"])['pool "users"'] == "removed", f"{report}")
        check(any("stay with their sessions" in warning for warning in report["warnings"]), f"{report}")
        check([(judged["user"], judged["verdict"]) for judged in report["judged"]] == [("alice", "otherwise")], f"{report}")
        world.ping()
        with Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).held("--ping", network.LAN_IPV4, user="dave"):
            check(world.session_of("dave")["inner"] == ["10.98.200.10"], f"{world.sessions()}")
            world.ping()
        check(world.session_of("alice")["inner"][0].startswith("10.98.0."), f"{world.sessions()}")
        routes = world.lab.network.exec("gateway", ["ip", "route"]).stdout
        check(world.session_of("alice")["inner"][0] in routes and "10.98.0.128" not in routes, routes)
    world.ping()
    check(_sections(world.gateway.json("reload")["changes"]) == {}, "the same file changes something")


@case("reload")
def a_pool_that_cannot_be_had_leaves_the_others_alone(world):
    world.login(Profile(user="branch"))
    routes = lambda: world.lab.network.exec("gateway", ["ip", "route"]).stdout
    before = routes()
    with configured(world) as config:

        def behind_the_client(new):
            new["pool"] = [{"name": "new", "ipv4": ["10.95.7.10-10.95.7.20"]}]
            new["policy"][0]["pool"] = "new"

        config.write(behind_the_client)
        for options in (("--dry-run",), ()):
            done = world.gateway.command("reload", *options, check=False)
            check(done.returncode == 1 and "overlaps network 10.95.7.0/24, which is behind the client of branch" in done.stderr, f"{options}: {done}")
        check(routes() == before, f"routes have changed: {routes()}, not {before}")
        world.ping()


@case("reload")
def whom_new_policies_refuse_is_listed_and_ended_when_asked(world):
    world.login()
    with Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).held(user="dave"), configured(world) as config:

        def without_dave(new):
            new["policy"][:0] = [{"name": "no dave", "user": ["dave"], "grant": False}]

        report = config.reload(without_dave)
        (judged,) = report["judged"]
        check((judged["user"], judged["verdict"]) == ("dave", "refused") and "no dave" in judged["cause"], f"{report}")
        listed = world.gateway.json("sessions", "--would-refuse")["sessions"]
        check(listed == report["judged"], f"{listed}")
        check(len(world.sessions()) == 2, "a session was ended without being asked")
        session = world.session_of("dave")
        report = world.gateway.json("reload", "--end-refused")
        check(report["ended"] == [session["id"]] and not report["changes"], f"{report}")
        check(wait_until(lambda: [session["user"] for session in world.sessions()] == ["alice"], 5), f"{world.sessions()}")
        world.ping()


@case("reload")
def sessions_get_other_filters_and_limits_when_asked(world):
    """Of both tunnel types: what passed before does not pass after, and a limit that was none ends them."""
    world.login()
    passes = lambda: world.lab.network.ping("client", network.LAN_IPV4, count=1, deadline=1)
    sstp = Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT)
    with sstp.held(user="dave"), configured(world) as config:

        def tight(new):
            new["filter"] = [{"name": "tight", "rules": [f"deny in ip from any to {network.LAN_IPV4}"]}]
            new["policy"][0] |= {"filters": ["tight"], "session_timeout": "2s"}

        report = config.reload(tight)
        check(sorted(judged["verdict"] for judged in report["judged"]) == ["otherwise"] * 2 and not report["applied"], f"{report}")
        check(passes() and not any(session.get("filters") for session in world.sessions()), "applied without being asked")
        report = world.gateway.json("reload", "--apply-to-sessions")
        check(sorted(report["applied"]) == sorted(session["id"] for session in world.sessions()), f"{report}")
        check([session["filters"] for session in world.sessions()] == [["tight"]] * 2 and not passes(), f"{world.sessions()}")
        check(not world.gateway.json("sessions", "--would-refuse")["sessions"], "there is more to apply")
        check(wait_until(lambda: not world.sessions(), 8), f"the limit does not hold: {world.sessions()}")


@case("reload")
def a_wrong_file_changes_nothing_and_says_why(world):
    world.login()
    with configured(world) as config:

        def misspelt(new):
            new["policy"][0]["gront"] = False
            new["policy"].append({"name": "guests", "grant": False})

        config.write(misspelt)
        done = world.gateway.command("reload", check=False)
        check(done.returncode == 1 and "gront" in done.stderr and 'did you mean "grant"?' in done.stderr, f"{done}")
        check(done.stderr.count("\n") == 1, f"more than one error: {done.stderr}")
        config.file.write_text("nonsense")
        world.gateway.daemon.signal(signal.SIGHUP)
        check(wait_until(lambda: "evergate.toml:1" in _log(world), 5), "SIGHUP says nothing")
        config.file.write_text(config.before)
        world.ping()
        world.login(Profile(user="dave"), role="client2")
        check({session["policy"] for session in world.sessions()} == {"everyone"}, f"{world.sessions()}")


@case("reload")
def what_needs_a_restart_is_named_and_stays(world):
    world.login()
    with configured(world) as config:

        def process(new):
            new["server"] |= {"tun": "other0", "log": "debug", "log_format": "json"}
            new["listener"][0]["addresses"] = [network.GATEWAY_IPV4]

        report = config.reload(process)
        check(_sections(report["changes"]) == {"server": "changed", 'listener "ikev2"': "changed"}, f"{report}")
        needs = {change["section"]: [key["key"] for key in change["keys"]] for change in report["needs_restart"]}
        check(needs == {"server": ["tun"]}, f"{report}")
        again = world.gateway.json("reload")
        check(not again["changes"] and len(again["needs_restart"]) == 1, f"it is forgotten: {again}")
        called = Sstp(world.lab, world.gateway.binary, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).call(user="dave")
        check(called["event"] == "up", f"the listener is gone: {called}")
        check('"DEBUG"' in _log(world), "the log filter did not change")
        lines = _log(world).splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("{"))
        messages = [json.loads(line)["message"] for line in lines[first:]]
        check("configuration changed" in messages and "configuration reloaded" in messages, f"{messages}")
        world.ping()


@case("reload")
def addresses_for_ikev2_come_and_go(world):
    """Whoever is in notices nothing; who came by an address that goes stays, and nobody new comes there."""
    first, second, nowhere = network.GATEWAY_IPV4, "10.99.2.77", "192.0.2.254"
    gateway = lambda *argv: world.lab.network.exec("gateway", argv)
    served = lambda: {socket["address"] for listener in world.gateway.json("status")["listeners"] for socket in listener["sockets"] if listener["protocol"] == "ikev2"}
    serving = lambda *addresses: lambda new: new["listener"][0].update(addresses=list(addresses))
    both_ports = lambda address: {f"{address}:500", f"{address}:4500"}
    world.login()
    gateway("ip", "address", "add", f"{second}/24", "dev", "wan1")
    try:
        with configured(world) as config, world.pinging("client"):
            config.write(serving(first))
            before = served()
            foreseen = world.gateway.json("reload", "--dry-run")
            check(_sections(foreseen["changes"]) == {'listener "ikev2"': "changed"} and served() == before, f"{foreseen} {served()}")
            report = config.reload(serving(first))
            check(not report["needs_restart"] and served() == both_ports(first), f"{report} {served()}")
            config.write(serving(first, nowhere))
            for options in (("--dry-run",), ()):
                done = world.gateway.command("reload", *options, check=False)
                check(done.returncode == 1 and f'listener "ikev2": cannot bind udp {nowhere}:500' in done.stderr, f"{options}: {done}")
            check(served() == both_ports(first), f"half of a configuration was taken: {served()}")
            config.reload(serving(first, second))
            client = world.login(Profile(user="dave", server=second), role="client2")
            with world.pinging("client2"):
                report = config.reload(serving(first))
                check(not report["judged"] and not report["ended"] and served() == both_ports(first) | both_ports(second), f"{report} {served()}")
            check(client.rekey_ike(), "who came by an address that is gone cannot rekey")
            client.forget()
            check(not client.connect(Profile(user="dave", server=second, seconds=2)).up, "somebody new comes in at an address that is gone")
            client.forget()
            config.reload(lambda new: new["listener"].pop(0))
            check(served() == set() and len(world.sessions()) == 1, f"{served()} {world.sessions()}")
            check(world.client().rekey_ike(), "without a listener nobody can rekey")
            config.reload()
            check(served() == before, f"{served()}")
        world.login(Profile(user="dave", server=second), role="client2").forget()
        world.ping()
    finally:
        gateway("ip", "address", "del", f"{second}/24", "dev", "wan1")


@case("reload")
def listeners_for_sstp_come_and_go(world):
    """A call outlives the listener that it came by; what cannot be bound changes nothing."""
    packages.ensure({"/usr/bin/curl": "curl"})
    sstp = lambda port: Sstp(world.lab, world.gateway.binary, "client2", server=f"{network.GATEWAY_IPV4_BEHIND_NAT}:{port}")
    # Another user than the one that stays: it would take the place of his session.
    closed = lambda port: sstp(port).call(user="alice")["event"] == "error"
    metrics = lambda: world.lab.network.exec("gateway", ["curl", "-s", "http://127.0.0.1:9464/metrics"], check=False).stdout

    def moved(new):
        new["listener"][1] |= {"name": "moved", "port": 8443}
        new["metrics"] = {"listen": ["127.0.0.1:9464"]}

    def nowhere(new):
        moved(new)
        new["metrics"]["listen"] = ["192.0.2.254:9464"]

    with configured(world) as config, sstp(443).held(user="dave") as held:
        config.write(nowhere)
        for options in (("--dry-run",), ()):
            done = world.gateway.command("reload", *options, check=False)
            check(done.returncode == 1 and "192.0.2.254:9464 (metrics.listen)" in done.stderr, f"{done}")
        check(closed(8443), "half of a configuration was taken")
        report = config.reload(moved)
        changes = {'listener "moved"': "added", 'listener "sstp"': "removed", "metrics": "added"}
        check(_sections(report["changes"]) == changes and not report["needs_restart"], f"{report}")
        with sstp(8443).held("--ping", network.LAN_IPV4, user="alice"):
            check(world.session_of("alice") and world.session_of("dave"), f"{world.sessions()}")
        check(closed(443), "the listener that is gone takes calls")
        names = {listener["name"] for listener in world.gateway.json("status")["listeners"]}
        check("moved" in names and "sstp" not in names and "evergate_sessions" in metrics(), f"{names}")

        def narrow(new):
            new["listener"][1]["addresses"] = [network.GATEWAY_IPV4_BEHIND_NAT]

        config.reload()
        config.reload(narrow)
        check(not closed(443) and closed(8443), "an address does not take the place of all")
        config.reload()
        check(held.hang_up()["event"] == "end", "the call did not outlive its listener")
        check(not closed(443) and closed(8443) and not metrics(), "not everything is as it was")


@setup("reload_files")
def _own_certificates(config):
    for certificate in config["certificate"]:
        for key in ("chain", "key"):
            copy = Path(config["server"]["state_dir"] + f".{certificate['name']}.{key}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(certificate[key], copy)
            certificate[key] = str(copy)
    for listener in config["listener"]:
        listener["certificates"] = ["gateway-rsa"]


@case("reload_files")
def a_renewed_certificate_is_noticed_and_a_broken_one_is_not_used(world):
    certificates = {c["name"]: c for c in tomllib.loads(world.gateway.config_file.read_text())["certificate"]}
    ours, other = certificates["gateway-rsa"], certificates["gateway-ecdsa"]
    client = Sstp(world.lab, world.gateway.binary)
    shown = lambda: client.call(user="dave")["tls"]["certificate_sha256"]
    first = shown()
    world.login(role="client2")
    Path(ours["chain"]).write_text("-----BEGIN CERT")
    check(wait_until(lambda: "cannot be used: the old ones stay in use" in _log(world), 8), "nobody noticed")
    check(shown() == first, "a broken file is used")
    for key in ("chain", "key"):
        shutil.copy(other[key], ours[key])
    check(wait_until(lambda: "certificates renewed" in _log(world), 8), "nobody noticed")
    check(shown() != first, "the old certificate is shown")
    new = world.client("client").connect(Profile(user="dave"))
    check(new.up and new.saw("authentication of .* with ECDSA") and not new.saw("authentication of .* with RSA"), f"{new}")
    check(world.client("client2").rekey_ike(), "who came in by the old certificate cannot rekey")
    check(_log(world).count("cannot be used") == 1, "one broken file is worth one warning")
    world.ping("client2")


@case("reload_storm", alone=True)
def twenty_reloads_lose_no_packet_and_no_login(world):
    """Policies, pools, RADIUS timers, limits and ciphers change all the time; clients ping, hold sessions, and log in."""
    world.login(role="client2")
    with configured(world) as config, vigil(world, "client", 40, 12, "--newcomers-per-second", "4") as watch, world.pinging("client2"):
        watch.begin()
        for number in range(RELOADS):

            def change(new, number=number):
                new["policy"].append({"name": f"nobody {number}", "user": [f"nobody{number}"], "grant": False})
                new["pool"].append({"name": f"spare {number}", "ipv4": [f"10.98.{100 + number}.0/24"]})
                new["radius"][0]["retransmit_initial"] = f"{2000 + number}ms"
                new["limits"] = {"half_open_max": 5000 + number}
                new["timers"] = {"ike_rekey": f"{4 + number}h"}
                new["radius_group"] = [{"name": f"all {number}", "servers": ["freeradius"]}]
                new["request_policy"] = [{"name": "all", "group": f"all {number}"}]

            report = config.reload(change)
            check(len(report["changes"]) >= 6 and not report["judged"], f"{report}")
            time.sleep(0.4)
        report = watch.report(40)
    check(report["sessions"] == 40 and not report["lost"], f"sessions were lost: {report}")
    failed = [attempt for attempt in world.attempts() if attempt["outcome"] == "failed"]
    check(not failed, f"logins were lost: {failed}")
    # The last ones are still on their way.
    check(report["newcomers"] >= 30 and report["newcomers_up"] >= report["newcomers"] - 8, f"logins were lost: {report}")
