//! The users, with what is held against guessers.
use crate::guard::{Guard, Locked, Lockout};
use crate::mschapv2::{Change, Exchange, NewPassword, NtHash, Proof, without_domain};
use crate::{Moment, Store, User, Users};
use crypto::{Random, Zeroizing, constant_time_eq};
use pki::Certificate;
use radius_client::{Accept, FramedIp};

/// MS-CHAP errors (RFC 2759 section 6).
pub(crate) const ACCOUNT_DISABLED: u16 = 647;
pub(crate) const PASSWORD_EXPIRED: u16 = 648;
pub(crate) const AUTHENTICATION_FAILURE: u16 = 691;
pub(crate) const CHANGING_PASSWORD: u16 = 709;

/// Bytes of a name that are told apart when failures are counted.
const MAX_COUNTED_NAME: usize = 253;

pub(crate) struct Book {
    pub(crate) users: Users,
    pub(crate) lockout: Lockout,
    /// Characters that a new password has at least.
    pub(crate) password_min: usize,
    guard: Guard,
    /// What the password of an unknown user is compared with: so it takes as long as that of a known one.
    decoy: NtHash,
}

/// Somebody's word that was checked.
pub(crate) struct Asked<'a> {
    pub(crate) at: Moment,
    /// As the client sent it.
    pub(crate) name: &'a [u8],
    /// Address of the client.
    pub(crate) source: &'a str,
}

/// A no: what the client hears, and what the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As MS-CHAP numbers it.
    pub(crate) code: u16,
    pub(crate) why: String,
}

