//! One IKE SA: its SPIs, keys, and both windows of message IDs (RFC 7296 sections 2.1 to 2.3), of size 1.
use super::repeats::Repeats;
use crate::api::{Counters, Timers};
use crate::keys::{IkeKeys, Seed};
use crate::ppk::Ppk;
use crate::wire::{Exchange, Flags, Header, OpenError, Opened, ParseError, Payload, Payloads, Raw, Reassembly, Spi};
use crate::wire::{Fragment, FragmentError, encode_chain, int_auth_octets, protect, protect_fragments, unprotect, unprotect_raw};
use crypto::cipher::{Opener, Sealer};
use crypto::dh::Group;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longest IKE message in one datagram once fragmentation is agreed: an IPv6 packet of 1280 bytes with UDP and non-ESP marker.
pub(crate) const MAX_MESSAGE: usize = 1228;

/// The shortest that messages are cut to, whatever the peer does: an IPv4 packet of 576 bytes, which every host takes (RFC 7383 section 2.5.1).
const MIN_MESSAGE: usize = 544;

/// A request on its way to the peer.
#[derive(Debug)]
pub(crate) struct Retransmit {
    pub datagrams: Vec<Vec<u8>>,
    due: Instant,
    wait: Duration,
    tries: u32,
    left: u32,
    /// Of the last transmission.
    sent: Instant,
    /// How often the tries may begin anew, for a peer that is heard meanwhile.
    renewals: u32,
}

/// Longest time between two transmissions.
const MAX_WAIT: Duration = Duration::from_secs(64);

/// A peer that sends but never answers is given up too.
const MAX_RENEWALS: u32 = 4;

/// What the timer of a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    NotYet,
    SendAgain,
    GiveUp,
}

impl Retransmit {
    pub(crate) fn new(datagrams: Vec<Vec<u8>>, now: Instant, timers: &Timers) -> Self {
        Self::limited(datagrams, now, timers, timers.retransmit_tries)
    }

    pub(crate) fn limited(datagrams: Vec<Vec<u8>>, now: Instant, timers: &Timers, tries: u32) -> Self {
        let wait = timers.retransmit_initial;
        Self { datagrams, due: now + wait, wait, tries, left: tries, sent: now, renewals: MAX_RENEWALS }
    }

    /// All tries again, because the peer has been heard since the last one: it is there, only the wire is bad.
    fn renew(&mut self, heard: Instant) {
        if self.left == 0 && heard > self.sent && self.renewals > 0 {
            self.renewals -= 1;
            self.left = self.tries;
        }
    }

    /// The tries are over, and the peer goes on sending without an answer to this.
    fn is_ignored(&self, heard: Instant) -> bool {
        self.left == 0 && self.renewals == 0 && heard > self.sent
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn expire(&mut self, now: Instant) -> Expiry {
        if now < self.due {
            return Expiry::NotYet;
        }
        let Some(left) = self.left.checked_sub(1) else { return Expiry::GiveUp };
        self.left = left;
        self.wait = self.wait.saturating_mul(2).min(MAX_WAIT);
        self.due = now + self.wait;
        self.sent = now;
        Expiry::SendAgain
    }
}

/// The answer to the peer's last request, for its retransmissions.
struct Answered {
    datagrams: Vec<Vec<u8>>,
    /// IKE_AUTH: another address than the request's gets no copy of the certificates: the request may have been recorded by somebody who wants them
    /// sent there. Later a client may move between its request and our answer (RFC 4555).
    stays: bool,
    repeats: Repeats,
}

impl Answered {
    /// Counts it.
    fn may_go_to(&mut self, now: Instant, remote: SocketAddr) -> bool {
        (!self.stays || self.repeats.home().ip() == remote.ip()) && self.repeats.allows(now, remote)
    }
}

struct Pending {
    id: u32,
    exchange: Exchange,
    retransmit: Retransmit,
}

/// What a datagram turned out to be.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// Dropped and counted, or a fragment of more to come.
    Nothing,
    /// The last request again: here is the answer it got.
    Repeat(Vec<Vec<u8>>),
    /// A new request; it must be answered with [`IkeSa::respond`].
    Request(Exchange, Result<Payloads, ParseError>),
    /// The answer to our request.
    Response(Result<Payloads, ParseError>),
}

