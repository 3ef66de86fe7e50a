//! The thread that writes the journal and hands records to the RADIUS task.
use super::journal::{self, Journal};
use super::ledger::Ledger;
use super::outage::{Outage, remedy};
use super::{Event, Settings, Status};
use radius_client::{AccountingRecord, Input, RequestFailure, Ticket};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Events on their way to the thread. What finds no room waits in memory: a disk that stands still holds up nobody.
const EVENTS: usize = 8192;

/// Events that are flushed to the disk together.
const BATCH: usize = 1024;

/// Outcomes on their way: more than are ever in flight.
const OUTCOMES: usize = 1024;

/// How often to look after a journal that cannot be written, lazy flushes and the queue's age.
const TICK: Duration = Duration::from_secs(1);

/// How long a regular stop waits for the last flush to the disk.
const LAST_FLUSH: Duration = Duration::from_secs(3);

/// The control half's end. Dropping it without [`Accounting::finish`] loses nothing but what was not handed over yet.
#[derive(Debug)]
pub struct Accounting {
    events: mpsc::Sender<Event>,
    /// What the thread had no room for.
    waiting: VecDeque<Event>,
    handed_in: u64,
    status: watch::Receiver<Status>,
    /// Stops of an earlier run, once they are known.
    earlier: Option<std::sync::mpsc::Receiver<Vec<AccountingRecord>>>,
    thread: JoinHandle<()>,
}

/// An accounting request, and the server that confirmed it or why none did.
pub type Outcome = (Ticket, Result<String, RequestFailure>);

/// Where the RADIUS task puts the outcomes of accounting requests; it never has to wait.
pub type Outcomes = mpsc::Sender<Outcome>;

/// Both ends of the RADIUS task.
#[derive(Debug)]
pub struct Lines {
    pub radius: mpsc::Sender<Input>,
    pub outcomes: mpsc::Receiver<Outcome>,
    /// Sessions whose Start a server has confirmed; the control half takes them at once.
    pub started: mpsc::UnboundedSender<u64>,
}

/// The channel of [`Outcomes`].
pub fn outcomes() -> (Outcomes, mpsc::Receiver<Outcome>) {
    mpsc::channel(OUTCOMES)
}

impl Accounting {
    /// Reads what an earlier run left in `state_dir` and starts the thread.
    ///
    /// # Errors
    /// The system has no thread for it; the lines come back.
    pub fn start(settings: Settings, state_dir: &Path, lines: Lines) -> Result<Self, (io::Error, Lines)> {
        let (hand_over, handed_over) = std::sync::mpsc::sync_channel(1);
        let accounting = match Self::start_thread(settings, state_dir, handed_over) {
            Ok(accounting) => accounting,
            Err(error) => return Err((error, lines)),
        };
        match hand_over.send(lines) {
            Ok(()) => Ok(accounting),
            Err(std::sync::mpsc::SendError(lines)) => Err((io::Error::other("its thread has ended"), lines)),
        }
    }

    fn start_thread(settings: Settings, state_dir: &Path, lines: std::sync::mpsc::Receiver<Lines>) -> io::Result<Self> {
        let (events, inbox) = mpsc::channel(EVENTS);
        let (report, status) = watch::channel(Status::default());
        let (found, earlier) = std::sync::mpsc::sync_channel(1);
        let state_dir = state_dir.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let run = move || {
            // Without lines nobody waits for the thread either.
            if let Ok(lines) = lines.recv() {
                let mut clerk = Clerk::new(settings, &state_dir, lines, report);
                // The channel has room for them.
                found.send(clerk.ledger.take_closed()).ok();
                runtime.block_on(clerk.run(inbox));
            }
        };
        let thread = std::thread::Builder::new().name("accounting".into()).spawn(run)?;
        Ok(Self { events, waiting: VecDeque::new(), handed_in: 0, status, earlier: Some(earlier), thread })
    }

    /// Hands an event over, without ever waiting.
    pub fn submit(&mut self, event: Event) {
        self.flush();
        if !self.waiting.is_empty() && event.may_be_dropped() {
            return;
        }
        self.waiting.push_back(event);
        self.flush();
    }

