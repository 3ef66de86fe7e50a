use super::*;
use crate::wire::testing::hex;
use crypto::sign::SigningKey;

const OCTETS: &[u8] = b"the octets to sign";

fn key(name: &str) -> SigningKey {
    let pem: &[u8] = match name {
        "rsa" => include_bytes!("testdata/rsa2048.pem"),
        "p256" => include_bytes!("testdata/p256.pem"),
        "p384" => include_bytes!("testdata/p384.pem"),
        "p521" => include_bytes!("testdata/p521.pem"),
        _ => include_bytes!("testdata/ed25519.pem"),
    };
    SigningKey::from_pem(pem).unwrap()
}

const KEYS: [&str; 5] = ["rsa", "p256", "p384", "p521", "ed25519"];
const MSK_AUTH: &str = "93d6b432e988c4c184f49457ef7ddfef938f1179de4120120d1cc523b368d33b";
const ALL_HASHES: &[u16] = &[1, 2, 3, 4, 5];

#[test]
fn octets_are_message_nonce_and_prf_of_the_identity() {
    let octets = signed_octets(Prf::HmacSha256, b"message", b"nonce", b"sk_p", &[2, 0, 0, 0, b'a']);
    let mac = Prf::HmacSha256.compute(b"sk_p", &[&[2, 0, 0, 0, b'a']]);
    assert_eq!(octets, [b"messagenonce", mac.as_slice()].concat());
}

/// HMAC-SHA-256(HMAC-SHA-256("secret", "Key Pad for IKEv2"), "octets"), computed with Python's hmac.
#[test]
fn auth_after_eap() {
    let auth = eap_auth(Prf::HmacSha256, b"secret", b"sk_p", b"octets");
    assert_eq!(auth, Auth { method: 2, data: hex(MSK_AUTH) });
    assert_eq!(eap_auth(Prf::HmacSha256, b"", b"secret", b"octets"), auth);
    assert_eq!(verify_eap_auth(&auth, Prf::HmacSha256, b"secret", b"sk_p", b"octets"), Ok(()));
    assert_eq!(verify_eap_auth(&auth, Prf::HmacSha256, b"other", b"sk_p", b"octets"), Err(AuthError::BadSharedKey));
    assert_eq!(verify_eap_auth(&auth, Prf::HmacSha256, b"secret", b"sk_p", b"0ctets"), Err(AuthError::BadSharedKey));
    let short = Auth { data: auth.data[..31].to_vec(), ..auth.clone() };
    assert_eq!(verify_eap_auth(&short, Prf::HmacSha256, b"secret", b"sk_p", b"octets"), Err(AuthError::BadSharedKey));
    let signed = Auth { method: 1, ..auth };
    assert_eq!(verify_eap_auth(&signed, Prf::HmacSha256, b"secret", b"sk_p", b"octets"), Err(AuthError::Method(1)));
}

#[test]
fn schemes_without_announced_hashes_are_those_of_windows() {
    let text = |name| choose_scheme(key(name).kind(), None).map(|choice| choice.to_string());
    assert_eq!(text("rsa").unwrap(), "1 (RSA PKCS#1 v1.5, SHA-1)");
    assert_eq!(text("p256").unwrap(), "9 (ECDSA, SHA-256)");
    assert_eq!(text("p384").unwrap(), "10 (ECDSA, SHA-384)");
    assert_eq!(text("p521").unwrap(), "11 (ECDSA, SHA-512)");
    assert_eq!(text("ed25519"), Err(AuthError::NoScheme(KeyKind::Ed25519)));
    // SHA-1 alone is no reason for method 14.
    assert_eq!(choose_scheme(key("rsa").kind(), Some(&[1])).unwrap().method, 1);
    assert_eq!(choose_scheme(key("p384").kind(), Some(&[2, 99])).unwrap().method, 10);
}

