//! The running gateway: sockets, threads, timers and signals around the control half.
mod commands;
mod loads;
mod observe;
mod records;
mod reload;
mod trace;

use crate::accounting::{self, Accounting};
use crate::api::types::{PolicyList, RadiusList, Status};
use crate::api::{self, Refusal, Request, Response};
use crate::blocks::BlockFile;
use crate::certificates::{self, ExpiryWatch};
use crate::config::{Config, Ikev2Listener};
use crate::crash_secret;
use crate::dataplane::StreamEvent;
use crate::dynamic::{self, Dynamic};
use crate::explain::names::Names;
use crate::gateway::{DUMMY_IPV4, Effect, Gateway, InnerEnd, NamedLeaf, Now, Rules, Settings};
use crate::history::{self, History};
use crate::local_shell::Local;
use crate::logging::LogControl;
use crate::login::Authority;
use crate::metrics::{self, Snapshot};
use crate::nps_log;
use crate::radius_shell::{self, sleep_until};
use crate::revocation;
use crate::service_manager::ServiceManager;
use crate::sockets::{Datagram, Sockets};
use crate::sstp::{self, Arrival, Encapsulated, Fronts};
use crate::telemetry::Exporter;
use crate::trace::Tracer;
use crate::tunnels::Tunnels;
use crate::workers::Workers;
use crate::{attempts::Attempts, privileges, state_lock, status};
use commands::Commands;
use crypto::SystemRandom;
use ike::{Answer, AskId, Path, ResponderConfig, SessionId};
use loads::Reason;
use policy::network::Tunnel;
use radius_client::AccountingStatus;
use records::Prepared;
use reload::{News, Reloads};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

/// IKE messages waiting for the control thread; more are dropped and counted.
const IKE_QUEUE: usize = 4096;

/// SSTP packets waiting for the control thread. A packet thread that finds no room ends the connection whose packet it has.
const STREAM_QUEUE: usize = 8192;

/// Connections waiting for the control thread; more wait in their own tasks.
const ARRIVAL_QUEUE: usize = 64;

/// Requests waiting for the RADIUS task; more are refused.
const RADIUS_QUEUE: usize = 8192;

/// Requests of the API waiting for the control thread.
const CONTROL_QUEUE: usize = 16;

/// IKE messages handled before answers and timers get their turn.
const IKE_BATCH: usize = 64;

/// From TLS to the HTTP request: Windows fetches the certificate's revocation list in between.
const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

/// How long a regular stop waits for DELETEs and accounting to be answered.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// How often a stop looks whether accounting is through.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// A command with the place for its answer.
pub type Command = (Request, oneshot::Sender<Response>);

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config, log: LogControl) -> anyhow::Result<()> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _held = state_lock::take(&config.server.state_dir, state_lock::PATIENCE)?;
    let (mut shell, mut queues) = Shell::start(config, log)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), name = %shell.config.server.name, "ready");
    shell.manager.ready();
    let mut tell = Instant::now();
    loop {
        shell.perform();
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => shell.reload(Reason::Signal, None),
            () = sleep_until(shell.manager.pace().map(|_| tell)) => tell = shell.tell_manager(),
            () = shell.turn(&mut queues) => {}
        }
    }
    shell.stop(&mut queues).await;
    Ok(())
}

/// What arrives at the control thread.
struct Queues {
    clients: Clients,
    computed: mpsc::UnboundedReceiver<(AskId, Answer)>,
    radius: mpsc::Receiver<radius_client::Output>,
    commands: Commands,
    dynamic: mpsc::Receiver<dynamic::Arrived>,
    accounted: mpsc::UnboundedReceiver<u64>,
    news: News,
}

