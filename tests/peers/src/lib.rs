//! The other side of the wire, for tests: clients as they are on every desk.
#![forbid(unsafe_code)]

pub mod mschapv2;

mod eap_peer;
pub use eap_peer::{EapPeer, PeerError, PeerStep};
