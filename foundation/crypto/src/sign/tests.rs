use super::*;
use crate::testing::hex;
use HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};

const TEXT: &[u8] = b"evergate signs this";
const KEYS: [(&str, &[u8]); 9] = [
    ("rsa2048", include_bytes!("testdata/rsa2048-pkcs8.pem")),
    ("rsa2048", include_bytes!("testdata/rsa2048-pkcs1.pem")),
    ("p256", include_bytes!("testdata/p256-pkcs8.pem")),
    ("p256", include_bytes!("testdata/p256-sec1.pem")),
    ("p384", include_bytes!("testdata/p384-pkcs8.pem")),
    ("p384", include_bytes!("testdata/p384-sec1.pem")),
    ("p521", include_bytes!("testdata/p521-pkcs8.pem")),
    ("p521", include_bytes!("testdata/p521-sec1.pem")),
    ("ed25519", include_bytes!("testdata/ed25519-pkcs8.pem")),
];

fn key(name: &str) -> SigningKey {
    SigningKey::from_pem(KEYS.iter().find(|(key, _)| *key == name).unwrap().1).unwrap()
}

/// Lines of the vectors: key, scheme, bytes.
fn vectors() -> Vec<(&'static str, Scheme, Vec<u8>)> {
    rows().filter_map(|[key, scheme, hash, bytes]| Some((key, parse_scheme(scheme, hash)?, hex(bytes)))).collect()
}

fn spki(name: &str) -> Vec<u8> {
    hex(rows().find(|row| row[0] == name && row[1] == "spki").unwrap()[3])
}

fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let lines = include_str!("testdata/openssl.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect::<Vec<_>>().try_into().unwrap())
}

fn parse_scheme(scheme: &str, hash: &str) -> Option<Scheme> {
    let hash = match hash {
        "sha1" => Sha1,
        "sha384" => Sha384,
        "sha512" => Sha512,
        _ => Sha256,
    };
    match scheme {
        "pkcs1" => Some(Scheme::RsaPkcs1(hash)),
        "pss" => Some(Scheme::RsaPss(hash)),
        "asn1" => Some(Scheme::EcdsaAsn1(hash)),
        "eddsa" => Some(Scheme::Ed25519),
        _ => None,
    }
}

fn all_schemes() -> Vec<Scheme> {
    let with_hash: [fn(HashAlgorithm) -> Scheme; 4] = [Scheme::RsaPkcs1, Scheme::RsaPss, Scheme::EcdsaFixed, Scheme::EcdsaAsn1];
    let mut all: Vec<_> = with_hash.into_iter().flat_map(|scheme| [Sha1, Sha256, Sha384, Sha512].map(scheme)).collect();
    all.push(Scheme::Ed25519);
    all
}

#[test]
fn every_pem_form_gives_the_same_key() {
    for (name, pem) in KEYS {
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.public_spki(), spki(name), "{name}");
        assert_eq!(Some(key.kind()), spki_kind(&spki(name)), "{name}");
    }
    assert_eq!(key("rsa2048").kind(), KeyKind::Rsa { bits: 2048 });
    assert_eq!(key("p521").kind(), KeyKind::EcdsaP521);
    assert_eq!(key("ed25519").kind(), KeyKind::Ed25519);
    assert_eq!(spki_kind(&spki("rsa1024")), Some(KeyKind::Rsa { bits: 1024 }));
}

#[test]
fn pem_may_have_company() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = String::from_utf8(KEYS[3].1.to_vec()).unwrap();
    let texts = [
        format!("\u{feff}{pem}"),
        format!("Bag Attributes\n    friendlyName: gateway\n{certificate}{pem}"),
        pem.replace('\n', "\r\n"),
        format!("{pem}{certificate}"),
    ];
    for text in texts {
        assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap().kind(), KeyKind::EcdsaP256, "{text}");
    }
}