struct Shell {
    config: Config,
    started: Started,
    gateway: Gateway<Tunnels>,
    sockets: Sockets,
    fronts: Fronts,
    sstp_counters: Arc<sstp::Counters>,
    workers: Workers,
    revocation: revocation::Watcher,
    dynamic: Dynamic,
    radius: mpsc::Sender<radius_client::Input>,
    radius_setups: mpsc::UnboundedSender<radius_shell::Setup>,
    /// Where outcomes of logins go.
    logins: mpsc::Sender<radius_client::Output>,
    /// Answers where a connection request policy says so, or where there is no RADIUS server.
    local: Option<Local>,
    /// Revocation lists of the certificates of its users.
    local_lists: revocation::Keeper,
    /// Those of RADIUS servers and dynamic authorization clients over TLS.
    peer_lists: revocation::Peers,
    radius_servers: watch::Receiver<radius_shell::Servers>,
    /// `None`: no RADIUS server has ever taken accounting.
    accounting: Option<Accounting>,
    /// What it needs to start.
    accounting_lines: Option<accounting::Lines>,
    nps_log: Option<nps_log::Log>,
    telemetry: Option<Exporter>,
    reloads: Reloads,
    expiry: ExpiryWatch,
    block_file: BlockFile,
    /// Where the API is served besides its socket.
    api: api::Listeners,
    /// Whom it turns away.
    refusals: Arc<api::Refusals>,
    /// When counters are told to those who listen.
    second: Interval,
    history: History,
    /// When it takes a sample.
    sampling: Interval,
    /// The doctor looks around.
    doctor: Arc<AtomicBool>,
    manager: ServiceManager,
    /// Outcomes of requests that never reached the RADIUS task.
    refused: Vec<radius_client::Output>,
}

/// When this gateway started.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    pub instant: Instant,
    pub unix_time: u64,
}

/// Settings of the IKE machine, with the secret that outlives this process.
fn responder(config: &Config, listener: &Ikev2Listener) -> ResponderConfig {
    ResponderConfig { qcd_secret: crash_secret::load(&config.server.state_dir), ..config.responder(listener) }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: jiff::Timestamp::now() }
}

impl Shell {
    fn start(mut config: Config, log: LogControl) -> anyhow::Result<(Self, Queues)> {
        let now = now();
        let mut peer_lists = revocation::Peers::default();
        peer_lists.watch(&config);
        peer_lists.trust(&mut config);
        let started = Started { instant: now.instant, unix_time: now.wall.as_second().unsigned_abs() };
        let commands = bind_control_socket(&config)?;
        let (datagrams_tx, datagrams) = mpsc::channel(IKE_QUEUE);
        let (streams_tx, streams) = mpsc::channel(STREAM_QUEUE);
        let (arrivals_tx, arrivals) = mpsc::channel(ARRIVAL_QUEUE);
        let ikev2 = config.ikev2.as_ref();
        let tunnels = Tunnels::start(&config, datagrams_tx.clone(), streams_tx)?;
        let sockets = Sockets::start(ikev2, &tunnels, datagrams_tx)?;
        let sstp_counters: Arc<sstp::Counters> = Arc::default();
        let mut fronts = Fronts::new(Arc::clone(&sstp_counters), arrivals_tx);
        fronts.configure(fronts.prepare(&config, &bounds(&config))?.listen()?);
        let (computed_tx, computed) = mpsc::unbounded_channel();
        let workers = Workers::start(std::thread::available_parallelism().map_or(1, usize::from), &computed_tx)?;
        let mut attempts = Attempts::new(now.wall.as_millisecond().unsigned_abs(), config.server.attempts_kept);
        attempts.note_steps(config.telemetry.is_some());
        let radius = start_radius(&config, attempts.tracer().clone())?;
        let mut local_lists = revocation::Keeper::start(user_certificates(&config), &config.server.state_dir);
        let local = start_local(&config, &mut local_lists, radius.logins.clone())?;
        let (commands_tx, commands_rx) = mpsc::channel(CONTROL_QUEUE);
        let refusals = Arc::default();
        let mut api = api::start(commands, Arc::clone(&refusals), commands_tx)?;
        api.configure(&config, api.prepare(&config)?.listen()?);
        let responder = ikev2.map(|listener| (listener, responder(&config, listener)));
        let mut revocation = revocation::Watcher::start(responder, &config.server.state_dir);
        let endpoint = ike::Endpoint::new(revocation.responder(), Box::new(SystemRandom), now.instant);
        let (dynamic, asked) = Dynamic::start(&config)?;
        let (nps_log, telemetry) = Prepared::new(&config, (None, None))?.into_parts();
        let mut gateway = Gateway::new(endpoint, attempts, authority(&config)?, settings(&config), tunnels);
        gateway.set_names(Names::of(&config));
        ikev2.into_iter().for_each(|listener| gateway.tracer().set_nat_port(listener.nat_port));
        let (block_file, blocks) = BlockFile::start(&config.server.state_dir)?;
        gateway.remember_blocks(now, blocks);
        let (reloads, news) = Reloads::start(&config, log);
        let clients = Clients { datagrams, streams, arrivals };
        let queues = Queues {
            clients,
            computed,
            radius: radius.outcomes,
            commands: Commands::new(commands_rx),
            dynamic: asked,
            accounted: radius.accounted,
            news,
        };
        let mut shell = Self {
            config,
            started,
            gateway,
            sockets,
            fronts,
            sstp_counters,
            workers,
            revocation,
            dynamic,
            radius: radius.requests,
            radius_setups: radius.setups,
            logins: radius.logins,
            local,
            local_lists,
            peer_lists,
            radius_servers: radius.servers,
            accounting: radius.accounting,
            accounting_lines: radius.accounting_lines,
            nps_log,
            telemetry,
            reloads,
            expiry: ExpiryWatch::start(),
            block_file,
            api,
            refusals,
            second: every(Duration::from_secs(1)),
            history: History::default(),
            sampling: every(history::PACE),
            doctor: Arc::default(),
            manager: ServiceManager::from_environment(),
            refused: Vec::new(),
        };
        shell.end_earlier_run();
        shell.account_gateway(AccountingStatus::On);
        Ok((shell, queues))
    }

