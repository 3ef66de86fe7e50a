//! What each client offers and in which order it says things.
use crypto::dh::Group;
use ike::proposal::{Proposal, SaPayload, Transform, transform};
use ike::wire::{CertificateRequest, Configuration, ConfigurationAttribute, ConfigurationKind, Notify, Payload, attribute, notify, vendor};
use std::time::Duration;

/// The maker of a client, which decides the order of its payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Windows,
    Apple,
    Android,
}

/// One kind of client.
#[derive(Debug, Clone)]
pub struct Profile {
    pub maker: Maker,
    /// In the order of the wire.
    pub ike: SaPayload,
    /// Without SPI and without key exchange.
    pub esp: SaPayload,
    /// Of the KE payload in the first message.
    pub group: Group,
    /// Groups that are offered in rekeys of the Child SA, the first with a KE payload; empty: none.
    pub pfs: Vec<Group>,
    /// Authorities of CERTREQ; without any there is no CERTREQ.
    pub authorities: u16,
    /// Longest datagram of a fragmented message, IKE header included.
    pub max_message: usize,
    pub nonce_len: usize,
    /// Silence between two transmissions of a request; after the last the client gives up.
    pub patience: Vec<Duration>,
    /// Comes again with another group after INVALID_KE_PAYLOAD.
    pub retries: bool,
}

/// Transform IDs of one protection: ENCR with its key length, INTEG.
type Protection = ((u16, Option<u16>), Option<u16>);

const TRIPLE_DES: (u16, Option<u16>) = (3, None);
const fn cbc(bits: u16) -> (u16, Option<u16>) {
    (AES_CBC, Some(bits))
}
const fn gcm(bits: u16) -> (u16, Option<u16>) {
    (20, Some(bits))
}

/// INTEG and PRF.
const SHA1: (u16, u16) = (2, 2);
const SHA256: (u16, u16) = (12, 5);
const SHA384: (u16, u16) = (13, 6);
const SHA512: (u16, u16) = (14, 7);

fn one(kind: u8, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { key_bits, ..Transform::new(kind, id) }
}

fn protection(((encr, bits), integ): Protection) -> Vec<Transform> {
    std::iter::once(one(transform::ENCR, encr, bits)).chain(integ.map(|id| one(transform::INTEG, id, None))).collect()
}

fn number(protocol: u8, lists: Vec<Vec<Transform>>) -> SaPayload {
    let proposal = |(number, transforms)| Proposal { number, protocol, spi: Vec::new(), transforms };
    SaPayload { proposals: (1..).zip(lists).map(proposal).collect() }
}

/// One transform of each type in each proposal, in the order ENCR, INTEG, PRF, DH.
fn ike(suites: impl IntoIterator<Item = (Protection, u16)>, group: Group) -> SaPayload {
    let list = |(suite, prf)| {
        let mut list = protection(suite);
        list.extend([one(transform::PRF, prf, None), one(transform::DH, group.id(), None)]);
        list
    };
    number(ike::wire::protocol::IKE, suites.into_iter().map(list).collect())
}

/// No extended sequence numbers, ever.
fn esp(suites: impl IntoIterator<Item = Protection>) -> SaPayload {
    let list = |suite| {
        let mut list = protection(suite);
        list.push(one(transform::ESN, 0, None));
        list
    };
    number(ike::wire::protocol::ESP, suites.into_iter().map(list).collect())
}

const AES_CBC: u16 = 12;

/// By the name that Windows gives it.
fn cipher_named(name: &str) -> Option<(u16, Option<u16>)> {
    let known = [("AES128", cbc(128)), ("AES192", cbc(192)), ("AES256", cbc(256)), ("GCMAES128", gcm(128)), ("GCMAES256", gcm(256))];
    known.into_iter().find(|(known, _)| *known == name).map(|(_, cipher)| cipher)
}

/// As [`cipher_named`], of a key exchange in IKE or for a Child SA.
fn group_named(name: &str) -> Option<Group> {
    Some(match name {
        "Group2" | "PFS2" => Group::Modp1024,
        "Group14" | "PFS2048" => Group::Modp2048,
        "ECP256" => Group::EcpP256,
        "ECP384" => Group::EcpP384,
        _ => return None,
    })
}

fn seconds(list: &[u64]) -> Vec<Duration> {
    list.iter().copied().map(Duration::from_secs).collect()
}

