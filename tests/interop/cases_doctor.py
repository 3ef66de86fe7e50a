"""`evergate doctor` before and after the start, and with faults made for it."""

import contextlib
import grp
import json
import pwd
import signal
import subprocess
import sys

from harness import case, check
from labkit import network, packages, toml
from labkit.pki import GATEWAY_NAME
from labkit.shell import in_namespace, run, wait_until

HOLD = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 4500)); print('held', flush=True); time.sleep(60)"
# Listens on 443: with an answer a web server, without one it says good day in plain text.
OTHER_SERVER = """
import socket, ssl, sys
answer, chain, key = sys.argv[1:]
listener = socket.create_server(("0.0.0.0", 443))
print("there", flush=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
while True:
    peer, _ = listener.accept()
    if not answer:
        peer.sendall(b"220 good day\\r\\n")
        peer.close()
        continue
    peer = context.wrap_socket(peer, server_side=True)
    peer.recv(4096)
    peer.sendall((answer + "\\r\\nContent-Length: 0\\r\\n\\r\\n").encode())
    peer.close()
"""
# Resolves to the gateway and is in none of its certificates.
OTHER_NAME = "other.example.test"
DROP = """
table inet doctor {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 4500 drop
  }
}
"""


def _examine(world, config=None, *more):
    """Exit code and findings of the doctor in the gateway's namespace."""
    file = world.gateway.config_file
    if config is not None:
        file = world.gateway.folder / "doctor.toml"
        file.write_text(toml.dumps(config))
    done = world.lab.network.exec("gateway", [world.gateway.binary, "doctor", "--json", "--config", file, *more], check=False)
    check(done.stdout.startswith("{"), f"no report: {done.stdout} {done.stderr}")
    return done.returncode, json.loads(done.stdout)["findings"]


def _fails(found, name, text, remedy):
    """The one failure names its fault and the remedy."""
    code, findings = found
    failed = [finding for finding in findings if finding["level"] == "fail"]
    check(code == 1 and len(failed) == 1, f"exit code {code}, failures: {failed}")
    check(failed[0]["check"] == name and text in failed[0]["text"] and remedy in failed[0]["remedy"], f"another fault: {failed[0]}")


def _well(found, *texts):
    code, findings = found
    failed = [finding for finding in findings if finding["level"] == "fail"]
    check(code == 0 and not failed, f"exit code {code}, failures: {failed}")
    said = [finding["text"] for finding in findings if finding["level"] == "ok"]
    for text in texts:
        check(any(text in line for line in said), f"nothing says {text!r}: {said}")


@contextlib.contextmanager
def _stopped(world):
    world.gateway.stop()
    try:
        yield
    finally:
        world.gateway.restart()


# As ufw writes it: matches that nft shows by name alone, chains in chains, and a REJECT at the end.
UFW = """*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j REJECT
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
-A ufw-not-local -j DROP
-A ufw-user-input -p esp -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 443 -m comment --comment "SSTP" -j ACCEPT
ALLOWED
COMMIT
"""
UFW_ALLOWED = "-A ufw-user-input -p udp -m multiport --dports 500,4500 -j ACCEPT"


@contextlib.contextmanager
def _with_ufw(world, allowed):
    world.lab.network.exec("gateway", ["iptables-nft-restore"], input=UFW.replace("ALLOWED", allowed))
    try:
        yield
    finally:
        world.lab.network.exec("gateway", ["nft", "delete", "table", "ip", "filter"])


# Only small answers leave.
DROP_LARGE = DROP.replace("input", "output").replace("dport 4500", "sport 4500 udp length > 800")


@contextlib.contextmanager
def _dropping(world, rules=DROP):
    world.lab.network.exec("gateway", ["nft", "-f", "-"], input=rules)
    try:
        yield
    finally:
        world.lab.network.exec("gateway", ["nft", "delete", "table", "inet", "doctor"])


@case("doctor")
def all_is_well_after_and_before_the_start(world):
    both = ["answered Status-Server", "no rule of nftables", "IPv4 is forwarded", "server.mtu = 1400 fits", "can be written"]
    _well(_examine(world), "udp 0.0.0.0:4500 is held by the gateway", "tcp [::]:443 is held", "the gateway has its device", *both)
    with _stopped(world):
        _well(_examine(world), "udp 0.0.0.0:4500 is free", "tcp [::]:443 is free", "TUN devices can be made", *both)


@case("doctor")
def forwarding_is_off(world):
    world.lab.network.exec("gateway", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])
    try:
        _fails(_examine(world), "forwarding", "IPv4 is not forwarded", "sysctl -w net.ipv4.ip_forward=1")
    finally:
        world.lab.network.exec("gateway", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])


@case("doctor")
def a_port_is_taken(world):
    with _stopped(world):
        holder = subprocess.Popen(in_namespace(world.lab.namespace("gateway"), [sys.executable, "-c", HOLD]), stdout=subprocess.PIPE, text=True)
        try:
            check(holder.stdout.readline() == "held\n", "the port could not be taken")
            _fails(_examine(world), "listener", "udp 0.0.0.0:4500 is taken by python3", "stop that program")
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate()


