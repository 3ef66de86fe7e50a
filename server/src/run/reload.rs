//! Another configuration while the gateway runs: read and checked beside it, then applied in one step, or not at all.
use super::loads::{Loads, Reason, tell as tell_all};
use super::{Shell, bounds, now, records, responder, rules, takes_accounting, tls_servers, user_certificates};
use crate::accounting::Accounting;
use crate::api::types::{Reloaded, Verdict};
use crate::api::{self, Refusal, Reload, Response};
use crate::config::{self, Config, Difference};
use crate::explain::names::Names;
use crate::file_watch::FileWatch;
use crate::gateway::Applied;
use crate::host_names::{Addresses, HostNames, other_address};
use crate::local_shell::Local;
use crate::logging::LogControl;
use crate::radius_shell::Setup;
use crate::{dynamic, sstp};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What to do about a configuration that would not be taken.
const REMEDY: &str = "correct that; until then a reload changes nothing";

/// What was read.
#[derive(Debug)]
pub(super) struct Loaded {
    reason: Reason,
    config: anyhow::Result<Box<Config>>,
}

/// Reloads, one after the other.
#[derive(Debug)]
pub(super) struct Reloads {
    /// What the process began with.
    started: Config,
    log: LogControl,
    files: FileWatch,
    names: HostNames,
    loads: Loads,
    loaded: mpsc::Sender<Loaded>,
}

/// What has to do with other configurations.
#[derive(Debug)]
pub(super) struct News {
    loaded: mpsc::Receiver<Loaded>,
    certificates: mpsc::Receiver<()>,
    addresses: mpsc::Receiver<Addresses>,
}

/// What was made ready for a configuration; dropped, as if it had never been.
struct Prepared {
    fronts: sstp::Prepared,
    dynamic: dynamic::Prepared,
    api: api::Bound,
}

#[derive(Debug)]
pub(super) enum Event {
    Loaded(Loaded),
    Certificates,
    Addresses(Addresses),
}

impl News {
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            Some(loaded) = self.loaded.recv() => Event::Loaded(loaded),
            Some(()) = self.certificates.recv() => Event::Certificates,
            Some(addresses) = self.addresses.recv() => Event::Addresses(addresses),
            // All senders live as long as the gateway.
            else => std::future::pending().await,
        }
    }
}

impl Reloads {
    pub(super) fn start(config: &Config, log: LogControl) -> (Self, News) {
        let (loaded_tx, loaded) = mpsc::channel(1);
        let (files, certificates) = FileWatch::start(config.certificate_files());
        let (names, addresses) = HostNames::start(host_names(config));
        let news = News { loaded, certificates, addresses };
        (Self { started: config.clone(), log, files, names, loads: Loads::default(), loaded: loaded_tx }, news)
    }
}

impl Shell {
    pub(super) fn news(&mut self, event: Event) {
        match event {
            Event::Loaded(loaded) => self.loaded(loaded),
            Event::Certificates => self.reload(Reason::Certificates, None),
            Event::Addresses(addresses) => self.resolved(&addresses),
        }
    }

    /// Reads the configuration again, beside the gateway's work: a slow disk or resolver delays nobody.
    pub(super) fn reload(&mut self, reason: Reason, caller: Option<oneshot::Sender<Response>>) {
        if let Some(reason) = self.reloads.loads.want(reason, caller) {
            self.load(reason);
        }
    }

    fn load(&mut self, reason: Reason) {
        if reason.is_reload() {
            self.manager.reloading();
        }
        let (running, loaded) = (self.config.clone(), self.reloads.loaded.clone());
        tokio::task::spawn_blocking(move || {
            let config = match reason {
                Reason::Certificates => running.read_files_again(),
                Reason::Signal | Reason::Command(_) | Reason::Look => running.load_again(&config::environment()),
            };
            let config = config.map(Box::new).map_err(anyhow::Error::from);
            let config = config.and_then(|fresh| match reason.is_reload() {
                true => records::try_out(&running, &fresh).map(|()| fresh),
                false => Ok(fresh),
            });
            // Nobody is there any more when the gateway stops.
            drop(loaded.blocking_send(Loaded { reason, config }));
        });
    }

    fn loaded(&mut self, Loaded { reason, config }: Loaded) {
        let callers = self.reloads.loads.done();
        match reason {
            Reason::Certificates => self.renewed(config),
            Reason::Signal => drop(self.reloaded(config, Reload::default())),
            Reason::Look => tell_all(callers, &self.foreseen(config)),
            Reason::Command(wanted) => tell_all(callers, &self.reloaded(config, wanted)),
        }
        if reason.is_reload() {
            // Also where the old configuration stays: the gateway goes on with it.
            self.manager.ready();
        }
        if let Some(next) = self.reloads.loads.next() {
            self.load(next);
        }
    }

