//! Answers of the gateway, for people.
use super::block;
use super::text::{Cell, Mark, Style, bit_rate, cell, clean, count, date, duration, heading, octets, pairs, table, time, wrap};
use crate::api::types::{
    AccountingStatus, AttemptDetail, AttemptList, Disconnected, Done, DrainStatus, EapCertificate, LocalStatus, LockoutStatus,
    NpsLogStatus, Outcome, PoolStatus, RadiusStatus, RevocationStatus, Session, SessionList, Status, TelemetryStatus,
};
use crate::certificates::{Expiry, SOON_DAYS};
use crate::explain;
use std::collections::BTreeMap;
use std::io::{Result, Write};

/// Columns of running text.
pub(super) const WIDTH: usize = 100;
/// What a cut cell keeps at least, where a terminal is too narrow.
const NARROWEST: usize = 30;
/// Age of an accounting record, in seconds, from which on it is marked.
const OLD_RECORD: u64 = 300;
/// Share of a pool, in percent, from which its usage is marked.
const NEARLY_FULL: u64 = 90;

pub(super) fn draining(shown: &DrainStatus, _: Style, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", drain(shown))
}

pub(super) fn drain_cancelled(_: &Done, _: Style, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "the gateway takes clients again")
}

pub(super) fn status(status: &Status, style: Style, out: &mut dyn Write) -> Result<()> {
    let running = format!("{} (since {}, pid {})", duration(status.uptime_secs), time(status.started_at), status.pid);
    let rows = [
        ("Gateway", format!("{}, Evergate {}", status.name, status.version)),
        ("Running", running),
        ("Sessions", format!("{} established, {} half-open", status.sessions, status.half_open)),
    ];
    let drain = status.drain.as_ref().map(|shown| ("Draining", drain(shown)));
    pairs(out, style, &rows.into_iter().chain(drain).collect::<Vec<_>>())?;
    heading(out, style, "Listeners")?;
    let rows = status.listeners.iter().flat_map(|listener| {
        let row = move |socket: &crate::api::types::SocketStatus| {
            vec![cell(&listener.name), cell(&listener.protocol), cell(socket.address.to_string()), count(socket.packets)]
        };
        listener.sockets.iter().map(row)
    });
    table(out, style, &["NAME", "PROTOCOL", "ADDRESS", "PACKETS"], &rows.collect::<Vec<_>>())?;
    if !status.certificates.is_empty() {
        heading(out, style, "Certificates")?;
        let rows: Vec<_> = status.certificates.iter().map(certificate).collect();
        table(out, style, &["NAME", "SUBJECT", "EXPIRES"], &rows)?;
    }
    if !status.revocation.is_empty() {
        heading(out, style, "Revocation lists")?;
        let rows: Vec<_> = status.revocation.iter().map(revocation).collect();
        table(out, style, &["FROM", "ISSUER", "REVOKED", "ISSUED", "RUNS OUT"], &rows)?;
        for (source, trouble) in status.revocation.iter().filter_map(|one| Some((&one.source, one.trouble.as_ref()?))) {
            writeln!(out, "{source}: {trouble}")?;
        }
    }
    if !status.radius.is_empty() {
        heading(out, style, "RADIUS servers")?;
        let rows: Vec<_> = status.radius.iter().map(radius).collect();
        table(out, style, &["NAME", "ADDRESS", "GROUPS", "STATE", "HEARD", "ROUND TRIP", "SENT", "REPLIES", "TIMEOUTS", "OTHER"], &rows)?;
        for radius in status.radius.iter().filter(|radius| !radius.ignored.is_empty()) {
            writeln!(out, "{} sends what is not acted upon: {}", radius.name, radius.ignored.join(", "))?;
        }
    }
    if let Some(shown) = &status.local {
        local(shown, style, out)?;
    }
    if !status.eap_certificates.is_empty() {
        heading(out, style, "Certificates that RADIUS servers show to EAP clients")?;
        let rows: Vec<_> = status.eap_certificates.iter().map(eap_certificate).collect();
        table(out, style, &["SERVER", "SUBJECT", "ISSUER", "EXPIRES"], &rows)?;
    }
    if let Some(shown) = &status.accounting {
        accounting(shown, style, out)?;
    }
    if let Some(shown) = &status.nps_log {
        nps_log(shown, style, out)?;
    }
    if let Some(shown) = &status.telemetry {
        telemetry(shown, style, out)?;
    }
    heading(out, style, "Pools")?;
    let rows: Vec<_> = status.pools.iter().map(pool).collect();
    table(out, style, &["NAME", "FAMILY", "USED", "SIZE", ""], &rows)?;
    let data = &status.dataplane;
    heading(out, style, "Packets")?;
    let rows = [
        vec![cell("from clients"), count(data.packets_in), count(octets(data.octets_in))],
        vec![cell("to clients"), count(data.packets_out), count(octets(data.octets_out))],
    ];
    table(out, style, &["DIRECTION", "PACKETS", "VOLUME"], &rows)?;
    counters(out, style, "Dropped packets", &data.drops)?;
    counters(out, style, "IKE", &status.ike)?;
    counters(out, style, "SSTP", &status.sstp)?;
    counters(out, style, "Dynamic authorization", &status.dynamic)
}

