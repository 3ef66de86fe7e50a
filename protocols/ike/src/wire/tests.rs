use super::testing::{WINDOWS, hex, property_config, windows};
use super::*;
use crate::api::{Identity, TrafficSelector};
use crate::proposal::{Proposal, SaPayload, Transform};
use crypto::cipher::{Encryption, Integrity, Opener, Sealer, Suite};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn header(exchange: Exchange) -> Header {
    let flags = Flags { initiator: true, ..Flags::default() };
    Header::new(Spi(0x1111_1111_1111_1111), Spi(0x2222_2222_2222_2222), exchange, flags, 5)
}

fn malformed(error: ParseError) -> Malformed {
    match error {
        ParseError::Malformed(malformed) => malformed,
        other => panic!("not malformed: {other}"),
    }
}

#[test]
fn windows_sa_init() {
    let bytes = windows("reg2_modp2048");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(bytes.len(), 632);
    assert_eq!((message.header.initiator_spi, message.header.responder_spi), (Spi(0x0102_0304_0506_0708), Spi(0)));
    assert_eq!(message.header.exchange, Exchange::IkeSaInit);
    assert!(message.header.flags.initiator && !message.header.flags.response && !message.protected);
    let payloads = &message.payloads;
    assert_eq!(
        payloads.sa().unwrap().texts(),
        [
            "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048",
            "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048",
            "AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_2048",
        ]
    );
    assert_eq!(payloads.key_exchange(), Some(&KeyExchange { group: 14, public: vec![0xee; 256] }));
    assert_eq!(payloads.nonce(), Some(&[0xaa; 48][..]));
    assert_eq!(payloads.notify(notify::IKEV2_FRAGMENTATION_SUPPORTED).unwrap().data, []);
    assert_eq!(payloads.notify(notify::NAT_DETECTION_SOURCE_IP).unwrap().data, [0x11; 20]);
    let vendors: Vec<_> = payloads.vendor_ids().map(vendor::name).collect();
    let named = ["MS NT5 ISAKMPOAKLEY v9", "MS-Negotiation Discovery Capable", "Vid-Initial-Contact", "MS KEY_MODS IKEv2"];
    assert_eq!(vendors, named.map(Some));
    assert!(vendor::is_windows(payloads.vendor_ids().next().unwrap()));
}

