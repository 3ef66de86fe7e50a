//! What LCP, IPCP and IPv6CP share (RFC 1661 sections 5 and 6): options, and our half of a negotiation.

use crate::error::{Error, Result, Stage};

/// Packet codes.
pub mod code {
    pub const CONFIGURE_REQUEST: u8 = 1;
    pub const CONFIGURE_ACK: u8 = 2;
    pub const CONFIGURE_NAK: u8 = 3;
    pub const CONFIGURE_REJECT: u8 = 4;
    pub const TERMINATE_REQUEST: u8 = 5;
    pub const TERMINATE_ACK: u8 = 6;
    pub const CODE_REJECT: u8 = 7;
    pub const PROTOCOL_REJECT: u8 = 8;
    pub const ECHO_REQUEST: u8 = 9;
    pub const ECHO_REPLY: u8 = 10;
    pub const DISCARD_REQUEST: u8 = 11;
    pub const IDENTIFICATION: u8 = 12;
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Type.
    pub kind: u8,
    /// Data.
    pub value: Vec<u8>,
}

impl Opt {
    /// An option.
    pub fn new(kind: u8, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: value.into() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.kind, self.value.len() as u8 + 2]);
        out.extend(&self.value);
    }
}

/// The bytes of options in their order.
pub fn write_options(options: &[Opt]) -> Vec<u8> {
    let mut bytes = Vec::new();
    options.iter().for_each(|option| option.write(&mut bytes));
    bytes
}

/// Reads options; each length must fit.
pub fn read_options(mut bytes: &[u8]) -> Option<Vec<Opt>> {
    let mut options = Vec::new();
    while let [kind, length, ..] = *bytes {
        let value = bytes.get(2..usize::from(length))?;
        options.push(Opt::new(kind, value));
        bytes = &bytes[usize::from(length)..];
    }
    bytes.is_empty().then_some(options)
}

/// A control packet: code, identifier, body. Padding is cut off.
#[derive(Clone, Copy, Debug)]
pub struct ControlPacket<'a> {
    /// Code.
    pub code: u8,
    /// Identifier.
    pub id: u8,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> ControlPacket<'a> {
    /// `None` when the length does not fit.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [code, id, high, low, ..] = *bytes else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        Some(Self { code, id, body: bytes.get(4..length)? })
    }
}

/// A frame with address and control field.
pub fn frame(protocol: u16, code: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff, 0x03];
    frame.extend(protocol.to_be_bytes());
    frame.extend([code, id]);
    frame.extend((body.len() as u16 + 4).to_be_bytes());
    frame.extend(body);
    frame
}

/// Our half of a negotiation: what we wish, and what became of it.
#[derive(Debug)]
pub struct Wish {
    /// PPP protocol number.
    pub protocol: u16,
    /// What we ask for now.
    pub options: Vec<Opt>,
    /// The server has taken it as it is.
    pub acked: bool,
    /// Requests sent so far.
    pub requests: u32,
    /// Options that the server rejected.
    pub rejected: Vec<u8>,
    stage: Stage,
    id: u8,
    naked: bool,
}

impl Wish {
    /// Nothing is sent yet.
    pub fn new(protocol: u16, stage: Stage, options: Vec<Opt>) -> Self {
        Self { protocol, options, acked: false, requests: 0, rejected: Vec::new(), stage, id: 0, naked: false }
    }

    /// The next Configure-Request, with an identifier from the shared counter.
    pub fn request(&mut self, ids: &mut Ids) -> Vec<u8> {
        self.id = ids.next();
        self.requests += 1;
        frame(self.protocol, code::CONFIGURE_REQUEST, self.id, &write_options(&self.options))
    }

