"""What goes wrong with Windows clients and gateways that do not know them, over the wire; Apple's and Android's habits beside it."""

import re

from harness import case, check, setup
from ikev2_client import DIRECT, device
from labkit import network
from labkit.shell import wait_until

BASELINES = ("windows-aovpn", "windows-rras", "windows-256", "windows-without-pfs", "windows-custom")
STOCK = ("windows-10", "windows-11", "windows-registry")
EVERYTHING = ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]


def known(world):
    return {attempt["id"] for attempt in world.attempts()}


@case("windows")
def baselines_of_the_field_with_the_default_configuration(world):
    for profile in BASELINES:
        with device(world) as pc:
            tunnel = pc.tunnel("user", profile)
            outcome = tunnel.login()
            check(outcome["longest"] == 580 and outcome["fragments"] >= 3, f"{profile}: IKE_AUTH is not cut as Windows does: {outcome}")
            check(outcome["mine"] != EVERYTHING and outcome["dns"], f"{profile}: {outcome}")
            tunnel.echo()
            tunnel.rekey_child()
            tunnel.echo()
            check(not tunnel.step("rekey-ike")["error"], f"{profile}: the IKE SA was not rekeyed")
            tunnel.rekey_child()
            tunnel.echo()
            check(not tunnel.step("close")["notifies"], f"{profile}: DELETE was not answered with nothing")
        world.no_sessions()


@case("windows")
def a_stock_profile_is_refused_with_the_line_that_mends_it(world):
    for profile in STOCK:
        before = known(world)
        with device(world) as pc:
            pc.tunnel("user", profile).refused("NO_PROPOSAL_CHOSEN")
        # The registry's setting mends IKE alone: ESP is offered with SHA-1 as before.
        attempt = world.record(before, "child_sa" if profile == "windows-registry" else "sa_init", "propos")
        record = world.attempt(attempt["id"])
        fix = f"{record['fix']} {record['cause']}"
        check(len(record["offered"]) >= (3 if profile == "windows-registry" else 12), f"{profile}: offered {record['offered']}")
        check("13868" in (record["windows_code"] or ""), f"{profile}: Windows code {record['windows_code']}")
        check(re.search(r"nearest|closest", record["cause"], re.I), f"{profile}: no nearest miss in {record['cause']!r}")
        wanted = ("Set-VpnConnectionIPsecConfiguration", "-DHGroup", "-PfsGroup", "-EncryptionMethod", "-CipherTransformConstants")
        check(all(part in fix for part in wanted), f"{profile}: no line for the client in {fix!r}")
        with device(world) as pc:
            pc.tunnel("user", _as_set(fix)).login()


def _as_set(line):
    """The profile that a line of Set-VpnConnectionIPsecConfiguration makes."""
    names = ("EncryptionMethod", "IntegrityCheckMethod", "DHGroup", "CipherTransformConstants", "AuthenticationTransformConstants", "PfsGroup")
    return "windows-set:" + "/".join(re.search(rf"-{name} (\w+)", line).group(1) for name in names)


@setup("windows_rsa")
def _rsa(config):
    config["certificate"] = [entry for entry in config["certificate"] if entry["name"] == "gateway-rsa"]
    for listener in config["listener"]:
        listener["certificates"] = ["gateway-rsa"]


@case("windows_rsa")
def signatures_as_windows_knows_them(world):
    """Trap 1: no SIGNATURE_HASH_ALGORITHMS, so RSA is method 1 with SHA-1; ECDSA clients log in to an RSA gateway all the same."""
    for certificate in ("machine-rsa", "machine-ecdsa", "machine-p384"):
        with device(world) as pc:
            outcome = pc.tunnel("device", "windows-aovpn", certificate).login()
            check(outcome["method"] == 1, f"{certificate}: the gateway proved itself with method {outcome['method']}")
    with device(world) as phone:
        outcome = phone.tunnel("phone", "android").login()
        check(outcome["method"] == 14, f"Android announced its hashes, and got method {outcome['method']}")


