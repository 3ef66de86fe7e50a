//! RADIUS as a library: codec and request machine without IO.
//!
//! [`Client`] has the house's shape. One [`Input`] goes in with the time; then [`Client::poll_output`] is drained until it is empty; then
//! the shell sleeps until [`Client::poll_timeout`] or until something arrives. The shell owns the sockets: one UDP socket or TLS connection a
//! [`SocketId`], opened on [`Output::Open`]; a UDP socket is connected to its peer, so that the kernel reports a closed port, and of a TLS connection the
//! machine hears when it stands ([`Input::Connected`]).
//!
//! # What it does by itself
//!
//! - Repeats what is not answered as RFC 5080 says; over TLS it repeats nothing, and asks again on another connection when one breaks.
//! - Tells a server that waits for its user's second factor from a dead one, by a probe ([`Probe`]), so that nobody is asked twice.
//! - Goes to the next server of a [`Group`] while it may: never in the middle of an EAP conversation.
//! - Believes no answer without its proof: source, Response Authenticator and Message-Authenticator, or the TLS connection (RFC 6614, and
//!   RADIUS/1.1 of RFC 9765, which the shell's TLS negotiates).
//! - Has room for 65,536 requests in flight to one server; what is beyond fails at once with [`RequestFailure::Unsendable`].
//!
//! The other direction, sessions that a server ends or changes, is [`dynamic::DynamicServer`]: bytes in, bytes out.
//!
//! # Driving it
//!
//! A client logs in by EAP ([`Input::Eap`], round by round) or by PAP, CHAP and MS-CHAPv2 ([`Input::Login`], one request); both travel alike.
//!
//! Every ticket gets one outcome. Rounds of one conversation go to one server, in order; another server is asked only while the first
//! round has no answer. Datagrams that fail a check are dropped and counted, by reason, per server.
//!
//! ```
//! use crypto::SeededRandom;
//! use radius_client::{Client, ConversationId, EapOutcome, Input, NasContext, Output, RequestFailure, Server, Ticket, Transport};
//! use std::time::Instant;
//!
//! let transport = Transport::Udp { auth: "192.0.2.1:1812".parse().unwrap(), accounting: None };
//! let server = Server::new("nps1", transport, b"xyzzy5461");
//! // Production hands in the operating system's generator.
//! let mut client = Client::new(vec![server], Box::new(SeededRandom::new(1)));
//! # #[allow(clippy::disallowed_methods)]
//! let now = Instant::now();
//! client.handle(now, Input::Eap {
//!     ticket: Ticket(1),
//!     conversation: ConversationId(1),
//!     group: None,
//!     user_name: b"alice".to_vec(),
//!     eap: b"\x02\x01\x00\x0a\x01alice".to_vec(),
//!     nas: Box::new(NasContext { nas_identifier: "vpn.example.test".into(), ..NasContext::default() }),
//! });
//! assert!(matches!(client.poll_output(), Some(Output::Open { .. })));
//! assert!(matches!(client.poll_output(), Some(Output::Transmit { .. })));
//! assert!(client.poll_output().is_none());
//!
//! // No answer: at the time it asked for, the machine gets a timeout and repeats itself.
//! let at = client.poll_timeout().unwrap();
//! client.handle(at, Input::Timeout);
//! let Some(Output::Transmit { socket, to, bytes: request }) = client.poll_output() else { panic!() };
//!
//! // What the socket brings goes in. A server would sign this; without the secret it is dropped and counted, and the login waits on.
//! let forged = [&[2, request[1], 0, 20][..], &[0; 16]].concat();
//! client.handle(at, Input::Datagram { socket, from: to, bytes: forged });
//! assert!(client.poll_output().is_none());
//! assert_eq!(client.counters()[0].1.dropped_authenticator, 1);
//!
//! // Every ticket has one outcome: here the caller lost interest.
//! client.handle(at, Input::Forget(ConversationId(1)));
//! let Some(Output::Eap { ticket: Ticket(1), outcome }) = client.poll_output() else { panic!() };
//! assert!(matches!(outcome, EapOutcome::Failed(RequestFailure::Forgotten)));
//! ```
#![forbid(unsafe_code)]

pub mod api;
pub mod attributes;
pub mod codec;
pub mod dynamic;
pub mod mppe;

mod accounting;
mod authentication;
mod client;
mod connection;
mod credentials;
mod extra;
mod failure;
mod filters;
mod framed;
mod peer;
mod probe;
mod record;
mod reply;
mod request;
mod retry;
mod route;
pub mod shown;
mod table;
mod validate;
#[cfg(test)]
mod vectors;
mod words;

pub use api::*;
pub use client::Client;
pub use extra::ExtraAttribute;
pub use framed::{Framed, FramedRoute, MAX_NETWORKS};
pub use probe::Knock;
pub use record::{AccountingRecord, AccountingStatus, Authentic, TerminateCause, auth_type};
