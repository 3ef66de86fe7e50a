//! The sockets of the listeners: free before the start, held by the gateway after it.
use super::Finding;
use crate::api::types::Status;
use crate::config::Config;
use crate::sstp::{Doors, doors};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const CHECK: &str = "listener";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A socket that the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
    /// `evergate status` lists it.
    pub(super) listed: bool,
}

/// All of them.
pub(super) fn wanted(config: &Config) -> Vec<Wanted> {
    let listed = |transport, ip: &IpAddr, port| Wanted { transport, address: SocketAddr::new(*ip, port), listed: true };
    let mut all = Vec::new();
    if let Some(listener) = &config.ikev2 {
        for port in [listener.ike_port, listener.nat_port] {
            all.extend(listener.addresses.iter().map(|ip| listed(Transport::Udp, ip, port)));
        }
    }
    for door in doors(config) {
        match door {
            Doors::Tls { listener, .. } => all.extend(listener.addresses.iter().map(|ip| listed(Transport::Tcp, ip, listener.port))),
            Doors::Ike { listener, port } => all.extend(listener.addresses.iter().map(|ip| listed(Transport::Tcp, ip, port))),
        }
    }
    if !config.dynamic_clients.is_empty() {
        let server = &config.server;
        let ours = |ip: &IpAddr| Wanted { listed: false, ..listed(Transport::Udp, ip, server.dynamic_port) };
        all.extend(server.dynamic_listen.iter().map(ours));
    }
    all
}

/// Whether one of them could be had now.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) wanted: Wanted,
    pub(super) bound: Result<(), ErrorKind>,
    /// Who has it: `charon (pid 812)`.
    pub(super) holder: Option<String>,
}

pub(super) fn before(trials: &[Trial]) -> Vec<Finding> {
    trials.iter().map(judge_trial).collect()
}

fn judge_trial(trial: &Trial) -> Finding {
    let Wanted { transport, address, .. } = trial.wanted;
    let socket = format!("{} {address}", transport.word());
    match trial.bound {
        Ok(()) => Finding::ok(CHECK, format!("{socket} is free")),
        Err(ErrorKind::AddrInUse) => {
            let holder = trial.holder.as_deref().unwrap_or("a program that cannot be seen from here");
            let remedy = match transport {
                Transport::Udp => {
                    "stop that program (another IKE daemon? `systemctl disable --now strongswan`), or give it other addresses"
                }
                Transport::Tcp => "stop that program (a web server?), give it another address, or set port of this listener",
            };
            Finding::fail(CHECK, format!("{socket} is taken by {holder}"), remedy)
        }
        Err(ErrorKind::AddrNotAvailable) => Finding::fail(
            CHECK,
            format!("{socket}: no interface of this host has this address"),
            "correct addresses of the listener, or leave the key out to listen on all; `ip address` lists those of this host",
        ),
        Err(ErrorKind::PermissionDenied) => Finding::warn(
            CHECK,
            format!("{socket}: whether it is free cannot be tried without CAP_NET_BIND_SERVICE"),
            "run this as root, or as the service does",
        ),
        Err(other) => Finding::fail(CHECK, format!("{socket} cannot be bound: {other}"), "see `ip address` and `ss -lntup`"),
    }
}

pub(super) fn after(wanted: &[Wanted], status: &Status) -> Vec<Finding> {
    let held: Vec<_> = status.listeners.iter().flat_map(|listener| &listener.sockets).collect();
    let mut findings: Vec<_> = wanted
        .iter()
        .filter(|wanted| wanted.listed)
        .map(|wanted| {
            let socket = format!("{} {}", wanted.transport.word(), wanted.address);
            match held.iter().find(|held| held.address == wanted.address) {
                Some(held) => {
                    Finding::ok(CHECK, format!("{socket} is held by the gateway (pid {}), {} seen", status.pid, seen(wanted, held.packets)))
                }
                None => Finding::fail(
                    CHECK,
                    format!("{socket} is in the configuration, but the running gateway does not listen there"),
                    "restart the gateway: addresses and ports of listeners are taken at the start alone",
                ),
            }
        })
        .collect();
    findings.extend(one_sided(status));
    findings
}

fn seen(wanted: &Wanted, packets: u64) -> String {
    match wanted.transport {
        Transport::Udp => format!("{packets} datagrams"),
        Transport::Tcp => format!("{packets} connections"),
    }
}

