//! IKEv2 clients by hand that behave as Windows, Apple's and Android's do: order of payloads, proposals, fragments, habits. What carries
//! their datagrams is a [`Wire`]: the simulation's, or sockets.
#![forbid(unsafe_code)]

mod child;
mod client;
mod profile;
mod rekey;

pub use child::Child;
pub use client::{Client, everything};
pub use profile::{Maker, Profile};
pub use rekey::Rekeyed;

use ike::Path;

/// The MSK of logins that have no [`peers::EapPeer`].
pub const SIMULATED_MSK: [u8; 64] = [0x5a; 64];

/// Carries datagrams between a client and the gateway. `path` is the client's: it names both ends.
pub trait Wire {
    /// Sends datagrams one after the other; what comes to the client for them.
    fn round(&mut self, path: Path, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>>;

    /// What came to the client unasked. `mark`, 0 at first, is where the last look ended.
    fn heard(&mut self, path: Path, mark: &mut usize) -> Vec<Vec<u8>>;
}
