//! ML-KEM (FIPS 203) as an IKEv2 key exchange: the initiator's public value is an encapsulation key, the responder's a ciphertext.
use super::Group;
use aws_lc_rs::kem::{Algorithm, AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768, ML_KEM_1024};
use zeroize::Zeroizing;

/// The library's algorithm; `None` for a Diffie-Hellman group.
pub(super) fn algorithm(group: Group) -> Option<&'static Algorithm<AlgorithmId>> {
    match group {
        Group::MlKem768 => Some(&ML_KEM_768),
        Group::MlKem1024 => Some(&ML_KEM_1024),
        _ => None,
    }
}

/// Length of the responder's public value.
pub(super) fn ciphertext_len(group: Group) -> usize {
    if group == Group::MlKem768 { 1088 } else { 1568 }
}

/// The initiator's half.
pub(super) fn generate(algorithm: &'static Algorithm<AlgorithmId>) -> (DecapsulationKey<AlgorithmId>, Vec<u8>) {
    // Only memory, or a generator of the library that is out of order, could fail here; no key is better than a bad one.
    let key = DecapsulationKey::generate(algorithm).expect("a decapsulation key");
    let public = key.encapsulation_key().and_then(|public| Ok(public.key_bytes()?.as_ref().to_vec())).expect("its public half");
    (key, public)
}

/// The initiator's half again: the shared secret in the responder's ciphertext. One that was tampered with gives another secret, not an error.
pub(super) fn decapsulate(key: &DecapsulationKey<AlgorithmId>, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    key.decapsulate(Ciphertext::from(ciphertext)).ok().map(|secret| Zeroizing::new(secret.as_ref().to_vec()))
}

/// The responder's half: ciphertext and shared secret. `None` when `public` is no encapsulation key.
pub(super) fn encapsulate(algorithm: &'static Algorithm<AlgorithmId>, public: &[u8]) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let key = EncapsulationKey::new(algorithm, public).ok()?;
    let (ciphertext, secret) = key.encapsulate().ok()?;
    Some((ciphertext.as_ref().to_vec(), Zeroizing::new(secret.as_ref().to_vec())))
}
