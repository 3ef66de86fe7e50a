//! What policies ask of the cipher of TLS.
use super::*;

#[test]
fn a_policy_may_want_longer_keys_of_tls() {
    for (tls, comes_in) in [
        ("TLSv1_3 TLS13_AES_256_GCM_SHA384", true),
        ("TLSv1_3 TLS13_CHACHA20_POLY1305_SHA256", true),
        ("TLSv1_3 TLS13_AES_128_GCM_SHA256", false),
        ("TLSv1_2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", false),
        ("nobody knows", false),
    ] {
        let mut world = World::empty(2, &[("all", "*", true)]);
        world.gateway.authority.policies[0].constraints.cipher_bits = Some(256);
        world.dial(&[AuthProtocol::Eap]);
        world.gateway.live.get_mut(&world.session).unwrap().tls = Some(tls.into());
        world.packet(&Message::CallConnectRequest.encode());
        world.gateway.plane.sent.clear();
        world.lcp();
        world.ppp(0xc227, 2, 0, b"\x01u1");
        let ticket = world.asked().0[0].0;
        world.accept_eap(ticket);
        assert_eq!(world.gateway.is_granted(world.session), comes_in, "{tls}");
    }
}
