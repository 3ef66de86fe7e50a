//! The cases, in one binary.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside their functions")]
mod cases;
