//! What the user of the service may do with files, which root may do with all of them.
use super::Finding;
use crate::config::Config;
use crate::privileges::wanted_user;
use net::privileges::with_files_of;
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

/// Looks at everything that a reload reads and that is written meanwhile. Empty where nobody else's rights count.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    match wanted_user(config.server.run_as.as_deref()) {
        Ok(Some(user)) => {
            let name = user.name.to_string_lossy().into_owned();
            match with_files_of(&user, || closed(config)) {
                Ok((closed, files, folder)) => judge(&name, &closed, files, &config.server.state_dir, &folder),
                Err(error) => vec![Finding::warn(CHECK, format!("what {name} may read cannot be tried: {error}"), "run this as root")],
            }
        }
        Ok(None) => Vec::new(),
        Err(error) => vec![Finding::fail(CHECK, format!("{error:#}"), "the gateway does not start like this")],
    }
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
    let writable = if folder.exists() { super::gather::writable(folder) } else { Ok(()) };
    (closed.collect(), count, writable)
}

fn judge(user: &str, closed: &[Closed], files: usize, state_dir: &Path, folder: &Result<(), String>) -> Vec<Finding> {
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
                    "`chgrp {user} {shown} && chmod g+r,o= {shown}`, and each folder above must let it through (`namei -l {shown}`: {})",
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
    use net::privileges::User;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_of_root_alone_is_named_with_its_key() {
        let path = PathBuf::from("/etc/evergate/radius.secret");
        let closed = [Closed { named_by: "[[radius \"nps1\"]] secret_file".into(), path, reason: "Permission denied".into() }];
        let found = judge("evergate", &closed, 3, Path::new("/s"), &Ok(()));
        assert_eq!(only(&found).level, Level::Fail);
        assert!(only(&found).remedy.as_ref().unwrap().starts_with("`chgrp evergate /etc/evergate/radius.secret && chmod g+r"), "{found:?}");
        assert_eq!(only(&judge("evergate", &[], 3, Path::new("/s"), &Ok(()))).level, Level::Ok);
        assert!(
            only(&judge("evergate", &[], 3, Path::new("/s"), &Err("no".into())))
                .remedy
                .as_ref()
                .unwrap()
                .starts_with("`chown -R evergate /s`")
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
}
