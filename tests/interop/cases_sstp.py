"""SSTP with the client of our own, which behaves on the wire as Windows does, and misbehaves on request."""

import concurrent.futures
import json
import re
import signal
import time

from harness import case, check, setup
from labkit import network
from labkit.shell import wait_until
from sstp_client import Sstp

POLICY_DNS = network.LAN_DNS
LAN_NETWORK = "10.99.10.0/24"


def listen(config, **more):
    """Changes the listener for SSTP."""
    (listener,) = (listener for listener in config["listener"] if listener["protocol"] == "sstp")
    listener |= more


def client(world, role="client", **more):
    return Sstp(world.lab, world.gateway.binary, role, **more)


def came_up(found):
    check(found.get("event") == "up", f"the call did not come up: {found}")
    return found


def refused(found, *, kinds=("refused",), stage=None, code=None):
    check(found.get("event") == "error", f"the call came up: {found}")
    check(found["kind"] in kinds, f"{found['kind']} instead of {kinds}: {found['message']}")
    check(stage is None or found["stage"] == stage, f"stage {found['stage']} instead of {stage}: {found['message']}")
    check(code is None or found["code"] == code, f"code {found['code']} instead of {code}: {found['message']}")
    return found


def ids(world):
    return {attempt["id"] for attempt in world.attempts()}


def failed_record(world, before):
    """The one attempt record since `before`, once it has failed."""

    def fresh():
        return [attempt for attempt in world.attempts() if attempt["id"] not in before and attempt["outcome"] == "failed"]

    found = wait_until(fresh, 5)
    check(len(found) == 1, f"{len(found)} failed attempts: {found}")
    return found[0]


@case("sstp", "eap_mschapv2_whole_call")
def eap_mschapv2(world):
    """Every stage, the address of the pool, name servers, the record, accounting."""
    before = ids(world)
    with client(world).held("--ping", network.LAN_IPV4) as call:
        up = call.up
        address = up["ipv4"]["address"]
        check(address.startswith("10.98.0."), f"assigned {address}")
        check(up["ipv4"]["dns"] == [POLICY_DNS], f"name servers {up['ipv4']['dns']}")
        check(up["ipv4"]["peer"] not in (None, "0.0.0.0"), f"the gateway's end is {up['ipv4']['peer']}")
        check(up["binding"] == "sha256" and up["offered"] == 2, f"crypto binding {up['binding']}, offered {up['offered']}")
        check(up["ping"] == {network.LAN_IPV4: 3}, f"echo replies {up['ping']}")
        check(13 in up["lcp_rejected"] and 7 in up["lcp_rejected"] and 8 in up["lcp_rejected"], f"LCP rejected {up['lcp_rejected']}")
        check(not set(up["lcp_rejected"]) & {1, 5}, f"LCP rejected {up['lcp_rejected']}")
        session = world.session_of("alice")
        check(session["tunnel"] == "sstp" and address in str(session), f"{session}")
        started = world.accounting(session["attempt"] if "attempt" in session else session["id"], "Start")
        check(started.get("Framed-IP-Address") == address, f"accounting says {started}")
        check(started.get("Tunnel-Type:0") == str(0x013701), f"accounting says {started}")
        check(call.hang_up()["event"] == "end", "the call did not end well")
        stopped = world.accounting(started["Acct-Session-Id"], "Stop")
        check(stopped["Acct-Terminate-Cause"] == "User-Request", f"accounting says {stopped}")
    world.no_sessions()
    fresh = ids(world) - before
    check(len(fresh) == 1, f"{len(fresh)} attempt records")
    attempt = world.attempt(fresh.pop())
    check(attempt["stage"] == "up" and attempt["user"] == "alice", f"{attempt}")


@case("sstp")
def mschapv2_whole_call(world):
    up = came_up(client(world).call("--ping", network.LAN_IPV4, auth="mschapv2"))
    check(up["ping"] == {network.LAN_IPV4: 3}, f"echo replies {up['ping']}")


@case("sstp")
def eap_tls_whole_call(world):
    """Keys of 32 octets in the crypto binding."""
    pki = world.lab.pki
    up = came_up(client(world).call("--ping", network.LAN_IPV4, auth="eap-tls", user="alice@example.test", cert=pki.cert("alice"), key=pki.key("alice")))
    check(up["ping"] == {network.LAN_IPV4: 3}, f"echo replies {up['ping']}")


