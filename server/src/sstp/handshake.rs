//! One connection from its first byte to its HTTP request.
use super::{Connection, Counters, Shared, Sstp, proxy};
use crate::gateway::{CallSettings, Presented, Turned};
use crate::outcome::{Failure, Fault, Stage};
use ike::Path;
use sstp::http::{self, Head};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tls::{Status, TlsError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A client that asks for SSTP.
pub(super) struct Asked {
    pub(super) path: Path,
    pub(super) connection: Connection,
    /// DER of the certificate it was shown.
    pub(super) leaf: Vec<u8>,
    pub(super) presented: Presented,
    /// The name that it asked for (SNI).
    pub(super) server_name: Option<String>,
    pub(super) tls: String,
    pub(super) correlation_id: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Why a connection came to nothing: always counted, and on record where a client that means SSTP would want an explanation.
pub(super) struct TurnedAway {
    pub(super) counter: fn(&Counters) -> &AtomicU64,
    pub(super) record: Option<Box<Turned>>,
}

impl TurnedAway {
    fn unrecorded(counter: fn(&Counters) -> &AtomicU64) -> Self {
        Self { counter, record: None }
    }
}

/// What a connection turned out to be.
pub(super) enum Outcome {
    Asked(Box<Asked>, Arc<CallSettings>),
    Encapsulated { socket: std::net::TcpStream, path: Path, notes: Vec<String> },
}

impl Outcome {
    pub(super) fn path(&self) -> Path {
        match self {
            Self::Asked(asked, _) => asked.path,
            Self::Encapsulated { path, .. } => *path,
        }
    }
}

pub(super) async fn run(mut socket: TcpStream, remote: SocketAddr, shared: &Shared) -> Result<Outcome, TurnedAway> {
    let gone = |_| TurnedAway::unrecorded(|counters| &counters.tls_failed);
    let local = socket.local_addr().map_err(gone)?;
    socket.set_nodelay(true).map_err(gone)?;
    let mut path = Path::between(canonical(local), canonical(remote));
    let mut notes = Vec::new();
    if shared.places.is_proxy(path.remote.ip()) {
        let real = timeout(shared.bounds.handshake, proxy::read(&mut socket)).await;
        match real {
            Ok(Ok(Some((client, dialled)))) => {
                notes.push(format!("through the balancer {}", path.remote));
                // Balancers on sockets for both families write IPv4 clients as ::ffff:192.0.2.1.
                path = Path::between(canonical(dialled), canonical(client));
            }
            // The balancer's own health check.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(balancer = %path.remote, %error, "no valid PROXY header; is the balancer configured to send one?");
                return Err(TurnedAway::unrecorded(|counters| &counters.bad_proxy_header));
            }
            Err(_) => return Err(TurnedAway::unrecorded(|counters| &counters.too_slow)),
        }
    }
    if shared.encapsulated {
        match timeout(shared.bounds.handshake, is_encapsulated(&mut socket, shared.sstp.is_some())).await {
            Ok(Ok(true)) => return Ok(Outcome::Encapsulated { socket: socket.into_std().map_err(gone)?, path, notes }),
            Ok(Ok(false)) => {}
            Ok(Err(_)) => return Err(TurnedAway::unrecorded(|counters| &counters.not_ike)),
            Err(_) => return Err(TurnedAway::unrecorded(|counters| &counters.too_slow)),
        }
    }
    let Some(Sstp { tls, settings: calls }) = &shared.sstp else { return Err(TurnedAway::unrecorded(|counters| &counters.not_ike)) };
    let settings = tls.clone();
    let visitor = tls::Visitor { client: path.remote.ip(), gateway: path.local.ip(), now: jiff::Timestamp::now().as_second() };
    let tls = Some(Box::new(tls::Connection::new(settings, Some(visitor))));
    let mut visit = Visit { socket, tls, plain: Vec::new(), path, notes, workers: &shared.workers };
    match timeout(shared.bounds.handshake, visit.shake_hands()).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(visit.too_slow(Stage::Tls, "the TLS handshake took too long")),
    }
    match timeout(shared.bounds.request, visit.request()).await {
        Ok(outcome) => Ok(Outcome::Asked(Box::new(visit.asked(outcome?)?), calls.clone())),
        Err(_) => Err(visit.too_slow(Stage::Http, "no HTTP request came after the TLS handshake")),
    }
}

