//! What clients propose, in the words of their profiles.
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::CipherPolicy;
use ike::proposal::{SaPayload, Transform, transform};

/// strongSwan's word, transform type, number, key length. The more builds of strongSwan have one, the nearer to the front: what comes first is tried first. Those
/// that this gateway knows not at all are there to be read.
const WORDS: &[(&str, u8, u16, Option<u16>)] = &[
    ("aes256gcm16", transform::ENCR, 20, Some(256)),
    ("aes192gcm16", transform::ENCR, 20, Some(192)),
    ("aes128gcm16", transform::ENCR, 20, Some(128)),
    ("aes256", transform::ENCR, 12, Some(256)),
    ("aes192", transform::ENCR, 12, Some(192)),
    ("aes128", transform::ENCR, 12, Some(128)),
    ("aes", transform::ENCR, 12, Some(128)),
    ("aes256ctr", transform::ENCR, 13, Some(256)),
    ("aes128ctr", transform::ENCR, 13, Some(128)),
    ("chacha20poly1305", transform::ENCR, 28, None),
    ("3des", transform::ENCR, 3, None),
    ("des", transform::ENCR, 2, None),
    ("null", transform::ENCR, 11, None),
    ("sha256", transform::INTEG, 12, None),
    ("sha384", transform::INTEG, 13, None),
    ("sha512", transform::INTEG, 14, None),
    ("sha1", transform::INTEG, 2, None),
    ("sha", transform::INTEG, 2, None),
    ("md5", transform::INTEG, 1, None),
    ("aesxcbc", transform::INTEG, 5, None),
    ("prfsha256", transform::PRF, 5, None),
    ("prfsha384", transform::PRF, 6, None),
    ("prfsha512", transform::PRF, 7, None),
    ("prfsha1", transform::PRF, 2, None),
    ("prfmd5", transform::PRF, 1, None),
    ("ecp256", transform::DH, 19, None),
    ("ecp384", transform::DH, 20, None),
    ("modp2048", transform::DH, 14, None),
    ("modp3072", transform::DH, 15, None),
    ("modp4096", transform::DH, 16, None),
    ("modp6144", transform::DH, 17, None),
    ("modp8192", transform::DH, 18, None),
    ("ecp521", transform::DH, 21, None),
    ("x25519", transform::DH, 31, None),
    ("curve25519", transform::DH, 31, None),
    ("x448", transform::DH, 32, None),
    ("modp2048s256", transform::DH, 24, None),
    ("modp1536", transform::DH, 5, None),
    ("modp1024", transform::DH, 2, None),
    ("modp768", transform::DH, 1, None),
    ("noesn", transform::ESN, 0, None),
    ("esn", transform::ESN, 1, None),
];

/// The proposals of an offer, in strongSwan's words. Without additional key exchanges, which no gateway demands, and extended sequence numbers, which
/// it settles itself.
pub(super) fn strongswan(offer: &SaPayload) -> Vec<String> {
    let words = |transforms: &[Transform]| {
        let mut places: Vec<_> = transforms.iter().filter_map(place).collect();
        places.sort_unstable();
        places.into_iter().map(|place| WORDS[place].0).collect::<Vec<_>>().join("-")
    };
    offer.proposals.iter().map(|proposal| words(&proposal.transforms)).collect()
}

fn place(wanted: &Transform) -> Option<usize> {
    let is = |(_, kind, id, bits): &(&str, u8, u16, Option<u16>)| (*kind, *id, *bits) == (wanted.kind, wanted.id, wanted.key_bits);
    WORDS.iter().position(is).filter(|_| wanted.kind != transform::ESN)
}

/// One half of what an Apple profile proposes: it holds one combination each for the IKE SA and the Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AppleSuite {
    pub(super) encryption: &'static str,
    /// With an AEAD the PRF of the IKE SA, and nothing in the Child SA.
    pub(super) integrity: &'static str,
    /// `None`: no key exchange in rekeys.
    pub(super) group: Option<u16>,
}

/// Those in front that every release has.
const APPLE_GROUPS: [Group; 8] =
    [Group::EcpP256, Group::EcpP384, Group::Modp2048, Group::Modp3072, Group::Modp4096, Group::EcpP521, Group::Curve25519, Group::Modp1024];

impl AppleSuite {
    /// The most wanted combinations of the IKE SA and of the Child SA that Apple's clients can do; `None`: there is none of one of them.
    pub(super) fn of(policy: &CipherPolicy) -> Option<(Self, Self)> {
        let (encryption, integrity) = policy.ike.iter().find_map(|suite| apple_ike(*suite, &policy.prfs))?;
        let group = |groups: &[Group]| APPLE_GROUPS.iter().find(|group| groups.contains(group)).map(|group| group.id());
        let child = policy.esp.first()?;
        let integrity_of_child = child.integrity().map_or("SHA2-256", apple_integrity);
        let ike = Self { encryption, integrity, group: Some(group(&policy.groups)?) };
        Some((ike, Self { encryption: apple_encryption(*child), integrity: integrity_of_child, group: group(&policy.pfs_groups) }))
    }
}

/// With a cipher of two parts the PRF is that of its hash.
fn apple_ike(suite: Suite, prfs: &[Prf]) -> Option<(&'static str, &'static str)> {
    let hash = |prf: &Prf| match prf {
        Prf::HmacSha1 => "SHA1-96",
        Prf::HmacSha256 => "SHA2-256",
        Prf::HmacSha384 => "SHA2-384",
        Prf::HmacSha512 => "SHA2-512",
    };
    let fits = |hash: &&str| suite.integrity().is_none_or(|integrity| apple_integrity(integrity) == *hash);
    prfs.iter().map(hash).find(fits).map(|hash| (apple_encryption(suite), hash))
}

fn apple_encryption(suite: Suite) -> &'static str {
    match suite.encryption() {
        Encryption::AesCbc128 => "AES-128",
        Encryption::AesCbc256 => "AES-256",
        Encryption::AesGcm128 => "AES-128-GCM",
        Encryption::AesGcm256 => "AES-256-GCM",
        Encryption::ChaCha20Poly1305 => "ChaCha20Poly1305",
    }
}

fn apple_integrity(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::HmacSha1_96 => "SHA1-96",
        Integrity::HmacSha256_128 => "SHA2-256",
        Integrity::HmacSha384_192 => "SHA2-384",
        Integrity::HmacSha512_256 => "SHA2-512",
    }
}