impl Profile {
    fn windows(ike: SaPayload, esp: SaPayload, group: Group, pfs: Vec<Group>) -> Self {
        Self {
            maker: Maker::Windows,
            ike,
            esp,
            group,
            pfs,
            authorities: 200,
            max_message: 580,
            nonce_len: 48,
            patience: seconds(&[1, 2, 4, 8, 16, 32]),
            retries: false,
        }
    }

    /// Twelve proposals, the weakest first, all with MODP_1024.
    pub fn windows_10() -> Self {
        Self::windows(ike(Self::cbc_ladder(), Group::Modp1024), Self::windows_esp(), Group::Modp1024, Vec::new())
    }

    /// As Windows 10 offers, and AES-GCM behind it: eighteen.
    pub fn windows_11() -> Self {
        let aead = [128, 256].into_iter().flat_map(|bits| [SHA1, SHA256, SHA384].map(|(_, prf)| ((gcm(bits), None), prf)));
        let suites = Self::cbc_ladder().into_iter().chain(aead);
        Self::windows(ike(suites, Group::Modp1024), Self::windows_esp(), Group::Modp1024, Vec::new())
    }

    /// NegotiateDH2048_AES256 = 2: SHA-1 first.
    pub fn windows_registry() -> Self {
        let suites = [SHA1, SHA256, SHA384].map(|(integ, prf)| ((cbc(256), Some(integ)), prf));
        Self::windows(ike(suites, Group::Modp2048), Self::windows_esp(), Group::Modp2048, Vec::new())
    }

    /// Set-VpnConnectionIPsecConfiguration: one IKE and one ESP proposal, with PFS.
    pub fn windows_custom() -> Self {
        let suite = [((gcm(128), None), SHA256.1)];
        Self::windows(ike(suite, Group::EcpP256), esp([(gcm(128), None)]), Group::EcpP256, vec![Group::EcpP256])
    }

    /// What Always On VPN's ProfileXML asks for.
    pub fn windows_aovpn() -> Self {
        let suite = [((gcm(128), None), SHA256.1)];
        Self::windows(ike(suite, Group::Modp2048), esp([(gcm(128), None)]), Group::Modp2048, vec![Group::EcpP256])
    }

    /// RRAS's standard baseline.
    pub fn windows_rras() -> Self {
        let suite = (cbc(128), Some(SHA256.0));
        Self::windows(ike([(suite, SHA256.1)], Group::Modp2048), esp([suite]), Group::Modp2048, vec![Group::Modp2048])
    }

    /// 256-bit keys, the strongest that Windows has.
    pub fn windows_256() -> Self {
        let suite = [((gcm(256), None), SHA384.1)];
        Self::windows(ike(suite, Group::EcpP384), esp([(gcm(256), None)]), Group::EcpP384, vec![Group::EcpP384])
    }

    /// AES-256-CBC for IKE, AES-GCM for ESP, rekeys without a key exchange.
    pub fn windows_without_pfs() -> Self {
        let suite = [((cbc(256), Some(SHA256.0)), SHA256.1)];
        Self::windows(ike(suite, Group::Modp2048), esp([(gcm(128), None)]), Group::Modp2048, Vec::new())
    }

    /// What Set-VpnConnectionIPsecConfiguration makes: EncryptionMethod, IntegrityCheckMethod, DHGroup, CipherTransformConstants,
    /// AuthenticationTransformConstants, PfsGroup.
    fn windows_set(values: &[&str]) -> Option<Self> {
        let [encryption, integrity, group, cipher, authentication, pfs] = values else { return None };
        let (encryption, cipher) = (cipher_named(encryption)?, cipher_named(cipher)?);
        let hash = [("SHA1", SHA1), ("SHA256", SHA256), ("SHA384", SHA384)].into_iter().find(|(name, _)| name == integrity)?.1;
        let integrity = (encryption.0 == AES_CBC).then_some(hash.0);
        let esp_integrity = match *authentication {
            "SHA196" => Some(SHA1.0),
            "SHA256128" => Some(SHA256.0),
            _ => None,
        };
        let group = group_named(group)?;
        let pfs = group_named(pfs).into_iter().collect();
        Some(Self::windows(ike([((encryption, integrity), hash.1)], group), esp([(cipher, esp_integrity)]), group, pfs))
    }

