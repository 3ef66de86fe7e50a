//! What an nftables ruleset (`nft -j list ruleset`) does with a packet of which not everything is known.
mod xt;

use serde_json::Value;
use std::collections::HashMap;
use xt::Effect;

/// A packet that begins a connection. What is `None` may be anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    /// `udp`, `tcp`, `esp`; `None`: anything inside a tunnel.
    pub(super) protocol: Option<&'a str>,
    pub(super) port: Option<u16>,
    pub(super) ipv6: bool,
    /// Interface that it comes in through.
    pub(super) interface: Option<&'a str>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// Where: `chain inet filter input`, and by what.
    Dropped {
        chain: String,
        by: String,
    },
    /// Sent elsewhere: another port or host.
    Redirected {
        chain: String,
        by: String,
    },
    /// Only some packets, by what is not known here: addresses, marks, rates.
    Sometimes {
        chain: String,
        by: String,
    },
}

/// Yes, no, or it depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Perhaps,
}

impl Match {
    fn of(truth: bool) -> Self {
        if truth { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }

    fn any(found: impl Iterator<Item = Self>) -> Self {
        found.fold(Self::No, |before, now| match (before, now) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Perhaps,
        })
    }
}

/// How often chains may jump into each other.
const DEPTH: usize = 16;

/// What drops where no rule does.
pub(super) const POLICY: &str = "its policy";
/// Statements that neither choose packets nor decide about them.
const PLAIN: [&str; 14] = [
    "counter",
    "log",
    "mangle",
    "notrack",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "secmark",
    "flow",
    "dup",
    "masquerade",
    "snat",
    "last",
    "comment",
];

/// What ended the walk through a chain.
#[derive(Debug)]
enum End {
    Accept,
    Drop(String),
    Redirect(String),
    /// `return`, or the last rule.
    Fell,
}

/// A ruleset.
#[derive(Debug)]
pub(super) struct Ruleset<'a> {
    items: Vec<(&'a str, &'a Value)>,
}

impl<'a> Ruleset<'a> {
    /// `None`: this is no answer of nft.
    pub(super) fn new(answer: &'a Value) -> Option<Self> {
        let items = answer.get("nftables")?.as_array()?;
        Some(Self {
            items: items.iter().filter_map(|item| item.as_object()?.iter().next()).map(|(kind, body)| (kind.as_str(), body)).collect(),
        })
    }

    /// What becomes of `packet` at `hook`, such as `input`.
    pub(super) fn fate(&self, packet: &Packet<'_>, hook: &str) -> Fate {
        let mut chains: Vec<_> =
            self.of("chain").filter(|chain| text(chain, "hook") == hook && serves(text(chain, "family"), packet.ipv6)).collect();
        chains.sort_by_key(|chain| chain.get("prio").and_then(Value::as_i64).unwrap_or(0));
        let mut sometimes = None;
        for chain in chains {
            let mut walk = Walk { rules: self, packet, local: hook != "forward", doubt: None, doubted_accept: false };
            let end = walk.chain(chain, 0);
            let name = format!("chain {} {} {}", text(chain, "family"), text(chain, "table"), text(chain, "name"));
            let end = match end {
                End::Fell if text(chain, "policy") == "drop" => End::Drop(POLICY.into()),
                end => end,
            };
            let doubtful = walk.doubted_accept;
            match end {
                End::Drop(by) if doubtful => sometimes = sometimes.or(Some(Fate::Sometimes { chain: name, by })),
                End::Drop(by) => return Fate::Dropped { chain: name, by },
                End::Redirect(by) => return Fate::Redirected { chain: name, by },
                End::Accept | End::Fell => sometimes = sometimes.or_else(|| walk.doubt.map(|by| Fate::Sometimes { chain: name, by })),
            }
        }
        sometimes.unwrap_or(Fate::Passes)
    }

    fn of(&self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.items.iter().filter(move |(found, _)| *found == kind).map(|(_, body)| *body)
    }

