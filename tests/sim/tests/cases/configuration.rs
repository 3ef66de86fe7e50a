//! What clients ask for in their configuration payloads and what they are told, the time of an authentication included.
use super::{CLIENT, GATEWAY, Pair};
use ike::wire::{Configuration, ConfigurationAttribute as Attribute, ConfigurationKind, Payload, Payloads, attribute, notify};
use ike::{CloseReason, Command, Grant, InitiatorConfig, ResponderConfig, Timers};
use sim::{Script, Sim, ciphers, initiator, responder, timers};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const DNS4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 53);
const DNS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x53);
const WINS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 54);
const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 254);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 0xfe);
const NETWORK4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 1, 0, 0), 16);
const NETWORK6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0), 48);

/// Everything there is to tell.
fn rich(grant: Grant) -> Grant {
    Grant {
        dns: vec![DNS4.into(), DNS6.into()],
        nbns: vec![WINS],
        subnets: vec![(NETWORK4.0.into(), NETWORK4.1), (NETWORK6.0.into(), NETWORK6.1)],
        dns_domains: vec!["corp.example.test".into(), "lab.example.test".into()],
        server_ipv4: Some(SERVER4),
        server_ipv6: Some(SERVER6),
        ..grant
    }
}

fn script(sim: &mut Sim, gateway: sim::HostId) -> Script {
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    let mut script = Script::new(gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
    script.init(sim);
    script
}

/// The last IKE_AUTH response to a client that asks for these attributes.
fn told(grant: impl Fn(Grant) -> Grant, asked: &[u16]) -> Payloads {
    let Pair { mut sim, gateway, .. } = Pair::new(1, responder());
    let answers = &mut sim.host_mut(gateway).answers;
    answers.grant = grant(answers.grant.clone());
    let mut script = script(&mut sim, gateway);
    let mut wishes = script.wishes();
    let attributes = asked.iter().map(|kind| Attribute::Other { kind: *kind, value: Vec::new() }).collect();
    let request = Configuration { kind: ConfigurationKind::Request, attributes };
    wishes
        .iter_mut()
        .filter(|payload| matches!(payload, Payload::Configuration(_)))
        .for_each(|payload| *payload = Payload::Configuration(request.clone()));
    script.eap_with(&mut sim, &wishes)
}

fn attributes(payloads: &Payloads) -> Vec<Attribute> {
    let configuration = payloads.configuration().unwrap();
    assert_eq!(configuration.kind, ConfigurationKind::Reply);
    configuration.attributes.clone()
}

const LEASE4: Attribute = Attribute::Ip4Address(Some(Ipv4Addr::new(10, 99, 0, 1)));
const LEASE6: Attribute = Attribute::Ip6Address(Some((Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1), 128)));

/// ADDR DNS NBNS SRV ADDR6 DNS6 SRV6: no networks, no domains, which Windows does not want.
#[test]
fn windows() {
    let asked = [1, 3, 4, attribute::INTERNAL_IP4_SERVER, 8, 10, attribute::INTERNAL_IP6_SERVER];
    let dns = [Attribute::Ip4Dns(Some(DNS4)), Attribute::Ip6Dns(Some(DNS6))];
    let rest = [Attribute::Ip4Nbns(Some(WINS)), Attribute::Ip4Server(Some(SERVER4)), Attribute::Ip6Server(Some(SERVER6))];
    let want: Vec<_> = [LEASE4, LEASE6].into_iter().chain(dns).chain(rest).collect();
    assert_eq!(attributes(&told(rich, &asked)), want);
}

/// ADDR DHCP DNS MASK ADDR6 DHCP6 DNS6 and split DNS.
#[test]
fn apple() {
    let asked = [1, 6, 3, 2, 8, 12, 10, 25];
    let domains = ["corp.example.test", "lab.example.test"].map(|name| Attribute::DnsDomain(name.into()));
    let rest = [Attribute::Ip4Dns(Some(DNS4)), Attribute::Ip6Dns(Some(DNS6)), Attribute::Ip4Netmask(Some(Ipv4Addr::BROADCAST))];
    let want: Vec<_> = [LEASE4, LEASE6].into_iter().chain(rest).chain(domains).collect();
    assert_eq!(attributes(&told(rich, &asked)), want);
    let without_dns = told(|grant| Grant { dns: Vec::new(), ..rich(grant) }, &asked);
    assert!(!attributes(&without_dns).iter().any(|it| matches!(it, Attribute::DnsDomain(_))), "RFC 8598: no domain without a server");
}

