//! TLS connections to servers: watched, and replaced when they break (RFC 6613 section 2.6, RFC 3539 section 3.4).
use crate::api::{Output, Probe, RadiusVersion, RequestFailure, SocketId};
use crate::attributes::number;
use crate::client::{Client, Loss, Timer, Work};
use crate::codec::Packet;
use crate::retry;
use crate::table::{RequestKey, Slot};
use std::time::{Duration, Instant};

/// How long a connection may be silent before it is probed (Tw of RFC 3539 section 3.4.1), give or take a tenth.
const WATCHDOG: Duration = Duration::from_secs(30);

/// Identifiers of a connection that are kept for the watchdog (RFC 6613 section 2.6.5).
pub(crate) const WATCHDOG_PLACE: usize = 1;

impl Client {
    /// Sets the watchdog of a connection.
    pub(crate) fn watch(&mut self, now: Instant, socket: SocketId) {
        let Some(peer) = self.table.line(socket).and_then(|line| self.peers.get(line.peer)) else { return };
        if peer.server.is_tls() && peer.server.probe != Probe::Off {
            self.timers.insert((now + retry::jittered(WATCHDOG, &mut *self.random), Timer::Watchdog(socket)));
        }
    }

    pub(crate) fn watchdog(&mut self, now: Instant, socket: SocketId) {
        let Some(line) = self.table.line(socket).filter(|_| !self.table.is_parked(socket)) else { return };
        let heard = self.peers.get(line.peer).and_then(|peer| peer.heard());
        if heard.is_none_or(|heard| now.saturating_duration_since(heard) > WATCHDOG / 2) {
            self.probe(now, line.peer, Some(socket));
        }
        self.watch(now, socket);
    }

    /// A connection stands: what waits for it goes out, in the words of the version that both ends agreed on.
    pub(crate) fn connected(&mut self, now: Instant, socket: SocketId, version: RadiusVersion) {
        let Some(line) = self.table.line(socket) else { return };
        let mut first = [0; 4];
        self.random.fill(&mut first);
        if let Some(peer) = self.peers.get_mut(line.peer) {
            peer.version = Some(version);
        }
        for (key, slot) in self.table.connected(socket, version, u32::from_be_bytes(first)) {
            self.send_waiting(now, key, slot);
        }
    }

    /// What waits goes out over connections that have room for it again.
    pub(crate) fn send_parked(&mut self, now: Instant) {
        while let Some((key, from, to)) = self.table.unpark(WATCHDOG_PLACE) {
            self.release(from);
            self.send_waiting(now, key, to);
        }
    }

