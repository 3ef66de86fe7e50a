//! Rekeys as the clients do them.
use crate::client::spi;
use crate::{Child, Client, Maker, Wire};
use crypto::Zeroizing;
use crypto::dh::{Group, PrivateKey};
use ike::keys::Seed;
use ike::proposal::{SaPayload, accept_esp, accept_ike};
use ike::wire::{Exchange, Header, KeyExchange, Notify, Payload, Payloads, Spi, notify};

/// What came of a rekey of the Child SA.
#[derive(Debug)]
pub struct Rekeyed {
    pub answer: Payloads,
    pub nonce_i: Vec<u8>,
    /// Of its key exchange, where there was one.
    pub secret: Option<Zeroizing<Vec<u8>>>,
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
        let selectors = [Payload::TsInitiator(self.selectors.clone()), Payload::TsResponder(self.selectors.clone())];
        if self.profile.maker == Maker::Windows {
            payloads.extend(selectors.into_iter().chain(exchange));
        } else {
            payloads.extend(exchange.into_iter().chain(selectors));
        }
        (payloads, nonce_i, private)
    }

    /// Makes a new Child SA in the place of the one in use, or one where there is none.
    pub fn rekey_child(&mut self, wire: &mut impl Wire, rekeys: Option<u32>) -> Rekeyed {
        let new = self.spi_in + 1;
        let (request, nonce_i, private) = self.child_request(rekeys, new);
        let answer = self.exchange(wire, Exchange::CreateChildSa, &request);
        let secret = private.zip(answer.key_exchange()).map(|(private, theirs)| private.agree(&theirs.public).expect("a public value"));
        if answer.sa().is_some() {
            self.spi_in = new;
            let nonces = (nonce_i.clone(), answer.nonce().expect("a nonce").to_vec());
            self.take_child(&answer, &self.profile.pfs.clone(), secret.as_ref().map(|secret| secret.as_slice()), nonces);
        }
        Rekeyed { answer, nonce_i, secret }
    }

    /// Keys of the Child SA that an answer describes, offered with these groups.
    pub(crate) fn take_child(&mut self, answer: &Payloads, groups: &[Group], secret: Option<&[u8]>, nonces: (Vec<u8>, Vec<u8>)) {
        let Some(sa) = answer.sa() else { return };
        let chosen = accept_esp(&self.profile.esp_offer(self.spi_in, groups), sa).expect("a proposal of ours");
        let keys = self.keys.as_ref().expect("keys").child(chosen.suite.protection, secret, &nonces.0, &nonces.1);
        let theirs = answer.ts_responder().expect("TSr").to_vec();
        self.child = Some(Child::new(&chosen, self.spi_in, &keys, theirs));
    }

    /// Rekeys the IKE SA with this offer, and goes on with the new one; the old is not deleted yet. The answer.
    pub fn rekey_ike(&mut self, wire: &mut impl Wire, mut offer: SaPayload) -> Payloads {
        let spi_i = spi(&mut self.random);
        offer.proposals.iter_mut().for_each(|proposal| proposal.spi = spi_i.0.to_be_bytes().to_vec());
        let nonce_i = self.nonce();
        let (private, public) = PrivateKey::generate(self.profile.group, &mut self.random);
        let exchange = KeyExchange { group: self.profile.group.id(), public };
        let request = [Payload::Sa(offer.clone()), Payload::KeyExchange(exchange), Payload::Nonce(nonce_i.clone())];
        let answer = self.exchange(wire, Exchange::CreateChildSa, &request);
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

    /// Takes part in the gateway's rekey of the IKE SA and goes on with the new one, of which the gateway is the initiator.
    pub fn answer_ike_rekey(&mut self, wire: &mut impl Wire, request: &Header, payloads: &Payloads) {
        let offer = payloads.sa().expect("SA");
        let spi_i = Spi(u64::from_be_bytes(offer.proposals[0].spi.clone().try_into().expect("an SPI of 8 bytes")));
        let spi_r = spi(&mut self.random);
        let mut answer = SaPayload { proposals: offer.proposals[..1].to_vec() };
        answer.proposals[0].spi = spi_r.0.to_be_bytes().to_vec();
        let chosen = accept_ike(offer, &answer).expect("one transform of each type");
        let (theirs, nonce_i) = (payloads.key_exchange().expect("KE"), payloads.nonce().expect("a nonce"));
        assert_eq!(theirs.group, chosen.suite.group.id(), "KE of the proposed group");
        let (private, public) = PrivateKey::generate(chosen.suite.group, &mut self.random);
        let nonce_r = self.nonce();
        let exchange = KeyExchange { group: theirs.group, public };
        self.answer(wire, request, &[Payload::Sa(answer), Payload::Nonce(nonce_r.clone()), Payload::KeyExchange(exchange)]);
        let shared_secret = private.agree(&theirs.public).expect("a public value");
        let seed = Seed { shared_secret: &shared_secret, nonce_i, nonce_r: &nonce_r, spi_i, spi_r };
        let keys = self.keys.as_ref().expect("keys").rekey(chosen.suite, seed);
        (self.spi_i, self.spi_r, self.next_id) = (spi_i, spi_r, 0);
        self.take_keys(keys, false);
    }
}
