//! Attempt records: every login try, from its first packet, with a timeline and, on failure, the cause, the number that Windows shows
//! and the fix. Logs, `evergate attempts` and `sessions` are views of these.
use crate::explain::nearest::Nearest;
use crate::outcome::{CloseReason, Failure, Stage};
use crate::telemetry::{Answer, Steps};
use crate::trace::{Begun, Tracer};
use policy::network::Tunnel;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Lines of one timeline; more are counted, not kept.
const TIMELINE_LINES: usize = 64;

/// Bytes of one line of a record: what a stranger sends must not fill the memory.
const LINE_BYTES: usize = 500;

/// Proposals kept of one attempt.
const PROPOSALS: usize = 64;

/// Options of the question to the policies kept of one attempt.
const OPTIONS: usize = 32;

/// Names one attempt in logs, accounting (Acct-Session-Id) and commands: start of this gateway in hex, a dash, a running number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(String);

impl AttemptId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Up,
    /// It was up and ended regularly or by loss.
    Ended(CloseReason),
    Failed(Failure),
}

/// One login try.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub id: AttemptId,
    number: u64,
    pub tunnel: Tunnel,
    started: Instant,
    /// Unix time, seconds.
    pub started_at: u64,
    pub ended_after: Option<Duration>,
    pub client: SocketAddr,
    pub gateway: SocketAddr,
    pub user: Option<String>,
    /// What the client's computer is called, by its certificate or by its own word.
    pub machine: Option<String>,
    /// The local provider said no, not a RADIUS server.
    pub refused_locally: bool,
    /// Last stage reached.
    pub stage: Stage,
    pub outcome: Outcome,
    /// What the peer offered for the IKE SA and for the Child SA.
    pub offered: Vec<String>,
    pub accepted: Vec<String>,
    /// The decision of the network policies, a line each.
    pub decision: Vec<String>,
    /// The options by which `evergate policy test` asks the policies the same, besides user and tunnel.
    pub question: Vec<(&'static str, String)>,
    /// What RADIUS said of a user whom the policies then refused, as `Name=value`.
    pub received: Vec<String>,
    /// What beside a condition that failed would have matched.
    pub nearest: Option<Nearest>,
    /// Why the policies let in or refuse.
    pub reason: Option<policy::network::Reason>,
    /// The entry of the block list that keeps it out.
    pub block: Option<u64>,
    /// Subject and issuer of the certificate that the client showed in IKE, whether it was accepted or not.
    pub shows: Option<(String, String)>,
    /// The certificate by which the client proved itself, if it was seen.
    pub certificate: Option<Shown>,
    pub timeline: VecDeque<(Duration, String)>,
    pub timeline_lost: u64,
    /// Where somebody collects traces of logins, until this one is decided.
    steps: Option<Box<Steps>>,
    tracer: Tracer,
}

/// A client's certificate, and the names under which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub serial: String,
    /// SHA-256, in hexadecimal.
    pub fingerprint: Option<String>,
    pub names: Vec<String>,
}

impl Shown {
    /// Whether its serial number or its fingerprint is this.
    pub fn is(&self, number: &str) -> bool {
        std::iter::once(&self.serial).chain(&self.fingerprint).any(|own| crate::blocks::same_digits(own, number))
    }
}

impl Attempt {
    /// Adds a line with its time since the start.
    pub fn note(&mut self, now: Instant, text: impl Into<String>) {
        let text = clip(text.into(), LINE_BYTES);
        self.tracer.line(now, self.id.as_str(), &text);
        if self.timeline.len() == TIMELINE_LINES {
            self.timeline_lost += 1;
            return;
        }
        self.timeline.push_back((now.saturating_duration_since(self.started), text));
    }

    /// Who the client says it is, or was found to be.
    pub fn set_user(&mut self, user: String) {
        let user = clip(user, LINE_BYTES);
        self.tracer.named(self.id.as_str(), &user);
        self.user = Some(user);
    }

    /// What the client's computer is called.
    pub fn set_machine(&mut self, machine: &str) {
        self.machine = Some(clip(machine.to_owned(), LINE_BYTES));
    }

