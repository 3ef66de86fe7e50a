//! `evergate quickstart`: from nothing to a gateway that clients can connect to.
mod authority;
mod clients;
#[cfg(test)]
mod tests;

use crate::cli::QuickstartArgs;
use crate::config::{self, Config};
use crate::privileges::wanted_user;
use crate::users_file::write_private;
use anyhow::{Context as _, bail};
use clients::Guide;
use crypto::{Random as _, SystemRandom, Zeroizing};
use local_provider::{HEADER, check_name, nt_hash, with_user};
use net::privileges::User;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Where everything is written unless told otherwise.
pub const DEFAULT_FOLDER: &str = "/etc/evergate";

/// Letters and digits that nobody confuses: 32, five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A file to be written.
struct Planned {
    path: PathBuf,
    text: Zeroizing<String>,
    access: Access,
}

/// What the user may do with a file that the gateway becomes.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Nothing,
    Read,
    /// The folder is the user's too: the gateway replaces the file in it.
    Write,
}

/// Writes everything, checks it, and prints how clients connect. Returns the path of the configuration.
///
/// # Errors
/// A file is there already, or cannot be written; then nothing was changed but what was written before.
pub fn prepare(args: &QuickstartArgs, out: &mut dyn Write) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(args.dir.as_deref().unwrap_or(Path::new(DEFAULT_FOLDER)))?;
    check_name(&args.user).map_err(anyhow::Error::msg)?;
    let configuration = folder.join("evergate.toml");
    if configuration.exists() {
        bail!(
            "{0} exists already and stays as it is: evergate run --config {0} starts that gateway; another --dir takes another one",
            configuration.display()
        );
    }
    let name = args.name.clone().map_or_else(own_name, Ok)?;
    // Before anything is made: the name goes into certificates, the configuration, and files of six kinds for clients.
    if config::dns_name(&name).is_err() {
        bail!("{name:?} is no name that clients can dial; expected a DNS name such as vpn.example.com, or an IPv4 address, with --name");
    }
    let password = password();
    let authority = authority::create(&name, jiff::Timestamp::now())?;
    let guide = Guide { name: &name, user: &args.user, password: &password, folder: &folder };
    let user = wanted_user(None)?;
    let mut files = plan(&folder, &guide, &authority, user.is_some());
    let clients = folder.join("clients");
    let for_clients = clients::FILES.map(|name| clients.join(name));
    if let Some(taken) = files.iter().map(|file| &file.path).chain(&for_clients).find(|path| path.exists()) {
        bail!("{} exists already, and nothing is ever overwritten: move it away, or choose another --dir", taken.display());
    }
    for file in &files {
        write(file, user.as_ref())?;
    }
    // What quickstart writes must pass what every other configuration must.
    let config = Config::load(&configuration, &config::environment()).context("the new configuration is wrong")?;
    for (name, text) in guide.files(&config, jiff::Timestamp::now().as_second()).map_err(anyhow::Error::msg)? {
        let file = Planned { path: clients.join(name), text, access: Access::Nothing };
        write(&file, None)?;
        files.push(file);
    }
    report(out, &guide, &files, &config, args.no_start)?;
    Ok(configuration)
}

/// The files of the gateway; those of clients are made of its configuration. `another`: the gateway becomes another user, who is to write nothing but the users file.
fn plan(folder: &Path, guide: &Guide<'_>, authority: &authority::Made, another: bool) -> Vec<Planned> {
    let user = local_provider::User { name: guide.user.into(), nt_hash: Some(nt_hash(guide.password)), ..local_provider::User::default() };
    let plain = |text: &str| Zeroizing::new(text.to_owned());
    let users = if another { "local/users" } else { "users" };
    let files = [
        ("ca.pem", plain(&authority.certificate), Access::Read),
        ("ca.key", authority.key.clone(), Access::Nothing),
        // The root is not sent to clients, but says which authority they must know.
        ("vpn.pem", Zeroizing::new(format!("{}{}", authority.server_certificate, authority.certificate)), Access::Read),
        ("vpn.key", authority.server_key.clone(), Access::Read),
        (users, with_user(HEADER, &user), Access::Write),
        ("evergate.toml", Zeroizing::new(configuration(guide.name, users, &name_servers())), Access::Read),
    ];
    files.into_iter().map(|(name, text, access)| Planned { path: folder.join(name), text, access }).collect()
}

