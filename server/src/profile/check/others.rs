//! Apple's configuration profiles, the strongSwan app's, and connections of NetworkManager.
use super::said::{Eap, Identity, Login, Names, Protocol, Routes, Said, Wrong, host_and_port, name_servers};
use super::strongswan::{identity, offers, selectors};
use crate::profile::Kind;
use crate::profile::networkmanager::{SSTP, STRONGSWAN};
use crate::profile::proposals::{Offer, apple_cipher, apple_hash, esp_offer, ike_offer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ike::proposal::{Transform, transform};
use pki::Certificate;
use plist::{Dictionary, Value};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::IpAddr;

pub(super) fn apple(bytes: &[u8]) -> Result<Vec<Said>, String> {
    let profile = Value::from_reader(Cursor::new(bytes)).map_err(|error| format!("is no configuration profile: {error}"))?;
    let payloads = profile.as_dictionary().and_then(|profile| profile.get("PayloadContent")).and_then(Value::as_array);
    let payloads: Vec<_> =
        payloads.ok_or("is no configuration profile: it has no PayloadContent")?.iter().filter_map(Value::as_dictionary).collect();
    let roots: Vec<_> = payloads.iter().filter(|payload| text(payload, "PayloadType").starts_with("com.apple.security.root")).collect();
    let roots: Vec<_> = roots.iter().filter_map(|payload| payload.get("PayloadContent")?.as_data()).filter_map(certificate).collect();
    let vpns = payloads.iter().filter(|payload| text(payload, "PayloadType").starts_with("com.apple.vpn.managed"));
    let said: Vec<_> = vpns.map(|vpn| apple_vpn(vpn, &roots)).collect();
    if said.is_empty() { Err("holds no VPN: expected a payload com.apple.vpn.managed".into()) } else { Ok(said) }
}

/// PEM or DER.
fn certificate(bytes: &[u8]) -> Option<Certificate> {
    Certificate::from_pem(bytes).ok()?.into_iter().next()
}

fn text<'a>(dictionary: &'a Dictionary, key: &str) -> &'a str {
    dictionary.get(key).and_then(Value::as_string).unwrap_or_default()
}

fn is_on(dictionary: &Dictionary, key: &str) -> bool {
    dictionary.get(key).is_some_and(|value| value.as_boolean() == Some(true) || value.as_signed_integer() == Some(1))
}

fn apple_vpn(vpn: &Dictionary, roots: &[Certificate]) -> Said {
    let nothing = Dictionary::new();
    let settings = vpn.get("IKEv2").and_then(Value::as_dictionary).unwrap_or(&nothing);
    let mut wrong = Vec::new();
    let protocol = match text(vpn, "VPNType") {
        "IKEv2" | "AlwaysOn" => Protocol::Ikev2,
        other => Protocol::Other(other.to_owned()),
    };
    let server = text(settings, "RemoteAddress");
    if server.is_empty() {
        wrong.push(Wrong::new("RemoteAddress is missing", "write the gateway's name into RemoteAddress and RemoteIdentifier"));
    }
    let method = text(settings, "AuthenticationMethod");
    let login = match (is_on(settings, "ExtendedAuthEnabled"), method) {
        (true, "Certificate") => Login::Eap(Eap { method: Some(13), ..Eap::default() }),
        (true, _) => Login::Eap(Eap { method: Some(26), ..Eap::default() }),
        (false, "Certificate") => Login::Certificate,
        (false, other) => Login::Other(other.to_owned()),
    };
    if method == "Certificate" && text(settings, "PayloadCertificateUUID").is_empty() {
        let remedy = "let PayloadCertificateUUID name a payload with the client's certificate";
        wrong.push(Wrong::new("it logs in with a certificate and names none", remedy));
    }
    let offer = Offer {
        ike: apple_half(settings, "IKESecurityAssociationParameters", true, &mut wrong).map(|one| ike_offer(vec![one])),
        esp: apple_half(settings, "ChildSecurityAssociationParameters", false, &mut wrong).map(|one| esp_offer(vec![one])),
    };
    let names = apple_names(vpn, &mut wrong);
    Said {
        format: "configuration profile",
        client: Kind::Apple,
        servers: vec![server.to_owned()],
        port: None,
        protocol,
        identity: match text(settings, "RemoteIdentifier") {
            "" => Identity::Dialled,
            name => Identity::Name(name.to_owned()),
        },
        login,
        device: false,
        offer,
        roots: roots.to_vec(),
        routes: Routes::Unsaid,
        names,
        has_ppk: settings.contains_key("PPK"),
        has_secret: !text(settings, "AuthPassword").is_empty(),
        wrong,
    }
}

