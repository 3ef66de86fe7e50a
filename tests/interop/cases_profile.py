"""Profiles made of the gateway's own configuration: strongSwan connects with the files as they are written."""

import subprocess

from harness import case, check, setup
from labkit import network
from labkit.pki import GATEWAY_NAME
from swanctl import load

LAN = "10.99.10.0/24"


@setup("profile")
def profile(config):
    machines = {"name": "machines", "method": ["certificate"], "pool": "users", "routes": [LAN]}
    config["policy"].insert(0, machines)
    # Not what a client would choose by itself.
    config["ciphers"] = {"ike": ["aes128-sha384"], "prfs": ["sha384"], "groups": ["ecp384"], "esp": ["aes128-gcm"], "pfs": ["modp3072"]}


def _files(world, *arguments, password=""):
    """What `evergate profile strongswan` writes, by name."""
    gateway = world.gateway
    folder = gateway.folder / "-".join(("profile", *(word.strip("-") for word in arguments)))
    argv = [gateway.binary, "profile", "strongswan", *arguments, "--out", folder, "--config", gateway.config_file]
    done = subprocess.run([str(word) for word in argv], input=password, capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, f"{done.stdout} {done.stderr}")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    # The laboratory has no DNS.
    name = f"remote_addrs = {GATEWAY_NAME}\n".encode()
    check(files["swanctl.conf"].count(name) == 1, files["swanctl.conf"])
    files["swanctl.conf"] = files["swanctl.conf"].replace(name, f"remote_addrs = {network.GATEWAY_IPV4}\n".encode())
    return {"swanctl.conf": files["swanctl.conf"], "x509ca/ca.pem": files["ca.pem"]}


@case("profile")
def strongswan_logs_in_with_a_password(world):
    swanctl = load(world, _files(world, "--user", "alice", "--with-password", password="password\n"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    session = world.session_of("alice")
    check(session["policy"] == "everyone" and session["ike_suite"] == "AES_CBC_128/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_384", f"{session}")
    world.ping()
    swanctl("--rekey", "--child", "evergate")
    world.ping()


@case("profile")
def strongswan_logs_in_with_a_certificate(world):
    files = _files(world, "--device")
    check(b"secret" not in files["swanctl.conf"] and LAN.encode() in files["swanctl.conf"], files["swanctl.conf"])
    pki = world.lab.pki
    files |= {"x509/client.pem": pki.cert("machine-ecdsa").read_bytes(), "private/client.key": pki.key("machine-ecdsa").read_bytes()}
    swanctl = load(world, files)
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    (session,) = world.sessions()
    check(session["policy"] == "machines", f"{session}")
    world.ping()
