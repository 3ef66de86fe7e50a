//! Who calls, and what they may do.
use super::request::{Problem, Refusal};
use super::routes::{Role, Route, Serves};
use super::types::{self, CallerRole};
use crate::config::Api;
use crypto::constant_time_eq;
use crypto::hash::{HashAlgorithm, hash};
use hyper::header::{AUTHORIZATION, HeaderMap};
use pki::Certificate;
use std::sync::Arc;
use tokio::sync::watch;

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
    Tls { api: watch::Receiver<Api>, certificate: Option<Arc<Certificate>> },
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

    /// Who asks for this route by this door, if they may.
    pub(super) fn admit(&self, route: &Route, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = match self {
            Self::Socket => Caller { name: "control socket".into(), role: Role::Operate },
            Self::Metrics => {
                if !matches!(route.serves, Serves::Metrics) && route.role != Role::Anybody {
                    return Err(Problem::new(Refusal::NotFound, format!("{} is not served here", route.path), "ask at the control socket"));
                }
                Caller { name: "monitoring".into(), role: Role::Read }
            }
            Self::Tls { api, certificate } => caller(&api.borrow(), certificate.as_deref(), headers),
        };
        // A browser shows its certificate for whatever page asks, and says which kind of page that is.
        if matches!(self, Self::Tls { .. }) && route.role > Role::Anybody && is_foreign(headers) {
            let remedy = "call it from the console, or from a program";
            return Err(Problem::new(Refusal::Forbidden, "a page of another origin makes this call", remedy));
        }
        if caller.role >= route.role {
            return Ok(caller);
        }
        Err(match caller.role {
            Role::Anybody => Problem::new(
                Refusal::Unknown,
                "nobody is known by this call",
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
fn caller(api: &Api, certificate: Option<&Certificate>, headers: &HeaderMap) -> Caller {
    let named = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = named.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer")) {
        let presented = token_hash(token.1.trim());
        // Every one is compared, wherever the right one stands.
        let matching =
            api.tokens.iter().fold(None, |found, known| if constant_time_eq(&known.hash, &presented) { Some(known) } else { found });
        return matching.map_or_else(stranger, |known| Caller { name: format!("token {}", known.name), role: known.role });
    }
    let Some(certificate) = certificate else { return stranger() };
    let names = [&certificate.upns, &certificate.emails, &certificate.dns_names].into_iter().flatten().chain(&certificate.common_name);
    let operates = names.into_iter().any(|name| api.operators.iter().any(|operator| operator.eq_ignore_ascii_case(name)));
    let role = if operates { Role::Operate } else { Role::Read };
    Caller { name: format!("certificate {}", certificate.subject), role }
}

fn stranger() -> Caller {
    Caller { name: "somebody".into(), role: Role::Anybody }
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
        }
    }

    fn certificate(name: &str) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn admitted(certificate: Option<Certificate>, authorization: Option<&str>, method: &Method, path: &str) -> Result<String, Refusal> {
        let (_, api) = watch::channel(api());
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let (route, _) = find(method, path).unwrap();
        Door::Tls { api, certificate: certificate.map(Arc::new) }
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
        let door = Door::Tls { api, certificate: Some(Arc::new(certificate("ann@example.test"))) };
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
