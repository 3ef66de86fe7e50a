//! A configuration as people are shown it.
use super::*;

fn shown(fixture: &Fixture, environment: &[(&str, &str)]) -> Shown {
    let environment: Vec<_> = environment.iter().map(|(variable, text)| ((*variable).to_owned(), (*text).to_owned())).collect();
    Config::load(&fixture.path("evergate.toml"), &environment).unwrap().shown()
}

fn key<'a>(shown: &'a Shown, kind: &str, key: &str) -> &'a ShownKey {
    let section = shown.sections.iter().find(|section| section.kind == kind).unwrap();
    section.keys.iter().find(|known| known.key == key).unwrap()
}

#[test]
fn every_value_says_where_it_stands() {
    let fixture = Fixture::new(MINIMAL);
    fixture.file("evergate.d/10-site.toml", "[timers]\nliveness_interval = \"20s\"\n", 0o644);
    let shown = shown(&fixture, &[("EVERGATE__SERVER__MTU", "1380")]);
    let titles: Vec<_> = shown.sections.iter().map(|section| (section.kind.as_str(), section.name.as_deref())).collect();
    assert_eq!(
        titles,
        [
            ("server", None),
            ("certificate", Some("vpn")),
            ("listener", Some("ikev2")),
            ("radius", Some("nps1")),
            ("pool", Some("users")),
            ("policy", Some("everyone")),
            ("timers", None)
        ]
    );
    let main = shown.path.clone();
    let name = key(&shown, "server", "name");
    assert_eq!((name.value.as_str(), name.origin.clone()), ("\"vpn.example.test\"", format!("{main}:2")));
    let mtu = key(&shown, "server", "mtu");
    assert_eq!((mtu.value.as_str(), mtu.origin.as_str()), ("1380", "environment variable EVERGATE__SERVER__MTU"));
    assert!(key(&shown, "timers", "liveness_interval").origin.ends_with("evergate.d/10-site.toml:2"));
    assert_eq!(key(&shown, "listener", "certificates").value, "[\"vpn\"]");
}

#[test]
fn of_a_file_only_the_path_is_told() {
    let fixture = Fixture::new(MINIMAL);
    let shown = shown(&fixture, &[]);
    let secret = key(&shown, "radius", "secret_file");
    assert_eq!((secret.value.as_str(), secret.file), ("\"nps1.secret\"", true));
    assert!(key(&shown, "certificate", "key").file && !key(&shown, "radius", "address").file);
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("good length") && !text.contains("PRIVATE KEY"), "{text}");
}
