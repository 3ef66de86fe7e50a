//! Where the API is served besides its socket: addresses that come and go with the configuration.
use crate::config::{Api, Config};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use tokio::sync::{mpsc, oneshot, watch};

/// What is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Metrics, for whoever reaches them.
    Metrics,
    /// Everything, for callers that prove themselves over TLS.
    Tls,
}

type Place = (Kind, SocketAddr);

/// A listener for the API's thread, to be served until the other end of `closed` is dropped.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) listener: TcpListener,
    /// By what callers prove themselves; `None`: metrics.
    pub(super) callers: Option<watch::Receiver<Api>>,
    pub(super) closed: oneshot::Receiver<()>,
}

/// All of them, as the control task sees them.
#[derive(Debug)]
pub struct Listeners {
    openings: mpsc::UnboundedSender<Opening>,
    open: BTreeMap<Place, Open>,
    /// Whom the API believes over TLS; there since it first was to be served there.
    callers: Option<watch::Sender<Api>>,
}

/// A listener of the API's thread. Dropped, it is closed; connections that it took go on.
#[derive(Debug)]
struct Open {
    /// The same socket.
    listener: TcpListener,
    /// What it waits for there.
    _until: oneshot::Sender<()>,
}

/// Addresses bound for a configuration; dropped, as if they had never been.
#[derive(Debug)]
pub struct Bound(Vec<(Place, net::listen::Bound)>);

/// The same with connections arriving there already; each socket twice.
#[derive(Debug)]
pub struct Listening(Vec<(Place, [TcpListener; 2])>);

impl Bound {
    /// Takes connections there.
    ///
    /// # Errors
    /// Somebody else listens there since they were bound.
    pub fn listen(self) -> anyhow::Result<Listening> {
        let listen = |(place, bound): (Place, net::listen::Bound)| {
            let listener = bound.listen().and_then(|listener| Ok([listener.try_clone()?, listener]));
            Ok((place, listener.with_context(|| unheard(place))?))
        };
        self.0.into_iter().map(listen).collect::<anyhow::Result<_>>().map(Listening)
    }
}

fn unheard((kind, address): Place) -> String {
    let key = match kind {
        Kind::Metrics => "metrics.listen",
        Kind::Tls => "api.listen",
    };
    format!("cannot listen on tcp {address} ({key})")
}

impl Listeners {
    pub(super) fn new(openings: mpsc::UnboundedSender<Opening>) -> Self {
        Self { openings, open: BTreeMap::new(), callers: None }
    }

    /// Binds what is not bound yet: all, or nothing.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn prepare(&self, config: &Config) -> anyhow::Result<Bound> {
        let wanted: BTreeSet<_> = places(config).collect();
        let unbound = wanted.iter().filter(|place| !self.open.contains_key(place));
        unbound.map(|&place| Ok((place, self.bind(place, &wanted)?))).collect::<anyhow::Result<_>>().map(Bound)
    }

    /// Serves there, and nowhere else.
    pub fn configure(&mut self, config: &Config, Listening(listening): Listening) {
        self.tell(config.api.as_ref());
        let wanted: BTreeSet<_> = places(config).collect();
        self.open.retain(|place, _| wanted.contains(place));
        for (place, [listener, same]) in listening {
            let callers = match place.0 {
                Kind::Metrics => None,
                // It has just been told.
                Kind::Tls => self.callers.as_ref().map(watch::Sender::subscribe),
            };
            let (until, closed) = oneshot::channel();
            match self.openings.send(Opening { listener, callers, closed }) {
                Ok(()) => drop(self.open.insert(place, Open { listener: same, _until: until })),
                Err(_) => tracing::error!("the API's thread has stopped"),
            }
        }
    }

    /// In place of listeners that are not `wanted` any more.
    fn bind(&self, place: Place, wanted: &BTreeSet<Place>) -> anyhow::Result<net::listen::Bound> {
        let goes = |other: &&Place| net::listen::overlap(other.1, place.1) && !wanted.contains(other);
        let held: Vec<_> = self.open.iter().filter(|(other, _)| goes(other)).map(|(_, open)| open.listener.as_fd()).collect();
        net::listen::bind_in_place_of(place.1, &held).with_context(|| unheard(place))
    }

    /// Callers over TLS are believed by this from now on; who would not come in any more is sent away.
    pub fn tell(&mut self, api: Option<&Api>) {
        match (&self.callers, api) {
            (Some(callers), Some(api)) => drop(callers.send_replace(api.clone())),
            (Some(callers), None) => callers.send_modify(|api| *api = api.without_callers()),
            (None, Some(api)) => self.callers = Some(watch::channel(api.clone()).0),
            (None, None) => {}
        }
    }
}

fn places(config: &Config) -> impl Iterator<Item = Place> {
    let metrics = config.metrics_listen.iter().map(|&address| (Kind::Metrics, address));
    metrics.chain(config.api.iter().flat_map(|api| api.listen.iter().map(|&address| (Kind::Tls, address))))
}
