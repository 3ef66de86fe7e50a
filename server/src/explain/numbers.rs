//! The numbers that clients show: what `evergate explain NUMBER` says. The table itself is `numbers.toml`.
use super::names::Names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("numbers.toml");

/// One cause behind one or several numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The numbers, as Windows writes them, with their names.
    pub numbers: BTreeMap<String, String>,
    pub tunnels: Vec<String>,
    pub title: String,
    /// What the gateway sees of it.
    pub seen: String,
    /// Why no gateway can see it, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_only: Option<String>,
    /// The counter of IKE that goes up with it, where no attempt is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<String>,
    pub cause: String,
    pub fix: String,
    /// What to type, in order.
    #[serde(default)]
    pub commands: Vec<Commands>,
}

/// Lines to type, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    #[serde(rename = "where")]
    pub place: String,
    pub lines: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    commands: BTreeMap<String, Commands>,
    case: Vec<Row>,
}

/// A [`Case`] as it is written: commands by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    numbers: BTreeMap<String, String>,
    tunnels: Vec<String>,
    title: String,
    seen: String,
    client_only: Option<String>,
    counted: Option<String>,
    cause: String,
    fix: String,
    commands: Vec<String>,
}

static WHOLE: LazyLock<(Vec<Case>, BTreeMap<String, Commands>)> = LazyLock::new(|| {
    // A part of the program: a test reads it.
    let Table { commands, case } = toml::from_str(TABLE).expect("numbers.toml is well-formed");
    (case.into_iter().map(|row| row.into_case(&commands)).collect(), commands)
});

impl Row {
    fn into_case(self, commands: &BTreeMap<String, Commands>) -> Case {
        let Self { numbers, tunnels, title, seen, client_only, counted, cause, fix, commands: names } = self;
        let commands = names.iter().filter_map(|name| commands.get(name)).cloned().collect();
        Case { numbers, tunnels, title, seen, client_only, counted, cause, fix, commands }
    }
}

impl Case {
    /// With the names of this gateway in its commands.
    #[must_use]
    pub fn filled(&self, names: &Names, user: Option<&str>) -> Self {
        Self { commands: self.commands.iter().filter_map(|commands| names.fill(commands, user)).collect(), ..self.clone() }
    }
}

/// The number as the table writes it: decimal up to 65535, HRESULTs as `0x80092013`, events of SSTP as `RasSstp 4`. Understands `error 809`,
/// `0x80092013`, `80092013h`, `RasClient event 20227`, and what event logs make of an HRESULT, `-2146885613` and `2148081683`. `None`: not a number.
pub fn number(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let words = text.trim_start_matches("microsoft-windows-");
    if let Some(event) = words.strip_prefix("rassstp") {
        let event = event.trim_start_matches(|c: char| c.is_ascii_punctuation() || c == ' ');
        let event = ["event", "id", "#", ":"].iter().fold(event, |text, word| text.trim_start_matches(word).trim_start());
        return event.parse::<u8>().ok().map(|event| format!("RasSstp {event}"));
    }
    let prefixes = ["rasclient", "remoteaccess", "event", "id", "error code", "error", "code", "#", ":"];
    let text = prefixes.iter().fold(words, |text, word| text.trim_start_matches(word).trim_start());
    let hex = text.strip_prefix("0x").or_else(|| text.strip_suffix('h'));
    let value = match hex {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => u32::try_from(text.parse::<i64>().ok()?).or_else(|_| text.parse::<i32>().map(i32::cast_unsigned)).ok()?,
    };
    Some(if value <= 0xffff { value.to_string() } else { format!("0x{value:08X}") })
}

/// What may be behind a number; empty for one that the table does not hold. `number`: as [`number`] gives it.
pub fn cases(number: &str) -> Vec<&'static Case> {
    let of = |number: &str| WHOLE.0.iter().filter(|case| case.numbers.contains_key(number)).collect::<Vec<_>>();
    let found = of(number);
    if found.is_empty() { twin(number).map(|twin| of(&twin)).unwrap_or_default() } else { found }
}

/// What a number is called in the table.
pub fn name<'a>(case: &'a Case, number: &str) -> &'a str {
    let found = case.numbers.get(number).or_else(|| case.numbers.get(&twin(number)?));
    found.map_or("", String::as_str)
}

/// An error of Win32 as an HRESULT (facility 7), or the other way round: Windows shows the same one as 10060 and as 0x8007274C.
fn twin(number: &str) -> Option<String> {
    match number.strip_prefix("0x8007") {
        Some(digits) => u16::from_str_radix(digits, 16).ok().map(|error| error.to_string()),
        None => number.parse::<u16>().ok().map(|error| format!("0x8007{error:04X}")),
    }
}

/// The lines that the table has under a name of `[commands]`.
pub fn commands(name: &str) -> Option<&'static Commands> {
    WHOLE.1.get(name)
}

#[cfg(test)]
pub(super) fn all_commands() -> impl Iterator<Item = (&'static String, &'static Commands)> {
    WHOLE.1.iter()
}

/// Every row, in the order of the table.
pub fn rows() -> &'static [Case] {
    &WHOLE.0
}

