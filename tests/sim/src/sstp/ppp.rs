//! PPP as Windows speaks it: one identifier counter, its own Configure-Request first, three Identifications.
use super::client::{Auth, Conduct, Step};
use super::packets::{CHAP, EAP, IPCP, IPV6CP, LCP, PAP, control, data};
use crypto::hash::md5;
use crypto::{SeededRandom, Zeroizing};
use peers::EapPeer;
use peers::mschapv2::Exchange;
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// What the link tells the client.
#[derive(Debug)]
pub(crate) enum PppOutput {
    /// A whole SSTP data packet.
    Send(Vec<u8>),
    Reached(Step),
    /// The gateway let the user in and, where it can, proved that it knows the password.
    Authenticated,
    /// The gateway acknowledged our Terminate-Request.
    Terminated,
}

/// One of LCP, IPCP, IPv6CP.
#[derive(Debug, Default)]
struct Protocol {
    /// What we ask for: type and value.
    options: Vec<(u8, Vec<u8>)>,
    /// Ours was acknowledged, theirs by us.
    ours: bool,
    theirs: bool,
}

impl Protocol {
    fn is_open(&self) -> bool {
        self.ours && self.theirs
    }

    fn request(&self) -> Vec<u8> {
        self.options.iter().flat_map(|(kind, value)| [&[*kind, value.len() as u8 + 2][..], value].concat()).collect()
    }
}

/// The link.
#[derive(Debug)]
pub(crate) struct Ppp {
    user: String,
    auth: Auth,
    passwords: VecDeque<String>,
    new_password: Option<String>,
    computer: Option<String>,
    ipv4: bool,
    ipv6: bool,
    acknowledges_terminate: bool,
    next_id: u8,
    lcp: Protocol,
    ipcp: Protocol,
    ipv6cp: Protocol,
    eap: EapPeer,
    exchange: Option<Exchange>,
    hlak: Option<[u8; 32]>,
    authenticated: bool,
    terminating: bool,
    seed: u64,
    out: VecDeque<PppOutput>,
}

