//! Several certificates: whom each is for, and that what would be a matter of luck is an error.
use super::*;
use pki::{AskedName, Hints};

/// MINIMAL with the certificates `a` and `b` for a.example.test and *.b.example.test, and lines for their sections and the listener.
fn two(of_a: &str, of_b: &str, of_listener: &str) -> Fixture {
    two_in_order(of_a, of_b, of_listener, false)
}

fn two_in_order(of_a: &str, of_b: &str, of_listener: &str, reverse: bool) -> Fixture {
    let section =
        |name: &str, lines: &str| format!("[[certificate]]\nname = \"{name}\"\nchain = \"{name}.pem\"\nkey = \"{name}.key\"\n{lines}\n\n");
    let mut sections = [section("a", of_a), section("b", of_b)];
    let mut list = ["\"a\"", "\"b\""];
    if reverse {
        sections.reverse();
        list.reverse();
    }
    let old = "[[certificate]]\nname = \"vpn\"\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\n\n";
    let text = MINIMAL
        .replace(old, &sections.concat())
        .replace("certificates = [\"vpn\"]", &format!("certificates = [{}]\n{of_listener}", list.join(", ")));
    let fixture = Fixture::new(&text.replace("name = \"vpn.example.test\"", "name = \"a.example.test\""));
    for (name, dns) in [("a", "a.example.test"), ("b", "*.b.example.test")] {
        let authority = authority();
        let (chain, key) = leaf(&authority, &[dns], true);
        fixture.file(&format!("{name}.pem"), &(chain + &authority.root.pem()), 0o644);
        fixture.file(&format!("{name}.key"), &key, 0o600);
    }
    fixture
}

const NAMES_OF_B: &str = "names = [\"*.b.example.test\"]";

#[test]
fn a_tie_is_an_error_that_names_both_and_the_key_to_add() {
    assert_eq!(
        two("", NAMES_OF_B, "").error(),
        "evergate.toml:16: listener \"ikev2\": default_certificate: is missing: nothing decides between \"a\" and \"b\" for clients that ask for \
         no name; expected one of them, or give one of the two names, addresses or realms of its own"
    );
    let both = two("", NAMES_OF_B, "default_certificate = [\"a\", \"b\"]").error();
    assert!(
        both.contains(
            "certificates = [\"a\", \"b\"]: nothing decides between \"a\" and \"b\" for clients that ask for no name; name only one"
        ),
        "{both}"
    );
    let unknown = two("", NAMES_OF_B, "default_certificate = \"c\"").error();
    assert!(unknown.contains("default_certificate = \"c\": ") && unknown.contains("\"a\""), "{unknown}");
}

