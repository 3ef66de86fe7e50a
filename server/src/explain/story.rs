//! The story of one attempt in plain words, and what other attempts of its client add to it.
use super::account::{self, Account};
use super::{numbers, stage_name, which_when_radius_is_silent, windows_code};
use crate::attempts::{Attempt, Outcome};
use crate::outcome::{CloseReason, Failure, Fault, Stage};
use policy::network::Tunnel;

/// Attempts of one client this close together, in seconds, are one try of its user's: a profile of type Automatic tries one protocol after the other.
const ONE_TRY: u64 = 60;

/// As long as this, in seconds, others' success shows that a way is open.
const RECENT: u64 = 3600;

/// Attempts of an address looked at for whether it is one client's.
const NEIGHBOURS: usize = 64;

/// What the gateway knows beside the attempt itself.
#[derive(Debug, Clone)]
pub struct Around<'a> {
    /// Other attempts of the same client, newest first.
    same_client: Vec<&'a Attempt>,
    /// Attempts of other clients, newest first.
    others: Vec<&'a Attempt>,
    /// Those with a certificate of the same common name, newest first.
    same_name: Vec<&'a Attempt>,
    /// Attempts from the same address that may be anybody's of those who share it.
    unclear: usize,
    /// Of them, the last one before this attempt and the first after it, where nothing else came from the address between.
    next_to_it: Vec<&'a Attempt>,
    /// Seconds since a protected IKE message of an unknown SA came from this address.
    stranger_since: Option<u64>,
    /// Where sessions outlive nothing: seconds since this gateway started.
    running_for: u64,
    /// In which times of the day are told.
    zone: jiff::tz::TimeZone,
}

/// What is known of the way, and of time.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub stranger_since: Option<u64>,
    pub running_for: u64,
    pub zone: jiff::tz::TimeZone,
}

impl<'a> Around<'a> {
    /// Finds which of the other attempts are of the same client: by its user or its computer wherever it is, by its address where no two share that.
    /// `others`: all but this one, newest first.
    pub fn new(attempt: &Attempt, others: Vec<&'a Attempt>, circumstances: Circumstances) -> Self {
        let at_home = |other: &&Attempt| same_address(attempt, other) && other.started_at.abs_diff(attempt.started_at) <= RECENT;
        let shared = is_shared(attempt, others.iter().copied().filter(at_home));
        let Circumstances { stranger_since, running_for, zone } = circumstances;
        let next_to_it = next_to(attempt, &others);
        let same_name =
            others.iter().copied().filter(|other| common_name(attempt).is_some() && common_name(attempt) == common_name(other)).collect();
        let mut around = Self { same_name, same_client: vec![], others: vec![], unclear: 0, next_to_it, stranger_since, running_for, zone };
        for other in others {
            match same_client(attempt, other) {
                Some(true) => around.same_client.push(other),
                None if same_address(attempt, other) && !shared => around.same_client.push(other),
                None if same_address(attempt, other) => around.unclear += 1,
                Some(false) | None => around.others.push(other),
            }
        }
        around
    }
}

/// Those from the same address, right before and after, of whom nothing is known that speaks against their being the same client.
fn next_to<'a>(attempt: &Attempt, others: &[&'a Attempt]) -> Vec<&'a Attempt> {
    let home = || others.iter().copied().filter(|other| same_address(attempt, other));
    let before = home().filter(|other| other.number() < attempt.number()).max_by_key(|other| other.number());
    let after = home().filter(|other| other.number() > attempt.number()).min_by_key(|other| other.number());
    before.into_iter().chain(after).filter(|other| same_client(attempt, other).is_none()).collect()
}

fn same_address(one: &Attempt, other: &Attempt) -> bool {
    one.client.ip().to_canonical() == other.client.ip().to_canonical()
}

/// Several computers or users come from the attempt's address, as from behind a translator.
fn is_shared<'a>(attempt: &'a Attempt, others: impl Iterator<Item = &'a Attempt>) -> bool {
    let mut known: Vec<&Attempt> = Vec::new();
    let named = std::iter::once(attempt).chain(others).filter(|one| one.user.is_some() || one.machine.is_some());
    for one in named.take(NEIGHBOURS) {
        if known.iter().any(|other| same_client(one, other) == Some(false)) {
            return true;
        }
        known.push(one);
    }
    false
}

