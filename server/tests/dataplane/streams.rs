//! The engine processes of the stream cases: a gateway that adopts every TLS connection, and a client that opens some. No HTTP, no call, no
//! PPP: what they would exchange is said by the test. Driven as [`crate::engine`].
use crate::engine::{ANSWER, configure, hex, show, totals_line, unhex};
use evergate::dataplane::{
    Dataplane, DataplaneConfig, DataplaneHandle, IkeDatagram, Role, Selector, StreamEvent, StreamSpec, StreamTunnel,
};
use net::tun::TunQueue;
use pki::Credential;
use sstp_client::data::{self, Body, Fill, Framing, Piece, Stop};
use sstp_client::transport::{Ciphers, Options, ProxyHeader, Received, Transport, Versions};
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::{Connection, ServerSettings, Status};
use tokio::sync::mpsc::{Receiver, channel};

const PORT: u16 = 443;
const BARE_PORT: u16 = 444;
const BARE_CHUNK: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

fn answer_lines(mut order: impl FnMut(&[&str]) -> String) {
    println!("{ANSWER}ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        println!("{ANSWER}{}", order(&line.split(' ').collect::<Vec<_>>()));
    }
}

pub(crate) fn run_gateway(address: &str) {
    let config = DataplaneConfig { tun: "inner".to_owned(), threads: 2, ..DataplaneConfig::default() };
    let (ike, _nobody) = channel::<IkeDatagram>(1);
    let (events_tx, mut events) = channel(256);
    let plane = Dataplane::start_with_streams(config, ike, events_tx).unwrap();
    configure(plane.interface().index, Role::Gateway);
    let handle = plane.handle();
    let listener = TcpListener::bind(SocketAddr::new(address.parse().unwrap(), PORT)).unwrap();
    let adopter = handle.clone();
    std::thread::spawn(move || accept(&listener, &adopter));
    let bare = TcpListener::bind(SocketAddr::new(address.parse().unwrap(), BARE_PORT)).unwrap();
    std::thread::spawn(move || serve_bare(&bare));
    answer_lines(|words| gateway_order(&handle, &mut events, words));
}

/// TLS without a tunnel, for comparison: the first byte says whether the client wants to send or to receive.
fn serve_bare(listener: &TcpListener) {
    let settings = settings();
    for socket in listener.incoming() {
        let StreamSpec { mut socket, mut tls, mut early, .. } = handshake(0, socket.unwrap(), settings.clone()).unwrap();
        let (mut records, mut out) = (vec![0; 256 << 10], vec![0; Connection::sealed_len(BARE_CHUNK)]);
        loop {
            if early.first() == Some(&b'd') {
                let sealed = tls.seal(&[0x55; BARE_CHUNK], &mut out).unwrap();
                if socket.write_all(&out[..sealed]).is_err() {
                    break;
                }
                continue;
            }
            early.truncate(1);
            let held = tls.held().len();
            records[..held].copy_from_slice(tls.held());
            match socket.read(&mut records[held..]) {
                Ok(length @ 1..) => drop(tls.open(&mut records[..held + length], &mut early, &mut Vec::new()).unwrap()),
                _ => break,
            }
        }
    }
}

/// Sessions count from 1.
fn accept(listener: &TcpListener, handle: &DataplaneHandle) {
    let settings = settings();
    for (session, socket) in (1..).zip(listener.incoming()) {
        if let Some(spec) = handshake(session, socket.unwrap(), settings.clone()) {
            handle.adopt(spec).unwrap();
        }
    }
}

fn settings() -> Arc<ServerSettings> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["vpn.example.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let credential = Credential::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    Arc::new(ServerSettings::new(vec![credential.clone().into()]).unwrap())
}

fn handshake(session: u64, mut socket: TcpStream, settings: Arc<ServerSettings>) -> Option<StreamSpec> {
    let mut tls = Connection::new(settings, None);
    let mut early = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = socket.read(&mut buffer).ok().filter(|length| *length > 0)?;
        let mut out = Vec::new();
        let status = tls.receive(&buffer[..length], &mut early, &mut out).ok()?;
        socket.write_all(&out).ok()?;
        if status == Status::Open {
            return Some(StreamSpec { session, socket, tls, early, one_packet_a_record: false });
        }
    }
}

