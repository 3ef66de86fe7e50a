use crate::{InboundSa, OpenError, OutboundSa, Overhead, spi};
use crypto::cipher::{Encryption, Integrity, Opener, Sealer, Suite};
use proptest::prelude::*;

pub(crate) fn suites() -> Vec<Suite> {
    use Integrity::{HmacSha1_96, HmacSha256_128, HmacSha384_192, HmacSha512_256};
    let aeads = [Encryption::AesGcm128, Encryption::AesGcm256, Encryption::ChaCha20Poly1305].map(|aead| (aead, None));
    let macs = [HmacSha1_96, HmacSha256_128, HmacSha384_192, HmacSha512_256];
    let cbc = macs.iter().flat_map(|mac| [Encryption::AesCbc128, Encryption::AesCbc256].map(|cbc| (cbc, Some(*mac))));
    aeads.into_iter().chain(cbc).map(|(encryption, integrity)| Suite::new(encryption, integrity).unwrap()).collect()
}

fn pair(suite: Suite, extended: bool, window: u32) -> (OutboundSa, InboundSa) {
    let (encryption, integrity) = (vec![7; suite.encryption_key_len()], vec![9; suite.integrity_key_len()]);
    let sealer = Sealer::new(suite, &encryption, &integrity).unwrap();
    let opener = Opener::new(suite, &encryption, &integrity).unwrap();
    (OutboundSa::new(0x0102_0304, sealer, extended), InboundSa::new(0x0102_0304, opener, extended, window))
}

fn gcm() -> Suite {
    Suite::new(Encryption::AesGcm128, None).unwrap()
}

fn seal(sa: &OutboundSa, sequence: u64, payload: &[u8], next_header: u8) -> Vec<u8> {
    let overhead = sa.overhead();
    let mut packet = vec![0xaa; overhead.sealed_len(payload.len())];
    packet[overhead.header_len()..overhead.header_len() + payload.len()].copy_from_slice(payload);
    sa.seal(sequence, &mut packet, payload.len(), next_header);
    packet
}

fn send(sa: &OutboundSa, payload: &[u8]) -> Vec<u8> {
    seal(sa, sa.reserve(1).unwrap(), payload, 4)
}

