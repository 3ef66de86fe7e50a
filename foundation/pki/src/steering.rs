//! What has a say in the choice of a certificate besides the certificates and what the client tells.
use crate::UnixTime;
use crate::choice::{AskedName, Hints};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// Network policies, as far as they can be judged before a client is authenticated.
pub trait Steering: fmt::Debug + Send + Sync {
    /// The certificates of which the client is to see one; none: any. `suits`: whether the client can be shown the one of this name, for it can
    /// verify its signature, and what it asks for (name, authorities, address, realm) is not what another one is for.
    fn named(&self, arrival: &Arrival<'_>, suits: &dyn Fn(&str) -> bool) -> Vec<Named>;
}

/// A certificate that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub certificate: String,
    pub policy: String,
}

/// A client that is about to see a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    pub client: IpAddr,
    pub gateway: IpAddr,
    /// The name that it asks for, as text.
    pub server_name: Option<Cow<'a, str>>,
    /// It proves itself with a certificate, as IKEv2 tells.
    pub by_certificate: bool,
    pub now: UnixTime,
}

/// Who steers, and what that goes by besides [`Hints`].
#[derive(Debug, Clone, Copy)]
pub struct Steered<'a> {
    pub by: &'a dyn Steering,
    /// Where the client comes from.
    pub client: IpAddr,
    pub by_certificate: bool,
    pub now: UnixTime,
}

impl Steered<'_> {
    pub(crate) fn arrival<'h>(&self, hints: &Hints<'h>) -> Arrival<'h> {
        let gateway = hints.address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let server_name = hints.name.and_then(AskedName::text);
        Arrival { client: self.client, gateway, server_name, by_certificate: self.by_certificate, now: self.now }
    }
}

impl<'a> AskedName<'a> {
    /// As conditions of policies look at it; `None`: it is a distinguished name.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            // With and without the dot of the root it is the same name.
            Self::Dns(name) => Some(name.strip_suffix('.').unwrap_or(name).into()),
            Self::Email(name) => Some(name.into()),
            Self::Address(address) => Some(address.to_string().into()),
            Self::Subject(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AskedName;

    #[test]
    fn the_dot_of_the_root_is_no_part_of_a_name() {
        assert_eq!(AskedName::Dns("vpn.example.test.").text().as_deref(), Some("vpn.example.test"));
    }
}
