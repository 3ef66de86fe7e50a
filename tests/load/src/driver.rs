//! The IKE machine as an initiator, with its questions answered: cryptography at once, EAP by a peer per session.

use crypto::{Random, SystemRandom};
use ike::{Answer, AskId, ChildSa, CloseReason, Command, Endpoint, Event, Input, Output, Path, Question, SessionId, Timers};
use peers::{EapPeer, PeerError};
use std::collections::{HashMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::options::Profile;

/// What the shell has to do or to know.
#[derive(Debug)]
pub(crate) enum Effect {
    Transmit {
        path: Path,
        message: Vec<u8>,
    },
    Install(Box<ChildSa>),
    UseOutbound {
        session: SessionId,
        spi_in: u32,
    },
    Remove {
        session: SessionId,
        spi_in: u32,
    },
    Repath {
        session: SessionId,
        path: Path,
        encapsulate: bool,
    },
    /// Login `number` has its first Child SA.
    Up {
        session: SessionId,
        number: u32,
        ike: String,
    },
    Rekeyed {
        ike: bool,
    },
    /// Login `number` is over, or never came up.
    Closed {
        session: SessionId,
        number: u32,
        /// One sentence.
        cause: String,
    },
}

/// All logins of this client.
#[derive(Debug)]
pub(crate) struct Driver {
    endpoint: Endpoint,
    logins: HashMap<SessionId, Login>,
    /// The login whose session id the machine has not told yet.
    starting: Option<Login>,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Login {
    number: u32,
    peer: EapPeer,
    ike: String,
    /// What the EAP peer says against the gateway.
    complaint: Option<String>,
}

impl Driver {
    pub(crate) fn new(now: Instant) -> Self {
        let endpoint = Endpoint::new(None, Box::new(SystemRandom), now);
        Self { endpoint, logins: HashMap::new(), starting: None, effects: VecDeque::new() }
    }

    /// Starts login `number`; its outcome arrives as [`Effect::Up`] or [`Effect::Closed`].
    pub(crate) fn connect(&mut self, now: Instant, profile: &Profile, number: u32) {
        self.connect_with(now, profile, number, Profile::timers());
    }

    /// As [`Driver::connect`], with another patience.
    pub(crate) fn connect_with(&mut self, now: Instant, profile: &Profile, number: u32, timers: Timers) {
        let peer = EapPeer::new(profile.user(number), profile.password(), random());
        self.starting = Some(Login { number, peer, ike: String::new(), complaint: None });
        self.input(now, Input::Connect(Box::new(profile.initiator(number, timers))));
    }

    /// An IKE message, without the non-ESP marker.
    pub(crate) fn datagram(&mut self, now: Instant, path: Path, message: Vec<u8>) {
        self.input(now, Input::Datagram { path, message, unix_time: unix_time() });
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        self.input(now, Input::Timeout);
    }

    /// Says DELETE; [`Effect::Closed`] follows.
    pub(crate) fn close(&mut self, now: Instant, session: SessionId) {
        self.input(now, Input::Command(session, Command::Close(CloseReason::Operator)));
    }

    pub(crate) fn command(&mut self, now: Instant, session: SessionId, command: Command) {
        self.input(now, Input::Command(session, command));
    }

    /// Goes on from elsewhere.
    pub(crate) fn rehome(&mut self, now: Instant, session: SessionId, path: Path) {
        self.input(now, Input::Rehome { session, path });
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout().map(|(at, _)| at)
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn input(&mut self, now: Instant, input: Input) {
        self.endpoint.handle(now, input);
        while let Some(output) = self.endpoint.poll_output() {
            if let Some((id, answer)) = self.output(output) {
                self.endpoint.handle(now, Input::Answer(id, answer));
            }
        }
    }

    fn output(&mut self, output: Output) -> Option<(AskId, Answer)> {
        match output {
            Output::Transmit { path, message } => self.effects.push_back(Effect::Transmit { path, message }),
            Output::Ask(id, session, question) => return Some((id, self.answer(session, question)?)),
            Output::Cancel(_) => {}
            Output::InstallChild(child) => self.effects.push_back(Effect::Install(child)),
            Output::UseOutbound { session, spi_in } => self.effects.push_back(Effect::UseOutbound { session, spi_in }),
            Output::RemoveChild { session, spi_in } => self.effects.push_back(Effect::Remove { session, spi_in }),
            Output::Repath { session, path, encapsulate } => self.effects.push_back(Effect::Repath { session, path, encapsulate }),
            Output::Event(session, event) => self.event(session, event),
            Output::Seen(..) | Output::Stranger { .. } => {}
        }
        None
    }

    fn answer(&mut self, session: SessionId, question: Question) -> Option<Answer> {
        match question {
            Question::EapPeer { packet } => {
                let login = self.login(session)?;
                let step = login.peer.answer(&packet);
                login.complaint = step.error.map(|error| complaint(&error)).or(login.complaint.take());
                Some(Answer::EapPeer { packet: step.packet, msk: step.msk })
            }
            other => {
                self.login(session);
                evergate::workers::answer(other)
            }
        }
    }

    fn event(&mut self, session: SessionId, event: Event) {
        let Some(login) = self.login(session) else { return };
        match event {
            Event::IkeProposals { accepted: Some(accepted), .. } => login.ike = accepted,
            Event::Established { .. } => {
                let up = Effect::Up { session, number: login.number, ike: login.ike.clone() };
                self.effects.push_back(up);
            }
            Event::Rekeyed { ike } => self.effects.push_back(Effect::Rekeyed { ike }),
            Event::Closed(reason, failure) => {
                let cause = failure.map_or_else(|| format!("{reason:?}"), |failure| failure.cause);
                let cause = login.complaint.take().map_or(cause.clone(), |complaint| format!("{cause} ({complaint})"));
                let number = login.number;
                self.logins.remove(&session);
                self.effects.push_back(Effect::Closed { session, number, cause });
            }
            _ => {}
        }
    }

    /// The machine names the session of a `Connect` in the first output that belongs to it.
    fn login(&mut self, session: SessionId) -> Option<&mut Login> {
        if let Some(login) = self.starting.take_if(|_| !self.logins.contains_key(&session)) {
            self.logins.insert(session, login);
        }
        self.logins.get_mut(&session)
    }
}

/// Without the challenge of MS-CHAPv2's `E=691 R=1 C=..`, so that equal causes read the same.
fn complaint(error: &PeerError) -> String {
    let text = error.to_string();
    text.split(" C=").next().unwrap_or(&text).to_owned()
}

fn random() -> Box<dyn Random> {
    Box::new(SystemRandom)
}

fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_read_the_same() {
        let texts = ["E=691 R=1 C=00aa V=3 M=no", "E=691 R=1 C=00bb V=3 M=no"];
        let [first, second] = texts.map(|text| complaint(&PeerError::Refused(text.into())));
        assert_eq!(first, second);
        assert!(first.contains("E=691"), "{first}");
    }
}
