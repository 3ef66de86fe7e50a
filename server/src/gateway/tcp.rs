//! TCP connections with IKE and ESP (RFC 9329): which sessions use them, and how long one stays that nobody uses.
use super::sstp::Turned;
use super::{Gateway, Now, Plane};
use crate::outcome::{Failure, Fault, Stage};
use ike::{ConnectionId, Path, SessionId};
use policy::network::Tunnel;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a connection without a session waits for the client to close it, or to begin another (RFC 9329 section 6.1).
const LINGER: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: BTreeMap<ConnectionId, Connection>,
    /// When unused ones are closed.
    deadlines: BTreeSet<(Instant, ConnectionId)>,
}

#[derive(Debug)]
struct Connection {
    path: Path,
    /// For the record: proxy, ..
    notes: Vec<String>,
    sessions: BTreeSet<SessionId>,
    /// A session has used it.
    used: bool,
    close_at: Option<Instant>,
}

impl Connections {
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Closes it then, unless a session takes it.
    fn expire(&mut self, id: ConnectionId, at: Option<Instant>) {
        let Some(connection) = self.by_id.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut connection.close_at, at) {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.extend(at.map(|at| (at, id)));
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.expire(id, None);
        self.by_id.remove(&id)
    }
}

impl<P: Plane> Gateway<P> {
    /// A client sent the prefix of RFC 9329 on a TCP connection, which the data plane has.
    pub fn tcp_opened(&mut self, now: Now, path: Path, notes: Vec<String>) {
        let Some(id) = path.connection else { return };
        self.tcp.by_id.insert(id, Connection { path, notes, sessions: BTreeSet::new(), used: false, close_at: None });
        self.tcp.expire(id, Some(now.instant + self.settings.half_open_timeout));
    }

    /// A connection is gone. Its sessions wait for the client to come back on another.
    pub fn tcp_closed(&mut self, now: Now, id: ConnectionId, cause: &str) {
        let Some(connection) = self.tcp.remove(id) else { return };
        self.plane.tcp_gone(id);
        for session in &connection.sessions {
            self.note(now, *session, format!("the TCP connection is gone: {cause}"));
        }
        if !connection.used {
            self.tcp_failed(now, connection, Fault::PeerMisbehaved, format!("the TCP connection ended before IKE_SA_INIT: {cause}"));
        }
    }

    pub(super) fn tcp_timeouts(&mut self, now: Now) {
        while let Some(&(at, id)) = self.tcp.deadlines.first()
            && at <= now.instant
        {
            let Some(connection) = self.tcp.remove(id) else { continue };
            self.plane.tcp_close(id);
            if !connection.used {
                self.tcp_failed(now, connection, Fault::Silence, "no IKE_SA_INIT came on the TCP connection".into());
            }
        }
    }

    fn tcp_failed(&mut self, now: Now, connection: Connection, fault: Fault, cause: String) {
        let failure = Failure { stage: Stage::SaInit, fault, notify: None, eap: None, remedy: None, cause };
        self.turned_away(now, Tunnel::Ikev2, Turned { path: connection.path, failure, notes: connection.notes });
    }

    /// A session began.
    pub(super) fn tcp_begun(&mut self, now: Now, session: SessionId) {
        let Some(path) = self.live.get(&session).map(|live| live.path) else { return };
        let Some(connection) = path.connection.and_then(|id| self.tcp.by_id.get(&id)) else { return };
        let notes = connection.notes.clone();
        self.note(now, session, "over TCP".into());
        for note in notes {
            self.note(now, session, note);
        }
        self.tcp_taken(session, path);
    }

    /// A session is on this path now.
    pub(super) fn tcp_taken(&mut self, session: SessionId, path: Path) {
        let Some(id) = path.connection else { return };
        if let Some(connection) = self.tcp.by_id.get_mut(&id) {
            connection.sessions.insert(session);
            connection.used = true;
            self.tcp.expire(id, None);
        }
    }

    /// A session is up: its client is no stranger.
    pub(super) fn tcp_known(&mut self, session: SessionId) {
        if let Some(id) = self.live.get(&session).and_then(|live| live.path.connection) {
            self.plane.tcp_trust(id);
        }
    }

    /// A session leaves the path that it had.
    pub(super) fn tcp_left(&mut self, now: Now, session: SessionId) {
        let Some(id) = self.live.get(&session).and_then(|live| live.path.connection) else { return };
        let Some(connection) = self.tcp.by_id.get_mut(&id) else { return };
        connection.sessions.remove(&session);
        if connection.sessions.is_empty() {
            self.tcp.expire(id, Some(now.instant + LINGER));
        }
    }
}
