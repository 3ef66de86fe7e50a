//! The client's half of EAP with EAP-MSCHAPv2 (RFC 3748, draft-kamath-pppext-eap-mschapv2).
use crate::mschapv2::{CHALLENGE, Exchange};
use crypto::{Random, Zeroizing, constant_time_eq};
use eap::{Code, Packet, method};

const CHALLENGE_CODE: u8 = 1;
const RESPONSE_CODE: u8 = 2;
const SUCCESS_CODE: u8 = 3;
const FAILURE_CODE: u8 = 4;

/// Peer-Challenge, 8 reserved, NT-Response, Flags.
const RESPONSE_VALUE: u8 = 49;

/// What the peer does next.
#[derive(Debug, Default)]
pub struct PeerStep {
    /// The answer, if there is one.
    pub packet: Option<Vec<u8>>,
    /// Set by an EAP-Success that came after a verified server: 64 bytes.
    pub msk: Option<Zeroizing<Vec<u8>>>,
    /// Why the login will not succeed, or why the request was ignored.
    pub error: Option<PeerError>,
}

/// What went wrong, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error(transparent)]
    Malformed(#[from] eap::Malformed),
    #[error("EAP-MSCHAPv2 packet with code {code} and {length} bytes of data")]
    BadMethodData { code: u8, length: usize },
    /// The server does not know the password.
    #[error("the server's authenticator response is wrong")]
    ServerUnverified,
    /// Text of the Failure-Request, such as `E=691 R=1 C=.. V=3`.
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("EAP-Failure")]
    Failure,
    #[error("EAP-Success before the server proved itself")]
    EarlySuccess,
}

/// An EAP peer that knows a user and a password.
pub struct EapPeer {
    user: String,
    password: Zeroizing<String>,
    random: Box<dyn Random>,
    exchange: Option<Exchange>,
    verified: bool,
    /// The last request with its answer: a repeated request gets it again (RFC 3748 section 4.1).
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for EapPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EapPeer").field("user", &self.user).field("verified", &self.verified).finish_non_exhaustive()
    }
}

impl EapPeer {
    pub fn new(user: impl Into<String>, password: impl Into<String>, random: Box<dyn Random>) -> Self {
        let password = Zeroizing::new(password.into());
        Self { user: user.into(), password, random, exchange: None, verified: false, last: None }
    }

