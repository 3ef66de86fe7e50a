//! Logs on standard error: text for people, JSON for collectors. Where standard error is systemd's journal, they go there in its own language.
mod journal;

use crate::config::LogFormat;
use journal::Journal;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Event;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Full, Json, JsonFields};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Context, Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// A text with its control characters escaped: names come from the wire, and must neither leave their line nor steer a terminal.
pub(crate) fn visible(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    text.chars().map(visible).collect()
}

/// Variables that override the configured filter, the first that is set.
const OVERRIDES: [&str; 2] = ["EVERGATE_LOG", "RUST_LOG"];

/// Sets filter and format of the process's log.
pub struct LogControl {
    filter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>,
    format: Chosen,
}

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogControl")
    }
}

impl LogControl {
    /// What the configuration says now; a variable of the environment still overrides the filter. Lines from now on have the format.
    pub fn set(&self, filter: &str, format: LogFormat) -> anyhow::Result<()> {
        self.format.set(format);
        Ok((self.filter)(choose_filter(filter, environment())?)?)
    }
}

/// The format of the next line, for all who write lines.
#[derive(Debug, Clone)]
struct Chosen(Arc<AtomicBool>);

impl Chosen {
    fn new(format: LogFormat) -> Self {
        Self(Arc::new(AtomicBool::new(format == LogFormat::Json)))
    }

    fn set(&self, format: LogFormat) {
        self.0.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn get(&self) -> LogFormat {
        if self.0.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Sets up the process's log, once. `filter` is what the configuration says.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<LogControl> {
    let filter = choose_filter(filter, environment())?;
    let format = Chosen::new(format);
    let (subscriber, control) = if journal::is_standard_error()
        && let Ok(journal) = Journal::open(Path::new(journal::SOCKET), format.clone())
    {
        subscriber(filter, format, journal)
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = Lines::new(format.clone(), colours, std::io::stderr);
        subscriber(filter, format, lines)
    };
    subscriber.try_init()?;
    Ok(control)
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// What `filter` lets through goes to `lines`, which write as `format` says.
fn subscriber(filter: EnvFilter, format: Chosen, lines: impl Layer<Filtered> + Send + Sync) -> (Subscriber, LogControl) {
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    (Box::new(subscriber), LogControl { filter: Box::new(move |filter| handle.reload(filter)), format })
}

/// Lines in either format. Each event is written once, as the format is at that moment; both writers know all spans.
struct Lines<W> {
    chosen: Chosen,
    text: fmt::Layer<Filtered, DefaultFields, Format<Full>, W>,
    json: fmt::Layer<Filtered, JsonFields, Format<Json>, W>,
}

impl<W: for<'a> MakeWriter<'a> + Clone + 'static> Lines<W> {
    fn new(chosen: Chosen, colours: bool, writer: W) -> Self {
        let text = fmt::layer().with_ansi(colours).with_writer(writer.clone());
        let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false).with_writer(writer);
        Self { chosen, text, json }
    }
}

impl<W: for<'a> MakeWriter<'a> + 'static> Layer<Filtered> for Lines<W> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, Filtered>) {
        self.text.on_new_span(attributes, id, context.clone());
        self.json.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, Filtered>) {
        self.text.on_record(id, values, context.clone());
        self.json.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, Filtered>) {
        match self.chosen.get() {
            LogFormat::Text => self.text.on_event(event, context),
            LogFormat::Json => self.json.on_event(event, context),
        }
    }
}

fn environment() -> impl Iterator<Item = (&'static str, String)> {
    OVERRIDES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)))
}

