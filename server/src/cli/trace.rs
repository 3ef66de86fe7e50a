//! `evergate trace`: what passes between one client, this gateway and RADIUS, as it happens.
use super::args::{Cli, TraceArgs};
use super::text::{Mark, Style, clean, moment};
use super::{FAILED, OK, Unanswered, control_socket};
use crate::api::{self, Call, Told};
use crate::trace::{Direction, Event, NO_KEYS, capture};
use crypto::hash::{HashAlgorithm, hash};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub(super) fn trace(cli: &Cli, args: &TraceArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let mut files = match Files::open(args) {
        Ok(files) => files,
        Err(problem) => {
            writeln!(err, "error: {problem}")?;
            return Ok(FAILED);
        }
    };
    let mut written = Ok(());
    let mut each = |told: Told<Event>| {
        written = tell(cli.json, told, &mut files, style, out);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let call = Call::get("/v1/trace").with_query(&args.query());
    let followed = control_socket(cli).map_err(Unanswered::Unknown).and_then(|path| Ok(api::follow(&path, &call?, &mut each)?));
    written?;
    match followed {
        Ok(()) => {
            writeln!(err, "the gateway has ended the trace")?;
            Ok(OK)
        }
        Err(unanswered) => unanswered.tell(err),
    }
}

fn tell(json: bool, told: Told<Event>, files: &mut Files, style: Style, out: &mut dyn Write) -> Result<()> {
    match told {
        Told::It(mut event) => {
            files.write(&event)?;
            // A terminal, or what reads the lines, is no place for keys.
            (event.packets, event.frames, event.keys) = (Vec::new(), Vec::new(), None);
            if !json && files.lacks_keys(&event) {
                let text = "no keys are written of this IKE SA: Wireshark's table of IKEv2 has no name for its cipher; the fields here are all that there is";
                writeln!(out, "{}", style.mark(Mark::Attention, text))?;
            }
            if json { writeln!(out, "{}", serde_json::to_string(&event)?)? } else { show(&event, style, out)? }
        }
        Told::Missed(missed) if json => writeln!(out, "{{\"missed\":{missed}}}")?,
        Told::Missed(missed) => {
            let text = format!("{missed} events are missing here: they were not read in time");
            writeln!(out, "{}", style.mark(Mark::Attention, &text))?;
        }
    }
    out.flush()
}

/// What is written besides.
struct Files {
    capture: Option<File>,
    keys: Option<File>,
    /// Hashes of the lines of keys that stand there.
    known: BTreeSet<Vec<u8>>,
    /// Attempts of which it was said that there are no keys.
    without: BTreeSet<String>,
}

impl Files {
    fn open(args: &TraceArgs) -> std::result::Result<Self, String> {
        let mut capture = args.pcap.as_deref().map(private).transpose()?;
        let keys = args.reveal_session_keys.as_deref().map(private).transpose()?;
        if let Some(file) = &mut capture {
            capture::begin(file).map_err(|error| format!("cannot write the capture: {error}"))?;
        }
        Ok(Self { capture, keys, known: BTreeSet::new(), without: BTreeSet::new() })
    }

    /// Whether this has to be said of an attempt: keys were asked for, and there are none that Wireshark takes.
    fn lacks_keys(&mut self, event: &Event) -> bool {
        let lacks = self.keys.is_some() && event.fields.iter().any(|field| field.name == NO_KEYS);
        lacks && self.without.insert(event.attempt.clone().unwrap_or_default())
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        if let Some(file) = &mut self.capture {
            capture::packets(file, event)?;
        }
        let (Some(file), Some(keys)) = (&mut self.keys, &event.keys) else { return Ok(()) };
        // Each message has it; it stands once.
        let is_new = self.known.insert(hash(HashAlgorithm::Sha256, &[keys.as_str().as_bytes()]));
        if is_new { writeln!(file, "{}", keys.as_str()) } else { Ok(()) }
    }
}

/// A new file for nobody else's eyes. One that is there stays as it is: others may be able to read it.
fn private(path: &Path) -> std::result::Result<File, String> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} is there already: name a new file, or remove that one", path.display()),
        _ => format!("cannot make {}: {error}", path.display()),
    })
}

