//! Rules of nftables that keep clients from our ports, or their packets from the LAN.
use super::Finding;
use super::rules::{Fate, Packet, Ruleset};
use super::sockets::{Transport, Wanted};
use serde_json::Value;

const CHECK: &str = "firewall";

/// What `nft -j list ruleset` said.
#[derive(Debug, Clone)]
pub(super) enum Firewall {
    /// There is no such program.
    NoProgram,
    Refused(String),
    Answer(Value),
}

/// What the firewall must let pass.
#[derive(Debug, Clone)]
pub(super) struct Needs<'a> {
    pub(super) sockets: &'a [Wanted],
    /// Plain ESP, of clients without a NAT.
    pub(super) esp: bool,
    /// Interfaces that clients come in through.
    pub(super) outer: &'a [String],
    pub(super) tun: &'a str,
}

/// `legacy`: tables of iptables-legacy, which nft does not list.
pub(super) fn judge(firewall: &Firewall, legacy: &[String], needs: &Needs<'_>) -> Vec<Finding> {
    let mut findings = match firewall {
        Firewall::NoProgram => vec![Finding::warn(
            CHECK,
            "the program nft is not here: rules of nftables were not looked at",
            "apt install nftables, or look with the tools of your firewall whether udp/500, udp/4500 and tcp/443 are let in",
        )],
        Firewall::Refused(reason) => {
            vec![Finding::warn(CHECK, format!("the rules of nftables cannot be read: {reason}"), "run this as root (CAP_NET_ADMIN)")]
        }
        Firewall::Answer(answer) => match Ruleset::new(answer) {
            Some(rules) => judge_rules(&rules, needs),
            None => vec![Finding::warn(CHECK, "the answer of nft is not understood", "look at `nft list ruleset` yourself")],
        },
    };
    if !legacy.is_empty() {
        findings.push(Finding::warn(
            CHECK,
            format!("iptables-legacy has tables here ({}), which were not looked at", legacy.join(", ")),
            "see `iptables-legacy-save` for rules about our ports",
        ));
    }
    findings
}

/// What keeps clients from our ports; nothing where the rules cannot be read.
pub(super) fn of_ports(firewall: &Firewall, needs: &Needs<'_>) -> Vec<Finding> {
    let Firewall::Answer(answer) = firewall else { return Vec::new() };
    Ruleset::new(answer).map(|rules| judge_ports(&rules, needs)).unwrap_or_default()
}

fn judge_ports(rules: &Ruleset<'_>, needs: &Needs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked_at: Vec<(Transport, u16, bool)> = Vec::new();
    for wanted in needs.sockets.iter().filter(|wanted| wanted.listed) {
        let key = (wanted.transport, wanted.address.port(), wanted.address.is_ipv6());
        if looked_at.contains(&key) {
            continue;
        }
        looked_at.push(key);
        let what = format!("{}/{} over {}", wanted.transport.word(), key.1, if key.2 { "IPv6" } else { "IPv4" });
        let packet = Packet { protocol: Some(wanted.transport.word()), port: Some(key.1), ipv6: key.2, interface: None };
        findings.extend(inbound(rules, needs, packet).and_then(|fate| about_port(&what, wanted, &fate)));
    }
    findings
}

fn judge_rules(rules: &Ruleset<'_>, needs: &Needs<'_>) -> Vec<Finding> {
    let mut findings = judge_ports(rules, needs);
    if needs.esp {
        findings.extend([false, true].into_iter().filter_map(|ipv6| about_esp(rules, needs, ipv6)));
    }
    findings.extend([false, true].into_iter().filter_map(|ipv6| about_forwarding(rules, needs, ipv6)));
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no rule of nftables stops clients, or their packets from here on"));
    }
    findings
}

/// The worst fate over the interfaces and hooks; `None`: it passes.
fn inbound(rules: &Ruleset<'_>, needs: &Needs<'_>, packet: Packet<'_>) -> Option<Fate> {
    let interfaces = if needs.outer.is_empty() { vec![None] } else { needs.outer.iter().map(|name| Some(name.as_str())).collect() };
    let fates =
        interfaces.into_iter().flat_map(|interface| ["prerouting", "input"].map(|hook| rules.fate(&Packet { interface, ..packet }, hook)));
    let fates: Vec<_> = fates.filter(|fate| *fate != Fate::Passes).collect();
    let certain = fates.iter().position(|fate| !matches!(fate, Fate::Sometimes { .. })).unwrap_or(0);
    fates.into_iter().nth(certain)
}

