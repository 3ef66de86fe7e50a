//! The cases, in one binary.
mod cases;
