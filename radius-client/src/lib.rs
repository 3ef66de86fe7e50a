//! RADIUS as a library: codec and request machine without IO.
//!
//! [`Client`] follows the house's shape: `handle`, `poll_output`, `poll_timeout`. The shell owns the sockets: one UDP socket per
//! [`SocketId`], opened on [`Output::Open`].
#![forbid(unsafe_code)]

pub mod api;
pub use api::*;
