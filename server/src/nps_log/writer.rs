//! The thread that writes the log: nobody waits for the disk.
use super::files::Files;
use super::{Record, Settings};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
    lines: SyncSender<Message>,
    place: Arc<Mutex<Option<Place>>>,
    status: Arc<Mutex<Status>>,
    done: Receiver<()>,
}

/// What goes to the thread.
enum Message {
    Line(Box<Record>),
    /// Lines that found room in memory before they came here.
    Lines(Vec<Record>),
}

/// Where lines go, and how.
#[derive(Debug)]
struct Place {
    files: Files,
    zone: TimeZone,
}

impl Place {
    fn new(settings: &Settings, zone: TimeZone) -> Self {
        Self { files: Files::new(settings), zone }
    }

    fn append(&mut self, record: &Record, computer: &str) -> io::Result<PathBuf> {
        let line = record.line(computer, &self.zone);
        self.files.append(record.at.to_zoned(self.zone.clone()).date(), &line)
    }
}

/// Whether a line could be written now, as far as that shows without one.
///
/// # Errors
/// Why its file cannot be opened.
pub fn try_out(settings: &Settings, zone: TimeZone) -> io::Result<()> {
    Files::new(settings).try_out(Timestamp::now().to_zoned(zone).date())
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
        let next_place = Arc::new(Mutex::new(None));
        let mut writer = Writer {
            place: Place::new(settings, zone),
            next_place: Arc::clone(&next_place),
            computer: computer.to_owned(),
            waiting: VecDeque::new(),
            status: Arc::clone(&status),
            dropped_told: 0,
        };
        std::thread::Builder::new().name("nps-log".into()).spawn(move || {
            writer.run(&inbox);
            // Nobody waits for it unless the gateway stops.
            finished.send(()).ok();
        })?;
        Ok(Self { lines, place: next_place, status, done })
    }

    /// Hands a line over, without ever waiting.
    pub fn submit(&self, record: Box<Record>) {
        if self.lines.try_send(Message::Line(record)).is_err() {
            locked(&self.status).dropped += 1;
        }
    }

    /// Hands over what an earlier run owes. It may be more than waits otherwise.
    pub fn submit_all(&self, records: Vec<Record>) {
        let owed = records.len() as u64;
        if self.lines.try_send(Message::Lines(records)).is_err() {
            locked(&self.status).dropped += owed;
        }
    }

    /// What has not been written yet goes there, too.
    pub fn change(&self, settings: &Settings, zone: TimeZone) {
        *locked(&self.place) = Some(Place::new(settings, zone));
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

/// A thread that dies while it holds a lock leaves something behind that is as good as any.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    place: Place,
    /// Where they go from the next line on.
    next_place: Arc<Mutex<Option<Place>>>,
    computer: String,
    waiting: VecDeque<Record>,
    status: Arc<Mutex<Status>>,
    /// Lines lost of which the log has told.
    dropped_told: u64,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Message>) {
        loop {
            let next =
                if self.waiting.is_empty() { inbox.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { inbox.recv_timeout(RETRY) };
            match next {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            while let Ok(message) = inbox.try_recv() {
                self.take(message);
            }
            self.write();
        }
    }

    /// The newest is lost where there is no room: what is in the log has no holes but its end.
    fn take(&mut self, message: Message) {
        match message {
            Message::Lines(records) => self.waiting.extend(records),
            Message::Line(record) if self.waiting.len() < WAITING => self.waiting.push_back(*record),
            Message::Line(_) => locked(&self.status).dropped += 1,
        }
    }

    fn write(&mut self) {
        if let Some(place) = locked(&self.next_place).take() {
            self.place = place;
        }
        let (mut written, mut file, mut failure) = (0, None, None);
        while let Some(record) = self.waiting.front() {
            match self.place.append(record, &self.computer) {
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
                let folder = self.place.files.folder().display();
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
    use crate::waiting::until;
    use std::path::Path;

    fn settings(folder: &Path) -> Settings {
        let kinds = Kinds { logins: true, challenges: true, accounting: true, interims: true };
        Settings { folder: folder.to_owned(), rotation: Rotation::Monthly, keep: None, kinds }
    }

    fn record(number: u64) -> Box<Record> {
        Box::new(Record { at: Timestamp::from_second(1_700_000_000).unwrap(), attributes: vec![("Packet-Type", Value::Number(number))] })
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
        assert_eq!(types(&file), ["0", "1", "2", "3", "4", "5"]);
    }

    /// Packet-Type of each line.
    fn types(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let of =
            |line| roxmltree::Document::parse(line).unwrap().root_element().last_child().unwrap().text().unwrap_or_default().to_owned();
        text.lines().map(of).collect()
    }

    /// Whoever mends a folder that cannot be written to by naming another one loses nothing.
    #[test]
    fn what_waits_goes_where_a_change_says() {
        let parent = tempfile::tempdir().unwrap();
        let gone = parent.path().join("gone");
        assert!(try_out(&settings(&gone), TimeZone::UTC).is_err());
        try_out(&settings(parent.path()), TimeZone::UTC).unwrap();
        let log = Log::start(&settings(&gone), "vpn", TimeZone::UTC).unwrap();
        log.submit(record(1));
        until(|| log.status().waiting == 1);
        log.change(&Settings { rotation: Rotation::Never, ..settings(parent.path()) }, TimeZone::UTC);
        log.submit_all((2..4).map(|number| *record(number)).collect());
        until(|| log.status().written == 3);
        assert_eq!(log.status(), Status { file: Some(parent.path().join("iaslog.log")), written: 3, ..Status::default() });
        assert_eq!(types(&parent.path().join("iaslog.log")), ["1", "2", "3"]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_before_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            place: Place::new(&settings(&folder.path().join("nowhere")), TimeZone::UTC),
            next_place: Arc::default(),
            computer: "vpn".into(),
            waiting: VecDeque::new(),
            status: Arc::default(),
            dropped_told: 0,
        };
        (0..WAITING as u64 + 7).for_each(|number| writer.take(Message::Line(record(number))));
        writer.write();
        let status = locked(&writer.status).clone();
        assert_eq!((status.waiting, status.dropped, status.failure.is_some()), (WAITING as u64, 7, true));
        writer.place = Place::new(&settings(folder.path()), TimeZone::UTC);
        writer.take(Message::Lines(vec![*record(0)]));
        writer.write();
        let status = locked(&writer.status).clone();
        assert_eq!((status.written, status.waiting, status.failure, writer.dropped_told), (WAITING as u64 + 1, 0, None, 7));
    }
}
