//! The client's side of PAP, CHAP, MS-CHAPv2 and EAP-MSCHAPv2 inside PPP.

use std::path::PathBuf;

use crate::eap_tls::{self, EapTls};
use crate::error::{Error, Result, Stage};
use crate::mschap::{self, Exchange};
use crate::ncp::{ControlPacket, frame};

/// PPP protocol numbers.
pub const PAP: u16 = 0xc023;
/// CHAP, with MD5 or as MS-CHAPv2.
pub const CHAP: u16 = 0xc223;
/// EAP.
pub const EAP: u16 = 0xc227;

const EAP_IDENTITY: u8 = 1;
const EAP_NOTIFICATION: u8 = 2;
const EAP_NAK: u8 = 3;
const EAP_MSCHAPV2: u8 = 26;
const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;
const CHANGE_PASSWORD: u8 = 7;

/// How to authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Password in clear.
    Pap,
    /// CHAP with MD5.
    Chap,
    /// MS-CHAPv2 directly in PPP.
    Mschapv2,
    /// EAP with MSCHAPv2 inside (type 26).
    #[default]
    Eap,
    /// EAP with a client certificate (type 13).
    EapTls,
}

impl Method {
    /// The value of LCP's authentication option.
    pub fn option(self) -> &'static [u8] {
        match self {
            Self::Pap => &[0xc0, 0x23],
            Self::Chap => &[0xc2, 0x23, 5],
            Self::Mschapv2 => &[0xc2, 0x23, 0x81],
            Self::Eap | Self::EapTls => &[0xc2, 0x27],
        }
    }
}

/// Who logs in.
#[derive(Clone, Default)]
pub struct Credentials {
    /// As it is sent, with or without a domain.
    pub user: String,
    /// Tried one after the other where the server lets the client retry.
    pub passwords: Vec<String>,
    /// Set when the server says that the password has expired (E=648).
    pub new_password: Option<String>,
    /// Client certificate with its chain, and its private key (PEM), for EAP-TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Every authentication response is sent twice, as by a client that repeats while RADIUS is asked.
    pub repeat: bool,
    /// EAP-TLS: it leaves without a word once it has seen the RADIUS server's certificate.
    pub suspicious: bool,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a packet of the server leads to.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// To be sent.
    pub frames: Vec<Vec<u8>>,
    /// Authenticated, with this HLAK.
    pub hlak: Option<[u8; 32]>,
}

impl Step {
    fn send(frame: Vec<u8>) -> Result<Self> {
        Ok(Self { frames: vec![frame], hlak: None })
    }
}

/// One authentication.
#[derive(Debug)]
pub struct Auth {
    method: Method,
    credentials: Credentials,
    /// Index of the password in use.
    try_number: usize,
    exchange: Option<Exchange>,
    /// Identifier of the last packet that we sent.
    last_id: u8,
    /// The server proved that it knows the password.
    proved: bool,
    /// The E= number that an EAP-Failure will end with.
    failure: Option<(u32, String)>,
    tls: Option<EapTls>,
    name: String,
    /// The last request and what we answered: a request that comes again gets the same answer (RFC 3748 section 4.1).
    answered: Option<(Vec<u8>, Step)>,
}

impl Auth {
    /// Nothing sent yet.
    pub fn new(method: Method, credentials: Credentials) -> Self {
        Self {
            method,
            credentials,
            try_number: 0,
            exchange: None,
            last_id: 0,
            proved: false,
            failure: None,
            tls: None,
            name: String::new(),
            answered: None,
        }
    }

    /// What the client sends first: PAP only.
    pub fn start(&mut self) -> Vec<Vec<u8>> {
        if self.method != Method::Pap {
            return Vec::new();
        }
        let mut body = Vec::new();
        for text in [&self.credentials.user, self.password()] {
            body.push(text.len() as u8);
            body.extend(text.as_bytes());
        }
        vec![frame(PAP, 1, self.last_id, &body)]
    }

    /// The key that will be bound, as soon as our proof of the password is on its way.
    pub fn early_hlak(&self) -> Option<[u8; 32]> {
        self.exchange.as_ref().map(|exchange| exchange.keys().hlak())
    }

    /// The name the server gave in its challenge.
    pub fn server_name(&self) -> &str {
        &self.name
    }

