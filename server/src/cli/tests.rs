//! The command line from its words to what it prints and its exit code.
use super::text::{self, Mark, cell, count};
use super::*;
use crate::api::types::{
    AccountingStatus, AttemptDetail, AttemptList, AttemptSummary, Block, BlockList, Blocked, DataplaneStatus, Disconnected, Done,
    DrainStatus, EapCertificate, Explanation, Judged, JudgedList, ListenerStatus, LocalStatus, LockoutStatus, NpsLogStatus, Outcome,
    PoolStatus, RadiusStatus, Reloaded, RevocationList, RevocationStatus, Session, SessionList, SocketStatus, Status, TelemetryStatus,
    TimelineLine, Verdict,
};
use crate::api::{AttemptsQuery, Disconnect, Drain, ExplainQuery, Refusal, Reload, Request, Response, TraceQuery};
use crate::certificates::Expiry;
use crate::config::{Change, KeyChange, What};
use crate::explain::numbers::Commands;
use clap::{CommandFactory as _, Parser as _};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// Exit code, standard output, standard error.
fn evergate(words: &[&str]) -> (u8, String, String) {
    let cli = Cli::try_parse_from(["evergate"].iter().chain(words)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let Command::Ask(question) = &cli.command else { panic!("{words:?} is no question") };
    let code = answer(&cli, question, &mut out, &mut err, false).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn summary(outcome: Outcome) -> AttemptSummary {
    AttemptSummary {
        id: "65a1b2c3-17".into(),
        started_at: 1_700_000_000,
        client: "203.0.113.9:4500".parse().unwrap(),
        user: Some("ann\u{1b}[31m".into()),
        stage: "policy".into(),
        outcome,
        cause: Some("none of 1 network policies matches (default deny)".into()),
    }
}

fn block() -> Block {
    Block {
        id: 3,
        who: Blocked::User("ann".into()),
        reason: Some("lost laptop".into()),
        added_at: 1_700_000_000,
        until: Some(1_700_000_900),
        names: Vec::new(),
        unjudged: 0,
    }
}

fn page() -> SessionList {
    SessionList { sessions: vec![session()], total: 1, next: None }
}

fn session() -> Session {
    Session {
        id: 17,
        attempt: "65a1b2c3-17".into(),
        user: "bob".into(),
        policy: "staff".into(),
        tunnel: "ikev2".into(),
        client: "203.0.113.9:4500".parse().unwrap(),
        inner: vec!["10.98.0.10".parse().unwrap(), "fd98::10".parse().unwrap()],
        networks: vec!["10.9.0.0/16".into()],
        connected_at: 1_700_000_000,
        since_secs: 3_725,
        ike_suite: "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384".into(),
        esp_suite: "AES_GCM_16_256".into(),
        nat: "client".into(),
        tls: None,
        certificate: Some("vpn".into()),
        ike_rekeyed_at: None,
        child_rekeyed_at: Some(1_700_003_420),
        silent_since: None,
        resting_since: None,
        octets_in: 1_536,
        octets_out: 5 << 30,
        packets_in: 12,
        packets_out: 99,
        filters: vec!["servers".into(), "NAS-Filter-Rule".into()],
        rate_limit_in: None,
        rate_limit_out: Some(20_000_000),
        filtered_in: 3,
        filtered_out: 0,
        rate_limited: 7,
        radius: Some("nps1".into()),
    }
}

fn status() -> Status {
    let counters = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<BTreeMap<_, _>>();
    Status {
        version: "0.1.0".into(),
        name: "vpn.example.test".into(),
        pid: 42,
        started_at: 1_700_000_000,
        uptime_secs: 90_000,
        sessions: 3,
        half_open: 1,
        drain: None,
        listeners: vec![ListenerStatus {
            name: "ikev2".into(),
            protocol: "ikev2".into(),
            sockets: vec![SocketStatus { address: "[::]:500".parse().unwrap(), packets: 1_234 }],
        }],
        revocation: vec![
            RevocationStatus {
                source: "http://ca.example.com/ca.crl".into(),
                list: Some(RevocationList {
                    issuer: "CN=Example CA".into(),
                    entries: 12,
                    issued_at: 1_700_000_000,
                    next_update: 1_700_600_000,
                    secs_left: -5,
                }),
                trouble: None,
            },
            RevocationStatus {
                source: "/etc/evergate/ca.crl".into(),
                list: None,
                trouble: Some("cannot be read: No such file or directory (os error 2)".into()),
            },
        ],
        radius: vec![RadiusStatus {
            name: "nps1".into(),
            address: "10.0.0.4:1812".parse().unwrap(),
            groups: vec!["corp".into()],
            radius_version: Some("1.1".into()),
            ignored: vec!["Framed-Route".into()],
            standing: "dead".into(),
            since_secs: Some(90),
            round_trip_ms: Some(12),
            in_flight: 2,
            counters: counters(&[("sent", 9), ("accepted", 8), ("timeouts", 1), ("dropped_authenticator", 2), ("dropped_source", 0)]),
        }],
        certificates: vec![Expiry { name: "vpn".into(), subject: "CN=vpn.example.com".into(), not_after: 1_790_000_000, days_left: 12 }],
        local: Some(LocalStatus {
            users_file: "/etc/evergate/users".into(),
            users: 5,
            disabled: 1,
            groups: counters(&[("kiosk", 1), ("staff", 3)]),
            lockouts: vec![
                LockoutStatus { user: Some("al\u{1b}ice".into()), source: Some("192.0.2.7".into()), rest_secs: 90 },
                LockoutStatus { user: None, source: Some("2001:db8::".into()), rest_secs: 5 },
            ],
            more_lockouts: 7,
            failure: Some("line 3: user \"bob\" stands above already".into()),
        }),
        eap_certificates: vec![EapCertificate {
            radius: "nps1".into(),
            subject: "CN=nps1.example.com".into(),
            issuer: "CN=Example CA".into(),
            not_after: 1_790_000_000,
        }],
        accounting: Some(AccountingStatus {
            queued: 3,
            oldest_secs: Some(400),
            open: 2,
            confirmed: 40,
            radius_failure: Some("no answer".into()),
            ..AccountingStatus::default()
        }),
        nps_log: Some(NpsLogStatus {
            file: Some("/var/log/evergate/IN2611.log".into()),
            written: 40,
            waiting: 3,
            dropped: 0,
            failure: Some("No space left on device".into()),
        }),
        telemetry: Some(TelemetryStatus { exported: 12, dropped: 5, failure: None }),
        pools: vec![PoolStatus { pool: "users".into(), family: "IPv6".into(), used: 250, size: u64::MAX }],
        dataplane: DataplaneStatus { drops: counters(&[("replayed", 4), ("no_tunnel", 0)]), ..DataplaneStatus::default() },
        ike: counters(&[("malformed", 0)]),
        sstp: std::collections::BTreeMap::new(),
        dynamic: counters(&[("requests", 2), ("dropped_stale", 1)]),
    }
}

fn reloaded(wanted: Reload) -> Reloaded {
    let key = |key: &str, before: Option<&str>, after: Option<&str>, content| KeyChange {
        key: key.into(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
        content,
    };
    let change = |section: &str, change, keys: &[KeyChange]| Change { section: section.into(), change, keys: keys.to_vec() };
    let file = Some("/etc/evergate/nps1.secret");
    Reloaded {
        changes: vec![
            change("radius \"nps1\"", What::Changed, &[key("secret_file", file, file, true), key("port", None, Some("1645"), false)]),
            change("pool \"old\"", What::Removed, &[]),
        ],
        needs_restart: vec![change("server", What::Changed, &[key("mtu", Some("1400"), Some("1300"), false)])],
        warnings: vec!["pool \"old\" is gone: 1 IPv4 addresses of it stay".into()],
        judged: [Judged {
            id: 17,
            attempt: "65a1b2c3-17".into(),
            user: "bob".into(),
            policy: "staff".into(),
            verdict: Verdict::Refused,
            cause: "network policy \"nobody\" denies".into(),
            only_login: Vec::new(),
        }]
        .into_iter()
        .chain([Judged {
            id: 18,
            attempt: "65a1b2c3-18".into(),
            user: "eve".into(),
            policy: "staff".into(),
            verdict: Verdict::Otherwise,
            cause: "the same policy gives it other settings: filters, dns".into(),
            only_login: vec!["dns".into()],
        }])
        .collect(),
        applied: if wanted.apply_to_sessions { vec![18] } else { Vec::new() },
        ended: if wanted.end_refused { vec![17] } else { Vec::new() },
    }
}

#[test]
fn a_reload_says_what_it_has_done() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["reload"]);
        assert_eq!(code, OK);
        for expected in [
            "reloaded: 2 changes have taken effect\n",
            "  ~ radius \"nps1\" changed: secret_file (what /etc/evergate/nps1.secret holds), port = 1645\n  - pool \"old\" removed\n",
            "\nNeeds a restart; until then it stays as it was\n  ~ server changed: mtu: 1400 -> 1300\n",
            "\nWarnings\n  pool \"old\" is gone",
            "now (evergate reload --apply-to-sessions gives them what takes no other login; evergate reload --end-refused ends those that are refused)\n",
            "18  eve   staff       otherwise  the same policy gives it other settings: filters, dns; only another login brings dns\n",
            "17  bob   staff       refused    network policy \"nobody\" denies\n",
        ] {
            assert!(out.contains(expected), "{expected}\n{out}");
        }
        let (_, out, _) = evergate(&["reload", "--end-refused"]);
        assert!(out.ends_with("\n1 session is being ended\n") && !out.contains("--end-refused"), "{out}");
        let (_, out, _) = evergate(&["reload", "--apply-to-sessions"]);
        assert!(out.contains("18  eve   staff       applied  ") && !out.contains("--apply-to-sessions"), "{out}");
        assert!(out.ends_with("\n1 session has what the policies say now\n"), "{out}");
        assert!(evergate(&["sessions", "--would-refuse"]).1.contains("17  bob   staff       refused"));
        let (_, out, _) = evergate(&["reload", "--json"]);
        assert_eq!(serde_json::from_str::<Reloaded>(&out).unwrap(), reloaded(Reload::default()));
    });
}

