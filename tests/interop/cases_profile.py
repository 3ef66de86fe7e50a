"""Profiles made of the gateway's own configuration: strongSwan connects with the files as they are written."""

import json
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import networkmanager
from cases_local import _local as in_local_provider
from cases_trace import decoded, tracing
from harness import Skip, case, check, setup
from labkit import network, packages, peap
from labkit.pki import GATEWAY_NAME, RADIUS_NAME
from labkit.shell import wait_until
from swanctl import load

LAN = "10.99.10.0/24"


@setup("profile")
def profile(config):
    machines = {"name": "machines", "method": ["certificate"], "pool": "users", "routes": [LAN]}
    config["policy"].insert(0, machines)
    # Not what a client would choose by itself.
    config["ciphers"] = {"ike": ["aes128-sha384"], "prfs": ["sha384"], "groups": ["ecp384"], "esp": ["aes128-gcm"], "pfs": ["modp3072"]}


@setup("profile-ports")
def other_ports(config):
    (listener,) = (listener for listener in config["listener"] if listener["protocol"] == "ikev2")
    listener |= {"ike_port": 5500, "nat_port": 5501}


# The published order of elements, as Windows 11 wants them, and values (VPNv2 configuration service provider).
ORDER = {
    "VPNProfile": [
        "RememberCredentials", "AlwaysOn", "DeviceTunnel", "DnsSuffix", "TrustedNetworkDetection", "NativeProfile", "Route",
        "TrafficFilter", "DomainNameInformation", "RegisterDNS",
    ],
    "NativeProfile": [
        "Servers", "RoutingPolicyType", "NativeProtocolType", "Authentication", "CryptographySuite", "DisableClassBasedDefaultRoute",
    ],
    "Authentication": ["UserMethod", "MachineMethod", "Eap"],
    "CryptographySuite": [
        "AuthenticationTransformConstants", "CipherTransformConstants", "PfsGroup", "DHGroup", "IntegrityCheckMethod", "EncryptionMethod",
    ],
    "Route": ["Address", "PrefixSize", "ExclusionRoute", "Metric"],
    "DomainNameInformation": ["DomainName", "DnsServers", "WebProxyServers", "AutoTrigger"],
}
VALUES = {
    "AuthenticationTransformConstants": "MD596 SHA196 SHA256128 GCMAES128 GCMAES192 GCMAES256",
    "CipherTransformConstants": "DES DES3 AES128 AES192 AES256 GCMAES128 GCMAES192 GCMAES256",
    "EncryptionMethod": "DES DES3 AES128 AES192 AES256 AES_GCM_128 AES_GCM_256",
    "IntegrityCheckMethod": "MD5 SHA196 SHA256 SHA384",
    "DHGroup": "Group1 Group2 Group14 ECP256 ECP384 Group24",
    "PfsGroup": "PFS1 PFS2 PFS2048 ECP256 ECP384 PFSMM PFS24",
    "RoutingPolicyType": "SplitTunnel ForceTunnel",
    "NativeProtocolType": "PPTP L2TP IKEv2 Automatic SSTP ProtocolList",
    "UserMethod": "Eap MSChapv2",
    "MachineMethod": "Eap Certificate",
    **{name: "true false" for name in ("RememberCredentials", "AlwaysOn", "DeviceTunnel", "DisableClassBasedDefaultRoute")},
}


def _made(world, *arguments, password=""):
    """What `evergate profile` writes, by name."""
    gateway = world.gateway
    folder = gateway.folder / "-".join(("profile", *(Path(word).name.strip("-") for word in arguments)))
    argv = [gateway.binary, "profile", *arguments, "--out", folder, "--config", gateway.config_file]
    done = subprocess.run([str(word) for word in argv], input=password, capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, f"{done.stdout} {done.stderr}")
    return folder, {file.name: file.read_bytes() for file in folder.iterdir()}


def _files(world, *arguments, password=""):
    """What swanctl is given, where the notes say that it belongs."""
    _, files = _made(world, "strongswan", *arguments, password=password)
    # The laboratory has no DNS.
    name = f"remote_addrs = {GATEWAY_NAME}\n".encode()
    check(files["swanctl.conf"].count(name) == 1, files["swanctl.conf"])
    files["swanctl.conf"] = files["swanctl.conf"].replace(name, f"remote_addrs = {network.GATEWAY_IPV4}\n".encode())
    authorities = {f"x509ca/{name}": content for name, content in files.items() if name.endswith("ca.pem")}
    return {"swanctl.conf": files["swanctl.conf"], **authorities}