    fn elements(&self, rule: &Value, name: &str) -> Option<&'a Value> {
        let same = |set: &&Value| {
            text(set, "name") == name && text(set, "family") == text(rule, "family") && text(set, "table") == text(rule, "table")
        };
        self.of("set").find(same)?.get("elem")
    }
}

struct Walk<'a, 'b> {
    rules: &'b Ruleset<'a>,
    packet: &'b Packet<'b>,
    /// It goes to an address of this host, not through it.
    local: bool,
    /// A rule that may drop or redirect it.
    doubt: Option<String>,
    /// A rule that may accept it.
    doubted_accept: bool,
}

impl Walk<'_, '_> {
    fn chain(&mut self, chain: &Value, depth: usize) -> End {
        if depth > DEPTH {
            return End::Fell;
        }
        let same = |key| move |rule: &&Value| text(rule, key) == text(chain, key);
        let name = text(chain, "name");
        let rules = self.rules.of("rule").filter(same("family")).filter(same("table")).filter(|rule| text(rule, "chain") == name);
        for rule in rules.collect::<Vec<_>>() {
            match self.rule(rule, depth) {
                Some(End::Fell) => return End::Fell,
                Some(end) => return end,
                None => {}
            }
        }
        End::Fell
    }

    /// `None`: on to the next rule.
    fn rule(&mut self, rule: &Value, depth: usize) -> Option<End> {
        let mut sure = Match::Yes;
        let statements = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (at, statement) in statements.iter().enumerate() {
            let (kind, body) = statement.as_object()?.iter().next()?;
            match kind.as_str() {
                "match" => sure = sure.and(self.matches(rule, body)),
                "accept" | "drop" | "reject" | "redirect" | "dnat" | "tproxy" | "queue" | "return" | "jump" | "goto" | "vmap" => {
                    return self.verdict(rule, kind, body, sure, depth);
                }
                "xt" => match xt::effect(body, at + 1 == statements.len(), text(rule, TEXT), self.packet, self.local) {
                    Effect::Match(found) => sure = sure.and(found),
                    Effect::Verdict(kind) => return self.verdict(rule, kind, body, sure, depth),
                    Effect::Nothing => {}
                },
                // What is put into a set may be asked for its rate first.
                "set" if body.get("stmt").is_none() => {}
                plain if PLAIN.contains(&plain) => {}
                // A rate lets some pass; of what else there may be, nothing is known.
                _ => sure = sure.and(Match::Perhaps),
            }
            if sure == Match::No {
                return None;
            }
        }
        None
    }

    fn verdict(&mut self, rule: &Value, kind: &str, body: &Value, sure: Match, depth: usize) -> Option<End> {
        let by = describe(rule);
        let end = match kind {
            "accept" => End::Accept,
            "drop" | "reject" => End::Drop(by),
            "redirect" | "dnat" | "tproxy" => End::Redirect(by),
            "return" => End::Fell,
            "jump" | "goto" => return self.jump(rule, kind, body, sure, depth),
            "queue" | "vmap" => {
                self.doubt.get_or_insert(by);
                self.doubted_accept = true;
                return None;
            }
            _ => return None,
        };
        if sure == Match::Yes {
            return Some(end);
        }
        match end {
            End::Accept | End::Fell => self.doubted_accept = true,
            End::Drop(by) | End::Redirect(by) => drop(self.doubt.get_or_insert(by)),
        }
        None
    }

    fn jump(&mut self, rule: &Value, kind: &str, body: &Value, sure: Match, depth: usize) -> Option<End> {
        let target = body.get("target").and_then(Value::as_str)?;
        let same = |chain: &&Value| {
            text(chain, "name") == target && text(chain, "family") == text(rule, "family") && text(chain, "table") == text(rule, "table")
        };
        let chain = self.rules.of("chain").find(same)?;
        match (self.chain(chain, depth + 1), sure) {
            (End::Fell, Match::Yes) => (kind == "goto").then_some(End::Fell),
            (end, Match::Yes) => Some(end),
            (End::Fell, _) => None,
            (End::Accept, _) => {
                self.doubted_accept = true;
                None
            }
            (End::Drop(by) | End::Redirect(by), _) => {
                self.doubt.get_or_insert(by);
                None
            }
        }
    }

