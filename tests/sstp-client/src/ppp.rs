//! The PPP link as Windows drives it: LCP with its five options, three Identifications, IPv6CP before IPCP, one counter of identifiers.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use crate::auth::{Auth, CHAP, Credentials, EAP, Method, PAP, random};
use crate::error::{Error, Result, Stage};
use crate::ncp::{ControlPacket, Ids, Opt, Wish, code, frame, read_options, write_options};
use crate::sstp::MAX_FRAME;

/// PPP protocol numbers.
pub mod protocol {
    pub const IPV4: u16 = 0x0021;
    pub const IPV6: u16 = 0x0057;
    pub const IPCP: u16 = 0x8021;
    pub const IPV6CP: u16 = 0x8057;
    pub const LCP: u16 = 0xc021;
}

const MRU: u8 = 1;
const AUTH: u8 = 3;
const MAGIC: u8 = 5;
const PFC: u8 = 7;
const ACFC: u8 = 8;
const CALLBACK: u8 = 13;
const ADDRESS: u8 = 3;
const DNS: [u8; 2] = [129, 131];
const NBNS: [u8; 2] = [130, 132];
const INTERFACE_ID: u8 = 1;

/// What the client is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to authenticate.
    pub method: Method,
    /// Who.
    pub credentials: Credentials,
    /// Computer name in the second Identification.
    pub computer: String,
    /// The third Identification.
    pub correlation: [u8; 16],
    /// Receive unit to ask for.
    pub mru: u16,
    /// Ask for IPv6.
    pub ipv6: bool,
    /// Ask for IPv4.
    pub ipv4: bool,
    /// Address to ask for instead of 0.0.0.0.
    pub address: Ipv4Addr,
}

/// What happened on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// LCP is open in both directions.
    LcpOpened,
    /// The server let us in.
    Authenticated {
        /// Key for the crypto binding, as the client sees it.
        hlak: [u8; 32],
    },
    /// IPCP is open in both directions.
    Ipv4Up,
    /// IPv6CP is open in both directions.
    Ipv6Up,
    /// The server rejected this protocol.
    Rejected(u16),
    /// An IP packet.
    Packet(Vec<u8>),
    /// Terminate-Request of the server, with its text. It is answered.
    Terminated(String),
    /// Terminate-Ack to our request.
    TerminateAck,
    /// Echo-Reply to our request.
    EchoReply,
    /// The server does not know this code of LCP.
    CodeRejected(u8),
}

/// What IPCP agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ipv4Facts {
    /// Ours.
    pub address: Option<Ipv4Addr>,
    /// The server's.
    pub peer: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// NetBIOS name servers.
    pub nbns: Vec<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Frames are dropped: the port is not up.
    Closed,
    Lcp,
    Auth,
    /// Waiting for [`Ppp::start_network`].
    Authenticated,
    Network,
}

/// The link.
#[derive(Debug)]
pub struct Ppp {
    settings: Settings,
    phase: Phase,
    ids: Ids,
    magic: [u8; 4],
    lcp: Wish,
    lcp_agreed: bool,
    naks_sent: u32,
    peer_magic: [u8; 4],
    /// Longest frame body that the server takes.
    pub peer_mru: u16,
    auth: Auth,
    /// The packet that ended authentication.
    last_word: Vec<u8>,
    ipcp: Wish,
    ipcp_agreed: bool,
    ipv6cp: Wish,
    ipv6cp_agreed: bool,
    peer: Option<Ipv4Addr>,
    /// The server's interface identifier.
    pub peer_interface: Option<[u8; 8]>,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    /// Frames dropped because the port was not up.
    pub dropped_early: u32,
    /// IP packets dropped because their protocol was not open on our side, though its negotiation was under way.
    pub packets_early: u32,
}

