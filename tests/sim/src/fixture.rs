//! Settings that the cases start from.
use crate::{KeyKind, authority, server_credential};
use crypto::cipher::{Encryption, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::{CipherPolicy, ClientAuth, Identity, InitiatorAuth, InitiatorConfig, Limits, Path, ResponderConfig, Timers, TrafficSelector};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// AES-256-GCM, SHA-384, Curve25519: fast ones.
pub fn ciphers() -> CipherPolicy {
    let gcm = Suite::new(Encryption::AesGcm256, None).expect("an AEAD");
    CipherPolicy {
        ike: vec![gcm],
        prfs: vec![Prf::HmacSha384],
        groups: vec![Group::Curve25519],
        esp: vec![gcm],
        pfs_groups: vec![Group::Curve25519],
        prefer_esn: true,
        ..CipherPolicy::default()
    }
}

/// Nothing is rekeyed by time.
pub fn timers() -> Timers {
    Timers {
        liveness_interval: Duration::from_secs(30),
        retransmit_initial: Duration::from_millis(500),
        retransmit_tries: 6,
        network_outage: Duration::from_secs(1800),
        delete_rekeyed_delay: Duration::from_secs(5),
        ike_rekey: Duration::ZERO,
        child_rekey: Duration::ZERO,
    }
}

pub fn responder() -> ResponderConfig {
    ResponderConfig {
        ciphers: ciphers(),
        certificates: vec![server_credential(KeyKind::P256).into()],
        steering: None,
        server_name: "vpn.example.test".into(),
        client_roots: authority(),
        client_auth: ClientAuth { eap: true, certificate: true, eap_only: false },
        limits: Limits {
            cookie_threshold: 100,
            half_open_max: 1000,
            half_open_per_source: 100,
            half_open_timeout: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(60),
            sessions_max: 10_000,
            exempt: Vec::new(),
        },
        timers: timers(),
        qcd_secret: None,
        ppk: ike::ppk::PpkPolicy::default(),
        redirect: None,
        return_routability: true,
        addresses: Vec::new(),
    }
}

/// An EAP client that dials from `local` to `gateway`, both on port 500.
pub fn initiator(local: IpAddr, gateway: IpAddr) -> InitiatorConfig {
    InitiatorConfig {
        path: Path::between(SocketAddr::new(local, 500), SocketAddr::new(gateway, 500)),
        ciphers: ciphers(),
        server_roots: authority(),
        server_name: "vpn.example.test".into(),
        identity: Identity::Fqdn("alice".into()),
        auth: InitiatorAuth::Eap,
        want_ipv4: true,
        want_ipv6: false,
        local_selectors: vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()],
        remote_selectors: vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()],
        initial_contact: false,
        force_encapsulation: false,
        mobike: false,
        follow_redirects: false,
        ppk: None,
        timers: timers(),
    }
}
