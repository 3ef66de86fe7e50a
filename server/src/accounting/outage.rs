//! A journal that cannot be written: one line when it begins, one when it is over, however often the disk changes its mind.
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long everything must have been written before an outage is over: a full disk has room again and again.
const STEADY: Duration = Duration::from_secs(10);

/// How writing goes.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Why the last writing failed; `None`: it did not.
    failure: Option<String>,
    /// It has been said that there is an outage, and not yet that it is over.
    told: bool,
    /// Since when everything has been written again.
    well_since: Option<Instant>,
    /// Outages since the start.
    count: u64,
}

impl Outage {
    /// Something could not be written; true: say so.
    pub(super) fn failed(&mut self, error: &io::Error) -> bool {
        self.failure = Some(error.to_string());
        self.well_since = None;
        let first = !std::mem::replace(&mut self.told, true);
        self.count += u64::from(first);
        first
    }

    /// Everything was written.
    pub(super) fn written(&mut self, now: Instant) {
        if self.failure.take().is_some() {
            self.well_since = Some(now);
        }
    }

    /// True once: say that the outage is over.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let steady = self.well_since.is_some_and(|since| now.saturating_duration_since(since) >= STEADY);
        if steady {
            (self.well_since, self.told) = (None, false);
        }
        steady
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// What to do about it.
pub(super) fn remedy(error: &io::Error, folder: &Path) -> String {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("make room on the file system of {folder} (server.state_dir)"),
        io::ErrorKind::ReadOnlyFilesystem => format!("mount the file system of {folder} (server.state_dir) for writing"),
        io::ErrorKind::PermissionDenied => format!("let the user that the gateway runs as write in {folder} (server.state_dir)"),
        _ => format!("see that {folder} (server.state_dir) is a folder on a sound disk that the gateway may write in"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_however_often_the_disk_changes_its_mind() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let at = |seconds| start + Duration::from_secs(seconds);
        outage.written(at(0));
        assert!(!outage.is_over(at(60)) && outage.failed(&full) && !outage.failed(&full));
        assert!(outage.failure().is_some() && !outage.is_over(at(60)));
        for second in (60..90).step_by(2) {
            outage.written(at(second));
            assert!(outage.failure().is_none() && !outage.is_over(at(second)) && !outage.failed(&full));
        }
        outage.written(at(90));
        outage.written(at(95));
        assert!(!outage.is_over(at(99)) && outage.is_over(at(100)) && !outage.is_over(at(200)));
        assert_eq!(outage.count(), 1);
        assert!(outage.failed(&full), "the next one is told again");
        assert_eq!(outage.count(), 2);
    }

    #[test]
    fn remedies_fit_the_error() {
        let remedy = |kind: io::ErrorKind| remedy(&io::Error::from(kind), Path::new("/var/lib/evergate"));
        assert!(remedy(io::ErrorKind::StorageFull).starts_with("make room"));
        assert!(remedy(io::ErrorKind::PermissionDenied).contains("write in /var/lib/evergate (server.state_dir)"));
        assert!(remedy(io::ErrorKind::NotADirectory).contains("is a folder"));
    }
}
