//! Facts of this host, and what the judges say of them.
use super::firewall::{self, Firewall};
use super::host::{self, Clock, Tun};
use super::name::{self, Dialled, Shown};
use super::network::{self, Forwarding, Interface};
use super::sockets::{self, Transport, Trial, Wanted};
use super::{Finding, lists, radius, rights, rules};
use crate::api::types::{SessionList, Status};
use crate::api::{self, AskError, Call, SessionsQuery};
use crate::config::Config;
use net::link::{self, Netlink};
use net::privileges::{GATEWAY, with_all_permitted};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// How long the resolver may take for all names.
const RESOLVER: Duration = Duration::from_secs(20);

/// Looks at everything that `config` needs.
pub fn examine(config: &Config) -> Vec<Finding> {
    with_rights(|| look(config))
}

/// With the rights that a gateway keeps, as far as this process may have them.
fn with_rights<T: Send>(work: impl Fn() -> T + Sync) -> T {
    // Where they cannot be had, each look says what it could not see.
    with_all_permitted(&GATEWAY, &work).unwrap_or_else(|_| work())
}

fn look(config: &Config) -> Vec<Finding> {
    let (status, mut findings) = gateway(config);
    findings.extend(config.warnings.iter().map(|warning| Finding::warn("configuration", warning, "see `evergate check`")));
    let interfaces = match interfaces(config) {
        Ok(interfaces) => interfaces,
        Err(error) => {
            findings.push(Finding::warn("interfaces", format!("the kernel does not list addresses: {error}"), "run this as root"));
            Vec::new()
        }
    };
    let wanted = sockets::wanted(config);
    findings.extend(match &status {
        Some(status) => sockets::after(&wanted, status),
        None => sockets::before(&wanted.iter().map(try_socket).collect::<Vec<_>>()),
    });
    findings.extend(firewall_findings(config, &wanted, &interfaces));
    let on = |ipv6| link::forwarding_enabled(ipv6).ok();
    findings.extend(network::forwarding(Forwarding { ipv4: on(false), ipv6: on(true) }, &config.pools));
    findings.extend(network::rp_filter(&interfaces));
    findings.extend(network::mtu(&interfaces, config.server.mtu));
    findings.extend(network::segmentation(&interfaces, config.ikev2.is_some()));
    findings.extend(network::pools(&config.pools, &interfaces, &proxies()));
    findings.extend(status.iter().filter_map(|_| network::returns(&sessions(config))));
    findings.push(host::tun(&config.server.tun, &tun(config, status.is_some())));
    findings.push(host::clock(clock()));
    findings.push(host::entropy(read("/proc/sys/kernel/random/entropy_avail").and_then(|text| text.parse().ok())));
    findings.push(host::open_files(open_files(status.as_ref()), !config.sstp.is_empty(), config.server.max_sessions));
    findings.push(host::state_dir(&config.server.state_dir, &writable(&config.server.state_dir)));
    findings.extend(rights::examine(config));
    findings.extend(asked(config, &interfaces, status.as_ref()));
    findings
}

/// What takes its time: a resolver, places of lists and RADIUS servers are all waited for together.
fn asked(config: &Config, interfaces: &[Interface], status: Option<&Status>) -> Vec<Finding> {
    let chains: Vec<_> = config.certificates.iter().map(|certificate| certificate.credential.chain.as_slice()).collect();
    std::thread::scope(|scope| {
        let names = scope.spawn(|| names(config, interfaces));
        let lists = scope.spawn(|| lists::examine(&chains, &[], lists::Seen::Here));
        let sources = config.radius.iter().map(|server| server.server.source);
        let answers = radius::ask(&config.radius);
        let source = config.radius.iter().find_map(|server| server.server.source);
        let dead = status.map(|status| radius::dead_groups(&status.radius, &answers, source)).unwrap_or_default();
        let radius = answers.iter().zip(sources).map(|(asked, source)| radius::judge(asked, source)).chain(dead).collect::<Vec<_>>();
        let joined = [names, lists].map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.into_iter().flatten().chain(radius).collect()
    })
}