/// A message of the peer on its way.
#[derive(Debug, Default)]
struct Assembly {
    parts: Reassembly,
    /// Of its datagrams, where it comes in fragments.
    longest: usize,
}

impl Assembly {
    fn insert(&mut self, fragment: Fragment, len: usize) -> Result<Option<Content>, FragmentError> {
        let longest = if fragment.total > self.parts.total() { len } else { self.longest.max(len) };
        let whole = self.parts.insert_raw(fragment)?;
        self.longest = longest;
        Ok(whole)
    }
}

/// Type of the first payload of a message, and all its payloads.
type Content = (u8, Vec<u8>);

pub(crate) struct IkeSa {
    pub spi_i: Spi,
    pub spi_r: Spi,
    /// We initiated this IKE SA (or its rekey).
    pub initiator: bool,
    pub keys: IkeKeys,
    sealer: Sealer,
    opener: Opener,
    /// Of the keys before IKE_INTERMEDIATE, for repetitions of that request.
    before: Option<Opener>,
    /// IKE_INTERMEDIATE only: IntAuth of the initiator and the responder, as far as they are (RFC 9242 section 3.3.2).
    int_auth: (Vec<u8>, Vec<u8>),
    /// Makes the IVs; every sealed datagram takes one.
    counter: u64,
    /// Longest message in one datagram, once fragmentation is agreed.
    fragment: Option<usize>,
    /// The next message goes over TCP, which takes it whole.
    stream: bool,
    /// Message ID of the peer's next request.
    expected: u32,
    /// That request is here, from this address, and is being worked on.
    busy: Option<(Exchange, SocketAddr)>,
    /// Answer to the request before.
    answered: Option<Answered>,
    requests: Assembly,
    /// Message ID of our next request.
    next: u32,
    pending: Option<Pending>,
    responses: Assembly,
    /// What the peer would show if it lost this IKE SA (RFC 6290).
    pub peer_token: Option<Vec<u8>>,
    /// The additional key exchange that took place (RFC 9370), for the next rekey.
    pub additional: Option<Group>,
}

impl std::fmt::Debug for IkeSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IkeSa({}_i {}_r)", self.spi_i, self.spi_r)
    }
}

impl IkeSa {
    /// `first_id` is the message ID that the initiator uses next: 1 after IKE_SA_INIT, which was its request 0; 0 after a rekey. The
    /// responder's first request is 0 in both cases: each side counts its own (RFC 7296 section 2.2).
    /// `fragment`: [`IkeSa::fragments`] of the IKE SA before.
    pub(crate) fn new(keys: IkeKeys, spi_i: Spi, spi_r: Spi, initiator: bool, fragment: Option<usize>, first_id: u32) -> Self {
        let (sealer, opener) = keys.ciphers(initiator);
        let (next, expected) = if initiator { (first_id, 0) } else { (0, first_id) };
        Self {
            spi_i,
            spi_r,
            initiator,
            keys,
            sealer,
            opener,
            before: None,
            int_auth: (Vec::new(), Vec::new()),
            counter: 1,
            fragment,
            stream: false,
            expected,
            busy: None,
            answered: None,
            requests: Assembly::default(),
            next,
            pending: None,
            responses: Assembly::default(),
            peer_token: None,
            additional: None,
        }
    }

    pub(crate) fn own_spi(&self) -> Spi {
        if self.initiator { self.spi_i } else { self.spi_r }
    }

    /// Other keys from the next message on (RFC 9370 section 2.2.2): those of this IKE SA with one more shared secret.
    pub(crate) fn mix(&mut self, shared_secret: &[u8], nonce_i: &[u8], nonce_r: &[u8]) {
        let seed = Seed { shared_secret, nonce_i, nonce_r, spi_i: self.spi_i, spi_r: self.spi_r };
        self.keys = self.keys.rekey(self.keys.suite, seed);
        let (sealer, opener) = self.keys.ciphers(self.initiator);
        self.sealer = sealer;
        self.before = Some(std::mem::replace(&mut self.opener, opener));
    }

