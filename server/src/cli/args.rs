//! What may stand on the command line, with its help.
use crate::api::types::Blocked;
use crate::api::{self, AttemptsQuery, DEFAULT_LIMIT, TraceQuery};
use crate::config::DEFAULT_PATH;
use crate::policy_case::PolicyQuestion;
use crate::profile::{EapMethod, Kind};
use clap::{Args, Parser, Subcommand};
use policy::network::Tunnel;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "A VPN gateway for the clients that are already on every desk.

Evergate speaks IKEv2 with the built-in clients of Windows, Apple, Android and strongSwan, asks a RADIUS server who may come in, decides by \
ordered network policies, leases addresses from pools, and remembers of every login attempt how far it came and why it failed.";

const EXAMPLES: &str = "Examples:
  evergate check                       is the configuration good? prints what it comes to
  evergate doctor                      is the host ready? says what to do where not
  evergate run                         run the gateway in the foreground
  evergate profile windows --out DIR   what Windows clients need to connect
  evergate reload                      apply a changed configuration; no session ends
  evergate certificates                who sees which certificate, and when it ends
  evergate status                      listeners, RADIUS servers, local users, pools, drops
  evergate sessions                    who is connected
  evergate block list                  who is kept out by hand
  evergate attempts --failed           who could not connect, and why
  evergate attempts show 19ab5c3d2e1-17 the whole story of one login
  evergate explain last                why the newest failed login failed, and what to do
  evergate explain 809                 what an error number means
  evergate trace --user alice          packets and decisions of one client, as they happen

Exit codes:
  0  done
  1  failed: wrong configuration, unknown id, refused order; the reason is on standard error
  2  wrong usage
  3  the gateway is not running

Environment:
  EVERGATE__SECTION__KEY  overrides a value of the configuration: EVERGATE__SERVER__MTU=1380
  EVERGATE_LOG, RUST_LOG  override server.log: EVERGATE_LOG=debug
  NO_COLOR                no colours";

const RUN: &str = "Runs the gateway in the foreground until SIGTERM or SIGINT.

Reads the configuration, its drop-ins and the environment; makes the TUN device, binds UDP 500 and 4500, opens the control socket. Needs \
CAP_NET_ADMIN and CAP_NET_BIND_SERVICE. Logs go to standard error. On SIGTERM the sessions are told goodbye and accounting is closed.

Examples:
  evergate run
  evergate run --config ./evergate.toml
  EVERGATE_LOG=debug evergate run";

const QUICKSTART: &str = "Makes a working gateway out of nothing, starts it, and says how clients connect.

Writes an authority, a server certificate (RSA 2048, for every client), a user with a password of its own, a configuration for IKEv2 and SSTP that \
needs no RADIUS server, and in the folder `clients` what Windows, Apple, Android and Linux want. Checks all of it. Overwrites nothing.

Examples:
  evergate quickstart --name vpn.example.com
  evergate quickstart --name 203.0.113.5 --user ann
  evergate quickstart --name vpn.example.com --dir ./vpn --no-start";

const MANUAL: &str = "Writes manual pages and completions for bash, fish and zsh, as packages hold them.

Examples:
  evergate manual ./generated && man ./generated/man/evergate.1";

const CHECK: &str = "Reads and checks the whole configuration, every file it names included, and starts nothing.

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

const CERTIFICATES: &str = "Shows every certificate of the gateway, and which client gets which and why.

Of each: names, purposes, key, chain, fingerprint, how many days are left, where clients look whether it is revoked, and what Windows, Apple or Android \
would refuse it for. Then a line for each kind of client: what it tells, what it gets, and the rule that decided. The running gateway is asked; without \
one, or where the configuration names another, the configuration is read. `evergate attempts show` says the same of a real login.

Examples:
  evergate certificates
  evergate certificates --probe                 can the revocation lists be had from here?
  evergate certificates --json | jq '.certificates[] | {name, days_left}'";
const DOCTOR: &str = "Looks at this host and its surroundings for whatever keeps clients from connecting, or from getting anywhere once connected.

Before the start: are the sockets of the listeners free, and who has them if not? While the gateway runs: does it hold them? Both times: forwarding, reverse \
path filter, rules of nftables, MTU, pools against the subnets of this host and the way back from the LAN, TUN device, clock, randomness, open files, \
state_dir, the gateway's name in DNS, certificates, and RADIUS servers, which are sent a Status-Server or the probe_user of the configuration, never anybody's \
login. Changes nothing. Run it as root, where the gateway runs: in its container or network namespace.

