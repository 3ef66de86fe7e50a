//! The answering side: a bounded number of clients, each with small requests and little time.
use super::access::Door;
use super::console;
use super::listeners::{Listeners, Opening};
use super::openapi;
use super::reading::Reading;
use super::refusals::{Reason, Refusals};
use super::request::{Problem, Refusal, Request, Response};
use super::routes::{self, Input, Role, Route, SEE, Serves};
use super::stream::{self, Feed, Format, Lines};
use super::tls;
use crate::config::Api;
use crate::metrics;
use crate::sstp::{Bounds, Places};
use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnix;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

/// Clients at a time at the control socket; more are turned away.
pub(super) const MAX_CLIENTS: usize = 32;
/// Connections at a time over TLS of callers that have proved who they are: each who listens may be a browser, which opens six.
const MAX_KNOWN: usize = 6 * MAX_STREAMS;
/// Of these, how many may hear answers that go on.
pub(super) const MAX_STREAMS: usize = 16;
/// Clients at a time that have not proved who they are, and of one source (an IPv4 address or an IPv6 /64): some browsers behind one address.
const MAX_STRANGERS: usize = 192;
pub(super) const MAX_STRANGERS_PER_SOURCE: usize = 24;
/// How old metrics may be.
const METRICS_AGE: Duration = Duration::from_secs(1);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Bytes of a request's body.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// Pause after a failed accept, which is nearly always "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From one answer to the whole head of the next request.
    pub(super) head: Duration,
    /// For the body of a request.
    pub(super) body: Duration,
    /// Without reading any of the answer.
    pub(super) read: Duration,
}

pub(super) const PATIENCE: Patience =
    Patience { head: Duration::from_secs(30), body: Duration::from_secs(10), read: Duration::from_secs(10) };
/// How long the head of a request may take where nobody proves anything.
pub(super) const STRANGERS_HEAD: Duration = Duration::from_secs(10);

type Commands = mpsc::Sender<(Request, oneshot::Sender<Response>)>;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Front {
    commands: Commands,
    /// By the socket, and by the other doors: those leave room to operators of this host.
    local_streams: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Callers over TLS that have proved who they are.
    pub(super) known: Arc<Semaphore>,
    pub(super) refusals: Arc<Refusals>,
    patience: Patience,
    metrics: Mutex<Option<(Instant, Bytes)>>,
}

impl Front {
    pub(super) fn new(commands: Commands, patience: Patience, refusals: Arc<Refusals>) -> Arc<Self> {
        let places = |number| Arc::new(Semaphore::new(number));
        let (local_streams, streams, known) = (places(MAX_STREAMS), places(MAX_STREAMS), places(MAX_KNOWN));
        Arc::new(Self { commands, local_streams, streams, known, refusals, patience, metrics: Mutex::new(None) })
    }
}

/// Serves the API on a thread of its own, by the Unix socket and wherever its [`Listeners`] say; requests go to `commands`.
///
/// # Errors
/// The thread cannot be started.
pub fn start(socket: UnixListener, refusals: Arc<Refusals>, commands: Commands) -> anyhow::Result<Listeners> {
    let socket = socket.into_std().context("the control socket")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the API's runtime")?;
    let front = Front::new(commands, PATIENCE, refusals);
    let (openings, opened) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("api".into()).spawn(move || runtime.block_on(serve_all(front, socket, opened)))?;
    Ok(Listeners::new(openings))
}

async fn serve_all(front: Arc<Front>, socket: StdUnix, mut opened: mpsc::UnboundedReceiver<Opening>) {
    let fronts = Arc::clone(&front);
    tokio::spawn(async move {
        while let Some(opening) = opened.recv().await {
            tokio::spawn(serve_opened(opening, Arc::clone(&fronts)));
        }
    });
    if let Ok(socket) = UnixListener::from_std(socket) {
        serve(socket, front, Door::Socket).await;
    }
}

/// Accepts there until it is closed.
async fn serve_opened(Opening { listener, callers, closed }: Opening, front: Arc<Front>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "API: a listener cannot be served"),
    };
    let served = async {
        match callers {
            None => serve_strangers(listener, front).await,
            Some(api) => serve_tls(listener, front, api).await,
        }
    };
    tokio::select! {
        _ = closed => {}
        () = served => {}
    }
}

/// Where clients come in.
pub(super) trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = std::io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> std::io::Result<(UnixStream, Option<SocketAddr>)> {
        Ok((self.accept().await?.0, None))
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> std::io::Result<(TcpStream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, from)| (stream, Some(from)))
    }
}

