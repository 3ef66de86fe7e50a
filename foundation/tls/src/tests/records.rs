use super::fixture::{DEFAULT_NAME, Pair, client, client_config, feed, flush, settings};
use crate::{Connection, MAX_PLAINTEXT, Status, TlsError};
use rustls::version::{TLS12, TLS13};
use std::io::Write;

fn up(version: &'static rustls::SupportedProtocolVersion) -> Pair {
    Pair::up(settings(), client(client_config(&[version]), DEFAULT_NAME))
}

fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn data_of_any_length_both_ways() {
    for version in [&TLS12, &TLS13] {
        let mut pair = up(version);
        for length in [1, 2, 1400, MAX_PLAINTEXT - 1, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 200_000] {
            let data = noise(length, 3);
            assert!(pair.upload(&data, 50_000) == data, "{length} bytes up");
            assert!(pair.download(&data) == data, "{length} bytes down");
        }
        assert_eq!(pair.download(b""), b"");
        assert!(pair.server.held().is_empty());
    }
}

#[test]
fn records_split_at_every_byte() {
    for version in [&TLS12, &TLS13] {
        let mut pair = up(version);
        pair.client.writer().write_all(b"first").unwrap();
        let mut bytes = flush(&mut pair.client);
        pair.client.writer().write_all(b" second").unwrap();
        bytes.extend(flush(&mut pair.client));
        // Each byte alone, and answers in between.
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        for byte in bytes {
            pair.server.receive(&[byte], &mut plain, &mut out).unwrap();
            assert_eq!(pair.download(b"between"), b"between");
        }
        assert_eq!((&*plain, out.len(), pair.server.held().len()), (&b"first second"[..], 0, 0));
    }
}

#[test]
fn the_fast_way_takes_what_is_held_and_more() {
    let mut pair = up(&TLS13);
    let data = noise(60_000, 9);
    pair.client.writer().write_all(&data).unwrap();
    let bytes = flush(&mut pair.client);
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for part in bytes.chunks(20_001) {
        let mut buffer = [pair.server.held(), part].concat();
        assert_eq!(pair.server.open(&mut buffer, &mut plain, &mut out), Ok(Status::Open));
    }
    assert!(plain == data);
}

#[test]
fn data_right_behind_the_handshake_is_not_lost() {
    let mut pair = Pair::new(settings(), client(client_config(&[&TLS13]), DEFAULT_NAME));
    let mut out = Vec::new();
    pair.server.receive(&flush(&mut pair.client), &mut Vec::new(), &mut out).unwrap();
    feed(&mut pair.client, &out).unwrap();
    pair.client.writer().write_all(b"SSTP_DUPLEX_POST").unwrap();
    let status = pair.server.receive(&flush(&mut pair.client), &mut pair.plain, &mut Vec::new()).unwrap();
    assert_eq!((status, &*pair.plain), (Status::Open, &b"SSTP_DUPLEX_POST"[..]));
}

#[test]
fn the_client_changes_its_keys_and_ours() {
    let mut pair = up(&TLS13);
    for round in 0..5 {
        pair.client.refresh_traffic_keys().unwrap();
        let data = noise(3000, round);
        assert!(pair.upload(&data, 1) == data);
        assert!(pair.download(&data) == data, "our own KeyUpdate goes before the data");
    }
}

#[test]
fn sealing_amid_a_half_key_update() {
    // Whatever is held, sending goes on.
    let mut pair = up(&TLS13);
    pair.client.refresh_traffic_keys().unwrap();
    let bytes = flush(&mut pair.client);
    for at in 1..bytes.len() {
        let mut pair = up(&TLS13);
        pair.client.refresh_traffic_keys().unwrap();
        let bytes = flush(&mut pair.client);
        let (first, second) = bytes.split_at(at);
        pair.server.receive(first, &mut Vec::new(), &mut Vec::new()).unwrap();
        assert_eq!(pair.download(b"amid"), b"amid");
        pair.server.receive(second, &mut Vec::new(), &mut Vec::new()).unwrap();
        assert_eq!(pair.upload(b"after", 1), b"after");
    }
}

