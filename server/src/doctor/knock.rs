//! What [`super::outside`] says on the wire.
use super::outside::ciphers;
use crate::workers;
use crypto::{Random as _, SystemRandom};
use ike::wire::{Message, Payload, encode};
use ike::{Endpoint, Event, Identity, InitiatorAuth, InitiatorConfig, Input, Output, Path, Question, Timers, TrafficSelector};
use pki::{Certificate, TrustAnchors};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::{ClientConnection, ClientSettings, ServerFault};

/// Between UDP 4500's ESP and IKE (RFC 3948 section 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// All tries of one IKE_SA_INIT.
const IKE_PATIENCE: Duration = Duration::from_secs(4);
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Each of: TCP, and every read after it.
const WEB_PATIENCE: Duration = Duration::from_secs(5);
/// The whole conversation over TCP.
const WEB_LIMIT: Duration = Duration::from_secs(15);
/// The longest answer's head that is read.
const MAX_HEAD: usize = 16 << 10;

/// What became of an IKE_SA_INIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IkeAnswer {
    /// A good answer with the suite that was chosen.
    Answered {
        suite: String,
        time: Duration,
    },
    /// An answer that says no.
    Refused(String),
    Silence,
    /// The network, or the host, said so. `no_way`: this host, which has none to addresses of that family.
    Unreachable {
        no_way: bool,
        reason: String,
    },
}

/// What became of TCP, TLS and HTTP.
#[derive(Debug)]
pub(super) enum WebAnswer {
    Unreachable {
        timed_out: bool,
        /// This host has no way to addresses of that family.
        no_way: bool,
        reason: String,
    },
    TlsFailed {
        fault: ServerFault,
        shown: Vec<Certificate>,
    },
    /// `status`: the first line of the answer to SSTP_DUPLEX_POST.
    Spoke {
        version: &'static str,
        shown: Vec<Certificate>,
        status: Option<String>,
    },
}

/// Where IKE is spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub(super) remote: SocketAddr,
    /// Messages begin with the non-ESP marker there.
    pub(super) marked: bool,
}

/// Whom to believe under which name.
#[derive(Debug, Clone)]
pub(super) struct Trust<'a> {
    pub(super) host: &'a str,
    pub(super) roots: &'a Arc<TrustAnchors>,
}

/// Sends an IKE_SA_INIT at least `size` bytes long.
pub(super) fn ike(port: Port, size: usize) -> IkeAnswer {
    answer(Initiator::open(port, size, None))
}

/// Goes on to the first IKE_AUTH, with EAP and nobody's name: the gateway proves itself, and asks who this is, and that is all.
pub(super) fn prove(port: Port, trust: &Trust<'_>) -> IkeAnswer {
    answer(Initiator::open(port, 0, Some(trust)))
}

fn answer(opened: std::io::Result<Initiator>) -> IkeAnswer {
    match opened.and_then(|mut initiator| initiator.run()) {
        Ok(answer) => answer,
        Err(error) => IkeAnswer::Unreachable { no_way: has_no_way(&error), reason: error.to_string() },
    }
}

/// What this host says of a family of addresses that it has no route, no address or no protocol for.
fn has_no_way(error: &std::io::Error) -> bool {
    /// Where the kernel was started without IPv6; the standard library has no kind for it.
    const EAFNOSUPPORT: i32 = 97;
    matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable) || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// The client's half of the machine, as far as the first answer.
struct Initiator {
    endpoint: Endpoint,
    socket: UdpSocket,
    path: Path,
    marked: bool,
    size: usize,
    /// The gateway is to prove itself; else its first answer is all that is wanted.
    proves: bool,
    suite: String,
    began: Instant,
}

impl Initiator {
    fn open(Port { remote, marked }: Port, size: usize, trust: Option<&Trust<'_>>) -> std::io::Result<Self> {
        let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(remote)?;
        let path = Path::between(socket.local_addr()?, remote);
        let began = Instant::now();
        let mut endpoint = Endpoint::new(None, Box::new(SystemRandom), began);
        endpoint.handle(began, Input::Connect(Box::new(settings(path, trust))));
        Ok(Self { endpoint, socket, path, marked, size, proves: trust.is_some(), suite: String::new(), began })
    }

