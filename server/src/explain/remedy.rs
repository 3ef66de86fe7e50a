//! What to type against a failure, with what is known of the attempt put in.
use super::accepts_all_of_windows;
use super::names::Names;
use super::numbers::{self, Commands};
use crate::attempts::{Attempt, Outcome};
use crate::logging::visible;
use crate::outcome::{EapFault, Failure, Fault, Stage};
use ike::{CipherPolicy, Remedy};
use policy::network::Tunnel;

/// What the gateway knows beside the attempt.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub names: &'a Names,
    /// What IKE accepts.
    pub ciphers: Option<&'a CipherPolicy>,
    /// The session that is missed least: its number, and whose it is.
    pub stale: Option<(u64, &'a str)>,
}

/// Lines to type, the first ones first; empty where words must do.
pub fn commands(attempt: &Attempt, known: Known<'_>) -> Vec<Commands> {
    let Outcome::Failed(failure) = &attempt.outcome else { return Vec::new() };
    if let Some(block) = attempt.block {
        let place = "on the gateway: who is kept out since when and why, and how to let it in again";
        return vec![lines(place, ["evergate block list".to_owned(), format!("evergate block remove {block}")])];
    }
    let of_table = |names: &[&str]| of_table(names, known.names, attempt.user.as_deref());
    if let Some(remedy) = failure.remedy.and_then(of_listener) {
        return vec![in_file(known.names, "in the [[listener]] of IKEv2", &[remedy])];
    }
    if let Some(fault) = failure.eap {
        return of_table(of_eap(fault));
    }
    match (failure.notify, failure.stage, failure.fault) {
        (Some("NO_PROPOSAL_CHOSEN"), ..) => {
            let line = known.ciphers.and_then(|ciphers| known.names.windows_line(ciphers));
            let place = "on the client: the ciphers of this gateway, for each connection that leads to it";
            let of_windows = known.ciphers.is_some_and(|ciphers| !accepts_all_of_windows(ciphers));
            line.map(|line| lines(place, [line]))
                .into_iter()
                .chain(of_windows.then(|| of_table(&["compat"])).into_iter().flatten())
                .collect()
        }
        (Some("INTERNAL_ADDRESS_FAILURE"), ..) | (_, Stage::Address, _) => vec![room(known.stale)],
        (_, Stage::Policy, _) => std::iter::once(by_policy(attempt)).chain(by_condition(attempt, known.names)).collect(),
        (_, Stage::Radius, Fault::Dependency) => {
            let look =
                lines("on the gateway: whether each RADIUS server answers", ["evergate doctor", "evergate status"].map(str::to_owned));
            std::iter::once(look).chain(of_table(&["nps-client"])).collect()
        }
        (_, Stage::IkeAuth, Fault::Refused) => of_table(&["machine-certificates"]),
        (_, Stage::IkeAuth, Fault::PeerIncompatible) | (Some("unknown_ca"), ..) => of_table(&["trust"]),
        (_, Stage::Tls, Fault::Silence) => of_table(&["revocation"]),
        (_, Stage::Lcp, Fault::PeerIncompatible) => of_table(&["method"]),
        (_, Stage::SaInit | Stage::IkeAuth, Fault::Silence) if attempt.tunnel == Tunnel::Ikev2 => of_table(&["doctor", "path"]),
        _ if is_of_the_account(failure) && attempt.refused_locally => vec![of_local_user(attempt)],
        _ if is_of_the_account(failure) => of_table(&["nps-reason", "account"]),
        _ => Vec::new(),
    }
}

fn of_eap(fault: EapFault) -> &'static [&'static str] {
    match fault {
        EapFault::ServerCertificate(44 | 45) => &[],
        EapFault::ServerCertificate(_) | EapFault::LeftAfterServerCertificate => &["trust-in-eap"],
        EapFault::UserCertificate(_) => &["ntauth", "mapping", "nps-reason"],
        EapFault::NoUserCertificate => &["user-certificates", "machine-certificates"],
        EapFault::MethodRefused => &["method"],
    }
}

fn of_table(wanted: &[&str], names: &Names, user: Option<&str>) -> Vec<Commands> {
    wanted.iter().filter_map(|name| names.fill(numbers::commands(name)?, user)).collect()
}

fn lines(place: &str, lines: impl IntoIterator<Item = String>) -> Commands {
    Commands { place: place.to_owned(), lines: lines.into_iter().collect() }
}

/// Packets of a client come, and none goes back.
pub fn way_back() -> Commands {
    lines("on the gateway: forwarding, firewall, and the way back from the LAN", ["evergate doctor".to_owned()])
}

/// A pool has no address left.
fn room(stale: Option<(u64, &str)>) -> Commands {
    let look = ["evergate status", "evergate sessions"].map(str::to_owned);
    match stale {
        Some((id, user)) => {
            let place = format!(
                "on the gateway: how full each pool is, who is in, and the end of the session that is missed least, {id} of {}",
                visible(user)
            );
            lines(&place, look.into_iter().chain([format!("evergate sessions disconnect {id}")]))
        }
        None => lines("on the gateway: how full each pool is, and who is in", look),
    }
}