#[test]
fn addresses_and_realms_decide_as_well() {
    let of_b = format!("{NAMES_OF_B}\naddresses = [\"192.0.2.7\"]\nrealms = [\"b.test\"]");
    let config = two("addresses = \"192.0.2.1\"", &of_b, "default_certificate = \"a\"").load().unwrap();
    let certificates = &config.ikev2.as_ref().unwrap().certificates;
    assert_eq!(certificates[1].addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    assert_eq!((certificates[1].realms.as_slice(), certificates[0].default), (&["b.test".to_owned()][..], true));
    // With a place of its own each, there is nothing left to tie but clients that come elsewhere.
    let elsewhere = two("addresses = \"192.0.2.1\"", &of_b.replace("realms", "# realms"), "").error();
    assert!(elsewhere.contains("between \"a\" and \"b\""), "{elsewhere}");
    for (lines, expected) in [
        ("addresses = []", "addresses = []: is empty; leave the key out instead"),
        ("addresses = [\"b.test\"]", "expected addresses of this gateway"),
        ("realms = [\"@b.test\"]", "expected realms such as \"example.com\""),
        ("names = [\"b.*.test\"]", "such as \"vpn.example.com\" or \"*.example.com\""),
    ] {
        let error = two("", lines, "default_certificate = \"a\"").error();
        assert!(error.contains(expected), "{error}");
    }
}

/// Sections and lists in any order come to the same.
#[test]
fn the_order_of_sections_decides_nothing() {
    let forward = two_in_order("", NAMES_OF_B, "default_certificate = \"a\"", false);
    let backward = two_in_order("", NAMES_OF_B, "default_certificate = \"a\"", true);
    for name in ["a.example.test", "vpn.b.example.test", "elsewhere.test"] {
        let chosen = |fixture: &Fixture| {
            let certificates = fixture.load().unwrap().ikev2.unwrap().certificates;
            let hints = Hints {
                name: Some(AskedName::Dns(name)),
                name_source: "IDr",
                authorities: &[],
                address: None,
                itself: None,
                keys: &|_| Some(0),
                steering: None,
            };
            let selection = pki::choose(&certificates, &hints).unwrap();
            (selection.name, selection.why, selection.passed_over)
        };
        assert_eq!(chosen(&forward), chosen(&backward));
    }
    let error = |reverse| two_in_order("", NAMES_OF_B, "", reverse).error();
    assert_eq!(error(false), error(true));
}

#[test]
fn the_same_certificate_twice_is_a_mistake() {
    let error = with("certificates = [\"vpn\"]", "certificates = [\"vpn\", \"vpn\"]").error();
    assert!(error.contains("names \"vpn\" twice"), "{error}");
}

#[test]
fn wildcards_and_unused_certificates_are_warned_of() {
    let config = two("", NAMES_OF_B, "default_certificate = \"a\"").load().unwrap();
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(
        warning.starts_with("certificate \"b\": server certificate CN=*.b.example.test: holds the wildcard *.b.example.test; some IKEv2"),
        "{warning}"
    );
    assert_eq!(config.certificates[1].lint(&config.server.name, jiff::Timestamp::now().as_second()).len(), 1);
    let fixture = two("", NAMES_OF_B, "");
    let text = fs::read_to_string(fixture.path("evergate.toml")).unwrap();
    fixture.file("evergate.toml", &text.replace("[\"a\", \"b\"]", "[\"a\"]"), 0o644);
    let warnings = fixture.load().unwrap().warnings;
    assert!(
        warnings.iter().any(|line| line == "certificate \"b\": no listener names it in its certificates, so nobody sees it"),
        "{warnings:?}"
    );
}

/// With several certificates, the root above each should be known: Windows asks by roots.
#[test]
fn an_unknown_root_is_warned_of_where_it_matters() {
    let fixture = two("", NAMES_OF_B, "default_certificate = \"a\"");
    let (chain, key) = leaf(&authority(), &["a.example.test"], true);
    fixture.file("a.pem", &chain, 0o644);
    fixture.file("a.key", &key, 0o600);
    let warnings = fixture.load().unwrap().warnings;
    assert!(warnings[0].starts_with("certificate \"a\": the root above it is not known here"), "{warnings:?}");
}

#[test]
fn local_eap_tls_needs_a_name_where_there_are_several() {
    let local = "[local]\nusers_file = \"users\"\neap = [\"tls\"]\nclient_ca = \"ca.pem\"\n";
    let load = |lines: &str| {
        let fixture = two("", NAMES_OF_B, "default_certificate = \"a\"");
        fixture.file("users", "", 0o600);
        let text = fs::read_to_string(fixture.path("evergate.toml")).unwrap();
        fixture.file("evergate.toml", &format!("{text}\n{local}{lines}"), 0o644);
        fixture.load().map_err(|error| fixture.without_folder(&error))
    };
    let error = load("").unwrap_err();
    assert!(error.contains("certificate: is missing: there are several; expected the one to show in EAP-TLS, of \"a\", \"b\""), "{error}");
    assert!(load("certificate = \"b\"\n").unwrap().local.is_some());
}

/// Nobody dials what EAP alone shows.
#[test]
fn a_certificate_for_eap_alone_need_not_be_made_out_to_the_gateway() {
    let fixture = two("", "", "");
    fixture.file("users", "", 0o600);
    let text =
        fs::read_to_string(fixture.path("evergate.toml")).unwrap().replace("certificates = [\"a\", \"b\"]", "certificates = [\"a\"]");
    let local = "[local]\nusers_file = \"users\"\neap = [\"tls\"]\nclient_ca = \"ca.pem\"\ncertificate = \"b\"\n";
    fixture.file("evergate.toml", &format!("{text}\n{local}"), 0o644);
    assert!(fixture.load().unwrap().local.is_some());
}

/// A server with one RSA and two ECDSA certificates chooses between the two for clients that verify ECDSA alone.
#[test]
fn tls_clients_may_verify_ecdsa_alone() {
    use crypto::sign::KeyKind;
    let ranks = crate::config::certificates::clients(::policy::network::Tunnel::Sstp);
    let alone = |rank: &&pki::KeyRank<'_>| rank(KeyKind::EcdsaP256).is_some() && rank(KeyKind::Rsa { bits: 2048 }).is_none();
    assert!(ranks.iter().any(|rank| alone(&rank)));
}

/// [`two`] with these policies instead of the one.
fn with_policies(policies: &str, of_listener: &str) -> Fixture {
    let fixture = two("", NAMES_OF_B, of_listener);
    let path = fixture.folder.path().join("evergate.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[[policy]]\nname = \"everyone\"\npool = \"users\"\n", policies)).unwrap();
    fixture
}

