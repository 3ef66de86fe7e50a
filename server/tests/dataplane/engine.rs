//! The engine process: one side of the tunnel with fixed keys, driven by lines on its standard input, one line of answer for each.
use crypto::Zeroizing;
use crypto::cipher::{Encryption, Integrity, Sealer, Suite};
use esp::OutboundSa;
use evergate::dataplane::{
    Dataplane, DataplaneConfig, DataplaneHandle, IkeDatagram, Keys, Path, Role, Selector, SessionCounters, StreamEvent, Totals, TunnelSpec,
};
use net::link::{Netlink, Prefix, Route};
use policy::filter::{Filter, Restrictions};
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, channel};

/// `role local remote udp|esp suite`, or what [`crate::streams`] takes.
pub(crate) const ENGINE: &str = "EVERGATE_TEST_ENGINE";

/// What the parent looks for among the lines of the test harness.
pub(crate) const ANSWER: &str = "answer:";

/// Of the tunnel that is there from the start.
const SESSION: u64 = 7;

/// Sequence number without ESN from which a Child SA is reported.
pub(crate) const WORN_AT: u64 = 100;

struct Engine {
    role: Role,
    path: Path,
    encapsulate: bool,
    suite: Suite,
    handle: DataplaneHandle,
    ike: Receiver<IkeDatagram>,
    events: Receiver<StreamEvent>,
}

pub(crate) fn run(settings: &str) {
    let words: Vec<&str> = settings.split(' ').collect();
    let address = |word: &str| SocketAddr::new(word.parse().unwrap(), 4500);
    let path = Path::between(address(words[1]), address(words[2]));
    let role = if words[0] == "gateway" { Role::Gateway } else { Role::Client };
    let any: IpAddr = if path.local.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let config = DataplaneConfig {
        tun: "inner".to_owned(),
        listen: vec![SocketAddr::new(any, 4500)],
        raw: vec![any],
        threads: 2,
        worn_at: WORN_AT,
        ..DataplaneConfig::default()
    };
    let (ike_tx, ike) = channel(16);
    let (events_tx, events) = channel(16);
    let plane = Dataplane::start_with_streams(config, ike_tx, events_tx).unwrap();
    configure(plane.interface().index, role);
    let encapsulate = words[3] == "udp";
    let mut engine = Engine { role, path, encapsulate, suite: suite(words[4]), handle: plane.handle(), ike, events };
    engine.install(SESSION, 1, true);
    println!("{ANSWER}ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        println!("{ANSWER}{}", engine.order(&line));
    }
}

pub(crate) fn totals_line(totals: &Totals) -> String {
    let mut text = String::new();
    let sums = [
        ("octets_in", totals.octets_in),
        ("octets_out", totals.octets_out),
        ("packets_in", totals.packets_in),
        ("packets_out", totals.packets_out),
    ];
    for (name, number) in sums.into_iter().chain(totals.drops.clone()) {
        write!(text, "{name}={number} ").unwrap();
    }
    text
}

/// Rules with `;` between them, in words.
pub(crate) fn restrictions(rules: &[&str]) -> Restrictions {
    let text = rules.join(" ");
    let rules: Vec<_> = text.split(';').filter(|rule| !rule.is_empty()).collect();
    let filter = Filter::parse("test", rules.iter().copied(), [None; 2]).unwrap();
    let filters = if rules.is_empty() { Vec::new() } else { vec![Arc::new(filter)] };
    Restrictions { filters, ..Restrictions::default() }
}

/// What the filters of a session dropped, from the client and to it.
pub(crate) fn dropped(handle: &DataplaneHandle, session: u64) -> String {
    let counters = handle.counters(session).unwrap();
    format!("{} {}", counters.filtered_in, counters.filtered_out)
}

