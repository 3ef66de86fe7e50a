//! Files by their folder: what an open folder holds is reached by name without a way through paths that somebody else could change meanwhile, and
//! without following links.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::sys::{check, own};

/// Bytes of a link's target: no path is longer (PATH_MAX).
const MAX_TARGET: usize = 4096;

/// What for something is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// To see what it is, a link too; and as the folder of others.
    Looking,
    Reading,
    /// A file of this mode that is not there yet.
    Creating(u32),
}

/// Opens what is called so in this folder. A link is never followed: only [`For::Looking`] opens one, itself.
pub fn open_at(folder: &File, name: &OsStr, purpose: For) -> io::Result<File> {
    let name = CString::new(name.as_bytes())?;
    let (flags, mode) = match purpose {
        For::Looking => (libc::O_PATH, 0),
        // Nobody shall wait for the other end of a pipe.
        For::Reading => (libc::O_RDONLY | libc::O_NONBLOCK, 0),
        For::Creating(mode) => (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode),
    };
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: name ends with a zero; the mode is read where a file is made.
    own(unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags, mode) }).map(File::from)
}

/// Where a link leads that was opened [`For::Looking`].
pub fn target(link: &File) -> io::Result<PathBuf> {
    let mut buffer = vec![0_u8; MAX_TARGET];
    // SAFETY: the name is empty, which means the link itself; the buffer is written, and its size is given.
    let length = unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(length);
    Ok(OsString::from_vec(buffer).into())
}

/// Gives what is called `from` the name `to`, in place of whatever has that.
pub fn rename_at(folder: &File, from: &OsStr, to: &OsStr) -> io::Result<()> {
    let (from, to) = (CString::new(from.as_bytes())?, CString::new(to.as_bytes())?);
    let folder = folder.as_raw_fd();
    // SAFETY: both names end with a zero.
    check(unsafe { libc::renameat(folder, from.as_ptr(), folder, to.as_ptr()) }).map(drop)
}

/// Removes a file.
pub fn remove_at(folder: &File, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes())?;
    // SAFETY: name ends with a zero.
    check(unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::{env, fs, process};

    #[test]
    fn a_folder_holds_files_and_links_are_never_followed() {
        let path = env::temp_dir().join(format!("evergate-folder-{}", process::id()));
        fs::create_dir(&path).unwrap();
        let folder = File::open(&path).unwrap();
        let name = OsStr::new;
        open_at(&folder, name("fresh"), For::Creating(0o600)).unwrap().write_all(b"text").unwrap();
        assert!(open_at(&folder, name("fresh"), For::Creating(0o600)).is_err(), "it is there");
        rename_at(&folder, name("fresh"), name("file")).unwrap();
        std::os::unix::fs::symlink("file", path.join("link")).unwrap();
        let mut text = String::new();
        open_at(&folder, name("file"), For::Reading).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(open_at(&folder, name("link"), For::Reading).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        let link = open_at(&folder, name("link"), For::Looking).unwrap();
        assert!(link.metadata().unwrap().is_symlink());
        assert_eq!(target(&link).unwrap(), PathBuf::from("file"));
        assert!(target(&folder).is_err() && open_at(&folder, name("a\0b"), For::Looking).is_err());
        for left in ["file", "link"] {
            remove_at(&folder, name(left)).unwrap();
        }
        fs::remove_dir(&path).unwrap();
    }
}
