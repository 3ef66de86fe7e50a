//! A cursor over received bytes, and the errors that it and the parsers above it make.
use super::header::Header;

/// Bytes that break RFC 7296 section 3. Answer: INVALID_SYNTAX where the message is authenticated or an IKE_SA_INIT request, else drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} at offset {offset}: {reason}", super::kind::name(*payload))]
pub struct Malformed {
    /// Type of the payload that is wrong (see [`super::kind`]); 0 for the IKE header and the payload chain itself.
    pub payload: u8,
    /// Where in the parsed bytes (datagram, or decrypted content) the fault lies.
    pub offset: usize,
    pub reason: &'static str,
}

/// Why a message cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not IKE version 2: answer INVALID_MAJOR_VERSION (RFC 7296 section 2.5). The header is what its bytes say, IKEv1 included.
    #[error("IKE major version {}, only 2 is spoken here", .0.major)]
    MajorVersion(Header),
    /// A payload type we do not know, with the critical bit: answer UNSUPPORTED_CRITICAL_PAYLOAD with this type as data.
    #[error("unknown payload type {0} is marked critical")]
    UnsupportedCritical(u8),
}

/// Reads big-endian fields and remembers where it is.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes[0]` in the whole.
    offset: usize,
    payload: u8,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], payload: u8, offset: usize) -> Self {
        Self { bytes, offset, payload }
    }
    /// Errors from here on are about this payload type.
    pub(crate) fn enter(&mut self, payload: u8) {
        self.payload = payload;
    }
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
    pub(crate) fn error(&self, reason: &'static str) -> Malformed {
        Malformed { payload: self.payload, offset: self.offset, reason }
    }
    pub(crate) fn take(&mut self, len: usize, reason: &'static str) -> Result<&'a [u8], Malformed> {
        let Some((head, tail)) = self.bytes.split_at_checked(len) else {
            return Err(self.error(reason));
        };
        self.bytes = tail;
        self.offset += len;
        Ok(head)
    }
    pub(crate) fn array<const N: usize>(&mut self, reason: &'static str) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, reason)?);
        Ok(out)
    }
    pub(crate) fn u8(&mut self, reason: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(reason)?[0])
    }
    pub(crate) fn u16(&mut self, reason: &'static str) -> Result<u16, Malformed> {
        self.array(reason).map(u16::from_be_bytes)
    }
    pub(crate) fn u32(&mut self, reason: &'static str) -> Result<u32, Malformed> {
        self.array(reason).map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self, reason: &'static str) -> Result<u64, Malformed> {
        self.array(reason).map(u64::from_be_bytes)
    }
    /// The next `len` bytes as a cursor of their own.
    pub(crate) fn part(&mut self, len: usize, reason: &'static str) -> Result<Reader<'a>, Malformed> {
        let offset = self.offset;
        Ok(Reader { bytes: self.take(len, reason)?, offset, payload: self.payload })
    }
    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.offset += self.bytes.len();
        std::mem::take(&mut self.bytes)
    }
    pub(crate) fn finish(&self, reason: &'static str) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(self.error(reason)) }
    }
}
