//! The gateway.
#![forbid(unsafe_code)]
pub mod accounting;
pub mod attempts;
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
pub mod host_names;
pub mod login;
pub mod quickstart;
pub mod radius_shell;
mod radsec;
pub mod restrictions;
pub mod revocation;
pub mod run;
pub mod sockets;
pub mod sstp;
pub mod status;
pub mod tunnels;
pub mod workers;

pub mod api;
pub mod cli;
pub mod config;
pub mod local_shell;
pub mod logging;
pub mod nps;
pub mod outcome;
pub mod policy_case;
pub mod users_file;
