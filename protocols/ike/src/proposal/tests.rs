use super::*;
use crate::api::CipherPolicy;
use crate::wire::testing::windows;
use crate::wire::{Message, Spi, protocol};
use crypto::cipher::{Encryption, Integrity, Suite};
use crypto::dh::Group;
use crypto::prf::Prf;

fn suite(encryption: Encryption, integrity: Option<Integrity>) -> Suite {
    Suite::new(encryption, integrity).unwrap()
}

fn gcm256() -> Suite {
    suite(Encryption::AesGcm256, None)
}
fn gcm128() -> Suite {
    suite(Encryption::AesGcm128, None)
}
fn cbc256(integrity: Integrity) -> Suite {
    suite(Encryption::AesCbc256, Some(integrity))
}

fn baseline() -> CipherPolicy {
    let cbc128 = suite(Encryption::AesCbc128, Some(Integrity::HmacSha256_128));
    CipherPolicy {
        ike: vec![gcm256(), gcm128(), cbc256(Integrity::HmacSha384_192), cbc256(Integrity::HmacSha256_128), cbc128],
        prfs: vec![Prf::HmacSha384, Prf::HmacSha256],
        groups: vec![Group::EcpP384, Group::EcpP256, Group::Modp2048],
        esp: vec![gcm256(), gcm128(), cbc256(Integrity::HmacSha256_128)],
        pfs_groups: vec![Group::EcpP384, Group::EcpP256, Group::Modp2048],
        prefer_esn: false,
        additional: Vec::new(),
    }
}

/// `compat = "windows-default"`: what an unmanaged profile offers comes last.
fn compatible() -> CipherPolicy {
    let mut policy = baseline();
    policy.ike.push(cbc256(Integrity::HmacSha1_96));
    policy.prfs.push(Prf::HmacSha1);
    policy.groups.push(Group::Modp1024);
    policy.esp.push(cbc256(Integrity::HmacSha1_96));
    policy
}

fn offer_of(name: &str) -> (SaPayload, u16) {
    let message = Message::parse(&windows(name)).unwrap();
    (message.payloads.sa().unwrap().clone(), message.payloads.key_exchange().unwrap().group)
}

fn choose(policy: &CipherPolicy, name: &str) -> Result<(u8, String), Mismatch> {
    let (offered, ke_group) = offer_of(name);
    select_ike(policy, &offered, ke_group).map(|chosen| (chosen.number, chosen.to_string()))
}

#[test]
fn windows_proposals_are_chosen_by_our_order() {
    let chosen = |policy: &CipherPolicy, name| choose(policy, name).unwrap();
    let text = |number, text: &str| (number, text.to_string());
    assert_eq!(chosen(&baseline(), "reg2_modp2048"), text(3, "AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_2048"));
    assert_eq!(chosen(&baseline(), "aovpn_enhanced_gcm128"), text(1, "AES_GCM_16_128/PRF_HMAC_SHA2_256/MODP_2048"));
    assert_eq!(chosen(&baseline(), "aovpn_baseline"), text(1, "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"));
    let ecp384 = chosen(&baseline(), "custom_aes256_sha384_ecp384");
    assert_eq!(ecp384, text(1, "AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_384"));
    assert_eq!(chosen(&compatible(), "win10_default_frag"), text(12, "AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_1024"));
    let (number, best) = chosen(&compatible(), "win11_default");
    assert_eq!(best, "AES_GCM_16_256/PRF_HMAC_SHA2_384/MODP_1024");
    let (offered, _) = offer_of("win11_default");
    assert_eq!((offered.proposals.len(), offered.proposals[usize::from(number) - 1].number), (18, number));
    assert_eq!(offered.texts()[usize::from(number) - 1], best);
}

