//! What another configuration changes, and what of it a running gateway takes.
use super::*;

const MORE: &str = r#"
[[radius]]
name = "nps2"
address = "10.0.0.5"
secret_file = "nps1.secret"

[[policy]]
name = "nobody"
grant = false
"#;

const HEARD: Heard = Heard { udp: true, tls: true };

/// What changes when the file becomes `text`: what takes effect, and what needs a restart, a line each.
fn difference(fixture: &Fixture, text: &str) -> (Vec<String>, Vec<String>) {
    let running = fixture.load().unwrap();
    fixture.file("evergate.toml", text, 0o644);
    let fresh = running.load_again(&[]).unwrap();
    let Difference { live, restart } = Difference::new(&running, &running, &fresh, HEARD);
    let lines = |changes: &[Change]| {
        changes.iter().map(|change| change.to_string().replace(&format!("{}/", fixture.folder.path().display()), "")).collect()
    };
    (lines(&live), lines(&restart))
}

#[test]
fn changes_are_named_by_section_and_key() {
    let fixture = Fixture::new(&format!("{MINIMAL}{MORE}"));
    let text = format!("{MINIMAL}{MORE}")
        .replace("address = \"10.0.0.4\"", "address = \"10.0.0.6\"\nport = 1645")
        .replace("name = \"nobody\"\ngrant = false", "name = \"guests\"\ngrant = false")
        .replace("ipv4 = [\"10.98.0.10-10.98.0.250\"]", "ipv4 = [ '10.98.0.10-10.98.0.250' ]");
    let (live, restart) = difference(&fixture, &text);
    assert_eq!(
        live,
        [
            "radius \"nps1\" changed: address: \"10.0.0.4\" -> \"10.0.0.6\", port = 1645",
            "policy \"guests\" added: grant = false",
            "policy \"nobody\" removed",
        ],
    );
    assert!(restart.is_empty(), "{restart:?}");
}

#[test]
fn the_order_of_policies_is_a_change() {
    let policy = "[[policy]]\nname = \"everyone\"\npool = \"users\"\n";
    let swapped = format!("{}{MORE}{policy}", MINIMAL.replace(policy, ""));
    let (live, _) = difference(&Fixture::new(&format!("{MINIMAL}{MORE}")), &swapped);
    assert_eq!(live, ["policy reordered: order: everyone, nobody -> nobody, everyone"]);
}

#[test]
fn what_a_file_holds_is_a_change_that_shows_no_secret() {
    let fixture = Fixture::new(MINIMAL);
    let running = fixture.load().unwrap();
    fixture.file("nps1.secret", "quite another secret", 0o600);
    let fresh = running.load_again(&[]).unwrap();
    let changes = Difference::new(&running, &running, &fresh, HEARD).live;
    let shown = format!("{changes:?} {}", changes[0]);
    assert!(changes.len() == 1 && changes[0].keys[0].content && shown.contains("what "), "{shown}");
    assert!(!shown.contains("another secret") && !format!("{fresh:?}").contains("another secret"), "{shown}");
}

#[test]
fn what_belongs_to_the_process_needs_a_restart_and_stays() {
    let fixture = Fixture::new(MINIMAL);
    let text = MINIMAL
        .replace("name = \"vpn.example.test\"", "name = \"vpn.example.test\"\ntun = \"other0\"\nmtu = 1300\nlog = \"debug\"")
        .replace("auth = [\"eap\"]", "auth = [\"eap\"]\neap_only = true\naddresses = [\"127.0.0.1\"]\n\n[[listener]]\nname = \"more\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]");
    let running = fixture.load().unwrap();
    let (live, restart) = difference(&fixture, &text);
    assert_eq!(live[..2], ["server changed: log = \"debug\"", "listener \"ikev2\" changed: addresses = [\"127.0.0.1\"], eap_only = true"]);
    assert!(live[2].starts_with("listener \"more\" added: ") && live.len() == 3, "{live:?}");
    assert_eq!(restart, ["server changed: mtu = 1300, tun = \"other0\""]);
    let taken = running.load_again(&[]).unwrap().over(&running, HEARD);
    assert_eq!((taken.server.tun.as_str(), taken.server.mtu, taken.server.log.as_str()), ("evergate0", 1400, "debug"));
    let listener = taken.ikev2.unwrap();
    assert_eq!((listener.addresses.len(), listener.auth.eap_only, taken.sstp.len()), (1, true, 1));
}

