//! TCP with TLS on it or without: what is sent in one call leaves as one TLS record.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Closed, Error, Result, Stage};

/// Plaintext of one TLS record at most.
pub const MAX_RECORD: usize = 16 * 1024;

/// TLS versions to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Versions {
    /// TLS 1.3 and 1.2.
    #[default]
    Both,
    /// TLS 1.2 alone, as Windows 10.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[value(name = "1.3")]
    Tls13,
}

/// Ciphers to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ciphers {
    /// All that the library has.
    #[default]
    Any,
    /// AES-128-GCM.
    Aes128gcm,
    /// AES-256-GCM.
    Aes256gcm,
    /// ChaCha20-Poly1305.
    Chacha20poly1305,
}

/// A header of the PROXY protocol before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyHeader {
    /// None.
    #[default]
    Off,
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
}

/// How to reach the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub server: SocketAddr,
    /// Name its certificate must hold, for SNI and for the Host header.
    pub server_name: String,
    /// Authorities of the server's certificate (PEM); `None`: no check.
    pub ca: Option<PathBuf>,
    /// Server name indication.
    pub sni: bool,
    /// TLS versions.
    pub versions: Versions,
    /// Ciphers.
    pub ciphers: Ciphers,
    /// Offer ALPN http/1.1.
    pub alpn: bool,
    /// No TLS at all.
    pub plain: bool,
    /// PROXY header.
    pub proxy: ProxyHeader,
    /// Client address the PROXY header tells; `None`: our own.
    pub proxy_source: Option<SocketAddr>,
    /// Time for TCP and for TLS, each.
    pub timeout: Duration,
}

/// What the TLS handshake came to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TlsFacts {
    /// `TLSv1_3`
    pub version: String,
    /// Cipher suite.
    pub cipher: String,
    /// Key exchange group.
    pub group: String,
    /// ALPN protocol that the server chose.
    pub alpn: Option<String>,
    /// SHA-256 of the server's certificate, hexadecimal.
    pub certificate_sha256: String,
    /// How many certificates it showed.
    pub chain: usize,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes were added to [`Transport::incoming`].
    Bytes,
    /// No more will come.
    Closed(Closed),
    /// The deadline passed.
    Timeout,
}

/// A connection.
#[derive(Debug)]
pub struct Transport {
    /// The TCP socket, blocking.
    pub socket: TcpStream,
    /// TLS on it.
    pub tls: Option<Connection>,
    /// Plaintext that came and is not used yet.
    pub incoming: Vec<u8>,
    /// DER of the certificate the server showed on this connection.
    pub certificate: Vec<u8>,
    /// What TLS came to.
    pub facts: TlsFacts,
    /// Time for TCP.
    pub tcp_time: Duration,
    /// Time for TLS.
    pub tls_time: Duration,
    closed: Option<Closed>,
}

impl Transport {
    /// Connects TCP, sends the PROXY header, does the TLS handshake.
    pub fn connect(options: &Options) -> Result<Self> {
        let started = Instant::now();
        let socket = tcp(options)?;
        let tcp_time = started.elapsed();
        let mut transport = Self::new(socket, tcp_time);
        if !options.plain {
            transport.handshake(options)?;
        }
        Ok(transport)
    }

    /// TCP and the PROXY header alone.
    pub fn connect_tcp(options: &Options) -> Result<Self> {
        let started = Instant::now();
        let socket = tcp(options)?;
        Ok(Self::new(socket, started.elapsed()))
    }

    fn new(socket: TcpStream, tcp_time: Duration) -> Self {
        Self {
            socket,
            tls: None,
            incoming: Vec::new(),
            certificate: Vec::new(),
            facts: TlsFacts::default(),
            tcp_time,
            tls_time: Duration::ZERO,
            closed: None,
        }
    }

