//! Unprotected IKE messages: the parser, and every pure function that the state machine calls with what an unauthenticated peer sent.
use crypto::SeededRandom;
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::cookie::CookieSecrets;
use ike::proposal::{SaPayload, accept_esp, accept_ike, select_esp, select_ike};
use ike::wire::{Message, Payload, Payloads, encode, identity_text, vendor};
use ike::{CipherPolicy, Path, TrafficSelector, auth, nat, selector};
use std::net::{IpAddr, Ipv4Addr};

/// Longer messages grow beyond a payload's 65,535 bytes when they are written again (an IPv6 attribute without prefix length gets one).
const MAX: usize = 16384;

/// A datagram on port 500.
pub fn ike_message(data: &[u8]) {
    let Ok(message) = Message::parse(&data[..data.len().min(MAX)]) else { return };
    let payloads: Vec<Payload> = message.payloads.iter().cloned().collect();
    let written = encode(&message.header, &payloads);
    if !message.protected {
        let again = Message::parse(&written).expect("what we write we can read");
        let payloads: Vec<Payload> = again.payloads.iter().cloned().collect();
        assert_eq!(encode(&again.header, &payloads), written, "and it says the same");
    }
    proposals(&message.payloads);
    others(&message);
}

pub(crate) fn policy() -> CipherPolicy {
    let suite = |encryption, integrity| Suite::new(encryption, integrity);
    let suites = [
        suite(Encryption::AesGcm256, None),
        suite(Encryption::AesGcm128, None),
        suite(Encryption::AesCbc256, Some(Integrity::HmacSha256_128)),
        suite(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)),
    ];
    let suites: Vec<Suite> = suites.into_iter().flatten().collect();
    let groups = vec![Group::EcpP384, Group::EcpP256, Group::Modp2048, Group::Modp1024];
    CipherPolicy {
        ike: suites.clone(),
        prfs: vec![Prf::HmacSha384, Prf::HmacSha256, Prf::HmacSha1],
        groups: groups.clone(),
        esp: suites,
        pfs_groups: groups,
        prefer_esn: true,
        ..CipherPolicy::default()
    }
}

fn proposals(payloads: &Payloads) {
    let Some(offered) = payloads.sa() else { return };
    let (policy, ke_group) = (policy(), payloads.key_exchange().map(|ke| ke.group));
    assert_eq!(offered.texts().len(), offered.proposals.len());
    match select_ike(&policy, offered, ke_group.unwrap_or(0)) {
        Err(mismatch) => assert!(!mismatch.to_string().is_empty()),
        Ok(chosen) => {
            let suite = chosen.suite;
            assert!(policy.ike.contains(&suite.protection) && policy.prfs.contains(&suite.prf) && policy.groups.contains(&suite.group));
            is_one_of(offered, &chosen.reply(None));
            // Numbers may occur twice in a hostile offer, where an initiator cannot tell which was meant.
            if numbers_are_unique(offered) {
                assert_eq!(accept_ike(offered, &chosen.reply(None)).map(|accepted| accepted.suite), Ok(suite));
            }
        }
    }
    for rekey in [false, true] {
        let Ok(chosen) = select_esp(&policy, offered, ke_group, rekey) else { continue };
        assert!(policy.esp.contains(&chosen.suite.protection) && chosen.spi != 0);
        assert!(chosen.group.is_none_or(|group| rekey && policy.pfs_groups.contains(&group)));
        is_one_of(offered, &chosen.reply(1));
        if rekey && numbers_are_unique(offered) {
            assert_eq!(accept_esp(offered, &chosen.reply(1)).map(|accepted| accepted.suite), Ok(chosen.suite));
        }
    }
}

/// The answer repeats transforms of one offered proposal and adds nothing.
fn is_one_of(offered: &SaPayload, answer: &SaPayload) {
    let answer = &answer.proposals[0];
    assert!(offered.proposals.iter().any(|proposal| {
        let repeats = answer.transforms.iter().all(|transform| proposal.transforms.contains(transform));
        proposal.number == answer.number && proposal.protocol == answer.protocol && repeats
    }));
}

fn numbers_are_unique(offered: &SaPayload) -> bool {
    let mut numbers: Vec<u8> = offered.proposals.iter().map(|proposal| proposal.number).collect();
    numbers.sort_unstable();
    numbers.is_sorted_by(|a, b| a < b)
}

fn others(message: &Message) {
    let (payloads, header) = (&message.payloads, message.header);
    let leased = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
    if let Some(offered) = payloads.ts_initiator() {
        let narrowed = selector::narrow_to_hosts(offered, &[leased]);
        assert!(narrowed.iter().all(|selector| (selector.start, selector.end) == (leased, leased)));
    }
    if let Some(offered) = payloads.ts_responder() {
        let allowed = [TrafficSelector::network(leased, 8), TrafficSelector::any_ipv6()];
        let narrowed = selector::narrow_to_allowed(offered, &allowed);
        assert!(narrowed.iter().all(|selector| allowed.iter().any(|allowed| allowed.contains(selector))));
    }
    let path = Path::between((leased, 500).into(), (leased, 501).into());
    let _ = nat::detect(payloads, header.initiator_spi, header.responder_spi, path);
    for id in [payloads.id_initiator(), payloads.id_responder()].into_iter().flatten() {
        assert!(!identity_text(&id.identity, None).chars().any(char::is_control), "control characters in a text that is logged");
    }
    let _ = payloads.configuration().map(|configuration| (configuration.address_request(), configuration.addresses()));
    let _ = payloads.vendor_ids().filter_map(vendor::name).count();
    let cookies = CookieSecrets::new(&mut SeededRandom::new(1));
    for notify in payloads.notifies() {
        let _ = (notify.win32_code(), notify.esp_spi(), auth::signature_hashes(notify));
        assert!(
            !cookies.verify(&notify.data, payloads.nonce().unwrap_or_default(), leased, header.initiator_spi),
            "a cookie out of nothing"
        );
    }
    if let Some(sent) = payloads.auth() {
        assert!(auth::verify_auth(sent, P256_SPKI, b"octets").is_err(), "a signature out of nothing");
        assert!(auth::verify_eap_auth(sent, Prf::HmacSha256, b"msk", b"sk_p", b"octets").is_err(), "a MAC out of nothing");
    }
}

/// DER SubjectPublicKeyInfo of a key whose private half is nowhere.
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00, 0x04, 0x23, 0xdc, 0x5d, 0x3c, 0x15, 0x75, 0x49, 0x35, 0xd0, 0xe5, 0x10, 0x37, 0xc0, 0xf4, 0x42, 0x3d, 0x12,
    0xb4, 0x29, 0x42, 0x84, 0xf2, 0xa4, 0xce, 0xea, 0xf6, 0x26, 0x7a, 0xb2, 0xe4, 0x0e, 0x90, 0x27, 0x2b, 0x26, 0x5c, 0xb7, 0x4e, 0x8f,
    0x23, 0x4d, 0x9c, 0x3e, 0x51, 0xb7, 0xbb, 0x35, 0x8b, 0x17, 0xbe, 0x95, 0x3a, 0x48, 0x6e, 0x06, 0xe2, 0xc2, 0x59, 0xc8, 0x75, 0xf9,
    0xb7, 0x77, 0x98,
];
