//! Login attempts as OpenTelemetry traces, for collectors that take OTLP over HTTP: one trace for each attempt, in it a span for each stage that
//! it passed and one for each question to a RADIUS server.
//!
//! Everything comes from the attempt record when the login is decided. What leaves are names and numbers that the log tells too, never secrets.
mod exporter;
mod otlp;

pub use exporter::{Exporter, Status};

use crate::explain;
use crate::outcome::Stage;
use crate::revocation::HttpUrl;
use crypto::Zeroizing;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, USER_AGENT};
use jiff::Timestamp;
use radius_client::{EapOutcome, LoginOutcome};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tls::ClientSettings;

/// Questions to RADIUS kept of one attempt.
const QUESTIONS: usize = 32;

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector; its path for traces is `v1/traces` below this one.
    pub otlp: HttpUrl,
    /// Where it speaks TLS.
    pub tls: Option<Arc<ClientSettings>>,
    /// What it wants to be told besides.
    pub headers: Headers,
    /// `service.name`
    pub service: String,
}

/// Headers of each request, with which a collector knows who may send: secrets.
#[derive(Clone, Default)]
pub struct Headers(Arc<Vec<(HeaderName, Zeroizing<Vec<u8>>)>>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Headers {
    /// Reads lines like `authorization: Bearer ..`. The error says which line is none, and nothing of what it holds.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate().filter(|(_, line)| !line.is_empty());
        let headers = lines.map(|(number, line)| header(line).map_err(|problem| format!("line {}: {problem}", number + 1)));
        Ok(Self(Arc::new(headers.collect::<Result<_, _>>()?)))
    }

    fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.iter().filter_map(|(name, value)| {
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(true);
            Some((name.clone(), value))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn header(line: &[u8]) -> Result<(HeaderName, Zeroizing<Vec<u8>>), String> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("has no colon; expected NAME: VALUE")?;
    let name = HeaderName::from_bytes(line[..colon].trim_ascii()).map_err(|_| "does not begin with the name of a header")?;
    if [HOST, CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, USER_AGENT].contains(&name) {
        return Err(format!("{name} is what the gateway says itself"));
    }
    let value = Zeroizing::new(line[colon + 1..].trim_ascii().to_vec());
    HeaderValue::from_bytes(&value).map_err(|_| format!("the value of {name} holds characters that no header has"))?;
    Ok((name, value))
}

/// When an attempt did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    stages: Vec<(Stage, Instant)>,
    questions: Vec<Question>,
}

/// A round of RADIUS, from the question on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    asked: Instant,
    answered: Option<(Instant, Answer)>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Name of the server; `None`: none answered.
    pub server: Option<String>,
    /// `Access-Accept`, ..
    pub code: &'static str,
}

impl Answer {
    pub fn of_eap(outcome: &EapOutcome) -> Self {
        match outcome {
            EapOutcome::Challenge { server, .. } => Self::new(server, "Access-Challenge"),
            EapOutcome::Accept { server, .. } => Self::new(server, "Access-Accept"),
            EapOutcome::Reject { server, .. } => Self::new(server, "Access-Reject"),
            EapOutcome::Failed(_) => Self { server: None, code: "no answer" },
        }
    }

    pub fn of_login(outcome: &LoginOutcome) -> Self {
        match outcome {
            LoginOutcome::Accept { server, .. } => Self::new(server, "Access-Accept"),
            LoginOutcome::Reject { server, .. } => Self::new(server, "Access-Reject"),
            LoginOutcome::Failed(_) => Self { server: None, code: "no answer" },
        }
    }

    fn new(server: &str, code: &'static str) -> Self {
        Self { server: Some(server.to_owned()), code }
    }
}

impl Steps {
    pub fn new(first: Stage, now: Instant) -> Self {
        Self { stages: vec![(first, now)], questions: Vec::new() }
    }

    pub fn reach(&mut self, stage: Stage, now: Instant) {
        self.stages.push((stage, now));
    }

    pub fn asked(&mut self, now: Instant) {
        if self.questions.len() < QUESTIONS {
            self.questions.push(Question { asked: now, answered: None });
        }
    }

