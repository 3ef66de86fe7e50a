//! The gateway.
#![forbid(unsafe_code)]
pub mod accounting;
pub mod attempts;
pub mod blocks;
pub mod certificates;
pub mod crash_secret;
pub mod dataplane;
pub mod doctor;
pub mod dynamic;
pub mod explain;
pub mod facts;
pub mod file_watch;
pub mod framed;
pub mod gateway;
pub mod history;
pub mod host_names;
pub mod login;
pub mod metrics;
pub mod privileges;
pub mod quickstart;
pub mod radius_shell;
mod radsec;
pub mod restrictions;
pub mod revocation;
pub mod run;
pub mod service_manager;
pub mod sockets;
pub mod sstp;
pub mod state_lock;
pub mod status;
pub(crate) mod steering;
pub mod telemetry;
mod tls_client;
pub mod trace;
pub mod tunnels;
pub mod workers;

pub mod api;
pub mod cli;
pub mod config;
#[cfg(test)]
mod docs;
pub mod local_shell;
pub mod logging;
pub mod nps;
pub mod nps_log;
pub mod outcome;
pub mod policy_case;
pub mod profile;
pub mod rras;
pub mod users_file;
#[cfg(test)]
mod waiting;
