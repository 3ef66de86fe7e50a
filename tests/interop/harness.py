"""Cases and the world they run in."""

import re
import signal
import subprocess
import time
from dataclasses import dataclass

from labkit import network
from labkit.client import Profile
from labkit.radius import USERS, User
from labkit.shell import LabError, in_namespace, wait_until

# Clients inside the machine: they go with it.
MACHINE = ("machine", "machine-sstp")
CASES = []
SETUPS = {}
# Groups whose clients are strongSwan 6.
NEWER = set()
# One input filter: UDP to port 7001 passes, nothing else of IPv4; [MS-RNAP] 2.2.1.3.
WINDOWS_FILTER = "0x" + "".join(
    word.to_bytes(4, order).hex()
    for order, words in (("little", (1, 72, 1, 0xFFFF0001, 40, 1, 32, 0, 1, 1, 1)), ("big", (0, 0, 0, 0)), ("little", (17, 1)), ("big", (7001,)))
    for word in words
)
# Bytes that no text has, and as many as an attribute takes.
# FreeRADIUS reads the entry twice: what is added comes twice.
LADEN_CLASSES = ["0x00ff410a00", *["0x" + "c7" * 253] * 2]
# Accounts of the tests: the laboratory's, with a session time short enough to wait for.
TEST_USERS = tuple(user for user in USERS if user.name != "carol") + (
    User("carol", reply={"Session-Timeout": 3}),
    User("tina", eap="TLS"),
    # Somebody gave bob's address twice.
    User("rob", reply={"Framed-IP-Address": "10.98.0.77"}),
    User("stale", control='SMB-Account-CTRL-TEXT := "[Ue         ]"'),
    User("single", reply={"Port-Limit": 1, "Framed-Routing": "Listen"}),
    User("chooser", reply={"Framed-IP-Address": "255.255.255.255"}),
    User("chosen", reply={"Framed-IP-Address": "255.255.255.254"}),
    User(
        "laden",
        reply={
            "User-Name": '"laden@example.test"',
            "Framed-IP-Address": "10.98.0.90",
            "Framed-IPv6-Address": "fd98::90",
            "MS-Primary-DNS-Server": "10.99.10.61",
            "MS-Secondary-DNS-Server": "10.99.10.62",
            "DNS-Server-IPv6-Address": "fd99:10::61",
            "MS-Primary-NBNS-Server": "10.99.10.71",
            "MS-Secondary-NBNS-Server": "10.99.10.72",
            "Session-Timeout": 3600,
            "Class": f"{LADEN_CLASSES[0]},\n\tClass += {LADEN_CLASSES[1]}",
            "Idle-Timeout": 3,
            "Acct-Interim-Interval": 60,
            "Reply-Message": '"Ask the desk"',
            # MS-Azure-Policy-ID.
            "Attr-26.311.65": "0x6ad1bd07",
            "WISPr-Bandwidth-Max-Up": 64000000,
        },
    ),
    User("filtered", reply={"NAS-Filter-Rule": '"deny in ip from any to moon"'}),
    User("ruled", reply={"NAS-Filter-Rule": '"permit in udp from any to any 7001"'}),
    User("narrow", reply={"Filter-Id": '"narrow"'}),
    User("member", reply={"Filter-Id": '"staff"'}),
    User("unknown", reply={"Filter-Id": '"nowhere"'}),
    User("distant", reply={"Filter-Id": '"distant"'}),
    User("windows", reply={"MS-Filter": WINDOWS_FILTER}),
    User(
        "office",
        reply={
            "Framed-IP-Address": "10.96.0.1",
            "Framed-IP-Netmask": "255.255.255.248",
            "Framed-Route": '"10.95.0.0/16 10.96.0.1 1"',
            "Framed-IPv6-Prefix": "fd96:1::/64",
            "Framed-Interface-Id": "0:0:0:7",
            "Framed-IPv6-Route": '"fd95::/48 :: 1"',
            "Delegated-IPv6-Prefix": "fd94::/56",
        },
    ),
    User("branch", reply={"Framed-Route": '"10.95.7.0/24 0.0.0.0 1"'}),
    User("greedy", reply={"Framed-Route": '"10.99.0.0/16"'}),
    User("nowhere", reply={"Framed-Pool": '"nowhere"'}),
    User("pooled", reply={"Framed-Pool": '"second"', "Framed-IPv6-Pool": '"third"'}),
    User("renewed", reply={"Session-Timeout": 125, "Termination-Action": "RADIUS-Request"}),
    User("host/pc1.example.test", machine=True, reply={"Class": "0x6465766963657331", "Framed-IP-Address": "10.98.0.81"}),
    User("host/pc2.example.test", machine=True, reply={"Session-Timeout": 2}),
)