    /// Mixes a postquantum preshared key in (RFC 8784); the keys that were there before, for who may have to go on without.
    pub(crate) fn mix_ppk(&mut self, ppk: &Ppk) -> IkeKeys {
        let mixed = self.keys.with_ppk(&ppk.secret);
        std::mem::replace(&mut self.keys, mixed)
    }

    /// What AUTH covers besides the first messages: of all IKE_INTERMEDIATE exchanges, and the message ID of the first IKE_AUTH request, which is
    /// the next or the one in progress. Empty without such exchanges.
    pub(crate) fn int_auth(&self) -> Vec<u8> {
        if self.int_auth.0.is_empty() {
            return Vec::new();
        }
        // One IKE_INTERMEDIATE exchange, with message ID 1.
        [&self.int_auth.0[..], &self.int_auth.1, &2u32.to_be_bytes()].concat()
    }

    fn cover(&mut self, header: &Header, content: &Content) {
        if header.exchange != Exchange::IkeIntermediate {
            return;
        }
        let octets = int_auth_octets(header, content.0, &content.1);
        let (sk_p, sum) =
            if header.flags.initiator { (&self.keys.pi, &mut self.int_auth.0) } else { (&self.keys.pr, &mut self.int_auth.1) };
        let next = self.keys.prf().compute(sk_p, &[sum, &octets]).to_vec();
        *sum = next;
    }

    /// Longest message in one datagram; `None`: fragmentation is not agreed.
    pub(crate) fn fragments(&self) -> Option<usize> {
        self.fragment
    }

    /// The peer cut its request into datagrams of at most `longest` bytes: it has its reasons, so ours are no longer.
    fn cut_as_the_peer(&mut self, longest: usize) {
        if longest > 0 {
            self.fragment = self.fragment.map(|_| longest.clamp(MIN_MESSAGE, MAX_MESSAGE));
        }
    }

    /// SK_p of ours.
    pub(crate) fn own_sk_p(&self) -> &[u8] {
        if self.initiator { &self.keys.pi } else { &self.keys.pr }
    }

    pub(crate) fn peer_sk_p(&self) -> &[u8] {
        if self.initiator { &self.keys.pr } else { &self.keys.pi }
    }

    /// A request of the peer waits for its answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// A request of ours waits for its answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Nobody wants the answer to our request any more.
    pub(crate) fn abandon(&mut self) {
        self.pending = None;
    }

    /// Our request that waits for its answer, as it was sent.
    pub(crate) fn unanswered(&self) -> &[Vec<u8>] {
        self.pending.as_ref().map_or(&[], |pending| &pending.retransmit.datagrams)
    }

