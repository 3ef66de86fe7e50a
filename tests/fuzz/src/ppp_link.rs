//! The link machine against a hostile client, with logins that end in any way: it never panics, says a bounded amount for each input,
//! falls silent after its end, keeps no timer that does not move, and lets nobody in but by an acceptance of the open question.
use ppp::frame::{Class, classify};
use ppp::{Answer, AskId, AuthProtocol, Event, Input, Link, LinkConfig, Network, Output, Phase, Timers};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// More steps add nothing but time.
const MAX_STEPS: usize = 64;
/// Frames for one input: a refusal of an authentication and a Terminate-Request, or a request of ours and a reply.
const MAX_FRAMES: usize = 2;
/// A timeout may be several timers at once.
const MAX_FRAMES_OF_TIME: usize = 5;
const MAX_OUTPUTS: usize = 12;
const MAX_FRAME: usize = 4091;
const PROTOCOLS: [u16; 9] = [0xC021, 0x8021, 0x8057, 0xC227, 0xC223, 0xC023, 0x80FD, 0xC029, 0x0021];

/// The first byte says what the client must do to come in; then steps, each an operation, a length of two bytes and that many bytes.
pub fn ppp_link(data: &[u8]) {
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let mut client = Client::new(kind);
    for _ in 0..MAX_STEPS {
        let Some((&[op, high, low], tail)) = rest.split_first_chunk::<3>() else { return };
        let len = usize::from(u16::from_be_bytes([high, low])).min(tail.len());
        let (bytes, tail) = tail.split_at(len);
        rest = tail;
        client.step(op, bytes);
    }
}

struct Client {
    link: Link,
    now: Instant,
    /// Latest Configure-Request of the link by protocol: identifier and options.
    requests: [Option<(u8, Vec<u8>)>; 3],
    open: Option<AskId>,
    asked: Option<AskId>,
    /// The input under way is an acceptance of the open question.
    accepting: bool,
    inside: bool,
    over: bool,
}

impl Client {
    fn new(kind: u8) -> Self {
        let now = start();
        let (requests, open, asked) = ([None, None, None], None, None);
        let mut client =
            Self { link: Link::new(now, config(kind)), now, requests, open, asked, accepting: false, inside: false, over: false };
        client.input(Input::Start, MAX_FRAMES);
        client
    }

    fn step(&mut self, op: u8, bytes: &[u8]) {
        match op % 10 {
            0 => self.input(Input::Frame(bytes), MAX_FRAMES),
            1 => self.packet(bytes),
            2 => self.reply(bytes),
            3 => self.send(0xC021, 1, 0, bytes),
            4 => self.login(bytes),
            5 => self.answer(bytes),
            6 => self.pass(bytes),
            7 => self.heard(bytes),
            8 if bytes.len() > 3 => self.input(Input::Terminate(&String::from_utf8_lossy(bytes)), MAX_FRAMES),
            _ => self.stray_answer(bytes),
        }
    }

    /// A packet with honest lengths.
    fn packet(&mut self, bytes: &[u8]) {
        let [protocol, code, id, data @ ..] = bytes else { return };
        self.send(PROTOCOLS[usize::from(*protocol) % PROTOCOLS.len()], *code, *id, data);
    }

    fn send(&mut self, protocol: u16, code: u8, id: u8, data: &[u8]) {
        let mut frame = vec![0xFF, 0x03];
        frame.extend(protocol.to_be_bytes());
        frame.extend([code, id]);
        frame.extend((data.len() as u16).wrapping_add(4).to_be_bytes());
        frame.extend(data);
        self.input(Input::Frame(&frame), MAX_FRAMES);
    }

    /// Ack, Nak or Reject with the right identifier.
    fn reply(&mut self, bytes: &[u8]) {
        let [protocol, code, options @ ..] = bytes else { return };
        let slot = usize::from(*protocol) % 3;
        let Some((id, sent)) = self.requests[slot].clone() else { return };
        let code = 2 + code % 3;
        let options = if code == 2 || options.is_empty() { &sent } else { options };
        self.send(PROTOCOLS[slot], code, id, options);
    }

    /// Whatever the authentication protocol is, one of these begins it.
    fn login(&mut self, bytes: &[u8]) {
        let [id, fill, ..] = *bytes else { return };
        self.send(0xC227, 2, id, &[&[1][..], bytes].concat());
        self.send(0xC223, 2, id, &[&[49][..], &[fill; 49], b"alice"].concat());
        self.send(0xC223, 2, id, &[&[16][..], &[fill; 16], b"alice"].concat());
        self.send(0xC023, 1, id, &[1, b'a', 1, fill]);
        self.send(0xC223, 7, id, &[fill; 582]);
    }

    fn answer(&mut self, bytes: &[u8]) {
        let (Some(id), Some((&kind, rest))) = (self.open, bytes.split_first()) else { return };
        self.accepting = kind % 4 == 0;
        self.input(Input::Answer(id, answer(kind, rest)), MAX_FRAMES_OF_TIME);
        self.accepting = false;
        self.open = self.open.filter(|open| *open != id);
    }

