//! The responder's half of IKE_SA_INIT (RFC 7296 section 1.2).
use super::auth::{ExpectAuth, Login};
use super::intermediate::ExpectIntermediate;
use super::repeats::Repeats;
use super::{Core, IkeSa, MAX_MESSAGE, Role, Signal, State, Step, Traits};
use crate::api::{Answer, AskId, CipherPolicy, CloseReason, Event, Fault, Path, Question, ResponderConfig};
use crate::auth;
use crate::endpoint::{InitKey, Shared};
use crate::keys::{IkeKeys, Seed};
use crate::nat::{detect, detection_notifies};
use crate::proposal::{ChosenIke, SaPayload, select_ike};
use crate::redirect;
use crate::wire::{CertificateRequest, Exchange, Flags, Header, KeyExchange, Notify, Payload, Payloads, Spi, encode, notify, vendor};
use crypto::Zeroizing;
use std::borrow::Cow;
use std::sync::Arc;

/// An IKE_SA_INIT answer longer than this would be fragmented by IP, which many networks drop.
const MAX_RESPONSE: usize = 1280;
/// How many times the request's length the answer stays below: its sender's address may be forged.
const AMPLIFICATION: usize = 3;
const PAYLOAD_HEADER: usize = 4;
const SPKI_HASH: usize = 20;

/// An IKE_SA_INIT request that has all it needs.
#[derive(Debug)]
pub(crate) struct InitRequest {
    pub path: Path,
    pub header: Header,
    /// The datagram, which AUTH covers.
    pub bytes: Vec<u8>,
    pub payloads: Payloads,
    pub sa: SaPayload,
    pub key_exchange: KeyExchange,
    pub nonce: Vec<u8>,
    pub key: InitKey,
}

impl InitRequest {
    /// `None`: SA, KE or nonce is missing.
    pub(crate) fn new(path: Path, header: Header, bytes: Vec<u8>, payloads: Payloads, key: InitKey) -> Option<Self> {
        let sa = payloads.sa()?.clone();
        let key_exchange = payloads.key_exchange()?.clone();
        let nonce = payloads.nonce()?.to_vec();
        Some(Self { path, header, bytes, payloads, sa, key_exchange, nonce, key })
    }

    /// An unprotected answer.
    fn answer(&self, spi_r: Spi, payloads: &[Payload]) -> Vec<u8> {
        encode(&plain_header(&self.header, spi_r), payloads)
    }
}

fn plain_header(request: &Header, spi_r: Spi) -> Header {
    let flags = Flags { initiator: false, response: true, version: false };
    Header::new(request.initiator_spi, spi_r, Exchange::IkeSaInit, flags, request.message_id)
}

/// An unprotected answer that holds one notify and no state of ours.
pub(crate) fn plain_notify(request: &Header, notify: Notify) -> Vec<u8> {
    encode(&plain_header(request, Spi(0)), &[Payload::Notify(notify)])
}

/// Chooses a suite and has the keys exchanged.
pub(super) fn begin(core: &mut Core, cx: &mut Shared, request: InitRequest) -> State {
    let Role::Responder(config) = &core.role else { return State::Gone };
    let config = Arc::clone(config);
    cx.take_init(&request.key, core.id);
    core.init_keys.push(request.key.clone());
    let group = request.key_exchange.group;
    core.traits = read_traits(&request.payloads);
    if let Some(origin) = redirect::origin(core.traits.redirected_from.as_ref()) {
        core.note(cx, origin);
    }
    if cx.drain.is_some() {
        // The nearest that there is to "not now": a client that hears nothing at all tries for minutes.
        let notify = Notify::new(notify::TEMPORARY_FAILURE, []);
        let origin = redirect::origin(core.traits.redirected_from.as_ref()).map(|origin| format!("; {origin}")).unwrap_or_default();
        let cause = format!("the gateway is being emptied (evergate drain) and takes no new clients{origin}");
        return refuse(core, cx, &request, notify, Fault::Refused, cause);
    }
    let chosen = match select_ike(&usable(&config.ciphers, &request.payloads), &request.sa, group) {
        Ok(chosen) => chosen,
        Err(mismatch) => {
            core.event(cx, Event::IkeProposals { offered: mismatch.offered.clone(), accepted: None });
            let cause = core.explain(&mismatch);
            return refuse(core, cx, &request, Notify::new(notify::NO_PROPOSAL_CHOSEN, []), Fault::PeerIncompatible, cause);
        }
    };
    if chosen.suite.group.id() != group {
        return ask_for_group(core, cx, &request, &chosen);
    }
    core.event(cx, Event::IkeProposals { offered: request.sa.texts(), accepted: Some(chosen.to_string()) });
    let peer_public = request.key_exchange.public.clone();
    let question = Question::KeyExchange { group: chosen.suite.group, peer_public, stranger: true };
    let ask = core.ask(cx, question);
    AwaitKeyExchange { request, chosen, ask }.into()
}

