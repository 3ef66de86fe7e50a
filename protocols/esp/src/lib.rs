//! ESP in tunnel mode (RFC 4303): sequence numbers, replay window, sealing and opening in place. Pure.
#![forbid(unsafe_code)]