#[test]
fn windows_messages_come_out_as_they_went_in() {
    for name in WINDOWS {
        let bytes = windows(name);
        let message = Message::parse(&bytes).unwrap();
        let payloads: Vec<Payload> = message.payloads.iter().cloned().collect();
        assert_eq!(encode(&message.header, &payloads), bytes, "{name}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = windows("win11_default");
    for len in 0..bytes.len() {
        let mut short = bytes[..len].to_vec();
        assert!(Message::parse(&short).is_err(), "{len} with the old length field");
        if len >= HEADER_LEN {
            short[24..28].copy_from_slice(&(len as u32).to_be_bytes());
            assert!(Message::parse(&short).is_err(), "{len} with a fitting length field");
        }
    }
}

#[test]
fn ikev1_has_its_own_error() {
    let mut bytes = windows("reg2_modp2048");
    bytes[17] = 0x10;
    // The length field of whatever version is none of our business.
    bytes.push(0);
    let Err(ParseError::MajorVersion(header)) = Header::parse(&bytes) else { panic!("accepted") };
    assert_eq!((header.major, header.initiator_spi), (1, Spi(0x0102_0304_0506_0708)));
}

#[test]
fn minor_version_and_reserved_bits_are_ignored() {
    let mut bytes = windows("reg2_modp2048");
    let reference = Message::parse(&bytes).unwrap();
    bytes[17] = 0x2f;
    bytes[19] |= 0xc7;
    bytes[HEADER_LEN + 1] |= 0x7f;
    assert_eq!(Message::parse(&bytes).unwrap(), reference);
}

#[test]
fn length_field_must_equal_the_datagram() {
    let mut bytes = windows("reg2_modp2048");
    bytes.push(0);
    let error = malformed(Message::parse(&bytes).unwrap_err());
    assert_eq!((error.payload, error.offset), (kind::NONE, 24));
    assert_eq!(error.to_string(), "message at offset 24: length field differs from the datagram's length");
}

#[test]
fn an_initiator_spi_is_never_zero() {
    let mut bytes = windows("reg2_modp2048");
    bytes[..8].fill(0);
    assert_eq!(malformed(Header::parse(&bytes).unwrap_err()).reason, "initiator SPI is zero");
    // Nor in another version: noise shall get no answer.
    bytes[17] = 0x59;
    assert_eq!(malformed(Header::parse(&bytes).unwrap_err()).reason, "initiator SPI is zero");
}

fn unknown(kind: u8, critical: bool) -> Payload {
    Payload::Unknown { kind, critical, data: vec![1, 2, 3] }
}

#[test]
fn unknown_payloads_are_passed_over_unless_critical() {
    let nonce = Payload::Nonce(vec![7; 32]);
    let bytes = encode(&header(Exchange::IkeSaInit), &[unknown(200, false), nonce.clone(), unknown(49, false)]);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.payloads.ignored().collect::<Vec<_>>(), [200, 49]);
    assert_eq!(message.payloads.nonce(), Some(&[7; 32][..]));
    let bytes = encode(&header(Exchange::IkeSaInit), &[nonce, unknown(200, true)]);
    assert_eq!(Message::parse(&bytes), Err(ParseError::UnsupportedCritical(200)));
}

#[test]
fn critical_bit_of_a_known_payload_is_ignored() {
    let mut bytes = encode(&header(Exchange::IkeSaInit), &[Payload::Nonce(vec![7; 32])]);
    bytes[HEADER_LEN + 1] = 0x80;
    assert!(Message::parse(&bytes).is_ok());
}

#[test]
fn single_payloads_occur_once() {
    let nonce = Payload::Nonce(vec![7; 32]);
    let bytes = encode(&header(Exchange::IkeSaInit), &[nonce.clone(), nonce]);
    let error = malformed(Message::parse(&bytes).unwrap_err());
    assert_eq!((error.payload, error.offset, error.reason), (kind::NONCE, HEADER_LEN + 36 + 4, "occurs twice"));
    let many: Vec<Payload> = (0..20).map(|index| Payload::Notify(Notify::new(index, vec![]))).collect();
    assert!(Message::parse(&encode(&header(Exchange::IkeSaInit), &many)).is_ok());
}

#[test]
fn at_most_a_hundred_payloads() {
    let notifies = |count| vec![Payload::Notify(Notify::new(1, vec![])); count];
    assert!(Message::parse(&encode(&header(Exchange::IkeSaInit), &notifies(100))).is_ok());
    assert!(Message::parse(&encode(&header(Exchange::IkeSaInit), &notifies(101))).is_err());
}

#[test]
fn a_certreq_with_200_authorities() {
    let request = CertificateRequest::x509((0..200).map(|index| [index as u8; 20]));
    let bytes = encode(&header(Exchange::IkeAuth), &[Payload::CertificateRequest(request)]);
    let message = Message::parse(&bytes).unwrap();
    let hashes: Vec<_> = message.payloads.certificate_requests().flat_map(CertificateRequest::hashes).collect();
    assert_eq!(hashes.len(), 200);
    assert_eq!(hashes[199], [199; 20]);
    let more_than_fit = CertificateRequest::x509((0..4000).map(|_| [1; 20]));
    assert!(more_than_fit.authorities.len() + 5 <= usize::from(u16::MAX));
}

/// Payload type, body, and what is wrong with it.
const BROKEN: &[(u8, &str, &str)] = &[
    (kind::KE, "000e", "reserved bytes missing"),
    (kind::KE, "000e0000", "no key exchange data"),
    (kind::NONCE, "000102030405060708090a0b0c0d0e", "a nonce has 16 to 256 bytes"),
    (kind::ID_I, "01000000c0a801", "IPv4 address cut short"),
    (kind::ID_I, "01000000c0a8010100", "bytes behind the address"),
    (kind::ID_R, "05000000c0a80101", "IPv6 address cut short"),
    (kind::CERTREQ, "04000102", "authorities are not a whole number of SHA-1 hashes"),
    (kind::AUTH, "0100", "reserved bytes missing"),
    (kind::NOTIFY, "0304400900000a", "SPI runs over the end"),
    (kind::DELETE, "03040002deadbeef", "SPIs do not fill the payload"),
    (kind::DELETE, "03080001deadbeefdeadbeef", "an ESP SPI has 4 bytes"),
    (kind::DELETE, "01080001deadbeefdeadbeef", "a Delete of the IKE SA has no SPI"),
    (kind::TS_I, "0100000007000010", "selector runs over the end"),
    (kind::TS_I, "01000000070000100000ffff0000000100000000", "address range runs backwards"),
    (kind::TS_R, "0200000007000010 0000ffff 00000000ffffffff", "selector missing"),
    (kind::CP, "010000000001000401", "attribute runs over the end"),
    (kind::CP, "0100000000010003010203", "IPv4 attribute is not empty and not 4 bytes"),
    (kind::CP, "010000000008001100000000000000000000000000000000ff", "IPv6 prefix length above 128"),
    (kind::EAP, "0101", "EAP packet shorter than its header"),
    (kind::SA, "", "proposal or transform missing"),
    (kind::SA, "010000080101000000000000", "proposal or transform is neither last nor followed by its like"),
    (kind::SA, "00000003", "proposal or transform length below its own header"),
    (kind::SA, "0000000801010001", "proposal or transform missing"),
    (kind::SA, "0000000c0101040000000000", "SPI size does not fit the protocol"),
    (kind::SA, "000000100101000103000008010000 0c", "number of transforms differs from the list"),
    (kind::SA, "00000010010100010000000801000014 00", "bytes behind the last proposal"),
    (kind::SA, "000000120101000100 00000a 0100000c800e", "attribute value cut short"),
];

#[test]
fn broken_payloads_are_named() {
    for (kind, body, reason) in BROKEN {
        let data = hex(body);
        let bytes = encode(&header(Exchange::IkeSaInit), &[Payload::Unknown { kind: *kind, critical: false, data }]);
        let error = malformed(Message::parse(&bytes).expect_err(reason));
        assert_eq!((error.payload, error.reason), (*kind, *reason), "{body}");
    }
}

#[test]
fn reserved_bytes_of_an_identity_stay_in_its_body() {
    let data = hex("02 aabbcc 61622e6578616d706c65");
    let bytes = encode(&header(Exchange::IkeAuth), &[Payload::Unknown { kind: kind::ID_I, critical: false, data: data.clone() }]);
    let message = Message::parse(&bytes).unwrap();
    let id = message.payloads.id_initiator().unwrap();
    assert_eq!((&id.identity, &id.body), (&Identity::Fqdn("ab.example".into()), &data));
}

#[test]
fn identity_text_has_no_control_characters() {
    assert_eq!(identity_text(&Identity::Fqdn("a\nb\u{1b}[31m".into()), None), "a\\nb\\u{1b}[31m");
    assert_eq!(identity_text(&Identity::Ipv4(Ipv4Addr::new(10, 1, 2, 3)), None), "10.1.2.3");
    assert_eq!(identity_text(&Identity::KeyId(vec![0xab; 33]), None), format!("key ID {}.. (33 bytes)", "ab".repeat(32)));
    assert_eq!(identity_text(&Identity::DistinguishedName(vec![0x30, 0]), None), "DN 3000");
    assert_eq!(identity_text(&Identity::Fqdn("a".repeat(256)), None), "a".repeat(256));
    assert_eq!(identity_text(&Identity::Email("\u{e9}".repeat(9000)), None), format!("{}..", "\u{e9}".repeat(128)));
}

/// INTERNAL_IP4_ADDRESS, DNS, NBNS, Microsoft's server, IP6_ADDRESS, IP6_DNS, IP6 server, and one that nobody knows.
#[test]
fn windows_configuration_request() {
    let body = hex("01000000 00010000 00030000 00040000 5ba00000 00080000 000a0000 5ba10000 7abc0001ff");
    let bytes = encode(&header(Exchange::IkeAuth), &[Payload::Unknown { kind: kind::CP, critical: false, data: body }]);
    let message = Message::parse(&bytes).unwrap();
    let request = message.payloads.configuration().unwrap();
    assert_eq!(request.kind, ConfigurationKind::Request);
    assert_eq!(request.attributes.len(), 8);
    assert_eq!(request.attributes[7], ConfigurationAttribute::Other { kind: 0x7abc, value: vec![0xff] });
    let asked = request.address_request();
    assert_eq!((asked.ipv4, asked.ipv4_hint, asked.ipv6, asked.ipv6_hint), (true, None, true, None));
}

#[test]
fn configuration_hints_and_replies() {
    let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let request = Configuration {
        kind: ConfigurationKind::Request,
        attributes: vec![
            ConfigurationAttribute::Ip4Address(Some(Ipv4Addr::UNSPECIFIED)),
            ConfigurationAttribute::Ip6Address(Some((v6, 64))),
        ],
    };
    let asked = request.address_request();
    assert_eq!((asked.ipv4, asked.ipv4_hint, asked.ipv6_hint), (true, None, Some(v6)));
    let dns = ["10.0.0.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
    let reply = Configuration::reply(Some(Ipv4Addr::new(10, 0, 0, 9)), None, &dns);
    assert_eq!(reply.addresses(), (vec!["10.0.0.9".parse().unwrap()], vec![dns[0]]));
    let mut bytes = Vec::new();
    Payload::Configuration(Configuration::reply(None, Some(v6), &dns)).write(&mut bytes);
    assert_eq!(bytes, hex("02000000 00080011 20010db8000000000000000000000007 80 000a0010 20010db8000000000000000000000053"));
}

/// RFC 7296 section 3.15.1: address and netmask in the IPv4 form, address and prefix length in the IPv6 form; RFC 8598: bare names.
#[test]
fn networks_and_domains() {
    let attributes = vec![
        ConfigurationAttribute::Ip4Subnet(Some((Ipv4Addr::new(10, 1, 0, 0), 20))),
        ConfigurationAttribute::Ip4Subnet(Some((Ipv4Addr::UNSPECIFIED, 0))),
        ConfigurationAttribute::Ip6Subnet(Some(("2001:db8::".parse().unwrap(), 32))),
        ConfigurationAttribute::DnsDomain(b"corp".to_vec()),
    ];
    let mut bytes = Vec::new();
    Payload::Configuration(Configuration { kind: ConfigurationKind::Reply, attributes }).write(&mut bytes);
    let want =
        "02000000 000d0008 0a010000fffff000 000d0008 0000000000000000 000f0011 20010db8000000000000000000000000 20 00190004 636f7270";
    assert_eq!(bytes, hex(want));
    for holes in ["01000000 000d0008 0a010000ff00ff00", "01000000 000d0004 0a010000", "01000000 000d0009 0a010000fffff00000"] {
        let bytes = encode(&header(Exchange::IkeAuth), &[Payload::Unknown { kind: kind::CP, critical: false, data: hex(holes) }]);
        assert!(Message::parse(&bytes).is_err(), "{holes}");
    }
}

#[test]
fn notify_of_windows_carries_a_win32_code() {
    let notify = Notify::new(notify::MS_WIN32_ERROR, 13868u32.to_be_bytes());
    assert_eq!(notify.win32_code(), Some(13868));
    assert!(notify.is_error());
    assert_eq!(Notify::new(notify::COOKIE, vec![0, 0, 0x36, 0x2c]).win32_code(), None);
    assert_eq!(notify::name(14), Some("NO_PROPOSAL_CHOSEN"));
    assert_eq!(Notify::esp(notify::REKEY_SA, 0xdead_beef).esp_spi(), Some(0xdead_beef));
}

fn suites() -> [Suite; 4] {
    [
        Suite::new(Encryption::AesCbc128, Some(Integrity::HmacSha256_128)).unwrap(),
        Suite::new(Encryption::AesGcm256, None).unwrap(),
        Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)).unwrap(),
        Suite::new(Encryption::ChaCha20Poly1305, None).unwrap(),
    ]
}

