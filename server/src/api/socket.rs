//! The Unix socket that the API is served on: whoever may open it may do everything.
use anyhow::Context as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::Path;
use tokio::net::UnixListener;

/// Who may open the socket besides its owner: a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operators {
    /// `None`: the group of this process.
    pub group: Option<u32>,
    /// The configuration names it.
    pub is_named: bool,
}

/// Makes the socket (mode 0660) and its folder. A socket file that an earlier run left behind is removed; one that somebody answers at,
/// or a file that is no socket, is an error.
/// A group that this process may not give away is an error where it is named.
pub fn bind(path: &Path, operators: Operators) -> anyhow::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {} of the control socket", folder.display()))?;
    }
    clear_way(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("cannot make the control socket {}", path.display()))?;
    if let Err(error) = operators.group.map_or(Ok(()), |group| chown(path, None, Some(group))) {
        let told = "the gateway's user has to be a member of it, or root";
        anyhow::ensure!(
            !operators.is_named,
            "cannot give the control socket {} to the group of control_group: {error}; {told}",
            path.display()
        );
        tracing::debug!(%error, "the control socket keeps the group of this process: {told}");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of the control socket {}", path.display()))?;
    Ok(listener)
}

fn clear_way(path: &Path) -> anyhow::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at the control socket {}", path.display())),
    };
    anyhow::ensure!(metadata.file_type().is_socket(), "{} is in the way of the control socket and is no socket", path.display());
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => anyhow::bail!(
            "another gateway is running and answers at {}: stop it, or give this one its own server.control_socket",
            path.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).with_context(|| format!("cannot remove the stale control socket {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot tell whether the control socket {} is in use", path.display())),
    }
}
