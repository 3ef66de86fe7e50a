//! Who calls, and what they may do.
use super::request::{Problem, Refusal};
use super::routes::{Role, Route, Serves};
use super::types::{self, CallerRole};
use crate::config::Api;
use crate::sstp::Place;
use crypto::constant_time_eq;
use crypto::hash::{HashAlgorithm, hash};
use hyper::header::{AUTHORIZATION, HeaderMap};
use pki::Certificate;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What a caller over TLS may prove itself with, of which the gateway knows the hash alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// For the log.
    pub name: String,
    pub role: Role,
    /// SHA-256.
    pub hash: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// SHA-256 of a token, by which it is known.
pub fn token_hash(token: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(&hash(HashAlgorithm::Sha256, &[token.as_bytes()]));
    digest
}

/// The way by which a request came.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// Whoever may open the socket may do everything.
    Socket,
    /// Metrics and health, for whoever reaches it.
    Metrics,
    /// TLS; the client's certificate, if it showed one.
    Tls { api: watch::Receiver<Api>, certificate: Option<Arc<Certificate>>, entrance: Arc<Entrance> },
}

/// What the calls of a connection stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Token([u8; 32]),
    Certificate,
}

/// A connection over TLS: a stranger's until its first call is admitted, and over once what that stood on is taken away.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) from: SocketAddr,
    known: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stranger: Option<Place>,
    known: Option<OwnedSemaphorePermit>,
    /// Of the latest call that needed one, with the role that it needed.
    proof: Option<(Proof, Role)>,
}

impl Entrance {
    /// `place`: among strangers; `known`: places of those who have proved themselves.
    pub(super) fn new(from: SocketAddr, place: Place, known: Arc<Semaphore>) -> Self {
        Self { from, known, state: Mutex::new(State { stranger: Some(place), ..State::default() }) }
    }

    /// A call of it was admitted.
    pub(super) fn is_known(&self) -> bool {
        self.state().known.is_some()
    }

    fn enter(&self, proof: Proof, role: Role) -> Result<(), Problem> {
        let mut state = self.state();
        if state.known.is_none() {
            let full = |_| Problem::new(Refusal::Busy, "all places for callers are taken", "end another connection, or try again later");
            state.known = Some(Arc::clone(&self.known).try_acquire_owned().map_err(full)?);
            state.stranger = None;
        }
        state.proof = Some((proof, role));
        Ok(())
    }

