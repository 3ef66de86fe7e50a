//! The TUN device of a call, and what ends a wait.

use net::link::{Netlink, Prefix, Route};
use net::tun::{TunDevice, open};
use sstp_client::data::Stop;
use sstp_client::error::{Error, Result};
use std::io::Read as _;
use std::time::{Duration, Instant};

/// Makes a device with these addresses and routes; routes to a family without an address are left out.
pub(crate) fn make(name: &str, mtu: u32, addresses: &[Prefix], routes: &[Prefix]) -> Result<TunDevice> {
    let device = open(name, 1).map_err(|error| Error::Setup(error.to_string()))?;
    let failed = |what: String| move |error: std::io::Error| Error::Setup(format!("{what}: {error}"));
    let mut link = Netlink::open().map_err(failed("netlink".into()))?;
    link.set_mtu(device.index, mtu).map_err(failed(format!("MTU of {}", device.name)))?;
    link.set_up(device.index).map_err(failed(format!("{} up", device.name)))?;
    for address in addresses {
        link.add_address(device.index, *address).map_err(failed(format!("address {address}")))?;
    }
    for destination in routes {
        let source = addresses.iter().map(|prefix| prefix.address).find(|own| own.is_ipv4() == destination.address.is_ipv4());
        if source.is_none() {
            continue;
        }
        let route = Route { destination: *destination, device: device.index, gateway: None, source, metric: None };
        link.replace_route(&route).map_err(failed(format!("route {destination}")))?;
    }
    Ok(device)
}

/// What ends holding: a moment, or the end of standard input.
pub(crate) fn until(seconds: Option<f64>) -> Result<(Stop, Option<Instant>)> {
    let stop = Stop::new().map_err(|error| Error::Setup(error.to_string()))?;
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    if deadline.is_none() {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while std::io::stdin().lock().read(&mut buffer).is_ok_and(|read| read > 0) {}
            stop.stop();
        });
    }
    Ok((stop, deadline))
}
