//! The API for a browser on this host: what arrives at a port of the loopback interface goes on to the control socket, if it comes from our own page and
//! has the key. Every other user and every web page of this host reaches that port too; the socket's mode keeps neither of them away from it.
use super::access::{is_foreign, token_hash};
use super::console;
use super::reading::Reading;
use super::server::{PATIENCE, Patience, STRANGERS_HEAD};
use crypto::constant_time_eq;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, client, server, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// Connections at a time: a few browsers.
const MAX_CLIENTS: usize = 24;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// Who may come through, and where to.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    /// As a browser names us.
    hosts: [String; 2],
    /// SHA-256.
    key: [u8; 32],
    patience: Patience,
}

impl Relay {
    /// For a listener at `address` of the loopback interface. `key` opens it.
    pub fn new(socket: PathBuf, address: SocketAddr, key: &str) -> Self {
        let port = address.port();
        Self {
            socket,
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
            key: token_hash(key),
            patience: Patience { head: STRANGERS_HEAD, ..PATIENCE },
        }
    }

    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let (relay, places) = (Arc::new(self), Arc::new(Semaphore::new(MAX_CLIENTS)));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Without a free place the stream is dropped, which the browser tries again.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                relay.attend(stream).await;
                drop(place);
            });
        }
    }

    async fn attend(self: Arc<Self>, stream: TcpStream) {
        let patience = self.patience;
        let service = service_fn(move |request| {
            let relay = Arc::clone(&self);
            async move { Ok::<_, Infallible>(relay.respond(request).await) }
        });
        let connection = server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .serve_connection(TokioIo::new(Reading::new(stream, patience.read)), service);
        // What goes wrong with it, the browser sees for itself.
        drop(connection.await);
    }

    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        if let Some(refused) = self.refusal(&head) {
            return refused.answer();
        }
        self.pass_on(head, body).await.unwrap_or_else(|error| {
            let error = format!("the gateway does not answer: {error}");
            Refused { status: StatusCode::BAD_GATEWAY, error: error.into(), remedy: "look whether it runs: evergate status" }.answer()
        })
    }

    /// Why this request goes no further.
    fn refusal(&self, head: &Parts) -> Option<Refused> {
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // A page of elsewhere whose name was made to point here still says that name.
        if !text(HOST).is_some_and(|host| self.hosts.iter().any(|known| known == host)) {
            return Some(Refused::forbidden("this is not the address that evergate console has printed"));
        }
        let ours = |origin: &str| origin.strip_prefix("http://").is_some_and(|host| self.hosts.iter().any(|known| known == host));
        if head.headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(ours) || is_foreign(&head.headers) {
            return Some(Refused::forbidden("a page of another origin makes this call"));
        }
        let is_page = console::find(&head.method, head.uri.path()).is_some();
        (!is_page && !self.has_key(&head.headers)).then(|| Refused {
            status: StatusCode::UNAUTHORIZED,
            error: "the key is missing, or it is another one".into(),
            remedy: "open the address that evergate console has printed, with all that follows #",
        })
    }

    fn has_key(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some((kind, key)) = value.split_once(' ') else { return false };
        kind.eq_ignore_ascii_case("bearer") && constant_time_eq(&token_hash(key.trim()), &self.key)
    }

    async fn pass_on(&self, mut head: Parts, body: Incoming) -> Result<Answer, String> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with the answer, or when the browser has had enough.
        tokio::spawn(async move { drop(connection.await) });
        for header in [AUTHORIZATION, CONNECTION] {
            head.headers.remove(header);
        }
        head.headers.insert(HOST, HeaderValue::from_static("evergate"));
        let answer = sender.send_request(Request::from_parts(head, body)).await.map_err(|error| error.to_string())?;
        Ok(answer.map(Either::Left))
    }
}

struct Refused {
    status: StatusCode,
    error: Box<str>,
    remedy: &'static str,
}

impl Refused {
    fn forbidden(error: &str) -> Self {
        Self { status: StatusCode::FORBIDDEN, error: error.into(), remedy: "open the address that evergate console has printed" }
    }

    /// As the API refuses.
    fn answer(self) -> Answer {
        let text = serde_json::json!({ "error": self.error, "remedy": self.remedy }).to_string();
        let mut response = Response::new(Either::Right(Full::new(text.into())));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Relay {
        Relay::new("/nowhere/control.sock".into(), "127.0.0.1:8080".parse().unwrap(), "k3y")
    }

    fn status(path: &str, headers: &[(&str, &str)]) -> u16 {
        let request = headers.iter().fold(Request::builder().uri(path), |request, (name, value)| request.header(*name, *value));
        relay().refusal(&request.body(()).unwrap().into_parts().0).map_or(200, |refused| refused.status.as_u16())
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:8080");
    const KEY: (&str, &str) = ("authorization", "Bearer k3y");

    #[test]
    fn pages_are_for_whoever_knows_the_address_and_data_needs_the_key() {
        assert_eq!(status("/", &[HOST]), 200);
        assert_eq!(status("/console/app.js", &[("host", "localhost:8080"), ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(status("/v1/status", &[HOST, KEY, ("origin", "http://127.0.0.1:8080")]), 200);
        for wrong in [None, Some("Bearer other"), Some("Bearer"), Some("k3y"), Some("Basic k3y")] {
            let headers: Vec<_> = [HOST].into_iter().chain(wrong.map(|value| ("authorization", value))).collect();
            assert_eq!(status("/v1/status", &headers), 401, "{wrong:?}");
            assert_eq!(status("/metrics", &headers), 401, "{wrong:?}");
        }
    }

    /// Every user of this host reaches the port.
    #[test]
    fn who_says_nothing_loses_his_place() {
        use std::io::{Read as _, Write as _};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let patience = Patience { head: Duration::from_millis(200), ..PATIENCE };
            tokio::spawn(Relay { patience, ..Relay::new("/nowhere".into(), address, "k3y") }.serve(listener));
            let asked = tokio::task::spawn_blocking(move || {
                let silent: Vec<_> = (0..MAX_CLIENTS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
                let is_served = || {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    let mut answer = String::new();
                    // Who is turned away may find nobody to write to.
                    drop(write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
                    drop(stream.read_to_string(&mut answer));
                    // The socket behind it is not there.
                    answer.starts_with("HTTP/1.1 502 ")
                };
                let found = (0..1_000).any(|_| {
                    std::thread::sleep(Duration::from_millis(10));
                    is_served()
                });
                drop(silent);
                found
            });
            assert!(asked.await.unwrap());
        });
    }

    #[test]
    fn names_that_were_made_to_point_here_and_foreign_pages_are_refused() {
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:81", "localhost:80800"] {
            assert_eq!(status("/", &[("host", host)]), 403, "{host}");
            assert_eq!(status("/v1/status", &[("host", host), KEY]), 403, "{host}");
        }
        assert_eq!(status("/v1/status", &[KEY]), 403, "no host");
        for origin in ["http://evil.example", "https://127.0.0.1:8080", "http://127.0.0.1:8081", "null"] {
            assert_eq!(status("/v1/status", &[HOST, KEY, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(status("/v1/status", &[HOST, KEY, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status("/v1/status", &[HOST, KEY, ("sec-fetch-site", "same-site")]), 403, "another port of this host");
    }
}
