//! One call, stage by stage: TCP and TLS, HTTP, CALL_CONNECT, PPP, crypto binding, network, and what a client asks inside the tunnel.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::auth::random;
use crate::data::{Body, Framing, Piece};
use crate::error::{Closed, Error, Result, Stage};
use crate::inner::{self, Advertisement, DhcpAnswer};
use crate::ppp::{self, Ppp};
use crate::sstp::{self, Binding, BindingRequest, Control, Hash, Packet, message};
use crate::transport::{self, Received, Transport};
use crate::{http, ppp::Settings};

/// How a call is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// TCP and TLS.
    pub transport: transport::Options,
    /// PPP.
    pub ppp: Settings,
    /// HTTP request head.
    pub style: http::Style,
    /// How HTTP and SSTP packets are cut into TLS records.
    pub writes: Writes,
    /// From CALL_CONNECT_ACK until the PPP port is up: frames that come earlier are lost, as with Windows.
    pub port_delay: Duration,
    /// Longest wait of each stage.
    pub patience: Duration,
    /// Every packet to standard error, up to the end of the negotiation and of what the client asks in the tunnel.
    pub trace: bool,
}

/// How bytes are cut into TLS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Writes {
    /// One packet, one record.
    #[default]
    Whole,
    /// One byte a record, up to the end of PPP's negotiation.
    Bytes,
    /// Each packet in three records.
    Thirds,
}

/// Time of each stage, in milliseconds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Timings {
    /// TCP connected.
    pub tcp: f64,
    /// TLS handshake.
    pub tls: f64,
    /// HTTP answered.
    pub http: f64,
    /// CALL_CONNECT_ACK.
    pub ack: f64,
    /// LCP open.
    pub lcp: f64,
    /// Authenticated.
    pub auth: f64,
    /// CALL_CONNECTED sent.
    pub binding: f64,
    /// IPCP open, from the sending of its first request.
    pub ipcp: f64,
    /// IPv6CP open, from the sending of its first request.
    pub ipv6: f64,
    /// From the start until all network protocols are settled.
    pub total: f64,
}

/// Something from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of PPP.
    Ppp(ppp::Event),
    /// A control packet; echo requests are answered and not reported.
    Control(Control),
    /// The connection ended.
    Closed(Closed),
    /// The deadline passed.
    Timeout,
}

/// What is wrong about the CALL_CONNECTED.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing.
    #[default]
    Nothing,
    /// One bit of the compound MAC.
    Mac,
    /// Receive key before send key.
    KeyHalves,
    /// One bit of the nonce.
    Nonce,
    /// Hash of another certificate.
    Certificate,
    /// SHA-1, whatever was offered.
    Sha1,
    /// A hash byte that nobody offers.
    HashByte,
    /// Bound with a key of zeros.
    ZeroKey,
    /// No crypto binding attribute at all.
    Missing,
    /// The attribute is 4 bytes too short.
    Short,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    /// The connection.
    pub transport: Transport,
    /// The link.
    pub ppp: Ppp,
    /// How long each stage took.
    pub timings: Timings,
    /// What the server asked to be bound.
    pub binding: Option<BindingRequest>,
    /// The server's HTTP answer.
    pub http: Option<http::Response>,
    /// Answer echo requests of SSTP and LCP.
    pub answer_echoes: bool,
    /// SSTP echo requests of the server.
    pub echoes: u32,
    /// Send CALL_CONNECTED before the server has answered the proof of the password, as old versions of sstp-client do.
    pub connect_early: bool,
    options: Options,
    hlak: [u8; 32],
    started: Instant,
    mark: Instant,
    /// The negotiation is over: packets are not cut any more.
    whole_writes: bool,
}

impl Call {
    /// Connects TCP and TLS.
    pub fn connect(options: &Options) -> Result<Self> {
        let started = Instant::now();
        let transport = Transport::connect(&options.transport)?;
        let mut call = Self {
            ppp: Ppp::new(options.ppp.clone()),
            timings: Timings { tcp: ms(transport.tcp_time), tls: ms(transport.tls_time), ..Timings::default() },
            binding: None,
            http: None,
            answer_echoes: true,
            echoes: 0,
            connect_early: false,
            options: options.clone(),
            hlak: [0; 32],
            started,
            mark: started,
            whole_writes: false,
            transport,
        };
        call.lap();
        Ok(call)
    }

