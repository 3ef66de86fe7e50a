//! What a script may ask for.
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// One line of a script. `tunnel` is the name that [`Step::Open`] gave it.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Makes a tunnel that has not dialled.
    Open(Box<Open>),
    /// What the wire does from now on.
    Wire {
        #[serde(default)]
        copies: usize,
        #[serde(default)]
        reversed: bool,
        #[serde(default)]
        forged: bool,
        /// Seconds before each retransmission and after the last; as the client in question does by default.
        #[serde(default)]
        patience: Vec<f64>,
    },
    /// IKE_SA_INIT.
    Init { tunnel: String },
    /// IKE_AUTH to its end.
    Auth { tunnel: String },
    /// IKE_SA_INIT and IKE_AUTH.
    Login { tunnel: String },
    /// IKE_SA_INIT and the first IKE_AUTH request; then it leaves with Windows' private notify and this WIN32 code.
    Complain { tunnel: String, code: u32 },
    /// An empty INFORMATIONAL.
    Liveness { tunnel: String },
    /// Rekeys the Child SA and deletes the old one.
    RekeyChild { tunnel: String },
    /// Makes a Child SA where there is none.
    CreateChild { tunnel: String },
    /// Deletes the Child SA, as Windows does with an idle one.
    DeleteChild { tunnel: String },
    /// Rekeys the IKE SA and deletes the old one. `profile`: whose proposals it offers.
    RekeyIke { tunnel: String, profile: Option<String> },
    /// DELETE of the IKE SA.
    Close { tunnel: String },
    /// DELETE of every IKE SA that there still is.
    Farewell {},
    /// Echo requests through the tunnel, one after the other; with `rekeys`, so many of the Child SA between them, evenly spread.
    Echo {
        tunnel: String,
        target: IpAddr,
        #[serde(default = "one")]
        count: u16,
        #[serde(default = "usual")]
        size: usize,
        #[serde(default)]
        rekeys: u16,
    },
    /// DHCPINFORM.
    Inform { tunnel: String },
    /// Router Solicitation.
    Solicit { tunnel: String },
    /// Takes what the gateway asks for so many seconds: liveness and DELETE are answered, a rekey of the IKE SA is taken part in, one of the
    /// Child SA is refused as Windows does, with this WIN32 code.
    Attend {
        tunnel: String,
        seconds: f64,
        #[serde(default = "invalid_situation")]
        code: u32,
    },
    /// The tunnel goes on from another address; `update`: UPDATE_SA_ADDRESSES (RFC 4555).
    Move {
        tunnel: String,
        address: IpAddr,
        #[serde(default)]
        update: bool,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) tunnel: String,
    pub(crate) profile: String,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) password: String,
    /// EAP method that the client insists on.
    pub(crate) method: Option<u8>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// No other SA to this gateway is active.
    #[serde(default = "yes")]
    pub(crate) first_contact: bool,
    /// Authorities in CERTREQ.
    #[serde(default = "fifty_three")]
    pub(crate) authorities: u16,
    /// What stands in IDi instead of the address.
    pub(crate) inside: Option<IpAddr>,
    /// A payload of an unknown type in the first IKE_AUTH request.
    #[serde(default)]
    pub(crate) unknown_payload: bool,
    /// AUTH is wrong by one bit.
    #[serde(default)]
    pub(crate) wrong_auth: bool,
    /// It says that it speaks MOBIKE.
    #[serde(default = "yes")]
    pub(crate) mobike: bool,
    /// Whether it takes the group that INVALID_KE_PAYLOAD names; as the profile has it by default.
    pub(crate) retries: Option<bool>,
    /// Longest datagram of its fragmented messages, IKE header included; as the profile has it by default.
    pub(crate) longest: Option<usize>,
}

fn one() -> u16 {
    1
}

fn usual() -> usize {
    56
}

fn yes() -> bool {
    true
}

fn fifty_three() -> u16 {
    53
}

fn invalid_situation() -> u32 {
    13_863
}
