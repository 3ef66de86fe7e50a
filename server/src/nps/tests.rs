use super::expression::{Translation, globs, hours, translate};
use super::import;

/// A policy as an export holds it, with its profile.
fn export(policies: &[(&str, &str, &str)]) -> String {
    let entry = |name: &str, properties: &str| {
        format!("<{tag} name=\"{name}\"><Properties>{properties}</Properties></{tag}>", tag = name.replace(' ', "_"))
    };
    let all = |of: fn(&(&str, &str, &str)) -> (String, String)| {
        policies.iter().map(of).map(|(name, text)| entry(&name, &text)).collect::<String>()
    };
    format!(
        "<?xml version=\"1.0\"?><Root xmlns:dt=\"urn:schemas-microsoft-com:datatypes\"><Children><Microsoft_Internet_Authentication_Service name=\"x\"><Children>\
         <RadiusProfiles name=\"RadiusProfiles\"><Children>{}</Children></RadiusProfiles>\
         <NetworkPolicy name=\"NetworkPolicy\"><Children>{}</Children></NetworkPolicy>\
         </Children></Microsoft_Internet_Authentication_Service></Children></Root>",
        all(|(name, _, profile)| ((*name).into(), (*profile).into())),
        all(|(name, policy, _)| ((*name).into(), (*policy).into())),
    )
}

const GRANT: &str = "<msNPAllowDialin>1</msNPAllowDialin><msNPAuthenticationType2>5</msNPAuthenticationType2>";

