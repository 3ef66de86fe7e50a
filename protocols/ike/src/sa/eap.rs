//! The responder's EAP conversation (RFC 7296 section 2.16): each response leaves as a question, each answer goes to the client.
use super::auth::{Login, OTHER_PPK, Offer, ask_signature, deny, unsigned};
use super::credential::Presented;
use super::{Core, IkeSa, Request, Signal, State, Step, grant, notify_text};
use crate::api::{Answer, AskId, EapAnswer, EapQuestion, Fault, Grant, Question, Remedy, Stage};
use crate::auth::{eap_auth, verify_eap_auth};
use crate::endpoint::Shared;
use crate::wire::{Identification, Payload, Payloads, Spi, notify};
use crypto::Zeroizing;

/// Identifier of our Identity request; the authenticator behind us chooses its own.
const IDENTITY_REQUEST: u8 = 0;

/// What an EAP conversation carries along.
#[derive(Debug)]
pub(super) struct Conversation {
    login: Login,
    offer: Offer,
    idr: Identification,
    /// From the EAP-Response/Identity.
    identity: Option<Vec<u8>>,
    /// We have shown no certificate: the method has to prove us (RFC 5998).
    alone: bool,
    /// The method that the client answered last.
    method: Option<u8>,
}

/// Our proof is being signed; the first EAP request goes out with it.
#[derive(Debug)]
pub(crate) struct AwaitEapStart {
    login: Login,
    offer: Offer,
    presented: Presented,
    ask: AskId,
}

impl AwaitEapStart {
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, login: Login, offer: Offer, presented: Presented) -> State {
        let data = login.own_octets(core, &presented.idr);
        let ask = ask_signature(core, cx, &presented, data);
        Self { login, offer, presented, ask }.into()
    }
}

impl Step for AwaitEapStart {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Signature(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let Self { mut login, offer, presented, .. } = *self;
        let signature = match result {
            Ok(signature) => signature,
            Err(error) => return unsigned(core, cx, login.sa, &error),
        };
        let mut payloads = presented.payloads();
        payloads.push(Payload::Auth(presented.choice.payload(&signature)));
        payloads.push(Payload::Eap(::eap::identity_request(IDENTITY_REQUEST)));
        core.respond(cx, &mut login.sa, &payloads);
        core.heard = cx.now;
        ExpectEap { conversation: Conversation::new(login, offer, presented.idr, false) }.into()
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.login.sa)
    }

    fn expects_peer(&self) -> bool {
        false
    }
}

impl Conversation {
    fn new(login: Login, offer: Offer, idr: Identification, alone: bool) -> Self {
        Self { login, offer, idr, identity: None, alone, method: None }
    }

    /// Takes note of the method of a response. Alone, only one that proves us to the client may go on.
    fn take_method(&mut self, method: u8) -> Result<(), String> {
        if matches!(method, ::eap::method::IDENTITY | ::eap::method::NOTIFICATION | ::eap::method::NAK) {
            return Ok(());
        }
        self.method = Some(method);
        if self.alone && !::eap::method::authenticates_server(method) {
            let name = ::eap::method::name(method);
            return Err(format!(
                "the client takes EAP alone as proof of the gateway (RFC 5998), and {name} proves nothing of it; use EAP-TLS, or set \
                 eap_only = false on the listener"
            ));
        }
        Ok(())
    }

    /// What is missing at EAP-Success for the method to stand alone.
    fn lacks(&self, msk: &[u8]) -> Option<&'static str> {
        match (self.alone, self.method) {
            (true, None) => Some("EAP succeeded without a method, and nothing else proves the gateway (RFC 5998)"),
            (true, Some(_)) if msk.is_empty() => Some("EAP made no key, and nothing else proves the gateway (RFC 5998)"),
            _ => None,
        }
    }
}

/// An EAP request is with the client.
#[derive(Debug)]
pub(crate) struct ExpectEap {
    conversation: Conversation,
}

impl ExpectEap {
    /// The client wants no certificate of ours.
    pub(super) fn begin_alone(core: &mut Core, cx: &mut Shared, mut login: Login, offer: Offer, idr: Identification) -> State {
        core.note(cx, "the client takes EAP alone as proof of the gateway (RFC 5998): no certificate is shown");
        let payloads = [Payload::IdResponder(idr.clone()), Payload::Eap(::eap::identity_request(IDENTITY_REQUEST))];
        core.respond(cx, &mut login.sa, &payloads);
        Self { conversation: Conversation::new(login, offer, idr, true) }.into()
    }
}

