//! Who is kept out by hand: before RADIUS is asked where enough is known then, else after; and what happens to those who are in.
use super::{Gateway, Live, Now, Plane};
use crate::api::types::{Block, BlockList, Blocked, Disconnected};
use crate::api::{BlockOrder, Disconnect, Refusal, Response};
use crate::blocks::{Blocks, Who};
use crate::login::Denied;
use crate::outcome::{CloseReason, Stage};
use ike::SessionId;

/// The longest block with an end, in seconds: ten years.
const LONGEST: u64 = 3_650 * 86_400;

impl<P: Plane> Gateway<P> {
    /// The list as it was before this start.
    pub fn remember_blocks(&mut self, now: Now, blocks: Vec<Block>) {
        self.blocks = Blocks::new(blocks, unix(now));
    }

    /// The whole list, if it has changed since this was asked last.
    pub fn unsaved_blocks(&mut self) -> Option<Vec<Block>> {
        self.blocks.unsaved()
    }

    pub(super) fn list_blocks(&mut self, now: Now) -> Response {
        Response::Blocks(BlockList { blocks: self.blocks.list(unix(now)) })
    }

    pub(super) fn block(&mut self, now: Now, order: &BlockOrder) -> Response {
        let block = match self.add_block(now, order.who.clone(), order.reason.clone(), order.for_secs) {
            Ok(block) => block,
            Err(refused) => return refused,
        };
        if order.disconnect {
            let blocked: Vec<_> = self.live.iter().filter(|(_, live)| self.keeps_out(now, live)).map(|(&id, _)| id).collect();
            for id in blocked {
                self.close(now, id, CloseReason::Operator);
            }
        }
        Response::Block(block)
    }

    pub(super) fn unblock(&mut self, id: u64) -> Response {
        match self.blocks.remove(id) {
            Some(block) => {
                tracing::info!(block = id, who = %block.who, "no longer blocked");
                Response::Block(block)
            }
            None => Response::refused(Refusal::NotFound, format!("no block {id}"), "`evergate block list` lists them"),
        }
    }

    pub(super) fn disconnect(&mut self, now: Now, order: &Disconnect) -> Response {
        let ids: Vec<u64> = match (order.id, order.user.as_deref()) {
            (Some(id), None) => self.live.get(&SessionId(id)).filter(|live| live.session.is_some()).map(|_| id).into_iter().collect(),
            (None, Some(user)) => self.sessions_of(user),
            _ => {
                return Response::refused(Refusal::Wrong, "it is not clear which session is meant", "give either a session's id or a user");
            }
        };
        if ids.is_empty() {
            return Response::refused(Refusal::NotFound, "no such session is up", super::report::SESSIONS);
        }
        let mut blocks: Vec<Block> = Vec::new();
        let held = if order.hold_secs.is_some() { self.users_of(&ids) } else { Vec::new() };
        for user in held {
            match self.add_block(now, Blocked::User(user), order.reason.clone(), order.hold_secs) {
                Ok(block) => blocks.push(block),
                Err(refused) => return refused,
            }
        }
        for &id in &ids {
            self.close(now, SessionId(id), CloseReason::Operator);
        }
        Response::Disconnected(Disconnected { ids, blocks })
    }

    fn users_of(&self, ids: &[u64]) -> Vec<String> {
        let user = |id: &u64| Some(self.live.get(&SessionId(*id))?.session.as_ref()?.granted.user.clone());
        let mut users: Vec<_> = ids.iter().filter_map(user).collect();
        users.sort();
        users.dedup_by(|a, b| super::report::same_user(a, b));
        users
    }

    fn add_block(&mut self, now: Now, who: Blocked, reason: Option<String>, for_secs: Option<u64>) -> Result<Block, Response> {
        if for_secs.is_some_and(|time| time == 0 || time > LONGEST) {
            let error = "a block lasts a second at least and ten years at most";
            return Err(Response::refused(Refusal::Wrong, error, "leave the time out for one that stays until it is removed"));
        }
        let until = for_secs.map(|time| unix(now) + time);
        let added = self.blocks.add(who, reason, unix(now), until);
        let block = added.map_err(|(error, remedy)| Response::refused(Refusal::Wrong, error, remedy))?;
        tracing::info!(block = block.id, who = %block.who, until = block.until, reason = block.reason.as_deref().unwrap_or("-"), "blocked");
        Ok(block)
    }

    /// Whether a session that is up would be kept out.
    pub(super) fn keeps_out(&self, now: Now, live: &Live) -> bool {
        let Some(session) = &live.session else { return false };
        let known = &session.granted.known;
        let fingerprint = live.login.as_ref().and_then(|login| login.fingerprint.as_deref());
        let serial = known.certificate.as_ref().map(|certificate| certificate.serial.as_str());
        let client = live.path.remote.ip();
        let who = Who { user: &session.granted.user, machine: known.machine.as_deref(), serial, fingerprint, client };
        self.blocks.find(&who, unix(now)).is_some()
    }

    /// Refuses a login of somebody on the block list. What is not known yet is left out, and asked again before the policies.
    pub(super) fn refuse_blocked(
        &mut self,
        now: Now,
        session: SessionId,
        user: &str,
        machine: Option<&str>,
        serial: Option<&str>,
    ) -> Result<(), Denied> {
        let Some(live) = self.live.get(&session) else { return Ok(()) };
        let fingerprint = live.login.as_ref().and_then(|login| login.fingerprint.as_deref());
        let who = Who { user, machine, serial, fingerprint, client: live.path.remote.ip() };
        let Some(block) = self.blocks.find(&who, unix(now)) else { return Ok(()) };
        let until = block.until.and_then(|until| jiff::Timestamp::from_second(i64::try_from(until).ok()?).ok());
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        let reason = block.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let cause = format!("blocked by the operator (block {}, {}){until}{reason}", block.id, block.who);
        self.totals.blocked += 1;
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.block = Some(block.id);
            attempt.decision = vec![cause.clone()];
        }
        Err(Denied::new(Stage::Policy, cause))
    }
}

fn unix(now: Now) -> u64 {
    now.wall.as_second().unsigned_abs()
}
