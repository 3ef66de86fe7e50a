//! The IKE machine's outputs, and what a login came to in IKE's words.
use super::authenticate::Verdict;
use super::volume::Volume;
use super::{Asker, Effect, Gateway, InnerEnd, Now, Plane};
use crate::login::{Denied, Granted};
use crate::outcome::CloseReason;
use ike::{
    AddressRequest, Answer, AskId, Command, Denial, EapAnswer, EapQuestion, Grant, Input, Output, Path, Question, SessionId,
    TrafficSelector,
};
use policy::network::{AddressRange, Tunnel};
use policy::pool::{Network, Wanted};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// From AUTH_LIFETIME to the end of the session: the IKE machine's own grace.
const REAUTHENTICATION: Duration = Duration::from_secs(60);

/// With Termination-Action they are, if a minute is left to do so.
const SHORTEST_ASKED_FOR: Duration = Duration::from_secs(120);

/// Sessions of less than this are not renewed. strongSwan begins so long before the lifetime is over as it would allow a rekey to take, 24 min
/// by default; of a shorter lifetime it begins at once, again and again.
const SHORTEST_RENEWED: Duration = Duration::from_secs(3600);

impl<P: Plane> Gateway<P> {
    pub(super) fn output(&mut self, now: Now, output: Output) {
        match output {
            Output::Transmit { path, message } => self.effects.push_back(Effect::Transmit { path, message }),
            Output::Ask(id, session, Question::Eap(question)) => {
                let EapQuestion { packet, identity, request, .. } = question;
                self.relay_eap(now, session, Asker::Ike(id), identity, packet, wanted(request));
            }
            Output::Ask(id, session, Question::Certificate { certificate, request, .. }) => {
                self.admit_certificate(now, session, id, &certificate, request);
            }
            Output::Ask(id, _, question) => self.effects.push_back(Effect::Compute(id, question)),
            Output::Cancel(id) => {
                self.cancel(Asker::Ike(id));
                self.cancel(Asker::Certificate(id));
            }
            Output::InstallChild(child) => self.install(now, *child),
            Output::UseOutbound { session, spi_in } => {
                self.plane.use_outbound(session, spi_in);
                if let Some(volume) = self.live.get_mut(&session).and_then(|live| live.volume.as_mut()) {
                    volume.spi_in = spi_in;
                }
            }
            Output::RemoveChild { session, spi_in } => self.plane.remove(session, spi_in),
            Output::Repath { session, path, encapsulate } => self.plane.repath(session, path, encapsulate),
            Output::Event(session, event) => self.observe(now, session, event),
            Output::Seen(session, seen) => self.seen(now, session, &seen),
            Output::Stranger { from, what } => self.strangers.meet(now, from, what),
        }
    }

    /// Most sequence numbers of a Child SA are used up.
    pub fn worn(&mut self, now: Now, session: SessionId, spi_in: u32) {
        self.note(now, session, format!("most sequence numbers of SPI {spi_in:08x} are used up"));
        self.feed(now, Input::Worn { session, spi_in });
    }

    /// Packets wait for a client that has no Child SA.
    pub fn wanted(&mut self, now: Now, session: SessionId) {
        self.feed(now, Input::Wanted(session));
    }

    /// A verified packet of the client came on another path.
    pub fn moved(&mut self, now: Now, session: SessionId, path: Path) {
        self.feed(now, Input::PeerMoved { session, path });
    }

    fn install(&mut self, now: Now, child: ike::ChildSa) {
        let session = child.session;
        let (spi_in, networks) = (child.spi_in, self.networks(session));
        if let Err(error) = self.plane.install(child, &networks) {
            tracing::warn!(%error, "the data plane refuses a Child SA");
            self.note(now, session, format!("the data plane refuses the Child SA: {error}"));
            return self.commands.push_back((session, Command::Close(CloseReason::Failed)));
        }
        let traffic = self.plane.traffic(session);
        if let Some(live) = self.live.get_mut(&session) {
            live.volume = Some(Volume::begin(spi_in, traffic));
        }
    }

    /// What is behind the client.
    pub(super) fn networks(&self, session: SessionId) -> Vec<Network> {
        let granted = self.live.get(&session).and_then(|live| live.login.as_ref()?.granted.as_ref());
        granted.map(|granted| granted.networks.clone()).unwrap_or_default()
    }

    /// What RADIUS and policy said, for the IKE machine.
    pub(super) fn answer_ike(&mut self, id: AskId, verdict: Verdict) {
        let inner = self.settings.inner;
        let answer = match verdict {
            Verdict::Continue { packet } => EapAnswer::Continue { packet },
            Verdict::Granted { eap, accept, granted, .. } => {
                EapAnswer::Success { packet: eap, msk: accept.msk, grant: Box::new(grant(&granted, inner)) }
            }
            Verdict::Refused { eap, denied, .. } => EapAnswer::Failure { packet: eap, denial: denied.into() },
        };
        self.answers.push_back((id, Answer::Eap(answer)));
    }
}

impl From<Denied> for Denial {
    fn from(denied: Denied) -> Self {
        Self { stage: denied.stage.in_ike(), cause: denied.cause }
    }
}

