//! `[ciphers]`: the recommended baseline, or what is named.
use super::error::ConfigError;
use super::reader::{Root, Section};
use crypto::cipher::Encryption::{AesCbc128, AesCbc256, AesGcm128, AesGcm256, ChaCha20Poly1305};
use crypto::cipher::Integrity::{HmacSha1_96, HmacSha256_128, HmacSha384_192, HmacSha512_256};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::CipherPolicy;

const CIPHERS: &[&str] = &["compat", "ike", "esp", "prfs", "groups", "pfs", "additional", "esn"];

/// Protections in order of preference; those with SHA-1 are for old peers only.
const PROTECTIONS: [(&str, Encryption, Option<Integrity>); 11] = [
    ("aes256-gcm", AesGcm256, None),
    ("aes128-gcm", AesGcm128, None),
    ("chacha20-poly1305", ChaCha20Poly1305, None),
    ("aes256-sha256", AesCbc256, Some(HmacSha256_128)),
    ("aes256-sha384", AesCbc256, Some(HmacSha384_192)),
    ("aes256-sha512", AesCbc256, Some(HmacSha512_256)),
    ("aes128-sha256", AesCbc128, Some(HmacSha256_128)),
    ("aes128-sha384", AesCbc128, Some(HmacSha384_192)),
    ("aes128-sha512", AesCbc128, Some(HmacSha512_256)),
    ("aes256-sha1", AesCbc256, Some(HmacSha1_96)),
    ("aes128-sha1", AesCbc128, Some(HmacSha1_96)),
];

const PRFS: [(&str, Prf); 4] =
    [("sha256", Prf::HmacSha256), ("sha384", Prf::HmacSha384), ("sha512", Prf::HmacSha512), ("sha1", Prf::HmacSha1)];

/// Groups in order of preference, by name and by IANA number.
const GROUPS: [(&str, &str, Group); 8] = [
    ("curve25519", "31", Group::Curve25519),
    ("ecp256", "19", Group::EcpP256),
    ("ecp384", "20", Group::EcpP384),
    ("ecp521", "21", Group::EcpP521),
    ("modp2048", "14", Group::Modp2048),
    ("modp3072", "15", Group::Modp3072),
    ("modp4096", "16", Group::Modp4096),
    ("modp1024", "2", Group::Modp1024),
];

/// Methods of an additional key exchange (RFC 9370), by name and by IANA number.
const ADDITIONAL: [(&str, &str, Group); 2] = [("mlkem768", "36", Group::MlKem768), ("mlkem1024", "37", Group::MlKem1024)];