@case("sstp")
def no_three_seconds_are_lost(world):
    """The gateway's first Configure-Request comes after the client's: one that is glued to CALL_CONNECT_ACK is lost on Windows."""
    for delay in ("0", "5", "300"):
        up = came_up(client(world).call(port_delay=delay))
        check(up["dropped_early"] == 0, f"{up['dropped_early']} PPP frames came before the port was up")
        check(up["timings"]["lcp"] < 1000, f"LCP took {up['timings']['lcp']} ms")


@case("sstp")
def a_hang_up_is_acknowledged_at_once(world):
    """Windows sends Terminate-Request, and after its Ack CALL_DISCONNECT: that is to be acknowledged, not crossed."""
    with client(world).held("--no-configure") as call:
        started = time.monotonic()
        end = call.hang_up()
        check(end["acknowledged"], f"the gateway did not acknowledge CALL_DISCONNECT: {end}")
        world.no_sessions(1)
        check(time.monotonic() - started < 2, f"the end took {time.monotonic() - started:.1f} s")


@case("sstp")
def no_packet_overtakes_the_configure_ack(world):
    """What comes before the client has IPCP's or IPv6CP's Configure-Ack is lost there: a router advertisement, for one."""
    for _ in range(5):
        up = came_up(client(world).call("--no-configure"))
        check(up["packets_early"] == 0, f"{up['packets_early']} IP packets came before the Configure-Ack of their protocol")


@case("sstp")
def ipcp_takes_two_rounds_at_most(world):
    up = came_up(client(world).call())
    check(up["ipcp_requests"] <= 3 and up["lcp_requests"] <= 3, f"IPCP {up['ipcp_requests']}, LCP {up['lcp_requests']} requests")


@case("sstp")
def another_address_is_not_to_be_had(world):
    up = came_up(client(world).call(ask_address="10.98.0.200"))
    check(up["ipv4"]["address"] != "10.98.0.200", "the client chose its own address")


@case("sstp")
def ipv6_by_router_advertisement(world):
    up = came_up(client(world).call("--ping", network.LAN_IPV6, "--ping", network.LAN_IPV4))
    check(up["ipv6"] and up["ipv6"].startswith("fd98::"), f"address {up['ipv6']}, advertisement {up['advertisement']}")
    check(up["ping"].get(network.LAN_IPV6) == 3, f"echo replies {up['ping']}")


@case("sstp")
def only_one_family(world):
    up = came_up(client(world).call("--no-ipv6", "--ping", network.LAN_IPV4))
    check(up["interface"] is None and up["ping"] == {network.LAN_IPV4: 3}, f"{up}")
    up = came_up(client(world).call("--no-ipv4", "--ping", network.LAN_IPV6))
    check(up["ipv4"]["address"] is None and up["ping"] == {network.LAN_IPV6: 3}, f"{up}")


@case("sstp")
def over_ipv6_outside(world):
    came_up(client(world, server=network.GATEWAY_IPV6).call("--ping", network.LAN_IPV4))


@case("sstp")
def behind_nat(world):
    up = came_up(client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).call("--ping", network.LAN_IPV4, user="dave"))
    check(up["ping"] == {network.LAN_IPV4: 3}, f"echo replies {up['ping']}")


@case("sstp")
def every_way_of_tls(world):
    ways = {
        "TLS 1.2": ({"tls": "1.2"}, ()),
        "TLS 1.3": ({"tls": "1.3"}, ()),
        "AES-128-GCM": ({"cipher": "aes128gcm"}, ()),
        "ChaCha20-Poly1305": ({"cipher": "chacha20poly1305"}, ()),
        "TLS 1.2 with AES-256-GCM": ({"tls": "1.2", "cipher": "aes256gcm"}, ()),
        "no SNI": ({}, ("--no-sni",)),
        "ALPN": ({}, ("--alpn",)),
    }
    for name, (more, options) in ways.items():
        up = came_up(client(world).call(*options, **more))
        if name.startswith("TLS 1.2"):
            check(up["tls"]["version"] == "TLSv1_2", f"{name}: {up['tls']}")
        if name == "ALPN":
            check(up["tls"]["alpn"] == "http/1.1", f"{name}: {up['tls']}")


