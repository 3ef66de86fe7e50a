//! What strangers send to the port: no TLS, other HTTP.

use sstp_client::error::{Error, Result};
use sstp_client::http::{self, CONTENT_LENGTH, PATH};
use sstp_client::transport::{Received, Transport};
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::misbehave::{Saw, excerpt, garbage, since};
use crate::options::{Case, Misbehave};

/// Runs a case of this kind. The inner `Err` hands back what is none.
pub(crate) fn run(options: &Misbehave, mut saw: Saw) -> Result<std::result::Result<Saw, Saw>> {
    let host = &options.login.server_name;
    let request = match options.case {
        Case::TlsGarbage => garbage(),
        Case::PlainHttp | Case::HttpGet => format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
        Case::HttpHead => format!("HEAD {PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
        Case::HttpPost => format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nabcd").into_bytes(),
        Case::HttpWrongPath => head("/other/", "HTTP/1.1", host),
        Case::HttpWrongVersion => head(PATH, "HTTP/1.0", host),
        Case::HugeHeaders => huge(host),
        Case::SlowHttp => head(PATH, "HTTP/1.1", host),
        _ => return Ok(Err(saw)),
    };
    let transport = &options.login.options(0).transport;
    let bare = matches!(options.case, Case::TlsGarbage | Case::PlainHttp);
    let mut connection = if bare { Transport::connect_tcp(transport)? } else { Transport::connect(transport)? };
    let started = Instant::now();
    let deadline = started + Duration::from_secs_f64(options.watch);
    match options.case {
        Case::SlowHttp => slowly(&mut connection, &request, deadline, &mut saw),
        _ if bare => connection.socket.write_all(&request).map_err(|error| Error::Setup(error.to_string()))?,
        // A server may close before it has read all: that is an answer, too.
        _ => {
            if let Err(error) = connection.send(&request) {
                saw.messages.push(format!("while sending: {error}"));
            }
        }
    }
    watch(&mut connection, started, deadline, &mut saw)?;
    Ok(Ok(saw))
}

fn head(path: &str, version: &str, host: &str) -> Vec<u8> {
    format!("SSTP_DUPLEX_POST {path} {version}\r\nHost: {host}\r\nContent-Length: {CONTENT_LENGTH}\r\n\r\n").into_bytes()
}

fn huge(host: &str) -> Vec<u8> {
    let mut head = format!("SSTP_DUPLEX_POST {PATH} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    for index in 0..16 * 1024 {
        head.extend(format!("X-Filler-{index:05}: {}\r\n", "x".repeat(46)).bytes());
    }
    head.extend(b"\r\n");
    head
}

fn slowly(connection: &mut Transport, request: &[u8], deadline: Instant, saw: &mut Saw) {
    for (index, byte) in request.iter().enumerate() {
        if connection.send(&[*byte]).is_err() || Instant::now() >= deadline {
            saw.messages.push(format!("{index} of {} bytes were sent", request.len()));
            return;
        }
        let pause = Instant::now() + Duration::from_millis(200);
        if matches!(connection.receive(pause), Ok(Received::Closed(_)) | Err(_)) {
            saw.messages.push(format!("closed after {} of {} bytes", index + 1, request.len()));
            return;
        }
    }
}

fn watch(connection: &mut Transport, started: Instant, deadline: Instant, saw: &mut Saw) -> Result<()> {
    loop {
        match connection.receive(deadline) {
            Ok(Received::Bytes) => {}
            Ok(Received::Timeout) => break,
            Ok(Received::Closed(how)) => {
                saw.closed = Some(how);
                saw.closed_ms = Some(since(started));
                break;
            }
            Err(error) => {
                saw.error = Some(error.to_string());
                break;
            }
        }
    }
    if connection.incoming.is_empty() {
        return Ok(());
    }
    saw.messages.push(excerpt(&connection.incoming));
    match http::response(&connection.incoming) {
        Ok(Some((response, length))) => {
            saw.http_status = Some(response.status);
            saw.http_body = Some(connection.incoming.len() - length);
            let headers = response.headers.iter().map(|(name, value)| format!("{name}: {value}"));
            saw.messages.push(headers.collect::<Vec<_>>().join("; "));
        }
        Ok(None) => saw.messages.push("no complete HTTP answer".into()),
        Err(error) => saw.messages.push(error.to_string()),
    }
    Ok(())
}