#[test]
fn policies_come_in_their_order_with_their_constraints() {
    let staff = "<msNPConstraint dt:dt=\"string\">MATCH(\"User-Name=^EXAMPLE\\\\.*$\")</msNPConstraint>\
                 <msNPConstraint>TIMEOFDAY(\"1 08:00-18:00; 2 08:00-18:00\")</msNPConstraint><msNPSequence>2</msNPSequence>";
    let profile = format!(
        "{GRANT}<msNPAllowedEapType>1a000000000000000000000000000000</msNPAllowedEapType><msNPAllowedEapType>0d00</msNPAllowedEapType>\
         <msRADIUSSessionTimeout>3600</msRADIUSSessionTimeout><msNPTimeOfDay>1 07:00-19:00</msNPTimeOfDay><msRASMPPEEncryptionPolicy>2</msRASMPPEEncryptionPolicy>\
         <msNPCalledStationId>^198\\.51\\.100\\.1$</msNPCalledStationId><msNPAllowedPortTypes>5</msNPAllowedPortTypes>"
    );
    let guests =
        "<msNPConstraint>MATCH(\"NAS-Port-Type=^5$\")</msNPConstraint><msNPSequence>1</msNPSequence><Policy_Enabled>0</Policy_Enabled>";
    let text = export(&[("Staff of \u{fc}", staff, &profile), ("No guests", guests, "<msNPAllowDialin>0</msNPAllowDialin>")]);
    let imported = import(text.as_bytes()).unwrap();
    let expected = r#"[[policy]]
name = "No guests"
enabled = false
grant = false
port_type = [5]

[[policy]]
name = "Staff of ü"
user = ['EXAMPLE\*']
time = ["mon 08:00-18:00", "tue 08:00-18:00"]
session_timeout = "3600s"
allowed_methods = ["EAP-MSCHAPv2", "EAP-TLS"]
allowed_called_station_id = ["198.51.100.1"]
allowed_hours = ["mon 07:00-19:00"]
allowed_port_type = [5]
"#;
    assert!(imported.toml.starts_with(expected), "{}", imported.toml);
    let note = "its setting msRASMPPEEncryptionPolicy (\"2\") is not written: MPPE is of PPTP, and tunnels are always encrypted here";
    assert_eq!(imported.notes, [format!("policy \"Staff of ü\": {note}")]);
    let wide: Vec<u8> = [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(import(&wide).unwrap(), imported);
}

#[test]
fn what_is_lost_never_lets_more_in() {
    let group = "<msNPConstraint>USERNTGROUPS(\"S-1-5-21-1-2-3-513\")</msNPConstraint>";
    let imported =
        import(export(&[("in", group, GRANT), ("out", group, "<msNPAllowDialin>0</msNPAllowDialin>"), ("odd", "", "")]).as_bytes())
            .unwrap();
    let of =
        |name: &str| imported.toml.split("[[policy]]").find(|section| section.contains(&format!("name = \"{name}\""))).unwrap().to_owned();
    assert!(of("in").contains("enabled = false"), "{}", imported.toml);
    assert!(of("out").contains("grant = false") && !of("out").contains("enabled"), "it denies everybody now");
    assert!(of("odd").contains("grant = false"));
    assert_eq!(imported.notes.len(), 3, "{:?}", imported.notes);
    let old = "<msNPAllowDialin>1</msNPAllowDialin><msNPAuthenticationType2>3</msNPAuthenticationType2>";
    assert!(import(export(&[("old", "", old)]).as_bytes()).unwrap().toml.contains("enabled = false"), "nothing but MS-CHAP");
}

/// A setting of which nobody here knows what it keeps from whom.
#[test]
fn unknown_settings_switch_a_granting_policy_off() {
    let odd = "<msRASFilter>0100</msRASFilter><msRADIUSIdleTimeout>9999999</msRADIUSIdleTimeout>";
    let imported = import(export(&[("in", "", &format!("{GRANT}{odd}")), ("out", "", odd)]).as_bytes()).unwrap();
    let enabled: Vec<_> = imported.toml.split("[[policy]]").skip(1).map(|section| !section.contains("enabled = false")).collect();
    assert_eq!(enabled, [false, true], "{}", imported.toml);
    assert_eq!(
        imported.notes[..2],
        [
            "policy \"in\": its setting msRASFilter (\"0100\") has no equivalent, so it is written with enabled = false",
            "policy \"in\": its constraint msRADIUSIdleTimeout (\"9999999\") has no equivalent, so it is written with enabled = false",
        ]
    );
    let known = "<msEAPConfiguration>19</msEAPConfiguration><msRASMPPEEncryptionType>14</msRASMPPEEncryptionType>";
    let imported = import(export(&[("in", "", &format!("{GRANT}{known}"))]).as_bytes()).unwrap();
    assert!(!imported.toml.contains("enabled") && imported.notes.len() == 2, "{imported:?}");
}

#[test]
fn conditions_are_translated_or_named() {
    let lines = |condition: &str| match translate(condition) {
        Translation::Lines(lines, _) => lines.join("\n"),
        Translation::Lost(why) => format!("lost: {why}"),
    };
    for (condition, expected) in [
        ("MATCH(\"NAS-Port-Type=^15$|^5$\")", "port_type = [15, 5]"),
        ("MATCH(\"Authentication-Type=^5$\")", "method = [\"eap\"]"),
        ("MATCH(\"Tunnel-Type=^79617$\")", "tunnel = [\"sstp\"]"),
        ("MATCH(\"MS-RAS-Vendor=^311$\")", ""),
        ("MATCH(\"Calling-Station-Id=^10\\.1\\.\")", "calling_station_id = [\"10.1.*\"]"),
    ] {
        assert_eq!(lines(condition), expected, "{condition}");
    }
    for condition in [
        "MATCH(\"Tunnel-Type=^3$\")",
        "MATCH(\"NAS-Port-Type=5\")",
        "MATCH(\"User-Name=^(a|b)$\")",
        "MATCH(\"Client-IP-Address=10.0.0.1\")",
        "MATCH(\"Health-Policy=x\")",
        "TIMEOFDAY(\"8 00:00-24:00\")",
        "SOMETHING(\"x\")",
        "MATCH(",
        "",
    ] {
        assert!(lines(condition).starts_with("lost: "), "{condition}");
    }
}

#[test]
fn regular_expressions_become_patterns_or_nothing() {
    for (pattern, expected) in [
        ("abc", Some(vec!["*abc*"])),
        ("^abc$", Some(vec!["abc"])),
        ("^a.c.*$", Some(vec!["a?c*"])),
        (".+@example\\.com$", Some(vec!["*?*@example.com"])),
        ("^a|b$", Some(vec!["a*", "*b"])),
        ("a\\|b", Some(vec!["*a|b*"])),
        ("a\\d", None),
        ("a\\*", None),
        ("[ab]", None),
        ("ab*", None),
        ("a?", None),
        ("a\\", None),
        ("*", None),
    ] {
        let expected: Option<Vec<String>> = expected.map(|all| all.into_iter().map(str::to_owned).collect());
        assert_eq!(globs(pattern), expected, "{pattern}");
    }
}

#[test]
fn hours_are_read_as_written() {
    let week: Vec<_> = (0..7).map(|day| format!("{day} 00:00-24:00")).collect();
    assert_eq!(hours(&week.join("; ")), Some(Vec::new()));
    assert_eq!(hours("0 00:00-24:00"), Some(vec!["sun 00:00-24:00".into()]));
    assert_eq!(hours("5 08:00-12:00 13:00-17:30"), Some(vec!["fri 08:00-12:00".into(), "fri 13:00-17:30".into()]));
    for wrong in ["", "7 00:00-24:00", "1", "1 8-9", "1 10:00-09:00", "1 24:30-25:00"] {
        assert_eq!(hours(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_no_export_is_an_error() {
    for (bytes, expected) in [
        (b"<a>".as_slice(), "is no XML"),
        (b"<Root/>", "is no export of NPS"),
        (b"\xff\x00", "is neither UTF-8 nor UTF-16"),
        (b"<!DOCTYPE a [<!ENTITY b \"c\">]><Root/>", "is no XML"),
    ] {
        let error = import(bytes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
