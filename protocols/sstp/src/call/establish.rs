//! From the HTTP head to the verified crypto binding ([MS-SSTP] 3.3.5.2.2 and 3.3.5.2.3).
use super::{CallConnected, Core, Event, State, no_error};
use crate::api::{CallConfig, CertificateHashes, EndedBy, InnerKeys, Output};
use crate::binding;
use crate::frame::is_ppp_data;
use crate::message::{self, AttributeId, BindingRequest, Invalid, Message, Status, StatusInfo};
use std::time::Instant;

/// CALL_CONNECT_NAKs in answer to one client.
const MAX_NAKS: u32 = 3;

/// Server_Connect_Request_Pending.
#[derive(Debug)]
pub(super) struct ConnectRequestPending {
    offer: Box<Offer>,
    naks: u32,
    pub(super) deadline: Instant,
}

/// What a client's crypto binding is judged by.
#[derive(Debug)]
struct Offer {
    request: BindingRequest,
    certificates: Vec<CertificateHashes>,
}

impl ConnectRequestPending {
    pub(super) fn new(now: Instant, config: CallConfig) -> Self {
        let request = BindingRequest { sha1: config.offer_sha1, sha256: true, nonce: config.nonce };
        let offer = Box::new(Offer { request, certificates: config.certificates });
        Self { offer, naks: 0, deadline: now + config.timers.negotiation }
    }

    pub(super) fn handle(self, core: &mut Core, now: Instant, event: Event<'_>) -> State {
        match event {
            Event::Message(Message::CallConnectRequest) => self.accept(core, now),
            Event::Message(Message::CallAbort(info)) => core.aborted(now, info),
            Event::Message(Message::CallDisconnect(info)) => core.disconnected(now, info),
            Event::Message(other) => core.unexpected(now, &other, "before CALL_CONNECT_REQUEST"),
            Event::Invalid(Invalid::Request(rejections)) => self.refuse(core, now, rejections),
            Event::Invalid(invalid) => core.invalid(now, invalid, "before CALL_CONNECT_REQUEST"),
            Event::Garbage(what) => core.garbage(what),
            Event::Close => core.abort(now, EndedBy::Us, no_error(), "the gateway ended the call"),
            Event::Closed => core.connection_lost(),
            Event::Timeout if now >= self.deadline => core.negotiation_timeout(now, "CALL_CONNECT_REQUEST", core.timers.negotiation),
            Event::Data(_) | Event::Ppp(_) => {
                core.drop_early_data();
                State::ConnectRequestPending(self)
            }
            Event::Authenticated(_) | Event::Waiting(_) | Event::Heard(_) | Event::Timeout => State::ConnectRequestPending(self),
        }
    }

    fn accept(self, core: &mut Core, now: Instant) -> State {
        core.send(&Message::CallConnectAck(self.offer.request.clone()));
        core.outputs.push_back(Output::StartPpp);
        let (deadline, latest) = (now + core.timers.negotiation, now + core.timers.authentication);
        let pending = CallConnectedPending { offer: *self.offer, keys: None, early: None, deadline, latest, waiting: None };
        State::CallConnectedPending(Box::new(pending))
    }

    /// The client may try again; the negotiation timer runs on.
    fn refuse(self, core: &mut Core, now: Instant, rejections: Vec<StatusInfo>) -> State {
        let reasons = rejections.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if self.naks == MAX_NAKS {
            let info = StatusInfo::new(AttributeId::NONE, Status::RETRY_COUNT_EXCEEDED);
            let what = format!("the client sent an unacceptable CALL_CONNECT_REQUEST {} times, the last with {reasons}", MAX_NAKS + 1);
            return core.abort(now, EndedBy::Violation, info, &what);
        }
        core.note(format!("CALL_CONNECT_REQUEST refused with CALL_CONNECT_NAK: {reasons}"));
        core.send(&Message::CallConnectNak(rejections));
        State::ConnectRequestPending(Self { naks: self.naks + 1, ..self })
    }
}

