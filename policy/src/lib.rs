//! Pure decisions: connection request policies, network policies, address pools and leases.
#![forbid(unsafe_code)]

pub mod glob;
pub mod network;
pub mod pool;
pub mod request;
pub mod rewrite;