fn gateway_order(handle: &DataplaneHandle, events: &mut Receiver<StreamEvent>, words: &[&str]) -> String {
    let number = |word: &str| word.parse::<u64>().unwrap();
    match *words {
        // open SESSION MTU LEASE.. [only ADDRESS]
        ["open", session, mtu, ref rest @ ..] => {
            let (leases, only) = rest.split_at(rest.iter().position(|word| *word == "only").unwrap_or(rest.len()));
            let inner = leases.iter().map(|lease| lease.parse().unwrap()).collect::<Vec<IpAddr>>().into();
            let allowed = only.get(1).map(|address| address.parse::<IpAddr>().unwrap());
            let selector = |address| Selector { protocol: 0, start_port: 0, end_port: u16::MAX, start: address, end: address };
            let allowed = allowed.map(selector).into_iter().collect();
            handle.stream_open(StreamTunnel { session: number(session), inner, allowed, mtu: mtu.parse().unwrap() }).unwrap();
        }
        ["restrict", session, ref rules @ ..] => handle.restrict(number(session), crate::engine::restrictions(rules)).unwrap(),
        ["dropped", session] => return crate::engine::dropped(handle, number(session)),
        ["send", session, packet] => handle.stream_send(number(session), unhex(packet)).unwrap(),
        ["inner", session, packet] => handle.send_inner(number(session), unhex(packet)).unwrap(),
        ["close", session] => handle.stream_close(number(session)).unwrap(),
        ["forget", session] => handle.forget(number(session)),
        ["heard", session] => return handle.last_heard(number(session)).map_or("never".into(), |at| at.elapsed().as_millis().to_string()),
        ["event"] => {
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if let Ok(event) = events.try_recv() {
                    return show(&event);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            return "nothing".into();
        }
        ["counters", session] => {
            let Some(counters) = handle.counters(number(session)) else { return "none".into() };
            return format!("{} {} {} {}", counters.packets_in, counters.octets_in, counters.packets_out, counters.octets_out);
        }
        // Datagrams to a client, as fast as they can be sent.
        ["flood", to, count] => {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            (0..number(count)).for_each(|_| assert_eq!(socket.send_to(&[0; 1300], (to, 9)).unwrap(), 1300));
        }
        ["totals"] => return totals_line(&handle.totals()),
        _ => panic!("order {words:?}"),
    }
    "done".to_owned()
}

/// SSTP data packets; control packets are thrown away.
#[derive(Debug)]
struct Sstp;

impl Framing for Sstp {
    fn peek(&self, bytes: &[u8]) -> sstp_client::error::Result<Option<Piece>> {
        Ok(match *bytes {
            [_, 0, high, low, _, _, _, 0x21 | 0x57, ..] => Some(Piece { len: length(high, low), body: Body::Packet(8) }),
            [_, _, high, low, _, _, _, _, ..] => Some(Piece { len: length(high, low), body: Body::Control }),
            _ => None,
        })
    }
    fn header(&self, ipv6: bool, len: usize, out: &mut [u8]) -> usize {
        let [high, low] = (len as u16 + 8).to_be_bytes();
        out[..8].copy_from_slice(&[0x10, 0, high, low, 0xff, 0x03, 0x00, if ipv6 { 0x57 } else { 0x21 }]);
        8
    }
    fn control(&mut self, _: &[u8], _: &mut Vec<Vec<u8>>) -> sstp_client::error::Result<()> {
        Ok(())
    }
}

fn length(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high, low]) & 0x0fff)
}

struct Client {
    server: SocketAddr,
    /// By session less 1; `None`: its thread has it.
    connections: Vec<Option<Transport>>,
    tun: Arc<TunQueue>,
    /// Running data paths: the end of each with what it said.
    running: Vec<(Stop, std::thread::JoinHandle<String>)>,
}

