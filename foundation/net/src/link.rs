//! Interfaces, addresses and routes, through route netlink.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use crate::address::family;
use crate::netlink::{Connection, Request, attributes};
use crate::sys;

const NLM_CHANGE: i32 = libc::NLM_F_ACK;
const NLM_CREATE: i32 = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;

/// An address with a prefix length. The address may have bits beyond the prefix, as an interface address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits: at most 32 or 128.
    pub len: u8,
}

impl Prefix {
    /// `None` when `len` is beyond the width of the address.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        (len <= width(address)).then_some(Self { address, len })
    }

    /// The prefix that holds this address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, len: width(address) }
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.len),
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.len),
            _ => false,
        }
    }

    /// The same prefix with all bits beyond its length cleared.
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0)).into()),
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0)).into()),
        };
        Self { address, len: self.len }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// The text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no prefix: write an address, a slash and a length, such as 10.0.0.0/8")]
pub struct PrefixError(String);

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `address/len`, or an address alone for the host prefix.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wrong = || PrefixError(text.to_owned());
        match text.split_once('/') {
            None => text.parse().map(Self::host).map_err(|_| wrong()),
            Some((address, len)) => {
                let (Ok(address), Ok(len)) = (address.parse(), len.parse()) else { return Err(wrong()) };
                Self::new(address, len).ok_or_else(wrong)
            }
        }
    }
}

/// A route in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to. Bits beyond the prefix length are ignored.
    pub destination: Prefix,
    /// Index of the interface packets leave through.
    pub device: u32,
    /// Next hop, when the destination is not on the link.
    pub gateway: Option<IpAddr>,
    /// Source address for packets of this host.
    pub source: Option<IpAddr>,
    /// Metric: the lowest one wins.
    pub metric: Option<u32>,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// Index of its interface.
    pub device: u32,
    /// Address and prefix length.
    pub address: Prefix,
}

/// A connection to the kernel's interface, address and route tables. Calls wait for the kernel's answer.
#[derive(Debug)]
pub struct Netlink {
    connection: Connection,
}

impl Netlink {
    /// Connects. Changes need `CAP_NET_ADMIN`.
    pub fn open() -> io::Result<Self> {
        Connection::open().map(|connection| Self { connection })
    }

    /// Brings an interface up.
    pub fn set_up(&mut self, device: u32) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        self.connection.change(Request::new(libc::RTM_NEWLINK, NLM_CHANGE, &link_body(device, up, up)))
    }

    /// Sets the MTU of an interface, in bytes.
    pub fn set_mtu(&mut self, device: u32, mtu: u32) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, NLM_CHANGE, &link_body(device, 0, 0));
        self.connection.change(request.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes()))
    }

    /// Gives an interface an address, usable at once (no duplicate address detection). One that is there already is replaced.
    pub fn add_address(&mut self, device: u32, address: Prefix) -> io::Result<()> {
        self.connection.change(address_request(libc::RTM_NEWADDR, NLM_CREATE, device, address))
    }

    /// Takes an address off an interface.
    pub fn delete_address(&mut self, device: u32, address: Prefix) -> io::Result<()> {
        self.connection.change(address_request(libc::RTM_DELADDR, NLM_CHANGE, device, address))
    }

    /// Adds a route, or replaces the one with the same destination and metric.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        self.connection.change(route_request(libc::RTM_NEWROUTE, NLM_CREATE, route))
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one with the same destination and metric, wherever it leads.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        self.connection.change(route_request(libc::RTM_NEWROUTE, libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL, route))
    }

    /// Deletes a route.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        self.connection.change(route_request(libc::RTM_DELROUTE, NLM_CHANGE, route))
    }

    /// How a packet of this host to `destination` would leave, as a route to that address alone.
    pub fn route_to(&mut self, destination: IpAddr) -> io::Result<Route> {
        let mut body = [0; ROUTE_BODY_LEN];
        body[0] = family(destination) as u8;
        body[1] = width(destination);
        let request = Request::new(libc::RTM_GETROUTE, 0, &body).attribute(libc::RTA_DST, octets(destination).as_ref());
        let mut found = None;
        self.connection.exchange(request, |kind, body| {
            if kind == libc::RTM_NEWROUTE {
                found = found_route(destination, body);
            }
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
    }

    /// All addresses of this host, in the order the kernel lists them.
    pub fn addresses(&mut self) -> io::Result<Vec<LocalAddress>> {
        let mut found = Vec::new();
        let request = Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_BODY_LEN]);
        self.connection.exchange(request, |kind, body| {
            if kind == libc::RTM_NEWADDR {
                found.extend(local_address(body));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// The index of interface `name`.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let request = interface_ioctl(name, libc::SIOCGIFINDEX as _)?;
    // SAFETY: SIOCGIFINDEX has filled in this member of the union.
    let index = unsafe { request.ifr_ifru.ifru_ifindex };
    Ok(index as u32)
}

/// The name of the interface with this index.
pub fn interface_name(index: u32) -> io::Result<String> {
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut argument = sys::interface_request("");
    argument.ifr_ifru.ifru_ifindex = i32::try_from(index).unwrap_or(0);
    // SAFETY: argument is an initialised ifreq, which SIOCGIFNAME reads and writes.
    sys::check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME as _, &raw mut argument) })?;
    Ok(sys::interface_name(&argument))
}

