//! Which of several server certificates a client gets to see. The rules are the same for every protocol and stand in one order; where they leave
//! more than one certificate, that is a tie, which a configuration must not have ([`find_tie`]).
use crate::steering::{Named, Steered};
use crate::{Certificate, Credential};
use crypto::sign::KeyKind;
use std::fmt::Write as _;
use std::net::IpAddr;

/// One of the certificates that a listener may show, and whom it is for.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// What the configuration calls it.
    pub name: String,
    pub credential: Credential,
    /// DNS names, exact or `*.example.com` for one label more, that clients ask for to see it; `None`: those of the certificate.
    pub names: Option<Vec<String>>,
    /// Addresses of the gateway where clients see it in preference; empty: it is for none in particular.
    pub addresses: Vec<IpAddr>,
    /// Realms of clients that see it in preference; empty: it is for none in particular.
    pub realms: Vec<String>,
    /// For clients that tell nothing that decides.
    pub default: bool,
    /// SHA-1 of the keys of the authorities above it, as CERTREQ names them (RFC 7296 section 3.7).
    pub authorities: Vec<[u8; 20]>,
}

/// The name that a client asks for: SNI, IDr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedName<'a> {
    Dns(&'a str),
    Address(IpAddr),
    Email(&'a str),
    /// DER of a distinguished name.
    Subject(&'a [u8]),
}

/// How a client's signature check fares with a kind of key: `None` where it would fail, else a rank, the lowest being the best.
pub type KeyRank<'a> = &'a dyn Fn(KeyKind) -> Option<u8>;

/// What a client tells before it is authenticated; none of it is proved, and no certificate is a secret.
#[derive(Clone, Copy)]
pub struct Hints<'a> {
    pub name: Option<AskedName<'a>>,
    /// What `name` came in, for the record: `SNI`, `IDr`.
    pub name_source: &'static str,
    /// Authorities that it trusts: SHA-1 of their keys (CERTREQ). Empty: it does not say.
    pub authorities: &'a [[u8; 20]],
    /// The gateway's address that it came to.
    pub address: Option<IpAddr>,
    /// What it calls itself (IDi): an e-mail address or a DNS name.
    pub itself: Option<&'a str>,
    pub keys: KeyRank<'a>,
    /// Who has a say before the rules, and what else it goes by; `None`: nobody.
    pub steering: Option<Steered<'a>>,
}

impl std::fmt::Debug for Hints<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints")
            .field("name", &self.name)
            .field("authorities", &self.authorities.len())
            .field("address", &self.address)
            .field("itself", &self.itself)
            .field("steering", &self.steering)
            .finish_non_exhaustive()
    }
}

impl Hints<'_> {
    /// The clients that tell this: `clients that ask for vpn.example.com and come to 192.0.2.1`.
    pub fn words(&self) -> String {
        let mut text = match self.name.and_then(AskedName::text) {
            Some(name) => format!("clients that ask for {name}"),
            None => "clients that ask for no name".to_owned(),
        };
        if !self.authorities.is_empty() {
            text.push_str(" and trust the authorities of both (CERTREQ)");
        }
        if let Some(address) = self.address {
            write!(text, " and come to {address}").unwrap_or_default();
        }
        if let Some(realm) = self.itself {
            write!(text, " and call themselves {realm}").unwrap_or_default();
        }
        text
    }
}

/// What decided between two certificates, the first rule that told them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The client cannot verify the signature of the other one's key.
    Signature,
    /// Named by a policy that may let the client in ([`crate::Steering`]).
    Policy,
    /// Made out to the name that the client asks for, exactly before by a wildcard.
    Name,
    /// Issued by an authority that the client trusts.
    Authority,
    /// Meant for the address that the client came to; one meant for other addresses comes last.
    Address,
    /// Meant for the client's realm; one meant for other realms comes last.
    Realm,
    /// The listener's default.
    Default,
    /// Between certificates for the same names: the kind of key that suits the client best.
    Key,
}

