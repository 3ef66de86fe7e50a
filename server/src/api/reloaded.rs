//! What a reload came to.
use crate::config::Change;
use serde::{Deserialize, Serialize};

/// A configuration that was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reloaded {
    /// What has taken effect.
    pub changes: Vec<Change>,
    /// What the file says otherwise than the process began with, and only a restart brings.
    pub needs_restart: Vec<Change>,
    /// What deserves a look, one sentence each.
    pub warnings: Vec<String>,
    /// Sessions that would not get today what they have.
    pub judged: Vec<Judged>,
    /// Of these, those that have it now, but for what only another login brings.
    #[serde(default)]
    pub applied: Vec<u64>,
    /// Sessions that were told to end.
    pub ended: Vec<u64>,
}

/// A session to which the policies of now say something else than they did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Judged {
    pub id: u64,
    /// Id of the attempt it came from.
    pub attempt: String,
    pub user: String,
    /// The network policy that granted it.
    pub policy: String,
    pub verdict: Verdict,
    /// Why, in words.
    pub cause: String,
    /// Keys of its policy that are not the same and that only another login brings. Where `pool`, `address` or `selectors` is among them, nothing of the
    /// policy can be applied to the session.
    #[serde(default)]
    pub only_login: Vec<String>,
}

/// What they say, as if it logged in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would not come in.
    Refused,
    /// Another policy decides, or the same one gives it something else.
    Otherwise,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Otherwise => "otherwise",
        })
    }
}
