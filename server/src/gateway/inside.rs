//! What passes through the gateway inside EAP: the certificates, alerts and refusals of TLS-based methods, put into the record. They tell a
//! wrong certificate of the RADIUS server from one that the client misses or the server refuses.
use super::{Gateway, Live, Now, Plane};
use crate::api::types::EapCertificate;
use crate::outcome::{EapFault, Failure, Fault, Stage};
use eap::inside::{Observer, Seen, Side, alert_name, version_name};
use ike::SessionId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A RADIUS server's certificate is worth a warning this long before it expires.
const EXPIRES_SOON: i64 = 30 * 86_400;
/// The same warning again.
const WARN_AGAIN: Duration = Duration::from_secs(86_400);
/// Certificates of RADIUS servers that are remembered.
const REMEMBERED: usize = 64;
/// A certificate that its server has not shown for so long is gone, once it shows another.
const FORGOTTEN: Duration = Duration::from_secs(7 * 86_400);

/// One login's EAP conversation, as an onlooker sees it.
#[derive(Debug, Default)]
pub(super) struct Inside {
    observer: Observer,
    /// In words.
    server_certificate: Option<String>,
    client_certificate: Option<String>,
    /// Leaf of the chain that the client showed, in DER, and how often it showed one.
    client_leaf: Option<Vec<u8>>,
    client_shows: usize,
    alert: Option<(Side, u8)>,
    client_has_none: bool,
    /// The client went on after it saw the server's certificate.
    client_went_on: bool,
    /// The RADIUS server went on after it saw the client's.
    server_went_on: bool,
    /// Methods that the client asked for instead of the one offered, until it accepts one.
    refuses: Option<String>,
}

/// Those that were seen, by server and serial number.
#[derive(Debug, Default)]
pub(super) struct ServerCertificates(BTreeMap<(String, String), Shown>);

#[derive(Debug)]
struct Shown {
    certificate: EapCertificate,
    /// The last warning of its end.
    warned: Option<Instant>,
    /// The last time.
    at: Instant,
    /// The server has shown one of the same subject since that ends later.
    renewed: bool,
}

impl ServerCertificates {
    /// Remembers a certificate; whether to warn of its end.
    fn saw(&mut self, now: Now, server: &str, certificate: &pki::Certificate) -> bool {
        let key = (server.to_owned(), certificate.serial.clone());
        self.leave_out_what_is_gone(now, server, certificate);
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, shown)| shown.certificate.not_after).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
        let fresh = || Shown { certificate: described(server, certificate), warned: None, at: now.instant, renewed: false };
        let shown = self.0.entry(key).or_insert_with(fresh);
        (shown.at, shown.renewed) = (now.instant, false);
        let soon = certificate.not_after.saturating_sub(now.wall.as_second()) < EXPIRES_SOON;
        let again = shown.warned.is_none_or(|at| now.instant.saturating_duration_since(at) >= WARN_AGAIN);
        if soon && again {
            shown.warned = Some(now.instant);
        }
        soon && again
    }

    /// What a server has renewed, or has not shown for long while it shows another one. A server that shows both in turn, as its policies say, has both
    /// here in turn, and warnings of either are as seldom as ever.
    fn leave_out_what_is_gone(&mut self, now: Now, server: &str, newer: &pki::Certificate) {
        self.0.retain(|(of, _), shown| of != server || now.instant.saturating_duration_since(shown.at) < FORGOTTEN);
        for ((of, _), shown) in &mut self.0 {
            let same = of == server && shown.certificate.subject == newer.subject;
            shown.renewed |= same && shown.certificate.not_after < newer.not_after;
        }
    }

    pub(super) fn list(&self) -> Vec<EapCertificate> {
        self.0.values().filter(|shown| !shown.renewed).map(|shown| shown.certificate.clone()).collect()
    }
}

fn described(server: &str, certificate: &pki::Certificate) -> EapCertificate {
    EapCertificate {
        radius: server.to_owned(),
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        not_after: certificate.not_after,
    }
}

