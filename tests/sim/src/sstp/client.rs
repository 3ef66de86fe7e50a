//! A client of SSTP: what it says, what it leaves out, and what it does at which step.
use super::packets::{self, BindingParts, CONNECT_REQUEST, bare, call_connected, describe, with_status};
use super::ppp::{Ppp, PppOutput};
use std::collections::VecDeque;
use std::time::Duration;

/// How a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    EapMsChapV2,
    MsChapV2,
    Chap,
    Pap,
}

/// What a client's crypto binding is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Good,
    /// By SHA-1.
    Sha1,
    /// Before RADIUS has answered (old clients; not with EAP, whose keys come later).
    Early,
    /// Twice.
    Twice,
    WrongMac,
    WrongNonce,
    /// Somebody stands in the middle.
    WrongCertificate,
    /// As if the method made no keys.
    ZeroKeys,
    Missing,
}

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The HTTP answer is there, nothing is said yet.
    Dialled,
    /// CALL_CONNECT_REQUEST is sent.
    Requested,
    /// CALL_CONNECT_ACK is there.
    Acked,
    LcpSent,
    LcpUp,
    /// The first message of authentication is sent: RADIUS is asked.
    AuthSent,
    /// Another password is sent, or a changed one.
    AuthAgain,
    /// The gateway said yes; the binding is not sent yet.
    AuthDone,
    /// CALL_CONNECTED is sent.
    Bound,
    NetworkSent,
    /// A network protocol is up.
    Up,
}

impl Step {
    pub const ALL: [Self; 11] = [
        Self::Dialled,
        Self::Requested,
        Self::Acked,
        Self::LcpSent,
        Self::LcpUp,
        Self::AuthSent,
        Self::AuthAgain,
        Self::AuthDone,
        Self::Bound,
        Self::NetworkSent,
        Self::Up,
    ];
}

/// What a client does out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Says nothing any more, whatever comes.
    Mute,
    /// Does nothing more for its login, but answers as SSTP wants it.
    Stall,
    /// Closes the TCP connection.
    Close,
    /// CALL_ABORT.
    Abort,
    /// CALL_DISCONNECT.
    Disconnect,
    /// LCP Terminate-Request, then CALL_DISCONNECT: as Windows hangs up.
    HangUp,
    /// Opens LCP anew.
    Reopen,
    /// An IPv4 packet in a PPP frame.
    Data,
    /// SSTP packets as they are.
    Send(Vec<u8>),
}

/// What kind of client it is.
#[derive(Debug, Clone)]
pub struct Conduct {
    pub user: String,
    pub auth: Auth,
    /// In the order in which the user tries them.
    pub passwords: Vec<String>,
    pub new_password: Option<String>,
    pub ipv4: bool,
    pub ipv6: bool,
    pub binding: Binding,
    /// Name in its LCP Identification.
    pub computer: Option<String>,
    pub acts: Vec<(Step, Act)>,
    /// False: no answer to that.
    pub echo: bool,
    pub acknowledges_disconnect: bool,
    pub acknowledges_terminate: bool,
    pub answers_abort: bool,
    /// One way, between client and gateway.
    pub latency: Duration,
}

impl Conduct {
    pub fn new(user: &str, auth: Auth) -> Self {
        Self {
            user: user.into(),
            auth,
            passwords: vec!["secret".into()],
            new_password: None,
            ipv4: true,
            ipv6: false,
            binding: Binding::Good,
            computer: None,
            acts: Vec::new(),
            echo: true,
            acknowledges_disconnect: true,
            acknowledges_terminate: true,
            answers_abort: true,
            latency: Duration::from_millis(10),
        }
    }

    pub fn at(mut self, step: Step, act: Act) -> Self {
        self.acts.push((step, act));
        self
    }
}

/// What leaves a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientOutput {
    Packet(Vec<u8>),
    Close,
}

/// A client and what it saw.
#[derive(Debug)]
pub struct Client {
    pub conduct: Conduct,
    ppp: Ppp,
    /// DER of the certificate that it was shown.
    certificate: Vec<u8>,
    nonce: [u8; 32],
    offers_sha256: bool,
    /// Names of what came from the gateway, with the time since the start of the world.
    pub trace: Vec<(Duration, String)>,
    pub steps: Vec<Step>,
    /// Neither says nor hears anything of PPP any more.
    ending: bool,
    muted: bool,
    stalled: bool,
    /// It has closed the connection, or seen it closed.
    pub gone: bool,
    out: VecDeque<ClientOutput>,
}

impl Client {
    pub(crate) fn new(conduct: Conduct, certificate: Vec<u8>, seed: u64) -> Self {
        Self {
            ppp: Ppp::new(&conduct, seed),
            conduct,
            certificate,
            nonce: [0; 32],
            offers_sha256: false,
            trace: Vec::new(),
            steps: Vec::new(),
            ending: false,
            muted: false,
            stalled: false,
            gone: false,
            out: VecDeque::new(),
        }
    }

    pub fn reached(&self, step: Step) -> bool {
        self.steps.contains(&step)
    }

    /// What came, without the times.
    pub fn heard(&self) -> Vec<&str> {
        self.trace.iter().map(|(_, name)| name.as_str()).collect()
    }

