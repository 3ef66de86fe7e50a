//! What a server with RRAS is set to, out of everything that it says about itself.
use super::read::{Command, Facts, Object};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Who asks for the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Windows,
    Radius,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignment {
    Dhcp,
    Pool,
}

/// How clients may log in, in the order of our preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Eap,
    Certificate,
    MsChapV2,
    Chap,
    Pap,
    PreSharedKey,
}

impl Method {
    /// As netsh or PowerShell calls it, in lower case.
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eap" => Self::Eap,
            "certificate" | "cert" => Self::Certificate,
            "mschapv2" => Self::MsChapV2,
            "chap" | "md5chap" => Self::Chap,
            "pap" => Self::Pap,
            "presharedkey" => Self::PreSharedKey,
            _ => return None,
        })
    }

    /// As PowerShell calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Eap => "EAP",
            Self::Certificate => "Certificate",
            Self::MsChapV2 => "MsChapv2",
            Self::Chap => "Chap",
            Self::Pap => "PAP",
            Self::PreSharedKey => "PresharedKey",
        }
    }
}

/// Ports of each kind; `None`: not said.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ports {
    pub ikev2: Option<u32>,
    pub sstp: Option<u32>,
    pub l2tp: Option<u32>,
    pub pptp: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Radius {
    pub host: String,
    /// 0..=30, the highest is asked first.
    pub score: u32,
    /// Asked about logins, at this port.
    pub login: Option<u16>,
    pub accounting: Option<u16>,
    pub on_off: bool,
}

/// A custom IPsec policy, in the words of Set-VpnServerConfiguration.
#[derive(Debug, Default, Clone)]
pub(super) struct Custom {
    pub encryption: Option<String>,
    pub integrity: Option<String>,
    pub dh: Option<String>,
    pub cipher_transform: Option<String>,
    pub authentication_transform: Option<String>,
    pub pfs: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    /// The subject of the certificate for SSTP.
    pub name: Option<String>,
    pub ports: Ports,
    pub methods: Option<BTreeSet<Method>>,
    pub assignment: Option<Assignment>,
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    pub prefix: Option<(Ipv6Addr, u8)>,
    pub provider: Option<Provider>,
    pub radius: Vec<Radius>,
    /// What the file that is being read takes away.
    removed: BTreeSet<Method>,
    /// Which RADIUS servers it says are asked about logins, in lower case.
    asked: BTreeSet<String>,
    /// Subjects of authorities whose client certificates are accepted.
    pub roots: Vec<String>,
    pub ekus: Vec<String>,
    /// Seconds.
    pub idle: Option<u64>,
    pub outage: Option<u64>,
    pub child_life: Option<u64>,
    /// Megabytes.
    pub child_volume: Option<u64>,
    pub ike_life: Option<u64>,
    pub encryption_type: Option<String>,
    pub custom: Custom,
    /// Clients reach the server and nothing behind it.
    pub server_only: bool,
    /// Where files contradict each other, one sentence each.
    pub differing: Vec<String>,
    /// What has no equivalent, one sentence each.
    pub lost: Vec<String>,
    /// Something of RRAS has been seen.
    pub known: bool,
}

impl Server {
    /// Out of files, each with its name.
    pub(super) fn new(files: &[(&str, Facts)]) -> Self {
        let mut server = Self::default();
        let mut sources = Sources::default();
        for (name, facts) in files {
            let earlier = server.methods.take();
            facts.commands.iter().for_each(|command| server.take_command(command));
            facts.objects.iter().for_each(|object| server.take_object(object));
            server.lost.extend(facts.cut.iter().map(|name| {
                format!("the list {name} is cut short by PowerShell: set $FormatEnumerationLimit = -1 there and write the file again")
            }));
            sources.compare(name, earlier, &mut server);
        }
        server.radius.sort_by_key(|radius| std::cmp::Reverse(radius.score));
        server
    }

    pub(super) fn lose(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.lost.contains(&what) {
            self.lost.push(what);
        }
    }

