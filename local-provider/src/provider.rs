//! The provider itself: questions in, answers out.
use crate::book::{AUTHENTICATION_FAILURE, Asked, Book, Refusal};
use crate::conversation::{Answer, Context, Conversation};
use crate::eap_mschapv2::failure_text;
use crate::mschapv2::{Change, Exchange, Proof};
use crate::{Locked, Settings, Store, Users};
use crypto::{Random, Zeroizing};
use radius_client::{Accept, ConversationId, Credentials, EapOutcome, Input, LoginOutcome, NasContext, Output, RequestFailure};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What answers call their server.
pub const SERVER: &str = "local";

/// Conversations under way; another one pushes out the one that has been silent longest.
const MAX_CONVERSATIONS: usize = 4096;

/// A conversation that says nothing for so long is over.
const SILENCE: Duration = Duration::from_secs(180);

/// Bytes of an EAP packet where the caller says nothing: EAP over IKEv2 and PPP carries it.
const DEFAULT_PACKET: u32 = 1344;

/// A point in time, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub instant: Instant,
    /// Seconds since 1970.
    pub unix_time: i64,
}

/// Answers logins from a users file. Each question is answered at once; a round of EAP-TLS takes as long as its signatures (about a
/// millisecond), so that the caller gives it a thread of its own.
pub struct Provider {
    settings: Settings,
    book: Book,
    random: Box<dyn Random>,
    conversations: BTreeMap<ConversationId, Conversation>,
    outputs: VecDeque<Output>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("users", &self.book.users.len())
            .field("conversations", &self.conversations.len())
            .finish_non_exhaustive()
    }
}

impl Provider {
    pub fn new(settings: Settings, users: Users, mut random: Box<dyn Random>) -> Self {
        let book = Book::new(users, settings.lockout, settings.password_min, random.as_mut());
        Self { settings, book, random, conversations: BTreeMap::new(), outputs: VecDeque::new() }
    }

    /// New settings for conversations that begin from now on.
    pub fn configure(&mut self, settings: Settings) {
        (self.book.lockout, self.book.password_min) = (settings.lockout, settings.password_min);
        self.settings = settings;
    }

    /// New users, at once and for all.
    pub fn replace_users(&mut self, users: Users) {
        self.book.users = users;
    }

    pub fn users(&self) -> &Users {
        &self.book.users
    }

    /// Who is locked out now: those for longest first, some thousands at most.
    pub fn locks(&self, now: Instant) -> Vec<Locked> {
        self.book.locks(now)
    }