/// The same question to the policies as they are now, and why they answered as they did.
fn by_policy(attempt: &Attempt) -> Commands {
    let mut again = match attempt.user.as_deref().map(typed) {
        Some(Some(user)) => format!("evergate policy test --user {user}"),
        Some(None) => "read -r user && evergate policy test --user \"$user\"".into(),
        None => "evergate policy test".into(),
    };
    again.push_str(&format!(" --tunnel {}", attempt.tunnel));
    let mut left_out = Vec::new();
    for (option, value) in &attempt.question {
        match in_shell(value) {
            Some(value) => again.push_str(&format!(" {option} {value}")),
            None => left_out.push(format!("{option} {}", visible(value))),
        }
    }
    let mut place = String::from(
        "on the gateway: why each policy said what it said, and the same question to the policies of the configuration, once it is changed",
    );
    if !left_out.is_empty() {
        place.push_str(&format!("; the question is not quite the same: left out is {}", left_out.join(", ")));
    }
    lines(&place, [again, format!("evergate attempts show {}", attempt.id)])
}

/// The condition that would have matched.
fn by_condition(attempt: &Attempt, names: &Names) -> Option<Commands> {
    let (policy, key, line) = attempt.nearest.as_ref()?.mend.as_ref()?;
    Some(in_file(names, &format!("in the [[policy]] {policy:?}, in place of its condition {key}"), &[line]))
}

/// Keys for the configuration, ready to paste.
fn in_file(names: &Names, place: &str, keys: &[&str]) -> Commands {
    let place = format!("on the gateway, in {}: {place}; then `evergate reload`", names.file());
    lines(&visible(&place), keys.iter().map(|key| visible(key)))
}

/// What the gateway would have to allow.
fn of_listener(remedy: Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::OfferPpk => Some("ppk = \"optional\""),
        Remedy::ProveByEap => Some("eap_only = false"),
        Remedy::SharePpk => None,
    }
}

/// A user of the gateway's own file.
fn of_local_user(attempt: &Attempt) -> Commands {
    let mend = match attempt.user.as_deref().map(typed) {
        Some(Some(user)) => format!("evergate user passwd {user}"),
        _ => "read -r user && evergate user passwd \"$user\"".into(),
    };
    lines("on the gateway: who there is in the users file, and another password", ["evergate user list".to_owned(), mend])
}

fn is_of_the_account(failure: &Failure) -> bool {
    let asked = matches!(failure.stage, Stage::Auth | Stage::Eap | Stage::Radius);
    asked && failure.fault == Fault::Refused && failure.eap.is_none()
}

/// A name that a shell takes as it is. Others come from the wire as they like, and nobody shall paste them.
fn typed(user: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '/');
    let fits = !user.is_empty() && !user.starts_with('-') && user.len() <= 128;
    match user.split_once('\\') {
        Some((domain, account)) if fits && domain.chars().all(plain) && account.chars().all(plain) => Some(format!("'{user}'")),
        None if fits && user.chars().all(plain) => Some(user.to_owned()),
        _ => None,
    }
}

