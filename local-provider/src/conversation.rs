//! One client's EAP conversation: identity, which method, its rounds.
use crate::book::Book;
use crate::eap_mschapv2::EapMsChapV2;
use crate::eap_tls::EapTls;
use crate::{EapMethod, Moment, Settings, Store};
use crypto::Random;
use eap::{Code, Packet, method};
use radius_client::Accept;
use std::time::Instant;

/// What a round needs besides its packet.
pub(crate) struct Context<'a> {
    pub(crate) at: Moment,
    pub(crate) settings: &'a Settings,
    pub(crate) book: &'a mut Book,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) store: &'a mut Store<'a>,
    /// As the client sent it.
    pub(crate) identity: &'a [u8],
    /// Address of the client.
    pub(crate) source: &'a str,
    /// Bytes of an EAP packet, at most.
    pub(crate) packet: usize,
}

/// What a method makes of a response.
pub(crate) enum Step {
    /// Data of the next request.
    Request(Vec<u8>),
    Accept(Box<Accept>),
    /// Why, for the record.
    Reject(String),
}

/// What a conversation makes of a packet.
#[derive(Clone)]
pub(crate) enum Answer {
    Request(Vec<u8>),
    Accept { eap: Vec<u8>, accept: Box<Accept> },
    Reject { eap: Vec<u8>, why: String },
}

pub(crate) struct Conversation {
    identity: Vec<u8>,
    method: Option<Method>,
    /// Methods that the client was offered.
    offered: Vec<EapMethod>,
    /// Identifier of the last request.
    identifier: u8,
    /// The client has taken up the method: too late for a Nak.
    taken: bool,
    /// The last response with its answer, for a client that repeats itself.
    last: Option<(Vec<u8>, Answer)>,
    pub(crate) used: Instant,
}

enum Method {
    MsChapV2(EapMsChapV2),
    Tls(Box<EapTls>),
}

impl Conversation {
    pub(crate) fn new(now: Instant) -> Self {
        Self { identity: Vec::new(), method: None, offered: Vec::new(), identifier: 0, taken: false, last: None, used: now }
    }

    pub(crate) fn packet(&mut self, packet: &[u8], context: &mut Context<'_>) -> Answer {
        self.used = context.at.instant;
        if let Some((_, answer)) = self.last.as_ref().filter(|(last, _)| last == packet) {
            return answer.clone();
        }
        let answer = match Packet::parse(packet) {
            Ok(view) if view.code() == Code::Response => {
                let step = self.response(&view, context);
                self.answer(view.identifier(), step)
            }
            Ok(view) => reject(view.identifier(), format!("the client sent an EAP {:?}, no Response", view.code())),
            Err(error) => reject(self.identifier, error.to_string()),
        };
        self.last = Some((packet.to_vec(), answer.clone()));
        answer
    }

    fn response(&mut self, view: &Packet<'_>, context: &mut Context<'_>) -> Step {
        if let Some(identity) = view.identity() {
            self.begin(view.identifier(), identity);
            return self.offer(None, context);
        }
        if self.method.is_none() || view.identifier() != self.identifier {
            return Step::Reject("the client answers a request that nobody made".into());
        }
        if let Some(wanted) = view.nak() {
            return self.refused_method(wanted, context);
        }
        let mut context = Context {
            at: context.at,
            settings: context.settings,
            book: context.book,
            random: context.random,
            store: context.store,
            identity: &self.identity,
            source: context.source,
            packet: context.packet,
        };
        self.taken = true;
        match (&mut self.method, view.method()) {
            (Some(Method::MsChapV2(machine)), Some(method::MSCHAPV2)) => machine.respond(view.data(), &mut context),
            (Some(Method::Tls(machine)), Some(method::TLS)) => machine.respond(view.data(), &context),
            (_, other) => Step::Reject(format!("the client answers with {}", other.map_or_else(String::new, method::name))),
        }
    }

    fn begin(&mut self, identifier: u8, identity: &[u8]) {
        *self = Self { identity: identity.to_vec(), identifier, ..Self::new(self.used) };
    }

    /// Offers the first method that the client has not seen; of those in `wanted`, where it named some.
    fn offer(&mut self, wanted: Option<&[u8]>, context: &mut Context<'_>) -> Step {
        let fits = |method: &&EapMethod| {
            let usable = **method != EapMethod::Tls || context.settings.tls.is_some();
            usable && !self.offered.contains(method) && wanted.is_none_or(|wanted| wanted.contains(&method.number()))
        };
        let Some(&next) = context.settings.methods.iter().find(fits) else {
            return Step::Reject(no_common_method(wanted.unwrap_or_default(), &context.settings.methods));
        };
        self.offered.push(next);
        let request = match (next, &context.settings.tls) {
            (EapMethod::Tls, Some(settings)) => match EapTls::start(settings, context.at.unix_time, context.packet) {
                Ok((machine, request)) => {
                    self.method = Some(Method::Tls(Box::new(machine)));
                    request
                }
                Err(error) => return Step::Reject(error.to_string()),
            },
            (EapMethod::MsChapV2 | EapMethod::Tls, _) => {
                let id = self.identifier.wrapping_add(1);
                let (machine, request) = EapMsChapV2::start(id, &context.settings.server_name, context.random);
                self.method = Some(Method::MsChapV2(machine));
                request
            }
        };
        Step::Request(request)
    }

    fn refused_method(&mut self, wanted: &[u8], context: &mut Context<'_>) -> Step {
        if self.taken {
            return Step::Reject("the client refuses a method that it had begun".into());
        }
        self.offer(Some(wanted), context)
    }

    fn answer(&mut self, identifier: u8, step: Step) -> Answer {
        match step {
            Step::Request(data) => {
                let number = match self.method {
                    Some(Method::Tls(_)) => method::TLS,
                    _ => method::MSCHAPV2,
                };
                self.identifier = identifier.wrapping_add(1);
                Answer::Request(eap::build(Code::Request, self.identifier, number, &data))
            }
            Step::Accept(accept) => {
                self.method = None;
                Answer::Accept { eap: eap::success(identifier), accept }
            }
            Step::Reject(why) => {
                self.method = None;
                reject(identifier, why)
            }
        }
    }
}

fn reject(identifier: u8, why: String) -> Answer {
    Answer::Reject { eap: eap::failure(identifier), why }
}

fn no_common_method(wanted: &[u8], methods: &[EapMethod]) -> String {
    let named = |numbers: &mut dyn Iterator<Item = u8>| numbers.map(method::name).collect::<Vec<_>>().join(", ");
    let ours = named(&mut methods.iter().map(|method| method.number()));
    match named(&mut wanted.iter().copied().filter(|number| *number != 0)) {
        theirs if theirs.is_empty() => format!("the client refuses every EAP method of the local provider ({ours})"),
        theirs => format!("the client wants {theirs}; the local provider has {ours}"),
    }
}
