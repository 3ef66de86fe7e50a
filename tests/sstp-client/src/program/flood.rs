//! Many connections that stop half-way.

use serde::Serialize;
use sstp_client::call::Call;
use sstp_client::error::{Error, Result};
use sstp_client::transport::{Received, Transport, client_hello};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::options::{Flood, StopAt};
use crate::print;

/// What became of them.
#[derive(Debug, Default, Serialize)]
struct Report {
    event: &'static str,
    count: u32,
    /// Connections that came as far as they should.
    reached: u32,
    /// Connections that the server refused before that: cause -> how many.
    refused: BTreeMap<String, u32>,
    /// Connections that the server closed while they were watched.
    closed: u32,
    /// Milliseconds from the stop to the first and to the last of those ends.
    first_closed_ms: Option<f64>,
    last_closed_ms: Option<f64>,
    /// Connections that are still open.
    open: u32,
}

pub(crate) fn run(options: &Flood, json: bool) -> Result<()> {
    let mut report = Report { event: "flood", count: options.count, ..Report::default() };
    let mut stopped = Vec::new();
    for number in 0..options.count {
        match reach(options, number) {
            Ok(one) => stopped.push(one),
            Err(error) => *report.refused.entry(error.to_string()).or_default() += 1,
        }
    }
    report.reached = stopped.len() as u32;
    watch(stopped, Duration::from_secs_f64(options.watch), &mut report);
    print(json, &report, || format!("{report:#?}"))
}

fn reach(options: &Flood, number: u32) -> Result<Transport> {
    let login = options.login.options(number);
    let raw = |bytes: &[u8]| {
        let mut transport = Transport::connect_tcp(&login.transport)?;
        transport.socket.write_all(bytes).map_err(|error| Error::Setup(error.to_string()))?;
        Ok(transport)
    };
    match options.stop_at {
        StopAt::Tcp => return raw(&[]),
        StopAt::HalfHello => return raw(&client_hello(&login.transport.server_name)?[..40]),
        StopAt::Hello => return raw(&client_hello(&login.transport.server_name)?),
        _ => {}
    }
    let mut call = Call::connect(&login)?;
    if options.stop_at != StopAt::Tls {
        call.open_http()?;
    }
    if matches!(options.stop_at, StopAt::Request | StopAt::Auth) {
        call.request()?;
    }
    if options.stop_at == StopAt::Auth {
        call.authenticate()?;
    }
    Ok(call.transport)
}

fn watch(mut stopped: Vec<Transport>, time: Duration, report: &mut Report) {
    let started = Instant::now();
    while started.elapsed() < time && !stopped.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        stopped.retain_mut(|one| {
            if !ended(one) {
                return true;
            }
            let now = (started.elapsed().as_secs_f64() * 1e4).round() / 10.0;
            report.closed += 1;
            report.first_closed_ms.get_or_insert(now);
            report.last_closed_ms = Some(now);
            false
        });
    }
    report.open = stopped.len() as u32;
}

/// Looks at the connection without answering what came.
fn ended(one: &mut Transport) -> bool {
    let soon = Instant::now() + Duration::from_micros(100);
    matches!(one.receive(soon), Ok(Received::Closed(_)) | Err(_))
}
