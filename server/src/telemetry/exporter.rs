//! The thread that hands logins to the collector: nobody waits for it, and no login is kept for a collector that is not there.
use super::otlp::{Resource, request};
use super::{Login, Settings};
use crate::tls_client::Link;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Logins on their way to the thread.
const QUEUE: usize = 2048;

/// Logins of one request.
const BATCH: usize = 256;

/// So long more logins are waited for before a request is sent.
const GATHER: Duration = Duration::from_millis(500);

/// From the name's look-up to the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between tries while the collector is not there.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a regular stop waits for the last request.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// More of an answer is not read.
const MAX_ANSWER: usize = 64 << 10;

/// So much of what a collector says is told.
const MAX_REASON: usize = 256;

/// How the export stands, for `evergate status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Logins that the collector has taken since the start.
    pub exported: u64,
    /// Logins that are lost: too many waited, or the collector did not want them.
    pub dropped: u64,
    /// Why the last request failed.
    pub failure: Option<String>,
}

/// The control half's end.
#[derive(Debug)]
pub struct Exporter {
    logins: Sender<Login>,
    settings: watch::Sender<Settings>,
    status: Arc<Mutex<Status>>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Exporter {
    /// Starts the thread. `instance`: the gateway's name.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(settings: Settings, instance: &str) -> io::Result<Self> {
        let (logins, inbox) = channel(QUEUE);
        let (finished, done) = std::sync::mpsc::sync_channel(1);
        let status = Arc::new(Mutex::new(Status::default()));
        let (settings, known) = watch::channel(settings);
        let mut sender = Deliverer { settings: known, instance: instance.to_owned(), status: Arc::clone(&status) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("telemetry".into()).spawn(move || {
            runtime.block_on(sender.run(inbox));
            // Nobody waits for it unless the gateway stops.
            finished.send(()).ok();
        })?;
        Ok(Self { logins, settings, status, done })
    }

    /// Hands a login over, without ever waiting.
    pub fn submit(&self, login: Login) {
        if self.logins.try_send(login).is_err() {
            locked(&self.status).dropped += 1;
        }
    }

    /// What has not been sent yet goes there, too.
    pub fn change(&self, settings: Settings) {
        self.settings.send_replace(settings);
    }

    pub fn status(&self) -> Status {
        locked(&self.status).clone()
    }

    /// Lets the last logins go, for a moment.
    pub fn finish(self) {
        drop(self.logins);
        if self.done.recv_timeout(LAST_REQUEST).is_err() {
            tracing::debug!("the collector does not take the last traces in time");
        }
    }
}

/// A thread that dies while it holds the lock leaves numbers behind that are as good as any.
fn locked(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a request failed.
enum Failure {
    /// It is worth another try: OTLP specification, "Failures".
    Passing(String),
    /// The collector will never take these.
    Final(String),
}

/// `ExportTracePartialSuccess` of OTLP: there is nothing to be done about it but to say so.
#[derive(Debug, PartialEq, Eq)]
struct PartialSuccess {
    rejected_spans: u64,
    message: String,
}

impl PartialSuccess {
    /// `None`: all spans were taken, or that is how an answer counts that says nothing else.
    fn read(answer: &[u8]) -> Option<Self> {
        let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
        let partial = answer.get("partialSuccess")?;
        let rejected = partial.get("rejectedSpans")?;
        // Numbers of 64 bits are text in this form; not every collector knows.
        let rejected_spans = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).filter(|rejected| *rejected > 0)?;
        let message = partial.get("errorMessage").and_then(serde_json::Value::as_str).unwrap_or("it does not say why").to_owned();
        Some(Self { rejected_spans, message })
    }
}

struct Deliverer {
    settings: watch::Receiver<Settings>,
    /// The gateway's name.
    instance: String,
    status: Arc<Mutex<Status>>,
}

impl Deliverer {
    async fn run(&mut self, mut inbox: Receiver<Login>) {
        while let Some(batch) = gather(&mut inbox).await {
            self.deliver(&batch, &inbox).await;
        }
    }