#[test]
fn where_logs_and_traces_go_changes_at_once() {
    let fixture = Fixture::new(&format!("{MINIMAL}\n[nps_log]\nfolder = \"one\"\n"));
    let running = fixture.load().unwrap();
    let text = format!("{MINIMAL}\n[nps_log]\nfolder = \"two\"\n\n[telemetry]\notlp = \"http://127.0.0.1:4318\"\n");
    let (live, restart) = difference(&fixture, &text);
    assert_eq!(live, ["nps_log changed: folder: \"one\" -> \"two\"", "telemetry added: otlp = \"http://127.0.0.1:4318\""]);
    assert!(restart.is_empty(), "{restart:?}");
    let taken = running.clone().load_again(&[]).unwrap().over(&running, HEARD);
    assert_eq!((taken.nps_log.unwrap().folder, taken.telemetry.is_some()), (fixture.path("two"), true));
    let (live, restart) = difference(&fixture, MINIMAL);
    assert_eq!((live, restart), (vec!["nps_log removed".to_owned(), "telemetry removed".to_owned()], Vec::new()));
    let taken = running.load_again(&[]).unwrap().over(&running, HEARD);
    assert!(taken.nps_log.is_none() && taken.telemetry.is_none());
}

/// RADIUS servers hear the name of the sessions that are up, but for those that hear one of their own.
#[test]
fn the_name_of_the_gateway_changes_nowhere_before_the_restart() {
    let fixture = Fixture::new(MINIMAL);
    let (chain, key) = leaf(&authority(), &["vpn.example.test", "other.example.test"], true);
    fixture.file("vpn.pem", &chain, 0o644);
    fixture.file("vpn.key", &key, 0o600);
    let running = fixture.load().unwrap();
    let other = MINIMAL.replace("name = \"vpn.example.test\"", "name = \"other.example.test\"");
    let (live, restart) = difference(&fixture, &other);
    assert_eq!((live.len(), restart.len()), (0, 1), "{live:?} {restart:?}");
    let identifier = |config: Config| config.radius[0].server.nas_identifier.clone();
    assert_eq!(identifier(running.load_again(&[]).unwrap().over(&running, HEARD)).as_deref(), Some("vpn.example.test"));
    let named = other.replace("name = \"nps1\"", "name = \"nps1\"\nnas_identifier = \"east\"");
    fixture.file("evergate.toml", &named, 0o644);
    assert_eq!(identifier(running.load_again(&[]).unwrap().over(&running, HEARD)).as_deref(), Some("east"));
}

/// `[local]` belongs to nothing that only the start makes.
#[test]
fn the_local_provider_takes_all_of_its_settings() {
    let local = "\n[local]\nusers_file = \"users\"\n";
    let fixture = Fixture::new(&format!("{MINIMAL}{local}"));
    fixture.file("users", "ann\n", 0o600);
    fixture.file("others", "bob\n", 0o600);
    let authority = authority();
    fixture.file("people.pem", &authority.root.pem(), 0o644);
    let lines = "eap = [\"tls\", \"mschapv2\"]\nclient_ca = \"people.pem\"\nclient_eku = [\"clientAuth\"]\nrevocation = \"off\"\n\
                 certificate = \"vpn\"\nlockout_failures = 3\nlockout_time = \"10s\"\n";
    let running = fixture.load().unwrap();
    let (live, restart) = difference(&fixture, &format!("{MINIMAL}\n[local]\nusers_file = \"others\"\n{lines}"));
    let keys = ["certificate", "client_ca", "client_eku", "eap", "lockout_failures", "lockout_time", "revocation", "users_file"];
    assert!(live.len() == 1 && keys.iter().all(|key| live[0].contains(&format!(" {key}"))), "{live:?}");
    assert!(restart.is_empty(), "{restart:?}");
    let taken = running.load_again(&[]).unwrap().over(&running, HEARD).local.unwrap();
    assert_eq!((taken.users.len(), taken.methods.len(), taken.lockout.failures), (1, 2, 3));
    assert!(taken.users.get("bob").is_some() && taken.credential.is_some() && taken.client_roots.roots().len() == 1);
    let (live, restart) = difference(&fixture, MINIMAL);
    assert_eq!((live, restart), (vec!["local removed".to_owned()], Vec::new()));
}

