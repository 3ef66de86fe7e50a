//! The users file of the local provider: read whole, replaced whole, by one at a time.
use crypto::{Random as _, SystemRandom, Zeroizing};
use local_provider::{HEADER, Users};
use net::folder::{self, For};
use net::privileges::effective_uid;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
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
    read_from(File::open(path).map_err(unreadable)?)
}

fn read_from(file: File) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let size = file.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(format!("is {size} bytes long; at most {MAX_FILE} are read"));
    }
    // Of the file's size, so that growing leaves no copies of hashes behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// [`read_text`] for whoever has more rights than the owner of the folder, root above all: no link of somebody else's leads it to another file.
///
/// # Errors
/// One sentence with the file's name.
pub fn read_own_text(path: &Path) -> Result<Zeroizing<String>, String> {
    Place::find(path)?.read()?.ok_or_else(|| format!("{}: there is no such file", path.display()))
}

/// Reads the file, which may be absent, and puts the text that `edit` makes of it in its place, in one step; at most one at a time. Links are followed
/// where nobody but root or this process can have made them.
/// `readers`: the group that a new file of root's in a folder of root's is readable to.
///
/// # Errors
/// One sentence with the file's name; then the file is as it was.
pub fn update<T>(
    path: &Path,
    patience: Patience,
    readers: Option<u32>,
    edit: impl FnOnce(&Users, &str) -> Result<(Zeroizing<String>, T), String>,
) -> Result<T, String> {
    let place = Place::find(path)?;
    // The folder that holds the file: whoever changes it holds the same, by whatever name it is called.
    let lock = place.open_folder().map_err(|error| place.at(error))?;
    hold(&lock, patience).map_err(|error| place.at(error))?;
    let text = place.read()?.unwrap_or_else(|| Zeroizing::new(HEADER.to_owned()));
    let users = Users::parse(&text).map_err(|error| format!("{}: {error}; correct it first", place.shown.display()))?;
    let (text, said) = edit(&users, &text)?;
    place.write(text.as_bytes(), New::Shared(readers)).map_err(|error| place.at(error))?;
    Ok(said)
}

/// A file by the folder that holds it, found without a way through what others could change meanwhile.
#[derive(Debug)]
struct Place {
    folder: File,
    name: OsString,
    /// For messages.
    shown: PathBuf,
}

/// Whose a file is that was not there before.
#[derive(Clone, Copy)]
enum New {
    /// This process's alone, whatever the folder: it may be a key.
    Private,
    /// One of root's is readable to whose folder it lies in, or to this group.
    Shared(Option<u32>),
}

/// Links on one way, as the kernel counts them.
const MAX_LINKS: usize = 40;

