use super::*;
use crate::SeededRandom;
use crate::testing::hex;

struct Vector {
    group: Group,
    initiator: &'static str,
    initiator_public: &'static str,
    responder: &'static str,
    responder_public: &'static str,
    secret: &'static str,
}

/// RFC 5903 sections 8.1 to 8.3, RFC 7748 section 6.1.
const VECTORS: [Vector; 4] = [
    Vector {
        group: Group::EcpP256,
        initiator: "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        initiator_public: "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
                           5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        responder: "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        responder_public: "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
                           56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        secret: "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    },
    Vector {
        group: Group::EcpP384,
        initiator: "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655
                    E35B538041E649EE3FAEF896783AB194",
        initiator_public: "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6
                           DE3AC808ACB4BDB4C88732AEE95F41AA
                           9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38E
                           EB9FCFF3C2C947DAE69B4C634573A81C",
        responder: "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942
                    E0308312916B8ED2960E4BD55A7448FC",
        responder_public: "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D
                           0D1AC43A0336DEF96FDA41D0774A3571
                           DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FF
                           F83FA40142209DFF5EAAD96DB9E6386C",
        secret: "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4
                 D603135569B9E9D09CF5D4A270F59746",
    },
    Vector {
        group: Group::EcpP521,
        initiator: "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A0
                    95AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D
                    4A52",
        initiator_public: "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBE
                           E1E3BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176C
                           ED3E
                           017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10A
                           D8A788015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F
                           9582",
        responder: "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E
                    9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB15168
                    5EB9",
        responder_public: "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A21
                           9B97C356436ADC6E95BB0352F6BE64A6C2912D4EF2D0433CED2B6171640012D9
                           460F
                           015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87
                           220B6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0F
                           C56A",
        secret: "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04
                 D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3
                 DDEA",
    },
    Vector {
        group: Group::Curve25519,
        initiator: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        initiator_public: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        responder: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        responder_public: "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        secret: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    },
];

fn key(group: Group, scalar: &str) -> (PrivateKey, Vec<u8>) {
    let key = agreement::PrivateKey::from_private_key(group.curve().unwrap(), &hex(scalar)).unwrap();
    PrivateKey::from_curve_key(group, key)
}

#[test]
fn published_vectors() {
    for vector in VECTORS {
        let (ours, our_public) = key(vector.group, vector.initiator);
        let (theirs, their_public) = key(vector.group, vector.responder);
        assert_eq!(our_public, hex(vector.initiator_public), "{:?}", vector.group);
        assert_eq!(their_public, hex(vector.responder_public), "{:?}", vector.group);
        assert_eq!(*ours.agree(&their_public).unwrap(), hex(vector.secret), "{:?}", vector.group);
        assert_eq!(*theirs.agree(&our_public).unwrap(), hex(vector.secret), "{:?}", vector.group);
    }
}

#[test]
fn both_sides_agree_in_every_group() {
    let mut random = SeededRandom::new(3);
    for group in Group::ALL.into_iter().filter(|group| !group.is_kem()) {
        let (ours, our_public) = PrivateKey::generate(group, &mut random);
        let (theirs, their_public) = PrivateKey::generate(group, &mut random);
        assert_eq!(our_public.len(), group.public_len());
        assert_ne!(our_public, their_public);
        assert_eq!(ours.group(), group);
        let secret = ours.agree(&their_public).unwrap();
        assert_eq!(secret, theirs.agree(&our_public).unwrap(), "{group:?}");
        let secret_len = if group.point_prefix().is_empty() { group.public_len() } else { group.public_len() / 2 };
        assert_eq!(secret.len(), secret_len, "{group:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_pair() {
    for group in Group::ALL.into_iter().filter(|group| !group.is_kem()) {
        let public = |seed| PrivateKey::generate(group, &mut SeededRandom::new(seed)).1;
        assert_eq!(public(1), public(1));
        assert_ne!(public(1), public(2));
    }
}

#[test]
fn numbers_of_the_groups() {
    for group in Group::ALL.into_iter().filter(|group| !group.is_kem()) {
        assert_eq!(Group::from_id(group.id()), Some(group));
    }
    assert_eq!(Group::from_id(19), Some(Group::EcpP256));
    for id in [0, 1, 5, 17, 22, 24, 32, u16::MAX] {
        assert_eq!(Group::from_id(id), None);
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for vector in &VECTORS[..3] {
        let refused = Err(BadPublicValue(vector.group));
        let public = hex(vector.responder_public);
        let half = public.len() / 2;
        let mut off_curve = public.clone();
        off_curve[public.len() - 1] ^= 1;
        let swapped = [&public[half..], &public[..half]].concat();
        let beyond_field = [&vec![0xff; half], &public[half..]].concat();
        // A compressed point, or one with its prefix, must not slip through either.
        let compressed = [&[2], &public[..half]].concat();
        let prefixed = [&[4], &public[..]].concat();
        let shorter = public[1..].to_vec();
        for bad in [off_curve, swapped, beyond_field, vec![0; public.len()], compressed, prefixed, shorter, vec![]] {
            assert_eq!(key(vector.group, vector.initiator).0.agree(&bad), refused, "{bad:02x?}");
        }
    }
}

/// RFC 7748 section 6.1: an all-zero result means a point of low order.
#[test]
fn low_order_points_are_refused() {
    let low_order = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in low_order {
        let (ours, _) = key(Group::Curve25519, VECTORS[3].initiator);
        assert_eq!(ours.agree(&hex(point)), Err(BadPublicValue(Group::Curve25519)), "{point}");
    }
    let (ours, _) = key(Group::Curve25519, VECTORS[3].initiator);
    assert_eq!(ours.agree(&[9; 31]), Err(BadPublicValue(Group::Curve25519)));
}

/// A generator that stands still at zero.
struct Stuck;

impl Random for Stuck {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

#[test]
#[should_panic(expected = "no usable scalar")]
fn a_stuck_generator_yields_no_key() {
    PrivateKey::generate(Group::EcpP256, &mut Stuck);
}

#[test]
fn debug_shows_no_secret() {
    let (ours, _) = key(Group::EcpP256, VECTORS[0].initiator);
    assert_eq!(format!("{ours:?}"), "PrivateKey { group: EcpP256, .. }");
}

#[test]
fn ml_kem_agrees_and_lengths_are_those_of_fips_203() {
    let mut random = SeededRandom::new(1);
    for (group, id, key, ciphertext) in [(Group::MlKem768, 36, 1184, 1088), (Group::MlKem1024, 37, 1568, 1568)] {
        assert!(group.is_kem() && group.id() == id && Group::from_id(id) == Some(group));
        let (private, public) = PrivateKey::generate(group, &mut random);
        assert_eq!((public.len(), group.public_len()), (key, key));
        let (answer, secret) = respond(group, &public, &mut random).unwrap();
        assert_eq!((answer.len(), secret.len()), (ciphertext, 32));
        assert_eq!(private.agree(&answer).unwrap(), secret);
        assert_eq!(respond(group, &public[1..], &mut random).unwrap_err(), BadPublicValue(group));
        // Coefficients above the modulus: FIPS 203 section 7.2 has them refused.
        assert_eq!(respond(group, &vec![0xff; key], &mut random).unwrap_err(), BadPublicValue(group));
        let (private, public) = PrivateKey::generate(group, &mut random);
        let (mut answer, secret) = respond(group, &public, &mut random).unwrap();
        answer[5] ^= 1;
        assert_ne!(private.agree(&answer).unwrap(), secret, "implicit rejection");
        assert_eq!(PrivateKey::generate(group, &mut random).0.agree(&answer[1..]).unwrap_err(), BadPublicValue(group));
    }
}

#[test]
fn respond_is_generate_and_agree() {
    for group in [Group::EcpP256, Group::Curve25519, Group::Modp2048] {
        let (private, public) = PrivateKey::generate(group, &mut SeededRandom::new(1));
        let (answer, secret) = respond(group, &public, &mut SeededRandom::new(2)).unwrap();
        assert_eq!(private.agree(&answer).unwrap(), secret);
        assert!(!group.is_kem());
    }
}
