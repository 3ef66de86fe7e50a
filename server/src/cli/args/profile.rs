//! What clients get: `profile`.
use crate::profile::{EapMethod, Kind};
use clap::Args;
use policy::network::Tunnel;
use std::path::PathBuf;

pub(super) const PROFILE: &str = "Makes what a client needs to connect, from the configuration: server name, ciphers that this gateway accepts, EAP settings, \
trusted root, routes, name servers, suffix and domains of the policy.

Windows gets a script that makes the connection (windows.ps1), ProfileXML for Always On VPN (profile.xml), and a script that hands it to the MDM \
bridge (profile.ps1); Apple's clients get a .mobileconfig, the strongSwan app on Android an .sswan, strongSwan on Linux swanctl.conf, NetworkManager \
an .nmconnection for its plugin of strongSwan or of SSTP. No secret is written unless --with-password asks for it. Without --out everything goes to \
standard output. A note on standard error says where the running gateway has not read the configuration as it is now.

Examples:
  evergate profile windows --out ./windows
  evergate profile windows --device --policy machines --out ./device
  evergate profile windows --tunnel sstp
  evergate profile apple --user ann > ann.mobileconfig
  evergate profile strongswan --user ann --out ./linux
  evergate profile networkmanager --tunnel sstp --out ./linux
  evergate profile strongswan --json | jq -r '.files[0].text'";

#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// Whose client: windows, apple, android, strongswan or networkmanager
    #[arg(value_parser = kind)]
    pub(in crate::cli) kind: Kind,
    /// The network policy whose settings count [default: the first that lets such a login in]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) policy: Option<String>,
    /// ikev2 or sstp [default: ikev2 where there is a listener for it]
    #[arg(long, value_parser = crate::policy_case::tunnel)]
    pub(in crate::cli) tunnel: Option<Tunnel>,
    /// For the machine, with its certificate, instead of a user
    #[arg(long)]
    pub(in crate::cli) device: bool,
    /// What the client dials [default: the gateway's name; with --policy a name of the certificate that this names]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) server: Option<String>,
    /// mschapv2, tls, peap (mschapv2 inside) or peap-tls [default: what policy or local provider ask for, else mschapv2]
    #[arg(long, value_name = "METHOD", value_parser = eap_method)]
    pub(in crate::cli) eap: Option<EapMethod>,
    /// A name in the certificate that the RADIUS server shows in EAP; any number of times
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) eap_server: Vec<String>,
    /// PEM file with the root above that certificate; any number of times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) eap_ca: Vec<PathBuf>,
    /// PEM file with the authorities above the gateway's certificate that the configuration does not hold; any number of times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca: Vec<PathBuf>,
    /// The user whom it is for
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    /// Write the user's password into the profile, in clear; asked for on the terminal or standard input
    #[arg(long, requires = "user")]
    pub(in crate::cli) with_password: bool,
    /// PKCS#12 file with the client's certificate and key, for profiles that hold one (apple, android)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) p12: Option<PathBuf>,
    /// Folder to write to; nothing there is overwritten
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) out: Option<PathBuf>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    Kind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

fn eap_method(text: &str) -> Result<EapMethod, String> {
    let words: Vec<_> = EapMethod::ALL.iter().map(|method| method.word()).collect();
    EapMethod::ALL.into_iter().find(|method| method.word() == text).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}