    fn run(&mut self) -> std::io::Result<IkeAnswer> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            while let Some(output) = self.endpoint.poll_output() {
                if let Some(answer) = self.output(output)? {
                    return Ok(answer);
                }
            }
            let left = IKE_PATIENCE.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return Ok(IkeAnswer::Silence);
            }
            let due = self.endpoint.poll_timeout().map_or(left, |(at, _)| at.saturating_duration_since(Instant::now()));
            self.socket.set_read_timeout(Some(due.min(left).max(Duration::from_millis(1))))?;
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.datagram(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.endpoint.handle(Instant::now(), Input::Timeout);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn datagram(&mut self, datagram: &[u8]) {
        let message = if self.marked { datagram.strip_prefix(&NON_ESP_MARKER) } else { Some(datagram) };
        if let Some(message) = message {
            let unix_time = jiff::Timestamp::now().as_second();
            self.endpoint.handle(Instant::now(), Input::Datagram { path: self.path, message: message.to_vec(), unix_time });
        }
    }

    /// Says goodbye, so that nobody waits for more.
    fn leave(&mut self, id: ike::AskId) -> std::io::Result<()> {
        self.endpoint.handle(Instant::now(), Input::Answer(id, ike::Answer::EapPeer { packet: None, msk: None }));
        while let Some(output) = self.endpoint.poll_output() {
            if let Output::Transmit { message, .. } = output {
                let marker: &[u8] = if self.marked { &NON_ESP_MARKER } else { &[] };
                self.socket.send(&[marker, &message].concat())?;
            }
        }
        Ok(())
    }

    /// `Some`: this is how it ended.
    fn output(&mut self, output: Output) -> std::io::Result<Option<IkeAnswer>> {
        match output {
            Output::Transmit { message, .. } => {
                let marker: &[u8] = if self.marked { &NON_ESP_MARKER } else { &[] };
                self.socket.send(&[marker, &lengthened(message, self.size)].concat())?;
            }
            // The answer was accepted: the keys would come next.
            Output::Ask(_, _, Question::Agree { .. }) if !self.proves => {
                return Ok(Some(IkeAnswer::Answered { suite: std::mem::take(&mut self.suite), time: self.began.elapsed() }));
            }
            // Chain, name and signature were good.
            Output::Ask(id, _, Question::EapPeer { .. }) => {
                let time = self.began.elapsed();
                self.leave(id)?;
                return Ok(Some(IkeAnswer::Answered { suite: std::mem::take(&mut self.suite), time }));
            }
            Output::Ask(id, _, question) => {
                if let Some(answer) = workers::answer(question) {
                    self.endpoint.handle(Instant::now(), Input::Answer(id, answer));
                }
            }
            Output::Event(_, Event::IkeProposals { accepted: Some(accepted), .. }) => self.suite = accepted,
            Output::Event(_, Event::Closed(_, failure)) => {
                return Ok(Some(IkeAnswer::Refused(failure.map_or_else(|| "it gave no reason".into(), |failure| failure.cause))));
            }
            _ => {}
        }
        Ok(None)
    }
}

/// The same message with a Vendor ID that nobody knows, so that it has `size` bytes.
fn lengthened(message: Vec<u8>, size: usize) -> Vec<u8> {
    // The header of the payload.
    let missing = size.saturating_sub(message.len() + 4);
    match Message::parse(&message) {
        Ok(parsed) if missing > 0 => {
            let vendor = Payload::Vendor(vec![0xee; missing]);
            encode(&parsed.header, &parsed.payloads.iter().cloned().chain([vendor]).collect::<Vec<_>>())
        }
        _ => message,
    }
}

/// A login that ends before it names itself.
fn settings(path: Path, trust: Option<&Trust<'_>>) -> InitiatorConfig {
    let (selectors, identity) = match path.local.ip() {
        IpAddr::V4(address) => (vec![TrafficSelector::any_ipv4()], Identity::Ipv4(address)),
        IpAddr::V6(address) => (vec![TrafficSelector::any_ipv4()], Identity::Ipv6(address)),
    };
    InitiatorConfig {
        path,
        ciphers: ciphers(),
        server_roots: trust.map_or_else(|| Arc::new(TrustAnchors::new(Vec::new())), |trust| Arc::clone(trust.roots)),
        server_name: trust.map(|trust| trust.host.to_owned()).unwrap_or_default(),
        identity,
        auth: InitiatorAuth::Eap,
        want_ipv4: true,
        want_ipv6: false,
        local_selectors: selectors.clone(),
        remote_selectors: selectors,
        initial_contact: false,
        force_encapsulation: false,
        mobike: false,
        follow_redirects: false,
        ppk: None,
        timers: Timers { retransmit_initial: RETRANSMIT, ..Timers::default() },
    }
}

