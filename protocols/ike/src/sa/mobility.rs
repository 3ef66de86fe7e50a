//! MOBIKE (RFC 4555): clients that move, and whether they are where they say.
//!
//! IKE goes to the new address at once. ESP follows when the client has answered there (section 3.7), one round trip after its
//! UPDATE_SA_ADDRESSES: else whoever has a login could have a flood of packets sent to anyone. Packets from the client are taken from everywhere
//! meanwhile. Another port of the same address is no other host, and TCP has shown by itself that the client is there: nothing is checked then.
//!
//! Packets of a client behind a NAT may come from elsewhere without its knowledge (RFC 7296 section 2.23), or because somebody sends a copy of one
//! from there: with MOBIKE that is checked in the same way, but who does not answer there is taken to be where it was. Without MOBIKE there is no
//! question whose answer would prove anything.
use super::established::Established;
use super::rekey::Own;
use super::{Core, IkeSa, Role, State};
use crate::api::{Event, Output, Path};
use crate::endpoint::Shared;
use crate::nat::{Detected, detect, detection_notifies, unexpected};
use crate::wire::{Exchange, Notify, Payload, Payloads, notify};
use std::net::IpAddr;

/// Bytes of a COOKIE2 of ours; section 4.2.5 allows 8 to 64.
const COOKIE: usize = 16;

/// Addresses that a client is told; the answer should not grow by what nobody tries.
const MAX_ADDRESSES: usize = 8;

/// Where ESP goes while the client has not shown that it is where it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub path: Path,
    pub encapsulate: bool,
    /// The client has not said that it moved: a packet of its came from elsewhere.
    pub sighted: bool,
}

/// A return routability check of ours.
#[derive(Debug)]
pub(super) struct Check {
    cookie: Vec<u8>,
    /// The client moved on meanwhile: its answer does not tell from where.
    stale: bool,
}

/// What an initiator says of its new path: with MOBIKE its addresses (section 3.5), without it that it is there, which suffices on a new TCP
/// connection (RFC 9329 section 6.1).
pub(super) fn moved(sa: &IkeSa, core: &Core) -> Vec<Payload> {
    let Role::Initiator(config) = &core.role else { return Vec::new() };
    if !core.traits.mobike {
        return Vec::new();
    }
    let nat = detection_notifies(sa.spi_i, sa.spi_r, core.path, config.force_encapsulation);
    let update = Notify::new(notify::UPDATE_SA_ADDRESSES, []);
    std::iter::once(update).chain(nat).map(Payload::Notify).collect()
}

/// Where else we are, for a client that may lose the way to the address that it dialled, or the whole address family (section 3.6). Behind a NAT our
/// addresses mean nothing to it.
pub(super) fn other_addresses(core: &Core) -> Vec<Notify> {
    let Role::Responder(config) = &core.role else { return Vec::new() };
    let dialled = core.path.local.ip().to_canonical();
    let others = config.addresses.iter().filter(|address| **address != dialled && !core.nat.ours);
    let notify = |address: &IpAddr| match address {
        IpAddr::V4(address) => Notify::new(notify::ADDITIONAL_IP4_ADDRESS, address.octets()),
        IpAddr::V6(address) => Notify::new(notify::ADDITIONAL_IP6_ADDRESS, address.octets()),
    };
    others.take(MAX_ADDRESSES).map(notify).collect()
}

