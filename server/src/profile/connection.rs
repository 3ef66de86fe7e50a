//! What a client must be told to connect, whatever language its profile is in.
use super::{Kind, Wishes};
use crate::certificates::{OTHERS, TLS, WINDOWS};
use crate::config::{Config, Ikev2Listener, LocalProvider, SstpListener};
use crate::steering::asked;
use ike::CipherPolicy;
use pki::{Certificate, Credential, Hints, KeyRank, Purpose, Refused, ServerCertificate, Steered, TrustAnchors, UnixTime};
use policy::network::{AddressRange, AllowedMethod, Method, Policy, Settings, Tunnel};
use ppp::AuthProtocol;
use std::net::IpAddr;

/// All that the files are made of.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    /// What the user sees.
    pub(super) title: String,
    /// What is dialled.
    pub(super) server: String,
    pub(super) tunnel: Tunnel,
    /// For the machine rather than a user.
    pub(super) device: bool,
    /// Of IKE with NAT traversal in UDP, or of SSTP in TCP, where it is not the usual one.
    pub(super) port: Option<u16>,
    pub(super) login: Login,
    /// Roots above the gateway's certificate; empty: not known here, clients must have them.
    pub(super) roots: Vec<Certificate>,
    pub(super) ciphers: &'a CipherPolicy,
    pub(super) network: Network,
    pub(super) user: Option<&'a str>,
    /// Id of a postquantum preshared key without which nobody comes in.
    pub(super) ppk: Option<String>,
    pub(super) notes: Vec<String>,
}

/// How the client proves itself.
#[derive(Debug)]
pub(super) enum Login {
    Eap(Eap),
    /// PPP's own, over SSTP.
    MsChapV2,
    Certificate(ClientCertificate),
}

impl Login {
    /// The client shows a certificate.
    pub(super) fn has_certificate(&self) -> bool {
        match self {
            Self::Eap(eap) => eap.method.has_user_certificate(),
            Self::Certificate(_) => true,
            Self::MsChapV2 => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Eap {
    pub(super) method: EapMethod,
    /// Names in the certificate that is shown in EAP; empty: not known.
    pub(super) servers: Vec<String>,
    /// Roots above that certificate; empty: not known.
    pub(super) roots: Vec<Certificate>,
    pub(super) certificate: ClientCertificate,
}

/// Which of the client's certificates is meant.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientCertificate {
    pub(super) issuers: Vec<Certificate>,
    /// OIDs of which it must have one; empty: not known.
    pub(super) purposes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapMethod {
    MsChapV2,
    Tls,
    /// With EAP-MSCHAPv2 inside.
    Peap,
    /// With EAP-TLS inside.
    PeapTls,
}

impl EapMethod {
    pub const ALL: [Self; 4] = [Self::MsChapV2, Self::Tls, Self::Peap, Self::PeapTls];

    /// On the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::MsChapV2 => "mschapv2",
            Self::Tls => "tls",
            Self::Peap => "peap",
            Self::PeapTls => "peap-tls",
        }
    }

    /// The type that client and server speak of, and what policies call it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::MsChapV2 => 26,
            Self::Tls => 13,
            Self::Peap | Self::PeapTls => 25,
        }
    }

    pub(super) fn name(self) -> String {
        eap::method::name(self.number())
    }

    pub(super) fn has_user_certificate(self) -> bool {
        matches!(self, Self::Tls | Self::PeapTls)
    }
}

/// What goes into the tunnel.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// `None`: everything.
    pub(super) routes: Option<Vec<AddressRange>>,
    pub(super) dns: Vec<IpAddr>,
    pub(super) suffix: Option<String>,
    /// What `dns` is asked for, where others are asked for the rest; empty: it is asked for everything.
    pub(super) domains: Vec<String>,
}

impl Network {
    fn of(settings: &Settings) -> Self {
        let routes = if settings.routes.is_empty() { &settings.selectors } else { &settings.routes };
        let domains = if settings.dns.is_empty() { Vec::new() } else { settings.dns_domains.clone() };
        Self {
            routes: (!routes.is_empty()).then(|| routes.clone()),
            dns: settings.dns.clone(),
            suffix: settings.dns_suffix.clone(),
            domains,
        }
    }

