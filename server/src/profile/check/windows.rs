//! ProfileXML.
use super::rules::{self, Read};
use super::said::{Eap, Filter, Identity, Login, Names, Protocol, Routes, Said, Wrong, host_and_port, name_servers};
use crate::profile::Kind;
use crate::profile::proposals::{
    Offer, esp_offer, ike_offer, windows_authentication, windows_cipher, windows_default, windows_group, windows_hash,
};
use crate::profile::windows::CLIENT_AUTH;
use ike::proposal::Transform;
use roxmltree::{Document, Node};

pub(super) fn read(text: &str) -> Result<Vec<Said>, String> {
    let document = Document::parse(text).map_err(|error| format!("is no XML: {error}"))?;
    let profile = document.root_element();
    if profile.tag_name().name() != "VPNProfile" {
        return Err(format!("is XML, but no profile of Windows: it begins with <{}>, not <VPNProfile>", profile.tag_name().name()));
    }
    let native =
        child(profile, "NativeProfile").ok_or("has no NativeProfile: it is for a VPN app, not for the client that Windows brings")?;
    let mut wrong = Vec::new();
    let device = is_true(profile, "DeviceTunnel");
    let named: Vec<_> = said(native, "Servers").split(';').map(host_and_port).collect();
    let port = named.iter().find_map(|(_, port)| *port);
    let mut servers: Vec<_> = named.into_iter().map(|(host, _)| host).filter(|one| !one.is_empty()).collect();
    servers.dedup();
    if servers.is_empty() {
        wrong.push(Wrong::new("it names no server", "write the gateway's name into Servers"));
    }
    let protocol = match protocol(said(native, "NativeProtocolType")) {
        // Another one is a mistake of its own.
        Protocol::Either if device => Protocol::Ikev2,
        protocol => protocol,
    };
    if port.is_some() && protocol == Protocol::Ikev2 {
        wrong.push(Wrong::new(
            "it names a port, and Windows takes none for IKEv2",
            "take the port out of Servers: Windows dials UDP 500 and 4500",
        ));
    }
    let authentication = child(native, "Authentication");
    let offer = child(native, "CryptographySuite").map_or_else(windows_default, |suite| suite_of(suite, &mut wrong));
    let routes = routes(profile, native, &mut wrong);
    let names = names(profile, &mut wrong);
    rules::apply(Read { profile, native, device, routes: &routes, names: &names }, &mut wrong);
    Ok(vec![Said {
        format: "ProfileXML",
        client: Kind::Windows,
        servers,
        port,
        protocol,
        identity: Identity::Dialled,
        login: login(authentication, device, &mut wrong),
        device,
        offer,
        roots: Vec::new(),
        routes,
        names,
        has_ppk: false,
        has_secret: false,
        wrong,
    }])
}

pub(super) fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.tag_name().name() == name)
}

pub(super) fn said<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    child(node, name).and_then(|child| child.text()).unwrap_or_default().trim()
}

pub(super) fn is_true(node: Node<'_, '_>, name: &str) -> bool {
    said(node, name).eq_ignore_ascii_case("true")
}

fn protocol(word: &str) -> Protocol {
    match word.to_ascii_lowercase().as_str() {
        "ikev2" => Protocol::Ikev2,
        "sstp" => Protocol::Sstp,
        "" | "automatic" | "protocollist" => Protocol::Either,
        _ => Protocol::Other(word.to_owned()),
    }
}

fn login(authentication: Option<Node<'_, '_>>, device: bool, wrong: &mut Vec<Wrong>) -> Login {
    let Some(authentication) = authentication else {
        wrong.push(Wrong::new(
            "it does not say how to authenticate",
            "add Authentication with UserMethod Eap, or MachineMethod Certificate",
        ));
        return Login::Other("nothing".into());
    };
    let (user, machine) = (said(authentication, "UserMethod"), said(authentication, "MachineMethod"));
    if device && !machine.eq_ignore_ascii_case("certificate") {
        let remedy = "write MachineMethod Certificate, and no UserMethod";
        wrong.push(Wrong::new(format!("Windows makes no device tunnel with the method {machine:?}"), remedy));
    }
    match (user.to_ascii_lowercase().as_str(), machine.to_ascii_lowercase().as_str()) {
        ("eap", _) => Login::Eap(eap(authentication, wrong)),
        ("mschapv2", _) => Login::MsChapV2,
        ("", "certificate") => Login::Certificate,
        ("", "eap") => Login::Eap(eap(authentication, wrong)),
        (word, _) => Login::Other(word.to_owned()),
    }
}

