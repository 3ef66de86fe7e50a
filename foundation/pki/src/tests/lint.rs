use super::fixture::*;
use crate::{Credential, Lint, Uses, lint_server, revocation_places};
use crypto::sign::KeyKind;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};

const NAME: &str = "vpn.example.test";

/// A credential with its intermediate, as it should be.
fn with_intermediate(params: &CertificateParams) -> Credential {
    credential(params, &subordinate(authority_params("Issuing"), &root("Root")))
}

fn lint(credential: &Credential, names: &[&str]) -> Vec<Lint> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    lint_server(credential, &names, IKEV2, NOW)
}

const IKEV2: Uses = Uses { ikev2: true, sstp: false };
const SSTP: Uses = Uses { ikev2: false, sstp: true };

/// Exactly one lint, of this weight, that says this.
fn assert_one(lints: &[Lint], fatal: bool, part: &str) {
    assert!(lints.len() == 1 && lints[0].fatal == fatal && lints[0].to_string().contains(part), "{lints:?} instead of {part:?}");
}

#[test]
fn a_good_certificate_passes() {
    assert_eq!(lint(&with_intermediate(&server_params(&[NAME])), &[NAME, "VPN.example.test"]), []);
}

#[test]
fn purpose() {
    let mut params = server_params(&[NAME]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_one(&lint(&with_intermediate(&params), &[NAME]), true, "serverAuth");
    params.extended_key_usages.clear();
    assert_one(&lint(&with_intermediate(&params), &[NAME]), true, "serverAuth");
}

#[test]
fn names() {
    let credential = with_intermediate(&server_params(&["other.example.test"]));
    assert_one(&lint(&credential, &[NAME]), false, "as its common name only; Apple and Android refuse it");
    assert_one(&lint(&credential, &["gw.example.test"]), true, "not made out to gw.example.test but to [other.example.test]");
    assert_eq!(lint(&credential, &[]), []);
}

#[test]
fn addresses() {
    let mut params = server_params(&[NAME, "192.0.2.7"]);
    assert_one(
        &lint(&with_intermediate(&params), &["192.0.2.7"]),
        false,
        "does not hold the address 192.0.2.7 as a dNSName, where Windows looks for it; Windows refuses it (IKEv2: 13801); ",
    );
    assert_one(&lint(&with_intermediate(&params), &["192.0.2.8"]), true, "address 192.0.2.8 as a dNSName");
    params.subject_alt_names.push(SanType::DnsName("192.0.2.7".try_into().unwrap()));
    assert_eq!(lint(&with_intermediate(&params), &["192.0.2.7"]), []);
}

#[test]
fn wildcards() {
    let credential = with_intermediate(&server_params(&["*.example.test"]));
    assert_one(&lint(&credential, &["gw.example.test"]), false, "wildcard");
    let lints = lint(&credential, &["a.gw.example.test"]);
    assert!(lints.iter().any(|lint| lint.fatal) && lints.len() == 2, "{lints:?}");
}

#[test]
fn validity() {
    let credential = with_intermediate(&server_params(&[NAME]));
    let leaf = credential.leaf();
    let at = |now| lint_server(&credential, &[NAME.to_owned()], IKEV2, now);
    assert_eq!(at(leaf.not_after - 30 * DAY), []);
    assert_one(&at(leaf.not_after - 30 * DAY + 1), false, "expires at 2027-01-01 00:00:00 UTC, in 29 days");
    let expired = at(leaf.not_after + 1);
    assert!(expired[0].fatal && expired[0].to_string().contains("expired at 2027-01-01"), "{expired:?}");
    assert!(expired.len() == 2 && expired[1].to_string().contains("CN=Issuing, O=Example: is an intermediate that expired"), "{expired:?}");
    assert_one(&at(leaf.not_before - 1), true, "not valid before 2026-01-01");
}

#[test]
fn keys() {
    let issuer = subordinate(authority_params("Issuing"), &root("Root"));
    for (algorithm, part) in
        [(&rcgen::PKCS_ECDSA_P521_SHA512, "ECDSA P-521; Windows cannot verify its signature (13801)"), (&rcgen::PKCS_ED25519, "Ed25519")]
    {
        let (chain, key) = credential_pem(&server_params(&[NAME]), &issuer, algorithm);
        let credential = Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_one(&lint(&credential, &[NAME]), false, part);
    }
    let mut credential = credential(&server_params(&[NAME]), &issuer);
    credential.chain[0].key_kind = Some(KeyKind::Rsa { bits: 1024 });
    assert_one(&lint(&credential, &[NAME]), true, "RSA key of 1024 bits");
    credential.chain[0].key_kind = None;
    assert_one(&lint(&credential, &[NAME]), true, "neither RSA");
}

#[test]
fn chain() {
    let mut bare = credential(&server_params(&[NAME]), &root("Root"));
    assert_eq!(lint(&bare, &[NAME]), [], "the root of the file says that nothing is missing");
    bare.roots.clear();
    assert_one(
        &lint(&bare, &[NAME]),
        false,
        "comes without its issuer CN=Root, O=Example; unless that is a root which the clients trust, Windows refuses it (IKEv2: 13801)",
    );
    let mut params = server_params(&[NAME]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_one(&lint(&with_intermediate(&params), &[NAME]), false, "authority's certificate");
}

#[test]
fn addresses_for_windows_alone() {
    let mut params = server_params(&[NAME]);
    params.subject_alt_names.push(SanType::DnsName("192.0.2.7".try_into().unwrap()));
    let lints = lint(&with_intermediate(&params), &[NAME, "192.0.2.7"]);
    assert_one(&lints, false, "but not as iPAddress; Apple and Android refuse it when that address is dialled; ");
}

#[test]
fn error_numbers_are_those_of_the_protocols_in_use() {
    let mut params = server_params(&[NAME]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2])];
    let credential = with_intermediate(&params);
    let lint = |uses| lint_server(&credential, &[NAME.to_owned()], uses, NOW);
    assert_one(&lint(IKEV2), true, "for which ikeIntermediate and ipsecIKE do not stand; Windows refuses it (IKEv2: 13801), so do");
    assert_one(&lint(SSTP), true, "Windows refuses it (SSTP: 0x80070040)");
    assert_one(&lint(Uses { ikev2: true, sstp: true }), true, "(IKEv2: 13801; SSTP: 0x80070040)");
    let wildcard = with_intermediate(&server_params(&["*.example.test"]));
    assert_eq!(lint_server(&wildcard, &[NAME.to_owned(), "*.example.test".to_owned()], SSTP, NOW), [], "TLS clients match wildcards");
}

