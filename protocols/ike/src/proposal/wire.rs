//! The SA payload's bytes (RFC 7296 section 3.3).
use super::{Proposal, SaPayload, Transform};
use crate::wire::{Malformed, Reader, protocol};

/// Attribute format bit: type and value, no length.
const TV: u16 = 0x8000;
const KEY_LENGTH: u16 = 14;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const LAST: u8 = 0;
/// Far more than any client offers: each costs work and memory before the peer is known.
const MAX_PROPOSALS: usize = 64;
/// Of all proposals together.
const MAX_TRANSFORMS: usize = 256;

impl SaPayload {
    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let mut proposals = Vec::new();
        let mut transforms_left = MAX_TRANSFORMS;
        let mut more = true;
        while more {
            if proposals.len() == MAX_PROPOSALS {
                return Err(reader.error("more than 64 proposals"));
            }
            let (last, inner) = substructure(&mut reader, MORE_PROPOSALS)?;
            let proposal = Proposal::parse(inner, transforms_left)?;
            transforms_left -= proposal.transforms.len();
            proposals.push(proposal);
            more = last != LAST;
        }
        reader.finish("bytes behind the last proposal")?;
        Ok(Self { proposals })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (index, proposal) in self.proposals.iter().enumerate() {
            let more = if index + 1 == self.proposals.len() { LAST } else { MORE_PROPOSALS };
            with_length(out, more, |out| proposal.write(out));
        }
    }
}

/// Last-or-more byte, reserved byte, length, content.
fn substructure<'a>(reader: &mut Reader<'a>, more: u8) -> Result<(u8, Reader<'a>), Malformed> {
    let last = reader.u8("proposal or transform missing")?;
    if last != LAST && last != more {
        return Err(reader.error("proposal or transform is neither last nor followed by its like"));
    }
    reader.u8("proposal or transform header cut short")?;
    let length = usize::from(reader.u16("proposal or transform header cut short")?);
    let Some(inner) = length.checked_sub(4) else {
        return Err(reader.error("proposal or transform length below its own header"));
    };
    Ok((last, reader.part(inner, "proposal or transform runs over the end")?))
}

fn with_length(out: &mut Vec<u8>, more: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[more, 0, 0, 0]);
    content(out);
    let length = (out.len() - start) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
}

impl Proposal {
    fn parse(mut reader: Reader<'_>, most: usize) -> Result<Self, Malformed> {
        let number = reader.u8("no proposal number")?;
        let protocol = reader.u8("no protocol")?;
        let spi_len = reader.u8("no SPI size")?;
        let count = reader.u8("no number of transforms")?;
        let fits = match protocol {
            protocol::IKE => spi_len == 0 || spi_len == 8,
            protocol::ESP | protocol::AH => spi_len == 4,
            _ => true,
        };
        if !fits {
            return Err(reader.error("SPI size does not fit the protocol"));
        }
        let spi = reader.take(spi_len.into(), "SPI runs over the end")?.to_vec();
        if count == 0 {
            return Err(reader.error("proposal without transforms"));
        }
        if usize::from(count) > most {
            return Err(reader.error("more than 256 transforms"));
        }
        let mut transforms = Vec::with_capacity(count.into());
        for index in 1..=count {
            let (last, inner) = substructure(&mut reader, MORE_TRANSFORMS)?;
            if (last == LAST) != (index == count) {
                return Err(reader.error("number of transforms differs from the list"));
            }
            transforms.push(Transform::parse(inner)?);
        }
        reader.finish("bytes behind the last transform")?;
        Ok(Self { number, protocol, spi, transforms })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.number, self.protocol, self.spi.len() as u8, self.transforms.len() as u8]);
        out.extend_from_slice(&self.spi);
        for (index, transform) in self.transforms.iter().enumerate() {
            let more = if index + 1 == self.transforms.len() { LAST } else { MORE_TRANSFORMS };
            with_length(out, more, |out| transform.write(out));
        }
    }
}

impl Transform {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.u8("no transform type")?;
        reader.u8("transform header cut short")?;
        let id = reader.u16("no transform ID")?;
        let mut transform = Self { kind, id, key_bits: None, unknown_attribute: false };
        while !reader.is_empty() {
            transform.read_attribute(&mut reader)?;
        }
        Ok(transform)
    }

    fn read_attribute(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let kind = reader.u16("attribute header cut short")?;
        let value = if kind & TV != 0 {
            Some(reader.u16("attribute value cut short")?)
        } else {
            let length = reader.u16("attribute header cut short")?;
            let value = reader.take(length.into(), "attribute runs over the end")?;
            value.try_into().ok().map(u16::from_be_bytes)
        };
        match (kind & !TV, value) {
            (KEY_LENGTH, Some(bits)) if self.key_bits.is_none() => self.key_bits = Some(bits),
            _ => self.unknown_attribute = true,
        }
        Ok(())
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind, 0]);
        out.extend_from_slice(&self.id.to_be_bytes());
        if let Some(bits) = self.key_bits {
            out.extend_from_slice(&(TV | KEY_LENGTH).to_be_bytes());
            out.extend_from_slice(&bits.to_be_bytes());
        }
    }
}
