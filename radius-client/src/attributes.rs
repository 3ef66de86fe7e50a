//! Numbers and names of attributes, and their values as types.
use crate::codec::{Attribute, Malformed, Packet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Microsoft's enterprise number (RFC 2548).
pub const VENDOR_MICROSOFT: u32 = 311;

/// The enterprise number of the Wi-Fi Alliance's roaming group (WISPr).
pub const VENDOR_WISPR: u32 = 14_122;

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
    pub const FRAMED_IP_NETMASK: u8 = 9;
    pub const FILTER_ID: u8 = 11;
    pub const FRAMED_MTU: u8 = 12;
    pub const REPLY_MESSAGE: u8 = 18;
    pub const FRAMED_ROUTE: u8 = 22;
    pub const STATE: u8 = 24;
    pub const CLASS: u8 = 25;
    pub const VENDOR_SPECIFIC: u8 = 26;
    pub const SESSION_TIMEOUT: u8 = 27;
    pub const IDLE_TIMEOUT: u8 = 28;
    pub const TERMINATION_ACTION: u8 = 29;
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
    pub const PORT_LIMIT: u8 = 62;
    pub const TUNNEL_TYPE: u8 = 64;
    pub const TUNNEL_MEDIUM_TYPE: u8 = 65;
    pub const TUNNEL_CLIENT_ENDPOINT: u8 = 66;
    pub const TUNNEL_SERVER_ENDPOINT: u8 = 67;
    pub const ACCT_TUNNEL_CONNECTION: u8 = 68;
    pub const EAP_MESSAGE: u8 = 79;
    pub const MESSAGE_AUTHENTICATOR: u8 = 80;
    pub const ACCT_INTERIM_INTERVAL: u8 = 85;
    pub const NAS_PORT_ID: u8 = 87;
    pub const FRAMED_POOL: u8 = 88;
    pub const CHARGEABLE_USER_IDENTITY: u8 = 89;
    pub const NAS_FILTER_RULE: u8 = 92;
    pub const NAS_IPV6_ADDRESS: u8 = 95;
    pub const FRAMED_INTERFACE_ID: u8 = 96;
    pub const FRAMED_IPV6_PREFIX: u8 = 97;
    pub const FRAMED_IPV6_ROUTE: u8 = 99;
    pub const FRAMED_IPV6_POOL: u8 = 100;
    pub const ERROR_CAUSE: u8 = 101;
    pub const DELEGATED_IPV6_PREFIX: u8 = 123;
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
    pub const FILTER: u8 = 22;
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
    pub const QUARANTINE_IP_FILTER: u8 = 36;
    pub const QUARANTINE_SESSION_TIMEOUT: u8 = 37;
    pub const NETWORK_ACCESS_SERVER_TYPE: u8 = 47;
    pub const IPV6_FILTER: u8 = 51;
    pub const RAS_CORRELATION_ID: u8 = 56;
    /// The group of an Azure VPN gateway's policies.
    pub const AZURE_POLICY_ID: u8 = 65;
}

/// Vendor types of WISPr: bits a second.
pub mod wispr {
    /// From the user.
    pub const BANDWIDTH_MAX_UP: u8 = 7;
    /// To the user.
    pub const BANDWIDTH_MAX_DOWN: u8 = 8;
}

/// An attribute by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributeId {
    /// Enterprise number; 0: the attribute is of the RFCs.
    pub vendor: u32,
    /// Its type there.
    pub number: u8,
}

impl AttributeId {
    pub const fn standard(number: u8) -> Self {
        Self { vendor: 0, number }
    }

    pub const fn microsoft(number: u8) -> Self {
        Self { vendor: VENDOR_MICROSOFT, number }
    }
}

impl std::fmt::Display for AttributeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.vendor, unused_name(*self)) {
            (_, Some(name)) => f.write_str(name),
            (0, None) if name(self.number) != "attribute" => f.write_str(name(self.number)),
            (0, None) => write!(f, "attribute {}", self.number),
            (vendor, None) => write!(f, "attribute 26.{vendor}.{}", self.number),
        }
    }
}

