//! The responder's first IKE_AUTH request: who is it, and how does it authenticate (RFC 7296 sections 1.2 and 2.15).
use super::credential::{self, Presented};
use super::eap::{AwaitEapStart, ExpectEap};
use super::{Core, IkeSa, Request, Role, Signal, State, Step, grant};
use crate::api::{
    AddressRequest, Answer, AskId, Denial, Event, Fault, Grant, Identity, Question, Remedy, ResponderConfig, Stage, TrafficSelector,
};
use crate::auth::{AuthChoice, signed_octets, verify_auth};
use crate::endpoint::Shared;
use crate::nat::unexpected;
use crate::ppk::Choice;
use crate::proposal::SaPayload;
use crate::wire::{
    Auth, ConfigurationAttribute, Identification, Payload, Payloads, Spi, auth_method, cert_encoding, identity_text, notify,
};
use pki::{Certificate, Purpose};
use std::sync::Arc;

/// More certificates than any real chain has.
const MAX_CERTIFICATES: usize = 9;

/// What else may be wrong with a proof that does not verify.
pub(super) const OTHER_PPK: &str = "; or the two sides hold different secrets under the name of the PPK";

/// An IKE SA that has keys, and what AUTH will cover.
#[derive(Debug)]
pub(crate) struct Login {
    pub sa: IkeSa,
    pub init_request: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    /// A postquantum preshared key is mixed into the keys, and the client must hear of it.
    pub ppk: bool,
}

impl Login {
    /// What the client's AUTH covers.
    pub(super) fn peer_octets(&self, idi: &Identification) -> Vec<u8> {
        let octets = signed_octets(self.sa.keys.prf(), &self.init_request, &self.nonce_r, self.sa.peer_sk_p(), &idi.body);
        [octets, self.sa.int_auth()].concat()
    }

    /// What our AUTH covers.
    pub(super) fn own_octets(&self, core: &Core, idr: &Identification) -> Vec<u8> {
        let octets = signed_octets(self.sa.keys.prf(), &core.init_response, &self.nonce_i, self.sa.own_sk_p(), &idr.body);
        [octets, self.sa.int_auth()].concat()
    }

    /// Mixes the client's PPK in before its proof is looked at (RFC 8784 section 3), and says which AUTH to look at.
    ///
    /// # Errors
    /// Why the login ends with AUTHENTICATION_FAILED.
    pub(super) fn settle_ppk(&mut self, core: &Core, cx: &mut Shared, payloads: &Payloads) -> Result<Option<Auth>, String> {
        let Role::Responder(config) = &core.role else { return Ok(None) };
        let auth = payloads.auth().cloned();
        Ok(match config.ppk.choose(core.traits.ppk, payloads)? {
            Choice::Unused => auth,
            Choice::Use(ppk) => {
                core.note(cx, format!("PPK {:?} is mixed into the keys", ppk.name()));
                self.sa.mix_ppk(ppk);
                self.ppk = true;
                auth
            }
            Choice::Without(auth) => {
                core.note(cx, "the client's PPK is not known here; it goes on without");
                Some(auth)
            }
        })
    }

    pub(super) fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        (self.sa.own_spi() == own).then_some(&mut self.sa)
    }
}

/// What the client wants, from its first IKE_AUTH request.
#[derive(Debug)]
pub(super) struct Offer {
    pub idi: Identification,
    pub request: AddressRequest,
    /// Configuration attributes that were asked for, by type.
    pub asked: Vec<u16>,
    pub sa: SaPayload,
    pub ts_i: Vec<TrafficSelector>,
    pub ts_r: Vec<TrafficSelector>,
    pub initial_contact: bool,
    /// It authenticates by EAP: nobody vouches for IDi.
    pub eap: bool,
    /// The client wants no certificate of ours (RFC 5998).
    pub eap_only: bool,
}

/// The IKE_SA_INIT exchange is done.
#[derive(Debug)]
pub(crate) struct ExpectAuth {
    pub(super) login: Login,
}

impl Step for ExpectAuth {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Request(Request { payloads: Ok(payloads), .. }) = signal else { return self.into() };
        core.reach(cx, Stage::IkeAuth);
        core.last_seen = "the first IKE_AUTH request".into();
        core.traits.mobike = payloads.notify(notify::MOBIKE_SUPPORTED).is_some();
        if let Some(cause) = unexpected(&payloads, core.reply_path) {
            return core.refuse(cx, self.login.sa, notify::UNEXPECTED_NAT_DETECTED, Fault::PeerIncompatible, cause);
        }
        match read_offer(&payloads) {
            Ok(offer) => begin(core, cx, self.login, offer, &payloads),
            Err((kind, fault, cause)) => core.refuse(cx, self.login.sa, kind, fault, cause),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.login.sa(own)
    }

