//! What a server with RRAS is set to, as our configuration.
use super::ciphers;
use super::server::{Assignment, Method, Provider, Radius, Server};
use super::{Migrated, Options};
use crate::config::duration_text;
use std::collections::BTreeSet;
use std::time::Duration;

/// What stands where only the administrator knows: no value of any key, so that nothing starts with it.
const FILL_IN: &str = "FILL IN";

/// The pool that all policies lease from.
const POOL: &str = "clients";

/// Windows rekeys an IKE SA by itself at this age, in seconds.
const WINDOWS_IKE_REKEY: u64 = 27_360;

/// Bounds of `[timers]`, in seconds, and in megabytes.
const REKEY: std::ops::RangeInclusive<u64> = 10..=604_800;
const OUTAGE_MAX: u64 = 28_800;
const VOLUME: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// Bound of `idle_timeout`, in seconds.
const IDLE_MAX: u64 = 2_592_000;

struct Writer<'a> {
    server: &'a Server,
    toml: String,
    notes: Vec<String>,
    to_fill: Vec<String>,
}

/// Writes the configuration, and what there is to say about it.
pub(super) fn write(server: &Server, options: &Options<'_>) -> Migrated {
    let mut writer = Writer { server, toml: String::new(), notes: Vec::new(), to_fill: Vec::new() };
    writer.server(options.name);
    writer.certificate();
    let tunnels = writer.listeners();
    writer.radius();
    writer.pool();
    writer.policies(&tunnels, options.policies);
    writer.ciphers();
    writer.timers();
    let Writer { toml, mut notes, to_fill, .. } = writer;
    notes.extend(server.differing.iter().cloned());
    notes.extend(server.lost.iter().map(|lost| format!("no equivalent: {lost}")));
    Migrated { toml: toml.trim_end().to_owned() + "\n", notes, to_fill }
}

