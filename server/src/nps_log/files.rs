//! Names of the files, as NPS gives them, and how lines get into them.
use super::Settings;
use jiff::civil::{Date, Weekday};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// When a new file begins. `sdoias.h`, NEW_LOG_FILE_FREQUENCY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// `iaslog.log`
    Never,
    /// `IN261121.log`
    Daily,
    /// `IN261104.log`: year, month, week of the month; weeks begin on Sunday, and the first with the month.
    Weekly,
    /// `IN2611.log`
    Monthly,
    /// `iaslog0.log`, `iaslog1.log`, ..: each with this many bytes at most, but at least one line.
    Size(u64),
}

impl Rotation {
    /// The file of that day, where the day says it.
    pub fn dated(self, day: Date) -> Option<String> {
        let (year, month) = (day.year().rem_euclid(100), day.month());
        match self {
            Self::Never => Some("iaslog.log".into()),
            Self::Daily => Some(format!("IN{year:02}{month:02}{:02}.log", day.day())),
            Self::Weekly => Some(format!("IN{year:02}{month:02}{:02}.log", week_of_month(day))),
            Self::Monthly => Some(format!("IN{year:02}{month:02}.log")),
            Self::Size(_) => None,
        }
    }

    /// How many files are kept where nobody says: those of thirteen months, so that last year's month can still be reported on; of a size, so many
    /// that they take 1 GB as NPS makes them.
    pub fn default_keep(self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(match self {
            Self::Never => 0,
            Self::Daily => 400,
            Self::Weekly => 70,
            Self::Monthly => 13,
            Self::Size(_) => 100,
        })
    }

    /// What files of this kind are ordered by; `None`: that is the name of none.
    fn number(self, name: &str) -> Option<u64> {
        let (prefix, digits) = match self {
            Self::Never => return None,
            Self::Daily | Self::Weekly => ("IN", Some(6)),
            Self::Monthly => ("IN", Some(4)),
            Self::Size(_) => ("iaslog", None),
        };
        let number = name.strip_prefix(prefix)?.strip_suffix(".log")?;
        let fits = number.bytes().all(|byte| byte.is_ascii_digit()) && digits.is_none_or(|digits| number.len() == digits);
        let number = number.parse::<u64>().ok().filter(|_| fits)?;
        // The names of days look the same, but no month has a seventh week.
        (self != Self::Weekly || (1..=6).contains(&(number % 100))).then_some(number)
    }
}

fn week_of_month(day: Date) -> i8 {
    let first = day.first_of_month().weekday().since(Weekday::Sunday);
    (day.day() + first - 1) / 7 + 1
}

/// Where the next lines go.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    rotation: Rotation,
    /// How many there are at most; `None`: none is ever removed.
    keep: Option<NonZeroUsize>,
    /// Of the numbered file that is written; `None`: not looked yet.
    number: Option<u64>,
    /// The one of the last line.
    last: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { folder: settings.folder.clone(), rotation: settings.rotation, keep: settings.keep, number: None, last: None }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends a line of that day: all of it or nothing. The file is opened anew each time, so that it may be moved away or removed at any time.
    pub(super) fn append(&mut self, day: Date, line: &str) -> io::Result<PathBuf> {
        let path = self.path(day, line.len() as u64)?;
        append(&path, line.as_bytes())?;
        if self.last.as_ref() != Some(&path) {
            self.remove_old(&path);
            self.last = Some(path.clone());
        }
        Ok(path)
    }

    /// Opens the file of that day without writing to it.
    pub(super) fn try_out(&mut self, day: Date) -> io::Result<()> {
        open(&self.path(day, 0)?).map(drop)
    }

    fn path(&mut self, day: Date, length: u64) -> io::Result<PathBuf> {
        match self.rotation.dated(day) {
            Some(name) => Ok(self.folder.join(name)),
            None => self.numbered(length),
        }
    }

    /// The oldest go where there are more than are kept. Trouble with that is no reason not to write.
    fn remove_old(&self, current: &Path) {
        let Some(keep) = self.keep else { return };
        let found = self.found().unwrap_or_else(|error| {
            tracing::warn!(folder = %self.folder.display(), %error, "old files of the NPS log are not looked for");
            Vec::new()
        });
        for (_, path) in found.iter().rev().skip(keep.get()).filter(|(_, path)| path != current) {
            match fs::remove_file(path) {
                Ok(()) => tracing::info!(file = %path.display(), keep, "an old file of the NPS log is removed (nps_log.keep_files)"),
                Err(error) => tracing::warn!(file = %path.display(), %error, "an old file of the NPS log cannot be removed"),
            }
        }
    }

    /// The files of this kind, oldest first.
    fn found(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| self.rotation.number(name));
            found.extend(number.map(|number| (number, entry.path())));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn numbered(&mut self, length: u64) -> io::Result<PathBuf> {
        let Rotation::Size(limit) = self.rotation else { return Ok(self.folder.join("iaslog.log")) };
        let number = match self.number {
            Some(number) => number,
            None => self.found()?.last().map_or(0, |(number, _)| *number),
        };
        let path = |number| self.folder.join(format!("iaslog{number}.log"));
        let size = match fs::metadata(path(number)) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let number = if size > 0 && size.saturating_add(length) > limit { number + 1 } else { number };
        self.number = Some(number);
        Ok(path(number))
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Names of users and their addresses are nobody's business but the operator's and their group's.
    OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        // Whatever the umask: who reports on it is in the group. A file that was put there keeps what it has.
        file.set_permissions(fs::Permissions::from_mode(0o640)).ok();
    }
    let mut text = Vec::with_capacity(line.len() + 1);
    if is_torn(&mut file, length)? {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
    file.write_all(&text).inspect_err(|_| {
        // Half a line would spoil the next one too; where the disk does not even take this, the next line begins anew.
        file.set_len(length).ok();
    })
}