/// All numbers of the table, each once.
pub fn all() -> Vec<&'static str> {
    let mut all: Vec<_> = WHOLE.0.iter().flat_map(|case| case.numbers.keys().map(String::as_str)).collect();
    all.sort_unstable_by_key(|number| (number.len(), *number));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole() {
        let table: Table = toml::from_str(TABLE).unwrap();
        for row in &table.case {
            assert!(!row.numbers.is_empty() && !row.tunnels.is_empty(), "{}", row.title);
            for text in [&row.title, &row.seen, &row.cause, &row.fix] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", row.title);
            }
            let missing: Vec<_> = row.commands.iter().filter(|name| !table.commands.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{}: no commands {missing:?}", row.title);
            for spelled in row.numbers.keys() {
                assert_eq!(number(spelled).as_ref(), Some(spelled), "as it is asked for");
            }
        }
        let used = |name: &String| table.case.iter().any(|row| row.commands.contains(name));
        assert!(table.commands.keys().all(used), "commands that nobody names");
    }

    /// In decimal, in hexadecimal, and an HRESULT also as event logs write it: signed.
    #[test]
    fn every_row_is_found_by_each_form_of_its_numbers() {
        for case in &WHOLE.0 {
            for spelled in case.numbers.keys().filter(|spelled| !spelled.starts_with("RasSstp")) {
                let value = match spelled.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
                    None => spelled.parse().unwrap(),
                };
                let mut forms = vec![value.to_string(), format!("{value:#x}"), format!("{value:#010X}"), format!("{value:x}h")];
                if value > 0xffff {
                    forms.push(value.cast_signed().to_string());
                } else {
                    forms.push(format!("0x8007{value:04x}"));
                    forms.push((0x8007_0000 | value).cast_signed().to_string());
                }
                for form in forms {
                    let found = number(&form).map(|number| cases(&number)).unwrap_or_default();
                    assert!(found.contains(&case), "{form} of {}: {}", spelled, case.title);
                }
            }
        }
    }

    #[test]
    fn every_row_is_provoked_over_the_wire_or_says_why_it_cannot_be() {
        let provoked = include_str!("../../../tests/interop/cases_numbers.py");
        let mut titles = std::collections::BTreeSet::new();
        for case in &WHOLE.0 {
            assert!(titles.insert(&case.title), "{} stands twice", case.title);
            let is_provoked = provoked.contains(&format!("{:?},", case.title));
            assert!(is_provoked != case.client_only.is_some(), "{}: provoked {is_provoked}, {:?}", case.title, case.client_only);
            assert!(case.client_only.as_ref().or(case.counted.as_ref()).is_none_or(|text| !text.is_empty()), "{}", case.title);
        }
        let named = provoked.lines().filter(|line| line.starts_with("@row(\"") || line.starts_with("    Elsewhere(\""));
        let known = |line: &str| WHOLE.0.iter().any(|case| line.contains(&format!("{:?},", case.title)));
        assert_eq!(named.filter(|line| !known(line)).collect::<Vec<_>>(), Vec::<&str>::new(), "no such row");
    }

    /// Whose certificates lack the purpose could not connect any more.
    #[test]
    fn no_command_narrows_machine_certificates_by_purpose() {
        let machine = commands("machine-certificates").unwrap();
        assert!(machine.lines.iter().any(|line| line.contains("-MachineCertificateIssuerFilter")), "{machine:?}");
        assert!(
            machine.place.contains("-MachineCertificateEKUFilter") && machine.place.contains("Remove-VpnConnection"),
            "how to take it back: {machine:?}"
        );
        let all = WHOLE.1.values().flat_map(|commands| &commands.lines);
        assert_eq!(all.filter(|line| line.contains("EKUFilter")).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    /// Device tunnels, SSTP and what else works is no business of a line that is typed for another connection.
    #[test]
    fn connections_that_are_not_at_fault_are_left_alone() {
        for (name, condition) in [
            ("method", "if ($_.AuthenticationMethod -notcontains 'MachineCertificate') {"),
            ("tunnel-type", "if ($_.TunnelType -in 'L2tp', 'Pptp') {"),
        ] {
            let changing: Vec<_> = commands(name).unwrap().lines.iter().filter(|line| line.contains("Set-VpnConnection")).collect();
            assert!(!changing.is_empty() && changing.iter().all(|line| line.contains(condition)), "{name}: {changing:?}");
        }
        let replacing = WHOLE.1.values().flat_map(|commands| &commands.lines).filter(|line| line.contains("-EapConfigXmlStream"));
        assert!(replacing.clone().count() > 0 && replacing.clone().all(|line| line.contains("-Confirm") && !line.contains("-Force")));
    }

    #[test]
    fn numbers_as_people_copy_them() {
        for (text, expected) in [
            ("809", "809"),
            (" Error 809 ", "809"),
            ("error code 13868", "13868"),
            ("0x80092013", "0x80092013"),
            ("0X80092013", "0x80092013"),
            ("80092013h", "0x80092013"),
            ("-2146885613", "0x80092013"),
            ("2148081683", "0x80092013"),
            ("0x329", "809"),
            ("RasSstp 4", "RasSstp 4"),
            ("RasSstp event 4", "RasSstp 4"),
            ("Microsoft-Windows-RasSstp Event ID 4", "RasSstp 4"),
            ("RasClient event 20227", "20227"),
            ("event 20227", "20227"),
        ] {
            assert_eq!(number(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "last", "alice", "10.0.0.1", "1a1fe903a40-12", "0x", "99999999999", "rassstp", "rasclient"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert!(cases("809")[0].cause.contains("firewall"));
        assert_eq!((cases("13801").len(), cases("4711").len()), (2, 0));
        assert_eq!(cases("10060"), cases("0x8007274C"));
        assert_eq!(name(cases("10060")[0], "10060"), "WSAETIMEDOUT");
        assert!(all().windows(2).all(|pair| pair[0] != pair[1]) && all().len() > 100);
    }
}
