//! Whoever knows all that goes over the wire, addresses, SPIs and message IDs, but no key: nothing that they send ends, delays or changes a login or a
//! session.
use super::{CLIENT, GATEWAY, Pair, assert_carries};
use crypto::dh::Group;
use ike::wire::{Delete, Exchange, Flags, Header, KeyExchange, Message, Notify, Payload, encode, notify};
use ike::{CloseReason, Command, Drain, Event, GatewayIdentity, InitiatorAuth, Input, Path, ResponderConfig, SessionId};
use sim::{Eap, Host, HostId, KeyKind, Script, ciphers, client_credential, initiator, responder};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// The forger's pace.
const STEP: Duration = Duration::from_millis(3);

const SK: u8 = 46;
const SKF: u8 = 53;

/// Everything goes slowly, so that every state is there for a while.
fn pair(hybrid: bool) -> Pair {
    let mut config = responder();
    config.ciphers.additional = if hybrid { vec![Group::MlKem768] } else { Vec::new() };
    let mut pair = Pair::new(7, config);
    for host in [pair.gateway, pair.client] {
        let answers = &mut pair.sim.host_mut(host).answers;
        (answers.crypto_delay, answers.eap_delay) = (Duration::from_millis(7), Duration::from_millis(20));
    }
    pair
}

/// Bytes that look protected, with what stands in front of the ciphertext; the length field is right.
fn sealed(header: &Header, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = encode(header, &[Payload::Unknown { kind: 200, critical: false, data: content.to_vec() }]);
    message[16] = kind;
    message
}

/// What can be said without a key under this header.
fn forgeries(header: &Header) -> Vec<Vec<u8>> {
    let notifies = [
        notify::AUTHENTICATION_FAILED,
        notify::INVALID_SYNTAX,
        notify::NO_PROPOSAL_CHOSEN,
        notify::TEMPORARY_FAILURE,
        notify::UNSUPPORTED_CRITICAL_PAYLOAD,
    ];
    let mut all: Vec<_> = notifies.iter().map(|kind| encode(header, &[Payload::Notify(Notify::new(*kind, []))])).collect();
    all.push(encode(header, &[Payload::Delete(Delete::Ike)]));
    all.push(encode(header, &[]));
    all.extend([0, 7, 8, 40, 200].map(|len| sealed(header, SK, &vec![0x5a; len])));
    for (number, total) in [(1u16, 1u16), (1, 2), (2, 2), (2, 1), (0, 1), (1, 0), (1, u16::MAX), (u16::MAX, u16::MAX)] {
        let fragment = [&number.to_be_bytes()[..], &total.to_be_bytes(), &[0x5a; 60]].concat();
        all.push(sealed(header, SKF, &fragment));
    }
    all.push(sealed(header, SKF, &[0, 1]));
    all
}

/// A real message, damaged: its tail, its middle, its end missing, its first payload said to be a fragment.
fn damaged(message: &[u8]) -> Vec<Vec<u8>> {
    let flip = |at: usize| {
        let mut copy = message.to_vec();
        copy[at] ^= 1;
        copy
    };
    let cut = |len: usize| {
        let mut copy = message[..len].to_vec();
        copy[24..28].copy_from_slice(&(len as u32).to_be_bytes());
        copy
    };
    let mut renamed = message.to_vec();
    renamed[16] = if renamed[16] == SK { SKF } else { SK };
    vec![
        flip(message.len() - 1),
        flip(message.len() / 2),
        flip(16),
        cut(message.len() - 1),
        cut(40),
        message[..message.len() - 3].to_vec(),
        renamed,
    ]
}

