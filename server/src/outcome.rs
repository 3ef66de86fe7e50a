//! How far a login came and why it ended: the words that all tunnel types share.
pub use ike::{CloseReason, Fault};

/// How far an attempt came. In the order in which a login passes them, whatever its tunnel type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// SSTP: the TLS handshake.
    Tls,
    Http,
    Sstp,
    Lcp,
    SaInit,
    IkeAuth,
    /// PPP authentication other than EAP.
    Auth,
    Eap,
    Radius,
    Policy,
    Address,
    CryptoBinding,
    /// PPP's network protocols, IPCP and IPv6CP.
    Ipcp,
    ChildSa,
    Up,
}

impl From<ike::Stage> for Stage {
    fn from(stage: ike::Stage) -> Self {
        match stage {
            ike::Stage::SaInit => Self::SaInit,
            ike::Stage::IkeAuth => Self::IkeAuth,
            ike::Stage::Eap => Self::Eap,
            ike::Stage::Radius => Self::Radius,
            ike::Stage::Policy => Self::Policy,
            ike::Stage::Address => Self::Address,
            ike::Stage::ChildSa => Self::ChildSa,
            ike::Stage::Up => Self::Up,
        }
    }
}

impl Stage {
    /// The same for the IKE machine, which hears of refusals only.
    pub fn in_ike(self) -> ike::Stage {
        match self {
            Self::SaInit => ike::Stage::SaInit,
            Self::Radius => ike::Stage::Radius,
            Self::Policy => ike::Stage::Policy,
            Self::Address => ike::Stage::Address,
            Self::ChildSa => ike::Stage::ChildSa,
            Self::Up => ike::Stage::Up,
            Self::Eap | Self::Auth | Self::CryptoBinding | Self::Ipcp => ike::Stage::Eap,
            Self::IkeAuth | Self::Tls | Self::Http | Self::Sstp | Self::Lcp => ike::Stage::IkeAuth,
        }
    }
}

/// Why an attempt ended before it was up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub fault: Fault,
    /// What the wire said, by its name in the RFC or MS specification, where it said something: a notify, a status, an alert.
    pub notify: Option<&'static str>,
    /// What the EAP conversation that passed through showed, where it ended the attempt.
    pub eap: Option<EapFault>,
    /// What the IKE machine knows to be the way in.
    pub remedy: Option<ike::Remedy>,
    /// One sentence: what and why.
    pub cause: String,
}

/// What goes wrong between client and RADIUS server; numbers are TLS alerts (RFC 8446 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapFault {
    /// The client's alert about the RADIUS server's certificate.
    ServerCertificate(u8),
    /// The client left when it had seen the RADIUS server's certificate, without a word.
    LeftAfterServerCertificate,
    /// The RADIUS server's alert about the client's certificate; `None`: its refusal right after it saw that certificate.
    UserCertificate(Option<u8>),
    NoUserCertificate,
    /// The client does none of the methods that the RADIUS server offers.
    MethodRefused,
}

impl From<ike::Failure> for Failure {
    fn from(failure: ike::Failure) -> Self {
        Self {
            stage: failure.stage.into(),
            fault: failure.fault,
            notify: failure.notify,
            eap: None,
            remedy: failure.remedy,
            cause: failure.cause,
        }
    }
}
