//! MS-CHAPv2 (RFC 2759) and its keys (RFC 3079) from the side that knows the NT hash.
use crypto::hash::{HashAlgorithm, des_encrypt_block, hash, md4, rc4};
use crypto::{Zeroizing, constant_time_eq};

/// Bytes of a challenge of either side.
pub(crate) const CHALLENGE: usize = 16;

/// MD4 of a password in UTF-16 (RFC 2759 section 8.3): all that MS-CHAPv2 needs, and as good as the password itself to whoever reads it.
pub type NtHash = Zeroizing<[u8; 16]>;

const SERVER_PROVES: &[u8] = b"Magic server to client signing constant";
const SERVER_PROVES_TWICE: &[u8] = b"Pad to make it do more than one iteration";
const MASTER: &[u8] = b"This is the MPPE Master Key";
/// RFC 3079 section 3.4: what the server receives with.
const RECEIVES: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
const SENDS: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";

/// NtPasswordHash (RFC 2759 section 8.3).
pub fn nt_hash(password: &str) -> NtHash {
    let length = password.encode_utf16().count() * 2;
    let mut unicode = Zeroizing::new(Vec::with_capacity(length));
    password.encode_utf16().for_each(|unit| unicode.extend_from_slice(&unit.to_le_bytes()));
    Zeroizing::new(md4(&unicode))
}

/// A user name without its Windows domain (`EXAMPLE\alice`), which counts in no hash.
pub(crate) fn without_domain(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'\\').map_or(name, |at| &name[at + 1..])
}

/// What client and server said to each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub authenticator_challenge: &'a [u8; CHALLENGE],
    pub peer_challenge: &'a [u8; CHALLENGE],
    /// As the client sent it.
    pub name: &'a [u8],
}

/// A response that was right.
pub(crate) struct Proof {
    /// `S=` and 40 hexadecimal digits: the server knows the password too.
    pub authenticator_response: String,
    /// What the server receives with, what it sends with, 32 zeros.
    pub msk: Zeroizing<Vec<u8>>,
}

impl Exchange<'_> {
    /// Checks an NT-Response against a hash. Takes as long whether it is right or wrong up to the point where it is known to be right.
    pub(crate) fn verify(&self, hash: &NtHash, nt_response: &[u8; 24]) -> Option<Proof> {
        let challenge = self.challenge();
        constant_time_eq(&challenge_response(hash, &challenge), nt_response)
            .then(|| Proof { authenticator_response: authenticator_response(hash, nt_response, &challenge), msk: msk(hash, nt_response) })
    }

    /// ChallengeHash (RFC 2759 section 8.2).
    fn challenge(&self) -> [u8; 8] {
        head(&sha1(&[self.peer_challenge, self.authenticator_challenge, without_domain(self.name)]))
    }
}

/// Change-Password, version 2 (RFC 2759 section 7), without what belongs to its [`Exchange`].
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    /// The new password, encrypted with the old hash.
    pub encrypted_password: &'a [u8; 516],
    /// The old hash, encrypted with the new one.
    pub encrypted_hash: &'a [u8; 16],
    /// To the new password.
    pub nt_response: &'a [u8; 24],
}

impl Change<'_> {
    /// The new password in UTF-16; `None`: whoever sent this does not know the old one.
    pub(crate) fn open(&self, exchange: &Exchange<'_>, old: &NtHash) -> Option<NewPassword> {
        let mut block = Zeroizing::new(*self.encrypted_password);
        rc4(&**old, &mut *block);
        let length = usize::try_from(u32::from_le_bytes(tail(&*block))).ok().filter(|length| *length <= TEXT && length % 2 == 0)?;
        let unicode = Zeroizing::new(block[TEXT - length..TEXT].to_vec());
        let hash = Zeroizing::new(md4(&unicode));
        // The key of the second block begins where that of the first one ends.
        let first = des_encrypt_block(&head(&*hash), &head(&**old));
        let second = des_encrypt_block(&head(&hash[7..]), &head(&old[8..]));
        let same_old = constant_time_eq(&[first, second].concat(), self.encrypted_hash);
        let proof = exchange.verify(&hash, self.nt_response);
        let proof = proof.filter(|_| same_old)?;
        Some(NewPassword { unicode, hash, proof })
    }
}