    /// By its name, which is one of [`Self::NAMES`], or `windows-set:` and what Set-VpnConnectionIPsecConfiguration is given.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(values) = name.strip_prefix("windows-set:") {
            return Self::windows_set(&values.split('/').collect::<Vec<_>>());
        }
        Some(match name {
            "windows-10" => Self::windows_10(),
            "windows-11" => Self::windows_11(),
            "windows-registry" => Self::windows_registry(),
            "windows-custom" => Self::windows_custom(),
            "windows-aovpn" => Self::windows_aovpn(),
            "windows-rras" => Self::windows_rras(),
            "windows-256" => Self::windows_256(),
            "windows-without-pfs" => Self::windows_without_pfs(),
            "apple" => Self::apple(),
            "android" => Self::android(),
            _ => return None,
        })
    }

    /// Every profile.
    pub const NAMES: [&'static str; 10] = [
        "windows-10",
        "windows-11",
        "windows-registry",
        "windows-custom",
        "windows-aovpn",
        "windows-rras",
        "windows-256",
        "windows-without-pfs",
        "apple",
        "android",
    ];

    fn cbc_ladder() -> Vec<(Protection, u16)> {
        let ciphers = [TRIPLE_DES, cbc(128), cbc(192), cbc(256)];
        ciphers.into_iter().flat_map(|cipher| [SHA1, SHA256, SHA384].map(|(integ, prf)| ((cipher, Some(integ)), prf))).collect()
    }

    /// AES, 3DES, and even DES and NULL, all with SHA-1.
    fn windows_esp() -> SaPayload {
        esp([cbc(256), cbc(128), TRIPLE_DES, (2, None), (11, None)].map(|cipher| (cipher, Some(SHA1.0))))
    }

    /// iOS and macOS with their common default; rekeys of the Child SA with a key exchange, as iOS does them.
    pub fn apple() -> Self {
        Self {
            maker: Maker::Apple,
            ike: ike([((cbc(256), Some(SHA256.0)), SHA256.1)], Group::Modp2048),
            esp: esp([(cbc(256), Some(SHA256.0))]),
            group: Group::Modp2048,
            pfs: vec![Group::Modp2048],
            authorities: 0,
            max_message: 1200,
            nonce_len: 16,
            patience: seconds(&[1, 1, 1, 1, 1]),
            retries: true,
        }
    }

    /// Android 11 and later: many transforms in two proposals, MODP_4096 first, no NIST curves.
    pub fn android() -> Self {
        let prfs = [SHA512, SHA384, SHA256, SHA1].map(|(_, prf)| one(transform::PRF, prf, None));
        let groups = [Group::Modp4096, Group::Curve25519, Group::Modp3072, Group::Modp2048];
        let tail: Vec<_> = prfs.into_iter().chain(groups.map(|group| one(transform::DH, group.id(), None))).collect();
        let bits = [256, 192, 128];
        let modes = bits.into_iter().flat_map(|bits| [one(transform::ENCR, 13, Some(bits)), one(transform::ENCR, 12, Some(bits))]);
        let hashes = [14, 13, 12, 5, 8].map(|id| one(transform::INTEG, id, None));
        let chacha = std::iter::once(one(transform::ENCR, 28, None));
        let aead = chacha.chain([20, 19, 18].into_iter().flat_map(|id| bits.map(|bits| one(transform::ENCR, id, Some(bits)))));
        let lists = vec![modes.chain(hashes).chain(tail.clone()).collect(), aead.chain(tail).collect()];
        Self {
            maker: Maker::Android,
            ike: number(ike::wire::protocol::IKE, lists),
            esp: esp([(gcm(256), None), (cbc(256), Some(SHA256.0))]),
            group: Group::Modp4096,
            pfs: Vec::new(),
            authorities: 0,
            max_message: 1200,
            nonce_len: 32,
            patience: [500, 1000, 2000, 4000, 8000].map(Duration::from_millis).to_vec(),
            retries: true,
        }
    }

    /// The ESP proposals with this SPI and, in a rekey, these groups: each proposal once with them, and for Apple once more without.
    pub(crate) fn esp_offer(&self, spi: u32, groups: &[Group]) -> SaPayload {
        let spi = spi.to_be_bytes().to_vec();
        let with = self.esp.proposals.iter().map(|proposal| {
            let groups = groups.iter().map(|group| one(transform::DH, group.id(), None));
            Proposal { spi: spi.clone(), transforms: proposal.transforms.iter().copied().chain(groups).collect(), ..proposal.clone() }
        });
        let mut proposals: Vec<_> = with.collect();
        if self.maker == Maker::Apple && !groups.is_empty() {
            proposals.extend(self.esp_offer(u32::from_be_bytes([spi[0], spi[1], spi[2], spi[3]]), &[]).proposals);
            (1..).zip(&mut proposals).for_each(|(number, proposal)| proposal.number = number);
        }
        SaPayload { proposals }
    }

    /// Vendor IDs; Windows leaves out the third when it has another SA to this peer.
    pub(crate) fn vendor_ids(&self, first_contact: bool) -> Vec<Payload> {
        if self.maker != Maker::Windows {
            return Vec::new();
        }
        let ids = [vendor::MS_NT5_V9, vendor::MS_NEGOTIATION_DISCOVERY, vendor::MS_INITIAL_CONTACT, vendor::MS_KEY_MODS_IKEV2];
        ids.into_iter().filter(|id| first_contact || *id != vendor::MS_INITIAL_CONTACT).map(|id| Payload::Vendor(id.to_vec())).collect()
    }

    /// What the first IKE_AUTH request says, in order. `proof` is CERT and AUTH of a certificate, empty for EAP; `idr` is what a client that
    /// sends one wants the gateway to be; `tail` is SA, TSi and TSr.
    pub(crate) fn ike_auth(&self, idi: Payload, idr: Payload, proof: Option<[Payload; 2]>, tail: [Payload; 3]) -> Vec<Payload> {
        let (certificate, auth) = proof.map(|[certificate, auth]| (certificate, auth)).unzip();
        let say = |kind| Some(Payload::Notify(Notify::new(kind, [])));
        let requests = (self.authorities > 0).then(|| Payload::CertificateRequest(authorities(self.authorities)));
        let asked = Some(self.configuration());
        let order: Vec<Option<Payload>> = match self.maker {
            Maker::Windows => vec![Some(idi), certificate, requests, auth, say(notify::MOBIKE_SUPPORTED), asked],
            Maker::Apple => {
                let head = vec![Some(idi), say(notify::INITIAL_CONTACT), say(notify::MOBIKE_SUPPORTED), Some(idr), requests];
                let middle = [auth, certificate, asked, say(notify::ESP_TFC_PADDING_NOT_SUPPORTED), say(notify::NON_FIRST_FRAGMENTS_ALSO)];
                head.into_iter().chain(middle).collect()
            }
            Maker::Android => vec![Some(idi), Some(idr), certificate, requests, auth, say(notify::MOBIKE_SUPPORTED), asked],
        };
        order.into_iter().flatten().chain(tail).collect()
    }

    fn configuration(&self) -> Payload {
        let asked: &[u16] = match self.maker {
            Maker::Windows => &[1, 3, 4, attribute::INTERNAL_IP4_SERVER, 8, 10, attribute::INTERNAL_IP6_SERVER],
            Maker::Apple => &[1, 6, 3, 2, 8, 12, 10, 25],
            Maker::Android => &[1, 8, 3, 10],
        };
        let attributes = asked.iter().map(|kind| ConfigurationAttribute::Other { kind: *kind, value: Vec::new() }).collect();
        Payload::Configuration(Configuration { kind: ConfigurationKind::Request, attributes })
    }
}

/// Roots of the certificate store, as hashes.
fn authorities(count: u16) -> CertificateRequest {
    CertificateRequest::x509((0..count).map(|number| {
        let mut hash = [0xca; 20];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        hash
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_profile_of_its_own() {
        let made: Vec<_> = Profile::NAMES.iter().map(|name| format!("{:?}", Profile::named(name).unwrap())).collect();
        assert!(made.iter().enumerate().all(|(at, one)| !made[..at].contains(one)));
        assert!(Profile::named("windows-12").is_none());
        let aovpn = Profile::named("windows-set:GCMAES128/SHA256/Group14/GCMAES128/GCMAES128/ECP256").unwrap();
        assert_eq!(format!("{aovpn:?}"), format!("{:?}", Profile::windows_aovpn()));
        let rras = Profile::named("windows-set:AES128/SHA256/Group14/AES128/SHA256128/PFS2048").unwrap();
        assert_eq!(format!("{rras:?}"), format!("{:?}", Profile::windows_rras()));
    }
}