    pub(super) fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        self.routes.iter().flatten().flat_map(AddressRange::prefixes).collect()
    }
}

/// The listener that a client dials.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialled<'a> {
    Ikev2(&'a Ikev2Listener),
    Sstp(&'a SstpListener),
}

impl<'a> Dialled<'a> {
    pub(super) fn find(config: &'a Config, tunnel: Tunnel) -> Option<Self> {
        match tunnel {
            Tunnel::Ikev2 => config.ikev2.as_ref().map(Self::Ikev2),
            Tunnel::Sstp => config.sstp.first().map(Self::Sstp),
        }
    }

    /// The one that a client comes to which dials `port`; where there is none, the one that [`Self::find`] finds.
    pub(super) fn at(config: &'a Config, tunnel: Tunnel, port: u16) -> Option<Self> {
        let there = config.sstp.iter().find(|listener| tunnel == Tunnel::Sstp && listener.port == port);
        there.map(Self::Sstp).or_else(|| Self::find(config, tunnel))
    }

    /// What a profile has to say of the port. Where neither end has port 500, strongSwan puts the non-ESP marker before IKE, as for NAT traversal.
    fn unusual_port(self) -> Option<u16> {
        match self {
            Self::Ikev2(listener) => Some(listener.nat_port).filter(|_| has_unusual_ports(listener)),
            Self::Sstp(listener) => Some(listener.port).filter(|port| *port != 443),
        }
    }

    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Ikev2(listener) => &listener.name,
            Self::Sstp(listener) => &listener.name,
        }
    }

    pub(super) fn certificates(self) -> &'a [ServerCertificate] {
        match self {
            Self::Ikev2(listener) => &listener.certificates,
            Self::Sstp(listener) => &listener.certificates,
        }
    }

    /// What it shows to this client; `None`: it can verify none of the certificates.
    pub(super) fn shown(self, caller: Caller<'_>, now: UnixTime) -> Option<&'a ServerCertificate> {
        let (steering, keys, name_source): (_, KeyRank<'_>, _) = match self {
            Self::Ikev2(listener) => (&listener.steering, if caller.windows { WINDOWS } else { OTHERS }, "IDr"),
            Self::Sstp(listener) => (&listener.steering, TLS, "SNI"),
        };
        let certificates = self.certificates();
        let nowhere = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let by_certificate = caller.by_certificate;
        let steering = steering.as_deref().map(|by| Steered { by, client: nowhere, by_certificate, now });
        let asked = asked(caller.server);
        // Only IKE tells which authorities are trusted.
        let authorities = match (self, caller.trusts) {
            (Self::Sstp(_), _) => Vec::new(),
            (Self::Ikev2(_), Some(roots)) => roots.to_vec(),
            (Self::Ikev2(_), None) => {
                let made_out = pki::answering(certificates, Some(asked), keys);
                let above = certificates.iter().zip(made_out).filter(|(_, made_out)| *made_out);
                above.flat_map(|(certificate, _)| certificate.authorities.iter().copied()).collect()
            }
        };
        let is_told = !(caller.windows && matches!(self, Self::Ikev2(_)));
        let name = is_told.then_some(asked);
        let hints = Hints { name, name_source, authorities: &authorities, address: None, itself: None, keys, steering };
        pki::choose(certificates, &hints).map(|chosen| &certificates[chosen.index])
    }
}

/// A client as far as it matters for what it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    /// What it dials, which is the name that it wants in the certificate.
    pub(super) server: &'a str,
    /// Over IKEv2 it asks for no name.
    pub(super) windows: bool,
    /// It proves itself with a certificate over IKEv2, which the gateway knows before it shows its own.
    pub(super) by_certificate: bool,
    /// SHA-1 of the keys of the authorities that it trusts; `None`: of those above whatever is made out to `server`.
    pub(super) trusts: Option<&'a [[u8; 20]]>,
}