/// The first client over TLS may still say where: nobody listens there yet.
#[test]
fn ports_of_dynamic_clients_stay_once_somebody_listens_there() {
    let ports = "dynamic_port = 4799\ndynamic_tls_port = 4083";
    let fixture = Fixture::new(MINIMAL);
    let running = fixture.load().unwrap();
    fixture.file("evergate.toml", &MINIMAL.replace("[server]", &format!("[server]\n{ports}")), 0o644);
    let fresh = running.load_again(&[]).unwrap();
    for (udp, tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let heard = Heard { udp, tls };
        let restart = Difference::new(&running, &running, &fresh, heard).restart;
        let keys: Vec<_> = restart.iter().flat_map(|change| change.keys.iter().map(|key| key.key.as_str())).collect();
        let expected: Vec<_> =
            [(udp, "dynamic_port"), (tls, "dynamic_tls_port")].into_iter().filter(|(bound, _)| *bound).map(|(_, key)| key).collect();
        assert_eq!(keys, expected);
        let server = fresh.clone().over(&running, heard).server;
        assert_eq!((server.dynamic_port, server.dynamic_tls_port), (if udp { 3799 } else { 4799 }, if tls { 2083 } else { 4083 }));
    }
}

/// Their sockets carry no session: calls that are up have connections of their own.
#[test]
fn listeners_for_sstp_come_and_go_and_move() {
    let sstp = "\n[[listener]]\nname = \"more\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\naddresses = [\"127.0.0.1\"]\n";
    let fixture = Fixture::new(&format!("{MINIMAL}{sstp}"));
    let running = fixture.load().unwrap();
    let taken = || running.load_again(&[]).unwrap().over(&running, HEARD).sstp;
    let moved = sstp.replace("127.0.0.1\"]", "127.0.0.2\"]\nport = 8443");
    let (live, restart) = difference(&fixture, &format!("{MINIMAL}{moved}"));
    assert_eq!(live, ["listener \"more\" changed: addresses: [\"127.0.0.1\"] -> [\"127.0.0.2\"], port = 8443"]);
    assert!(restart.is_empty(), "{restart:?}");
    assert_eq!((taken()[0].addresses.clone(), taken()[0].port), (vec!["127.0.0.2".parse().unwrap()], 8443));
    let (live, restart) = difference(&fixture, MINIMAL);
    assert_eq!((live, restart.len(), taken().len()), (vec!["listener \"more\" removed".to_owned()], 0, 0));
}

/// Their sessions stay for as long as they like: see `sockets`.
#[test]
fn a_listener_for_ikev2_comes_and_goes_and_moves() {
    let sstp = MINIMAL
        .replace("protocol = \"ikev2\"\ncertificates = [\"vpn\"]\nauth = [\"eap\"]", "protocol = \"sstp\"\ncertificates = [\"vpn\"]");
    let moved = MINIMAL
        .replace("auth = [\"eap\"]", "auth = [\"eap\"]\naddresses = [\"127.0.0.1\"]\nike_port = 5500\nnat_port = 5501\ntcp = [4500]");
    for (before, after) in [(MINIMAL, moved.as_str()), (&moved, MINIMAL), (MINIMAL, &sstp), (&sstp, MINIMAL)] {
        let fixture = Fixture::new(before);
        let running = fixture.load().unwrap();
        let (live, restart) = difference(&fixture, after);
        assert_eq!((live.len(), restart.len()), (1, 0), "{live:?} {restart:?}");
        let fresh = running.load_again(&[]).unwrap();
        let taken = fresh.clone().over(&running, HEARD);
        let seen = |config: &Config| {
            let ikev2 = config
                .ikev2
                .as_ref()
                .map(|listener| (listener.addresses.clone(), listener.ike_port, listener.nat_port, listener.tcp.clone()));
            (ikev2, config.sstp.len())
        };
        assert_eq!(seen(&taken), seen(&fresh));
        assert_ne!(seen(&taken), seen(&running));
    }
}

#[test]
fn metrics_the_format_of_the_log_and_the_number_of_attempts_kept_need_no_restart() {
    let fixture = Fixture::new(MINIMAL);
    let running = fixture.load().unwrap();
    let text =
        MINIMAL.replace("[server]", "[server]\nattempts_kept = 7\nlog_format = \"json\"") + "\n[metrics]\nlisten = [\"127.0.0.1:9464\"]\n";
    let (live, restart) = difference(&fixture, &text);
    assert_eq!((live.len(), restart.len()), (2, 0), "{live:?} {restart:?}");
    let taken = running.load_again(&[]).unwrap().over(&running, HEARD);
    assert_eq!((taken.metrics_listen.len(), taken.server.attempts_kept, taken.server.log_format), (1, 7, LogFormat::Json));
}

