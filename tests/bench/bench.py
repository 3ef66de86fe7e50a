"""Evergate beside strongSwan on the same topology, FreeRADIUS and processor cores, in interleaved rounds.

  tests/bench/run                     throughput and logins, 3 rounds
  tests/bench/run --json              one JSON object a line: name, value, unit, peer, peer_value, ratio
  tests/bench/run --seconds 5 --rounds 5 --only tcp

Throughput: one TCP stream through the tunnel (AES-256-GCM, ESP in UDP), Evergate with its own client, strongSwan (kernel-libipsec)
with its own. Logins: EAP-MSCHAPv2 over RADIUS, the same client against both gateways.

Liveness: 500 sessions ask for signs of life while no RADIUS server answers and 30 logins a second pour in; the times of the answers.

SSTP stands beside the limit of this machine, measured in the same run: the packets of a TUN device through a bare TLS connection with the
same library and cipher (AES-256-GCM), as many packets a record as are there (`tls-many`), or one a record, as Windows sends (`tls-one`).
Its logins stand beside the IKEv2 logins of the same gateway, the time of one call (RADIUS included) beside that of TCP and TLS in it.

Decisions of policies have a bench of their own, without a network: `cargo bench -p policy`.

Values are medians over the rounds; the ratio is Evergate's value over the peer's. Processor time is that of the gateway process. Needs
root; everything happens in network namespaces of its own, which are removed at the end.
"""

import argparse
import json
import os
import signal
import statistics
import sys

from labkit import packages
from labkit.lab import Lab
from labkit.shell import LabError, say

import sides
import sstp
from liveness import liveness
from measure import IperfServer, storm, throughput

HIGHER, LOWER = "higher is better", "lower is better"
# name -> unit, direction
METRICS = {
    "tcp-up": ("Gbit/s", HIGHER),
    "tcp-up-cpu": ("s/GB", LOWER),
    "tcp-down": ("Gbit/s", HIGHER),
    "tcp-down-cpu": ("s/GB", LOWER),
    "logins": ("1/s", HIGHER),
    "login-cpu": ("ms", LOWER),
    "liveness-p50": ("ms", LOWER),
    "liveness-p99": ("ms", LOWER),
}
SSTP_METRICS = {
    "sstp-up": ("Gbit/s", HIGHER),
    "sstp-up-cpu": ("s/GB", LOWER),
    "sstp-down": ("Gbit/s", HIGHER),
    "sstp-down-cpu": ("s/GB", LOWER),
    "sstp-up-single": ("Gbit/s", HIGHER),
    "sstp-up-single-cpu": ("s/GB", LOWER),
    "sstp-down-single": ("Gbit/s", HIGHER),
    "sstp-down-single-cpu": ("s/GB", LOWER),
    "sstp-logins": ("1/s", HIGHER),
    "sstp-login-cpu": ("ms", LOWER),
    "sstp-setup": ("ms", LOWER),
}


def main():
    arguments = _arguments()
    if os.geteuid() != 0:
        say("tests/bench/run needs root: it makes network namespaces")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = bench(arguments)
    except LabError as error:
        say(f"tests/bench/run: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started is gone again")
        return 130
    (report_json if arguments.json else report)(results)
    return 0


def _arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of each TCP run")
    parser.add_argument("--logins", type=int, default=400, help="logins per round")
    parser.add_argument("--parallel", type=int, default=16, help="logins at a time")
    parser.add_argument("--only", choices=("tcp", "logins", "liveness", "sstp"), help="one part alone")
    parser.add_argument("--bin", help="folder with the programs `evergate`, `evergate-load` and `sstp-client`, instead of building them")
    arguments = parser.parse_args()
    for name in ("rounds", "seconds", "logins", "parallel"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return arguments


def bench(arguments):
    """metric -> side -> values, one a round; our side comes first."""
    packages.ensure(packages.BENCH, packages.BUILD)
    programs = sides.programs(arguments.bin)
    lab = Lab(f"bench-{os.getpid()}")
    results = {}
    try:
        lab.prepare()
        lab.radius().start()
        with IperfServer(lab):
            for number in range(arguments.rounds):
                say(f"round {number + 1} of {arguments.rounds}")
                if arguments.only != "sstp":
                    beside_strongswan(lab, programs, arguments, number, results)
                if arguments.only in (None, "sstp"):
                    beside_the_limit(lab, programs, arguments, number, results)
    finally:
        lab.down()
    return results


def add(results, metric, side, value):
    results.setdefault(metric, {}).setdefault(side, []).append(value)


def beside_strongswan(lab, programs, arguments, number, results):
    # Turns alternate, so that neither side always has the warmer machine.
    values = {}
    for side in sides.ALL[:: 1 if number % 2 == 0 else -1]:
        say(f" {side.name}")
        values[side.name] = one_round(lab, side(lab, programs), arguments)
    for side in sides.ALL:
        for metric, value in values[side.name].items():
            add(results, metric, side.name, value)


def beside_the_limit(lab, programs, arguments, number, results):
    for metric, value, peer, peer_value in sstp.measure(lab, programs, arguments, number):
        say(f"  {metric} {value:.3g}, {peer} {peer_value:.3g} {SSTP_METRICS[metric][0]}")
        add(results, metric, sides.Evergate.name, value)
        add(results, metric, peer, peer_value)


def one_round(lab, side, arguments):
    values = {}
    if arguments.only in (None, "tcp"):
        with side.connected() as gateway_pid:
            for direction in ("up", "down"):
                rate, cpu = throughput(lab, gateway_pid, direction, arguments.seconds)
                values[f"tcp-{direction}"], values[f"tcp-{direction}-cpu"] = rate, cpu
    if arguments.only in (None, "liveness"):
        with side.gateway():
            values["liveness-p50"], values["liveness-p99"] = liveness(lab, side.programs.load)
    if arguments.only in (None, "logins"):
        with side.gateway() as gateway_pid:
            values["logins"], values["login-cpu"] = storm(lab, side.programs.load, gateway_pid, arguments.logins, arguments.parallel)
    say("  " + ", ".join(f"{metric} {value:.3g} {METRICS[metric][0]}" for metric, value in values.items()))
    return values


def medians(results):
    for metric, ((_, ours), (peer, theirs)) in ((metric, values.items()) for metric, values in results.items()):
        unit, direction = (METRICS | SSTP_METRICS)[metric]
        yield metric, unit, direction, ours, peer, theirs


def report_json(results):
    for metric, unit, _, ours, peer, theirs in medians(results):
        value, peer_value = statistics.median(ours), statistics.median(theirs)
        line = {
            "name": metric,
            "value": round(value, 4),
            "unit": unit,
            "peer": peer,
            "peer_value": round(peer_value, 4),
            "ratio": round(value / peer_value, 3),
        }
        print(json.dumps(line))


def report(results):
    print(f"{'':22}{'evergate':>26}{'peer':>26}{'ratio':>9}")
    for metric, unit, direction, ours, peer, theirs in medians(results):
        columns = [f"{statistics.median(all_):.4g} [{min(all_):.4g}-{max(all_):.4g}]" for all_ in (ours, theirs)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{metric:22}" + "".join(f"{column:>26}" for column in columns) + f"{ratio:>8.2f}x  {unit}, {direction}; peer: {peer}")


if __name__ == "__main__":
    sys.exit(main())
