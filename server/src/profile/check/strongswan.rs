//! `swanctl.conf`.
use super::said::{Eap, Identity, Login, Names, Protocol, Routes, Said, Wrong};
use crate::profile::Kind;
use crate::profile::proposals::{Offer, esp_offer, from_strongswan, ike_offer};
use ike::proposal::SaPayload;

/// Sections in each other at most.
const DEPTH_MAX: usize = 16;

/// `{ key = value section { .. } }`
#[derive(Debug, Default)]
struct Section {
    values: Vec<(String, String)>,
    sections: Vec<(String, Section)>,
}

impl Section {
    fn get(&self, key: &str) -> &str {
        self.values.iter().rev().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    fn list(&self, key: &str) -> Vec<&str> {
        self.get(key).split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
    }

    fn section(&self, name: &str) -> Option<&Self> {
        self.sections.iter().find(|(known, _)| known == name).map(|(_, section)| section)
    }

    /// The first whose name begins so: `local`, `local-1`.
    fn beginning(&self, name: &str) -> Option<&Self> {
        self.sections.iter().find(|(known, _)| known.starts_with(name)).map(|(_, section)| section)
    }
}

pub(super) fn read(text: &str) -> Result<Vec<Said>, String> {
    let mut tokens = Tokens { rest: text };
    let root = section(&mut tokens, 0)?;
    let connections = root.section("connections").filter(|connections| !connections.sections.is_empty());
    let connections = connections.ok_or("holds no connection: expected connections { NAME { .. } }")?;
    let has_secret = root.section("secrets").is_some_and(|secrets| secrets.sections.iter().any(|(_, one)| !one.get("secret").is_empty()));
    Ok(connections.sections.iter().map(|(_, one)| connection(one, has_secret)).collect())
}

fn connection(connection: &Section, has_secret: bool) -> Said {
    let mut wrong = Vec::new();
    if connection.get("version") == "1" {
        wrong.push(Wrong::new("version = 1 is IKE version 1, which this gateway does not speak", "write version = 2"));
    }
    let servers: Vec<_> = connection.list("remote_addrs").into_iter().map(str::to_owned).collect();
    if servers.is_empty() {
        wrong.push(Wrong::new("remote_addrs is missing", "write the gateway's name into remote_addrs"));
    }
    let port = connection.get("remote_port").parse().ok();
    if port.is_some_and(|port: u16| port != 500) && matches!(connection.get("local_port"), "" | "500") {
        wrong.push(Wrong::new(
            "with remote_port and from port 500, strongSwan begins without the marker of NAT traversal and goes on with it: no gateway has one port for both",
            "write local_port = 4500",
        ));
    }
    let remote = connection.beginning("remote");
    let child = connection.section("children").and_then(|children| children.sections.first());
    if child.is_none() {
        wrong.push(Wrong::new("it has no child: nothing would go through the tunnel", "add children { NAME { remote_ts = .. } }"));
    }
    let offer = offer(connection, child.map(|(_, child)| child), &mut wrong);
    Said {
        format: "swanctl.conf",
        client: Kind::StrongSwan,
        servers,
        port,
        protocol: Protocol::Ikev2,
        identity: identity(remote.map_or("", |remote| remote.get("id"))),
        login: login(connection.beginning("local")),
        device: false,
        offer,
        roots: Vec::new(),
        routes: selectors(child.map_or_else(Vec::new, |(_, child)| child.list("remote_ts")), &mut wrong),
        names: Names::default(),
        has_ppk: !connection.get("ppk_id").is_empty(),
        has_secret,
        wrong,
    }
}

/// An identity of strongSwan's: a name, a pattern, or a distinguished name.
pub(super) fn identity(text: &str) -> Identity {
    let name = text.strip_prefix("fqdn:").unwrap_or(text);
    match name {
        "" => Identity::Dialled,
        name if name.contains(['*', '%', '=', ':', '@']) => Identity::Any,
        name => Identity::Name(name.to_owned()),
    }
}

fn login(local: Option<&Section>) -> Login {
    let auth = local.map_or("", |local| local.get("auth"));
    let kind = auth.split(':').next().unwrap_or_default();
    let method = match kind {
        "eap-mschapv2" => Some(26),
        "eap-tls" => Some(13),
        "eap-peap" => Some(25),
        "eap-ttls" => Some(21),
        "eap-md5" => Some(4),
        "eap-gtc" => Some(6),
        "eap" | "eap-dynamic" => None,
        "" | "pubkey" => return Login::Certificate,
        kind if ["rsa", "ecdsa", "ed25519", "ed448", "pubkey", "ike"].iter().any(|word| kind.starts_with(word)) => {
            return Login::Certificate;
        }
        other => return Login::Other(other.to_owned()),
    };
    let servers = local.map(|local| local.get("aaa_id")).filter(|name| !name.is_empty() && !name.contains(['*', '%', '=']));
    Login::Eap(Eap { method, servers: servers.map(str::to_owned).into_iter().collect(), ..Eap::default() })
}

fn offer(connection: &Section, child: Option<&Section>, wrong: &mut Vec<Wrong>) -> Offer {
    let esp = child.map_or_else(Vec::new, |child| child.list("esp_proposals"));
    offers(&connection.list("proposals"), &esp, wrong)
}

/// Proposals in strongSwan's words; with none, or `default` among them, what strongSwan has by itself counts.
pub(super) fn offers(ike: &[&str], esp: &[&str], wrong: &mut Vec<Wrong>) -> Offer {
    let mut read = |proposals: &[&str], of_ike: bool, make: fn(Vec<Vec<ike::proposal::Transform>>) -> SaPayload| {
        if proposals.is_empty() || proposals.contains(&"default") {
            return None;
        }
        match from_strongswan(proposals.iter().copied(), of_ike) {
            Ok(proposals) => Some(make(proposals)),
            Err(word) => {
                let remedy = "take the proposals as `evergate profile` writes them";
                wrong.push(Wrong::new(format!("{word:?} in a proposal is no word of strongSwan's"), remedy));
                None
            }
        }
    };
    Offer { ike: read(ike, true, ike_offer), esp: read(esp, false, esp_offer) }
}

/// What goes into the tunnel, as a list of ranges; none at all is the gateway alone.
pub(super) fn selectors(list: Vec<&str>, wrong: &mut Vec<Wrong>) -> Routes {
    if list.is_empty() || list.contains(&"dynamic") {
        return Routes::Unsaid;
    }
    if list.iter().any(|one| one.ends_with("/0")) {
        return Routes::Everything;
    }
    let mut ranges = Vec::new();
    for one in list {
        match crate::config::address_range(one) {
            Ok(range) => ranges.push(range),
            Err(_) => wrong.push(Wrong::new(format!("{one:?} is no range of addresses"), "write prefixes such as 10.0.0.0/8")),
        }
    }
    Routes::These(ranges)
}

/// Reads entries up to the closing brace, or the end.
fn section(tokens: &mut Tokens<'_>, depth: usize) -> Result<Section, String> {
    if depth > DEPTH_MAX {
        return Err(format!("has more than {DEPTH_MAX} sections in each other"));
    }
    let mut section_read = Section::default();
    while let Some(name) = tokens.next()? {
        match name {
            Token::Close if depth > 0 => return Ok(section_read),
            Token::Word(name) => match tokens.next()? {
                Some(Token::Open) => section_read.sections.push((name, section(tokens, depth + 1)?)),
                Some(Token::Assign(value)) => section_read.values.push((name, value)),
                _ => return Err(format!("is no swanctl.conf: expected {{ or = after {name:?}")),
            },
            _ => return Err("is no swanctl.conf: expected a name".into()),
        }
    }
    if depth > 0 { Err("is no swanctl.conf: a } is missing".into()) } else { Ok(section_read) }
}

enum Token {
    Word(String),
    Open,
    Close,
    /// `=` with everything up to the end of the line.
    Assign(String),
}

struct Tokens<'a> {
    rest: &'a str,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, String> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else { return Ok(None) };
            match first {
                '#' => self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest),
                '{' | '}' => {
                    self.rest = &self.rest[1..];
                    return Ok(Some(if first == '{' { Token::Open } else { Token::Close }));
                }
                '=' => {
                    self.rest = &self.rest[1..];
                    return self.value().map(|value| Some(Token::Assign(value)));
                }
                _ => {
                    let end = self.rest.find(|c: char| c.is_whitespace() || "{}=#".contains(c)).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Ok(Some(Token::Word(word.to_owned())));
                }
            }
        }
    }

    /// Up to the end of the line, a comment or a brace; what is in quotes counts as it is.
    fn value(&mut self) -> Result<String, String> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        let mut quoted = false;
        let end = loop {
            let Some((at, c)) = characters.next() else { break self.rest.len() };
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => value.extend(characters.next().map(|(_, escaped)| escaped)),
                '\n' | '#' | '{' | '}' if !quoted => break at,
                c => value.push(c),
            }
        };
        if quoted {
            return Err("is no swanctl.conf: a quote is not closed".into());
        }
        self.rest = &self.rest[end..];
        Ok(value.trim().to_owned())
    }
}