    /// All stages up to a call that carries data.
    pub fn establish(options: &Options) -> Result<Self> {
        let mut call = Self::connect(options)?;
        call.open_http()?;
        call.request()?;
        call.authenticate()?;
        call.send_connected(Tamper::Nothing)?;
        call.negotiate_network()?;
        Ok(call)
    }

    /// SSTP_DUPLEX_POST and its 200.
    pub fn open_http(&mut self) -> Result<()> {
        let head = self.http_head();
        self.write(&head)?;
        self.read_http()
    }

    /// The request head of this call.
    pub fn http_head(&self) -> Vec<u8> {
        http::request(self.options.style, &self.options.transport.server_name, &self.options.ppp.correlation)
    }

    /// Waits for the HTTP answer; anything but 200 is an error.
    pub fn read_http(&mut self) -> Result<()> {
        let head = self.read_response()?;
        http::check_accepted(&head)?;
        self.timings.http = self.lap();
        Ok(())
    }

    /// Waits for an HTTP answer, whatever it is.
    pub fn read_response(&mut self) -> Result<http::Response> {
        let deadline = self.deadline();
        loop {
            if let Some((head, length)) = http::response(&self.transport.incoming)? {
                self.transport.incoming.drain(..length);
                self.http = Some(head.clone());
                return Ok(head);
            }
            match self.transport.receive(deadline)? {
                Received::Bytes => {}
                Received::Closed(how) => return Err(Error::Closed { stage: Stage::Http, how }),
                Received::Timeout => return Err(self.timed_out(Stage::Http)),
            }
        }
    }

    /// CALL_CONNECT_REQUEST and CALL_CONNECT_ACK; then the PPP port comes up and LCP begins.
    pub fn request(&mut self) -> Result<()> {
        self.write(&sstp::CALL_CONNECT_REQUEST)?;
        self.await_ack()?;
        self.start_ppp()
    }

    /// Waits for CALL_CONNECT_ACK.
    pub fn await_ack(&mut self) -> Result<()> {
        let deadline = self.deadline();
        let control = match self.expect(Stage::Sstp, deadline)? {
            Event::Control(control) if control.kind == message::CALL_CONNECT_ACK => control,
            other => return Err(Error::protocol(Stage::Sstp, format!("{other:?} instead of CALL_CONNECT_ACK"))),
        };
        self.binding = Some(control.binding_request()?);
        self.timings.ack = self.lap();
        Ok(())
    }

    /// Drops what came glued to CALL_CONNECT_ACK, waits until the port is up, sends the first Configure-Request.
    pub fn start_ppp(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.options.port_delay;
        while let Some(packet) = self.next_packet(deadline)? {
            if let Packet::Data(frame) = sstp::parse(&packet)? {
                self.ppp.handle(&frame)?;
            }
        }
        self.ppp.start();
        self.send_frames()
    }

    /// LCP and authentication.
    pub fn authenticate(&mut self) -> Result<()> {
        let deadline = self.deadline();
        let mut stage = Stage::Lcp;
        loop {
            match self.expect(stage, deadline)? {
                Event::Ppp(ppp::Event::LcpOpened) => {
                    stage = Stage::Auth;
                    self.timings.lcp = self.lap();
                }
                Event::Ppp(ppp::Event::Authenticated { hlak }) => {
                    self.hlak = hlak;
                    self.timings.auth = self.lap();
                    return Ok(());
                }
                other => return Err(Error::protocol(stage, format!("{other:?} out of place"))),
            }
        }
    }

    /// Sends CALL_CONNECTED, with or without a fault.
    pub fn send_connected(&mut self, tamper: Tamper) -> Result<()> {
        let packet = self.call_connected(tamper)?;
        self.write(&packet)?;
        self.timings.binding = self.lap();
        Ok(())
    }

