//! Revocation lists of client certificates, and of the other ends of our own connections: read from files, fetched from URLs, kept on disk, handed on
//! when they change.
mod fetch;
mod peers;
mod source;
#[cfg(test)]
mod tests;

pub use fetch::{HttpUrl, MAX_LIST};
pub use peers::Peers;
pub use source::{Source, read_file};

use crate::config::Ikev2Listener;
use ike::ResponderConfig;
use jiff::Timestamp;
use pki::{Certificate, Crl, Revocation, TrustAnchors};
use source::Tracked;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is asked of certificates for want of revocation.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub policy: Revocation,
    pub sources: Vec<Source>,
}

/// What is known of a source.
#[derive(Debug, Clone)]
pub struct Known {
    pub source: Source,
    /// The newest that has come from there.
    pub list: Option<Arc<Crl>>,
    /// Why the last look at it brought none.
    pub trouble: Option<String>,
}

/// Every source.
pub type Held = Vec<Known>;

/// Why nothing comes from sources from which nothing comes.
type Troubles = Vec<(Source, String)>;

/// The newest list of each source that has one.
type Lists = Vec<(Source, Arc<Crl>)>;

/// Keeps the lists of one listener current, and its settings with them.
#[derive(Debug)]
pub struct Watcher {
    /// The settings of the listener, without lists.
    responder: Option<ResponderConfig>,
    keeper: Keeper,
}

/// Keeps the lists of some authorities current, in a task of its own that ends with it.
#[derive(Debug)]
pub struct Keeper {
    policy: Revocation,
    sources: Vec<Source>,
    lists: watch::Receiver<Lists>,
    troubles: watch::Receiver<Troubles>,
    task: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Reads files and what is kept under `state_dir` at once; the task then fetches what URLs have. `responder`: the settings behind
    /// `listener`.
    pub fn start(listener: Option<(&Ikev2Listener, ResponderConfig)>, state_dir: &Path) -> Self {
        Self::start_with(listener, state_dir, &Vec::new())
    }

    /// [`Self::start`] with other settings; lists at hand stay, whatever has become of the disk.
    pub fn restart(&mut self, listener: Option<(&Ikev2Listener, ResponderConfig)>, state_dir: &Path) {
        let known = self.keeper.known();
        *self = Self::start_with(listener, state_dir, &known);
    }

    fn start_with(listener: Option<(&Ikev2Listener, ResponderConfig)>, state_dir: &Path, known: &Lists) -> Self {
        let watched = listener.as_ref().map(|(listener, _)| (&listener.revocation, &*listener.client_roots));
        let keeper = Keeper::start_with(watched, state_dir, known);
        Self { responder: listener.map(|(_, responder)| responder), keeper }
    }

    /// The listener's settings with the lists as they are now.
    pub fn responder(&mut self) -> Option<ResponderConfig> {
        let mut responder = self.responder.clone()?;
        responder.client_roots = Arc::new(self.keeper.trusted(&responder.client_roots));
        Some(responder)
    }

    /// What is known of each of its sources.
    pub fn held(&self) -> Held {
        self.keeper.held()
    }

    /// Waits until [`Self::responder`] has something new to say. May be dropped and called again.
    pub async fn changed(&mut self) {
        self.keeper.changed().await;
    }
}

impl Keeper {
    /// Reads files and what is kept under `state_dir` at once; the task then fetches what URLs have.
    pub fn start(watched: Option<(&Settings, &TrustAnchors)>, state_dir: &Path) -> Self {
        Self::start_with(watched, state_dir, &Vec::new())
    }

    /// [`Self::start`] with other settings; lists at hand stay, whatever has become of the disk.
    pub fn restart(&mut self, watched: Option<(&Settings, &TrustAnchors)>, state_dir: &Path) {
        let known = self.known();
        *self = Self::start_with(watched, state_dir, &known);
    }

