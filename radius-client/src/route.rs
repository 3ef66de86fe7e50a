//! UDP sockets whose source address is in doubt: the kernel chose it when the socket was opened, and addresses and routes change.
use crate::api::{Output, SocketId};
use crate::client::{Client, Loss, Work};
use crate::table::{Line, Number, RequestKey, Slot};
use std::time::Instant;

impl Client {
    /// The next request goes from a new socket, which the kernel gives the source address of now. What is in flight may still be answered where it was
    /// asked from. Nothing where the source is configured, over TLS, or when it was done a moment ago.
    pub(crate) fn reroute(&mut self, now: Instant, line: Line) {
        let Some(peer) = self.peers.get_mut(line.peer).filter(|peer| !peer.server.is_tls() && peer.server.source.is_none()) else { return };
        if !peer.health_mut(line.purpose).reroutes(now) {
            return;
        }
        for socket in self.table.retire(line) {
            self.outputs.push_back(Output::Close { socket });
        }
    }

    /// A datagram could not be sent. What never went out at all does so from another source address, if there is hope of one.
    pub(crate) fn not_sent(&mut self, now: Instant, socket: SocketId, identifier: u8) {
        let Some(line) = self.table.line(socket) else { return };
        let key = self.table.find(Slot { socket, number: Number::Identifier(identifier) });
        if let Some(request) = key.and_then(|key| self.requests.get_mut(&key)) {
            request.unsent += 1;
        }
        self.reroute(now, line);
        if let Some(key) = key.filter(|_| self.table.is_retired(socket)) {
            self.send_elsewhere(now, key);
        }
    }

    fn send_elsewhere(&mut self, now: Instant, key: RequestKey) {
        let Some(request) = self.requests.get(&key).filter(|request| request.unsent == request.transmissions) else { return };
        match request.work {
            Work::Authentication(_) | Work::Accounting(_) => self.send_anew(now, key),
            Work::Abandoned => drop(self.remove(key)),
            Work::Probe => {
                let peer = request.line.peer;
                self.give_up(now, key, &Loss::PortClosed);
                self.probe(now, peer, None);
            }
        }
    }
}