fn drain(drain: &DrainStatus) -> String {
    let to = drain.to.as_ref().map_or_else(|| "new clients are refused".into(), |to| format!("new clients are sent to {to} or refused"));
    match drain.left {
        0 => format!("{to}; nobody is left"),
        left => format!("{to}; {} sent away, {left} left, until {}", drain.sent_away, time(drain.ends_at)),
    }
}

fn accounting(shown: &AccountingStatus, style: Style, out: &mut dyn Write) -> Result<()> {
    heading(out, style, "Accounting")?;
    let attention = |number: u64, mark: Mark| count(number).marked(if number > 0 { mark } else { Mark::Plain });
    let oldest = shown.oldest_secs.map_or_else(|| "-".into(), duration);
    let row = vec![
        count(shown.queued),
        cell(oldest).marked(if shown.oldest_secs.is_some_and(|age| age >= OLD_RECORD) { Mark::Attention } else { Mark::Plain }),
        count(shown.confirmed),
        count(shown.open),
        attention(shown.interims_dropped, Mark::Attention),
        attention(shown.lost, Mark::Bad),
    ];
    table(out, style, &["WAITING", "OLDEST", "CONFIRMED", "OPEN SESSIONS", "INTERIMS DROPPED", "LOST"], &[row])?;
    let past =
        || (shown.journal_failures > 0).then(|| format!("is written, and could not be {} times since the start", shown.journal_failures));
    let journal = shown.journal_failure.clone().or_else(past);
    let failures = [("Journal", journal), ("RADIUS", shown.radius_failure.clone())];
    let failures: Vec<_> = failures.into_iter().filter_map(|(name, failure)| Some((name, failure?))).collect();
    if failures.is_empty() { Ok(()) } else { pairs(out, style, &failures) }
}

fn nps_log(shown: &NpsLogStatus, style: Style, out: &mut dyn Write) -> Result<()> {
    heading(out, style, "NPS log")?;
    let attention = |number: u64, mark: Mark| count(number).marked(if number > 0 { mark } else { Mark::Plain });
    let file = cell(shown.file.as_deref().unwrap_or("-"));
    let row = vec![file, count(shown.written), attention(shown.waiting, Mark::Attention), attention(shown.dropped, Mark::Bad)];
    table(out, style, &["FILE", "WRITTEN", "WAITING", "LOST"], &[row])?;
    shown.failure.iter().try_for_each(|failure| pairs(out, style, &[("Failure", failure.clone())]))
}

fn telemetry(shown: &TelemetryStatus, style: Style, out: &mut dyn Write) -> Result<()> {
    heading(out, style, "Traces of logins")?;
    let lost = count(shown.dropped).marked(if shown.dropped > 0 { Mark::Attention } else { Mark::Plain });
    table(out, style, &["EXPORTED", "LOST"], &[vec![count(shown.exported), lost]])?;
    shown.failure.iter().try_for_each(|failure| pairs(out, style, &[("Failure", failure.clone())]))
}

fn radius(radius: &RadiusStatus) -> Vec<Cell> {
    let counter = |name: &str| radius.counters.get(name).copied().unwrap_or(0);
    let shown = ["sent", "accepted", "timeouts"];
    let other: Vec<_> = radius
        .counters
        .iter()
        .filter(|(name, value)| **value > 0 && !shown.contains(&name.as_str()))
        .map(|(name, value)| format!("{name} {value}"))
        .chain(radius.radius_version.iter().map(|version| format!("RADIUS/{version}")))
        .collect();
    let timeouts = counter("timeouts");
    let since = radius.since_secs.map(duration);
    let (state, heard) = match (radius.standing.as_str(), since) {
        ("dead", Some(since)) => (format!("dead for {since}"), "-".into()),
        (standing, since) => (standing.to_owned(), since.map_or_else(|| "-".into(), |since| format!("{since} ago"))),
    };
    let mark = match radius.standing.as_str() {
        "dead" => Mark::Bad,
        "slow" => Mark::Attention,
        "alive" => Mark::Good,
        _ => Mark::Plain,
    };
    vec![
        cell(&radius.name),
        cell(radius.address.to_string()),
        cell(if radius.groups.is_empty() { "-".to_owned() } else { radius.groups.join(", ") }),
        cell(state).marked(mark),
        count(heard),
        count(radius.round_trip_ms.map_or_else(|| "-".into(), |time| format!("{time} ms"))),
        count(counter("sent")),
        count(counter("accepted")),
        count(timeouts).marked(if timeouts > 0 { Mark::Attention } else { Mark::Plain }),
        cell(other.join(", ")),
    ]
}