#[test]
fn a_windows_mismatch_says_what_to_change() {
    let mismatch = choose(&baseline(), "win10_default_frag").unwrap_err();
    assert_eq!(mismatch.offered.len(), 12);
    assert_eq!(mismatch.nearest, "#5 differs in DH: MODP_1024 offered, accepted: ECP_384, ECP_256, MODP_2048");
    let mut text = mismatch.to_string();
    assert!(text.starts_with("no common proposal; offered [3DES/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, 3DES/"), "{text}");
    text.drain(..text.find("accepted [").unwrap());
    assert!(text.starts_with("accepted [AES_GCM_16_256|AES_GCM_16_128|AES_CBC_256+HMAC_SHA2_384_192|"), "{text}");
    let group24 = choose(&baseline(), "custom_aes256_sha256_group24").unwrap_err();
    assert_eq!(group24.nearest, "#1 differs in DH: MODP_2048_256 offered, accepted: ECP_384, ECP_256, MODP_2048");
}

fn proposal(number: u8, protocol: u8, spi: &[u8], transforms: &[Transform]) -> Proposal {
    Proposal { number, protocol, spi: spi.to_vec(), transforms: transforms.to_vec() }
}

fn ike(transforms: &[Transform]) -> SaPayload {
    SaPayload { proposals: vec![proposal(1, protocol::IKE, &[], transforms)] }
}

fn gcm_with(extra: &[Transform]) -> SaPayload {
    let base = [Transform::encryption(Encryption::AesGcm256), Transform::prf(Prf::HmacSha256), Transform::group(Group::EcpP256)];
    ike(&[&base, extra].concat())
}

#[test]
fn ke_group_comes_before_the_best_suite() {
    let mut offered = gcm_with(&[Transform::group(Group::Modp2048), Transform::prf(Prf::HmacSha384)]);
    let cbc = [
        Transform::encryption(Encryption::AesCbc256),
        Transform::integrity(Integrity::HmacSha256_128),
        Transform::prf(Prf::HmacSha256),
        Transform::group(Group::EcpP384),
    ];
    offered.proposals.push(proposal(2, protocol::IKE, &[], &cbc));
    let chosen = |ke_group| select_ike(&baseline(), &offered, ke_group).unwrap().to_string();
    assert_eq!(chosen(Group::Modp2048.id()), "AES_GCM_16_256/PRF_HMAC_SHA2_384/MODP_2048");
    assert_eq!(chosen(Group::EcpP256.id()), "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_256");
    assert_eq!(chosen(Group::EcpP384.id()), "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_384");
    // A group that nobody has: our best, and the caller answers INVALID_KE_PAYLOAD.
    assert_eq!(chosen(31), "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_256");
}

#[test]
fn an_aead_goes_without_integrity_and_the_answer_repeats_none() {
    let none = Transform::new(transform::INTEG, 0);
    let sha = Transform::integrity(Integrity::HmacSha256_128);
    let integrity = |extra: &[Transform]| {
        let chosen = select_ike(&baseline(), &gcm_with(extra), Group::EcpP256.id()).ok()?;
        Some(chosen.reply(None).proposals[0].transforms.iter().filter(|t| t.kind == transform::INTEG).copied().collect::<Vec<_>>())
    };
    assert_eq!(integrity(&[]), Some(vec![]));
    assert_eq!(integrity(&[none]), Some(vec![none]));
    assert_eq!(integrity(&[none, sha]), Some(vec![none]));
    assert_eq!(integrity(&[sha]), None);
}

#[test]
fn a_mixed_proposal_is_answered_with_its_valid_half() {
    let offered = gcm_with(&[Transform::encryption(Encryption::AesCbc256), Transform::integrity(Integrity::HmacSha256_128)]);
    let chosen = select_ike(&baseline(), &offered, Group::EcpP256.id()).unwrap();
    assert_eq!(chosen.to_string(), "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256");
}

