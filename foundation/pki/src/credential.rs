//! What a listener presents.
use crate::{Certificate, CertificateError, Credential};
use crypto::sign::SigningKey;
use std::sync::Arc;

impl Credential {
    /// Reads both PEM texts and checks that they belong together. Roots of the file go to `roots`: whoever trusts them has them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let mut chain = Certificate::from_pem(chain)?;
        let key = SigningKey::from_pem(key)?;
        let leaf = chain.remove(0);
        if leaf.spki != key.public_spki() {
            return Err(CertificateError::KeyMismatch { subject: leaf.subject });
        }
        let (roots, intermediates): (Vec<_>, Vec<_>) = chain.into_iter().partition(Certificate::is_self_issued);
        Ok(Self { chain: std::iter::once(leaf).chain(intermediates).collect(), roots, key: Arc::new(key) })
    }

    /// The certificate of the key. `chain` is never empty.
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }
}
