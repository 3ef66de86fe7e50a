//! Joins the control half with the packet engine: Child SAs become tunnels, traffic is counted per session.
use crate::api::types::DataplaneStatus;
use crate::config::Config;
use crate::dataplane::{
    self, ConnectionSpec, Dataplane, DataplaneConfig, DataplaneHandle, IkeSink, Keys, Role, Selector, Stalled, StreamEvent, StreamSink,
    StreamSpec, StreamTunnel, TunnelSpec,
};
use crate::gateway::{Inner, Plane, Traffic};
use crate::sockets::Datagram;
use crate::sstp::{Connection, Place};
use anyhow::Context as _;
use ike::{ChildKeys, ChildSa, ConnectionId, Path, SessionId, TrafficSelector};
use net::link::{Netlink, Prefix, Route};
use policy::filter::Restrictions;
use policy::network::AddressRange;
use policy::pool::{Network, PoolConfig};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;
use tokio::sync::mpsc::Sender;

/// MTU of the paths outside, as long as nothing better is known.
const PATH_MTU: u16 = 1500;

/// The engine that carries the gateway's tunnels.
#[derive(Debug)]
pub struct Tunnels {
    /// Dropping it stops the threads.
    _engine: Dataplane,
    handle: DataplaneHandle,
    mtu: u16,
    device: u32,
    /// What is routed into the device for good.
    pools: Vec<Prefix>,
    /// What is routed for a session: its address where that lies outside every pool, and the networks behind it.
    routes: BTreeMap<SessionId, Vec<Prefix>>,
    /// How many sessions each of these routes is for: a client that authenticates anew has two for a moment.
    routed: BTreeMap<Prefix, usize>,
    /// Of connections that are not logged in.
    places: BTreeMap<SessionId, Place>,
    /// Of TCP connections with IKE and ESP, until somebody on them is logged in.
    tcp_places: BTreeMap<ConnectionId, Place>,
}

impl Tunnels {
    /// Starts the engine for the gateway: TUN device, routes to the pools. Its outer sockets come with [`crate::sockets::Sockets`].
    pub fn start(config: &Config, datagrams: Sender<Datagram>, streams: Sender<StreamEvent>) -> anyhow::Result<Self> {
        let engine_config =
            DataplaneConfig { tun: config.server.tun.clone(), threads: config.server.threads, ..DataplaneConfig::default() };
        let mtu = config.server.mtu;
        let engine = Dataplane::start_with_streams(engine_config, IkeQueue(datagrams), StreamQueue(streams))
            .context("the data plane cannot start; it needs /dev/net/tun and CAP_NET_ADMIN")?;
        let pools: Vec<_> = config.pools.iter().flat_map(pool_prefixes).collect();
        let device = engine.interface().index;
        configure_device(device, mtu, &pools).with_context(|| format!("cannot configure {}", engine.interface().name))?;
        let handle = engine.handle();
        Ok(Self {
            _engine: engine,
            handle,
            mtu,
            device,
            pools,
            routes: BTreeMap::new(),
            routed: BTreeMap::new(),
            places: BTreeMap::new(),
            tcp_places: BTreeMap::new(),
        })
    }

    /// Gives a TCP connection with IKE and ESP to the engine; its path. `None`: the engine does not take it.
    pub fn adopt_tcp(&mut self, socket: TcpStream, path: Path, place: Place) -> Option<Path> {
        match self.handle.adopt_connection(ConnectionSpec { socket, local: path.local, remote: path.remote }) {
            Ok(path) => {
                self.tcp_places.extend(path.connection.map(|connection| (connection, place)));
                Some(path)
            }
            Err(stalled) => {
                tracing::error!(client = %path.remote, %stalled, "a TCP connection is lost");
                None
            }
        }
    }

