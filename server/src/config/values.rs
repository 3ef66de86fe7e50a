//! Words of the configuration as values: durations, address ranges, hours of the week.
use ike::GatewayIdentity;
use policy::network::{AddressRange, TimeWindow};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

pub(super) fn non_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text.to_owned()) }
}

/// `500ms`, `30s`, `8h`, `1h30m`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let part = match &rest[..letters] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = &rest[letters..];
    }
    Some(total)
}

/// The shortest way to write a duration: `90s`, `8h`.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (duration.subsec_millis(), seconds) {
        (0, 0) => "0s".into(),
        (0, seconds) if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        (0, seconds) if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        (0, seconds) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// `512k`, `20M`, `1G`: bits a second, from 8k to 100G.
pub(super) fn bit_rate(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit {
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err("has no unit k, M or G behind a whole number".into()),
    };
    let rate = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    rate.filter(|rate| (8_000..=100_000_000_000).contains(rate)).ok_or_else(|| "is not within 8k and 100G".into())
}

/// `10.98.0.10-10.98.0.250`, `10.0.0.0/8`, or one address.
pub(crate) fn address_range(text: &str) -> Result<AddressRange, String> {
    let text = text.trim();
    if let Some((address, len)) = text.split_once('/') {
        return prefix(address, len);
    }
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (address(start)?, address(end)?);
    if start.is_ipv4() != end.is_ipv4() {
        return Err("mixes IPv4 and IPv6".into());
    }
    if start > end {
        return Err(format!("runs backwards: {start} is above {end}"));
    }
    Ok(AddressRange { start, end })
}

fn prefix(start: &str, len: &str) -> Result<AddressRange, String> {
    let start = address(start)?;
    let bits = if start.is_ipv4() { 32 } else { 128 };
    let Some(len) = len.parse::<u32>().ok().filter(|len| *len <= bits) else {
        return Err(format!("has no prefix length 0..={bits} behind the slash"));
    };
    match start {
        IpAddr::V4(start) => {
            let host = u32::MAX.checked_shr(len).unwrap_or(0);
            let first = Ipv4Addr::from_bits(start.to_bits() & !host);
            let last = Ipv4Addr::from_bits(start.to_bits() | host);
            aligned(IpAddr::V4(start), IpAddr::V4(first), IpAddr::V4(last), len)
        }
        IpAddr::V6(start) => {
            let host = u128::MAX.checked_shr(len).unwrap_or(0);
            let first = Ipv6Addr::from_bits(start.to_bits() & !host);
            let last = Ipv6Addr::from_bits(start.to_bits() | host);
            aligned(IpAddr::V6(start), IpAddr::V6(first), IpAddr::V6(last), len)
        }
    }
}

fn aligned(written: IpAddr, start: IpAddr, end: IpAddr, len: u32) -> Result<AddressRange, String> {
    if written == start { Ok(AddressRange { start, end }) } else { Err(format!("has host bits set: the network is {start}/{len}")) }
}

/// An IP address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| format!("{:?} is no IP address", text.trim()))
}

/// An IPv4 address.
pub(super) fn ipv6_value(value: &super::source::Value) -> Result<Ipv6Addr, String> {
    match address(super::reader::text(value)?)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => Err("is not IPv6".into()),
    }
}

pub(super) fn ipv4_value(value: &super::source::Value) -> Result<Ipv4Addr, String> {
    match address(super::reader::text(value)?)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err("is not IPv4".into()),
    }
}

/// `mon-fri 08:00-18:00`, `sat,sun 10:00-12:00`, `daily 22:00-06:00`; without hours the whole day.
pub(super) fn time_window(text: &str) -> Result<TimeWindow, String> {
    let text = text.trim().to_lowercase();
    let (days, hours) = text.split_once(char::is_whitespace).unwrap_or((&text, "00:00-24:00"));
    let days = days_of_week(days)?;
    let (from, to) = hours.trim().split_once('-').ok_or_else(|| format!("{hours:?} are no hours"))?;
    let (from, to) = (minute_of_day(from)?, minute_of_day(to)?);
    if from == to || from == 1_440 {
        return Err(format!("{hours:?} holds no minute"));
    }
    Ok(TimeWindow { days, from, to })
}

