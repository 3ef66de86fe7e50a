//! The configuration: TOML, drop-ins and environment in; a checked [`Config`] with all files read out.
mod access;
mod accounting;
mod api;
mod certificates;
mod ciphers;
mod conditions;
mod diff;
mod dynamic;
mod error;
mod files;
mod filter;
mod listen;
mod local;
mod notes;
mod nps_log;
mod pem;
mod policy_tests;
mod ppk;
mod radius;
mod radsec;
mod reader;
mod request;
mod revocation;
mod server;
mod shown;
mod source;
mod steering;
mod telemetry;
#[cfg(test)]
mod tests;
mod values;

pub use api::Api;
pub use ciphers::{group_name, prf_name, suite_name};
pub use conditions::eap_name;
pub use diff::{Change, Difference, Heard, KeyChange, What};
pub use dynamic::DynamicPeer;
pub(crate) use error::suggestion;
pub use error::{ConfigError, Origin};
pub use notes::Look;
pub use radsec::ServerOverTls;
pub use shown::{Shown, ShownKey, ShownSection};
pub(crate) use values::address_range;
pub use values::{dns_name, duration, duration_text, gateway_identity, time_of_week};

use crate::steering::{ByPolicy, Door};
use ike::{CipherPolicy, ClientAuth, GatewayIdentity, Limits, ResponderConfig, Timers};
use notes::Notes;
use pki::{Credential, ServerCertificate, Steering, TrustAnchors, Uses};
use policy::filter::Filter;
use policy::network::{AddressRange, Policy, Tunnel};
use policy::pool::PoolConfig;
use policy::request::RequestPolicy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the configuration is looked for unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/evergate/evergate.toml";
/// The control socket unless told otherwise.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/evergate/control.sock";
/// What outlives a restart is here unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/evergate";

/// A checked configuration: every file read, every name resolved, every reference found.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    pub server: Server,
    pub certificates: Vec<NamedCredential>,
    /// At least this or one of `sstp`.
    pub ikev2: Option<Ikev2Listener>,
    pub sstp: Vec<SstpListener>,
    /// In order of preference.
    pub radius: Vec<RadiusServer>,
    pub radius_groups: Vec<radius_client::Group>,
    /// Connection request policies in order; the first that matches decides. None at all: all servers are asked.
    pub requests: Vec<RequestPolicy>,
    pub accounting: crate::accounting::Settings,
    pub nps_log: Option<crate::nps_log::Settings>,
    pub telemetry: Option<crate::telemetry::Settings>,
    /// Asked where a connection request policy says so, or where there is no RADIUS server.
    pub local: Option<LocalProvider>,
    /// Who may end and change sessions (RFC 5176); none: nobody listens for it.
    pub dynamic_clients: Vec<DynamicPeer>,
    pub pools: Vec<PoolConfig>,
    /// What policies and Filter-Id name.
    pub filters: Vec<Arc<Filter>>,
    /// In order; the first that matches decides.
    pub policies: Vec<Policy>,
    /// How many `[[policy.test]]` they meet: all that there are.
    pub policy_tests: usize,
    pub ciphers: CipherPolicy,
    pub limits: Limits,
    /// How long a Child SA may carry nothing before the gateway deletes it and keeps the IKE SA; zero: as long as it likes.
    pub child_idle: std::time::Duration,
    /// Octets after which the gateway has a Child SA rekeyed; zero: as many as it can carry.
    pub child_volume: u64,
    /// Where the Admin API is served besides its socket.
    pub api: Option<Api>,
    /// Where metrics are served.
    pub metrics_listen: Vec<std::net::SocketAddr>,
    pub timers: Timers,
    /// What works but deserves a look, one sentence each; to be logged at WARN.
    pub warnings: Vec<String>,
    /// What it was read from.
    written: Arc<Written>,
}