/// A password that its user has chosen.
pub(crate) struct NewPassword {
    /// In UTF-16, little endian.
    pub unicode: Zeroizing<Vec<u8>>,
    pub hash: NtHash,
    /// For the client that sent it.
    pub proof: Proof,
}

/// Octets of the password in a Change-Password packet; behind them stands how many are used, from their end.
const TEXT: usize = 512;

/// ChallengeResponse (RFC 2759 section 8.5).
fn challenge_response(hash: &NtHash, challenge: &[u8; 8]) -> [u8; 24] {
    let mut keys = Zeroizing::new([0; 21]);
    keys[..16].copy_from_slice(&**hash);
    let mut response = [0; 24];
    for (key, block) in keys.chunks(7).zip(response.chunks_mut(8)) {
        let key = Zeroizing::new(head::<7>(key));
        block.copy_from_slice(&des_encrypt_block(&key, challenge));
    }
    response
}

/// GenerateAuthenticatorResponse (RFC 2759 section 8.7).
fn authenticator_response(hash: &NtHash, nt_response: &[u8; 24], challenge: &[u8; 8]) -> String {
    let digest = sha1(&[&*hash_of_hash(hash), nt_response, SERVER_PROVES]);
    let digest = sha1(&[&digest, challenge, SERVER_PROVES_TWICE]);
    format!("S={}", hex(&digest))
}

fn msk(hash: &NtHash, nt_response: &[u8; 24]) -> Zeroizing<Vec<u8>> {
    let master = Zeroizing::new(sha1(&[&*hash_of_hash(hash), nt_response, MASTER]));
    let key = |magic: &[u8]| Zeroizing::new(sha1(&[&master[..16], &[0; 40], magic, &[0xf2; 40]]));
    let mut msk = Zeroizing::new(vec![0; 64]);
    msk[..16].copy_from_slice(&key(RECEIVES)[..16]);
    msk[16..32].copy_from_slice(&key(SENDS)[..16]);
    msk
}

fn hash_of_hash(hash: &NtHash) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(md4(&**hash))
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    hash(HashAlgorithm::Sha1, parts)
}

/// The first bytes of something longer.
fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| bytes[index])
}

/// The last bytes of something longer.
fn tail<const N: usize>(bytes: &[u8]) -> [u8; N] {
    head(&bytes[bytes.len() - N..])
}

/// Upper-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }

    /// RFC 2759 section 9.2 and RFC 3079 section 3.5.3.
    #[test]
    fn published_vectors() {
        let (authenticator, peer) = (unhex("5B5D7C7D7B3F2F3E3C2C602132262628"), unhex("21402324255E262A28295F2B3A337C7E"));
        let response = unhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        let hash = nt_hash("clientPass");
        assert_eq!(hex(&*hash), "44EBBA8D5312B8D611474411F56989AE");
        for name in ["User", "BIGCO\\User"] {
            let exchange = Exchange { authenticator_challenge: &authenticator, peer_challenge: &peer, name: name.as_bytes() };
            assert_eq!(hex(&exchange.challenge()), "D02E4386BCE91226");
            let proof = exchange.verify(&hash, &response).unwrap();
            assert_eq!(proof.authenticator_response, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
            assert_eq!((proof.msk.len(), &proof.msk[32..]), (64, &[0; 32][..]));
            assert_eq!(hex(&proof.msk[16..32]), "8B7CDC149B993A1BA118CB153F56DCCB");
            let mut wrong = response;
            wrong[23] ^= 1;
            assert!(exchange.verify(&hash, &wrong).is_none());
            assert!(exchange.verify(&nt_hash("clientpass"), &response).is_none());
        }
    }

    #[test]
    fn characters_beyond_ascii_count() {
        // MD4 of the UTF-16 bytes 70 00 e4 00 df 00.
        assert_eq!(*nt_hash("p\u{e4}\u{df}"), md4(&[0x70, 0, 0xe4, 0, 0xdf, 0]));
        assert_eq!(*nt_hash("\u{1F511}"), md4(&[0x3d, 0xd8, 0x11, 0xdd]));
    }

    #[test]
    fn domains_are_cut_at_the_last_backslash() {
        assert_eq!(without_domain(b"A\\b\\c"), b"c");
        assert_eq!(without_domain(b"c@d"), b"c@d");
    }
}
