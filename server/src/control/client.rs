//! The asking side: one request, one response, blocking.
use super::types::{Request, Response};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much longer than the gateway's own patience an answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// The longest response that is read: sessions of a full gateway take a few megabytes.
const MAX_RESPONSE: u64 = 256 << 20;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "the gateway is not running: there is no control socket at {}; start it with `evergate run`, or name \
         its configuration with --config if it runs with another one", .0.display()
    )]
    NotRunning(PathBuf),
    #[error("the gateway is not running: nobody answers at the control socket {} that an earlier run left behind", .0.display())]
    Stale(PathBuf),
    #[error("no permission to talk to the gateway at {}: run this as root or as a member of the socket's group", .0.display())]
    Forbidden(PathBuf),
    #[error("the gateway does not answer at {}: {reason}", path.display())]
    Silent { path: PathBuf, reason: String },
    #[error("the gateway's answer is not understood ({0}): are gateway and command of the same version?")]
    Garbled(String),
}

/// Asks the gateway behind the socket at `path`.
pub fn ask(path: &Path, request: &Request) -> Result<Response, AskError> {
    let stream = UnixStream::connect(path).map_err(|error| cannot_connect(path, &error))?;
    let line = exchange(stream, request)
        .map_err(|error| AskError::Silent { path: path.to_owned(), reason: silence(&error, patience(request)) })?;
    if line.is_empty() {
        return Err(AskError::Silent { path: path.to_owned(), reason: "it closed the connection (too many commands at once?)".into() });
    }
    serde_json::from_slice(&line).map_err(|error| AskError::Garbled(error.to_string()))
}

fn exchange(mut stream: UnixStream, request: &Request) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience(request)))?;
    stream.set_write_timeout(Some(patience(request)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_RESPONSE)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}

fn cannot_connect(path: &Path, error: &std::io::Error) -> AskError {
    match error.kind() {
        std::io::ErrorKind::NotFound => AskError::NotRunning(path.to_owned()),
        std::io::ErrorKind::ConnectionRefused => AskError::Stale(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => AskError::Forbidden(path.to_owned()),
        _ => AskError::Silent { path: path.to_owned(), reason: error.to_string() },
    }
}

fn patience(request: &Request) -> Duration {
    request.patience() + GRACE
}

fn silence(error: &std::io::Error, patience: Duration) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => format!("no answer within {} s", patience.as_secs()),
        _ => error.to_string(),
    }
}