/// The certificate that a client sees, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Its place in the list.
    pub index: usize,
    /// What the configuration calls it.
    pub name: String,
    /// Its leaf, in DER.
    pub leaf: Vec<u8>,
    /// The last rule that ruled another one out; `None`: there is no other.
    pub rule: Option<Rule>,
    /// It is made out to the name that the client asks for.
    pub is_made_out: bool,
    /// In words: `made out to vpn.example.com (SNI)`.
    pub why: String,
    /// The others by name, each with the reason.
    pub passed_over: Vec<(String, String)>,
    /// Wishes of the client that no certificate fulfils, a line each: the likely reason if it now refuses.
    pub remarks: Vec<String>,
    /// The policy that names it.
    pub policy: Option<String>,
    /// Another one that nothing but the alphabet passed over.
    pub tied: Option<String>,
}

/// Two certificates between which no rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    pub first: String,
    pub second: String,
    /// Which clients: `clients that ask for vpn.example.com`.
    pub clients: String,
}

impl From<Credential> for ServerCertificate {
    /// For whoever asks for one of the names in it.
    fn from(credential: Credential) -> Self {
        let authorities = known_authorities(&credential, &[]);
        let name = credential.leaf().subject.clone();
        Self { name, credential, names: None, addresses: Vec::new(), realms: Vec::new(), default: false, authorities }
    }
}

impl ServerCertificate {
    /// The DNS names that clients ask for to see it.
    pub fn dial_names(&self) -> &[String] {
        self.names.as_ref().unwrap_or(&self.credential.leaf().dns_names)
    }

    /// What it is made out to besides names of the DNS.
    fn other_identities(&self) -> impl Iterator<Item = AskedName<'_>> {
        let leaf = self.credential.leaf();
        let of_leaf = leaf.ip_addresses.iter().copied().filter(|_| self.names.is_none());
        let dialled = self.dial_names().iter().filter_map(|name| name.parse().ok());
        of_leaf.chain(dialled).map(AskedName::Address).chain(leaf.emails.iter().map(|email| AskedName::Email(email)))
    }

    fn fit(&self, asked: AskedName<'_>) -> NameFit {
        let leaf = self.credential.leaf();
        let exact = |fits: bool| if fits { NameFit::Exact } else { NameFit::None };
        match asked {
            AskedName::Dns(name) => {
                let fits = self.dial_names().iter().map(|own| dns_fit(own, name));
                fits.max().unwrap_or(NameFit::None)
            }
            AskedName::Address(address) => {
                let listed = self.names.is_none() && leaf.ip_addresses.contains(&address);
                exact(listed || self.dial_names().iter().any(|name| *name == address.to_string()))
            }
            AskedName::Email(email) => exact(leaf.emails.iter().any(|own| own == email)),
            AskedName::Subject(der) => exact(leaf.subject_der == der),
        }
    }

    fn score(&self, hints: &Hints<'_>) -> Score {
        Score {
            name: hints.name.map_or(NameFit::None, |asked| self.fit(asked)),
            trusted: self.authorities.iter().any(|authority| hints.authorities.contains(authority)),
            address: Meant::of(&self.addresses, |own| hints.address.is_some_and(|address| address.to_canonical() == own.to_canonical())),
            realm: Meant::of(&self.realms, |realm| hints.itself.is_some_and(|itself| is_in_realm(itself, realm))),
            default: self.default,
        }
    }

    fn has_names_of(&self, other: &Self) -> bool {
        let sorted = |certificate: &Self| {
            let mut names: Vec<_> = certificate.dial_names().iter().map(|name| canonical(name)).collect();
            names.sort();
            names.dedup();
            names
        };
        sorted(self) == sorted(other)
    }
}

/// How well names fit; the larger the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NameFit {
    None,
    Wildcard,
    Exact,
}

/// For whom a certificate is meant; the larger the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meant {
    Others,
    Anybody,
    ThisOne,
}

impl Meant {
    fn of<T>(list: &[T], is_this: impl Fn(&T) -> bool) -> Self {
        match list {
            [] => Self::Anybody,
            list if list.iter().any(is_this) => Self::ThisOne,
            _ => Self::Others,
        }
    }
}

/// The rules from [`Rule::Name`] to [`Rule::Default`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    name: NameFit,
    trusted: bool,
    address: Meant,
    realm: Meant,
    default: bool,
}

