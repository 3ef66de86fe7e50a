//! How a connection fails, in words for a record.
use rustls::{Error, InvalidMessage, PeerIncompatible};

/// Why a TLS connection is over. What is left to tell the client is in the caller's output buffer already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The client gave up and said why; `name` as RFC 8446 section 6 spells it.
    #[error("the client sent the TLS alert {name} ({code})")]
    AlertReceived { code: u8, name: &'static str },
    /// The first byte is not that of a TLS handshake: plain HTTP, or something else.
    #[error("the client does not speak TLS: its first byte is {first:#04x}")]
    NotTls { first: u8 },
    /// The client is honest but lacks what we need.
    #[error("no common ground with the client: {0}")]
    Incompatible(String),
    /// The client broke the protocol.
    #[error("the client broke TLS: {0}")]
    Misbehaved(String),
    /// A record that does not decrypt: changed on its way, or not from this connection.
    #[error("a TLS record does not decrypt")]
    BadRecord,
    /// Where client certificates are asked for.
    #[error("the client's {0}")]
    ClientRefused(Box<pki::Refused>),
    #[error("the client shows no certificate")]
    NoClientCertificate,
    /// More than a handshake can be.
    #[error("a TLS message of the client is too long")]
    TooLong,
    /// The keys have protected as many records as they may (2^24 with AES-GCM, RFC 9325 section 4.4), and TLS 1.2 has no way to change
    /// them.
    #[error(
        "the keys of the TLS 1.2 connection have protected all records that they safely can: the client must connect again (TLS 1.3 changes them on its way)"
    )]
    KeysExhausted,
    /// Used out of order, or after its end, or a fault of the library.
    #[error("internal TLS error: {0}")]
    Internal(String),
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(alert) => {
                let code = u8::from(alert);
                Self::AlertReceived { code, name: alert_name(code) }
            }
            Error::PeerIncompatible(why) => Self::Incompatible(incompatible(&why)),
            Error::DecryptError => Self::BadRecord,
            Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::MessageTooLarge) => Self::TooLong,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord => Self::Misbehaved(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::Tls12NotOffered | PeerIncompatible::Tls12NotOfferedOrEnabled => "it offers neither TLS 1.2 nor 1.3".into(),
        PeerIncompatible::NoCipherSuitesInCommon => "it offers none of the cipher suites that we have and our certificate allows".into(),
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "it offers none of our groups for the key exchange".into()
        }
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => "it takes no signature that the key of our certificate can make".into(),
        other => format!("{other:?}"),
    }
}

/// RFC 8446 section 6 and RFC 5246 section 7.2.
pub(crate) fn alert_name(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unknown",
    }
}
