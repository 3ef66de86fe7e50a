//! One call, held.

use net::link::Prefix;
use net::tun::TunDevice;
use serde::Serialize;
use sstp_client::call::{Call, Event, Link, Timings};
use sstp_client::data::{Counters, Engine, Stop};
use sstp_client::error::{Error, Result, Stage};
use sstp_client::inner::{Advertisement, DhcpAnswer};
use sstp_client::ppp::{self, Ipv4Facts};
use sstp_client::transport::TlsFacts;
use sstp_client::{http, inner, sstp};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::options::Connect;
use crate::{device, print};

/// MTU of SSTP on both ends.
const MTU: u32 = 1400;

/// What the call came to.
#[derive(Debug, Serialize)]
pub(crate) struct Up {
    event: &'static str,
    timings: Timings,
    tls: TlsFacts,
    http: Option<http::Response>,
    binding: Option<sstp::Hash>,
    /// Bits of the hashes that the server offered.
    offered: Option<u8>,
    ipv4: Ipv4Facts,
    interface: Option<Ipv6Addr>,
    peer_interface: Option<Ipv6Addr>,
    ipv6: Option<Ipv6Addr>,
    advertisement: Option<Advertisement>,
    dhcp: Option<DhcpAnswer>,
    dhcpv6_dns: Option<Vec<Ipv6Addr>>,
    peer_mru: u16,
    lcp_rejected: Vec<u8>,
    ipcp_rejected: Vec<u8>,
    lcp_requests: u32,
    ipcp_requests: u32,
    /// PPP frames that came before the port was up, and were lost.
    dropped_early: u32,
    /// IP packets that came before their protocol was open on our side, and were lost.
    packets_early: u32,
    device: Option<String>,
    /// Address -> echo replies.
    ping: BTreeMap<IpAddr, u16>,
    sent_pings: u16,
}

#[derive(Debug, Serialize)]
struct End {
    event: &'static str,
    /// Whether the server acknowledged CALL_DISCONNECT.
    acknowledged: bool,
    counters: Counters,
    cpu_seconds: f64,
    held_seconds: f64,
    echoes: u32,
}

pub(crate) fn run(options: &Connect, json: bool) -> Result<()> {
    let mut call = Call::establish(&options.login.options(0))?;
    let mut up = configure(&mut call, options)?;
    let device = make_device(&up, options)?;
    up.device = device.as_ref().map(|device| device.name.clone());
    ping(&mut call, &mut up, options)?;
    print(json, &up, || text(&up))?;
    let started = Instant::now();
    let (stop, deadline) = device::until(options.seconds)?;
    let counters = match &device {
        Some(device) => carry(&mut call, device, options, &stop, deadline)?,
        None => hold(&mut call, &stop, deadline)?,
    };
    let held_seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = net::thread::thread_cpu_time().map_or(0.0, |time| time.as_secs_f64());
    let acknowledged = if options.vanish { false } else { call.disconnect()? };
    let end = End { event: "end", acknowledged, counters, cpu_seconds, held_seconds, echoes: call.echoes };
    print(json, &end, || format!("ended; CALL_DISCONNECT acknowledged: {acknowledged}; {counters:?}"))
}

fn configure(call: &mut Call, options: &Connect) -> Result<Up> {
    let patience = Duration::from_secs_f64(options.configure_wait);
    let (advertisement, dhcp) = if options.no_configure { (None, None) } else { (call.solicit(patience)?, call.inform(patience)?) };
    let other = advertisement.as_ref().is_some_and(|found| found.other);
    let dhcpv6_dns = if other { call.inform_ipv6(patience)? } else { None };
    let interface = call.ppp.interface();
    let (lcp_rejected, ipcp_rejected) = call.ppp.rejected();
    let (lcp_requests, ipcp_requests) = call.ppp.requests();
    Ok(Up {
        event: "up",
        timings: call.timings,
        tls: call.transport.facts.clone(),
        http: call.http.clone(),
        binding: call.binding.map(|request| request.hash()),
        offered: call.binding.map(|request| request.mask),
        ipv4: call.ppp.ipv4(),
        interface: interface.map(inner::link_local),
        peer_interface: call.ppp.peer_interface.map(inner::link_local),
        ipv6: interface.and_then(|interface| advertisement.as_ref()?.address(interface)),
        advertisement,
        dhcp,
        dhcpv6_dns,
        peer_mru: call.ppp.peer_mru,
        lcp_rejected: lcp_rejected.to_vec(),
        ipcp_rejected: ipcp_rejected.to_vec(),
        lcp_requests,
        ipcp_requests,
        dropped_early: call.ppp.dropped_early,
        packets_early: call.ppp.packets_early,
        device: None,
        ping: BTreeMap::new(),
        sent_pings: options.count,
    })
}

