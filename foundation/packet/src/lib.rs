//! Views on IP packets, checksums, splitting and coalescing of super-packets, MSS clamp, ICMP errors. Pure.
#![forbid(unsafe_code)]
