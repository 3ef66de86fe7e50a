//! A call, a client's messages for it, and virtual time.
#![allow(dead_code, reason = "each test file uses its share")]
use crypto::Zeroizing;
use sstp::binding::compound_mac;
use sstp::message::{CallConnected, Message};
use sstp::{BindingHash, Call, CallConfig, CallState, CertificateHashes, Ended, InnerKeys, Input, Output, Timers};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) const NONCE: [u8; 32] = [0x5a; 32];
pub(crate) const HLAK: [u8; 32] = [0x17; 32];
pub(crate) const CERTIFICATE: CertificateHashes = CertificateHashes { sha1: [0xc1; 20], sha256: [0xc2; 32] };
pub(crate) const LCP: &[u8] = &[0xff, 0x03, 0xc0, 0x21, 0x01, 0x00, 0x00, 0x04];
pub(crate) const IPV4: &[u8] = &[0xff, 0x03, 0x00, 0x21, 0x45, 0x00];

pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "some instant to count from")]
    *START.get_or_init(Instant::now)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn config(offer_sha1: bool) -> CallConfig {
    let timers = Timers { negotiation: seconds(60), authentication: seconds(120), hello: seconds(60) };
    CallConfig { nonce: NONCE, offer_sha1, certificates: vec![CERTIFICATE], timers }
}

pub(crate) fn keys() -> InnerKeys {
    InnerKeys::Hlak(Zeroizing::new(HLAK))
}

/// CALL_CONNECTED as a client with these keys sends it.
pub(crate) fn connected(hash: BindingHash, nonce: &[u8; 32], certificate: &CertificateHashes, hlak: &[u8; 32]) -> Vec<u8> {
    let certificate_hash: &[u8] = match hash {
        BindingHash::Sha1 => &certificate.sha1,
        BindingHash::Sha256 => &certificate.sha256,
    };
    let unsigned = CallConnected::unsigned(hash, nonce, certificate_hash);
    let mac = compound_mac(hlak, &unsigned);
    unsigned.signed(&mac).as_bytes().to_vec()
}

pub(crate) fn good_connected() -> Vec<u8> {
    connected(BindingHash::Sha256, &NONCE, &CERTIFICATE, &HLAK)
}

/// A data packet.
pub(crate) fn data(frame: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 4 + frame.len()];
    sstp::frame::write_data_header(&mut packet, frame.len());
    packet[4..].copy_from_slice(frame);
    packet
}

pub(crate) struct Sim {
    pub(crate) call: Call,
    pub(crate) now: Instant,
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self::with(config(false))
    }

    pub(crate) fn with(config: CallConfig) -> Self {
        Self { call: Call::new(start(), config), now: start() }
    }

    /// A call in this state, its outputs drained.
    pub(crate) fn in_state(state: CallState) -> Self {
        let mut sim = Self::new();
        match state {
            CallState::ConnectRequestPending => {}
            CallState::CallConnectedPending => drop(sim.send(&Message::CallConnectRequest)),
            CallState::CallConnected => {
                sim.send(&Message::CallConnectRequest);
                sim.give(Input::Authenticated(keys()));
                sim.packet(&good_connected());
            }
            CallState::CallAbortPending => drop(sim.send(&Message::EchoRequest)),
            CallState::CallAbortTimeoutPending => drop(sim.send(&Message::CallAbort(None))),
            CallState::CallDisconnectAckPending => {
                sim = Self::in_state(CallState::CallConnected);
                sim.give(Input::Close);
            }
            CallState::CallDisconnectTimeoutPending => drop(sim.send(&Message::CallDisconnect(None))),
            CallState::CallDisconnected => drop(sim.packet(b"garbage")),
        }
        assert_eq!(sim.call.state(), state);
        sim
    }

    pub(crate) fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        self.call.handle(self.now, input);
        std::iter::from_fn(|| self.call.poll_output()).collect()
    }

    pub(crate) fn packet(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.give(Input::Packet(bytes))
    }

    pub(crate) fn send(&mut self, message: &Message) -> Vec<Output> {
        self.packet(&message.encode())
    }

    /// Lets the next timer expire.
    pub(crate) fn expire(&mut self) -> Vec<Output> {
        self.now = self.now.max(self.call.poll_timeout().expect("a timer").0);
        self.give(Input::Timeout)
    }

    /// Lets time pass, timers expire on their way.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Output> {
        let (until, mut outputs) = (self.now + time, Vec::new());
        while self.call.poll_timeout().is_some_and(|(at, _)| at <= until) {
            outputs.extend(self.expire());
        }
        self.now = until;
        outputs
    }

    /// To its end.
    pub(crate) fn ended(&mut self) -> Ended {
        loop {
            for output in self.expire() {
                if let Output::Hangup(ended) = output {
                    return ended;
                }
            }
        }
    }
}

/// Messages among outputs, in short.
pub(crate) fn sent(outputs: &[Output]) -> Vec<String> {
    outputs.iter().filter(|output| matches!(output, Output::Transmit(_))).map(describe).collect()
}

/// An output in a few words; notes are told apart from nothing only.
pub(crate) fn describe(output: &Output) -> String {
    match output {
        Output::Transmit(packet) if packet[1] == 0 => format!("data({})", packet.len() - 4),
        Output::Transmit(packet) => match Message::parse(packet).expect("what the call sends parses") {
            Message::CallAbort(Some(info)) => format!("CALL_ABORT({}, {})", info.attribute.0, info.status.0),
            Message::CallDisconnect(Some(info)) => format!("CALL_DISCONNECT({}, {})", info.attribute.0, info.status.0),
            Message::CallConnectNak(list) => {
                let list: Vec<_> = list.iter().map(|info| format!("{}, {}", info.attribute.0, info.status.0)).collect();
                format!("CALL_CONNECT_NAK({})", list.join("; "))
            }
            other => other.name().into(),
        },
        Output::StartPpp => "StartPpp".into(),
        Output::Ppp(frame) => format!("Ppp({})", frame.len()),
        Output::Connected(hash) => format!("Connected({hash:?})"),
        Output::Note(text) => {
            assert!(!text.is_empty());
            "Note".into()
        }
        Output::Hangup(ended) => {
            assert!(!ended.cause.is_empty());
            format!("Hangup({:?})", ended.by)
        }
    }
}