/// The one combination of the IKE SA or of the Child SA. What is left out is AES-256 with SHA2-256 and group 14.
fn apple_half(settings: &Dictionary, key: &str, of_ike: bool, wrong: &mut Vec<Wrong>) -> Option<Vec<Transform>> {
    let nothing = Dictionary::new();
    let half = settings.get(key).and_then(Value::as_dictionary).unwrap_or(&nothing);
    let or = |key: &str, default: &'static str| Some(text(half, key)).filter(|text| !text.is_empty()).unwrap_or(default).to_owned();
    let (cipher, hash) = (or("EncryptionAlgorithm", "AES-256"), or("IntegrityAlgorithm", "SHA2-256"));
    let found = apple_cipher(&cipher).and_then(|cipher| Some([vec![cipher], apple_hash(&hash, &cipher, of_ike)?].concat()));
    let Some(mut transforms) = found else {
        let remedy = "take the parameters as `evergate profile apple` writes them";
        wrong.push(Wrong::new(format!("{key}: {cipher} with {hash} is nothing that Apple's clients know"), remedy));
        return None;
    };
    let group =
        half.get("DiffieHellmanGroup").map_or(Some(14), |group| group.as_unsigned_integer().and_then(|group| u16::try_from(group).ok()));
    if of_ike || is_on(settings, "EnablePFS") {
        transforms.extend(group.map(|group| Transform::new(transform::DH, group)));
    }
    Some(transforms)
}

/// Without `DNS` it takes what the gateway gives. Without SupplementalMatchDomains its servers are asked for everything; so they are for an empty one.
fn apple_names(vpn: &Dictionary, wrong: &mut Vec<Wrong>) -> Names {
    let Some(dns) = vpn.get("DNS").and_then(Value::as_dictionary) else { return Names::default() };
    let list = |key: &str| dns.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_string);
    let servers = name_servers(list("ServerAddresses"), "ServerAddresses", wrong);
    let own = Some(text(dns, "DomainName")).filter(|domain| !domain.is_empty());
    let matched: Vec<_> = list("SupplementalMatchDomains").map(|domain| if domain.is_empty() { "." } else { domain }).collect();
    Names { suffixes: own.into_iter().chain(list("SearchDomains")).map(str::to_owned).collect(), rules: rules(&matched, &servers) }
}

/// The same servers for each of the domains, or for every one where none is named.
fn rules(domains: &[&str], servers: &[IpAddr]) -> Vec<(String, Vec<IpAddr>)> {
    let domains = if domains.is_empty() && !servers.is_empty() { &["."] } else { domains };
    domains.iter().map(|domain| ((*domain).to_owned(), servers.to_vec())).collect()
}