#[test]
fn refused_keys_say_why() {
    let pem = std::str::from_utf8(KEYS[0].1).unwrap();
    let short: String = pem.lines().enumerate().filter(|(index, _)| *index != 5).map(|(_, line)| format!("{line}\n")).collect();
    let cases: [(&[u8], &str); 9] = [
        (b"", "no private key in the PEM text"),
        (b"\x30\x82\x01\x00", "no private key in the PEM text"),
        (include_bytes!("testdata/p256-encrypted.pem"), "encrypted private keys are not accepted"),
        (include_bytes!("testdata/p256-legacy-encrypted.pem"), "encrypted private keys are not accepted"),
        (include_bytes!("testdata/rsa1024-pkcs8.pem"), "RSA of 1024 bits; 2048 to 8192 bits are accepted"),
        (include_bytes!("testdata/secp256k1-sec1.pem"), "EC key on another curve than P-256, P-384 or P-521"),
        (short.as_bytes(), "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nMIIE\n", "no END line"),
        (b"-----BEGIN PRIVATE KEY-----\n\xff\xff\n-----END PRIVATE KEY-----\n", "not base64"),
    ];
    for (pem, want) in cases {
        let error = SigningKey::from_pem(pem).unwrap_err().to_string();
        assert!(error.contains(want), "{error:?} instead of {want:?}");
    }
}

/// A key whose numbers do not belong together must not sign anything.
#[test]
fn an_inconsistent_rsa_key_is_refused() {
    let (_, der) = <(SectionKind, Vec<u8>)>::pem_slice_iter(KEYS[1].1).next().unwrap().unwrap();
    let mut damaged = 0;
    for at in (10..der.len() - 4).step_by(97) {
        let mut der = der.clone();
        der[at] ^= 4;
        damaged += usize::from(SigningKey::from_pkcs1(spki::pkcs1_kind(&der), &der).is_err());
    }
    assert_eq!(damaged, (10..der.len() - 4).step_by(97).count());
}

#[test]
fn verifies_what_openssl_signed() {
    for (name, scheme, signature) in vectors() {
        let spki = spki(name);
        let result = verify(&spki, scheme, TEXT, &signature);
        assert_eq!(result.is_ok(), name != "rsa1024", "{name} {scheme:?}");
        assert_eq!(verify(&spki, scheme, b"evergate signs that", &signature), Err(BadSignature));
        assert_eq!(verify(&spki, scheme, TEXT, &signature[1..]), Err(BadSignature));
        let mut damaged = signature.clone();
        damaged[signature.len() / 2] ^= 1;
        assert_eq!(verify(&spki, scheme, TEXT, &damaged), Err(BadSignature));
    }
    assert_eq!(vectors().len(), 18);
}

#[test]
fn deterministic_signatures_equal_openssls() {
    let deterministic = |scheme: &Scheme| matches!(scheme, Scheme::RsaPkcs1(_) | Scheme::Ed25519);
    let vectors: Vec<_> = vectors().into_iter().filter(|(name, scheme, _)| *name != "rsa1024" && deterministic(scheme)).collect();
    assert_eq!(vectors.len(), 5);
    for (name, scheme, signature) in vectors {
        assert_eq!(key(name).sign(scheme, TEXT).unwrap(), signature, "{name} {scheme:?}");
    }
}

/// Whatever a key signs with verifies, under no other scheme, and the rest is a mismatch.
#[test]
fn schemes_that_fit() {
    for (name, count) in [("rsa2048", 7), ("p256", 2), ("p384", 2), ("p521", 4), ("ed25519", 1)] {
        let (key, spki) = (key(name), spki(name));
        let mut signed = 0;
        for scheme in all_schemes() {
            match key.sign(scheme, TEXT) {
                Ok(signature) => {
                    signed += 1;
                    let verifying: Vec<_> = all_schemes().into_iter().filter(|s| verify(&spki, *s, TEXT, &signature).is_ok()).collect();
                    assert_eq!(verifying, [scheme], "{name}");
                }
                Err(mismatch) => assert_eq!(mismatch, SchemeMismatch { scheme, kind: key.kind() }),
            }
        }
        assert_eq!(signed, count, "{name}");
    }
}

