//! `evergate doctor`: what on this host, and between it and others, keeps the gateway from serving clients.
//!
//! Each topic has facts and a judge: the facts are gathered from files, netlink and probes; the judge is a pure function from facts to findings.
mod firewall;
mod gather;
mod host;
mod knock;
mod lists;
mod name;
mod network;
mod outside;
mod radius;
mod rights;
mod rules;
mod sockets;

pub use gather::{examine, firewall_on_ike};
pub use host::FILES_BESIDES;
pub use outside::{Dial, probe};

use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, or cannot be told from here, but deserves a look.
    Warn,
    /// Clients cannot connect, or not get anywhere.
    Fail,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// No finding fails.
    pub ok: bool,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { ok: verdict(&findings) != Level::Fail, findings }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: `listener`, `firewall`, `pool`, ..
    pub check: &'static str,
    /// One sentence that names the thing.
    pub text: String,
    /// What to do about it; also hints where nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, text: text.into(), remedy: None }
    }

    pub fn warn(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, check, text: text.into(), remedy: Some(remedy.into()) }
    }

    pub fn fail(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, text: text.into(), remedy: Some(remedy.into()) }
    }

    /// With a hint for the reader.
    #[must_use]
    pub fn hint(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// The worst of them.
pub fn verdict(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// For tests: the one finding of a check.
#[cfg(test)]
fn only(findings: &[Finding]) -> &Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    &findings[0]
}
