//! The options of LCP (RFC 1661 section 6) as Windows, pppd and their like use them.
use crate::api::{AuthProtocol, EndedBy};
use crate::negotiation::{Fault, Options, Review, Verdict};
use crate::packet::{Opt, protocol, push};
use crate::seed::Magic;

const MRU: u8 = 1;
const AUTHENTICATION: u8 = 3;
const MAGIC: u8 = 5;

/// What holds without the option (RFC 1661 section 6.1).
pub(crate) const DEFAULT_MRU: u16 = 1500;

/// Less than this no client wants, and control packets would not fit.
const MIN_MRU: u16 = 128;

/// Requests with our own magic number before the line counts as looped back.
const MAX_LOOPS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Lcp {
    allowed: Vec<AuthProtocol>,
    max_mru: u16,
    magics: Magic,
    /// Of our request.
    mru: Option<u16>,
    auth: AuthProtocol,
    magic: Option<u32>,
    refused: Vec<AuthProtocol>,
    /// What the client named that is not allowed.
    wanted: Option<String>,
    loops: u32,
    /// Of the client's request that we acknowledged.
    pub(crate) peer_mru: u16,
}

impl Lcp {
    /// An empty list of `allowed` stands for EAP: nobody comes in without authentication.
    pub(crate) fn new(allowed: &[AuthProtocol], max_mru: u16, magics: Magic) -> Self {
        let allowed = if allowed.is_empty() { vec![AuthProtocol::Eap] } else { allowed.to_vec() };
        let auth = allowed[0];
        let mut lcp = Self {
            allowed,
            max_mru,
            magics,
            mru: None,
            auth,
            magic: None,
            refused: Vec::new(),
            wanted: None,
            loops: 0,
            peer_mru: DEFAULT_MRU,
        };
        lcp.reset();
        lcp
    }

    /// What the client acknowledged, once LCP is Opened.
    pub(crate) fn auth(&self) -> AuthProtocol {
        self.auth
    }

    /// Zero where the client rejects magic numbers.
    pub(crate) fn magic(&self) -> u32 {
        self.magic.unwrap_or(0)
    }

    /// "the client wants X; allowed here: Y", for a link that ends over it.
    pub(crate) fn disagreement(&self, refusal: &str) -> Fault {
        let allowed: Vec<_> = self.allowed.iter().map(|auth| name(*auth)).collect();
        Fault::new(EndedBy::Incompatible, format!("the client {refusal}; allowed here: {}", allowed.join(", ")))
    }

    /// Goes on with what the client wants if that is allowed, else with the next of the list that it has not refused: pppd names only one
    /// protocol in its Nak although it may take several.
    fn auth_naked(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.refused.push(self.auth);
        let wanted = auth_of(value).filter(|auth| self.allowed.contains(auth));
        if wanted.is_none() {
            self.wanted = Some(describe(value));
        }
        let usable = |auth: &AuthProtocol| !self.refused.contains(auth);
        match wanted.filter(usable).or_else(|| self.allowed.iter().copied().find(usable)) {
            Some(auth) => self.auth = auth,
            None => {
                let wanted = self.wanted.clone().unwrap_or_else(|| describe(value));
                return Err(self.disagreement(&format!("wants {wanted}")));
            }
        }
        Ok(())
    }

    /// A smaller frame is a promise that costs nothing; anything else is settled by leaving the option out.
    fn mru_naked(&mut self, wanted: u16) {
        let usable = wanted >= MIN_MRU && wanted <= self.max_mru && self.mru.is_some_and(|asked| wanted != asked);
        self.mru = usable.then_some(wanted);
    }

    /// Our own magic number comes back: a coincidence, or our own request.
    fn looped(&mut self) -> Result<Verdict, Fault> {
        self.loops += 1;
        if self.loops > MAX_LOOPS {
            return Err(Fault::new(EndedBy::Violation, "the line is looped back: LCP hears its own magic number"));
        }
        let mut review = Review::default();
        review.nak(MAGIC, &self.magics.next().to_be_bytes());
        Ok(review.verdict())
    }
}

impl Options for Lcp {
    const PROTOCOL: u16 = protocol::LCP;
    const NAME: &'static str = "LCP";

