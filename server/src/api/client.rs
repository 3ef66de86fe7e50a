//! The asking side, as the command line uses it: one request, one answer, blocking.
use super::request::Problem;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take: longer than the gateway's own patience.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const MAX_ANSWER: usize = 256 << 20;
/// The longest line of an answer that goes on.
const MAX_LINE: usize = 1 << 20;

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
    /// It answered, and does not do it.
    #[error(transparent)]
    Refused(Problem),
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    /// With its query.
    target: String,
    body: Option<Vec<u8>>,
    patience: Duration,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, target: path.into(), body: None, patience: PATIENCE }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// # Errors
    /// `body` has no JSON form.
    pub fn post(path: impl Into<String>, body: &impl Serialize) -> Result<Self, AskError> {
        let body = serde_json::to_vec(body).map_err(|error| AskError::Garbled(error.to_string()))?;
        Ok(Self { body: Some(body), ..Self::new(Method::POST, path) })
    }

    /// # Errors
    /// `query` is not made of names and plain values.
    pub fn with_query(self, query: &impl Serialize) -> Result<Self, AskError> {
        let query = serde_urlencoded::to_string(query).map_err(|error| AskError::Garbled(error.to_string()))?;
        let target = if query.is_empty() { self.target } else { format!("{}?{query}", self.target) };
        Ok(Self { target, ..self })
    }

    /// What takes longer than usual.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn request(&self) -> Result<hyper::Request<Full<Bytes>>, AskError> {
        let mut request = hyper::Request::builder().method(&self.method).uri(&self.target).header(HOST, "evergate");
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = self.body.clone().unwrap_or_default();
        request.body(Full::new(body.into())).map_err(|error| AskError::Garbled(error.to_string()))
    }
}

/// Something that an answer which goes on tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<T> {
    It(T),
    /// So many did not fit while this side was slow.
    Missed(u64),
}

/// Asks the gateway behind the socket at `path`.
///
/// # Errors
/// It is not there, does not answer, or refuses.
pub fn ask<T: DeserializeOwned>(path: &Path, call: &Call) -> Result<T, AskError> {
    let asked = async {
        let whole = Limited::new(exchange(path, call).await?, MAX_ANSWER).collect();
        let whole = whole.await.map_err(|error| silent(path, error))?;
        serde_json::from_slice(&whole.to_bytes()).map_err(|error| AskError::Garbled(error.to_string()))
    };
    let patience = call.patience;
    let late = || silent(path, format!("no answer within {} s", patience.as_secs()));
    runtime()?.block_on(async { timeout(patience, asked).await.unwrap_or_else(|_| Err(late())) })
}

/// Listens to an answer that goes on, until the gateway ends it or `each` has heard enough.
///
/// # Errors
/// As of [`ask`].
pub fn follow<T: DeserializeOwned>(path: &Path, call: &Call, mut each: impl FnMut(Told<T>) -> ControlFlow<()>) -> Result<(), AskError> {
    runtime()?.block_on(async {
        let late = || silent(path, format!("no answer within {} s", call.patience.as_secs()));
        let mut body = timeout(call.patience, exchange(path, call)).await.unwrap_or_else(|_| Err(late()))?;
        let mut buffer = Vec::new();
        loop {
            let Some(frame) = body.frame().await else { return Ok(()) };
            buffer.extend_from_slice(frame.map_err(|error| silent(path, error))?.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                // An empty one shows that the gateway is still there.
                if line.len() > 1 && each(told(&line)?).is_break() {
                    return Ok(());
                }
            }
            if buffer.len() > MAX_LINE {
                return Err(AskError::Garbled(format!("a line of more than {MAX_LINE} bytes")));
            }
        }
    })
}

fn told<T: DeserializeOwned>(line: &[u8]) -> Result<Told<T>, AskError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Missed {
        missed: u64,
    }
    if let Ok(Missed { missed }) = serde_json::from_slice(line) {
        return Ok(Told::Missed(missed));
    }
    serde_json::from_slice(line).map(Told::It).map_err(|error| AskError::Garbled(error.to_string()))
}

/// The body of a good answer.
async fn exchange(path: &Path, call: &Call) -> Result<Incoming, AskError> {
    let stream = UnixStream::connect(path).await.map_err(|error| cannot_connect(path, &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(path, error))?;
    // What goes wrong with it, whoever waits for the answer learns.
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(call.request()?).await.map_err(|error| gone(path, &error))?;
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    let body = Limited::new(body, MAX_LINE).collect().await.map_err(|error| silent(path, error))?.to_bytes();
    match serde_json::from_slice(&body) {
        Ok(problem) => Err(AskError::Refused(problem)),
        Err(_) => Err(AskError::Garbled(format!("HTTP status {}", head.status))),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, AskError> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| AskError::Silent { path: PathBuf::new(), reason: error.to_string() })
}

fn cannot_connect(path: &Path, error: &std::io::Error) -> AskError {
    match error.kind() {
        std::io::ErrorKind::NotFound => AskError::NotRunning(path.to_owned()),
        std::io::ErrorKind::ConnectionRefused => AskError::Stale(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => AskError::Forbidden(path.to_owned()),
        _ => silent(path, error),
    }
}

fn gone(path: &Path, error: &hyper::Error) -> AskError {
    match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => silent(path, "it closed the connection (too many commands at once?)"),
        false => silent(path, error),
    }
}

fn silent(path: &Path, reason: impl ToString) -> AskError {
    AskError::Silent { path: path.to_owned(), reason: reason.to_string() }
}
