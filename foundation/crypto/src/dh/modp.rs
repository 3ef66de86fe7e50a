//! The MODP groups: RFC 2409 section 6.2 (1024 bits), RFC 3526 (2048, 3072, 4096 bits), all with generator 2.
//!
//! Exponentiation runs in constant time for its exponent; the exponent has at least twice the bits of the group's strength (RFC 3526
//! section 8).
use super::Group;
use crate::Random;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U512, U1024, U2048, U3072, U4096, Uint};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Room for the longest exponent, in bytes.
const EXPONENT_LEN: usize = 64;

type Params<const LIMBS: usize> = LazyLock<FixedMontyParams<LIMBS>>;

static MODP_1024: Params<{ U1024::LIMBS }> = LazyLock::new(|| params(P_1024));
static MODP_2048: Params<{ U2048::LIMBS }> = LazyLock::new(|| params(P_2048));
static MODP_3072: Params<{ U3072::LIMBS }> = LazyLock::new(|| params(P_3072));
static MODP_4096: Params<{ U4096::LIMBS }> = LazyLock::new(|| params(P_4096));

/// A private exponent of a MODP group.
pub(super) struct Exponent {
    group: Group,
    value: Zeroizing<[u8; EXPONENT_LEN]>,
}

impl Exponent {
    /// A fresh exponent of a MODP group, its top bit set so that it never degenerates to a short one.
    pub(super) fn generate(group: Group, random: &mut dyn Random) -> Self {
        let mut value = Zeroizing::new([0; EXPONENT_LEN]);
        let len = exponent_bits(group) / 8;
        let significant = &mut value[EXPONENT_LEN - len..];
        random.fill(significant);
        significant[0] |= 0x80;
        Self { group, value }
    }

    /// g^x, as long as the modulus.
    pub(super) fn public(&self) -> Vec<u8> {
        let mut two = vec![0; self.group.public_len()];
        two[self.group.public_len() - 1] = 2;
        // 2 is an element of every group.
        self.raise(&two).expect("the generator is usable").to_vec()
    }

    /// peer^x, as long as the modulus; `None` when `peer` is not within 2..=p-2 or has another length.
    pub(super) fn raise(&self, peer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let bits = exponent_bits(self.group) as u32;
        match self.group {
            Group::Modp1024 => power(&MODP_1024, peer, &self.value, bits),
            Group::Modp2048 => power(&MODP_2048, peer, &self.value, bits),
            Group::Modp3072 => power(&MODP_3072, peer, &self.value, bits),
            Group::Modp4096 => power(&MODP_4096, peer, &self.value, bits),
            Group::EcpP256 | Group::EcpP384 | Group::EcpP521 | Group::Curve25519 | Group::MlKem768 | Group::MlKem1024 => None,
        }
    }
}

/// Twice the strength estimated in RFC 3526 section 8 (1024 bits: about 80), rounded up.
fn exponent_bits(group: Group) -> usize {
    if group == Group::Modp1024 { 256 } else { 512 }
}

fn params<const LIMBS: usize>(modulus: &str) -> FixedMontyParams<LIMBS> {
    // The moduli below are odd constants; vartime concerns nothing secret.
    FixedMontyParams::new_vartime(Odd::new(Uint::from_be_hex(modulus)).expect("an odd modulus"))
}

fn power<const LIMBS: usize>(
    params: &FixedMontyParams<LIMBS>,
    base: &[u8],
    exponent: &[u8; EXPONENT_LEN],
    exponent_bits: u32,
) -> Option<Zeroizing<Vec<u8>>> {
    if base.len() != Uint::<LIMBS>::BYTES {
        return None;
    }
    let base = Uint::<LIMBS>::from_be_slice(base);
    let greatest = params.modulus().as_ref().wrapping_sub(&Uint::from_u8(2));
    if base < Uint::from_u8(2) || base > greatest {
        return None;
    }
    let exponent = Zeroizing::new(U512::from_be_slice(exponent));
    let result = Zeroizing::new(FixedMontyForm::new(&base, params).pow_bounded_exp(&exponent, exponent_bits));
    let result = Zeroizing::new(result.retrieve());
    Some(Zeroizing::new(result.to_be_bytes().as_ref().to_vec()))
}

/// RFC 2409 section 6.2.
const P_1024: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";
/// RFC 3526 section 3.
const P_2048: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AACAA68FFFFFFFFFFFFFFFF";
/// RFC 3526 section 4.
const P_3072: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
     ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
     BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF";
