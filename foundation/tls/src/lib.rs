//! TLS (rustls) on buffers of the caller: handshake, records, the certificate of each connection. No IO.
#![forbid(unsafe_code)]