    /// Hands over what had to wait.
    pub fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => self.handed_in += 1,
                Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) => {
                    return self.waiting.push_front(event);
                }
            }
        }
    }

    /// Stops that were made for the sessions that an earlier run had left open, once, when the journal has been read; waits for that so long at most.
    pub fn stops_of_earlier_run(&mut self, patience: Duration) -> Vec<AccountingRecord> {
        match self.earlier.as_ref().map(|earlier| earlier.recv_timeout(patience)) {
            Some(Err(RecvTimeoutError::Timeout)) | None => Vec::new(),
            Some(read) => {
                self.earlier = None;
                read.unwrap_or_default()
            }
        }
    }

    pub fn status(&self) -> Status {
        let status = self.status.borrow().clone();
        Status { queued: status.queued + self.waiting.len() as u64, ..status }
    }

    /// Every record has been confirmed.
    pub fn is_quiet(&self) -> bool {
        let status = self.status.borrow();
        self.waiting.is_empty() && status.handled == self.handed_in && status.queued == 0
    }

    /// Writes the last lines and ends the thread. What no server has confirmed stays in the journal for the next start.
    pub async fn finish(mut self) {
        self.flush();
        let Self { events, thread, status, waiting, .. } = self;
        drop(events);
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < LAST_FLUSH {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let queued = status.borrow().queued;
        if !thread.is_finished() || !waiting.is_empty() {
            tracing::error!("the accounting journal takes no more: sessions that ended now are closed in the books at the next start");
        } else if queued > 0 {
            tracing::warn!(queued, "accounting records wait in the journal for the next start");
        }
    }
}

/// Who keeps the books.
struct Clerk {
    state_dir: PathBuf,
    ledger: Ledger,
    journal: Journal,
    lines: Lines,
    report: watch::Sender<Status>,
    log: Vec<u8>,
    /// Something in `log` must be on the disk before anything is sent.
    urgent: bool,
    outage: Outage,
}

impl Clerk {
    fn new(settings: Settings, state_dir: &Path, lines: Lines, report: watch::Sender<Status>) -> Self {
        let ledger = restore(settings, state_dir);
        let mut clerk = Self {
            state_dir: state_dir.to_owned(),
            ledger,
            journal: Journal::new(state_dir),
            lines,
            report,
            log: Vec::new(),
            urgent: false,
            outage: Outage::default(),
        };
        clerk.write_anew();
        clerk
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.send();
            let deadline = self.ledger.poll_timeout();
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.events(event, &mut inbox),
                    None => break,
                },
                Some((ticket, outcome)) = self.lines.outcomes.recv() => self.outcome(ticket, outcome),
                () = crate::radius_shell::sleep_until(deadline) => {}
                _ = tick.tick() => self.tick(),
            }
            while let Ok((ticket, outcome)) = self.lines.outcomes.try_recv() {
                self.outcome(ticket, outcome);
            }
            self.write();
            self.tell();
        }
        self.urgent = true;
        self.write();
        self.tell();
    }

    fn events(&mut self, first: Event, inbox: &mut mpsc::Receiver<Event>) {
        let now = Instant::now();
        self.urgent |= self.ledger.event(now, first, &mut self.log);
        for _ in 1..BATCH {
            let Ok(event) = inbox.try_recv() else { return };
            self.urgent |= self.ledger.event(now, event, &mut self.log);
        }
    }

    fn outcome(&mut self, ticket: Ticket, outcome: Result<String, RequestFailure>) {
        let started = self.ledger.outcome(Instant::now(), ticket.0, outcome, &mut self.log);
        // Nobody listens any more while the gateway stops.
        if let Some(session) = started {
            self.lines.started.send(session).ok();
        }
    }

    fn tick(&mut self) {
        self.ledger.watch(unix_time());
        if !self.journal.is_open() {
            self.write_anew();
        }
        if self.outage.is_over(Instant::now()) {
            tracing::info!("the accounting journal is written again, with everything that waits");
        }
    }

    /// Hands records to the RADIUS task as far as they may go.
    fn send(&mut self) {
        let (now, wall) = (Instant::now(), unix_time());
        while let Some((seq, record)) = self.ledger.send(now, wall) {
            let group = record.group.clone();
            if self.lines.radius.try_send(Input::Accounting { ticket: Ticket(seq), group, record }).is_err() {
                return self.ledger.unsent(now, seq);
            }
        }
    }

    fn write(&mut self) {
        if self.journal.is_open() {
            let written = self.journal.append(Instant::now(), &self.log, self.urgent);
            self.note_failure(written);
        }
        if self.journal.is_open() && self.journal.is_overgrown() {
            self.write_anew();
        }
        // A journal that is not open is written anew from memory, these lines included.
        self.log.clear();
        self.urgent = false;
    }

    fn write_anew(&mut self) {
        let written = self.journal.rewrite(&self.ledger.snapshot());
        self.note_failure(written);
    }

    /// Accounting goes on in memory while the journal cannot be written, and no session ends for it.
    fn note_failure(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return self.outage.written(Instant::now()) };
        if self.outage.failed(&error) {
            let remedy = remedy(&error, &self.state_dir);
            tracing::error!(
                %error,
                remedy,
                "the accounting journal cannot be written: records are sent on from memory, and a crash loses those that wait"
            );
        }
    }

    fn tell(&mut self) {
        let (failure, failures) = (self.outage.failure().map(str::to_owned), self.outage.count());
        let status = Status { journal_failure: failure, journal_failures: failures, ..self.ledger.status(unix_time()) };
        self.report.send_replace(status);
    }
}

