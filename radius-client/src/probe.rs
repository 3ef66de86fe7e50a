//! Signs of life: what tells a slow server from a dead one, and a dead one from one that is back.
use crate::api::{Change, Credentials, NasContext, Output, Probe, RequireMessageAuthenticator, Server, SocketId};
use crate::attributes::number;
use crate::authentication::Proof;
use crate::client::{Client, Request, Timer, Work};
use crate::codec::{Builder, Envelope, Packet, code};
use crate::request::{Access, BadRequest, nas_identifier, put_nas};
use crate::retry;
use crate::table::{Line, Number, PeerKey};
use crate::validate::Purpose;
use crypto::Zeroizing;
use std::time::{Duration, Instant};

/// How long a probe waits; it is never repeated (RFC 5997 section 4.2).
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// A Status-Server, or the Access-Request of a user that need not exist, with a password of random bytes.
pub(crate) fn write(server: &Server, envelope: &Envelope, nobodys: &[u8; 16]) -> Result<Vec<u8>, BadRequest> {
    let nas = NasContext { nas_identifier: "probe".into(), ..NasContext::default() };
    match &server.probe {
        Probe::User(name) => {
            // Nobody's password, and another one each time.
            let password = Zeroizing::new(nobodys.iter().map(|byte| b'a' + byte % 26).collect());
            let proof = Proof::Login(Box::new(Credentials::Pap { password }));
            Access { user_name: name.as_bytes(), nas: &nas, proof: &proof, state: None }.write(envelope, server)
        }
        Probe::StatusServer | Probe::Off => {
            let mut packet = Builder::request(code::STATUS_SERVER, envelope);
            put_nas(&mut packet, &nas, server)?;
            packet.put(number::NAS_IDENTIFIER, nas_identifier(&nas, server).as_bytes());
            Ok(packet.sign(&server.secret)?)
        }
    }
}

impl Client {
    /// Asks for a sign of life, one question at a time, of a connection where it is about one.
    pub(crate) fn probe(&mut self, now: Instant, key: PeerKey, on: Option<SocketId>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.server.probe == Probe::Off || std::mem::replace(&mut peer.probed, true) {
            return;
        }
        if self.send_on(now, key, Work::Probe, on).is_err()
            && let Some(peer) = self.peers.get_mut(key)
        {
            peer.probed = false;
        }
    }

    /// The time to ask a dead server has come.
    pub(crate) fn probe_dead(&mut self, now: Instant, key: PeerKey) {
        let dead = self.peers.get(key).is_some_and(|peer| peer.health(Purpose::Authentication).is_dead());
        if dead && self.peers.is_configured(key) {
            self.probe(now, key, None);
            self.probe_later(now, key);
        }
    }

    fn probe_later(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.server.probe != Probe::Off) else { return };
        let interval = retry::jittered(peer.server.revive_interval, &mut *self.random);
        self.timers.insert((now + interval, Timer::Probe(key)));
    }

    /// A port of a server does not answer any more.
    pub(crate) fn died(&mut self, now: Instant, line: Line) {
        let Some(peer) = self.peers.get_mut(line.peer) else { return };
        let interval = peer.server.revive_interval;
        if !peer.health_mut(line.purpose).failed(now, interval) {
            return;
        }
        let accounting = line.purpose == Purpose::Accounting;
        self.outputs.push_back(Output::Server { server: peer.server.name.clone(), change: Change::Died { accounting } });
        if !accounting {
            self.probe_later(now, line.peer);
        }
    }

    /// A valid reply came.
    pub(crate) fn heard(&mut self, now: Instant, request: &Request) {
        let line = request.line;
        let Some(peer) = self.peers.get_mut(line.peer) else { return };
        peer.counters.accepted += 1;
        peer.connected();
        peer.probed &= !matches!(request.work, Work::Probe);
        let health = peer.health_mut(line.purpose);
        // After a repetition nobody can tell which of both was answered.
        if request.transmissions == 1 {
            health.round_trip = Some(now.saturating_duration_since(request.began));
        }
        if let Some(after) = health.answered(now) {
            let change = Change::Returned { accounting: line.purpose == Purpose::Accounting, after };
            self.outputs.push_back(Output::Server { server: peer.server.name.clone(), change });
            // The probes are about the port for logins alone.
            if line.purpose == Purpose::Authentication {
                self.timers.retain(|(_, timer)| *timer != Timer::Probe(line.peer));
            }
        }
    }

    /// Takes note of a first Message-Authenticator that could have been left out. One beside EAP could not, and servers exist that know it there
    /// alone (FreeRADIUS before 3.2.5).
    pub(crate) fn note_signature(&mut self, request: &Request, reply: &Packet<'_>) {
        let line = request.line;
        let optional =
            matches!(request.slot.number, Number::Identifier(_)) && matches!(&request.work, Work::Authentication(work) if !work.is_eap());
        let signed = optional && reply.first(number::MESSAGE_AUTHENTICATOR).is_some();
        let Some(peer) = self.peers.get_mut(line.peer).filter(|peer| signed && !peer.signs) else { return };
        peer.signs = true;
        if peer.server.require_message_authenticator == RequireMessageAuthenticator::Auto {
            self.outputs.push_back(Output::Server { server: peer.server.name.clone(), change: Change::SendsMessageAuthenticator });
        }
    }
}