impl<P: Plane> Gateway<P> {
    /// Looks at a packet on its way; `server` is set for those that came from RADIUS.
    pub(super) fn look_inside(&mut self, now: Now, session: SessionId, server: Option<&str>, packet: &[u8]) {
        let Ok(view) = eap::Packet::parse(packet) else { return };
        let Some(inside) = self.live.get_mut(&session).and_then(|live| live.login.as_mut()).map(|login| &mut login.inside) else { return };
        let (seen, nak) = (inside.observer.observe(&view), inside.nak(&view));
        let mut lines: Vec<String> = nak.into_iter().collect();
        for seen in seen {
            if let (Seen::Certificates { side: Side::Server, chain }, Some(server)) = (&seen, server)
                && let Some(certificate) = chain.first().and_then(|der| pki::Certificate::from_der(der).ok())
                && self.server_certificates.saw(now, server, &certificate)
            {
                warn_of_expiry(server, &certificate);
            }
            lines.extend(inside.takes(seen));
        }
        for line in lines {
            self.note(now, session, line);
        }
    }
}

impl Inside {
    /// The certificate by which a client proved itself to the RADIUS server. Only EAP-TLS always asks for that proof; and of two that were shown
    /// nobody here could say which one the server took.
    pub(super) fn proved_certificate(&self, method: Option<u8>) -> Option<policy::network::Certificate> {
        pki::Certificate::from_der(self.proved_leaf(method)?).ok().map(|leaf| crate::facts::certificate(&leaf))
    }

    /// The same in DER.
    pub(super) fn proved_leaf(&self, method: Option<u8>) -> Option<&[u8]> {
        self.client_leaf.as_deref().filter(|_| method == Some(eap::method::TLS) && self.client_shows == 1)
    }

    /// A refusal of the method offered; any other answer takes it back.
    fn nak(&mut self, view: &eap::Packet<'_>) -> Option<String> {
        if view.code() != eap::Code::Response {
            return None;
        }
        self.refuses = view.nak().map(|methods| methods.iter().map(|&method| eap::method::name(method)).collect::<Vec<_>>().join(", "));
        self.refuses.as_ref().map(|wanted| format!("client refuses the EAP method offered and wants {wanted}"))
    }

    /// Remembers what was seen and says it in a line.
    fn takes(&mut self, seen: Seen) -> Option<String> {
        Some(match seen {
            Seen::Version(version) => format!("EAP: RADIUS and client agree on {}", version_name(version)),
            Seen::Certificates { side: Side::Server, chain } => {
                let certificate = describe(&chain);
                let line = format!("EAP: RADIUS shows the certificate {certificate}");
                self.server_certificate = Some(certificate);
                line
            }
            Seen::Certificates { side: Side::Peer, chain } if chain.is_empty() => {
                (self.client_has_none, self.client_went_on) = (true, true);
                "EAP: the client has no certificate to show".into()
            }
            Seen::Certificates { side: Side::Peer, chain } => {
                let certificate = describe(&chain) + without_revocation_address(&chain);
                let line = format!("EAP: the client shows the certificate {certificate}");
                self.client_leaf = chain.into_iter().next();
                self.client_shows += 1;
                (self.client_certificate, self.client_went_on) = (Some(certificate), true);
                line
            }
            Seen::Encrypted { side } => {
                match side {
                    Side::Peer => self.client_went_on = true,
                    Side::Server => self.server_went_on = true,
                }
                return None;
            }
            Seen::Alert { side, fatal, description } => {
                if fatal {
                    self.alert = Some((side, description));
                }
                let level = if fatal { "fatal" } else { "warning" };
                format!("EAP: {} sends TLS alert {} ({description}, {level})", who(side), alert_name(description))
            }
            Seen::HiddenAlert { side } => format!("EAP: {} sends an encrypted TLS alert", who(side)),
        })
    }

    /// Why a login that ended in EAP did so, if what was seen tells.
    fn story(&self, left: bool) -> Option<(EapFault, String)> {
        let server = self.server_certificate.as_deref().unwrap_or("(not seen)");
        let client = self.client_certificate.as_deref().unwrap_or("(not seen)");
        if let Some((Side::Peer, alert)) = self.alert {
            let words =
                format!("the client refuses the RADIUS server's certificate {server} with TLS alert {} ({alert})", alert_name(alert));
            return Some((EapFault::ServerCertificate(alert), words));
        }
        if self.client_has_none {
            return Some((EapFault::NoUserCertificate, "the client has no certificate that it could show to the RADIUS server".into()));
        }
        if let Some((Side::Server, alert)) = self.alert {
            let words = format!("RADIUS refuses the client's certificate {client} with TLS alert {} ({alert})", alert_name(alert));
            return Some((EapFault::UserCertificate(Some(alert)), words));
        }
        if !left && self.client_certificate.is_some() && !self.server_went_on {
            return Some((
                EapFault::UserCertificate(None),
                format!("RADIUS refuses the client's certificate {client} without a TLS alert"),
            ));
        }
        if left && self.server_certificate.is_some() && !self.client_went_on {
            let words = format!(
                "the client stopped after it saw the RADIUS server's certificate {server}: it does not trust the root, or the name is none of its EAP server names"
            );
            return Some((EapFault::LeftAfterServerCertificate, words));
        }
        let wanted = self.refuses.as_ref()?;
        Some((EapFault::MethodRefused, format!("the client refuses the EAP method that RADIUS offers and wants {wanted}")))
    }
}