    /// Tries until it is done, or the gateway stops. What comes meanwhile waits in the channel, and is lost where that is full.
    async fn deliver(&mut self, batch: &[Login], inbox: &Receiver<Login>) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let resource = Resource { service: settings.service.clone(), instance: self.instance.clone() };
            let body = Bytes::from(request(&resource, batch).to_string());
            let sent = timeout(PATIENCE, post(&settings, body)).await;
            let late = || Err(Failure::Passing(format!("no answer within {} s", PATIENCE.as_secs())));
            match sent.unwrap_or_else(|_| late()) {
                Ok(None) => return self.delivered(batch.len() as u64),
                Ok(Some(partly)) => return self.partly_delivered(&partly, batch.len() as u64),
                Err(Failure::Final(reason)) => return self.refused(reason, batch.len() as u64),
                Err(Failure::Passing(reason)) => self.failed(reason),
            }
            if inbox.is_closed() {
                locked(&self.status).dropped += batch.len() as u64;
                return;
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                Ok(()) = self.settings.changed() => {}
            }
        }
    }

    fn delivered(&self, logins: u64) {
        let mut status = locked(&self.status);
        status.exported += logins;
        if status.failure.take().is_some() {
            let dropped = status.dropped;
            drop(status);
            tracing::info!(collector = self.settings.borrow().otlp.as_str(), dropped, "the collector of traces answers again");
        }
    }

    /// Of a login that misses a span the collector has no whole trace: as many count as refused as can have lost one.
    fn partly_delivered(&self, partly: &PartialSuccess, logins: u64) {
        let refused = partly.rejected_spans.min(logins);
        locked(&self.status).exported += logins - refused;
        let message = &partly.message[..partly.message.floor_char_boundary(MAX_REASON)];
        self.refused(format!("the collector refused {} spans: {message}", partly.rejected_spans), refused);
    }

    fn refused(&self, reason: String, logins: u64) {
        locked(&self.status).dropped += logins;
        self.failed(reason);
    }

    /// One warning an outage.
    fn failed(&self, reason: String) {
        let first = locked(&self.status).failure.replace(reason.clone()).is_none();
        if first {
            tracing::warn!(
                collector = self.settings.borrow().otlp.as_str(),
                reason,
                "traces of logins do not reach the collector (telemetry.otlp); logins go on without, and {QUEUE} of them wait for it"
            );
        }
    }
}

