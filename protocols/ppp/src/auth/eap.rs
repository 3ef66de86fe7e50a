//! EAP over PPP (RFC 3748): a pass-through authenticator. Only Identity is read here; the methods are between client and RADIUS.
use super::{Effect, MAX_NAME, misfit, too_long};
use crate::api::{Answer, EndedBy, Question};
use crate::negotiation::Fault;
use crate::packet::{MAX_INFORMATION, Packet, protocol, wrap};
use eap::Code;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Eap {
    restart: Duration,
    state: State,
    /// Our latest packet, which answers a repeated response.
    last: Vec<u8>,
    /// The client's latest response that was asked about.
    response: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// For the client; until then our request is repeated.
    Waiting(Instant),
    /// For the answer to our question.
    Asking,
    Finished,
}

impl Eap {
    /// Begins with Request/Identity of identifier 0, as Windows servers do.
    pub(crate) fn new(restart: Duration) -> Self {
        Self { restart, state: State::Finished, last: eap::identity_request(0), response: None, identity: None }
    }

    pub(crate) fn start(&mut self, now: Instant) -> Vec<Effect> {
        self.state = State::Waiting(now + self.restart);
        vec![self.send()]
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

    /// Only a response to our latest request counts; a Success or Failure that the client makes up, and requests, are dropped.
    pub(crate) fn receive(&mut self, information: &[u8]) -> Vec<Effect> {
        let Some(bytes) = Packet::parse(information).map(|packet| packet.bytes) else { return Vec::new() };
        let Ok(packet) = eap::Packet::parse(bytes) else { return Vec::new() };
        if self.response.as_deref() == Some(bytes) {
            return if matches!(self.state, State::Asking) { Vec::new() } else { vec![self.send()] };
        }
        let expected = matches!(self.state, State::Waiting(_)) && packet.identifier() == self.last[1];
        if packet.code() != Code::Response || !expected {
            return Vec::new();
        }
        let mut effects = Vec::new();
        let identity = match (&self.identity, packet.identity()) {
            (Some(identity), _) => identity.clone(),
            (None, Some(identity)) if identity.len() > MAX_NAME => return vec![too_long("EAP identity", identity.len())],
            (None, Some(identity)) => {
                effects.push(Effect::Identified(identity.to_vec()));
                identity.to_vec()
            }
            (None, None) => return effects,
        };
        self.identity = Some(identity.clone());
        self.response = Some(bytes.to_vec());
        self.state = State::Asking;
        effects.push(Effect::Ask(Question::Eap { identity, packet: bytes.to_vec() }));
        effects
    }

    pub(crate) fn answer(&mut self, now: Instant, answer: Answer) -> Vec<Effect> {
        let id = self.last[1];
        self.state = State::Finished;
        match answer {
            Answer::EapContinue { packet } => match eap::Packet::parse(&packet) {
                Ok(request) if request.code() == Code::Request && packet.len() <= MAX_INFORMATION => {
                    self.last = packet;
                    self.start(now)
                }
                _ => {
                    self.last = eap::failure(id);
                    vec![self.send(), misfit("EAP")]
                }
            },
            Answer::Accept { eap: success, network, .. } => {
                self.last = verdict(&success, Code::Success, id);
                vec![self.send(), Effect::Accepted(network)]
            }
            Answer::Reject { eap: failure, .. } => {
                self.last = verdict(&failure, Code::Failure, id);
                vec![self.send(), Effect::Failed(Fault::new(EndedBy::Refused, "the client was refused (EAP-Failure)"))]
            }
        }
    }

    fn send(&self) -> Effect {
        Effect::Send(wrap(protocol::EAP, &self.last))
    }
}

/// The Success or Failure of RADIUS if it is one, with the identifier of our last request in any case (RFC 3748 section 4.2).
fn verdict(packet: &[u8], code: Code, id: u8) -> Vec<u8> {
    match eap::Packet::parse(packet) {
        Ok(given) if given.code() == code && given.identifier() == id => packet.to_vec(),
        _ if code == Code::Success => eap::success(id),
        _ => eap::failure(id),
    }
}
