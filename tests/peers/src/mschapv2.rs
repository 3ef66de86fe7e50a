//! MS-CHAPv2 (RFC 2759) and the keys it yields (RFC 3079), as the client computes them.
use crypto::Zeroizing;
use crypto::hash::{HashAlgorithm, des_encrypt_block, hash, md4};

/// Length of a challenge of either side.
pub const CHALLENGE: usize = 16;

const MAGIC_SIGN: &[u8] = b"Magic server to client signing constant";
const MAGIC_PAD: &[u8] = b"Pad to make it do more than one iteration";
const MAGIC_MASTER: &[u8] = b"This is the MPPE Master Key";
const MAGIC_CLIENT_SENDS: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
const MAGIC_CLIENT_RECEIVES: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";

/// One authentication of a user.
#[derive(Clone)]
pub struct Exchange {
    pub authenticator_challenge: [u8; CHALLENGE],
    pub peer_challenge: [u8; CHALLENGE],
    /// With or without a domain; the domain does not count in the hashes.
    pub user: String,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Exchange {
    /// ChallengeHash (RFC 2759 section 8.2).
    pub fn challenge(&self) -> [u8; 8] {
        let user = self.user.rsplit_once('\\').map_or(self.user.as_str(), |(_, user)| user);
        head(&sha1(&[&self.peer_challenge, &self.authenticator_challenge, user.as_bytes()]))
    }

    /// GenerateNTResponse (RFC 2759 section 8.1).
    pub fn nt_response(&self) -> [u8; 24] {
        let mut padded = Zeroizing::new([0; 21]);
        padded[..16].copy_from_slice(&*self.password_hash());
        let challenge = self.challenge();
        let mut response = [0; 24];
        for (key, block) in padded.chunks(7).zip(response.chunks_mut(8)) {
            block.copy_from_slice(&des_encrypt_block(&head(key), &challenge));
        }
        response
    }

    /// GenerateAuthenticatorResponse (RFC 2759 section 8.7): `S=` and 40 hexadecimal digits.
    pub fn authenticator_response(&self) -> String {
        let digest = sha1(&[&*self.password_hash_hash(), &self.nt_response(), MAGIC_SIGN]);
        let digest = sha1(&[&digest, &self.challenge(), MAGIC_PAD]);
        digest.iter().fold("S=".to_owned(), |text, byte| format!("{text}{byte:02X}"))
    }

    /// GetMasterKey (RFC 3079 section 3.4).
    pub fn master_key(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(head(&sha1(&[&*self.password_hash_hash(), &self.nt_response(), MAGIC_MASTER])))
    }

    /// MasterSendKey of the client, 128 bits (RFC 3079 section 3.4).
    pub fn send_key(&self) -> Zeroizing<[u8; 16]> {
        self.start_key(MAGIC_CLIENT_SENDS)
    }

    /// MasterReceiveKey of the client, 128 bits.
    pub fn receive_key(&self) -> Zeroizing<[u8; 16]> {
        self.start_key(MAGIC_CLIENT_RECEIVES)
    }

    /// The MSK: what the client sends with, what it receives with, 32 zeros. RADIUS carries the same keys as MS-MPPE-Recv-Key and MS-MPPE-Send-Key,
    /// named from the server's side.
    pub fn msk(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([*self.send_key(), *self.receive_key(), [0; 16], [0; 16]].concat())
    }

    fn start_key(&self, magic: &[u8]) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(head(&sha1(&[&*self.master_key(), &[0; 40], magic, &[0xf2; 40]])))
    }

    fn password_hash(&self) -> Zeroizing<[u8; 16]> {
        let unicode: Zeroizing<Vec<u8>> = Zeroizing::new(self.password.encode_utf16().flat_map(u16::to_le_bytes).collect());
        Zeroizing::new(md4(&unicode))
    }

    fn password_hash_hash(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(md4(&*self.password_hash()))
    }
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    hash(HashAlgorithm::Sha1, parts)
}

/// The first bytes of something longer.
fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| bytes[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }

    fn sample(user: &str) -> Exchange {
        Exchange {
            authenticator_challenge: unhex("5B5D7C7D7B3F2F3E3C2C602132262628"),
            peer_challenge: unhex("21402324255E262A28295F2B3A337C7E"),
            user: user.into(),
            password: Zeroizing::new("clientPass".into()),
        }
    }

    /// RFC 2759 section 9.2.
    #[test]
    fn chap() {
        for user in ["User", "BIGCO\\User"] {
            let exchange = sample(user);
            assert_eq!(hex(&exchange.challenge()), "D02E4386BCE91226");
            assert_eq!(hex(&*exchange.password_hash()), "44EBBA8D5312B8D611474411F56989AE");
            assert_eq!(hex(&*exchange.password_hash_hash()), "41C00C584BD2D91C4017A2A12FA59F3F");
            assert_eq!(hex(&exchange.nt_response()), "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
            assert_eq!(exchange.authenticator_response(), "S=407A5589115FD0D6209F510FE9C04566932CDA56");
        }
        assert_ne!(sample("user").challenge(), sample("User").challenge());
    }

    /// RFC 3079 section 3.5.3; its send key is the server's.
    #[test]
    fn keys() {
        let exchange = sample("User");
        assert_eq!(hex(&*exchange.master_key()), "FDECE3717A8C838CB388E527AE3CDD31");
        assert_eq!(hex(&*exchange.receive_key()), "8B7CDC149B993A1BA118CB153F56DCCB");
        let msk = exchange.msk();
        assert_eq!((msk.len(), &msk[16..32], &msk[32..]), (64, &exchange.receive_key()[..], &[0; 32][..]));
        assert_eq!(msk[..16], exchange.send_key()[..]);
    }

    #[test]
    fn debug_has_no_password() {
        assert!(!format!("{:?}", sample("User")).contains("clientPass"));
    }
}
