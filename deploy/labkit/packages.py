"""Debian packages: only what is missing, with progress, and no service left running on the host."""

import os
import shutil
from pathlib import Path

from .shell import LabError, run, say

# Program or file that shows a package is there -> package.
BASE = {
    "/usr/sbin/ip|/sbin/ip|/usr/bin/ip": "iproute2",
    "/usr/bin/ping|/bin/ping": "iputils-ping",
    "/usr/sbin/nft": "nftables",
    "/usr/bin/openssl": "openssl",
    "/sbin/sysctl|/usr/sbin/sysctl": "procps",
    "/usr/sbin/freeradius": "freeradius",
}
STRONGSWAN = {
    "/usr/lib/ipsec/charon": "strongswan-charon",
    "/usr/lib/ipsec/plugins/libstrongswan-vici.so": "strongswan-swanctl",
    "/usr/lib/ipsec/plugins/libstrongswan-openssl.so": "libstrongswan-standard-plugins",
    "/usr/lib/ipsec/plugins/libstrongswan-curve25519.so": "libstrongswan-extra-plugins",
    "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so": "libcharon-extra-plugins",
    "/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so": "libcharon-extauth-plugins",
}
USER_MODE_LINUX = {"/usr/bin/linux.uml": "user-mode-linux", "/sbin/insmod|/usr/sbin/insmod": "kmod", "/sbin/tc|/usr/sbin/tc": "iproute2"}
SSTP = {"/usr/sbin/sstpc": "sstp-client", "/usr/sbin/pppd": "ppp"}
BUILD = {"/usr/bin/cc": "build-essential"}
BENCH = {"/usr/bin/iperf3": "iperf3", "/usr/sbin/ethtool|/sbin/ethtool": "ethtool"}
POLICY = Path("/usr/sbin/policy-rc.d")
SERVICES = ("freeradius", "strongswan-starter", "strongswan", "hostapd", "prometheus", "ssh", "certbot.timer", "NetworkManager")


def missing(*sets):
    """The packages of the given sets whose files are absent."""
    wanted = {}
    for group in sets:
        wanted.update(group)
    return sorted({package for files, package in wanted.items() if not any(os.path.exists(f) for f in files.split("|"))})


def ensure(*sets):
    """Installs what is missing."""
    packages = missing(*sets)
    if packages:
        install(packages)
    still = missing(*sets)
    if still:
        raise LabError(f"these Debian packages are not usable after installation: {' '.join(still)}")


def install(packages):
    if os.geteuid() != 0:
        raise LabError(f"packages are missing ({' '.join(packages)}): run as root, or install them")
    if not shutil.which("apt-get"):
        raise LabError(f"this is no Debian: install the equivalents of {' '.join(packages)} by hand")
    say(f"installing Debian packages: {' '.join(packages)}")
    before = {service for service in SERVICES if _enabled(service)}
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    command = ["apt-get", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "install", *packages]
    held = _hold_services()
    try:
        if run(command, env=env, timeout=900, check=False).returncode != 0:
            say("refreshing the package lists")
            run(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update"], env=env, timeout=600)
            run(command, env=env, timeout=900)
    finally:
        if held:
            POLICY.unlink(missing_ok=True)
    for service in SERVICES:
        if service not in before and _enabled(service):
            run(["systemctl", "disable", "--now", service], check=False)


def _hold_services():
    """Keeps the packages' own daemons from starting on the host; the lab starts its own in its namespaces."""
    if POLICY.exists():
        return False
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    return True


def _enabled(service):
    if not os.path.isdir("/run/systemd/system"):
        return False
    return run(["systemctl", "is-enabled", "--quiet", service], check=False).returncode == 0
