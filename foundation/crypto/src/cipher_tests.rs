use super::*;
use crate::testing::hex;
use crate::{Random, SeededRandom};

fn all_suites() -> Vec<Suite> {
    let aead = [Encryption::AesGcm128, Encryption::AesGcm256, Encryption::ChaCha20Poly1305].map(|e| Suite::new(e, None).unwrap());
    let integrities = [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256];
    let cbc = [Encryption::AesCbc128, Encryption::AesCbc256].into_iter().flat_map(|e| integrities.map(|i| Suite::new(e, Some(i)).unwrap()));
    aead.into_iter().chain(cbc).collect()
}

struct Keys {
    suite: Suite,
    encryption: Vec<u8>,
    integrity: Vec<u8>,
}

impl Keys {
    fn seeded(suite: Suite, seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let (mut encryption, mut integrity) = (vec![0; suite.encryption_key_len()], vec![0; suite.integrity_key_len()]);
        random.fill(&mut encryption);
        random.fill(&mut integrity);
        Self { suite, encryption, integrity }
    }
    fn sealer(&self) -> Sealer {
        Sealer::new(self.suite, &self.encryption, &self.integrity).unwrap()
    }
    fn opener(&self) -> Opener {
        Opener::new(self.suite, &self.encryption, &self.integrity).unwrap()
    }
}

#[derive(Clone)]
struct Packet {
    aad: Vec<u8>,
    iv: Vec<u8>,
    body: Vec<u8>,
    icv: Vec<u8>,
    tail: Vec<u8>,
}

impl Packet {
    fn seal(sealer: &Sealer, counter: u64, aad: &[u8], body: &[u8], tail: &[u8]) -> Self {
        let suite = sealer.suite();
        let (mut iv, mut body, mut icv) = (vec![0; suite.iv_len()], body.to_vec(), vec![0; suite.icv_len()]);
        sealer.seal(counter, aad, &mut iv, &mut body, &mut icv, tail);
        Self { aad: aad.to_vec(), iv, body, icv, tail: tail.to_vec() }
    }
    fn open(&self, opener: &Opener) -> Result<Vec<u8>, Forged> {
        let mut body = self.body.clone();
        opener.open(&self.aad, &self.iv, &mut body, &self.icv, &self.tail)?;
        Ok(body)
    }
}

fn ring_hmac(integrity: Integrity, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let (algorithm, len) = match integrity {
        Integrity::HmacSha1_96 => (ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 12),
        Integrity::HmacSha256_128 => (ring::hmac::HMAC_SHA256, 16),
        Integrity::HmacSha384_192 => (ring::hmac::HMAC_SHA384, 24),
        Integrity::HmacSha512_256 => (ring::hmac::HMAC_SHA512, 32),
    };
    ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), &parts.concat()).as_ref()[..len].to_vec()
}

#[test]
fn halves_go_to_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Sealer>();
    shared::<Opener>();
}

#[test]
fn suites_that_fit() {
    assert_eq!(Suite::new(Encryption::AesGcm128, Some(Integrity::HmacSha1_96)), None);
    assert_eq!(Suite::new(Encryption::AesCbc256, None), None);
    let lens: Vec<_> =
        all_suites().into_iter().map(|s| (s.encryption_key_len(), s.integrity_key_len(), s.iv_len(), s.icv_len(), s.block_len())).collect();
    assert_eq!(lens[..4], [(20, 0, 8, 16, 1), (36, 0, 8, 16, 1), (36, 0, 8, 16, 1), (16, 20, 16, 12, 16)]);
    assert_eq!(lens[8..], [(32, 32, 16, 16, 16), (32, 48, 16, 24, 16), (32, 64, 16, 32, 16)]);
}

