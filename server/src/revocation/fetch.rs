//! GET of a file over plain HTTP. Revocation lists are signed: TLS would add nothing, and its certificate would need a list of its own.
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest list that is taken.
pub const MAX_LIST: usize = 32 << 20;
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// From the name's look-up to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// `http://host[:port]/path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    text: String,
    host: String,
    port: u16,
    path: String,
}

impl HttpUrl {
    /// The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err("is no http:// URL (lists are signed, so plain HTTP is safe; a list in LDAP can be exported to a file)".into());
        };
        Self::read(text, rest, 80)
    }

    /// One that begins with `https://`. Whoever asks brings TLS along: [`Self::get`] and [`Self::status`] have none. The error says what is wrong.
    pub fn parse_secure(text: &str) -> Result<Self, String> {
        Self::read(text, text.strip_prefix("https://").ok_or("is no https:// URL")?, 443)
    }

    fn read(text: &str, rest: &str, default_port: u16) -> Result<Self, String> {
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '#' | '"' | '<' | '>' | '\\')) {
            return Err(format!("holds {odd:?}, which must not stand in a URL as it is"));
        }
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("has no port {port:?}"))?),
            None => (authority, default_port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_name = bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        if bare.is_empty() || !(is_name || bare.parse::<std::net::Ipv6Addr>().is_ok()) {
            return Err(format!("names no host ({authority:?})"));
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { text: text.to_owned(), host: bare.to_owned(), port, path: path.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, as a request names them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// The body of the answer. Redirects are not followed: whoever publishes the list can name its place.
    pub async fn get(&self) -> Result<Vec<u8>, String> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange()).await;
        body(&answer.map_err(|_| format!("no complete answer within {} s", PATIENCE.as_secs()))??)
    }

    /// The status of whatever answer comes.
    pub async fn status(&self) -> Result<u16, String> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange()).await;
        let answer = answer.map_err(|_| format!("no complete answer within {} s", PATIENCE.as_secs()))??;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        match head.parse(&answer[..answer.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(_)) => Ok(head.code.unwrap_or_default()),
            _ => Err("the answer is no HTTP".into()),
        }
    }

    async fn exchange(&self) -> Result<Vec<u8>, String> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let mut stream = connected.map_err(|error| format!("no connection to port {}: {error}", self.port))?;
        let host = self.authority();
        // Version 1.0, so that the answer ends with the connection and comes in one piece.
        let request = format!(
            "GET {} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: evergate/{}\r\nAccept: */*\r\nCache-Control: no-cache\r\n\r\n",
            self.path,
            env!("CARGO_PKG_VERSION"),
        );
        let failed = |error: std::io::Error| format!("the connection broke: {error}");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        let limit = u64::try_from(MAX_HEAD + MAX_LIST + 1).unwrap_or(u64::MAX);
        stream.take(limit).read_to_end(&mut answer).await.map_err(failed)?;
        Ok(answer)
    }
}

fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(len)) = head.parse(&answer[..answer.len().min(MAX_HEAD)]) else {
        return Err("the answer is no HTTP".into());
    };
    let status = head.code.unwrap_or_default();
    if status != 200 {
        let redirected = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("location"));
        let to = redirected.map_or_else(String::new, |to| format!(" to {:?}: name that place", String::from_utf8_lossy(to.value)));
        return Err(format!("the server answers with status {status}{to}"));
    }
    let body = &answer[len..];
    if body.len() > MAX_LIST {
        return Err(format!("is larger than {} MiB", MAX_LIST >> 20));
    }
    let announced = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let announced = announced.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    match announced {
        Some(whole) if whole > body.len() => Err(format!("the answer breaks off after {} of {whole} bytes", body.len())),
        Some(whole) => Ok(body[..whole].to_vec()),
        None => Ok(body.to_vec()),
    }
}