@case("sstp")
def every_way_of_http(world):
    for style in ("windows", "sstpc", "lf-only", "query"):
        up = came_up(client(world).call(http=style))
        headers = dict(up["http"]["headers"])
        check(headers.get("content-length") == "18446744073709551615", f"{style}: {headers}")
        check("date" in headers and "server" in headers, f"{style}: {headers}")


@case("sstp")
def packets_cut_anywhere(world):
    for name in ("one-byte-writes", "three-records", "two-per-record", "pipelined", "reserved-bits", "long-packets", "compressed-frames"):
        saw = client(world).misbehave(name, "--watch", "2")
        if name == "reserved-bits":
            check("CALL_ECHO_RESPONSE" in saw["messages"] and saw["closed"] is None, f"{name}: {saw}")
        else:
            check(saw["up"], f"{name}: {saw}")
        if name == "long-packets":
            check(saw["replies_before"] > 0, f"a packet of 4091 bytes was not carried: {saw}")


ABORT_BINDING = [3, 4]


def _bindings(world, auth):
    faults = {
        "wrong-cmac": ABORT_BINDING,
        "swapped-key-halves": ABORT_BINDING,
        "wrong-nonce": ABORT_BINDING,
        "wrong-cert-hash": ABORT_BINDING,
        "sha1-downgrade": ABORT_BINDING,
        "hash-byte": ABORT_BINDING,
        "zero-hlak": ABORT_BINDING,
        "binding-missing": [2, 9],
        "binding-short": [2, 9],
    }
    problems = []
    for name, abort in faults.items():
        before = ids(world)
        saw = client(world).misbehave(name, auth=auth)
        check(not world.sessions(), f"{name}: a session came of it: {world.sessions()}")
        if saw["abort"] != abort or not saw["closed"] or saw["closed_ms"] > 5000:
            problems.append(f"{name}: not ABORT {abort} and a close: {saw}")
        try:
            world.record(before, "crypto_binding", ".")
        except AssertionError as problem:
            problems.append(f"{name}: {problem}")
    check(not problems, "; ".join(problems))


@case("sstp")
def every_fault_of_the_binding_is_found_with_eap(world):
    _bindings(world, "eap")


@case("sstp")
def every_fault_of_the_binding_is_found_with_mschapv2(world):
    _bindings(world, "mschapv2")


@case("sstp")
def data_before_call_connected_is_dropped(world):
    saw = client(world).misbehave("data-before-connected")
    check(not saw["replies_before"], f"data passed before the crypto binding: {saw}")
    check(saw["up"] or saw["error"], f"{saw}")


@case("sstp")
def call_connected_before_the_answer_waits_for_the_keys(world):
    for auth in ("eap", "mschapv2"):
        saw = client(world).misbehave("connected-early", auth=auth)
        check(saw["up"], f"{auth}: {saw}")


@case("sstp")
def order_of_messages(world):
    """What comes twice, too early or malformed: ABORT; what cannot be delimited: an end without a word."""
    for name in ("second-connected", "second-request", "echo-early", "echo-before-request", "unknown-message"):
        saw = client(world).misbehave(name)
        check(saw["abort"] is not None, f"{name}: no CALL_ABORT: {saw}")
        check(saw["closed"], f"{name}: not closed: {saw}")
    for name in ("bad-version", "bad-length", "control-length-five"):
        saw = client(world).misbehave(name)
        spoken = [message for message in saw["messages"] if "PPP" not in message]
        check(saw["closed"] and not spoken, f"{name}: {saw}")


@case("sstp")
def abort_waits_for_the_peers_abort(world):
    """With the peer's ABORT it takes 1 s until TCP is closed, without it 3 s."""
    answered = client(world).misbehave("second-request")
    check(500 < answered["closed_ms"] < 2500, f"closed after {answered['closed_ms']} ms, not 1 s: {answered}")
    silent = client(world).misbehave("second-request", "--no-abort-answer")
    check(2000 < silent["closed_ms"] < 5500, f"closed after {silent['closed_ms']} ms, not 3 s: {silent}")


