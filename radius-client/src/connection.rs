//! TLS connections to servers: watched, and replaced when they break (RFC 6613 section 2.6, RFC 3539 section 3.4).
use crate::api::{Output, Probe, SocketId};
use crate::client::{Client, Loss, Timer, Work};
use crate::retry;
use crate::table::RequestKey;
use std::time::{Duration, Instant};

/// How long a connection may be silent before it is probed (Tw of RFC 3539 section 3.4.1), give or take a tenth.
const WATCHDOG: Duration = Duration::from_secs(30);

impl Client {
    /// Sets the watchdog of a connection.
    pub(crate) fn watch(&mut self, now: Instant, socket: SocketId) {
        let Some(peer) = self.table.line(socket).and_then(|line| self.peers.get(line.peer)) else { return };
        if peer.server.is_tls() && peer.server.probe != Probe::Off {
            self.timers.insert((now + retry::jittered(WATCHDOG, &mut *self.random), Timer::Watchdog(socket)));
        }
    }

    pub(crate) fn watchdog(&mut self, now: Instant, socket: SocketId) {
        let Some(line) = self.table.line(socket) else { return };
        let heard = self.peers.get(line.peer).and_then(|peer| peer.heard());
        if heard.is_none_or(|heard| now.saturating_duration_since(heard) > WATCHDOG / 2) {
            self.probe(now, line.peer, Some(socket));
        }
        self.watch(now, socket);
    }

    /// Ends a connection from our side.
    pub(crate) fn hang_up(&mut self, now: Instant, socket: SocketId, cause: &str, served: bool) {
        self.outputs.push_back(Output::Close { socket });
        self.closed(now, socket, cause, served);
    }

    /// A connection is no more. What waited goes out on another one, unless none would serve.
    pub(crate) fn closed(&mut self, now: Instant, socket: SocketId, cause: &str, served: bool) {
        let Some(line) = self.table.line(socket) else { return };
        let waiting = self.table.close(socket);
        if let Some(peer) = self.peers.get_mut(line.peer) {
            peer.counters.connections_lost += 1;
            if !served {
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
                again.before = request.before;
                if let Work::Authentication(work) = &again.work {
                    let conversation = work.conversation;
                    self.moved(conversation, key);
                }
            }
            Err((Work::Authentication(work), failure)) => self.authentication_unanswered(now, work, peer, failure, false),
            Err((Work::Accounting(work), failure)) => self.account_elsewhere(now, work, failure),
            Err(_) => {}
        }
    }
}