    /// Takes a packet of an authentication protocol.
    pub fn handle(&mut self, protocol: u16, bytes: &[u8]) -> Result<Step> {
        let packet = ControlPacket::parse(bytes).ok_or_else(|| wrong(format!("packet {bytes:02x?} of {protocol:04x} is cut off")))?;
        if let Some((_, step)) = self.answered.as_ref().filter(|(request, step)| request == bytes && step.hlak.is_none()) {
            return Ok(Step { frames: step.frames[..1].to_vec(), hlak: None });
        }
        let mut step = match (self.method, protocol) {
            (Method::Pap, PAP) => self.pap(&packet),
            (Method::Chap, CHAP) => self.chap(&packet),
            (Method::Mschapv2, CHAP) => self.mschapv2(&packet),
            (Method::Eap | Method::EapTls, EAP) => self.eap(&packet),
            _ => Err(wrong(format!("protocol {protocol:04x} though {:?} was agreed", self.method))),
        }?;
        if self.credentials.repeat {
            step.frames = step.frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
        }
        self.answered = (!step.frames.is_empty()).then(|| (bytes.to_vec(), step.clone()));
        Ok(step)
    }

    fn pap(&mut self, packet: &ControlPacket<'_>) -> Result<Step> {
        self.check_id(packet)?;
        let text = packet.body.split_first().map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        match packet.code {
            2 => Ok(Step { hlak: Some([0; 32]), ..Step::default() }),
            3 => Err(refused(format!("Authenticate-Nak {text:?}"), None)),
            code => Err(wrong(format!("PAP code {code}"))),
        }
    }

    fn chap(&mut self, packet: &ControlPacket<'_>) -> Result<Step> {
        match packet.code {
            CHALLENGE => {
                let challenge = self.challenge(packet.body)?;
                self.last_id = packet.id;
                let mut body = vec![16];
                body.extend(mschap::chap_md5(packet.id, self.password(), challenge));
                body.extend(self.credentials.user.as_bytes());
                Step::send(frame(CHAP, RESPONSE, packet.id, &body))
            }
            SUCCESS => self.check_id(packet).map(|()| Step { hlak: Some([0; 32]), ..Step::default() }),
            FAILURE => Err(refused(format!("CHAP Failure {:?}", String::from_utf8_lossy(packet.body)), None)),
            code => Err(wrong(format!("CHAP code {code}"))),
        }
    }

    fn mschapv2(&mut self, packet: &ControlPacket<'_>) -> Result<Step> {
        match packet.code {
            CHALLENGE => {
                let challenge = self.challenge(packet.body)?.try_into().map_err(|_| wrong("the MS-CHAPv2 challenge must have 16 bytes"))?;
                self.last_id = packet.id;
                let body = self.response(challenge);
                Step::send(frame(CHAP, RESPONSE, packet.id, &body))
            }
            SUCCESS => {
                self.check_id(packet)?;
                self.check_success(packet.body)?;
                Ok(Step { hlak: Some(self.hlak()), ..Step::default() })
            }
            FAILURE => {
                self.check_id(packet)?;
                let failure = Failure::parse(packet.body)?;
                self.last_id = packet.id.wrapping_add(1);
                match self.second_try(&failure) {
                    Some((code, body)) => Step::send(frame(CHAP, code, self.last_id, &body)),
                    None => Err(refused(failure.text, Some(failure.error))),
                }
            }
            code => Err(wrong(format!("MS-CHAPv2 code {code}"))),
        }
    }

    /// What to answer to a Failure: a new password, another try, or nothing.
    fn second_try(&mut self, failure: &Failure) -> Option<(u8, Vec<u8>)> {
        if let (648, Some(new)) = (failure.error, self.credentials.new_password.take()) {
            let exchange = self.new_exchange(failure.challenge);
            let body = mschap::change_password(&exchange, &new, &random());
            self.exchange = Some(Exchange { password: new, ..exchange });
            return Some((CHANGE_PASSWORD, body));
        }
        if !failure.retry || self.try_number + 1 >= self.credentials.passwords.len() {
            return None;
        }
        self.try_number += 1;
        Some((RESPONSE, self.response(failure.challenge)))
    }