/// Others than clients know by themselves.
pub(super) fn has_unusual_ports(listener: &Ikev2Listener) -> bool {
    (listener.ike_port, listener.nat_port) != (500, 4500)
}

/// What a client cannot be told that dials the usual ports and no others.
fn only_usual_ports(dialled: Dialled<'_>, kind: Kind) -> Option<String> {
    let Dialled::Ikev2(listener) = dialled else { return None };
    (has_unusual_ports(listener) && !kind.dials_other_ports()).then(|| {
        format!(
            "{} dials UDP 500 and 4500 and no others, but listener {:?} has ike_port = {} and nat_port = {}: this profile works only where something in \
             front of the gateway forwards them",
            kind.title(),
            listener.name,
            listener.ike_port,
            listener.nat_port
        )
    })
}

/// Whether a client that dials `server` accepts this certificate, its trust aside.
pub(super) fn accepts(credential: &Credential, server: &str, now: UnixTime) -> Result<(), Refused> {
    let judged = TrustAnchors::new(Vec::new()).verify(credential.leaf(), &[], Purpose::Server, Some(server), now);
    match judged {
        Err(Refused::UnknownIssuer { .. }) | Ok(()) => Ok(()),
        Err(refused) => Err(refused),
    }
}

/// The root above a chain, among what the configuration and the command line hold.
pub(super) fn root_above(config: &Config, credential: &Credential, more: &[Certificate]) -> Option<Certificate> {
    let of_listener = config.ikev2.iter().flat_map(|listener| listener.client_roots.roots());
    let of_local = config.local.iter().flat_map(|local| local.client_roots.roots());
    let in_files = config.certificates.iter().flat_map(|one| one.credential.chain.iter().skip(1).chain(&one.credential.roots));
    let known: Vec<_> = credential.roots.iter().chain(in_files).chain(of_listener).chain(of_local).chain(more).collect();
    let mut top = credential.chain.last()?;
    // No chain is longer than what is known.
    for _ in 0..=known.len() {
        if top.subject_der == top.issuer_der {
            return Some(top.clone());
        }
        top = known.iter().find(|issuer| top.is_issued_by(issuer))?;
    }
    None
}

impl<'a> Connection<'a> {
    /// What SSTP clients call the server, and Windows: over SSTP with its port.
    pub(super) fn address(&self) -> String {
        match self.port {
            Some(port) if self.tunnel == Tunnel::Sstp => format!("{}:{port}", self.server),
            _ => self.server.clone(),
        }
    }

    pub(super) fn new(config: &'a Config, kind: Kind, wishes: &'a Wishes, now: UnixTime) -> Result<Self, String> {
        let tunnel = tunnel_of(config, kind, wishes)?;
        let dialled = Dialled::find(config, tunnel).ok_or_else(|| {
            format!("the configuration has no listener with protocol = \"{tunnel}\": add one, or choose another --tunnel")
        })?;
        let method = method_of(dialled, kind, wishes.device)?;
        let own = own_certificate(config, wishes, dialled);
        let server = match (&wishes.server, own) {
            (Some(server), _) => server.clone(),
            (None, Some((policy, certificate))) => name_of(config, policy, certificate)?,
            (None, None) => config.server.name.clone(),
        };
        let trusts = own.map(|(_, certificate)| certificate.authorities.as_slice());
        let caller = Caller { server: &server, windows: kind == Kind::Windows, by_certificate: method == Method::Certificate, trusts };
        let policy = policy_of(config, wishes, &Way::new(dialled, caller, method, now))?;
        let network = Network::of(&policy.settings);
        if wishes.device && network.routes.is_none() {
            return Err(format!(
                "a device tunnel carries what it must and never everything, but policy {:?} names no destinations: give it routes or selectors",
                policy.name
            ));
        }
        let mut notes = vec![format!("policy {:?} gives the routes, name servers and suffix of this profile", policy.name)];
        let roots = roots_of(config, kind, wishes, dialled, caller, now, &mut notes)?;
        let login = match (method, dialled) {
            (Method::Certificate, Dialled::Ikev2(listener)) => Login::Certificate(client_certificate(&listener.client_roots)),
            (Method::MsChapV2, _) => Login::MsChapV2,
            _ => eap_of(config, kind, wishes, dialled, policy, &mut notes).map(Login::Eap)?,
        };
        notes.extend(only_usual_ports(dialled, kind));
        let port = dialled.unusual_port();
        let title = match (wishes.device, tunnel) {
            (true, _) => format!("{server} device"),
            (false, Tunnel::Ikev2) => server.clone(),
            (false, Tunnel::Sstp) => format!("{server} SSTP"),
        };
        let (device, user, ppk) = (wishes.device, wishes.user.as_deref(), ppk_of(dialled, kind)?);
        Ok(Self { title, server, tunnel, device, port, login, roots, ciphers: &config.ciphers, network, user, ppk, notes })
    }
}

