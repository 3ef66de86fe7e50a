//! What a profile says, whatever its language.
use super::Level;
use crate::profile::Kind;
use crate::profile::proposals::Offer;
use pki::Certificate;
use policy::network::AddressRange;
use std::net::IpAddr;

/// One connection of a profile.
#[derive(Debug)]
pub(super) struct Said {
    /// What the file is: `ProfileXML`.
    pub(super) format: &'static str,
    pub(super) client: Kind,
    /// What is dialled; the first that answers.
    pub(super) servers: Vec<String>,
    /// The port that it names; `None`: what its client dials by itself.
    pub(super) port: Option<u16>,
    pub(super) protocol: Protocol,
    /// The name that the gateway's certificate must hold.
    pub(super) identity: Identity,
    pub(super) login: Login,
    pub(super) device: bool,
    pub(super) offer: Offer,
    /// Authorities that it brings.
    pub(super) roots: Vec<Certificate>,
    pub(super) routes: Routes,
    pub(super) names: Names,
    /// It brings a postquantum preshared key.
    pub(super) has_ppk: bool,
    /// It holds a password in clear.
    pub(super) has_secret: bool,
    /// What the client itself does not take.
    pub(super) wrong: Vec<Wrong>,
}

/// Something that the client cannot read or does not do, or ([`Level::Warn`]) not everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) level: Level,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, problem: problem.into(), remedy: remedy.into() }
    }

    pub(super) fn doubt(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, ..Self::new(problem, remedy) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    Ikev2,
    Sstp,
    /// One after the other.
    Either,
    /// Something that this gateway does not speak.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// What is dialled.
    Dialled,
    Name(String),
    /// A pattern, or a name that is no DNS name: nothing to be said of it.
    Any,
}

#[derive(Debug)]
pub(super) enum Login {
    Eap(Eap),
    /// PPP's own.
    MsChapV2,
    Certificate,
    /// Something else, by its word.
    Other(String),
}

#[derive(Debug, Default)]
pub(super) struct Eap {
    /// EAP type; `None`: whatever the server asks for.
    pub(super) method: Option<u8>,
    pub(super) inner: Option<u8>,
    /// Names that the certificate shown in EAP must hold; empty: any.
    pub(super) servers: Vec<String>,
    /// Thumbprints (SHA-1, lower-case hexadecimal) of the roots that it must come from; empty: any.
    pub(super) roots: Vec<String>,
    /// Which of the user's certificates is meant; `None`: it does not say, and this client would have to.
    pub(super) filter: Option<Filter>,
}

#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Thumbprints of authorities; empty: any.
    pub(super) issuers: Vec<String>,
    /// OIDs; empty: any.
    pub(super) purposes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Routes {
    Everything,
    These(Vec<AddressRange>),
    /// The profile cannot say.
    Unsaid,
}

/// What it says of looking up names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) suffixes: Vec<String>,
    /// Domains (`.` is every one), and who is asked for what is in them; nobody: what the connection itself has.
    pub(super) rules: Vec<(String, Vec<IpAddr>)>,
}

/// The name servers that the profile has under `key`.
pub(super) fn name_servers<'a>(list: impl IntoIterator<Item = &'a str>, key: &str, wrong: &mut Vec<Wrong>) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for server in list {
        match server.parse() {
            Ok(address) => servers.push(address),
            Err(_) => {
                let problem = format!("{server:?} in {key} is no address");
                wrong.push(Wrong::new(problem, format!("write addresses of name servers, and nothing else, into {key}")));
            }
        }
    }
    servers
}

/// `name`, `name:8443`, `[2001:db8::1]:8443`: the host, and the port where there is one.
pub(super) fn host_and_port(text: &str) -> (String, Option<u16>) {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.matches(':').count() == 1 => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        None => (text, None),
    };
    (host.to_owned(), port.and_then(|port| port.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_their_ports() {
        for (text, host, port) in [
            ("vpn.example.test", "vpn.example.test", None),
            (" vpn.example.test:8443 ", "vpn.example.test", Some(8443)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:8443", "2001:db8::1", Some(8443)),
            ("[2001:db8::1]", "2001:db8::1", None),
        ] {
            assert_eq!(host_and_port(text), (host.to_owned(), port), "{text}");
        }
    }
}
