//! Whole configurations: what a small one comes to, and the one error that each mistake gives.
mod certificates;
mod docs;
mod filters;
mod parts;
mod policies;
mod ppk;
mod radius;
mod radsec;
mod reload;
mod shown;

use super::*;
use crypto::dh::Group;
use policy::network::{Method, Tunnel};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tempfile::TempDir;

const MINIMAL: &str = r#"[server]
name = "vpn.example.test"

[[certificate]]
name = "vpn"
chain = "vpn.pem"
key = "vpn.key"

[[listener]]
name = "ikev2"
protocol = "ikev2"
certificates = ["vpn"]
auth = ["eap"]

[[radius]]
name = "nps1"
address = "10.0.0.4"
secret_file = "nps1.secret"

[[pool]]
name = "users"
ipv4 = ["10.98.0.10-10.98.0.250"]

[[policy]]
name = "everyone"
pool = "users"
"#;

/// A folder with a configuration and the files it names.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new(text: &str) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        let authority = authority();
        let (chain, key) = leaf(&authority, &["vpn.example.test"], true);
        fixture.file("evergate.toml", text, 0o644);
        fixture.file("ca.pem", &authority.root.pem(), 0o644);
        fixture.file("vpn.pem", &chain, 0o644);
        fixture.file("vpn.key", &key, 0o600);
        fixture.file("ppk.secret", &"p".repeat(32), 0o600);
        fixture.file("portal.secret", "of a good length as well", 0o600);
        fixture.file("nps1.secret", "a secret of good length\n", 0o600);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&[])
    }

    fn load_with(&self, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let owned: Vec<_> = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::load(&self.path("evergate.toml"), &owned)
    }

    /// The error's text with the folder left out.
    fn error(&self) -> String {
        self.without_folder(&self.load().expect_err("the configuration is wrong"))
    }

    fn without_folder(&self, error: &ConfigError) -> String {
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// A root and what issues the leaves.
struct Authority {
    root: rcgen::Certificate,
    intermediate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn authority() -> Authority {
    let params = |name| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let (root_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let root = params("Test Root").self_signed(&root_key).unwrap();
    let root_issuer = rcgen::Issuer::new(params("Test Root"), root_key);
    let intermediate = params("Test Authority").signed_by(&key, &root_issuer).unwrap();
    Authority { root, intermediate, issuer: rcgen::Issuer::new(params("Test Authority"), key) }
}

fn leaf(authority: &Authority, names: &[&str], server_auth: bool) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
    if server_auth {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    }
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    (certificate.pem() + &authority.intermediate.pem(), key.serialize_pem())
}

/// MINIMAL with `from` replaced; `from` must be in it.
fn with(from: &str, to: &str) -> Fixture {
    assert!(MINIMAL.contains(from), "{from}");
    Fixture::new(&MINIMAL.replacen(from, to, 1))
}

fn with_policy(lines: &str) -> Fixture {
    Fixture::new(&format!("{MINIMAL}{lines}\n"))
}

#[test]
fn a_minimal_file_gets_the_recommended_defaults() {
    let config = Fixture::new(MINIMAL).load().unwrap();
    assert_eq!(config.server.control_socket, Path::new(DEFAULT_CONTROL_SOCKET));
    assert_eq!((config.server.mtu, config.server.tun.as_str(), config.server.threads), (1_400, "evergate0", 0));
    let listener = config.ikev2.as_ref().unwrap();
    assert_eq!((listener.ike_port, listener.nat_port, listener.addresses.len()), (500, 4_500, 2));
    assert_eq!((listener.inner_ipv4, listener.inner_ipv6), (crate::gateway::DUMMY_IPV4, None));
    assert_eq!(listener.auth, ClientAuth { eap: true, certificate: false, eap_only: false });
    assert_eq!(listener.certificate_authorization, crate::gateway::CertificateAuthorization::Policy);
    let radius = &config.radius[0];
    assert_eq!(radius.server.address(), "10.0.0.4:1812".parse().unwrap());
    assert_eq!(radius.server.accounting_address(), Some("10.0.0.4:1813".parse().unwrap()));
    assert_eq!(radius.server.secret.as_slice(), b"a secret of good length");
    assert_eq!(radius.server.require_message_authenticator, radius_client::RequireMessageAuthenticator::Yes);
    assert_eq!(radius.server.nas_identifier.as_deref(), Some("vpn.example.test"));
    assert_eq!((config.policies[0].grant, config.policies[0].settings.pool.as_deref()), (true, Some("users")));
    assert_eq!(group_name(config.ciphers.groups[0]), "curve25519");
    assert_eq!(suite_name(config.ciphers.esp[0]), "aes256-gcm");
    assert!(!config.ciphers.groups.contains(&Group::Modp1024));
    assert!(config.ciphers.ike.iter().all(|suite| !suite_name(*suite).contains("sha1")));
    assert_eq!(config.warnings, Vec::<String>::new());
    let responder = config.responder(listener);
    assert_eq!((responder.server_name.as_str(), responder.certificates.len()), ("vpn.example.test", 1));
    assert_eq!(config.radius_configuration().servers.len(), 1);
}

const SSTP: &str = "\n[[listener]]\nname = \"sstp\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\n";

#[test]
fn an_sstp_listener_gets_the_recommended_defaults() {
    let config = with_policy(SSTP).load().unwrap();
    let [listener] = &config.sstp[..] else { panic!("{:?}", config.sstp) };
    assert_eq!((listener.port, listener.addresses.len(), listener.sha1_binding), (443, 2, false));
    assert_eq!(listener.auth, [ppp::AuthProtocol::Eap, ppp::AuthProtocol::MsChapV2]);
    assert_eq!(listener.inner_ipv4, "192.0.0.8".parse::<Ipv4Addr>().unwrap());
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.ikev2.is_some());
}

#[test]
fn a_gateway_may_speak_sstp_alone() {
    let config = with("protocol = \"ikev2\"\ncertificates = [\"vpn\"]\nauth = [\"eap\"]", "protocol = \"sstp\"\ncertificates = [\"vpn\"]")
        .load()
        .unwrap();
    assert!(config.ikev2.is_none() && config.sstp.len() == 1);
}

#[test]
fn weak_ways_over_sstp_are_warned_of() {
    let config =
        with_policy(&format!("{SSTP}auth = [\"pap\", \"chap\"]\nsha1_binding = true\nproxies = [\"192.0.2.0/28\"]\n")).load().unwrap();
    let all = config.warnings.join("\n");
    for expected in ["auth pap makes no keys", "auth chap makes no keys", "sha1_binding accepts SHA-1"] {
        assert!(all.contains(expected), "{expected}\n{all}");
    }
    assert!(config.sstp[0].proxies[0].contains("192.0.2.7".parse().unwrap()));
}

#[test]
fn keys_of_the_other_protocol_are_mistakes() {
    let wrong = |lines: &str| with_policy(&format!("{SSTP}{lines}\n")).error();
    assert!(wrong("ike_port = 501").contains("belongs to listeners with protocol = \"ikev2\""), "{}", wrong("ike_port = 501"));
    assert!(wrong("auth = []").contains("is empty"), "{}", wrong("auth = []"));
    let ikev2 = with("auth = [\"eap\"]", "auth = [\"eap\"]\nport = 444").error();
    assert!(ikev2.contains("belongs to listeners with protocol = \"sstp\""), "{ikev2}");
}

#[test]
fn ike_over_tcp_shares_a_port_or_has_its_own() {
    let config =
        with("auth = [\"eap\"]", &format!("auth = [\"eap\"]\ntcp = [443, 4500]\nproxies = [\"192.0.2.9\"]\n{SSTP}")).load().unwrap();
    let listener = config.ikev2.as_ref().unwrap();
    assert_eq!(listener.tcp, [443, 4500]);
    assert!(listener.proxies[0].contains("192.0.2.9".parse().unwrap()) && config.encapsulates_on(&config.sstp[0]));
    assert_eq!(Fixture::new(MINIMAL).load().unwrap().ikev2.unwrap().tcp, [0; 0]);
    let wrong = |lines: &str| with("auth = [\"eap\"]", &format!("auth = [\"eap\"]\n{lines}")).error();
    for (lines, words) in [
        ("tcp = [0]", "TCP ports, 1..=65535"),
        ("tcp = [443, 70000]", "TCP ports, 1..=65535"),
        ("tcp = [443, 443]", "names 443 twice"),
        ("proxies = [\"192.0.2.9\"]", "has no effect without tcp"),
    ] {
        assert!(wrong(lines).contains(words), "{}", wrong(lines));
    }
}

#[test]
fn sources_may_be_exempt() {
    let exempt = |ranges: &str| with("[[policy]]", &format!("[limits]\nexempt = {ranges}\n[[policy]]")).load();
    let config = exempt("[\"192.0.2.9\", \"2001:db8::/32\"]").unwrap();
    let is = |address: &str| config.limits.is_exempt(address.parse().unwrap());
    assert!(is("192.0.2.9") && is("::ffff:192.0.2.9") && is("2001:db8:ffff::1"));
    assert!(!is("192.0.2.8") && !is("2001:db9::") && !is("::1"));
    assert!(exempt("[\"192.0.2.0/33\"]").is_err() && exempt("\"all\"").is_err());
}

#[test]
fn a_certificate_may_be_for_another_name() {
    let fixture = Fixture::new(&MINIMAL.replace("key = \"vpn.key\"", "key = \"vpn.key\"\nnames = [\"tenant.example.test\"]"));
    let (chain, key) = leaf(&authority(), &["tenant.example.test"], true);
    fixture.file("vpn.pem", &chain, 0o644);
    fixture.file("vpn.key", &key, 0o600);
    fixture.load().unwrap();
}

#[test]
fn a_policy_takes_all_its_conditions_and_settings() {
    let fixture = with_policy(
        r#"
[[policy]]
name = "staff"
grant = false
tunnel = ["ikev2"]
method = "certificate"
user = ["*@example.test", "EXAMPLE\\*"]
client = ["192.0.2.0/24", "2001:db8::1"]
class = ["staff"]
filter_id = ["vpn"]
group = ["admins"]
radius_server = ["nps1"]
time = ["mon-fri 08:00-18:00"]
dns = ["10.0.0.53", "fd00::53"]
session_timeout = "8h"
idle_timeout = "1h30m"
selectors = ["10.0.0.0/8"]"#,
    );
    let config = fixture.load().unwrap();
    let policy = &config.policies[1];
    assert!(!policy.grant);
    assert_eq!(
        (policy.conditions.tunnel.as_slice(), policy.conditions.method.as_slice()),
        (&[Tunnel::Ikev2][..], &[Method::Certificate][..])
    );
    assert_eq!((policy.conditions.user.len(), policy.conditions.client.len(), policy.conditions.time[0].from), (2, 2, 480));
    assert_eq!(policy.settings.session_timeout, Some(Duration::from_secs(28_800)));
    assert_eq!(policy.settings.idle_timeout, Some(Duration::from_secs(5_400)));
    assert_eq!(
        (policy.conditions.group.as_slice(), policy.conditions.radius_server.as_slice()),
        (&["admins".to_owned()][..], &["nps1".to_owned()][..])
    );
    assert_eq!((policy.settings.dns.len(), policy.settings.selectors[0].to_string().as_str()), (2, "10.0.0.0/8"));
}

/// A line of MINIMAL, what stands in its place, and the whole error that this gives (up to a trailing space).
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "address = \"10.0.0.4\"",
        "address = \"10.0.0.4\"\nframed_mtu = 1501",
        "evergate.toml:18: radius \"nps1\": framed_mtu = 1501: expected a whole number, 64..=1500",
    ),
    (
        "address = \"10.0.0.4\"",
        "adress = \"10.0.0.4\"",
        "evergate.toml:17: radius \"nps1\": adress: unknown key; did you mean \"address\"? accepted: name, transport, address, port, accounting_port, \
             accounting, tls_name, ca, chain, key, pin, revocation, crl, radius_1_1, secret_file, source, retransmit_initial, tries, timeout, require_message_authenticator, probe, probe_user, revive_interval, attributes, ignore_filters, ignore_port_limit, framed_mtu, nas_identifier, nas_ip",
    ),
    (
        "[[radius]]",
        "[[radios]]",
        "evergate.toml:15: radios: unknown section; did you mean \"radius\"? accepted: server, certificate, ppk, listener, radius, local, radius_group, \
             request_policy, accounting, nps_log, dynamic_client, pool, filter, policy, policy.test, ciphers, limits, timers, api, metrics, telemetry",
    ),
    ("\"10.0.0.4\"", "\"10.0.0.4\"\nport = 99999", "evergate.toml:18: radius \"nps1\": port = 99999: expected a whole number, 1..=65535"),
    (
        "\"10.0.0.4\"",
        "\"10.0.0.4\"\nport = \"1812\"",
        "evergate.toml:18: radius \"nps1\": port = \"1812\": expected a whole number, 1..=65535",
    ),
    (
        "\"10.0.0.4\"",
        "\"10.0.0.4\"\ntimeout = \"20\"",
        "evergate.toml:18: radius \"nps1\": timeout = \"20\": expected a duration from \"1s\" to \"5m\", such as \"90s\", \"5m\", \"8h\"",
    ),
    (
        "\"10.0.0.4\"",
        "\"10.0.0.4\"\nsource = \"::1\"",
        "evergate.toml:18: radius \"nps1\": source = \"::1\": is IPv6, but 10.0.0.4 has no such address; expected one of its family",
    ),
    ("name = \"nps1\"\n", "", "evergate.toml:15: radius: name: is missing; expected a name, such as \"main\""),
    (
        "secret_file = \"nps1.secret\"",
        "",
        "evergate.toml:15: radius \"nps1\": secret_file: is missing; expected the path of a file that holds the shared secret and nothing else",
    ),
    (
        "[server]\nname = \"vpn.example.test\"",
        "[server]\nname = \"vpn example\"",
        "evergate.toml:2: server: name = \"vpn example\": expected the DNS name that clients dial, such as \"vpn.example.com\"",
    ),
    (
        "[server]\n",
        "[server]\nlog_format = \"jsn\"\n",
        "evergate.toml:2: server: log_format = \"jsn\": did you mean \"json\"? expected one of \"text\", \"json\"",
    ),
    ("[server]\n", "[server]\nmtu = 1200\n", "evergate.toml:2: server: mtu = 1200: expected a whole number, 1280..=9000"),
    (
        "[server]\n",
        "[server]\ntime_zone = \"Europe/Atlantis\"\n",
        "evergate.toml:2: server: time_zone = \"Europe/Atlantis\": is not in this host's time zone database (package tzdata); expected a time \
             zone such as \"UTC\" or \"Europe/Berlin\"",
    ),
    ("name = \"vpn.example.test\"", "name = vpn", "evergate.toml:2: is no TOML: "),
    (
        "certificates = [\"vpn\"]",
        "certificates = [\"vpm\"]",
        "evergate.toml:12: listener \"ikev2\": certificates = \"vpm\": did you mean \"vpn\"? expected \"vpn\"",
    ),
    (
        "auth = [\"eap\"]",
        "auth = [\"certificate\"]",
        "evergate.toml:9: listener \"ikev2\": client_ca: is missing; auth = \"certificate\" needs the PEM files of the authorities of client \
             certificates",
    ),
    (
        "auth = [\"eap\"]",
        "auth = [\"eap\",\n \"certificate\"]\nclient_ca = [\"vpn.pem\"]",
        "evergate.toml:15: listener \"ikev2\": client_ca = [\"vpn.pem\"]: vpn.pem: CN=vpn.example.test is no authority (basicConstraints CA)",
    ),
    (
        "auth = [\"eap\"]",
        "auth = [\"psk\"]",
        "evergate.toml:13: listener \"ikev2\": auth = \"psk\": expected one of \"eap\", \"certificate\"",
    ),
    (
        "auth = [\"eap\"]",
        "auth = [\"eap\"]\naddresses = [\"0.0.0.0\", \"eth0\"]",
        "evergate.toml:14: listener \"ikev2\": addresses = \"eth0\": \"eth0\" is no IP address; expected IP addresses of this host, or \
             \"0.0.0.0\" and \"::\" for all",
    ),
    ("protocol = \"ikev2\"", "", "evergate.toml:9: listener \"ikev2\": protocol: is missing; expected \"ikev2\" or \"sstp\""),
    (
        "10.98.0.10-10.98.0.250",
        "10.98.0.10-10.98.0.9",
        "evergate.toml:22: pool \"users\": ipv4 = \"10.98.0.10-10.98.0.9\": runs backwards: 10.98.0.10 is above 10.98.0.9; expected ranges such \
             as \"10.98.0.10-10.98.0.250\" or \"10.98.0.0/24\"",
    ),
    (
        "[[policy]]",
        "[[pool]]\nname = \"more\"\nipv4 = [\"10.98.0.0/24\"]\n\n[[policy]]",
        "evergate.toml:26: pool \"more\": ipv4 = [\"10.98.0.0/24\"]: pool \"more\" range 10.98.0.0-10.98.0.255 overlaps pool \"users\" range \
             10.98.0.10-10.98.0.250",
    ),
    (
        "pool = \"users\"",
        "pool = \"user\"",
        "evergate.toml:26: policy \"everyone\": pool = \"user\": did you mean \"users\"? expected \"users\"",
    ),
    (
        "pool = \"users\"",
        "time = [\"mon 8-18\"]",
        "evergate.toml:26: policy \"everyone\": time = \"mon 8-18\": \"8\" is no time of day; expected hours of the week such as \"mon-fri \
             08:00-18:00\" or \"daily 22:00-06:00\"",
    ),
    (
        "pool = \"users\"",
        "client = [\"10.0.0.1/8\"]",
        "evergate.toml:26: policy \"everyone\": client = \"10.0.0.1/8\": has host bits set: the network is 10.0.0.0/8; expected ranges such as \
             \"192.0.2.0/24\"",
    ),
    (
        "pool = \"users\"",
        "user = []",
        "evergate.toml:26: policy \"everyone\": user = []: is empty; leave the key out where anything may match",
    ),
    ("pool = \"users\"", "grant = \"yes\"", "evergate.toml:26: policy \"everyone\": grant = \"yes\": expected true or false"),
    (
        "name = \"everyone\"",
        "name = 7",
        "evergate.toml:25: policy: name = 7: is no string (put it in quotes); expected a name, such as \"main\"",
    ),
    (
        "[[policy]]",
        "[ciphers]\nike = [\"aes256gcm\"]\n[[policy]]",
        "evergate.toml:25: ciphers: ike = \"aes256gcm\": did you mean \"aes256-gcm\"? expected one of \"aes256-gcm\", \"aes128-gcm\", ",
    ),
    (
        "[[policy]]",
        "[limits]\nhalf_open_max = 10\n[[policy]]",
        "evergate.toml:24: limits: cookie_threshold: is above half_open_max = 10, so that no cookie would ever be asked for",
    ),
    (
        "[[policy]]",
        "[timers]\nchild_rekey = \"9s\"\n[[policy]]",
        "evergate.toml:25: timers: child_rekey = \"9s\": expected a duration from \"10s\" to \"7d\", or \"0s\" to leave it to the clients",
    ),
    (
        "[[policy]]",
        "[timers]\nike_rekey = \"8d\"\n[[policy]]",
        "evergate.toml:25: timers: ike_rekey = \"8d\": expected a duration from \"10s\" to \"7d\", or \"0s\" to leave it to the clients",
    ),
    (
        "[[policy]]",
        "[timers]\nike_rekey = 0\n[[policy]]",
        "evergate.toml:25: timers: ike_rekey = 0: is no string (put it in quotes); expected a duration from \"10s\" to \"7d\", or \"0s\" to \
             leave it to the clients",
    ),
    ("[[policy]]", "[policy]", "evergate.toml:24: policy: expected tables with double brackets, written [[policy]]"),
    ("[server]", "[[server]]", "evergate.toml:1: server: expected one table, written [server]"),
];

