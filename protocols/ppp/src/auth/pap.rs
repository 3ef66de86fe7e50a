//! PAP (RFC 1334 section 2).
use super::{Effect, MAX_NAME, misfit, too_long};
use crate::api::{Answer, EndedBy, Question};
use crate::negotiation::Fault;
use crate::packet::{Packet, frame, protocol};
use zeroize::Zeroizing;

const REQUEST: u8 = 1;
const ACK: u8 = 2;
const NAK: u8 = 3;

#[derive(Default)]
pub(crate) struct Pap {
    /// Name and password as they came, to know a repetition by: it may have a new identifier.
    asked: Option<Zeroizing<Vec<u8>>>,
    id: u8,
    /// Code and message, once there are.
    reply: Option<(u8, Vec<u8>)>,
}

impl std::fmt::Debug for Pap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pap").field("asked", &self.asked.is_some()).finish_non_exhaustive()
    }
}

impl Pap {
    pub(crate) fn receive(&mut self, information: &[u8]) -> Vec<Effect> {
        let Some(packet) = Packet::parse(information).filter(|packet| packet.code == REQUEST) else { return Vec::new() };
        if let Some(asked) = &self.asked {
            if asked.as_slice() != packet.data {
                return Vec::new();
            }
            self.id = packet.id;
            return self.send().into_iter().collect();
        }
        let Some((name, password)) = credentials(packet.data) else { return Vec::new() };
        if let Some(long) = [name, password].into_iter().find(|field| field.len() > MAX_NAME) {
            return vec![too_long("name or password", long.len())];
        }
        self.id = packet.id;
        self.asked = Some(Zeroizing::new(packet.data.to_vec()));
        let password = Zeroizing::new(password.to_vec());
        vec![Effect::Identified(name.to_vec()), Effect::Ask(Question::Pap { name: name.to_vec(), password })]
    }

    pub(crate) fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        let (code, message, effect) = match answer {
            Answer::Accept { message, network, .. } => (ACK, message, Effect::Accepted(network)),
            Answer::Reject { message, .. } => {
                (NAK, message, Effect::Failed(Fault::new(EndedBy::Refused, "the client was refused (PAP Authenticate-Nak)")))
            }
            Answer::EapContinue { .. } => (NAK, Vec::new(), misfit("PAP")),
        };
        self.reply = Some((code, message));
        self.send().into_iter().chain([effect]).collect()
    }

    /// `None` while the question is open.
    fn send(&self) -> Option<Effect> {
        let (code, message) = self.reply.as_ref()?;
        let message = &message[..message.len().min(255)];
        let mut data = vec![message.len() as u8];
        data.extend_from_slice(message);
        Some(Effect::Send(frame(protocol::PAP, *code, self.id, &data)))
    }
}

fn credentials(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = field(data)?;
    let (password, _) = field(rest)?;
    Some((name, password))
}

/// An octet of length and that many octets.
fn field(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = data.split_first()?;
    rest.split_at_checked(len.into())
}
