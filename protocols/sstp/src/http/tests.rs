use super::*;

const PATH: &str = "/sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/";
const DATE: &str = "Sat, 21 Nov 2026 07:00:00 GMT";

fn windows() -> String {
    format!(
        "SSTP_DUPLEX_POST {PATH} HTTP/1.1\r\nSSTPCORRELATIONID: {{48B82435-099A-4158-A987-052E7570CFAA}}\r\n\
         Content-Length: 18446744073709551615\r\nHost: vpn.example.com\r\n\r\n"
    )
}

fn accepted(head: &str) -> SstpRequest {
    match parse(head.as_bytes()) {
        Head::Request(request) => request,
        other => panic!("{head:?}: {other:?}"),
    }
}

fn refused(head: &str) -> u16 {
    match parse(head.as_bytes()) {
        Head::Refused(refusal) => {
            assert!(!refusal.reason.is_empty() && refusal.reason.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{:?}", refusal.reason);
            assert!(refusal.reason.len() < 400);
            refusal.status
        }
        other => panic!("{head:?}: {other:?}"),
    }
}

#[test]
fn who_writes_no_guid_in_braces_reads_one_packet_a_record() {
    let head =
        |id: &str| format!("SSTP_DUPLEX_POST {PATH} HTTP/1.1\r\nSSTPCORRELATIONID: {id}\r\nContent-Length: 18446744073709551615\r\n\r\n");
    assert!(accepted(&head("48b82435-099a-4158-a987-052e7570cfaa")).one_packet_a_record);
    assert!(!accepted(&head("{48B82435-099A-4158-A987-052E7570CFAA}")).one_packet_a_record);
    assert!(accepted(&head("{9A5E1F-3C-07-B2D4}")).one_packet_a_record);
    assert!(!accepted(&windows()).one_packet_a_record);
}

#[test]
fn windows_head() {
    let head = windows();
    let request = accepted(&head);
    assert_eq!(request.consumed, head.len());
    assert_eq!(request.correlation_id.as_deref(), Some("{48B82435-099A-4158-A987-052E7570CFAA}"));
    assert_eq!(request.host.as_deref(), Some("vpn.example.com"));
    assert!(!request.has_query);
}

#[test]
fn piece_by_piece_and_with_packets_behind() {
    let head = windows();
    for len in 0..head.len() {
        assert_eq!(parse(&head.as_bytes()[..len]), Head::Incomplete, "{len} bytes");
    }
    let pipelined = [head.as_bytes(), &[0x10, 1, 0, 14, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1]].concat();
    let Head::Request(request) = parse(&pipelined) else { panic!("refused") };
    assert_eq!(&pipelined[request.consumed..], [0x10, 1, 0, 14, 0, 1, 0, 1, 0, 1, 0, 6, 0, 1]);
    let flooded = [head.as_bytes(), &[0x0a; 40_000]].concat();
    let Head::Request(request) = parse(&flooded) else { panic!("refused") };
    assert_eq!(request.consumed, head.len());
}

#[test]
fn other_clients() {
    let sstpc = "SSTP_DUPLEX_POST /sra_BA195980-CD49-458b-9E23-C84EE0ADCD75/ HTTP/1.1\r\nhost: vpn.example.com\r\n\
                 content-length: 18446744073709551615\r\nsstpcorrelationid: 48b82435-099a-4158-a987-052e7570cfaa\r\n\r\n";
    assert_eq!(accepted(sstpc).correlation_id.as_deref(), Some("{48b82435-099a-4158-a987-052e7570cfaa}"));
    let gosstp = format!("SSTP_DUPLEX_POST {PATH} HTTP/1.1\nContent-Length: 18446744073709551615\nHost: a\nSSTPCORRELATIONID: TamSSTP\n\n");
    let request = accepted(&gosstp);
    assert_eq!((request.consumed, request.correlation_id), (gosstp.len(), None));
    let no_host = format!("SSTP_DUPLEX_POST {PATH} HTTP/1.1\r\nContent-Length:18446744073709551615 \r\nCookie: a=b; c=\r\n\r\n");
    assert_eq!(accepted(&no_host).host, None);
}

#[test]
fn ways_to_write_the_path() {
    let guid = "BA195980-CD49-458b-9E23-C84EE0ADCD75";
    let paths = [
        format!("/sra_{{{}}}/", guid.to_lowercase()),
        format!("/SRA_{{{}}}/", guid.to_uppercase()),
        format!("/sra_%7B{guid}%7D/"),
        format!("/sra_%7b{guid}%7d/"),
        format!("/sra_{{{guid}}}"),
        format!("https://vpn.example.com/sra_{{{guid}}}/"),
    ];
    for path in paths {
        assert!(!accepted(&windows().replace(PATH, &path)).has_query, "{path}");
    }
    assert!(accepted(&windows().replace(PATH, &format!("{PATH}?tenantid=contoso"))).has_query);
    let others = [
        "/".into(),
        "/index.html".into(),
        "*".into(),
        format!("/sra_{{{guid}}}/x"),
        format!("/sra_{{{guid}0}}/"),
        format!("/sra_{{{}}}/", &guid[1..]),
        format!("/sra_{{{guid}}}//"),
        format!("//sra_{{{guid}}}/"),
        format!("/x/sra_{{{guid}}}/"),
        "/sra_{".into(),
        "/sra_%7".into(),
        "https://vpn.example.com".into(),
        "?".into(),
    ];
    for path in others {
        assert_eq!(refused(&windows().replace(PATH, &path)), 404, "{path}");
    }
}

#[test]
fn what_is_refused() {
    let good = windows();
    let change = |from: &str, to: &str| refused(&good.replace(from, to));
    assert_eq!(change("SSTP_DUPLEX_POST", "HEAD"), 401, "as RRAS does, and monitors match on it");
    assert_eq!(change("SSTP_DUPLEX_POST", "GET"), 401);
    assert_eq!(change("SSTP_DUPLEX_POST", "POST"), 405);
    assert_eq!(change("SSTP_DUPLEX_POST", "sstp_duplex_post"), 405, "methods are case-sensitive");
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 404);
    assert_eq!(refused(&format!("HEAD {PATH} HTTP/1.0\r\n\r\n")), 401, "monitors speak HTTP/1.0 too");
    assert_eq!(refused("CONNECT vpn.example.com:443 HTTP/1.1\r\nHost: vpn.example.com:443\r\n\r\n"), 404);
    assert_eq!(change("HTTP/1.1", "HTTP/1.0"), 505);
    assert_eq!(change("HTTP/1.1", "HTTP/2.0"), 505);
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(change("18446744073709551615", "18446744073709551614"), 400);
    assert_eq!(change("18446744073709551615", "0"), 400);
    assert_eq!(change("18446744073709551615", "-1"), 400);
    assert_eq!(change("Content-Length: 18446744073709551615\r\n", ""), 400);
    assert_eq!(change("Host: vpn.example.com", "Content-Length: 0"), 400, "two lengths");
    assert_eq!(change("Host: vpn.example.com", " folded"), 400);
    assert_eq!(change("Host:", "Ho st:"), 400);
    assert_eq!(refused("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03"), 400, "TLS within TLS");
    assert_eq!(refused("SSTP_DUPLEX_POST\r\n"), 400);
}

