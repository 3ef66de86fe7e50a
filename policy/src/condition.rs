//! Conditions of a network policy: whether it is the one for this attempt.
use crate::address::AddressRange;
use crate::facts::{Facts, Method, Tunnel};
use crate::glob;
use crate::hours::TimeWindow;
use std::fmt::{self, Write};

/// Entries of a condition's list that a reason spells out; the rest is counted.
const NAMED_ENTRIES: usize = 4;
/// Characters of one value that a reason spells out.
const NAMED_CHARS: usize = 128;
/// Bytes of a reason that is part of another one.
const NESTED_BYTES: usize = 512;

/// All that is said must match: every non-empty list (within it, any entry), and the groups. Patterns have `*` and `?` and know no case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub tunnel: Vec<Tunnel>,
    pub method: Vec<Method>,
    /// Names of EAP methods.
    pub eap_type: Vec<String>,
    pub user: Vec<String>,
    pub machine: Vec<String>,
    pub client: Vec<AddressRange>,
    pub gateway: Vec<AddressRange>,
    /// Patterns over the addresses of client and gateway as RADIUS has them.
    pub calling_station_id: Vec<String>,
    pub called_station_id: Vec<String>,
    /// NAS-Port-Type.
    pub port_type: Vec<u32>,
    pub listener: Vec<String>,
    /// Patterns over the name that the client asked for.
    pub server_name: Vec<String>,
    pub certificate_subject: Vec<String>,
    pub certificate_issuer: Vec<String>,
    pub certificate_san: Vec<String>,
    /// OIDs.
    pub certificate_eku: Vec<String>,
    pub certificate_template: Vec<String>,
    /// Patterns over the attribute's bytes read as UTF-8 (lossy).
    pub class: Vec<String>,
    pub filter_id: Vec<String>,
    /// Patterns, of which one of the user's groups must match one.
    pub group: Vec<String>,
    pub radius_server: Vec<String>,
    pub radius_group: Vec<String>,
    pub reply: Vec<Attribute>,
    pub time: Vec<TimeWindow>,
    /// One of these must match, if there are any.
    pub any: Vec<Conditions>,
    /// All of these must.
    pub all: Vec<Conditions>,
    /// None of these may.
    pub not: Vec<Conditions>,
}

/// An attribute of the Access-Accept: its name, and a pattern over its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: String,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Whether conditions match. Why not is told to a [`Sink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    No,
    Unproved(Unproved),
}

/// Where reasons are written: a text, or nowhere, which costs nothing.
pub(crate) trait Sink {
    /// What follows may be taken back.
    fn mark(&self) -> usize;
    fn take_back(&mut self, mark: usize);
    fn write(&mut self, words: impl FnOnce(&mut String));
    /// What was written since `mark` is part of another reason, and that stays a line.
    fn bound(&mut self, mark: usize);
}

impl Sink for String {
    fn mark(&self) -> usize {
        self.len()
    }

    fn take_back(&mut self, mark: usize) {
        self.truncate(mark);
    }

    fn write(&mut self, words: impl FnOnce(&mut String)) {
        words(self);
    }

    fn bound(&mut self, mark: usize) {
        let end = mark + NESTED_BYTES;
        if self.len() > end {
            let cut = (mark..=end).rev().find(|&at| self.is_char_boundary(at)).unwrap_or(mark);
            self.truncate(cut);
            self.push_str("..");
        }
    }
}

impl Sink for () {
    fn mark(&self) -> usize {
        0
    }

    fn take_back(&mut self, _: usize) {}

    fn write(&mut self, _: impl FnOnce(&mut String)) {}

    fn bound(&mut self, _: usize) {}
}

/// What a condition asks for and nobody here knows for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unproved {
    /// The name of user or machine: nobody has checked it.
    Name,
    /// The client's certificate: it may have shown one that could not be seen.
    Certificate,
    /// What only a login tells: there was none so far.
    Login,
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "it has a condition on the user or machine, whose name nobody has checked",
            Self::Certificate => "it has a condition on the client's certificate, which cannot be seen here",
            Self::Login => "it has a condition on what only the login tells",
        })
    }
}

impl Conditions {
    /// Whether they match; if not, `why` is told the first that fails, in the order of the fields.
    pub(crate) fn evaluate<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> Match {
        if self.fails(facts, why) {
            return Match::No;
        }
        let mut unproved = self.unproved(facts);
        for evaluate in [Self::evaluate_all::<S>, Self::evaluate_any::<S>, Self::evaluate_not::<S>] {
            match evaluate(self, facts, why) {
                Match::Yes => {}
                Match::No => return Match::No,
                Match::Unproved(what) => unproved = unproved.or(Some(what)),
            }
        }
        unproved.map_or(Match::Yes, Match::Unproved)
    }