With --probe it needs no configuration and plays a client instead, from wherever it is run: it resolves the name, sends an IKE_SA_INIT to udp/500 and to \
udp/4500, there also one in IP fragments, shakes hands on tcp/443, shows the certificate, and asks for SSTP. It says which step fails, and which error Windows \
shows then. It logs nobody in.

Each line says ok, warn or fail, and what to do. The exit code is 1 if one fails, else 0.

Examples:
  evergate doctor
  evergate doctor --config ./evergate.toml
  evergate doctor --probe vpn.example.com       from another machine, best from outside
  evergate doctor --probe vpn.example.com --ca /etc/evergate/ca.pem
  evergate doctor --json | jq '.findings[] | select(.level != \"ok\")'";

const TRACE: &str = "Follows one client as it happens: IKE messages with what is inside them, SSTP and PPP, RADIUS packets, and the lines of the \
attempt's record, in one stream. Passwords, keys, MS-CHAP responses and what EAP methods carry are withheld. Ends with Ctrl-C.

A trace by user begins with the client's first packet as well: what came before its name was known is kept for that long, and shown then. What \
begins before there is an attempt (a COOKIE, a refused IKE_SA_INIT) belongs to an address alone: use --peer.

The capture holds datagrams of IKE and RADIUS, encrypted as they were; SSTP, and IKE over TCP, are not in it. Wireshark decrypts IKE with the file \
that --reveal-session-keys writes: it goes into its profile as ikev2_decryption_table. Both files have mode 0600; delete them when you are done.

The log of the gateway says that somebody traces, and whom. While nobody does it costs nothing.

Examples:
  evergate trace --user alice
  evergate trace --peer 203.0.113.7
  evergate trace --attempt 19a1b2c3d4e-17
  evergate trace --user alice --json | jq -c '{title, fields}'
  evergate trace --user alice --pcap alice.pcapng
  evergate trace --user alice --pcap alice.pcapng --reveal-session-keys alice.keys";

const STATUS: &str = "Shows the running gateway as a whole.

Listeners with the packets each socket has seen (packets on 500 but none on 4500: something on the way blocks 4500), sessions and half-open \
logins, RADIUS servers with their counters, pools with their usage, packets and drops by reason.

Examples:
  evergate status
  evergate status --json | jq .pools";

const SESSIONS: &str = "Lists, shows and ends sessions.

Examples:
  evergate sessions                             all of them
  evergate sessions show 17                     one of them, in full
  evergate sessions --would-refuse              whom the policies would not let in today
  evergate sessions disconnect 17               end one (an Always On client comes back within seconds)
  evergate sessions disconnect --user ann@example.com --hold 15m --reason \"see the help desk\"
  evergate sessions --json | jq '.sessions[].user'";

const TOKEN: &str = "Makes a token for callers of the Admin API over TLS ([api]), such as Prometheus, a script or a console.

The gateway knows only its SHA-256, by a line in the file that tokens_file names; a reload takes a changed file. Such a caller sends the token as \
`Authorization: Bearer TOKEN`. The control socket needs none.

Examples:
  evergate token prometheus
  evergate token console --operate
  curl -H \"Authorization: Bearer $TOKEN\" https://vpn.example.com:8443/v1/status";

const BLOCK: &str = "Keeps somebody out, whatever RADIUS and policies say, for a time or until it is taken back.

A blocked login is refused before RADIUS is asked where the name, certificate or address is known by then, else right after; its attempt says which \
block it was and why. The list survives restarts. Sessions that are up stay, unless --disconnect is given.

Examples:
  evergate block add --user ann@example.com --for 8h --reason \"lost laptop\" --disconnect
  evergate block add --machine pc17.example.com
  evergate block add --certificate 4f:02:9a
  evergate block add --address 198.51.100.0/24 --for 1h
  evergate block list
  evergate block remove 3
  evergate sessions disconnect 17 --hold 15m     end a session and keep its user out";

const RELOAD: &str = "Reads the configuration again and applies it to the running gateway, all or nothing. No session ends.