@dataclass(frozen=True)
class Case:
    group: str
    name: str
    function: object
    # Whether it makes sense against a strongSwan gateway.
    portable: bool
    # Whether it takes half a minute and more: such cases start first.
    long: bool
    # Whether its measure is time or load, which other laboratories would disturb: such cases run one by one at the end.
    alone: bool

    @property
    def title(self):
        return f"{self.group}.{self.name}"


class Skip(Exception):
    """The case cannot run here; the text says why."""


def case(group, name=None, portable=False, long=False, alone=False):
    """Registers a case: a function that takes the World."""

    def register(function):
        CASES.append(Case(group, name or function.__name__, function, portable, long, alone))
        return function

    return register


def setup(group):
    """Registers how a group changes the gateway's default configuration (a dict, in place)."""

    def register(function):
        SETUPS[group] = function
        return function

    return register


class World:
    """What a case sees: the laboratory with a gateway configured for its group."""

    def __init__(self, lab, gateway, radius, evergate, uml, newer=False):
        self.lab, self.gateway, self.radius, self.evergate, self.uml, self.newer = lab, gateway, radius, evergate, uml, newer
        self.clients = {}
        # Role -> the browser there, once a case has wanted it.
        self.browsers = {}

    def client(self, role="client"):
        """The client in a namespace, started. It keeps trying longer than the gateway waits for RADIUS."""
        if role == "machine":
            self.clients[role] = self.machine().object("client")
        elif role not in self.clients:
            self.clients[role] = self.lab.client(role, tries=5, newer=self.newer)
        self.clients[role].start()
        return self.clients[role]

    def machine(self):
        """The client with a kernel of its own, booted; its strongSwan is `client("machine")`."""
        return self.uml.start()

    def sstp(self):
        """The machine's SSTP client, ready to call."""
        self.clients["machine-sstp"] = self.machine().object("sstp", 90)
        self.clients["machine-sstp"].start()
        return self.clients["machine-sstp"]

    def login(self, profile=Profile(), role="client", ping=True):
        """Logs in, checks that traffic passes, and returns the client."""
        client = self.client(role)
        outcome = client.connect(profile)
        check(outcome.up, f"login as {profile.user} failed: {outcome.error}", outcome.log)
        self.last = outcome
        if ping:
            self.ping(role, network.LAN_IPV4)
        return client

    def ping(self, role="client", target=network.LAN_IPV4, **options):
        check(self.lab.network.ping(role, target, **options), f"no answer from {target} through the tunnel of {role}")

    def transfer(self, megabytes, direction, role="client", host=network.LAN_IPV4):
        moved = self.lab.transfer(role, megabytes, direction, host)
        check(moved["whole"], f"content arrived damaged: {moved}")
        return moved

    def refused(self, profile, *, notify, stage, cause, role="client"):
        """Logs in, expects a refusal: what the client saw, and exactly one attempt record with the right stage and cause."""
        before = {attempt["id"] for attempt in self.attempts()}
        outcome = self.client(role).connect(profile)
        check(not outcome.up, f"login as {profile.user} came up", outcome.log)
        if notify is not None:
            check(notify in outcome.notifies, f"the client saw {sorted(outcome.notifies)}, not {notify}", outcome.log)
        self.last = outcome
        # strongSwan keeps an IKE SA whose Child SA was refused, and would build on it.
        self.client(role).forget()
        return self.record(before, stage, cause) if self.evergate else None

    def record(self, before, stage, cause):
        """The one attempt record since `before`, once it has failed."""

        def failed():
            fresh = [attempt for attempt in self.attempts() if attempt["id"] not in before]
            return fresh if fresh and all(attempt["outcome"] == "failed" for attempt in fresh) else None

        found = wait_until(failed, 5) or [attempt for attempt in self.attempts() if attempt["id"] not in before]
        check(len(found) == 1, f"{len(found)} attempt records instead of one: {found}")
        attempt = found[0]
        check(attempt["outcome"] == "failed", f"the attempt is {attempt['outcome']}: {attempt}")
        stages = (stage,) if isinstance(stage, str) else stage
        check(attempt["stage"] in stages, f"the attempt stopped at stage {attempt['stage']}, not {stage}: {attempt['cause']}")
        check(re.search(cause, attempt["cause"] or "", re.I), f"the cause is {attempt['cause']!r}, expected /{cause}/")
        return attempt

    def log_of(self, attempt):
        """What the gateway's log says of an attempt, line by line."""
        marks = (f"attempt={attempt['id']} ", f'attempt="{attempt["id"]}" ')
        return [line for line in self.gateway.daemon.log_file.read_text().splitlines() if any(mark in line for mark in marks)]

    def explained(self, attempt, cause):
        """What `evergate explain` tells of a failed attempt, line by line; the log has one line for its end, with the same cause, and it matches."""
        failed = [line for line in self.log_of(attempt) if "login failed" in line]
        check(len(failed) == 1, f"{len(failed)} lines of the log tell the end of {attempt['id']}: {failed}")
        story = self.gateway.json("explain", attempt["id"])
        shown = story["attempt"]["cause"]
        check(re.search(cause, shown, re.I), f"the cause is {shown!r}, expected /{cause}/")
        check(f"cause={shown} fix=" in failed[0], f"the log has another cause than {shown!r}: {failed[0]}")
        end = f"It failed in stage {story['attempt']['stage']}: {shown}{'' if shown[-1] in '.?' else '.'}"
        check(story["told"].count(end) == 1, f"{end!r} is not told once: {story['told']}")
        return story

    def attempts(self):
        return self.gateway.json("attempts", "list", "--limit", "1000")["attempts"] if self.evergate else []

    def attempt(self, identifier):
        return self.gateway.json("attempts", "show", identifier)

    def sessions(self):
        return self.gateway.json("sessions", "list")["sessions"]

    def session_of(self, user):
        found = [session for session in self.sessions() if session["user"] == user]
        check(len(found) == 1, f"{len(found)} sessions of {user}: {found}")
        return found[0]

    def no_sessions(self, seconds=5):
        check(wait_until(lambda: not self.sessions(), seconds), f"sessions remain: {self.sessions()}")

    def accounting(self, session_id, status, seconds=5):
        """The accounting record of a session, once FreeRADIUS has it; exactly one."""

        def wanted():
            return [r for r in self.radius.accounting() if r.get("Acct-Session-Id") == session_id and r.get("Acct-Status-Type") == status]

        found = wait_until(wanted, seconds)
        check(len(found) == 1, f"{len(found)} accounting {status} records of session {session_id}: {found}")
        return found[0]

    def pinging(self, role="client", target=network.LAN_IPV4, interval=0.02):
        return Pinging(self._beside(role, ["ping", "-n", "-i", interval, "-W", "2", target]))

    def _beside(self, role, argv):
        """Starts a command beside what follows; gives what ends it like Ctrl-C and tells what it said."""
        if role == "machine":
            shell = self.machine().object("shell")
            shell.begin("beside", argv)
            return lambda: shell.end("beside")
        argv = in_namespace(self.lab.namespace(role), argv)
        # Of a run in the background children would take no Ctrl-C.
        listens = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=listens
        )

        def end():
            process.send_signal(signal.SIGINT)
            return process.communicate(timeout=10)[0]

        return end

    def tidy(self):
        """Back to nothing connected, for the next case."""
        self.radius.thaw()
        for role, client in list(self.clients.items()):
            if role in MACHINE and not self.uml.running():
                del self.clients[role]
            elif client.running():
                client.forget()
        if self.evergate:
            for session in self.sessions():
                self.gateway.command("sessions", "disconnect", str(session["id"]), check=False)
            if not wait_until(lambda: not self.sessions(), 2):
                # Of a client that vanished: the next case must not meet it.
                self.gateway.stop()
                self.gateway.restart()


class Pinging:
    """A ping that runs beside what the case does; not one echo may be missing before the last that came."""

    def __init__(self, end):
        self._end = end

    def __enter__(self):
        time.sleep(0.2)
        return self

    def end(self):
        """Ends it; what it said."""
        return self._end()

    def __exit__(self, kind, *_):
        time.sleep(0.5)
        output = self.end()
        if kind is not None:
            return
        seen = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", output)}
        missing = set(range(1, max(seen, default=0) + 1)) - seen
        check(len(seen) > 10, f"only {len(seen)} echoes came back: {output[-300:]}")
        check(not missing, f"{len(missing)} of {max(seen)} echoes were lost: {sorted(missing)[:10]}")


class Failed(AssertionError):
    def __init__(self, message, log=()):
        super().__init__(message)
        self.log = list(log)


def check(condition, message, log=()):
    if not condition:
        raise Failed(message, log)
