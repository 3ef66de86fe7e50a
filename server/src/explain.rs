//! From a failure to words: the number that Windows shows its user, and what to change.
use ike::{CloseReason, Failure, Fault, Stage};

/// The stage's word in records, logs and commands.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::SaInit => "sa_init",
        Stage::IkeAuth => "ike_auth",
        Stage::Eap => "eap",
        Stage::Radius => "radius",
        Stage::Policy => "policy",
        Stage::Address => "address",
        Stage::ChildSa => "child_sa",
        Stage::Up => "up",
    }
}

/// The reason's word in records, logs and commands.
pub fn close_reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::PeerDeleted => "client_disconnected",
        CloseReason::PeerLost => "client_lost",
        CloseReason::Operator => "operator",
        CloseReason::IdleTimeout => "idle_timeout",
        CloseReason::SessionTimeout => "session_timeout",
        CloseReason::Replaced => "replaced",
        CloseReason::Failed => "failed",
        CloseReason::Shutdown => "shutdown",
    }
}

/// The fault's word in records and logs.
pub fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::PeerMisbehaved => "peer_misbehaved",
        Fault::PeerIncompatible => "peer_incompatible",
        Fault::Malformed => "malformed",
        Fault::Refused => "refused",
        Fault::Silence => "silence",
        Fault::Dependency => "dependency",
        Fault::Internal => "internal",
    }
}

/// The error number in the Windows client's event log, where one is known for this failure.
pub fn windows_code(failure: &Failure) -> Option<&'static str> {
    if let Some(code) = failure.notify.and_then(code_of_notify) {
        return Some(code);
    }
    Some(match (failure.stage, failure.fault) {
        (Stage::SaInit | Stage::IkeAuth, Fault::Silence) => "809",
        (Stage::Radius, Fault::Dependency) => "809 or 691",
        (Stage::Eap | Stage::Radius, _) => "691 or 812",
        (Stage::Policy, _) => "812",
        (Stage::IkeAuth, Fault::Refused | Fault::PeerIncompatible) => "13801",
        _ => return None,
    })
}

fn code_of_notify(notify: &str) -> Option<&'static str> {
    Some(match notify {
        "NO_PROPOSAL_CHOSEN" => "13868",
        "INTERNAL_ADDRESS_FAILURE" => "13899",
        "FAILED_CP_REQUIRED" => "13900",
        "TS_UNACCEPTABLE" => "842",
        _ => return None,
    })
}

/// What to change, on which side.
pub fn fix(failure: &Failure) -> Option<&'static str> {
    if let Some(fix) = failure.notify.and_then(fix_of_notify) {
        return Some(fix);
    }
    Some(match (failure.stage, failure.fault) {
        (Stage::SaInit | Stage::IkeAuth, Fault::Silence) => {
            "open udp/500 and udp/4500 (and IP protocol 50 for IPv6) between client and gateway; large IKE_AUTH messages need IP fragments to pass"
        }
        (Stage::Radius, Fault::Dependency) => {
            "check that the RADIUS server runs, knows this gateway as a client and shares its secret (NPS: New-NpsRadiusClient)"
        }
        (Stage::Eap | Stage::Radius, _) => {
            "check user name, password and account; on NPS: Get-WinEvent -FilterHashtable @{LogName='Security';Id=6272,6273,6274} -MaxEvents 10 | Format-List TimeCreated,Message"
        }
        (Stage::Policy, _) => {
            "add or reorder a [[policy]] whose conditions match this attempt; `evergate attempts show` lists why each did not"
        }
        (Stage::IkeAuth, Fault::PeerIncompatible) => {
            "import the root (and intermediates) of the gateway's certificate on the client (Windows: the machine's store, Cert:\\LocalMachine\\Root), and dial a name that is a dNSName of the certificate"
        }
        (Stage::IkeAuth, Fault::Refused) => {
            "give the client a valid certificate of an authority in listener.client_ca, with the purpose clientAuth"
        }
        _ => return None,
    })
}

fn fix_of_notify(notify: &str) -> Option<&'static str> {
    Some(match notify {
        "NO_PROPOSAL_CHOSEN" => {
            "Set-VpnConnectionIPsecConfiguration -ConnectionName \"Evergate\" -AuthenticationTransformConstants GCMAES128 -CipherTransformConstants GCMAES128 -EncryptionMethod GCMAES128 -IntegrityCheckMethod SHA256 -DHGroup Group14 -PfsGroup ECP256 -PassThru -Force; or, for unmanaged Windows profiles, ciphers.compat = \"windows-default\" on the gateway"
        }
        "INTERNAL_ADDRESS_FAILURE" => "enlarge the pool, or end stale sessions (`evergate sessions disconnect`)",
        "FAILED_CP_REQUIRED" => "the client must ask for an inner address: use a remote-access profile, not site-to-site",
        "TS_UNACCEPTABLE" => "the client's traffic selectors lie outside the policy's selectors: widen one of them",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stage: Stage, fault: Fault, notify: Option<&'static str>) -> Failure {
        Failure { stage, fault, notify, cause: String::new() }
    }

    #[test]
    fn the_notify_decides_before_the_stage() {
        assert_eq!(windows_code(&failure(Stage::SaInit, Fault::PeerIncompatible, Some("NO_PROPOSAL_CHOSEN"))), Some("13868"));
        assert_eq!(windows_code(&failure(Stage::Address, Fault::Refused, Some("INTERNAL_ADDRESS_FAILURE"))), Some("13899"));
        assert_eq!(windows_code(&failure(Stage::Policy, Fault::Refused, Some("AUTHENTICATION_FAILED"))), Some("812"));
        assert_eq!(windows_code(&failure(Stage::IkeAuth, Fault::Silence, None)), Some("809"));
    }

    #[test]
    fn what_users_can_mend_has_a_fix() {
        for (stage, fault) in [
            (Stage::SaInit, Fault::Silence),
            (Stage::Radius, Fault::Dependency),
            (Stage::Radius, Fault::Refused),
            (Stage::Policy, Fault::Refused),
        ] {
            assert!(fix(&failure(stage, fault, None)).is_some(), "{stage:?} {fault:?}");
        }
    }
}
