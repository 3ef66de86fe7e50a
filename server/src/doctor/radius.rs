//! Whether the RADIUS servers answer.
use super::Finding;
use crate::api::types::RadiusStatus;
use crate::config::RadiusServer;
use crate::radsec;
use crypto::SystemRandom;
use radius_client::{Knock, Probe, RadiusVersion, Transport};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHECK: &str = "radius";
/// RFC 5997 section 4.2: a probe is never repeated.
const PATIENCE: Duration = Duration::from_secs(4);
/// The largest packet (RFC 2865 section 3).
const MAX_PACKET: usize = 4096;

/// What became of a question to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A valid answer.
    After(Duration),
    /// TLS stands; a Status-Server found no answer, which need not be.
    Connected(Duration),
    /// Something answered, but not as who knows the secret.
    Invalid(String),
    /// A good answer, but from another address or port.
    Elsewhere(SocketAddr),
    Silence,
    /// The system or the way there said no.
    Refused(String),
}

/// A server with its answer.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) address: std::net::SocketAddr,
    pub(super) probe: &'a Probe,
    pub(super) answer: Answer,
}

/// Asks all of them at once.
pub(super) fn ask(servers: &[RadiusServer]) -> Vec<Asked<'_>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = servers.iter().map(|server| (server, scope.spawn(|| answer(server)))).collect();
        let joined = threads.into_iter().map(|(server, thread)| {
            let answer = thread.join().unwrap_or_else(|_| Answer::Refused("the probe broke off".into()));
            Asked { name: &server.server.name, address: server.server.address(), probe: &server.server.probe, answer }
        });
        joined.collect()
    })
}

fn answer(server: &RadiusServer) -> Answer {
    match (&server.server.transport, &server.tls) {
        (Transport::Tls { .. }, Some(over)) => over_tls(server, &over.settings),
        _ => over_udp(&server.server).unwrap_or_else(|error| Answer::Refused(error.to_string())),
    }
}

fn over_udp(server: &radius_client::Server) -> std::io::Result<Answer> {
    let address = server.address();
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let knock = match Knock::new(server, RadiusVersion::V1_0, &mut SystemRandom) {
        Ok(knock) => knock,
        Err(reason) => return Ok(Answer::Refused(reason)),
    };
    let socket = UdpSocket::bind((server.source.unwrap_or(any), 0))?;
    // Not connected, but told of closed ports all the same: a server may answer from another of its addresses.
    net::reports::enable(&socket, address.is_ipv6())?;
    let began = Instant::now();
    socket.send_to(knock.bytes(), address)?;
    let mut buffer = [0; MAX_PACKET];
    let mut wrong = Answer::Silence;
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(wrong);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) if (from.ip(), from.port()) != (address.ip(), address.port()) => {
                if knock.answered(server, &buffer[..length]).is_ok() {
                    wrong = Answer::Elsewhere(from);
                }
            }
            Ok((length, _)) => match knock.answered(server, &buffer[..length]) {
                Ok(()) => return Ok(Answer::After(began.elapsed())),
                Err(reason) => wrong = Answer::Invalid(reason),
            },
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

fn over_tls(server: &RadiusServer, settings: &Arc<tls::ClientSettings>) -> Answer {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let knock = |version| Knock::new(&server.server, version, &mut SystemRandom);
    let [old, new] = match [knock(RadiusVersion::V1_0), knock(RadiusVersion::V1_1)] {
        [Ok(old), Ok(new)] => [old, new],
        [Err(reason), _] | [_, Err(reason)] => return Answer::Refused(reason),
    };
    let began = Instant::now();
    let mut spoken = RadiusVersion::V1_0;
    let packet = |version| {
        spoken = version;
        if version == RadiusVersion::V1_1 { new.bytes().to_vec() } else { old.bytes().to_vec() }
    };
    let asked = runtime.block_on(radsec::ask(server.server.address(), server.server.source, settings, packet, PATIENCE));
    let knock = if spoken == RadiusVersion::V1_1 { &new } else { &old };
    match asked {
        // TLS stands; that nobody answers a Status-Server says nothing of a server that need not know it.
        Ok(radsec::Asked::Silence) if server.server.probe == Probe::Off => Answer::Connected(began.elapsed().saturating_sub(PATIENCE)),
        Ok(radsec::Asked::Silence) => Answer::Silence,
        Ok(radsec::Asked::Answer(answer)) => match knock.answered(&server.server, &answer) {
            Ok(()) => Answer::After(began.elapsed()),
            Err(reason) => Answer::Invalid(reason),
        },
        Err(cause) => Answer::Refused(cause),
    }
}