    pub(crate) fn retransmit_due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.retransmit.due())
    }

    /// The datagrams to send again, or `Err` when the peer has been silent through all tries.
    pub(crate) fn retransmit(&mut self, now: Instant) -> Result<Vec<Vec<u8>>, PeerSilent> {
        let Some(pending) = &mut self.pending else { return Ok(Vec::new()) };
        match pending.retransmit.expire(now) {
            Expiry::NotYet => Ok(Vec::new()),
            Expiry::SendAgain => Ok(pending.retransmit.datagrams.clone()),
            Expiry::GiveUp => Err(PeerSilent),
        }
    }

    /// As [`IkeSa::retransmit`], for a peer whose last authenticated message came at `heard`.
    pub(crate) fn retransmit_heard(&mut self, now: Instant, heard: Instant) -> Result<Vec<Vec<u8>>, PeerSilent> {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.retransmit.due() <= now) {
            pending.retransmit.renew(heard);
        }
        self.retransmit(now)
    }

    /// The peer sends, but never answers our request.
    pub(crate) fn is_ignored(&self, heard: Instant) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.retransmit.is_ignored(heard))
    }

    /// All tries went unanswered, but the peer may come back until `end`: our request once more, and not again for a while.
    pub(crate) fn insist(&mut self, now: Instant, end: Instant) -> Vec<Vec<u8>> {
        let Some(pending) = &mut self.pending else { return Vec::new() };
        pending.retransmit.due = (now + MAX_WAIT).min(end);
        pending.retransmit.sent = now;
        pending.retransmit.datagrams.clone()
    }

    /// The peer is back: our request at once, with all its tries.
    pub(crate) fn ask_again(&mut self, now: Instant, timers: &Timers) -> Vec<Vec<u8>> {
        let Some(pending) = &mut self.pending else { return Vec::new() };
        let datagrams = std::mem::take(&mut pending.retransmit.datagrams);
        pending.retransmit = Retransmit::limited(datagrams, now, timers, pending.retransmit.tries);
        pending.retransmit.datagrams.clone()
    }

    /// `remote` is the address that the datagram came from.
    pub(crate) fn receive(
        &mut self,
        header: &Header,
        datagram: &[u8],
        remote: SocketAddr,
        now: Instant,
        counters: &mut Counters,
    ) -> Inbound {
        if (header.initiator_spi, header.responder_spi) != (self.spi_i, self.spi_r) {
            counters.unknown_spi += 1;
            return Inbound::Nothing;
        }
        if header.flags.initiator == self.initiator {
            counters.malformed += 1;
            return Inbound::Nothing;
        }
        if header.flags.response {
            self.receive_response(header, datagram, counters)
        } else {
            self.receive_request(header, datagram, remote, now, counters)
        }
    }

    /// Whether the next message goes over TCP: no IP packet is too long there, and messages are not fragmented (RFC 9329 section 7.4).
    pub(crate) fn set_stream(&mut self, stream: bool) {
        self.stream = stream;
    }

    /// Answers the request in progress. The datagrams are kept for retransmissions of it.
    pub(crate) fn respond(&mut self, payloads: &[Payload], now: Instant) -> Vec<Vec<u8>> {
        let busy = self.busy.take();
        let exchange = busy.map_or(Exchange::Informational, |(exchange, _)| exchange);
        let datagrams = self.seal(exchange, true, self.expected, payloads);
        self.expected = self.expected.saturating_add(1);
        self.answered = busy.map(|(exchange, remote)| Answered {
            datagrams: datagrams.clone(),
            stays: exchange == Exchange::IkeAuth,
            repeats: Repeats::new(remote, now),
        });
        datagrams
    }

    /// A request of ours, to be sent now. None must be waiting.
    pub(crate) fn request(&mut self, exchange: Exchange, payloads: &[Payload], now: Instant, timers: &Timers, tries: u32) -> Vec<Vec<u8>> {
        let id = self.next;
        self.next = self.next.saturating_add(1);
        let datagrams = self.seal(exchange, false, id, payloads);
        let retransmit = Retransmit::limited(datagrams.clone(), now, timers, tries);
        self.pending = Some(Pending { id, exchange, retransmit });
        self.responses = Assembly::default();
        datagrams
    }

    fn seal(&mut self, exchange: Exchange, response: bool, id: u32, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let flags = Flags { initiator: self.initiator, response, version: false };
        let header = Header::new(self.spi_i, self.spi_r, exchange, flags, id);
        if exchange == Exchange::IkeIntermediate {
            self.cover(&header, &encode_chain(payloads));
        }
        if let Some(longest) = self.fragment.filter(|_| !self.stream) {
            return protect_fragments(&header, payloads, &self.sealer, &mut self.counter, longest);
        }
        let counter = self.counter;
        self.counter += 1;
        vec![protect(&header, payloads, &self.sealer, counter)]
    }

    fn receive_request(&mut self, header: &Header, datagram: &[u8], remote: SocketAddr, now: Instant, counters: &mut Counters) -> Inbound {
        let id = header.message_id;
        if id.checked_add(1) == Some(self.expected) && self.answered.is_some() {
            return self.receive_repeated(datagram, remote, now, counters);
        }
        if id < self.expected || (id == self.expected && self.busy.is_some()) {
            counters.replayed += 1;
            return Inbound::Nothing;
        }
        if id > self.expected {
            counters.out_of_window += 1;
            return Inbound::Nothing;
        }
        match open(&self.opener, datagram, &mut self.requests, counters) {
            Some((content, payloads)) => {
                self.cover(header, &content);
                self.before = None;
                self.busy = Some((header.exchange, remote));
                let requests = std::mem::take(&mut self.requests);
                self.cut_as_the_peer(requests.longest);
                Inbound::Request(header.exchange, payloads)
            }
            None => Inbound::Nothing,
        }
    }

    /// A request that was answered: the same answer goes out, whatever the request says this time. Of a fragmented one only the first
    /// fragment is answered (RFC 7383 section 2.6.1).
    fn receive_repeated(&mut self, datagram: &[u8], remote: SocketAddr, now: Instant, counters: &mut Counters) -> Inbound {
        match unprotect(datagram, self.before.as_ref().unwrap_or(&self.opener)) {
            Ok(Opened::Fragment(Fragment { number, .. })) if number != 1 => Inbound::Nothing,
            Ok(_) | Err(OpenError::Authentic(_)) => {
                let Some(answered) = self.answered.as_mut().and_then(|it| it.may_go_to(now, remote).then_some(it)) else {
                    counters.replayed += 1;
                    return Inbound::Nothing;
                };
                counters.retransmits_answered += 1;
                Inbound::Repeat(answered.datagrams.clone())
            }
            Err(error) => {
                count(error, counters);
                Inbound::Nothing
            }
        }
    }

    fn receive_response(&mut self, header: &Header, datagram: &[u8], counters: &mut Counters) -> Inbound {
        let Some(pending) = &self.pending else {
            counters.replayed += 1;
            return Inbound::Nothing;
        };
        if header.message_id != pending.id || header.exchange != pending.exchange {
            counters.replayed += 1;
            return Inbound::Nothing;
        }
        match open(&self.opener, datagram, &mut self.responses, counters) {
            Some((content, payloads)) => {
                self.cover(header, &content);
                self.pending = None;
                Inbound::Response(payloads)
            }
            None => Inbound::Nothing,
        }
    }
}

