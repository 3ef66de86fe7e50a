//! The command line, and what it means to the IKE machine.

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::{CipherPolicy, Identity, InitiatorAuth, InitiatorConfig, Path, Timers, TrafficSelector};
use pki::{Certificate, Credential, TrustAnchors};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The port that IKE starts on.
pub(crate) const IKE_PORT: u16 = 500;
/// The port for IKE with the non-ESP marker and ESP in UDP.
pub(crate) const NAT_PORT: u16 = 4500;

/// An IKEv2 client for measurements.
#[derive(Debug, Parser)]
#[command(name = "evergate-load")]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect, carry traffic until SIGTERM or SIGINT, then say DELETE.
    Connect(Connect),
    /// Log in many times, without traffic, and report rates and times.
    Storm(Storm),
    /// Hold sessions that ask for signs of life, while others try to log in; begins with a line on standard input.
    Vigil(Vigil),
}

/// Whom to log in to, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Login {
    /// Address of the gateway.
    #[arg(long)]
    pub(crate) server: IpAddr,
    /// Name that the gateway's certificate must hold.
    #[arg(long)]
    pub(crate) server_name: String,
    /// Authorities of the gateway's certificate (PEM).
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// User for EAP-MSCHAPv2; in a storm, `{}` stands for the number of the login.
    #[arg(long, required_unless_present = "cert")]
    pub(crate) user: Option<String>,
    /// Password for EAP-MSCHAPv2.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) password: String,
    /// Client certificate with its chain (PEM), instead of EAP.
    #[arg(long, requires = "key", conflicts_with = "user")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM).
    #[arg(long, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Our own address, where routing shall not choose it.
    #[arg(long)]
    pub(crate) local: Option<IpAddr>,
    /// So many addresses from `--local` on, IPv4, one after the other for each login.
    #[arg(long, default_value_t = 1, requires = "local", value_parser = clap::value_parser!(u32).range(1..=250))]
    pub(crate) locals: u32,
    /// Algorithms to offer, for the IKE SA and for ESP.
    #[arg(long, value_enum, default_value_t = SuiteName::Aes256gcm)]
    pub(crate) suite: SuiteName,
    /// Ask for an IPv6 address too.
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Name of the tunnel device; `%d` lets the kernel choose a number.
    #[arg(long, default_value = "evgc%d")]
    pub(crate) tun: String,
    /// ESP directly over IP where there is no NAT, instead of always in UDP.
    #[arg(long)]
    pub(crate) raw_esp: bool,
    /// IKE and ESP over TCP, to this port of the gateway (RFC 9329).
    #[arg(long, value_name = "PORT", conflicts_with = "raw_esp")]
    pub(crate) tcp: Option<u16>,
    /// Take orders from standard input, a word a line: rekey-ike, rekey-child, cut (the TCP connection), tcp and udp (move there).
    #[arg(long)]
    pub(crate) orders: bool,
    /// Packet threads; 0 for one per processor.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Give up when not connected after so many seconds.
    #[arg(long, default_value_t = 20)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) login: Login,
    /// How many logins.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// How many at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: u32,
    /// Keep the sessions until all logins are done, instead of closing each at once.
    #[arg(long)]
    pub(crate) keep: bool,
    /// A login that takes longer, in seconds, has failed.
    #[arg(long, default_value_t = 30)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Vigil {
    #[command(flatten)]
    pub(crate) login: Login,
    /// How many sessions.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sessions: u32,
    /// How many log in at a time before it begins.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: u32,
    /// Silence before a session asks for a sign of life, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interval: u64,
    /// Logins that are tried meanwhile.
    #[arg(long, default_value_t = 50)]
    pub(crate) newcomers_per_second: u32,
    /// How long it lasts.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Before it begins, session N sends 1 + N % 8 echo requests of 500 bytes there through its tunnel, and waits for the answers.
    #[arg(long)]
    pub(crate) ping: Option<IpAddr>,
}

/// Complete sets of algorithms, each with one choice per kind, so that a measurement says what it measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SuiteName {
    /// AES-256-GCM, PRF SHA-384, ECP-384
    Aes256gcm,
    /// AES-256-GCM, PRF SHA-384, ECP-384, and ML-KEM-768 beside it where the gateway can
    Aes256gcmmlkem768,
    /// AES-128-GCM, PRF SHA-256, ECP-256
    Aes128gcm,
    /// ChaCha20-Poly1305, PRF SHA-256, Curve25519
    Chacha20poly1305,
    /// AES-256-CBC with SHA-256, ECP-256
    Aes256sha256,
    /// AES-256-CBC with SHA-256, MODP-2048
    Aes256sha256modp2048,
}

