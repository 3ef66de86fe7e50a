//! SSTP calls on virtual time: the gateway's control half, a data plane that writes everything down, a RADIUS server that knows its users,
//! and clients that share nothing with the machines under test.
mod client;
mod packets;
mod plane;
mod ppp;
mod radius;
mod world;

pub use client::{Act, Auth, Binding, Client, Conduct, Step};
pub use packets::{cmac, describe};
pub use plane::{FakePlane, Stream};
pub use radius::{Answering, Radius, User};
pub use world::{CallId, Options, World, policy};
