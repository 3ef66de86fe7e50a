//! What one configuration changes of another, section by section and key by key, and which of it a running gateway cannot take.
use super::source::{Node, Value, name_of};
use super::{Config, RadiusServer, SECTIONS, Server, Written};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `[server]` keys that are about the process itself. `name` is one of them: as NAS-Identifier it names the sessions that are up.
const SERVER_AT_START: &[&str] = &["name", "control_socket", "control_group", "state_dir", "run_as", "threads", "tun", "mtu"];
const ACCOUNTING_AT_START: &[&str] = &["queue_max"];

/// Kinds of sections of which the first that fits counts.
const ORDERED: &[&str] = &["radius", "request_policy", "policy"];

/// One section that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// `server`, or `radius "nps1"`; of [`What::Reordered`] the kind: `policy`.
    pub section: String,
    pub change: What,
    pub keys: Vec<KeyChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Added,
    Removed,
    Changed,
    Reordered,
}

/// One key of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KeyChange {
    pub key: String,
    /// As written; `None`: it is not there.
    pub before: Option<String>,
    pub after: Option<String>,
    /// It names a file, and what that holds is what has changed. Of secrets nothing more is ever said.
    #[serde(default)]
    pub content: bool,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Reordered => "reordered",
        })
    }
}

impl std::fmt::Display for KeyChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.before, &self.after) {
            (_, Some(path)) if self.content => write!(f, "{} (what {path} holds)", self.key),
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.key),
            (None, Some(after)) => write!(f, "{} = {after}", self.key),
            (Some(before), None) => write!(f, "{} (was {before})", self.key),
            (None, None) => f.write_str(&self.key),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(KeyChange::to_string).collect();
        write!(f, "{} {}", self.section, self.change)?;
        if keys.is_empty() { Ok(()) } else { write!(f, ": {}", keys.join(", ")) }
    }
}

/// Where requests of dynamic clients are heard already: what they are heard at cannot change any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// At `dynamic_port`.
    pub udp: bool,
    /// At `dynamic_tls_port`.
    pub tls: bool,
}

impl Heard {
    /// This key of `[server]` says where requests are heard already.
    fn binds(self, key: &str) -> bool {
        match key {
            "dynamic_listen" => self.udp || self.tls,
            "dynamic_port" => self.udp,
            "dynamic_tls_port" => self.tls,
            _ => false,
        }
    }
}

/// What a reload comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What takes effect.
    pub live: Vec<Change>,
    /// What only a restart brings.
    pub restart: Vec<Change>,
}

impl Difference {
    /// `started`: what the process began with; `running`: what was applied last; `heard`: requests of dynamic clients, at `running`.
    pub fn new(started: &Config, running: &Config, fresh: &Config, heard: Heard) -> Self {
        let part = |before: &Config, restart| {
            let changes = changes(&before.written, &fresh.written).into_iter();
            changes.filter_map(|change| split(change, restart, heard)).collect::<Vec<_>>()
        };
        let mut live = part(running, false);
        live.extend(moved_servers(running, fresh));
        Self { live, restart: part(started, true) }
    }
}

impl Config {
    /// This configuration as far as a process can take it that runs with `running`; see [`Difference`].
    pub fn over(self, running: &Self, heard: Heard) -> Self {
        let bound = |key| if heard.binds(key) { &running.server } else { &self.server };
        let dynamic_listen = bound("dynamic_listen").dynamic_listen.clone();
        let (dynamic_port, dynamic_tls_port) = (bound("dynamic_port").dynamic_port, bound("dynamic_tls_port").dynamic_tls_port);
        let Server { log, log_format, time_zone, max_sessions, attempts_kept, .. } = self.server;
        let server = Server {
            log,
            log_format,
            time_zone,
            max_sessions,
            attempts_kept,
            dynamic_listen,
            dynamic_port,
            dynamic_tls_port,
            ..running.server.clone()
        };
        let mut accounting = self.accounting;
        accounting.queue_max = running.accounting.queue_max;
        let mut radius = self.radius;
        let sections = sections("radius", &self.written.tree);
        for RadiusServer { server, .. } in &mut radius {
            let title = format!("radius {:?}", server.name);
            let own = sections.iter().any(|(known, node)| *known == title && table(node).contains_key("nas_identifier"));
            if !own {
                server.nas_identifier = Some(running.server.name.clone());
            }
        }
        Self { server, radius, accounting, ..self }
    }

