//! Which certificate a client sees: each rule, their order, ties, and that no list's order matters.
use super::fixture::*;
use crate::{
    Arrival, AskedName, Asks, Hints, KeyRank, Named, Rule, Selection, ServerCertificate, Steered, Steering, choose, find_tie,
    known_authorities,
};
use crypto::sign::KeyKind;
use std::net::IpAddr;

const ANY: KeyRank<'static> = &|_| Some(0);
const NOTHING: Hints<'static> =
    Hints { name: None, name_source: "IDr", authorities: &[], address: None, itself: None, keys: ANY, steering: None };

fn rsa_first(kind: KeyKind) -> Option<u8> {
    match kind {
        KeyKind::Rsa { .. } => Some(0),
        KeyKind::Ed25519 => None,
        _ => Some(1),
    }
}

fn ecdsa_first(kind: KeyKind) -> Option<u8> {
    rsa_first(kind).map(|rank| 1 - rank)
}

fn certificate(name: &str, dns_names: &[&str], issuer: &Authority) -> ServerCertificate {
    named(name, credential(&server_params(dns_names), issuer).into())
}

fn named(name: &str, certificate: ServerCertificate) -> ServerCertificate {
    ServerCertificate { name: name.into(), ..certificate }
}

fn with_key(name: &str, dns_names: &[&str], issuer: &Authority, algorithm: &'static rcgen::SignatureAlgorithm) -> ServerCertificate {
    let (chain, key) = credential_pem(&server_params(dns_names), issuer, algorithm);
    named(name, crate::Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap().into())
}

fn asks(name: &str) -> Hints<'_> {
    Hints { name: Some(AskedName::Dns(name)), ..NOTHING }
}

