//! The control socket: how the command line talks to the running gateway.
pub mod types;

pub use types::{Request, Response};