@setup("windows_ecdsa")
def _ecdsa(config):
    config["certificate"] = [entry for entry in config["certificate"] if entry["name"] == "gateway-ecdsa"]
    for listener in config["listener"]:
        listener["certificates"] = ["gateway-ecdsa"]


@case("windows_ecdsa")
def a_gateway_with_ecdsa_serves_rsa_clients(world):
    for certificate in ("machine-rsa", "machine-ecdsa", None):
        with device(world) as pc:
            outcome = pc.tunnel("device", "windows-aovpn", certificate).login()
            check(outcome["method"] == 9, f"{certificate}: the gateway proved itself with method {outcome['method']}")


@case("windows")
def the_first_message_has_the_size_of_windows(world):
    """Twelve proposals and more, vendor IDs, a nonce of 48 bytes: as logged of real clients."""
    for profile, size in (("windows-registry", 632), ("windows-10", 888), ("windows-11", 1104), ("windows-aovpn", 536)):
        with device(world) as pc:
            outcome = pc.tunnel("user", profile).step("init")
            check(outcome["sent"] == size, f"{profile}: {outcome['sent']} bytes instead of {size}")
            check(outcome["received"] <= 1280, f"{profile}: an answer of {outcome['received']} bytes cannot be cut")


@case("windows")
def two_pcs_with_one_private_address_and_one_user(world):
    """Traps 4 and 5: IDi is worth nothing, IDr is not there."""
    with device(world, role="client", local="10.99.3.2") as one, device(world) as other:
        first = one.tunnel("user", "windows-aovpn", inside="192.168.1.10")
        second = other.tunnel("user", "windows-aovpn", inside="192.168.1.10", first_contact=False)
        leases = [tunnel.login()["addresses"] for tunnel in (first, second)]
        check(leases[0] != leases[1], f"both have {leases[0]}")
        for tunnel in (first, second, first):
            tunnel.rekey_child()
            tunnel.echo()
        first.step("close")
        second.echo()


@case("windows")
def user_and_device_tunnel_of_one_pc(world):
    """Trap 15: both from one address and the same ports; the end or a rekey of one is nothing to the other."""
    with device(world) as pc:
        machine = pc.tunnel("device", "windows-aovpn", "machine-rsa")
        user = pc.tunnel("user", "windows-aovpn", user="EXAMPLE\\alice", first_contact=False)
        leases = [tunnel.login()["addresses"] for tunnel in (machine, user)]
        check(leases[0] != leases[1], f"both have {leases[0]}")
        check(len(world.sessions()) == 2, f"{world.sessions()}")
        for tunnel in (machine, user):
            tunnel.echo()
            tunnel.rekey_child()
            check(not tunnel.step("rekey-ike")["error"], "the IKE SA was not rekeyed")
            tunnel.echo()
        user.step("close")
        machine.echo()
        again = pc.tunnel("again", "windows-aovpn", user="EXAMPLE\\alice", first_contact=True)
        again.login()
        machine.echo()
        again.echo()


@case("windows")
def fragments_in_any_order_doubled_and_forged(world):
    """Trap 6: fifty-three authorities are the usual, two hundred have been seen; each fragment counts by its own check value."""
    faults = ({"reversed": True}, {"copies": 2}, {"forged": True}, {"reversed": True, "copies": 1, "forged": True})
    for fault in faults:
        for certificate in (None, "machine-rsa"):
            with device(world) as pc:
                pc.wire(**fault)
                tunnel = pc.tunnel("pc", "windows-aovpn", certificate, authorities=700 if certificate else 53)
                outcome = tunnel.login()
                check(outcome["fragments"] > (29 if certificate else 2), f"{outcome}")
                check(outcome["retransmissions"] == 0, f"{fault}: something was sent again: {outcome}")
                tunnel.echo()
    check(world.gateway.json("status")["ike"]["forged"] > 0, "forged fragments were not counted")