impl Score {
    /// The first rule by which this one is better; both must differ.
    fn decides(&self, other: &Self) -> Rule {
        match () {
            () if self.name != other.name => Rule::Name,
            () if self.trusted != other.trusted => Rule::Authority,
            () if self.address != other.address => Rule::Address,
            () if self.realm != other.realm => Rule::Realm,
            () => Rule::Default,
        }
    }
}

/// The certificate for this client. Where the rules end in a tie, the one whose name comes first in the alphabet: never the place in a list.
///
/// `None`: the client can verify the signature of none of them.
pub fn choose(certificates: &[ServerCertificate], hints: &Hints<'_>) -> Option<Selection> {
    let judged = judge(certificates, hints);
    let winner = *judged.best.iter().min_by_key(|index| &certificates[**index].name)?;
    let mut passed_over = Vec::new();
    let (mut rule, mut tied) = (None, None);
    for (index, certificate) in certificates.iter().enumerate().filter(|(index, _)| *index != winner) {
        let decided = judged.decided_by(index, winner);
        if decided.is_none() {
            tied = Some(certificate.name.clone());
        }
        rule = rule.max(decided);
        passed_over.push((certificate.name.clone(), reason(certificate, decided, hints)));
    }
    let chosen = &certificates[winner];
    let policy = judged.named.iter().find(|named| named.certificate == chosen.name).map(|named| named.policy.clone());
    Some(Selection {
        index: winner,
        name: chosen.name.clone(),
        leaf: chosen.credential.leaf().der.clone(),
        rule,
        is_made_out: hints.name.is_some() && judged.scores[winner].name > NameFit::None,
        why: why(chosen, rule, policy.as_deref(), tied.is_some(), hints),
        passed_over,
        remarks: remarks(chosen, hints, certificates),
        policy,
        tied,
    })
}

/// The certificates that policies name and between which nothing decides for this client but the alphabet, with their policies; empty: there are
/// no two.
pub fn undecided(certificates: &[ServerCertificate], hints: &Hints<'_>) -> Vec<Named> {
    let Judged { named, best, .. } = judge(certificates, hints);
    let is_best = |named: &Named| best.iter().any(|index| certificates[*index].name == named.certificate);
    let tied: Vec<_> = named.into_iter().filter(is_best).collect();
    if tied.len() > 1 { tied } else { Vec::new() }
}

/// Which certificates, in the same order, can be for a client that asks for this name, whatever else it tells: it can verify their signature, and
/// they are made out to the name, if any such certificate is.
pub fn answering(certificates: &[ServerCertificate], name: Option<AskedName<'_>>, keys: KeyRank<'_>) -> Vec<bool> {
    let verifiable = |certificate: &ServerCertificate| keys(certificate.credential.key.kind()).is_some();
    let fits = |certificate: &ServerCertificate| verifiable(certificate) && name.is_some_and(|name| certificate.fit(name) > NameFit::None);
    let fitting: Vec<_> = certificates.iter().map(fits).collect();
    if fitting.contains(&true) { fitting } else { certificates.iter().map(verifiable).collect() }
}

/// Each certificate's rank and score, and which are the best.
struct Judged {
    ranks: Vec<Option<u8>>,
    scores: Vec<Score>,
    /// What policies name; empty: anything.
    named: Vec<Named>,
    /// In the same order as the certificates: what the client tells does not speak against it, as far as policies go.
    suits: Vec<bool>,
    /// Policies let it be shown.
    may: Vec<bool>,
    /// More than one: a tie.
    best: Vec<usize>,
}