fn ciphers(suite: Suite) -> (Sealer, Opener) {
    let (encryption, integrity) = (vec![3; suite.encryption_key_len()], vec![4; suite.integrity_key_len()]);
    (Sealer::new(suite, &encryption, &integrity).unwrap(), Opener::new(suite, &encryption, &integrity).unwrap())
}

fn initial_contact() -> Payload {
    Payload::Notify(Notify::new(notify::INITIAL_CONTACT, vec![]))
}

/// Messages computed with OpenSSL's AES and Python's HMAC: CBC with foreign padding (09 08 ..), and GCM.
#[test]
fn foreign_protected_messages() {
    let cbc = hex("111111111111111122222222222222222e202508000000050000005029000034a0a1a2a3a4a5a6a7a8a9aaabacadaeafad1fc79ffc23187b\
                   a20929ca985a2329e12a440f76142bb33383b23346ba0554");
    let gcm = hex("111111111111111122222222222222222e202508000000050000004129000025a0a1a2a3a4a5a6a7010b0ee4ea6636e39d247caf2867ef48\
                   9e25073cfa4333894d");
    let [cbc_suite, gcm_suite, ..] = suites();
    let count = |from: u8, len: u8| (from..from + len).collect::<Vec<u8>>();
    let cbc_opener = Opener::new(cbc_suite, &count(0, 16), &count(32, 32)).unwrap();
    let gcm_opener = Opener::new(gcm_suite, &[count(0, 32), count(0xf0, 4)].concat(), &[]).unwrap();
    for (bytes, opener) in [(cbc, cbc_opener), (gcm, gcm_opener)] {
        let Ok(Opened::Message(payloads)) = unprotect(&bytes, &opener) else { panic!("refused") };
        assert_eq!(payloads.iter().cloned().collect::<Vec<_>>(), [initial_contact()]);
    }
}