    /// Takes a packet of the server.
    pub fn answer(&mut self, request: &[u8]) -> PeerStep {
        if let Some((_, answer)) = self.last.as_ref().filter(|(last, _)| last == request) {
            return PeerStep { packet: Some(answer.clone()), ..PeerStep::default() };
        }
        let step = match Packet::parse(request) {
            Ok(packet) => self.packet(&packet),
            Err(error) => Err(error.into()),
        };
        let step = step.unwrap_or_else(|error| PeerStep { error: Some(error), ..PeerStep::default() });
        if let Some(packet) = &step.packet {
            self.last = Some((request.to_vec(), packet.clone()));
        }
        step
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Result<PeerStep, PeerError> {
        match (packet.code(), packet.method()) {
            (Code::Request, Some(method::IDENTITY)) => Ok(response(packet, method::IDENTITY, self.user.as_bytes())),
            (Code::Request, Some(method::NOTIFICATION)) => Ok(response(packet, method::NOTIFICATION, &[])),
            (Code::Request, Some(method::MSCHAPV2)) => self.mschapv2(packet),
            (Code::Request, _) => Ok(response(packet, method::NAK, &[method::MSCHAPV2])),
            (Code::Success, _) => self.success(),
            (Code::Failure, _) => Err(PeerError::Failure),
            // A peer hears no responses.
            (Code::Response, _) => Ok(PeerStep::default()),
        }
    }

    fn mschapv2(&mut self, packet: &Packet<'_>) -> Result<PeerStep, PeerError> {
        let bad = || PeerError::BadMethodData { code: packet.data().first().copied().unwrap_or(0), length: packet.data().len() };
        let [code, identifier, high, low, ref value @ ..] = *packet.data() else { return Err(bad()) };
        if usize::from(u16::from_be_bytes([high, low])) != packet.data().len() {
            return Err(bad());
        }
        match code {
            CHALLENGE_CODE => {
                let challenge = value.split_first().filter(|(size, _)| usize::from(**size) == CHALLENGE);
                let challenge = challenge.and_then(|(_, rest)| rest.first_chunk()).ok_or_else(bad)?;
                Ok(response(packet, method::MSCHAPV2, &self.respond(identifier, *challenge)))
            }
            SUCCESS_CODE => self.verify(packet, value),
            FAILURE_CODE => {
                let answer = response(packet, method::MSCHAPV2, &[FAILURE_CODE]);
                Ok(PeerStep { error: Some(PeerError::Refused(String::from_utf8_lossy(value).into_owned())), ..answer })
            }
            _ => Err(bad()),
        }
    }

    /// The Response packet to a challenge.
    fn respond(&mut self, identifier: u8, authenticator_challenge: [u8; CHALLENGE]) -> Vec<u8> {
        let mut peer_challenge = [0; CHALLENGE];
        self.random.fill(&mut peer_challenge);
        let (user, password) = (self.user.clone(), self.password.clone());
        let exchange = Exchange { authenticator_challenge, peer_challenge, user, password };
        let mut body = vec![RESPONSE_VALUE];
        body.extend_from_slice(&peer_challenge);
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&exchange.nt_response());
        body.push(0);
        body.extend_from_slice(self.user.as_bytes());
        self.exchange = Some(exchange);
        self.verified = false;
        let length = (4 + body.len()) as u16;
        [&[RESPONSE_CODE, identifier][..], &length.to_be_bytes(), &body].concat()
    }

    /// A Success-Request: the server must know the password too.
    fn verify(&mut self, packet: &Packet<'_>, message: &[u8]) -> Result<PeerStep, PeerError> {
        let wanted = self.exchange.as_ref().ok_or(PeerError::ServerUnverified)?.authenticator_response();
        if !message.get(..wanted.len()).is_some_and(|got| constant_time_eq(&got.to_ascii_uppercase(), wanted.as_bytes())) {
            return Err(PeerError::ServerUnverified);
        }
        self.verified = true;
        Ok(response(packet, method::MSCHAPV2, &[SUCCESS_CODE]))
    }

    fn success(&mut self) -> Result<PeerStep, PeerError> {
        let exchange = self.exchange.as_ref().filter(|_| self.verified).ok_or(PeerError::EarlySuccess)?;
        Ok(PeerStep { msk: Some(exchange.msk()), ..PeerStep::default() })
    }
}