    fn eap(&mut self, packet: &ControlPacket<'_>) -> Result<Step> {
        match packet.code {
            1 => self.eap_request(packet),
            3 => {
                self.check_id(packet)?;
                if !self.proved {
                    return Err(wrong("EAP-Success before the method succeeded"));
                }
                let hlak = match &self.tls {
                    Some(tls) => tls.hlak()?,
                    None => self.hlak(),
                };
                Ok(Step { hlak: Some(hlak), ..Step::default() })
            }
            4 => {
                self.check_id(packet)?;
                let (code, text) = self.failure.take().map_or((None, "EAP-Failure".to_owned()), |(code, text)| (Some(code), text));
                Err(refused(text, code))
            }
            code => Err(wrong(format!("EAP code {code}"))),
        }
    }

    fn eap_request(&mut self, packet: &ControlPacket<'_>) -> Result<Step> {
        let Some((kind, data)) = packet.body.split_first() else { return Err(wrong("EAP request without a type")) };
        let id = packet.id;
        self.last_id = id;
        let answer = match *kind {
            EAP_IDENTITY => [&[EAP_IDENTITY], self.credentials.user.as_bytes()].concat(),
            EAP_NOTIFICATION => vec![EAP_NOTIFICATION],
            EAP_MSCHAPV2 if self.method == Method::Eap => self.eap_mschapv2(data)?,
            eap_tls::TYPE if self.method == Method::EapTls => self.eap_tls(data)?,
            _ => vec![EAP_NAK, if self.method == Method::Eap { EAP_MSCHAPV2 } else { eap_tls::TYPE }],
        };
        Step::send(frame(EAP, 2, id, &answer))
    }

    /// draft-kamath-pppext-eap-mschapv2-02 section 2. Returns the response from its type on.
    fn eap_mschapv2(&mut self, data: &[u8]) -> Result<Vec<u8>> {
        let inner = ControlPacket::parse(data).ok_or_else(|| wrong(format!("EAP-MSCHAPv2 packet {data:02x?} is cut off")))?;
        match inner.code {
            CHALLENGE => {
                let challenge = self.challenge(inner.body)?.try_into().map_err(|_| wrong("the challenge must have 16 bytes"))?;
                let body = self.response(challenge);
                Ok(inner_packet(RESPONSE, inner.id, &body))
            }
            SUCCESS => {
                self.check_success(inner.body)?;
                self.proved = true;
                Ok(vec![EAP_MSCHAPV2, SUCCESS])
            }
            FAILURE => {
                let failure = Failure::parse(inner.body)?;
                if let Some((code, body)) = self.second_try(&failure) {
                    return Ok(inner_packet(code, inner.id.wrapping_add(1), &body));
                }
                self.failure = Some((failure.error, failure.text));
                Ok(vec![EAP_MSCHAPV2, FAILURE])
            }
            code => Err(wrong(format!("EAP-MSCHAPv2 operation {code}"))),
        }
    }

    fn eap_tls(&mut self, data: &[u8]) -> Result<Vec<u8>> {
        let tls = match &mut self.tls {
            Some(tls) => tls,
            none => {
                let files = self.credentials.certificate.as_ref();
                let (certificate, key) = files.ok_or_else(|| Error::Setup("EAP-TLS needs a certificate and its key".into()))?;
                none.insert(EapTls::new(certificate, key)?)
            }
        };
        let response = tls.handle(data)?;
        if self.credentials.suspicious && tls.has_seen_a_certificate() {
            return Err(wrong("the RADIUS server's certificate was not to be trusted"));
        }
        self.proved = tls.finished();
        Ok(response)
    }