    /// Whether its latest call would be admitted by these settings, too.
    pub(super) fn stands(&self, api: &Api, certificate: Option<&Certificate>) -> bool {
        match self.state().proof {
            None => true,
            Some((Proof::Token(hash), role)) => api.tokens.iter().any(|known| constant_time_eq(&known.hash, &hash) && known.role >= role),
            Some((Proof::Certificate, role)) => certificate.is_some_and(|certificate| role_of(api, certificate) >= role),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// For the log.
    pub(super) name: String,
    role: Role,
}

impl Caller {
    pub(super) fn shown(&self) -> types::Caller {
        let role = if self.role == Role::Operate { CallerRole::Operate } else { CallerRole::Read };
        types::Caller { name: self.name.clone(), role }
    }
}

impl Door {
    /// The web console is served here.
    pub(super) fn has_console(&self) -> bool {
        !matches!(self, Self::Metrics)
    }

    /// Where the caller is, if that is known.
    pub(super) fn from(&self) -> Option<SocketAddr> {
        match self {
            Self::Tls { entrance, .. } => Some(entrance.from),
            Self::Socket | Self::Metrics => None,
        }
    }

    /// Who asks for this route by this door, if they may.
    pub(super) fn admit(&self, route: &Route, headers: &HeaderMap) -> Result<Caller, Problem> {
        let (caller, proof) = match self {
            Self::Socket => (Caller { name: "control socket".into(), role: Role::Operate }, None),
            Self::Metrics => {
                if !matches!(route.serves, Serves::Metrics) && route.role != Role::Anybody {
                    return Err(Problem::new(Refusal::NotFound, format!("{} is not served here", route.path), "ask at the control socket"));
                }
                (Caller { name: "monitoring".into(), role: Role::Read }, None)
            }
            Self::Tls { api, certificate, .. } => caller(&api.borrow(), certificate.as_deref(), headers),
        };
        // A browser shows its certificate for whatever page asks, and says which kind of page that is.
        if matches!(self, Self::Tls { .. }) && route.role > Role::Anybody && is_foreign(headers) {
            let remedy = "call it from the console, or from a program";
            return Err(Problem::new(Refusal::Forbidden, "a page of another origin makes this call", remedy));
        }
        if caller.role >= route.role {
            if let (Self::Tls { entrance, .. }, Some(proof), true) = (self, proof, route.role > Role::Anybody) {
                entrance.enter(proof, route.role)?;
            }
            return Ok(caller);
        }
        Err(match caller.role {
            Role::Anybody => Problem::new(
                Refusal::Unknown,
                format!("nobody is known by this call: it comes {}", caller.name),
                "send Authorization: Bearer with a token of tokens_file, or show a client certificate",
            ),
            _ => Problem::new(
                Refusal::Forbidden,
                format!("{} may only read", caller.name),
                "use a token or certificate with the role operate",
            ),
        })
    }
}

/// Whether a page of another origin makes this call (Fetch Metadata).
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// By token, else by certificate.
fn caller(api: &Api, certificate: Option<&Certificate>, headers: &HeaderMap) -> (Caller, Option<Proof>) {
    let named = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = named.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")) {
        let presented = token_hash(token.1.trim());
        // Every one is compared, wherever the right one stands.
        let matching =
            api.tokens.iter().fold(None, |found, known| if constant_time_eq(&known.hash, &presented) { Some(known) } else { found });
        return match matching {
            None => (stranger("with a token that nobody has"), None),
            Some(known) => {
                let caller = Caller { name: format!("token {}", known.name), role: known.role };
                (caller, Some(Proof::Token(presented)))
            }
        };
    }
    let Some(certificate) = certificate else { return (stranger("without token and certificate"), None) };
    let caller = Caller { name: format!("certificate {}", certificate.subject), role: role_of(api, certificate) };
    (caller, Some(Proof::Certificate))
}

fn role_of(api: &Api, certificate: &Certificate) -> Role {
    let names = [&certificate.upns, &certificate.emails, &certificate.dns_names].into_iter().flatten().chain(&certificate.common_name);
    let operates = names.into_iter().any(|name| api.operators.iter().any(|operator| operator.eq_ignore_ascii_case(name)));
    if operates { Role::Operate } else { Role::Read }
}

fn stranger(how: &str) -> Caller {
    Caller { name: how.into(), role: Role::Anybody }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::find;
    use hyper::Method;
    use hyper::header::HeaderValue;

    fn api() -> Api {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["gw.example.test".into()]).unwrap().self_signed(&key).unwrap();
        let credential = pki::Credential::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let token = |name: &str, role, text: &str| Token { name: name.into(), role, hash: token_hash(text) };
        Api {
            listen: Vec::new(),
            settings: Arc::new(tls::MutualSettings::new(&credential, Arc::new(pki::TrustAnchors::new(Vec::new()))).or_without()),
            tokens: Arc::new(vec![token("prometheus", Role::Read, "r"), token("console", Role::Operate, "o")]),
            operators: vec!["Ann@example.test".into()],
            revocation: Default::default(),
        }
    }

    fn entrance(known: usize) -> Arc<Entrance> {
        let from: SocketAddr = "192.0.2.7:50000".parse().unwrap();
        let place = super::super::server::strangers().take(from.ip()).unwrap();
        Arc::new(Entrance::new(from, place, Arc::new(Semaphore::new(known))))
    }