#[test]
fn the_client_closes() {
    for version in [&TLS12, &TLS13] {
        let mut pair = up(version);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        pair.exchange(usize::MAX).unwrap();
        assert_eq!((pair.status, &*pair.plain), (Status::PeerClosed, &b"last words"[..]));
        assert_eq!(pair.download(b"ours"), b"ours", "one direction alone is closed");
        assert_eq!(pair.server.receive(&[23; 50_000], &mut Vec::new(), &mut Vec::new()), Ok(Status::PeerClosed));
        let mut out = Vec::new();
        pair.server.close(&mut out);
        assert!(!out.is_empty());
    }
}

#[test]
fn we_close() {
    for version in [&TLS12, &TLS13] {
        let mut pair = up(version);
        let mut out = pair.seal(b"last words");
        pair.server.close(&mut out);
        let mut rest = &*out;
        pair.client.read_tls(&mut rest).unwrap();
        let state = pair.client.process_new_packets().unwrap();
        assert_eq!((state.plaintext_bytes_to_read(), state.peer_has_closed()), (10, true));
        let mut again = vec![0; 1000];
        assert!(pair.server.seal(b"more", &mut again).is_err(), "nothing after close_notify");
        assert_eq!(pair.upload(b"still heard", usize::MAX), b"still heard");
    }
}

#[test]
fn nothing_is_sealed_too_early_or_into_too_little_room() {
    let mut fresh = Connection::new(settings(), None);
    assert!(matches!(fresh.seal(b"x", &mut [0; 100]), Err(TlsError::Internal(_))));
    let mut out = vec![1];
    fresh.close(&mut out);
    assert_eq!(out, [1]);
    let mut pair = up(&TLS13);
    assert!(matches!(pair.server.seal(b"xyz", &mut [0; 10]), Err(TlsError::Internal(_))));
    assert_eq!(pair.download(b"xyz"), b"xyz");
}

#[test]
fn a_changed_record_ends_it_with_an_alert() {
    for version in [&TLS12, &TLS13] {
        let mut pair = up(version);
        pair.client.writer().write_all(b"data").unwrap();
        let mut bytes = flush(&mut pair.client);
        *bytes.last_mut().unwrap() ^= 1;
        let mut out = Vec::new();
        assert_eq!(pair.server.receive(&bytes, &mut pair.plain, &mut out), Err(TlsError::BadRecord));
        assert!(pair.plain.is_empty());
        assert_eq!(feed(&mut pair.client, &out), Err(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
        assert!(pair.server.seal(b"x", &mut [0; 1000]).is_err());
    }
}

#[test]
fn garbage_ends_it_and_never_panics() {
    let hello = flush(&mut client(client_config(&[&TLS12, &TLS13]), DEFAULT_NAME));
    for seed in 0..=255 {
        let mut bytes = hello.clone();
        let noise = noise(40, seed);
        for pair in noise.chunks_exact(2).take(1 + usize::from(seed % 5)) {
            let at = usize::from(pair[0]) * bytes.len() / 256;
            bytes[at] ^= pair[1];
        }
        let mut server = Connection::new(settings(), None);
        let mut out = Vec::new();
        for part in bytes.chunks(1 + usize::from(seed)) {
            if server.receive(part, &mut Vec::new(), &mut out).is_err() {
                break;
            }
        }
        server.receive(&noise, &mut Vec::new(), &mut out).ok();
    }
    for seed in 0..=255 {
        let mut pair = up(if seed % 2 == 0 { &TLS12 } else { &TLS13 });
        let mut bytes = vec![[20, 21, 22, 23, 24][usize::from(seed) % 5], 3, 3, 0, seed];
        bytes.extend(noise(600, seed));
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        for part in bytes.chunks(1 + usize::from(seed) / 2) {
            if pair.server.receive(part, &mut plain, &mut out).is_err() {
                break;
            }
            pair.server.seal(b"x", &mut [0; 1000]).ok();
        }
        assert!(plain.is_empty(), "nothing that was not sealed by the client");
    }
}

#[test]
fn an_endless_handshake_is_cut_off() {
    let mut server = Connection::new(settings(), None);
    // A ClientHello that announces 16 MB, in records of one kilobyte.
    let mut record = vec![22, 3, 1, 4, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 1024, 0);
    let outcome = (0..200).find_map(|_| {
        let outcome = server.receive(&record, &mut Vec::new(), &mut Vec::new()).err();
        record[5..9].fill(0);
        outcome
    });
    assert!(matches!(outcome, Some(TlsError::TooLong | TlsError::Misbehaved(_))), "{outcome:?}");
}
