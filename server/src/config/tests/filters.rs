//! `[[filter]]`, and what policies make of it.
use super::*;

const WEB: &str = r#"
[[filter]]
name = "web"
rules = ["permit in tcp from any to 10.0.0.0/8 80,443", "deny out ip from 192.0.2.0/24 to any"]
[[filter]]
name = "closed"
default_in = "deny"
default_out = "deny"
"#;

fn policy(lines: &str) -> String {
    format!("[[policy]]\nname = \"limited\"\npool = \"users\"\n{lines}\n")
}

#[test]
fn filters_are_named_by_policies() {
    let settings = "filters = [\"web\", \"closed\"]\nrate_limit_in = \"512k\"\nrate_limit_out = \"20M\"\nrate_limit_burst = \"1s\"";
    let config = Fixture::new(&format!("{MINIMAL}{WEB}{}", policy(settings))).load().unwrap();
    assert_eq!(config.filters.iter().map(|filter| filter.name.as_str()).collect::<Vec<_>>(), ["web", "closed"]);
    let settings = &config.policies[1].settings;
    assert_eq!(settings.filters, config.filters);
    assert_eq!(
        (settings.rate_limit_in, settings.rate_limit_out, settings.rate_limit_burst),
        (Some(512_000), Some(20_000_000), Some(Duration::from_secs(1)))
    );
    assert_eq!(config.filters[0].input.rules()[0].to_string(), "permit in tcp from any to 10.0.0.0/8 80,443");
    assert!(config.filters[1].input.rules().is_empty() && !config.filters[1].output.is_open());
}

#[test]
fn mistakes_in_filters_are_told() {
    for (lines, says) in [
        ("[[filter]]\nname = \"a\"\nrules = [\"permit in ip from any to moon\"]", "\"moon\" is neither an address"),
        ("[[filter]]\nname = \"a\"", "nothing is denied without"),
        ("[[filter]]\nname = \"a\"\nrules = []\ndefault_in = \"permit\"", "nothing is denied without"),
        ("[[filter]]\nname = \"a.IN\"\ndefault_in = \"deny\"", "in a Filter-Id means one direction"),
        ("[[filter]]\nname = \"WEB\"\ndefault_in = \"deny\"", "taken by another"),
        ("[[filter]]\nname = \"a\"\nrule = []", "did you mean \"rules\""),
        ("[[filter]]\nname = \"a\"\ndefault_in = \"drop\"", "expected one of \"permit\", \"deny\""),
        (&*policy("filters = [\"wep\"]"), "\"wep\" is no [[filter]]"),
        (&*policy("rate_limit_in = \"20\""), "no unit k, M or G"),
        (&*policy("rate_limit_in = \"7k\""), "8k and 100G"),
        (&*policy("rate_limit_out = \"999999999999G\""), "8k and 100G"),
    ] {
        let error = Fixture::new(&format!("{MINIMAL}{WEB}{lines}\n")).load().unwrap_err().to_string();
        assert!(error.contains(says), "{lines}: {error}");
    }
}
