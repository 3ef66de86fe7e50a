//! What clients propose, in the words of their profiles.
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::CipherPolicy;
use ike::proposal::{Proposal, SaPayload, Transform, transform};
use ike::wire::protocol;

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

/// What a profile proposes; `None`: what the client has by itself, which is not known here.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) ike: Option<SaPayload>,
    /// With the groups of rekeys.
    pub(super) esp: Option<SaPayload>,
}

/// An offer of proposals for the IKE SA.
pub(super) fn ike_offer(proposals: Vec<Vec<Transform>>) -> SaPayload {
    offer(protocol::IKE, &[], proposals)
}

/// An offer of proposals for a Child SA.
pub(super) fn esp_offer(proposals: Vec<Vec<Transform>>) -> SaPayload {
    // Any SPI that is not reserved (RFC 4303 section 2.1).
    offer(protocol::ESP, &[0xff; 4], proposals)
}

fn offer(protocol: u8, spi: &[u8], proposals: Vec<Vec<Transform>>) -> SaPayload {
    let numbered = (1..=u8::MAX).zip(proposals);
    SaPayload { proposals: numbered.map(|(number, transforms)| Proposal { number, protocol, spi: spi.to_vec(), transforms }).collect() }
}

fn with_bits(id: u16, bits: u16) -> Transform {
    Transform { key_bits: Some(bits), ..Transform::new(transform::ENCR, id) }
}

/// Proposals in strongSwan's words; those of the IKE SA have a PRF, which is that of the integrity algorithm unless it is named.
///
/// # Errors
/// The word that is none of strongSwan's.
pub(super) fn from_strongswan<'a>(proposals: impl IntoIterator<Item = &'a str>, of_ike: bool) -> Result<Vec<Vec<Transform>>, String> {
    proposals.into_iter().map(|proposal| one_from_strongswan(proposal.trim(), of_ike)).collect()
}

fn one_from_strongswan(proposal: &str, of_ike: bool) -> Result<Vec<Transform>, String> {
    let read = |word: &str| {
        let found = WORDS.iter().find(|(known, ..)| *known == word);
        let (_, kind, id, bits) = found.ok_or_else(|| word.to_owned())?;
        Ok(Transform { key_bits: *bits, ..Transform::new(*kind, *id) })
    };
    let mut transforms = proposal.trim_end_matches('!').split('-').map(read).collect::<Result<Vec<_>, String>>()?;
    if of_ike && !transforms.iter().any(|one| one.kind == transform::PRF) {
        let prf = |one: &Transform| match (one.kind, one.id) {
            (transform::INTEG, 12) => Some(5),
            (transform::INTEG, 13) => Some(6),
            (transform::INTEG, 14) => Some(7),
            (transform::INTEG, id @ 1..=2) => Some(id),
            _ => None,
        };
        let prfs: Vec<_> = transforms.iter().filter_map(prf).map(|id| Transform::new(transform::PRF, id)).collect();
        transforms.extend(prfs);
    }
    Ok(transforms)
}

/// What Windows proposes without a CryptographySuite: SHA-1 and a 1024-bit group among everything else.
pub(super) fn windows_default() -> Offer {
    let ciphers = [Transform::new(transform::ENCR, 3), with_bits(12, 128), with_bits(12, 192), with_bits(12, 256)];
    let hashes = [(2, 2), (12, 5), (13, 6)];
    let group = Transform::new(transform::DH, 2);
    let one = |cipher: Transform, (integrity, prf)| {
        vec![cipher, Transform::new(transform::INTEG, integrity), Transform::new(transform::PRF, prf), group]
    };
    let ike = ciphers.iter().flat_map(|cipher| hashes.map(|hash| one(*cipher, hash))).collect();
    let esp = [with_bits(12, 256), with_bits(12, 128), Transform::new(transform::ENCR, 3)];
    let esp = esp.map(|cipher| vec![cipher, Transform::new(transform::INTEG, 2)]).to_vec();
    Offer { ike: Some(ike_offer(ike)), esp: Some(esp_offer(esp)) }
}

