//! A FreeRADIUS of our own on loopback, everything private in a temporary directory.
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SECRET: &str = "a secret for one test";

/// Set in the copy of the test program that runs in its own network namespace.
const INSIDE: &str = "EVERGATE_TEST_NAMESPACE";

/// Runs `test` in namespaces of its own (network, processes), by starting this program anew for this test alone. Returns false, with
/// the reason on standard error, where that is impossible; a run with `EVERGATE_REQUIRE_PEERS` set fails instead.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs");
        assert!(up.success());
        return test();
    }
    if let Err(missing) = prerequisites() {
        assert!(std::env::var_os("EVERGATE_REQUIRE_PEERS").is_none(), "{missing}");
        // Not `eprintln`, which the test harness hides for tests that pass.
        writeln!(std::io::stderr(), "SKIPPED {name}: {missing}").expect("standard error is open");
        return;
    }
    // A process namespace, so that the server ends with the test whatever happens.
    let output = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = text(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{name} failed in its namespace:\n{}{}", text(&output.stdout), text(&output.stderr));
}

fn prerequisites() -> Result<(), String> {
    for (program, arguments, remedy) in [
        ("freeradius", &["-v"][..], "install the package freeradius"),
        ("ip", &["-V"], "install the package iproute2"),
        ("unshare", &["--net", "--pid", "--fork", "--mount-proc", "true"], "run as root (CAP_SYS_ADMIN)"),
    ] {
        let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !quiet.is_ok_and(|status| status.success()) {
            return Err(format!("`{program}` does not work here: {remedy}"));
        }
    }
    Ok(())
}

/// A running FreeRADIUS; it ends when this is dropped.
pub(crate) struct FreeRadius {
    child: Child,
    directory: tempfile::TempDir,
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl FreeRadius {
    pub(crate) fn start() -> Self {
        Self::start_saying("-fxx")
    }

    /// Without a word about each request.
    pub(crate) fn start_quiet() -> Self {
        Self::start_saying("-f")
    }

    fn start_saying(how_much: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        for folder in ["log", "run"] {
            std::fs::create_dir(path.join(folder)).expect("a folder");
        }
        std::fs::write(path.join("dictionary"), "").expect("a file");
        std::fs::write(path.join("radiusd.conf"), configuration(path)).expect("a file");
        std::fs::write(path.join("users"), USERS).expect("a file");
        let log = std::fs::File::create(path.join("log/debug")).expect("a file");
        let child = Command::new("freeradius")
            .arg(how_much)
            .args(["-l", "stdout", "-d"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("freeradius starts");
        let mut server = Self { child, directory };
        server.wait();
        server
    }

    /// Waits until the server has both ports.
    fn wait(&mut self) {
        let patience = Instant::now() + Duration::from_secs(20);
        while Instant::now() < patience {
            assert!(self.child.try_wait().expect("a child").is_none(), "freeradius ended:\n{}", self.read("debug"));
            if [1812, 1813].iter().all(|port| UdpSocket::bind(("127.0.0.1", *port)).is_err()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("freeradius does not listen:\n{}", self.read("debug"));
    }

    /// A file that the server writes: `debug`, `requests`, `accounting`.
    pub(crate) fn read(&self, file: &str) -> String {
        let mut text = String::new();
        let opened = std::fs::File::open(self.directory.path().join("log").join(file));
        opened.and_then(|mut file| file.read_to_string(&mut text)).unwrap_or_default();
        text
    }
}

const USERS: &str = r#"alice	Cleartext-Password := "password"
	Service-Type = Framed-User, Framed-Protocol = PPP, Class = 0x4e505300ff616c, Class += 0x02, Session-Timeout = 28800,
	Acct-Interim-Interval = 600, MS-Primary-DNS-Server = 10.99.10.53, Filter-Id = "staff", Framed-IP-Address = 10.98.200.7

bob	Cleartext-Password := "a password of more than sixteen bytes"
	Service-Type = Framed-User, MS-Primary-NBNS-Server = 10.99.10.42, MS-Secondary-NBNS-Server = 10.99.10.43

carol	Cleartext-Password := "old", SMB-Account-CTRL-TEXT := "[Ue]"

dave	Cleartext-Password := "password", Auth-Type := Reject
	Reply-Message = "ask the service desk"
"#;

fn configuration(path: &Path) -> String {
    let directory = path.to_str().expect("temporary directories have plain names");
    include_str!("radiusd.conf").replace("@DIRECTORY@", directory).replace("@SECRET@", SECRET)
}
