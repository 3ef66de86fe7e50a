//! EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02), the server's end.
use crate::book::{AUTHENTICATION_FAILURE, Asked, PASSWORD_EXPIRED, Refusal};
use crate::conversation::{Context, Step};
use crate::mschapv2::{CHALLENGE, Change, Exchange, Proof, hex, without_domain};
use crypto::Random;
use radius_client::Accept;

const CHALLENGE_CODE: u8 = 1;
const RESPONSE_CODE: u8 = 2;
const SUCCESS_CODE: u8 = 3;
const FAILURE_CODE: u8 = 4;
const CHANGE_PASSWORD_CODE: u8 = 7;

/// Peer-Challenge 16, reserved 8, NT-Response 24, Flags 1.
const RESPONSE_VALUE: u8 = 49;

/// Passwords that a client may try in one conversation, as NPS lets it.
const MAX_TRIES: u32 = 3;

pub(crate) struct EapMsChapV2 {
    challenge: [u8; CHALLENGE],
    /// MS-CHAPv2-ID of the last challenge.
    id: u8,
    /// As the client called itself in its last response: Change-Password has no name.
    name: Vec<u8>,
    tries: u32,
    state: State,
}

enum State {
    Challenged,
    /// The client shall verify us, then it is in.
    Proven(Box<Accept>),
    /// The client shall acknowledge, or try again.
    Refused {
        refusal: Refusal,
        retry: bool,
    },
}

impl EapMsChapV2 {
    /// With the data of its first request.
    pub(crate) fn start(id: u8, server_name: &str, random: &mut dyn Random) -> (Self, Vec<u8>) {
        let mut method = Self { challenge: [0; CHALLENGE], id, name: Vec::new(), tries: 0, state: State::Challenged };
        random.fill(&mut method.challenge);
        let mut body = vec![CHALLENGE as u8];
        body.extend_from_slice(&method.challenge);
        body.extend_from_slice(server_name.as_bytes());
        let request = packet(CHALLENGE_CODE, id, &body);
        (method, request)
    }

    /// Takes the data of a response.
    pub(crate) fn respond(&mut self, data: &[u8], context: &mut Context<'_>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Challenged);
        match (state, data.first()) {
            (State::Challenged | State::Refused { retry: true, .. }, Some(&RESPONSE_CODE)) => self.response(data, context),
            (State::Refused { refusal, .. }, Some(&CHANGE_PASSWORD_CODE)) if refusal.code == PASSWORD_EXPIRED => self.change(data, context),
            (State::Proven(accept), Some(&SUCCESS_CODE)) => Step::Accept(accept),
            (State::Proven(_), Some(&FAILURE_CODE)) => Step::Reject(
                "the client does not believe that this is the right server: it computed another answer from its password".into(),
            ),
            (State::Refused { refusal, .. }, Some(&FAILURE_CODE)) => Step::Reject(refusal.why),
            (_, code) => Step::Reject(format!("an EAP-MSCHAPv2 packet with code {} was not expected", code.copied().unwrap_or(0))),
        }
    }

    fn response(&mut self, data: &[u8], context: &mut Context<'_>) -> Step {
        let Some(response) = Response::parse(data) else {
            return Step::Reject("the EAP-MSCHAPv2 response is malformed".into());
        };
        if !same_user(response.name, context.identity) {
            return Step::Reject(format!(
                "the client calls itself {:?} inside EAP-MSCHAPv2 and another in its identity",
                String::from_utf8_lossy(response.name)
            ));
        }
        self.tries += 1;
        self.id = data[1];
        self.name = response.name.to_vec();
        let exchange = Exchange { authenticator_challenge: &self.challenge, peer_challenge: response.peer_challenge, name: response.name };
        let asked = Asked { at: context.at, name: context.identity, source: context.source };
        match context.book.ms_chap(&asked, &exchange, response.nt_response) {
            Ok(proven) => self.welcome(proven),
            Err(refusal) => self.refuse(refusal, context.random),
        }
    }

