//! PPP (RFC 1661) as the server end of a remote-access link: LCP, authentication, IPCP (RFC 1332, 1877), IPv6CP (RFC 5072). No IO, no
//! clock, no randomness.
//!
//! Contract of [`Link`]: `handle` one input, drain `poll_output` until it is `None`, then look at `poll_timeout`. After
//! [`Output::Down`] nothing more comes out.
//!
//! ```text
//!            LCP Opened            Answer::Accept             IPCP or IPv6CP Opened
//! Establish ------------> Authenticate ------------> Network ----------------------> (Up)
//!     ^                        |                        |                             |
//!     +------------------------+---- the client reopens LCP: everything anew ---------+
//! any of them ---- Terminate-Request of either side, refusal, timeout ----> Terminate ----> Output::Down
//! ```
#![forbid(unsafe_code)]

mod api;
mod auth;
mod automaton;
pub mod frame;
mod ipcp;
mod ipv6cp;
mod lcp;
mod link;
mod negotiation;
mod packet;
mod seed;
pub mod shown;

pub use api::*;
pub use link::{Link, Reason};
pub use seed::{SEED_LENGTH, Seed};
