//! Numbers and names of attributes, and their values as types.
use crate::codec::{Attribute, Malformed, Packet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Microsoft's enterprise number (RFC 2548).
pub const VENDOR_MICROSOFT: u32 = 311;

/// Attribute numbers, named as the RFCs name them.
pub mod number {
    pub const USER_NAME: u8 = 1;
    pub const USER_PASSWORD: u8 = 2;
    pub const CHAP_PASSWORD: u8 = 3;
    pub const NAS_IP_ADDRESS: u8 = 4;
    pub const NAS_PORT: u8 = 5;
    pub const SERVICE_TYPE: u8 = 6;
    pub const FRAMED_PROTOCOL: u8 = 7;
    pub const FRAMED_IP_ADDRESS: u8 = 8;
    pub const FILTER_ID: u8 = 11;
    pub const FRAMED_MTU: u8 = 12;
    pub const REPLY_MESSAGE: u8 = 18;
    pub const STATE: u8 = 24;
    pub const CLASS: u8 = 25;
    pub const VENDOR_SPECIFIC: u8 = 26;
    pub const SESSION_TIMEOUT: u8 = 27;
    pub const IDLE_TIMEOUT: u8 = 28;
    pub const CALLED_STATION_ID: u8 = 30;
    pub const CALLING_STATION_ID: u8 = 31;
    pub const NAS_IDENTIFIER: u8 = 32;
    pub const PROXY_STATE: u8 = 33;
    pub const ACCT_STATUS_TYPE: u8 = 40;
    pub const ACCT_DELAY_TIME: u8 = 41;
    pub const ACCT_INPUT_OCTETS: u8 = 42;
    pub const ACCT_OUTPUT_OCTETS: u8 = 43;
    pub const ACCT_SESSION_ID: u8 = 44;
    pub const ACCT_AUTHENTIC: u8 = 45;
    pub const ACCT_SESSION_TIME: u8 = 46;
    pub const ACCT_INPUT_PACKETS: u8 = 47;
    pub const ACCT_OUTPUT_PACKETS: u8 = 48;
    pub const ACCT_TERMINATE_CAUSE: u8 = 49;
    pub const ACCT_MULTI_SESSION_ID: u8 = 50;
    pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
    pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
    pub const EVENT_TIMESTAMP: u8 = 55;
    pub const CHAP_CHALLENGE: u8 = 60;
    pub const NAS_PORT_TYPE: u8 = 61;
    pub const TUNNEL_TYPE: u8 = 64;
    pub const TUNNEL_MEDIUM_TYPE: u8 = 65;
    pub const TUNNEL_CLIENT_ENDPOINT: u8 = 66;
    pub const TUNNEL_SERVER_ENDPOINT: u8 = 67;
    pub const ACCT_TUNNEL_CONNECTION: u8 = 68;
    pub const EAP_MESSAGE: u8 = 79;
    pub const MESSAGE_AUTHENTICATOR: u8 = 80;
    pub const ACCT_INTERIM_INTERVAL: u8 = 85;
    pub const FRAMED_POOL: u8 = 88;
    pub const NAS_IPV6_ADDRESS: u8 = 95;
    pub const FRAMED_INTERFACE_ID: u8 = 96;
    pub const FRAMED_IPV6_PREFIX: u8 = 97;
    pub const ERROR_CAUSE: u8 = 101;
    pub const FRAMED_IPV6_ADDRESS: u8 = 168;
    pub const DNS_SERVER_IPV6_ADDRESS: u8 = 169;
}

/// Service-Type values (RFC 2865 section 5.6, RFC 5176 section 3).
pub mod service_type {
    pub const FRAMED: u32 = 2;
    pub const AUTHORIZE_ONLY: u32 = 17;
}

/// Vendor types of Microsoft (RFC 2548, MS-RNAP).
pub mod microsoft {
    pub const CHAP_ERROR: u8 = 2;
    pub const CHAP_NT_ENC_PW: u8 = 6;
    pub const RAS_VENDOR: u8 = 9;
    pub const CHAP_CHALLENGE: u8 = 11;
    pub const MPPE_SEND_KEY: u8 = 16;
    pub const MPPE_RECV_KEY: u8 = 17;
    pub const RAS_VERSION: u8 = 18;
    pub const ACCT_AUTH_TYPE: u8 = 23;
    pub const ACCT_EAP_TYPE: u8 = 24;
    pub const CHAP2_RESPONSE: u8 = 25;
    pub const CHAP2_SUCCESS: u8 = 26;
    pub const CHAP2_CPW: u8 = 27;
    pub const PRIMARY_DNS_SERVER: u8 = 28;
    pub const SECONDARY_DNS_SERVER: u8 = 29;
    pub const PRIMARY_NBNS_SERVER: u8 = 30;
    pub const SECONDARY_NBNS_SERVER: u8 = 31;
    pub const RAS_CLIENT_NAME: u8 = 34;
    pub const RAS_CLIENT_VERSION: u8 = 35;
    pub const NETWORK_ACCESS_SERVER_TYPE: u8 = 47;
    pub const RAS_CORRELATION_ID: u8 = 56;
}

/// The name of an attribute in messages.
pub fn name(number: u8) -> &'static str {
    match number {
        number::USER_NAME => "User-Name",
        number::NAS_IP_ADDRESS => "NAS-IP-Address",
        number::CHAP_CHALLENGE => "CHAP-Challenge",
        number::SERVICE_TYPE => "Service-Type",
        number::FRAMED_PROTOCOL => "Framed-Protocol",
        number::FRAMED_IP_ADDRESS => "Framed-IP-Address",
        number::STATE => "State",
        number::CLASS => "Class",
        number::VENDOR_SPECIFIC => "Vendor-Specific",
        number::SESSION_TIMEOUT => "Session-Timeout",
        number::IDLE_TIMEOUT => "Idle-Timeout",
        number::CALLED_STATION_ID => "Called-Station-Id",
        number::CALLING_STATION_ID => "Calling-Station-Id",
        number::NAS_IDENTIFIER => "NAS-Identifier",
        number::ACCT_SESSION_ID => "Acct-Session-Id",
        number::TUNNEL_CLIENT_ENDPOINT => "Tunnel-Client-Endpoint",
        number::TUNNEL_SERVER_ENDPOINT => "Tunnel-Server-Endpoint",
        number::ACCT_INTERIM_INTERVAL => "Acct-Interim-Interval",
        number::FRAMED_IPV6_ADDRESS => "Framed-IPv6-Address",
        number::DNS_SERVER_IPV6_ADDRESS => "DNS-Server-IPv6-Address",
        _ => "attribute",
    }
}