fn tenant(name: &str, certificate: &str, lines: &str) -> String {
    format!("[[policy]]\nname = \"{name}\"\npool = \"users\"\ncertificate = \"{certificate}\"\n{lines}\n\n")
}

const A_IS_DEFAULT: &str = "default_certificate = \"a\"";

#[test]
fn policies_name_the_certificate_that_their_clients_see() {
    let policies = tenant("A", "a", "group = [\"a\"]") + &tenant("B", "b", "server_name = [\"*.B.example.test\"]");
    let tests = "[[policy.test]]\nname = \"b\"\nserver_name = \"vpn.b.example.test\"\nexpect = \"grant\"\npolicy = \"B\"\n\n\
         [[policy.test]]\nname = \"crossed\"\ngroup = [\"a\"]\nserver_name = \"vpn.b.example.test\"\nexpect = \"grant\"\npolicy = \"B\"\n\n\
         [[policy.test]]\nname = \"a\"\ngroup = [\"a\"]\nexpect = \"grant\"\npolicy = \"A\"\n\n\
         [[policy.test]]\nname = \"no a\"\ngroup = [\"a\"]\ncertificate = \"b\"\nexpect = \"deny\"\nreason = 48\n";
    let config = with_policies(&(policies.clone() + tests), A_IS_DEFAULT).load().unwrap();
    assert_eq!(config.policy_tests, 4);
    assert_eq!(config.policies[1].words(), ["certificate b", "server_name *.B.example.test"]);
    let report = crate::certificates::report(&config, jiff::Timestamp::now().as_second());
    assert_eq!(report.certificates[1].policies, ["B"]);
    let rows: Vec<_> = report.clients.iter().map(|row| (row.client.as_str(), row.tells.as_str(), row.certificate.as_deref())).collect();
    assert!(rows.contains(&("of policy \"B\"", "IDr host.b.example.test", Some("b"))), "{rows:?}");
    assert!(rows.contains(&("of policy \"A\"", "IDr a.example.test", Some("a"))), "{rows:?}");
    assert!(config.ikev2.as_ref().unwrap().steering.is_some());
    // Where nobody names one, nobody has a say.
    let plain = with_policies("[[policy]]\nname = \"P\"\npool = \"users\"\n", A_IS_DEFAULT).load().unwrap();
    assert!(plain.ikev2.unwrap().steering.is_none());
}

/// [`with_policies`] with a third certificate, the default, that none of them names.
fn third(policies: &str) -> Fixture {
    let fixture = with_policies(policies, "default_certificate = \"c\"");
    // Of one authority, so that CERTREQ tells nothing of them.
    let authority = authority();
    for (name, dns) in [("a", "a.example.test"), ("b", "*.b.example.test"), ("c", "c.example.test")] {
        let (chain, key) = leaf(&authority, &[dns], true);
        fixture.file(&format!("{name}.pem"), &chain, 0o644);
        fixture.file(&format!("{name}.key"), &key, 0o600);
    }
    let path = fixture.folder.path().join("evergate.toml");
    let text = fs::read_to_string(&path).unwrap().replace("certificates = [\"a\", ", "certificates = [\"c\", \"a\", ");
    let c = "[[certificate]]\nname = \"c\"\nchain = \"c.pem\"\nkey = \"c.key\"\nnames = [\"c.example.test\"]\n\n[[listener]]";
    fs::write(&path, text.replace("[[listener]]", c)).unwrap();
    fixture
}

