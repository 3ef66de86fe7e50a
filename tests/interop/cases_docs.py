"""The documentation's commands: every `sh` block of the pages runs as it stands, and says what the page says it does.

A page names its host in a comment at its top: `host` is a bare one, `gateway` one with a gateway for vpn.example.com that runs, a session of alice and
a failed login of hers. What a block's fence says of its runner is in `pages`; what some of them find, in `docs_given`.
"""

import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pages
from docs_given import GIVEN, HELPERS, NEEDED
from harness import case, check
from labkit import packages
from pages import README, TOP

# What the README has and no page: beginnings of lines, and what runs them, with the words that it has for them; None: they are read alone.
README_ALONE = {
    "systemctl start evergate": ("tests/package/run", 'self.readme("systemctl start")'),
    "docker compose": ("tests/package/containers", "deploy/compose/compose.yaml"),
    "cargo build": ("tests/run", "cargo build"),
    "target/release/evergate run": ("deploy/labkit/evergate.py", '"run", "--config"'),
    "curl --unix-socket /run/evergate/control.sock -N": ("tests/interop/cases_api.py", "/v1/events"),
    "tests/run": (".ci/run", "tests/run"),
    "tests/bench/run": None,
    "deploy/lab up": None,
}
CHART = TOP / "deploy/helm/evergate"
# What reads YAML.
PARSER = {"/usr/lib/python3/dist-packages/yaml/__init__.py": "python3-yaml"}
# Who reads blocks: this file; the unit tests of `server::docs`; nobody has to read a drawing.
READERS = {"sh": __name__, "text": __name__, "yaml": __name__, "nft": __name__, "toml": "server::docs", "powershell": "server::docs", "mermaid": None}
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
trap 'kill $gateway $session 2>/dev/null; wait $gateway $session || true' EXIT
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


def _script(block):
    """The block with what it is given."""
    if block.mark == ("configured",):
        return CONFIGURED + block.text
    if block.mark[:1] == ("given",):
        given = GIVEN[block.mark[1]]
        return f"{given.before}{block.text}{given.after}"
    return block.text


def _plan(page):
    """The page's host, and its blocks as (script, expected output or None)."""
    host = re.match(r"<!-- run: (\w+) -->", page.read_text())
    plan, below = [], False
    for block in pages.blocks(page):
        if block.language == "text" and below and block.follows:
            plan[-1] = (plan[-1][0], block.text)
        below = block.language == "sh" and not block.runner
        if below:
            plan.append((_script(block), None))
    return host[1] if host else None, plan


def _matches(expected, said):
    """Line by line; `..` inside a line is anything, `..` by itself any number of lines."""
    def pattern(line):
        words = [".*".join(map(re.escape, word.split(".."))) for word in line.split()]
        return r"\s*" + r"\s+".join(words) + r"\s*"

    parts = ["(?:.*\n)*?" if line.strip() == ".." else pattern(line) + "\n" for line in expected.strip().splitlines()]
    # Blank lines at the end are nobody's.
    return re.fullmatch("".join(parts) + r"\s*", said.strip() + "\n") is not None


