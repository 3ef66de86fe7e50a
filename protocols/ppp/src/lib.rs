//! PPP (RFC 1661) as the server end of a remote-access link: LCP, authentication, IPCP (RFC 1332, 1877), IPv6CP (RFC 5072). No IO, no
//! clock, no randomness.
//!
//! Contract of [`Link`]: `handle` one input, drain `poll_output` until it is `None`, then look at `poll_timeout`. After
//! [`Output::Down`] nothing more comes out.
#![forbid(unsafe_code)]

mod api;

pub use api::*;
