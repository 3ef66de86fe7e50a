//! Packets and options of the control protocols (RFC 1661 sections 5 and 6), and how frames are written.

pub(crate) mod protocol {
    pub(crate) const IPCP: u16 = 0x8021;
    pub(crate) const IPV6CP: u16 = 0x8057;
    pub(crate) const LCP: u16 = 0xC021;
    pub(crate) const PAP: u16 = 0xC023;
    pub(crate) const CHAP: u16 = 0xC223;
    pub(crate) const EAP: u16 = 0xC227;

    /// The field's word for a protocol, or its number.
    pub(crate) fn name(protocol: u16) -> String {
        match protocol {
            IPCP => "IPCP".into(),
            IPV6CP => "IPv6CP".into(),
            0x802B => "IPXCP".into(),
            0x8053 => "ECP".into(),
            0x80FD => "CCP".into(),
            LCP => "LCP".into(),
            PAP => "PAP".into(),
            CHAP => "CHAP".into(),
            EAP => "EAP".into(),
            0xC029 => "CBCP".into(),
            0xC02B => "BACP".into(),
            other => format!("protocol {other:04X}"),
        }
    }
}

pub(crate) mod code {
    pub(crate) const CONFIGURE_REQUEST: u8 = 1;
    pub(crate) const CONFIGURE_ACK: u8 = 2;
    pub(crate) const CONFIGURE_NAK: u8 = 3;
    pub(crate) const CONFIGURE_REJECT: u8 = 4;
    pub(crate) const TERMINATE_REQUEST: u8 = 5;
    pub(crate) const TERMINATE_ACK: u8 = 6;
    pub(crate) const CODE_REJECT: u8 = 7;
    pub(crate) const PROTOCOL_REJECT: u8 = 8;
    pub(crate) const ECHO_REQUEST: u8 = 9;
    pub(crate) const ECHO_REPLY: u8 = 10;
    pub(crate) const DISCARD_REQUEST: u8 = 11;
    pub(crate) const IDENTIFICATION: u8 = 12;
    pub(crate) const TIME_REMAINING: u8 = 13;
}

/// What a frame holds behind address, control and protocol field: SSTP carries 4091 octets.
pub(crate) const MAX_INFORMATION: usize = 4087;

/// One packet: code, identifier, length, data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) code: u8,
    pub(crate) id: u8,
    pub(crate) data: &'a [u8],
    /// All of it, without padding.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None`: shorter than its header or its length field. What follows the length is padding.
    pub(crate) fn parse(information: &'a [u8]) -> Option<Self> {
        let [code, id, high, low, ..] = *information else { return None };
        let bytes = information.get(..usize::from(u16::from_be_bytes([high, low])))?;
        Some(Self { code, id, data: bytes.get(4..)?, bytes })
    }
}

/// A whole frame; `data` beyond what one frame holds is cut.
pub(crate) fn frame(protocol: u16, code: u8, id: u8, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(MAX_INFORMATION - 4)];
    let length = (data.len() + 4) as u16;
    let mut frame = Vec::with_capacity(8 + data.len());
    frame.extend_from_slice(&[0xFF, 0x03]);
    frame.extend_from_slice(&protocol.to_be_bytes());
    frame.extend_from_slice(&[code, id]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(data);
    frame
}

/// A frame around a packet that has its own header.
pub(crate) fn wrap(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xFF, 0x03];
    frame.extend_from_slice(&protocol.to_be_bytes());
    frame.extend_from_slice(packet);
    frame
}

/// One configuration option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opt<'a> {
    pub(crate) kind: u8,
    pub(crate) value: &'a [u8],
    /// With type and length.
    pub(crate) bytes: &'a [u8],
}

/// All options of a list; `None` if a length lies.
pub(crate) fn options(mut list: &[u8]) -> Option<Vec<Opt<'_>>> {
    let mut found = Vec::new();
    while let [kind, length, ..] = *list {
        let (bytes, rest) = list.split_at_checked(usize::from(length))?;
        found.push(Opt { kind, value: bytes.get(2..)?, bytes });
        list = rest;
    }
    list.is_empty().then_some(found)
}

/// Appends one option.
pub(crate) fn push(list: &mut Vec<u8>, kind: u8, value: &[u8]) {
    list.extend_from_slice(&[kind, value.len() as u8 + 2]);
    list.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_are_refused_and_padding_is_cut() {
        assert!(Packet::parse(&[1, 2, 0]).is_none());
        assert!(Packet::parse(&[1, 2, 0, 3]).is_none());
        assert!(Packet::parse(&[1, 2, 0, 5]).is_none());
        let packet = Packet::parse(&[1, 2, 0, 5, 9, 0, 0]).unwrap();
        assert_eq!((packet.code, packet.id, packet.data, packet.bytes), (1, 2, &[9][..], &[1, 2, 0, 5, 9][..]));
    }

    #[test]
    fn options_keep_their_bytes() {
        let list = [1, 4, 0x0F, 0xFB, 7, 2, 13, 3, 6];
        let kinds: Vec<_> = options(&list).unwrap().iter().map(|option| (option.kind, option.value.to_vec())).collect();
        assert_eq!(kinds, [(1, vec![0x0F, 0xFB]), (7, vec![]), (13, vec![6])]);
        assert_eq!(options(&[]), Some(vec![]));
        for lie in [&[1][..], &[1, 0], &[1, 1], &[1, 5, 0, 0], &[7, 2, 1, 4, 0]] {
            assert_eq!(options(lie), None, "{lie:?}");
        }
    }

    #[test]
    fn a_frame_is_never_longer_than_sstp_carries() {
        let frame = frame(protocol::LCP, code::CODE_REJECT, 7, &[0; 9000]);
        assert_eq!(frame.len(), 4091);
        assert_eq!(Packet::parse(&frame[4..]).unwrap().data.len(), 4083);
    }
}
