//! Server and client over a real socket.
use super::server::{MAX_CLIENTS, MAX_LINE};
use super::types::{AttemptDetail, AttemptSummary, DEFAULT_LIMIT, Outcome, TimelineLine};
use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

fn detail(id: &str) -> AttemptDetail {
    AttemptDetail {
        summary: AttemptSummary {
            id: id.into(),
            started_at: 1_700_000_000,
            client: "[2001:db8::1]:4500".parse().unwrap(),
            user: Some("ann".into()),
            stage: "policy".into(),
            outcome: Outcome::Failed,
            cause: Some("no policy".into()),
        },
        tunnel: "ikev2".into(),
        gateway: "192.0.2.1:500".parse().unwrap(),
        timeline: vec![TimelineLine { at_ms: 12, text: "stage eap".into() }],
        timeline_lost: 0,
        offered: vec!["a/b/c".into()],
        accepted: vec![],
        decision: vec![],
        nps_reason: None,
        windows_code: Some("812".into()),
        fix: None,
    }
}

/// Runs a gateway that knows one attempt, and `check` beside it with the socket's path.
fn with_gateway(check: impl FnOnce(&Path) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = bind(&path).unwrap();
        let (commands, mut requests) = mpsc::channel(4);
        tokio::spawn(serve(listener, commands));
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.recv().await {
                let response = match request {
                    Request::Attempt { id } if id == "1-1" => Response::Attempt(Box::new(detail(&id))),
                    Request::Disconnect { id: Some(id), .. } => Response::Disconnected { ids: vec![id] },
                    other => Response::error(format!("{other:?}")),
                };
                drop(reply.send(response));
            }
        });
        tokio::task::spawn_blocking(move || check(&path)).await.unwrap();
    });
}

/// Sends raw bytes and reads one line.
fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn requests_are_answered() {
    with_gateway(|path| {
        assert_eq!(ask(path, &Request::Attempt { id: "1-1".into() }).unwrap(), Response::Attempt(Box::new(detail("1-1"))));
        assert_eq!(ask(path, &Request::Disconnect { id: Some(7), user: None }).unwrap(), Response::Disconnected { ids: vec![7] });
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    });
}

#[test]
fn a_client_may_send_several_lines() {
    with_gateway(|path| {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(b"{\"command\":\"disconnect\",\"id\":1}\n{\"command\":\"disconnect\",\"id\":2}\n").unwrap();
        let lines: Vec<_> = BufReader::new(stream).lines().take(2).map(Result::unwrap).collect();
        assert_eq!(lines, ["{\"reply\":\"disconnected\",\"ids\":[1]}", "{\"reply\":\"disconnected\",\"ids\":[2]}"]);
    });
}

#[test]
fn defaults_of_a_request() {
    let request: Request = serde_json::from_str("{\"command\":\"attempts\"}").unwrap();
    assert_eq!(request, Request::Attempts { limit: DEFAULT_LIMIT, user: None, failed: false });
    let request: Request = serde_json::from_str("{\"command\":\"status\"}").unwrap();
    assert_eq!(request, Request::Status {});
}

#[test]
fn nonsense_is_answered_with_an_error() {
    with_gateway(|path| {
        for nonsense in [
            &b"hello\n"[..],
            b"{\"command\":\"fly\"}\n",
            b"{\"command\":\"attempt\"}\n",
            b"{\"command\":\"disconnect\",\"usr\":\"bob\"}\n",
            b"\xff\xfe\n",
        ] {
            let answer = raw(path, nonsense);
            assert!(answer.contains("\"reply\":\"error\"") && answer.contains("not understood"), "{answer}");
        }
        let long = vec![b'x'; MAX_LINE as usize];
        assert!(raw(path, &long).contains("longer than"));
        assert!(ask(path, &Request::Status {}).is_ok(), "the server lives on");
    });
}

#[test]
fn clients_are_bounded_and_places_come_free() {
    with_gateway(|path| {
        // A place is taken once the first answer has come.
        let mut clients: Vec<_> = (0..MAX_CLIENTS)
            .map(|_| {
                let mut stream = UnixStream::connect(path).unwrap();
                stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
                let mut reader = BufReader::new(stream);
                reader.read_line(&mut String::new()).unwrap();
                reader
            })
            .collect();
        assert!(matches!(ask(path, &Request::Status {}), Err(AskError::Silent { .. })));
        clients.clear();
        let again = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            ask(path, &Request::Status {}).is_ok()
        });
        assert!(again);
    });
}

#[test]
fn a_missing_or_dead_gateway_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("control.sock");
    let missing = ask(&path, &Request::Status {}).unwrap_err();
    assert!(matches!(missing, AskError::NotRunning(_)) && missing.to_string().contains("evergate run"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(ask(&path, &Request::Status {}), Err(AskError::Stale(_))));
}

#[test]
fn only_a_dead_socket_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let living = bind(&path).expect("a stale socket is replaced");
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another gateway is running"), "{error}");
        drop(living);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("is no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    });
}
