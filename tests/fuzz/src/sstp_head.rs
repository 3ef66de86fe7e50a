//! The first bytes within TLS: what anybody on the Internet can send.
use sstp::http::{self, Head, Refusal};

const DATE: &str = "Sat, 21 Nov 2026 07:00:00 GMT";

/// The beginning of a connection.
pub fn sstp_head(data: &[u8]) {
    match http::parse(data) {
        Head::Incomplete => assert!(data.len() < http::MAX_HEAD, "more is asked for without end"),
        Head::Refused(refusal) => refused(&refusal),
        Head::Request(request) => {
            let head = &data[..request.consumed];
            assert!(request.consumed <= http::MAX_HEAD && head.ends_with(b"\n"));
            assert_eq!(http::parse(head), Head::Request(request.clone()), "what follows the head is none of its business");
            for len in [0, 1, head.len() / 2, head.len() - 1] {
                assert_eq!(http::parse(&head[..len]), Head::Incomplete, "{len} bytes of a good head");
            }
            assert!(request.host.is_none_or(|host| host.len() <= 100 && is_printable(&host)));
            assert!(request.correlation_id.is_none_or(|id| id.len() == 38 && is_printable(&id)));
        }
    }
}

fn refused(refusal: &Refusal) {
    assert!(matches!(refusal.status, 400 | 401 | 404 | 405 | 414 | 431 | 505), "{refusal:?}");
    assert!(!refusal.reason.is_empty() && refusal.reason.len() < 400 && is_printable(&refusal.reason), "{refusal:?}");
    let response = refusal.response(DATE);
    assert!(response.starts_with(format!("HTTP/1.1 {} ", refusal.status).as_bytes()) && response.ends_with(b"\r\n\r\n"));
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..0x7f).contains(&byte))
}
