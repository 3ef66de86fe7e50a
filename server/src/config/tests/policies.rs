//! Conditions and constraints of network policies.
use super::*;
use policy::network::{AllowedMethod, Attribute, LocalTime};

#[test]
fn conditions_nest_and_constraints_are_read() {
    let fixture = with_policy(
        r#"
[[policy]]
name = "managed"
enabled = false
eap_type = ["eap-tls", 25]
gateway = ["198.51.100.1"]
calling_station_id = ["192.0.2.*"]
called_station_id = ["198.*"]
port_type = ["virtual", 15]
listener = ["ike*"]
server_name = ["vpn.*"]
certificate = "vpn"
machine = ["*.example.test"]
certificate_subject = ["*O=Example*"]
certificate_issuer = ["CN=Example CA"]
certificate_san = ["pc*"]
certificate_eku = ["clientAuth"]
certificate_template = ["1.3.6.1.4.1.311.21.8.*"]
reply = ["Tunnel-Private-Group-Id = 2?"]
any = [{ user = ["a*"] }, { not = { time = ["sat-sun"] }, group = ["staff"] }]
allowed_methods = ["certificate", "peap"]
allowed_called_station_id = ["*"]
allowed_port_type = "virtual"
allowed_hours = ["mon-fri 08:00-18:00"]
min_cipher_bits = 256
sessions_per_user = 2
sessions_per_certificate = 1
sessions_max = 100
pool = "users"
address = "10.98.0.20"
accounting_class = ["managed"]"#,
    );
    let policy = fixture.load().unwrap().policies.remove(1);
    assert!(policy.disabled && policy.grant);
    let conditions = &policy.conditions;
    assert_eq!((conditions.server_name.as_slice(), policy.certificate.as_deref()), (&["vpn.*".to_owned()][..], Some("vpn")));
    assert_eq!(conditions.eap_type, ["EAP-TLS", "PEAP"]);
    assert_eq!(conditions.port_type, [5, 15]);
    assert_eq!(conditions.certificate_eku, ["1.3.6.1.5.5.7.3.2"]);
    assert_eq!(conditions.reply, [Attribute { name: "Tunnel-Private-Group-Id".into(), value: "2?".into() }]);
    assert_eq!(conditions.any[0].user, ["a*"]);
    assert_eq!((conditions.any[1].group.as_slice(), conditions.any[1].not[0].time.len()), (&["staff".to_owned()][..], 1));
    let constraints = &policy.constraints;
    assert_eq!(constraints.methods, [AllowedMethod::Method(Method::Certificate), AllowedMethod::Eap("PEAP".into())]);
    assert_eq!((constraints.cipher_bits, constraints.sessions_per_user, constraints.sessions), (Some(256), Some(2), Some(100)));
    assert_eq!(policy.settings.ipv4, Some(Ipv4Addr::new(10, 98, 0, 20)));
    assert_eq!(policy.settings.accounting_class, ["managed"]);
    let words = [conditions.words(), constraints.words()].concat().join("; ");
    assert!(words.contains("any (user a*) (group staff; not (time sat,sun 00:00-24:00))") && words.contains("sessions_max 100"), "{words}");
}

/// RADIUS has no attribute for groups but Azure's, and users of a file are not here.
#[test]
fn groups_that_nobody_names_are_warned_of() {
    let warned = |condition: &str| {
        let policy = format!("[[policy]]\nname = \"staff\"\npool = \"users\"\n{condition}\n");
        let warnings = with_policy(&policy).load().unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.contains("no group is ever")).collect::<Vec<_>>()
    };
    let found = warned("group = [\"VPN Staff\"]");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("policy \"staff\": no group is ever \"VPN Staff\"") && found[0].ends_with("use class"), "{found:?}");
    assert_eq!(warned("any = [{ all = [{ group = [\"st*\"] }] }]").len(), 1);
    for possible in
        ["group = [\"6ad1bd07\"]", "group = [\"6AD1*\"]", "group = [\"*\"]", "class = [\"staff\"]", "enabled = false\ngroup = [\"a\"]"]
    {
        assert_eq!(warned(possible), Vec::<String>::new(), "{possible}");
    }
    let fixture = with_policy("[local]\nusers_file = \"users\"\n[[policy]]\nname = \"staff\"\npool = \"users\"\ngroup = [\"staff\"]");
    fixture.file("users", "", 0o600);
    let warnings = fixture.load().unwrap().warnings;
    assert!(!warnings.iter().any(|warning| warning.contains("no group is ever")), "{warnings:?}");
}