    /// Routes the addresses of other pools into the device. Leases that lie in none of them any more keep a route of their own.
    ///
    /// # Errors
    /// The kernel refuses a route; then all are as they were.
    pub fn route_pools(&mut self, pools: &[PoolConfig], leases: &[(SessionId, Vec<IpAddr>)]) -> io::Result<()> {
        let pools: Vec<_> = pools.iter().flat_map(pool_prefixes).collect();
        let fresh: Vec<_> = pools.iter().copied().filter(|pool| !self.pools.contains(pool)).collect();
        let stale: Vec<_> = self.pools.iter().copied().filter(|pool| !pools.contains(pool)).collect();
        if fresh.is_empty() && stale.is_empty() {
            return Ok(());
        }
        let former = std::mem::replace(&mut self.pools, pools);
        let keep = |tunnels: &mut Self| leases.iter().try_for_each(|(session, leases)| tunnels.route_inner(*session, leases, &[]));
        let routed = self.add_routes(&fresh).and_then(|()| keep(self).map_err(io::Error::other));
        if let Err(error) = routed {
            self.pools = former;
            self.delete_routes(&fresh);
            return Err(error);
        }
        let unused = stale.into_iter().filter(|pool| !self.routed.contains_key(pool));
        self.delete_routes(&unused.collect::<Vec<_>>());
        Ok(())
    }

    fn add_routes(&self, destinations: &[Prefix]) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        destinations.iter().try_for_each(|&destination| netlink.replace_route(&route(destination, self.device)))
    }

    fn delete_routes(&self, destinations: &[Prefix]) {
        for &destination in destinations {
            if let Err(error) = Netlink::open().and_then(|mut netlink| netlink.delete_route(&route(destination, self.device))) {
                tracing::warn!(%destination, %error, "a route is left behind");
            }
        }
    }

    pub fn send_ike(&self, path: Path, message: &[u8]) {
        if let Err(error) = self.handle.send_ike(path, message) {
            tracing::debug!(remote = %path.remote, %error, "ike message not sent");
        }
    }

    /// Sockets for those addresses that are not served yet: all, or none. `listen`: of the NAT-traversal port; `raw`: for ESP as IP protocol 50.
    pub fn open(&self, listen: &[SocketAddr], raw: &[IpAddr]) -> io::Result<dataplane::Opened> {
        self.handle.open(listen, raw)
    }

    /// Serves these addresses from now on, and no others.
    pub fn serve(&self, listen: &[SocketAddr], raw: &[IpAddr], opened: dataplane::Opened) {
        if let Err(stalled) = self.handle.serve(listen, raw, opened) {
            tracing::error!(%stalled, "an order to the data plane is lost");
        }
    }

    /// Datagrams received per address on the NAT-traversal port.
    pub fn received(&self) -> Vec<(SocketAddr, u64)> {
        self.handle.received()
    }

    pub fn status(&self) -> DataplaneStatus {
        let totals = self.handle.totals();
        DataplaneStatus {
            octets_in: totals.octets_in,
            octets_out: totals.octets_out,
            packets_in: totals.packets_in,
            packets_out: totals.packets_out,
            drops: totals.drops.into_iter().map(|(name, number)| (name.to_owned(), number)).collect(),
        }
    }
}

impl Tunnels {
    /// Addresses that lie in no pool need a route of their own, and so do networks behind the client. What is routed for the session already stays.
    fn route_inner(&mut self, session: SessionId, addresses: &[IpAddr], networks: &[Network]) -> Result<(), String> {
        let outside = |address: &&IpAddr| !self.pools.iter().any(|pool| pool.contains(**address));
        let hosts = addresses.iter().filter(outside).map(|&address| (Prefix::host(address), true));
        let networks = prefixes(networks).into_iter().map(|network| (network, false));
        let routed = self.routes.get(&session).map(Vec::as_slice).unwrap_or_default();
        let missing: Vec<_> = hosts.chain(networks).filter(|(destination, _)| !routed.contains(destination)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut netlink = Netlink::open().map_err(|error| format!("no route to the client: {error}"))?;
        // What is noted here is given back at the end of the session, whatever becomes of the rest.
        let routed = self.routes.entry(session).or_default();
        for (destination, is_lease) in missing {
            let users = self.routed.get(&destination).copied().unwrap_or(0);
            let route = route(destination, self.device);
            match (users, is_lease) {
                // It may be the route of a pool that is about to go.
                (0, true) => netlink.replace_route(&route).map_err(|error| unrouted(destination, &error))?,
                (0, false) => netlink.add_route(&route).map_err(|error| unrouted(destination, &error))?,
                _ => {}
            }
            self.routed.insert(destination, users + 1);
            routed.push(destination);
        }
        Ok(())
    }

    fn unroute(&mut self, session: SessionId) {
        for destination in self.routes.remove(&session).unwrap_or_default() {
            let Some(users) = self.routed.get_mut(&destination) else { continue };
            *users -= 1;
            if *users == 0 {
                self.routed.remove(&destination);
                if !self.pools.contains(&destination) {
                    self.delete_routes(&[destination]);
                }
            }
        }
    }
}

fn unrouted(destination: Prefix, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => format!("this host has a route to {destination} already, which leads elsewhere"),
        _ => format!("no route to {destination}: {error}"),
    }
}

