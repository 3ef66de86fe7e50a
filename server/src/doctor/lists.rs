//! Whether the revocation lists of the gateway's certificates can be had, and are current: Windows refuses SSTP where they are not.
use super::Finding;
use crate::revocation::HttpUrl;
use pki::{Certificate, UnverifiedCrl};

const CHECK: &str = "revocation";
/// Places of one chain that are tried.
const PLACES: usize = 8;

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

/// Fetches the lists of a chain, leaf first.
pub(super) fn examine(chain: &[Certificate], seen: Seen) -> Vec<Finding> {
    let issuers = chain.iter().skip(1);
    let mut places =
        chain.iter().flat_map(|certificate| certificate.crl_urls.iter().map(move |url| (certificate, url))).collect::<Vec<_>>();
    places.truncate(PLACES);
    let authorities: Vec<_> = issuers.cloned().collect();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let now = jiff::Timestamp::now().as_second();
    let fetched = places.into_iter().map(|(certificate, url)| (certificate, url, runtime.block_on(fetch(url, &authorities))));
    let fetched: Vec<_> = fetched.collect();
    let Some(leaf) = chain.first() else { return Vec::new() };
    if fetched.is_empty() {
        let text = format!("{} names no revocation list", leaf.subject);
        return vec![
            Finding::ok(CHECK, text).hint("Windows then takes it for SSTP without one; a public authority's has one, or is short-lived"),
        ];
    }
    let alone =
        |certificate: &Certificate| fetched.iter().filter(|(of, ..)| of.der == certificate.der).all(|(.., place)| !is_good(place, now));
    fetched.iter().map(|(certificate, url, place)| judge(&certificate.subject, url, place, seen, alone(certificate), now)).collect()
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
}
