"""The documentation's commands: every `sh` block of the pages runs as it stands, on a host of its own, and says what the page says it does.

A page names its host in a comment at its top: `host` is a bare one, `gateway` one with a gateway for vpn.example.com that runs, a session of alice and
a failed login of hers. A `text` block right below a `sh` block is what that prints, with `..` for whatever differs; `sh configured` runs with the whole
configuration that the page shows. `sh elsewhere` needs what is not here, and each of its lines begins with words of ELSEWHERE; such a line of another block
is left out, too.
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
# Beginnings of lines that need a package manager, a service manager, a container, another host or the sources: what runs them instead, and the words that
# it has for them; None: they are read alone.
ELSEWHERE = {
    "apt install": ("tests/package/run", '"dpkg", "--install"'),
    "systemctl": ("tests/package/run", '"systemctl", "start"'),
    "journalctl": ("tests/package/run", '"journalctl"'),
    "deploy/package/build": ("tests/package/run", "deploy/package/build"),
    "podman build": ("tests/package/containers", "podman build"),
    "podman run": ("tests/package/containers", "compose up"),
    "docker compose": ("tests/package/containers", "deploy/compose/compose.yaml"),
    "helm install": ("tests/package/lint", "helm template"),
    "cargo build": ("tests/run", "cargo build"),
    "target/release/evergate run": ("deploy/labkit/evergate.py", '"run", "--config"'),
    "evergate drain --to": ("tests/interop/cases_mobility.py", '"drain", "--to"'),
    "while said=$(evergate status --json)": ("tests/package/containers", "preStop waits until nobody is left"),
    "ssh -t -L": ("tests/interop/cases_console.py", '"console"'),
    "curl --unix-socket /run/evergate/control.sock -N": ("tests/interop/cases_api.py", "/v1/events"),
    "tests/run": None,
    "tests/bench/run": None,
    "deploy/lab up": None,
    "cp /usr/share/doc/evergate": None,
    "sysctl --system": None,
    "certbot": None,
    "lego": None,
    "openssl pkcs12 -in vpn.pfx": None,
    "install -m 644 vpn-new.pem": None,
    "install -m 640 -g evergate vpn": None,
    "rm vpn.key": None,
    "install -m 644 issuing.pem": None,
    "install -m 644 vpn.pem etc/": None,
    "install -m 640 -g 10443": None,
    "dpkg-deb -x": None,
    "new/usr/bin/evergate check": None,
    "kubectl": None,
    "ipvsadm": None,
    "(sleep 120; nft delete table inet evergate) &": None,
    "nft -f evergate.nft": None,
}
# Lines of `sh elsewhere` that other pages run here.
RUN_BY_OTHERS = ("evergate status", "evergate doctor --probe vpn.example.com")
CHART = TOP / "deploy/helm/evergate"
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
# As the package makes them.
getent group evergate > /dev/null || groupadd --system evergate
getent passwd evergate > /dev/null || useradd --system --gid evergate --home-dir /var/lib/evergate --no-create-home --shell /usr/sbin/nologin evergate
install -d -m 750 -g evergate /etc/evergate
install -d -m 700 -o evergate -g evergate /var/lib/evergate
install -d -m 755 -o evergate -g evergate /run/evergate
ip link set lo up
echo '127.0.0.1 vpn.example.com' >> /etc/hosts
sysctl -qw net.ipv4.ip_forward=1
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
for try in $(seq 300); do grep -q " ready " "$HOST/gateway.log" && break; sleep 0.1; done
sstp() { sstp-client connect --server 127.0.0.1 --server-name vpn.example.com --ca /etc/evergate/ca.pem --json --user alice "$@"; }
if sstp --password wrong --seconds 0 > wrong.txt 2>&1; then exit 70; fi
# It is the login that is refused, not the connection.
grep -Eq '"code": ?691' wrong.txt || { cat wrong.txt; exit 71; }
sstp --password "$password" --seconds 600 > session.txt 2>&1 &
session=$!
for try in $(seq 100); do evergate sessions --json | grep -q alice && break; sleep 0.1; done
evergate sessions --json | grep -q alice
rm -f quickstart.txt wrong.txt session.txt
"""
# The page's own configuration, with the files of `quickstart`.
CONFIGURED = """cp "$HOST/page.toml" /etc/evergate/evergate.toml
test -e /etc/evergate/nps1.secret || echo 0123456789abcdef01234567 | install -m 640 -g evergate /dev/stdin /etc/evergate/nps1.secret
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
            plan.append((CONFIGURED + script if more == "configured" else script, None))
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
        wholes = [text for language, _, text, _ in _blocks(page) if language == "toml" and "[server]" in text]
        (folder / "page.toml").write_text("".join(wholes[:1]))
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


def _lines(text):
    """Commands as they stand, continued ones in one line."""
    return filter(None, map(str.strip, text.replace("\\\n", " ").splitlines()))


def _is_elsewhere(line):
    return any(line.startswith(words) for words in ELSEWHERE)


def _run_here():
    """The first two words of every command that a page of docs/ really runs."""
    texts = [text for page in PAGES if page.parent != TOP for text, _ in _plan(page)[1]]
    return {" ".join(line.split()[:2]) for text in texts for line in _lines(text)}


@case("docs")
def commands_of_the_readme_run(world):
    """The README is no session of its own: what its lines do is done by the pages, or named in ELSEWHERE."""
    # Those of `timeout 2 evergate console` and the like.
    here = _run_here() | {"evergate console"}
    check("evergate nonsense" not in here and "evergate check" in here, sorted(here))
    for language, _, text, _ in _blocks(TOP / "README.md"):
        for line in _lines(text) if language == "sh" else ():
            command = line.split(" #")[0].strip()
            words = " ".join(command.removeprefix("target/release/").split()[:2])
            check(_is_elsewhere(line) or words in here, f"README: nothing runs `{command}`: neither a page of docs/ nor what ELSEWHERE names")


@case("docs")
def what_runs_elsewhere_is_there(world):
    for line, runner in ELSEWHERE.items():
        if runner is None:
            continue
        file, words = runner
        runs = file.startswith(("tests/", "deploy/")) and (TOP / file).resolve() != Path(__file__).resolve()
        check(runs, f"{line!r}: {file} runs nothing of it")
        check(words in (TOP / file).read_text(), f"{line!r} is not what {runner} runs")


@case("docs")
def what_is_marked_so_is_named(world):
    """Nothing is left unrun by a mark alone, and no row with a runner outlives its line."""
    lines = [line for page in PAGES for language, more, text, _ in _blocks(page) if (language, more) == ("sh", "elsewhere") for line in _lines(text)]
    odd = [line for line in lines if not _is_elsewhere(line) and line not in RUN_BY_OTHERS]
    check(len(lines) > 15 and not odd, f"`sh elsewhere`, and not in ELSEWHERE: {odd}")
    here = [line for page in PAGES if page.parent != TOP for text, _ in _plan(page)[1] for line in _lines(text)]
    check(all(any(line.startswith(words) for line in here) for words in RUN_BY_OTHERS), f"not run by any page: {RUN_BY_OTHERS}")
    shells = [line for page in PAGES for language, _, text, _ in _blocks(page) if language == "sh" for line in _lines(text)]
    stale = [words for words, runner in ELSEWHERE.items() if runner and not any(line.startswith(words) for line in shells)]
    check(not stale, f"in ELSEWHERE, and on no page: {stale}")
    hidden = [line for line in shells if line.endswith("|| true")]
    check(not hidden, f"cannot fail: {hidden}")


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
                found = yaml.safe_load(text)
                check(isinstance(found, dict), f"{page.name}: {text}")
                if "config" in found:
                    _values(world, yaml.safe_load((CHART / "values.yaml").read_text()), found)
                read += 1
    check(read >= 6, f"only {read} blocks were read")
    packaged = TOP / "deploy/package/evergate.nft"
    done = subprocess.run(["unshare", "--net", "nft", "-c", "-f", packaged], text=True, capture_output=True)
    check(done.returncode == 0, done.stderr)
    rules = [line for line in map(str.strip, packaged.read_text().splitlines()) if line and not line.startswith("#")]
    shown = next(text for language, _, text, _ in _blocks(TOP / "docs/network.md") if language == "nft")
    # It clears its table first.
    check(rules[2:] == list(map(str.strip, shown.splitlines())), "docs/network.md does not show deploy/package/evergate.nft")


def _values(world, chart, values):
    """The values are the chart's, and the gateway takes their configuration, with the files of `quickstart` in place of the secrets."""
    for name, value in values.items():
        check(name in chart, f"the chart has no {name}")
        inner = set(value) if isinstance(value, dict) else set()
        check(not inner or inner <= set(chart[name]), f"{name}: {sorted(inner)}, but the chart has {chart[name]}")
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1"}
        made = Path(folder) / "made"
        subprocess.run([world.gateway.binary, "quickstart", "--name", "vpn.example.com", "--no-start", "--dir", made], env=env, check=True, capture_output=True)
        (made / "nps1").write_text("0123456789abcdef01234567")
        files = {"/etc/evergate-tls/tls.crt": "vpn.pem", "/etc/evergate-tls/tls.key": "vpn.key", "/etc/evergate-secrets/nps1": "nps1"}
        config = values["config"]
        for file, stand_in in files.items():
            check(file in config, f"{file} is not in {config}")
            config = config.replace(file, str(made / stand_in))
        (made / "values.toml").write_text(config)
        done = subprocess.run([world.gateway.binary, "check", "--config", made / "values.toml"], env=env, text=True, capture_output=True)
        check(done.returncode == 0, done.stdout + done.stderr)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if len(sys.argv) > 1 else PAGES:
        print(path, *_plan(path), sep="\n")
