"""The documentation's commands: every `sh` block of the pages runs as it stands, on a host of its own, and says what the page says it does.

A page names its host in a comment at its top: `host` is a bare one, `gateway` one with a gateway for vpn.example.com that runs, a session of alice and
a failed login of hers. A `text` block right below a `sh` block is what that prints, with `..` for whatever differs; `sh elsewhere` needs what is not
here and is read alone, and so is a line that begins with a word of ELSEWHERE.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import case, check
from labkit import packages

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
# Beginnings of lines that need a package manager, a service manager, a container or the sources: what runs them instead, and the words that it has for
# them; None: they are read alone.
ELSEWHERE = {
    "apt install": ("tests/package/run", '"dpkg", "--install"'),
    "systemctl": ("tests/package/run", '"systemctl", "start"'),
    "journalctl": ("tests/package/run", '"journalctl"'),
    "deploy/package/build": ("tests/package/run", "deploy/package/build"),
    "podman": ("tests/package/containers", "podman build"),
    "docker compose": ("tests/package/containers", "deploy/compose/compose.yaml"),
    "cargo build": ("tests/run", "cargo build"),
    "target/release/evergate": ("tests/interop/cases_docs.py", "GATEWAY = "),
    "evergate drain --to": ("tests/interop/cases_mobility.py", '"drain", "--to"'),
    "evergate doctor --probe vpn.example.com": ("tests/interop/cases_doctor.py", '"--probe"'),
    "evergate sessions                   #": ("docs/operation.md", "evergate sessions"),
    "curl --unix-socket /run/evergate/control.sock -N": ("tests/interop/cases_api.py", "/v1/events"),
    "tests/run": None,
    "tests/bench/run": None,
    "deploy/lab up": None,
    "cp /usr/share/doc/evergate": None,
    "sysctl --system": None,
    "certbot": None,
    "lego": None,
}
# What the commands need besides the laboratory's packages, and what reads YAML.
CURL = {"/usr/bin/curl": "curl"}
PARSER = {"/usr/lib/python3/dist-packages/yaml/__init__.py": "python3-yaml"}
# Its own host: network, and of the file system what the commands write to.
ENTER = r"""
set -e
mount --make-rprivate /
mkdir -p "$HOST/etc"
cp -a /etc/. "$HOST/etc/"
mount --bind "$HOST/etc" /etc
rm -rf /etc/evergate
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
ip link set lo up
echo '127.0.0.1 vpn.example.com' >> /etc/hosts
sysctl -qw net.ipv4.ip_forward=1 || true
cd "$HOST/work"
exec bash -eu -o pipefail "$HOST/page.sh"
"""
# A gateway that serves, with one session and one login that failed.
GATEWAY = r"""
evergate quickstart --name vpn.example.com --no-start > quickstart.txt
password=$(sed -n 's/^Password *\([^ ]*\).*/\1/p' quickstart.txt)
# Through loopback there is no way back out of a tunnel: SSTP alone is asked for.
evergate run > "$HOST/gateway.log" 2>&1 &
gateway=$!
trap 'kill $gateway $session 2>/dev/null; wait' EXIT
session=
for try in $(seq 100); do test -S /run/evergate/control.sock && break; sleep 0.1; done
sstp() { sstp-client connect --server 127.0.0.1 --server-name vpn.example.com --ca /etc/evergate/ca.pem --json --user alice "$@"; }
sstp --password wrong --seconds 0 > wrong.txt 2>&1 && exit 70
sstp --password "$password" --seconds 600 > session.txt 2>&1 &
session=$!
for try in $(seq 100); do evergate sessions --json | grep -q alice && break; sleep 0.1; done
evergate sessions --json | grep -q alice
rm -f quickstart.txt wrong.txt session.txt
"""
LINE = re.compile(r"^```(\w+)?(.*)$")


def _blocks(page):
    """(language, what else stands behind the fence, text, whether nothing but a blank line is above it) of each block."""
    found, inside, prose = [], None, True
    for line in page.read_text().splitlines():
        fence = LINE.match(line)
        if inside is not None:
            if line == "```":
                found.append((inside[0], inside[1], "\n".join(inside[2]) + "\n", not inside[3]))
                inside, prose = None, False
            else:
                inside[2].append(line)
        elif fence:
            inside = (fence[1] or "", fence[2].strip(), [], prose)
        elif line.strip():
            prose = True
    return found


def _script(text):
    """The block with what runs elsewhere left out, and how many commands are left."""
    lines, count, here, skipped, continued = [], 0, None, False, False
    for line in text.splitlines():
        if here is not None:
            here = None if line == here else here
        elif not continued:
            skipped = any(line.startswith(word) for word in ELSEWHERE)
            word = re.search(r"<<'?(\w+)", line)
            here = word[1] if word else None
            count += bool(line.strip()) and not skipped and not line.startswith("#")
        continued = here is None and line.endswith("\\")
        lines.append("" if skipped else line)
    return "\n".join(lines) + "\n", count


def _plan(page):
    """The page's host, and its blocks as (script, expected output or None)."""
    host = re.match(r"<!-- run: (\w+) -->", page.read_text())
    plan, count, below = [], 0, False
    for language, more, text, follows in _blocks(page):
        if language == "text" and below and follows:
            plan[-1] = (plan[-1][0], text)
        below = language == "sh" and more != "elsewhere"
        if below:
            script, commands = _script(text)
            plan.append((script, None))
            count += commands
    return host[1] if host else None, plan, count


