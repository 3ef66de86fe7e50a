use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use super::{in_namespace, prefix};
use crate::link::{LocalAddress, Netlink, Route, forwarding_enabled, interface_index, interface_mtu, interface_name};
use crate::tun;
use crate::udp::{UdpOptions, UdpSocket};

fn can_send(to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    UdpSocket::bind(SocketAddr::new(any, 0), &UdpOptions::default()).unwrap().send(None, to, b"x").is_ok()
}

#[test]
fn an_interface_gets_mtu_addresses_and_routes() {
    in_namespace(|| {
        let device = tun::open("evgtest0", 1).unwrap();
        assert_eq!(interface_index("evgtest0").unwrap(), device.index);
        assert_eq!(interface_name(device.index).unwrap(), "evgtest0");
        assert!(interface_name(9_999).is_err());
        let mut netlink = Netlink::open().unwrap();
        netlink.set_mtu(device.index, 1_380).unwrap();
        assert_eq!(interface_mtu("evgtest0").unwrap(), 1_380);
        netlink.set_up(device.index).unwrap();
        for address in ["10.9.0.1/24", "2001:db8:9::1/64"] {
            netlink.add_address(device.index, prefix(address)).unwrap();
            netlink.add_address(device.index, prefix(address)).unwrap();
            let expected = LocalAddress { device: device.index, address: prefix(address) };
            assert!(netlink.addresses().unwrap().contains(&expected), "{address}");
        }
        for (destination, to) in [("10.77.0.5/16", "10.77.3.3:9"), ("2001:db8:77::/48", "[2001:db8:77::9]:9")] {
            let route = Route { destination: prefix(destination), device: device.index, gateway: None, source: None, metric: Some(50) };
            assert!(!can_send(to));
            netlink.replace_route(&route).unwrap();
            netlink.replace_route(&route).unwrap();
            assert!(can_send(to));
            netlink.delete_route(&route).unwrap();
            assert!(!can_send(to));
            assert!(netlink.delete_route(&route).is_err());
        }
        netlink.delete_address(device.index, prefix("10.9.0.1/24")).unwrap();
        assert!(!netlink.addresses().unwrap().iter().any(|local| local.address == prefix("10.9.0.1/24")));
    });
}

#[test]
fn a_route_can_name_gateway_and_source() {
    in_namespace(|| {
        let device = tun::open("", 1).unwrap();
        let mut netlink = Netlink::open().unwrap();
        netlink.set_up(device.index).unwrap();
        netlink.add_address(device.index, prefix("10.9.0.1/24")).unwrap();
        netlink.add_address(device.index, prefix("10.9.0.8/24")).unwrap();
        let mut route = Route {
            destination: prefix("0.0.0.0/0"),
            device: device.index,
            gateway: Some([10, 9, 0, 2].into()),
            source: None,
            metric: None,
        };
        route.source = Some([10, 9, 0, 8].into());
        netlink.replace_route(&route).unwrap();
        let found = netlink.route_to([203, 0, 113, 9].into()).unwrap();
        assert_eq!((found.device, found.gateway, found.destination), (device.index, route.gateway, prefix("203.0.113.9/32")));
        let on_link = netlink.route_to([10, 9, 0, 7].into()).unwrap();
        assert_eq!((on_link.device, on_link.gateway), (device.index, None));
        assert_eq!(netlink.route_to("2001:db8::1".parse().unwrap()).unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        probe.connect("203.0.113.9:9").unwrap();
        assert_eq!(probe.local_addr().unwrap().ip(), IpAddr::from([10, 9, 0, 8]));
    });
}

#[test]
fn the_kernels_refusal_is_reported() {
    in_namespace(|| {
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(netlink.set_up(9_999).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        let lo = interface_index("lo").unwrap();
        let missing = netlink.delete_address(lo, prefix("192.0.2.1/32")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn forwarding_is_read_from_this_namespace() {
    in_namespace(|| {
        for (v6, path) in [(false, "/proc/sys/net/ipv4/ip_forward"), (true, "/proc/sys/net/ipv6/conf/all/forwarding")] {
            for (text, on) in [("1", true), ("0", false)] {
                std::fs::write(path, text).unwrap();
                assert_eq!(forwarding_enabled(v6).unwrap(), on);
            }
        }
    });
}