fn choose_filter(configured: &str, overrides: impl Iterator<Item = (&'static str, String)>) -> anyhow::Result<EnvFilter> {
    match overrides.into_iter().find(|(_, value)| !value.trim().is_empty()) {
        Some((name, value)) => {
            EnvFilter::try_new(&value).map_err(|error| anyhow::anyhow!("environment variable {name} = {value:?}: {error}"))
        }
        None => Ok(EnvFilter::try_new(configured)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn subscriber(&self, format: LogFormat) -> (Subscriber, LogControl) {
            let (writer, format) = (self.clone(), Chosen::new(format));
            subscriber(EnvFilter::new("info"), format.clone(), Lines::new(format, false, move || writer.clone()))
        }
    }

    fn logged(format: LogFormat) -> String {
        let sink = Sink::default();
        let (subscriber, control) = sink.subscriber(format);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(attempt = "1-2", "hello\u{1b}[31m");
            tracing::debug!("unseen");
            (control.filter)(EnvFilter::new("error")).unwrap();
            tracing::info!("unseen as well");
        });
        sink.text()
    }

    /// Also within a span that was there before.
    #[test]
    fn another_format_is_that_of_the_next_line() {
        let sink = Sink::default();
        let (subscriber, control) = sink.subscriber(LogFormat::Text);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("work", job = 7);
            let _entered = span.enter();
            tracing::info!("one");
            control.set("info", LogFormat::Json).unwrap();
            tracing::info!("two");
            control.set("info", LogFormat::Text).unwrap();
            tracing::info!("three");
        });
        let text = sink.text();
        let [one, two, three] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        assert!(one.contains("work{job=7}") && one.ends_with("one") && three.ends_with("three"), "{text}");
        let two: serde_json::Value = serde_json::from_str(two).unwrap();
        assert_eq!((two["message"].as_str(), two["span"]["job"].as_u64()), (Some("two"), Some(7)));
    }

    #[test]
    fn no_line_is_lost_or_doubled_while_the_format_changes() {
        const WRITERS: u64 = 2;
        let (sink, ended) = (Sink::default(), Arc::new(AtomicBool::new(false)));
        let (subscriber, control) = sink.subscriber(LogFormat::Text);
        let dispatch = tracing::Dispatch::new(subscriber);
        let write = |writer: u64| {
            let (dispatch, ended) = (dispatch.clone(), Arc::clone(&ended));
            let count = move || {
                (writer..)
                    .step_by(WRITERS as usize)
                    .take_while(|number| {
                        tracing::info!(number);
                        !ended.load(Ordering::Relaxed)
                    })
                    .count() as u64
                    + 1
            };
            std::thread::spawn(move || tracing::dispatcher::with_default(&dispatch, count))
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        let written = || sink.0.lock().unwrap().len();
        for format in [LogFormat::Json, LogFormat::Text].into_iter().cycle().take(40) {
            control.format.set(format);
            let before = written();
            // Some lines in this format: each writer may have begun one in the other.
            while written() < before + 1_000 {
                std::thread::yield_now();
            }
        }
        ended.store(true, Ordering::Relaxed);
        let counts: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        let text = sink.text();
        let number = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
            Ok(object) => object["number"].as_u64().unwrap(),
            Err(_) => line.rsplit_once("number=").unwrap().1.parse().unwrap(),
        };
        let mut numbers: Vec<_> = text.lines().map(number).collect();
        numbers.sort_unstable();
        let mut expected: Vec<_> =
            (0..WRITERS).zip(&counts).flat_map(|(writer, &count)| (0..count).map(move |line| writer + WRITERS * line)).collect();
        expected.sort_unstable();
        assert_eq!(numbers, expected);
        assert!(text.lines().filter(|line| line.starts_with('{')).count() >= 20, "both formats had their turn");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["attempt"].as_str(), line["level"].as_str()), (Some("1-2"), Some("INFO")));
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn text_is_one_line_without_escapes() {
        let text = logged(LogFormat::Text);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("attempt=\"1-2\"") && !text.contains('\u{1b}') && !text.contains("unseen"), "{text}");
    }

    #[test]
    fn the_environment_overrides_the_filter() {
        let none = std::iter::empty();
        assert_eq!(choose_filter("warn", none).unwrap().to_string(), "warn");
        let set = [("EVERGATE_LOG", String::new()), ("RUST_LOG", "debug".to_owned())];
        assert_eq!(choose_filter("warn", set.into_iter()).unwrap().to_string(), "debug");
        let wrong = choose_filter("warn", [("RUST_LOG", "evergate=loud".to_owned())].into_iter()).unwrap_err().to_string();
        assert!(wrong.starts_with("environment variable RUST_LOG = \"evergate=loud\""), "{wrong}");
    }
}
