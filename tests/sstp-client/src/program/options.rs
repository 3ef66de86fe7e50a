//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use net::link::Prefix;
use sstp_client::auth::{Credentials, Method, random};
use sstp_client::bare::Unit;
use sstp_client::call::{Options, Writes};
use sstp_client::data::Fill;
use sstp_client::http::Style;
use sstp_client::ppp::Settings;
use sstp_client::transport::{self, Ciphers, ProxyHeader, Versions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// An SSTP client that behaves on the wire as Windows does, checks every answer strictly, and can misbehave on request.
#[derive(Debug, Parser)]
#[command(
    name = "sstp-client",
    after_help = "Examples:
  sstp-client connect --server 10.99.1.1 --server-name vpn.example.test --ca ca.pem --user alice --password password --ping 10.99.10.10
  sstp-client connect ... --tun sstp0 --route 10.99.10.0/24 --seconds 60 --json
  sstp-client storm ... --user 'load{}' --count 500 --parallel 16 --json
  sstp-client misbehave ... --case wrong-cmac --json
  sstp-client misbehave --help      (names every case)

Exit status: 0 when the call went as asked, 1 when not; with --json the last line then holds \"event\": \"error\", the stage and the kind:
protocol (the server broke the protocol), refused (it said no), closed, timeout, io, tls, setup."
)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// One JSON object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a call and hold it: for --seconds, or until standard input closes.
    Connect(Box<Connect>),
    /// Make many calls, without traffic, and report rates and times.
    Storm(Box<Storm>),
    /// Do one thing wrong, and print what the server did.
    Misbehave(Box<Misbehave>),
    /// Open many connections that stop half-way, and print what became of them.
    Flood(Box<Flood>),
    /// The measure for throughput: TUN packets through TLS alone, server end.
    BareServer(BareServer),
    /// The measure for throughput, client end.
    BareClient(BareClient),
}

/// Whom to call, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Login {
    /// Address of the server, with or without a port.
    #[arg(long, value_parser = server_address)]
    pub(crate) server: SocketAddr,
    /// Name that its certificate must hold; also for SNI and the Host header.
    #[arg(long)]
    pub(crate) server_name: String,
    /// Authorities of its certificate (PEM).
    #[arg(long, required_unless_present_any = ["insecure", "plain"])]
    pub(crate) ca: Option<PathBuf>,
    /// Take any certificate.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// No TLS, as behind a balancer that ends it.
    #[arg(long)]
    pub(crate) plain: bool,
    /// No server name indication.
    #[arg(long)]
    pub(crate) no_sni: bool,
    /// TLS versions to offer.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tls: Versions,
    /// Ciphers to offer.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) cipher: Ciphers,
    /// Offer ALPN http/1.1.
    #[arg(long)]
    pub(crate) alpn: bool,
    /// Begin with a PROXY header.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) proxy: ProxyHeader,
    /// Client address that the PROXY header tells.
    #[arg(long, requires = "proxy")]
    pub(crate) proxy_source: Option<SocketAddr>,
    /// HTTP request head to send.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) http: Style,
    /// How packets are cut into TLS records during the negotiation.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) writes: Writes,
    /// User; in a storm, `{}` stands for the number of the call.
    #[arg(long, default_value = "")]
    pub(crate) user: String,
    /// Password; more than one are tried in turn where the server lets the client retry.
    #[arg(long)]
    pub(crate) password: Vec<String>,
    /// Set this password when the server says that the old one has expired.
    #[arg(long)]
    pub(crate) new_password: Option<String>,
    /// Client certificate with its chain (PEM), for EAP-TLS.
    #[arg(long, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Send every authentication response twice.
    #[arg(long)]
    pub(crate) repeat_auth: bool,
    /// EAP-TLS: leave without a word once the RADIUS server has shown its certificate.
    #[arg(long)]
    pub(crate) suspicious: bool,
    /// How to authenticate.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) auth: Method,
    /// Computer name in the Identification.
    #[arg(long, default_value = "TESTPC")]
    pub(crate) computer: String,
    /// Do not ask for IPv6.
    #[arg(long)]
    pub(crate) no_ipv6: bool,
    /// Do not ask for IPv4.
    #[arg(long)]
    pub(crate) no_ipv4: bool,
    /// IPv4 address to ask for.
    #[arg(long, default_value = "0.0.0.0")]
    pub(crate) ask_address: Ipv4Addr,
    /// Receive unit to ask for.
    #[arg(long, default_value_t = 4091)]
    pub(crate) mru: u16,
    /// Milliseconds from CALL_CONNECT_ACK until the PPP port is up; PPP frames that come earlier are lost.
    #[arg(long, default_value_t = 5)]
    pub(crate) port_delay: u64,
    /// Print every packet to standard error, hexadecimal.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Longest wait for each stage, in seconds.
    #[arg(long, default_value_t = 15.0)]
    pub(crate) timeout: f64,
}

