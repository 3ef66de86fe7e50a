//! From a failure to words: the number that Windows shows its user, and what to change.
pub mod account;
pub mod names;
pub mod nearest;
pub mod numbers;
pub mod remedy;
pub mod story;

use crate::attempts::Attempt;
use crate::gateway::Traffic;
use crate::outcome::{CloseReason, EapFault, Failure, Fault, Stage};
use crypto::dh::Group;
use ike::{CipherPolicy, Remedy};
use names::Names;
use policy::network::Tunnel;
use std::borrow::Cow;

/// The stage's word in records, logs and commands.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Tls => "tls",
        Stage::Http => "http",
        Stage::Sstp => "sstp",
        Stage::Lcp => "lcp",
        Stage::SaInit => "sa_init",
        Stage::IkeAuth => "ike_auth",
        Stage::Auth => "auth",
        Stage::Eap => "eap",
        Stage::Radius => "radius",
        Stage::Policy => "policy",
        Stage::Address => "address",
        Stage::CryptoBinding => "crypto_binding",
        Stage::Ipcp => "ipcp",
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
        CloseReason::Unaccounted => "unaccounted",
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
        Fault::Misconfigured => "misconfigured",
        Fault::Internal => "internal",
    }
}

/// The error number in the Windows client's event log, where one is known for this failure.
pub fn windows_code(failure: &Failure, tunnel: Tunnel) -> Option<&'static str> {
    if is_sent_away(failure) {
        return None;
    }
    if let Some(fault) = failure.eap {
        return Some(code_of_eap(fault));
    }
    if let Some(code) = failure.notify.and_then(code_of_notify) {
        return Some(code);
    }
    match tunnel {
        Tunnel::Ikev2 => code_over_ikev2(failure),
        Tunnel::Sstp => code_over_sstp(failure),
    }
}

fn code_of_eap(fault: EapFault) -> &'static str {
    match fault {
        EapFault::ServerCertificate(44) => "859",
        EapFault::ServerCertificate(45) => "858",
        EapFault::ServerCertificate(48) => "864 or 865",
        EapFault::ServerCertificate(_) => "857 or 860",
        EapFault::LeftAfterServerCertificate => "864, 865 or 866",
        EapFault::UserCertificate(Some(44)) => "855",
        EapFault::UserCertificate(Some(45)) => "854",
        EapFault::UserCertificate(_) => "853",
        EapFault::NoUserCertificate => "798",
        EapFault::MethodRefused => "850 or 812",
    }
}

fn code_over_ikev2(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage, failure.fault) {
        (Stage::SaInit | Stage::IkeAuth, Fault::Silence) | (Stage::SaInit, Fault::Dependency) => "809",
        (Stage::Radius, Fault::Dependency) => "809 or 691",
        (Stage::Radius, Fault::Misconfigured) => "812",
        (Stage::Eap | Stage::Radius, _) => "691 or 812",
        (Stage::Policy, _) => "812",
        (Stage::IkeAuth, Fault::Refused | Fault::PeerIncompatible) => "13801",
        _ => return None,
    })
}

fn code_over_sstp(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage, failure.fault) {
        (Stage::Tls, Fault::Silence) => "0x80092013 or 0x80072746",
        (Stage::Tls, _) => "0x80090326",
        (Stage::Http, Fault::Refused) => "0x800704C9",
        (Stage::Http | Stage::Sstp | Stage::CryptoBinding, _) => "0x800704D4",
        (Stage::Lcp, Fault::Silence) => "721",
        (Stage::Lcp, _) => "919 or 734",
        (Stage::Radius, Fault::Dependency) => "619 or 718",
        (Stage::Policy, _) | (Stage::Radius, Fault::Misconfigured) => "649 or 691",
        (Stage::Auth | Stage::Eap | Stage::Radius, Fault::PeerIncompatible | Fault::Silence) => "619",
        (Stage::Auth | Stage::Eap | Stage::Radius, _) => "691",
        (Stage::Address, _) => "720 or 738",
        (Stage::Ipcp, _) => "720",
        _ => return None,
    })
}

