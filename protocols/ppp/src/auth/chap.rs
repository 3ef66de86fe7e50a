//! CHAP with MD5 (RFC 1994) and MS-CHAPv2 (RFC 2759).
use super::mschap::Failure;
use super::{Effect, MAX_NAME, misfit, too_long};
use crate::api::{Answer, ChangePassword, EndedBy, Question};
use crate::negotiation::Fault;
use crate::packet::{Packet, frame, protocol};
use crate::seed::Challenges;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;
const CHANGE_PASSWORD: u8 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Md5,
    MsChapV2,
}

#[derive(Debug)]
pub(crate) struct Chap {
    kind: Kind,
    /// Ours.
    name: String,
    restart: Duration,
    state: State,
    /// Of the latest challenge, be it in a Challenge or in a Failure.
    id: u8,
    challenge: [u8; 16],
    /// The latest packet that was asked about, and what answered it.
    asked: Option<(Zeroizing<Vec<u8>>, Vec<u8>)>,
    peer: Vec<u8>,
    attempts: usize,
    /// One for each attempt; a Failure may bring another.
    fresh: Challenges,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// For the response; until then the challenge is repeated.
    Waiting(Instant),
    /// For the answer to our question.
    Asking,
    /// For another try after a Failure; the client's user is typing, so nothing is repeated.
    Retrying(Failure),
    Finished,
}

impl Chap {
    pub(crate) fn new(kind: Kind, name: &str, fresh: Challenges, restart: Duration) -> Self {
        let mut end = name.len().min(MAX_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            kind,
            name: name[..end].into(),
            restart,
            state: State::Finished,
            id: 0,
            challenge: fresh[0],
            asked: None,
            peer: Vec::new(),
            attempts: 0,
            fresh,
        }
    }

    pub(crate) fn start(&mut self, now: Instant) -> Vec<Effect> {
        self.state = State::Waiting(now + self.restart);
        let mut data = vec![16];
        data.extend_from_slice(&self.challenge);
        data.extend_from_slice(self.name.as_bytes());
        vec![Effect::Send(frame(protocol::CHAP, CHALLENGE, self.id, &data))]
    }

    pub(crate) fn timer(&self) -> Option<Instant> {
        if let State::Waiting(until) = self.state { Some(until) } else { None }
    }

    pub(crate) fn timeout(&mut self, now: Instant) -> Vec<Effect> {
        match self.state {
            State::Waiting(until) if until <= now => self.start(now),
            _ => Vec::new(),
        }
    }

    pub(crate) fn receive(&mut self, information: &[u8]) -> Vec<Effect> {
        let Some(packet) = Packet::parse(information) else { return Vec::new() };
        if let Some((asked, reply)) = &self.asked
            && asked.as_slice() == packet.bytes
        {
            let open = matches!(self.state, State::Asking);
            return if open { Vec::new() } else { vec![Effect::Send(reply.clone())] };
        }
        if !self.expects(&packet) {
            return Vec::new();
        }
        match packet.code {
            RESPONSE => self.response(&packet),
            CHANGE_PASSWORD => self.change(&packet),
            _ => Vec::new(),
        }
    }

    /// After a Failure the identifier is that of the Failure plus one (RFC 2759 section 7); some clients keep it for a second response.
    fn expects(&self, packet: &Packet<'_>) -> bool {
        match (self.state, packet.code) {
            (State::Waiting(_), RESPONSE) => packet.id == self.id,
            (State::Retrying(failure), RESPONSE) => failure.retry && (packet.id == self.id || packet.id == self.id.wrapping_add(1)),
            (State::Retrying(failure), CHANGE_PASSWORD) => {
                failure.allows_change() && (packet.id == self.id || packet.id == self.id.wrapping_add(1))
            }
            _ => false,
        }
    }