def _run(world, page):
    host, plan = _plan(page)
    if host is None:
        check(not plan, f"{page.name} has {len(plan)} blocks to run, and no `<!-- run: host -->` or `<!-- run: gateway -->` at its top")
        return 0
    check(plan, f"{page.name} has a host and nothing to run")
    folder = Path(tempfile.mkdtemp(prefix="evergate-docs-"))
    try:
        (folder / "work").mkdir()
        (folder / "bin").mkdir()
        for name in ("evergate", "sstp-client"):
            (folder / "bin" / name).symlink_to(Path(world.gateway.binary).resolve().parent / name)
        mark = "\x1e"
        script = HELPERS + (GATEWAY if host == "gateway" else "")
        for number, (text, _) in enumerate(plan):
            script += f"printf '{mark}{number}{mark}'\n{text}"
        (folder / "page.sh").write_text(script)
        wholes = [block.text for block in pages.blocks(page) if block.language == "toml" and "[server]" in block.text]
        (folder / "page.toml").write_text("".join(wholes[:1]))
        env = {"HOST": str(folder), "PATH": f"{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        env["SOURCES"] = str(TOP)
        # With the host ends whatever was begun on it.
        argv = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ENTER]
        # 124: out of time.
        done = subprocess.run(["timeout", "170", *argv], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log = folder / "gateway.log"
        more = log.read_text()[-3000:] if log.exists() else ""
        check(done.returncode == 0, f"{page.name}: a command fails with {done.returncode}:\n{done.stdout[-4000:]}\n{more}")
        said = dict(re.findall(f"{mark}(\\d+){mark}([^{mark}]*)", done.stdout))
        for number, (text, expected) in enumerate(plan):
            if expected is not None:
                check(_matches(expected, said[str(number)]), f"{page.name}: expected of\n{text}\n{expected}\ngot\n{said[str(number)]}")
        return len(plan)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@case("docs")
def the_matcher_tells_outputs_apart(world):
    check(_matches("a ..\n..\nz\n", "a  b c\nmiddle\nz\n") and _matches("..\n", "x\ny\n"), "what fits does not match")
    for expected, said in (("a\n", "b\n"), ("a\n..\nz\n", "a\nb\n"), ("a\n", "a\nb\n"), ("a b\n", "ab\n")):
        check(not _matches(expected, said), f"{expected!r} matches {said!r}")


@case("docs", long=True)
def every_command_of_the_pages_runs(world):
    packages.ensure(NEEDED)
    with ThreadPoolExecutor(4) as pool:
        ran = dict(zip(pages.all_pages(), pool.map(lambda page: _run(world, page), pages.all_pages()), strict=True))
    check(sum(ran.values()) > 35, f"hardly a block has run: {ran}")


@case("docs")
def every_block_has_one_runner(world):
    """A block that nobody runs, and a runner's name for a block that no page has, are both found here."""
    found = [block for page in pages.all_pages() for block in pages.blocks(page)]
    shells = [block for block in found if block.language == "sh"]
    unread = [block.place for block in found if block.language not in READERS]
    check(not unread, f"blocks of a language that nobody reads: {unread}")
    strays = [above.place for above, block in zip(found, found[1:], strict=False) if block.language == "text" and (above.language != "sh" or not block.follows)]
    check(not strays, f"a `text` block that is the output of no command follows {strays}")
    odd = [block.place for block in shells if block.mark and block.mark != ("configured",) and block.mark[:1] != ("given",) and block.runner not in pages.RUNNERS]
    check(not odd, f"`sh` with words that name no runner: {odd}")
    given = sorted(block.mark[1] for block in shells if block.mark[:1] == ("given",))
    check(given == sorted(GIVEN), f"the pages are given {given}, docs_given has {sorted(GIVEN)}")
    for runner, file in pages.RUNNERS.items():
        # Each runner takes its blocks by `block("NAME")`, a shell script by `block NAME`.
        text = file.read_text()
        call = r"(?:^ +|\{ )block ([a-z_]+)" if "/bash" in text.splitlines()[0] else r"""\bblock\(["']([a-z_]+)["']\)"""
        takes = sorted(re.findall(call, text, re.M))
        check(takes == sorted(pages.of_runner(runner)), f"{file.name} takes {takes}, the pages have {sorted(pages.of_runner(runner))} for it")
    hidden = [line for block in shells for line in pages.commands(block.text) if line.endswith("|| true")]
    check(not hidden, f"cannot fail: {hidden}")


@case("docs")
def commands_of_the_readme_run(world):
    """The README is no session of its own: what its lines do is done by the pages, or by what README_ALONE names."""
    on_pages = [line for page in pages.all_pages() for block in pages.blocks(page) if block.language == "sh" for line in pages.commands(block.text)]
    # `timeout 2 evergate console` and the like, and a value in front.
    begun = {re.sub(r"^(?:timeout \d+ |[A-Z_]+=\S+ )", "", line) for line in on_pages}
    known = {" ".join(line.split()[:2]) for line in begun}
    check("evergate nonsense" not in known and "evergate check" in known, sorted(known))
    lines = [line for block in pages.blocks(README) if block.language == "sh" for line in pages.commands(block.text)]
    # What the package says of itself: commands stand in lines of their own.
    debian = (TOP / "deploy/package/debian/README.Debian").read_text()
    lines += [line.split("   ")[0].strip() for line in debian.splitlines() if re.match(r"  [a-z]+ [^=]*$", line)]
    check(len(lines) > 30, f"only {len(lines)} lines were found")
    for line in lines:
        command = line.split(" #")[0].removeprefix("target/release/").strip()
        done = " ".join(command.split()[:2]) in known or any(line.startswith(words) for words in README_ALONE)
        check(done, f"README: nothing runs `{command}`: neither a page of docs/ nor what README_ALONE names")
    stale = [words for words in README_ALONE if not any(line.startswith(words) for line in lines)]
    check(not stale, f"in README_ALONE, and not in the README: {stale}")
    for line, runner in README_ALONE.items():
        check(not runner or runner[1] in (TOP / runner[0]).read_text(), f"{line!r} is not what {runner} runs")


@case("docs")
def lines_for_a_kernel_are_taken_by_one(world):
    """LVS and limits of the whole host are a part of the kernel that the laboratory's own does not give away: the machine's does."""
    packages.ensure(NEEDED)
    taken, machine = pages.Taken("machine"), world.machine()

    def typed(text):
        return machine.exec(["bash", "-eu", "-o", "pipefail", "-c", text]).stdout

    machine.exec(["modprobe", "ip_vs"])
    typed(taken.block("balancer"))
    said = typed("ipvsadm --list --numeric; ipvsadm --clear")
    check(re.search(r"FWM +1 sh persistent 86400", said), said)
    check(re.findall(r"-> (\S+) +Masq", said) == ["10.0.0.2:0", "10.0.0.3:0"], said)
    typed(f"install -D -m 644 {TOP}/deploy/package/60-evergate.conf /usr/share/doc/evergate/examples/60-evergate.conf")
    before = typed("sysctl -n net.core.rmem_max")
    typed(taken.block("forwarding"))
    said = typed("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.core.rmem_max net.core.wmem_max").split()
    typed(f"rm /etc/sysctl.d/60-evergate.conf; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.core.rmem_max={before}")
    check(said == ["1", "1", "8388608", "8388608"], said)


@case("docs")
def configurations_of_others_are_read_by_them(world):
    packages.ensure(PARSER)
    import yaml

    read = 0
    for block in [block for page in [README, *pages.all_pages()] for block in pages.blocks(page)]:
        if block.language == "nft":
            done = subprocess.run(["unshare", "--net", "nft", "-c", "-f", "-"], input=block.text, text=True, capture_output=True)
            check(done.returncode == 0, f"{block.place}: {done.stderr}\n{block.text}")
            read += 1
        elif block.language == "yaml":
            found = yaml.safe_load(block.text)
            check(isinstance(found, dict), f"{block.place}: {block.text}")
            if "config" in found:
                _values(world, yaml.safe_load((CHART / "values.yaml").read_text()), found)
            read += 1
    check(read >= 6, f"only {read} blocks were read")
    packaged = TOP / "deploy/package/evergate.nft"
    done = subprocess.run(["unshare", "--net", "nft", "-c", "-f", packaged], text=True, capture_output=True)
    check(done.returncode == 0, done.stderr)
    rules = [line for line in map(str.strip, packaged.read_text().splitlines()) if line and not line.startswith("#")]
    shown = next(block.text for block in pages.blocks(pages.FOLDER / "network.md") if block.language == "nft")
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