@case("profile")
def strongswan_logs_in_with_a_password(world):
    swanctl = load(world, _files(world, "--user", "alice", "--with-password", password="password\n"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    session = world.session_of("alice")
    check(session["policy"] == "everyone" and session["ike_suite"] == "AES_CBC_128/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_384", f"{session}")
    world.ping()
    swanctl("--rekey", "--child", "evergate")
    world.ping()


def _client_certificate(world, name):
    pki = world.lab.pki
    return {"x509/client.pem": pki.cert(name).read_bytes(), "private/client.key": pki.key(name).read_bytes()}


def _came_by(world, session, method):
    story = [entry["text"] for entry in world.attempt(session["attempt"])["timeline"]]
    check(any(method in text for text in story), f"no {method}: {story}")


def _eap(world, *arguments):
    """How strongSwan is told about the server that it meets in EAP."""
    return ["--eap-server", RADIUS_NAME, "--eap-ca", world.lab.pki.cert("ca"), *arguments]


@case("profile")
def strongswan_logs_in_with_eap_tls(world):
    files = _files(world, "--eap", "tls", *_eap(world, "--user", "alice@example.test"))
    swanctl = load(world, files | _client_certificate(world, "alice"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    session = world.session_of("alice@example.test")
    _came_by(world, session, "EAP-TLS")
    world.ping()


@case("profile")
def strongswan_logs_in_with_eap_peap(world):
    if not peap.installed():
        raise Skip("the strongSwan client of Debian has no PEAP, and its plugin could not be built here")
    swanctl = load(world, _files(world, "--eap", "peap", *_eap(world, "--user", "alice", "--with-password"), password="password\n"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    session = world.session_of("alice")
    _came_by(world, session, "PEAP")
    world.ping()


@setup("profile-eap")
def another_authority_in_eap(config):
    """Not the one above the gateway's certificate."""
    in_local_provider(config, eap=["tls"], certificate="other-radius")
    pki = Path(config["certificate"][0]["chain"]).parent
    config["certificate"].append({"name": "other-radius", "chain": str(pki / "other-radius.pem"), "key": str(pki / "other-radius.key")})


@case("profile-eap")
def strongswan_believes_another_authority_in_eap(world):
    pki = world.lab.pki
    files = _files(world, "--ca", pki.cert("other-ca"), "--user", "alice@example.test")
    check("x509ca/eap-ca.pem" in files and b"auth = eap-tls" in files["swanctl.conf"], files["swanctl.conf"])
    files |= _client_certificate(world, "alice")
    swanctl = load(world, files)
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    check(world.session_of("alice")["radius"] == "local", f"{world.sessions()}")
    world.ping()


@case("profile-ports")
def strongswan_dials_another_port(world):
    """At any port but 500 it speaks as for NAT traversal: the profile names the port where that is understood."""
    swanctl = load(world, _files(world, "--user", "bob", "--with-password", password="password\n"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    world.session_of("bob")
    world.ping()


@case("profile-ports")
def a_capture_with_another_port_of_nat_traversal(world):
    """The non-ESP marker stands before every message there; Wireshark reads it as soon as it is told what the port is."""
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "ports.pcapng"
        with tracing(world, "--user", "dave", "--json", "--pcap", capture) as trace:
            swanctl = load(world, _files(world, "--user", "dave", "--with-password", password="password\n"))
            swanctl("--initiate", "--child", "evergate", "--timeout", "15")
            check(wait_until(lambda: "Accounting-Response" in trace.text(), 5), f"{trace.titles()}")
        shown = decoded(capture, "-d", "udp.port==5501,udpencap")
        words = ("IKE_SA_INIT MID=00 Initiator Request", "IKE_AUTH MID=01 Responder Response")
        check(all(word in shown for word in words), f"Wireshark reads it otherwise: {shown}")


@case("profile")
def strongswan_logs_in_with_a_certificate(world):
    files = _files(world, "--device")
    check(b"secret" not in files["swanctl.conf"] and LAN.encode() in files["swanctl.conf"], files["swanctl.conf"])
    swanctl = load(world, files | _client_certificate(world, "machine-ecdsa"))
    swanctl("--initiate", "--child", "evergate", "--timeout", "15")
    (session,) = world.sessions()
    check(session["policy"] == "machines", f"{session}")
    world.ping()


@case("profile")
def networkmanager_connects(world):
    """A desktop's, with files as they are written and where the notes put them: it loads the connection, and strongSwan's plugin connects with all of it."""
    packages.ensure(networkmanager.NEEDED)
    known = Path(networkmanager.PLUGIN).read_bytes()
    pki = world.lab.pki
    certificate = {"client.pem": pki.cert("alice").read_bytes(), "client.key": pki.key("alice").read_bytes()}
    password = (["--user", "alice", "--with-password"], "password\n", {}, "alice")
    by_tls = (["--eap", "tls", *_eap(world, "--user", "alice@example.test")], "", certificate, "alice@example.test")
    with networkmanager.started(world) as manager:
        for arguments, typed, more, user in (password, by_tls):
            _, files = _made(world, "networkmanager", *arguments, password=typed)
            for name, content in (files | more).items():
                manager.put(name, content)
            manager("connection", "load", "/etc/NetworkManager/system-connections/evergate.nmconnection")
            data = manager("-g", "vpn.data", "connection", "show", GATEWAY_NAME).stdout
            keys = [entry.partition(" = ")[0] for entry in data.split(", ")]
            check("address" in keys and "ike" in keys, data)
            # Flags of secrets are NetworkManager's own affair.
            foreign = [key for key in keys if not key.endswith("-flags") and key.encode() + b"\0" not in known]
            check(not foreign, f"the plugin does not know {foreign}")
            manager("--wait", "20", "connection", "up", GATEWAY_NAME)
            world.session_of(user)
            check(manager.ping(network.LAN_IPV4), f"no answer through the tunnel\n{manager.text()}")
            shown = manager("-g", "IP4.DNS", "connection", "show", GATEWAY_NAME).stdout
            check(network.LAN_DNS in shown, f"its name servers are {shown}")
            manager("connection", "down", GATEWAY_NAME)
            world.no_sessions()


@case("profile")
def a_file_that_the_gateway_has_not_read_is_worth_a_note(world):
    gateway = world.gateway
    before = gateway.config_file.read_text()

    def said():
        argv = [gateway.binary, "profile", "strongswan", "--user", "alice", "--config", gateway.config_file]
        done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=30)
        check(done.returncode == 0 and "note" not in done.stdout, f"{done}")
        return done.stderr

    check("this goes by the configuration file" not in said(), said())
    try:
        gateway.config_file.write_text(before + '\n[[policy]]\nname = "late"\ngrant = false\n')
        check('the running gateway does not do all that it says yet: `evergate reload` brings policy "late"' in said(), said())
    finally:
        gateway.config_file.write_text(before)


@case("profile")
def profilexml_is_as_published(world):
    for arguments in (["--user", "alice"], ["--device"], ["--eap", "tls"], ["--eap", "peap-tls"], ["--tunnel", "sstp"]):
        _, files = _made(world, "windows", *arguments)
        profile = ElementTree.fromstring(files["profile.xml"])
        check(profile.tag == "VPNProfile", profile.tag)
        for element in profile.iter():
            names = [child.tag for child in element]
            if element.tag in ORDER:
                places = [ORDER[element.tag].index(name) for name in names]
                check(places == sorted(places), f"{arguments}: {element.tag} holds {names}")
            if element.tag in VALUES:
                check(element.text in VALUES[element.tag].split(), f"{arguments}: {element.tag} is {element.text}")
        check(profile.findtext("NativeProfile/Servers") == f"{GATEWAY_NAME};{GATEWAY_NAME}", f"{arguments}")
        suite = profile.find("NativeProfile/CryptographySuite")
        check((suite is None) == ("sstp" in arguments), f"{arguments}: {files['profile.xml']}")
        # The command and the profile hold the same.
        if suite is not None:
            wanted = f"-EncryptionMethod {suite.findtext('EncryptionMethod')} -IntegrityCheckMethod SHA384 -DHGroup {suite.findtext('DHGroup')} "
            check(wanted.encode() in files["windows.ps1"], f"{arguments}: {wanted}")
        check(files["profile.xml"].partition(b"<VPNProfile>")[2] .strip() in files["profile.ps1"], f"{arguments}: the installer brings another profile")


@case("profile")
def profiles_are_held_against_the_gateway(world):
    folder, files = _made(world, "windows", "--user", "bob")
    file = folder / "profile.xml"
    report = world.gateway.json("check", "--profile", file)
    check(report["ok"] and report["connections"][0]["tunnels"] == ["ikev2"], f"{report}")
    file.write_bytes(files["profile.xml"].replace(b"<DHGroup>ECP384<", b"<DHGroup>Group14<"))
    done = world.gateway.command("check", "--profile", file, "--json", check=False)
    (finding,) = json.loads(done.stdout)["connections"][0]["findings"]
    check(done.returncode == 1 and finding["numbers"] == ["13868"] and "-DHGroup ECP384" in finding["on_client"], f"{finding}")
    shown = world.gateway.command("explain", finding["numbers"][0]).stdout
    check("no cipher in common" in shown, shown)
