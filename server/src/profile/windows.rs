//! ProfileXML of the VPNv2 configuration service provider, and the EAP configuration in it.
use super::connection::{ClientCertificate, Connection, Eap, EapMethod, Login};
use super::xml::{Element, node, text};
use super::{File, powershell, spaced_hex};
use ike::proposal::WindowsPolicy;
use pki::Certificate;
use policy::network::Tunnel;

/// Namespaces of Microsoft's EAP schemas.
pub(super) const PROVISIONING: &str = "http://www.microsoft.com/provisioning/";
/// clientAuth, the purpose that Windows filters by without being told its name.
pub(super) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

pub(super) fn files(connection: &Connection<'_>) -> Result<Vec<File>, String> {
    let suite = suite(connection)?;
    let eap = eap_configuration(connection);
    let profile = profile(connection, suite, eap.as_ref()).document()? + "\n";
    let installer = powershell::installer(connection, &profile);
    let script = powershell::script(connection, suite, eap.map(|eap| eap.fragment()).transpose()?.as_deref());
    let files = [
        Some(File::new("windows.ps1", script)),
        Some(File::new("profile.xml", profile)),
        Some(File::new("profile.ps1", installer)),
        super::authority_file(connection),
    ];
    Ok(files.into_iter().flatten().collect())
}

/// `None`: SSTP, where TLS decides.
fn suite(connection: &Connection<'_>) -> Result<Option<WindowsPolicy>, String> {
    if connection.tunnel == Tunnel::Sstp {
        return Ok(None);
    }
    WindowsPolicy::of(connection.ciphers).map(Some).ok_or_else(|| {
        "[ciphers] holds nothing that Windows can do: name aes256-gcm in ike and in esp, sha256 in prfs, ecp256 in groups".into()
    })
}

/// The elements in the order that Windows 11 asks for.
fn profile(connection: &Connection<'_>, suite: Option<WindowsPolicy>, eap: Option<&Element>) -> Element {
    let network = &connection.network;
    let suffix = network.suffix.as_deref();
    let asks_for_password = !connection.device && !connection.login.has_certificate();
    let head = [
        asks_for_password.then(|| text("RememberCredentials", true)),
        Some(text("AlwaysOn", true)),
        connection.device.then(|| text("DeviceTunnel", true)),
        suffix.map(|suffix| text("DnsSuffix", suffix)),
        Some(native(connection, suite, eap)),
    ];
    let route = |(address, length)| node("Route", [text("Address", address), text("PrefixSize", length), text("Metric", 1)]);
    // With everything in the tunnel its name servers are asked anyway.
    let names = network.domains.iter().map(|domain| {
        let servers: Vec<_> = network.dns.iter().map(ToString::to_string).collect();
        node("DomainNameInformation", [text("DomainName", format!(".{domain}")), text("DnsServers", servers.join(","))])
    });
    node("VPNProfile", head.into_iter().flatten().chain(network.prefixes().into_iter().map(route)).chain(names))
}

fn native(connection: &Connection<'_>, suite: Option<WindowsPolicy>, eap: Option<&Element>) -> Element {
    let Connection { tunnel, network, .. } = connection;
    let server = connection.address();
    let split = network.routes.is_some();
    let elements = [
        // Twice: Windows 11 takes no single server through Intune.
        Some(text("Servers", format!("{server};{server}"))),
        Some(text("RoutingPolicyType", if split { "SplitTunnel" } else { "ForceTunnel" })),
        Some(text("NativeProtocolType", if *tunnel == Tunnel::Ikev2 { "IKEv2" } else { "SSTP" })),
        Some(authentication(&connection.login, eap)),
        suite.map(cryptography),
        split.then(|| text("DisableClassBasedDefaultRoute", true)),
    ];
    node("NativeProfile", elements.into_iter().flatten())
}

fn authentication(login: &Login, eap: Option<&Element>) -> Element {
    let methods = match login {
        Login::Certificate(_) => vec![text("MachineMethod", "Certificate")],
        Login::MsChapV2 => vec![text("UserMethod", "MSChapv2")],
        // Windows 11 asks for the machine's method too, although nothing uses it.
        Login::Eap(_) => vec![text("UserMethod", "Eap"), text("MachineMethod", "Eap")],
    };
    let configuration = eap.map(|eap| node("Eap", [node("Configuration", [eap.clone()])]));
    node("Authentication", methods.into_iter().chain(configuration))
}

fn cryptography(suite: WindowsPolicy) -> Element {
    let WindowsPolicy { authentication, cipher, encryption, integrity, group, pfs } = suite;
    // The command and the profile do not spell these alike.
    let encryption = match encryption {
        "GCMAES128" => "AES_GCM_128",
        "GCMAES256" => "AES_GCM_256",
        other => other,
    };
    let integrity = if integrity == "SHA1" { "SHA196" } else { integrity };
    let elements = [
        Some(text("AuthenticationTransformConstants", authentication)),
        Some(text("CipherTransformConstants", cipher)),
        pfs.map(|pfs| text("PfsGroup", pfs)),
        Some(text("DHGroup", group)),
        Some(text("IntegrityCheckMethod", integrity)),
        Some(text("EncryptionMethod", encryption)),
    ];
    node("CryptographySuite", elements.into_iter().flatten())
}