#[test]
fn a_purpose_besides_serverauth_does_no_harm() {
    let mut params = server_params(&[NAME]);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2]));
    assert_eq!(lint(&with_intermediate(&params), &[NAME]), []);
}

#[test]
fn lifetimes_that_apple_refuses() {
    let lint_for = |year, month, day| {
        let mut params = server_params(&[NAME]);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        lint(&with_intermediate(&params), &[NAME])
    };
    assert_one(&lint_for(2028, 4, 6), false, "is valid for 826 days, more than 825; iOS from 13 and macOS from 10.15 refuse it");
    assert_eq!(lint_for(2028, 4, 4), []);
    let mut params = server_params(&[NAME]);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2019, 6, 30), rcgen::date_time_ymd(2029, 1, 1));
    assert_eq!(lint(&with_intermediate(&params), &[NAME]), [], "older than Apple's rule");
}

#[test]
fn key_usage() {
    let mut params = server_params(&[NAME]);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyEncipherment];
    assert_one(&lint(&with_intermediate(&params), &[NAME]), false, "lacks the key usage digitalSignature");
    params.key_usages.push(rcgen::KeyUsagePurpose::DigitalSignature);
    assert_eq!(lint(&with_intermediate(&params), &[NAME]), []);
}

#[test]
fn sha1_anywhere_in_the_chain() {
    let mut credential = with_intermediate(&server_params(&[NAME]));
    let weak = crate::Certificate::from_pem(include_bytes!("testdata/sha1-leaf.pem")).unwrap().remove(0);
    credential.chain[0].issuer_der = weak.subject_der.clone();
    let issuing = credential.chain[1].subject_der.clone();
    credential.chain.insert(1, crate::Certificate { issuer_der: issuing, not_after: NOW + DAY, ..weak });
    assert_one(&lint(&credential, &[NAME]), false, "is signed with RSA and SHA-1; Apple and Android refuse it, and Windows");
}

#[test]
fn a_chain_of_the_wrong_certificates() {
    let issuer = subordinate(authority_params("Issuing"), &root("Root"));
    let mut credential = credential(&server_params(&[NAME]), &issuer);
    credential.chain.push(read(subordinate(authority_params("Other"), &root("Root")).der()));
    assert_one(&lint(&credential, &[NAME]), false, "comes with CN=Other, O=Example, which has issued nothing in the chain");
    credential.chain.remove(1);
    let lints = lint(&credential, &[NAME]);
    assert!(lints.len() == 2 && lints[1].to_string().contains("comes without its issuer CN=Issuing, O=Example"), "{lints:?}");
}

#[test]
fn revocation_must_be_in_reach_from_outside() {
    let with_points = |urls: &[&str]| {
        let mut credential = with_intermediate(&server_params(&[NAME]));
        credential.chain[0].crl_urls = urls.iter().map(|url| (*url).to_owned()).collect();
        credential
    };
    let lint_for = |urls: &[&str], uses| lint_server(&with_points(urls), &[NAME.to_owned()], uses, NOW);
    for good in [
        &["http://pki.example.com/ca.crl"][..],
        &["ldap:///CN=CA", "http://pki.example.com:8080/ca.crl"],
        &["HTTP://198.51.100.7/x"],
        &["http://[2001:db8::1]/x"],
        &[],
    ] {
        assert_eq!(lint_for(good, SSTP), [], "{good:?}");
    }
    for bad in [
        "ldap:///CN=CA",
        "https://pki.example.com/ca.crl",
        "http://pki/ca.crl",
        "http://ca.corp.local/ca.crl",
        "http://ca.ad.internal:80/ca.crl",
        "http://10.0.0.4/ca.crl",
        "http://[fd00::1]/ca.crl",
        "http://100.64.0.1/ca.crl",
        "http://127.0.0.1:8080",
    ] {
        assert_one(&lint_for(&[bad], SSTP), false, &format!("over HTTP: {bad}; Windows refuses SSTP from outside (0x80092013); have"));
        assert_eq!(lint_for(&[bad], IKEV2), [], "{bad}");
    }
    let mut credential = with_points(&["ldap:///CN=CA"]);
    credential.chain[0].ocsp_urls = vec!["http://ocsp.example.com".into()];
    assert_eq!(lint_server(&credential, &[NAME.to_owned()], SSTP, NOW), []);
    assert_eq!(revocation_places(&credential.chain[0]), "CDP=ldap:///CN=CA; OCSP=http://ocsp.example.com");
    credential.chain[0].ocsp_urls.clear();
    assert_eq!(revocation_places(&credential.chain[0]), "CDP=ldap:///CN=CA; OCSP=none, none of them a public http:// address");
    credential.chain[0].crl_urls.clear();
    assert_eq!(revocation_places(&credential.chain[0]), "CDP=none; OCSP=none");
}