    /// How the policies were asked.
    pub fn ask(&mut self, question: Vec<(&'static str, String)>) {
        self.question = question.into_iter().take(OPTIONS).map(|(option, value)| (option, clip(value, LINE_BYTES))).collect();
    }

    /// The client shows a certificate in IKE.
    pub fn client_shows(&mut self, now: Instant, subject: &str, issuer: &str) {
        self.note(now, format!("client shows the certificate {subject}, issued by {issuer}"));
        self.shows = Some((clip(subject.to_owned(), LINE_BYTES), clip(issuer.to_owned(), LINE_BYTES)));
    }

    /// What RADIUS said before the policies refused, and what of it would have matched.
    pub fn received(&mut self, attributes: &[(String, String)], nearest: Option<Nearest>) {
        let line = |(name, value): &(String, String)| clip(format!("{name}={value}"), LINE_BYTES);
        self.received = attributes.iter().take(OPTIONS).map(line).collect();
        self.nearest = nearest;
    }

    /// The client begins anew, perhaps as somebody else.
    pub fn forget_user(&mut self) {
        self.tracer.unnamed(self.id.as_str());
        self.user = None;
    }

    /// The client is somewhere else now, or dials another address of the gateway.
    pub fn move_to(&mut self, client: SocketAddr, gateway: SocketAddr) {
        self.tracer.moved(self.id.as_str(), client);
        (self.client, self.gateway) = (client, gateway);
    }

    /// What the network policies said, and why.
    pub fn decide(&mut self, now: Instant, decision: &[String], reason: Option<policy::network::Reason>) {
        decision.iter().for_each(|line| self.tracer.line(now, self.id.as_str(), line));
        self.decision = decision.to_vec();
        self.reason = reason;
    }

    /// RADIUS is asked.
    pub fn asked(&mut self, now: Instant) {
        if let Some(steps) = &mut self.steps {
            steps.asked(now);
        }
    }

    /// RADIUS has answered, or will not.
    pub fn answered(&mut self, now: Instant, answer: impl FnOnce() -> Answer) {
        if let Some(steps) = &mut self.steps {
            steps.answered(now, answer());
        }
    }

    /// When it did what, once; `None`: nobody collects it, or has it already.
    pub fn take_steps(&mut self) -> Option<Steps> {
        self.steps.take().map(|steps| *steps)
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// It has led to a session.
    pub fn up(&mut self, now: Instant) {
        self.reach(now, Stage::Up);
        self.outcome = Outcome::Up;
        self.tracer.settled(self.id.as_str());
    }

    /// Attempts count up.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What a trace has to know of it.
    pub fn begun(&self) -> Begun {
        let up = self.outcome != Outcome::Running;
        Begun { id: self.id.to_string(), client: self.client, user: self.user.clone(), up }
    }

    /// What the peer offered; `kind` is `IKE` or `ESP`.
    pub fn offer(&mut self, kind: &str, proposals: Vec<String>) {
        let room = PROPOSALS.saturating_sub(self.offered.len());
        self.offered.extend(proposals.into_iter().take(room).map(|proposal| clip(format!("{kind} {proposal}"), LINE_BYTES)));
    }

    /// Notes a stage; it never goes back.
    pub fn reach(&mut self, now: Instant, stage: Stage) {
        if stage > self.stage {
            self.stage = stage;
            if let Some(steps) = &mut self.steps {
                steps.reach(stage, now);
            }
            self.note(now, format!("stage {}", crate::explain::stage_name(stage)));
        }
    }
}

/// What starts an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub tunnel: Tunnel,
    pub stage: Stage,
    pub client: SocketAddr,
    pub gateway: SocketAddr,
    pub now: Instant,
    /// Seconds since 1970.
    pub unix_time: u64,
}

/// The newest attempts, bounded in number.
#[derive(Debug)]
pub struct Attempts {
    boot: u64,
    next: u64,
    keep: usize,
    records: BTreeMap<u64, Attempt>,
    /// Attempts that no longer run, oldest first: what is dropped to make room.
    done: VecDeque<u64>,
    tracer: Tracer,
    /// Steps of new ones are noted.
    stepwise: bool,
}

/// A handle to a record in [`Attempts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey(u64);

impl Attempts {
    /// `boot`: unix time of this start in milliseconds, so that ids stay unique over restarts, quick ones too; `keep`: finished records kept at most.
    pub fn new(boot: u64, keep: usize) -> Self {
        Self { boot, next: 1, keep, records: BTreeMap::new(), done: VecDeque::new(), tracer: Tracer::default(), stepwise: false }
    }

    /// Where the records are told as they grow.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Finished records kept at most from now on.
    pub fn keep(&mut self, keep: usize) {
        self.keep = keep;
        self.drop_oldest();
    }

    /// Whether it is noted from now on when an attempt does what.
    pub fn note_steps(&mut self, stepwise: bool) {
        self.stepwise = stepwise;
    }

    pub fn start(&mut self, start: Start) -> AttemptKey {
        let key = self.next;
        self.next += 1;
        let attempt = Attempt {
            id: AttemptId(format!("{:x}-{key}", self.boot)),
            number: key,
            tunnel: start.tunnel,
            started: start.now,
            started_at: start.unix_time,
            ended_after: None,
            client: start.client,
            gateway: start.gateway,
            user: None,
            machine: None,
            refused_locally: false,
            stage: start.stage,
            outcome: Outcome::Running,
            offered: Vec::new(),
            accepted: Vec::new(),
            decision: Vec::new(),
            question: Vec::new(),
            received: Vec::new(),
            nearest: None,
            reason: None,
            block: None,
            shows: None,
            certificate: None,
            timeline: VecDeque::new(),
            timeline_lost: 0,
            steps: self.stepwise.then(|| Box::new(Steps::new(start.stage, start.now))),
            tracer: self.tracer.clone(),
        };
        self.tracer.started(|| attempt.begun());
        self.records.insert(key, attempt);
        AttemptKey(key)
    }

