//! The initiator's half of IKE_AUTH, with a certificate or EAP.
use super::child::{Child, ChildPhase, Pfs, Scope, directions, install};
use super::closing::Closing;
use super::credential::certificates;
use super::established::Established;
use super::initiate::give_up;
use super::{Core, IkeSa, Signal, State, Step, notify_text};
use crate::api::{
    Answer, AskId, CloseReason, Event, Failure, Fault, InitiatorAuth, InitiatorConfig, Question, Stage, TimeoutReason, TrafficSelector,
};
use crate::auth::{AuthChoice, choose_scheme, eap_auth, signed_octets, verify_auth, verify_eap_auth};
use crate::endpoint::Shared;
use crate::keys::IkeKeys;
use crate::proposal::{SaPayload, accept_esp, offer_esp};
use crate::qcd;
use crate::wire::{Auth, CertificateRequest, Configuration, Exchange, Identification, Notify, Payload, Payloads, Spi, notify};
use crypto::Zeroizing;
use pki::{Certificate, Credential, Purpose};
use std::sync::Arc;
use std::time::Instant;

/// Everything that IKE_AUTH needs from IKE_SA_INIT.
#[derive(Debug)]
pub(crate) struct Proof {
    pub config: Arc<InitiatorConfig>,
    pub sa: IkeSa,
    pub init_request: Vec<u8>,
    pub init_response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    /// The keys without our PPK, while the gateway has not said that it knows it.
    pub plain: Option<IkeKeys>,
}

impl Proof {
    fn idi(&self) -> Identification {
        Identification::new(self.config.identity.clone())
    }

    fn own_octets(&self) -> Vec<u8> {
        let octets = signed_octets(self.sa.keys.prf(), &self.init_request, &self.nonce_r, self.sa.own_sk_p(), &self.idi().body);
        [octets, self.sa.int_auth()].concat()
    }

    fn peer_octets(&self, idr: &Identification) -> Vec<u8> {
        let octets = signed_octets(self.sa.keys.prf(), &self.init_response, &self.nonce_i, self.sa.peer_sk_p(), &idr.body);
        [octets, self.sa.int_auth()].concat()
    }

    /// Mixes our PPK in, where both sides know of PPKs, before we prove ourselves; what goes with AUTH then (RFC 8784 section 3).
    fn mix_ppk(&mut self, core: &Core) -> Option<Payload> {
        let config = Arc::clone(&self.config);
        let ppk = &config.ppk.as_ref().filter(|_| core.traits.ppk)?.ppk;
        self.plain = Some(self.sa.mix_ppk(ppk));
        Some(Payload::Notify(ppk.identity()))
    }

    /// The gateway does not demand a PPK as we do not: it may not know ours.
    fn may_go_without(&self) -> bool {
        self.config.ppk.as_ref().is_some_and(|ppk| !ppk.required)
    }

    /// Whether the gateway used our PPK shows in its answer; else we go on without, if we may.
    fn settle_ppk(&mut self, payloads: &Payloads) -> Result<(), String> {
        let Some(plain) = self.plain.take() else { return Ok(()) };
        if payloads.notify(notify::PPK_IDENTITY).is_some() {
            return Ok(());
        }
        if !self.may_go_without() {
            return Err("the gateway does not use our PPK, and we demand it".into());
        }
        self.sa.keys = plain;
        Ok(())
    }

    pub(super) fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        (self.sa.own_spi() == own).then_some(&mut self.sa)
    }
}

/// Our own proof is being signed.
#[derive(Debug)]
pub(crate) struct AwaitProof {
    proof: Proof,
    credential: Credential,
    choice: AuthChoice,
    /// What goes with AUTH.
    more: Vec<Payload>,
    /// What is being signed is the proof without PPK; the one with it comes next.
    spare: bool,
    ask: AskId,
}