/// RFC 3526 section 5.
const P_4096: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
     EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
     83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
     15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
     ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
     BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
     88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
     287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
     93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRandom;
    use crate::hash::{HashAlgorithm, hash};
    use crate::testing::hex;

    /// The moduli are safe primes for which 2 generates the subgroup of order (p-1)/2: a wrong digit would break both equations.
    fn check_group<const LIMBS: usize>(params: &FixedMontyParams<LIMBS>) {
        let two = FixedMontyForm::new(&Uint::from_u8(2), params);
        let three = FixedMontyForm::new(&Uint::from_u8(3), params);
        let order = params.modulus().as_ref().wrapping_sub(&Uint::ONE);
        assert_eq!(three.pow_vartime(&order).retrieve(), Uint::ONE);
        assert_eq!(two.pow_vartime(&order.wrapping_shr_vartime(1)).retrieve(), Uint::ONE);
    }

    #[test]
    fn moduli_are_what_the_rfcs_say() {
        check_group(&MODP_1024);
        check_group(&MODP_2048);
        check_group(&MODP_3072);
        check_group(&MODP_4096);
        for text in [P_1024, P_2048, P_3072, P_4096] {
            // All begin with 64 one bits and the digits of pi, and end with 64 one bits.
            assert!(text.starts_with("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD1") && text.ends_with("FFFFFFFFFFFFFFFF"));
        }
    }

    /// Public value and shared secret (SHA-256 of each) computed with another big-integer implementation, from the exponent
    /// SHA-256(0) | SHA-256(1) and the peer's exponent SHA-512("peer").
    #[test]
    fn agrees_with_another_implementation() {
        let cases = [
            (
                Group::Modp1024,
                1,
                "27c37099c7d836ee4735d9cbb5a5f2b1503c7b372da8fc95e201f93f5e30de0e",
                "21a706ff1e1219c0b40ebe42796e710e5e558ad5db8d366740a003af1f897422",
            ),
            (
                Group::Modp2048,
                2,
                "f8f48c085dd0fe4e56dca0f8f0d07e8758ab1e89272a595e6ae11917972a7981",
                "18cb38950be37d972ab20583f54f94bee247e8933cb893f577e3aa01e7c4a6af",
            ),
            (
                Group::Modp3072,
                2,
                "74038e9a97526f47d30930b3e12e56ee54a0492a7298739429803ecd5cc24ffd",
                "6b14780ce754c5e60340f1aadd8831c303f79269c1fc80a1a5beadb7e161194e",
            ),
            (
                Group::Modp4096,
                2,
                "69ca8564205f8b742c1b64a58a6be76bf47c1fa57024f4eae82fad6c8ef82c9b",
                "5c34a40dc496b493173ef73482f99a92f1377015c058eaa1d8ffd2e85b14ab17",
            ),
        ];
        let sha256 = |data: &[u8]| hash(HashAlgorithm::Sha256, &[data]);
        let peer: [u8; 64] = hash(HashAlgorithm::Sha512, &[b"peer"]).try_into().unwrap();
        for (group, blocks, public, secret) in cases {
            let mut value = [0; 64];
            for index in 0..blocks {
                let at = 64 - 32 * (blocks - index);
                value[at..at + 32].copy_from_slice(&sha256(&[index as u8]));
            }
            let ours = Exponent { group, value: Zeroizing::new(value) };
            assert_eq!(sha256(&ours.public()), hex(public), "{group:?}");
            // The peer's exponent is longer than ours in group 2: raise it by hand.
            let theirs = match group {
                Group::Modp1024 => power(&MODP_1024, &Exponent::two(group), &peer, 512),
                _ => Exponent { group, value: Zeroizing::new(peer) }.raise(&Exponent::two(group)),
            };
            assert_eq!(sha256(&ours.raise(&theirs.unwrap()).unwrap()), hex(secret), "{group:?}");
        }
    }

    impl Exponent {
        fn two(group: Group) -> Vec<u8> {
            let mut two = vec![0; group.public_len()];
            *two.last_mut().unwrap() = 2;
            two
        }
    }

    #[test]
    fn exponents_are_long_and_differ() {
        let mut random = SeededRandom::new(5);
        for (group, len) in [(Group::Modp1024, 32), (Group::Modp2048, 64), (Group::Modp4096, 64)] {
            let (a, b) = (Exponent::generate(group, &mut random), Exponent::generate(group, &mut random));
            assert_ne!(*a.value, *b.value);
            assert!(a.value[..64 - len].iter().all(|b| *b == 0) && a.value[64 - len] >= 0x80);
        }
    }

    #[test]
    fn refuses_useless_values() {
        let groups = [(Group::Modp1024, P_1024), (Group::Modp2048, P_2048), (Group::Modp3072, P_3072), (Group::Modp4096, P_4096)];
        for (group, modulus) in groups {
            let ours = Exponent::generate(group, &mut SeededRandom::new(1));
            let p = hex(modulus);
            let around_p = |low: u8| [&p[..p.len() - 1], &[low]].concat();
            let small = |low: u8| [&vec![0; p.len() - 1][..], &[low]].concat();
            let useless = [
                small(0),
                small(1),
                around_p(0xfe),
                around_p(0xff),
                vec![0xff; p.len()],
                small(2)[1..].to_vec(),
                [&[0], &small(2)[..]].concat(),
                vec![],
            ];
            for value in useless {
                assert!(ours.raise(&value).is_none(), "{group:?} {value:?}");
            }
            assert!(ours.raise(&small(2)).is_some() && ours.raise(&around_p(0xfd)).is_some());
        }
    }
}