fn reply_to(request: Request) -> Response {
    match request {
        Request::Status => Response::Status(Box::new(status())),
        Request::Sessions(_) => Response::Sessions(page()),
        Request::Session { id: 17 } => Response::Session(Box::new(session())),
        Request::Session { id } => Response::refused(Refusal::NotFound, format!("no session has the number {id}"), "look at the list"),
        Request::Disconnect(Disconnect { user: Some(_), .. }) => {
            Response::refused(Refusal::NotFound, "no such session is up", "look at the list")
        }
        Request::Disconnect(Disconnect { id: Some(17), hold_secs: Some(900), .. }) => {
            Response::Disconnected(Disconnected { ids: vec![17], blocks: vec![block()] })
        }
        Request::Disconnect(Disconnect { id, .. }) => {
            Response::Disconnected(Disconnected { ids: id.into_iter().collect(), blocks: vec![] })
        }
        Request::Drain(Drain { to, within_secs }) => Response::Drain(Box::new(DrainStatus {
            to,
            started_at: 1_700_000_000,
            ends_at: 1_700_000_000 + within_secs,
            sent_away: 3,
            left: 9,
        })),
        Request::CancelDrain => Response::Done(Done {}),
        Request::Blocks => Response::Blocks(BlockList {
            blocks: vec![Block { unjudged: 3, ..block() }],
            unread: vec!["line 7: entry 2 is not understood".into()],
        }),
        Request::Block(order) => Response::Block(Block { who: order.who, reason: order.reason, until: None, ..block() }),
        Request::Unblock { id } => Response::Block(Block { id, ..block() }),
        Request::Changes => Response::Reloaded(Box::new(reloaded(Reload::default()))),
        Request::Reload(wanted) => Response::Reloaded(Box::new(reloaded(wanted))),
        Request::Judge => Response::Judged(JudgedList { sessions: reloaded(Reload::default()).judged }),
        Request::Attempts(AttemptsQuery { failed: true, limit: Some(5), .. }) => {
            Response::Attempts(AttemptList { attempts: vec![summary(Outcome::Failed)], next: None })
        }
        Request::Attempts(_) => Response::Attempts(AttemptList::default()),
        Request::Attempt { .. } => Response::Attempt(Box::new(attempt())),
        Request::Trace { query: TraceQuery { user: Some(user), .. }, feed } => {
            feed.send(&serde_json::json!({ "at_us": 1_700_000_000_000_001_u64, "user": user, "layer": "gateway", "title": "stage eap" }));
            Response::Done(Done {})
        }
        Request::Explain(ExplainQuery { what }) => Response::Explanation(Box::new(Explanation {
            attempt: attempt(),
            told: vec![format!("This is about {what}.")],
            commands: vec![
                Commands { place: "here\nreboot".into(), lines: vec![format!("type {}", "long ".repeat(40)), "type another".into()] },
                Commands { place: "there".into(), lines: vec!["type another".into()] },
            ],
            cases: crate::explain::numbers::cases("812").into_iter().cloned().collect(),
            certain: false,
        })),
        _ => Response::refused(Refusal::Conflict, "none to show", "none to make"),
    }
}

