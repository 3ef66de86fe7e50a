//! Logins, whatever tunnel they come through: credentials go to RADIUS, its verdict to policy.
use super::blocks::Claims;
use super::forward::Route;
use super::inside::Inside;
use super::report::same_user;
use super::roll::Set;
use super::usage::Others;
use super::{Asker, Effect, Gateway, InnerEnd, Live, Now, Plane, conversation};
use crate::explain::nearest::nearest;
use crate::facts::Known;
use crate::framed::{self, Reserved};
use crate::login::{Authenticated, Denied, Granted, Login, Place};
use crate::outcome::{Fault, Stage};
use crate::telemetry::Answer;
use crypto::hash::{HashAlgorithm, hash};
use ike::SessionId;
use policy::network::{Certificate, Method, Policy, Reason, Tunnel, Usage};
use policy::pool::{LeaseKey, Wanted};
use radius_client::{Accept, Credentials, EapOutcome, Input, LoginOutcome, NasContext, RequestFailure, Ticket};
use std::net::IpAddr;

/// What PPP takes of a frame besides the EAP packet: protocol field and framing.
const PPP_OVERHEAD: u16 = 4;

/// A login on its way, or what it was granted.
#[derive(Debug)]
pub(super) struct Progress {
    /// As the client sent it.
    pub identity: Vec<u8>,
    wanted: Wanted,
    /// How the client authenticates.
    pub method: Method,
    /// Identifier of the last EAP-Response, for a Failure of our own.
    eap_identifier: u8,
    /// The last EAP method seen, by number.
    pub eap_method: Option<u8>,
    /// `E=691 R=0 ...` of an EAP-MSCHAPv2 failure, as the server sent it.
    ms_chap_error: Option<String>,
    /// Of a client that proved itself with a certificate in IKE, and the computer that it is made out to.
    pub certificate: Option<Certificate>,
    pub machine: Option<String>,
    /// SHA-256 of the certificate that the client proved itself with, in hexadecimal.
    pub fingerprint: Option<String>,
    /// What passed through.
    pub inside: Inside,
    pub granted: Option<Granted>,
    /// Older sessions of the same client that no bound counted: they end when this one comes up.
    pub left_out: Set,
    /// RADIUS server that accepted.
    pub server: Option<String>,
    /// Whose fault the refusal of the login is.
    pub fault: Option<Fault>,
    /// Whom it is asked of.
    route: Route,
}

/// What a round of authentication came to, before the tunnel protocol puts it in its own words.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Another EAP-Request for the client.
    Continue { packet: Vec<u8> },
    /// `eap`: the Success packet; `message`: what MS-CHAPv2 tells the client.
    Granted { eap: Vec<u8>, message: Vec<u8>, accept: Box<Accept>, granted: Box<Granted> },
    /// `eap`: the Failure packet; `message`: MS-CHAPv2's `E=691 R=1 ...`.
    Refused { eap: Vec<u8>, message: Vec<u8>, denied: Denied },
}