    fn matches(&self, rule: &Value, body: &Value) -> Match {
        let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else { return Match::Perhaps };
        let found = match (self.known(left), self.contents(rule, right)) {
            (Known::Nothing, _) => Match::Perhaps,
            (Known::Words(words), right) => Match::any(words.iter().map(|word| Match::of(holds(right, word)))),
            // Also `!=` needs the field that the packet lacks.
            (Known::Never, _) => return Match::No,
        };
        match text(body, "op") {
            "==" | "in" => found,
            "!=" => found.not(),
            _ => Match::Perhaps,
        }
    }

    /// The set behind its name; one without elements says nothing about them.
    fn contents<'v>(&'v self, rule: &Value, right: &'v Value) -> &'v Value {
        match right.as_str().and_then(|name| name.strip_prefix('@')) {
            Some(name) => self.rules.elements(rule, name).unwrap_or(&Value::Null),
            None => right,
        }
    }

    fn known(&self, left: &Value) -> Known {
        let packet = self.packet;
        let protocol = || packet.protocol.map_or(Known::Nothing, Known::word);
        if let Some(payload) = left.get("payload") {
            return match (text(payload, "protocol"), text(payload, "field")) {
                ("udp" | "tcp" | "th", "dport") => match (packet.protocol, packet.port) {
                    (Some(protocol), Some(port)) if text(payload, "protocol") == "th" || text(payload, "protocol") == protocol => {
                        Known::word(&port.to_string())
                    }
                    (None, _) => Known::Nothing,
                    _ => Known::Never,
                },
                ("ip", "protocol") if !packet.ipv6 => protocol(),
                ("ip6", "nexthdr") if packet.ipv6 => protocol(),
                ("ip", _) if packet.ipv6 => Known::Never,
                ("ip6", _) if !packet.ipv6 => Known::Never,
                ("udp" | "tcp" | "icmp" | "icmpv6" | "esp" | "ah" | "sctp", _) => match packet.protocol {
                    Some(protocol) if protocol != text(payload, "protocol") => Known::Never,
                    _ => Known::Nothing,
                },
                _ => Known::Nothing,
            };
        }
        if let Some(key) = left.get("meta").map(|meta| text(meta, "key")) {
            return match key {
                "l4proto" => protocol(),
                "nfproto" => Known::word(if packet.ipv6 { "ipv6" } else { "ipv4" }),
                "iif" | "iifname" => packet.interface.map_or(Known::Nothing, Known::word),
                _ => Known::Nothing,
            };
        }
        if let Some(fib) = left.get("fib") {
            let of_destination =
                text(fib, "result") == "type" && fib.get("flags").is_some_and(|flags| *flags == serde_json::json!(["daddr"]));
            return if of_destination { Known::word(destination(self.local)) } else { Known::Nothing };
        }
        match left.get("ct").map(|ct| text(ct, "key")) {
            Some("state") => Known::word("new"),
            _ => Known::Nothing,
        }
    }
}

/// What the left side of a match comes to.
enum Known {
    Words(Vec<String>),
    /// The packet has no such field.
    Never,
    Nothing,
}

impl Known {
    fn word(word: &str) -> Self {
        let number = match word {
            "tcp" => Some("6"),
            "udp" => Some("17"),
            "esp" => Some("50"),
            _ => None,
        };
        Self::Words([word].into_iter().chain(number).map(str::to_owned).collect())
    }
}

