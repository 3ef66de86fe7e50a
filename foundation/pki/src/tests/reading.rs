use super::fixture::*;
use crate::{Certificate, CertificateError, Credential};
use crypto::hash::{HashAlgorithm, hash};
use crypto::sign::{KeyError, KeyKind, Scheme, verify};
use rcgen::string::{BmpString, Ia5String};
use rcgen::{CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair, OtherNameValue, SanType, SerialNumber};

fn rich() -> Certificate {
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xff, 0x01]));
    params.distinguished_name.push(DnType::OrganizationalUnitName, DnValue::BmpString(BmpString::try_from("Café, Süd").unwrap()));
    params.subject_alt_names.extend([
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::IpAddress("2001:db8::7".parse().unwrap()),
        SanType::Rfc822Name(Ia5String::try_from("pc1@example.test").unwrap()),
        SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], OtherNameValue::Utf8String("müller@example.test".into()))),
        SanType::OtherName((vec![1, 2, 3, 4], OtherNameValue::Utf8String("none of ours".into()))),
        SanType::DnsName(Ia5String::try_from("evil\nlevel=error").unwrap()),
    ]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2])];
    issue(&params, &root("Root"))
}

#[test]
fn every_field_is_read() {
    let certificate = rich();
    assert_eq!(certificate.subject, "OU=Café\\, Süd, CN=pc1.example.test, O=Example");
    assert_eq!(certificate.issuer, "CN=Root, O=Example");
    assert_eq!(certificate.serial, "0aff01");
    assert_eq!(certificate.common_name.as_deref(), Some("pc1.example.test"));
    assert_eq!(certificate.dns_names, ["pc1.example.test"]);
    assert_eq!(certificate.ip_addresses, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
    assert_eq!(certificate.emails, ["pc1@example.test"]);
    assert_eq!(certificate.upns, ["müller@example.test"]);
    assert_eq!(certificate.eku.as_deref(), Some(&["1.3.6.1.5.5.7.3.2".to_owned(), "1.3.6.1.5.5.8.2.2".to_owned()][..]));
    assert!(!certificate.is_ca);
    assert_eq!((certificate.not_before, certificate.not_after), (1_767_225_600, 1_798_761_600));
    assert_eq!(certificate.key_kind, Some(KeyKind::EcdsaP256));
    assert!(
        certificate.subject_der.starts_with(&[0x30])
            && certificate.der.windows(certificate.subject_der.len()).any(|w| w == certificate.subject_der)
    );
}

#[test]
fn an_authority_shows() {
    let root = read(root("Root").der());
    assert!(root.is_ca && root.is_self_issued());
    assert_eq!(root.eku, None);
    assert_eq!(root.spki_sha1().to_vec(), hash(HashAlgorithm::Sha1, &[&root.spki]));
}

#[test]
fn pem_variants() {
    let (root, other) = (root("Root"), root("Other"));
    let texts = [
        format!("{}{}", root.pem(), other.pem()),
        format!("\u{feff}{}{}", root.pem(), other.pem()),
        format!("{}{}", root.pem(), other.pem()).replace("\r\n", "\n"),
        format!("Bag Attributes\n{}\nsubject=CN = Other\n{}{}", root.pem(), KeyPair::generate().unwrap().serialize_pem(), other.pem()),
    ];
    for text in texts {
        let subjects: Vec<_> = Certificate::from_pem(text.as_bytes()).unwrap().into_iter().map(|c| c.subject).collect();
        assert_eq!(subjects, ["CN=Root, O=Example", "CN=Other, O=Example"], "{text}");
    }
    assert_eq!(Certificate::from_pem(root.der()).unwrap().len(), 1);
}

#[test]
fn damaged_texts_say_what_is_wrong() {
    let pem = root("Root").pem();
    let second_damaged = format!("{pem}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let cases = [
        (String::new(), "no certificate in the PEM text"),
        (KeyPair::generate().unwrap().serialize_pem(), "no certificate in the PEM text"),
        (second_damaged, "certificate 1 cannot be read: not an X.509 certificate in DER"),
        (pem.replace("-----END CERTIFICATE-----", ""), "certificate 0 cannot be read: the PEM section has no END line"),
        (pem.replace("MII", "M!I"), "certificate 0 cannot be read: the PEM section is not base64"),
    ];
    for (text, want) in cases {
        assert_eq!(Certificate::from_pem(text.as_bytes()).unwrap_err().to_string(), want);
    }
    let trailing = [root("Root").der().as_ref(), &[0, 0]].concat();
    assert!(Certificate::from_der(&trailing).unwrap_err().to_string().contains("2 bytes follow"));
}

#[test]
fn no_prefix_and_no_flipped_byte_panics() {
    let der = rich().der;
    for len in 0..der.len() {
        assert!(Certificate::from_der(&der[..len]).is_err(), "{len}");
    }
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x55;
        let _ = Certificate::from_der(&damaged);
    }
}

