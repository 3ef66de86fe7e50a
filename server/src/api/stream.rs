//! Answers that go on: a line of JSON for each thing that happens, until either side has enough.
//!
//! The control task gets a [`Feed`] with its request and sends into it what it has to tell; it never waits for whoever listens. Lines that find no room
//! are counted, and the listener is told how many it has missed.
use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Interval, interval_at};

/// Lines that wait for a listener.
const WAITING: usize = 256;

/// Bytes of them.
const WAITING_BYTES: usize = 8 << 20;

/// How often something is written, so that a listener who has vanished is noticed.
const PULSE: Duration = Duration::from_secs(15);

/// Where somebody listens. The answer ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Feed {
    lines: mpsc::Sender<Bytes>,
    missed: Arc<AtomicU64>,
    /// Bytes of the lines that wait.
    waiting: Arc<AtomicUsize>,
}

impl Feed {
    /// Tells one thing, without waiting; `false`: nobody listens any more, and the feed is to be dropped.
    pub fn send(&self, told: &impl Serialize) -> bool {
        // A value without a JSON form (a map whose keys are no strings) is a mistake of ours that tests show.
        let Ok(mut line) = serde_json::to_vec(told) else { return true };
        line.push(b'\n');
        let length = line.len();
        if self.waiting.load(Ordering::Relaxed) + length > WAITING_BYTES {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return !self.lines.is_closed();
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        match self.lines.try_send(line.into()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                self.waiting.fetch_sub(length, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl Feed {
    /// Returns once nobody listens any more.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A line each.
    JsonLines,
    /// An event each, as browsers read them.
    ServerSentEvents,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::ServerSentEvents => "text/event-stream",
        }
    }

    fn frame(self, line: Bytes) -> Frame<Bytes> {
        Frame::data(match self {
            Self::JsonLines => line,
            Self::ServerSentEvents => [b"data: ", &line[..], b"\n"].concat().into(),
        })
    }

    /// Says nothing, and shows whether anybody is there.
    fn pulse(self) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(match self {
            Self::JsonLines => b"\n",
            Self::ServerSentEvents => b":\n\n",
        }))
    }
}

/// The body of an answer that goes on.
#[derive(Debug)]
pub(super) struct Lines {
    lines: mpsc::Receiver<Bytes>,
    missed: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    format: Format,
    pulse: Interval,
    /// One of the streams that there may be at a time.
    _place: OwnedSemaphorePermit,
}

pub(super) fn feed(format: Format, place: OwnedSemaphorePermit) -> (Feed, Lines) {
    let (tx, rx) = mpsc::channel(WAITING);
    let missed = Arc::new(AtomicU64::new(0));
    let pulse = interval_at(Instant::now() + PULSE, PULSE);
    let waiting = Arc::default();
    let feed = Feed { lines: tx, missed: Arc::clone(&missed), waiting: Arc::clone(&waiting) };
    (feed, Lines { lines: rx, missed, waiting, format, pulse, _place: place })
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let format = self.format;
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            return Poll::Ready(Some(Ok(format.frame(format!("{{\"missed\":{missed}}}\n").into()))));
        }
        match self.lines.poll_recv(cx) {
            Poll::Ready(line) => {
                self.waiting.fetch_sub(line.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
                Poll::Ready(line.map(|line| Ok(format.frame(line))))
            }
            Poll::Pending => self.pulse.poll_tick(cx).map(|_| Some(Ok(format.pulse()))),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A feed whose lines a test reads itself.
    use super::*;

    pub(crate) struct Reader {
        lines: mpsc::Receiver<Bytes>,
        missed: Arc<AtomicU64>,
    }

    impl Reader {
        /// The next line that is there.
        pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
            match self.missed.swap(0, Ordering::Relaxed) {
                0 => self.lines.try_recv().ok().map(|line| line.to_vec()),
                missed => Some(format!("{{\"missed\":{missed}}}").into_bytes()),
            }
        }

        /// Nothing more will come.
        pub(crate) fn is_over(&self) -> bool {
            self.lines.is_closed() && self.lines.is_empty()
        }
    }

    pub(crate) fn feed() -> (Feed, Reader) {
        let (tx, lines) = mpsc::channel(WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        (Feed { lines: tx, missed: Arc::clone(&missed), waiting: Arc::default() }, Reader { lines, missed })
    }
}