@case("sstp")
def bad_requests_are_naked(world):
    saw = client(world).misbehave("request-wrong-protocol", "--watch", "2")
    check(saw["naks"] == [[1, 4]], f"{saw}")
    saw = client(world).misbehave("request-without-attribute", "--watch", "2")
    check(saw["naks"] == [[2, 10]], f"{saw}")
    saw = client(world).misbehave("request-four-times-bad")
    check(saw["abort"] and saw["abort"][1] == 6, f"{saw}")


@case("sstp")
def farewells_are_answered(world):
    saw = client(world).misbehave("abort")
    check(saw["abort"] is not None and saw["closed"], f"{saw}")
    saw = client(world).misbehave("disconnect")
    check("CALL_DISCONNECT_ACK" in saw["messages"] and saw["closed"], f"{saw}")
    saw = client(world).misbehave("terminate")
    check("PPP: TerminateAck" in saw["messages"], f"{saw}")
    world.no_sessions()


@case("sstp")
def echoes_are_answered(world):
    saw = client(world).misbehave("echo", "--watch", "2")
    check("CALL_ECHO_RESPONSE" in saw["messages"] and "PPP: EchoReply" in saw["messages"], f"{saw}")


@case("sstp")
def unknown_ppp_is_rejected_and_the_link_stays(world):
    saw = client(world).misbehave("unknown-protocols")
    check(sorted(saw["protocols_rejected"]) == [0x802B, 0x8053, 0x80FD, 0xC029, 0xC02B] and saw["up"], f"{saw}")
    saw = client(world).misbehave("unknown-lcp-code")
    check("PPP: CodeRejected(42)" in saw["messages"] and saw["up"], f"{saw}")


@case("sstp")
def foreign_source_addresses_are_dropped(world):
    saw = client(world).misbehave("spoofed-source")
    check(saw["replies_before"] == 0 and saw["up"], f"{saw}")


@case("sstp")
def strangers_get_short_answers(world):
    with client(world).held() as call:
        for name in ("http-get", "http-head", "http-post", "http-wrong-path", "http-wrong-version"):
            saw = client(world).misbehave(name)
            check(saw["http_status"] and 400 <= saw["http_status"] <= 505, f"{name}: {saw}")
            check(saw["closed"] and saw["closed_ms"] < 5000, f"{name}: not closed: {saw}")
            check(name != "http-head" or saw["http_body"] == 0, f"{name}: {saw}")
        saw = client(world).misbehave("http-head")
        check(saw["http_status"] == 401, f"monitors look for 401: {saw}")
        for name in ("tls-garbage", "plain-http", "huge-headers"):
            saw = client(world).misbehave(name)
            check(saw["closed"], f"{name}: not closed: {saw}")
        check(call.ended(0.2) is None, "the call beside them ended")
        world.session_of("alice")


@case("sstp")
def wrong_password(world):
    """The record names the refusal, also when the client then just leaves, as Windows may."""
    problems = []
    for auth in ("eap", "mschapv2"):
        before = ids(world)
        refused(client(world).call(auth=auth, password="wrong"), stage="auth", code=691)
        found = failed_record(world, before)
        attempt = world.attempt(found["id"])
        said = " ".join([attempt["cause"], *(entry["text"] for entry in attempt["timeline"])])
        if not re.search("reject|E=691", said):
            problems.append(f"{auth}: nothing in the record says that the password was refused: {said}")
        if not re.search("reject|refuse|password|691", attempt["cause"]):
            problems.append(f"{auth}: the cause is {attempt['cause']!r}")
        check("691" in (attempt["windows_code"] or ""), f"{auth}: no Windows code 691: {attempt}")
    check(not problems, "; ".join(problems))
    came_up(client(world).call())


@case("sstp")
def second_password_in_the_same_call(world):
    came_up(client(world).call(auth="mschapv2", password=["wrong", "password"]))


