//! What of a profile does not fit the gateway.
use super::network::drift;
use super::said::{Eap, Identity, Login, Protocol, Routes, Said};
use super::{Finding, Judged, Level};
use crate::config::{Config, eap_name};
use crate::explain::names::Names;
use crate::explain::{fix, windows_code};
use crate::outcome::{EapFault, Failure, Fault, Stage};
use crate::profile::Kind;
use crate::profile::connection::{
    Caller, Dialled, Way, accepts, by_trust_alone, client_certificate, eap_methods, fits, has_unusual_ports, root_above, sole_provider,
};
use crate::profile::proposals::strongswan;
use crate::profile::windows::CLIENT_AUTH;
use ike::Remedy;
use ike::proposal::{Mismatch, SaPayload, offer_esp, offer_ike, select_esp, select_ike, transform};
use pki::{Certificate, Purpose, Refused, ServerCertificate, TrustAnchors, UnixTime};
use policy::network::{AddressRange, Method, Policy, Tunnel};
use ppp::AuthProtocol;

pub(super) fn judge(config: &Config, said: &Said, authorities: &[Certificate], now: UnixTime) -> Judged {
    let mut judge = Judge { config, said, authorities, now, findings: Vec::new() };
    let tunnels = judge.tunnels();
    judge.itself();
    for (tunnel, dialled) in &tunnels {
        judge.port(*tunnel, *dialled);
        judge.certificate(*tunnel, *dialled);
        let method = judge.login(*tunnel, *dialled);
        if let Some(method) = method {
            judge.policy(*tunnel, *dialled, method);
        }
    }
    if tunnels.iter().any(|(tunnel, _)| *tunnel == Tunnel::Ikev2) {
        judge.ciphers();
        judge.ppk();
    }
    judge.eap();
    let server = said.servers.first().cloned().unwrap_or_default();
    Judged { server, tunnels: tunnels.iter().map(|(tunnel, _)| tunnel.to_string()).collect(), findings: judge.findings }
}

struct Judge<'a> {
    config: &'a Config,
    said: &'a Said,
    authorities: &'a [Certificate],
    now: UnixTime,
    findings: Vec<Finding>,
}

/// Both sides of a remedy.
struct Remedies {
    client: Option<String>,
    gateway: Option<String>,
}

fn client(text: impl Into<String>) -> Remedies {
    Remedies { client: Some(text.into()), gateway: None }
}

fn on_gateway(text: impl Into<String>) -> Remedies {
    Remedies { client: None, gateway: Some(text.into()) }
}

impl Remedies {
    fn or_gateway(self, text: impl Into<String>) -> Self {
        Self { gateway: Some(text.into()), ..self }
    }
}

/// The numbers that the gateway gives a login which ends so.
fn numbers(failure: &Failure, tunnel: Tunnel) -> Vec<String> {
    let code = windows_code(failure, tunnel).unwrap_or_default();
    code.split([',', ' ']).filter(|word| word.chars().next().is_some_and(|c| c.is_ascii_digit())).map(str::to_owned).collect()
}

fn failure(stage: Stage, fault: Fault, notify: Option<&'static str>) -> Failure {
    Failure { stage, fault, notify, eap: None, remedy: None, cause: String::new() }
}

fn of_eap(eap: EapFault) -> Failure {
    Failure { eap: Some(eap), ..failure(Stage::Eap, Fault::PeerIncompatible, None) }
}

fn only(number: &str) -> Vec<String> {
    vec![number.to_owned()]
}

/// The client when it dials this.
fn caller<'a>(said: &'a Said, server: &'a str, trusts: Option<&'a [[u8; 20]]>) -> Caller<'a> {
    let server = match &said.identity {
        Identity::Name(name) => name,
        Identity::Dialled | Identity::Any => server,
    };
    Caller { server, windows: said.client == Kind::Windows, by_certificate: matches!(said.login, Login::Certificate), trusts }
}