    /// Answers [`Input::Eap`] and [`Input::Login`], forgets conversations, refuses accounting (nobody keeps books here); the rest is for
    /// RADIUS alone. `store` is asked at most once.
    pub fn handle(&mut self, now: Moment, input: Input, store: &mut Store<'_>) {
        match input {
            Input::Eap { ticket, conversation, user_name, eap, nas, .. } => {
                let outcome = self.eap(now, conversation, &user_name, &eap, &nas, store);
                self.outputs.push_back(Output::Eap { ticket, outcome });
            }
            Input::Login { ticket, user_name, credentials, nas, .. } => {
                let outcome = self.login(now, &user_name, &credentials, &nas, store);
                self.outputs.push_back(Output::Login { ticket, outcome });
            }
            Input::Forget(conversation) => drop(self.conversations.remove(&conversation)),
            Input::Accounting { ticket, .. } => {
                let outcome = Err(RequestFailure::NoServer);
                self.outputs.push_back(Output::Accounting { ticket, outcome });
            }
            Input::Datagram { .. }
            | Input::Unreachable { .. }
            | Input::NotSent { .. }
            | Input::Connected { .. }
            | Input::Closed { .. }
            | Input::Timeout
            | Input::Configure(_) => {}
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn eap(
        &mut self,
        now: Moment,
        id: ConversationId,
        user_name: &[u8],
        packet: &[u8],
        nas: &NasContext,
        store: &mut Store<'_>,
    ) -> EapOutcome {
        self.make_room(now.instant, id);
        let conversation = self.conversations.entry(id).or_insert_with(|| Conversation::new(now.instant));
        let largest = if nas.framed_mtu == 0 { DEFAULT_PACKET } else { nas.framed_mtu.clamp(64, 1500) };
        let mut context = Context {
            at: now,
            settings: &self.settings,
            book: &mut self.book,
            random: self.random.as_mut(),
            store,
            identity: user_name,
            source: &nas.calling_station_id,
            packet: largest as usize,
        };
        match conversation.packet(packet, &mut context) {
            Answer::Request(eap) => EapOutcome::Challenge { server: SERVER.into(), eap },
            Answer::Accept { eap, accept } => EapOutcome::Accept { server: SERVER.into(), eap: Some(eap), accept },
            Answer::Reject { eap, why } => {
                EapOutcome::Reject { server: SERVER.into(), eap: Some(eap), reply_message: Some(why), ms_chap_error: None }
            }
        }
    }

    fn make_room(&mut self, now: Instant, id: ConversationId) {
        if self.conversations.len() < MAX_CONVERSATIONS || self.conversations.contains_key(&id) {
            return;
        }
        self.conversations.retain(|_, conversation| now < conversation.used + SILENCE);
        while self.conversations.len() >= MAX_CONVERSATIONS {
            let silent = self.conversations.iter().min_by_key(|(_, conversation)| conversation.used).map(|(id, _)| *id);
            silent.and_then(|id| self.conversations.remove(&id));
        }
    }

    fn login(&mut self, at: Moment, name: &[u8], credentials: &Credentials, nas: &NasContext, store: &mut Store<'_>) -> LoginOutcome {
        let asked = Asked { at, name, source: &nas.calling_station_id };
        match credentials {
            Credentials::MsChapV2 { challenge, response, .. } => self.ms_chap(&asked, challenge, response),
            Credentials::Pap { password } => match self.book.password(&asked, password) {
                Ok(accept) => accepted(accept, None),
                Err(refusal) => rejected(refusal.why, None),
            },
            Credentials::Chap { .. } => {
                rejected("CHAP with MD5 needs passwords in the clear, which the users file has not: use mschapv2 or eap".into(), None)
            }
            Credentials::Certificate => rejected(
                "the users file says nothing of certificates; certificate_authorization = \"radius\" needs a RADIUS server".into(),
                None,
            ),
            Credentials::MsChapV2Change { challenge, encrypted_password, encrypted_hash, peer_challenge, nt_response, .. } => {
                let exchange = Exchange { authenticator_challenge: challenge, peer_challenge, name };
                let change = Change { encrypted_password, encrypted_hash, nt_response };
                let changed = self.book.change(&asked, &exchange, &change, store);
                self.ms_chap_outcome(changed)
            }
        }
    }

    fn ms_chap(&mut self, asked: &Asked<'_>, challenge: &[u8; 16], response: &[u8; 49]) -> LoginOutcome {
        let (mut peer_challenge, mut nt_response) = ([0; 16], [0; 24]);
        peer_challenge.copy_from_slice(&response[..16]);
        nt_response.copy_from_slice(&response[24..48]);
        let exchange = Exchange { authenticator_challenge: challenge, peer_challenge: &peer_challenge, name: asked.name };
        let outcome = self.book.ms_chap(asked, &exchange, &nt_response);
        self.ms_chap_outcome(outcome)
    }

    fn ms_chap_outcome(&mut self, outcome: Result<(Proof, Accept), Refusal>) -> LoginOutcome {
        match outcome {
            Ok((proof, accept)) => accepted(accept, Some(proof.authenticator_response)),
            Err(Refusal { code, why }) => {
                let mut challenge = [0; 16];
                self.random.fill(&mut challenge);
                rejected(why, Some(failure_text(code, code == AUTHENTICATION_FAILURE, &challenge)))
            }
        }
    }
}

fn accepted(mut accept: Accept, ms_chap_success: Option<String>) -> LoginOutcome {
    if ms_chap_success.is_none() {
        accept.msk = Zeroizing::default();
    }
    LoginOutcome::Accept { server: SERVER.into(), accept: Box::new(accept), ms_chap_success: ms_chap_success.map(String::into_bytes) }
}

fn rejected(why: String, ms_chap_error: Option<String>) -> LoginOutcome {
    LoginOutcome::Reject { server: SERVER.into(), reply_message: Some(why), ms_chap_error: ms_chap_error.map(String::into_bytes) }
}