#[test]
fn every_error_names_place_key_value_and_what_would_be_accepted() {
    for (from, to, expected) in MISTAKES {
        let error = with(from, to).error();
        let matches = if expected.ends_with(' ') { error.starts_with(expected) } else { error == *expected };
        assert!(matches, "{to}\n got: {error}\nwant: {expected}");
    }
}

#[test]
fn an_error_has_its_parts() {
    let error = with("\"10.0.0.4\"", "\"10.0.0.4\"\nport = 0").load().unwrap_err();
    assert!(matches!(&error.origin, Some(Origin::File { line: 18, path }) if path.ends_with("evergate.toml")));
    assert_eq!((&*error.section, &*error.key, error.value.as_deref()), ("radius \"nps1\"", "port", Some("0")));
}

#[test]
fn sections_that_must_be_there_are_asked_for() {
    assert!(Fixture::new("").error().contains("server: is missing; expected a table [server]"));
    let no_listener = Fixture::new("[server]\nname = \"vpn.example.test\"").error();
    assert!(no_listener.contains("listener: is missing; expected a table [[listener]]"), "{no_listener}");
    let no_radius =
        Fixture::new(&MINIMAL.replace("[[radius]]\nname = \"nps1\"\naddress = \"10.0.0.4\"\nsecret_file = \"nps1.secret\"\n", ""));
    assert!(no_radius.error().contains("eap needs somebody to ask"), "{}", no_radius.error());
    let two = with("[[radius]]", "[[listener]]\nname = \"second\"\nprotocol = \"ikev2\"\n\n[[radius]]").error();
    assert!(two.contains("a second ikev2 listener"), "{two}");
    let twins = with_policy("[[policy]]\nname = \"everyone\"").error();
    assert!(twins.starts_with("evergate.toml:28: policy \"everyone\": name = \"everyone\": is taken by the [[policy]] at "), "{twins}");
}