impl<P: Plane> Gateway<P> {
    /// An EAP-Response of the client goes to RADIUS.
    pub(super) fn relay_eap(&mut self, now: Now, session: SessionId, asker: Asker, identity: Vec<u8>, packet: Vec<u8>, wanted: Wanted) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let view = eap::Packet::parse(&packet).ok();
        let is_first = live.login.is_none();
        let progress = live.login.get_or_insert_with(|| Progress::new(identity.clone(), wanted, Method::Eap));
        progress.eap_identifier = view.map_or(0, |view| view.identifier());
        // Who is asked, and under which name, was decided by the first.
        let renamed = view.and_then(|view| view.identity()).filter(|name| *name != progress.identity).map(renamed);
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            if attempt.user.is_none() {
                attempt.set_user(String::from_utf8_lossy(&identity).into_owned());
            }
            attempt.reach(now.instant, Stage::Eap);
        }
        self.look_inside(now, session, None, &packet);
        let routed = if is_first { self.take_route(now, session, &identity) } else { Ok(()) };
        if let Some(denied) = renamed.or(routed.err()) {
            return self.refuse_at_once(now, session, asker, denied);
        }
        let Some(Route { group, user_name, .. }) = self.route(session).cloned() else { return };
        let nas = Box::new(self.nas_context(session));
        let ticket = self.waits(now, session, asker);
        let conversation = conversation(session);
        self.effects.push_back(Effect::Radius(Input::Eap { ticket, conversation, group, user_name, eap: packet, nas }));
    }

    /// Credentials that are not EAP go to RADIUS.
    pub(super) fn relay_login(
        &mut self,
        now: Now,
        session: SessionId,
        asker: Asker,
        method: Method,
        user_name: Vec<u8>,
        credentials: Credentials,
    ) {
        let Some(live) = self.live.get_mut(&session) else { return };
        live.login = Some(Progress::new(user_name.clone(), both_families(), method));
        self.roll.file(session, Some(live));
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.set_user(String::from_utf8_lossy(&user_name).into_owned());
            attempt.reach(now.instant, Stage::Auth);
        }
        self.ask_login(now, session, asker, &user_name, credentials);
    }

    /// One question, one answer, of a login that has its [`Progress`].
    pub(super) fn ask_login(&mut self, now: Now, session: SessionId, asker: Asker, user_name: &[u8], credentials: Credentials) {
        if let Err(denied) = self.take_route(now, session, user_name) {
            return self.refuse_at_once(now, session, asker, denied);
        }
        let Some(Route { group, user_name, .. }) = self.route(session).cloned() else { return };
        let nas = Box::new(self.nas_context(session));
        let ticket = self.waits(now, session, asker);
        let conversation = conversation(session);
        self.effects.push_back(Effect::Radius(Input::Login { ticket, conversation, group, user_name, credentials, nas }));
    }

    fn take_route(&mut self, now: Now, session: SessionId, identity: &[u8]) -> Result<(), Denied> {
        let progress = self.live.get(&session).and_then(|live| live.login.as_ref());
        let serial = progress.and_then(|progress| progress.certificate.as_ref()).map(|certificate| certificate.serial.clone());
        let machine = progress.and_then(|progress| progress.machine.clone());
        // A certificate that may be shown later is asked for later.
        let (machine, serial) = (machine.as_deref(), serial.as_deref());
        let claims = Claims { user: &String::from_utf8_lossy(identity), machine, serial, hides_certificate: false, confirmed: false };
        self.refuse_blocked(now, session, claims)?;
        let route = self.choose(now, session, identity)?;
        if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) {
            progress.route = route;
        }
        Ok(())
    }

    /// The client opened its link again before anybody let it in: who it said it was, and what RADIUS made of that, is void.
    pub(super) fn begin_login_anew(&mut self, session: SessionId) {
        let Some(live) = self.live.get_mut(&session) else { return };
        if live.login.take().is_none() {
            return;
        }
        self.held.retain(|held| held.session != session);
        self.roll.file(session, Some(live));
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.forget_user();
        }
        self.effects.push_back(Effect::Radius(Input::Forget(conversation(session))));
    }

    /// RADIUS answered a round of EAP, or will not.
    pub fn authenticated(&mut self, now: Now, ticket: Ticket, outcome: EapOutcome) {
        let Some((session, asker)) = self.answered(ticket) else { return };
        self.trace_answer(now, session, || Answer::of_eap(&outcome));
        let verdict = match outcome {
            EapOutcome::Challenge { server, eap } => self.challenge(now, session, &server, eap),
            EapOutcome::Accept { server, eap, accept } => self.accept_eap(now, session, &server, eap, accept),
            EapOutcome::Reject { server, eap, reply_message, ms_chap_error } => {
                let denied = self.rejected(session, &server, reply_message, ms_chap_error);
                refuse(self.eap_identifier(session), eap, denied)
            }
            EapOutcome::Failed(failure) => self.radius_failed(session, &failure),
        };
        self.hold_or_deliver(now, session, asker, verdict);
    }

    /// RADIUS answered to credentials that are not EAP, or will not.
    pub fn logged_in(&mut self, now: Now, ticket: Ticket, outcome: LoginOutcome) {
        let Some((session, asker)) = self.answered(ticket) else { return };
        self.trace_answer(now, session, || Answer::of_login(&outcome));
        let verdict = match outcome {
            LoginOutcome::Accept { server, accept, ms_chap_success } => self.accept_login(now, session, &server, accept, ms_chap_success),
            LoginOutcome::Reject { server, reply_message, ms_chap_error } => {
                let message = self.told(session, ms_chap_error.clone().unwrap_or_default(), reply_message.as_deref());
                let shown = ms_chap_error.map(|error| without_challenge(&String::from_utf8_lossy(&error)));
                let denied = self.rejected(session, &server, reply_message, shown);
                Verdict::Refused { eap: Vec::new(), message, denied }
            }
            LoginOutcome::Failed(failure) => self.radius_failed(session, &failure),
        };
        self.hold_or_deliver(now, session, asker, verdict);
    }

    pub(super) fn deliver(&mut self, now: Now, session: SessionId, asker: Asker, verdict: Verdict) {
        if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) {
            progress.fault = match &verdict {
                Verdict::Refused { denied, .. } => Some(denied.fault),
                Verdict::Continue { .. } | Verdict::Granted { .. } => None,
            };
        }
        self.log_verdict(now, session, &verdict);
        match asker {
            Asker::Ike(id) => self.answer_ike(id, verdict),
            Asker::Certificate(id) => self.answer_certificate(id, verdict),
            Asker::Ppp(_, id) => self.answer_ppp(now, session, id, verdict),
        }
        self.settle(now);
    }

    fn waits(&mut self, now: Now, session: SessionId, asker: Asker) -> Ticket {
        self.trace_question(now, session);
        let ticket = self.ticket();
        self.tickets.insert(ticket, (session, asker));
        self.asked.insert(asker, ticket);
        ticket
    }

    fn answered(&mut self, ticket: Ticket) -> Option<(SessionId, Asker)> {
        let (session, asker) = self.tickets.remove(&ticket)?;
        self.asked.remove(&asker);
        Some((session, asker))
    }

    fn challenge(&mut self, now: Now, session: SessionId, server: &str, packet: Vec<u8>) -> Verdict {
        let view = eap::Packet::parse(&packet).ok();
        let method = view.and_then(|view| view.method());
        let Some(live) = self.live.get_mut(&session) else { return Verdict::Continue { packet } };
        if let Some(progress) = &mut live.login {
            let error = view.and_then(|view| ms_chap_error(&view));
            let changed = method.is_some() && progress.eap_method != method;
            progress.eap_method = method.or(progress.eap_method);
            if let Some(attempt) = self.attempts.get_mut(live.attempt) {
                attempt.reach(now.instant, Stage::Radius);
                if let Some(method) = method.filter(|_| changed) {
                    attempt.note(now.instant, format!("RADIUS offers {}", eap::method::name(method)));
                }
                if let Some(error) = &error {
                    attempt.note(now.instant, format!("RADIUS reports {error}"));
                }
            }
            progress.ms_chap_error = error.or(progress.ms_chap_error.take());
        }
        self.look_inside(now, session, Some(server), &packet);
        Verdict::Continue { packet }
    }

    pub(super) fn accept_eap(
        &mut self,
        now: Now,
        session: SessionId,
        server: &str,
        packet: Option<Vec<u8>>,
        accept: Box<Accept>,
    ) -> Verdict {
        let identifier = self.eap_identifier(session);
        let Some((tunnel, progress)) = self.live.get(&session).and_then(|live| Some((live.tunnel, live.login.as_ref()?))) else {
            return refuse(identifier, None, ended_meanwhile(Stage::Radius));
        };
        let method = progress.eap_method;
        // SSTP has nothing but the keys to bind the login to this very connection.
        let may_lack_keys = tunnel == Tunnel::Ikev2 && makes_no_key(method);
        if accept.msk.is_empty() && !may_lack_keys {
            let method = method.map_or_else(|| "no EAP method".into(), eap::method::name);
            return refuse(identifier, None, keyless(server, &method));
        }
        let confirmed = accept.user_name.is_some() || !hides_the_user(method);
        match self.accept(now, session, server, confirmed, &accept) {
            Ok(granted) => {
                let eap = success_packet(packet, identifier);
                Verdict::Granted { eap, message: Vec::new(), accept, granted: Box::new(granted) }
            }
            Err(denied) => refuse(identifier, None, denied),
        }
    }

    pub(super) fn accept_login(
        &mut self,
        now: Now,
        session: SessionId,
        server: &str,
        mut accept: Box<Accept>,
        success: Option<Vec<u8>>,
    ) -> Verdict {
        let method = self.live.get(&session).and_then(|live| live.login.as_ref()).map(|progress| progress.method);
        if method != Some(Method::MsChapV2) {
            // PAP and CHAP make no keys: what a server sends besides, the client does not have.
            accept.msk = Default::default();
        }
        let outcome = if method == Some(Method::MsChapV2) && accept.msk.is_empty() {
            Err(keyless(server, "MS-CHAPv2"))
        } else {
            self.accept(now, session, server, true, &accept)
        };
        match outcome {
            Ok(granted) => {
                let message = self.told(session, success.unwrap_or_default(), accept.reply_message.as_deref());
                Verdict::Granted { eap: Vec::new(), message, accept, granted: Box::new(granted) }
            }
            Err(denied) => Verdict::Refused { eap: Vec::new(), message: self.told_no_dialin(session), denied },
        }
    }

    /// RADIUS lets the user in; now the policies decide.
    fn accept(&mut self, now: Now, session: SessionId, server: &str, confirmed: bool, accept: &Accept) -> Result<Granted, Denied> {
        let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) else {
            return Err(ended_meanwhile(Stage::Radius));
        };
        progress.server = Some(server.to_owned());
        let method = progress.method;
        let user = accept.user_name.clone().unwrap_or_else(|| String::from_utf8_lossy(&progress.route.user_name).into_owned());
        let server_group = progress.route.group.clone().filter(|group| group != local_provider::SERVER);
        self.note(now, session, format!("{} accepts {user}", named(server)));
        if let Some(message) = &accept.reply_message {
            let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            self.note(now, session, format!("Reply-Message: {message}"));
        }
        if let Some(limit) = accept.port_limit {
            let left_out = self.within_limit(session, &user, confirmed, limit)?;
            if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) {
                progress.left_out = left_out;
            }
        }
        let proved = accept.client_certificate.as_deref().map(fingerprint);
        if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) {
            let shown = || progress.inside.proved_leaf(progress.eap_method).map(fingerprint);
            progress.fingerprint = proved.or_else(shown).or(progress.fingerprint.take());
        }
        let (server, server_group) = (Some(server), server_group.as_deref());
        let who = self.authenticated_by(session, &user, confirmed, method);
        let told = accept.client_certificate.as_ref().and_then(|der| pki::Certificate::from_der(der).ok());
        let certificate = told.as_ref().map(crate::facts::certificate).or(who.certificate);
        let granted = self.authorize(now, session, &Authenticated { accept: Some(accept), certificate, server, server_group, ..who })?;
        self.remember_group(now, session, confirmed, &granted);
        self.note_unkept(now, session, &granted);
        Ok(granted)
    }

    /// Termination-Action that nobody can keep.
    fn note_unkept(&mut self, now: Now, session: SessionId, granted: &Granted) {
        let Some(timeout) = granted.session_timeout.filter(|_| granted.renew) else { return };
        let Some(tunnel) = self.live.get(&session).map(|live| live.tunnel) else { return };
        let why = match super::ikev2::renews_after(tunnel) {
            None => format!("{tunnel} has no way to authenticate anew"),
            Some(shortest) if timeout < shortest => format!("that takes a session of at least {} s", shortest.as_secs()),
            Some(_) => return,
        };
        let seconds = timeout.as_secs();
        self.note(now, session, format!("Termination-Action RADIUS-Request cannot be kept: {why}; the session ends after {seconds} s"));
    }

    /// Port-Limit (RFC 2865 section 5.42): how many sessions this one would make. Where there is no room, older ones of the same client make it:
    /// those returned have to end when this comes up.
    fn within_limit(&self, session: SessionId, user: &str, confirmed: bool, limit: u32) -> Result<Set, Denied> {
        let refused = |cause| Err(Denied::new(Stage::Radius, cause));
        if !confirmed {
            return refused(format!(
                "Port-Limit {limit} cannot be held: {user:?} is only the outer identity of a tunnelled EAP method; let the RADIUS server return User-Name in its Access-Accept, or, where it means Multilink (NPS), set ignore_port_limit for this server"
            ));
        }
        let has_room = |others: usize| u64::try_from(others).is_ok_and(|others| others < u64::from(limit));
        let all = Others::new((&self.live, &self.roll), session, user, None);
        if has_room(all.of_user()) {
            return Ok(Set::new());
        }
        let newer = all.without_older();
        let others = newer.of_user();
        if has_room(others) {
            return Ok(newer.left_out());
        }
        refused(format!(
            "user {user:?} has {others} sessions already, and Port-Limit of the Access-Accept is {limit}; where that means Multilink (NPS), set ignore_port_limit for this server"
        ))
    }

    fn rejected(&mut self, session: SessionId, server: &str, reply_message: Option<String>, ms_chap_error: Option<String>) -> Denied {
        if let Some(attempt) = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt)) {
            attempt.refused_locally = server == local_provider::SERVER;
        }
        let progress = self.live.get(&session).and_then(|live| live.login.as_ref());
        let user = progress.map(|progress| String::from_utf8_lossy(&progress.identity).into_owned()).unwrap_or_default();
        let method = progress.map(|progress| match (progress.method, progress.eap_method) {
            (Method::Eap, Some(number)) => eap::method::name(number),
            (method, _) => method.to_string(),
        });
        let error = ms_chap_error.or_else(|| progress.and_then(|progress| progress.ms_chap_error.clone()));
        let code = error.as_deref().and_then(code_of_ms_chap_error).and_then(|code| code.parse().ok());
        let mut cause = format!("{} rejects user {user:?}", named(server));
        for (label, detail) in
            [("method", method), ("error", error.map(|error| words_of_ms_chap_error(&error))), ("message", reply_message)]
        {
            if let Some(detail) = detail {
                cause.push_str(&format!("; {label}: {detail}"));
            }
        }
        Denied { ms_chap_error: code, ..Denied::new(Stage::Radius, cause) }
    }

    fn radius_failed(&self, session: SessionId, failure: &RequestFailure) -> Verdict {
        tracing::warn!(%failure, "a login failed because RADIUS did");
        let fault = if matches!(failure, RequestFailure::BadReply { .. }) { Fault::Misconfigured } else { Fault::Dependency };
        let denied = Denied { fault, ..Denied::new(Stage::Radius, failure.to_string()) };
        Verdict::Refused { eap: eap::failure(self.eap_identifier(session)), message: self.told_no_dialin(session), denied }
    }

    /// What a client hears that does not speak EAP: MS-CHAPv2 has words of its own; PAP and CHAP show a text (RFC 2865 section 5.18).
    fn told(&self, session: SessionId, ms_chap: Vec<u8>, text: Option<&str>) -> Vec<u8> {
        let method = self.live.get(&session).and_then(|live| live.login.as_ref()).map(|progress| progress.method);
        if method == Some(Method::MsChapV2) {
            return ms_chap;
        }
        let text = text.unwrap_or_default();
        text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)].to_vec()
    }

    pub(super) fn told_no_dialin(&self, session: SessionId) -> Vec<u8> {
        self.told(session, format!("E=649 R=0 C={:032} V=3 M={NO_DIALIN}", 0).into_bytes(), Some(NO_DIALIN))
    }

    pub(super) fn authorize(&mut self, now: Now, session: SessionId, who: &Authenticated<'_>) -> Result<Granted, Denied> {
        self.remember_certificate(session, who);
        self.refuse_blocked(now, session, Claims::of(who))?;
        let (Some(live), Some(place)) = (self.live.get(&session), self.place(session)) else {
            return Err(ended_meanwhile(Stage::Policy));
        };
        let wanted = live.login.as_ref().map(|progress| progress.wanted).unwrap_or_default();
        let reserved =
            who.accept.filter(|accept| framed::names_addresses(accept)).map(|_| self.reserved(live)).transpose()?.unwrap_or_default();
        let question = who.question(&place);
        let login = Login { key: LeaseKey(session.0), place, wanted, reserved };
        let others = Others::new((&self.live, &self.roll), session, who.user, who.certificate.as_ref());
        let same_client = |key: LeaseKey| self.live.get(&SessionId(key.0)).is_some_and(|older| succeeds(live, older, who.user));
        let mut left_out = Set::new();
        let mut result = self.authority.authorize(&login, who, &same_client, &others, now.wall);
        if matches!(&result, Err(denied) if denied.reason == Some(Reason::Restriction)) {
            // There may be room once older sessions of the same client have ended.
            let newer = others.without_older();
            result = self.authority.authorize(&login, who, &same_client, &newer, now.wall);
            left_out = newer.left_out();
        }
        let result = result.and_then(|granted| match self.plane.restrict(session, granted.restrictions.clone()) {
            Ok(()) => Ok(granted),
            Err(error) => Err(Denied::new(Stage::Policy, format!("the data plane takes no filters and rate limits: {error}"))),
        });
        if result.is_ok() {
            self.pass_blocks(now, session, Claims::of(who));
        }
        self.totals.decided(result.as_ref().map(|granted| granted.policy.as_str()));
        let Some(live) = self.live.get_mut(&session) else { return Err(ended_meanwhile(Stage::Policy)) };
        let attempt = self.attempts.get_mut(live.attempt);
        match &result {
            Ok(granted) => {
                if let Some(attempt) = attempt {
                    attempt.set_user(granted.user.clone());
                    attempt.decide(now.instant, &granted.trace, Some(Reason::Granted));
                    attempt.reach(now.instant, Stage::Policy);
                }
                if let Some(progress) = &mut live.login {
                    progress.granted = Some(granted.clone());
                    progress.left_out.extend(left_out);
                }
                self.roll.file(session, Some(live));
            }
            Err(denied) => {
                if let Some(attempt) = attempt {
                    attempt.ask(question);
                    if let (Stage::Policy, Some(accept)) = (denied.stage, who.accept) {
                        let known = Known::by(who.method, who.confirmed).with(Some(accept));
                        let local = who.server == Some(local_provider::SERVER);
                        attempt.received(&accept.attributes, nearest(&unmet(&self.authority.policies, denied), &known, local));
                    }
                    attempt.decide(now.instant, &denied.trace, denied.reason);
                    attempt.reach(now.instant, denied.stage);
                }
            }
        }
        result
    }

    /// What must stay reachable as it is, whatever lies behind clients: this host, its RADIUS servers, and the client's own end of the tunnel.
    fn reserved(&self, live: &Live) -> Result<Vec<Reserved>, Denied> {
        let reserved = |address: IpAddr, what: String| Reserved { address: address.to_canonical(), what };
        let InnerEnd { ipv4, ipv6 } = self.settings.inner;
        let inner = std::iter::once(IpAddr::V4(ipv4)).chain(ipv6.map(IpAddr::V6));
        let own = self.plane.own_addresses().map_err(|cause| Denied { fault: Fault::Internal, ..Denied::new(Stage::Address, cause) })?;
        let own = own.into_iter().chain(inner).map(|address| reserved(address, "an address of the gateway".into()));
        let servers = self.settings.radius_addresses.iter().map(|(name, address)| reserved(*address, format!("RADIUS server {name:?}")));
        let client = reserved(live.path.remote.ip(), "the client's own address outside the tunnel".into());
        Ok(own.chain(servers).chain([client]).collect())
    }

    /// Where a login comes in.
    pub(super) fn place(&self, session: SessionId) -> Option<Place> {
        let live = self.live.get(&session)?;
        let cipher_bits = live.ike_suite.as_deref().or(live.tls.as_deref()).and_then(crate::facts::cipher_bits);
        let (client, gateway) = (live.path.remote.ip(), live.path.local.ip());
        let certificate = live.presented.as_ref().and_then(super::Presented::name).map(str::to_owned);
        let (listener, server_name) = (self.listener(session).to_owned(), live.server_name.clone());
        Some(Place { tunnel: live.tunnel, client, gateway, listener, server_name, certificate, cipher_bits })
    }

    /// Somebody with what was seen of their login, before any server said anything of them.
    pub(super) fn authenticated_by<'a>(&self, session: SessionId, user: &'a str, confirmed: bool, method: Method) -> Authenticated<'a> {
        let progress = self.live.get(&session).and_then(|live| live.login.as_ref());
        let eap_method = progress.and_then(|progress| progress.eap_method).filter(|_| method == Method::Eap);
        let shown = || progress?.inside.proved_certificate(eap_method);
        Authenticated {
            user,
            confirmed,
            method,
            eap_type: eap_method.map(eap::method::name),
            certificate: progress.and_then(|progress| progress.certificate.clone()).or_else(shown),
            machine: progress.and_then(|progress| progress.machine.clone()),
            accept: None,
            server: None,
            server_group: None,
        }
    }

    pub(super) fn eap_identifier(&self, session: SessionId) -> u8 {
        self.live.get(&session).and_then(|live| live.login.as_ref()).map_or(0, |progress| progress.eap_identifier)
    }

    /// What RADIUS is told about this session in every packet.
    pub(super) fn nas_context(&self, session: SessionId) -> NasContext {
        let Some(live) = self.live.get(&session) else { return NasContext::default() };
        // A session has one name from its Start to its Stop, wherever its client goes on: servers tell sessions apart by the NAS.
        let (gateway, client) = (live.dialled, live.path.remote.ip());
        NasContext {
            nas_ip: Some(gateway),
            nas_identifier: self.settings.nas_identifier.clone(),
            nas_port: nas_port(session),
            called_station_id: gateway.to_string(),
            calling_station_id: client.to_string(),
            acct_session_id: self.acct_session_id(live),
            tunnel_type: live.tunnel_type,
            tunnel_medium_type: if client.is_ipv4() { 1 } else { 2 },
            framed_mtu: self.calls.get(&session).map_or(0, |call| u32::from(call.mtu(u16::MAX).saturating_sub(PPP_OVERHEAD))),
            ras_client_name: live.computer.name.clone(),
            ras_client_version: live.computer.version.clone(),
            ras_correlation_id: live.computer.correlation_id.clone(),
            renews_after: super::ikev2::renews_after(live.tunnel),
        }
    }

    pub(super) fn acct_session_id(&self, live: &Live) -> String {
        self.attempts.get(live.attempt).map(|attempt| attempt.id.to_string()).unwrap_or_default()
    }
}