/// Hands SSTP packets to the control thread.
#[derive(Debug, Clone)]
struct StreamQueue(Sender<StreamEvent>);

impl StreamSink for StreamQueue {
    fn offer(&self, event: StreamEvent) -> bool {
        self.0.try_send(event).is_ok()
    }
}

/// Hands IKE messages to the control thread.
#[derive(Debug, Clone)]
struct IkeQueue(Sender<Datagram>);

impl IkeSink for IkeQueue {
    fn offer(&self, path: Path, message: &[u8]) -> bool {
        self.0.try_send(Datagram { path, message: message.to_vec() }).is_ok()
    }
}

fn configure_device(device: u32, mtu: u16, routes: &[Prefix]) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.set_mtu(device, u32::from(mtu))?;
    netlink.set_up(device)?;
    for &destination in routes {
        netlink.replace_route(&route(destination, device))?;
    }
    Ok(())
}

fn route(destination: Prefix, device: u32) -> Route {
    Route { destination, device, gateway: None, source: None, metric: None }
}

impl Plane for Tunnels {
    type Connection = Connection;

    fn restrict(&mut self, session: SessionId, restrictions: Restrictions) -> Result<(), String> {
        self.handle.restrict(session.0, restrictions).map_err(|error| error.to_string())
    }

    fn install(&mut self, child: ChildSa, networks: &[Network]) -> Result<(), String> {
        self.route_inner(child.session, &child.inner, networks)?;
        let mut spec = spec(child, Role::Gateway, self.mtu);
        spec.inner.networks = prefixes(networks);
        self.handle.install(spec).map_err(|error| error.to_string())
    }

    fn use_outbound(&mut self, session: SessionId, spi_in: u32) {
        report(session, self.handle.use_outbound(session.0, spi_in));
    }

    fn remove(&mut self, session: SessionId, spi_in: u32) {
        report(session, self.handle.remove(session.0, spi_in));
    }

    fn rest(&mut self, session: SessionId) {
        report(session, self.handle.rest(session.0));
    }

    fn repath(&mut self, session: SessionId, path: Path, encapsulate: bool) {
        report(session, self.handle.repath(session.0, path, encapsulate));
    }