fn tunnel_of(config: &Config, kind: Kind, wishes: &Wishes) -> Result<Tunnel, String> {
    let by_default = if config.ikev2.is_some() || !kind.has_sstp() { Tunnel::Ikev2 } else { Tunnel::Sstp };
    let tunnel = wishes.tunnel.unwrap_or(if wishes.device { Tunnel::Ikev2 } else { by_default });
    match tunnel {
        Tunnel::Sstp if wishes.device => {
            Err("device tunnels are IKEv2: SSTP has no certificates of machines; leave --tunnel sstp out".into())
        }
        Tunnel::Sstp if !kind.has_sstp() => Err(format!("{} speaks no SSTP: leave --tunnel sstp out", kind.title())),
        tunnel => Ok(tunnel),
    }
}

/// How clients prove themselves there.
fn method_of(dialled: Dialled<'_>, kind: Kind, device: bool) -> Result<Method, String> {
    match dialled {
        Dialled::Ikev2(listener) if device && !listener.auth.certificate => Err(format!(
            "listener {:?} takes no certificates of machines: auth = [\"certificate\"] and client_ca in its [[listener]] let device tunnels in",
            listener.name
        )),
        Dialled::Ikev2(listener) if !device && !listener.auth.eap => Err(format!(
            "listener {:?} takes certificates of machines alone: use --device, or add \"eap\" to auth in its [[listener]]",
            listener.name
        )),
        Dialled::Ikev2(_) if device => Ok(Method::Certificate),
        Dialled::Ikev2(_) => Ok(Method::Eap),
        // Linux clients leave authentication to pppd, of which only the newest knows EAP-MSCHAPv2.
        Dialled::Sstp(listener) if listener.auth.contains(&AuthProtocol::Eap) && kind == Kind::Windows => Ok(Method::Eap),
        Dialled::Sstp(listener) if listener.auth.contains(&AuthProtocol::MsChapV2) => Ok(Method::MsChapV2),
        Dialled::Sstp(listener) => Err(format!(
            "listener {:?} lets no client of this kind in in a way that binds the login to its connection: add \"mschapv2\" to auth in its [[listener]]",
            listener.name
        )),
    }
}

/// How somebody comes in, as far as a profile can know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    listener: &'a str,
    tunnel: Tunnel,
    method: Method,
    /// The name that it asks for (IDr, SNI).
    server_name: Option<&'a str>,
    /// The certificate that it is shown.
    shown: Option<&'a str>,
}

impl<'a> Way<'a> {
    pub(super) fn new(dialled: Dialled<'a>, caller: Caller<'a>, method: Method, now: UnixTime) -> Self {
        let tunnel = match dialled {
            Dialled::Ikev2(_) => Tunnel::Ikev2,
            Dialled::Sstp(_) => Tunnel::Sstp,
        };
        let server_name = Some(caller.server).filter(|_| !(caller.windows && tunnel == Tunnel::Ikev2));
        let shown = dialled.shown(caller, now).map(|shown| shown.name.as_str());
        Self { listener: dialled.name(), tunnel, method, server_name, shown }
    }
}