impl Progress {
    pub(super) fn new(identity: Vec<u8>, wanted: Wanted, method: Method) -> Self {
        Self {
            identity,
            wanted,
            method,
            eap_identifier: 0,
            eap_method: None,
            ms_chap_error: None,
            certificate: None,
            machine: None,
            fingerprint: None,
            inside: Inside::default(),
            granted: None,
            left_out: Set::new(),
            server: None,
            fault: None,
            route: Route::default(),
        }
    }

    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// What RADIUS said about the user inside EAP, when it was a no and nothing has been decided since.
    pub(super) fn denied_inside_eap(&self) -> Option<Denied> {
        let error = self.ms_chap_error.as_deref().filter(|_| self.fault.is_none() && self.granted.is_none())?;
        let code = code_of_ms_chap_error(error).and_then(|code| code.parse().ok());
        Some(Denied { ms_chap_error: code, ..Denied::new(Stage::Radius, words_of_ms_chap_error(error)) })
    }

    /// What RADIUS said about the user inside EAP, in words, when it was a no.
    pub(super) fn refusal_inside_eap(&self) -> Option<String> {
        let error = self.ms_chap_error.as_deref()?;
        Some(format!("RADIUS rejects user {:?}: {}", String::from_utf8_lossy(&self.identity), words_of_ms_chap_error(error)))
    }
}