pub(crate) fn run_client(address: &str) {
    let tun = net::tun::open("inner", 1).unwrap();
    configure(tun.index, Role::Client);
    let tun = Arc::new(tun.queues.into_iter().next().unwrap());
    let server = SocketAddr::new(address.parse().unwrap(), PORT);
    let mut client = Client { server, connections: Vec::new(), tun, running: Vec::new() };
    answer_lines(|words| client.order(words));
}

impl Client {
    fn order(&mut self, words: &[&str]) -> String {
        match *words {
            ["connect", versions] => self.connect(versions),
            // Each word is a record.
            ["send", session, ref records @ ..] => {
                let connection = self.connection(session);
                for record in records {
                    if let Err(error) = connection.send(&unhex(record)) {
                        return error.to_string();
                    }
                }
            }
            ["receive", session, least] => return self.receive(session, least.parse().unwrap()),
            ["close", session] => self.connection(session).close(),
            ["drop", session] => drop(self.connections[session.parse::<usize>().unwrap() - 1].take()),
            ["run", session, fill] => self.run(session, if fill == "one" { Fill::One } else { Fill::Many }),
            ["bare", versions, direction, seconds] => return self.bare(versions, direction == "down", seconds.parse().unwrap()),
            ["stop"] => {
                let ends = self.running.drain(..).map(|(stop, join)| {
                    stop.stop();
                    join.join().unwrap()
                });
                return ends.collect::<Vec<_>>().join("; ");
            }
            _ => panic!("order {words:?}"),
        }
        "done".to_owned()
    }

    fn connection(&mut self, session: &str) -> &mut Transport {
        self.connections[session.parse::<usize>().unwrap() - 1].as_mut().expect("a connection that does not run")
    }

    fn connect(&mut self, versions: &str) {
        self.connections.push(Some(Transport::connect(&self.options(versions)).unwrap()));
    }

    fn options(&self, versions: &str) -> Options {
        Options {
            server: self.server,
            server_name: "vpn.example.test".into(),
            ca: None,
            sni: true,
            versions: if versions == "1.2" { Versions::Tls12 } else { Versions::Tls13 },
            ciphers: Ciphers::Any,
            alpn: true,
            plain: false,
            proxy: ProxyHeader::Off,
            proxy_source: None,
            timeout: PATIENCE,
        }
    }

    /// Gbit/s of TLS without a tunnel.
    fn bare(&self, versions: &str, down: bool, seconds: u64) -> String {
        let mut options = self.options(versions);
        options.server.set_port(BARE_PORT);
        let mut transport = Transport::connect(&options).unwrap();
        transport.send(if down { b"d" } else { b"u" }).unwrap();
        let (start, mut bytes) = (Instant::now(), 0);
        let deadline = start + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if down {
                transport.receive(deadline).unwrap();
                bytes += transport.incoming.len();
                transport.incoming.clear();
            } else {
                transport.send(&[0x55; BARE_CHUNK]).unwrap();
                bytes += BARE_CHUNK;
            }
        }
        format!("{:.3}", bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
    }

    /// At least so many bytes, or how it ended.
    fn receive(&mut self, session: &str, least: usize) -> String {
        let connection = self.connection(session);
        let deadline = Instant::now() + PATIENCE;
        let mut end = String::new();
        while connection.incoming.len() < least.max(1) && end.is_empty() {
            match connection.receive(deadline).unwrap() {
                Received::Bytes => {}
                other => end = format!("{other:?}"),
            }
        }
        let taken = least.min(connection.incoming.len());
        hex(&connection.incoming.drain(..taken).collect::<Vec<_>>()) + &end
    }

    fn run(&mut self, session: &str, fill: Fill) {
        let mut transport = self.connections[session.parse::<usize>().unwrap() - 1].take().expect("a connection that does not run");
        let stop = Stop::new().unwrap();
        let (own, tun) = (stop.clone(), self.tun.clone());
        let join = std::thread::spawn(move || {
            let Transport { socket, tls, incoming, .. } = &mut transport;
            let mut engine = data::Engine::new(socket, tls.as_mut(), &tun, Sstp, fill, incoming).unwrap();
            let outcome = engine.run(&own, None);
            format!("{outcome:?}")
        });
        self.running.push((stop, join));
    }
}
