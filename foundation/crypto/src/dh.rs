//! Diffie-Hellman groups of IKEv2. Slow: pure machines ask for it, they do not call it.
use crate::Random;
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
}

impl Group {
    pub fn from_id(_id: u16) -> Option<Self> {
        todo!()
    }
    pub fn id(self) -> u16 {
        self as u16
    }
    /// Length of a public value on the wire (MODP: the modulus; ECP: x and y, RFC 5903; 25519: 32).
    pub fn public_len(self) -> usize {
        todo!()
    }
}

/// The peer's public value is not a usable element of the group (wrong length, 0, 1, p-1, not on the curve, low order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("public value is no usable element of group {0:?}")]
pub struct BadPublicValue(pub Group);

/// A fresh private exponent; used once.
pub struct PrivateKey {
    pub(crate) group: Group,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("group", &self.group).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// A key pair: the private half and the public value as it goes into the KE payload.
    pub fn generate(_group: Group, _random: &mut dyn Random) -> (Self, Vec<u8>) {
        todo!()
    }
    pub fn group(&self) -> Group {
        self.group
    }
    /// The shared secret g^ir: fixed length, x coordinate alone for the ECP groups (RFC 5903 section 9).
    pub fn agree(self, _peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
        todo!()
    }
}
