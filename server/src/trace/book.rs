//! Who follows whom, what attempts are called, and what they said before that was known.
use super::{About, Begun, Event, Extent, Layer, MAX_TRACES, Told};
use crate::api::{Feed, Problem, Refusal};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Events of one attempt kept for who may follow its user once the name is known.
const KEPT: usize = 64;
/// Bytes of them.
const KEPT_BYTES: usize = 128 << 10;
/// Events of all attempts; then the oldest attempt's go.
const KEPT_OF_ALL: usize = 8192;
/// Bytes of them.
const KEPT_BYTES_OF_ALL: usize = 8 << 20;
/// Attempts that are over and may still have a last word.
const LINGERING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Book {
    clock: Option<(Instant, jiff::Timestamp)>,
    next: u64,
    traces: BTreeMap<u64, Trace>,
    attempts: HashMap<String, Known>,
    /// Attempts of which events are kept, in the order of their first.
    order: BTreeMap<u64, String>,
    last_place: u64,
    over: VecDeque<String>,
    /// Events kept of all attempts, and their bytes.
    kept: usize,
    kept_bytes: usize,
}

#[derive(Debug)]
struct Trace {
    about: About,
    extent: Extent,
    feed: Feed,
    /// Told when its attempt is over.
    over: Arc<Notify>,
}

/// One attempt.
#[derive(Debug)]
struct Known {
    client: SocketAddr,
    user: Option<String>,
    /// Nobody will learn another name of it.
    settled: bool,
    followers: BTreeSet<u64>,
    earlier: VecDeque<Event>,
    /// Of them.
    bytes: usize,
    /// In the order of those of which events are kept.
    place: Option<u64>,
    /// Earlier events that are not kept.
    forgotten: u64,
}

impl Trace {
    fn is_about(&self, id: &str, known: &Known) -> bool {
        match &self.about {
            About::User(user) => known.user.as_deref().is_some_and(|name| name.to_lowercase() == user.to_lowercase()),
            About::Peer(address) => known.client.ip().to_canonical() == address.to_canonical(),
            About::Attempt(wanted) => wanted == id,
        }
    }

    fn send(&self, event: &Event) {
        let mut event = std::borrow::Cow::Borrowed(event);
        let has_packets = !event.packets.is_empty() || !event.frames.is_empty();
        if has_packets && !self.extent.packets {
            event.to_mut().packets.clear();
            event.to_mut().frames.clear();
        }
        if !self.extent.keys && event.keys.is_some() {
            event.to_mut().keys = None;
        }
        self.feed.send(&*event);
    }
}

