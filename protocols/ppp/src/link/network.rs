//! The Network phase: IPCP and IPv6CP side by side.
use super::Reason;
use crate::api::{Event, Network, Output, Phase};
use crate::auth::Authenticator;
use crate::ipcp::Ipcp;
use crate::ipv6cp::Ipv6cp;
use crate::negotiation::{Change, Env, Fault, Negotiation, Options};
use crate::packet::Packet;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Networks {
    /// Answers what the client repeats because our last word was lost; with the network up that has come, and what was kept for it, a
    /// password perhaps, is forgotten.
    pub(super) auth: Option<Box<Authenticator>>,
    /// `None`: off, or given up.
    ipcp: Option<Negotiation<Ipcp>>,
    ipv6cp: Option<Negotiation<Ipv6cp>>,
    /// Until when the client may begin.
    passive: Option<Instant>,
    up: bool,
}

/// Which protocol an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Networks {
    /// Both wait for the client's first packet, as LCP did: Windows begins when its own stack is ready.
    pub(super) fn new(env: &mut Env<'_>, auth: Box<Authenticator>, network: &Network, seed: &crate::seed::Seed) -> Self {
        let mut ipcp = Ipcp::new(network).map(Negotiation::new);
        let mut ipv6cp = Ipv6cp::new(network, seed).map(Negotiation::new);
        if let Some(ipcp) = &mut ipcp {
            ipcp.open(env);
        }
        if let Some(ipv6cp) = &mut ipv6cp {
            ipv6cp.open(env);
        }
        Self { auth: Some(auth), ipcp, ipv6cp, passive: Some(env.now + env.timers.passive), up: false }
    }

    /// Nothing left that could open.
    pub(super) fn is_hopeless(&self) -> bool {
        self.ipcp.is_none() && self.ipv6cp.is_none()
    }

    pub(super) fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.ipcp.is_some(),
            Family::V6 => self.ipv6cp.is_some(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.up { Phase::Up } else { Phase::Network }
    }

    pub(super) fn receive(&mut self, env: &mut Env<'_>, family: Family, packet: &Packet<'_>) -> Result<(), Fault> {
        match family {
            Family::V4 => match &mut self.ipcp {
                Some(ipcp) => ipcp.receive(env, packet).map(|change| self.changed(env, family, change)),
                None => Ok(()),
            },
            Family::V6 => match &mut self.ipv6cp {
                Some(ipv6cp) => ipv6cp.receive(env, packet).map(|change| self.changed(env, family, change)),
                None => Ok(()),
            },
        }
    }

    fn changed(&mut self, env: &mut Env<'_>, family: Family, change: Change) {
        if change == Change::Up {
            let event = match (family, &self.ipcp, &self.ipv6cp) {
                (Family::V4, Some(ipcp), _) => Event::Ipv4Up(ipcp.options.client),
                (Family::V6, _, Some(ipv6cp)) => Event::Ipv6Up { ours: ipv6cp.options.ours, theirs: ipv6cp.options.theirs },
                _ => return,
            };
            env.out.push_back(Output::Event(event));
            self.auth = None;
        }
        self.up = self.ipcp.as_ref().is_some_and(Negotiation::is_opened) || self.ipv6cp.as_ref().is_some_and(Negotiation::is_opened);
    }

    /// The client does not do this protocol.
    pub(super) fn rejected(&mut self, env: &mut Env<'_>, family: Family) {
        match family {
            Family::V4 => self.ipcp.iter_mut().for_each(|ipcp| ipcp.protocol_rejected(env)),
            Family::V6 => self.ipv6cp.iter_mut().for_each(|ipv6cp| ipv6cp.protocol_rejected(env)),
        }
        self.give_up(env, family);
    }

    /// From now on the protocol counts as switched off.
    pub(super) fn give_up(&mut self, env: &mut Env<'_>, family: Family) {
        match family {
            Family::V4 => self.ipcp = None,
            Family::V6 => self.ipv6cp = None,
        }
        self.changed(env, family, Change::Down);
    }

    pub(super) fn timeout(&mut self, env: &mut Env<'_>) {
        if self.passive.is_some_and(|at| at <= env.now) {
            self.passive = None;
            self.ipcp.iter_mut().for_each(|ipcp| ipcp.up(env));
            self.ipv6cp.iter_mut().for_each(|ipv6cp| ipv6cp.up(env));
        }
        if let Some(change) = self.ipcp.as_mut().map(|ipcp| ipcp.timeout(env)) {
            self.changed(env, Family::V4, change);
        }
        if let Some(change) = self.ipv6cp.as_mut().map(|ipv6cp| ipv6cp.timeout(env)) {
            self.changed(env, Family::V6, change);
        }
    }

    pub(super) fn timer(&self) -> Option<(Instant, Reason)> {
        fn waits<P: Options>(ncp: &Option<Negotiation<P>>) -> bool {
            ncp.as_ref().is_some_and(Negotiation::is_starting)
        }
        let passive = self.passive.filter(|_| waits(&self.ipcp) || waits(&self.ipv6cp)).map(|at| (at, Reason::Passive));
        let ipcp = self.ipcp.as_ref().and_then(Negotiation::timer).map(|at| (at, Reason::Restart));
        let ipv6cp = self.ipv6cp.as_ref().and_then(Negotiation::timer).map(|at| (at, Reason::Restart));
        [passive, ipcp, ipv6cp].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
