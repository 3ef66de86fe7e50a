//! What clients ask the gateway itself inside the tunnel, in words: DHCP (RFC 2131), Router Solicitations and Advertisements (RFC 4861), DHCPv6
//! (RFC 8415).
use super::{Direction, Frame, Layer, Link, Told, hexadecimal};
use packet::udp::UdpView;
use packet::{Fragment, IpHeader, protocol};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where the options of a DHCP message begin, behind the magic cookie (RFC 2131 section 3).
const DHCP_OPTIONS: usize = 240;

/// What is told of an IP packet that the gateway answers or sends itself; `packets`: with the packet.
pub fn packet(bytes: &[u8], direction: Direction, client: SocketAddr, packets: bool) -> Told {
    let described = IpHeader::parse(bytes).ok().filter(|ip| ip.fragment == Fragment::Whole).and_then(|ip| {
        let (title, fields) = describe(&ip, bytes.get(ip.transport..ip.length)?)?;
        Some((format!("{title} {} -> {}", ip.source, ip.destination), fields))
    });
    let (title, fields) = described.unwrap_or_else(|| ("a packet for the gateway".into(), Vec::new()));
    let mut told = Told::packet(Layer::Inside, direction, client, format!("{title} ({} bytes)", bytes.len()));
    fields.into_iter().for_each(|(name, value)| told.field(name, value));
    if packets {
        told.frames = vec![Frame { link: Link::Ip, client, direction, bytes: hexadecimal(bytes) }];
    }
    told
}

type Described = (String, Vec<(String, String)>);

fn describe(ip: &IpHeader, transport: &[u8]) -> Option<Described> {
    if ip.protocol == protocol::ICMPV6 {
        return router(transport);
    }
    if ip.protocol != protocol::UDP {
        return None;
    }
    let datagram = UdpView::new(transport)?;
    match (datagram.source_port(), datagram.destination_port()) {
        (_, 67 | 68) => dhcp(datagram.payload()),
        (_, 546 | 547) => dhcpv6(datagram.payload()),
        _ => None,
    }
}

