//! Whole Access-Requests, byte by byte: network policies of NPS match on what stands in them.
#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use radius_client::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.lines().flat_map(|line| line.split('#').next().unwrap().bytes()).filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn dump(bytes: &[u8]) -> String {
    let line = |(number, value): &(u8, Vec<u8>)| {
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{number:02x}{:02x} {value}\n", value.len() / 2 + 2)
    };
    attributes(bytes).iter().map(line).collect()
}

fn leaves(input: Input, expected: &str) {
    let mut client = client(vec![server("nps1", 1)]);
    client.handle(start(), input);
    let request = only_sent(&drain(&mut client));
    let expected = hex(expected);
    assert_eq!(dump(&request.bytes), dump(&expected));
    assert_eq!(request.bytes, expected);
}

#[test]
fn ikev2_with_eap() {
    leaves(
        ask(1, 1, &eap_packet(2, 1, b"\x01EXAMPLE\\alice")),
        r"
            010000f8d70d3259e4e1cb631c663cf4d73c4c04 # Access-Request, Identifier 0, Length, Request Authenticator
            5012a0784c9358986faf91782112dbba3549 # Message-Authenticator
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            0c0600000540 # Framed-MTU 1344
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600000009 # Tunnel-Type ESP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            4f1402010012014558414d504c455c616c696365 # EAP-Message
        ",
    );
}

#[test]
fn sstp_with_ms_chap_v2() {
    let nas = NasContext {
        tunnel_type: TUNNEL_TYPE_SSTP,
        ras_client_name: Some("MSRAS-0-DESKTOP".into()),
        ras_client_version: Some("MSRASV5.20".into()),
        ras_correlation_id: Some("{5DC53D72-9815-4E97-AC91-339BAFEA6C48}".into()),
        ..nas()
    };
    let input = Input::Login {
        ticket: Ticket(1),
        conversation: ConversationId(1),
        group: None,
        user_name: b"EXAMPLE\\alice".to_vec(),
        credentials: ms_chap(4),
        nas: Box::new(nas),
    };
    leaves(
        input,
        r"
            01000188d70d3259e4e1cb631c663cf4d73c4c04 # Access-Request, Identifier 0, Length, Request Authenticator
            5012e24a0a6965c513238243d508bffc3ced # Message-Authenticator
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600013701 # Tunnel-Type SSTP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            1a180000013722124d535241532d302d4445534b544f5000 # MS-RAS-Client-Name, with its zero byte
            1a1200000137230c4d5352415356352e3230 # MS-RAS-Client-Version MSRASV5.20
            1a2e0000013738287b35444335334437322d393831352d344539372d414339312d3333394241464541364334387d # MS-RAS-Correlation-ID {5DC53D72-..}
            1a18000001370b12c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 # MS-CHAP-Challenge
            1a3a0000013719340430000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f # MS-CHAP2-Response
        ",
    );
}

#[test]
fn ikev2_with_a_certificate() {
    let input = Input::Login {
        ticket: Ticket(1),
        conversation: ConversationId(1),
        group: None,
        user_name: b"host/pc1.example.test".to_vec(),
        credentials: Credentials::Certificate,
        nas: Box::new(nas()),
    };
    leaves(
        input,
        r"
            010000e6d70d3259e4e1cb631c663cf4d73c4c04 # Access-Request, Identifier 0, Length, Request Authenticator
            501231c00a34f268da855d965e213db313c0 # Message-Authenticator
            0117686f73742f7063312e6578616d706c652e74657374 # User-Name host/pc1.example.test
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000011 # Service-Type Authorize-Only
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600000009 # Tunnel-Type ESP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
        ",
    );
}

