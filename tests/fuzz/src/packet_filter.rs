//! Packet filters of a RADIUS server: NAS-Filter-Rule, MS-Filter, MS-IPv6-Filter.
use policy::filter::microsoft::{self, Family};
use policy::filter::{Direction, Filter, MAX_RULES, Packet, Rule};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes as each of the attributes: what is read can be written and read again, and hiding what a packet shows lets no more of it pass.
pub fn packet_filter(data: &[u8]) {
    if let Ok(filter) = Filter::of_attributes(&[data.to_vec()]) {
        for rule in filter.input.rules() {
            let (direction, again) = Rule::parse(&rule.to_string()).expect("a rule is read as it was written");
            assert!(direction == Direction::In && again == *rule);
        }
        judge(&filter);
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        if let Ok(filter) = microsoft::parse(family, data) {
            judge(&filter);
        }
    }
}

fn judge(filter: &Filter) {
    assert!(filter.input.rules().len() <= MAX_RULES && filter.output.rules().len() <= MAX_RULES);
    let ends: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::new(10, 9, 0, 2).into(), Ipv4Addr::new(10, 1, 2, 3).into()),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()),
    ];
    for (source, destination) in ends {
        for protocol in [1, 6, 17, 58] {
            let (ports, icmp) = (Some((1, 443)), Some((8, 0)));
            let whole = Packet { source, destination, protocol: Some(protocol), ports, tcp_flags: Some(2), icmp, later_fragment: false };
            let hidden = Packet { ports: None, tcp_flags: None, icmp: None, ..whole };
            for direction in [Direction::In, Direction::Out] {
                let passes = |packet| filter.objection(direction, packet, &[source]).is_none();
                assert!(passes(&whole) || !passes(&hidden), "{filter:?}");
            }
        }
    }
}
