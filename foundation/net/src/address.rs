//! Socket addresses as the kernel lays them out.

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// A buffer for one IPv4 or IPv6 socket address. The IPv6 layout is the larger one and holds both.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union RawAddress {
    family: libc::sa_family_t,
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl RawAddress {
    pub(crate) const CAPACITY: socklen_t = size_of::<Self>() as socklen_t;

    pub(crate) fn empty() -> Self {
        // SAFETY: all bytes zero is a valid value of every member of the union (family AF_UNSPEC).
        unsafe { zeroed() }
    }

    pub(crate) fn as_ptr(&self) -> *const sockaddr {
        (&raw const *self).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut sockaddr {
        (&raw mut *self).cast()
    }

    /// Length of the address inside, by its family.
    pub(crate) fn len(&self) -> socklen_t {
        match c_int_family(self) {
            libc::AF_INET => size_of::<sockaddr_in>() as socklen_t,
            _ => size_of::<sockaddr_in6>() as socklen_t,
        }
    }

    pub(crate) fn to_socket_addr(self) -> Option<SocketAddr> {
        match c_int_family(&self) {
            libc::AF_INET => {
                // SAFETY: the union is fully initialised and the family says this is a sockaddr_in.
                let v4 = unsafe { self.v4 };
                Some(SocketAddrV4::new(ipv4(v4.sin_addr), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the union is fully initialised and the family says this is a sockaddr_in6.
                let v6 = unsafe { self.v6 };
                let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                raw.v4 = sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: in_addr(*v4.ip()),
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V6(v6) => {
                raw.v6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
            }
        }
        raw
    }
}

fn c_int_family(raw: &RawAddress) -> libc::c_int {
    // SAFETY: the family field is the first member of every layout and the union is fully initialised.
    libc::c_int::from(unsafe { raw.family })
}

pub(crate) fn ipv4(raw: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be(raw.s_addr))
}

pub(crate) fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family(address: IpAddr) -> libc::c_int {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["192.0.2.7:4500", "[2001:db8::9]:500", "[fe80::1%3]:4500"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::from(address);
            assert_eq!(raw.to_socket_addr(), Some(address));
            assert_eq!(raw.len() == 16, address.is_ipv4());
        }
    }

    #[test]
    fn an_unspecified_family_is_no_address() {
        assert_eq!(RawAddress::empty().to_socket_addr(), None);
    }
}
