//! Looking before clients come: `check`, `certificates`, `doctor`.
use clap::Args;
use std::path::PathBuf;

pub(super) const CHECK: &str = "Reads and checks the whole configuration, every file it names included, and starts nothing.

Prints the certificates with names, purposes and expiry, the listeners, RADIUS servers, policies in their order, pools with sizes, and warnings. \
An error names file, line, key, value and what would be accepted; the exit code is then 1.

With --profile it compares a client's profile with the gateway instead: ProfileXML, .mobileconfig, .sswan, swanctl.conf or .nmconnection. It says what \
would fail, the number that Windows shows for it, and what to change on either side; the exit code is 1 if anything would.

Examples:
  evergate check
  evergate check --config ./evergate.toml
  evergate check --profile ./profile.xml
  evergate check --profile ./ann.mobileconfig --json | jq '.connections[].findings'
  evergate check --json | jq .warnings";

pub(super) const CERTIFICATES: &str = "Shows every certificate of the gateway, and which client gets which and why.

Of each: names, purposes, key, chain, fingerprint, how many days are left, where clients look whether it is revoked, and what Windows, Apple or Android \
would refuse it for. Then a line for each kind of client: what it tells, what it gets, and the rule that decided. The running gateway is asked; without \
one, or where the configuration names another, the configuration is read. `evergate attempts show` says the same of a real login.

Examples:
  evergate certificates
  evergate certificates --probe                 can the revocation lists be had from here?
  evergate certificates --json | jq '.certificates[] | {name, days_left}'";

pub(super) const DOCTOR: &str = "Looks at this host and its surroundings for whatever keeps clients from connecting, or from getting anywhere once connected.

Before the start: are the sockets of the listeners free, and who has them if not? While the gateway runs: does it hold them? Both times: forwarding, reverse \
path filter, rules of nftables, MTU, pools against the subnets of this host, who answers for clients there, the way back from the LAN as far as tables and the traffic of sessions tell, TUN device, segmentation of UDP by the network card (USO), clock, randomness, open files, \
state_dir, what the user of the service may read, the names of the gateway and its certificates in DNS, certificates with their revocation lists and OCSP \
responders, and RADIUS servers, which are sent a Status-Server or the probe_user of the configuration, never anybody's \
login. Changes nothing. Run it as root, where the gateway runs: in its container or network namespace.

With --probe it needs no configuration and plays a client instead, from wherever it is run: it resolves the name, sends an IKE_SA_INIT to udp/500 and to \
udp/4500, there also large ones and one in IP fragments, goes on to IKE_AUTH until the gateway has proved itself and asks for EAP (its attempts there end as \
those of a client that left), shakes hands on tcp/443, shows the certificate, fetches its revocation lists and knocks at its OCSP responders, and asks for SSTP. It says which \
step fails, and which error Windows shows then. It logs nobody in.

Each line says ok, warn or fail, and what to do; what fails comes first, and what is well has one line for each topic unless --all is given. The exit code \
is 1 if one fails, else 0.

Examples:
  evergate doctor
  evergate doctor --config ./evergate.toml
  evergate doctor --probe vpn.example.com       from another machine, best from outside
  evergate doctor --probe vpn.example.com --ca /etc/evergate/ca.pem
  evergate doctor --json | jq '.findings[] | select(.level != \"ok\")'";

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A client's profile, to be compared with the gateway
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) profile: Option<PathBuf>,
    /// PEM file with authorities that the configuration does not hold; any number of times
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub(in crate::cli) ca: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Play a client of this gateway from here instead: a DNS name or an IP address
    #[arg(long, value_name = "HOST")]
    pub(in crate::cli) probe: Option<String>,
    /// List also each thing that is well, with hints, and do not join what is the same of several interfaces
    #[arg(long, short = 'v', alias = "verbose")]
    pub(in crate::cli) all: bool,
    /// PEM file with the authorities of its certificate [default: those of this system]
    #[arg(long, value_name = "FILE", requires = "probe")]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// UDP port of IKE
    #[arg(long, value_name = "PORT", default_value_t = 500, requires = "probe")]
    pub(in crate::cli) ike_port: u16,
    /// UDP port of IKE and ESP behind NAT
    #[arg(long, value_name = "PORT", default_value_t = 4500, requires = "probe")]
    pub(in crate::cli) nat_port: u16,
    /// TCP port of SSTP
    #[arg(long, alias = "port", value_name = "PORT", default_value_t = 443, requires = "probe")]
    pub(in crate::cli) sstp_port: u16,
}
