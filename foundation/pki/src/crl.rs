//! Certificate revocation lists (RFC 5280 section 5).
use crate::signed::Signed;
use crate::{Certificate, Crl, CrlError, UnixTime, UnverifiedCrl, name};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::{self, PemObject};
use webpki::{BorrowedCertRevocationList, Error, RevocationReason};
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::extensions::{DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension, X509Extension};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

/// Which certificates of its issuer a list speaks about (issuing distribution point, RFC 5280 section 5.2.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    users_only: bool,
    authorities_only: bool,
    /// URIs of which a certificate must name one among its distribution points; `None`: whatever it names.
    uris: Option<Vec<String>>,
}

/// One line of a list. Serial numbers without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    serial: Box<[u8]>,
    pub(crate) at: UnixTime,
    pub(crate) reason: &'static str,
}

impl UnverifiedCrl {
    /// Reads one complete list of version 2 with nextUpdate, as RFC 5280 demands. Delta lists, indirect lists, lists split by reason and
    /// unknown critical extensions are errors: what they mean for a certificate would be guesswork.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let list = BorrowedCertRevocationList::from_der(der).map_err(|error| CrlError::Malformed { reason: explain(&error) })?;
        let mut revoked = Vec::new();
        for entry in &list {
            let entry = entry.map_err(|error| CrlError::Malformed { reason: explain(&error) })?;
            let at = i64::try_from(entry.revocation_date.as_secs()).unwrap_or(i64::MAX);
            revoked.push(Entry { serial: significant(entry.serial_number).into(), at, reason: reason_text(entry.reason_code) });
        }
        revoked.sort_by(|a, b| a.serial.cmp(&b.serial));
        let signed = Signed::from_der(der).ok_or_else(|| CrlError::Malformed { reason: "not a revocation list in DER".into() })?;
        let head = Head::read(signed.content).ok_or_else(|| CrlError::Malformed { reason: "not a revocation list in DER".into() })?;
        let list = Crl {
            issuer: name::text(&head.issuer),
            issuer_der: head.issuer.as_raw().to_vec(),
            issuer_spki: Vec::new(),
            this_update: head.this_update,
            next_update: head.next_update,
            scope: head.scope,
            revoked,
        };
        Ok(Self { list, der: der.to_vec() })
    }

    /// A list in PEM, or in DER as authorities publish it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CrlError> {
        if bytes.first() == Some(&0x30) { Self::from_der(bytes) } else { Self::from_pem(bytes) }
    }

    /// The one list of a PEM text (`X509 CRL`); what stands around it is skipped.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CrlError> {
        let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
        let mut sections = CertificateRevocationListDer::pem_slice_iter(pem);
        let der = match sections.next() {
            Some(Ok(der)) => der,
            Some(Err(pem::Error::NoItemsFound)) | None => return Err(CrlError::NoList),
            Some(Err(_)) => return Err(CrlError::Malformed { reason: "the PEM text cannot be read".into() }),
        };
        if sections.next().is_some() {
            return Err(CrlError::Malformed { reason: "the PEM text holds several lists; give each a file of its own".into() });
        }
        Self::from_der(&der)
    }

    /// RFC 4514 text of the issuer.
    pub fn issuer(&self) -> &str {
        &self.list.issuer
    }

    /// Checks the signature with the key of the authority among `authorities` that has issued the list. Costs time in proportion to its
    /// size.
    pub fn verify(self, authorities: &[Certificate]) -> Result<Crl, CrlError> {
        let issuer = || self.list.issuer.clone();
        let named: Vec<_> = authorities.iter().filter(|authority| authority.subject_der == self.list.issuer_der).collect();
        if named.is_empty() {
            return Err(CrlError::UnknownIssuer { issuer: issuer() });
        }
        let signed = Signed::from_der(&self.der);
        let signer = named.into_iter().find(|authority| signed.as_ref().is_some_and(|signed| signed.is_by(&authority.spki)));
        match signer {
            None => Err(CrlError::BadSignature { issuer: issuer() }),
            Some(signer) if signer.key_usage.is_some_and(|usage| !usage.crl_sign) => Err(CrlError::NotASigner { issuer: issuer() }),
            Some(signer) => Ok(Crl { issuer_spki: signer.spki.clone(), ..self.list }),
        }
    }
}

impl Crl {
    /// RFC 4514 text of the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// From this moment on the list says nothing about certificates that it does not name.
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// How many certificates it revokes.
    pub fn entries(&self) -> usize {
        self.revoked.len()
    }

