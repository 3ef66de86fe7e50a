//! A RADIUS server that knows its users, answers as late as it is told, or not at all.
use crypto::Zeroizing;
use crypto::hash::md5;
use eap::{Code, Packet, method};
use evergate::accounting::Event;
use peers::mschapv2::Exchange;
use radius_client::{
    Accept, AccountingRecord, ConversationId, Credentials, EapOutcome, Input, LoginOutcome, NasContext, Output, RequestFailure, Ticket,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the server treats a user's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answering {
    #[default]
    Right,
    /// Accept without MS-MPPE keys.
    Keyless,
    /// Accept with keys that the client does not have.
    OtherKeys,
    /// No answer until the RADIUS client gives up, after 30 s.
    Silent,
    /// No answer ever, not even from the RADIUS client.
    Void,
}

/// What the server knows of a user.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub password: String,
    /// The password has expired: only a change to another one helps.
    pub expired: bool,
    /// A wrong password may be tried again.
    pub retry: bool,
    pub answering: Answering,
    /// Until each answer.
    pub delay: Duration,
    /// What an Accept says besides the keys.
    pub accept: Accept,
}

/// See the module. Credentials are checked for real.
#[derive(Debug, Default)]
pub struct Radius {
    pub users: BTreeMap<String, User>,
    conversations: BTreeMap<ConversationId, Conversation>,
    /// Tickets that wait for an answer.
    waiting: BTreeMap<Ticket, ConversationId>,
    pub records: Vec<AccountingRecord>,
    /// What the gateway said of itself and of the client with each question.
    pub contexts: Vec<NasContext>,
    pub asked: usize,
    pub forgotten: Vec<ConversationId>,
    /// Counters for the journal: by session, octets in and out, packets in and out.
    pub counted: Vec<(u64, [u64; 4])>,
}

/// An EAP-MSCHAPv2 conversation.
#[derive(Debug, Default)]
struct Conversation {
    challenge: [u8; 16],
    msk: Zeroizing<Vec<u8>>,
    /// Of the refusal that the client has to acknowledge.
    refused: bool,
}

const SERVER: &str = "radius1";

/// What the RADIUS client of the gateway waits at most.
const PATIENCE: Duration = Duration::from_secs(30);

impl Radius {
    pub fn with(users: &[(&str, User)]) -> Self {
        let users = users.iter().map(|(name, user)| ((*name).to_owned(), user.clone())).collect();
        Self { users, ..Self::default() }
    }

    /// Takes what the gateway asks; answers come after the time that stands by them.
    pub fn handle(&mut self, input: Input) -> Vec<(Duration, Output)> {
        match input {
            Input::Eap { ticket, conversation, user_name, eap, nas, .. } => {
                self.question(ticket, conversation, &nas);
                let (after, outcome) = self.eap(conversation, &user_name, &eap);
                self.reply(after, Output::Eap { ticket, outcome })
            }
            Input::Login { ticket, conversation, user_name, credentials, nas, .. } => {
                self.question(ticket, conversation, &nas);
                let (after, outcome) = self.login(&user_name, &credentials);
                self.reply(after, Output::Login { ticket, outcome })
            }
            Input::Forget(conversation) => self.forget(conversation),
            Input::Accounting { .. }
            | Input::Datagram { .. }
            | Input::Unreachable { .. }
            | Input::NotSent { .. }
            | Input::Connected { .. }
            | Input::Closed { .. }
            | Input::Timeout
            | Input::Configure(_) => {
                panic!("not from a gateway: {input:?}")
            }
        }
    }

    /// What accounting is told.
    pub(crate) fn account(&mut self, event: Event) {
        match event {
            Event::Start { record, .. } | Event::Interim { record, .. } | Event::Stop { record, .. } | Event::Gateway(record) => {
                self.records.push(*record);
            }
            Event::Count { sessions, .. } => self.counted.extend(sessions),
        }
    }

    /// Whose answer this is; `None` if it is not wanted any more.
    pub(crate) fn settle(&mut self, output: &Output) -> Option<Option<ConversationId>> {
        match output {
            Output::Eap { ticket, .. } | Output::Login { ticket, .. } => self.waiting.remove(ticket).map(Some),
            _ => Some(None),
        }
    }

