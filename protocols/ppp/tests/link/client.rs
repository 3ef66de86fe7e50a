//! A PPP client, written without a look at the link's automaton: it asks until it is acknowledged, and takes what it is told.
use crate::common::{CHAP, EAP, IPCP, IPV6CP, LCP, PAP, frame, hex};
use ppp::AuthProtocol;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RETRY: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Windows,
    Pppd,
}

/// One control protocol of the client.
#[derive(Debug, Default)]
struct Side {
    options: BTreeMap<u8, Vec<u8>>,
    order: Vec<u8>,
    /// Identifier and options of the request that waits for an answer.
    pending: Option<(u8, Vec<u8>)>,
    again: Option<Instant>,
    /// Ours was acknowledged; theirs was.
    acknowledged: bool,
    agreed: bool,
}

impl Side {
    fn new(options: &str) -> Self {
        let mut side = Self::default();
        let mut list = &hex(options)[..];
        while let [kind, len, ..] = *list {
            side.options.insert(kind, list[2..usize::from(len)].to_vec());
            side.order.push(kind);
            list = &list[usize::from(len)..];
        }
        side
    }

    fn open(&self) -> bool {
        self.acknowledged && self.agreed
    }

    fn encode(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for kind in &self.order {
            if let Some(value) = self.options.get(kind) {
                list.extend([*kind, value.len() as u8 + 2]);
                list.extend(value);
            }
        }
        list
    }
}

pub(crate) struct Client {
    pub(crate) flavour: Flavour,
    wants: AuthProtocol,
    /// One counter for all protocols, as Windows has it.
    id: u8,
    sides: BTreeMap<u16, Side>,
    auth: Option<AuthProtocol>,
    authenticated: bool,
    response: Option<(Vec<u8>, Instant)>,
    pub(crate) out: Vec<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(flavour: Flavour, wants: AuthProtocol) -> Self {
        Self { flavour, wants, id: 0, sides: BTreeMap::new(), auth: None, authenticated: false, response: None, out: Vec::new() }
    }

    fn options(&self, protocol: u16) -> Side {
        Side::new(match (self.flavour, protocol) {
            (Flavour::Windows, LCP) => "0104 0FFB 0506 11223344 0702 0802 0D0306",
            (Flavour::Pppd, LCP) => "0206 00000000 0506 55667788 0702 0802",
            (Flavour::Windows, IPCP) => "0306 00000000 8106 00000000 8206 00000000 8306 00000000 8406 00000000",
            (Flavour::Pppd, IPCP) => "0306 00000000 0206 002D0F01 8106 00000000 8306 00000000",
            _ => "010A 0123456789ABCDEF",
        })
    }

    pub(crate) fn start(&mut self, now: Instant) {
        self.begin(now, LCP);
    }

    fn begin(&mut self, now: Instant, protocol: u16) {
        let side = self.options(protocol);
        self.sides.insert(protocol, side);
        self.request(now, protocol);
    }

    fn request(&mut self, now: Instant, protocol: u16) {
        self.id = self.id.wrapping_add(1);
        let id = self.id;
        let side = self.sides.get_mut(&protocol).expect("a side that was begun");
        let options = side.encode();
        self.out.push(frame(protocol, 1, id, &options));
        side.pending = Some((id, options));
        side.again = Some(now + RETRY);
    }

    pub(crate) fn is_open(&self, protocol: u16) -> bool {
        self.sides.get(&protocol).is_some_and(Side::open)
    }

    pub(crate) fn value(&self, protocol: u16, kind: u8) -> Option<&[u8]> {
        self.sides.get(&protocol)?.options.get(&kind).map(Vec::as_slice)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        let sides = self.sides.values().filter_map(|side| side.again);
        sides.chain(self.response.iter().map(|(_, at)| *at)).min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        for (protocol, side) in &mut self.sides {
            if let (Some(at), Some((id, options))) = (side.again, &side.pending)
                && at <= now
            {
                self.out.push(frame(*protocol, 1, *id, options));
                side.again = Some(now + RETRY);
            }
        }
        if let Some((frame, at)) = &mut self.response
            && *at <= now
        {
            self.out.push(frame.clone());
            *at = now + RETRY;
        }
    }

    pub(crate) fn receive(&mut self, now: Instant, frame: &[u8]) {
        assert_eq!(frame[..2], [0xFF, 0x03], "sent uncompressed");
        let protocol = u16::from_be_bytes([frame[2], frame[3]]);
        let (code, id, data) = (frame[4], frame[5], &frame[8..]);
        assert_eq!(usize::from(u16::from_be_bytes([frame[6], frame[7]])), frame.len() - 4);
        match protocol {
            EAP | CHAP | PAP => self.authentication(now, protocol, code, id, data),
            LCP if code == 9 => self.out.push(crate::common::frame(LCP, 10, id, data)),
            LCP if code >= 8 => {}
            LCP => self.negotiate(now, protocol, code, id, data),
            IPCP | IPV6CP => {
                if !self.authenticated && self.response.is_some() {
                    // RFC 3748 section 4.2: a lost Success is made up for by what can only follow it.
                    self.admitted(now);
                }
                if self.authenticated {
                    self.negotiate(now, protocol, code, id, data);
                }
            }
            other => panic!("protocol {other:04x}"),
        }
    }

