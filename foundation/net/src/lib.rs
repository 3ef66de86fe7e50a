//! Every system call: TUN, UDP with segmentation offload, raw ESP, addresses and routes, readiness.
//!
//! The only crate of the house with `unsafe`. It knows no protocol: bytes and addresses go in and come out. All descriptors are
//! non-blocking and close-on-exec, except the netlink socket of [`link::Netlink`], which the control plane uses synchronously.
//!
//! Packet threads use [`tun`], [`udp`], [`raw`], [`steer`] and [`poll`]: batches in, batches out, no allocation after start, and
//! errors as the small [`IoError`]. The control plane uses [`ike`], [`link`], [`tcp`], [`thread`],
//! [`process`], [`privileges`], [`folder`] and [`terminal`].

mod address;
mod cmsg;
mod error;
pub mod folder;
pub mod ike;
pub mod link;
pub mod listen;
#[cfg(test)]
mod namespace_tests;
mod netlink;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod raw;
mod recv;
pub mod reports;
mod send;
pub mod steer;
mod sys;
pub mod tcp;
pub mod terminal;
pub mod thread;
pub mod tun;
pub mod udp;

pub use error::IoError;
pub use recv::{Messages, Received, RecvBatch};
pub use send::Datagram;
