//! Coming from another product: `migrate`.
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const MIGRATE: &str = "Writes a configuration out of what another VPN server says about itself.

`rras` reads what a Windows server with Routing and Remote Access (RRAS) can write to files, as many as there are: `netsh ras dump`, and \
Get-RemoteAccess, Get-VpnServerConfiguration, Get-VpnAuthProtocol and Get-RemoteAccessRadius as text, JSON (ConvertTo-Json) or CLIXML (Export-Clixml). \
The configuration goes to standard output; what has no equivalent, and what is to be filled in, to standard error. No secret is read. What only you know \
says FILL IN, and the gateway does not start with it.

Examples:
  evergate migrate rras dump.txt > /etc/evergate/evergate.toml
  evergate migrate rras dump.txt auth.txt server.xml radius.txt --name vpn.example.com
  evergate migrate rras dump.txt --nps npsconfig.xml
  evergate migrate rras dump.txt --json | jq .to_fill";

#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: MigrateCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MigrateCommand {
    /// From RRAS, the VPN server of Windows Server
    Rras(RrasArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RrasArgs {
    /// What `netsh ras dump` and the cmdlets of RemoteAccess wrote; without any, --nps is needed
    #[arg(required_unless_present = "nps")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// What clients dial [default: the name in the certificate for SSTP]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Take the policies out of what Export-NpsConfiguration or `netsh nps export` wrote
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) nps: Option<PathBuf>,
}