fn open(sa: &InboundSa, packet: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut packet = packet.to_vec();
    sa.receive().open(&mut packet).map(|opened| packet[opened.payload].to_vec())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc_7634_appendix_a() {
    let key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3");
    let suite = Suite::new(Encryption::ChaCha20Poly1305, None).unwrap();
    let sa = InboundSa::new(0x0102_0304, Opener::new(suite, &key, &[]).unwrap(), false, 64);
    let packet = hex("01020304 00000005 1011121314151617 24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
        14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0
        76aaa8266b7fb0f7b11b369907e1ad43");
    let payload = hex("45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f10111213
        1415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637");
    assert_eq!(open(&sa, &packet), Ok(payload));
    assert_eq!(open(&sa, &packet), Err(OpenError::Replayed));
}

/// The AES-GCM-ESP cases of draft-mcgrew-gcm-test-01, of which RFC 4106 section 9 speaks. Their next header is 1, which a tunnel refuses
/// after it has opened the packet.
#[test]
fn aes_gcm_esp_test_cases() {
    struct Case {
        key: &'static str,
        extended: bool,
        before: u64,
        packet: &'static str,
        plain: &'static str,
    }
    let cases = [
        Case {
            key: "feffe9928665731c6d6a8f9467308308cafebabe",
            extended: false,
            before: 9,
            packet: "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
                3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
            plain: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009637962
                65726369747902646b00000100010001",
        },
        Case {
            key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74",
            extended: true,
            before: 0x156f_3126_dd0d_b99a,
            packet: "17405e67dd0db99b616e640169766563f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57f
                f4d3a31ce673119e451626c2415771e3b7eebca614c89b35",
            plain: "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f646d540001",
        },
    ];
    for case in cases {
        let (key, mut packet, plain) = (hex(case.key), hex(case.packet), hex(case.plain));
        let encryption = if key.len() == 20 { Encryption::AesGcm128 } else { Encryption::AesGcm256 };
        let opener = Opener::new(Suite::new(encryption, None).unwrap(), &key, &[]).unwrap();
        let sa = InboundSa::new(spi(&packet).unwrap(), opener, case.extended, 64);
        sa.skip_to(case.before);
        assert_eq!(sa.receive().open(&mut packet), Err(OpenError::UnsupportedNextHeader(1)));
        assert_eq!(packet[16..16 + plain.len()], plain);
    }
}

#[test]
fn every_suite_carries_every_length() {
    for suite in suites() {
        for extended in [false, true] {
            let (out, into) = pair(suite, extended, 64);
            for len in [0, 1, 2, 3, 13, 14, 15, 16, 17, 40, 1399, 1400, 1401] {
                let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
                let packet = send(&out, &payload);
                assert_eq!(spi(&packet), Some(0x0102_0304));
                assert_eq!(packet.len(), Overhead::of(suite).sealed_len(len));
                assert!(packet.len().is_multiple_of(4));
                assert_eq!(open(&into, &packet), Ok(payload), "{suite:?} {len}");
            }
        }
    }
}

#[test]
fn padding_counts_up_as_the_rfc_says() {
    let (out, _) = pair(gcm(), false, 64);
    let key = vec![7; gcm().encryption_key_len()];
    let packet = send(&out, &[0xbb; 1]);
    let mut body = packet[16..packet.len() - 16].to_vec();
    let opener = Opener::new(gcm(), &key, &[]).unwrap();
    opener.open(&packet[..8], &packet[8..16], &mut body, &packet[packet.len() - 16..], &[]).unwrap();
    assert_eq!(body, [0xbb, 1, 1, 4]);
}

#[test]
fn trailers_that_lie() {
    let suite = gcm();
    let key = vec![7; suite.encryption_key_len()];
    let sealer = Sealer::new(suite, &key, &[]).unwrap();
    let (_, into) = pair(suite, false, 64);
    let forge = |sequence: u32, body: &[u8]| {
        let mut packet = [0x0102_0304u32.to_be_bytes(), sequence.to_be_bytes()].concat();
        let (mut iv, mut icv, mut body) = ([0; 8], [0; 16], body.to_vec());
        sealer.seal(u64::from(sequence), &packet, &mut iv, &mut body, &mut icv, &[]);
        packet.extend([&iv[..], &body, &icv].concat());
        packet
    };
    assert_eq!(open(&into, &forge(1, &[1, 2, 3, 4])), Err(OpenError::BadPadding));
    assert_eq!(open(&into, &forge(2, &[1, 2, 2, 4])), Ok(vec![]));
    assert_eq!(open(&into, &forge(3, &[0, 0, 0, 59])), Err(OpenError::Dummy));
    assert_eq!(open(&into, &forge(4, &[0, 0, 0, 6])), Err(OpenError::UnsupportedNextHeader(6)));
    assert_eq!(open(&into, &forge(5, &[9, 9, 0, 41])), Ok(vec![9, 9]));
    // An authentic packet is spent even when its content is refused.
    assert_eq!(open(&into, &forge(1, &[1, 2, 3, 4])), Err(OpenError::Replayed));
}

#[test]
fn tampering_anywhere_is_refused_and_does_not_move_the_window() {
    for suite in suites() {
        for extended in [false, true] {
            let (out, into) = pair(suite, extended, 64);
            let packet = send(&out, b"inner packet");
            for index in 4..packet.len() {
                let mut damaged = packet.clone();
                damaged[index] ^= 0x40;
                assert!(matches!(open(&into, &damaged), Err(OpenError::Forged)), "{suite:?} {index}");
            }
            for len in 0..packet.len() {
                let result = open(&into, &packet[..len]);
                assert!(matches!(result, Err(OpenError::Truncated | OpenError::Forged)), "{suite:?} {len}");
            }
            assert_eq!(open(&into, &packet), Ok(b"inner packet".to_vec()));
        }
    }
}

#[test]
fn sequence_numbers_end_without_esn() {
    let (out, _) = pair(gcm(), false, 64);
    assert_eq!((out.reserve(3), out.reserve(1)), (Ok(1), Ok(4)));
    out.skip_to(u64::from(u32::MAX) - 2);
    assert_eq!(out.reserve(2), Ok(u64::from(u32::MAX) - 1));
    for _ in 0..3 {
        assert!(out.reserve(1).is_err());
        assert_eq!(out.sequence(), u64::from(u32::MAX));
    }
    let (out, _) = pair(gcm(), false, 64);
    out.skip_to(u64::from(u32::MAX) - 2);
    assert!(out.reserve(3).is_err());
    assert!(out.reserve(1).is_err(), "nothing is given after a refusal");
}

#[test]
fn esn_wraps_the_low_half_around() {
    for suite in suites() {
        let (out, into) = pair(suite, true, 64);
        let start = (1u64 << 32) - 40;
        out.skip_to(start);
        into.skip_to(start);
        let packets: Vec<_> = (0..80).map(|_| send(&out, b"x")).collect();
        // The last packets before the wrap arrive late.
        for packet in packets[..30].iter().chain(&packets[41..70]).chain(&packets[30..41]).chain(&packets[70..]) {
            assert_eq!(open(&into, packet), Ok(b"x".to_vec()), "{suite:?}");
        }
        assert_eq!(open(&into, &packets[50]), Err(OpenError::Replayed));
    }
}

#[test]
fn a_peer_without_esn_is_not_understood_with_it() {
    let (out, _) = pair(gcm(), false, 64);
    let (_, into) = pair(gcm(), true, 64);
    assert_eq!(open(&into, &send(&out, b"x")), Err(OpenError::Forged));
}

#[test]
fn threads_never_share_a_sequence_number() {
    let (out, _) = pair(gcm(), true, 64);
    let mut all: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..5u32)
            .map(|count| {
                scope.spawn({
                    let out = &out;
                    move || (0..500).map(|_| (out.reserve(count).unwrap(), count)).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).flat_map(|(first, count)| first..first + u64::from(count)).collect()
    });
    all.sort_unstable();
    assert_eq!(all, (1..=5000).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn garbage_never_panics(mut packet in prop::collection::vec(any::<u8>(), 0..200), suite in 0usize..11, extended: bool) {
        let (_, into) = pair(suites()[suite], extended, 64);
        prop_assert!(into.receive().open(&mut packet).is_err());
    }

    /// Lost, repeated and reordered packets: each is delivered at most once, and none that is new and within the window is refused.
    #[test]
    fn delivered_once(order in prop::collection::vec(0usize..200, 1..300)) {
        let (out, into) = pair(gcm(), false, 64);
        let packets: Vec<_> = (0..200).map(|_| send(&out, b"x")).collect();
        let (mut seen, mut top) = (vec![false; 200], 0);
        for index in order {
            let expected = !seen[index] && (index + 64 > top || top == 0);
            prop_assert_eq!(open(&into, &packets[index]).is_ok(), expected);
            seen[index] |= expected;
            top = top.max(if expected { index } else { 0 });
        }
    }
}