/// What an administrator adds stands behind what every request says, of sessions in accounting as well.
#[test]
fn attributes_of_the_server() {
    let extra = ["NAS-Port-Id = vpn", "26.9.1 = text:fast"].map(|text| ExtraAttribute::parse(text).unwrap());
    let with = || client(vec![Server { attributes: extra.to_vec(), ..server("nps1", 1) }]);
    let added = [(87, b"vpn".to_vec()), (26, b"\0\0\0\x09\x01\x06fast".to_vec())];
    let mut plain = client(vec![server("nps1", 1)]);
    for input in
        [|| ask(1, 1, &eap_packet(2, 1, b"\x01alice")), || login(1, 1, Credentials::Certificate), || account(AccountingStatus::Start)]
    {
        let (mut client, mut plain) = (with(), std::mem::replace(&mut plain, client(vec![server("nps1", 1)])));
        client.handle(start(), input());
        plain.handle(start(), input());
        let (sent, bare) = (only_sent(&drain(&mut client)).attributes(), only_sent(&drain(&mut plain)).attributes());
        let without: Vec<_> = sent.iter().filter(|attribute| !added.contains(attribute) && attribute.0 != 80).cloned().collect();
        assert_eq!(without, bare.into_iter().filter(|attribute| attribute.0 != 80).collect::<Vec<_>>());
        assert_eq!(sent.iter().filter(|attribute| added.contains(attribute)).count(), 2);
    }
    let mut client = with();
    client.handle(start(), account(AccountingStatus::On));
    assert_eq!(only_sent(&drain(&mut client)).get(87), None, "of the gateway as a whole");
}

fn account(status: AccountingStatus) -> Input {
    let record = AccountingRecord { status, user_name: b"alice".to_vec(), nas: nas(), event_timestamp: 1, ..AccountingRecord::default() };
    Input::Accounting { ticket: Ticket(1), group: None, record: Box::new(record) }
}

fn login_with(credentials: Credentials) -> Input {
    let nas = Box::new(NasContext { tunnel_type: TUNNEL_TYPE_SSTP, ..nas() });
    Input::Login {
        ticket: Ticket(1),
        conversation: ConversationId(1),
        group: None,
        user_name: b"EXAMPLE\\alice".to_vec(),
        credentials,
        nas,
    }
}

#[test]
fn sstp_with_pap() {
    leaves(
        login_with(pap(b"correct horse")),
        r"
            010000f0d70d3259e4e1cb631c663cf4d73c4c04 # Access-Request, Identifier 0, Length, Request Authenticator
            501297a44b311ce45b45d8171abe78fc64b6 # Message-Authenticator
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600013701 # Tunnel-Type SSTP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            02122f1b121ab62e92b4b6071a68c020ef29 # User-Password, hidden
        ",
    );
}

#[test]
fn sstp_with_chap() {
    leaves(
        login_with(Credentials::Chap { identifier: 7, challenge: vec![0xc1; 16], response: [0xab; 16] }),
        r"
            01000103d70d3259e4e1cb631c663cf4d73c4c04 # Access-Request, Identifier 0, Length, Request Authenticator
            5012b646aeddd5e0b2eda6d6720d56399198 # Message-Authenticator
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600013701 # Tunnel-Type SSTP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            031307abababababababababababababababab # CHAP-Password: identifier 7, response
            3c12c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 # CHAP-Challenge
        ",
    );
}

fn record(status: AccountingStatus) -> Input {
    let record = AccountingRecord {
        status,
        user_name: b"EXAMPLE\\alice".to_vec(),
        nas: nas(),
        multi_session_id: "00c0ffee-16".into(),
        tunnel_connection: "17".into(),
        authentic: Authentic::Radius,
        auth_type: Some(auth_type::EAP),
        eap_type: Some(26),
        framed_ip: Some([10, 98, 0, 10].into()),
        framed_ipv6: Some("fd98::10".parse().unwrap()),
        class: vec![b"311 1".to_vec(), vec![0, 1, 0]],
        session_time: std::time::Duration::from_secs(3600),
        input_octets: 0x1_0000_0002,
        output_octets: 0x3_0000_0004,
        input_packets: 5,
        output_packets: 6,
        terminate_cause: Some(TerminateCause::IdleTimeout),
        event_timestamp: 1_700_000_000,
        delay: std::time::Duration::from_secs(9),
        ..AccountingRecord::default()
    };
    Input::Accounting { ticket: Ticket(1), group: None, record: Box::new(record) }
}

#[test]
fn accounting_start() {
    leaves(
        record(AccountingStatus::Start),
        r"
            04000131c322026ea5bd7d3a853985caed9b49fe # Accounting-Request, Identifier 0, Length, Request Authenticator
            280600000001 # Acct-Status-Type Start
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600000009 # Tunnel-Type ESP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            2d0600000001 # Acct-Authentic RADIUS
            320d30306330666665652d3136 # Acct-Multi-Session-Id 00c0ffee-16
            44043137 # Acct-Tunnel-Connection 17
            1a0c00000137170600000005 # MS-Acct-Auth-Type EAP
            1a0c0000013718060000001a # MS-Acct-EAP-Type 26 (EAP-MSCHAPv2)
            37066553f100 # Event-Timestamp
            290600000009 # Acct-Delay-Time 9
            08060a62000a # Framed-IP-Address 10.98.0.10
            a812fd980000000000000000000000000010 # Framed-IPv6-Address fd98::10
            19073331312031 # Class
            1905000100 # Class
        ",
    );
}

