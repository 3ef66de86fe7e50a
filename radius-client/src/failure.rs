//! One failure out of the failures at several servers.
use crate::api::RequestFailure;
use std::time::Duration;

/// Names every server that was tried; `NoServer` if none was.
pub(crate) fn merge(mut failures: Vec<RequestFailure>) -> RequestFailure {
    failures.dedup_by(|later, former| later == former && matches!(former, RequestFailure::Connection { .. }));
    match failures.len() {
        0 => return RequestFailure::NoServer,
        1 => return failures.remove(0),
        _ => {}
    }
    if failures.iter().all(|failure| matches!(failure, RequestFailure::Unreachable { .. })) {
        return RequestFailure::Unreachable { server: names(&failures, "") };
    }
    let told = |failure: &RequestFailure| {
        matches!(failure, RequestFailure::Unreachable { .. } | RequestFailure::Connection { .. } | RequestFailure::Declined { .. })
    };
    if failures.iter().all(told) {
        let cause = |failure: &RequestFailure| match failure {
            RequestFailure::Connection { server, cause } | RequestFailure::Declined { server, cause } => format!("{server}: {cause}"),
            other => format!("{} port closed (ICMP unreachable)", names(std::slice::from_ref(other), ":")),
        };
        let causes: Vec<_> = failures.iter().map(cause).collect();
        return RequestFailure::Connection { server: names(&failures, ""), cause: causes.join("; ") };
    }
    let (mut total, mut longest, mut reasons) = (0, Duration::ZERO, Vec::new());
    for failure in &failures {
        if let RequestFailure::Silent { tries, waited, dropped, .. } = failure {
            total += tries;
            longest += *waited;
            if dropped != "none" && !reasons.contains(&dropped.as_str()) {
                reasons.push(dropped);
            }
        }
    }
    let dropped = if reasons.is_empty() { "none".into() } else { reasons.join("; ") };
    RequestFailure::Silent { server: names(&failures, " (port closed)"), tries: total, waited: longest, dropped }
}

/// The servers in the order tried, each once; `closed` marks those whose port was closed.
fn names(failures: &[RequestFailure], closed: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    for failure in failures {
        let name = match failure {
            RequestFailure::Unreachable { server } => format!("{server}{closed}"),
            RequestFailure::Connection { server, .. } => format!("{server} (no connection)"),
            RequestFailure::Declined { server, .. } => format!("{server} (declined)"),
            RequestFailure::Silent { server, .. }
            | RequestFailure::LostConversation { server, .. }
            | RequestFailure::BadReply { server, .. }
            | RequestFailure::Unsendable { server, .. } => server.clone(),
            RequestFailure::NoServer | RequestFailure::NoGroup { .. } | RequestFailure::Forgotten => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(server: &str, dropped: &str) -> RequestFailure {
        RequestFailure::Silent { server: server.into(), tries: 3, waited: Duration::from_secs(14), dropped: dropped.into() }
    }

    #[test]
    fn names_every_connection_that_failed() {
        let failed = |server: &str| RequestFailure::Connection { server: server.into(), cause: "no TCP".into() };
        let text = merge(vec![failed("a"), RequestFailure::Unreachable { server: "b".into() }]).to_string();
        assert_eq!(text, "radius a (no connection), b: a: no TCP; b: port closed (ICMP unreachable)");
        assert_eq!(merge(vec![failed("a"), failed("a")]), failed("a"));
        let text = merge(vec![failed("a"), silent("b", "none")]).to_string();
        assert!(text.starts_with("radius a (no connection), b: no valid reply after 3 tries"), "{text}");
    }

    #[test]
    fn names_all_servers() {
        assert_eq!(merge(Vec::new()), RequestFailure::NoServer);
        assert_eq!(merge(vec![silent("a", "none")]), silent("a", "none"));
        let closed = |server: &str| RequestFailure::Unreachable { server: server.into() };
        assert_eq!(merge(vec![closed("a"), closed("b")]), closed("a, b"));
        let merged = merge(vec![closed("a"), silent("b", "1 malformed"), silent("b", "1 malformed")]);
        let waited = Duration::from_secs(28);
        assert_eq!(merged, RequestFailure::Silent { server: "a (port closed), b".into(), tries: 6, waited, dropped: "1 malformed".into() });
    }
}
