//! Ancillary data of datagrams: where a packet arrived, how it was merged, where the next one leaves from and how it is cut.

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv6Addr};
use std::ptr;

use libc::{CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, c_int, cmsghdr, msghdr};

use crate::address::{in_addr, ipv4};

/// Room for every control message this crate sends or asks for: pktinfo (either family), segment size, traffic class.
/// `u64` elements give the alignment of `cmsghdr`.
pub(crate) type ControlBuffer = [u64; 16];
pub(crate) const CONTROL_LEN: usize = size_of::<ControlBuffer>();

/// What the kernel said about one received message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ancillary {
    pub(crate) local: Option<IpAddr>,
    pub(crate) segment_size: Option<usize>,
    pub(crate) traffic_class: u8,
}

/// Reads the control messages of `message`, which a receive call has filled in.
pub(crate) fn parse(message: &msghdr) -> Ancillary {
    let mut found = Ancillary::default();
    // SAFETY: message describes a control buffer the kernel has filled and whose length it has set.
    let mut header = unsafe { CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: header is not null, lies inside the control buffer and is followed by its payload.
        unsafe {
            absorb(&mut found, header);
            header = CMSG_NXTHDR(message, header);
        }
    }
    found
}

/// # Safety
/// `header` points to a complete control message.
unsafe fn absorb(found: &mut Ancillary, header: *const cmsghdr) {
    // SAFETY: the caller promises a complete control message; each payload is read only when its length covers the type read.
    unsafe {
        let (level, kind) = ((*header).cmsg_level, (*header).cmsg_type);
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                found.local = payload::<libc::in_pktinfo>(header).map(|info| IpAddr::V4(ipv4(info.ipi_addr)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                found.local = payload::<libc::in6_pktinfo>(header).map(|info| IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                found.segment_size = payload::<c_int>(header).and_then(|size| usize::try_from(size).ok());
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => found.traffic_class = payload::<u8>(header).unwrap_or(0),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                found.traffic_class = payload::<c_int>(header).map_or(0, |class| class as u8);
            }
            _ => {}
        }
    }
}

/// # Safety
/// `header` points to a complete control message.
unsafe fn payload<T: Copy>(header: *const cmsghdr) -> Option<T> {
    // SAFETY: the caller promises a complete message; its length is compared before the unaligned read.
    unsafe {
        if (*header).cmsg_len < CMSG_LEN(size_of::<T>() as u32) as _ {
            return None;
        }
        Some(ptr::read_unaligned(CMSG_DATA(header).cast::<T>()))
    }
}

/// Writes the control messages for a datagram that leaves from `source` and is cut at `segment_size`. Returns the length used.
pub(crate) fn write(control: &mut ControlBuffer, source: Option<IpAddr>, segment_size: Option<u16>) -> usize {
    let mut used = 0;
    match source {
        Some(IpAddr::V4(address)) => {
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: in_addr(address), ipi_addr: libc::in_addr { s_addr: 0 } };
            used += append(control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(address)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: address.octets() }, ipi6_ifindex: 0 };
            used += append(control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if let Some(size) = segment_size {
        used += append(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }
    used
}

fn append<T: Copy>(control: &mut ControlBuffer, offset: usize, level: c_int, kind: c_int, value: T) -> usize {
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, len) = unsafe { (CMSG_SPACE(size_of::<T>() as u32) as usize, CMSG_LEN(size_of::<T>() as u32) as usize) };
    assert!(offset + space <= CONTROL_LEN, "the control buffer is sized for every message this crate writes");
    // SAFETY: offset is a multiple of the cmsghdr alignment (a sum of CMSG_SPACE values) and header plus payload fit, as asserted.
    unsafe {
        let header = control.as_mut_ptr().cast::<u8>().add(offset).cast::<cmsghdr>();
        let mut fields: cmsghdr = zeroed();
        fields.cmsg_len = len as _;
        fields.cmsg_level = level;
        fields.cmsg_type = kind;
        ptr::write(header, fields);
        ptr::write_unaligned(CMSG_DATA(header).cast::<T>(), value);
    }
    space
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(control: &mut ControlBuffer, used: usize) -> msghdr {
        // SAFETY: all zero is a valid msghdr.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = used as _;
        message
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let mut control: ControlBuffer = [0; 16];
        let address = [192, 0, 2, 9];
        let info = libc::in_pktinfo { ipi_ifindex: 4, ipi_spec_dst: in_addr([10, 0, 0, 1].into()), ipi_addr: in_addr(address.into()) };
        let mut used = append(&mut control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        used += append(&mut control, used, libc::SOL_UDP, libc::UDP_GRO, 1400 as c_int);
        used += append(&mut control, used, libc::IPPROTO_IP, libc::IP_TOS, 3_u8);
        let found = parse(&message(&mut control, used));
        assert_eq!(found.local, Some(IpAddr::from(address)));
        assert_eq!(found.segment_size, Some(1400));
        assert_eq!(found.traffic_class, 3);
    }

    #[test]
    fn a_short_payload_is_ignored() {
        let mut control: ControlBuffer = [0; 16];
        let used = append(&mut control, 0, libc::SOL_UDP, libc::UDP_GRO, 7_u8);
        assert_eq!(parse(&message(&mut control, used)).segment_size, None);
    }

    #[test]
    fn both_families_and_a_segment_size_fit() {
        let mut control: ControlBuffer = [0; 16];
        assert!(write(&mut control, Some("2001:db8::1".parse().unwrap()), Some(1400)) <= CONTROL_LEN);
        let used = write(&mut control, Some("2001:db8::1".parse().unwrap()), None);
        let found = parse(&message(&mut control, used));
        assert_eq!(found.local, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(write(&mut control, None, None), 0);
    }
}