/// A failure in EAP with what was seen inside it.
pub(super) fn explained(mut failure: Failure, live: &Live) -> Failure {
    let Some(login) = live.login.as_ref().filter(|_| matches!(failure.stage, Stage::Eap | Stage::Radius)) else { return failure };
    if matches!(login.fault, Some(Fault::Dependency | Fault::Misconfigured)) {
        return failure;
    }
    let left = failure.stage == Stage::Eap || matches!(failure.fault, Fault::PeerIncompatible | Fault::Silence);
    if let Some((fault, words)) = login.inside.story(left) {
        failure.cause = format!("{words}; {}", failure.cause);
        failure.eap = Some(fault);
    }
    failure
}

fn who(side: Side) -> &'static str {
    match side {
        Side::Server => "RADIUS",
        Side::Peer => "the client",
    }
}

fn warn_of_expiry(server: &str, certificate: &pki::Certificate) {
    tracing::warn!(
        radius = server,
        subject = %certificate.subject,
        not_after = %day(certificate.not_after),
        "the certificate that this RADIUS server shows to EAP clients expires soon: renew it there and choose it in the policy"
    );
}

fn describe(chain: &[Vec<u8>]) -> String {
    let Some(leaf) = chain.first() else { return "(none)".into() };
    let Ok(leaf) = pki::Certificate::from_der(leaf) else { return "(unreadable)".into() };
    let names: Vec<_> = leaf.dns_names.iter().chain(&leaf.upns).chain(&leaf.emails).map(String::as_str).collect();
    let purposes = leaf.eku.as_ref().map_or_else(|| "any".into(), |oids| oids.iter().map(|oid| purpose(oid)).collect::<Vec<_>>().join(","));
    format!(
        "{} (SAN {}, issuer {}, valid until {}, purpose {purposes}, {} in chain)",
        leaf.subject,
        if names.is_empty() { "none".into() } else { names.join(",") },
        leaf.issuer,
        day(leaf.not_after),
        chain.len()
    )
}

/// NPS refuses a client's certificate whose revocation it cannot look up.
fn without_revocation_address(chain: &[Vec<u8>]) -> &'static str {
    let leaf = chain.first().and_then(|leaf| pki::Certificate::from_der(leaf).ok());
    let nowhere = leaf.is_some_and(|leaf| leaf.crl_urls.is_empty() && leaf.ocsp_urls.is_empty());
    if nowhere { ", which carries no CDP (where NPS checks revocation: reason 258, Windows shows 812)" } else { "" }
}

fn purpose(oid: &str) -> &str {
    match oid {
        "1.3.6.1.5.5.7.3.1" => "serverAuth",
        "1.3.6.1.5.5.7.3.2" => "clientAuth",
        other => other,
    }
}

