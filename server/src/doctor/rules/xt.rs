//! Matches and targets of iptables-nft: JSON has their names at most, the text of the rule says more where nft can translate them.
use super::{Match, Packet, destination};
use serde_json::Value;

/// What a statement does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Match(Match),
    /// As the statement of that name.
    Verdict(&'static str),
    Nothing,
}

/// Of the statement with this `body` in a rule with this `text`. `local`: the packet goes to an address of this host.
pub(super) fn effect(body: &Value, last: bool, text: &str, packet: &Packet<'_>, local: bool) -> Effect {
    let words: Vec<_> = text.split_whitespace().collect();
    let part = |key| body.get(key).and_then(Value::as_str);
    match (part("type"), part("name").unwrap_or_default()) {
        (Some("match"), "comment") => Effect::Match(Match::Yes),
        (Some("match"), "conntrack" | "state") => Effect::Match(state(&words)),
        (Some("match"), "addrtype") => Effect::Match(address_type(&words, local)),
        (Some("match"), "multiport") => Effect::Match(ports(&words, packet)),
        (Some("match"), _) => Effect::Match(Match::Perhaps),
        (Some(_), name) => target(name),
        // nft before 1.0.6 leaves out the name.
        (None, _) if last => unnamed_target(&words),
        (None, _) => {
            let all = [state(&words), address_type(&words, local), ports(&words, packet)];
            Effect::Match(if all.contains(&Match::No) { Match::No } else { Match::Perhaps })
        }
    }
}

fn target(name: &str) -> Effect {
    match name {
        "REJECT" | "DROP" => Effect::Verdict("drop"),
        "DNAT" | "REDIRECT" | "TPROXY" | "NETMAP" => Effect::Verdict("redirect"),
        "AUDIT" | "CHECKSUM" | "CLASSIFY" | "CONNMARK" | "CONNSECMARK" | "CT" | "DSCP" | "ECN" | "HL" | "HMARK" | "IDLETIMER" | "LED"
        | "LOG" | "MARK" | "MASQUERADE" | "NFLOG" | "NOTRACK" | "RATEEST" | "SECMARK" | "SET" | "SNAT" | "TCPMSS" | "TCPOPTSTRIP"
        | "TEE" | "TOS" | "TRACE" | "TTL" | "ULOG" => Effect::Nothing,
        // A program decides, or who knows.
        _ => Effect::Verdict("queue"),
    }
}

fn unnamed_target(words: &[&str]) -> Effect {
    let has = |word| words.contains(&word);
    if has("reject") {
        Effect::Verdict("drop")
    } else if has("dnat") || has("redirect") || has("tproxy") {
        Effect::Verdict("redirect")
    } else if has("log") || has("set") || has("snat") || has("masquerade") {
        Effect::Nothing
    } else {
        Effect::Verdict("queue")
    }
}

/// Of `ct state related,established`, for a packet that begins a connection. Other questions of conntrack stay open, also those that hide the state.
fn state(words: &[&str]) -> Match {
    if words.iter().filter(|word| **word == "ct").count() != 1 {
        return Match::Perhaps;
    }
    asked(words, &["ct", "state"], |state| state == "new")
}

/// Of `fib daddr type local`.
fn address_type(words: &[&str], local: bool) -> Match {
    asked(words, &["fib", "daddr", "type"], |kind| kind == destination(local))
}

/// Of `udp dport { 500, 4500-4510 }`.
fn ports(words: &[&str], packet: &Packet<'_>) -> Match {
    let (Some(protocol), Some(port)) = (packet.protocol, packet.port) else { return Match::Perhaps };
    if words.iter().any(|word| matches!(*word, "sport" | ".")) {
        return Match::Perhaps;
    }
    let held = |entry: &str| {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&port))
    };
    asked(words, &[protocol, "dport"], held)
}

/// What comes after `question`, perhaps turned round: one value, a list with commas, a set.
fn asked(words: &[&str], question: &[&str], holds: impl Fn(&str) -> bool) -> Match {
    let Some(at) = words.windows(question.len()).position(|window| window == question) else { return Match::Perhaps };
    let right = &words[at + question.len()..];
    let (turned, right) = match right {
        ["!" | "!=", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let values = match right {
        ["{", rest @ ..] => rest.split(|word| *word == "}").next().unwrap_or_default(),
        [one, ..] => std::slice::from_ref(one),
        [] => return Match::Perhaps,
    };
    let found = Match::of(values.iter().flat_map(|word| word.split(',')).any(holds));
    if turned { found.not() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAT_T: Packet<'_> = Packet { protocol: Some("udp"), port: Some(4500), ipv6: false, interface: Some("eth0") };

    fn matched(name: &str, text: &str) -> Match {
        match effect(&json!({"type": "match", "name": name}), false, text, &NAT_T, true) {
            Effect::Match(found) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_text_tells_is_known() {
        for (name, text, found) in [
            ("conntrack", "ct state related,established accept", Match::No),
            ("conntrack", "ct state new,established accept", Match::Yes),
            ("conntrack", "ct state ! invalid,untracked accept", Match::Yes),
            ("conntrack", "ct status dnat accept", Match::Perhaps),
            ("conntrack", "ct direction reply ct state established accept", Match::Perhaps),
            ("conntrack", "", Match::Perhaps),
            ("addrtype", "fib daddr type broadcast drop", Match::No),
            ("addrtype", "fib daddr type { local, multicast } accept", Match::Yes),
            ("addrtype", "fib daddr type != local drop", Match::No),
            ("addrtype", "fib saddr type local accept", Match::Perhaps),
            ("multiport", "meta l4proto udp udp dport { 500, 4500 } accept", Match::Yes),
            ("multiport", "meta l4proto udp udp dport { 500, 4000-5000 } accept", Match::Yes),
            ("multiport", "meta l4proto udp udp dport != { 500, 4500 } accept", Match::No),
            ("multiport", "meta l4proto udp udp dport 500 accept", Match::No),
            ("multiport", "meta l4proto udp udp sport . udp dport { 0-65535 . 80 } accept", Match::Perhaps),
            ("owner", "meta skuid 0 accept", Match::Perhaps),
        ] {
            assert_eq!(matched(name, text), found, "{text}");
        }
        let through = effect(&json!({"type": "match", "name": "addrtype"}), false, "fib daddr type local drop", &NAT_T, false);
        assert_eq!(through, Effect::Match(Match::No), "it goes through this host");
    }

    #[test]
    fn targets_end_a_rule_or_do_not() {
        let target = |name: &str| effect(&json!({"type": "target", "name": name}), true, "", &NAT_T, true);
        assert_eq!(target("REJECT"), Effect::Verdict("drop"));
        assert_eq!(target("DNAT"), Effect::Verdict("redirect"));
        assert_eq!(target("LOG"), Effect::Nothing);
        assert_eq!(target("NFQUEUE"), Effect::Verdict("queue"));
    }

    #[test]
    fn without_names_the_text_is_asked() {
        let unnamed = |last, text| effect(&Value::Null, last, text, &NAT_T, true);
        assert_eq!(unnamed(false, "ct state established accept"), Effect::Match(Match::No));
        assert_eq!(unnamed(false, "udp dport { 500, 4500 } accept"), Effect::Match(Match::Perhaps));
        assert_eq!(unnamed(true, "tcp dport 80 reject with tcp reset"), Effect::Verdict("drop"));
        assert_eq!(unnamed(true, "limit rate 3/minute log prefix \"x\""), Effect::Nothing);
        assert_eq!(unnamed(true, ""), Effect::Verdict("queue"));
    }
}
