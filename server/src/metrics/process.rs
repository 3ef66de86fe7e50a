//! What the process takes of its host, under the names that every Prometheus client library gives it.
use super::writer::{ALONE, Writer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt::Error;
use std::fs::{read_dir, read_to_string};

/// Ticks of `/proc/self/stat` in a second: USER_HZ, which the kernel shows to programs as 100 whatever it runs with.
const TICKS: f64 = 100.0;

/// As `/proc/self` says (proc(5)); what it does not say is `None`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let text = |name: &str| read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let open_fds = read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        Self { open_fds, ..Self::from_text(&text("self/stat"), &text("self/status"), &text("self/limits"), &text("stat")) }
    }

    fn from_text(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The program's name, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
        let line = |text: &str, name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let number = |text: String| text.split_whitespace().next()?.parse::<u64>().ok();
        let kilobytes = |name| line(status, name).and_then(number).map(|size| size * 1_024);
        let booted = line(system, "btime ").and_then(number);
        Self {
            cpu_seconds: ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / TICKS),
            start_seconds: ticks(19).zip(booted).map(|(ticks, booted)| booted as f64 + ticks / TICKS),
            resident_bytes: kilobytes("VmRSS:"),
            virtual_bytes: kilobytes("VmSize:"),
            threads: line(status, "Threads:").and_then(number),
            open_fds: None,
            max_fds: line(limits, "Max open files").and_then(number),
        }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Writer(encoder);
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        out.counter("process_cpu", "User and system time used", seconds, self.cpu_seconds.map(|value| (ALONE, value)))?;
        out.gauge("process_start_time", "When the process started, unix time", seconds, self.start_seconds.map(|value| (ALONE, value)))?;
        out.gauge("process_resident_memory", "Memory in RAM", bytes, self.resident_bytes.map(|value| (ALONE, value)))?;
        out.gauge("process_virtual_memory", "Address space", bytes, self.virtual_bytes.map(|value| (ALONE, value)))?;
        out.gauge("process_threads", "Threads", None, self.threads.map(|value| (ALONE, value)))?;
        out.gauge("process_open_fds", "Open files and sockets", None, self.open_fds.map(|value| (ALONE, value)))?;
        out.gauge("process_max_fds", "Open files and sockets at most", None, self.max_fds.map(|value| (ALONE, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_whatever_the_programs_name() {
        let stat = "4711 (ever) gate) S 1 4711 4711 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 9 0 1234500 5 6 7";
        let status = "Name:\tevergate\nVmSize:\t  2048 kB\nVmRSS:\t     512 kB\nThreads:\t9\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n";
        let expected = Process {
            cpu_seconds: Some(4.0),
            start_seconds: Some(1_700_012_345.0),
            resident_bytes: Some(524_288),
            virtual_bytes: Some(2_097_152),
            threads: Some(9),
            open_fds: None,
            max_fds: Some(1_024),
        };
        assert_eq!(Process::from_text(stat, status, limits, "cpu 1 2\nbtime 1700000000\n"), expected);
        assert_eq!(Process::from_text("", "", "", ""), Process::default());
    }

    #[test]
    fn this_process_is_seen() {
        let process = Process::read();
        assert!(process.open_fds.is_some_and(|fds| fds > 2) && process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.start_seconds.is_some_and(|start| start > 1_600_000_000.0) && process.cpu_seconds.is_some(), "{process:?}");
    }
}