/// By name; `None`: what is known of them says neither.
fn same_client(one: &Attempt, other: &Attempt) -> Option<bool> {
    let computers = one.machine.as_deref().zip(other.machine.as_deref());
    let same_computer = computers.map(|(one, other)| Account::computer(one).is(&Account::computer(other)));
    let users = one.user.as_deref().zip(other.user.as_deref());
    match users.map(|(one, other)| account::same(one, other)) {
        Some(true) => Some(true),
        Some(false) => Some(same_computer == Some(true)),
        None => same_computer,
    }
}

/// A sentence each, in the order in which they are told.
pub fn tell(attempt: &Attempt, around: &Around<'_>) -> Vec<String> {
    let reached = if attempt.block.is_some() { KEPT_OUT } else { reached(attempt.stage) };
    let mut told = vec![opening(attempt), reached.to_owned(), ending(attempt)];
    if let Outcome::Failed(failure) = &attempt.outcome {
        let mended = mended(attempt, around);
        let is_past = mended.is_some();
        told.extend(mended);
        told.extend(windows_code(failure, attempt.tunnel).map(|code| format!("Windows shows error {code} to its user.")));
        told.extend(which_when_radius_is_silent(failure, attempt.tunnel).map(str::to_owned));
        told.extend(said(attempt));
        told.extend(attempt.nearest.iter().map(|nearest| nearest.told.clone()));
        told.extend(if is_past { Vec::new() } else { path(attempt, failure, around) });
        told.extend(every_protocol(attempt, around));
        told.extend(now_and_then(attempt, failure, around));
        told.extend(elsewhere(attempt, failure, around));
    }
    told.extend(repeated(attempt, around));
    if around.unclear > 0 {
        told.push(format!(
            "Several clients come from {}: {} more of its attempts, of which no user or computer is known, may be of any of them and are not counted here.",
            attempt.client.ip(),
            around.unclear
        ));
    }
    told
}

/// Title of the row of the table for a RADIUS server without an answer: whoever got one is not meant.
const SILENT_RADIUS: &str = "no answer comes from RADIUS";

