//! The HTTP layer of SSTP ([MS-SSTP] 3.2.4.1): one request head, one response head.

use crate::error::{Error, Result, Stage};

/// The path that SSTP is spoken on.
pub const PATH: &str = "/sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/";
/// Content-Length of both directions: the largest unsigned number of 64 bits.
pub const CONTENT_LENGTH: u64 = u64::MAX;
/// No response head is longer.
pub const MAX_HEAD: usize = 16 * 1024;

/// Whose request head to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Windows: correlation id first, braces and upper case.
    #[default]
    Windows,
    /// sstp-client of Linux: Host first, GUID in lower case without braces.
    Sstpc,
    /// Line ends without carriage return.
    LfOnly,
    /// Windows with `?tenantid=..` behind the path.
    Query,
}

/// The request head.
pub fn request(style: Style, host: &str, correlation: &[u8; 16]) -> Vec<u8> {
    let guid = guid(correlation);
    let text = match style {
        Style::Windows => windows(PATH, host, &guid),
        Style::Query => windows(&format!("{PATH}?tenantid=example"), host, &guid),
        Style::LfOnly => windows(PATH, host, &guid).replace("\r\n", "\n"),
        Style::Sstpc => format!(
            "SSTP_DUPLEX_POST {PATH} HTTP/1.1\r\nHost: {host}\r\nSSTPCORRELATIONID: {}\r\nContent-Length: {CONTENT_LENGTH}\r\n\r\n",
            guid.to_lowercase()
        ),
    };
    text.into_bytes()
}

fn windows(path: &str, host: &str, guid: &str) -> String {
    format!("SSTP_DUPLEX_POST {path} HTTP/1.1\r\nSSTPCORRELATIONID: {{{guid}}}\r\nContent-Length: {CONTENT_LENGTH}\r\nHost: {host}\r\n\r\n")
}

/// The bytes as Windows prints a GUID: its first three fields are little-endian.
pub fn guid(bytes: &[u8; 16]) -> String {
    let number = |range: std::ops::Range<usize>| bytes[range].iter().rev().map(|byte| format!("{byte:02X}")).collect::<String>();
    let plain = |range: std::ops::Range<usize>| bytes[range].iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    format!("{}-{}-{}-{}-{}", number(0..4), number(4..6), number(6..8), plain(8..10), plain(10..16))
}

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line.
    pub line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The response head at the start of `bytes` and its length; `None` until it is complete.
pub fn response(bytes: &[u8]) -> Result<Option<(Response, usize)>> {
    let wrong = |what: String| Error::protocol(Stage::Http, what);
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > MAX_HEAD {
            return Err(wrong(format!("no end of the response head after {MAX_HEAD} bytes")));
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong("the response head is not text".into()))?;
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| wrong(format!("status line {line:?}")))?;
    let headers = lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains(' ') => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
            _ => Err(wrong(format!("header line {line:?}"))),
        })
        .collect::<Result<_>>()?;
    Ok(Some((Response { status, line, headers }, end + 4)))
}

/// Whether the head is the one that begins SSTP.
pub fn check_accepted(head: &Response) -> Result<()> {
    if head.status != 200 {
        return Err(Error::Refused { stage: Stage::Http, what: head.line.clone(), code: Some(head.status.into()) });
    }
    let length = head.header("content-length").unwrap_or("none");
    if length != CONTENT_LENGTH.to_string() {
        return Err(Error::protocol(Stage::Http, format!("Content-Length of the 200 is {length}, not {CONTENT_LENGTH}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [0x35, 0x24, 0xb8, 0x48, 0x9a, 0x09, 0x58, 0x41, 0xa9, 0x87, 0x05, 0x2e, 0x75, 0x70, 0xcf, 0xaa];

    #[test]
    fn the_head_of_the_specification() {
        let expected = "SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\n\
            SSTPCORRELATIONID: {48B82435-099A-4158-A987-052E7570CFAA}\r\n\
            Content-Length: 18446744073709551615\r\nHost: vpn.example.com\r\n\r\n";
        assert_eq!(request(Style::Windows, "vpn.example.com", &ID), expected.as_bytes());
        let lf = request(Style::LfOnly, "vpn.example.com", &ID);
        assert!(!lf.contains(&b'\r') && lf.ends_with(b"\n\n"));
        assert!(String::from_utf8(request(Style::Query, "h", &ID)).unwrap().contains("/?tenantid="));
        assert!(String::from_utf8(request(Style::Sstpc, "h", &ID)).unwrap().contains("\r\nSSTPCORRELATIONID: 48b82435-"));
    }

    #[test]
    fn a_response_is_read_to_the_byte() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nServer: x\r\n\r\n\x10\x01";
        assert_eq!(response(&bytes[..30]).unwrap(), None);
        let (head, length) = response(bytes).unwrap().unwrap();
        assert_eq!((head.status, length), (200, bytes.len() - 2));
        check_accepted(&head).unwrap();
    }

    #[test]
    fn another_answer_is_a_refusal_or_a_fault() {
        let head = |text: &str| response(text.as_bytes()).map(|found| found.unwrap().0);
        let refused = check_accepted(&head("HTTP/1.1 404 Not Found\r\n\r\n").unwrap()).unwrap_err();
        assert_eq!((refused.kind(), refused.code()), ("refused", Some(404)));
        assert_eq!(check_accepted(&head("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").unwrap()).unwrap_err().kind(), "protocol");
        assert!(head("HTTP/2 200\r\n\r\n").is_err());
        assert!(head("HTTP/1.1 200 OK\r\nno colon\r\n\r\n").is_err());
    }
}