/// Room for those who have not proved who they are.
pub(super) fn strangers() -> Arc<Places> {
    let bounds = Bounds {
        connections: MAX_STRANGERS,
        per_source: MAX_STRANGERS_PER_SOURCE,
        exempt: Vec::new(),
        handshake: STRANGERS_HEAD,
        request: STRANGERS_HEAD,
    };
    Arc::new(Places::new(&bounds, Vec::new()))
}

async fn serve_tls(listener: TcpListener, front: Arc<Front>, api: watch::Receiver<Api>) {
    let strangers = strangers();
    loop {
        let (stream, from) = accepted(&listener).await;
        let from = from.unwrap_or(SocketAddr::from(([0; 4], 0)));
        match strangers.take(from.ip()) {
            Some(place) => drop(tokio::spawn(tls::connection(stream, place, from, Arc::clone(&front), api.clone()))),
            // The stream is dropped, which the client reports.
            None => front.refusals.count(Reason::Full, Some(from), "all places for callers who have proved nothing are taken"),
        }
    }
}

/// Where monitoring reads, nobody proves anything.
pub(super) async fn serve_strangers(listener: TcpListener, front: Arc<Front>) {
    let strangers = strangers();
    loop {
        let (stream, from) = accepted(&listener).await;
        let Some(place) = from.and_then(|from| strangers.take(from.ip())) else {
            front.refusals.count(Reason::Full, from, "all places for monitoring are taken");
            continue;
        };
        let attended = attend(stream, Arc::clone(&front), Door::Metrics);
        tokio::spawn(async move {
            attended.await;
            drop(place);
        });
    }
}

async fn accepted<L: Listener>(listener: &L) -> (L::Stream, Option<SocketAddr>) {
    loop {
        match listener.next().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "API: a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Accepts for ever who may do everything: a bounded number of clients at a time.
pub(super) async fn serve<L: Listener>(listener: L, front: Arc<Front>, door: Door) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let (stream, _) = accepted(&listener).await;
        // Without a free place the stream is dropped, which the client reports.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let attended = attend(stream, Arc::clone(&front), door.clone());
        tokio::spawn(async move {
            attended.await;
            drop(place);
        });
    }
}