#[test]
fn what_must_not_be_chosen() {
    let refused = |offered: &SaPayload| select_ike(&baseline(), offered, Group::EcpP256.id()).unwrap_err().nearest;
    let mut offered = gcm_with(&[]);
    offered.proposals[0].transforms[0].key_bits = None;
    assert!(refused(&offered).starts_with("#1 differs in ENCR: AES_GCM_16 offered, accepted: AES_GCM_16_256, AES_GCM_16_128"));
    let mut offered = gcm_with(&[]);
    offered.proposals[0].transforms[1].unknown_attribute = true;
    assert!(refused(&offered).contains("PRF_HMAC_SHA2_256(unknown attribute) offered"));
    let kem = Transform::new(6, 36);
    assert_eq!(gcm_with(&[kem]).texts(), ["AES_GCM_16_256/PRF_HMAC_SHA2_256/ECP_256/ADDKE1=ML_KEM_768"]);
    assert_eq!(refused(&gcm_with(&[kem])), "#1 asks for ADDKE1, which is not supported");
    let mut offered = gcm_with(&[]);
    offered.proposals[0].protocol = protocol::AH;
    assert_eq!(refused(&offered), "#1 is for protocol 2, not 1");
    let mut offered = gcm_with(&[]);
    offered.proposals[0].spi = vec![0; 8];
    assert_eq!(refused(&offered), "#1 has an unusable SPI or ESN transform");
    assert_eq!(refused(&SaPayload { proposals: vec![] }), "nothing was offered");
    let cbc = [Transform::encryption(Encryption::AesCbc256), Transform::prf(Prf::HmacSha256), Transform::group(Group::EcpP256)];
    assert_eq!(refused(&ike(&cbc)), "#1 differs in INTEG: nothing offered, accepted: HMAC_SHA2_384_192, HMAC_SHA2_256_128");
}

#[test]
fn unknown_transforms_are_printed_by_number() {
    let offered = ike(&[Transform::new(transform::ENCR, 999), Transform::new(99, 3)]);
    assert_eq!(offered.texts(), ["ENCR 999/transform type 99 3"]);
}

#[test]
fn rekey_of_an_ike_sa_brings_an_spi() {
    let policy = baseline();
    let offered = offer_ike(&policy, Some(Spi(7)));
    let chosen = select_ike(&policy, &offered, Group::EcpP384.id()).unwrap();
    assert_eq!(chosen.spi, Some(Spi(7)));
    let reply = chosen.reply(Some(Spi(9)));
    assert_eq!(reply.proposals[0].spi, 9u64.to_be_bytes());
    assert_eq!(accept_ike(&offered, &reply).unwrap().spi, Some(Spi(9)));
}

const SPI: u32 = 0x0102_0304;

fn esp(number: u8, extra: &[Transform]) -> Proposal {
    let transforms = [&[Transform::encryption(Encryption::AesGcm256)], extra].concat();
    proposal(number, protocol::ESP, &(SPI + u32::from(number)).to_be_bytes(), &transforms)
}

fn dh(id: u16) -> Transform {
    Transform::new(transform::DH, id)
}

fn pick_esp(proposals: &[Proposal], ke_group: Option<u16>, rekey: bool) -> Option<(u8, Option<Group>, String)> {
    let offered = SaPayload { proposals: proposals.to_vec() };
    let chosen = select_esp(&baseline(), &offered, ke_group, rekey).ok()?;
    assert_eq!(chosen.spi, SPI + u32::from(chosen.number));
    Some((chosen.number, chosen.group, chosen.to_string()))
}

#[test]
fn esp_in_ike_auth_has_no_key_exchange() {
    let no_esn = Transform::esn(false);
    let text = |text: &str| Some((1, None, text.to_string()));
    assert_eq!(pick_esp(&[esp(1, &[no_esn])], None, false), text("AES_GCM_16_256/NO_ESN"));
    assert_eq!(pick_esp(&[esp(1, &[no_esn, dh(14)])], None, false), text("AES_GCM_16_256/NO_ESN"));
    assert_eq!(pick_esp(&[esp(1, &[no_esn, dh(0)])], None, false), text("AES_GCM_16_256/NONE/NO_ESN"));
    assert_eq!(pick_esp(&[esp(1, &[])], None, false), text("AES_GCM_16_256"));
}

