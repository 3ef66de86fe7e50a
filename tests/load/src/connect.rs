//! One tunnel that carries traffic, with the gateway's own data plane in the client's role.

use anyhow::{Context as _, bail};
use evergate::config::suite_name;
use evergate::dataplane::{self, Dataplane, DataplaneConfig, IkeDatagram, Role, StreamEvent};
use evergate::tunnels;
use ike::{ChildSa, Command, Path, SessionId, TrafficSelector};
use net::link::{Netlink, Prefix, Route};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::driver::{Driver, Effect};
use crate::options::{self, NAT_PORT, Profile};
use crate::print_line;
use crate::sockets::Port;
use crate::tcp;

/// IKE messages waiting for the control thread.
const IKE_QUEUE: usize = 256;
/// MTU of the path to the gateway, in bytes.
const PATH_MTU: u16 = 1500;
/// Most that an inner packet may have, in bytes: what other clients use, too.
const INNER_MTU: u16 = 1400;
/// How long the DELETE at the end may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// The line that says that the tunnel is up.
#[derive(Debug, Serialize)]
struct Up {
    device: String,
    addresses: Vec<IpAddr>,
    server: IpAddr,
    ike: String,
    esp: &'static str,
    encapsulated: bool,
    milliseconds: f64,
}

struct Installed {
    addresses: Vec<IpAddr>,
    esp: &'static str,
    encapsulated: bool,
}

struct Connection<'a> {
    options: &'a options::Connect,
    driver: Driver,
    port: Port,
    plane: Dataplane,
    started: Instant,
    /// The first Child SA, once it is installed.
    installed: Option<Installed>,
    session: Option<SessionId>,
    profile: Profile,
    tcp: Option<tcp::Connection>,
    over: bool,
}

/// What arrives.
struct Queues {
    messages: mpsc::Receiver<IkeDatagram>,
    events: mpsc::Receiver<StreamEvent>,
    orders: mpsc::UnboundedReceiver<String>,
}

/// What became of an order, as a line.
#[derive(Debug, Serialize)]
struct Done<'a> {
    event: &'a str,
}

pub(crate) async fn run(options: &options::Connect) -> anyhow::Result<()> {
    let mut profile = Profile::load(&options.login, !options.raw_esp)?;
    let local = profile.local();
    let (ike_tx, messages) = mpsc::channel(IKE_QUEUE);
    let (events_tx, events) = mpsc::channel(IKE_QUEUE);
    let mut queues = Queues { messages, events, orders: orders(options.orders) };
    let config = DataplaneConfig {
        tun: options.tun.clone(),
        listen: vec![SocketAddr::new(local, NAT_PORT)],
        raw: if options.raw_esp { vec![local] } else { Vec::new() },
        threads: options.threads,
        ..DataplaneConfig::default()
    };
    let plane = Dataplane::start_with_streams(config, ike_tx, events_tx).context("cannot start the data plane")?;
    let tcp = options.tcp.map(|port| tcp::Connection::open(&plane.handle(), options.login.server, port)).transpose()?;
    if let Some(connection) = &tcp {
        profile.begin_on(connection.path);
    }
    let mut connection = Connection {
        options,
        driver: Driver::new(Instant::now()),
        port: Port::ike(local).with_context(|| format!("cannot bind udp {local}:500"))?,
        plane,
        started: Instant::now(),
        installed: None,
        session: None,
        profile,
        tcp,
        over: false,
    };
    connection.driver.connect(connection.started, &connection.profile, 0);
    connection.perform()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    while !connection.over {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            done = connection.turn(&mut queues, None) => done?,
        }
    }
    connection.say_goodbye(&mut queues).await
}

