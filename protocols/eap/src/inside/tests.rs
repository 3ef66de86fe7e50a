use super::*;
use crate::build;

const TLS_1_2: u16 = 0x0303;

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], length.as_slice(), body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn u24(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat()
}

fn server_hello(extensions: &[u8]) -> Vec<u8> {
    let head = [TLS_1_2.to_be_bytes().as_slice(), &[7; 32], &[4, 1, 2, 3, 4], &[0xc0, 0x2f, 0]].concat();
    let tail = if extensions.is_empty() {
        Vec::new()
    } else {
        [u16::try_from(extensions.len()).unwrap().to_be_bytes().as_slice(), extensions].concat()
    };
    message(2, &[head, tail].concat())
}

fn certificate(chain: &[&[u8]]) -> Vec<u8> {
    message(11, &u24(&chain.iter().flat_map(|der| u24(der)).collect::<Vec<_>>()))
}

/// Feeds `tls` in fragments of `size` bytes, as EAP-TLS cuts it, with acknowledgements between.
fn converse(observer: &mut Observer, identifier: &mut u8, side: Side, tls: &[u8], size: usize) -> Vec<Seen> {
    let (code, other) = match side {
        Side::Server => (Code::Request, Code::Response),
        Side::Peer => (Code::Response, Code::Request),
    };
    let mut seen = Vec::new();
    for (number, fragment) in tls.chunks(size).enumerate() {
        *identifier = identifier.wrapping_add(1);
        let data = if number == 0 {
            [&[0xc0], u32::try_from(tls.len()).unwrap().to_be_bytes().as_slice(), fragment].concat()
        } else {
            [&[0x40], fragment].concat()
        };
        let packet = build(code, *identifier, method::TLS, &data);
        let view = Packet::parse(&packet).unwrap();
        seen.extend(observer.observe(&view));
        assert!(observer.observe(&view).is_empty(), "a repetition shows nothing new");
        let acknowledgement = build(other, *identifier, method::TLS, &[0]);
        assert!(observer.observe(&Packet::parse(&acknowledgement).unwrap()).is_empty());
    }
    seen
}

#[test]
fn certificates_and_alerts_of_tls_1_2_are_read_through_any_fragmentation() {
    let (leaf, issuing) = ([0x30; 900], [0x31; 1400]);
    let flight = [record(22, &server_hello(&[0, 23, 0, 0])), record(22, &certificate(&[&leaf, &issuing]))].concat();
    for size in [1, 7, 253, 1024, 5000] {
        let (mut observer, mut identifier) = (Observer::default(), 0);
        let seen = converse(&mut observer, &mut identifier, Side::Server, &flight, size);
        let chain = vec![leaf.to_vec(), issuing.to_vec()];
        assert_eq!(seen, [Seen::Version(TLS_1_2), Seen::Certificates { side: Side::Server, chain }], "fragments of {size}");
        let seen = converse(&mut observer, &mut identifier, Side::Peer, &record(21, &[2, 48]), size);
        assert_eq!(seen, [Seen::Alert { side: Side::Peer, fatal: true, description: 48 }]);
    }
}

#[test]
fn a_message_may_span_records() {
    let message = certificate(&[&[5; 3000]]);
    let (head, tail) = message.split_at(2);
    let flight = [record(22, head), record(22, tail)].concat();
    let seen = converse(&mut Observer::default(), &mut 0, Side::Peer, &flight, 1000);
    assert_eq!(seen, [Seen::Certificates { side: Side::Peer, chain: vec![vec![5; 3000]] }]);
}

#[test]
fn a_client_without_a_certificate_shows_an_empty_chain() {
    let seen = converse(&mut Observer::default(), &mut 0, Side::Peer, &record(22, &certificate(&[])), 1000);
    assert_eq!(seen, [Seen::Certificates { side: Side::Peer, chain: Vec::new() }]);
}

