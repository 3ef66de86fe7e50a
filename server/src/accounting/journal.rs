//! The journal: what accounting must not forget, as lines of a file that is only appended to and now and then written anew.
//!
//! A line is a CRC-32 in hex, a space, one JSON object and a line feed. What a crash left half-written or damaged is passed over.
//!
//! When it is flushed to the disk (fdatasync): after every batch that holds a record, before the first of its records is sent, so that
//! thousands of logins a second share a few flushes. Counters of running sessions are written every second and flushed with the next record
//! or after [`LAZY_SYNC`]: the death of the process costs none of them, a power cut the last seconds. That a record was answered is
//! flushed like counters: a power cut may send it twice, never not at all.
use radius_client::AccountingRecord;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "accounting.journal";

/// How long counters may wait for their flush to the disk.
const LAZY_SYNC: Duration = Duration::from_secs(10);

/// Smaller journals are not written anew.
const SMALL: u64 = 16 << 20;

/// A journal that has grown to this many times what is worth keeping is written anew.
const GROWTH: u64 = 4;

/// Octets in, octets out, packets in, packets out.
pub(super) type Usage = [u64; 4];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// A session began; its Start waits to be sent.
    Start { seq: u64, session: u64, record: Cow<'a, AccountingRecord> },
    /// A session that is up, as its last record described it.
    Open { session: u64, record: Cow<'a, AccountingRecord>, usage: Usage },
    /// A record of a session that goes on, or of the gateway itself, waits to be sent.
    Queue { seq: u64, session: Option<u64>, record: Cow<'a, AccountingRecord> },
    /// A session ended; its Stop waits to be sent.
    Stop { seq: u64, session: u64, record: Cow<'a, AccountingRecord> },
    /// The gateway was alive at this unix time, and these sessions had moved this much.
    Count { at: u32, sessions: Vec<(u64, Usage)> },
    /// A server has the record, or it was given up.
    Done { seq: u64 },
}

impl Line<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // Numbers, texts and lists of them: there is nothing in a line that JSON cannot say.
        let json = serde_json::to_vec(self).expect("plain data");
        out.extend_from_slice(format!("{:08x} ", crc32(&json)).as_bytes());
        out.extend_from_slice(&json);
        out.push(b'\n');
    }
}

/// The lines of a journal in their order, and how many others there were that are none.
pub(super) fn decode(bytes: &[u8]) -> (Vec<Line<'static>>, usize) {
    let mut lines = Vec::new();
    let mut damaged = 0;
    for text in bytes.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        match decode_line(text) {
            Some(line) => lines.push(line),
            None => damaged += 1,
        }
    }
    (lines, damaged)
}