The new configuration is read and checked in full, as `evergate check` does. If anything is wrong, nothing changes, the error says why, and the exit \
code is 1. Else RADIUS servers and groups, policies, pools, certificates, limits, timers, ciphers, the local provider and the log filter are taken at \
once: who logs in from now on gets them, who is in keeps what it has, and a login under way ends with the server it began with. What only a restart \
brings is named: addresses and ports of listeners, listeners that come or go, and of [server] name, control_socket, state_dir, run_as, log_format, \
threads, tun, mtu and attempts_kept; queue_max of [accounting]; listen of [metrics]; dynamic_listen and dynamic_port where requests are heard already.

Sessions that the policies would refuse now, or give something else, are listed. They stay unless --end-refused is given.

SIGHUP does the same and says so in the log. Renewed certificates need neither: their files are watched.

Examples:
  evergate reload --dry-run                     what would it do?
  evergate reload
  evergate reload --end-refused
  evergate sessions --would-refuse              the list again, later
  evergate reload --json | jq .needs_restart";

const DRAIN: &str = "Empties the gateway before maintenance.

From now on nobody new comes in: IKEv2 clients that follow redirects (RFC 5685: strongSwan and others, not Windows) are sent to the gateway that --to \
names, all others are refused at once, over SSTP with HTTP 503. Give clients that know no redirects another way first, in DNS or at the balancer.

Those who are in leave within the time: clients that follow redirects are redirected and SSTP calls hung up, evenly spread; whoever can be told nothing \
but goodbye, such as Windows over IKEv2, stays until the end. `evergate status` shows how many are left. It ends with --cancel or a restart.

Examples:
  evergate drain --to vpn2.example.com --within 30m
  evergate drain --within 5m                    nowhere to send them
  evergate drain --cancel                       take clients again";

const ATTEMPTS: &str = "Lists login attempts, newest first, and tells the story of one.

Every attempt is recorded from its first packet on: stages, what the client offered and what was accepted, what RADIUS and the policies said, \
and on a failure the cause, the number that Windows shows its user, and what to do about it.

Examples:
  evergate attempts                             the newest 20
  evergate attempts --failed --limit 100
  evergate attempts --user ann@example.com
  evergate attempts show 19ab5c3d2e1-17         one, with its timeline";

const PROFILE: &str = "Makes what a client needs to connect, from the configuration: server name, ciphers that this gateway accepts, EAP settings, \
trusted root, routes, name servers and suffix of the policy.

Windows gets a script that makes the connection (windows.ps1), ProfileXML for Always On VPN (profile.xml), and a script that hands it to the MDM \
bridge (profile.ps1); Apple's clients get a .mobileconfig, the strongSwan app on Android an .sswan, strongSwan on Linux swanctl.conf, NetworkManager \
an .nmconnection for its plugin of strongSwan or of SSTP. No secret is written unless --with-password asks for it. Without --out everything goes to \
standard output.

Examples:
  evergate profile windows --out ./windows
  evergate profile windows --device --policy machines --out ./device
  evergate profile windows --tunnel sstp
  evergate profile apple --user ann > ann.mobileconfig
  evergate profile strongswan --user ann --out ./linux
  evergate profile networkmanager --tunnel sstp --out ./linux
  evergate profile strongswan --json | jq -r '.files[0].text'";

const POLICY: &str = "Asks the network policies of the configuration what they say to a login that you describe.

Shows who decides, the reason as NPS numbers it, and of every policy tried the first condition that fails. Nobody logs in, and nothing needs to run. \
What must stay true belongs into the configuration as a [[policy_test]]: `evergate check`, the start and every reload refuse policies that break one.

Examples:
  evergate policy test --user ann@example.com
  evergate policy test --user ann@example.com --tunnel sstp --eap-type EAP-TLS --attribute Filter-Id=staff
  evergate policy import npsconfig.xml > policies.toml
  evergate policy test --user bob --group contractors --time \"sat 10:00\" --json";

const EXPLAIN: &str = "Says in plain words what a number means that a client shows, or what became of a login.

A number needs no gateway: 809, 13868, 0x80092013, or as event logs write it, -2146885613. For anything else the running gateway is asked: the id of an \
attempt, a user's name, a client's address, or `last`; of a user or an address it is the newest failed attempt. The story says how far it came, why it \
ended, what Windows shows, what other attempts of the same client add, and what to change on which side.

Examples:
  evergate explain 13868
  evergate explain last
  evergate explain ann@example.com
  evergate explain 198.51.100.7
  evergate explain 19ab5c3d2e1-17 --json | jq -r '.told[]'";