def _matches(expected, said):
    """Line by line; `..` inside a line is anything, `..` by itself any number of lines."""
    def pattern(line):
        words = [".*".join(map(re.escape, word.split(".."))) for word in line.split()]
        return r"\s*" + r"\s+".join(words) + r"\s*"

    parts = ["(?:.*\n)*?" if line.strip() == ".." else pattern(line) + "\n" for line in expected.strip().splitlines()]
    # Blank lines at the end are nobody's.
    return re.fullmatch("".join(parts) + r"\s*", said.strip() + "\n") is not None


def _run(world, page):
    host, plan, count = _plan(page)
    if host is None:
        check(count == 0, f"{page.name} has {count} commands to run, and no `<!-- run: host -->` or `<!-- run: gateway -->` at its top")
        return 0
    check(count > 0, f"{page.name} has a host and nothing to run")
    folder = Path(tempfile.mkdtemp(prefix="evergate-docs-"))
    try:
        (folder / "work").mkdir()
        (folder / "bin").mkdir()
        for name in ("evergate", "sstp-client"):
            (folder / "bin" / name).symlink_to(Path(world.gateway.binary).resolve().parent / name)
        mark = "\x1e"
        script = GATEWAY if host == "gateway" else ""
        for number, (text, _) in enumerate(plan):
            script += f"printf '{mark}{number}{mark}'\n{text}"
        (folder / "page.sh").write_text(script)
        env = {"HOST": str(folder), "PATH": f"{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        argv = ["unshare", "--net", "--mount", "--uts", "sh", "-c", ENTER]
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90)
        log = folder / "gateway.log"
        more = log.read_text()[-3000:] if log.exists() else ""
        check(done.returncode == 0, f"{page.name}: a command fails with {done.returncode}:\n{done.stdout[-4000:]}\n{more}")
        said = dict(re.findall(f"{mark}(\\d+){mark}([^{mark}]*)", done.stdout))
        for number, (text, expected) in enumerate(plan):
            if expected is not None:
                check(_matches(expected, said[str(number)]), f"{page.name}: expected of\n{text}\n{expected}\ngot\n{said[str(number)]}")
        return count
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@case("docs")
def the_matcher_tells_outputs_apart(world):
    check(_matches("a ..\n..\nz\n", "a  b c\nmiddle\nz\n") and _matches("..\n", "x\ny\n"), "what fits does not match")
    for expected, said in (("a\n", "b\n"), ("a\n..\nz\n", "a\nb\n"), ("a\n", "a\nb\n"), ("a b\n", "ab\n")):
        check(not _matches(expected, said), f"{expected!r} matches {said!r}")


@case("docs")
def every_command_of_the_pages_runs(world):
    packages.ensure(CURL)
    pages = [page for page in PAGES if page.parent != TOP]
    with ThreadPoolExecutor(4) as pool:
        ran = dict(zip([page.name for page in pages], pool.map(lambda page: _run(world, page), pages), strict=True))
    check(sum(ran.values()) > 45, f"hardly a command has run: {ran}")


@case("docs")
def commands_of_the_readme_run(world):
    """The README is no session of its own: what its lines do is done by the pages, or named in ELSEWHERE."""
    pages = "\n".join(page.read_text() for page in PAGES if page.parent != TOP)
    for language, _, text, _ in _blocks(TOP / "README.md"):
        if language != "sh":
            continue
        joined = text.replace("\\\n", " ")
        for line in filter(None, map(str.strip, joined.splitlines())):
            command = line.split(" #")[0].strip()
            words = " ".join(command.split()[:2])
            there = any(line.startswith(word) for word in ELSEWHERE) or words in pages
            check(there, f"README: nothing runs `{command}`: neither a page of docs/ nor what ELSEWHERE names")


@case("docs")
def what_runs_elsewhere_is_there(world):
    for line, runner in ELSEWHERE.items():
        check(runner is None or runner[1] in (TOP / runner[0]).read_text(), f"{line!r} is not what {runner} runs")


@case("docs")
def configurations_of_others_are_read_by_them(world):
    packages.ensure(PARSER)
    import yaml

    read = 0
    for page in PAGES:
        for language, _, text, _ in _blocks(page):
            if language == "nft":
                done = subprocess.run(["unshare", "--net", "nft", "-c", "-f", "-"], input=text, text=True, capture_output=True)
                check(done.returncode == 0, f"{page.name}: {done.stderr}\n{text}")
                read += 1
            elif language == "yaml":
                check(isinstance(yaml.safe_load(text), dict), f"{page.name}: {text}")
                read += 1
    check(read >= 3, f"only {read} blocks were read")


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if len(sys.argv) > 1 else PAGES:
        print(path, *_plan(path), sep="\n")