/// A value for a shell, letters and digits of any script among it; `None`: one with signs that no terminal should be given.
fn in_shell(value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '/' | ':' | '=' | ',');
    if value.is_empty() || value.starts_with('-') || value.chars().any(|c| !(c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric())) {
        return None;
    }
    Some(if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::{Attempts, Start};
    use crate::explain::nearest::Nearest;
    use std::time::Instant;

    fn failed(stage: Stage, fault: Fault, user: &str) -> Attempt {
        let mut attempts = Attempts::new(1, 1);
        let now = Instant::now();
        let client = "198.51.100.7:500".parse().unwrap();
        let gateway = "192.0.2.1:500".parse().unwrap();
        let key = attempts.start(Start { tunnel: Tunnel::Ikev2, stage, client, gateway, now, unix_time: 1 });
        attempts.get_mut(key).unwrap().set_user(user.into());
        attempts.get_mut(key).unwrap().ask(vec![
            ("--method", "eap".into()),
            ("--attribute", "Class=the staff".into()),
            ("--group", "\u{1b}".into()),
        ]);
        let failure = Failure { stage, fault, notify: None, eap: None, remedy: None, cause: String::new() };
        attempts.finish(key, now, Outcome::Failed(failure));
        attempts.get(key).unwrap().clone()
    }

    fn typed_for(stage: Stage, fault: Fault, user: &str, stale: Option<(u64, &str)>) -> String {
        let names = Names::for_tests();
        let commands = commands(&failed(stage, fault, user), Known { names: &names, ciphers: None, stale });
        commands.into_iter().flat_map(|commands| commands.lines).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn only_names_that_do_nothing_else_are_put_into_a_line() {
        for (user, expected) in [
            ("ann@example.com", Some("ann@example.com")),
            ("host/pc1.example.com", Some("host/pc1.example.com")),
            ("EXAMPLE\\ann", Some("'EXAMPLE\\ann'")),
            ("ann; reboot", None),
            ("$(reboot)", None),
            ("a'b\\c", None),
            ("-h", None),
            ("", None),
        ] {
            assert_eq!(typed(user).as_deref(), expected, "{user}");
        }
        assert_eq!(in_shell("it's; x").as_deref(), Some(r"'it'\''s; x'"));
        assert_eq!(in_shell("Müller Łódź 東京").as_deref(), Some("'Müller Łódź 東京'"));
        assert_eq!((in_shell("a\u{1b}"), in_shell("a\u{202e}"), in_shell("")), (None, None, None));
    }

    #[test]
    fn the_account_is_asked_for_in_its_form() {
        let lines = typed_for(Stage::Radius, Fault::Refused, "ann@example.com", None);
        assert!(lines.contains("Get-ADUser -Filter \"UserPrincipalName -eq 'ann@example.com'\" -Properties"), "{lines}");
        assert!(lines.contains("Get-ADUser -Filter \"UserPrincipalName -eq 'ann@example.com'\" | Unlock-ADAccount"), "{lines}");
    }

    #[test]
    fn local_users_are_looked_for_in_their_file() {
        let mut attempt = failed(Stage::Radius, Fault::Refused, "dave");
        attempt.refused_locally = true;
        let names = Names::for_tests();
        let commands = commands(&attempt, Known { names: &names, ciphers: None, stale: None });
        assert_eq!(commands[0].lines, ["evergate user list", "evergate user passwd dave"]);
    }

    #[test]
    fn the_policies_are_asked_the_same_again() {
        let lines = typed_for(Stage::Policy, Fault::Refused, "dave", None);
        assert!(
            lines.starts_with("evergate policy test --user dave --tunnel ikev2 --method eap --attribute 'Class=the staff'\n"),
            "{lines}"
        );
        let names = Names::for_tests();
        let known = Known { names: &names, ciphers: None, stale: None };
        let place = &commands(&failed(Stage::Policy, Fault::Refused, "dave"), known)[0].place;
        assert!(place.ends_with("left out is --group \\u{1b}"), "{place}");
        assert!(typed_for(Stage::Policy, Fault::Refused, "a;b", None).contains("read -r user && evergate policy test --user \"$user\""));
    }

    #[test]
    fn what_the_gateway_could_allow_is_ready_to_paste() {
        let mut attempt = failed(Stage::Policy, Fault::Refused, "dave");
        let mend = Some(("staff".to_owned(), "group", "class = [\"staff\"]".to_owned()));
        attempt.nearest = Some(Nearest { told: String::new(), mend });
        let names = Names::for_tests();
        let ciphers = CipherPolicy { groups: vec![], ..crate::config::Config::default_ciphers() };
        let known = Known { names: &names, ciphers: Some(&ciphers), stale: None };
        let last = commands(&attempt, known).pop().unwrap();
        assert_eq!(last.lines, ["class = [\"staff\"]"]);
        let place = "on the gateway, in /etc/evergate/evergate.toml: in the [[policy]] \"staff\", in place of its condition group; then `evergate reload`";
        assert_eq!(last.place, place);
        let failure = |notify| Failure {
            stage: Stage::SaInit,
            fault: Fault::PeerIncompatible,
            notify,
            eap: None,
            remedy: None,
            cause: String::new(),
        };
        attempt.outcome = Outcome::Failed(failure(Some("NO_PROPOSAL_CHOSEN")));
        let known = Known { ciphers: Some(&crate::config::Config::default_ciphers()), ..known };
        let compat = commands(&attempt, known).pop().unwrap();
        assert_eq!(compat.lines, ["[ciphers]", "compat = \"windows-default\""]);
        assert!(compat.place.contains("weak: SHA-1, 1024-bit") && compat.place.contains("`evergate reload`"), "{}", compat.place);
        attempt.outcome = Outcome::Failed(Failure { remedy: Some(Remedy::ProveByEap), ..failure(None) });
        assert_eq!(commands(&attempt, known)[0].lines, ["eap_only = false"]);
    }

    #[test]
    fn a_full_pool_names_a_session_to_end() {
        assert!(typed_for(Stage::Address, Fault::Refused, "ann", Some((17, "bob"))).ends_with("evergate sessions disconnect 17"));
        assert!(!typed_for(Stage::Address, Fault::Refused, "ann", None).contains("disconnect"));
    }

    /// Whoever copies the lines must not run what a client calls itself.
    #[test]
    fn no_name_begins_a_line() {
        let names = Names::for_tests();
        let known = Known { names: &names, ciphers: None, stale: Some((17, "bob\nreboot")) };
        for commands in commands(&failed(Stage::Address, Fault::Refused, "ann\nreboot"), known) {
            assert!(commands.place.ends_with("17 of bob\\nreboot"), "{commands:?}");
            let all = commands.lines.iter().chain([&commands.place]);
            assert!(all.flat_map(|text| text.chars()).all(|c| !c.is_control()), "{commands:?}");
        }
    }
}