fn chosen(certificates: &[ServerCertificate], hints: Hints<'_>) -> (String, Option<Rule>) {
    let Selection { name, rule, .. } = choose(certificates, &hints).unwrap();
    (name, rule)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_rule_decides_and_the_order_holds() {
    let (one, two) = (root("Root 1"), root("Root 2"));
    let mut a = certificate("a", &["a.example.test", "both.example.test"], &one);
    let mut b = certificate("b", &["*.example.test"], &two);
    let trusts_b = [read(two.der()).spki_sha1(), [7; 20]];
    (a.default, b.addresses, b.realms) = (true, vec![address("192.0.2.7")], vec!["b.test".into()]);
    let both = [a, b];
    for (hints, expected) in [
        (NOTHING, ("a", Rule::Address)),
        (Hints { address: Some(address("::ffff:192.0.2.7")), ..NOTHING }, ("b", Rule::Address)),
        (Hints { authorities: &trusts_b, ..NOTHING }, ("b", Rule::Authority)),
        (Hints { authorities: &[[9; 20]], ..NOTHING }, ("a", Rule::Address)),
        (asks("A.example.TEST."), ("a", Rule::Name)),
        (asks("x.example.test"), ("b", Rule::Name)),
        (asks("x.y.example.test"), ("a", Rule::Address)),
        (Hints { authorities: &trusts_b, ..asks("both.example.test") }, ("a", Rule::Name)),
        (Hints { address: Some(address("192.0.2.7")), authorities: &trusts_b, ..asks("a.example.test") }, ("a", Rule::Name)),
    ] {
        assert_eq!(chosen(&both, hints), (expected.0.to_owned(), Some(expected.1)), "{hints:?}");
    }
    let [mut a, mut b] = both;
    b.addresses.clear();
    for (itself, expected) in [("bob@b.test", "b"), ("pc1.b.test", "b"), ("bob@x.b.test", "a"), ("pc1.xb.test", "a"), ("10.0.0.1", "a")] {
        assert_eq!(chosen(&[a.clone(), b.clone()], Hints { itself: Some(itself), ..NOTHING }), (expected.into(), Some(Rule::Realm)));
    }
    b.realms.clear();
    assert_eq!(chosen(&[a.clone(), b.clone()], NOTHING), ("a".into(), Some(Rule::Default)));
    (a.default, b.default) = (false, true);
    assert_eq!(chosen(&[a, b], NOTHING), ("b".into(), Some(Rule::Default)));
}

#[test]
fn the_key_must_suit_and_decides_between_certificates_for_the_same_names() {
    let issuer = root("Root");
    let names = ["vpn.example.test", "gw.example.test"];
    let ecdsa = with_key("ecdsa", &names, &issuer, &rcgen::PKCS_ECDSA_P256_SHA256);
    let rsa = with_key("rsa", &["GW.example.test", "vpn.example.test."], &issuer, &rcgen::PKCS_RSA_SHA256);
    let odd = with_key("odd", &names, &issuer, &rcgen::PKCS_ED25519);
    let all = [ecdsa, rsa, odd];
    let choose = |keys: KeyRank<'_>| chosen(&all, Hints { keys, ..NOTHING });
    assert_eq!(choose(&rsa_first), ("rsa".into(), Some(Rule::Key)));
    assert_eq!(choose(&ecdsa_first), ("ecdsa".into(), Some(Rule::Key)));
    assert_eq!(choose(&|kind| (kind == KeyKind::Ed25519).then_some(0)), ("odd".into(), Some(Rule::Signature)));
    assert!(super::super::choose(&all, &Hints { keys: &|_| None, ..NOTHING }).is_none());
    assert_eq!(find_tie(&all, &[&rsa_first, &ecdsa_first], Asks::Identities, false), None);
    let other = with_key("third", &["third.example.test"], &issuer, &rcgen::PKCS_RSA_SHA256);
    let tie = find_tie(&[all[0].clone(), all[1].clone(), other], &[&rsa_first], Asks::Identities, false).unwrap();
    assert_eq!((tie.first.as_str(), tie.second.as_str()), ("ecdsa", "rsa"), "a third for other names must not be ruled out by its key");
}

#[test]
fn what_policies_settle_is_no_tie_where_both_suit() {
    let (one, two, three) = (root("Root 1"), root("Root 2"), root("Root 3"));
    let mut all = [
        certificate("a", &["a.example.test"], &one),
        certificate("b", &["b.example.test"], &two),
        certificate("c", &["c.example.test"], &three),
    ];
    let tie = |certificates: &[ServerCertificate], settled| {
        find_tie(certificates, &[&rsa_first], Asks::Identities, settled).map(|tie| (tie.first, tie.second))
    };
    let said = |first: &str, second: &str| Some((first.to_owned(), second.to_owned()));
    assert_eq!((tie(&all, false), tie(&all, true)), (said("a", "b"), None));
    let shown = choose(&all, &NOTHING).unwrap();
    assert!(shown.name == "a" && shown.why.starts_with("the first by its name"), "{shown:?}");
    // Clients that ask for the name of both, and come to neither address, suit neither: what policies name has no say then.
    for (at, own) in [(0, "192.0.2.1"), (1, "192.0.2.2")] {
        all[at].names = Some(vec!["same.example.test".into()]);
        all[at].addresses = vec![address(own)];
    }
    assert_eq!(tie(&all, true), said("a", "b"));
    all[2].addresses = vec![address("192.0.2.3")];
    assert_eq!(tie(&all, true), None, "nobody else is before them either");
}

#[test]
fn the_record_says_why_and_what_was_passed_over() {
    let (one, two) = (root("Root 1"), root("Root 2"));
    let all = [certificate("a", &["a.example.test"], &one), certificate("b", &["*.example.test"], &two)];
    let selection = choose(&all, &asks("b.example.test")).unwrap();
    assert_eq!(selection.why, "made out to b.example.test (IDr), by a wildcard");
    assert_eq!(selection.passed_over, [("a".to_owned(), "not made out to b.example.test (IDr)".to_owned())]);
    let selection = choose(&all, &asks("a.example.test")).unwrap();
    assert_eq!(selection.passed_over, [("b".to_owned(), "made out to a.example.test (IDr) by a wildcard only".to_owned())]);
    let selection = choose(&all[..1], &Hints { authorities: &[[1; 20], [2; 20]], ..asks("c\n.test") }).unwrap();
    assert_eq!((selection.why.as_str(), selection.rule), ("the only one that this listener has", None));
    assert_eq!(
        selection.remarks,
        [
            "the certificate is not made out to c?.test (IDr)",
            "the client names 2 authorities (CERTREQ), and none known to be above this certificate of CN=Root 1, O=Example",
        ]
    );
}

#[test]
fn names_of_every_kind() {
    let issuer = root("Root");
    let a = certificate("a", &["a.example.test", "192.0.2.8", "198.51.100.1"], &issuer);
    let subject = a.credential.leaf().subject_der.clone();
    let mut b = certificate("b", &["a.example.test", "b.example.test", "192.0.2.8"], &issuer);
    (b.names, b.default) = (Some(vec!["b.example.test".into()]), true);
    let both = [a, b];
    let with = |name| chosen(&both, Hints { name: Some(name), ..NOTHING }).0;
    assert_eq!(with(AskedName::Dns("a.example.test")), "a", "names of the configuration stand for those of the certificate");
    assert_eq!(with(AskedName::Address(address("192.0.2.8"))), "a");
    assert_eq!(with(AskedName::Address(address("192.0.2.9"))), "b");
    assert_eq!(with(AskedName::Email("x@example.test")), "b");
    // Both have this subject.
    assert_eq!(with(AskedName::Subject(&subject)), "b");
}

#[test]
fn ties_are_found_and_named() {
    let (one, two) = (root("Root 1"), root("Root 2"));
    let tie = |certificates: &[ServerCertificate]| {
        find_tie(certificates, &[&rsa_first, &ecdsa_first], Asks::Identities, false).map(|tie| (tie.first + "/" + &tie.second, tie.clients))
    };
    let said = |pair: &str, clients: &str| Some((pair.to_owned(), clients.to_owned()));
    let (a, b) = (certificate("a", &["a.example.test"], &one), certificate("b", &["b.example.test"], &two));
    assert_eq!(tie(&[b.clone(), a.clone()]), said("a/b", "clients that ask for no name"));
    let default = ServerCertificate { default: true, ..a.clone() };
    assert_eq!(tie(&[default.clone(), b.clone()]), None);
    let twin = certificate("twin", &["b.example.test"], &one);
    assert_eq!(tie(&[default.clone(), b.clone(), twin.clone()]), said("b/twin", "clients that ask for b.example.test"));
    // An authority, too, rules the default out.
    let (c, d) = (certificate("c", &["c.example.test"], &two), certificate("d", &["d.example.test"], &two));
    let expected = said("c/d", "clients that ask for no name and trust the authorities of both (CERTREQ)");
    assert_eq!(tie(&[default.clone(), c.clone(), d.clone()]), expected);
    let in_realm = |certificate: &ServerCertificate, realm: &str| ServerCertificate { realms: vec![realm.into()], ..certificate.clone() };
    let expected = said("b/c", "clients that ask for no name and call themselves any.sub.r.test");
    assert_eq!(tie(&[default.clone(), in_realm(&b, "r.test"), in_realm(&c, "sub.r.test")]), expected);
    assert_eq!(tie(&[default.clone(), in_realm(&twin, "r.test"), in_realm(&c, "s.test")]), None);
    let at = |certificate: &ServerCertificate| ServerCertificate { addresses: vec![address("192.0.2.1")], ..certificate.clone() };
    assert_eq!(tie(&[default, at(&b), at(&c)]), said("b/c", "clients that ask for no name and come to 192.0.2.1"));
    assert_eq!(tie(&[a]), None);
}

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        (1..list.len()).for_each(|at| list.swap(at, self.below(at + 1)));
    }
}

