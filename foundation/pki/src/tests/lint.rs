use super::fixture::*;
use crate::{Credential, Lint, lint_server};
use crypto::sign::KeyKind;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};

const NAME: &str = "vpn.example.test";

/// A credential with its intermediate, as it should be.
fn with_intermediate(params: &CertificateParams) -> Credential {
    credential(params, &subordinate(authority_params("Issuing"), &root("Root")))
}

fn lint(credential: &Credential, names: &[&str]) -> Vec<Lint> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    lint_server(credential, &names, NOW)
}

/// Exactly one lint, of this weight, that says this.
fn assert_one(lints: &[Lint], fatal: bool, part: &str) {
    assert!(lints.len() == 1 && lints[0].fatal == fatal && lints[0].text.contains(part), "{lints:?} instead of {part:?}");
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
    assert_one(&lint(&credential, &[NAME]), false, "common name only");
    assert_one(&lint(&credential, &["gw.example.test"]), true, "not made out to gw.example.test but to [other.example.test]");
    assert_eq!(lint(&credential, &[]), []);
}

#[test]
fn addresses() {
    let mut params = server_params(&[NAME, "192.0.2.7"]);
    assert_one(&lint(&with_intermediate(&params), &["192.0.2.7"]), false, "192.0.2.7 among the dNSName entries");
    assert_one(&lint(&with_intermediate(&params), &["192.0.2.8"]), true, "192.0.2.8 among the dNSName entries");
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
    let at = |now| lint_server(&credential, &[NAME.to_owned()], now);
    assert_eq!(at(leaf.not_after - 30 * DAY), []);
    assert_one(&at(leaf.not_after - 30 * DAY + 1), false, "expires at 2027-01-01 00:00:00 UTC, in 29 days");
    let expired = at(leaf.not_after + 1);
    assert!(expired[0].fatal && expired[0].text.contains("expired at 2027-01-01"), "{expired:?}");
    assert!(expired.len() == 2 && expired[1].text.contains("CN=Issuing, O=Example: is an intermediate that expired"), "{expired:?}");
    assert_one(&at(leaf.not_before - 1), true, "not valid before 2026-01-01");
}

#[test]
fn keys() {
    let issuer = subordinate(authority_params("Issuing"), &root("Root"));
    for (algorithm, part) in [(&rcgen::PKCS_ECDSA_P521_SHA512, "P-521"), (&rcgen::PKCS_ED25519, "Ed25519")] {
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
    let bare = credential(&server_params(&[NAME]), &root("Root"));
    assert_one(&lint(&bare, &[NAME]), false, "unless CN=Root, O=Example is a root that the clients trust");
    let mut params = server_params(&[NAME]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_one(&lint(&with_intermediate(&params), &[NAME]), false, "authority's certificate");
}
