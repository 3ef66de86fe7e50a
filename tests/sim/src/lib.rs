//! Simulation: IKEv2 machines of both sides on virtual time, with a seeded network that loses, repeats, reorders and delays; and SSTP
//! calls against the control half of the gateway ([`sstp`]).
//!
//! Everything follows from the seed but certificate keys, which are made once a process.
mod answers;
mod certificates;
pub mod clients;
mod fixture;
mod net;
mod script;
pub mod sstp;

pub use answers::{Answers, Eap, Peer};
pub use certificates::{KeyKind, authority, client_credential, server_credential};
pub use fixture::{ciphers, initiator, responder, timers};
pub use net::{Faults, Host, HostId, Nat, Sim, Verdict};
pub use script::Script;

/// The MSK that every EAP conversation of the simulation makes.
pub const MSK: [u8; 64] = ikev2_client::SIMULATED_MSK;

/// 2026-07-01 00:00:00 UTC; all certificates are valid then.
pub const UNIX_TIME: pki::UnixTime = 1_782_864_000;
