//! Server and client over a real socket.
use super::access::Door;
use super::request::Refusal;
use super::server::{Front, MAX_BODY, MAX_CLIENTS, MAX_STRANGERS_PER_SOURCE, PATIENCE, Patience, serve, serve_strangers};
use super::types::{AttemptDetail, AttemptSummary, Counters, Disconnected, Event, Health, Outcome, SessionList, TimelineLine};
use super::*;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
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
        received: vec![],
        nps_reason: None,
        windows_code: Some("812".into()),
        fix: None,
    }
}

fn reply(request: Request) -> Response {
    match request {
        Request::Attempt { id } if id == "1-1" => Response::Attempt(Box::new(detail(&id))),
        Request::Disconnect(Disconnect { id: Some(id), .. }) => Response::Disconnected(Disconnected { ids: vec![id], blocks: vec![] }),
        Request::Live => Response::Health(Health { ok: true, reasons: vec![] }),
        Request::Ready => Response::Health(Health { ok: false, reasons: vec!["nobody is there".into()] }),
        Request::Sessions(_) => Response::Sessions(SessionList::default()),
        Request::Metrics => Response::Metrics("# EOF\n".into()),
        Request::Events { feed } => {
            for at in 0..1_000 {
                assert!(feed.send(&Event::Counters(Counters { at, ..Counters::default() })));
            }
            Response::Done(types::Done {})
        }
        other => Response::refused(Refusal::Conflict, format!("{other:?}"), "ask otherwise"),
    }
}

/// Runs a gateway that knows one attempt, and `check` beside it with the socket's path.
fn with_patience(patience: Patience, check: impl FnOnce(&Path) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = bind(&path, Operators::default()).unwrap();
        let (commands, mut requests) = mpsc::channel(4);
        tokio::spawn(serve(listener, Front::new(commands, patience, Arc::default()), Door::Socket));
        tokio::spawn(async move {
            while let Some((request, answer)) = requests.recv().await {
                let answer: tokio::sync::oneshot::Sender<Response> = answer;
                drop(answer.send(reply(request)));
            }
        });
        tokio::task::spawn_blocking(move || check(&path)).await.unwrap();
    });
}

fn with_gateway(check: impl FnOnce(&Path) + Send + 'static) {
    with_patience(PATIENCE, check);
}

/// Sends raw bytes and reads until the gateway closes.
fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may have said enough before the end of this.
    drop(stream.write_all(bytes));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