/// Whether it runs.
fn gateway(config: &Config) -> (Option<Status>, Vec<Finding>) {
    const CHECK: &str = "gateway";
    match api::ask::<Status>(&config.server.control_socket, &Call::get("/v1/status")) {
        Ok(status) => {
            let running =
                Finding::ok(CHECK, format!("it runs (pid {}, version {}, {} sessions)", status.pid, status.version, status.sessions));
            (Some(status), vec![running])
        }
        Err(AskError::NotRunning(_) | AskError::Stale(_)) => {
            (None, vec![Finding::ok(CHECK, "it does not run; this is how it would find the host")])
        }
        Err(error) => {
            (None, vec![Finding::warn(CHECK, error.to_string(), "run this as root; without its answer it counts as not running")])
        }
    }
}

fn interfaces(config: &Config) -> std::io::Result<Vec<Interface>> {
    let mut netlink = Netlink::open()?;
    let mut found: BTreeMap<u32, Interface> = BTreeMap::new();
    for local in netlink.addresses()? {
        let name = link::interface_name(local.device)?;
        if name == "lo" || name == config.server.tun {
            continue;
        }
        let interface = found.entry(local.device).or_insert_with(|| Interface {
            mtu: link::interface_mtu(&name).unwrap_or(0),
            segmentation: link::segmentation(&name).ok(),
            rp_filter: setting(&name, "ipv4", "rp_filter").max(setting("all", "ipv4", "rp_filter")),
            proxy_arp: setting(&name, "ipv4", "proxy_arp").max(setting("all", "ipv4", "proxy_arp")) != 0,
            proxy_ndp: setting(&name, "ipv6", "proxy_ndp").max(setting("all", "ipv6", "proxy_ndp")) != 0,
            name,
            ..Interface::default()
        });
        interface.addresses.push(local.address);
    }
    mark_outer(config, &mut netlink, &mut found);
    Ok(found.into_values().collect())
}

/// Clients come in where a listener has its address, or where the way to the Internet leads out.
fn mark_outer(config: &Config, netlink: &mut Netlink, interfaces: &mut BTreeMap<u32, Interface>) {
    // Far away, and not asked for anything: the kernel only looks into its table.
    const FAR: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
    let listens: Vec<_> = sockets::wanted(config).into_iter().map(|wanted| wanted.address.ip()).collect();
    let far = FAR.iter().filter_map(|far| far.parse().ok()).filter_map(|far: IpAddr| netlink.route_to(far).ok());
    let default: Vec<_> = far.map(|route| route.device).collect();
    let everywhere = listens.iter().any(IpAddr::is_unspecified);
    for (device, interface) in &mut *interfaces {
        let named = interface.addresses.iter().any(|address| listens.contains(&address.address));
        interface.outer = named || everywhere && default.contains(device);
    }
    if interfaces.values().all(|interface| !interface.outer) {
        // Without a default route they come in anywhere.
        interfaces.values_mut().for_each(|interface| interface.outer = true);
    }
}

/// A number of `/proc/sys/net/*/conf`; 0 where there is none.
fn setting(interface: &str, family: &str, key: &str) -> u8 {
    read(&format!("/proc/sys/net/{family}/conf/{interface}/{key}")).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn try_socket(wanted: &Wanted) -> Trial {
    let bound = match wanted.transport {
        Transport::Udp => net::ike::IkeSocket::bind(wanted.address).map(drop),
        Transport::Tcp => net::listen::tcp(wanted.address).map(drop),
    };
    let bound = bound.map_err(|error| error.kind());
    let holder = (bound == Err(ErrorKind::AddrInUse)).then(|| holder(wanted)).flatten();
    Trial { wanted: *wanted, bound, holder }
}

/// The program that has a socket in the way of this one.
fn holder(wanted: &Wanted) -> Option<String> {
    let tables = ["", "6"].map(|family| fs::read_to_string(format!("/proc/net/{}{family}", wanted.transport.word())).unwrap_or_default());
    let bound = tables.iter().flat_map(|table| sockets::read_table(table, wanted.transport));
    let found = bound.filter(|bound| sockets::collides(bound.address, wanted.address)).find_map(|bound| owner(bound.inode));
    found.map(|(name, pid)| format!("{name} (pid {pid})"))
}

/// Who has this socket open: the name of the program, and its process.
fn owner(inode: u64) -> Option<(String, u32)> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = numbers.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == wanted.as_str())
    })?;
    Some((read(&format!("/proc/{pid}/comm")).unwrap_or_else(|| "a program".into()), pid))
}

