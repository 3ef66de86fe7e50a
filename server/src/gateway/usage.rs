//! Who else is in: sessions that bounds of a policy count.
use super::Live;
use super::authenticate::succeeds;
use super::roll::{Roll, Set};
use ike::SessionId;
use policy::network::{Certificate, Usage};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The sessions besides one that wants to come in. Those still on their way count from the moment that they were let in.
#[derive(Debug)]
pub(super) struct Others<'a> {
    pub live: &'a BTreeMap<SessionId, Live>,
    pub roll: &'a Roll,
    pub session: SessionId,
    pub user: &'a str,
    pub certificate: Option<&'a Certificate>,
    /// Older sessions of the same client, where they do not count.
    older: Option<Older>,
}

#[derive(Debug)]
struct Older {
    all: Set,
    /// Those that would have been counted: who relies on the number has to end them.
    left_out: RefCell<Set>,
}

impl<'a> Others<'a> {
    /// `certificate`: of a client that has proved itself with one.
    pub(super) fn new(
        (live, roll): (&'a BTreeMap<SessionId, Live>, &'a Roll),
        session: SessionId,
        user: &'a str,
        certificate: Option<&'a Certificate>,
    ) -> Self {
        Self { live, roll, session, user, certificate, older: None }
    }

    /// Counts no older session of the same client from now on.
    pub(super) fn without_older(self) -> Self {
        let all = self.live.get(&self.session).map(|own| self.older(own)).unwrap_or_default();
        Self { older: Some(Older { all, left_out: RefCell::default() }), ..self }
    }

    /// The sessions that were not counted and would have been.
    pub(super) fn left_out(self) -> Set {
        self.older.map(|older| older.left_out.into_inner()).unwrap_or_default()
    }

    /// Older sessions of the client of this one.
    fn older(&self, own: &Live) -> Set {
        let found = self.roll.of_client(own, self.user).into_iter().chain(self.roll.silent_of(self.user)).flatten().copied();
        let is_older = |id: &SessionId| *id != self.session && self.live.get(id).is_some_and(|older| succeeds(own, older, self.user));
        found.filter(is_older).collect()
    }

    fn count<'s>(&self, sets: impl IntoIterator<Item = &'s Set>) -> usize {
        sets.into_iter().map(|set| self.count_in(set)).sum()
    }

    fn count_in(&self, set: &Set) -> usize {
        let others = set.len() - usize::from(set.contains(&self.session));
        let Some(Older { all, left_out }) = &self.older else { return others };
        let left: Vec<_> = all.iter().filter(|id| set.contains(id)).copied().collect();
        let newer = others - left.len();
        left_out.borrow_mut().extend(left);
        newer
    }
}

impl Usage for Others<'_> {
    fn of_user(&self) -> usize {
        self.count(self.roll.of_account(self.user))
    }

    fn of_certificate(&self) -> usize {
        self.count(self.certificate.and_then(|certificate| self.roll.of_certificate(certificate)))
    }

    fn of_policy(&self, name: &str) -> usize {
        self.count(self.roll.of_policy(name))
    }
}