fn local(shown: &LocalStatus, style: Style, out: &mut dyn Write) -> Result<()> {
    heading(out, style, "Local provider")?;
    let disabled = if shown.disabled > 0 { format!(", {} disabled", shown.disabled) } else { String::new() };
    let groups: Vec<_> = shown.groups.iter().map(|(name, users)| format!("{name} ({users})")).collect();
    let failure = shown.failure.as_ref().map(|why| ("Not read", format!("{why}; the users stay as they were")));
    let rows = [
        ("File", shown.users_file.clone()),
        ("Users", format!("{}{disabled}", shown.users)),
        ("Groups", if groups.is_empty() { "-".into() } else { groups.join(", ") }),
    ];
    pairs(out, style, &rows.into_iter().chain(failure).collect::<Vec<_>>())?;
    if shown.lockouts.is_empty() {
        return Ok(());
    }
    heading(out, style, "Locked out after wrong passwords")?;
    let row = |lockout: &LockoutStatus| {
        let named = |name: &Option<String>, all: &str| cell(name.as_deref().unwrap_or(all)).marked(Mark::Attention);
        vec![named(&lockout.user, "everybody"), named(&lockout.source, "everywhere"), count(duration(lockout.rest_secs))]
    };
    table(out, style, &["USER", "FROM", "FOR"], &shown.lockouts.iter().map(row).collect::<Vec<_>>())?;
    if shown.more_lockouts > 0 { writeln!(out, "and {} more", shown.more_lockouts) } else { Ok(()) }
}

fn eap_certificate(shown: &EapCertificate) -> Vec<Cell> {
    vec![cell(&shown.radius), cell(&shown.subject), cell(&shown.issuer), cell(time(shown.not_after.unsigned_abs()))]
}

fn revocation(status: &RevocationStatus) -> Vec<Cell> {
    let source = cell(&status.source);
    let Some(list) = &status.list else {
        return vec![source, cell("none has come").marked(Mark::Bad), cell("-"), cell("-"), cell("-")];
    };
    let mark = if list.secs_left <= 0 { Mark::Bad } else { Mark::Plain };
    let moment = |at: i64| time(at.unsigned_abs());
    vec![source, cell(&list.issuer), count(list.entries), cell(moment(list.issued_at)), cell(moment(list.next_update)).marked(mark)]
}

fn pool(pool: &PoolStatus) -> Vec<Cell> {
    let percent = u128::from(pool.used) * 100 / u128::from(pool.size.max(1));
    let mark = match percent {
        100.. => Mark::Bad,
        percent if percent >= u128::from(NEARLY_FULL) => Mark::Attention,
        _ => Mark::Plain,
    };
    vec![cell(&pool.pool), cell(&pool.family), count(pool.used), count(pool.size), count(format!("{percent}%")).marked(mark)]
}

/// Columns of the terminal; `None`: it is none.
fn columns() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

/// The last cells, cut so that a row fits into these columns, or to [`WIDTH`] of their own where there are none.
fn last_cut(rows: Vec<Vec<Cell>>, headings: &[&str], columns: Option<usize>) -> Vec<Vec<Cell>> {
    let last = headings.len() - 1;
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).chain([headings[column].len()]).max().unwrap_or(0);
    let before: usize = (0..last).map(|column| width(column) + 2).sum();
    let room = columns.map_or(WIDTH, |columns| columns.saturating_sub(before).max(NARROWEST));
    rows.into_iter()
        .map(|row| row.into_iter().enumerate().map(|(at, cell)| if at == last { cell.cut(room) } else { cell }).collect())
        .collect()
}

/// Counters that count something, under a heading; nothing where all are zero.
fn counters(out: &mut dyn Write, style: Style, title: &str, counters: &BTreeMap<String, u64>) -> Result<()> {
    let rows: Vec<_> = counters.iter().filter(|(_, value)| **value > 0).map(|(name, value)| vec![cell(name), count(value)]).collect();
    if rows.is_empty() {
        return Ok(());
    }
    heading(out, style, title)?;
    table(out, style, &["COUNTER", "VALUE"], &rows)
}

