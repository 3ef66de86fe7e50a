//! First messages as Windows sends them.
use super::{GATEWAY, Pair};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;
use ike::wire::{Exchange, KeyExchange, Message, Notify, Payload, notify, vendor};
use ike::{Event, Fault, Path, ResponderConfig};
use sim::{Script, ciphers, responder};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const MESSAGES: &str = include_str!("../../../../protocols/ike/src/wire/testdata/windows-sa-init.txt");

pub(super) fn message(name: &str) -> Vec<u8> {
    let line = MESSAGES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_else(|| panic!("no message {name}"));
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// What fits [`baseline`] best.
const LINE: &str = "; what a Windows profile needs: -AuthenticationTransformConstants GCMAES256 -CipherTransformConstants GCMAES256 -EncryptionMethod GCMAES256 -IntegrityCheckMethod SHA384 \
    -DHGroup ECP256 -PfsGroup None";

/// The recommended baseline: AES with SHA-2, no SHA-1, group 14 and better.
fn baseline() -> ResponderConfig {
    let mut config = responder();
    let cbc = |encryption| Suite::new(encryption, Some(Integrity::HmacSha256_128)).unwrap();
    let gcm = |encryption| Suite::new(encryption, None).unwrap();
    config.ciphers.ike =
        vec![gcm(Encryption::AesGcm256), gcm(Encryption::AesGcm128), cbc(Encryption::AesCbc256), cbc(Encryption::AesCbc128)];
    config.ciphers.prfs = vec![Prf::HmacSha384, Prf::HmacSha256];
    config.ciphers.groups = vec![Group::EcpP256, Group::Modp2048];
    config
}

fn answer(config: ResponderConfig, name: &str) -> (Pair, Message) {
    let mut pair = Pair::new(1, config);
    let local = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 4).into(), 500);
    pair.sim.inject(Path::between(local, SocketAddr::new(GATEWAY, 500)), message(name));
    pair.sim.run_for(Duration::from_secs(1));
    assert_eq!(pair.gateway().sent.len(), 1);
    let bytes = &pair.gateway().sent[0].1;
    assert!(bytes.len() <= 1280);
    let message = Message::parse(bytes).unwrap();
    (pair, message)
}

/// NegotiateDH2048_AES256 = 2 lists SHA-1 first; the baseline takes SHA-256 of the three, with the proposal's own number.
#[test]
fn the_best_of_a_weak_offer() {
    let (pair, message) = answer(baseline(), "reg2_modp2048");
    assert_eq!(pair.gateway().endpoint.sessions(), (1, 0));
    let proposal = &message.payloads.sa().unwrap().proposals[0];
    assert_eq!(proposal.number, 2);
    assert_eq!(message.payloads.key_exchange().unwrap().group, 14);
    assert!(message.payloads.notify(notify::IKEV2_FRAGMENTATION_SUPPORTED).is_some());
    assert!(message.payloads.notify(notify::SIGNATURE_HASH_ALGORITHMS).is_none(), "only for who sends it");
    assert_eq!(message.payloads.certificate_requests().flat_map(|it| it.hashes().collect::<Vec<_>>()).count(), 1);
}

#[test]
fn the_stock_profile_is_refused_with_words() {
    let (pair, message) = answer(baseline(), "win10_default_frag");
    assert_eq!(Script::notify(&message.payloads), Some(notify::NO_PROPOSAL_CHOSEN));
    let failure = pair.gateway().failure().unwrap();
    assert_eq!(failure.fault, Fault::PeerIncompatible);
    assert!(failure.cause.contains("MODP_1024") && failure.cause.contains("nearest"), "{}", failure.cause);
    assert!(failure.cause.contains(LINE), "{}", failure.cause);
    assert!(pair.gateway().events.iter().any(|(_, event)| matches!(event, Event::IkeProposals { offered, .. } if offered.len() == 12)));
}

#[test]
fn the_usual_custom_policies_are_accepted() {
    for name in ["reg2_no_vic", "aovpn_baseline", "aovpn_enhanced_gcm128"] {
        let (pair, message) = answer(baseline(), name);
        assert_eq!(pair.gateway().endpoint.sessions(), (1, 0), "{name}");
        assert_eq!(message.payloads.sa().unwrap().proposals.len(), 1, "{name}");
    }
}

