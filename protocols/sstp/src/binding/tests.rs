use super::*;
use crate::message::Message;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

struct Vector {
    hash: BindingHash,
    hlak: [u8; 32],
    nonce: [u8; 32],
    certificate_hash: Vec<u8>,
    cmk: Vec<u8>,
    cmac: Vec<u8>,
}

/// [MS-SSTP] 4.7.
fn vectors() -> [Vector; 2] {
    [
        Vector {
            hash: BindingHash::Sha256,
            hlak: hex("2a1bb40d55ab0f5ef32f06f2b3cc73c48fd3fac41d7a1315a19228d9024ca164"),
            nonce: hex("412b489aebd7ecc7d08966f26be7cd72b231a0e9210d7c91b308862b0344c435"),
            certificate_hash: hex::<32>("7993ef314c493dace9f02d60e7e61c84b6690aafe9d7aeea92cbbe8ad599422d").to_vec(),
            cmk: hex::<32>("ecf59ac9fe155cf0a9e7d66adc1b363c1ad7ba91a9217f0cec2a534298828df6").to_vec(),
            cmac: hex::<32>("52a68efd8cffbf52770b8f0fe8ec73716583af6d611eb6d179b3b20840985449").to_vec(),
        },
        Vector {
            hash: BindingHash::Sha1,
            hlak: hex("4b3128f43925d9006eefb1c4e86515a1d88e56bab3ca2bdf0373b7f5a8a13b19"),
            nonce: hex("0f1a2d58d4a3e3000fad3ce4906e07b707aa9e441cceac5cbd7b2cc1c9d86cdf"),
            certificate_hash: hex::<20>("5826b629bda59b8e6fd8dcd2622fd34c534805a5").to_vec(),
            cmk: hex::<20>("a98b862a38cc7e224b42cd128586acb22f0bd1e9").to_vec(),
            cmac: hex::<20>("69915dd583d8062fef16f61db2f03290ec27cb6c").to_vec(),
        },
    ]
}

impl Vector {
    fn request(&self) -> BindingRequest {
        BindingRequest { sha1: true, sha256: true, nonce: self.nonce }
    }

    fn certificates(&self) -> Vec<CertificateHashes> {
        let mut hashes = CertificateHashes { sha1: [0x11; 20], sha256: [0x22; 32] };
        match self.hash {
            BindingHash::Sha1 => hashes.sha1.copy_from_slice(&self.certificate_hash),
            BindingHash::Sha256 => hashes.sha256.copy_from_slice(&self.certificate_hash),
        }
        vec![CertificateHashes { sha1: [0x33; 20], sha256: [0x44; 32] }, hashes]
    }

    fn keys(&self) -> InnerKeys {
        InnerKeys::Hlak(Zeroizing::new(self.hlak))
    }

    fn connected(&self) -> CallConnected {
        CallConnected::unsigned(self.hash, &self.nonce, &self.certificate_hash).signed(&self.cmac)
    }

    fn judge(&self, connected: &CallConnected) -> Result<BindingHash, Mismatch> {
        verify(&self.request(), &self.certificates(), &self.keys(), connected)
    }

    /// The message with one byte of the packet changed, signed again or not.
    fn with(&self, at: usize, byte: u8, sign: bool) -> CallConnected {
        let mut bytes = *self.connected().as_bytes();
        bytes[at] = byte;
        let Ok(Message::CallConnected(changed)) = Message::parse(&bytes) else { panic!("byte {at} does not parse") };
        if sign { changed.clone().signed(&compound_mac(&self.hlak, &changed)) } else { *changed }
    }
}

#[test]
fn published_vectors() {
    for vector in vectors() {
        assert_eq!(*compound_mac_key(&vector.hlak, vector.hash), vector.cmk);
        let unsigned = CallConnected::unsigned(vector.hash, &vector.nonce, &vector.certificate_hash);
        assert_eq!(*compound_mac(&vector.hlak, &unsigned), vector.cmac);
        assert_eq!(vector.judge(&vector.connected()), Ok(vector.hash));
    }
}

