//! Route netlink on the wire: building requests, walking answers. RFC 3549 describes the format.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys;

const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const RECEIVE_LEN: usize = 64 << 10;

/// A request under construction. All integers are in host order, everything is aligned to four bytes.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of type `kind` whose fixed part is `body`.
    pub(crate) fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(body);
        let mut request = Self { bytes };
        request.pad();
        request
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = (ATTRIBUTE_HEADER_LEN + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A blocking connection to the kernel's routing tables.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: OwnedFd,
    sequence: u32,
}

impl Connection {
    pub(crate) fn open() -> io::Result<Self> {
        let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
        // The kernel always answers; the limit only turns a kernel bug into an error instead of a hang.
        let limit = libc::timeval { tv_sec: 5, tv_usec: 0 };
        sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a change and waits for the kernel's verdict.
    pub(crate) fn change(&mut self, request: Request) -> io::Result<()> {
        self.exchange(request, |_, _| ControlFlow::Continue(()))
    }

    /// Sends a request and hands the type and body of every answer to `visit`, until the kernel says that it is done or `visit` breaks
    /// off: the kernel closes a list with a message of its own, but not a single answer.
    pub(crate) fn exchange(&mut self, request: Request, mut visit: impl FnMut(u16, &[u8]) -> ControlFlow<()>) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        // SAFETY: bytes is readable for its length.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut buffer = vec![0_u8; RECEIVE_LEN];
        loop {
            let received = self.receive(&mut buffer)?;
            for (header, body) in messages(&buffer[..received]) {
                if header.sequence != self.sequence {
                    continue;
                }
                match i32::from(header.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => return verdict(body),
                    _ if visit(header.kind, body).is_break() => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: buffer is writable for its length.
            let received = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if received >= 0 {
                return Ok(received as usize);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Both verdicts start with zero or a negative error number.
fn verdict(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u16,
    sequence: u32,
}

fn messages(mut rest: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<HEADER_LEN>()?;
        let len = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let body = rest.get(HEADER_LEN..len)?;
        let header =
            Header { kind: u16::from_ne_bytes([head[4], head[5]]), sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]) };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((header, body))
    })
}

/// The attributes after the fixed part of a message body.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(ATTRIBUTE_HEADER_LEN..len)?;
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_can_be_walked() {
        let bytes = Request::new(20, libc::NLM_F_ACK, &[1, 2, 3]).attribute(7, &[9; 5]).attribute(8, &[]).finish(42);
        let (header, body) = messages(&bytes).next().unwrap();
        assert_eq!((header.kind, header.sequence), (20, 42));
        let found: Vec<_> = attributes(&body[4..]).collect();
        assert_eq!(found, [(7, &[9_u8; 5][..]), (8, &[][..])]);
        assert_eq!(messages(&bytes).count(), 1);
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0);
        assert_eq!(messages(&[0; 16]).count(), 0);
        assert_eq!(messages(&[255; 40]).count(), 0);
    }

    #[test]
    fn a_negative_verdict_is_an_error_number() {
        assert!(verdict(&0_i32.to_ne_bytes()).is_ok());
        assert_eq!(verdict(&(-libc::EEXIST).to_ne_bytes()).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        assert!(verdict(&[1]).is_err());
    }
}
