//! Who else is in: sessions that bounds of a policy count.
use super::Live;
use super::authenticate::succeeds;
use super::report::same_user;
use crate::login::Granted;
use ike::SessionId;
use policy::network::{Certificate, Usage};
use std::collections::BTreeMap;

/// The sessions besides one that wants to come in; an older one of the same client goes when that comes up, and does not count.
/// Those still on their way count from the moment that they were let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others<'a> {
    pub live: &'a BTreeMap<SessionId, Live>,
    pub session: SessionId,
    pub user: &'a str,
    pub certificate: Option<&'a Certificate>,
}

impl Others<'_> {
    fn count(&self, counts: impl Fn(&Granted) -> bool) -> usize {
        let own = self.live.get(&self.session);
        let is_other = |id: SessionId, live: &Live| id != self.session && !own.is_some_and(|own| succeeds(own, live, self.user));
        let granted = |live: &Live| live.login.as_ref().and_then(|login| login.granted.as_ref()).is_some_and(&counts);
        self.live.iter().filter(|&(&id, live)| granted(live) && is_other(id, live)).count()
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