/// A combined cipher brings its own integrity.
fn is_aead(cipher: &Transform) -> bool {
    matches!(cipher.id, 18..=20 | 28)
}

/// EncryptionMethod and CipherTransformConstants, in the spelling of profile or command.
pub(super) fn windows_cipher(text: &str) -> Option<Transform> {
    Some(match text {
        "DES" => Transform::new(transform::ENCR, 2),
        "DES3" => Transform::new(transform::ENCR, 3),
        "AES128" => with_bits(12, 128),
        "AES192" => with_bits(12, 192),
        "AES256" => with_bits(12, 256),
        "GCMAES128" | "AES_GCM_128" => with_bits(20, 128),
        "GCMAES192" => with_bits(20, 192),
        "GCMAES256" | "AES_GCM_256" => with_bits(20, 256),
        _ => return None,
    })
}

/// IntegrityCheckMethod: integrity and PRF; with a combined cipher the PRF alone.
pub(super) fn windows_hash(text: &str, cipher: &Transform) -> Option<Vec<Transform>> {
    let (integrity, prf) = match text {
        "MD5" => (1, 1),
        "SHA1" | "SHA196" => (2, 2),
        "SHA256" => (12, 5),
        "SHA384" => (13, 6),
        _ => return None,
    };
    Some(with_integrity(integrity, Some(prf), cipher))
}

fn with_integrity(integrity: u16, prf: Option<u16>, cipher: &Transform) -> Vec<Transform> {
    let integrity = (!is_aead(cipher)).then(|| Transform::new(transform::INTEG, integrity));
    integrity.into_iter().chain(prf.map(|prf| Transform::new(transform::PRF, prf))).collect()
}

/// AuthenticationTransformConstants beside this cipher.
pub(super) fn windows_authentication(text: &str, cipher: &Transform) -> Option<Vec<Transform>> {
    let integrity = match text {
        "MD596" => 1,
        "SHA196" => 2,
        "SHA256128" => 12,
        // The combined cipher again.
        combined if is_aead(cipher) && windows_cipher(combined) == Some(*cipher) => return Some(Vec::new()),
        _ => return None,
    };
    (!is_aead(cipher)).then(|| vec![Transform::new(transform::INTEG, integrity)])
}

/// DHGroup, or PfsGroup in its own spelling.
pub(super) fn windows_group(text: &str) -> Option<Transform> {
    let id = match text {
        "Group1" | "PFS1" => 1,
        "Group2" | "PFS2" => 2,
        "Group14" | "PFS2048" => 14,
        "ECP256" => 19,
        "ECP384" => 20,
        "Group24" | "PFS24" => 24,
        _ => return None,
    };
    Some(Transform::new(transform::DH, id))
}

/// EncryptionAlgorithm of an Apple profile.
pub(super) fn apple_cipher(text: &str) -> Option<Transform> {
    Some(match text {
        "DES" => Transform::new(transform::ENCR, 2),
        "3DES" => Transform::new(transform::ENCR, 3),
        "AES-128" => with_bits(12, 128),
        "AES-256" => with_bits(12, 256),
        "AES-128-GCM" => with_bits(20, 128),
        "AES-256-GCM" => with_bits(20, 256),
        "ChaCha20Poly1305" => Transform::new(transform::ENCR, 28),
        _ => return None,
    })
}

/// IntegrityAlgorithm of an Apple profile beside this cipher; `with_prf`: of the IKE SA.
pub(super) fn apple_hash(text: &str, cipher: &Transform, with_prf: bool) -> Option<Vec<Transform>> {
    let (integrity, prf) = match text {
        "SHA1-96" | "SHA1-160" => (2, 2),
        "SHA2-256" => (12, 5),
        "SHA2-384" => (13, 6),
        "SHA2-512" => (14, 7),
        _ => return None,
    };
    Some(with_integrity(integrity, with_prf.then_some(prf), cipher))
}
