//! Logs on standard error: text for people, JSON for collectors. Where standard error is systemd's journal, they go there in its own language.
mod journal;

use crate::config::LogFormat;
use journal::Journal;
use std::io::IsTerminal as _;
use std::path::Path;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A text with its control characters escaped: names come from the wire, and must neither leave their line nor steer a terminal.
pub(crate) fn visible(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    text.chars().map(visible).collect()
}

/// Variables that override the configured filter, the first that is set.
const OVERRIDES: [&str; 2] = ["EVERGATE_LOG", "RUST_LOG"];

/// Sets the filter of the process's log.
pub struct LogControl(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>);

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogControl")
    }
}

impl LogControl {
    /// What the configuration says now; a variable of the environment still overrides it.
    pub fn set(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0(choose_filter(filter, environment())?)?)
    }
}

/// Sets up the process's log, once. `filter` is what the configuration says.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<LogControl> {
    let filter = choose_filter(filter, environment())?;
    let (subscriber, control) = if journal::is_standard_error()
        && let Ok(journal) = Journal::open(Path::new(journal::SOCKET), format)
    {
        to_journal(filter, journal)
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        subscriber(filter, format, colours, std::io::stderr)
    };
    subscriber.try_init()?;
    Ok(control)
}

fn to_journal(filter: EnvFilter, journal: Journal) -> (Subscriber, LogControl) {
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter).with(journal);
    (Box::new(subscriber), LogControl(Box::new(move |filter| handle.reload(filter))))
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

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(filter: EnvFilter, format: LogFormat, colours: bool, writer: W) -> (Subscriber, LogControl)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(true);
    match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(colours).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), LogControl(Box::new(move |filter| handle.reload(filter))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), LogControl(Box::new(move |filter| handle.reload(filter))))
        }
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

    fn logged(format: LogFormat) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, control) = subscriber(EnvFilter::new("info"), format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(attempt = "1-2", "hello\u{1b}[31m");
            tracing::debug!("unseen");
            control.0(EnvFilter::new("error")).unwrap();
            tracing::info!("unseen as well");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
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
