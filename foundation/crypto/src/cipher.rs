//! Packet protection for ESP and for the IKE SK payload: AEAD, or CBC with encrypt-then-MAC.
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

/// Implicit part of an AEAD nonce (RFC 4106 section 4, RFC 7634 section 2).
const SALT_LEN: usize = 4;
const AES_BLOCK_LEN: usize = 16;

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

impl Encryption {
    /// Bits of its key.
    pub fn key_bits(self) -> u16 {
        match self {
            Self::AesCbc128 | Self::AesGcm128 => 128,
            Self::AesCbc256 | Self::AesGcm256 | Self::ChaCha20Poly1305 => 256,
        }
    }

    fn aead_algorithm(self) -> Option<&'static aead::Algorithm> {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => None,
            Self::AesGcm128 => Some(&aead::AES_128_GCM),
            Self::AesGcm256 => Some(&aead::AES_256_GCM),
            Self::ChaCha20Poly1305 => Some(&aead::CHACHA20_POLY1305),
        }
    }
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
    pub fn new(encryption: Encryption, integrity: Option<Integrity>) -> Option<Self> {
        (encryption.aead_algorithm().is_some() == integrity.is_none()).then_some(Self { encryption, integrity })
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
        match self.encryption {
            Encryption::AesCbc128 => 16,
            Encryption::AesCbc256 => 32,
            Encryption::AesGcm128 => 16 + SALT_LEN,
            Encryption::AesGcm256 | Encryption::ChaCha20Poly1305 => 32 + SALT_LEN,
        }
    }
    /// Bytes of keying material for integrity; 0 for an AEAD.
    pub fn integrity_key_len(self) -> usize {
        match self.integrity {
            None => 0,
            Some(Integrity::HmacSha1_96) => 20,
            Some(Integrity::HmacSha256_128) => 32,
            Some(Integrity::HmacSha384_192) => 48,
            Some(Integrity::HmacSha512_256) => 64,
        }
    }
    /// Explicit IV on the wire, in bytes: 8 for the AEADs, 16 for CBC.
    pub fn iv_len(self) -> usize {
        if self.is_aead() { 8 } else { AES_BLOCK_LEN }
    }
    /// Integrity check value on the wire, in bytes.
    pub fn icv_len(self) -> usize {
        match self.integrity {
            None => 16,
            Some(Integrity::HmacSha1_96) => 12,
            Some(Integrity::HmacSha256_128) => 16,
            Some(Integrity::HmacSha384_192) => 24,
            Some(Integrity::HmacSha512_256) => 32,
        }
    }
    /// The plaintext (payload, padding, trailer) must be a multiple of this: 16 for CBC, 1 for the AEADs (ESP itself aligns to 4).
    pub fn block_len(self) -> usize {
        if self.is_aead() { 1 } else { AES_BLOCK_LEN }
    }

    fn check_key_lens(self, encryption_key: &[u8], integrity_key: &[u8]) -> Result<(), BadKeyLength> {
        let pairs = [(encryption_key.len(), self.encryption_key_len()), (integrity_key.len(), self.integrity_key_len())];
        match pairs.into_iter().find(|(got, want)| got != want) {
            Some((got, want)) => Err(BadKeyLength { got, want }),
            None => Ok(()),
        }
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
    keys: SealingKeys,
}

#[allow(clippy::large_enum_variant, reason = "one per tunnel, read for every packet: no further indirection")]
enum SealingKeys {
    Aead(AeadKey),
    Cbc { cipher: EncryptingKey, mac: hmac::Key },
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Prepares both key schedules once, so that [`Sealer::seal`] only reads them.
    pub fn new(suite: Suite, encryption_key: &[u8], integrity_key: &[u8]) -> Result<Self, BadKeyLength> {
        suite.check_key_lens(encryption_key, integrity_key)?;
        let keys = match suite.integrity {
            None => SealingKeys::Aead(AeadKey::new(suite.encryption, encryption_key)),
            Some(integrity) => SealingKeys::Cbc {
                // AES of the checked length in CBC mode: the only ways to be refused are excluded.
                cipher: EncryptingKey::cbc(aes_key(encryption_key)).expect("AES has a CBC mode"),
                mac: hmac::Key::new(hmac_algorithm(integrity), integrity_key),
            },
        };
        Ok(Self { suite, keys })
    }
    pub fn suite(&self) -> Suite {
        self.suite
    }
    /// Encrypts `body` in place, writes `iv` (derived from `counter`, which must never repeat under one key: the AEADs use it as it
    /// is, CBC encrypts it, NIST SP 800-38A appendix C) and `icv`.
    ///
    /// `aad` is authenticated before the IV; `tail` after the ciphertext (ESN high half with CBC, RFC 4303 section 2.2.1), and must be
    /// empty for an AEAD. Lengths of `iv`, `icv` must be the suite's; `body` a multiple of the block. No allocation.
    ///
    /// # Panics
    /// When a length breaks this contract, which is a fault of the caller: sending an unprotected packet is no way out.
    pub fn seal(&self, counter: u64, aad: &[u8], iv: &mut [u8], body: &mut [u8], icv: &mut [u8], tail: &[u8]) {
        assert!(iv.len() == self.suite.iv_len() && icv.len() == self.suite.icv_len(), "IV or ICV of a wrong length for {:?}", self.suite);
        match &self.keys {
            SealingKeys::Aead(key) => {
                assert!(tail.is_empty(), "an AEAD authenticates nothing after the ciphertext");
                iv.copy_from_slice(&counter.to_be_bytes());
                key.seal(aad, iv, body, icv);
            }
            SealingKeys::Cbc { cipher, mac } => {
                assert!(body.len().is_multiple_of(AES_BLOCK_LEN), "CBC encrypts whole blocks");
                let mut block = [0; AES_BLOCK_LEN];
                block[8..].copy_from_slice(&counter.to_be_bytes());
                // CBC of one block with a zero IV is ECB.
                cbc_encrypt(cipher, [0; AES_BLOCK_LEN], &mut block);
                cbc_encrypt(cipher, block, body);
                iv.copy_from_slice(&block);
                icv.copy_from_slice(&authenticate(mac, [aad, iv, body, tail]).as_ref()[..icv.len()]);
            }
        }
    }
}

