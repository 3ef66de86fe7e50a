//! May this datagram be believed? The checks of a reply, in the order that RFC 5080 and CVE-2024-3596 ask for.
use crate::api::Counters;
use crate::attributes::number;
use crate::codec::{Packet, code};
use crate::mppe::Hiding;
use crypto::constant_time_eq;
use std::net::SocketAddr;

/// What a line to a server carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Authentication,
    Accounting,
}

impl Purpose {
    fn accepts(self, code: u8) -> bool {
        match self {
            Self::Authentication => matches!(code, code::ACCESS_ACCEPT | code::ACCESS_REJECT | code::ACCESS_CHALLENGE),
            Self::Accounting => code == code::ACCOUNTING_RESPONSE,
        }
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Source,
    Malformed,
    Unsolicited,
    Authenticator,
    MessageAuthenticator,
    NoMessageAuthenticator,
    Code,
    ProxyState,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "from another address or port",
            Self::Malformed => "malformed",
            Self::Unsolicited => "unsolicited",
            Self::Authenticator => "with a wrong Response Authenticator (another shared secret?)",
            Self::MessageAuthenticator => "with a wrong Message-Authenticator",
            Self::NoMessageAuthenticator => "without Message-Authenticator (update the server, or stop requiring it for this server)",
            Self::Code => "with a code that answers no such request",
            Self::ProxyState => "with Proxy-State that was never sent (an attack?)",
        })
    }
}

/// The address a reply must come from; scope and flow label do not count.
pub(crate) fn same_source(from: SocketAddr, server: SocketAddr) -> bool {
    from.ip() == server.ip() && from.port() == server.port()
}

/// The request that a reply has to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) hiding: Hiding<'a>,
    pub(crate) require_message_authenticator: bool,
}

impl Expected<'_> {
    /// Checks what depends on the request. Source, form and identifier have been checked before.
    pub(crate) fn check(&self, reply: &Packet<'_>) -> Result<(), Dropped> {
        let tls = match self.hiding {
            Hiding::Secret { request_authenticator, secret } => {
                if !constant_time_eq(reply.authenticator(), &reply.response_authenticator(request_authenticator, secret)) {
                    return Err(Dropped::Authenticator);
                }
                self.check_message_authenticator(reply, request_authenticator, secret)?;
                false
            }
            // What came over TLS is authentic; a Message-Authenticator says nothing (RFC 9765 section 5.2).
            Hiding::Tls => true,
        };
        let answers = self.purpose.accepts(reply.code()) || tls && reply.code() == code::PROTOCOL_ERROR;
        if !answers {
            return Err(Dropped::Code);
        }
        // This client never sends Proxy-State: one in a reply was smuggled in to make room for an MD5 collision (CVE-2024-3596).
        if reply.first(number::PROXY_STATE).is_some() {
            return Err(Dropped::ProxyState);
        }
        Ok(())
    }

    fn check_message_authenticator(&self, reply: &Packet<'_>, request_authenticator: &[u8; 16], secret: &[u8]) -> Result<(), Dropped> {
        let mut all = reply.all(number::MESSAGE_AUTHENTICATOR);
        let Some(found) = all.next() else {
            // RFC 3579 section 3.1: never optional next to EAP-Message.
            let required = self.purpose == Purpose::Authentication
                && (self.require_message_authenticator || reply.first(number::EAP_MESSAGE).is_some());
            return if required { Err(Dropped::NoMessageAuthenticator) } else { Ok(()) };
        };
        if all.next().is_some() || found.value.len() != 16 {
            return Err(Dropped::MessageAuthenticator);
        }
        let wanted = reply.message_authenticator(found.offset, request_authenticator, secret);
        if constant_time_eq(found.value, &wanted) { Ok(()) } else { Err(Dropped::MessageAuthenticator) }
    }
}

impl Counters {
    pub(crate) fn count(&mut self, dropped: Dropped) {
        let counter = match dropped {
            Dropped::Source => &mut self.dropped_source,
            Dropped::Malformed => &mut self.dropped_malformed,
            Dropped::Unsolicited => &mut self.dropped_unsolicited,
            Dropped::Authenticator => &mut self.dropped_authenticator,
            Dropped::MessageAuthenticator => &mut self.dropped_message_authenticator,
            Dropped::NoMessageAuthenticator => {
                self.missing_message_authenticator += 1;
                &mut self.dropped_message_authenticator
            }
            Dropped::Code => &mut self.dropped_code,
            Dropped::ProxyState => &mut self.dropped_proxy_state,
        };
        *counter += 1;
    }

    /// What was dropped since `before`, in words: `none`, or how many for which reason.
    pub fn dropped_since(&self, before: &Self) -> String {
        let missing = self.missing_message_authenticator - before.missing_message_authenticator;
        let reasons = [
            (self.dropped_source - before.dropped_source, Dropped::Source),
            (self.dropped_malformed - before.dropped_malformed, Dropped::Malformed),
            (self.dropped_unsolicited - before.dropped_unsolicited, Dropped::Unsolicited),
            (self.dropped_authenticator - before.dropped_authenticator, Dropped::Authenticator),
            (self.dropped_message_authenticator - before.dropped_message_authenticator - missing, Dropped::MessageAuthenticator),
            (missing, Dropped::NoMessageAuthenticator),
            (self.dropped_code - before.dropped_code, Dropped::Code),
            (self.dropped_proxy_state - before.dropped_proxy_state, Dropped::ProxyState),
        ];
        let words: Vec<_> = reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}
