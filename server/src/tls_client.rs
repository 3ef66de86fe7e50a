//! A TCP connection with TLS on it, whose client this gateway is.
use std::io;
use std::time::Duration;
use tls::{ClientConnection, ClientSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;

/// A server that reads so slowly is of no use.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

const BUFFER: usize = 16 << 10;

pub(crate) struct Link {
    pub tcp: TcpStream,
    pub tls: ClientConnection,
    /// For the server, encrypted.
    pub out: Vec<u8>,
    /// Of the server, decrypted.
    pub received: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    /// Returns when the handshake is over.
    ///
    /// # Errors
    /// Why there is no TLS, in words.
    pub(crate) async fn open(tcp: TcpStream, settings: &ClientSettings) -> Result<Self, String> {
        tcp.set_nodelay(true).map_err(lost)?;
        let (now, mut out) = (jiff::Timestamp::now().as_second(), Vec::new());
        let tls = ClientConnection::new(settings, now, &mut out).map_err(|fault| fault.to_string())?;
        let mut link = Self { tcp, tls, out, received: Vec::new(), buffer: vec![0; BUFFER] };
        link.flush().await?;
        while link.tls.is_handshaking() {
            link.read().await?;
        }
        Ok(link)
    }

    /// Waits until something has arrived, and takes it.
    pub(crate) async fn read(&mut self) -> Result<(), String> {
        self.tcp.readable().await.map_err(lost)?;
        let length = match self.tcp.try_read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            length => length.map_err(lost)?,
        };
        if length == 0 {
            return Err("the server closed the connection".into());
        }
        let received = self.tls.receive(&self.buffer[..length], &mut self.received, &mut self.out);
        // Also after an error: the alert.
        self.flush().await?;
        match received {
            Ok(true) => Ok(()),
            Ok(false) => Err("the server closed the connection".into()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    pub(crate) async fn send(&mut self, data: &[u8]) -> Result<(), String> {
        self.tls.send(data, &mut self.out).map_err(|fault| fault.to_string())?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), String> {
        let written = tokio::time::timeout(WRITE_TIMEOUT, self.tcp.write_all(&self.out)).await;
        self.out.clear();
        written.map_err(|_| "the server does not take what it is sent".to_owned())?.map_err(lost)
    }

    pub(crate) async fn farewell(mut self) {
        self.tls.close(&mut self.out);
        // It is over in any case.
        self.flush().await.ok();
    }

    /// A stream for whoever knows nothing of TLS. It ends with the connection, and the connection with it.
    pub(crate) fn into_stream(self) -> DuplexStream {
        let (ours, theirs) = duplex(BUFFER);
        // Why it ended, the other end of the stream cannot be told.
        tokio::spawn(async move { self.carry(ours).await.ok() });
        theirs
    }

    async fn carry(mut self, mut inner: DuplexStream) -> Result<(), String> {
        let mut data = vec![0; BUFFER];
        loop {
            inner.write_all(&self.received).await.map_err(lost)?;
            self.received.clear();
            tokio::select! {
                ready = self.tcp.readable() => {
                    ready.map_err(lost)?;
                    let read = self.read().await;
                    // What came with the farewell came before it.
                    inner.write_all(&self.received).await.map_err(lost)?;
                    self.received.clear();
                    read?;
                }
                length = inner.read(&mut data) => match length.map_err(lost)? {
                    0 => {
                        self.farewell().await;
                        return Ok(());
                    }
                    length => self.send(&data[..length]).await?,
                },
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value)]
fn lost(error: io::Error) -> String {
    format!("the connection was lost: {error}")
}