/// Inbound half. `Send + Sync`.
pub struct Opener {
    pub(crate) suite: Suite,
    keys: OpeningKeys,
}

#[allow(clippy::large_enum_variant, reason = "one per tunnel, read for every packet: no further indirection")]
enum OpeningKeys {
    Aead(AeadKey),
    Cbc { cipher: DecryptingKey, mac: hmac::Key },
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Opener {
    /// Prepares both key schedules once, so that [`Opener::open`] only reads them.
    pub fn new(suite: Suite, encryption_key: &[u8], integrity_key: &[u8]) -> Result<Self, BadKeyLength> {
        suite.check_key_lens(encryption_key, integrity_key)?;
        let keys = match suite.integrity {
            None => OpeningKeys::Aead(AeadKey::new(suite.encryption, encryption_key)),
            Some(integrity) => OpeningKeys::Cbc {
                // AES of the checked length in CBC mode: the only ways to be refused are excluded.
                cipher: DecryptingKey::cbc(aes_key(encryption_key)).expect("AES has a CBC mode"),
                mac: hmac::Key::new(hmac_algorithm(integrity), integrity_key),
            },
        };
        Ok(Self { suite, keys })
    }
    pub fn suite(&self) -> Suite {
        self.suite
    }
    /// Verifies, then decrypts `body` in place. Parameters as in [`Sealer::seal`], but every wrong length is [`Forged`]: they may come
    /// from the wire. On [`Forged`] the content of `body` is unspecified. No allocation.
    pub fn open(&self, aad: &[u8], iv: &[u8], body: &mut [u8], icv: &[u8], tail: &[u8]) -> Result<(), Forged> {
        if iv.len() != self.suite.iv_len() || icv.len() != self.suite.icv_len() || !body.len().is_multiple_of(self.suite.block_len()) {
            return Err(Forged);
        }
        match &self.keys {
            OpeningKeys::Aead(_) if !tail.is_empty() => Err(Forged),
            OpeningKeys::Aead(key) => key.open(aad, iv, body, icv),
            OpeningKeys::Cbc { cipher, mac } => {
                let tag = authenticate(mac, [aad, iv, body, tail]);
                if !crate::constant_time_eq(&tag.as_ref()[..icv.len()], icv) {
                    return Err(Forged);
                }
                let context = DecryptionContext::Iv128(FixedLength::try_from(iv).map_err(|_| Forged)?);
                cipher.decrypt(body, context).map(|_| ()).map_err(|_| Forged)
            }
        }
    }
}

struct AeadKey {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl AeadKey {
    /// `material` is key | salt and has the length of [`Suite::encryption_key_len`].
    fn new(encryption: Encryption, material: &[u8]) -> Self {
        let (key, salt) = material.split_at(material.len() - SALT_LEN);
        // `Suite::new` pairs CBC with an integrity algorithm, and with one of those nobody comes here.
        let algorithm = encryption.aead_algorithm().expect("an AEAD");
        // `Suite::check_key_lens` has seen the length, the only thing an AEAD key can have wrong.
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("key of the algorithm's length"));
        let mut own_salt = Zeroizing::new([0; SALT_LEN]);
        own_salt.copy_from_slice(salt);
        Self { key, salt: own_salt }
    }

    fn nonce(&self, iv: &[u8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..SALT_LEN].copy_from_slice(&*self.salt);
        nonce[SALT_LEN..].copy_from_slice(iv);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, aad: &[u8], iv: &[u8], body: &mut [u8], icv: &mut [u8]) {
        // Fails only beyond 2^36 bytes or with an ICV of a wrong length; the caller has checked the latter.
        self.key.seal_in_place_scatter(self.nonce(iv), Aad::from(aad), body, &[], icv).expect("a packet can be sealed");
    }

    fn open(&self, aad: &[u8], iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), Forged> {
        self.key.open_in_place_separate_tag(self.nonce(iv), Aad::from(aad), icv, body).map(|_| ()).map_err(|_| Forged)
    }
}

/// `key` has 16 or 32 bytes.
fn aes_key(key: &[u8]) -> UnboundCipherKey {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    // `Suite::check_key_lens` has seen the length, the only thing an AES key can have wrong.
    UnboundCipherKey::new(algorithm, key).expect("key of the algorithm's length")
}

fn hmac_algorithm(integrity: Integrity) -> hmac::Algorithm {
    match integrity {
        Integrity::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Integrity::HmacSha256_128 => hmac::HMAC_SHA256,
        Integrity::HmacSha384_192 => hmac::HMAC_SHA384,
        Integrity::HmacSha512_256 => hmac::HMAC_SHA512,
    }
}

fn cbc_encrypt(key: &EncryptingKey, iv: [u8; AES_BLOCK_LEN], blocks: &mut [u8]) {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    // Fails only for a partial block, which the callers exclude.
    key.less_safe_encrypt(blocks, context).expect("whole blocks can be encrypted");
}

/// HMAC of the parts, whole.
fn authenticate(key: &hmac::Key, parts: [&[u8]; 4]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

#[cfg(test)]
#[path = "cipher_tests.rs"]
mod tests;