    /// The CALL_CONNECTED of this call.
    pub fn call_connected(&self, tamper: Tamper) -> Result<Vec<u8>> {
        let request = self.binding.ok_or_else(|| Error::Setup("CALL_CONNECTED needs the nonce of CALL_CONNECT_ACK".into()))?;
        let hash = if tamper == Tamper::Sha1 { Hash::Sha1 } else { request.hash() };
        let certificate_hash = hash.of(&self.transport.certificate);
        let mut binding = Binding { hash, nonce: request.nonce, certificate_hash, hlak: self.hlak };
        match tamper {
            Tamper::KeyHalves => binding.hlak.rotate_left(16),
            Tamper::Nonce => binding.nonce[31] ^= 1,
            Tamper::Certificate => binding.certificate_hash[0] ^= 1,
            Tamper::ZeroKey => binding.hlak = [0; 32],
            _ => {}
        }
        let mut packet = binding.call_connected();
        match tamper {
            Tamper::Mac => packet[80] ^= 1,
            Tamper::HashByte => packet[15] = 4,
            Tamper::Missing => packet = sstp::control(message::CALL_CONNECTED, &[]),
            Tamper::Short => {
                packet.truncate(108);
                packet[3] = 108;
                packet[11] = 100;
            }
            _ => {}
        }
        Ok(packet)
    }

    /// IPv6CP and IPCP, until each is open or rejected.
    pub fn negotiate_network(&mut self) -> Result<()> {
        self.ppp.start_network();
        self.send_frames()?;
        self.await_network()
    }

    /// Waits until IPv6CP and IPCP are settled.
    pub fn await_network(&mut self) -> Result<()> {
        let deadline = self.deadline();
        while !self.ppp.network_settled() {
            match self.expect(Stage::Network, deadline)? {
                Event::Ppp(ppp::Event::Ipv4Up) => self.timings.ipcp = ms(self.mark.elapsed()),
                Event::Ppp(ppp::Event::Ipv6Up) => self.timings.ipv6 = ms(self.mark.elapsed()),
                // Packets may come as soon as one of them is open: a router advertisement, for one.
                Event::Ppp(ppp::Event::Rejected(_) | ppp::Event::Packet(_)) => {}
                other => return Err(Error::protocol(Stage::Network, format!("{other:?} out of place"))),
            }
        }
        self.timings.total = ms(self.started.elapsed());
        self.whole_writes = true;
        Ok(())
    }

    /// Router solicitation until an advertisement comes; three tries, as RFC 4861 section 6.3.7 has it, within `patience`.
    pub fn solicit(&mut self, patience: Duration) -> Result<Option<Advertisement>> {
        let Some(interface) = self.ppp.interface() else { return Ok(None) };
        for _ in 0..3 {
            self.send_packet(&inner::router_solicitation(interface))?;
            let found = self.await_packet(patience / 3, inner::router_advertisement)?;
            if let Some(found) = found {
                return found.map(Some).map_err(|what| Error::protocol(Stage::Up, format!("router advertisement: {what}")));
            }
        }
        Ok(None)
    }

    /// DHCPINFORM. Silence is legal.
    pub fn inform(&mut self, patience: Duration) -> Result<Option<DhcpAnswer>> {
        let Some(client) = self.ppp.ipv4().address else { return Ok(None) };
        let transaction = random();
        self.send_packet(&inner::dhcp_inform(client, transaction, &self.options.ppp.computer.clone()))?;
        let found = self.await_packet(patience, |packet| inner::dhcp_answer(packet, client, transaction))?;
        found.transpose().map_err(|what| Error::protocol(Stage::Up, format!("answer to DHCPINFORM: {what}")))
    }

    /// DHCPv6 Information-request.
    pub fn inform_ipv6(&mut self, patience: Duration) -> Result<Option<Vec<Ipv6Addr>>> {
        let Some(interface) = self.ppp.interface() else { return Ok(None) };
        let transaction = random();
        self.send_packet(&inner::dhcpv6_information_request(interface, transaction))?;
        let found = self.await_packet(patience, |packet| inner::dhcpv6_reply(packet, transaction))?;
        found.transpose().map_err(|what| Error::protocol(Stage::Up, format!("answer to the DHCPv6 Information-request: {what}")))
    }

