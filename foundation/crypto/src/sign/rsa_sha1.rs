//! RSASSA-PKCS1-v1_5 with SHA-1: what Windows demands of an RSA gateway (IKE authentication method 1) and what the safe interface of
//! the crypto library only verifies. The only unsafe code of this crate.
#![allow(unsafe_code)]
use aws_lc_sys::{NID_sha1, RSA, RSA_free, RSA_private_key_from_bytes, RSA_sign, RSA_size};
use std::ptr::NonNull;

/// An RSA private key that signs SHA-1 digests.
pub(super) struct RsaSha1Key(NonNull<RSA>);

// SAFETY: the object is owned, never changed after construction, and AWS-LC locks what it caches inside (rsa.h: one RSA may be used
// concurrently by functions that do not mutate it, of which RSA_sign is one).
unsafe impl Send for RsaSha1Key {}
// SAFETY: as above.
unsafe impl Sync for RsaSha1Key {}

impl RsaSha1Key {
    /// Reads a PKCS#1 RSAPrivateKey; `None` when it is malformed or inconsistent.
    pub(super) fn from_pkcs1(der: &[u8]) -> Option<Self> {
        // SAFETY: pointer and length describe one live slice, which is only read; the result is null or owned by us.
        NonNull::new(unsafe { RSA_private_key_from_bytes(der.as_ptr(), der.len()) }).map(Self)
    }

    /// The signature over a SHA-1 digest, as long as the modulus; `None` when the library fails.
    pub(super) fn sign(&self, digest: &[u8; 20]) -> Option<Vec<u8>> {
        // SAFETY: `self.0` is live; RSA_size only reads it.
        let mut signature = vec![0; unsafe { RSA_size(self.0.as_ptr()) } as usize];
        let mut len = 0;
        // SAFETY: the digest has the 20 bytes that NID_sha1 stands for, `signature` the RSA_size bytes that RSA_sign may write, both
        // outlive the call, and RSA_sign changes the key only behind its own locks.
        let done = unsafe { RSA_sign(NID_sha1, digest.as_ptr(), digest.len(), signature.as_mut_ptr(), &mut len, self.0.as_ptr()) };
        (done == 1 && len as usize == signature.len()).then_some(signature)
    }
}

impl Drop for RsaSha1Key {
    fn drop(&mut self) {
        // SAFETY: we own the object and nobody can use it any more; AWS-LC wipes the secret parts.
        unsafe { RSA_free(self.0.as_ptr()) }
    }
}
