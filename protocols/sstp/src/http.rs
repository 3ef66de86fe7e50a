//! The HTTP head before SSTP ([MS-SSTP] 3.2.4.1, 3.3.7.2): one request, one answer, then SSTP packets in both directions.
use httparse::{EMPTY_HEADER, Status};

/// The path of SSTP, between its slashes; clients differ in case and in how they write the braces.
const SERVICE: &str = "sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}";

const METHOD: &str = "SSTP_DUPLEX_POST";

/// The Content-Length of both heads: `u64::MAX`, a body without end. A text, since it fits into few integer types.
const CONTENT_LENGTH: &str = "18446744073709551615";

/// RRAS sends it.
const SERVER: &str = "Microsoft-HTTPAPI/2.0";

/// The longest head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header fields.
pub const MAX_FIELDS: usize = 64;

/// The longest request line, in bytes.
const MAX_REQUEST_LINE: usize = 4096;

/// What the beginning of a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// More bytes are needed; a head that is too long is refused, so that is at most [`MAX_HEAD`].
    Incomplete,
    Request(SstpRequest),
    Refused(Refusal),
}

/// A good request. Answer it with [`accept_response`] or [`busy_response`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SstpRequest {
    /// Bytes of the head; what follows is SSTP already.
    pub consumed: usize,
    /// SSTPCORRELATIONID as `{GUID}`, for MS-RAS-Correlation-ID; `None` when missing or no GUID.
    pub correlation_id: Option<String>,
    /// As sent, printable ASCII.
    pub host: Option<String>,
    /// The URI had a query, which says nothing to us (`?tenantid=`).
    pub has_query: bool,
    /// The correlation id is no GUID in braces, as sstp-client for Linux writes it (`{9A5E1F-3C-7-B2D4}`). That program takes one SSTP
    /// packet out of a TLS record and leaves the rest until the next record comes.
    pub one_packet_a_record: bool,
}

/// A request that gets an error and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status: 400, 401, 404, 405, 414, 431 or 505.
    pub status: u16,
    /// One sentence for the record.
    pub reason: String,
}

impl Refusal {
    /// The answer; close the connection once it has left. `date` is the time as RFC 9110 section 5.6.7 wants it.
    pub fn response(&self, date: &str) -> Vec<u8> {
        let (text, extra) = match self.status {
            401 => ("Unauthorized", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: SSTP_DUPLEX_POST\r\n"),
            414 => ("URI Too Long", ""),
            431 => ("Request Header Fields Too Large", ""),
            505 => ("HTTP Version Not Supported", ""),
            _ => ("Bad Request", ""),
        };
        error_response(self.status, text, extra, date)
    }
}

/// The answer that begins the SSTP packets. `date` is the time as RFC 9110 section 5.6.7 wants it.
pub fn accept_response(date: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {CONTENT_LENGTH}\r\nServer: {SERVER}\r\nDate: {date}\r\n\r\n").into_bytes()
}

/// The answer when there is no free port, so that the client's log shows it; close the connection once it has left.
pub fn busy_response(date: &str) -> Vec<u8> {
    error_response(503, "Service Unavailable", "", date)
}

fn error_response(status: u16, text: &str, extra: &str, date: &str) -> Vec<u8> {
    let rest = format!("{extra}Server: {SERVER}\r\nDate: {date}\r\nConnection: close\r\n\r\n");
    format!("HTTP/1.1 {status} {text}\r\nContent-Length: 0\r\n{rest}").into_bytes()
}

/// The head that a client sends, as Windows writes it, to try whether SSTP is to be had here. `host`: what it dials; `correlation`: random, to find the
/// attempt again.
pub fn request(host: &str, correlation: &[u8; 16]) -> Vec<u8> {
    let digits = |range: std::ops::Range<usize>| correlation[range].iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let guid = [digits(0..4), digits(4..6), digits(6..8), digits(8..10), digits(10..16)].join("-");
    format!("{METHOD} /{SERVICE}/ HTTP/1.1\r\nSSTPCORRELATIONID: {{{guid}}}\r\nContent-Length: {CONTENT_LENGTH}\r\nHost: {host}\r\n\r\n")
        .into_bytes()
}

/// Reads the head at the beginning of `stream`: all bytes that have come so far. Call again with more while [`Head::Incomplete`].
pub fn parse(stream: &[u8]) -> Head {
    let head = &stream[..stream.len().min(MAX_HEAD)];
    if let Some(refused) = refuse_unlike_http(head) {
        return refused;
    }
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(consumed)) => judge(&request, consumed),
        Ok(Status::Partial) if head.len() == MAX_HEAD => refuse(431, format!("the HTTP head has no end within {MAX_HEAD} bytes")),
        Ok(Status::Partial) => Head::Incomplete,
        Err(httparse::Error::TooManyHeaders) => refuse(431, format!("more than {MAX_FIELDS} HTTP header fields")),
        Err(httparse::Error::Version) => refuse(505, format!("another protocol than HTTP/1.1: {}", request_line(head))),
        Err(error) => refuse(400, format!("no HTTP request ({error}): {}", request_line(head))),
    }
}