/// Whatever the certificates and the client, the place of a certificate in a list decides nothing: neither about the one that is shown, nor about a
/// tie. And where no tie is found, no client meets one.
#[test]
fn the_order_of_the_list_decides_nothing() {
    let roots = [root("Root 1"), root("Root 2")];
    let sets: [&[&str]; 4] = [&["a.test"], &["b.test", "c.test"], &["*.test"], &["*.test", "b.test"]];
    let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    let mut pool = Vec::new();
    for issuer in &roots {
        for names in sets {
            pool.extend(kinds.iter().map(|kind| with_key("", names, issuer, kind)));
        }
    }
    let (addresses, realms) = ([address("192.0.2.1"), address("192.0.2.2")], ["r.test", "s.r.test"]);
    let ranks: [KeyRank<'_>; 3] = [&rsa_first, &ecdsa_first, ANY];
    let spkis: Vec<_> = roots.iter().map(|root| read(root.der()).spki_sha1()).collect();
    let mut dice = Dice(20_261_121);
    let mut ties = 0;
    for _ in 0..400 {
        let count = 1 + dice.below(5);
        let mut certificates: Vec<_> = (0..count)
            .map(|number| {
                let mut one = named(&format!("n{number}"), dice.pick(&pool).clone());
                if dice.below(4) == 0 {
                    one.addresses.push(*dice.pick(&addresses));
                }
                if dice.below(4) == 0 {
                    one.realms.push((*dice.pick(&realms)).into());
                }
                one.default = number == 0 && dice.below(3) > 0;
                one
            })
            .collect();
        let tie = find_tie(&certificates, &ranks, Asks::Identities, false);
        ties += usize::from(tie.is_some());
        for _ in 0..20 {
            let trusted: Vec<_> = spkis.iter().filter(|_| dice.below(2) == 0).copied().collect();
            let name = dice.pick(&[None, Some("a.test"), Some("b.test"), Some("z.test"), Some("x.y")]).map(AskedName::Dns);
            let hints = Hints {
                name,
                name_source: "SNI",
                authorities: &trusted,
                address: *dice.pick(&[None, Some(addresses[0]), Some(addresses[1])]),
                itself: *dice.pick(&[None, Some("u@r.test"), Some("pc.s.r.test"), Some("u@t.test")]),
                keys: *dice.pick(&ranks),
                steering: None,
            };
            let before = choose(&certificates, &hints);
            dice.shuffle(&mut certificates);
            let after = choose(&certificates, &hints);
            let shown = |selection: &Option<Selection>| selection.clone().map(|one| (one.name, one.rule, one.why, one.remarks));
            assert_eq!(shown(&before), shown(&after), "{hints:?}");
            assert_eq!(find_tie(&certificates, &ranks, Asks::Identities, false), tie);
            if let (None, Some(selection)) = (&tie, &after) {
                assert!(selection.passed_over.iter().all(|(_, reason)| !reason.contains("nothing tells")), "{hints:?} {selection:?}");
            }
        }
    }
    assert!((50..350).contains(&ties), "{ties}");
}

#[test]
fn authorities_above_a_credential() {
    let (top, stranger) = (root("Root"), root("Root"));
    let issuing = subordinate(authority_params("Issuing"), &top);
    let bare = credential(&server_params(&["a.test"]), &issuing);
    let hash = |authority: &Authority| read(authority.der()).spki_sha1();
    assert_eq!(known_authorities(&bare, &[]), [hash(&issuing)]);
    let found = known_authorities(&bare, &[read(stranger.der()), read(top.der())]);
    assert!(found.contains(&hash(&top)) && found.contains(&hash(&issuing)) && found.len() == 2, "of the same name is not enough");
}

/// Wants these, in this order, as far as they suit.
#[derive(Debug)]
struct Wants(&'static [&'static str]);

