//! The link from outside: inputs, outputs and a clock that only the tests move.
mod common;
mod windows;
