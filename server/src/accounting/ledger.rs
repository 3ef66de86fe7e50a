//! What is open, what waits, and what is sent next: accounting's memory, without IO.
use super::journal::{Line, Usage};
use super::{Event, Settings, Status};
use radius_client::{AccountingRecord, AccountingStatus, RequestFailure, TerminateCause};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Records on their way at most: one socket's identifiers.
const WINDOW: usize = 256;

/// On their way at first, and after an outage; doubles with each answer.
const FIRST_WINDOW: usize = 4;

/// Between two tries while no server answers anything.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Between two tries of one record while servers answer others.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// From this age on the oldest record deserves a warning; again whenever its age has doubled.
const OLD: u32 = 300;

/// A record that waits for its confirmation.
#[derive(Debug)]
struct Pending {
    record: AccountingRecord,
    /// The session of this run that it says has begun.
    starts: Option<u64>,
    /// It may have been sent before.
    sent: bool,
    tries: u32,
    /// When it was handed out, until its outcome is known.
    in_flight: Option<Instant>,
    /// Its place in [`Ledger::due`].
    due: Option<Instant>,
}

/// A session that is up.
#[derive(Debug)]
struct Open {
    record: AccountingRecord,
    usage: Usage,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    settings: Settings,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// The records of each session by Acct-Session-Id, in their order; the first may be sent.
    lanes: HashMap<String, VecDeque<u64>>,
    /// Those that may be sent, by when.
    due: BTreeSet<(Instant, u64)>,
    /// Those that come after an Accounting-On or Accounting-Off without an answer, and an Accounting-Off that comes after others.
    held: BTreeSet<u64>,
    /// Interim-Updates that are not on their way, to be dropped if need be.
    interims: BTreeSet<u64>,
    in_flight: usize,
    window: usize,
    last_answer: Option<Instant>,
    /// No server answers: since when one record at a time is tried, when the next, and after how long.
    silent: Option<(Instant, Duration)>,
    open: BTreeMap<u64, Open>,
    /// The last sign of life of this gateway, unix time.
    alive: u32,
    status: Status,
    warned: Warned,
    /// Stops of sessions that an earlier run left open, until somebody asks.
    closed: Vec<AccountingRecord>,
}

/// What has been said once.
#[derive(Debug, Default)]
struct Warned {
    dropping: bool,
    over: bool,
    age: u32,
}