pub(super) fn judge(asked: &Asked<'_>, source: Option<IpAddr>) -> Finding {
    let title = format!("server {:?} at {}", asked.name, asked.address);
    let client = source.map_or_else(|| "this host".to_owned(), |source| source.to_string());
    let question = match asked.probe {
        Probe::User(user) => format!("an Access-Request of {user:?}"),
        _ => "Status-Server".into(),
    };
    match &asked.answer {
        Answer::After(time) => Finding::ok(CHECK, format!("{title} answered {question} within {}", milliseconds(*time))),
        Answer::Connected(time) => Finding::ok(CHECK, format!("{title}: the TLS connection stood within {}", milliseconds(*time))),
        Answer::Invalid(reason) => Finding::fail(
            CHECK,
            format!("{title} answered {question}, but the answer is not valid: {reason}"),
            "give secret_file here and the RADIUS client entry of this gateway there the same shared secret",
        ),
        Answer::Elsewhere(from) => Finding::fail(
            CHECK,
            format!("{title} answered {question} from {from}: such answers are dropped, for anybody could send them"),
            "make that its address here, or let the service there answer from the address that was asked",
        ),
        Answer::Refused(reason) => Finding::fail(
            CHECK,
            format!("{title} cannot be reached: {reason}"),
            "start the RADIUS service there, correct address and port, and let the firewall there take this gateway's packets: nobody can log in",
        ),
        Answer::Silence if *asked.probe == Probe::Off => Finding::warn(
            CHECK,
            format!(
                "{title} did not answer Status-Server within {} s; nothing refused it either (no ICMP), so the port is not just closed. Not every \
                 server answers that question",
                PATIENCE.as_secs()
            ),
            format!(
                "{}. To tell whether it lives: probe = \"status-server\" for FreeRADIUS and others that answer it, probe_user = a name that nobody has \
                 for NPS",
                causes(&client, asked.address)
            ),
        ),
        Answer::Silence => Finding::fail(
            CHECK,
            format!("{title} did not answer {question} within {} s: nobody can log in", PATIENCE.as_secs()),
            format!(
                "is it up, does it know {client} as RADIUS client (NPS: event 13 if not), with this shared secret, is the port open on the way?"
            ),
        ),
    }
}

/// Why a server says nothing, the likeliest first.
fn causes(client: &str, address: SocketAddr) -> String {
    format!(
        "in this order: is the shared secret the same there as in secret_file here (most servers drop what it does not fit); does it know {client} as \
         RADIUS client (FreeRADIUS: clients.conf; NPS: New-NpsRadiusClient, event 13 if not); do packets to udp/{} and back get through, past each \
         firewall on the way",
        address.port()
    )
}