/// Whether a policy lets somebody in who comes in this way.
pub(super) fn fits(policy: &Policy, way: &Way<'_>) -> bool {
    let Policy { conditions, constraints, .. } = policy;
    let Way { listener, tunnel, method, server_name, shown } = *way;
    let is_asked = |pattern: &String| server_name.is_some_and(|name| policy::glob::matches(pattern, name));
    let allowed = |way: &AllowedMethod| match way {
        AllowedMethod::Method(allowed) => *allowed == method,
        AllowedMethod::Eap(_) => method == Method::Eap,
    };
    policy.grant
        && !policy.disabled
        && (conditions.tunnel.is_empty() || conditions.tunnel.contains(&tunnel))
        && (conditions.method.is_empty() || conditions.method.contains(&method))
        && (conditions.eap_type.is_empty() || method == Method::Eap)
        && (conditions.listener.is_empty() || conditions.listener.iter().any(|name| policy::glob::matches(name, listener)))
        && (conditions.server_name.is_empty() || conditions.server_name.iter().any(is_asked))
        && (policy.certificate.is_none() || policy.certificate.as_deref() == shown)
        && (constraints.methods.is_empty() || constraints.methods.iter().any(allowed))
}

fn policy_of<'a>(config: &'a Config, wishes: &Wishes, way: &Way<'_>) -> Result<&'a Policy, String> {
    let Way { tunnel, method, shown, .. } = *way;
    let fitting = |policy: &&Policy| fits(policy, way);
    let Some(name) = &wishes.policy else {
        return config.policies.iter().find(fitting).ok_or_else(|| {
            format!("no [[policy]] lets in who comes over {tunnel} with {method}: `evergate policy test --tunnel {tunnel} --method {method}` says why")
        });
    };
    let policy = config.policies.iter().find(|policy| policy.name == *name).ok_or_else(|| {
        let known: Vec<_> = config.policies.iter().map(|policy| format!("{:?}", policy.name)).collect();
        format!("there is no policy {name:?}; expected one of {}", known.join(", "))
    })?;
    if fitting(&policy) {
        return Ok(policy);
    }
    if let Some(wanted) = policy.certificate.as_deref().filter(|wanted| Some(*wanted) != shown) {
        let shown = shown.map_or_else(|| "none".into(), |shown| format!("{shown:?}"));
        return Err(format!(
            "policy {name:?} is for clients that are shown certificate {wanted:?}, and this one would be shown {shown}: dial one of its names with \
             --server, see `evergate certificates`"
        ));
    }
    Err(format!(
        "policy {name:?} lets nobody in who comes over {tunnel} with {method}: look at its enabled, grant, tunnel, method, listener, server_name and \
         constraints, or choose another --policy, --server, --tunnel or --device"
    ))
}

/// The certificate that the policy asked for names, at this listener.
fn own_certificate<'a>(config: &'a Config, wishes: &Wishes, dialled: Dialled<'a>) -> Option<(&'a Policy, &'a ServerCertificate)> {
    let policy = config.policies.iter().find(|policy| wishes.policy.as_ref() == Some(&policy.name))?;
    let name = policy.certificate.as_ref()?;
    Some((policy, dialled.certificates().iter().find(|certificate| certificate.name == *name)?))
}

/// What its clients dial: the gateway's own name if the certificate is made out to that, else a name of it for which the policy is.
fn name_of(config: &Config, policy: &Policy, certificate: &ServerCertificate) -> Result<String, String> {
    let patterns = &policy.conditions.server_name;
    let is_for = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| policy::glob::matches(pattern, name));
    let own = &config.server.name;
    let is_own = |name: &String| name.eq_ignore_ascii_case(own) || name.strip_prefix("*.") == own.split_once('.').map(|(_, rest)| rest);
    let names = certificate.dial_names();
    if is_for(own) && names.iter().any(is_own) {
        return Ok(own.clone());
    }
    let asked = patterns.iter().filter(|pattern| !pattern.contains(['*', '?']));
    let in_it = &certificate.credential.leaf().dns_names;
    let one = names.iter().chain(asked).chain(in_it).find(|name| !name.contains('*') && is_for(name));
    one.cloned().ok_or_else(|| {
        format!(
            "policy {:?} is for clients that are shown certificate {:?}, which is made out to {}: say with --server what they dial",
            policy.name,
            certificate.name,
            names.join(", ")
        )
    })
}

