//! Whose process the gateway is, and what it may do: no more than it needs from then on.
//!
//! This comes first, before there is any thread. What a gateway does later (sockets, TUN device, routes, also at a reload) takes the three
//! capabilities that it keeps and no other user.
use crate::config::Server;
use anyhow::{Context as _, bail};
use net::privileges::{self, GATEWAY, User};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::Path;

/// Becomes this user where there is one and the configuration names none.
pub const DEFAULT_USER: &str = "evergate";

/// The group that may give orders at the control socket where there is one and the configuration names none: not the one that reads private keys.
pub const OPERATORS: &str = "evergate-operators";

/// The group that the control socket is to have; `None`: that of this process.
///
/// # Errors
/// The configuration names a group that does not exist.
pub fn operators(control_group: Option<&str>) -> anyhow::Result<Option<u32>> {
    let name = control_group.unwrap_or(OPERATORS);
    let found = privileges::group(name).with_context(|| format!("server.control_group: group {name:?} cannot be looked up"))?;
    if found.is_none() && control_group.is_some() {
        bail!("server.control_group: there is no group {name:?}: make one with `groupadd --system {name}`, or name another");
    }
    Ok(found)
}

/// The user that the gateway is to become; `None`: it stays who it is.
///
/// # Errors
/// The configuration names a user that does not exist.
pub fn wanted_user(run_as: Option<&str>) -> anyhow::Result<Option<User>> {
    if privileges::effective_uid() != 0 {
        return Ok(None);
    }
    let name = run_as.unwrap_or(DEFAULT_USER);
    let found = privileges::user(name).with_context(|| format!("server.run_as: user {name:?} cannot be looked up"))?;
    if found.is_none() && run_as.is_some() {
        bail!("server.run_as: there is no user {name:?}: make one with `useradd --system {name}`, or name another");
    }
    Ok(found.filter(|user| user.uid != 0))
}

/// Gives up what a gateway does not need. Returns whether it is another user's process now, who may not be able to read what root could.
///
/// # Errors
/// The user does not exist or cannot be taken on, or a folder that is written to belongs to someone else.
pub fn give_up(server: &Server) -> anyhow::Result<bool> {
    let user = wanted_user(server.run_as.as_deref())?;
    let folders: Vec<_> = [Some(&*server.state_dir), server.control_socket.parent()].into_iter().flatten().collect();
    if let Some(user) = &user {
        folders.iter().try_for_each(|folder| make_for(user, folder))?;
    }
    let name = user.as_ref().map_or("this user".into(), |user| user.name.to_string_lossy());
    privileges::reduce(user.as_ref(), &GATEWAY)
        .with_context(|| format!("cannot become user {name}: start the gateway as that user, or set server.run_as = \"root\""))?;
    if user.is_some() {
        folders.iter().try_for_each(|folder| writable(folder, &name))?;
        tracing::info!(user = %name, "root's rights are given up");
    }
    Ok(user.is_some())
}

/// A folder that is not there yet is the user's. One that is there stays whose it is: it may serve others too.
fn make_for(user: &User, folder: &Path) -> anyhow::Result<()> {
    let made = fs::create_dir_all(folder.parent().unwrap_or(folder)).and_then(|()| fs::create_dir(folder));
    match made {
        Ok(()) => chown(folder, Some(user.uid), Some(user.gid)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot make the folder {}", folder.display()))
}

fn writable(folder: &Path, name: &str) -> anyhow::Result<()> {
    let probe = folder.join(format!(".evergate-{}", std::process::id()));
    fs::File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).with_context(|| {
        let folder = folder.display();
        format!("user {name} cannot write to {folder}: chown -R {name} {folder}, or set server.run_as = \"root\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_there_is_an_error_where_it_is_named() {
        if privileges::effective_uid() != 0 {
            assert_eq!(wanted_user(Some("nobody-of-this-name")).unwrap(), None, "there is nothing to give up");
            return;
        }
        let error = wanted_user(Some("nobody-of-this-name")).unwrap_err().to_string();
        assert!(error.starts_with("server.run_as: there is no user \"nobody-of-this-name\"") && error.contains("useradd"), "{error}");
        assert_eq!(wanted_user(Some("root")).unwrap(), None);
        assert_eq!(wanted_user(Some("daemon")).unwrap().unwrap().name.to_str(), Ok("daemon"));
    }

    #[test]
    fn a_group_that_is_not_there_is_an_error_where_it_is_named() {
        let error = operators(Some("nobody-of-this-name")).unwrap_err().to_string();
        assert!(
            error.starts_with("server.control_group: there is no group \"nobody-of-this-name\"") && error.contains("groupadd"),
            "{error}"
        );
        assert_eq!(operators(Some("daemon")).unwrap(), privileges::group("daemon").unwrap());
    }

    #[test]
    fn a_folder_of_someone_else_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        writable(folder.path(), "ann").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        let gone = folder.path().join("gone");
        let error = writable(&gone, "ann").unwrap_err().to_string();
        assert_eq!(error, format!("user ann cannot write to {0}: chown -R ann {0}, or set server.run_as = \"root\"", gone.display()));
    }

    #[test]
    fn folders_are_made_for_the_user_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let me = User { name: c"me".into(), uid: privileges::effective_uid(), gid: 0 };
        let state = folder.path().join("lib/evergate");
        make_for(&me, &state).unwrap();
        assert!(state.is_dir());
        make_for(&me, &state).unwrap();
    }
}