/// What EapHostConfig says of its outermost method, and of what is inside of PEAP.
fn eap(authentication: Node<'_, '_>, wrong: &mut Vec<Wrong>) -> Eap {
    let Some(config) = authentication.descendants().find(|node| node.has_tag_name_like("Config")) else {
        wrong.push(Wrong::new("it asks for EAP and has no EapHostConfig", "put the EAP configuration into Eap/Configuration"));
        return Eap::default();
    };
    let methods: Vec<_> = config.descendants().filter(|node| node.tag_name().name() == "Eap").collect();
    let number = |node: &Node<'_, '_>| said(*node, "Type").parse().ok();
    let validation = methods.first().and_then(|outer| outer.descendants().find(|node| node.has_tag_name_like("ServerValidation")));
    let filter = config.descendants().find(|node| node.has_tag_name_like("FilteringInfo")).map(filter);
    let (method, inner) = (methods.first().and_then(number), methods.get(1).and_then(number));
    let declared = authentication.descendants().find(|node| node.has_tag_name_like("EapMethod")).and_then(|node| number(&node));
    if declared.is_some() && method.is_some() && declared != method {
        wrong.push(Wrong::new("EapMethod and Config name two EAP methods", "let both have the same Type"));
    }
    let mut roots = Vec::new();
    let mut servers = Vec::new();
    if let Some(validation) = validation {
        servers.extend(said(validation, "ServerNames").split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        let thumbprints = validation.children().filter(|node| node.has_tag_name_like("TrustedRootCA"));
        roots.extend(thumbprints.filter_map(|node| node.text()).map(thumbprint).filter(|root| !root.is_empty()));
    }
    Eap { method, inner, servers, roots, filter }
}

pub(super) trait Named {
    /// Whatever its namespace.
    fn has_tag_name_like(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    fn has_tag_name_like(&self, name: &str) -> bool {
        self.tag_name().name() == name
    }
}

fn thumbprint(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase()
}

fn filter(info: Node<'_, '_>) -> Filter {
    let enabled = |name: &str| child(info, name).filter(|node| node.attribute("Enabled").is_some_and(|on| on.eq_ignore_ascii_case("true")));
    let hashes = enabled("CAHashList").into_iter().flat_map(|list| list.children().collect::<Vec<_>>());
    let issuers = hashes.filter(|node| node.has_tag_name_like("IssuerHash")).filter_map(|node| node.text()).map(thumbprint).collect();
    let maps: Vec<_> = info.descendants().filter(|node| node.has_tag_name_like("EKUMap")).collect();
    let oid = |name: &str| maps.iter().find(|map| said(**map, "EKUName") == name).map(|map| said(*map, "EKUOID").to_owned());
    let purposes = enabled("ClientAuthEKUList").map(|list| {
        let names: Vec<_> = list.descendants().filter(|node| node.has_tag_name_like("EKUName")).filter_map(|node| node.text()).collect();
        // An empty list is clientAuth and nothing else.
        if names.is_empty() { vec![CLIENT_AUTH.to_owned()] } else { names.into_iter().filter_map(|name| oid(name.trim())).collect() }
    });
    Filter { issuers, purposes: purposes.unwrap_or_default() }
}

fn suite_of(suite: Node<'_, '_>, wrong: &mut Vec<Wrong>) -> Offer {
    let unknown = |element: &str, wrong: &mut Vec<Wrong>| {
        let value = said(suite, element);
        let problem =
            if value.is_empty() { format!("CryptographySuite lacks {element}") } else { format!("{element} cannot be {value:?}") };
        wrong.push(Wrong::new(problem, "take CryptographySuite as `evergate profile windows` writes it"));
    };
    let mut cipher = |element: &str| {
        let found = windows_cipher(said(suite, element));
        if found.is_none() {
            unknown(element, wrong);
        }
        found
    };
    let (encryption, transformed) = (cipher("EncryptionMethod"), cipher("CipherTransformConstants"));
    let group = windows_group(said(suite, "DHGroup"));
    if group.is_none() {
        unknown("DHGroup", wrong);
    }
    let hash = encryption.and_then(|cipher| windows_hash(said(suite, "IntegrityCheckMethod"), &cipher));
    if encryption.is_some() && hash.is_none() {
        unknown("IntegrityCheckMethod", wrong);
    }
    let authentication = transformed.and_then(|cipher| windows_authentication(said(suite, "AuthenticationTransformConstants"), &cipher));
    if transformed.is_some() && authentication.is_none() {
        unknown("AuthenticationTransformConstants", wrong);
    }
    let pfs = match said(suite, "PfsGroup") {
        "" | "None" => None,
        "PFSMM" => group,
        other => {
            let found = windows_group(other);
            if found.is_none() {
                unknown("PfsGroup", wrong);
            }
            found
        }
    };
    let whole = |cipher: Option<Transform>, with: Option<Vec<Transform>>| Some([vec![cipher?], with?].concat());
    let ike = whole(encryption, hash).and_then(|mut one| {
        group.map(|group| {
            ike_offer(vec![{
                one.push(group);
                one
            }])
        })
    });
    let esp = whole(transformed, authentication).map(|mut one| {
        one.extend(pfs);
        esp_offer(vec![one])
    });
    Offer { ike, esp }
}

fn routes(profile: Node<'_, '_>, native: Node<'_, '_>, wrong: &mut Vec<Wrong>) -> Routes {
    if !said(native, "RoutingPolicyType").eq_ignore_ascii_case("splittunnel") {
        return Routes::Everything;
    }
    let mut ranges = Vec::new();
    let included = profile.children().filter(|node| node.has_tag_name_like("Route") && !is_true(*node, "ExclusionRoute"));
    for route in included {
        let prefix = format!("{}/{}", said(route, "Address"), said(route, "PrefixSize"));
        match crate::config::address_range(&prefix) {
            Ok(range) => ranges.push(range),
            Err(_) => {
                wrong.push(Wrong::new(format!("a Route goes to {prefix:?}, which is no prefix"), "give it an Address and its PrefixSize"));
            }
        }
    }
    Routes::These(ranges)
}

fn names(profile: Node<'_, '_>, wrong: &mut Vec<Wrong>) -> Names {
    fn list(text: &str) -> impl Iterator<Item = &str> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty())
    }
    let mut rules = Vec::new();
    for rule in profile.children().filter(|node| node.has_tag_name_like("DomainNameInformation")) {
        let servers = name_servers(list(said(rule, "DnsServers")), "DnsServers", wrong);
        rules.push((said(rule, "DomainName").to_owned(), servers));
    }
    Names { suffixes: list(said(profile, "DnsSuffix")).map(str::to_owned).collect(), rules }
}