    fn take_object(&mut self, object: &Object) {
        let one = |name: &str| object.get(name).and_then(|values| values.first()).map(String::as_str).filter(|value| !value.is_empty());
        let many = |name: &str| object.get(name).cloned().unwrap_or_default();
        if one("servername").is_some() && one("purpose").is_some() {
            return self.take_radius(object);
        }
        let number = |names: &[&str]| names.iter().find_map(|name| one(name)?.parse::<u64>().ok());
        let count = |name: &str| number(&[name]).and_then(|count| u32::try_from(count).ok());
        let mut known = self.known;
        let mut seen = |found: bool| known |= found;
        for (name, into) in [
            ("ikev2ports", &mut self.ports.ikev2),
            ("sstpports", &mut self.ports.sstp),
            ("l2tpports", &mut self.ports.l2tp),
            ("greports", &mut self.ports.pptp),
        ] {
            seen(object.contains_key(name));
            *into = count(name).or(*into);
        }
        for (names, into) in [
            (["idledisconnect", "idledisconnectseconds"], &mut self.idle),
            (["salifetime", "salifetimeseconds"], &mut self.child_life),
            (["mmsalifetime", "mmsalifetimeseconds"], &mut self.ike_life),
        ] {
            seen(names.iter().any(|name| object.contains_key(*name)));
            *into = number(&names).or(*into);
        }
        for (name, into) in [
            ("encryptiontype", &mut self.encryption_type),
            ("encryptionmethod", &mut self.custom.encryption),
            ("integritycheckmethod", &mut self.custom.integrity),
            ("dhgroup", &mut self.custom.dh),
            ("ciphertransformconstants", &mut self.custom.cipher_transform),
            ("authenticationtransformconstants", &mut self.custom.authentication_transform),
            ("pfsgroup", &mut self.custom.pfs),
        ] {
            seen(object.contains_key(name));
            *into = one(name).map(str::to_owned).or(into.take());
        }
        for name in ["userauthprotocolaccepted", "vpnstatus", "ipassignmentmethod", "authenticationtype", "ipaddressrangelist"] {
            seen(object.contains_key(name));
        }
        self.known = known;
        self.take_authentication(object);
        self.take_addresses(one("ipassignmentmethod"), &many("ipaddressrangelist"), one("ipv6prefix"));
        self.take_statuses(&one);
        if let Some(kilobytes) = number(&["sadatasizeforrenegotiation", "sadatasizeforrenegotiationkilobytes"]) {
            self.child_volume = Some(kilobytes.div_ceil(1024));
        }
    }

    fn take_authentication(&mut self, object: &Object) {
        let many = |name: &str| object.get(name).cloned().unwrap_or_default();
        for word in many("userauthprotocolaccepted") {
            self.accept(&word);
        }
        // A certificate is a subject, or a block of which the subject is the second line.
        let subject = |name: &str| {
            let within = object.get(&format!("{name}.subject")).and_then(|subject| subject.first()).cloned();
            within.or_else(|| many(name).into_iter().find(|line| line.contains('=')))
        };
        self.roots.extend(subject("rootcertificatenametoaccept"));
        self.ekus.extend(many("certificateekustoaccept").into_iter().filter(|eku| !eku.is_empty()));
        self.name = subject("sslcertificate").and_then(|subject| common_name(&subject)).or(self.name.take());
        match many("authenticationtype").first().map(|word| word.to_ascii_lowercase()).as_deref() {
            Some("windows") => self.provider = Some(Provider::Windows),
            Some("externalradius") => self.provider = Some(Provider::Radius),
            None | Some("") => {}
            Some(_) => self.lose("an AuthenticationType other than Windows and ExternalRadius"),
        }
    }

    fn accept(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        match Method::of(&word) {
            Some(method) => {
                self.removed.remove(&method);
                self.methods.get_or_insert_default().insert(method);
            }
            None if word.is_empty() => {}
            None => self.lose(format!("the authentication protocol {word:?}")),
        }
    }

