//! Who is found on the list, under which of its names.
use super::*;

const NOBODY: Who<'_> = Who {
    users: &["eve"],
    machine: None,
    serial: None,
    fingerprint: None,
    client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    hides_certificate: false,
    is_unconfirmed: false,
};

fn blocks(who: Blocked) -> Blocks {
    let mut blocks = Blocks::default();
    blocks.add(who, None, 100, None).unwrap();
    blocks
}

fn is_out(blocks: &Blocks, user: &str) -> bool {
    blocks.find(&Who { users: &[user], ..NOBODY }, 101).is_some()
}

#[test]
fn each_kind_finds_its_own() {
    let user = blocks(Blocked::User("Ann@Example.test".into()));
    assert!(is_out(&user, "ann@example.TEST"));
    let machine = blocks(Blocked::Machine("host/PC1.example.test".into()));
    assert!(is_out(&machine, "host/pc1.example.test"));
    assert!(machine.find(&Who { machine: Some("pc1.EXAMPLE.test"), ..NOBODY }, 101).is_some());
    let serial = blocks(Blocked::Certificate("00:AB:0c".into()));
    assert!(serial.find(&Who { serial: Some("ab0c"), ..NOBODY }, 101).is_some());
    assert!(serial.find(&Who { serial: Some("ab0d"), ..NOBODY }, 101).is_none());
    let fingerprint = blocks(Blocked::Certificate("ab".repeat(32)));
    assert!(fingerprint.find(&Who { fingerprint: Some(&"AB".repeat(32)), ..NOBODY }, 101).is_some());
    let network = blocks(Blocked::Address("127.0.0.0/8".into()));
    assert!(network.find(&Who { client: "::ffff:127.0.0.9".parse().unwrap(), ..NOBODY }, 101).is_some());
    for blocks in [user, machine, serial, fingerprint] {
        assert!(blocks.find(&NOBODY, 101).is_none());
    }
}

#[test]
fn a_bare_name_is_meant_in_every_form() {
    let alice = blocks(Blocked::User("Alice".into()));
    for form in [
        "alice",
        " ALICE ",
        "alice@corp.example",
        "alice@other.example",
        "CORP\\alice",
        "corp.example\\Alice",
        "CORP\\alice@corp.example",
        "alice@corp@example",
        "host/alice.corp.example",
        "CORP\\ALICE$",
    ] {
        assert!(is_out(&alice, form), "{form}");
    }
    for other in ["malice", "alice2", "alice.smith@corp.example", "alice\\bob", "bob@alice", "host/pc.alice", "", "@", "\\", "host/"] {
        assert!(!is_out(&alice, other), "{other}");
    }
    // Whoever logs in with a good name and is called otherwise by the server is found by either.
    assert!(alice.find(&Who { users: &["bob", "CORP\\alice"], ..NOBODY }, 101).is_some());
}

#[test]
fn a_name_of_a_realm_is_meant_there_alone() {
    for of_corp in ["alice@corp.example", "CORP.EXAMPLE\\alice"] {
        let alice = blocks(Blocked::User(of_corp.into()));
        for form in ["alice@corp.example", "Alice@CORP.example.", "corp.example\\alice", "CORP\\alice"] {
            assert!(is_out(&alice, form), "{of_corp}: {form}");
        }
        for other in ["alice", "alice@other.example", "alice@sub.corp.example", "OTHER\\alice", "bob@corp.example"] {
            assert!(!is_out(&alice, other), "{of_corp}: {other}");
        }
    }
    let short = blocks(Blocked::User("CORP\\alice".into()));
    assert!(is_out(&short, "alice@corp.example") && is_out(&short, "corp\\ALICE") && !is_out(&short, "alice@example"));
}

#[test]
fn computers_are_found_by_account_and_host_name() {
    let everywhere = ["host/pc1.corp.example", "HOST/PC1", "CORP\\PC1$", "pc1$@corp.example"];
    for name in ["pc1", "PC1$", "host/pc1"] {
        let machine = blocks(Blocked::Machine(name.into()));
        assert!(everywhere.iter().all(|form| is_out(&machine, form)), "{name}");
        assert!(!is_out(&machine, "pc1") && !is_out(&machine, "host/pc2.corp.example"), "a user, another computer");
        assert!(machine.find(&Who { machine: Some("pc1.other.example"), ..NOBODY }, 101).is_some());
    }
    for who in [Blocked::Machine("CORP\\PC1$".into()), Blocked::User("host/pc1.corp.example".into())] {
        let machine = blocks(who.clone());
        for form in ["host/pc1.corp.example", "CORP\\pc1$", "pc1$@corp.example"] {
            assert!(is_out(&machine, form), "{who}: {form}");
        }
        assert!(!is_out(&machine, "host/pc1.other.example") && !is_out(&machine, "OTHER\\PC1$"), "{who}");
    }
}

#[test]
fn a_hidden_certificate_is_judged_by_the_names_under_which_it_was_seen() {
    let mut blocks = blocks(Blocked::Certificate("0a:0b".into()));
    let hidden = |user| [user];
    let alice = hidden("CORP\\alice");
    let who = Who { users: &alice, hides_certificate: true, ..NOBODY };
    assert!(blocks.find(&who, 101).is_none());
    assert_eq!((blocks.pass(&who, 101), blocks.pass(&NOBODY, 101)), (1, 0), "one entry that nobody could judge");
    assert_eq!(blocks.list(101)[0].unjudged, 1);
    blocks.learn(1, ["alice@corp.example", "alice@corp.example", "pc1.corp.example", ""]);
    assert_eq!(blocks.unsaved().unwrap()[0].names, ["alice@corp.example", "pc1.corp.example"]);
    for user in ["CORP\\alice", "alice", "host/pc1.corp.example", "pc1$@corp.example"] {
        let users = hidden(user);
        assert!(blocks.find(&Who { users: &users, ..who }, 101).is_some(), "{user}");
    }
    let users = hidden("bob@corp.example");
    assert!(blocks.find(&Who { users: &users, ..who }, 101).is_none());
    // Of one that shows another certificate the name alone says nothing.
    assert!(blocks.find(&Who { serial: Some("77"), hides_certificate: false, ..who }, 101).is_none());
    // The names stay with the entry when its time is set anew, and go with it.
    assert_eq!(blocks.add(Blocked::Certificate("a0b".into()), None, 102, None).unwrap().names.len(), 2);
    blocks.remove(1);
    assert!(blocks.find(&who, 103).is_none() && blocks.keys.is_empty());
}

