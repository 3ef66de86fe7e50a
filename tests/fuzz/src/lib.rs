//! Fuzz targets: each takes arbitrary bytes, drives a parser or machine with them, and panics when a promise is broken. `libfuzzer/`
//! searches for bytes that do; `corpus/` keeps what it found worth keeping, and the test of this crate replays it on a stable toolchain.
#![forbid(unsafe_code)]

mod autoconf_packet;
mod ike_established;
mod ike_fragments;
mod ike_machine;
mod ike_message;
mod ike_protected;
mod ike_tcp;
mod packet_filter;
mod ppp_frame;
mod ppp_link;
mod radius;
mod sstp_call;
mod sstp_head;
mod sstp_stream;

pub use autoconf_packet::autoconf_packet;
pub use ike_established::ike_established;
pub use ike_fragments::ike_fragments;
pub use ike_machine::ike_machine;
pub use ike_message::ike_message;
pub use ike_protected::ike_protected;
pub use ike_tcp::ike_tcp;
pub use packet_filter::packet_filter;
pub use ppp_frame::ppp_frame;
pub use ppp_link::ppp_link;
pub use radius::radius_packet;
pub use sstp_call::sstp_call;
pub use sstp_head::sstp_head;
pub use sstp_stream::sstp_stream;

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; a target's corpus is the folder of its name.
pub const TARGETS: [Target; 16] = [
    ("autoconf_packet", autoconf_packet),
    ("certificate", certificate),
    ("eap_packet", eap_packet),
    ("ike_established", ike_established),
    ("ike_fragments", ike_fragments),
    ("ike_machine", ike_machine),
    ("ike_message", ike_message),
    ("ike_protected", ike_protected),
    ("ike_tcp", ike_tcp),
    ("packet_filter", packet_filter),
    ("ppp_frame", ppp_frame),
    ("ppp_link", ppp_link),
    ("radius_packet", radius_packet),
    ("sstp_call", sstp_call),
    ("sstp_head", sstp_head),
    ("sstp_stream", sstp_stream),
];

/// An EAP packet from a client or a RADIUS server: what parses comes out of `build` again.
pub fn eap_packet(data: &[u8]) {
    let Ok(packet) = eap::Packet::parse(data) else { return };
    let _ = format!("{packet:?}");
    assert!(packet.identity().is_none() || packet.nak().is_none());
    if let Some(method) = packet.method() {
        assert_eq!(eap::build(packet.code(), packet.identifier(), method, packet.data()), data);
    }
}

/// A client's certificate, as CERT carries it.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = pki::Certificate::from_der(data) else { return };
    assert_eq!(certificate.der, data);
    let _ = certificate.spki_sha1();
    assert!(!certificate.subject.chars().any(char::is_control), "control characters in a subject that is logged");
    let anchors = pki::TrustAnchors::new(vec![certificate.clone()]);
    let _ = anchors.verify(&certificate, std::slice::from_ref(&certificate), pki::Purpose::Client, None, 1_700_000_000);
}
