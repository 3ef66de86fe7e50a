//! Postquantum preshared keys (RFC 8784): a secret that both sides hold under a name is mixed into the keys that come from the key exchange, so that
//! who records a session and breaks the exchange later still lacks it.
use crate::wire::{Auth, Notify, Payloads, notify};
use crypto::Zeroizing;

/// PPK_ID_FIXED: the identity is a string of octets that both sides know (section 5.1).
const FIXED: u8 = 2;

/// A key under its PPK_ID.
#[derive(Clone, PartialEq, Eq)]
pub struct Ppk {
    pub id: Vec<u8>,
    /// Of at least 256 bits of entropy (section 6).
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Ppk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ppk").field("id", &self.name()).finish_non_exhaustive()
    }
}

impl Ppk {
    /// The PPK_ID for a record.
    pub fn name(&self) -> String {
        name(&self.id)
    }

    /// N(PPK_IDENTITY) that names it.
    pub(crate) fn identity(&self) -> Notify {
        Notify::new(notify::PPK_IDENTITY, [&[FIXED], self.id.as_slice()].concat())
    }
}

fn name(id: &[u8]) -> String {
    String::from_utf8_lossy(id).escape_debug().to_string()
}

/// A responder's keys.
#[derive(Debug, Clone, Default)]
pub struct PpkPolicy {
    /// Empty: none is spoken of.
    pub keys: Vec<Ppk>,
    /// Clients without one of them are refused with AUTHENTICATION_FAILED, those that know no PPK at all included.
    pub required: bool,
}

/// What an initiator brings.
#[derive(Debug, Clone)]
pub struct InitiatorPpk {
    pub ppk: Ppk,
    /// A gateway that does not know it is left.
    pub required: bool,
}

/// What is to be done with a request that holds AUTH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// Nobody spoke of a PPK.
    Unused,
    Use(&'a Ppk),
    /// The client's key is not known here, and it has proved itself without as well: this is its AUTH.
    Without(Auth),
}

impl PpkPolicy {
    /// What both sides agreed on in IKE_SA_INIT decides, then what the request holds (section 3). `offered`: the client sent USE_PPK.
    ///
    /// # Errors
    /// One sentence on why the login ends here with AUTHENTICATION_FAILED.
    pub(crate) fn choose(&self, offered: bool, payloads: &Payloads) -> Result<Choice<'_>, String> {
        self.admits(offered)?;
        if !offered || self.keys.is_empty() {
            return Ok(Choice::Unused);
        }
        let identity = payloads.notify(notify::PPK_IDENTITY).map(|notify| notify.data.as_slice());
        let known = identity.and_then(|data| match data {
            [FIXED, id @ ..] => self.keys.iter().find(|key| key.id == id),
            _ => None,
        });
        if let Some(ppk) = known {
            return Ok(Choice::Use(ppk));
        }
        let Some(identity) = identity else {
            let demand = "the client offered a PPK and then named none, and this gateway demands one";
            return if self.required { Err(demand.into()) } else { Ok(Choice::Unused) };
        };
        let stranger = match identity {
            [FIXED, id @ ..] => format!("the client's PPK {:?} is not known here", name(id)),
            [kind, ..] => format!("the client names its PPK by an identity of type {kind}, which is not known here"),
            [] => "the client names its PPK by an empty identity".to_owned(),
        };
        if self.required {
            return Err(format!("{stranger}, and this gateway demands one"));
        }
        let plain = payloads.notify(notify::NO_PPK_AUTH).zip(payloads.auth());
        match plain {
            Some((proof, auth)) => Ok(Choice::Without(Auth { method: auth.method, data: proof.data.clone() })),
            None => Err(format!("{stranger}, and the client demands it: it sent no NO_PPK_AUTH")),
        }
    }

    /// Whether a client that did, or did not, send USE_PPK may go on.
    ///
    /// # Errors
    /// One sentence on why not.
    pub(crate) fn admits(&self, offered: bool) -> Result<(), String> {
        if self.required && !offered {
            return Err("the client offers no PPK (RFC 8784), and this gateway demands one: the listener has ppk = \"required\"".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Exchange, Flags, Header, Message, Payload, Spi, auth_method, encode};

    fn policy(required: bool) -> PpkPolicy {
        let key = |id: &[u8], secret: u8| Ppk { id: id.to_vec(), secret: vec![secret; 32].into() };
        PpkPolicy { keys: vec![key(b"one", 1), key(b"two", 2)], required }
    }

    fn payloads(identity: Option<&[u8]>, proof: Option<&[u8]>) -> Payloads {
        let mut payloads = vec![Payload::Auth(Auth { method: auth_method::DIGITAL_SIGNATURE, data: b"with".to_vec() })];
        payloads.extend(identity.map(|data| Payload::Notify(Notify::new(notify::PPK_IDENTITY, data))));
        payloads.extend(proof.map(|data| Payload::Notify(Notify::new(notify::NO_PPK_AUTH, data))));
        let header = Header::new(Spi(1), Spi(2), Exchange::IkeAuth, Flags::default(), 1);
        Message::parse(&encode(&header, &payloads)).unwrap().payloads
    }

    /// The table of section 3, row by row.
    #[test]
    fn the_table() {
        let (optional, mandatory, none) = (policy(false), policy(true), PpkPolicy::default());
        let nothing = payloads(None, None);
        let known = payloads(Some(b"\x02two"), None);
        let strange = payloads(Some(b"\x02three"), None);
        let strange_or_without = payloads(Some(b"\x02three"), Some(b"without"));
        assert_eq!(none.choose(false, &nothing), Ok(Choice::Unused));
        assert_eq!(none.choose(true, &known), Ok(Choice::Unused), "we did not say that we know PPKs");
        assert_eq!(optional.choose(false, &nothing), Ok(Choice::Unused));
        assert!(mandatory.choose(false, &nothing).unwrap_err().contains("offers no PPK"));
        assert!(optional.choose(true, &strange).unwrap_err().contains("NO_PPK_AUTH"));
        assert!(mandatory.choose(true, &strange).unwrap_err().contains("\"three\""));
        assert!(mandatory.choose(true, &strange_or_without).unwrap_err().contains("demands"));
        let without = Auth { method: auth_method::DIGITAL_SIGNATURE, data: b"without".to_vec() };
        assert_eq!(optional.choose(true, &strange_or_without), Ok(Choice::Without(without)));
        for policy in [&optional, &mandatory] {
            assert_eq!(policy.choose(true, &known), Ok(Choice::Use(&policy.keys[1])));
            let known_or_without = payloads(Some(b"\x02one"), Some(b"without"));
            assert_eq!(policy.choose(true, &known_or_without), Ok(Choice::Use(&policy.keys[0])), "never without where both know it");
        }
        assert!(mandatory.choose(true, &nothing).is_err());
    }

    #[test]
    fn identities_of_other_types_are_strangers() {
        for identity in [&b""[..], b"\x02", b"\x01one", b"\x00one", b"one", b"\x02on", b"\x02one\0"] {
            let choice = policy(false);
            assert!(choice.choose(true, &payloads(Some(identity), None)).is_err(), "{identity:?}");
        }
    }

    #[test]
    fn the_secret_is_never_shown() {
        let text = format!("{:?}", policy(true));
        assert!(text.contains("one") && !text.contains("1, 1"), "{text}");
    }
}