#[test]
fn every_bit_counts_but_padding_of_sha1_mac() {
    for vector in vectors() {
        let good = *vector.connected().as_bytes();
        for (at, byte) in good.into_iter().enumerate().skip(16) {
            let changed = vector.with(at, byte ^ 0x40, false);
            let padding = vector.hash == BindingHash::Sha1 && at >= 100;
            let judged = vector.judge(&changed);
            assert_eq!(judged.is_ok(), padding, "{:?} byte {at}: {judged:?}", vector.hash);
        }
    }
}

#[test]
fn reserved_bits_are_covered_as_sent() {
    for vector in vectors() {
        // Reserved bits of packet and attribute, R bits, reserved bytes.
        for at in [1, 2, 8, 10, 12, 13, 14] {
            let good = vector.connected().as_bytes()[at];
            assert_eq!(vector.judge(&vector.with(at, good ^ 0xf0, true)), Ok(vector.hash), "byte {at} signed");
            assert_eq!(vector.judge(&vector.with(at, good ^ 0xf0, false)), Err(Mismatch::Mac), "byte {at} changed on the way");
        }
    }
    let [_, sha1] = vectors();
    assert_eq!(sha1.judge(&sha1.with(70, 0xff, true)), Ok(BindingHash::Sha1), "padding of the certificate hash, as received");
}

#[test]
fn hash_must_have_been_offered() {
    let [sha256, sha1] = vectors();
    let only = |vector: &Vector, sha1, sha256| {
        let offered = BindingRequest { sha1, sha256, ..vector.request() };
        verify(&offered, &vector.certificates(), &vector.keys(), &vector.connected())
    };
    assert_eq!(only(&sha1, false, true), Err(Mismatch::HashNotOffered));
    assert_eq!(only(&sha256, true, false), Err(Mismatch::HashNotOffered));
    assert_eq!(only(&sha256, false, true), Ok(BindingHash::Sha256));
}

#[test]
fn sha256_byte_with_sha1_lengths() {
    let [_, sha1] = vectors();
    let claimed = CallConnected::unsigned(BindingHash::Sha256, &sha1.nonce, &sha1.certificate_hash).signed(&sha1.cmac);
    assert_eq!(sha1.judge(&claimed), Err(Mismatch::Certificate));
    let mut certificates = sha1.certificates();
    certificates[0].sha256[..20].copy_from_slice(&sha1.certificate_hash);
    certificates[0].sha256[20..].fill(0);
    assert_eq!(verify(&sha1.request(), &certificates, &sha1.keys(), &claimed), Err(Mismatch::Mac), "nor is a short MAC enough");
}

#[test]
fn nonce_certificate_and_keys_of_others() {
    for vector in vectors() {
        let mut other = vector.request();
        other.nonce[31] ^= 1;
        let connected = vector.connected();
        let (certificates, keys) = (vector.certificates(), vector.keys());
        assert_eq!(verify(&other, &certificates, &keys, &connected), Err(Mismatch::Nonce));
        assert_eq!(verify(&vector.request(), &certificates[..1], &keys, &connected), Err(Mismatch::Certificate));
        assert_eq!(verify(&vector.request(), &[], &keys, &connected), Err(Mismatch::Certificate));
        let mut swapped = vector.hlak;
        swapped.rotate_left(16);
        let swapped = InnerKeys::Hlak(Zeroizing::new(swapped));
        assert_eq!(verify(&vector.request(), &certificates, &swapped, &connected), Err(Mismatch::Mac), "Send-Key | Recv-Key");
        assert_eq!(verify(&vector.request(), &certificates, &InnerKeys::Keyless, &connected), Err(Mismatch::Mac));
    }
}

#[test]
fn without_keys_bound_with_zero_octets_but_only_where_the_method_has_none() {
    for vector in vectors() {
        let unsigned = CallConnected::unsigned(vector.hash, &vector.nonce, &vector.certificate_hash);
        let connected = unsigned.clone().signed(&compound_mac(&[0; 32], &unsigned));
        let judge = |keys| verify(&vector.request(), &vector.certificates(), &keys, &connected);
        assert_eq!(judge(InnerKeys::Keyless), Ok(vector.hash));
        assert_eq!(judge(vector.keys()), Err(Mismatch::Mac));
        assert_eq!(judge(InnerKeys::Hlak(Zeroizing::new([0; 32]))), Err(Mismatch::NoKeys), "keys that RADIUS did not send");
    }
}