@case("doctor")
def a_firewall_drops_4500(world):
    with _dropping(world):
        code, findings = _examine(world)
        failed = [finding for finding in findings if finding["level"] == "fail"]
        check(code == 1 and {finding["check"] for finding in failed} == {"firewall"}, f"other faults: {failed}")
        check(any("udp/4500 over IPv4 is dropped in chain inet doctor input" in finding["text"] for finding in failed), f"not named: {failed}")
        check("nft insert rule inet doctor input udp dport 4500 accept" in failed[0]["remedy"], f"no remedy: {failed}")


@case("doctor")
def rules_of_ufw_are_read(world):
    packages.ensure({"/usr/sbin/iptables-nft-restore": "iptables"})
    with _with_ufw(world, UFW_ALLOWED):
        _well(_examine(world), "no rule of nftables")
    with _with_ufw(world, UFW_ALLOWED.replace(",4500", "")):
        _fails(_examine(world), "firewall", "udp/4500 over IPv4 is dropped in chain ip filter INPUT by rule with handle", "ufw allow 4500/udp")


@case("doctor")
def a_pool_lies_in_the_lan(world):
    config = world.gateway.default_config()
    config["pool"][0]["ipv4"] = ["10.99.10.100-10.99.10.120"]
    _fails(_examine(world, config), "pool", "lies in 10.99.10.0/24 of lan0", "sysctl -w net.ipv4.conf.lan0.proxy_arp=1")
    config["pool"][0]["ipv4"] = ["10.99.10.100-10.99.10.101"]
    entries = ["10.99.10.100", "10.99.10.101"]
    for entry in entries:
        world.lab.network.exec("gateway", ["ip", "neigh", "add", "proxy", entry, "dev", "lan0"])
    try:
        _well(_examine(world, config), "answers ARP for each of its addresses")
    finally:
        for entry in entries:
            world.lab.network.exec("gateway", ["ip", "neigh", "del", "proxy", entry, "dev", "lan0"])


@case("doctor")
def the_user_of_the_service_may_not_read_a_secret(world):
    config = world.gateway.default_config()
    config["server"]["run_as"] = "nobody"
    code, findings = _examine(world, config)
    said = [finding for finding in findings if finding["check"] == "rights" and "secret_file: nobody, whose process" in finding["text"]]
    check(code == 1 and said and said[0]["level"] == "fail", f"{findings}")
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    check(f"chgrp {group} " in said[0]["remedy"], f"another group: {said[0]}")


@case("doctor")
def radius_is_not_there(world):
    config = world.gateway.default_config()
    config["radius"][0]["port"] = 1999
    _fails(_examine(world, config), "radius", "cannot be reached: Connection refused", "start the RADIUS service")
    config["radius"][0] |= {"port": 1812, "probe": "status-server"}
    world.radius.freeze()
    try:
        _fails(_examine(world, config), "radius", "did not answer Status-Server", "does it know this host as RADIUS client")
    finally:
        world.radius.thaw()


def _probe(world, name=GATEWAY_NAME, *more):
    """What a client that dials this name finds, from the client's namespace."""
    hosts = world.gateway.folder / "hosts"
    hosts.write_text(f"{network.GATEWAY_IPV4} {GATEWAY_NAME} {OTHER_NAME}\n")
    resolver = world.gateway.folder / "resolv.conf"
    # Nobody is there, and says so at once.
    resolver.write_text("nameserver 127.0.0.1\n")
    # The names are of a mount namespace of its own, which ends with the command.
    mounts = f"mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf"
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    argv = [world.gateway.binary, "doctor", "--json", "--probe", name, "--ca", world.lab.pki.cert("ca"), *more]
    done = world.lab.network.exec("client", within + argv, check=False)
    check(done.stdout.startswith("{"), f"no report: {done.stdout} {done.stderr}")
    return done.returncode, json.loads(done.stdout)["findings"]


@contextlib.contextmanager
def _without_sstp(world):
    config = world.gateway.default_config()
    config["listener"] = config["listener"][:1]
    config["policy"][0]["tunnel"] = ["ikev2"]
    world.gateway.stop()
    world.gateway.start(config)
    try:
        yield
    finally:
        world.gateway.stop()
        world.gateway.start()


@contextlib.contextmanager
def _on_443(world, answer):
    """Something that is no gateway has the port: a web server, or what speaks no TLS where `answer` is empty."""
    secrets = [world.lab.pki.cert("gateway-rsa"), world.lab.pki.key("gateway-rsa")]
    argv = in_namespace(world.lab.namespace("gateway"), [sys.executable, "-c", OTHER_SERVER, answer, *map(str, secrets)])
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        check(server.stdout.readline() == "there\n", "the other server did not start")
        yield
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()


@case("doctor")
def a_probe_goes_all_the_way(world):
    steps = ["resolves to 10.99.1.1", "udp/500: IKE_SA_INIT answered", "udp/4500: IKE_SA_INIT answered", "of 2000 bytes arrives", "asks for EAP"]
    _well(_probe(world), *steps, "certificate for vpn.example.test", "names neither a revocation list nor an OCSP responder", "HTTP/1.1 200")


