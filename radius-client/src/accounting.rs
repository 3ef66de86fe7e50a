//! Accounting: each record goes to one server after the other until one confirms it.
use crate::api::{Output, RequestFailure, Server, Ticket};
use crate::client::{Client, Work};
use crate::codec::Envelope;
use crate::failure;
use crate::record::AccountingRecord;
use crate::request::{self, BadRequest};
use crate::table::PeerKey;
use crate::validate::Purpose;
use std::collections::VecDeque;
use std::time::Instant;

/// How often the list of servers is gone through before a record is given back as lost.
const ROUNDS: usize = 2;

/// One record on its way.
#[derive(Debug)]
pub(crate) struct AccountingWork {
    ticket: Ticket,
    record: Box<AccountingRecord>,
    began: Instant,
    remaining: VecDeque<PeerKey>,
    failures: Vec<RequestFailure>,
}

impl AccountingWork {
    /// Identical bytes while one server is tried; the next server, or the next round, gets a fresh packet that says how late it is.
    pub(crate) fn write(&self, now: Instant, envelope: &Envelope, server: &Server) -> Result<Vec<u8>, BadRequest> {
        let delay = self.record.delay.saturating_add(now.saturating_duration_since(self.began));
        let delay = u32::try_from(delay.as_secs()).unwrap_or(u32::MAX);
        request::accounting(&self.record, delay, envelope, server)
    }
}

impl Client {
    pub(crate) fn account(&mut self, now: Instant, ticket: Ticket, group: Option<&str>, record: Box<AccountingRecord>) {
        let first = record.server.as_deref().and_then(|name| self.peers.named(name));
        let takes = |peer: &PeerKey| self.peers.get(*peer).is_some_and(|peer| peer.address(Purpose::Accounting).is_some());
        let wanted = self.peers.preferred(now, group, Purpose::Accounting, &mut *self.random);
        // A group that is gone by now: a record can wait for longer than a configuration lasts.
        let wanted = match (wanted, first.filter(takes)) {
            (Err(RequestFailure::NoGroup { .. }), Some(first)) => Ok(vec![first]),
            (Err(RequestFailure::NoGroup { .. }), None) => self.peers.preferred(now, None, Purpose::Accounting, &mut *self.random),
            (wanted, _) => wanted,
        };
        let mut order = match wanted {
            Ok(order) => order,
            Err(failure) => return self.outputs.push_back(Output::Accounting { ticket, outcome: Err(failure) }),
        };
        if let Some(first) = first {
            // Stable: false sorts before true.
            order.sort_by_key(|peer| *peer != first);
        }
        let remaining = std::iter::repeat_n(order, ROUNDS).flatten().collect();
        self.account_next(now, Box::new(AccountingWork { ticket, record, began: now, remaining, failures: Vec::new() }));
    }

    pub(crate) fn accounted(&mut self, peer: PeerKey, work: &AccountingWork) {
        let server = self.peers.get(peer).map(|peer| peer.server.name.clone()).unwrap_or_default();
        self.outputs.push_back(Output::Accounting { ticket: work.ticket, outcome: Ok(server) });
    }

    pub(crate) fn account_elsewhere(&mut self, now: Instant, mut work: Box<AccountingWork>, peer: PeerKey, failure: RequestFailure) {
        if matches!(failure, RequestFailure::Declined { .. }) {
            // It would say so again.
            work.remaining.retain(|next| *next != peer);
        }
        work.failures.push(failure);
        self.account_next(now, work);
    }

    fn account_next(&mut self, now: Instant, mut work: Box<AccountingWork>) {
        while let Some(peer) = work.remaining.pop_front() {
            if !self.peers.is_configured(peer) {
                continue;
            }
            match self.send(now, peer, Work::Accounting(work)) {
                Ok(_) => return,
                Err((Work::Accounting(unsent), failure)) => {
                    work = unsent;
                    work.failures.push(failure);
                }
                Err(_) => return,
            }
        }
        let outcome = Err(failure::merge(work.failures));
        self.outputs.push_back(Output::Accounting { ticket: work.ticket, outcome });
    }
}