    /// To a question that is over, or that nobody asked.
    fn stray_answer(&mut self, bytes: &[u8]) {
        let Some(&id) = bytes.first() else { return };
        let id = AskId(id.into());
        if self.open != Some(id) {
            self.input(Input::Answer(id, answer(0, &[])), 0);
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.now += Duration::from_millis(100 * bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        self.input(Input::Timeout, MAX_FRAMES_OF_TIME);
        let next = self.link.poll_timeout();
        assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} does not move");
    }

    fn heard(&mut self, bytes: &[u8]) {
        let ago = Duration::from_secs(bytes.len() as u64);
        let at = self.now.checked_sub(ago).unwrap_or(self.now);
        self.input(Input::Heard(at), 0);
    }

    fn input(&mut self, input: Input<'_>, max_frames: usize) {
        self.link.handle(self.now, input);
        let mut frames = 0;
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.link.poll_output() else {
                assert!(frames <= max_frames, "{frames} frames for one input");
                assert!(self.inside || self.link.phase() <= Phase::Authentication);
                assert!(!self.over || self.link.poll_timeout().is_none());
                return;
            };
            let _ = format!("{output:?}");
            assert!(!self.over, "{output:?} after Down");
            frames += usize::from(matches!(output, Output::Transmit(_)));
            self.output(output);
        }
        panic!("outputs without end");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Transmit(frame) => self.sent(&frame),
            Output::Ask(id, _) => {
                assert!(self.open.is_none(), "two questions at once");
                assert!(self.asked < Some(id), "a question's name is used again");
                (self.open, self.asked) = (Some(id), Some(id));
            }
            Output::Cancel(id) => assert_eq!(self.open.take(), Some(id)),
            Output::Event(Event::LcpOpened { .. }) => self.inside = false,
            Output::Event(Event::Authenticated) => {
                assert!(self.accepting, "let in without an acceptance");
                self.inside = true;
            }
            Output::Event(Event::Ipv4Up(address)) => assert_eq!((self.inside, address.octets()), (true, [10, 0, 0, 5])),
            Output::Event(Event::Ipv6Up { ours, theirs }) => {
                assert!(self.inside && ours != theirs && theirs == [0, 1, 0, 2, 0, 3, 0, 4]);
            }
            Output::Event(Event::Identified(name)) => assert!(name.len() <= 253),
            Output::Event(_) => {}
            Output::Down(ended) => {
                assert!(!ended.cause.is_empty() || matches!(ended.by, ppp::EndedBy::Us));
                self.over = true;
            }
        }
    }

    fn sent(&mut self, frame: &[u8]) {
        assert!(frame.len() <= MAX_FRAME && frame.starts_with(&[0xFF, 0x03]));
        let Class::Control { protocol, offset: 4 } = classify(frame) else { panic!("{frame:02x?}") };
        assert_eq!(usize::from(u16::from_be_bytes([frame[6], frame[7]])), frame.len() - 4);
        if let (Some(slot), 1) = (PROTOCOLS[..3].iter().position(|known| *known == protocol), frame[4]) {
            self.requests[slot] = Some((frame[5], frame[8..].to_vec()));
        }
    }
}

fn answer(kind: u8, bytes: &[u8]) -> Answer {
    match kind % 4 {
        0 => Answer::Accept { eap: bytes.to_vec(), message: bytes.to_vec(), network: Box::new(network(kind)) },
        1 => Answer::Reject { eap: bytes.to_vec(), message: bytes.to_vec() },
        2 => Answer::Reject { eap: Vec::new(), message: "E=648 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=expired".into() },
        _ => Answer::EapContinue { packet: if bytes.is_empty() { eap::build(eap::Code::Request, 1, 13, &[0x20]) } else { bytes.to_vec() } },
    }
}

fn network(kind: u8) -> Network {
    Network {
        ipv4: (kind & 4 == 0).then_some([10, 0, 0, 5].into()),
        gateway_ipv4: (kind & 8 == 0).then_some([10, 0, 0, 1].into()),
        dns: vec![[10, 0, 0, 53].into()],
        nbns: vec![[10, 0, 0, 60].into(), [10, 0, 0, 61].into()],
        ipv6: (kind & 16 == 0).then(|| [0x2001, 0xdb8, 0, 1, 1, 2, 3, 4].into()),
    }
}

fn config(kind: u8) -> LinkConfig {
    use AuthProtocol::{Chap, Eap, MsChapV2, Pap};
    let auth = match kind % 8 {
        0 => vec![Eap],
        1 => vec![MsChapV2],
        2 => vec![Chap],
        3 => vec![Pap],
        4 => vec![],
        _ => vec![Eap, MsChapV2, Chap, Pap],
    };
    let timers = Timers {
        passive: Duration::from_secs(1),
        restart: Duration::from_secs(3),
        max_configure: 10,
        negotiation: Duration::from_secs(60),
        echo_interval: Duration::from_secs(if kind & 8 == 0 { 20 } else { 0 }),
        echo_failures: 3,
    };
    LinkConfig { auth, mru: if kind & 16 == 0 { 4091 } else { 1400 }, name: "vpn".into(), seed: [kind; ppp::SEED_LENGTH], timers }
}

/// One instant for all runs.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scripts of the corpus go this way: were this not so, fuzzing would stop at the door.
    #[test]
    fn a_few_steps_lead_in() {
        for kind in 0..4 {
            let mut client = Client::new(kind);
            client.step(3, &[]);
            client.step(2, &[0, 0]);
            assert_eq!(client.link.phase(), Phase::Authentication);
            client.step(4, &[0, 7]);
            client.step(5, &[0]);
            assert!(client.inside);
            client.step(1, &[1, 1, 9, 3, 6, 10, 0, 0, 5]);
            client.step(2, &[1, 0]);
            assert_eq!(client.link.phase(), Phase::Up, "{kind}");
        }
    }
}
