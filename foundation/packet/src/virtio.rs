//! The header that a TUN device puts before each packet when offloads are on (`struct virtio_net_hdr`, linux/virtio_net.h; VIRTIO 1.2
//! section 5.1.6). All fields little-endian (`TUNSETVNETLE`).

/// `gso_type` and `flags` values of linux/virtio_net.h.
pub const GSO_NONE: u8 = 0;
pub const GSO_TCPV4: u8 = 1;
pub const GSO_UDP: u8 = 3;
pub const GSO_TCPV6: u8 = 4;
pub const GSO_UDP_L4: u8 = 5;
pub const GSO_ECN: u8 = 0x80;
pub const FLAG_NEEDS_CSUM: u8 = 1;

/// What the sender left to be done: the checksum, the segmentation, both or nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VirtioNetHeader {
    pub flags: u8,
    pub gso_type: u8,
    /// Length of all headers, in bytes; a hint.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksummed bytes begin.
    pub csum_start: u16,
    /// Where the checksum is stored, from `csum_start`.
    pub csum_offset: u16,
}

impl VirtioNetHeader {
    pub const LEN: usize = 10;
    /// One finished packet.
    pub const PLAIN: [u8; Self::LEN] = [0; Self::LEN];

    pub fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self { flags: bytes[0], gso_type: bytes[1], hdr_len: word(2), gso_size: word(4), csum_start: word(6), csum_offset: word(8) }
    }

    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, word) in [(2, self.hdr_len), (4, self.gso_size), (6, self.csum_start), (8, self.csum_offset)] {
            bytes[at..at + 2].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub fn needs_checksum(&self) -> bool {
        self.flags & FLAG_NEEDS_CSUM != 0
    }

    /// `gso_type` without the ECN bit.
    pub fn segmentation(&self) -> u8 {
        self.gso_type & !GSO_ECN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_linux_virtio_net() {
        let header =
            VirtioNetHeader { flags: 1, gso_type: 0x81, hdr_len: 0x0042, gso_size: 0x05b4, csum_start: 0x0014, csum_offset: 0x0010 };
        let bytes = [1, 0x81, 0x42, 0, 0xb4, 0x05, 0x14, 0, 0x10, 0];
        assert_eq!(header.encode(), bytes);
        assert_eq!(VirtioNetHeader::decode(&bytes), header);
        assert_eq!(header.segmentation(), GSO_TCPV4);
        assert!(header.needs_checksum());
    }
}