#[test]
fn what_is_encrypted_stays_hidden() {
    let (mut observer, mut identifier) = (Observer::default(), 0);
    // TLS 1.3: what looks like a certificate afterwards is none.
    let hello = record(22, &server_hello(&[0, 43, 0, 2, 3, 4]));
    assert_eq!(converse(&mut observer, &mut identifier, Side::Server, &hello, 500), [Seen::Version(0x0304)]);
    let later = [record(20, &[1]), record(22, &certificate(&[&[1; 50]])), record(21, &[2, 48])].concat();
    assert_eq!(converse(&mut observer, &mut identifier, Side::Peer, &later, 500), [Seen::HiddenAlert { side: Side::Peer }]);
    // TLS 1.2 after ChangeCipherSpec.
    let (mut observer, mut identifier) = (Observer::default(), 0);
    let finished = [record(20, &[1]), record(22, &[9; 40]), record(21, &[0x5a; 26])].concat();
    let side = Side::Server;
    assert_eq!(converse(&mut observer, &mut identifier, side, &finished, 500), [Seen::Encrypted { side }, Seen::HiddenAlert { side }]);
}

#[test]
fn another_method_starts_anew() {
    let mut observer = Observer::default();
    let half = record(22, &certificate(&[&[5; 300]]));
    converse(&mut observer, &mut 0, Side::Server, &half[..100], 1000);
    let start = build(Code::Request, 90, method::PEAP, &[0x20]);
    assert!(observer.observe(&Packet::parse(&start).unwrap()).is_empty());
    let alert = build(Code::Response, 90, method::PEAP, &[&[0], record(21, &[2, 42]).as_slice()].concat());
    let seen = observer.observe(&Packet::parse(&alert).unwrap());
    assert_eq!(seen, [Seen::Alert { side: Side::Peer, fatal: true, description: 42 }]);
}

#[test]
fn teap_has_tlvs_behind_the_tls_data() {
    let data = [&[0x10, 0, 0, 0, 3], record(21, &[2, 45]).as_slice(), &[9, 9, 9]].concat();
    let packet = build(Code::Response, 1, method::TEAP, &data);
    let seen = Observer::default().observe(&Packet::parse(&packet).unwrap());
    assert_eq!(seen, [Seen::Alert { side: Side::Peer, fatal: true, description: 45 }]);
}

#[test]
fn what_is_no_tls_and_what_is_too_much_is_left_alone() {
    let mut identifier = 0;
    let mut observer = Observer::default();
    assert!(converse(&mut observer, &mut identifier, Side::Peer, b"SSH-2.0-nothing", 1000).is_empty());
    assert!(converse(&mut observer, &mut identifier, Side::Peer, &record(21, &[2, 48]), 1000).is_empty(), "it stays blind");
    // A certificate that never ends.
    let mut observer = Observer::default();
    let endless = record(22, &[&[11, 0xff, 0xff, 0xff], [0; 16_000].as_slice()].concat());
    for _ in 0..40 {
        assert!(converse(&mut observer, &mut identifier, Side::Server, &endless, 4000).is_empty());
    }
    let held = observer.server.held();
    assert!(held < 200_000, "{held}");
}

/// 64 KiB of alerts or certificates in one packet: each would be a line of the record.
#[test]
fn a_flood_of_small_records_shows_a_few_things() {
    let floods = [record(21, &[1, 0]), record(22, &certificate(&[])), record(22, &server_hello(&[])), record(20, &[1])];
    for flood in floods.map(|one| one.repeat(60_000 / one.len())) {
        let seen = converse(&mut Observer::default(), &mut 0, Side::Peer, &flood, 65_000);
        assert!((1..=32).contains(&seen.len()), "{}", seen.len());
    }
    let mut observer = Observer::default();
    let empty = record(23, &[]).repeat(12_000);
    assert!(converse(&mut observer, &mut 0, Side::Peer, &empty, 65_000).is_empty());
    assert_eq!(converse(&mut observer, &mut 1, Side::Peer, &record(21, &[2, 48]), 100).len(), 1, "what comes after it is seen");
}

#[test]
fn cut_and_garbled_flights_never_panic() {
    let flight =
        [record(22, &server_hello(&[0, 43, 0, 2, 3, 3])), record(22, &certificate(&[&[1; 20], &[2; 30]])), record(21, &[1, 0])].concat();
    for cut in 0..flight.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut garbled = flight.clone();
            garbled[cut] = value;
            converse(&mut Observer::default(), &mut 0, Side::Server, &garbled, 31);
            converse(&mut Observer::default(), &mut 0, Side::Server, &garbled[..cut.max(1)], 31);
        }
    }
}
