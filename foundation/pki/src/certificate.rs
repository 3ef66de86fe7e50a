//! Reading certificates: DER and PEM into [`Certificate`].
use crate::signed::Signed;
use crate::{Certificate, CertificateError, KeyUsage, crl, name};
use crypto::hash::{HashAlgorithm, hash};
use crypto::sign::spki_kind;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use std::net::IpAddr;
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, ExtendedKeyUsage, GeneralName, ParsedExtension};

/// szOID_NT_PRINCIPAL_NAME
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";
/// szOID_CERTIFICATE_TEMPLATE: SEQUENCE of the template's OID and its version.
const TEMPLATE: &str = "1.3.6.1.4.1.311.21.7";
/// id-ad-ocsp, id-ad-caIssuers
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// Key usage, subject alternative name, basic constraints, name constraints, extended key usage.
const DECIDING_EXTENSIONS: [&str; 5] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.37"];

impl Certificate {
    /// Reads one certificate. Extensions that decide about it (names, EKU, basic constraints) must be well-formed and unique: a
    /// damaged one must not pass for an absent one.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        read(der).map_err(|reason| CertificateError::Malformed { index: 0, reason })
    }

    /// All certificates of a PEM text, in order; anything between and other sections are skipped. A single certificate in DER, as
    /// Windows exports it by default, is taken too. Indices in errors count from 0.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if pem.starts_with(&[0x30, 0x82]) {
            return Ok(vec![Self::from_der(pem)?]);
        }
        let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
        let certificates = CertificateDer::pem_slice_iter(pem)
            .enumerate()
            .map(|(index, der)| {
                let read = der.map_err(|error| pem_error(&error).to_owned()).and_then(|der| read(&der));
                read.map_err(|reason| CertificateError::Malformed { index, reason })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(certificates) }
    }

    /// SHA-1 of the SubjectPublicKeyInfo: what CERTREQ lists (RFC 7296 section 3.7).
    pub fn spki_sha1(&self) -> [u8; 20] {
        // SHA-1 yields 20 bytes.
        hash(HashAlgorithm::Sha1, &[&self.spki]).try_into().expect("a SHA-1 digest")
    }

    /// SHA-1 of the whole certificate: the thumbprint by which Windows names it.
    pub fn sha1(&self) -> [u8; 20] {
        // SHA-1 yields 20 bytes.
        hash(HashAlgorithm::Sha1, &[&self.der]).try_into().expect("a SHA-1 digest")
    }

    /// SHA-256 of the whole certificate, as browsers and `openssl x509 -fingerprint -sha256` show it.
    pub fn sha256(&self) -> [u8; 32] {
        // SHA-256 yields 32 bytes.
        hash(HashAlgorithm::Sha256, &[&self.der]).try_into().expect("a SHA-256 digest")
    }

    /// The key of `issuer`, an authority of the name that this certificate gives as its issuer's, has signed it. False also for algorithms that are
    /// no longer accepted.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        let named = issuer.is_ca && self.issuer_der == issuer.subject_der && self.der != issuer.der;
        named && Signed::from_der(&self.der).is_some_and(|signed| signed.is_by(&issuer.spki))
    }

    /// Issued by itself, as roots are.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

fn read(der: &[u8]) -> Result<Certificate, String> {
    let (rest, x509) = X509Certificate::from_der(der).map_err(|_| "not an X.509 certificate in DER".to_owned())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the certificate", rest.len()));
    }
    check_extensions(&x509)?;
    let eku = x509.extended_key_usage().map_err(|_| twice("extended key usage"))?;
    let constraints = x509.basic_constraints().map_err(|_| twice("basic constraints"))?;
    let usage = x509.key_usage().map_err(|_| twice("key usage"))?;
    let mut certificate = Certificate {
        der: der.to_vec(),
        subject: name::text(x509.subject()),
        subject_der: x509.subject().as_raw().to_vec(),
        issuer: name::text(x509.issuer()),
        issuer_der: x509.issuer().as_raw().to_vec(),
        serial: name::hex(x509.raw_serial(), ""),
        serial_der: x509.raw_serial().to_vec(),
        common_name: name::common_name(x509.subject()),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        emails: Vec::new(),
        upns: Vec::new(),
        eku: eku.map(|extension| eku_oids(extension.value)),
        template: template(&x509),
        key_usage: usage
            .map(|extension| KeyUsage { digital_signature: extension.value.digital_signature(), crl_sign: extension.value.crl_sign() }),
        crl_urls: crl_urls(&x509),
        ocsp_urls: access_urls(&x509, OCSP),
        issuer_urls: access_urls(&x509, CA_ISSUERS),
        is_ca: constraints.is_some_and(|extension| extension.value.ca),
        not_before: x509.validity().not_before.timestamp(),
        not_after: x509.validity().not_after.timestamp(),
        spki: x509.public_key().raw.to_vec(),
        key_kind: spki_kind(x509.public_key().raw),
    };
    let names = x509.subject_alternative_name().map_err(|_| twice("subject alternative name"))?;
    names.iter().flat_map(|extension| &extension.value.general_names).for_each(|name| add_name(&mut certificate, name));
    Ok(certificate)
}

