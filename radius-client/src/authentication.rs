//! EAP conversations and logins by password: State, server stickiness, failover.
use crate::api::{Change, ConversationId, Credentials, NasContext, Output, RequestFailure, Server, Ticket};
use crate::attributes::service_type;
use crate::client::{Client, Request, Timer, Work};
use crate::codec::{Envelope, Packet, code};
use crate::reply::{self, Outcome};
use crate::request::{Access, BadRequest};
use crate::table::{PeerKey, RequestKey};
use crate::validate::Purpose;
use crate::{failure, filters};
use std::time::{Duration, Instant};

/// A conversation that goes on no more is forgotten after this; no client thinks longer about a challenge.
const CONVERSATION_LIFETIME: Duration = Duration::from_secs(300);

/// Kinds of attributes that are remembered as ignored, for each server.
const MAX_IGNORED: usize = 64;

/// One conversation between its rounds.
#[derive(Debug)]
pub(crate) struct Conversation {
    peer: PeerKey,
    state: Option<Vec<u8>>,
    /// The server sent a challenge: only this server can go on.
    challenged: bool,
    in_flight: Option<RequestKey>,
    /// When it is forgotten, while the client thinks.
    expires: Option<Instant>,
}

impl Conversation {
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    pub(crate) fn peer(&self) -> PeerKey {
        self.peer
    }
}

/// What the client showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Eap(Vec<u8>),
    Login(Box<Credentials>),
}

impl Proof {
    /// Service-Type of the request.
    pub(crate) fn service_type(&self) -> u32 {
        match self {
            Self::Login(credentials) if matches!(**credentials, Credentials::Certificate) => service_type::AUTHORIZE_ONLY,
            _ => service_type::FRAMED,
        }
    }
}

/// One round, and who waits for it.
#[derive(Debug)]
pub(crate) struct AuthenticationWork {
    tickets: Vec<Ticket>,
    pub(crate) conversation: ConversationId,
    group: Option<String>,
    user_name: Vec<u8>,
    proof: Proof,
    nas: Box<NasContext>,
    tried: Vec<PeerKey>,
    failures: Vec<RequestFailure>,
}

impl AuthenticationWork {
    pub(crate) fn new(
        ticket: Ticket,
        conversation: ConversationId,
        group: Option<String>,
        user_name: Vec<u8>,
        proof: Proof,
        nas: Box<NasContext>,
    ) -> Self {
        Self { tickets: vec![ticket], conversation, group, user_name, proof, nas, tried: Vec::new(), failures: Vec::new() }
    }

    pub(crate) fn is_eap(&self) -> bool {
        matches!(self.proof, Proof::Eap(_))
    }

    pub(crate) fn write(&self, state: Option<&[u8]>, envelope: &Envelope, server: &Server) -> Result<Vec<u8>, BadRequest> {
        Access { user_name: &self.user_name, nas: &self.nas, proof: &self.proof, state }.write(envelope, server)
    }
}

impl Client {
    pub(crate) fn authenticate(&mut self, now: Instant, work: AuthenticationWork) {
        if let Some(waiting) = self.conversations.get(&work.conversation).and_then(|conversation| conversation.in_flight) {
            if let Some(Work::Authentication(same)) = self.requests.get_mut(&waiting).map(|request| &mut request.work)
                && same.proof == work.proof
                && same.user_name == work.user_name
            {
                return same.tickets.extend(work.tickets);
            }
            self.cancel(waiting);
        }
        if matches!(work.proof, Proof::Login(_)) {
            // One question, one answer: what an EAP conversation left under this name is not its past.
            self.end(work.conversation);
        }
        self.ask(now, Box::new(work));
    }

    pub(crate) fn forget(&mut self, id: ConversationId) {
        let Some(conversation) = self.end(id) else { return };
        if let Some(waiting) = conversation.in_flight {
            self.cancel(waiting);
        }
    }

    fn cancel(&mut self, waiting: RequestKey) {
        if let Some(Work::Authentication(work)) = self.abandon(waiting) {
            self.report(&work.tickets, &Outcome::failed(&work.proof, RequestFailure::Forgotten));
        }
    }

