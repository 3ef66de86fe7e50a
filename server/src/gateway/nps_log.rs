//! What the accounting log in the format of NPS hears: rounds of logins, their decisions, and the records of accounting.
use super::authenticate::{Progress, Verdict};
use super::{Effect, Gateway, Live, Now, Plane};
use crate::login::{Denied, Granted};
use crate::nps_log::{Record, Value, class};
use crate::outcome::{Fault, Stage};
use ike::SessionId;
use policy::network::Method;
use radius_client::{AccountingRecord, AccountingStatus, Authentic, NasContext};
use std::net::IpAddr;

/// Values of Packet-Type.
const ACCESS_REQUEST: u64 = 1;
const ACCESS_ACCEPT: u64 = 2;
const ACCESS_REJECT: u64 = 3;
const ACCOUNTING_REQUEST: u64 = 4;
const ACCESS_CHALLENGE: u64 = 11;

/// NAS-Port-Type Virtual, Service-Type Framed, Framed-Protocol PPP: as RADIUS servers are told.
const VIRTUAL: u64 = 5;
const FRAMED: u64 = 2;
const PPP: u64 = 1;

/// As long as a RADIUS attribute can be (RFC 2865 section 5), which is all that NPS ever logs of one: strangers choose their names.
const MAX_TEXT: usize = 253;

