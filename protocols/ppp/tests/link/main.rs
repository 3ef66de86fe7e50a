//! The link from outside: inputs, outputs and a clock that only the tests move.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod authentication;
mod client;
mod common;
mod hostile;
mod lcp;
mod network;
mod simulation;
mod windows;
