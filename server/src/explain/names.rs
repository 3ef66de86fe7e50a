//! What this gateway and its surroundings are called, put into the lines that are to be typed.
use super::account;
use super::numbers::Commands;
use crate::config::Config;
use crate::logging::visible;
use crate::profile::quoted;
use ike::CipherPolicy;
use ike::proposal::WindowsPolicy;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Names of a gateway put into one line at most.
const GATEWAYS: usize = 8;

/// The names of one gateway. What is not known here, the line asks whoever types it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// What clients may dial, most wanted first.
    gateways: Vec<String>,
    /// Port of the first SSTP listener.
    sstp_port: Option<u16>,
    /// What the authority of the gateway's certificates is called.
    root: Option<String>,
    /// SHA-1 thumbprints of the authorities of machine certificates, as Windows writes them.
    authorities: Vec<String>,
    /// RADIUS servers by name, with the address that they are asked from.
    radius: Vec<(String, Option<IpAddr>)>,
    /// What a Windows profile needs.
    ciphers: Option<String>,
    /// The main file of the configuration.
    file: Option<PathBuf>,
}

impl Names {
    pub fn of(config: &Config) -> Self {
        let leaves = config.certificates.iter().map(|certificate| certificate.credential.leaf());
        let shown = leaves.flat_map(|leaf| leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string)));
        let mut seen = BTreeSet::new();
        let all = std::iter::once(config.server.name.clone()).chain(shown).map(|name| name.to_lowercase());
        let gateways = all.filter(|name| !name.contains('*') && seen.insert(name.clone())).take(GATEWAYS).collect();
        let top = config.certificates.first().and_then(|certificate| certificate.credential.chain.last());
        let roots = config.ikev2.iter().flat_map(|listener| listener.client_roots.roots());
        let hexadecimal = |bytes: [u8; 20]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            gateways,
            sstp_port: config.sstp.first().map(|listener| listener.port),
            root: top.map(|top| top.issuer.clone()),
            authorities: roots.map(|root| hexadecimal(root.sha1())).collect(),
            radius: config.radius.iter().map(|radius| (radius.server.name.clone(), radius.server.source)).collect(),
            ciphers: WindowsPolicy::of(&config.ciphers).map(|policy| policy.to_string()),
            file: Some(config.path.clone()),
        }
    }

    /// The lines with everything put in. Those that ask for what this gateway does not have are left out; `None`: none is left.
    pub fn fill(&self, commands: &Commands, user: Option<&str>) -> Option<Commands> {
        let root = self.root.as_deref().map_or_else(|| "(`evergate certificates` on the gateway names it)".into(), visible);
        let place = commands.place.replace("{root}", &root).replace("{file}", &self.file());
        let lines: Vec<_> = commands.lines.iter().flat_map(|line| self.lines(line, user)).collect();
        (!lines.is_empty()).then_some(Commands { place, lines })
    }

    /// A line once for each of what it is about.
    fn lines(&self, line: &str, user: Option<&str>) -> Vec<String> {
        if !line.contains("{source}") {
            return self.line(line, user).into_iter().collect();
        }
        let known = |(name, source): &(String, Option<IpAddr>)| {
            let source =
                source.map_or_else(|| asked(&format!("address from which this gateway asks {name}")), |source| quoted(&source.to_string()));
            line.replace("{source}", &source).replace("{secret}", &asked(&format!("shared secret of the [[radius]] {name}")))
        };
        let mut lines: Vec<_> = self.radius.iter().map(known).collect();
        if lines.is_empty() && self.file.is_none() {
            let source = asked("address from which the gateway asks");
            lines.push(line.replace("{source}", &source).replace("{secret}", &asked("shared secret")));
        }
        lines.iter().filter_map(|line| self.line(line, user)).collect()
    }

    fn line(&self, line: &str, user: Option<&str>) -> Option<String> {
        let unknown = self.file.is_none();
        let port = match self.sstp_port {
            Some(port) => port.to_string(),
            None if unknown => "443".into(),
            None if line.contains("{sstp-port}") => return None,
            None => String::new(),
        };
        let account = match user {
            Some(user) => account::in_directory(user),
            None => Some(format!("Get-ADUser -Identity {}", asked("account, as in `evergate attempts`"))),
        };
        let account = account.unwrap_or_else(|| format!("Get-ADUser -Identity {}", asked("account")));
        let ciphers = match &self.ciphers {
            Some(ciphers) => ciphers.clone(),
            None if unknown => WindowsPolicy::of(&Config::default_ciphers()).map(|policy| policy.to_string())?,
            None if line.contains("{ciphers}") => return None,
            None => String::new(),
        };
        let authority = match self.authorities.as_slice() {
            [] => format!("Subject -eq {}", asked("subject of the authority of the machine certificates, as certlm.msc shows it")),
            all => format!("Thumbprint -in {}", listed(all)),
        };
        let name = self.gateways.first().map_or_else(|| asked("name for the gateway"), |name| quoted(name));
        let filled = line
            .replace("{each}", EACH)
            .replace("{end}", "} }")
            .replace("{gateway}", &self.gateway())
            .replace("{sstp-port}", &port)
            .replace("{ciphers}", &ciphers)
            .replace("{authority}", &authority)
            .replace("{name}", &name)
            .replace("{account}", &account);
        Some(filled)
    }

    /// The main file of the configuration.
    pub fn file(&self) -> String {
        self.file.as_ref().map_or_else(|| "the configuration".into(), |file| visible(&file.to_string_lossy()))
    }

    fn gateway(&self) -> String {
        match self.gateways.as_slice() {
            [] => asked("name of the gateway, as the connection has it"),
            all => listed(all),
        }
    }

    /// What gives every connection to this gateway, on the PC that it is typed on, ciphers that the gateway takes. `None`: Windows can do none of it.
    pub fn windows_line(&self, ciphers: &CipherPolicy) -> Option<String> {
        let policy = WindowsPolicy::of(ciphers)?.to_string();
        Self { ciphers: Some(policy), ..self.clone() }.line(CIPHERS, None)
    }
}

