//! The control socket: how the command line talks to the running gateway.
mod client;
mod reload;
mod server;
#[cfg(test)]
mod tests;
pub mod types;

pub use client::{AskError, ask};
pub use server::{bind, serve};
pub use types::{Request, Response};
