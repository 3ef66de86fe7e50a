//! A device with its tunnels: does the steps of a script.
use crate::inner;
use crate::open::{self, Options};
use crate::step::Step;
use crate::wire::{Faults, Sockets};
use anyhow::{Context as _, ensure};
use ike::wire::{Configuration, ConfigurationAttribute, Delete, Exchange, Header, Notify, Payload, Payloads, notify};
use ike::{TrafficSelector, nat};
use ikev2_client::{Child, Client, Profile};
use packet::IpHeader;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long an echo or an answer inside the tunnel may take.
const INNER_PATIENCE: Duration = Duration::from_secs(2);

/// How long the answer to a last DELETE may take.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Tunnel {
    client: Client,
    /// Replaced, but packets of them may be on their way.
    old: Vec<Child>,
    addresses: Vec<IpAddr>,
    echoes: u16,
    up: bool,
    /// It said DELETE.
    over: bool,
}

#[derive(Debug)]
pub(crate) struct Device {
    options: Options,
    sockets: Sockets,
    tunnels: HashMap<String, Tunnel>,
    patience: Vec<Duration>,
}

impl Device {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, sockets: Sockets::default(), tunnels: HashMap::new(), patience: Vec::new() }
    }

    pub(crate) fn step(&mut self, step: Step) -> anyhow::Result<Value> {
        match step {
            Step::Open(open) => {
                self.sockets.bind(self.options.local)?;
                let client = open::client(&self.options, &open, self.tunnels.len() as u16)?;
                self.tunnels
                    .insert(open.tunnel, Tunnel { client, old: Vec::new(), addresses: Vec::new(), echoes: 0, up: false, over: false });
                Ok(json!({}))
            }
            Step::Wire { copies, reversed, forged, patience } => {
                self.sockets.faults = Faults { copies, reversed, forged };
                self.patience = patience.into_iter().map(Duration::from_secs_f64).collect();
                Ok(json!({}))
            }
            Step::Init { tunnel } => self.with(&tunnel, Tunnel::init),
            Step::Auth { tunnel } => self.with(&tunnel, Tunnel::auth),
            Step::Login { tunnel } => self.with(&tunnel, |tunnel, sockets| {
                let mut first = tunnel.init(sockets)?;
                if first["error"].is_null() {
                    merge(&mut first, tunnel.auth(sockets)?);
                }
                Ok(first)
            }),
            Step::Complain { tunnel, code } => self.with(&tunnel, |tunnel, sockets| tunnel.complain(sockets, code)),
            Step::Liveness { tunnel } => self.with(&tunnel, |tunnel, sockets| Ok(told(&tunnel.client.liveness(sockets)))),
            Step::RekeyChild { tunnel } => self.with(&tunnel, Tunnel::rekey_child),
            Step::CreateChild { tunnel } => {
                self.with(&tunnel, |tunnel, sockets| Ok(told(&tunnel.client.rekey_child(sockets, None).answer)))
            }
            Step::DeleteChild { tunnel } => self.with(&tunnel, Tunnel::delete_child),
            Step::RekeyIke { tunnel, profile } => self.with(&tunnel, |tunnel, sockets| tunnel.rekey_ike(sockets, profile.as_deref())),
            Step::Close { tunnel } => self.with(&tunnel, |tunnel, sockets| {
                tunnel.over = true;
                Ok(told(&tunnel.client.exchange(sockets, Exchange::Informational, &[Payload::Delete(Delete::Ike)])))
            }),
            Step::Farewell {} => Ok(self.farewell()),
            Step::Echo { tunnel, target, count, size, rekeys } => {
                self.with(&tunnel, |tunnel, sockets| tunnel.echoes(sockets, target, count, size, rekeys))
            }
            Step::Inform { tunnel } => self.with(&tunnel, Tunnel::inform),
            Step::Solicit { tunnel } => self.with(&tunnel, |tunnel, sockets| {
                let found = tunnel.ask(sockets, &inner::solicitation(), |packet| inner::is_advertisement(packet).then_some(()))?;
                Ok(json!({ "advertised": found.is_some() }))
            }),
            Step::Attend { tunnel, seconds, code } => {
                self.with(&tunnel, |tunnel, sockets| tunnel.attend(sockets, Duration::from_secs_f64(seconds), code))
            }
            Step::Move { tunnel, address, update } => {
                self.sockets.bind(address)?;
                self.with(&tunnel, |tunnel, sockets| tunnel.go(sockets, address, update))
            }
        }
    }

    fn farewell(&mut self) -> Value {
        self.sockets.patience = vec![FAREWELL];
        for tunnel in self.tunnels.values_mut().filter(|tunnel| tunnel.up && !tunnel.over) {
            let delete = tunnel.client.seal(Exchange::Informational, &[Payload::Delete(Delete::Ike)]);
            tunnel.client.send_all(&mut self.sockets, delete);
        }
        json!({})
    }

    fn with(&mut self, name: &str, work: impl FnOnce(&mut Tunnel, &mut Sockets) -> anyhow::Result<Value>) -> anyhow::Result<Value> {
        let tunnel = self.tunnels.get_mut(name).with_context(|| format!("there is no tunnel {name}"))?;
        self.sockets.patience = if self.patience.is_empty() { tunnel.client.profile.patience.clone() } else { self.patience.clone() };
        self.sockets.retransmissions = 0;
        let mut outcome = work(tunnel, &mut self.sockets)?;
        merge(&mut outcome, json!({ "retransmissions": self.sockets.retransmissions }));
        Ok(outcome)
    }
}

