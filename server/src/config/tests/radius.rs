//! What RADIUS servers are told and asked: `[[listener]] certificate_authorization` and `tunnel_type`, `[[radius]] attributes`.
use super::*;
use crate::gateway::CertificateAuthorization;

const ASKED: &str = "auth = [\"eap\", \"certificate\"]\nclient_ca = \"ca.pem\"\ncertificate_authorization = \"radius\"";

#[test]
fn radius_may_be_asked_about_certificates() {
    let listener = with("auth = [\"eap\"]", ASKED).load().unwrap().ikev2.unwrap();
    assert_eq!(listener.certificate_authorization, CertificateAuthorization::Radius);
}

#[test]
fn without_certificates_it_is_a_warning() {
    let config = with("auth = [\"eap\"]", "auth = [\"eap\"]\ncertificate_authorization = \"radius\"").load().unwrap();
    assert_eq!(config.warnings, ["listener \"ikev2\": certificate_authorization has no effect without auth = \"certificate\""]);
}

#[test]
fn asking_takes_somebody_to_ask() {
    let text = MINIMAL.replace("auth = [\"eap\"]", &ASKED.replace("\"eap\", ", ""));
    let start = text.find("[[radius]]").unwrap();
    let end = text[start + 2..].find("\n[").map_or(text.len(), |at| start + 2 + at);
    let error = Fixture::new(&(text[..start].to_owned() + &text[end..])).error();
    assert!(error.contains("radius: is missing; certificate_authorization = \"radius\" needs a RADIUS server to ask"), "{error}");
}

#[test]
fn a_server_may_get_more_attributes() {
    let fixture = with("address = \"10.0.0.4\"", "address = \"10.0.0.4\"\nattributes = [\"NAS-Port-Id = vpn\", \"26.9.1 = hex:00ff\"]");
    let server = &fixture.load().unwrap().radius[0].server;
    assert_eq!((server.attributes.len(), server.ignore_filters), (2, false));
    let taken = with("address = \"10.0.0.4\"", "address = \"10.0.0.4\"\nattributes = \"User-Password = hex:00\"").error();
    assert!(taken.contains("radius \"nps1\": attributes = ") && taken.contains("is neither a number"), "{taken}");
}

#[test]
fn leaving_filters_out_is_a_warning() {
    let config = with("address = \"10.0.0.4\"", "address = \"10.0.0.4\"\nignore_filters = true\nignore_port_limit = true").load().unwrap();
    assert!(config.radius[0].server.ignore_filters && config.radius[0].server.ignore_port_limit);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn answers_may_have_to_be_smaller() {
    assert_eq!(Fixture::new(MINIMAL).load().unwrap().radius[0].server.framed_mtu, 1344);
    let mtu = |value: &str| with("address = \"10.0.0.4\"", &format!("address = \"10.0.0.4\"\nframed_mtu = {value}"));
    assert_eq!(mtu("1200").load().unwrap().radius[0].server.framed_mtu, 1200);
}

#[test]
fn the_tunnel_type_is_the_listeners() {
    assert_eq!(Fixture::new(MINIMAL).load().unwrap().ikev2.unwrap().tunnel_type, 9);
    let with_type = |value| with("auth = [\"eap\"]", &format!("auth = [\"eap\"]\ntunnel_type = {value}"));
    assert_eq!(with_type("0x013702").load().unwrap().ikev2.unwrap().tunnel_type, 0x01_3702);
    let error = with_type("0").error();
    assert!(error.ends_with("tunnel_type = 0: expected a whole number, 1..=16777215"), "{error}");
}