fn day(unix_time: i64) -> String {
    jiff::Timestamp::from_second(unix_time).map_or_else(|_| "(no date)".into(), |at| at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seen: Vec<Seen>) -> Inside {
        let mut inside = Inside::default();
        for seen in seen {
            inside.takes(seen);
        }
        inside
    }

    fn shown(side: Side) -> Seen {
        Seen::Certificates { side, chain: vec![vec![1, 2, 3]] }
    }

    fn fault(inside: &Inside, left: bool) -> Option<EapFault> {
        inside.story(left).map(|(fault, _)| fault)
    }

    #[test]
    fn the_end_of_a_servers_certificate_is_warned_of_once_a_day() {
        let key = rcgen::KeyPair::generate().unwrap();
        let der = rcgen::CertificateParams::new(vec!["nps1.example.com".into()]).unwrap().self_signed(&key).unwrap();
        let certificate = pki::Certificate::from_der(der.der()).unwrap();
        let start = Instant::now();
        let at = |days_before: i64, hours: u64| Now {
            instant: start + Duration::from_secs(hours * 3600),
            wall: jiff::Timestamp::from_second(certificate.not_after - days_before * 86_400).unwrap(),
        };
        let mut known = ServerCertificates::default();
        assert!(!known.saw(at(31, 0), "nps1", &certificate));
        assert!(known.saw(at(29, 1), "nps1", &certificate));
        assert!(!known.saw(at(29, 23), "nps1", &certificate));
        assert!(known.saw(at(28, 26), "nps1", &certificate));
        assert!(known.saw(at(28, 26), "nps2", &certificate), "each server has its own");
        assert_eq!(known.list().len(), 2);
    }

    #[test]
    fn what_a_server_has_renewed_is_not_told_of_any_more() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = |name: &str, until: i32| {
            let mut params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            pki::Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
        };
        let (old, new, other) = (made("nps", 2030), made("nps", 2031), made("nps.example.com", 2032));
        let start = Instant::now();
        let day = |day: u64| Now {
            instant: start + Duration::from_secs(day * 86_400),
            wall: jiff::Timestamp::from_second(old.not_after - 86_400).unwrap(),
        };
        let mut known = ServerCertificates::default();
        let ends = |known: &ServerCertificates| known.list().iter().map(|shown| shown.not_after).collect::<Vec<_>>();
        assert!(known.saw(day(0), "nps1", &old) && known.saw(day(0), "nps2", &old));
        known.saw(day(0), "nps1", &new);
        assert_eq!(known.list().len(), 2, "nps2 has not renewed its own");
        assert!(!known.saw(day(0), "nps1", &old), "in turn, and warned of a moment ago");
        assert_eq!(ends(&known).iter().filter(|end| **end == old.not_after).count(), 2);
        known.saw(day(1), "nps1", &new);
        known.saw(day(1), "nps1", &other);
        known.saw(day(8), "nps1", &other);
        known.saw(day(8), "nps2", &other);
        assert_eq!(ends(&known), [other.not_after, other.not_after], "another subject, and the first was not shown for a week");
    }

    #[test]
    fn alerts_tell_whose_certificate_is_wrong() {
        let alert = |side, description| Seen::Alert { side, fatal: true, description };
        let client = after(vec![shown(Side::Server), alert(Side::Peer, 48)]);
        assert_eq!(fault(&client, false), Some(EapFault::ServerCertificate(48)));
        assert!(client.story(false).unwrap().1.contains("unknown_ca (48)"));
        let server = after(vec![shown(Side::Server), shown(Side::Peer), alert(Side::Server, 44)]);
        assert_eq!(fault(&server, false), Some(EapFault::UserCertificate(Some(44))));
        let mut silent = after(vec![shown(Side::Server), shown(Side::Peer), Seen::Encrypted { side: Side::Peer }]);
        assert_eq!(fault(&silent, false), Some(EapFault::UserCertificate(None)));
        assert_eq!(fault(&silent, true), None, "the client left by itself");
        silent.takes(Seen::Encrypted { side: Side::Server });
        assert_eq!(fault(&silent, false), None, "the certificate was accepted");
        let warning = after(vec![shown(Side::Server), Seen::Alert { side: Side::Peer, fatal: false, description: 0 }]);
        assert_eq!(fault(&warning, false), None);
    }

    #[test]
    fn a_client_without_a_certificate_is_named_before_the_servers_alert() {
        let none = Seen::Certificates { side: Side::Peer, chain: Vec::new() };
        let inside = after(vec![shown(Side::Server), none, Seen::Alert { side: Side::Server, fatal: true, description: 40 }]);
        assert_eq!(fault(&inside, false), Some(EapFault::NoUserCertificate));
    }

    #[test]
    fn leaving_after_the_servers_certificate_means_something_only_there() {
        let inside = after(vec![shown(Side::Server)]);
        assert_eq!(fault(&inside, true), Some(EapFault::LeftAfterServerCertificate));
        assert_eq!(fault(&inside, false), None, "RADIUS said no");
        let went_on = after(vec![shown(Side::Server), Seen::Encrypted { side: Side::Peer }]);
        assert_eq!(fault(&went_on, true), None);
    }

    #[test]
    fn a_refused_method_counts_until_another_is_accepted() {
        let mut inside = Inside::default();
        let nak = eap::build(eap::Code::Response, 3, eap::method::NAK, &[eap::method::PEAP]);
        assert!(inside.nak(&eap::Packet::parse(&nak).unwrap()).unwrap().contains("PEAP"));
        assert_eq!(fault(&inside, true), Some(EapFault::MethodRefused));
        let answer = eap::build(eap::Code::Response, 4, eap::method::PEAP, &[0]);
        assert_eq!(inside.nak(&eap::Packet::parse(&answer).unwrap()), None);
        assert_eq!(fault(&inside, true), None);
    }
}
