//! The machine's login questions: EAP goes to RADIUS, certificates straight to policy.
use super::{Effect, Gateway, Live, Now, Plane, conversation};
use crate::login::{Authenticated, Denied, Granted, Login};
use ike::{AddressRequest, Answer, AskId, Denial, EapAnswer, EapQuestion, Grant, SessionId, Stage, TrafficSelector};
use policy::network::{AddressRange, Method, Tunnel};
use policy::pool::{LeaseKey, Wanted};
use radius_client::{Accept, EapOutcome, NasContext, RequestFailure, Ticket};

/// Tunnel-Type ESP (RFC 2868 section 3.1).
const TUNNEL_TYPE_ESP: u32 = 9;

/// EAP fragments of this size fit one UDP datagram towards the RADIUS server (KB883389).
const FRAMED_MTU: u32 = 1344;

/// A login on its way, or what it was granted.
#[derive(Debug)]
pub(super) struct Progress {
    /// As the client sent it.
    pub identity: Vec<u8>,
    pub request: AddressRequest,
    /// Identifier of the last EAP-Response, for a Failure of our own.
    eap_identifier: u8,
    /// The last EAP method seen, by number.
    eap_method: Option<u8>,
    /// `E=691 R=0 ...` of an EAP-MSCHAPv2 failure, as the server sent it.
    ms_chap_error: Option<String>,
    pub granted: Option<Granted>,
    /// RADIUS server that accepted.
    pub server: Option<String>,
    /// The login fails because RADIUS did, not because it said no.
    pub radius_failed: bool,
}

