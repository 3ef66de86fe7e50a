//! The Admin API: HTTP/1.1 and JSON, over the Unix socket `[server] control_socket`, and over TLS where `[api]` says so. The command line is one of its
//! clients.
//!
//! # One more resource
//!
//! 1. What it takes and gives are types of [`types`] (or of [`request`], for queries and bodies) that derive `Serialize`, `Deserialize` and `JsonSchema`;
//!    their docstrings become the descriptions in `/openapi.json`.
//! 2. A variant of [`Request`] for the control task, answered in `gateway::report` or `run`, and one of [`Response`] for what it says.
//! 3. A line in the table of [`routes`]: method, path, role, types, and how the `Request` is made of them. The document follows from that table.
//! 4. The command line asks with a [`Call`] and [`ask`].
//!
//! # One that goes on
//!
//! A route made with `Route::stream` gets a [`Feed`] for its `Request`. The control task answers [`Response::Done`] (or refuses), keeps the feed, and calls
//! [`Feed::send`] for each thing that happens, which never waits; once it says `false`, or when nothing more will come, the feed is dropped. On the wire it
//! is `application/jsonl`, one object a line, or with `Accept: text/event-stream` an event each; `{"missed":3}` where a slow listener has missed something.
//! Such a route is `/v1/events`. The command line listens with [`follow`].
mod access;
mod client;
mod console;
mod listeners;
mod openapi;
mod reading;
mod refusals;
mod relay;
mod reloaded;
mod request;
mod routes;
mod server;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
pub mod types;

pub use access::{Token, token_hash};
pub use client::{AskError, Call, Told, ask, follow};
pub use listeners::{Bound, Listeners, Listening};
#[cfg(test)]
pub(crate) use openapi::DOCUMENT;
pub use refusals::Refusals;
pub use relay::Relay;
pub use request::{
    AttemptsQuery, BlockOrder, DEFAULT_LIMIT, Disconnect, Drain, ExplainQuery, HistoryQuery, Problem, Refusal, Reload, Request, Response,
    SessionsQuery, TraceQuery,
};
pub use routes::Role;
pub(crate) use routes::escaped;
pub use server::start;
pub use socket::{Operators, bind};
pub use stream::Feed;
#[cfg(test)]
pub(crate) use stream::testing;
