//! Whether the revocation lists of the gateway's certificates can be had, and are current: Windows refuses SSTP where they are not.
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

/// What became of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A list that serves until then (Unix time); `None`: who issued it was not shown, so that nothing of it could be checked.
    List(Option<i64>),
    Unreachable(String),
    /// LDAP and the like, which nobody outside reaches.
    NotHttp,
}

/// Fetches the lists of these chains, leaf first, each place once. `roots`: authorities besides those of the chains whose lists can be checked.
pub(super) fn examine(chains: &[&[Certificate]], roots: &[Certificate], seen: Seen) -> Vec<Finding> {
    let authorities: Arc<[Certificate]> = chains.iter().flat_map(|chain| chain.iter().skip(1)).chain(roots).cloned().collect();
    let urls = chains.iter().flat_map(|chain| places(chain)).map(|(_, url)| url.to_owned()).collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let fetched = runtime.block_on(fetch_all(urls, &authorities, LIMIT));
    // A look-up of a name goes on for as long as the resolver likes.
    runtime.shutdown_background();
    let now = jiff::Timestamp::now().as_second();
    chains.iter().flat_map(|chain| judge_chain(chain, &fetched, seen, now)).collect()
}

/// Where the lists are, and of which certificates.
fn places(chain: &[Certificate]) -> impl Iterator<Item = (&Certificate, &str)> {
    chain.iter().flat_map(|certificate| certificate.crl_urls.iter().map(move |url| (certificate, url.as_str()))).take(PLACES)
}

/// All together; what is not there within `limit` has no place in the answer.
async fn fetch_all(urls: BTreeSet<String>, authorities: &Arc<[Certificate]>, limit: Duration) -> BTreeMap<String, Place> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut fetches = JoinSet::new();
    for url in urls {
        let (room, authorities) = (Arc::clone(&room), Arc::clone(authorities));
        fetches.spawn(async move {
            let _place = room.acquire().await;
            let place = fetch(&url, &authorities).await;
            (url, place)
        });
    }
    let until = Instant::now() + limit;
    let mut fetched = BTreeMap::new();
    while let Ok(Some(done)) = timeout_at(until, fetches.join_next()).await {
        fetched.extend(done.ok());
    }
    fetched
}

fn judge_chain(chain: &[Certificate], fetched: &BTreeMap<String, Place>, seen: Seen, now: i64) -> Vec<Finding> {
    let Some(leaf) = chain.first() else { return Vec::new() };
    let late = Place::Unreachable(format!("it was not there when all lists had been waited for, {} s", LIMIT.as_secs()));
    let places: Vec<_> = places(chain).map(|(certificate, url)| (certificate, url, fetched.get(url).unwrap_or(&late))).collect();
    if places.is_empty() {
        let text = format!("{} names no revocation list", leaf.subject);
        return vec![
            Finding::ok(CHECK, text).hint("Windows then takes it for SSTP without one; a public authority's has one, or is short-lived"),
        ];
    }
    let alone =
        |certificate: &Certificate| places.iter().filter(|(of, ..)| of.der == certificate.der).all(|(.., place)| !is_good(place, now));
    places.iter().map(|(certificate, url, place)| judge(&certificate.subject, url, place, seen, alone(certificate), now)).collect()
}

fn is_good(place: &Place, now: i64) -> bool {
    matches!(place, Place::List(until) if until.is_none_or(|until| until > now))
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

/// `alone`: no place of this certificate has a good list.
fn judge(subject: &str, url: &str, place: &Place, seen: Seen, alone: bool, now: i64) -> Finding {
    const MENDS: &str =
        "publish the list by plain HTTP where clients reach it from outside, or use a certificate of an authority that does";
    let clients = "Windows refuses SSTP then (0x80092013)";
    let here = if seen == Seen::Here { "from here" } else { "from where this runs" };
    let bad = |text: String, remedy: &str| match (seen, alone) {
        // Clients are elsewhere.
        (Seen::Outside, true) => Finding::fail(CHECK, text, remedy),
        _ => Finding::warn(CHECK, text, remedy),
    };
    match place {
        Place::List(Some(until)) if *until <= now => {
            bad(format!("{subject}: the revocation list at {url} has run out: {clients}"), "have the authority publish a new list")
        }
        Place::List(_) => {
            let found = Finding::ok(CHECK, format!("{subject}: the revocation list at {url} can be had {here}"));
            match seen {
                Seen::Here => found.hint("clients fetch it from where they are: `evergate doctor --probe` there tries that"),
                Seen::Outside => found,
            }
        }
        Place::NotHttp => bad(format!("{subject}: the revocation list at {url} is not published by HTTP: {clients}"), MENDS),
        Place::Unreachable(reason) => bad(
            format!("{subject}: the revocation list at {url} cannot be had {here}: {reason}: {clients} where it is the same for them"),
            MENDS,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use std::io::{Read as _, Write as _};

    #[test]
    fn what_clients_cannot_fetch_is_their_error() {
        let judged = |place: Place, seen, alone| judge("CN=vpn", "http://c/x.crl", &place, seen, alone, 100);
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
        let fetched = runtime.block_on(fetch_all([url.clone()].into(), &Arc::from([]), Duration::from_millis(20)));
        assert_eq!(fetched, BTreeMap::new());
        let found = judge_chain(&[certificate(&[&url])], &fetched, Seen::Here, 0);
        assert!(found[0].level == Level::Warn && found[0].text.contains("cannot be had from here"), "{found:?}");
    }
}