/// For its owner alone, and for the user that the gateway becomes as far as it needs.
fn write(file: &Planned, user: Option<&User>) -> anyhow::Result<()> {
    let folder = file.path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(|| folder.display().to_string())?;
    let written = write_private(&file.path, file.text.as_bytes()).and_then(|()| match (user, file.access) {
        (None, _) | (_, Access::Nothing) => Ok(()),
        (Some(user), Access::Read) => {
            chown(&file.path, None, Some(user.gid)).and_then(|()| fs::set_permissions(&file.path, Permissions::from_mode(0o640)))
        }
        (Some(user), Access::Write) => {
            let give = |path: &Path, mode| {
                fs::set_permissions(path, Permissions::from_mode(mode)).and_then(|()| chown(path, Some(user.uid), Some(user.gid)))
            };
            give(&file.path, 0o600).and_then(|()| give(folder, 0o700))
        }
    });
    written.with_context(|| file.path.display().to_string())
}

fn configuration(name: &str, users: &str, dns: &[IpAddr]) -> String {
    let dns: Vec<_> = dns.iter().map(|address| format!("\"{address}\"")).collect();
    let dns = if dns.is_empty() { "# dns = [\"10.0.0.53\"]".into() } else { format!("dns = [{}]", dns.join(", ")) };
    format!(
        r#"# Made by evergate quickstart. evergate.example.toml in the documentation explains every key; `evergate check` reads this file.

[server]
name = "{name}"

[[certificate]]
name = "vpn"
chain = "vpn.pem"
key = "vpn.key"

[[listener]]
name = "ikev2"
protocol = "ikev2"
certificates = ["vpn"]
auth = ["eap"]

[[listener]]
name = "sstp"
protocol = "sstp"
certificates = ["vpn"]

[local]
users_file = "{users}"                # evergate user add NAME

[[pool]]
name = "users"
ipv4 = ["10.98.0.10-10.98.0.250"]
ipv6 = ["fd98::10-fd98::fff"]

[[policy]]
name = "everyone"
pool = "users"
{dns}
"#
    )
}

/// The host's own name where it is a full one, else the address that it reaches the world from.
fn own_name() -> anyhow::Result<String> {
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    if host.contains('.') && host != "localhost.localdomain" {
        return Ok(host.to_owned());
    }
    // Nothing is sent: the kernel only looks up its route.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let address = socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr());
    match address {
        Ok(address) if !address.ip().is_loopback() && !address.ip().is_unspecified() => Ok(address.ip().to_string()),
        _ => bail!("this host has no full name and no route to the world: say what clients dial with --name vpn.example.com"),
    }
}

/// The host's name servers as far as clients can use them.
fn name_servers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    addresses.filter(usable).take(3).collect()
}

/// Twenty characters, a hundred bits.
fn password() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 20]);
    SystemRandom.fill(&mut *bytes);
    let mut text = Zeroizing::new(String::with_capacity(24));
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

fn report(out: &mut dyn Write, guide: &Guide<'_>, files: &[Planned], config: &Config, no_start: bool) -> anyhow::Result<()> {
    let mut text = String::new();
    writeln!(text, "Written, with an authority of your own:")?;
    files.iter().try_for_each(|file| writeln!(text, "  {}", file.path.display()))?;
    writeln!(text, "\nKeep ca.key away from this host, or delete it: whoever has it can pose as your gateway.\n")?;
    writeln!(text, "Clients dial    {}", guide.name)?;
    writeln!(text, "User            {}", guide.user)?;
    writeln!(text, "Password        {}   (shown once; evergate user passwd changes it)\n", guide.password)?;
    text.push_str(&guide.instructions());
    text.push_str("\nStill to do on this host:\n");
    hints(config).iter().try_for_each(|hint| writeln!(text, "  {hint}"))?;
    let path = config.path.display();
    if no_start {
        writeln!(text, "\nStart it, as root:\n  evergate run --config {path}")?;
    } else {
        writeln!(text, "\nThe gateway starts now; next time: evergate run --config {path}\n")?;
    }
    for warning in &config.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// What lies outside the gateway.
fn hints(config: &Config) -> Vec<String> {
    let is_on = |file: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == "1");
    let mut hints = Vec::new();
    if !is_on("/proc/sys/net/ipv4/ip_forward") {
        hints.push("sysctl -w net.ipv4.ip_forward=1             # clients reach this host alone without it".to_owned());
    }
    if !is_on("/proc/sys/net/ipv6/conf/all/forwarding") {
        hints.push("sysctl -w net.ipv6.conf.all.forwarding=1".to_owned());
    }
    hints.push("firewall: let UDP 500 and 4500, IP protocol 50 and TCP 443 in".into());
    let tun = &config.server.tun;
    hints.push(format!("routes: send 10.98.0.0/24 and fd98::/64 to this host, or hide the clients behind it ({tun} is their side):"));
    hints
        .push("  nft 'add table inet evergate_nat; add chain inet evergate_nat out { type nat hook postrouting priority srcnat; }'".into());
    hints.push(format!("  nft 'add rule inet evergate_nat out iifname \"{tun}\" masquerade'"));
    hints
}