    fn traffic(&self, session: SessionId) -> Traffic {
        let counters = self.handle.counters(session.0).unwrap_or_default();
        Traffic {
            octets_in: counters.octets_in,
            octets_out: counters.octets_out,
            packets_in: counters.packets_in,
            packets_out: counters.packets_out,
            filtered_in: counters.filtered_in,
            filtered_out: counters.filtered_out,
            rate_limited: counters.rate_limited,
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.handle.forget(session.0);
        self.places.remove(&session);
        self.unroute(session);
    }

    fn adopt(&mut self, session: SessionId, connection: Connection) -> Result<(), String> {
        let Connection { socket, tls, early, one_packet_a_record, place } = connection;
        if let Some(mut place) = place {
            place.end_handshake();
            self.places.insert(session, place);
        }
        let spec = StreamSpec { session: session.0, socket, tls, early, one_packet_a_record };
        self.handle.adopt(spec).map_err(|error| error.to_string())
    }

    fn stream_send(&mut self, session: SessionId, packet: Vec<u8>) {
        report(session, self.handle.stream_send(session.0, packet));
    }

    fn stream_open(&mut self, session: SessionId, inner: Inner<'_>, allowed: &[AddressRange], mtu: u16) -> Result<(), String> {
        self.route_inner(session, inner.addresses, inner.networks)?;
        let allowed = allowed.iter().map(whole).collect();
        let inner = dataplane::Inner { addresses: inner.addresses.to_vec(), networks: prefixes(inner.networks) };
        let tunnel = StreamTunnel { session: session.0, inner, allowed, mtu };
        self.places.remove(&session);
        self.handle.stream_open(tunnel).map_err(|error| error.to_string())
    }

    fn stream_hold(&mut self, session: SessionId) {
        // Without leases no packet belongs to it.
        let tunnel = StreamTunnel { session: session.0, inner: dataplane::Inner::default(), allowed: Vec::new(), mtu: self.mtu };
        report(session, self.handle.stream_open(tunnel));
    }

    fn stream_close(&mut self, session: SessionId) {
        report(session, self.handle.stream_close(session.0));
    }

    fn tcp_trust(&mut self, connection: ConnectionId) {
        if self.tcp_places.remove(&connection).is_some()
            && let Err(stalled) = self.handle.trust_connection(connection)
        {
            tracing::error!(%stalled, "an order to the data plane is lost");
        }
    }

    fn tcp_close(&mut self, connection: ConnectionId) {
        self.tcp_places.remove(&connection);
        if let Err(stalled) = self.handle.close_connection(connection) {
            tracing::error!(%stalled, "an order to the data plane is lost");
        }
    }

    fn tcp_gone(&mut self, connection: ConnectionId) {
        self.tcp_places.remove(&connection);
    }

    fn last_heard(&self, session: SessionId) -> Option<Instant> {
        self.handle.last_heard(session.0)
    }

    fn send_inner(&mut self, session: SessionId, packet: Vec<u8>) {
        report(session, self.handle.send_inner(session.0, packet));
    }

    fn own_addresses(&self) -> Result<Vec<IpAddr>, String> {
        let addresses = Netlink::open().and_then(|mut netlink| netlink.addresses());
        let addresses = addresses.map_err(|error| format!("the addresses of this host cannot be read: {error}"))?;
        Ok(addresses.into_iter().map(|local| local.address.address).collect())
    }
}

fn prefixes(networks: &[Network]) -> Vec<Prefix> {
    networks.iter().filter_map(|network| Prefix::new(network.first(), network.length())).collect()
}

/// A range of addresses, any protocol and port.
fn whole(range: &AddressRange) -> Selector {
    Selector { protocol: 0, start_port: 0, end_port: u16::MAX, start: range.start, end: range.end }
}

fn report(session: SessionId, outcome: Result<(), Stalled>) {
    if let Err(stalled) = outcome {
        tracing::error!(session = session.0, %stalled, "an order to the data plane is lost");
    }
}

/// A Child SA as the engine takes it. `mtu`: that of the TUN device.
pub fn spec(child: ChildSa, role: Role, mtu: u16) -> TunnelSpec {
    TunnelSpec {
        session: child.session.0,
        spi_in: child.spi_in,
        spi_out: child.spi_out,
        suite: child.suite.protection,
        esn: child.suite.esn,
        key_in: keys(child.key_in),
        key_out: keys(child.key_out),
        path: child.path,
        encapsulate: child.encapsulate,
        inner: dataplane::Inner { addresses: child.inner, networks: Vec::new() },
        local: child.local.iter().map(selector).collect(),
        remote: child.remote.iter().map(selector).collect(),
        mtu,
        path_mtu: PATH_MTU,
        role,
        outbound_ready: child.outbound_ready,
    }
}

fn keys(keys: ChildKeys) -> Keys {
    Keys { encryption: keys.encryption, integrity: keys.integrity }
}

fn selector(selector: &TrafficSelector) -> Selector {
    Selector {
        protocol: selector.protocol,
        start_port: selector.start_port,
        end_port: selector.end_port,
        start: selector.start,
        end: selector.end,
    }
}

/// The prefixes that cover a pool's ranges and nothing else.
fn pool_prefixes(pool: &policy::pool::PoolConfig) -> Vec<Prefix> {
    let ipv4 = pool.ipv4.iter().map(|&(start, end)| AddressRange { start: start.into(), end: end.into() });
    let ipv6 = pool.ipv6.iter().map(|&(start, end)| AddressRange { start: start.into(), end: end.into() });
    ipv4.chain(ipv6).flat_map(|range| range.prefixes()).filter_map(|(address, len)| Prefix::new(address, len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_become_routes() {
        let pool = policy::pool::PoolConfig {
            name: "users".into(),
            ipv4: vec![("10.98.0.0".parse().unwrap(), "10.98.0.255".parse().unwrap())],
            ipv6: vec![("fd98::10".parse().unwrap(), "fd98::1f".parse().unwrap())],
        };
        let prefixes: Vec<_> = pool_prefixes(&pool).iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["10.98.0.0/24", "fd98::10/124"]);
    }
}