    /// Value and name of a Challenge.
    fn challenge<'a>(&mut self, body: &'a [u8]) -> Result<&'a [u8]> {
        let value = body.split_first().and_then(|(size, rest)| rest.split_at_checked(usize::from(*size)));
        let (value, name) = value.ok_or_else(|| wrong(format!("challenge {body:02x?} is cut off")))?;
        self.name = String::from_utf8_lossy(name).into_owned();
        if value.is_empty() || value.iter().all(|byte| *byte == 0) {
            return Err(wrong("the challenge is empty or zero"));
        }
        Ok(value)
    }

    /// Size, value and name of a Response.
    fn response(&mut self, challenge: [u8; 16]) -> Vec<u8> {
        let exchange = self.new_exchange(challenge);
        let mut body = vec![49];
        body.extend(exchange.response());
        body.extend(self.credentials.user.as_bytes());
        self.exchange = Some(exchange);
        body
    }

    fn new_exchange(&self, authenticator_challenge: [u8; 16]) -> Exchange {
        let user = self.credentials.user.clone();
        Exchange { authenticator_challenge, peer_challenge: random(), user, password: self.password().to_owned() }
    }

    fn check_success(&self, message: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(message);
        let exchange = self.exchange.as_ref().ok_or_else(|| wrong("MS-CHAPv2 Success before any response"))?;
        let wanted = exchange.authenticator_response();
        let rest = text.strip_prefix(&wanted);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" M=")) {
            return Err(wrong(format!("the server's authenticator response does not prove the password: {text:?}")));
        }
        Ok(())
    }

    fn check_id(&self, packet: &ControlPacket<'_>) -> Result<()> {
        if packet.id != self.last_id {
            return Err(wrong(format!("identifier {} in answer to {}", packet.id, self.last_id)));
        }
        Ok(())
    }

    fn hlak(&self) -> [u8; 32] {
        self.exchange.as_ref().map_or([0; 32], |exchange| exchange.keys().hlak())
    }

    fn password(&self) -> &str {
        self.credentials.passwords.get(self.try_number).map_or("", String::as_str)
    }
}

fn inner_packet(code: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![EAP_MSCHAPV2, code, id];
    packet.extend((body.len() as u16 + 4).to_be_bytes());
    packet.extend(body);
    packet
}

/// `E=eee R=r C=<32 hexadecimal digits> V=3 M=text` (RFC 2759 section 6).
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    error: u32,
    retry: bool,
    challenge: [u8; 16],
    text: String,
}