/// Does what a request says of addresses, and answers that: NAT is looked for anew, and COOKIE2 goes back as it came.
pub(super) fn request(state: &mut Established, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> Vec<Payload> {
    if !core.traits.mobike {
        return Vec::new();
    }
    let cookie = payloads.notify(notify::COOKIE2).cloned().map(Payload::Notify);
    if core.is_initiator() {
        return cookie.into_iter().collect();
    }
    let (path, spi_i, spi_r) = (core.reply_path, state.sa.spi_i, state.sa.spi_r);
    let detected = detect(payloads, spi_i, spi_r, path);
    let mut answer = Vec::new();
    if let Some((kind, cause)) = objection(state, payloads, path) {
        core.note(cx, cause);
        answer.push(Payload::Notify(Notify::new(kind, [])));
    } else if payloads.notify(notify::UPDATE_SA_ADDRESSES).is_some() {
        relocate(state, core, cx, path, detected.unwrap_or(core.nat));
    }
    answer.extend(cookie);
    if detected.is_some() {
        answer.extend(detection_notifies(spi_i, spi_r, path, false).map(Payload::Notify));
    }
    answer
}

/// Why the client cannot be where this request came from: the notify, and a line for the record.
fn objection(state: &Established, payloads: &Payloads, path: Path) -> Option<(u16, String)> {
    if let Some(cause) = unexpected(payloads, path) {
        return Some((notify::UNEXPECTED_NAT_DETECTED, cause));
    }
    payloads.notify(notify::UPDATE_SA_ADDRESSES)?;
    let remote = path.remote.ip().to_canonical();
    let broadcast = remote == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    let why = if state.scope.inner.iter().any(|inner| inner.to_canonical() == remote) {
        "its own inner address: the tunnel would lead into itself"
    } else if remote.is_unspecified() || remote.is_multicast() || broadcast || path.remote.port() == 0 {
        "no address of a host"
    } else {
        return None;
    };
    Some((notify::UNACCEPTABLE_ADDRESSES, format!("the client wants to move to {}, {why}; it stays where it was", path.remote)))
}

/// The client is elsewhere now, or behind another NAT.
fn relocate(state: &mut Established, core: &mut Core, cx: &mut Shared, path: Path, nat: Detected) {
    let elsewhere = path != core.path;
    if !elsewhere && nat == core.nat {
        return;
    }
    let before = core.esp_path();
    if nat != core.nat {
        core.event(cx, Event::Nat { ours: nat.ours, theirs: nat.theirs });
    }
    (core.path, core.nat) = (path, nat);
    core.event(cx, Event::Moved(path));
    let same_host = path.remote.ip().to_canonical() == before.path.remote.ip().to_canonical();
    let held = Held { sighted: false, ..before };
    core.held = (core.checks_routability() && path.connection.is_none() && !same_host).then_some(held);
    if core.held.is_none() {
        cx.out.push_back(Output::Repath { session: core.id, path, encapsulate: core.encapsulates() });
    }
    if elsewhere {
        if let Own::Routability(check) = &mut state.own {
            check.stale = true;
        }
        ask_there(state, core, cx);
    }
}

/// A packet of the client came from another host ([`Core::doubts`]): it is asked there.
pub(super) fn sighted(state: &mut Established, core: &mut Core, cx: &mut Shared, path: Path) {
    core.held = Some(Held { sighted: true, ..core.esp_path() });
    go(state, core, cx, path);
}

/// Nobody answers where a packet of the client came from: it is asked where it was before. False when it has said itself that it moved.
pub(super) fn go_back(state: &mut Established, core: &mut Core, cx: &mut Shared) -> bool {
    let Some(held) = core.held.take_if(|held| held.sighted) else { return false };
    core.note(cx, format!("a packet came from {}, but nobody answers there: the path stays", core.path.remote));
    go(state, core, cx, held.path);
    true
}

/// IKE goes another way, with what waits for an answer.
fn go(state: &mut Established, core: &mut Core, cx: &mut Shared, path: Path) {
    core.path = path;
    core.event(cx, Event::Moved(path));
    if let Own::Routability(check) = &mut state.own {
        check.stale = true;
    }
    let datagrams = state.sa.ask_again(cx.now, &core.timers());
    cx.transmit_all(path, &datagrams);
}

/// What waits for an answer went to where the client is no more. One that was silent is asked when it is welcomed.
fn ask_there(state: &mut Established, core: &Core, cx: &mut Shared) {
    if core.path.connection.is_some() {
        cx.transmit_all(core.path, state.sa.unanswered());
    } else if !core.silent {
        let datagrams = state.sa.ask_again(cx.now, &core.timers());
        cx.transmit_all(core.path, &datagrams);
    }
}

/// Asks the client for a sign of life that only who receives the question can give.
pub(super) fn check(state: &mut Established, core: &Core, cx: &mut Shared) {
    let mut cookie = vec![0; COOKIE];
    cx.random.fill(&mut cookie);
    let question = Notify::new(notify::COOKIE2, cookie.clone());
    core.request(cx, &mut state.sa, Exchange::Informational, &[Payload::Notify(question)]);
    state.own = Own::Routability(Check { cookie, stale: false });
}

impl Check {
    /// The answer brings the cookie back, or tells nothing because it was asked for in two places.
    pub(super) fn is_met(&self, payloads: &Payloads) -> bool {
        self.stale || payloads.notify(notify::COOKIE2).is_some_and(|notify| notify.data == self.cookie)
    }

    /// The client has answered. One that moved on is asked again by whoever asks next.
    pub(super) fn finish(self, core: &mut Core, cx: &mut Shared) {
        if self.stale || core.held.take().is_none() {
            return;
        }
        core.note(cx, format!("the client answers at {}: its packets go there", core.path.remote));
        cx.out.push_back(Output::Repath { session: core.id, path: core.path, encapsulate: core.encapsulates() });
    }
}

impl Core {
    fn checks_routability(&self) -> bool {
        matches!(&self.role, Role::Responder(config) if config.return_routability)
    }

    /// Where ESP goes.
    pub(super) fn esp_path(&self) -> Held {
        self.held.unwrap_or(Held { path: self.path, encapsulate: self.encapsulates(), sighted: false })
    }

    /// Whether a client whose packet came on this path has to answer there before its packets go there.
    pub(super) fn doubts(&self, path: Path) -> bool {
        let other_host = path.remote.ip().to_canonical() != self.esp_path().path.remote.ip().to_canonical();
        let asks = self.traits.mobike && self.checks_routability() && path.connection.is_none();
        asks && other_host && path != self.path && self.may_move(path)
    }
}

impl Established {
    /// The client answered a return routability check with another COOKIE2, or none: it has not seen the question (section 3.7).
    pub(super) fn unreachable(self: Box<Self>, core: &mut Core, cx: &mut Shared) -> State {
        let cause = format!(
            "the client says that it moved to {}, but its answer to the return routability check (RFC 4555 section 3.7) there does not bring \
             COOKIE2 back; for clients that never do, set return_routability = false in [[listener]]",
            core.path.remote
        );
        self.expel(core, cx, cause)
    }
}