impl Place {
    fn find(path: &Path) -> Result<Self, String> {
        let at = |error: io::Error| format!("{}: {error}", path.display());
        let root = || File::open("/").map_err(at);
        let mut parts = parts(&std::path::absolute(path).map_err(at)?);
        let (mut folder, mut shown, mut links) = (root()?, PathBuf::from("/"), 0);
        while let Some(name) = parts.pop_front() {
            let found = match folder::open_at(&folder, &name, For::Looking) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound && parts.is_empty() => {
                    return Ok(Self { shown: shown.join(&name), folder, name });
                }
                Err(error) => return Err(at(error)),
            };
            let facts = found.metadata().map_err(at)?;
            if facts.is_symlink() {
                let link = shown.join(&name);
                trust_link(&link, &folder.metadata().map_err(at)?, &facts)?;
                links += 1;
                if links > MAX_LINKS {
                    return Err(format!("{}: too many links", path.display()));
                }
                let target = folder::target(&found).map_err(at)?;
                if target.is_absolute() {
                    (folder, shown) = (root()?, "/".into());
                }
                let mut way = self::parts(&target);
                way.append(&mut parts);
                parts = way;
            } else if parts.is_empty() {
                return Ok(Self { shown: shown.join(&name), folder, name });
            } else {
                (folder, shown) = (found, shown.join(&name));
            }
        }
        Err(format!("{}: is no name of a file", path.display()))
    }

    fn at(&self, error: impl std::fmt::Display) -> String {
        format!("{}: {error}", self.shown.display())
    }

    /// For locking and syncing, which the way to a file alone does not allow.
    fn open_folder(&self) -> io::Result<File> {
        folder::open_at(&self.folder, OsStr::new("."), For::Reading)
    }

    /// `None`: there is no such file.
    fn read(&self) -> Result<Option<Zeroizing<String>>, String> {
        let file = match folder::open_at(&self.folder, &self.name, For::Reading) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.at(error)),
        };
        let (facts, folder) = (file.metadata().map_err(|error| self.at(error))?, self.folder.metadata().map_err(|error| self.at(error))?);
        if !facts.is_file() {
            return Err(self.at("is no file"));
        }
        if !is_ours(folder.uid()) && facts.nlink() != 1 {
            return Err(self.at("has several names, which the owner of its folder may have given it; copy it in its place"));
        }
        if !is_ours(facts.uid()) && facts.uid() != folder.uid() {
            return Err(self.at(format!("belongs to user {}, who is neither root nor the owner of the folder; chown it", facts.uid())));
        }
        read_from(file).map(Some).map_err(|problem| format!("{} {problem}", self.shown.display()))
    }

    /// Whole or not at all; an older file's owner and mode stay.
    fn write(&self, bytes: &[u8], new: New) -> io::Result<()> {
        let mut tag = [0; 8];
        SystemRandom.fill(&mut tag);
        let mut beside = self.name.clone();
        beside.push(format!(".{:016x}", u64::from_be_bytes(tag)));
        let written = (|| {
            let mut file = folder::open_at(&self.folder, &beside, For::Creating(0o600))?;
            let before = folder::open_at(&self.folder, &self.name, For::Looking).and_then(|before| before.metadata());
            let (owner, group, mode) = match before {
                Ok(before) if before.is_file() => (before.uid(), before.gid(), before.mode() & 0o777),
                _ => match new {
                    New::Private => (file.metadata()?.uid(), file.metadata()?.gid(), 0o600),
                    New::Shared(readers) => new_owner(effective_uid(), &self.folder.metadata()?, &file.metadata()?, readers),
                },
            };
            let fresh = file.metadata()?;
            if (fresh.uid(), fresh.gid()) != (owner, group) {
                std::os::unix::fs::fchown(&file, Some(owner), Some(group))?;
            }
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            folder::rename_at(&self.folder, &beside, &self.name)
        })();
        if written.is_err() {
            // What is left of it is of no use.
            folder::remove_at(&self.folder, &beside).ok();
            return written;
        }
        // Only then the new name outlives a power failure.
        self.open_folder()?.sync_all()
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    named.collect()
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == effective_uid()
}

/// Nobody but root or this process can have made the link: else whoever owns the folder could lead root to any file.
fn trust_link(link: &Path, folder: &Metadata, facts: &Metadata) -> Result<(), String> {
    let is_sticky = folder.mode() & 0o1000 != 0;
    if is_ours(folder.uid()) && is_ours(facts.uid()) && (folder.mode() & 0o022 == 0 || is_sticky) {
        return Ok(());
    }
    Err(format!(
        "{} is a link, and others than root may put links into its folder: it is not followed; name the file itself, or put it in its place",
        link.display()
    ))
}