impl Refusal {
    fn new(code: u16, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl Book {
    pub(crate) fn new(users: Users, lockout: Lockout, password_min: usize, random: &mut dyn Random) -> Self {
        let mut decoy = Zeroizing::new([0; 16]);
        random.fill(&mut *decoy);
        Self { users, lockout, password_min, guard: Guard::default(), decoy }
    }

    /// Whom nobody listens to now; those for longest first.
    pub(crate) fn locks(&self, now: std::time::Instant) -> Vec<Locked> {
        self.guard.locks(now, self.lockout)
    }

    /// MS-CHAPv2 of whatever wrapping.
    pub(crate) fn ms_chap(
        &mut self,
        asked: &Asked<'_>,
        exchange: &Exchange<'_>,
        nt_response: &[u8; 24],
    ) -> Result<(Proof, Accept), Refusal> {
        let proof = exchange.verify(self.hash_of(asked.name), nt_response);
        let accept = self.judge(asked, proof.is_some())?;
        // `judge` lets nobody pass without proof.
        let mut proof = proof.ok_or_else(|| Refusal::new(AUTHENTICATION_FAILURE, "the password is wrong"))?;
        let msk = std::mem::take(&mut proof.msk);
        Ok((proof, Accept { msk, ..accept }))
    }

    /// A new password, of somebody who knows the old one and has to change it. It is stored before it counts.
    pub(crate) fn change(
        &mut self,
        asked: &Asked<'_>,
        exchange: &Exchange<'_>,
        change: &Change<'_>,
        store: &mut Store<'_>,
    ) -> Result<(Proof, Accept), Refusal> {
        let opened = change.open(exchange, self.hash_of(asked.name));
        let accept = match self.judge(asked, opened.is_some()) {
            Err(refusal) if refusal.code == PASSWORD_EXPIRED => Ok(refusal),
            Err(refusal) => Err(refusal),
            Ok(_) => {
                Err(Refusal::new(CHANGING_PASSWORD, "the client changes a password that need not be changed (users file: must-change)"))
            }
        };
        accept?;
        // `judge` lets nobody so far without proof.
        let wrong = || Refusal::new(AUTHENTICATION_FAILURE, "the password is wrong");
        let NewPassword { unicode, hash, mut proof } = opened.ok_or_else(wrong)?;
        let mut user = self.users.find(asked.name).cloned().ok_or_else(wrong)?;
        self.refuse_bad(&user, &unicode, &hash)?;
        user.set_password(hash);
        store(&user).map_err(|problem| Refusal::new(CHANGING_PASSWORD, format!("the new password could not be stored: {problem}")))?;
        self.users.put(user.clone());
        let accept = admit(&user, asked.at)?;
        let msk = std::mem::take(&mut proof.msk);
        Ok((proof, Accept { msk, ..accept }))
    }

    /// What no new password may be.
    fn refuse_bad(&self, user: &User, unicode: &[u8], hash: &NtHash) -> Result<(), Refusal> {
        let units: Zeroizing<Vec<u16>> =
            Zeroizing::new(unicode.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect());
        let text = String::from_utf16(&units).map(Zeroizing::new);
        let why = match text {
            Err(_) => "is no text".to_owned(),
            Ok(text) if text.chars().count() < self.password_min => format!("has less than {} characters", self.password_min),
            Ok(text) if text.eq_ignore_ascii_case(&user.name) => "is the name of the user".to_owned(),
            Ok(_) if user.nt_hash.as_ref().is_some_and(|old| constant_time_eq(&**old, &**hash)) => "is the old one".to_owned(),
            Ok(_) => return Ok(()),
        };
        Err(Refusal::new(CHANGING_PASSWORD, format!("the new password {why}")))
    }

    /// A password in the clear.
    pub(crate) fn password(&mut self, asked: &Asked<'_>, password: &[u8]) -> Result<Accept, Refusal> {
        let hash = crate::nt_hash(&Zeroizing::new(String::from_utf8_lossy(password).into_owned()));
        let right = constant_time_eq(&*hash, &**self.hash_of(asked.name));
        self.judge(asked, right)
    }

    /// A verified certificate, which must be made out to the identity that the client named.
    pub(crate) fn certificate(&self, asked: &Asked<'_>, certificate: &Certificate) -> Result<Accept, Refusal> {
        let names = || {
            let own = certificate.upns.iter().chain(&certificate.emails).chain(&certificate.dns_names);
            own.chain(&certificate.common_name)
        };
        let identity = String::from_utf8_lossy(asked.name);
        let bare = identity.strip_prefix("host/").unwrap_or(&identity);
        let bare = bare.rsplit_once('\\').map_or(bare, |(_, name)| name);
        if !names().any(|name| name.eq_ignore_ascii_case(bare)) {
            let listed: Vec<_> = names().map(|name| format!("{name:?}")).collect();
            let why = format!("the certificate {} is made out to {}, not to the identity", certificate.subject, listed.join(", "));
            return Err(Refusal::new(AUTHENTICATION_FAILURE, why));
        }
        let found = self.users.find(bare.as_bytes()).or_else(|| names().find_map(|name| self.users.get(name)));
        let user =
            found.ok_or_else(|| Refusal::new(AUTHENTICATION_FAILURE, "the certificate is good, but the users file has no such user"))?;
        admit(user, asked.at)
    }

    fn hash_of(&self, name: &[u8]) -> &NtHash {
        self.users.find(name).and_then(|user| user.nt_hash.as_ref()).unwrap_or(&self.decoy)
    }

    /// Who is refused for the wrong password, or for being locked out, hears the same.
    fn judge(&mut self, asked: &Asked<'_>, right: bool) -> Result<Accept, Refusal> {
        let user = self.users.find(asked.name);
        let counted = user.map_or_else(|| counted_name(asked.name), |user| user.name.to_lowercase());
        if let Some(rest) = self.guard.locked(asked.at.instant, self.lockout, &counted, asked.source) {
            let why = format!("locked out for {} more seconds after too many wrong passwords", rest.as_secs().max(1));
            return Err(Refusal::new(AUTHENTICATION_FAILURE, why));
        }
        let Some(user) = user.filter(|user| right && user.nt_hash.is_some()) else {
            let why = match user {
                None => "the users file has no such user",
                Some(user) if user.nt_hash.is_none() => "the user has no password, only certificates",
                Some(_) => "the password is wrong",
            };
            self.guard.failed(asked.at.instant, self.lockout, &counted, asked.source);
            return Err(Refusal::new(AUTHENTICATION_FAILURE, why));
        };
        let admitted = admit(user, asked.at).and_then(|accept| {
            if user.needs_another_password(asked.at.unix_time) {
                let why =
                    "the password must be changed first, which MS-CHAPv2 and EAP-MSCHAPv2 can (users file: must-change, password-expires)";
                return Err(Refusal::new(PASSWORD_EXPIRED, why));
            }
            Ok(accept)
        });
        self.guard.succeeded(&counted, asked.source);
        admitted
    }
}

fn counted_name(name: &[u8]) -> String {
    let bare = without_domain(name);
    String::from_utf8_lossy(&bare[..bare.len().min(MAX_COUNTED_NAME)]).to_lowercase()
}

/// Who has proven to be this user.
fn admit(user: &User, at: Moment) -> Result<Accept, Refusal> {
    if user.disabled {
        return Err(Refusal::new(ACCOUNT_DISABLED, "the user is disabled in the users file"));
    }
    if let Some(last) = user.expires.filter(|_| user.has_expired(at.unix_time)) {
        // Not 648: a client would offer to change the password, which would not help.
        return Err(Refusal::new(ACCOUNT_DISABLED, format!("the user expired after {last} (users file)")));
    }
    Ok(Accept {
        user_name: Some(user.name.clone()),
        groups: user.groups.clone(),
        framed_ip: user.ipv4.map(FramedIp::Fixed),
        framed_ipv6: user.ipv6,
        ..Accept::default()
    })
}