    /// Accounting-On and -Off have one Acct-Session-Id, which no session has.
    fn account_gateway(&mut self, status: AccountingStatus) {
        let id = format!("{:x}-gateway", self.started.unix_time);
        self.gateway.account_gateway(now(), status, id);
    }

    /// Gives the service manager a sign of life, and says when it is due again.
    fn tell_manager(&mut self) -> Instant {
        let summary = self.gateway.summary();
        let (sessions, draining) = (summary.sessions, if summary.drain.is_some() { ", draining" } else { "" });
        self.manager.alive(format!("{sessions} session{}{draining}", if sessions == 1 { "" } else { "s" }));
        Instant::now() + self.manager.pace().unwrap_or_default()
    }

    /// Waits for one thing to happen and handles it, with whatever else is already there.
    async fn turn(&mut self, queues: &mut Queues) {
        let deadline = self.gateway.poll_timeout();
        tokio::select! {
            biased;
            Some((request, reply)) = queues.commands.recv() => {
                let began = Instant::now();
                self.command(&request, reply, queues);
                queues.commands.served(began);
            }
            event = queues.news.next() => {
                // What the API has wanted to be read is work for the API, too.
                let began = Instant::now();
                self.news(event);
                queues.commands.served(began);
            }
            Some((id, answer)) = queues.computed.recv() => self.gateway.computed(now(), id, answer),
            Some(arrived) = queues.dynamic.recv() => self.dynamic.serve(now(), &mut self.gateway, &arrived),
            Some(outcome) = queues.radius.recv() => self.radius_outcome(outcome),
            Some(session) = queues.accounted.recv() => self.gateway.accounted(SessionId(session)),
            () = sleep_until(deadline) => self.gateway.timeout(now()),
            () = self.revocation.changed() => self.renew_responder(),
            () = self.local_lists.changed() => self.renew_local_trust(),
            () = self.peer_lists.changed() => self.renew_peer_trust(),
            _ = self.second.tick(), if self.gateway.is_heard() => {
                let dataplane = self.gateway.plane.status();
                self.gateway.tell_counters(now(), &dataplane);
            }
            _ = self.sampling.tick() => {
                self.sample();
                self.let_sockets_go();
            }
            () = self.expiry.due() => ExpiryWatch::warn(&self.config, jiff::Timestamp::now().as_second()),
            message = queues.clients.next() => match message {
                Message::Ike(datagram) => self.datagrams(datagram, queues),
                Message::Stream(event) => self.streams(event, queues),
                Message::Arrival(arrival) => self.arrival(arrival),
            },
        }
    }