fn code_of_notify(notify: &str) -> Option<&'static str> {
    Some(match notify {
        "NO_PROPOSAL_CHOSEN" => "13868",
        "INTERNAL_ADDRESS_FAILURE" => "13899",
        "FAILED_CP_REQUIRED" => "13900",
        "TS_UNACCEPTABLE" => "842",
        "unknown_ca" => "0x800B0109",
        "certificate_expired" => "0x800B0101",
        "certificate_revoked" => "0x80092010",
        "bad_certificate" | "certificate_unknown" | "unsupported_certificate" => "0x800B010F or 0x80092013",
        _ => return None,
    })
}

/// What to change about a failed attempt, on which side. `ciphers`: what IKE accepts at this gateway, which has these `names`.
pub fn fix_of(attempt: &Attempt, failure: &Failure, ciphers: Option<&CipherPolicy>, names: &Names) -> Option<Cow<'static, str>> {
    match attempt.block {
        Some(block) => Some(format!("nothing, if it is to stay out; else: evergate block remove {block}").into()),
        None => fix(failure, attempt.tunnel, ciphers, names),
    }
}

/// What to change, on which side. `ciphers`: what IKE accepts at this gateway, which has these `names`.
pub fn fix(failure: &Failure, tunnel: Tunnel, ciphers: Option<&CipherPolicy>, names: &Names) -> Option<Cow<'static, str>> {
    if let Some(fault) = failure.eap {
        return Some(Cow::Borrowed(fix_of_eap(fault)));
    }
    if let Some(remedy) = failure.remedy {
        return Some(Cow::Borrowed(fix_of_remedy(remedy)));
    }
    if let (Some("NO_PROPOSAL_CHOSEN"), Some(ciphers)) = (failure.notify, ciphers) {
        return Some(fix_of_proposal(ciphers, names).into());
    }
    if is_sent_away(failure) {
        return Some(
            "nothing: this gateway sends clients elsewhere (`evergate drain --cancel` ends that, or the listener's redirect is taken out)"
                .into(),
        );
    }
    let of_tunnel = || match tunnel {
        Tunnel::Ikev2 => fix_over_ikev2(failure),
        Tunnel::Sstp => fix_over_sstp(failure),
    };
    let general = || match (tunnel, failure.fault) {
        (Tunnel::Sstp, Fault::PeerIncompatible | Fault::Silence) => of_tunnel().or_else(|| fix_of_login(failure)),
        _ => fix_of_login(failure).or_else(of_tunnel),
    };
    failure.notify.and_then(fix_of_notify).or_else(general).map(Cow::Borrowed)
}

fn fix_of_remedy(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::OfferPpk => {
            "on the client: configure a PPK with the id and the secret of a [[ppk]] section (strongSwan: ppk_id, ppk_required); or on the gateway: ppk = \"optional\" in the [[listener]], the only way for Windows, which knows no PPK"
        }
        Remedy::SharePpk => {
            "on the gateway: add a [[ppk]] section with the id that the cause names and the client's secret in its secret_file; or on the client: use an id and secret that a [[ppk]] section has (strongSwan: ppk_id), or let it go on without (ppk_required = no), where the [[listener]] has ppk = \"optional\""
        }
        Remedy::ProveByEap => {
            "on the client: use EAP-TLS, or let the gateway prove itself by its certificate (strongSwan: remote auth = pubkey); or on the gateway: eap_only = false in the [[listener]]"
        }
    }
}