impl Steering for Wants {
    fn named(&self, arrival: &Arrival<'_>, suits: &dyn Fn(&str) -> bool) -> Vec<Named> {
        assert_eq!((arrival.client, arrival.now, arrival.by_certificate), (address("203.0.113.5"), 7, true));
        let suiting = self.0.iter().filter(|name| suits(name));
        suiting.map(|name| Named { certificate: (*name).to_owned(), policy: format!("of {name}") }).collect()
    }
}

fn steered(by: &Wants) -> Option<Steered<'_>> {
    Some(Steered { by, client: address("203.0.113.5"), by_certificate: true, now: 7 })
}

#[test]
fn policies_narrow_what_the_rules_choose_from() {
    let (one, two) = (root("Root 1"), root("Root 2"));
    let a = certificate("a", &["a.example.test"], &one);
    let mut b = certificate("b", &["b.example.test"], &two);
    let mut c = certificate("c", &["c.example.test"], &two);
    (b.addresses, c.default) = (vec![address("192.0.2.7")], true);
    let trusts_one = [read(one.der()).spki_sha1()];
    let all = [c, b, a];
    let (only_a, both) = (Wants(&["a"]), Wants(&["b", "a"]));
    let to_b = Hints { address: Some(address("192.0.2.7")), ..NOTHING };
    for (wants, hints, expected) in [
        (&only_a, NOTHING, ("a", Some(Rule::Address), Some("of a"))),
        // What the client asks for is what another one is for: the policy is not for this client.
        (&only_a, asks("c.example.test"), ("c", Some(Rule::Name), None)),
        (&only_a, asks("a.example.test"), ("a", Some(Rule::Name), Some("of a"))),
        // What no certificate fulfils tells nothing.
        (&only_a, asks("d.example.test"), ("a", Some(Rule::Address), Some("of a"))),
        (&only_a, Hints { authorities: &[[9; 20]], ..NOTHING }, ("a", Some(Rule::Address), Some("of a"))),
        (&only_a, to_b, ("a", Some(Rule::Policy), Some("of a"))),
        (&both, Hints { authorities: &trusts_one, ..NOTHING }, ("a", Some(Rule::Authority), Some("of a"))),
        // Of several the rules choose.
        (&both, to_b, ("b", Some(Rule::Address), Some("of b"))),
        (&both, asks("a.example.test"), ("a", Some(Rule::Name), Some("of a"))),
        (&Wants(&["x"]), NOTHING, ("c", Some(Rule::Default), None)),
        (&Wants(&[]), NOTHING, ("c", Some(Rule::Default), None)),
    ] {
        let selection = choose(&all, &Hints { steering: steered(wants), ..hints }).unwrap();
        assert_eq!((selection.name.as_str(), selection.rule, selection.policy.as_deref()), expected, "{wants:?} {hints:?}");
    }
    let words = |wants, hints| {
        let selection = choose(&all, &Hints { steering: steered(wants), ..hints }).unwrap();
        (selection.why, selection.passed_over)
    };
    let (why, passed_over) = words(&only_a, NOTHING);
    assert_eq!(why, "not meant for other addresses; policy \"of a\" names it");
    assert_eq!(passed_over[0], ("c".into(), "of the policies that may let this client in, none names it".into()));
    assert_eq!(words(&both, to_b).0, "meant for clients that come to 192.0.2.7 (addresses); policy \"of b\" names it");
    // A key that the client cannot verify suits nobody, and a tie is told.
    let unable: KeyRank<'_> = &|_| None;
    assert_eq!(choose(&all, &Hints { keys: unable, steering: steered(&only_a), ..NOTHING }), None);
    let tied = Wants(&["a", "d"]);
    let with_d = [all[2].clone(), certificate("d", &["d.example.test"], &one), all[0].clone()];
    let selection = choose(&with_d, &Hints { steering: steered(&tied), ..NOTHING }).unwrap();
    assert_eq!((selection.name.as_str(), selection.tied.as_deref()), ("a", Some("d")));
}

/// Clients of IKEv2 may ask by an address or an e-mail address, which none of three equal ones with names of their own settles.
#[test]
fn a_tie_for_an_address_or_an_e_mail_address_is_seen() {
    let issuer = root("Root");
    let same = || [rcgen::SanType::IpAddress(address("192.0.2.9")), rcgen::SanType::Rfc822Name("vpn@example.test".try_into().unwrap())];
    for at in 0..2 {
        let made = |name: &str, is_default: bool, other: bool| {
            let mut params = server_params(&[&format!("{name}.example.test")]);
            params.subject_alt_names.extend(other.then(|| same()[at].clone()));
            let certificate = named(name, credential(&params, &issuer).into());
            ServerCertificate { default: is_default, ..certificate }
        };
        let all = [made("a", true, false), made("b", false, true), made("c", false, true)];
        let tie = find_tie(&all, &[ANY], Asks::Identities, false).expect("b and c tie");
        assert_eq!((tie.first.as_str(), tie.second.as_str()), ("b", "c"));
        assert!(tie.clients.contains(["192.0.2.9", "vpn@example.test"][at]), "{tie:?}");
        assert_eq!(find_tie(&all, &[ANY], Asks::Names, false), None, "SNI holds no such thing");
    }
}
