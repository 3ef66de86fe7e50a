//! What the holder of a certificate may use it for: extended key usage and key usage.
use crate::{Certificate, Purpose, Refused};
use std::borrow::Cow;
use std::str::FromStr;
use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext};
use x509_parser::asn1_rs::Oid;

const ANY_EKU: &str = "2.5.29.37.0";
pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
/// id-kp-serverAuth; names the purpose in an error whose text nobody reads.
const SERVER_AUTH_DER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// Purposes with a name.
const NAMED_PURPOSES: &[(&str, &str)] = &[
    ("clientAuth", CLIENT_AUTH),
    ("serverAuth", SERVER_AUTH),
    ("ipsecIKE", "1.3.6.1.5.5.7.3.17"),
    ("ikeIntermediate", "1.3.6.1.5.5.8.2.2"),
    ("smartcardLogon", "1.3.6.1.4.1.311.20.2.2"),
];

/// The dotted OID of a purpose written as a word (`clientAuth`, `ipsecIKE`, `ikeIntermediate`, `smartcardLogon`, `serverAuth`; any case)
/// or as a dotted OID.
pub fn purpose_oid(text: &str) -> Option<String> {
    if let Some((_, oid)) = NAMED_PURPOSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Some((*oid).to_owned());
    }
    encode(text).filter(|_| text.contains('.')).map(|_| text.to_owned())
}

fn encode(oid: &str) -> Option<Vec<u8>> {
    Oid::from_str(oid).ok().map(|oid| oid.as_bytes().to_vec())
}

impl Purpose {
    pub(crate) fn oid(self) -> &'static str {
        match self {
            Self::Client => CLIENT_AUTH,
            Self::Server => SERVER_AUTH,
        }
    }
}

/// A purpose, with the OIDs of which one is enough.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    purpose: Purpose,
    client_purposes: &'a [String],
    /// What any certificate of a path may be for, anyExtendedKeyUsage among them.
    encoded: Vec<Vec<u8>>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(purpose: Purpose, client_purposes: &'a [String]) -> Self {
        let mut wanted = Self { purpose, client_purposes, encoded: Vec::new() };
        let oids = client_purposes.iter().map(String::as_str).chain([SERVER_AUTH]).filter(|oid| wanted.accepts(oid));
        wanted.encoded = oids.chain([ANY_EKU]).filter_map(encode).collect();
        wanted
    }

    /// The leaf itself. One for no purpose in particular is good for the usual one, not for one that somebody has named with care.
    pub(crate) fn check_leaf(&self, leaf: &Certificate) -> Result<(), Refused> {
        let unspecific = leaf.eku.as_ref().is_none_or(|eku| eku.iter().any(|oid| oid == ANY_EKU));
        let usual = unspecific && self.accepts(self.purpose.oid());
        if !usual && !leaf.eku.iter().flatten().any(|oid| self.accepts(oid)) {
            return Err(self.refusal(leaf));
        }
        let may_sign = self.purpose == Purpose::Server || leaf.key_usage.is_none_or(|usage| usage.digital_signature);
        if may_sign { Ok(()) } else { Err(Refused::WrongKeyUsage { subject: leaf.subject.clone() }) }
    }

    /// Any certificate of the path: no EKU extension at all, a wanted purpose, or any purpose.
    pub(crate) fn check(&self, certificate: &Certificate) -> Result<(), Refused> {
        let allowed = certificate.eku.as_ref().is_none_or(|eku| eku.iter().any(|oid| oid == ANY_EKU || self.accepts(oid)));
        if allowed { Ok(()) } else { Err(self.refusal(certificate)) }
    }

    fn accepts(&self, oid: &str) -> bool {
        match self.purpose {
            Purpose::Server => oid == SERVER_AUTH,
            Purpose::Client => self.client_purposes.iter().any(|accepted| accepted == oid),
        }
    }

    fn refusal(&self, certificate: &Certificate) -> Refused {
        let wanted = match self.purpose {
            Purpose::Server => text(SERVER_AUTH),
            Purpose::Client => self.client_purposes.iter().map(|oid| text(oid)).collect::<Vec<_>>().join(" or ").into(),
        };
        Refused::WrongPurpose { subject: certificate.subject.clone(), wanted }
    }
}

/// `clientAuth (1.3.6.1.5.5.7.3.2)`
fn text(oid: &str) -> Cow<'static, str> {
    match NAMED_PURPOSES.iter().find(|(_, known)| *known == oid) {
        Some((name, oid)) => format!("{name} ({oid})").into(),
        None => oid.to_owned().into(),
    }
}

/// OIDs are compared as they are encoded.
impl ExtendedKeyUsageValidator for &Wanted<'_> {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if self.encoded.iter().any(|accepted| purpose == KeyPurposeId::new(accepted)) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required: KeyUsage::required(SERVER_AUTH_DER), present }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        for (text, oid) in [
            ("clientAuth", Some("1.3.6.1.5.5.7.3.2")),
            ("IPSECIKE", Some("1.3.6.1.5.5.7.3.17")),
            ("smartcardLogon", Some("1.3.6.1.4.1.311.20.2.2")),
            ("1.3.6.1.4.1.32473.1", Some("1.3.6.1.4.1.32473.1")),
            ("client", None),
            ("", None),
            ("1", None),
            ("1.3.x", None),
            ("1..3", None),
            ("1.3.", None),
        ] {
            assert_eq!(purpose_oid(text).as_deref(), oid, "{text}");
        }
    }
}
