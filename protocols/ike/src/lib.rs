//! IKEv2 (RFC 7296), responder and initiator, as a pure machine.
//!
//! [`Endpoint`] takes [`Input`]s with the time they happen, and gives [`Output`]s when polled. After every `handle`, poll outputs until
//! `None`, then sleep until [`Endpoint::poll_timeout`]. Slow work leaves as [`Output::Ask`] and comes back as [`Input::Answer`]; the
//! machine goes on answering liveness and retransmissions meanwhile.
#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod cookie;
mod endpoint;
pub mod keys;
pub mod nat;
pub mod ppk;
pub mod proposal;
pub mod qcd;
mod redirect;
mod sa;
mod seen;
pub mod selector;
pub mod tcp;
pub mod wire;

pub use api::*;
pub use seen::{Content, Seen, Watch};
