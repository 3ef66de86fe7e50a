//! Tables, times and numbers for people.
pub(super) use crate::logging::visible as clean;
use std::io::Write;

/// How text may be marked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) colours: bool,
}

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    Heading,
    Good,
    Bad,
    Attention,
    Faint,
}

impl Style {
    pub(super) fn mark(self, mark: Mark, text: &str) -> String {
        let code = match mark {
            _ if !self.colours => return text.to_owned(),
            Mark::Plain => return text.to_owned(),
            Mark::Heading => "1",
            Mark::Good => "32",
            Mark::Bad => "31",
            Mark::Attention => "33",
            Mark::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A cell; control characters (names come from the wire) are made visible.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    mark: Mark,
    right: bool,
}

pub(super) fn cell(text: impl AsRef<str>) -> Cell {
    Cell { text: clean(text.as_ref()), mark: Mark::Plain, right: false }
}

/// A number: right-aligned.
pub(super) fn count(text: impl ToString) -> Cell {
    Cell { right: true, ..cell(text.to_string()) }
}

impl Cell {
    pub(super) fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// Characters.
    pub(super) fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// At most this many characters, the last two of them dots where there were more.
    pub(super) fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let text = self.text.chars().take(width.saturating_sub(2)).chain("..".chars()).collect();
        Self { text, ..self }
    }
}

/// Aligned columns under their headings.
pub(super) fn table(out: &mut dyn Write, style: Style, headings: &[&str], rows: &[Vec<Cell>]) -> std::io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let right: Vec<_> =
        (0..headings.len()).map(|column| rows.first().is_some_and(|row| row.get(column).is_some_and(|c| c.right))).collect();
    let headings = headings.iter().zip(&right).map(|(text, right)| Cell { right: *right, ..cell(text).marked(Mark::Heading) });
    row(out, style, &headings.collect::<Vec<_>>(), &widths)?;
    rows.iter().try_for_each(|cells| row(out, style, cells, &widths))
}

fn row(out: &mut dyn Write, style: Style, cells: &[Cell], widths: &[usize]) -> std::io::Result<()> {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
        let text = style.mark(cell.mark, &cell.text);
        let last = index + 1 == cells.len();
        line += &if cell.right { padding + &text } else { text + if last { "" } else { &padding } };
        line += if last { "" } else { "  " };
    }
    writeln!(out, "{}", line.trim_end())
}

/// `name  value` lines, the names in one column.
pub(super) fn pairs(out: &mut dyn Write, style: Style, pairs: &[(&str, String)]) -> std::io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| writeln!(out, "{}  {}", style.mark(Mark::Heading, &format!("{name:width$}")), clean(value)))
}

/// A heading over what follows.
pub(super) fn heading(out: &mut dyn Write, style: Style, text: &str) -> std::io::Result<()> {
    writeln!(out, "\n{}", style.mark(Mark::Heading, text))
}

/// `0 B`, `999 B`, `1.5 KiB`, `12 GiB`.
pub(super) fn octets(octets: u64) -> String {
    let mut value = octets as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = larger;
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// `512 kbit/s`, `20 Mbit/s`, `1.5 Gbit/s`.
pub(super) fn bit_rate(bits: u64) -> String {
    let (divisor, unit) = match bits {
        1_000_000_000.. => (1e9, "Gbit/s"),
        1_000_000.. => (1e6, "Mbit/s"),
        _ => (1e3, "kbit/s"),
    };
    format!("{} {unit}", (bits as f64 / divisor * 100.0).round() / 100.0)
}

/// `12s`, `3m 4s`, `5h 6m`, `7d 8h`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, minutes) => format!("{minutes}m {rest}s"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// A unix time where the reader is: `2026-11-21 05:33:12`.
pub(super) fn time(unix: u64) -> String {
    local(unix, "%Y-%m-%d %H:%M:%S")
}

/// The time of the day in microseconds since 1970, where the reader is: `05:33:12.012345`.
pub(super) fn moment(micros: u64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    format!("{}.{rest:06}", local(seconds, "%H:%M:%S"))
}

/// The day of a unix time.
pub(super) fn date(unix: i64) -> String {
    u64::try_from(unix).map_or_else(|_| "before 1970".into(), |unix| local(unix, "%Y-%m-%d"))
}

fn local(unix: u64, format: &str) -> String {
    let timestamp = i64::try_from(unix).ok().and_then(|unix| jiff::Timestamp::from_second(unix).ok());
    match timestamp {
        Some(timestamp) => timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        None => unix.to_string(),
    }
}

/// Breaks a text into lines of at most `width` characters, at spaces.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