impl Connection<'_> {
    async fn turn(&mut self, queues: &mut Queues, limit: Option<Instant>) -> anyhow::Result<()> {
        let patience = self.started + Duration::from_secs(self.options.timeout);
        let waiting = self.session.is_none();
        let tick = Instant::now() + Duration::from_secs(3600);
        let deadline = [self.driver.poll_timeout(), limit, waiting.then_some(patience)].into_iter().flatten().min().unwrap_or(tick);
        tokio::select! {
            received = self.port.recv() => {
                let (path, message) = received?;
                self.driver.datagram(Instant::now(), path, message);
            }
            Some(datagram) = queues.messages.recv() => {
                self.driver.datagram(Instant::now(), datagram.path, datagram.bytes);
            }
            Some(event) = queues.events.recv() => self.event(&event)?,
            Some(order) = queues.orders.recv() => self.order(order.trim())?,
            () = tokio::time::sleep_until(deadline.into()) => self.driver.timeout(Instant::now()),
        }
        if waiting && Instant::now() >= patience {
            bail!("not connected after {} s", self.options.timeout);
        }
        self.perform()
    }

    /// A connection that breaks under the session is made again (RFC 9329 section 6.1).
    fn event(&mut self, event: &StreamEvent) -> anyhow::Result<()> {
        let StreamEvent::ConnectionClosed { connection, cause } = event else { return Ok(()) };
        if self.tcp.as_ref().and_then(|tcp| tcp.path.connection) != Some(*connection) {
            return Ok(());
        }
        let Some(session) = self.session else { bail!("the TCP connection is gone: {cause}") };
        self.move_to_tcp(session)
    }

    fn move_to_tcp(&mut self, session: SessionId) -> anyhow::Result<()> {
        let port = self.options.tcp.context("without --tcp there is no port to connect to")?;
        let tcp = tcp::Connection::open(&self.plane.handle(), self.options.login.server, port)?;
        let path = tcp.path;
        self.tcp = Some(tcp);
        self.move_to(session, path, "tcp")
    }

    fn move_to(&mut self, session: SessionId, path: Path, name: &str) -> anyhow::Result<()> {
        self.driver.rehome(Instant::now(), session, path);
        self.say(name)
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let session = self.session.context("an order before the tunnel is up")?;
        match order {
            "rekey-ike" => self.driver.command(Instant::now(), session, Command::RekeyIke),
            "rekey-child" => self.driver.command(Instant::now(), session, Command::RekeyChild),
            "cut" => self.tcp.as_ref().context("there is no connection to cut")?.cut()?,
            "tcp" => self.move_to_tcp(session)?,
            "udp" => {
                let path = self.profile.datagrams(NAT_PORT);
                self.tcp = None;
                self.move_to(session, path, "udp")?;
            }
            other => bail!("{other:?} is no order"),
        }
        Ok(())
    }

    fn say(&self, event: &str) -> anyhow::Result<()> {
        print_line(&if self.options.login.json { serde_json::to_string(&Done { event })? } else { event.to_owned() })
    }

    fn perform(&mut self) -> anyhow::Result<()> {
        let plane = self.plane.handle();
        while let Some(effect) = self.driver.poll_effect() {
            match effect {
                // What is not sent is sent again when no answer comes.
                Effect::Transmit { path, message } if path.local.port() == NAT_PORT => drop(plane.send_ike(path, &message)),
                Effect::Transmit { path, message } if path.connection.is_some() => drop(plane.send_ike(path, &message)),
                Effect::Transmit { path, message } => self.port.send(path, &message),
                Effect::Install(child) => self.install(*child)?,
                Effect::UseOutbound { session, spi_in } => plane.use_outbound(session.0, spi_in)?,
                Effect::Remove { session, spi_in } => plane.remove(session.0, spi_in)?,
                Effect::Repath { session, path, encapsulate } => plane.repath(session.0, path, encapsulate)?,
                Effect::Rekeyed { ike } => self.say(if ike { "rekeyed-ike" } else { "rekeyed-child" })?,
                Effect::Up { session, ike, .. } => self.up(session, ike)?,
                Effect::Closed { cause, .. } => {
                    self.over = true;
                    if self.session.take().is_none() {
                        bail!("refused: {cause}");
                    }
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, child: ChildSa) -> anyhow::Result<()> {
        if self.installed.is_none() && self.session.is_none() {
            let esp = suite_name(child.suite.protection);
            self.installed = Some(Installed { addresses: child.inner.clone(), esp, encapsulated: child.encapsulate });
            self.configure(&child)?;
        }
        self.plane.handle().install(tunnels::spec(child, Role::Client, u16::MAX))?;
        Ok(())
    }

    /// Addresses and routes. The gateway itself stays reachable outside the tunnel.
    fn configure(&self, child: &ChildSa) -> anyhow::Result<()> {
        let device = self.plane.interface().index;
        let mtu = dataplane::inner_mtu(child.suite.protection, PATH_MTU, child.path.remote.is_ipv4(), child.encapsulate).min(INNER_MTU);
        let mut netlink = Netlink::open()?;
        netlink.set_mtu(device, u32::from(mtu))?;
        netlink.set_up(device)?;
        for address in &child.inner {
            netlink.add_address(device, Prefix::host(*address)).with_context(|| format!("cannot add {address}"))?;
        }
        let server = self.options.login.server;
        let outside = netlink.route_to(server).with_context(|| format!("no route to {server}"))?;
        netlink.replace_route(&outside)?;
        for destination in child.remote.iter().flat_map(prefixes) {
            let route = Route { destination, device, gateway: None, source: None, metric: None };
            netlink.replace_route(&route).with_context(|| format!("cannot add a route to {destination}"))?;
        }
        Ok(())
    }

    fn up(&mut self, session: SessionId, ike: String) -> anyhow::Result<()> {
        self.session = Some(session);
        let installed = self.installed.take().context("the tunnel is up without a Child SA")?;
        let up = Up {
            device: self.plane.interface().name,
            addresses: installed.addresses,
            server: self.options.login.server,
            ike,
            esp: installed.esp,
            encapsulated: installed.encapsulated,
            milliseconds: self.started.elapsed().as_secs_f64() * 1000.0,
        };
        print_line(&if self.options.login.json { serde_json::to_string(&up)? } else { text(&up) })
    }

    async fn say_goodbye(&mut self, queues: &mut Queues) -> anyhow::Result<()> {
        let Some(session) = self.session else { return Ok(()) };
        let limit = Instant::now() + GOODBYE;
        self.driver.close(Instant::now(), session);
        self.perform()?;
        while !self.over && Instant::now() < limit {
            self.turn(queues, Some(limit)).await?;
        }
        Ok(())
    }
}

fn text(up: &Up) -> String {
    let addresses: Vec<String> = up.addresses.iter().map(ToString::to_string).collect();
    format!("up: {} on {}, {}, {}, after {:.0} ms", addresses.join(" "), up.device, up.ike, up.esp, up.milliseconds)
}

/// Lines of standard input; without `wanted` none.
fn orders(wanted: bool) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    if wanted {
        std::thread::spawn(move || {
            std::io::stdin().lines().map_while(Result::ok).take_while(|line| sender.send(line.clone()).is_ok()).count()
        });
    }
    receiver
}

/// The routes that send a selector's addresses into the tunnel. A full tunnel takes two halves, which win over the default route and leave
/// it alone.
fn prefixes(selector: &TrafficSelector) -> Vec<Prefix> {
    let (IpAddr::V4(start), IpAddr::V4(end)) = (selector.start, selector.end) else { return prefixes_ipv6(selector) };
    let (mut next, last) = (u64::from(u32::from(start)), u64::from(u32::from(end)));
    let mut found = Vec::new();
    while next <= last {
        // The largest aligned block that starts here and does not reach beyond the end.
        let mut bits = if next == 0 { 31 } else { next.trailing_zeros().min(31) };
        while next + (1 << bits) - 1 > last {
            bits -= 1;
        }
        // Both fit: `next` is at most `last`, an IPv4 address, and `bits` at most 31.
        found.extend(Prefix::new(Ipv4Addr::from(next as u32).into(), 32 - bits as u8));
        next += 1 << bits;
    }
    found
}

fn prefixes_ipv6(selector: &TrafficSelector) -> Vec<Prefix> {
    let range = policy::network::AddressRange { start: selector.start, end: selector.end };
    let halves = |(address, len): (IpAddr, u8)| match len {
        0 => vec![(Ipv6Addr::UNSPECIFIED.into(), 1), (Ipv6Addr::from_bits(1 << 127).into(), 1)],
        len => vec![(address, len)],
    };
    range.prefixes().into_iter().flat_map(halves).filter_map(|(address, len)| Prefix::new(address, len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> Vec<String> {
        let selector =
            TrafficSelector { protocol: 0, start_port: 0, end_port: u16::MAX, start: start.parse().unwrap(), end: end.parse().unwrap() };
        prefixes(&selector).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_range_becomes_the_fewest_prefixes() {
        assert_eq!(range("0.0.0.0", "255.255.255.255"), ["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(range("10.0.0.0", "10.255.255.255"), ["10.0.0.0/8"]);
        assert_eq!(range("10.0.0.1", "10.0.0.6"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(range("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
        assert_eq!(range("10.0.0.2", "10.0.0.1"), [""; 0]);
    }
}
