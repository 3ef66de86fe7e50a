//! Traces begin and end, and the log says so.
use super::{Shell, now};
use crate::api::types::Done;
use crate::api::{Feed, Problem, Refusal, Response, TraceQuery};
use crate::trace::{About, Extent, LONGEST, USUAL_LENGTH};
use std::time::{Duration, Instant};

/// Accounting has its say after the end of a session.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Shell {
    pub(super) fn trace(&mut self, query: &TraceQuery, feed: Feed) -> Response {
        let extent = Extent { packets: query.packets, keys: query.session_keys };
        let begun = about(query).and_then(|about| Ok((self.gateway.trace(now(), &about, extent, feed.clone())?, about)));
        let (number, about) = match begun {
            Ok(begun) => begun,
            Err(problem) => return Response::Refused(problem),
        };
        let Extent { packets, keys } = extent;
        tracing::info!(trace = number, %about, packets, keys, "a trace begins: somebody with access to the control socket sees packets, decoded");
        if keys {
            tracing::warn!(trace = number, %about, "the trace is given the keys of IKE SAs: who has them and a recording can read IKE");
        }
        let tracer = self.gateway.tracer().clone();
        let over = tracer.over(number);
        let length = query.seconds.map_or(USUAL_LENGTH, Duration::from_secs).min(LONGEST);
        tokio::spawn(async move {
            let over = async {
                match over {
                    Some(over) => over.notified().await,
                    None => std::future::pending().await,
                }
                tokio::time::sleep(LAST_WORDS).await;
            };
            let why = tokio::select! {
                () = feed.closed() => None,
                () = over => Some("the trace ends: its attempt is over".to_owned()),
                () = tokio::time::sleep(length) => Some(format!("the trace ends: it was to last {} s (--for)", length.as_secs())),
            };
            if let Some(why) = why {
                tracer.last_word(Instant::now(), number, &why);
            }
            if let Some(about) = tracer.end(number) {
                tracing::info!(trace = number, %about, "a trace ends");
            }
        });
        Response::Done(Done {})
    }
}

fn about(query: &TraceQuery) -> Result<About, Problem> {
    match (&query.user, query.peer, &query.attempt) {
        (Some(user), None, None) => Ok(About::User(user.clone())),
        (None, Some(peer), None) => Ok(About::Peer(peer)),
        (None, None, Some(attempt)) => Ok(About::Attempt(attempt.clone())),
        _ => Err(Problem::new(Refusal::Wrong, "it is not said whom to follow", "give one of user, peer and attempt")),
    }
}