impl<'a> Attribute<'a> {
    /// A 32-bit number. `name` stands in the error.
    pub fn u32(&self, name: &'static str) -> Result<u32, Malformed> {
        self.fixed(name, "a number has 4 bytes").map(u32::from_be_bytes)
    }

    pub fn ipv4(&self, name: &'static str) -> Result<Ipv4Addr, Malformed> {
        self.fixed::<4>(name, "an IPv4 address has 4 bytes").map(Ipv4Addr::from)
    }

    pub fn ipv6(&self, name: &'static str) -> Result<Ipv6Addr, Malformed> {
        self.fixed::<16>(name, "an IPv6 address has 16 bytes").map(Ipv6Addr::from)
    }

    /// Text for people: bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value).into_owned()
    }

    fn fixed<const N: usize>(&self, name: &'static str, wanted: &'static str) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| Malformed::Value { name, offset: self.offset, got: self.value.len(), wanted })
    }
}

impl Packet<'_> {
    /// The first attribute of `number` as a 32-bit number.
    pub fn u32(&self, number: u8) -> Result<Option<u32>, Malformed> {
        self.first(number).map(|attribute| attribute.u32(name(number))).transpose()
    }

    /// The first attribute of `number` as text.
    pub fn text(&self, number: u8) -> Option<String> {
        self.first(number).map(|attribute| attribute.text())
    }
}
