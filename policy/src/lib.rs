//! Pure decisions: connection request policies, network policies, packet filters, address pools and leases.
#![forbid(unsafe_code)]

pub mod filter;
pub mod glob;
pub mod network;
pub mod pool;
pub mod request;
pub mod rewrite;
