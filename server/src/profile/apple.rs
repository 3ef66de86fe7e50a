//! Configuration profiles (`.mobileconfig`) for iOS, iPadOS and macOS.
use super::connection::{Connection, EapMethod, Login};
use super::proposals::AppleSuite;
use super::{File, Wishes, uuid};
use crypto::Zeroizing;
use pki::Certificate;
use plist::{Dictionary, Value};

pub(super) fn files(connection: &Connection<'_>, wishes: &Wishes, notes: &mut Vec<String>) -> Result<Vec<File>, String> {
    let (ike, child) = AppleSuite::of(connection.ciphers).ok_or(
        "[ciphers] holds nothing that Apple's clients can do: name aes256-gcm in ike and in esp, sha256 in prfs, ecp256 in groups",
    )?;
    if connection.network.routes.is_some() {
        notes.push("an Apple profile holds no routes: the client takes those that the gateway's selectors leave".into());
    }
    let identity = identity(connection, wishes)?;
    let mut payloads: Vec<_> = connection.roots.iter().map(|root| authority(connection, root)).collect();
    payloads.extend(identity.as_ref().map(|(payload, _)| payload.clone()));
    payloads.push(vpn(connection, wishes, ike, child, identity.map(|(_, uuid)| uuid)));
    let mut profile = payload("Configuration", &connection.title, &connection.title);
    profile.insert("PayloadContent".into(), Value::Array(payloads));
    // Large enough not to move: it may come to hold a password or a key.
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 << 16));
    Value::Dictionary(profile).to_writer_xml(&mut *bytes).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string())?;
    Ok(vec![File { name: "apple.mobileconfig", text: Zeroizing::new(text.to_owned()) }])
}

/// What every payload begins with. `what` with the connection's name makes its identifiers, which stay the same: a later profile replaces this one.
fn payload(kind: &str, title: &str, what: &str) -> Dictionary {
    let id = uuid(&format!("apple {title} {kind} {what}"));
    let mut payload = Dictionary::new();
    payload.insert("PayloadType".into(), kind.into());
    payload.insert("PayloadVersion".into(), 1.into());
    payload.insert("PayloadIdentifier".into(), id.clone().into());
    payload.insert("PayloadUUID".into(), id.into());
    payload.insert("PayloadDisplayName".into(), what.into());
    payload
}

fn authority(connection: &Connection<'_>, root: &Certificate) -> Value {
    let mut authority = payload("com.apple.security.root", &connection.title, &root.subject);
    authority.insert("PayloadContent".into(), Value::Data(root.der.clone()));
    Value::Dictionary(authority)
}

/// The client's certificate with its key, and its identifier.
fn identity(connection: &Connection<'_>, wishes: &Wishes) -> Result<Option<(Value, String)>, String> {
    if !connection.login.has_certificate() {
        return Ok(None);
    }
    let p12 =
        wishes.p12.as_ref().ok_or("an Apple profile names the client's certificate by bringing it: give it with --p12 FILE (PKCS#12)")?;
    let mut identity = payload("com.apple.security.pkcs12", &connection.title, "Client certificate");
    identity.insert("PayloadContent".into(), Value::Data(p12.to_vec()));
    let id = uuid(&format!("apple {} com.apple.security.pkcs12 Client certificate", connection.title));
    Ok(Some((Value::Dictionary(identity), id)))
}

fn vpn(connection: &Connection<'_>, wishes: &Wishes, ike: AppleSuite, child: AppleSuite, identity: Option<String>) -> Value {
    let mut vpn = payload("com.apple.vpn.managed", &connection.title, &connection.title);
    vpn.insert("UserDefinedName".into(), connection.title.as_str().into());
    vpn.insert("VPNType".into(), "IKEv2".into());
    let mut settings = Dictionary::new();
    let mut set = |key: &str, value: Value| settings.insert(key.into(), value);
    set("RemoteAddress", connection.server.as_str().into());
    set("RemoteIdentifier", connection.server.as_str().into());
    set("LocalIdentifier", connection.user.unwrap_or_default().into());
    set("AuthenticationMethod", if identity.is_some() { "Certificate".into() } else { "None".into() });
    set("ExtendedAuthEnabled", u8::from(matches!(connection.login, Login::Eap(_))).into());
    // Nobody has to type anything.
    let unattended = identity.is_some() || wishes.password.is_some();
    let texts = [
        ("PayloadCertificateUUID", identity.as_deref()),
        ("AuthName", connection.user),
        ("AuthPassword", wishes.password.as_ref().map(|password| password.as_str())),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            set(key, text.into());
        }
    }
    set("EnablePFS", u8::from(child.group.is_some()).into());
    set("DeadPeerDetectionRate", "Medium".into());
    set("IKESecurityAssociationParameters", parameters(ike));
    set("ChildSecurityAssociationParameters", parameters(child));
    set("OnDemandEnabled", u8::from(unattended).into());
    let always = Dictionary::from_iter([("Action", Value::from("Connect"))]);
    set("OnDemandRules", Value::Array(vec![Value::Dictionary(always)]));
    vpn.insert("IKEv2".into(), Value::Dictionary(settings));
    if let Some(names) = names(connection) {
        vpn.insert("DNS".into(), names);
    }
    Value::Dictionary(vpn)
}

fn parameters(suite: AppleSuite) -> Value {
    let mut parameters = Dictionary::new();
    parameters.insert("EncryptionAlgorithm".into(), suite.encryption.into());
    parameters.insert("IntegrityAlgorithm".into(), suite.integrity.into());
    if let Some(group) = suite.group {
        parameters.insert("DiffieHellmanGroup".into(), group.into());
    }
    Value::Dictionary(parameters)
}

/// Where not everything goes into the tunnel, Apple asks the tunnel's name servers only for the names that it is told.
fn names(connection: &Connection<'_>) -> Option<Value> {
    let network = &connection.network;
    let domains: Vec<_> = network.domains.iter().map(|domain| Value::from(domain.as_str())).collect();
    if domains.is_empty() {
        return None;
    }
    let search = network.suffix.iter().chain(network.domains.iter().filter(|domain| Some(*domain) != network.suffix.as_ref()));
    let search = search.map(|domain| Value::from(domain.as_str())).collect();
    let servers = network.dns.iter().map(|server| Value::from(server.to_string())).collect();
    Some(Value::Dictionary(Dictionary::from_iter([
        ("ServerAddresses", Value::Array(servers)),
        ("SearchDomains", Value::Array(search)),
        ("SupplementalMatchDomains", Value::Array(domains)),
    ])))
}

/// What Apple's clients do of EAP.
pub(super) const METHODS: [EapMethod; 2] = [EapMethod::MsChapV2, EapMethod::Tls];
