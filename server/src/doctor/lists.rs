//! Whether clients can learn that the gateway's certificates are not revoked, by lists or OCSP: Windows refuses SSTP where they cannot.
use super::Finding;
use crate::revocation::HttpUrl;
use pki::{Certificate, UnverifiedCrl};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

const CHECK: &str = "revocation";
/// Places of one chain that are tried.
const PLACES: usize = 8;
/// Lists that are fetched at a time: the largest are large.
const AT_ONCE: usize = 8;
/// For all lists together; who asks over the API waits for a minute.
const LIMIT: Duration = Duration::from_secs(25);

/// From where it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// On the gateway: outside it may be otherwise.
    Here,
    /// Where clients are.
    Outside,
}

/// What is to be had at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    List,
    Ocsp,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::List => "the revocation list",
            Self::Ocsp => "the OCSP responder",
        }
    }
}

/// What became of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A list that serves until then (Unix time); `None`: who issued it was not shown, so that nothing of it could be checked.
    List(Option<i64>),
    /// An OCSP responder, which was asked nothing.
    Responds,
    Unreachable(String),
    /// LDAP and the like, which nobody outside reaches.
    NotHttp,
}

/// Fetches the lists of these chains, leaf first, each place once. `roots`: authorities besides those of the chains whose lists can be checked.
pub(super) fn examine(chains: &[&[Certificate]], roots: &[Certificate], seen: Seen) -> Vec<Finding> {
    let authorities: Arc<[Certificate]> = chains.iter().flat_map(|chain| chain.iter().skip(1)).chain(roots).cloned().collect();
    let urls = chains.iter().flat_map(|chain| places(chain)).map(|(_, kind, url)| (kind, url.to_owned())).collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let fetched = runtime.block_on(fetch_all(urls, &authorities, LIMIT));
    // A look-up of a name goes on for as long as the resolver likes.
    runtime.shutdown_background();
    let now = jiff::Timestamp::now().as_second();
    chains.iter().flat_map(|chain| judge_chain(chain, &fetched, seen, now)).collect()
}

/// Where clients ask, and about which certificates.
fn places(chain: &[Certificate]) -> impl Iterator<Item = (&Certificate, Kind, &str)> {
    chain.iter().flat_map(places_of).take(PLACES)
}

fn places_of(certificate: &Certificate) -> impl Iterator<Item = (&Certificate, Kind, &str)> {
    let lists = certificate.crl_urls.iter().map(|url| (Kind::List, url));
    let responders = certificate.ocsp_urls.iter().map(|url| (Kind::Ocsp, url));
    lists.chain(responders).map(move |(kind, url)| (certificate, kind, url.as_str()))
}

/// All together; what is not there within `limit` has no place in the answer.
async fn fetch_all(urls: BTreeSet<(Kind, String)>, authorities: &Arc<[Certificate]>, limit: Duration) -> BTreeMap<(Kind, String), Place> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut fetches = JoinSet::new();
    for (kind, url) in urls {
        let (room, authorities) = (Arc::clone(&room), Arc::clone(authorities));
        fetches.spawn(async move {
            let _place = room.acquire().await;
            let place = match kind {
                Kind::List => fetch(&url, &authorities).await,
                Kind::Ocsp => knock(&url).await,
            };
            ((kind, url), place)
        });
    }
    let until = Instant::now() + limit;
    let mut fetched = BTreeMap::new();
    while let Ok(Some(done)) = timeout_at(until, fetches.join_next()).await {
        fetched.extend(done.ok());
    }
    fetched
}