pub(super) fn ciphers(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<CipherPolicy, ConfigError> {
    let Some(section) = root.section("ciphers", CIPHERS)? else { return Ok(baseline()) };
    let mut policy = baseline();
    read_lists(&section, &mut policy)?;
    if section.choice("compat", &[("windows-default", ())])?.is_some() {
        add_windows_default(&mut policy);
        warnings.push(
            "ciphers: compat = \"windows-default\" accepts SHA-1 and the 1024-bit group that unmanaged Windows profiles offer; \
             set the profiles with Set-VpnConnectionIPsecConfiguration, then remove it"
                .into(),
        );
    } else {
        warnings.extend(weak(&policy).map(|weak| format!("ciphers: {} named: too weak for anything but old peers", weak.join(", "))));
    }
    Ok(policy)
}

pub(super) fn baseline() -> CipherPolicy {
    let groups: Vec<_> = GROUPS.iter().map(|(_, _, group)| *group).filter(|group| *group != Group::Modp1024).collect();
    let protections: Vec<_> = suites().into_iter().map(|(_, suite)| suite).filter(|suite| !is_sha1(*suite)).collect();
    CipherPolicy {
        ike: protections.clone(),
        prfs: vec![Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512],
        groups: groups.clone(),
        esp: protections,
        pfs_groups: groups,
        prefer_esn: true,
        ..CipherPolicy::default()
    }
}

fn read_lists(section: &Section<'_>, policy: &mut CipherPolicy) -> Result<(), ConfigError> {
    let groups = by_name_and_number(&GROUPS);
    read_list(section, "ike", &suites(), &mut policy.ike)?;
    read_list(section, "esp", &suites(), &mut policy.esp)?;
    read_list(section, "prfs", &PRFS, &mut policy.prfs)?;
    read_list(section, "groups", &groups, &mut policy.groups)?;
    policy.pfs_groups.clone_from(&policy.groups);
    read_list(section, "pfs", &groups, &mut policy.pfs_groups)?;
    for group in section.choices("additional", &by_name_and_number(&ADDITIONAL))?.unwrap_or_default() {
        add(&mut policy.additional, group);
    }
    policy.prefer_esn = section.boolean("esn", policy.prefer_esn)?;
    Ok(())
}

fn by_name_and_number(groups: &[(&'static str, &'static str, Group)]) -> Vec<(&'static str, Group)> {
    groups.iter().flat_map(|(name, number, group)| [(*name, *group), (*number, *group)]).collect()
}

fn read_list<T: Copy + PartialEq>(section: &Section<'_>, key: &str, words: &[(&str, T)], into: &mut Vec<T>) -> Result<(), ConfigError> {
    let Some(named) = section.choices(key, words)? else { return Ok(()) };
    if named.is_empty() {
        return Err(section.error(key, "is empty; leave the key out for the recommended list"));
    }
    into.clear();
    for entry in named {
        add(into, entry);
    }
    Ok(())
}

fn add<T: PartialEq>(list: &mut Vec<T>, entry: T) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}

/// What Windows offers without a managed profile: AES-CBC with SHA-1, group 2; behind everything better.
fn add_windows_default(policy: &mut CipherPolicy) {
    for (_, suite) in suites().into_iter().filter(|(_, suite)| is_sha1(*suite)) {
        add(&mut policy.ike, suite);
        add(&mut policy.esp, suite);
    }
    add(&mut policy.prfs, Prf::HmacSha1);
    add(&mut policy.groups, Group::Modp1024);
    add(&mut policy.pfs_groups, Group::Modp1024);
}

fn suites() -> Vec<(&'static str, Suite)> {
    let suite = |(name, encryption, integrity): (&'static str, _, _)| Suite::new(encryption, integrity).map(|suite| (name, suite));
    PROTECTIONS.into_iter().filter_map(suite).collect()
}

fn is_sha1(suite: Suite) -> bool {
    suite.integrity() == Some(HmacSha1_96)
}

/// Names of what is weak in a policy.
fn weak(policy: &CipherPolicy) -> Option<Vec<&'static str>> {
    let mut names: Vec<_> = suites()
        .into_iter()
        .filter(|(_, suite)| is_sha1(*suite) && (policy.ike.contains(suite) || policy.esp.contains(suite)))
        .map(|(name, _)| name)
        .collect();
    if policy.prfs.contains(&Prf::HmacSha1) {
        names.push("sha1 (prf)");
    }
    if policy.groups.contains(&Group::Modp1024) || policy.pfs_groups.contains(&Group::Modp1024) {
        names.push("modp1024");
    }
    (!names.is_empty()).then_some(names)
}

/// The configuration's word for a protection.
pub fn suite_name(suite: Suite) -> &'static str {
    suites().into_iter().find(|(_, known)| *known == suite).map_or("?", |(name, _)| name)
}

/// The configuration's word for a PRF.
pub fn prf_name(prf: Prf) -> &'static str {
    PRFS.iter().find(|(_, known)| *known == prf).map_or("?", |(name, _)| name)
}

/// The configuration's word for a group.
pub fn group_name(group: Group) -> &'static str {
    GROUPS.iter().chain(&ADDITIONAL).find(|(_, _, known)| *known == group).map_or("?", |(name, _, _)| name)
}
