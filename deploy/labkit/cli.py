"""deploy/lab: a VPN laboratory in network namespaces.

  deploy/lab up [--gateway strongswan] [--no-client]   build, start everything, log in over IKEv2 and over SSTP, show that traffic passes
  deploy/lab status [--json]                           what is where, who is connected
  deploy/lab client ACTION                             IKEv2: connect, disconnect, status, ping, download, rekey, exec -- COMMAND
  deploy/lab sstp ACTION                               SSTP: connect, disconnect, status, ping, download, exec -- COMMAND
  deploy/lab evergate COMMAND..                        the gateway's own commands: `status`, `sessions list`, `attempts list`
  deploy/lab down                                      end and remove everything again

--name NAME names an instance of its own, beside others. Needs root on Debian 12.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from . import evergate, network, peap, sstp
from .client import Profile
from .guide import client_report, guide, sstp_report
from .lab import Lab
from .shell import LabError, in_namespace, say

METHODS = ("eap-mschapv2", "eap-tls", "eap-peap", "certificate")
SSTP_USER = "dave"
SERVERS = {"direct": network.GATEWAY_IPV4, "nat": network.GATEWAY_IPV4_BEHIND_NAT, "ipv6": network.GATEWAY_IPV6}


def main(argv=None):
    name, argv = _take_name(list(sys.argv[1:] if argv is None else argv))
    arguments = _parser().parse_args(argv)
    if os.geteuid() != 0:
        say("deploy/lab needs root: it makes network namespaces")
        return 2
    try:
        return arguments.run(Lab(name), arguments) or 0
    except LabError as error:
        say(f"deploy/lab: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `deploy/lab down` removes what was started")
        return 130


def _take_name(argv):
    """`--name NAME` may stand anywhere before `--`."""
    end = argv.index("--") if "--" in argv else len(argv)
    if "--name" in argv[:end]:
        at = argv.index("--name")
        if at + 1 < end:
            return argv[at + 1], argv[:at] + argv[at + 2 :]
    return "evergate", argv


def _parser():
    parser = argparse.ArgumentParser(prog="deploy/lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start everything")
    up.add_argument("--gateway", choices=("evergate", "strongswan"), default="evergate", help="what runs in the gateway namespace")
    up.add_argument("--binary", help="a gateway that is already built, with sstp-client beside it, instead of building them")
    up.add_argument("--no-client", action="store_true", help="leave the clients alone")
    up.set_defaults(run=_up)
    status = commands.add_parser("status", help="what is where")
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=_status)
    commands.add_parser("down", help="remove everything").set_defaults(run=_down)
    gateway = commands.add_parser("evergate", help="run an `evergate` command against the lab's gateway")
    gateway.add_argument("argv", nargs=argparse.REMAINDER)
    gateway.set_defaults(run=_evergate)
    _client_parser(commands.add_parser("client", help="drive a strongSwan client"))
    _sstp_parser(commands.add_parser("sstp", help="drive the SSTP client"))
    return parser


def _client_parser(client):
    client.set_defaults(role="client")
    client.add_argument(
        "--second", dest="role", action="store_const", const="client2", help="the client in the second namespace (behind NAT only)"
    )
    actions = client.add_subparsers(required=True, metavar="ACTION")
    connect = actions.add_parser("connect", help="log in")
    connect.add_argument("--user", default="alice")
    connect.add_argument("--password", default="password")
    connect.add_argument("--method", choices=METHODS, default="eap-mschapv2")
    connect.add_argument("--certificate", help="name in the PKI (default: alice for eap-tls, machine-rsa for certificate)")
    connect.add_argument("--path", choices=tuple(SERVERS), default="direct")
    connect.add_argument("--ike", help="proposals, comma separated, as strongSwan spells them")
    connect.add_argument("--esp", help="proposals, comma separated")
    connect.add_argument("--verbose", action="store_true", help="show what the client logs")
    connect.set_defaults(run=_connect)
    actions.add_parser("disconnect", help="send DELETE").set_defaults(run=_disconnect)
    actions.add_parser("status", help="addresses, suites and counters").set_defaults(run=_client_status)
    actions.add_parser("rekey", help="rekey the Child SA, then the IKE SA").set_defaults(run=_rekey)
    _traffic_parsers(actions)


def _sstp_parser(client):
    client.set_defaults(role="sstp")
    actions = client.add_subparsers(required=True, metavar="ACTION")
    connect = actions.add_parser("connect", help="log in")
    connect.add_argument("--user", default=SSTP_USER)
    connect.add_argument("--password", default="password")
    connect.add_argument("--method", choices=tuple(sstp.METHODS), default="eap-mschapv2")
    connect.add_argument("--tls", choices=("both", "1.2", "1.3"), default="both", help="versions to offer")
    connect.add_argument("--path", choices=("direct", "ipv6"), default="direct")
    connect.set_defaults(run=_sstp_connect)
    actions.add_parser("disconnect", help="hang up").set_defaults(run=_sstp_disconnect)
    actions.add_parser("status", help="addresses and TLS").set_defaults(run=_sstp_status)
    _traffic_parsers(actions)


def _traffic_parsers(actions):
    ping = actions.add_parser("ping", help="ping through the tunnel")
    ping.add_argument("target", nargs="?", default=network.LAN_IPV4)
    ping.set_defaults(run=_ping)
    download = actions.add_parser("download", help="fetch content through the tunnel and compare it")
    download.add_argument("megabytes", nargs="?", type=float, default=8)
    download.set_defaults(run=_download)
    execute = actions.add_parser("exec", help="run a command in the client's namespace")
    execute.add_argument("argv", nargs=argparse.REMAINDER)
    execute.set_defaults(run=_exec)


def _up(lab, arguments):
    if lab.state():
        say(f"instance {lab.name} is up already; `deploy/lab down` first for a fresh one")
        print(guide(lab))
        return 0
    binary, program = _programs(arguments) if arguments.gateway == "evergate" else (None, None)
    try:
        say("preparing packages, certificates and namespaces")
        lab.prepare()
        say("starting FreeRADIUS and the gateway")
        lab.radius().start()
        gateway = lab.gateway(binary).start() if binary else lab.reference().start()
        programs = {"evergate": str(gateway.binary), "sstp_client": str(program)} if binary else {}
        lab.write_state(gateway=arguments.gateway, gateway_pid=gateway.pid(), **programs)
    except BaseException:
        say("the start failed; what was started is removed again")
        lab.down()
        raise
    # The laboratory stays up when a login fails, so that the cause can be looked at.
    if not arguments.no_client:
        _first_login(lab)
        if binary:
            _first_call(lab, program)
    print(f"\n{guide(lab)}")
    return 0


def _programs(arguments):
    """Gateway and SSTP client; what is not there already is built."""
    if not arguments.binary:
        folder = evergate.build("evergate", sstp.PROGRAM)
        return folder / "evergate", folder / sstp.PROGRAM
    gateway = Path(arguments.binary).resolve()
    program = gateway.with_name(sstp.PROGRAM)
    if not program.exists() and not arguments.no_client:
        program = evergate.build(sstp.PROGRAM) / sstp.PROGRAM
    return gateway, program


def _first_login(lab):
    """Logs alice in over IKEv2 and moves traffic."""
    say("logging in over IKEv2: strongSwan, EAP-MSCHAPv2, user alice")
    client = lab.client()
    outcome = client.connect(Profile(addresses=("0.0.0.0", "::")))
    if not outcome.up:
        raise LabError("the client could not log in; its log ends with\n  " + "\n  ".join(outcome.log[-8:] + [outcome.error]))
    print(f"IKEv2, user alice, namespace {lab.namespace('client')}: {client_report(client)}")
    print(f"logged in after {outcome.seconds * 1000:.0f} ms")
    _show_traffic(lab, "client")


def _first_call(lab, program):
    """Logs another user in over SSTP and moves traffic."""
    say(f"logging in over SSTP: sstp-client, EAP-MSCHAPv2, user {SSTP_USER}")
    session = lab.sstp(program).connect(SSTP_USER)
    print(f"\nSSTP, user {SSTP_USER}, namespace {lab.namespace('sstp')}: {sstp_report(session)}")
    print(f"logged in after {session['timings']['total']:.0f} ms")
    _show_traffic(lab, "sstp")


def _show_traffic(lab, role):
    for target in (network.LAN_IPV4, network.LAN_IPV6):
        if not lab.network.ping(role, target, count=3):
            raise LabError(f"no answer from the LAN host {target} through the tunnel")
        print(f"ping {target} through the tunnel: 3 of 3 answered")
    _report_transfer(lab.transfer(role, 8))


def _report_transfer(moved):
    if not moved["whole"]:
        raise LabError(f"the download through the tunnel arrived damaged: {moved}")
    rate = moved["bytes"] * 8 / moved["seconds"] / 1e6
    print(f"download through the tunnel: {moved['bytes']} bytes in {moved['seconds']} s ({rate:.0f} Mbit/s), content as sent")


def _status(lab, arguments):
    _state(lab)
    state = lab.live()
    if arguments.json:
        print(json.dumps(state, indent=2))
        return 0
    print(guide(lab))
    if state["gateway_pid"] is None:
        raise LabError(f"the gateway does not run any more: see {state['gateway_log_file']}")
    return 0


def _down(lab, _):
    known = lab.exists()
    lab.down()
    say(f"instance {lab.name} is gone" if known else f"instance {lab.name} was not up")


def _evergate(lab, arguments):
    state = _state(lab)
    if state["gateway"] != "evergate":
        raise LabError("this instance runs a strongSwan gateway")
    return subprocess.run([state["evergate"], *arguments.argv, "--config", state["config_file"]]).returncode


def _state(lab):
    state = lab.state()
    if state is None:
        raise LabError(f"instance {lab.name} is not up: `deploy/lab up` first")
    return state


def _client(lab, arguments):
    _state(lab)
    return lab.client(arguments.role)


def _connect(lab, arguments):
    client = _client(lab, arguments)
    if arguments.method == "eap-peap" and not peap.installed():
        # The daemon must start with the plugin.
        peap.ensure()
        client.stop()
        client = _client(lab, arguments)
    path = "nat" if arguments.role == "client2" and arguments.path == "direct" else arguments.path
    user = "alice@example.test" if arguments.method == "eap-tls" and arguments.user == "alice" else arguments.user
    certificate = arguments.certificate or ("alice" if arguments.method == "eap-tls" else "machine-rsa")
    profile = Profile(
        server=SERVERS[path],
        method=arguments.method,
        user=user,
        password=arguments.password,
        certificate=certificate,
        addresses=("0.0.0.0", "::"),
    )
    for option in ("ike", "esp"):
        if getattr(arguments, option):
            profile = profile.but(**{option: tuple(getattr(arguments, option).split(","))})
    if client.start().charon.sas():
        client.disconnect()
    outcome = client.connect(profile)
    if arguments.verbose or not outcome.up:
        print("\n".join(outcome.log))
    if not outcome.up:
        print(f"refused after {outcome.seconds * 1000:.0f} ms; notifies of the gateway: {', '.join(sorted(outcome.notifies)) or 'none'}")
        return 1
    print(client_report(client))
    return 0


def _disconnect(lab, arguments):
    gone = _running(_client(lab, arguments)).disconnect()
    print("disconnected" if gone else "nothing to disconnect")
    return 0 if gone else 1


def _client_status(lab, arguments):
    report = client_report(_running(_client(lab, arguments)))
    print(report or "not connected")
    return 0 if report else 1


def _rekey(lab, arguments):
    client = _running(_client(lab, arguments))
    if client.session() is None:
        raise LabError("not connected")
    for what, done in (("Child SA", client.rekey_child()), ("IKE SA", client.rekey_ike())):
        print(f"{what}: {'rekeyed' if done else 'rekey failed'}")
        if not done:
            return 1
    return 0


def _sstp(lab):
    state = _state(lab)
    if state["gateway"] != "evergate":
        raise LabError("this instance runs a strongSwan gateway, which speaks no SSTP")
    return lab.sstp(state["sstp_client"])


def _sstp_connect(lab, arguments):
    user = "alice@example.test" if arguments.method == "eap-tls" and arguments.user == SSTP_USER else arguments.user
    session = _sstp(lab).connect(user, arguments.password, arguments.method, arguments.tls, SERVERS[arguments.path])
    print(f"{sstp_report(session)}\nlogged in after {session['timings']['total']:.0f} ms")


def _sstp_disconnect(lab, _):
    gone = _sstp(lab).disconnect()
    print("disconnected" if gone else "nothing to disconnect")
    return 0 if gone else 1


def _sstp_status(lab, _):
    session = _sstp(lab).session()
    print(sstp_report(session) if session else "not connected")
    return 0 if session else 1


def _running(client):
    if client.charon.daemon.pid() is None:
        raise LabError("this client does not run: `deploy/lab client connect` first")
    return client


def _ping(lab, arguments):
    _state(lab)
    return subprocess.run(
        in_namespace(lab.namespace(arguments.role), ["ping", "-n", "-c", "3", "-i", "0.3", arguments.target])
    ).returncode


def _download(lab, arguments):
    _state(lab)
    _report_transfer(lab.transfer(arguments.role, arguments.megabytes))


def _exec(lab, arguments):
    _state(lab)
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise LabError("exec needs a command: deploy/lab client exec -- ping 10.99.10.10")
    return subprocess.run(in_namespace(lab.namespace(arguments.role), argv)).returncode