impl AwaitProof {
    pub(super) fn begin(core: &mut Core, cx: &mut Shared, proof: Proof) -> State {
        let config = Arc::clone(&proof.config);
        match &config.auth {
            InitiatorAuth::Eap | InitiatorAuth::EapOnly => ExpectAuthReply::send(core, cx, proof, Vec::new(), Vec::new()),
            InitiatorAuth::Certificate(credential) => {
                let choice = match choose_scheme(credential.key.kind(), core.traits.hashes.as_deref()) {
                    Ok(choice) => choice,
                    Err(error) => return give_up(core, cx, Fault::PeerIncompatible, error.to_string()),
                };
                let spare = core.traits.ppk && proof.may_go_without();
                Self::sign(core, cx, proof, credential.clone(), choice, Vec::new(), spare)
            }
        }
    }

    fn sign(
        core: &mut Core,
        cx: &mut Shared,
        mut proof: Proof,
        credential: Credential,
        choice: AuthChoice,
        mut more: Vec<Payload>,
        spare: bool,
    ) -> State {
        if !spare {
            more.extend(proof.mix_ppk(core));
        }
        let data = proof.own_octets();
        let ask = core.ask(cx, Question::Sign { credential: credential.clone(), scheme: choice.scheme, data });
        Self { proof, credential, choice, more, spare, ask }.into()
    }
}

impl Step for AwaitProof {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::Signature(result)) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let Self { proof, credential, choice, more, spare, .. } = *self;
        let auth = match result {
            Ok(signature) => choice.payload(&signature),
            Err(error) => return give_up(core, cx, Fault::Internal, error),
        };
        if spare {
            return Self::sign(core, cx, proof, credential, choice, vec![without_ppk(auth)], false);
        }
        let certificates = certificates(&credential).collect();
        ExpectAuthReply::send(core, cx, proof, certificates, [vec![Payload::Auth(auth)], more].concat())
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.proof.sa(own)
    }
}

/// Our proof for a gateway that does not know our PPK (RFC 8784 section 3).
fn without_ppk(auth: Auth) -> Payload {
    Payload::Notify(Notify::new(notify::NO_PPK_AUTH, auth.data))
}

/// What we asked for in the first IKE_AUTH request.
#[derive(Debug)]
struct Wish {
    spi_in: u32,
    esp: SaPayload,
}

/// The first IKE_AUTH request is on its way.
#[derive(Debug)]
pub(crate) struct ExpectAuthReply {
    proof: Proof,
    wish: Wish,
}

impl ExpectAuthReply {
    fn send(core: &mut Core, cx: &mut Shared, mut proof: Proof, certificates: Vec<Payload>, auth: Vec<Payload>) -> State {
        let config = Arc::clone(&proof.config);
        let spi_in = cx.take_esp_spi();
        core.esp_wish = Some(spi_in);
        let wish = Wish { spi_in, esp: offer_esp(&config.ciphers, spi_in, &[]) };
        let mut payloads = vec![Payload::IdInitiator(proof.idi())];
        payloads.extend(certificates);
        if config.initial_contact {
            payloads.push(Payload::Notify(Notify::new(notify::INITIAL_CONTACT, [])));
        }
        if matches!(config.auth, InitiatorAuth::EapOnly) {
            payloads.push(Payload::Notify(Notify::new(notify::EAP_ONLY_AUTHENTICATION, [])));
        }
        let hashes: Vec<_> = config.server_roots.roots().iter().map(Certificate::spki_sha1).collect();
        if !hashes.is_empty() {
            payloads.push(Payload::CertificateRequest(CertificateRequest::x509(hashes)));
        }
        payloads.extend(auth);
        if config.mobike {
            payloads.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, [])));
        }
        if config.want_ipv4 || config.want_ipv6 {
            payloads.push(Payload::Configuration(Configuration::request(config.want_ipv4, config.want_ipv6)));
        }
        payloads.extend([
            Payload::Sa(wish.esp.clone()),
            Payload::TsInitiator(config.local_selectors.clone()),
            Payload::TsResponder(config.remote_selectors.clone()),
        ]);
        core.request(cx, &mut proof.sa, Exchange::IkeAuth, &payloads);
        Self { proof, wish }.into()
    }

    /// The gateway has said who it is; EAP goes on, or all is decided.
    fn reply(self, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> State {
        let Self { mut proof, wish } = self;
        let settled = if payloads.error().is_none() { proof.settle_ppk(payloads) } else { Ok(()) };
        let alone = matches!(proof.config.auth, InitiatorAuth::EapOnly) && payloads.auth().is_none();
        let idr = match settled.and_then(|()| if alone { named(payloads) } else { verify_gateway(cx, &proof, payloads) }) {
            Ok(idr) => idr,
            Err(cause) => return reject(core, cx, proof, payloads, cause),
        };
        let conversation = Conversation { proof, wish, idr, msk: Zeroizing::default(), alone };
        match (payloads.eap(), &conversation.proof.config.auth) {
            (Some(packet), InitiatorAuth::Eap | InitiatorAuth::EapOnly) => {
                core.reach(cx, Stage::Eap);
                conversation.ask(core, cx, packet.to_vec())
            }
            (None, InitiatorAuth::Certificate(_)) => conversation.complete(core, cx, payloads),
            _ => give_up(core, cx, Fault::PeerMisbehaved, "the gateway answers with another way to authenticate than ours"),
        }
    }
}