impl Step for ExpectEap {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Request(Request { payloads: Ok(payloads), .. }) = signal else { return self.into() };
        let mut conversation = self.conversation;
        match read_response(&payloads, &mut conversation) {
            Ok((question, seen)) => {
                core.last_seen = seen;
                core.reach(cx, Stage::Eap);
                let (packet, identity) = question;
                let Offer { idi, request, .. } = &conversation.offer;
                let question = EapQuestion { packet, identity, idi: idi.identity.clone(), request: *request };
                let ask = core.ask(cx, Question::Eap(question));
                AwaitEap { conversation, ask }.into()
            }
            // Its method proves nothing of us: all else that can be wrong with a response is against the protocol.
            Err((_, Fault::PeerIncompatible, cause)) => core.refuse_for(cx, conversation.login.sa, Remedy::ProveByEap, cause),
            Err((kind, fault, cause)) => core.refuse(cx, conversation.login.sa, kind, fault, cause),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.conversation.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.conversation.login.sa)
    }
}

type EapResponse = (Vec<u8>, Vec<u8>);

/// The EAP packet with the identity of the conversation, and words for the record; or what to refuse with.
fn read_response(payloads: &Payloads, conversation: &mut Conversation) -> Result<(EapResponse, String), (u16, Fault, String)> {
    let broken = |cause: String| (notify::INVALID_SYNTAX, Fault::PeerMisbehaved, cause);
    let Some(bytes) = payloads.eap() else {
        let words = payloads.error().map_or_else(
            || "IKE_AUTH request without EAP payload".into(),
            |error| format!("the client gave up during EAP with {}", notify_text(error)),
        );
        return Err(broken(words));
    };
    let packet = ::eap::Packet::parse(bytes).map_err(|error| broken(error.to_string()))?;
    if packet.code() != ::eap::Code::Response {
        return Err(broken("the client sent an EAP packet that is no Response".into()));
    }
    let number = packet.method().unwrap_or_default();
    let method = ::eap::method::name(number);
    conversation.take_method(number).map_err(|cause| (notify::AUTHENTICATION_FAILED, Fault::PeerIncompatible, cause))?;
    if conversation.identity.is_none() {
        conversation.identity = packet.identity().map(<[u8]>::to_vec);
    }
    match &conversation.identity {
        Some(identity) => Ok(((bytes.to_vec(), identity.clone()), format!("an EAP-Response ({method})"))),
        None => {
            let cause = format!("the client answered the EAP Identity request with {method}");
            Err((notify::AUTHENTICATION_FAILED, Fault::PeerMisbehaved, cause))
        }
    }
}

/// The authenticator works on an EAP response. The client's duplicates are dropped meanwhile.
#[derive(Debug)]
pub(crate) struct AwaitEap {
    conversation: Conversation,
    ask: AskId,
}

impl Step for AwaitEap {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Eap(answer)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let mut conversation = self.conversation;
        core.heard = cx.now;
        match answer {
            EapAnswer::Continue { packet } => {
                core.respond(cx, &mut conversation.login.sa, &[Payload::Eap(packet)]);
                ExpectEap { conversation }.into()
            }
            EapAnswer::Success { packet, msk, grant } => {
                if let Some(cause) = conversation.lacks(&msk) {
                    return core.refuse_for(cx, conversation.login.sa, Remedy::ProveByEap, cause);
                }
                core.respond(cx, &mut conversation.login.sa, &[Payload::Eap(packet)]);
                core.last_seen = "the EAP-Response before EAP-Success; its AUTH did not come".into();
                ExpectEapAuth { conversation, msk, grant: *grant }.into()
            }
            EapAnswer::Failure { packet, denial } => deny(core, cx, conversation.login.sa, vec![Payload::Eap(packet)], denial),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.conversation.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.conversation.login.sa)
    }

    fn expects_peer(&self) -> bool {
        false
    }
}

/// EAP succeeded; the client must prove that it holds the same key.
pub(crate) struct ExpectEapAuth {
    conversation: Conversation,
    msk: Zeroizing<Vec<u8>>,
    grant: Grant,
}

impl std::fmt::Debug for ExpectEapAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExpectEapAuth").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

impl Step for ExpectEapAuth {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Request(Request { payloads: Ok(payloads), .. }) = signal else { return self.into() };
        let Conversation { mut login, offer, idr, .. } = self.conversation;
        let auth = match login.settle_ppk(core, cx, &payloads) {
            Ok(auth) => auth,
            Err(cause) => return core.refuse_for(cx, login.sa, Remedy::SharePpk, cause),
        };
        let Some(auth) = auth else {
            return core.refuse(cx, login.sa, notify::INVALID_SYNTAX, Fault::PeerMisbehaved, "no AUTH payload after EAP-Success");
        };
        let prf = login.sa.keys.prf();
        let verified = verify_eap_auth(&auth, prf, &self.msk, login.sa.peer_sk_p(), &login.peer_octets(&offer.idi));
        if let Err(error) = verified {
            let hint = if login.ppk { OTHER_PPK } else { "" };
            return core.refuse(cx, login.sa, notify::AUTHENTICATION_FAILED, Fault::Refused, format!("{error}{hint}"));
        }
        let own = eap_auth(prf, &self.msk, login.sa.own_sk_p(), &login.own_octets(core, &idr));
        grant::finish(core, cx, login, &offer, vec![Payload::Auth(own)], self.grant)
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.conversation.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.conversation.login.sa)
    }
}
