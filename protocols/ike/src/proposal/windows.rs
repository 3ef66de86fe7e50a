//! What an administrator types so that a Windows client offers what this gateway accepts.
use crate::api::CipherPolicy;
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;

/// One combination of the IKE SA and one of the Child SA, in the words of `Set-VpnConnectionIPsecConfiguration`: all that a profile of Windows can
/// hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowsPolicy {
    /// AuthenticationTransformConstants
    pub authentication: &'static str,
    /// CipherTransformConstants
    pub cipher: &'static str,
    /// EncryptionMethod
    pub encryption: &'static str,
    /// IntegrityCheckMethod
    pub integrity: &'static str,
    /// DHGroup
    pub group: &'static str,
    /// PfsGroup; `None`: no key exchange in rekeys.
    pub pfs: Option<&'static str>,
}

impl WindowsPolicy {
    /// The most wanted combination among those that Windows can do. `None` when Windows can do none of the IKE SA, or none of the Child SA.
    pub fn of(policy: &CipherPolicy) -> Option<Self> {
        let (encryption, integrity) = policy.ike.iter().find_map(|suite| main_mode(*suite, &policy.prfs))?;
        let group = policy.groups.iter().find_map(|group| dh_group(*group))?;
        let (authentication, cipher) = policy.esp.iter().find_map(|suite| quick_mode(*suite))?;
        let pfs = policy.pfs_groups.iter().find_map(|group| pfs_group(*group));
        Some(Self { authentication, cipher, encryption, integrity, group, pfs })
    }
}

/// The parameters of the command that set it.
impl std::fmt::Display for WindowsPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authentication, cipher, encryption, integrity, group, pfs } = self;
        let pfs = pfs.unwrap_or("None");
        write!(
            f,
            "-AuthenticationTransformConstants {authentication} -CipherTransformConstants {cipher} -EncryptionMethod {encryption} \
             -IntegrityCheckMethod {integrity} -DHGroup {group} -PfsGroup {pfs}"
        )
    }
}

/// A tail for the record of a mismatch. The whole command takes names that are known elsewhere.
pub(crate) fn windows_fix(policy: &CipherPolicy) -> String {
    match WindowsPolicy::of(policy) {
        Some(policy) => format!("; what a Windows profile needs: {policy}"),
        None => "; Windows can do none of what this gateway accepts".into(),
    }
}

/// EncryptionMethod and IntegrityCheckMethod; the latter names the PRF too, and with an AEAD nothing else.
fn main_mode(suite: Suite, prfs: &[Prf]) -> Option<(&'static str, &'static str)> {
    let encryption = match suite.encryption() {
        Encryption::AesCbc128 => "AES128",
        Encryption::AesCbc256 => "AES256",
        Encryption::AesGcm128 => "GCMAES128",
        Encryption::AesGcm256 => "GCMAES256",
        Encryption::ChaCha20Poly1305 => return None,
    };
    let fits = |prf: &Prf| match (suite.integrity(), prf) {
        (None, _) => true,
        (Some(Integrity::HmacSha1_96), Prf::HmacSha1) | (Some(Integrity::HmacSha256_128), Prf::HmacSha256) => true,
        (Some(Integrity::HmacSha384_192), Prf::HmacSha384) => true,
        (Some(_), _) => false,
    };
    let integrity = prfs.iter().filter(|prf| fits(prf)).find_map(|prf| match prf {
        Prf::HmacSha1 => Some("SHA1"),
        Prf::HmacSha256 => Some("SHA256"),
        Prf::HmacSha384 => Some("SHA384"),
        Prf::HmacSha512 => None,
    });
    integrity.map(|integrity| (encryption, integrity))
}

/// AuthenticationTransformConstants and CipherTransformConstants.
fn quick_mode(suite: Suite) -> Option<(&'static str, &'static str)> {
    let authentication = match suite.integrity() {
        None => None,
        Some(Integrity::HmacSha1_96) => Some("SHA196"),
        Some(Integrity::HmacSha256_128) => Some("SHA256128"),
        Some(Integrity::HmacSha384_192 | Integrity::HmacSha512_256) => return None,
    };
    Some(match (suite.encryption(), authentication) {
        (Encryption::AesGcm128, _) => ("GCMAES128", "GCMAES128"),
        (Encryption::AesGcm256, _) => ("GCMAES256", "GCMAES256"),
        (Encryption::AesCbc128, Some(authentication)) => (authentication, "AES128"),
        (Encryption::AesCbc256, Some(authentication)) => (authentication, "AES256"),
        (Encryption::AesCbc128 | Encryption::AesCbc256, None) | (Encryption::ChaCha20Poly1305, _) => return None,
    })
}

fn dh_group(group: Group) -> Option<&'static str> {
    Some(match group {
        Group::Modp1024 => "Group2",
        Group::Modp2048 => "Group14",
        Group::EcpP256 => "ECP256",
        Group::EcpP384 => "ECP384",
        Group::Modp3072 | Group::Modp4096 | Group::EcpP521 | Group::Curve25519 | Group::MlKem768 | Group::MlKem1024 => return None,
    })
}

fn pfs_group(group: Group) -> Option<&'static str> {
    match dh_group(group)? {
        "Group2" => Some("PFS2"),
        "Group14" => Some("PFS2048"),
        curve => Some(curve),
    }
}
