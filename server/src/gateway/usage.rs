//! Who else is in: sessions that bounds of a policy count.
use super::Live;
use super::authenticate::succeeds;
use super::report::same_user;
use crate::login::Granted;
use ike::SessionId;
use policy::network::{Certificate, Usage};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The sessions besides one that wants to come in. Those still on their way count from the moment that they were let in.
#[derive(Debug)]
pub(super) struct Others<'a> {
    pub live: &'a BTreeMap<SessionId, Live>,
    pub session: SessionId,
    pub user: &'a str,
    pub certificate: Option<&'a Certificate>,
    /// Older sessions of the same client do not count but come in here: who relies on the number has to end them.
    left_out: Option<RefCell<BTreeSet<SessionId>>>,
}

impl<'a> Others<'a> {
    pub(super) fn new(
        live: &'a BTreeMap<SessionId, Live>,
        session: SessionId,
        user: &'a str,
        certificate: Option<&'a Certificate>,
    ) -> Self {
        Self { live, session, user, certificate, left_out: None }
    }

    /// Counts no older session of the same client from now on.
    pub(super) fn without_older(self) -> Self {
        Self { left_out: Some(RefCell::default()), ..self }
    }

    /// The sessions that were not counted and would have been.
    pub(super) fn left_out(self) -> BTreeSet<SessionId> {
        self.left_out.map(RefCell::into_inner).unwrap_or_default()
    }
}

impl Others<'_> {
    fn count(&self, counts: impl Fn(&Granted) -> bool) -> usize {
        let granted = |live: &Live| live.login.as_ref().and_then(|login| login.granted.as_ref()).is_some_and(&counts);
        self.live.iter().filter(|&(&id, live)| id != self.session && granted(live) && !self.leaves_out(id, live)).count()
    }

    fn leaves_out(&self, id: SessionId, older: &Live) -> bool {
        let Some(left_out) = &self.left_out else { return false };
        let goes = self.live.get(&self.session).is_some_and(|own| succeeds(own, older, self.user));
        if goes {
            left_out.borrow_mut().insert(id);
        }
        goes
    }
}

impl Usage for Others<'_> {
    fn of_user(&self) -> usize {
        self.count(|granted| same_user(&granted.user, self.user))
    }

    fn of_certificate(&self) -> usize {
        let Some(own) = self.certificate else { return 0 };
        let same = |other: &Certificate| other.issuer == own.issuer && other.serial == own.serial;
        self.count(|granted| granted.known.certificate.as_ref().is_some_and(same))
    }

    fn of_policy(&self, name: &str) -> usize {
        self.count(|granted| granted.policy == name)
    }
}