    /// This configuration with the certificates and private keys of `fresh`, which was read from the same text.
    pub fn with_certificates_of(&self, fresh: &Self) -> Self {
        let mut renewed = self.clone();
        renewed.certificates.clone_from(&fresh.certificates);
        if let (Some(listener), Some(fresh)) = (&mut renewed.ikev2, &fresh.ikev2) {
            listener.certificates.clone_from(&fresh.certificates);
            listener.client_roots = fresh.client_roots.clone();
        }
        for listener in &mut renewed.sstp {
            let Some(fresh) = fresh.sstp.iter().find(|fresh| fresh.name == listener.name) else { continue };
            listener.certificates.clone_from(&fresh.certificates);
        }
        for radius in &mut renewed.radius {
            let Some(fresh) = fresh.radius.iter().find(|fresh| fresh.server.name == radius.server.name) else { continue };
            radius.tls.clone_from(&fresh.tls);
            radius.server.tls_settings = fresh.server.tls_settings;
        }
        for peer in &mut renewed.dynamic_clients {
            let Some(fresh) = fresh.dynamic_clients.iter().find(|fresh| fresh.client.name == peer.client.name) else { continue };
            peer.tls.clone_from(&fresh.tls);
        }
        if let (Some(api), Some(fresh)) = (&mut renewed.api, &fresh.api) {
            api.settings.clone_from(&fresh.settings);
        }
        if let (Some(local), Some(fresh)) = (&mut renewed.local, &fresh.local) {
            local.credential.clone_from(&fresh.credential);
            local.client_roots = fresh.client_roots.clone();
            // They go to the provider together with the certificate.
            local.users.clone_from(&fresh.users);
        }
        if let (Some(telemetry), Some(fresh)) = (&mut renewed.telemetry, &fresh.telemetry) {
            telemetry.tls.clone_from(&fresh.tls);
        }
        renewed.written = self.written.with_certificates_of(&fresh.written).into();
        renewed
    }

    /// Files with certificates and their keys, as they were when they were read.
    pub fn certificate_files(&self) -> BTreeMap<std::path::PathBuf, super::Look> {
        let files = self.written.files.iter().filter(|file| holds_certificates(&file.section, &file.key));
        files.map(|file| (file.path.clone(), file.look)).collect()
    }

    /// What has changed in the files that keys name.
    pub fn changed_files(&self, fresh: &Self) -> Vec<Change> {
        changes(&self.written, &fresh.written)
    }
}

/// Secrets and users files are read again at a reload or by their own watch.
fn holds_certificates(section: &str, key: &str) -> bool {
    matches!(key, "chain" | "key" | "client_ca" | "ca") && !section.starts_with("ppk")
}

impl Written {
    fn with_certificates_of(&self, fresh: &Self) -> Self {
        let of = |written: &Self, certificates: bool| {
            let files = written.files.iter().filter(move |file| holds_certificates(&file.section, &file.key) == certificates);
            files.cloned().collect::<Vec<_>>()
        };
        Self { tree: self.tree.clone(), files: [of(self, false), of(fresh, true)].concat() }
    }
}

/// The part of a change that needs a restart, or the part that does not.
fn split(change: Change, restart: bool, heard: Heard) -> Option<Change> {
    if change.change != What::Changed {
        return (!restart).then_some(change);
    }
    let kind = change.section.split(' ').next().unwrap_or_default().to_owned();
    let mut change = change;
    change.keys.retain(|key| at_start(&kind, &key.key, heard) == restart);
    (!change.keys.is_empty()).then_some(change)
}

/// Only a restart brings this key of such a section.
pub(super) fn at_start(kind: &str, key: &str, heard: Heard) -> bool {
    match kind {
        "server" => SERVER_AT_START.contains(&key) || heard.binds(key),
        "accounting" => ACCOUNTING_AT_START.contains(&key),
        _ => false,
    }
}

/// RADIUS servers whose name stands for another address than before.
fn moved_servers(running: &Config, fresh: &Config) -> Vec<Change> {
    let moved = fresh.radius.iter().filter_map(|server| {
        let known = running.radius.iter().find(|known| known.server.name == server.server.name && known.host == server.host)?;
        let (before, after) = (known.server.address().ip(), server.server.address().ip());
        let shown = |address| Some(format!("{} ({address})", server.host));
        let key = KeyChange { key: "address".into(), before: shown(before), after: shown(after), content: false };
        let section = format!("radius {:?}", server.server.name);
        (before != after).then(|| Change { section, change: What::Changed, keys: vec![key] })
    });
    moved.collect()
}

