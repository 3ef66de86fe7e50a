//! The tunnel device: multi-queue TUN with virtio-net headers, so that one system call carries a super-packet of up to 64 KiB.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::{c_int, c_short, c_uint};

use crate::error::last_errno;
use crate::{IoError, link, sys};

/// Length of the virtio-net header in front of every packet: `flags`, `gso_type` (one byte each), `hdr_len`, `gso_size`, `csum_start`,
/// `csum_offset` (two bytes each, little-endian on every host).
pub const VNET_HEADER_LEN: usize = 10;

/// Most parts [`TunQueue::write_vectored`] takes: the kernel's limit of 1,024 vectors less one for the header.
pub const MAX_PARTS: usize = 1_023;

const DEVICE_NODE: &std::ffi::CStr = c"/dev/net/tun";
const GSO_NONE: u8 = 0;

/// What the kernel accepted for this device. Each later field implies the earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Packets carry a virtio-net header.
    pub vnet_header: bool,
    /// Packets read may lack their transport checksum; packets written may, too.
    pub checksum: bool,
    /// TCP super-packets in both families.
    pub tso: bool,
    /// UDP super-packets in both families (Linux 6.2).
    pub uso: bool,
}

/// An open device: one queue per packet thread.
#[derive(Debug)]
pub struct TunDevice {
    /// Interface name the kernel gave it.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// Accepted offloads, the same on all queues.
    pub offload: Offload,
    /// Whether further queues were accepted. When not, there is one queue however many were asked for.
    pub multi_queue: bool,
    /// The queues. The device lives as long as one of them.
    pub queues: Vec<TunQueue>,
}