#[test]
fn accounting_stop() {
    leaves(
        record(AccountingStatus::Stop),
        r"
            04000161f5b74fa452bfa62bc1492a8ff68184ec # Accounting-Request, Identifier 0, Length, Request Authenticator
            280600000002 # Acct-Status-Type Stop
            010f4558414d504c455c616c696365 # User-Name EXAMPLE\alice
            0406c6336401 # NAS-IP-Address 198.51.100.1
            201276706e2e6578616d706c652e74657374 # NAS-Identifier
            05060000002a # NAS-Port 42
            3d0600000005 # NAS-Port-Type Virtual
            060600000002 # Service-Type Framed
            070600000001 # Framed-Protocol PPP
            1e0e3139382e35312e3130302e31 # Called-Station-Id 198.51.100.1
            1f0d3230332e302e3131332e39 # Calling-Station-Id 203.0.113.9
            2c0d30306330666665652d3137 # Acct-Session-Id 00c0ffee-17
            400600000009 # Tunnel-Type ESP
            410600000001 # Tunnel-Medium-Type IPv4
            420d3230332e302e3131332e39 # Tunnel-Client-Endpoint
            430e3139382e35312e3130302e31 # Tunnel-Server-Endpoint
            1a0c00000137090600000137 # MS-RAS-Vendor 311
            1a1200000137120c4d5352415356352e3230 # MS-RAS-Version MSRASV5.20
            1a0c000001372f0600000002 # MS-Network-Access-Server-Type 2
            2d0600000001 # Acct-Authentic RADIUS
            320d30306330666665652d3136 # Acct-Multi-Session-Id 00c0ffee-16
            44043137 # Acct-Tunnel-Connection 17
            1a0c00000137170600000005 # MS-Acct-Auth-Type EAP
            1a0c0000013718060000001a # MS-Acct-EAP-Type 26 (EAP-MSCHAPv2)
            37066553f100 # Event-Timestamp
            290600000009 # Acct-Delay-Time 9
            08060a62000a # Framed-IP-Address 10.98.0.10
            a812fd980000000000000000000000000010 # Framed-IPv6-Address fd98::10
            19073331312031 # Class
            1905000100 # Class
            2e0600000e10 # Acct-Session-Time 3600
            2a0600000002 # Acct-Input-Octets, low half
            340600000001 # Acct-Input-Gigawords 1
            2b0600000004 # Acct-Output-Octets, low half
            350600000003 # Acct-Output-Gigawords 3
            2f0600000005 # Acct-Input-Packets 5
            300600000006 # Acct-Output-Packets 6
            310600000004 # Acct-Terminate-Cause Idle-Timeout
        ",
    );
}

/// No session is behind a probe: policies that match on its tunnel do not match.
#[test]
fn probes() {
    let u32 = |value: u32| value.to_be_bytes().to_vec();
    let name = (32, b"vpn.example.test".to_vec());
    let user = [
        (1, b"ping".to_vec()),
        name.clone(),
        (61, u32(5)),
        (6, u32(2)),
        (7, u32(1)),
        microsoft(9, &u32(311)),
        microsoft(18, b"MSRASV5.20"),
        microsoft(47, &u32(2)),
    ];
    for (probe, code, expected) in [(Probe::StatusServer, 12, &[name][..]), (Probe::User("ping".into()), 1, &user[..])] {
        let probed = Server { probe, nas_identifier: Some("vpn.example.test".into()), ..server("nps1", 1) };
        let mut client = client(vec![probed]);
        client.handle(start(), login(1, 1, pap(b"secret")));
        drain(&mut client);
        client.handle(start() + std::time::Duration::from_secs(3), Input::Timeout);
        let probe = sent(&drain(&mut client)).pop().unwrap();
        let mut attributes = probe.attributes();
        assert_eq!((probe.bytes[0], attributes[0].0), (code, 80), "Message-Authenticator is the first");
        attributes.retain(|(number, _)| ![80, 2].contains(number));
        assert_eq!(attributes, expected);
    }
}
