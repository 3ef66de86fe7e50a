use super::expression::{Translation, globs, hours, translate};
use super::import;
use crate::nps::Imported;

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

/// RD Gateway's policies let everybody of a group in; about a VPN NPS never asks them.
#[test]
fn policies_for_other_kinds_of_servers_let_nobody_in() {
    let deny = "<msNPAllowDialin>0</msNPAllowDialin>";
    let tagged = |tag: &str, sequence: u8| format!("<Policy_SourceTag>{tag}</Policy_SourceTag><msNPSequence>{sequence}</msNPSequence>");
    let all =
        [("rdg", "1", GRANT), ("dhcp", "3", deny), ("odd", "x", GRANT), ("any", "0", GRANT), ("no vpn", "2", deny), ("vpn", "2", GRANT)];
    let policies: Vec<_> = all.iter().zip(1..).map(|((name, tag, profile), place)| (*name, tagged(tag, place), *profile)).collect();
    let mut policies: Vec<_> = policies.iter().map(|(name, properties, profile)| (*name, properties.as_str(), *profile)).collect();
    policies.push(("untagged", "", GRANT));
    let imported = import(export(&policies).as_bytes()).unwrap();
    let sections = imported.toml.split("[[policy]]\n").skip(1).map(|section| {
        let name = section.lines().next().unwrap_or_default().trim_start_matches("name = ").trim_matches('"');
        (name, !section.contains("enabled = false"), !section.contains("grant = false"))
    });
    assert_eq!(
        sections.collect::<Vec<_>>(),
        [
            ("no vpn", true, false),
            ("vpn", true, true),
            ("rdg", false, true),
            ("odd", false, true),
            ("any", true, true),
            ("untagged", true, true),
        ],
        "those for remote access first"
    );
    let why = "it is for another type of network access server";
    assert_eq!(
        imported.notes,
        [
            format!("policy \"rdg\": {why} (Remote Desktop Gateway), so it is written with enabled = false"),
            format!("policy \"dhcp\" is not written: {why} (DHCP Server), and denies nobody who comes in by VPN"),
            format!("policy \"odd\": {why} (Policy_SourceTag \"x\"), so it is written with enabled = false"),
        ]
    );
    assert_eq!(imported.policies, 6);
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
        ("MATCH(\"Tunnel-Type=^1$|^3$|^79617$\")", "tunnel = [\"sstp\"]"),
        ("MATCH(\"Authentication-Type=^3$|^4$|^9$\")", "method = [\"mschapv2\"]"),
        ("MATCH(\"Allowed-EAP-Type=^13$|^25$\")", "eap_type = [\"EAP-TLS\", \"PEAP\"]"),
        ("MATCH(\"NP-Allowed-EAP-Type=^1a000000000000000000000000000000$\")", "eap_type = [\"EAP-MSCHAPv2\"]"),
        ("MATCH(\"MS-RAS-Vendor=^311$\")", ""),
        ("MATCH(\"Calling-Station-Id=^10\\.1\\.\")", "calling_station_id = [\"10.1.*\"]"),
    ] {
        assert_eq!(lines(condition), expected, "{condition}");
    }
    for condition in [
        "MATCH(\"Tunnel-Type=^3$\")",
        "MATCH(\"Tunnel-Type=^79617$|^4711$\")",
        // PEAP by a number of NPS's own.
        "MATCH(\"Authentication-Type=^4$|^11$\")",
        "MATCH(\"Allowed-EAP-Type=^13$|25\")",
        "MATCH(\"Allowed-EAP-Type=^1a00$\")",
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
fn what_is_left_out_of_a_condition_is_named() {
    let condition = "<msNPConstraint>MATCH(\"Tunnel-Type=^1$|^3$|^79617$\")</msNPConstraint>";
    let imported = import(export(&[("in", condition, GRANT)]).as_bytes()).unwrap();
    assert!(imported.toml.contains("tunnel = [\"sstp\"]\n") && !imported.toml.contains("enabled"), "{}", imported.toml);
    assert_eq!(imported.notes, ["policy \"in\": tunnel is written without 1, 3, which no session here ever has"]);
}

#[test]
fn settings_that_have_a_key_here_are_written() {
    let with = |setting: &str, value: &str| {
        let imported = import(export(&[("in", "", &format!("{GRANT}<{setting}>{value}</{setting}>"))]).as_bytes()).unwrap();
        (imported.toml.lines().nth(2).unwrap_or_default().to_owned(), imported.notes.len())
    };
    let written = |line: &str| (line.to_owned(), 0);
    assert_eq!(with("msRASMPPEEncryptionType", "4"), written("min_cipher_bits = 128"));
    assert_eq!(with("msRASMPPEEncryptionType", "14").1, 1);
    assert_eq!(with("msRADIUSPortLimit", "1"), ("allowed_methods = [\"eap\"]".to_owned(), 1), "no Multilink is no bound of sessions");
    assert_eq!(with("msRADIUSPortLimit", "4").0, "enabled = false");
    assert_eq!(with("msRADIUSFramedIPAddress", "174194708"), written("address = \"10.98.0.20\""));
    assert_eq!(with("msRADIUSFramedIPAddress", "-1062731516"), written("address = \"192.168.1.4\""));
    for nobody in ["-1", "-2", "4294967294"] {
        assert_eq!(with("msRADIUSFramedIPAddress", nobody), written("allowed_methods = [\"eap\"]"), "whoever has the pool chooses");
    }
    for wrong in ["0", "8589934592", "10.0.0.1"] {
        assert_eq!(with("msRADIUSFramedIPAddress", wrong), ("enabled = false".to_owned(), 1), "{wrong}");
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

/// Connection request policies as an export holds them (name, policy, profile), and remote server groups.
fn requests(policies: &[(&str, &str, &str)], groups: &str) -> Imported {
    let entry = |name: &str, properties: &str| {
        format!("<{tag} name=\"{name}\"><Properties>{properties}</Properties></{tag}>", tag = name.replace(' ', "_"))
    };
    let entries: String = policies.iter().map(|(name, policy, _)| entry(name, policy)).collect();
    let profiles: String = policies.iter().map(|(name, _, profile)| entry(name, profile)).collect();
    let text = format!(
        "<Root><Children><Microsoft_Internet_Authentication_Service name=\"x\"><Children>\
         <Proxy_Policies name=\"Proxy_Policies\"><Children>{entries}</Children></Proxy_Policies>\
         <Proxy_Profiles name=\"Proxy_Profiles\"><Children>{profiles}</Children></Proxy_Profiles>\
         <RADIUS_Server_Groups name=\"RADIUS_Server_Groups\"><Children>{groups}</Children></RADIUS_Server_Groups>\
         </Children></Microsoft_Internet_Authentication_Service></Children></Root>"
    );
    import(text.as_bytes()).unwrap()
}

const ALWAYS: &str = "<msNPConstraint>TIMEOFDAY(\"0 00:00-24:00; 1 00:00-24:00; 2 00:00-24:00; 3 00:00-24:00; 4 00:00-24:00; 5 00:00-24:00; 6 00:00-24:00\")</msNPConstraint>";
const WINDOWS: &str = "<msAuthProviderType>1</msAuthProviderType>";
const PARTNERS: &str = "<msAuthProviderType>2</msAuthProviderType><msAuthProviderName>Partners</msAuthProviderName>\
                        <msAcctProviderType>2</msAcctProviderType><msAcctProviderName>Partners</msAcctProviderName>";
const GROUPS: &str = "<Partners name=\"Partners\"><Children>\
    <_1 name=\"10.2.0.1\"><Properties><Address>10.2.0.1</Address><Server_Authentication_Port>1645</Server_Authentication_Port>\
    <Server_Accounting_Port>1813</Server_Accounting_Port><Authentication_Secret>hunter2</Authentication_Secret>\
    <Accounting_Secret>hunter3</Accounting_Secret><Priority>1</Priority><Weight>70</Weight><Timeout>3</Timeout>\
    <Maximum_Lost_Packets>5</Maximum_Lost_Packets><Blackout_Interval>30</Blackout_Interval></Properties></_1>\
    <_2 name=\"b\"><Properties><Address>fd00::2</Address><Priority>2</Priority><Maximum_Lost_Packets>9</Maximum_Lost_Packets></Properties></_2>\
    </Children></Partners><Idle name=\"Idle\"><Children/></Idle>";

#[test]
fn servers_that_requests_go_to_come_without_their_secrets() {
    let partners = "<msNPConstraint>MATCH(\"User-Name=@partner\\.example$\")</msNPConstraint><msNPSequence>1</msNPSequence>";
    let windows = format!("{ALWAYS}<msNPSequence>2</msNPSequence>");
    let imported = requests(&[("Everybody", &windows, WINDOWS), ("To partners", partners, PARTNERS)], GROUPS);
    let expected = r#"[[radius]]
name = "radius-10.2.0.1"
address = "10.2.0.1"
secret_file = "/etc/evergate/radius-10.2.0.1.secret"
port = 1645
timeout = "3s"
revive_interval = "30s"

[[radius]]
name = "radius-fd00--2"
address = "fd00::2"
secret_file = "/etc/evergate/radius-fd00--2.secret"

[[radius_group]]
name = "Partners"
servers = [{ name = "radius-10.2.0.1", priority = 1, weight = 70 }, { name = "radius-fd00--2", priority = 2, weight = 50 }]

[[request_policy]]
name = "To partners"
user = ["*@partner.example"]
group = "Partners"

[[request_policy]]
name = "Everybody"
group = "NPS"

"#;
    assert_eq!(imported.toml, expected);
    let notes = imported.notes.join("\n");
    for part in [
        "remote server group \"Idle\" is not written: no connection request policy in use forwards to it",
        "put its shared secret into /etc/evergate/radius-10.2.0.1.secret (mode 0600), which the export holds in clear",
        "RADIUS server \"radius-10.2.0.1\" has another secret for accounting",
        "RADIUS server \"radius-fd00--2\": its Maximum_Lost_Packets (9) has no equivalent",
        "1 connection request policies have NPS itself authenticate: add it as [[radius]], and a [[radius_group]] \"NPS\"",
    ] {
        assert!(notes.contains(part), "{part}\n{notes}");
    }
    assert!(!format!("{imported:?}").contains("hunter"));
    toml::from_str::<toml::Table>(&imported.toml).unwrap();
}

#[test]
fn requests_that_cannot_be_said_stay_comments() {
    let condition = |text: &str| format!("<msNPConstraint>MATCH(\"{text}\")</msNPConstraint>");
    let manipulated = format!("{PARTNERS}<msManipulationTarget>1</msManipulationTarget><msManipulationRule>a</msManipulationRule>");
    let imported = requests(
        &[
            ("plain", &condition("NAS-Port-Type=^5$"), PARTNERS),
            ("client", &condition("Client-IP-Address=10.0.0.1"), PARTNERS),
            ("called", &condition("Called-Station-Id=^1$"), PARTNERS),
            ("renames", "", &manipulated),
            ("unnamed", "", "<msAuthProviderType>2</msAuthProviderType>"),
            ("open", "", "<msAuthProviderType>0</msAuthProviderType>"),
            ("off", "<Policy_Enabled>0</Policy_Enabled>", PARTNERS),
        ],
        GROUPS,
    );
    let sections: Vec<_> = imported.toml.split("\n\n").filter(|section| section.contains("[[request_policy]]")).collect();
    assert_eq!(sections[0], "[[request_policy]]\nname = \"plain\"\ngroup = \"Partners\"");
    assert!(sections.len() == 5 && sections[1..].iter().all(|section| section.lines().all(|line| line.starts_with("# "))), "{sections:?}");
    let notes = imported.notes.join("\n");
    for part in [
        "\"client\" is written as a comment, and what it matches would go to those after it: it has no equivalent for its condition MATCH(",
        "\"called\" is written as a comment",
        "it has no equivalent for its rules that change names (see rewrite)",
        "its group, which the export does not name",
        "\"open\" is not written: it lets everybody in without asking",
        "\"off\" is not written: it is disabled",
    ] {
        assert!(notes.contains(part), "{part}\n{notes}");
    }
}

#[test]
fn requests_of_other_kinds_of_servers_are_left_out() {
    let gateway = "<Policy_SourceTag>1</Policy_SourceTag><msNPSequence>1</msNPSequence>";
    let (any, vpn) = ("<msNPSequence>2</msNPSequence>", "<Policy_SourceTag>2</Policy_SourceTag><msNPSequence>3</msNPSequence>");
    let imported = requests(&[("RD", gateway, PARTNERS), ("any", any, PARTNERS), ("vpn", vpn, PARTNERS)], GROUPS);
    let names: Vec<_> = imported.toml.split("[[request_policy]]\nname = ").skip(1).filter_map(|section| section.lines().next()).collect();
    assert_eq!(names, ["\"vpn\"", "\"any\""], "{}", imported.toml);
    let note = "connection request policy \"RD\" is not written: it is for another type of network access server (Remote Desktop Gateway)";
    assert_eq!(imported.notes[0], note);
    let imported = requests(&[("RD", gateway, PARTNERS)], GROUPS);
    assert_eq!(imported.toml, "", "nobody else forwards");
}

#[test]
fn where_nps_asks_nobody_else_it_goes_on_to_decide() {
    let imported = requests(&[("Use Windows authentication for all users", ALWAYS, WINDOWS)], "");
    assert_eq!((imported.toml.as_str(), imported.notes.len()), ("", 0));
    let some = "<msNPConstraint>MATCH(\"User-Name=^a\")</msNPConstraint>";
    let imported = requests(&[("some", some, WINDOWS), ("others", ALWAYS, WINDOWS)], GROUPS);
    assert_eq!((imported.toml.as_str(), imported.notes.len()), ("", 3), "{:?}", imported.notes);
    assert!(imported.notes[2].contains("NPS goes on with it"), "{:?}", imported.notes);
}

/// Allowed-Certificate-OID, the way to let certificates of Conditional Access alone in.
#[test]
fn an_allowed_certificate_oid_is_a_condition_on_the_certificate() {
    let with = |oids: &[&str]| {
        let settings: String = oids.iter().map(|oid| format!("<msNPAllowedCertificateOID>{oid}</msNPAllowedCertificateOID>")).collect();
        import(export(&[("in", "", &format!("{GRANT}{settings}"))]).as_bytes()).unwrap()
    };
    let one = with(&["1.3.6.1.4.1.311.87"]);
    assert!(one.toml.contains("certificate_eku = [\"1.3.6.1.4.1.311.87\"]\n") && !one.toml.contains("enabled"), "{}", one.toml);
    assert!(one.notes[0].contains("is judged by the policies after it"), "{:?}", one.notes);
    // Whether one of several is enough, the export does not say.
    for oids in [&["1.3.6.1.4.1.311.87", "1.3.6.1.5.5.7.3.2"][..], &["no OID"]] {
        let other = with(oids);
        assert!(other.toml.contains("enabled = false") && !other.toml.contains("certificate_eku"), "{}", other.toml);
    }
}
