//! The encrypted payloads: forged ones, authentic ones with arbitrary content, and fragments.
use crypto::cipher::{Encryption, Integrity, Opener, Sealer, Suite};
use ike::wire::{Exchange, Flags, Fragment, Header, OpenError, Opened, Payload, Payloads, Reassembly, Spi};
use ike::wire::{open_envelope, protect, protect_fragments, unprotect};

/// The first byte chooses the suite, the second the type of the first inner payload; the rest is what is opened, sealed and cut up.
pub fn ike_protected(data: &[u8]) {
    let [suite, first, rest @ ..] = data else { return };
    let (sealer, opener) = ciphers(*suite);
    forged(rest, &opener);
    enclosed(*first, rest, &sealer, &opener);
    fragmented(*first, rest, &sealer, &opener);
    reassembled(rest);
}

fn ciphers(choice: u8) -> (Sealer, Opener) {
    let suites = [
        Suite::new(Encryption::AesGcm256, None),
        Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha256_128)),
        Suite::new(Encryption::AesCbc128, Some(Integrity::HmacSha1_96)),
        Suite::new(Encryption::ChaCha20Poly1305, None),
    ];
    let suite = suites[usize::from(choice) % suites.len()].expect("a pair that fits");
    let (encryption, integrity) = (vec![1; suite.encryption_key_len()], vec![2; suite.integrity_key_len()]);
    let sealer = Sealer::new(suite, &encryption, &integrity).expect("keys of the suite's lengths");
    (sealer, Opener::new(suite, &encryption, &integrity).expect("keys of the suite's lengths"))
}

fn header() -> Header {
    Header::new(Spi(1), Spi(2), Exchange::IkeAuth, Flags { initiator: true, ..Flags::default() }, 1)
}

/// A datagram of somebody who has no key.
fn forged(datagram: &[u8], opener: &Opener) {
    let opened = unprotect(datagram, opener);
    assert!(matches!(opened, Err(OpenError::Unverified(_) | OpenError::NotProtected | OpenError::Forged)), "{opened:?}");
}

/// One payload of any type and content, authentic.
fn enclosed(kind: u8, body: &[u8], sealer: &Sealer, opener: &Opener) {
    if body.len() > 60_000 {
        return;
    }
    let payload = Payload::Unknown { kind, critical: false, data: body.to_vec() };
    let mut message = protect(&header(), &[payload], sealer, 1);
    let (first, inner) = open_envelope(&message, opener).expect("our own message is authentic");
    assert_eq!((first, &inner[4..]), (kind, body));
    let opened = unprotect(&message, opener);
    match Payloads::parse(first, &inner) {
        Ok(payloads) => assert_eq!(opened, Ok(Opened::Message(payloads))),
        Err(error) => assert_eq!(opened, Err(OpenError::Authentic(error))),
    }
    // Somewhere in the ciphertext or in the integrity check value, which are longer than this together.
    let damaged = message.len() - 1 - body.len() % 20;
    message[damaged] ^= 1;
    assert!(!matches!(unprotect(&message, opener), Ok(_) | Err(OpenError::Authentic(_))), "damage went unnoticed");
}

/// A chain that parses, cut into fragments and put together again.
fn fragmented(first: u8, chain: &[u8], sealer: &Sealer, opener: &Opener) {
    let Ok(payloads) = Payloads::parse(first, &chain[..chain.len().min(8192)]) else { return };
    let list: Vec<Payload> = payloads.iter().cloned().collect();
    let mut reassembly = Reassembly::default();
    let mut whole = None;
    let mut counter = 1;
    for datagram in protect_fragments(&header(), &list, sealer, &mut counter, chain.len() % 700).iter().rev() {
        assert!(datagram.len() <= 700);
        whole = match unprotect(datagram, opener).expect("our own message is authentic") {
            Opened::Message(payloads) => Some(payloads),
            Opened::Fragment(fragment) => reassembly.insert(fragment).expect("our own fragments fit"),
        };
    }
    let whole: Vec<Payload> = whole.expect("the last fragment completes").iter().cloned().collect();
    assert_eq!(whole.iter().map(Payload::kind).collect::<Vec<_>>(), list.iter().map(Payload::kind).collect::<Vec<_>>());
}

/// Fragments of an authenticated but hostile peer: every three bytes are one.
fn reassembled(script: &[u8]) {
    let mut reassembly = Reassembly::default();
    for step in script.as_chunks::<3>().0.iter().take(150) {
        let [number, total, len] = step.map(u16::from);
        let fragment = Fragment { number, total, first: step[2], data: vec![step[0]; usize::from(len) * 200] };
        let _ = reassembly.insert(fragment);
    }
}