    fn response(&mut self, packet: &Packet<'_>) -> Vec<Effect> {
        let expected = if self.kind == Kind::Md5 { 16 } else { 49 };
        let Some((&size, rest)) = packet.data.split_first() else { return Vec::new() };
        let (true, Some((value, name))) = (usize::from(size) == expected, rest.split_at_checked(expected)) else { return Vec::new() };
        if name.len() > MAX_NAME {
            return vec![too_long("name", name.len())];
        }
        let (name, identifier) = (name.to_vec(), packet.id);
        let question = match (self.kind, <[u8; 16]>::try_from(value), <[u8; 49]>::try_from(value)) {
            (Kind::Md5, Ok(response), _) => Question::Chap { name: name.clone(), identifier, challenge: self.challenge.to_vec(), response },
            (Kind::MsChapV2, _, Ok(response)) => Question::MsChapV2 { name: name.clone(), identifier, challenge: self.challenge, response },
            _ => return Vec::new(),
        };
        let mut effects = Vec::new();
        if self.attempts == 0 || name != self.peer {
            effects.push(Effect::Identified(name.clone()));
        }
        self.peer = name;
        effects.extend(self.ask(packet, question));
        effects
    }

    /// 582 octets: encrypted password, encrypted hash, peer challenge, 8 reserved, NT-Response, flags.
    fn change(&mut self, packet: &Packet<'_>) -> Vec<Effect> {
        let Some(change) = parse_change(packet.data) else { return Vec::new() };
        let (name, identifier, challenge) = (self.peer.clone(), packet.id, self.challenge);
        self.ask(packet, Question::ChangePassword { name, identifier, challenge, change: Box::new(change) })
    }

    fn ask(&mut self, packet: &Packet<'_>, question: Question) -> Vec<Effect> {
        self.attempts += 1;
        self.id = packet.id;
        self.asked = Some((Zeroizing::new(packet.bytes.to_vec()), Vec::new()));
        self.state = State::Asking;
        vec![Effect::Ask(question)]
    }

    pub(crate) fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        self.state = State::Finished;
        match answer {
            Answer::EapContinue { .. } => vec![self.reply(FAILURE, b""), misfit("CHAP")],
            Answer::Accept { message, network, .. } => vec![self.reply(SUCCESS, &message), Effect::Accepted(network)],
            Answer::Reject { message, .. } if self.kind == Kind::Md5 => {
                vec![self.reply(FAILURE, &message), refused("the client was refused (CHAP Failure)")]
            }
            Answer::Reject { message, .. } => self.rejected(&message),
        }
    }

    /// The text of RADIUS goes on as it is; our own has a challenge, which is of no use but must be there (RFC 2759 section 6). A text that allows
    /// another step without the challenge for it leaves that to whoever asked the client, which are we.
    fn rejected(&mut self, message: &[u8]) -> Vec<Effect> {
        if message.is_empty() {
            let ours = format!("E=691 R=0 C={:032X} V=3", u128::from_be_bytes(self.challenge));
            return vec![self.reply(FAILURE, ours.as_bytes()), given_up(691)];
        }
        let failure = Failure::parse(message);
        let goes_on = failure.retry || failure.allows_change();
        match self.fresh.get(self.attempts).filter(|_| goes_on && failure.comes_whole()) {
            Some(fresh) => {
                self.challenge = failure.challenge.unwrap_or(*fresh);
                self.state = State::Retrying(failure);
                let text = failure.with_challenge(message, self.challenge);
                vec![self.reply(FAILURE, &text), Effect::Patience]
            }
            None => vec![self.reply(FAILURE, message), given_up(if failure.error == 0 { 691 } else { failure.error })],
        }
    }

    fn reply(&mut self, code: u8, message: &[u8]) -> Effect {
        let reply = frame(protocol::CHAP, code, self.id, message);
        if let Some((_, kept)) = &mut self.asked {
            kept.clone_from(&reply);
        }
        Effect::Send(reply)
    }
}

fn given_up(error: u32) -> Effect {
    refused(&format!("the client was refused (MS-CHAPv2 error {error})"))
}

fn refused(cause: &str) -> Effect {
    Effect::Failed(Fault::new(EndedBy::Refused, cause))
}

fn parse_change(data: &[u8]) -> Option<ChangePassword> {
    let (password, rest) = data.split_first_chunk::<516>()?;
    let (encrypted_hash, rest) = rest.split_first_chunk()?;
    let (peer_challenge, rest) = rest.split_first_chunk()?;
    let (_reserved, rest) = rest.split_first_chunk::<8>()?;
    let (nt_response, rest) = rest.split_first_chunk()?;
    let flags = rest.try_into().ok()?;
    Some(ChangePassword {
        encrypted_password: Zeroizing::new(*password),
        encrypted_hash: *encrypted_hash,
        peer_challenge: *peer_challenge,
        nt_response: *nt_response,
        flags,
    })
}