    /// Speaks about the same certificates.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.issuer_spki == other.issuer_spki && self.issuer_der == other.issuer_der && self.scope == other.scope
    }

    /// Speaks about `certificate`, which `issuer` has signed.
    pub(crate) fn covers(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.issuer_der == certificate.issuer_der && self.issuer_spki == issuer.spki && self.scope.covers(certificate)
    }

    pub(crate) fn entry(&self, certificate: &Certificate) -> Option<&Entry> {
        let serial = significant(&certificate.serial_der);
        let at = self.revoked.binary_search_by(|entry| entry.serial.as_ref().cmp(serial)).ok()?;
        self.revoked.get(at)
    }
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (issuer, entries) = (&self.issuer, self.revoked.len());
        f.debug_struct("Crl")
            .field("issuer", issuer)
            .field("next_update", &self.next_update)
            .field("entries", &entries)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for UnverifiedCrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UnverifiedCrl").field(&self.list).finish()
    }
}

impl Scope {
    fn covers(&self, certificate: &Certificate) -> bool {
        if (self.users_only && certificate.is_ca) || (self.authorities_only && !certificate.is_ca) {
            return false;
        }
        match &self.uris {
            Some(uris) if !certificate.crl_urls.is_empty() => uris.iter().any(|uri| certificate.crl_urls.contains(uri)),
            _ => true,
        }
    }
}

/// What stands before and behind the entries.
struct Head<'a> {
    issuer: X509Name<'a>,
    this_update: UnixTime,
    next_update: UnixTime,
    scope: Scope,
}

impl<'a> Head<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let (_, list) = Any::from_der(content).ok()?;
        let (rest, _version) = Any::from_der(list.data).ok()?;
        let (rest, _algorithm) = Any::from_der(rest).ok()?;
        let (rest, issuer) = X509Name::from_der(rest).ok()?;
        let (rest, this_update) = ASN1Time::from_der(rest).ok()?;
        let (mut rest, next_update) = ASN1Time::from_der(rest).ok()?;
        let mut scope = Scope::default();
        while !rest.is_empty() {
            let (behind, part) = Any::from_der(rest).ok()?;
            if part.tag() == Tag(0) {
                scope = Scope::of_extensions(part.data)?;
            }
            rest = behind;
        }
        Some(Self { issuer, this_update: this_update.timestamp(), next_update: next_update.timestamp(), scope })
    }
}

impl Scope {
    fn of_extensions(bytes: &[u8]) -> Option<Self> {
        let (_, list) = Any::from_der(bytes).ok()?;
        let mut rest = list.data;
        while !rest.is_empty() {
            let (behind, extension) = X509Extension::from_der(rest).ok()?;
            match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => return Self::of_point(point),
                _ if extension.oid.to_id_string() == "2.5.29.28" => return None,
                _ => rest = behind,
            }
        }
        Some(Self::default())
    }

    fn of_point(point: &IssuingDistributionPoint<'_>) -> Option<Self> {
        let uris = match &point.distribution_point {
            None => None,
            Some(DistributionPointName::FullName(names)) => Some(uris(names).collect()),
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => return None,
        };
        Some(Self { users_only: point.only_contains_user_certs, authorities_only: point.only_contains_ca_certs, uris })
    }
}

pub(crate) fn uris<'a>(names: &'a [GeneralName<'_>]) -> impl Iterator<Item = String> + 'a {
    names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if name::is_printable(uri) => Some((*uri).to_owned()),
        _ => None,
    })
}

/// Without leading zeros: lists and certificates need not agree on them.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

fn explain(error: &Error) -> String {
    match error {
        Error::UnsupportedDeltaCrl => "is a delta list; name the complete one".into(),
        Error::UnsupportedIndirectCrl => "is an indirect list, issued by another than the authority itself".into(),
        Error::UnsupportedRevocationReasonsPartitioning => "covers some reasons for revocation only".into(),
        Error::UnsupportedCrlVersion => "is no list of version 2".into(),
        Error::UnsupportedCriticalExtension => "has a critical extension that is not understood".into(),
        error => format!("is no revocation list in DER ({error})"),
    }
}

fn reason_text(reason: Option<RevocationReason>) -> &'static str {
    match reason {
        None | Some(RevocationReason::Unspecified) => "no reason given",
        Some(RevocationReason::KeyCompromise) => "key compromise",
        Some(RevocationReason::CaCompromise) => "authority compromised",
        Some(RevocationReason::AffiliationChanged) => "affiliation changed",
        Some(RevocationReason::Superseded) => "superseded",
        Some(RevocationReason::CessationOfOperation) => "cessation of operation",
        Some(RevocationReason::CertificateHold) => "on hold",
        Some(RevocationReason::RemoveFromCrl) => "removed from the list",
        Some(RevocationReason::PrivilegeWithdrawn) => "privilege withdrawn",
        Some(RevocationReason::AaCompromise) => "attribute authority compromised",
    }
}