/// Connects, shakes hands for `host`, and asks for SSTP.
pub(super) fn web(target: SocketAddr, host: &str, roots: &Arc<TrustAnchors>) -> WebAnswer {
    let began = Instant::now();
    let unreachable = |error: &std::io::Error| WebAnswer::Unreachable {
        timed_out: matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
        no_way: has_no_way(error),
        reason: error.to_string(),
    };
    let tcp = TcpStream::connect_timeout(&target, WEB_PATIENCE).and_then(|tcp| tcp.set_read_timeout(Some(WEB_PATIENCE)).map(|()| tcp));
    let tcp = match tcp {
        Ok(tcp) => tcp,
        Err(error) => return unreachable(&error),
    };
    let settings = ClientSettings::new(None, Arc::clone(roots), host.to_owned(), None);
    let mut out = Vec::new();
    let tls = match ClientConnection::new(&settings, jiff::Timestamp::now().as_second(), &mut out) {
        Ok(tls) => tls,
        Err(fault) => return WebAnswer::TlsFailed { fault, shown: Vec::new() },
    };
    let mut link = Link { tcp, tls, out, plain: Vec::new(), began };
    if let Err(fault) = link.shake_hands() {
        return WebAnswer::TlsFailed { fault, shown: link.tls.shown() };
    }
    let (version, shown) = (link.tls.version(), link.tls.shown());
    WebAnswer::Spoke { version, shown, status: link.ask(host).ok().flatten() }
}

struct Link {
    tcp: TcpStream,
    tls: ClientConnection,
    out: Vec<u8>,
    plain: Vec<u8>,
    began: Instant,
}

impl Link {
    fn shake_hands(&mut self) -> Result<(), ServerFault> {
        self.flush()?;
        while self.tls.is_handshaking() {
            if !self.read()? {
                return Err(ServerFault::Broken("the other end closed the connection".into()));
            }
        }
        Ok(())
    }

    /// The status line.
    fn ask(&mut self, host: &str) -> Result<Option<String>, ServerFault> {
        let mut correlation = [0; 16];
        SystemRandom.fill(&mut correlation);
        self.tls.send(&sstp::http::request(host, &correlation), &mut self.out)?;
        self.flush()?;
        while !self.plain.windows(4).any(|four| four == b"\r\n\r\n") && self.plain.len() < MAX_HEAD && self.read()? {}
        let line = self.plain.split(|byte| *byte == b'\r').next().filter(|line| !line.is_empty());
        let line = line.map(|line| String::from_utf8_lossy(line).into_owned());
        self.tls.close(&mut self.out);
        // It has said what was asked.
        self.flush().ok();
        Ok(line)
    }

    /// False: closed.
    fn read(&mut self) -> Result<bool, ServerFault> {
        if self.began.elapsed() > WEB_LIMIT {
            return Err(ServerFault::Broken("it takes too long".into()));
        }
        let mut buffer = [0; 16 << 10];
        let length = self.tcp.read(&mut buffer).map_err(|error| broken(&error))?;
        let open = self.tls.receive(&buffer[..length], &mut self.plain, &mut self.out);
        // Also after an error: the alert.
        self.flush()?;
        Ok(open? && length > 0)
    }

    fn flush(&mut self) -> Result<(), ServerFault> {
        let written = self.tcp.write_all(&self.out).map_err(|error| broken(&error));
        self.out.clear();
        written
    }
}

fn broken(error: &std::io::Error) -> ServerFault {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ServerFault::Broken("no answer".into()),
        _ => ServerFault::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_at_a_port_is_told_from_silence() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(ike(Port { remote: gone, marked: false }, 0), IkeAnswer::Unreachable { no_way: false, .. }));
        let roots = Arc::new(TrustAnchors::new(Vec::new()));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(web(closed, "vpn.example.com", &roots), WebAnswer::Unreachable { timed_out: false, no_way: false, .. }));
        let missing = [ErrorKind::NetworkUnreachable.into(), ErrorKind::AddrNotAvailable.into(), std::io::Error::from_raw_os_error(97)];
        assert!(missing.iter().all(has_no_way) && !has_no_way(&ErrorKind::HostUnreachable.into()), "another hop says the latter");
    }

    #[test]
    fn a_message_is_lengthened_to_its_size() {
        let path = Path::between("192.0.2.2:500".parse().unwrap(), "192.0.2.1:500".parse().unwrap());
        let mut endpoint = Endpoint::new(None, Box::new(SystemRandom), Instant::now());
        endpoint.handle(Instant::now(), Input::Connect(Box::new(settings(path, None))));
        let message = loop {
            match endpoint.poll_output().unwrap() {
                Output::Transmit { message, .. } => break message,
                Output::Ask(id, _, question) => endpoint.handle(Instant::now(), Input::Answer(id, workers::answer(question).unwrap())),
                _ => {}
            }
        };
        let long = lengthened(message.clone(), 2_000);
        assert_eq!(long.len(), 2_000);
        let (before, after) = (Message::parse(&message).unwrap(), Message::parse(&long).unwrap());
        assert_eq!(after.payloads.iter().count(), before.payloads.iter().count() + 1);
        assert_eq!(lengthened(message.clone(), 0), message);
    }
}
