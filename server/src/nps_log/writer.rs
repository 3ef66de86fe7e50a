//! The thread that writes the log: nobody waits for the disk.
use super::files::Files;
use super::{Record, Settings};
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines on their way to the thread.
const QUEUE: usize = 4096;

/// Lines that wait for a disk that takes none, about 1.5 KB each; names of the longest kind make it 6 KB.
const WAITING: usize = 16_384;

/// How often to try it again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a regular stop waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How the log stands, for `evergate status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The file of the last line.
    pub file: Option<PathBuf>,
    /// Lines written since the start.
    pub written: u64,
    /// Lines that wait for the disk.
    pub waiting: u64,
    /// Lines that found no room to wait.
    pub dropped: u64,
    /// Why nothing can be written.
    pub failure: Option<String>,
}

/// The control half's end.
#[derive(Debug)]
pub struct Log {
    lines: SyncSender<Record>,
    status: Arc<Mutex<Status>>,
    done: Receiver<()>,
}

impl Log {
    /// Starts the thread. `computer`: Computer-Name of its lines; `zone`: of Timestamp and of the days that files are named after.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(settings: &Settings, computer: &str, zone: TimeZone) -> io::Result<Self> {
        let (lines, inbox) = sync_channel(QUEUE);
        let (finished, done) = sync_channel(1);
        let status = Arc::new(Mutex::new(Status::default()));
        let mut writer = Writer {
            files: Files::new(settings.folder.clone(), settings.rotation),
            folder: settings.folder.clone(),
            computer: computer.to_owned(),
            zone,
            waiting: VecDeque::new(),
            status: Arc::clone(&status),
            dropped_told: 0,
        };
        std::thread::Builder::new().name("nps-log".into()).spawn(move || {
            writer.run(&inbox);
            // Nobody waits for it unless the gateway stops.
            finished.send(()).ok();
        })?;
        Ok(Self { lines, status, done })
    }

    /// Hands a line over, without ever waiting.
    pub fn submit(&self, record: Record) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.lines.try_send(record) {
            locked(&self.status).dropped += 1;
        }
    }

    pub fn status(&self) -> Status {
        locked(&self.status).clone()
    }

    /// Ends the thread when the last lines are written, or the disk takes too long.
    pub fn finish(self) {
        drop(self.lines);
        if self.done.recv_timeout(LAST_LINES).is_err() || locked(&self.status).waiting > 0 {
            tracing::error!("the NPS log takes no more lines: what happened last is missing there");
        }
    }
}

/// A thread that dies while it holds the lock leaves numbers behind that are as good as any.
fn locked(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    files: Files,
    folder: PathBuf,
    computer: String,
    zone: TimeZone,
    waiting: VecDeque<Record>,
    status: Arc<Mutex<Status>>,
    /// Lines lost of which the log has told.
    dropped_told: u64,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Record>) {
        loop {
            let next =
                if self.waiting.is_empty() { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { inbox.recv_timeout(RETRY) };
            match next {
                Ok(record) => self.keep(record),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            while let Ok(record) = inbox.try_recv() {
                self.keep(record);
            }
            self.write();
        }
    }

    /// The newest is lost where there is no room: what is in the log has no holes but its end.
    fn keep(&mut self, record: Record) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(record);
        } else {
            locked(&self.status).dropped += 1;
        }
    }

    fn write(&mut self) {
        let (mut written, mut file, mut failure) = (0, None, None);
        while let Some(record) = self.waiting.front() {
            let line = record.line(&self.computer, &self.zone);
            match self.files.append(record.at.to_zoned(self.zone.clone()).date(), &line) {
                Ok(path) => {
                    (written, file) = (written + 1, Some(path));
                    self.waiting.pop_front();
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        self.tell(written, file, failure);
    }

    fn tell(&mut self, written: u64, file: Option<PathBuf>, failure: Option<io::Error>) {
        let mut status = locked(&self.status);
        status.written += written;
        status.waiting = self.waiting.len() as u64;
        status.file = file.or_else(|| status.file.take());
        let before = std::mem::replace(&mut status.failure, failure.as_ref().map(ToString::to_string));
        let lost = status.dropped - self.dropped_told;
        drop(status);
        match (before, failure) {
            (None, Some(error)) => {
                let folder = self.folder.display();
                tracing::error!(
                    %error,
                    %folder,
                    room_for = WAITING,
                    "the NPS log cannot be written: lines wait in memory, then are lost; make the folder (nps_log.folder) writable and make room"
                );
            }
            (Some(_), None) => {
                tracing::info!(lost, "the NPS log is written again");
                self.dropped_told += lost;
            }
            (None, None) if lost > 0 => {
                tracing::warn!(lost, "lines of the NPS log are lost: the disk is too slow for them");
                self.dropped_told += lost;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kinds, Rotation, Value};
    use super::*;
    use jiff::Timestamp;
    use std::path::Path;

    fn settings(folder: &Path) -> Settings {
        let kinds = Kinds { logins: true, accounting: true, interims: true };
        Settings { folder: folder.to_owned(), rotation: Rotation::Monthly, kinds }
    }

    fn record(number: u64) -> Record {
        Record { at: Timestamp::from_second(1_700_000_000).unwrap(), attributes: vec![("Packet-Type", Value::Number(number))] }
    }

    fn until(what: impl Fn() -> bool) {
        for _ in 0..1000 {
            if what() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not happen");
    }

    /// A folder that is not there keeps nobody from working, and what waited is written when it is.
    #[test]
    fn a_disk_in_trouble_delays_lines_in_their_order() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("log");
        let log = Log::start(&settings(&folder), "vpn", TimeZone::UTC).unwrap();
        (0..5).for_each(|number| log.submit(record(number)));
        until(|| log.status().waiting == 5);
        assert!(log.status().failure.is_some() && log.status().written == 0, "{:?}", log.status());
        std::fs::create_dir(&folder).unwrap();
        until(|| log.status().written == 5);
        let file = folder.join("IN2311.log");
        assert_eq!(log.status(), Status { file: Some(file.clone()), written: 5, ..Status::default() });
        log.submit(record(5));
        log.finish();
        let text = std::fs::read_to_string(file).unwrap();
        let types: Vec<_> = text
            .lines()
            .map(|line| roxmltree::Document::parse(line).unwrap().root_element().last_child().unwrap().text().map(str::to_owned))
            .collect();
        assert_eq!(types, ["0", "1", "2", "3", "4", "5"].map(|number| Some(number.to_owned())));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_before_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            files: Files::new(folder.path().join("nowhere"), Rotation::Never),
            folder: folder.path().to_owned(),
            computer: "vpn".into(),
            zone: TimeZone::UTC,
            waiting: VecDeque::new(),
            status: Arc::default(),
            dropped_told: 0,
        };
        (0..WAITING as u64 + 7).for_each(|number| writer.keep(record(number)));
        writer.write();
        let status = locked(&writer.status).clone();
        assert_eq!((status.waiting, status.dropped, status.failure.is_some()), (WAITING as u64, 7, true));
        writer.files = Files::new(folder.path().to_owned(), Rotation::Never);
        writer.write();
        let status = locked(&writer.status).clone();
        assert_eq!((status.written, status.waiting, status.failure, writer.dropped_told), (WAITING as u64, 0, None, 7));
    }
}