fn response(request: &Packet<'_>, method: u8, data: &[u8]) -> PeerStep {
    PeerStep { packet: Some(eap::build(Code::Response, request.identifier(), method, data)), ..PeerStep::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SeededRandom;

    fn peer() -> EapPeer {
        EapPeer::new("EXAMPLE\\alice", "secret", Box::new(SeededRandom::new(3)))
    }

    fn request(method: u8, data: &[u8]) -> Vec<u8> {
        eap::build(Code::Request, 7, method, data)
    }

    fn mschapv2(code: u8, body: &[u8]) -> Vec<u8> {
        let length = (4 + body.len()) as u16;
        request(method::MSCHAPV2, &[&[code, 1][..], &length.to_be_bytes(), body].concat())
    }

    fn challenge() -> Vec<u8> {
        mschapv2(CHALLENGE_CODE, &[&[16][..], &[9; 16], b"server"].concat())
    }

    /// What a server that knows `password` says to the response.
    fn server_success(response: &[u8], password: &str) -> Vec<u8> {
        let data = Packet::parse(response).unwrap().data();
        let exchange = Exchange {
            authenticator_challenge: [9; 16],
            peer_challenge: data[5..21].try_into().unwrap(),
            user: "alice".into(),
            password: Zeroizing::new(password.into()),
        };
        let text = format!("{} M=welcome", exchange.authenticator_response());
        mschapv2(SUCCESS_CODE, text.as_bytes())
    }

    #[test]
    fn a_login() {
        let mut peer = peer();
        let identity = peer.answer(&eap::identity_request(1)).packet.unwrap();
        assert_eq!(Packet::parse(&identity).unwrap().identity(), Some(&b"EXAMPLE\\alice"[..]));
        let nak = peer.answer(&request(method::PEAP, &[0x20])).packet.unwrap();
        assert_eq!(Packet::parse(&nak).unwrap().nak(), Some(&[method::MSCHAPV2][..]));
        let answer = peer.answer(&challenge()).packet.unwrap();
        let data = Packet::parse(&answer).unwrap().data();
        assert_eq!((data[0], data[1], data[4], data.len()), (RESPONSE_CODE, 1, 49, 4 + 1 + 49 + 13));
        assert_eq!(usize::from(u16::from_be_bytes([data[2], data[3]])), data.len());
        assert_eq!((&data[21..29], data[53], &data[54..]), (&[0; 8][..], 0, &b"EXAMPLE\\alice"[..]));
        let success = peer.answer(&server_success(&answer, "secret")).packet.unwrap();
        assert_eq!(Packet::parse(&success).unwrap().data(), [SUCCESS_CODE]);
        let end = peer.answer(&eap::success(7));
        assert_eq!((end.packet, end.msk.map(|msk| msk.len()), end.error), (None, Some(64), None));
    }

    #[test]
    fn a_repeated_request_gets_the_same_answer() {
        let mut peer = peer();
        let first = peer.answer(&challenge()).packet.unwrap();
        assert_eq!(peer.answer(&challenge()).packet.unwrap(), first);
        assert!(peer.answer(&server_success(&first, "secret")).packet.is_some());
    }

    #[test]
    fn a_server_without_the_password_is_found_out() {
        let mut peer = peer();
        let answer = peer.answer(&challenge()).packet.unwrap();
        let step = peer.answer(&server_success(&answer, "guess"));
        assert_eq!((step.packet, step.error), (None, Some(PeerError::ServerUnverified)));
        let end = peer.answer(&eap::success(7));
        assert!(end.msk.is_none());
        assert_eq!(end.error, Some(PeerError::EarlySuccess));
    }

    #[test]
    fn success_without_a_method_gives_no_key() {
        assert_eq!(peer().answer(&eap::success(1)).error, Some(PeerError::EarlySuccess));
        assert_eq!(peer().answer(&mschapv2(SUCCESS_CODE, b"S=00")).error, Some(PeerError::ServerUnverified));
        assert_eq!(peer().answer(&eap::failure(1)).error, Some(PeerError::Failure));
    }

    #[test]
    fn a_refusal_is_acknowledged_with_its_text() {
        let mut peer = peer();
        peer.answer(&challenge());
        let step = peer.answer(&mschapv2(FAILURE_CODE, b"E=691 R=0 C=00 V=3"));
        assert_eq!(Packet::parse(&step.packet.unwrap()).unwrap().data(), [FAILURE_CODE]);
        assert_eq!(step.error, Some(PeerError::Refused("E=691 R=0 C=00 V=3".into())));
    }

    #[test]
    fn broken_method_data_is_ignored() {
        for data in [&[][..], &[1, 1, 0], &[1, 1, 0, 9, 16], &[1, 1, 0, 5, 16], &[1, 1, 0, 6, 8, 0], &[9, 1, 0, 4]] {
            let step = peer().answer(&request(method::MSCHAPV2, data));
            assert!(step.packet.is_none() && matches!(step.error, Some(PeerError::BadMethodData { .. })), "{data:?}");
        }
        assert!(matches!(peer().answer(&[1, 1, 0]).error, Some(PeerError::Malformed(_))));
    }
}