    fn start_with(watched: Option<(&Settings, &TrustAnchors)>, state_dir: &Path, known: &Lists) -> Self {
        let (tell, lists) = watch::channel(Vec::new());
        let (complain, troubles) = watch::channel(Vec::new());
        let Some((settings, roots)) = watched else {
            return Self { policy: Revocation::Off, sources: Vec::new(), lists, troubles, task: None };
        };
        let mut keeper = Self { policy: settings.policy, sources: Vec::new(), lists, troubles, task: None };
        if settings.policy != Revocation::Off && !settings.sources.is_empty() {
            let authorities: Arc<[Certificate]> = roots.roots().into();
            let folder = state_dir.join("crl");
            let mut sources: Vec<_> = settings.sources.iter().map(|source| Tracked::new(source.clone(), &authorities, &folder)).collect();
            sources.iter_mut().for_each(|source| source.load(known));
            tell.send_replace(current(&sources));
            complain.send_replace(complaints(&sources));
            keeper.sources.clone_from(&settings.sources);
            keeper.task = Some(tokio::spawn(run(sources, authorities, settings.policy, Told { lists: tell, troubles: complain })));
        }
        keeper
    }

    fn known(&self) -> Lists {
        self.lists.borrow().clone()
    }

    /// What is known of each source that is watched.
    pub fn held(&self) -> Held {
        let (lists, troubles) = (self.lists.borrow(), self.troubles.borrow());
        let newest = |source: &Source| lists.iter().find(|(known, _)| known == source).map(|(_, list)| Arc::clone(list));
        let trouble = |source: &Source| troubles.iter().find(|(known, _)| known == source).map(|(_, reason)| reason.clone());
        let known = |source: &Source| Known { source: source.clone(), list: newest(source), trouble: trouble(source) };
        self.sources.iter().map(known).collect()
    }

    /// `roots` with the lists as they are now.
    pub fn trusted(&mut self, roots: &TrustAnchors) -> TrustAnchors {
        let lists = self.lists.borrow_and_update();
        let lists: Vec<_> = lists.iter().map(|(_, list)| Arc::clone(list)).collect();
        roots.clone().with_revocation(self.policy, &lists)
    }

    /// Waits until [`Self::trusted`] has something new to say. May be dropped and called again.
    pub async fn changed(&mut self) {
        if self.lists.changed().await.is_err() {
            // No task, no news.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

fn current(sources: &[Tracked]) -> Lists {
    sources.iter().filter_map(Tracked::list).collect()
}

fn complaints(sources: &[Tracked]) -> Troubles {
    sources.iter().filter_map(Tracked::trouble).collect()
}

/// Where the task says what it knows: a new list is for logins, a reason why none comes for people alone.
struct Told {
    lists: watch::Sender<Lists>,
    troubles: watch::Sender<Troubles>,
}

/// Renews each source when it is due and tells at once when one has a new list.
async fn run(mut sources: Vec<Tracked>, authorities: Arc<[Certificate]>, policy: Revocation, told: Told) {
    let mut silent = BTreeSet::new();
    loop {
        for at in 0..sources.len() {
            if sources[at].is_due(Instant::now()) && sources[at].renew().await {
                told.lists.send_replace(current(&sources));
            }
            sources[at].warn_of_expiry(Timestamp::now(), policy);
        }
        told.troubles.send_replace(complaints(&sources));
        warn_of_silence(&authorities, &current(&sources), policy, &mut silent);
        let next = sources.iter().map(Tracked::due).min().unwrap_or_else(Instant::now);
        tokio::time::sleep_until(next.into()).await;
    }
}

/// Says of each authority without a list, once until it has one, what that means. `silent`: those of which it has been said.
fn warn_of_silence(authorities: &[Certificate], lists: &Lists, policy: Revocation, silent: &mut BTreeSet<String>) {
    for authority in authorities {
        if lists.iter().any(|(_, list)| list.issuer() == authority.subject) {
            silent.remove(&authority.subject);
        } else if silent.insert(authority.subject.clone()) {
            let means = match policy {
                Revocation::Hard => "certificates that it has issued are refused",
                Revocation::Soft | Revocation::Off => "certificates that it has issued pass unchecked",
            };
            tracing::warn!(authority = %authority.subject, "there is no revocation list of this authority: {means}");
        }
    }
}