#[test]
fn android_and_networks_for_one_family_only() {
    let both = [Attribute::Ip4Dns(Some(DNS4)), Attribute::Ip6Dns(Some(DNS6))];
    let want: Vec<_> = [LEASE4, LEASE6].into_iter().chain(both).collect();
    assert_eq!(attributes(&told(rich, &[1, 8, 3, 10])), want);
    let four = attributes(&told(rich, &[1, 3, 13, 15, attribute::INTERNAL_IP6_SERVER]));
    assert_eq!(four, [LEASE4, Attribute::Ip4Dns(Some(DNS4)), Attribute::Ip4Subnet(Some(NETWORK4))]);
    let six = attributes(&told(rich, &[8, 13, 15, 4]));
    assert_eq!(six, [LEASE6, Attribute::Ip6Dns(Some(DNS6)), Attribute::Ip6Subnet(Some(NETWORK6))]);
    let supported = attributes(&told(rich, &[1, attribute::SUPPORTED_ATTRIBUTES]));
    assert!(matches!(&supported[2], Attribute::Other { kind: 14, value } if value.len() == 26), "{supported:?}");
}

/// A delegated prefix is told to who asks for one (RFC 5739), and to nobody else.
#[test]
fn a_prefix_of_the_clients_own() {
    let prefix = (Ipv6Addr::new(0x2001, 0xdb8, 0x94, 0, 0, 0, 0, 0), 56);
    let networks = vec![(prefix.0.into(), prefix.1)];
    let delegated = |grant| Grant { delegated: vec![prefix], networks: networks.clone(), dns: Vec::new(), ..rich(grant) };
    assert_eq!(attributes(&told(delegated, &[8, attribute::INTERNAL_IP6_PREFIX])), [LEASE6, Attribute::Ip6Prefix(Some(prefix))]);
    assert_eq!(attributes(&told(delegated, &[8])), [LEASE6]);
    assert_eq!(attributes(&told(delegated, &[1, attribute::INTERNAL_IP6_PREFIX])), [LEASE4]);
}

const LIFETIME: Duration = Duration::from_secs(3600);

fn limited(grant: Grant) -> Grant {
    Grant { auth_lifetime: Some(LIFETIME), ..grant }
}

#[test]
fn auth_lifetime_is_told() {
    let answer = told(limited, &[1]);
    assert_eq!(answer.notify(notify::AUTH_LIFETIME).unwrap().data, 3600u32.to_be_bytes());
    assert!(told(|grant| grant, &[1]).notify(notify::AUTH_LIFETIME).is_none());
}

/// Rekeys do not lengthen it (RFC 4478).
#[test]
fn a_client_that_does_not_authenticate_anew() {
    let mut config: ResponderConfig = responder();
    config.timers = Timers { ike_rekey: LIFETIME / 3, child_rekey: LIFETIME / 4, ..timers() };
    let mut pair = Pair::new(1, config);
    pair.sim.host_mut(pair.gateway).answers.grant.auth_lifetime = Some(LIFETIME);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    pair.carry(LIFETIME);
    assert!(pair.gateway().rekeyed(true) > 1);
    pair.assert_up();
    pair.sim.run_for(Duration::from_secs(62));
    let reasons: Vec<_> = pair.gateway().closed().into_iter().map(|(_, reason, _)| reason).collect();
    assert_eq!(reasons, [CloseReason::SessionTimeout]);
    assert!(pair.gateway().notes().contains("AUTH_LIFETIME"), "{}", pair.gateway().notes());
    assert_eq!(pair.client().endpoint.sessions(), (0, 0), "with a DELETE");
}

/// Make before break: a second login of the same user, the same address, then the first session is deleted by the client.
#[test]
fn a_client_that_authenticates_anew() {
    let mut pair = Pair::new(1, responder());
    let answers = &mut pair.sim.host_mut(pair.gateway).answers;
    (answers.grant.auth_lifetime, answers.sticky) = (Some(LIFETIME), true);
    pair.dial(initiator(CLIENT, GATEWAY)).assert_up();
    let (first, on_gateway) = (pair.session(pair.client), pair.session(pair.gateway));
    pair.carry(LIFETIME - Duration::from_secs(300));
    pair.sim.connect(pair.client, InitiatorConfig { initial_contact: false, ..initiator(CLIENT, GATEWAY) });
    pair.carry(Duration::from_secs(2));
    assert_eq!(pair.gateway().endpoint.sessions(), (0, 2), "the old one is the client's to delete");
    let inner: Vec<_> = pair.gateway().children.values().map(|child| child.inner.clone()).collect();
    assert_eq!(inner[0], inner[1]);
    pair.sim.command(pair.client, first, Command::Close(CloseReason::Operator));
    pair.sim.run_for(Duration::from_secs(2));
    let closed = pair.gateway().closed();
    assert_eq!(closed, [(on_gateway, CloseReason::PeerDeleted, None)]);
    pair.carry(LIFETIME - Duration::from_secs(300));
    pair.assert_up();
}
