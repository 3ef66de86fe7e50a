//! Whose the sessions are that are up, for INITIAL_CONTACT: found by client, not by a walk through all.
use super::shared::Owner;
use crate::api::SessionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A session under its client.
type Place = (Arc<Owner>, SessionId);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Filed {
    owner: Arc<Owner>,
    is_silent: bool,
}

/// The sessions that are up and have an owner.
#[derive(Debug, Default)]
pub(super) struct Clients {
    filed: BTreeMap<SessionId, Filed>,
    by_owner: BTreeSet<Place>,
    silent: BTreeSet<Place>,
}

impl Clients {
    /// A session is up, and this is its owner; or it is nobody's, or not up. Costs a look-up where nothing has changed.
    pub(super) fn file(&mut self, id: SessionId, owner: Option<&Arc<Owner>>, is_silent: bool) {
        let before = self.filed.get(&id);
        if before.map(|filed| (&filed.owner, filed.is_silent)) == owner.map(|owner| (owner, is_silent)) {
            return;
        }
        if let Some(before) = self.filed.remove(&id) {
            let place = (before.owner, id);
            self.by_owner.remove(&place);
            self.silent.remove(&place);
        }
        if let Some(owner) = owner {
            self.filed.insert(id, Filed { owner: Arc::clone(owner), is_silent });
            self.by_owner.insert((Arc::clone(owner), id));
            if is_silent {
                self.silent.insert((Arc::clone(owner), id));
            }
        }
    }

    /// The sessions of this very owner.
    pub(super) fn of(&self, owner: &Arc<Owner>) -> impl Iterator<Item = SessionId> {
        self.by_owner.range((Arc::clone(owner), SessionId(0))..=(Arc::clone(owner), SessionId(u64::MAX))).map(|(_, id)| *id)
    }

    /// The silent sessions of this user, whatever they call themselves.
    pub(super) fn silent_of(&self, user: &str) -> impl Iterator<Item = SessionId> {
        let first = Arc::new(Owner { user: user.to_owned(), idi: Vec::new() });
        self.silent.range((first, SessionId(0))..).take_while(move |(owner, _)| owner.user == user).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(user: u8, idi: u8) -> Arc<Owner> {
        Arc::new(Owner { user: char::from(b'a' + user).to_string(), idi: vec![0; idi.into()] })
    }

    proptest! {
        #[test]
        fn the_index_is_the_walk(changes in prop::collection::vec((0u64..12, prop::option::of((0u8..3, 0u8..3)), any::<bool>()), 0..60)) {
            let (mut clients, mut all) = (Clients::default(), BTreeMap::new());
            for (id, whose, is_silent) in changes {
                let whose = whose.map(|(user, idi)| owner(user, idi));
                clients.file(SessionId(id), whose.as_ref(), is_silent);
                all.remove(&id);
                all.extend(whose.map(|owner| (id, (owner, is_silent))));
                for (user, idi) in (0..3).flat_map(|user| (0..3).map(move |idi| (user, idi))) {
                    let wanted = owner(user, idi);
                    let of = |is: &dyn Fn(&Arc<Owner>, bool) -> bool| {
                        let found = all.iter().filter(|(_, (owner, silent))| is(owner, *silent));
                        found.map(|(id, _)| SessionId(*id)).collect::<BTreeSet<_>>()
                    };
                    prop_assert_eq!(clients.of(&wanted).collect::<BTreeSet<_>>(), of(&|owner, _| *owner == wanted));
                    let silent = of(&|owner, is_silent| is_silent && owner.user == wanted.user);
                    prop_assert_eq!(clients.silent_of(&wanted.user).collect::<BTreeSet<_>>(), silent);
                }
                prop_assert_eq!(clients.filed.len(), all.len());
                prop_assert_eq!(clients.by_owner.len(), all.len());
            }
        }
    }
}