/// Server_Call_Connected_Pending.
#[derive(Debug)]
pub(super) struct CallConnectedPending {
    offer: Offer,
    keys: Option<InnerKeys>,
    /// CALL_CONNECTED that came before the keys to judge it by.
    early: Option<Box<message::CallConnected>>,
    /// Of the negotiation timer, while it runs.
    deadline: Instant,
    /// The end of all patience.
    latest: Instant,
    /// Since when the negotiation timer stands still.
    waiting: Option<Instant>,
}

impl CallConnectedPending {
    pub(super) fn due(&self) -> Instant {
        if self.waiting.is_some() { self.latest } else { self.deadline.min(self.latest) }
    }

    fn wait(&mut self, now: Instant, waiting: bool) {
        if waiting {
            self.waiting.get_or_insert(now);
        } else if let Some(since) = self.waiting.take() {
            self.deadline += now.saturating_duration_since(since);
        }
    }

    pub(super) fn handle(mut self: Box<Self>, core: &mut Core, now: Instant, event: Event<'_>) -> State {
        match event {
            Event::Message(Message::CallConnected(connected)) => return self.connected(core, now, connected),
            Event::Message(Message::CallAbort(info)) => return core.aborted(now, info),
            Event::Message(Message::CallDisconnect(info)) => return core.disconnected(now, info),
            Event::Message(other) => return core.unexpected(now, &other, "after CALL_CONNECT_ACK, before CALL_CONNECTED"),
            Event::Invalid(invalid) => return core.invalid(now, invalid, "after CALL_CONNECT_ACK"),
            Event::Garbage(what) => return core.garbage(what),
            Event::Authenticated(keys) => return self.authenticated(core, now, keys),
            Event::Close => return core.disconnect(now),
            Event::Closed => return core.connection_lost(),
            Event::Timeout if now >= self.due() => return self.timed_out(core, now),
            Event::Data(frame) | Event::Ppp(frame) if is_ppp_data(frame) => core.drop_early_data(),
            Event::Data(frame) => core.outputs.push_back(Output::Ppp(frame.to_vec())),
            Event::Ppp(frame) => core.send_ppp(frame),
            Event::Waiting(waiting) => self.wait(now, waiting),
            Event::Heard(_) | Event::Timeout => {}
        }
        State::CallConnectedPending(self)
    }

    fn timed_out(&self, core: &mut Core, now: Instant) -> State {
        let whole = if now >= self.latest { core.timers.authentication } else { core.timers.negotiation };
        core.negotiation_timeout(now, self.missing(), whole)
    }

    fn missing(&self) -> &'static str {
        match (&self.early, &self.keys) {
            (Some(_), _) => "credentials to verify its early CALL_CONNECTED by",
            (None, Some(_)) => "CALL_CONNECTED after its authentication",
            (None, None) => "CALL_CONNECTED, nor did it authenticate,",
        }
    }

    fn connected(mut self: Box<Self>, core: &mut Core, now: Instant, connected: Box<message::CallConnected>) -> State {
        if self.early.is_some() {
            return core.unexpected(now, &Message::CallConnected(connected), "a second time");
        }
        if let Some(keys) = &self.keys {
            return self.offer.judge(core, now, keys, &connected);
        }
        core.note("CALL_CONNECTED came before the end of authentication; it is verified then");
        self.early = Some(connected);
        State::CallConnectedPending(self)
    }

    fn authenticated(mut self: Box<Self>, core: &mut Core, now: Instant, keys: InnerKeys) -> State {
        if let Some(connected) = &self.early {
            return self.offer.judge(core, now, &keys, connected);
        }
        self.keys = Some(keys);
        State::CallConnectedPending(self)
    }
}

impl Offer {
    fn judge(&self, core: &mut Core, now: Instant, keys: &InnerKeys, connected: &message::CallConnected) -> State {
        match binding::verify(&self.request, &self.certificates, keys, connected) {
            Ok(hash) => {
                core.outputs.push_back(Output::Connected(hash));
                State::CallConnected(CallConnected::new(now))
            }
            Err(mismatch) => {
                let info = StatusInfo::new(AttributeId::CRYPTO_BINDING, Status::VALUE_NOT_SUPPORTED);
                core.abort(now, EndedBy::Binding, info, &mismatch.to_string())
            }
        }
    }
}