impl Tunnel {
    fn init(&mut self, sockets: &mut Sockets) -> anyhow::Result<Value> {
        let answer = self.client.init(sockets);
        let size = sockets.answered;
        let chosen = answer.sa().map(|sa| sa.proposals[0].number);
        let mut outcome = told(&answer);
        let behind_nat = self.client.encapsulate;
        merge(&mut outcome, json!({ "proposal": chosen, "sent": size.sent_longest, "received": size.received_longest, "nat": behind_nat }));
        Ok(outcome)
    }

    fn auth(&mut self, sockets: &mut Sockets) -> anyhow::Result<Value> {
        self.client.float();
        let request = self.client.first_auth();
        let answer = self.client.exchange(sockets, Exchange::IkeAuth, &request);
        let size = sockets.answered;
        let last = self.client.go_on(sockets, answer);
        let mut outcome = told(&last);
        let (addresses, dns) = last.configuration().map(Configuration::addresses).unwrap_or_default();
        self.addresses.clone_from(&addresses);
        self.up = self.client.child.is_some();
        merge(
            &mut outcome,
            json!({
                "up": self.client.child.is_some(),
                "fragments": size.sent,
                "longest": size.sent_longest,
                "answered_fragments": size.received,
                "answered_longest": size.received_longest,
                "addresses": addresses,
                "dns": dns,
                "servers": servers(&last),
                "domains": domains(&last),
                "method": self.client.gateway_method,
                "complaint": self.client.complaint,
                "esp_proposal": last.sa().map(|sa| sa.proposals[0].number),
            }),
        );
        Ok(outcome)
    }

    fn complain(&mut self, sockets: &mut Sockets, code: u32) -> anyhow::Result<Value> {
        let first = self.init(sockets)?;
        ensure!(first["error"].is_null(), "IKE_SA_INIT: {first}");
        self.client.float();
        let request = self.client.first_auth();
        self.client.exchange(sockets, Exchange::IkeAuth, &request);
        let notify = Notify::new(notify::MS_WIN32_ERROR, code.to_be_bytes());
        Ok(told(&self.client.exchange(sockets, Exchange::Informational, &[Payload::Notify(notify)])))
    }

    fn rekey_child(&mut self, sockets: &mut Sockets) -> anyhow::Result<Value> {
        let (replaced, spi_in) = (self.client.child.take(), self.client.spi_in);
        let rekeyed = self.client.rekey_child(sockets, Some(spi_in));
        let mut outcome = told(&rekeyed.answer);
        if self.client.child.is_none() {
            self.client.child = replaced;
            return Ok(outcome);
        }
        self.old.extend(replaced);
        let deleted = self.client.delete_child(sockets, spi_in);
        merge(&mut outcome, json!({ "with_key_exchange": rekeyed.secret.is_some(), "deleted": deletes(&deleted) }));
        Ok(outcome)
    }

    fn delete_child(&mut self, sockets: &mut Sockets) -> anyhow::Result<Value> {
        let ours = self.client.child.take().map(|child| child.outbound.spi());
        let spi_in = self.client.spi_in;
        let answer = self.client.delete_child(sockets, spi_in);
        let named = answer.deletes().any(|delete| matches!(delete, Delete::Esp(spis) if ours.is_some_and(|ours| spis == &[ours])));
        Ok(json!({ "deleted": deletes(&answer), "names_its_own": named }))
    }