/// EapHostConfig; `None`: the client does not use EAP.
fn eap_configuration(connection: &Connection<'_>) -> Option<Element> {
    let Login::Eap(eap) = &connection.login else { return None };
    let common = format!("{PROVISIONING}EapCommon");
    let method = [
        text("Type", eap.method.number()).of(&common),
        text("VendorId", 0).of(&common),
        text("VendorType", 0).of(&common),
        text("AuthorId", 0).of(&common),
    ];
    let host = format!("{PROVISIONING}EapHostConfig");
    Some(node("EapHostConfig", [node("EapMethod", method), node("Config", [properties(eap)]).of(&host)]).of(&host))
}

fn properties(eap: &Eap) -> Element {
    match eap.method {
        EapMethod::MsChapV2 => mschapv2(),
        EapMethod::Tls => tls(eap),
        EapMethod::Peap => peap(eap, mschapv2()),
        EapMethod::PeapTls => peap(eap, tls(eap)),
    }
}

fn base(number: u8, properties: Element) -> Element {
    node("Eap", [text("Type", number), properties]).of(&format!("{PROVISIONING}BaseEapConnectionPropertiesV1"))
}

fn mschapv2() -> Element {
    let namespace = format!("{PROVISIONING}MsChapV2ConnectionPropertiesV1");
    base(26, node("EapType", [text("UseWinLogonCredentials", false)]).of(&namespace))
}

fn tls(eap: &Eap) -> Element {
    let second = format!("{PROVISIONING}EapTlsConnectionPropertiesV2");
    let store = node("CertificateStore", [text("SimpleCertSelection", true)]);
    let elements = [
        node("CredentialsSource", [store]),
        server_validation(eap),
        text("DifferentUsername", false),
        text("PerformServerValidation", true).of(&second),
        text("AcceptServerName", !eap.servers.is_empty()).of(&second),
        node("TLSExtensions", [filter(&eap.certificate)]).of(&second),
    ];
    base(13, node("EapType", elements).of(&format!("{PROVISIONING}EapTlsConnectionPropertiesV1")))
}

fn peap(eap: &Eap, inner: Element) -> Element {
    let second = format!("{PROVISIONING}MsPeapConnectionPropertiesV2");
    let extensions = [text("PerformServerValidation", true).of(&second), text("AcceptServerName", !eap.servers.is_empty()).of(&second)];
    let elements = [
        server_validation(eap),
        text("FastReconnect", true),
        text("InnerEapOptional", false),
        inner,
        text("EnableQuarantineChecks", false),
        text("RequireCryptoBinding", true),
        node("PeapExtensions", extensions),
    ];
    base(25, node("EapType", elements).of(&format!("{PROVISIONING}MsPeapConnectionPropertiesV1")))
}

/// Whom the client believes in EAP. Windows 11 compares names by case, and takes no blanks between them.
fn server_validation(eap: &Eap) -> Element {
    let names: Vec<_> = eap.servers.iter().map(|name| name.to_ascii_lowercase()).collect();
    let roots = eap.roots.iter().map(|root| text("TrustedRootCA", spaced_hex(&root.sha1())));
    let prompt = text("DisableUserPromptForServerValidation", !eap.roots.is_empty());
    node("ServerValidation", [prompt, text("ServerNames", names.join(";"))].into_iter().chain(roots))
}

/// Which of the user's certificates is meant: without it Windows asks, or takes one that nobody accepts.
fn filter(certificate: &ClientCertificate) -> Element {
    let hashes = certificate.issuers.iter().map(|issuer: &Certificate| text("IssuerHash", spaced_hex(&issuer.sha1())));
    let authorities = (!certificate.issuers.is_empty()).then(|| node("CAHashList", hashes).with("Enabled", "true"));
    let special: Vec<_> = certificate.purposes.iter().filter(|oid| *oid != CLIENT_AUTH).collect();
    // The name of a purpose is the administrator's own; its OID serves.
    let map = |oid: &&String| node("EKUMap", [text("EKUName", oid), text("EKUOID", oid)]);
    let mapping = (!special.is_empty()).then(|| node("EKUMapping", special.iter().map(map)));
    let listed = special.iter().map(|oid| node("EKUMapInList", [text("EKUName", oid)]));
    let purposes = node("ClientAuthEKUList", listed).with("Enabled", "true");
    let elements = authorities.into_iter().chain(mapping).chain([purposes]);
    node("FilteringInfo", elements).of(&format!("{PROVISIONING}EapTlsConnectionPropertiesV3"))
}
