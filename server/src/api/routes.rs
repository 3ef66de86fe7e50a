//! Every resource of the API: one table, from which requests are served and the OpenAPI document is made.
use super::request::{
    AttemptsQuery, BlockOrder, Disconnect, Drain, ExplainQuery, HistoryQuery, Problem, Refusal, Reload, Request, SessionsQuery, TraceQuery,
};
use super::stream::Feed;
use super::types::{
    AttemptDetail, AttemptList, Block, BlockList, Caller, Disconnected, Done, DrainStatus, Event, Explanation, Health, HistoryReport,
    JudgedList, PolicyList, PoolList, RadiusList, Reloaded, Session, SessionList, Status,
};
use crate::certificates;
use crate::config::Shown;
use crate::doctor;
use crate::policy_case::{PolicyQuestion, PolicyVerdict};
use crate::trace;
use hyper::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::sync::LazyLock;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nobody has to say who he is.
    Anybody,
    /// Looks, and changes nothing.
    Read,
    /// Everything.
    Operate,
}

pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    /// `{id}` stands for one part of it.
    pub(super) path: &'static str,
    /// `operationId` of the document.
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) about: &'static str,
    pub(super) id: Option<Shape>,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Shape>,
    pub(super) answer: Option<Shape>,
    pub(super) serves: Serves,
}

/// How a request is served.
pub(super) enum Serves {
    /// By one answer of the control task.
    Once(fn(&Input<'_>) -> Result<Request, Problem>),
    /// By an answer that goes on; see [`Feed`].
    Stream(fn(&Input<'_>, Feed) -> Result<Request, Problem>),
    /// By the document that describes the API.
    Document,
    /// By OpenMetrics text.
    Metrics,
    /// By what is known of the caller.
    Caller,
}

/// What came with a request.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) id: Option<String>,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

impl Input<'_> {
    fn id<T: FromStr>(&self) -> Result<T, Problem> {
        let id = self.id.as_deref().unwrap_or_default();
        id.parse().map_err(|_| Problem::new(Refusal::NotFound, format!("there is no {id:?} here"), "take an id as the list shows it"))
    }

    fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_urlencoded::from_str(self.query)
            .map_err(|error| Problem::new(Refusal::Wrong, format!("the query is not understood: {error}"), SEE))
    }

    fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { self.body };
        serde_json::from_slice(body).map_err(|error| Problem::new(Refusal::Wrong, format!("the body is not understood: {error}"), SEE))
    }
}

pub(super) const SEE: &str = "GET /openapi.json tells what there is and what it takes";

impl Route {
    fn new(method: Method, path: &'static str, name: &'static str, role: Role, about: &'static str, serves: Serves) -> Self {
        Self { method, path, name, role, about, id: None, query: None, body: None, answer: None, serves }
    }

