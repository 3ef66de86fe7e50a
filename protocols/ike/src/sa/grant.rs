//! The last IKE_AUTH response: addresses, traffic selectors, the first Child SA.
use super::auth::{Login, Offer};
use super::child::{Child, ChildPhase, Pfs, Scope, directions, install};
use super::established::Established;
use super::{Core, State, configuration, mobility};
use crate::api::{AddressRequest, CloseReason, Event, Failure, Fault, GatewayIdentity, Grant, Stage, TrafficSelector};
use crate::endpoint::{Elsewhere, Owner, Replace, Shared};
use crate::proposal::{ChosenEsp, select_esp};
use crate::redirect::{leads_back, redirect_notify};
use crate::selector::narrow_to_allowed;
use crate::wire::{Configuration, Notify, Payload, attribute, notify};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Why the client gets no tunnel although it is authenticated.
struct Obstacle {
    kind: u16,
    stage: Stage,
    fault: Fault,
    cause: String,
}

/// The client is authenticated; `head` proves that we are too.
pub(super) fn finish(core: &mut Core, cx: &mut Shared, login: Login, offer: &Offer, mut head: Vec<Payload>, grant: Grant) -> State {
    if login.ppk {
        head.push(Payload::Notify(Notify::new(notify::PPK_IDENTITY, [])));
    }
    if let Some((redirect, gateway)) = elsewhere(core, cx) {
        let cause = format!("the client is sent to {gateway}, which takes the place of this gateway");
        let failure = core.failure(Fault::Refused, Some(notify::REDIRECT), cause);
        head.push(Payload::Notify(redirect));
        return refuse(core, cx, login, &head, failure);
    }
    core.cipher_bits = grant.cipher_bits;
    core.reach(cx, Stage::Address);
    let granted = match Granted::new(core, cx, offer, &grant) {
        Ok(granted) => granted,
        Err(obstacle) => {
            core.stage = obstacle.stage;
            head.push(Payload::Notify(Notify::new(obstacle.kind, [])));
            let failure = core.failure(obstacle.fault, Some(obstacle.kind), obstacle.cause);
            return refuse(core, cx, login, &head, failure);
        }
    };
    let owner = Arc::new(Owner { user: grant.user.to_lowercase(), idi: offer.idi.body.clone() });
    announce_contact(core, cx, offer, Arc::clone(&owner));
    core.owner = Some(owner);
    let Login { mut sa, nonce_i, nonce_r, .. } = login;
    let child = granted.child(cx);
    let keys = directions(sa.keys.child(child.suite.protection, None, &nonce_i, &nonce_r), false);
    // The client has it when our response has reached it: a session of its own that has these addresses goes on until then.
    install(core, cx, &child, keys, &granted.scope, None, false);
    head.extend([
        Payload::Configuration(granted.configuration),
        Payload::Sa(granted.esp.reply(child.spi_in)),
        Payload::TsInitiator(child.remote.clone()),
        Payload::TsResponder(child.local.clone()),
    ]);
    if core.traits.mobike {
        head.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, [])));
        head.extend(mobility::other_addresses(core).into_iter().map(Payload::Notify));
    }
    if let Some(lifetime) = grant.auth_lifetime {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        head.push(Payload::Notify(Notify::new(notify::AUTH_LIFETIME, seconds.to_be_bytes())));
    }
    head.extend(core.qcd_token(sa.spi_i, sa.spi_r));
    core.respond(cx, &mut sa, &head);
    core.init_response = Vec::new();
    core.stage = Stage::Up;
    core.event(cx, Event::Established { user: grant.user, inner: granted.scope.inner.clone() });
    Established::begin(core, cx, sa, child, granted.scope, grant.auth_lifetime)
}

/// The client is authenticated, but gets no Child SA.
fn refuse(core: &mut Core, cx: &mut Shared, login: Login, answer: &[Payload], failure: Failure) -> State {
    let mut sa = login.sa;
    core.respond(cx, &mut sa, answer);
    core.end(cx, CloseReason::Failed, Some(failure));
    State::drain_deleting(cx, sa)
}

/// REDIRECT (RFC 5685 section 6), for a client that began its login before the gateway was told to send clients elsewhere.
fn elsewhere(core: &Core, cx: &Shared) -> Option<(Notify, GatewayIdentity)> {
    let gateway = cx.elsewhere().filter(|to| core.traits.redirect && !leads_back(to, core.traits.redirected_from.as_ref()))?;
    Some((redirect_notify(notify::REDIRECT, gateway, &[])?, gateway.clone()))
}

/// Everything the response will say.
struct Granted {
    esp: ChosenEsp,
    scope: Scope,
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
    configuration: Configuration,
}

