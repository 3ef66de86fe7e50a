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
