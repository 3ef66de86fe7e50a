//! Revocation, server groups and request policies, accounting, local users, dynamic clients.
use super::*;

const WITH_CERTIFICATES: &str = "auth = [\"eap\", \"certificate\"]\nclient_ca = \"ca.pem\"\n";

fn with_certificates(lines: &str) -> Fixture {
    with("auth = [\"eap\"]", &format!("{WITH_CERTIFICATES}{lines}"))
}

#[test]
fn revocation_of_client_certificates() {
    use crate::revocation::Source;
    use pki::Revocation;
    let settings = |lines: &str| {
        let config = with_certificates(lines).load().unwrap();
        let listener = config.ikev2.unwrap();
        (listener.revocation.policy, listener.revocation.sources, listener.client_roots.client_purposes().to_vec(), config.warnings)
    };
    let url = "crl = \"http://pki.example.test/ca.crl\"";
    let (policy, sources, purposes, warnings) = settings(url);
    assert_eq!((policy, purposes, warnings), (Revocation::Soft, vec!["1.3.6.1.5.5.7.3.2".to_owned()], vec![]));
    assert!(matches!(sources.as_slice(), [Source::Url(url)] if url.as_str() == "http://pki.example.test/ca.crl"), "{sources:?}");
    let (policy, _, purposes, _) = settings(&format!("{url}\nrevocation = \"hard\"\nclient_eku = [\"ipsecIKE\", \"1.3.6.1.4.1.32473.7\"]"));
    assert_eq!((policy, purposes), (Revocation::Hard, vec!["1.3.6.1.5.5.7.3.17".to_owned(), "1.3.6.1.4.1.32473.7".to_owned()]));
    assert_eq!(settings("revocation = \"off\"").3, Vec::<String>::new());
    assert!(settings("").3[0].contains("nobody checks whether client certificates are revoked"), "{:?}", settings("").3);
    assert!(settings(&format!("{url}\nrevocation = \"off\"")).3[0].ends_with("crl has no effect with revocation = \"off\""));
    let idle = with("auth = [\"eap\"]", &format!("auth = [\"eap\"]\n{url}")).load().unwrap();
    assert_eq!(idle.warnings, ["listener \"ikev2\": crl has no effect without auth = \"certificate\""]);
    assert!(idle.ikev2.unwrap().revocation.sources.is_empty());
}

#[test]
fn mistakes_about_revocation() {
    for (lines, expected) in [
        ("revocation = \"hard\"", "crl: is missing; with revocation = \"hard\" every client would be refused: name the authorities' lists"),
        ("revocation = \"strict\"", "revocation = \"strict\": expected one of \"off\", \"soft\", \"hard\""),
        ("crl = \"gone.crl\"", "crl = \"gone.crl\": gone.crl cannot be read: No such file or directory"),
        ("crl = [\"ca.pem\"]", "crl = [\"ca.pem\"]: ca.pem holds no revocation list (neither PEM with X509 CRL, nor DER)"),
        ("crl = \"https://pki.example.test/ca.crl\"", "crl = \"https://pki.example.test/ca.crl\": is no http:// URL"),
        ("crl = \"http://pki.example.test:x/\"", "crl = \"http://pki.example.test:x/\": has no port \"x\"; expected paths of files"),
        ("client_eku = []", "client_eku = []: is empty; expected some of \"clientAuth\""),
        ("client_eku = \"clientauthentication\"", "client_eku = \"clientauthentication\": expected \"clientAuth\", \"ipsecIKE\""),
    ] {
        let error = with_certificates(lines).error();
        assert!(error.contains(&format!("listener \"ikev2\": {expected}")), "{error}");
    }
}

/// A second server, a group of both, and whatever more.
fn with_groups(lines: &str) -> Fixture {
    let more = "\n[[radius]]\nname = \"nps2\"\naddress = \"10.0.0.5\"\nsecret_file = \"nps1.secret\"\n";
    let group = "\n[[radius_group]]\nname = \"corp\"\nservers = [\"nps2\", { name = \"nps1\", weight = 10 }]\n";
    with("[[pool]]", &format!("{more}{group}{lines}\n[[pool]]"))
}