    fn reset(&mut self) {
        self.mru = (self.max_mru != DEFAULT_MRU).then_some(self.max_mru);
        self.auth = self.allowed[0];
        self.magic = Some(self.magics.next());
        self.refused.clear();
        self.wanted = None;
        self.loops = 0;
        self.peer_mru = DEFAULT_MRU;
    }

    fn request(&self) -> Vec<u8> {
        let mut list = Vec::new();
        if let Some(mru) = self.mru {
            push(&mut list, MRU, &mru.to_be_bytes());
        }
        push(&mut list, AUTHENTICATION, value_of(self.auth));
        if let Some(magic) = self.magic {
            push(&mut list, MAGIC, &magic.to_be_bytes());
        }
        list
    }

    /// Everything but MRU and magic number is rejected, above all callback (13): a Nak makes Windows give up, a Reject makes it go on.
    fn judge(&mut self, asked: &[Opt<'_>]) -> Result<Verdict, Fault> {
        let magic = self.magic().to_be_bytes();
        if self.magic.is_some() && asked.iter().any(|option| option.kind == MAGIC && option.value == magic) {
            return self.looped();
        }
        let mut review = Review::default();
        let mut mru = DEFAULT_MRU;
        for option in asked {
            if !review.first(option) {
                continue;
            }
            match (option.kind, option.value) {
                (MRU, &[high, low]) => {
                    mru = u16::from_be_bytes([high, low]);
                    if mru < MIN_MRU {
                        review.nak(MRU, &DEFAULT_MRU.to_be_bytes());
                    }
                }
                (MAGIC, &[0, 0, 0, 0]) => review.nak(MAGIC, &self.magics.next().to_be_bytes()),
                (MAGIC, value) if value.len() == 4 => {}
                _ => review.reject(option),
            }
        }
        let verdict = review.verdict();
        if verdict == Verdict::Ack {
            self.peer_mru = mru;
        }
        Ok(verdict)
    }

    fn naked(&mut self, suggested: &[Opt<'_>]) -> Result<(), Fault> {
        for option in suggested {
            match (option.kind, option.value) {
                (MRU, &[high, low]) => self.mru_naked(u16::from_be_bytes([high, low])),
                (AUTHENTICATION, value) => self.auth_naked(value)?,
                (MAGIC, _) if self.magic.is_some() => self.magic = Some(self.magics.next()),
                _ => {}
            }
        }
        Ok(())
    }

    fn rejected(&mut self, refused: &[Opt<'_>]) -> Result<(), Fault> {
        for option in refused {
            match option.kind {
                MRU => self.mru = None,
                AUTHENTICATION => return Err(self.disagreement("refuses to authenticate")),
                _ => self.magic = None,
            }
        }
        Ok(())
    }

    fn echo_magic(&self) -> Option<u32> {
        Some(self.magic())
    }
}

/// The field's word.
pub(crate) fn name(auth: AuthProtocol) -> &'static str {
    match auth {
        AuthProtocol::Eap => "EAP",
        AuthProtocol::MsChapV2 => "MS-CHAPv2",
        AuthProtocol::Chap => "CHAP",
        AuthProtocol::Pap => "PAP",
    }
}

fn value_of(auth: AuthProtocol) -> &'static [u8] {
    match auth {
        AuthProtocol::Eap => &[0xC2, 0x27],
        AuthProtocol::MsChapV2 => &[0xC2, 0x23, 0x81],
        AuthProtocol::Chap => &[0xC2, 0x23, 0x05],
        AuthProtocol::Pap => &[0xC0, 0x23],
    }
}

fn auth_of(value: &[u8]) -> Option<AuthProtocol> {
    use AuthProtocol::{Chap, Eap, MsChapV2, Pap};
    [Eap, MsChapV2, Chap, Pap].into_iter().find(|auth| value_of(*auth) == value)
}

fn describe(value: &[u8]) -> String {
    match (auth_of(value), value) {
        (Some(auth), _) => name(auth).into(),
        (None, [0xC2, 0x23, 0x80]) => "MS-CHAPv1".into(),
        (None, [0xC2, 0x23, algorithm]) => format!("CHAP with algorithm {algorithm}"),
        (None, [high, low, ..]) => format!("authentication {}", protocol::name(u16::from_be_bytes([*high, *low]))),
        (None, _) => "no authentication protocol".into(),
    }
}