/// The MTU of interface `name`, in bytes.
pub fn interface_mtu(name: &str) -> io::Result<u32> {
    let request = interface_ioctl(name, libc::SIOCGIFMTU as _)?;
    // SAFETY: SIOCGIFMTU has filled in this member of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(mtu as u32)
}

/// Whether an interface does something that the kernel would do for it otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    On,
    /// It could.
    Off,
    Unable,
}

/// Whether an interface takes packets larger than its MTU, to cut them itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// `tx-tcp-segmentation` of `ethtool -k`.
    pub tcp: Feature,
    /// `tx-udp-segmentation`, which is USO.
    pub udp: Feature,
}

/// Of interface `name`, as `ethtool -k` shows. What this kernel has no word for counts as [`Feature::Unable`].
pub fn segmentation(name: &str) -> io::Result<Segmentation> {
    let (names, states) = features(name)?;
    let find = |wanted: &str| names.iter().position(|name| name == wanted).map_or(Feature::Unable, |at| states[at]);
    Ok(Segmentation { tcp: find("tx-tcp-segmentation"), udp: find("tx-udp-segmentation") })
}

/// Names and states, in the same order (linux/ethtool.h).
fn features(name: &str) -> io::Result<(Vec<String>, Vec<Feature>)> {
    const GET_SET_INFO: u32 = 0x37;
    const GET_STRINGS: u32 = 0x1b;
    const GET_FEATURES: u32 = 0x3a;
    /// ETH_SS_FEATURES
    const FEATURES: u32 = 4;
    /// Words of a string.
    const STRING: usize = 8;
    /// Kernels have fewer than a hundred.
    const MOST: u32 = 1024;
    let [low, high] = words(1_u64 << FEATURES);
    // struct ethtool_sset_info: command, reserved, mask of sets, and one count for each set of the mask.
    let mut info = [GET_SET_INFO, 0, low, high, 0];
    // SAFETY: the command writes no more than the mask and one count, for the mask has one bit.
    unsafe { ethtool(name, &mut info)? };
    let count = info[4].min(MOST);
    // struct ethtool_gstrings: command, set, how many strings, and those.
    let mut strings = vec![0; 3 + STRING * count as usize];
    strings[..3].copy_from_slice(&[GET_STRINGS, FEATURES, count]);
    // SAFETY: the number of features is the kernel's own and does not change while it runs: all strings have room.
    unsafe { ethtool(name, &mut strings)? };
    // struct ethtool_gfeatures: command, how many blocks, and these: available, requested, active, never changed, a bit for each feature.
    let blocks = count.div_ceil(32);
    let mut states = vec![0; 2 + 4 * blocks as usize];
    states[..2].copy_from_slice(&[GET_FEATURES, blocks]);
    // SAFETY: the command writes as many blocks as it is told.
    unsafe { ethtool(name, &mut states)? };
    let names = strings[3..].chunks_exact(STRING).map(text).collect();
    let bit = |at: usize, word: usize| states.get(2 + 4 * (at / 32) + word).is_some_and(|bits| bits >> (at % 32) & 1 != 0);
    let state = |at| match () {
        () if bit(at, 2) => Feature::On,
        () if bit(at, 0) && !bit(at, 3) => Feature::Off,
        () => Feature::Unable,
    };
    Ok((names, (0..count as usize).map(state).collect()))
}

fn words(mask: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = mask.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Up to the first zero byte.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// SIOCETHTOOL with the command at the start of `argument`.
///
/// # Safety
/// The command writes no more than `argument` holds.
unsafe fn ethtool(name: &str, argument: &mut [u32]) -> io::Result<()> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = sys::interface_request(name);
    request.ifr_ifru.ifru_data = argument.as_mut_ptr().cast();
    // SAFETY: request is an initialised ifreq, whose data points to what the caller vouches for; both outlive the call.
    sys::check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    Ok(())
}

