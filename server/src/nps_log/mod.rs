//! The accounting log file of NPS, so that what reports on its logs goes on when logins come through this gateway.
//!
//! The format is what NPS calls "DTS Compliant" in its log file properties: one XML element `Event` a line, in it an element for each attribute whose
//! `data_type` says how to read it: 0 a whole number, 1 text, 2 octets in hexadecimal, 3 an IPv4 address, 4 a time. Names of attributes, values of
//! Packet-Type, Authentication-Type, Provider-Type and Reason-Code and the spelling `Fully-Qualifed-User-Name` are those of NPS: "Interpret NPS
//! Database Format Log Files" (Microsoft Learn, cc771748), the enumerations of `sdoias.h` and "NPS Reason Codes" (dd197570). Timestamp is local
//! time with milliseconds, Event-Timestamp and the time in Class are UTC.
//!
//! Each round of a login makes two lines, an Access-Request and an Access-Challenge, or an Access-Accept or Access-Reject when it is decided; each
//! accounting record makes one. What belongs together has one Class, in the form that NPS gives it.
mod files;
mod writer;

pub use files::Rotation;
pub use writer::{Log, Status, try_out};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `[nps_log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub folder: PathBuf,
    pub rotation: Rotation,
    /// How many files are kept; `None`: all.
    pub keep: Option<NonZeroUsize>,
    pub kinds: Kinds,
}

/// Which events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Access-Request, Access-Accept and Access-Reject.
    pub logins: bool,
    /// The rounds before: Access-Request and Access-Challenge.
    pub challenges: bool,
    /// Start and Stop of sessions, Accounting-On and -Off.
    pub accounting: bool,
    /// Interim-Updates.
    pub interims: bool,
}

/// A value with its `data_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Text(String),
    Address(Ipv4Addr),
    /// Seconds are its unit, UTC its zone.
    Time(Timestamp),
}

impl From<IpAddr> for Value {
    /// There is no type for IPv6 addresses: they are text.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Address(address),
            IpAddr::V6(address) => Self::Text(address.to_string()),
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub at: Timestamp,
    /// Attributes in order. Names are XML names.
    pub attributes: Vec<(&'static str, Value)>,
}

/// Class in the form of NPS: vendor 311, version 1, the server's address, when it started, and a number of the login. `id` is that of its attempt.
pub fn class(gateway: IpAddr, boot_ms: u64, id: &str) -> String {
    let number = id.rsplit_once('-').map_or(id, |(_, number)| number);
    let boot = i64::try_from(boot_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    format!("311 1 {gateway} {} {number}", utc(boot))
}

fn utc(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%m/%d/%Y %H:%M:%S").to_string()
}

impl Record {
    /// The line, its end included. `computer`: who writes it; `zone`: where it reads the clock.
    pub fn line(&self, computer: &str, zone: &TimeZone) -> String {
        let at = self.at.to_zoned(zone.clone()).strftime("%m/%d/%Y %H:%M:%S%.3f").to_string();
        let mut line = format!("<Event><Timestamp data_type=\"4\">{at}</Timestamp>");
        element(&mut line, "Computer-Name", &Value::Text(computer.to_owned()));
        // What NPS has called itself in its logs since it was the Internet Authentication Service; readers look for it.
        element(&mut line, "Event-Source", &Value::Text("IAS".into()));
        for (name, value) in &self.attributes {
            element(&mut line, name, value);
        }
        line.push_str("</Event>\n");
        line
    }
}

fn element(line: &mut String, name: &str, value: &Value) {
    let (data_type, text) = match value {
        Value::Number(number) => (0, number.to_string()),
        Value::Text(text) if text.chars().all(is_xml) => (1, escaped(text)),
        Value::Text(text) => (2, text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"))),
        Value::Address(address) => (3, address.to_string()),
        Value::Time(time) => (4, utc(*time)),
    };
    // Writing to a String cannot fail.
    write!(line, "<{name} data_type=\"{data_type}\">{text}</{name}>").ok();
}

/// XML 1.0 section 2.2, without the ends of lines: a line is an event.
fn is_xml(c: char) -> bool {
    matches!(c, ' '..='\u{7e}' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let attributes = vec![
            ("User-Name", Value::Text("EXAMPLE\\a&b <c>".into())),
            ("NAS-IP-Address", IpAddr::from([192, 0, 2, 1]).into()),
            ("Event-Timestamp", Value::Time(Timestamp::from_second(1_700_000_000).unwrap())),
            ("Packet-Type", Value::Number(1)),
        ];
        Record { at: Timestamp::from_millisecond(1_700_000_000_007).unwrap(), attributes }
    }

    #[test]
    fn a_line_is_an_event() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let expected = "<Event><Timestamp data_type=\"4\">11/14/2023 23:13:20.007</Timestamp><Computer-Name data_type=\"1\">vpn</Computer-Name>\
            <Event-Source data_type=\"1\">IAS</Event-Source><User-Name data_type=\"1\">EXAMPLE\\a&amp;b &lt;c&gt;</User-Name>\
            <NAS-IP-Address data_type=\"3\">192.0.2.1</NAS-IP-Address><Event-Timestamp data_type=\"4\">11/14/2023 22:13:20</Event-Timestamp>\
            <Packet-Type data_type=\"0\">1</Packet-Type></Event>\n";
        assert_eq!(record().line("vpn", &zone), expected);
    }

    #[test]
    fn whatever_a_client_calls_itself_a_line_is_xml() {
        for name in ["]]>", "a\nb", "a\u{0}b", "\u{85}\u{2028}", "<Event/>", "ü\u{1f511}", "\u{fffe}"] {
            let attributes = vec![("User-Name", Value::Text(name.into()))];
            let line = Record { attributes, ..record() }.line("vpn", &TimeZone::UTC);
            assert_eq!(line.lines().count(), 1, "{line}");
            let document = roxmltree::Document::parse(&line).unwrap();
            let user = document.descendants().find(|node| node.has_tag_name("User-Name")).unwrap();
            let hex = || name.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
            let expected = if user.attribute("data_type") == Some("1") { name.to_owned() } else { hex() };
            assert_eq!(user.text(), Some(&*expected));
        }
    }

    #[test]
    fn classes_have_the_form_of_nps() {
        assert_eq!(class([192, 0, 2, 1].into(), 1_700_000_000_123, "18bcfe56800-7"), "311 1 192.0.2.1 11/14/2023 22:13:20 7");
    }
}