/// Groups of which no server answers logins, as the running gateway has seen it and `asked` did not see otherwise.
pub(super) fn dead_groups(servers: &[RadiusStatus], asked: &[Asked<'_>], client: Option<IpAddr>) -> Vec<Finding> {
    let answers = |name: &str| asked.iter().any(|asked| asked.name == name && matches!(asked.answer, Answer::After(_)));
    let lives = |server: &RadiusStatus| server.standing != "dead" || answers(&server.name);
    let groups: BTreeSet<Option<&str>> = servers.iter().flat_map(groups_of).collect();
    let client = client.map_or_else(|| "this host".to_owned(), |client| client.to_string());
    let mut findings: Vec<(Vec<&str>, Finding)> = Vec::new();
    for group in groups {
        let members: Vec<_> = servers.iter().filter(|server| groups_of(server).contains(&group)).collect();
        let names: Vec<_> = members.iter().map(|server| server.name.as_str()).collect();
        // Groups of the same servers have the same fault.
        if members.iter().any(|server| lives(server)) || findings.iter().any(|(told, _)| *told == names) {
            continue;
        }
        let listed = members.iter().map(|server| tally(server)).collect::<Vec<_>>().join(", ");
        let (which, remedy) = match (&members[..], group) {
            ([only], _) => (format!("server {:?}", only.name), causes(&client, only.address)),
            (_, Some(group)) => (format!("each server of the group {group:?}"), causes(&client, members[0].address)),
            (_, None) => ("each server".to_owned(), causes(&client, members[0].address)),
        };
        findings.push((names, Finding::fail(CHECK, format!("{which} counts as dead, so that nobody can log in by it: {listed}"), remedy)));
    }
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// `None`: it is in no group.
fn groups_of(server: &RadiusStatus) -> Vec<Option<&str>> {
    if server.groups.is_empty() { vec![None] } else { server.groups.iter().map(|group| Some(group.as_str())).collect() }
}

/// `"nps1" at 10.0.0.4:1812 (12 requests, 0 valid replies, 12 without any)`
fn tally(server: &RadiusStatus) -> String {
    let count = |name| server.counters.get(name).copied().unwrap_or(0);
    let [sent, valid, silent] = ["sent", "accepted", "timeouts"].map(count);
    format!("{:?} at {} ({sent} requests, {valid} valid replies, {silent} without any)", server.name, server.address)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn judged(probe: &Probe, answer: Answer) -> Finding {
        judge(&Asked { name: "nps1", address: "10.0.0.4:1812".parse().unwrap(), probe, answer }, None)
    }

    #[test]
    fn each_answer_has_its_line() {
        let user = Probe::User("nobody".into());
        let good = judged(&Probe::StatusServer, Answer::After(Duration::from_micros(1_500)));
        assert_eq!(good, Finding::ok("radius", "server \"nps1\" at 10.0.0.4:1812 answered Status-Server within 1.5 ms"));
        assert_eq!(judged(&user, Answer::Connected(Duration::ZERO)).level, Level::Ok);
        let elsewhere = judged(&user, Answer::Elsewhere("10.0.0.5:1812".parse().unwrap()));
        assert!(elsewhere.level == Level::Fail && elsewhere.text.contains("from 10.0.0.5:1812"), "{elsewhere:?}");
        assert!(judged(&user, Answer::Invalid("wrong".into())).remedy.unwrap().contains("secret_file"));
        assert_eq!(judged(&user, Answer::Refused("Connection refused".into())).level, Level::Fail);
        assert_eq!(judged(&user, Answer::Silence).level, Level::Fail);
        assert_eq!(judged(&Probe::Off, Answer::Silence).level, Level::Warn, "NPS is silent too");
    }

    #[test]
    fn silence_names_its_causes_in_order() {
        let silent = judged(&Probe::Off, Answer::Silence);
        assert!(silent.text.contains("the port is not just closed") && !silent.text.contains("NPS"), "{silent:?}");
        let remedy = silent.remedy.unwrap();
        let places = ["shared secret", "RADIUS client", "udp/1812", "status-server", "probe_user"].map(|word| remedy.find(word));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{remedy}");
    }

    #[test]
    fn a_group_without_a_living_server_is_a_failure() {
        let server = |name: &str, standing: &str, groups: &[&str]| RadiusStatus {
            name: name.into(),
            in_flight: 0,
            address: "10.0.0.4:1812".parse().unwrap(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            radius_version: None,
            ignored: vec![],
            standing: standing.into(),
            since_secs: None,
            round_trip_ms: None,
            counters: [("sent".to_owned(), 3), ("timeouts".to_owned(), 3)].into(),
        };
        let alone = dead_groups(&[server("nps1", "dead", &[])], &[], None);
        let finding = crate::doctor::only(&alone);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.text.contains("(3 requests, 0 valid replies, 3 without any)"), "{finding:?}");
        let two = [server("nps1", "dead", &["staff", "all"]), server("nps2", "alive", &["all"])];
        assert!(crate::doctor::only(&dead_groups(&two, &[], None)).text.starts_with("server \"nps1\""), "its group has another fault");
        let others = [server("nps1", "dead", &[]), server("nps2", "unknown", &[])];
        assert_eq!(dead_groups(&others, &[], None), vec![], "another one may answer");
        let both = [server("nps1", "dead", &["staff", "all"]), server("nps2", "dead", &["staff", "all"])];
        assert!(crate::doctor::only(&dead_groups(&both, &[], None)).text.starts_with("each server of the group"));
        let again =
            Asked { name: "nps1", address: "10.0.0.4:1812".parse().unwrap(), probe: &Probe::Off, answer: Answer::After(Duration::ZERO) };
        assert_eq!(dead_groups(&[server("nps1", "dead", &[])], &[again], None), vec![], "it answers again");
    }

    #[test]
    fn a_server_is_asked_over_the_wire() {
        let other_end = UdpSocket::bind("127.0.0.1:0").unwrap();
        let transport = Transport::Udp { auth: other_end.local_addr().unwrap(), accounting: None };
        let server = radius_client::Server::new("near", transport, b"xyzzy5461");
        let answerer = std::thread::spawn(move || {
            let mut buffer = [0; MAX_PACKET];
            let (length, from) = other_end.recv_from(&mut buffer).unwrap();
            // An Access-Accept without proof.
            buffer[0] = 2;
            other_end.send_to(&buffer[..length], from).unwrap();
        });
        assert!(matches!(over_udp(&server).unwrap(), Answer::Invalid(_)));
        answerer.join().unwrap();
        let gone = over_udp(&server);
        assert!(gone.is_err(), "the port is closed now: {gone:?}");
    }
}