fn about_port(what: &str, wanted: &Wanted, fate: &Fate) -> Option<Finding> {
    let (protocol, port) = (wanted.transport.word(), wanted.address.port());
    let code = match wanted.transport {
        Transport::Udp => "Windows shows error 809",
        Transport::Tcp => "Windows shows 0x8007274C or 0x80072746",
    };
    match fate {
        Fate::Passes => None,
        Fate::Dropped { chain, by } => Some(Finding::fail(
            CHECK,
            format!("{what} is dropped in {chain} by {by}: {code}"),
            let_in(chain, by, protocol, port, wanted.address.is_ipv6()),
        )),
        Fate::Redirected { chain, by } => Some(Finding::fail(
            CHECK,
            format!("{what} is sent elsewhere in {chain} by {by}: it does not reach the gateway"),
            format!(
                "take that rule out where it was made (`nft delete rule {} handle N` lasts until the next boot), or leave this port out of it",
                place(chain)
            ),
        )),
        Fate::Sometimes { chain, by } => Some(Finding::warn(
            CHECK,
            format!("{what} passes {chain} for some clients only: {by} depends on addresses, rates or marks"),
            "see that rule in `nft -a list ruleset`",
        )),
    }
}

fn about_esp(rules: &Ruleset<'_>, needs: &Needs<'_>, ipv6: bool) -> Option<Finding> {
    let serves = needs.sockets.iter().any(|wanted| wanted.transport == Transport::Udp && wanted.address.is_ipv6() == ipv6);
    let packet = Packet { protocol: Some("esp"), port: None, ipv6, interface: None };
    let Fate::Dropped { chain, by } = inbound(rules, needs, packet).filter(|_| serves)? else { return None };
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    Some(Finding::warn(
        CHECK,
        format!("ESP (IP protocol 50) over {family} is dropped in {chain} by {by}: clients without a NAT connect, and nothing passes"),
        format!("nft insert rule {} meta l4proto esp accept; {LASTING}, firewall-cmd --permanent --add-protocol=esp", place(&chain)),
    ))
}

fn about_forwarding(rules: &Ruleset<'_>, needs: &Needs<'_>, ipv6: bool) -> Option<Finding> {
    let packet = Packet { protocol: None, port: None, ipv6, interface: Some(needs.tun) };
    let (tun, family) = (needs.tun, if ipv6 { "IPv6" } else { "IPv4" });
    let remedy = |chain: &str| {
        let rules = format!(
            "nft insert rule {0} iifname {tun:?} accept; nft insert rule {0} oifname {tun:?} ct state established,related accept",
            place(chain)
        );
        format!("{rules}; {LASTING}, ufw route allow in on {tun}, firewall-cmd --permanent --zone=trusted --add-interface={tun}")
    };
    match rules.fate(&packet, "forward") {
        Fate::Passes | Fate::Redirected { .. } => None,
        Fate::Dropped { chain, by } => Some(Finding::fail(
            CHECK,
            format!("{family} packets of clients are dropped in {chain} by {by}: they connect, and reach nothing behind the gateway"),
            remedy(&chain),
        )),
        Fate::Sometimes { chain, by } => Some(Finding::warn(
            CHECK,
            format!("{family} packets of clients pass {chain} in part only: {by} may stop others, by addresses, ports, rates or marks"),
            format!("right if they are not to reach more; else: {}", remedy(&chain)),
        )),
    }
}

/// What lasts, after what to do now.
const LASTING: &str =
    "this lasts until the next boot: write it where your rules come from, too: /etc/nftables.conf, netfilter-persistent save";

/// How a port is let in before what drops it.
fn let_in(chain: &str, by: &str, protocol: &str, port: u16, ipv6: bool) -> String {
    let place = place(chain);
    let now = match place.split(' ').collect::<Vec<_>>()[..] {
        // Such names have tables and chains of iptables alone.
        ["ip" | "ip6", table @ ("filter" | "mangle" | "raw" | "nat"), chain] if chain.chars().all(|letter| letter.is_ascii_uppercase()) => {
            let program = if ipv6 { "ip6tables" } else { "iptables" };
            format!("{program} -t {table} -I {chain} -p {protocol} --dport {port} -j ACCEPT")
        }
        _ => format!("nft insert rule {place} {protocol} dport {port} accept"),
    };
    let whole = if by == super::rules::POLICY { "" } else { " (to take that rule out may open other ports, too)" };
    format!(
        "let it in before that: {now}{whole}; {LASTING}, ufw allow {port}/{protocol}, firewall-cmd --permanent --add-port={port}/{protocol}"
    )
}