/// An event as one line.
pub(crate) fn show(event: &StreamEvent) -> String {
    match event {
        StreamEvent::Packet { session, packet } => format!("{session} packet {}", hex(packet)),
        StreamEvent::Inner { session, packet } => format!("{session} inner {}", hex(packet)),
        StreamEvent::Worn { session, spi_in } => format!("{session} worn {spi_in:08x}"),
        StreamEvent::Moved { session, path } => format!("{session} moved {} -> {}", path.remote, path.local),
        StreamEvent::Wanted { session } => format!("{session} wanted"),
        StreamEvent::ConnectionClosed { connection, cause } => format!("connection {} closed {cause}", connection.0),
        StreamEvent::Closed { session, cause } => format!("{session} closed {cause}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn suite(name: &str) -> Suite {
    let (encryption, integrity) = match name {
        "gcm" => (Encryption::AesGcm256, None),
        "chacha" => (Encryption::ChaCha20Poly1305, None),
        _ => (Encryption::AesCbc256, Some(Integrity::HmacSha256_128)),
    };
    Suite::new(encryption, integrity).unwrap()
}

pub(crate) fn configure(device: u32, role: Role) {
    let mut netlink = Netlink::open().unwrap();
    netlink.set_up(device).unwrap();
    let (own, routes) = match role {
        Role::Gateway => (["10.9.0.1/32", "fd09::1/128"], ["10.9.0.0/24", "fd09::/64"]),
        Role::Client => (["10.9.0.2/32", "fd09::2/128"], ["10.9.0.1/32", "fd09::1/128"]),
    };
    for address in own {
        netlink.add_address(device, address.parse::<Prefix>().unwrap()).unwrap();
    }
    for destination in routes {
        let destination = destination.parse().unwrap();
        netlink.replace_route(&Route { destination, device, gateway: None, source: None, metric: None }).unwrap();
    }
}

impl Engine {
    fn order(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["install", number] => self.install(SESSION, number.parse().unwrap(), false),
            // The client authenticates anew: another session with the same addresses.
            ["renew", number] => self.install(SESSION + 1, number.parse().unwrap(), false),
            ["renewed", number] => self.handle.use_outbound(SESSION + 1, self.spi_in(number.parse().unwrap())).unwrap(),
            ["outbound", number] => self.handle.use_outbound(SESSION, self.spi_in(number.parse().unwrap())).unwrap(),
            ["remove", number] => self.handle.remove(SESSION, self.spi_in(number.parse().unwrap())).unwrap(),
            ["rest"] => self.handle.rest(SESSION).unwrap(),
            ["repath", local, remote] => {
                let address = |word: &str| SocketAddr::new(word.parse().unwrap(), 4500);
                self.handle.repath(SESSION, Path::between(address(local), address(remote)), self.encapsulate).unwrap();
            }
            ["restrict", ref rules @ ..] => self.handle.restrict(7, restrictions(rules)).unwrap(),
            ["serve", ref addresses @ ..] => return self.serve(addresses),
            ["dropped"] => return dropped(&self.handle, 7),
            ["ike", message] => self.handle.send_ike(self.path, message.as_bytes()).unwrap(),
            ["heard"] => {
                let datagram = self.ike.blocking_recv().unwrap();
                let text = String::from_utf8_lossy(&datagram.bytes).into_owned();
                return format!("{} -> {} {text}", datagram.path.remote, datagram.path.local);
            }
            ["inner", packet] => self.handle.send_inner(SESSION, unhex(packet)).unwrap(),
            ["esp", sequence, port, content] => self.esp(sequence.parse().unwrap(), port.parse().unwrap(), content),
            ["quiet"] => return self.events.try_recv().map_or_else(|_| "quiet".to_owned(), |event| show(&event)),
            ["event"] => return show(&self.events.blocking_recv().unwrap()),
            ["totals"] => return self.totals(),
            _ => panic!("order {line:?}"),
        }
        "done".to_owned()
    }

    /// At these addresses and no others.
    fn serve(&self, addresses: &[&str]) -> String {
        let raw: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let listen: Vec<_> = raw.iter().map(|&address| SocketAddr::new(address, 4500)).collect();
        match self.handle.open(&listen, &raw) {
            Ok(opened) => self.handle.serve(&listen, &raw, opened).map_or_else(|stalled| stalled.to_string(), |()| "done".to_owned()),
            Err(error) => error.to_string(),
        }
    }

    fn totals(&self) -> String {
        // Packets may be on their way through the counters.
        let read = || (self.handle.totals(), self.handle.counters(SESSION).unwrap());
        let agree = |totals: &Totals, session: &SessionCounters| {
            (session.octets_in, session.packets_out) == (totals.octets_in, totals.packets_out)
                && (session.last_in.is_some(), session.last_out.is_some()) == (totals.packets_in > 0, totals.packets_out > 0)
        };
        let settled = std::iter::repeat_with(read).take(1000).find(|(totals, session)| agree(totals, session));
        totals_line(&settled.expect("one session has it all").0)
    }

    /// SPI of the Child SA `number` that `side` receives on.
    fn spi(role: Role, number: u8) -> u32 {
        u32::from_be_bytes([if role == Role::Gateway { 0xa0 } else { 0xb0 }, 0, number, number])
    }

    fn spi_in(&self, number: u8) -> u32 {
        Self::spi(self.role, number)
    }

    /// Sends an ESP packet of Child SA 1 past the engine, with this sequence number and from this port. It is for a link, which is nowhere.
    fn esp(&self, sequence: u64, port: u16, content: &str) {
        let keys = self.keys(self.peer(), 1);
        let sealer = Sealer::new(self.suite, &keys.encryption, &keys.integrity).unwrap();
        let sa = OutboundSa::new(Self::spi(self.peer(), 1), sealer, true);
        let inner = crate::packets::udp("10.9.0.2", "255.255.255.255", 137, 137, b"names");
        let mut packet = vec![0; sa.overhead().sealed_len(inner.len())];
        packet[sa.overhead().header_len()..][..inner.len()].copy_from_slice(&inner);
        sa.seal(sequence, &mut packet, inner.len(), 4);
        if content == "forged" {
            *packet.last_mut().unwrap() ^= 1;
        }
        let socket = UdpSocket::bind(SocketAddr::new(self.path.local.ip(), port)).unwrap();
        socket.send_to(&packet, self.path.remote).unwrap();
    }

    fn peer(&self) -> Role {
        if self.role == Role::Gateway { Role::Client } else { Role::Gateway }
    }

    fn keys(&self, receiver: Role, number: u8) -> Keys {
        Keys {
            encryption: Zeroizing::new(vec![Self::spi(receiver, number) as u8 ^ receiver as u8; self.suite.encryption_key_len()]),
            integrity: Zeroizing::new(vec![receiver as u8; self.suite.integrity_key_len()]),
        }
    }

    fn install(&self, session: u64, number: u8, outbound_ready: bool) {
        let peer = self.peer();
        let any = || {
            let whole = |start: IpAddr, end: IpAddr| Selector { protocol: 0, start_port: 0, end_port: u16::MAX, start, end };
            vec![whole([0; 4].into(), [255; 4].into()), whole([0u16; 8].into(), [u16::MAX; 8].into())]
        };
        let mut inner: Vec<IpAddr> = ["10.9.0.2", "fd09::2"].map(|text| text.parse().unwrap()).into();
        if self.role == Role::Client {
            // More than the gateway has leased to it: a client that lies.
            inner.push([10, 9, 0, 77].into());
        }
        let spec = TunnelSpec {
            session,
            spi_in: self.spi_in(number),
            spi_out: Self::spi(peer, number),
            suite: self.suite,
            esn: number == 1,
            key_in: self.keys(self.role, number),
            key_out: self.keys(peer, number),
            path: self.path,
            encapsulate: self.encapsulate,
            inner: inner.into(),
            local: any(),
            remote: any(),
            mtu: u16::MAX,
            path_mtu: 1500,
            role: self.role,
            outbound_ready,
        };
        self.handle.install(spec).unwrap();
    }
}