/// The same notify in two SKF fragments, AES-GCM, computed like the above.
#[test]
fn foreign_fragments() {
    let bytes = [
        "111111111111111122222222222222223520250800000005000000402900002400010002b1b1b1b1b1b1b1b17662c92816e5dc3d468e7ae5e5f963edcd6cf223",
        "111111111111111122222222222222223520250800000005000000420000002600020002b2b2b2b2b2b2b2b2b180819c027f0edc0aa2dc89f7298cd7961dce24157b",
    ];
    let key: Vec<u8> = (0..32).chain(0xf0..0xf4).collect();
    let opener = Opener::new(suites()[1], &key, &[]).unwrap();
    let mut reassembly = Reassembly::default();
    let mut insert = |text| {
        let Ok(Opened::Fragment(fragment)) = unprotect(&hex(text), &opener) else { panic!("refused") };
        reassembly.insert(fragment).unwrap()
    };
    assert_eq!(insert(bytes[1]), None);
    assert_eq!(insert(bytes[0]).unwrap().iter().cloned().collect::<Vec<_>>(), [initial_contact()]);
}

#[test]
fn an_empty_message_is_protected_too() {
    for suite in suites() {
        let (sealer, opener) = ciphers(suite);
        let bytes = protect(&header(Exchange::Informational), &[], &sealer, 1);
        assert_eq!(unprotect(&bytes, &opener), Ok(Opened::Message(Payloads::default())), "{suite:?}");
    }
}