    fn arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Asks(incoming) => self.gateway.incoming(now(), *incoming),
            Arrival::TurnedAway(turned) => self.gateway.turned_away(now(), Tunnel::Sstp, *turned),
            Arrival::Encapsulated(Encapsulated { socket, path, notes, place }) => {
                if let Some(path) = self.gateway.plane.adopt_tcp(socket, path, place) {
                    self.gateway.tcp_opened(now(), path, notes);
                }
            }
        }
    }

    fn streams(&mut self, first: StreamEvent, queues: &mut Queues) {
        let now = now();
        self.stream(now, first);
        for _ in 1..IKE_BATCH {
            let Ok(event) = queues.clients.streams.try_recv() else { return };
            self.stream(now, event);
        }
    }

    fn stream(&mut self, now: Now, event: StreamEvent) {
        match event {
            StreamEvent::Packet { session, packet } => self.gateway.packet(now, SessionId(session), &packet),
            StreamEvent::Inner { session, packet } => self.gateway.inner(now, SessionId(session), &packet),
            StreamEvent::Worn { session, spi_in } => self.gateway.worn(now, SessionId(session), spi_in),
            StreamEvent::Moved { session, path } => self.gateway.moved(now, SessionId(session), path),
            StreamEvent::Wanted { session } => self.gateway.wanted(now, SessionId(session)),
            StreamEvent::ConnectionClosed { connection, cause } => self.gateway.tcp_closed(now, connection, &cause),
            StreamEvent::Closed { session, cause } => self.gateway.connection_closed(now, SessionId(session), &cause),
        }
    }

    /// Those of addresses that are gone, once nobody is there any more.
    fn let_sockets_go(&mut self) {
        if self.sockets.has_staying() {
            self.sockets.let_go(self.config.ikev2.as_ref(), &self.gateway.locals(), &self.gateway.plane);
        }
    }

    fn renew_local_trust(&mut self) {
        let (Some(running), Some(local)) = (&self.local, &self.config.local) else { return };
        let roots = Arc::new(self.local_lists.trusted(&local.client_roots));
        running.trust(self.config.local_settings(local, roots));
    }

    fn renew_peer_trust(&mut self) {
        self.peer_lists.trust(&mut self.config);
        self.set_up_radius();
        self.dynamic.trust(&self.config);
        self.api.tell(self.config.api.as_ref());
    }

    /// IKE with its certificates and revocation lists as they are now.
    fn renew_responder(&mut self) {
        if let Some(responder) = self.revocation.responder() {
            self.gateway.configure(now(), responder);
        }
    }

    fn datagrams(&mut self, first: Datagram, queues: &mut Queues) {
        let now = now();
        self.datagram(now, first);
        for _ in 1..IKE_BATCH {
            let Ok(datagram) = queues.clients.datagrams.try_recv() else { return };
            self.datagram(now, datagram);
        }
    }

    fn datagram(&mut self, now: Now, datagram: Datagram) {
        if self.sockets.turns_away(&datagram) {
            let Path { local, remote, .. } = datagram.path;
            return tracing::debug!(%local, client = %remote, "nobody new comes in at an address that is gone from the configuration");
        }
        self.gateway.datagram(now, datagram.path, datagram.message);
    }

    fn radius_outcome(&mut self, outcome: radius_client::Output) {
        match outcome {
            radius_client::Output::Eap { ticket, outcome } => self.gateway.authenticated(now(), ticket, outcome),
            radius_client::Output::Login { ticket, outcome } => self.gateway.logged_in(now(), ticket, outcome),
            _ => {}
        }
    }

    fn command(&mut self, request: &Request, reply: oneshot::Sender<Response>, queues: &Queues) {
        if let Request::Reload(wanted) = *request {
            return self.reload(Reason::Command(wanted), Some(reply));
        }
        if let Request::Changes = request {
            return self.reload(Reason::Look, Some(reply));
        }
        if let Request::Doctor = request {
            return self.examine(reply);
        }
        let response = match request {
            Request::History(query) => Response::History(Box::new(self.history.report(query.span))),
            Request::Configuration => Response::Configuration(Box::new(self.config.shown())),
            Request::Policies => {
                let policies = self.config.policies.iter().map(crate::cli::describe_policy).collect();
                Response::Policies(PolicyList { policies })
            }
            Request::PolicyTest(question) => question
                .decide(&self.config, jiff::Timestamp::now())
                .map_or_else(Response::Refused, |verdict| Response::PolicyVerdict(Box::new(verdict))),
            Request::Certificates => {
                Response::Certificates(Box::new(certificates::report(&self.config, jiff::Timestamp::now().as_second())))
            }
            Request::Metrics => Response::Metrics(self.snapshot(queues).text()),
            Request::Trace { query, feed } => self.trace(query, feed.clone()),
            Request::Ready => {
                let is_draining = self.gateway.is_draining();
                Response::Health(status::readiness(is_draining, &self.config, &self.radius_servers.borrow()))
            }
            Request::Radius => {
                let radius = status::radius(&self.config, &self.radius_servers.borrow());
                Response::Radius(RadiusList { radius, eap_certificates: self.gateway.eap_certificates() })
            }
            request => self.gateway.control(now(), request).unwrap_or_else(|| Response::Status(Box::new(self.status()))),
        };
        let is_about_blocks = matches!(request, Request::Block(_) | Request::Unblock { .. } | Request::Disconnect(_));
        match is_about_blocks.then(|| self.gateway.unsaved_blocks()).flatten() {
            // The client may have hung up; then nobody wants the answer.
            None => drop(reply.send(response)),
            // The answer follows when a restart would not forget it.
            Some(blocks) => {
                self.block_file.save(blocks, |saved| drop(reply.send(saved.map_or_else(|error| unsaved(&error), |()| response))));
            }
        }
    }

    /// What has changed on the block list without an order: names were learned, times are over.
    fn save_blocks(&mut self) {
        if let Some(blocks) = self.gateway.unsaved_blocks() {
            self.block_file.save(blocks, |saved| drop(saved.map_err(|error| unsaved(&error))));
        }
    }

    fn snapshot(&self, queues: &Queues) -> Snapshot {
        let latencies = self.radius_servers.borrow().iter().map(|server| (server.name.clone(), server.latency)).collect();
        let sessions_max = self.config.server.max_sessions as u64;
        let api_refusals = self.refusals.named();
        Snapshot {
            status: self.status(),
            logins: self.gateway.logins(),
            sessions_max,
            latencies,
            queues: self.queues(queues),
            api_refusals,
        }
    }

    fn queues(&self, queues: &Queues) -> Vec<metrics::Queue> {
        let [signatures, exchanges] = self.workers.waiting();
        let sent = (self.radius.max_capacity() - self.radius.capacity(), self.radius.max_capacity());
        let named = [
            ("ike_messages", (queues.clients.datagrams.len(), IKE_QUEUE)),
            ("tunnel_control_packets", (queues.clients.streams.len(), STREAM_QUEUE)),
            ("tcp_connections", (queues.clients.arrivals.len(), ARRIVAL_QUEUE)),
            ("radius_requests", sent),
            ("radius_outcomes", (queues.radius.len(), RADIUS_QUEUE)),
            ("api_requests", (queues.commands.waiting(), CONTROL_QUEUE)),
            ("signatures", signatures),
            ("key_exchanges", exchanges),
        ];
        named.into_iter().map(|(name, (depth, capacity))| metrics::Queue { name, depth, capacity }).collect()
    }

    fn status(&self) -> Status {
        let parts = status::Parts {
            config: &self.config,
            started: self.started,
            summary: self.gateway.summary(),
            revocation: [self.revocation.held(), self.local_lists.held(), self.peer_lists.held()].concat(),
            radius: self.radius_servers.borrow().clone(),
            local: self.local.as_ref().map(Local::report),
            accounting: self.accounting.as_ref().map(Accounting::status),
            nps_log: self.nps_log.as_ref().map(nps_log::Log::status),
            telemetry: self.telemetry.as_ref().map(Exporter::status),
            dataplane: self.gateway.plane.status(),
            sockets: self.sockets.received(&self.gateway.plane),
            fronts: self.fronts.all(),
            sstp: self.sstp_counters.named(),
            dynamic: self.dynamic.counters(),
        };
        status::report(parts)
    }

    /// Does what the control half wants done.
    fn perform(&mut self) {
        loop {
            while let Some(effect) = self.gateway.poll_effect() {
                self.effect(effect);
            }
            let Some(outcome) = self.refused.pop() else { break };
            self.radius_outcome(outcome);
        }
        self.save_blocks();
        if let Some(accounting) = &mut self.accounting {
            accounting.flush();
        }
        self.log_earlier_run(Duration::ZERO);
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Transmit { path, message } => self.sockets.send(&self.gateway.plane, path, &message),
            Effect::Compute(id, question) => {
                if let Some(answer) = self.workers.ask(id, question) {
                    self.gateway.computed(now(), id, answer);
                }
            }
            Effect::Radius(input) => {
                if let Some(input) = self.ask(input) {
                    self.refused.extend(refuse(input));
                }
            }
            Effect::Account(event) => {
                if let Some(accounting) = &mut self.accounting {
                    accounting.submit(*event);
                }
            }
            Effect::NpsLog(record) => {
                if let Some(log) = &self.nps_log {
                    log.submit(record);
                }
            }
            Effect::Telemetry(login) => {
                if let Some(telemetry) = &self.telemetry {
                    telemetry.submit(*login);
                }
            }
        }
    }

    /// Asks the local provider, or the RADIUS servers; gives back what there is no room for.
    fn ask(&self, input: radius_client::Input) -> Option<radius_client::Input> {
        use radius_client::Input;
        let radius = |input| self.radius.try_send(input).err().map(mpsc::error::TrySendError::into_inner);
        let Some(local) = &self.local else { return radius(input) };
        match &input {
            Input::Eap { group, .. } | Input::Login { group, .. } if group.as_deref() == Some(local_provider::SERVER) => local.ask(input),
            Input::Forget(conversation) => {
                // Without room for it, silence ends the conversation there.
                local.ask(Input::Forget(*conversation));
                radius(input)
            }
            _ => radius(input),
        }
    }

    /// DELETEs for all, Accounting Stops, then the end.
    async fn stop(mut self, queues: &mut Queues) {
        self.manager.stopping();
        tracing::info!(sessions = self.gateway.summary().sessions, "stopping");
        self.gateway.shutdown(now());
        self.account_gateway(AccountingStatus::Off);
        let patience = tokio::time::sleep(STOP_PATIENCE);
        tokio::pin!(patience);
        loop {
            self.perform();
            let accounted = self.accounting.as_ref().is_none_or(Accounting::is_quiet);
            if self.gateway.is_quiet() && accounted {
                break;
            }
            tokio::select! {
                () = &mut patience => {
                    tracing::warn!("stopped before every client and RADIUS server had answered");
                    break;
                }
                () = tokio::time::sleep(STOP_LOOK), if !accounted => {}
                () = self.turn(queues) => {}
            }
        }
        if let Some(accounting) = self.accounting.take() {
            accounting.finish().await;
        }
        if let Some(log) = self.nps_log.take() {
            log.finish();
        }
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.finish();
        }
        drop(std::fs::remove_file(&self.config.server.control_socket));
        tracing::info!("stopped");
    }
}