impl Book {
    pub(super) fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// What any of them wants.
    pub(super) fn extent(&self) -> Extent {
        let any = |wants: fn(&Extent) -> bool| self.traces.values().any(|trace| wants(&trace.extent));
        Extent { packets: any(|extent| extent.packets), keys: any(|extent| extent.keys) }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.kept, self.kept_bytes)
    }

    #[cfg(test)]
    pub(super) fn attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn clock(&mut self, now: (Instant, jiff::Timestamp)) {
        self.clock = Some(now);
    }

    pub(super) fn follow(&mut self, about: About, extent: Extent, feed: Feed) -> Result<u64, Problem> {
        if self.traces.len() >= MAX_TRACES {
            return Err(Problem::new(Refusal::Busy, format!("{MAX_TRACES} traces are running already"), "end one of them"));
        }
        self.next += 1;
        let trace = Trace { about, extent, feed, over: Arc::default() };
        for (id, known) in &mut self.attempts {
            if trace.is_about(id, known) {
                known.followers.insert(self.next);
            }
        }
        self.traces.insert(self.next, trace);
        Ok(self.next)
    }

    pub(super) fn over(&self, number: u64) -> Option<Arc<Notify>> {
        self.traces.get(&number).map(|trace| Arc::clone(&trace.over))
    }

    pub(super) fn last_word(&self, now: Instant, number: u64, text: &str) {
        let Some(trace) = self.traces.get(&number) else { return };
        let (attempt, user) = (None, None);
        let (fields, packets, frames) = (Vec::new(), Vec::new(), Vec::new());
        let (at_us, title) = (at(self.clock, now), text.to_owned());
        trace.send(&Event {
            at_us,
            attempt,
            user,
            layer: Layer::Gateway,
            direction: None,
            peer: None,
            title,
            fields,
            packets,
            frames,
            keys: None,
        });
    }

    pub(super) fn leave(&mut self, number: u64) -> Option<About> {
        let trace = self.traces.remove(&number)?;
        if self.traces.is_empty() {
            *self = Self { next: self.next, ..Self::default() };
        }
        self.attempts.values_mut().for_each(|known| {
            known.followers.remove(&number);
        });
        Some(trace.about)
    }

    pub(super) fn started(&mut self, begun: Begun) {
        let Begun { id, client, user, up } = begun;
        let (followers, earlier) = (BTreeSet::new(), VecDeque::new());
        let mut known = Known { client, user, settled: up, followers, earlier, bytes: 0, place: None, forgotten: 0 };
        known.followers = self.traces.iter().filter(|(_, trace)| trace.is_about(&id, &known)).map(|(number, _)| *number).collect();
        self.attempts.insert(id, known);
    }

    pub(super) fn named(&mut self, id: &str, user: &str) {
        if let Some(known) = self.attempts.get_mut(id) {
            known.user = Some(user.to_owned());
            self.look_again(id);
        }
    }

    pub(super) fn unnamed(&mut self, id: &str) {
        if let Some(known) = self.attempts.get_mut(id) {
            known.user = None;
        }
    }

    pub(super) fn moved(&mut self, id: &str, client: SocketAddr) {
        if let Some(known) = self.attempts.get_mut(id) {
            known.client = client;
            self.look_again(id);
        }
    }

    /// More is known of an attempt: who is about it now gets what it said before. Who has once followed an attempt follows it to its end.
    fn look_again(&mut self, id: &str) {
        let Some(known) = self.attempts.get_mut(id) else { return };
        for (number, trace) in &self.traces {
            if known.followers.contains(number) || !trace.is_about(id, known) {
                continue;
            }
            known.followers.insert(*number);
            if let (Some(first), lost @ 1..) = (known.earlier.front(), known.forgotten) {
                trace.send(&Event { title: format!("{lost} earlier events of this attempt are not kept"), ..bare(first) });
            }
            known.earlier.iter().for_each(|event| trace.send(event));
        }
    }

    pub(super) fn finished(&mut self, id: &str) {
        let about = |trace: &&Trace| matches!(&trace.about, About::Attempt(wanted) if wanted == id);
        self.traces.values().filter(about).for_each(|trace| trace.over.notify_one());
        self.over.push_back(id.to_owned());
        while self.over.len() > LINGERING {
            let Some(id) = self.over.pop_front() else { return };
            self.forget(&id);
            self.attempts.remove(&id);
        }
    }

    /// An attempt is up: it has its name.
    pub(super) fn settled(&mut self, id: &str) {
        self.forget(id);
        if let Some(known) = self.attempts.get_mut(id) {
            known.settled = true;
        }
    }

    /// Keeps nothing more of what an attempt said.
    fn forget(&mut self, id: &str) {
        let Some(known) = self.attempts.get_mut(id) else { return };
        self.kept -= known.earlier.len();
        self.kept_bytes -= std::mem::take(&mut known.bytes);
        known.forgotten += u64::try_from(known.earlier.len()).unwrap_or(u64::MAX);
        known.earlier.clear();
        if let Some(place) = known.place.take() {
            self.order.remove(&place);
        }
    }

    pub(super) fn cares(&self, id: Option<&str>, peer: Option<SocketAddr>) -> bool {
        let last;
        let id = match id {
            Some(id) => id,
            None if self.traces.values().any(|trace| is_at(trace, peer)) => return true,
            None => match self.last_from(peer) {
                Some(id) => {
                    last = id;
                    &last
                }
                None => return false,
            },
        };
        // Who is not known yet may turn out to be whom somebody asks for by name.
        let by_name = || self.traces.values().any(|trace| matches!(trace.about, About::User(_)));
        self.attempts.get(id).is_some_and(|known| !known.followers.is_empty() || !known.settled && by_name())
    }

    pub(super) fn tell(&mut self, now: Instant, id: Option<&str>, told: Told) {
        let id = id.map(str::to_owned).or_else(|| self.last_from(told.peer));
        let known = id.as_ref().and_then(|id| self.attempts.get_mut(id));
        let Told { layer, direction, peer, title, fields, packets, frames, keys, .. } = told;
        let user = known.as_ref().and_then(|known| known.user.clone());
        let mut event =
            Event { at_us: at(self.clock, now), attempt: id.clone(), user, layer, direction, peer, title, fields, packets, frames, keys };
        let Some(known) = known else {
            event.attempt = None;
            return self.of_stranger(&event);
        };
        known.followers.iter().filter_map(|number| self.traces.get(number)).for_each(|trace| trace.send(&event));
        let waits = |(number, trace): (&u64, &Trace)| matches!(trace.about, About::User(_)) && !known.followers.contains(number);
        if !known.settled && self.traces.iter().any(waits) {
            self.keep(id.as_deref().unwrap_or_default(), event);
        }
    }

    /// The attempt that was over last, of those from exactly this address: its last words come after its end.
    fn last_from(&self, peer: Option<SocketAddr>) -> Option<String> {
        let from = |id: &&String| self.attempts.get(*id).is_some_and(|known| Some(known.client) == peer);
        self.over.iter().rev().find(from).cloned()
    }

    /// Told of nobody's attempt: only its address tells whose it is.
    fn of_stranger(&self, event: &Event) {
        self.traces.values().filter(|trace| is_at(trace, event.peer)).for_each(|trace| trace.send(event));
    }

    fn keep(&mut self, id: &str, mut event: Event) {
        let Some(known) = self.attempts.get_mut(id) else { return };
        if known.place.is_none() {
            self.last_place += 1;
            known.place = Some(self.last_place);
            self.order.insert(self.last_place, id.to_owned());
        }
        // A later message has them too, if anybody is to see them.
        event.keys = None;
        let bytes = size(&event);
        (known.bytes, self.kept_bytes) = (known.bytes + bytes, self.kept_bytes + bytes);
        known.earlier.push_back(event);
        self.kept += 1;
        while known.earlier.len() > KEPT || known.bytes > KEPT_BYTES {
            let Some(oldest) = known.earlier.pop_front() else { break };
            (known.bytes, self.kept_bytes) = (known.bytes - size(&oldest), self.kept_bytes - size(&oldest));
            known.forgotten += 1;
            self.kept -= 1;
        }
        while self.kept > KEPT_OF_ALL || self.kept_bytes > KEPT_BYTES_OF_ALL {
            let Some(oldest) = self.order.values().next().cloned() else { return };
            self.forget(&oldest);
        }
    }
}

