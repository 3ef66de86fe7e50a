//! The crypto binding ([MS-SSTP] 3.2.5.2 and 3.3.5.2.3): proof that TLS connection and PPP authentication end at the same client.
//!
//! ```text
//! HLAK = the first 32 octets of Recv-Key | Send-Key, as the server sees them
//! CMK  = HMAC(HLAK, seed | length of the hash, 16 bits little-endian | 0x01)
//! CMAC = HMAC(CMK, CALL_CONNECTED with the MAC and its padding zero)
//! ```
use crate::api::{BindingHash, CertificateHashes, InnerKeys};
use crate::message::{BindingRequest, CallConnected};
use crypto::prf::Prf;
use crypto::{Zeroizing, constant_time_eq};

const SEED: &[u8; 29] = b"SSTP inner method derived CMK";

/// What authentication without keys is bound with.
const NO_KEYS: [u8; 32] = [0; 32];

impl BindingHash {
    /// Its bit in the Hash Protocol Bitmask.
    pub const fn bit(self) -> u8 {
        match self {
            Self::Sha1 => 0x01,
            Self::Sha256 => 0x02,
        }
    }

    /// Bytes of the hash.
    #[allow(clippy::len_without_is_empty, reason = "the length of an output, not of a collection")]
    pub fn len(self) -> usize {
        self.hmac().len()
    }

    fn hmac(self) -> Prf {
        match self {
            Self::Sha1 => Prf::HmacSha1,
            Self::Sha256 => Prf::HmacSha256,
        }
    }
}

/// What is wrong with a crypto binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the crypto binding uses SHA-1, but only SHA-256 was offered; offer SHA-1 if the client cannot do better")]
    HashNotOffered,
    #[error("the crypto binding carries another nonce than this call's: it belongs to another connection")]
    Nonce,
    #[error(
        "the crypto binding carries the hash of another certificate than this connection was shown: something between client and \
         gateway terminates TLS; if that is a balancer of yours, configure the hash of its certificate"
    )]
    Certificate,
    #[error("the compound MAC of the crypto binding is wrong: client and RADIUS server hold different keys of the inner authentication")]
    Mac,
    #[error("the authentication method makes keys, but all of them are zero: the RADIUS server must send MS-MPPE-Recv-Key and -Send-Key")]
    NoKeys,
}

/// CMAC of a CALL_CONNECTED under the higher-layer authentication key, of the length of its hash.
pub fn compound_mac(hlak: &[u8; 32], connected: &CallConnected) -> Zeroizing<Vec<u8>> {
    let hmac = connected.hash().hmac();
    hmac.compute(&compound_mac_key(hlak, connected.hash()), &[&connected.mac_input()])
}

/// CMK.
fn compound_mac_key(hlak: &[u8; 32], hash: BindingHash) -> Zeroizing<Vec<u8>> {
    // The hash is 20 or 32 bytes long.
    let len = [hash.len() as u8, 0];
    hash.hmac().compute(hlak, &[SEED, &len, &[0x01]])
}

/// Judges a CALL_CONNECTED: what was offered, the nonce, the certificate of this connection, the keys of this client. Secrets are
/// compared in constant time; the padding behind short hashes is not looked at.
pub fn verify(
    offered: &BindingRequest,
    certificates: &[CertificateHashes],
    keys: &InnerKeys,
    connected: &CallConnected,
) -> Result<BindingHash, Mismatch> {
    let hash = connected.hash();
    if !offered.offers(hash) {
        return Err(Mismatch::HashNotOffered);
    }
    if !constant_time_eq(&offered.nonce, connected.nonce()) {
        return Err(Mismatch::Nonce);
    }
    if !certificates.iter().any(|known| constant_time_eq(certificate_hash(known, hash), connected.certificate_hash())) {
        return Err(Mismatch::Certificate);
    }
    let hlak = match keys {
        InnerKeys::Keyless => &NO_KEYS,
        InnerKeys::Hlak(hlak) if constant_time_eq(&hlak[..], &NO_KEYS) => return Err(Mismatch::NoKeys),
        InnerKeys::Hlak(hlak) => hlak,
    };
    if !constant_time_eq(&compound_mac(hlak, connected), connected.mac()) {
        return Err(Mismatch::Mac);
    }
    Ok(hash)
}

fn certificate_hash(hashes: &CertificateHashes, hash: BindingHash) -> &[u8] {
    match hash {
        BindingHash::Sha1 => &hashes.sha1,
        BindingHash::Sha256 => &hashes.sha256,
    }
}

#[cfg(test)]
mod tests;
