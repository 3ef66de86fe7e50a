//! What holds for all bytes and all settings.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside their functions")]
mod common;
use autoconf::{Question, Route, Settings, answer, may_be_question, router_advertisement};
use common::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let ipv4 = (any::<Ipv4Addr>(), 0u8..=32).prop_map(|(address, len)| Route::new(address.into(), len).unwrap());
    let ipv6 = (any::<Ipv6Addr>(), 0u8..=128).prop_map(|(address, len)| Route::new(address.into(), len).unwrap());
    prop::collection::vec(prop_oneof![ipv4, ipv6], 0..120)
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let servers = (prop::collection::vec(any::<IpAddr>(), 0..90), prop::collection::vec(any::<Ipv4Addr>(), 0..70));
    let suffix = prop::option::of(prop_oneof!["[a-z]{1,63}(\\.[a-z]{1,20}){0,9}", ".*"]);
    (servers, suffix, routes(), any::<(u16, bool, bool)>()).prop_map(
        |((dns, nbns), suffix, routes, (mtu, advertise_prefix, default_route))| Settings {
            dns,
            nbns,
            suffix,
            routes,
            mtu,
            advertise_prefix,
            default_route,
            ..settings()
        },
    )
}

/// Well-formed options, so that the interesting ones are reached.
fn client_options() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![Just(55u8), Just(57), Just(60), Just(61), Just(77), any::<u8>()];
    let value = prop_oneof![
        prop::collection::vec(prop_oneof![Just(6u8), Just(15), Just(44), Just(119), Just(121), Just(249), any::<u8>()], 0..20),
        Just(b"MSFT 5.0".to_vec()),
        prop::collection::vec(any::<u8>(), 0..=255),
    ];
    let option = (code, value).prop_map(|(code, value)| [vec![code, value.len() as u8], value].concat());
    prop::collection::vec(option, 0..6).prop_map(|options| options.concat())
}

/// The longest packet that a client takes by its option 57, which may come in pieces.
fn maximum(options: &[u8]) -> Option<usize> {
    let (mut rest, mut value) = (options, vec![]);
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            _ => {
                if *code == 57 {
                    value.extend(&tail[1..=usize::from(tail[0])]);
                }
                rest = &tail[1 + usize::from(tail[0])..];
            }
        }
    }
    match *value {
        [] => Some(576),
        [high, low] => Some(usize::from(u16::from_be_bytes([high, low])).clamp(576, 1500)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), settings in any_settings()) {
        let _ = (answer(&bytes, &settings), may_be_question(&bytes));
        for packet in [
            broadcast(&bytes),
            broadcast(&[bootp(CLIENT), bytes.clone()].concat()),
            icmp6(v6("fe80::9"), v6("ff02::2"), 255, &[&[133, 0], &bytes[..]].concat()),
            udp6(v6("fe80::9"), v6("ff02::1:2"), (546, 547), &[&[11], &bytes[..]].concat()),
        ] {
            if let Ok(Some(answered)) = answer(&packet, &settings) {
                prop_assert!(may_be_question(&packet));
                prop_assert!(answered.packet.len() <= 1500);
                take(&answered.packet);
            }
        }
    }

    #[test]
    fn a_dhcp_answer_is_what_the_settings_say(options in client_options(), settings in any_settings()) {
        let packet = broadcast(&inform(&options));
        let Ok(Some(answered)) = answer(&packet, &settings) else { return Ok(()) };
        prop_assert_eq!(answered.what, Question::DhcpInform);
        let taken = take(&answered.packet);
        let limit = maximum(&options).expect("an answered question has a whole option 57");
        prop_assert!(answered.packet.len() <= limit.min(usize::from(settings.mtu.max(576))));
        let dns: Vec<u8> = settings.dns.iter().filter_map(|server| match server {
            IpAddr::V4(v4) => Some(v4.octets()),
            IpAddr::V6(_) => None,
        }).flatten().collect();
        prop_assert!(dns.starts_with(&option4(&taken.payload, 6)));
        for form in [121, 249] {
            let told = routes4(&option4(&taken.payload, form));
            let halves = settings.default_route || settings.routes.iter().any(|route| route.is_default() && route.address().is_ipv4());
            let halves = if halves { vec!["0.0.0.0/1".to_owned(), "128.0.0.0/1".to_owned()] } else { vec![] };
            let others = settings.routes.iter().filter(|route| route.address().is_ipv4() && !route.is_default());
            let all: Vec<String> = halves.into_iter().chain(others.map(|route| format!("{}/{}", route.address(), route.prefix_len()))).collect();
            let told: Vec<String> = told.into_iter().map(|(destination, _)| destination).collect();
            prop_assert!(all.starts_with(&told));
            prop_assert!(answered.left_out > 0 || told.is_empty() || told.len() == all.len());
        }
    }

    #[test]
    fn advertisements_are_whole(settings in any_settings()) {
        let packet = router_advertisement(&settings).unwrap();
        prop_assert!(packet.len() <= usize::from(settings.mtu).clamp(1280, 1500));
        let taken = take(&packet);
        let options = options_nd(&taken.payload);
        prop_assert_eq!(options.iter().any(|(kind, _)| *kind == 3), settings.advertise_prefix);
        for (_, value) in options.iter().filter(|(kind, _)| *kind == 24) {
            let mut octets = [0; 16];
            octets[..value.len() - 6].copy_from_slice(&value[6..]);
            let told = Route::new(Ipv6Addr::from(octets).into(), value[0]).unwrap();
            prop_assert!(settings.routes.contains(&told));
            prop_assert_eq!(told.address(), IpAddr::from(octets));
        }
    }

    #[test]
    fn routes_have_no_bits_beyond_their_prefix(address: IpAddr, len: u8) {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let Some(route) = Route::new(address, len) else {
            prop_assert!(len > width);
            return Ok(());
        };
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => format!("{:032b}", u32::from(v4)),
            IpAddr::V6(v6) => format!("{:0128b}", u128::from(v6)),
        };
        let (kept, cleared) = (&bits(address)[..len.into()], "0".repeat((width - len).into()));
        prop_assert_eq!(bits(route.address()), format!("{kept}{cleared}"));
    }
}