pub(super) fn sessions(SessionList { sessions, .. }: &SessionList, style: Style, out: &mut dyn Write) -> Result<()> {
    if sessions.is_empty() {
        return writeln!(out, "nobody is connected; `evergate attempts` shows who tried");
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            vec![
                cell(session.id.to_string()),
                cell(&session.user),
                cell(inner(session)),
                cell(session.client.to_string()).marked(if session.silent_since.is_some() { Mark::Attention } else { Mark::Plain }),
                cell(&session.policy),
                count(duration(session.since_secs)),
                count(octets(session.octets_in)),
                count(octets(session.octets_out)),
                cell(state(session)),
            ]
        })
        .collect();
    table(out, style, &["ID", "USER", "ADDRESS", "CLIENT", "POLICY", "SINCE", "IN", "OUT", ""], &rows)
}

/// What is not as usual, in a word.
fn state(session: &Session) -> &'static str {
    match session {
        Session { silent_since: Some(_), .. } => "silent",
        Session { resting_since: Some(_), .. } => "idle",
        _ => "",
    }
}

fn protection(session: &Session) -> String {
    match &session.tls {
        Some(tls) => tls.clone(),
        None => format!("IKE SA {}, Child SA {}", session.ike_suite, session.esp_suite),
    }
}

/// When its SAs got new keys; `None` for a tunnel without.
fn rekeyed(session: &Session) -> Option<String> {
    let when = |at: Option<u64>| at.map_or_else(|| "never".into(), time);
    let (ike, child) = (session.ike_rekeyed_at, session.child_rekeyed_at);
    session.tls.is_none().then(|| format!("IKE SA {}, Child SA {}", when(ike), when(child)))
}

fn certificate(expiry: &Expiry) -> Vec<Cell> {
    let mark = match expiry.days_left {
        ..0 => Mark::Bad,
        0..SOON_DAYS => Mark::Attention,
        _ => Mark::Plain,
    };
    let expires = format!("{} (in {} days)", date(expiry.not_after), expiry.days_left);
    vec![cell(&expiry.name), cell(&expiry.subject), cell(expires).marked(mark)]
}

fn inner(session: &Session) -> String {
    session.inner.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn session(session: &Session, style: Style, out: &mut dyn Write) -> Result<()> {
    let traffic = |packets: u64, volume: u64| format!("{} in {packets} packets", octets(volume));
    let rekeyed = rekeyed(session).map(|when| ("Last rekeyed", when));
    let idle =
        session.resting_since.map(|since| ("Idle", format!("no Child SA since {}; a packet either way makes a new one", time(since))));
    let silent = session.silent_since.map(|since| ("Silent", format!("since {}; the client may still come back", time(since))));
    let certificate = session.certificate.clone().map(|name| ("Certificate", name));
    let behind = Some(("Behind it", session.networks.join(", "))).filter(|_| !session.networks.is_empty());
    let rows = [
        ("Session", session.id.to_string()),
        ("User", session.user.clone()),
        ("Connected", format!("{} (for {})", time(session.connected_at), duration(session.since_secs))),
        ("Client", format!("{} (NAT: {})", session.client, session.nat)),
        ("Addresses", inner(session)),
        ("Policy", session.policy.clone()),
        ("Authenticated by", session.radius.as_ref().map_or_else(|| "certificate".into(), |server| authenticator(server))),
        ("Tunnel", session.tunnel.clone()),
        ("Protected by", protection(session)),
    ];
    let rest = [
        ("From client", traffic(session.packets_in, session.octets_in)),
        ("To client", traffic(session.packets_out, session.octets_out)),
        ("Attempt", format!("{} (evergate attempts show {0})", session.attempt)),
    ];
    let one_way = explain::is_one_way(session.packets_in, session.packets_out).then(|| ("One way", explain::ONE_WAY.to_owned()));
    let rows = rows
        .into_iter()
        .chain(certificate)
        .chain(behind)
        .chain(rekeyed)
        .chain(silent)
        .chain(idle)
        .chain(rest)
        .chain(filters(session))
        .chain(rates(session))
        .chain(one_way);
    pairs(out, style, &rows.collect::<Vec<_>>())
}

/// What filters hold, and what they dropped.
fn filters(session: &Session) -> Option<(&'static str, String)> {
    let dropped = format!("dropped {} packets from the client, {} to it", session.filtered_in, session.filtered_out);
    let names = clean(&session.filters.join(", "));
    (!session.filters.is_empty()).then(|| ("Filters", format!("{names}: {dropped}")))
}

fn rates(session: &Session) -> Option<(&'static str, String)> {
    let rate = |way: &str, limit: Option<u64>| limit.map(|limit| format!("{way} {}", bit_rate(limit)));
    let limits: Vec<_> =
        [rate("from the client", session.rate_limit_in), rate("to it", session.rate_limit_out)].into_iter().flatten().collect();
    (!limits.is_empty()).then(|| ("Rate limits", format!("{}: dropped {} packets", limits.join(", "), session.rate_limited)))
}

pub(super) fn disconnected(Disconnected { ids, blocks }: &Disconnected, style: Style, out: &mut dyn Write) -> Result<()> {
    match &ids[..] {
        [id] => writeln!(out, "session {id} is being ended"),
        ids => {
            let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            writeln!(out, "{} sessions are being ended: {list}", ids.len())
        }
    }?;
    block::made(blocks, style, out)
}

fn outcome_mark(outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Up => Mark::Good,
        Outcome::Failed => Mark::Bad,
        Outcome::Running => Mark::Attention,
        Outcome::Ended => Mark::Faint,
    }
}

