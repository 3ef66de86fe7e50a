//! The secret of quick crash detection (RFC 6290): made at the first start, the same after every restart.
use crypto::{Random as _, SystemRandom, Zeroizing};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const NAME: &str = "qcd.secret";
const LEN: usize = 32;

/// The secret kept in `state_dir`, made when there is none. `None` when that fails: clients of a gateway that has crashed then wait until it
/// has been silent for long enough, as they did before there were tokens.
pub fn load(state_dir: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let path = state_dir.join(NAME);
    match read(&path).or_else(|error| if error.kind() == io::ErrorKind::NotFound { make(state_dir, &path) } else { Err(error) }) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%error, %path, "no quick crash detection (RFC 6290): its secret can be neither read nor made; see server.state_dir");
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // Whoever has read it can end every session for as long as it is used.
        return Err(io::Error::other("it was open to other users of this host; remove the file, a new secret is made at the next start"));
    }
    let mut secret = Zeroizing::new(Vec::with_capacity(LEN + 1));
    file.take(LEN as u64 + 1).read_to_end(&mut secret)?;
    if secret.len() != LEN {
        return Err(io::Error::other(format!("it does not hold {LEN} bytes; remove the file, a new secret is made at the next start")));
    }
    Ok(secret)
}

/// Whole or not at all: the file takes its name when it is complete.
fn make(state_dir: &Path, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut secret = Zeroizing::new(vec![0; LEN]);
    SystemRandom.fill(&mut secret);
    fs::create_dir_all(state_dir)?;
    let fresh = path.with_extension("new");
    if let Err(error) = fs::remove_file(&fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("qcd.new"), "left behind by a start that was cut short").unwrap();
        let secret = load(&state).unwrap();
        assert_eq!(secret.len(), LEN);
        assert_ne!(*secret, [0; LEN]);
        assert_eq!(load(&state), Some(secret.clone()), "after a restart");
        let mode = fs::metadata(state.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        let elsewhere = load(&folder.path().join("not there yet")).unwrap();
        assert_ne!(elsewhere, secret);
    }

    #[test]
    fn a_secret_that_others_know_or_that_is_cut_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        load(folder.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load(folder.path()), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load(folder.path()).is_some());
        for len in [0, LEN - 1, LEN + 1] {
            fs::write(&path, vec![1; len]).unwrap();
            assert_eq!(load(folder.path()), None, "{len} bytes");
        }
        assert_eq!(load(&folder.path().join(NAME)), None, "a file where the folder should be");
    }
}
