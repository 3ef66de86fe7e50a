//! Names of the files, as NPS gives them, and how lines get into them.
use jiff::civil::{Date, Weekday};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
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
    /// Of the numbered file that is written; `None`: not looked yet.
    number: Option<u64>,
}

impl Files {
    pub(super) fn new(folder: PathBuf, rotation: Rotation) -> Self {
        Self { folder, rotation, number: None }
    }

    /// Appends a line of that day: all of it or nothing. The file is opened anew each time, so that it may be moved away or removed at any time.
    pub(super) fn append(&mut self, day: Date, line: &str) -> io::Result<PathBuf> {
        let path = match self.rotation.dated(day) {
            Some(name) => self.folder.join(name),
            None => self.numbered(line.len() as u64)?,
        };
        append(&path, line.as_bytes())?;
        Ok(path)
    }

    fn numbered(&mut self, length: u64) -> io::Result<PathBuf> {
        let Rotation::Size(limit) = self.rotation else { return Ok(self.folder.join("iaslog.log")) };
        let number = match self.number {
            Some(number) => number,
            None => newest(&self.folder)?.unwrap_or(0),
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

/// The highest number of a numbered file.
fn newest(folder: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("iaslog")?.strip_suffix(".log")?.parse().ok());
        newest = newest.max(number);
    }
    Ok(newest)
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    // Names of users and their addresses are nobody's business but the operator's and their group's.
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
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
    use super::*;
    use jiff::civil::date;

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
        let mut files = Files::new(folder.path().to_owned(), Rotation::Daily);
        for day in [date(2026, 12, 31), date(2026, 12, 31), date(2027, 1, 1)] {
            files.append(day, &format!("{day}\n")).unwrap();
        }
        let text = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("IN261231.log"), "2026-12-31\n2026-12-31\n");
        assert_eq!(text("IN270101.log"), "2027-01-01\n");
    }

    #[test]
    fn files_of_a_size_are_numbered_and_go_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let names = |files: &mut Files, lines: usize| {
            let name = |_| files.append(date(2026, 1, 1), "123456789\n").unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            (0..lines).map(name).collect::<Vec<_>>()
        };
        let mut files = Files::new(folder.path().to_owned(), Rotation::Size(25));
        assert_eq!(names(&mut files, 5), ["iaslog0.log", "iaslog0.log", "iaslog1.log", "iaslog1.log", "iaslog2.log"]);
        let mut files = Files::new(folder.path().to_owned(), Rotation::Size(25));
        assert_eq!(names(&mut files, 2), ["iaslog2.log", "iaslog3.log"]);
        let mut small = Files::new(folder.path().to_owned(), Rotation::Size(1));
        assert_eq!(names(&mut small, 2), ["iaslog4.log", "iaslog5.log"], "a line finds room in a file of its own");
    }

    #[test]
    fn a_line_without_end_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iaslog.log");
        fs::write(&path, "<Event><Timest").unwrap();
        let mut files = Files::new(folder.path().to_owned(), Rotation::Never);
        files.append(date(2026, 1, 1), "whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "<Event><Timest\nwhole\n");
        fs::remove_file(&path).unwrap();
        files.append(date(2026, 1, 1), "anew\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "anew\n", "moved away, it is written anew");
    }
}
