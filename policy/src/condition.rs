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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match<R = String> {
    Yes,
    /// Why not.
    No(R),
    Unproved(Unproved),
}

/// Why something does not match: words, or nothing where nobody reads them, which costs nothing either.
pub(crate) trait Reason: Sized {
    fn say(words: impl FnOnce() -> String) -> Self;
    /// As part of another reason.
    fn words(&self) -> &str;
}

impl Reason for String {
    fn say(words: impl FnOnce() -> String) -> Self {
        words()
    }

    fn words(&self) -> &str {
        self
    }
}

impl Reason for () {
    fn say(_: impl FnOnce() -> String) -> Self {}

    fn words(&self) -> &str {
        ""
    }
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
    /// Whether they match; otherwise the first that fails, in the order of the fields.
    pub(crate) fn evaluate<R: Reason>(&self, facts: &Facts<'_>) -> Match<R> {
        if let Some(reason) = self.failing(facts) {
            return Match::No(reason);
        }
        let mut unproved = self.unproved(facts);
        for group in [self.evaluate_all(facts), self.evaluate_any(facts), self.evaluate_not(facts)] {
            match group {
                Match::Yes => {}
                Match::No(reason) => return Match::No(reason),
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

    fn evaluate_all<R: Reason>(&self, facts: &Facts<'_>) -> Match<R> {
        let mut all = Match::Yes;
        for group in &self.all {
            match group.evaluate::<R>(facts) {
                Match::Yes => {}
                Match::Unproved(what) => all = Match::Unproved(what),
                Match::No(reason) => return Match::No(R::say(|| group_reason("all: ", &[reason.words()], ""))),
            }
        }
        all
    }

    fn evaluate_any<R: Reason>(&self, facts: &Facts<'_>) -> Match<R> {
        let (mut reasons, mut unproved) = (Vec::new(), None);
        for group in &self.any {
            match group.evaluate::<R>(facts) {
                Match::Yes => return Match::Yes,
                Match::Unproved(what) => unproved = Some(what),
                Match::No(reason) => reasons.push(reason),
            }
        }
        match unproved {
            _ if self.any.is_empty() => Match::Yes,
            Some(what) => Match::Unproved(what),
            None => Match::No(R::say(|| group_reason("any: ", &reasons.iter().map(Reason::words).collect::<Vec<_>>(), ""))),
        }
    }

    fn evaluate_not<R: Reason>(&self, facts: &Facts<'_>) -> Match<R> {
        let mut not = Match::Yes;
        for group in &self.not {
            match group.evaluate::<()>(facts) {
                Match::Yes => return Match::No(R::say(|| group_reason("not: ", &group.words(), " matches"))),
                Match::Unproved(what) => not = Match::Unproved(what),
                Match::No(()) => {}
            }
        }
        not
    }

    /// The first of the lists that fails. A condition on what is unproved fails nobody here.
    fn failing<R: Reason>(&self, facts: &Facts<'_>) -> Option<R> {
        fails("tunnel", &self.tunnel, |tunnel| *tunnel == facts.tunnel, || facts.tunnel.to_string())
            .or_else(|| self.failing_of_method(facts))
            .or_else(|| self.failing_of_name(facts))
            .or_else(|| fails("client", &self.client, |range| range.contains(facts.client), || facts.client.to_canonical().to_string()))
            .or_else(|| fails("gateway", &self.gateway, |range| range.contains(facts.gateway), || facts.gateway.to_canonical().to_string()))
            .or_else(|| fails_station("calling_station_id", &self.calling_station_id, facts.client))
            .or_else(|| fails_station("called_station_id", &self.called_station_id, facts.gateway))
            .or_else(|| fails("port_type", &self.port_type, |wanted| *wanted == facts.port_type, || facts.port_type.to_string()))
            .or_else(|| fails_pattern("listener", &self.listener, &[facts.listener]))
            .or_else(|| fails_pattern("server_name", &self.server_name, facts.server_name.as_slice()))
            .or_else(|| self.failing_of_certificate(facts))
            .or_else(|| self.failing_of_reply(facts))
            .or_else(|| fails("time", &self.time, |window| window.contains(facts.time), || facts.time.to_string()))
    }

    /// Nobody proves a certificate over SSTP; which of the other methods it will be is known when the login begins.
    fn failing_of_method<R: Reason>(&self, facts: &Facts<'_>) -> Option<R> {
        let open = !facts.authenticated && facts.tunnel == Tunnel::Sstp;
        let fits = |method: &Method| if open { *method != Method::Certificate } else { *method == facts.method };
        let got = || if open { "no certificate over sstp".into() } else { facts.method.to_string() };
        let eap_type = if facts.authenticated { self.eap_type.as_slice() } else { &[] };
        fails("method", &self.method, fits, got).or_else(|| fails_pattern("eap_type", eap_type, facts.eap_type.as_slice()))
    }

    fn failing_of_name<R: Reason>(&self, facts: &Facts<'_>) -> Option<R> {
        let known = facts.authenticated;
        let user = if known && facts.confirmed { self.user.as_slice() } else { &[] };
        let machine = if known && (facts.confirmed || facts.machine.is_some()) { self.machine.as_slice() } else { &[] };
        fails_pattern("user", user, &[facts.user]).or_else(|| fails_pattern("machine", machine, facts.machine.as_slice()))
    }

    fn failing_of_certificate<R: Reason>(&self, facts: &Facts<'_>) -> Option<R> {
        if facts.certificate_hidden || !facts.authenticated {
            return None;
        }
        let of = facts.certificate;
        fails_pattern("certificate_subject", &self.certificate_subject, of.map(|of| &of.subject).as_slice())
            .or_else(|| fails_pattern("certificate_issuer", &self.certificate_issuer, of.map(|of| &of.issuer).as_slice()))
            .or_else(|| fails_pattern("certificate_san", &self.certificate_san, of.map(|of| of.san.as_slice()).unwrap_or_default()))
            .or_else(|| fails_pattern("certificate_eku", &self.certificate_eku, of.map(|of| of.eku.as_slice()).unwrap_or_default()))
            .or_else(|| {
                let template = of.and_then(|of| of.template.as_deref());
                fails_pattern("certificate_template", &self.certificate_template, template.as_slice())
            })
    }

    fn failing_of_reply<R: Reason>(&self, facts: &Facts<'_>) -> Option<R> {
        if !facts.authenticated {
            return None;
        }
        let class: Vec<_> =
            if self.class.is_empty() { &[] } else { facts.class }.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        let has = |wanted: &Attribute| {
            facts.reply.iter().any(|(name, value)| name.eq_ignore_ascii_case(&wanted.name) && glob::matches(&wanted.value, value))
        };
        let got = || {
            let asked = |name: &str| self.reply.iter().any(|wanted| wanted.name.eq_ignore_ascii_case(name));
            let got: Vec<_> = facts.reply.iter().filter(|(name, _)| asked(name)).collect();
            let mut text = String::from(if got.is_empty() { "none" } else { "" });
            list(&mut text, &got, " or ", |text, (name, value)| {
                text.push_str(name);
                text.push('=');
                quote(text, value);
            });
            text
        };
        fails_pattern("class", &self.class, &class)
            .or_else(|| fails_pattern("filter_id", &self.filter_id, facts.filter_id))
            .or_else(|| fails_pattern("group", &self.group, facts.group))
            .or_else(|| fails_pattern("radius_server", &self.radius_server, facts.radius_server.as_slice()))
            .or_else(|| fails_pattern("radius_group", &self.radius_group, facts.radius_group.as_slice()))
            .or_else(|| fails("reply", &self.reply, has, got))
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

/// Why a list fails: `tunnel wanted sstp, got ikev2`.
pub(crate) fn fails<T: fmt::Display, R: Reason>(
    name: &str,
    wanted: &[T],
    matches: impl Fn(&T) -> bool,
    got: impl Fn() -> String,
) -> Option<R> {
    if wanted.is_empty() || wanted.iter().any(matches) {
        return None;
    }
    Some(R::say(|| {
        let mut reason = started(name);
        list(&mut reason, wanted, " or ", |reason, entry| {
            // A String takes whatever is written.
            let _ = write!(reason, "{entry}");
        });
        reason.push_str(", got ");
        reason.push_str(&got());
        reason
    }))
}

pub(crate) fn fails_pattern<T: AsRef<str>, R: Reason>(name: &str, wanted: &[String], got: &[T]) -> Option<R> {
    if wanted.is_empty() || wanted.iter().any(|pattern| got.iter().any(|text| glob::matches(pattern, text.as_ref()))) {
        return None;
    }
    Some(R::say(|| {
        let mut reason = started(name);
        list(&mut reason, wanted, " or ", |reason, pattern| quote(reason, pattern));
        reason.push_str(", got ");
        if got.is_empty() {
            reason.push_str("none");
        }
        list(&mut reason, got, " or ", |reason, text| quote(reason, text.as_ref()));
        reason
    }))
}

pub(crate) fn fails_station<R: Reason>(name: &str, wanted: &[String], address: std::net::IpAddr) -> Option<R> {
    if wanted.is_empty() { None } else { fails_pattern(name, wanted, &[address.to_canonical().to_string()]) }
}

fn started(name: &str) -> String {
    let mut reason = String::with_capacity(96);
    reason.push_str(name);
    reason.push_str(" wanted ");
    reason
}

/// `a or b or c or d (and 3 more)`
fn list<T>(reason: &mut String, entries: &[T], separator: &str, put: impl Fn(&mut String, &T)) {
    for (at, entry) in entries.iter().take(NAMED_ENTRIES).enumerate() {
        if at > 0 {
            reason.push_str(separator);
        }
        put(reason, entry);
    }
    if let Some(more) = entries.len().checked_sub(NAMED_ENTRIES).filter(|more| *more > 0) {
        // As above.
        let _ = write!(reason, " (and {more} more)");
    }
}

/// Quoted with control characters escaped: the text may come from the wire.
pub(crate) fn quote(reason: &mut String, text: &str) {
    let (text, more) = match text.char_indices().nth(NAMED_CHARS) {
        Some((cut, _)) => (&text[..cut], ".."),
        None => (text, ""),
    };
    // What most names are takes no look at each character's properties.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        reason.push('"');
        reason.push_str(text);
        reason.push('"');
    } else {
        // As above.
        let _ = write!(reason, "{text:?}");
    }
    reason.push_str(more);
}

/// However deep the groups are, the reason stays a line.
fn group_reason<T: AsRef<str>>(kind: &str, parts: &[T], end: &str) -> String {
    let mut reason = String::with_capacity(192);
    reason.push_str(kind);
    list(&mut reason, parts, "; ", |reason, part| reason.push_str(part.as_ref()));
    reason.push_str(end);
    if reason.len() > NESTED_BYTES {
        let cut = (0..=NESTED_BYTES).rev().find(|&at| reason.is_char_boundary(at)).unwrap_or(0);
        reason.truncate(cut);
        reason.push_str("..");
    }
    reason
}