    fn negotiate(&mut self, now: Instant, protocol: u16, code: u8, id: u8, data: &[u8]) {
        match code {
            1 => self.requested(now, protocol, id, data),
            2..=4 => self.answered(now, protocol, code, id, data),
            other => panic!("code {other} of {protocol:04x}"),
        }
    }

    fn requested(&mut self, now: Instant, protocol: u16, id: u8, data: &[u8]) {
        if self.is_open(protocol) {
            self.reopen(now, protocol);
        }
        if protocol == LCP {
            let auth = data.windows(4).find(|option| option[0] == 3 && option[2] & 0xC0 == 0xC0).expect("an authentication option");
            let value = &data[data.windows(4).position(|option| option == auth).unwrap()..][..usize::from(auth[1])];
            if value[2..] != wire(self.wants)[..] {
                let nak = [&[3, wire(self.wants).len() as u8 + 2][..], wire(self.wants)].concat();
                return self.out.push(frame(LCP, 3, id, &nak));
            }
        }
        self.out.push(frame(protocol, 2, id, data));
        self.sides.get_mut(&protocol).expect("begun").agreed = true;
        self.opened(now, protocol);
    }

    fn reopen(&mut self, now: Instant, protocol: u16) {
        if protocol == LCP {
            self.authenticated = false;
            self.response = None;
            self.sides.retain(|other, _| *other == LCP);
        }
        self.begin(now, protocol);
    }

    fn answered(&mut self, now: Instant, protocol: u16, code: u8, id: u8, data: &[u8]) {
        let Some(side) = self.sides.get_mut(&protocol) else { return };
        if side.pending.as_ref().is_none_or(|(pending, _)| *pending != id) {
            return;
        }
        side.pending = None;
        side.again = None;
        if code == 2 {
            assert_eq!(data, side.encode());
            side.acknowledged = true;
            return self.opened(now, protocol);
        }
        let mut list = data;
        while let [kind, len, ..] = *list {
            let value = list[2..usize::from(len)].to_vec();
            assert!(code == 4 || value.iter().any(|byte| *byte != 0), "a Nak with nothing");
            if code == 4 {
                side.options.remove(&kind)
            } else {
                side.options.insert(kind, value)
            };
            list = &list[usize::from(len)..];
        }
        self.request(now, protocol);
    }

    fn opened(&mut self, now: Instant, protocol: u16) {
        if protocol != LCP || !self.is_open(LCP) {
            return;
        }
        self.auth = Some(self.wants);
        if self.flavour == Flavour::Windows {
            for message in [&b"MSRASV5.20"[..], b"MSRAS-0-PC"] {
                self.id = self.id.wrapping_add(1);
                self.out.push(frame(LCP, 12, self.id, &[&[0x11, 0x22, 0x33, 0x44], message].concat()));
            }
        }
        if self.wants == AuthProtocol::Pap {
            self.respond(now, frame(PAP, 1, 1, b"\x05alice\x03pwd"));
        }
    }

    fn respond(&mut self, now: Instant, frame: Vec<u8>) {
        self.out.push(frame.clone());
        self.response = Some((frame, now + RETRY));
    }

    fn authentication(&mut self, now: Instant, protocol: u16, code: u8, id: u8, data: &[u8]) {
        if !self.is_open(LCP) {
            return;
        }
        match (protocol, code) {
            (EAP, 1) if data == [1] => self.respond(now, frame(EAP, 2, id, b"\x01alice")),
            (EAP, 1) => self.respond(now, frame(EAP, 2, id, &[data[0], 0x00])),
            (CHAP, 1) if self.wants == AuthProtocol::Chap => {
                self.respond(now, frame(CHAP, 2, id, &[&[16][..], &data[1..17], b"alice"].concat()));
            }
            (CHAP, 1) => {
                let response = [&[49][..], &data[1..17], &[id; 33], b"alice"].concat();
                self.respond(now, frame(CHAP, 2, id, &response));
            }
            (EAP | CHAP, 3) | (PAP, 2) if self.response.is_some() => self.admitted(now),
            _ => {}
        }
    }

    fn admitted(&mut self, now: Instant) {
        self.authenticated = true;
        self.response = None;
        if self.flavour == Flavour::Windows {
            self.begin(now, IPV6CP);
            self.begin(now, IPCP);
        } else {
            self.out.push(frame(0x80FD, 1, 1, &hex("1A04 7800")));
            self.begin(now, IPCP);
            self.begin(now, IPV6CP);
        }
    }
}

fn wire(auth: AuthProtocol) -> &'static [u8] {
    match auth {
        AuthProtocol::Eap => &[0xC2, 0x27],
        AuthProtocol::MsChapV2 => &[0xC2, 0x23, 0x81],
        AuthProtocol::Chap => &[0xC2, 0x23, 0x05],
        AuthProtocol::Pap => &[0xC0, 0x23],
    }
}