fn decode_line(text: &[u8]) -> Option<Line<'static>> {
    let (sum, json) = text.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?, 16).ok()?;
    if sum != crc32(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32_table();
    !bytes.iter().fold(u32::MAX, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

/// The file. Every error leaves it to be written anew with [`Journal::rewrite`].
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    /// Size when it was last written anew.
    base: u64,
    /// Since when something in it has not been flushed.
    dirty: Option<Instant>,
}

impl Journal {
    /// What an earlier run left in `state_dir`; nothing where there is no journal.
    pub(super) fn read(state_dir: &Path) -> io::Result<Vec<u8>> {
        match fs::read(state_dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Puts a damaged journal aside for whoever wants to look; returns where.
    pub(super) fn keep_damaged(state_dir: &Path) -> io::Result<PathBuf> {
        let aside = state_dir.join(NAME).with_extension("damaged");
        fs::copy(state_dir.join(NAME), &aside).map(|_| aside)
    }

    /// Puts a journal aside that cannot be read, before another takes its name.
    pub(super) fn put_aside(state_dir: &Path) -> io::Result<PathBuf> {
        let aside = state_dir.join(NAME).with_extension("unread");
        fs::rename(state_dir.join(NAME), &aside).map(|()| aside)
    }

    /// Not open yet: begins with [`Journal::rewrite`].
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), file: None, size: 0, base: 0, dirty: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Replaces the whole by `content`, atomically: after a crash there is the old journal or the new one.
    pub(super) fn rewrite(&mut self, content: &[u8]) -> io::Result<()> {
        self.file = None;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = self.path.with_extension("new");
        // Whatever a crash left there may have been made with other permissions.
        if let Err(error) = fs::remove_file(&fresh)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
        let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&fresh, &self.path));
        if let Err(error) = written {
            // Half of it takes room that the disk may lack.
            fs::remove_file(&fresh).ok();
            return Err(error);
        }
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        (self.size, self.base, self.dirty) = (content.len() as u64, content.len() as u64, None);
        self.file = Some(file);
        Ok(())
    }

    /// Appends whole lines. `now_or_later`: flush them at once, not lazily.
    pub(super) fn append(&mut self, now: Instant, lines: &[u8], at_once: bool) -> io::Result<()> {
        if !lines.is_empty() {
            self.size += lines.len() as u64;
            self.dirty.get_or_insert(now);
            let written = self.file()?.write_all(lines);
            self.closing(written)?;
        }
        let late = |since: Instant| now.saturating_duration_since(since) >= LAZY_SYNC;
        if self.dirty.is_some_and(|since| at_once || late(since)) {
            let synced = self.file()?.sync_data();
            self.closing(synced)?;
            self.dirty = None;
        }
        Ok(())
    }

    /// Most of it is history.
    pub(super) fn is_overgrown(&self) -> bool {
        self.size > SMALL.max(GROWTH * self.base)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the journal is not open"))
    }

    /// After an error nobody knows how much was written: the file is not touched again until it is written anew.
    fn closing(&mut self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.file = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn line(seq: u64) -> Line<'static> {
        let record = AccountingRecord { user_name: vec![0, 10, 255], class: vec![vec![10, 0]], ..AccountingRecord::default() };
        Line::Start { seq, session: 7, record: Cow::Owned(record) }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_journal_cut_anywhere_has_its_whole_lines() {
        let lines = [line(1), Line::Count { at: 5, sessions: vec![(7, [1, 2, 3, u64::MAX])] }, Line::Done { seq: 1 }, line(2)];
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for line in &lines {
            line.encode(&mut bytes);
            ends.push(bytes.len() - 1);
        }
        for cut in 0..=bytes.len() {
            let (read, damaged) = decode(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read, lines[..whole], "cut at {cut}");
            let begun = whole.checked_sub(1).map_or(0, |last| ends[last] + 1);
            assert_eq!(damaged, usize::from(cut > begun), "cut at {cut}");
        }
    }

    #[test]
    fn damage_costs_the_lines_it_hits() {
        let mut bytes = Vec::new();
        let lines = [line(1), line(2), line(3)];
        lines.iter().for_each(|line| line.encode(&mut bytes));
        let length = bytes.len() / 3;
        for at in length..2 * length {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            let (read, lost) = decode(&damaged);
            assert!(lost >= 1, "byte {at}");
            assert_eq!(read.first(), Some(&lines[0]), "byte {at}");
            assert!(read.iter().all(|line| lines.contains(line)), "byte {at}");
        }
    }

    #[test]
    fn the_file_is_the_owners_alone_and_takes_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert_eq!(Journal::read(&state).unwrap(), b"");
        let mut journal = Journal::new(&state);
        let now = Instant::now();
        assert!(journal.append(now, b"x\n", true).is_err(), "not open");
        journal.rewrite(b"one\n").unwrap();
        fs::write(state.join("accounting.new"), "left behind by a crash").unwrap();
        journal.append(now, b"two\n", false).unwrap();
        assert_eq!(Journal::read(&state).unwrap(), b"one\ntwo\n");
        journal.rewrite(b"three\n").unwrap();
        journal.append(now, b"four\n", true).unwrap();
        assert_eq!(Journal::read(&state).unwrap(), b"three\nfour\n");
        assert_eq!(fs::metadata(state.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }
}
