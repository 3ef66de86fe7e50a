//! systemd's journal in its own language (`sd_journal_send(3)`, "Native Journal Protocol"): the line as it stands in the log, and its fields one by
//! one, so that `journalctl EVERGATE_ATTEMPT=5f-1` finds all that was said of an attempt. The journal has a clock and a level of its own.
use super::Chosen;
use crate::config::LogFormat;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What the journal itself keeps of a line unless told otherwise (LineMax=); a datagram of many fields fits the usual buffers.
const VALUE_BYTES: usize = 48 << 10;

/// Whether standard error is a stream into the journal: JOURNAL_STREAM names its device and inode (systemd.exec(5)).
pub(super) fn is_standard_error() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

/// What is logged goes to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    format: Chosen,
    /// Lines lost of which the journal has not heard.
    lost: AtomicU64,
}

impl Journal {
    /// # Errors
    /// Nobody listens there.
    pub(super) fn open(path: &Path, format: Chosen) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A journal that has fallen behind must not hold up the gateway.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, format, lost: AtomicU64::new(0) })
    }

    /// Sends a line, and before it how many were lost. False: the journal has fallen behind, and the line is lost too. Nothing else is tried then:
    /// standard error leads into the same journal, and whoever writes there waits for it.
    fn send(&self, entry: &[u8], priority: &str, message: &str) -> bool {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && self.socket.send(&about_lost(lost, self.format.get())).is_err_and(|error| is_behind(&error)) {
            self.lost.fetch_add(lost, Ordering::Relaxed);
            return false;
        }
        match self.socket.send(entry) {
            Ok(_) => true,
            Err(error) if is_behind(&error) => false,
            Err(_) => {
                // Nobody listens there any more, or the line is too long for a datagram: a stream may still lead into the journal.
                drop(writeln!(io::stderr(), "<{priority}>{message}"));
                true
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let message = match self.format.get() {
            LogFormat::Text => fields.text(metadata.target()),
            LogFormat::Json => fields.json(metadata.target(), *metadata.level()),
        };
        let mut entry = begin(*metadata.level(), metadata.target());
        for (name, value) in &fields.others {
            put(&mut entry, &field_name(name), &value.to_string());
        }
        put(&mut entry, "MESSAGE", &message);
        if !self.send(&entry, priority(*metadata.level()), &message) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The journal's queue has no room.
fn is_behind(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

fn about_lost(lost: u64, format: LogFormat) -> Vec<u8> {
    let target = module_path!();
    let text = "the journal did not take lines in time: they are lost";
    let message = match format {
        LogFormat::Text => format!("{target}: {text} lost={lost}"),
        LogFormat::Json => serde_json::json!({ "level": "WARN", "message": text, "lost": lost, "target": target }).to_string(),
    };
    let mut entry = begin(Level::WARN, target);
    put(&mut entry, "EVERGATE_LOST", &lost.to_string());
    put(&mut entry, "MESSAGE", &message);
    entry
}

/// What each entry begins with.
fn begin(level: Level, target: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(1024);
    put(&mut entry, "PRIORITY", priority(level));
    put(&mut entry, "SYSLOG_IDENTIFIER", "evergate");
    put(&mut entry, "EVERGATE_TARGET", target);
    entry
}

/// Severities of syslog (RFC 5424 section 6.2.1).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// `EVERGATE_ATTEMPT`: names of the journal hold capital letters, digits and underscores, 64 at most.
fn field_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    "EVERGATE_".chars().chain(name.chars().map(letter)).take(64).collect()
}

/// A field with its length, which may hold line ends.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE_BYTES)];
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// A value as it was logged.
enum Said {
    Text(String),
    Number(serde_json::Value),
    /// What stands for itself in a line.
    Debug(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) | Self::Debug(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Said)>,
}

impl Fields {
    fn say(&mut self, field: &Field, said: Said) {
        if field.name() == "message" {
            self.message = said.to_string();
        } else {
            self.others.push((field.name(), said));
        }
    }

    /// `gateway: connected attempt="5f-1"`, as on a terminal; what would leave its line or steer a terminal is escaped.
    fn text(&self, target: &str) -> String {
        let mut line = format!("{target}: {}", self.message);
        for (name, value) in &self.others {
            let written = match value {
                Said::Text(text) => write!(line, " {name}={text:?}"),
                value => write!(line, " {name}={value}"),
            };
            // Writing to a String cannot fail.
            written.ok();
        }
        super::visible(&line)
    }

    fn json(&self, target: &str, level: Level) -> String {
        let mut object = serde_json::Map::new();
        object.insert("level".into(), level.as_str().into());
        object.insert("message".into(), self.message.as_str().into());
        for (name, value) in &self.others {
            let value = match value {
                Said::Number(number) => number.clone(),
                Said::Text(text) | Said::Debug(text) => text.as_str().into(),
            };
            object.insert((*name).to_owned(), value);
        }
        object.insert("target".into(), target.into());
        serde_json::Value::Object(object).to_string()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.say(field, Said::Debug(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.say(field, Said::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.say(field, Said::Number(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.say(field, Said::Number(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.say(field, Said::Number(value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.say(field, Said::Number(value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tracing_subscriber::EnvFilter;

    /// The fields of an entry; sizes are checked.
    fn entry(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (name, rest) = (&bytes[..end], &bytes[end + 1..]);
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let value = &rest[8..8 + length];
            assert_eq!(rest[8 + length], b'\n');
            fields.insert(String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap());
            bytes = &rest[8 + length + 1..];
        }
        fields
    }

    fn logged(format: LogFormat) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        // It was another one when the journal was opened.
        let chosen = Chosen::new(if format == LogFormat::Text { LogFormat::Json } else { LogFormat::Text });
        let layer = Journal::open(&path, chosen.clone()).unwrap();
        let (subscriber, control) = super::super::subscriber(EnvFilter::new("info"), chosen, layer);
        control.set("info", format).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("unseen");
            tracing::warn!(attempt = %"5f-1", user = "a\nb\u{1b}[31m", seconds = 7, reason = Option::<u64>::None, "hello");
            (control.filter)(EnvFilter::new("error")).unwrap();
            tracing::warn!("unseen as well");
        });
        let mut buffer = vec![0; 65536];
        let length = journal.recv(&mut buffer).unwrap();
        journal.set_nonblocking(true).unwrap();
        assert!(journal.recv(&mut [0]).is_err(), "one line was logged");
        entry(&buffer[..length])
    }

    #[test]
    fn an_entry_has_the_line_and_its_fields() {
        let found = logged(LogFormat::Text);
        let field = |name: &str| found[name].as_str();
        assert_eq!((field("PRIORITY"), field("EVERGATE_ATTEMPT"), field("EVERGATE_SECONDS")), ("4", "5f-1", "7"));
        assert_eq!(field("EVERGATE_USER"), "a\nb\u{1b}[31m", "as it is");
        assert!(!found.contains_key("EVERGATE_REASON"));
        let target = module_path!();
        assert_eq!(field("MESSAGE"), format!("{target}: hello attempt=5f-1 user=\"a\\nb\\u{{1b}}[31m\" seconds=7"));
    }

    #[test]
    fn json_stays_json_without_a_second_clock() {
        let found = logged(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&found["MESSAGE"]).unwrap();
        assert_eq!((line["attempt"].as_str(), line["level"].as_str(), line["seconds"].as_u64()), (Some("5f-1"), Some("WARN"), Some(7)));
        assert!(line.get("timestamp").is_none());
        assert_eq!(found["EVERGATE_ATTEMPT"], "5f-1");
    }

    /// It is not waited for, neither here nor at standard error; what it did not get it hears of.
    #[test]
    fn a_journal_that_has_fallen_behind_loses_lines_and_is_told_how_many() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let journal = UnixDatagram::bind(&path).unwrap();
            let chosen = Chosen::new(format);
            let layer = Journal::open(&path, chosen.clone()).unwrap();
            let mut taken = 0;
            while layer.send(b"", "6", "filled") {
                taken += 1;
            }
            let (subscriber, _control) = super::super::subscriber(EnvFilter::new("info"), chosen, layer);
            tracing::subscriber::with_default(subscriber, || {
                (0..3).for_each(|_| tracing::info!("unheard"));
                (0..taken).for_each(|_| assert_eq!(journal.recv(&mut [0; 9]).unwrap(), 0));
                (0..2).for_each(|_| tracing::info!("heard"));
            });
            let mut buffer = vec![0; 65536];
            let mut next = || {
                let length = journal.recv(&mut buffer).unwrap();
                entry(&buffer[..length])
            };
            let told = next();
            assert_eq!((told["EVERGATE_LOST"].as_str(), told["PRIORITY"].as_str()), ("3", "4"));
            assert!(told["MESSAGE"].contains("did not take lines in time"), "{told:?}");
            let messages = [next(), next()].map(|entry| entry["MESSAGE"].clone());
            assert!(messages.iter().all(|message| message.contains("heard") && !message.contains("unheard")), "{messages:?}");
            journal.set_nonblocking(true).unwrap();
            assert!(journal.recv(&mut [0]).is_err(), "it is told once");
        }
    }

    #[test]
    fn names_fit_the_journal() {
        assert_eq!(field_name("octets_in"), "EVERGATE_OCTETS_IN");
        assert_eq!(field_name("r#type"), "EVERGATE_R_TYPE");
        assert_eq!(field_name(&"x".repeat(100)).len(), 64);
    }
}