/// What can be made of somebody's IKE_SA_INIT request that the gateway would answer: broken ones, such as it would refuse, and, once the real one is
/// answered, such as it would take.
fn first_messages(real: &[u8], number: u8, answered: bool) -> Vec<Vec<u8>> {
    let Message { header, payloads, .. } = Message::parse(real).unwrap();
    let with = |change: &dyn Fn(&mut Payload)| {
        let mut copy: Vec<_> = payloads.iter().cloned().collect();
        copy.iter_mut().for_each(change);
        let fresh = |payload: &mut Payload| {
            if let Payload::Nonce(nonce) = payload {
                nonce[0] ^= number;
            }
        };
        copy.iter_mut().for_each(fresh);
        encode(&header, &copy)
    };
    let mut critical: Vec<_> = payloads.iter().cloned().collect();
    critical.push(Payload::Unknown { kind: 200, critical: true, data: vec![number] });
    let mut all = vec![
        encode(&header, &[]),
        encode(&header, &[Payload::Nonce(vec![number; 32])]),
        encode(&header, &critical),
        with(&|payload| {
            if let Payload::Nonce(nonce) = payload {
                nonce.truncate(3);
            }
        }),
        with(&|payload| {
            if let Payload::Sa(sa) = payload {
                sa.proposals.clear();
            }
        }),
        with(&|payload| {
            if let Payload::Sa(sa) = payload {
                sa.proposals.iter_mut().for_each(|proposal| proposal.transforms.retain(|it| it.kind != ike::proposal::transform::PRF));
            }
        }),
        with(&|payload| {
            if let Payload::KeyExchange(value) = payload {
                *value = KeyExchange { group: 19, public: vec![9; 64] }
            }
        }),
    ];
    if answered {
        all.push(with(&|payload| {
            if let Payload::KeyExchange(value) = payload {
                value.public.fill(0);
            }
        }));
        all.push(with(&|_| {}));
    }
    all
}

/// Everything that can be forged from what the two have said, to both.
fn storm(pair: &mut Pair, nonce: &mut u8) {
    let mut all: Vec<(Path, Vec<u8>)> = Vec::new();
    let (mut heads, mut last_id) = (BTreeSet::new(), 0);
    for host in [pair.gateway(), pair.client()] {
        let protected = host.sent.iter().rev().filter(|(_, message)| Header::parse(message).unwrap().exchange != Exchange::IkeSaInit);
        for (path, message) in protected.take(2) {
            let header = Header::parse(message).unwrap();
            heads.insert((header.initiator_spi, header.responder_spi));
            last_id = last_id.max(header.message_id);
            all.extend(damaged(message).into_iter().map(|message| (*path, message)));
        }
    }
    let answered = pair.gateway().sent.iter().find(|(_, message)| Header::parse(message).unwrap().responder_spi.0 != 0);
    if let Some((_, message)) = answered {
        let header = Header::parse(message).unwrap();
        heads.insert((header.initiator_spi, header.responder_spi));
    }
    let (gateway, client) = (SocketAddr::new(GATEWAY, 500), SocketAddr::new(CLIENT, 500));
    let exchanges =
        [Exchange::IkeAuth, Exchange::Informational, Exchange::CreateChildSa, Exchange::IkeIntermediate, Exchange::IkeFollowupKe];
    for (spi_i, spi_r) in heads {
        for (exchange, id) in
            exchanges.into_iter().flat_map(|exchange| (last_id.saturating_sub(1)..=last_id + 1).map(move |id| (exchange, id)))
        {
            for bits in 0..4 {
                let flags = Flags { initiator: bits & 1 != 0, response: bits & 2 != 0, version: false };
                let path = if flags.initiator { Path::between(client, gateway) } else { Path::between(gateway, client) };
                all.extend(forgeries(&Header::new(spi_i, spi_r, exchange, flags, id)).into_iter().map(|message| (path, message)));
            }
        }
    }
    // First requests beside the real one, once that is there.
    let first = pair.client().sent.iter().rfind(|(_, message)| Header::parse(message).unwrap().exchange == Exchange::IkeSaInit);
    if let Some((path, first)) = first.filter(|_| pair.gateway().endpoint.state(SessionId(1)).is_some()) {
        *nonce = nonce.wrapping_add(1);
        all.extend(first_messages(first, *nonce, answered.is_some()).into_iter().map(|message| (*path, message)));
    }
    all.into_iter().for_each(|(path, message)| pair.sim.inject(path, message));
}

