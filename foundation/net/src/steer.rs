//! Which packet thread gets which ESP packet.
//!
//! The gateway chooses the SPIs its peers send to, and makes `last byte of SPI % threads` name the thread that owns the tunnel. A classic
//! BPF program gives the kernel the same rule, so that a packet arrives on the socket of its owner and threads share nothing.
//!
//! It is a shortcut, not a promise: a train merged by GRO goes where its first packet goes, and during a rekey one peer has two SPIs.
//! A thread must therefore be able to handle a packet of a tunnel it does not own.

use std::io;
use std::os::fd::AsFd;

use libc::{
    BPF_ABS, BPF_ALU, BPF_B, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_MOD, BPF_MSH, BPF_RET, BPF_W,
};
use libc::{sock_filter, sock_fprog};

use crate::raw::RawSocket;
use crate::sys;
use crate::udp::UdpSocket;

/// Return value of a socket filter that keeps the whole packet.
const KEEP: u32 = u32::MAX;
/// Classic BPF: return the accumulator.
const BPF_A: u32 = 0x10;

/// Steers the traffic of a `SO_REUSEPORT` group of `members` sockets, counted in the order they were bound.
///
/// UDP-encapsulated ESP (RFC 3948) goes to member `last byte of the SPI % members`. IKE (which starts with four zero bytes) and anything
/// shorter than an SPI, such as a NAT keepalive, goes to member 0. Attach it once, to any member, after all are bound.
pub fn attach_spi_steering(socket: &UdpSocket, members: u32) -> io::Result<()> {
    // The program sees the UDP payload at offset 0.
    let mut program = [
        statement(BPF_LD | BPF_W | BPF_LEN, 0),
        jump(BPF_JMP | BPF_JGE | BPF_K, 4, 0, 5),
        statement(BPF_LD | BPF_W | BPF_ABS, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
        statement(BPF_LD | BPF_B | BPF_ABS, 3),
        statement(BPF_ALU | BPF_MOD | BPF_K, modulus(members)?),
        statement(BPF_RET | BPF_A, 0),
        statement(BPF_RET | BPF_K, 0),
    ];
    attach(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &mut program)
}

/// Makes a raw ESP socket keep only the packets whose SPI's last byte modulo `members` equals `member`.
pub fn attach_raw_filter(socket: &RawSocket, member: u32, members: u32) -> io::Result<()> {
    let mut program = Vec::with_capacity(6);
    if socket.is_ipv6() {
        // An IPv6 raw socket sees the ESP header at offset 0.
        program.push(statement(BPF_LD | BPF_B | BPF_ABS, 3));
    } else {
        // An IPv4 raw socket sees the IP header, whose length is in its first byte.
        program.push(statement(BPF_LDX | BPF_B | BPF_MSH, 0));
        program.push(statement(BPF_LD | BPF_B | BPF_IND, 3));
    }
    program.push(statement(BPF_ALU | BPF_MOD | BPF_K, modulus(members)?));
    program.push(jump(BPF_JMP | BPF_JEQ | BPF_K, member, 0, 1));
    program.push(statement(BPF_RET | BPF_K, KEEP));
    program.push(statement(BPF_RET | BPF_K, 0));
    attach(socket, libc::SO_ATTACH_FILTER, &mut program)
}

/// A modulus a byte can be reduced by.
fn modulus(members: u32) -> io::Result<u32> {
    if (1..=256).contains(&members) {
        return Ok(members);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{members} sockets: one byte of the SPI steers 1 to 256")))
}

fn statement(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

/// `jt` and `jf` count the instructions to skip when the comparison holds or not.
fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

fn attach(socket: &impl AsFd, option: libc::c_int, program: &mut [sock_filter]) -> io::Result<()> {
    // The kernel copies the program during the call.
    let descriptor = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    sys::set_option(socket, libc::SOL_SOCKET, option, descriptor)
}