/// Whether `word` is in the right side: a value, a list, a set, a range, a prefix of a name.
fn holds(right: &Value, word: &str) -> bool {
    match right {
        Value::String(text) => text == word || text.strip_suffix('*').is_some_and(|start| word.starts_with(start)),
        Value::Number(number) => number.to_string() == word,
        Value::Array(entries) => entries.iter().any(|entry| holds(entry, word)),
        Value::Object(object) => match object.iter().next() {
            Some((kind, inner)) if kind == "set" => holds(inner, word),
            Some((kind, inner)) if kind == "elem" => inner.get("val").is_some_and(|value| holds(value, word)),
            Some((kind, Value::Array(ends))) if kind == "range" => {
                let end = |at: usize| ends.get(at).and_then(Value::as_u64);
                let number = word.parse::<u64>().ok();
                matches!((end(0), end(1), number), (Some(first), Some(last), Some(number)) if (first..=last).contains(&number))
            }
            _ => false,
        },
        _ => false,
    }
}

/// The type of the address that a packet goes to, as `fib daddr type` has it.
fn destination(local: bool) -> &'static str {
    if local { "local" } else { "unicast" }
}

/// `rule with handle 12 (udp dport 4500 drop)`
fn describe(rule: &Value) -> String {
    let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
    match (text(rule, TEXT), rule.get("comment").and_then(Value::as_str)) {
        ("", Some(comment)) => format!("rule with handle {handle} ({comment:?})"),
        ("", None) => format!("rule with handle {handle}"),
        (text, _) => format!("rule with handle {handle} ({text})"),
    }
}

/// Where a rule of an answer has its text, see [`lay_text_beside`].
const TEXT: &str = "text";

/// Gives each rule of the answer its text from `listing` (`nft -a list ruleset`), without counters: JSON hides what iptables-nft asks for.
pub(super) fn lay_text_beside(answer: &mut Value, listing: &str) {
    let texts = texts(listing);
    for item in answer.get_mut("nftables").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(rule) = item.get_mut("rule").and_then(Value::as_object_mut) else { continue };
        let part = |key| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (format!("{} {}", part("family"), part("table")), part("chain"), rule.get("handle").and_then(Value::as_u64).unwrap_or(0));
        if let Some(text) = texts.get(&key) {
            rule.insert(TEXT.into(), text.as_str().into());
        }
    }
}

/// By table, chain and handle.
fn texts(listing: &str) -> HashMap<(String, String, u64), String> {
    let (mut table, mut chain) = (String::new(), String::new());
    let mut found = HashMap::new();
    for line in listing.lines().map(str::trim) {
        let Some((line, handle)) = line.rsplit_once(" # handle ") else { continue };
        let Ok(handle) = handle.parse() else { continue };
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["table", family, name, "{"] => table = format!("{family} {name}"),
            ["chain", name, "{"] => name.clone_into(&mut chain),
            _ => drop(found.insert((table.clone(), chain.clone(), handle), without_counter(&words))),
        }
    }
    found
}

fn without_counter(words: &[&str]) -> String {
    match words.iter().position(|word| *word == "counter") {
        // `counter packets 1 bytes 60`
        Some(at) if words.get(at + 1) == Some(&"packets") => [&words[..at], words.get(at + 5..).unwrap_or_default()].concat().join(" "),
        _ => words.join(" "),
    }
}

