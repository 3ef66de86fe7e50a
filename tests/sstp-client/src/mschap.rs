//! MS-CHAPv2 as the client computes it (RFC 2759), its keys (RFC 3079) and CHAP with MD5 (RFC 1994).

use aws_lc_rs::digest;
use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::{Digest as _, Md4};
use md5::Md5;

const MAGIC_SIGN: &[u8] = b"Magic server to client signing constant";
const MAGIC_PAD: &[u8] = b"Pad to make it do more than one iteration";
const MAGIC_MASTER: &[u8] = b"This is the MPPE Master Key";
const MAGIC_CLIENT_SENDS: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
const MAGIC_CLIENT_RECEIVES: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";

/// One authentication: both challenges and whose password is proved.
#[derive(Clone)]
pub struct Exchange {
    /// From the server.
    pub authenticator_challenge: [u8; 16],
    /// Ours.
    pub peer_challenge: [u8; 16],
    /// As sent, a domain before a backslash included; the hashes leave it out.
    pub user: String,
    /// The password in clear.
    pub password: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Exchange {
    /// ChallengeHash, RFC 2759 section 8.2.
    pub fn challenge(&self) -> [u8; 8] {
        let name = self.user.rsplit_once('\\').map_or(self.user.as_str(), |(_, name)| name);
        first(&sha1(&[&self.peer_challenge, &self.authenticator_challenge, name.as_bytes()]))
    }

    /// GenerateNTResponse, RFC 2759 section 8.1.
    pub fn nt_response(&self) -> [u8; 24] {
        challenge_response(self.challenge(), nt_hash(&self.password))
    }

    /// The 49 bytes of a Response's value: peer challenge, 8 reserved, NT-Response, flags (RFC 2759 section 4).
    pub fn response(&self) -> [u8; 49] {
        let mut value = [0; 49];
        value[..16].copy_from_slice(&self.peer_challenge);
        value[24..48].copy_from_slice(&self.nt_response());
        value
    }

    /// GenerateAuthenticatorResponse, RFC 2759 section 8.7: what a server that knows the password says, `S=` and 40 upper-case digits.
    pub fn authenticator_response(&self) -> String {
        let digest = sha1(&[&md4(&nt_hash(&self.password)), &self.nt_response(), MAGIC_SIGN]);
        let digest = sha1(&[&digest, &self.challenge(), MAGIC_PAD]);
        format!("S={}", hex(&digest).to_uppercase())
    }

    /// MasterSendKey and MasterReceiveKey of the client's side, 128 bits each (RFC 3079 section 3.4).
    pub fn keys(&self) -> Keys {
        let master: [u8; 16] = first(&sha1(&[&md4(&nt_hash(&self.password)), &self.nt_response(), MAGIC_MASTER]));
        let key = |magic: &[u8]| first(&sha1(&[&master, &[0; 40], magic, &[0xf2; 40]]));
        Keys { send: key(MAGIC_CLIENT_SENDS), receive: key(MAGIC_CLIENT_RECEIVES) }
    }
}

/// The master keys as the client sees them.
#[derive(Clone, Copy)]
pub struct Keys {
    /// MasterSendKey of the client.
    pub send: [u8; 16],
    /// MasterReceiveKey of the client.
    pub receive: [u8; 16],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// HLAK: what the client sends with, then what it receives with.
    pub fn hlak(&self) -> [u8; 32] {
        let mut hlak = [0; 32];
        hlak[..16].copy_from_slice(&self.send);
        hlak[16..].copy_from_slice(&self.receive);
        hlak
    }
}

/// The value field of Change-Password version 2 (RFC 2759 section 7): 582 bytes behind the CHAP header.
pub fn change_password(exchange: &Exchange, new_password: &str, filler: &[u8; 516]) -> Vec<u8> {
    let (old_hash, new_hash) = (nt_hash(&exchange.password), nt_hash(new_password));
    let mut value = encrypted_password(new_password, &old_hash, filler).to_vec();
    let mut hash_blocks = [0; 16];
    for (index, block) in hash_blocks.chunks_mut(8).enumerate() {
        let key = first::<7>(&new_hash[7 * index..]);
        block.copy_from_slice(&des_block(&key, &first(&old_hash[8 * index..])));
    }
    value.extend(hash_blocks);
    value.extend(exchange.peer_challenge);
    value.extend([0; 8]);
    let proof = Exchange { password: new_password.to_owned(), ..exchange.clone() };
    value.extend(proof.nt_response());
    value.extend([0, 0]);
    value
}

/// The value of a CHAP response with MD5.
pub fn chap_md5(identifier: u8, password: &str, challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([identifier]).chain_update(password).chain_update(challenge).finalize().into()
}

/// NtPasswordHash: MD4 over UTF-16LE.
pub fn nt_hash(password: &str) -> [u8; 16] {
    md4(&password.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
}

/// `0a1b..`
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encrypted_password(new_password: &str, old_hash: &[u8; 16], filler: &[u8; 516]) -> [u8; 516] {
    let unicode: Vec<u8> = new_password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut block = *filler;
    block[512 - unicode.len()..512].copy_from_slice(&unicode);
    block[512..].copy_from_slice(&(unicode.len() as u32).to_le_bytes());
    rc4(old_hash, &mut block);
    block
}

fn challenge_response(challenge: [u8; 8], password_hash: [u8; 16]) -> [u8; 24] {
    let mut padded = [0; 21];
    padded[..16].copy_from_slice(&password_hash);
    let mut response = [0; 24];
    for (key, block) in padded.chunks(7).zip(response.chunks_mut(8)) {
        block.copy_from_slice(&des_block(&first(key), &challenge));
    }
    response
}

fn des_block(key: &[u8; 7], clear: &[u8; 8]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let spread: [u8; 8] = std::array::from_fn(|index| ((bits >> (49 - 7 * index)) as u8) << 1);
    let mut block = (*clear).into();
    Des::new(&spread.into()).encrypt_block(&mut block);
    block.into()
}

fn rc4(key: &[u8], data: &mut [u8]) {
    let mut state: [u8; 256] = std::array::from_fn(|index| index as u8);
    let mut swap_with = 0_u8;
    for index in 0..256 {
        swap_with = swap_with.wrapping_add(state[index]).wrapping_add(key[index % key.len()]);
        state.swap(index, usize::from(swap_with));
    }
    let (mut one, mut two) = (0_u8, 0_u8);
    for byte in data {
        one = one.wrapping_add(1);
        two = two.wrapping_add(state[usize::from(one)]);
        state.swap(usize::from(one), usize::from(two));
        *byte ^= state[usize::from(state[usize::from(one)].wrapping_add(state[usize::from(two)]))];
    }
}

fn md4(bytes: &[u8]) -> [u8; 16] {
    Md4::digest(bytes).into()
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// The first bytes of something longer.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| bytes[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        assert_eq!(text.len(), 2 * N);
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    }

    /// RFC 2759 section 9.2.
    fn sample(user: &str) -> Exchange {
        Exchange {
            authenticator_challenge: unhex("5B5D7C7D7B3F2F3E3C2C602132262628"),
            peer_challenge: unhex("21402324255E262A28295F2B3A337C7E"),
            user: user.to_owned(),
            password: "clientPass".to_owned(),
        }
    }

    #[test]
    fn rfc_2759_example() {
        for user in ["User", "DOMAIN\\User"] {
            let exchange = sample(user);
            assert_eq!(exchange.challenge(), unhex("D02E4386BCE91226"));
            assert_eq!(exchange.nt_response(), unhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
            assert_eq!(exchange.authenticator_response(), "S=407A5589115FD0D6209F510FE9C04566932CDA56");
        }
        assert_ne!(sample("user").challenge(), sample("User").challenge());
    }

    /// RFC 3079 section 3.5.3: its send start key is the server's, which is what the client receives with.
    #[test]
    fn rfc_3079_keys() {
        let keys = sample("User").keys();
        assert_eq!(keys.receive, unhex("8B7CDC149B993A1BA118CB153F56DCCB"));
        assert_ne!(keys.send, keys.receive);
        assert_eq!((&keys.hlak()[..16], &keys.hlak()[16..]), (&keys.send[..], &keys.receive[..]));
    }

    /// RFC 6229, 128-bit key 0102..10, offset 0.
    #[test]
    fn rc4_vector() {
        let key: [u8; 16] = std::array::from_fn(|index| index as u8 + 1);
        let mut data = [0; 16];
        rc4(&key, &mut data);
        assert_eq!(data, unhex("9ac7cc9a609d1ef7b2932899cde41b97"));
    }

    #[test]
    fn change_password_can_be_opened_with_the_old_hash() {
        let exchange = sample("User");
        let value = change_password(&exchange, "new-pass", &[7; 516]);
        assert_eq!(value.len(), 582);
        let mut block = value[..516].to_vec();
        rc4(&nt_hash("clientPass"), &mut block);
        assert_eq!(block[512..], 16_u32.to_le_bytes());
        assert_eq!(block[496..512], "new-pass".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
        assert_eq!(block[..496], [7; 496]);
        assert_eq!(value[532..548], exchange.peer_challenge);
        assert_eq!(value[556..580], Exchange { password: "new-pass".into(), ..exchange }.nt_response());
    }

    /// RFC 1994: MD5 over identifier, secret, challenge; the digest is md5("\x01pwxyz").
    #[test]
    fn chap_hashes_identifier_secret_and_challenge() {
        let whole: [u8; 16] = Md5::digest(b"\x01pwxyz").into();
        assert_eq!(chap_md5(1, "pw", b"xyz"), whole);
    }

    #[test]
    fn debug_has_no_password() {
        assert!(!format!("{:?} {:?}", sample("User"), sample("User").keys()).contains("clientPass"));
    }
}