    pub fn answered(&mut self, now: Instant, answer: Answer) {
        if let Some(question) = self.questions.last_mut().filter(|question| question.answered.is_none()) {
            question.answered = Some((now, answer));
        }
    }
}

/// A login that is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub attempt: String,
    pub tunnel: String,
    pub client: SocketAddr,
    pub gateway: SocketAddr,
    pub user: Option<String>,
    pub policy: Option<String>,
    pub server: Option<String>,
    /// How far it came.
    pub stage: Stage,
    /// `up`, `failed`, `ended`
    pub outcome: &'static str,
    /// Of what failed: whose fault, and why.
    pub fault: Option<(&'static str, String)>,
    pub steps: Steps,
    pub began: Instant,
    /// The same moment by both clocks, at the end.
    pub now: (Instant, Timestamp),
}

/// A span without its ids: names as OpenTelemetry's conventions have them where they have any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    name: String,
    kind: Kind,
    /// Nanoseconds since 1970.
    begin: i128,
    end: i128,
    attributes: Vec<(&'static str, String)>,
    /// Why it failed.
    error: Option<String>,
}

/// `SpanKind` of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

impl Login {
    /// The root, then its children.
    fn spans(&self) -> Vec<Span> {
        let root = Span {
            name: format!("login {}", self.tunnel),
            kind: Kind::Server,
            begin: self.at(self.began),
            end: self.at(self.now.0),
            attributes: self.attributes(),
            error: self.fault.as_ref().map(|(_, cause)| cause.clone()),
        };
        std::iter::once(root).chain(self.stages()).chain(self.steps.questions.iter().map(|question| self.question(question))).collect()
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        let text = |text: &str| Some(text.to_owned());
        [
            ("evergate.attempt", text(&self.attempt)),
            ("evergate.tunnel", text(&self.tunnel)),
            ("evergate.stage", text(explain::stage_name(self.stage))),
            ("evergate.outcome", text(self.outcome)),
            ("evergate.fault", self.fault.as_ref().and_then(|(fault, _)| text(fault))),
            ("evergate.policy", self.policy.clone()),
            ("evergate.radius", self.server.clone()),
            ("user.name", self.user.clone()),
            ("client.address", Some(self.client.ip().to_string())),
            ("client.port", Some(self.client.port().to_string())),
            ("server.address", Some(self.gateway.ip().to_string())),
            ("server.port", Some(self.gateway.port().to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// A stage lasts until the next one. The last one of a failure has its error.
    fn stages(&self) -> impl Iterator<Item = Span> {
        let stages = &self.steps.stages;
        stages.iter().enumerate().filter(|(_, (stage, _))| *stage != Stage::Up).map(|(number, (stage, begin))| {
            let end = stages.get(number + 1).map_or(self.now.0, |(_, next)| *next);
            let last = number + 1 == stages.len();
            Span {
                name: explain::stage_name(*stage).to_owned(),
                kind: Kind::Internal,
                begin: self.at(*begin),
                end: self.at(end),
                attributes: Vec::new(),
                error: self.fault.as_ref().filter(|_| last).map(|(_, cause)| cause.clone()),
            }
        })
    }

    fn question(&self, question: &Question) -> Span {
        let (end, server, code) = match &question.answered {
            Some((at, answer)) => (*at, answer.server.clone(), answer.code),
            None => (self.now.0, None, "no answer"),
        };
        let server = server.map(|server| ("evergate.radius", server));
        let error = (!matches!(code, "Access-Accept" | "Access-Challenge")).then(|| code.to_owned());
        Span {
            name: "RADIUS Access-Request".into(),
            kind: Kind::Client,
            begin: self.at(question.asked),
            end: self.at(end),
            attributes: server.into_iter().chain([("evergate.answer", code.to_owned())]).collect(),
            error,
        }
    }

    /// Nanoseconds since 1970, by the clock on the wall as it was at the end.
    fn at(&self, instant: Instant) -> i128 {
        let (now, wall) = self.now;
        let ago = now.saturating_duration_since(instant).as_nanos();
        wall.as_nanosecond() - i128::try_from(ago).unwrap_or(0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    /// A login that took 40 ms and asked RADIUS twice.
    pub(crate) fn login(fault: Option<&str>) -> Login {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut steps = Steps::new(Stage::SaInit, began);
        steps.reach(Stage::Eap, at(5));
        steps.asked(at(6));
        steps.answered(at(10), Answer { server: Some("nps1".into()), code: "Access-Challenge" });
        steps.reach(Stage::Radius, at(10));
        steps.asked(at(12));
        let code = if fault.is_some() { "Access-Reject" } else { "Access-Accept" };
        steps.answered(at(30), Answer { server: Some("nps1".into()), code });
        if fault.is_none() {
            steps.reach(Stage::Up, at(40));
        }
        Login {
            attempt: "18bcfe56800-7".into(),
            tunnel: "ikev2".into(),
            client: "192.0.2.7:4500".parse().unwrap(),
            gateway: "192.0.2.1:4500".parse().unwrap(),
            user: Some("alice".into()),
            policy: None,
            server: Some("nps1".into()),
            stage: if fault.is_some() { Stage::Radius } else { Stage::Up },
            outcome: if fault.is_some() { "failed" } else { "up" },
            fault: fault.map(|cause| ("refused", cause.to_owned())),
            steps,
            began,
            now: (at(40), Timestamp::from_millisecond(1_700_000_000_040).unwrap()),
        }
    }

    #[test]
    fn headers_are_lines_whose_values_nobody_prints() {
        let headers = Headers::parse(b"Authorization: Bearer s3cret:x \r\n\nX-Tenant:a\n").unwrap();
        let read: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        assert_eq!(read, [("authorization".to_owned(), "Bearer s3cret:x".to_owned()), ("x-tenant".into(), "a".into())]);
        assert_eq!(format!("{headers:?}"), r#"["authorization", "x-tenant"]"#);
        for (text, expected) in [
            ("Bearer s3cret", "line 1: has no colon; expected NAME: VALUE"),
            ("\na b: s3cret", "line 2: does not begin with the name of a header"),
            ("Host: s3cret", "line 1: host is what the gateway says itself"),
            ("x: s3cret\u{1}", "line 1: the value of x holds characters that no header has"),
        ] {
            assert_eq!(Headers::parse(text.as_bytes()).unwrap_err(), expected);
        }
    }

    #[test]
    fn spans_of_a_login_fill_its_time() {
        let spans = login(None).spans();
        let start = 1_700_000_000_000_000_000;
        let told: Vec<_> =
            spans.iter().map(|span| (span.name.as_str(), (span.begin - start) / 1_000_000, (span.end - start) / 1_000_000)).collect();
        let expected = [
            ("login ikev2", 0, 40),
            ("sa_init", 0, 5),
            ("eap", 5, 10),
            ("radius", 10, 40),
            ("RADIUS Access-Request", 6, 10),
            ("RADIUS Access-Request", 12, 30),
        ];
        assert_eq!(told, expected);
        assert!(spans.iter().all(|span| span.error.is_none()));
        assert!(spans[0].attributes.contains(&("user.name", "alice".into())), "{:?}", spans[0].attributes);
    }

    #[test]
    fn a_failure_marks_the_login_its_last_stage_and_the_refusing_answer() {
        let spans = login(Some("wrong password")).spans();
        let failed: Vec<_> = spans.iter().filter_map(|span| Some((span.name.as_str(), span.error.as_deref()?))).collect();
        let expected = [("login ikev2", "wrong password"), ("radius", "wrong password"), ("RADIUS Access-Request", "Access-Reject")];
        assert_eq!(failed, expected);
    }

    #[test]
    fn questions_are_bounded_and_a_late_answer_finds_none() {
        let now = Instant::now();
        let mut steps = Steps::new(Stage::SaInit, now);
        let answer = Answer { server: None, code: "no answer" };
        steps.answered(now, answer.clone());
        (0..100).for_each(|_| steps.asked(now));
        steps.answered(now, answer.clone());
        steps.answered(now, answer);
        assert_eq!((steps.questions.len(), steps.questions.iter().filter(|question| question.answered.is_some()).count()), (QUESTIONS, 1));
    }
}
