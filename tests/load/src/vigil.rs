//! Sessions that watch the gateway: how long it takes to answer their liveness requests while others try to log in.

use anyhow::{Context as _, bail, ensure};
use ike::wire::{Exchange, Header};
use ike::{Path, SessionId, Timers};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::driver::{Driver, Effect};
use crate::echo::Echoes;
use crate::options::{self, NAT_PORT, Profile};
use crate::print_line;
use crate::sockets::{Carried, Port};
use crate::storm::percentile;

/// How long the sessions may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is not the wire.
const TICK: Duration = Duration::from_millis(5);
/// How long the DELETEs at the end may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the sessions saw since the first line on standard input. Times in milliseconds, from a request's first transmission.
#[derive(Debug, Serialize)]
struct Report {
    sessions: u32,
    /// Liveness requests that were answered.
    answered: usize,
    /// Those that are not answered at the end; the times hold how long they have waited.
    waiting: usize,
    /// How often a request was sent again.
    repeated: u32,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Requests answered within so many milliseconds.
    histogram: BTreeMap<u64, usize>,
    /// Cause -> sessions that ended.
    lost: BTreeMap<String, u32>,
    newcomers: u32,
    newcomers_up: u32,
}

struct Vigil<'a> {
    options: &'a options::Vigil,
    profile: Profile,
    driver: Driver,
    ike: Port,
    nat: Port,
    echoes: Option<Echoes>,
    up: HashMap<SessionId, u32>,
    /// Requests under way: IKE SA and message ID.
    asked: HashMap<(u64, u32), Instant>,
    measuring: bool,
    took: Vec<Duration>,
    repeated: u32,
    lost: BTreeMap<String, u32>,
    newcomers: u32,
    newcomers_up: HashSet<u32>,
}

pub(crate) async fn run(options: &options::Vigil) -> anyhow::Result<()> {
    let profile = Profile::load(&options.login, true)?;
    let local = profile.bind_to();
    let mut vigil = Vigil {
        options,
        ike: Port::ike(local).with_context(|| format!("cannot bind udp {local}:500"))?,
        nat: Port::nat(local).with_context(|| format!("cannot bind udp {local}:4500"))?,
        profile,
        driver: Driver::new(Instant::now()),
        echoes: options.ping.map(Echoes::to),
        up: HashMap::new(),
        asked: HashMap::new(),
        measuring: false,
        took: Vec::new(),
        repeated: 0,
        lost: BTreeMap::new(),
        newcomers: 0,
        newcomers_up: HashSet::new(),
    };
    vigil.assemble().await?;
    print_line(&format!("{{\"up\":{}}}", options.sessions))?;
    vigil.wait_for_a_line().await?;
    vigil.watch().await?;
    print_line(&serde_json::to_string(&vigil.report())?)?;
    vigil.say_goodbye().await
}