/// `inet filter input` of `chain inet filter input`.
fn place(chain: &str) -> &str {
    chain.strip_prefix("chain ").unwrap_or(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Level, only};
    use serde_json::json;

    fn sockets() -> [Wanted; 2] {
        let wanted = |transport, address: &str| Wanted { transport, address: address.parse().unwrap(), listed: true };
        [wanted(Transport::Udp, "0.0.0.0:4500"), wanted(Transport::Tcp, "0.0.0.0:443")]
    }

    fn found(hook: &str, policy: &str, expr: &Value) -> Vec<Finding> {
        let answer = json!({"nftables": [
            {"chain": {"family": "inet", "table": "t", "name": "c", "hook": hook, "prio": 0, "policy": policy}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 3, "expr": expr}},
        ]});
        let needs = Needs { sockets: &sockets(), esp: true, outer: &["eth0".into()], tun: "evergate0" };
        judge(&Firewall::Answer(answer), &[], &needs)
    }

    fn port(protocol: &str, port: u16) -> Value {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": port}})
    }

    #[test]
    fn each_fate_has_its_remedy() {
        let drop = found("input", "accept", &json!([port("udp", 4500), {"drop": null}]));
        let drop = only(&drop);
        assert_eq!(drop.level, Level::Fail);
        assert_eq!(drop.text, "udp/4500 over IPv4 is dropped in chain inet t c by rule with handle 3: Windows shows error 809");
        assert!(drop.remedy.as_ref().unwrap().contains("nft insert rule inet t c udp dport 4500 accept"));
        let redirect = found("prerouting", "accept", &json!([port("tcp", 443), {"redirect": {"port": 8443}}]));
        assert!(only(&redirect).text.contains("tcp/443 over IPv4 is sent elsewhere"), "{redirect:?}");
        assert_eq!(only(&found("input", "accept", &json!([port("udp", 53), {"drop": null}]))).level, Level::Ok);
        let forward = found(
            "forward",
            "drop",
            &json!([{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lan0"}}, {"accept": null}]),
        );
        assert!(forward.iter().all(|finding| finding.level == Level::Fail && finding.remedy.as_ref().unwrap().contains("evergate0")));
        let esp = found(
            "input",
            "accept",
            &json!([{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "esp"}}, {"drop": null}]),
        );
        assert!(only(&esp).text.starts_with("ESP (IP protocol 50) over IPv4"), "{esp:?}");
        let limited = found("input", "accept", &json!([port("udp", 4500), {"limit": {"rate": 5}}, {"drop": null}]));
        assert_eq!(only(&limited).level, Level::Warn);
    }

    #[test]
    fn a_remedy_is_whole_and_lasts() {
        let by = "rule with handle 3 (meta l4proto udp drop)";
        let native = let_in("chain inet t c", by, "udp", 4500, false);
        assert!(native.contains("nft insert rule inet t c udp dport 4500 accept (to take that rule out may open other ports"), "{native}");
        assert!(native.contains("/etc/nftables.conf") && native.contains("ufw allow 4500/udp"), "{native}");
        let policy = let_in("chain ip6 filter INPUT", crate::doctor::rules::POLICY, "tcp", 443, true);
        assert!(policy.contains("ip6tables -t filter -I INPUT -p tcp --dport 443 -j ACCEPT;"), "{policy}");
    }

    #[test]
    fn a_forward_chain_that_passes_some_is_told() {
        let some = json!([{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.9.0.1"}}, {"drop": null}]);
        let some = found("forward", "accept", &some);
        assert!(
            only(&some).level == Level::Warn && only(&some).text.starts_with("IPv4 packets of clients pass chain inet t c in part"),
            "{some:?}"
        );
    }

    #[test]
    fn of_the_ports_alone_nothing_else_is_told() {
        let answer = json!({"nftables": [
            {"chain": {"family": "inet", "table": "t", "name": "f", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "inet", "table": "t", "name": "c", "hook": "input", "prio": 0, "policy": "accept"}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 3, "expr": [port("udp", 4500), {"drop": null}]}},
        ]});
        let needs = Needs { sockets: &sockets(), esp: false, outer: &["eth0".into()], tun: "evergate0" };
        let found = of_ports(&Firewall::Answer(answer), &needs);
        assert!(only(&found).text.starts_with("udp/4500 over IPv4 is dropped"), "{found:?}");
        assert_eq!(of_ports(&Firewall::NoProgram, &needs), vec![]);
    }

    #[test]
    fn what_was_not_looked_at_is_said() {
        let needs = Needs { sockets: &sockets(), esp: false, outer: &[], tun: "evergate0" };
        for firewall in [Firewall::NoProgram, Firewall::Refused("Operation not permitted".into()), Firewall::Answer(json!({}))] {
            assert_eq!(only(&judge(&firewall, &[], &needs)).level, Level::Warn);
        }
        let legacy = judge(&Firewall::Answer(json!({"nftables": []})), &["filter".into()], &needs);
        assert!(legacy.iter().any(|finding| finding.text.contains("iptables-legacy")), "{legacy:?}");
    }
}
