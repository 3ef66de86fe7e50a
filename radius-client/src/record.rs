//! What accounting says of a session, or of the whole gateway.
use crate::api::NasContext;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Acct-Status-Type (RFC 2866 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AccountingStatus {
    #[default]
    Start = 1,
    Stop = 2,
    Interim = 3,
    /// The gateway begins: no session of before is up.
    On = 7,
    /// The gateway ends.
    Off = 8,
}

impl AccountingStatus {
    /// False for what is said of the gateway as a whole.
    pub fn is_of_a_session(self) -> bool {
        matches!(self, Self::Start | Self::Stop | Self::Interim)
    }
}

/// RFC 2866 section 5.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminateCause {
    UserRequest = 1,
    LostCarrier = 2,
    LostService = 3,
    IdleTimeout = 4,
    SessionTimeout = 5,
    AdminReset = 6,
    AdminReboot = 7,
    PortError = 8,
    NasError = 9,
    NasRequest = 10,
    NasReboot = 11,
    ServiceUnavailable = 15,
    UserError = 17,
}

/// Acct-Authentic (RFC 2866 section 5.6): who found the credentials good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Authentic {
    #[default]
    Radius,
    /// The gateway itself, by a certificate.
    Local,
}

/// MS-Acct-Auth-Type (RFC 2548 section 2.7.4).
pub mod auth_type {
    pub const PAP: u32 = 1;
    pub const CHAP: u32 = 2;
    pub const MS_CHAP_2: u32 = 4;
    pub const EAP: u32 = 5;
}

/// One Accounting-Request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountingRecord {
    pub status: AccountingStatus,
    pub user_name: Vec<u8>,
    pub nas: NasContext,
    /// Acct-Multi-Session-Id: joins the sessions of a client that reconnects.
    pub multi_session_id: String,
    /// Acct-Tunnel-Connection (RFC 2867 section 4.1).
    pub tunnel_connection: String,
    pub authentic: Authentic,
    /// MS-Acct-Auth-Type, of [`auth_type`].
    pub auth_type: Option<u32>,
    /// MS-Acct-EAP-Type: the number of the EAP method.
    pub eap_type: Option<u8>,
    pub framed_ip: Option<Ipv4Addr>,
    pub framed_ipv6: Option<Ipv6Addr>,
    /// [`crate::Framed::received`].
    pub framed: Vec<(u8, Vec<u8>)>,
    pub class: Vec<Vec<u8>>,
    /// Of the Access-Accept.
    pub chargeable_user_identity: Option<Vec<u8>>,
    pub session_time: Duration,
    /// From the client.
    pub input_octets: u64,
    pub output_octets: u64,
    pub input_packets: u64,
    pub output_packets: u64,
    pub terminate_cause: Option<TerminateCause>,
    /// Unix time of the event.
    pub event_timestamp: u32,
    /// How long ago the event was when the record is handed in. Acct-Delay-Time adds the time it waits after that.
    pub delay: Duration,
    /// Which servers to tell; `None`: all of them. Not sent.
    pub group: Option<String>,
    /// Server that authenticated; accounting goes there first.
    pub server: Option<String>,
    /// Network policy of the session. Not sent.
    pub policy: Option<String>,
}
