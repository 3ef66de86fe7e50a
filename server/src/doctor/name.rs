//! The name that clients dial, and the certificates that they are shown.
use super::Finding;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Days before the end of a certificate from which on it is worth a warning.
const SOON: i64 = 30;
const DAY: i64 = 86_400;

/// Names that are looked up at most.
const LOOKED_UP: usize = 32;

/// What clients dial.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// Each once, the gateway's own in front.
    pub(super) looked_up: Vec<&'a str>,
    /// Of those that cannot be, or are too many.
    pub(super) others: Vec<Finding>,
}

/// `server`: `server.name`. Addresses need no look-up, and of a pattern nobody knows here which names below it are dialled.
pub(super) fn sort<'a>(server: &'a str, of_certificates: impl Iterator<Item = &'a str>) -> Names<'a> {
    let (mut looked_up, mut others): (Vec<&str>, Vec<Finding>) = (vec![server], Vec::new());
    let (mut patterns, mut too_many) = (BTreeSet::new(), BTreeSet::new());
    for name in of_certificates.filter(|name| name.parse::<IpAddr>().is_err()) {
        if name.starts_with("*.") {
            patterns.insert(name);
            continue;
        }
        if looked_up.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        if looked_up.len() < LOOKED_UP {
            looked_up.push(name);
        } else {
            too_many.insert(name);
        }
    }
    for pattern in patterns {
        others.push(Finding::ok("name", format!("{pattern} stands for many names: those that clients dial were not looked up")));
    }
    if !too_many.is_empty() {
        others.push(Finding::ok("name", format!("{} further names of certificates were not looked up", too_many.len())));
    }
    Names { looked_up, others }
}

#[derive(Debug, Clone)]
pub(super) struct Dialled<'a> {
    pub(super) name: &'a str,
    /// What it resolves to here, or why it does not.
    pub(super) found: Result<Vec<IpAddr>, String>,
    /// Addresses of this host.
    pub(super) local: &'a [IpAddr],
}

pub(super) fn dialled(dialled: &Dialled<'_>) -> Finding {
    let name = dialled.name;
    let found = match &dialled.found {
        Ok(found) => found,
        Err(reason) => {
            return Finding::warn(
                "name",
                format!("{name} cannot be resolved here: {reason}"),
                "clients must be able to (Windows shows error 868): add an A or AAAA record with the address that they reach",
            );
        }
    };
    let listed = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if found.iter().any(|address| address.is_loopback()) {
        return Finding::warn(
            "name",
            format!("{name} resolves to {listed} here, which is this host to itself alone"),
            format!("that comes from /etc/hosts; ask as clients do: dig {name} @9.9.9.9"),
        );
    }
    if found.iter().any(|address| dialled.local.contains(address)) {
        return Finding::ok("name", format!("{name} resolves to {listed}, of this host"));
    }
    Finding::warn(
        "name",
        format!("{name} resolves to {listed}, which is no address of this host"),
        "right behind a NAT or balancer, which must pass udp/500, udp/4500 and the TCP port on to this host; else correct the DNS record",
    )
}

/// A configured certificate.
#[derive(Debug, Clone)]
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) made_out_to: Vec<String>,
    /// Unix time.
    pub(super) not_after: i64,
}

/// What else is wrong with it, the configuration has refused or warned of.
pub(super) fn certificate(shown: &Shown<'_>, now: i64) -> Finding {
    let days = (shown.not_after - now).div_euclid(DAY);
    let text = format!("{:?} for {} ends in {days} days", shown.name, shown.made_out_to.join(", "));
    if days < SOON {
        return Finding::warn("certificate", text, "renew it; the files are watched, so that replacing them is enough");
    }
    Finding::ok("certificate", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};

    #[test]
    fn the_name_leads_here_or_somewhere() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let local = [address("198.51.100.2")];
        let judge = |found: Result<Vec<IpAddr>, String>| dialled(&Dialled { name: "vpn.example.com", found, local: &local });
        assert_eq!(judge(Ok(vec![local[0]])).level, Level::Ok);
        let elsewhere = judge(Ok(vec![address("203.0.113.9")]));
        assert!(elsewhere.level == Level::Warn && elsewhere.text.contains("no address of this host"), "{elsewhere:?}");
        assert!(judge(Ok(vec![address("127.0.1.1")])).remedy.unwrap().contains("/etc/hosts"));
        assert!(judge(Err("no such name".into())).remedy.unwrap().contains("868"));
    }

    #[test]
    fn names_of_all_certificates_are_looked_up_once() {
        let named = ["VPN.example.com", "vpn.tenant.example", "*.tenant.example", "192.0.2.1", "vpn.tenant.example"];
        let names = sort("vpn.example.com", named.into_iter());
        assert_eq!(names.looked_up, ["vpn.example.com", "vpn.tenant.example"]);
        assert!(only(&names.others).text.starts_with("*.tenant.example stands for many names"), "{names:?}");
        let many: Vec<_> = (0..LOOKED_UP + 1).map(|number| format!("n{number}.example")).collect();
        let names = sort("vpn.example.com", many.iter().map(String::as_str));
        assert_eq!(
            (names.looked_up.len(), only(&names.others).text.as_str()),
            (LOOKED_UP, "2 further names of certificates were not looked up")
        );
    }

    #[test]
    fn a_certificate_is_renewed_in_time() {
        let shown = Shown { name: "main", made_out_to: vec!["vpn.example.com".into()], not_after: 100 * DAY };
        assert_eq!(certificate(&shown, 0), Finding::ok("certificate", "\"main\" for vpn.example.com ends in 100 days"));
        assert_eq!(certificate(&shown, 71 * DAY).level, Level::Warn);
        assert_eq!(certificate(&shown, 70 * DAY).level, Level::Ok);
    }
}
