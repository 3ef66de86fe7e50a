//! Accounting's memory against servers that come and go, and gateways that die.
use super::journal::{Line, decode};
use super::ledger::Ledger;
use super::{Event, Settings};
use radius_client::{AccountingRecord, AccountingStatus, NasContext, RequestFailure, TerminateCause};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const NOON: u32 = 1_700_000_000;

fn record(session: u64, status: AccountingStatus, at: u32) -> Box<AccountingRecord> {
    let nas = NasContext { acct_session_id: format!("5f-{session}"), ..NasContext::default() };
    Box::new(AccountingRecord { status, nas, event_timestamp: at, class: vec![vec![0, 10, 255]], ..AccountingRecord::default() })
}

fn start(session: u64, at: u32) -> Event {
    Event::Start { session, record: record(session, AccountingStatus::Start, at) }
}

fn interim(session: u64, at: u32) -> Event {
    Event::Interim { session, record: record(session, AccountingStatus::Interim, at) }
}

fn stop(session: u64, at: u32) -> Event {
    let record = AccountingRecord { terminate_cause: Some(TerminateCause::UserRequest), ..*record(session, AccountingStatus::Stop, at) };
    Event::Stop { session, record: Box::new(record) }
}

fn silent() -> RequestFailure {
    RequestFailure::Unreachable { server: "radius1".into() }
}

/// A gateway with its journal, and what the server has heard.
struct World {
    ledger: Ledger,
    journal: Vec<u8>,
    now: Instant,
    wall: u32,
    heard: Vec<AccountingRecord>,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self { ledger: Ledger::new(settings), journal: Vec::new(), now: Instant::now(), wall: NOON, heard: Vec::new() }
    }

    fn event(&mut self, event: Event) {
        self.ledger.event(self.now, event, &mut self.journal);
    }

    fn pass(&mut self, seconds: u32) {
        self.now += Duration::from_secs(seconds.into());
        self.wall += seconds;
    }

    /// Hands out what may go, once; the server answers, or nobody does.
    fn exchange(&mut self, answers: bool) -> usize {
        let mut sent = Vec::new();
        while let Some((seq, record)) = self.ledger.send(self.now, self.wall) {
            sent.push((seq, record));
        }
        let count = sent.len();
        for (seq, record) in sent {
            if answers {
                self.heard.push(*record);
            }
            self.ledger.outcome(self.now, seq, if answers { Ok("radius1".into()) } else { Err(silent()) }, &mut self.journal);
        }
        count
    }

    fn deliver_all(&mut self) {
        for _ in 0..1000 {
            if self.exchange(true) == 0 && self.ledger.poll_timeout().is_none() {
                return;
            }
            self.pass(1);
        }
        panic!("never done: {:?}", self.ledger.status(self.wall));
    }

    /// The process dies; the next one has what `keep` bytes of the journal say.
    fn crash(&mut self, keep: usize) {
        let (lines, damaged) = decode(&self.journal[..keep]);
        self.ledger = Ledger::replay(Settings::default(), self.now, lines, damaged);
        self.journal = self.ledger.snapshot();
    }

    fn statuses(&self, session: u64) -> Vec<AccountingStatus> {
        let of_session = |record: &&AccountingRecord| record.nas.acct_session_id == format!("5f-{session}");
        self.heard.iter().filter(of_session).map(|record| record.status).collect()
    }
}

use AccountingStatus::{Interim, Off, On, Start, Stop};

#[test]
fn records_of_one_session_go_in_their_order() {
    let mut world = World::new(Settings::default());
    for session in 1..=3 {
        world.event(start(session, NOON));
        world.event(interim(session, NOON + 60));
        world.event(stop(session, NOON + 90));
    }
    assert_eq!(world.exchange(true), 3, "the first of each");
    world.deliver_all();
    for session in 1..=3 {
        assert_eq!(world.statuses(session), [Start, Interim, Stop]);
    }
    assert!(world.heard.iter().filter(|record| record.status == Start).all(|record| record.delay == Duration::ZERO));
    assert_eq!(world.ledger.status(world.wall).queued, 0);
    assert!(world.ledger.snapshot().is_empty());
}