pub(super) fn attempts(AttemptList { attempts, .. }: &AttemptList, style: Style, out: &mut dyn Write) -> Result<()> {
    if attempts.is_empty() {
        return writeln!(out, "no such attempt; if a client claims to have tried, `evergate status` shows whether any packet came in");
    }
    let rows: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            vec![
                cell(&attempt.id),
                cell(time(attempt.started_at)),
                cell(attempt.client.ip().to_string()),
                cell(attempt.user.as_deref().unwrap_or("-")),
                cell(&attempt.stage),
                cell(attempt.outcome.to_string()).marked(outcome_mark(attempt.outcome)),
                cell(attempt.cause.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    let headings = ["ID", "STARTED", "CLIENT", "USER", "STAGE", "OUTCOME", "CAUSE"];
    table(out, style, &headings, &last_cut(rows, &headings, columns()))
}

pub(super) fn attempt(attempt: &AttemptDetail, style: Style, out: &mut dyn Write) -> Result<()> {
    let summary = &attempt.summary;
    pairs(
        out,
        style,
        &[
            ("Attempt", summary.id.clone()),
            ("Started", time(summary.started_at)),
            ("Client", format!("{} to {} ({})", summary.client, attempt.gateway, attempt.tunnel)),
            ("User", summary.user.clone().unwrap_or_else(|| "not yet known".into())),
        ],
    )?;
    let outcome = style.mark(outcome_mark(summary.outcome), &summary.outcome.to_string());
    writeln!(out, "{}  {outcome}, stage {}", style.mark(Mark::Heading, "Outcome"), clean(&summary.stage))?;
    paragraph(out, style, "Cause", summary.cause.as_deref())?;
    paragraph(out, style, "Windows shows", attempt.windows_code.as_deref())?;
    paragraph(out, style, "What to do", attempt.fix.as_deref())?;
    list(out, style, "Client offered", &attempt.offered)?;
    list(out, style, "Accepted", &attempt.accepted)?;
    list(out, style, "Network policies", &attempt.decision)?;
    paragraph(out, style, "RADIUS sent", Some(attempt.received.join(", ")).filter(|sent| !sent.is_empty()).as_deref())?;
    heading(out, style, "Timeline")?;
    for line in &attempt.timeline {
        writeln!(out, "{:>9.3} s  {}", line.at_ms as f64 / 1_000.0, clean(&line.text))?;
    }
    if attempt.timeline_lost > 0 {
        writeln!(out, "             and {} more that were not kept", attempt.timeline_lost)?;
    }
    Ok(())
}

pub(super) fn paragraph(out: &mut dyn Write, style: Style, title: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    heading(out, style, title)?;
    for line in text.lines() {
        wrap(&clean(line), WIDTH).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}

pub(super) fn list(out: &mut dyn Write, style: Style, title: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    heading(out, style, title)?;
    lines.iter().try_for_each(|line| writeln!(out, "  {}", clean(line)))
}

fn authenticator(server: &str) -> String {
    if server == local_provider::SERVER { "local provider".into() } else { format!("RADIUS {server}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_fit_the_terminal_or_a_line() {
        let rows = || vec![vec![cell("65a1b2c3-17"), cell("x".repeat(500))]];
        let cut = |columns| last_cut(rows(), &["ID", "CAUSE"], columns)[0][1].width();
        assert_eq!((cut(Some(80)), cut(Some(20)), cut(None)), (80 - 13, NARROWEST, WIDTH));
        assert_eq!(last_cut(vec![vec![cell("short")]], &["CAUSE"], None)[0][0].width(), 5);
    }
}