/// Lets time pass until `done`, with or without the storm; how long it took, and the states that the gateway's first session was in.
fn run(pair: &mut Pair, forge: bool, done: impl Fn(&Pair) -> bool) -> (Duration, BTreeSet<&'static str>) {
    let (start, mut states, mut nonce) = (pair.sim.elapsed(), BTreeSet::new(), 0);
    while !done(pair) {
        assert!(pair.sim.elapsed() - start < Duration::from_secs(5), "not done: {:?}", pair.gateway().events);
        states.extend(pair.gateway().endpoint.state(SessionId(1)));
        if forge {
            storm(pair, &mut nonce);
        }
        pair.sim.run_for(STEP);
    }
    (pair.sim.elapsed() - start, states)
}

/// What is told of the session.
fn told(host: &Host) -> Vec<String> {
    let of = host.events.iter().filter(|(session, _)| *session == SessionId(1));
    let told = of.filter(|(_, event)| !matches!(event, Event::Note(_) | Event::Started { .. }));
    told.map(|(_, event)| format!("{event:?}")).collect()
}

/// The same with and without forgeries.
fn same(hybrid: bool, before: impl Fn(&mut Pair), act: impl Fn(&mut Pair), done: impl Fn(&Pair) -> bool) -> BTreeSet<&'static str> {
    let outcomes = [false, true].map(|forge| {
        let mut pair = pair(hybrid);
        before(&mut pair);
        act(&mut pair);
        let (took, states) = run(&mut pair, forge, &done);
        if forge {
            let counters = pair.gateway().endpoint.counters();
            assert!(counters.forged > 50 && counters.malformed > 50, "{counters:?}");
        }
        let children = [pair.gateway(), pair.client()].map(|host| host.children.len());
        (took, states, told(pair.gateway()), told(pair.client()), children)
    });
    let [clean, forged] = outcomes;
    assert_eq!(clean, forged);
    clean.1
}

fn dial(pair: &mut Pair, certificate: bool) {
    let auth = InitiatorAuth::Certificate(client_credential(KeyKind::P256, "pc1.example.test"));
    let mut config = initiator(CLIENT, GATEWAY);
    config.ciphers.additional = pair.gateway().endpoint.ciphers().unwrap().additional.clone();
    config.auth = if certificate { auth } else { config.auth };
    pair.sim.connect(pair.client, config);
}

fn up(pair: &Pair) -> bool {
    !pair.gateway().established().is_empty() && !pair.client().established().is_empty()
}

/// Up, and quiet.
fn come_up(pair: &mut Pair) {
    dial(pair, false);
    run(pair, false, up);
    pair.sim.run_for(Duration::from_millis(100));
}

/// As [`dial`], with another group than the gateway's first.
fn dial_with_another_group(pair: &mut Pair) {
    let mut config = initiator(CLIENT, GATEWAY);
    config.ciphers.groups = vec![Group::EcpP256, Group::Curve25519];
    pair.sim.connect(pair.client, config);
}

#[test]
fn logins() {
    let mut states = same(false, |_| {}, dial_with_another_group, up);
    assert!(states.contains("ExpectRetry"));
    for (hybrid, certificate) in [(false, false), (true, false), (true, true)] {
        states.extend(same(hybrid, |_| {}, |pair| dial(pair, certificate), up));
    }
    for state in ["AwaitKeyExchange", "ExpectIntermediate", "AwaitIntermediate", "ExpectAuth", "AwaitEap", "ExpectEap", "Established"] {
        assert!(states.contains(state), "{state} is not among {states:?}");
    }
}

/// A login that the authenticator refuses is refused in the same words, as soon.
#[test]
fn refused_logins() {
    let wrong = |pair: &mut Pair| pair.sim.host_mut(pair.gateway).answers.eap = Eap::WrongPassword;
    let over = |pair: &Pair| pair.gateway().closed().iter().any(|(session, ..)| *session == SessionId(1));
    same(false, wrong, |pair| dial(pair, false), over);
}

