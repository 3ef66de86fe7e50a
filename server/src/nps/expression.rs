//! Conditions of NPS: `MATCH("NAS-Port-Type=^5$")`, `USERNTGROUPS("S-1-5-..")`, `TIMEOFDAY("1 08:00-18:00; ..")`.
use super::quoted_list;

/// What a condition comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Translation {
    /// Lines of a `[[policy]]`, none where it always holds here, and what is to be said of them.
    Lines(Vec<String>, Option<String>),
    /// Why it cannot be said.
    Lost(String),
}

const WHOLE_DAY: &str = "00:00-24:00";
/// NPS counts them from Sunday.
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

pub(super) fn translate(condition: &str) -> Translation {
    let Some((function, argument)) = call(condition) else { return Translation::Lost("it is of an unknown form".into()) };
    match function {
        "MATCH" => match argument.split_once('=') {
            Some((attribute, pattern)) => of_attribute(attribute, pattern),
            None => Translation::Lost("it names no attribute".into()),
        },
        "TIMEOFDAY" => match hours(argument) {
            Some(windows) if windows.is_empty() => Translation::Lines(Vec::new(), None),
            Some(windows) => line("time", &windows),
            None => Translation::Lost("its hours cannot be read".into()),
        },
        "NTGROUPS" | "USERNTGROUPS" | "MACHINENTGROUPS" => Translation::Lost(format!(
            "groups of Windows stay with Windows: let the RADIUS server send Filter-Id or Class for the members of {argument}, and write filter_id or class"
        )),
        other => Translation::Lost(format!("{other} is unknown")),
    }
}

/// `FUNCTION("argument")`
fn call(condition: &str) -> Option<(&str, &str)> {
    let (function, rest) = condition.trim().split_once('(')?;
    let argument = rest.strip_suffix(')')?.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!argument.contains('"')).then_some((function.trim(), argument))
}

fn of_attribute(attribute: &str, pattern: &str) -> Translation {
    match attribute.trim() {
        "User-Name" => texts("user", pattern),
        "Calling-Station-Id" => texts("calling_station_id", pattern),
        "Called-Station-Id" => texts("called_station_id", pattern),
        "NAS-Port-Type" => numbers(pattern).map_or_else(
            || Translation::Lost("it is no list of numbers".into()),
            |numbers| {
                let note = (!numbers.contains(&5))
                    .then(|| "no session here has such a NAS-Port-Type (all are Virtual, 5): it never matches".into());
                let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
                Translation::Lines(vec![format!("port_type = [{}]", numbers.join(", "))], note)
            },
        ),
        "Authentication-Type" => words("method", pattern, |number| match number {
            1 => Value::Word("pap"),
            2 => Value::Word("chap"),
            4 => Value::Word("mschapv2"),
            5 => Value::Word("eap"),
            // MS-CHAP, nobody at all, changes of passwords.
            3 | 7 | 9 | 10 => Value::Never,
            _ => Value::Unknown,
        }),
        "Tunnel-Type" => words("tunnel", pattern, |number| match number {
            radius_client::TUNNEL_TYPE_SSTP => Value::Word("sstp"),
            radius_client::TUNNEL_TYPE_ESP => Value::Word("ikev2"),
            // The others of RFC 2868 and RFC 3580.
            1..=13 => Value::Never,
            _ => Value::Unknown,
        }),
        "Allowed-EAP-Type" | "NP-Allowed-EAP-Type" => eap_types(pattern),
        // What this gateway tells of every session.
        "MS-RAS-Vendor" if numbers(pattern).is_some_and(|numbers| numbers.contains(&311)) => Translation::Lines(Vec::new(), None),
        "Service-Type" if numbers(pattern).is_some_and(|numbers| numbers.contains(&2)) => Translation::Lines(Vec::new(), None),
        "Framed-Protocol" if numbers(pattern).is_some_and(|numbers| numbers.contains(&1)) => Translation::Lines(Vec::new(), None),
        "Client-Friendly-Name" | "Client-IP-Address" | "NAS-IP-Address" | "NAS-Identifier" => Translation::Lost(
            "it asks which RADIUS client it is, and here there is but this gateway: take it out if it means this one".into(),
        ),
        other => Translation::Lost(format!("{other} is nothing that policies look at here")),
    }
}

fn line(key: &str, entries: &[String]) -> Translation {
    Translation::Lines(vec![format!("{key} = {}", quoted_list(entries))], None)
}

fn texts(key: &str, pattern: &str) -> Translation {
    match globs(pattern) {
        Some(globs) => line(key, &globs),
        None => Translation::Lost("its regular expression is more than patterns with * and ? can say".into()),
    }
}