    /// The value of an option we ask for.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.options.iter().find(|option| option.kind == kind).map(|option| option.value.as_slice())
    }

    /// Takes Ack, Nak or Reject. `true`: a new request is due.
    pub fn answered(&mut self, packet: &ControlPacket<'_>) -> Result<bool> {
        if self.requests == 0 || self.acked || packet.id != self.id {
            let what = format!("code {} for identifier {} while {} was open", packet.code, packet.id, self.id);
            return Err(self.wrong(what));
        }
        if self.requests > 10 {
            return Err(self.wrong("no agreement after ten requests".to_owned()));
        }
        match packet.code {
            code::CONFIGURE_ACK => self.ack(packet.body).map(|()| false),
            code::CONFIGURE_NAK => self.nak(packet.body).map(|()| true),
            _ => self.reject(packet.body).map(|()| true),
        }
    }

    fn ack(&mut self, body: &[u8]) -> Result<()> {
        if body != write_options(&self.options) {
            return Err(self.wrong(format!("Configure-Ack {body:02x?} differs from the request {:02x?}", write_options(&self.options))));
        }
        self.acked = true;
        Ok(())
    }

    fn nak(&mut self, body: &[u8]) -> Result<()> {
        let Some(wanted) = read_options(body).filter(|options| !options.is_empty()) else {
            return Err(self.wrong(format!("Configure-Nak {body:02x?} holds no options")));
        };
        self.naked = true;
        for option in wanted {
            if option.value.iter().all(|byte| *byte == 0) {
                return Err(self.wrong(format!("Configure-Nak of option {} suggests zero", option.kind)));
            }
            let Some(ours) = self.options.iter_mut().find(|ours| ours.kind == option.kind) else {
                return Err(self.wrong(format!("Configure-Nak suggests option {}, which was not asked for", option.kind)));
            };
            if ours.value == option.value || ours.value.len() != option.value.len() {
                return Err(self.wrong(format!("Configure-Nak suggests {:02x?} for option {}", option.value, option.kind)));
            }
            ours.value = option.value;
        }
        Ok(())
    }

    fn reject(&mut self, body: &[u8]) -> Result<()> {
        if self.naked {
            return Err(self.wrong("Configure-Reject after Configure-Nak: what is rejected must be rejected first".to_owned()));
        }
        let Some(refused) = read_options(body).filter(|options| !options.is_empty()) else {
            return Err(self.wrong(format!("Configure-Reject {body:02x?} holds no options")));
        };
        let mut left = self.options.iter();
        if !refused.iter().all(|option| left.any(|ours| ours == option)) {
            return Err(self.wrong(format!("Configure-Reject {body:02x?} holds other bytes or another order than the request")));
        }
        self.options.retain(|ours| !refused.contains(ours));
        self.rejected.extend(refused.iter().map(|option| option.kind));
        Ok(())
    }

    fn wrong(&self, what: String) -> Error {
        Error::protocol(self.stage, format!("protocol {:04x}: {what}", self.protocol))
    }
}

/// The one counter of identifiers that Windows shares among LCP and the NCPs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids(u8);

impl Ids {
    /// The next identifier; the first is 0.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u8 {
        let id = self.0;
        self.0 = self.0.wrapping_add(1);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        let mut wish = Wish::new(0x8021, Stage::Network, vec![Opt::new(3, [0; 4]), Opt::new(129, [0; 4]), Opt::new(130, [0; 4])]);
        wish.request(&mut Ids(7));
        wish
    }

    fn answer(wish: &mut Wish, code: u8, options: &[Opt]) -> Result<bool> {
        wish.answered(&ControlPacket { code, id: wish.id, body: &write_options(options) })
    }

    #[test]
    fn reject_then_nak_then_ack() {
        let mut wish = wish();
        assert!(answer(&mut wish, code::CONFIGURE_REJECT, &[Opt::new(130, [0; 4])]).unwrap());
        assert_eq!(wish.rejected, [130]);
        assert!(answer(&mut wish, code::CONFIGURE_NAK, &[Opt::new(3, [10, 0, 0, 5])]).unwrap());
        let agreed = wish.options.clone();
        assert!(!answer(&mut wish, code::CONFIGURE_ACK, &agreed).unwrap());
        assert!(wish.acked);
        assert_eq!(wish.value(3), Some(&[10, 0, 0, 5][..]));
    }

    #[test]
    fn a_servers_faults_are_errors() {
        let naks: [&[Opt]; 4] = [&[], &[Opt::new(3, [0; 4])], &[Opt::new(2, [1; 4])], &[Opt::new(3, [1; 3])]];
        for options in naks {
            assert!(answer(&mut wish(), code::CONFIGURE_NAK, options).is_err(), "{options:?}");
        }
        let rejects: [&[Opt]; 3] = [&[], &[Opt::new(3, [1; 4])], &[Opt::new(129, [0; 4]), Opt::new(3, [0; 4])]];
        for options in rejects {
            assert!(answer(&mut wish(), code::CONFIGURE_REJECT, options).is_err(), "{options:?}");
        }
        assert!(answer(&mut wish(), code::CONFIGURE_ACK, &[Opt::new(3, [0; 4])]).is_err());
        let mut late = wish();
        answer(&mut late, code::CONFIGURE_NAK, &[Opt::new(3, [1; 4])]).unwrap();
        assert!(answer(&mut late, code::CONFIGURE_REJECT, &[Opt::new(130, [0; 4])]).is_err());
        assert!(wish().answered(&ControlPacket { code: 2, id: 99, body: &[] }).is_err());
    }

    #[test]
    fn options_must_fit() {
        for bytes in [&[1][..], &[1, 1], &[1, 5, 0], &[1, 0]] {
            assert_eq!(read_options(bytes), None, "{bytes:?}");
        }
        assert_eq!(read_options(&[1, 4, 0x0f, 0xfb, 7, 2]).unwrap(), [Opt::new(1, [0x0f, 0xfb]), Opt::new(7, [])]);
    }
}
