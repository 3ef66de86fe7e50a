//! One gateway on one `[server] state_dir`: two would write one journal of accounting, and neither could read it afterwards.
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

const NAME: &str = "evergate.lock";

/// How long a gateway that is asked to end, or that has just been killed, may take to be gone.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of what the holder says of itself that are read.
const TOLD_MAX: u64 = 512;

/// Takes the folder, which is made where it is not there, until the lock is dropped or the process ends, however it does. `None`: it cannot be
/// locked, as the log says. A holder has so much time to end.
///
/// # Errors
/// Another process holds it; the error names that.
pub fn take(state_dir: &Path, patience: Duration) -> anyhow::Result<Option<File>> {
    match open(state_dir).map(|file| (lock(&file, patience), file)) {
        Ok((Ok(()), mut file)) => {
            if let Err(error) = tell(&mut file) {
                tracing::debug!(%error, "the holder of the state folder is not told");
            }
            Ok(Some(file))
        }
        Ok((Err(TryLockError::WouldBlock), file)) => anyhow::bail!(
            "{}: another gateway uses this folder ({}): end that one, or give this one a state_dir of its own ([server])",
            state_dir.display(),
            holder(file)
        ),
        Ok((Err(TryLockError::Error(error)), _)) | Err(error) => {
            let folder = state_dir.display();
            tracing::warn!(%error, %folder, "nothing keeps a second gateway off this folder: it cannot be locked; see server.state_dir");
            Ok(None)
        }
    }
}

/// A process that has been killed holds its files until its last thread is gone.
fn lock(file: &File, patience: Duration) -> Result<(), TryLockError> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            done => return done,
        }
    }
}

fn open(state_dir: &Path) -> io::Result<File> {
    fs::create_dir_all(state_dir)?;
    let file = state_dir.join(NAME);
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&file) {
        // Of a gateway that ran as another user, as root for one: reading is enough to lock it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&file),
        opened => opened,
    }
}

/// Containers each count processes for themselves: the host's name tells them apart.
fn tell(file: &mut File) -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    file.set_len(0)?;
    write!(file, "process {} on {}", std::process::id(), host.trim())
}

fn holder(file: File) -> String {
    let mut told = String::new();
    match file.take(TOLD_MAX).read_to_string(&mut told) {
        Ok(_) if told.starts_with("process ") => told.chars().filter(|c| !c.is_control()).collect(),
        _ => "it does not say which process it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_enough_to_lock() {
        let folder = tempfile::tempdir().unwrap();
        drop(take(folder.path(), Duration::ZERO).unwrap());
        let reader = File::open(folder.path().join(NAME)).unwrap();
        lock(&reader, Duration::ZERO).unwrap();
        assert!(take(folder.path(), Duration::ZERO).is_err(), "the folder is taken twice");
    }

    #[test]
    fn a_second_gateway_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = take(&state, Duration::ZERO).unwrap().unwrap();
        let error = take(&state, Duration::ZERO).unwrap_err().to_string();
        let expected = format!("{}: another gateway uses this folder (process {} on ", state.display(), std::process::id());
        assert!(error.starts_with(&expected), "{error}");
        drop(first);
        assert!(take(&state, Duration::ZERO).unwrap().is_some());
        let going = take(&state, Duration::ZERO).unwrap();
        let gone = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(going);
        });
        assert!(take(&state, PATIENCE).unwrap().is_some(), "one that is just ending is waited for");
        gone.join().unwrap();
        assert!(take(&folder.path().join("other"), Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_folder_that_cannot_be_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(take(&folder.path().join("file/state"), Duration::ZERO).unwrap().is_none());
    }
}