    fn reloaded(&mut self, config: anyhow::Result<Box<Config>>, wanted: Reload) -> Response {
        let applied = config.and_then(|config| self.apply(*config));
        let mut report = match applied {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "configuration not reloaded: everything stays as it was");
                return Response::refused(
                    Refusal::Conflict,
                    format!("not reloaded, everything stays as it was: {error:#}"),
                    "correct that and reload again",
                );
            }
        };
        let now = now();
        report.judged = self.gateway.judge_all(now);
        let refused = report.judged.iter().filter(|judged| judged.verdict == Verdict::Refused).count();
        if wanted.apply_to_sessions {
            let Applied { given, ended } = self.gateway.apply_to_sessions(now);
            (report.applied, report.ended) = (given, ended);
        }
        if wanted.end_refused {
            report.ended.extend(self.gateway.end_refused(now));
        }
        tell(&report, refused);
        Response::Reloaded(Box::new(report))
    }

    fn new_warnings(&self, fresh: &Config) -> Vec<String> {
        fresh.warnings.iter().filter(|warning| !self.config.warnings.contains(warning)).cloned().collect()
    }

    /// What [`Self::reloaded`] would say, as far as it can be said before it is done.
    fn foreseen(&mut self, config: anyhow::Result<Box<Config>>) -> Response {
        let fresh = match config {
            Ok(fresh) => fresh,
            Err(error) => {
                return Response::refused(Refusal::Conflict, format!("it would not be reloaded: {error:#}"), REMEDY);
            }
        };
        let heard = self.dynamic.heard();
        let difference = Difference::new(&self.reloads.started, &self.config, &fresh, heard);
        if let Err(error) = self.prepare(&fresh.clone().over(&self.config, heard)) {
            return Response::refused(Refusal::Conflict, format!("it would not be reloaded: {error:#}"), REMEDY);
        }
        let judged = self.gateway.judge_by(now(), &rules(&fresh));
        let Difference { live: changes, restart: needs_restart } = difference;
        let warnings = self.new_warnings(&fresh);
        Response::Reloaded(Box::new(Reloaded { changes, needs_restart, warnings, judged, ..Reloaded::default() }))
    }

    fn apply(&mut self, fresh: Config) -> anyhow::Result<Reloaded> {
        let heard = self.dynamic.heard();
        let Difference { live, restart } = Difference::new(&self.reloads.started, &self.config, &fresh, heard);
        let mut warnings = self.new_warnings(&fresh);
        let accounts = takes_accounting(&self.config);
        let groups: Vec<_> = self.config.radius_groups.iter().filter(|_| accounts).map(|group| group.name.clone()).collect();
        let pools = self.gateway.summary().pools;
        self.take(fresh.over(&self.config, heard))?;
        let gone = pools.iter().filter(|pool| pool.used > 0 && !self.config.pools.iter().any(|known| known.name == pool.pool));
        warnings.extend(gone.map(|pool| {
            let (name, used, family) = (&pool.pool, pool.used, &pool.family);
            format!("pool {name:?} is gone: {used} {family} addresses of it stay with their sessions until those end")
        }));
        warnings.extend(self.gateway.left_behind().into_iter().map(|(name, sessions)| {
            format!("policy {name:?} is gone: no sessions_max counts its {sessions} sessions any more, which stay as they are")
        }));
        let gone = groups.iter().filter(|name| !self.config.radius_groups.iter().any(|known| known.name == **name));
        warnings.extend(gone.map(|name| {
            format!(
                "radius_group {name:?} is gone: accounting of its sessions goes to the server that let each of them in, or, where that is gone too, to any that takes it"
            )
        }));
        let queued = self.accounting.as_ref().map_or(0, |accounting| accounting.status().queued);
        if queued > 0 && !takes_accounting(&self.config) {
            warnings.push(format!("no RADIUS server takes accounting any more: {queued} records wait in the journal until one does"));
        }
        Ok(Reloaded { changes: live, needs_restart: restart, warnings, ..Reloaded::default() })
    }

    /// Renewed certificates; where they cannot be used, the old ones stay.
    fn renewed(&mut self, fresh: anyhow::Result<Box<Config>>) {
        let renewed = fresh.and_then(|fresh| {
            let renewed = self.config.with_certificates_of(&fresh);
            let changes = self.config.changed_files(&renewed);
            self.take(renewed).map(|()| changes)
        });
        match renewed {
            Ok(changes) => changes.iter().for_each(|change| tracing::info!(%change, "certificates renewed")),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "certificate files have changed but cannot be used: the old ones stay in use");
            }
        }
    }

    /// Names stand for other addresses.
    fn resolved(&mut self, found: &Addresses) {
        let mut moved = false;
        for radius in &mut self.config.radius {
            let used = radius.server.address().ip();
            let found = found.get(&radius.host).map(Vec::as_slice).unwrap_or_default();
            let Some(address) = other_address(used, radius.server.source, found) else { continue };
            tracing::info!(server = %radius.server.name, name = %radius.host, before = %used, after = %address, "a RADIUS server has another address");
            radius.server.transport.set_ip(address);
            moved = true;
        }
        if moved {
            self.set_up_radius();
        }
    }

    pub(super) fn set_up_radius(&self) {
        let setup = Setup { configuration: self.config.radius_configuration(), tls: tls_servers(&self.config) };
        if self.radius_setups.send(setup).is_err() {
            tracing::error!("the RADIUS task has stopped");
        }
    }

    /// Runs with this configuration from now on, or goes on as before.
    fn take(&mut self, mut config: Config) -> anyhow::Result<()> {
        let Prepared { fronts, dynamic, api } = self.prepare(&config)?;
        self.prepare_local(&config)?;
        self.prepare_accounting(&config)?;
        let records = self.prepare_records(&config)?;
        // As late as can be: what arrives there would be lost if the rest failed.
        let (fronts, dynamic, api) = (fronts.listen()?, dynamic.listen()?, api.listen()?);
        let sockets = self.sockets.open(config.ikev2.as_ref(), &self.gateway.locals(), &self.gateway.plane)?;
        self.gateway.plane.route_pools(&config.pools, &self.gateway.leases()).context("the new pools cannot be routed")?;
        self.gateway.reconfigure(now(), rules(&config)).map_err(anyhow::Error::msg)?;
        // From here on nothing can fail.
        self.gateway.set_names(Names::of(&config));
        if let Err(error) = self.reloads.log.set(&config.server.log, config.server.log_format) {
            tracing::warn!(%error, "the log's filter stays as it was");
        }
        self.fronts.configure(fronts);
        self.sockets.serve(sockets, &self.gateway.plane);
        config.ikev2.iter().for_each(|listener| self.gateway.tracer().set_nat_port(listener.nat_port));
        self.gateway.attempts.keep(config.server.attempts_kept);
        self.peer_lists.watch(&config);
        self.peer_lists.trust(&mut config);
        self.api.configure(&config, api);
        self.dynamic.configure(&config, dynamic);
        let listener = config.ikev2.as_ref().map(|listener| (listener, responder(&config, listener)));
        self.revocation.restart(listener, &config.server.state_dir);
        self.renew_responder();
        self.renew_local(&config);
        self.renew_records(&config, records);
        self.reloads.files.set(config.certificate_files());
        self.reloads.names.set(host_names(&config));
        self.config = config;
        self.set_up_radius();
        Ok(())
    }

    /// Finds out what can be wrong with a configuration, and binds what it wants bound, before anything is done about it. Clients
    /// notice nothing of that.
    fn prepare(&self, config: &Config) -> anyhow::Result<Prepared> {
        self.gateway.check_pools(&config.pools).map_err(anyhow::Error::msg)?;
        self.sockets.check(config.ikev2.as_ref())?;
        Ok(Prepared {
            fronts: self.fronts.prepare(config, &bounds(config))?,
            dynamic: self.dynamic.prepare(config)?,
            api: self.api.prepare(config)?,
        })
    }

    /// A local provider that was not there before. One that goes still answers whom it has begun to talk to.
    fn prepare_local(&mut self, config: &Config) -> anyhow::Result<()> {
        let (None, Some(local)) = (&self.local, &config.local) else { return Ok(()) };
        self.local_lists.restart(user_certificates(config), &config.server.state_dir);
        let roots = Arc::new(self.local_lists.trusted(&local.client_roots));
        self.local = Some(Local::start(local, config.local_settings(local, roots), self.logins.clone())?);
        Ok(())
    }

    fn renew_local(&mut self, config: &Config) {
        match (&self.config.local, &config.local) {
            (Some(_), None) => tracing::info!("the local provider is gone from the configuration: nobody new is asked there"),
            (None, Some(local)) => {
                tracing::info!(users = local.users.len(), file = %local.users_file.display(), "the local provider is ready");
            }
            _ => {}
        }
        let (Some(running), Some(local)) = (&self.local, &config.local) else { return };
        self.local_lists.restart(user_certificates(config), &config.server.state_dir);
        let roots = Arc::new(self.local_lists.trusted(&local.client_roots));
        running.configure(local, config.local_settings(local, roots));
    }

    /// Accounting begins with the first server that takes it, and never ends: records wait for servers.
    fn prepare_accounting(&mut self, config: &Config) -> anyhow::Result<()> {
        let lines = takes_accounting(config).then(|| self.accounting_lines.take()).flatten();
        let Some(lines) = lines else { return Ok(()) };
        match Accounting::start(config.accounting, &config.server.state_dir, lines) {
            Ok(accounting) => self.accounting = Some(accounting),
            Err((error, lines)) => {
                // For the next reload.
                self.accounting_lines = Some(lines);
                return Err(error).context("accounting cannot begin");
            }
        }
        Ok(())
    }
}

fn host_names(config: &Config) -> BTreeSet<String> {
    let names = config.radius.iter().filter(|radius| radius.host.parse::<IpAddr>().is_err());
    names.map(|radius| radius.host.clone()).collect()
}

/// A line for each change, and what is left to do.
fn tell(report: &Reloaded, refused: usize) {
    for change in &report.changes {
        tracing::info!(%change, "configuration changed");
    }
    for change in &report.needs_restart {
        tracing::info!(%change, "configuration changed: this needs a restart");
    }
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    let (changes, needs_restart) = (report.changes.len(), report.needs_restart.len());
    let (applied, ended) = (report.applied.len(), report.ended.len());
    tracing::info!(changes, needs_restart, refused, applied, ended, "configuration reloaded");
}