fn make_device(up: &Up, options: &Connect) -> Result<Option<TunDevice>> {
    let Some(name) = &options.tun else { return Ok(None) };
    let mut addresses: Vec<Prefix> = up.ipv4.address.map(|address| Prefix::host(address.into())).into_iter().collect();
    addresses.extend(up.interface.map(|address| Prefix { address: address.into(), len: 64 }));
    addresses.extend(up.ipv6.map(|address| Prefix { address: address.into(), len: 64 }));
    let pushed = up.dhcp.iter().flat_map(|answer| &answer.routes).filter_map(|(prefix, _)| prefix.parse().ok());
    let routes: Vec<Prefix> = pushed.chain(options.route.iter().copied()).collect();
    // The global address comes first, so that it is the source of what goes through the routes.
    addresses.sort_by_key(|prefix| matches!(prefix.address, IpAddr::V6(address) if address.segments()[0] == 0xfe80));
    device::make(name, MTU, &addresses, &routes).map(Some)
}

fn ping(call: &mut Call, up: &mut Up, options: &Connect) -> Result<()> {
    for target in &options.ping {
        let behind = options.source.filter(|source| source.is_ipv4() == target.is_ipv4());
        let source = behind.or(if target.is_ipv4() { up.ipv4.address.map(IpAddr::V4) } else { up.ipv6.map(IpAddr::V6) });
        let source = source.ok_or_else(|| Error::Setup(format!("no address of our own to ping {target} from")))?;
        let answered = call.ping(source, *target, options.count, options.size, Duration::from_secs(2))?;
        up.ping.insert(*target, answered);
    }
    Ok(())
}

fn carry(call: &mut Call, device: &TunDevice, options: &Connect, stop: &Stop, deadline: Option<Instant>) -> Result<Counters> {
    let leftover = std::mem::take(&mut call.transport.incoming);
    let transport = &mut call.transport;
    let link = Link::new(&mut call.ppp, true);
    let mut engine = Engine::new(&transport.socket, transport.tls.as_mut(), &device.queues[0], link, options.fill, &leftover)?;
    engine.run(stop, deadline)?;
    Ok(engine.counters)
}

/// Answers echoes until told to stop. Packets are counted only.
pub(crate) fn hold(call: &mut Call, stop: &Stop, deadline: Option<Instant>) -> Result<Counters> {
    let mut counters = Counters::default();
    while !stop.stopped() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let tick = Instant::now() + Duration::from_millis(100);
        match call.next_event(deadline.map_or(tick, |deadline| deadline.min(tick)))? {
            Event::Timeout => {}
            Event::Ppp(ppp::Event::Packet(packet)) => {
                counters.packets_in += 1;
                counters.bytes_in += packet.len() as u64;
            }
            event => call.check(Stage::Up, event, tick).map(drop)?,
        }
    }
    Ok(counters)
}

fn text(up: &Up) -> String {
    let Timings { tcp, tls, http, ack, lcp, auth, binding, ipv6, ipcp, total } = up.timings;
    let mut lines = vec![
        format!("{} {} {}", up.tls.version, up.tls.cipher, up.tls.group),
        format!(
            "tcp {tcp} tls {tls} http {http} ack {ack} lcp {lcp} auth {auth} binding {binding} ipv6 {ipv6} ipcp {ipcp} total {total} ms"
        ),
        format!("ipv4 {:?} ipv6 {:?} peer {:?}", up.ipv4.address, up.ipv6, up.ipv4.peer),
        format!("dns {:?} nbns {:?} dhcp {:?} dhcpv6 {:?}", up.ipv4.dns, up.ipv4.nbns, up.dhcp, up.dhcpv6_dns),
    ];
    lines.extend(up.ping.iter().map(|(target, answered)| format!("{target}: {answered} of {} echo replies", up.sent_pings)));
    lines.join("\n")
}