    fn handshake(&mut self, options: &Options) -> Result<()> {
        let started = Instant::now();
        let name = ServerName::try_from(options.server_name.clone())
            .map_err(|_| Error::Setup(format!("{:?} is no host name", options.server_name)))?;
        let mut tls = ClientConnection::new(Arc::new(client_config(options)?), name)?;
        self.timeout(options.timeout)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket).map_err(|error| handshake_error(error, options.timeout))?;
        }
        self.tls_time = started.elapsed();
        self.facts = facts(&tls);
        self.certificate = tls.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.to_vec()).unwrap_or_default();
        self.tls = Some(tls.into());
        Ok(())
    }

    /// Sends `bytes` as one TLS record (several when longer than one holds). Where the server does not take them any more, what it said
    /// before counts: [`receive`](Self::receive) gives that, and then the end.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.try_send(bytes) {
            Err(error) if !is_reset(&error) => Err(Error::Io { stage: Stage::Up, source: error }),
            _ => Ok(()),
        }
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.socket.write_all(bytes) };
        for record in bytes.chunks(MAX_RECORD) {
            tls.writer().write_all(record)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
        Ok(())
    }

    /// Waits for more bytes, at most until `deadline`.
    pub fn receive(&mut self, deadline: Instant) -> Result<Received> {
        if let Some(how) = self.closed {
            return Ok(Received::Closed(how));
        }
        let before = self.incoming.len();
        while self.incoming.len() == before {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Received::Timeout);
            }
            self.timeout(left)?;
            match self.receive_once() {
                Ok(None) => {}
                Ok(Some(how)) => {
                    self.closed = Some(how);
                    break;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(Received::Timeout),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_reset(&error) => self.closed = Some(Closed::Reset),
                Err(source) => return Err(Error::Io { stage: Stage::Up, source }),
            }
            if self.closed.is_some() {
                break;
            }
        }
        match self.closed {
            Some(how) if self.incoming.len() == before => Ok(Received::Closed(how)),
            _ => Ok(Received::Bytes),
        }
    }

    /// Reads once. `Some`: the other side is done.
    fn receive_once(&mut self) -> io::Result<Option<Closed>> {
        let Some(tls) = &mut self.tls else {
            let mut buffer = [0; MAX_RECORD];
            let read = self.socket.read(&mut buffer)?;
            self.incoming.extend_from_slice(&buffer[..read]);
            return Ok((read == 0).then_some(Closed::Fin));
        };
        if tls.read_tls(&mut self.socket)? == 0 {
            return Ok(Some(Closed::Fin));
        }
        let Ok(state) = tls.process_new_packets() else { return Ok(Some(Closed::TlsError)) };
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut plain)?;
        self.incoming.extend(plain);
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(state.peer_has_closed().then_some(Closed::CloseNotify))
    }

    /// Says close_notify and shuts TCP down for writing.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The other side may be gone already: then there is nobody to tell.
            drop(tls.write_tls(&mut self.socket));
        }
        drop(self.socket.shutdown(Shutdown::Write));
    }

    fn timeout(&self, limit: Duration) -> Result<()> {
        let limit = limit.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(limit)).map_err(|source| Error::Io { stage: Stage::Tcp, source })
    }
}

fn tcp(options: &Options) -> Result<TcpStream> {
    let failed = |source: io::Error| Error::Io { stage: Stage::Tcp, source };
    let mut socket = TcpStream::connect_timeout(&options.server, options.timeout).map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let source = options.proxy_source.map_or_else(|| socket.local_addr(), Ok).map_err(failed)?;
    socket.write_all(&proxy_header(options.proxy, source, options.server)).map_err(failed)?;
    Ok(socket)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted)
}

fn handshake_error(error: io::Error, limit: Duration) -> Error {
    let stage = Stage::Tls;
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout { stage, seconds: limit.as_secs_f64() },
        io::ErrorKind::UnexpectedEof => Error::Closed { stage, how: Closed::Fin },
        _ if is_reset(&error) => Error::Closed { stage, how: Closed::Reset },
        _ => match error.downcast::<rustls::Error>() {
            Ok(error) => Error::Tls(error),
            Err(source) => Error::Io { stage, source },
        },
    }
}