type Attributes = Vec<(&'static str, Value)>;

impl<P: Plane> Gateway<P> {
    /// A round of authentication is over.
    pub(super) fn log_verdict(&mut self, now: Now, session: SessionId, verdict: &Verdict) {
        match verdict {
            Verdict::Continue { .. } => self.log_challenge(now, session),
            Verdict::Granted { granted, .. } => self.log_login(now, session, Ok(granted)),
            Verdict::Refused { denied, .. } => self.log_login(now, session, Err(denied)),
        }
    }

    /// The client leaves. Where RADIUS had said no inside EAP, and the client went without hearing the rest, that was the decision.
    pub(super) fn log_departure(&mut self, now: Now, session: SessionId) {
        let progress = self.live.get(&session).and_then(|live| live.login.as_ref());
        if let Some(denied) = progress.and_then(Progress::denied_inside_eap) {
            self.log_login(now, session, Err(&denied));
        }
    }

    /// An Access-Request that is answered with a question.
    fn log_challenge(&mut self, now: Now, session: SessionId) {
        if !self.settings.nps_log.is_some_and(|kinds| kinds.challenges) {
            return;
        }
        let Some((live, progress)) = self.live.get(&session).and_then(|live| Some((live, live.login.as_ref()?))) else { return };
        let identity = String::from_utf8_lossy(clipped(&progress.identity)).into_owned();
        // No policy has been asked yet.
        let known = self.decided(live, progress, &identity, None);
        let request = self.request(session, &identity, known.clone());
        self.push_lines(now, [request, [known, outcome_of(ACCESS_CHALLENGE, 0)].concat()]);
    }

    /// An Access-Request, and what became of it.
    pub(super) fn log_login(&mut self, now: Now, session: SessionId, outcome: Result<&Granted, &Denied>) {
        if !self.settings.nps_log.is_some_and(|kinds| kinds.logins) {
            return;
        }
        let Some((live, progress)) = self.live.get(&session).and_then(|live| Some((live, live.login.as_ref()?))) else { return };
        let identity = String::from_utf8_lossy(clipped(&progress.identity)).into_owned();
        let user = outcome.map_or(identity.as_str(), |granted| granted.user.as_str());
        let policy = outcome.map_or_else(|denied| denied.policy.as_deref(), |granted| Some(granted.policy.as_str()));
        let decided = self.decided(live, progress, user, policy);
        let request = self.request(session, &identity, decided.clone());
        let (kind, reason) = outcome.map_or_else(|denied| (ACCESS_REJECT, reason_code(denied)), |_| (ACCESS_ACCEPT, 0));
        let mut answer = decided;
        answer.extend(outcome.map(granted_attributes).unwrap_or_default());
        answer.extend(outcome_of(kind, reason));
        self.push_lines(now, [request, answer]);
    }

    /// The Access-Request of a round. `known`: what its answer says, too.
    fn request(&self, session: SessionId, identity: &str, known: Attributes) -> Attributes {
        let mut request = vec![("User-Name", text(identity))];
        request.extend(nas_attributes(&self.nas_context(session)));
        request.extend(known);
        request.extend(outcome_of(ACCESS_REQUEST, 0));
        request
    }

    fn push_lines<const N: usize>(&mut self, now: Now, lines: [Attributes; N]) {
        let line = |attributes| Effect::NpsLog(Box::new(Record { at: now.wall, attributes }));
        self.effects.extend(lines.map(line));
    }

    /// A Start, Interim-Update or Stop.
    pub(super) fn log_accounting(&mut self, now: Now, session: SessionId, record: &AccountingRecord) {
        let Some(kinds) = self.settings.nps_log else { return };
        let wanted = if record.status == AccountingStatus::Interim { kinds.interims } else { kinds.accounting };
        let Some((live, up)) = self.live.get(&session).and_then(|live| Some((live, live.session.as_ref()?))).filter(|_| wanted) else {
            return;
        };
        let mut attributes = accounting_attributes(record);
        attributes.push(("Class", text(&self.class_of(live))));
        attributes.extend(self.client_attributes(live.dialled));
        attributes.push(("NP-Policy-Name", text(&up.granted.policy)));
        attributes.extend(outcome_of(ACCOUNTING_REQUEST, 0));
        self.push_lines(now, [attributes]);
    }

    /// Lines for the Stops of sessions that ended with an earlier run, which nobody has written; none where they are not wanted.
    pub fn lines_of_earlier_run(&self, now: Now, stops: &[AccountingRecord]) -> Vec<Record> {
        let is_wanted = self.settings.nps_log.is_some_and(|kinds| kinds.accounting);
        let line = |record| Record { at: now.wall, attributes: self.earlier_stop(now, record) };
        stops.iter().filter(|_| is_wanted).map(line).collect()
    }

    fn earlier_stop(&self, now: Now, record: &AccountingRecord) -> Attributes {
        let mut attributes = accounting_attributes(record);
        let late = now.wall.as_second().saturating_sub(record.event_timestamp.into());
        let delay = attributes.iter_mut().find(|(name, _)| *name == "Acct-Delay-Time");
        if let Some((_, delay)) = delay {
            *delay = Value::Number(u64::try_from(late).unwrap_or(0));
        }
        let id = &record.nas.acct_session_id;
        if let Ok(dialled) = record.nas.called_station_id.parse() {
            attributes.extend(boot_of(id).map(|boot| ("Class", text(&class(dialled, boot, id)))));
            attributes.extend(self.client_attributes(dialled));
        }
        attributes.extend(record.policy.as_deref().map(|policy| ("NP-Policy-Name", text(policy))));
        attributes.extend(outcome_of(ACCOUNTING_REQUEST, 0));
        attributes
    }

    /// Accounting-On or Accounting-Off, with which all sessions have ended, whatever a crash left open.
    pub(super) fn log_gateway(&mut self, now: Now, status: AccountingStatus, id: &str) {
        if !self.settings.nps_log.is_some_and(|kinds| kinds.accounting) {
            return;
        }
        let name = || text(&self.settings.nas_identifier);
        let mut attributes = vec![
            ("Acct-Status-Type", Value::Number(status as u64)),
            ("NAS-Identifier", name()),
            ("Acct-Session-Id", text(id)),
            ("Event-Timestamp", Value::Time(now.wall)),
            ("Client-Vendor", Value::Number(0)),
            ("Client-Friendly-Name", name()),
        ];
        attributes.extend(outcome_of(ACCOUNTING_REQUEST, 0));
        self.push_lines(now, [attributes]);
    }

    /// What both lines of a round have.
    fn decided(&self, live: &Live, progress: &Progress, user: &str, policy: Option<&str>) -> Attributes {
        let mut attributes = self.client_attributes(live.dialled);
        if let Some(policy) = &progress.route().policy {
            attributes.push(("Proxy-Policy-Name", text(policy)));
        }
        attributes.push(("Provider-Type", Value::Number(provider_type(progress))));
        attributes.push(("SAM-Account-Name", text(user)));
        attributes.push(("Fully-Qualifed-User-Name", text(user)));
        attributes.push(("Class", text(&self.class_of(live))));
        if let Some(number) = authentication_type(progress.method, progress.eap_method) {
            attributes.push(("Authentication-Type", Value::Number(number)));
        }
        if let Some(eap) = progress.eap_method.filter(|_| progress.method == Method::Eap) {
            attributes.push(("EAP-Friendly-Name", text(&friendly_name(eap))));
        }
        if let Some(policy) = policy {
            attributes.push(("NP-Policy-Name", text(policy)));
        }
        attributes
    }

    /// The RADIUS client, which is this gateway itself.
    fn client_attributes(&self, dialled: IpAddr) -> Attributes {
        let address = match dialled {
            IpAddr::V4(_) => "Client-IP-Address",
            IpAddr::V6(_) => "Client-IPv6-Address",
        };
        vec![(address, dialled.into()), ("Client-Vendor", Value::Number(0)), ("Client-Friendly-Name", text(&self.settings.nas_identifier))]
    }

    fn class_of(&self, live: &Live) -> String {
        class(live.dialled, self.attempts.boot(), &self.acct_session_id(live))
    }
}

/// When the run began whose Acct-Session-Id this is, milliseconds since 1970.
fn boot_of(acct_session_id: &str) -> Option<u64> {
    u64::from_str_radix(acct_session_id.split_once('-')?.0, 16).ok()
}

fn clipped(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_TEXT)]
}