@case("sstp")
def repeated_responses_ask_radius_once(world):
    def asked():
        # Of one login as of the other the accounting has been sent.
        sent = lambda: sum(server["counters"]["sent"] for server in world.gateway.json("status")["radius"])
        booked = lambda: world.gateway.json("status")["accounting"]
        check(wait_until(lambda: (booked()["queued"], booked()["open"]) == (0, 0), 5), f"accounting is not done: {booked()}")
        return sent()

    for auth in ("eap", "mschapv2"):
        counts = []
        for options in ((), ("--repeat-auth",)):
            before = asked()
            came_up(client(world).call(*options, auth=auth))
            counts.append(asked() - before)
        check(counts[0] == counts[1] > 0, f"{auth}: {counts[0]} requests to RADIUS, {counts[1]} with every response twice")


@case("sstp")
def authentication_that_is_not_offered(world):
    for auth in ("pap", "chap"):
        found = client(world).call(auth=auth)
        refused(found, kinds=("refused", "closed"))


@case("sstp")
def names_with_a_domain(world):
    for auth in ("eap", "mschapv2"):
        came_up(client(world).call(auth=auth, user="EXAMPLE\\alice"))


@case("sstp")
def static_address(world):
    up = came_up(client(world).call("--ping", network.LAN_IPV4, user="bob"))
    check(up["ipv4"]["address"] == "10.98.0.77" and up["ping"] == {network.LAN_IPV4: 3}, f"{up['ipv4']}")


@case("sstp")
def a_client_that_vanished_is_replaced_at_once(world):
    with client(world).held(user="bob") as call:
        call.kill()
    up = came_up(client(world).call("--ping", network.LAN_IPV4, user="bob"))
    check(up["ipv4"]["address"] == "10.98.0.77", f"{up['ipv4']}")
    world.no_sessions()


@case("sstp")
def a_kick_says_goodbye(world):
    with client(world).held() as call:
        session = world.session_of("alice")
        world.gateway.command("sessions", "disconnect", str(session["id"]))
        end = call.ended(5)
        check(end and end["kind"] == "refused", f"no goodbye: {end}")
    world.no_sessions()


@case("sstp")
def session_timeout_ends_the_call(world):
    with client(world).held(user="carol") as call:
        end = call.ended(8)
        check(end and end["kind"] == "refused", f"the call lives on: {end}")
    world.no_sessions()


@case("sstp")
def traffic_in_both_directions(world):
    """Content arrives whole, with as many frames a record as there are and with one frame a record, as Windows sends."""
    for fill in ("many", "one"):
        with client(world).held("--tun", "sstp0", "--route", LAN_NETWORK, "--route", "fd99:10::/64", fill=fill) as call:
            world.ping()
            world.ping(target=network.LAN_IPV6)
            for direction in ("up", "down"):
                world.transfer(20, direction)
            world.transfer(5, "down", host=network.LAN_IPV6)
            end = call.hang_up()
            check(end["counters"]["dropped"] == 0, f"packets were malformed: {end}")


@case("sstp_renewed")
def certificates_are_renewed_without_ending_a_call(world):
    """SIGHUP: who is connected stays, who comes sees the new certificate, and its binding is to that one."""
    whole = world.gateway.config_file.read_text()
    ours = '["gateway-rsa", "gateway-ecdsa"]'
    check(whole.count(ours) == 2, f"the listeners name their certificates otherwise:\n{whole}")
    with client(world).held("--tun", "sstp0", "--route", LAN_NETWORK) as call:
        world.ping()
        first = call.up["tls"]["certificate_sha256"]
        try:
            world.gateway.config_file.write_text(whole.replace(ours, '["gateway-rsa"]'))
            world.gateway.daemon.signal(signal.SIGHUP)
            wait_until(lambda: came_up(client(world, "client2").call(user="dave"))["tls"]["certificate_sha256"] != first, 5)
            renewed = came_up(client(world, "client2").call("--ping", network.LAN_IPV4, user="dave"))
            check(renewed["tls"]["certificate_sha256"] != first, "new calls see the old certificate")
            check(renewed["ping"] == {network.LAN_IPV4: 3}, f"echo replies {renewed['ping']}")
            world.ping()
            world.gateway.config_file.write_text("nonsense")
            world.gateway.daemon.signal(signal.SIGHUP)
            check(came_up(client(world, "client2").call(user="dave"))["tls"]["certificate_sha256"] != first, "a wrong file changes something")
            world.ping()
            check(call.ended(0) is None, "the call ended")
        finally:
            world.gateway.config_file.write_text(whole)
            world.gateway.daemon.signal(signal.SIGHUP)