#[test]
fn esp_rekey_with_and_without_pfs() {
    let no_esn = Transform::esn(false);
    let pick = |proposals: &[Proposal], ke| pick_esp(proposals, ke, true).map(|(number, group, _)| (number, group));
    let pfs = |group: u16| esp(1, &[no_esn, dh(group)]);
    assert_eq!(pick(&[pfs(14)], Some(14)), Some((1, Some(Group::Modp2048))));
    assert_eq!(pick(&[esp(1, &[no_esn])], None), Some((1, None)));
    assert_eq!(pick(&[esp(1, &[no_esn])], Some(14)), Some((1, None)));
    assert_eq!(pick(&[pfs(2)], Some(2)), None);
    // No KE although the proposal asks for one: the caller says INVALID_KE_PAYLOAD.
    assert_eq!(pick(&[pfs(14)], None), Some((1, Some(Group::Modp2048))));
    // iOS: {modp2048}, {none}.
    let ios = [pfs(14), esp(2, &[no_esn])];
    assert_eq!(pick(&ios, Some(14)), Some((1, Some(Group::Modp2048))));
    assert_eq!(pick(&ios, None), Some((2, None)));
    // A group that is not allowed, next to NONE: better no PFS than no rekey.
    assert_eq!(pick(&[esp(1, &[no_esn, dh(2), dh(0)])], Some(2)), Some((1, None)));
    // KE for a group we do not allow, another one offered that we do: INVALID_KE_PAYLOAD.
    assert_eq!(pick(&[esp(1, &[no_esn, dh(2), dh(19)])], Some(2)), Some((1, Some(Group::EcpP256))));
}

#[test]
fn esn_by_preference() {
    let both = SaPayload { proposals: vec![esp(1, &[Transform::esn(false), Transform::esn(true)])] };
    let only = SaPayload { proposals: vec![esp(1, &[Transform::esn(true)])] };
    let absent = SaPayload { proposals: vec![esp(1, &[])] };
    for prefer_esn in [false, true] {
        let policy = CipherPolicy { prefer_esn, ..baseline() };
        let esn = |offered| select_esp(&policy, offered, None, false).unwrap().suite.esn;
        assert_eq!((esn(&both), esn(&only), esn(&absent)), (prefer_esn, true, false));
    }
}

/// The stock GUI profile: AES and 3DES and DES and NULL, with SHA-1 alone.
#[test]
fn windows_esp_default() {
    let sha1 = [Transform::integrity(Integrity::HmacSha1_96), Transform::esn(false)];
    let encryptions = [
        Transform::encryption(Encryption::AesCbc256),
        Transform::encryption(Encryption::AesCbc128),
        Transform::new(transform::ENCR, 3),
        Transform::new(transform::ENCR, 2),
        Transform::new(transform::ENCR, 11),
    ];
    let proposals: Vec<_> = (1..)
        .zip(encryptions)
        .map(|(number, encryption)| proposal(number, protocol::ESP, &[1, 2, 3, number], &[&[encryption], &sha1[..]].concat()))
        .collect();
    let offered = SaPayload { proposals };
    let chosen = select_esp(&compatible(), &offered, None, false).unwrap();
    assert_eq!((chosen.number, chosen.spi, chosen.to_string().as_str()), (1, 0x0102_0301, "AES_CBC_256/HMAC_SHA1_96/NO_ESN"));
    let mismatch = select_esp(&baseline(), &offered, None, false).unwrap_err();
    assert_eq!(mismatch.nearest, "#1 differs in INTEG: HMAC_SHA1_96 offered, accepted: HMAC_SHA2_256_128");
    assert_eq!(mismatch.offered[4], "NULL/HMAC_SHA1_96/NO_ESN");
}