impl SuiteName {
    fn policy(self) -> CipherPolicy {
        let (encryption, integrity, prf, group) = match self {
            Self::Aes256gcm | Self::Aes256gcmmlkem768 => (Encryption::AesGcm256, None, Prf::HmacSha384, Group::EcpP384),
            Self::Aes128gcm => (Encryption::AesGcm128, None, Prf::HmacSha256, Group::EcpP256),
            Self::Chacha20poly1305 => (Encryption::ChaCha20Poly1305, None, Prf::HmacSha256, Group::Curve25519),
            Self::Aes256sha256 => (Encryption::AesCbc256, Some(Integrity::HmacSha256_128), Prf::HmacSha256, Group::EcpP256),
            Self::Aes256sha256modp2048 => (Encryption::AesCbc256, Some(Integrity::HmacSha256_128), Prf::HmacSha256, Group::Modp2048),
        };
        // The pairs above fit: an AEAD has no integrity algorithm, CBC has one.
        let suite = Suite::new(encryption, integrity).into_iter().collect::<Vec<_>>();
        CipherPolicy {
            ike: suite.clone(),
            prfs: vec![prf],
            groups: vec![group],
            esp: suite,
            pfs_groups: vec![],
            prefer_esn: false,
            additional: if self == Self::Aes256gcmmlkem768 { vec![Group::MlKem768] } else { vec![] },
        }
    }
}

/// The parts of an [`InitiatorConfig`] that all logins share, read from files once.
#[derive(Debug)]
pub(crate) struct Profile {
    login: Login,
    roots: Arc<TrustAnchors>,
    credential: Option<Credential>,
    local: IpAddr,
    force_encapsulation: bool,
    /// Where logins begin, if not at the IKE port.
    path: Option<Path>,
}

impl Profile {
    pub(crate) fn load(login: &Login, force_encapsulation: bool) -> anyhow::Result<Self> {
        let roots = Certificate::from_pem(&read(&login.ca)?).with_context(|| format!("{}", login.ca.display()))?;
        ensure!(!roots.is_empty(), "{} holds no certificate", login.ca.display());
        let credential = match (&login.cert, &login.key) {
            (Some(cert), Some(key)) => {
                let credential = Credential::from_pem(&read(cert)?, &read(key)?);
                Some(credential.with_context(|| format!("{} with {}", cert.display(), key.display()))?)
            }
            _ => None,
        };
        let local = login.local.map_or_else(|| local_address(login.server), Ok)?;
        Ok(Self { login: login.clone(), roots: Arc::new(TrustAnchors::new(roots)), credential, local, force_encapsulation, path: None })
    }

    /// Our address towards the gateway.
    pub(crate) fn local(&self) -> IpAddr {
        self.local
    }

    /// What a socket for all logins is bound to.
    pub(crate) fn bind_to(&self) -> IpAddr {
        if self.login.locals > 1 { Ipv4Addr::UNSPECIFIED.into() } else { self.local }
    }

