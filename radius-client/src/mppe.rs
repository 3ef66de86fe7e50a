//! MS-MPPE-Send-Key and MS-MPPE-Recv-Key (RFC 2548 sections 2.4.2 and 2.4.3), and the MSK they carry.
use crate::attributes::microsoft;
use crate::codec::Packet;
use crypto::Zeroizing;
use crypto::hash::md5;

/// Length of an MSK (RFC 3748 section 7.10).
const MSK: usize = 64;

/// The keys of an Access-Accept cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("{name} has {got} bytes; a salt of 2 and blocks of 16 belong there")]
    Size { name: &'static str, got: usize },
    #[error("{name} says {said} bytes of key, {got} are there: the shared secret or the request does not fit")]
    Length { name: &'static str, said: usize, got: usize },
    #[error("{present} comes without {missing}")]
    Alone { present: &'static str, missing: &'static str },
    #[error(transparent)]
    Malformed(#[from] crate::codec::Malformed),
}

const SEND: &str = "MS-MPPE-Send-Key";
const RECV: &str = "MS-MPPE-Recv-Key";

/// What hides the keys of an Access-Accept, and secrets like them.
#[derive(Debug, Clone, Copy)]
pub enum Hiding<'a> {
    /// The shared secret, with the Request Authenticator of the request answered.
    Secret { request_authenticator: &'a [u8; 16], secret: &'a [u8] },
    /// TLS hides the whole packet (RADIUS/1.1, RFC 9765 section 5.1.4): the value is the key.
    Tls,
}

/// MS-MPPE-Recv-Key | MS-MPPE-Send-Key, zero-padded to 64 bytes; empty when the packet has no keys, or keys of no bytes. Keys of more than 64 bytes
/// together stay whole.
pub fn msk(accept: &Packet<'_>, hiding: Hiding<'_>) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let first = |vendor_type| accept.microsoft(vendor_type).map(|found| found.first().map(|attribute| attribute.value));
    let (recv, send) = match (first(microsoft::MPPE_RECV_KEY)?, first(microsoft::MPPE_SEND_KEY)?) {
        (None, None) => return Ok(Zeroizing::new(Vec::new())),
        (Some(recv), Some(send)) => (recv, send),
        (Some(_), None) => return Err(BadKey::Alone { present: RECV, missing: SEND }),
        (None, Some(_)) => return Err(BadKey::Alone { present: SEND, missing: RECV }),
    };
    let recv = reveal(RECV, recv, hiding)?;
    let send = reveal(SEND, send, hiding)?;
    let mut msk = Zeroizing::new(Vec::with_capacity(MSK.max(recv.len() + send.len())));
    msk.extend_from_slice(&recv);
    msk.extend_from_slice(&send);
    if !msk.is_empty() && msk.len() < MSK {
        msk.resize(MSK, 0);
    }
    Ok(msk)
}

fn reveal(name: &'static str, value: &[u8], hiding: Hiding<'_>) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    match hiding {
        Hiding::Secret { request_authenticator, secret } => decrypt(name, value, request_authenticator, secret),
        Hiding::Tls => Ok(Zeroizing::new(value.to_vec())),
    }
}

/// The key in `value` = Salt (2) | String. A salt without its first bit set is accepted: some servers send such.
fn decrypt(name: &'static str, value: &[u8], request_authenticator: &[u8; 16], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let size = BadKey::Size { name, got: value.len() };
    let (salt, string) = value.split_at_checked(2).ok_or(size)?;
    if string.is_empty() || string.len() % 16 != 0 {
        return Err(size);
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(string.len()));
    let mut block = Zeroizing::new(md5(&[secret, request_authenticator, salt]));
    for cipher in string.chunks(16) {
        plain.extend(cipher.iter().zip(block.iter()).map(|(cipher, block)| cipher ^ block));
        *block = md5(&[secret, cipher]);
    }
    let said = usize::from(plain[0]);
    let key = plain.get(1..1 + said).ok_or(BadKey::Length { name, said, got: plain.len() - 1 })?;
    Ok(Zeroizing::new(key.to_vec()))
}