impl Step for ExpectAuthReply {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Response(_, Ok(payloads)) => self.reply(core, cx, &payloads),
            Signal::Response(_, Err(error)) => give_up(core, cx, Fault::Malformed, error.to_string()),
            Signal::Timeout => match retransmit(core, cx, &mut self.proof.sa) {
                Ok(()) => self.into(),
                Err(failure) => lost(core, cx, failure),
            },
            _ => self.into(),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.proof.sa(own)
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        self.proof.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit))
    }
}

pub(super) fn retransmit(core: &Core, cx: &mut Shared, sa: &mut IkeSa) -> Result<(), Failure> {
    match sa.retransmit(cx.now) {
        Ok(datagrams) => {
            cx.repeat_all(core.path, &datagrams);
            Ok(())
        }
        Err(_) => Err(core.failure(Fault::Silence, None, "the gateway does not answer any more")),
    }
}

pub(super) fn lost(core: &mut Core, cx: &mut Shared, failure: Failure) -> State {
    core.end(cx, CloseReason::Failed, Some(failure));
    State::Gone
}

/// Certificate, name, and signature of the gateway.
fn verify_gateway(cx: &Shared, proof: &Proof, payloads: &Payloads) -> Result<Identification, String> {
    let (Some(idr), Some(auth)) = (payloads.id_responder(), payloads.auth()) else {
        return Err(payloads
            .error()
            .map_or_else(|| "no IDr or AUTH".into(), |error| format!("the gateway answers {}", notify_text(error))));
    };
    let chain: Vec<_> = payloads.certificates().filter_map(|payload| Certificate::from_der(&payload.data).ok()).collect();
    let (leaf, intermediates) = chain.split_first().ok_or("the gateway sent no certificate")?;
    let name = Some(proof.config.server_name.as_str());
    proof.config.server_roots.verify(leaf, intermediates, Purpose::Server, name, cx.unix_time).map_err(|refused| refused.to_string())?;
    verify_auth(auth, &leaf.spki, &proof.peer_octets(idr)).map_err(|error| error.to_string())?;
    Ok(idr.clone())
}

/// Who the gateway says it is; EAP has to prove it (RFC 5998).
fn named(payloads: &Payloads) -> Result<Identification, String> {
    let answer = |error| format!("the gateway answers {}", notify_text(error));
    payloads
        .id_responder()
        .filter(|_| payloads.eap().is_some())
        .cloned()
        .ok_or_else(|| payloads.error().map_or("no IDr or EAP".into(), answer))
}

/// We do not trust the gateway, or it does not want us (RFC 7296 section 2.21.2).
fn reject(core: &mut Core, cx: &mut Shared, mut proof: Proof, payloads: &Payloads, cause: String) -> State {
    if payloads.error().is_some() {
        return give_up(core, cx, Fault::Refused, cause);
    }
    let refusal = [Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, []))];
    core.request(cx, &mut proof.sa, Exchange::Informational, &refusal);
    let failure = core.failure(Fault::Refused, Some(notify::AUTHENTICATION_FAILED), cause);
    core.end(cx, CloseReason::Failed, Some(failure));
    State::drain(cx, Some(proof.sa))
}