/// The second provider knows P-256 and P-384; it takes the public key without its SubjectPublicKeyInfo.
#[test]
fn ring_verifies_what_we_sign() {
    let cases: [(&str, Scheme, &dyn ring::signature::VerificationAlgorithm, usize); 6] = [
        ("p256", Scheme::EcdsaFixed(Sha256), &ring::signature::ECDSA_P256_SHA256_FIXED, 65),
        ("p256", Scheme::EcdsaAsn1(Sha256), &ring::signature::ECDSA_P256_SHA256_ASN1, 65),
        ("p384", Scheme::EcdsaFixed(Sha384), &ring::signature::ECDSA_P384_SHA384_FIXED, 97),
        ("rsa2048", Scheme::RsaPkcs1(Sha1), &ring::signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, 270),
        ("rsa2048", Scheme::RsaPss(Sha256), &ring::signature::RSA_PSS_2048_8192_SHA256, 270),
        ("ed25519", Scheme::Ed25519, &ring::signature::ED25519, 32),
    ];
    for (name, scheme, algorithm, public_len) in cases {
        let signature = key(name).sign(scheme, TEXT).unwrap();
        let spki = spki(name);
        let public = &spki[spki.len() - public_len..];
        ring::signature::VerificationAlgorithm::verify(algorithm, public.into(), TEXT.into(), signature.as_slice().into())
            .unwrap_or_else(|_| panic!("{name} {scheme:?}"));
    }
    assert_eq!(key("p521").sign(Scheme::EcdsaFixed(Sha512), TEXT).unwrap().len(), 132);
}

/// RFC 4754 section 8.1: "abc" under ECDSA-256.
#[test]
fn rfc_4754_vector() {
    let public = "2442A5CC0ECD015FA3CA31DC8E2BBC70BF42D60CBCA20085E0822CB04235E970
                  6FC98BD7E50211A4A27102FA3549DF79EBCB4BF246B80945CDDFE7D509BBFD7D";
    let signature = "CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C
                     86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315";
    let p256 = spki("p256");
    let spki = [&p256[..p256.len() - 64], &hex(public)].concat();
    assert_eq!(verify(&spki, Scheme::EcdsaFixed(Sha256), b"abc", &hex(signature)), Ok(()));
    assert_eq!(verify(&spki, Scheme::EcdsaFixed(Sha256), b"abd", &hex(signature)), Err(BadSignature));
}

#[test]
fn damaged_public_keys_have_no_kind_or_verify_nothing() {
    for (name, scheme, signature) in vectors() {
        let spki = spki(name);
        for len in 0..spki.len() {
            assert_eq!(spki_kind(&spki[..len]), None, "{name} {len}");
        }
        let longer = [&spki[..], &[0]].concat();
        assert_eq!(spki_kind(&longer), None);
        assert_eq!(verify(&longer, scheme, TEXT, &signature), Err(BadSignature));
    }
    // secp256k1 and X25519 are none of ours.
    let mut other_curve = spki("p256");
    other_curve[22] ^= 1;
    assert_eq!(spki_kind(&other_curve), None);
    let mut x25519 = spki("ed25519");
    x25519[8] = 0x6e;
    assert_eq!(spki_kind(&x25519), None);
}

#[test]
fn keys_go_to_threads_and_show_nothing() {
    fn shared<T: Send + Sync>() {}
    shared::<SigningKey>();
    assert_eq!(format!("{:?}", key("p256")), "SigningKey { kind: EcdsaP256, .. }");
    let rsa = key("rsa2048");
    let expected = rsa.sign(Scheme::RsaPkcs1(Sha1), TEXT).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(rsa.sign(Scheme::RsaPkcs1(Sha1), TEXT).unwrap(), expected));
        }
    });
}
