//! SSTP ([MS-SSTP]) as a server speaks it: the HTTP head before it, the framing, the call machine and its crypto binding. No IO, no clock,
//! no randomness.
//!
//! A connection begins with [`http::parse`]; what follows the head is cut into packets by [`frame::next`] and goes into a [`Call`].
//!
//! Contract of [`Call`]: `handle` one input, drain `poll_output` until it is `None`, then look at `poll_timeout`. After
//! [`Output::Hangup`] nothing more comes out.
#![forbid(unsafe_code)]

mod api;
pub mod binding;
mod call;
pub mod frame;
pub mod http;
pub mod message;

pub use api::*;
pub use call::{Call, CallState};