pub(super) fn android(bytes: &[u8]) -> Result<Vec<Said>, String> {
    let profile: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
    let (remote, local) = (&profile["remote"], &profile["local"]);
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut wrong = Vec::new();
    let server = word(&remote["addr"]);
    if server.is_empty() {
        return Err("is no profile of the strongSwan app: it has no remote.addr".into());
    }
    for key in ["uuid", "name", "type"] {
        if word(&profile[key]).is_empty() {
            wrong.push(Wrong::new(format!("{key} is missing"), "take it as `evergate profile android` writes it"));
        }
    }
    let login = match word(&profile["type"]).as_str() {
        "ikev2-eap" => Login::Eap(Eap::default()),
        "ikev2-eap-tls" => Login::Eap(Eap { method: Some(13), ..Eap::default() }),
        "ikev2-cert" => Login::Certificate,
        other => Login::Other(other.to_owned()),
    };
    let proposals = |key: &str| profile[key].as_str().into_iter().collect::<Vec<_>>();
    let offer = offers(&proposals("ike-proposal"), &proposals("esp-proposal"), &mut wrong);
    let subnets = match &profile["split-tunneling"]["subnets"] {
        serde_json::Value::Array(list) => list.iter().filter_map(serde_json::Value::as_str).collect(),
        serde_json::Value::String(list) => list.split_whitespace().collect(),
        _ => Vec::new(),
    };
    let routes = if subnets.is_empty() { Routes::Everything } else { selectors(subnets, &mut wrong) };
    let authority = remote["cert"].as_str().map(|text| text.split_whitespace().collect::<String>());
    let roots = authority.and_then(|text| certificate(&STANDARD.decode(text).ok()?)).into_iter().collect();
    Ok(vec![Said {
        format: "profile of the strongSwan app",
        client: Kind::Android,
        servers: vec![server],
        port: remote["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        protocol: Protocol::Ikev2,
        identity: identity(&word(&remote["id"])),
        login,
        device: false,
        offer,
        roots,
        routes,
        names: Names::default(),
        has_ppk: false,
        has_secret: !word(&local["shared_secret"]).is_empty(),
        wrong,
    }])
}

pub(super) fn networkmanager(text: &str) -> Result<Vec<Said>, String> {
    let sections = key_file(text);
    let nothing = BTreeMap::new();
    let vpn = sections.get("vpn").unwrap_or(&nothing);
    let get = |key: &str| vpn.get(key).copied().unwrap_or_default();
    let is_sstp = match get("service-type") {
        STRONGSWAN => false,
        SSTP => true,
        other => return Err(format!("is a connection for the plugin {other:?}; expected {STRONGSWAN} or {SSTP}")),
    };
    let mut wrong = Vec::new();
    let (server, port) = if is_sstp { host_and_port(get("gateway")) } else { (get("address").to_owned(), get("server-port").parse().ok()) };
    if server.is_empty() {
        let key = if is_sstp { "gateway" } else { "address" };
        wrong.push(Wrong::new(format!("{key} is missing"), format!("write the gateway's name into {key}")));
    }
    if get("ignore-cert-warn") == "yes" {
        wrong.push(Wrong::new("ignore-cert-warn = yes lets anybody pose as the gateway", "take it out, and name the authority in ca-cert"));
    }
    let list = |key: &str| get(key).split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect::<Vec<_>>();
    let own = get("proposal") == "yes" && !is_sstp;
    let offer = if own { offers(&list("ike"), &list("esp"), &mut wrong) } else { Offer::default() };
    let routes = match list("remote-ts") {
        list if list.is_empty() => Routes::Unsaid,
        list => selectors(list, &mut wrong),
    };
    let login = match (is_sstp, get("method")) {
        (true, _) if get("refuse-mschapv2") == "yes" => Login::Other("whatever is not refused".into()),
        (true, _) => Login::MsChapV2,
        (false, "eap") => Login::Eap(Eap::default()),
        (false, "eap-tls") => Login::Eap(Eap { method: Some(13), ..Eap::default() }),
        (false, "cert" | "key" | "agent" | "smartcard") => Login::Certificate,
        (false, other) => Login::Other(other.to_owned()),
    };
    let names = connection_names(&sections, &mut wrong);
    let secrets = sections.get("vpn-secrets").is_some_and(|secrets| secrets.contains_key("password"));
    Ok(vec![Said {
        format: "NetworkManager connection",
        client: Kind::NetworkManager,
        servers: vec![server],
        port,
        protocol: if is_sstp { Protocol::Sstp } else { Protocol::Ikev2 },
        identity: identity(get("remote-identity")),
        login,
        device: false,
        offer,
        roots: Vec::new(),
        routes,
        names,
        has_ppk: false,
        has_secret: secrets,
        wrong,
    }])
}

/// What both families say together. Servers are asked for everything where the tunnel is the default route, and for the domains of `dns-search`, a tilde before
/// them or not, where it is not.
fn connection_names(sections: &BTreeMap<&str, BTreeMap<&str, &str>>, wrong: &mut Vec<Wrong>) -> Names {
    let families = || ["ipv4", "ipv6"].into_iter().filter_map(|family| sections.get(family));
    let list = |key: &'static str| {
        let entries = families().filter_map(move |family| family.get(key)).flat_map(|entry| entry.split(';'));
        entries.map(str::trim).filter(|entry| !entry.is_empty())
    };
    // Behind # stands the name that a server has in TLS.
    let servers = name_servers(list("dns").map(|server| server.split('#').next().unwrap_or_default()), "dns", wrong);
    let mut search: Vec<_> = Vec::new();
    for domain in list("dns-search") {
        // Each family has its own, and mostly the same.
        if !search.contains(&domain) {
            search.push(domain);
        }
    }
    let domains: Vec<_> = search.iter().map(|domain| domain.trim_start_matches('~')).collect();
    let suffixes = search.iter().filter(|domain| !domain.starts_with('~')).map(|domain| (*domain).to_owned()).collect();
    let splits = families().any(|family| matches!(family.get("never-default").copied(), Some("true" | "yes" | "1")));
    let rules = rules(if splits { &domains } else { &[] }, &servers);
    Names { suffixes, rules }
}

/// Sections of lines `key=value`.
fn key_file(text: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name = title;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            sections.entry(name).or_default().insert(key.trim_end(), value.trim_start());
        }
    }
    sections
}