/// What may be behind the numbers that Windows shows for a failure.
pub fn cases(attempt: &Attempt) -> Vec<&'static numbers::Case> {
    let Outcome::Failed(failure) = &attempt.outcome else { return Vec::new() };
    let shown = windows_code(failure, attempt.tunnel).unwrap_or_default();
    let mut cases: Vec<&numbers::Case> = Vec::new();
    for number in shown.split([' ', ',']).filter_map(numbers::number) {
        for case in numbers::cases(&number) {
            if case.title == SILENT_RADIUS && (failure.stage, failure.fault) != (Stage::Radius, Fault::Dependency) {
                continue;
            }
            if case.tunnels.iter().any(|tunnel| tunnel.eq_ignore_ascii_case(&attempt.tunnel.to_string())) && !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    cases
}

/// Whether the failure can have one cause only, so that the other rows of the table do not matter.
pub fn is_certain(attempt: &Attempt) -> bool {
    let Outcome::Failed(failure) = &attempt.outcome else { return true };
    let guessed = match (failure.stage, failure.fault) {
        (_, Fault::Silence) | (Stage::Radius, Fault::Dependency) => true,
        // What a RADIUS server says without a reason.
        (Stage::Auth | Stage::Eap | Stage::Radius, Fault::Refused) => failure.eap.is_none() && !failure.cause.contains("E="),
        (Stage::IkeAuth | Stage::Tls, Fault::PeerIncompatible) => true,
        _ => false,
    };
    attempt.block.is_some() || !guessed
}

/// What RADIUS said of a user whom the policies then refused.
fn said(attempt: &Attempt) -> Option<String> {
    (!attempt.received.is_empty()).then(|| format!("RADIUS sent: {}.", attempt.received.join(", ")))
}

/// It works now.
fn mended(attempt: &Attempt, around: &Around<'_>) -> Option<String> {
    let later = |other: &&&Attempt| other.number() > attempt.number() && other.stage == Stage::Up;
    let good = around.same_client.iter().filter(later).max_by_key(|other| other.number())?;
    let now = if good.outcome == Outcome::Up { ", and is connected now" } else { "" };
    Some(format!("The same client has connected since, at {}{now}: `evergate explain {}`.", moment(good.started_at, &around.zone), good.id))
}

/// A unix time as people write it.
pub fn moment(unix: u64, zone: &jiff::tz::TimeZone) -> String {
    let timestamp = i64::try_from(unix).ok().and_then(|unix| jiff::Timestamp::from_second(unix).ok());
    timestamp.map_or_else(|| unix.to_string(), |at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn opening(attempt: &Attempt) -> String {
    let who = attempt.user.as_deref().unwrap_or("Somebody whose name is not known yet");
    let tunnel = name(attempt.tunnel);
    let computer = attempt.machine.as_deref().map(|machine| format!(" on computer {machine}")).unwrap_or_default();
    let when = attempt.ended_after.map(|after| format!(", {:.1} s long", after.as_secs_f64())).unwrap_or_default();
    format!("{who}{computer} tried to connect over {tunnel} from {} to {}{when}.", attempt.client, attempt.gateway)
}

fn name(tunnel: Tunnel) -> &'static str {
    match tunnel {
        Tunnel::Ikev2 => "IKEv2",
        Tunnel::Sstp => "SSTP",
    }
}

const KEPT_OUT: &str = "Somebody with access to this gateway has put it on the block list, which decides before RADIUS and policies.";

/// How far it came.
fn reached(stage: Stage) -> &'static str {
    match stage {
        Stage::Tls => "It came as far as the TLS handshake; no request was made yet.",
        Stage::Http => "TLS was set up; then the HTTP request of SSTP was due.",
        Stage::Sstp => "TLS and HTTP were good; then SSTP was agreed upon.",
        Stage::Lcp => "SSTP was connected; then PPP was agreed upon (LCP).",
        Stage::SaInit => "The first message of IKE came in, and was answered.",
        Stage::IkeAuth => "Ciphers and keys were agreed upon; then the sides prove who they are (IKE_AUTH).",
        Stage::Auth => "PPP was agreed upon; then user name and password were asked for.",
        Stage::Eap => "The tunnel was prepared; then EAP asked the user who it is.",
        Stage::Radius => "The login was put before the RADIUS server.",
        Stage::Policy => "Who it is was proved; then the network policies decided.",
        Stage::Address => "A policy let it in; then it needed an address.",
        Stage::CryptoBinding => "The login was good; then the client had to prove that login and TLS connection belong together.",
        Stage::Ipcp => "The login was good; then PPP agreed upon addresses.",
        Stage::ChildSa => "The login was good; then the SA for its packets was made.",
        Stage::Up => "It was connected.",
    }
}

fn ending(attempt: &Attempt) -> String {
    match &attempt.outcome {
        Outcome::Running => "It is still under way.".into(),
        Outcome::Up => "It is up.".into(),
        Outcome::Ended(reason) => format!("It ended: {}.", ended(*reason)),
        Outcome::Failed(failure) => {
            let stop = if failure.cause.ends_with(['.', '?']) { "" } else { "." };
            format!("It failed in stage {}: {}{stop}", stage_name(failure.stage), failure.cause)
        }
    }
}

fn ended(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::PeerDeleted => "the client disconnected",
        CloseReason::PeerLost => "the client answered no more",
        CloseReason::Operator => "an operator ended it",
        CloseReason::IdleTimeout => "nothing was sent for as long as its idle timeout",
        CloseReason::SessionTimeout => "its session timeout was reached",
        CloseReason::Replaced => "a newer session of the same client took its place",
        CloseReason::Failed => "it failed",
        CloseReason::Shutdown => "the gateway was stopped",
        CloseReason::Unaccounted => "no accounting server confirmed it in time",
    }
}

/// IKE_SA_INIT was answered, and nothing came after it.
fn path(attempt: &Attempt, failure: &Failure, around: &Around<'_>) -> Vec<String> {
    let silent = attempt.tunnel == Tunnel::Ikev2 && failure.fault == Fault::Silence && failure.stage <= Stage::IkeAuth;
    if !silent {
        return Vec::new();
    }
    let mut told = Vec::new();
    let astray = around.stranger_since.is_some_and(|since| since < RECENT);
    if astray {
        let restarted = if around.running_for < RECENT { " (this gateway was started not long ago: that may be all)" } else { "" };
        told.push(format!(
            "From the same address came protected messages of an IKE SA that this gateway does not know{restarted}: a balancer sends the client's packets to UDP 500 and 4500 to different gateways. Give it affinity by source address over both ports."
        ));
    }
    let through = |other: &&Attempt| {
        other.tunnel == Tunnel::Ikev2
            && other.stage > Stage::IkeAuth
            && other.started_at + RECENT >= attempt.started_at
            && other.started_at <= attempt.started_at + RECENT
    };
    told.push(match around.others.iter().find(|other| through(other)) {
        Some(other) => format!(
            "Others come through (attempt {} from {}): what stops this client lies on its side, a firewall that blocks UDP 4500 or drops IP fragments, or there is no machine certificate on it (Windows: 13806).",
            other.id,
            other.client.ip()
        ),
        None => "Nobody else came further over IKEv2 within the hour: look first at UDP 4500 in the firewall of this host, then in one before it. `evergate doctor` reads the rules of this host.".into(),
    });
    if !astray {
        told.push(format!(
            "Where a balancer stands before several gateways, perhaps it sends UDP 4500 of this client to another one: `evergate explain {}` there says so.",
            attempt.client.ip()
        ));
    }
    told
}

