//! The command line, and a tunnel as a step describes it.
use crate::step::Open;
use anyhow::{Context as _, bail};
use clap::Parser;
use crypto::{Random as _, SystemRandom};
use ikev2_client::{Client, Maker, Profile};
use peers::EapPeer;
use pki::Credential;
use std::net::IpAddr;
use std::path::PathBuf;

/// IKEv2 as Windows, Apple and Android speak it, by a script on standard input.
#[derive(Debug, Parser)]
#[command(name = "ikev2-client")]
pub(crate) struct Options {
    /// Address of the gateway.
    #[arg(long)]
    pub(crate) server: IpAddr,
    /// Address of this device.
    #[arg(long)]
    pub(crate) local: IpAddr,
}

pub(crate) fn client(options: &Options, open: &Open, number: u16) -> anyhow::Result<Client> {
    let missing = || format!("there is no profile {}, but {}", open.profile, Profile::NAMES.join(", "));
    let mut profile = Profile::named(&open.profile).with_context(missing)?;
    if profile.maker == Maker::Windows {
        profile.authorities = open.authorities;
    }
    let mut client = Client::new(profile, std::net::Ipv4Addr::UNSPECIFIED, options.server, number).direct(options.local);
    client.reseed(seed());
    client.user.clone_from(&open.user);
    client.first_contact = open.first_contact;
    client.identity_address = open.inside.unwrap_or(options.local);
    client.method = open.method;
    client.unknown_payload = open.unknown_payload;
    client.wrong_auth = open.wrong_auth;
    client.mobike = open.mobike;
    client.profile.retries = open.retries.unwrap_or(client.profile.retries);
    client.profile.max_message = open.longest.unwrap_or(client.profile.max_message);
    match (&open.cert, &open.key) {
        (Some(cert), Some(key)) => client.certificate = Some(Credential::from_pem(&read(cert)?, &read(key)?)?),
        (None, None) => client.peer = Some(EapPeer::new(&open.user, &open.password, Box::new(SystemRandom))),
        _ => bail!("a certificate needs its key"),
    }
    Ok(client)
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