    /// Sends a round to the server of its conversation, or to the best one not tried yet.
    fn ask(&mut self, now: Instant, work: Box<AuthenticationWork>) {
        let id = work.conversation;
        let sticky = self.conversations.get(&id).filter(|conversation| conversation.challenged).map(|conversation| conversation.peer);
        let wanted = self.peers.preferred(now, work.group.as_deref(), Purpose::Authentication, &mut *self.random);
        let peer = match (sticky, wanted) {
            (Some(peer), _) => peer,
            (None, Err(failure)) => return self.fail(*work, Some(failure)),
            (None, Ok(wanted)) => match wanted.into_iter().find(|peer| !work.tried.contains(peer)) {
                Some(peer) => peer,
                None => return self.fail(*work, None),
            },
        };
        match self.send(now, peer, Work::Authentication(work)) {
            Ok(key) => {
                if let Some(asked) = self.peers.get_mut(peer) {
                    let interval = asked.server.revive_interval;
                    asked.health_mut(Purpose::Authentication).tried(now, interval);
                }
                let fresh = Conversation { peer, state: None, challenged: false, in_flight: None, expires: None };
                let conversation = self.conversations.entry(id).or_insert(fresh);
                conversation.peer = peer;
                conversation.in_flight = Some(key);
                if let Some(at) = conversation.expires.take() {
                    self.timers.remove(&(at, Timer::Conversation(id)));
                }
            }
            Err((Work::Authentication(mut work), failure @ RequestFailure::Connection { .. })) if sticky.is_none() => {
                work.tried.push(peer);
                work.failures.push(failure);
                self.ask(now, work);
            }
            Err((Work::Authentication(work), failure)) => self.fail(*work, Some(failure)),
            Err(_) => {}
        }
    }

    pub(crate) fn authentication_answered(&mut self, now: Instant, request: &Request, work: AuthenticationWork, packet: &Packet<'_>) {
        let Some(peer) = self.peers.get(request.line.peer) else { return };
        let verdict = reply::read(packet, &work.proof, &peer.server, request.hiding(&peer.server.secret));
        self.note_ignored(request.line.peer, packet, work.nas.renews_after);
        match self.conversations.get_mut(&work.conversation) {
            Some(conversation) if verdict.outcome.goes_on() => {
                let expires = now + CONVERSATION_LIFETIME;
                conversation.state = verdict.state;
                conversation.challenged = true;
                conversation.in_flight = None;
                conversation.expires = Some(expires);
                self.timers.insert((expires, Timer::Conversation(work.conversation)));
            }
            _ => drop(self.end(work.conversation)),
        }
        self.report(&work.tickets, &verdict.outcome);
    }

    /// What an Access-Accept says in vain is told once.
    fn note_ignored(&mut self, peer: PeerKey, packet: &Packet<'_>, renews_after: Option<Duration>) {
        let Some(peer) = self.peers.get_mut(peer).filter(|_| packet.code() == code::ACCESS_ACCEPT) else { return };
        for id in filters::ignored(packet, &peer.server, renews_after) {
            if peer.ignored.len() < MAX_IGNORED && peer.ignored.insert(id) {
                let server = peer.server.name.clone();
                self.outputs.push_back(Output::Server { server, change: Change::Ignored(id) });
            }
        }
    }

    /// The server was silent or closed. Another one is asked only if this was the first round (RFC 3579 section 2.6.1: later rounds belong
    /// to the server that holds the EAP state), and not while the server answers others.
    pub(crate) fn authentication_unanswered(
        &mut self,
        now: Instant,
        mut work: Box<AuthenticationWork>,
        peer: PeerKey,
        failure: RequestFailure,
        alive: bool,
    ) {
        work.tried.push(peer);
        work.failures.push(failure);
        let challenged = self.is_challenged(work.conversation);
        if challenged
            && let Some(
                RequestFailure::Silent { server, .. } | RequestFailure::Unreachable { server } | RequestFailure::Connection { server, .. },
            ) = work.failures.last()
        {
            let (server, cause) = (server.clone(), failure::merge(work.failures).to_string());
            work.failures = vec![RequestFailure::LostConversation { server, cause }];
        }
        if challenged || alive { self.fail(*work, None) } else { self.ask(now, work) }
    }

    /// The conversation belongs to its server: no other has its state.
    pub(crate) fn is_challenged(&self, id: ConversationId) -> bool {
        self.conversations.get(&id).is_some_and(|conversation| conversation.challenged)
    }

    /// The round in flight goes on under another key.
    pub(crate) fn moved(&mut self, id: ConversationId, key: RequestKey) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.in_flight = Some(key);
        }
    }

    fn fail(&mut self, work: AuthenticationWork, last: Option<RequestFailure>) {
        self.end(work.conversation);
        let mut failures = work.failures;
        failures.extend(last);
        self.report(&work.tickets, &Outcome::failed(&work.proof, failure::merge(failures)));
    }

    fn end(&mut self, id: ConversationId) -> Option<Conversation> {
        let conversation = self.conversations.remove(&id)?;
        if let Some(at) = conversation.expires {
            self.timers.remove(&(at, Timer::Conversation(id)));
        }
        Some(conversation)
    }

    fn report(&mut self, tickets: &[Ticket], outcome: &Outcome) {
        self.outputs.extend(tickets.iter().map(|&ticket| outcome.output(ticket)));
    }
}