/// The number is that of this run's session: a Start of an earlier one says nothing about it.
#[test]
fn the_confirmation_of_a_start_names_its_session() {
    let mut world = World::new(Settings::default());
    world.event(start(7, NOON));
    world.crash(world.journal.len());
    world.event(start(8, NOON));
    world.event(stop(8, NOON + 1));
    let mut confirmed = Vec::new();
    while let Some((seq, record)) = world.ledger.send(world.now, world.wall) {
        assert_eq!(world.ledger.outcome(world.now, seq, Err(silent()), &mut world.journal), None);
        world.pass(301);
        let (again, _) = world.ledger.send(world.now, world.wall).unwrap();
        let outcome = world.ledger.outcome(world.now, again, Ok("radius1".into()), &mut world.journal);
        confirmed.extend(outcome.map(|session| (session, record.status)));
    }
    assert_eq!(world.ledger.status(world.wall).queued, 0);
    assert_eq!(confirmed.iter().map(|(session, _)| *session).collect::<Vec<_>>(), [8]);
}

#[test]
fn an_outage_is_waited_out_with_one_record_at_a_time() {
    let mut world = World::new(Settings::default());
    (1..=100).for_each(|session| world.event(start(session, NOON)));
    let first = world.exchange(false);
    assert!(first <= 4, "{first}");
    let mut tries = 0;
    for _ in 0..600 {
        world.pass(1);
        let tried = world.exchange(false);
        assert!(tried <= 1);
        tries += tried;
    }
    assert!((35..=60).contains(&tries), "{tries} in ten minutes");
    let status = world.ledger.status(world.wall);
    assert_eq!((status.queued, status.oldest_secs, status.lost), (100, Some(600), 0));
    assert!(status.radius_failure.is_some());
    (1..=100).for_each(|session| world.event(stop(session, world.wall)));
    world.deliver_all();
    for session in 1..=100 {
        assert_eq!(world.statuses(session), [Start, Stop], "session {session}");
    }
    let late = |record: &&AccountingRecord| record.status == Start && record.delay >= Duration::from_secs(600);
    assert_eq!(world.heard.iter().filter(late).count(), 100, "a Start says how late it is");
}

#[test]
fn one_record_that_no_server_answers_holds_up_its_session_alone() {
    let mut world = World::new(Settings::default());
    (1..=20).for_each(|session| world.event(start(session, NOON)));
    world.event(stop(1, NOON + 1));
    let mut poisoned = 0;
    for _ in 0..900 {
        while let Some((seq, record)) = world.ledger.send(world.now, world.wall) {
            let poison = record.nas.acct_session_id == "5f-1";
            poisoned += u32::from(poison);
            world.pass(1);
            let outcome = if poison { Err(silent()) } else { Ok("radius1".into()) };
            world.ledger.outcome(world.now, seq, outcome, &mut world.journal);
        }
        world.pass(1);
    }
    assert_eq!(world.ledger.status(world.wall).queued, 2);
    assert!((3..100).contains(&poisoned), "{poisoned}");
}

/// A group that left the configuration, a record too long for a packet: that says nothing about the servers.
#[test]
fn a_record_that_cannot_be_sent_slows_no_other_down() {
    let unsendable = || RequestFailure::Unsendable { server: "radius1".into(), reason: "too long".into() };
    for failure in [RequestFailure::NoGroup { group: "gone".into() }, RequestFailure::NoServer, unsendable()] {
        let mut world = World::new(Settings::default());
        (1..=200).for_each(|session| world.event(start(session, NOON)));
        let mut tries = 0;
        for _ in 0..10 {
            while let Some((seq, record)) = world.ledger.send(world.now, world.wall) {
                let poison = record.nas.acct_session_id == "5f-1";
                tries += u32::from(poison);
                let outcome = if poison { Err(failure.clone()) } else { Ok("radius1".into()) };
                world.ledger.outcome(world.now, seq, outcome, &mut world.journal);
            }
            world.pass(1);
        }
        assert_eq!(world.ledger.status(world.wall).queued, 1, "{failure}");
        assert!((2..=4).contains(&tries), "{tries}");
    }
}