#[test]
fn server_groups_and_request_policies() {
    use policy::request::Forward;
    let fixture = with_groups(
        "[[request_policy]]\nname = \"partners\"\nrealm = \"*.example.org\"\ntunnel = \"ikev2\"\nlistener = \"ike*\"\ngroup = \"corp\"\n\
         rewrite = [{ match = \"OLD\\\\*\", replace = \"{1}@example.org\" }]\nstrip_realm = true\n[[request_policy]]\nname = \"rest\"",
    );
    let config = fixture.load().unwrap_or_else(|error| panic!("{}", fixture.without_folder(&error)));
    let member = |server: &str, priority, weight| radius_client::Member { server: server.into(), priority, weight };
    assert_eq!(config.radius_groups[0].members, [member("nps2", 1, 50), member("nps1", 2, 10)]);
    let [partners, rest] = &config.requests[..] else { panic!("{:?}", config.requests) };
    assert_eq!((&partners.forward, partners.strip_realm, partners.rewrite.len()), (&Forward::Group("corp".into()), true, 1));
    assert_eq!((&rest.forward, rest.conditions.realm.len()), (&Forward::AllServers, 0));
    let shadowed = with_groups("[[request_policy]]\nname = \"a\"\n[[request_policy]]\nname = \"b\"").load().unwrap();
    assert!(shadowed.warnings.contains(&"request_policy \"b\" is never reached: \"a\" before it has no conditions".into()));
}