#[test]
fn files_that_cannot_serve_are_named() {
    let fixture = Fixture::new(MINIMAL);
    fs::remove_file(fixture.path("vpn.key")).unwrap();
    let expected =
        "evergate.toml:7: certificate \"vpn\": key = \"vpn.key\": vpn.key cannot be read: No such file or directory (os error 2)";
    assert_eq!(fixture.error(), expected);
    fixture.file("vpn.key", "nonsense", 0o600);
    assert!(fixture.error().starts_with("evergate.toml:7: certificate \"vpn\": key = \"vpn.key\": no private key"), "{}", fixture.error());
    fixture.file("vpn.key", &leaf(&authority(), &["vpn.example.test"], true).1, 0o600);
    assert!(fixture.error().contains("the private key does not belong to the first certificate"), "{}", fixture.error());
    fixture.file("vpn.pem", "nonsense", 0o600);
    assert!(
        fixture.error().starts_with("evergate.toml:6: certificate \"vpn\": chain = \"vpn.pem\": no certificate"),
        "{}",
        fixture.error()
    );
    fixture.file("nps1.secret", "\r\n", 0o600);
    let (chain, key) = leaf(&authority(), &["vpn.example.test"], true);
    fixture.file("vpn.pem", &chain, 0o600);
    fixture.file("vpn.key", &key, 0o600);
    assert!(fixture.error().ends_with("nps1.secret is empty; expected the shared secret"), "{}", fixture.error());
    let missing = Config::load(&fixture.path("none.toml"), &[]).unwrap_err();
    assert_eq!(fixture.without_folder(&missing), "none.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn certificates_that_clients_refuse_stop_the_start() {
    let fixture = Fixture::new(MINIMAL);
    for (names, server_auth, expected) in
        [(["vpn.example.test"], false, "serverAuth"), (["other.example.test"], true, "is not made out to vpn.example.test")]
    {
        let (chain, key) = leaf(&authority(), &names, server_auth);
        fixture.file("vpn.pem", &chain, 0o644);
        fixture.file("vpn.key", &key, 0o600);
        let error = fixture.error();
        assert!(error.starts_with("evergate.toml:6: certificate \"vpn\": chain = \"vpn.pem\": ") && error.contains(expected), "{error}");
    }
}

#[test]
fn what_works_but_deserves_a_look_is_a_warning() {
    let fixture = Fixture::new(
        &MINIMAL
            .replace("pool = \"users\"", "")
            .replace("[[pool]]", "require_message_authenticator = false\n\n[ciphers]\ncompat = \"windows-default\"\n\n[[pool]]"),
    );
    fixture.file("nps1.secret", "short", 0o644);
    fixture.file("vpn.key", &fs::read_to_string(fixture.path("vpn.key")).unwrap(), 0o604);
    let config = fixture.load().unwrap();
    let all = config.warnings.join("\n");
    for expected in [
        "certificate \"vpn\": key",
        "vpn.key\" is open to all users of this host: chmod o=",
        "nps1.secret\" is open to all users",
        "the shared secret has 5 characters",
        "CVE-2024-3596",
        "policy \"everyone\": grants without naming a pool",
        "compat = \"windows-default\" accepts SHA-1 and the 1024-bit group",
    ] {
        assert!(all.contains(expected), "{expected}\n{all}");
    }
    assert_eq!(config.ciphers.groups.last(), Some(&Group::Modp1024));
    assert_eq!(suite_name(*config.ciphers.ike.last().unwrap()), "aes128-sha1");
    assert_eq!(prf_name(*config.ciphers.prfs.last().unwrap()), "sha1");
}

#[test]
fn cipher_lists_replace_the_baseline_and_weak_ones_warn() {
    let fixture = with(
        "[[policy]]",
        "[ciphers]\nike = [\"AES256-GCM\", \"aes256-sha1\"]\ngroups = [\"14\", \"ecp384\", \"modp2048\"]\nesn = false\n\n[[policy]]",
    );
    let config = fixture.load().unwrap();
    let names: Vec<_> = config.ciphers.ike.iter().map(|suite| suite_name(*suite)).collect();
    assert_eq!(names, ["aes256-gcm", "aes256-sha1"]);
    assert_eq!(config.ciphers.groups, [Group::Modp2048, Group::EcpP384]);
    assert_eq!(config.ciphers.pfs_groups, config.ciphers.groups);
    assert!(!config.ciphers.prefer_esn && config.ciphers.esp.len() == 9);
    assert_eq!(config.warnings, ["ciphers: aes256-sha1 named: too weak for anything but old peers"]);
    assert!(config.ciphers.additional.is_empty());
}

#[test]
fn an_additional_key_exchange_is_off_until_named() {
    let additional = |list: &str| with("[[policy]]", &format!("[ciphers]\nadditional = {list}\n\n[[policy]]"));
    let config = additional("[\"mlkem1024\", \"36\", \"mlkem768\"]").load().unwrap();
    assert_eq!(config.ciphers.additional, [Group::MlKem1024, Group::MlKem768]);
    assert_eq!(group_name(config.ciphers.additional[0]), "mlkem1024");
    assert!(!config.ciphers.groups.contains(&Group::MlKem1024) && config.warnings.is_empty());
    assert!(additional("[]").load().unwrap().ciphers.additional.is_empty());
    let fixture = additional("[\"modp2048\"]");
    let error = fixture.load().unwrap_err().to_string();
    assert!(error.contains("additional = \"modp2048\"") && error.contains("\"mlkem768\""), "{error}");
    let fixture = with("[[policy]]", "[ciphers]\ngroups = [\"mlkem768\"]\n\n[[policy]]");
    assert!(fixture.load().is_err(), "ML-KEM cannot stand alone");
}

#[test]
fn rekeys_by_age_are_configured_and_odd_ones_warned_of() {
    let timers = |lines: &str| {
        let config = with_policy(&format!("[timers]\n{lines}")).load().unwrap();
        (config.timers.ike_rekey, config.timers.child_rekey, config.warnings)
    };
    let (seconds, none) = (Duration::from_secs, Vec::<String>::new());
    let defaults = ike::Timers::default();
    assert_eq!(timers(""), (defaults.ike_rekey, defaults.child_rekey, none.clone()));
    assert_eq!(timers("ike_rekey = \"30m\"\nchild_rekey = \"5m\""), (seconds(1_800), seconds(300), none.clone()));
    assert_eq!(timers("ike_rekey = \"0s\"\nchild_rekey = \"0s\""), (Duration::ZERO, Duration::ZERO, none));
    let (ike, child, warnings) = timers("ike_rekey = \"10s\"\nchild_rekey = \"299s\"");
    assert_eq!((ike, child), (seconds(10), seconds(299)));
    assert_eq!(
        warnings,
        [
            "timers: ike_rekey = \"10s\" rekeys more often than anything needs; at least \"30m\" is recommended",
            "timers: child_rekey = \"299s\" rekeys more often than anything needs; at least \"5m\" is recommended",
        ]
    );
    let (.., warnings) = timers("ike_rekey = \"8h\"");
    assert_eq!(warnings, ["timers: ike_rekey = \"8h\" lets Windows rekey first, at 7 h 36 min, perhaps with a weaker group"]);
    assert_eq!(timers("ike_rekey = \"456m\"").2.len(), 0);
}

#[test]
fn the_network_outage_time_is_half_an_hour_and_no_more_than_eight() {
    let outage = |line: &str| with_policy(&format!("[timers]\n{line}")).load().map(|config| config.timers.network_outage);
    assert_eq!(outage("").unwrap(), Duration::from_secs(1_800));
    assert_eq!(outage("network_outage = \"8h\"").unwrap(), Duration::from_secs(28_800));
    assert_eq!(outage("network_outage = \"0s\"").unwrap(), Duration::ZERO);
    let error = outage("network_outage = \"481m\"").unwrap_err().to_string();
    assert!(error.contains("network_outage = \"481m\": expected a duration from \"0s\" to \"8h\""), "{error}");
}

#[test]
fn idle_child_sas_are_left_alone_unless_told() {
    let idle = |line: &str| with_policy(&format!("[timers]\n{line}")).load().map(|config| config.child_idle);
    assert_eq!(idle("").unwrap(), Duration::ZERO);
    assert_eq!(idle("child_idle = \"5m\"").unwrap(), Duration::from_secs(300));
    let error = idle("child_idle = \"25h\"").unwrap_err().to_string();
    assert!(error.contains("child_idle = \"25h\": expected a duration from \"1s\" to \"24h\", or \"0s\""), "{error}");
}

#[test]
fn child_sas_carry_what_they_can_unless_told() {
    let volume = |line: &str| with_policy(&format!("[timers]\n{line}")).load().map(|config| (config.child_volume, config.warnings.len()));
    let (usual, none) = volume("").unwrap();
    assert_eq!((usual, volume("child_volume_mb = 1000").unwrap()), (0, (1_048_576_000, none)));
    assert_eq!(volume("child_volume_mb = 99").unwrap(), (99 << 20, none + 1));
    let error = volume("child_volume_mb = -1").unwrap_err().to_string();
    assert!(error.contains("child_volume_mb = -1: expected a whole number, 0..=1000000"), "{error}");
}

#[test]
fn the_return_routability_check_is_on_unless_turned_off() {
    let checks = |line: &str| {
        let config = with("protocol = \"ikev2\"", &format!("protocol = \"ikev2\"\n{line}")).load().unwrap();
        config.responder(config.ikev2.as_ref().unwrap()).return_routability
    };
    assert!(checks("") && checks("return_routability = true") && !checks("return_routability = false"));
}

#[test]
fn a_listener_may_send_clients_elsewhere() {
    let redirect = |value: &str| {
        let loaded = with("protocol = \"ikev2\"", &format!("protocol = \"ikev2\"\nredirect = \"{value}\"")).load();
        loaded.map(|config| config.responder(config.ikev2.as_ref().unwrap()).redirect)
    };
    assert_eq!(redirect("vpn2.example.com").unwrap(), Some(ike::GatewayIdentity::Fqdn("vpn2.example.com".into())));
    assert_eq!(redirect("2001:db8::2").unwrap(), Some(ike::GatewayIdentity::Address("2001:db8::2".parse().unwrap())));
    let error = redirect("vpn 2").unwrap_err().to_string();
    assert!(error.contains("redirect = \"vpn 2\"") && error.contains("vpn2.example.com"), "{error}");
}

#[test]
fn drop_ins_merge_append_and_override_in_order() {
    let fixture = Fixture::new(MINIMAL);
    fixture.file("evergate.d/20-last.toml", "[server]\nmtu = 1380\n[timers]\nliveness_interval = \"0s\"", 0o644);
    fixture.file("evergate.d/10-first.toml", "[server]\nmtu = 1500\nthreads = 2\n[[policy]]\nname = \"more\"\npool = \"users\"", 0o644);
    fixture.file("evergate.d/ignored.txt", "nonsense", 0o644);
    let config = fixture.load().unwrap();
    assert_eq!((config.server.name.as_str(), config.server.mtu, config.server.threads), ("vpn.example.test", 1_380, 2));
    let names: Vec<_> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["everyone", "more"]);
    assert_eq!(config.timers.liveness_interval, Duration::ZERO);
    fixture.file("evergate.d/30-wrong.toml", "\n\n[server]\nthread = 2", 0o644);
    assert!(fixture.error().starts_with("evergate.d/30-wrong.toml:4: server: thread: unknown key; did you mean \"threads\"?"));
}

