//! `[[radius]]` with `transport = "tls"`.
use super::*;
use radius_client::{Probe, RequireMessageAuthenticator, Transport};

const OVER_TLS: &str = r#"address = "10.0.0.4"
transport = "tls"
ca = ["ca.pem"]
chain = "vpn.pem"
key = "vpn.key"
tls_name = "radius.example.test""#;

const OVER_UDP: &str = "address = \"10.0.0.4\"\nsecret_file = \"nps1.secret\"";

#[test]
fn a_server_over_tls() {
    let config = with(OVER_UDP, OVER_TLS).load().unwrap();
    let radius = &config.radius[0];
    assert_eq!(radius.server.transport, Transport::Tls { address: "10.0.0.4:2083".parse().unwrap(), accounting: true });
    assert_eq!(radius.server.secret.as_slice(), b"radsec");
    assert_eq!(radius.server.probe, Probe::StatusServer);
    assert_eq!(radius.server.require_message_authenticator, RequireMessageAuthenticator::No);
    assert!(radius.tls.is_some() && config.warnings.iter().all(|warning| !warning.contains("radius")), "{:?}", config.warnings);
    assert!(with(OVER_UDP, &format!("{OVER_TLS}\npin = \"{}\"", "a1".repeat(32))).load().is_ok());
}

#[test]
fn versions_of_radius() {
    for (value, offered) in [
        ("", [true, true]),
        ("\nradius_1_1 = \"auto\"", [true, true]),
        ("\nradius_1_1 = \"require\"", [false, true]),
        ("\nradius_1_1 = \"off\"", [true, false]),
    ] {
        let config = with(OVER_UDP, &format!("{OVER_TLS}{value}")).load().unwrap();
        let settings = &config.radius[0].tls.as_ref().unwrap().settings;
        assert_eq!([settings.offers(b"radius/1.0"), settings.offers(b"radius/1.1")], offered, "{value}");
    }
    let error = with(OVER_UDP, &format!("{OVER_TLS}\nradius_1_1 = true")).error();
    assert!(error.contains("radius_1_1") && error.contains("\"auto\", \"require\", \"off\""), "{error}");
    let error = with(OVER_UDP, &format!("{OVER_UDP}\nradius_1_1 = \"auto\"")).error();
    assert!(error.contains("belongs to servers with transport = \"tls\""), "{error}");
}

#[test]
fn what_tls_needs_and_what_belongs_to_udp() {
    for (from, to, error) in [
        ("ca = [\"ca.pem\"]\n", "", "ca: is missing; expected the PEM files of the authorities"),
        ("chain = \"vpn.pem\"\n", "", "chain: is missing; expected the PEM file of the certificate"),
        ("key = \"vpn.key\"\n", "", "key: is missing; expected the PEM file of the private key"),
        ("transport = \"tls\"", "transport = \"tls\"\npin = \"a1\"", "expected the SHA-256 fingerprint"),
        ("transport = \"tls\"", "transport = \"tls\"\naccounting_port = 1813", "belongs to servers with transport = \"udp\""),
        ("transport = \"tls\"\n", "", "belongs to servers with transport = \"tls\""),
    ] {
        let found = with(OVER_UDP, &OVER_TLS.replace(from, to)).error();
        assert!(found.contains(error), "{found}");
    }
}

