//! What ESP adds to a packet.
use crate::{SPI_AND_SEQUENCE_LEN, TRAILER_LEN};
use crypto::cipher::Suite;

/// Lengths that a suite adds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    header_len: usize,
    /// Payload, padding and trailer are a multiple of this.
    alignment: usize,
    icv_len: usize,
}

/// What carries ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    pub outer_is_v4: bool,
    /// ESP in UDP (RFC 3948), else IP protocol 50.
    pub udp: bool,
}

impl Encapsulation {
    /// Outer IP header (without options) and UDP header.
    pub fn header_len(self) -> usize {
        (if self.outer_is_v4 { 20 } else { 40 }) + if self.udp { 8 } else { 0 }
    }
}

impl Overhead {
    pub fn of(suite: Suite) -> Self {
        // ESP aligns its trailer to 4 bytes whatever the cipher needs (RFC 4303 section 2.4).
        Self { header_len: SPI_AND_SEQUENCE_LEN + suite.iv_len(), alignment: suite.block_len().max(4), icv_len: suite.icv_len() }
    }

    /// Headroom before the payload: SPI, sequence number, IV.
    pub fn header_len(self) -> usize {
        self.header_len
    }

    pub fn icv_len(self) -> usize {
        self.icv_len
    }

    /// Length of the ESP packet that carries `payload_len` bytes.
    pub fn sealed_len(self, payload_len: usize) -> usize {
        self.header_len + (payload_len + TRAILER_LEN).next_multiple_of(self.alignment) + self.icv_len
    }

    /// The longest payload whose ESP packet has at most `sealed_len` bytes; 0 when there is none.
    pub fn max_payload(self, sealed_len: usize) -> usize {
        let body = sealed_len.saturating_sub(self.header_len + self.icv_len) / self.alignment * self.alignment;
        body.saturating_sub(TRAILER_LEN)
    }

    /// The longest inner packet that fits outer packets of `path_mtu` bytes.
    pub fn inner_mtu(self, path_mtu: usize, encapsulation: Encapsulation) -> usize {
        self.max_payload(path_mtu.saturating_sub(encapsulation.header_len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::cipher::{Encryption, Integrity};

    #[test]
    fn inner_mtu_of_common_suites() {
        let gcm = Overhead::of(Suite::new(Encryption::AesGcm256, None).unwrap());
        let cbc = Overhead::of(Suite::new(Encryption::AesCbc256, Some(Integrity::HmacSha256_128)).unwrap());
        let udp4 = Encapsulation { outer_is_v4: true, udp: true };
        let raw6 = Encapsulation { outer_is_v4: false, udp: false };
        assert_eq!(gcm.inner_mtu(1500, udp4), 1438);
        assert_eq!(gcm.inner_mtu(1500, raw6), 1426);
        assert_eq!(cbc.inner_mtu(1500, udp4), 1422);
        assert_eq!(gcm.inner_mtu(40, udp4), 0);
    }

    #[test]
    fn max_payload_is_the_inverse_of_sealed_len() {
        for suite in crate::tests::suites() {
            let overhead = Overhead::of(suite);
            for limit in overhead.sealed_len(0)..2000 {
                let payload = overhead.max_payload(limit);
                assert!(overhead.sealed_len(payload) <= limit && overhead.sealed_len(payload + 1) > limit);
            }
        }
    }
}