#[test]
fn offers_hold_exactly_the_policy() {
    let sa = offer_ike(&baseline(), None);
    let others = "PRF_HMAC_SHA2_384|PRF_HMAC_SHA2_256/ECP_384|ECP_256|MODP_2048";
    assert_eq!(
        sa.texts(),
        [
            format!("AES_GCM_16_256|AES_GCM_16_128/{others}"),
            format!("AES_CBC_256/HMAC_SHA2_384_192|HMAC_SHA2_256_128/{others}"),
            format!("AES_CBC_128/HMAC_SHA2_256_128/{others}"),
        ]
    );
    assert_eq!(sa.proposals.iter().map(|proposal| proposal.number).collect::<Vec<_>>(), [1, 2, 3]);
    let sa = offer_esp(&baseline(), SPI, &[Group::EcpP256]);
    assert_eq!(sa.texts(), ["AES_GCM_16_256|AES_GCM_16_128/ECP_256/NO_ESN|ESN", "AES_CBC_256/HMAC_SHA2_256_128/ECP_256/NO_ESN|ESN"]);
}

#[test]
fn our_offer_meets_our_choice() {
    let policy = baseline();
    let offered = offer_ike(&policy, None);
    let chosen = select_ike(&policy, &offered, Group::EcpP256.id()).unwrap();
    let accepted = accept_ike(&offered, &chosen.reply(None)).unwrap();
    assert_eq!((accepted.suite, accepted.number), (chosen.suite, chosen.number));
    for groups in [&[][..], &[Group::EcpP256]] {
        let offered = offer_esp(&policy, SPI, groups);
        let chosen = select_esp(&policy, &offered, groups.first().map(|group| group.id()), true).unwrap();
        let accepted = accept_esp(&offered, &chosen.reply(77)).unwrap();
        assert_eq!((accepted.suite, accepted.group, accepted.spi), (chosen.suite, groups.first().copied(), 77));
    }
}

#[test]
fn an_initiator_accepts_nothing_that_it_did_not_offer() {
    let policy = CipherPolicy { ike: vec![gcm256()], groups: vec![Group::EcpP256], prfs: vec![Prf::HmacSha256], ..baseline() };
    let offered = offer_ike(&policy, None);
    let good = select_ike(&policy, &offered, 19).unwrap().reply(None);
    assert!(accept_ike(&offered, &good).is_ok());
    let weaken: [fn(&mut SaPayload); 7] = [
        |sa| sa.proposals[0].transforms[0].key_bits = Some(128),
        |sa| sa.proposals[0].number = 2,
        |sa| sa.proposals.push(sa.proposals[0].clone()),
        |sa| sa.proposals.clear(),
        |sa| sa.proposals[0].transforms.push(Transform::prf(Prf::HmacSha1)),
        |sa| sa.proposals[0].transforms[2] = Transform::group(Group::Modp1024),
        |sa| sa.proposals[0].transforms.truncate(2),
    ];
    for (index, weaken) in weaken.iter().enumerate() {
        let mut answer = good.clone();
        weaken(&mut answer);
        assert!(accept_ike(&offered, &answer).is_err(), "{index}");
    }
    let offered = offer_esp(&policy, SPI, &[]);
    let mut answer = select_esp(&policy, &offered, None, false).unwrap().reply(5);
    assert!(accept_esp(&offered, &answer).is_ok());
    answer.proposals[0].transforms.push(Transform::group(Group::Modp1024));
    assert!(accept_esp(&offered, &answer).is_err());
}

fn parse(sa: &SaPayload) -> Result<SaPayload, &'static str> {
    let mut bytes = Vec::new();
    sa.write(&mut bytes);
    SaPayload::parse(crate::wire::Reader::new(&bytes, 33, 0)).map_err(|error| error.reason)
}

#[test]
fn offers_without_end_are_malformed() {
    let offer = |proposals: u8, transforms: u16| {
        let transforms: Vec<_> = (0..transforms).map(|id| Transform::new(transform::ENCR, id)).collect();
        SaPayload { proposals: (1..=proposals).map(|number| proposal(number, protocol::IKE, &[], &transforms)).collect() }
    };
    for good in [offer(64, 4), offer(1, 255), offer(2, 128)] {
        assert_eq!(parse(&good), Ok(good));
    }
    assert_eq!(parse(&offer(65, 1)), Err("more than 64 proposals"));
    assert_eq!(parse(&offer(2, 129)), Err("more than 256 transforms"));
    assert_eq!(parse(&offer(1, 0)), Err("proposal without transforms"));
}