@case("sstp", alone=True)
def beside_an_ikev2_session(world):
    ike = world.login()
    sstp = client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT)
    with sstp.held("--tun", "sstp0", "--route", LAN_NETWORK, user="dave"):
        with world.pinging(), world.pinging("client2"):
            pass
        # Bulk may crowd out echoes of its own tunnel, and of no other.
        with world.pinging():
            world.transfer(10, "down", role="client2")
        check({session["user"] for session in world.sessions()} == {"alice", "dave"}, f"{world.sessions()}")
    world.ping()
    check(ike.disconnect(), "no answer to DELETE")


@case("sstp")
def many_calls(world):
    report = client(world).run("storm", "--count", "120", "--parallel", "12", user="load{}", seconds=90)[0]
    check(report["established"] == 120, f"{report}")
    world.no_sessions()


@case("sstp")
def many_calls_at_once(world):
    """All held until the last is up: each with its own address."""
    storm = client(world).start("storm", "--count", "200", "--parallel", "16", "--keep", user="load{}", timeout="30")
    most = []

    def all_there():
        most[:] = max(most, [session["user"] for session in world.sessions()], key=len)
        return len(most) >= 190 or storm.poll() is not None

    wait_until(all_there, 60)
    output = storm.communicate(timeout=120)[0].decode()
    report = next((json.loads(line) for line in output.splitlines() if line.startswith("{")), None)
    check(report and report["established"] == 200, f"{output[-600:]}")
    check(len(set(most)) >= 100, f"at most {len(most)} sessions were seen at a time")
    world.no_sessions(10)


@setup("sstp_impatient")
def _impatient(config):
    config["limits"] = {"half_open_timeout": "3s"}


@case("sstp_impatient", long=True)
def unfinished_handshakes_stop_nobody(world):
    """Connections that stop anywhere beside a call; a new call comes up meanwhile."""
    with client(world).held("--tun", "sstp0", "--route", LAN_NETWORK):
        for stop in ("tcp", "half-hello", "hello", "tls", "http", "request"):
            flood = client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).start(
                "flood", "--count", "200", "--stop-at", stop, "--watch", "5"
            )
            try:
                time.sleep(1)
                came_up(client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).call(user="dave"))
                world.ping()
            finally:
                output = flood.communicate(timeout=60)[0].decode()
            report = json.loads(output.strip().splitlines()[-1])
            if stop in ("tcp", "half-hello", "hello"):
                check(report["closed"] == report["reached"], f"{stop}: connections stay open: {report}")
        world.session_of("alice")


@setup("sstp_sha1")
def _sha1(config):
    listen(config, sha1_binding=True)


@case("sstp_sha1")
def both_hashes_are_offered_where_allowed(world):
    up = came_up(client(world).call())
    check(up["offered"] == 3 and up["binding"] == "sha256", f"{up['offered']} {up['binding']}")


@setup("sstp_other_auth")
def _other_auth(config):
    listen(config, auth=["mschapv2", "pap", "chap", "eap"])


@case("sstp_other_auth")
def a_nak_leads_to_the_clients_method(world):
    for auth in ("pap", "chap", "mschapv2", "eap"):
        came_up(client(world).call("--ping", network.LAN_IPV4, auth=auth))


@setup("sstp_proxied")
def _proxied(config):
    listen(config, proxies=["10.99.1.2"])


@case("sstp_proxied")
def proxy_headers_tell_the_client(world):
    for version in ("v1", "v2"):
        with client(world).held(proxy=version, proxy_source="198.51.100.7:40000"):
            check("198.51.100.7" in str(world.session_of("alice")), f"{world.sessions()}")
        world.no_sessions()


@case("sstp_proxied")
def who_comes_directly_sends_no_header(world):
    came_up(client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).call(user="dave"))


@setup("sstp_renewed")
def _renewed(config):
    listen(config)


@setup("sstp_settings")
def _settings(config):
    config["policy"][0] |= {"nbns": ["10.99.10.54"], "suffix": "corp.example.test", "routes": [LAN_NETWORK, "10.99.20.0/24"]}