@case("windows")
def a_path_of_576_bytes(world):
    lab = world.lab.network
    ends = (("nat", "out0"), ("gateway", "wan1"))
    try:
        for role, link in ends:
            lab.exec(role, ["ip", "link", "set", link, "mtu", "576"])
        with device(world) as pc:
            tunnel = pc.tunnel("user", "windows-aovpn")
            tunnel.login()
            tunnel.echo(size=56)
            tunnel.echo(size=1300)
            tunnel.rekey_child()
    finally:
        for role, link in ends:
            lab.exec(role, ["ip", "link", "set", link, "mtu", "1500"])


@case("windows")
def a_path_that_passes_576_bytes_and_no_fragments(world):
    """Who cuts its own messages so short is answered no longer: what IP has to cut does not come through here."""
    rules = """table ip narrow {
      chain path {
        type filter hook prerouting priority -450
        meta length > 576 udp sport { 500, 4500 } drop
        ip frag-off & 0x3fff != 0 drop
      }
    }
    """
    try:
        world.lab.network.exec("nat", ["nft", "-f", "-"], input=rules)
        with device(world) as pc:
            for name, certificate in (("user", None), ("device", "machine-rsa")):
                tunnel = pc.tunnel(name, "windows-aovpn", certificate, longest=544)
                outcome = tunnel.login()
                check(outcome["answered_fragments"] > 1 and not outcome["retransmissions"], f"{outcome}")
                tunnel.echo(size=56)
                tunnel.rekey_child()
                check(not tunnel.step("rekey-ike")["error"], "the IKE SA was not rekeyed")
                tunnel.alive()
                tunnel.step("close")
    finally:
        world.lab.network.exec("nat", ["nft", "delete", "table", "ip", "narrow"])


@setup("windows_split")
def _split(config):
    config["policy"][0] |= {"selectors": ["10.99.10.0/24"], "routes": ["10.99.10.0/24", "10.99.20.0/24"]}


@case("windows_split")
def rekeys_under_traffic_with_wide_selectors_again(world):
    """Trap 7: KE behind the selectors, without it, wide selectors answered with those of the login; a rekey every few packets."""
    for profile in ("windows-aovpn", "windows-rras", "windows-without-pfs"):
        with device(world) as pc:
            tunnel = pc.tunnel("user", profile)
            outcome = tunnel.login()
            rekeyed = tunnel.rekey_child()
            check(rekeyed["mine"] == outcome["mine"] and rekeyed["theirs"] == outcome["theirs"], f"{outcome} {rekeyed}")
            check("10.99.10.0-10.99.10.255" in rekeyed["theirs"], f"{rekeyed}")
            check(rekeyed["with_key_exchange"] == (profile != "windows-without-pfs"), f"{profile}: {rekeyed}")
            tunnel.echo(count=60, rekeys=12, size=1200)
            session = world.session_of("alice")
            check(session["child_rekeyed_at"], f"{session}")
            tunnel.step("close")


@case("windows_split")
def routes_by_dhcpinform_and_no_answer_by_routers_without_ipv6(world):
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        tunnel.login()
        routes = tunnel.step("inform")["routes"]
        check(routes == ["10.99.10.0/24", "10.99.20.0/24"], f"DHCPINFORM brought {routes}")


@setup("split_dns")
def _split_dns(config):
    everyone = config["policy"][0] | {"suffix": "corp.example.test"}
    split = everyone | {"name": "split", "user": ["alice"], "routes": ["10.99.10.0/24"]}
    chosen = everyone | {"name": "chosen", "user": ["dave"], "dns_domains": ["corp.example.test", "lab.example.test"]}
    config["policy"] = [split, chosen, everyone]


@case("split_dns")
def domains_for_who_asks(world):
    """Attribute 25 (RFC 8598): in a full tunnel Apple's clients would look up nothing else there, so they are told of no domain."""
    told = (("alice", ["corp.example.test"]), ("dave", ["corp.example.test", "lab.example.test"]), ("bob", []))
    for user, domains in told:
        with device(world) as phone:
            outcome = phone.tunnel("phone", "apple", user=user).login()
            check(outcome["domains"] == domains and outcome["dns"], f"{user}: {outcome}")
    with device(world) as pc:
        check(not pc.tunnel("user", "windows-aovpn").login()["domains"], "Windows did not ask")