    fn into_sa(self: Box<Self>) -> Option<IkeSa> {
        Some(self.login.sa)
    }
}

type Complaint = (u16, Fault, String);

fn read_offer(payloads: &Payloads) -> Result<Offer, Complaint> {
    let missing = |what: &str| (notify::INVALID_SYNTAX, Fault::PeerMisbehaved, format!("IKE_AUTH request without {what}"));
    let idi = payloads.id_initiator().ok_or_else(|| missing("IDi"))?.clone();
    let sa = payloads.sa().ok_or_else(|| missing("SA"))?.clone();
    let ts_i = payloads.ts_initiator().ok_or_else(|| missing("TSi"))?.to_vec();
    let ts_r = payloads.ts_responder().ok_or_else(|| missing("TSr"))?.to_vec();
    let configuration = payloads.configuration();
    let request = configuration.map(|configuration| configuration.address_request()).unwrap_or_default();
    if !request.ipv4 && !request.ipv6 {
        let cause = "the client asks for no inner address; a gateway for remote access gives one to each client";
        return Err((notify::FAILED_CP_REQUIRED, Fault::PeerIncompatible, cause.into()));
    }
    let asked = configuration.map(|configuration| configuration.attributes.iter().map(ConfigurationAttribute::kind).collect());
    let asked = asked.unwrap_or_default();
    let initial_contact = payloads.notify(notify::INITIAL_CONTACT).is_some();
    let eap_only = payloads.notify(notify::EAP_ONLY_AUTHENTICATION).is_some();
    let eap = payloads.auth().is_none();
    Ok(Offer { idi, request, asked, sa, ts_i, ts_r, initial_contact, eap, eap_only })
}

/// No AUTH payload means EAP (RFC 7296 section 2.16).
fn begin(core: &mut Core, cx: &mut Shared, mut login: Login, offer: Offer, payloads: &Payloads) -> State {
    let Role::Responder(config) = &core.role else { return State::Gone };
    let config = Arc::clone(config);
    if let Err(cause) = config.ppk.admits(core.traits.ppk) {
        return core.refuse_for(cx, login.sa, Remedy::OfferPpk, cause);
    }
    let eap = offer.eap;
    let (allowed, name) = if eap { (config.client_auth.eap, "EAP") } else { (config.client_auth.certificate, "a certificate") };
    let leaf = payloads.certificates().next().filter(|_| !eap).and_then(|payload| Certificate::from_der(&payload.data).ok());
    let idi = identity_text(&offer.idi.identity, leaf.as_ref());
    core.event(cx, Event::Identified { idi, server_name: credential::asked_text(payloads) });
    if !allowed {
        let cause = format!("the client authenticates with {name}, which this gateway does not allow");
        return core.refuse(cx, login.sa, notify::AUTHENTICATION_FAILED, Fault::PeerIncompatible, cause);
    }
    let mut presented = match credential::choose(&config, &core.traits, core.path, payloads, cx.unix_time) {
        Ok(presented) => presented,
        Err(error) => {
            let cause = format!("none of the gateway's certificates suits this client: {error}");
            return core.refuse(cx, login.sa, notify::AUTHENTICATION_FAILED, Fault::PeerIncompatible, cause);
        }
    };
    if eap && offer.eap_only && config.client_auth.eap_only {
        return ExpectEap::begin_alone(core, cx, login, offer, presented.idr);
    }
    if eap {
        tell_presented(core, cx, &presented);
        return AwaitEapStart::begin(core, cx, login, offer, presented);
    }
    let refused = |core: &mut Core, cx: &mut Shared, login: Login, fault: Fault, cause: String| {
        core.refuse(cx, login.sa, notify::AUTHENTICATION_FAILED, fault, cause)
    };
    let auth = match login.settle_ppk(core, cx, payloads) {
        Ok(auth) => auth,
        Err(cause) => return core.refuse_for(cx, login.sa, Remedy::SharePpk, cause),
    };
    let leaf = payloads.certificates().next().filter(|payload| payload.encoding == cert_encoding::X509_SIGNATURE);
    if let Some(leaf) = leaf.and_then(|payload| Certificate::from_der(&payload.data).ok()) {
        core.event(cx, Event::ClientShows { subject: leaf.subject, issuer: leaf.issuer });
    }
    match verify_client(&config, cx, &login, &offer, payloads, auth.as_ref()) {
        Ok((certificate, proof)) => {
            presented.choice = presented.choice.answering(proof);
            tell_presented(core, cx, &presented);
            AwaitGrant::begin(core, cx, login, offer, presented, certificate)
        }
        Err((fault, cause)) => refused(core, cx, login, fault, cause),
    }
}