fn check_extensions(x509: &X509Certificate<'_>) -> Result<(), String> {
    let damaged = x509.extensions().iter().find(|extension| {
        DECIDING_EXTENSIONS.contains(&extension.oid.to_id_string().as_str())
            && matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
    });
    match damaged {
        Some(extension) => Err(format!("extension {} is malformed", extension.oid.to_id_string())),
        None => Ok(()),
    }
}

fn twice(extension: &str) -> String {
    format!("extension {extension} occurs twice")
}

fn eku_oids(eku: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (eku.any, "2.5.29.37.0"),
        (eku.server_auth, "1.3.6.1.5.5.7.3.1"),
        (eku.client_auth, "1.3.6.1.5.5.7.3.2"),
        (eku.code_signing, "1.3.6.1.5.5.7.3.3"),
        (eku.email_protection, "1.3.6.1.5.5.7.3.4"),
        (eku.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (eku.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let known = known.into_iter().filter(|(present, _)| *present).map(|(_, oid)| oid.to_owned());
    known.chain(eku.other.iter().map(|oid| oid.to_id_string())).collect()
}

/// A damaged extension, or two of them, name no template.
fn template(x509: &X509Certificate<'_>) -> Option<String> {
    let mut all = x509.extensions().iter().filter(|extension| extension.oid.to_id_string() == TEMPLATE);
    let extension = all.next().filter(|_| all.next().is_none())?;
    let (_, sequence) = Any::from_der(extension.value).ok()?;
    let (_, oid) = Oid::from_der(sequence.data).ok()?;
    Some(oid.to_id_string())
}

/// A damaged extension names no place: it decides nothing about the certificate.
fn crl_urls(x509: &X509Certificate<'_>) -> Vec<String> {
    let points = x509.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points),
        _ => None,
    });
    let names = points.flat_map(|points| points.iter()).filter_map(|point| match &point.distribution_point {
        // Lists by another issuer, or for some reasons only, are of no use here.
        Some(DistributionPointName::FullName(names)) if point.crl_issuer.is_none() && point.reasons.is_none() => Some(names),
        _ => None,
    });
    names.flat_map(|names| crl::uris(names)).collect()
}

/// Addresses of this kind of access to the issuer's information (RFC 5280 section 4.2.2.1).
fn access_urls(x509: &X509Certificate<'_>, method: &str) -> Vec<String> {
    let accesses = x509.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    });
    let wanted = accesses.flat_map(|access| &access.accessdescs).filter(|access| access.access_method.to_id_string() == method);
    wanted.flat_map(|access| crl::uris(std::slice::from_ref(&access.access_location))).collect()
}

/// Names with control characters match nobody and are left out.
fn add_name(certificate: &mut Certificate, name: &GeneralName<'_>) {
    let text = |text: &str| Some(text.to_owned()).filter(|text| name::is_printable(text));
    match name {
        GeneralName::DNSName(dns) => certificate.dns_names.extend(text(dns)),
        GeneralName::RFC822Name(email) => certificate.emails.extend(text(email)),
        GeneralName::IPAddress(bytes) => certificate.ip_addresses.extend(ip_address(bytes)),
        GeneralName::OtherName(oid, value) if oid.to_id_string() == UPN => {
            certificate.upns.extend(upn(value).and_then(text));
        }
        _ => {}
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The UTF8String within the explicit tag of an otherName.
fn upn(value: &[u8]) -> Option<&str> {
    let (_, tagged) = Any::from_der(value).ok()?;
    let (_, text) = Any::from_der(tagged.data).ok()?;
    std::str::from_utf8(text.data).ok()
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "the PEM section has no END line",
        pem::Error::IllegalSectionStart { .. } => "the PEM section has a malformed BEGIN line",
        pem::Error::Base64Decode(_) => "the PEM section is not base64",
        _ => "the PEM text cannot be read",
    }
}
