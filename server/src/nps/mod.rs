//! Policies, and the RADIUS servers that they forward to, out of an export of NPS (`Export-NpsConfiguration`, `netsh nps export`), as sections of our
//! configuration. Secrets, which an export holds in clear, are never written.
//!
//! What has no equivalent is named, and errs on the side of no: a policy that grants is written with `enabled = false` where one of its conditions,
//! constraints or settings is lost, a policy that denies is written without that condition and so denies more.
mod expression;
mod profile;
mod requests;
#[cfg(test)]
mod tests;

use expression::Translation;
use profile::Profile;
use roxmltree::{Document, Node};

/// Bytes of an export that are read at most.
pub(crate) const SIZE_MAX: usize = 64 << 20;

/// What an export comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// `[[policy]]`, `[[radius]]`, `[[radius_group]]` and `[[request_policy]]` sections, those of a kind in order.
    pub toml: String,
    /// What has no equivalent or needs a decision, one sentence each.
    pub notes: Vec<String>,
    pub policies: usize,
}

/// What a policy is for (`Policy_SourceTag`, the type of network access server): a value of MS-Network-Access-Server-Type (MS-RNAP). NPS asks the
/// policies of the asking server's own kind before those of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    RemoteAccess,
    Unspecified,
    /// Never asked about somebody who comes in by VPN.
    Other(&'a str),
}

impl<'a> Kind<'a> {
    /// `tag`: as the export has it.
    fn of(tag: Option<&'a str>) -> Self {
        match tag {
            None | Some("" | "0") => Self::Unspecified,
            Some("2") => Self::RemoteAccess,
            Some(other) => Self::Other(other),
        }
    }
}

/// For another kind of server, in a sentence.
fn of_kind(tag: &str) -> String {
    let kind = match tag {
        "1" => "Remote Desktop Gateway",
        "3" => "DHCP Server",
        "5" => "Health Registration Authority",
        "6" => "HCAP Server",
        other => return format!("it is for another type of network access server (Policy_SourceTag {other:?})"),
    };
    format!("it is for another type of network access server ({kind})")
}

/// A policy of NPS: its entry, and the profile of the same name.
#[derive(Debug)]
struct Exported<'a> {
    name: String,
    kind: Kind<'a>,
    enabled: bool,
    sequence: i64,
    conditions: Vec<&'a str>,
    profile: Option<Node<'a, 'a>>,
}

/// Reads an export.
///
/// # Errors
/// Why it is none.
pub fn import(bytes: &[u8]) -> Result<Imported, String> {
    read(bytes, |service, imported| {
        let requests = exported(service, "Proxy_Policies", "Proxy_Profiles");
        requests::write(&requests, &entries(service, "RADIUS_Server_Groups"), imported);
    })
}

/// Reads the network policies of an export alone.
///
/// # Errors
/// Why it is none.
pub fn import_policies(bytes: &[u8]) -> Result<Imported, String> {
    read(bytes, |_, _| {})
}

/// The network policies, and then what `more` makes of the service.
fn read(bytes: &[u8], more: impl Fn(Node<'_, '_>, &mut Imported)) -> Result<Imported, String> {
    if bytes.len() > SIZE_MAX {
        return Err(format!("has more than the {SIZE_MAX} bytes that are read at most"));
    }
    let text = decoded(bytes).ok_or("is neither UTF-8 nor UTF-16")?;
    let document = Document::parse(text.trim_start_matches('\u{feff}')).map_err(|error| format!("is no XML: {error}"))?;
    let service = document
        .descendants()
        .find(|node| node.has_tag_name("Microsoft_Internet_Authentication_Service"))
        .ok_or("is no export of NPS: it has no Microsoft_Internet_Authentication_Service")?;
    let mut imported = Imported { toml: String::new(), notes: Vec::new(), policies: 0 };
    for policy in &exported(service, "NetworkPolicy", "RadiusProfiles") {
        write(policy, &mut imported);
    }
    more(service, &mut imported);
    Ok(imported)
}