fn judge(certificates: &[ServerCertificate], hints: &Hints<'_>) -> Judged {
    let rank = |certificate: &ServerCertificate| (hints.keys)(certificate.credential.key.kind());
    let ranks: Vec<_> = certificates.iter().map(rank).collect();
    let scores: Vec<_> = certificates.iter().map(|certificate| certificate.score(hints)).collect();
    let verifiable: Vec<_> = ranks.iter().map(Option::is_some).collect();
    let suits = suiting(&verifiable, &scores);
    let is_suitable = |wanted: &str| certificates.iter().position(|certificate| certificate.name == wanted).is_some_and(|at| suits[at]);
    let named = hints.steering.map(|steering| steering.by.named(&steering.arrival(hints), &is_suitable)).unwrap_or_default();
    let is_named = |certificate: &ServerCertificate| named.is_empty() || named.iter().any(|named| named.certificate == certificate.name);
    let may: Vec<_> = certificates.iter().map(is_named).collect();
    let able = || (0..certificates.len()).filter(|index| ranks[*index].is_some() && may[*index]);
    let top = able().map(|index| scores[index]).max();
    let mut best: Vec<_> = able().filter(|index| Some(scores[*index]) == top).collect();
    if best.windows(2).all(|pair| certificates[pair[0]].has_names_of(&certificates[pair[1]])) {
        let lowest = best.iter().filter_map(|index| ranks[*index]).min();
        best.retain(|index| ranks[*index] == lowest);
    }
    Judged { ranks, scores, named, suits, may, best }
}

/// Which certificates are none that another one is before for this client: by name, authority, address or realm. A wish that no certificate
/// fulfils rules none out.
fn suiting(verifiable: &[bool], scores: &[Score]) -> Vec<bool> {
    let able = || scores.iter().zip(verifiable).filter(|(_, verifiable)| **verifiable).map(|(score, _)| score);
    let name = able().any(|score| score.name > NameFit::None);
    let authority = able().any(|score| score.trusted);
    let address = able().any(|score| score.address > Meant::Others);
    let realm = able().any(|score| score.realm > Meant::Others);
    let suits = |score: &Score| {
        (!name || score.name > NameFit::None)
            && (!authority || score.trusted)
            && (!address || score.address > Meant::Others)
            && (!realm || score.realm > Meant::Others)
    };
    scores.iter().zip(verifiable).map(|(score, verifiable)| *verifiable && suits(score)).collect()
}

impl Judged {
    /// Why `loser` is not shown; `None`: nothing but its name in the alphabet.
    fn decided_by(&self, loser: usize, winner: usize) -> Option<Rule> {
        if self.ranks[loser].is_none() {
            return Some(Rule::Signature);
        }
        if !self.may[loser] && self.suits[loser] {
            return Some(Rule::Policy);
        }
        if self.scores[loser] != self.scores[winner] {
            return Some(self.scores[winner].decides(&self.scores[loser]));
        }
        (!self.best.contains(&loser)).then_some(Rule::Key)
    }
}

/// By what clients may ask for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Names of the DNS alone, as SNI holds them.
    Names,
    /// Also addresses and e-mail addresses, as IDr may.
    Identities,
}

/// Two of the certificates between which nothing decides for some client, if there are such. `clients`: how each kind of client ranks keys. The
/// answer depends on the certificates alone, not on their order. `settled`: whoever is let in by [`crate::Steering`] is let in by what names one
/// certificate and no other; then nothing has to decide between two that suit a client.
pub fn find_tie(certificates: &[ServerCertificate], clients: &[KeyRank<'_>], asks: Asks, settled: bool) -> Option<Tie> {
    let mut ordered: Vec<_> = certificates.iter().collect();
    ordered.sort_by_key(|certificate| &certificate.name);
    let pairs = ordered.iter().enumerate().flat_map(|(at, first)| ordered[at + 1..].iter().map(move |second| (*first, *second)));
    let any = unused_label(certificates);
    pairs.into_iter().find_map(|(first, second)| {
        let tied = |hints: &Hints<'_>| {
            if first.score(hints) != second.score(hints) {
                return false;
            }
            let Judged { best, suits, .. } = judge(certificates, hints);
            let find = |wanted: &ServerCertificate| best.iter().find(|index| certificates[**index].name == wanted.name);
            let (Some(first), Some(second)) = (find(first), find(second)) else { return false };
            !(settled && suits[*first] && suits[*second])
        };
        clients.iter().find_map(|keys| clients_of((first, second), &any, (*keys, asks), &tied)).map(|clients| Tie {
            first: first.name.clone(),
            second: second.name.clone(),
            clients,
        })
    })
}