    /// Sends echo requests to `target` one after the other; how many were answered, each within `patience`.
    pub fn ping(&mut self, source: IpAddr, target: IpAddr, count: u16, size: usize, patience: Duration) -> Result<u16> {
        let id = u16::from_be_bytes(random());
        let mut answered = 0;
        for sequence in 0..count {
            self.send_packet(&inner::echo_request(source, target, id, sequence, size))?;
            let wanted = |packet: &[u8]| inner::echo_reply(packet).filter(|found| *found == (id, sequence));
            answered += u16::from(self.await_packet(patience, wanted)?.is_some());
        }
        Ok(answered)
    }

    /// The first packet that `wanted` takes.
    pub fn await_packet<T>(&mut self, patience: Duration, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + patience;
        loop {
            match self.next_event(deadline)? {
                Event::Timeout => return Ok(None),
                Event::Ppp(ppp::Event::Packet(packet)) => {
                    if let Some(found) = wanted(&packet) {
                        return Ok(Some(found));
                    }
                }
                event => self.check(Stage::Up, event, Instant::now()).map(drop)?,
            }
        }
    }

    /// Sends an IP packet.
    pub fn send_packet(&mut self, packet: &[u8]) -> Result<()> {
        let protocol = if packet[0] >> 4 == 4 { ppp::protocol::IPV4 } else { ppp::protocol::IPV6 };
        let frame = [&[0xff, 0x03][..], &protocol.to_be_bytes(), packet].concat();
        self.write(&sstp::data(&frame))
    }

    /// As Windows: LCP Terminate-Request, its Ack, CALL_DISCONNECT, its Ack. `true` when the server acknowledged the latter; a server that
    /// sends a CALL_DISCONNECT of its own instead gets an Ack, too.
    pub fn disconnect(&mut self) -> Result<bool> {
        self.ppp.terminate();
        self.send_frames()?;
        self.await_farewell(Duration::from_secs(3), |event| *event == Event::Ppp(ppp::Event::TerminateAck))?;
        self.write(&sstp::farewell(message::CALL_DISCONNECT, 0, 0))?;
        let is_ack = |event: &Event| matches!(event, Event::Control(control) if control.kind == message::CALL_DISCONNECT_ACK);
        let acknowledged = self.await_farewell(Duration::from_secs(5), is_ack)?;
        self.transport.close();
        Ok(acknowledged)
    }

