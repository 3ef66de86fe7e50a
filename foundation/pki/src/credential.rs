//! What a listener presents.
use crate::{Certificate, CertificateError, Credential};
use crypto::sign::SigningKey;
use std::sync::Arc;

impl Credential {
    /// Reads both PEM texts and checks that they belong together. Roots in the chain are dropped: whoever trusts them has them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let mut chain = Certificate::from_pem(chain)?;
        let key = SigningKey::from_pem(key)?;
        let leaf = chain.remove(0);
        if leaf.spki != key.public_spki() {
            return Err(CertificateError::KeyMismatch { subject: leaf.subject });
        }
        let intermediates = chain.into_iter().filter(|certificate| !certificate.is_self_issued());
        Ok(Self { chain: std::iter::once(leaf.clone()).chain(intermediates).collect(), key: Arc::new(key) })
    }

    /// The certificate of the key. `chain` is never empty.
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }
}