/// It is about whoever is at this address.
fn is_at(trace: &Trace, peer: Option<SocketAddr>) -> bool {
    matches!((&trace.about, peer), (About::Peer(address), Some(peer)) if address.to_canonical() == peer.ip().to_canonical())
}

/// Bytes that an event takes, about.
fn size(event: &Event) -> usize {
    let fields = event.fields.iter().map(|field| size_of_val(field) + field.name.len() + field.value.len());
    let packets = event.packets.iter().map(|packet| size_of_val(packet) + packet.bytes.len());
    let frames = event.frames.iter().map(|frame| size_of_val(frame) + frame.bytes.len());
    size_of::<Event>() + event.title.len() + fields.chain(packets).chain(frames).sum::<usize>()
}

/// When and whose, nothing else.
fn bare(event: &Event) -> Event {
    Event {
        layer: super::Layer::Gateway,
        direction: None,
        peer: None,
        fields: Vec::new(),
        packets: Vec::new(),
        frames: Vec::new(),
        keys: None,
        user: None,
        title: String::new(),
        ..event.clone()
    }
}

/// Microseconds since 1970.
fn at(clock: Option<(Instant, jiff::Timestamp)>, now: Instant) -> u64 {
    let Some((instant, wall)) = clock else { return 0 };
    let since = i64::try_from(now.saturating_duration_since(instant).as_micros()).unwrap_or(i64::MAX);
    u64::try_from(wall.as_microsecond().saturating_add(since)).unwrap_or(0)
}