fn attempt() -> AttemptDetail {
    AttemptDetail {
        summary: summary(Outcome::Failed),
        tunnel: "ikev2".into(),
        gateway: "192.0.2.1:500".parse().unwrap(),
        timeline: vec![TimelineLine { at_ms: 1_204, text: "stage policy".into() }],
        timeline_lost: 2,
        offered: vec!["AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384".into()],
        accepted: vec![],
        nps_reason: Some(48),
        decision: vec!["staff: passed over: user wanted \"*@example.test\", got \"ann\"".into()],
        received: vec![],
        windows_code: Some("812".into()),
        fix: Some("Add a network policy that matches.".into()),
    }
}

#[test]
fn a_trace_is_shown_until_the_gateway_ends_it() {
    with_gateway(|evergate| {
        let (code, out, err) = evergate(&["trace", "--user", "al ice"]);
        assert_eq!((code, err.as_str()), (OK, "the gateway has ended the trace\n"));
        assert!(out.ends_with(".000001 al ice    stage eap\n"), "{out}");
        let (_, out, _) = evergate(&["trace", "--user", "alice", "--json"]);
        assert_eq!(serde_json::from_str::<crate::trace::Event>(&out).unwrap().title, "stage eap");
        let (code, out, err) = evergate(&["trace", "--attempt", "1-1"]);
        assert_eq!((code, out.as_str(), err.as_str()), (FAILED, "", "error: none to show; none to make\n"));
        for wrong in [&["trace"][..], &["trace", "--user", "a", "--peer", "::1"], &["trace", "--user", "a", "--reveal-session-keys", "x"]] {
            assert!(Cli::try_parse_from(["evergate"].iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    });
}

#[test]
fn numbers_are_explained_without_a_gateway() {
    let (code, out, _) = evergate(&["explain", "-2146885613", "--config", "/nonexistent.toml"]);
    assert_eq!(code, OK);
    assert!(
        out.starts_with("0x80092013 CRYPT_E_REVOCATION_OFFLINE: ")
            && out.contains("\n  (Read-Host 'name of the gateway")
            && out.contains("certutil -verify -urlfetch $file"),
        "{out}"
    );
    assert!(out.ends_with("\nThe rest of it: evergate explain 0x80092013 --more\n") && !out.contains("What the gateway sees"), "{out}");
    let (_, out, _) = evergate(&["explain", "809"]);
    assert!(out.contains("\n  evergate doctor\n") && !out.contains("Test-NetConnection"), "{out}");
    let (_, out, _) = evergate(&["explain", "809", "--more"]);
    assert!(out.contains("What the gateway sees") && !out.contains("Test-NetConnection"), "{out}");
    let (code, out, _) = evergate(&["explain", "error 13868", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, answer["number"].as_str()), (OK, Some("13868")));
    let (code, _, err) = evergate(&["explain", "4711"]);
    assert!(code == FAILED && err.contains("4711") && err.contains("13868"), "{err}");
}

#[test]
fn stories_come_from_the_gateway() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["explain", "ann"]);
        assert!(out.ends_with("\n\nThe rest of it: evergate explain 65a1b2c3-17 --more\n"), "{out}");
        for left_out in ["What else may be behind", "staff: passed over", "type another", "AES_GCM_16_256"] {
            assert!(!out.contains(left_out), "{left_out}\n{out}");
        }
        let (_, out, _) = evergate(&["explain", "ann", "--more"]);
        assert_eq!(code, OK);
        assert_eq!(out.matches("type another").count(), 1, "what is there already is not told again\n{out}");
        assert!(!out.contains("AES_GCM_16_256"), "ciphers have nothing to do with policies\n{out}");
        let line = format!("\n  # here\\nreboot\n  type {}", "long ".repeat(40));
        for expected in
            [line.as_str(), "This is about ann.", "Add a network policy that matches.", "812", "evergate attempts show 65a1b2c3-17"]
        {
            assert!(out.contains(expected), "{expected}\n{out}");
        }
        assert!(evergate(&["explain"]).1.contains("This is about last."));
    });
}

