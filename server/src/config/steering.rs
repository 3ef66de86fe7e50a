//! `certificate` of `[[policy]]`: who shows it, and that it is never luck which certificate a client sees.
use super::certificates::clients;
use super::error::ConfigError;
use super::reader::{Root, Section};
use crate::steering::{Door, JUDGEMENTS, Undecided, may_be_for, search};
use policy::network::Policy;

/// `keys`: those of `[[policy]]`.
///
/// # Errors
/// A policy names a certificate that nobody whom it may be for can be shown; or nothing decides for some client between those that two policies name.
pub(super) fn check(
    root: &Root<'_>,
    keys: &[&str],
    policies: &[Policy],
    doors: &[Door<'_>],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let sections = root.sections("policy", keys)?;
    for (section, policy) in sections.iter().zip(policies) {
        is_shown(section, policy, doors)?;
    }
    for door in doors {
        let searched = search(*door, policies, clients(door.tunnel), JUDGEMENTS);
        if let Some(undecided) = searched.undecided {
            return Err(tied(&sections, policies, door, &undecided));
        }
        if searched.cut {
            warnings.push(format!(
                "listener {:?}: policies tell apart more kinds of clients than the check for certificates between which nothing decides looks at \
                 ({} were judged): some were not looked at; conditions on server_name or client in each policy that names a certificate make it shorter",
                door.name, searched.judged
            ));
        }
    }
    Ok(())
}

fn is_shown(section: &Section<'_>, policy: &Policy, doors: &[Door<'_>]) -> Result<(), ConfigError> {
    let Some(name) = &policy.certificate else { return Ok(()) };
    let has = |door: &&Door<'_>| door.certificates.iter().any(|certificate| certificate.name == *name);
    if doors.iter().filter(has).any(|door| may_be_for(policy, door.name, door.tunnel)) {
        return Ok(());
    }
    let fitting: Vec<_> =
        doors.iter().filter(|door| may_be_for(policy, door.name, door.tunnel)).map(|door| format!("{:?}", door.name)).collect();
    let remedy = match doors.iter().find(has) {
        Some(door) => format!("only listener {:?} shows it, where tunnel and listener of this policy let nobody come from", door.name),
        None => format!("add it to certificates of listener {}", if fitting.is_empty() { "s".into() } else { fitting.join(" or ") }),
    };
    Err(section.error("certificate", format!("nobody for whom this policy may be is shown {name:?}: {remedy}")))
}

/// An error where the later one of two policies stands.
fn tied(sections: &[Section<'_>], policies: &[Policy], door: &Door<'_>, undecided: &Undecided) -> ConfigError {
    let (earlier, later) = (&undecided.tied[0], &undecided.tied[1]);
    let at = policies.iter().position(|policy| policy.name == later.policy).unwrap_or_default();
    let problem = format!(
        "nothing decides between {:?} and {:?}, which policy {:?} names, for {} at listener {:?}: give one of the two policies a condition that is \
         known before the login (server_name, client, gateway, listener, tunnel, time), one of the two certificates names, addresses or realms of its \
         own, or name one of them in default_certificate",
        later.certificate, earlier.certificate, earlier.policy, undecided.clients, door.name
    );
    sections[at].error("certificate", problem)
}
