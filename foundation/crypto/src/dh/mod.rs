//! Key exchange methods of IKEv2: Diffie-Hellman groups, and ML-KEM. Slow: pure machines ask for it, they do not call it.
mod kem;
mod modp;

use crate::Random;
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{AlgorithmId, DecapsulationKey};
use modp::Exponent;
use zeroize::Zeroizing;

/// Transform type 4, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 1024-bit MODP: only under the named legacy policy.
    Modp1024 = 2,
    Modp2048 = 14,
    Modp3072 = 15,
    Modp4096 = 16,
    EcpP256 = 19,
    EcpP384 = 20,
    EcpP521 = 21,
    Curve25519 = 31,
    /// As an additional key exchange (RFC 9370), never the first one.
    MlKem768 = 36,
    MlKem1024 = 37,
}

impl Group {
    const ALL: [Self; 10] = [
        Self::Modp1024,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::EcpP256,
        Self::EcpP384,
        Self::EcpP521,
        Self::Curve25519,
        Self::MlKem768,
        Self::MlKem1024,
    ];

    /// The group with this IANA number; `None` for one that Evergate does not have.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }
    pub fn id(self) -> u16 {
        self as u16
    }
    /// A key encapsulation mechanism: only [`respond`] can answer it.
    pub fn is_kem(self) -> bool {
        kem::algorithm(self).is_some()
    }
    /// Bits of a symmetric key that is as hard to break (NIST SP 800-57 part 1 table 2; between its rows RFC 3526 section 8).
    pub fn strength(self) -> u16 {
        match self {
            Self::Modp1024 => 80,
            Self::Modp2048 => 112,
            Self::Modp3072 | Self::EcpP256 | Self::Curve25519 => 128,
            Self::Modp4096 => 150,
            Self::EcpP384 | Self::MlKem768 => 192,
            Self::EcpP521 | Self::MlKem1024 => 256,
        }
    }
    /// Length in bytes of a public value on the wire (MODP: the modulus; ECP: x and y, RFC 5903; 25519: 32; ML-KEM: the initiator's).
    pub fn public_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::EcpP256 => 64,
            Self::EcpP384 => 96,
            Self::EcpP521 => 132,
            Self::Curve25519 => 32,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    fn curve(self) -> Option<&'static agreement::Algorithm> {
        match self {
            Self::Modp1024 | Self::Modp2048 | Self::Modp3072 | Self::Modp4096 | Self::MlKem768 | Self::MlKem1024 => None,
            Self::EcpP256 => Some(&ECDH_P256),
            Self::EcpP384 => Some(&ECDH_P384),
            Self::EcpP521 => Some(&ECDH_P521),
            Self::Curve25519 => Some(&X25519),
        }
    }

    /// What the crypto library has before x | y and RFC 5903 leaves out: the mark of an uncompressed point.
    fn point_prefix(self) -> &'static [u8] {
        if matches!(self, Self::EcpP256 | Self::EcpP384 | Self::EcpP521) { &[4] } else { &[] }
    }
}

/// The peer's public value is not a usable element of the group (wrong length, 0, 1, p-1, not on the curve, low order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("public value is no usable element of group {0:?}")]
pub struct BadPublicValue(pub Group);

/// The responder's whole part: a fresh public value, and the secret shared with the owner of `peer`.
///
/// # Errors
/// [`BadPublicValue`] when `peer` is none of this group.
pub fn respond(group: Group, peer: &[u8], random: &mut dyn Random) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), BadPublicValue> {
    match kem::algorithm(group) {
        Some(algorithm) => kem::encapsulate(algorithm, peer).ok_or(BadPublicValue(group)),
        None => {
            let (private, public) = PrivateKey::generate(group, random);
            private.agree(peer).map(|secret| (public, secret))
        }
    }
}

/// A fresh private exponent; used once.
pub struct PrivateKey {
    pub(crate) group: Group,
    secret: Secret,
}

enum Secret {
    Modp(Exponent),
    Curve(agreement::PrivateKey),
    Kem(DecapsulationKey<AlgorithmId>),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("group", &self.group).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// A key pair: the private half and the public value as it goes into the KE payload. All of it follows from `random`, so a
    /// seeded generator gives the same pair again; but ML-KEM has a generator of its own in the library.
    pub fn generate(group: Group, random: &mut dyn Random) -> (Self, Vec<u8>) {
        if let Some(algorithm) = kem::algorithm(group) {
            let (key, public) = kem::generate(algorithm);
            return (Self { group, secret: Secret::Kem(key) }, public);
        }
        match group.curve() {
            None => {
                let exponent = Exponent::generate(group, random);
                let public = exponent.public();
                (Self { group, secret: Secret::Modp(exponent) }, public)
            }
            Some(curve) => Self::from_curve_key(group, random_scalar(curve, group, random)),
        }
    }
    pub fn group(&self) -> Group {
        self.group
    }
    /// The shared secret g^ir: fixed length, x coordinate alone for the ECP groups (RFC 5903 section 9). For ML-KEM `peer` is the ciphertext.
    pub fn agree(self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
        let refused = BadPublicValue(self.group);
        let length = if self.group.is_kem() { kem::ciphertext_len(self.group) } else { self.group.public_len() };
        if peer.len() != length {
            return Err(refused);
        }
        match self.secret {
            Secret::Modp(exponent) => exponent.raise(peer).ok_or(refused),
            Secret::Kem(key) => kem::decapsulate(&key, peer).ok_or(refused),
            Secret::Curve(key) => {
                let point = [self.group.point_prefix(), peer].concat();
                let peer = UnparsedPublicKey::new(key.algorithm(), point);
                agreement::agree(&key, peer, refused, |secret| Ok(Zeroizing::new(secret.to_vec())))
            }
        }
    }

    fn from_curve_key(group: Group, key: agreement::PrivateKey) -> (Self, Vec<u8>) {
        // Every private key of a curve has a public one; only memory could fail here.
        let public = key.compute_public_key().expect("a public key");
        let public = public.as_ref()[group.point_prefix().len()..].to_vec();
        (Self { group, secret: Secret::Curve(key) }, public)
    }
}

/// A uniform scalar, by rejection: the library refuses 0 and everything from the order on, which for these curves befalls fewer than
/// one candidate in 2^31.
fn random_scalar(curve: &'static agreement::Algorithm, group: Group, random: &mut dyn Random) -> agreement::PrivateKey {
    let mut candidate = Zeroizing::new([0; 66]);
    let candidate = match group {
        Group::EcpP521 => &mut candidate[..],
        Group::EcpP384 => &mut candidate[..48],
        _ => &mut candidate[..32],
    };
    for _ in 0..16 {
        random.fill(candidate);
        if group == Group::EcpP521 {
            candidate[0] &= 1;
        }
        if let Ok(key) = agreement::PrivateKey::from_private_key(curve, candidate) {
            return key;
        }
    }
    // Sixteen refusals in a row mean a generator that stands still; no key is better than its key.
    panic!("the random source yields no usable scalar for {group:?}");
}

#[cfg(test)]
mod tests;
