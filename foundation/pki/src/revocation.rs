//! Whether the authorities of a path still stand by its certificates.
use crate::purpose::CLIENT_AUTH;
use crate::signed::Signed;
use crate::{Certificate, Crl, Refused, Revocation, TrustAnchors, UnixTime, date};
use std::sync::Arc;

/// How far an authority's clock may be ahead of ours.
const CLOCK_SKEW: UnixTime = 300;

impl TrustAnchors {
    /// Looks for no revocation; clients must be for clientAuth.
    pub fn new(roots: Vec<Certificate>) -> Self {
        let subordinate = subordinates(&roots);
        Self { roots, subordinate, client_purposes: vec![CLIENT_AUTH.to_owned()], revocation: Revocation::Off, crls: Vec::new() }
    }

    /// Which purposes (EKU, dotted OIDs) a client certificate may be for; one is enough.
    pub fn with_client_purposes(mut self, oids: Vec<String>) -> Self {
        self.client_purposes = oids;
        self
    }

    /// How revocation is checked, and with which lists. Of lists about the same certificates the newest counts.
    pub fn with_revocation(mut self, revocation: Revocation, crls: &[Arc<Crl>]) -> Self {
        let is_replaced = |crl: &Crl, at: usize| {
            crls.iter().enumerate().any(|(other_at, other)| {
                crl.is_alike(other) && (other.this_update, other.next_update, other_at) > (crl.this_update, crl.next_update, at)
            })
        };
        self.revocation = revocation;
        self.crls = crls.iter().enumerate().filter(|(at, crl)| !is_replaced(crl, *at)).map(|(_, crl)| Arc::clone(crl)).collect();
        self
    }

    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    pub fn client_purposes(&self) -> &[String] {
        &self.client_purposes
    }

    pub fn revocation(&self) -> Revocation {
        self.revocation
    }

    /// The lists in use.
    pub fn crls(&self) -> &[Arc<Crl>] {
        &self.crls
    }

    /// Checks `path`, leaf first, root last, which has been verified otherwise. Yields notes about what passed unchecked.
    pub(crate) fn check_revocation(&self, path: &[&Certificate], now: UnixTime) -> Result<Vec<String>, Refused> {
        if self.revocation == Revocation::Off {
            return Ok(Vec::new());
        }
        let mut notes = Vec::new();
        let mut unknown = None;
        for pair in path.windows(2) {
            let [certificate, issuer] = pair else { continue };
            let subject = || certificate.subject.clone();
            match self.status(certificate, issuer, now) {
                Status::Good => {}
                Status::Revoked { at, reason } => {
                    return Err(Refused::Revoked { subject: subject(), serial: certificate.serial.clone(), at, reason });
                }
                Status::Unknown(reason) => {
                    notes.push(format!("certificate {} was not checked for revocation: {reason}", certificate.subject));
                    unknown.get_or_insert(Refused::RevocationUnknown { subject: subject(), reason });
                }
            }
        }
        match unknown {
            Some(refused) if self.revocation == Revocation::Hard => Err(refused),
            _ => Ok(notes),
        }
    }

    fn status(&self, certificate: &Certificate, issuer: &Certificate, now: UnixTime) -> Status {
        let lists: Vec<_> = self.crls.iter().filter(|crl| crl.covers(certificate, issuer)).collect();
        // A list that has run out still tells whom it names.
        if let Some(entry) = lists.iter().find_map(|crl| crl.entry(certificate)) {
            return Status::Revoked { at: entry.at, reason: entry.reason };
        }
        if lists.iter().any(|crl| crl.this_update <= now.saturating_add(CLOCK_SKEW) && now < crl.next_update) {
            return Status::Good;
        }
        let name = &certificate.issuer;
        Status::Unknown(match lists.iter().max_by_key(|crl| crl.next_update) {
            Some(crl) if now < crl.next_update => {
                format!("the revocation list of {name} is from the future ({}): check this host's clock", date::text(crl.this_update))
            }
            Some(crl) => format!("the revocation list of {name} was due to be replaced at {}", date::text(crl.next_update)),
            None if certificate.crl_urls.is_empty() => format!("there is no revocation list of {name} that covers it"),
            None => format!("there is no revocation list of {name} that covers it; it names {}", certificate.crl_urls.join(" ")),
        })
    }
}

impl Default for TrustAnchors {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

enum Status {
    Good,
    Revoked { at: UnixTime, reason: &'static str },
    Unknown(String),
}

/// For each of `roots`: a chain leads from it to another one of them. Authorities that have only issued each other are roots.
fn subordinates(roots: &[Certificate]) -> Vec<bool> {
    let issuers: Vec<Vec<usize>> = roots.iter().map(|root| issuers(root, roots)).collect();
    let mut reached: Vec<bool> = issuers.iter().map(Vec::is_empty).collect();
    while let Some(next) = (0..roots.len()).find(|at| !reached[*at] && issuers[*at].iter().any(|issuer| reached[*issuer])) {
        reached[next] = true;
    }
    issuers.iter().zip(reached).map(|(issuers, reached)| reached && !issuers.is_empty()).collect()
}

/// Which of `roots` have signed `root`.
fn issuers(root: &Certificate, roots: &[Certificate]) -> Vec<usize> {
    let Some(signed) = Signed::from_der(&root.der).filter(|_| !root.is_self_issued()) else { return Vec::new() };
    let signs = |issuer: &Certificate| issuer.subject_der == root.issuer_der && signed.is_by(&issuer.spki);
    roots.iter().enumerate().filter(|(_, issuer)| signs(issuer)).map(|(at, _)| at).collect()
}