/// What a configuration was read from, kept to tell what another one changes.
#[derive(Debug)]
struct Written {
    tree: source::Node,
    files: Vec<notes::NotedFile>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// The gateway's identity: the DNS name that clients dial, and the default NAS-Identifier.
    pub name: String,
    pub control_socket: PathBuf,
    /// The group that may give orders there; `None`: [`crate::privileges::OPERATORS`], where there is one.
    pub control_group: Option<String>,
    /// What must outlive a restart, such as revocation lists.
    pub state_dir: PathBuf,
    /// Whose process the gateway becomes where root starts it; `None`: see [`crate::privileges`].
    pub run_as: Option<String>,
    /// A `tracing` filter such as `info` or `info,evergate=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// Packet threads; 0: one per core.
    pub threads: usize,
    /// Name of the TUN device, at most 15 bytes.
    pub tun: String,
    /// MTU of the TUN device, 1280..=9000.
    pub mtu: u16,
    /// Where the policies' `time` conditions are read.
    pub time_zone: jiff::tz::TimeZone,
    /// Where Disconnect and CoA requests are heard, if there are dynamic clients.
    pub dynamic_listen: Vec<IpAddr>,
    pub dynamic_port: u16,
    /// For those who ask over TLS.
    pub dynamic_tls_port: u16,
    /// Sessions at most.
    pub max_sessions: usize,
    /// Finished attempts kept for `evergate attempts`.
    pub attempts_kept: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[[certificate]]`: a chain with its key under a name.
#[derive(Debug, Clone)]
pub struct NamedCredential {
    pub name: String,
    pub chain_file: PathBuf,
    pub credential: Credential,
    /// What clients dial to see it, DNS names, wildcards or addresses; `None`: the names in the certificate.
    pub names: Option<Vec<String>>,
    /// Addresses of the gateway where clients see it in preference.
    pub addresses: Vec<IpAddr>,
    /// Realms of the clients that see it in preference.
    pub realms: Vec<String>,
    /// Who sees it.
    pub uses: Uses,
}

/// `[[listener]]` with `protocol = "ikev2"`
#[derive(Debug, Clone)]
pub struct Ikev2Listener {
    pub name: String,
    /// Addresses to bind, of either family; unspecified ones (`0.0.0.0`, `::`) mean all.
    pub addresses: Vec<IpAddr>,
    /// No two of them tie for any client that a policy may let in.
    pub certificates: Vec<ServerCertificate>,
    /// The policies that name some of them, if any do.
    pub steering: Option<Arc<dyn Steering>>,
    pub auth: ClientAuth,
    /// Who decides about clients with a certificate.
    pub certificate_authorization: crate::gateway::CertificateAuthorization,
    /// Authorities of client certificates; empty unless `auth` has `certificate`.
    pub client_roots: Arc<TrustAnchors>,
    /// How, and with which lists, revoked client certificates are found.
    pub revocation: crate::revocation::Settings,
    /// Where new clients are sent that can follow (RFC 5685).
    pub redirect: Option<GatewayIdentity>,
    /// Packets follow a client that moved only when it has answered at its new address (RFC 4555 section 3.7).
    pub return_routability: bool,
    /// UDP ports; 500 and 4500 everywhere but in tests.
    pub ike_port: u16,
    pub nat_port: u16,
    /// TCP ports with IKE and ESP (RFC 9329); those of an SSTP listener are shared with it.
    pub tcp: Vec<u16>,
    /// Balancers whose connections to the ports that are not shared begin with a PROXY protocol header.
    pub proxies: Vec<AddressRange>,
    /// Postquantum preshared keys (RFC 8784).
    pub ppk: ike::ppk::PpkPolicy,
    /// Our inner address: INTERNAL_IP4_SERVER, and the server identifier of DHCP inside the tunnel.
    pub inner_ipv4: Ipv4Addr,
    /// INTERNAL_IP6_SERVER, if any.
    pub inner_ipv6: Option<Ipv6Addr>,
    /// Tunnel-Type of its sessions for RADIUS, 24 bits.
    pub tunnel_type: u32,
}

/// `[[listener]]` with `protocol = "sstp"`
#[derive(Debug, Clone)]
pub struct SstpListener {
    pub name: String,
    /// Addresses to bind, of either family; unspecified ones (`0.0.0.0`, `::`) mean all.
    pub addresses: Vec<IpAddr>,
    /// TCP; 443 unless something else shares the machine.
    pub port: u16,
    /// No two of them tie for any client that a policy may let in.
    pub certificates: Vec<ServerCertificate>,
    /// The policies that name some of them, if any do.
    pub steering: Option<Arc<dyn Steering>>,
    /// How PPP authenticates clients, the most wanted first.
    pub auth: Vec<ppp::AuthProtocol>,
    /// SHA-1 crypto bindings are accepted besides SHA-256.
    pub sha1_binding: bool,
    /// Our end's address in IPCP.
    pub inner_ipv4: Ipv4Addr,
    /// Tunnel-Type of its sessions for RADIUS, 24 bits.
    pub tunnel_type: u32,
    /// Balancers whose connections begin with a PROXY protocol header.
    pub proxies: Vec<AddressRange>,
}

/// `[[radius]]`
#[derive(Debug, Clone)]
pub struct RadiusServer {
    /// What `radius_client` needs.
    pub server: radius_client::Server,
    /// The address as written: IP or host name (resolved when the configuration is loaded).
    pub host: String,
    /// Where it speaks TLS.
    pub tls: Option<ServerOverTls>,
}

/// `[local]`
#[derive(Debug, Clone)]
pub struct LocalProvider {
    pub users_file: PathBuf,
    pub users: local_provider::Users,
    /// The first is offered.
    pub methods: Vec<local_provider::EapMethod>,
    /// What is shown in EAP-TLS; `None`: there is none.
    pub credential: Option<Credential>,
    /// Authorities of the certificates of users.
    pub client_roots: Arc<TrustAnchors>,
    pub revocation: crate::revocation::Settings,
    pub lockout: local_provider::Lockout,
    /// Characters that a password has at least which a user chooses anew.
    pub password_min: usize,
}

/// The sections of a configuration.
const SECTIONS: &[&str] = &[
    "server",
    "certificate",
    "ppk",
    "listener",
    "radius",
    "local",
    "radius_group",
    "request_policy",
    "accounting",
    "nps_log",
    "dynamic_client",
    "pool",
    "filter",
    "policy",
    source::POLICY_TEST,
    "ciphers",
    "limits",
    "timers",
    "api",
    "metrics",
    "telemetry",
];

/// The variables that configure (`EVERGATE__SECTION__KEY`), in order of their names.
pub fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut variables: Vec<_> = std::env::vars_os().map(|(variable, value)| (text(variable), text(value))).collect();
    variables.retain(|(variable, _)| variable.starts_with(source::PREFIX));
    variables.sort();
    variables
}

/// The control socket that a configuration names, without reading keys and secrets: any user may ask.
pub fn control_socket(path: &Path, environment: &[(String, String)]) -> Result<PathBuf, ConfigError> {
    let tree = source::load(path, environment)?;
    server::control_socket_of(&reader::Root::new(&tree, folder(path), &Notes::default(), SECTIONS)?)
}

/// The users file that a configuration names, without reading keys and secrets; `None`: it has no `[local]`.
pub fn users_file(path: &Path, environment: &[(String, String)]) -> Result<Option<PathBuf>, ConfigError> {
    let tree = source::load(path, environment)?;
    local::users_file_of(&reader::Root::new(&tree, folder(path), &Notes::default(), SECTIONS)?)
}

/// `[server] run_as` alone, of a configuration that may be wrong elsewhere.
///
/// # Errors
/// The file cannot be read.
pub fn run_as(path: &Path, environment: &[(String, String)]) -> Result<Option<String>, ConfigError> {
    let tree = source::load(path, environment)?;
    server::run_as_of(&reader::Root::new(&tree, folder(path), &Notes::default(), SECTIONS)?)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

impl Config {
    /// Reads the file at `path`, the drop-ins in the folder beside it (`evergate.d/*.toml` for `evergate.toml`) and the variables over
    /// them, with every file they name; checks everything.
    pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        Self::read(path, source::load(path, environment)?, Notes::default())
    }

    /// What [`Config::load`] finds now where this one came from. Names of hosts that stand for an address in use keep it.
    pub fn load_again(&self, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        Self::read(&self.path, source::load(&self.path, environment)?, self.notes())
    }

    /// The same configuration with the files that it names as they are now, whatever has become of its own.
    pub fn read_files_again(&self) -> Result<Self, ConfigError> {
        Self::read(&self.path, self.written.tree.clone(), self.notes())
    }

    fn notes(&self) -> Notes {
        let mut notes = Notes::default();
        for radius in &self.radius {
            notes.addresses.entry(radius.host.clone()).or_default().push(radius.server.address().ip());
        }
        notes
    }

    fn read(path: &Path, tree: source::Node, notes: Notes) -> Result<Self, ConfigError> {
        let root = reader::Root::new(&tree, folder(path), &notes, SECTIONS)?;
        let mut warnings = Vec::new();
        let server = server::server(&root)?;
        let mut certificates = certificates::certificates(&root, &mut warnings)?;
        let radius = radius::servers(&root, &server.name, &mut warnings)?;
        let nps_log = nps_log::settings(&root)?;
        let accounting = accounting::settings(&root, &radius, nps_log.is_some(), &mut warnings)?;
        let telemetry = telemetry::settings(&root, &mut warnings)?;
        let local = local::provider(&root, &certificates, &mut warnings)?;
        let ppks = ppk::keys(&root, &mut warnings)?;
        let dynamic_clients = dynamic::clients(&root, &mut warnings)?;
        let (mut ikev2, mut sstp) = listen::listeners(&root, &certificates, !radius.is_empty() || local.is_some(), &ppks, &mut warnings)?;
        let shown = certificates::Shown { ikev2: ikev2.as_ref(), sstp: &sstp, local: local.as_ref() };
        let now = jiff::Timestamp::now().as_second();
        certificates::lint(&root, &mut certificates, &shown, &server.name, now, &mut warnings)?;
        let asks_radius = |listener: &Ikev2Listener| listener.certificate_authorization == crate::gateway::CertificateAuthorization::Radius;
        if radius.is_empty() && ikev2.as_ref().is_some_and(asks_radius) {
            return Err(root.missing("radius", "is missing; certificate_authorization = \"radius\" needs a RADIUS server to ask"));
        }
        let radius_groups = request::groups(&root, &radius)?;
        warnings.extend(request::unprobed(&radius_groups, &radius));
        let listeners: Vec<&str> =
            ikev2.iter().map(|listener| listener.name.as_str()).chain(sstp.iter().map(|listener| listener.name.as_str())).collect();
        let requests = request::policies(&root, &radius_groups, &listeners, local.is_some(), &mut warnings)?;
        warnings.extend(local.iter().filter(|_| !radius.is_empty()).filter_map(|_| local::unasked(&requests)));
        let pools = access::pools(&root)?;
        let filters = filter::filters(&root)?;
        let names = access::Names {
            pools: &pools,
            filters: &filters,
            listeners: &listeners,
            certificates: &certificates,
            radius_servers: radius
                .iter()
                .map(|radius| radius.server.name.as_str())
                .chain(local.as_ref().map(|_| local_provider::SERVER))
                .collect(),
            radius_groups: radius_groups.iter().map(|group| group.name.as_str()).collect(),
        };
        let policies = access::policies(&root, &names, &mut warnings)?;
        let doors: Vec<_> = ikev2.iter().map(Door::from).chain(sstp.iter().map(Door::from)).collect();
        listen::check_ties(&root, &policies, &doors)?;
        steering::check(&root, &access::policy_keys(), &policies, &doors, &mut warnings)?;
        let policy_tests = policy_tests::run(&root, &policies, &doors, &names)?;
        let steered = |tunnel, listener: &str| ByPolicy::of_listener(&policies, tunnel, listener, &server.time_zone);
        ikev2.iter_mut().for_each(|listener| listener.steering = steered(Tunnel::Ikev2, &listener.name));
        sstp.iter_mut().for_each(|listener| listener.steering = steered(Tunnel::Sstp, &listener.name));
        let ciphers = ciphers::ciphers(&root, &mut warnings)?;
        let limits = server::limits(&root, server.max_sessions)?;
        let timers = server::timers(&root, &mut warnings)?;
        let child_idle = server::child_idle(&root)?;
        let child_volume = server::child_volume(&root, &mut warnings)?;
        let metrics_listen = api::metrics(&root, &mut warnings)?;
        let api = api::api(&root, &mut warnings)?;
        let path = path.to_owned();
        let written = Arc::new(Written { files: notes.files.take(), tree });
        Ok(Self {
            path,
            server,
            certificates,
            ikev2,
            sstp,
            radius,
            local,
            radius_groups,
            requests,
            accounting,
            nps_log,
            telemetry,
            dynamic_clients,
            pools,
            filters,
            policies,
            policy_tests,
            ciphers,
            limits,
            timers,
            child_idle,
            child_volume,
            api,
            metrics_listen,
            warnings,
            written,
        })
    }

    /// All listeners, as far as certificates are chosen there.
    pub(crate) fn doors(&self) -> Vec<Door<'_>> {
        self.ikev2.iter().map(Door::from).chain(self.sstp.iter().map(Door::from)).collect()
    }

    /// What is accepted where `[ciphers]` says nothing.
    pub fn default_ciphers() -> CipherPolicy {
        ciphers::baseline()
    }

    /// Every file that it was read from besides the main ones: the section and key that name it, and its path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str, &Path)> {
        self.written.files.iter().map(|file| (file.section.as_str(), file.key.as_str(), file.path.as_path()))
    }

    /// Whether clients of IKEv2 come to the port of this listener too.
    pub fn encapsulates_on(&self, listener: &SstpListener) -> bool {
        self.ikev2.as_ref().is_some_and(|ikev2| ikev2.tcp.contains(&listener.port))
    }

    /// Settings of the IKE machine behind `listener`.
    pub fn responder(&self, listener: &Ikev2Listener) -> ResponderConfig {
        ResponderConfig {
            ciphers: self.ciphers.clone(),
            certificates: listener.certificates.clone(),
            steering: listener.steering.clone(),
            server_name: self.server.name.clone(),
            client_roots: Arc::clone(&listener.client_roots),
            client_auth: listener.auth,
            limits: self.limits.clone(),
            timers: self.timers,
            qcd_secret: None,
            ppk: listener.ppk.clone(),
            redirect: listener.redirect.clone(),
            return_routability: listener.return_routability,
            addresses: listener.addresses.iter().copied().filter(|address| !address.is_unspecified() && !address.is_loopback()).collect(),
        }
    }

    /// The RADIUS servers and their groups.
    pub fn radius_configuration(&self) -> radius_client::Configuration {
        let servers = self.radius.iter().map(|radius| radius.server.clone()).collect();
        radius_client::Configuration { servers, groups: self.radius_groups.clone() }
    }

    /// Settings of the local provider behind `local`, which takes the certificates that `roots` verify.
    pub fn local_settings(&self, local: &LocalProvider, roots: Arc<TrustAnchors>) -> local_provider::Settings {
        local_provider::Settings {
            server_name: self.server.name.clone(),
            methods: local.methods.clone(),
            tls: local.credential.as_ref().map(|credential| Arc::new(tls::MutualSettings::new(credential, roots))),
            lockout: local.lockout,
            password_min: local.password_min,
        }
    }
}