/// PPP asks for neither address family before the login: both are leased where the pool has both.
pub(super) fn both_families() -> Wanted {
    Wanted { ipv4: true, ipv6: true, ..Wanted::default() }
}

/// What a client hears whose password is right but whom no policy lets in: in MS-CHAPv2 with 649, no dial-in permission (RFC 2759 section 6).
const NO_DIALIN: &str = "No network policy grants access";

/// Octets of a text in PAP's and CHAP's answers; one length octet counts those of PAP (RFC 1334 section 2.2.2).
const MAX_TEXT: usize = 253;

/// Those that did not match by what RADIUS says, all else being met; none where a policy has decided.
fn unmet<'a>(policies: &'a [Policy], denied: &Denied) -> Vec<&'a Policy> {
    // Conditions are tried in the order of their fields, groups of them at last.
    const REPLY: [&str; 5] = ["class wanted", "filter_id wanted", "group wanted", "any: ", "all: "];
    let is_unmet = |policy: &&Policy| {
        let begins = format!("policy {:?} does not match: ", policy.name);
        let mut reasons = denied.trace.iter().filter_map(|line| line.strip_prefix(&begins));
        reasons.any(|reason| REPLY.iter().any(|start| reason.starts_with(start)))
    };
    policies.iter().filter(|_| denied.reason == Some(Reason::NoPolicy)).filter(is_unmet).collect()
}