fn refuse(status: u16, reason: impl Into<String>) -> Head {
    Head::Refused(Refusal { status, reason: reason.into() })
}

/// A request line without end.
fn refuse_unlike_http(head: &[u8]) -> Option<Head> {
    let too_long = head.len() > MAX_REQUEST_LINE && !head[..MAX_REQUEST_LINE].contains(&b'\n');
    too_long.then(|| refuse(414, format!("an HTTP request line longer than {MAX_REQUEST_LINE} bytes")))
}

fn judge(request: &httparse::Request<'_, '_>, consumed: usize) -> Head {
    // A complete request has all three.
    let (method, target, version) = (request.method.unwrap_or_default(), request.path.unwrap_or_default(), request.version);
    let (path, query) = match origin_form(target).split_once('?') {
        Some((path, _)) => (path, true),
        None => (origin_form(target), false),
    };
    if !is_service(path) {
        return refuse(404, format!("{} {} is not the path of SSTP", printable(method), printable(target)));
    }
    match method {
        METHOD if version == Some(1) => sstp_request(request, consumed, query),
        METHOD => refuse(505, format!("{METHOD} with HTTP/1.0; SSTP needs HTTP/1.1")),
        // As RRAS does: monitors of balancers take this status for health.
        "HEAD" | "GET" => refuse(401, format!("{method} on the path of SSTP, as monitors send it; no VPN client")),
        _ => refuse(405, format!("{} on the path of SSTP, which takes {METHOD}", printable(method))),
    }
}

fn sstp_request(request: &httparse::Request<'_, '_>, consumed: usize, has_query: bool) -> Head {
    let mut lengths = fields(request, "Content-Length").peekable();
    if lengths.peek().is_none() {
        return refuse(400, format!("{METHOD} without Content-Length; SSTP sends {CONTENT_LENGTH}"));
    }
    if let Some(wrong) = lengths.find(|value| *value != CONTENT_LENGTH.as_bytes()) {
        let wrong = printable(&String::from_utf8_lossy(wrong));
        return refuse(400, format!("{METHOD} with Content-Length {wrong}; SSTP sends {CONTENT_LENGTH}"));
    }
    let text = |name| fields(request, name).next().map(|value| printable(&String::from_utf8_lossy(value)));
    let correlation_id = fields(request, "SSTPCORRELATIONID").next().and_then(guid);
    let odd = |value: &[u8]| !value.starts_with(b"{") || guid(value).is_none();
    let one_packet_a_record = fields(request, "SSTPCORRELATIONID").next().is_some_and(odd);
    Head::Request(SstpRequest { consumed, correlation_id, host: text("Host"), has_query, one_packet_a_record })
}

/// The values of all fields of this name.
fn fields<'a>(request: &'a httparse::Request<'_, '_>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.trim_ascii())
}

/// The target without scheme and authority, which RFC 9112 section 3.2.2 allows.
fn origin_form(target: &str) -> &str {
    let authority = ["https://", "http://"].iter().find_map(|scheme| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    authority.map_or(target, |rest| rest.find('/').map_or("/", |slash| &rest[slash..]))
}

fn is_service(path: &str) -> bool {
    let bytes = path.as_bytes();
    let Some(mut rest) = bytes.strip_prefix(b"/") else { return false };
    rest = rest.strip_suffix(b"/").unwrap_or(rest);
    for want in SERVICE.bytes() {
        let escaped: &[u8] = match want {
            b'{' => b"%7b",
            b'}' => b"%7d",
            _ => b"",
        };
        let taken = match rest {
            [first, ..] if first.eq_ignore_ascii_case(&want) => 1,
            [a, b, c, ..] if [*a, *b, *c].eq_ignore_ascii_case(escaped) => 3,
            // Some clients leave the braces out.
            _ if !escaped.is_empty() => 0,
            _ => return false,
        };
        rest = &rest[taken..];
    }
    rest.is_empty()
}

/// A GUID with or without braces, with braces.
fn guid(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let well_formed = digits.len() == 36
        && digits.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    well_formed.then(|| format!("{{{digits}}}"))
}

/// What a stranger sent, fit for a record: printable ASCII, and not much of it.
fn printable(text: &str) -> String {
    text.chars().take(100).map(|char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' }).collect()
}

fn request_line(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    format!("\"{}\"", printable(&String::from_utf8_lossy(&line[..line.len().min(200)])))
}

#[cfg(test)]
mod tests;