impl Ppp {
    /// A link that is not up.
    pub fn new(settings: Settings) -> Self {
        let magic = random::<4>();
        let lcp = [
            Opt::new(MRU, settings.mru.to_be_bytes()),
            Opt::new(MAGIC, magic),
            Opt::new(PFC, []),
            Opt::new(ACFC, []),
            Opt::new(CALLBACK, [6]),
        ];
        let address = Opt::new(ADDRESS, settings.address.octets());
        let servers = [DNS[0], NBNS[0], DNS[1], NBNS[1]].map(|kind| Opt::new(kind, [0; 4]));
        let mut interface: [u8; 8] = random();
        // The universal bit tells a made-up identifier; never zero.
        interface[0] = interface[0] & !2 | 1;
        Self {
            phase: Phase::Closed,
            ids: Ids::default(),
            magic,
            lcp: Wish::new(protocol::LCP, Stage::Lcp, lcp.into()),
            lcp_agreed: false,
            naks_sent: 0,
            peer_magic: [0; 4],
            peer_mru: 1500,
            auth: Auth::new(settings.method, settings.credentials.clone()),
            last_word: Vec::new(),
            ipcp: Wish::new(protocol::IPCP, Stage::Network, [vec![address], servers.into()].concat()),
            ipcp_agreed: false,
            ipv6cp: Wish::new(protocol::IPV6CP, Stage::Network, vec![Opt::new(INTERFACE_ID, interface)]),
            ipv6cp_agreed: false,
            peer: None,
            peer_interface: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
            dropped_early: 0,
            packets_early: 0,
            settings,
        }
    }

    /// The port is up: the first Configure-Request goes out.
    pub fn start(&mut self) {
        self.phase = Phase::Lcp;
        let request = self.lcp.request(&mut self.ids);
        self.out.push_back(request);
    }

    /// The crypto binding is sent: IPv6CP, then IPCP.
    pub fn start_network(&mut self) {
        self.phase = Phase::Network;
        if self.settings.ipv6 {
            let request = self.ipv6cp.request(&mut self.ids);
            self.out.push_back(request);
        }
        if self.settings.ipv4 {
            let request = self.ipcp.request(&mut self.ids);
            self.out.push_back(request);
        }
    }

    /// Says goodbye.
    pub fn terminate(&mut self) {
        let id = self.ids.next();
        self.out.push_back(frame(protocol::LCP, code::TERMINATE_REQUEST, id, b""));
    }

    /// Asks for an Echo-Reply.
    pub fn echo(&mut self) {
        let id = self.ids.next();
        self.out.push_back(frame(protocol::LCP, code::ECHO_REQUEST, id, &self.magic));
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the network protocols that are wanted are settled: up or rejected.
    pub fn network_settled(&self) -> bool {
        let ipv4 = !self.settings.ipv4 || self.ipcp_open() || self.ipcp.requests == 0;
        let ipv6 = !self.settings.ipv6 || self.ipv6cp_open() || self.ipv6cp.requests == 0;
        self.phase == Phase::Network && ipv4 && ipv6
    }

    /// The key that will be bound, before the server has said whether it lets us in.
    pub fn early_hlak(&self) -> Option<[u8; 32]> {
        self.auth.early_hlak()
    }

    /// What IPCP agreed on.
    pub fn ipv4(&self) -> Ipv4Facts {
        let found = |kind: u8| self.ipcp.value(kind).and_then(|value| <[u8; 4]>::try_from(value).ok()).map(Ipv4Addr::from);
        let servers = |kinds: [u8; 2]| kinds.into_iter().filter_map(found).filter(|address| !address.is_unspecified()).collect();
        let address = self.ipcp_open().then(|| found(ADDRESS)).flatten();
        Ipv4Facts { address, peer: self.peer, dns: servers(DNS), nbns: servers(NBNS) }
    }

    /// Our interface identifier, when IPv6CP is open.
    pub fn interface(&self) -> Option<[u8; 8]> {
        let value = self.ipv6cp.value(INTERFACE_ID).filter(|_| self.ipv6cp_open())?;
        value.try_into().ok()
    }

    /// LCP and IPCP options that the server rejected.
    pub fn rejected(&self) -> (&[u8], &[u8]) {
        (&self.lcp.rejected, &self.ipcp.rejected)
    }

    /// Requests that LCP and IPCP took.
    pub fn requests(&self) -> (u32, u32) {
        (self.lcp.requests, self.ipcp.requests)
    }

    /// Takes a frame of the server.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<()> {
        if self.phase == Phase::Closed {
            self.dropped_early += 1;
            return Ok(());
        }
        let [0xff, 0x03, high, low, body @ ..] = bytes else {
            return Err(Error::protocol(self.stage(), format!("frame {bytes:02x?}: compressed, or too short")));
        };
        if bytes.len() > MAX_FRAME {
            return Err(Error::protocol(self.stage(), format!("a frame of {} bytes", bytes.len())));
        }
        match u16::from_be_bytes([*high, *low]) {
            protocol::LCP => self.lcp(body),
            number @ (PAP | CHAP | EAP) => self.authenticate(number, body),
            protocol::IPCP => self.network_control(protocol::IPCP, body),
            protocol::IPV6CP => self.network_control(protocol::IPV6CP, body),
            protocol::IPV4 if self.ipcp_open() => self.packet(body),
            protocol::IPV6 if self.ipv6cp_open() => self.packet(body),
            protocol::IPV4 if self.phase == Phase::Network && self.ipcp.requests > 0 => self.early_packet(),
            protocol::IPV6 if self.phase == Phase::Network && self.ipv6cp.requests > 0 => self.early_packet(),
            other => Err(Error::protocol(self.stage(), format!("a frame of protocol {other:04x}, which is not open: {bytes:02x?}"))),
        }
    }