fn get(path: &Path, what: &str) -> String {
    raw(path, format!("GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

fn soon(mut check: impl FnMut() -> bool) -> bool {
    (0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        check()
    })
}

#[test]
fn requests_are_answered() {
    with_gateway(|path| {
        assert_eq!(ask::<AttemptDetail>(path, &Call::get("/v1/attempts/1-1")).unwrap(), detail("1-1"));
        let order = Call::post("/v1/sessions/disconnect", &Disconnect { id: Some(7), ..Disconnect::default() }).unwrap();
        assert_eq!(ask::<Disconnected>(path, &order).unwrap(), Disconnected { ids: vec![7], blocks: vec![] });
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    });
}

#[test]
fn the_console_is_for_anybody_and_the_caller_is_known() {
    with_gateway(|path| {
        let (head, body) = get(path, "/").split_once("\r\n\r\n").map(|(head, body)| (head.to_lowercase(), body.to_owned())).unwrap();
        assert!(head.starts_with("http/1.1 200") && head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(body.starts_with("<!doctype html>"), "{body}");
        let caller = ask::<types::Caller>(path, &Call::get("/v1/caller")).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("control socket", types::CallerRole::Operate));
    });
}

#[test]
fn refusals_say_what_to_do() {
    with_gateway(|path| {
        let refused = |call: &Call| match ask::<SessionList>(path, call).unwrap_err() {
            AskError::Refused(problem) => problem,
            other => panic!("{other}"),
        };
        assert_eq!(refused(&Call::get("/v1/attempts/a%20b")).error, "Attempt { id: \"a b\" }");
        let unknown = refused(&Call::get("/v1/session"));
        assert_eq!(unknown.to_string(), "there is nothing at \"/v1/session\"; GET /openapi.json tells what there is and what it takes");
        assert_eq!(refused(&Call::delete("/v1/status")).remedy, "use GET");
        let wrong = refused(&Call::get("/v1/sessions?colour=red"));
        assert!(wrong.error.contains("unknown field `colour`") && wrong.error.contains("`search`"), "{wrong}");
        let wrong = refused(&Call::post("/v1/drain", &serde_json::json!({ "within_secs": "soon" })).unwrap());
        assert!(wrong.error.contains("expected u64"), "{wrong}");
        assert!(refused(&Call::get("/v1/sessions/first")).error.contains("\"first\""));
    });
}

#[test]
fn statuses_are_those_of_http() {
    with_gateway(|path| {
        for (what, status) in [
            ("/healthz", 200),
            ("/readyz", 503),
            ("/openapi.json", 200),
            ("/v1/sessions?limit=5", 200),
            ("/v1/nothing", 404),
            ("/v1/sessions/x", 404),
            ("/v1/drain", 405),
            ("/v1/sessions?limit=-1", 400),
            ("/v1/pools", 409),
        ] {
            let answer = get(path, what);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        }
        assert!(get(path, "/readyz").ends_with("{\"ok\":false,\"reasons\":[\"nobody is there\"]}"));
    });
}

#[test]
fn a_client_may_ask_again_on_its_connection() {
    with_gateway(|path| {
        let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert_eq!(raw(path, format!("{one}{one}{last}").as_bytes()).matches("HTTP/1.1 200 OK").count(), 3);
    });
}

#[test]
fn clients_are_bounded_in_size_number_and_time() {
    let quick = Duration::from_millis(200);
    with_patience(Patience { head: quick, body: quick, read: quick }, |path| {
        let post = |more: &str| raw(path, format!("POST /v1/sessions/disconnect HTTP/1.1\r\nHost: x\r\n{more}").as_bytes());
        let json = "Content-Type: application/json\r\n";
        let long = "x".repeat(MAX_BODY + 1);
        assert!(post(&format!("{json}Content-Length: {}\r\n\r\n{long}", long.len())).starts_with("HTTP/1.1 413 "));
        assert!(post("Content-Length: 2\r\n\r\n{}").starts_with("HTTP/1.1 415 "), "a form of a stranger's page is no order");
        assert!(post(&format!("{json}Content-Length: 9\r\n\r\n{{")).starts_with("HTTP/1.1 408 "), "half a body");
        assert!(get(path, &format!("/{}", "x".repeat(100_000))).starts_with("HTTP/1.1 431 "));
        // A head that comes byte by byte ends with the connection.
        assert!(!raw(path, b"GET /healthz HTTP/1.1\r\nHost:").contains("200 OK"));
        let silent: Vec<_> = (0..MAX_CLIENTS).map(|_| UnixStream::connect(path).unwrap()).collect();
        // They lose their places to those who ask.
        assert!(soon(|| get(path, "/healthz").starts_with("HTTP/1.1 200 ")));
        drop(silent);
    });
}

#[test]
fn too_many_clients_are_turned_away() {
    with_gateway(|path| {
        let mut held: Vec<_> = (0..MAX_CLIENTS).map(|_| UnixStream::connect(path).unwrap()).collect();
        let error = ask::<Health>(path, &Call::get("/healthz")).unwrap_err();
        assert!(matches!(&error, AskError::Silent { .. }), "{error}");
        held.pop();
        assert!(soon(|| ask::<Health>(path, &Call::get("/healthz")).is_ok()));
    });
}

#[test]
fn what_happens_is_told_and_what_is_missed_is_counted() {
    with_gateway(|path| {
        let (mut told, mut missed) = (0, 0);
        follow::<Event>(path, &Call::get("/v1/events"), |event| {
            match event {
                Told::It(Event::Counters(_)) => told += 1,
                Told::It(other) => panic!("{other:?}"),
                Told::Missed(number) => missed += number,
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((told, missed), (256, 744));
        let request = b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n";
        let events = raw(path, request);
        assert!(events.contains("text/event-stream") && events.contains("data: {\"event\":\"counters\",\"at\":0,"), "{events}");
    });
}

#[test]
fn where_metrics_are_served_there_is_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (commands, mut requests) = mpsc::channel::<(Request, tokio::sync::oneshot::Sender<Response>)>(4);
        tokio::spawn(serve(listener, Front::new(commands, PATIENCE, Arc::default()), Door::Metrics));
        tokio::spawn(async move {
            while let Some((request, answer)) = requests.recv().await {
                drop(answer.send(reply(request)));
            }
        });
        let get = move |what: &str| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let asked = tokio::task::spawn_blocking(move || {
            let metrics = get("/metrics");
            assert!(metrics.contains("application/openmetrics-text") && metrics.ends_with("\r\n\r\n# EOF\n"), "{metrics}");
            assert!(get("/healthz").starts_with("HTTP/1.1 200 "));
            for hidden in ["/v1/status", "/v1/sessions", "/openapi.json", "/v1/events"] {
                assert!(get(hidden).starts_with("HTTP/1.1 404 "), "{hidden}");
            }
        });
        asked.await.unwrap();
    });
}

/// Whoever holds connections without a word keeps nobody else from asking, and is counted.
#[test]
fn one_source_does_not_take_all_places_of_strangers() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (commands, mut requests) = mpsc::channel::<(Request, tokio::sync::oneshot::Sender<Response>)>(4);
        let refusals = Arc::new(Refusals::default());
        tokio::spawn(serve_strangers(listener, Front::new(commands, PATIENCE, Arc::clone(&refusals))));
        tokio::spawn(async move {
            while let Some((request, answer)) = requests.recv().await {
                drop(answer.send(reply(request)));
            }
        });
        let dial = async |from: &str| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut held = Vec::new();
        for _ in 0..MAX_STRANGERS_PER_SOURCE + 76 {
            held.push(dial("127.0.0.2").await);
        }
        let mut asks = dial("127.0.0.3").await;
        asks.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(refusals.named()[3], ("full", 76));
    });
}

