//! Connection files of NetworkManager, for its plugins of strongSwan and of SSTP.
use super::connection::{Connection, EapMethod, Login};
use super::strongswan::{esp_proposals, ike_proposals};
use super::{File, Wishes, authority_file, uuid};
use crypto::Zeroizing;
use policy::network::Tunnel;
use std::fmt::Write as _;

/// What the plugin of strongSwan does of EAP.
pub(super) const METHODS: [EapMethod; 2] = [EapMethod::MsChapV2, EapMethod::Tls];
pub(super) const STRONGSWAN: &str = "org.freedesktop.NetworkManager.strongswan";
pub(super) const SSTP: &str = "org.freedesktop.NetworkManager.sstp";
/// Where the files that the connection names are to be.
const FOLDER: &str = "/etc/evergate-client";

pub(super) fn files(connection: &Connection<'_>, wishes: &Wishes, notes: &mut Vec<String>) -> Result<Vec<File>, String> {
    notes.push(
        "put evergate.nmconnection into /etc/NetworkManager/system-connections, owned by root, mode 0600; then nmcli connection reload"
            .into(),
    );
    if !connection.roots.is_empty() {
        notes.push(format!("put ca.pem into {FOLDER}"));
    }
    if connection.login.has_certificate() {
        notes.push(format!("put the client's certificate into {FOLDER}/client.pem and its key into {FOLDER}/client.key"));
    }
    if let Login::Eap(eap) = &connection.login
        && eap.roots.iter().any(|root| connection.roots.iter().all(|known| known.der != root.der))
    {
        notes.push(
            "NetworkManager's plugin of strongSwan believes one authority, and the certificate that is shown in EAP comes from another than the \
             gateway's: take both from one, or a profile for strongSwan"
                .into(),
        );
    }
    super::note_of_identity(connection, notes);
    // Large enough not to move: it may come to hold a password.
    let mut text = Zeroizing::new(String::with_capacity(1 << 14));
    let line = |text: &mut String, key: &str, value: &str| {
        // A String takes everything.
        let _ = writeln!(text, "{key}={}", *escaped(value));
    };
    text.push_str("[connection]\n");
    line(&mut text, "id", &connection.title);
    line(&mut text, "uuid", &uuid(&format!("networkmanager {}", connection.title)));
    text.push_str("type=vpn\nautoconnect=false\n\n[vpn]\n");
    let data = if connection.tunnel == Tunnel::Sstp { sstp(connection) } else { ikev2(connection) };
    data.iter().for_each(|(key, value)| line(&mut text, key, value));
    if !connection.login.has_certificate() {
        line(&mut text, "user", connection.user.unwrap_or_default());
        line(&mut text, "password-flags", if wishes.password.is_some() { "0" } else { "1" });
    }
    if let Some(password) = &wishes.password {
        text.push_str("\n[vpn-secrets]\n");
        line(&mut text, "password", password);
    }
    for (family, is_v4) in [("ipv4", true), ("ipv6", false)] {
        let _ = writeln!(text, "\n[{family}]\nmethod=auto");
        network(&mut text, connection, is_v4);
    }
    let file = File { name: "evergate.nmconnection", text };
    Ok([Some(file), authority_file(connection)].into_iter().flatten().collect())
}

fn ikev2(connection: &Connection<'_>) -> Vec<(&'static str, String)> {
    let method = match &connection.login {
        Login::Eap(eap) if eap.method == EapMethod::Tls => "eap-tls",
        Login::Eap(_) => "eap",
        Login::Certificate(_) | Login::MsChapV2 => "cert",
    };
    let mut data = vec![("service-type", STRONGSWAN.to_owned()), ("address", connection.server.clone())];
    data.extend(connection.port.map(|port| ("server-port", port.to_string())));
    data.extend((!connection.roots.is_empty()).then(|| ("certificate", format!("{FOLDER}/ca.pem"))));
    data.push(("method", method.into()));
    if connection.login.has_certificate() {
        data.push(("cert-source", "file".into()));
        data.push(("usercert", format!("{FOLDER}/client.pem")));
        data.push(("userkey", format!("{FOLDER}/client.key")));
        data.extend(connection.user.map(|user| ("local-identity", user.to_owned())));
    }
    data.push(("virtual", "yes".into()));
    data.push(("encap", "no".into()));
    data.push(("ipcomp", "no".into()));
    data.push(("proposal", "yes".into()));
    data.push(("ike", ike_proposals(connection).join(";")));
    data.push(("esp", esp_proposals(connection).join(";")));
    if connection.network.routes.is_some() {
        let selectors: Vec<_> = connection.network.prefixes().iter().map(|(address, length)| format!("{address}/{length}")).collect();
        data.push(("remote-ts", selectors.join(";")));
    }
    data
}

fn sstp(connection: &Connection<'_>) -> Vec<(&'static str, String)> {
    let mut data = vec![("service-type", SSTP.to_owned()), ("gateway", connection.address())];
    data.extend((!connection.roots.is_empty()).then(|| ("ca-cert", format!("{FOLDER}/ca.pem"))));
    data.push(("connection-type", "password".into()));
    data.push(("tls-ext", "yes".into()));
    data.extend(["refuse-eap", "refuse-pap", "refuse-chap", "refuse-mschap"].map(|key| (key, "yes".to_owned())));
    data
}

/// Routes, name servers and suffix of one family.
fn network(text: &mut String, connection: &Connection<'_>, is_v4: bool) {
    let network = &connection.network;
    let servers: Vec<_> = network.dns.iter().filter(|server| server.is_ipv4() == is_v4).map(|server| format!("{server};")).collect();
    if !servers.is_empty() {
        let _ = writeln!(text, "dns={}", servers.concat());
    }
    // A domain with a tilde is looked up here and not appended to names.
    let domains = network.domains.iter().filter(|domain| Some(*domain) != network.suffix.as_ref()).map(|domain| format!("~{domain};"));
    let search: String = network.suffix.iter().map(|suffix| format!("{suffix};")).chain(domains).collect();
    if !search.is_empty() {
        let _ = writeln!(text, "dns-search={search}");
    }
    if network.routes.is_none() {
        return;
    }
    text.push_str("never-default=true\n");
    let routes = network.prefixes().into_iter().filter(|(address, _)| address.is_ipv4() == is_v4);
    for (number, (address, length)) in (1..).zip(routes) {
        let _ = writeln!(text, "route{number}={address}/{length}");
    }
}

/// As key files write text: backslash escaped, blanks in front too.
fn escaped(text: &str) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(2 * text.len()));
    for (at, c) in text.chars().enumerate() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            ' ' if at == 0 => escaped.push_str("\\s"),
            c => escaped.push(c),
        }
    }
    escaped
}