/// What a number means.
enum Value {
    Word(&'static str),
    /// It is known, and no session here ever has it.
    Never,
    Unknown,
}

fn words(key: &str, pattern: &str, value: impl Fn(u32) -> Value) -> Translation {
    let Some(numbers) = numbers(pattern) else { return Translation::Lost("it is no list of numbers".into()) };
    let (mut words, mut never) = (Vec::new(), Vec::new());
    for number in numbers {
        match value(number) {
            Value::Word(word) => words.push(word.to_owned()),
            Value::Never => never.push(number.to_string()),
            Value::Unknown => return Translation::Lost("one of its values does not exist here".into()),
        }
    }
    if words.is_empty() {
        return Translation::Lost("none of its values exists here".into());
    }
    let note = (!never.is_empty()).then(|| format!("{key} is written without {}, which no session here ever has", never.join(", ")));
    Translation::Lines(vec![format!("{key} = {}", quoted_list(&words))], note)
}

/// `^13$|^26$`, or as profiles have them: 16 bytes in hexadecimal of which the first is the type.
fn eap_types(pattern: &str) -> Translation {
    let number = |text: &str| match text.parse::<u8>() {
        Ok(number) => Some(number),
        Err(_) if text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) => u8::from_str_radix(&text[..2], 16).ok(),
        Err(_) => None,
    };
    let types = pattern.split('|').map(|one| number(one.trim().strip_prefix('^')?.strip_suffix('$')?));
    let names: Option<Vec<_>> = types.map(|number| crate::config::eap_name(&number?.to_string())).collect();
    names.map_or_else(|| Translation::Lost("it is no list of EAP types".into()), |names| line("eap_type", &names))
}

/// `^15$`, `^5$|^15$`: each number by itself. Without both anchors 1 would mean 15 too.
fn numbers(pattern: &str) -> Option<Vec<u32>> {
    pattern.split('|').map(|number| number.trim().strip_prefix('^')?.strip_suffix('$')?.parse().ok()).collect()
}

/// A regular expression of literals, `.`, `.*`, `^`, `$` and `|` between whole alternatives, as patterns over the whole text.
pub(super) fn globs(pattern: &str) -> Option<Vec<String>> {
    let mut alternatives = vec![String::new()];
    let mut escaped = false;
    for c in pattern.chars() {
        if c == '|' && !escaped {
            alternatives.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        alternatives.last_mut()?.push(c);
    }
    alternatives.iter().map(|alternative| glob(alternative)).collect()
}

fn glob(pattern: &str) -> Option<String> {
    let (from_start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let mut glob = String::from(if from_start { "" } else { "*" });
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' if chars.peek().is_none() => return Some(glob),
            '.' if chars.next_if_eq(&'*').is_some() => glob.push('*'),
            '.' if chars.next_if_eq(&'+').is_some() => glob.push_str("?*"),
            '.' => glob.push('?'),
            // What follows is itself, unless it is a class such as \d, or would be a wildcard here.
            '\\' => glob.push(chars.next().filter(|next| !next.is_ascii_alphanumeric() && !matches!(next, '*' | '?'))?),
            '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' => return None,
            literal => glob.push(literal),
        }
        if matches!(chars.peek(), Some('*' | '+' | '?' | '{')) {
            return None;
        }
    }
    glob.push('*');
    Some(glob)
}

/// `0 00:00-24:00; 1 08:00-12:00 13:00-18:00`: hours of each day; empty: the whole week.
pub(super) fn hours(text: &str) -> Option<Vec<String>> {
    let (mut windows, mut whole_days) = (Vec::new(), 0);
    for day in text.split(';').map(str::trim).filter(|day| !day.is_empty()) {
        let (number, hours) = day.split_once(char::is_whitespace)?;
        let name = DAYS.get(number.parse::<usize>().ok()?)?;
        let hours: Vec<_> = hours.split([' ', ',']).filter(|hours| !hours.is_empty()).collect();
        whole_days += usize::from(hours == [WHOLE_DAY]);
        for hours in hours {
            let is_time = |text: &str| {
                let parts = text.split_once(':').map(|(hour, minute)| (hour.parse::<u16>(), minute.parse::<u16>()));
                matches!(parts, Some((Ok(0..=23), Ok(0..=59)) | (Ok(24), Ok(0))))
            };
            let (from, to) = hours.split_once('-')?;
            if !is_time(from) || !is_time(to) || from >= to {
                return None;
            }
            windows.push(format!("{name} {hours}"));
        }
    }
    if windows.is_empty() {
        return None;
    }
    Some(if whole_days == DAYS.len() { Vec::new() } else { windows })
}