/// The gateway is authenticated; we are on our way to be.
pub(super) struct Conversation {
    proof: Proof,
    wish: Wish,
    idr: Identification,
    msk: Zeroizing<Vec<u8>>,
    /// The gateway has shown no certificate.
    alone: bool,
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("proof", &self.proof).finish_non_exhaustive()
    }
}

impl Conversation {
    fn ask(self, core: &mut Core, cx: &mut Shared, packet: Vec<u8>) -> State {
        let method = ::eap::Packet::parse(&packet).ok().and_then(|packet| packet.method());
        if let Some(method) =
            method.filter(|method| self.alone && *method > ::eap::method::NAK && !::eap::method::authenticates_server(*method))
        {
            let cause = format!("the gateway shows no certificate, and {} proves nothing of it", ::eap::method::name(method));
            return give_up(core, cx, Fault::Refused, cause);
        }
        let success = packet.first() == Some(&(::eap::Code::Success as u8));
        let ask = core.ask(cx, Question::EapPeer { packet });
        AwaitEapPeer { conversation: self, success, ask }.into()
    }

    /// AUTH with the key that EAP made; without PPK too, where the gateway may not know ours.
    fn prove(&mut self, core: &Core) -> Vec<Payload> {
        let Self { proof, msk, .. } = self;
        let auth = |proof: &Proof| eap_auth(proof.sa.keys.prf(), msk, proof.sa.own_sk_p(), &proof.own_octets());
        let spare = (core.traits.ppk && proof.may_go_without()).then(|| without_ppk(auth(proof)));
        let identity = proof.mix_ppk(core);
        std::iter::once(Payload::Auth(auth(proof))).chain(identity).chain(spare).collect()
    }

    /// The last response: address, selectors, Child SA.
    fn complete(self, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> State {
        if let Some(error) = payloads.error() {
            return give_up(core, cx, Fault::Refused, format!("the gateway answers {}", notify_text(error)));
        }
        let Self { mut proof, wish, .. } = self;
        if let Some((to, _)) = core.redirected(payloads) {
            return match core.follow_redirect(cx, &to) {
                Ok(()) => Closing::begin(core, cx, proof.sa, CloseReason::Replaced),
                Err(cause) => give_up(core, cx, Fault::Refused, cause),
            };
        }
        proof.sa.peer_token = qcd::received(payloads);
        core.traits.mobike = proof.config.mobike && payloads.notify(notify::MOBIKE_SUPPORTED).is_some();
        let (child, scope) = match read_child(&proof.config, &wish, payloads) {
            Ok(result) => result,
            Err(cause) => return give_up(core, cx, Fault::PeerMisbehaved, cause),
        };
        let keys = proof.sa.keys.child(child.suite.protection, None, &proof.nonce_i, &proof.nonce_r);
        core.esp_wish = None;
        install(core, cx, &child, directions(keys, true), &scope, None, true);
        core.stage = Stage::Up;
        let user = crate::wire::identity_text(&proof.config.identity, None);
        core.event(cx, Event::Established { user, inner: scope.inner.clone() });
        Established::begin(core, cx, proof.sa, child, scope, None)
    }
}

fn read_child(config: &InitiatorConfig, wish: &Wish, payloads: &Payloads) -> Result<(Child, Scope), String> {
    let missing = |what: &str| format!("IKE_AUTH response without {what}");
    let chosen = accept_esp(&wish.esp, payloads.sa().ok_or_else(|| missing("SA"))?).map_err(|mismatch| mismatch.to_string())?;
    let inner = payloads.configuration().map(|configuration| configuration.addresses().0).unwrap_or_default();
    let own = if inner.is_empty() { config.local_selectors.clone() } else { inner.iter().copied().map(TrafficSelector::host).collect() };
    let scope = Scope { inner, local: own, remote: config.remote_selectors.clone(), link: Vec::new() };
    let ts_i = payloads.ts_initiator().ok_or_else(|| missing("TSi"))?;
    let ts_r = payloads.ts_responder().ok_or_else(|| missing("TSr"))?;
    let (local, remote) = scope.narrow(ts_i, ts_r).ok_or("the gateway's selectors are not within ours")?;
    let child = Child {
        spi_in: wish.spi_in,
        spi_out: chosen.spi,
        suite: chosen.suite,
        pfs: Pfs::Undecided,
        additional: None,
        local,
        remote,
        phase: ChildPhase::Live,
        rekey_at: None,
    };
    Ok((child, scope))
}

/// The EAP peer works on a packet.
#[derive(Debug)]
pub(crate) struct AwaitEapPeer {
    conversation: Conversation,
    success: bool,
    ask: AskId,
}

impl Step for AwaitEapPeer {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, Answer::EapPeer { packet, msk }) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        let mut conversation = self.conversation;
        if let Some(msk) = msk {
            conversation.msk = msk;
        }
        if self.success && conversation.alone && conversation.msk.is_empty() {
            return give_up(core, cx, Fault::Refused, "the gateway shows no certificate, and EAP made no key");
        }
        let payloads = if self.success {
            conversation.prove(core)
        } else if let Some(packet) = packet {
            vec![Payload::Eap(packet)]
        } else {
            return give_up(core, cx, Fault::Refused, "the EAP method ended without success");
        };
        core.request(cx, &mut conversation.proof.sa, Exchange::IkeAuth, &payloads);
        ExpectFinal { conversation, proved: self.success }.into()
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.conversation.proof.sa(own)
    }
}

