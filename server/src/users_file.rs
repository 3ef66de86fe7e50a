//! The users file of the local provider: read whole, replaced whole, by one at a time.
use crypto::{Random as _, SystemRandom, Zeroizing};
use local_provider::{HEADER, Users};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The largest users file: some hundred thousand users.
const MAX_FILE: u64 = 32 << 20;

/// How long somebody waits for another who changes the file.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// Others wait meanwhile.
    Short,
    Long,
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(500),
            Self::Long => Duration::from_secs(30),
        }
    }
}

/// Between two looks whether the file is free.
const LOOK: Duration = Duration::from_millis(10);

/// Text of a users file.
///
/// # Errors
/// One sentence, without the file's name.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(format!("is {size} bytes long; at most {MAX_FILE} are read"));
    }
    // Of the file's size, so that growing leaves no copies of hashes behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Reads the file, which may be absent, and puts the text that `edit` makes of it in its place, in one step; at most one at a time.
///
/// # Errors
/// One sentence with the file's name; then the file is as it was.
pub fn update<T>(
    path: &Path,
    patience: Patience,
    edit: impl FnOnce(&Users, &str) -> Result<(Zeroizing<String>, T), String>,
) -> Result<T, String> {
    let at = |error: io::Error| format!("{}: {error}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    hold(&lock, patience).map_err(at)?;
    let exists = path.try_exists().map_err(at)?;
    // A link goes on to point at the file.
    let path = if exists { path.canonicalize().map_err(at)? } else { path.to_owned() };
    let at = |error: io::Error| format!("{}: {error}", path.display());
    let text =
        if exists { read_text(&path).map_err(|error| format!("{} {error}", path.display()))? } else { Zeroizing::new(HEADER.to_owned()) };
    let users = Users::parse(&text).map_err(|error| format!("{}: {error}; correct it first", path.display()))?;
    let (text, said) = edit(&users, &text)?;
    write_private(&path, text.as_bytes()).map_err(at)?;
    Ok(said)
}

fn hold(lock: &File, patience: Patience) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() < patience.time() => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("somebody else is changing it; try again")),
        }
    }
}

/// Writes a file that nobody else may read, whole or not at all; an older one's owner and mode stay.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut tag = [0; 8];
    SystemRandom.fill(&mut tag);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_be_bytes(tag)));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        if let Ok(before) = fs::metadata(path) {
            let fresh = file.metadata()?;
            if (fresh.uid(), fresh.gid()) != (before.uid(), before.gid()) {
                std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o777))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // What is left of it is of no use.
        fs::remove_file(&beside).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("users"), folder.path().join("link"));
        fs::write(&file, "ann\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let add = |name: &'static str| move |_: &Users, text: &str| Ok((Zeroizing::new(format!("{text}{name}\n")), ()));
        update(&link, Patience::Short, add("bob")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "ann\nbob\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        assert!(update(&file, Patience::Short, add("carl")).unwrap_err().ends_with("somebody else is changing it; try again"));
        drop(held);
        update(&file, Patience::Short, add("carl")).unwrap();
        assert_eq!(Users::parse(&read_text(&file).unwrap()).unwrap().len(), 3);
    }
}