/// Whether a key exchange begins with this request: neither is it refused nor does the client have to come again.
pub(crate) fn would_begin(ciphers: &CipherPolicy, request: &InitRequest) -> bool {
    let group = request.key_exchange.group;
    select_ike(&usable(ciphers, &request.payloads), &request.sa, group).is_ok_and(|chosen| chosen.suite.group.id() == group)
}

/// An additional key exchange takes place in IKE_INTERMEDIATE, which both sides must know.
fn usable<'a>(ciphers: &'a CipherPolicy, payloads: &Payloads) -> Cow<'a, CipherPolicy> {
    if ciphers.additional.is_empty() || payloads.notify(notify::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some() {
        return Cow::Borrowed(ciphers);
    }
    Cow::Owned(CipherPolicy { additional: Vec::new(), ..ciphers.clone() })
}

fn refuse(core: &mut Core, cx: &mut Shared, request: &InitRequest, notify: Notify, fault: Fault, cause: String) -> State {
    let failure = core.failure(fault, Some(notify.kind), cause);
    core.init_response = request.answer(Spi(0), &[Payload::Notify(notify)]);
    cx.transmit_of(core.id, request.path, core.init_response.clone());
    core.end(cx, CloseReason::Failed, Some(failure));
    State::drain(cx, None)
}

/// There is no other session with this SPIi from there.
fn is_alone(core: &Core, cx: &Shared, request: &InitRequest) -> bool {
    cx.sessions_of_origin(request.header.initiator_spi, request.path.remote).all(|session| session == core.id)
}

/// Nothing is said, which would end the client's try: if it sends its request again, that begins anew.
fn drop_silently(core: &mut Core, cx: &mut Shared, fault: Fault, cause: &str) -> State {
    let failure = core.failure(fault, None, cause);
    core.end(cx, CloseReason::Failed, Some(failure));
    State::Gone
}

/// The proposal is good, but the client guessed another group: it shall come again with ours.
fn ask_for_group(core: &mut Core, cx: &mut Shared, request: &InitRequest, chosen: &ChosenIke) -> State {
    let group = chosen.suite.group;
    core.note(cx, format!("KE payload of group {}; asked the client to come again with {group:?}", request.key_exchange.group));
    core.last_seen = format!("IKE_SA_INIT with key exchange group {}; it did not come again with {group:?}", request.key_exchange.group);
    let notify = Notify::new(notify::INVALID_KE_PAYLOAD, group.id().to_be_bytes());
    core.init_response = request.answer(Spi(0), &[Payload::Notify(notify)]);
    cx.transmit_of(core.id, request.path, core.init_response.clone());
    ExpectRetry.into()
}

/// INVALID_KE_PAYLOAD was sent.
#[derive(Debug)]
pub(crate) struct ExpectRetry;

impl Step for ExpectRetry {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Retry(request) = signal else { return self.into() };
        core.heard = cx.now;
        core.path = request.path;
        core.reply_path = request.path;
        core.last_seen = "IKE_SA_INIT".into();
        core.init_response.clear();
        core.init_repeats = Repeats::new(request.path.remote, cx.now);
        begin(core, cx, *request)
    }
}

/// The key exchange is being computed. The request's duplicates are dropped meanwhile.
#[derive(Debug)]
pub(crate) struct AwaitKeyExchange {
    request: InitRequest,
    chosen: ChosenIke,
    ask: AskId,
}

impl Step for AwaitKeyExchange {
    fn handle(self: Box<Self>, core: &mut Core, cx: &mut Shared, signal: Signal) -> State {
        let Signal::Answer(id, answer) = signal else { return self.into() };
        if id != self.ask {
            return self.into();
        }
        match answer {
            Answer::KeyExchange(Ok((public, shared_secret))) => self.answer(core, cx, public, &shared_secret),
            Answer::KeyExchange(Err(error)) if is_alone(core, cx, &self.request) => {
                let notify = Notify::new(notify::INVALID_SYNTAX, []);
                refuse(core, cx, &self.request, notify, Fault::PeerMisbehaved, format!("KE payload: {error}"))
            }
            Answer::KeyExchange(Err(error)) => {
                let cause = format!("KE payload: {error}; its client has another session, which is left alone");
                drop_silently(core, cx, Fault::PeerMisbehaved, &cause)
            }
            Answer::Busy => {
                let cause = "the gateway was busy: too many key exchanges of first messages were waiting; the request was dropped, and may come again";
                drop_silently(core, cx, Fault::Dependency, cause)
            }
            _ => self.into(),
        }
    }