fn unsaved(error: &std::io::Error) -> Response {
    tracing::error!(%error, "the block list holds, but could not be saved: a restart would forget its last change; it is tried again");
    let error = format!("done, but not saved yet: {error}; a restart would forget it");
    Response::refused(
        Refusal::Busy,
        error,
        "make room in state_dir of [server]: it is tried again every few seconds, and the log says when it is saved",
    )
}

fn bind_control_socket(config: &Config) -> anyhow::Result<tokio::net::UnixListener> {
    let named = config.server.control_group.as_deref();
    let operators = api::Operators { group: privileges::operators(named)?, is_named: named.is_some() };
    api::bind(&config.server.control_socket, operators)
}

fn every(pace: Duration) -> Interval {
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// What strangers may cost a listener for SSTP: TCP proves their addresses, so the bounds are those of IKE after a COOKIE.
fn bounds(config: &Config) -> sstp::Bounds {
    let limits = &config.limits;
    sstp::Bounds {
        connections: limits.half_open_max,
        exempt: limits.exempt.clone(),
        per_source: (4 * limits.half_open_per_source).max(limits.half_open_max / 8),
        handshake: limits.half_open_timeout,
        request: REQUEST_PATIENCE,
    }
}

/// What comes from clients.
struct Clients {
    datagrams: mpsc::Receiver<Datagram>,
    streams: mpsc::Receiver<StreamEvent>,
    arrivals: mpsc::Receiver<Arrival>,
}

enum Message {
    Ike(Datagram),
    Stream(StreamEvent),
    Arrival(Arrival),
}

impl Clients {
    /// Whatever comes first: neither tunnel type starves the other.
    async fn next(&mut self) -> Message {
        tokio::select! {
            Some(datagram) = self.datagrams.recv() => Message::Ike(datagram),
            Some(event) = self.streams.recv() => Message::Stream(event),
            Some(arrival) = self.arrivals.recv() => Message::Arrival(arrival),
            // All senders live as long as the gateway.
            else => std::future::pending().await,
        }
    }
}

fn authority(config: &Config) -> anyhow::Result<Authority> {
    let pools = policy::pool::Pools::new(config.pools.clone()).map_err(anyhow::Error::msg)?;
    Ok(Authority { policies: config.policies.clone(), filters: config.filters.clone(), pools, zone: config.server.time_zone.clone() })
}

fn rules(config: &Config) -> Rules {
    let zone = config.server.time_zone.clone();
    Rules {
        policies: config.policies.clone(),
        filters: config.filters.clone(),
        pools: config.pools.clone(),
        zone,
        settings: settings(config),
    }
}

fn named_leaf(certificate: &crate::config::NamedCredential) -> NamedLeaf {
    NamedLeaf { name: certificate.name.clone(), der: certificate.credential.leaf().der.clone() }
}

fn settings(config: &Config) -> Settings {
    let all_local = config.radius.is_empty() && config.local.is_some();
    Settings {
        default_group: all_local.then(|| local_provider::SERVER.to_owned()),
        nas_identifier: config.server.name.clone(),
        requests: config.requests.clone(),
        ikev2_listener: config.ikev2.as_ref().map(|listener| listener.name.clone()).unwrap_or_default(),
        ikev2_tunnel_type: config.ikev2.as_ref().map_or(radius_client::TUNNEL_TYPE_ESP, |listener| listener.tunnel_type),
        certificate_authorization: config.ikev2.as_ref().map(|listener| listener.certificate_authorization).unwrap_or_default(),
        accounting: (takes_accounting(config) || config.nps_log.is_some()).then_some(config.accounting),
        nps_log: config.nps_log.as_ref().map(|log| log.kinds),
        mtu: config.server.mtu,
        child_idle: Some(config.child_idle).filter(|idle| !idle.is_zero()),
        child_volume: Some(config.child_volume).filter(|octets| *octets > 0),
        inner: InnerEnd {
            ipv4: config.ikev2.as_ref().map_or(DUMMY_IPV4, |listener| listener.inner_ipv4),
            ipv6: config.ikev2.as_ref().and_then(|listener| listener.inner_ipv6),
        },
        radius_addresses: config.radius.iter().map(|radius| (radius.server.name.clone(), radius.server.address().ip())).collect(),
        sessions_max: config.server.max_sessions,
        half_open_max: config.limits.half_open_max,
        half_open_timeout: config.limits.half_open_timeout,
        nas_port_ids: config.radius.iter().filter_map(|radius| Some((radius.server.name.clone(), radius.server.nas_port_id()?))).collect(),
        auth_timeout: config.limits.auth_timeout,
        certificates: config.certificates.iter().map(named_leaf).collect(),
    }
}

fn takes_accounting(config: &Config) -> bool {
    config.radius.iter().any(|radius| radius.server.accounting_address().is_some())
}

/// The RADIUS task and accounting.
struct Radius {
    requests: mpsc::Sender<radius_client::Input>,
    /// Where outcomes of logins go.
    logins: mpsc::Sender<radius_client::Output>,
    outcomes: mpsc::Receiver<radius_client::Output>,
    servers: watch::Receiver<radius_shell::Servers>,
    setups: mpsc::UnboundedSender<radius_shell::Setup>,
    accounting: Option<Accounting>,
    accounting_lines: Option<accounting::Lines>,
    /// Sessions whose Start was confirmed.
    accounted: mpsc::UnboundedReceiver<u64>,
}

/// How to reach the servers that speak TLS.
fn tls_servers(config: &Config) -> radius_shell::TlsServers {
    config.radius.iter().filter_map(|radius| Some((radius.server.name.clone(), Arc::clone(&radius.tls.as_ref()?.settings)))).collect()
}

fn start_radius(config: &Config, tracer: Tracer) -> anyhow::Result<Radius> {
    let (requests, inputs) = mpsc::channel(RADIUS_QUEUE);
    let (logins, outcomes) = mpsc::channel(RADIUS_QUEUE);
    let (servers_tx, servers) = watch::channel(Vec::new());
    let (accounted, accounting_outcomes) = accounting::outcomes();
    let client = radius_client::Client::new(config.radius_configuration(), Box::new(SystemRandom));
    let outcomes_tx = radius_shell::Outcomes { logins: logins.clone(), accounting: accounted };
    let (setups, arriving) = mpsc::unbounded_channel();
    let inbox = radius_shell::Inbox { requests: inputs, setups: arriving, tracer };
    tokio::spawn(radius_shell::run(client, tls_servers(config), inbox, outcomes_tx, servers_tx));
    let (started, accounted) = mpsc::unbounded_channel();
    let lines = accounting::Lines { radius: requests.clone(), outcomes: accounting_outcomes, started };
    let (accounting, accounting_lines) = if takes_accounting(config) {
        (Some(Accounting::start(config.accounting, &config.server.state_dir, lines).map_err(|(error, _)| error)?), None)
    } else {
        (None, Some(lines))
    };
    Ok(Radius { requests, logins, outcomes, servers, setups, accounting, accounting_lines, accounted })
}

/// What is watched for revoked certificates of users.
fn user_certificates(config: &Config) -> Option<(&revocation::Settings, &pki::TrustAnchors)> {
    config.local.as_ref().map(|local| (&local.revocation, &*local.client_roots))
}

/// The local provider, where there is one.
fn start_local(
    config: &Config,
    lists: &mut revocation::Keeper,
    outcomes: mpsc::Sender<radius_client::Output>,
) -> anyhow::Result<Option<Local>> {
    let Some(local) = &config.local else { return Ok(None) };
    let roots = Arc::new(lists.trusted(&local.client_roots));
    tracing::info!(users = local.users.len(), file = %local.users_file.display(), "the local provider is ready");
    Ok(Some(Local::start(local, config.local_settings(local, roots), outcomes)?))
}

/// The outcome of a request that nobody had room for.
fn refuse(input: radius_client::Input) -> Option<radius_client::Output> {
    let failure = radius_client::RequestFailure::Unsendable { server: "queue".into(), reason: "too many requests are waiting".into() };
    match input {
        radius_client::Input::Eap { ticket, .. } => {
            Some(radius_client::Output::Eap { ticket, outcome: radius_client::EapOutcome::Failed(failure) })
        }
        radius_client::Input::Login { ticket, .. } => {
            Some(radius_client::Output::Login { ticket, outcome: radius_client::LoginOutcome::Failed(failure) })
        }
        _ => None,
    }
}