/// UTF-16 with its mark, or UTF-8: what Windows writes.
pub(crate) fn decoded(bytes: &[u8]) -> Option<String> {
    let wide = |of: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes[2..].chunks_exact(2).map(|unit| of([unit[0], unit[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xFF, 0xFE, ..] => wide(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => wide(u16::from_be_bytes),
        bytes => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// The entries of a collection of the service.
fn entries<'a>(service: Node<'a, 'a>, collection: &str) -> Vec<Node<'a, 'a>> {
    let collection = children(service).find(|node| node.has_tag_name(collection));
    collection.map(|collection| children(collection).collect()).unwrap_or_default()
}

fn children<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    let inside = node.children().find(|child| child.has_tag_name("Children"));
    inside.into_iter().flat_map(|inside| inside.children()).filter(Node::is_element)
}

fn name(node: Node<'_, '_>) -> String {
    node.attribute("name").unwrap_or_else(|| node.tag_name().name()).to_owned()
}

fn properties<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let inside = node.children().find(|child| child.has_tag_name("Properties"));
    let all = inside.into_iter().flat_map(|inside| inside.children()).filter(Node::is_element);
    all.map(|property| (property.tag_name().name(), property.text().unwrap_or_default().trim()))
}

/// In the order in which NPS asks them about somebody who comes in by VPN.
fn exported<'a>(service: Node<'a, 'a>, policies: &str, profiles: &str) -> Vec<Exported<'a>> {
    let profiles = entries(service, profiles);
    let read = |node: Node<'a, 'a>| {
        let first = |wanted: &str| properties(node).find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let name = name(node);
        Exported {
            kind: Kind::of(first("Policy_SourceTag")),
            enabled: first("Policy_Enabled") != Some("0"),
            sequence: first("msNPSequence").and_then(|value| value.parse().ok()).unwrap_or(i64::MAX),
            conditions: properties(node).filter(|(name, _)| *name == "msNPConstraint").map(|(_, value)| value).collect(),
            profile: profiles.iter().copied().find(|profile| self::name(*profile) == name),
            name,
        }
    };
    let mut found: Vec<_> = entries(service, policies).into_iter().map(read).collect();
    found.sort_by_key(|policy| (policy.kind != Kind::RemoteAccess, policy.sequence));
    found
}

fn write(policy: &Exported<'_>, imported: &mut Imported) {
    let named = format!("policy {:?}", policy.name);
    let profile = policy.profile.map(|node| Profile::read(properties(node))).unwrap_or_default();
    let grants = profile.grants == Some(true);
    let other_kind = if let Kind::Other(tag) = policy.kind { Some(of_kind(tag)) } else { None };
    if let Some(why) = other_kind.as_ref().filter(|_| !grants) {
        return imported.notes.push(format!("{named} is not written: {why}, and denies nobody who comes in by VPN"));
    }
    let (mut lines, mut lost) = (Vec::new(), Vec::new());
    for condition in &policy.conditions {
        match expression::translate(condition) {
            Translation::Lines(more, note) => {
                lines.extend(more);
                imported.notes.extend(note.map(|note| format!("{named}: {note}")));
            }
            Translation::Lost(why) => lost.push(format!("{condition} ({why})")),
        }
    }
    let unusable: Vec<_> = other_kind.iter().chain(profile.unusable()).collect();
    let enabled = policy.enabled && (!grants || (lost.is_empty() && unusable.is_empty()));
    for lost in lost {
        let instead = if grants { "so it is written with enabled = false" } else { "so it denies without it, and more than before" };
        imported.notes.push(format!("{named}: the condition {lost} has no equivalent, {instead}"));
    }
    imported.notes.extend(unusable.iter().filter(|_| grants).map(|why| format!("{named}: {why}, so it is written with enabled = false")));
    if profile.grants.is_none() {
        imported.notes.push(format!("{named}: the export does not say whether it grants, so it is written to deny"));
    }
    imported.notes.extend(profile.notes.iter().map(|note| format!("{named}: {note}")));
    imported.policies += 1;
    let out = &mut imported.toml;
    out.push_str(&format!("[[policy]]\nname = {}\n", quoted(&policy.name)));
    out.push_str(if enabled { "" } else { "enabled = false\n" });
    out.push_str(if grants { "" } else { "grant = false\n" });
    let rest = if grants { profile.lines } else { Vec::new() };
    lines.into_iter().chain(rest).for_each(|line| {
        out.push_str(&line);
        out.push('\n');
    });
    out.push_str(if grants {
        "# pool = \"..\"                             # where its addresses come from; NPS does not know\n\n"
    } else {
        "\n"
    });
}

/// As TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace(char::is_control, " ")).to_string()
}

fn quoted_list(entries: &[String]) -> String {
    let entries: Vec<_> = entries.iter().map(|entry| quoted(entry)).collect();
    format!("[{}]", entries.join(", "))
}