#[test]
fn policies_that_leave_the_certificate_to_luck_are_an_error() {
    let groups = || tenant("A", "a", "group = [\"a\"]") + &tenant("B", "b", "group = [\"b\"]");
    // One of the two is the default: it is for clients that tell nothing.
    assert!(with_policies(&groups(), A_IS_DEFAULT).load().is_ok());
    let error = third(&groups()).error();
    for part in [
        "policy \"B\": certificate = \"b\": nothing decides between \"b\" and \"a\", which policy \"A\" names, for clients that ask for no name",
        "at listener \"ikev2\"",
        "server_name",
        "default_certificate",
    ] {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    // What is known before the login keeps them apart; so does a policy whose conditions are all known.
    for policies in [
        tenant("A", "a", "group = [\"a\"]\nserver_name = [\"a.*\"]") + &tenant("B", "b", "server_name = [\"*.b.example.test\"]"),
        tenant("A", "a", "group = [\"a\"]\nclient = [\"192.0.2.0/24\"]") + &tenant("B", "b", "client = [\"198.51.100.0/24\"]"),
        tenant("A", "a", "time = [\"mon-fri 08:00-18:00\"]") + &tenant("B", "b", "group = [\"b\"]"),
        tenant("A", "a", "") + &tenant("B", "b", ""),
        tenant("A", "a", "method = [\"certificate\"]\nuser = [\"x\"]") + &tenant("B", "b", "method = [\"eap\"]\nuser = [\"y\"]"),
        tenant("A", "a", "group = [\"a\"]\nenabled = false") + &tenant("B", "b", "group = [\"b\"]"),
        tenant("A", "a", "group = [\"a\"]\ngrant = false") + &tenant("B", "b", "group = [\"b\"]"),
    ] {
        if let Err(error) = third(&policies).load() {
            panic!("{policies} {error}");
        }
    }
    let inside = tenant("A", "a", "not = [{ client = [\"192.0.2.0/24\"] }]\ngroup = [\"a\"]") + &tenant("B", "b", "group = [\"b\"]");
    assert!(third(&inside).error().contains("nothing decides between"));
}

/// Three certificates of which none is for anybody in particular, and no default.
fn tenants(policies: &str) -> Fixture {
    let fixture = third(policies);
    let path = fixture.folder.path().join("evergate.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("default_certificate = \"c\"\n"), "{text}");
    fs::write(&path, text.replace("default_certificate = \"c\"\n", "\n")).unwrap();
    fixture
}

/// A policy for each of the three certificates, with these lines.
fn three(lines: [&str; 3]) -> String {
    ["a", "b", "c"].into_iter().zip(lines).map(|(name, lines)| tenant(&name.to_uppercase(), name, lines)).collect()
}