fn tell_presented(core: &mut Core, cx: &mut Shared, presented: &Presented) {
    let certificate = presented.credential.leaf().subject.clone();
    core.event(
        cx,
        Event::Presented { certificate, auth_method: presented.choice.to_string(), selection: Box::new(presented.selection.clone()) },
    );
}

/// Chain, purpose, and proof of possession; with how the client proved it.
fn verify_client(
    config: &ResponderConfig,
    cx: &Shared,
    login: &Login,
    offer: &Offer,
    payloads: &Payloads,
    auth: Option<&Auth>,
) -> Result<(Certificate, AuthChoice), (Fault, String)> {
    let Some(auth) = auth else { return Err((Fault::Internal, "AUTH vanished".into())) };
    if auth.method == auth_method::SHARED_KEY {
        return Err((Fault::PeerIncompatible, "the client authenticates with a pre-shared key, which this gateway does not know".into()));
    }
    let mut chain = Vec::new();
    for payload in payloads.certificates().take(MAX_CERTIFICATES) {
        if payload.encoding != cert_encoding::X509_SIGNATURE {
            return Err((Fault::PeerIncompatible, format!("CERT payload of the unsupported encoding {}", payload.encoding)));
        }
        let certificate = Certificate::from_der(&payload.data).map_err(|error| (Fault::Malformed, format!("client: {error}")))?;
        chain.push(certificate);
    }
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err((Fault::PeerMisbehaved, "the client sent AUTH but no certificate".into()));
    };
    config
        .client_roots
        .verify(leaf, intermediates, Purpose::Client, None, cx.unix_time)
        .map_err(|refused| (Fault::Refused, format!("client {refused}")))?;
    let hint = if login.ppk { OTHER_PPK } else { "" };
    let proof = verify_auth(auth, &leaf.spki, &login.peer_octets(&offer.idi))
        .map_err(|error| (Fault::Refused, format!("client: {error}{hint}")))?;
    Ok((chain.remove(0), proof))
}

/// The client has proved its certificate; may its holder come in?
#[derive(Debug)]
pub(crate) struct AwaitGrant {
    login: Login,
    offer: Offer,
    presented: Presented,
    ask: AskId,
}

impl AwaitGrant {
    fn begin(core: &mut Core, cx: &mut Shared, login: Login, offer: Offer, presented: Presented, certificate: Certificate) -> State {
        let identity: Identity = offer.idi.identity.clone();
        let question = Question::Certificate { identity, certificate: Box::new(certificate), request: offer.request };
        let ask = core.ask(cx, question);
        Self { login, offer, presented, ask }.into()
    }
}

impl Step for AwaitGrant {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Certificate(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        match result {
            Ok(grant) => {
                let Self { login, offer, presented, .. } = *self;
                let data = login.own_octets(core, &presented.idr);
                let ask = ask_signature(core, cx, &presented, data);
                AwaitSignature { login, offer, presented, grant: *grant, ask }.into()
            }
            Err(denial) => deny(core, cx, self.login.sa, Vec::new(), denial),
        }
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

pub(super) fn ask_signature(core: &mut Core, cx: &mut Shared, presented: &Presented, data: Vec<u8>) -> AskId {
    let question = Question::Sign { credential: presented.credential.clone(), scheme: presented.choice.scheme, data };
    core.ask(cx, question)
}

/// The login was refused; `head` goes before the notify.
pub(super) fn deny(core: &mut Core, cx: &mut Shared, sa: IkeSa, mut head: Vec<Payload>, denial: Denial) -> State {
    head.push(Payload::Notify(crate::wire::Notify::new(notify::AUTHENTICATION_FAILED, [])));
    let mut failure = core.failure(Fault::Refused, Some(notify::AUTHENTICATION_FAILED), denial.cause);
    failure.stage = denial.stage;
    core.refuse_with(cx, sa, head, failure)
}

/// The login is granted; our own proof is being signed.
#[derive(Debug)]
pub(crate) struct AwaitSignature {
    login: Login,
    offer: Offer,
    presented: Presented,
    grant: Grant,
    ask: AskId,
}

impl Step for AwaitSignature {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Signature(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        match result {
            Ok(signature) => {
                let mut head = self.presented.payloads();
                head.push(Payload::Auth(self.presented.choice.payload(&signature)));
                grant::finish(core, cx, self.login, &self.offer, head, self.grant)
            }
            Err(error) => unsigned(core, cx, self.login.sa, &error),
        }
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

pub(super) fn unsigned(core: &mut Core, cx: &mut Shared, sa: IkeSa, error: &str) -> State {
    core.refuse(cx, sa, notify::AUTHENTICATION_FAILED, Fault::Internal, format!("the gateway's certificate could not sign: {error}"))
}