    /// What its own lists ask for that cannot be judged.
    fn unproved(&self, facts: &Facts<'_>) -> Option<Unproved> {
        if !facts.authenticated {
            return Some(Unproved::Login).filter(|_| self.asks_for_the_login(facts.tunnel));
        }
        let machine = !self.machine.is_empty() && facts.machine.is_none();
        if !facts.confirmed && (!self.user.is_empty() || machine) {
            return Some(Unproved::Name);
        }
        Some(Unproved::Certificate).filter(|_| facts.certificate_hidden && self.asks_for_a_certificate())
    }

    fn asks_for_a_certificate(&self) -> bool {
        let lists =
            [&self.certificate_subject, &self.certificate_issuer, &self.certificate_san, &self.certificate_eku, &self.certificate_template];
        lists.iter().any(|list| !list.is_empty())
    }

    /// Its own lists ask for what is not known before a login.
    fn asks_for_the_login(&self, tunnel: Tunnel) -> bool {
        let lists =
            [&self.eap_type, &self.user, &self.machine, &self.class, &self.filter_id, &self.group, &self.radius_server, &self.radius_group];
        let method = tunnel == Tunnel::Sstp && !self.method.is_empty();
        method || !self.reply.is_empty() || self.asks_for_a_certificate() || lists.iter().any(|list| !list.is_empty())
    }

    /// Whether a condition, in whichever group, speaks of this Filter-Id.
    pub fn names_filter_id(&self, id: &str) -> bool {
        let in_reply = |wanted: &Attribute| wanted.name.eq_ignore_ascii_case("Filter-Id") && glob::matches(&wanted.value, id);
        let mut groups = [&self.any, &self.all, &self.not].into_iter().flatten();
        self.filter_id.iter().any(|pattern| glob::matches(pattern, id))
            || self.reply.iter().any(in_reply)
            || groups.any(|group| group.names_filter_id(id))
    }

    fn evaluate_all<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> Match {
        let mut all = Match::Yes;
        let mark = why.mark();
        why.write(|why| why.push_str("all: "));
        for group in &self.all {
            match group.evaluate(facts, why) {
                Match::Yes => {}
                unproved @ Match::Unproved(_) => all = unproved,
                Match::No => {
                    why.bound(mark);
                    return Match::No;
                }
            }
        }
        why.take_back(mark);
        all
    }

    fn evaluate_any<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> Match {
        if self.any.is_empty() {
            return Match::Yes;
        }
        let mark = why.mark();
        why.write(|why| why.push_str("any: "));
        let mut unproved = None;
        for (at, group) in self.any.iter().enumerate() {
            let outcome = match at {
                0 => group.evaluate(facts, why),
                1..NAMED_ENTRIES => {
                    why.write(|why| why.push_str("; "));
                    group.evaluate(facts, why)
                }
                _ => group.evaluate(facts, &mut ()),
            };
            match outcome {
                Match::Yes => {
                    why.take_back(mark);
                    return Match::Yes;
                }
                Match::Unproved(what) => unproved = Some(what),
                Match::No => {}
            }
        }
        if let Some(what) = unproved {
            why.take_back(mark);
            return Match::Unproved(what);
        }
        why.write(|why| more(why, self.any.len()));
        why.bound(mark);
        Match::No
    }

    fn evaluate_not<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> Match {
        let mut not = Match::Yes;
        for group in &self.not {
            match group.evaluate(facts, &mut ()) {
                Match::Yes => {
                    let mark = why.mark();
                    why.write(|why| {
                        why.push_str("not: ");
                        list(why, &group.words(), "; ", |why, part| why.push_str(part));
                        why.push_str(" matches");
                    });
                    why.bound(mark);
                    return Match::No;
                }
                unproved @ Match::Unproved(_) => not = unproved,
                Match::No => {}
            }
        }
        not
    }