#[test]
fn key_lengths_are_checked() {
    for suite in all_suites() {
        let keys = Keys::seeded(suite, 1);
        let want = BadKeyLength { got: keys.encryption.len() - 1, want: keys.encryption.len() };
        assert_eq!(Sealer::new(suite, &keys.encryption[1..], &keys.integrity).unwrap_err(), want);
        assert_eq!(Opener::new(suite, &keys.encryption[1..], &keys.integrity).unwrap_err(), want);
        let long = [keys.integrity.as_slice(), &[0]].concat();
        let want = BadKeyLength { got: long.len(), want: keys.integrity.len() };
        assert_eq!(Sealer::new(suite, &keys.encryption, &long).unwrap_err(), want);
        assert_eq!(Opener::new(suite, &keys.encryption, &long).unwrap_err(), want);
    }
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 4 and 16, whose IV falls into RFC 4106's salt and counter.
#[test]
fn gcm_published_vectors() {
    let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let key = hex("feffe9928665731c6d6a8f9467308308");
    let salt = hex("cafebabe");
    let cases = [
        (
            Encryption::AesGcm128,
            [&key[..], &salt].concat(),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            Encryption::AesGcm256,
            [&key[..], &key, &salt].concat(),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ];
    for (encryption, encryption_key, cipher_text, tag) in cases {
        let keys = Keys { suite: Suite::new(encryption, None).unwrap(), encryption: encryption_key, integrity: Vec::new() };
        let packet = Packet::seal(&keys.sealer(), 0xfacedbaddecaf888, &aad, &plain, &[]);
        assert_eq!(packet.iv, hex("facedbaddecaf888"));
        assert_eq!(packet.body, hex(cipher_text));
        assert_eq!(packet.icv, hex(tag));
        assert_eq!(packet.open(&keys.opener()).unwrap(), plain);
    }
}

/// RFC 7634 appendix A: an ESP packet with SPI 0x01020304 and sequence number 5.
#[test]
fn chacha20_poly1305_esp_vector() {
    let plain = hex("45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
                     0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
                     2425262728292a2b2c2d2e2f303132333435363701020204");
    let keys =
        Keys { suite: Suite::new(Encryption::ChaCha20Poly1305, None).unwrap(), encryption: (0x80..=0xa3).collect(), integrity: Vec::new() };
    let packet = Packet::seal(&keys.sealer(), 0x1011121314151617, &hex("0102030400000005"), &plain, &[]);
    assert_eq!(
        packet.body,
        hex("24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
             14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
             cbec163fac469b502773f6fb94e664da9165b82829f641e0")
    );
    assert_eq!(packet.icv, hex("76aaa8266b7fb0f7b11b369907e1ad43"));
    assert_eq!(packet.open(&keys.opener()).unwrap(), plain);
}

/// RFC 3602 section 4 cases 1 and 2, NIST SP 800-38A F.2.5; the ICV comes from the second provider.
#[test]
fn cbc_published_vectors() {
    let cases = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            (0..32).collect(),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"),
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
        ),
    ];
    let integrity = Integrity::HmacSha1_96;
    for (key, iv, plain, cipher_text) in cases {
        let encryption = if key.len() == 32 { Encryption::AesCbc128 } else { Encryption::AesCbc256 };
        let keys = Keys { suite: Suite::new(encryption, Some(integrity)).unwrap(), encryption: hex(key), integrity: vec![0x0b; 20] };
        let (aad, iv, body, tail) = (b"aad".to_vec(), hex(iv), hex(cipher_text), b"high".to_vec());
        let icv = ring_hmac(integrity, &keys.integrity, &[&aad, &iv, &body, &tail]);
        assert_eq!(Packet { aad, iv, body, icv, tail }.open(&keys.opener()).unwrap(), plain);
    }
}

/// The IV is the encrypted counter block: E(0, 0..00) and E(0, 0..01) are published as H and E(K, Y0) of GCM test cases 1 and 13.
#[test]
fn cbc_iv_is_the_encrypted_counter() {
    let cases = [
        (Encryption::AesCbc128, 0, "66e94bd4ef8a2c3b884cfa59ca342b2e"),
        (Encryption::AesCbc128, 1, "58e2fccefa7e3061367f1d57a4e7455a"),
        (Encryption::AesCbc256, 0, "dc95c078a2408989ad48a21492842087"),
        (Encryption::AesCbc256, 1, "530f8afbc74536b9a963b4f1c4cb738b"),
    ];
    for (encryption, counter, iv) in cases {
        let suite = Suite::new(encryption, Some(Integrity::HmacSha256_128)).unwrap();
        let sealer = Sealer::new(suite, &vec![0; suite.encryption_key_len()], &[0; 32]).unwrap();
        assert_eq!(Packet::seal(&sealer, counter, &[], &[0; 16], &[]).iv, hex(iv));
    }
}

#[test]
fn aead_agrees_with_ring() {
    let algorithms = [&ring::aead::AES_128_GCM, &ring::aead::AES_256_GCM, &ring::aead::CHACHA20_POLY1305];
    for (suite, algorithm) in all_suites().into_iter().zip(algorithms) {
        let keys = Keys::seeded(suite, 7);
        let (key, salt) = keys.encryption.split_at(keys.encryption.len() - 4);
        let theirs = ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(algorithm, key).unwrap());
        for len in [0, 1, 15, 16, 17, 63, 64, 1400, 9000] {
            let mut plain = vec![0; len];
            SeededRandom::new(len as u64).fill(&mut plain);
            let ours = Packet::seal(&keys.sealer(), len as u64, b"spi and seq", &plain, &[]);
            let nonce: [u8; 12] = [salt, &(len as u64).to_be_bytes()].concat().try_into().unwrap();
            let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
            let mut body = plain.clone();
            let tag = theirs.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(b"spi and seq"), &mut body).unwrap();
            assert_eq!((ours.body, ours.icv), (body, tag.as_ref().to_vec()), "{suite:?} {len}");
        }
    }
}