#[test]
fn every_damage_to_a_protected_message_is_noticed() {
    for suite in suites() {
        let (sealer, opener) = ciphers(suite);
        let bytes = protect(&header(Exchange::Informational), &[initial_contact()], &sealer, 1);
        assert!(unprotect(&bytes, &opener).is_ok());
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            let error = unprotect(&damaged, &opener).expect_err("damaged");
            assert!(!matches!(error, OpenError::Authentic(_)), "{suite:?} byte {index}: {error}");
        }
        for len in 0..bytes.len() {
            let mut short = bytes[..len].to_vec();
            if len >= HEADER_LEN + 4 {
                short[24..28].copy_from_slice(&(len as u32).to_be_bytes());
                short[30..32].copy_from_slice(&((len - HEADER_LEN) as u16).to_be_bytes());
            }
            let error = unprotect(&short, &opener).expect_err("cut short");
            assert!(matches!(error, OpenError::Forged | OpenError::Unverified(_)), "{suite:?} {len}: {error}");
        }
    }
}

/// A protected message with arbitrary content and pad length.
fn sealed(suite: Suite, first: u8, plaintext: &[u8]) -> Vec<u8> {
    let (sealer, _) = ciphers(suite);
    let length = 4 + suite.iv_len() + plaintext.len() + suite.icv_len();
    let mut clear = Vec::new();
    header(Exchange::Informational).write(&mut clear, kind::SK, HEADER_LEN + length);
    clear.extend_from_slice(&[first, 0, (length >> 8) as u8, length as u8]);
    let (mut iv, mut body, mut icv) = (vec![0; suite.iv_len()], plaintext.to_vec(), vec![0; suite.icv_len()]);
    sealer.seal(9, &clear, &mut iv, &mut body, &mut icv, &[]);
    [clear, iv, body, icv].concat()
}