    fn packet(&mut self, body: &[u8]) -> Result<()> {
        self.events.push_back(Event::Packet(body.to_vec()));
        Ok(())
    }

    /// As a client does whose stack does not know the protocol yet: the packet is lost.
    fn early_packet(&mut self) -> Result<()> {
        self.packets_early += 1;
        Ok(())
    }

    fn ipcp_open(&self) -> bool {
        self.ipcp.acked && self.ipcp_agreed
    }

    fn ipv6cp_open(&self) -> bool {
        self.ipv6cp.acked && self.ipv6cp_agreed
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Closed | Phase::Lcp => Stage::Lcp,
            Phase::Auth => Stage::Auth,
            Phase::Authenticated | Phase::Network => Stage::Network,
        }
    }

    fn lcp(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(packet) = ControlPacket::parse(bytes) else {
            return Err(Error::protocol(self.stage(), format!("LCP packet {bytes:02x?} is cut off")));
        };
        match packet.code {
            code::CONFIGURE_REQUEST => self.lcp_request(&packet),
            code::CONFIGURE_ACK | code::CONFIGURE_NAK | code::CONFIGURE_REJECT => {
                if self.lcp.answered(&packet)? {
                    let request = self.lcp.request(&mut self.ids);
                    self.out.push_back(request);
                }
                self.open_lcp();
                Ok(())
            }
            code::TERMINATE_REQUEST => {
                self.out.push_back(frame(protocol::LCP, code::TERMINATE_ACK, packet.id, packet.body));
                self.events.push_back(Event::Terminated(String::from_utf8_lossy(packet.body).into_owned()));
                Ok(())
            }
            code::TERMINATE_ACK => {
                self.events.push_back(Event::TerminateAck);
                Ok(())
            }
            code::PROTOCOL_REJECT => self.protocol_rejected(packet.body),
            code::ECHO_REQUEST => self.echo_request(&packet),
            code::ECHO_REPLY => {
                self.events.push_back(Event::EchoReply);
                Ok(())
            }
            code::DISCARD_REQUEST | code::IDENTIFICATION => Ok(()),
            code::CODE_REJECT if packet.body.first().is_some_and(|rejected| *rejected > code::IDENTIFICATION) => {
                self.events.push_back(Event::CodeRejected(packet.body[0]));
                Ok(())
            }
            other => Err(Error::protocol(self.stage(), format!("LCP code {other}: {bytes:02x?}"))),
        }
    }

    fn lcp_request(&mut self, packet: &ControlPacket<'_>) -> Result<()> {
        let wrong = |what: String| Error::protocol(Stage::Lcp, what);
        if self.phase != Phase::Lcp {
            return Err(wrong("Configure-Request while LCP is open".into()));
        }
        let options = read_options(packet.body).ok_or_else(|| wrong(format!("options {:02x?} do not fit", packet.body)))?;
        let unknown: Vec<Opt> = options.iter().filter(|option| ![MRU, AUTH, MAGIC, PFC, ACFC].contains(&option.kind)).cloned().collect();
        if !unknown.is_empty() {
            self.reply(protocol::LCP, code::CONFIGURE_REJECT, packet.id, &unknown);
            return Ok(());
        }
        let find = |kind: u8| options.iter().find(|option| option.kind == kind).map(|option| option.value.as_slice());
        if let Some(mru) = find(MRU) {
            let mru: [u8; 2] = mru.try_into().map_err(|_| wrong(format!("MRU option {mru:02x?}")))?;
            self.peer_mru = u16::from_be_bytes(mru);
        }
        let magic = find(MAGIC).and_then(|value| <[u8; 4]>::try_from(value).ok()).unwrap_or_default();
        if magic == [0; 4] || magic == self.magic {
            return Err(wrong(format!("magic number {magic:02x?}: missing, zero or our own")));
        }
        self.peer_magic = magic;
        let Some(demanded) = find(AUTH) else { return Err(wrong("the server demands no authentication".into())) };
        if demanded != self.settings.method.option() {
            return self.nak_authentication(packet.id, demanded);
        }
        self.reply(protocol::LCP, code::CONFIGURE_ACK, packet.id, &options);
        self.lcp_agreed = true;
        self.open_lcp();
        Ok(())
    }

    fn nak_authentication(&mut self, id: u8, demanded: &[u8]) -> Result<()> {
        self.naks_sent += 1;
        if self.naks_sent > 3 {
            let what = format!("the server insists on authentication {demanded:02x?}");
            return Err(Error::Refused { stage: Stage::Lcp, what, code: None });
        }
        self.reply(protocol::LCP, code::CONFIGURE_NAK, id, &[Opt::new(AUTH, self.settings.method.option())]);
        Ok(())
    }

    fn reply(&mut self, protocol: u16, code: u8, id: u8, options: &[Opt]) {
        self.out.push_back(frame(protocol, code, id, &write_options(options)));
    }

    fn open_lcp(&mut self) {
        if self.phase != Phase::Lcp || !self.lcp.acked || !self.lcp_agreed {
            return;
        }
        self.phase = Phase::Auth;
        let name = format!("MSRAS-0-{}", self.settings.computer);
        for text in [b"MSRASV5.20".as_slice(), name.as_bytes(), &self.settings.correlation] {
            let id = self.ids.next();
            self.out.push_back(frame(protocol::LCP, code::IDENTIFICATION, id, &[&self.magic, text].concat()));
        }
        self.out.extend(self.auth.start());
        self.events.push_back(Event::LcpOpened);
    }

    fn echo_request(&mut self, packet: &ControlPacket<'_>) -> Result<()> {
        let Some((magic, data)) = packet.body.split_first_chunk::<4>() else {
            return Err(Error::protocol(self.stage(), "Echo-Request without a magic number"));
        };
        if self.phase == Phase::Lcp || *magic != self.peer_magic && *magic != [0; 4] {
            return Err(Error::protocol(self.stage(), format!("Echo-Request before LCP is open, or with magic {magic:02x?}")));
        }
        let body = [&self.magic, data].concat();
        self.out.push_back(frame(protocol::LCP, code::ECHO_REPLY, packet.id, &body));
        Ok(())
    }

    fn protocol_rejected(&mut self, body: &[u8]) -> Result<()> {
        let Some(number) = body.first_chunk::<2>() else {
            return Err(Error::protocol(self.stage(), "Protocol-Reject without a protocol"));
        };
        let number = u16::from_be_bytes(*number);
        match number {
            protocol::IPV6CP => self.ipv6cp.requests = 0,
            protocol::IPCP => self.ipcp.requests = 0,
            _ => {}
        }
        self.events.push_back(Event::Rejected(number));
        Ok(())
    }

    fn authenticate(&mut self, number: u16, body: &[u8]) -> Result<()> {
        if self.phase > Phase::Auth && self.last_word == body {
            // Again, because our last response came again.
            return Ok(());
        }
        if self.phase != Phase::Auth {
            return Err(Error::protocol(self.stage(), format!("authentication {number:04x} out of its phase: {body:02x?}")));
        }
        let step = self.auth.handle(number, body)?;
        self.out.extend(step.frames);
        if let Some(hlak) = step.hlak {
            self.phase = Phase::Authenticated;
            self.last_word = body.to_vec();
            self.events.push_back(Event::Authenticated { hlak });
        }
        Ok(())
    }

    fn network_control(&mut self, number: u16, body: &[u8]) -> Result<()> {
        let wrong = |what: String| Error::protocol(Stage::Network, format!("protocol {number:04x}: {what}"));
        if self.phase == Phase::Authenticated {
            // Ours is not started: the server will repeat it.
            return Ok(());
        }
        if self.phase != Phase::Network {
            return Err(wrong(format!("before authentication: {body:02x?}")));
        }
        let packet = ControlPacket::parse(body).ok_or_else(|| wrong(format!("packet {body:02x?} is cut off")))?;
        match packet.code {
            code::CONFIGURE_REQUEST => self.network_request(number, &packet)?,
            code::CONFIGURE_ACK | code::CONFIGURE_NAK | code::CONFIGURE_REJECT => {
                let wish = if number == protocol::IPCP { &mut self.ipcp } else { &mut self.ipv6cp };
                if wish.answered(&packet)? {
                    let request = wish.request(&mut self.ids);
                    self.out.push_back(request);
                }
            }
            other => return Err(wrong(format!("code {other}: {body:02x?}"))),
        }
        let (open, event) = if number == protocol::IPCP { (self.ipcp_open(), Event::Ipv4Up) } else { (self.ipv6cp_open(), Event::Ipv6Up) };
        if open {
            self.events.push_back(event);
        }
        Ok(())
    }

    fn network_request(&mut self, number: u16, packet: &ControlPacket<'_>) -> Result<()> {
        let wrong = |what: String| Error::protocol(Stage::Network, format!("protocol {number:04x}: {what}"));
        let options = read_options(packet.body).ok_or_else(|| wrong(format!("options {:02x?} do not fit", packet.body)))?;
        let [option] = options.as_slice() else {
            return Err(wrong(format!("the server's request must hold its address alone: {options:02x?}")));
        };
        if number == protocol::IPCP {
            let address = <[u8; 4]>::try_from(option.value.as_slice()).ok().map(Ipv4Addr::from);
            self.peer = address.filter(|address| option.kind == ADDRESS && !address.is_unspecified());
            if self.peer.is_none() {
                return Err(wrong(format!("the server's address {option:02x?}")));
            }
            self.ipcp_agreed = true;
        } else {
            let interface = <[u8; 8]>::try_from(option.value.as_slice()).ok().filter(|value| *value != [0; 8]);
            if option.kind != INTERFACE_ID || interface.is_none() || self.ipv6cp.value(INTERFACE_ID) == Some(&option.value) {
                return Err(wrong(format!("the server's interface identifier {option:02x?}")));
            }
            self.peer_interface = interface;
            self.ipv6cp_agreed = true;
        }
        self.reply(number, code::CONFIGURE_ACK, packet.id, &options);
        Ok(())
    }
}

#[cfg(test)]
#[path = "ppp_tests.rs"]
mod tests;