/// Runs `check` with the arguments that lead to a gateway which answers as above.
fn with_gateway(check: impl FnOnce(&dyn Fn(&[&str]) -> (u8, String, String)) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("evergate.toml");
    std::fs::write(&config, "[server]\nname = \"vpn.example.test\"\ncontrol_socket = \"control.sock\"\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = api::bind(&folder.path().join("control.sock"), api::Operators::default()).unwrap();
        let (commands, mut requests) = mpsc::channel::<(Request, oneshot::Sender<Response>)>(4);
        api::start(listener, std::sync::Arc::default(), commands).unwrap();
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.recv().await {
                drop(reply.send(reply_to(request)));
            }
        });
        let config = config.to_str().unwrap().to_owned();
        tokio::task::spawn_blocking(move || check(&|words| evergate(&[words, &["--config", &config]].concat()))).await.unwrap();
    });
}

#[test]
fn a_gateway_is_emptied_and_opened_again() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["drain", "--to", "vpn2.example.test", "--within", "30m"]);
        let expected = "new clients are sent to vpn2.example.test or refused; 3 sent away, 9 left, until 2023-11-14 22:43:20";
        assert_eq!((code, out.starts_with(expected)), (OK, true), "{out}");
        assert!(evergate(&["drain"]).1.starts_with("new clients are refused; 3 sent away, 9 left, until 2023-11-14 22:23:20"));
        assert_eq!(evergate(&["drain", "--cancel"]).1, "the gateway takes clients again\n");
    });
    for wrong in [&["drain", "--cancel", "--to", "x"][..], &["drain", "--within", "soon"], &["drain", "--within", "-1s"]] {
        assert!(Cli::try_parse_from(["evergate"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn who_is_kept_out_is_shown_and_let_in_again() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["block", "list"]);
        assert_eq!(code, OK);
        assert!(out.contains("3   user \"ann\"  2023-11-14 22:13:20  2023-11-14 22:28:20  lost laptop"), "{out}");
        assert!(out.contains("block 3: 3 logins came in that nobody could compare") && out.contains("not in force: line 7"), "{out}");
        assert!(out.contains("to mend that: stop the gateway"), "{out}");
        let out = evergate(&["block", "add", "--certificate", "0a"]).1;
        assert!(out.contains("Where EAP hides certificates (TLS 1.3) it would need a name"), "{out}");
        let out = evergate(&["block", "add", "--address", "192.0.2.0/24", "--for", "1h", "--reason", "noise"]).1;
        assert_eq!(out, "address 192.0.2.0/24 is kept out until it is removed (evergate block remove 3)\n");
        assert_eq!(evergate(&["block", "remove", "3"]).1, "user \"ann\" is no longer kept out\n");
        let (code, out, _) = evergate(&["sessions", "disconnect", "17", "--hold", "15m", "--reason", "lost laptop"]);
        assert_eq!(code, OK);
        assert!(out.starts_with("session 17 is being ended\n") && out.contains("Kept out") && out.contains("lost laptop"), "{out}");
    });
    for wrong in
        [&["block", "add"][..], &["block", "add", "--user", "a", "--machine", "b"], &["sessions", "disconnect", "1", "--reason", "x"]]
    {
        assert!(Cli::try_parse_from(["evergate"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_reload_is_shown_before_it_is_done() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["reload", "--dry-run"]);
        assert_eq!(code, OK);
        assert!(out.contains("would take effect") && out.contains("something else then") && !out.contains("--end-refused"), "{out}");
    });
    for wanted in ["--end-refused", "--apply-to-sessions"] {
        assert!(Cli::try_parse_from(["evergate", "reload", "--dry-run", wanted]).is_err());
    }
}

#[test]
fn a_token_is_made_with_the_line_that_knows_it() {
    let (code, out, _) = evergate(&["token", "prometheus", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    let (token, line) = (made["token"].as_str().unwrap(), made["line"].as_str().unwrap());
    let hash: String = api::token_hash(token).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((code, token.len(), line), (OK, 64, format!("read prometheus {hash}").as_str()));
    assert!(evergate(&["token", "console", "--operate"]).1.contains("\n  operate console "));
    assert_ne!(evergate(&["token", "prometheus", "--json"]).1, out, "no token is made twice");
    assert_eq!(evergate(&["token", "two words"]).0, FAILED);
}

#[test]
fn a_silent_session_is_shown_as_one() {
    let shown = |silent_since| {
        let session = Session { silent_since, ..session() };
        let mut out = Vec::new();
        show::sessions(&SessionList { sessions: vec![session.clone()], ..page() }, Style { colours: false }, &mut out).unwrap();
        show::session(&session, Style { colours: false }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(!shown(None).contains("ilent"));
    let text = shown(Some(1_700_000_300));
    assert!(text.contains("5.0 GiB  silent\n") && text.contains("since 2023-11-14 22:18:20"), "{text}");
}

#[test]
fn the_command_line_is_sound_and_teaches() {
    Cli::command().debug_assert();
    let mut command = Cli::command();
    command.build();
    let help = command.render_long_help().to_string();
    for word in ["Examples:", "Exit codes:", "EVERGATE__SECTION__KEY", "/etc/evergate/evergate.toml", "--json"] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        let help = sub.render_long_help().to_string();
        assert!(help.contains("Examples:"), "{help}");
    }
    for wrong in [&["sessions", "disconnect"][..], &["sessions", "disconnect", "1", "--user", "bob"], &["fly"], &["sessions", "show", "x"]]
    {
        let error = Cli::try_parse_from(["evergate"].iter().chain(wrong)).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(USAGE), "{wrong:?}");
    }
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    with_gateway(|evergate| {
        for words in [&["sessions"][..], &["sessions", "list"], &["session"]] {
            let (code, out, _) = evergate(words);
            assert_eq!(code, OK);
            let lines: Vec<_> = out.lines().collect();
            assert_eq!(lines[0], "ID  USER  ADDRESS               CLIENT            POLICY  SINCE       IN      OUT");
            assert_eq!(lines[1], "17  bob   10.98.0.10, fd98::10  203.0.113.9:4500  staff   1h 2m  1.5 KiB  5.0 GiB");
        }
        let (_, out, _) = evergate(&["sessions", "show", "17"]);
        assert!(out.contains("IKE SA never, Child SA 2023-11-1"), "{out}");
        assert!(out.contains("Authenticated by  RADIUS nps1\n") && out.contains("Child SA AES_GCM_16_256\n"), "{out}");
        assert_eq!(
            evergate(&["sessions", "show", "9"]),
            (FAILED, String::new(), "error: no session has the number 9; look at the list\n".into())
        );
        assert_eq!(evergate(&["sessions", "disconnect", "17"]).1, "session 17 is being ended\n");
        let (code, _, err) = evergate(&["sessions", "disconnect", "--user", "eve"]);
        assert_eq!((code, err.as_str()), (FAILED, "error: no such session is up; look at the list\n"));
    });
}

#[test]
fn attempts_are_listed_and_told() {
    with_gateway(|evergate| {
        for words in [&["attempts", "--failed", "-n", "5"][..], &["attempts", "list", "--failed", "--limit", "5"]] {
            let (code, out, _) = evergate(words);
            assert_eq!(code, OK);
            let line = out.lines().nth(1).unwrap();
            assert!(line.starts_with("65a1b2c3-17  ") && line.contains("  ann\\u{1b}[31m  policy  failed   none of 1"), "{line}");
        }
        assert!(evergate(&["attempts"]).1.contains("`evergate status` shows whether any packet came in"));
        let (_, out, _) = evergate(&["attempts", "show", "65a1b2c3-17"]);
        for expected in [
            "Outcome  failed, stage policy\n",
            "\nCause\n  none of 1 network policies matches (default deny)\n",
            "\nWindows shows\n  812\n",
            "\nWhat to do\n  Add a network policy that matches.\n",
            "    1.204 s  stage policy\n",
            "and 2 more that were not kept\n",
        ] {
            assert!(out.contains(expected), "{expected}\n{out}");
        }
        assert!(!out.contains('\u{1b}'), "control characters of the wire stay off the terminal");
    });
}

#[test]
fn status_shows_what_counts() {
    with_gateway(|evergate| {
        let (code, out, _) = evergate(&["status"]);
        assert_eq!(code, OK);
        for expected in [
            "Running   1d 1h (since ",
            "ikev2  ikev2     [::]:500     1234\n",
            "vpn   CN=vpn.example.com  2026-09-21 (in 12 days)\n",
            "http://ca.example.com/ca.crl  CN=Example CA       12  2023-11-1",
            "/etc/evergate/ca.crl          none has come",
            "/etc/evergate/ca.crl: cannot be read: No such file or directory (os error 2)",
            "nps1  10.0.0.4:1812  corp    dead for 1m 30s      -       12 ms     9        8         1  dropped_authenticator 2, RADIUS/1.1\n",
            "\nLocal provider\nFile      /etc/evergate/users\nUsers     5, 1 disabled\nGroups    kiosk (1), staff (3)\nNot read  line 3: user ",
            "al\\u{1b}ice  192.0.2.7   1m 30s\neverybody    2001:db8::      5s\nand 7 more\n",
            "\nAccounting\n",
            "\nNPS log\n",
            "\n/var/log/evergate/IN2611.log ",
            "No space left on device\n",
            "\nTraces of logins\n",
            "      3  6m 40s         40              2                 0     0\n",
            "RADIUS  no answer\n",
            "users  IPv6     250  18446744073709551615  0%\n",
            "\nDropped packets\nCOUNTER   VALUE\nreplayed      4\n",
        ] {
            assert!(out.contains(expected), "{expected}\n{out}");
        }
        assert!(!out.contains("no_tunnel") && !out.contains("malformed"), "{out}");
    });
}

#[test]
fn json_is_the_answer_itself() {
    with_gateway(|evergate| {
        let (_, out, _) = evergate(&["sessions", "--json"]);
        assert_eq!(serde_json::from_str::<SessionList>(&out).unwrap(), page());
        let (_, out, _) = evergate(&["--json", "status"]);
        assert_eq!(serde_json::from_str::<Status>(&out).unwrap(), status());
    });
}

#[test]
fn no_gateway_is_told_with_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("evergate.toml");
    std::fs::write(&config, "[server]\ncontrol_socket = \"none.sock\"\n").unwrap();
    let (code, out, err) = evergate(&["status", "--config", config.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (NOT_RUNNING, ""));
    assert!(err.starts_with("error: the gateway is not running: there is no control socket at "), "{err}");
    let missing = folder.path().join("none.toml");
    let (code, _, err) = evergate(&["status", "--config", missing.to_str().unwrap()]);
    assert_eq!(code, FAILED);
    assert!(err.contains("none.toml: cannot be read: No such file or directory"), "{err}");
}

#[test]
fn check_tells_what_a_configuration_comes_to() {
    let folder = config_folder();
    let path = folder.path().join("evergate.toml");
    let (code, out, err) = evergate(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (OK, ""), "{out}");
    for expected in [
        "vpn   vpn.example.com  serverAuth  ECDSA P-256  CN=vpn.example.com  ",
        "ikev2  ikev2     0.0.0.0, ::  500, 4500  eap, certificate  vpn           CN=vpn.example.com\n",
        "3  no other partners  deny      user *@*.example.org\n",
        "users     IPv4     241  10.98.0.10-10.98.0.250\n",
        "machines  IPv4     256  10.98.1.0/24\n",
    ] {
        assert!(out.contains(expected), "{expected}\n{out}");
    }
    assert!(out.contains("ok: ") && out.contains("evergate.toml is good"), "{out}");
    let shown = out;
    let (_, out, _) = evergate(&["check", "--json", "--config", path.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((report["ok"].as_bool(), report["policies"][2]["grant"].as_bool()), (Some(true), Some(false)));
    assert_eq!(report["pools"][0]["size"], "241");

    for expected in [
        "corp  nps1 (priority 1, weight 50)\n",
        "1  partners         realm partner.example.org  server group \"corp\"  rewrites the user name; accounting to group \"corp\"\n",
        "2  everybody else   always                     all RADIUS servers   \n",
    ] {
        let wanted: Vec<_> = expected.split_whitespace().collect();
        assert!(shown.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == wanted), "{expected}\n{shown}");
    }
    assert_eq!(report["radius_groups"][0]["name"], "corp");
    std::fs::write(folder.path().join("users"), "alice groups=staff,admins\nbob groups=staff\n").unwrap();
    std::fs::set_permissions(folder.path().join("users"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[local]\nusers_file = \"users\"\n")).unwrap();
    let (code, out, _) = evergate(&["check", "--config", path.to_str().unwrap()]);
    let has = |first: &str, rest: &str| out.lines().any(|line| line.starts_with(first) && line.ends_with(rest));
    assert!(code == OK && has("Users file", "/users") && has("Users ", " 2") && has("Groups", "admins (1), staff (2)"), "{out}");

    let text = text.replace("secret_file", "secret_fil");
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = evergate(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (FAILED, ""));
    assert!(err.contains("evergate.toml:") && err.contains("did you mean \"secret_file\"?"), "{err}");
    let (code, out, _) = evergate(&["check", "--json", "--config", path.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, report["ok"].as_bool()), (FAILED, Some(false)));
    assert!(report["error"].as_str().unwrap().contains("secret_file"));
}

#[test]
fn certificates_are_shown_without_a_gateway() {
    let folder = config_folder();
    let path = folder.path().join("evergate.toml");
    let (code, out, err) = evergate(&["certificates", "--config", path.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (OK, ""), "{out}");
    for expected in [
        "vpn  CN=vpn.example.com\n",
        "  Shown by              ikev2, sstp\n",
        "  Purposes              serverAuth\n",
        "  Key                   ECDSA P-256\n",
        "  Chain                 CN=vpn.example.com, until ",
        "  ! server certificate CN=vpn.example.com: is an authority's certificate; Apple refuses it",
        "LISTENER  CLIENT                     TELLS",
        "ikev2     Windows                    no IDr; CERTREQ with every authority of ours  vpn   9 (ECDSA, SHA-256)   the only one",
        "ikev2     Apple, Android, strongSwan  IDr vpn.example.com",
        "sstp      SSTP                        no SNI, or another name",
    ] {
        let spaced = |text: &str| text.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("|");
        assert!(spaced(&out.replace('\n', "  ")).contains(&spaced(&expected.replace('\n', "  "))), "{expected}\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "colours only on a terminal");
    let (_, out, _) = evergate(&["certificates", "--json", "--config", path.to_str().unwrap()]);
    let report: crate::certificates::Report = serde_json::from_str(&out).unwrap();
    let [certificate] = &report.certificates[..] else { panic!("{report:?}") };
    assert_eq!((certificate.fingerprint.len(), certificate.chain.len(), certificate.revocation.len()), (95, 1, 0));
    assert!(report.clients.iter().all(|row| row.certificate.as_deref() == Some("vpn")) && report.clients.len() >= 5, "{report:?}");
    let (code, _, err) = evergate(&["certificates", "--config", "/nowhere/evergate.toml"]);
    assert_eq!(code, FAILED);
    assert!(err.starts_with("error: /nowhere/evergate.toml: cannot be read"), "{err}");
}

#[test]
fn policies_answer_an_imagined_login() {
    let folder = config_folder();
    let path = folder.path().join("evergate.toml");
    let test = |words: &[&str]| evergate(&[&["policy", "test", "--config", path.to_str().unwrap()], words].concat());
    let carl = ["--user", "carl@partner.example.org", "--eap-type", "EAP-MSCHAPv2", "--time", "sun 10:00"];
    let (code, out, err) = test(&carl);
    assert_eq!((code, err.as_str()), (OK, ""), "{out}");
    assert!(out.starts_with("deny, by policy \"contractors\" (reason 68)\n"), "{out}");
    let rows: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(rows.iter().any(|row| row.starts_with("1 machines does not match ")), "{out}");
    assert!(rows.contains(&"2 contractors matches".into()) && rows.contains(&"4 staff not tried".into()), "{out}");
    let (code, out, _) = test(&[&carl[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["granted"], &report["reason"]), (OK, &false.into(), &68.into()), "{out}");
    assert_eq!((&report["tried"][1]["policy"], &report["tried"][1]["matches"]), (&"contractors".into(), &true.into()), "{out}");
    let (_, out, _) = test(&["--user", "ann@example.com"]);
    assert!(out.starts_with("grant, by policy \"staff\" (reason 0)\n"), "{out}");
    for (words, expected) in [
        (["--certificate", "vpm"], "no [[certificate]] \"vpm\"; did you mean \"vpn\"? accepted: vpn"),
        (["--listener", "sttp"], "no [[listener]] \"sttp\"; did you mean \"sstp\"? accepted: ikev2, sstp"),
        (["--radius-server", "elsewhere"], "no [[radius]] \"elsewhere\"; accepted: "),
    ] {
        let (code, out, err) = test(&words);
        assert_eq!((code, out.as_str()), (FAILED, ""), "{words:?}");
        assert!(err.starts_with(&format!("error: the configuration has {expected}")), "{err}");
    }
    let (code, out, _) = test(&["--certificate", "VPN", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["certificate"]["name"]), (OK, &"vpn".into()), "{out}");
    let (code, out, err) = evergate(&["policy", "test", "--config", "/nowhere/evergate.toml"]);
    assert_eq!((code, out.as_str()), (FAILED, ""));
    assert!(err.starts_with("error: /nowhere/evergate.toml: cannot be read"), "{err}");
}

/// As NPS exports it: the profile beside the policy.
const NPS_EXPORT: &str = r#"<?xml version="1.0"?>
<Root><Children><Microsoft_Internet_Authentication_Service name="Microsoft Internet Authentication Service"><Children>
<RadiusProfiles name="RadiusProfiles"><Children><VPN name="VPN"><Properties>
<msNPAllowDialin>1</msNPAllowDialin><msNPAuthenticationType2>5</msNPAuthenticationType2>
<msRASMPPEEncryptionType>8</msRASMPPEEncryptionType><msRADIUSFilterId>servers</msRADIUSFilterId>
</Properties></VPN></Children></RadiusProfiles>
<NetworkPolicy name="NetworkPolicy"><Children><VPN name="VPN"><Properties>
<msNPConstraint>MATCH("NAS-Port-Type=^5$")</msNPConstraint><msNPSequence>1</msNPSequence>
</Properties></VPN></Children></NetworkPolicy>
</Children></Microsoft_Internet_Authentication_Service></Children></Root>
"#;

#[test]
fn policies_of_nps_are_written_as_sections() {
    let folder = config_folder();
    let export = folder.path().join("nps.xml");
    std::fs::write(&export, NPS_EXPORT).unwrap();
    let (code, sections, err) = evergate(&["policy", "import", export.to_str().unwrap()]);
    assert_eq!(code, OK, "{err}");
    assert!(sections.starts_with("[[policy]]\nname = \"VPN\"\nenabled = false\nport_type = [5]\n"), "{sections}");
    let notes: Vec<_> = err.lines().collect();
    assert!(
        notes.iter().any(|note| note.starts_with("note: policy \"VPN\": its setting msRADIUSFilterId (\"servers\") has no equivalent")),
        "{err}"
    );
    assert!(notes.iter().any(|note| note.contains("msRASMPPEEncryptionType")), "{err}");
    assert!(notes.last().unwrap().starts_with("1 policies written; "), "{err}");
    let (code, out, err) = evergate(&["policy", "import", "--json", export.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), &report["policies"], &report["toml"]), (OK, "", &1.into(), &sections.as_str().into()));
    assert_eq!(report["notes"].as_array().unwrap().len(), notes.len() - 1, "{out}");
    // What was written is configuration, once the administrator has looked at it.
    let config = folder.path().join("evergate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let section = sections.replace("enabled = false", "pool = \"users\"");
    std::fs::write(&config, text.replace("[[policy]]\nname = \"staff\"", &format!("{section}\n[[policy]]\nname = \"staff\""))).unwrap();
    let words = ["policy", "test", "--user", "ann@example.com", "--config", config.to_str().unwrap()];
    let (code, out, err) = evergate(&words);
    assert!(code == OK && out.starts_with("grant, by policy \"VPN\""), "{out}{err}");
    std::fs::write(&export, "<Root/>").unwrap();
    let (code, out, err) = evergate(&["policy", "import", export.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (FAILED, ""));
    assert!(err.starts_with("error: ") && err.contains("nps.xml is no export of NPS"), "{err}");
}

/// The configuration to standard output, and to standard error what there is to say of it.
#[test]
fn rras_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let dump = file("dump.txt", "netsh ras add authtype type = EAP\nnetsh ras ip add range from = 10.1.0.1 to = 10.1.0.9\n");
    let (code, toml, err) = evergate(&["migrate", "rras", &dump, "--name", "vpn.example.com"]);
    assert!(code == OK && toml.contains("name = \"vpn.example.com\"") && toml.contains("10.1.0.1-10.1.0.9"), "{toml}{err}");
    assert!(err.contains("\nnote: ") && err.contains("\nto fill in: "), "{err}");
    assert!(err.ends_with("things to fill in; then `evergate check`\n"), "{err}");
    let (code, out, err) = evergate(&["migrate", "rras", &dump, "--name", "vpn.example.com", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), &report["toml"]), (OK, "", &toml.as_str().into()));
    let (code, out, err) = evergate(&["migrate", "rras", "/dev/zero"]);
    assert!(code == FAILED && out.is_empty() && err.contains("/dev/zero has more than the 16777216 bytes"), "{err}");
    let nps = file("nps.xml", "<Root/>");
    for (words, problem) in
        [(vec![dump.as_str(), "--nps", &nps], "nps.xml is no export of NPS"), (vec![nps.as_str()], "nps.xml is XML, but not")]
    {
        let (code, out, err) = evergate(&[["migrate", "rras"].as_slice(), &words].concat());
        assert!(code == FAILED && out.is_empty() && err.starts_with("error: ") && err.contains(problem), "{out}{err}");
    }
}

/// A gateway that runs is asked, and what it says counts.
#[test]
fn certificates_of_the_running_gateway_come_first() {
    with_gateway(|evergate| {
        let (code, out, err) = evergate(&["certificates"]);
        assert_eq!((code, out.as_str(), err.as_str()), (FAILED, "", "error: none to show; none to make\n"));
    });
}

/// The example with a self-signed certificate.
fn config_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["vpn.example.com".into()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "vpn.example.com");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/evergate.example.toml")).unwrap();
    write("evergate.toml", &example.replace("/etc/evergate/", ""));
    write("vpn.pem", &pem);
    write("ca.pem", &pem);
    write("vpn.key", &key.serialize_pem());
    write("nps1.secret", "a secret of good length");
    write("ppk.secret", "a key of thirty-two bytes or more, at random");
    write("portal.secret", "another secret of good length");
    folder
}

#[test]
fn tables_align_and_marks_do_not_count() {
    let style = Style { colours: true };
    let mut out = Vec::new();
    let rows = [vec![cell("a").marked(Mark::Bad), count(7), cell("x")], vec![cell("long\n"), count(1_000), cell("")]];
    text::table(&mut out, style, &["N", "COUNT", "LAST"], &rows).unwrap();
    let plain = String::from_utf8(out).unwrap().replace("\u{1b}[1m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
    assert_eq!(plain, "N       COUNT  LAST\na           7  x\nlong\\n   1000\n");
}

#[test]
fn numbers_for_people() {
    for (octets, expected) in [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (150 << 20, "150 MiB"), (u64::MAX, "16.0 EiB")] {
        assert_eq!(text::octets(octets), expected);
    }
    for (seconds, expected) in [(0, "0s"), (61, "1m 1s"), (7_260, "2h 1m"), (90_000, "1d 1h")] {
        assert_eq!(text::duration(seconds), expected);
    }
    assert_eq!(text::wrap("one two  three", 7), ["one two", "three"]);
    assert_eq!(text::wrap("", 7), [""]);
}
