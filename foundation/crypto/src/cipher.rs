//! Packet protection for ESP and for the IKE SK payload: AEAD, or CBC with encrypt-then-MAC.

/// Transform type 1 with its key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    AesCbc128,
    AesCbc256,
    /// ENCR_AES_GCM_16 (20), RFC 4106 / RFC 5282.
    AesGcm128,
    AesGcm256,
    /// ENCR_CHACHA20_POLY1305 (28), RFC 7634.
    ChaCha20Poly1305,
}

/// Transform type 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    HmacSha1_96 = 2,
    HmacSha256_128 = 12,
    HmacSha384_192 = 13,
    HmacSha512_256 = 14,
}

/// A complete protection: an AEAD has no integrity algorithm, CBC must have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suite {
    encryption: Encryption,
    integrity: Option<Integrity>,
}

impl Suite {
    /// `None` when the two do not fit (AEAD with integrity, CBC without).
    pub fn new(_encryption: Encryption, _integrity: Option<Integrity>) -> Option<Self> {
        todo!()
    }
    pub fn encryption(self) -> Encryption {
        self.encryption
    }
    pub fn integrity(self) -> Option<Integrity> {
        self.integrity
    }
    pub fn is_aead(self) -> bool {
        self.integrity.is_none()
    }
    /// Bytes of keying material for encryption, the 4-byte salt of the AEADs included (salt last, RFC 4106 section 8.1).
    pub fn encryption_key_len(self) -> usize {
        todo!()
    }
    /// Bytes of keying material for integrity; 0 for an AEAD.
    pub fn integrity_key_len(self) -> usize {
        todo!()
    }
    /// Explicit IV on the wire: 8 for the AEADs, 16 for CBC.
    pub fn iv_len(self) -> usize {
        todo!()
    }
    pub fn icv_len(self) -> usize {
        todo!()
    }
    /// The plaintext (payload, padding, trailer) must be a multiple of this: 16 for CBC, 1 for the AEADs (ESP itself aligns to 4).
    pub fn block_len(self) -> usize {
        todo!()
    }
}

/// The keys do not have the lengths that the suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key of {got} bytes where {want} are needed")]
pub struct BadKeyLength {
    pub got: usize,
    pub want: usize,
}

/// The ICV does not match: forged, damaged, or keyed otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("integrity check failed")]
pub struct Forged;

/// Outbound half. `Send + Sync`: several packet threads may share one; uniqueness of `counter` is the caller's duty.
pub struct Sealer {
    pub(crate) suite: Suite,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Sealer {
    pub fn new(_suite: Suite, _encryption_key: &[u8], _integrity_key: &[u8]) -> Result<Self, BadKeyLength> {
        todo!()
    }
    pub fn suite(&self) -> Suite {
        self.suite
    }
    /// Encrypts `body` in place, writes `iv` (derived from `counter`, which must never repeat under one key: the AEADs use it as it
    /// is, CBC encrypts it, NIST SP 800-38A appendix C) and `icv`.
    ///
    /// `aad` is authenticated before the IV; `tail` after the ciphertext (ESN high half with CBC, RFC 4303 section 2.2.1), and must be
    /// empty for an AEAD. Lengths of `iv`, `icv` must be the suite's; `body` a multiple of the block. No allocation.
    pub fn seal(&self, _counter: u64, _aad: &[u8], _iv: &mut [u8], _body: &mut [u8], _icv: &mut [u8], _tail: &[u8]) {
        todo!()
    }
}

/// Inbound half.
pub struct Opener {
    pub(crate) suite: Suite,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Opener {
    pub fn new(_suite: Suite, _encryption_key: &[u8], _integrity_key: &[u8]) -> Result<Self, BadKeyLength> {
        todo!()
    }
    pub fn suite(&self) -> Suite {
        self.suite
    }
    /// Verifies, then decrypts `body` in place. Parameters as in [`Sealer::seal`]. On [`Forged`] the content of `body` is unspecified.
    pub fn open(&self, _aad: &[u8], _iv: &[u8], _body: &mut [u8], _icv: &[u8], _tail: &[u8]) -> Result<(), Forged> {
        todo!()
    }
}