/// Whether the last line has no end: the host died while it was written.
fn is_torn(file: &mut File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::Kinds;
    use super::*;
    use jiff::civil::date;

    fn files(folder: &tempfile::TempDir, rotation: Rotation) -> Files {
        let kinds = Kinds { logins: true, challenges: true, accounting: true, interims: true };
        Files::new(&Settings { folder: folder.path().to_owned(), rotation, keep: NonZeroUsize::new(3), kinds })
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_named_as_nps_names_them() {
        let day = date(2026, 11, 21);
        assert_eq!(Rotation::Never.dated(day).as_deref(), Some("iaslog.log"));
        assert_eq!(Rotation::Daily.dated(day).as_deref(), Some("IN261121.log"));
        assert_eq!(Rotation::Monthly.dated(day).as_deref(), Some("IN2611.log"));
        assert_eq!(Rotation::Monthly.dated(date(2107, 1, 1)).as_deref(), Some("IN0701.log"));
        // November 2026 begins on a Sunday, August 2026 on a Saturday.
        for (day, name) in [
            (date(2026, 11, 1), "IN261101.log"),
            (date(2026, 11, 7), "IN261101.log"),
            (date(2026, 11, 8), "IN261102.log"),
            (date(2026, 11, 30), "IN261105.log"),
            (date(2026, 8, 1), "IN260801.log"),
            (date(2026, 8, 2), "IN260802.log"),
            (date(2026, 8, 30), "IN260806.log"),
        ] {
            assert_eq!(Rotation::Weekly.dated(day).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_day_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = files(&folder, Rotation::Daily);
        for day in [date(2026, 12, 31), date(2026, 12, 31), date(2027, 1, 1)] {
            log.append(day, &format!("{day}\n")).unwrap();
        }
        let text = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("IN261231.log"), "2026-12-31\n2026-12-31\n");
        assert_eq!(text("IN270101.log"), "2027-01-01\n");
    }

    #[test]
    fn files_of_a_size_are_numbered_and_go_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let written = |size, lines: usize| {
            let mut log = files(&folder, Rotation::Size(size));
            let name = |_| log.append(date(2026, 1, 1), "123456789\n").unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            (0..lines).map(name).collect::<Vec<_>>()
        };
        assert_eq!(written(25, 5), ["iaslog0.log", "iaslog0.log", "iaslog1.log", "iaslog1.log", "iaslog2.log"]);
        assert_eq!(written(25, 2), ["iaslog2.log", "iaslog3.log"]);
        assert_eq!(written(1, 2), ["iaslog4.log", "iaslog5.log"], "a line finds room in a file of its own");
    }

    #[test]
    fn as_many_files_are_kept_as_are_wanted_and_those_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let others = ["IN2605.log", "IN260101.log.gz", "IN26010x.log", "iaslog.log", "iaslog7.log", "notes.txt"];
        for name in others {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut log = files(&folder, Rotation::Daily);
        for day in 1..=5 {
            log.append(date(2026, 1, day), "line\n").unwrap();
        }
        let mut expected: Vec<_> = others.into_iter().chain(["IN260103.log", "IN260104.log", "IN260105.log"]).collect();
        expected.sort_unstable();
        assert_eq!(names(&folder), expected);
        // A clock that was set back: the file that is written stays.
        log.append(date(2025, 1, 1), "line\n").unwrap();
        assert!(names(&folder).contains(&"IN250101.log".into()), "{:?}", names(&folder));
        let mut all = Files { keep: None, ..files(&folder, Rotation::Daily) };
        all.append(date(2026, 1, 6), "line\n").unwrap();
        assert_eq!(names(&folder).len(), expected.len() + 2);
    }

    #[test]
    fn numbered_files_go_by_their_number_and_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        for number in [2, 9, 10, 11] {
            fs::write(folder.path().join(format!("iaslog{number}.log")), "123456789\n").unwrap();
        }
        files(&folder, Rotation::Size(15)).append(date(2026, 1, 1), "123456789\n").unwrap();
        assert_eq!(names(&folder), ["iaslog10.log", "iaslog11.log", "iaslog12.log"]);
    }

    #[test]
    fn a_line_without_end_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iaslog.log");
        fs::write(&path, "<Event><Timest").unwrap();
        let mut log = files(&folder, Rotation::Never);
        log.append(date(2026, 1, 1), "whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "<Event><Timest\nwhole\n");
        fs::remove_file(&path).unwrap();
        log.append(date(2026, 1, 1), "anew\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "anew\n", "moved away, it is written anew");
    }
}
