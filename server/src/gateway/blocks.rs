//! Who is kept out by hand: before RADIUS is asked where enough is known then, else after; and what happens to those who are in.
use super::{Gateway, Live, Now, Plane};
use crate::api::types::{Block, BlockList, Blocked, Disconnected};
use crate::api::{BlockOrder, Disconnect, Refusal, Response};
use crate::attempts::Shown;
use crate::blocks::{Blocks, Kept, Who, same_digits};
use crate::login::{Authenticated, Denied};
use crate::outcome::{CloseReason, Stage};
use ike::SessionId;
use policy::network::Method;

/// The longest block with an end, in seconds: ten years.
const LONGEST: u64 = 3_650 * 86_400;

/// What a login says of itself by now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claims<'a> {
    pub user: &'a str,
    pub machine: Option<&'a str>,
    /// Of its certificate.
    pub serial: Option<&'a str>,
    /// It may have shown one that was not seen here.
    pub hides_certificate: bool,
    /// A server has confirmed the name.
    pub confirmed: bool,
}

impl<'a> Claims<'a> {
    pub(super) fn of(who: &'a Authenticated<'_>) -> Self {
        Self {
            user: who.user,
            machine: who.machine.as_deref(),
            serial: who.certificate.as_ref().map(|certificate| certificate.serial.as_str()),
            hides_certificate: who.hides_a_certificate(),
            confirmed: who.confirmed,
        }
    }
}

/// Somebody as the block list looks at it: under the name that it gave itself, too.
fn look<T>(live: &Live, claims: Claims<'_>, at: impl FnOnce(&Who<'_>) -> T) -> T {
    let login = live.login.as_ref();
    let said = login.map(|login| String::from_utf8_lossy(&login.identity));
    let fingerprint = login.and_then(|login| login.fingerprint.as_deref());
    let Claims { user, machine, serial, hides_certificate, confirmed } = claims;
    let users = [user, said.as_deref().unwrap_or(user)];
    at(&Who { users: &users, machine, serial, fingerprint, client: live.path.remote.ip(), hides_certificate, is_unconfirmed: !confirmed })
}

impl<P: Plane> Gateway<P> {
    /// The list as it was before this start.
    pub fn remember_blocks(&mut self, now: Now, kept: Kept) {
        self.blocks = Blocks::new(kept.blocks, kept.highest, unix(now));
        self.unread_blocks = kept.unread;
    }

    /// The whole list, if it has changed since this was asked last.
    pub fn unsaved_blocks(&mut self) -> Option<Vec<Block>> {
        self.blocks.unsaved()
    }

    pub(super) fn list_blocks(&mut self, now: Now) -> Response {
        Response::Blocks(BlockList { blocks: self.blocks.list(unix(now)), unread: self.unread_blocks.clone() })
    }