/// Every try went unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerSilent;

/// The payloads, once whole and verified, with their bytes.
fn open(
    opener: &Opener,
    datagram: &[u8],
    assembly: &mut Assembly,
    counters: &mut Counters,
) -> Option<(Content, Result<Payloads, ParseError>)> {
    let (first, content) = match unprotect_raw(datagram, opener) {
        Ok(Raw::Message(first, content)) => (first, content),
        Ok(Raw::Fragment(fragment)) => match assembly.insert(fragment, datagram.len()) {
            Ok(whole) => whole?,
            Err(_) => {
                counters.malformed += 1;
                return None;
            }
        },
        Err(OpenError::Authentic(error)) => {
            counters.malformed += 1;
            return Some(((0, Vec::new()), Err(error)));
        }
        Err(error) => {
            count(error, counters);
            return None;
        }
    };
    let payloads = Payloads::parse(first, &content);
    counters.malformed += u64::from(payloads.is_err());
    Some(((first, content), payloads))
}

fn count(error: OpenError, counters: &mut Counters) {
    match error {
        OpenError::Forged => counters.forged += 1,
        OpenError::Unverified(_) | OpenError::NotProtected | OpenError::Authentic(_) => counters.malformed += 1,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "there is no other way to some first instant")]
mod tests {
    use super::*;
    use crate::api::IkeSuite;
    use crate::keys::Seed;
    use crate::wire::{Delete, Notify};
    use crypto::cipher::{Encryption, Suite};
    use crypto::dh::Group;
    use crypto::prf::Prf;
    use std::net::{IpAddr, Ipv4Addr};

    const TIMERS: Timers = Timers {
        liveness_interval: Duration::ZERO,
        retransmit_initial: Duration::from_secs(1),
        retransmit_tries: 3,
        network_outage: Duration::ZERO,
        delete_rekeyed_delay: Duration::ZERO,
        ike_rekey: Duration::ZERO,
        child_rekey: Duration::ZERO,
    };