/// Whether the client begins with the prefix of RFC 9329, which is taken from the socket then. With `or_tls` another first byte stays there.
async fn is_encapsulated(socket: &mut TcpStream, or_tls: bool) -> std::io::Result<bool> {
    let mut prefix = [0; ike::tcp::PREFIX.len()];
    // It needs no more than the first byte to tell it from TLS.
    if or_tls && (socket.peek(&mut prefix[..1]).await? == 0 || prefix[0] != ike::tcp::PREFIX[0]) {
        return Ok(false);
    }
    socket.read_exact(&mut prefix).await?;
    match prefix == ike::tcp::PREFIX {
        true => Ok(true),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// A connection that is being received.
struct Visit<'a> {
    socket: TcpStream,
    /// Away only while a worker has it.
    tls: Option<Box<tls::Connection>>,
    plain: Vec<u8>,
    path: Path,
    notes: Vec<String>,
    workers: &'a Semaphore,
}

/// How receiving ended.
enum Lost {
    /// Closed without close_notify, or reset.
    Io,
    Tls(TlsError),
}

impl Visit<'_> {
    async fn shake_hands(&mut self) -> Result<(), TurnedAway> {
        let mut silent = true;
        while self.is_handshaking() {
            match self.receive().await {
                // Its goodbye came with its last message of the handshake.
                Ok(Status::PeerClosed) | Err(Lost::Io) if !self.is_handshaking() => {}
                Ok(Status::PeerClosed) | Err(Lost::Io) if silent => return Err(TurnedAway::unrecorded(|counters| &counters.tls_failed)),
                Ok(Status::PeerClosed) | Err(Lost::Io) => {
                    return Err(self.turned(Stage::Tls, Fault::Silence, None, "the client left in the TLS handshake".into()));
                }
                Ok(_) => silent = false,
                Err(Lost::Tls(error)) => return Err(self.tls_failed(&error)),
            }
        }
        if let Some(name) = self.tls.as_ref().and_then(|tls| tls.report().server_name) {
            self.notes.push(format!("client asks for the server name {name}"));
        }
        Ok(())
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    async fn request(&mut self) -> Result<http::SstpRequest, TurnedAway> {
        loop {
            match http::parse(&self.plain) {
                Head::Request(request) => return Ok(request),
                Head::Refused(refusal) => return Err(self.refuse(&refusal).await),
                Head::Incomplete => {}
            }
            match self.receive().await {
                Ok(Status::PeerClosed) | Err(Lost::Io) => {
                    let cause = self.left_after_tls();
                    return Err(self.turned(Stage::Tls, Fault::Silence, None, cause));
                }
                Ok(_) => {}
                Err(Lost::Tls(error)) => return Err(self.tls_failed(&error)),
            }
        }
    }

    fn asked(mut self, request: http::SstpRequest) -> Result<Asked, TurnedAway> {
        let gone = || TurnedAway::unrecorded(|counters| &counters.tls_failed);
        let tls = self.tls.take().ok_or_else(gone)?;
        let report = tls.report();
        let leaf = tls.leaf().unwrap_or_default().to_vec();
        let presented = presented(&tls).ok_or_else(gone)?;
        let early = self.plain.split_off(request.consumed.min(self.plain.len()));
        if let Some(host) = request.host {
            self.notes.push(format!("HTTP Host {host}"));
        }
        Ok(Asked {
            path: self.path,
            connection: Connection {
                socket: self.socket.into_std().map_err(|_| gone())?,
                tls: *tls,
                early,
                place: None,
                one_packet_a_record: request.one_packet_a_record,
            },
            leaf,
            presented,
            tls: format!("{} {}", report.version, report.cipher_suite),
            server_name: report.server_name,
            correlation_id: request.correlation_id,
            notes: self.notes,
        })
    }

    /// Reads once, answers what TLS has to answer.
    async fn receive(&mut self) -> Result<Status, Lost> {
        let mut input = vec![0; READ];
        let length = self.socket.read(&mut input).await.map_err(|_| Lost::Io)?;
        if length == 0 {
            return Err(Lost::Io);
        }
        input.truncate(length);
        let (outcome, mut plain, out) = self.advance(input).await?;
        self.plain.append(&mut plain);
        // An alert that does not get through changes nothing.
        let written = self.socket.write_all(&out).await;
        let status = outcome.map_err(Lost::Tls)?;
        written.map_err(|_| Lost::Io)?;
        Ok(status)
    }

    /// Signatures and key exchanges take their time, so they leave the control thread; no more at once than there are cores.
    async fn advance(&mut self, input: Vec<u8>) -> Result<(Result<Status, TlsError>, Vec<u8>, Vec<u8>), Lost> {
        let mut tls = self.tls.take().ok_or(Lost::Io)?;
        let _permit = self.workers.acquire().await.map_err(|_| Lost::Io)?;
        let work = move || {
            let (mut plain, mut out) = (Vec::new(), Vec::new());
            let outcome = tls.receive(&input, &mut plain, &mut out);
            (tls, outcome, plain, out)
        };
        let (tls, outcome, plain, out) = tokio::task::spawn_blocking(work).await.map_err(|_| Lost::Io)?;
        self.tls = Some(tls);
        Ok((outcome, plain, out))
    }

    /// Answers a request that is not for SSTP, and says goodbye.
    async fn refuse(&mut self, refusal: &http::Refusal) -> TurnedAway {
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let response = refusal.response(&date);
        if let Some(tls) = &mut self.tls {
            let mut out = vec![0; tls::Connection::sealed_len(response.len())];
            let length = tls.seal(&response, &mut out).unwrap_or(0);
            out.truncate(length);
            tls.close(&mut out);
            let goodbye = async {
                self.socket.write_all(&out).await?;
                self.socket.shutdown().await
            };
            drop(timeout(GOODBYE, goodbye).await);
        }
        tracing::debug!(client = %self.path.remote, status = refusal.status, reason = %refusal.reason, "HTTP request refused");
        if !self.plain.starts_with(b"SSTP_") {
            // Health checks and scanners.
            return TurnedAway::unrecorded(|counters| &counters.http_refused);
        }
        let cause = format!("HTTP {}: {}", refusal.status, refusal.reason);
        TurnedAway { counter: |counters| &counters.http_refused, ..self.turned(Stage::Http, Fault::PeerMisbehaved, None, cause) }
    }

    fn tls_failed(&mut self, error: &TlsError) -> TurnedAway {
        let cause = error.to_string();
        match error {
            TlsError::NotTls { .. } => TurnedAway::unrecorded(|counters| &counters.not_tls),
            TlsError::AlertReceived { name, .. } => self.turned(Stage::Tls, Fault::PeerIncompatible, Some(name), cause),
            TlsError::Incompatible(_) => self.turned(Stage::Tls, Fault::PeerIncompatible, None, cause),
            TlsError::Internal(_) => {
                tracing::error!(client = %self.path.remote, %error, "TLS");
                self.turned(Stage::Tls, Fault::Internal, None, cause)
            }
            TlsError::Misbehaved(_)
            | TlsError::BadRecord
            | TlsError::TooLong
            | TlsError::KeysExhausted
            | TlsError::ClientRefused(_)
            | TlsError::NoClientCertificate => self.turned(Stage::Tls, Fault::PeerMisbehaved, None, cause),
        }
    }

    /// It liked something of the certificate as little as Windows does a revocation that it cannot check.
    fn left_after_tls(&self) -> String {
        const LEFT: &str = "the client left after the TLS handshake, before SSTP_DUPLEX_POST";
        let leaf = self.tls.as_ref().and_then(|tls| pki::Certificate::from_der(tls.leaf()?).ok());
        // This gateway staples no OCSP answer.
        leaf.map_or_else(
            || LEFT.to_owned(),
            |leaf| format!("{LEFT}: could it check revocation? {}; OCSP staple: no", pki::revocation_places(&leaf)),
        )
    }

    fn too_slow(&mut self, stage: Stage, cause: &str) -> TurnedAway {
        TurnedAway { counter: |counters| &counters.too_slow, ..self.turned(stage, Fault::Silence, None, cause.into()) }
    }

    fn turned(&mut self, stage: Stage, fault: Fault, notify: Option<&'static str>, cause: String) -> TurnedAway {
        let failure = Failure { stage, fault, notify, eap: None, remedy: None, cause };
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.tls.as_ref().and_then(|tls| presented(tls)).iter().flat_map(|presented| presented.lines(None)));
        TurnedAway { counter: |counters| &counters.tls_failed, record: Some(Box::new(Turned { path: self.path, failure, notes })) }
    }
}

/// What the client was shown; `None`: nothing yet.
fn presented(tls: &tls::Connection) -> Option<Presented> {
    let leaf = pki::Certificate::from_der(tls.leaf()?).ok()?;
    Some(Presented { subject: leaf.subject, selection: tls.selection().cloned() })
}

/// IPv4 clients of an IPv6 socket as what they are.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