/// `fri 18:30`
pub fn time_of_week(text: &str) -> Option<policy::network::LocalTime> {
    let text = text.trim().to_lowercase();
    let (day, minute) = text.split_once(char::is_whitespace)?;
    let (day, minute) = (day_of_week(day).ok()?, minute_of_day(minute).ok().filter(|minute| *minute < 1_440)?);
    u8::try_from(day).ok().map(|weekday| policy::network::LocalTime { weekday, minute })
}

/// Bit 0 = Monday.
fn days_of_week(text: &str) -> Result<u8, String> {
    if text == "daily" {
        return Ok(0b111_1111);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day_of_week(first)?, day_of_week(last)?);
        days |= 1 << day;
        while day != last {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Ok(days)
}

fn day_of_week(text: &str) -> Result<usize, String> {
    DAYS.iter().position(|day| *day == text).ok_or_else(|| format!("{text:?} is no day of the week"))
}

fn minute_of_day(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no time of day");
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let (hour, minute): (u16, u16) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    let of_day = hour.saturating_mul(60).saturating_add(minute);
    if minute < 60 && of_day <= 1_440 { Ok(of_day) } else { Err(wrong()) }
}

/// Another gateway: an IP address or a DNS name.
///
/// # Errors
/// What would be accepted.
pub fn gateway_identity(text: &str) -> Result<GatewayIdentity, String> {
    if let Ok(address) = text.parse() {
        return Ok(GatewayIdentity::Address(address));
    }
    dns_name(text).map(GatewayIdentity::Fqdn).map_err(|_| "is neither an IP address nor a DNS name such as \"vpn2.example.com\"".into())
}

/// A DNS name as certificates hold it, or an IPv4 address.
///
/// # Errors
/// It is none; the text says nothing of it.
pub fn dns_name(text: &str) -> Result<String, String> {
    let label_is_good = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(allowed)
    };
    if text.len() <= 253 && text.split('.').all(label_is_good) { Ok(text.to_owned()) } else { Err(String::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("30s", 30), ("8h", 28_800), ("1h30m", 5_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_secs(expected)), "{text}");
        }
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for text in ["", "30", "s", "-1s", "1.5h", "30 s", "99999999999999999999s", "1w", "300000000000000000d", "1h 3"] {
            assert_eq!(duration(text), None, "{text}");
        }
        for seconds in [0, 1, 90, 120, 3_600, 5_400, 86_400] {
            let written = Duration::from_secs(seconds);
            assert_eq!(duration(&duration_text(written)), Some(written));
        }
    }

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("10.98.0.10-10.98.0.250", "10.98.0.10-10.98.0.250"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("fd00::/64", "fd00::/64"),
            ("fd98::10 - fd98::fff", "fd98::10-fd98::fff"),
        ] {
            assert_eq!(address_range(text).map(|range| range.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for (text, problem) in [
            ("10.0.0.1/8", "has host bits set: the network is 10.0.0.0/8"),
            ("10.0.0.9-10.0.0.1", "runs backwards: 10.0.0.9 is above 10.0.0.1"),
            ("10.0.0.9-fd00::", "mixes IPv4 and IPv6"),
            ("10.0.0.0/33", "has no prefix length 0..=32 behind the slash"),
            ("10.0.0/8", "\"10.0.0\" is no IP address"),
            ("users", "\"users\" is no IP address"),
        ] {
            assert_eq!(address_range(text).unwrap_err(), problem);
        }
    }

    #[test]
    fn windows() {
        let window = |text| time_window(text).unwrap();
        assert_eq!(window("mon-fri 08:00-18:00"), TimeWindow { days: 0b001_1111, from: 480, to: 1_080 });
        assert_eq!(window("Sat,Sun 22:00-6:30"), TimeWindow { days: 0b110_0000, from: 1_320, to: 390 });
        assert_eq!(window("fri-mon 00:00-24:00"), TimeWindow { days: 0b111_0001, from: 0, to: 1_440 });
        assert_eq!(window("daily"), TimeWindow { days: 0b111_1111, from: 0, to: 1_440 });
        for text in
            ["", "mon 8-18", "mon 08:00", "mon 08:00-25:00", "mon 08:60-09:00", "mo 08:00-09:00", "mon 08:00-08:00", "mon-fri08:00-09:00"]
        {
            assert!(time_window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dns_names() {
        assert!(dns_name("vpn.example.test").is_ok() && dns_name("localhost").is_ok());
        for text in ["", "vpn..test", "vpn test", "-a.test", "a\u{e4}.test", "https://vpn.test"] {
            assert!(dns_name(text).is_err(), "{text}");
        }
    }
}