    pub(super) fn block(&mut self, now: Now, order: &BlockOrder) -> Response {
        let block = match self.add_block(now, order.who.clone(), order.reason.clone(), order.for_secs, Blocks::add) {
            Ok(block) => self.name_holders(block),
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
            match self.add_block(now, Blocked::User(user), order.reason.clone(), order.hold_secs, Blocks::hold) {
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

    /// A block of a certificate is to hold where EAP hides that, too: by the names under which it was seen.
    fn name_holders(&mut self, block: Block) -> Block {
        let Blocked::Certificate(number) = &block.who else { return block };
        let shown = self.attempts.iter().filter_map(|attempt| attempt.certificate.as_ref()).filter(|shown| shown.is(number));
        let names: Vec<_> = shown.flat_map(|shown| &shown.names).map(String::as_str).collect();
        self.blocks.learn(block.id, names).unwrap_or(block)
    }

    fn add_block(
        &mut self,
        now: Now,
        who: Blocked,
        reason: Option<String>,
        for_secs: Option<u64>,
        add: impl FnOnce(&mut Blocks, Blocked, Option<String>, u64, Option<u64>) -> Result<Block, (String, String)>,
    ) -> Result<Block, Response> {
        if for_secs.is_some_and(|time| time == 0 || time > LONGEST) {
            let error = "a block lasts a second at least and ten years at most";
            return Err(Response::refused(Refusal::Wrong, error, "leave the time out for one that stays until it is removed"));
        }
        let until = for_secs.map(|time| unix(now) + time);
        let added = add(&mut self.blocks, who, reason, unix(now), until);
        let block = added.map_err(|(error, remedy)| Response::refused(Refusal::Wrong, error, remedy))?;
        tracing::info!(block = block.id, who = %block.who, until = block.until, reason = block.reason.as_deref().unwrap_or("-"), "blocked");
        Ok(block)
    }

    /// Whether a session that is up would be kept out.
    pub(super) fn keeps_out(&self, now: Now, live: &Live) -> bool {
        let Some(session) = &live.session else { return false };
        let known = &session.granted.known;
        let claims = Claims {
            user: &session.granted.user,
            machine: known.machine.as_deref(),
            serial: known.certificate.as_ref().map(|certificate| certificate.serial.as_str()),
            hides_certificate: known.hides_a_certificate(),
            confirmed: known.confirmed,
        };
        look(live, claims, |who| self.blocks.find(who, unix(now)).is_some())
    }

    /// Refuses a login of somebody on the block list. What is not known yet is left out, and asked again before the policies.
    pub(super) fn refuse_blocked(&mut self, now: Now, session: SessionId, claims: Claims<'_>) -> Result<(), Denied> {
        let Some(live) = self.live.get(&session) else { return Ok(()) };
        let found = look(live, claims, |who| {
            let block = self.blocks.find(who, unix(now))?;
            let numbers = [who.serial, who.fingerprint].into_iter().flatten();
            let is_seen = |number: &String| numbers.clone().any(|seen| same_digits(seen, number));
            let is_by_name = matches!(&block.who, Blocked::Certificate(number) if !is_seen(number));
            Some((block, is_by_name))
        });
        let Some((block, is_by_name)) = found else { return Ok(()) };
        let until = block.until.and_then(|until| jiff::Timestamp::from_second(i64::try_from(until).ok()?).ok());
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        let reason = block.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let how = if is_by_name { "; EAP hides the certificate of this login, and the blocked one was seen under its name" } else { "" };
        let cause = format!("blocked by the operator (block {}, {}){until}{reason}{how}", block.id, block.who);
        let (id, attempt) = (block.id, self.attempts.get_mut(live.attempt));
        self.totals.blocked += 1;
        if let Some(attempt) = attempt {
            attempt.block = Some(id);
            attempt.decision = vec![cause.clone()];
            // Next time it may come without showing it.
            if let Some(shown) = attempt.certificate.as_ref().filter(|_| !is_by_name) {
                self.blocks.learn(id, shown.names.iter().map(String::as_str));
            }
        }
        Err(Denied::new(Stage::Policy, cause))
    }

    /// Somebody comes in: says in the record what of the list could not be compared with it.
    pub(super) fn pass_blocks(&mut self, now: Now, session: SessionId, claims: Claims<'_>) {
        if self.blocks.is_empty() {
            return;
        }
        let Some(live) = self.live.get(&session) else { return };
        let blocks = &mut self.blocks;
        let hidden = look(live, claims, |who| blocks.pass(who, unix(now)));
        if hidden == 0 {
            return;
        }
        let why = match (claims.hides_certificate, claims.confirmed) {
            (true, true) => "EAP hides the certificate of this login",
            (false, false) => "no server has confirmed the name of this login (let it return User-Name in its Access-Accept)",
            _ => {
                "EAP hides the certificate of this login, and no server has confirmed its name (let it return User-Name in its Access-Accept)"
            }
        };
        tracing::debug!(user = claims.user, blocks = hidden, "let in although {why}");
        self.note(now, session, format!("{hidden} of the blocks could not be compared: {why}"));
    }

    /// The certificate that this login has shown, for blocks to come.
    pub(super) fn remember_certificate(&mut self, session: SessionId, who: &Authenticated<'_>) {
        let (Some(certificate), Some(live)) = (&who.certificate, self.live.get(&session)) else { return };
        let fingerprint = live.login.as_ref().and_then(|login| login.fingerprint.clone());
        // What a client merely calls itself may be somebody else's name, who would be kept out in its place.
        let is_proved = who.method == Method::Certificate || who.accept.is_none_or(|accept| accept.user_name.is_some());
        let user = is_proved.then_some(who.user);
        let names = [user, who.machine.as_deref()].into_iter().flatten().map(str::to_owned);
        let names = names.chain(certificate.san.iter().cloned()).collect();
        if let Some(attempt) = self.attempts.get_mut(live.attempt) {
            attempt.certificate = Some(Shown { serial: certificate.serial.clone(), fingerprint, names });
        }
    }
}

fn unix(now: Now) -> u64 {
    now.wall.as_second().unsigned_abs()
}