#[test]
fn addresses_that_no_client_can_have_are_mistakes() {
    let policy = |address: &str| with_policy(&format!("[[policy]]\nname = \"p\"\npool = \"users\"\naddress = \"{address}\"")).error();
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "127.1.2.3",
        "169.254.0.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
    ] {
        let error = policy(address);
        assert!(error.contains(&format!("policy \"p\": address = \"{address}\"")) && error.contains("which no client can have"), "{error}");
    }
    for range in ["0.0.0.0/0", "126.0.0.0-128.0.0.9", "127.0.0.1", "169.254.0.0/16", "223.0.0.1-224.0.0.1"] {
        let error = Fixture::new(&MINIMAL.replace("10.98.0.10-10.98.0.250", range)).error();
        assert!(error.contains("pool \"users\": ipv4") && error.contains("holds what no client can have"), "{range}: {error}");
    }
}

#[test]
fn later_groups_are_read_and_checked() {
    let group = "[[radius_group]]\nname = \"corp\"\nservers = [\"nps1\"]\n";
    let policy = |groups: &str, lines: &str| with_policy(&format!("{groups}[[policy]]\nname = \"p\"\npool = \"users\"\n{lines}"));
    let later = |lines: &str| policy(group, lines).load().unwrap().policies.remove(1).settings.later;
    let of = |seconds| Some(policy::network::Later { group: "corp".into(), time: Duration::from_secs(seconds) });
    assert_eq!(later(""), None);
    assert_eq!(later("later_group = \"corp\""), of(12 * 3600));
    assert_eq!(later("later_group = \"corp\"\nlater_group_for = \"1h\""), of(3600));
    for (groups, lines, error) in [
        ("", "later_group = \"corp\"", "later_group = \"corp\": there is no [[radius_group]]"),
        (group, "later_group = \"corporate\"", "later_group = \"corporate\""),
        (group, "later_group_for = \"1h\"", "name that group, or leave this out"),
        (group, "later_group = \"corp\"\nlater_group_for = \"5s\"", "later_group_for = \"5s\""),
    ] {
        let found = policy(groups, lines).error();
        assert!(found.contains(error), "{found}");
    }
}

#[test]
fn mistakes_in_conditions_are_named() {
    let error = |lines: &str| with_policy(&format!("[[policy]]\nname = \"p\"\npool = \"users\"\n{lines}")).error();
    for (lines, expected) in [
        ("eap_type = [\"eap\"]", "policy \"p\": eap_type = \"eap\": expected \"EAP-MD5\", \"EAP-OTP\""),
        ("listener = [\"ssl\"]", "policy \"p\": listener = [\"ssl\"]: no [[listener]] is called \"ssl\""),
        ("radius_server = [\"nsp1\"]", "no [[radius]] is called \"nsp1\"; did you mean \"nps1\"?"),
        ("radius_group = [\"corp\"]", "there is no [[radius_group]]: add one with this name"),
        ("any = [{ usr = [\"a\"] }]", "policy \"p\": usr: unknown key; did you mean \"user\"?"),
        ("any = [\"a\"]", "expected tables such as { user = [\"*@example.com\"] }"),
        ("not = [{}]", "has a group without conditions; leave it out"),
        ("all = []", "is empty; leave the key out where anything may match"),
        ("reply = [\"Class\"]", "has no =; expected attributes such as"),
        ("certificate_eku = [\"vpn\"]", "expected purposes such as \"clientAuth\""),
        ("allowed_methods = [\"tls\"]", "expected one of \"eap\", \"certificate\""),
        ("allowed_hours = []", "is empty"),
        ("min_cipher_bits = 112", "expected 128, 192 or 256"),
        ("sessions_max = 0", "expected a whole number, 1..=1000000"),
        ("port_type = [\"vpn\"]", "or a number of NAS-Port-Type"),
        ("address = [\"10.98.0.20\", \"10.98.0.21\"]", "names two addresses of one family"),
    ] {
        let error = error(lines);
        assert!(error.contains(expected), "{lines}: {error}");
    }
    let deep = (0..10).fold("{ user = [\"a\"] }".to_owned(), |inner, _| format!("{{ any = [{inner}] }}"));
    assert!(error(&format!("any = [{deep}]")).contains("is a group inside 8 others"));
}