/// Why the device could not be opened, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum TunOpenError {
    /// The name is too long or not an interface name.
    #[error("{0:?} is no interface name: use 1 to 15 bytes without '/', ':' or white space, or leave it empty")]
    Name(String),
    /// No `/dev/net/tun`.
    #[error("/dev/net/tun is missing: load the tun module, or pass the device into the container ({0})")]
    NodeMissing(#[source] io::Error),
    /// No permission.
    #[error("no permission to create TUN device {name:?}: CAP_NET_ADMIN is needed, and the right to open /dev/net/tun ({source})")]
    Permission {
        /// Name asked for.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another process holds the device, or it exists with other properties.
    #[error("TUN device {name:?} is in use or of another kind: stop its owner or choose another name ({source})")]
    Busy {
        /// Name asked for.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot set up TUN device {name:?}: {source}")]
    System {
        /// Name asked for.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// One queue of a TUN device.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
    offload: Offload,
}

/// Opens TUN device `name` with up to `queues` queues (at least one).
///
/// `name` may be empty or hold `%d` to let the kernel choose. Multi-queue, virtio-net header and offloads are given up one after the
/// other where the kernel refuses them; the result says what it got.
pub fn open(name: &str, queues: usize) -> Result<TunDevice, TunOpenError> {
    check_name(name)?;
    let wanted = libc::IFF_VNET_HDR | if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let (first, name, flags) = open_first(name, wanted)?;
    set_up_queues(first, name, flags, queues)
}

/// Opens a device with one queue and no virtio-net header, as a kernel without them would give it.
#[cfg(test)]
pub(crate) fn open_plain(name: &str) -> Result<TunDevice, TunOpenError> {
    let (first, name, flags) = open_first(name, 0)?;
    set_up_queues(first, name, flags, 1)
}

fn set_up_queues(first: OwnedFd, name: String, flags: c_int, queues: usize) -> Result<TunDevice, TunOpenError> {
    let offload = negotiate(&first, flags);
    let multi_queue = flags & libc::IFF_MULTI_QUEUE != 0;
    let system = |source| TunOpenError::System { name: name.clone(), source };
    let index = link::interface_index(&name).map_err(system)?;
    let mut all = vec![TunQueue { fd: first, offload }];
    while multi_queue && all.len() < queues {
        let (fd, _) = attach(&name, flags).map_err(|source| refused(&name, source))?;
        if negotiate(&fd, flags) != offload {
            return Err(system(io::Error::other("its queues accept different offloads")));
        }
        all.push(TunQueue { fd, offload });
    }
    Ok(TunDevice { name, index, offload, multi_queue, queues: all })
}

impl TunQueue {
    /// Reads one packet or super-packet into `buffer`, after [`VNET_HEADER_LEN`] bytes of virtio-net header (all zero when the device
    /// has none). Returns the length including the header. A buffer of `VNET_HEADER_LEN + 65_535` bytes always suffices; in a shorter
    /// one the packet loses its end.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        if buffer.len() < VNET_HEADER_LEN {
            return Err(IoError::Other(libc::EINVAL));
        }
        let skip = if self.offload.vnet_header { 0 } else { VNET_HEADER_LEN };
        let (front, rest) = buffer.split_at_mut(skip);
        front.fill(0);
        let mut slice = IoSliceMut::new(rest);
        // SAFETY: slice covers writable memory of its stated length for the duration of the call.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), slice.as_mut_ptr().cast(), slice.len()) };
        if read < 0 { Err(IoError::last()) } else { Ok(skip + read as usize) }
    }

    /// Writes one packet or super-packet, given as virtio-net header and at most [`MAX_PARTS`] parts, in one system call.
    ///
    /// A super-packet the kernel does not take (some kernels answer `EINVAL` to valid ones) is [`IoError::GsoRefused`]: write its
    /// packets singly, with complete checksums, and stop making super-packets. So is a header that asks for work the device cannot do.
    /// Returns the number of bytes written, without the header.
    pub fn write_vectored(&self, header: &[u8; VNET_HEADER_LEN], parts: &[IoSlice<'_>]) -> Result<usize, IoError> {
        if parts.len() > MAX_PARTS {
            return Err(IoError::Other(libc::EINVAL));
        }
        if !self.offload.vnet_header {
            return if header[..2] == [0, GSO_NONE] { self.writev(parts, false) } else { Err(IoError::GsoRefused(libc::EINVAL)) };
        }
        const ON_STACK: usize = 72;
        let gso = header[1] != GSO_NONE;
        let total = parts.len() + 1;
        if total <= ON_STACK {
            let mut vectors = [IoSlice::new(&[]); ON_STACK];
            vectors[0] = IoSlice::new(header);
            vectors[1..total].copy_from_slice(parts);
            return self.writev(&vectors[..total], gso).map(|written| written.saturating_sub(VNET_HEADER_LEN));
        }
        let mut vectors = Vec::with_capacity(total);
        vectors.push(IoSlice::new(header));
        vectors.extend_from_slice(parts);
        self.writev(&vectors, gso).map(|written| written.saturating_sub(VNET_HEADER_LEN))
    }

    /// [`write_vectored`](Self::write_vectored) for a packet in one piece.
    pub fn write(&self, header: &[u8; VNET_HEADER_LEN], packet: &[u8]) -> Result<usize, IoError> {
        self.write_vectored(header, &[IoSlice::new(packet)])
    }

    /// What the kernel accepted for this device.
    pub fn offload(&self) -> Offload {
        self.offload
    }

    fn writev(&self, vectors: &[IoSlice<'_>], gso: bool) -> Result<usize, IoError> {
        // SAFETY: IoSlice has the layout of iovec, and every slice is readable for the duration of the call.
        let written = unsafe { libc::writev(self.fd.as_raw_fd(), vectors.as_ptr().cast(), vectors.len() as c_int) };
        if written >= 0 {
            return Ok(written as usize);
        }
        match last_errno() {
            errno @ (libc::EINVAL | libc::EIO) if gso => Err(IoError::GsoRefused(errno)),
            errno => Err(IoError::from_errno(errno)),
        }
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TunQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn check_name(name: &str) -> Result<(), TunOpenError> {
    let forbidden = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    if name.len() >= libc::IFNAMSIZ || name == "." || name == ".." || name.bytes().any(forbidden) {
        return Err(TunOpenError::Name(name.to_owned()));
    }
    Ok(())
}

/// Opens the first queue with as many of the `wanted` flags as the kernel takes. Returns it with the device's name and all flags set.
fn open_first(name: &str, wanted: c_int) -> Result<(OwnedFd, String, c_int), TunOpenError> {
    let base = libc::IFF_TUN | libc::IFF_NO_PI;
    let mut refusal = None;
    for kept in [libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE, libc::IFF_VNET_HDR, libc::IFF_MULTI_QUEUE, 0] {
        if kept & wanted != kept {
            continue;
        }
        match attach(name, base | kept) {
            Ok((fd, name)) => return Ok((fd, name, base | kept)),
            // An existing device of another kind answers EINVAL to every mismatch: try on, and report the first answer.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = refusal.or(Some(error)),
            Err(error) => return Err(refused(name, error)),
        }
    }
    Err(refused(name, refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))))
}

fn refused(name: &str, source: io::Error) -> TunOpenError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunOpenError::NodeMissing(source),
        Some(libc::EPERM | libc::EACCES) => TunOpenError::Permission { name, source },
        Some(libc::EBUSY | libc::EINVAL) => TunOpenError::Busy { name, source },
        _ => TunOpenError::System { name, source },
    }
}

/// Opens the device node and attaches it to interface `name` with `flags`.
fn attach(name: &str, flags: c_int) -> io::Result<(OwnedFd, String)> {
    // SAFETY: the path is a C string; open takes no other pointer.
    let fd = sys::own(unsafe { libc::open(DEVICE_NODE.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    let mut request = sys::interface_request(name);
    request.ifr_ifru.ifru_flags = flags as c_short;
    // SAFETY: request is an initialised ifreq, which TUNSETIFF reads and writes.
    sys::check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    Ok((fd, sys::interface_name(&request)))
}

/// Asks for the offloads, most first.
fn negotiate(fd: &OwnedFd, flags: c_int) -> Offload {
    if flags & libc::IFF_VNET_HDR == 0 {
        return Offload::default();
    }
    let plain = Offload { vnet_header: true, ..Offload::default() };
    if set_integer(fd, libc::TUNSETVNETHDRSZ as _, VNET_HEADER_LEN as c_int).is_err()
        || set_integer(fd, libc::TUNSETVNETLE as _, 1).is_err()
    {
        // The header stays at its default of 10 bytes; without the promise of little-endian nothing is asked of it.
        return plain;
    }
    let checksum = libc::TUN_F_CSUM as c_uint;
    let tso = checksum | libc::TUN_F_TSO4 as c_uint | libc::TUN_F_TSO6 as c_uint;
    let uso = tso | libc::TUN_F_USO4 as c_uint | libc::TUN_F_USO6 as c_uint;
    if set_offload(fd, uso) {
        return Offload { checksum: true, tso: true, uso: true, ..plain };
    }
    if set_offload(fd, tso) {
        return Offload { checksum: true, tso: true, ..plain };
    }
    Offload { checksum: set_offload(fd, checksum), ..plain }
}

fn set_offload(fd: &OwnedFd, bits: c_uint) -> bool {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(bits)) == 0 }
}

fn set_integer(fd: &OwnedFd, request: libc::c_ulong, value: c_int) -> io::Result<()> {
    // SAFETY: the requests used read one int through the pointer.
    sys::check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &raw const value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_before_the_kernel_sees_them() {
        for name in ["sixteen-bytes-xx", "a/b", "a b", "..", "a:1"] {
            assert!(matches!(check_name(name), Err(TunOpenError::Name(_))), "{name}");
        }
        for name in ["", "evg%d", "fifteen-bytes-x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
