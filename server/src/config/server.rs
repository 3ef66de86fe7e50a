//! `[server]`, `[limits]`, `[timers]`.
use super::error::ConfigError;
use super::listen;
use super::reader::{Root, Section, text};
use super::{DEFAULT_CONTROL_SOCKET, DEFAULT_STATE_DIR, LogFormat, Server, values};
use ike::{Limits, Timers};
use jiff::tz::TimeZone;
use std::path::PathBuf;
use std::time::Duration;

const SERVER: &[&str] = &[
    "name",
    "control_socket",
    "control_group",
    "state_dir",
    "run_as",
    "log",
    "log_format",
    "threads",
    "tun",
    "mtu",
    "time_zone",
    "max_sessions",
    "attempts_kept",
    "dynamic_listen",
    "dynamic_port",
    "dynamic_tls_port",
];
const LIMITS: &[&str] = &["half_open_max", "half_open_per_source", "cookie_threshold", "half_open_timeout", "auth_timeout", "exempt"];
const TIMERS: &[&str] = &[
    "liveness_interval",
    "retransmit_initial",
    "retransmit_tries",
    "network_outage",
    "delete_rekeyed_delay",
    "ike_rekey",
    "child_rekey",
    "child_idle",
    "child_volume_mb",
];

const RANGES: &str = "addresses or prefixes of balancers and address translators, such as \"192.0.2.10\" or \"192.0.2.0/28\"";

/// `sun_path` of a Unix socket address holds this many bytes and a zero.
const MAX_SOCKET_PATH: usize = 107;
/// Bytes of an interface name (IFNAMSIZ without the zero).
const MAX_INTERFACE_NAME: usize = 15;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The longest that RRAS knows, too.
const MAX_OUTAGE: Duration = Duration::from_secs(8 * 3_600);

/// Ages at which the gateway rekeys. Below the first it would do little else; below the second it costs more than it protects.
const MIN_REKEY: Duration = Duration::from_secs(10);
const SANE_IKE_REKEY: Duration = Duration::from_secs(30 * 60);
const SANE_CHILD_REKEY: Duration = Duration::from_secs(5 * 60);
const MAX_REKEY: Duration = Duration::from_secs(7 * 86_400);

/// Megabytes after which the gateway rekeys a Child SA: what RRAS and Windows have by default, and more than any needs.
const SANE_VOLUME: u64 = 100;
const MAX_VOLUME: i64 = 1_000_000;

/// When Windows rekeys its IKE SA (95 % of 8 h), perhaps with a weaker group than before.
const WINDOWS_IKE_REKEY: Duration = Duration::from_secs(27_360);

pub(super) fn server(root: &Root<'_>) -> Result<Server, ConfigError> {
    let section = root.section("server", SERVER)?.ok_or_else(|| {
        root.missing("server", "is missing; expected a table [server] with name = \"vpn.example.com\", the name that clients dial")
    })?;
    let name =
        section.required("name", "the DNS name that clients dial, such as \"vpn.example.com\"", |value| values::dns_name(text(value)?))?;
    Ok(Server {
        name,
        control_socket: control_socket(&section)?,
        control_group: section.optional("control_group", "the name of a group of this host, such as \"evergate-operators\"", |value| {
            values::non_empty(text(value)?)
        })?,
        state_dir: section.path("state_dir")?.unwrap_or_else(|| DEFAULT_STATE_DIR.into()),
        run_as: run_as(&section)?,
        log: section.optional("log", "a log filter such as \"info\" or \"info,ike=debug\"", log_filter)?.unwrap_or_else(|| "info".into()),
        log_format: section.choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?.unwrap_or_default(),
        threads: section.number("threads", 0..=1_024, 0)?,
        tun: section
            .optional("tun", "an interface name of 1 to 15 letters, digits, '-' or '_'", interface_name)?
            .unwrap_or_else(|| "evergate0".into()),
        mtu: section.number("mtu", 1_280..=9_000, 1_400)?,
        time_zone: section.optional("time_zone", "a time zone such as \"UTC\" or \"Europe/Berlin\"", time_zone)?.unwrap_or(TimeZone::UTC),
        dynamic_listen: listen::addresses(&section, "dynamic_listen")?,
        dynamic_port: section.number("dynamic_port", 1..=65_535, 3_799)?,
        dynamic_tls_port: section.number("dynamic_tls_port", 1..=65_535, 2_083)?,
        max_sessions: section.number("max_sessions", 1..=1_000_000, 10_000)?,
        attempts_kept: section.number("attempts_kept", 0..=1_000_000, 10_000)?,
    })
}

