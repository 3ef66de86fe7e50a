//! The name that clients dial, and the certificates that they are shown.
use super::Finding;
use std::net::IpAddr;

/// Days before the end of a certificate from which on it is worth a warning.
const SOON: i64 = 30;
const DAY: i64 = 86_400;

#[derive(Debug, Clone)]
pub(super) struct Dialled<'a> {
    /// `server.name`
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
    use crate::doctor::Level;

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
    fn a_certificate_is_renewed_in_time() {
        let shown = Shown { name: "main", made_out_to: vec!["vpn.example.com".into()], not_after: 100 * DAY };
        assert_eq!(certificate(&shown, 0), Finding::ok("certificate", "\"main\" for vpn.example.com ends in 100 days"));
        assert_eq!(certificate(&shown, 71 * DAY).level, Level::Warn);
        assert_eq!(certificate(&shown, 70 * DAY).level, Level::Ok);
    }
}