#[test]
fn a_full_queue_drops_the_oldest_interims_and_nothing_else() {
    let mut world = World::new(Settings { queue_max: 10, ..Settings::default() });
    for session in 1..=4 {
        world.event(start(session, NOON));
    }
    for minute in 1..=20 {
        world.event(interim(minute % 4 + 1, NOON + 60 * minute as u32));
    }
    (1..=4).for_each(|session| world.event(stop(session, NOON + 2000)));
    let status = world.ledger.status(world.wall);
    assert_eq!((status.queued, status.interims_dropped, status.lost), (10, 18, 0));
    (5..=20).for_each(|session| world.event(start(session, NOON + 2001)));
    assert_eq!(world.ledger.status(world.wall).queued, 24, "Starts and Stops stay");
    world.deliver_all();
    assert!((1..=4).all(|session| world.statuses(session).first() == Some(&Start) && world.statuses(session).last() == Some(&Stop)));
}

#[test]
fn accounting_on_goes_before_new_sessions_and_off_after_all() {
    let gateway = |status| Event::Gateway(record(0, status, NOON));
    let mut world = World::new(Settings::default());
    world.event(gateway(On));
    (1..=3).for_each(|session| world.event(start(session, NOON)));
    assert_eq!(world.exchange(false), 1);
    world.pass(2);
    assert_eq!(world.exchange(true), 1);
    assert_eq!(world.heard[0].status, On);
    (1..=3).for_each(|session| world.event(stop(session, NOON)));
    world.event(gateway(Off));
    world.deliver_all();
    let order: Vec<_> = world.heard.iter().map(|record| record.status).collect();
    assert_eq!(order, [On, Start, Start, Start, Stop, Stop, Stop, Off]);
    world.event(gateway(Off));
    world.deliver_all();
    assert_eq!(world.heard.len(), 9, "with nothing before it, it goes at once");
}

/// Whatever an outage left of earlier runs, a server hears run after run: an Accounting-Off that came late would end the sessions of the next.
#[test]
fn the_records_of_the_gateway_keep_their_order_over_restarts() {
    let gateway = |status, at| Event::Gateway(record(0, status, at));
    let mut world = World::new(Settings::default());
    for run in 1..=3 {
        world.event(gateway(On, NOON + 100 * run));
        world.event(start(u64::from(run), NOON + 100 * run + 1));
        world.exchange(false);
        if run == 2 {
            // Killed: its session ends at the next start.
            world.crash(world.journal.len());
            continue;
        }
        world.event(stop(u64::from(run), NOON + 100 * run + 2));
        world.event(gateway(Off, NOON + 100 * run + 3));
        world.exchange(false);
        world.crash(world.journal.len());
    }
    world.event(gateway(On, NOON + 400));
    world.event(start(4, NOON + 401));
    world.deliver_all();
    let order: Vec<_> = world.heard.iter().map(|record| record.status).collect();
    // The Stop after the third Accounting-On is that of the session that was killed.
    assert_eq!(order, [On, Start, Stop, Off, On, Start, On, Stop, Start, Stop, Off, On, Start]);
}

/// Without Accounting-On in the new run, too: accounting.on_off may have been turned off.
#[test]
fn sessions_wait_for_the_accounting_off_of_an_earlier_run() {
    let mut world = World::new(Settings::default());
    world.event(Event::Gateway(record(0, Off, NOON)));
    world.crash(world.journal.len());
    world.event(start(1, NOON + 1));
    assert_eq!(world.exchange(true), 1);
    assert_eq!(world.heard[0].status, Off);
    world.deliver_all();
    assert_eq!(world.heard.len(), 2);
}

#[test]
fn neither_a_record_that_no_server_takes_nor_a_gateway_without_server_holds_up_the_next_run() {
    let gateway = |status| Event::Gateway(record(0, status, NOON));
    let mut world = World::new(Settings::default());
    world.event(stop(1, NOON));
    world.event(gateway(Off));
    world.crash(world.journal.len());
    world.event(gateway(On));
    world.event(start(2, NOON + 5));
    let mut order = Vec::new();
    for _ in 0..10 {
        while let Some((seq, record)) = world.ledger.send(world.now, world.wall) {
            let poison = record.status == Stop;
            order.extend((!poison).then_some(record.status));
            let outcome = if poison { Err(RequestFailure::NoGroup { group: "gone".into() }) } else { Ok("radius1".into()) };
            world.ledger.outcome(world.now, seq, outcome, &mut world.journal);
        }
        world.pass(1);
    }
    assert_eq!(order, [Off, On, Start]);

    let mut world = World::new(Settings::default());
    world.event(gateway(On));
    world.event(start(1, NOON));
    let (seq, record) = world.ledger.send(world.now, world.wall).unwrap();
    assert_eq!(record.status, On);
    world.ledger.outcome(world.now, seq, Err(RequestFailure::NoServer), &mut world.journal);
    assert_eq!(world.exchange(true), 1, "a session's records may go to other servers");
    world.crash(world.journal.len());
    world.deliver_all();
    assert_eq!(world.statuses(0), [], "given up for good");
}