    /// Both ends of one IKE SA.
    fn pair(fragment: bool) -> (IkeSa, IkeSa) {
        let protection = Suite::new(Encryption::AesGcm128, None).unwrap();
        let suite = IkeSuite { protection, prf: Prf::HmacSha256, group: Group::Curve25519 };
        let seed = Seed { shared_secret: &[1; 32], nonce_i: &[2; 32], nonce_r: &[3; 32], spi_i: Spi(4), spi_r: Spi(5) };
        let fragment = fragment.then_some(MAX_MESSAGE);
        let side = |initiator| IkeSa::new(IkeKeys::derive(suite, seed), Spi(4), Spi(5), initiator, fragment, 1);
        (side(true), side(false))
    }

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 500);

    fn give(sa: &mut IkeSa, datagram: &[u8]) -> (Inbound, Counters) {
        give_from(PEER, sa, datagram)
    }

    fn give_from(remote: SocketAddr, sa: &mut IkeSa, datagram: &[u8]) -> (Inbound, Counters) {
        let mut counters = Counters::default();
        let inbound = sa.receive(&Header::parse(datagram).unwrap(), datagram, remote, Instant::now(), &mut counters);
        (inbound, counters)
    }

    fn ask(sa: &mut IkeSa, payloads: &[Payload]) -> Vec<Vec<u8>> {
        ask_in(Exchange::Informational, sa, payloads)
    }

    fn ask_in(exchange: Exchange, sa: &mut IkeSa, payloads: &[Payload]) -> Vec<Vec<u8>> {
        sa.request(exchange, payloads, Instant::now(), &TIMERS, TIMERS.retransmit_tries)
    }

    fn long() -> Vec<Payload> {
        vec![Payload::Notify(Notify::new(40_000, vec![7; 3000]))]
    }

    #[test]
    fn a_request_is_taken_once() {
        let (mut client, mut gateway) = pair(false);
        let request = ask(&mut client, &[]).remove(0);
        assert!(matches!(give(&mut gateway, &request).0, Inbound::Request(Exchange::Informational, Ok(_))));
        let (inbound, counters) = give(&mut gateway, &request);
        assert!(matches!(inbound, Inbound::Nothing));
        assert_eq!(counters.replayed, 1, "still being worked on");
        let answer = gateway.respond(&[], Instant::now());
        let (inbound, counters) = give(&mut gateway, &request);
        assert!(matches!(inbound, Inbound::Repeat(again) if again == answer));
        assert_eq!(counters.retransmits_answered, 1);
        assert!(matches!(give(&mut client, &answer[0]).0, Inbound::Response(Ok(_))));
        assert!(matches!(give(&mut client, &answer[0]), (Inbound::Nothing, Counters { replayed: 1, .. })));
    }

    #[test]
    fn fragments_in_any_order_and_only_the_first_is_answered_again() {
        let (mut client, mut gateway) = pair(true);
        let mut request = ask(&mut client, &long());
        assert!(request.len() >= 3 && request.iter().all(|datagram| datagram.len() <= MAX_MESSAGE));
        request.reverse();
        let (last, others) = request.split_last().unwrap();
        for datagram in others.iter().chain(others) {
            assert!(matches!(give(&mut gateway, datagram).0, Inbound::Nothing));
        }
        let Inbound::Request(_, Ok(payloads)) = give(&mut gateway, last).0 else { panic!("complete") };
        assert_eq!(payloads.notify(40_000).unwrap().data.len(), 3000);
        let answer = gateway.respond(&[], Instant::now());
        for datagram in others {
            assert!(matches!(give(&mut gateway, datagram).0, Inbound::Nothing));
        }
        assert!(matches!(give(&mut gateway, last).0, Inbound::Repeat(again) if again == answer));
    }

    /// RFC 7383 section 2.5.1: what the peer's datagrams show of the path, within bounds, until it cuts otherwise.
    #[test]
    fn answers_are_cut_as_requests_were() {
        let (mut client, mut gateway) = pair(true);
        let mut exchange = |cut: Option<usize>, payloads: &[Payload]| {
            client.fragment = Some(cut.unwrap_or(MAX_MESSAGE));
            for datagram in ask(&mut client, payloads) {
                give(&mut gateway, &datagram);
            }
            let answer = gateway.respond(&long(), Instant::now());
            let all: Vec<_> = answer.iter().map(|datagram| give(&mut client, datagram).0).collect();
            assert!(matches!(all.last(), Some(Inbound::Response(Ok(_)))));
            answer.iter().map(Vec::len).max().unwrap()
        };
        assert!((MAX_MESSAGE - 20..=MAX_MESSAGE).contains(&exchange(None, &[])), "nothing is known of the path");
        for (cut, expected) in [(580, 580), (544, 544), (300, MIN_MESSAGE), (1220, 1220), (4000, MAX_MESSAGE)] {
            let answered = exchange(Some(cut), &long());
            assert!((expected - 20..=expected).contains(&answered), "{cut}: {answered}");
            assert_eq!(exchange(None, &[]), answered, "a short request says nothing");
        }
        // It did not come through: the same once more, in shorter pieces.
        let content = long();
        client.fragment = Some(1000);
        let large = ask(&mut client, &content).remove(0);
        give(&mut gateway, &large);
        (client.next, client.fragment) = (client.next - 1, Some(600));
        for datagram in ask(&mut client, &content) {
            give(&mut gateway, &datagram);
        }
        assert!(gateway.respond(&long(), Instant::now()).iter().all(|datagram| datagram.len() <= 600));
        let (mut client, mut gateway) = pair(false);
        client.fragment = Some(580);
        for datagram in ask(&mut client, &long()) {
            give(&mut gateway, &datagram);
        }
        assert_eq!(gateway.respond(&long(), Instant::now()).len(), 1, "it was not agreed");
    }

    #[test]
    fn a_forged_fragment_does_not_spoil_the_others() {
        let (mut client, mut gateway) = pair(true);
        let request = ask(&mut client, &long());
        let mut forged = request[1].clone();
        *forged.last_mut().unwrap() ^= 1;
        let (inbound, counters) = give(&mut gateway, &forged);
        assert!(matches!(inbound, Inbound::Nothing));
        assert_eq!(counters.forged, 1);
        let last = request.iter().map(|datagram| give(&mut gateway, datagram).0).last().unwrap();
        assert!(matches!(last, Inbound::Request(_, Ok(_))));
    }

    #[test]
    fn repeats_end_in_number_and_stay_with_the_address() {
        let (mut client, mut gateway) = pair(false);
        let request = ask_in(Exchange::IkeAuth, &mut client, &[]).remove(0);
        give(&mut gateway, &request);
        gateway.respond(&[], Instant::now());
        let elsewhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)), 500);
        let dropped = |(inbound, counters): (Inbound, Counters)| {
            assert!(matches!(inbound, Inbound::Nothing));
            assert_eq!((counters.replayed, counters.retransmits_answered), (1, 0));
        };
        dropped(give_from(elsewhere, &mut gateway, &request));
        for _ in 0..10 {
            assert!(matches!(give(&mut gateway, &request), (Inbound::Repeat(_), Counters { retransmits_answered: 1, .. })));
        }
        dropped(give(&mut gateway, &request));
        let next = ask(&mut client, &[]).remove(0);
        assert!(matches!(give_from(elsewhere, &mut gateway, &next).0, Inbound::Request(..)), "the peer may move");
        gateway.respond(&[], Instant::now());
        assert!(matches!(give_from(elsewhere, &mut gateway, &next).0, Inbound::Repeat(_)), "each request is counted by itself");
        assert!(matches!(give(&mut gateway, &next).0, Inbound::Repeat(_)), "a client that moved meanwhile is answered where it is");
    }

    /// RFC 9242 section 3.3.2, put together by hand: prf(SK_p, header and SK header as if nothing were encrypted | inner payloads), with the keys
    /// of before the exchange, whether the messages were fragmented or not.
    #[test]
    fn int_auth_covers_both_messages() {
        let int_auth = |fragment, bytes: usize| {
            let (mut client, mut gateway) = pair(fragment);
            let ask = [Payload::Notify(Notify::new(40_000, vec![7; bytes]))];
            for datagram in ask_in(Exchange::IkeIntermediate, &mut client, &ask) {
                give(&mut gateway, &datagram);
            }
            let keys = gateway.keys.clone();
            for datagram in gateway.respond(&[], Instant::now()) {
                give(&mut client, &datagram);
            }
            client.mix(&[9; 32], &[2; 32], &[3; 32]);
            gateway.mix(&[9; 32], &[2; 32], &[3; 32]);
            assert_eq!(client.int_auth(), gateway.int_auth());
            assert_eq!((client.keys.d == gateway.keys.d, client.keys.d == keys.d), (true, false));
            let request = super::tests::ask(&mut client, &[]);
            assert!(matches!(give(&mut gateway, &request[0]).0, Inbound::Request(..)), "under the new keys");
            (client.int_auth(), keys)
        };
        let header = |flags: u8, next: u8, payload: usize| {
            let mut octets = vec![0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 46, 0x20, 43, flags, 0, 0, 0, 1];
            octets.extend((28 + 4 + payload as u32).to_be_bytes());
            octets.extend([next, 0]);
            octets.extend((4 + payload as u16).to_be_bytes());
            octets
        };
        for (fragment, bytes) in [(false, 40), (true, 40), (true, 3000)] {
            let (sum, keys) = int_auth(fragment, bytes);
            let mut request = header(0x08, 41, 8 + bytes);
            request.extend([0, 0]);
            request.extend((8 + bytes as u16).to_be_bytes());
            request.extend([0, 0, 0x9c, 0x40]);
            request.extend(vec![7; bytes]);
            let i = keys.prf().compute(&keys.pi, &[&request]);
            let r = keys.prf().compute(&keys.pr, &[&header(0x20, 0, 0)]);
            assert_eq!(sum, [&i[..], &r[..], &[0, 0, 0, 2]].concat(), "{fragment} {bytes}");
        }
        assert_eq!(pair(false).0.int_auth(), Vec::<u8>::new());
    }

    #[test]
    fn outside_the_window() {
        let (mut client, mut gateway) = pair(false);
        let first = ask(&mut client, &[]).remove(0);
        let second = ask(&mut client, &[Payload::Delete(Delete::Ike)]).remove(0);
        assert!(matches!(give(&mut gateway, &second), (Inbound::Nothing, Counters { out_of_window: 1, .. })));
        give(&mut gateway, &first);
        gateway.respond(&[], Instant::now());
        give(&mut gateway, &second);
        gateway.respond(&[], Instant::now());
        assert!(matches!(give(&mut gateway, &first), (Inbound::Nothing, Counters { replayed: 1, .. })));
    }

    #[test]
    fn a_reflected_message_is_not_taken() {
        let (mut client, mut gateway) = pair(false);
        let request = ask(&mut client, &[]).remove(0);
        assert!(matches!(give(&mut client, &request), (Inbound::Nothing, Counters { malformed: 1, .. })));
        give(&mut gateway, &request);
        let answer = gateway.respond(&[], Instant::now()).remove(0);
        assert!(matches!(give(&mut gateway, &answer), (Inbound::Nothing, Counters { malformed: 1, .. })));
    }

    #[test]
    fn retransmission_doubles_and_ends() {
        let start = Instant::now();
        let mut retransmit = Retransmit::new(vec![vec![1]], start, &TIMERS);
        let mut times = Vec::new();
        loop {
            let at = retransmit.due();
            match retransmit.expire(at) {
                Expiry::SendAgain => times.push((at - start).as_secs()),
                Expiry::GiveUp => break times.push((at - start).as_secs()),
                Expiry::NotYet => panic!("it was due"),
            }
            assert_eq!(retransmit.expire(at), Expiry::NotYet);
        }
        assert_eq!(times, [1, 3, 7, 15]);
    }
}
