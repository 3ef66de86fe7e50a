//! What can go wrong, and whose word it was.

use std::fmt;
use std::io;

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// `SSTP_DUPLEX_POST` and its answer.
    Http,
    /// CALL_CONNECT_REQUEST and its answer.
    Sstp,
    /// The link control protocol.
    Lcp,
    /// PAP, CHAP, MS-CHAPv2 or EAP.
    Auth,
    /// CALL_CONNECTED.
    Binding,
    /// IPv6CP and IPCP.
    Network,
    /// Router solicitation, DHCPINFORM, data.
    Up,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Sstp => "sstp",
            Self::Lcp => "lcp",
            Self::Auth => "auth",
            Self::Binding => "binding",
            Self::Network => "network",
            Self::Up => "up",
        })
    }
}

/// How the TCP connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// TLS close_notify, whether or not TCP's end followed.
    CloseNotify,
    /// TCP's FIN without close_notify.
    Fin,
    /// TCP's RST.
    Reset,
    /// A TLS alert, or bytes that are no TLS.
    TlsError,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server broke a protocol: always a fault of the server.
    #[error("{stage}: the server broke the protocol: {what}")]
    Protocol {
        /// How far the call was.
        stage: Stage,
        /// What it did, and what was expected.
        what: String,
    },
    /// The server said no, in the protocol's own way.
    #[error("{stage}: refused: {what}")]
    Refused {
        /// How far the call was.
        stage: Stage,
        /// The server's words.
        what: String,
        /// HTTP status, SSTP status, or the E= number of MS-CHAPv2.
        code: Option<u32>,
    },
    /// The connection ended without a word.
    #[error("{stage}: the connection was closed ({how:?})")]
    Closed {
        /// How far the call was.
        stage: Stage,
        /// How it ended.
        how: Closed,
    },
    /// Nothing came in time.
    #[error("{stage}: no answer for {seconds:.1} s")]
    Timeout {
        /// How far the call was.
        stage: Stage,
        /// How long was waited, in seconds.
        seconds: f64,
    },
    /// The operating system said no.
    #[error("{stage}: {source}")]
    Io {
        /// How far the call was.
        stage: Stage,
        /// Its words.
        source: io::Error,
    },
    /// TLS failed.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// The command line or a file does not fit.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// The server broke the protocol.
    pub fn protocol(stage: Stage, what: impl Into<String>) -> Self {
        Self::Protocol { stage, what: what.into() }
    }

    /// How far the call was; `None` when it had not begun.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Protocol { stage, .. }
            | Self::Refused { stage, .. }
            | Self::Closed { stage, .. }
            | Self::Timeout { stage, .. }
            | Self::Io { stage, .. } => Some(*stage),
            Self::Tls(_) => Some(Stage::Tls),
            Self::Setup(_) => None,
        }
    }

    /// One word for the kind, stable for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "protocol",
            Self::Refused { .. } => "refused",
            Self::Closed { .. } => "closed",
            Self::Timeout { .. } => "timeout",
            Self::Io { .. } => "io",
            Self::Tls(_) => "tls",
            Self::Setup(_) => "setup",
        }
    }

    /// The number that came with a refusal.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }
}

/// `Result` with [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;
