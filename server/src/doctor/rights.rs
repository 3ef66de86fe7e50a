//! What the user of the service may do with files, which root may do with all of them.
use super::Finding;
use super::gather::writable;
use crate::config::Config;
use crate::privileges::wanted_user;
use local_provider::EapMethod;
use net::privileges::{User, group_name, with_files_of};
use std::fs;
use std::path::{Path, PathBuf};

const CHECK: &str = "rights";

/// A file that the user cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    /// What names it: `[[radius]] "nps1" secret_file`.
    named_by: String,
    path: PathBuf,
    reason: String,
}

/// A folder that is written to while the gateway runs, and that nobody makes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    named_by: &'static str,
    path: PathBuf,
    /// What does not work without.
    loss: &'static str,
}

/// Whose rights were tried.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tried {
    user: String,
    /// The user's own.
    group: String,
}

/// Looks at everything that a reload reads and that is written meanwhile.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let folders = folders(config);
    match wanted_user(config.server.run_as.as_deref()) {
        Ok(Some(user)) => {
            let tried = Tried { user: user.name.to_string_lossy().into_owned(), group: group_of(&user) };
            match with_files_of(&user, || (closed(config), try_folders(&folders))) {
                Ok(((closed, files, state), tries)) => {
                    let mut findings = judge(&tried, &closed, files, &config.server.state_dir, &state);
                    findings.extend(judge_folders(Some(&tried), &tries));
                    findings
                }
                Err(error) => {
                    vec![Finding::warn(CHECK, format!("what {} may read cannot be tried: {error}", tried.user), "run this as root")]
                }
            }
        }
        // Nobody else's rights count.
        Ok(None) => judge_folders(None, &try_folders(&folders)),
        Err(error) => vec![Finding::fail(CHECK, format!("{error:#}"), "the gateway does not start like this")],
    }
}

/// By name, else by number, as chgrp takes both.
fn group_of(user: &User) -> String {
    group_name(user.gid).ok().flatten().unwrap_or_else(|| user.gid.to_string())
}

fn folders(config: &Config) -> Vec<Folder> {
    let log = config.nps_log.iter().map(|log| Folder {
        named_by: "nps_log.folder",
        path: log.folder.clone(),
        loss: "lines of the NPS log wait in memory, and then are lost",
    });
    let with_passwords = config.local.iter().filter(|local| local.methods.contains(&EapMethod::MsChapV2));
    let users = with_passwords.filter_map(|local| local.users_file.parent()).map(|folder| Folder {
        named_by: "the folder of local.users_file",
        path: folder.to_owned(),
        loss: "users cannot change their passwords",
    });
    log.chain(users).collect()
}

/// Those that cannot be written to, and why.
fn try_folders(folders: &[Folder]) -> Vec<(Folder, String)> {
    let tried = |folder: &Folder| if folder.path.is_dir() { writable(&folder.path) } else { Err("there is no such folder".into()) };
    folders.iter().filter_map(|folder| Some((folder.clone(), tried(folder).err()?))).collect()
}

fn judge_folders(tried: Option<&Tried>, closed: &[(Folder, String)]) -> Vec<Finding> {
    let who = tried.map_or_else(|| "this user".into(), |tried| format!("{}, whose process the gateway becomes,", tried.user));
    let owner = tried.map_or("the user of the service", |tried| &tried.user);
    let finding = |(Folder { named_by, path, loss }, reason): &(Folder, String)| {
        let path = path.display();
        Finding::warn(
            CHECK,
            format!("{named_by}, {path}: {who} cannot write there: {reason}: {loss}"),
            format!("mkdir -p {path}, and chown it to {owner}; LogsDirectory= or ReadWritePaths={path} in a unit with ProtectSystem="),
        )
    };
    closed.iter().map(finding).collect()
}

/// Those that cannot be read, of how many, and whether the state folder can be written, if it is there.
fn closed(config: &Config) -> (Vec<Closed>, usize, Result<(), String>) {
    let main = std::iter::once(("the configuration".to_owned(), config.path.clone()));
    let named = config.files().map(|(section, key, path)| (format!("[[{section}]] {key}"), path.to_owned()));
    let all: Vec<_> = main.chain(named).collect();
    let count = all.len();
    let closed = all.into_iter().filter_map(|(named_by, path)| {
        let reason = fs::File::open(&path).err()?.to_string();
        Some(Closed { named_by, path, reason })
    });
    let folder = &config.server.state_dir;
    let state = if folder.exists() { writable(folder) } else { Ok(()) };
    (closed.collect(), count, state)
}

