//! An SSTP client that behaves on the wire as Windows does, written apart from the gateway: for negative cases and load.
//!
//! It shares no protocol code with the gateway. Everything that comes from the server is checked strictly: what a server must not do is an
//! error with a clear text, also where a real client would let it pass. Threads and blocking sockets until the call is up; [`data`] then
//! moves packets with one thread and epoll.
#![forbid(unsafe_code)]

pub mod auth;
pub mod bare;
pub mod call;
pub mod data;
pub mod eap_tls;
pub mod error;
pub mod http;
pub mod inner;
pub mod mschap;
pub mod ncp;
pub mod ppp;
pub mod sstp;
pub mod transport;