impl<'a> Judge<'a> {
    fn add(&mut self, level: Level, numbers: Vec<String>, problem: impl Into<String>, remedies: Remedies) {
        let finding = Finding { level, numbers, problem: problem.into(), on_client: remedies.client, on_gateway: remedies.gateway };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn fail(&mut self, numbers: Vec<String>, problem: impl Into<String>, remedies: Remedies) {
        self.add(Level::Fail, numbers, problem, remedies);
    }

    fn warn(&mut self, numbers: Vec<String>, problem: impl Into<String>, remedies: Remedies) {
        self.add(Level::Warn, numbers, problem, remedies);
    }

    /// What the client takes no matter which gateway.
    fn itself(&mut self) {
        for wrong in &self.said.wrong {
            self.add(wrong.level, Vec::new(), wrong.problem.clone(), client(wrong.remedy.clone()));
        }
        if self.said.has_secret {
            self.warn(
                Vec::new(),
                "it holds a password in clear",
                client("hand it out as you would the password itself, or take the password out"),
            );
        }
        if self.said.device && self.said.routes == Routes::Everything {
            let remedy = client("RoutingPolicyType SplitTunnel, and a Route for each server that machines need");
            self.fail(Vec::new(), "Windows makes no device tunnel that takes everything", remedy);
        }
    }

    /// The tunnels that are dialled and listened for.
    fn tunnels(&mut self) -> Vec<(Tunnel, Dialled<'a>)> {
        let wanted: &[Tunnel] = match &self.said.protocol {
            Protocol::Ikev2 => &[Tunnel::Ikev2],
            Protocol::Sstp => &[Tunnel::Sstp],
            Protocol::Either => &[Tunnel::Ikev2, Tunnel::Sstp],
            Protocol::Other(word) => {
                let number = match word.to_ascii_lowercase().as_str() {
                    "l2tp" => vec!["789".to_owned(), "787".to_owned()],
                    "pptp" => only("806"),
                    _ => Vec::new(),
                };
                self.fail(
                    number,
                    format!("this gateway does not speak {word:?}"),
                    client("choose IKEv2, or SSTP where the listener is there"),
                );
                &[]
            }
        };
        let config = self.config;
        let found: Vec<_> =
            wanted.iter().filter_map(|tunnel| Some((*tunnel, Dialled::at(config, *tunnel, self.said.port.unwrap_or(443))?))).collect();
        if found.is_empty() && !wanted.is_empty() {
            let number = match self.said.protocol {
                Protocol::Ikev2 => "809",
                Protocol::Sstp => "0x8007274D",
                _ => "800",
            };
            let words: Vec<_> = wanted.iter().map(Tunnel::to_string).collect();
            let remedy =
                client("choose the other tunnel").or_gateway(format!("add a [[listener]] with protocol = {:?}", words.join("\" or \"")));
            self.fail(only(number), format!("this gateway has no listener for {}", words.join(" or ")), remedy);
        }
        found
    }

    /// Whether it comes to a port where somebody listens. What stands in front of the gateway may forward others.
    fn port(&mut self, tunnel: Tunnel, dialled: Dialled<'_>) {
        let (dials, listens, remedy) = match dialled {
            Dialled::Ikev2(listener) => {
                let port = self.said.port.filter(|port| *port != 500 && self.said.client != Kind::Windows);
                if port.map_or(!has_unusual_ports(listener), |port| port == listener.nat_port) {
                    return;
                }
                // Where neither end has port 500, strongSwan puts the marker of NAT traversal before IKE.
                let dials = port.map_or_else(|| "UDP 500 and 4500".into(), |port| format!("UDP {port} with NAT traversal"));
                let listens = format!("ike_port = {} and nat_port = {}", listener.ike_port, listener.nat_port);
                let remedy = match self.said.client {
                    Kind::Windows | Kind::Apple => None,
                    _ if has_unusual_ports(listener) => Some(format!("let it dial UDP {}", listener.nat_port)),
                    _ => Some("take the port out".into()),
                };
                (dials, listens, Remedies { client: remedy, gateway: None })
            }
            Dialled::Sstp(listener) => {
                let port = self.said.port.unwrap_or(443);
                if port == listener.port {
                    return;
                }
                let name = self.said.servers.first().map_or("NAME", String::as_str);
                (
                    format!("TCP {port}"),
                    format!("port = {}", listener.port),
                    client(format!("write {name}:{} as the server", listener.port)),
                )
            }
        };
        let number = if tunnel == Tunnel::Ikev2 { "809" } else { "0x8007274D" };
        let problem = format!(
            "over {tunnel} it dials {dials}, and listener {:?} has {listens}: it comes in only where something in front of the gateway forwards that",
            dialled.name()
        );
        let gateway = if tunnel == Tunnel::Ikev2 {
            "forward UDP 500 and 4500 to it, or leave ike_port and nat_port out"
        } else {
            "forward it, or listen there"
        };
        self.warn(only(number), problem, remedy.or_gateway(gateway));
    }

    /// Keys of the authorities that the profile brings; `None`: of none, others have brought the client those that it trusts.
    fn trusts(&self) -> Option<Vec<[u8; 20]>> {
        let roots = &self.said.roots;
        (!roots.is_empty()).then(|| roots.iter().map(Certificate::spki_sha1).collect())
    }

    /// Whether the client accepts what it is shown.
    fn certificate(&mut self, tunnel: Tunnel, dialled: Dialled<'a>) {
        let said = self.said;
        let trusts = self.trusts();
        for server in &said.servers {
            let caller = caller(said, server, trusts.as_deref());
            let name = caller.server;
            let Some(shown) = dialled.shown(caller, self.now) else {
                let remedy = on_gateway("give the listener a certificate with an RSA, P-256 or P-384 key");
                self.fail(
                    only("13801"),
                    format!("the client can verify none of the certificates of listener {:?}", dialled.name()),
                    remedy,
                );
                continue;
            };
            let instead = by_trust_alone(dialled, caller, shown, self.now).map(|instead| instead.note(name));
            match accepts(&shown.credential, name, self.now) {
                Err(Refused::WrongName { .. }) if said.identity == Identity::Any => {}
                Err(refused) => self.refused(tunnel, shown, name, &refused),
                Ok(()) => {}
            }
            if let Some(instead) = instead {
                let remedy = on_gateway("give one of the two certificates addresses or realms of its own, or one certificate both names");
                self.warn(only("13801"), instead, remedy);
            }
            self.trust(tunnel, shown);
        }
    }

    fn refused(&mut self, tunnel: Tunnel, shown: &ServerCertificate, name: &str, refused: &Refused) {
        let number = match (tunnel, refused) {
            (Tunnel::Ikev2, _) => "13801",
            (Tunnel::Sstp, Refused::WrongName { .. }) => "0x800B010F",
            (Tunnel::Sstp, Refused::Expired { .. } | Refused::NotYetValid { .. }) => "0x800B0101",
            (Tunnel::Sstp, Refused::WrongPurpose { .. }) => "0x80070040",
            (Tunnel::Sstp, _) => "0x800B0109",
        };
        let names = shown.credential.leaf().dns_names.join(", ");
        let remedies = match refused {
            Refused::WrongName { .. } => {
                client(format!("dial {names}")).or_gateway(format!("give the listener a certificate made out to {name}"))
            }
            _ => on_gateway(format!("replace certificate {:?}: `evergate certificates` says what is wrong with it", shown.name)),
        };
        self.fail(only(number), format!("over {tunnel} it is shown certificate {:?} and refuses it: {refused}", shown.name), remedies);
    }

    /// Whether the authorities that the profile brings are above the certificate. Apple's clients believe those of the system besides.
    fn trust(&mut self, tunnel: Tunnel, shown: &ServerCertificate) {
        if self.said.roots.is_empty() {
            return;
        }
        let chain = &shown.credential.chain;
        let anchors = TrustAnchors::new(self.said.roots.clone());
        let judged = anchors.verify(shown.credential.leaf(), chain.get(1..).unwrap_or_default(), Purpose::Server, None, self.now);
        // An authority of the same name with another key is `Other`; what else is wrong is said already.
        if !matches!(judged, Err(Refused::UnknownIssuer { .. } | Refused::Other { .. })) {
            return;
        }
        let level = if self.said.client == Kind::Apple { Level::Warn } else { Level::Fail };
        let number = if tunnel == Tunnel::Ikev2 { "13801" } else { "0x800B0109" };
        let root = root_above(self.config, &shown.credential, self.authorities);
        let wanted = root.map_or_else(
            || "the root above the gateway's certificate".to_owned(),
            |root| format!("{} (`evergate profile` writes it)", root.subject),
        );
        let problem = format!("the authority in it is not above certificate {:?} of the gateway", shown.name);
        self.add(level, only(number), problem, client(format!("put in {wanted}")));
    }

    /// The way in which it logs in, if the listener has it.
    fn login(&mut self, tunnel: Tunnel, dialled: Dialled<'_>) -> Option<Method> {
        let ways = match dialled {
            Dialled::Ikev2(listener) => [(listener.auth.eap, Method::Eap), (listener.auth.certificate, Method::Certificate)],
            Dialled::Sstp(listener) => [
                (listener.auth.contains(&AuthProtocol::Eap), Method::Eap),
                (listener.auth.contains(&AuthProtocol::MsChapV2), Method::MsChapV2),
            ],
        };
        let has = |method: Method| ways.iter().any(|(on, way)| *on && *way == method);
        let (method, word) = match &self.said.login {
            Login::Eap(_) => (Some(Method::Eap), "EAP"),
            Login::MsChapV2 => (Some(Method::MsChapV2), "MS-CHAPv2"),
            Login::Certificate => (Some(Method::Certificate), "a certificate"),
            Login::Other(word) => (None, word.as_str()),
        };
        if let Some(method) = method.filter(|method| has(*method)) {
            return Some(method);
        }
        let number = match tunnel {
            Tunnel::Ikev2 => numbers(&failure(Stage::IkeAuth, Fault::Refused, None), tunnel),
            Tunnel::Sstp => numbers(&failure(Stage::Lcp, Fault::PeerIncompatible, None), tunnel),
        };
        let taken: Vec<_> = ways.iter().filter(|(on, _)| *on).map(|(_, way)| format!("{:?}", way.to_string())).collect();
        let problem = format!("over {tunnel} it logs in with {word}; listener {:?} takes {}", dialled.name(), taken.join(", "));
        let gateway = method.map(|method| format!("add {:?} to auth in [[listener]] {:?}", method.to_string(), dialled.name()));
        self.fail(number, problem, Remedies { client: Some("`evergate profile` writes how to log in there".into()), gateway });
        None
    }

    /// Whether a policy lets it in, and with this method of EAP.
    fn policy(&mut self, tunnel: Tunnel, dialled: Dialled<'_>, method: Method) {
        let config = self.config;
        let trusts = self.trusts();
        let servers = if self.said.servers.is_empty() { std::slice::from_ref(&config.server.name) } else { &self.said.servers };
        let ways: Vec<_> =
            servers.iter().map(|server| Way::new(dialled, caller(self.said, server, trusts.as_deref()), method, self.now)).collect();
        let fitting: Vec<_> = config.policies.iter().filter(|policy| ways.iter().any(|way| fits(policy, way))).collect();
        let denied = numbers(&failure(Stage::Policy, Fault::Refused, None), tunnel);
        if fitting.is_empty() {
            let gateway =
                "add a [[policy]] that does, or take the condition out of one: tunnel, method, listener, server_name, certificate";
            self.fail(denied, format!("no policy lets in who comes over {tunnel} with {method}"), on_gateway(gateway));
            return;
        }
        if let Login::Eap(Eap { method: Some(number), .. }) = &self.said.login {
            self.eap_method(tunnel, *number, &fitting, denied);
        }
        self.reach(&fitting);
    }

    fn eap_method(&mut self, tunnel: Tunnel, number: u8, fitting: &[&Policy], denied: Vec<String>) {
        let name = eap_name(&number.to_string()).unwrap_or_default();
        let takes = |names: &[String]| names.iter().any(|taken| taken.eq_ignore_ascii_case(&name));
        let provided: Option<Vec<String>> = sole_provider(self.config).and_then(|_| eap_methods(self.config, &Policy::default()));
        if let Some(provided) = provided.filter(|provided| !takes(provided)) {
            let word = if number == 13 { "; add \"tls\" to eap in [local]" } else { "; a RADIUS server may take others" };
            let remedy = client(format!("use {}", provided.join(" or ")))
                .or_gateway(format!("the local provider does {}{word}", provided.join(", ")));
            self.fail(
                numbers(&of_eap(EapFault::MethodRefused), tunnel),
                format!("it logs in with {name}, which the local provider does not do"),
                remedy,
            );
            return;
        }
        if fitting.iter().any(|policy| eap_methods(self.config, policy).is_none_or(|names| takes(&names))) {
            return;
        }
        let mut names: Vec<_> = fitting.iter().filter_map(|policy| eap_methods(self.config, policy)).flatten().collect();
        names.sort();
        names.dedup();
        let remedy = client(format!("use {}", names.join(" or ")))
            .or_gateway(format!("let eap_type or allowed methods of a [[policy]] have {name}"));
        self.fail(denied, format!("it logs in with {name}, which no policy takes"), remedy);
    }

    /// Whether anything that goes into the tunnel may be reached.
    fn reach(&mut self, fitting: &[&Policy]) {
        let Routes::These(routes) = &self.said.routes else { return self.drift(fitting) };
        let meets = |policy: &&Policy| {
            let selectors = &policy.settings.selectors;
            selectors.is_empty() || routes.iter().any(|route| selectors.iter().any(|selector| overlap(route, selector)))
        };
        if routes.is_empty() || fitting.iter().any(meets) {
            self.drift(fitting);
            return;
        }
        let problem = "nothing that it sends into the tunnel is among the selectors of the policies that let it in";
        let remedy = client("take the routes as `evergate profile` writes them").or_gateway("widen selectors in the [[policy]]");
        if self.said.client == Kind::Windows {
            // It asks for everything, and routes by itself.
            self.warn(Vec::new(), problem, remedy);
        } else {
            self.fail(only("842"), problem, remedy);
        }
    }

    /// Whether routes and names are those of one of the policies; who comes in by which one, a profile cannot know.
    fn drift(&mut self, fitting: &[&Policy]) {
        let nearest = fitting.iter().map(|policy| drift(self.said, policy)).min_by_key(Vec::len);
        for (problem, remedy) in nearest.unwrap_or_default() {
            self.warn(Vec::new(), problem, client(remedy).or_gateway("or say in the [[policy]] what its clients shall have"));
        }
    }

    fn ciphers(&mut self) {
        let ciphers = &self.config.ciphers;
        if let Some(offer) = &self.said.offer.ike
            && let Err(mismatch) = select_ike(ciphers, offer, first_group(offer).unwrap_or_default())
        {
            self.mismatch("the IKE SA", &mismatch);
        }
        let Some(offer) = &self.said.offer.esp else { return };
        match select_esp(ciphers, offer, None, false) {
            Err(mismatch) => self.mismatch("the Child SA", &mismatch),
            Ok(_) => {
                if let Err(mismatch) = select_esp(ciphers, offer, first_group(offer), true) {
                    self.mismatch("the Child SA at its first rekey (Windows: after 57 minutes)", &mismatch);
                }
            }
        }
    }

    fn mismatch(&mut self, of: &str, mismatch: &Mismatch) {
        let number = numbers(&failure(Stage::SaInit, Fault::PeerIncompatible, Some("NO_PROPOSAL_CHOSEN")), Tunnel::Ikev2);
        let problem = format!("the gateway accepts none of the proposals for {of}: {}", mismatch.nearest);
        let remedy = ciphers_of_client(self.said.client, self.config);
        let gateway = if self.said.client == Kind::Windows && !self.config.ciphers.groups.contains(&crypto::dh::Group::Modp1024) {
            "name what it offers in [ciphers]; compat = \"windows-default\" takes in what unmanaged Windows profiles offer"
        } else {
            "name what it offers in [ciphers], if it is strong enough"
        };
        self.fail(number, problem, client(remedy).or_gateway(gateway));
    }

    fn ppk(&mut self) {
        let required = self.config.ikev2.as_ref().is_some_and(|listener| listener.ppk.required);
        if !required || self.said.has_ppk {
            return;
        }
        let refused = Failure { remedy: Some(Remedy::OfferPpk), ..failure(Stage::IkeAuth, Fault::Refused, None) };
        let remedy = fix(&refused, Tunnel::Ikev2, None, &Names::of(self.config)).unwrap_or_default().into_owned();
        let problem = "the listener wants a postquantum preshared key (ppk = \"required\"), and it brings none";
        self.fail(numbers(&refused, Tunnel::Ikev2), problem, Remedies { client: Some(remedy), gateway: None });
    }

    /// Whom it believes in EAP, and which certificate it shows there.
    fn eap(&mut self) {
        let Login::Eap(eap) = &self.said.login else { return };
        let uses_tls = matches!(eap.method, Some(13 | 25));
        if !uses_tls {
            return;
        }
        let config = self.config;
        let local = sole_provider(config).and_then(|local| Some((local, local.credential.as_ref()?)));
        let windows = self.said.client == Kind::Windows;
        if windows && (eap.servers.is_empty() || eap.roots.is_empty()) {
            let remedy = client("name the server's certificate in ServerNames and its root in TrustedRootCA");
            self.warn(Vec::new(), "in EAP it believes any server with a certificate of an authority that the computer knows", remedy);
        }
        if let Some((_, credential)) = local {
            let names = &credential.leaf().dns_names;
            if !eap.servers.is_empty() && !eap.servers.iter().any(|server| names.iter().any(|name| name.to_ascii_lowercase() == *server)) {
                let problem = format!(
                    "in EAP it expects {}; the local provider's certificate is made out to {}",
                    eap.servers.join(" or "),
                    names.join(", ")
                );
                self.fail(only("866"), problem, client(format!("write {} into the server names, in lower case", names.join(";"))));
            }
            let root = root_above(config, credential, self.authorities).map(|root| hex(&root.sha1()));
            if let Some(root) = root.filter(|root| !eap.roots.is_empty() && !eap.roots.contains(root)) {
                let problem = "in EAP it trusts none of the authorities above the local provider's certificate";
                self.fail(only("864"), problem, client(format!("add {root} as TrustedRootCA")));
            }
        }
        if windows && (eap.method == Some(13) || eap.inner == Some(13)) {
            self.filter(eap, local.map(|(local, _)| client_certificate(&local.client_roots)));
        }
    }

    /// Which of the user's certificates it shows. `wanted`: what is taken, where that is known.
    fn filter(&mut self, eap: &Eap, wanted: Option<crate::profile::connection::ClientCertificate>) {
        let number = numbers(&of_eap(EapFault::UserCertificate(None)), Tunnel::Ikev2);
        let wanted = wanted.unwrap_or_default();
        let remedy = || client("add TLSExtensions with FilteringInfo as `evergate profile windows` writes it");
        let Some(filter) = &eap.filter else {
            let special = !wanted.purposes.is_empty() && !wanted.purposes.iter().any(|oid| oid == CLIENT_AUTH);
            let problem = "no filter of purpose (EKU) or issuer says which of the user's certificates is meant: Windows takes any with clientAuth, or asks";
            let level = if special { Level::Fail } else { Level::Warn };
            self.add(level, number, problem, remedy().or_gateway("client_eku and client_ca say what is taken"));
            return;
        };
        let shows = if filter.purposes.is_empty() { vec![CLIENT_AUTH.to_owned()] } else { filter.purposes.clone() };
        if !wanted.purposes.is_empty() && !shows.iter().any(|oid| wanted.purposes.contains(oid)) {
            let problem =
                format!("its filter lets certificates for {} pass; the gateway takes {}", shows.join(", "), wanted.purposes.join(", "));
            self.fail(number, problem, remedy().or_gateway("client_eku says which purposes are taken"));
        }
        let taken: Vec<_> = wanted.issuers.iter().map(|issuer| hex(&issuer.sha1())).collect();
        if !filter.issuers.is_empty() && !taken.is_empty() && !filter.issuers.iter().any(|issuer| taken.contains(issuer)) {
            let problem = "its filter lets only certificates of authorities pass that the gateway does not take";
            self.fail(
                numbers(&of_eap(EapFault::NoUserCertificate), Tunnel::Ikev2),
                problem,
                remedy().or_gateway("add the authority to client_ca"),
            );
        }
    }
}

/// Number of the group whose value goes out with the offer.
fn first_group(offer: &SaPayload) -> Option<u16> {
    offer.proposals.first()?.transforms.iter().find(|one| one.kind == transform::DH).map(|one| one.id)
}

/// What to write into the profile, in its words.
fn ciphers_of_client(kind: Kind, config: &Config) -> String {
    let ciphers = &config.ciphers;
    match kind {
        Kind::Windows => Names::of(config).windows_line(ciphers).map_or_else(
            || "Windows can do nothing that [ciphers] holds".into(),
            |line| format!("{line}, or the same in CryptographySuite"),
        ),
        Kind::Apple => "take both parameters as `evergate profile apple` writes them".into(),
        Kind::Android | Kind::StrongSwan | Kind::NetworkManager => {
            let list = |offer: &SaPayload| strongswan(offer).join(", ");
            format!("IKE: {}; ESP: {}", list(&offer_ike(ciphers, None)), list(&offer_esp(ciphers, 0, &ciphers.pfs_groups)))
        }
    }
}

fn overlap(one: &AddressRange, other: &AddressRange) -> bool {
    one.contains(other.start) || other.contains(one.start)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
