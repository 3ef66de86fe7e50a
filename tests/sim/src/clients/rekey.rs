//! Rekeys as the clients do them.
use super::{Client, Maker, everything};
use crate::Sim;
use crypto::dh::PrivateKey;
use crypto::{Random, Zeroizing};
use ike::ChildSa;
use ike::keys::Seed;
use ike::proposal::{SaPayload, accept_ike};
use ike::wire::{Exchange, KeyExchange, Notify, Payload, Payloads, Spi, notify};

/// What came of a rekey of the Child SA.
#[derive(Debug)]
pub struct Rekeyed {
    pub answer: Payloads,
    nonce_i: Vec<u8>,
    secret: Option<Zeroizing<Vec<u8>>>,
}

impl Client {
    /// The client's request to rekey its Child SA or, for `None`, to make a new one: wide selectors again and, with PFS, KE behind them.
    fn child_request(&mut self, rekeys: Option<u32>, new: u32) -> (Vec<Payload>, Vec<u8>, Option<PrivateKey>) {
        let nonce_i = self.nonce();
        let groups = self.profile.pfs.clone();
        let pair = groups.first().map(|group| PrivateKey::generate(*group, &mut self.random));
        let mut payloads: Vec<Payload> = rekeys.map(|spi| Payload::Notify(Notify::esp(notify::REKEY_SA, spi))).into_iter().collect();
        payloads.extend([Payload::Sa(self.profile.esp_offer(new, &groups)), Payload::Nonce(nonce_i.clone())]);
        let (private, public) = pair.unzip();
        let exchange = groups.first().zip(public);
        let exchange = exchange.map(|(group, public)| Payload::KeyExchange(KeyExchange { group: group.id(), public }));
        let selectors = [Payload::TsInitiator(everything()), Payload::TsResponder(everything())];
        if self.profile.maker == Maker::Windows {
            payloads.extend(selectors.into_iter().chain(exchange));
        } else {
            payloads.extend(exchange.into_iter().chain(selectors));
        }
        (payloads, nonce_i, private)
    }

    /// Makes a new Child SA in the place of the one in use, or one where there is none.
    pub fn rekey_child(&mut self, sim: &mut Sim, rekeys: Option<u32>) -> Rekeyed {
        let new = self.spi_in + 1;
        let (request, nonce_i, private) = self.child_request(rekeys, new);
        let answer = self.exchange(sim, Exchange::CreateChildSa, &request);
        if answer.sa().is_some() {
            self.spi_in = new;
        }
        let secret = private.zip(answer.key_exchange()).map(|(private, theirs)| private.agree(&theirs.public).expect("a public value"));
        Rekeyed { answer, nonce_i, secret }
    }

    /// Both sides have the same keys for the Child SA that a rekey made.
    #[track_caller]
    pub fn assert_child(&self, sim: &Sim, rekeyed: &Rekeyed) {
        let nonce_r = rekeyed.answer.nonce().expect("a nonce");
        self.assert_keys(sim, rekeyed.secret.as_ref().map(|secret| secret.as_slice()), (&rekeyed.nonce_i, nonce_r));
    }

    /// Both sides have the same keys for the Child SA of IKE_AUTH.
    #[track_caller]
    pub fn assert_first_child(&self, sim: &Sim) {
        self.assert_keys(sim, None, (&self.nonce_i, &self.nonce_r));
    }

    #[track_caller]
    fn assert_keys(&self, sim: &Sim, secret: Option<&[u8]>, nonces: (&[u8], &[u8])) {
        let child = self.child(sim);
        let keys = self.keys.as_ref().expect("keys").child(child.suite.protection, secret, nonces.0, nonces.1);
        assert_eq!(*child.key_in.encryption, *keys.initiator.encryption);
        assert_eq!(*child.key_out.encryption, *keys.responder.encryption);
        assert_eq!(*child.key_in.integrity, *keys.initiator.integrity);
    }

    /// The gateway's half of the client's Child SA.
    #[track_caller]
    pub fn child<'a>(&self, sim: &'a Sim) -> &'a ChildSa {
        let mut children = sim.host(self.gateway).children.values();
        children.find(|child| child.spi_out == self.spi_in).expect("the gateway has the Child SA")
    }

    /// Rekeys the IKE SA with this offer, and goes on with the new one; the old is not deleted yet. The answer.
    pub fn rekey_ike(&mut self, sim: &mut Sim, mut offer: SaPayload) -> Payloads {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        let spi_i = Spi(u64::from_be_bytes(bytes) | 1);
        offer.proposals.iter_mut().for_each(|proposal| proposal.spi = spi_i.0.to_be_bytes().to_vec());
        let nonce_i = self.nonce();
        let (private, public) = PrivateKey::generate(self.profile.group, &mut self.random);
        let exchange = KeyExchange { group: self.profile.group.id(), public };
        let request = [Payload::Sa(offer.clone()), Payload::KeyExchange(exchange), Payload::Nonce(nonce_i.clone())];
        let answer = self.exchange(sim, Exchange::CreateChildSa, &request);
        let Some(theirs) = answer.key_exchange() else { return answer };
        let chosen = accept_ike(&offer, answer.sa().expect("SA")).expect("a proposal of ours");
        let spi_r = chosen.spi.expect("the SPI of a rekey");
        let shared_secret = private.agree(&theirs.public).expect("a public value");
        let seed = Seed { shared_secret: &shared_secret, nonce_i: &nonce_i, nonce_r: answer.nonce().expect("a nonce"), spi_i, spi_r };
        let keys = self.keys.as_ref().expect("keys").rekey(chosen.suite, seed);
        (self.spi_i, self.spi_r, self.next_id) = (spi_i, spi_r, 0);
        self.take_keys(keys, true);
        answer
    }
}