/// Whether this host forwards packets between interfaces: `net.ipv4.ip_forward` or `net.ipv6.conf.all.forwarding`.
pub fn forwarding_enabled(v6: bool) -> io::Result<bool> {
    let path = if v6 { "/proc/sys/net/ipv6/conf/all/forwarding" } else { "/proc/sys/net/ipv4/ip_forward" };
    Ok(fs::read_to_string(path)?.trim() != "0")
}

fn interface_ioctl(name: &str, request: libc::c_ulong) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut argument = sys::interface_request(name);
    // SAFETY: argument is an initialised ifreq, which the interface requests read and write.
    sys::check(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut argument) })?;
    Ok(argument)
}

/// `struct ifinfomsg`.
fn link_body(device: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&device.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

const ADDRESS_BODY_LEN: usize = 8;

/// `struct ifaddrmsg` and its attributes.
fn address_request(kind: u16, flags: i32, device: u32, address: Prefix) -> Request {
    let mut body = [0; ADDRESS_BODY_LEN];
    body[0] = family(address.address) as u8;
    body[1] = address.len;
    if address.address.is_ipv6() {
        body[2] = libc::IFA_F_NODAD as u8;
    }
    body[4..8].copy_from_slice(&device.to_ne_bytes());
    let octets = octets(address.address);
    Request::new(kind, flags, &body).attribute(libc::IFA_LOCAL, octets.as_ref()).attribute(libc::IFA_ADDRESS, octets.as_ref())
}

fn local_address(body: &[u8]) -> Option<LocalAddress> {
    let (head, rest) = body.split_first_chunk::<ADDRESS_BODY_LEN>()?;
    let device = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
    let find = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| address_from(value));
    // On a point-to-point interface IFA_ADDRESS is the far end.
    let address = find(libc::IFA_LOCAL).or_else(|| find(libc::IFA_ADDRESS))?;
    Prefix::new(address, head[1]).map(|address| LocalAddress { device, address })
}

const ROUTE_BODY_LEN: usize = 12;

fn found_route(destination: IpAddr, body: &[u8]) -> Option<Route> {
    let (_, rest) = body.split_first_chunk::<ROUTE_BODY_LEN>()?;
    let find = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let device = u32::from_ne_bytes(find(libc::RTA_OIF)?.try_into().ok()?);
    let gateway = find(libc::RTA_GATEWAY).and_then(address_from);
    Some(Route { destination: Prefix::host(destination), device, gateway, source: None, metric: None })
}

/// `struct rtmsg` and its attributes.
fn route_request(kind: u16, flags: i32, route: &Route) -> Request {
    let destination = route.destination.network();
    let scope = if route.gateway.is_some() || destination.address.is_ipv6() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let mut body = [0; ROUTE_BODY_LEN];
    body[0] = family(destination.address) as u8;
    body[1] = destination.len;
    body[4] = libc::RT_TABLE_MAIN;
    body[5] = libc::RTPROT_STATIC;
    body[6] = scope;
    body[7] = libc::RTN_UNICAST;
    let mut request = Request::new(kind, flags, &body)
        .attribute(libc::RTA_DST, octets(destination.address).as_ref())
        .attribute(libc::RTA_OIF, &route.device.to_ne_bytes());
    if let Some(gateway) = route.gateway {
        request = request.attribute(libc::RTA_GATEWAY, octets(gateway).as_ref());
    }
    if let Some(source) = route.source {
        request = request.attribute(libc::RTA_PREFSRC, octets(source).as_ref());
    }
    if let Some(metric) = route.metric {
        request = request.attribute(libc::RTA_PRIORITY, &metric.to_ne_bytes());
    }
    request
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address_from(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_and_print() {
        for text in ["10.1.2.3/8", "0.0.0.0/0", "2001:db8::/32", "::/0"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.1".parse::<Prefix>().unwrap().len, 32);
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.0/", ""] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_network_of_a_prefix_has_no_host_bits() {
        for (from, to) in [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3/0", "0.0.0.0/0"), ("10.1.2.3/32", "10.1.2.3/32")] {
            assert_eq!(from.parse::<Prefix>().unwrap().network().to_string(), to);
        }
        assert_eq!("2001:db8:1::9/32".parse::<Prefix>().unwrap().network().to_string(), "2001:db8::/32");
        assert_eq!("2001:db8:1::9/0".parse::<Prefix>().unwrap().network().to_string(), "::/0");
    }

    #[test]
    fn an_unknown_interface_is_an_error() {
        assert!(interface_index("no-such-if").is_err());
        assert!(interface_index("a-name-that-is-too-long").is_err());
    }
}