#[test]
fn certificates_are_taken_alone() {
    let fixture = Fixture::new(MINIMAL);
    let running = fixture.load().unwrap();
    let (chain, key) = leaf(&authority(), &["vpn.example.test"], true);
    fixture.file("vpn.pem", &chain, 0o644);
    // Half a renewal: the key does not belong to the certificate.
    assert!(running.read_files_again().is_err());
    fixture.file("vpn.key", &key, 0o600);
    fixture.file("nps1.secret", "quite another secret", 0o600);
    fixture.file("evergate.toml", "broken", 0o644);
    let renewed = running.with_certificates_of(&running.read_files_again().unwrap());
    assert_ne!(renewed.certificates[0].credential.chain, running.certificates[0].credential.chain);
    assert_eq!(renewed.ikev2.as_ref().unwrap().certificates[0].credential.chain, renewed.certificates[0].credential.chain);
    assert_eq!(*renewed.radius[0].server.secret, *running.radius[0].server.secret);
    let changed: Vec<_> = running.changed_files(&renewed).iter().map(|change| (change.section.clone(), change.keys.len())).collect();
    assert_eq!(changed, [("certificate \"vpn\"".to_owned(), 2)]);
    assert_eq!(renewed.certificate_files().len(), 2);
}

/// They reach the provider together with the certificate, which must not bring back those of the start.
#[test]
fn a_renewed_certificate_brings_the_users_of_now() {
    let fixture = Fixture::new(&format!("{MINIMAL}[local]\nusers_file = \"users\"\n"));
    fixture.file("users", "ann nt=8846F7EAEE8FB117AD06BDD830B7586C\n", 0o600);
    let running = fixture.load().unwrap();
    fixture.file("users", "ann nt=8846F7EAEE8FB117AD06BDD830B7586C disabled\n", 0o600);
    let renewed = running.with_certificates_of(&running.read_files_again().unwrap());
    assert!(renewed.local.unwrap().users.get("ann").unwrap().disabled);
}

#[test]
fn a_name_that_cannot_be_resolved_now_keeps_its_address() {
    let fixture = with("address = \"10.0.0.4\"", "address = \"localhost\"");
    let mut running = fixture.load().unwrap();
    assert!(running.radius[0].server.address().ip().is_loopback());
    running.radius[0].server.transport.set_ip("192.0.2.77".parse().unwrap());
    let fresh = running.load_again(&[]).unwrap();
    assert!(fresh.radius[0].server.address().ip().is_loopback(), "the name stands for another address");
    let changes = Difference::new(&running, &running, &fresh, HEARD).live;
    assert!(
        changes[0].to_string().starts_with("radius \"nps1\" changed: address: localhost (192.0.2.77) -> localhost ("),
        "{}",
        changes[0]
    );
    fixture.file("evergate.toml", &MINIMAL.replace("10.0.0.4", "no-such-host.invalid"), 0o644);
    running.radius[0].host = "no-such-host.invalid".into();
    let fresh = running.load_again(&[]).unwrap();
    assert_eq!(fresh.radius[0].server.address(), "192.0.2.77:1812".parse().unwrap());
    assert!(fresh.warnings.iter().any(|warning| warning.contains("the address found before is used")), "{:?}", fresh.warnings);
}

/// A look at a configuration binds what it wants bound, and takes no connection from the listener in whose place that would come.
#[tokio::test]
async fn what_is_only_looked_at_takes_nobodys_connection() {
    use crate::sstp::{Bounds, Fronts};
    use std::io::{ErrorKind, Read as _};
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = MINIMAL.replace(
        "\"ikev2\"\ncertificates = [\"vpn\"]\nauth = [\"eap\"]",
        &format!("\"sstp\"\naddresses = [\"0.0.0.0\"]\nport = {free}\ncertificates = [\"vpn\"]"),
    );
    let everywhere = Fixture::new(&text).load().unwrap();
    let mut narrowed = everywhere.clone();
    narrowed.sstp[0].addresses = vec![Ipv4Addr::LOCALHOST.into()];
    let patience = Duration::from_secs(60);
    let bounds = Bounds { connections: 100, per_source: 100, exempt: Vec::new(), handshake: patience, request: patience };
    let (arrivals, _arrived) = tokio::sync::mpsc::channel(1);
    let mut fronts = Fronts::new(std::sync::Arc::default(), arrivals);
    fronts.configure(fronts.prepare(&everywhere, &bounds).unwrap().listen().unwrap());
    let look = fronts.prepare(&narrowed, &bounds).unwrap();
    let mut client = std::net::TcpStream::connect(("127.0.0.1", free)).unwrap();
    drop(look);
    client.set_nonblocking(true).unwrap();
    let accepted = || fronts.all()[0].sockets[0].accepted();
    for _ in 0..500 {
        if accepted() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(accepted(), 1, "the client came to a listener that was never to be");
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "and is still there");
}