@case("doctor")
def a_probe_finds_no_such_name(world):
    _fails(_probe(world, "nowhere.invalid"), "name", "nowhere.invalid cannot be resolved", "add an A or AAAA record")


@case("doctor")
def a_probe_finds_a_certificate_for_another_name(world):
    code, findings = _probe(world, OTHER_NAME)
    failed = {finding["check"]: finding for finding in findings if finding["level"] == "fail"}
    check(code == 1 and set(failed) == {"ike_auth", "tls"}, f"other faults: {failed}")
    check("0x800B010F" in failed["tls"]["text"] and "clients must dial a name" in failed["tls"]["remedy"], f"{failed}")
    check("is no good for other.example.test" in failed["ike_auth"]["text"] and "13801" in failed["ike_auth"]["text"], f"{failed}")


@case("doctor")
def a_probe_finds_large_answers_lost(world):
    """What a firewall that drops fragments makes of a login: IKE_SA_INIT passes, IKE_AUTH does not."""
    with _dropping(world, DROP_LARGE):
        _fails(_probe(world), "ike_auth", "IKE_SA_INIT is answered, IKE_AUTH is not", "drops large datagrams or fragments")


@contextlib.contextmanager
def _with_a_list(world, port):
    """The gateway on ports of its own, with a certificate whose revocation list is to be had at its port `port`."""
    pki, folder = world.lab.pki, world.gateway.folder
    chain, url = folder / "with-list.pem", f"http://{network.GATEWAY_IPV4}:{port}/ca.crl"
    (folder / "with-list.ext").write_text(f"subjectAltName=DNS:{GATEWAY_NAME}\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\ncrlDistributionPoints=URI:{url}\n")
    run(["openssl", "req", "-new", "-key", pki.key("gateway-rsa"), "-subj", f"/CN={GATEWAY_NAME}", "-out", folder / "with-list.csr"])
    signer = ["-CA", pki.cert("ca"), "-CAkey", pki.key("ca"), "-set_serial", "4242", "-days", "30", "-sha256"]
    run(["openssl", "x509", "-req", "-in", folder / "with-list.csr", *signer, "-extfile", folder / "with-list.ext", "-out", chain])
    config = world.gateway.default_config()
    config["certificate"] = [{"name": "listed", "chain": str(chain), "key": str(pki.key("gateway-rsa"))}]
    for listener in config["listener"]:
        listener["certificates"] = ["listed"]
    config["listener"][0] |= {"ike_port": 1500, "nat_port": 14500}
    config["listener"][1]["port"] = 8443
    world.gateway.stop()
    world.gateway.start(config)
    try:
        yield url
    finally:
        world.gateway.stop()
        world.gateway.start()


@case("doctor")
def a_probe_finds_a_revocation_list_out_of_reach(world):
    """Where Windows shows 0x80092013; and a gateway on other ports than the usual ones."""
    ports = ["--ike-port", "1500", "--nat-port", "14500", "--sstp-port", "8443"]
    with _with_a_list(world, 8081) as url:
        _fails(_probe(world, GATEWAY_NAME, *ports), "revocation", "0x80092013", "publish it by plain HTTP")
        lists = world.gateway.folder / "lists"
        lists.mkdir(exist_ok=True)
        (lists / "ca.crl").write_bytes(world.lab.pki.crl().read_bytes())
        argv = in_namespace(world.lab.namespace("gateway"), [sys.executable, "-m", "http.server", "8081", "--directory", str(lists)])
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            check(wait_until(lambda: world.lab.network.exec("client", ["curl", "-sf", "-o", "/dev/null", url], check=False).returncode == 0, 5), "no server")
            steps = [f"the revocation list at {url} can be had", "udp/14500: IKE_AUTH within", "tcp/8443: SSTP_DUPLEX_POST answered"]
            _well(_probe(world, GATEWAY_NAME, *ports), *steps)
        finally:
            server.send_signal(signal.SIGKILL)
            server.communicate()


@case("doctor")
def a_probe_finds_4500_blocked(world):
    with _dropping(world):
        _fails(_probe(world), "ikev2", "udp/4500: no answer, while udp/500 answers", "open udp/4500")


@case("doctor")
def a_probe_finds_nobody_on_443(world):
    with _without_sstp(world):
        _fails(_probe(world), "sstp", "nothing listens there (Windows shows 0x8007274D)", 'protocol = "sstp"')


@case("doctor")
def a_probe_finds_a_stranger_on_443(world):
    with _without_sstp(world):
        with _on_443(world, "HTTP/1.1 404 Not Found"):
            _fails(_probe(world), "sstp", "SSTP_DUPLEX_POST was answered with HTTP/1.1 404 Not Found", "something else than the gateway")
        with _on_443(world, ""):
            _fails(_probe(world), "tls", "10.99.1.1 tcp/443", "is that the gateway?")
