//! Logins by password on the wire: PAP and CHAP (RFC 2865 sections 5.2, 5.3, 5.40), MS-CHAPv2 (RFC 2548 section 2.3).
use crate::api::Credentials;
use crate::attributes::{microsoft, number};
use crate::codec::{Builder, Envelope};
use crypto::hash::md5;
use crypto::{Zeroizing, constant_time_eq};

/// The longest password that User-Password carries (RFC 2865 section 5.2).
const MAX_PASSWORD: usize = 128;

/// Code bytes of MS-CHAP-NT-Enc-PW and MS-CHAP2-CPW (RFC 2548 sections 2.1.9 and 2.3.4).
const CODE_NT_ENC_PW: u8 = 6;
const CODE_CHAP2_CPW: u8 = 7;

/// Bytes of the encrypted password in one MS-CHAP-NT-Enc-PW: what Vendor-Specific leaves after its own headers and this one's four bytes.
const PASSWORD_PIECE: usize = 243;

/// User-Password cannot carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPassword {
    #[error("a password of {got} bytes does not fit User-Password, which carries {MAX_PASSWORD}")]
    TooLong { got: usize },
    /// RFC 9765 section 5.1.1.
    #[error("RADIUS/1.1 carries no empty password")]
    Empty,
}

impl Credentials {
    /// The protocol's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pap { .. } => "PAP",
            Self::Chap { .. } => "CHAP",
            Self::MsChapV2 { .. } => "MS-CHAPv2",
            Self::MsChapV2Change { .. } => "MS-CHAPv2 password change",
            Self::Certificate => "a certificate",
        }
    }

    /// The client believes an Accept only with the server's own proof in it.
    pub(crate) fn wants_ms_chap_success(&self) -> bool {
        matches!(self, Self::MsChapV2 { .. } | Self::MsChapV2Change { .. })
    }

    pub(crate) fn put(&self, packet: &mut Builder, envelope: &Envelope, secret: &[u8]) -> Result<(), BadPassword> {
        match self {
            Self::Pap { password } => {
                if password.len() > MAX_PASSWORD {
                    return Err(BadPassword::TooLong { got: password.len() });
                }
                match envelope {
                    Envelope::Identified { authenticator, .. } => packet.put(number::USER_PASSWORD, &hide(password, authenticator, secret)),
                    Envelope::Token(_) if password.is_empty() => return Err(BadPassword::Empty),
                    Envelope::Token(_) => packet.put(number::USER_PASSWORD, password),
                };
            }
            Self::Chap { identifier, challenge, response } => {
                packet.put(number::CHAP_PASSWORD, &[&[*identifier][..], response].concat()).put(number::CHAP_CHALLENGE, challenge);
            }
            Self::MsChapV2 { identifier, challenge, response } => {
                let [peer_challenge_to_response @ .., flags] = response;
                packet
                    .put_microsoft(microsoft::CHAP_CHALLENGE, challenge)
                    .put_microsoft(microsoft::CHAP2_RESPONSE, &[&[*identifier, *flags][..], peer_challenge_to_response].concat());
            }
            Self::MsChapV2Change { identifier, challenge, encrypted_password, encrypted_hash, peer_challenge, nt_response, flags } => {
                let head = [CODE_CHAP2_CPW, *identifier];
                packet.put_microsoft(microsoft::CHAP_CHALLENGE, challenge).put_microsoft(
                    microsoft::CHAP2_CPW,
                    &[&head[..], encrypted_hash, peer_challenge, &[0; 8], nt_response, flags].concat(),
                );
                for (sequence, piece) in (1u16..).zip(encrypted_password.chunks(PASSWORD_PIECE)) {
                    let head = [&[CODE_NT_ENC_PW, *identifier][..], &sequence.to_be_bytes()].concat();
                    packet.put_microsoft(microsoft::CHAP_NT_ENC_PW, &[&head, piece].concat());
                }
            }
            Self::Certificate => {}
        }
        Ok(())
    }
}

impl PartialEq for Credentials {
    /// In constant time, lengths aside.
    fn eq(&self, other: &Self) -> bool {
        let same_protocol = std::mem::discriminant(self) == std::mem::discriminant(other);
        same_protocol && self.fields().iter().zip(other.fields()).all(|(a, b)| constant_time_eq(a, b))
    }
}

impl Eq for Credentials {}

impl Credentials {
    fn fields(&self) -> [&[u8]; 7] {
        use std::slice::from_ref;
        match self {
            Self::Pap { password } => [password, &[], &[], &[], &[], &[], &[]],
            Self::Chap { identifier, challenge, response } => [from_ref(identifier), challenge, response, &[], &[], &[], &[]],
            Self::MsChapV2 { identifier, challenge, response } => [from_ref(identifier), challenge, response, &[], &[], &[], &[]],
            Self::MsChapV2Change { identifier, challenge, encrypted_password, encrypted_hash, peer_challenge, nt_response, flags } => {
                [from_ref(identifier), challenge, &***encrypted_password, encrypted_hash, peer_challenge, nt_response, flags]
            }
            Self::Certificate => [&[]; 7],
        }
    }
}

/// User-Password: the password, padded with zeros to blocks of 16, each xor MD5(secret | previous block), the first with the Request Authenticator.
/// `password` has at most [`MAX_PASSWORD`] bytes.
fn hide(password: &[u8], authenticator: &[u8; 16], secret: &[u8]) -> Vec<u8> {
    let mut padded = Zeroizing::new([0; MAX_PASSWORD]);
    padded[..password.len()].copy_from_slice(password);
    let blocks = password.len().div_ceil(16).max(1);
    let mut hidden = Vec::with_capacity(16 * blocks);
    let mut previous = *authenticator;
    for block in padded.chunks_exact(16).take(blocks) {
        let pad = Zeroizing::new(md5(&[secret, &previous]));
        previous = std::array::from_fn(|index| block[index] ^ pad[index]);
        hidden.extend_from_slice(&previous);
    }
    hidden
}