#[test]
fn policies_that_keep_all_clients_apart_decide_alone() {
    let apart = ["client = [\"192.0.2.0/24\"]", "client = [\"198.51.100.0/24\", \"2001:db8::/32\"]", "client = [\"203.0.113.7\"]"];
    let names = ["server_name = [\"a.example.test\"]", "server_name = [\"x.b.example.test\"]", "server_name = [\"c.example.test\"]"];
    let reached = ["gateway = [\"192.0.2.1\"]", "gateway = [\"192.0.2.2\"]", "gateway = [\"192.0.2.3\"]"];
    let ways =
        ["method = [\"certificate\"]", "method = [\"eap\"]\nclient = [\"192.0.2.0/24\"]", "method = [\"eap\"]\nclient = [\"10.0.0.0/8\"]"];
    let grouped = apart.map(|lines| format!("{lines}\ngroup = [\"g\"]"));
    let grouped = three([&grouped[0], &grouped[1], &grouped[2]]);
    let denied = "[[policy]]\nname = \"D\"\ngrant = false\nuser = [\"x\"]\n\n";
    let off = tenant("OFF", "a", "").replace("certificate = \"a\"\n", "enabled = false\n");
    let elsewhere = "[[policy]]\nname = \"S\"\npool = \"users\"\ntunnel = [\"sstp\"]\n\n";
    let all = [three(apart), three(names), three(reached), three(ways), grouped.clone()];
    let more = [denied, &off, elsewhere].map(|policy| grouped.clone() + policy);
    for policies in all.iter().chain(&more) {
        let config = tenants(policies).load().unwrap_or_else(|error| panic!("{policies}\n{error}"));
        assert_eq!(config.ikev2.unwrap().certificates.len(), 3);
    }
    let groups = ["group = [\"a\"]", "group = [\"b\"]", "group = [\"c\"]"];
    let wide = ["client = [\"192.0.2.0/24\"]", "client = [\"192.0.2.128/25\"]\ngroup = [\"b\"]", "client = [\"203.0.113.7\"]"];
    let patterns = ["server_name = [\"a.*\"]", "server_name = [\"x.b.example.test\"]", "server_name = [\"c.example.test\"]"];
    let open = grouped + "[[policy]]\nname = \"O\"\npool = \"users\"\nuser = [\"x\"]\n\n";
    let inside = three(["any = [{ client = [\"192.0.2.0/24\"] }, { user = [\"x\"] }]", apart[1], apart[2]]);
    for policies in [three(groups), three(wide), three(patterns), open, inside] {
        let error = tenants(&policies).error();
        for part in
            ["listener \"ikev2\": default_certificate: is missing: nothing decides between \"a\" and \"b\"", "or let the policies decide"]
        {
            assert!(error.contains(part), "{part:?} is not in: {error}\n{policies}");
        }
    }
}

/// Clients are sought at all the edges that policies have, those of others too.
#[test]
fn luck_at_one_time_or_place_alone_is_found() {
    let both = |lines: &str| {
        let of = |group: &str| format!("group = [\"{group}\"]\n{lines}");
        tenant("A", "a", &of("a")) + &tenant("B", "b", &of("b"))
    };
    let denied = |lines: &str| format!("[[policy]]\nname = \"T\"\ngrant = false\n{lines}\n\n");
    for (policies, clients) in [
        (denied("time = [\"mon,wed 00:00-24:00\"]") + &both("time = [\"mon-fri 08:00-18:00\"]"), "no name on tue"),
        (denied("time = [\"mon-sun 00:00-20:00\"]") + &both(""), "no name on mon 20:00"),
        (denied("client = [\"10.0.0.0/24\"]") + &both("client = [\"10.0.0.0/8\"]"), "no name and come from 10.0.1.0"),
        (both("calling_station_id = [\"10.*\"]"), "no name and come from 10.1.1.1"),
        (
            tenant("A", "a", "group = [\"a\"]\nserver_name = [\"vpn.*\"]")
                + &tenant("B", "b", "group = [\"b\"]\nserver_name = [\"*.corp.test\"]"),
            "that ask for vpn.corp.test",
        ),
    ] {
        let error = third(&policies).error();
        assert!(error.contains("nothing decides between \"b\" and \"a\"") && error.contains(clients), "{clients}: {error}");
    }
    third(&(denied("time = [\"mon-sun 00:00-24:00\"]") + &both(""))).load().unwrap();
}