impl Ppp {
    pub(crate) fn new(conduct: &Conduct, seed: u64) -> Self {
        let password = conduct.passwords.first().cloned().unwrap_or_default();
        Self {
            user: conduct.user.clone(),
            auth: conduct.auth,
            passwords: conduct.passwords.iter().cloned().collect(),
            new_password: conduct.new_password.clone(),
            computer: conduct.computer.clone(),
            ipv4: conduct.ipv4,
            ipv6: conduct.ipv6,
            acknowledges_terminate: conduct.acknowledges_terminate,
            next_id: 0,
            lcp: Protocol::default(),
            ipcp: Protocol::default(),
            ipv6cp: Protocol::default(),
            eap: EapPeer::new(conduct.user.clone(), password, Box::new(SeededRandom::new(seed))),
            exchange: None,
            hlak: None,
            authenticated: false,
            terminating: false,
            seed,
            out: VecDeque::new(),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<PppOutput> {
        self.out.pop_front()
    }

    /// Keys for the crypto binding, as far as they are known.
    pub(crate) fn hlak(&self) -> Option<[u8; 32]> {
        self.hlak
    }

    pub(crate) fn ipv4(&self) -> Option<Ipv4Addr> {
        let address = self.ipcp.options.iter().find(|(kind, _)| *kind == 3).map(|(_, value)| value.clone())?;
        self.ipcp.is_open().then(|| <[u8; 4]>::try_from(address).ok().map(Ipv4Addr::from)).flatten()
    }

    pub(crate) fn start(&mut self) {
        let magic = (self.seed as u32 | 1).to_be_bytes().to_vec();
        self.lcp.options = vec![(1, vec![0x0F, 0xFB]), (5, magic), (7, vec![]), (8, vec![]), (13, vec![6])];
        self.request(LCP);
        self.reached(Step::LcpSent);
    }

    /// Configures LCP once more.
    pub(crate) fn reopen(&mut self) {
        (self.lcp.ours, self.lcp.theirs) = (false, false);
        self.request(LCP);
    }

    pub(crate) fn terminate(&mut self) {
        self.terminating = true;
        self.control(LCP, 5, b"");
    }

    /// A frame with address and control field.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        let protocol = u16::from_be_bytes([frame[2], frame[3]]);
        let packet = &frame[4..];
        match protocol {
            LCP => self.lcp(packet),
            EAP if self.lcp.is_open() => self.eap(packet),
            CHAP if self.lcp.is_open() => self.chap(packet),
            PAP if self.lcp.is_open() && packet[0] == 2 => {
                self.hlak = Some([0; 32]);
                self.authenticated();
            }
            IPCP | IPV6CP if self.authenticated => self.network(protocol, packet),
            _ => {}
        }
    }

    fn lcp(&mut self, packet: &[u8]) {
        match packet[0] {
            1..=4 => {
                let was_open = self.lcp.is_open();
                self.negotiate(LCP, packet);
                if self.lcp.is_open() && !was_open {
                    self.lcp_up();
                }
            }
            5 if self.acknowledges_terminate => self.reply(LCP, 6, packet[1], &[]),
            6 if self.terminating => self.out.push_back(PppOutput::Terminated),
            8 if packet[4..6] == IPV6CP.to_be_bytes() => {
                self.ipv6 = false;
                self.network_up();
            }
            _ => {}
        }
    }

    fn lcp_up(&mut self) {
        self.identify(b"MSRASV5.20");
        if let Some(computer) = self.computer.clone() {
            self.identify(format!("MSRAS-0-{computer}").as_bytes());
        }
        self.reached(Step::LcpUp);
        if self.auth == Auth::Pap {
            let password = self.passwords.pop_front().unwrap_or_default();
            self.hlak = Some([0; 32]);
            let request = [&[self.user.len() as u8][..], self.user.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
            self.control(PAP, 1, &request);
            self.reached(Step::AuthSent);
        }
    }

    fn identify(&mut self, message: &[u8]) {
        let data = [&(self.seed as u32 | 1).to_be_bytes()[..], message].concat();
        self.control(LCP, 12, &data);
    }

    fn eap(&mut self, packet: &[u8]) {
        let step = self.eap.answer(packet);
        if let Some(answer) = step.packet {
            self.out.push_back(PppOutput::Send(data(EAP, &answer)));
            self.reached(Step::AuthSent);
        }
        if let Some(msk) = step.msk {
            self.hlak = msk[..32].try_into().ok();
            self.authenticated();
        }
    }

    fn chap(&mut self, packet: &[u8]) {
        let (id, body) = (packet[1], &packet[4..]);
        match packet[0] {
            1 => {
                let challenge = body[1..17].try_into().expect("sixteen octets");
                let password = self.passwords.pop_front().unwrap_or_default();
                self.respond(id, challenge, &password);
                self.reached(Step::AuthSent);
            }
            3 if self.auth == Auth::Chap => self.authenticated(),
            3 => {
                let proof = self.exchange.as_ref().expect("a response was sent").authenticator_response();
                assert!(body.starts_with(proof.as_bytes()), "the server proves itself: {}", String::from_utf8_lossy(body));
                self.authenticated();
            }
            4 => self.refused(id, &String::from_utf8_lossy(body)),
            _ => {}
        }
    }

    fn respond(&mut self, id: u8, challenge: [u8; 16], password: &str) {
        if self.auth == Auth::Chap {
            let response = md5(&[&[id], password.as_bytes(), &challenge]);
            self.hlak = Some([0; 32]);
            let value = [&[16][..], &response, self.user.as_bytes()].concat();
            return self.reply(CHAP, 2, id, &value);
        }
        let (peer_challenge, response) = self.prove(challenge, password);
        let value = [&[49][..], &peer_challenge, &[0; 8], &response, &[0], self.user.as_bytes()].concat();
        self.reply(CHAP, 2, id, &value);
    }

    fn prove(&mut self, authenticator_challenge: [u8; 16], password: &str) -> ([u8; 16], [u8; 24]) {
        let peer_challenge = md5(&[&self.seed.to_be_bytes(), &authenticator_challenge]);
        let (user, password) = (self.user.clone(), Zeroizing::new(password.to_owned()));
        let exchange = Exchange { authenticator_challenge, peer_challenge, user, password };
        let response = exchange.nt_response();
        self.hlak = exchange.msk()[..32].try_into().ok();
        self.exchange = Some(exchange);
        (peer_challenge, response)
    }

    /// `E=691 R=1 C=.. V=3 M=..`: another password, or a new one, if the user has it.
    fn refused(&mut self, id: u8, text: &str) {
        let word = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name));
        let Some(challenge) = word("C=").map(unhex) else { return };
        if word("E=") == Some("648") {
            let Some(new) = self.new_password.take() else { return };
            self.change(id.wrapping_add(1), challenge, &new);
            return self.reached(Step::AuthAgain);
        }
        if word("R=") == Some("1")
            && let Some(password) = self.passwords.pop_front()
        {
            self.respond(id.wrapping_add(1), challenge, &password);
            self.reached(Step::AuthAgain);
        }
    }

