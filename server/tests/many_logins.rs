//! Ten thousand logins that wait for one server at once, through the sockets of the gateway, on loopback.
use crypto::hash::{hmac_md5, md5};
use crypto::{SystemRandom, Zeroizing};
use evergate::radius_shell::{self, Inbox, Outcomes};
use radius_client::{Client, ConversationId, Credentials, Input, LoginOutcome, NasContext, Output, Probe, Server, Ticket, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const LOGINS: usize = 10_000;
const SECRET: &[u8] = b"a shared secret of some length";

/// A stride that visits all of `LOGINS` in an order of its own.
const STRIDE: usize = 7_919;

/// Answers nobody before all have asked, then everybody, in another order; afterwards whoever asks again.
fn serve(socket: &UdpSocket) -> BTreeSet<SocketAddr> {
    let mut waiting: BTreeMap<Vec<u8>, SocketAddr> = BTreeMap::new();
    let mut buffer = [0; 4096];
    while waiting.len() < LOGINS {
        let (length, from) = socket.recv_from(&mut buffer).expect("a request within the time limit");
        waiting.insert(buffer[..length].to_vec(), from);
    }
    let all: Vec<_> = waiting.iter().collect();
    for index in 0..LOGINS {
        let (request, from) = all[index * STRIDE % LOGINS];
        socket.send_to(&accept(request), from).expect("loopback takes it");
    }
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a time limit");
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        socket.send_to(&accept(&buffer[..length]), from).ok();
    }
    waiting.into_values().collect()
}

/// An Access-Accept whose Class is the User-Name of the request.
fn accept(request: &[u8]) -> Vec<u8> {
    let mut rest = &request[20..];
    let mut name: &[u8] = &[];
    while let [number, length, ..] = *rest {
        if number == 1 {
            name = &rest[2..usize::from(length)];
        }
        rest = &rest[usize::from(length)..];
    }
    let body = [&[80, 18][..], &[0; 16], &[25, 2 + name.len() as u8], name].concat();
    let length = (20 + body.len()) as u16;
    let mut packet = [&[2, request[1]][..], &length.to_be_bytes(), &request[4..20], &body].concat();
    let signature = hmac_md5(SECRET, &[&packet]);
    packet[22..38].copy_from_slice(&signature);
    let authenticator = md5(&[&packet, SECRET]);
    packet[4..20].copy_from_slice(&authenticator);
    packet
}

fn login(number: u64) -> Input {
    let name = format!("user{number}");
    Input::Login {
        ticket: Ticket(number),
        conversation: ConversationId(number),
        group: None,
        user_name: name.clone().into_bytes(),
        credentials: Credentials::Pap { password: Zeroizing::new(name.into_bytes()) },
        nas: Box::new(NasContext { nas_identifier: "vpn.example.test".into(), ..NasContext::default() }),
    }
}

#[test]
fn ten_thousand_logins_wait_at_once_and_each_gets_its_own_answer() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let auth = socket.local_addr().expect("it is bound");
    let server = std::thread::spawn(move || serve(&socket));
    let settings = Server {
        retransmit_initial: Duration::from_millis(500),
        tries: 10,
        probe: Probe::Off,
        ..Server::new("nps1", Transport::Udp { auth, accounting: None }, SECRET)
    };
    let client = Client::new(vec![settings], Box::new(SystemRandom));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let found = runtime.block_on(logins(client));
    let right = (0..LOGINS as u64).all(|number| found.get(&number).is_some_and(|class| *class == format!("user{number}").into_bytes()));
    assert!(right, "{} answers", found.len());
    let ports = server.join().expect("the server ends");
    assert_eq!(ports.len(), LOGINS.div_ceil(256), "one port for 256 of them");
}

/// The Class of each login's Accept.
async fn logins(client: Client) -> BTreeMap<u64, Vec<u8>> {
    let (requests, received) = tokio::sync::mpsc::channel(64);
    let (logins, mut outcomes) = tokio::sync::mpsc::channel(64);
    let (accounting, _accounting) = evergate::accounting::outcomes();
    let (servers, _servers) = tokio::sync::watch::channel(Vec::new());
    let (_setups, setups) = tokio::sync::mpsc::unbounded_channel();
    let inbox = Inbox { requests: received, setups, tracer: Default::default() };
    let shell = tokio::spawn(radius_shell::run(client, BTreeMap::new(), inbox, Outcomes { logins, accounting }, servers));
    let asking = tokio::spawn(async move {
        for number in 0..LOGINS as u64 {
            requests.send(login(number)).await.expect("the shell lives");
        }
        requests
    });
    let mut found = BTreeMap::new();
    while found.len() < LOGINS {
        let outcome = tokio::time::timeout(Duration::from_secs(60), outcomes.recv()).await.expect("an outcome in time");
        let Some(Output::Login { ticket, outcome: LoginOutcome::Accept { accept, .. } }) = outcome else { panic!("{outcome:?}") };
        let again = found.insert(ticket.0, accept.class.concat());
        assert!(again.is_none(), "one outcome a login");
    }
    drop(asking.await);
    shell.await.expect("the shell ends with the gateway");
    found
}
