"""Programs of Debian 13 (trixie) beside the machine's own: packages unpacked into a cached root folder, nothing installed; and strongSwan's
plugin for ML-KEM, which Debian does not build, compiled from Debian's own source package.

Apt checks the signatures of the archive as always; no script of a package runs. A command in the root sees the machine's devices, settings
and temporary files, and only its programs and libraries are the newer ones."""

import os
import shutil
from pathlib import Path

from . import packages
from .shell import run, say

CACHE = Path("/var/cache/evergate-lab")
# Another list is another root: raise the number when it changes.
ROOT = CACHE / "trixie-2"
PACKAGES = (
    *("base-files", "coreutils", "dash"),
    *("ppp", "sstp-client"),
    *("strongswan-charon", "strongswan-swanctl", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins"),
    *("libcharon-extra-plugins", "libcharon-extauth-plugins"),
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The keyring holds the keys of trixie since the release of Debian 12 that brings this file.
NEEDED = {
    "/usr/share/keyrings/debian-archive-trixie-stable.gpg": "debian-archive-keyring",
    "/usr/bin/cc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/bin/bzip2": "bzip2",
    "/usr/bin/dpkg-source": "dpkg-dev",
}
# What of strongSwan's configuration matters to this plugin: it has to fit Debian's build of the library.
ML_FLAGS = ("CONFIG_H_INCLUDED", "_GNU_SOURCE", "HAVE_GCC_ATOMIC_OPERATIONS", "HAVE_SIGWAITINFO", "HAVE_EXPLICIT_BZERO")
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
# What a command in the root shares with the machine; its namespace of mounts is its own.
ENTER = (
    "root=$1; shift; for place in dev proc sys run etc tmp var/tmp; do mount --rbind /$place $root/$place || exit 125; done; "
    'exec chroot "$root" "$@"'
)


def command(argv):
    """The command as it runs with the programs of Debian 13; it stays one process. Needs the root: `ensure()`."""
    return ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(ROOT), *map(str, argv)]


def ensure():
    """Makes the root when it is absent (about 35 MB, a few seconds), and gives its path."""
    if not ROOT.exists():
        packages.ensure(NEEDED)
        _make()
    return ROOT


def mirror(security=False):
    """The mirror that this machine already uses: of Debian, or of its security updates."""
    listed = [word for file in SOURCES if file.exists() for line in file.read_text().splitlines() for word in _uris(line)]
    default = "http://deb.debian.org/debian" + ("-security" if security else "")
    return next((uri for uri in listed if ("security" in uri) == security), default)


def _uris(line):
    words = line.split()
    return [word for word in words if words[0] in ("URIs:", "deb") and word.startswith("http")]


def apt(work, source):
    """An apt-get that knows one source and no installed package, with all that it writes in `work`."""
    for name in ("parts", "lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "parts/source.list").write_text(f"{source}\n")
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": work / "parts",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::State::extended_states": work / "extended_states",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    command = ["apt-get", "-qq", *[word for name, value in options.items() for word in ("-o", f"{name}={value}")]]
    run([*command, "update"], timeout=300)
    return command


def _make():
    work = CACHE / f"trixie-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        say("fetching programs of Debian 13 (once, about 35 MB)")
        fetch = apt(work / "programs", f"deb [signed-by={KEYRING}] {mirror()} trixie main")
        run([*fetch, "-y", "--download-only", "--no-install-recommends", "install", *PACKAGES], timeout=600)
        for package in sorted((work / "programs/archives").glob("*.deb")):
            run(["dpkg-deb", "-x", package, work / "root"])
        _link_run(work / "root")
        _add_ml_kem(work / "root", work / "source")
        _publish(work / "root")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _link_run(root):
    """What the script of base-files does: /var/run is /run."""
    (root / "var/run").rmdir()
    (root / "var/run").symlink_to("/run")


def _add_ml_kem(root, work):
    fetch = apt(work, f"deb-src [signed-by={KEYRING}] {mirror(security=True)} trixie-security main")
    run([*fetch, "source", "--download-only", "--tar-only", "strongswan"], cwd=work, timeout=300)
    run(["tar", "xf", next(work.glob("strongswan_*.orig.tar.*"))], cwd=work)
    library = next(path for path in work.glob("strongswan-*") if path.is_dir()) / "src/libstrongswan"
    made = root / "usr/lib/ipsec/plugins/libstrongswan-ml.so"
    flags = ["-shared", "-fPIC", "-O2", "-w", f"-I{library}", *(f"-D{name}" for name in ML_FLAGS)]
    run(["cc", *flags, "-o", made, *sorted((library / "plugins/ml").glob("ml_*.c"))])


def _publish(made):
    """In one step: a folder under that name is whole."""
    try:
        made.rename(ROOT)
    except OSError:
        # Another instance was faster.
        if not ROOT.exists():
            raise