const USER: &str = "Keeps the users file of the local provider ([local] users_file): the users of a gateway without a RADIUS server.

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

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "evergate", version, about = "A VPN gateway", long_about = ABOUT, after_long_help = EXAMPLES, after_help = "See --help for examples.")]
pub struct Cli {
    /// The configuration; drop-ins are in the folder of the same name with .d instead of .toml
    #[arg(long, short, global = true, value_name = "FILE", help = format!("The configuration file [default: {DEFAULT_PATH}]"))]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| DEFAULT_PATH.into())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    #[command(long_about = RUN)]
    Run,
    /// Make certificates, a user and a configuration, and start
    #[command(long_about = QUICKSTART)]
    Quickstart(QuickstartArgs),
    /// Write manual pages and completions for shells
    #[command(long_about = MANUAL, hide = true)]
    Manual {
        /// Gets the folders `man` and `completions`
        folder: PathBuf,
    },
    #[command(flatten)]
    Ask(Question),
}

/// What is answered at once.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Check the configuration without starting, or a client's profile against it
    #[command(long_about = CHECK)]
    Check(CheckArgs),
    /// Ask the network policies what they say to a login
    #[command(long_about = POLICY)]
    Policy(PolicyArgs),
    /// Make what Windows, Apple, Android and Linux clients need to connect
    #[command(long_about = PROFILE)]
    Profile(ProfileArgs),
    /// Show the certificates, and which client gets which and why
    #[command(long_about = CERTIFICATES, visible_alias = "certificate")]
    Certificates {
        /// Ask every place where clients look for revocation whether it answers, from here
        #[arg(long)]
        probe: bool,
    },
    /// Look for what keeps clients from connecting: ports, firewall, routes, RADIUS, ..
    #[command(long_about = DOCTOR)]
    Doctor(DoctorArgs),
    /// Follow one client: its packets, decoded, and what the gateway makes of them, as it happens
    #[command(long_about = TRACE)]
    Trace(TraceArgs),
    /// Add, change, list or remove users of the local provider
    #[command(long_about = USER, visible_alias = "users")]
    User(UserArgs),
    /// Show listeners, RADIUS servers, pools and counters
    #[command(long_about = STATUS)]
    Status,
    /// Apply a changed configuration without ending a session
    #[command(long_about = RELOAD)]
    Reload {
        /// End the sessions that the policies refuse now
        #[arg(long)]
        end_refused: bool,
        /// Show what would change, and which sessions would be refused; apply nothing
        #[arg(long, conflicts_with = "end_refused")]
        dry_run: bool,
    },
    /// List, show or end sessions
    #[command(long_about = SESSIONS, visible_alias = "session", args_conflicts_with_subcommands = true)]
    Sessions {
        /// Only those to which the policies would say something else now: refuse them, or give them other settings
        #[arg(long)]
        would_refuse: bool,
        #[command(subcommand)]
        command: Option<SessionsCommand>,
    },
    /// Make a token for callers of the Admin API
    #[command(long_about = TOKEN)]
    Token(TokenArgs),
    /// Keep users, computers, certificates or addresses out by hand
    #[command(long_about = BLOCK, visible_alias = "blocks")]
    Block(BlockArgs),
    /// Empty the gateway before maintenance
    #[command(long_about = DRAIN)]
    Drain(Drain),
    /// Say what an error number means, or why a login failed
    #[command(long_about = EXPLAIN)]
    Explain {
        /// An error number, an attempt's id, a user, a client's address, or last
        #[arg(default_value = "last", allow_hyphen_values = true)]
        what: String,
    },
    /// List login attempts, or tell the story of one
    #[command(long_about = ATTEMPTS, visible_alias = "attempt", args_conflicts_with_subcommands = true)]
    Attempts {
        #[command(flatten)]
        list: AttemptsList,
        #[command(subcommand)]
        command: Option<AttemptsCommand>,
    },
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A client's profile, to be compared with the gateway
    #[arg(long, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// PEM file with authorities that the configuration does not hold; any number of times
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub(super) ca: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// Whose client: windows, apple, android, strongswan or networkmanager
    #[arg(value_parser = kind)]
    pub(super) kind: Kind,
    /// The network policy whose settings count [default: the first that lets such a login in]
    #[arg(long, value_name = "NAME")]
    pub(super) policy: Option<String>,
    /// ikev2 or sstp [default: ikev2 where there is a listener for it]
    #[arg(long, value_parser = crate::policy_case::tunnel)]
    pub(super) tunnel: Option<Tunnel>,
    /// For the machine, with its certificate, instead of a user
    #[arg(long)]
    pub(super) device: bool,
    /// What the client dials [default: the gateway's name]
    #[arg(long, value_name = "NAME")]
    pub(super) server: Option<String>,
    /// mschapv2, tls, peap (mschapv2 inside) or peap-tls [default: what policy or local provider ask for, else mschapv2]
    #[arg(long, value_name = "METHOD", value_parser = eap_method)]
    pub(super) eap: Option<EapMethod>,
    /// A name in the certificate that the RADIUS server shows in EAP; any number of times
    #[arg(long, value_name = "NAME")]
    pub(super) eap_server: Vec<String>,
    /// PEM file with the root above that certificate; any number of times
    #[arg(long, value_name = "FILE")]
    pub(super) eap_ca: Vec<PathBuf>,
    /// PEM file with the authorities above the gateway's certificate that the configuration does not hold; any number of times
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Vec<PathBuf>,
    /// The user whom it is for
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// Write the user's password into the profile, in clear; asked for on the terminal or standard input
    #[arg(long, requires = "user")]
    pub(super) with_password: bool,
    /// PKCS#12 file with the client's certificate and key, for profiles that hold one (apple, android)
    #[arg(long, value_name = "FILE")]
    pub(super) p12: Option<PathBuf>,
    /// Folder to write to; nothing there is overwritten
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    Kind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