fn dhcp(message: &[u8]) -> Option<Described> {
    let mut options = message.get(DHCP_OPTIONS..)?;
    let mut kind = "BOOTP".to_owned();
    let mut fields = Vec::new();
    while let Some((&code, rest)) = options.split_first() {
        match code {
            0 => options = rest,
            255 => break,
            _ => {
                let (&length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(length.into())?;
                match (code, value) {
                    (53, &[number]) => kind = dhcp_kind(number),
                    _ => fields.push((dhcp_name(code), dhcp_value(code, value))),
                }
                options = rest;
            }
        }
    }
    Some((kind, fields))
}

fn dhcp_kind(number: u8) -> String {
    let name = match number {
        1 => "DHCPDISCOVER",
        2 => "DHCPOFFER",
        3 => "DHCPREQUEST",
        4 => "DHCPDECLINE",
        5 => "DHCPACK",
        6 => "DHCPNAK",
        7 => "DHCPRELEASE",
        8 => "DHCPINFORM",
        other => return format!("DHCP message type {other}"),
    };
    name.into()
}

fn dhcp_name(code: u8) -> String {
    let name = match code {
        1 => "Subnet Mask",
        3 => "Router",
        6 => "DNS Servers",
        12 => "Host Name",
        15 => "Domain Name",
        43 => "Vendor-Specific",
        44 => "WINS Servers",
        54 => "Server Identifier",
        55 => "Parameter Request List",
        57 => "Maximum Message Size",
        60 => "Vendor Class",
        61 => "Client Identifier",
        119 => "Domain Search",
        121 => "Classless Static Routes",
        249 => "Classless Static Routes (Microsoft)",
        other => return format!("option {other}"),
    };
    name.into()
}

fn dhcp_value(code: u8, value: &[u8]) -> String {
    match code {
        1 | 3 | 6 | 44 | 54 if !value.is_empty() && value.len().is_multiple_of(4) => {
            value.as_chunks::<4>().0.iter().map(|four| Ipv4Addr::from(*four).to_string()).collect::<Vec<_>>().join(", ")
        }
        12 | 15 | 60 => String::from_utf8_lossy(value).into_owned(),
        55 => value.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
        121 | 249 => routes(value).unwrap_or_else(|| hexadecimal(value)),
        _ => hexadecimal(value),
    }
}

/// RFC 3442: the length of the prefix, as many bytes of it as count, and the router.
fn routes(mut value: &[u8]) -> Option<String> {
    let mut found = Vec::new();
    while let Some((&length, rest)) = value.split_first() {
        let (prefix, rest) = rest.split_at_checked(usize::from(length).div_ceil(8))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut network = [0; 4];
        network.get_mut(..prefix.len())?.copy_from_slice(prefix);
        found.push(format!("{}/{length} via {}", Ipv4Addr::from(network), Ipv4Addr::from(*router)));
        value = rest;
    }
    Some(found.join(", "))
}

fn router(message: &[u8]) -> Option<Described> {
    let (title, options) = match message.first()? {
        133 => ("Router Solicitation", 8),
        134 => ("Router Advertisement", 16),
        _ => return None,
    };
    let mut fields = Vec::new();
    if title == "Router Advertisement" {
        let &[hop_limit, flags, high, low] = message.get(4..8)?.first_chunk::<4>()?;
        let lifetime = u16::from_be_bytes([high, low]);
        fields.push(("router".into(), format!("lifetime {lifetime} s, hop limit {hop_limit}, flags {flags:#04x}")));
    }
    let mut rest = message.get(options..)?;
    while let Some(&[kind, eights]) = rest.first_chunk::<2>() {
        let (option, behind) = rest.split_at_checked(8 * usize::from(eights)).filter(|_| eights > 0)?;
        fields.push(neighbour_option(kind, option));
        rest = behind;
    }
    Some((title.into(), fields))
}

/// `option`: with its type and length.
fn neighbour_option(kind: u8, option: &[u8]) -> (String, String) {
    let address = |at: usize| option.get(at..).and_then(<[u8]>::first_chunk::<16>).map(|bytes| Ipv6Addr::from(*bytes));
    let number = |at: usize| option.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    match kind {
        1 => ("Source Link-Layer Address".into(), hexadecimal(&option[2..])),
        3 => {
            let prefix = address(16).map(|prefix| format!("{prefix}/{}, valid {} s", option[2], number(4)));
            ("Prefix Information".into(), prefix.unwrap_or_default())
        }
        5 => ("MTU".into(), number(4).to_string()),
        24 => {
            let mut prefix = [0; 16];
            let given = option.get(8..).unwrap_or_default();
            prefix[..given.len().min(16)].copy_from_slice(&given[..given.len().min(16)]);
            ("Route Information".into(), format!("{}/{}, lifetime {} s", Ipv6Addr::from(prefix), option[2], number(4)))
        }
        25 => {
            let servers = option.get(8..).unwrap_or_default().as_chunks::<16>().0;
            ("Recursive DNS Servers".into(), servers.iter().map(|bytes| Ipv6Addr::from(*bytes).to_string()).collect::<Vec<_>>().join(", "))
        }
        31 => ("DNS Search List".into(), hexadecimal(option.get(8..).unwrap_or_default())),
        other => (format!("option {other}"), format!("{} bytes", option.len())),
    }
}

fn dhcpv6(message: &[u8]) -> Option<Described> {
    let (&kind, rest) = message.split_first()?;
    let title = match kind {
        1 => "DHCPv6 Solicit".to_owned(),
        2 => "DHCPv6 Advertise".to_owned(),
        3 => "DHCPv6 Request".to_owned(),
        7 => "DHCPv6 Reply".to_owned(),
        11 => "DHCPv6 Information-Request".to_owned(),
        other => format!("DHCPv6 message type {other}"),
    };
    let mut fields = Vec::new();
    let mut options = rest.get(3..)?;
    while let Some((&[a, b, c, d], behind)) = options.split_first_chunk::<4>() {
        let (value, behind) = behind.split_at_checked(u16::from_be_bytes([c, d]).into())?;
        fields.push(dhcpv6_option(u16::from_be_bytes([a, b]), value));
        options = behind;
    }
    Some((title, fields))
}

fn dhcpv6_option(code: u16, value: &[u8]) -> (String, String) {
    match code {
        1 => ("Client Identifier".into(), hexadecimal(value)),
        2 => ("Server Identifier".into(), hexadecimal(value)),
        6 => {
            let wanted = value.as_chunks::<2>().0.iter().map(|two| u16::from_be_bytes(*two).to_string());
            ("Option Request".into(), wanted.collect::<Vec<_>>().join(", "))
        }
        23 => {
            let servers = value.as_chunks::<16>().0.iter().map(|bytes| Ipv6Addr::from(*bytes).to_string());
            ("DNS Servers".into(), servers.collect::<Vec<_>>().join(", "))
        }
        24 => ("Domain Search List".into(), hexadecimal(value)),
        32 => (
            "Information Refresh Time".into(),
            value.first_chunk::<4>().map_or_else(String::new, |time| u32::from_be_bytes(*time).to_string()),
        ),
        other => (format!("option {other}"), format!("{} bytes", value.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> (String, Vec<String>) {
        let told = packet(bytes, Direction::In, "192.0.2.7:4500".parse().unwrap(), true);
        assert_eq!((told.frames.len(), told.layer), (1, Layer::Inside));
        (told.title, told.fields.into_iter().map(|field| format!("{}={}", field.name, field.value)).collect())
    }

    #[test]
    fn dhcp_is_read_with_its_options() {
        let mut message = vec![0; DHCP_OPTIONS];
        message[0] = 1;
        message.extend([53, 1, 8, 12, 3, b'p', b'c', b'1', 55, 2, 6, 249, 0, 249, 7, 16, 10, 1, 192, 0, 0, 8, 255]);
        let bytes = packet::write::udp_ipv4(([10, 0, 0, 5].into(), 68), ([255; 4].into(), 67), &message);
        let (title, fields) = told(&bytes);
        assert!(title.starts_with("DHCPINFORM 10.0.0.5 -> 255.255.255.255 ("), "{title}");
        let wanted = ["Host Name=pc1", "Parameter Request List=6, 249", "Classless Static Routes (Microsoft)=10.1.0.0/16 via 192.0.0.8"];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn routes_are_prefixes_with_their_router() {
        assert_eq!(routes(&[16, 10, 1, 192, 0, 0, 8]).unwrap(), "10.1.0.0/16 via 192.0.0.8");
        assert_eq!(routes(&[0, 192, 0, 0, 8, 32, 10, 0, 0, 1, 0, 0, 0, 0]).unwrap(), "0.0.0.0/0 via 192.0.0.8, 10.0.0.1/32 via 0.0.0.0");
        assert_eq!(routes(&[200, 1, 2]), None);
    }

    #[test]
    fn router_messages_are_read() {
        let solicitation = [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6];
        assert_eq!(router(&solicitation).unwrap().1[0].1, "010203040506");
        let mut advertisement = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        advertisement.extend([5, 1, 0, 0, 0, 0, 5, 120]);
        let (title, fields) = router(&advertisement).unwrap();
        assert_eq!((title.as_str(), fields[0].1.as_str()), ("Router Advertisement", "lifetime 1800 s, hop limit 64, flags 0x00"));
        assert_eq!(fields[1], ("MTU".into(), "1400".into()));
        assert_eq!(router(&[133, 0, 0, 0, 0, 0, 0, 0, 1, 0]), None, "an option without length");
    }

    #[test]
    fn what_is_cut_short_is_told_as_a_packet() {
        for bytes in [&[][..], &[0x45], &[0x60, 0, 0]] {
            assert!(told(bytes).0.starts_with("a packet for the gateway"));
        }
        let (_, fields) = dhcpv6(&[11, 0, 0, 1, 0, 6, 0, 2, 0, 23]).unwrap();
        assert_eq!(fields, [("Option Request".to_owned(), "23".to_owned())]);
        assert_eq!(dhcpv6(&[11, 0, 0, 1, 0, 6, 0, 9, 0]), None);
    }
}