/// Clients that all stop after IKE_SA_INIT.
fn one_sided(status: &Status) -> Option<Finding> {
    let ikev2 = status.listeners.iter().find(|listener| listener.protocol == "ikev2")?;
    let sum = |port: u16| ikev2.sockets.iter().filter(|socket| socket.address.port() == port).map(|socket| socket.packets).sum::<u64>();
    let (on_500, on_4500) = (sum(500), sum(4_500));
    (on_500 > 0 && on_4500 == 0).then(|| {
        Finding::warn(
            CHECK,
            format!("{on_500} datagrams came to udp/500 and none ever to udp/4500"),
            "open udp/4500 on every firewall and balancer on the way, to the same gateway as udp/500 (Windows shows error 809)",
        )
    })
}

/// A line of /proc/net/udp, tcp, udp6 or tcp6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// Reads such a file; of TCP, listening sockets alone.
pub(super) fn read_table(text: &str, transport: Transport) -> Vec<Bound> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = transport == Transport::Udp || fields.get(3) == Some(&"0A");
        let inode = fields.get(9)?.parse().ok()?;
        Some(Bound { address: table_address(fields.get(1)?)?, inode }).filter(|_| listens)
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// `0100007F:01F4`: words of 32 bits in the order of this machine, all of which are little-endian.
fn table_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let mut octets = [0; 16];
        for at in 0..4 {
            octets[4 * at..4 * at + 4].copy_from_slice(&word(at)?);
        }
        Ipv6Addr::from(octets).into()
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether a socket bound to `held` keeps another from `wanted`.
pub(super) fn collides(held: SocketAddr, wanted: SocketAddr) -> bool {
    let both = held.is_ipv4() == wanted.is_ipv4() && (held.ip() == wanted.ip() || wanted.ip().is_unspecified());
    // A socket of `::` may serve IPv4 too.
    held.port() == wanted.port() && (both || held.ip().is_unspecified() && (held.is_ipv4() == wanted.is_ipv4() || held.is_ipv6()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};

    fn udp(address: &str) -> Wanted {
        Wanted { transport: Transport::Udp, address: address.parse().unwrap(), listed: true }
    }

    fn trial(bound: Result<(), ErrorKind>, holder: Option<&str>) -> Finding {
        only(&before(&[Trial { wanted: udp("0.0.0.0:500"), bound, holder: holder.map(str::to_owned) }])).clone()
    }

    #[test]
    fn before_the_start_a_taken_port_names_its_holder() {
        assert_eq!(trial(Ok(()), None), Finding::ok("listener", "udp 0.0.0.0:500 is free"));
        let taken = trial(Err(ErrorKind::AddrInUse), Some("charon (pid 812)"));
        assert_eq!((taken.level, taken.text.as_str()), (Level::Fail, "udp 0.0.0.0:500 is taken by charon (pid 812)"));
        assert!(trial(Err(ErrorKind::AddrInUse), None).text.contains("cannot be seen"));
        assert_eq!(trial(Err(ErrorKind::AddrNotAvailable), None).level, Level::Fail);
        assert_eq!(trial(Err(ErrorKind::PermissionDenied), None).level, Level::Warn);
        assert_eq!(trial(Err(ErrorKind::OutOfMemory), None).level, Level::Fail);
    }

    #[test]
    fn the_tables_of_the_kernel_are_read() {
        let udp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                   1: 0100007F:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 8888 2 0 0\n";
        assert_eq!(read_table(udp, Transport::Udp), [Bound { address: "127.0.0.1:500".parse().unwrap(), inode: 8888 }]);
        assert_eq!(read_table(udp, Transport::Tcp), [], "not listening");
        let tcp6 = "head\n 0: 00000000000000000000000001000000:01BB 0:0 0A 0:0 00:0 0 0 0 77 1 0 100 0\n";
        assert_eq!(read_table(tcp6, Transport::Tcp), [Bound { address: "[::1]:443".parse().unwrap(), inode: 77 }]);
        assert_eq!(read_table("head\nrubbish\n 1: zz:1 x\n", Transport::Udp), []);
    }

    #[test]
    fn sockets_collide_over_wildcards() {
        let collide = |held: &str, wanted: &str| collides(held.parse().unwrap(), wanted.parse().unwrap());
        assert!(collide("10.0.0.1:500", "0.0.0.0:500"));
        assert!(collide("0.0.0.0:500", "10.0.0.1:500"));
        assert!(collide("[::]:500", "10.0.0.1:500"), "it may serve both families");
        assert!(!collide("10.0.0.1:500", "10.0.0.2:500"));
        assert!(!collide("0.0.0.0:500", "[::]:500"));
        assert!(!collide("0.0.0.0:4500", "0.0.0.0:500"));
    }
}
