//! Path building and validation, and why a chain is refused.
use crate::purpose::Wanted;
use crate::{Certificate, Purpose, Refused, TrustAnchors, UnixTime};
use crypto::sign::KeyKind;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime as PkiTime};
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

/// More intermediates than any real chain has; bounds the search that a stranger's certificates can cause.
const MAX_INTERMEDIATES: usize = 8;

impl TrustAnchors {
    /// Builds a path from `leaf` over `intermediates` (any order, at most 8) to one of the roots and checks validity, purpose, revocation
    /// and `name`, when one is given. The validity of the root counts too.
    pub fn verify(
        &self,
        leaf: &Certificate,
        intermediates: &[Certificate],
        purpose: Purpose,
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<(), Refused> {
        self.verify_with_notes(leaf, intermediates, purpose, name, now).map(|_| ())
    }

    /// [`Self::verify`]; what [`Revocation::Soft`](crate::Revocation::Soft) let pass unchecked is noted, one sentence a certificate.
    pub fn verify_with_notes(
        &self,
        leaf: &Certificate,
        intermediates: &[Certificate],
        purpose: Purpose,
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<Vec<String>, Refused> {
        let wanted = Wanted::new(purpose, &self.client_purposes);
        check_time(leaf, now)?;
        wanted.check_leaf(leaf)?;
        if let Some(name) = name.filter(|name| !is_made_out_to(leaf, name)) {
            return Err(Refused::WrongName { subject: leaf.subject.clone(), name: name.to_owned() });
        }
        if intermediates.len() > MAX_INTERMEDIATES {
            let reason = format!("comes with {} intermediates, more than {MAX_INTERMEDIATES}", intermediates.len());
            return Err(Refused::Other { subject: leaf.subject.clone(), reason });
        }
        let intermediates: Vec<_> = intermediates.iter().chain(self.subordinates()).collect();
        let (current, lapsed): (Vec<_>, Vec<_>) = self.anchors().partition(|root| check_time(root, now).is_ok());
        let chain = Chain { trust: self, leaf, intermediates: &intermediates, wanted, now };
        let error = match chain.build(&current) {
            Ok(notes) => return Ok(notes),
            Err(Failure::Refused(refused)) => return Err(*refused),
            Err(Failure::Webpki(error)) => error,
        };
        let lapsed = lapsed.into_iter().find(|root| chain.build(&[root]).is_ok());
        lapsed.map_or(Ok(()), |root| check_time(root, now))?;
        Err(chain.explain(&error, &self.roots))
    }

    fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        self.roots.iter().zip(&self.subordinate).filter(|(_, subordinate)| !**subordinate).map(|(root, _)| root)
    }

    fn subordinates(&self) -> impl Iterator<Item = &Certificate> {
        self.roots.iter().zip(&self.subordinate).filter(|(_, subordinate)| **subordinate).map(|(root, _)| root)
    }
}

struct Chain<'a> {
    trust: &'a TrustAnchors,
    leaf: &'a Certificate,
    intermediates: &'a [&'a Certificate],
    wanted: Wanted<'a>,
    now: UnixTime,
}

/// Why no path could be built.
enum Failure {
    Webpki(Error),
    /// There are paths, but each is revoked, or may be; the first one's reason.
    Refused(Box<Refused>),
}

