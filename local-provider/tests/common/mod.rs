//! A provider on a clock of its own, and questions to it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use crypto::{SeededRandom, Zeroizing};
use local_provider::{EapMethod, Lockout, Moment, Provider, Settings, User, Users};
use radius_client::{ConversationId, Credentials, EapOutcome, Input, LoginOutcome, NasContext, Output, Ticket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Users whose password is "password", and tina, who has none.
pub const USERS: &str = "\
alice nt=8846f7eaee8fb117ad06bdd830b7586c groups=staff address=10.98.0.20
disabled nt=8846f7eaee8fb117ad06bdd830b7586c disabled
expired nt=8846f7eaee8fb117ad06bdd830b7586c expires=2020-12-31
new nt=8846f7eaee8fb117ad06bdd830b7586c must-change groups=staff
old nt=8846f7eaee8fb117ad06bdd830b7586c password-expires=2026-11-20
tina groups=machines
";

pub const LOCKOUT: Lockout = Lockout { failures: 5, time: Duration::from_secs(300) };

pub struct Bench {
    pub provider: Provider,
    pub now: Moment,
    ticket: u64,
    pub framed_mtu: u32,
    /// What was stored, line by line.
    pub stored: Vec<String>,
    /// Why nothing can be.
    pub full: bool,
}

pub fn settings(methods: &[EapMethod], tls: Option<Arc<tls::MutualSettings>>) -> Settings {
    Settings { server_name: "vpn.example.test".into(), methods: methods.to_vec(), tls, lockout: LOCKOUT, password_min: 8 }
}

impl Bench {
    #[allow(clippy::disallowed_methods)]
    pub fn new(settings: Settings) -> Self {
        let provider = Provider::new(settings, Users::parse(USERS).unwrap(), Box::new(SeededRandom::new(7)));
        // 2026-11-21
        Self {
            provider,
            now: Moment { instant: Instant::now(), unix_time: 1_795_219_200 },
            ticket: 0,
            framed_mtu: 0,
            stored: Vec::new(),
            full: false,
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = Moment { instant: self.now.instant + time, unix_time: self.now.unix_time + time.as_secs().cast_signed() };
    }

    fn ask(&mut self, input: impl FnOnce(Ticket, Box<NasContext>) -> Input) -> Output {
        self.ticket += 1;
        let nas = NasContext { calling_station_id: "192.0.2.7".into(), framed_mtu: self.framed_mtu, ..NasContext::default() };
        let (full, stored) = (self.full, &mut self.stored);
        let mut store = |user: &User| {
            stored.push(user.to_line().to_string());
            if full { Err("the disk is full".to_owned()) } else { Ok(()) }
        };
        self.provider.handle(self.now, input(Ticket(self.ticket), Box::new(nas)), &mut store);
        let output = self.provider.poll_output().unwrap();
        assert!(self.provider.poll_output().is_none());
        output
    }

    pub fn eap(&mut self, conversation: u64, user: &str, packet: &[u8]) -> EapOutcome {
        let (user_name, eap, conversation) = (user.as_bytes().to_vec(), packet.to_vec(), ConversationId(conversation));
        match self.ask(|ticket, nas| Input::Eap { ticket, conversation, group: None, user_name, eap, nas }) {
            Output::Eap { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// A round that must be followed by another: its request.
    pub fn challenge(&mut self, conversation: u64, user: &str, packet: &[u8]) -> Vec<u8> {
        match self.eap(conversation, user, packet) {
            EapOutcome::Challenge { server, eap } if server == "local" => eap,
            other => panic!("{other:?}"),
        }
    }

    pub fn login(&mut self, user: &str, credentials: Credentials) -> LoginOutcome {
        let user_name = user.as_bytes().to_vec();
        match self.ask(|ticket, nas| Input::Login { ticket, conversation: ConversationId(1), group: None, user_name, credentials, nas }) {
            Output::Login { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// MS-CHAPv2 over PPP, with the client's side computed apart.
    pub fn ms_chap(&mut self, user: &str, password: &str) -> (LoginOutcome, peers::mschapv2::Exchange) {
        let exchange = peers::mschapv2::Exchange {
            authenticator_challenge: [3; 16],
            peer_challenge: [4; 16],
            user: user.into(),
            password: Zeroizing::new(password.into()),
        };
        let response = [&[4; 16][..], &[0; 8], &exchange.nt_response(), &[0]].concat();
        let response = response.try_into().unwrap();
        (self.login(user, Credentials::MsChapV2 { identifier: 1, challenge: [3; 16], response }), exchange)
    }
}

pub fn identity(user: &str) -> Vec<u8> {
    eap::build(eap::Code::Response, 1, eap::method::IDENTITY, user.as_bytes())
}

/// The words for the record, of a no.
pub fn reason(outcome: &EapOutcome) -> String {
    match outcome {
        EapOutcome::Reject { server, eap, reply_message, .. } => {
            let packet = eap.as_ref().and_then(|packet| eap::Packet::parse(packet).ok());
            assert_eq!((server.as_str(), packet.map(|packet| packet.code())), ("local", Some(eap::Code::Failure)));
            reply_message.clone().unwrap()
        }
        other => panic!("{other:?}"),
    }
}
