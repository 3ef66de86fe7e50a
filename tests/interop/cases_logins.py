"""Ways in: methods, certificates, paths, address families."""

import concurrent.futures

from harness import Skip, case, check, setup
from labkit import network, peap
from labkit.client import Profile

DUAL = ("0.0.0.0", "::")


@case("logins", portable=True)
def eap_mschapv2(world):
    client = world.login()
    check(client.dns() == [network.LAN_DNS], f"DNS servers are {client.dns()}")
    if world.evergate:
        session = world.session_of("alice")
        check(session["inner"] == client.addresses(), f"{session['inner']} recorded, {client.addresses()} assigned")
        check(session["policy"] == "everyone" and session["tunnel"] == "ikev2" and session["radius"] == "freeradius", f"{session}")


@case("logins")
def eap_mschapv2_with_a_windows_domain(world):
    world.login(Profile(user="EXAMPLE\\alice"))


@case("logins", portable=True)
def eap_tls(world):
    world.login(Profile(method="eap-tls", user="alice@example.test"))


@case("logins", portable=True)
def eap_peap(world):
    if not peap.installed():
        raise Skip("the strongSwan client of Debian has no PEAP, and its plugin could not be built here")
    world.login(Profile(method="eap-peap"))


@case("logins", portable=True)
def client_certificate_rsa(world):
    world.login(Profile(method="certificate", certificate="machine-rsa"))


@case("logins", portable=True)
def client_certificate_ecdsa(world):
    world.login(Profile(method="certificate", certificate="machine-ecdsa"))


@case("logins", portable=True)
def client_certificate_p384(world):
    world.login(Profile(method="certificate", certificate="machine-p384"))


@case("logins")
def client_certificate_rsa_pss(world):
    """Both sides: the gateway answers in kind."""
    world.login(Profile(method="certificate", certificate="machine-rsa", proof="rsa/pss-sha256"))
    for who in ("pc1.example.test", "vpn.example.test"):
        check(world.last.saw(f"authentication of .*{who}.* with RSA_EMSA_PSS_SHA2"), f"{who} was not proved with RSASSA-PSS", world.last.log)


@case("logins")
def client_certificate_ed25519(world):
    world.login(Profile(method="certificate", certificate="machine-ed25519"))


def _without_digital_signatures(world, certificate, method):
    """The methods of RFC 7296 and RFC 4754, as Windows uses them; SHA-1 with RSA."""
    usual = world.clients.pop("client", None)
    if usual:
        usual.stop()
    world.clients["client"] = world.lab.client("client", tries=5, signature_authentication="no")
    try:
        world.login(Profile(method="certificate", certificate=certificate))
        check(world.last.saw(f"\\(myself\\) with {method} successful"), f"the client did not use {method}", world.last.log)
    finally:
        world.clients.pop("client").stop()


@case("logins")
def certificate_method_1_with_sha1(world):
    _without_digital_signatures(world, "machine-rsa", "RSA signature")


@case("logins")
def certificate_method_9(world):
    _without_digital_signatures(world, "machine-ecdsa", "ECDSA-256 signature")


@case("logins")
def certificate_method_10(world):
    _without_digital_signatures(world, "machine-p384", "ECDSA-384 signature")


@case("logins")
def certificate_method_11(world):
    _without_digital_signatures(world, "machine-p521", "ECDSA-521 signature")


@case("logins", portable=True)
def through_a_nat_router(world):
    world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT))
    world.transfer(1, "down")
    if world.evergate:
        session = world.session_of("alice")
        check(session["client"].startswith(network.NAT_OUTSIDE + ":"), f"the client's address is {session['client']}")


@case("logins", portable=True)
def two_clients_behind_one_nat_at_once(world):
    first = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT))
    second = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT, user="dave"), role="client2")
    check(first.addresses() != second.addresses(), f"both got {first.addresses()}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        moves = [pool.submit(world.transfer, 2, way, role) for role, way in (("client", "down"), ("client2", "up"), ("client2", "down"))]
        for move in moves:
            move.result()
    world.ping("client")
    world.ping("client2")


@case("logins", portable=True)
def one_user_on_two_devices(world):
    first = world.login()
    second = world.login(Profile(server=network.GATEWAY_IPV4_BEHIND_NAT), role="client2")
    check(first.addresses() != second.addresses(), f"both got {first.addresses()}")
    world.ping("client")


@case("logins", portable=True)
def inner_ipv4_and_ipv6(world):
    client = world.login(Profile(addresses=DUAL))
    check(len(client.addresses()) == 2, f"assigned {client.addresses()}")
    world.ping(target=network.LAN_IPV6)
    world.transfer(1, "down", host=network.LAN_IPV6)
    world.transfer(1, "up", host=network.LAN_IPV6)


@case("logins", portable=True)
def inner_ipv6_alone(world):
    client = world.login(Profile(addresses=("::",), remote=("::/0",)), ping=False)
    check(len(client.addresses()) == 1 and ":" in client.addresses()[0], f"assigned {client.addresses()}")
    world.ping(target=network.LAN_IPV6)


@case("logins", portable=True)
def outer_ipv6(world):
    world.login(Profile(server=network.GATEWAY_IPV6, addresses=DUAL))
    world.ping(target=network.LAN_IPV6)
    world.transfer(1, "down")


@case("logins", portable=True)
def narrower_selectors_of_the_client(world):
    client = world.login(Profile(remote=("10.99.10.0/24",)))
    check(client.children()[0]["remote-ts"] == ["10.99.10.0/24"], f"{client.children()[0]['remote-ts']}")


@case("logins", portable=True)
def without_ike_fragmentation(world):
    world.login(Profile(fragmentation="no"))


@case("logins", portable=True)
def with_forced_ike_fragmentation(world):
    world.login(Profile(method="eap-tls", user="alice@example.test", fragmentation="force"))


@case("logins", portable=True)
def without_mobike(world):
    world.login(Profile(mobike="no"))


@case("logins", portable=True)
def content_arrives_whole_both_ways(world):
    world.login()
    world.transfer(10, "down")
    world.transfer(10, "up")


@case("logins", portable=True)
def packets_of_every_size(world):
    world.login()
    for size in (0, 1, 15, 16, 17, 500, 1300, 1372, 3000, 20000):
        world.ping(size=size, count=1)


@case("logins", portable=True)
def reconnects_quickly(world):
    client = world.login()
    for _ in range(5):
        check(client.disconnect(), "no answer to DELETE")
        world.login()


def _one_certificate(name):
    def change(config):
        config["certificate"] = [entry for entry in config["certificate"] if entry["name"] == name]
        for listener in config["listener"]:
            listener["certificates"] = [name]

    return change


for kind, scheme in (("rsa", "RSA"), ("ecdsa", "ECDSA")):
    setup(f"gateway_{kind}")(_one_certificate(f"gateway-{kind}"))

    def eap(world, scheme=scheme):
        world.login()
        check(world.last.saw(rf"authentication of 'vpn.example.test' with {scheme}"), "another signature was used", world.last.log)

    def rsa_client(world):
        world.login(Profile(method="certificate", certificate="machine-rsa"))

    def ecdsa_client(world):
        world.login(Profile(method="certificate", certificate="machine-ecdsa"))

    case(f"gateway_{kind}", "eap")(eap)
    case(f"gateway_{kind}", "rsa_client")(rsa_client)
    case(f"gateway_{kind}", "ecdsa_client")(ecdsa_client)