    /// When the first of this name came.
    pub fn heard_at(&self, name: &str) -> Option<Duration> {
        self.trace.iter().find(|(_, of)| of == name).map(|(at, _)| *at)
    }

    pub fn ipv4(&self) -> Option<std::net::Ipv4Addr> {
        self.ppp.ipv4()
    }

    pub(crate) fn poll(&mut self) -> Option<ClientOutput> {
        self.out.pop_front()
    }

    /// The gateway closed the connection.
    pub(crate) fn closed(&mut self, now: Duration) {
        self.gone = true;
        self.trace.push((now, "closed".into()));
    }

    pub(crate) fn receive(&mut self, now: Duration, packet: &[u8]) {
        let name = describe(packet);
        self.trace.push((now, name.clone()));
        if self.muted {
            return;
        }
        if packet.starts_with(b"HTTP") {
            return self.answered(name == "HTTP 200");
        }
        if packet[1] & 1 == 1 {
            return self.control(packet);
        }
        if !self.ending && !self.stalled {
            self.ppp.receive(&packet[4..]);
            self.drain_ppp();
        }
    }

    /// Does something now.
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Mute => self.muted = true,
            Act::Stall => self.stalled = true,
            Act::Close => {
                self.gone = true;
                self.out.push_back(ClientOutput::Close);
            }
            Act::Abort => self.end(with_status(5, 0)),
            Act::Disconnect => self.end(with_status(6, 0)),
            Act::HangUp => {
                self.ppp.terminate();
                self.drain_ppp();
            }
            Act::Reopen => {
                self.ppp.reopen();
                self.drain_ppp();
            }
            Act::Data => self.send(packets::data(0x0021, &[0x45; 20])),
            Act::Send(packet) => self.send(packet),
        }
    }

    fn answered(&mut self, ok: bool) {
        if !ok {
            return;
        }
        self.reach(Step::Dialled);
        if !self.stalled {
            self.send(CONNECT_REQUEST.to_vec());
            self.reach(Step::Requested);
        }
    }

    fn control(&mut self, packet: &[u8]) {
        match packet[5] {
            2 => self.acked(packet),
            5 if !self.ending && self.conduct.answers_abort => self.end(with_status(5, 0)),
            6 if !self.ending && self.conduct.acknowledges_disconnect => self.end(bare(7)),
            7 if self.ending => self.act(Act::Close),
            8 if !self.ending && self.conduct.echo => self.send(bare(9)),
            _ => {}
        }
    }

    fn acked(&mut self, packet: &[u8]) {
        self.offers_sha256 = packet[15] & 2 == 2;
        self.nonce.copy_from_slice(&packet[16..48]);
        self.reach(Step::Acked);
        if !self.stalled {
            self.ppp.start();
            self.drain_ppp();
        }
    }

    fn drain_ppp(&mut self) {
        while let Some(output) = self.ppp.poll().filter(|_| !self.stalled) {
            match output {
                PppOutput::Send(packet) => self.send(packet),
                PppOutput::Reached(step) => {
                    self.reach(step);
                    if matches!(step, Step::AuthSent | Step::AuthAgain) && self.conduct.binding == Binding::Early {
                        self.bind();
                    }
                }
                PppOutput::Authenticated => {
                    self.reach(Step::AuthDone);
                    if self.conduct.binding != Binding::Early && !self.stalled {
                        self.bind();
                    }
                }
                PppOutput::Terminated => self.end(with_status(6, 0)),
            }
        }
    }

    /// CALL_CONNECTED, such as it is.
    fn bind(&mut self) {
        let binding = self.conduct.binding;
        let hlak = match (binding, self.ppp.hlak()) {
            (Binding::Missing, _) => return,
            (Binding::ZeroKeys, _) => [0; 32],
            (_, Some(hlak)) => hlak,
            (_, None) => return,
        };
        let sha1 = binding == Binding::Sha1 || !self.offers_sha256;
        let mut parts = BindingParts { sha1, nonce: self.nonce, certificate: self.certificate.clone(), hlak };
        match binding {
            Binding::WrongNonce => parts.nonce[31] ^= 1,
            Binding::WrongCertificate => parts.certificate.push(0),
            _ => {}
        }
        let mut packet = call_connected(&parts);
        if binding == Binding::WrongMac {
            packet[80] ^= 1;
        }
        if binding == Binding::Twice {
            self.send(packet.clone());
        }
        self.send(packet);
        self.reach(Step::Bound);
    }

    /// Says the last word of SSTP.
    fn end(&mut self, packet: Vec<u8>) {
        self.send(packet);
        self.ending = true;
    }

    fn send(&mut self, packet: Vec<u8>) {
        if !self.muted && !self.gone && !self.ending {
            self.out.push_back(ClientOutput::Packet(packet));
        }
    }

    fn reach(&mut self, step: Step) {
        if self.muted || self.gone || self.ending {
            return;
        }
        let first = !self.steps.contains(&step);
        self.steps.push(step);
        if !first {
            return;
        }
        let acts: Vec<_> = self.conduct.acts.iter().filter(|(at, _)| *at == step).map(|(_, act)| act.clone()).collect();
        for act in acts {
            self.act(act);
        }
    }
}
