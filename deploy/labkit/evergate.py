"""The gateway under test: builds it, writes its configuration, runs it, asks it through its own command line."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from . import packages, toml
from .network import LAN_DNS, RADIUS_IPV4
from .pki import GATEWAY_NAME
from .shell import Daemon, LabError, run, say

ROOT = Path(__file__).resolve().parents[2]


def build(*names):
    """Builds release programs in one call, showing cargo's progress, and returns their folder."""
    packages.ensure(packages.BUILD)
    cargo = shutil.which("cargo") or os.path.expanduser("~/.cargo/bin/cargo")
    if not os.path.exists(cargo):
        raise LabError("cargo is missing: install the Rust toolchain (https://rustup.rs), then run this again")
    what = [part for name in names for part in ("-p", name)]
    say(f"building: cargo build --release {' '.join(what)}")
    done = subprocess.run([cargo, "build", "--release", "--locked", *what], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=2)
    if done.returncode != 0:
        raise LabError(f"{' and '.join(names)} cannot be built: see cargo's output above")
    return program().parent


def program():
    """Where cargo puts the release program."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "evergate"


class Gateway:
    """One Evergate in the gateway namespace."""

    def __init__(self, folder, namespace, pki, secret, binary=None):
        self.folder, self.pki, self.secret = Path(folder), pki, secret
        self.binary = Path(binary or program()).resolve()
        self.config_file = self.folder / "evergate.toml"
        self.control_socket = self.folder / "control.sock"
        self.secret_file = self.folder / "radius.secret"
        self.namespace = namespace
        self.daemon = Daemon(namespace, self.folder / "gateway.pid", self.folder / "gateway.log")

    def default_config(self, certificates=("gateway-rsa", "gateway-ecdsa")):
        """The laboratory's configuration as a dict; tests change it before `start`."""
        return {
            "server": {
                "name": GATEWAY_NAME,
                "control_socket": str(self.control_socket),
                "state_dir": str(self.folder / "state"),
                # Everything here is root's, whether or not the host has a user for its own gateway.
                "run_as": "root",
            },
            "certificate": [{"name": name, "chain": str(self.pki.cert(name)), "key": str(self.pki.key(name))} for name in certificates],
            "listener": [
                {
                    "name": "ikev2",
                    "protocol": "ikev2",
                    "certificates": list(certificates),
                    "auth": ["eap", "certificate"],
                    "client_ca": [str(self.pki.cert("ca"))],
                    "crl": [str(self.pki.crl("ca"))],
                },
                {
                    "name": "sstp",
                    "protocol": "sstp",
                    "certificates": list(certificates),
                    "auth": ["eap", "mschapv2"],
                },
            ],
            "radius": [{"name": "freeradius", "address": RADIUS_IPV4, "secret_file": str(self.secret_file)}],
            "pool": [{"name": "users", "ipv4": ["10.98.0.10-10.98.0.250"], "ipv6": ["fd98::10-fd98::fff"]}],
            "policy": [{"name": "everyone", "tunnel": ["ikev2", "sstp"], "pool": "users", "dns": [LAN_DNS]}],
        }

    def write_config(self, config=None):
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.secret_file.write_text(self.secret + "\n")
        self.secret_file.chmod(0o600)
        self.config_file.write_text(toml.dumps(config or self.default_config()))

    def start(self, config=None):
        self.write_config(config)
        return self.restart()

    def restart(self):
        """Starts with the configuration that is there."""
        if not self.binary.exists():
            raise LabError(f"{self.binary} does not exist: build it with `cargo build --release -p evergate`")
        self.control_socket.unlink(missing_ok=True)
        argv = [self.binary, "run", "--config", self.config_file]
        self.daemon.start(argv, ready=self._answers, what="the gateway", env=_environment())
        return self

    def stop(self):
        return self.daemon.stop()

    def pid(self):
        return self.daemon.pid()

    def command(self, *arguments, check=True):
        """Runs an `evergate` command against this gateway."""
        return run([self.binary, *arguments, "--config", self.config_file], check=check, timeout=30, env=_environment())

    def json(self, *arguments):
        return json.loads(self.command(*arguments, "--json").stdout)

    def _answers(self):
        return self.control_socket.exists() and self.command("status", "--json", check=False).returncode == 0


def _environment():
    """Ours without the variables that would change the gateway's configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EVERGATE__")} | {"NO_COLOR": "1"}