/// A damaged extension that decides about the certificate must not pass for an absent one.
#[test]
fn damaged_and_doubled_extensions_are_refused() {
    let root = root("Root");
    let with = |oid: &[u64], content: &[u8]| {
        let mut params = client_params();
        params.custom_extensions = vec![CustomExtension::from_oid_content(oid, content.to_vec())];
        params.signed_by(&KeyPair::generate().unwrap(), &root).unwrap().der().to_vec()
    };
    let mut without_eku = params("pc1", &[]);
    without_eku.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 37], vec![0x30, 0x05, 0x06])];
    let without_eku = without_eku.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let cases = [
        (without_eku.der().to_vec(), "extension 2.5.29.37 is malformed"),
        (with(&[2, 5, 29, 37], &[0x30, 0x06, 0x06, 0x04, 0x55, 0x1d, 0x25, 0x00]), "extension extended key usage occurs twice"),
        (with(&[2, 5, 29, 17], &[0x30, 0x03, 0x82, 0x01, 0x61]), "extension subject alternative name occurs twice"),
    ];
    for (der, want) in cases {
        let error = Certificate::from_der(&der).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    // One that decides nothing may be odd.
    assert!(Certificate::from_der(&with(&[2, 5, 29, 31], &[0x30, 0x05])).is_ok());
}

#[test]
fn a_credential_for_every_kind_of_key() {
    let issuer = root("Root");
    let cases = [
        (&rcgen::PKCS_RSA_SHA256, KeyKind::Rsa { bits: 2048 }, Scheme::RsaPkcs1(HashAlgorithm::Sha1)),
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcdsaP256, Scheme::EcdsaFixed(HashAlgorithm::Sha256)),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384, Scheme::EcdsaAsn1(HashAlgorithm::Sha384)),
        (&rcgen::PKCS_ECDSA_P521_SHA512, KeyKind::EcdsaP521, Scheme::EcdsaFixed(HashAlgorithm::Sha512)),
        (&rcgen::PKCS_ED25519, KeyKind::Ed25519, Scheme::Ed25519),
    ];
    for (algorithm, kind, scheme) in cases {
        let (chain, key) = credential_pem(&server_params(&["vpn.example.test"]), &issuer, algorithm);
        let credential = Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(credential.leaf().key_kind, Some(kind));
        assert_eq!(credential.chain.len(), 1, "the root is left out");
        let signature = credential.key.sign(scheme, b"text").unwrap();
        assert_eq!(verify(&credential.leaf().spki, scheme, b"text", &signature), Ok(()));
    }
}

#[test]
fn intermediates_stay_in_the_chain() {
    let root = root("Root");
    let issuing = subordinate(authority_params("Issuing"), &root);
    let key = KeyPair::generate().unwrap();
    let leaf = server_params(&["vpn.example.test"]).signed_by(&key, &issuing).unwrap();
    let chain = format!("{}{}{}", leaf.pem(), root.pem(), issuing.pem());
    let credential = Credential::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let subjects: Vec<_> = credential.chain.iter().map(|c| c.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=vpn.example.test, O=Example", "CN=Issuing, O=Example"]);
}

#[test]
fn key_and_chain_must_belong_together() {
    let issuer = root("Root");
    let (chain, key) = credential_pem(&server_params(&["vpn.example.test"]), &issuer, &rcgen::PKCS_ECDSA_P256_SHA256);
    let mismatch = |chain: &str, key: &str| Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(mismatch(&chain, &other_key), CertificateError::KeyMismatch { subject: "CN=vpn.example.test, O=Example".into() });
    let root_first = format!("{}{chain}", issuer.pem());
    assert_eq!(mismatch(&root_first, &key), CertificateError::KeyMismatch { subject: "CN=Root, O=Example".into() });
    assert_eq!(mismatch(&chain, &chain), CertificateError::Key(KeyError::NoKey));
    assert_eq!(mismatch(&key, &key), CertificateError::NoCertificate);
}