/// What a client is shown besides that asks for no name and trusts every authority of the gateway's.
#[derive(Debug)]
pub(super) struct ShownInstead<'a> {
    wanted: &'a str,
    instead: &'a str,
    authority: &'a str,
}

impl ShownInstead<'_> {
    pub(super) fn note(&self, server: &str) -> String {
        let Self { wanted, instead, authority } = self;
        format!(
            "only the authorities that a computer trusts tell the gateway that it wants certificate {wanted:?}: one that also trusts {authority} is shown \
             {instead:?}, which is not made out to {server}, and refuses it"
        )
    }
}

/// Whether the certificate that this client is shown is not what it would be shown if it trusted the other ones' authorities as well.
pub(super) fn by_trust_alone<'a>(
    dialled: Dialled<'a>,
    caller: Caller<'_>,
    shown: &'a ServerCertificate,
    now: UnixTime,
) -> Option<ShownInstead<'a>> {
    if !caller.windows {
        // Others ask for a name, and trust what their profile says.
        return None;
    }
    let all: Vec<_> = dialled.certificates().iter().flat_map(|one| one.authorities.iter().copied()).collect();
    let instead = dialled.shown(Caller { trusts: Some(&all), ..caller }, now)?;
    (instead.name != shown.name && accepts(&instead.credential, caller.server, now).is_err()).then(|| ShownInstead {
        wanted: &shown.name,
        instead: &instead.name,
        authority: &instead.credential.leaf().issuer,
    })
}

/// The roots that the client must trust. That it would refuse the certificate which it gets to see is an error.
fn roots_of(
    config: &Config,
    kind: Kind,
    wishes: &Wishes,
    dialled: Dialled<'_>,
    caller: Caller<'_>,
    now: UnixTime,
    notes: &mut Vec<String>,
) -> Result<Vec<Certificate>, String> {
    let server = caller.server;
    let shown = dialled.shown(caller, now).ok_or_else(|| {
        format!("listener {:?} has no certificate that {} can verify; RSA, P-256 and P-384 do", dialled.name(), kind.title())
    })?;
    accepts(&shown.credential, server, now).map_err(|refused| {
        format!(
            "a client that dials {server} is shown certificate {:?}, and would refuse it: {refused}; dial one of its names with --server, or see \
             `evergate certificates`",
            shown.name
        )
    })?;
    notes.extend(by_trust_alone(dialled, caller, shown, now).map(|other| other.note(server)));
    match root_above(config, &shown.credential, &wishes.authorities) {
        Some(root) => Ok(vec![root]),
        None => {
            notes.push(format!(
                "the root above certificate {:?} is not in the configuration: clients must know it already, as they do those of public authorities; \
                 else name its file with --ca",
                shown.name
            ));
            Ok(Vec::new())
        }
    }
}

pub(super) fn client_certificate(roots: &TrustAnchors) -> ClientCertificate {
    ClientCertificate { issuers: roots.roots().to_vec(), purposes: roots.client_purposes().to_vec() }
}

/// The local provider, where nobody else is asked.
pub(super) fn sole_provider(config: &Config) -> Option<&LocalProvider> {
    config.local.as_ref().filter(|_| config.radius.is_empty())
}

/// Methods that policy and provider take; `None`: they do not say.
pub(super) fn eap_methods(config: &Config, policy: &Policy) -> Option<Vec<String>> {
    let of_constraints = policy.constraints.methods.iter().filter_map(|way| match way {
        AllowedMethod::Eap(name) => Some(name.clone()),
        AllowedMethod::Method(_) => None,
    });
    let any_eap = policy.constraints.methods.contains(&AllowedMethod::Method(Method::Eap));
    let constrained: Vec<_> = if any_eap { Vec::new() } else { of_constraints.collect() };
    let conditions = policy.conditions.eap_type.clone();
    let of_provider = sole_provider(config).map(|local| {
        let number = |method: &local_provider::EapMethod| match method {
            local_provider::EapMethod::MsChapV2 => 26,
            local_provider::EapMethod::Tls => 13,
        };
        local.methods.iter().map(|method| eap::method::name(number(method))).collect::<Vec<_>>()
    });
    let lists = [of_provider.unwrap_or_default(), constrained, conditions].into_iter().filter(|list| !list.is_empty());
    lists.reduce(|one, other| one.into_iter().filter(|name| other.iter().any(|known| known.eq_ignore_ascii_case(name))).collect())
}

