//! An SSTP client that behaves on the wire as Windows does, written apart from the gateway: for negative cases and load.