/// Owner, group and mode of a new file.
fn new_owner(me: u32, folder: &Metadata, fresh: &Metadata, readers: Option<u32>) -> (u32, u32, u32) {
    if me != 0 {
        return (fresh.uid(), fresh.gid(), 0o600);
    }
    match (folder.uid(), readers.or(Some(folder.gid()).filter(|group| *group != 0))) {
        (0, Some(group)) => (0, group, 0o640),
        (0, None) => (0, fresh.gid(), 0o600),
        (owner, _) => (owner, folder.gid(), 0o600),
    }
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
    Place::find(path).map_err(io::Error::other)?.write(bytes, New::Private)
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
        update(&link, Patience::Short, None, add("bob")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "ann\nbob\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let elsewhere = tempfile::tempdir().unwrap();
        let far = elsewhere.path().join("users");
        std::os::unix::fs::symlink(&file, &far).unwrap();
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        for name in [&file, &link, &far] {
            let error = update(name, Patience::Short, None, add("carl")).unwrap_err();
            assert!(error.ends_with("somebody else is changing it; try again"), "{error}");
        }
        drop(held);
        update(&file, Patience::Short, None, add("carl")).unwrap();
        assert_eq!(Users::parse(&read_text(&file).unwrap()).unwrap().len(), 3);
    }

    /// The key of an authority lies in a folder whose group reads the rest.
    #[test]
    fn what_is_private_is_not_the_folders_group_s() {
        let folder = tempfile::tempdir().unwrap();
        if effective_uid() != 0 {
            return;
        }
        std::os::unix::fs::chown(folder.path(), None, Some(12_346)).unwrap();
        let key = folder.path().join("ca.key");
        write_private(&key, b"a key").unwrap();
        let facts = fs::metadata(&key).unwrap();
        assert_eq!((facts.uid(), facts.gid() == 12_346, facts.mode() & 0o777), (0, false, 0o600));
    }

    fn unchanged(_: &Users, text: &str) -> Result<(Zeroizing<String>, ()), String> {
        Ok((Zeroizing::new(format!("{text}eve\n")), ()))
    }

    /// A folder of somebody else's, as root sees it; nobody else can make one.
    fn of_another(folder: &Path) -> bool {
        effective_uid() == 0 && std::os::unix::fs::chown(folder, Some(12_345), Some(12_346)).is_ok()
    }

    #[test]
    fn root_follows_no_link_of_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, roots) = (folder.path().join("theirs"), folder.path().join("roots"));
        fs::create_dir_all(theirs.join("below")).unwrap();
        fs::write(&roots, "ann\n").unwrap();
        if !of_another(&theirs) {
            return;
        }
        std::os::unix::fs::symlink(&roots, theirs.join("users")).unwrap();
        std::os::unix::fs::symlink(folder.path(), theirs.join("below/up")).unwrap();
        std::os::unix::fs::lchown(theirs.join("below/up"), Some(12_345), None).unwrap();
        fs::hard_link(&roots, theirs.join("second")).unwrap();
        for path in ["users", "below/up/roots"] {
            let error = update(&theirs.join(path), Patience::Short, None, unchanged).unwrap_err();
            assert!(error.contains("is a link") && error.contains("not followed"), "{error}");
            assert!(read_own_text(&theirs.join(path)).is_err());
        }
        let error = update(&theirs.join("second"), Patience::Short, None, unchanged).unwrap_err();
        assert!(error.contains("several names"), "{error}");
        assert_eq!(fs::read_to_string(&roots).unwrap(), "ann\n");
        fs::create_dir(theirs.join("folder")).unwrap();
        assert!(update(&theirs.join("folder"), Patience::Short, None, unchanged).is_err());
    }

    #[test]
    fn what_root_makes_the_gateway_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, roots) = (folder.path().join("theirs"), folder.path().join("roots"));
        fs::create_dir(&theirs).unwrap();
        fs::create_dir(&roots).unwrap();
        if !of_another(&theirs) {
            return;
        }
        let facts = |path: &Path| fs::metadata(path).map(|facts| (facts.uid(), facts.gid(), facts.mode() & 0o777)).unwrap();
        update(&theirs.join("users"), Patience::Short, Some(777), unchanged).unwrap();
        assert_eq!(facts(&theirs.join("users")), (12_345, 12_346, 0o600), "the folder's owner reads and writes it");
        update(&roots.join("users"), Patience::Short, Some(777), unchanged).unwrap();
        assert_eq!(facts(&roots.join("users")), (0, 777, 0o640), "the gateway's group reads it");
        update(&roots.join("others"), Patience::Short, None, unchanged).unwrap();
        assert_eq!(facts(&roots.join("others")), (0, facts(&roots).1, 0o600));
        // Whose it is stays as it is.
        update(&theirs.join("users"), Patience::Short, None, unchanged).unwrap();
        assert_eq!(facts(&theirs.join("users")), (12_345, 12_346, 0o600));
    }
}