#[test]
fn authentic_but_malformed_is_told_from_forged() {
    let [cbc, gcm, ..] = suites();
    let open = |suite, first, plaintext: &[u8]| unprotect(&sealed(suite, first, plaintext), &ciphers(suite).1).unwrap_err();
    let reason = |error| match error {
        OpenError::Authentic(ParseError::Malformed(malformed)) => malformed.reason,
        other => panic!("{other}"),
    };
    assert_eq!(reason(open(cbc, 0, &[16; 16])), "padding longer than the content");
    assert_eq!(reason(open(gcm, 0, &[])), "no pad length");
    assert_eq!(reason(open(gcm, kind::NONCE, &[0, 0, 0, 8, 1, 2, 3, 4, 0])), "a nonce has 16 to 256 bytes");
    assert_eq!(reason(open(gcm, 0, &[1, 2, 3, 0])), "bytes behind the last payload");
    assert_eq!(reason(open(gcm, kind::SK, &[0, 0, 0, 4, 0])), "an encrypted payload inside another");
    assert_eq!(open(gcm, 99, &[0, 0x80, 0, 4, 0]), OpenError::Authentic(ParseError::UnsupportedCritical(99)));
    // All 256 pad lengths may be used, whatever the block.
    assert!(unprotect(&sealed(cbc, 0, &[255; 256]), &ciphers(cbc).1).is_ok());
}

#[test]
fn an_unprotected_message_is_not_opened() {
    let (_, opener) = ciphers(suites()[1]);
    assert_eq!(unprotect(&windows("aovpn_baseline"), &opener), Err(OpenError::NotProtected));
}

#[test]
fn clear_payloads_before_sk_are_authenticated_and_ignored() {
    let suite = suites()[1];
    let (sealer, opener) = ciphers(suite);
    let inner = [0, 0, 0, 8, 0, 0, 0x40, 0, 0];
    let sk_len = 4 + suite.iv_len() + inner.len() + suite.icv_len();
    let mut clear = Vec::new();
    header(Exchange::Informational).write(&mut clear, kind::VENDOR, HEADER_LEN + 6 + sk_len);
    clear.extend_from_slice(&[kind::SK, 0, 0, 6, 1, 2, kind::NOTIFY, 0, 0, sk_len as u8]);
    let (mut iv, mut body, mut icv) = (vec![0; 8], inner.to_vec(), vec![0; 16]);
    sealer.seal(9, &clear, &mut iv, &mut body, &mut icv, &[]);
    let mut bytes = [clear, iv, body, icv].concat();
    assert!(Message::parse(&bytes).unwrap().protected);
    let Ok(Opened::Message(payloads)) = unprotect(&bytes, &opener) else { panic!("refused") };
    assert_eq!(payloads.iter().count(), 1);
    bytes[HEADER_LEN + 4] ^= 1;
    assert_eq!(unprotect(&bytes, &opener), Err(OpenError::Forged));
}

fn large_message() -> Vec<Payload> {
    vec![
        Payload::IdInitiator(Identification::new(Identity::Ipv4(Ipv4Addr::new(10, 0, 0, 1)))),
        Payload::CertificateRequest(CertificateRequest::x509((0..160).map(|index| [index; 20]))),
        initial_contact(),
    ]
}

fn fragments(max_message: usize) -> (Vec<Vec<u8>>, Vec<Fragment>) {
    let (sealer, opener) = ciphers(suites()[0]);
    let mut counter = 7;
    let datagrams = protect_fragments(&header(Exchange::IkeAuth), &large_message(), &sealer, &mut counter, max_message);
    assert_eq!(counter, 7 + datagrams.len() as u64);
    let opened = datagrams.iter().map(|datagram| match unprotect(datagram, &opener) {
        Ok(Opened::Fragment(fragment)) => fragment,
        other => panic!("{other:?}"),
    });
    let opened = opened.collect();
    (datagrams, opened)
}

#[test]
fn fragments_in_any_order_with_duplicates() {
    for max_message in [0, 576, 1280] {
        let (datagrams, mut parts) = fragments(max_message);
        assert!(datagrams.iter().all(|datagram| datagram.len() <= max_message.max(256)));
        parts.reverse();
        let mut reassembly = Reassembly::default();
        let last = parts.pop().unwrap();
        for part in parts.iter().chain(&parts) {
            assert_eq!(reassembly.insert(part.clone()), Ok(None));
        }
        let payloads = reassembly.insert(last).unwrap().expect("complete");
        assert_eq!(payloads.iter().cloned().collect::<Vec<_>>(), large_message());
    }
}

#[test]
fn what_fits_is_not_fragmented() {
    let (sealer, opener) = ciphers(suites()[0]);
    let datagrams = protect_fragments(&header(Exchange::IkeAuth), &large_message(), &sealer, &mut 0, 4000);
    assert_eq!(datagrams.len(), 1);
    assert!(matches!(unprotect(&datagrams[0], &opener), Ok(Opened::Message(_))));
}

