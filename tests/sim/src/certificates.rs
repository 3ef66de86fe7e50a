//! Certificates of one authority, made on the spot.
use pki::{Certificate, Credential, TrustAnchors};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

/// What kind of key a credential has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyKind {
    fn generate(self) -> KeyPair {
        let algorithm = match self {
            Self::Rsa => &rcgen::PKCS_RSA_SHA256,
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        };
        KeyPair::generate_for(algorithm).expect("a key pair")
    }
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(common_name: &str, dns_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = dns_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names are ASCII");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let mut params = params("Simulation Root", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Issuer::self_signed(params, KeyKind::P256.generate()).expect("a root certificate")
    })
}

/// The root that all certificates of the simulation chain to.
pub fn authority() -> Arc<TrustAnchors> {
    let root = Certificate::from_der(issuer().der()).expect("a certificate that was just made");
    Arc::new(TrustAnchors::new(vec![root]))
}

fn credential(kind: KeyKind, name: &str, purpose: ExtendedKeyUsagePurpose) -> Credential {
    let mut params = params(name, &[name]);
    params.extended_key_usages = vec![purpose];
    let key = kind.generate();
    let leaf = params.signed_by(&key, issuer()).expect("a certificate");
    Credential::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).expect("a credential that was just made")
}

type Cache = Mutex<BTreeMap<(KeyKind, String), Credential>>;

fn cached(cache: &'static OnceLock<Cache>, kind: KeyKind, name: &str, purpose: ExtendedKeyUsagePurpose) -> Credential {
    let mut cache = cache.get_or_init(Cache::default).lock().expect("nobody panics with the lock");
    cache.entry((kind, name.to_owned())).or_insert_with(|| credential(kind, name, purpose)).clone()
}

/// A gateway's credential for `vpn.example.test`.
pub fn server_credential(kind: KeyKind) -> Credential {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    cached(&CACHE, kind, "vpn.example.test", ExtendedKeyUsagePurpose::ServerAuth)
}

/// A client's credential for this DNS name.
pub fn client_credential(kind: KeyKind, name: &str) -> Credential {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    cached(&CACHE, kind, name, ExtendedKeyUsagePurpose::ClientAuth)
}