#[test]
fn schemes_with_announced_hashes() {
    let text = |name, hashes| choose_scheme(key(name).kind(), Some(hashes)).unwrap().to_string();
    assert_eq!(text("rsa", ALL_HASHES), "14 (RSA PKCS#1 v1.5, SHA-256)");
    assert_eq!(text("rsa", &[4, 3]), "14 (RSA PKCS#1 v1.5, SHA-384)");
    assert_eq!(text("p256", ALL_HASHES), "14 (ECDSA, SHA-256)");
    assert_eq!(text("p521", ALL_HASHES), "14 (ECDSA, SHA-512)");
    assert_eq!(text("ed25519", ALL_HASHES), "14 (Ed25519)");
}

#[test]
fn what_we_sign_verifies_and_nothing_else() {
    for name in KEYS {
        let key = key(name);
        for hashes in [None, Some(ALL_HASHES)] {
            let Ok(choice) = choose_scheme(key.kind(), hashes) else { continue };
            let auth = choice.payload(&key.sign(choice.scheme, OCTETS).unwrap());
            assert_eq!(verify_auth(&auth, &key.public_spki(), OCTETS), Ok(choice), "{name}");
            let bad = AuthError::BadSignature(choice.to_string());
            assert_eq!(verify_auth(&auth, &key.public_spki(), b"other octets"), Err(bad.clone()), "{name}");
            let mut damaged = auth.clone();
            *damaged.data.last_mut().unwrap() ^= 1;
            assert_eq!(verify_auth(&damaged, &key.public_spki(), OCTETS), Err(bad), "{name}");
        }
    }
}

#[test]
fn pss_is_answered_with_pss_and_nothing_else_is() {
    let choice = |method, scheme| AuthChoice { method, scheme };
    let pkcs1 = choice(14, Scheme::RsaPkcs1(HashAlgorithm::Sha256));
    let pss = choice(14, Scheme::RsaPss(HashAlgorithm::Sha512));
    assert_eq!(pkcs1.answering(pss), choice(14, Scheme::RsaPss(HashAlgorithm::Sha256)));
    assert_eq!(pkcs1.answering(pkcs1), pkcs1);
    let windows = choice(1, Scheme::RsaPkcs1(HashAlgorithm::Sha1));
    assert_eq!(windows.answering(pss), windows);
    let ecdsa = choice(14, Scheme::EcdsaAsn1(HashAlgorithm::Sha256));
    assert_eq!(ecdsa.answering(pss), ecdsa);
}

#[test]
fn pss_of_a_peer_verifies() {
    let key = key("rsa");
    for hash in SHA2 {
        let choice = AuthChoice { method: auth_method::DIGITAL_SIGNATURE, scheme: Scheme::RsaPss(hash) };
        let auth = choice.payload(&key.sign(choice.scheme, OCTETS).unwrap());
        assert_eq!(verify_auth(&auth, &key.public_spki(), OCTETS), Ok(choice));
    }
}

#[test]
fn the_method_must_fit_the_key() {
    let spki = key("p256").public_spki();
    for method in [1, 10, 11] {
        let auth = Auth { method, data: vec![0; 64] };
        assert_eq!(verify_auth(&auth, &spki, OCTETS), Err(AuthError::KeyMismatch { method, key: KeyKind::EcdsaP256 }));
    }
    let choice = AuthChoice { method: 14, scheme: Scheme::RsaPss(HashAlgorithm::Sha256) };
    let error = verify_auth(&choice.payload(&[0; 256]), &spki, OCTETS);
    assert_eq!(error, Err(AuthError::KeyMismatch { method: 14, key: KeyKind::EcdsaP256 }));
    assert_eq!(verify_auth(&Auth { method: 2, data: vec![] }, &spki, OCTETS), Err(AuthError::Method(2)));
    assert_eq!(verify_auth(&Auth { method: 9, data: vec![] }, b"no key", OCTETS), Err(AuthError::UnknownKey));
}

