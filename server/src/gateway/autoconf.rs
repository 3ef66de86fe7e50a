//! Questions that clients ask inside the tunnel: DHCPINFORM, router solicitations, DHCPv6. Answered from what the policy granted.
use super::{Gateway, Now, Plane};
use crate::trace::Direction;
use ::autoconf::{ADVERTISEMENT_INTERVAL, Question, Route};
use ike::SessionId;
use policy::network::{AddressRange, Tunnel};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Our inner address where a listener names none: the IPv4 dummy address (RFC 7600 section 10).
pub const DUMMY_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// From a client's return to what it has missed: both ends have their Child SA by then.
const AFTER_RETURN: Duration = Duration::from_secs(1);

/// Our link-local address where none was negotiated.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

impl<P: Plane> Gateway<P> {
    /// A packet from inside a tunnel that may be a question for the gateway.
    pub fn inner(&mut self, now: Now, session: SessionId, packet: &[u8]) {
        self.inner_seen(now, session, Direction::In, packet);
        let Some(settings) = self.inner_settings(session, is_ipv6(packet)) else { return };
        match ::autoconf::answer(packet, &settings) {
            Ok(Some(answer)) => {
                tracing::debug!(session = session.0, question = ?answer.what, "answered inside the tunnel");
                if let Some(name) = &answer.host_name {
                    self.calls_itself(session, name);
                }
                if answer.left_out > 0 {
                    self.note(now, session, format!("{} has no room for {} routes, servers or names", answer.what, answer.left_out));
                }
                *self.totals.inner_answered.entry(answer.what).or_default() += 1;
                self.inner_seen(now, session, Direction::Out, &answer.packet);
                self.plane.send_inner(session, answer.packet);
                if answer.what == Question::RouterSolicitation {
                    self.advertise_again(session, now.instant + ADVERTISEMENT_INTERVAL);
                }
            }
            Ok(None) => self.totals.inner_ignored += 1,
            Err(error) => {
                tracing::debug!(session = session.0, %error, "a question inside the tunnel that cannot be read");
                self.totals.inner_ignored += 1;
            }
        }
    }

    /// A client says what its computer is called; what its certificate says counts more.
    fn calls_itself(&mut self, session: SessionId, name: &str) {
        let attempt = self.live.get(&session).and_then(|live| self.attempts.get_mut(live.attempt));
        if let Some(attempt) = attempt.filter(|attempt| attempt.machine.is_none()) {
            attempt.set_machine(name);
        }
    }

    /// Tells the client that it is on a link with a router, and again before it forgets.
    pub(super) fn advertise(&mut self, now: Now, session: SessionId) {
        if let Some(advertisement) = self.inner_settings(session, true).as_ref().and_then(::autoconf::router_advertisement) {
            self.inner_seen(now, session, Direction::Out, &advertisement);
            self.plane.send_inner(session, advertisement);
            if let Some(up) = self.live.get_mut(&session).and_then(|live| live.session.as_mut()) {
                up.sent_unasked();
            }
        }
    }

    /// An IKEv2 client has asked for a router: it is told again from now on, for what it was told runs out, and it does not ask twice. Calls of SSTP
    /// have a timer of their own.
    fn advertise_again(&mut self, session: SessionId, at: Instant) {
        let Some(live) = self.live.get_mut(&session).filter(|live| live.tunnel == Tunnel::Ikev2) else { return };
        if let Some(before) = live.advertise_at.replace(at) {
            self.advertisements.remove(&(before, session));
        }
        self.advertisements.insert((at, session));
    }

    /// Tells those whose time it is. Who has no Child SA, or answers nothing, hears when that is over: an advertisement is no reason for a new one.
    pub(super) fn advertise_due(&mut self, now: Now) {
        while let Some(&(at, session)) = self.advertisements.first()
            && at <= now.instant
        {
            self.advertisements.pop_first();
            let Some(live) = self.live.get(&session) else { continue };
            if live.resting_since.is_none() && live.silent_since.is_none() {
                self.advertise(now, session);
                self.advertise_again(session, now.instant + ADVERTISEMENT_INTERVAL);
            }
        }
    }

    /// A client has a Child SA again, or answers again.
    pub(super) fn advertise_missed(&mut self, now: Now, session: SessionId) {
        if self.live.get(&session).and_then(|live| live.advertise_at).is_some_and(|at| at <= now.instant) {
            self.advertise_again(session, now.instant + AFTER_RETURN);
        }
    }

    /// The session has ended.
    pub(super) fn advertise_no_more(&mut self, session: SessionId, live: &super::Live) {
        if let Some(at) = live.advertise_at {
            self.advertisements.remove(&(at, session));
        }
    }

    /// `ipv6`: in IPv6 a client learns of a default route from its router alone, so it is told unless there are routes of the policy. In
    /// IPv4 its own profile knows, and a route by DHCP would overrule it.
    fn inner_settings(&self, session: SessionId, ipv6: bool) -> Option<::autoconf::Settings> {
        let live = self.live.get(&session)?;
        let granted = live.login.as_ref()?.granted.as_ref()?;
        let call = self.calls.get(&session);
        Some(::autoconf::Settings {
            client_ipv4: granted.ipv4,
            client_ipv6: granted.ipv6,
            server_ipv4: call.map_or(self.settings.inner.ipv4, |call| call.inner_ipv4()),
            link_local: call.and_then(|call| call.link_local).unwrap_or(LINK_LOCAL),
            dns: granted.dns.clone(),
            nbns: granted.nbns.clone(),
            suffix: granted.dns_suffix.clone(),
            routes: granted.routes.iter().flat_map(AddressRange::prefixes).filter_map(|(address, len)| Route::new(address, len)).collect(),
            mtu: call.map_or(self.settings.mtu, |call| call.mtu(self.settings.mtu)),
            advertise_prefix: live.tunnel == Tunnel::Sstp,
            default_route: ipv6 && granted.routes.is_empty(),
        })
    }
}

fn is_ipv6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}