    #[test]
    fn a_connection_stands_on_what_its_caller_has_shown() {
        let (settings, mut before) = watch::channel(api());
        let entrance = entrance(1);
        let certificate = Arc::new(certificate("ann@example.test"));
        let door = Door::Tls { api: before.clone(), certificate: Some(Arc::clone(&certificate)), entrance: Arc::clone(&entrance) };
        let admit = |token: Option<&str>, method: &Method, path: &str| {
            let mut headers = HeaderMap::new();
            token.map(|token| headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap()));
            door.admit(find(method, path).unwrap().0, &headers).is_ok()
        };
        let stands = |change: fn(&mut Api)| {
            let mut other = api();
            change(&mut other);
            entrance.stands(&other, Some(&*certificate))
        };
        assert!(admit(None, &Method::GET, "/healthz") && !entrance.is_known(), "whoever asks for nothing but health stays a stranger");
        assert!(!admit(Some("wrong"), &Method::GET, "/v1/status") && !entrance.is_known());
        assert!(admit(Some("r"), &Method::GET, "/v1/status") && entrance.is_known());
        assert!(stands(|_| {}) && !stands(|api| api.tokens = Arc::default()), "the token is gone");
        assert!(admit(Some("o"), &Method::POST, "/v1/drain"));
        assert!(!stands(|api| Arc::make_mut(&mut api.tokens)[1].role = Role::Read), "the token may only read now");
        assert!(admit(None, &Method::POST, "/v1/drain"));
        assert!(stands(|api| api.tokens = Arc::default()) && !stands(|api| api.operators.clear()));
        settings.send_replace(Api { tokens: Arc::default(), ..api() });
        assert!(
            before.has_changed().unwrap() && before.borrow_and_update().tokens.is_empty() && !admit(Some("r"), &Method::GET, "/v1/status")
        );
    }

    #[test]
    fn who_is_known_needs_a_place_of_his_own() {
        let (_settings, api) = watch::channel(api());
        let door = Door::Tls { api, certificate: None, entrance: entrance(0) };
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer r"))]);
        assert_eq!(door.admit(find(&Method::GET, "/v1/status").unwrap().0, &headers).unwrap_err().status, Refusal::Busy);
        assert!(door.admit(find(&Method::GET, "/healthz").unwrap().0, &headers).is_ok());
    }

    fn certificate(name: &str) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn admitted(certificate: Option<Certificate>, authorization: Option<&str>, method: &Method, path: &str) -> Result<String, Refusal> {
        let (_settings, api) = watch::channel(api());
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let (route, _) = find(method, path).unwrap();
        Door::Tls { api, certificate: certificate.map(Arc::new), entrance: entrance(1) }
            .admit(route, &headers)
            .map(|caller| caller.name)
            .map_err(|problem| problem.status)
    }

    #[test]
    fn over_tls_a_token_or_a_certificate_says_who_calls() {
        let (get, post) = (&Method::GET, &Method::POST);
        assert_eq!(admitted(None, Some("Bearer r"), get, "/v1/status"), Ok("token prometheus".into()));
        assert_eq!(admitted(None, Some("bearer o"), post, "/v1/drain"), Ok("token console".into()));
        assert_eq!(admitted(None, Some("Bearer r"), post, "/v1/drain"), Err(Refusal::Forbidden));
        for nobody in [None, Some("Bearer x"), Some("Bearer "), Some("Basic r"), Some("r")] {
            assert_eq!(admitted(None, nobody, get, "/v1/status"), Err(Refusal::Unknown), "{nobody:?}");
            assert!(admitted(None, nobody, get, "/healthz").is_ok());
        }
        assert!(admitted(Some(certificate("ann@EXAMPLE.test")), None, post, "/v1/drain").is_ok());
        assert_eq!(admitted(Some(certificate("bob")), None, post, "/v1/drain"), Err(Refusal::Forbidden));
        assert!(admitted(Some(certificate("bob")), None, get, "/v1/sessions").is_ok());
        assert_eq!(
            admitted(Some(certificate("ann@example.test")), Some("Bearer x"), post, "/v1/drain"),
            Err(Refusal::Unknown),
            "a wrong token"
        );
    }

    #[test]
    fn a_page_of_elsewhere_gets_nothing_by_the_certificate_of_its_reader() {
        let (_, api) = watch::channel(api());
        let door = Door::Tls { api, certificate: Some(Arc::new(certificate("ann@example.test"))), entrance: entrance(1) };
        let (status, _) = find(&Method::GET, "/v1/status").unwrap();
        for (site, good) in [("same-origin", true), ("none", true), ("cross-site", false), ("same-site", false)] {
            let headers = HeaderMap::from_iter([("sec-fetch-site".parse().unwrap(), HeaderValue::from_static(site))]);
            assert_eq!(door.admit(status, &headers).is_ok(), good, "{site}");
        }
    }

    #[test]
    fn every_order_needs_an_operator() {
        for route in crate::api::routes::ROUTES.iter().filter(|route| route.method != Method::GET) {
            assert!(route.role == Role::Operate || route.path == "/v1/policies/test", "{} {}", route.method, route.path);
        }
    }
}