@case("windows")
def a_router_advertisement_through_the_tunnel(world):
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        check(any(":" in address for address in tunnel.login()["addresses"]), "no IPv6 lease")
        check(tunnel.step("solicit")["advertised"], "no Router Advertisement came")
        tunnel.echo(network.LAN_IPV6)


@setup("windows_clocks")
def _clocks(config):
    config["timers"] = {"child_rekey": "10s", "ike_rekey": "10s", "liveness_interval": "2s"}


@case("windows_clocks")
def the_gateway_rekeys_no_child_of_windows(world):
    """Traps 8 and 9. Its own rekey of the IKE SA has one proposal and the group in use; children and lease go on. A client that does not
    look like Windows refuses with N(12345): it is asked again after a tenth of the age, not sooner."""
    with device(world, role="client", local="10.99.3.2") as pc, device(world) as phone:
        windows, other = pc.tunnel("user", "windows-aovpn"), phone.tunnel("user", "android", user="dave")
        addresses = windows.login()["addresses"]
        other.login()
        for each in (pc, phone):
            each.send("attend", tunnel="user", seconds=10.5, code=13863)
        asked, refused = pc.outcome("attend")["asked"], phone.outcome("attend")["asked"]
        check("rekey of the Child SA" not in asked, f"Windows refuses this: {asked}")
        check("rekey of the IKE SA with 1 proposal, group 14" in asked, f"no rekey of the IKE SA: {asked}")
        check(refused.count("rekey of the Child SA") in (1, 2), f"{refused}")
        for tunnel in (windows, other):
            tunnel.alive()
            tunnel.echo()
            tunnel.rekey_child()
            tunnel.echo()
        check(world.session_of("alice")["inner"] == addresses, "another lease")
        record = world.attempt(world.session_of("dave")["attempt"])
        check(any("13863" in line["text"] for line in record["timeline"]), f"{record['timeline']}")


@setup("windows_compat")
def _compat(config):
    config["ciphers"] = {"compat": "windows-default"}


@case("windows_compat")
def stock_profiles_under_the_named_policy(world):
    """Trap 3: the best of twelve or eighteen under its own number; ESP never DES or NULL."""
    for profile, number in (("windows-10", 11), ("windows-11", 17), ("windows-registry", 2)):
        with device(world) as pc:
            tunnel = pc.tunnel("user", profile)
            outcome = tunnel.login()
            check(outcome["proposal"] == number, f"{profile}: proposal {outcome['proposal']}")
            check(outcome["esp_proposal"] == 1, f"{profile}: ESP proposal {outcome['esp_proposal']}")
            tunnel.echo(count=12, rekeys=3)
            tunnel.step("close")


@case("windows_compat")
def the_ike_rekey_after_seven_and_a_half_hours_with_a_weaker_group(world):
    """Trap 9: with the registry's setting Windows may fall back to MODP_1024 in the rekey; message IDs begin anew, the lease stays."""
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-registry")
        addresses = tunnel.login()["addresses"]
        before = world.session_of("alice")["ike_suite"]
        check(before.endswith("/MODP_2048"), before)
        outcome = tunnel.step("rekey-ike", profile="windows-10")
        check(not outcome["error"] and outcome["old_answered"], f"{outcome}")
        session = world.session_of("alice")
        check(session["ike_suite"].endswith("/MODP_1024"), f"{session}")
        timeline = world.attempt(session["attempt"])["timeline"]
        check(any("MODP_1024 instead of MODP_2048" in line["text"] for line in timeline), f"{timeline}")
        check(any("weaker after its rekey" in line for line in world.log_of({"id": session["attempt"]})), "no warning in the log")
        tunnel.alive()
        tunnel.echo()
        tunnel.rekey_child()
        tunnel.echo()
        session = world.session_of("alice")
        check(session["inner"] == addresses and session["ike_rekeyed_at"], f"{session}")