#[test]
fn a_gateway_that_is_not_there_is_told_from_one_that_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let asked = |path: &Path| ask::<Health>(path, &Call::get("/healthz")).unwrap_err();
    assert!(matches!(asked(&path), AskError::NotRunning(_)));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(asked(&path), AskError::Stale(_)));
    let silent = folder.path().join("silent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let gone = std::thread::spawn(move || drop(listener.accept()));
    assert!(matches!(asked(&silent), AskError::Silent { .. }));
    gone.join().unwrap();
}

#[test]
fn the_document_names_every_route_and_every_field() {
    let document = openapi::document();
    for route in routes::ROUTES.iter() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.name, "{} {}", route.method, route.path);
        assert!(route.path.contains("{id}") == route.id.is_some(), "{}", route.path);
    }
    let names: std::collections::BTreeSet<_> = routes::ROUTES.iter().map(|route| route.name).collect();
    assert_eq!(names.len(), routes::ROUTES.len(), "two routes of one name");
    let parameters = document["paths"]["/v1/sessions"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["after", "limit", "search", "user"]);
    // What is really sent has no field that the document does not know, and every reference leads somewhere.
    let shape = &document["components"]["schemas"]["AttemptDetail"]["properties"];
    for field in serde_json::to_value(detail("1-1")).unwrap().as_object().unwrap().keys() {
        assert!(shape[field].is_object(), "{field}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]) {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

/// Who may give orders need not be who reads the gateway's keys.
#[test]
fn the_socket_is_for_the_operators_group() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let operators = Operators { group: Some(12_345), is_named: true };
        if net::privileges::effective_uid() != 0 {
            assert!(bind(&path, operators).unwrap_err().to_string().contains("control_group"));
            return;
        }
        drop(bind(&path, operators).unwrap());
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!((facts.gid(), facts.mode() & 0o777), (12_345, 0o660));
    });
}

#[test]
fn socket_files_are_replaced_only_when_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        std::fs::write(&path, "no socket").unwrap();
        assert!(bind(&path, Operators::default()).unwrap_err().to_string().contains("is no socket"));
        std::fs::remove_file(&path).unwrap();
        let first = bind(&path, Operators::default()).unwrap();
        assert!(bind(&path, Operators::default()).unwrap_err().to_string().contains("another gateway is running"));
        drop(first);
        bind(&path, Operators::default()).unwrap();
    });
}
