//! TUN packets through TLS alone: what this machine can do at most, with the same library, the same device and the same loop.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Connection, ServerConfig, ServerConnection};
use serde::Serialize;
use sstp_client::bare::Lengths;
use sstp_client::data::{Counters, Engine};
use sstp_client::error::{Closed, Error, Result};
use sstp_client::transport::{self, ProxyHeader, Transport, Versions, provider};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::options::{BareClient, BareServer, Device};
use crate::{device, print, print_json};

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    device: &'a str,
    cipher: String,
    counters: Counters,
    cpu_seconds: f64,
}

pub(crate) fn serve(options: &BareServer, json: bool) -> Result<()> {
    let config = Arc::new(server_config(options)?);
    let listener = TcpListener::bind(options.listen).map_err(|error| Error::Setup(format!("{}: {error}", options.listen)))?;
    let device = device::make(&options.device.tun, options.device.mtu, &[options.device.address], &options.device.route)?;
    print_json(&serde_json::json!({"event": "listening", "device": device.name}))?;
    let failed = |error: std::io::Error| Error::Setup(format!("cannot accept: {error}"));
    let (mut socket, _) = listener.accept().map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let mut tls = ServerConnection::new(config)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).map_err(failed)?;
    }
    carry(&socket, &mut tls.into(), &device, &options.device, json)
}

pub(crate) fn connect(options: &BareClient, json: bool) -> Result<()> {
    let mut transport = Transport::connect(&transport::Options {
        server: options.server,
        server_name: options.server_name.clone(),
        ca: Some(options.ca.clone()),
        sni: true,
        versions: Versions::Both,
        ciphers: options.device.cipher,
        alpn: false,
        plain: false,
        proxy: ProxyHeader::Off,
        proxy_source: None,
        timeout: Duration::from_secs(10),
    })?;
    let device = device::make(&options.device.tun, options.device.mtu, &[options.device.address], &options.device.route)?;
    let Some(tls) = &mut transport.tls else { return Err(Error::Setup("no TLS".into())) };
    carry(&transport.socket, tls, &device, &options.device, json)
}

fn server_config(options: &BareServer) -> Result<ServerConfig> {
    let wrong = |file: &std::path::Path, error: &dyn std::fmt::Display| Error::Setup(format!("{}: {error}", file.display()));
    let chain = CertificateDer::pem_file_iter(&options.cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| wrong(&options.cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|error| wrong(&options.key, &error))?;
    let builder = ServerConfig::builder_with_provider(provider(options.device.cipher)).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}

fn carry(socket: &TcpStream, tls: &mut Connection, device: &net::tun::TunDevice, options: &Device, json: bool) -> Result<()> {
    let cipher = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let report = |event, counters| {
        let cpu_seconds = net::thread::thread_cpu_time().map_or(0.0, |time| time.as_secs_f64());
        let line = Line { event, device: &device.name, cipher: cipher.clone(), counters, cpu_seconds };
        print(json, &line, || format!("{event} {} {cipher} {counters:?}", device.name))
    };
    report("up", Counters::default())?;
    let (stop, deadline) = device::until(options.seconds)?;
    let mut engine = Engine::new(socket, Some(tls), &device.queues[0], Lengths(options.unit), options.fill, &[])?;
    match engine.run(&stop, deadline) {
        Ok(()) | Err(Error::Closed { how: Closed::Fin | Closed::CloseNotify | Closed::Reset, .. }) => report("end", engine.counters),
        Err(error) => Err(error),
    }
}
