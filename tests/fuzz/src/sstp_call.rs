//! The call machine against a hostile client, with a shell that may err: it never panics, says a bounded amount, falls silent after its
//! end, and is never up without a crypto binding that this file verifies for itself.
use crypto::Zeroizing;
use crypto::prf::Prf;
use sstp::message::Message;
use sstp::{BindingHash, Call, CallConfig, CallState, CertificateHashes, InnerKeys, Input, MAX_PACKET, Output, Timers, frame};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const NONCE: [u8; 32] = [0x5a; 32];
const CERTIFICATE: CertificateHashes = CertificateHashes { sha1: [0xc1; 20], sha256: [0xc2; 32] };
const HLAK: [u8; 32] = [0x17; 32];
/// More steps add nothing but time.
const MAX_STEPS: usize = 64;
/// No input makes the call say more.
const MAX_OUTPUTS: usize = 2;

/// The first byte says what is offered; then steps, each an operation, a length of two bytes and that many bytes.
pub fn sstp_call(data: &[u8]) {
    let Some((&offer, mut rest)) = data.split_first() else { return };
    let mut client = Client::new(offer & 1 != 0);
    for _ in 0..MAX_STEPS {
        let Some((&[op, high, low], tail)) = rest.split_first_chunk::<3>() else { return };
        let len = usize::from(u16::from_be_bytes([high, low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        client.step(op, bytes);
    }
}

struct Client {
    call: Call,
    now: Instant,
    offer_sha1: bool,
    /// Since CALL_CONNECT_ACK.
    keys: Option<[u8; 32]>,
    method_has_keys: bool,
    /// All that might be CALL_CONNECTED.
    bindings: Vec<Vec<u8>>,
    started: bool,
    up: bool,
    over: bool,
}

impl Client {
    fn new(offer_sha1: bool) -> Self {
        let now = start();
        let timers =
            Timers { negotiation: Duration::from_secs(60), authentication: Duration::from_secs(120), hello: Duration::from_secs(60) };
        let call = Call::new(now, CallConfig { nonce: NONCE, offer_sha1, certificates: vec![CERTIFICATE], timers });
        let (keys, method_has_keys, bindings) = (None, false, Vec::new());
        Self { call, now, offer_sha1, keys, method_has_keys, bindings, started: false, up: false, over: false }
    }

    fn step(&mut self, op: u8, bytes: &[u8]) {
        match op % 12 {
            0 => self.packet(bytes),
            1 => self.stream(bytes),
            2 => self.control(bytes),
            3 => self.packet(&Message::CallConnectRequest.encode()),
            4 => self.binding(bytes),
            5 => self.authenticate(bytes),
            6 => self.packet(&data_packet(bytes)),
            7 => self.give(Input::Ppp(bytes)),
            8 => self.give(Input::Heard(self.now - time(bytes) + Duration::from_secs(1))),
            9 => self.give(Input::Close),
            10 => self.pass(bytes),
            _ if bytes.first() == Some(&0) => self.give(Input::Closed),
            _ if matches!(bytes.first(), Some(2 | 3)) => self.give(Input::Waiting(bytes[0] == 2)),
            _ => self.give(Input::Timeout),
        }
    }

    fn packet(&mut self, bytes: &[u8]) {
        if bytes.len() == 112 {
            self.bindings.push(bytes.to_vec());
        }
        self.give(Input::Packet(bytes));
    }

    /// As a shell cuts it.
    fn stream(&mut self, mut bytes: &[u8]) {
        while let Ok(Some(frame)) = frame::next(bytes) {
            let (packet, rest) = bytes.split_at(frame.len);
            self.packet(packet);
            bytes = rest;
        }
        if frame::next(bytes).is_err() {
            self.packet(bytes);
        }
    }

    /// A control message of any type with any attributes.
    fn control(&mut self, bytes: &[u8]) {
        let [kind, count, body @ ..] = bytes else { return };
        let body = &body[..body.len().min(MAX_PACKET - 8)];
        let len = (8 + body.len()) as u16;
        let packet = [&[0x10, 1], &len.to_be_bytes()[..], &[0, kind % 11, 0, *count], body].concat();
        self.packet(&packet);
    }

    /// CALL_CONNECTED: right for these keys, but for the bytes that the script changes.
    fn binding(&mut self, bytes: &[u8]) {
        let (hash, keyless, changes) = match bytes {
            [flags, changes @ ..] => (flags & 1, flags & 2 != 0, changes),
            [] => (0, false, bytes),
        };
        let hlak = if keyless { [0; 32] } else { HLAK };
        let hash = if hash == 0 { BindingHash::Sha256 } else { BindingHash::Sha1 };
        let mut packet = unsigned(hash);
        let mac = compound_mac(&hlak, &packet);
        packet[80..][..mac.len()].copy_from_slice(&mac);
        for change in changes.as_chunks::<2>().0 {
            packet[usize::from(change[0]) % 112] ^= change[1];
        }
        self.packet(&packet);
    }

    fn authenticate(&mut self, bytes: &[u8]) {
        let keys = match bytes.first() {
            Some(0) => InnerKeys::Keyless,
            Some(1) => InnerKeys::Hlak(Zeroizing::new([0; 32])),
            _ => InnerKeys::Hlak(Zeroizing::new(HLAK)),
        };
        if self.call.state() == CallState::CallConnectedPending {
            self.method_has_keys = matches!(keys, InnerKeys::Hlak(_));
            self.keys = Some(match &keys {
                InnerKeys::Keyless => [0; 32],
                InnerKeys::Hlak(hlak) => **hlak,
            });
        }
        self.give(Input::Authenticated(keys));
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.now += time(bytes);
        self.give(Input::Timeout);
    }

    fn give(&mut self, input: Input<'_>) {
        self.call.handle(self.now, input);
        let outputs: Vec<Output> = std::iter::from_fn(|| self.call.poll_output()).take(MAX_OUTPUTS + 1).collect();
        assert!(outputs.len() <= MAX_OUTPUTS, "{outputs:?}");
        assert!(outputs.is_empty() || !self.over, "{outputs:?} after the end");
        outputs.iter().for_each(|output| self.check(output));
        let over = self.call.state() == CallState::CallDisconnected;
        assert_eq!(over, self.over, "the end is said");
        assert_eq!(self.call.poll_timeout().is_none(), over, "every wait has its end");
        let _ = format!("{:?}", self.call);
    }

    fn check(&mut self, output: &Output) {
        match output {
            Output::Transmit(packet) => self.transmitted(packet),
            Output::StartPpp => {
                assert!(!self.started);
                self.started = true;
            }
            Output::Ppp(frame) => assert!(self.up || self.started && !frame::is_ppp_data(frame), "data without a binding: {frame:02x?}"),
            Output::Connected(hash) => {
                assert!(!self.up && self.started);
                assert!(self.is_bound(*hash), "up without a valid binding");
                self.up = true;
            }
            Output::Note(text) => assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}"),
            Output::Hangup(ended) => {
                assert!(!ended.cause.is_empty() && !ended.cause.chars().any(char::is_control), "{ended:?}");
                self.over = true;
            }
        }
    }

    fn transmitted(&self, packet: &[u8]) {
        let frame = frame::next(packet).expect("what is sent can be delimited").expect("whole packets are sent");
        assert_eq!(frame.len, packet.len());
        if frame.control {
            assert!(Message::parse(packet).is_ok(), "{packet:02x?}");
        } else {
            assert!(self.up || self.started && !frame::is_ppp_data(&packet[4..]), "data without a binding: {packet:02x?}");
        }
    }

    /// Whether one of the messages that were sent is bound with the keys that the authentication made.
    fn is_bound(&self, hash: BindingHash) -> bool {
        let Some(keys) = self.keys else { return false };
        let (bit, len, certificate): (u8, usize, &[u8]) = match hash {
            BindingHash::Sha1 => (1, 20, &CERTIFICATE.sha1),
            BindingHash::Sha256 => (2, 32, &CERTIFICATE.sha256),
        };
        let offered = hash == BindingHash::Sha256 || self.offer_sha1;
        let is_bound = |packet: &Vec<u8>| {
            let fields = packet[15] == bit && packet[16..48] == NONCE && packet[48..][..len] == *certificate;
            let mut covered = packet.clone();
            covered[80..].fill(0);
            fields && packet[80..][..len] == compound_mac(&keys, &covered)
        };
        offered && !(self.method_has_keys && keys == [0; 32]) && self.bindings.iter().any(is_bound)
    }
}

/// CALL_CONNECTED without its compound MAC.
fn unsigned(hash: BindingHash) -> Vec<u8> {
    let mut packet = vec![0x10, 1, 0, 0x70, 0, 4, 0, 1, 0, 3, 0, 0x68, 0, 0, 0];
    packet.push(if hash == BindingHash::Sha1 { 1 } else { 2 });
    packet.extend(NONCE);
    match hash {
        BindingHash::Sha1 => packet.extend(CERTIFICATE.sha1),
        BindingHash::Sha256 => packet.extend(CERTIFICATE.sha256),
    }
    packet.resize(112, 0);
    packet
}

/// [MS-SSTP] 3.2.5.2, written down a second time.
fn compound_mac(hlak: &[u8; 32], packet: &[u8]) -> Vec<u8> {
    let (prf, len) = if packet[15] == 1 { (Prf::HmacSha1, 20) } else { (Prf::HmacSha256, 32) };
    let key = prf.compute(hlak, &[b"SSTP inner method derived CMK", &[len, 0, 1]]);
    prf.compute(&key, &[packet]).to_vec()
}

fn data_packet(bytes: &[u8]) -> Vec<u8> {
    let frame = &bytes[..bytes.len().min(frame::MAX_PPP)];
    let mut packet = vec![0; 4 + frame.len()];
    frame::write_data_header(&mut packet, frame.len());
    packet[4..].copy_from_slice(frame);
    packet
}

fn time(bytes: &[u8]) -> Duration {
    Duration::from_millis(250 * bytes.iter().take(8).map(|byte| u64::from(*byte)).sum::<u64>())
}

/// One instant for all runs, late enough to look back from.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(|| Instant::now() + Duration::from_secs(10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_bring_a_call_up() {
        let mut client = Client::new(false);
        for (op, bytes) in [(3, &[][..]), (5, &[2]), (4, &[0])] {
            assert!(!client.up);
            client.step(op, bytes);
        }
        assert!(client.up && !client.over);
    }
}
