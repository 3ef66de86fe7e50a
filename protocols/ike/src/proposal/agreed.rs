//! What an SA was made with, for the record: rekeys may change it, and not only for the better.
use super::{Proposal, Transform};
use crate::api::{EspSuite, IkeSuite};
use crate::wire::protocol;
use crypto::cipher::Suite;
use crypto::dh::Group;
use crypto::prf::Prf;
use std::fmt;

/// The transforms of one SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    protection: Suite,
    /// Of an IKE SA.
    prf: Option<Prf>,
    /// Of a Child SA's own key exchange, or the IKE SA's.
    group: Option<Group>,
    additional: Option<Group>,
    /// Of a Child SA.
    esn: Option<bool>,
}

impl Agreed {
    pub(crate) fn ike(suite: IkeSuite, additional: Option<Group>) -> Self {
        Self { protection: suite.protection, prf: Some(suite.prf), group: Some(suite.group), additional, esn: None }
    }

    pub(crate) fn esp(suite: EspSuite, group: Option<Group>, additional: Option<Group>) -> Self {
        Self { protection: suite.protection, prf: None, group, additional, esn: Some(suite.esn) }
    }

    /// What is weaker than in `before`: `MODP_1024 instead of MODP_2048`.
    pub(crate) fn weaker_than(&self, before: &Self) -> Option<String> {
        let (cipher, old_cipher) = (self.protection.encryption(), before.protection.encryption());
        let key = (cipher.key_bits() < old_cipher.key_bits()).then(|| {
            let name = |encryption| Transform::encryption(encryption).to_string();
            format!("{} instead of {}", name(cipher), name(old_cipher))
        });
        let groups = [(self.group, before.group, "key exchange"), (self.additional, before.additional, "additional key exchange")];
        let groups = groups.into_iter().filter_map(|(now, before, what)| {
            let before = before?;
            let is_weaker = now.map_or(0, Group::strength) < before.strength();
            let now = now.map_or_else(|| format!("no {what}"), |group| Transform::group(group).to_string());
            is_weaker.then(|| format!("{now} instead of {}", Transform::group(before)))
        });
        let all: Vec<String> = key.into_iter().chain(groups).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

impl fmt::Display for Agreed {
    /// As a proposal with one transform of each type: `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut transforms = vec![Transform::encryption(self.protection.encryption())];
        transforms.extend(self.protection.integrity().map(Transform::integrity));
        transforms.extend(self.prf.map(Transform::prf));
        transforms.extend(self.group.map(Transform::group));
        transforms.extend(self.esn.map(Transform::esn));
        transforms.extend(self.additional.map(Transform::additional));
        let protocol = if self.prf.is_some() { protocol::IKE } else { protocol::ESP };
        Proposal { number: 1, protocol, spi: Vec::new(), transforms }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::cipher::Encryption;

    fn gcm(encryption: Encryption) -> Suite {
        Suite::new(encryption, None).unwrap()
    }

    fn ike(protection: Suite, group: Group, additional: Option<Group>) -> Agreed {
        Agreed::ike(IkeSuite { protection, prf: Prf::HmacSha384, group }, additional)
    }

    #[test]
    fn weaker_is_what_is_easier_to_break() {
        let best = ike(gcm(Encryption::AesGcm256), Group::EcpP384, Some(Group::MlKem768));
        assert_eq!(best.to_string(), "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ADDKE1=ML_KEM_768");
        let worst = ike(gcm(Encryption::AesGcm128), Group::Modp1024, None);
        let words = "AES_GCM_16_128 instead of AES_GCM_16_256, MODP_1024 instead of ECP_384, \
                     no additional key exchange instead of ML_KEM_768";
        assert_eq!(worst.weaker_than(&best).as_deref(), Some(words));
        assert_eq!((best.weaker_than(&worst), best.weaker_than(&best)), (None, None));
        let equal = ike(gcm(Encryption::AesGcm256), Group::Curve25519, None);
        assert_eq!(equal.weaker_than(&ike(gcm(Encryption::AesGcm256), Group::EcpP256, None)), None);
        let child = |group| Agreed::esp(EspSuite { protection: gcm(Encryption::AesGcm256), esn: true }, group, None);
        assert_eq!(child(None).weaker_than(&child(Some(Group::EcpP256))).as_deref(), Some("no key exchange instead of ECP_256"));
        assert_eq!(child(Some(Group::EcpP256)).weaker_than(&child(None)), None);
        assert_eq!(child(Some(Group::EcpP256)).to_string(), "AES_GCM_16_256/ECP_256/ESN");
    }
}