/// `Some`: the collector took a part.
async fn post(settings: &Settings, body: Bytes) -> Result<Option<PartialSuccess>, Failure> {
    let collector = &settings.otlp;
    let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
    let tcp = TcpStream::connect((collector.host(), collector.port())).await.map_err(|error| passing(&error))?;
    let stream = match &settings.tls {
        None => Stream::Plain(tcp),
        Some(tls) => Stream::Tls(Link::open(tcp, tls).await.map_err(|error| passing(&error))?.into_stream()),
    };
    let request = hyper::Request::post(format!("{}/v1/traces", collector.path().trim_end_matches('/')));
    let mut request = request
        .header(HOST, collector.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("evergate/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| Failure::Final(error.to_string()))?;
    request.headers_mut().extend(settings.headers.iter());
    let response = match stream {
        Stream::Plain(stream) => exchange(stream, request).await,
        Stream::Tls(stream) => exchange(stream, request).await,
    };
    let (status, body) = response.map_err(|error| passing(&error))?;
    match status.as_u16() {
        200..=299 => Ok(PartialSuccess::read(&body)),
        code @ (429 | 502..=504) => Err(Failure::Passing(format!("HTTP status {code}"))),
        code => Err(Failure::Final(format!("HTTP status {code}"))),
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(DuplexStream),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<Bytes>>,
) -> hyper::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with it, whoever waits for the answer learns.
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    connection.abort();
    Ok((head.status, body))
}

/// What there is, once there is something, with what follows soon; `None`: there will be nothing more.
async fn gather(inbox: &mut Receiver<Login>) -> Option<Vec<Login>> {
    let mut batch = vec![inbox.recv().await?];
    let until = Instant::now() + GATHER;
    while batch.len() < BATCH
        && let Ok(Some(login)) = tokio::time::timeout_at(until, inbox.recv()).await
    {
        batch.push(login);
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::HttpUrl;
    use crate::telemetry::Headers;
    use crate::telemetry::tests::login;
    use crate::waiting::until;
    use pki::{Certificate, Credential, TrustAnchors};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use tls::{ClientSettings, MutualConnection, MutualSettings};

    fn settings(port: u16) -> Settings {
        let otlp = HttpUrl::parse(&format!("http://127.0.0.1:{port}/otlp/")).unwrap();
        Settings { otlp, tls: None, headers: Headers::default(), service: "evergate".into() }
    }

    /// Takes one request; its head and body.
    fn receive(listener: &TcpListener, status: &str) -> (String, serde_json::Value) {
        receive_and_say(listener, status, "{}")
    }

    fn receive_and_say(listener: &TcpListener, status: &str, answer: &str) -> (String, serde_json::Value) {
        converse(&mut listener.accept().unwrap().0, status, answer)
    }

    fn converse(stream: &mut (impl Read + Write), status: &str, answer: &str) -> (String, serde_json::Value) {
        let (mut read, mut buffer) = (Vec::new(), [0; 65536]);
        loop {
            let length = stream.read(&mut buffer).unwrap();
            read.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8(read.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if let Ok(body) = serde_json::from_str(body) {
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
                return (head.to_owned(), body);
            }
        }
    }

    #[test]
    fn a_collector_gets_logins_together_and_may_refuse_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporter = Exporter::start(settings(listener.local_addr().unwrap().port()), "vpn").unwrap();
        (0..3).for_each(|_| exporter.submit(login(None)));
        let (head, body) = receive(&listener, "200 OK");
        assert!(head.starts_with("POST /otlp/v1/traces HTTP/1.1\r\n") && head.contains("content-type: application/json"), "{head}");
        assert_eq!(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 18);
        until(|| exporter.status().exported == 3);
        exporter.submit(login(None));
        receive(&listener, "400 Bad Request");
        until(|| exporter.status().dropped == 1);
        assert_eq!(exporter.status().failure.as_deref(), Some("HTTP status 400"));
        exporter.submit(login(None));
        receive(&listener, "200 OK");
        until(|| exporter.status() == Status { exported: 4, dropped: 1, failure: None });
        exporter.finish();
    }

    /// The collector's end of TLS.
    struct OverTls {
        tcp: std::net::TcpStream,
        tls: MutualConnection,
        plain: Vec<u8>,
    }

    impl OverTls {
        /// `None`: there is no handshake.
        fn accept(listener: &TcpListener, settings: &MutualSettings) -> Option<Self> {
            let tls = MutualConnection::new(settings, jiff::Timestamp::now().as_second()).unwrap();
            let mut stream = Self { tcp: listener.accept().unwrap().0, tls, plain: Vec::new() };
            while !stream.advance().ok()? {}
            Some(stream)
        }

        /// Takes what has come; true after the handshake.
        fn advance(&mut self) -> io::Result<bool> {
            let (mut buffer, mut out) = ([0; 65536], Vec::new());
            let length = self.tcp.read(&mut buffer)?;
            let taken = self.tls.receive_data(&buffer[..length], &mut self.plain, &mut out);
            self.tcp.write_all(&out)?;
            taken.map_err(io::Error::other).and_then(|done| if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(done) })
        }
    }

    impl Read for OverTls {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            while self.plain.is_empty() {
                self.advance()?;
            }
            let length = buffer.len().min(self.plain.len());
            buffer[..length].copy_from_slice(&self.plain[..length]);
            self.plain.drain(..length);
            Ok(length)
        }
    }

    impl Write for OverTls {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let mut out = Vec::new();
            self.tls.send(data, &mut out).map_err(io::Error::other)?;
            self.tcp.write_all(&out)?;
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An authority, and what it issued to a collector at this address.
    fn certified() -> (Arc<TrustAnchors>, MutualSettings) {
        let (key, of_leaf) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = Certificate::from_pem(root.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&of_leaf, &rcgen::Issuer::new(root, key)).unwrap().pem();
        let credential = Credential::from_pem(leaf.as_bytes(), of_leaf.serialize_pem().as_bytes()).unwrap();
        let roots = Arc::new(TrustAnchors::new(authority));
        (Arc::clone(&roots), MutualSettings::new(&credential, roots).or_without())
    }

    #[test]
    fn a_collector_over_tls_is_believed_by_its_authority_and_told_the_token() {
        let ((stranger, _), (authority, collector)) = (certified(), certified());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let trusting = |roots| Settings {
            otlp: HttpUrl::parse_secure(&format!("https://127.0.0.1:{port}")).unwrap(),
            tls: Some(Arc::new(ClientSettings::new(None, roots, "127.0.0.1".into(), None).offering(&[b"http/1.1"]))),
            headers: Headers::parse(b"authorization: Bearer s3cret").unwrap(),
            service: "evergate".into(),
        };
        let exporter = Exporter::start(trusting(stranger), "vpn").unwrap();
        exporter.submit(login(None));
        assert!(OverTls::accept(&listener, &collector).is_none(), "another authority issued its certificate");
        until(|| exporter.status().failure.is_some());
        let failure = exporter.status().failure.unwrap_or_default();
        assert!(failure.contains("certificate") && exporter.status().exported == 0, "{failure}");
        // What waits goes where a change says.
        exporter.change(trusting(authority));
        let (head, body) = converse(&mut OverTls::accept(&listener, &collector).unwrap(), "200 OK", "{}");
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("\r\nauthorization: Bearer s3cret"), "{head}");
        assert_eq!(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 6);
        until(|| exporter.status() == Status { exported: 1, ..Status::default() });
        exporter.finish();
    }

    #[test]
    fn nobody_waits_for_a_collector_that_is_not_there() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let exporter = Exporter::start(settings(gone), "vpn").unwrap();
        exporter.submit(login(None));
        until(|| exporter.status().failure.is_some());
        (0..QUEUE + 10).for_each(|_| exporter.submit(login(None)));
        assert_eq!(exporter.status().dropped, 10);
    }

    #[test]
    fn what_a_collector_takes_in_part_is_not_exported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exporter = Exporter::start(settings(listener.local_addr().unwrap().port()), "vpn").unwrap();
        (0..3).for_each(|_| exporter.submit(login(None)));
        receive_and_say(&listener, "200 OK", r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#);
        until(|| exporter.status().dropped == 2);
        let failure = Some("the collector refused 2 spans: too old".to_owned());
        assert_eq!(exporter.status(), Status { exported: 1, dropped: 2, failure });
        exporter.submit(login(None));
        receive_and_say(&listener, "200 OK", r#"{"partialSuccess":{"rejectedSpans":18}}"#);
        until(|| exporter.status().dropped == 3);
        exporter.submit(login(None));
        receive_and_say(&listener, "200 OK", r#"{"partialSuccess":{"rejectedSpans":"0","errorMessage":"a word"}}"#);
        until(|| exporter.status() == Status { exported: 2, dropped: 3, failure: None });
        exporter.finish();
    }
}
