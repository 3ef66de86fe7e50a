//! An authority and a server certificate that Windows, Apple, Android and Linux take.
use crypto::Zeroizing;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use std::net::IpAddr;

/// Days that Apple's clients accept of a server certificate, less a few.
const SERVER_DAYS: i64 = 820;
const AUTHORITY_DAYS: i64 = 3650;

/// IKE-intermediate, which old Apple clients ask for besides serverAuth.
const IKE_INTERMEDIATE: &[u64] = &[1, 3, 6, 1, 5, 5, 8, 2, 2];

/// All in PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
    pub(super) server_certificate: String,
    pub(super) server_key: Zeroizing<String>,
}

/// RSA of 2048 bits: the one kind of key that every client takes, profiles typed in by hand on iOS included.
pub(super) fn create(name: &str, now: Timestamp) -> anyhow::Result<Made> {
    let (key, server_key) = (rsa()?, rsa()?);
    let (private, server_private) = (key.serialize_pem(), server_key.serialize_pem());
    let mut params = params(&format!("Evergate authority of {name}"), now, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, key)?;
    let server_certificate = server(name, now)?.signed_by(&server_key, &authority)?.pem();
    Ok(Made { certificate: authority.pem(), key: Zeroizing::new(private), server_certificate, server_key: Zeroizing::new(server_private) })
}

fn rsa() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
}

fn server(name: &str, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(name, now, SERVER_DAYS);
    // Windows compares what was dialled with dNSName, also where that is an address.
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    params.subject_alt_names.extend(name.parse::<IpAddr>().ok().map(SanType::IpAddress));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Other(IKE_INTERMEDIATE.to_vec())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Valid from yesterday on: clocks differ.
fn params(name: &str, now: Timestamp, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |days: i64| {
        let date = now.to_zoned(TimeZone::UTC).date().saturating_add(days.days());
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(days));
    params
}