fn judge_chain(chain: &[Certificate], fetched: &BTreeMap<(Kind, String), Place>, seen: Seen, now: i64) -> Vec<Finding> {
    let Some(leaf) = chain.first() else { return Vec::new() };
    let late = Place::Unreachable(format!("it was not there when all places had been waited for, {} s", LIMIT.as_secs()));
    let became = |kind, url: &str| fetched.get(&(kind, url.to_owned())).unwrap_or(&late);
    let places: Vec<_> = places(chain).map(|(certificate, kind, url)| (certificate, kind, url, became(kind, url))).collect();
    if places.is_empty() {
        let text = format!("{} names neither a revocation list nor an OCSP responder", leaf.subject);
        return vec![
            Finding::ok(CHECK, text).hint("Windows then takes it for SSTP without either; a public authority's has one, or is short-lived"),
        ];
    }
    let alone =
        |certificate: &Certificate| places.iter().filter(|(of, ..)| of.der == certificate.der).all(|(.., place)| !is_good(place, now));
    let judged = places.iter().map(|(certificate, kind, url, place)| {
        let asked = Asked { subject: &certificate.subject, kind: *kind, url, alone: alone(certificate) };
        judge(&asked, place, seen, now)
    });
    judged.collect()
}

fn is_good(place: &Place, now: i64) -> bool {
    match place {
        Place::List(until) => until.is_none_or(|until| until > now),
        Place::Responds => true,
        Place::Unreachable(_) | Place::NotHttp => false,
    }
}

/// Any answer shows that a responder is there, but for that of one who asks it in vain.
async fn knock(url: &str) -> Place {
    let Ok(parsed) = HttpUrl::parse(url) else { return Place::NotHttp };
    match parsed.status().await {
        Ok(status @ 502..=504) => Place::Unreachable(format!("a server before it answers with status {status}")),
        Ok(_) => Place::Responds,
        Err(reason) => Place::Unreachable(reason),
    }
}

async fn fetch(url: &str, authorities: &[Certificate]) -> Place {
    let Ok(parsed) = HttpUrl::parse(url) else { return Place::NotHttp };
    let list = match parsed.get().await {
        Ok(list) => list,
        Err(reason) => return Place::Unreachable(reason),
    };
    match UnverifiedCrl::from_bytes(&list) {
        Ok(list) => Place::List(list.verify(authorities).ok().map(|list| list.next_update())),
        Err(error) => Place::Unreachable(format!("what it sends {error}")),
    }
}

/// A place, and whose it is.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    subject: &'a str,
    kind: Kind,
    url: &'a str,
    /// No place of this certificate, of whichever kind, is good.
    alone: bool,
}