    /// Questions without an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn question(&mut self, ticket: Ticket, conversation: ConversationId, nas: &NasContext) {
        self.asked += 1;
        self.contexts.push(nas.clone());
        self.waiting.insert(ticket, conversation);
    }

    fn reply(&self, after: Option<Duration>, output: Output) -> Vec<(Duration, Output)> {
        after.map(|after| (after, output)).into_iter().collect()
    }

    /// As the RADIUS client does: what is in flight fails.
    fn forget(&mut self, conversation: ConversationId) -> Vec<(Duration, Output)> {
        self.forgotten.push(conversation);
        self.conversations.remove(&conversation);
        self.waiting.retain(|_, of| *of != conversation);
        Vec::new()
    }

    fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.get(std::str::from_utf8(name).ok()?)
    }

    /// When the user's answer comes, and whether it is that of a RADIUS client that gave up.
    fn timing(&self, name: &[u8]) -> (Option<Duration>, Option<RequestFailure>) {
        let Some(user) = self.user(name) else { return (Some(Duration::ZERO), None) };
        match user.answering {
            Answering::Silent => {
                let failure = RequestFailure::Silent { server: SERVER.into(), tries: 3, waited: PATIENCE, dropped: "none".into() };
                (Some(PATIENCE), Some(failure))
            }
            Answering::Void => (None, None),
            _ => (Some(user.delay), None),
        }
    }

    fn accept(&self, name: &[u8], msk: &[u8]) -> Box<Accept> {
        let user = self.user(name).cloned().unwrap_or_default();
        let msk = match user.answering {
            Answering::Keyless => Vec::new(),
            Answering::OtherKeys => vec![0xEE; 64],
            _ => msk.to_vec(),
        };
        Box::new(Accept { msk: Zeroizing::new(msk), ..user.accept })
    }

    fn eap(&mut self, conversation: ConversationId, name: &[u8], packet: &[u8]) -> (Option<Duration>, EapOutcome) {
        let (after, failure) = self.timing(name);
        if let Some(failure) = failure {
            return (after, EapOutcome::Failed(failure));
        }
        let response = Packet::parse(packet).expect("the gateway relays EAP");
        (after, self.eap_round(conversation, name, &response))
    }

    fn eap_round(&mut self, conversation: ConversationId, name: &[u8], response: &Packet<'_>) -> EapOutcome {
        let next = response.identifier().wrapping_add(1);
        let challenge = |eap| EapOutcome::Challenge { server: SERVER.into(), eap };
        match (response.method(), response.data()) {
            (Some(method::IDENTITY), _) => {
                let state = self.conversations.entry(conversation).or_default();
                state.challenge = md5(&[&conversation.0.to_be_bytes(), name]);
                let value = [&[16][..], &state.challenge, b"radius1"].concat();
                challenge(mschapv2(next, 1, &value))
            }
            (Some(method::MSCHAPV2), [2, _, _, _, 49, value @ ..]) => challenge(self.eap_verify(conversation, name, next, value)),
            (Some(method::MSCHAPV2), [3]) => self.eap_end(conversation, name, response.identifier()),
            _ => EapOutcome::Reject {
                server: SERVER.into(),
                eap: Some(eap::failure(response.identifier())),
                reply_message: None,
                ms_chap_error: None,
            },
        }
    }

    fn eap_verify(&mut self, conversation: ConversationId, name: &[u8], next: u8, value: &[u8]) -> Vec<u8> {
        let password = self.user(name).map(|user| user.password.clone());
        let state = self.conversations.entry(conversation).or_default();
        let exchange = exchange(name, password.as_deref().unwrap_or_default(), state.challenge, value);
        if password.is_none() || value[24..48] != exchange.nt_response() {
            state.refused = true;
            return mschapv2(next, 4, b"E=691 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Authentication rejected");
        }
        state.msk = exchange.msk();
        mschapv2(next, 3, format!("{} M=welcome", exchange.authenticator_response()).as_bytes())
    }

    fn eap_end(&mut self, conversation: ConversationId, name: &[u8], identifier: u8) -> EapOutcome {
        let state = self.conversations.remove(&conversation).unwrap_or_default();
        let server = SERVER.into();
        if state.refused || state.msk.is_empty() {
            return EapOutcome::Reject { server, eap: Some(eap::failure(identifier)), reply_message: None, ms_chap_error: None };
        }
        EapOutcome::Accept { server, eap: Some(eap::success(identifier)), accept: self.accept(name, &state.msk) }
    }

    fn login(&mut self, name: &[u8], credentials: &Credentials) -> (Option<Duration>, LoginOutcome) {
        let (after, failure) = self.timing(name);
        if let Some(failure) = failure {
            return (after, LoginOutcome::Failed(failure));
        }
        let server = || SERVER.to_owned();
        let Some(user) = self.user(name).cloned() else {
            return (after, LoginOutcome::Reject { server: server(), reply_message: Some("no such user".into()), ms_chap_error: None });
        };
        let outcome = match verify(name, &user, credentials) {
            Ok(Some(exchange)) => LoginOutcome::Accept {
                server: server(),
                accept: self.accept(name, &exchange.msk()),
                ms_chap_success: Some(format!("{} M=welcome", exchange.authenticator_response()).into_bytes()),
            },
            Ok(None) => LoginOutcome::Accept { server: server(), accept: self.accept(name, &[]), ms_chap_success: None },
            Err(ms_chap_error) => {
                LoginOutcome::Reject { server: server(), reply_message: None, ms_chap_error: ms_chap_error.map(String::into_bytes) }
            }
        };
        (after, outcome)
    }
}

