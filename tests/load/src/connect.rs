//! One tunnel that carries traffic, with the gateway's own data plane in the client's role.

use anyhow::{Context as _, bail};
use evergate::config::suite_name;
use evergate::dataplane::{self, Dataplane, DataplaneConfig, IkeDatagram, Role};
use evergate::tunnels;
use ike::{ChildSa, SessionId, TrafficSelector};
use net::link::{Netlink, Prefix, Route};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::driver::{Driver, Effect};
use crate::options::{self, NAT_PORT, Profile};
use crate::print_line;
use crate::sockets::Port;

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
    over: bool,
}

pub(crate) async fn run(options: &options::Connect) -> anyhow::Result<()> {
    let profile = Profile::load(&options.login, !options.raw_esp)?;
    let local = profile.local();
    let (ike_tx, mut messages) = mpsc::channel(IKE_QUEUE);
    let config = DataplaneConfig {
        tun: options.tun.clone(),
        listen: vec![SocketAddr::new(local, NAT_PORT)],
        raw: if options.raw_esp { vec![local] } else { Vec::new() },
        threads: options.threads,
        ..DataplaneConfig::default()
    };
    let mut connection = Connection {
        options,
        driver: Driver::new(Instant::now()),
        port: Port::ike(local).with_context(|| format!("cannot bind udp {local}:500"))?,
        plane: Dataplane::start(config, ike_tx).context("cannot start the data plane")?,
        started: Instant::now(),
        installed: None,
        session: None,
        over: false,
    };
    connection.driver.connect(connection.started, &profile, 0);
    connection.perform()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    while !connection.over {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            done = connection.turn(&mut messages, None) => done?,
        }
    }
    connection.say_goodbye(&mut messages).await
}

impl Connection<'_> {
    async fn turn(&mut self, messages: &mut mpsc::Receiver<IkeDatagram>, limit: Option<Instant>) -> anyhow::Result<()> {
        let patience = self.started + Duration::from_secs(self.options.timeout);
        let waiting = self.session.is_none();
        let tick = Instant::now() + Duration::from_secs(3600);
        let deadline = [self.driver.poll_timeout(), limit, waiting.then_some(patience)].into_iter().flatten().min().unwrap_or(tick);
        tokio::select! {
            received = self.port.recv() => {
                let (path, message) = received?;
                self.driver.datagram(Instant::now(), path, message);
            }
            Some(datagram) = messages.recv() => {
                self.driver.datagram(Instant::now(), datagram.path, datagram.bytes);
            }
            () = tokio::time::sleep_until(deadline.into()) => self.driver.timeout(Instant::now()),
        }
        if waiting && Instant::now() >= patience {
            bail!("not connected after {} s", self.options.timeout);
        }
        self.perform()
    }

    fn perform(&mut self) -> anyhow::Result<()> {
        let plane = self.plane.handle();
        while let Some(effect) = self.driver.poll_effect() {
            match effect {
                // What is not sent is sent again when no answer comes.
                Effect::Transmit { path, message } if path.local.port() == NAT_PORT => drop(plane.send_ike(path, &message)),
                Effect::Transmit { path, message } => self.port.send(path, &message),
                Effect::Install(child) => self.install(*child)?,
                Effect::UseOutbound { session, spi_in } => plane.use_outbound(session.0, spi_in)?,
                Effect::Remove { session, spi_in } => plane.remove(session.0, spi_in)?,
                Effect::Repath { session, path, encapsulate } => plane.repath(session.0, path, encapsulate)?,
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

    async fn say_goodbye(&mut self, messages: &mut mpsc::Receiver<IkeDatagram>) -> anyhow::Result<()> {
        let Some(session) = self.session else { return Ok(()) };
        let limit = Instant::now() + GOODBYE;
        self.driver.close(Instant::now(), session);
        self.perform()?;
        while !self.over && Instant::now() < limit {
            self.turn(messages, Some(limit)).await?;
        }
        Ok(())
    }
}

fn text(up: &Up) -> String {
    let addresses: Vec<String> = up.addresses.iter().map(ToString::to_string).collect();
    format!("up: {} on {}, {}, {}, after {:.0} ms", addresses.join(" "), up.device, up.ike, up.esp, up.milliseconds)
}

/// The routes that send a selector's addresses into the tunnel. A full tunnel takes two halves, which win over the default route and leave
/// it alone.
fn prefixes(selector: &TrafficSelector) -> Vec<Prefix> {
    let (IpAddr::V4(start), IpAddr::V4(end)) = (selector.start, selector.end) else { return Vec::new() };
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