    fn expects_peer(&self) -> bool {
        false
    }
}

impl AwaitKeyExchange {
    fn answer(self, core: &mut Core, cx: &mut Shared, public: Vec<u8>, shared_secret: &Zeroizing<Vec<u8>>) -> State {
        let (spi_i, spi_r, nonce_r) = (self.request.header.initiator_spi, core.take_spi(cx), cx.nonce());
        let Role::Responder(config) = &core.role else { return State::Gone };
        let config = Arc::clone(config);
        let group = self.chosen.suite.group.id();
        let mut payloads = vec![
            Payload::Sa(self.chosen.reply(None)),
            Payload::KeyExchange(KeyExchange { group, public }),
            Payload::Nonce(nonce_r.clone()),
        ];
        let nat = detect(&self.request.payloads, spi_i, Spi(0), self.request.path);
        if nat.is_some() {
            payloads.extend(detection_notifies(spi_i, spi_r, self.request.path, false).map(Payload::Notify));
        }
        if core.traits.fragmentation {
            payloads.push(Payload::Notify(Notify::new(notify::IKEV2_FRAGMENTATION_SUPPORTED, [])));
        }
        if core.traits.hashes.is_some() {
            payloads.push(Payload::Notify(auth::signature_hashes_notify()));
        }
        if self.chosen.additional.is_some() {
            payloads.push(Payload::Notify(Notify::new(notify::INTERMEDIATE_EXCHANGE_SUPPORTED, [])));
        }
        if core.traits.ppk && !config.ppk.keys.is_empty() {
            payloads.push(Payload::Notify(Notify::new(notify::USE_PPK, [])));
        }
        let request_authorities = certificate_request(&config, &self.request, spi_r, &payloads);
        payloads.extend(request_authorities.map(Payload::CertificateRequest));
        core.init_response = self.request.answer(spi_r, &payloads);
        core.nat = nat.unwrap_or_default();
        core.event(cx, Event::Nat { ours: core.nat.ours, theirs: core.nat.theirs });
        core.heard = cx.now;
        cx.transmit_of(core.id, self.request.path, core.init_response.clone());
        let seed = Seed { shared_secret, nonce_i: &self.request.nonce, nonce_r: &nonce_r, spi_i, spi_r };
        let keys = IkeKeys::derive(self.chosen.suite, seed);
        let mut sa = IkeSa::new(keys, spi_i, spi_r, false, core.traits.fragmentation.then_some(MAX_MESSAGE), 1);
        sa.additional = self.chosen.additional;
        let login = Login { sa, init_request: self.request.bytes, nonce_i: self.request.nonce, nonce_r, ppk: false };
        match self.chosen.additional {
            Some(group) => ExpectIntermediate { login, group }.into(),
            None => ExpectAuth { login }.into(),
        }
    }
}

/// As many authorities of client certificates as there is room for, where certificates are accepted at all.
fn certificate_request(config: &ResponderConfig, request: &InitRequest, spi_r: Spi, payloads: &[Payload]) -> Option<CertificateRequest> {
    let used = request.answer(spi_r, payloads).len() + PAYLOAD_HEADER + 1;
    let most = MAX_RESPONSE.min(AMPLIFICATION * request.bytes.len() - 1);
    let room = most.saturating_sub(used) / SPKI_HASH;
    let hashes: Vec<_> = config.client_roots.roots().iter().take(room).map(pki::Certificate::spki_sha1).collect();
    (config.client_auth.certificate && !hashes.is_empty()).then(|| CertificateRequest::x509(hashes))
}

pub(super) fn read_traits(payloads: &Payloads) -> Traits {
    Traits {
        windows: payloads.vendor_ids().any(vendor::is_windows),
        initial_contact: payloads.vendor_ids().any(|id| id == vendor::MS_INITIAL_CONTACT),
        hashes: payloads.notify(notify::SIGNATURE_HASH_ALGORITHMS).map(auth::signature_hashes),
        fragmentation: payloads.notify(notify::IKEV2_FRAGMENTATION_SUPPORTED).is_some(),
        redirect: redirect::is_supported(payloads),
        mobike: false,
        redirected_from: payloads.notify(notify::REDIRECTED_FROM).cloned(),
        ppk: payloads.notify(notify::USE_PPK).is_some(),
    }
}