impl Failure {
    fn parse(message: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(message).into_owned();
        let bad = |what: &str| wrong(format!("MS-CHAPv2 failure {text:?}: {what}"));
        let (fields, _) = text.split_once(" M=").unwrap_or((&text, ""));
        let mut fields = fields.split(' ').filter_map(|field| field.split_once('='));
        let mut next = |name: &str| fields.next().filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned());
        let error = next("E").and_then(|value| value.parse().ok()).ok_or_else(|| bad("it must begin with E= and a number"))?;
        let retry = next("R").filter(|value| value == "0" || value == "1").ok_or_else(|| bad("R=0 or R=1 must follow"))? == "1";
        let challenge = next("C").and_then(|value| unhex(&value)).ok_or_else(|| bad("C= and 32 hexadecimal digits must follow"))?;
        if next("V").as_deref() != Some("3") {
            return Err(bad("V=3 must follow"));
        }
        Ok(Self { error, retry, challenge, text })
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // It fails only where the operating system has no randomness at all, and then nothing can be tested.
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

fn wrong(what: impl Into<String>) -> Error {
    Error::protocol(Stage::Auth, what)
}

fn refused(what: String, code: Option<u32>) -> Error {
    Error::Refused { stage: Stage::Auth, what, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(method: Method) -> Auth {
        let passwords = vec!["wrong".to_owned(), "right".to_owned()];
        Auth::new(method, Credentials { user: "alice".into(), passwords, ..Credentials::default() })
    }

    /// A packet as it stands behind the protocol number.
    fn packet(code: u8, id: u8, body: &[u8]) -> Vec<u8> {
        frame(0, code, id, body)[4..].to_vec()
    }

    fn challenge() -> Vec<u8> {
        [&[16][..], &[5; 16], b"vpn"].concat()
    }

    #[test]
    fn pap_sends_name_and_password() {
        let sent = auth(Method::Pap).start();
        assert_eq!(sent, [b"\xff\x03\xc0\x23\x01\x00\x00\x10\x05alice\x05wrong".to_vec()]);
        let mut pap = auth(Method::Pap);
        assert_eq!(pap.handle(PAP, &packet(2, 0, &[0])).unwrap().hlak, Some([0; 32]));
        assert_eq!(pap.handle(PAP, &packet(3, 0, b"\x02no")).unwrap_err().kind(), "refused");
    }

    #[test]
    fn mschapv2_retries_with_the_next_password_and_verifies_the_server() {
        let mut client = auth(Method::Mschapv2);
        let step = client.handle(CHAP, &packet(CHALLENGE, 7, &challenge())).unwrap();
        assert_eq!((step.frames[0].len(), client.server_name()), (4 + 4 + 1 + 49 + 5, "vpn"));
        let failure = format!("E=691 R=1 C={} V=3 M=no", "0A".repeat(16));
        let again = client.handle(CHAP, &packet(FAILURE, 7, failure.as_bytes())).unwrap().frames.remove(0);
        assert_eq!((again[4], again[5]), (RESPONSE, 8));
        let exchange = client.exchange.clone().unwrap();
        assert_eq!((exchange.password.as_str(), exchange.authenticator_challenge), ("right", [10; 16]));
        let success = format!("{} M=hello", exchange.authenticator_response());
        assert_eq!(client.handle(CHAP, &packet(SUCCESS, 8, success.as_bytes())).unwrap().hlak, Some(exchange.keys().hlak()));
        let lie = success.replace("S=", "S=0");
        assert_eq!(client.handle(CHAP, &packet(SUCCESS, 8, lie.as_bytes())).unwrap_err().kind(), "protocol");
        let last = client.handle(CHAP, &packet(FAILURE, 8, failure.as_bytes())).unwrap_err();
        assert_eq!((last.kind(), last.code()), ("refused", Some(691)));
    }

    #[test]
    fn an_expired_password_is_changed() {
        let mut client = auth(Method::Mschapv2);
        client.credentials.new_password = Some("fresh".into());
        client.handle(CHAP, &packet(CHALLENGE, 1, &challenge())).unwrap();
        let failure = format!("E=648 R=0 C={} V=3 M=", "0B".repeat(16));
        let change = client.handle(CHAP, &packet(FAILURE, 1, failure.as_bytes())).unwrap().frames.remove(0);
        assert_eq!((change.len(), change[4], change[5]), (4 + 586, CHANGE_PASSWORD, 2));
        assert_eq!(client.exchange.unwrap().password, "fresh");
    }

    #[test]
    fn eap_answers_identity_naks_other_methods_and_does_mschapv2() {
        let mut client = auth(Method::Eap);
        let identity = client.handle(EAP, &packet(1, 0, &[1])).unwrap().frames.remove(0);
        assert_eq!(identity, b"\xff\x03\xc2\x27\x02\x00\x00\x0a\x01alice");
        let nak = client.handle(EAP, &packet(1, 1, &[25, 0x20])).unwrap().frames.remove(0);
        assert_eq!(nak, b"\xff\x03\xc2\x27\x02\x01\x00\x06\x03\x1a");
        let request = [&[EAP_MSCHAPV2][..], &packet(CHALLENGE, 9, &challenge())].concat();
        let response = client.handle(EAP, &packet(1, 2, &request)).unwrap().frames.remove(0);
        assert_eq!(response[8..14], [EAP_MSCHAPV2, RESPONSE, 9, 0, 4 + 1 + 49 + 5, 49]);
        assert!(client.handle(EAP, &packet(3, 2, &[])).is_err(), "Success before the proof");
        let proof = client.exchange.as_ref().unwrap().authenticator_response();
        let success = [&[EAP_MSCHAPV2][..], &packet(SUCCESS, 9, proof.as_bytes())].concat();
        assert_eq!(client.handle(EAP, &packet(1, 3, &success)).unwrap().frames[0][8..], [EAP_MSCHAPV2, SUCCESS]);
        assert!(client.handle(EAP, &packet(3, 3, &[])).unwrap().hlak.is_some());
        assert!(client.handle(EAP, &packet(3, 2, &[])).is_err(), "another identifier");
    }

    #[test]
    fn a_request_that_comes_again_gets_the_same_answer() {
        let mut client = auth(Method::Mschapv2);
        let first = client.handle(CHAP, &packet(CHALLENGE, 7, &challenge())).unwrap().frames;
        assert_eq!(client.handle(CHAP, &packet(CHALLENGE, 7, &challenge())).unwrap().frames, first);
        assert_ne!(client.handle(CHAP, &packet(CHALLENGE, 8, &challenge())).unwrap().frames, first);
    }

    #[test]
    fn a_failure_message_must_be_complete() {
        for text in ["E=691 R=1", "E=x R=1 C=00 V=3", "R=1 E=691", "E=691 R=1 C=00000000000000000000000000000000 V=2 M=x"] {
            assert!(Failure::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
