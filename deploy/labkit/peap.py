"""EAP-PEAP for the strongSwan client: Debian does not build that plugin, so it is compiled once from Debian's own source package."""

import os
import shutil
import subprocess
from pathlib import Path

from . import packages, trixie
from .charon import PLUGINS
from .shell import LabError, run, say

CACHE = Path("/var/cache/evergate-lab")
PLUGIN = "libstrongswan-eap-peap.so"
NEEDED = {
    "/usr/bin/cc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/bin/make": "make",
    "/usr/include/openssl/evp.h": "libssl-dev",
    "/usr/bin/bzip2": "bzip2",
    "/usr/bin/dpkg-source": "dpkg-dev",
}
CONFIGURE = ["--prefix=/usr", "--sysconfdir=/etc", "--libexecdir=/usr/lib", "--with-ipsecdir=/usr/lib/ipsec", "--disable-defaults"]
FEATURES = ["charon", "ikev2", "openssl", "nonce", "random", "socket-default", "kernel-netlink", "kdf", "hmac", "eap-identity", "eap-peap"]
SUBPROJECTS = ("libstrongswan", "libtls", "libsimaka", "libtnccs", "libcharon")


def installed():
    """The folder of plugins with PEAP among them, or None."""
    folder = _folder()
    return folder if (folder / PLUGIN).exists() else None


def ensure():
    """Builds the plugin when it is absent; half a minute once. Needs the package source, so it may fail without a network."""
    return installed() or _build()


def _version():
    return run(["dpkg-query", "-W", "-f", "${Version}", "strongswan-libcharon"]).stdout


def _folder():
    if not PLUGINS.exists():
        return CACHE / "absent"
    return CACHE / f"plugins-{_version()}"


def _build():
    packages.ensure(NEEDED)
    work = CACHE / f"build-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        source = _source(work)
        say("compiling strongSwan's eap-peap plugin (once, about half a minute)")
        with open(work / "log", "wb") as log:
            _step(["./configure", *CONFIGURE, *[f"--enable-{feature}" for feature in FEATURES]], source, log, work)
            for part in SUBPROJECTS:
                # Parts of the tree that the plugin does not need may fail to link in this small configuration.
                subprocess.run(["make", "-j2", "-C", f"src/{part}"], cwd=source, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        made = source / "src/libcharon/plugins/eap_peap/.libs" / PLUGIN
        if not made.exists():
            raise LabError(f"strongSwan's eap-peap plugin was not built:\n{_tail(work / 'log')}")
        return _publish(made)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _source(work):
    """Downloads and unpacks the upstream tarball of the installed version."""
    apt = trixie.apt(work, f"deb-src [signed-by={trixie.KEYRING}] {trixie.mirror()} bookworm main")
    run([*apt, "source", "--download-only", "--tar-only", "strongswan"], cwd=work, timeout=300)
    run(["tar", "xf", next(work.glob("strongswan_*.orig.tar.*"))], cwd=work)
    return next(path for path in work.glob("strongswan-*") if path.is_dir())


def _step(argv, cwd, log, work):
    if subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode != 0:
        raise LabError(f"`{argv[0]}` failed:\n{_tail(work / 'log')}")


def _tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _publish(plugin):
    """Debian's plugins and the new one side by side, in one step."""
    target = _folder()
    fresh = CACHE / f"fresh-{os.getpid()}"
    shutil.copytree(PLUGINS, fresh)
    shutil.copy(plugin, fresh)
    try:
        fresh.rename(target)
    except OSError:
        # Another instance was faster.
        shutil.rmtree(fresh)
    return target