fn eap_method(text: &str) -> Result<EapMethod, String> {
    let words: Vec<_> = EapMethod::ALL.iter().map(|method| method.word()).collect();
    EapMethod::ALL.into_iter().find(|method| method.word() == text).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true))]
pub struct TraceArgs {
    /// Whoever calls itself so, or is found to be so
    #[arg(long, value_name = "NAME", group = "whom")]
    user: Option<String>,
    /// The client at this IP address
    #[arg(long, value_name = "ADDRESS", group = "whom")]
    peer: Option<IpAddr>,
    /// One login try that is not over, by its id in `evergate attempts`
    #[arg(long, value_name = "ID", group = "whom")]
    attempt: Option<String>,
    /// Write a capture for Wireshark as well: the datagrams of IKE and RADIUS as they were on the wire
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,
    /// With --pcap: also write the keys of the IKE SAs, a line each, as Wireshark's ikev2_decryption_table takes them. Whoever has both files reads
    /// everything that IKE said, credentials among it
    #[arg(long, value_name = "FILE", requires = "pcap")]
    pub(super) reveal_session_keys: Option<PathBuf>,
}

impl TraceArgs {
    pub(super) fn query(&self) -> TraceQuery {
        TraceQuery {
            user: self.user.clone(),
            peer: self.peer,
            attempt: self.attempt.clone(),
            packets: self.pcap.is_some(),
            session_keys: self.reveal_session_keys.is_some(),
        }
    }
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Play a client of this gateway from here instead: a DNS name or an IP address
    #[arg(long, value_name = "HOST")]
    pub(super) probe: Option<String>,
    /// PEM file with the authorities of its certificate [default: those of this system]
    #[arg(long, value_name = "FILE", requires = "probe")]
    pub(super) ca: Option<PathBuf>,
    /// TCP port of SSTP
    #[arg(long, value_name = "PORT", default_value_t = 443, requires = "probe")]
    pub(super) port: u16,
}

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List all sessions
    List,
    /// Show one session in full
    Show {
        /// Number of the session, as `evergate sessions` lists it
        id: u64,
    },
    /// End one session, or all of a user
    Disconnect(Disconnect),
}

#[derive(Debug, Args)]
pub struct Disconnect {
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    pub(super) hold: Hold,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// Number of the session
    pub(super) id: Option<u64>,
    /// End all sessions of this user
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Hold {
    /// Keep the user out for so long, such as 15m or 8h: an Always On client comes back within seconds otherwise
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) hold: Option<Duration>,
    /// Why, for the block list
    #[arg(long, value_name = "TEXT", requires = "hold")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whom it is for; the log says it
    pub(super) name: String,
    /// It may change things, not only look
    #[arg(long)]
    pub(super) operate: bool,
}

