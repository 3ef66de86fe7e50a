//! Who answers the machines' questions: cryptography at once or late, an authenticator that plays EAP-MD5 but makes a key, an EAP peer.
use crate::MSK;
use crypto::dh::PrivateKey;
use crypto::{SeededRandom, Zeroizing};
use ike::{Answer, Denial, EapAnswer, EapQuestion, Grant, Question, Stage};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How the authenticator behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eap {
    Accept,
    /// The method makes no key.
    AcceptWithoutKey,
    WrongPassword,
    /// Policy says no after the password was right.
    PolicyDenies,
    /// Never answers.
    Silent,
}

/// How the client's EAP side behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Honest,
    /// Derives another key than the authenticator.
    WrongKey,
    /// The method makes no key.
    Keyless,
    /// Answers with EAP-MD5 whatever it is asked.
    Md5,
}

/// Answers of one host.
#[derive(Debug)]
pub struct Answers {
    pub eap: Eap,
    pub peer: Peer,
    /// Which EAP method it is played as.
    pub method: u8,
    /// Identity of the EAP peer.
    pub identity: String,
    /// For key exchange and signatures.
    pub crypto_delay: Duration,
    /// For the authenticator, of EAP and of certificates, and for the EAP peer.
    pub eap_delay: Duration,
    /// What the grant says besides user and addresses.
    pub grant: Grant,
    /// What a certificate's holder is told.
    pub certificate_denial: Option<Denial>,
    /// So many of the next questions about key exchange find no room.
    pub busy: usize,
    /// Key exchanges that were computed, on either side of them.
    pub key_exchanges: usize,
    /// EAP questions that were asked.
    pub eap_questions: usize,
    /// A user who is there already gets the same addresses again.
    pub sticky: bool,
    random: SeededRandom,
    leases: u8,
    holders: BTreeMap<String, u8>,
}