#[test]
fn after_a_crash_open_sessions_are_closed_with_what_is_known() {
    let mut world = World::new(Settings::default());
    world.event(start(1, NOON));
    world.event(start(2, NOON + 5));
    world.deliver_all();
    world.event(Event::Count { at: NOON + 20, sessions: vec![(1, [1 << 33, 2, 3, 4])] });
    world.event(Event::Count { at: NOON + 21, sessions: vec![] });
    world.event(stop(2, NOON + 21));
    world.pass(3600);
    world.crash(world.journal.len());
    assert_eq!(world.ledger.status(world.wall).recovered, 1);
    let made = world.ledger.take_closed();
    assert_eq!(
        made.iter().map(|stop| stop.nas.acct_session_id.as_str()).collect::<Vec<_>>(),
        ["5f-1"],
        "for whoever writes them elsewhere"
    );
    assert_eq!(world.ledger.take_closed(), [], "once");
    world.deliver_all();
    assert_eq!((world.statuses(1), world.statuses(2)), (vec![Start, Stop], vec![Start, Stop]));
    let closed = world.heard.iter().find(|record| record.status == Stop && record.nas.acct_session_id == "5f-1").unwrap();
    assert_eq!((closed.input_octets, closed.output_octets, closed.input_packets, closed.output_packets), (1 << 33, 2, 3, 4));
    assert_eq!((closed.event_timestamp, closed.session_time.as_secs()), (NOON + 21, 21), "the last sign of life");
    assert_eq!(closed.terminate_cause, Some(TerminateCause::NasReboot));
    assert!(closed.delay >= Duration::from_secs(3570), "{:?}", closed.delay);
    assert_eq!(closed.class, [vec![0, 10, 255]]);
    assert_eq!((made[0].status, made[0].event_timestamp, made[0].input_octets), (Stop, NOON + 21, 1 << 33));
    world.crash(world.journal.len());
    assert_eq!(world.ledger.take_closed(), [], "another crash closes nothing anew");
}

/// Wherever the journal ends, each session that it knows has one Start and one Stop in the end, and another crash changes nothing.
#[test]
fn a_crash_at_every_byte_leaves_whole_books() {
    let mut whole = World::new(Settings::default());
    whole.event(start(1, NOON));
    whole.event(start(2, NOON + 1));
    whole.exchange(true);
    whole.event(Event::Count { at: NOON + 2, sessions: vec![(1, [7, 8, 9, 10]), (2, [1, 1, 1, 1])] });
    whole.event(interim(1, NOON + 60));
    whole.event(stop(2, NOON + 61));
    whole.exchange(true);
    whole.event(start(3, NOON + 62));
    for cut in 0..=whole.journal.len() {
        let mut world = World { ledger: Ledger::new(Settings::default()), journal: whole.journal.clone(), heard: Vec::new(), ..whole };
        world.crash(cut);
        world.crash(world.journal.len());
        let (lines, _) = decode(&whole.journal[..cut]);
        let known: BTreeMap<u64, bool> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Start { seq, session, .. } => Some((*session, lines.contains(&Line::Done { seq: *seq }))),
                _ => None,
            })
            .collect();
        world.deliver_all();
        for (session, start_known) in known {
            let statuses = world.statuses(session);
            assert_eq!(statuses.iter().filter(|status| **status == Start).count(), usize::from(!start_known), "cut at {cut}");
            let stop_confirmed = lines.iter().any(|line| match line {
                Line::Stop { seq, session: of, .. } => *of == session && lines.contains(&Line::Done { seq: *seq }),
                _ => false,
            });
            assert_eq!(statuses.iter().filter(|status| **status == Stop).count(), usize::from(!stop_confirmed), "cut at {cut}");
            assert!(stop_confirmed || statuses.last() == Some(&Stop), "cut at {cut}: {statuses:?}");
        }
        assert!(world.ledger.snapshot().is_empty());
    }
}
