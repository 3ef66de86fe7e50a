//! Profiles for the clients that are already on every desk, made from the configuration, and the comparison of a profile with it.
//!
//! What a client must be told is worked out once ([`connection`]), by the code that chooses certificates and ciphers for real clients, and then
//! written in each client's own language. No secret goes in that was not asked for.
mod android;
mod apple;
mod check;
mod connection;
mod networkmanager;
mod powershell;
mod proposals;
mod strongswan;
mod windows;
mod xml;

#[cfg(test)]
mod tests;

pub use check::{Finding, Judged, Level, Report, check};
pub use connection::EapMethod;
pub(crate) use powershell::quoted;

use crate::config::Config;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connection::Connection;
use crypto::Zeroizing;
use crypto::hash::{HashAlgorithm, hash};
use pki::{Certificate, UnixTime};
use policy::network::Tunnel;

/// Whose client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Windows,
    Apple,
    /// The strongSwan app.
    Android,
    /// On Linux, with swanctl.
    StrongSwan,
    NetworkManager,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Windows, Self::Apple, Self::Android, Self::StrongSwan, Self::NetworkManager];

    /// On the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Apple => "apple",
            Self::Android => "android",
            Self::StrongSwan => "strongswan",
            Self::NetworkManager => "networkmanager",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Apple => "Apple's client",
            Self::Android => "the strongSwan app",
            Self::StrongSwan => "strongSwan",
            Self::NetworkManager => "NetworkManager",
        }
    }

    fn has_sstp(self) -> bool {
        matches!(self, Self::Windows | Self::NetworkManager)
    }

    /// It can be told a port for IKE. Windows and Apple's clients know 500 and 4500 and no others.
    fn dials_other_ports(self) -> bool {
        matches!(self, Self::Android | Self::StrongSwan | Self::NetworkManager)
    }

    /// It offers to do without the gateway's certificate (RFC 5998).
    fn offers_eap_only(self) -> bool {
        matches!(self, Self::Android | Self::StrongSwan | Self::NetworkManager)
    }

    fn eap_methods(self) -> &'static [EapMethod] {
        match self {
            Self::Windows => &EapMethod::ALL,
            // Which method is inside of PEAP, strongSwan leaves to the server.
            Self::StrongSwan => &[EapMethod::MsChapV2, EapMethod::Tls, EapMethod::Peap],
            Self::Apple => &apple::METHODS,
            Self::Android => &android::METHODS,
            Self::NetworkManager => &networkmanager::METHODS,
        }
    }
}

/// What is asked for; what is left out follows from the configuration.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Name of the network policy whose settings count; `None`: the first that lets such a login in.
    pub policy: Option<String>,
    /// `None`: IKEv2 where there is a listener for it.
    pub tunnel: Option<Tunnel>,
    /// For the machine, with its certificate, rather than for a user.
    pub device: bool,
    /// What is dialled; `None`: the gateway's name.
    pub server: Option<String>,
    /// `None`: what policy or local provider ask for, else EAP-MSCHAPv2.
    pub eap: Option<EapMethod>,
    /// Names in the certificate that the RADIUS server shows in EAP.
    pub eap_servers: Vec<String>,
    /// The root above that certificate.
    pub eap_authorities: Vec<Certificate>,
    /// Authorities above the gateway's certificate that the configuration does not hold.
    pub authorities: Vec<Certificate>,
    pub user: Option<String>,
    /// Goes into the profile in clear.
    pub password: Option<Zeroizing<String>>,
    /// The client's certificate with its key, PKCS#12, for profiles that hold one.
    pub p12: Option<Zeroizing<Vec<u8>>>,
}

/// Files for one client.
#[derive(Debug)]
pub struct Made {
    pub files: Vec<File>,
    /// What is left to do, or good to know; a sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub struct File {
    pub name: &'static str,
    pub text: Zeroizing<String>,
}

impl File {
    fn new(name: &'static str, text: String) -> Self {
        Self { name, text: Zeroizing::new(text) }
    }
}

/// The files that make a client of this kind connect to the gateway of this configuration.
///
/// # Errors
/// Why no such profile could work, and what would help.
pub fn make(config: &Config, kind: Kind, wishes: &Wishes, now: UnixTime) -> Result<Made, String> {
    let connection = Connection::new(config, kind, wishes, now)?;
    let mut notes = connection.notes.clone();
    let files = match kind {
        Kind::Windows => windows::files(&connection)?,
        Kind::Apple => apple::files(&connection, wishes, &mut notes)?,
        Kind::Android => android::files(&connection, wishes, &mut notes)?,
        Kind::NetworkManager => networkmanager::files(&connection, wishes, &mut notes)?,
        Kind::StrongSwan => strongswan::files(&connection, wishes, &mut notes)?,
    };
    Ok(Made { files, notes })
}

/// `ca.pem`, where the root is known.
fn authority_file(connection: &Connection<'_>) -> Option<File> {
    (!connection.roots.is_empty()).then(|| certificates_file("ca.pem", &connection.roots))
}

fn certificates_file<'a>(name: &'static str, certificates: impl IntoIterator<Item = &'a Certificate>) -> File {
    File::new(name, certificates.into_iter().map(pem).collect())
}

/// strongSwan calls itself by the certificate's subject where it is told nothing else.
fn note_of_identity(connection: &Connection<'_>, notes: &mut Vec<String>) {
    if let connection::Login::Eap(eap) = &connection.login
        && eap.method.has_user_certificate()
        && connection.user.is_none()
    {
        notes.push(
            "without --user, the client gives its certificate's subject as its name, which NPS knows nobody by: name the user as ann@example.com".into(),
        );
    }
}

fn pem(certificate: &Certificate) -> String {
    let text = base64(&certificate.der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for at in (0..text.len()).step_by(64) {
        // Base64 is ASCII.
        pem.push_str(&text[at..text.len().min(at + 64)]);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The same for the same name, so that a new version of a profile takes the place of the old one (RFC 9562 section 5.5).
fn uuid(name: &str) -> String {
    /// Namespace for DNS names, in which no such name can be.
    const NAMESPACE: [u8; 16] = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
    let mut bytes = hash(HashAlgorithm::Sha1, &[&NAMESPACE, b"evergate ", name.as_bytes()]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// A thumbprint as EAP configurations write it: `d2 d3 8e`.
fn spaced_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