fn changes(before: &Written, after: &Written) -> Vec<Change> {
    SECTIONS.iter().flat_map(|kind| changes_of(kind, before, after)).collect()
}

fn changes_of(kind: &str, before: &Written, after: &Written) -> Vec<Change> {
    let (old, new) = (sections(kind, &before.tree), sections(kind, &after.tree));
    let mut changes = Vec::new();
    for (title, node) in &new {
        match old.iter().find(|(known, _)| known == title) {
            None => changes.push(Change { section: title.clone(), change: What::Added, keys: added_keys(node) }),
            Some((_, known)) => {
                let mut keys = changed_keys(known, node);
                keys.extend(changed_contents(title, &keys, before, after));
                if !keys.is_empty() {
                    changes.push(Change { section: title.clone(), change: What::Changed, keys });
                }
            }
        }
    }
    let gone = old.iter().filter(|(title, _)| !new.iter().any(|(known, _)| known == title));
    changes.extend(gone.map(|(title, _)| Change { section: title.clone(), change: What::Removed, keys: Vec::new() }));
    changes.extend(reordered(kind, &old, &new));
    changes
}

/// The sections of a kind under their titles.
fn sections<'a>(kind: &str, tree: &'a Node) -> Vec<(String, &'a Node)> {
    match table(tree).get(kind) {
        Some(Node { value: Value::Array(entries), .. }) => {
            entries.iter().map(|entry| (format!("{kind} {:?}", name_of(entry).unwrap_or_default()), entry)).collect()
        }
        Some(node) => vec![(kind.to_owned(), node)],
        None => Vec::new(),
    }
}

fn reordered(kind: &str, old: &[(String, &Node)], new: &[(String, &Node)]) -> Option<Change> {
    let common = |these: &[(String, &Node)], those: &[(String, &Node)]| {
        let kept = these.iter().filter(|(title, _)| those.iter().any(|(other, _)| other == title));
        kept.filter_map(|(_, node)| name_of(node)).collect::<Vec<_>>()
    };
    let (before, after) = (common(old, new), common(new, old));
    if before == after || !ORDERED.contains(&kind) {
        return None;
    }
    let key = KeyChange { key: "order".into(), before: Some(before.join(", ")), after: Some(after.join(", ")), content: false };
    Some(Change { section: kind.to_owned(), change: What::Reordered, keys: vec![key] })
}

fn added_keys(section: &Node) -> Vec<KeyChange> {
    let keys = table(section).iter().filter(|(key, _)| *key != "name");
    keys.map(|(key, node)| KeyChange { key: key.clone(), before: None, after: Some(node.value.to_string()), content: false }).collect()
}

fn changed_keys(before: &Node, after: &Node) -> Vec<KeyChange> {
    let (before, after) = (table(before), table(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = keys.into_iter().filter(|key| match (before.get(*key), after.get(*key)) {
        (Some(before), Some(after)) => !before.value.means(&after.value),
        _ => true,
    });
    let shown = |section: &BTreeMap<String, Node>, key: &String| section.get(key).map(|node| node.value.to_string());
    differ.map(|key| KeyChange { key: key.clone(), before: shown(before, key), after: shown(after, key), content: false }).collect()
}

/// Files of this section that hold something else, under keys that are not `known` to have changed.
fn changed_contents(title: &str, known: &[KeyChange], before: &Written, after: &Written) -> Vec<KeyChange> {
    let mut changed = Vec::new();
    for file in after.files.iter().filter(|file| file.section == title && !known.iter().any(|known| known.key == file.key)) {
        let same = |old: &&super::notes::NotedFile| old.section == title && old.key == file.key && old.path == file.path;
        if before.files.iter().find(same).is_some_and(|old| old.digest != file.digest) {
            let path = Some(file.path.display().to_string());
            changed.push(KeyChange { key: file.key.clone(), before: path.clone(), after: path, content: true });
        }
    }
    changed
}

fn table(node: &Node) -> &BTreeMap<String, Node> {
    static EMPTY: BTreeMap<String, Node> = BTreeMap::new();
    match &node.value {
        Value::Table(table) => table,
        _ => &EMPTY,
    }
}