#[test]
fn cbc_icv_agrees_with_ring() {
    for suite in all_suites().into_iter().skip(3) {
        let keys = Keys::seeded(suite, 9);
        let packet = Packet::seal(&keys.sealer(), 3, b"header", &[0x55; 48], b"tail");
        let parts: [&[u8]; 4] = [&packet.aad, &packet.iv, &packet.body, &packet.tail];
        assert_eq!(packet.icv, ring_hmac(suite.integrity().unwrap(), &keys.integrity, &parts), "{suite:?}");
    }
}

#[test]
fn what_is_sealed_opens() {
    for suite in all_suites() {
        let keys = Keys::seeded(suite, 11);
        let (sealer, opener) = (keys.sealer(), keys.opener());
        let tail: &[u8] = if suite.is_aead() { &[] } else { &[0, 0, 0, 9] };
        for counter in 0..40 {
            let mut plain = vec![0; counter as usize * suite.block_len()];
            SeededRandom::new(counter).fill(&mut plain);
            let packet = Packet::seal(&sealer, counter, b"header", &plain, tail);
            assert!(counter == 0 || packet.body != plain);
            assert_eq!(packet.open(&opener), Ok(plain), "{suite:?} {counter}");
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for suite in all_suites() {
        let keys = Keys::seeded(suite, 13);
        let tail: &[u8] = if suite.is_aead() { &[] } else { &[0, 0, 0, 9] };
        let packet = Packet::seal(&keys.sealer(), 5, b"header", &[1; 32], tail);
        let opener = keys.opener();
        let fields: [fn(&mut Packet) -> &mut Vec<u8>; 5] =
            [|p| &mut p.aad, |p| &mut p.iv, |p| &mut p.body, |p| &mut p.icv, |p| &mut p.tail];
        for field in fields {
            let bits = field(&mut packet.clone()).len() * 8;
            for bit in 0..bits {
                let mut forged = packet.clone();
                field(&mut forged)[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(forged.open(&opener), Err(Forged), "{suite:?} bit {bit}");
            }
        }
        let stranger = Keys::seeded(suite, 14).opener();
        assert_eq!(packet.open(&stranger), Err(Forged));
    }
}

#[test]
fn wrong_lengths_from_the_wire_are_forged() {
    for suite in all_suites() {
        let keys = Keys::seeded(suite, 15);
        let good = Packet::seal(&keys.sealer(), 5, b"header", &[1; 32], &[]);
        let opener = keys.opener();
        assert!(good.open(&opener).is_ok());
        let damages: [fn(&mut Packet); 7] = [
            |p| p.iv.truncate(7),
            |p| p.iv.push(0),
            |p| p.iv.clear(),
            |p| p.icv.truncate(11),
            |p| p.icv.clear(),
            |p| p.body.truncate(31),
            |p| p.tail.push(0),
        ];
        for (index, damage) in damages.iter().enumerate() {
            let mut packet = good.clone();
            damage(&mut packet);
            assert_eq!(packet.open(&opener), Err(Forged), "{suite:?} {index}");
        }
    }
}

#[test]
#[should_panic(expected = "whole blocks")]
fn cbc_refuses_to_seal_a_partial_block() {
    let suite = Suite::new(Encryption::AesCbc128, Some(Integrity::HmacSha256_128)).unwrap();
    Packet::seal(&Keys::seeded(suite, 1).sealer(), 1, &[], &[0; 17], &[]);
}

#[test]
#[should_panic(expected = "nothing after the ciphertext")]
fn an_aead_refuses_a_tail() {
    Packet::seal(&Keys::seeded(all_suites()[0], 1).sealer(), 1, &[], &[0; 17], &[0]);
}

#[test]
fn debug_shows_no_key() {
    let keys = Keys { suite: all_suites()[0], encryption: vec![0xab; 20], integrity: Vec::new() };
    let text = format!("{:?} {:?}", keys.sealer(), keys.opener());
    assert!(!text.contains("171") && !text.contains("ab, ab"), "{text}");
}