/// One protocol after the other failed: what Windows calls 800.
fn every_protocol(attempt: &Attempt, around: &Around<'_>) -> Option<String> {
    let near = |other: &&Attempt| other.tunnel != attempt.tunnel && other.started_at.abs_diff(attempt.started_at) <= ONE_TRY;
    let failed = |other: &&Attempt| matches!(other.outcome, Outcome::Failed(_));
    let distance = |other: &&Attempt| (other.number().abs_diff(attempt.number()), other.number() < attempt.number());
    let partner = |all: &[&'_ Attempt]| {
        all.iter().copied().filter(near).filter(failed).min_by_key(distance).map(|other| (other.tunnel, other.id.clone()))
    };
    let (tunnel, id) = partner(&around.same_client).or_else(|| partner(&around.next_to_it))?;
    Some(format!(
        "The same client failed over {} within a minute (attempt {}): a profile of type Automatic shows 800 for the two together. `evergate explain {}` tells of the other.",
        name(tunnel),
        id,
        id
    ))
}

/// Of the certificate that the client showed in IKE.
fn issuer(attempt: &Attempt) -> Option<&str> {
    attempt.shows.as_ref().map(|(_, issuer)| issuer.as_str())
}

/// The same of its holder.
fn common_name(attempt: &Attempt) -> Option<&str> {
    let (subject, _) = attempt.shows.as_ref()?;
    subject.split(',').find_map(|part| part.trim().strip_prefix("CN="))
}

const CHOICE: &str = "Windows picks one of several by itself; an issuer or purpose filter in the profile makes it choose the right one.";

/// Certificates of the client that differ between what worked and what did not.
fn now_and_then(attempt: &Attempt, failure: &Failure, around: &Around<'_>) -> Option<String> {
    if failure.stage != Stage::IkeAuth || failure.fault != Fault::Refused {
        return None;
    }
    let alike = around.same_name.iter().chain(&around.same_client);
    let good = alike.copied().find(|other| other.tunnel == attempt.tunnel && other.stage == Stage::Up)?;
    let then = moment(good.started_at, &around.zone);
    Some(match (issuer(good), issuer(attempt)) {
        (Some(one), Some(other)) if one != other => {
            format!(
                "The certificate's issuer differs from that of the one accepted at {then} ({one} vs {other}; attempt {}). {CHOICE}",
                good.id
            )
        }
        (Some(one), Some(_)) => {
            format!(
                "The same client was let in at {then} with a certificate of the same issuer, {one} (attempt {}): the issuer is not what differs.",
                good.id
            )
        }
        _ => format!(
            "The same client came in at {then} (attempt {}): if it has several certificates, compare the one it showed then. {CHOICE}",
            good.id
        ),
    })
}