    /// The address of login `number`.
    fn local_of(&self, number: u32) -> IpAddr {
        match self.local {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(number % self.login.locals)).into(),
            first @ IpAddr::V6(_) => first,
        }
    }

    /// Logins begin on this path.
    pub(crate) fn begin_on(&mut self, path: Path) {
        self.path = Some(path);
    }

    /// The path of datagrams between the same ports of both.
    pub(crate) fn datagrams(&self, port: u16) -> Path {
        Path::between(SocketAddr::new(self.local, port), SocketAddr::new(self.login.server, port))
    }

    /// The user of login `number`; empty with a certificate.
    pub(crate) fn user(&self, number: u32) -> String {
        self.login.user.as_deref().unwrap_or_default().replace("{}", &number.to_string())
    }

    pub(crate) fn password(&self) -> &str {
        &self.login.password
    }

    pub(crate) fn timers() -> Timers {
        Timers {
            liveness_interval: Duration::ZERO,
            retransmit_initial: Duration::from_secs(1),
            retransmit_tries: 4,
            network_outage: Duration::ZERO,
            delete_rekeyed_delay: Duration::from_secs(2),
            ike_rekey: Duration::ZERO,
            child_rekey: Duration::ZERO,
        }
    }

    /// Login `number` with this patience.
    pub(crate) fn initiator(&self, number: u32, timers: Timers) -> InitiatorConfig {
        let local = self.local_of(number);
        let (identity, auth) = match &self.credential {
            Some(credential) => {
                (Identity::DistinguishedName(credential.leaf().subject_der.clone()), InitiatorAuth::Certificate(credential.clone()))
            }
            // As the built-in Windows client does.
            None => (address_identity(local), InitiatorAuth::Eap),
        };
        InitiatorConfig {
            path: self
                .path
                .unwrap_or_else(|| Path::between(SocketAddr::new(local, IKE_PORT), SocketAddr::new(self.login.server, IKE_PORT))),
            ciphers: self.login.suite.policy(),
            server_roots: self.roots.clone(),
            server_name: self.login.server_name.clone(),
            identity,
            auth,
            want_ipv4: true,
            want_ipv6: self.login.ipv6,
            local_selectors: any(self.login.ipv6),
            remote_selectors: any(self.login.ipv6),
            initial_contact: false,
            force_encapsulation: self.force_encapsulation,
            mobike: self.path.is_some(),
            follow_redirects: false,
            ppk: None,
            timers,
        }
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The address from which packets to `server` leave.
fn local_address(server: IpAddr) -> anyhow::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
    probe.connect(SocketAddr::new(server, IKE_PORT)).with_context(|| format!("no route to {server}"))?;
    Ok(probe.local_addr()?.ip())
}

fn address_identity(address: IpAddr) -> Identity {
    match address {
        IpAddr::V4(address) => Identity::Ipv4(address),
        IpAddr::V6(address) => Identity::Ipv6(address),
    }
}

/// Everything: the gateway narrows it.
fn any(ipv6: bool) -> Vec<TrafficSelector> {
    let mut selectors = vec![TrafficSelector::any_ipv4()];
    selectors.extend(ipv6.then(TrafficSelector::any_ipv6));
    selectors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Program, clap::Error> {
        let base = ["evergate-load", "storm", "--server", "127.0.0.1", "--server-name", "vpn.example.test", "--ca", "/nonexistent/ca.pem"];
        Program::try_parse_from(base.iter().chain(more))
    }

    #[test]
    fn a_user_or_a_certificate_with_its_key_is_needed() {
        assert!(parse(&["--user", "alice"]).is_ok());
        assert!(parse(&["--cert", "c", "--key", "k"]).is_ok());
        for wrong in [&[][..], &["--cert", "c"], &["--user", "a", "--cert", "c", "--key", "k"], &["--user", "a", "--count", "0"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn logins_take_turns_with_addresses() {
        let Command::Storm(mut storm) = parse(&["--user", "a", "--local", "10.0.0.254", "--locals", "3"]).unwrap().command else {
            unreachable!()
        };
        storm.login.ca = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/src/testdata/gateway.pem").into();
        let profile = Profile::load(&storm.login, true).unwrap();
        let locals = [0, 1, 2, 3].map(|number| profile.initiator(number, Profile::timers()).path.local.to_string());
        assert_eq!(locals, ["10.0.0.254:500", "10.0.0.255:500", "10.0.1.0:500", "10.0.0.254:500"]);
        assert!(profile.bind_to().is_unspecified());
        assert!(parse(&["--user", "a", "--locals", "3"]).is_err());
    }

    #[test]
    fn every_suite_is_complete() {
        for name in SuiteName::value_variants() {
            let policy = name.policy();
            assert_eq!((policy.ike.len(), policy.esp.len(), policy.prfs.len(), policy.groups.len()), (1, 1, 1, 1), "{name:?}");
        }
    }

    #[test]
    fn a_missing_authority_is_named() {
        let Command::Storm(storm) = parse(&["--user", "alice"]).unwrap().command else { unreachable!() };
        let error = Profile::load(&storm.login, true).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/ca.pem"), "{error:#}");
    }

    #[test]
    fn the_way_to_this_host_starts_at_this_host() {
        assert_eq!(local_address(Ipv4Addr::LOCALHOST.into()).unwrap(), Ipv4Addr::LOCALHOST);
    }
}