fn serves(family: &str, ipv6: bool) -> bool {
    match family {
        "inet" => true,
        "ip" => !ipv6,
        "ip6" => ipv6,
        _ => false,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAT_T: Packet<'static> = Packet { protocol: Some("udp"), port: Some(4500), ipv6: false, interface: Some("eth0") };

    fn chain(name: &str, hook: Option<&str>, policy: &str) -> Value {
        let mut chain = json!({"family": "inet", "table": "filter", "name": name});
        if let Some(hook) = hook {
            chain["hook"] = hook.into();
            chain["prio"] = 0.into();
            chain["policy"] = policy.into();
        }
        json!({ "chain": chain })
    }

    fn rule(chain: &str, expr: Value) -> Value {
        json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "handle": 7, "expr": expr}})
    }

    fn is(left: Value, right: Value) -> Value {
        json!({"match": {"op": "==", "left": left, "right": right}})
    }

    fn dport(protocol: &str) -> Value {
        json!({"payload": {"protocol": protocol, "field": "dport"}})
    }

    fn fate(items: &[Value], packet: &Packet<'_>) -> Fate {
        let all = json!({ "nftables": items });
        Ruleset::new(&all).unwrap().fate(packet, "input")
    }

    fn dropped(by: &str) -> Fate {
        Fate::Dropped { chain: "chain inet filter input".into(), by: by.into() }
    }

    #[test]
    fn without_rules_everything_passes() {
        assert_eq!(fate(&[], &NAT_T), Fate::Passes);
        assert_eq!(fate(&[chain("input", Some("input"), "accept")], &NAT_T), Fate::Passes);
        assert!(Ruleset::new(&json!({"error": 1})).is_none());
    }

    #[test]
    fn a_rule_that_drops_the_port_is_found_with_its_handle() {
        let input = chain("input", Some("input"), "accept");
        let drop = |right: Value| rule("input", json!([is(dport("udp"), right), {"drop": null}]));
        for right in [json!(4500), json!({"set": [500, 4500]}), json!({"range": [4000, 5000]}), json!({"set": [{"range": [4500, 4501]}]})] {
            assert_eq!(fate(&[input.clone(), drop(right)], &NAT_T), dropped("rule with handle 7"));
        }
        for right in [json!(4501), json!({"set": [500]}), json!({"range": [1, 2]})] {
            assert_eq!(fate(&[input.clone(), drop(right)], &NAT_T), Fate::Passes);
        }
        assert_eq!(fate(&[input.clone(), drop(json!(4500))], &Packet { protocol: Some("tcp"), ..NAT_T }), Fate::Passes, "another protocol");
        let redirect = rule("input", json!([is(dport("udp"), json!(4500)), {"redirect": {"port": 9}}]));
        assert!(matches!(fate(&[input, redirect], &NAT_T), Fate::Redirected { .. }));
    }

    #[test]
    fn a_policy_drops_what_no_rule_accepts() {
        let input = chain("input", Some("input"), "drop");
        let accept = |left: Value, right: Value| rule("input", json!([is(left, right), {"accept": null}]));
        assert_eq!(fate(std::slice::from_ref(&input), &NAT_T), dropped("its policy"));
        assert_eq!(fate(&[input.clone(), accept(dport("udp"), json!(4500))], &NAT_T), Fate::Passes);
        assert_eq!(fate(&[input.clone(), accept(dport("tcp"), json!(4500))], &NAT_T), dropped("its policy"));
        assert_eq!(
            fate(&[input.clone(), accept(json!({"ct": {"key": "state"}}), json!(["established", "related"]))], &NAT_T),
            dropped("its policy")
        );
        assert_eq!(fate(&[input.clone(), accept(json!({"meta": {"key": "iifname"}}), json!("eth*"))], &NAT_T), Fate::Passes);
        assert_eq!(fate(&[input.clone(), accept(json!({"meta": {"key": "iifname"}}), json!("lo"))], &NAT_T), dropped("its policy"));
        let from_somewhere = accept(json!({"payload": {"protocol": "ip", "field": "saddr"}}), json!("192.0.2.1"));
        assert!(matches!(fate(&[input, from_somewhere], &NAT_T), Fate::Sometimes { .. }));
    }

    #[test]
    fn named_sets_and_jumps_are_followed() {
        let input = chain("input", Some("input"), "drop");
        let set = json!({"set": {"family": "inet", "table": "filter", "name": "vpn", "elem": [500, 4500]}});
        let by_set = rule("vpn-chain", json!([is(dport("udp"), json!("@vpn")), {"accept": null}]));
        let jump = rule("input", json!([{"jump": {"target": "vpn-chain"}}]));
        let all = [input.clone(), chain("vpn-chain", None, ""), set, by_set.clone(), jump.clone()];
        assert_eq!(fate(&all, &NAT_T), Fate::Passes);
        assert_eq!(fate(&all, &Packet { port: Some(443), ..NAT_T }), dropped("its policy"));
        let empty = [input, chain("vpn-chain", None, ""), by_set, jump];
        assert_eq!(fate(&empty, &NAT_T), dropped("its policy"), "an empty set");
        let circle = [chain("input", Some("input"), "accept"), rule("input", json!([{"jump": {"target": "input"}}]))];
        assert_eq!(fate(&circle, &NAT_T), Fate::Passes);
    }

    #[test]
    fn what_depends_on_the_source_is_only_sometimes() {
        let input = chain("input", Some("input"), "accept");
        let saddr = json!({"payload": {"protocol": "ip", "field": "saddr"}});
        let drop = rule("input", json!([is(saddr, json!("192.0.2.1")), {"drop": null}]));
        assert!(matches!(fate(&[input.clone(), drop.clone()], &NAT_T), Fate::Sometimes { .. }));
        assert_eq!(fate(&[input, drop], &Packet { ipv6: true, ..NAT_T }), Fate::Passes, "a rule of the other family");
    }

    fn xt(kind: &str, name: &str) -> Value {
        json!({"xt": {"type": kind, "name": name}})
    }

    /// As `iptables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; ..; -j REJECT` comes out of nft.
    #[test]
    fn rules_of_iptables_nft_are_read_with_their_text() {
        const LISTING: &str = "table inet filter { # handle 1\n\tchain input { # handle 1\n\t\ttype filter hook input priority filter; policy accept;\n\
            \t\tct state related,established counter packets 5 bytes 300 accept # handle 2\n\
            \t\tfib daddr type broadcast counter packets 0 bytes 0 drop # handle 3\n\
            \t\tcounter packets 0 bytes 0 reject # handle 4\n\t}\n}\n";
        let with_handle = |handle: u64, expr: Value| {
            let mut rule = rule("input", expr);
            rule["rule"]["handle"] = handle.into();
            rule
        };
        let established = with_handle(2, json!([xt("match", "conntrack"), {"accept": null}]));
        let broadcast = with_handle(3, json!([xt("match", "addrtype"), {"drop": null}]));
        let mut answer = json!({"nftables": [chain("input", Some("input"), "accept"), established, broadcast]});
        let fate_of = |answer: &Value| Ruleset::new(answer).unwrap().fate(&NAT_T, "input");
        assert!(matches!(fate_of(&answer), Fate::Sometimes { .. }), "without text nothing of the matches is known");
        lay_text_beside(&mut answer, LISTING);
        assert_eq!(fate_of(&answer), Fate::Passes);
        let reject = with_handle(4, json!([{"counter": {"packets": 0}}, xt("target", "REJECT")]));
        answer["nftables"].as_array_mut().unwrap().push(reject);
        lay_text_beside(&mut answer, LISTING);
        assert_eq!(fate_of(&answer), dropped("rule with handle 4 (reject)"));
    }

    #[test]
    fn a_statement_that_is_not_known_leaves_a_doubt() {
        let input = chain("input", Some("input"), "accept");
        let unknown = rule("input", json!([{"osf": {"key": "name"}}, {"drop": null}]));
        assert!(matches!(fate(&[input.clone(), unknown], &NAT_T), Fate::Sometimes { .. }));
        let local = json!({"fib": {"result": "type", "flags": ["daddr"]}});
        let others = rule("input", json!([{"match": {"op": "!=", "left": local, "right": "local"}}, {"drop": null}]));
        assert_eq!(fate(&[input, others], &NAT_T), Fate::Passes, "our port is at a local address");
    }
}