impl<'a> Chain<'a> {
    /// A path to one of `roots` that is not revoked; yields the notes about it.
    fn build(&self, roots: &[&'a Certificate]) -> Result<Vec<String>, Failure> {
        let ders: Vec<_> = roots.iter().map(|root| CertificateDer::from(root.der.as_slice())).collect();
        // A root that cannot serve as an anchor is named when its absence shows, in `explain_unknown_issuer`.
        let anchors: Vec<TrustAnchor<'_>> = ders.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
        let intermediates: Vec<_> = self.intermediates.iter().map(|der| CertificateDer::from(der.der.as_slice())).collect();
        let leaf = CertificateDer::from(self.leaf.der.as_slice());
        let leaf = EndEntityCert::try_from(&leaf).map_err(Failure::Webpki)?;
        let now = PkiTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.now).unwrap_or(0)));
        let (notes, refused) = (RefCell::new(Vec::new()), RefCell::new(None));
        let check = |path: &VerifiedPath<'_>| match self.check_revocation(path, roots) {
            Ok(noted) => {
                notes.replace(noted);
                Ok(())
            }
            Err(cause) => {
                refused.borrow_mut().get_or_insert(cause);
                Err(Error::CertRevoked)
            }
        };
        let built =
            leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &intermediates, now, &self.wanted, None, Some(&check)).map(|_| ());
        match (built, refused.take()) {
            (Ok(()), _) => Ok(notes.take()),
            (Err(_), Some(cause)) => Err(Failure::Refused(Box::new(cause))),
            (Err(error), None) => Err(Failure::Webpki(error)),
        }
    }

    fn check_revocation(&self, path: &VerifiedPath<'_>, roots: &[&Certificate]) -> Result<Vec<String>, Refused> {
        let certificates = self.certificates(path, roots);
        // A gap would pair a certificate with another's issuer, about which no list has anything to say.
        if certificates.len() != path.intermediate_certificates().count() + 2 {
            return Err(Refused::Other { subject: self.leaf.subject.clone(), reason: "its path cannot be followed".into() });
        }
        self.trust.check_revocation(&certificates, self.now)
    }

    /// The path from the leaf to its root.
    fn certificates(&self, path: &VerifiedPath<'_>, roots: &[&'a Certificate]) -> Vec<&'a Certificate> {
        let intermediate = |der: &CertificateDer<'_>| self.intermediates.iter().find(|candidate| candidate.der == der.as_ref()).copied();
        let middle = path.intermediate_certificates().filter_map(|certificate| intermediate(&certificate.der()));
        let anchor = path.anchor();
        let is_anchor = |root: &&&Certificate| {
            anchor_from_trusted_cert(&CertificateDer::from(root.der.as_slice()))
                .is_ok_and(|known| known.subject == anchor.subject && known.subject_public_key_info == anchor.subject_public_key_info)
        };
        std::iter::once(self.leaf).chain(middle).chain(roots.iter().find(is_anchor).copied()).collect()
    }

    /// Which certificate is to blame, and for what. The leaf's own validity, purpose and name have been checked before.
    fn explain(&self, error: &Error, roots: &[Certificate]) -> Refused {
        let other = |certificate: &Certificate, reason: String| Refused::Other { subject: certificate.subject.clone(), reason };
        let mut chain = std::iter::once(self.leaf).chain(self.intermediates.iter().copied());
        match error {
            Error::UnknownIssuer => self.explain_unknown_issuer(roots),
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
                let refused = chain.find_map(|certificate| check_time(certificate, self.now).err());
                refused.unwrap_or_else(|| other(self.leaf, error.to_string()))
            }
            Error::RequiredEkuNotFoundContext(_) => {
                let refused = chain.find_map(|certificate| self.wanted.check(certificate).err());
                refused.unwrap_or_else(|| other(self.leaf, error.to_string()))
            }
            Error::CaUsedAsEndEntity => other(self.leaf, "is an authority's certificate and cannot identify a peer".into()),
            Error::EndEntityUsedAsCa => {
                let culprit = self.intermediates.iter().copied().find(|certificate| !certificate.is_ca).unwrap_or(self.leaf);
                other(culprit, "has issued certificates although it is no authority (basic constraints lack CA)".into())
            }
            Error::PathLenConstraintViolated => other(self.leaf, "an authority above it allows fewer intermediates".into()),
            Error::NameConstraintViolation => other(self.leaf, "an authority above it may not issue certificates for its names".into()),
            Error::UnsupportedCertVersion => other(self.leaf, "is no X.509 version 3 certificate, or has such an intermediate".into()),
            Error::UnsupportedCriticalExtension => {
                other(self.leaf, "it or an intermediate has a critical extension that is not understood".into())
            }
            Error::UnsupportedSignatureAlgorithmContext(_) => self.explain_algorithm(),
            Error::InvalidSignatureForPublicKey | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                self.explain_signature(roots)
            }
            _ => other(self.leaf, format!("cannot be used: {error}")),
        }
    }

    fn explain_unknown_issuer(&self, roots: &[Certificate]) -> Refused {
        let top = self.top();
        let named = roots.iter().find(|root| root.subject == top.issuer);
        let unusable = named.and_then(|root| anchor_from_trusted_cert(&CertificateDer::from(root.der.as_slice())).err());
        if let Some(error) = unusable {
            let reason = format!("its issuer {} is accepted, but that certificate cannot be used: {error}", top.issuer);
            return Refused::Other { subject: top.subject.clone(), reason };
        }
        Refused::UnknownIssuer { subject: top.subject.clone(), issuer: top.issuer.clone() }
    }

    fn explain_algorithm(&self) -> Refused {
        let weak = std::iter::once(self.leaf).chain(self.intermediates.iter().copied()).find_map(|certificate| {
            let algorithm = weak_signature(&certificate.der)?;
            Some((certificate, format!("is signed with {algorithm}, which is no longer accepted; have it issued anew with SHA-256")))
        });
        let (certificate, reason) =
            weak.unwrap_or_else(|| (self.leaf, "it or an intermediate is signed with an algorithm that is not accepted".into()));
        Refused::Other { subject: certificate.subject.clone(), reason }
    }

    fn explain_signature(&self, roots: &[Certificate]) -> Refused {
        let mut issuers = self.intermediates.iter().copied().chain(roots);
        let chain = || std::iter::once(self.leaf).chain(self.intermediates.iter().copied());
        let short = issuers.find_map(|issuer| match issuer.key_kind {
            Some(KeyKind::Rsa { bits }) if bits < 2048 && chain().any(|issued| issued.issuer == issuer.subject) => Some((issuer, bits)),
            _ => None,
        });
        let (certificate, reason) = match short {
            Some((issuer, bits)) => (issuer, format!("is an authority with an RSA key of {bits} bits; at least 2048 are needed")),
            None => {
                let top = self.top();
                let reason = format!(
                    "the signature on it or on a certificate below it does not come from the key of its issuer ({}): is the accepted \
                     authority an older one of the same name?",
                    top.issuer
                );
                (top, reason)
            }
        };
        Refused::Other { subject: certificate.subject.clone(), reason }
    }

    /// The last certificate reached from the leaf by following issuers among the intermediates.
    fn top(&self) -> &'a Certificate {
        let mut top = self.leaf;
        for _ in 0..self.intermediates.len() {
            let issuer = self.intermediates.iter().copied().find(|candidate| candidate.subject == top.issuer && candidate.der != top.der);
            match issuer {
                Some(issuer) if !top.is_self_issued() => top = issuer,
                _ => break,
            }
        }
        top
    }
}