pub(super) fn wanted(request: AddressRequest) -> Wanted {
    Wanted { ipv4: request.ipv4, ipv6: request.ipv6, ipv4_hint: request.ipv4_hint, ipv6_hint: request.ipv6_hint, ..Wanted::default() }
}

/// `inner`: our end, the same as DHCP tells inside the tunnel.
pub(super) fn grant(granted: &Granted, inner: InnerEnd) -> Grant {
    Grant {
        user: granted.user.clone(),
        ipv4: granted.ipv4,
        ipv6: granted.ipv6,
        address_failure: granted.address_failure.clone(),
        dns: granted.dns.clone(),
        selectors: granted.selectors.iter().map(selector).collect(),
        link: link(granted, inner),
        networks: granted.networks.iter().map(|network| (network.first(), network.length())).collect(),
        delegated: granted.delegated.clone(),
        nbns: granted.nbns.clone(),
        subnets: granted.routes.iter().flat_map(AddressRange::prefixes).collect(),
        dns_domains: granted.settings.dns_domains.clone(),
        server_ipv4: Some(inner.ipv4),
        server_ipv6: inner.ipv6,
        auth_lifetime: auth_lifetime(granted.session_timeout, granted.renew),
        cipher_bits: granted.settings.cipher_bits,
    }
}

/// What a client may be told of its Session-Timeout: to authenticate anew this long before.
///
/// The machine closes a session [`REAUTHENTICATION`] after the lifetime it told, so that a client that does nothing loses it when its
/// Session-Timeout is over, not sooner or later. A client that authenticates anew gets what RADIUS and policy give it then. Short sessions are
/// meant to end: nothing is said of theirs.
///
/// `renew`: RADIUS wants it to (Termination-Action), however short the session: then it is told where there is a minute left to do so.
fn auth_lifetime(session_timeout: Option<Duration>, renew: bool) -> Option<Duration> {
    let shortest = if renew { SHORTEST_ASKED_FOR } else { SHORTEST_RENEWED };
    let timeout = session_timeout.filter(|timeout| *timeout >= shortest)?;
    timeout.checked_sub(REAUTHENTICATION)
}

/// DHCPINFORM goes to the broadcast address and is answered by the server's; Router Solicitations and DHCPv6 stay within the link.
fn link(granted: &Granted, inner: InnerEnd) -> Vec<TrafficSelector> {
    let ipv4 = [Ipv4Addr::BROADCAST, inner.ipv4].map(|address| TrafficSelector::host(address.into()));
    let ipv6 = [(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0), 16), (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)]
        .map(|(address, length)| TrafficSelector::network(address.into(), length));
    let ipv4 = granted.ipv4.into_iter().flat_map(|_| ipv4);
    ipv4.chain(granted.ipv6.into_iter().flat_map(|_| ipv6)).collect()
}

/// The shortest Session-Timeout that Termination-Action can be kept with, [`radius_client::NasContext::renews_after`].
pub(super) fn renews_after(tunnel: Tunnel) -> Option<Duration> {
    (tunnel == Tunnel::Ikev2).then_some(SHORTEST_ASKED_FOR)
}

fn selector(range: &AddressRange) -> TrafficSelector {
    TrafficSelector { protocol: 0, start_port: 0, end_port: u16::MAX, start: range.start, end: range.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address of ours for whoever asks: INTERNAL_IP4_SERVER is what DHCP says inside the tunnel.
    #[test]
    fn clients_are_told_our_inner_address() {
        let granted = Granted {
            user: "alice".into(),
            policy: "staff".into(),
            ipv4: Some(Ipv4Addr::new(10, 98, 0, 10)),
            ipv6: None,
            address_failure: None,
            address_holder: None,
            networks: Vec::new(),
            delegated: Vec::new(),
            dns: Vec::new(),
            nbns: Vec::new(),
            dns_suffix: None,
            routes: Vec::new(),
            selectors: Vec::new(),
            session_timeout: None,
            of_radius: Default::default(),
            renew: false,
            idle_timeout: None,
            class: Vec::new(),
            settings: policy::network::Settings::default(),
            interim_interval: None,
            restrictions: policy::filter::Restrictions::default(),
            hours_end: None,
            known: crate::login::Known::by(policy::network::Method::Eap, true),
            framed: Vec::new(),
            trace: Vec::new(),
        };
        let ends = (Ipv4Addr::new(10, 98, 255, 1), Some("fd98::1".parse().unwrap()));
        let grant = grant(&granted, InnerEnd { ipv4: ends.0, ipv6: ends.1 });
        assert_eq!((grant.server_ipv4, grant.server_ipv6), (Some(ends.0), ends.1));
    }

    #[test]
    fn clients_are_told_a_minute_a_minute_before_the_end() {
        let told = |seconds| auth_lifetime(Some(Duration::from_secs(seconds)), false).map(|lifetime| lifetime.as_secs());
        assert_eq!((told(0), told(3599), told(3600), told(28_800)), (None, None, Some(3540), Some(28_740)));
        assert_eq!(auth_lifetime(None, true), None);
        let renewed = |seconds| auth_lifetime(Some(Duration::from_secs(seconds)), true).map(|lifetime| lifetime.as_secs());
        assert_eq!((renewed(119), renewed(120), renewed(600)), (None, Some(60), Some(540)));
    }
}