fn show(event: &Event, style: Style, out: &mut dyn Write) -> Result<()> {
    let whose = [event.attempt.as_deref(), event.user.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let end = match (event.direction, event.peer) {
        (Some(Direction::In), Some(peer)) => format!("<- {peer} "),
        (Some(Direction::Out), Some(peer)) => format!("-> {peer} "),
        _ => "   ".to_owned(),
    };
    let head = format!("{} {}", style.mark(Mark::Faint, &moment(event.at_us)), style.mark(Mark::Faint, &clean(&whose)));
    let mark = if event.direction.is_some() { Mark::Heading } else { Mark::Plain };
    writeln!(out, "{} {end}{}", head.trim_end(), style.mark(mark, &clean(&event.title)))?;
    let width = event.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
    event.fields.iter().try_for_each(|field| writeln!(out, "        {:width$}  {}", clean(&field.name), clean(&field.value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const EVENT: &str = r#"{"at_us":1700000000123456,"attempt":"1-2","user":"al\u001bice","layer":"ike","direction":"in","peer":"192.0.2.2:500",
        "title":"IKE_SA_INIT request 0 (600 bytes)","fields":[{"name":"SA","value":"proposal 1"},{"name":"Nonce","value":"32 bytes"}],
        "packets":[{"from":"192.0.2.2:500","to":"192.0.2.1:500","bytes":"aa"}],"keys":"spi,spi,secret"}"#;

    fn told(json: bool, told: Told<Event>, files: &mut Files) -> String {
        let mut out = Vec::new();
        tell(json, told, files, Style { colours: false }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn no_files() -> Files {
        Files { capture: None, keys: None, known: BTreeSet::new(), without: BTreeSet::new() }
    }

    fn event() -> Told<Event> {
        Told::It(serde_json::from_str(EVENT).unwrap())
    }

    #[test]
    fn events_are_lines_with_their_fields_below() {
        let text = told(false, event(), &mut no_files());
        assert!(text.contains(".123456 1-2 al\\u{1b}ice <- 192.0.2.2:500 IKE_SA_INIT request 0 (600 bytes)\n"), "{text}");
        assert!(text.contains("        SA     proposal 1\n        Nonce  32 bytes\n"), "{text}");
    }

    #[test]
    fn what_was_not_read_in_time_is_told() {
        assert!(told(false, Told::Missed(7), &mut no_files()).starts_with("7 events are missing"));
        assert_eq!(told(true, Told::Missed(7), &mut no_files()), "{\"missed\":7}\n");
    }

    #[test]
    fn keys_stand_in_their_file_alone_and_once() {
        let folder = std::env::temp_dir().join(format!("evergate-trace-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (capture, keys) = (folder.join("x.pcapng"), folder.join("x.keys"));
        let mut files = Files { capture: Some(private(&capture).unwrap()), keys: Some(private(&keys).unwrap()), ..no_files() };
        for json in [false, true] {
            let text = told(json, event(), &mut files);
            assert!(!text.contains("secret") && !text.contains("packets"), "{text}");
        }
        assert_eq!(std::fs::read_to_string(&keys).unwrap(), "spi,spi,secret\n");
        let chacha: Event = serde_json::from_str(&EVENT.replace("Nonce", NO_KEYS)).unwrap();
        let said = |files: &mut Files| told(false, Told::It(chacha.clone()), files).contains("no keys are written of this IKE SA");
        assert!(said(&mut files) && !said(&mut files), "once");
        assert!(std::fs::metadata(&capture).unwrap().len() > 0);
        for file in [&capture, &keys] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(private(file).unwrap_err().contains("is there already"));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