/// The exchange that makes the keys, where the method makes any; or the error for the client, where the method has any.
fn verify(name: &[u8], user: &User, credentials: &Credentials) -> Result<Option<Exchange>, Option<String>> {
    let retry = u8::from(user.retry);
    let wrong = Some(format!("E=691 R={retry} C=FFEEDDCCBBAA99887766554433221100 V=3 M=Wrong password"));
    match credentials {
        Credentials::Pap { password } if password.as_slice() == user.password.as_bytes() => Ok(None),
        Credentials::Chap { identifier, challenge, response }
            if md5(&[&[*identifier], user.password.as_bytes(), challenge]) == *response =>
        {
            Ok(None)
        }
        Credentials::Pap { .. } | Credentials::Chap { .. } | Credentials::Certificate => Err(None),
        Credentials::MsChapV2 { challenge, response, .. } => {
            let exchange = exchange(name, &user.password, *challenge, response);
            match response[24..48] == exchange.nt_response() {
                // The challenge of the change is left to the NAS.
                true if user.expired => Err(Some("E=648 R=0 V=3 M=Password expired".into())),
                true => Ok(Some(exchange)),
                false => Err(wrong),
            }
        }
        Credentials::MsChapV2Change { challenge, encrypted_password, peer_challenge, nt_response, .. } => {
            let new = new_password(encrypted_password);
            let exchange = exchange(name, &new, *challenge, peer_challenge);
            (exchange.nt_response() == *nt_response).then_some(Some(exchange)).ok_or(wrong)
        }
    }
}

/// The client of the simulation writes its new password in clear where RFC 2759 section 8.9 has it encrypted: length at the end.
fn new_password(field: &[u8; 516]) -> String {
    let length = usize::from(field[515]);
    String::from_utf8_lossy(&field[512 - length..512]).into_owned()
}

/// `value` begins with the peer challenge.
fn exchange(name: &[u8], password: &str, authenticator_challenge: [u8; 16], value: &[u8]) -> Exchange {
    Exchange {
        authenticator_challenge,
        peer_challenge: value[..16].try_into().expect("sixteen octets"),
        user: String::from_utf8_lossy(name).into_owned(),
        password: Zeroizing::new(password.to_owned()),
    }
}

/// A request of EAP-MSCHAPv2.
fn mschapv2(identifier: u8, opcode: u8, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let data = [&[opcode, identifier][..], &length.to_be_bytes(), value].concat();
    eap::build(Code::Request, identifier, method::MSCHAPV2, &data)
}
