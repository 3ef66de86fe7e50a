//! The options of IPCP (RFC 1332) with the name servers of RFC 1877.
use crate::api::Network;
use crate::negotiation::{Fault, Options, Review, Verdict};
use crate::packet::{Opt, protocol, push};
use std::net::Ipv4Addr;

const ADDRESS: u8 = 3;
const DNS_1: u8 = 129;
const NBNS_1: u8 = 130;
const DNS_2: u8 = 131;
const NBNS_2: u8 = 132;

/// Naks of our own address before we leave it out.
const MAX_ADDRESS_NAKS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Ipcp {
    pub(crate) client: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
    dns: Vec<Ipv4Addr>,
    nbns: Vec<Ipv4Addr>,
    /// Our address is in our request.
    named: bool,
    naks: u32,
}

impl Ipcp {
    /// `None` if the client has no address.
    pub(crate) fn new(network: &Network) -> Option<Self> {
        // A Nak with 0.0.0.0 is a question back, and makes a loop that Windows shows as error 720.
        let usable = |list: &[Ipv4Addr]| list.iter().copied().filter(|server| !server.is_unspecified()).take(2).collect();
        Some(Self {
            client: network.ipv4.filter(|address| !address.is_unspecified())?,
            gateway: network.gateway_ipv4.filter(|address| !address.is_unspecified()),
            dns: usable(&network.dns),
            nbns: usable(&network.nbns),
            named: true,
            naks: 0,
        })
    }

    /// What the client should have for this option; `None`: nothing, and the option is rejected.
    fn value(&self, kind: u8) -> Option<Ipv4Addr> {
        match kind {
            ADDRESS => Some(self.client),
            DNS_1 => self.dns.first().copied(),
            DNS_2 => self.dns.get(1).copied(),
            NBNS_1 => self.nbns.first().copied(),
            NBNS_2 => self.nbns.get(1).copied(),
            _ => None,
        }
    }
}

impl Options for Ipcp {
    const PROTOCOL: u16 = protocol::IPCP;
    const NAME: &'static str = "IPCP";

    fn reset(&mut self) {
        self.named = true;
        self.naks = 0;
    }

    /// No compression (RFC 1332 section 4): over a reliable stream it gains nothing, and Windows rejects it.
    fn request(&self) -> Vec<u8> {
        let mut list = Vec::new();
        if let Some(gateway) = self.gateway.filter(|_| self.named) {
            push(&mut list, ADDRESS, &gateway.octets());
        }
        list
    }

    /// A request without an address counts as one for 0.0.0.0.
    fn judge(&mut self, asked: &[Opt<'_>]) -> Result<Verdict, Fault> {
        let mut review = Review::default();
        for option in asked {
            if !review.first(option) {
                continue;
            }
            match self.value(option.kind) {
                Some(address) if option.value.len() == 4 => {
                    if option.value != address.octets() {
                        review.nak(option.kind, &address.octets());
                    }
                }
                _ => review.reject(option),
            }
        }
        if !review.saw(ADDRESS) {
            review.nak(ADDRESS, &self.client.octets());
        }
        Ok(review.verdict())
    }

    /// Our address is ours; a client that will not have it gets none.
    fn naked(&mut self, suggested: &[Opt<'_>]) -> Result<(), Fault> {
        if suggested.iter().any(|option| option.kind == ADDRESS) {
            self.naks += 1;
            self.named = self.naks < MAX_ADDRESS_NAKS;
        }
        Ok(())
    }

    fn rejected(&mut self, _: &[Opt<'_>]) -> Result<(), Fault> {
        self.named = false;
        Ok(())
    }
}