    fn get<A: JsonSchema>(
        path: &'static str,
        name: &'static str,
        about: &'static str,
        ask: fn(&Input<'_>) -> Result<Request, Problem>,
    ) -> Self {
        Self::new(Method::GET, path, name, Role::Read, about, Serves::Once(ask)).answers::<A>()
    }

    /// Goes on; see [`Feed`].
    fn stream<A: JsonSchema>(
        path: &'static str,
        name: &'static str,
        about: &'static str,
        ask: fn(&Input<'_>, Feed) -> Result<Request, Problem>,
    ) -> Self {
        Self::new(Method::GET, path, name, Role::Read, about, Serves::Stream(ask)).answers::<A>()
    }

    /// Carried out: the caller must be allowed to operate.
    fn order<B: JsonSchema, A: JsonSchema>(
        path: &'static str,
        name: &'static str,
        about: &'static str,
        ask: fn(&Input<'_>) -> Result<Request, Problem>,
    ) -> Self {
        let route = Self::new(Method::POST, path, name, Role::Operate, about, Serves::Once(ask)).answers::<A>();
        Self { body: Some(shape::<B>), ..route }
    }

    fn delete<A: JsonSchema>(
        path: &'static str,
        name: &'static str,
        about: &'static str,
        ask: fn(&Input<'_>) -> Result<Request, Problem>,
    ) -> Self {
        Self::new(Method::DELETE, path, name, Role::Operate, about, Serves::Once(ask)).answers::<A>()
    }

    fn answers<A: JsonSchema>(self) -> Self {
        Self { answer: Some(shape::<A>), ..self }
    }

    fn id<T: JsonSchema>(self) -> Self {
        Self { id: Some(shape::<T>), ..self }
    }

    fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(shape::<T>), ..self }
    }

    fn that_only_reads(self) -> Self {
        Self { role: Role::Read, ..self }
    }

    fn for_anybody(self) -> Self {
        Self { role: Role::Anybody, ..self }
    }

    fn for_operators(self) -> Self {
        Self { role: Role::Operate, ..self }
    }

    /// The id in this path; `None`: it is another path.
    fn matches(&self, path: &str) -> Option<Option<String>> {
        let Some((before, after)) = self.path.split_once("{id}") else { return (self.path == path).then_some(None) };
        let id = path.strip_prefix(before)?.strip_suffix(after)?;
        (!id.is_empty() && !id.contains('/')).then(|| Some(unescaped(id)))
    }
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Text as one part of a path (RFC 3986, section 2.1).
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape =
            (first == b'%').then(|| after.get(..2).and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok())).flatten();
        bytes.push(escape.unwrap_or(first));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The route of a request, with the id in its path.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Route, Option<String>), Problem> {
    let mut others = Vec::new();
    for route in ROUTES.iter() {
        match route.matches(path) {
            Some(id) if route.method == *method => return Ok((route, id)),
            Some(_) => others.push(route.method.as_str()),
            None => {}
        }
    }
    if others.is_empty() {
        return Err(Problem::new(Refusal::NotFound, format!("there is nothing at {path:?}"), SEE));
    }
    Err(Problem::new(Refusal::Method, format!("{method} does not go with {path}"), format!("use {}", others.join(" or "))))
}

/// Paths without an id come before those they would fit.
pub(super) static ROUTES: LazyLock<Vec<Route>> =
    LazyLock::new(|| [about_the_gateway(), about_clients(), orders()].into_iter().flatten().collect());

fn about_the_gateway() -> Vec<Route> {
    vec![
        Route::get::<Health>("/healthz", "health", "Whether the gateway is alive: its control task answers.", |_| Ok(Request::Live))
            .for_anybody(),
        Route::get::<Health>(
            "/readyz",
            "readiness",
            "Whether clients can come in: the gateway is not being emptied, and somebody is there to authenticate them. 503 if not.",
            |_| Ok(Request::Ready),
        )
        .for_anybody(),
        Route::new(
            Method::GET,
            "/metrics",
            "metrics",
            Role::Read,
            "Everything that is measured, as OpenMetrics text; at most a second old.",
            Serves::Metrics,
        ),
        Route::new(Method::GET, "/openapi.json", "document", Role::Read, "This document.", Serves::Document),
        Route::new(Method::GET, "/v1/caller", "caller", Role::Read, "Who asks, and what they may do.", Serves::Caller).answers::<Caller>(),
        Route::get::<Status>("/v1/status", "status", "The gateway as a whole.", |_| Ok(Request::Status)),
        Route::get::<HistoryReport>(
            "/v1/history",
            "history",
            "Sessions, logins and traffic of the last hour or the last day, for charts.",
            |input| input.query().map(Request::History),
        )
        .query::<HistoryQuery>(),
        Route::get::<doctor::Report>(
            "/v1/doctor",
            "doctor",
            "What on this host, and between it and others, keeps clients from connecting, as the gateway finds it now. One look at a time; it may take half a minute.",
            |_| Ok(Request::Doctor),
        ),
        Route::get::<PoolList>("/v1/pools", "pools", "The address pools with their usage.", |_| Ok(Request::Pools)),
        Route::get::<RadiusList>(
            "/v1/radius",
            "radius",
            "The RADIUS servers, how they stand, and the certificates they show to EAP clients.",
            |_| Ok(Request::Radius),
        ),
        Route::get::<PolicyList>("/v1/policies", "policies", "The network policies, in their order.", |_| Ok(Request::Policies)),
        Route::order::<PolicyQuestion, PolicyVerdict>(
            "/v1/policies/test",
            "testPolicies",
            "What the policies say to a login that the body describes: who decides, and of each policy tried the first condition that fails.",
            |input| input.body().map(Request::PolicyTest),
        )
        .that_only_reads(),
        Route::get::<Shown>(
            "/v1/configuration",
            "configuration",
            "What the configuration says that was applied last, and where each value stands. Of files with secrets only the path is known.",
            |_| Ok(Request::Configuration),
        ),
        Route::get::<Reloaded>(
            "/v1/configuration/changes",
            "configurationChanges",
            "What a reload would come to: what the files say otherwise than what runs, what needs a restart, and which sessions would be refused.",
            |_| Ok(Request::Changes),
        ),
        Route::get::<certificates::Report>(
            "/v1/certificates",
            "certificates",
            "The certificates, and which client gets which and why.",
            |_| Ok(Request::Certificates),
        ),
    ]
}

fn about_clients() -> Vec<Route> {
    vec![
        Route::get::<SessionList>("/v1/sessions", "sessions", "Established sessions, in the order of their numbers.", |input| {
            input.query().map(Request::Sessions)
        })
        .query::<SessionsQuery>(),
        Route::get::<JudgedList>(
            "/v1/sessions/would-refuse",
            "judgedSessions",
            "The sessions to which the policies would not say today what they said: they would refuse them, or give them something else.",
            |_| Ok(Request::Judge),
        ),
        Route::get::<Session>("/v1/sessions/{id}", "session", "One session, by its number.", |input| {
            Ok(Request::Session { id: input.id()? })
        })
        .id::<u64>(),
        Route::get::<AttemptList>("/v1/attempts", "attempts", "Login attempts, newest first.", |input| {
            input.query().map(Request::Attempts)
        })
        .query::<AttemptsQuery>(),
        Route::get::<AttemptDetail>("/v1/attempts/{id}", "attempt", "One attempt with its timeline.", |input| {
            Ok(Request::Attempt { id: input.id()? })
        })
        .id::<String>(),
        Route::get::<Explanation>("/v1/explain", "explain", "What became of a login, why, and what to do about it.", |input| {
            input.query().map(Request::Explain)
        })
        .query::<ExplainQuery>(),
        Route::stream::<Event>(
            "/v1/events",
            "events",
            "What happens from now on: sessions that come and go, attempts that end, and the counters each second.",
            |_, feed| Ok(Request::Events { feed }),
        ),
        Route::stream::<trace::Event>(
            "/v1/trace",
            "trace",
            "One client's packets, decoded, and what the gateway makes of them, from now on. Secrets are withheld. The log says that somebody traces, and whom.",
            |input, feed| Ok(Request::Trace { query: input.query()?, feed }),
        )
        .query::<TraceQuery>()
        .for_operators(),
    ]
}

fn orders() -> Vec<Route> {
    vec![
        Route::order::<Disconnect, Disconnected>("/v1/sessions/disconnect", "disconnect", "Ends a session, or all of a user.", |input| {
            input.body().map(Request::Disconnect)
        }),
        Route::get::<BlockList>("/v1/blocks", "blocks", "Who is kept out by hand.", |_| Ok(Request::Blocks)),
        Route::order::<BlockOrder, Block>(
            "/v1/blocks",
            "block",
            "Keeps somebody out, whatever RADIUS and policies say. Who is on the list already gets the new time and reason.",
            |input| input.body().map(Request::Block),
        ),
        Route::delete::<Block>("/v1/blocks/{id}", "unblock", "Takes an entry off the block list.", |input| {
            Ok(Request::Unblock { id: input.id()? })
        })
        .id::<u64>(),
        Route::order::<Reload, Reloaded>(
            "/v1/configuration/reload",
            "reload",
            "Reads the configuration again and applies what a running gateway can take, all or nothing. No session ends unless that is asked for.",
            |input| input.body().map(Request::Reload),
        ),
        Route::order::<Drain, DrainStatus>("/v1/drain", "drain", "Empties the gateway before maintenance.", |input| {
            input.body().map(Request::Drain)
        }),
        Route::delete::<Done>("/v1/drain", "cancelDrain", "Takes clients again.", |_| Ok(Request::CancelDrain)),
    ]
}