/// Addresses that this host answers for one by one, with the interface where it does.
fn proxies() -> Vec<(IpAddr, String)> {
    let list = |family: &str| {
        let done = Command::new("ip").args([family, "-j", "neigh", "show", "proxy"]).output().ok()?;
        serde_json::from_slice::<serde_json::Value>(&done.stdout).ok()
    };
    let rows = ["-4", "-6"].into_iter().filter_map(list).filter_map(|list| list.as_array().cloned()).flatten();
    rows.filter_map(|row| Some((row["dst"].as_str()?.parse().ok()?, row["dev"].as_str()?.to_owned()))).collect()
}

/// What sessions that are up have sent and been sent; empty where the gateway does not tell.
fn sessions(config: &Config) -> Vec<network::Traffic> {
    let query = SessionsQuery { limit: Some(1_000), ..SessionsQuery::default() };
    let asked = Call::get("/v1/sessions").with_query(&query);
    let list = asked.and_then(|call| api::ask::<SessionList>(&config.server.control_socket, &call)).unwrap_or_default();
    let traffic = |session: crate::api::types::Session| network::Traffic {
        inner: session.inner,
        sent: session.packets_in,
        received: session.packets_out,
    };
    list.sessions.into_iter().map(traffic).collect()
}

fn firewall_findings(config: &Config, wanted: &[Wanted], interfaces: &[Interface]) -> Vec<Finding> {
    let outer: Vec<_> = interfaces.iter().filter(|interface| interface.outer).map(|interface| interface.name.clone()).collect();
    let needs = firewall::Needs { sockets: wanted, esp: config.ikev2.is_some(), outer: &outer, tun: &config.server.tun };
    let legacy = ["ip", "ip6"].into_iter().filter_map(|family| read(&format!("/proc/net/{family}_tables_names")));
    let legacy: Vec<_> = legacy.flat_map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    firewall::judge(&nft(), &legacy, &needs)
}

/// What rules of nftables on this host do to the ports of IKE alone; nothing where nobody may read them.
pub fn firewall_on_ike(config: &Config) -> Vec<Finding> {
    let wanted: Vec<_> = sockets::wanted(config).into_iter().filter(|wanted| wanted.transport == Transport::Udp).collect();
    let interfaces = interfaces(config).unwrap_or_default();
    let outer: Vec<_> = interfaces.iter().filter(|interface| interface.outer).map(|interface| interface.name.clone()).collect();
    let needs = firewall::Needs { sockets: &wanted, esp: false, outer: &outer, tun: &config.server.tun };
    firewall::of_ports(&with_rights(nft), &needs)
}

fn nft() -> Firewall {
    let run = |arguments: [&str; 3]| match Command::new("nft").args(arguments).output() {
        // Not every PATH has the folders of the system's programs.
        Err(error) if error.kind() == ErrorKind::NotFound => Command::new("/usr/sbin/nft").args(arguments).output(),
        done => done,
    };
    let output = match run(["-j", "list", "ruleset"]) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Firewall::NoProgram,
        Err(error) => return Firewall::Refused(error.to_string()),
        Ok(output) => output,
    };
    if !output.status.success() {
        return Firewall::Refused(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it says nothing").to_owned());
    }
    let mut answer = match serde_json::from_slice(&output.stdout) {
        Ok(answer) => answer,
        Err(error) => return Firewall::Refused(error.to_string()),
    };
    if let Ok(listing) = run(["-a", "list", "ruleset"]) {
        rules::lay_text_beside(&mut answer, &String::from_utf8_lossy(&listing.stdout));
    }
    Firewall::Answer(answer)
}

