"""How long sessions wait for the answer to a sign of life while no RADIUS server answers and logins pour in."""

import json
import subprocess

from labkit.shell import LabError, in_namespace, say

from sides import login_arguments

SESSIONS, SECONDS, NEWCOMERS = 500, 10, 30


def liveness(lab, program):
    """(median, 99th percentile) in milliseconds; a request that has no answer counts with the time that it has waited."""
    options = ["--user", "load{}", "--suite", "aes256gcm", "--json", "--sessions", SESSIONS, "--seconds", SECONDS]
    argv = [program, "vigil", *login_arguments(lab), *options, "--newcomers-per-second", NEWCOMERS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    radius = lab.radius()
    with subprocess.Popen(in_namespace(lab.namespace("client"), argv), **pipes) as process:
        up = process.stdout.readline()
        if not up.startswith("{"):
            raise LabError(f"{SESSIONS} sessions did not come up: {up.strip()}")
        radius.freeze()
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            radius.thaw()
    if not line.startswith("{"):
        raise LabError(f"evergate-load said instead of a report: {line.strip()}")
    report = json.loads(line)
    counts = f"{report['answered']} answers, {report['waiting']} requests without, {report['repeated']} repetitions"
    say(f"  liveness: {counts}, at most {report['max_ms']:.1f} ms, lost {report['lost']}")
    return report["p50_ms"], report["p99_ms"]