impl Ledger {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            next: 1,
            pending: BTreeMap::new(),
            lanes: HashMap::new(),
            due: BTreeSet::new(),
            held: BTreeSet::new(),
            interims: BTreeSet::new(),
            in_flight: 0,
            window: FIRST_WINDOW,
            last_answer: None,
            silent: None,
            open: BTreeMap::new(),
            alive: 0,
            status: Status::default(),
            warned: Warned::default(),
            closed: Vec::new(),
        }
    }

    /// What the journal of an earlier run says. `damaged`: lines that were none.
    pub(super) fn replay(settings: Settings, now: Instant, lines: Vec<Line<'_>>, damaged: usize) -> Self {
        let mut ledger = Self::new(settings);
        for line in lines {
            ledger.replay_line(now, line);
        }
        ledger.status.lost = damaged as u64;
        ledger.close_what_is_open(now);
        ledger
    }

    fn replay_line(&mut self, now: Instant, line: Line<'_>) {
        match line {
            Line::Start { seq, session, record } => {
                self.alive = self.alive.max(record.event_timestamp);
                self.open.insert(session, Open { record: record.clone().into_owned(), usage: [0; 4] });
                self.push(now, seq, record.into_owned(), true);
            }
            Line::Open { session, record, usage } => {
                self.open.insert(session, Open { record: record.into_owned(), usage });
            }
            Line::Queue { seq, session, record } => {
                self.alive = self.alive.max(record.event_timestamp);
                self.describe(session, &record);
                self.push(now, seq, record.into_owned(), true);
            }
            Line::Stop { seq, session, record } => {
                self.alive = self.alive.max(record.event_timestamp);
                self.open.remove(&session);
                self.push(now, seq, record.into_owned(), true);
            }
            Line::Count { at, sessions } => self.count(at, sessions),
            Line::Done { seq } => drop(self.remove(now, seq)),
        }
    }

    /// Sessions that were up when the gateway died get their Stop: when it was last known to live, with the counters of that time.
    fn close_what_is_open(&mut self, now: Instant) {
        for (_, Open { record, usage }) in std::mem::take(&mut self.open) {
            let began = record.event_timestamp.saturating_sub(u32::try_from(record.session_time.as_secs()).unwrap_or(0));
            let ended = self.alive.max(record.event_timestamp);
            let stop = AccountingRecord {
                status: AccountingStatus::Stop,
                session_time: Duration::from_secs(ended.saturating_sub(began).into()),
                event_timestamp: ended,
                terminate_cause: Some(TerminateCause::NasReboot),
                ..with_usage(record, usage)
            };
            let seq = self.next;
            self.closed.push(stop.clone());
            self.push(now, seq, stop, true);
            self.status.recovered += 1;
        }
    }

    /// The Stops that were made for sessions of an earlier run, which nobody but the journal has heard of. Once.
    pub(super) fn take_closed(&mut self) -> Vec<AccountingRecord> {
        std::mem::take(&mut self.closed)
    }

    /// Takes note of an event; what must be remembered is added to `log`. True if that must be on the disk before anything is sent.
    pub(super) fn event(&mut self, now: Instant, event: Event, log: &mut Vec<u8>) -> bool {
        self.status.handled += 1;
        let seq = self.next;
        match event {
            Event::Start { session, record } => {
                Line::Start { seq, session, record: Cow::Borrowed(&record) }.encode(log);
                self.open.insert(session, Open { record: (*record).clone(), usage: [0; 4] });
                self.push(now, seq, *record, false);
                if let Some(pending) = self.pending.get_mut(&seq) {
                    pending.starts = Some(session);
                }
            }
            Event::Interim { session, record } => {
                Line::Queue { seq, session: Some(session), record: Cow::Borrowed(&record) }.encode(log);
                self.describe(Some(session), &record);
                self.push(now, seq, *record, false);
            }
            Event::Stop { session, record } => {
                Line::Stop { seq, session, record: Cow::Borrowed(&record) }.encode(log);
                self.open.remove(&session);
                self.push(now, seq, *record, false);
            }
            Event::Count { at, sessions } => {
                Line::Count { at, sessions: sessions.clone() }.encode(log);
                self.count(at, sessions);
                return false;
            }
            Event::Gateway(record) => {
                Line::Queue { seq, session: None, record: Cow::Borrowed(&record) }.encode(log);
                self.push(now, seq, *record, false);
            }
        }
        self.keep_within_limit(now, log);
        true
    }

    /// The latest description of a session that goes on.
    fn describe(&mut self, session: Option<u64>, record: &AccountingRecord) {
        if let Some(open) = session.and_then(|session| self.open.get_mut(&session)) {
            open.record = record.clone();
            open.usage = [record.input_octets, record.output_octets, record.input_packets, record.output_packets];
        }
    }

    fn count(&mut self, at: u32, sessions: Vec<(u64, Usage)>) {
        self.alive = self.alive.max(at);
        for (session, usage) in sessions {
            if let Some(open) = self.open.get_mut(&session) {
                open.usage = usage;
            }
        }
    }

    fn push(&mut self, now: Instant, seq: u64, record: AccountingRecord, sent: bool) {
        self.next = self.next.max(seq + 1);
        let lane = self.lanes.entry(lane_of(&record).to_owned()).or_default();
        lane.push_back(seq);
        let first = lane.len() == 1;
        if record.status == AccountingStatus::Interim {
            self.interims.insert(seq);
        }
        self.pending.insert(seq, Pending { record, starts: None, sent, tries: 0, in_flight: None, due: None });
        if first {
            self.admit(now, seq);
        }
    }

    fn schedule(&mut self, at: Instant, seq: u64) {
        if let Some(pending) = self.pending.get_mut(&seq) {
            pending.due = Some(at);
            self.due.insert((at, seq));
        }
    }

    /// The first Accounting-On or Accounting-Off without an answer: what comes after it in time does so on the wire, over restarts too.
    /// A server ends all sessions at either, and must not end those of a later run.
    fn barrier(&self) -> Option<u64> {
        self.lanes.get(GATEWAY)?.front().copied()
    }

    /// Accounting-Off goes when each record before it has been confirmed, or at least tried: one that no server takes must not hold up
    /// the next run for ever.
    fn let_off(&mut self, now: Instant) {
        let Some(off) = self.barrier().filter(|barrier| self.held.contains(barrier)) else { return };
        if self.pending.range(..off).all(|(_, before)| before.tries > 0) {
            self.held.remove(&off);
            self.schedule(now, off);
        }
    }

    /// The first record of its lane may be sent, unless it has to wait for those of the gateway, or is one that waits for others.
    fn admit(&mut self, now: Instant, seq: u64) {
        let is_off = self.pending.get(&seq).is_some_and(|pending| pending.record.status == AccountingStatus::Off);
        if is_off || self.barrier().is_some_and(|barrier| seq > barrier) {
            self.held.insert(seq);
            self.let_off(now);
        } else {
            self.schedule(now, seq);
        }
    }

    /// Forgets a record; the next of its lane may be sent.
    fn remove(&mut self, now: Instant, seq: u64) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.in_flight -= usize::from(pending.in_flight.is_some());
        self.held.remove(&seq);
        self.interims.remove(&seq);
        if let Some(at) = pending.due {
            self.due.remove(&(at, seq));
        }
        let was_barrier = self.barrier() == Some(seq);
        let key = lane_of(&pending.record);
        if let Some(lane) = self.lanes.get_mut(key) {
            let was_first = lane.front() == Some(&seq);
            lane.retain(|waiting| *waiting != seq);
            match lane.front().copied() {
                Some(next) if was_first => self.admit(now, next),
                Some(_) => {}
                None => drop(self.lanes.remove(key)),
            }
        }
        if was_barrier {
            self.release(now);
        }
        self.let_off(now);
        Some(pending)
    }

    fn release(&mut self, now: Instant) {
        for seq in std::mem::take(&mut self.held) {
            self.admit(now, seq);
        }
    }

    fn keep_within_limit(&mut self, now: Instant, log: &mut Vec<u8>) {
        if self.pending.len() <= self.settings.queue_max {
            return;
        }
        let Some(&oldest) = self.interims.first() else {
            if !std::mem::replace(&mut self.warned.over, true) {
                tracing::error!(
                    records = self.pending.len(),
                    "accounting queue is over accounting.queue_max with Starts and Stops alone: they are kept; bring an accounting server back"
                );
            }
            return;
        };
        Line::Done { seq: oldest }.encode(log);
        self.remove(now, oldest);
        self.status.interims_dropped += 1;
        if !std::mem::replace(&mut self.warned.dropping, true) {
            tracing::warn!(limit = self.settings.queue_max, "accounting queue is full: the oldest Interim-Updates are dropped");
        }
    }

    /// The next record to send, with its number. `wall`: unix time.
    pub(super) fn send(&mut self, now: Instant, wall: u32) -> Option<(u64, Box<AccountingRecord>)> {
        let seq = match self.silent {
            Some((at, _)) if self.in_flight > 0 || at > now => return None,
            Some(_) => self.due.first().map(|(_, seq)| *seq),
            None if self.in_flight >= self.window => return None,
            None => self.due.first().filter(|(at, _)| *at <= now).map(|(_, seq)| *seq),
        }?;
        self.due.pop_first();
        self.interims.remove(&seq);
        let pending = self.pending.get_mut(&seq)?;
        (pending.in_flight, pending.due) = (Some(now), None);
        self.in_flight += 1;
        let late = wall.saturating_sub(pending.record.event_timestamp);
        // A copy in another packet is told apart by its Acct-Delay-Time.
        let late = if pending.sent { late.max(1) } else { late };
        pending.sent = true;
        Some((seq, Box::new(AccountingRecord { delay: Duration::from_secs(late.into()), ..pending.record.clone() })))
    }

    /// The RADIUS task had no room for a record: it was not sent.
    pub(super) fn unsent(&mut self, now: Instant, seq: u64) {
        if let Some(pending) = self.pending.get_mut(&seq)
            && pending.in_flight.take().is_some()
        {
            self.again(now + PROBE.0, seq);
        }
    }

    fn again(&mut self, at: Instant, seq: u64) {
        self.in_flight -= 1;
        self.schedule(at, seq);
        if self.pending.get(&seq).is_some_and(|pending| pending.record.status == AccountingStatus::Interim) {
            self.interims.insert(seq);
        }
    }

    /// A server has the record, or none answered. Returns the session that a server knows of from now on.
    pub(super) fn outcome(&mut self, now: Instant, seq: u64, outcome: Result<String, RequestFailure>, log: &mut Vec<u8>) -> Option<u64> {
        match outcome {
            Ok(server) => self.confirmed(now, seq, &server, log),
            Err(failure) => {
                self.failed(now, seq, &failure, log);
                None
            }
        }
    }

    fn confirmed(&mut self, now: Instant, seq: u64, server: &str, log: &mut Vec<u8>) -> Option<u64> {
        let pending = self.remove(now, seq)?;
        Line::Done { seq }.encode(log);
        tracing::debug!(session = pending.record.nas.acct_session_id.as_str(), status = ?pending.record.status, server, "accounted");
        self.status.confirmed += 1;
        self.status.radius_failure = None;
        self.last_answer = Some(now);
        self.window = (self.window * 2).min(WINDOW);
        if self.silent.take().is_some() {
            tracing::info!(server, waiting = self.pending.len(), "accounting is answered again");
            for (_, seq) in std::mem::take(&mut self.due) {
                self.schedule(now, seq);
            }
        }
        if self.pending.len() <= self.settings.queue_max / 2 {
            self.warned = Warned { age: self.warned.age, ..Warned::default() };
        }
        pending.starts
    }

    fn failed(&mut self, now: Instant, seq: u64, failure: &RequestFailure, log: &mut Vec<u8>) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        let Some(sent) = pending.in_flight.take() else { return };
        pending.tries += 1;
        let (status, session) = (pending.record.status, pending.record.nas.acct_session_id.clone());
        let wait = backoff(BACKOFF, pending.tries);
        self.again(now + wait, seq);
        self.let_off(now);
        self.status.radius_failure = Some(failure.to_string());
        // What never left the gateway says nothing of the servers.
        let own_fault = matches!(failure, RequestFailure::NoGroup { .. } | RequestFailure::NoServer | RequestFailure::Unsendable { .. });
        if own_fault && is_of_gateway(status) {
            // There is no server to tell it; sessions, which may have others, do not wait for that.
            Line::Done { seq }.encode(log);
            self.remove(now, seq);
            return tracing::warn!(?status, %failure, "no server can be told; given up");
        }
        if own_fault || self.last_answer.is_some_and(|answer| answer >= sent) {
            return tracing::warn!(session, ?status, %failure, "an accounting record is not answered; it will be repeated");
        }
        let wait = match self.silent {
            None => {
                tracing::warn!(%failure, "accounting is not answered; records wait in the journal");
                PROBE.0
            }
            Some((_, wait)) => (wait * 2).min(PROBE.1),
        };
        (self.window, self.silent) = (FIRST_WINDOW, Some((now + wait, wait)));
    }

    /// When there is something to do again, if nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let first = self.due.first().map(|(at, _)| *at)?;
        match self.silent {
            Some(_) if self.in_flight > 0 => None,
            Some((at, _)) => Some(at),
            None => (self.in_flight < self.window).then_some(first),
        }
    }

    /// Everything worth keeping, as a fresh journal.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (&session, open) in &self.open {
            Line::Open { session, record: Cow::Borrowed(&open.record), usage: open.usage }.encode(&mut out);
        }
        if !self.open.is_empty() {
            Line::Count { at: self.alive, sessions: Vec::new() }.encode(&mut out);
        }
        for (&seq, pending) in &self.pending {
            // Without its session: what it would say of that one is in the lines above, and newer.
            Line::Queue { seq, session: None, record: Cow::Borrowed(&pending.record) }.encode(&mut out);
        }
        out
    }

    pub(super) fn status(&self, wall: u32) -> Status {
        Status {
            queued: self.pending.len() as u64,
            oldest_secs: self.oldest(wall).map(u64::from),
            open: self.open.len() as u64,
            ..self.status.clone()
        }
    }

    /// Warns when the oldest record has waited long.
    pub(super) fn watch(&mut self, wall: u32) {
        let age = self.oldest(wall).unwrap_or(0);
        if age < OLD {
            self.warned.age = 0;
        } else if age >= self.warned.age.saturating_mul(2).max(OLD) {
            self.warned.age = age;
            let failure = self.status.radius_failure.as_deref().unwrap_or("-");
            tracing::warn!(
                queued = self.pending.len(),
                oldest_secs = age,
                failure,
                "accounting records wait for a RADIUS server; none is lost"
            );
        }
    }

    fn oldest(&self, wall: u32) -> Option<u32> {
        self.pending.first_key_value().map(|(_, pending)| wall.saturating_sub(pending.record.event_timestamp))
    }
}

/// The lane of Accounting-On and Accounting-Off. No session has this Acct-Session-Id.
const GATEWAY: &str = "";

fn is_of_gateway(status: AccountingStatus) -> bool {
    matches!(status, AccountingStatus::On | AccountingStatus::Off)
}

fn lane_of(record: &AccountingRecord) -> &str {
    if is_of_gateway(record.status) { GATEWAY } else { &record.nas.acct_session_id }
}

/// First, then twice as long each time, up to a limit.
fn backoff((first, longest): (Duration, Duration), tries: u32) -> Duration {
    first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(longest)
}

fn with_usage(record: AccountingRecord, [input_octets, output_octets, input_packets, output_packets]: Usage) -> AccountingRecord {
    AccountingRecord { input_octets, output_octets, input_packets, output_packets, ..record }
}