    fn refuse(&mut self, word: &str) {
        if let Some(method) = Method::of(&word.to_ascii_lowercase()) {
            self.removed.insert(method);
            if let Some(methods) = &mut self.methods {
                methods.remove(&method);
            }
        }
    }

    fn take_addresses(&mut self, method: Option<&str>, ranges: &[String], prefix: Option<&str>) {
        match method.map(str::to_ascii_lowercase).as_deref() {
            Some("staticpool") => self.assignment = Some(Assignment::Pool),
            Some("dhcp") => self.assignment = Some(Assignment::Dhcp),
            _ => {}
        }
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let ends = range.split_once('-').or_else(|| range.split_once(" to "));
            self.take_range(ends.map_or((range, range), |(from, to)| (from, to)));
        }
        if let Some(prefix) = prefix {
            self.take_prefix(prefix);
        }
    }

    fn take_range(&mut self, (from, to): (&str, &str)) {
        match (from.trim().parse::<Ipv4Addr>(), to.trim().parse::<Ipv4Addr>()) {
            (Ok(from), Ok(to)) if from <= to => {
                if !self.ranges.contains(&(from, to)) {
                    self.ranges.push((from, to));
                }
            }
            _ => self.lose(format!("the address range {:?}, which is none", format!("{}-{}", from.trim(), to.trim()))),
        }
    }

    /// `::` says that there is none.
    fn take_prefix(&mut self, text: &str) {
        let (address, len) = text.trim().split_once('/').unwrap_or((text.trim(), "64"));
        match (address.parse::<Ipv6Addr>(), len.parse::<u8>()) {
            (Ok(address), _) if address.is_unspecified() => {}
            (Ok(address), Ok(len)) if len <= 128 => self.prefix = Some((address, len)),
            _ => self.lose(format!("the IPv6 prefix {text:?}, which is none")),
        }
    }

    fn take_statuses<'a>(&mut self, one: &impl Fn(&str) -> Option<&'a str>) {
        let on = |name: &str| one(name).is_some_and(|value| ["installed", "configured", "enabled"].contains(&&*value.to_ascii_lowercase()));
        for (name, what) in [
            ("vpns2sstatus", "site-to-site VPN: this gateway serves clients; connect sites with other means"),
            ("dastatus", "DirectAccess: its clients need Always On VPN profiles (`evergate profile windows`, also with --device)"),
            ("loadbalancing", "load balancing of Windows: put a balancer with affinity by source address before the gateways"),
            ("sstpproxystatus", "the SSTP proxy"),
            ("routingstatus", "routing between networks (RRAS as a router): the kernel of this host routes"),
        ] {
            if on(name) {
                self.lose(what);
            }
        }
        if one("tunnelauthprotocolsadvertised").is_some_and(|value| value.eq_ignore_ascii_case("presharedkey")) {
            self.lose("a preshared key that the server shows: it shows its certificate here");
        }
    }

    fn take_radius(&mut self, object: &Object) {
        let one = |name: &str| object.get(name).and_then(|values| values.first()).map(String::as_str).filter(|value| !value.is_empty());
        let number = |name: &str| one(name).and_then(|value| value.parse::<u32>().ok());
        let Some(host) = one("servername") else { return };
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        let purpose = one("purpose").unwrap_or_default().to_ascii_lowercase();
        let unsigned = one("msgauthenticator").is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
        let on_off = one("accountingonoffmsg").is_some_and(|value| value.eq_ignore_ascii_case("enabled"));
        match purpose.as_str() {
            "authentication" => self.login_server(host, number("score"), port, unsigned),
            "accounting" => self.accounting_server(host, number("score"), port, on_off),
            _ => self.lose(format!("RADIUS server {host:?} for {purpose:?}")),
        }
    }

    fn radius(&mut self, host: &str, score: Option<u32>) -> &mut Radius {
        self.known = true;
        let at = self.radius.iter().position(|radius| radius.host.eq_ignore_ascii_case(host)).unwrap_or_else(|| {
            let score = score.unwrap_or(30);
            self.radius.push(Radius { host: host.to_owned(), score, login: None, accounting: None, on_off: false });
            self.radius.len() - 1
        });
        &mut self.radius[at]
    }

    fn login_server(&mut self, host: &str, score: Option<u32>, port: Option<u16>, unsigned: bool) {
        self.asked.insert(host.to_ascii_lowercase());
        let radius = self.radius(host, score);
        radius.login = Some(port.unwrap_or(1_812));
        radius.score = score.unwrap_or(radius.score);
        if unsigned {
            self.lose(format!(
                "RADIUS server {host:?} without Message-Authenticator: this gateway signs every request and wants signed answers; set \
                 require_message_authenticator = \"no\" only if that server cannot"
            ));
        }
    }

    fn accounting_server(&mut self, host: &str, score: Option<u32>, port: Option<u16>, on_off: bool) {
        let radius = self.radius(host, score);
        radius.accounting = Some(port.unwrap_or(1_813));
        radius.on_off |= on_off;
    }

    /// Takes a purpose away from a RADIUS server, or with `*` from all of them.
    fn forget(&mut self, command: &Command, purpose: impl Fn(&mut Radius)) {
        let Some(host) = command.argument("name", 4) else { return };
        self.radius.iter_mut().filter(|radius| host == "*" || radius.host.eq_ignore_ascii_case(host)).for_each(purpose);
        self.radius.retain(|radius| radius.login.is_some() || radius.accounting.is_some());
    }

    fn take_command(&mut self, command: &Command) {
        let words: Vec<_> = command.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["ras", "aaaa", rest @ ..] => self.take_aaaa(command, rest),
            ["ras", "ip", rest @ ..] => self.take_ip(command, rest),
            ["ras", "ipv6", "set", "prefix", ..] => command.argument("prefix", 4).into_iter().for_each(|prefix| self.take_prefix(prefix)),
            ["ras", "ipv6", ..] | ["ras", "diagnostics", ..] => {}
            ["ras", rest @ ..] => self.take_ras(command, rest),
            [other, ..] => self.lose(format!("netsh {other}, which is not about remote access")),
            [] => {}
        }
        self.known |= words.first() == Some(&"ras");
    }

    fn take_ras(&mut self, command: &Command, rest: &[&str]) {
        let minutes = |name, place| command.argument(name, place).and_then(|value: &str| value.parse::<u64>().ok()).map(|value| value * 60);
        let megabytes = |name, place| command.argument(name, place).and_then(|value: &str| value.parse::<u64>().ok());
        match rest {
            ["add", "authtype", ..] => command.argument("type", 3).into_iter().for_each(|word| self.accept(word)),
            ["delete", "authtype", ..] => command.argument("type", 3).into_iter().for_each(|word| self.refuse(word)),
            ["set", "wanports", ..] => self.take_ports(command),
            ["set", "ikev2connection", ..] => {
                self.idle = minutes("idletimeout", 3).or(self.idle);
                self.outage = minutes("nwoutagetime", 4).or(self.outage);
            }
            ["set", "ikev2saexpiry", ..] => {
                self.child_life = minutes("saexpirytime", 3).or(self.child_life);
                self.child_volume = megabytes("sadatasizelimit", 4).or(self.child_volume);
            }
            ["set", "authmode", ..] if command.argument("mode", 3).is_none_or(|mode| !mode.eq_ignore_ascii_case("standard")) => {
                self.lose("an authmode other than standard, which lets some or all in without a login: nothing here does");
            }
            ["set", "sstp-ssl-cert", ..] => self.lose(
                "the certificate that SSTP is bound to: export it with its key (Export-PfxCertificate) and name it in [[certificate]]",
            ),
            ["set", "user", ..] => {
                self.lose("dial-in settings of users of the Windows server itself: they hold where NPS is asked, and nowhere else");
            }
            ["set", "type", ..] if command.argument("ipv4rtrtype", 3).is_some_and(|word| word.eq_ignore_ascii_case("lananddd")) => {
                self.lose("demand-dial routing (site-to-site VPN): this gateway serves clients");
            }
            ["set", "type" | "conf" | "authmode", ..] | ["add" | "delete", "link" | "multilink" | "registeredserver", ..] => {}
            rest => self.lose(format!("netsh ras {}", rest[..rest.len().min(2)].join(" "))),
        }
    }

    fn take_ports(&mut self, command: &Command) {
        let Some(device) = command.argument("device", 3).map(str::to_ascii_uppercase) else { return };
        let enabled = |name: &str| command.argument(name, usize::MAX).map(|value| !value.eq_ignore_ascii_case("disabled"));
        let most = command.argument("maxports", usize::MAX).and_then(|value| value.parse().ok());
        let sites = enabled("ddinout") == Some(true);
        let clients = enabled("rasinonly").unwrap_or(!sites);
        let count = if clients { most } else { Some(0) };
        if sites && !clients {
            self.lose(format!(
                "ports of {device} for connections between sites alone (ddinout without rasinonly): this gateway serves clients"
            ));
        }
        match &*device {
            device if device.contains("IKEV2") => self.ports.ikev2 = count,
            device if device.contains("SSTP") => self.ports.sstp = count,
            device if device.contains("L2TP") => self.ports.l2tp = count,
            device if device.contains("PPTP") => self.ports.pptp = count,
            device if device.contains("PPPOE") => {}
            _ => self.lose(format!("ports of the device {device:?}")),
        }
    }

    fn take_ip(&mut self, command: &Command, rest: &[&str]) {
        let word = |name: &str| command.argument(name, 4).map(str::to_ascii_lowercase).unwrap_or_default();
        match rest {
            ["delete", "pool", ..] => self.ranges.clear(),
            ["delete", "range", ..] => {
                let end = |name: &str, place: usize| command.argument(name, place).and_then(|end| end.parse::<Ipv4Addr>().ok());
                let (from, to) = (end("from", 4), end("to", 5));
                self.ranges.retain(|range| (Some(range.0), Some(range.1)) != (from, to));
            }
            ["add", "range", ..] => {
                let (from, to) = (command.argument("from", 4).unwrap_or_default(), command.argument("to", 5).unwrap_or_default());
                self.take_range((from, to));
            }
            ["set", "addrassign", ..] => {
                self.assignment = Some(if word("method") == "pool" { Assignment::Pool } else { Assignment::Dhcp });
            }
            ["set", "access", ..] => self.server_only = word("mode") != "all",
            ["set", "addrreq", ..] if word("mode") == "allow" => {
                self.lose("addresses of the clients' own choice (addrreq): the pool or RADIUS decides here, or address in a [[policy]]");
            }
            ["set", "preferredadapter", ..] => {
                self.lose("the preferred adapter, whose DNS servers RRAS hands to clients: name them in dns of the [[policy]] sections");
            }
            ["set", "addrreq" | "negotiation" | "broadcastnameresolution", ..] => {}
            rest => self.lose(format!("netsh ras ip {}", rest[..rest.len().min(2)].join(" "))),
        }
    }

    fn take_aaaa(&mut self, command: &Command, rest: &[&str]) {
        let argument = |name: &str| command.argument(name, usize::MAX);
        let provider = command.argument("provider", 4).map(str::to_ascii_lowercase);
        let number = |name: &str| argument(name).and_then(|value| value.parse::<u32>().ok());
        let port = || number("port").and_then(|port| u16::try_from(port).ok());
        let says = |name: &str, word: &str| argument(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        match rest {
            ["set", "authentication", ..] => match provider.as_deref() {
                Some("windows") => self.provider = Some(Provider::Windows),
                Some("radius") => self.provider = Some(Provider::Radius),
                _ => self.lose("an authentication provider other than windows and radius"),
            },
            ["set", "accounting", ..] if provider.as_deref() == Some("windows") => {
                self.lose(
                    "accounting to Windows: records go to RADIUS servers (NPS writes the same logs); `evergate attempts` has every login",
                );
            }
            ["add" | "set", "authserver", ..] => {
                let unsigned = says("signature", "disabled");
                let (score, port) = (number("init-score"), port());
                command.argument("name", 4).into_iter().for_each(|host| self.login_server(host, score, port, unsigned));
            }
            ["add" | "set", "acctserver", ..] => {
                let (score, port, on_off) = (number("init-score"), port(), says("messages", "enabled"));
                command.argument("name", 4).into_iter().for_each(|host| self.accounting_server(host, score, port, on_off));
            }
            ["set", "ipsecpolicy", ..] if command.argument("psk", 4).is_some_and(|word| word.eq_ignore_ascii_case("enabled")) => {
                self.lose("the preshared key of L2TP");
            }
            ["delete", "authserver", ..] => {
                self.forget(command, |radius| radius.login = None);
                let asked =
                    |host: &String| self.radius.iter().any(|radius| radius.login.is_some() && radius.host.eq_ignore_ascii_case(host));
                self.asked.retain(asked);
            }
            ["delete", "acctserver", ..] => self.forget(command, |radius| radius.accounting = None),
            ["set", "accounting" | "ipsecpolicy", ..] => {}
            rest => self.lose(format!("netsh ras aaaa {}", rest[..rest.len().min(2)].join(" "))),
        }
    }
}

