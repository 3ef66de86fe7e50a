//! Certificates made on the spot. All live within 2026, [`NOW`] is in its middle.
use crate::{Certificate, Credential, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SignatureAlgorithm, date_time_ymd,
};

/// 2026-07-01 00:00:00 UTC
pub(super) const NOW: UnixTime = 1_782_864_000;
pub(super) const DAY: UnixTime = 86_400;

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn params(common_name: &str, dns_names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(dns_names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

pub(super) fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn root(common_name: &str) -> Authority {
    Authority::self_signed(authority_params(common_name), KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn subordinate(params: CertificateParams, issuer: &Authority) -> Authority {
    Authority::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

pub(super) fn client_params() -> CertificateParams {
    let mut params = params("pc1.example.test", &["pc1.example.test"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(super) fn server_params(dns_names: &[&str]) -> CertificateParams {
    let mut params = params("vpn.example.test", dns_names);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

pub(super) fn issue(params: &CertificateParams, issuer: &Authority) -> Certificate {
    read(params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der())
}

pub(super) fn read(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

/// A chain file and its key, both PEM.
pub(super) fn credential_pem(params: &CertificateParams, issuer: &Authority, algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    (format!("{}{}", leaf.pem(), issuer.pem()), key.serialize_pem())
}

pub(super) fn credential(params: &CertificateParams, issuer: &Authority) -> Credential {
    let (chain, key) = credential_pem(params, issuer, &rcgen::PKCS_ECDSA_P256_SHA256);
    Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}
