//! The answering side: a bounded number of clients, each with short lines and little time.
use super::types::{Request, Response};
use anyhow::Context as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Clients at a time; more are turned away.
pub(super) const MAX_CLIENTS: usize = 32;
/// The longest request line, in bytes.
pub(super) const MAX_LINE: u64 = 16 * 1024;
/// How long a client may be silent between requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is nearly always "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

type Commands = mpsc::Sender<(Request, oneshot::Sender<Response>)>;

/// Makes the socket (mode 0660) and its folder. A socket file that an earlier run left behind is removed; one that somebody answers at,
/// or a file that is no socket, is an error.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {} of the control socket", folder.display()))?;
    }
    clear_way(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("cannot make the control socket {}", path.display()))?;
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

/// Accepts clients for ever; every request goes to `commands`, its answer back to the client.
pub async fn serve(listener: UnixListener, commands: Commands) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "control socket: a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without a free place the stream is dropped, which the client reports.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let commands = commands.clone();
        tokio::spawn(async move {
            if let Err(error) = attend(stream, &commands).await {
                tracing::debug!(%error, "control socket: client gone");
            }
            drop(place);
        });
    }
}

/// Answers one client, request after request, until it leaves or misbehaves.
async fn attend(stream: UnixStream, commands: &Commands) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(line) = timeout(IDLE, next_line(&mut reader)).await?? {
        if !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE {
            return answer(&mut writer, &Response::error(format!("the request is longer than {MAX_LINE} bytes"))).await;
        }
        let response = match serde_json::from_slice(&line) {
            Ok(request) => put(request, commands).await,
            Err(error) => Response::error(format!("the request is not understood: {error}")),
        };
        answer(&mut writer, &response).await?;
    }
    Ok(())
}

/// The next line, at most [`MAX_LINE`] bytes of it; `None` at the end.
async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    Ok((!line.is_empty()).then_some(line))
}

async fn put(request: Request, commands: &Commands) -> Response {
    let patience = request.patience();
    let (reply, answer) = oneshot::channel();
    let asked = async {
        commands.send((request, reply)).await.ok()?;
        answer.await.ok()
    };
    match timeout(patience, asked).await {
        Ok(Some(response)) => response,
        Ok(None) => Response::error("the gateway is stopping"),
        Err(_) => Response::error(format!("the gateway is too busy: no answer within {} s", patience.as_secs())),
    }
}

async fn answer(writer: &mut OwnedWriteHalf, response: &Response) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    timeout(PATIENCE, writer.write_all(&line)).await?
}