#[test]
fn a_name_that_nobody_confirmed_leaves_blocks_of_names_unjudged() {
    let mut blocks = blocks(Blocked::User("alice".into()));
    let who = Who { users: &["anonymous@corp.example"], is_unconfirmed: true, ..NOBODY };
    assert_eq!((blocks.pass(&who, 101), blocks.pass(&Who { is_unconfirmed: false, ..who }, 101)), (1, 0));
}

#[test]
fn an_end_is_kept_and_a_second_entry_replaces_the_first() {
    let mut blocks = Blocks::default();
    let ann = || Blocked::User("ann".into());
    let first = blocks.add(ann(), Some("left".into()), 100, Some(160)).unwrap();
    let who = Who { users: &["ann"], ..NOBODY };
    assert!(blocks.find(&who, 159).is_some() && blocks.find(&who, 160).is_none());
    let second = blocks.add(ann(), None, 150, Some(300)).unwrap();
    assert_eq!((second.id, blocks.len()), (first.id, 1));
    assert_eq!(blocks.unsaved().unwrap(), [second]);
    assert!(blocks.unsaved().is_none());
    assert!(blocks.list(300).is_empty());
    assert!(blocks.unsaved().is_some(), "what is over is forgotten");
    assert!(blocks.remove(first.id).is_none());
}

#[test]
fn to_hold_somebody_never_shortens_a_block() {
    let mut blocks = Blocks::default();
    let ann = || Blocked::User("ann".into());
    let held = blocks.hold(ann(), Some("noise".into()), 100, Some(200)).unwrap();
    assert_eq!(held.until, Some(200));
    assert_eq!(blocks.hold(ann(), None, 110, Some(150)).unwrap(), held, "it lasts longer already");
    assert_eq!(blocks.hold(ann(), None, 110, Some(900)).unwrap().until, Some(900));
    let for_good = blocks.add(ann(), Some("left".into()), 120, None).unwrap();
    assert_eq!(blocks.hold(Blocked::User("ANN".into()), None, 130, Some(999)).unwrap(), for_good);
    assert!(blocks.find(&Who { users: &["ann"], ..NOBODY }, 100_000).is_some());
    // What is over holds nobody.
    blocks.add(ann(), None, 140, Some(150)).unwrap();
    assert_eq!(blocks.hold(ann(), None, 160, Some(170)).unwrap().until, Some(170));
}

#[test]
fn an_entry_in_other_letters_is_the_same_entry() {
    let mut blocks = blocks(Blocked::User("Ann@Example.test".into()));
    let second = blocks.add(Blocked::User("ann@example.test".into()), None, 150, Some(300)).unwrap();
    assert_eq!((second.id, blocks.len()), (1, 1));
    blocks.add(Blocked::User("ANN@example.test".into()), None, 160, None).unwrap();
    assert!(blocks.find(&Who { users: &["ann@example.test"], ..NOBODY }, 400).is_some());
    let other = blocks.add(Blocked::User("ann".into()), None, 170, None).unwrap();
    assert_eq!((other.id, blocks.len()), (2, 2), "of every realm is another one");
}

#[test]
fn numbers_are_not_given_twice_over_a_restart() {
    let mut blocks = blocks(Blocked::User("ann".into()));
    blocks.add(Blocked::User("bob".into()), None, 100, Some(110)).unwrap();
    let mut again = Blocks::new(blocks.unsaved().unwrap(), 0, 120);
    assert_eq!(again.len(), 1);
    assert_eq!(again.add(Blocked::User("cid".into()), None, 120, None).unwrap().id, 3);
    assert_eq!(Blocks::new(Vec::new(), 7, 120).add(Blocked::User("cid".into()), None, 120, None).unwrap().id, 8);
}

#[test]
fn nonsense_is_refused_with_a_remedy() {
    for who in [
        Blocked::User(" ".into()),
        Blocked::User("x".repeat(300)),
        Blocked::Certificate("xyz".into()),
        Blocked::Certificate(":".into()),
        Blocked::Certificate("a".repeat(65)),
        Blocked::Address("here".into()),
        Blocked::Address("192.0.2.1/24".into()),
    ] {
        let (error, remedy) = Blocks::default().add(who, None, 0, None).unwrap_err();
        assert!(!error.is_empty() && !remedy.is_empty());
    }
    assert!(Blocks::default().add(Blocked::User("a".into()), Some("x".repeat(201)), 0, None).is_err());
}

#[test]
fn the_list_is_bounded() {
    let mut blocks = Blocks::default();
    for number in 0..MAX_BLOCKS {
        let who = Blocked::User(number.to_string());
        blocks.put(Block { id: number as u64, who, reason: None, added_at: 0, until: None, names: Vec::new(), unjudged: 0 });
    }
    assert!(blocks.add(Blocked::User("one more".into()), None, 0, None).unwrap_err().0.contains("full"));
    assert!(blocks.add(Blocked::User("17".into()), Some("again".into()), 0, None).is_ok());
}
