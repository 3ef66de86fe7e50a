//! Where the log in the format of NPS and the traces of logins go: at the start, at a reload and at the end.
use super::{Shell, now};
use crate::config::Config;
use crate::nps_log::{self, Log};
use crate::telemetry::Exporter;
use anyhow::Context as _;
use std::time::Duration;

/// So long the start waits for the journal of accounting, so that the Stops of an earlier run stand before the Accounting-On of this one.
const EARLIER_RUN: Duration = Duration::from_secs(5);

/// Threads for what a new configuration wants and the old one did not.
pub(super) struct Prepared {
    nps_log: Option<Log>,
    telemetry: Option<Exporter>,
}

impl Prepared {
    /// `runs`: what there is already.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn new(config: &Config, runs: (Option<&Log>, Option<&Exporter>)) -> std::io::Result<Self> {
        let name = &config.server.name;
        let log = config.nps_log.as_ref().filter(|_| runs.0.is_none());
        let nps_log = log.map(|settings| Log::start(settings, name, config.server.time_zone.clone())).transpose()?;
        let telemetry = config.telemetry.as_ref().filter(|_| runs.1.is_none());
        let telemetry = telemetry.map(|settings| Exporter::start(settings.clone(), name)).transpose()?;
        Ok(Self { nps_log, telemetry })
    }

    pub(super) fn into_parts(self) -> (Option<Log>, Option<Exporter>) {
        (self.nps_log, self.telemetry)
    }
}

/// Whether the log that `fresh` wants and `running` does not have could be written.
///
/// # Errors
/// Why not.
pub(super) fn try_out(running: &Config, fresh: &Config) -> anyhow::Result<()> {
    let Some(log) = fresh.nps_log.as_ref().filter(|log| running.nps_log.as_ref() != Some(log)) else { return Ok(()) };
    nps_log::try_out(log, fresh.server.time_zone.clone()).with_context(|| {
        let folder = log.folder.display();
        format!("nps_log: no file can be opened in folder = \"{folder}\": make it, and let the gateway's user write there")
    })
}

impl Shell {
    pub(super) fn prepare_records(&self, config: &Config) -> anyhow::Result<Prepared> {
        Prepared::new(config, (self.nps_log.as_ref(), self.telemetry.as_ref())).context("[nps_log] or [telemetry] cannot begin")
    }

    /// What is on its way goes where the new configuration says, or where it was to go if that wants it nowhere.
    pub(super) fn renew_records(&mut self, config: &Config, prepared: Prepared) {
        let (log, exporter) = prepared.into_parts();
        match (&self.nps_log, &config.nps_log) {
            (Some(running), Some(settings)) => running.change(settings, config.server.time_zone.clone()),
            (_, None) => drop(self.nps_log.take().map(|gone| tokio::task::spawn_blocking(|| gone.finish()))),
            (None, _) => self.nps_log = log,
        }
        match (&self.telemetry, &config.telemetry) {
            (Some(running), Some(settings)) => running.change(settings.clone()),
            (_, None) => drop(self.telemetry.take().map(|gone| tokio::task::spawn_blocking(|| gone.finish()))),
            (None, _) => self.telemetry = exporter,
        }
        self.gateway.trace_logins(config.telemetry.is_some());
    }

    /// Before the first line of this run.
    pub(super) fn end_earlier_run(&mut self) {
        let is_wanted = self.config.nps_log.as_ref().is_some_and(|log| log.kinds.accounting);
        self.log_earlier_run(if is_wanted { EARLIER_RUN } else { Duration::ZERO });
    }

    /// The sessions that a crash ended have their Stop in the log, too, once accounting knows of them.
    pub(super) fn log_earlier_run(&mut self, patience: Duration) {
        let stops = self.accounting.as_mut().map(|accounting| accounting.stops_of_earlier_run(patience)).unwrap_or_default();
        let lines = self.gateway.lines_of_earlier_run(now(), &stops);
        if let Some(log) = self.nps_log.as_ref().filter(|_| !lines.is_empty()) {
            log.submit_all(lines);
        }
    }
}