/// AlgorithmIdentifiers as OpenSSL writes them into certificates.
const IDENTIFIERS: [(&str, Scheme); 10] = [
    ("300d06092a864886f70d01010b0500", Scheme::RsaPkcs1(HashAlgorithm::Sha256)),
    ("300d06092a864886f70d01010c0500", Scheme::RsaPkcs1(HashAlgorithm::Sha384)),
    ("300d06092a864886f70d01010d0500", Scheme::RsaPkcs1(HashAlgorithm::Sha512)),
    (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500\
         a203020120",
        Scheme::RsaPss(HashAlgorithm::Sha256),
    ),
    (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500\
         a203020130",
        Scheme::RsaPss(HashAlgorithm::Sha384),
    ),
    (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402030500a11c301a06092a864886f70d010108300d06096086480165030402030500\
         a203020140",
        Scheme::RsaPss(HashAlgorithm::Sha512),
    ),
    ("300a06082a8648ce3d040302", Scheme::EcdsaAsn1(HashAlgorithm::Sha256)),
    ("300a06082a8648ce3d040303", Scheme::EcdsaAsn1(HashAlgorithm::Sha384)),
    ("300a06082a8648ce3d040304", Scheme::EcdsaAsn1(HashAlgorithm::Sha512)),
    ("300506032b6570", Scheme::Ed25519),
];

#[test]
fn algorithm_identifiers() {
    for (der, scheme) in IDENTIFIERS {
        assert_eq!(algorithm::identifier(scheme), hex(der), "{scheme:?}");
        assert_eq!(algorithm::scheme(&hex(der)), Some(scheme));
    }
    // With the default trailer field spelled out, as in RFC 7427 appendix A.4.3.
    let trailer = "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108\
                   300d06096086480165030402010500a203020120a303020101";
    assert_eq!(algorithm::scheme(&hex(trailer)), Some(Scheme::RsaPss(HashAlgorithm::Sha256)));
    // Without NULL.
    assert_eq!(algorithm::scheme(&hex("300b06092a864886f70d01010b")), Some(Scheme::RsaPkcs1(HashAlgorithm::Sha256)));
}

#[test]
fn algorithm_identifiers_that_are_refused() {
    let pss = IDENTIFIERS[3].0;
    let refused = [
        // SHA-1 with RSA, with ECDSA; RSASSA-PSS without parameters; a short salt; another hash in MGF1.
        "300d06092a864886f70d0101050500".to_string(),
        "300906072a8648ce3d0401".to_string(),
        "300d06092a864886f70d01010a3000".to_string(),
        pss.replace("a203020120", "a203020114"),
        pss.replacen("04020105", "04020205", 1),
        String::new(),
    ];
    let spki = key("rsa").public_spki();
    for der in refused {
        let identifier = hex(&der);
        let data = [&[identifier.len() as u8], identifier.as_slice(), &[0; 256]].concat();
        let error = verify_auth(&Auth { method: 14, data }, &spki, OCTETS).unwrap_err();
        assert_eq!(error, AuthError::Algorithm(format!("0x{der}")));
    }
}

#[test]
fn malformed_digital_signatures() {
    let spki = key("rsa").public_spki();
    let error = |data: &[u8]| verify_auth(&Auth { method: 14, data: data.to_vec() }, &spki, OCTETS).unwrap_err();
    assert_eq!(error(&[]), AuthError::Malformed("no AlgorithmIdentifier"));
    assert_eq!(error(&[13, 1, 2]), AuthError::Malformed("AlgorithmIdentifier runs over the end"));
    let no_signature = [&[15], hex(IDENTIFIERS[0].0).as_slice()].concat();
    assert!(matches!(error(&no_signature), AuthError::BadSignature(_)));
}

#[test]
fn announced_hashes() {
    let notify = signature_hashes_notify();
    assert_eq!((notify.kind, notify.data.as_slice()), (16431, &[0, 2, 0, 3, 0, 4, 0, 5][..]));
    assert_eq!(signature_hashes(&notify), [2, 3, 4, 5]);
    assert_eq!(signature_hashes(&Notify::new(16431, vec![0, 2, 1, 1, 9])), [2, 257]);
}
