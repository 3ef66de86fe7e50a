//! `swanctl.conf` for strongSwan on Linux.
use super::connection::{Connection, EapMethod, Login};
use super::proposals::strongswan;
use super::{File, Wishes};
use crypto::Zeroizing;
use ike::proposal::{offer_esp, offer_ike};
use pki::Certificate;
use policy::network::AddressRange;
use std::fmt::Write as _;

/// Stands where the user's name belongs, if nobody said it.
const USER: &str = "USER";

pub(super) fn ike_proposals(connection: &Connection<'_>) -> Vec<String> {
    strongswan(&offer_ike(connection.ciphers, None))
}

pub(super) fn esp_proposals(connection: &Connection<'_>) -> Vec<String> {
    strongswan(&offer_esp(connection.ciphers, 0, &connection.ciphers.pfs_groups))
}

pub(super) fn files(connection: &Connection<'_>, wishes: &Wishes, notes: &mut Vec<String>) -> Result<Vec<File>, String> {
    let settings = File { name: "swanctl.conf", text: configuration(connection, wishes) };
    notes.push("put swanctl.conf into /etc/swanctl/conf.d, and ca.pem, if there is one, into /etc/swanctl/x509ca".into());
    if connection.login.has_certificate() {
        notes
            .push("put the client's certificate into /etc/swanctl/x509/client.pem and its key into /etc/swanctl/private/client.key".into());
    }
    let eap_roots = eap_roots(connection);
    if !eap_roots.is_empty() {
        notes.push("put eap-ca.pem into /etc/swanctl/x509ca too: it is above the certificate that is shown in EAP".into());
    }
    if let Login::Eap(eap) = &connection.login
        && eap.method != EapMethod::MsChapV2
        && eap.servers.is_empty()
    {
        notes.push(format!("without --eap-server, strongSwan expects {} in the certificate that is shown in EAP", connection.server));
    }
    super::note_of_identity(connection, notes);
    if !connection.login.has_certificate() && connection.user.is_none() {
        notes.push(format!("put the user's name where the file says {USER}, or name it with --user"));
    }
    if !connection.login.has_certificate() && wishes.password.is_none() {
        notes.push(
            "the password is not in it: add it as secrets { eap { id = .. secret = .. } }, or have it written with --with-password".into(),
        );
    }
    if let Some(id) = &connection.ppk {
        notes.push(format!("the gateway wants a postquantum preshared key: add secrets {{ ppk {{ id = {id:?} secret = .. }} }}"));
    }
    notes.push("swanctl --load-all && swanctl --initiate --child evergate".into());
    let eap_authorities = (!eap_roots.is_empty()).then(|| super::certificates_file("eap-ca.pem", eap_roots));
    Ok([Some(settings), super::authority_file(connection), eap_authorities].into_iter().flatten().collect())
}

/// Authorities that count in EAP alone. Those in ca.pem are believed there too.
fn eap_roots<'a>(connection: &'a Connection<'_>) -> Vec<&'a Certificate> {
    let Login::Eap(eap) = &connection.login else { return Vec::new() };
    eap.roots.iter().filter(|root| connection.roots.iter().all(|known| known.der != root.der)).collect()
}

fn configuration(connection: &Connection<'_>, wishes: &Wishes) -> Zeroizing<String> {
    // Large enough not to move: it may come to hold a password.
    let mut text = Lines { text: Zeroizing::new(String::with_capacity(1 << 14)), depth: 0 };
    text.open("connections");
    text.open("evergate");
    text.set("version", "2");
    text.set("remote_addrs", &connection.server);
    if let Some(port) = connection.port {
        // From port 500 it would begin without the non-ESP marker, and go on with it.
        text.set("local_port", "4500");
        text.set("remote_port", &port.to_string());
    }
    text.set("vips", "0.0.0.0, ::");
    text.set("proposals", &ike_proposals(connection).join(", "));
    text.set("send_certreq", "yes");
    if let Some(id) = &connection.ppk {
        text.set("ppk_id", &quoted(id));
        text.set("ppk_required", "yes");
    }
    text.open("local");
    local(&mut text, connection);
    text.close();
    text.open("remote");
    text.set("auth", "pubkey");
    text.set("id", &connection.server);
    if !connection.roots.is_empty() {
        text.set("cacerts", "ca.pem");
    }
    text.close();
    text.open("children");
    text.open("evergate");
    text.set("remote_ts", &selectors(connection));
    text.set("esp_proposals", &esp_proposals(connection).join(", "));
    (0..4).for_each(|_| text.close());
    if let (Some(password), Some(user)) = (&wishes.password, connection.user) {
        text.open("secrets");
        text.open("eap-evergate");
        text.set("id", &quoted(user));
        text.set("secret", &quoted(password));
        text.close();
        text.close();
    }
    text.text
}

fn local(text: &mut Lines, connection: &Connection<'_>) {
    let user = quoted(connection.user.unwrap_or(USER));
    match &connection.login {
        Login::Eap(eap) => {
            let auth = match eap.method {
                EapMethod::MsChapV2 => "eap-mschapv2",
                EapMethod::Tls => "eap-tls",
                EapMethod::Peap | EapMethod::PeapTls => "eap-peap",
            };
            text.set("auth", auth);
            if eap.method.has_user_certificate() {
                text.set("certs", "client.pem");
            }
            if !eap.method.has_user_certificate() || connection.user.is_some() {
                text.set("eap_id", &user);
            }
            if let Some(server) = eap.servers.first() {
                text.set("aaa_id", &quoted(server));
            }
        }
        Login::Certificate(_) | Login::MsChapV2 => {
            text.set("auth", "pubkey");
            text.set("certs", "client.pem");
        }
    }
}

fn selectors(connection: &Connection<'_>) -> String {
    match &connection.network.routes {
        None => "0.0.0.0/0, ::/0".into(),
        Some(routes) => routes.iter().map(AddressRange::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// In double quotes, with what is special there escaped.
fn quoted(text: &str) -> Zeroizing<String> {
    let mut quoted = Zeroizing::new(String::with_capacity(2 * text.len() + 2));
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Sections in sections.
struct Lines {
    text: Zeroizing<String>,
    depth: usize,
}

impl Lines {
    fn open(&mut self, name: &str) {
        let indent = 4 * self.depth;
        // A String takes everything.
        let _ = writeln!(self.text, "{:indent$}{name} {{", "");
        self.depth += 1;
    }

    fn set(&mut self, key: &str, value: &str) {
        let indent = 4 * self.depth;
        let _ = writeln!(self.text, "{:indent$}{key} = {value}", "");
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        let indent = 4 * self.depth;
        let _ = writeln!(self.text, "{:indent$}}}", "");
    }
}