#[test]
fn texts_of_many_proposals_are_cut() {
    let proposals = |count: u8| (1..=count).map(|number| proposal(number, protocol::IKE, &[], &[Transform::prf(Prf::HmacSha1)]));
    let texts = |count| SaPayload { proposals: proposals(count).collect() }.texts();
    assert!(texts(32).iter().all(|text| text == "PRF_HMAC_SHA1"));
    assert_eq!((texts(32).len(), texts(64).len()), (32, 33));
    assert_eq!(texts(64)[32], "and 32 more");
    let cause = |count| select_ike(&baseline(), &SaPayload { proposals: proposals(count).collect() }, 19).unwrap_err().to_string();
    assert_eq!(cause(20).matches("PRF_HMAC_SHA1,").count(), 19);
    assert!(!cause(20).contains("and more"));
    let cause = cause(64);
    assert_eq!(cause.matches("PRF_HMAC_SHA1,").count(), 20);
    assert!(cause.contains("PRF_HMAC_SHA1, and more]; accepted"), "{cause}");
}

/// Each parameter of the line is among what the cmdlet takes, and what it makes Windows offer is accepted.
#[test]
fn the_line_for_windows_fits_the_policy() {
    let line = |policy: &CipherPolicy| WindowsPolicy::of(policy).map(|policy| policy.to_string());
    assert_eq!(
        line(&baseline()).unwrap(),
        "-AuthenticationTransformConstants GCMAES256 -CipherTransformConstants GCMAES256 -EncryptionMethod GCMAES256 \
         -IntegrityCheckMethod SHA384 -DHGroup ECP384 -PfsGroup ECP384"
    );
    let mut policy = baseline();
    // The RRAS standard baseline; Windows has no SHA-512, no Curve25519, and no SHA-384 in ESP.
    policy.ike = vec![cbc256(Integrity::HmacSha512_256), suite(Encryption::AesCbc128, Some(Integrity::HmacSha256_128))];
    policy.prfs = vec![Prf::HmacSha512, Prf::HmacSha384, Prf::HmacSha256];
    policy.groups = vec![Group::Curve25519, Group::Modp2048];
    policy.esp = vec![cbc256(Integrity::HmacSha384_192), suite(Encryption::AesCbc128, Some(Integrity::HmacSha256_128))];
    policy.pfs_groups = vec![Group::Modp3072, Group::Modp2048];
    let shown = line(&policy).unwrap();
    assert!(
        shown.contains("-AuthenticationTransformConstants SHA256128 -CipherTransformConstants AES128 -EncryptionMethod AES128"),
        "{shown}"
    );
    assert!(shown.contains("-IntegrityCheckMethod SHA256 -DHGroup Group14 -PfsGroup PFS2048"), "{shown}");
    policy.pfs_groups = vec![Group::Curve25519];
    assert!(line(&policy).unwrap().contains("-PfsGroup None"));
    policy.groups = vec![Group::Curve25519];
    assert_eq!(line(&policy), None);
}

/// A client that offers several groups with a KE payload of its second choice is not sent back, in one proposal or in many.
#[test]
fn the_group_that_is_there_decides_first() {
    let of = |number, group: Group| {
        let encryption = [Encryption::AesGcm256, Encryption::AesGcm128].map(Transform::encryption);
        let others = [Transform::prf(Prf::HmacSha384), Transform::group(group)];
        proposal(number, protocol::IKE, &[], &[&encryption[..], &others].concat())
    };
    let groups = [Group::Modp4096, Group::Curve25519, Group::Modp3072, Group::Modp2048, Group::EcpP384];
    let many = SaPayload { proposals: (1..).zip(groups).map(|(number, group)| of(number, group)).collect() };
    for ke in [Group::Modp2048, Group::EcpP384] {
        let chosen = select_ike(&baseline(), &many, ke.id()).unwrap();
        assert_eq!((chosen.suite.group, chosen.suite.protection), (ke, gcm256()));
    }
    let chosen = select_ike(&baseline(), &many, Group::Curve25519.id()).unwrap();
    assert_eq!(chosen.suite.group, Group::EcpP384, "INVALID_KE_PAYLOAD with our first, where there is no other way");
}