#[test]
fn a_larger_total_starts_anew_and_a_smaller_one_is_ignored() {
    let (large, small) = (fragments(1280).1, fragments(576).1);
    let mut reassembly = Reassembly::default();
    assert_eq!(reassembly.insert(large[0].clone()), Ok(None));
    for part in &small[..small.len() - 1] {
        assert_eq!(reassembly.insert(part.clone()), Ok(None));
        let Fragment { number, total, .. } = large[1];
        assert_eq!(reassembly.insert(large[1].clone()), Err(FragmentError::Unfit { number, total }));
    }
    assert!(reassembly.insert(small.last().unwrap().clone()).unwrap().is_some());
}

#[test]
fn unfit_and_oversized_fragments() {
    let fragment = |number, total, len| Fragment { number, total, first: 0, data: vec![0; len] };
    let mut reassembly = Reassembly::default();
    for (number, total) in [(0, 0), (0, 3), (4, 3)] {
        assert_eq!(reassembly.insert(fragment(number, total, 1)), Err(FragmentError::Unfit { number, total }));
    }
    assert_eq!(reassembly.insert(fragment(1, 129, 1)), Err(FragmentError::TooLarge));
    assert_eq!(reassembly.insert(fragment(1, 3, 40_000)), Ok(None));
    assert_eq!(reassembly.insert(fragment(2, 3, 40_000)), Err(FragmentError::TooLarge));
    assert_eq!(reassembly.insert(fragment(1, 2, 40_000)), Ok(None), "empty again");
}

fn any_transform() -> impl Strategy<Value = Transform> {
    (1..=12u8, any::<u16>(), any::<Option<u16>>()).prop_map(|(kind, id, key_bits)| Transform { key_bits, ..Transform::new(kind, id) })
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let protocol = prop_oneof![(Just(1u8), Just(8usize)), (Just(1u8), Just(0usize)), (Just(3u8), Just(4usize))];
    (any::<u8>(), protocol, vec(any_transform(), 1..8)).prop_flat_map(|(number, (protocol, spi_len), transforms)| {
        vec(any::<u8>(), spi_len).prop_map(move |spi| Proposal { number, protocol, spi, transforms: transforms.clone() })
    })
}

fn any_selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = any::<[u32; 2]>().prop_map(|ends| ends.map(|bits| Ipv4Addr::from_bits(bits).into()));
    let v6 = any::<[u128; 2]>().prop_map(|ends| ends.map(|bits| Ipv6Addr::from_bits(bits).into()));
    let ends = prop_oneof![v4.boxed(), v6.boxed()];
    (any::<u8>(), any::<u16>(), any::<u16>(), ends).prop_map(|(protocol, start_port, end_port, ends): (_, _, _, [std::net::IpAddr; 2])| {
        TrafficSelector { protocol, start_port, end_port, start: ends[0].min(ends[1]), end: ends[0].max(ends[1]) }
    })
}