    fn rekey_ike(&mut self, sockets: &mut Sockets, profile: Option<&str>) -> anyhow::Result<Value> {
        if let Some(name) = profile {
            let other = Profile::named(name).with_context(|| format!("there is no profile {name}"))?;
            (self.client.profile.ike, self.client.profile.group) = (other.ike, other.group);
        }
        let request = [Payload::Delete(Delete::Ike)];
        self.client.next_id += 1;
        let delete = self.client.seal(Exchange::Informational, &request);
        self.client.next_id -= 2;
        let offer = self.client.profile.ike.clone();
        let answer = self.client.rekey_ike(sockets, offer);
        let mut outcome = told(&answer);
        if answer.sa().is_some() {
            let answers = self.client.send_all(sockets, delete);
            merge(&mut outcome, json!({ "old_answered": !answers.is_empty(), "proposal": answer.sa().map(|sa| sa.proposals[0].number) }));
        }
        Ok(outcome)
    }

    fn echoes(&mut self, sockets: &mut Sockets, target: IpAddr, count: u16, size: usize, rekeys: u16) -> anyhow::Result<Value> {
        let mut missing = Vec::new();
        let every = count / (rekeys + 1);
        for number in 1..=count {
            if rekeys > 0 && number % every.max(1) == 0 && number / every.max(1) <= rekeys {
                let rekeyed = self.rekey_child(sockets)?;
                ensure!(rekeyed["error"].is_null(), "rekey {}: {rekeyed}", number / every.max(1));
            }
            self.echoes += 1;
            let sequence = self.echoes;
            let source = self.addresses.iter().find(|address| address.is_ipv4() == target.is_ipv4()).context("no lease of this family")?;
            let packet = inner::echo(*source, target, sequence, size).context("addresses of one family")?;
            let found = self.ask(sockets, &packet, |packet| (inner::echo_reply(packet) == Some(sequence)).then_some(()))?;
            missing.extend(found.is_none().then_some(number));
        }
        Ok(json!({ "missing": missing }))
    }

    fn inform(&mut self, sockets: &mut Sockets) -> anyhow::Result<Value> {
        let lease = self.addresses.iter().find_map(|address| if let IpAddr::V4(lease) = address { Some(*lease) } else { None });
        let lease = lease.context("no IPv4 lease")?;
        let routes = self.ask(sockets, &inner::inform(lease), |packet| inner::offered_routes(packet, lease))?;
        Ok(json!({ "routes": routes }))
    }

    /// Sends an IP packet into the tunnel and waits for one that answers it.
    fn ask<T>(&mut self, sockets: &mut Sockets, packet: &[u8], answers: impl Fn(&[u8]) -> Option<T>) -> anyhow::Result<Option<T>> {
        let child = self.client.child.as_ref().context("there is no Child SA")?;
        let destination = IpHeader::parse(packet).context("no IP packet")?.destination;
        ensure!(child.reaches(destination), "TSr does not hold {destination}: {:?}", selectors(&child.theirs));
        sockets.send_esp(self.client.path, self.client.encapsulate, &child.seal(packet))?;
        let children = || self.old.iter().chain([child]);
        Ok(sockets.wait(Instant::now() + INNER_PATIENCE, |sockets| {
            let mut found = None;
            sockets.esp.retain(|packet| {
                let opened = children().find_map(|child| child.open(packet));
                let allowed = opened.as_ref().filter(|inner| IpHeader::parse(inner).is_ok_and(|ip| child.reaches(ip.source)));
                found = found.take().or_else(|| allowed.and_then(|inner| answers(inner)));
                opened.is_none()
            });
            found
        }))
    }

    fn attend(&mut self, sockets: &mut Sockets, time: Duration, code: u32) -> anyhow::Result<Value> {
        let limit = Instant::now() + time;
        let mut asked = Vec::new();
        while Instant::now() < limit {
            for (header, payloads) in self.client.requests(sockets) {
                asked.push(self.respond(sockets, &header, &payloads, code));
            }
            sockets.wait(limit.min(Instant::now() + Duration::from_millis(5)), |_| None::<()>);
        }
        Ok(json!({ "asked": asked }))
    }

