//! SSTP ([MS-SSTP]) as a server speaks it: the HTTP head before it, the framing, the call machine and its crypto binding. No IO, no clock,
//! no randomness.
//!
//! A connection begins with [`http::parse`]; what follows the head is cut into packets by [`frame::next`] and goes into a [`Call`].
//!
//! Contract of [`Call`]: `handle` one input, drain `poll_output` until it is `None`, then look at `poll_timeout`. After
//! [`Output::Hangup`] nothing more comes out.
//!
//! ```
//! # use sstp::{Call, CallConfig, CertificateHashes, Input, Output, Timers, frame, http};
//! # let received = b"SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n\
//! #     \x10\x01\x00\x0e\x00\x01\x00\x01\x00\x01\x00\x06\x00\x01";
//! # let minute = std::time::Duration::from_secs(60);
//! # let config = CallConfig {
//! #     nonce: [7; 32],
//! #     offer_sha1: false,
//! #     certificates: vec![CertificateHashes { sha1: [1; 20], sha256: [2; 32] }],
//! #     timers: Timers { negotiation: minute, authentication: 2 * minute, hello: minute },
//! # };
//! # #[allow(clippy::disallowed_methods)]
//! # let now = std::time::Instant::now();
//! let http::Head::Request(request) = http::parse(received) else { panic!("answer with Refusal::response, or read on") };
//! let answer = http::accept_response("Sat, 21 Nov 2026 07:00:00 GMT");
//! assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
//!
//! let mut call = Call::new(now, config);
//! let mut stream = &received[request.consumed..];
//! while let Some(frame) = frame::next(stream).expect("give undelimitable bytes to the call: it hangs up") {
//!     let (packet, rest) = stream.split_at(frame.len);
//!     call.handle(now, Input::Packet(packet));
//!     stream = rest;
//! }
//! assert!(matches!(call.poll_output(), Some(Output::Transmit(_))), "CALL_CONNECT_ACK");
//! assert!(matches!(call.poll_output(), Some(Output::StartPpp)));
//! assert_eq!(call.poll_output(), None);
//! ```
#![forbid(unsafe_code)]

mod api;
pub mod binding;
mod call;
pub mod frame;
pub mod http;
pub mod message;

pub use api::*;
pub use call::{Call, CallState};
