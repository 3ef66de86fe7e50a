//! Two network namespaces joined by a veth pair, with an engine in each. All of it goes when the value goes, also on a failure.
use super::engine::{ANSWER, ENGINE};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Gateway,
    Client,
}

pub(crate) struct Lab {
    engines: Vec<Engine>,
    /// Last: the programs in them end first.
    namespaces: [Namespace; 2],
}

/// Deleted with the value.
struct Namespace(String);

struct Engine {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Lab {
    /// Two engines with a tunnel of ESP. `outer`: prefix of the addresses outside, `192.0.2` or `2001:db8:ff:`.
    pub(crate) fn start(outer: &str, encapsulate: bool, suite: &str) -> Self {
        let carrier = if encapsulate { "udp" } else { "esp" };
        Self::with_engines(outer, |here, there| {
            [format!("gateway {here} {there} {carrier} {suite}"), format!("client {there} {here} {carrier} {suite}")]
        })
    }

    /// A gateway that takes TLS streams, and a client that opens some.
    pub(crate) fn start_streams(outer: &str) -> Self {
        Self::with_engines(outer, |here, _| [format!("stream-gateway {here}"), format!("stream-client {here}")])
    }

    /// `settings`: of both engines, by the addresses of gateway and client.
    fn with_engines(outer: &str, settings: impl FnOnce(&str, &str) -> [String; 2]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespaces = ["g", "c"].map(|side| Namespace::new(&format!("evg{}-{number}{side}", std::process::id())));
        let [gateway, client] = &namespaces;
        must(Command::new("ip").args(["link", "add", "outer", "netns", &gateway.0, "type", "veth", "peer", "outer", "netns", &client.0]));
        let (separator, length) = if outer.contains(':') { (":", "64") } else { (".", "24") };
        let address = |host: u8| format!("{outer}{separator}{host}");
        for (namespace, host) in namespaces.iter().zip(1..) {
            let prefix = format!("{}/{length}", address(host));
            let nodad: &[&str] = if outer.contains(':') { &["nodad"] } else { &[] };
            must(namespace.command(&["ip", "address", "add", &prefix, "dev", "outer"]).args(nodad));
            must(&mut namespace.command(&["ip", "link", "set", "outer", "up"]));
            must(&mut namespace.command(&["ip", "link", "set", "lo", "up"]));
        }
        let settings = settings(&address(1), &address(2));
        let mut lab = Self { namespaces, engines: Vec::new() };
        for (index, settings) in settings.iter().enumerate() {
            let engine = Engine::start(&lab.namespaces[index], settings);
            lab.engines.push(engine);
        }
        lab
    }

    /// Runs a program that must succeed.
    pub(crate) fn run(&self, side: Side, words: &[&str]) -> String {
        must(&mut self.namespace(side).command(words))
    }

    /// Runs a program that must fail, and returns what it said.
    pub(crate) fn fails(&self, side: Side, words: &[&str]) -> String {
        let output = self.namespace(side).command(words).output().unwrap();
        assert!(!output.status.success(), "{words:?} succeeded: {}", text(&output));
        text(&output)
    }

    pub(crate) fn spawn(&self, side: Side, words: &[&str]) -> Child {
        self.namespace(side).command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Sends a line to the engine and returns its answer.
    pub(crate) fn order(&mut self, side: Side, line: &str) -> String {
        self.engines[side as usize].order(line)
    }

    pub(crate) fn totals(&mut self, side: Side) -> BTreeMap<String, u64> {
        let line = self.order(side, "totals");
        line.split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, number)| (name.into(), number.parse().unwrap()))
            .collect()
    }

    /// Waits until a counter has reached `least`; what it has then.
    pub(crate) fn await_total(&mut self, side: Side, name: &str, least: u64) -> u64 {
        for _ in 0..200 {
            let now = self.totals(side)[name];
            if now >= least {
                return now;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} stays below {least}: {:?}", self.totals(side));
    }

    /// Runs `iperf3` from the client to the server in the gateway's namespace; Gbit/s received.
    pub(crate) fn iperf(&self, to: &str, options: &[&str]) -> f64 {
        // Nothing repeats the datagram by which iperf3 opens a UDP stream.
        let tries = if options.contains(&"-u") { 3 } else { 1 };
        let mut told = String::new();
        let report = (0..tries).find_map(|_| {
            let output = self.iperf_once(to, options);
            let report = text(&output);
            if !output.status.success() {
                told += &format!("{}: {report}\n", output.status);
            }
            output.status.success().then_some(report)
        });
        let report = report.unwrap_or_else(|| panic!("iperf3 to {to} with {options:?}: {told}"));
        let received: Vec<&str> = report.lines().filter(|line| line.ends_with("receiver")).collect();
        let line =
            *received.iter().find(|line| line.starts_with("[SUM]")).or(received.first()).unwrap_or_else(|| panic!("no summary: {report}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let unit = words.iter().position(|word| word.ends_with("bits/sec")).expect("a rate");
        words[unit - 1].parse::<f64>().unwrap() / 1000.0
    }

    /// With a server for this run alone: one that has just served is busy with the run before, or not there, and clients say so in many ways.
    fn iperf_once(&self, to: &str, options: &[&str]) -> Output {
        let _server = Iperf::start(&self.namespaces[Side::Gateway as usize]);
        // Where everything waits for a processor, a run takes minutes.
        let command = [&["timeout", "300", "iperf3", "-c", to, "--connect-timeout", "60000", "-f", "m"], options].concat();
        self.namespace(Side::Client).command(&command).output().unwrap()
    }

    /// CPU seconds that the engine has used.
    pub(crate) fn cpu(&self, side: Side) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.engines[side as usize].process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// KiB of memory that the engine holds.
    pub(crate) fn memory(&self, side: Side) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.engines[side as usize].process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn namespace(&self, side: Side) -> &Namespace {
        &self.namespaces[side as usize]
    }
}

/// Ended with the value.
struct Iperf(Child);

impl Iperf {
    /// Returns when it listens.
    fn start(namespace: &Namespace) -> Self {
        let mut command = namespace.command(&["iperf3", "-s", "--forceflush"]);
        let mut server = Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("Server listening")));
        std::thread::spawn(move || lines.for_each(drop));
        server
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Engine {
    fn start(namespace: &Namespace, settings: &str) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut command = namespace.command(&[me.to_str().unwrap(), "engine_process", "--exact", "--ignored", "--nocapture"]);
        let mut process = command.env(ENGINE, settings).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut engine = Self { process, input, output };
        assert_eq!(engine.answer(), "ready");
        engine
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim().to_owned();
            }
            line.clear();
        }
        panic!("the engine ended");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        for _ in 0..100 {
            if self.process.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        end(&mut self.process);
    }
}

impl Namespace {
    fn new(name: &str) -> Self {
        must(Command::new("ip").args(["netns", "add", name]));
        Self(name.to_owned())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).output());
    }
}

/// What a spawned program printed; it must succeed.
pub(crate) fn finish(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn end(process: &mut Child) {
    // It may have ended already.
    drop(process.kill());
    drop(process.wait());
}