    /// Sends what waited until now, in another place or another version than it was written for.
    fn send_waiting(&mut self, now: Instant, key: RequestKey, slot: Slot) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        let is_written = std::mem::replace(&mut request.slot, slot) == slot;
        let mut random = [0; 16];
        self.random.fill(&mut random);
        if matches!(request.work, Work::Abandoned) {
            return drop(self.remove(key));
        }
        let Some(request) = self.requests.get(&key) else { return };
        let Some((peer, to)) = self.peers.get(request.line.peer).and_then(|peer| Some((peer, peer.address(request.line.purpose)?))) else {
            return;
        };
        let written =
            if is_written { Ok(request.bytes.clone()) } else { self.write(now, &request.work, slot.number, random, &peer.server) };
        match written {
            Ok(bytes) => {
                self.outputs.push_back(Output::Transmit { socket: slot.socket, to, bytes: bytes.clone() });
                if let Some(request) = self.requests.get_mut(&key) {
                    request.bytes = bytes;
                }
            }
            Err(error) => {
                let failure = RequestFailure::Unsendable { server: peer.server.name.clone(), reason: error.to_string() };
                let Some(request) = self.remove(key) else { return };
                match request.work {
                    // Another server would be sent the same.
                    Work::Authentication(work) => self.authentication_unanswered(now, work, request.line.peer, failure, true),
                    Work::Accounting(work) => self.account_elsewhere(now, work, request.line.peer, failure),
                    Work::Probe | Work::Abandoned => {}
                }
            }
        }
    }

    /// The server answers that it cannot serve a request: another one may (RFC 9765 section 6.1).
    pub(crate) fn declined(&mut self, now: Instant, key: RequestKey, reply: &Packet<'_>) {
        let Some(peer) = self.requests.get(&key).and_then(|request| self.peers.get_mut(request.line.peer)) else { return };
        peer.counters.declined += 1;
        peer.connected();
        let mut cause = "it cannot serve this request (Protocol-Error".to_owned();
        if let Ok(Some(value)) = reply.u32(number::ERROR_CAUSE) {
            cause.push_str(&format!(", Error-Cause {value}{}", error_cause(value)));
        }
        if let Some(text) = reply.text(number::REPLY_MESSAGE) {
            cause.push_str(&format!(", {text:?}"));
        }
        cause.push(')');
        self.give_up(now, key, &Loss::Declined(&cause));
    }

    /// Ends a connection from our side.
    pub(crate) fn hang_up(&mut self, now: Instant, socket: SocketId, cause: &str, served: bool) {
        self.outputs.push_back(Output::Close { socket });
        self.ended(now, socket, cause, served, false);
    }

    /// A connection is no more. What waited goes out on another one, unless none would serve.
    pub(crate) fn closed(&mut self, now: Instant, socket: SocketId, cause: &str, served: bool) {
        // A server may limit how many connections it takes: others serve, and will have room.
        self.ended(now, socket, cause, served, !served);
    }

    fn ended(&mut self, now: Instant, socket: SocketId, cause: &str, served: bool, may_wait: bool) {
        let Some(line) = self.table.line(socket) else { return };
        let parked = may_wait && self.table.park(socket);
        let waiting = if parked { Vec::new() } else { self.table.close(socket) };
        if let Some(peer) = self.peers.get_mut(line.peer) {
            peer.counters.connections_lost += 1;
            if !served && !parked {
                peer.back_off(now, cause);
            }
        }
        for key in waiting {
            if served { self.send_again(now, key, cause) } else { self.give_up(now, key, &Loss::Connection(cause)) }
        }
    }

    /// The same question on another connection, as a packet of its own. A server that loses one connection after the other gets it only so often.
    fn send_again(&mut self, now: Instant, key: RequestKey, cause: &str) {
        let Some(request) = self.requests.get(&key) else { return };
        let Some(peer) = self.peers.get(request.line.peer) else { return };
        if request.transmissions >= peer.server.tries || matches!(request.work, Work::Probe | Work::Abandoned) {
            return self.give_up(now, key, &Loss::Connection(cause));
        }
        self.send_anew(now, key);
    }

    /// The same question as a packet of its own, from another socket.
    pub(crate) fn send_anew(&mut self, now: Instant, key: RequestKey) {
        let Some(request) = self.remove(key) else { return };
        let peer = request.line.peer;
        match self.send(now, peer, request.work) {
            Ok(key) => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.counters.retransmitted += 1;
                }
                let Some(again) = self.requests.get_mut(&key) else { return };
                again.began = request.began;
                again.transmissions = request.transmissions + 1;
                again.unsent = request.unsent;
                again.before = request.before;
                if let Work::Authentication(work) = &again.work {
                    let conversation = work.conversation;
                    self.moved(conversation, key);
                }
            }
            Err((Work::Authentication(work), failure)) => self.authentication_unanswered(now, work, peer, failure, false),
            Err((Work::Accounting(work), failure)) => self.account_elsewhere(now, work, peer, failure),
            Err(_) => {}
        }
    }
}

/// The name of an Error-Cause that stands in Protocol-Errors (RFC 5176 section 3.5).
fn error_cause(value: u32) -> &'static str {
    match value {
        406 => " Unsupported Extension",
        502 => " Request Not Routable (Proxy)",
        505 => " Other Proxy Processing Error",
        506 => " Resources Unavailable",
        _ => "",
    }
}