fn fix_of_eap(fault: EapFault) -> &'static str {
    match fault {
        EapFault::ServerCertificate(44 | 45) => {
            "renew the RADIUS server's certificate, and choose the new one on NPS: network policy > Constraints > Authentication Methods > Edit"
        }
        EapFault::ServerCertificate(_) | EapFault::LeftAfterServerCertificate => {
            "import the root of the RADIUS server's certificate on the client into the machine's store, and write the certificate's name into the profile's EAP server names; on NPS choose the certificate in network policy > Constraints > Authentication Methods > Edit"
        }
        EapFault::UserCertificate(Some(44 | 45)) => "renew the client's certificate",
        EapFault::UserCertificate(_) => {
            "on the RADIUS server: trust the authority of the client's certificate (Active Directory: NTAuth store), reach its revocation list, and map the certificate to the account (KB5014754, strong mapping); events 6273 and 39 have the reason"
        }
        EapFault::NoUserCertificate => "enrol a certificate with the purpose clientAuth for the user (for a device: the computer)",
        EapFault::MethodRefused => {
            "let client and RADIUS server agree on an EAP method: EapConfigXmlStream of the connection on the client, Constraints > Authentication Methods in the NPS network policy"
        }
    }
}

/// What a session has moved, in a sentence or two.
pub fn traffic(traffic: Traffic) -> String {
    let Traffic { packets_in, octets_in, packets_out, octets_out, filtered_in, .. } = traffic;
    let moved =
        format!("From the client came {octets_in} bytes in {packets_in} packets, to it went {octets_out} bytes in {packets_out} packets.");
    match () {
        () if !is_one_way(packets_in, packets_out) => moved,
        () if filtered_in > 0 => format!("{moved} {ONE_WAY}; its filters dropped {filtered_in} of them."),
        () => format!("{moved} {ONE_WAY}."),
    }
}

/// The client sends, and gets nothing.
pub fn is_one_way(packets_in: u64, packets_out: u64) -> bool {
    packets_in > 0 && packets_out == 0
}

/// What is said of that.
pub const ONE_WAY: &str = "Packets come, nothing goes back: run `evergate doctor` (forwarding, the way back from the LAN)";

/// The gateway takes nobody, or wants this client at another one.
fn is_sent_away(failure: &Failure) -> bool {
    matches!((failure.notify, failure.fault), (Some("REDIRECT" | "TEMPORARY_FAILURE"), Fault::Refused))
}

fn fix_of_proposal(ciphers: &CipherPolicy, names: &Names) -> String {
    let Some(line) = names.windows_line(ciphers) else {
        return "[ciphers] holds nothing that Windows can do: name aes256-gcm in ike and in esp, sha256 in prfs, ecp256 in groups; other clients must offer what the cause lists as accepted".into();
    };
    let unmanaged = if accepts_all_of_windows(ciphers) {
        ""
    } else {
        "; or, for unmanaged Windows profiles, ciphers.compat = \"windows-default\" on the gateway"
    };
    format!("on the client: {line}{unmanaged}; other clients must offer what the cause lists as accepted")
}

/// Two numbers of a login that RADIUS left without an answer: which one is shown when.
pub(super) fn which_when_radius_is_silent(failure: &Failure, tunnel: Tunnel) -> Option<&'static str> {
    if (failure.stage, failure.fault) != (Stage::Radius, Fault::Dependency) {
        return None;
    }
    Some(match tunnel {
        Tunnel::Ikev2 => "691 where this gateway's refusal reaches a client that still waits, 809 where the client has given up before.",
        Tunnel::Sstp => "718 where the client gives up first, 619 where this gateway's refusal ends the call before.",
    })
}

/// What to do, for who has the lines to type beside it: those stand alone, whole.
pub(super) fn fix_beside_lines(attempt: &Attempt, failure: &Failure, ciphers: Option<&CipherPolicy>, names: &Names) -> Option<String> {
    let typed = |ciphers: &CipherPolicy| names.windows_line(ciphers).is_some();
    match (attempt.block, failure.notify, ciphers) {
        (None, Some("NO_PROPOSAL_CHOSEN"), Some(ciphers)) if typed(ciphers) => Some(format!(
            "on the client: give its connection the ciphers of this gateway, as below{}; other clients must offer what the cause lists as accepted",
            if accepts_all_of_windows(ciphers) {
                ""
            } else {
                "; or, for unmanaged Windows profiles, ciphers.compat = \"windows-default\" on the gateway (weak: SHA-1, 1024-bit group; lines to paste with --more), then `evergate reload`"
            }
        )),
        _ => fix_of(attempt, failure, ciphers, names).map(Cow::into_owned),
    }
}