impl<P: Plane> Gateway<P> {
    /// An EAP-Response of the client goes to RADIUS.
    pub(super) fn relay_eap(&mut self, now: Now, session: SessionId, ask: AskId, question: EapQuestion) {
        let ticket = self.ticket();
        let Some(live) = self.live.get_mut(&session) else { return };
        let view = eap::Packet::parse(&question.packet).ok();
        let progress = live.login.get_or_insert_with(|| Progress::new(question.identity.clone(), question.request));
        progress.eap_identifier = view.map_or(0, |view| view.identifier());
        let nak =
            view.and_then(|view| view.nak()).map(|methods| methods.iter().map(|&method| eap::method::name(method)).collect::<Vec<_>>());
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            if attempt.user.is_none() {
                attempt.set_user(String::from_utf8_lossy(&question.identity).into_owned());
            }
            attempt.reach(now.instant, Stage::Eap);
            if let Some(methods) = nak {
                attempt.note(now.instant, format!("client refuses the EAP method offered and wants {}", methods.join(", ")));
            }
        }
        let nas = Box::new(self.nas_context(session));
        self.tickets.insert(ticket, (session, ask));
        self.asked.insert(ask, ticket);
        self.effects.push_back(Effect::Radius(radius_client::Input::Eap {
            ticket,
            conversation: conversation(session),
            user_name: question.identity,
            eap: question.packet,
            nas,
        }));
    }

    /// RADIUS answered, or will not.
    pub fn authenticated(&mut self, now: Now, ticket: Ticket, outcome: EapOutcome) {
        let Some((session, ask)) = self.tickets.remove(&ticket) else { return };
        self.asked.remove(&ask);
        let answer = match outcome {
            EapOutcome::Challenge { eap, .. } => self.challenge(now, session, eap),
            EapOutcome::Accept { server, eap, accept } => self.accept(now, session, &server, eap, &accept),
            EapOutcome::Reject { server, eap, reply_message, ms_chap_error } => {
                self.reject(session, &server, eap, reply_message, ms_chap_error)
            }
            EapOutcome::Failed(failure) => self.radius_failed(session, &failure),
        };
        self.answers.push_back((ask, Answer::Eap(answer)));
        self.settle(now);
    }

    /// May the holder of a verified certificate come in?
    pub(super) fn admit_certificate(
        &mut self,
        now: Now,
        session: SessionId,
        certificate: &pki::Certificate,
        request: AddressRequest,
    ) -> Result<Box<Grant>, Denial> {
        let user = certificate_user(certificate);
        if let Some(live) = self.live.get_mut(&session) {
            live.login = Some(Progress::new(user.clone().into_bytes(), request));
            if let Some(attempt) = self.attempts.get_mut(live.attempt) {
                attempt.set_user(user.clone());
                attempt.note(now.instant, format!("client certificate {} (serial {}) accepted", certificate.subject, certificate.serial));
            }
        }
        self.authorize(now, session, &Authenticated { user: &user, confirmed: true, method: Method::Certificate, accept: None })
            .map_err(Into::into)
    }

    fn challenge(&mut self, now: Now, session: SessionId, packet: Vec<u8>) -> EapAnswer {
        let view = eap::Packet::parse(&packet).ok();
        let method = view.and_then(|view| view.method());
        let Some(live) = self.live.get_mut(&session) else { return EapAnswer::Continue { packet } };
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
        EapAnswer::Continue { packet }
    }

    fn accept(&mut self, now: Now, session: SessionId, server: &str, packet: Option<Vec<u8>>, accept: &Accept) -> EapAnswer {
        let identifier = self.eap_identifier(session);
        let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) else {
            return refuse(identifier, None, Stage::Radius, "the session ended meanwhile".into());
        };
        progress.server = Some(server.to_owned());
        let method = progress.eap_method;
        if accept.msk.is_empty() && !makes_no_key(method) {
            let method = method.map_or_else(|| "no EAP method".into(), eap::method::name);
            let cause = format!("radius {server} accepts without MS-MPPE keys after {method}: the login cannot be bound to this tunnel");
            return refuse(identifier, None, Stage::Radius, cause);
        }
        let outer = String::from_utf8_lossy(&progress.identity).into_owned();
        let confirmed = accept.user_name.is_some() || !hides_the_user(method);
        let user = accept.user_name.clone().unwrap_or(outer);
        self.note(now, session, format!("radius {server} accepts {user}"));
        match self.authorize(now, session, &Authenticated { user: &user, confirmed, method: Method::Eap, accept: Some(accept) }) {
            Ok(grant) => EapAnswer::Success { packet: success_packet(packet, identifier), msk: accept.msk.clone(), grant },
            Err(denied) => refuse(identifier, None, denied.stage, denied.cause),
        }
    }

    fn reject(
        &mut self,
        session: SessionId,
        server: &str,
        packet: Option<Vec<u8>>,
        reply_message: Option<String>,
        ms_chap_error: Option<String>,
    ) -> EapAnswer {
        let progress = self.live.get(&session).and_then(|live| live.login.as_ref());
        let user = progress.map(|progress| String::from_utf8_lossy(&progress.identity).into_owned()).unwrap_or_default();
        let method = progress.and_then(|progress| progress.eap_method).map(eap::method::name);
        let error = ms_chap_error.or_else(|| progress.and_then(|progress| progress.ms_chap_error.clone()));
        let mut cause = format!("radius {server} rejects user {user:?}");
        for (label, detail) in
            [("method", method), ("error", error.map(|error| words_of_ms_chap_error(&error))), ("message", reply_message)]
        {
            if let Some(detail) = detail {
                cause.push_str(&format!("; {label}: {detail}"));
            }
        }
        refuse(self.eap_identifier(session), packet, Stage::Radius, cause)
    }

    fn radius_failed(&mut self, session: SessionId, failure: &RequestFailure) -> EapAnswer {
        tracing::warn!(%failure, "a login failed because RADIUS did");
        if let Some(progress) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()) {
            progress.radius_failed = true;
        }
        refuse(self.eap_identifier(session), None, Stage::Radius, failure.to_string())
    }

    fn authorize(&mut self, now: Now, session: SessionId, who: &Authenticated<'_>) -> Result<Box<Grant>, Denied> {
        let Some(live) = self.live.get_mut(&session) else {
            return Err(Denied { stage: Stage::Policy, cause: "the session ended meanwhile".into(), trace: Vec::new() });
        };
        let request = live.login.as_ref().map(|progress| progress.request).unwrap_or_default();
        let login = Login { key: LeaseKey(session.0), tunnel: Tunnel::Ikev2, client: live.path.remote.ip(), wanted: wanted(request) };
        let result = self.authority.authorize(&login, who, now.wall);
        let attempt = self.attempts.get_mut(live.attempt);
        match result {
            Ok(granted) => {
                if let Some(attempt) = attempt {
                    attempt.set_user(granted.user.clone());
                    attempt.decision.clone_from(&granted.trace);
                    attempt.reach(now.instant, Stage::Policy);
                }
                let grant = grant(&granted);
                if let Some(progress) = &mut live.login {
                    progress.granted = Some(granted);
                }
                Ok(Box::new(grant))
            }
            Err(denied) => {
                if let Some(attempt) = attempt {
                    attempt.decision.clone_from(&denied.trace);
                    attempt.reach(now.instant, denied.stage);
                }
                Err(denied)
            }
        }
    }

    fn eap_identifier(&self, session: SessionId) -> u8 {
        self.live.get(&session).and_then(|live| live.login.as_ref()).map_or(0, |progress| progress.eap_identifier)
    }

    /// What RADIUS is told about this session in every packet.
    pub(super) fn nas_context(&self, session: SessionId) -> NasContext {
        let Some(live) = self.live.get(&session) else { return NasContext::default() };
        let (gateway, client) = (live.path.local.ip(), live.path.remote.ip());
        NasContext {
            nas_ip: Some(self.settings.nas_ip.unwrap_or(gateway)),
            nas_identifier: self.settings.nas_identifier.clone(),
            nas_port: nas_port(session),
            called_station_id: gateway.to_string(),
            calling_station_id: client.to_string(),
            acct_session_id: self.acct_session_id(live),
            tunnel_type: TUNNEL_TYPE_ESP,
            tunnel_medium_type: if client.is_ipv4() { 1 } else { 2 },
            framed_mtu: FRAMED_MTU,
            ..NasContext::default()
        }
    }

    fn acct_session_id(&self, live: &Live) -> String {
        self.attempts.get(live.attempt).map(|attempt| attempt.id.to_string()).unwrap_or_default()
    }
}

