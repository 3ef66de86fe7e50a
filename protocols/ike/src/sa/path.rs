//! Which path IKE and ESP of a session take, where no MOBIKE says so.
use super::Core;
use crate::api::{Event, Output, Path};
use crate::endpoint::Shared;

impl Core {
    /// The path of a new authenticated message: adopted during the login; later a TCP connection in place of another (RFC 9329 section 6.1);
    /// without TCP only when the peer is behind NAT, and only its end of it (RFC 7296 section 2.23). Between TCP and UDP clients move by MOBIKE.
    pub(super) fn follow(&mut self, cx: &mut Shared, path: Path, established: bool) {
        if path == self.path || self.ended || self.is_initiator() {
            return;
        }
        if established && !self.may_move(path) {
            return;
        }
        if established {
            self.move_to(cx, path);
        } else {
            self.path = path;
            self.event(cx, Event::Moved(path));
        }
    }

    /// Whether a message on this path may move an established session.
    pub(super) fn may_move(&self, path: Path) -> bool {
        match (self.path.connection, path.connection) {
            (None, None) => self.nat.theirs && path.local == self.path.local,
            (before, after) => before.is_some() && after.is_some(),
        }
    }

    /// IKE and ESP of an established session take another path.
    pub(super) fn move_to(&mut self, cx: &mut Shared, path: Path) {
        self.path = path;
        self.held = None;
        self.event(cx, Event::Moved(path));
        let encapsulate = self.encapsulates();
        cx.out.push_back(Output::Repath { session: self.id, path, encapsulate });
    }

    /// ESP in UDP: there is a NAT, or one side pretends so.
    pub(crate) fn encapsulates(&self) -> bool {
        self.nat.ours || self.nat.theirs
    }
}
