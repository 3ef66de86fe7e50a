//! Hashes and MACs outside the PRF: certificates, NAT detection, RADIUS (MD5), MS-CHAP (MD4, DES).

/// A hash that IKE names (RFC 7427 section 4 registry numbers in [`HashAlgorithm::id`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Digest of the concatenation of `parts`.
pub fn hash(_algorithm: HashAlgorithm, _parts: &[&[u8]]) -> Vec<u8> {
    todo!()
}
/// MD5 of the concatenation of `parts`; RADIUS only.
pub fn md5(_parts: &[&[u8]]) -> [u8; 16] {
    todo!()
}
/// HMAC-MD5 of the concatenation of `parts`; RADIUS Message-Authenticator only.
pub fn hmac_md5(_key: &[u8], _parts: &[&[u8]]) -> [u8; 16] {
    todo!()
}
/// MD4, for the NT password hash (RFC 2759 section 8.3).
pub fn md4(_data: &[u8]) -> [u8; 16] {
    todo!()
}
/// DES of one block with a 56-bit key given as 7 bytes (RFC 2759 section 8.6).
pub fn des_encrypt_block(_key: &[u8; 7], _clear: &[u8; 8]) -> [u8; 8] {
    todo!()
}
