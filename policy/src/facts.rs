//! What is known of an attempt when the policies decide.
use crate::hours::LocalTime;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The facts of an attempt, after authentication or ([`Facts::authenticated`]) before.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub tunnel: Tunnel,
    /// False: nobody has been authenticated so far. What only a login tells (user, groups, client's certificate, the server's reply, over SSTP also
    /// the method) is not known then, and no condition on it can be judged.
    pub authenticated: bool,
    pub method: Method,
    /// The EAP method by its name, such as `EAP-TLS`; `None`: there was none, or nobody saw it.
    pub eap_type: Option<&'a str>,
    pub user: &'a str,
    /// False: the name is the outer identity of a tunnelled EAP method, which nobody has checked. No condition on it can be judged,
    /// nor one on a computer that is not known by other means.
    pub confirmed: bool,
    /// The computer's name, where a computer logged in rather than a person.
    pub machine: Option<&'a str>,
    /// Outer address of the client: Calling-Station-Id.
    pub client: IpAddr,
    /// The address that it dialled: Called-Station-Id.
    pub gateway: IpAddr,
    /// NAS-Port-Type; a VPN has 5, Virtual.
    pub port_type: u32,
    /// Name of the listener that it dialled.
    pub listener: &'a str,
    /// The name of the gateway that it asked for: SNI, IDr.
    pub server_name: Option<&'a str>,
    /// What the configuration calls the gateway's certificate that it was shown; `None`: it was shown none.
    pub shown: Option<&'a str>,
    /// The client's certificate, where it proved itself with one that could be seen.
    pub certificate: Option<&'a Certificate>,
    /// True: it may have proved itself with one that could not be seen. No condition on a certificate can be judged then.
    pub certificate_hidden: bool,
    /// Key length of the cipher that protects the login, in bits: of the IKE SA, or of TLS.
    pub cipher_bits: Option<u16>,
    /// Class and Filter-Id attributes of the Access-Accept.
    pub class: &'a [Vec<u8>],
    pub filter_id: &'a [String],
    /// Groups of the user, as whoever authenticated it names them.
    pub group: &'a [String],
    /// The RADIUS server that let the user in, and the server group that was asked.
    pub radius_server: Option<&'a str>,
    pub radius_group: Option<&'a str>,
    /// Attributes of the Access-Accept as text: name and value.
    pub reply: &'a [(String, String)],
    pub time: LocalTime,
}

impl Facts<'_> {
    /// Somebody who has not said who they are, from and to no address in particular.
    pub fn before_login(tunnel: Tunnel, time: LocalTime) -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            tunnel,
            authenticated: false,
            method: Method::Eap,
            eap_type: None,
            user: "",
            confirmed: false,
            machine: None,
            client: nowhere,
            gateway: nowhere,
            port_type: VIRTUAL,
            listener: "",
            server_name: None,
            shown: None,
            certificate: None,
            certificate_hidden: false,
            cipher_bits: None,
            class: &[],
            filter_id: &[],
            group: &[],
            radius_server: None,
            radius_group: None,
            reply: &[],
            time,
        }
    }
}

/// NAS-Port-Type of a VPN (RFC 2865 section 5.41).
const VIRTUAL: u32 = 5;

/// What conditions look at in a client's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// RFC 4514 text.
    pub subject: String,
    pub issuer: String,
    /// Subject alternative names of every kind.
    pub san: Vec<String>,
    /// Extended key usages, as OIDs.
    pub eku: Vec<String>,
    /// OID of Microsoft's certificate template.
    pub template: Option<String>,
    /// Which one it is among those of its issuer.
    pub serial: String,
}

/// Other sessions that run already, without those that this login replaces.
pub trait Usage {
    fn of_user(&self) -> usize;
    fn of_certificate(&self) -> usize;
    /// Those that the policy of this name let in.
    fn of_policy(&self, name: &str) -> usize;
}

/// There are no other sessions.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Usage for Alone {
    fn of_user(&self) -> usize {
        0
    }

    fn of_certificate(&self) -> usize {
        0
    }

    fn of_policy(&self, _: &str) -> usize {
        0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    Ikev2,
    Sstp,
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ikev2 => "ikev2",
            Self::Sstp => "sstp",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Eap,
    Certificate,
    /// RFC 2759 over PPP.
    MsChapV2,
    /// RFC 1994 with MD5 over PPP.
    Chap,
    /// RFC 1334 over PPP.
    Pap,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eap => "eap",
            Self::Certificate => "certificate",
            Self::MsChapV2 => "mschapv2",
            Self::Chap => "chap",
            Self::Pap => "pap",
        })
    }
}