/// A client, in words, for whom `tied` holds. Whatever a client may tell, it does no more to bring this pair to the top together than a name of
/// one of them, an authority of each, and an address and a realm that both are meant for.
fn clients_of(
    (first, second): (&ServerCertificate, &ServerCertificate),
    any: &str,
    (keys, asks): (KeyRank<'_>, Asks),
    tied: &dyn Fn(&Hints<'_>) -> bool,
) -> Option<String> {
    let both = [first, second];
    let names: Vec<_> = both.iter().flat_map(|certificate| certificate.dial_names()).map(|name| name.replacen('*', any, 1)).collect();
    let others = both.iter().flat_map(|certificate| certificate.other_identities()).filter(|_| asks == Asks::Identities);
    let names: Vec<_> = std::iter::once(None).chain(names.iter().map(|name| Some(AskedName::Dns(name))).chain(others.map(Some))).collect();
    let mut authorities = vec![Vec::new()];
    authorities.extend(first.authorities.iter().flat_map(|one| second.authorities.iter().map(move |other| vec![*one, *other])));
    let addresses: Vec<_> =
        std::iter::once(None).chain(both.iter().flat_map(|certificate| &certificate.addresses).map(|address| Some(*address))).collect();
    let realms: Vec<_> = both.iter().flat_map(|certificate| &certificate.realms).map(|realm| format!("{any}.{realm}")).collect();
    let realms: Vec<_> = std::iter::once(None).chain(realms.iter().map(|realm| Some(realm.as_str()))).collect();
    for asked in &names {
        for authorities in &authorities {
            for address in &addresses {
                for itself in &realms {
                    let (address, itself, steering) = (*address, *itself, None);
                    let hints = Hints { name: *asked, name_source: "", authorities, address, itself, keys, steering };
                    if tied(&hints) {
                        return Some(hints.words());
                    }
                }
            }
        }
    }
    None
}

/// Stands for the names below a wildcard and in a realm that no certificate has in full.
fn unused_label(certificates: &[ServerCertificate]) -> String {
    let mut label = "any".to_owned();
    let is_used = |label: &str| certificates.iter().flat_map(|certificate| certificate.dial_names()).any(|name| name.starts_with(label));
    while is_used(&label) {
        label.push('y');
    }
    label
}

/// The authorities above a credential: intermediates, roots that its file held, and whatever of `others` has issued one of these.
pub fn known_authorities(credential: &Credential, others: &[Certificate]) -> Vec<[u8; 20]> {
    let mut above: Vec<&Certificate> = credential.chain.iter().skip(1).chain(&credential.roots).collect();
    let mut below = vec![credential.chain.last().unwrap_or(credential.leaf())];
    while let Some(certificate) = below.pop() {
        let issuers = others.iter().filter(|other| certificate.is_issued_by(other) && !above.contains(other)).collect::<Vec<_>>();
        above.extend(&issuers);
        below.extend(issuers);
    }
    let mut hashes: Vec<_> = above.into_iter().map(Certificate::spki_sha1).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

fn why(chosen: &ServerCertificate, rule: Option<Rule>, policy: Option<&str>, is_tied: bool, hints: &Hints<'_>) -> String {
    match (policy, rule) {
        (Some(policy), Some(rule)) if rule > Rule::Policy => format!("{}; policy {policy:?} names it", by_rule(chosen, rule, hints)),
        (Some(policy), _) => format!("policy {policy:?} names it"),
        (None, Some(rule)) => by_rule(chosen, rule, hints),
        (None, None) if is_tied => "the first by its name: nothing that the client tells decides, and no policy names one for it".into(),
        (None, None) => "the only one that this listener has".into(),
    }
}

fn by_rule(chosen: &ServerCertificate, rule: Rule, hints: &Hints<'_>) -> String {
    match rule {
        Rule::Signature => format!("the client can verify its signature ({})", kind_word(chosen)),
        Rule::Policy => "a policy names it".into(),
        Rule::Name => match chosen.score(hints).name {
            NameFit::Wildcard => format!("made out to {}, by a wildcard", asked_text(hints)),
            NameFit::Exact | NameFit::None => format!("made out to {}", asked_text(hints)),
        },
        Rule::Authority => "issued by an authority that the client trusts (CERTREQ)".into(),
        Rule::Address => match hints.address.filter(|_| !chosen.addresses.is_empty()) {
            Some(address) => format!("meant for clients that come to {address} (addresses)"),
            None => "not meant for other addresses".into(),
        },
        Rule::Realm => match hints.itself.filter(|_| !chosen.realms.is_empty()) {
            Some(itself) => format!("meant for the realm of {} (realms)", clean(itself)),
            None => "not meant for other realms".into(),
        },
        Rule::Default => "the listener's default_certificate".into(),
        Rule::Key => format!("of those for the same names, its key ({}) suits this client best", kind_word(chosen)),
    }
}

fn reason(loser: &ServerCertificate, rule: Option<Rule>, hints: &Hints<'_>) -> String {
    match rule {
        Some(Rule::Signature) => format!("the client cannot verify its signature ({})", kind_word(loser)),
        Some(Rule::Policy) => "of the policies that may let this client in, none names it".into(),
        Some(Rule::Name) => match loser.score(hints).name {
            NameFit::Wildcard => format!("made out to {} by a wildcard only", asked_text(hints)),
            NameFit::Exact | NameFit::None => format!("not made out to {}", asked_text(hints)),
        },
        Some(Rule::Authority) => {
            format!("issued by {}, no authority that the client trusts (CERTREQ)", loser.credential.leaf().issuer)
        }
        Some(Rule::Address) if loser.addresses.is_empty() => "meant for no address in particular".into(),
        Some(Rule::Address) => "meant for other addresses".into(),
        Some(Rule::Realm) if loser.realms.is_empty() => "meant for no realm in particular".into(),
        Some(Rule::Realm) => "meant for other realms".into(),
        Some(Rule::Default) => "not the default_certificate".into(),
        Some(Rule::Key) => format!("its key ({}) suits this client less", kind_word(loser)),
        None => "nothing tells the two apart".into(),
    }
}

fn remarks(chosen: &ServerCertificate, hints: &Hints<'_>, all: &[ServerCertificate]) -> Vec<String> {
    let mut remarks = Vec::new();
    let score = chosen.score(hints);
    if hints.name.is_some() && score.name == NameFit::None {
        let none = if all.len() == 1 { "the certificate is not" } else { "no certificate is" };
        remarks.push(format!("{none} made out to {}", asked_text(hints)));
    }
    if !hints.authorities.is_empty() && !score.trusted {
        let (count, issuer) = (hints.authorities.len(), &chosen.credential.leaf().issuer);
        remarks.push(format!("the client names {count} authorities (CERTREQ), and none known to be above this certificate of {issuer}"));
    }
    remarks
}

fn asked_text(hints: &Hints<'_>) -> String {
    let text = match hints.name {
        Some(AskedName::Dns(name) | AskedName::Email(name)) => clean(name),
        Some(AskedName::Address(address)) => address.to_string(),
        Some(AskedName::Subject(_)) => "the distinguished name".into(),
        None => "no name".into(),
    };
    format!("{text} ({})", hints.name_source)
}

/// What a stranger wrote, fit for a line of a log.
fn clean(text: &str) -> String {
    text.chars().take(255).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn kind_word(certificate: &ServerCertificate) -> String {
    certificate.credential.key.kind().to_string()
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn dns_fit(own: &str, asked: &str) -> NameFit {
    let (own, asked) = (canonical(own), canonical(asked));
    match () {
        () if own == asked => NameFit::Exact,
        () if crate::name::wildcard_covers(&own, &asked) => NameFit::Wildcard,
        () => NameFit::None,
    }
}

/// `ann@example.com` and `pc1.example.com` are of the realm `example.com`.
fn is_in_realm(itself: &str, realm: &str) -> bool {
    let (itself, realm) = (canonical(itself), canonical(realm));
    match itself.rsplit_once('@') {
        Some((_, of)) => of == realm,
        None => itself == realm || itself.strip_suffix(&realm).is_some_and(|rest| rest.ends_with('.')),
    }
}