impl Vigil<'_> {
    /// Brings all sessions up.
    async fn assemble(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + PATIENCE;
        let mut next = 0;
        while self.up.len() < self.options.sessions as usize || self.echoes.as_ref().is_some_and(|echoes| !echoes.are_done()) {
            while next < self.options.sessions && next - (self.up.len() as u32) < self.options.parallel {
                self.driver.connect_with(Instant::now(), &self.profile, next, self.timers(next));
                next += 1;
                self.perform();
            }
            self.turn(limit).await?;
            ensure!(self.lost.is_empty(), "sessions did not come up: {:?}", self.lost);
            if Instant::now() >= limit {
                bail!("{} of {} sessions are up after {} s", self.up.len(), self.options.sessions, PATIENCE.as_secs());
            }
        }
        Ok(())
    }

    /// The sessions live meanwhile.
    async fn wait_for_a_line(&mut self) -> anyhow::Result<()> {
        let (said, mut line) = oneshot::channel();
        std::thread::spawn(move || said.send(std::io::stdin().read_line(&mut String::new()).map(|_| ())));
        loop {
            match line.try_recv() {
                Ok(read) => return Ok(read?),
                Err(TryRecvError::Closed) => bail!("standard input cannot be read"),
                Err(TryRecvError::Empty) => self.turn(Instant::now() + TICK).await?,
            }
        }
    }

    /// Every other session gives up as early as an Apple client (5 s), the others as Android does (15.5 s).
    fn timers(&self, number: u32) -> Timers {
        let (initial, tries) = if number.is_multiple_of(2) { (700, 3) } else { (500, 5) };
        Timers {
            liveness_interval: Duration::from_millis(self.options.interval),
            retransmit_initial: Duration::from_millis(initial),
            retransmit_tries: tries,
            ..Profile::timers()
        }
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        self.measuring = true;
        let started = Instant::now();
        let limit = started + Duration::from_secs(self.options.seconds);
        while Instant::now() < limit {
            let due = (started.elapsed().as_secs_f64() * f64::from(self.options.newcomers_per_second)) as u32;
            while self.newcomers < due {
                let number = self.options.sessions + self.newcomers;
                self.driver.connect_with(Instant::now(), &self.profile, number, self.timers(1));
                self.newcomers += 1;
                self.perform();
            }
            self.turn(limit.min(Instant::now() + TICK)).await?;
        }
        self.measuring = false;
        Ok(())
    }

    /// Waits for one thing to happen, at most until `limit`, and handles it.
    async fn turn(&mut self, limit: Instant) -> anyhow::Result<()> {
        let deadline = self.driver.poll_timeout().map_or(limit, |at| at.min(limit));
        tokio::select! {
            received = self.ike.recv() => self.datagram(received?),
            received = self.nat.recv_any() => match (received?, &mut self.echoes) {
                ((path, Carried::Ike(message)), _) => self.datagram((path, message)),
                ((_, Carried::Esp(packet)), Some(echoes)) => echoes.packet(&packet),
                ((_, Carried::Esp(_)), None) => {}
            },
            () = tokio::time::sleep_until(deadline.into()) => self.driver.timeout(Instant::now()),
        }
        self.perform();
        Ok(())
    }

    fn datagram(&mut self, (path, message): (Path, Vec<u8>)) {
        let now = Instant::now();
        let asked = liveness(&message, true).and_then(|request| self.asked.remove(&request));
        self.took.extend(asked.filter(|_| self.measuring).map(|asked| now - asked));
        self.driver.datagram(now, path, message);
    }

    fn perform(&mut self) {
        while let Some(effect) = self.driver.poll_effect() {
            match effect {
                Effect::Transmit { path, message } => {
                    self.note(&message);
                    let port = if path.local.port() == NAT_PORT { &self.nat } else { &self.ike };
                    port.send(path, &message);
                }
                Effect::Up { session, number, .. } if number < self.options.sessions => self.is_up(session, number),
                Effect::Up { session, number, .. } => {
                    self.newcomers_up.insert(number);
                    self.driver.close(Instant::now(), session);
                }
                Effect::Closed { session, number, cause } => {
                    self.up.remove(&session);
                    if number < self.options.sessions {
                        *self.lost.entry(cause).or_default() += 1;
                    }
                }
                Effect::Install(child) => {
                    if let Some(echoes) = &mut self.echoes {
                        echoes.install(&child);
                    }
                }
                Effect::UseOutbound { .. } | Effect::Remove { .. } | Effect::Repath { .. } | Effect::Rekeyed { .. } => {}
            }
        }
    }

    fn is_up(&mut self, session: SessionId, number: u32) {
        self.up.insert(session, number);
        let Some((path, packets)) = self.echoes.as_mut().and_then(|echoes| echoes.begin(session, number)) else { return };
        packets.iter().for_each(|packet| self.nat.send_esp(path, packet));
    }

    fn note(&mut self, message: &[u8]) {
        let Some(request) = liveness(message, false) else { return };
        let again = self.asked.contains_key(&request);
        self.repeated += u32::from(again && self.measuring);
        self.asked.entry(request).or_insert_with(Instant::now);
    }

    fn report(&mut self) -> Report {
        let answered = self.took.len();
        self.took.extend(self.asked.values().map(Instant::elapsed));
        self.took.sort_unstable();
        let within = |limit| self.took.partition_point(|time| *time <= Duration::from_millis(limit));
        Report {
            sessions: self.up.len() as u32,
            answered,
            waiting: self.took.len() - answered,
            repeated: self.repeated,
            p50_ms: percentile(&self.took, 50),
            p99_ms: percentile(&self.took, 99),
            max_ms: percentile(&self.took, 100),
            histogram: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000].map(|limit| (limit, within(limit))).into(),
            lost: std::mem::take(&mut self.lost),
            newcomers: self.newcomers,
            newcomers_up: self.newcomers_up.len() as u32,
        }
    }

    async fn say_goodbye(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + GOODBYE;
        let sessions: Vec<SessionId> = self.up.keys().copied().collect();
        for session in sessions {
            self.driver.close(Instant::now(), session);
            self.perform();
        }
        while !self.up.is_empty() && Instant::now() < limit {
            self.turn(limit).await?;
        }
        Ok(())
    }
}

/// IKE SA and message ID of an INFORMATIONAL of ours, or of its response.
fn liveness(message: &[u8], response: bool) -> Option<(u64, u32)> {
    let header = Header::parse(message).ok()?;
    // We are the initiator of every IKE SA: its flag tells whose exchange it is.
    let ours = header.exchange == Exchange::Informational && header.flags.response == response && header.flags.initiator != response;
    ours.then_some((header.initiator_spi.0, header.message_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike::wire::{Flags, Spi, encode};

    #[test]
    fn a_response_belongs_to_its_request() {
        let message = |exchange, initiator, response| {
            let flags = Flags { initiator, response, version: false };
            encode(&Header::new(Spi(7), Spi(8), exchange, flags, 3), &[])
        };
        assert_eq!(liveness(&message(Exchange::Informational, true, false), false), Some((7, 3)));
        assert_eq!(liveness(&message(Exchange::Informational, false, true), true), Some((7, 3)));
        assert_eq!(liveness(&message(Exchange::Informational, false, false), false), None, "the gateway's own request");
        assert_eq!(liveness(&message(Exchange::CreateChildSa, true, false), false), None);
    }
}