@case("sstp_settings")
def dhcpinform_brings_routes_and_suffix(world):
    up = came_up(client(world).call())
    dhcp = up["dhcp"]
    check(dhcp, "DHCPINFORM was not answered")
    check(dhcp["domain"] == "corp.example.test" and dhcp["dns"] == [POLICY_DNS], f"{dhcp}")
    check([route for route, _ in dhcp["routes"]] == [LAN_NETWORK, "10.99.20.0/24"], f"{dhcp}")
    check(dhcp["route_options"] == [121, 249] or dhcp["route_options"] == [249, 121], f"{dhcp}")
    check(up["ipv4"]["nbns"] == ["10.99.10.54"], f"{up['ipv4']}")


@case("sstp_settings")
def routes_of_dhcpinform_carry(world):
    with client(world).held("--tun", "sstp0"):
        world.ping()


@setup("sstp_small_pool")
def _small(config):
    config["pool"] = [{"name": "users", "ipv4": ["10.98.0.10-10.98.0.10"]}]


@case("sstp_small_pool")
def pool_exhausted(world):
    with client(world).held():
        before = ids(world)
        refused(client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT).call(user="dave"), kinds=("refused", "closed"))
        world.record(before, "address", "exhausted")
        world.session_of("alice")
    world.no_sessions()
    came_up(client(world).call())


@setup("sstp_policies")
def _policies(config):
    config["policy"] = [
        {"name": "no guests", "grant": False, "user": ["dave"]},
        {"name": "ike only", "tunnel": ["ikev2"], "user": ["erin"], "pool": "users"},
        {"name": "staff", "tunnel": ["sstp"], "class": ["staff"], "pool": "users"},
    ]


@case("sstp_policies")
def policies_decide(world):
    came_up(client(world).call())
    for user in ("dave", "erin"):
        before = ids(world)
        refused(client(world).call(user=user), kinds=("refused", "closed"))
        world.record(before, "policy", ".")


@setup("sstp_silence")
def _silence(config):
    config["radius"] = [server | {"retransmit_initial": "300ms", "tries": 2, "timeout": "2s"} for server in config["radius"]]


@case("sstp_silence")
def radius_silent_while_a_call_lives(world):
    with client(world).held("--tun", "sstp0", "--route", LAN_NETWORK) as call:
        world.radius.freeze()
        before = ids(world)
        with world.pinging():
            other = client(world, "client2", server=network.GATEWAY_IPV4_BEHIND_NAT)
            found = refused(other.call(user="dave", timeout="40", seconds=60), kinds=("refused", "closed"))
            check("code" not in found or found["code"] not in (649, 691), f"a silent server is told as a refusal: {found}")
        world.record(before, "radius", "freeradius")
        world.radius.thaw()
        check(call.ended(0.1) is None, "the call ended")
    came_up(client(world).call())


@case("sstp_timers", long=True)
def negotiation_and_hello_timers(world):
    """60 s without CALL_CONNECT_REQUEST or CALL_CONNECTED: ABORT with status 8. 120 s without an echo: an end without a word. Who only answers
    echoes stays."""
    cases = {"request-never": ("alice", 75), "connected-never": ("bob", 75), "silence": ("erin", 140)}
    with client(world).held("--no-configure", user="dave") as idle, concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        runs = {
            name: pool.submit(client(world).misbehave, name, "--watch", str(watch), user=user, seconds=watch + 40)
            for name, (user, watch) in cases.items()
        }
        saw = {name: run.result() for name, run in runs.items()}
        end = idle.hang_up()
    for name in ("request-never", "connected-never"):
        check(saw[name]["abort"] and saw[name]["abort"][1] == 8, f"{name}: {saw[name]}")
        check(55_000 < saw[name]["first_ms"] < 65_000, f"{name}: after {saw[name]['first_ms']} ms: {saw[name]}")
    silence = saw["silence"]
    check(silence["closed"] and silence["abort"] is None, f"silence: {silence}")
    check(100_000 < silence["closed_ms"] < 130_000, f"silence: closed after {silence['closed_ms']} ms")
    check(end["event"] == "end" and end["echoes"] >= 1, f"the idle call: {end}")
    world.no_sessions()
