//! What a login came to, in PPP's and SSTP's words.
use super::super::authenticate::Verdict;
use super::{Call, Feed, Gateway, Now, Plane};
use crate::login::Granted;
use crate::outcome::{CloseReason, Failure, Fault, Stage};
use crypto::Zeroizing;
use ike::SessionId;
use ppp::{Answer, AskId, ChangePassword, Network};
use radius_client::{Accept, Credentials};
use sstp::InnerKeys;
use std::net::{IpAddr, Ipv4Addr};

/// Octets of the higher-layer authentication key ([MS-SSTP] 3.2.5.2.2).
const HLAK_LEN: usize = 32;

impl<P: Plane> Gateway<P> {
    /// What RADIUS and policy said, for the link.
    pub(in super::super) fn answer_ppp(&mut self, now: Now, session: SessionId, id: AskId, verdict: Verdict) {
        let failed_radius =
            self.live.get(&session).and_then(|live| live.login.as_ref()).is_some_and(|login| login.fault == Some(Fault::Dependency));
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.answered(id);
        match verdict {
            Verdict::Continue { packet } => call.feeds.push_back(Feed::Answer(id, Answer::EapContinue { packet })),
            Verdict::Granted { eap, message, accept, granted } => {
                call.grant(id, eap, message, &accept, &granted);
                if let Some(failure) = granted.address_failure {
                    self.hang_up_later(session, CloseReason::Failed, Stage::Address, Fault::Refused, failure);
                }
            }
            Verdict::Refused { eap, message, denied } => {
                let reason = denied.cause.clone();
                call.refusal = Some(denied);
                if failed_radius {
                    // No word of PPP's authentication says "come back later", and a wrong password it was not.
                    self.hang_up_later(session, CloseReason::Failed, Stage::Radius, Fault::Dependency, reason);
                } else {
                    call.feeds.push_back(Feed::Answer(id, Answer::Reject { eap, message }));
                }
            }
        }
        self.run(now, session);
    }

    /// Ends a call for a reason of ours, once what is queued for the client has been said.
    pub(super) fn hang_up_later(&mut self, session: SessionId, reason: CloseReason, stage: Stage, fault: Fault, cause: String) {
        let Some(call) = self.calls.get_mut(&session) else { return };
        call.closing.get_or_insert(reason);
        call.feeds.push_back(Feed::Terminate(cause.clone()));
        call.failure.get_or_insert(Failure { stage, fault, notify: None, eap: None, remedy: None, cause });
        self.hold(session);
    }

    /// Calls of the same user from the same computer, older than this one and not ending yet: what is left of a connection that broke.
    pub(super) fn stale_calls(&self, session: SessionId) -> Vec<SessionId> {
        let Some(live) = self.live.get(&session) else { return Vec::new() };
        let granted = live.login.as_ref().and_then(|login| login.granted.as_ref());
        let same = granted.and_then(|granted| self.roll.of_client(live, &granted.user));
        let stays = |id: &SessionId| self.calls.get(id).is_some_and(|call| call.closing.is_none());
        same.into_iter().flat_map(|same| same.range(..session)).copied().filter(stays).collect()
    }
}

impl Call {
    fn grant(&mut self, id: AskId, eap: Vec<u8>, message: Vec<u8>, accept: &Accept, granted: &Granted) {
        self.refusal = None;
        self.feeds.push_back(Feed::Authenticated(inner_keys(&accept.msk)));
        let network = Box::new(network(granted, self.settings.inner_ipv4));
        self.feeds.push_back(Feed::Answer(id, Answer::Accept { eap, message, network }));
    }
}

pub(super) fn change(identifier: u8, challenge: [u8; 16], change: ChangePassword) -> Credentials {
    let ChangePassword { encrypted_password, encrypted_hash, peer_challenge, nt_response, flags } = change;
    Credentials::MsChapV2Change {
        identifier,
        challenge,
        encrypted_password: Box::new(encrypted_password),
        encrypted_hash,
        peer_challenge,
        nt_response,
        flags,
    }
}

/// That a method which makes keys came without them has been refused before; what has none here makes none (PAP, CHAP).
fn inner_keys(msk: &[u8]) -> InnerKeys {
    if msk.is_empty() {
        return InnerKeys::Keyless;
    }
    let mut hlak = Zeroizing::new([0; HLAK_LEN]);
    let length = msk.len().min(HLAK_LEN);
    hlak[..length].copy_from_slice(&msk[..length]);
    InnerKeys::Hlak(hlak)
}

fn network(granted: &Granted, ours: Ipv4Addr) -> Network {
    let ipv4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    Network {
        ipv4: granted.ipv4,
        gateway_ipv4: Some(ours),
        dns: granted.dns.iter().filter_map(ipv4).collect(),
        nbns: granted.nbns.clone(),
        ipv6: granted.ipv6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_takes_the_first_half_of_the_msk() {
        let msk: Vec<u8> = (0..64).collect();
        let InnerKeys::Hlak(hlak) = inner_keys(&msk) else { panic!() };
        assert_eq!(hlak[..], msk[..32]);
        let InnerKeys::Hlak(short) = inner_keys(&msk[..16]) else { panic!() };
        assert_eq!((&short[..16], &short[16..]), (&msk[..16], &[0; 16][..]));
        assert!(matches!(inner_keys(&[]), InnerKeys::Keyless));
    }
}