#[test]
fn policy_tests_are_run_and_the_first_that_breaks_is_an_error() {
    let test = |lines: &str| with_policy(&format!("[[policy.test]]\nname = \"t\"\n{lines}"));
    let good = test("user = \"ann\"\nexpect = \"grant\"\npolicy = \"everyone\"\nreason = 0");
    assert_eq!(good.load().unwrap().policy_tests, 1);
    for (lines, expected) in [
        ("expect = \"deny\"", "policy.test \"t\": expect = \"deny\": is not what the policies say: policy \"everyone\" decides: grant"),
        ("expect = \"grant\"\nreason = 48", "reason = 48: is not what the policies say"),
        ("expect = \"grant\"\npolicy = \"nobody\"", "policy = \"nobody\": expected \"everyone\""),
        ("user = \"ann\"", "expect: is missing; expected \"grant\" or \"deny\""),
        ("expect = \"grant\"\ntime = \"noon\"", "expected a day and a time such as \"fri 18:30\""),
    ] {
        let error = test(lines).error();
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn policy_tests_stand_behind_any_policy_or_in_a_file_of_their_own() {
    let case = |name: &str| format!("[[policy.test]]\nname = \"{name}\"\nexpect = \"grant\"\npolicy = \"everyone\"\n");
    let fixture = Fixture::new(&format!("{MINIMAL}{}{}[[policy]]\nname = \"more\"\npool = \"users\"\n{}", case("a"), case("b"), case("c")));
    fixture.file("evergate.d/10-tests.toml", &case("d"), 0o644);
    let config = fixture.load().unwrap();
    assert_eq!((config.policy_tests, config.policies.len()), (4, 2));
    let shown = config.shown();
    let cases = shown.sections.iter().filter(|section| section.kind == "policy.test").filter_map(|section| section.name.as_deref());
    assert_eq!(cases.collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    fixture.file("evergate.d/10-tests.toml", &case("a"), 0o644);
    assert!(
        fixture.error().starts_with("evergate.d/10-tests.toml:2: policy.test \"a\": name = \"a\": is taken by the [[policy.test]] at ")
    );
    fixture.file("evergate.d/10-tests.toml", "[[policy_test]]\nname = \"a\"\n", 0o644);
    assert!(fixture.error().starts_with("evergate.d/10-tests.toml:1: policy_test: unknown section; did you mean \"policy.test\"?"));
    let single = "[[policy]]\nname = \"x\"\npool = \"users\"\n[policy.test]\nname = \"x\"\n";
    fixture.file("evergate.toml", &format!("{MINIMAL}{single}[[policy]]\nname = \"y\"\npool = \"users\"\n{}", case("y")), 0o644);
    fixture.file("evergate.d/10-tests.toml", "", 0o644);
    assert!(fixture.error().contains("expected tables with double brackets, written [[policy.test]]"), "{}", fixture.error());
}

#[test]
fn a_policy_test_describes_all_that_policies_look_at() {
    let fixture = Fixture::new(&MINIMAL.replace(
        "name = \"everyone\"",
        r#"name = "everyone"
tunnel = ["ikev2"]
method = ["eap"]
eap_type = ["EAP-TLS"]
user = ["host/pc1*"]
machine = ["pc1.example.test"]
client = ["192.0.2.0/24"]
gateway = ["198.51.100.1"]
listener = ["ikev2"]
certificate_subject = ["CN=pc1"]
certificate_issuer = ["CN=ca"]
certificate_san = ["pc1.*"]
certificate_eku = ["clientAuth"]
certificate_template = ["1.2.3"]
class = ["staff"]
filter_id = ["vpn"]
group = ["admins"]
radius_server = ["nps*"]
reply = ["Reply-Message=hello"]
time = ["sat-sun"]
sessions_per_user = 2
min_cipher_bits = 256"#,
    ));
    let text = fs::read_to_string(fixture.path("evergate.toml")).unwrap();
    let case = r#"
[[policy.test]]
name = "t"
expect = "grant"
user = "host/pc1.example.test"
eap_type = "eap-tls"
client = "192.0.2.7"
gateway = "198.51.100.1"
certificate_subject = "CN=pc1"
certificate_issuer = "CN=ca"
certificate_san = ["pc1.example.test"]
certificate_eku = ["clientAuth"]
certificate_template = "1.2.3"
attribute = ["Class=staff", "Filter-Id=vpn", "Reply-Message=hello"]
group = ["admins"]
radius_server = "nps1"
time = "sun 23:59"
sessions = 1
"#;
    fixture.file("evergate.toml", &format!("{text}{case}"), 0o644);
    fixture.load().unwrap_or_else(|error| panic!("{error}"));
    // Each line counts.
    for line in case
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with("name") && !line.starts_with("expect") && !line.starts_with("sessions"))
    {
        fixture.file("evergate.toml", &format!("{text}{}", case.replace(line, "")), 0o644);
        assert!(fixture.error().contains("is not what the policies say"), "{line}");
    }
    for worse in [
        "sessions = 2",
        "sessions = 1\ncipher_bits = 128",
        "sessions = 1\nconfirmed = false",
        "sessions = 1\nmethod = \"pap\"",
        "sessions = 1\nmachine = \"pc2\"",
    ] {
        fixture.file("evergate.toml", &format!("{text}{}", case.replace("sessions = 1", worse)), 0o644);
        assert!(fixture.error().contains("is not what the policies say"), "{worse}");
    }
}

#[test]
fn a_policy_test_with_an_unchecked_name_makes_no_computer_of_it() {
    let fixture = Fixture::new(&MINIMAL.replace("name = \"everyone\"", "name = \"everyone\"\nmachine = [\"pc1*\"]"));
    let text = fs::read_to_string(fixture.path("evergate.toml")).unwrap();
    let case = |expect: &str, more: &str| {
        let case = format!("[[policy.test]]\nname = \"t\"\nuser = \"host/pc1.example.test\"\nexpect = \"{expect}\"\n{more}");
        fixture.file("evergate.toml", &format!("{text}{case}"), 0o644);
        fixture.load().unwrap_or_else(|error| panic!("{expect} {more}: {error}"));
    };
    case("grant", "");
    case("deny", "confirmed = false\npolicy = \"everyone\"\nreason = 48");
    // A certificate names the computer.
    case("grant", "confirmed = false\nmachine = \"pc1\"");
}

#[test]
fn a_policy_test_of_a_login_that_hides_its_certificate_is_denied_by_a_condition_on_one() {
    let fixture =
        Fixture::new(&MINIMAL.replace("name = \"everyone\"", "name = \"everyone\"\nnot = [{ certificate_issuer = [\"*Contractor*\"] }]"));
    let text = fs::read_to_string(fixture.path("evergate.toml")).unwrap();
    for (expect, login) in [
        ("deny\"\nreason = 48\npolicy = \"everyone", "eap_type = \"EAP-TLS\""),
        ("deny", "eap_type = \"PEAP\""),
        ("deny", "eap_type = \"EAP-TLS\"\ncertificate_issuer = \"CN=Contractor CA\""),
        ("grant", "eap_type = \"EAP-TLS\"\ncertificate_issuer = \"CN=Staff CA\""),
        ("grant", "eap_type = \"EAP-MSCHAPv2\""),
        ("grant", "method = \"mschapv2\""),
    ] {
        let case = format!("[[policy.test]]\nname = \"t\"\nuser = \"ann\"\nexpect = \"{expect}\"\n{login}\n");
        fixture.file("evergate.toml", &format!("{text}{case}"), 0o644);
        fixture.load().unwrap_or_else(|error| panic!("{login}: {error}"));
    }
}

/// Numbers that look drawn at random, the same ones in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// A section with any keys and any values, most of them of the right kind.
fn odd_policy(draws: &mut Draws, name: usize) -> String {
    const KEYS: &[&str] = &[
        "enabled",
        "grant",
        "certificate",
        "pool",
        "address",
        "session_timeout",
        "rate_limit_in",
        "later_group_for",
        "tunnel",
        "method",
        "eap_type",
        "user",
        "machine",
        "client",
        "gateway",
        "calling_station_id",
        "called_station_id",
        "port_type",
        "listener",
        "server_name",
        "certificate_eku",
        "class",
        "group",
        "reply",
        "time",
        "any",
        "all",
        "not",
        "allowed_methods",
        "allowed_hours",
        "min_cipher_bits",
        "sessions_max",
        "filters",
        "usr",
    ];
    const VALUES: &[&str] = &[
        "true",
        "false",
        "0",
        "-1",
        "99999999999",
        "1.5",
        "\"\"",
        "\"users\"",
        "\"vpn\"",
        "\"ikev2\"",
        "[\"*\"]",
        "[\"ikev2\"]",
        "[\"eap\"]",
        "[\"EAP-TLS\", 26]",
        "[\"a*b?\", \"\u{e9}*\"]",
        "[\"192.0.2.0/24\", \"::/0\"]",
        "[\"10.0.0.9-10.0.0.1\"]",
        "[\"mon-fri 08:00-18:00\"]",
        "[\"daily 24:00-00:00\"]",
        "[\"sun-mon 23:59-00:00\"]",
        "[\"clientAuth\"]",
        "[\"X=*\"]",
        "[{ user = [\"*\"] }]",
        "[{ not = [{ tunnel = [\"sstp\"] }] }]",
        "[{}]",
        "{ group = [\"a\"] }",
        "[]",
        "\"10.98.0.20\"",
        "\"8h\"",
        "\"20M\"",
        "256",
        "[[]]",
        "2026-11-21",
    ];
    let mut keys: Vec<_> = KEYS.to_vec();
    let mut text = format!("[[policy]]\nname = \"{name}\"\n");
    for _ in 0..draws.below(4) {
        let key = keys.remove(draws.below(keys.len()));
        text.push_str(&format!("{key} = {}\n", draws.of(VALUES)));
    }
    text
}

/// Whatever stands in `[[policy]]`: a configuration whose policies answer any login, or one line that says where.
#[test]
fn odd_policies_give_one_line_or_decide() {
    let mut draws = Draws(7);
    let base = MINIMAL.split("[[policy]]").next().unwrap();
    let fixture = Fixture::new("");
    let (mut good, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let policies: String = (0..=draws.below(2)).map(|name| odd_policy(&mut draws, name)).collect();
        fixture.file("evergate.toml", &format!("{base}{policies}"), 0o644);
        let config = match fixture.load() {
            Ok(config) => config,
            Err(error) => {
                refused += 1;
                let line = fixture.without_folder(&error);
                assert!(!line.contains('\n') && line.starts_with("evergate.toml:"), "{line:?} of {policies}");
                continue;
            }
        };
        good += 1;
        let mut case = crate::policy_case::Case::new("ann", LocalTime { weekday: 6, minute: 1_439 });
        case.place.listener = "ikev2".into();
        for shown in [None, Some("vpn")] {
            case.place.certificate = shown.map(str::to_owned);
            let decision = case.decide(&config.policies);
            let deciding = decision.policy.as_ref().and_then(|name| config.policies.iter().find(|policy| policy.name == *name));
            assert!(!decision.granted || deciding.is_some_and(|policy| policy.grant && !policy.disabled), "{policies}");
            assert!(deciding.is_none_or(|policy| policy.certificate.is_none() || policy.certificate.as_deref() == shown), "{policies}");
            assert!(!crate::login::trace_of(&decision).is_empty());
        }
        assert!(case.shown(&config.policies, &config.doors()).is_some_and(|selection| selection.name == "vpn"));
    }
    assert!(good > 100 && refused > 500, "{good} {refused}");
}

#[test]
fn names_of_the_suffix_are_looked_up_in_split_tunnels_alone() {
    for (keys, wanted) in [
        ("suffix = \"corp.test\"", vec![]),
        ("suffix = \"corp.test\"\nroutes = [\"10.0.0.0/8\"]", vec!["corp.test"]),
        ("suffix = \"corp.test\"\nselectors = [\"10.0.0.0/8\"]", vec!["corp.test"]),
        ("suffix = \"corp.test\"\nroutes = [\"10.0.0.0/8\"]\ndns_domains = []", vec![]),
        ("dns_domains = [\"corp.test\", \"lab.test\"]", vec!["corp.test", "lab.test"]),
    ] {
        let fixture = with_policy(&format!("[[policy]]\nname = \"other\"\npool = \"users\"\n{keys}"));
        assert_eq!(fixture.load().unwrap().policies.remove(1).settings.dns_domains, wanted, "{keys}");
    }
}
