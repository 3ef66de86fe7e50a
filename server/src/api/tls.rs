//! The API over TLS on TCP.
use super::access::Door;
use super::server::{Front, attend};
use crate::config::Api;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::MutualConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

const HANDSHAKE: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(10);
const BUFFER: usize = 16 << 10;

/// Serves one connection from its first byte on.
pub(super) async fn connection(tcp: TcpStream, from: SocketAddr, front: Arc<Front>, api: watch::Receiver<Api>) {
    let settings = Arc::clone(&api.borrow().settings);
    let Ok(tls) = MutualConnection::new(&settings, jiff::Timestamp::now().as_second()) else { return };
    let mut link = Link { tcp, tls, out: Vec::new(), plain: Vec::new(), buffer: vec![0; BUFFER] };
    match timeout(HANDSHAKE, link.handshake()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => return tracing::debug!(%from, cause, "API: no TLS connection"),
        Err(_) => return tracing::debug!(%from, "API: no TLS handshake in time"),
    }
    let door = Door::Tls { api, certificate: link.tls.client_certificate().map(Arc::new) };
    let (ours, theirs) = duplex(BUFFER);
    let served = attend(theirs, front, door);
    let (ended, ()) = tokio::join!(link.carry(ours), served);
    if let Err(cause) = ended {
        tracing::debug!(%from, cause, "API: a TLS connection ended");
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
    async fn carry(mut self, mut inner: DuplexStream) -> Result<(), String> {
        let mut answer = vec![0; BUFFER];
        loop {
            if !self.plain.is_empty() {
                let passed = timeout(WRITE, inner.write_all(&self.plain)).await.map_err(|_| "it asks faster than it is answered")?;
                self.plain.clear();
                if passed.is_err() {
                    return self.farewell().await;
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
                    0 => return self.farewell().await,
                    length => {
                        self.tls.send(&answer[..length], &mut self.out).map_err(|error| error.to_string())?;
                        self.flush().await?;
                    }
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