/// ciphers.compat = "windows-default" would add nothing.
pub(super) fn accepts_all_of_windows(ciphers: &CipherPolicy) -> bool {
    ciphers.groups.contains(&Group::Modp1024)
}

fn fix_of_login(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage, failure.fault) {
        (Stage::Radius, Fault::Dependency) => {
            "check that the RADIUS server shares its secret with this gateway, byte for byte (one that checks Message-Authenticator stays silent otherwise), that it knows this gateway's address as a client (NPS: RADIUS Clients), and that it runs"
        }
        (Stage::Radius, Fault::Misconfigured) => {
            "RADIUS lets the user in, but says what this gateway cannot do: correct in the RADIUS server's policy, or in the configuration here, what the cause names"
        }
        (Stage::Auth | Stage::Eap | Stage::Radius, _) => {
            "check user name, password and account (NPS: event 6273 of the Security log has the reason; local users: evergate user list)"
        }
        (Stage::Policy, _) => {
            "add or reorder a [[policy]] whose conditions match this attempt; `evergate attempts show` lists why each did not"
        }
        (Stage::Address, _) => "enlarge the pool, or end stale sessions (`evergate sessions disconnect`)",
        _ => return None,
    })
}

fn fix_over_ikev2(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage, failure.fault) {
        (Stage::SaInit | Stage::IkeAuth, Fault::Silence) => {
            "run `evergate doctor` on the gateway: the firewall of its own host or one before it must let udp/500 and udp/4500 (and IP protocol 50 for IPv6) in; large IKE_AUTH messages need IP fragments to pass"
        }
        (Stage::SaInit, Fault::Dependency) => {
            "the client's next try may come up; if many fail so, give the gateway more cores, and against floods of first messages lower limits.cookie_threshold"
        }
        (Stage::IkeAuth, Fault::PeerIncompatible) => {
            "import the root (and intermediates) of the gateway's certificate on the client (Windows: the machine's store), and dial a name that is a dNSName of the certificate"
        }
        (Stage::IkeAuth, Fault::Refused) => {
            "give the client a valid certificate of an authority in listener.client_ca, with the purpose clientAuth"
        }
        _ => return None,
    })
}

fn fix_over_sstp(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage, failure.fault) {
        (Stage::Tls, Fault::Silence) => {
            "the client left after it saw the certificate: check that it trusts the issuer and reaches the certificate's CRL from outside (Windows refuses a connection whose CRL it cannot fetch: 0x80092013)"
        }
        (Stage::Tls, _) => "the client speaks no TLS 1.2 or 1.3, or none of its cipher suites: update it",
        (Stage::Http, Fault::Refused) => "raise server.max_sessions, or end stale sessions (`evergate sessions disconnect`)",
        (Stage::Http | Stage::Sstp, _) => {
            "let TCP 443 reach the gateway unchanged: a proxy or balancer on the way must pass TLS through, not end it"
        }
        (Stage::Auth | Stage::Eap | Stage::Radius, Fault::PeerIncompatible | Fault::Silence) => {
            "the client left by itself in the middle of its login: event 20227 of RasClient in its Application log has the number; let profile and [[listener]] (auth) agree on a way to authenticate"
        }
        (Stage::CryptoBinding, _) => {
            "somebody ends TLS between client and gateway (a balancer, an inspecting proxy), or RADIUS returns other MS-MPPE keys than the client has: let TLS pass through, check the RADIUS server"
        }
        (Stage::Lcp, Fault::Silence) => "nothing answers PPP at the client: restart it, and let TCP 443 pass unchanged",
        (Stage::Lcp, _) => {
            "let client and gateway agree on a way to authenticate: AuthenticationMethod of the connection on the client (Eap or MSChapv2), and auth in the [[listener]]"
        }
        (Stage::Ipcp, _) => "give the policy a pool with addresses of the family that the client wants (IPv4, or IPv6 too)",
        _ => return None,
    })
}