fn eap_of(
    config: &Config,
    kind: Kind,
    wishes: &Wishes,
    dialled: Dialled<'_>,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<Eap, String> {
    let taken = eap_methods(config, policy);
    // A gateway that shows no certificate must prove itself in EAP.
    let mutual = kind.offers_eap_only() && matches!(dialled, Dialled::Ikev2(listener) if listener.auth.eap_only);
    let is_taken = |method: EapMethod| {
        let named = |names: &Vec<String>| names.iter().any(|name| name.eq_ignore_ascii_case(&method.name()));
        taken.as_ref().is_none_or(named) && !(mutual && method == EapMethod::MsChapV2)
    };
    let does = |method: EapMethod| kind.eap_methods().contains(&method);
    let method = match wishes.eap {
        None => kind.eap_methods().iter().copied().find(|method| is_taken(*method)),
        wish => wish.filter(|method| is_taken(*method) && does(*method)),
    };
    let names = |names: &[String]| if names.is_empty() { "nothing in common".to_owned() } else { names.join(", ") };
    let method = method.ok_or_else(|| {
        let done: Vec<_> = kind.eap_methods().iter().map(|method| method.word()).collect();
        let takers = taken.as_deref().map_or_else(|| "any method".into(), names);
        let only = if mutual { "; with eap_only in the listener it is EAP-TLS alone" } else { "" };
        let asked = wishes.eap.map_or_else(String::new, |method| format!("{} does not do: ", method.name()));
        format!("{asked}policy {:?} and provider take {takers}{only}; {} does {}", policy.name, kind.title(), done.join(", "))
    })?;
    if wishes.eap.is_none() && taken.is_none() {
        notes.push(format!("the RADIUS server decides about the EAP method; this profile uses {}, --eap chooses another", method.name()));
    }
    let (servers, roots, certificate) = eap_server(config, wishes, method, notes);
    Ok(Eap { method, servers, roots, certificate })
}

/// Who shows a certificate in EAP, and whose certificates are taken there.
fn eap_server(
    config: &Config,
    wishes: &Wishes,
    method: EapMethod,
    notes: &mut Vec<String>,
) -> (Vec<String>, Vec<Certificate>, ClientCertificate) {
    if method == EapMethod::MsChapV2 {
        return (Vec::new(), Vec::new(), ClientCertificate::default());
    }
    if let Some((local, credential)) = sole_provider(config).and_then(|local| Some((local, local.credential.as_ref()?))) {
        let root = root_above(config, credential, &wishes.authorities);
        return (credential.leaf().dns_names.clone(), root.into_iter().collect(), client_certificate(&local.client_roots));
    }
    if wishes.eap_servers.is_empty() || wishes.eap_authorities.is_empty() {
        notes.push(
            "nothing here tells the certificate that the RADIUS server shows in EAP: name it with --eap-server and its root with --eap-ca, so that \
             clients believe no other server"
                .into(),
        );
    }
    (wishes.eap_servers.clone(), wishes.eap_authorities.clone(), ClientCertificate::default())
}

/// The key without which nobody comes in.
fn ppk_of(dialled: Dialled<'_>, kind: Kind) -> Result<Option<String>, String> {
    let Dialled::Ikev2(listener) = dialled else { return Ok(None) };
    if !listener.ppk.required {
        return Ok(None);
    }
    if kind != Kind::StrongSwan {
        return Err(format!(
            "listener {:?} has ppk = \"required\", and no profile for {} holds a postquantum preshared key: ppk = \"optional\" lets it in",
            listener.name,
            kind.title()
        ));
    }
    Ok(listener.ppk.keys.first().map(|key| String::from_utf8_lossy(&key.id).into_owned()))
}