#[test]
fn the_environment_overrides_files() {
    let fixture = with("name = \"nps1\"", "name = \"NPS.1\"");
    fixture.file("other.secret", "another secret of good length", 0o600);
    let config = fixture
        .load_with(&[
            ("EVERGATE__LIMITS__AUTH_TIMEOUT", "60s"),
            ("EVERGATE__POLICY__0__DNS", "[\"10.0.0.53\"]"),
            ("EVERGATE__RADIUS__NPS_1__ADDRESS", "10.0.0.5"),
            ("EVERGATE__RADIUS__NPS_1__PORT", "1645"),
            ("EVERGATE__RADIUS__NPS_1__NAS_IP", "::1"),
            ("EVERGATE__RADIUS__NPS_1__REQUIRE_MESSAGE_AUTHENTICATOR", "true"),
            ("EVERGATE__RADIUS__NPS_1__SECRET_FILE", "other.secret"),
            ("EVERGATE__RADIUS__NPS_1__NAS_IDENTIFIER", "42"),
            ("EVERGATE__SERVER__MTU", "1380"),
            ("UNRELATED", "x"),
        ])
        .unwrap();
    assert_eq!((config.server.mtu, config.limits.auth_timeout), (1_380, Duration::from_secs(60)));
    assert_eq!(config.radius[0].server.address(), "10.0.0.5:1645".parse().unwrap());
    assert_eq!(config.radius[0].server.nas_ip, Some("::1".parse().unwrap()));
    assert_eq!(config.radius[0].server.secret.as_slice(), b"another secret of good length");
    assert_eq!((config.radius[0].server.nas_identifier.as_deref().unwrap(), config.policies[0].settings.dns.len()), ("42", 1));
    for (variable, value, expected) in [
        (
            "EVERGATE__SERVER__MTU",
            "big",
            "environment variable EVERGATE__SERVER__MTU: server: mtu = \"big\": expected a whole number, 1280..=9000",
        ),
        ("EVERGATE__SERVER__MTO", "1400", "environment variable EVERGATE__SERVER__MTO: server: mto: unknown key; did you mean \"mtu\"?"),
        ("EVERGATE__SERVER", "x", "environment variable EVERGATE__SERVER: expected EVERGATE__SECTION__KEY"),
        (
            "EVERGATE__RADIUS__NPS2__PORT",
            "1",
            "environment variable EVERGATE__RADIUS__NPS2__PORT: \"nps2\" is no entry: expected a number 0..=1 or one of the names nps_1",
        ),
    ] {
        let error = fixture.without_folder(&fixture.load_with(&[(variable, value)]).unwrap_err());
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_control_socket_is_found_without_reading_secrets() {
    let fixture = with("[server]\n", "[server]\ncontrol_socket = \"run/control.sock\"\n");
    fs::remove_file(fixture.path("vpn.key")).unwrap();
    assert_eq!(control_socket(&fixture.path("evergate.toml"), &[]).unwrap(), fixture.path("run/control.sock"));
    let long = with("[server]\n", &format!("[server]\ncontrol_socket = \"/{}\"\n", "x".repeat(120)));
    assert!(long.error().contains("is too long; expected a path of at most 107 bytes"), "{}", long.error());
}

#[test]
fn client_authorities_are_read() {
    let fixture = with("auth = [\"eap\"]", "auth = [\"eap\", \"certificate\"]\nclient_ca = \"ca.pem\"");
    let config = fixture.load().unwrap();
    let listener = config.ikev2.as_ref().unwrap();
    assert_eq!(listener.client_roots.roots().len(), 1);
    assert!(listener.auth.certificate);
}

#[test]
fn whose_process_the_gateway_becomes() {
    assert_eq!(Fixture::new(MINIMAL).load().unwrap().server.run_as, None);
    let named = with("[server]\n", "[server]\nrun_as = \"vpn\"\n").load().unwrap();
    assert_eq!(named.server.run_as.as_deref(), Some("vpn"));
    let error = with("[server]\n", "[server]\nrun_as = \"\"\n").error();
    assert!(error.contains("server: run_as") && error.contains("the name of a user of this host"), "{error}");
}

/// The annotated example is a configuration once the files it names are there.
#[test]
fn the_example_loads() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/evergate.example.toml")).unwrap();
    let fixture = Fixture::new(&text.replace("/etc/evergate/", "").replace("vpn.example.com", "vpn.example.test"));
    let config = fixture.load().unwrap_or_else(|error| panic!("{}", fixture.without_folder(&error)));
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.policies.len() > 1);
}