#[test]
fn revocation_of_the_other_end() {
    let list = |authority: &Authority| {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 6, 2),
            next_update: rcgen::date_time_ymd(2099, 1, 1),
            crl_number: rcgen::SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&authority.issuer).unwrap().pem().unwrap()
    };
    let (ours, strangers) = (authority(), authority());
    let load = |more: &str, theirs: &Authority| {
        let fixture = with(OVER_UDP, &format!("{}\n{more}", OVER_TLS.replace("ca.pem", "issuer.pem")));
        fixture.file("issuer.pem", &ours.intermediate.pem(), 0o644);
        fixture.file("radsec.crl", &list(theirs), 0o644);
        fixture.load().map_err(|error| fixture.without_folder(&error))
    };
    let policy = |more| load(more, &ours).unwrap().radius[0].tls.as_ref().unwrap().revocation.policy;
    assert_eq!(policy(""), pki::Revocation::Off);
    assert_eq!(policy("crl = [\"radsec.crl\"]"), pki::Revocation::Soft);
    assert_eq!(policy("crl = [\"http://pki.example.test/a.crl\"]\nrevocation = \"hard\""), pki::Revocation::Hard);
    let off = load("crl = [\"radsec.crl\"]\nrevocation = \"off\"", &ours).unwrap();
    assert!(off.warnings.iter().any(|warning| warning.contains("crl has no effect")), "{:?}", off.warnings);
    for (more, theirs, error) in [
        ("revocation = \"hard\"", &ours, "crl: is missing; without lists nobody can tell"),
        ("revocation = \"soft\"", &ours, "crl: is missing; without lists nobody can tell"),
        ("crl = [\"radsec.crl\"]", &strangers, "crl = [\"radsec.crl\"]: "),
        ("crl = [\"https://pki.example.test/a.crl\"]", &ours, "is no http:// URL"),
    ] {
        let found = load(more, theirs).unwrap_err();
        assert!(found.contains(error), "{found}");
    }
    let found = with(OVER_UDP, &format!("{OVER_UDP}\nrevocation = \"soft\"")).error();
    assert!(found.contains("belongs to servers with transport = \"tls\""), "{found}");
}

const DYNAMIC: &str = r#"

[[dynamic_client]]
name = "portal"
address = "10.0.0.5"
transport = "tls"
ca = ["ca.pem"]
chain = "vpn.pem"
key = "vpn.key"
"#;

#[test]
fn a_dynamic_client_over_tls() {
    let written = |text: &str| with(OVER_UDP, &format!("{OVER_UDP}{text}"));
    let config = written(DYNAMIC).load().unwrap();
    let peer = &config.dynamic_clients[0];
    assert!(peer.client.over_tls && peer.tls.is_some() && peer.client.secret.as_slice() == b"radsec");
    assert_eq!(config.server.dynamic_tls_port, 2083);
    for (from, to, error) in [
        ("ca = [\"ca.pem\"]\n", "", "ca: is missing; expected the PEM files of the authorities"),
        ("chain = \"vpn.pem\"\n", "", "chain: is missing; expected the PEM file of the certificate that this gateway shows"),
        ("ca = [", "secret_file = \"nps1.secret\"\nca = [", "belongs to clients with transport = \"udp\""),
        ("transport = \"tls\"\n", "", "belongs to clients with transport = \"tls\""),
    ] {
        let found = written(&DYNAMIC.replace(from, to)).error();
        assert!(found.contains(error), "{found}");
    }
}

/// A reload that fails leaves no socket behind, and no port that cannot be changed any more.
#[tokio::test]
async fn sockets_of_dynamic_clients_are_bound_together_or_not_at_all() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tls_port, port) = (taken.local_addr().unwrap().port(), free.local_addr().unwrap().port());
    drop(free);
    let server = format!("[server]\ndynamic_listen = [\"127.0.0.1\"]\ndynamic_port = {port}\ndynamic_tls_port = {tls_port}");
    let udp = "\n[[dynamic_client]]\nname = \"console\"\naddress = \"10.0.0.6\"\nsecret_file = \"portal.secret\"\n";
    let config = Fixture::new(&format!("{}{DYNAMIC}{udp}", MINIMAL.replace("[server]", &server))).load().unwrap();
    let nobody = Config { dynamic_clients: Vec::new(), ..config.clone() };
    let (mut dynamic, _arrived) = crate::dynamic::Dynamic::start(&nobody).unwrap();
    let error = dynamic.prepare(&config).unwrap_err().to_string();
    assert!(error.contains(&format!("tcp 127.0.0.1:{tls_port}")), "{error}");
    assert_eq!(dynamic.heard(), Heard::default());
    // The UDP port is free again.
    drop(std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap());
    drop(taken);
    drop(dynamic.prepare(&config).unwrap());
    assert_eq!(dynamic.heard(), Heard::default(), "what was bound for a reload that fails elsewhere is let go");
    let listening = dynamic.prepare(&config).unwrap().listen().unwrap();
    dynamic.configure(&config, listening);
    assert_eq!(dynamic.heard(), Heard { udp: true, tls: true });
    assert!(std::net::UdpSocket::bind(("127.0.0.1", port)).is_err());
}
