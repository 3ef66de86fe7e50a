"""Evergate beside strongSwan on the same topology, FreeRADIUS and processor cores, in interleaved rounds.

  tests/bench/run                     throughput and logins, 3 rounds
  tests/bench/run --json              one JSON object a line: name, value, unit, peer, peer_value, ratio
  tests/bench/run --seconds 5 --rounds 5 --only tcp

Throughput: one TCP stream through the tunnel (AES-256-GCM, ESP in UDP), Evergate with its own client, strongSwan (kernel-libipsec)
with its own. Logins: EAP-MSCHAPv2 over RADIUS, the same client against both gateways. Values are medians over the rounds; the ratio
is Evergate's value over strongSwan's. Processor time is that of the gateway process. Needs root; everything happens in network
namespaces of its own, which are removed at the end.
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
    parser.add_argument("--only", choices=("tcp", "logins"), help="one part alone")
    parser.add_argument("--bin", help="folder with the programs `evergate` and `evergate-load`, instead of building them")
    arguments = parser.parse_args()
    for name in ("rounds", "seconds", "logins", "parallel"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return arguments


def bench(arguments):
    """metric -> side -> values, one a round."""
    packages.ensure(packages.BENCH, packages.BUILD)
    programs = sides.programs(arguments.bin)
    lab = Lab(f"bench-{os.getpid()}")
    results = {metric: {side.name: [] for side in sides.ALL} for metric in METRICS}
    try:
        lab.prepare()
        lab.radius().start()
        with IperfServer(lab):
            for number in range(arguments.rounds):
                # Turns alternate, so that neither side always has the warmer machine.
                for side in sides.ALL[:: 1 if number % 2 == 0 else -1]:
                    say(f"round {number + 1} of {arguments.rounds}: {side.name}")
                    for metric, value in one_round(lab, side(lab, programs), arguments).items():
                        results[metric][side.name].append(value)
    finally:
        lab.down()
    return results


def one_round(lab, side, arguments):
    values = {}
    if arguments.only != "logins":
        with side.connected() as gateway_pid:
            for direction in ("up", "down"):
                rate, cpu = throughput(lab, gateway_pid, direction, arguments.seconds)
                values[f"tcp-{direction}"], values[f"tcp-{direction}-cpu"] = rate, cpu
    if arguments.only != "tcp":
        with side.gateway() as gateway_pid:
            values["logins"], values["login-cpu"] = storm(lab, side.programs.load, gateway_pid, arguments.logins, arguments.parallel)
    say("  " + ", ".join(f"{metric} {value:.3g} {METRICS[metric][0]}" for metric, value in values.items()))
    return values


def medians(results):
    ours, peer = (side.name for side in sides.ALL)
    for metric, values in results.items():
        if values[ours] and values[peer]:
            yield metric, statistics.median(values[ours]), peer, statistics.median(values[peer]), values[ours], values[peer]


def report_json(results):
    for metric, value, peer, peer_value, *_ in medians(results):
        line = {
            "name": metric,
            "value": round(value, 4),
            "unit": METRICS[metric][0],
            "peer": peer,
            "peer_value": round(peer_value, 4),
            "ratio": round(value / peer_value, 3),
        }
        print(json.dumps(line))


def report(results):
    print(f"{'':14}{'evergate':>26}{'strongswan':>26}{'ratio':>9}")
    for metric, value, _, peer_value, ours, theirs in medians(results):
        unit, direction = METRICS[metric]
        columns = (f"{middle:.3g} [{min(all_):.3g}-{max(all_):.3g}]" for middle, all_ in ((value, ours), (peer_value, theirs)))
        print(f"{metric:14}" + "".join(f"{column:>26}" for column in columns) + f"{value / peer_value:>8.2f}x  {unit}, {direction}")


if __name__ == "__main__":
    sys.exit(main())