/// The commented-out lines of the example say what the defaults are.
#[test]
fn the_example_shows_the_defaults() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/evergate.example.toml")).unwrap();
    let text = text.replace("/etc/evergate/", "").replace("vpn.example.com", "vpn.example.test");
    let is_default = |line: &&str| {
        line.strip_prefix("# ").is_some_and(|line| line.contains(" = ") && line.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let shown = |line: &str| {
        is_default(&line)
            && !["[..]", "compat", "source", "nas_ip", "probe_user", "run_as", "control_group"].iter().any(|odd| line.contains(odd))
    };
    let all: Vec<_> = text.lines().map(|line| if shown(line) { &line[2..] } else { line }).collect();
    assert!(all.len() > 100 && text.lines().filter(|line| shown(line)).count() > 25);
    let shown = Fixture::new(&all.join("\n"));
    let shown = shown.load().unwrap_or_else(|error| panic!("{}", shown.without_folder(&error)));
    let default = Fixture::new(&text).load().unwrap();
    for (shown, default) in [
        (format!("{:?}", shown.server), format!("{:?}", default.server)),
        (format!("{:?}", shown.ciphers), format!("{:?}", default.ciphers)),
        (format!("{:?}", shown.limits), format!("{:?}", default.limits)),
        (format!("{:?}", shown.accounting), format!("{:?}", default.accounting)),
        (format!("{:?}", shown.timers), format!("{:?}", default.timers)),
        (format!("{:?}", shown.ikev2.as_ref().unwrap().addresses), format!("{:?}", default.ikev2.as_ref().unwrap().addresses)),
        (format!("{:?}", shown.radius[0].server), format!("{:?}", default.radius[0].server)),
        (format!("{:?}", shown.radius[0].server.timeout), format!("{:?}", default.radius[0].server.timeout)),
    ] {
        assert_eq!(shown, default);
    }
    assert_eq!((shown.radius[0].server.tries, shown.ikev2.as_ref().unwrap().nat_port), (default.radius[0].server.tries, 4_500));
}

/// Whatever is cut off or damaged, the answer is a configuration or one line.
#[test]
fn damaged_files_give_one_line() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/evergate.example.toml")).unwrap();
    let fixture = Fixture::new("");
    let text: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n").replace("/etc/evergate/", "").replace("vpn.example.com", "vpn.example.test");
    let mut refused = 0;
    for at in (0..text.len()).step_by(7) {
        let other = ["\"", "[", "\n", "=", "9", "\u{0}", "é", "-"][at % 8];
        for damaged in [text[..at].to_owned(), format!("{}{other}{}", &text[..at], &text[at + 1..])] {
            fixture.file("evergate.toml", &damaged, 0o644);
            if let Err(error) = fixture.load() {
                refused += 1;
                let line = error.to_string();
                assert!(!line.contains('\n') && line.contains("evergate.toml"), "{line:?}");
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
