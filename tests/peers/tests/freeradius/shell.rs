//! Sockets and a clock for the RADIUS machine: as little as a test needs.
use crypto::SystemRandom;
use radius_client::{Change, Client, Input, Output, Server, SocketId, Transport};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The longest time one sleep may take, so that no answer waits for a timer.
const TICK: Duration = Duration::from_millis(5);

pub(crate) struct Shell {
    pub(crate) client: Client,
    sockets: BTreeMap<SocketId, (UdpSocket, SocketAddr)>,
    /// Requests and repetitions as they left.
    pub(crate) transmitted: Vec<Vec<u8>>,
    /// What the machine says about its server.
    pub(crate) changes: Vec<Change>,
}

/// The server on loopback.
pub(crate) fn server(secret: &str) -> Server {
    let transport = Transport::Udp { auth: ([127, 0, 0, 1], 1812).into(), accounting: Some(([127, 0, 0, 1], 1813).into()) };
    Server {
        retransmit_initial: Duration::from_millis(500),
        tries: 2,
        timeout: Duration::from_secs(10),
        ..Server::new("freeradius", transport, secret.as_bytes())
    }
}

impl Shell {
    pub(crate) fn new(server: Server) -> Self {
        let client = Client::new(vec![server], Box::new(SystemRandom));
        Self { client, sockets: BTreeMap::new(), transmitted: Vec::new(), changes: Vec::new() }
    }

    /// Gives `input` to the machine and turns until it has an outcome.
    pub(crate) fn run(&mut self, input: Input) -> Output {
        self.client.handle(Instant::now(), input);
        let patience = Instant::now() + Duration::from_secs(30);
        while Instant::now() < patience {
            while let Some(output) = self.client.poll_output() {
                if let Some(outcome) = self.perform(output) {
                    return outcome;
                }
            }
            let input = self.receive().unwrap_or_else(|| {
                std::thread::sleep(TICK);
                Input::Timeout
            });
            self.client.handle(Instant::now(), input);
        }
        panic!("no outcome in 30 s");
    }

    /// Gives all of them to the machine before it reads any answer, and turns until each has its outcome. Also how many sockets they took.
    pub(crate) fn run_all(&mut self, inputs: impl IntoIterator<Item = Input>, patience: Duration) -> (Vec<Output>, usize) {
        let (mut wanted, mut outcomes) = (0, Vec::new());
        for input in inputs {
            wanted += 1;
            self.client.handle(Instant::now(), input);
            self.drain(&mut outcomes);
        }
        let (sockets, end) = (self.sockets.len(), Instant::now() + patience);
        while outcomes.len() < wanted && Instant::now() < end {
            match self.receive() {
                Some(input) => self.client.handle(Instant::now(), input),
                None => std::thread::sleep(TICK),
            }
            if self.client.poll_timeout().is_some_and(|at| at <= Instant::now()) {
                self.client.handle(Instant::now(), Input::Timeout);
            }
            self.drain(&mut outcomes);
        }
        (outcomes, sockets)
    }

    fn drain(&mut self, outcomes: &mut Vec<Output>) {
        while let Some(output) = self.client.poll_output() {
            outcomes.extend(self.perform(output));
        }
    }

    fn perform(&mut self, output: Output) -> Option<Output> {
        match output {
            Output::Open { socket, dial, .. } => {
                let peer = dial.peer();
                let opened = UdpSocket::bind("127.0.0.1:0").expect("a port");
                opened.connect(peer).expect("a connected socket");
                opened.set_nonblocking(true).expect("a socket that does not block");
                self.sockets.insert(socket, (opened, peer));
            }
            Output::Close { socket } => {
                self.sockets.remove(&socket);
            }
            Output::Transmit { socket, bytes, .. } => {
                let (socket, _) = &self.sockets[&socket];
                // A refused port shows in `receive`.
                drop(socket.send(&bytes));
                self.transmitted.push(bytes);
            }
            Output::Server { change, .. } => self.changes.push(change),
            outcome => return Some(outcome),
        }
        None
    }

    fn receive(&self) -> Option<Input> {
        let mut buffer = [0; 4097];
        self.sockets.iter().find_map(|(&id, (socket, peer))| match socket.recv_from(&mut buffer) {
            Ok((length, from)) => Some(Input::Datagram { socket: id, from, bytes: buffer[..length].to_vec() }),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(Input::Unreachable { socket: id, to: *peer }),
            Err(_) => None,
        })
    }
}
