//! Questions inside the tunnel and the gateway's own advertisements.
use super::{alice, millis, secs, up, world};
use sim::sstp::{Act, Auth, Binding, CallId, Conduct, Options, World};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The sum of RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// As Windows asks after IPCP: for routes, domain and name servers.
fn dhcp_inform(client: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0; 240];
    (message[0], message[1]) = (1, 8);
    message[4..8].copy_from_slice(b"evrg");
    message[12..16].copy_from_slice(&client.octets());
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message.extend_from_slice(&[53, 1, 8, 60, 8]);
    message.extend_from_slice(b"MSFT 5.0");
    message.extend_from_slice(&[55, 3, 6, 15, 249, 255]);
    let length = (8 + message.len()) as u16;
    // Without a UDP checksum.
    let udp = [&68u16.to_be_bytes()[..], &67u16.to_be_bytes(), &length.to_be_bytes(), &[0, 0], &message].concat();
    let [high, low] = (20 + length).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 1, 0, 0, 64, 17, 0, 0];
    header.extend_from_slice(&client.octets());
    header.extend_from_slice(&[255; 4]);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [header, udp].concat()
}

fn router_solicitation(source: Ipv6Addr) -> Vec<u8> {
    let all_routers: Ipv6Addr = "ff02::2".parse().unwrap();
    let mut message = [133, 0, 0, 0, 0, 0, 0, 0];
    let sum = checksum(&[&source.octets(), &all_routers.octets(), &[0, 0, 0, 8, 0, 0, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0, 0, 8, 58, 255][..], &source.octets(), &all_routers.octets(), &message].concat()
}

/// ICMPv6 type of each packet of the gateway's own, or the IP protocol.
fn kinds(world: &World, call: CallId) -> Vec<u8> {
    world.stream(call).inner.iter().map(|packet| if packet[0] >> 4 == 6 { packet[40] } else { packet[9] }).collect()
}

#[test]
fn dhcpinform_is_answered_with_what_the_policy_says() {
    let mut world = world();
    let call = up(&mut world, alice(Auth::EapMsChapV2));
    let client = world.client(call).ipv4().unwrap();
    world.inner(call, &dhcp_inform(client));
    let answer = &world.stream(call).inner[0];
    assert_eq!((&answer[12..16], &answer[16..20]), (&[10, 9, 0, 254][..], &client.octets()[..]));
    assert_eq!((&answer[20..24], &answer[28..30]), (&[0, 67, 0, 68][..], &[2, 8][..]));
    assert_eq!(&answer[32..36], b"evrg");
    // Option 6: the name server of the policy.
    assert!(answer.windows(6).any(|window| window == [6, 4, 10, 0, 0, 53]));
    // Another's address, another's question, and nonsense.
    for packet in [dhcp_inform(Ipv4Addr::new(10, 9, 0, 99)), vec![0x45; 20], vec![], vec![0x60; 50]] {
        world.inner(call, &packet);
    }
    assert_eq!(world.stream(call).inner.len(), 1);
    world.act(call, Act::HangUp);
    world.finish();
    world.inner(call, &dhcp_inform(client));
    world.assert_empty();
}

#[test]
fn a_router_advertises_itself_soon_and_from_time_to_time() {
    let mut world = World::new(Options { ipv6: true, ..Options::default() });
    let call = up(&mut world, Conduct { ipv6: true, ..alice(Auth::MsChapV2) });
    world.run(millis(500));
    assert_eq!(kinds(&world, call), [134]);
    let advertisement = world.stream(call).inner[0].clone();
    assert_eq!((advertisement[7], &advertisement[8..10]), (255, &[0xfe, 0x80][..]));
    // Every ten minutes.
    world.run(secs(1801));
    assert_eq!(kinds(&world, call), [134; 4]);
    let source: Ipv6Addr = "fe80::1:2:3:4".parse().unwrap();
    world.inner(call, &router_solicitation(source));
    let answer = world.stream(call).inner.last().unwrap();
    assert_eq!((answer[40], &answer[24..40]), (134, &source.octets()[..]));
    world.act(call, Act::HangUp);
    world.finish();
    world.assert_empty();
}

#[test]
fn nothing_is_advertised_before_the_binding() {
    let mut world = World::new(Options { ipv6: true, ..Options::default() });
    let call = world.dial(Conduct { ipv6: true, binding: Binding::Missing, ..alice(Auth::MsChapV2) });
    world.run(secs(50));
    assert!(world.client(call).heard().contains(&"IPv6CP Configure-Ack"));
    world.finish();
    world.assert_empty();
    assert!(world.stream(call).inner.is_empty());
}

#[test]
fn a_client_without_ipv6_is_no_host_of_a_router() {
    let mut world = World::new(Options { ipv6: true, ..Options::default() });
    let call = up(&mut world, alice(Auth::MsChapV2));
    assert!(world.client(call).heard().contains(&"IPCP Configure-Ack"));
    world.run(secs(2000));
    assert!(world.stream(call).inner.is_empty());
    // Both were leased, for PPP does not say beforehand what a client wants.
    let inner: Vec<IpAddr> = vec!["10.9.0.1".parse().unwrap(), "fd09::1".parse().unwrap()];
    assert_eq!(world.stream(call).opened, Some(inner));
}