impl Progress {
    fn new(identity: Vec<u8>, request: AddressRequest) -> Self {
        Self {
            identity,
            request,
            eap_identifier: 0,
            eap_method: None,
            ms_chap_error: None,
            granted: None,
            server: None,
            radius_failed: false,
        }
    }
}

impl Progress {
    /// What RADIUS said about the user inside EAP, in words, when it was a no.
    pub(super) fn refusal_inside_eap(&self) -> Option<String> {
        let error = self.ms_chap_error.as_deref()?;
        Some(format!("RADIUS rejects user {:?}: {}", String::from_utf8_lossy(&self.identity), words_of_ms_chap_error(error)))
    }
}

impl From<Denied> for Denial {
    fn from(denied: Denied) -> Self {
        Self { stage: denied.stage, cause: denied.cause }
    }
}

/// NAS-Port is 32 bits wide; session numbers start at 1 and wrap after four thousand million logins.
fn nas_port(session: SessionId) -> u32 {
    u32::try_from(session.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// The machine or user name that a certificate stands for: UPN, e-mail, DNS name, common name, whichever comes first.
fn certificate_user(certificate: &pki::Certificate) -> String {
    let names = [certificate.upns.first(), certificate.emails.first(), certificate.dns_names.first(), certificate.common_name.as_ref()];
    names.into_iter().flatten().next().unwrap_or(&certificate.subject).clone()
}

fn wanted(request: AddressRequest) -> Wanted {
    Wanted {
        ipv4: request.ipv4,
        ipv6: request.ipv6,
        ipv4_hint: request.ipv4_hint,
        ipv6_hint: request.ipv6_hint,
        ipv4_fixed: None,
        ipv6_fixed: None,
    }
}

fn grant(granted: &Granted) -> Grant {
    Grant {
        user: granted.user.clone(),
        ipv4: granted.ipv4,
        ipv6: granted.ipv6,
        address_failure: granted.address_failure.clone(),
        dns: granted.dns.clone(),
        selectors: granted.selectors.iter().map(selector).collect(),
        ..Grant::default()
    }
}

fn selector(range: &AddressRange) -> TrafficSelector {
    TrafficSelector { protocol: 0, start_port: 0, end_port: u16::MAX, start: range.start, end: range.end }
}

/// Methods without a key: the peers prove themselves with SK_p instead (RFC 7296 section 2.16).
fn makes_no_key(method: Option<u8>) -> bool {
    matches!(method, Some(eap::method::MD5 | eap::method::OTP | eap::method::GTC))
}

/// Tunnelled methods: the name outside is whatever the client likes to write there.
fn hides_the_user(method: Option<u8>) -> bool {
    matches!(method, Some(eap::method::TTLS | eap::method::PEAP | eap::method::FAST | eap::method::TEAP))
}

/// RADIUS decides by its code; the EAP packet inside an Accept must be a Success, or is made one.
fn success_packet(packet: Option<Vec<u8>>, identifier: u8) -> Vec<u8> {
    packet
        .filter(|packet| eap::Packet::parse(packet).is_ok_and(|view| view.code() == eap::Code::Success))
        .unwrap_or_else(|| eap::success(identifier))
}

fn refuse(identifier: u8, packet: Option<Vec<u8>>, stage: Stage, cause: String) -> EapAnswer {
    let packet = packet
        .filter(|packet| eap::Packet::parse(packet).is_ok_and(|view| view.code() == eap::Code::Failure))
        .unwrap_or_else(|| eap::failure(identifier));
    EapAnswer::Failure { packet, denial: Denial { stage, cause } }
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

fn words_of_ms_chap_error(error: &str) -> String {
    let code = error.split(' ').find_map(|word| word.strip_prefix("E="));
    let words = match code {
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
    fn the_radius_code_decides_over_the_eap_packet_inside() {
        let failure_inside = eap::failure(5);
        assert_eq!(success_packet(Some(failure_inside), 7), eap::success(7));
        assert_eq!(success_packet(Some(eap::success(4)), 7), eap::success(4));
        let EapAnswer::Failure { packet, .. } = refuse(7, Some(eap::success(4)), Stage::Radius, String::new()) else { panic!() };
        assert_eq!(packet, eap::failure(7));
    }
}
