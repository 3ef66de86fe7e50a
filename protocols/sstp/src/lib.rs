//! SSTP ([MS-SSTP]) as a server speaks it: the HTTP head before it, the framing, the call machine and its crypto binding. No IO, no clock,
//! no randomness.
//!
//! Contract of [`Call`]: `handle` one input, drain `poll_output` until it is `None`, then look at `poll_timeout`. After
//! [`Output::Hangup`] nothing more comes out.
#![forbid(unsafe_code)]

mod api;

pub use api::*;
