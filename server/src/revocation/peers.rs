//! Revocation lists about the other ends of our own TLS connections: RADIUS servers, who may end and change sessions, and callers of the Admin API.
use super::{Held, Keeper, Settings};
use crate::config::Config;
use pki::TrustAnchors;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// A section of the configuration: its kind and name.
type Title = (&'static str, String);

/// Keeps the lists of each of them current.
#[derive(Debug, Default)]
pub struct Peers {
    keepers: BTreeMap<Title, Keeper>,
    news: Arc<Notify>,
}

impl Peers {
    /// Keeps what `config` names from now on. Lists at hand stay, whatever has become of the disk.
    pub fn watch(&mut self, config: &Config) {
        let mut known = std::mem::take(&mut self.keepers);
        let state_dir: &Path = &config.server.state_dir;
        for (title, settings, roots) in watched(config) {
            let keeper = match known.remove(&title) {
                Some(mut keeper) => {
                    keeper.restart(Some((settings, roots)), state_dir);
                    keeper
                }
                None => Keeper::start(Some((settings, roots)), state_dir),
            };
            self.tell_of(&keeper);
            self.keepers.insert(title, keeper);
        }
    }

    /// Whoever connects by `config` is checked with the lists as they are now.
    pub fn trust(&mut self, config: &mut Config) {
        for radius in &mut config.radius {
            let keeper = self.keepers.get_mut(&("radius", radius.server.name.clone()));
            if let (Some(over), Some(keeper)) = (&mut radius.tls, keeper) {
                let roots = Arc::new(keeper.trusted(over.settings.roots()));
                over.settings = Arc::new((*over.settings).clone().trusting(roots));
            }
        }
        if let (Some(api), Some(keeper)) = (&mut config.api, self.keepers.get_mut(&("api", String::new()))) {
            let roots = Arc::new(keeper.trusted(api.settings.roots()));
            api.settings = Arc::new((*api.settings).clone().trusting(roots));
        }
        for peer in &mut config.dynamic_clients {
            let keeper = self.keepers.get_mut(&("dynamic_client", peer.client.name.clone()));
            if let (Some(over), Some(keeper)) = (&mut peer.tls, keeper) {
                let roots = Arc::new(keeper.trusted(over.settings.roots()));
                over.settings = Arc::new((*over.settings).clone().trusting(roots));
            }
        }
    }

    /// What is known of each source of all of them.
    pub fn held(&self) -> Held {
        self.keepers.values().flat_map(Keeper::held).collect()
    }

    /// Waits until [`Self::trust`] has something new to say. May be dropped and called again.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    fn tell_of(&self, keeper: &Keeper) {
        if keeper.task.is_none() {
            return;
        }
        let (mut lists, news) = (keeper.lists.clone(), Arc::clone(&self.news));
        // Ends with the keeper, whose task holds the other end.
        tokio::spawn(async move {
            while lists.changed().await.is_ok() {
                news.notify_one();
            }
        });
    }
}

fn watched(config: &Config) -> impl Iterator<Item = (Title, &Settings, &TrustAnchors)> {
    let servers = config.radius.iter().filter_map(|radius| {
        let over = radius.tls.as_ref()?;
        Some((("radius", radius.server.name.clone()), &over.revocation, over.settings.roots()))
    });
    let clients = config.dynamic_clients.iter().filter_map(|peer| {
        let over = peer.tls.as_ref()?;
        Some((("dynamic_client", peer.client.name.clone()), &over.revocation, over.settings.roots()))
    });
    let api = config.api.iter().map(|api| (("api", String::new()), &api.revocation, api.settings.roots()));
    servers.chain(clients).chain(api)
}