    /// Whether one of the lists fails, and which. A condition on what is unproved fails nobody here.
    fn fails<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> bool {
        fails(why, "tunnel", &self.tunnel, |tunnel| *tunnel == facts.tunnel, || facts.tunnel)
            || self.fails_by_method(facts, why)
            || self.fails_by_name(facts, why)
            || fails(why, "client", &self.client, |range| range.contains(facts.client), || facts.client.to_canonical())
            || fails(why, "gateway", &self.gateway, |range| range.contains(facts.gateway), || facts.gateway.to_canonical())
            || fails_station(why, "calling_station_id", &self.calling_station_id, facts.client)
            || fails_station(why, "called_station_id", &self.called_station_id, facts.gateway)
            || fails(why, "port_type", &self.port_type, |wanted| *wanted == facts.port_type, || facts.port_type)
            || fails_pattern(why, "listener", &self.listener, &[facts.listener])
            || fails_pattern(why, "server_name", &self.server_name, facts.server_name.as_slice())
            || self.fails_by_certificate(facts, why)
            || self.fails_by_reply(facts, why)
            || fails(why, "time", &self.time, |window| window.contains(facts.time), || facts.time)
    }

    /// Nobody proves a certificate over SSTP; which of the other methods it will be is known when the login begins.
    fn fails_by_method<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> bool {
        if !facts.authenticated && facts.tunnel == Tunnel::Sstp {
            return fails(why, "method", &self.method, |method| *method != Method::Certificate, || "no certificate over sstp");
        }
        let eap_type = if facts.authenticated { self.eap_type.as_slice() } else { &[] };
        fails(why, "method", &self.method, |method| *method == facts.method, || facts.method)
            || fails_pattern(why, "eap_type", eap_type, facts.eap_type.as_slice())
    }

    fn fails_by_name<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> bool {
        let known = facts.authenticated;
        let user = if known && facts.confirmed { self.user.as_slice() } else { &[] };
        let machine = if known && (facts.confirmed || facts.machine.is_some()) { self.machine.as_slice() } else { &[] };
        fails_pattern(why, "user", user, &[facts.user]) || fails_pattern(why, "machine", machine, facts.machine.as_slice())
    }

    fn fails_by_certificate<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> bool {
        if facts.certificate_hidden || !facts.authenticated {
            return false;
        }
        let of = facts.certificate;
        let template = of.and_then(|of| of.template.as_deref());
        fails_pattern(why, "certificate_subject", &self.certificate_subject, of.map(|of| &of.subject).as_slice())
            || fails_pattern(why, "certificate_issuer", &self.certificate_issuer, of.map(|of| &of.issuer).as_slice())
            || fails_pattern(why, "certificate_san", &self.certificate_san, of.map(|of| of.san.as_slice()).unwrap_or_default())
            || fails_pattern(why, "certificate_eku", &self.certificate_eku, of.map(|of| of.eku.as_slice()).unwrap_or_default())
            || fails_pattern(why, "certificate_template", &self.certificate_template, template.as_slice())
    }

    fn fails_by_reply<S: Sink>(&self, facts: &Facts<'_>, why: &mut S) -> bool {
        if !facts.authenticated {
            return false;
        }
        let class: Vec<_> =
            if self.class.is_empty() { &[] } else { facts.class }.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        let has = |wanted: &Attribute| {
            facts.reply.iter().any(|(name, value)| name.eq_ignore_ascii_case(&wanted.name) && glob::matches(&wanted.value, value))
        };
        fails_pattern(why, "class", &self.class, &class)
            || fails_pattern(why, "filter_id", &self.filter_id, facts.filter_id)
            || fails_pattern(why, "group", &self.group, facts.group)
            || fails_pattern(why, "radius_server", &self.radius_server, facts.radius_server.as_slice())
            || fails_pattern(why, "radius_group", &self.radius_group, facts.radius_group.as_slice())
            || fails(why, "reply", &self.reply, has, || self.attributes_asked_for(facts))
    }

    /// Those attributes of the reply of which conditions ask something.
    fn attributes_asked_for(&self, facts: &Facts<'_>) -> String {
        let asked = |name: &str| self.reply.iter().any(|wanted| wanted.name.eq_ignore_ascii_case(name));
        let got: Vec<_> = facts.reply.iter().filter(|(name, _)| asked(name)).collect();
        let mut text = String::from(if got.is_empty() { "none" } else { "" });
        list(&mut text, &got, " or ", |text, (name, value)| {
            text.push_str(name);
            text.push('=');
            quote(text, value);
        });
        text
    }