/// Group 24 is one that the gateway does not have: the record names it.
#[test]
fn an_unknown_group_is_named() {
    let (pair, _) = answer(baseline(), "custom_aes256_sha256_group24");
    let cause = pair.gateway().failure().unwrap().cause;
    assert!(cause.contains("#1 differs in DH: MODP_2048_256 offered"), "{cause}");
}

/// `compat = "windows-default"`: SHA-1 and group 2 behind everything better.
fn compatible() -> ResponderConfig {
    let mut config = baseline();
    config.ciphers.ike.push(Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)).unwrap());
    config.ciphers.prfs.push(Prf::HmacSha1);
    config.ciphers.groups.push(Group::Modp1024);
    config
}

/// Every first message of Windows: what is chosen of it, by its own number, or that nothing is.
#[test]
fn all_first_messages() {
    let cases = [
        ("reg2_modp2048", Some(2), Some(2)),
        ("reg2_no_vic", Some(2), Some(2)),
        ("win10_pre1803_default", None, Some(11)),
        ("win10_default_frag", None, Some(11)),
        ("win11_default", None, Some(18)),
        ("aovpn_baseline", Some(1), Some(1)),
        ("aovpn_enhanced_gcm128", Some(1), Some(1)),
        ("custom_aes256_sha384_ecp384", None, None),
        ("custom_aes256_sha256_group24", None, None),
    ];
    let chosen = |config, name| {
        let (pair, message) = answer(config, name);
        assert!(message.payloads.notify(notify::INVALID_KE_PAYLOAD).is_none(), "{name}: Windows may not come again");
        let refused = Script::notify(&message.payloads) == Some(notify::NO_PROPOSAL_CHOSEN);
        assert_eq!(
            refused,
            pair.gateway().failure().is_some_and(|failure| failure.cause.contains("what a Windows profile needs: -")),
            "{name}"
        );
        message.payloads.sa().map(|sa| sa.proposals[0].number)
    };
    for (name, strict, lenient) in cases {
        assert_eq!(chosen(baseline(), name), strict, "{name}");
        assert_eq!(chosen(compatible(), name), lenient, "{name} with compat");
    }
}

/// What does not fit later on is explained as well: the first Child SA, and its rekey after 57 min.
#[test]
fn child_suites_that_do_not_fit_are_explained() {
    let mut pair = Pair::new(1, responder());
    let from = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 5).into(), 500);
    let windows = Payload::Vendor(vendor::MS_NT5_V9.to_vec());
    let mut script = Script::new(pair.gateway, from, SocketAddr::new(GATEWAY, 500), ciphers());
    script.extra.push(windows.clone());
    script.init(&mut pair.sim);
    let good = script.ciphers.clone();
    script.ciphers.esp = vec![Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)).unwrap()];
    let wishes = script.wishes();
    script.eap_with(&mut pair.sim, &wishes);
    let cause = pair.gateway().failure().unwrap().cause;
    assert!(cause.contains("HMAC_SHA1_96") && cause.ends_with("; Windows can do none of what this gateway accepts"), "{cause}");

    let mut config = responder();
    config.ciphers.groups.push(Group::Modp2048);
    let mut pair = Pair::new(1, config);
    let mut script = Script::new(pair.gateway, from, SocketAddr::new(GATEWAY, 500), good);
    script.extra.push(windows);
    script.login(&mut pair.sim);
    let any = || vec![ike::TrafficSelector::any_ipv4(), ike::TrafficSelector::any_ipv6()];
    let rekey = [
        Payload::Notify(Notify::esp(notify::REKEY_SA, script.spi_in)),
        Payload::Sa(script.esp(0x1000_0002, &[Group::Modp2048])),
        Payload::Nonce(vec![3; 48]),
        Payload::TsInitiator(any()),
        Payload::TsResponder(any()),
        Payload::KeyExchange(KeyExchange { group: 14, public: vec![4; 256] }),
    ];
    let answer = script.exchange(&mut pair.sim, Exchange::CreateChildSa, &rekey);
    assert_eq!(Script::notify(&answer), Some(notify::NO_PROPOSAL_CHOSEN));
    let notes = pair.gateway().notes();
    assert!(notes.contains("differs in DH: MODP_2048 offered") && notes.contains("-DHGroup Group14 -PfsGroup None"), "{notes}");
}
