//! Transforms and their IANA numbers and names.
use super::{Proposal, Transform, transform};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use std::fmt;

pub(super) const NONE: u16 = 0;
/// RFC 9370: additional key exchanges 1 to 7.
pub(super) const ADDKE: std::ops::RangeInclusive<u8> = 6..=12;

const ENCRYPTIONS: [Encryption; 5] =
    [Encryption::AesCbc128, Encryption::AesCbc256, Encryption::AesGcm128, Encryption::AesGcm256, Encryption::ChaCha20Poly1305];
const PRFS: [Prf; 4] = [Prf::HmacSha1, Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512];
const INTEGRITIES: [Integrity; 4] =
    [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256];

impl Transform {
    /// A transform without attributes.
    pub fn new(kind: u8, id: u16) -> Self {
        Self { kind, id, key_bits: None, unknown_attribute: false }
    }
    pub fn encryption(encryption: Encryption) -> Self {
        let (id, key_bits) = match encryption {
            Encryption::AesCbc128 => (12, Some(128)),
            Encryption::AesCbc256 => (12, Some(256)),
            Encryption::AesGcm128 => (20, Some(128)),
            Encryption::AesGcm256 => (20, Some(256)),
            Encryption::ChaCha20Poly1305 => (28, None),
        };
        Self { key_bits, ..Self::new(transform::ENCR, id) }
    }
    pub fn prf(prf: Prf) -> Self {
        Self::new(transform::PRF, prf as u16)
    }
    pub fn integrity(integrity: Integrity) -> Self {
        Self::new(transform::INTEG, integrity as u16)
    }
    pub fn group(group: Group) -> Self {
        Self::new(transform::DH, group.id())
    }
    /// The first additional key exchange.
    pub fn additional(group: Group) -> Self {
        Self::new(*ADDKE.start(), group.id())
    }
    pub fn esn(esn: bool) -> Self {
        Self::new(transform::ESN, esn.into())
    }

    pub(super) fn as_encryption(&self) -> Option<Encryption> {
        ENCRYPTIONS.into_iter().find(|encryption| Self::encryption(*encryption) == *self)
    }
    pub(super) fn as_prf(&self) -> Option<Prf> {
        PRFS.into_iter().find(|prf| Self::prf(*prf) == *self)
    }
    pub(super) fn as_integrity(&self) -> Option<Integrity> {
        INTEGRITIES.into_iter().find(|integrity| Self::integrity(*integrity) == *self)
    }
    pub(super) fn as_group(&self) -> Option<Group> {
        Group::from_id(self.id).filter(|group| Self::group(*group) == *self)
    }

    fn name(&self) -> Option<&'static str> {
        match self.kind {
            transform::ENCR => encryption_name(self.id),
            transform::PRF => prf_name(self.id),
            transform::INTEG => integrity_name(self.id),
            transform::DH => group_name(self.id),
            transform::ESN => ["NO_ESN", "ESN"].get(usize::from(self.id)).copied(),
            kind if ADDKE.contains(&kind) => group_name(self.id),
            _ => None,
        }
    }
}

/// `DH`, or a number for a type we do not know.
pub(super) fn kind_name(kind: u8) -> String {
    match kind {
        transform::ENCR => "ENCR".into(),
        transform::PRF => "PRF".into(),
        transform::INTEG => "INTEG".into(),
        transform::DH => "DH".into(),
        transform::ESN => "ESN".into(),
        kind if ADDKE.contains(&kind) => format!("ADDKE{}", kind - 5),
        other => format!("transform type {other}"),
    }
}

fn encryption_name(id: u16) -> Option<&'static str> {
    Some(match id {
        2 => "DES",
        3 => "3DES",
        11 => "NULL",
        12 => "AES_CBC",
        13 => "AES_CTR",
        14 => "AES_CCM_8",
        15 => "AES_CCM_12",
        16 => "AES_CCM_16",
        18 => "AES_GCM_8",
        19 => "AES_GCM_12",
        20 => "AES_GCM_16",
        21 => "NULL_AES_GMAC",
        23 => "CAMELLIA_CBC",
        28 => "CHACHA20_POLY1305",
        _ => return None,
    })
}

fn prf_name(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "PRF_HMAC_MD5",
        2 => "PRF_HMAC_SHA1",
        4 => "PRF_AES128_XCBC",
        5 => "PRF_HMAC_SHA2_256",
        6 => "PRF_HMAC_SHA2_384",
        7 => "PRF_HMAC_SHA2_512",
        8 => "PRF_AES128_CMAC",
        _ => return None,
    })
}

fn integrity_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "NONE",
        1 => "HMAC_MD5_96",
        2 => "HMAC_SHA1_96",
        5 => "AES_XCBC_96",
        8 => "AES_CMAC_96",
        12 => "HMAC_SHA2_256_128",
        13 => "HMAC_SHA2_384_192",
        14 => "HMAC_SHA2_512_256",
        _ => return None,
    })
}

fn group_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "NONE",
        1 => "MODP_768",
        2 => "MODP_1024",
        5 => "MODP_1536",
        14 => "MODP_2048",
        15 => "MODP_3072",
        16 => "MODP_4096",
        17 => "MODP_6144",
        18 => "MODP_8192",
        19 => "ECP_256",
        20 => "ECP_384",
        21 => "ECP_521",
        22 => "MODP_1024_160",
        23 => "MODP_2048_224",
        24 => "MODP_2048_256",
        31 => "CURVE_25519",
        32 => "CURVE_448",
        35 => "ML_KEM_512",
        36 => "ML_KEM_768",
        37 => "ML_KEM_1024",
        _ => return None,
    })
}

impl fmt::Display for Transform {
    /// `AES_CBC_256`; a number where there is no name: `ENCR 99`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if ADDKE.contains(&self.kind) {
            write!(f, "{}=", kind_name(self.kind))?;
        }
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{} {}", kind_name(self.kind), self.id)?,
        }
        if let Some(bits) = self.key_bits {
            write!(f, "_{bits}")?;
        }
        if self.unknown_attribute { f.write_str("(unknown attribute)") } else { Ok(()) }
    }
}

impl fmt::Display for Proposal {
    /// Types in the order encryption, integrity, PRF, group, ESN: `AES_CBC_256|AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = [transform::ENCR, transform::INTEG, transform::PRF, transform::DH, transform::ESN];
        let kinds = order.into_iter().chain([0]).chain(6..=u8::MAX);
        let alternatives = |kind| {
            let of_kind = self.transforms.iter().filter(move |transform| transform.kind == kind);
            // "No integrity" goes without saying for an AEAD.
            of_kind.filter(|transform| **transform != Transform::new(transform::INTEG, NONE))
        };
        let parts = kinds.map(|kind| list(alternatives(kind), "|")).filter(|part| !part.is_empty());
        f.write_str(&parts.collect::<Vec<_>>().join("/"))
    }
}

/// `AES_CBC_256+HMAC_SHA2_256_128`.
pub(super) fn suite_name(suite: &Suite) -> String {
    let encryption = Transform::encryption(suite.encryption());
    match suite.integrity() {
        None => encryption.to_string(),
        Some(integrity) => format!("{encryption}+{}", Transform::integrity(integrity)),
    }
}

/// Each once, in order.
pub(super) fn list(items: impl IntoIterator<Item = impl ToString>, separator: &str) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in items.into_iter().map(|item| item.to_string()) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(separator)
}
