//! EAP-TLS with TLS 1.2 (RFC 5216) and 1.3 (RFC 9190), the server's end: fragments both ways, keys.
use crate::book::Asked;
use crate::conversation::{Context, Step};
use crypto::Zeroizing;
use radius_client::Accept;
use tls::{MutualConnection, MutualSettings, TlsError};

const LENGTH_INCLUDED: u8 = 0x80;
const MORE_FRAGMENTS: u8 = 0x40;
const START: u8 = 0x20;

/// A chain of certificates with some big keys; more is no honest client.
const MAX_MESSAGE: usize = 64 << 10;

/// Packets of a conversation: 64 KiB in small fragments both ways, and some.
const MAX_ROUNDS: u32 = 200;

/// EAP header, type and flags; the length of a fragmented message.
const OVERHEAD: usize = 6 + 4;

/// Sent last with TLS 1.3 (RFC 9190 section 2.5): the server has nothing more to say.
const COMMITMENT: [u8; 1] = [0];

pub(crate) struct EapTls {
    tls: MutualConnection,
    /// Bytes of TLS in one packet, at most.
    fragment: usize,
    /// What the client still has to get, and where in it we are.
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
    /// Length that the client said a message has.
    announced: Option<usize>,
    rounds: u32,
    stage: Stage,
}

enum Stage {
    Handshake,
    /// Everything is said; the client shall acknowledge.
    Done(Box<Accept>),
    /// The client shall read our alert.
    Failing(String),
}

impl EapTls {
    /// With the data of its first request. `packet`: bytes of an EAP packet, at most.
    ///
    /// # Errors
    /// A fault of the TLS library.
    pub(crate) fn start(settings: &MutualSettings, now: i64, packet: usize) -> Result<(Self, Vec<u8>), TlsError> {
        let method = Self {
            tls: MutualConnection::new(settings, now)?,
            fragment: packet.saturating_sub(OVERHEAD).max(1),
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            announced: None,
            rounds: 0,
            stage: Stage::Handshake,
        };
        Ok((method, vec![START]))
    }

    /// Takes the data of a response.
    pub(crate) fn respond(&mut self, data: &[u8], context: &Context<'_>) -> Step {
        self.rounds += 1;
        let Some((&flags, body)) = data.split_first() else { return malformed("has no flags") };
        if self.rounds > MAX_ROUNDS {
            return malformed("is one too many");
        }
        if self.sent < self.outgoing.len() {
            return if body.is_empty() { self.next_fragment() } else { malformed("comes while the client should acknowledge a fragment") };
        }
        if let Err(step) = self.collect(flags, body) {
            return step;
        }
        if flags & MORE_FRAGMENTS != 0 {
            return Step::Request(vec![0]);
        }
        if self.announced.take().is_some_and(|length| length != self.incoming.len()) {
            return malformed("ends a message of another length than announced");
        }
        let message = std::mem::take(&mut self.incoming);
        if message.is_empty() { self.acknowledged() } else { self.message(&message, context) }
    }

    fn collect(&mut self, flags: u8, mut body: &[u8]) -> Result<(), Step> {
        if flags & LENGTH_INCLUDED != 0 {
            let (length, rest) = body.split_first_chunk().ok_or_else(|| malformed("lacks the length that it announces"))?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > MAX_MESSAGE {
                return Err(malformed("announces too large a length"));
            }
            // Some clients repeat it, or say in later fragments how much is left.
            self.announced.get_or_insert(length);
            body = rest;
        }
        if self.incoming.len() + body.len() > MAX_MESSAGE {
            return Err(malformed("makes a message too long"));
        }
        self.incoming.extend_from_slice(body);
        Ok(())
    }

    fn acknowledged(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Handshake) {
            Stage::Done(accept) => Step::Accept(accept),
            Stage::Failing(why) => Step::Reject(why),
            Stage::Handshake => Step::Reject("the client fell silent in the middle of the TLS handshake".into()),
        }
    }

    fn message(&mut self, message: &[u8], context: &Context<'_>) -> Step {
        let mut out = Vec::new();
        match (self.tls.receive(message, &mut out), &self.stage) {
            // It read our alert and says something besides.
            (_, Stage::Failing(why)) => return Step::Reject(why.clone()),
            (Err(error), _) if out.is_empty() => return Step::Reject(error.to_string()),
            (Err(error), _) => self.stage = Stage::Failing(error.to_string()),
            (Ok(true), Stage::Handshake) => match self.finish(context, &mut out) {
                Ok(accept) => self.stage = Stage::Done(Box::new(accept)),
                Err(why) => return Step::Reject(why),
            },
            (Ok(_), _) => {}
        }
        if out.is_empty() {
            return Step::Reject("the client's TLS message is incomplete or was not expected".into());
        }
        (self.outgoing, self.sent) = (out, 0);
        self.next_fragment()
    }

    /// The handshake is complete: who is it, and with which keys?
    fn finish(&mut self, context: &Context<'_>, out: &mut Vec<u8>) -> Result<Accept, String> {
        let certificate = self.tls.client_certificate().ok_or("the client shows no certificate that can be read")?;
        let asked = Asked { at: context.at, name: context.identity, source: context.source };
        let accept = context.book.certificate(&asked, &certificate).map_err(|refusal| refusal.why)?;
        let mut keys = Zeroizing::new([0; 128]);
        let exported = if self.tls.is_tls13() {
            self.tls.send(&COMMITMENT, out).map_err(|error| error.to_string())?;
            // RFC 9190 section 2.3: the context is the EAP type.
            self.tls.export(b"EXPORTER_EAP_TLS_Key_Material", Some(&[eap::method::TLS]), &mut *keys)
        } else {
            // RFC 5216 section 2.3.
            self.tls.export(b"client EAP encryption", None, &mut *keys)
        };
        exported.map_err(|error| error.to_string())?;
        Ok(Accept { msk: Zeroizing::new(keys[..64].to_vec()), client_certificate: Some(certificate.der), ..accept })
    }

    fn next_fragment(&mut self) -> Step {
        let rest = &self.outgoing[self.sent..];
        let now = rest.len().min(self.fragment);
        let more = if now < rest.len() { MORE_FRAGMENTS } else { 0 };
        let mut data = vec![more];
        if self.sent == 0 && more != 0 {
            data[0] |= LENGTH_INCLUDED;
            data.extend_from_slice(&u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        data.extend_from_slice(&rest[..now]);
        self.sent += now;
        Step::Request(data)
    }
}

fn malformed(what: &str) -> Step {
    Step::Reject(format!("the client's EAP-TLS packet {what}"))
}
