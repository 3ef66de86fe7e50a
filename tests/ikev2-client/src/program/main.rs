//! `ikev2-client`: a PC or a phone with its IKEv2 tunnels, as a script wants it. One JSON object a line on standard input is a step, one on
//! standard output what came of it.
#![forbid(unsafe_code)]

mod device;
mod inner;
mod open;
mod step;
mod wire;

use clap::Parser as _;
use device::Device;
use std::io::{BufRead as _, Write as _};

fn main() -> anyhow::Result<()> {
    let mut device = Device::new(open::Options::parse());
    for line in std::io::stdin().lock().lines() {
        let step: step::Step = serde_json::from_str(&line?)?;
        let outcome = device.step(step)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{outcome}")?;
        out.flush()?;
    }
    Ok(())
}
