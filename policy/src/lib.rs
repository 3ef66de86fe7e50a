//! Pure decisions: connection request policies, network policies, packet filters, address pools and leases.
#![forbid(unsafe_code)]

mod address;
mod condition;
mod constraint;
mod facts;
pub mod filter;
pub mod glob;
mod hours;
pub mod network;
pub mod pool;
pub mod request;
pub mod rewrite;
mod shown;