impl Writer<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.toml.push_str(line.as_ref());
        self.toml.push('\n');
    }

    fn section(&mut self, title: &str, name: Option<&str>) {
        let gap = if self.toml.is_empty() { "" } else { "\n" };
        self.line(format!("{gap}{title}"));
        if let Some(name) = name {
            self.line(format!("name = {}", quoted(name)));
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A value that only the administrator knows.
    fn fill(&mut self, what: &str) -> String {
        self.to_fill.push(what.to_owned());
        quoted(&format!("{FILL_IN}: {what}"))
    }

    fn server(&mut self, name: Option<&str>) {
        self.section("[server]", None);
        let found = name.or(self.server.name.as_deref()).filter(|name| crate::config::dns_name(name).is_ok());
        let name = match found {
            Some(name) => quoted(name),
            None => self.fill("server.name: what clients dial, such as vpn.example.com"),
        };
        self.line(format!("name = {name}"));
        let ports = &self.server.ports;
        let all = [ports.ikev2, ports.sstp].into_iter().flatten().fold(0_u32, u32::saturating_add);
        if all > 0 {
            self.line(format!(
                "max_sessions = {}                       # RRAS had as many ports for IKEv2 and SSTP together",
                all.min(1_000_000)
            ));
            self.note("ports of each protocol are one bound here, server.max_sessions; sessions_max in a [[policy]] with tunnel bounds one of them");
        }
    }

    fn certificate(&mut self) {
        self.section("[[certificate]]", Some("vpn"));
        self.line("chain = \"/etc/evergate/vpn.pem\"");
        self.line("key = \"/etc/evergate/vpn.key\"");
        self.to_fill.push(
            "/etc/evergate/vpn.pem and vpn.key: the certificate of the Windows server with its chain, and its key, or a new one; only the gateway's \
             user reads the key: install -m 640 -g evergate vpn.pem vpn.key /etc/evergate/"
                .into(),
        );
    }

    /// Returns those that are written.
    fn listeners(&mut self) -> Vec<&'static str> {
        let ports = self.server.ports;
        if ports.ikev2.is_none() && ports.sstp.is_none() {
            self.note("the files do not say which tunnels are on, so both are (Get-VpnServerConfiguration and `netsh ras dump` say it)");
        }
        for (count, name) in [(ports.l2tp, "L2TP"), (ports.pptp, "PPTP")] {
            if count.is_some_and(|count| count > 0) {
                self.note(format!("no equivalent: {name}, which is on: its clients need IKEv2 or SSTP (`evergate profile windows`)"));
            }
        }
        if self.server.methods.is_none() {
            self.note("the files do not say how clients log in, so it is EAP alone (Get-VpnAuthProtocol and `netsh ras dump` say it)");
        }
        let said = ports.ikev2.is_some() || ports.sstp.is_some();
        let on = |count: Option<u32>| if said { count.is_some_and(|count| count > 0) } else { true };
        let mut written = Vec::new();
        written.extend((on(ports.ikev2) && self.ikev2()).then_some("ikev2"));
        written.extend((on(ports.sstp) && self.sstp()).then_some("sstp"));
        if self.accepts(Method::PreSharedKey) {
            self.note("no equivalent: preshared keys, which are for L2TP and sites: give clients certificates or passwords");
        }
        written
    }

    fn accepts(&self, method: Method) -> bool {
        match &self.server.methods {
            Some(methods) => methods.contains(&method),
            None => method == Method::Eap,
        }
    }

    fn words(&self, known: &[(Method, &str)]) -> Vec<String> {
        known.iter().filter(|(method, _)| self.accepts(*method)).map(|(_, word)| quoted(word)).collect()
    }

    fn ikev2(&mut self) -> bool {
        let auth = self.words(&[(Method::Eap, "eap"), (Method::Certificate, "certificate")]);
        if auth.is_empty() {
            self.note("no equivalent: IKEv2 without EAP and certificates, so no listener for it is written");
            return false;
        }
        self.section("[[listener]]", Some("ikev2"));
        self.line("protocol = \"ikev2\"");
        self.line("certificates = [\"vpn\"]");
        self.line(format!("auth = [{}]", auth.join(", ")));
        if self.accepts(Method::Certificate) {
            self.client_certificates();
        }
        true
    }

    fn client_certificates(&mut self) {
        let roots: BTreeSet<_> = self.server.roots.iter().cloned().collect();
        let mut files = Vec::new();
        for root in &roots {
            let file = format!("/etc/evergate/ca-{}.pem", file_name(root));
            self.to_fill.push(format!("{file}: the certificate of the authority {root}, as PEM"));
            files.push(quoted(&file));
        }
        if files.is_empty() {
            self.note(
                "RRAS accepts client certificates of every authority that Windows trusts; here they are named: client_ca of the listener",
            );
            files.push(self.fill("client_ca: PEM files of the authorities whose client certificates are accepted"));
        }
        self.line(format!("client_ca = [{}]", files.join(", ")));
        let ekus: Vec<_> = self.server.ekus.iter().map(|eku| quoted(eku)).collect();
        if !ekus.is_empty() {
            self.line(format!("client_eku = [{}]", ekus.join(", ")));
        }
        self.line("# crl = [\"http://pki.example.com/ca.crl\"]  # revocation lists of these authorities; without them nobody's certificate counts as revoked");
    }

    fn sstp(&mut self) -> bool {
        let known = [(Method::Eap, "eap"), (Method::MsChapV2, "mschapv2"), (Method::Chap, "chap"), (Method::Pap, "pap")];
        let auth = self.words(&known);
        if auth.is_empty() {
            self.note("no equivalent: SSTP with none of EAP, MS-CHAPv2, CHAP and PAP, so no listener for it is written");
            return false;
        }
        self.section("[[listener]]", Some("sstp"));
        self.line("protocol = \"sstp\"");
        self.line("certificates = [\"vpn\"]");
        self.line(format!("auth = [{}]", auth.join(", ")));
        if self.accepts(Method::Chap) || self.accepts(Method::Pap) {
            self.note("CHAP and PAP are taken over as RRAS has them; they bind a login to nothing: remove them from the listener sstp if nobody needs them");
        }
        true
    }

    fn radius(&mut self) {
        let server = self.server;
        let asked = server.provider != Some(Provider::Windows);
        let logins: Vec<_> = server.radius.iter().filter(|radius| asked && radius.login.is_some()).collect();
        let accounting: Vec<_> = server.radius.iter().filter(|radius| radius.accounting.is_some()).collect();
        if logins.is_empty() {
            self.section("[[radius]]", Some("nps"));
            let address = self.fill("address of an NPS or another RADIUS server");
            self.line(format!("address = {address}"));
            self.secret("nps");
            self.note(if asked {
                "the files name no RADIUS server that is asked about logins"
            } else {
                "RRAS asks Windows itself about passwords: add this gateway to NPS as a RADIUS client, and NPS here"
            });
        }
        for radius in server.radius.iter().filter(|radius| (asked && radius.login.is_some()) || radius.accounting.is_some()) {
            self.radius_server(radius);
        }
        let alike = logins.len() == accounting.len() && logins.iter().all(|radius| radius.accounting.is_some());
        if !accounting.is_empty() && !alike {
            let names = |list: &[&Radius]| list.iter().map(|radius| quoted(&radius_name(&radius.host))).collect::<Vec<_>>();
            let asked = if logins.is_empty() { vec![quoted("nps")] } else { names(&logins) };
            self.groups(&asked, &names(&accounting));
        }
        if accounting.iter().any(|radius| radius.on_off) {
            self.section("[accounting]", None);
            self.line("on_off = true");
        }
        if !logins.is_empty() {
            self.note("scores of RADIUS servers are the order of their sections here; a server that does not answer is followed by the next within seconds");
        }
    }

    fn radius_server(&mut self, radius: &Radius) {
        let name = radius_name(&radius.host);
        self.section("[[radius]]", Some(&name));
        self.line(format!("address = {}", quoted(&radius.host)));
        self.secret(&name);
        if let Some(port) = radius.login.filter(|port| *port != 1_812) {
            self.line(format!("port = {port}"));
        }
        match radius.accounting {
            None => self.line("accounting_port = 0"),
            Some(1_813) => {}
            Some(port) => self.line(format!("accounting_port = {port}")),
        }
    }

    fn secret(&mut self, name: &str) {
        let file = format!("/etc/evergate/{name}.secret");
        self.line(format!("secret_file = {}", quoted(&file)));
        self.to_fill.push(format!(
            "{file}: the secret that this gateway shares with that RADIUS server, in a file that only the gateway's user reads: \
             install -m 640 -g evergate {name}.secret /etc/evergate/"
        ));
    }

    fn groups(&mut self, logins: &[String], accounting: &[String]) {
        for (name, servers) in [("logins", logins), ("accounting", accounting)] {
            self.section("[[radius_group]]", Some(name));
            self.line(format!("servers = [{}]", servers.join(", ")));
        }
        self.section("[[request_policy]]", Some("everybody"));
        self.line("group = \"logins\"");
        self.line("accounting_group = \"accounting\"");
    }

    fn pool(&mut self) {
        let server = self.server;
        self.section("[[pool]]", Some(POOL));
        let ranges: Vec<_> = server.ranges.iter().map(|(from, to)| quoted(&format!("{from}-{to}"))).collect();
        if server.assignment == Some(Assignment::Dhcp) || ranges.is_empty() {
            self.note(
                "no equivalent: addresses for clients from DHCP. Take a range of its own for the pool and route it to this gateway; the DHCP server must not \
                 hand it out",
            );
            let range = self.fill("ipv4: addresses for clients, such as 10.98.0.10-10.98.0.250");
            self.line(format!("ipv4 = [{range}]"));
        } else {
            self.line(format!("ipv4 = [{}]", ranges.join(", ")));
            self.note("RRAS keeps the first address of its pool for itself; here clients get all of them");
        }
        if let Some((prefix, len)) = server.prefix {
            self.line(format!("ipv6 = [\"{prefix}/{len}\"]"));
        }
    }

    /// `imported`: policies of NPS instead of those that let in whom RADIUS accepts.
    fn policies(&mut self, tunnels: &[&str], imported: Option<&str>) {
        if self.accepts(Method::Certificate) && tunnels.contains(&"ikev2") {
            self.policy("machines over IKEv2", "ikev2", "\"certificate\"");
            self.note("NPS is not asked about device tunnels, as RRAS does not ask it: every certificate of client_ca is let in by the policy \"machines over IKEv2\"");
        }
        if let Some(imported) = imported {
            return self.imported(imported);
        }
        for tunnel in tunnels {
            let sstp = [(Method::Eap, "eap"), (Method::MsChapV2, "mschapv2"), (Method::Chap, "chap"), (Method::Pap, "pap")];
            let methods = self.words(if *tunnel == "sstp" { &sstp } else { &sstp[..1] });
            if !methods.is_empty() {
                self.policy(&format!("users over {}", tunnel.to_uppercase().replace("IKEV2", "IKEv2")), tunnel, &methods.join(", "));
            }
        }
        self.note("whom RADIUS accepts is let in, as with RRAS: NPS decides by its policies. `evergate policy import` and --nps write those here as well");
    }

    /// Each that grants has the line of a pool, which NPS does not know.
    fn imported(&mut self, policies: &str) {
        self.line("");
        for line in policies.trim_end().lines() {
            if line.starts_with("# pool = ") {
                self.line(format!("pool = {}", quoted(POOL)));
                self.reach();
            } else {
                self.line(line);
            }
        }
        if self.server.idle.is_some() {
            self.note("the idle time of RRAS itself is not in the policies of NPS: see idle_timeout");
        }
    }

    /// What clients may reach, where RRAS lets them no further than itself.
    fn reach(&mut self) {
        if self.server.server_only {
            let reach = self.fill("selectors: what clients may reach; with RRAS it is the server alone");
            self.line(format!("selectors = [{reach}]"));
        }
    }

    fn policy(&mut self, name: &str, tunnel: &str, methods: &str) {
        self.section("[[policy]]", Some(name));
        self.line(format!("tunnel = [\"{tunnel}\"]"));
        self.line(format!("method = [{methods}]"));
        self.line(format!("pool = {}", quoted(POOL)));
        self.line("# dns = [\"10.0.0.53\"]                    # RRAS hands out what its own adapter has");
        self.reach();
        if let Some(idle) = self.server.idle.filter(|idle| tunnel == "ikev2" && (1..=IDLE_MAX).contains(idle)) {
            self.line(format!("idle_timeout = \"{}\"", seconds(idle)));
        }
    }

    fn ciphers(&mut self) {
        match ciphers::translate(&self.server.custom) {
            Ok(Some(lines)) => {
                self.section("[ciphers]", None);
                lines.iter().for_each(|line| self.line(line));
                self.note("[ciphers] holds what RRAS insists on; without that section the gateway accepts all that is recommended, this included");
            }
            Ok(None) => self.note(
                "without a custom IPsec policy RRAS accepts what unmanaged Windows profiles offer (1024-bit group, SHA-1); this gateway does not: give the \
                 profiles better ciphers (`evergate profile windows`), or set ciphers.compat = \"windows-default\" until they have them",
            ),
            Err(what) => self.note(format!(
                "no equivalent: the custom IPsec policy ({what}), so the recommended ciphers hold; profiles with others see error 13868: see [ciphers]"
            )),
        }
        if self.server.encryption_type.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("noencryption")) {
            self.note("no equivalent: EncryptionType NoEncryption; tunnels are always encrypted here");
        }
    }

    fn timers(&mut self) {
        let server = self.server;
        let mut lines = Vec::new();
        let outage = server.outage.filter(|outage| (1..=OUTAGE_MAX).contains(outage));
        lines.extend(outage.map(|outage| format!("network_outage = \"{}\"", seconds(outage))));
        let child = server.child_life.filter(|life| REKEY.contains(life));
        lines.extend(child.map(|life| format!("child_rekey = \"{}\"", seconds(life))));
        let volume = server.child_volume.filter(|megabytes| VOLUME.contains(megabytes));
        lines.extend(volume.map(|megabytes| format!("child_volume_mb = {megabytes}")));
        let ike = server.ike_life.filter(|life| REKEY.contains(life) && *life <= WINDOWS_IKE_REKEY);
        lines.extend(ike.map(|life| format!("ike_rekey = \"{}\"", seconds(life))));
        if let Some(life) = server.ike_life.filter(|life| *life > WINDOWS_IKE_REKEY) {
            self.note(format!(
                "the lifetime of IKE SAs ({}) is not taken over: this gateway rekeys them before Windows does",
                seconds(life)
            ));
        }
        if !lines.is_empty() {
            self.section("[timers]", None);
            lines.iter().for_each(|line| self.line(line));
        }
    }
}

fn seconds(count: u64) -> String {
    duration_text(Duration::from_secs(count))
}

/// As TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace(char::is_control, " ")).to_string()
}

/// `radius-10.1.1.1` for an address, else the name.
fn radius_name(host: &str) -> String {
    let plain: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    if host.parse::<std::net::IpAddr>().is_ok() { format!("radius-{plain}") } else { plain }
}

/// `Example-Root-CA` of `CN=Example Root CA, O=Example`.
fn file_name(subject: &str) -> String {
    let name = subject.split(',').next().unwrap_or_default().trim().trim_start_matches("CN=");
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