impl Granted {
    fn new(core: &mut Core, cx: &mut Shared, offer: &Offer, grant: &Grant) -> Result<Self, Obstacle> {
        let (ipv4, ipv6) = leased(grant, offer.request);
        let inner: Vec<IpAddr> = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)).collect();
        if inner.is_empty() || grant.address_failure.is_some() {
            let cause = grant.address_failure.clone();
            let cause = cause.unwrap_or_else(|| "the login grants no address of a family that the client asks for".into());
            return Err(Obstacle { kind: notify::INTERNAL_ADDRESS_FAILURE, stage: Stage::Address, fault: Fault::Refused, cause });
        }
        core.reach(cx, Stage::ChildSa);
        let esp = choose_esp(core, cx, offer)?;
        let behind = grant.networks.iter().map(|&(address, prefix)| TrafficSelector::network(address, prefix));
        let remote = inner.iter().copied().map(TrafficSelector::host).chain(behind).collect();
        let link = if core.traits.windows || asks_as_windows(offer) { on_link(grant, &inner) } else { Vec::new() };
        let scope = Scope { local: allowed(grant, &inner), remote, inner, link };
        let Some((local, remote)) = scope.narrow(&offer.ts_r, &offer.ts_i) else {
            return Err(unacceptable_selectors(offer, &scope));
        };
        let configuration = configuration::reply(&offer.asked, grant, ipv4, ipv6);
        Ok(Self { esp, scope, local, remote, configuration })
    }

    fn child(&self, cx: &mut Shared) -> Child {
        Child {
            spi_in: cx.take_esp_spi(),
            spi_out: self.esp.spi,
            suite: self.esp.suite,
            pfs: Pfs::Undecided,
            additional: None,
            local: self.local.clone(),
            remote: self.remote.clone(),
            phase: ChildPhase::Live,
            rekey_at: None,
        }
    }
}

fn leased(grant: &Grant, request: AddressRequest) -> (Option<Ipv4Addr>, Option<std::net::Ipv6Addr>) {
    (grant.ipv4.filter(|_| request.ipv4), grant.ipv6.filter(|_| request.ipv6))
}

/// What the client may reach: the granted networks of the leased families, or all of these families.
fn allowed(grant: &Grant, inner: &[IpAddr]) -> Vec<TrafficSelector> {
    let families: Vec<_> =
        inner.iter().map(|address| if address.is_ipv4() { TrafficSelector::any_ipv4() } else { TrafficSelector::any_ipv6() }).collect();
    narrow_to_allowed(&families, &grant.selectors)
}

/// INTERNAL_IP4_SERVER and INTERNAL_IP6_SERVER are Windows' own attributes (MS-IKEE 2.2.8).
fn asks_as_windows(offer: &Offer) -> bool {
    offer.asked.iter().any(|kind| matches!(*kind, attribute::INTERNAL_IP4_SERVER | attribute::INTERNAL_IP6_SERVER))
}

/// What is answered on the link of the leased families, where TSr is narrowed.
fn on_link(grant: &Grant, inner: &[IpAddr]) -> Vec<TrafficSelector> {
    let is_leased = |selector: &&TrafficSelector| inner.iter().any(|address| address.is_ipv4() == selector.start.is_ipv4());
    if grant.selectors.is_empty() { Vec::new() } else { grant.link.iter().filter(is_leased).copied().collect() }
}

fn choose_esp(core: &Core, cx: &mut Shared, offer: &Offer) -> Result<ChosenEsp, Obstacle> {
    match select_esp(&core.granted_ciphers(), &offer.sa, None, false) {
        Ok(esp) => {
            core.event(cx, Event::EspProposals { offered: offer.sa.texts(), accepted: Some(esp.to_string()) });
            Ok(esp)
        }
        Err(mismatch) => {
            core.event(cx, Event::EspProposals { offered: mismatch.offered.clone(), accepted: None });
            let cause = core.explain(&mismatch);
            Err(Obstacle { kind: notify::NO_PROPOSAL_CHOSEN, stage: Stage::ChildSa, fault: Fault::PeerIncompatible, cause })
        }
    }
}

fn unacceptable_selectors(offer: &Offer, scope: &Scope) -> Obstacle {
    let cause = format!(
        "traffic selectors have nothing in common; offered TSi [{}] TSr [{}]; allowed TSi [{}] TSr [{}]",
        join(&offer.ts_i),
        join(&offer.ts_r),
        join(&scope.remote),
        join(&scope.local)
    );
    Obstacle { kind: notify::TS_UNACCEPTABLE, stage: Stage::ChildSa, fault: Fault::PeerIncompatible, cause }
}

fn join(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Older sessions of the same client end. IDi is vouched for by a certificate alone: under EAP two devices of one user may have the same (the
/// private address that Windows puts there, or what a profile that both have says), so the outer address must be the same too, and who is elsewhere
/// is asked whether it is there. Windows' vendor ID stands for the notify. Of a silent session nobody can tell whose device it is: a client
/// that has moved has another private address and another outer one, so the user alone decides.
fn announce_contact(core: &Core, cx: &mut Shared, offer: &Offer, owner: Arc<Owner>) {
    let elsewhere = match (offer.initial_contact, core.traits.initial_contact) {
        (true, _) if offer.eap => Elsewhere::IsAsked,
        (true, _) => Elsewhere::Ends,
        (false, true) => Elsewhere::Stays,
        (false, false) => return,
    };
    cx.replaces.push(Replace { by: core.id, owner, remote: core.path.remote.ip(), elsewhere });
}