/// An EAP response, or our AUTH after EAP, is on its way.
#[derive(Debug)]
pub(crate) struct ExpectFinal {
    conversation: Conversation,
    proved: bool,
}

impl ExpectFinal {
    fn reply(mut self, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> State {
        if let Some(packet) = payloads.eap().filter(|_| !self.proved) {
            let failed = packet.first() == Some(&(::eap::Code::Failure as u8));
            if failed {
                return give_up(core, cx, Fault::Refused, "the gateway answers EAP-Failure");
            }
            return self.conversation.ask(core, cx, packet.to_vec());
        }
        if let Some(error) = payloads.error() {
            return give_up(core, cx, Fault::Refused, format!("the gateway answers {}", notify_text(error)));
        }
        if let Err(cause) = self.conversation.proof.settle_ppk(payloads) {
            return give_up(core, cx, Fault::Refused, cause);
        }
        let Conversation { proof, idr, msk, .. } = &self.conversation;
        let verified = payloads
            .auth()
            .filter(|_| self.proved)
            .map(|auth| verify_eap_auth(auth, proof.sa.keys.prf(), msk, proof.sa.peer_sk_p(), &proof.peer_octets(idr)));
        match verified {
            Some(Ok(())) => self.conversation.complete(core, cx, payloads),
            Some(Err(error)) => give_up(core, cx, Fault::Refused, error.to_string()),
            None => give_up(core, cx, Fault::PeerMisbehaved, "IKE_AUTH response without AUTH"),
        }
    }
}

impl Step for ExpectFinal {
    fn handle(mut self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        match signal {
            Signal::Response(_, Ok(payloads)) => self.reply(core, cx, &payloads),
            Signal::Response(_, Err(error)) => give_up(core, cx, Fault::Malformed, error.to_string()),
            Signal::Timeout => match retransmit(core, cx, &mut self.conversation.proof.sa) {
                Ok(()) => self.into(),
                Err(failure) => lost(core, cx, failure),
            },
            _ => self.into(),
        }
    }

    fn sa(&mut self, own: Spi) -> Option<&mut IkeSa> {
        self.conversation.proof.sa(own)
    }

    fn deadline(&self, _core: &Core) -> Option<(Instant, TimeoutReason)> {
        self.conversation.proof.sa.retransmit_due().map(|at| (at, TimeoutReason::Retransmit))
    }
}