/// How the same client fared at other addresses, which tells the network it is in from everything else.
fn elsewhere(attempt: &Attempt, failure: &Failure, around: &Around<'_>) -> Option<String> {
    let near = |other: &&&Attempt| !same_address(attempt, other) && other.started_at.abs_diff(attempt.started_at) <= RECENT;
    let known = |other: &Attempt| {
        let computer = other.machine.as_deref().map(|machine| format!("computer {machine}"));
        let by_user = other.user.as_deref().zip(attempt.user.as_deref()).is_some_and(|(one, two)| account::same(one, two));
        if by_user { other.user.clone() } else { computer }
    };
    let there = |other: &Attempt| format!("over {} from {} (attempt {})", name(other.tunnel), other.client.ip(), other.id);
    if let Some(good) = around.same_client.iter().filter(near).find(|other| other.stage == Stage::Up) {
        let who = known(good).unwrap_or_else(|| "the same client".into());
        let because = match (failure.fault, good.tunnel == attempt.tunnel) {
            (Fault::Silence, true) => ": account and computer are good, look at the network that it is in now",
            (Fault::Silence, false) => {
                ": account and computer are good; the network that it is in now stops this tunnel type, or something does on the computer"
            }
            _ => "",
        };
        return Some(format!("Within the hour {who} was connected {}{because}.", there(good)));
    }
    let bad = around.same_client.iter().filter(near).find(|other| matches!(other.outcome, Outcome::Failed(_)))?;
    let Outcome::Failed(other) = &bad.outcome else { return None };
    let same = if (other.stage, other.fault) == (failure.stage, failure.fault) {
        ", in the same way: the network that it is in is not the cause"
    } else {
        ""
    };
    Some(format!("Within the hour {} failed {}{same}.", known(bad).unwrap_or_else(|| "the same client".into()), there(bad)))
}