#[derive(Debug, Args)]
pub struct BlockArgs {
    #[command(subcommand)]
    pub(super) command: BlockCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BlockCommand {
    /// List who is kept out
    List,
    /// Keep somebody out
    Add(BlockAdd),
    /// Let somebody in again
    Remove {
        /// Number of the block, as `evergate block list` shows it
        id: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct BlockAdd {
    #[command(flatten)]
    who: BlockedArgs,
    /// For so long, such as 15m or 8h [default: until it is removed]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// Why; whoever asks about a refused login is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End their sessions too
    #[arg(long)]
    disconnect: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BlockedArgs {
    /// A user, by the whole name that `evergate attempts` shows
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A computer, by the name in its certificate or of its account
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// A client certificate, by serial number or SHA-256 fingerprint
    #[arg(long, value_name = "HEX")]
    certificate: Option<String>,
    /// Clients that come from an address or a prefix
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

impl BlockAdd {
    /// `None`: nobody is named, which the group above excludes.
    pub(super) fn order(&self) -> Option<api::BlockOrder> {
        let BlockedArgs { user, machine, certificate, address } = &self.who;
        let named = [
            user.clone().map(Blocked::User),
            machine.clone().map(Blocked::Machine),
            certificate.clone().map(Blocked::Certificate),
            address.clone().map(Blocked::Address),
        ];
        let who = named.into_iter().flatten().next()?;
        let for_secs = self.time.map(|time| time.as_secs());
        Some(api::BlockOrder { who, for_secs, reason: self.reason.clone(), disconnect: self.disconnect })
    }
}

#[derive(Debug, Args)]
pub struct Drain {
    /// Where clients are sent that can follow: a DNS name or an IP address that they can reach
    #[arg(long, value_name = "GATEWAY")]
    to: Option<String>,
    /// How long those who are in may take to leave, such as 90s, 30m or 8h; 0s: at once
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    within: Duration,
    /// Take clients again
    #[arg(long, conflicts_with_all = ["to", "within"])]
    cancel: bool,
}

impl Drain {
    /// `None`: it is cancelled.
    pub(super) fn order(&self) -> Option<api::Drain> {
        (!self.cancel).then(|| api::Drain { to: self.to.clone(), within_secs: self.within.as_secs() })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| "expected a duration such as \"90s\", \"30m\" or \"8h\"".into())
}

#[derive(Debug, Subcommand)]
pub enum AttemptsCommand {
    /// List attempts, newest first
    List(AttemptsList),
    /// Tell the story of one attempt
    Show {
        /// Id of the attempt, as `evergate attempts` lists it
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct AttemptsList {
    /// At most this many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = DEFAULT_LIMIT)]
    limit: usize,
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
}

impl AttemptsList {
    pub(super) fn query(&self) -> AttemptsQuery {
        AttemptsQuery { limit: Some(self.limit), before: None, user: self.user.clone(), failed: self.failed }
    }
}

#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub(super) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Decide about an imagined login, with every policy tried and its first failing condition
    Test(Box<PolicyQuestion>),
    /// Write the policies of an NPS export as [[policy]] sections on standard output, and what has no equivalent on standard error
    Import {
        /// What Export-NpsConfiguration or `netsh nps export` wrote
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct UserArgs {
    /// The users file [default: users_file of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
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
pub(super) struct UserFacts {
    /// What the group conditions of the policies look at; "" for none
    #[arg(long, value_delimiter = ',', value_name = "GROUP,..")]
    pub(super) groups: Option<Vec<String>>,
    /// The last day, in UTC, such as 2027-12-31, or never
    #[arg(long, value_name = "DATE")]
    pub(super) expires: Option<String>,
    /// The user must choose another password at the next login (MS-CHAPv2, EAP-MSCHAPv2)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) must_change: Option<bool>,
    /// The last day of the password, in UTC, or never: the user chooses another one then
    #[arg(long, value_name = "DATE")]
    pub(super) password_expires: Option<String>,
    /// Fixed address: IPv4, IPv6 or one of each, or none
    #[arg(long, value_name = "ADDRESS,..")]
    pub(super) address: Option<String>,
}

#[derive(Debug, Args)]
pub struct QuickstartArgs {
    /// What clients dial: a DNS name or an address [default: this host's]
    #[arg(long)]
    pub name: Option<String>,
    #[arg(long, value_name = "DIR", help = format!("Where to write [default: {}]", crate::quickstart::DEFAULT_FOLDER))]
    pub dir: Option<PathBuf>,
    /// The first user
    #[arg(long, default_value = "alice")]
    pub user: String,
    /// Write, check and print, but do not start
    #[arg(long)]
    pub no_start: bool,
}