fn judge(tried: &Tried, closed: &[Closed], files: usize, state_dir: &Path, folder: &Result<(), String>) -> Vec<Finding> {
    let Tried { user, group } = tried;
    let mut findings: Vec<_> = closed
        .iter()
        .map(|Closed { named_by, path, reason }| {
            let shown = path.display();
            let folders: Vec<_> =
                path.ancestors().skip(1).filter(|folder| folder.parent().is_some()).map(|folder| folder.display().to_string()).collect();
            Finding::fail(
                CHECK,
                format!("{named_by}: {user}, whose process the gateway becomes, cannot read {shown} ({reason}): a reload fails"),
                format!(
                    "`chgrp {group} {shown} && chmod g+r,o= {shown}`, and each folder above must let it through (`namei -l {shown}`: {})",
                    folders.join(", ")
                ),
            )
        })
        .collect();
    if let Err(reason) = folder {
        findings.push(Finding::fail(
            CHECK,
            format!("{}: {user}, whose process the gateway becomes, cannot write there: {reason}", state_dir.display()),
            format!("`chown -R {user} {}`", state_dir.display()),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{user}, whose process the gateway becomes, can read all {files} files of the configuration"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_of_root_alone_is_named_with_its_key() {
        let path = PathBuf::from("/etc/evergate/radius.secret");
        let closed = [Closed { named_by: "[[radius \"nps1\"]] secret_file".into(), path, reason: "Permission denied".into() }];
        let tried = Tried { user: "evergate".into(), group: "vpn".into() };
        let found = judge(&tried, &closed, 3, Path::new("/s"), &Ok(()));
        assert_eq!(only(&found).level, Level::Fail);
        assert!(only(&found).remedy.as_ref().unwrap().starts_with("`chgrp vpn /etc/evergate/radius.secret && chmod g+r"), "{found:?}");
        assert_eq!(only(&judge(&tried, &[], 3, Path::new("/s"), &Ok(()))).level, Level::Ok);
        assert!(
            only(&judge(&tried, &[], 3, Path::new("/s"), &Err("no".into()))).remedy.as_ref().unwrap().starts_with("`chown -R evergate /s`")
        );
    }

    #[test]
    fn another_users_rights_are_tried_and_not_kept() {
        if net::privileges::effective_uid() != 0 {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = User { name: c"nobody".into(), uid: 65_534, gid: 65_534 };
        assert!(with_files_of(&nobody, || fs::File::open(&file).is_err()).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(with_files_of(&nobody, || fs::File::open(&file).is_ok()).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(fs::File::open(&file).is_ok(), "only that thread was somebody else");
    }

    #[test]
    fn folders_that_are_written_meanwhile_are_tried() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |path: PathBuf| Folder { named_by: "nps_log.folder", path, loss: "lines are lost" };
        let (there, gone) = (folder(parent.path().to_owned()), folder(parent.path().join("gone")));
        let closed = try_folders(&[there.clone(), gone.clone()]);
        assert_eq!(closed, [(gone.clone(), "there is no such folder".to_owned())]);
        let found = judge_folders(None, &closed);
        assert_eq!(only(&found).level, Level::Warn);
        assert!(only(&found).text.starts_with(&format!("nps_log.folder, {}: this user cannot write", gone.path.display())), "{found:?}");
        if net::privileges::effective_uid() != 0 {
            return;
        }
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = User { name: c"nobody".into(), uid: 65_534, gid: 65_534 };
        let closed = with_files_of(&nobody, || try_folders(std::slice::from_ref(&there))).unwrap();
        let tried = Tried { user: "nobody".into(), group: group_of(&nobody) };
        let found = judge_folders(Some(&tried), &closed);
        assert!(
            only(&found).text.contains("nobody, whose process the gateway becomes, cannot write there: cannot be written"),
            "{found:?}"
        );
        assert!(only(&found).remedy.as_ref().unwrap().contains("chown it to nobody"), "{found:?}");
    }

    #[test]
    fn a_group_is_named_by_its_own_name() {
        let of = |gid| group_of(&User { name: c"somebody".into(), uid: 1, gid });
        assert_eq!((of(0), of(4_000_000_123)), ("root".to_owned(), "4000000123".to_owned()));
    }
}
