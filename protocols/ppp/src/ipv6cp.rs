//! The options of IPv6CP (RFC 5072).
use crate::api::{EndedBy, Network};
use crate::negotiation::{Fault, Options, Review, Verdict};
use crate::packet::{Opt, protocol, push};
use crate::seed;

const INTERFACE: u8 = 1;

/// Naks of the client's identifier before IPv6CP is given up.
const MAX_NAKS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Ipv6cp {
    pub(crate) ours: [u8; 8],
    /// The low half of the leased address, so that address configuration by router advertisement yields exactly that.
    pub(crate) theirs: [u8; 8],
    /// Our identifier is in our request.
    named: bool,
    naks: u32,
}

impl Ipv6cp {
    /// `None` if the client has no address, or one whose interface identifier is zero, which cannot be negotiated.
    pub(crate) fn new(network: &Network, seed: &seed::Seed) -> Option<Self> {
        let mut theirs = [0; 8];
        theirs.copy_from_slice(&network.ipv6?.octets()[8..]);
        (theirs != [0; 8]).then(|| Self { ours: seed::interface(seed, theirs), theirs, named: true, naks: 0 })
    }
}

impl Options for Ipv6cp {
    const PROTOCOL: u16 = protocol::IPV6CP;
    const NAME: &'static str = "IPv6CP";

    fn reset(&mut self) {
        self.named = true;
        self.naks = 0;
    }

    fn request(&self) -> Vec<u8> {
        let mut list = Vec::new();
        if self.named {
            push(&mut list, INTERFACE, &self.ours);
        }
        list
    }

    /// Windows and pppd (unless told its own identifier) take what the Nak says. A client that insists would configure an address that is
    /// not its lease, and everything it sends would be dropped without a word. Acknowledging its wish hides that, and rejecting the option
    /// leaves the identifier open; so IPv6CP is given up: the caller rejects the protocol, which every client takes as "no IPv6 here".
    fn judge(&mut self, asked: &[Opt<'_>]) -> Result<Verdict, Fault> {
        let mut review = Review::default();
        let mut agreed = false;
        for option in asked {
            if !review.first(option) {
                continue;
            }
            match (option.kind, option.value.len()) {
                (INTERFACE, 8) => agreed = option.value == self.theirs,
                _ => review.reject(option),
            }
        }
        if !agreed {
            review.nak(INTERFACE, &self.theirs);
        }
        let verdict = review.verdict();
        match verdict {
            Verdict::Ack => self.naks = 0,
            Verdict::Nak(_) => self.naks += 1,
            Verdict::Reject(_) => {}
        }
        if self.naks > MAX_NAKS {
            return Err(Fault::new(EndedBy::Incompatible, "the client insists on an interface identifier that is not its lease's"));
        }
        Ok(verdict)
    }

    fn naked(&mut self, suggested: &[Opt<'_>]) -> Result<(), Fault> {
        for option in suggested {
            if let (INTERFACE, Ok(wanted)) = (option.kind, <[u8; 8]>::try_from(option.value))
                && wanted != [0; 8]
                && wanted != self.theirs
            {
                self.ours = wanted;
            }
        }
        Ok(())
    }

    fn rejected(&mut self, _: &[Opt<'_>]) -> Result<(), Fault> {
        self.named = false;
        Ok(())
    }
}
