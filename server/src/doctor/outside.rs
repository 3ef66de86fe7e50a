//! A client from outside, as far as it gets without a login: where its way to the gateway ends, and what Windows says then.
use super::Finding;
use super::knock::{self, IkeAnswer, Port, Trust, WebAnswer};
use super::lists;
use crate::certificates::SYSTEM_ROOTS;
use crate::config::Config;
use pki::{Certificate, Purpose, Refused, TrustAnchors};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tls::ServerFault;

/// A whole datagram, as IKE fragments and ESP fill them: it passes every usual way in one piece.
const FULL: usize = 1_280;
/// Beyond every MTU on the Internet: this leaves in IP fragments.
const FRAGMENTED: usize = 2_000;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;
const DAY: i64 = 86_400;

/// What is to be dialled, and how.
#[derive(Debug)]
pub struct Dial<'a> {
    /// DNS name or IP address, as clients have it in their profile.
    pub host: &'a str,
    /// UDP ports of IKE, the second with the non-ESP marker, and the TCP port of SSTP.
    pub ike_port: u16,
    pub nat_port: u16,
    pub sstp_port: u16,
    /// PEM with the authorities of the gateway's certificate; `None`: those of this system.
    pub authorities: Option<&'a Path>,
}

/// Plays the client: name, IKE_SA_INIT on both ports, the gateway's proof in IKE_AUTH, TLS, revocation lists, the HTTP head of SSTP.
pub fn probe(dial: &Dial<'_>) -> Vec<Finding> {
    let roots = match authorities(dial.authorities) {
        Ok(roots) => Arc::new(roots),
        Err(problem) => return vec![Finding::fail("authorities", problem, "name a PEM file with the root certificate: --ca FILE")],
    };
    let found = (dial.host, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
    let mut addresses = match found {
        Ok(addresses) => addresses,
        Err(error) => return vec![unresolved(dial.host, &error.to_string())],
    };
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut findings = vec![Finding::ok("name", format!("{} resolves to {listed}", dial.host))];
    let seen: Vec<_> = addresses.iter().map(|&address| look(dial, address, &roots)).collect();
    let some_answer = seen.iter().any(At::answers);
    findings.extend(seen.iter().flat_map(|at| judge_at(dial.host, at, some_answer, &roots)));
    findings
}

/// What one address of the name brought.
#[derive(Debug)]
struct At {
    ike: Ike,
    target: SocketAddr,
    web: WebAnswer,
}

impl At {
    fn answers(&self) -> bool {
        let speaks = |answer: &IkeAnswer| matches!(answer, IkeAnswer::Answered { .. } | IkeAnswer::Refused(_));
        speaks(&self.ike.plain.1) || speaks(&self.ike.nat.1) || !matches!(self.web, WebAnswer::Unreachable { .. })
    }

    /// This host cannot even send there.
    fn has_no_way(&self) -> bool {
        let none = |answer: &IkeAnswer| matches!(answer, IkeAnswer::Unreachable { no_way: true, .. });
        none(&self.ike.plain.1) && none(&self.ike.nat.1) && matches!(self.web, WebAnswer::Unreachable { no_way: true, .. })
    }
}

fn unresolved(host: &str, reason: &str) -> Finding {
    Finding::fail(
        "name",
        format!("{host} cannot be resolved: {reason} (Windows shows error 868)"),
        "add an A or AAAA record, or ask the resolver that clients use",
    )
}

fn look(dial: &Dial<'_>, address: IpAddr, roots: &Arc<TrustAnchors>) -> At {
    let plain = Port { remote: SocketAddr::new(address, dial.ike_port), marked: false };
    let nat = Port { remote: SocketAddr::new(address, dial.nat_port), marked: true };
    let first = Ike { plain: (plain, knock::ike(plain, 0)), nat: (nat, knock::ike(nat, 0)), further: None };
    let is_open = matches!(first.nat.1, IkeAnswer::Answered { .. });
    let trust = Trust { host: dial.host, roots };
    let further =
        is_open.then(|| Further { full: knock::ike(nat, FULL), fragmented: knock::ike(nat, FRAGMENTED), proof: knock::prove(nat, &trust) });
    let target = SocketAddr::new(address, dial.sstp_port);
    At { ike: Ike { further, ..first }, target, web: knock::web(target, dial.host, roots) }
}

/// `some_answer`: an address of the name does.
fn judge_at(host: &str, at: &At, some_answer: bool, roots: &TrustAnchors) -> Vec<Finding> {
    if some_answer && at.has_no_way() {
        return vec![no_way(at.target.ip())];
    }
    let now = jiff::Timestamp::now().as_second();
    let mut findings = judge_ike(host, &at.ike);
    findings.extend(judge_web(host, at.target, &at.web, now));
    if let WebAnswer::Spoke { shown, .. } | WebAnswer::TlsFailed { shown, .. } = &at.web {
        findings.extend(lists::examine(&[&vouched_for(shown, roots, now)], roots.roots(), lists::Seen::Outside));
    }
    findings
}

/// Clients may well have one.
fn no_way(address: IpAddr) -> Finding {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    Finding::warn(
        "name",
        format!("{address}: this host has no way to {family}: whether clients reach the gateway there cannot be told from here"),
        format!("run this again where there is {family}; other addresses of the name answer"),
    )
}

/// Of a chain what our authorities have issued, leaf first, whatever it says of names and times; empty where that is nothing. Anybody can write
/// URLs into other certificates, and whoever runs this should not fetch them.
fn vouched_for(shown: &[Certificate], roots: &TrustAnchors, now: i64) -> Vec<Certificate> {
    let Some((leaf, others)) = shown.split_first() else { return Vec::new() };
    // The leaf alone may have ended.
    let when = now.min(leaf.not_after).max(leaf.not_before);
    let leads = |others: &[Certificate]| roots.verify(leaf, others, Purpose::Server, None, when).is_ok();
    let mut path = others.to_vec();
    if !leads(&path) {
        return Vec::new();
    }
    // What the way to the root can do without is of nobody known.
    for certificate in others {
        let without: Vec<_> = path.iter().filter(|other| other.der != certificate.der).cloned().collect();
        if leads(&without) {
            path = without;
        }
    }
    std::iter::once(leaf.clone()).chain(path).collect()
}

fn authorities(path: Option<&Path>) -> Result<TrustAnchors, String> {
    let named = path.unwrap_or(Path::new(SYSTEM_ROOTS));
    let wrong = |problem: &dyn std::fmt::Display| format!("{}: {problem}", named.display());
    let pem = match std::fs::read(named) {
        Ok(pem) => pem,
        // Then the certificate is shown, and found to be of nobody known.
        Err(_) if path.is_none() => return Ok(TrustAnchors::new(Vec::new())),
        Err(error) => return Err(wrong(&error)),
    };
    Ok(TrustAnchors::new(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?))
}

/// What IKE_SA_INIT brought at both ports of one address.
#[derive(Debug, Clone)]
struct Ike {
    plain: (Port, IkeAnswer),
    nat: (Port, IkeAnswer),
    /// `None`: the second port is not open.
    further: Option<Further>,
}

/// What else the second port brought.
#[derive(Debug, Clone)]
struct Further {
    /// An IKE_SA_INIT that fills a datagram.
    full: IkeAnswer,
    /// One in IP fragments.
    fragmented: IkeAnswer,
    /// The first IKE_AUTH.
    proof: IkeAnswer,
}

fn judge_ike(host: &str, ike: &Ike) -> Vec<Finding> {
    let open = |answer: &IkeAnswer| matches!(answer, IkeAnswer::Answered { .. } | IkeAnswer::Refused(_));
    let ((plain, plain_answer), (nat, nat_answer)) = (&ike.plain, &ike.nat);
    let mut findings = vec![
        judge_port(*plain, plain_answer, (nat.remote.port(), open(nat_answer))),
        judge_port(*nat, nat_answer, (plain.remote.port(), open(plain_answer))),
    ];
    if let Some(further) = &ike.further {
        findings.extend(judge_sizes(nat.remote, further));
        findings.push(judge_proof(host, nat.remote, further));
    }
    findings
}

fn judge_sizes(remote: SocketAddr, further: &Further) -> Vec<Finding> {
    let title = format!("{} udp/{}", remote.ip(), remote.port());
    let mut findings = Vec::new();
    if matches!(further.full, IkeAnswer::Silence) {
        findings.push(Finding::fail(
            "fragments",
            format!("{title}: a datagram of {FULL} bytes does not arrive, while a small one does (Windows shows error 809 after IKE_SA_INIT)"),
            "the way carries smaller packets only and says so to nobody: let ICMP \"fragmentation needed\" pass, or mend the MTU on the way",
        ));
    }
    match &further.fragmented {
        IkeAnswer::Answered { .. } => {
            findings.push(Finding::ok("fragments", format!("{title}: a datagram of {FRAGMENTED} bytes arrives in IP fragments")));
        }
        _ => findings.push(Finding::warn(
            "fragments",
            format!("{title}: a datagram of {FRAGMENTED} bytes in IP fragments does not arrive"),
            "clients need IKE fragmentation, which Windows (since 1803), Apple, Android and strongSwan have on by default; ProfileXML: \
             <DisableIKEv2Fragmentation>false</DisableIKEv2Fragmentation>; older clients show error 809",
        )),
    }
    findings
}

/// Whether the gateway has proved itself.
fn judge_proof(host: &str, remote: SocketAddr, further: &Further) -> Finding {
    let title = format!("{} udp/{}", remote.ip(), remote.port());
    match &further.proof {
        IkeAnswer::Answered { time, .. } => Finding::ok(
            "ike_auth",
            format!(
                "{title}: IKE_AUTH within {}: the gateway proves itself with a certificate for {host}, and asks for EAP",
                milliseconds(*time)
            ),
        ),
        IkeAnswer::Refused(cause) if cause.contains("the gateway answers") => Finding::warn(
            "ike_auth",
            format!("{title}: IKE_AUTH with EAP is refused: {cause}"),
            "that is as it should be where auth of the listener has no \"eap\" (device tunnels alone); else `evergate attempts --failed` on the gateway",
        ),
        IkeAnswer::Refused(cause) => Finding::fail(
            "ike_auth",
            format!("{title}: the gateway's certificate is no good for {host}: {cause} (Windows shows 13801)"),
            "if the authority is your own: --ca FILE here, and its root in the machine store of the clients; clients must dial a name that the \
             certificate holds, and it needs the purpose serverAuth",
        ),
        IkeAnswer::Silence | IkeAnswer::Unreachable { .. } => Finding::fail(
            "ike_auth",
            format!(
                "{title}: IKE_SA_INIT is answered, IKE_AUTH is not: it or its answer, which is large, is lost on the way (Windows shows 809)"
            ),
            "something drops large datagrams or fragments between here and the gateway, or a balancer sends them to another one; \
             `evergate trace --peer` with this host's address on the gateway shows whether IKE_AUTH arrives",
        ),
    }
}

/// `other`: the other port of IKE, and whether that is open.
fn judge_port(Port { remote, marked }: Port, answer: &IkeAnswer, (other_port, other): (u16, bool)) -> Finding {
    let port = remote.port();
    let title = format!("{} udp/{port}", remote.ip());
    match answer {
        IkeAnswer::Answered { suite, time } => {
            Finding::ok("ikev2", format!("{title}: IKE_SA_INIT answered within {} ({suite})", milliseconds(*time)))
        }
        IkeAnswer::Refused(cause) => Finding::warn(
            "ikev2",
            format!("{title}: the way is open, but IKE_SA_INIT was refused: {cause}"),
            "compare [ciphers] there with what clients offer; Windows shows 13868 for NO_PROPOSAL_CHOSEN",
        ),
        IkeAnswer::Silence if marked && other => Finding::fail(
            "ikev2",
            format!("{title}: no answer, while udp/{other_port} answers: clients stop after IKE_SA_INIT (Windows shows error 809)"),
            format!("open udp/{port} on firewalls and NATs on the way, and to the same host; then `evergate doctor` on the gateway"),
        ),
        IkeAnswer::Silence if other => Finding::fail(
            "ikev2",
            format!("{title}: no answer, while udp/{other_port} answers (Windows shows error 809)"),
            format!("open udp/{port} on firewalls and NATs on the way: every login begins there"),
        ),
        IkeAnswer::Silence => Finding::fail(
            "ikev2",
            format!("{title}: no answer (Windows shows error 809, or 800 when SSTP fails too)"),
            format!(
                "see whether datagrams arrive: `evergate status` on the gateway counts those of udp/{port}; if none, something on the way blocks them"
            ),
        ),
        IkeAnswer::Unreachable { reason, .. } => Finding::fail(
            "ikev2",
            format!("{title}: {reason}"),
            "nothing listens there, or there is no way: start the gateway, correct the DNS record (Windows shows error 809 or 808)",
        ),
    }
}

fn judge_web(host: &str, target: SocketAddr, answer: &WebAnswer, now: i64) -> Vec<Finding> {
    let title = format!("{} tcp/{}", target.ip(), target.port());
    match answer {
        WebAnswer::Unreachable { timed_out: true, .. } => vec![Finding::fail(
            "sstp",
            format!("{title}: no answer to the TCP connection (Windows shows 0x8007274C)"),
            format!("open tcp/{} on firewalls on the way, and `evergate doctor` on the gateway", target.port()),
        )],
        WebAnswer::Unreachable { reason, .. } => vec![Finding::fail(
            "sstp",
            format!("{title}: {reason}: nothing listens there (Windows shows 0x8007274D)"),
            "start the gateway; it needs a [[listener]] with protocol = \"sstp\"",
        )],
        WebAnswer::TlsFailed { fault, shown } => {
            let mut findings: Vec<_> = certificate(&title, shown, now).into_iter().collect();
            findings.push(judge_tls(host, &title, fault, shown.len()));
            findings
        }
        WebAnswer::Spoke { version, shown, status } => {
            let mut findings = vec![Finding::ok("tls", format!("{title}: {version} for {host}"))];
            findings.extend(certificate(&title, shown, now));
            findings.push(judge_status(&title, status.as_deref()));
            findings
        }
    }
}

fn certificate(title: &str, shown: &[Certificate], now: i64) -> Option<Finding> {
    let leaf = shown.first()?;
    let names = leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ");
    let chain = shown.iter().map(|certificate| certificate.subject.as_str()).chain(shown.last().map(|last| last.issuer.as_str()));
    let text = format!(
        "{title}: certificate for {names}, ends in {} days; chain: {}",
        (leaf.not_after - now).div_euclid(DAY),
        chain.collect::<Vec<_>>().join(" <- ")
    );
    Some(Finding::ok("certificate", text))
}

fn judge_tls(host: &str, title: &str, fault: &ServerFault, shown: usize) -> Finding {
    let (code, remedy) = match fault {
        ServerFault::Refused(refused) => match &**refused {
            Refused::UnknownIssuer { .. } if shown < 2 => (
                "0x800B0109",
                "if the authority is your own: --ca FILE here, and its root in the machine store of the clients; else put the intermediate \
                 certificates into the chain file",
            ),
            Refused::UnknownIssuer { .. } => {
                ("0x800B0109", "if the authority is your own: --ca FILE here, and its root in the machine store of the clients")
            }
            Refused::Expired { .. } => ("0x800B0101", "renew the certificate: replacing its files is enough"),
            Refused::NotYetValid { .. } => ("0x800B0101", "see the clocks of both sides"),
            Refused::WrongName { .. } => ("0x800B010F", "clients must dial a name that the certificate holds: issue it for that name"),
            Refused::WrongPurpose { .. } => ("0x80070040", "issue the certificate with the extended key usage serverAuth"),
            _ => ("0x800B010A", "issue another certificate"),
        },
        ServerFault::Alert { .. } => ("0x80090326", "see `evergate attempts --failed` on the gateway"),
        _ => ("0x80090326 or 0x80072746", "is that the gateway? something else may have the port, or a proxy on the way breaks TLS"),
    };
    Finding::fail("tls", format!("{title}: {host}: {fault} (Windows shows {code})"), remedy)
}

/// `status`: the status line of HTTP; `None`: it closed, or said nothing.
fn judge_status(title: &str, status: Option<&str>) -> Finding {
    match status {
        Some(line) if line.split(' ').nth(1) == Some("200") => Finding::ok("sstp", format!("{title}: SSTP_DUPLEX_POST answered: {line}")),
        Some(line) if line.split(' ').nth(1) == Some("503") => Finding::warn(
            "sstp",
            format!("{title}: the gateway takes no clients now: {line} (Windows shows 0x800704C9)"),
            "it is full or being emptied: `evergate status` there",
        ),
        Some(line) => Finding::fail(
            "sstp",
            format!("{title}: SSTP_DUPLEX_POST was answered with {line}"),
            "something else than the gateway has this port (a web server, a proxy): let it pass TLS on unopened",
        ),
        None => Finding::fail(
            "sstp",
            format!("{title}: no answer to SSTP_DUPLEX_POST (Windows shows 0x800704D4)"),
            "something else than the gateway has this port, or a proxy on the way knows web traffic only",
        ),
    }
}

/// What is offered: what a gateway accepts whose configuration says nothing.
pub(super) fn ciphers() -> ike::CipherPolicy {
    Config::default_ciphers()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};

    fn answered() -> IkeAnswer {
        IkeAnswer::Answered { suite: "AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256".into(), time: Duration::from_millis(3) }
    }

    fn unreachable(no_way: bool) -> IkeAnswer {
        IkeAnswer::Unreachable { no_way, reason: "Network is unreachable".into() }
    }

    fn ports(plain: IkeAnswer, nat: IkeAnswer) -> Vec<Finding> {
        judge_ike("vpn.example.com", &Ike { plain: (port(500), plain), nat: (port(4500), nat), further: None })
    }

    fn port(number: u16) -> Port {
        Port { remote: SocketAddr::from(([192, 0, 2, 1], number)), marked: number != 500 }
    }

    #[test]
    fn the_port_that_is_blocked_is_named() {
        let levels = |found: &[Finding]| found.iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(&ports(answered(), answered())), [Level::Ok, Level::Ok]);
        let found = ports(answered(), IkeAnswer::Silence);
        assert_eq!(levels(&found), [Level::Ok, Level::Fail]);
        assert!(found[1].text.contains("while udp/500 answers") && found[1].text.contains("809"), "{found:?}");
        let found = ports(IkeAnswer::Silence, answered());
        assert!(found[0].text.contains("while udp/4500 answers"), "{found:?}");
        let found = ports(IkeAnswer::Silence, IkeAnswer::Silence);
        assert!(found[0].remedy.as_ref().unwrap().contains("evergate status"), "{found:?}");
        assert_eq!(ports(IkeAnswer::Refused("no common proposal".into()), answered())[0].level, Level::Warn);
        assert_eq!(ports(unreachable(false), answered())[0].level, Level::Fail);
    }

    #[test]
    fn lost_fragments_are_a_warning() {
        let judged = |full, fragmented, proof| {
            let further = Some(Further { full, fragmented, proof });
            judge_ike("vpn.example.com", &Ike { plain: (port(500), answered()), nat: (port(4500), answered()), further }).split_off(2)
        };
        let levels = |found: Vec<Finding>| found.iter().map(|finding| finding.level).collect::<Vec<_>>();
        let silence = || IkeAnswer::Silence;
        assert_eq!(levels(judged(answered(), answered(), answered())), [Level::Ok, Level::Ok]);
        assert_eq!(levels(judged(answered(), silence(), answered())), [Level::Warn, Level::Ok], "IKE has fragments of its own");
        let lost = judged(silence(), silence(), silence());
        assert!(lost[0].text.contains("1280 bytes does not arrive") && lost[2].text.contains("809"), "{lost:?}");
        assert_eq!(levels(lost), [Level::Fail, Level::Warn, Level::Fail]);
        let refused = |cause: &str| judged(answered(), answered(), IkeAnswer::Refused(cause.into())).pop().unwrap();
        let wrong = refused("certificate CN=a is not for vpn.example.com");
        assert!(wrong.level == Level::Fail && wrong.text.contains("13801"), "{wrong:?}");
        assert_eq!(refused("the gateway answers AUTHENTICATION_FAILED").level, Level::Warn, "no EAP there");
    }

    #[test]
    fn each_end_of_the_way_over_tcp_has_its_number() {
        let judged = |answer: &WebAnswer| judge_web("vpn.example.com", "192.0.2.1:443".parse().unwrap(), answer, 0);
        let unreachable = |timed_out| WebAnswer::Unreachable { timed_out, no_way: false, reason: "Connection refused".into() };
        assert!(only(&judged(&unreachable(true))).text.contains("0x8007274C"));
        assert!(only(&judged(&unreachable(false))).text.contains("0x8007274D"));
        let tls = |fault| only(&judged(&WebAnswer::TlsFailed { fault, shown: Vec::new() })).text.clone();
        let refused = |refused| ServerFault::Refused(Box::new(refused));
        let (subject, name) = ("CN=a".to_owned(), "vpn.example.com".to_owned());
        assert!(tls(refused(Refused::UnknownIssuer { subject: subject.clone(), issuer: "CN=b".into() })).contains("0x800B0109"));
        assert!(tls(refused(Refused::Expired { subject: subject.clone(), not_after: 0 })).contains("0x800B0101"));
        assert!(tls(refused(Refused::WrongName { subject: subject.clone(), name })).contains("0x800B010F"));
        assert!(tls(refused(Refused::WrongPurpose { subject, wanted: "x".into() })).contains("0x80070040"));
        assert!(tls(ServerFault::Broken("x".into())).contains("0x80072746"));
        let spoke = |status: Option<&str>| {
            let answer = WebAnswer::Spoke { version: "TLS 1.3", shown: Vec::new(), status: status.map(str::to_owned) };
            judged(&answer).pop().unwrap().level
        };
        assert_eq!(spoke(Some("HTTP/1.1 200 OK")), Level::Ok);
        assert_eq!(spoke(Some("HTTP/1.1 503 Service Unavailable")), Level::Warn);
        assert_eq!(spoke(Some("HTTP/1.1 404 Not Found")), Level::Fail);
        assert_eq!(spoke(None), Level::Fail);
        assert_eq!(unresolved("vpn.example.com", "no such name").level, Level::Fail);
    }

    #[test]
    fn a_host_without_ipv6_is_no_fault_of_the_gateway() {
        let roots = TrustAnchors::new(Vec::new());
        let nowhere = |no_way| {
            let ike = Ike { plain: (port(500), unreachable(no_way)), nat: (port(4500), unreachable(no_way)), further: None };
            let web = WebAnswer::Unreachable { timed_out: false, no_way, reason: "Network is unreachable".into() };
            At { ike, target: "[2001:db8::1]:443".parse().unwrap(), web }
        };
        let judged = |at: &At, some_answer| judge_at("vpn.example.com", at, some_answer, &roots);
        let found = judged(&nowhere(true), true);
        assert_eq!(only(&found).level, Level::Warn);
        assert!(only(&found).text.starts_with("2001:db8::1: this host has no way to IPv6"), "{found:?}");
        assert!(judged(&nowhere(true), false).iter().all(|finding| finding.level == Level::Fail), "no address answers");
        assert!(judged(&nowhere(false), true).iter().all(|finding| finding.level == Level::Fail), "somebody on the way says so");
        let answers = At { ike: Ike { plain: (port(500), answered()), ..nowhere(true).ike }, ..nowhere(true) };
        assert!(answers.answers() && !answers.has_no_way() && !nowhere(true).answers());
    }

    /// Certificates of a new authority for a gateway: for `name`, with a place for its list.
    fn chain(name: &str) -> [Certificate; 2] {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.distinguished_name.push(DnType::CommonName, format!("Root of {name}"));
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
        [Certificate::from_der(leaf.der()).unwrap(), Certificate::from_der(root.der()).unwrap()]
    }

    #[test]
    fn urls_of_certificates_that_anybody_could_write_are_not_fetched() {
        let [leaf, root] = chain("vpn.example.com");
        let [other, other_root] = chain("other.example.com");
        let roots = TrustAnchors::new(vec![root]);
        let now = jiff::Timestamp::now().as_second();
        let kept = |shown: &[Certificate]| vouched_for(shown, &roots, now).into_iter().map(|kept| kept.subject).collect::<Vec<_>>();
        let ours = vec![leaf.subject.clone()];
        assert_eq!(kept(std::slice::from_ref(&leaf)), ours, "whatever name was dialled");
        assert_eq!(kept(&[leaf.clone(), other.clone(), other_root.clone()]), ours, "others that come along");
        assert!(kept(&[other, other_root]).is_empty() && kept(&[]).is_empty());
        assert_eq!(vouched_for(std::slice::from_ref(&leaf), &roots, i64::MAX).len(), 1, "it has ended, and is ours");
    }
}