fn tun(config: &Config, runs: bool) -> Tun {
    let exists = link::interface_index(&config.server.tun).is_ok();
    match (exists, runs) {
        (true, true) => Tun::Held(link::segmentation(&config.server.tun).ok()),
        (false, true) => Tun::NotHere,
        (true, false) => Tun::Taken,
        // It goes with its descriptor.
        (false, false) => Tun::Tried(net::tun::open(&config.server.tun, 1).map(|device| device.offload)),
    }
}

fn clock() -> Clock {
    let exists = |path: &&str| Path::new(path).exists();
    if exists(&"/run/systemd/timesync/synchronized") {
        return Clock::Synchronised;
    }
    if ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/chrony/chronyd.sock", "/run/ntpd.pid", "/var/run/ntpd.pid"].iter().any(exists)
    {
        return Clock::Kept;
    }
    if exists(&"/run/systemd/timesync") { Clock::Unsynchronised } else { Clock::Unknown }
}

/// Of the gateway, where it runs and can be seen.
fn open_files(status: Option<&Status>) -> Option<u64> {
    let limits = status.and_then(|status| read(&format!("/proc/{}/limits", status.pid))).or_else(|| read("/proc/self/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    match line.split_whitespace().nth(4)? {
        "unlimited" => Some(u64::MAX),
        hard => hard.parse().ok(),
    }
}

/// Tries it, in the folder or in the nearest one above that exists.
pub(super) fn writable(path: &Path) -> Result<(), String> {
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    if !existing.is_dir() {
        return Err(format!("{} is no folder", existing.display()));
    }
    let trial = existing.join(format!(".evergate-doctor-{}", std::process::id()));
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&trial).map_err(|error| format!("cannot be written: {error}"));
    made.and_then(|_| fs::remove_file(&trial).map_err(|error| error.to_string()))
}

fn names(config: &Config, interfaces: &[Interface]) -> Vec<Finding> {
    let local: Vec<_> = interfaces.iter().flat_map(|interface| &interface.addresses).map(|address| address.address).collect();
    let shown = config.certificates.iter().filter(|certificate| certificate.uses.ikev2 || certificate.uses.sstp);
    let of_certificates = shown.flat_map(|certificate| certificate.names.as_ref().unwrap_or(&certificate.credential.leaf().dns_names));
    let name::Names { looked_up, others } = name::sort(&config.server.name, of_certificates.map(String::as_str));
    let found = resolved(&looked_up);
    let now = jiff::Timestamp::now().as_second();
    let shown = config.certificates.iter().map(|certificate| {
        let leaf = certificate.credential.leaf();
        let made_out_to = leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string)).collect();
        name::certificate(&Shown { name: &certificate.name, made_out_to, not_after: leaf.not_after }, now)
    });
    let dialled = looked_up.iter().zip(found).map(|(name, found)| name::dialled(&Dialled { name, found, local: &local }));
    dialled.chain(others).chain(shown).collect()
}

/// Asks for all at once, on threads that may go on for as long as the resolver likes.
fn resolved(names: &[&str]) -> Vec<Result<Vec<IpAddr>, String>> {
    let ask = |name: &&str| {
        let (tell, told) = sync_channel(1);
        let asked = (*name).to_owned();
        std::thread::spawn(move || {
            let found = (asked.as_str(), 0).to_socket_addrs().map_err(|error| error.to_string());
            // Perhaps nobody waits any more.
            tell.send(found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())).ok();
        });
        told
    };
    let asked: Vec<_> = names.iter().map(ask).collect();
    let until = Instant::now() + RESOLVER;
    let wait = |told: Receiver<Result<Vec<IpAddr>, String>>| {
        let left = until.saturating_duration_since(Instant::now());
        let mut found = told.recv_timeout(left).unwrap_or_else(|_| Err(format!("no answer within {} s", RESOLVER.as_secs())))?;
        found.dedup();
        Ok(found)
    };
    asked.into_iter().map(wait).collect()
}

/// A small file's text without white space around it.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
