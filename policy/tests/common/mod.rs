//! What the tests of policies share.
use policy::network::*;

pub(crate) fn facts() -> Facts<'static> {
    Facts {
        tunnel: Tunnel::Ikev2,
        authenticated: true,
        method: Method::Eap,
        eap_type: Some("EAP-MSCHAPv2"),
        user: "bob",
        confirmed: true,
        machine: None,
        client: "192.0.2.7".parse().unwrap(),
        gateway: "198.51.100.1".parse().unwrap(),
        port_type: 5,
        listener: "main",
        server_name: None,
        shown: None,
        certificate: None,
        certificate_hidden: false,
        cipher_bits: Some(256),
        class: &[],
        filter_id: &[],
        group: &[],
        radius_server: None,
        radius_group: None,
        reply: &[],
        time: LocalTime { weekday: 2, minute: 600 },
    }
}