/// RFC 9370 section 2.2.1: one method of each type that a proposal has, NONE where that is offered and nothing else fits.
#[test]
fn additional_key_exchanges() {
    let mut policy = baseline();
    policy.additional = vec![Group::MlKem1024, Group::MlKem768];
    let none = |kind| Transform::new(kind, 0);
    let kem = |kind, group: Group| Transform::new(kind, group.id());
    let offered = |more: &[Transform]| {
        let suite = [Transform::encryption(Encryption::AesGcm256), Transform::prf(Prf::HmacSha384), Transform::group(Group::EcpP384)];
        SaPayload { proposals: vec![proposal(1, protocol::IKE, &[], &[&suite[..], more].concat())] }
    };
    let (small, large) = (Group::MlKem768, Group::MlKem1024);
    let cases: [(&[Transform], Option<Option<Group>>); 9] = [
        (&[], Some(None)),
        (&[kem(6, small)], Some(Some(small))),
        (&[kem(6, small), kem(6, large)], Some(Some(large))),
        (&[Transform::new(6, 35)], None),
        (&[Transform::new(6, 35), none(6)], Some(None)),
        (&[Transform::new(6, 35), none(6), kem(7, small)], Some(Some(small))),
        (&[kem(6, small), kem(7, large)], None),
        (&[kem(6, small), kem(7, large), none(7)], Some(Some(small))),
        (&[Transform::new(13, 36)], None),
    ];
    for (more, expected) in cases {
        let offer = offered(more);
        let chosen = select_ike(&policy, &offer, 20).ok();
        assert_eq!(chosen.as_ref().map(|chosen| chosen.additional), expected, "{more:?}");
        let Some(chosen) = chosen else { continue };
        let answer = chosen.reply(None);
        assert_eq!(accept_ike(&offer, &answer).unwrap(), chosen, "and the initiator reads it so");
        let kinds: Vec<u8> = answer.proposals[0].transforms.iter().map(|it| it.kind).filter(|kind| (6..=12).contains(kind)).collect();
        let mut wanted: Vec<u8> = more.iter().map(|it| it.kind).collect();
        wanted.dedup();
        assert_eq!(kinds, wanted, "one of each type");
    }
    assert!(
        select_ike(&baseline(), &offered(&[kem(6, small)]), 20).unwrap_err().nearest.contains("ADDKE1"),
        "named where it is not allowed"
    );
}

/// Of an offer that demands the additional key exchange, no answer may leave it out.
#[test]
fn demanded_additional_key_exchanges() {
    let suite = [Transform::encryption(Encryption::AesGcm256), Transform::prf(Prf::HmacSha384), Transform::group(Group::EcpP384)];
    let plain = SaPayload { proposals: vec![proposal(1, protocol::IKE, &[], &suite)] };
    let answer = |more: &[Transform]| SaPayload { proposals: vec![proposal(1, protocol::IKE, &[], &[&suite[..], more].concat())] };
    let (with, none) = (answer(&[Transform::additional(Group::MlKem768)]), answer(&[Transform::new(6, 0)]));
    for (demanded, without) in [(true, false), (false, true)] {
        let offer = hybrid(plain.clone(), Some(Group::MlKem768), demanded);
        assert_eq!(accept_ike(&offer, &with).unwrap().additional, Some(Group::MlKem768));
        assert!(accept_ike(&offer, &answer(&[Transform::additional(Group::MlKem1024)])).is_err());
        assert_eq!(accept_ike(&offer, &none).is_ok(), without, "demanded: {demanded}");
        assert_eq!(accept_ike(&offer, &plain).is_ok(), without, "demanded: {demanded}");
    }
    assert_eq!(hybrid(plain.clone(), None, true), plain);
}
