//! One thing done wrong on SSTP's or PPP's level, and what the server did.

use serde::Serialize;
use sstp_client::auth::random;
use sstp_client::call::{Call, Event, Options, Tamper, Writes};
use sstp_client::error::{Closed, Error, Result};
use sstp_client::ncp::frame;
use sstp_client::ppp::{self, protocol};
use sstp_client::sstp::{self, Attribute, message};
use sstp_client::{inner, mschap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::options::{Case, Misbehave};
use crate::{print, raw_cases};

/// How long an echo reply may take.
const ECHO: Duration = Duration::from_millis(1500);

/// What the server did after the fault.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Saw {
    event: &'static str,
    pub(crate) case: String,
    /// Everything the server sent, in its order.
    pub(crate) messages: Vec<String>,
    /// Attribute id and status of its CALL_ABORT.
    abort: Option<(u8, u32)>,
    /// Attribute id and status of its CALL_CONNECT_NAKs.
    naks: Vec<(u8, u32)>,
    /// Protocols that it rejected.
    protocols_rejected: Vec<u16>,
    /// Status of its HTTP answer.
    pub(crate) http_status: Option<u16>,
    /// Bytes behind the head of its HTTP answer.
    pub(crate) http_body: Option<usize>,
    /// How the connection ended; none while it is open.
    pub(crate) closed: Option<Closed>,
    /// Milliseconds from the fault to its first message.
    first_ms: Option<f64>,
    /// Milliseconds from the fault to the end of the connection.
    pub(crate) closed_ms: Option<f64>,
    /// Echo replies before and after the step that makes the difference.
    replies_before: Option<u16>,
    replies_after: Option<u16>,
    /// Whether the call came up, where it had to.
    up: Option<bool>,
    /// What broke the client's rules for servers.
    pub(crate) error: Option<String>,
}

struct Run<'a> {
    options: &'a Misbehave,
    saw: Saw,
}

pub(crate) fn run(options: &Misbehave, json: bool) -> Result<()> {
    let case = clap::ValueEnum::to_possible_value(&options.case).map(|value| value.get_name().to_owned()).unwrap_or_default();
    let saw = Saw { event: "saw", case, ..Saw::default() };
    let saw = match raw_cases::run(options, saw)? {
        Ok(saw) => saw,
        Err(saw) => {
            let mut run = Run { options, saw };
            run.case()?;
            run.saw
        }
    };
    print(json, &saw, || format!("{saw:#?}"))
}

/// Milliseconds since `start`.
pub(crate) fn since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e4).round() / 10.0
}

