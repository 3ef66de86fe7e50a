//! What to type against a failure, with what is known of the attempt put in.
use super::numbers::{self, Commands};
use crate::attempts::{Attempt, Outcome};
use crate::outcome::{Failure, Fault, Stage};
use ike::CipherPolicy;
use ike::proposal::windows_line;

/// Lines to type, the first ones first; empty where words must do. `ciphers`: what IKE accepts at this gateway.
pub fn commands(attempt: &Attempt, ciphers: Option<&CipherPolicy>) -> Vec<Commands> {
    let Outcome::Failed(failure) = &attempt.outcome else { return Vec::new() };
    if let Some(block) = attempt.block {
        let place = "on the gateway: who is kept out since when and why, and how to let it in again";
        return vec![lines(place, ["evergate block list".to_owned(), format!("evergate block remove {block}")])];
    }
    let user = attempt.user.as_deref().and_then(typed);
    match (failure.notify, failure.stage, failure.fault) {
        (Some("NO_PROPOSAL_CHOSEN"), ..) => {
            let line = ciphers.and_then(windows_line);
            line.map(|line| lines("on the client: the ciphers of this gateway", [line])).into_iter().collect()
        }
        (Some("INTERNAL_ADDRESS_FAILURE"), ..) | (_, Stage::Address, _) => vec![lines(
            "on the gateway: how full each pool is, who is in, and the end of a session by its number",
            ["evergate status", "evergate sessions", "evergate sessions disconnect NUMBER"].map(str::to_owned),
        )],
        (_, Stage::Policy, _) => vec![by_policy(attempt, user.as_deref())],
        (_, Stage::Radius, Fault::Dependency) => {
            let look =
                lines("on the gateway: whether each RADIUS server answers", ["evergate doctor", "evergate status"].map(str::to_owned));
            std::iter::once(look).chain(numbers::commands("nps-client").cloned()).collect()
        }
        (_, Stage::IkeAuth, Fault::Refused) => numbers::commands("machine-certificates").cloned().into_iter().collect(),
        _ if is_of_the_account(failure) => of_the_account(user.as_deref()),
        _ => Vec::new(),
    }
}

fn lines(place: &str, lines: impl IntoIterator<Item = String>) -> Commands {
    Commands { place: place.to_owned(), lines: lines.into_iter().collect() }
}

/// The same question to the policies as they are now, and why they answered as they did.
fn by_policy(attempt: &Attempt, user: Option<&str>) -> Commands {
    let user = user.unwrap_or("USER");
    let again = format!("evergate policy test --user {user} --tunnel {} --attribute NAME=VALUE", attempt.tunnel);
    let place =
        "on the gateway: why each policy said what it said, and what they say once changed (--attribute for what RADIUS says of the user)";
    lines(place, [format!("evergate attempts show {}", attempt.id), again])
}

fn is_of_the_account(failure: &Failure) -> bool {
    let asked = matches!(failure.stage, Stage::Auth | Stage::Eap | Stage::Radius);
    asked && failure.fault == Fault::Refused && failure.eap.is_none()
}

fn of_the_account(user: Option<&str>) -> Vec<Commands> {
    let named = |commands: &Commands| Commands {
        place: commands.place.clone(),
        lines: commands.lines.iter().map(|line| user.map_or_else(|| line.clone(), |user| line.replace("USER", user))).collect(),
    };
    ["nps-reason", "account"].into_iter().filter_map(numbers::commands).map(named).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let account = |user| of_the_account(user).into_iter().flat_map(|commands| commands.lines).collect::<Vec<_>>().join("\n");
        assert!(account(Some("ann")).contains("Get-ADUser ann -Properties") && account(None).contains("Get-ADUser USER -Properties"));
    }
}
