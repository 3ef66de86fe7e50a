//! Network policies: `policy`.
use crate::policy_case::PolicyQuestion;
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const POLICY: &str = "Asks the network policies of the configuration what they say to a login that you describe.

Shows who decides, the reason as NPS numbers it, and of every policy tried the first condition that fails. Nobody logs in, and nothing needs to run. \
What must stay true belongs into the configuration as a [[policy.test]]: `evergate check`, the start and every reload refuse policies that break one.

Examples:
  evergate policy test --user ann@example.com
  evergate policy test --user ann@example.com --tunnel sstp --eap-type EAP-TLS --attribute Filter-Id=staff
  evergate policy import npsconfig.xml > policies.toml
  evergate policy test --user bob --group contractors --time \"sat 10:00\" --json";

#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PolicyCommand {
    /// Decide about an imagined login, with every policy tried and its first failing condition
    Test(Box<PolicyQuestion>),
    /// Write the policies of an NPS export as [[policy]] sections on standard output, and what has no equivalent on standard error
    Import {
        /// What Export-NpsConfiguration or `netsh nps export` wrote
        file: PathBuf,
    },
}
