//! Clients that fall silent and come back, perhaps from elsewhere (RFC 4555): how long their sessions wait for them.
use super::established::Established;
use super::{Core, Signal};
use crate::api::Event;
use crate::endpoint::Shared;
use std::time::Instant;

impl Established {
    /// Until when a client that answers nothing may come back; `None` when it may not.
    fn returns_until(&self, core: &Core, now: Instant) -> Option<Instant> {
        let outage = core.timers().network_outage;
        let awaited = core.traits.mobike && !core.is_initiator() && !self.is_closing() && !self.sa.is_ignored(core.heard);
        core.heard.checked_add(outage).filter(|end| awaited && *end > now)
    }

    /// Our request went unanswered through all tries. True when the session waits for the client nevertheless.
    pub(super) fn wait_for_return(&mut self, core: &mut Core, cx: &mut Shared) -> bool {
        let Some(end) = self.returns_until(core, cx.now) else { return false };
        if !std::mem::replace(&mut core.silent, true) {
            let seconds = cx.now.saturating_duration_since(core.heard).as_secs();
            let more = end.saturating_duration_since(cx.now).as_secs();
            core.note(cx, format!("the client has been silent for {seconds} s; it has {more} s more to come back"));
            core.event(cx, Event::Silent(true));
        }
        let datagrams = self.sa.insist(cx.now, end);
        cx.repeat_all(core.path, &datagrams);
        true
    }

    /// After a sign of life from a client that was silent: what we asked goes to where it is now.
    pub(super) fn welcome_back(&mut self, core: &mut Core, cx: &mut Shared) {
        core.silent = false;
        core.note(cx, "the client is back");
        core.event(cx, Event::Silent(false));
        let datagrams = self.sa.ask_again(cx.now, &core.timers());
        cx.repeat_all(core.path, &datagrams);
    }
}

/// The peer has shown that it is there.
pub(super) fn is_sign_of_life(signal: &Signal) -> bool {
    matches!(signal, Signal::Request(_) | Signal::Response(..))
}