    pub fn get(&self, key: AttemptKey) -> Option<&Attempt> {
        self.records.get(&key.0)
    }

    pub fn get_mut(&mut self, key: AttemptKey) -> Option<&mut Attempt> {
        self.records.get_mut(&key.0)
    }

    pub fn find(&self, id: &str) -> Option<&Attempt> {
        self.get(self.key(id)?)
    }

    /// The handle of the attempt with this id, which may be gone.
    pub fn key(&self, id: &str) -> Option<AttemptKey> {
        let (boot, key) = id.split_once('-')?;
        (boot == format!("{:x}", self.boot)).then(|| key.parse().ok().map(AttemptKey))?
    }

    #[cfg(test)]
    pub(crate) fn key_of(&self, id: &str) -> AttemptKey {
        AttemptKey(id.split_once('-').unwrap().1.parse().unwrap())
    }

    /// Ends an attempt and drops the oldest finished ones beyond the limit.
    pub fn finish(&mut self, key: AttemptKey, now: Instant, mut outcome: Outcome) {
        let Some(attempt) = self.records.get_mut(&key.0) else { return };
        if let Outcome::Failed(failure) = &mut outcome {
            failure.cause = clip(std::mem::take(&mut failure.cause), 4 * LINE_BYTES);
        }
        if let Outcome::Failed(failure) = &outcome {
            self.tracer.line(now, attempt.id.as_str(), &format!("failed: {}", failure.cause));
        }
        self.tracer.finished(attempt.id.as_str());
        attempt.outcome = outcome;
        attempt.ended_after = Some(now.saturating_duration_since(attempt.started));
        self.done.push_back(key.0);
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.done.len() > self.keep {
            if let Some(oldest) = self.done.pop_front() {
                self.records.remove(&oldest);
            }
        }
    }

    /// When this gateway started, milliseconds since 1970.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.records.values().rev()
    }
}

/// The text, cut to `limit` bytes at a character's edge.
fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(now: Instant) -> Start {
        let address = "192.0.2.1:500".parse().unwrap();
        Start { tunnel: Tunnel::Ikev2, stage: Stage::SaInit, client: address, gateway: address, now, unix_time: 1_700_000_000 }
    }

    #[test]
    fn keeps_the_newest_finished_and_all_running() {
        let now = Instant::now();
        let mut attempts = Attempts::new(0x1234, 2);
        let running = attempts.start(start(now));
        for _ in 0..5 {
            let key = attempts.start(start(now));
            attempts.finish(key, now, Outcome::Ended(CloseReason::Operator));
        }
        assert_eq!(attempts.iter().count(), 3);
        assert!(attempts.get(running).is_some());
        assert_eq!(attempts.iter().next().unwrap().id.as_str(), "1234-6");
        assert!(attempts.find("1234-6").is_some());
        assert!(attempts.find("1235-6").is_none());
        assert!(attempts.find("nonsense").is_none());
    }

    #[test]
    fn timelines_are_bounded_and_stages_never_go_back() {
        let now = Instant::now();
        let mut attempts = Attempts::new(1, 2);
        let key = attempts.start(start(now));
        let attempt = attempts.get_mut(key).unwrap();
        attempt.reach(now, Stage::Radius);
        attempt.reach(now, Stage::Eap);
        assert_eq!(attempt.stage, Stage::Radius);
        for _ in 0..100 {
            attempt.note(now, "x");
        }
        assert_eq!(attempt.timeline.len(), TIMELINE_LINES);
        assert_eq!(attempt.timeline_lost, 37);
    }

    #[test]
    fn what_a_stranger_sends_is_cut() {
        let now = Instant::now();
        let mut attempts = Attempts::new(1, 2);
        let key = attempts.start(start(now));
        let attempt = attempts.get_mut(key).unwrap();
        attempt.set_user("ä".repeat(60_000));
        attempt.note(now, "x".repeat(60_000));
        attempt.offer("IKE", vec!["y".repeat(60_000); 8000]);
        assert!(attempt.user.as_ref().unwrap().len() <= LINE_BYTES + 4);
        assert!(attempt.timeline[0].1.len() <= LINE_BYTES + 4);
        assert_eq!(attempt.offered.len(), PROPOSALS);
        assert!(attempt.offered.iter().all(|line| line.len() <= LINE_BYTES + 4));
    }
}
