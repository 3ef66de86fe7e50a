//! Files that others replace while the gateway runs: certificates and their keys.
use crate::config::Look;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often they are looked at. Network file systems and mounted volumes tell nobody of changes.
const INTERVAL: Duration = Duration::from_secs(2);

/// Files as they were when they were read.
pub type Files = BTreeMap<PathBuf, Look>;

/// The same, as they look now; `None`: not there.
type Looks = BTreeMap<PathBuf, Option<Look>>;

/// Looks after files in a task that ends with it.
#[derive(Debug)]
pub struct FileWatch {
    files: watch::Sender<Files>,
}

impl FileWatch {
    /// Tells when files are not as they were any more and nobody seems to be writing them.
    pub fn start(files: Files) -> (Self, mpsc::Receiver<()>) {
        let (files, watched) = watch::channel(files);
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(run(watched, tell));
        (Self { files }, told)
    }

    /// These were read since.
    pub fn set(&self, files: Files) {
        self.files.send_replace(files);
    }
}

async fn run(files: watch::Receiver<Files>, tell: mpsc::Sender<()>) {
    let mut seen = Seen::default();
    while files.has_changed().is_ok() {
        tokio::time::sleep(INTERVAL).await;
        let known = files.borrow().clone();
        let paths: Vec<_> = known.keys().cloned().collect();
        // A file system may hang.
        let looks = tokio::task::spawn_blocking(|| paths.into_iter().map(|path| (path.clone(), Look::at(&path))).collect()).await;
        if looks.is_ok_and(|looks| seen.is_news(&known, looks)) && tell.send(()).await.is_err() {
            return;
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    last: Looks,
    told: Looks,
}

impl Seen {
    /// Files have changed, have looked so twice, and this has not been told before.
    fn is_news(&mut self, known: &Files, now: Looks) -> bool {
        let changed = now.iter().any(|(path, look)| known.get(path) != look.as_ref());
        let settled = self.last == now;
        let news = changed && settled && self.told != now;
        if news {
            self.told.clone_from(&now);
        }
        self.last = now;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_is_told_once_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vpn.pem");
        let look = || Looks::from([(path.clone(), Look::at(&path))]);
        fs::write(&path, "one").unwrap();
        let mut known = Files::from([(path.clone(), Look::at(&path).unwrap())]);
        let mut seen = Seen::default();
        let mut told = |known: &Files| (0..3).map(|_| seen.is_news(known, look())).collect::<Vec<_>>();
        assert_eq!(told(&known), [false; 3]);
        fs::write(&path, "half").unwrap();
        assert_eq!(told(&known), [false, true, false]);
        // It was broken and is not: the same news, another file.
        fs::write(&path, "whole file").unwrap();
        assert_eq!(told(&known), [false, true, false]);
        known.insert(path.clone(), Look::at(&path).unwrap());
        assert_eq!(told(&known), [false; 3]);
        fs::remove_file(&path).unwrap();
        assert_eq!(told(&known), [false, true, false]);
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vpn.key");
        fs::write(&path, "").unwrap();
        let known = Files::from([(path.clone(), Look::at(&path).unwrap())]);
        let mut seen = Seen::default();
        for length in 1..5 {
            fs::write(&path, "x".repeat(length)).unwrap();
            assert!(!seen.is_news(&known, Looks::from([(path.clone(), Look::at(&path))])));
        }
        assert!(seen.is_news(&known, Looks::from([(path.clone(), Look::at(&path))])));
    }
}