fn fix_of_notify(notify: &str) -> Option<&'static str> {
    Some(match notify {
        "INTERNAL_ADDRESS_FAILURE" => "enlarge the pool, or end stale sessions (`evergate sessions disconnect`)",
        "UNEXPECTED_NAT_DETECTED" => "on the client: allow NAT traversal, or connect without a NAT on the way",
        "FAILED_CP_REQUIRED" => "the client must ask for an inner address: use a remote-access profile, not site-to-site",
        "unknown_ca" => {
            "import the root of the gateway's certificate on the client (Windows: the machine's store), and send the intermediates: [[certificate]] chain holds leaf and intermediates"
        }
        "certificate_expired" => "renew the gateway's certificate, or set the client's clock",
        "certificate_revoked" => "replace the gateway's certificate: its authority has revoked it",
        "bad_certificate" | "certificate_unknown" | "unsupported_certificate" => {
            "dial a name that is a dNSName of the certificate; make the certificate's CRL reachable from outside; its extended key usage must hold serverAuth"
        }
        "TS_UNACCEPTABLE" => "the client's traffic selectors lie outside the policy's selectors: widen one of them",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::cipher::{Encryption, Suite};
    use crypto::prf::Prf;

    /// All that [`code_of_notify`] and [`fix_of_notify`] know.
    const NOTIFIES: &[&str] = &[
        "NO_PROPOSAL_CHOSEN",
        "INTERNAL_ADDRESS_FAILURE",
        "FAILED_CP_REQUIRED",
        "UNEXPECTED_NAT_DETECTED",
        "TS_UNACCEPTABLE",
        "unknown_ca",
        "certificate_expired",
        "certificate_revoked",
        "bad_certificate",
        "certificate_unknown",
        "unsupported_certificate",
    ];

    fn failure(stage: Stage, fault: Fault, notify: Option<&'static str>) -> Failure {
        Failure { stage, fault, notify, eap: None, remedy: None, cause: String::new() }
    }

    #[test]
    fn the_notify_decides_before_the_stage() {
        assert_eq!(
            windows_code(&failure(Stage::SaInit, Fault::PeerIncompatible, Some("NO_PROPOSAL_CHOSEN")), Tunnel::Ikev2),
            Some("13868")
        );
        assert_eq!(windows_code(&failure(Stage::Address, Fault::Refused, Some("INTERNAL_ADDRESS_FAILURE")), Tunnel::Ikev2), Some("13899"));
        assert_eq!(windows_code(&failure(Stage::Policy, Fault::Refused, Some("AUTHENTICATION_FAILED")), Tunnel::Ikev2), Some("812"));
        assert_eq!(windows_code(&failure(Stage::IkeAuth, Fault::Silence, None), Tunnel::Ikev2), Some("809"));
    }

    #[test]
    fn what_stands_for_a_number_is_one() {
        let is_numbers = |text: &str| text.split(" or ").all(|number| numbers::number(number).is_some());
        let mut numbered = 0;
        for notify in NOTIFIES {
            let failed = failure(Stage::ChildSa, Fault::PeerIncompatible, Some(notify));
            for code in [Tunnel::Ikev2, Tunnel::Sstp].into_iter().filter_map(|tunnel| windows_code(&failed, tunnel)) {
                assert!(is_numbers(code), "{notify}: {code}");
                numbered += 1;
            }
            assert!(fix(&failed, Tunnel::Ikev2, None, &Names::default()).is_some() || *notify == "NO_PROPOSAL_CHOSEN", "{notify}");
        }
        assert!(numbered > 10, "{numbered}");
    }

    #[test]
    fn each_tunnel_has_its_own_numbers() {
        let refused = failure(Stage::Radius, Fault::Refused, None);
        assert_eq!(windows_code(&refused, Tunnel::Sstp), Some("691"));
        assert_eq!(windows_code(&refused, Tunnel::Ikev2), Some("691 or 812"));
        let unusable = failure(Stage::Radius, Fault::Misconfigured, None);
        assert_eq!((windows_code(&unusable, Tunnel::Ikev2), windows_code(&unusable, Tunnel::Sstp)), (Some("812"), Some("649 or 691")));
        assert_eq!(windows_code(&failure(Stage::Tls, Fault::PeerIncompatible, Some("unknown_ca")), Tunnel::Sstp), Some("0x800B0109"));
        assert_eq!(windows_code(&failure(Stage::CryptoBinding, Fault::Refused, None), Tunnel::Sstp), Some("0x800704D4"));
    }

    #[test]
    fn what_users_can_mend_has_a_fix() {
        for (stage, fault) in [
            (Stage::SaInit, Fault::Silence),
            (Stage::SaInit, Fault::Dependency),
            (Stage::Radius, Fault::Dependency),
            (Stage::Radius, Fault::Misconfigured),
            (Stage::Radius, Fault::Refused),
            (Stage::Policy, Fault::Refused),
        ] {
            assert!(fix(&failure(stage, fault, None), Tunnel::Ikev2, None, &Names::default()).is_some(), "{stage:?} {fault:?}");
        }
    }

    #[test]
    fn what_the_machine_knows_comes_before_the_stage() {
        let keys = [(Remedy::OfferPpk, "ppk = \"optional\""), (Remedy::SharePpk, "[[ppk]]"), (Remedy::ProveByEap, "eap_only = false")];
        for (remedy, key) in keys {
            let refused = Failure { remedy: Some(remedy), ..failure(Stage::IkeAuth, Fault::Refused, Some("AUTHENTICATION_FAILED")) };
            let fix = fix(&refused, Tunnel::Ikev2, None, &Names::default()).unwrap();
            assert!(fix.contains(key) && fix.contains("on the client") && fix.contains("on the gateway"), "{fix}");
        }
    }

    #[test]
    fn the_fix_of_a_proposal_is_made_of_this_gateways_ciphers() {
        let refused = failure(Stage::SaInit, Fault::PeerIncompatible, Some("NO_PROPOSAL_CHOSEN"));
        let gcm = Suite::new(Encryption::AesGcm128, None).unwrap();
        let mut ciphers = CipherPolicy {
            ike: vec![gcm],
            prfs: vec![Prf::HmacSha384],
            groups: vec![Group::Modp2048],
            esp: vec![gcm],
            pfs_groups: vec![Group::EcpP384],
            ..CipherPolicy::default()
        };
        let text = |ciphers: &CipherPolicy| fix(&refused, Tunnel::Ikev2, Some(ciphers), &Names::for_tests()).unwrap().into_owned();
        let line = "-EncryptionMethod GCMAES128 -IntegrityCheckMethod SHA384 -DHGroup Group14 -PfsGroup ECP384";
        assert!(
            text(&ciphers).contains("ServerAddress -in $gateway")
                && text(&ciphers).contains(line)
                && text(&ciphers).contains("windows-default"),
            "{}",
            text(&ciphers)
        );
        ciphers.groups.push(Group::Modp1024);
        assert!(!text(&ciphers).contains("windows-default"), "it is on already");
        ciphers.ike = vec![Suite::new(Encryption::ChaCha20Poly1305, None).unwrap()];
        assert!(text(&ciphers).contains("nothing that Windows can do"), "{}", text(&ciphers));
    }
}