/// 200 policies that only the login tells apart, and 20 certificates.
#[test]
fn many_tenants_are_judged_a_few_times() {
    let names: Vec<_> = (0..20).map(|number| format!("c{number}")).collect();
    let section = |name: &String| {
        format!("[[certificate]]\nname = \"{name}\"\nchain = \"{name}.pem\"\nkey = \"{name}.key\"\nnames = [\"{name}.example.test\"]\n\n")
    };
    let policies: Vec<_> =
        (0..200).map(|number| tenant(&format!("P{number}"), &names[number % 20], &format!("group = [\"g{number}\"]"))).collect();
    let old = "[[certificate]]\nname = \"vpn\"\nchain = \"vpn.pem\"\nkey = \"vpn.key\"\n\n";
    let text = MINIMAL
        .replace(old, &names.iter().map(section).collect::<String>())
        .replace("certificates = [\"vpn\"]", &format!("certificates = {names:?}\ndefault_certificate = \"c0\""))
        .replace("[[policy]]\nname = \"everyone\"\npool = \"users\"\n", &policies.concat());
    let fixture = Fixture::new(&text);
    let authority = authority();
    for name in &names {
        let (chain, key) = leaf(&authority, &[&format!("{name}.example.test")], true);
        fixture.file(&format!("{name}.pem"), &chain, 0o644);
        fixture.file(&format!("{name}.key"), &key, 0o600);
    }
    let config = fixture.load().unwrap();
    let search =
        |most| crate::steering::search(config.doors()[0], &config.policies, crate::config::certificates::clients(Tunnel::Ikev2), most);
    let searched = search(crate::steering::JUDGEMENTS);
    assert!(searched.undecided.is_none() && !searched.cut, "{searched:?}");
    // Only who asks for no name can be for several of them.
    assert!((1..=20).contains(&searched.judged), "{searched:?}");
    let cut = search(1);
    assert!(cut.cut && cut.judged == 1, "{cut:?}");
}

#[test]
fn a_reload_steers_a_listener_with_another_name_by_the_new_policies() {
    let plain = "[[policy]]\nname = \"P\"\npool = \"users\"\n";
    for (before, after) in [(tenant("A", "a", ""), plain.to_owned()), (plain.to_owned(), tenant("A", "a", ""))] {
        let fixture = with_policies(&before, A_IS_DEFAULT);
        let running = fixture.load().unwrap();
        let path = fixture.folder.path().join("evergate.toml");
        let text = fs::read_to_string(&path).unwrap().replace(&before, &after).replace("name = \"ikev2\"", "name = \"other\"");
        fs::write(&path, text).unwrap();
        let over = running.load_again(&[]).unwrap().over(&running, Heard::default());
        let listener = over.ikev2.unwrap();
        assert_eq!((listener.name.as_str(), listener.steering.is_some()), ("other", after.contains("certificate")));
    }
}

#[test]
fn a_certificate_that_no_client_of_the_policy_sees_is_an_error() {
    let sstp = "[[listener]]\nname = \"sstp\"\nprotocol = \"sstp\"\ncertificates = [\"a\"]\nauth = [\"mschapv2\"]\n\n";
    let error = |policies: &str| with_policies(&(sstp.to_owned() + policies), A_IS_DEFAULT).error();
    let lost = error(&tenant("B", "b", "tunnel = [\"sstp\"]"));
    assert!(
        lost.contains(
            "policy \"B\": certificate = \"b\": nobody for whom this policy may be is shown \"b\": only listener \"ikev2\" shows it"
        ),
        "{lost}"
    );
    let unknown = error(&tenant("B", "bb", ""));
    assert!(unknown.contains("certificate = \"bb\"") && unknown.contains("\"b\""), "{unknown}");
    let unshown = two("", NAMES_OF_B, A_IS_DEFAULT);
    let path = unshown.folder.path().join("evergate.toml");
    let text = fs::read_to_string(&path).unwrap().replace("certificates = [\"a\", \"b\"]", "certificates = [\"a\"]");
    fs::write(&path, text.replace("pool = \"users\"", "pool = \"users\"\ncertificate = \"b\"")).unwrap();
    let error = unshown.error();
    assert!(error.contains("is shown \"b\": add it to certificates of listener \"ikev2\""), "{error}");
}

#[test]
fn a_reload_tells_another_certificate_of_a_policy() {
    let fixture = with_policies(&tenant("A", "a", ""), A_IS_DEFAULT);
    let before = fixture.load().unwrap();
    let path = fixture.folder.path().join("evergate.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("certificate = \"a\"\n\n\n", "certificate = \"b\"\nserver_name = [\"x\"]\n\n\n")).unwrap();
    let after = fixture.load().unwrap();
    let difference = Difference::new(&before, &before, &after, Heard::default());
    let lines: Vec<_> = difference.live.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["policy \"A\" changed: certificate: \"a\" -> \"b\", server_name = [\"x\"]"]);
    assert_eq!(difference.restart, []);
}