/// What an earlier run left behind.
fn restore(settings: Settings, state_dir: &Path) -> Ledger {
    let bytes = Journal::read(state_dir).unwrap_or_else(|error| {
        let aside = Journal::put_aside(state_dir).map_or_else(|error| error.to_string(), |path| path.display().to_string());
        tracing::error!(%error, aside, "the accounting journal cannot be read: records of an earlier run are not sent");
        Vec::new()
    });
    let (found, damaged) = journal::decode(&bytes);
    // The last line may be half-written: it was never acted on.
    let cut = usize::from(damaged > 0 && bytes.last() != Some(&b'\n'));
    if damaged > cut {
        let aside = Journal::keep_damaged(state_dir).map_or_else(|error| error.to_string(), |path| path.display().to_string());
        tracing::error!(lines = damaged - cut, aside, "the accounting journal is damaged: each of these lines may have been a record");
    }
    let ledger = Ledger::replay(settings, Instant::now(), found, damaged - cut);
    let status = ledger.status(unix_time());
    if status.queued > 0 {
        tracing::warn!(
            records = status.queued,
            sessions = status.recovered,
            "the last run left accounting records behind; of them these sessions had not ended (Acct-Terminate-Cause NAS-Reboot)"
        );
    }
    ledger
}

/// Seconds since 1970.
fn unix_time() -> u32 {
    u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::until;
    use radius_client::{AccountingStatus, NasContext};

    fn event(session: u64, status: AccountingStatus) -> Event {
        let nas = NasContext { acct_session_id: format!("5f-{session}"), ..NasContext::default() };
        let record = Box::new(AccountingRecord { status, nas, event_timestamp: unix_time(), ..AccountingRecord::default() });
        match status {
            AccountingStatus::Start => Event::Start { session, record },
            _ => Event::Stop { session, record },
        }
    }

    /// A disk without room, a folder without permission: accounting goes on in memory, says so, and writes everything once it can.
    #[tokio::test]
    async fn a_journal_that_cannot_be_written_loses_nothing_while_the_gateway_lives() {
        let folder = tempfile::tempdir().unwrap();
        // A file stands where the folder should.
        let state = folder.path().join("state");
        std::fs::write(&state, "").unwrap();
        let (radius, mut requests) = mpsc::channel(8);
        let (answers, outcomes) = outcomes();
        let (started, mut confirmed) = mpsc::unbounded_channel();
        let mut accounting = Accounting::start(Settings::default(), &state, Lines { radius, outcomes, started }).unwrap();
        accounting.submit(event(1, AccountingStatus::Start));
        let Some(Input::Accounting { ticket, record, .. }) = requests.recv().await else { panic!("no Start") };
        assert_eq!(record.status, AccountingStatus::Start);
        assert!(accounting.status().journal_failure.is_some(), "{:?}", accounting.status());
        answers.send((ticket, Ok("radius1".into()))).await.unwrap();
        assert_eq!(confirmed.recv().await, Some(1));
        accounting.submit(event(2, AccountingStatus::Start));
        let Some(Input::Accounting { ticket, .. }) = requests.recv().await else { panic!("no second Start") };
        std::fs::remove_file(&state).unwrap();
        until(|| accounting.status().journal_failure.is_none());
        assert_eq!(accounting.status().journal_failures, 1);
        let written = journal::decode(&Journal::read(&state).unwrap());
        let (lines, damaged) = written;
        let open = lines.iter().filter(|line| matches!(line, journal::Line::Open { .. })).count();
        assert_eq!((open, damaged), (2, 0), "{lines:?}");
        answers.send((ticket, Ok("radius1".into()))).await.unwrap();
        until(|| accounting.is_quiet());
        drop(requests);
        accounting.finish().await;
    }
}