#[test]
fn sessions() {
    let command = |host: fn(&Pair) -> HostId, command: Command| {
        move |pair: &mut Pair| {
            let (host, session) = (host(pair), SessionId(1));
            pair.sim.command(host, session, command);
        }
    };
    let gateway: fn(&Pair) -> HostId = |pair| pair.gateway;
    let client: fn(&Pair) -> HostId = |pair| pair.client;
    let quiet = |pair: &Pair| [pair.gateway(), pair.client()].iter().all(|host| host.children.len() == 1);
    for hybrid in [false, true] {
        for host in [gateway, client] {
            for what in [Command::RekeyIke, Command::RekeyChild, Command::Liveness] {
                let rekeyed = move |pair: &Pair| {
                    let of = |host: &Host| (host.rekeyed(true), host.rekeyed(false));
                    let expected = (usize::from(what == Command::RekeyIke), usize::from(what == Command::RekeyChild));
                    (of(pair.gateway()), of(pair.client())) == (expected, expected) && pair.sim.elapsed() > Duration::from_millis(600)
                };
                same(hybrid, come_up, command(host, what), rekeyed);
            }
        }
    }
    let wanted = |pair: &mut Pair| pair.sim.input(pair.gateway, Input::Wanted(SessionId(1)));
    let resting = move |pair: &mut Pair| {
        come_up(pair);
        command(gateway, Command::DropChild)(pair);
        pair.sim.run_for(Duration::from_secs(10));
    };
    same(true, resting, wanted, quiet);
    // The end is the same as well.
    let ended = |pair: &Pair| pair.gateway().children.is_empty() && pair.client().children.is_empty();
    same(false, come_up, command(gateway, Command::Close(CloseReason::Operator)), ended);
}

/// Hours of it: the session stays, and carries.
#[test]
fn a_session_under_attack_stays() {
    let mut pair = pair(false);
    come_up(&mut pair);
    let mut nonce = 0;
    for _ in 0..100 {
        storm(&mut pair, &mut nonce);
        pair.sim.run_for(Duration::from_secs(100));
        assert_eq!(pair.gateway().endpoint.state(SessionId(1)), Some("Established"));
        assert_carries(pair.gateway(), pair.client());
    }
    assert_eq!((pair.gateway().children.len(), pair.client().children.len()), (1, 1));
}

/// Whatever the gateway tells others by then: cookies, where to go, that it is being emptied, that a value is no good.
#[test]
fn the_client_of_a_login_hears_nothing_that_it_did_not_ask_for() {
    let elsewhere = || Some(GatewayIdentity::Address(CLIENT));
    let busy = |pair: &mut Pair| {
        let mut config = responder();
        config.limits.cookie_threshold = 0;
        pair.sim.input(pair.gateway, Input::Configure(Box::new(config)));
    };
    let sent_away = |pair: &mut Pair| {
        let config = ResponderConfig { redirect: elsewhere(), ..responder() };
        pair.sim.input(pair.gateway, Input::Configure(Box::new(config)));
    };
    let emptied = |pair: &mut Pair| pair.sim.input(pair.gateway, Input::Drain(Some(Drain { to: None })));
    type Change<'a> = (&'a dyn Fn(&mut Pair), u8);
    let changes: [Change<'_>; 4] = [(&busy, 9), (&sent_away, 9), (&emptied, 9), (&|_| {}, 0)];
    for (number, (change, value)) in changes.into_iter().enumerate() {
        let mut pair = Pair::default();
        let client = SocketAddr::new(CLIENT, 500);
        let mut script = Script::new(pair.gateway, client, SocketAddr::new(GATEWAY, 500), ciphers());
        script.extra.push(Payload::Notify(Notify::new(notify::REDIRECT_SUPPORTED, [])));
        script.init(&mut pair.sim);
        change(&mut pair);
        script.nonce_i = vec![8; 32];
        let forged = script.init_message(31, vec![value; 32]);
        assert_eq!(script.send(&mut pair.sim, forged.clone()), Vec::<Vec<u8>>::new(), "{number}");
        assert_eq!(pair.gateway().endpoint.state(SessionId(1)), Some("ExpectAuth"));
        script.path.local.set_port(501);
        assert_eq!(script.send(&mut pair.sim, forged).len(), 1, "{number}: others are told");
    }
}