fn facts(tls: &ClientConnection) -> TlsFacts {
    let leaf = tls.peer_certificates().and_then(<[_]>::first);
    let show = |found: Option<String>| found.unwrap_or_default();
    TlsFacts {
        version: show(tls.protocol_version().map(|version| format!("{version:?}"))),
        cipher: show(tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()))),
        group: show(tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()))),
        alpn: tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        certificate_sha256: show(leaf.map(|leaf| crate::mschap::hex(&crate::sstp::Hash::Sha256.of(leaf)))),
        chain: tls.peer_certificates().map_or(0, <[_]>::len),
    }
}

/// A ClientHello, as one record.
pub fn client_hello(server_name: &str) -> Result<Vec<u8>> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| Error::Setup(format!("{server_name:?} is no host name")))?;
    let provider = provider(Ciphers::Any);
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))).with_no_client_auth();
    let mut hello = Vec::new();
    let mut tls = ClientConnection::new(Arc::new(config), name)?;
    tls.write_tls(&mut hello).map_err(|source| Error::Io { stage: Stage::Tls, source })?;
    Ok(hello)
}

/// The provider with the chosen ciphers alone.
pub fn provider(ciphers: Ciphers) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let wanted = match ciphers {
        Ciphers::Any => "",
        Ciphers::Aes128gcm => "AES_128_GCM",
        Ciphers::Aes256gcm => "AES_256_GCM",
        Ciphers::Chacha20poly1305 => "CHACHA20_POLY1305",
    };
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains(wanted));
    Arc::new(provider)
}

fn client_config(options: &Options) -> Result<ClientConfig> {
    let provider = provider(options.ciphers);
    let all = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(match options.versions {
        Versions::Both => &all,
        Versions::Tls12 => &all[1..],
        Versions::Tls13 => &all[..1],
    })?;
    let mut config = match &options.ca {
        Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))).with_no_client_auth(),
    };
    config.enable_sni = options.sni;
    if options.alpn {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    // Every call is a full handshake, as a Windows client's first one is.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn roots(file: &PathBuf) -> Result<RootCertStore> {
    let wrong = |what: String| Error::Setup(format!("{}: {what}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// The bytes of a PROXY header.
pub fn proxy_header(kind: ProxyHeader, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    match kind {
        ProxyHeader::Off => Vec::new(),
        ProxyHeader::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port()).into_bytes()
        }
        ProxyHeader::V2 => {
            let mut addresses = Vec::new();
            for address in [source, destination] {
                match address {
                    SocketAddr::V4(v4) => addresses.extend(v4.ip().octets()),
                    SocketAddr::V6(v6) => addresses.extend(v6.ip().octets()),
                }
            }
            addresses.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
            header.push(if source.is_ipv4() { 0x11 } else { 0x21 });
            header.extend((addresses.len() as u16).to_be_bytes());
            header.extend(addresses);
            header
        }
    }
}

/// Takes any certificate; signatures of the handshake are checked all the same.
#[derive(Debug)]
pub(crate) struct Unchecked(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_headers() {
        let (source, destination) = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
        assert!(proxy_header(ProxyHeader::Off, source, destination).is_empty());
        assert_eq!(proxy_header(ProxyHeader::V1, source, destination), b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n");
        let v2 = proxy_header(ProxyHeader::V2, source, destination);
        assert_eq!(v2[..16], *b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c");
        assert_eq!(v2[16..], [192, 0, 2, 1, 192, 0, 2, 2, 3, 0xe8, 1, 0xbb]);
    }

    #[test]
    fn every_cipher_choice_leaves_something_in_both_versions() {
        for ciphers in [Ciphers::Any, Ciphers::Aes128gcm, Ciphers::Aes256gcm, Ciphers::Chacha20poly1305] {
            let suites = provider(ciphers).cipher_suites.clone();
            assert!(
                suites.iter().any(|suite| suite.tls13().is_some()) && suites.iter().any(|suite| suite.tls13().is_none()),
                "{ciphers:?}"
            );
        }
    }
}