/// The user alone as whom the gateway runs.
pub(super) fn run_as_of(root: &Root<'_>) -> Result<Option<String>, ConfigError> {
    root.section("server", SERVER)?.map_or(Ok(None), |section| run_as(&section))
}

fn run_as(section: &Section<'_>) -> Result<Option<String>, ConfigError> {
    section.optional("run_as", "the name of a user of this host, such as \"evergate\"", |value| values::non_empty(text(value)?))
}

/// The control socket alone: all that the commands which talk to a running gateway need.
pub(super) fn control_socket_of(root: &Root<'_>) -> Result<PathBuf, ConfigError> {
    match root.section("server", SERVER)? {
        Some(section) => control_socket(&section),
        None => Ok(DEFAULT_CONTROL_SOCKET.into()),
    }
}

fn control_socket(section: &Section<'_>) -> Result<PathBuf, ConfigError> {
    let path = section.path("control_socket")?.unwrap_or_else(|| DEFAULT_CONTROL_SOCKET.into());
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(section.error("control_socket", format!("is too long; expected a path of at most {MAX_SOCKET_PATH} bytes")));
    }
    Ok(path)
}

fn log_filter(value: &super::source::Value) -> Result<String, String> {
    let text = values::non_empty(text(value)?)?;
    tracing_subscriber::EnvFilter::try_new(&text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn interface_name(value: &super::source::Value) -> Result<String, String> {
    let text = text(value)?;
    let allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !text.is_empty() && text.len() <= MAX_INTERFACE_NAME && allowed { Ok(text.to_owned()) } else { Err(String::new()) }
}

fn time_zone(value: &super::source::Value) -> Result<TimeZone, String> {
    TimeZone::get(text(value)?).map_err(|_| "is not in this host's time zone database (package tzdata)".into())
}

pub(super) fn limits(root: &Root<'_>, sessions_max: usize) -> Result<Limits, ConfigError> {
    let mut limits = Limits {
        cookie_threshold: 500,
        half_open_max: 10_000,
        half_open_per_source: 100,
        half_open_timeout: Duration::from_secs(30),
        auth_timeout: Duration::from_secs(120),
        sessions_max,
        exempt: Vec::new(),
    };
    if let Some(section) = root.section("limits", LIMITS)? {
        limits.cookie_threshold = section.number("cookie_threshold", 0..=1_000_000, limits.cookie_threshold)?;
        limits.half_open_max = section.number("half_open_max", 1..=1_000_000, limits.half_open_max)?;
        limits.half_open_per_source = section.number("half_open_per_source", 0..=1_000_000, limits.half_open_per_source)?;
        limits.half_open_timeout = section.duration("half_open_timeout", SECOND..=HOUR)?.unwrap_or(limits.half_open_timeout);
        limits.auth_timeout = section.duration("auth_timeout", SECOND..=HOUR)?.unwrap_or(limits.auth_timeout);
        let exempt = section.list("exempt", RANGES, |value| values::address_range(text(value)?))?.unwrap_or_default();
        limits.exempt = exempt.iter().map(|range| range.start..=range.end).collect();
        if limits.cookie_threshold > limits.half_open_max {
            let most = limits.half_open_max;
            return Err(
                section.error("cookie_threshold", format!("is above half_open_max = {most}, so that no cookie would ever be asked for"))
            );
        }
    }
    Ok(limits)
}

pub(super) fn timers(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Timers, ConfigError> {
    let mut timers = Timers::default();
    if let Some(section) = root.section("timers", TIMERS)? {
        timers.liveness_interval = section.duration("liveness_interval", Duration::ZERO..=HOUR)?.unwrap_or(timers.liveness_interval);
        let initial = Duration::from_millis(100)..=Duration::from_secs(60);
        timers.retransmit_initial = section.duration("retransmit_initial", initial)?.unwrap_or(timers.retransmit_initial);
        timers.retransmit_tries = section.number("retransmit_tries", 1..=12, timers.retransmit_tries)?;
        timers.network_outage = section.duration("network_outage", Duration::ZERO..=MAX_OUTAGE)?.unwrap_or(timers.network_outage);
        let delay = Duration::ZERO..=Duration::from_secs(60);
        timers.delete_rekeyed_delay = section.duration("delete_rekeyed_delay", delay)?.unwrap_or(timers.delete_rekeyed_delay);
        timers.ike_rekey = rekey(&section, "ike_rekey", SANE_IKE_REKEY, warnings)?.unwrap_or(timers.ike_rekey);
        timers.child_rekey = rekey(&section, "child_rekey", SANE_CHILD_REKEY, warnings)?.unwrap_or(timers.child_rekey);
        if timers.ike_rekey > WINDOWS_IKE_REKEY {
            let age = values::duration_text(timers.ike_rekey);
            warnings.push(format!("timers: ike_rekey = {age:?} lets Windows rekey first, at 7 h 36 min, perhaps with a weaker group"));
        }
    }
    Ok(timers)
}

/// `timers.child_idle`; zero leaves idle Child SAs alone.
pub(super) fn child_idle(root: &Root<'_>) -> Result<Duration, ConfigError> {
    let Some(section) = root.section("timers", TIMERS)? else { return Ok(Duration::ZERO) };
    let fits = |idle: &Duration| idle.is_zero() || (SECOND..=24 * HOUR).contains(idle);
    let expected = "a duration from \"1s\" to \"24h\", or \"0s\" to leave it to the clients";
    let idle = section.optional("child_idle", expected, |value| values::duration(text(value)?).filter(fits).ok_or_else(String::new))?;
    Ok(idle.unwrap_or_default())
}

/// `timers.child_volume_mb` in octets; zero leaves it to sequence numbers.
pub(super) fn child_volume(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<u64, ConfigError> {
    let Some(section) = root.section("timers", TIMERS)? else { return Ok(0) };
    let megabytes: u64 = section.number("child_volume_mb", 0..=MAX_VOLUME, 0)?;
    if (1..SANE_VOLUME).contains(&megabytes) {
        warnings.push(format!(
            "timers: child_volume_mb = {megabytes} rekeys more often than anything needs; at least {SANE_VOLUME} is recommended"
        ));
    }
    Ok(megabytes << 20)
}

/// An age at which the gateway rekeys, or zero. `sane`: shorter than this deserves a look.
fn rekey(section: &Section<'_>, key: &str, sane: Duration, warnings: &mut Vec<String>) -> Result<Option<Duration>, ConfigError> {
    let (least, most) = (values::duration_text(MIN_REKEY), values::duration_text(MAX_REKEY));
    let expected = format!("a duration from {least:?} to {most:?}, or \"0s\" to leave it to the clients");
    let fits = |age: &Duration| age.is_zero() || (MIN_REKEY..=MAX_REKEY).contains(age);
    let age = section.optional(key, &expected, |value| values::duration(text(value)?).filter(fits).ok_or_else(String::new))?;
    if let Some(age) = age.filter(|age| !age.is_zero() && *age < sane) {
        let (age, sane) = (values::duration_text(age), values::duration_text(sane));
        warnings.push(format!("timers: {key} = {age:?} rekeys more often than anything needs; at least {sane:?} is recommended"));
    }
    Ok(age)
}