#[test]
fn a_server_with_others_beside_it_and_no_probe_is_a_warning() {
    let blind = |fixture: &Fixture| {
        let warnings = fixture.load().unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.contains("has no probe")).map(|warning| warning[..14].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(blind(&with_groups("")), ["radius \"nps1\":", "radius \"nps2\":"]);
    let second = "[[radius]]\nname = \"nps2\"\naddress = \"10.0.0.5\"\nsecret_file = \"nps1.secret\"\nprobe_user = \"ping\"\n";
    assert_eq!(blind(&with("[[pool]]", &format!("{second}[[pool]]"))), ["radius \"nps1\":"], "without groups they stand for each other");
    let alone = "[[radius_group]]\nname = \"one\"\nservers = [\"nps1\"]\n";
    assert!(blind(&with("[[pool]]", &format!("{second}{alone}[[pool]]"))).is_empty());
    assert!(blind(&Fixture::new(MINIMAL)).is_empty());
}

#[test]
fn mistakes_about_groups_and_request_policies() {
    for (lines, expected) in [
        ("group = \"crop\"", "group = \"crop\": did you mean \"corp\"? expected \"corp\""),
        ("realm = []", "realm = []: is empty; leave the key out where anything may match"),
        ("provider = \"local\"", "provider = \"local\": there is no local provider to ask: add [local]"),
        ("listener = \"sstp9\"", "listener = \"sstp9\": no [[listener]] is called \"sstp9\"; accepted: ikev2"),
        ("rewrite = [{ match = \"*\", replace = \"{2}\" }]", "rewrite = {..}: {2} stands for no *: the pattern has 1; expected { match"),
        ("rewrite = [{ match = \"*\" }]", "rewrite = {..}: has no replace; expected { match"),
        ("realms = \"x\"", "realms: unknown key; did you mean \"realm\"?"),
    ] {
        let fixture = with_groups(&format!("[[request_policy]]\nname = \"r\"\n{lines}\n"));
        let error = fixture.without_folder(&fixture.load().unwrap_err());
        assert!(error.contains(&format!("request_policy \"r\": {expected}")), "{error}");
    }
    for (servers, expected) in [
        ("[]", "servers = []: names no server; expected names of [[radius]] sections"),
        ("[\"nps3\"]", "servers = \"nps3\": there is no [[radius]] \"nps3\"; did you mean \"nps1\"?"),
        ("[\"nps1\", \"nps1\"]", "names \"nps1\" twice"),
        ("[{ name = \"nps1\", weight = 101 }]", "servers = {..}: weight = 101: expected a whole number, 1..=100; expected names"),
        ("[{ name = \"nps1\", prio = 1 }]", "servers = {..}: prio: unknown key; accepted: name, priority, weight"),
    ] {
        let fixture = with_groups(&format!("[[radius_group]]\nname = \"g\"\nservers = {servers}\n"));
        let error = fixture.without_folder(&fixture.load().unwrap_err());
        assert!(error.contains(&format!("radius_group \"g\": {expected}")) || error.contains(expected), "{error}");
    }
}

#[test]
fn accounting_is_configured_within_bounds() {
    let accounting = |lines: &str| with_policy(&format!("[accounting]\n{lines}")).load().unwrap().accounting;
    let defaults = crate::accounting::Settings::default();
    assert_eq!(accounting(""), defaults);
    assert_eq!(accounting("interim_interval = \"0s\"").interim_interval, None);
    let (interim_interval, on_off, queue_max) = (Some(Duration::from_secs(60)), true, 1_000);
    let all = accounting("interim_interval = \"1m\"\non_off = true\nqueue_max = 1000\nrequired_within = \"30s\"");
    let required_within = Some(Duration::from_secs(30));
    assert_eq!(all, crate::accounting::Settings { interim_interval, on_off, queue_max, required_within });
    assert_eq!(accounting("required_within = \"0s\"").required_within, None);
    for (line, expected) in [
        ("interim_interval = \"59s\"", "interim_interval = \"59s\": expected a duration from \"1m\" to \"1d\", or \"0s\" for none"),
        ("required_within = \"1s\"", "required_within = \"1s\": expected a duration from \"5s\" to \"1h\", or \"0s\""),
        ("queue_max = 10", "queue_max = 10: expected"),
        ("interim_intervall = \"1m\"", "interim_interval"),
    ] {
        let error = with_policy(&format!("[accounting]\n{line}")).error();
        assert!(error.contains(expected), "{error}");
    }
    let nobody = MINIMAL.replace("secret_file", "accounting_port = 0\nsecret_file");
    let error = Fixture::new(&format!("{nobody}\n[accounting]\nrequired_within = \"30s\"\n")).error();
    assert!(error.contains("no RADIUS server takes accounting"), "{error}");
    let idle = Fixture::new(&format!("{}\n[accounting]\n", MINIMAL.replace("secret_file", "accounting_port = 0\nsecret_file")));
    assert_eq!(idle.load().unwrap().warnings, ["accounting: no RADIUS server takes accounting, so this section does nothing"]);
}

const LOCAL: &str = "[local]\nusers_file = \"users\"\n";
const RADIUS: &str = "[[radius]]\nname = \"nps1\"\naddress = \"10.0.0.4\"\nsecret_file = \"nps1.secret\"\n";

fn with_local(local: &str, users: &str) -> Fixture {
    let fixture = Fixture::new(&MINIMAL.replace(RADIUS, local));
    fixture.file("users", users, 0o600);
    fixture
}

#[test]
fn a_users_file_serves_in_place_of_radius() {
    let config = with_local(LOCAL, "ann nt=8846f7eaee8fb117ad06bdd830b7586c\n").load().unwrap();
    assert!(config.radius.is_empty() && config.warnings.is_empty(), "{:?}", config.warnings);
    let local = config.local.unwrap();
    assert_eq!((local.users.len(), local.methods.as_slice()), (1, &[local_provider::EapMethod::MsChapV2][..]));
    assert_eq!((local.lockout.failures, local.lockout.time), (10, Duration::from_secs(300)));
    assert!(local.credential.is_none());

    let text = format!("{LOCAL}client_ca = \"ca.pem\"\nrevocation = \"off\"\nlockout_failures = 0\n");
    let local = with_local(&text, "ann\n").load().unwrap().local.unwrap();
    assert_eq!(local.methods, [local_provider::EapMethod::MsChapV2, local_provider::EapMethod::Tls]);
    assert_eq!((local.client_roots.roots().len(), local.credential.is_some(), local.lockout.failures), (1, true, 0));
}

#[test]
fn mistakes_about_local_users_are_named() {
    for (local, users, error) in [
        ("[local]\n", "", "users_file: is missing"),
        (LOCAL, "ann nt=12\n", "users_file = \"users\": users: line 1: nt= takes 32 hexadecimal digits"),
        ("[local]\nusers_file = \"users\"\neap = [\"tls\"]\n", "", "client_ca: is missing; eap \"tls\" needs"),
        ("[local]\nusers_file = \"users\"\ncertificate = \"vpn\"\n", "", "certificate = \"vpn\": is for EAP-TLS alone"),
        ("[local]\nusers_file = \"users\"\neap = []\n", "", "eap = []: is empty"),
        ("[local]\nuser_file = \"users\"\n", "", "user_file: unknown key; did you mean \"users_file\"?"),
        ("", "", "auth = [\"eap\"]: eap needs somebody to ask"),
    ] {
        let found = with_local(local, users).error();
        assert!(found.contains(error), "{local:?}: {found}");
    }
    let both = Fixture::new(&format!("{MINIMAL}\n{LOCAL}"));
    both.file("users", "", 0o644);
    let warnings = both.load().unwrap().warnings;
    for text in ["is open to all users", "holds no user", "nobody is ever looked up there"] {
        assert!(warnings.iter().any(|warning| warning.contains(text)), "{text}: {warnings:?}");
    }
    let named = Fixture::new(&MINIMAL.replace("name = \"nps1\"", "name = \"local\""));
    assert!(named.error().contains("is what records call the local provider"));
}

/// The fixture's certificate and key serve here too.
fn with_api(lines: &str) -> Fixture {
    let fixture = with_policy(&format!("[api]\nlisten = [\"127.0.0.1:8443\"]\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\n{lines}"));
    let line = |role: &str, name: &str, digit: &str| format!("{role} {name} {}\n", digit.repeat(64));
    fixture.file("api.tokens", &format!("# people\n{}\n{}", line("read", "prometheus", "a"), line("operate", "console", "b")), 0o600);
    fixture.file("twice.tokens", &format!("{}{}", line("read", "x", "a"), line("read", "x", "b")), 0o600);
    fixture.file("bad.tokens", "admin x 00\n", 0o600);
    fixture
}

#[test]
fn the_api_is_served_to_whom_it_can_know() {
    let api = with_api("tokens_file = \"api.tokens\"").load().unwrap().api.unwrap();
    let tokens: Vec<_> = api.tokens.iter().map(|token| (token.name.as_str(), token.role, token.hash[0])).collect();
    assert_eq!(tokens, [("prometheus", crate::api::Role::Read, 0xaa), ("console", crate::api::Role::Operate, 0xbb)]);
    assert!(!format!("{:?}", api.tokens).contains("170"), "hashes stay out of logs");
    for (lines, expected) in [
        ("", "api: tokens_file: is missing; expected tokens_file or client_ca"),
        ("tokens_file = \"bad.tokens\"", "bad.tokens line 1: expected `read NAME SHA256`"),
        ("tokens_file = \"twice.tokens\"", "twice.tokens line 2: another token has this name"),
        ("client_ca = [\"vpn.pem\"]", "client_ca = [\"vpn.pem\"]: vpn.pem: CN=vpn.example.test is no authority"),
        ("tokens_file = \"api.tokens\"\noperators = [\"ann\"]", "operators = [\"ann\"]: has no effect without client_ca"),
        ("tokens_file = \"api.tokens\"\ncrl = [\"ca.crl\"]", "crl = [\"ca.crl\"]: has no effect without client_ca"),
        ("tokens_file = \"api.tokens\"\nrevocation = \"hard\"", "revocation = \"hard\": has no effect without client_ca"),
    ] {
        let error = with_api(lines).error();
        assert!(error.contains(expected), "{error}\nwant: {expected}");
    }
    let unheard = with_policy("[api]\nchain = \"vpn.pem\"").error();
    assert!(unheard.contains("has no effect without listen"), "{unheard}");
    assert!(with_policy("[api]\n").load().unwrap().api.is_none());
}

#[test]
fn metrics_are_served_where_they_are_wanted() {
    let config = with_policy("[metrics]\nlisten = [\"127.0.0.1:9464\", \"[::1]:9464\"]").load().unwrap();
    assert_eq!((config.metrics_listen.len(), config.warnings.len()), (2, 0));
    let config = with_policy("[metrics]\nlisten = [\"0.0.0.0:9464\"]").load().unwrap();
    assert!(config.warnings.iter().any(|warning| warning.contains("0.0.0.0:9464 serves numbers")), "{:?}", config.warnings);
    assert!(with_policy("[metrics]\nlisten = [\"9464\"]").error().contains("expected addresses of this host with a port"));
}

#[test]
fn an_nps_log_has_a_folder_and_a_rotation() {
    use crate::nps_log::{Kinds, Rotation, Settings};
    use std::num::NonZeroUsize;
    let log = |lines: &str| with("[[pool]]", &format!("[nps_log]\n{lines}\n[[pool]]"));
    assert_eq!(Fixture::new(MINIMAL).load().unwrap().nps_log, None);
    let fixture = log("folder = \"log\"");
    let kinds = Kinds { logins: true, challenges: true, accounting: true, interims: false };
    let folder = fixture.path("log");
    let keep = NonZeroUsize::new(13);
    assert_eq!(fixture.load().unwrap().nps_log, Some(Settings { folder, rotation: Rotation::Monthly, keep, kinds }));
    let sized = log("folder = \"/var/log/x\"\nrotate = \"size\"\nmax_size_mb = 2\nlogins = false").load().unwrap().nps_log.unwrap();
    assert_eq!((sized.rotation, sized.kinds.logins, sized.kinds.challenges), (Rotation::Size(2_097_152), false, false));
    let all = log("folder = \"log\"\nrotate = \"daily\"\nkeep_files = 0\nchallenges = false").load().unwrap().nps_log.unwrap();
    assert_eq!((all.keep, all.kinds.logins, all.kinds.challenges), (None, true, false));
    for (lines, expected) in [
        ("rotate = \"daily\"", "folder: is missing; expected the folder for the log files"),
        ("folder = \"log\"\nrotate = \"2h\"", "rotate = \"2h\": expected one of \"daily\", \"weekly\", \"monthly\", \"size\", \"never\""),
        ("folder = \"log\"\nmax_size_mb = 5", "max_size_mb = 5: is for rotate = \"size\" alone"),
        ("folder = \"log\"\nrotate = \"never\"\nkeep_files = 5", "keep_files = 5: has no meaning with rotate = \"never\""),
        ("folder = \"log\"\nfold = 1", "fold: unknown key; did you mean \"folder\"?"),
    ] {
        let error = log(lines).error();
        assert!(error.contains(&format!("nps_log: {expected}")), "{error}");
    }
}

#[test]
fn traces_go_to_a_collector_over_http_or_tls() {
    let to = |lines: &str| with("[[pool]]", &format!("[telemetry]\n{lines}\n[[pool]]"));
    assert!(Fixture::new(MINIMAL).load().unwrap().telemetry.is_none());
    let settings = to("otlp = \"http://[::1]:4318\"").load().unwrap().telemetry.unwrap();
    assert_eq!((settings.otlp.host(), settings.otlp.authority().as_str(), settings.service.as_str()), ("::1", "[::1]:4318", "evergate"));
    assert!(settings.tls.is_none() && settings.headers.is_empty());
    let token = |lines: &str, mode| {
        let fixture = to(&format!("{lines}\nheaders_file = \"token\""));
        fixture.file("token", "authorization: Bearer s3cret\n", mode);
        fixture
    };
    let config = token("otlp = \"https://collector.test/a\"\nca = [\"ca.pem\"]", 0o600).load().unwrap();
    let settings = config.telemetry.clone().unwrap();
    assert_eq!((settings.otlp.authority().as_str(), settings.otlp.path()), ("collector.test:443", "/a"));
    assert!(settings.tls.is_some() && !settings.headers.is_empty() && config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!format!("{config:?}").contains("s3cret"));
    let config = token("otlp = \"http://192.0.2.1:4318\"", 0o604).load().unwrap();
    for expected in ["headers_file = \"", "otlp is no https:// URL: what headers_file holds can be read on the way there"] {
        assert!(
            config.warnings.iter().any(|warning| warning.starts_with("telemetry: ") && warning.contains(expected)),
            "{:?}",
            config.warnings
        );
    }
    for (lines, expected) in [
        ("service_name = \"x\"", "otlp: is missing; expected the collector's URL"),
        ("otlp = \"grpc://collector:4317\"", "otlp = \"grpc://collector:4317\": is neither an http:// nor an https:// URL"),
        ("otlp = \"http://collector:x\"", "otlp = \"http://collector:x\": has no port \"x\""),
        ("otlp = \"http://collector\"\nca = [\"ca.pem\"]", "ca = [\"ca.pem\"]: is for a collector that speaks TLS"),
        ("otlp = \"https://collector\"\nca = [\"gone.pem\"]", "ca = [\"gone.pem\"]: "),
        ("otlp = \"https://collector\"\nca = []", "ca = []: names no certificate"),
        ("otlp = \"http://collector\"\nheaders_file = \"vpn.key\"", "headers_file = \"vpn.key\": "),
    ] {
        let error = to(lines).error();
        assert!(error.contains(&format!("telemetry: {expected}")), "{error}");
    }
}
