//! The Unix socket that the API is served on: whoever may open it may do everything.
use crate::privileges::OPERATORS;
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
    operators.group.map_or(Ok(()), |group| chown(path, None, Some(group))).or_else(|error| not_given(path, &error, operators.is_named))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of the control socket {}", path.display()))?;
    Ok(listener)
}

/// The socket keeps the group of this process: an error where another was asked for, else worth a warning, as `evergate` fails for operators then.
fn not_given(path: &Path, error: &std::io::Error, is_named: bool) -> anyhow::Result<()> {
    let path = path.display();
    let remedy = "the gateway's user has to be a member of that group, or root, and its service be allowed the system call chown";
    anyhow::ensure!(!is_named, "cannot give the control socket {path} to the group of control_group: {error}; {remedy}");
    tracing::warn!(
        %error,
        "the control socket {path} cannot be given to the group {OPERATORS}, whose members are refused there: {remedy}"
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_group_that_the_socket_cannot_have_is_told_with_the_remedy() {
        let (path, error) = (Path::new("/run/evergate/control.sock"), Error::from(ErrorKind::PermissionDenied));
        assert!(not_given(path, &error, true).unwrap_err().to_string().contains("control_group"));
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || not_given(path, &error, false).unwrap());
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        assert!(said.contains("WARN") && said.contains(OPERATORS) && said.contains("system call chown"), "{said}");
    }
}
