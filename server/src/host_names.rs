//! Names of RADIUS servers, looked up again from time to time.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The system's resolver tells no time to live.
const INTERVAL: Duration = Duration::from_secs(300);

/// Names with the addresses that they stand for.
pub type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// Looks names up in a task that ends with it.
#[derive(Debug)]
pub struct HostNames {
    names: watch::Sender<BTreeSet<String>>,
}

impl HostNames {
    /// Tells what each name stands for, every five minutes.
    pub fn start(names: BTreeSet<String>) -> (Self, mpsc::Receiver<Addresses>) {
        let (names, watched) = watch::channel(names);
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(run(watched, tell));
        (Self { names }, told)
    }

    /// Other names from now on.
    pub fn set(&self, names: BTreeSet<String>) {
        self.names.send_replace(names);
    }
}

async fn run(names: watch::Receiver<BTreeSet<String>>, tell: mpsc::Sender<Addresses>) {
    let mut unknown = BTreeSet::new();
    while names.has_changed().is_ok() {
        tokio::time::sleep(INTERVAL).await;
        let wanted = names.borrow().clone();
        let mut found = Addresses::new();
        for name in wanted {
            let addresses: std::io::Result<Vec<_>> = tokio::net::lookup_host((name.as_str(), 0)).await.map(Iterator::collect);
            match addresses {
                Ok(addresses) => {
                    unknown.remove(&name);
                    found.insert(name, addresses.iter().map(SocketAddr::ip).collect());
                }
                Err(error) if unknown.insert(name.clone()) => {
                    tracing::warn!(name, %error, "the name of a RADIUS server cannot be resolved; its last address is used until it can");
                }
                Err(_) => {}
            }
        }
        if !found.is_empty() && tell.send(found).await.is_err() {
            return;
        }
    }
}

/// The address to use from now on: the one in use while the name stands for it, else the first of the family of `source`; `None`: no such
/// address, or nothing new.
pub fn other_address(used: IpAddr, source: Option<IpAddr>, found: &[IpAddr]) -> Option<IpAddr> {
    if found.contains(&used) {
        return None;
    }
    found.iter().copied().find(|address| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_while_its_name_stands_for_it() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, two, six) = (address("192.0.2.1"), address("192.0.2.2"), address("2001:db8::1"));
        assert_eq!(other_address(one, None, &[two, one]), None, "the order of answers rotates");
        assert_eq!(other_address(one, None, &[six, two]), Some(six));
        assert_eq!(other_address(one, Some(two), &[six, two]), Some(two));
        assert_eq!(other_address(one, Some(two), &[six]), None);
        assert_eq!(other_address(one, None, &[]), None);
    }
}