    /// Answers a request of the gateway; what it was.
    fn respond(&mut self, sockets: &mut Sockets, header: &Header, payloads: &Payloads, code: u32) -> String {
        match header.exchange {
            Exchange::CreateChildSa if payloads.ts_initiator().is_some() => {
                let refusal = Payload::Notify(Notify::new(notify::MS_WIN32_ERROR, code.to_be_bytes()));
                self.client.answer(sockets, header, &[refusal]);
                "rekey of the Child SA".into()
            }
            Exchange::CreateChildSa => {
                let proposals = payloads.sa().map_or(0, |sa| sa.proposals.len());
                let group = payloads.key_exchange().map_or(0, |exchange| exchange.group);
                self.client.answer_ike_rekey(sockets, header, payloads);
                format!("rekey of the IKE SA with {proposals} proposal, group {group}")
            }
            _ if payloads.deletes().next().is_some() => {
                let child = self.client.child.take().map(|_| Payload::Delete(Delete::Esp(vec![self.client.spi_in])));
                let esp = payloads.deletes().any(|delete| matches!(delete, Delete::Esp(_)));
                let answer: Vec<_> = child.into_iter().filter(|_| esp).collect();
                self.client.answer(sockets, header, &answer);
                (if esp { "DELETE of the Child SA" } else { "DELETE of the IKE SA" }).into()
            }
            _ => {
                let cookie = payloads.notify(notify::COOKIE2).cloned().map(Payload::Notify);
                self.client.answer(sockets, header, cookie.as_slice());
                "liveness".into()
            }
        }
    }

    fn go(&mut self, sockets: &mut Sockets, address: IpAddr, update: bool) -> anyhow::Result<Value> {
        self.client.path.local = SocketAddr::new(address, self.client.path.local.port());
        if !update {
            return Ok(json!({}));
        }
        let (spi_i, spi_r) = (self.client.spi_i, self.client.spi_r);
        let cookie = Notify::new(notify::COOKIE2, vec![0xc2; 16]);
        let mut request = vec![Payload::Notify(Notify::new(notify::UPDATE_SA_ADDRESSES, [])), Payload::Notify(cookie.clone())];
        request.extend(nat::detection_notifies(spi_i, spi_r, self.client.path, false).map(Payload::Notify));
        let answer = self.client.exchange(sockets, Exchange::Informational, &request);
        let seen = answer.notify(notify::NAT_DETECTION_DESTINATION_IP).map(|seen| seen.data.as_slice());
        self.client.encapsulate = seen != Some(&nat::detection_hash(spi_i, spi_r, self.client.path.local)[..]);
        let mut outcome = told(&answer);
        let checked = self.is_checked(sockets);
        merge(
            &mut outcome,
            json!({ "cookie": answer.notify(notify::COOKIE2) == Some(&cookie), "nat": self.client.encapsulate, "checked": checked }),
        );
        Ok(outcome)
    }

    /// The gateway looks whether we are where we say (RFC 4555 section 3.7), and has its answer.
    fn is_checked(&mut self, sockets: &mut Sockets) -> bool {
        let limit = Instant::now() + INNER_PATIENCE;
        while Instant::now() < limit {
            for (header, payloads) in self.client.requests(sockets) {
                self.respond(sockets, &header, &payloads, 0);
                if payloads.notify(notify::COOKIE2).is_some() {
                    return true;
                }
            }
            sockets.wait(limit.min(Instant::now() + Duration::from_millis(5)), |_| None::<()>);
        }
        false
    }
}

/// What every answer is told as.
fn told(answer: &Payloads) -> Value {
    let name = |notify: &Notify| notify::name(notify.kind).map_or_else(|| notify.kind.to_string(), str::to_owned);
    json!({
        "error": answer.error().map(name),
        "notifies": answer.notifies().map(name).collect::<Vec<_>>(),
        "mine": answer.ts_initiator().map(selectors),
        "theirs": answer.ts_responder().map(selectors),
    })
}

fn selectors(selectors: &[TrafficSelector]) -> Vec<String> {
    selectors.iter().map(|selector| format!("{}-{}", selector.start, selector.end)).collect()
}

/// INTERNAL_IP4_SERVER and INTERNAL_IP6_SERVER.
fn servers(answer: &Payloads) -> Vec<String> {
    let attributes = answer.configuration().into_iter().flat_map(|configuration| &configuration.attributes);
    attributes
        .filter_map(|attribute| match attribute {
            ConfigurationAttribute::Ip4Server(Some(server)) => Some(server.to_string()),
            ConfigurationAttribute::Ip6Server(Some(server)) => Some(server.to_string()),
            _ => None,
        })
        .collect()
}

/// INTERNAL_DNS_DOMAIN.
fn domains(answer: &Payloads) -> Vec<String> {
    let attributes = answer.configuration().into_iter().flat_map(|configuration| &configuration.attributes);
    attributes
        .filter_map(|attribute| match attribute {
            ConfigurationAttribute::DnsDomain(name) => Some(String::from_utf8_lossy(name).into_owned()),
            _ => None,
        })
        .collect()
}

fn deletes(answer: &Payloads) -> usize {
    answer.deletes().count()
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
