//! One connection: handshake and records.
use crate::TlsError;
use crate::settings::{Presented, ServerSettings, Visitor};
use pki::Selection;
use rustls::server::{Acceptor, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use std::fmt;
use std::sync::Arc;

/// Plaintext bytes in one record (RFC 8446 section 5.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// A record with header, at most (RFC 8446 section 5.2, RFC 5246 section 6.2.3: TLS 1.2 allows the larger expansion).
pub const MAX_RECORD: usize = 5 + MAX_PLAINTEXT + 2048;

/// The first byte of every TLS connection: content type handshake.
const HANDSHAKE: u8 = 22;

/// Bytes of an unfinished handshake: a message of 64 KiB and the records around it.
const MAX_HELD_HANDSHAKE: usize = 96 << 10;

/// Bytes that [`Connection::held`] has after the handshake, at most: a record, and the beginning of a KeyUpdate.
pub const MAX_HELD: usize = 2 * MAX_RECORD;

/// What a record adds to its plaintext, at most.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;

/// Room for what the library may put before data: KeyUpdate and alerts.
const HEADROOM: usize = 512;

/// The server's end of a TLS connection. After an error it only repeats that error.
pub struct Connection {
    stage: Stage,
    /// Received, but not yet a whole message; freed when empty.
    held: Vec<u8>,
    presented: Option<Arc<Presented>>,
    selection: Option<Box<Selection>>,
    server_name: Option<String>,
    peer_closed: bool,
    closed: bool,
}

enum Stage {
    /// Until the ClientHello has told which certificate is wanted. `fed`: bytes of it that the acceptor has seen.
    Hello {
        settings: Arc<ServerSettings>,
        visitor: Option<Visitor>,
        acceptor: Box<Acceptor>,
        fed: usize,
    },
    Running(Box<UnbufferedServerConnection>),
    Failed(TlsError),
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// More bytes of the client are needed.
    Handshaking,
    /// Data flows.
    Open,
    /// The client has sent close_notify: nothing more will come from it.
    PeerClosed,
}

/// What was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `TLS 1.2` or `TLS 1.3`; empty before the ServerHello.
    pub version: &'static str,
    /// As IANA registered it; empty before the ServerHello.
    pub cipher_suite: String,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The protocol that was agreed on (ALPN).
    pub alpn: Option<String>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server_name", &self.server_name).field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Connection {
    /// `visitor`: if certificates are chosen by who comes.
    pub fn new(settings: Arc<ServerSettings>, visitor: Option<Visitor>) -> Self {
        let stage = Stage::Hello { settings, visitor, acceptor: Box::default(), fed: 0 };
        Self { stage, held: Vec::new(), presented: None, selection: None, server_name: None, peer_closed: false, closed: false }
    }

    /// DER of the certificate that this very connection was shown; `None` before the ClientHello was read.
    pub fn leaf(&self) -> Option<&[u8]> {
        self.presented.as_ref().map(|presented| &*presented.leaf)
    }

    /// Why it was shown this certificate; `None` before the ClientHello was read.
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_deref()
    }

    pub fn report(&self) -> Report {
        let mut report = Report { version: "", cipher_suite: String::new(), server_name: self.server_name.clone(), alpn: None };
        if let Stage::Running(tls) = &self.stage {
            report.version = match tls.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "",
            };
            let suite = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
            report.cipher_suite = suite.map(|name| name.replacen("TLS13_", "TLS_", 1)).unwrap_or_default();
            report.alpn = tls.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
        }
        report
    }

    /// True until data may flow.
    pub fn is_handshaking(&self) -> bool {
        match &self.stage {
            Stage::Hello { .. } => true,
            Stage::Running(tls) => tls.is_handshaking(),
            Stage::Failed(_) => false,
        }
    }

    /// Takes bytes of the client. Plaintext is appended to `plain` (also what came right behind the handshake), bytes for the client
    /// to `out`. The convenient way, for handshakes and short conversations: [`Self::open`] is the fast one.
    ///
    /// # Errors
    /// The connection is over; `out` holds the alert that tells the client, if there is one to send.
    pub fn receive(&mut self, input: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Status, TlsError> {
        let mut records = self.held.clone();
        records.extend_from_slice(input);
        self.open(&mut records, plain, out)
    }

    /// What [`Self::open`] must find before new bytes.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Opens `records`, which must be [`Self::held`] followed by new bytes of the client; what is left of them becomes the new `held`.
    /// Decrypts in place, so `records` holds nothing useful afterwards. Results as in [`Self::receive`].
    ///
    /// # Errors
    /// As in [`Self::receive`].
    pub fn open(&mut self, records: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Status, TlsError> {
        let outcome = self.advance(records, plain, out);
        if let Err(error) = &outcome {
            self.stage = Stage::Failed(error.clone());
            self.held = Vec::new();
        }
        outcome
    }

    /// Encrypts `plain` into `out`, in as few records as it takes, and returns how many bytes that made. May put a KeyUpdate before it.
    ///
    /// # Errors
    /// Before the end of the handshake, after the close, or when `out` is shorter than [`Self::sealed_len`].
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, TlsError> {
        if self.closed {
            return Err(TlsError::Internal("data after close_notify".into()));
        }
        self.write(out, |mut traffic, out| traffic.encrypt(plain, out))
    }

    /// Room that [`Self::seal`] needs for this many bytes.
    pub fn sealed_len(plain: usize) -> usize {
        plain + plain.div_ceil(MAX_PLAINTEXT) * RECORD_OVERHEAD + HEADROOM
    }

    /// Appends close_notify to `out`: we send nothing more. Does nothing a second time, before the end of the handshake, or after an error.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let start = out.len();
        out.resize(start + HEADROOM, 0);
        let written = self.write(&mut out[start..], |mut traffic, out| traffic.queue_close_notify(out)).unwrap_or(0);
        out.truncate(start + written);
    }

    fn advance(&mut self, records: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Status, TlsError> {
        if !self.hello(records, out)? {
            self.hold(records, MAX_HELD_HANDSHAKE)?;
            return Ok(Status::Handshaking);
        }
        let tls = match &mut self.stage {
            Stage::Running(tls) => tls,
            Stage::Failed(error) => return Err(error.clone()),
            // `hello` is true for the other stages alone.
            Stage::Hello { .. } => return Err(TlsError::Internal("no ClientHello".into())),
        };
        let mut pump = Pump { tls, plain, out, at: 0, peer_closed: false };
        let outcome = pump.run(records);
        let (at, peer_closed) = (pump.at, pump.peer_closed);
        outcome?;
        self.peer_closed |= peer_closed;
        let handshaking = self.is_handshaking();
        self.hold(&records[at..], if handshaking { MAX_HELD_HANDSHAKE } else { MAX_HELD })?;
        Ok(match () {
            () if self.peer_closed => Status::PeerClosed,
            () if handshaking => Status::Handshaking,
            () => Status::Open,
        })
    }

    /// Reads the ClientHello and chooses the certificate. False: it is not whole yet.
    fn hello(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<bool, TlsError> {
        let Stage::Hello { settings, visitor, acceptor, fed } = &mut self.stage else { return Ok(true) };
        if let Some(&first) = records.first().filter(|first| **first != HANDSHAKE) {
            return Err(TlsError::NotTls { first });
        }
        let mut rest = records.get(*fed..).unwrap_or_default();
        *fed = records.len();
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest).map_err(|_| TlsError::TooLong)?;
            let accepted = acceptor.accept().map_err(|(error, mut alert)| {
                // A Vec takes everything.
                alert.write_all(out).ok();
                TlsError::from(error)
            })?;
            if let Some(accepted) = accepted {
                let hello = accepted.client_hello();
                self.server_name = hello.server_name().map(str::to_owned);
                let (presented, config, selection) = settings.choose(&hello, *visitor)?;
                (self.presented, self.selection) = (Some(presented), Some(Box::new(selection)));
                self.stage = Stage::Running(Box::new(UnbufferedServerConnection::new(config)?));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn hold(&mut self, rest: &[u8], limit: usize) -> Result<(), TlsError> {
        if rest.len() > limit && !self.peer_closed {
            return Err(TlsError::TooLong);
        }
        // An idle connection keeps no buffer, and what follows close_notify counts for nothing.
        self.held = if self.peer_closed { Vec::new() } else { rest.to_vec() };
        Ok(())
    }

    /// Writes what the library has to say on its own, then what `write` adds.
    fn write(
        &mut self,
        out: &mut [u8],
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, TlsError> {
        let tls = match &mut self.stage {
            Stage::Running(tls) => tls,
            Stage::Failed(error) => return Err(error.clone()),
            Stage::Hello { .. } => return Err(too_early()),
        };
        let mut written = 0;
        loop {
            // The library keeps places in what it holds, so it must see the same bytes.
            match tls.process_tls_records(&mut self.held).state? {
                ConnectionState::EncodeTlsData(mut data) => written += data.encode(&mut out[written..]).map_err(internal)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(traffic) => {
                    return match write(traffic, &mut out[written..]) {
                        Ok(length) => Ok(written + length),
                        Err(EncryptError::EncryptExhausted) => Err(TlsError::KeysExhausted),
                        Err(error) => Err(internal(error)),
                    };
                }
                ConnectionState::BlockedHandshake => return Err(too_early()),
                other => return Err(TlsError::Internal(format!("{other:?} where data is to be sent"))),
            }
        }
    }
}

fn too_early() -> TlsError {
    TlsError::Internal("data before the end of the handshake".into())
}

fn internal(error: impl fmt::Display) -> TlsError {
    TlsError::Internal(error.to_string())
}

/// Moves the library forward over the bytes there are.
struct Pump<'a> {
    tls: &'a mut UnbufferedServerConnection,
    plain: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    /// Bytes that are done with.
    at: usize,
    peer_closed: bool,
}

impl Pump<'_> {
    fn run(&mut self, records: &mut [u8]) -> Result<(), TlsError> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(&mut records[self.at..]);
            let more = match state {
                Err(error) => {
                    self.at += discard;
                    self.alert(records);
                    return Err(error.into());
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, self.out).map(|()| true)?,
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    true
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed) => false,
                Ok(other) => return Err(TlsError::Internal(format!("{other:?} was not asked for"))),
            };
            self.at += discard;
            if !more {
                return Ok(());
            }
        }
    }

    /// What an error has to say to the client.
    fn alert(&mut self, records: &mut [u8]) {
        // Asked for more than it has to say, the library would go on reading.
        while self.tls.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) = self.tls.process_tls_records(&mut records[self.at..]).state else { return };
            if encode(&mut data, self.out).is_err() {
                return;
            }
        }
    }
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), TlsError> {
    // No place is enough for nothing: the library answers with the length.
    let required = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error) => return Err(internal(error)),
        Ok(_) => return Ok(()),
    };
    let start = out.len();
    out.resize(start + required, 0);
    data.encode(&mut out[start..]).map(drop).map_err(internal)
}