/// Text of at most [`MAX_TEXT`] bytes.
fn text(text: &str) -> Value {
    Value::Text(text[..text.floor_char_boundary(MAX_TEXT)].to_owned())
}

fn outcome_of(packet_type: u64, reason: u16) -> Attributes {
    vec![("Packet-Type", Value::Number(packet_type)), ("Reason-Code", Value::Number(reason.into()))]
}

fn nas_attributes(nas: &NasContext) -> Attributes {
    let nas_ip = nas.nas_ip.map(|address| (if address.is_ipv4() { "NAS-IP-Address" } else { "NAS-IPv6-Address" }, address.into()));
    let named = [("MS-RAS-Client-Name", &nas.ras_client_name), ("MS-RAS-Client-Version", &nas.ras_client_version)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?))));
    let fixed = [
        ("NAS-Identifier", text(&nas.nas_identifier)),
        ("NAS-Port", Value::Number(nas.nas_port.into())),
        ("NAS-Port-Type", Value::Number(VIRTUAL)),
        ("Service-Type", Value::Number(FRAMED)),
        ("Framed-Protocol", Value::Number(PPP)),
        ("Called-Station-Id", text(&nas.called_station_id)),
        ("Calling-Station-Id", text(&nas.calling_station_id)),
        ("Tunnel-Type", Value::Number(nas.tunnel_type.into())),
        ("Tunnel-Medium-Type", Value::Number(nas.tunnel_medium_type.into())),
        ("Tunnel-Client-Endpt", text(&nas.calling_station_id)),
        ("Acct-Session-Id", text(&nas.acct_session_id)),
    ];
    nas_ip.into_iter().chain(fixed).chain(named).collect()
}

