//! The API over TLS on TCP.
use super::access::{Door, Entrance};
use super::refusals::Reason;
use super::server::{Front, attend};
use crate::config::Api;
use crate::sstp::Place;
use pki::Certificate;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::MutualConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// From the first byte to the first call that is admitted; whoever has proved nothing by then leaves its place to others.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How often a client's certificate is looked at again: it expires, as revocation lists do.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const WRITE: Duration = Duration::from_secs(10);
const BUFFER: usize = 16 << 10;

/// Serves one connection from its first byte on.
pub(super) async fn connection(tcp: TcpStream, place: Place, from: SocketAddr, front: Arc<Front>, api: watch::Receiver<Api>) {
    let deadline = Instant::now() + INTRODUCTION;
    let settings = Arc::clone(&api.borrow().settings);
    let Ok(tls) = MutualConnection::new(&settings, unix_time()) else { return };
    let mut link = Link { tcp, tls, out: Vec::new(), plain: Vec::new(), buffer: vec![0; BUFFER] };
    match timeout(HANDSHAKE, link.handshake()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => return front.refusals.count(Reason::Tls, Some(from), &cause),
        Err(_) => return front.refusals.count(Reason::Tls, Some(from), "no TLS handshake in time"),
    }
    let certificate = link.tls.client_certificate().map(Arc::new);
    let entrance = Arc::new(Entrance::new(from, place, Arc::clone(&front.known)));
    let watched = Watched { api: api.clone(), certificate: certificate.clone(), entrance: Arc::clone(&entrance), deadline };
    let refusals = Arc::clone(&front.refusals);
    let door = Door::Tls { api, certificate, entrance };
    let (ours, theirs) = duplex(BUFFER);
    let served = attend(theirs, front, door);
    let (ended, ()) = tokio::join!(link.carry(ours, watched), served);
    match ended {
        Ok(()) => {}
        Err(Ended::Lost(cause)) => refusals.count(Reason::Revoked, Some(from), &cause),
        Err(Ended::Broken(cause)) => tracing::debug!(%from, cause, "API: a TLS connection ended"),
    }
}

fn unix_time() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Why a connection is over before its time.
enum Ended {
    Broken(String),
    /// What the caller has shown is no longer good.
    Lost(String),
}

impl From<String> for Ended {
    fn from(cause: String) -> Self {
        Self::Broken(cause)
    }
}

/// What a connection stands on.
struct Watched {
    api: watch::Receiver<Api>,
    certificate: Option<Arc<Certificate>>,
    entrance: Arc<Entrance>,
    deadline: Instant,
}

impl Watched {
    /// Waits until there is something to look at.
    async fn changed(&mut self) {
        let is_known = self.entrance.is_known();
        let until = self.certificate.as_ref().map(|certificate| {
            let left = u64::try_from(certificate.not_after.saturating_sub(unix_time()).saturating_add(1)).unwrap_or(0);
            Duration::from_secs(left).min(LOOK_AGAIN)
        });
        tokio::select! {
            // The gateway stops when the other end is gone.
            Ok(()) = self.api.changed() => {}
            () = tokio::time::sleep(until.unwrap_or_default()), if until.is_some() => {}
            () = tokio::time::sleep_until(self.deadline), if !is_known => {}
            else => std::future::pending().await,
        }
    }

    /// Whether its caller would come in now, too.
    fn look(&mut self, tls: &MutualConnection) -> Result<(), Ended> {
        if !self.entrance.is_known() && self.deadline <= Instant::now() {
            return Err(Ended::Broken("it has not proved in time who it is".into()));
        }
        let api = self.api.borrow_and_update();
        if self.certificate.is_some() {
            tls.check_again(&api.settings, unix_time()).map_err(|error| Ended::Lost(error.to_string()))?;
        }
        if !self.entrance.stands(&api, self.certificate.as_deref()) {
            return Err(Ended::Lost("its token or its certificate is not admitted any more".into()));
        }
        Ok(())
    }
}

struct Link {
    tcp: TcpStream,
    tls: MutualConnection,
    /// For the client, encrypted.
    out: Vec<u8>,
    /// Of the client, decrypted.
    plain: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    async fn handshake(&mut self) -> Result<(), String> {
        self.tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        loop {
            let length = self.tcp.read(&mut self.buffer).await.map_err(|error| error.to_string())?;
            if length == 0 {
                return Err("the client left".into());
            }
            if self.received(length).await? {
                return Ok(());
            }
        }
    }

    /// Carries what either side says to the other, until one of them has ended.
    async fn carry(mut self, mut inner: DuplexStream, mut watched: Watched) -> Result<(), Ended> {
        let mut answer = vec![0; BUFFER];
        loop {
            if !self.plain.is_empty() {
                let passed =
                    timeout(WRITE, inner.write_all(&self.plain)).await.map_err(|_| "it asks faster than it is answered".to_owned())?;
                self.plain.clear();
                if passed.is_err() {
                    return Ok(self.farewell().await?);
                }
            }
            if self.tls.is_closed() {
                return Ok(());
            }
            tokio::select! {
                length = self.tcp.read(&mut self.buffer) => match length.map_err(|error| error.to_string())? {
                    0 => return Ok(()),
                    length => drop(self.received(length).await?),
                },
                length = inner.read(&mut answer) => match length.map_err(|error| error.to_string())? {
                    0 => return Ok(self.farewell().await?),
                    length => {
                        self.tls.send(&answer[..length], &mut self.out).map_err(|error| error.to_string())?;
                        self.flush().await?;
                    }
                },
                () = watched.changed() => if let Err(ended) = watched.look(&self.tls) {
                    // What was on its way to a caller who may no longer hear it stays here.
                    self.farewell().await.ok();
                    return Err(ended);
                },
            }
        }
    }

    /// Takes what has arrived; true: the handshake is over.
    async fn received(&mut self, length: usize) -> Result<bool, String> {
        let received = self.tls.receive_data(&self.buffer[..length], &mut self.plain, &mut self.out);
        // Also after an error: the alert.
        self.flush().await?;
        received.map_err(|error| error.to_string())
    }

    async fn farewell(&mut self) -> Result<(), String> {
        self.tls.close(&mut self.out);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), String> {
        let written = timeout(WRITE, self.tcp.write_all(&self.out)).await;
        self.out.clear();
        written.map_err(|_| "it does not read".to_owned())?.map_err(|error| error.to_string())
    }
}