fn check_time(certificate: &Certificate, now: UnixTime) -> Result<(), Refused> {
    let subject = || certificate.subject.clone();
    if now < certificate.not_before {
        return Err(Refused::NotYetValid { subject: subject(), not_before: certificate.not_before });
    }
    if now > certificate.not_after {
        return Err(Refused::Expired { subject: subject(), not_after: certificate.not_after });
    }
    Ok(())
}

/// By SAN alone. An IP address may be an iPAddress or, as Windows wants it, a dNSName.
fn is_made_out_to(certificate: &Certificate, name: &str) -> bool {
    if certificate.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name)) {
        return true;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return certificate.ip_addresses.contains(&address);
    }
    let der = CertificateDer::from(certificate.der.as_slice());
    match (EndEntityCert::try_from(&der), ServerName::try_from(name)) {
        (Ok(certificate), Ok(name)) => certificate.verify_is_valid_for_subject_name(&name).is_ok(),
        _ => false,
    }
}

/// Name of a signature algorithm that is known and refused.
pub(crate) fn weak_signature(der: &[u8]) -> Option<&'static str> {
    let (_, x509) = X509Certificate::from_der(der).ok()?;
    match x509.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => Some("RSA and SHA-1"),
        "1.2.840.10045.4.1" => Some("ECDSA and SHA-1"),
        "1.2.840.113549.1.1.4" => Some("RSA and MD5"),
        "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => Some("DSA"),
        _ => None,
    }
}
