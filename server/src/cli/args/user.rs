//! The users of the local provider: `user`.
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const USER: &str = "Keeps the users file of the local provider ([local] users_file): the users of a gateway without a RADIUS server.

Passwords are typed without being shown, or come as a line on standard input; never as an argument. The file is replaced in one step, with mode \
0600; a running gateway reads it again by itself. It holds NT hashes, with which whoever reads them can log in.

Examples:
  evergate user list
  evergate user add ann --groups staff,admins
  pwgen 20 1 | evergate user add bob --expires 2027-12-31
  evergate user add tablet7 --no-password        for EAP-TLS with a certificate
  evergate user passwd ann
  evergate user set ann --groups staff --address 10.98.0.20
  evergate user disable bob";

#[derive(Debug, Args)]
pub struct UserArgs {
    /// The users file [default: users_file of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(in crate::cli) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// List all users
    List,
    /// Add a user, with a password from the terminal or standard input
    Add {
        name: String,
        #[command(flatten)]
        facts: UserFacts,
        /// The user has a certificate instead (EAP-TLS)
        #[arg(long)]
        no_password: bool,
    },
    /// Change groups, expiry, addresses or what is asked of the password of a user
    Set {
        name: String,
        #[command(flatten)]
        facts: UserFacts,
    },
    /// Give a user another password
    Passwd { name: String },
    /// Let a disabled user in again
    Enable { name: String },
    /// Keep a user out
    Disable { name: String },
    /// Remove a user
    Remove { name: String },
}

#[derive(Debug, Default, Args)]
pub(in crate::cli) struct UserFacts {
    /// What the group conditions of the policies look at; "" for none
    #[arg(long, value_delimiter = ',', value_name = "GROUP,..")]
    pub(in crate::cli) groups: Option<Vec<String>>,
    /// The last day, in UTC, such as 2027-12-31, or never
    #[arg(long, value_name = "DATE")]
    pub(in crate::cli) expires: Option<String>,
    /// The user must choose another password at the next login (MS-CHAPv2, EAP-MSCHAPv2)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) must_change: Option<bool>,
    /// The last day of the password, in UTC, or never: the user chooses another one then
    #[arg(long, value_name = "DATE")]
    pub(in crate::cli) password_expires: Option<String>,
    /// Fixed address: IPv4, IPv6 or one of each, or none
    #[arg(long, value_name = "ADDRESS,..")]
    pub(in crate::cli) address: Option<String>,
}
