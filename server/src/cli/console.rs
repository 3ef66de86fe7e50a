//! `evergate console`: the web console for whoever may talk to the control socket.
use super::args::ConsoleArgs;
use super::audience::Audience;
use super::text::{Mark, Style};
use super::{Cli, FAILED, OK, Unanswered, control_socket};
use crate::api::{self, Call, Relay, types::Health};
use crypto::{Random as _, SystemRandom};
use std::io::{Result, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until it is told to end; returns the exit code.
pub(super) fn console(cli: &Cli, args: &ConsoleArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let socket = match socket_of_gateway(cli) {
        Ok(socket) => socket,
        Err(unanswered) => return unanswered.tell(err),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await {
            Ok(listener) => listener,
            Err(error) => {
                writeln!(err, "error: cannot listen on 127.0.0.1:{}: {error}; choose another --port, or none", args.port)?;
                return Ok(FAILED);
            }
        };
        let (address, key) = (listener.local_addr()?, key());
        tell(cli, address, &key, style, out)?;
        // The last comes when the terminal goes, of `ssh` too; without one, whoever reads has gone then.
        let [mut interrupt, mut terminate, mut hangup] =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        tokio::select! {
            () = Relay::new(socket, address, &key).serve(listener) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = Audience::of_process().gone() => {}
        }
        Ok(OK)
    })
}

/// Where the gateway is that answers.
fn socket_of_gateway(cli: &Cli) -> std::result::Result<PathBuf, Unanswered> {
    let socket = control_socket(cli).map_err(Unanswered::Unknown)?;
    api::ask::<Health>(&socket, &Call::get("/healthz"))?;
    Ok(socket)
}

/// For this run alone; after the `#` of an address it stays in the browser.
fn key() -> String {
    let mut bytes = [0; 24];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tell(cli: &Cli, address: SocketAddr, key: &str, style: Style, out: &mut dyn Write) -> Result<()> {
    let url = format!("http://{address}/#key={key}");
    if cli.json {
        writeln!(out, "{}", serde_json::json!({ "url": url }))?;
    } else {
        writeln!(out, "{}", style.mark(Mark::Heading, "The console is at"))?;
        writeln!(out, "  {url}")?;
        writeln!(out, "for a browser on this host, until Ctrl-C. Whoever has the address may do everything: it ends with this command.")?;
        let port = address.port();
        writeln!(out, "From elsewhere: ssh -L {port}:127.0.0.1:{port} this host, and then the same address. In one command:")?;
        writeln!(out, "  ssh -t -L {port}:127.0.0.1:{port} this host evergate console --port {port}")?;
    }
    out.flush()
}