    /// `false`: the server ended the call in another way, or nothing came.
    fn await_farewell(&mut self, patience: Duration, wanted: impl Fn(&Event) -> bool) -> Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            match self.next_event(deadline)? {
                event if wanted(&event) => return Ok(true),
                Event::Control(control) if control.kind == message::CALL_DISCONNECT => {
                    self.write(&sstp::control(message::CALL_DISCONNECT_ACK, &[]))?;
                    return Ok(false);
                }
                Event::Closed(_) | Event::Timeout => return Ok(false),
                _ => {}
            }
        }
    }

    /// Writes in the way that is set, up to the end of the negotiation.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.trace("C>", bytes);
        let size = match self.options.writes {
            _ if self.whole_writes => bytes.len(),
            Writes::Whole => bytes.len(),
            Writes::Bytes => 1,
            Writes::Thirds => bytes.len().div_ceil(3),
        };
        bytes.chunks(size.max(1)).try_for_each(|part| self.transport.send(part))
    }

    /// Sends what PPP has to say.
    pub fn send_frames(&mut self) -> Result<()> {
        while let Some(frame) = self.ppp.poll_frame() {
            self.write(&sstp::data(&frame))?;
        }
        Ok(())
    }

    /// The next thing from the server. PPP's answers are sent before it is reported.
    pub fn next_event(&mut self, deadline: Instant) -> Result<Event> {
        loop {
            if let Some(event) = self.ppp.poll_event() {
                return Ok(Event::Ppp(event));
            }
            let Some(packet) = self.next_packet(deadline)? else { return Ok(self.ended()) };
            match sstp::parse(&packet)? {
                Packet::Data(frame) => {
                    self.ppp.handle(&frame)?;
                    if self.answer_echoes {
                        self.send_frames()?;
                    }
                    self.connect_if_early()?;
                }
                Packet::Control(control) if control.kind == message::ECHO_REQUEST => {
                    self.echoes += 1;
                    if self.answer_echoes {
                        self.write(&sstp::control(message::ECHO_RESPONSE, &[]))?;
                    }
                }
                Packet::Control(control) => return Ok(Event::Control(control)),
            }
        }
    }

    fn connect_if_early(&mut self) -> Result<()> {
        match self.ppp.early_hlak() {
            Some(hlak) if self.connect_early => {
                self.connect_early = false;
                self.hlak = hlak;
                self.send_connected(Tamper::Nothing)
            }
            _ => Ok(()),
        }
    }

    /// [`next_event`](Self::next_event), with everything that ends the call as an error.
    pub fn expect(&mut self, stage: Stage, deadline: Instant) -> Result<Event> {
        let waited = Instant::now();
        let event = self.next_event(deadline)?;
        self.check(stage, event, waited)
    }

    /// Turns what ends the call into an error. `waited`: since when, for the text.
    pub fn check(&mut self, stage: Stage, event: Event, waited: Instant) -> Result<Event> {
        match event {
            Event::Timeout => Err(Error::Timeout { stage, seconds: waited.elapsed().as_secs_f64() }),
            Event::Closed(how) => Err(Error::Closed { stage, how }),
            Event::Control(control)
                if [message::CALL_ABORT, message::CALL_DISCONNECT, message::CALL_CONNECT_NAK].contains(&control.kind) =>
            {
                if control.kind == message::CALL_DISCONNECT {
                    self.write(&sstp::control(message::CALL_DISCONNECT_ACK, &[]))?;
                }
                Err(Error::Refused { stage, what: control.describe(), code: control.status().map(|(_, status)| status) })
            }
            Event::Ppp(ppp::Event::Terminated(text)) => {
                Err(Error::Refused { stage, what: format!("LCP Terminate-Request {text:?}"), code: None })
            }
            event => Ok(event),
        }
    }

    /// The next whole packet; `None` when the connection ended or the deadline passed.
    fn next_packet(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        loop {
            let incoming = &mut self.transport.incoming;
            if let Some(length) = sstp::packet_len(incoming)?.filter(|length| *length <= incoming.len()) {
                let packet: Vec<u8> = incoming.drain(..length).collect();
                self.trace("S>", &packet);
                return Ok(Some(packet));
            }
            if self.transport.receive(deadline)? != Received::Bytes {
                return Ok(None);
            }
        }
    }

    fn trace(&self, direction: &str, bytes: &[u8]) {
        if self.options.trace {
            let line = format!("{:9.3} {direction} {}\n", ms(self.started.elapsed()), crate::mschap::hex(bytes));
            // Nobody reads when it fails.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    fn ended(&mut self) -> Event {
        match self.transport.receive(Instant::now()) {
            Ok(Received::Closed(how)) => Event::Closed(how),
            _ => Event::Timeout,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.patience
    }

    fn timed_out(&self, stage: Stage) -> Error {
        Error::Timeout { stage, seconds: self.options.patience.as_secs_f64() }
    }

    /// Milliseconds since the last lap.
    fn lap(&mut self) -> f64 {
        let took = ms(self.mark.elapsed());
        self.mark = Instant::now();
        took
    }

    /// The address to ping from: IPCP's.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.ppp.ipv4().address
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// SSTP and PPP on the data path.
#[derive(Debug)]
pub struct Link<'a> {
    ppp: &'a mut Ppp,
    answer_echoes: bool,
}

impl<'a> Link<'a> {
    /// Of a call that is up.
    pub fn new(ppp: &'a mut Ppp, answer_echoes: bool) -> Self {
        Self { ppp, answer_echoes }
    }
}

impl Framing for Link<'_> {
    fn peek(&self, bytes: &[u8]) -> Result<Option<Piece>> {
        let Some(len) = sstp::packet_len(bytes)? else { return Ok(None) };
        let body = match bytes.get(1..8) {
            Some([0, _, _, 0xff, 0x03, 0x00, 0x21 | 0x57]) => Body::Packet(8),
            _ => Body::Control,
        };
        // The kind of a packet shows in its fifth to eighth byte.
        Ok((bytes.len() >= 8.min(len)).then_some(Piece { len, body }))
    }

    fn header(&self, ipv6: bool, len: usize, out: &mut [u8]) -> usize {
        let [high, low] = (len as u16 + 8).to_be_bytes();
        out[..8].copy_from_slice(&[0x10, 0, high, low, 0xff, 0x03, 0x00, if ipv6 { 0x57 } else { 0x21 }]);
        8
    }

    fn control(&mut self, packet: &[u8], out: &mut Vec<Vec<u8>>) -> Result<()> {
        match sstp::parse(packet)? {
            Packet::Data(frame) => self.ppp.handle(&frame)?,
            Packet::Control(control) if control.kind == message::ECHO_REQUEST => {
                if self.answer_echoes {
                    out.push(sstp::control(message::ECHO_RESPONSE, &[]));
                }
            }
            Packet::Control(control) if control.kind == message::ECHO_RESPONSE => {}
            Packet::Control(control) => {
                let code = control.status().map(|(_, status)| status);
                return Err(Error::Refused { stage: Stage::Up, what: control.describe(), code });
            }
        }
        while let Some(frame) = self.ppp.poll_frame() {
            if self.answer_echoes {
                out.push(sstp::data(&frame));
            }
        }
        while let Some(event) = self.ppp.poll_event() {
            if let ppp::Event::Terminated(text) = event {
                return Err(Error::Refused { stage: Stage::Up, what: format!("LCP Terminate-Request {text:?}"), code: None });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credentials, Method};

    fn ppp() -> Ppp {
        Ppp::new(Settings {
            method: Method::Pap,
            credentials: Credentials::default(),
            computer: "PC".into(),
            correlation: [1; 16],
            mru: 4091,
            ipv6: false,
            ipv4: true,
            address: Ipv4Addr::UNSPECIFIED,
        })
    }

    #[test]
    fn frames_of_the_data_path() {
        let mut ppp = ppp();
        let link = Link::new(&mut ppp, true);
        let mut bytes = [0; 40];
        assert_eq!(link.header(false, 20, &mut bytes), 8);
        assert_eq!(bytes[..8], [0x10, 0, 0, 28, 0xff, 3, 0, 0x21]);
        assert_eq!(link.peek(&bytes).unwrap(), Some(Piece { len: 28, body: Body::Packet(8) }));
        for short in 0..8 {
            assert_eq!(link.peek(&bytes[..short]).unwrap(), None, "{short} bytes");
        }
        link.header(true, 40, &mut bytes);
        assert_eq!(link.peek(&bytes).unwrap(), Some(Piece { len: 48, body: Body::Packet(8) }));
        let echo = sstp::control(message::ECHO_REQUEST, &[]);
        assert_eq!(link.peek(&echo).unwrap(), Some(Piece { len: 8, body: Body::Control }));
        // A PPP frame of three bytes: shorter than any header of data.
        assert_eq!(link.peek(&[0x10, 0, 0, 7, 0xc0, 0x21, 9]).unwrap(), Some(Piece { len: 7, body: Body::Control }));
        assert!(link.peek(&[0x11, 0, 0, 8, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn control_on_the_data_path() {
        let (mut ppp, mut out) = (ppp(), Vec::new());
        let mut link = Link::new(&mut ppp, true);
        link.control(&sstp::control(message::ECHO_REQUEST, &[]), &mut out).unwrap();
        assert_eq!(out, [sstp::control(message::ECHO_RESPONSE, &[])]);
        let error = link.control(&sstp::farewell(message::CALL_DISCONNECT, 0, 0), &mut out).unwrap_err();
        assert_eq!((error.kind(), error.code()), ("refused", Some(0)));
        let (mut ppp, mut out) = (self::ppp(), Vec::new());
        Link::new(&mut ppp, false).control(&sstp::control(message::ECHO_REQUEST, &[]), &mut out).unwrap();
        assert!(out.is_empty(), "silent on request");
    }
}