fn server_address(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 443));
    text.parse().or_else(|_| alone()).map_err(|_| format!("{text:?} is no address: write 192.0.2.1, 192.0.2.1:443 or [2001:db8::1]:443"))
}

impl Login {
    /// The options of call `number`.
    pub(crate) fn options(&self, number: u32) -> Options {
        let patience = Duration::from_secs_f64(self.timeout);
        Options {
            transport: transport::Options {
                server: self.server,
                server_name: self.server_name.clone(),
                ca: self.ca.clone().filter(|_| !self.insecure),
                sni: !self.no_sni,
                versions: self.tls,
                ciphers: self.cipher,
                alpn: self.alpn,
                plain: self.plain,
                proxy: self.proxy,
                proxy_source: self.proxy_source,
                timeout: patience,
            },
            ppp: Settings {
                method: self.auth,
                credentials: Credentials {
                    user: self.user.replace("{}", &number.to_string()),
                    passwords: self.password.clone(),
                    new_password: self.new_password.clone(),
                    certificate: self.cert.clone().zip(self.key.clone()),
                    repeat: self.repeat_auth,
                    suspicious: self.suspicious,
                },
                computer: self.computer.clone(),
                correlation: random(),
                mru: self.mru,
                ipv6: !self.no_ipv6,
                ipv4: !self.no_ipv4,
                address: self.ask_address,
            },
            style: self.http,
            writes: self.writes,
            port_delay: Duration::from_millis(self.port_delay),
            patience,
            trace: self.trace,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Hold the call this long; without it, until standard input closes.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Make a TUN device of this name with the addresses of the call (`sstp%d` lets the kernel choose a number).
    #[arg(long)]
    pub(crate) tun: Option<String>,
    /// Route into the device, besides those that DHCPINFORM brought.
    #[arg(long, requires = "tun")]
    pub(crate) route: Vec<Prefix>,
    /// Frames in a TLS record on the way out.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fill: Fill,
    /// Without a device: send echo requests to this address inside the tunnel.
    #[arg(long, conflicts_with = "tun")]
    pub(crate) ping: Vec<IpAddr>,
    /// Where echo requests come from: a host behind us. Default: our own address.
    #[arg(long)]
    pub(crate) source: Option<IpAddr>,
    /// How many echo requests to each address.
    #[arg(long, default_value_t = 3)]
    pub(crate) count: u16,
    /// Bytes of data in an echo request.
    #[arg(long, default_value_t = 56)]
    pub(crate) size: usize,
    /// Send neither router solicitation nor DHCPINFORM.
    #[arg(long)]
    pub(crate) no_configure: bool,
    /// Seconds to wait for the answers to those.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) configure_wait: f64,
    /// End without a word instead of Terminate-Request and CALL_DISCONNECT.
    #[arg(long)]
    pub(crate) vanish: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) login: Login,
    /// How many calls.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// How many at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) parallel: u32,
    /// Calls begun a second at most; 0: as fast as it goes.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Keep all calls until the last one is up (at most 4096 calls), instead of ending each at once.
    #[arg(long)]
    pub(crate) keep: bool,
    /// With --keep: say when the last one is up, and hold them all until standard input ends.
    #[arg(long, requires = "keep")]
    pub(crate) hold: bool,
    /// Call N sends 1 + N % 8 echo requests of 500 bytes there, and waits for the answers.
    #[arg(long)]
    pub(crate) ping: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Misbehave {
    #[command(flatten)]
    pub(crate) login: Login,
    /// What to do wrong.
    #[arg(long, value_enum)]
    pub(crate) case: Case,
    /// A host behind the gateway that answers echo requests, for the cases with data.
    #[arg(long, default_value = "10.99.10.10")]
    pub(crate) host: Ipv4Addr,
    /// Seconds to watch what the server does.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) watch: f64,
    /// Do not answer CALL_ABORT with CALL_ABORT.
    #[arg(long)]
    pub(crate) no_abort_answer: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Flood {
    #[command(flatten)]
    pub(crate) login: Login,
    /// How many connections.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) count: u32,
    /// Where each stops.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) stop_at: StopAt,
    /// Seconds to watch them.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) watch: f64,
}

/// Where an unfinished handshake stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StopAt {
    /// After TCP's handshake.
    Tcp,
    /// In the middle of the ClientHello.
    HalfHello,
    /// After the ClientHello.
    #[default]
    Hello,
    /// After the TLS handshake.
    Tls,
    /// After the HTTP answer.
    Http,
    /// After CALL_CONNECT_ACK.
    Request,
    /// After LCP and authentication.
    Auth,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Device {
    /// Name of the TUN device.
    #[arg(long, default_value = "bare%d")]
    pub(crate) tun: String,
    /// Address of the device, with its prefix length.
    #[arg(long)]
    pub(crate) address: Prefix,
    /// Route into the device.
    #[arg(long)]
    pub(crate) route: Vec<Prefix>,
    /// MTU of the device.
    #[arg(long, default_value_t = 1400)]
    pub(crate) mtu: u32,
    /// What travels.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) unit: Unit,
    /// Packets in a TLS record.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fill: Fill,
    /// Hold the connection this long; without it, until standard input closes.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Ciphers.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) cipher: Ciphers,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BareServer {
    /// Where to listen for one connection.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Certificate with its chain (PEM).
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// Its private key (PEM).
    #[arg(long)]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) device: Device,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BareClient {
    /// Where the server listens.
    #[arg(long)]
    pub(crate) server: SocketAddr,
    /// Name that its certificate must hold.
    #[arg(long)]
    pub(crate) server_name: String,
    /// Authorities of its certificate (PEM).
    #[arg(long)]
    pub(crate) ca: PathBuf,
    #[command(flatten)]
    pub(crate) device: Device,
}

/// One thing done wrong, or unusually; what a gateway has to do is said with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// One bit of the compound MAC is wrong: ABORT, attribute 3, status 4.
    WrongCmac,
    /// HLAK with the receive key first: ABORT, attribute 3, status 4.
    SwappedKeyHalves,
    /// One bit of the nonce is wrong: ABORT, attribute 3, status 4.
    WrongNonce,
    /// Hash of another certificate: ABORT, attribute 3, status 4.
    WrongCertHash,
    /// SHA-1 although SHA-256 is offered: ABORT, attribute 3, status 4.
    Sha1Downgrade,
    /// A hash byte that is not offered: ABORT, attribute 3, status 4.
    HashByte,
    /// Bound with zeros although the method makes keys: ABORT, attribute 3, status 4.
    ZeroHlak,
    /// CALL_CONNECTED without crypto binding: ABORT, attribute 2, status 9.
    BindingMissing,
    /// The crypto binding is 4 bytes too short: ABORT, attribute 2, status 9.
    BindingShort,
    /// Echo request to --host before CALL_CONNECTED: dropped; after it: answered.
    DataBeforeConnected,
    /// CALL_CONNECTED before the server has answered the authentication: waits for the keys, then the call comes up.
    ConnectedEarly,
    /// No CALL_CONNECTED: ABORT with status 8 after the negotiation timer (60 s; see --watch).
    ConnectedNever,
    /// CALL_CONNECTED twice: ABORT.
    SecondConnected,
    /// CALL_CONNECT_REQUEST twice: ABORT.
    SecondRequest,
    /// No CALL_CONNECT_REQUEST: ABORT with status 8 after the negotiation timer (60 s; see --watch).
    RequestNever,
    /// CALL_CONNECT_REQUEST for another protocol than PPP: NAK, attribute 1, status 4.
    RequestWrongProtocol,
    /// CALL_CONNECT_REQUEST without an attribute: NAK, attribute 2, status 10.
    RequestWithoutAttribute,
    /// Four bad CALL_CONNECT_REQUESTs: after the NAKs ABORT with status 6.
    RequestFourTimesBad,
    /// CALL_ECHO_REQUEST before CALL_CONNECTED: ABORT.
    EchoEarly,
    /// CALL_ECHO_REQUEST before CALL_CONNECT_REQUEST: ABORT.
    EchoBeforeRequest,
    /// CALL_ECHO_REQUEST and LCP Echo-Request in a call that is up: both answered.
    Echo,
    /// Every byte of the negotiation in a TLS record of its own: the call comes up.
    OneByteWrites,
    /// Every packet over three TLS records: the call comes up.
    ThreeRecords,
    /// A data packet of 4095 bytes: carried.
    LongPackets,
    /// An echo request to --host and a CALL_ECHO_REQUEST in one TLS record: both answered.
    TwoPerRecord,
    /// Reserved bits of header and length set: ignored.
    ReservedBits,
    /// SSTP version 1.1: TCP is closed without a word.
    BadVersion,
    /// Length 3: TCP is closed without a word.
    BadLength,
    /// Control packet of length 5: TCP is closed without a word.
    ControlLengthFive,
    /// Control message of type 99: ABORT.
    UnknownMessage,
    /// Data frames without address and control field and with a short protocol: carried.
    CompressedFrames,
    /// CCP, ECP, BACP, CBCP and IPXCP: each gets a Protocol-Reject, the link stays.
    UnknownProtocols,
    /// LCP code 42: Code-Reject, the link stays.
    UnknownLcpCode,
    /// Echo request from an address that is not ours: dropped; from ours: answered.
    SpoofedSource,
    /// No answer to echo requests: dropped without ABORT after two hello intervals (120 s; see --watch).
    Silence,
    /// CALL_ABORT: answered with CALL_ABORT, closed after 1 s.
    Abort,
    /// CALL_DISCONNECT: acknowledged, closed after 1 s.
    Disconnect,
    /// LCP Terminate-Request: acknowledged.
    Terminate,
    /// CALL_CONNECT_REQUEST right behind the HTTP head, in one record: the call comes up.
    Pipelined,
    /// Random bytes instead of a ClientHello: an alert or a close.
    TlsGarbage,
    /// HTTP without TLS: closed.
    PlainHttp,
    /// GET / over TLS: a complete 4xx and a close.
    HttpGet,
    /// HEAD of the SSTP path: 401 or 4xx without a body, and a close.
    HttpHead,
    /// POST of the SSTP path: a 4xx and a close.
    HttpPost,
    /// SSTP_DUPLEX_POST of another path: a 4xx and a close.
    HttpWrongPath,
    /// HTTP/1.0: a 4xx or 505 and a close.
    HttpWrongVersion,
    /// A header block of 1 MiB: a 4xx or a close, long before all of it is taken.
    HugeHeaders,
    /// The HTTP head a byte every 200 ms: an end after a bounded time (see --watch).
    SlowHttp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn addresses_with_and_without_port() {
        assert_eq!(server_address("192.0.2.1").unwrap().port(), 443);
        assert_eq!(server_address("2001:db8::1").unwrap().to_string(), "[2001:db8::1]:443");
        assert_eq!(server_address("[2001:db8::1]:8443").unwrap().port(), 8443);
        assert!(server_address("vpn.example.test").is_err());
    }
}