/// Serves one connection until its client leaves or misbehaves.
pub(super) async fn attend<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, front: Arc<Front>, door: Door) {
    let patience = front.patience;
    let head = if matches!(door, Door::Metrics) { patience.head.min(STRANGERS_HEAD) } else { patience.head };
    let service = service_fn(move |request| {
        let (front, door) = (Arc::clone(&front), door.clone());
        async move { Ok::<_, Infallible>(front.respond(request, &door).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Reading::new(stream, patience.read)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "API: client gone");
    }
}

impl Front {
    async fn respond(&self, request: hyper::Request<Incoming>, door: &Door) -> hyper::Response<Answer> {
        let (parts, body) = request.into_parts();
        match self.serve(&parts, body, door).await {
            Ok(response) => response,
            Err(problem) => {
                let reason = match problem.status {
                    Refusal::Unknown => Some(Reason::Unknown),
                    Refusal::Forbidden => Some(Reason::Forbidden),
                    _ => None,
                };
                if let Some(reason) = reason {
                    self.refusals.count(reason, door.from(), &format!("{} {}: {}", parts.method, parts.uri.path(), problem.error));
                }
                refuse(&problem)
            }
        }
    }

    async fn serve(&self, head: &hyper::http::request::Parts, body: Incoming, door: &Door) -> Result<hyper::Response<Answer>, Problem> {
        if let Some(page) = console::find(&head.method, head.uri.path()).filter(|_| door.has_console()) {
            return Ok(console::serve(page, &head.headers).map(Answer::whole));
        }
        let (route, id) = routes::find(&head.method, head.uri.path())?;
        let caller = door.admit(route, &head.headers)?;
        let body = self.body(route, head, body).await?;
        if route.role == Role::Operate {
            tracing::info!(caller = caller.name, method = %head.method, path = head.uri.path(), "API: an order");
        }
        let input = Input { id, query: head.uri.query().unwrap_or_default(), body: &body };
        match route.serves {
            Serves::Document => Ok(answer(StatusCode::OK, "application/json", Answer::whole(openapi::DOCUMENT.as_str()))),
            Serves::Caller => Ok(json(StatusCode::OK, &caller.shown())),
            Serves::Metrics => Ok(answer(StatusCode::OK, metrics::CONTENT_TYPE, Answer::whole(self.metrics().await?))),
            Serves::Once(ask) => match self.ask(ask(&input)?).await? {
                Response::Health(health) if !health.ok => Ok(json(StatusCode::SERVICE_UNAVAILABLE, &health)),
                response => Ok(json(StatusCode::OK, &response)),
            },
            Serves::Stream(ask) => {
                let places = if matches!(door, Door::Socket) { &self.local_streams } else { &self.streams };
                self.stream(places, format(head), |feed| ask(&input, feed)).await
            }
        }
    }

    /// Text of at most [`METRICS_AGE`]: whoever scrapes costs the control task no more than that.
    async fn metrics(&self) -> Result<Bytes, Problem> {
        let mut kept = self.metrics.lock().await;
        if let Some((_, text)) = kept.as_ref().filter(|(at, _)| at.elapsed() < METRICS_AGE) {
            return Ok(text.clone());
        }
        let Response::Metrics(text) = self.ask(Request::Metrics).await? else { return Ok(Bytes::new()) };
        let text = Bytes::from(text);
        *kept = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    async fn stream(
        &self,
        places: &Arc<Semaphore>,
        format: Format,
        ask: impl FnOnce(Feed) -> Result<Request, Problem>,
    ) -> Result<hyper::Response<Answer>, Problem> {
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| {
            Problem::new(Refusal::Busy, format!("{MAX_STREAMS} clients are listening already"), "end one of them, or try again later")
        })?;
        let (feed, lines) = stream::feed(format, place);
        self.ask(ask(feed)?).await?;
        Ok(answer(StatusCode::OK, format.content_type(), Answer::Lines(lines)))
    }

    async fn body(&self, route: &Route, head: &hyper::http::request::Parts, body: Incoming) -> Result<Bytes, Problem> {
        if route.body.is_some() && !is_json(head) {
            // A page in a browser can send other types to a stranger's address without asking; this one it cannot.
            return Err(Problem::new(Refusal::MediaType, "the body is not declared as JSON", "send Content-Type: application/json"));
        }
        let limit = if route.body.is_some() { MAX_BODY } else { 0 };
        let collected = timeout(self.patience.body, Limited::new(body, limit).collect()).await;
        let slow = || Problem::new(Refusal::Slow, "the body did not arrive in time", "send it at once");
        match collected.map_err(|_| slow())? {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Problem::new(Refusal::TooLarge, format!("the body is longer than {limit} bytes"), SEE))
            }
            Err(error) => Err(Problem::new(Refusal::Wrong, format!("the body could not be read: {error}"), "send it again")),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, Problem> {
        let patience = request.patience();
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.commands.send((request, reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(patience, asked).await {
            Ok(Some(Response::Refused(problem))) => Err(problem),
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(Problem::new(Refusal::Busy, "the gateway is stopping", "ask again once it has started")),
            Err(_) => Err(Problem::new(
                Refusal::Busy,
                format!("the gateway is too busy: no answer within {} s", patience.as_secs()),
                "try again; if it stays so, look at its load and its log",
            )),
        }
    }
}

fn is_json(head: &hyper::http::request::Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn format(head: &hyper::http::request::Parts) -> Format {
    let accepts = head.headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    match accepts.flat_map(|accept| accept.split(',')).any(|kind| kind.trim().starts_with("text/event-stream")) {
        true => Format::ServerSentEvents,
        false => Format::JsonLines,
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> hyper::Response<Answer> {
    match serde_json::to_vec(body) {
        Ok(body) => answer(status, "application/json", Answer::whole(body)),
        Err(error) => {
            tracing::error!(%error, "API: an answer has no JSON form");
            answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", Answer::whole("{}"))
        }
    }
}

fn refuse(problem: &Problem) -> hyper::Response<Answer> {
    let status = match problem.status {
        Refusal::Wrong => StatusCode::BAD_REQUEST,
        Refusal::Unknown => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden => StatusCode::FORBIDDEN,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Conflict => StatusCode::CONFLICT,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = json(status, problem);
    if problem.status == Refusal::Method {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    }
    if problem.status == Refusal::Unknown {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Answer) -> hyper::Response<Answer> {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The body of an answer.
#[derive(Debug)]
enum Answer {
    Whole(Full<Bytes>),
    Lines(Lines),
}

impl Answer {
    fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(body.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Lines(lines) => Pin::new(lines).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}