fn repeated(attempt: &Attempt, around: &Around<'_>) -> Option<String> {
    let Outcome::Failed(failure) = &attempt.outcome else { return None };
    let alike = |other: &&&Attempt| matches!(&other.outcome, Outcome::Failed(it) if (it.stage, it.fault) == (failure.stage, failure.fault));
    let recent = |other: &&&Attempt| other.started_at.abs_diff(attempt.started_at) <= RECENT && other.tunnel == attempt.tunnel;
    let times = around.same_client.iter().filter(recent).filter(alike).count();
    (times > 0).then(|| format!("The same happened to this client {times} more time{} within the hour.", if times == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::{Attempts, Start};
    use std::time::{Duration, Instant};

    struct Book {
        attempts: Attempts,
        now: Instant,
    }

    impl Book {
        fn new() -> Self {
            Self { attempts: Attempts::new(1, 100), now: Instant::now() }
        }

        fn add(&mut self, tunnel: Tunnel, client: &str, at: u64, stage: Stage, outcome: Outcome) -> String {
            let client = client.parse().unwrap();
            let gateway = "192.0.2.1:500".parse().unwrap();
            let key = self.attempts.start(Start { tunnel, stage, client, gateway, now: self.now, unix_time: at });
            self.attempts.finish(key, self.now + Duration::from_secs(3), outcome);
            self.attempts.get(key).unwrap().id.to_string()
        }

        fn told(&self, id: &str, stranger_since: Option<u64>) -> String {
            let attempt = self.attempts.find(id).unwrap();
            let others = self.attempts.iter().filter(|other| other.id != attempt.id).collect();
            let circumstances = Circumstances { stranger_since, running_for: 10_000, zone: jiff::tz::TimeZone::UTC };
            tell(attempt, &Around::new(attempt, others, circumstances)).join("\n")
        }

        fn named(&mut self, at: (&str, u64), who: (Option<&str>, Option<&str>), outcome: Outcome) -> String {
            let stage = match &outcome {
                Outcome::Failed(failure) => failure.stage,
                _ => Stage::Up,
            };
            let id = self.add(Tunnel::Ikev2, at.0, at.1, stage, outcome);
            let key = self.attempts.key_of(&id);
            let attempt = self.attempts.get_mut(key).unwrap();
            who.0.into_iter().for_each(|user| attempt.set_user(user.into()));
            who.1.into_iter().for_each(|machine| attempt.set_machine(machine));
            id
        }
    }

    fn failed(stage: Stage, fault: Fault) -> Outcome {
        Outcome::Failed(Failure { stage, fault, notify: None, eap: None, remedy: None, cause: "the peer has been silent".into() })
    }

    #[test]
    fn one_protocol_after_the_other_is_800() {
        let mut book = Book::new();
        let ike = book.add(Tunnel::Ikev2, "198.51.100.7:500", 1000, Stage::IkeAuth, failed(Stage::IkeAuth, Fault::Silence));
        let sstp = book.add(Tunnel::Sstp, "198.51.100.7:40000", 1040, Stage::Tls, failed(Stage::Tls, Fault::Silence));
        for (one, other) in [(&ike, &sstp), (&sstp, &ike)] {
            let told = book.told(one, None);
            assert!(told.contains("shows 800") && told.contains(&format!("evergate explain {other}")), "{told}");
        }
        let again = book.add(Tunnel::Ikev2, "198.51.100.7:500", 1050, Stage::IkeAuth, failed(Stage::IkeAuth, Fault::Silence));
        let after = book.add(Tunnel::Sstp, "198.51.100.7:40000", 1060, Stage::Tls, failed(Stage::Tls, Fault::Silence));
        assert!(book.told(&again, None).contains(&format!("evergate explain {after}")), "what came after it, not before");
        let late = book.add(Tunnel::Sstp, "198.51.100.7:40001", 5000, Stage::Tls, failed(Stage::Tls, Fault::Silence));
        assert!(!book.told(&late, None).contains("shows 800"));
    }

    #[test]
    fn whose_firewall_it_is() {
        let mut book = Book::new();
        let stuck = book.add(Tunnel::Ikev2, "198.51.100.7:500", 1000, Stage::IkeAuth, failed(Stage::IkeAuth, Fault::Silence));
        let told = book.told(&stuck, None);
        assert!(
            told.contains("Windows shows error 809 to its user.") && told.contains("in the firewall of this host, then in one before it"),
            "{told}"
        );
        let fine = book.add(Tunnel::Ikev2, "198.51.100.8:4500", 1100, Stage::Up, Outcome::Up);
        let told = book.told(&stuck, None);
        assert!(told.contains(&format!("attempt {fine} from 198.51.100.8")) && told.contains("on its side"), "{told}");
        assert!(book.told(&stuck, Some(5)).contains("affinity by source address"));
        assert!(!book.told(&fine, Some(5)).contains("affinity"));
    }

    #[test]
    fn what_repeats_is_counted_and_the_table_adds_its_causes() {
        let mut book = Book::new();
        let mut id = String::new();
        for at in [100, 1000, 1060, 1120] {
            id = book.add(Tunnel::Ikev2, "198.51.100.7:500", 4000 + at, Stage::Radius, failed(Stage::Radius, Fault::Refused));
        }
        assert!(book.told(&id, None).contains("3 more times"), "{}", book.told(&id, None));
        let cases = cases(book.attempts.find(&id).unwrap());
        assert!(cases.len() == 3 && cases[0].numbers.contains_key("691") && cases[1].numbers.contains_key("812"), "{cases:?}");
        let silent = book.add(Tunnel::Ikev2, "198.51.100.7:500", 6000, Stage::Radius, failed(Stage::Radius, Fault::Dependency));
        assert!(super::cases(book.attempts.find(&silent).unwrap()).iter().any(|case| case.title == SILENT_RADIUS));
    }

    #[test]
    fn a_user_is_one_client_wherever_it_is() {
        let mut book = Book::new();
        let up = book.named(("203.0.113.9:4500", 1000), (Some("EXAMPLE\\ann"), None), Outcome::Up);
        let stuck = book.named(("198.51.100.7:4500", 1500), (Some("ann@example.com"), None), failed(Stage::Eap, Fault::Silence));
        let told = book.told(&stuck, None);
        assert!(told.contains(&format!("was connected over IKEv2 from 203.0.113.9 (attempt {up})")), "{told}");
        assert!(told.contains("look at the network"), "{told}");
        let again = book.named(("192.0.2.77:4500", 1600), (Some("ann"), None), failed(Stage::Eap, Fault::Silence));
        assert!(book.told(&again, None).contains("1 more time within the hour"), "{}", book.told(&again, None));
    }

    #[test]
    fn issuers_of_certificates_are_compared() {
        let mut book = Book::new();
        let mut shows = |at, issuer: &str, outcome| {
            let id = book.named(("198.51.100.7:4500", at), (None, None), outcome);
            let key = book.attempts.key_of(&id);
            book.attempts.get_mut(key).unwrap().client_shows(book.now, "CN=pc1", issuer);
            id
        };
        let good = shows(1000, "CN=A", Outcome::Up);
        let refused = || failed(Stage::IkeAuth, Fault::Refused);
        let (other, same) = (shows(1100, "CN=B", refused()), shows(1200, "CN=A", refused()));
        let told = book.told(&other, None);
        let wanted = format!("issuer differs from that of the one accepted at 1970-01-01 00:16:40 (CN=A vs CN=B; attempt {good})");
        assert!(told.contains(&wanted), "{told}");
        assert!(book.told(&same, None).contains("a certificate of the same issuer, CN=A"), "{}", book.told(&same, None));
        let mut shared = |at, user: &str| book.named(("198.51.100.7:4500", at), (Some(user), None), Outcome::Up);
        shared(1300, "ann");
        shared(1310, "bob");
        assert!(book.told(&other, None).contains(&wanted), "its name tells it from others behind the same address");
    }

    #[test]
    fn who_has_connected_since_is_told_so() {
        let mut book = Book::new();
        let before = book.named(("198.51.100.7:4500", 900), (Some("ann"), None), Outcome::Up);
        let failed_one = book.named(("198.51.100.7:4500", 1000), (Some("ann"), None), failed(Stage::Radius, Fault::Refused));
        assert!(!book.told(&failed_one, None).contains("connected since"), "{before} was before it");
        let up = book.named(("198.51.100.7:4500", 1800), (Some("ann@example.com"), None), Outcome::Up);
        let told = book.told(&failed_one, None);
        let wanted = format!("has connected since, at 1970-01-01 00:30:00, and is connected now: `evergate explain {up}`");
        assert!(told.contains(&wanted), "{told}");
    }

    #[test]
    fn two_numbers_are_told_apart_where_radius_is_silent() {
        let mut book = Book::new();
        let id = book.add(Tunnel::Ikev2, "198.51.100.7:4500", 1000, Stage::Radius, failed(Stage::Radius, Fault::Dependency));
        let told = book.told(&id, None);
        assert!(told.contains("809 or 691") && told.contains("809 where the client has given up before"), "{told}");
        let id = book.add(Tunnel::Sstp, "198.51.100.7:4500", 1000, Stage::Radius, failed(Stage::Radius, Fault::Dependency));
        assert!(book.told(&id, None).contains("718 where the client gives up first"));
    }

    #[test]
    fn what_radius_sent_is_told_where_policies_refuse() {
        let mut book = Book::new();
        let id = book.named(("198.51.100.7:4500", 1000), (Some("ann"), None), failed(Stage::Policy, Fault::Refused));
        let key = book.attempts.key_of(&id);
        let sent = [("Class".to_owned(), "staff".to_owned()), ("Session-Timeout".to_owned(), "28800".to_owned())];
        book.attempts.get_mut(key).unwrap().received(&sent, None);
        let told = book.told(&id, None);
        assert!(told.contains("RADIUS sent: Class=staff, Session-Timeout=28800."), "{told}");
        assert!(is_certain(book.attempts.find(&id).unwrap()));
    }

    #[test]
    fn a_computer_joins_its_device_tunnel_and_its_users() {
        let mut book = Book::new();
        let device = book.named(("203.0.113.9:4500", 1000), (Some("host/pc1.example.com"), Some("pc1.example.com")), Outcome::Up);
        let user = book.named(("198.51.100.7:4500", 1100), (Some("ann"), Some("PC1")), failed(Stage::Eap, Fault::Silence));
        let told = book.told(&user, None);
        assert!(told.contains(&format!("computer pc1.example.com was connected over IKEv2 from 203.0.113.9 (attempt {device})")), "{told}");
    }

    #[test]
    fn users_behind_one_translator_are_not_mixed() {
        let mut book = Book::new();
        let refused = || failed(Stage::Radius, Fault::Refused);
        let nat = |port: u16| format!("198.51.100.7:{port}");
        book.named((&nat(1), 1000), (Some("bob@example.com"), None), refused());
        book.named((&nat(2), 1010), (None, None), refused());
        let ann = book.named((&nat(3), 1020), (Some("ann@example.com"), None), refused());
        let told = book.told(&ann, None);
        assert!(!told.contains("more time") && told.contains("1 more of its attempts"), "{told}");
        let next = book.add(Tunnel::Sstp, &nat(4), 1030, Stage::Tls, failed(Stage::Tls, Fault::Silence));
        assert!(
            book.told(&ann, None).contains(&format!("shows 800 for the two together. `evergate explain {next}`")),
            "one right after the other"
        );
        book.named((&nat(5), 1031), (Some("bob@example.com"), None), refused());
        let last = book.add(Tunnel::Sstp, &nat(6), 1032, Stage::Tls, failed(Stage::Tls, Fault::Silence));
        assert!(!book.told(&ann, None).contains(&last), "somebody else came between");
        let mut alone = Book::new();
        alone.named((&nat(2), 1010), (None, None), refused());
        let ann = alone.named((&nat(3), 1020), (Some("ann@example.com"), None), refused());
        assert!(alone.told(&ann, None).contains("1 more time within the hour"), "nobody else is there: {}", alone.told(&ann, None));
    }
}