@case("windows")
def an_idle_client_keeps_its_lease(world):
    """Traps 10 and 11: D(ESP) is answered with our inbound SPI, nothing with nothing; the session and its accounting go on."""
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        addresses = tunnel.login()["addresses"]
        session = world.session_of("alice")
        for _ in range(3):
            deleted = tunnel.step("delete-child")
            check(deleted["deleted"] == 1 and deleted["names_its_own"], f"{deleted}")
            check(tunnel.step("delete-child")["deleted"] == 0, "a Child SA that is gone was deleted again")
            tunnel.alive()
            check(not tunnel.step("create-child")["error"], "no new Child SA")
            tunnel.echo()
        after = world.session_of("alice")
        check((after["id"], after["inner"]) == (session["id"], addresses), f"{session} {after}")
        check(len([r for r in world.radius.accounting() if r.get("Acct-Session-Id") == session["attempt"]]) == 1, "one Start, no Stop")


@case("windows")
def back_without_a_farewell(world):
    """Trap 12: the vendor ID of a first contact ends the user's old session at once, with one Stop; without it the old one waits."""
    with device(world) as pc:
        pc.tunnel("user", "windows-aovpn").login()
        pc.vanish()
    session = world.session_of("alice")
    with device(world) as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        tunnel.login()
        tunnel.echo()
        check(wait_until(lambda: len(world.sessions()) == 1, 5), f"the old session stays: {world.sessions()}")
        check(world.session_of("alice")["id"] != session["id"], "the new session is gone, not the old")
    world.accounting(session["attempt"], "Stop")


@setup("windows_pool")
def _pool_of_one(config):
    config["pool"] = [{"name": "users", "ipv4": ["10.98.0.10-10.98.0.10"]}]


