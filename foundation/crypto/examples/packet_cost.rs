//! Prints what sealing and opening one packet costs, in ns: `cargo run --release -p crypto --example packet_cost`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use crypto::cipher::{Encryption, Integrity, Opener, Sealer, Suite};
use crypto::dh::{Group, PrivateKey};
use crypto::{Random, SeededRandom, SystemRandom};
use std::time::Instant;

const ROUNDS: u32 = 40;
const PACKETS: u32 = 2000;

fn main() {
    let suites = [
        Suite::new(Encryption::AesGcm128, None),
        Suite::new(Encryption::AesGcm256, None),
        Suite::new(Encryption::ChaCha20Poly1305, None),
        Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha1_96)),
        Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha256_128)),
    ];
    for suite in suites.into_iter().flatten() {
        for len in [80, 1408] {
            let (seal, open) = packet_cost(suite, len);
            println!("{:?} {:?} {len} bytes: seal {seal} ns, open {open} ns", suite.encryption(), suite.integrity());
        }
    }
    for group in [Group::Modp2048, Group::EcpP256, Group::EcpP384, Group::Curve25519] {
        println!("{group:?}: key pair and agreement {} us", agreement_cost(group));
    }
}

/// Median over the rounds, in ns for one packet.
fn packet_cost(suite: Suite, len: usize) -> (u128, u128) {
    let mut random = SeededRandom::new(1);
    let mut bytes = |len| {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        bytes
    };
    let (encryption, integrity) = (bytes(suite.encryption_key_len()), bytes(suite.integrity_key_len()));
    let sealer = Sealer::new(suite, &encryption, &integrity).unwrap();
    let opener = Opener::new(suite, &encryption, &integrity).unwrap();
    let (mut iv, mut body, mut icv) = (bytes(suite.iv_len()), bytes(len), bytes(suite.icv_len()));
    let (mut seals, mut opens) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        for packet in 0..PACKETS {
            sealer.seal(u64::from(round * PACKETS + packet), &[0; 8], &mut iv, &mut body, &mut icv, &[]);
        }
        seals.push(start.elapsed().as_nanos() / u128::from(PACKETS));
        let (sealed, mut spent) = (body.clone(), 0);
        for _ in 0..PACKETS {
            body.copy_from_slice(&sealed);
            let start = Instant::now();
            opener.open(&[0; 8], &iv, &mut body, &icv, &[]).unwrap();
            spent += start.elapsed().as_nanos();
        }
        opens.push(spent / u128::from(PACKETS));
    }
    (median(seals), median(opens))
}

/// Median over the rounds, in us.
fn agreement_cost(group: Group) -> u128 {
    let peer = PrivateKey::generate(group, &mut SystemRandom).1;
    let costs = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        let (ours, _) = PrivateKey::generate(group, &mut SystemRandom);
        ours.agree(&peer).unwrap();
        start.elapsed().as_micros()
    });
    median(costs.collect())
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}