/// Names of what replies bring that is not acted upon, and of filters.
fn unused_name(id: AttributeId) -> Option<&'static str> {
    Some(match (id.vendor, id.number) {
        (0, 10) => "Framed-Routing",
        (0, 12) => "Framed-MTU",
        (0, 13) => "Framed-Compression",
        (0, 19) => "Callback-Number",
        (0, 29) => "Termination-Action",
        (0, 64) => "Tunnel-Type",
        (0, 65) => "Tunnel-Medium-Type",
        (0, 81) => "Tunnel-Private-Group-Id",
        (0, number::CHARGEABLE_USER_IDENTITY) => "Chargeable-User-Identity",
        (0, 92) => "NAS-Filter-Rule",
        (0, 171) => "Delegated-IPv6-Prefix-Pool",
        (0, 172) => "Stateful-IPv6-Address-Pool",
        (VENDOR_WISPR, 5) => "WISPr-Bandwidth-Min-Up",
        (VENDOR_WISPR, 6) => "WISPr-Bandwidth-Min-Down",
        (VENDOR_WISPR, wispr::BANDWIDTH_MAX_UP) => "WISPr-Bandwidth-Max-Up",
        (VENDOR_WISPR, wispr::BANDWIDTH_MAX_DOWN) => "WISPr-Bandwidth-Max-Down",
        (VENDOR_MICROSOFT, 7) => "MS-MPPE-Encryption-Policy",
        (VENDOR_MICROSOFT, 8) => "MS-MPPE-Encryption-Types",
        (VENDOR_MICROSOFT, 10) => "MS-CHAP-Domain",
        (VENDOR_MICROSOFT, 13) => "MS-BAP-Usage",
        (VENDOR_MICROSOFT, 14) => "MS-Link-Utilization-Threshold",
        (VENDOR_MICROSOFT, 15) => "MS-Link-Drop-Time-Limit",
        (VENDOR_MICROSOFT, 22) => "MS-Filter",
        (VENDOR_MICROSOFT, 36) => "MS-Quarantine-IPFilter",
        (VENDOR_MICROSOFT, 37) => "MS-Quarantine-Session-Timeout",
        (VENDOR_MICROSOFT, 51) => "MS-IPv6-Filter",
        _ => return None,
    })
}

/// The name of a group in MS-Azure-Policy-ID, as hexadecimal digits: its values begin with 6ad1bd.
pub(crate) fn azure_group(value: &[u8]) -> Option<String> {
    value.starts_with(&[0x6a, 0xd1, 0xbd]).then(|| value.iter().map(|byte| format!("{byte:02x}")).collect())
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
        number::FRAMED_IP_NETMASK => "Framed-IP-Netmask",
        number::FRAMED_ROUTE => "Framed-Route",
        number::STATE => "State",
        number::FILTER_ID => "Filter-Id",
        number::REPLY_MESSAGE => "Reply-Message",
        number::FRAMED_POOL => "Framed-Pool",
        number::PORT_LIMIT => "Port-Limit",
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
        number::FRAMED_INTERFACE_ID => "Framed-Interface-Id",
        number::FRAMED_IPV6_PREFIX => "Framed-IPv6-Prefix",
        number::FRAMED_IPV6_ROUTE => "Framed-IPv6-Route",
        number::FRAMED_IPV6_POOL => "Framed-IPv6-Pool",
        number::DELEGATED_IPV6_PREFIX => "Delegated-IPv6-Prefix",
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

    /// Reserved, length in bits, as many bytes as the length needs (RFC 3162 section 2.3). Bits beyond the length are left as they are.
    pub fn ipv6_prefix(&self, name: &'static str) -> Result<(Ipv6Addr, u8), Malformed> {
        let wrong = |wanted| Malformed::Value { name, offset: self.offset, got: self.value.len(), wanted };
        let &[_, bits, ref bytes @ ..] = self.value else { return Err(wrong("an IPv6 prefix has a length")) };
        if bits > 128 || bytes.len() > 16 || bytes.len() < usize::from(bits).div_ceil(8) {
            return Err(wrong("an IPv6 prefix has as many bytes as its length in bits, of at most 128, needs"));
        }
        let mut octets = [0; 16];
        octets[..bytes.len()].copy_from_slice(bytes);
        Ok((Ipv6Addr::from(octets), bits))
    }

    pub fn interface_id(&self, name: &'static str) -> Result<u64, Malformed> {
        self.fixed(name, "an interface identifier has 8 bytes").map(u64::from_be_bytes)
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

    /// All attributes, what is inside Vendor-Specific by itself. A Vendor-Specific of another form counts as one of type 0.
    pub(crate) fn identified(&self) -> Vec<(AttributeId, &[u8])> {
        self.placed().into_iter().map(|(id, _, value)| (id, value)).collect()
    }

    /// The same, with the offset of each value in the packet.
    pub(crate) fn placed(&self) -> Vec<(AttributeId, usize, &[u8])> {
        let mut found = Vec::new();
        for attribute in self.attributes() {
            let value = attribute.offset + 2;
            match attribute.value.split_first_chunk::<4>() {
                Some((vendor, inside)) if attribute.number == number::VENDOR_SPECIFIC => {
                    vendor_attributes(u32::from_be_bytes(*vendor), value + 4, inside, &mut found);
                }
                _ => found.push((AttributeId::standard(attribute.number), value, attribute.value)),
            }
        }
        found
    }

    /// The first attribute of `number` as text.
    pub fn text(&self, number: u8) -> Option<String> {
        self.first(number).map(|attribute| attribute.text())
    }
}

/// Type, length, value; the length counts all three (RFC 2865 section 5.26).
fn vendor_attributes<'a>(vendor: u32, mut at: usize, mut inside: &'a [u8], found: &mut Vec<(AttributeId, usize, &'a [u8])>) {
    while let [number, length, ..] = *inside {
        let length = usize::from(length);
        let Some(value) = inside.get(2..length) else { break };
        found.push((AttributeId { vendor, number }, at + 2, value));
        inside = &inside[length..];
        at += length;
    }
    if !inside.is_empty() {
        found.push((AttributeId { vendor, number: 0 }, at, inside));
    }
}