impl Run<'_> {
    fn case(&mut self) -> Result<()> {
        match self.options.case {
            Case::WrongCmac => self.bound(Tamper::Mac),
            Case::SwappedKeyHalves => self.bound(Tamper::KeyHalves),
            Case::WrongNonce => self.bound(Tamper::Nonce),
            Case::WrongCertHash => self.bound(Tamper::Certificate),
            Case::Sha1Downgrade => self.bound(Tamper::Sha1),
            Case::HashByte => self.bound(Tamper::HashByte),
            Case::ZeroHlak => self.bound(Tamper::ZeroKey),
            Case::BindingMissing => self.bound(Tamper::Missing),
            Case::BindingShort => self.bound(Tamper::Short),
            Case::DataBeforeConnected => self.data_before_connected(),
            Case::ConnectedEarly => self.connected_early(),
            Case::ConnectedNever => {
                let mut call = self.authenticated()?;
                self.watch(&mut call)
            }
            Case::SecondConnected => {
                let mut call = self.up()?;
                let packet = call.call_connected(Tamper::Nothing)?;
                self.send(&mut call, &packet)
            }
            Case::SecondRequest => {
                let mut call = self.requested()?;
                self.send(&mut call, &sstp::CALL_CONNECT_REQUEST)
            }
            Case::RequestNever => {
                let mut call = self.http()?;
                self.watch(&mut call)
            }
            Case::RequestWrongProtocol | Case::RequestWithoutAttribute | Case::RequestFourTimesBad => self.bad_request(),
            Case::EchoEarly => {
                let mut call = self.requested()?;
                self.send(&mut call, &sstp::control(message::ECHO_REQUEST, &[]))
            }
            Case::EchoBeforeRequest => {
                let mut call = self.http()?;
                self.send(&mut call, &sstp::control(message::ECHO_REQUEST, &[]))
            }
            _ => self.case_of_a_call_that_is_up(),
        }
    }

    fn case_of_a_call_that_is_up(&mut self) -> Result<()> {
        let echo = sstp::control(message::ECHO_REQUEST, &[]);
        match self.options.case {
            Case::OneByteWrites => self.cut(Writes::Bytes),
            Case::ThreeRecords => self.cut(Writes::Thirds),
            Case::BadVersion => self.send_up(&[0x11, 1, 0, 8, 0, 8, 0, 0]),
            Case::BadLength => self.send_up(&[0x10, 0, 0, 3, 0, 0, 0, 0]),
            Case::ControlLengthFive => self.send_up(&[0x10, 1, 0, 5, 0]),
            Case::UnknownMessage => self.send_up(&sstp::control(99, &[])),
            Case::ReservedBits => self.send_up(&[0x10, 0xff, 0xf0, 8, 0, 8, 0, 0]),
            Case::Abort => self.send_up(&sstp::farewell(message::CALL_ABORT, 0, 0)),
            Case::Disconnect => self.send_up(&sstp::farewell(message::CALL_DISCONNECT, 0, 0)),
            Case::Echo => {
                let mut call = self.up()?;
                call.ppp.echo();
                call.send_frames()?;
                self.send(&mut call, &echo)
            }
            Case::Terminate => {
                let mut call = self.up()?;
                call.ppp.terminate();
                call.send_frames()?;
                self.watch(&mut call)
            }
            Case::Silence => {
                let mut call = self.up()?;
                call.answer_echoes = false;
                self.watch(&mut call)
            }
            Case::LongPackets => self.long_packets(),
            Case::TwoPerRecord => self.two_per_record(&echo),
            Case::CompressedFrames => self.compressed_frames(),
            Case::UnknownProtocols => self.unknown_protocols(),
            Case::UnknownLcpCode => {
                let mut call = self.up()?;
                call.write(&sstp::data(&frame(protocol::LCP, 42, 99, b"?")))?;
                self.collect(&mut call, |saw| saw.messages.iter().any(|message| message.contains("CodeRejected(42)")))?;
                self.still_up(&mut call)
            }
            Case::SpoofedSource => self.spoofed_source(),
            Case::Pipelined => self.pipelined(),
            other => Err(Error::Setup(format!("{other:?} is no case of a call"))),
        }
    }

    fn call_options(&self) -> Options {
        self.options.login.options(0)
    }

    fn http(&self) -> Result<Call> {
        let mut call = Call::connect(&self.call_options())?;
        call.open_http()?;
        Ok(call)
    }

    fn requested(&self) -> Result<Call> {
        let mut call = self.http()?;
        call.request()?;
        Ok(call)
    }

    fn authenticated(&self) -> Result<Call> {
        let mut call = self.requested()?;
        call.authenticate()?;
        Ok(call)
    }

    fn up(&self) -> Result<Call> {
        Call::establish(&self.call_options())
    }

    fn bound(&mut self, tamper: Tamper) -> Result<()> {
        let mut call = self.authenticated()?;
        call.send_connected(tamper)?;
        self.watch(&mut call)
    }

    fn send_up(&mut self, packet: &[u8]) -> Result<()> {
        let mut call = self.up()?;
        self.send(&mut call, packet)
    }

    fn send(&mut self, call: &mut Call, packet: &[u8]) -> Result<()> {
        call.write(packet)?;
        self.watch(call)
    }

    /// Writes down what the server does until it closes or the time is over.
    fn watch(&mut self, call: &mut Call) -> Result<()> {
        let started = Instant::now();
        let deadline = started + Duration::from_secs_f64(self.options.watch);
        loop {
            let event = match call.next_event(deadline) {
                Ok(event) => event,
                Err(error) => {
                    self.saw.error = Some(error.to_string());
                    return Ok(());
                }
            };
            match event {
                Event::Timeout => return Ok(()),
                Event::Closed(how) => {
                    self.saw.closed = Some(how);
                    self.saw.closed_ms = Some(since(started));
                    return Ok(());
                }
                Event::Control(control) => self.note_control(call, &control)?,
                Event::Ppp(ppp::Event::Packet(_)) => continue,
                Event::Ppp(event) => self.note_ppp(&event),
            }
            self.saw.first_ms.get_or_insert(since(started));
        }
    }

    fn note_control(&mut self, call: &mut Call, control: &sstp::Control) -> Result<()> {
        self.saw.messages.push(control.describe());
        match control.kind {
            message::CALL_ABORT => {
                self.saw.abort = self.saw.abort.or(control.status()).or(Some((0, 0)));
                if !self.options.no_abort_answer && self.options.case != Case::Abort {
                    call.write(&sstp::farewell(message::CALL_ABORT, 0, 0))?;
                }
                Ok(())
            }
            message::CALL_CONNECT_NAK => {
                self.saw.naks.extend(control.status());
                Ok(())
            }
            message::CALL_DISCONNECT => call.write(&sstp::control(message::CALL_DISCONNECT_ACK, &[])),
            _ => Ok(()),
        }
    }

    fn note_ppp(&mut self, event: &ppp::Event) {
        if let ppp::Event::Rejected(number) = event {
            self.saw.protocols_rejected.push(*number);
        }
        self.saw.messages.push(match event {
            // The key stays out of what is printed.
            ppp::Event::Authenticated { .. } => "PPP: authenticated".to_owned(),
            ppp::Event::Rejected(number) => format!("PPP: Protocol-Reject of {number:04x}"),
            other => format!("PPP: {other:?}"),
        });
    }

    fn address(call: &Call) -> Result<Ipv4Addr> {
        call.address().ok_or_else(|| Error::Setup("the call has no IPv4 address".into()))
    }

    fn ping(&self, call: &mut Call, size: usize) -> Result<u16> {
        let source = Self::address(call)?;
        call.ping(source.into(), self.options.host.into(), 2, size, ECHO)
    }

    fn still_up(&mut self, call: &mut Call) -> Result<()> {
        self.saw.replies_after = Some(self.ping(call, 56)?);
        self.saw.up = Some(self.saw.replies_after > Some(0));
        call.disconnect().map(drop)
    }

    fn data_before_connected(&mut self) -> Result<()> {
        let mut call = self.authenticated()?;
        let negotiated = call.negotiate_network();
        if let Err(error) = negotiated {
            // A server may keep the network protocols for after the binding: then there is nothing to send from.
            self.saw.error = Some(error.to_string());
            return Ok(());
        }
        self.saw.replies_before = Some(self.ping(&mut call, 56)?);
        call.send_connected(Tamper::Nothing)?;
        self.still_up(&mut call)
    }

    fn connected_early(&mut self) -> Result<()> {
        let mut call = self.http()?;
        call.connect_early = true;
        call.request()?;
        call.authenticate()?;
        call.negotiate_network()?;
        self.still_up(&mut call)
    }

    fn bad_request(&mut self) -> Result<()> {
        let mut call = self.http()?;
        let other_protocol = sstp::control(message::CALL_CONNECT_REQUEST, &[Attribute { id: 1, value: vec![0, 2] }]);
        match self.options.case {
            Case::RequestWrongProtocol => self.send(&mut call, &other_protocol),
            Case::RequestWithoutAttribute => self.send(&mut call, &sstp::control(message::CALL_CONNECT_REQUEST, &[])),
            _ => {
                (0..4).try_for_each(|_| call.write(&other_protocol))?;
                self.watch(&mut call)
            }
        }
    }

    fn cut(&mut self, writes: Writes) -> Result<()> {
        let mut call = Call::establish(&Options { writes, ..self.call_options() })?;
        self.still_up(&mut call)
    }

    fn long_packets(&mut self) -> Result<()> {
        let mut call = self.up()?;
        // 4095 less 4 of SSTP, 4 of PPP, 20 of IPv4, 8 of ICMP.
        self.saw.replies_before = Some(self.ping(&mut call, 4095 - 36)?);
        self.still_up(&mut call)
    }

    fn two_per_record(&mut self, echo: &[u8]) -> Result<()> {
        let mut call = self.up()?;
        let source = Self::address(&call)?;
        let packet = inner::echo_request(source.into(), self.options.host.into(), 7, 1, 56);
        let both = [sstp::data(&[&[0xff, 3, 0, 0x21][..], &packet].concat()), echo.to_vec()].concat();
        call.write(&both)?;
        let deadline = Instant::now() + ECHO;
        let (mut replied, mut echoed) = (false, false);
        while !(replied && echoed) {
            match call.next_event(deadline)? {
                Event::Timeout | Event::Closed(_) => break,
                Event::Control(control) => echoed |= control.kind == message::ECHO_RESPONSE,
                Event::Ppp(ppp::Event::Packet(packet)) => replied |= inner::echo_reply(&packet) == Some((7, 1)),
                Event::Ppp(_) => {}
            }
        }
        self.saw.messages.push(format!("echo reply {replied}, CALL_ECHO_RESPONSE {echoed}"));
        self.saw.up = Some(replied && echoed);
        call.disconnect().map(drop)
    }

    fn compressed_frames(&mut self) -> Result<()> {
        let mut call = self.up()?;
        let source = Self::address(&call)?;
        let mut replies = 0;
        // Protocol short and long, with and without address and control field.
        for (sequence, head) in [&[0x21][..], &[0x00, 0x21], &[0xff, 0x03, 0x21]].into_iter().enumerate() {
            let packet = inner::echo_request(source.into(), self.options.host.into(), 8, sequence as u16, 56);
            call.write(&sstp::data(&[head, &packet].concat()))?;
            let wanted = |packet: &[u8]| inner::echo_reply(packet).filter(|found| *found == (8, sequence as u16));
            replies += u16::from(call.await_packet(ECHO, wanted)?.is_some());
        }
        self.saw.replies_after = Some(replies);
        self.saw.up = Some(replies == 3);
        call.disconnect().map(drop)
    }

    fn unknown_protocols(&mut self) -> Result<()> {
        let mut call = self.up()?;
        for (index, number) in [0x80fd, 0x8053, 0xc02b, 0xc029, 0x802b].into_iter().enumerate() {
            call.write(&sstp::data(&frame(number, 1, 0x80 + index as u8, &[])))?;
        }
        self.collect(&mut call, |saw| saw.protocols_rejected.len() == 5)?;
        self.still_up(&mut call)
    }

    /// Writes down what comes until there is enough, or for the time of an echo.
    fn collect(&mut self, call: &mut Call, enough: impl Fn(&Saw) -> bool) -> Result<()> {
        let deadline = Instant::now() + ECHO;
        while !enough(&self.saw) {
            match call.next_event(deadline)? {
                Event::Timeout | Event::Closed(_) => break,
                Event::Ppp(ppp::Event::Packet(_)) => {}
                Event::Ppp(event) => self.note_ppp(&event),
                Event::Control(control) => self.note_control(call, &control)?,
            }
        }
        Ok(())
    }

    fn spoofed_source(&mut self) -> Result<()> {
        let mut call = self.up()?;
        let neighbour = Ipv4Addr::from(u32::from(Self::address(&call)?) ^ 1);
        let mut answered = 0;
        for source in [neighbour, Ipv4Addr::new(192, 0, 2, 77), self.options.host] {
            answered += call.ping(source.into(), self.options.host.into(), 1, 56, ECHO)?;
        }
        self.saw.replies_before = Some(answered);
        self.still_up(&mut call)
    }

    fn pipelined(&mut self) -> Result<()> {
        let mut call = Call::connect(&self.call_options())?;
        let both = [call.http_head(), sstp::CALL_CONNECT_REQUEST.to_vec()].concat();
        call.write(&both)?;
        call.read_http()?;
        call.await_ack()?;
        call.start_ppp()?;
        call.authenticate()?;
        call.send_connected(Tamper::Nothing)?;
        call.negotiate_network()?;
        self.still_up(&mut call)
    }
}

/// Random bytes that are no TLS record.
pub(crate) fn garbage() -> Vec<u8> {
    let mut bytes = random::<512>().to_vec();
    bytes[0] = 0xff;
    bytes
}

/// The start of what came, for a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(80).map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' }).collect();
    format!("{} bytes: {text} ({})", bytes.len(), mschap::hex(&bytes[..bytes.len().min(16)]))
}