/// Which files say how clients log in, in `Server::methods`, and whom RRAS asks.
#[derive(Debug, Default)]
struct Sources<'a> {
    methods: Option<&'a str>,
    logins: Option<(&'a str, BTreeSet<String>)>,
}

impl<'a> Sources<'a> {
    /// Compares what a file says with what came before it: `earlier` are the methods of the files before.
    fn compare(&mut self, name: &'a str, earlier: Option<BTreeSet<Method>>, server: &mut Server) {
        let removed = std::mem::take(&mut server.removed);
        server.methods = match (server.methods.take(), earlier) {
            // Lines that only take away change what is known; without anything known they leave nothing.
            (None, None) => (!removed.is_empty()).then(BTreeSet::new),
            (None, Some(earlier)) => Some(&earlier - &removed),
            (Some(said), Some(earlier)) if self.methods.is_some() => Some(self.common(name, &said, &earlier, server)),
            (Some(said), _) => {
                self.methods = Some(name);
                Some(said)
            }
        };
        self.compare_logins(name, server);
    }

    /// What both say: which of them is the newer nobody knows, and no way in is opened by the older.
    fn common(&self, name: &str, said: &BTreeSet<Method>, earlier: &BTreeSet<Method>, server: &mut Server) -> BTreeSet<Method> {
        let common = said & earlier;
        if said != earlier {
            let list = |methods: &BTreeSet<Method>| {
                let names: Vec<_> = methods.iter().map(|method| method.name()).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            };
            server.differing.push(format!(
                "{} and {name} differ in how clients log in ({}; {}): only what both say is taken over ({}); write the older one again",
                self.methods.unwrap_or_default(),
                list(earlier),
                list(said),
                list(&common)
            ));
        }
        common
    }

    fn compare_logins(&mut self, name: &'a str, server: &mut Server) {
        let said = std::mem::take(&mut server.asked);
        if said.is_empty() {
            return;
        }
        if let Some((other, earlier)) = self.logins.as_ref().filter(|(_, earlier)| *earlier != said) {
            let list = |hosts: &BTreeSet<String>| hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            server.differing.push(format!(
                "{other} and {name} differ in which RADIUS servers are asked about logins ({}; {}): keep the [[radius]] sections of those that are asked today",
                list(earlier),
                list(&said)
            ));
        }
        self.logins = Some((name, said));
    }
}

/// `vpn.example.com` of `CN=vpn.example.com, O=Example`.
fn common_name(subject: &str) -> Option<String> {
    let parts = subject.split(',').map(str::trim);
    parts.filter_map(|part| part.strip_prefix("CN=").or_else(|| part.strip_prefix("cn="))).map(str::to_owned).next()
}