/// SHA-256 of a certificate in DER, in hexadecimal.
pub(super) fn fingerprint(der: &[u8]) -> String {
    hash(HashAlgorithm::Sha256, &[der]).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn renamed(name: &[u8]) -> Denied {
    let name = String::from_utf8_lossy(name);
    Denied::new(Stage::Eap, format!("the client calls itself {name:?} now, and another in the same EAP conversation before"))
}

fn ended_meanwhile(stage: Stage) -> Denied {
    Denied::new(stage, "the session ended meanwhile".into())
}

/// The name of a server, in a sentence.
fn named(server: &str) -> String {
    if server == local_provider::SERVER { "the local provider".into() } else { format!("radius {server}") }
}

fn keyless(server: &str, method: &str) -> Denied {
    let cause = format!("{} accepts without MS-MPPE keys after {method}: the login cannot be bound to this tunnel", named(server));
    Denied::unusable(cause)
}

/// NAS-Port is 32 bits wide; session numbers start at 1 and wrap after four thousand million logins.
fn nas_port(session: SessionId) -> u32 {
    u32::try_from(session.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Methods without a key: the peers prove themselves with SK_p instead (RFC 7296 section 2.16).
fn makes_no_key(method: Option<u8>) -> bool {
    matches!(method, Some(eap::method::MD5 | eap::method::OTP | eap::method::GTC))
}

/// Tunnelled methods: the name outside is whatever the client likes to write there.
pub(super) fn hides_the_user(method: Option<u8>) -> bool {
    matches!(method, Some(eap::method::TTLS | eap::method::PEAP | eap::method::FAST | eap::method::TEAP))
}

/// RADIUS decides by its code; the EAP packet inside an Accept must be a Success, or is made one.
fn success_packet(packet: Option<Vec<u8>>, identifier: u8) -> Vec<u8> {
    packet
        .filter(|packet| eap::Packet::parse(packet).is_ok_and(|view| view.code() == eap::Code::Success))
        .unwrap_or_else(|| eap::success(identifier))
}

/// Whether this login is of a client that is up already, and its older session goes when this one comes up: over IKEv2 it authenticates
/// anew (RFC 4478), over SSTP it lost its connection unnoticed. Two devices of one user behind one NAT call themselves by different names,
/// and only such a device may have the address of another session; or any of the user's when that session's client has fallen silent or was asked for
/// a sign of life in vain, for it is most probably the same one, come back from elsewhere under another name.
pub(super) fn succeeds(live: &Live, older: &Live, user: &str) -> bool {
    let same_device = match (live.tunnel, older.tunnel) {
        (Tunnel::Ikev2, Tunnel::Ikev2) => live.idi.is_some() && live.idi == older.idi && live.path.remote.ip() == older.path.remote.ip(),
        // From wherever: a laptop that changes networks is why its connection broke.
        (Tunnel::Sstp, Tunnel::Sstp) => live.computer.name.is_some() && live.computer.name == older.computer.name,
        _ => false,
    };
    (same_device || older.is_silent()) && older.session.as_ref().is_some_and(|session| same_user(&session.granted.user, user))
}

fn refuse(identifier: u8, packet: Option<Vec<u8>>, denied: Denied) -> Verdict {
    let eap = packet
        .filter(|packet| eap::Packet::parse(packet).is_ok_and(|view| view.code() == eap::Code::Failure))
        .unwrap_or_else(|| eap::failure(identifier));
    Verdict::Refused { eap, message: Vec::new(), denied }
}

/// The text of an EAP-MSCHAPv2 Failure request: opcode 4, identifier, 16-bit length, then the text (draft-kamath-pppext-eap-mschapv2).
fn ms_chap_error(view: &eap::Packet<'_>) -> Option<String> {
    let is_failure = view.code() == eap::Code::Request && view.method() == Some(eap::method::MSCHAPV2) && view.data().first() == Some(&4);
    let text = view.data().get(4..).filter(|_| is_failure)?;
    let printable: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(120).collect();
    Some(without_challenge(&printable))
}

/// Drops the C= field: a challenge says nothing to a reader.
fn without_challenge(text: &str) -> String {
    text.split(' ').filter(|word| !word.starts_with("C=")).collect::<Vec<_>>().join(" ")
}

fn code_of_ms_chap_error(error: &str) -> Option<&str> {
    error.split(' ').find_map(|word| word.strip_prefix("E="))
}

fn words_of_ms_chap_error(error: &str) -> String {
    let words = match code_of_ms_chap_error(error) {
        Some("646") => "restricted logon hours",
        Some("647") => "account disabled",
        Some("648") => "password expired",
        Some("649") => "no dial-in permission",
        Some("691") => "wrong user name or password",
        Some("709") => "new password refused",
        _ => return error.to_owned(),
    };
    format!("{words} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ms_chap_failures_are_read_and_put_in_words() {
        let mut data = vec![4, 9, 0, 0];
        data.extend_from_slice(b"E=691 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Authentication rejected");
        let packet = eap::build(eap::Code::Request, 3, eap::method::MSCHAPV2, &data);
        let text = ms_chap_error(&eap::Packet::parse(&packet).unwrap()).unwrap();
        assert_eq!(text, "E=691 R=0 V=3 M=Authentication rejected");
        assert_eq!(words_of_ms_chap_error(&text), format!("wrong user name or password ({text})"));
        let response = eap::build(eap::Code::Response, 3, eap::method::MSCHAPV2, &data);
        assert_eq!(ms_chap_error(&eap::Packet::parse(&response).unwrap()), None);
    }

    #[test]
    fn only_the_same_client_succeeds_itself() {
        let address = |text: &str| ike::Path::between("192.0.2.1:4500".parse().unwrap(), text.parse().unwrap());
        let now = Now { instant: std::time::Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
        let mut attempts = crate::attempts::Attempts::new(1, 1);
        let mut live = |tunnel, from: &str, idi: &str| {
            let path = address(from);
            let start = crate::attempts::Start {
                tunnel,
                stage: Stage::SaInit,
                client: path.remote,
                gateway: path.local,
                now: now.instant,
                unix_time: 0,
            };
            Live { idi: Some(idi.into()), ..Live::new(attempts.start(start), tunnel, path) }
        };
        let granted = Granted {
            user: "ann".into(),
            policy: String::new(),
            ipv4: None,
            ipv6: None,
            address_failure: None,
            address_holder: None,
            networks: Vec::new(),
            delegated: Vec::new(),
            dns: Vec::new(),
            nbns: Vec::new(),
            dns_suffix: None,
            routes: Vec::new(),
            selectors: Vec::new(),
            session_timeout: None,
            of_radius: Default::default(),
            renew: false,
            idle_timeout: None,
            hours_end: None,
            class: Vec::new(),
            settings: policy::network::Settings::default(),
            interim_interval: None,
            restrictions: policy::filter::Restrictions::default(),
            known: crate::login::Known::by(Method::Eap, true),
            framed: Vec::new(),
            trace: Vec::new(),
        };
        let mut older = live(Tunnel::Ikev2, "192.0.2.2:4500", "10.0.0.7");
        let newer = live(Tunnel::Ikev2, "192.0.2.2:61000", "10.0.0.7");
        assert!(!succeeds(&newer, &older, "ann"), "it is not up");
        older.session = Some(super::super::Session::new(now, granted, Vec::new(), None));
        assert!(succeeds(&newer, &older, "ann") && succeeds(&newer, &older, "Ann"), "Windows compares names without case");
        assert!(!succeeds(&newer, &older, "bob"));
        for (other, why) in [
            (live(Tunnel::Ikev2, "192.0.2.2:4500", "10.0.0.8"), "another device behind the same NAT"),
            (live(Tunnel::Ikev2, "192.0.2.3:4500", "10.0.0.7"), "the same private address elsewhere"),
            (live(Tunnel::Sstp, "192.0.2.2:4500", "10.0.0.7"), "another tunnel"),
        ] {
            assert!(!succeeds(&other, &older, "ann"), "{why}");
        }
        // A fixed address is not kept for half an hour from the only client that has it.
        older.silent_since = Some(1);
        for returned in [live(Tunnel::Ikev2, "203.0.113.9:4500", "10.9.9.9"), live(Tunnel::Sstp, "203.0.113.9:51000", "10.9.9.9")] {
            assert!(succeeds(&returned, &older, "ann") && !succeeds(&returned, &older, "bob"));
        }
    }

    #[test]
    fn the_radius_code_decides_over_the_eap_packet_inside() {
        let failure_inside = eap::failure(5);
        assert_eq!(success_packet(Some(failure_inside), 7), eap::success(7));
        assert_eq!(success_packet(Some(eap::success(4)), 7), eap::success(4));
        let denied = Denied::new(Stage::Radius, String::new());
        let Verdict::Refused { eap, .. } = refuse(7, Some(eap::success(4)), denied) else { panic!() };
        assert_eq!(eap, eap::failure(7));
    }
}