    /// RFC 2759 section 7; the new password stands in clear, for the RADIUS server of the simulation alone.
    fn change(&mut self, id: u8, challenge: [u8; 16], new: &str) {
        let mut field = [0; 516];
        field[512 - new.len()..512].copy_from_slice(new.as_bytes());
        field[515] = new.len() as u8;
        let (peer_challenge, response) = self.prove(challenge, new);
        let packet = [&field[..], &[0xAA; 16], &peer_challenge, &[0; 8], &response, &[0, 0]].concat();
        self.reply(CHAP, 7, id, &packet);
    }

    fn authenticated(&mut self) {
        if std::mem::replace(&mut self.authenticated, true) {
            return;
        }
        self.out.push_back(PppOutput::Authenticated);
        self.ipcp.options = [3, 129, 130, 131, 132].map(|kind| (kind, vec![0; 4])).to_vec();
        self.ipv6cp.options = vec![(1, (self.seed | 1).to_be_bytes().to_vec())];
        if self.ipv6 {
            self.request(IPV6CP);
        }
        if self.ipv4 {
            self.request(IPCP);
        }
        self.reached(Step::NetworkSent);
    }

    fn network(&mut self, protocol: u16, packet: &[u8]) {
        let wanted = if protocol == IPCP { self.ipv4 } else { self.ipv6 };
        if !wanted {
            let rejected = [&protocol.to_be_bytes()[..], packet].concat();
            return self.control(LCP, 8, &rejected);
        }
        if (1..=4).contains(&packet[0]) {
            self.negotiate(protocol, packet);
            self.network_up();
        }
    }

    fn network_up(&mut self) {
        let ipv4 = !self.ipv4 || self.ipcp.is_open();
        let ipv6 = !self.ipv6 || self.ipv6cp.is_open();
        if self.authenticated && ipv4 && ipv6 && (self.ipv4 || self.ipv6) {
            self.reached(Step::Up);
        }
    }

    /// Configure-Request, -Ack, -Nak, -Reject of any of the three.
    fn negotiate(&mut self, protocol: u16, packet: &[u8]) {
        let options = parse(&packet[4..]);
        match packet[0] {
            1 => match self.unwanted_auth(protocol, &options) {
                Some(nak) => self.reply(protocol, 3, packet[1], &nak),
                None => {
                    self.reply(protocol, 2, packet[1], &packet[4..]);
                    self.protocol(protocol).theirs = true;
                }
            },
            2 => self.protocol(protocol).ours = true,
            code => {
                let ours = &mut self.protocol(protocol).options;
                for (kind, value) in options {
                    match ours.iter_mut().find(|(of, _)| *of == kind) {
                        Some(option) if code == 3 => option.1 = value,
                        _ => ours.retain(|(of, _)| *of != kind),
                    }
                }
                self.request(protocol);
            }
        }
    }

    /// The way to authenticate that we would rather have.
    fn unwanted_auth(&self, protocol: u16, options: &[(u8, Vec<u8>)]) -> Option<Vec<u8>> {
        let wanted: &[u8] = match self.auth {
            Auth::EapMsChapV2 => &[0xC2, 0x27],
            Auth::MsChapV2 => &[0xC2, 0x23, 0x81],
            Auth::Chap => &[0xC2, 0x23, 0x05],
            Auth::Pap => &[0xC0, 0x23],
        };
        let other = protocol == LCP && options.iter().any(|(kind, value)| *kind == 3 && value != wanted);
        other.then(|| [&[3, wanted.len() as u8 + 2][..], wanted].concat())
    }

    fn protocol(&mut self, protocol: u16) -> &mut Protocol {
        match protocol {
            LCP => &mut self.lcp,
            IPCP => &mut self.ipcp,
            _ => &mut self.ipv6cp,
        }
    }

    fn request(&mut self, protocol: u16) {
        let request = self.protocol(protocol).request();
        self.control(protocol, 1, &request);
    }

    /// A packet of our own accord.
    fn control(&mut self, protocol: u16, code: u8, data: &[u8]) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.reply(protocol, code, id, data);
    }

    fn reply(&mut self, protocol: u16, code: u8, id: u8, information: &[u8]) {
        self.out.push_back(PppOutput::Send(data(protocol, &control(code, id, information))));
    }

    fn reached(&mut self, step: Step) {
        self.out.push_back(PppOutput::Reached(step));
    }
}

/// Options of a Configure packet.
fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    while let [kind, len, ..] = *bytes {
        options.push((kind, bytes[2..usize::from(len)].to_vec()));
        bytes = &bytes[usize::from(len)..];
    }
    options
}

fn unhex(text: &str) -> [u8; 16] {
    std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect("hexadecimal digits"))
}