fn granted_attributes(granted: &Granted) -> Attributes {
    let seconds = |time: Option<std::time::Duration>| time.map(|time| Value::Number(time.as_secs()));
    [
        ("Framed-IP-Address", granted.ipv4.map(Value::Address)),
        ("Framed-IPv6-Address", granted.ipv6.map(|address| IpAddr::V6(address).into())),
        ("Session-Timeout", seconds(granted.session_timeout)),
        ("Idle-Timeout", seconds(granted.idle_timeout)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn accounting_attributes(record: &AccountingRecord) -> Attributes {
    let mut attributes = vec![
        ("Acct-Status-Type", Value::Number(record.status as u64)),
        ("Acct-Delay-Time", Value::Number(0)),
        ("User-Name", text(&String::from_utf8_lossy(clipped(&record.user_name)))),
    ];
    attributes.extend(nas_attributes(&record.nas));
    attributes.push(("Acct-Multi-Session-Id", text(&record.multi_session_id)));
    attributes.push(("Event-Timestamp", Value::Time(jiff::Timestamp::from_second(record.event_timestamp.into()).unwrap_or_default())));
    let authentic = if record.authentic == Authentic::Local { 2 } else { 1 };
    attributes.push(("Acct-Authentic", Value::Number(authentic)));
    attributes.extend(record.framed_ip.map(|address| ("Framed-IP-Address", Value::Address(address))));
    attributes.extend(record.framed_ipv6.map(|address| ("Framed-IPv6-Address", IpAddr::V6(address).into())));
    if record.status != AccountingStatus::Start {
        let [low, high] = [|octets: u64| octets & u64::from(u32::MAX), |octets: u64| octets >> 32];
        attributes.extend([
            ("Acct-Input-Octets", Value::Number(low(record.input_octets))),
            ("Acct-Output-Octets", Value::Number(low(record.output_octets))),
            ("Acct-Input-Gigawords", Value::Number(high(record.input_octets))),
            ("Acct-Output-Gigawords", Value::Number(high(record.output_octets))),
            ("Acct-Input-Packets", Value::Number(record.input_packets)),
            ("Acct-Output-Packets", Value::Number(record.output_packets)),
            ("Acct-Session-Time", Value::Number(record.session_time.as_secs())),
        ]);
    }
    attributes.extend(record.terminate_cause.map(|cause| ("Acct-Terminate-Cause", Value::Number(cause as u64))));
    attributes
}

/// `sdoias.h`, AUTHENTICATION_TYPE. NPS has none for certificates in IKE, of which it never hears.
fn authentication_type(method: Method, eap: Option<u8>) -> Option<u64> {
    match method {
        Method::Pap => Some(1),
        Method::Chap => Some(2),
        Method::MsChapV2 => Some(4),
        Method::Eap if eap == Some(eap::method::PEAP) => Some(11),
        Method::Eap => Some(5),
        Method::Certificate => None,
    }
}

/// EAP-Friendly-Name: what Windows calls the methods that it brings along.
fn friendly_name(method: u8) -> String {
    match method {
        eap::method::MSCHAPV2 => "Microsoft: Secured password (EAP-MSCHAP v2)".into(),
        eap::method::TLS => "Microsoft: Smart Card or other certificate".into(),
        eap::method::PEAP => "Microsoft: Protected EAP (PEAP)".into(),
        other => eap::method::name(other),
    }
}

/// Provider-Type: 1 who looked the user up here, 2 another RADIUS server, 0 nobody.
fn provider_type(progress: &Progress) -> u64 {
    match (progress.route().group.as_deref(), progress.method) {
        (Some(local_provider::SERVER), _) => 1,
        (_, Method::Certificate) if progress.server.is_none() => 0,
        _ => 2,
    }
}

/// Reason-Code of a refusal: what policies say in the numbers of NPS, what the user's provider said of the account, else where it failed.
fn reason_code(denied: &Denied) -> u16 {
    if let Some(reason) = denied.reason {
        return reason.code();
    }
    if let Some(error) = denied.ms_chap_error {
        return reason_of_ms_chap_error(error);
    }
    match (denied.fault, denied.stage) {
        // The RADIUS server does not answer.
        (Fault::Dependency, _) => 117,
        (Fault::Internal, _) => 1,
        // What it answers is of no use.
        (Fault::Misconfigured, _) => 118,
        // The block list: no permission to come in.
        (_, Stage::Policy) => 65,
        _ => 16,
    }
}

/// The number behind `E=` (RFC 2759 section 6) as NPS counts reasons.
fn reason_of_ms_chap_error(error: u16) -> u16 {
    match error {
        646 => 37,
        647 => 34,
        648 => 33,
        649 => 65,
        709 => 17,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::network::Reason;

    #[test]
    fn refusals_have_the_reason_codes_of_nps() {
        let denied = |stage, fault| Denied { fault, ..Denied::new(stage, "because".into()) };
        for (denied, code) in [
            (Denied { reason: Some(Reason::NoPolicy), ..denied(Stage::Policy, Fault::Refused) }, 48),
            (Denied { reason: Some(Reason::Hours), ..denied(Stage::Policy, Fault::Refused) }, 68),
            (denied(Stage::Policy, Fault::Refused), 65),
            (denied(Stage::Radius, Fault::Refused), 16),
            (denied(Stage::Radius, Fault::Dependency), 117),
            (denied(Stage::Radius, Fault::Misconfigured), 118),
            (Denied { ms_chap_error: Some(648), ..denied(Stage::Radius, Fault::Refused) }, 33),
            (Denied { ms_chap_error: Some(691), ..denied(Stage::Radius, Fault::Refused) }, 16),
        ] {
            assert_eq!(reason_code(&denied), code, "{denied:?}");
        }
    }

    #[test]
    fn authentication_types_are_those_of_nps() {
        assert_eq!(authentication_type(Method::Eap, Some(26)), Some(5));
        assert_eq!(authentication_type(Method::Eap, Some(25)), Some(11));
        assert_eq!(authentication_type(Method::MsChapV2, None), Some(4));
        assert_eq!(authentication_type(Method::Certificate, None), None);
    }
}