/// Each connection of this user and each of all users that leads to the gateway: what its name is, only the PC knows.
const EACH: &str = "$gateway = {gateway}; foreach ($all in $false, $true) { Get-VpnConnection -AllUserConnection:$all | Where-Object ServerAddress -in $gateway | ForEach-Object {";
const CIPHERS: &str =
    "{each} Set-VpnConnectionIPsecConfiguration -ConnectionName $_.Name -AllUserConnection:$all {ciphers} -PassThru -Force {end}";

fn listed(all: &[String]) -> String {
    all.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// PowerShell asks whoever types it.
fn asked(what: &str) -> String {
    format!("(Read-Host {})", quoted(what))
}

#[cfg(test)]
impl Names {
    pub(super) fn for_tests() -> Self {
        Self {
            gateways: vec!["vpn.example.com".into(), "vpn.example.net".into()],
            sstp_port: Some(443),
            root: Some("CN=Example Root".into()),
            authorities: vec!["AB01".into()],
            radius: vec![("nps1".into(), Some([10, 0, 0, 4].into())), ("nps2".into(), None)],
            ciphers: Some("-DHGroup Group14".into()),
            file: Some("/etc/evergate/evergate.toml".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::numbers;

    fn filled(names: &Names, line: &str, user: Option<&str>) -> Vec<String> {
        names.lines(line, user)
    }

    #[test]
    fn connections_are_found_by_the_gateway_that_they_lead_to() {
        let line = &filled(&Names::for_tests(), CIPHERS, None)[0];
        assert_eq!(
            line,
            "$gateway = 'vpn.example.com', 'vpn.example.net'; foreach ($all in $false, $true) { Get-VpnConnection -AllUserConnection:$all | \
             Where-Object ServerAddress -in $gateway | ForEach-Object { Set-VpnConnectionIPsecConfiguration -ConnectionName $_.Name \
             -AllUserConnection:$all -DHGroup Group14 -PassThru -Force } }"
        );
        assert!(filled(&Names::default(), CIPHERS, None)[0].starts_with("$gateway = (Read-Host 'name of the gateway"));
    }

    #[test]
    fn each_radius_server_knows_the_gateway_by_its_address() {
        let lines = filled(&Names::for_tests(), "New-NpsRadiusClient -Name {name} -Address {source} -SharedSecret {secret}", None);
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0],
            "New-NpsRadiusClient -Name 'vpn.example.com' -Address '10.0.0.4' -SharedSecret (Read-Host 'shared secret of the [[radius]] nps1')"
        );
        assert!(lines[1].contains("-Address (Read-Host 'address from which this gateway asks nps2')"), "{lines:?}");
        let local = Names { radius: Vec::new(), ..Names::for_tests() };
        assert!(filled(&local, "{source}", None).is_empty(), "there is no RADIUS server");
    }

    #[test]
    fn what_the_gateway_does_not_have_is_left_out() {
        let names = Names { sstp_port: None, ..Names::for_tests() };
        assert!(filled(&names, "-Port {sstp-port}", None).is_empty());
        assert_eq!(filled(&Names::default(), "-Port {sstp-port}", None), ["-Port 443"]);
        assert_eq!(filled(&Names::for_tests(), "Where-Object {authority}", None), ["Where-Object Thumbprint -in 'AB01'"]);
    }

    #[test]
    fn names_from_the_wire_do_nothing_else() {
        let names = Names::for_tests();
        assert_eq!(filled(&names, "{account} | x", Some("EXAMPLE\\ann")), ["Get-ADUser -Identity 'ann' -Server 'EXAMPLE' | x"]);
        for user in [None, Some("ann'; reboot"), Some("$(reboot)")] {
            assert!(filled(&names, "{account}", user)[0].starts_with("Get-ADUser -Identity (Read-Host '"), "{user:?}");
        }
    }

    /// Nothing is left that somebody would have to replace before the line does what it says.
    #[test]
    fn every_line_of_the_table_is_ready() {
        for names in [Names::for_tests(), Names::default()] {
            for (name, commands) in numbers::all_commands() {
                let filled = names.fill(commands, Some("ann@example.com")).unwrap_or_else(|| panic!("nothing is left of {name}"));
                for line in &filled.lines {
                    let tokens =
                        ["gateway", "sstp-port", "ciphers", "authority", "name", "account", "each", "end", "source", "secret", "root"];
                    let left: Vec<_> = tokens.iter().filter(|token| line.contains(&format!("{{{token}}}"))).collect();
                    assert!(left.is_empty() && !line.contains("NAME") && !line.contains("USER") && !line.contains(".\\"), "{name}: {line}");
                    assert_eq!(line.matches('{').count(), line.matches('}').count(), "{name}: {line}");
                }
            }
        }
    }
}