@case("windows_pool")
def no_address_and_no_farewell(world):
    """Trap 12: INTERNAL_ADDRESS_FAILURE; Windows leaves without DELETE, and nothing of it remains."""
    with device(world, role="client", local="10.99.3.2") as one, device(world) as other:
        first = one.tunnel("user", "windows-aovpn")
        first.login()
        before = known(world)
        other.tunnel("user", "windows-aovpn", user="dave").refused("INTERNAL_ADDRESS_FAILURE")
        attempt = world.record(before, "address", "exhausted")
        check("13899" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 13899")
        check(len(world.sessions()) == 1 and world.gateway.json("status")["half_open"] == 0, "something remains")
        first.echo()
        first.step("close")
        other.tunnel("again", "windows-aovpn", user="dave").login()


def _sent_to_radius(world):
    return sum(server["counters"]["sent"] for server in world.gateway.json("status")["radius"])


@case("windows")
def edges_of_eap(world):
    """Trap 13: each datagram three times, a wrong password told with E=691, EAP-Failure at once."""
    with device(world) as pc:
        sent, before = _sent_to_radius(world), known(world)
        pc.wire(copies=2)
        tunnel = pc.tunnel("thrice", "windows-aovpn")
        tunnel.login()
        tunnel.echo()
        # Identity, Response, Success-Response, and the Start of the session.
        check(_sent_to_radius(world) - sent <= 4, f"RADIUS was asked {_sent_to_radius(world) - sent} times")
        check(len(world.attempts()) - len(before) == 1, f"{len(world.attempts()) - len(before)} attempt records")
        pc.wire()
        before = known(world)
        refused = pc.tunnel("wrong", "windows-aovpn", user="dave", password="wrong").refused("AUTHENTICATION_FAILED")
        check(refused["retransmissions"] == 0, "EAP-Failure did not come at once")
        attempt = world.record(before, "radius", "dave")
        check("691" in (world.attempt(attempt["id"])["windows_code"] or ""), "no Windows code 691")


@case("windows")
def nobody_waits_for_a_hanging_server(world):
    """Trap 14: RADIUS hangs for one, who sends its request again and again; another has every answer at once, and the waiting one comes in."""
    with device(world, role="client", local="10.99.3.2") as up, device(world) as waiting:
        apple = up.tunnel("phone", "apple")
        apple.login()
        android = waiting.tunnel("phone", "android", user="dave")
        check(not android.step("init")["error"], "IKE_SA_INIT failed")
        world.radius.freeze()
        waiting.send("auth", tunnel="phone")
        for _ in range(10):
            check(apple.step("liveness")["retransmissions"] == 0, "liveness was not answered the first time")
        check(apple.rekey_child()["retransmissions"] == 0, "a rekey was not answered the first time")
        apple.echo()
        world.radius.thaw()
        check(waiting.outcome("auth").get("up"), "the one that waited did not come in")


@case("windows")
def ports_change_and_a_router_forgets(world):
    """Trap 15: the second client behind a NAT has other ports on 500 and on 4500; a new outside port is followed without MOBIKE."""
    with device(world, role="client", local="10.99.3.2") as one, device(world) as other:
        for each in (one, other):
            tunnel = each.tunnel("user", "windows-aovpn", user="alice" if each is one else "dave")
            check(tunnel.login()["nat"], "the NAT was not detected")
            tunnel.echo()
        world.lab.network.exec("client2", ["ip", "addr", "add", "10.99.3.9/24", "dev", "nat0"])
        try:
            before = world.session_of("dave")["client"]
            tunnel.step("move", address="10.99.3.9")
            tunnel.alive()
            tunnel.echo()
            after = world.session_of("dave")["client"]
            check(after != before and after.startswith(network.NAT_OUTSIDE), f"{before} -> {after}")
        finally:
            world.lab.network.exec("client2", ["ip", "addr", "del", "10.99.3.9/24", "dev", "nat0"])


@case("windows")
def roaming_with_mobike(world):
    """Trap 15: UPDATE_SA_ADDRESSES with COOKIE2, from a network without NAT to another address of it; ESP over IP before and after."""
    world.lab.network.exec("client", ["ip", "addr", "add", "10.99.1.7/24", "dev", "wan0"])
    try:
        with device(world, role="client", server=network.GATEWAY_IPV4, local=DIRECT) as pc:
            tunnel = pc.tunnel("user", "windows-aovpn")
            check(not tunnel.login()["nat"], "a NAT was detected where there is none")
            tunnel.echo()
            outcome = tunnel.step("move", address="10.99.1.7", update=True)
            check(outcome["cookie"] and outcome["checked"] and not outcome["error"] and not outcome["nat"], f"{outcome}")
            attempt = world.session_of("alice")["attempt"]
            told = wait_until(lambda: any("answers at 10.99.1.7" in line["text"] for line in world.attempt(attempt)["timeline"]), 5)
            check(told, "the gateway does not take the client's answer")
            tunnel.echo()
            check(world.session_of("alice")["client"].startswith("10.99.1.7:"), f"{world.sessions()}")
            tunnel.rekey_child()
            tunnel.echo()
    finally:
        world.lab.network.exec("client", ["ip", "addr", "del", "10.99.1.7/24", "dev", "wan0"])


@case("windows")
def plain_esp_over_ipv6(world):
    """Trap 15: there is no NAT traversal over IPv6."""
    with device(world, role="client", server=network.GATEWAY_IPV6, local="fd99:1::2") as pc:
        tunnel = pc.tunnel("user", "windows-aovpn")
        check(not tunnel.login()["nat"], "a NAT was detected where there is none")
        tunnel.echo()
        tunnel.echo(network.LAN_IPV6)
        tunnel.rekey_child()
        tunnel.echo(network.LAN_IPV6, size=1200)


@case("windows")
def what_nobody_knows_is_passed_over(world):
    with device(world) as pc:
        pc.tunnel("user", "windows-aovpn", unknown_payload=True).login()


@case("windows")
def phones(world):
    """Apple: CERT behind AUTH, IDr, rekeys with two ESP proposals. Android: MODP_4096 first, then a group that both have."""
    for profile, certificate in (("apple", None), ("apple", "machine-rsa"), ("android", None)):
        with device(world) as phone:
            tunnel = phone.tunnel("phone", profile, certificate)
            tunnel.login()
            tunnel.echo(count=12, rekeys=2)
            check(not tunnel.step("rekey-ike")["error"], f"{profile}: the IKE SA was not rekeyed")
            tunnel.echo()
            tunnel.step("close")