impl Answers {
    pub fn new(seed: u64) -> Self {
        let grant = Grant {
            user: String::new(),
            ipv4: Some(Ipv4Addr::new(10, 99, 0, 0)),
            ipv6: Some(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 0)),
            address_failure: None,
            dns: vec![Ipv4Addr::new(10, 99, 255, 1).into()],
            selectors: Vec::new(),
            ..Grant::default()
        };
        Self {
            eap: Eap::Accept,
            peer: Peer::Honest,
            method: eap::method::MD5,
            identity: "alice".into(),
            crypto_delay: Duration::ZERO,
            eap_delay: Duration::ZERO,
            grant,
            certificate_denial: None,
            busy: 0,
            key_exchanges: 0,
            eap_questions: 0,
            random: SeededRandom::new(seed ^ 0x616e_7377),
            sticky: false,
            leases: 0,
            holders: BTreeMap::new(),
        }
    }

    /// The answer and how long it takes; `None` when it never comes.
    pub(crate) fn answer(&mut self, question: Question) -> Option<(Duration, Answer)> {
        self.key_exchanges += usize::from(matches!(question, Question::KeyExchange { .. } | Question::Agree { .. }));
        let is_exchange = matches!(question, Question::KeyExchange { .. } | Question::GenerateKeyPair { .. } | Question::Agree { .. });
        if is_exchange && self.busy > 0 {
            self.busy -= 1;
            return Some((self.crypto_delay, Answer::Busy));
        }
        Some(match question {
            Question::KeyExchange { group, peer_public, .. } => {
                (self.crypto_delay, Answer::KeyExchange(crypto::dh::respond(group, &peer_public, &mut self.random)))
            }
            Question::GenerateKeyPair { group } => {
                let (private, public) = PrivateKey::generate(group, &mut self.random);
                (self.crypto_delay, Answer::KeyPair { private, public })
            }
            Question::Agree { private, peer_public } => (self.crypto_delay, Answer::Agreed(private.agree(&peer_public))),
            Question::Sign { credential, scheme, data } => {
                let signature = credential.key.sign(scheme, &data).map_err(|mismatch| mismatch.to_string());
                (self.crypto_delay, Answer::Signature(signature))
            }
            Question::Eap(question) => (self.eap_delay, Answer::Eap(self.authenticate(&question)?)),
            Question::Certificate { certificate, .. } => {
                let result = match &self.certificate_denial {
                    Some(denial) => Err(denial.clone()),
                    None => Ok(Box::new(self.lease(certificate.common_name.as_deref().unwrap_or("?")))),
                };
                (self.eap_delay, Answer::Certificate(result))
            }
            Question::EapPeer { packet } => (self.eap_delay, self.eap_peer(&packet)),
        })
    }

    fn authenticate(&mut self, question: &EapQuestion) -> Option<EapAnswer> {
        self.eap_questions += 1;
        let packet = eap::Packet::parse(&question.packet).expect("the machine passes on well-formed packets");
        if self.eap == Eap::Silent {
            return None;
        }
        let next = packet.identifier().wrapping_add(1);
        if packet.identity().is_some() {
            let challenge = eap::build(eap::Code::Request, next, self.method, b"\x10challenge-of-16b");
            return Some(EapAnswer::Continue { packet: challenge });
        }
        if let Some(&wanted) = packet.nak().and_then(<[u8]>::first) {
            return Some(EapAnswer::Continue { packet: eap::build(eap::Code::Request, next, wanted, b"\x10challenge-of-16b") });
        }
        let user = String::from_utf8_lossy(&question.identity).into_owned();
        Some(match self.eap {
            Eap::WrongPassword => fail(packet.identifier(), Stage::Radius, "wrong password"),
            Eap::PolicyDenies => fail(packet.identifier(), Stage::Policy, "policy \"nights\" does not match"),
            Eap::Accept | Eap::AcceptWithoutKey | Eap::Silent => {
                let msk = if self.eap == Eap::Accept { MSK.to_vec() } else { Vec::new() };
                let grant = Box::new(self.lease(&user));
                EapAnswer::Success { packet: eap::success(packet.identifier()), msk: Zeroizing::new(msk), grant }
            }
        })
    }

    fn lease(&mut self, user: &str) -> Grant {
        self.leases += 1;
        let held = *self.holders.entry(user.to_owned()).or_insert(self.leases);
        let lease = if self.sticky { held } else { self.leases };
        let mut grant = self.grant.clone();
        grant.user = user.to_owned();
        grant.ipv4 = grant.ipv4.map(|address| Ipv4Addr::from_bits(address.to_bits() + u32::from(lease)));
        grant.ipv6 = grant.ipv6.map(|address| Ipv6Addr::from_bits(address.to_bits() + u128::from(lease)));
        grant
    }

    fn eap_peer(&self, packet: &[u8]) -> Answer {
        let request = eap::Packet::parse(packet).expect("the machine passes on well-formed packets");
        let key = match self.peer {
            Peer::Honest | Peer::Md5 => MSK.to_vec(),
            Peer::WrongKey => vec![1; 64],
            Peer::Keyless => Vec::new(),
        };
        let respond = |method, data: &[u8]| Some(eap::build(eap::Code::Response, request.identifier(), method, data));
        let (packet, msk) = match (request.code(), request.method()) {
            (eap::Code::Success, _) => (None, Some(Zeroizing::new(key))),
            (eap::Code::Request, Some(eap::method::IDENTITY)) => (respond(eap::method::IDENTITY, self.identity.as_bytes()), None),
            (eap::Code::Request, Some(_)) if self.peer == Peer::Md5 => (respond(eap::method::MD5, b"\x10response-of-16-b"), None),
            (eap::Code::Request, Some(method)) => (respond(method, b"\x10response-of-16-b"), None),
            (eap::Code::Request | eap::Code::Failure | eap::Code::Response, _) => (None, None),
        };
        Answer::EapPeer { packet, msk }
    }
}

fn fail(identifier: u8, stage: Stage, cause: &str) -> EapAnswer {
    EapAnswer::Failure { packet: eap::failure(identifier), denial: Denial { stage, cause: cause.into() } }
}
