//! The gateway.
#![forbid(unsafe_code)]
pub mod attempts;
pub mod explain;
pub mod gateway;
pub mod login;
pub mod radius_shell;
pub mod workers;

pub mod config;
pub mod control;
