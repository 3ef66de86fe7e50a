//! Connection request policies of NPS, and the remote RADIUS server groups that they forward to.
//!
//! A first policy that matches decides, in NPS as here: where one cannot be written, what it matches would go to those after it, so it is left as a
//! comment for whoever looks. Nobody's credentials go to a server that NPS would not have asked: every policy names its group.
use super::expression::{Translation, translate};
use super::{Exported, Imported, Kind, children, name, of_kind, properties, quoted};
use roxmltree::Node;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What stands for the NPS that the export is of.
const THIS_NPS: &str = "NPS";

/// Conditions that both kinds of policies know.
const KNOWN: &[&str] = &["user = ", "tunnel = ", "time = "];

/// What NPS tries before it gives a server up.
const MAX_LOST: &str = "5";

/// Writes them where one that is in use forwards to other servers; else NPS is who is asked, and goes on deciding by itself.
pub(super) fn write(policies: &[Exported<'_>], groups: &[Node<'_, '_>], imported: &mut Imported) {
    let used: Vec<_> = policies.iter().filter(|policy| policy.enabled && !is_of_another_kind(policy, imported)).collect();
    let forwarded: BTreeSet<String> = used.iter().filter_map(|policy| Forwarding::of(policy).group).collect();
    for group in groups.iter().filter(|group| !forwarded.contains(&name(**group))) {
        let name = name(*group);
        imported.notes.push(format!("remote server group {name:?} is not written: no connection request policy in use forwards to it"));
    }
    if forwarded.is_empty() {
        return imported.notes.extend(used.into_iter().filter_map(|policy| left_to_nps(policy)));
    }
    let mut names = BTreeSet::new();
    for group in groups.iter().filter(|group| forwarded.contains(&name(**group))) {
        write_group(*group, &mut names, imported);
    }
    for policy in policies.iter().filter(|policy| !policy.enabled) {
        imported.notes.push(format!("connection request policy {:?} is not written: it is disabled", policy.name));
    }
    let to_nps = used.iter().map(|policy| write_policy(policy, imported)).filter(|to_nps| *to_nps).count();
    if to_nps > 0 {
        imported.notes.push(format!(
            "{to_nps} connection request policies have NPS itself authenticate: add it as [[radius]], and a [[radius_group]] {THIS_NPS:?} of it, before \
             this is used"
        ));
    }
}

/// NPS never asks it about somebody who comes in by VPN. A note says so.
fn is_of_another_kind(policy: &Exported<'_>, imported: &mut Imported) -> bool {
    let Kind::Other(tag) = policy.kind else { return false };
    imported.notes.push(format!("connection request policy {:?} is not written: {}", policy.name, of_kind(tag)));
    true
}

/// A policy that does more than have everybody authenticated by NPS.
fn left_to_nps(policy: &Exported<'_>) -> Option<String> {
    let always = policy.conditions.iter().all(|condition| matches!(translate(condition), Translation::Lines(lines, _) if lines.is_empty()));
    let forwarding = Forwarding::of(policy);
    if always && forwarding.provider == Provider::Nps && forwarding.lost.is_empty() {
        return None;
    }
    let conditions = policy.conditions.join(" and ");
    Some(format!(
        "connection request policy {:?} ({conditions}) is not written: NPS goes on with it if this gateway asks NPS; to choose between servers here, add \
         a [[request_policy]]",
        policy.name
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    /// Nobody: whoever matches is let in.
    None,
    Nps,
    Radius,
}

/// What the profile of a connection request policy says.
struct Forwarding {
    provider: Provider,
    group: Option<String>,
    accounting: Option<String>,
    /// What cannot be said here.
    lost: Vec<String>,
}

impl Forwarding {
    fn of(policy: &Exported<'_>) -> Self {
        let mut forwarding = Self { provider: Provider::Nps, group: None, accounting: None, lost: Vec::new() };
        let (mut group, mut accounting) = (None, None);
        for (property, value) in policy.profile.into_iter().flat_map(properties) {
            match (property, value) {
                ("msAuthProviderType", "0") => forwarding.provider = Provider::None,
                ("msAuthProviderType", "1") => forwarding.provider = Provider::Nps,
                ("msAuthProviderType", "2") => forwarding.provider = Provider::Radius,
                ("msAuthProviderName", name) => group = Some(name.to_owned()),
                ("msAcctProviderName", name) => accounting = Some(name.to_owned()),
                ("msAcctProviderType" | "Opaque_Data" | "Template_Guid", _) => {}
                ("msManipulationRule" | "msManipulationTarget", _) => forwarding.lose("its rules that change names (see rewrite)"),
                (other, _) => forwarding.lose(&format!("its setting {other}")),
            }
        }
        if forwarding.provider == Provider::Radius {
            match group {
                Some(group) => forwarding.group = Some(group),
                None => forwarding.lose("its group, which the export does not name"),
            }
        }
        forwarding.accounting = accounting;
        forwarding
    }

    fn lose(&mut self, what: &str) {
        if !self.lost.iter().any(|lost| lost == what) {
            self.lost.push(what.to_owned());
        }
    }
}

/// True: NPS itself is to be asked.
fn write_policy(policy: &Exported<'_>, imported: &mut Imported) -> bool {
    let named = format!("connection request policy {:?}", policy.name);
    let Forwarding { provider, group, accounting, mut lost } = Forwarding::of(policy);
    if provider == Provider::None {
        imported.notes.push(format!("{named} is not written: it lets everybody in without asking who they are, and nothing here does"));
        return false;
    }
    let mut lines = Vec::new();
    for condition in &policy.conditions {
        match translate(condition) {
            Translation::Lines(more, _) if more.iter().all(|line| KNOWN.iter().any(|known| line.starts_with(known))) => lines.extend(more),
            // All sessions here are of that kind.
            Translation::Lines(more, None) if more.iter().all(|line| line.starts_with("port_type = ")) => {}
            Translation::Lines(..) | Translation::Lost(_) => lost.push(format!("its condition {condition}")),
        }
    }
    lines.push(format!("group = {}", quoted(group.as_deref().unwrap_or(THIS_NPS))));
    lines.extend(
        accounting
            .filter(|accounting| group.as_ref() != Some(accounting))
            .map(|accounting| format!("accounting_group = {}", quoted(&accounting))),
    );
    let comment = if lost.is_empty() { "" } else { "# " };
    let head = ["[[request_policy]]".to_owned(), format!("name = {}", quoted(&policy.name))];
    for line in head.into_iter().chain(lines) {
        imported.toml.push_str(&format!("{comment}{line}\n"));
    }
    imported.toml.push('\n');
    if !lost.is_empty() {
        imported.notes.push(format!(
            "{named} is written as a comment, and what it matches would go to those after it: it has no equivalent for {}",
            lost.join(", ")
        ));
    }
    group.is_none() && lost.is_empty()
}

fn write_group(group: Node<'_, '_>, names: &mut BTreeSet<String>, imported: &mut Imported) {
    let title = name(group);
    let mut members = Vec::new();
    for server in servers(group) {
        let of = |wanted: &str| {
            properties(server).find(|(property, _)| *property == wanted).map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        let address = of("Address").unwrap_or_default();
        let server = unused_name(address, names);
        members.push(format!(
            "{{ name = {}, priority = {}, weight = {} }}",
            quoted(&server),
            number(of("Priority"), 1),
            number(of("Weight"), 50)
        ));
        write_server(&server, address, &of, imported);
    }
    if members.is_empty() {
        imported.notes.push(format!("remote server group {title:?} has no server that the export names"));
    }
    let out = &mut imported.toml;
    out.push_str(&format!("[[radius_group]]\nname = {}\nservers = [{}]\n\n", quoted(&title), members.join(", ")));
}

fn write_server<'a>(server: &str, address: &str, of: &impl Fn(&str) -> Option<&'a str>, imported: &mut Imported) {
    let secret = format!("/etc/evergate/{server}.secret");
    let out = &mut imported.toml;
    out.push_str(&format!("[[radius]]\nname = {}\naddress = {}\nsecret_file = {}\n", quoted(server), quoted(address), quoted(&secret)));
    for (key, property, usual) in [("port", "Server_Authentication_Port", 1812), ("accounting_port", "Server_Accounting_Port", 1813)] {
        let port = number(of(property), usual);
        out.push_str(&if port == usual { String::new() } else { format!("{key} = {port}\n") });
    }
    for (key, property, most) in [("timeout", "Timeout", 300), ("revive_interval", "Blackout_Interval", 3600)] {
        let seconds = of(property).and_then(|value| value.parse().ok()).filter(|seconds| (1..=most).contains(seconds));
        out.push_str(&seconds.map(|seconds: u32| format!("{key} = \"{seconds}s\"\n")).unwrap_or_default());
    }
    out.push('\n');
    let title = format!("RADIUS server {server:?}");
    let held = ["Authentication_Secret", "Accounting_Secret"].map(of);
    let secrets = if held.iter().any(Option::is_some) { ", which the export holds in clear: guard that file" } else { "" };
    imported.notes.push(format!("{title}: put its shared secret into {secret} (mode 0600){secrets}"));
    if matches!(held, [Some(login), Some(accounting)] if login != accounting) {
        imported.notes.push(format!("{title} has another secret for accounting, which has no equivalent: let it have one for both"));
    }
    if let Some(lost) = of("Maximum_Lost_Packets").filter(|lost| *lost != MAX_LOST) {
        imported.notes.push(format!("{title}: its Maximum_Lost_Packets ({lost}) has no equivalent"));
    }
}

/// Whatever collections they stand in.
fn servers<'a>(group: Node<'a, 'a>) -> Vec<Node<'a, 'a>> {
    let is_server = |node: Node<'a, 'a>| properties(node).any(|(property, value)| property == "Address" && !value.is_empty());
    children(group).flat_map(|child| if is_server(child) { vec![child] } else { servers(child) }).collect()
}

/// After the server's address.
fn unused_name(address: &str, names: &mut BTreeSet<String>) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    let base = match address.parse::<IpAddr>() {
        Ok(address) => format!("radius-{}", address.to_string().replace(':', "-")),
        Err(_) if plain(address) => address.to_owned(),
        Err(_) => "radius".to_owned(),
    };
    let mut candidates = std::iter::once(base.clone()).chain((2..).map(|number: u32| format!("{base}-{number}")));
    // There are more numbers than servers.
    let free = candidates.find(|candidate| !names.contains(candidate)).unwrap_or(base);
    names.insert(free.clone());
    free
}

fn number(text: Option<&str>, usual: u16) -> u16 {
    text.and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(usual)
}