    /// The answer to E=648.
    fn change(&mut self, data: &[u8], context: &mut Context<'_>) -> Step {
        let Some(sent) = ChangePassword::parse(data) else {
            return Step::Reject("the EAP-MSCHAPv2 change of password is malformed".into());
        };
        self.id = data[1];
        let exchange = Exchange { authenticator_challenge: &self.challenge, peer_challenge: sent.peer_challenge, name: &self.name };
        let asked = Asked { at: context.at, name: context.identity, source: context.source };
        match context.book.change(&asked, &exchange, &sent.change, context.store) {
            Ok(proven) => self.welcome(proven),
            Err(refusal) => self.refuse(refusal, context.random),
        }
    }

    fn welcome(&mut self, (proof, accept): (Proof, Accept)) -> Step {
        self.state = State::Proven(Box::new(accept));
        Step::Request(packet(SUCCESS_CODE, self.id, format!("{} M=Welcome", proof.authenticator_response).as_bytes()))
    }

    fn refuse(&mut self, refusal: Refusal, random: &mut dyn Random) -> Step {
        let retry = refusal.code == AUTHENTICATION_FAILURE && self.tries < MAX_TRIES;
        random.fill(&mut self.challenge);
        let text = failure_text(refusal.code, retry, &self.challenge);
        self.state = State::Refused { refusal, retry };
        Step::Request(packet(FAILURE_CODE, self.id, text.as_bytes()))
    }
}

/// What MS-CHAPv2 tells a client that is refused (RFC 2759 section 6).
pub(crate) fn failure_text(code: u16, retry: bool, challenge: &[u8; CHALLENGE]) -> String {
    let words = match code {
        crate::book::ACCOUNT_DISABLED => "Account disabled",
        crate::book::PASSWORD_EXPIRED => "Password expired",
        crate::book::CHANGING_PASSWORD => "New password refused",
        _ => "Authentication failed",
    };
    format!("E={code} R={} C={} V=3 M={words}", u8::from(retry), hex(challenge))
}

struct Response<'a> {
    peer_challenge: &'a [u8; CHALLENGE],
    nt_response: &'a [u8; 24],
    name: &'a [u8],
}

impl<'a> Response<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let [_, _, high, low, size, rest @ ..] = data else { return None };
        if usize::from(u16::from_be_bytes([*high, *low])) != data.len() || *size != RESPONSE_VALUE {
            return None;
        }
        let (peer_challenge, rest) = rest.split_first_chunk()?;
        let (_reserved, rest) = rest.split_first_chunk::<8>()?;
        let (nt_response, rest) = rest.split_first_chunk()?;
        let (_flags, name) = rest.split_first()?;
        Some(Self { peer_challenge, nt_response, name })
    }
}

struct ChangePassword<'a> {
    change: Change<'a>,
    peer_challenge: &'a [u8; CHALLENGE],
}

impl<'a> ChangePassword<'a> {
    /// Encrypted-Password 516, Encrypted-Hash 16, Peer-Challenge 16, reserved 8, NT-Response 24, Flags 2.
    fn parse(data: &'a [u8]) -> Option<Self> {
        let [_, _, high, low, rest @ ..] = data else { return None };
        if usize::from(u16::from_be_bytes([*high, *low])) != data.len() {
            return None;
        }
        let (encrypted_password, rest) = rest.split_first_chunk()?;
        let (encrypted_hash, rest) = rest.split_first_chunk()?;
        let (peer_challenge, rest) = rest.split_first_chunk()?;
        let (_reserved, rest) = rest.split_first_chunk::<8>()?;
        let (nt_response, flags) = rest.split_first_chunk()?;
        let change = Change { encrypted_password, encrypted_hash, nt_response };
        (flags.len() == 2).then_some(Self { change, peer_challenge })
    }
}

/// Domains do not count: some clients write one in but one of the two places.
fn same_user(name: &[u8], identity: &[u8]) -> bool {
    without_domain(name).eq_ignore_ascii_case(without_domain(identity))
}

fn packet(code: u8, id: u8, body: &[u8]) -> Vec<u8> {
    // A challenge with a server name of 255 bytes at most, or a short text.
    let length = (4 + body.len()) as u16;
    [&[code, id][..], &length.to_be_bytes(), body].concat()
}