    /// Whether there are none at all: they match everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What they say, one entry for each: `tunnel ikev2`, `user a* or b*`, `not (time sat,sun 00:00-24:00)`.
    pub fn words(&self) -> Vec<String> {
        fn either<T: fmt::Display>(name: &str, entries: &[T]) -> Option<String> {
            let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
            (!entries.is_empty()).then(|| format!("{name} {}", entries.join(" or ")))
        }
        let lists = [
            either("tunnel", &self.tunnel),
            either("method", &self.method),
            either("eap_type", &self.eap_type),
            either("user", &self.user),
            either("machine", &self.machine),
            either("client", &self.client),
            either("gateway", &self.gateway),
            either("calling_station_id", &self.calling_station_id),
            either("called_station_id", &self.called_station_id),
            either("port_type", &self.port_type),
            either("listener", &self.listener),
            either("server_name", &self.server_name),
            either("certificate_subject", &self.certificate_subject),
            either("certificate_issuer", &self.certificate_issuer),
            either("certificate_san", &self.certificate_san),
            either("certificate_eku", &self.certificate_eku),
            either("certificate_template", &self.certificate_template),
            either("class", &self.class),
            either("filter_id", &self.filter_id),
            either("group", &self.group),
            either("radius_server", &self.radius_server),
            either("radius_group", &self.radius_group),
            either("reply", &self.reply),
            either("time", &self.time),
        ];
        let mut words: Vec<String> = lists.into_iter().flatten().collect();
        for (name, groups) in [("any", &self.any), ("all", &self.all), ("not", &self.not)] {
            let groups: Vec<_> = groups.iter().map(|group| format!("({})", group.words().join("; "))).collect();
            words.extend((!groups.is_empty()).then(|| format!("{name} {}", groups.join(" "))));
        }
        words
    }
}

/// Whether a list fails, and why: `tunnel wanted sstp, got ikev2`.
pub(crate) fn fails<T: fmt::Display, G: fmt::Display>(
    why: &mut impl Sink,
    name: &str,
    wanted: &[T],
    matches: impl Fn(&T) -> bool,
    got: impl Fn() -> G,
) -> bool {
    if wanted.is_empty() || wanted.iter().any(matches) {
        return false;
    }
    why.write(|why| {
        begin(why, name);
        list(why, wanted, " or ", |why, entry| {
            // A String takes whatever is written.
            let _ = write!(why, "{entry}");
        });
        let _ = write!(why, ", got {}", got());
    });
    true
}

pub(crate) fn fails_pattern<T: AsRef<str>>(why: &mut impl Sink, name: &str, wanted: &[String], got: &[T]) -> bool {
    if wanted.is_empty() || wanted.iter().any(|pattern| got.iter().any(|text| glob::matches(pattern, text.as_ref()))) {
        return false;
    }
    why.write(|why| {
        begin(why, name);
        list(why, wanted, " or ", |why, pattern| quote(why, pattern));
        why.push_str(if got.is_empty() { ", got none" } else { ", got " });
        list(why, got, " or ", |why, text| quote(why, text.as_ref()));
    });
    true
}

pub(crate) fn fails_station(why: &mut impl Sink, name: &str, wanted: &[String], address: std::net::IpAddr) -> bool {
    !wanted.is_empty() && fails_pattern(why, name, wanted, &[address.to_canonical().to_string()])
}

fn begin(why: &mut String, name: &str) {
    why.push_str(name);
    why.push_str(" wanted ");
}

/// `a or b or c or d (and 3 more)`
fn list<T>(reason: &mut String, entries: &[T], separator: &str, put: impl Fn(&mut String, &T)) {
    for (at, entry) in entries.iter().take(NAMED_ENTRIES).enumerate() {
        if at > 0 {
            reason.push_str(separator);
        }
        put(reason, entry);
    }
    more(reason, entries.len());
}

/// ` (and 3 more)`, if there are more than are named.
fn more(reason: &mut String, entries: usize) {
    if let Some(more) = entries.checked_sub(NAMED_ENTRIES).filter(|more| *more > 0) {
        // As above.
        let _ = write!(reason, " (and {more} more)");
    }
}

/// Quoted with control characters escaped: the text may come from the wire.
pub(crate) fn quote(reason: &mut String, text: &str) {
    let cut = if text.len() > NAMED_CHARS { text.char_indices().nth(NAMED_CHARS) } else { None };
    let (text, more) = cut.map_or((text, ""), |(cut, _)| (&text[..cut], ".."));
    // What most names are takes no look at each character's properties.
    if text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')) {
        reason.reserve(text.len() + 2);
        reason.push('"');
        reason.push_str(text);
        reason.push('"');
    } else {
        // As above.
        let _ = write!(reason, "{text:?}");
    }
    reason.push_str(more);
}
