//! Signs of life: what tells a slow server from a dead one, and a dead one from one that is back.
use crate::api::{Change, Credentials, NasContext, Output, Probe, RadiusVersion, RequireMessageAuthenticator, Server, SocketId};
use crate::attributes::number;
use crate::authentication::Proof;
use crate::client::{Client, Loss, Request, Timer, Work};
use crate::codec::{Builder, Envelope, Packet, code};
use crate::mppe::Hiding;
use crate::request::{Access, BadRequest, nas_identifier, put_nas};
use crate::retry;
use crate::table::{Line, Number, PeerKey};
use crate::validate::{Expected, Purpose};
use crypto::{Random, Zeroizing};
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

    pub(crate) fn probe_lost(&mut self, now: Instant, request: &Request, loss: &Loss<'_>) {
        let Some(peer) = self.peers.get_mut(request.line.peer) else { return };
        peer.probed = false;
        if !matches!(loss, Loss::Silence) {
            return;
        }
        let health = peer.health_mut(request.line.purpose);
        health.probe_unanswered();
        let dead = health.is_dead();
        if peer.server.is_tls() {
            self.hang_up(now, request.slot.socket, "the server did not answer Status-Server", true);
        } else if dead {
            self.reroute(now, request.line);
        }
    }

    /// The silence so far does not mean that the server is dead: it may wait for a second factor, for which another server would ask once more. Without
    /// a probe nothing tells but what it said before, and whether it is silent to others too; a conversation under way has no other server to go to.
    pub(crate) fn may_live(&self, request: &Request) -> bool {
        let Some(peer) = self.peers.get(request.line.peer) else { return false };
        let health = peer.health(request.line.purpose);
        match &request.work {
            _ if health.alive_since(request.began) => true,
            // What cannot be believed is an answer, too: it is not the user who keeps the server from a good one.
            Work::Authentication(_) if request.disbelieved => false,
            Work::Authentication(work) if peer.server.probe == Probe::Off => {
                self.is_challenged(work.conversation) || health.may_be_slow(request.began)
            }
            _ => false,
        }
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
        if matches!(request.work, Work::Authentication(_)) {
            peer.latency.count(now.saturating_duration_since(request.began));
        }
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

/// A sign of life asked for by hand, outside of any [`Client`]: one datagram, never repeated (RFC 5997 section 4.2). As [`Server::probe`] says; where
/// that is off, a Status-Server, for which no login is counted.
#[derive(Debug)]
pub struct Knock {
    bytes: Vec<u8>,
    envelope: Envelope,
}

impl Knock {
    /// # Errors
    /// Why the server's settings make no request, in words.
    pub fn new(server: &Server, version: RadiusVersion, random: &mut dyn Random) -> Result<Self, String> {
        let (mut authenticator, mut nobodys, mut number) = ([0; 16], [0; 16], [0; 4]);
        random.fill(&mut authenticator);
        random.fill(&mut nobodys);
        random.fill(&mut number);
        let envelope = match version {
            RadiusVersion::V1_0 => Envelope::Identified { identifier: number[0], authenticator },
            RadiusVersion::V1_1 => Envelope::Token(u32::from_be_bytes(number)),
        };
        let bytes = write(server, &envelope, &nobodys).map_err(|reason| reason.to_string())?;
        Ok(Self { bytes, envelope })
    }

    /// What goes to the server's port for logins.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether this datagram is the answer, of whom knows the secret.
    ///
    /// # Errors
    /// Why it is not, in words.
    pub fn answered(&self, server: &Server, datagram: &[u8]) -> Result<(), String> {
        let reply = Packet::parse(datagram).map_err(|malformed| malformed.to_string())?;
        let (is_ours, hiding) = match &self.envelope {
            Envelope::Identified { identifier, authenticator } => {
                (reply.identifier() == *identifier, Hiding::Secret { request_authenticator: authenticator, secret: &server.secret })
            }
            Envelope::Token(token) => (reply.token() == *token, Hiding::Tls),
        };
        if !is_ours {
            return Err("it answers another request".into());
        }
        let expected = Expected {
            purpose: Purpose::Authentication,
            hiding,
            // As for the client's own probes.
            require_message_authenticator: false,
        };
        expected.check(&reply).map_err(|dropped| dropped.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Transport;
    use crypto::SeededRandom;

    fn server(probe: Probe) -> Server {
        let transport = Transport::Udp { auth: "192.0.2.1:1812".parse().unwrap(), accounting: None };
        Server { probe, nas_identifier: Some("vpn".into()), ..Server::new("nps1", transport, b"xyzzy5461") }
    }

    /// An answer of who knows `secret`, without Message-Authenticator.
    fn reply(knock: &Knock, secret: &[u8]) -> Vec<u8> {
        let mut reply = vec![code::ACCESS_REJECT, knock.bytes()[1], 0, 20];
        reply.extend([0; 16]);
        let Envelope::Identified { authenticator, .. } = &knock.envelope else { panic!("{knock:?}") };
        let signature = Packet::parse(&reply).unwrap().response_authenticator(authenticator, secret);
        reply[4..20].copy_from_slice(&signature);
        reply
    }

    #[test]
    fn a_knock_is_what_the_probe_of_the_server_says() {
        for (probe, wanted) in [
            (Probe::Off, code::STATUS_SERVER),
            (Probe::StatusServer, code::STATUS_SERVER),
            (Probe::User("nobody".into()), code::ACCESS_REQUEST),
        ] {
            let knock = Knock::new(&server(probe), RadiusVersion::V1_0, &mut SeededRandom::new(7)).unwrap();
            assert_eq!(Packet::parse(knock.bytes()).unwrap().code(), wanted);
        }
    }

    #[test]
    fn only_who_knows_the_secret_answers() {
        let server = server(Probe::StatusServer);
        let knock = Knock::new(&server, RadiusVersion::V1_0, &mut SeededRandom::new(7)).unwrap();
        assert_eq!(knock.answered(&server, &reply(&knock, b"xyzzy5461")), Ok(()));
        assert!(knock.answered(&server, &reply(&knock, b"another")).unwrap_err().contains("shared secret"));
        let mut other = reply(&knock, b"xyzzy5461");
        other[1] ^= 1;
        assert!(knock.answered(&server, &other).unwrap_err().contains("another request"));
        assert!(knock.answered(&server, &[1, 2, 3]).is_err());
    }
    #[test]
    fn over_tls_alone_the_token_tells_the_answer() {
        let server = server(Probe::User("nobody".into()));
        let knock = Knock::new(&server, RadiusVersion::V1_1, &mut SeededRandom::new(7)).unwrap();
        let asked = Packet::parse(knock.bytes()).unwrap();
        assert_eq!((asked.code(), asked.identifier()), (code::ACCESS_REQUEST, 0));
        assert!(asked.first(number::MESSAGE_AUTHENTICATOR).is_none(), "RFC 9765 section 5.2");
        let answer = |code: u8, token: u32| [&[code, 0x5a, 0, 20][..], &token.to_be_bytes(), &[7; 12]].concat();
        assert_eq!(knock.answered(&server, &answer(code::ACCESS_REJECT, asked.token())), Ok(()));
        assert_eq!(knock.answered(&server, &answer(code::PROTOCOL_ERROR, asked.token())), Ok(()), "somebody is there");
        assert!(knock.answered(&server, &answer(code::ACCESS_REJECT, asked.token() + 1)).unwrap_err().contains("another request"));
        assert!(knock.answered(&server, &answer(code::ACCOUNTING_RESPONSE, asked.token())).is_err());
    }
}