fn any_identity() -> impl Strategy<Value = Identity> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Identity::Ipv4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| Identity::Ipv6(Ipv6Addr::from_bits(bits))),
        ".{0,20}".prop_map(Identity::Fqdn),
        ".{0,20}".prop_map(Identity::Email),
        vec(any::<u8>(), 0..40).prop_map(Identity::DistinguishedName),
        vec(any::<u8>(), 0..40).prop_map(Identity::KeyId),
    ]
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let bytes = || vec(any::<u8>(), 0..40);
    prop_oneof![
        vec(any_proposal(), 1..4).prop_map(|proposals| Payload::Sa(SaPayload { proposals })),
        (any::<u16>(), vec(any::<u8>(), 1..40)).prop_map(|(group, public)| Payload::KeyExchange(KeyExchange { group, public })),
        any_identity().prop_map(|identity| Payload::IdInitiator(Identification::new(identity))),
        any_identity().prop_map(|identity| Payload::IdResponder(Identification::new(identity))),
        (any::<u8>(), bytes()).prop_map(|(encoding, data)| Payload::Certificate(CertificatePayload { encoding, data })),
        vec(any::<[u8; 20]>(), 0..4).prop_map(|hashes| Payload::CertificateRequest(CertificateRequest::x509(hashes))),
        (any::<u8>(), bytes()).prop_map(|(method, data)| Payload::Auth(Auth { method, data })),
        vec(any::<u8>(), 16..257).prop_map(Payload::Nonce),
        (any::<u8>(), bytes(), any::<u16>(), bytes()).prop_map(|(protocol, spi, kind, data)| Payload::Notify(Notify {
            protocol,
            spi,
            kind,
            data
        })),
        vec(any::<u32>(), 0..5).prop_map(|spis| Payload::Delete(Delete::Esp(spis))),
        Just(Payload::Delete(Delete::Ike)),
        bytes().prop_map(Payload::Vendor),
        vec(any_selector(), 0..5).prop_map(Payload::TsInitiator),
        vec(any_selector(), 0..5).prop_map(Payload::TsResponder),
        any_configuration().prop_map(Payload::Configuration),
        vec(any::<u8>(), 4..40).prop_map(Payload::Eap),
        (54..=255u8, bytes()).prop_map(|(kind, data)| Payload::Unknown { kind, critical: false, data }),
    ]
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let v4 = || any::<Option<u32>>().prop_map(|bits| bits.map(Ipv4Addr::from_bits));
    let attribute = prop_oneof![
        v4().prop_map(ConfigurationAttribute::Ip4Address),
        v4().prop_map(ConfigurationAttribute::Ip4Dns),
        (any::<Option<u128>>(), 0..=128u8)
            .prop_map(|(bits, prefix)| { ConfigurationAttribute::Ip6Address(bits.map(|bits| (Ipv6Addr::from_bits(bits), prefix))) }),
        (any::<Option<u32>>(), 0..=32u8)
            .prop_map(|(bits, prefix)| { ConfigurationAttribute::Ip4Subnet(bits.map(|bits| (Ipv4Addr::from_bits(bits), prefix))) }),
        (any::<Option<u128>>(), 0..=128u8)
            .prop_map(|(bits, prefix)| { ConfigurationAttribute::Ip6Subnet(bits.map(|bits| (Ipv6Addr::from_bits(bits), prefix))) }),
        vec(any::<u8>(), 0..9).prop_map(ConfigurationAttribute::DnsDomain),
        any::<Option<u128>>().prop_map(|bits| ConfigurationAttribute::Ip6Dns(bits.map(Ipv6Addr::from_bits))),
        (100..1000u16, vec(any::<u8>(), 0..9)).prop_map(|(kind, value)| ConfigurationAttribute::Other { kind, value }),
    ];
    let kinds = prop_oneof![Just(ConfigurationKind::Request), Just(ConfigurationKind::Reply), Just(ConfigurationKind::Other(9))];
    (kinds, vec(attribute, 0..6)).prop_map(|(kind, attributes)| Configuration { kind, attributes })
}

proptest! {
    #![proptest_config(property_config())]

    #[test]
    fn a_payload_survives_the_wire(payload in any_payload()) {
        let bytes = encode(&header(Exchange::IkeAuth), std::slice::from_ref(&payload));
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.header, header(Exchange::IkeAuth));
        prop_assert_eq!(message.payloads.iter().collect::<Vec<_>>(), [&payload]);
    }

    #[test]
    fn a_message_survives_protection(payloads in vec(any_payload(), 0..4), suite in 0..4usize, counter in any::<u64>()) {
        let (sealer, opener) = ciphers(suites()[suite]);
        let inner = Payloads::parse(payloads.first().map_or(0, Payload::kind), &payloads::encode_chain(&payloads).1);
        let opened = unprotect(&protect(&header(Exchange::IkeAuth), &payloads, &sealer, counter), &opener);
        prop_assert_eq!(opened, inner.map(Opened::Message).map_err(OpenError::Authentic));
    }

    #[test]
    fn noise_is_no_reason_to_panic(bytes in vec(any::<u8>(), 0..200), first in any::<u8>()) {
        let _ = Message::parse(&bytes);
        let _ = Payloads::parse(first, &bytes);
    }

    #[test]
    fn damaged_messages_are_no_reason_to_panic(name in 0..WINDOWS.len(), damage in vec((28..380usize, any::<u8>()), 1..4)) {
        let mut bytes = windows(WINDOWS[name]);
        damage.into_iter().for_each(|(index, byte)| bytes[index] = byte);
        if let Ok(message) = Message::parse(&bytes) {
            let payloads: Vec<Payload> = message.payloads.iter().cloned().collect();
            let again = Message::parse(&encode(&message.header, &payloads)).unwrap();
            prop_assert_eq!(again.payloads.iter().count(), payloads.len());
        }
    }
}