#[test]
fn bounds() {
    let fill = |fields: usize| windows().replace("Host: ", &format!("{}Host: ", "X: y\r\n".repeat(fields)));
    assert!(accepted(&fill(MAX_FIELDS - 3)).host.is_some());
    assert_eq!(refused(&fill(MAX_FIELDS - 2)), 431);
    let long = |len: usize| windows().replace("Host: ", &format!("X: {}\r\nHost: ", "y".repeat(len)));
    let room = MAX_HEAD - long(0).len();
    assert_eq!(accepted(&long(room)).consumed, MAX_HEAD);
    assert_eq!(refused(&long(room + 1)), 431);
    assert_eq!(refused(&long(100_000)), 431);
    assert_eq!(parse(&long(100_000).as_bytes()[..MAX_HEAD - 1]), Head::Incomplete);
    assert_eq!(refused(&format!("GET /{}", "a".repeat(5000))), 414);
    assert_eq!(refused(&windows().replace(PATH, &format!("{PATH}?{}", "a".repeat(5000)))), 414);
}

#[test]
fn hostile_texts_do_not_reach_the_record() {
    let request = accepted(&windows().replace("vpn.example.com", "a\u{e9}\tb"));
    assert_eq!(request.host.as_deref(), Some("a??b"), "neither control characters nor anything beyond ASCII");
    let long = accepted(&windows().replace("vpn.example.com", &"h".repeat(5000)));
    assert_eq!(long.host.map(|host| host.len()), Some(100));
    for wrong in
        ["{48B82435-099A-4158-A987-052E7570CFAA", "{48B82435-099A-4158-A987-052E7570CFAG}", "{48B824350-99A-4158-A987-052E7570CFAA}", ""]
    {
        let head = windows().replace("{48B82435-099A-4158-A987-052E7570CFAA}", wrong);
        assert_eq!(accepted(&head).correlation_id, None, "{wrong}");
    }
}

#[test]
fn answers() {
    assert_eq!(
        String::from_utf8(accept_response(DATE)).unwrap(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\nDate: {DATE}\r\n\r\n")
    );
    let refusal = Refusal { status: 405, reason: String::new() };
    assert_eq!(
        String::from_utf8(refusal.response(DATE)).unwrap(),
        format!(
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nAllow: SSTP_DUPLEX_POST\r\n\
             Server: Microsoft-HTTPAPI/2.0\r\nDate: {DATE}\r\nConnection: close\r\n\r\n"
        )
    );
    let mut answers = vec![(503, busy_response(DATE))];
    answers.extend([400, 401, 404, 405, 414, 431, 505].map(|status| (status, Refusal { status, reason: String::new() }.response(DATE))));
    for (status, answer) in answers {
        let mut fields = [EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut fields);
        assert_eq!(response.parse(&answer), Ok(Status::Complete(answer.len())), "{status}");
        assert_eq!(response.code, Some(status));
        let has = |name, value: &str| response.headers.iter().any(|field| field.name == name && field.value == value.as_bytes());
        assert!(has("Content-Length", "0") && has("Connection", "close") && has("Date", DATE), "{status}");
    }
}

#[test]
fn our_own_request_is_a_good_one() {
    let head = request("vpn.example.com", &[0xab; 16]);
    let Head::Request(read) = parse(&head) else { panic!("{:?}", parse(&head)) };
    assert_eq!(read.consumed, head.len());
}
