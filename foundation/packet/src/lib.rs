//! Views on IP packets, checksums, splitting and coalescing of super-packets, MSS clamp, ICMP errors. Pure.
//!
//! A packet is a byte slice that starts with its IP header. [`IpHeader::parse`] is the boundary: it checks every length once, and what
//! follows works on the offsets it found. Nothing here allocates.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod coalesce;
pub mod ecn;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod mss;
pub mod split;
pub mod tcp;
pub mod udp;
pub mod virtio;
pub mod write;

#[cfg(test)]
mod testing;

pub use coalesce::Coalescer;
pub use fragment::Ipv4Fragments;
pub use ip::{Fragment, IpHeader, Malformed};
pub use split::SuperPacket;
pub use virtio::VirtioNetHeader;

/// IP protocol numbers (IANA).
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const UDP_LITE: u8 = 136;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;

    /// Whether this Next Header of IPv6 is an extension header that another one follows (IANA; RFC 7045 section 4). ESP hides what follows.
    pub const fn is_extension_header(next: u8) -> bool {
        matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | AH | MOBILITY | HIP | SHIM6)
    }
}

/// Big-endian 16 bits at `at`, which the caller has checked to lie inside.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Big-endian 32 bits at `at`, which the caller has checked to lie inside.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