fn judge(asked: &Asked<'_>, place: &Place, seen: Seen, now: i64) -> Finding {
    const MENDS: &str = "publish it by plain HTTP where clients reach it from outside, or use a certificate of an authority that does";
    let Asked { subject, kind, url, alone } = asked;
    let title = format!("{subject}: {} at {url}", kind.words());
    let clients = if *alone { "Windows refuses SSTP then (0x80092013)" } else { "clients have another place to ask" };
    let here = if seen == Seen::Here { "from here" } else { "from where this runs" };
    let bad = |text: String, remedy: &str| match (seen, alone) {
        // Clients are elsewhere.
        (Seen::Outside, true) => Finding::fail(CHECK, text, remedy),
        _ => Finding::warn(CHECK, text, remedy),
    };
    match place {
        Place::List(Some(until)) if *until <= now => {
            bad(format!("{title} has run out: {clients}"), "have the authority publish a new list")
        }
        Place::List(_) | Place::Responds => {
            let found = Finding::ok(CHECK, format!("{title} can be had {here}"));
            match seen {
                Seen::Here => found.hint("clients ask it from where they are: `evergate doctor --probe` there tries that"),
                Seen::Outside => found,
            }
        }
        Place::NotHttp => bad(format!("{title} is not to be had by HTTP: {clients}"), MENDS),
        Place::Unreachable(reason) => {
            bad(format!("{title} cannot be had {here}: {reason}: {clients}, where it is the same for them"), MENDS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use std::io::{Read as _, Write as _};

    #[test]
    fn what_clients_cannot_fetch_is_their_error() {
        let asked = |alone| Asked { subject: "CN=vpn", kind: Kind::List, url: "http://c/x.crl", alone };
        let judged = |place: Place, seen, alone| judge(&asked(alone), &place, seen, 100);
        let gone = || Place::Unreachable("no connection to port 80".into());
        let outside = judged(gone(), Seen::Outside, true);
        assert!(outside.level == Level::Fail && outside.text.contains("0x80092013"), "{outside:?}");
        assert_eq!(judged(gone(), Seen::Outside, false).level, Level::Warn, "another place has it");
        assert_eq!(judged(gone(), Seen::Here, true).level, Level::Warn, "the gateway is no client");
        assert_eq!(judged(Place::List(Some(101)), Seen::Outside, false).level, Level::Ok);
        assert_eq!(judged(Place::List(None), Seen::Outside, false).level, Level::Ok);
        assert!(judged(Place::List(Some(100)), Seen::Outside, true).text.contains("has run out"));
        assert_eq!(judged(Place::NotHttp, Seen::Outside, true).level, Level::Fail);
    }

    #[test]
    fn what_is_no_list_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x.crl", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _read = peer.read(&mut [0; 1024]).unwrap();
            peer.write_all(b"HTTP/1.0 200 OK\r\n\r\n<html>").unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(matches!(runtime.block_on(fetch(&url, &[])), Place::Unreachable(reason) if reason.starts_with("what it sends")));
        server.join().unwrap();
        assert_eq!(runtime.block_on(fetch("ldap:///CN=x", &[])), Place::NotHttp);
    }

    fn certificate(urls: &[&str]) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["vpn.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut certificate = Certificate::from_der(made.der()).unwrap();
        certificate.crl_urls = urls.iter().map(|url| (*url).to_owned()).collect();
        certificate
    }

    /// A certificate whose list is gone is judged with its responder, and one without lists has a responder all the same.
    #[test]
    fn a_responder_counts_as_a_list_does() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _read = peer.read(&mut [0; 1024]).unwrap();
            peer.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
        });
        let mut only_ocsp = certificate(&[]);
        only_ocsp.ocsp_urls = vec![url.clone()];
        let found = examine(&[&[only_ocsp.clone()]], &[], Seen::Outside);
        server.join().unwrap();
        assert!(found.len() == 1 && found[0].level == Level::Ok && found[0].text.contains("the OCSP responder at"), "{found:?}");

        let mut both = only_ocsp;
        both.crl_urls = vec!["ldap:///CN=x".into()];
        let lists_only_by_ldap = (Kind::List, "ldap:///CN=x".to_owned());
        let answered = BTreeMap::from([((Kind::Ocsp, url.clone()), Place::Responds), (lists_only_by_ldap.clone(), Place::NotHttp)]);
        let levels = |fetched: &BTreeMap<_, _>| {
            judge_chain(std::slice::from_ref(&both), fetched, Seen::Outside, 0).iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        assert_eq!(levels(&answered), [Level::Warn, Level::Ok], "the responder is enough");
        let none = BTreeMap::from([((Kind::Ocsp, url), Place::Unreachable("gone".into())), (lists_only_by_ldap, Place::NotHttp)]);
        assert_eq!(levels(&none), [Level::Fail, Level::Fail]);
    }

    /// The first place answers when the second one is asked, and neither answers twice.
    #[test]
    fn places_are_asked_together_and_once() {
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let urls = listeners.each_ref().map(|listener| format!("http://{}/x.crl", listener.local_addr().unwrap()));
        let server = std::thread::spawn(move || {
            let mut peers = listeners.map(|listener| listener.accept().unwrap().0);
            for peer in &mut peers {
                let _read = peer.read(&mut [0; 1024]).unwrap();
                peer.write_all(b"HTTP/1.0 200 OK\r\n\r\n<html>").unwrap();
            }
        });
        let (one, two) = ([certificate(&[&urls[0]])], [certificate(&[&urls[1], &urls[0]])]);
        let found = examine(&[&one, &two, &one], &[], Seen::Here);
        server.join().unwrap();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|finding| finding.text.contains("what it sends")), "{found:?}");
    }

    #[test]
    fn nobody_waits_longer_than_the_limit() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x.crl", listener.local_addr().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fetched = runtime.block_on(fetch_all([(Kind::List, url.clone())].into(), &Arc::from([]), Duration::from_millis(20)));
        assert_eq!(fetched, BTreeMap::new());
        let found = judge_chain(&[certificate(&[&url])], &fetched, Seen::Here, 0);
        assert!(found[0].level == Level::Warn && found[0].text.contains("cannot be had from here"), "{found:?}");
    }
}
