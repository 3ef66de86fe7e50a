//! Who is told what, and what it costs.
use super::*;
use crate::api::testing::{self, feed};

struct Reader(testing::Reader);

impl Reader {
    /// What is there: titles, and `missed N`.
    fn titles(&mut self) -> Vec<String> {
        let mut titles = Vec::new();
        while let Some(line) = self.0.next() {
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let title = value["title"].as_str().map(str::to_owned);
            titles.push(title.unwrap_or_else(|| format!("missed {}", value["missed"])));
        }
        titles
    }
}

fn client(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 500))
}

fn begun(id: &str, number: u8) -> Begun {
    Begun { id: id.into(), client: client(number), user: None, up: false }
}

fn begin(tracer: &Tracer, about: About, running: Vec<Begun>) -> (u64, Reader) {
    let (feed, lines) = feed();
    let now = (Instant::now(), jiff::Timestamp::UNIX_EPOCH);
    (tracer.begin(now, about, Extent::default(), feed, running.into_iter()).unwrap(), Reader(lines))
}

fn user(name: &str) -> About {
    About::User(name.into())
}

fn line(tracer: &Tracer, id: &str, text: &str) {
    tracer.line(Instant::now(), id, text);
}

#[test]
fn nobody_traces_and_nothing_is_kept() {
    let tracer = Tracer::default();
    tracer.started(|| panic!("nobody asks"));
    line(&tracer, "1", "before");
    assert!(!tracer.is_on() && !tracer.wants_packets());
    let (number, mut reader) = begin(&tracer, user("alice"), vec![]);
    assert!(tracer.is_on());
    assert_eq!(tracer.end(number), Some(user("alice")));
    assert_eq!(tracer.end(number), None);
    assert!(!tracer.is_on());
    assert!(reader.titles().is_empty() && reader.0.is_over(), "the stream ends with its trace");
}

#[test]
fn a_name_brings_what_was_said_before_it() {
    let tracer = Tracer::default();
    let (_, mut alice) = begin(&tracer, user("ALICE"), vec![]);
    let (_, mut bob) = begin(&tracer, user("bob"), vec![]);
    for id in ["1", "2"] {
        tracer.started(|| begun(id, 7));
        line(&tracer, id, &format!("{id} begins"));
    }
    assert!(alice.titles().is_empty(), "nobody is known yet");
    tracer.named("1", "alice");
    line(&tracer, "1", "1 goes on");
    line(&tracer, "2", "2 goes on");
    assert_eq!(alice.titles(), ["1 begins", "1 goes on"]);
    assert!(bob.titles().is_empty());
    tracer.named("1", "bob");
    assert_eq!(bob.titles(), ["1 begins", "1 goes on"], "it is found to be another");
    line(&tracer, "1", "end");
    assert_eq!((alice.titles(), bob.titles()), (vec!["end".to_owned()], vec!["end".to_owned()]), "who has once followed follows on");
}

#[test]
fn what_came_before_is_bounded_and_its_loss_is_told() {
    let tracer = Tracer::default();
    let (_, mut alice) = begin(&tracer, user("alice"), vec![]);
    tracer.started(|| begun("1", 7));
    (0..100).for_each(|number| line(&tracer, "1", &number.to_string()));
    tracer.named("1", "alice");
    let titles = alice.titles();
    assert_eq!(titles.len(), 65);
    assert_eq!((titles[0].as_str(), titles[1].as_str()), ("36 earlier events of this attempt are not kept", "36"));
}

#[test]
fn strangers_do_not_fill_the_memory() {
    let tracer = Tracer::default();
    let (_, mut alice) = begin(&tracer, user("alice"), vec![]);
    for id in 0..2000 {
        tracer.started(|| begun(&id.to_string(), 7));
        (0..10).for_each(|_| line(&tracer, &id.to_string(), "x"));
    }
    assert!(tracer.0.book.lock().unwrap().kept().0 <= 8192);
    tracer.named("0", "alice");
    assert!(alice.titles().is_empty(), "the oldest went first");
    line(&tracer, "0", "later");
    assert_eq!(alice.titles(), ["later"]);
    tracer.named("1999", "alice");
    assert_eq!(alice.titles().len(), 10);
    (0..2000).for_each(|id| tracer.finished(&id.to_string()));
    assert!(tracer.0.book.lock().unwrap().attempts() <= 256);
}

#[test]
fn an_address_is_told_of_whoever_is_there() {
    let tracer = Tracer::default();
    let (_, mut reader) = begin(&tracer, About::Peer(client(7).ip()), vec![begun("1", 7), begun("2", 8)]);
    line(&tracer, "1", "one");
    line(&tracer, "2", "two");
    tracer.moved("2", client(7));
    line(&tracer, "2", "moved");
    let stranger = |number, title: &str| {
        tracer.tell(Instant::now(), None, Told::packet(Layer::Ike, Direction::In, client(number), title.into()));
    };
    stranger(7, "refused");
    stranger(9, "of another");
    assert_eq!(reader.titles(), ["one", "moved", "refused"]);
}

#[test]
fn what_is_kept_is_bounded_in_bytes_too() {
    let tracer = Tracer::default();
    let (_, mut alice) = begin(&tracer, user("alice"), vec![]);
    let large = |id: &str| {
        let mut told = Told::packet(Layer::Ike, Direction::In, client(7), "x".into());
        told.packets = vec![Datagram { from: client(7), to: client(1), bytes: "00".repeat(20_000) }];
        tracer.tell(Instant::now(), Some(id), told);
    };
    for id in 0..300 {
        tracer.started(|| begun(&id.to_string(), 7));
        (0..10).for_each(|_| large(&id.to_string()));
    }
    let (events, bytes) = tracer.0.book.lock().unwrap().kept();
    assert!(events < 300 && (1 << 20..=8 << 20).contains(&bytes), "{events} events, {bytes} bytes");
    tracer.named("299", "alice");
    let titles = alice.titles();
    assert!(titles[0].ends_with("earlier events of this attempt are not kept") && titles.len() < 6, "{titles:?}");
    (0..300).for_each(|id| tracer.settled(&id.to_string()));
    assert_eq!(tracer.0.book.lock().unwrap().kept(), (0, 0));
}

#[test]
fn others_cost_no_words() {
    let tracer = Tracer::default();
    assert!(!tracer.cares(None, Some(client(7))) && !tracer.cares(Some("1"), None));
    let up = |id, number, user: &str| Begun { user: Some(user.into()), up: true, ..begun(id, number) };
    let (by_name, _reader) = begin(&tracer, user("alice"), vec![up("1", 7, "alice"), up("2", 8, "bob")]);
    tracer.started(|| begun("3", 9));
    assert_eq!(["1", "2", "3", "4"].map(|id| tracer.cares(Some(id), None)), [true, false, true, false]);
    tracer.named("3", "bob");
    assert!(tracer.cares(Some("3"), None), "it may be found to be another");
    tracer.settled("3");
    assert!(!tracer.cares(Some("3"), None) && !tracer.cares(None, Some(client(7))), "a stranger has no name");
    let (_, _peer) = begin(&tracer, About::Peer(client(7).ip()), vec![]);
    assert!(tracer.cares(None, Some(client(7))) && !tracer.cares(None, Some(client(9))));
    tracer.end(by_name);
    tracer.started(|| begun("5", 9));
    assert!(!tracer.cares(Some("5"), None), "it is not there, and nobody asks for a name");
    tracer.moved("5", client(7));
    assert!(tracer.cares(Some("5"), None));
}

#[test]
fn the_end_of_an_attempt_is_told_to_its_trace() {
    let tracer = Tracer::default();
    let (number, mut reader) = begin(&tracer, About::Attempt("1".into()), vec![begun("1", 7), begun("2", 8)]);
    let over = tracer.over(number).unwrap();
    let is_over = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(async { tokio::time::timeout(std::time::Duration::from_millis(1), over.notified()).await.is_ok() })
    };
    tracer.finished("2");
    assert!(!is_over());
    tracer.finished("1");
    assert!(is_over());
    tracer.last_word(Instant::now(), number, "that was all");
    assert_eq!(reader.titles(), ["that was all"]);
    tracer.end(number);
    assert!(tracer.over(number).is_none() && reader.0.is_over());
}

#[test]
fn a_last_word_comes_after_the_end() {
    let tracer = Tracer::default();
    let (_, mut reader) = begin(&tracer, user("alice"), vec![Begun { user: Some("alice".into()), up: true, ..begun("1", 7) }]);
    tracer.finished("1");
    tracer.tell(Instant::now(), None, Told::packet(Layer::Ike, Direction::Out, client(7), "again".into()));
    assert_eq!(reader.titles(), ["again"]);
}

#[test]
fn a_slow_reader_is_told_how_much_it_missed() {
    let tracer = Tracer::default();
    let (_, mut reader) = begin(&tracer, About::Attempt("1".into()), vec![begun("1", 7)]);
    (0..1500).for_each(|_| line(&tracer, "1", "x"));
    let titles = reader.titles();
    assert_eq!(titles.len(), 257);
    assert_eq!(titles.iter().filter(|title| *title == "missed 1244").count(), 1);
}

#[test]
fn traces_are_few() {
    let tracer = Tracer::default();
    let traces: Vec<_> = (0..MAX_TRACES).map(|_| begin(&tracer, user("alice"), vec![])).collect();
    let (feed, _lines) = feed();
    let now = (Instant::now(), jiff::Timestamp::UNIX_EPOCH);
    let refused = tracer.begin(now, user("bob"), Extent::default(), feed, std::iter::empty());
    assert!(refused.unwrap_err().error.contains("8 traces"));
    drop(traces);
}

#[test]
fn packets_go_to_who_asks_for_them() {
    let tracer = Tracer::default();
    let (_, mut plain) = begin(&tracer, About::Attempt("1".into()), vec![begun("1", 7)]);
    assert!(!tracer.wants_packets());
    let (to, mut lines) = feed();
    let now = (Instant::now(), jiff::Timestamp::UNIX_EPOCH);
    tracer.begin(now, About::Attempt("1".into()), Extent { packets: true, ..Extent::default() }, to, std::iter::empty()).unwrap();
    assert!(tracer.wants_packets());
    let mut told = Told::packet(Layer::Ike, Direction::In, client(7), "x".into());
    told.packets = vec![Datagram { from: client(7), to: client(1), bytes: "00".into() }];
    tracer.tell(Instant::now(), Some("1"), told);
    let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
    assert!(text(lines.next().unwrap()).contains("packets"));
    assert!(!text(plain.0.next().unwrap()).contains("packets"));
}

#[test]
fn keys_go_to_who_asks_for_them_and_are_not_kept() {
    let tracer = Tracer::default();
    let (to, mut lines) = feed();
    let now = (Instant::now(), jiff::Timestamp::UNIX_EPOCH);
    tracer.begin(now, user("alice"), Extent { keys: true, ..Extent::default() }, to, std::iter::once(begun("1", 7))).unwrap();
    let (_, mut plain) = begin(&tracer, About::Attempt("1".into()), vec![]);
    assert!(tracer.wants_keys() && !tracer.wants_packets());
    let tell = || {
        let mut told = Told::packet(Layer::Ike, Direction::In, client(7), "x".into());
        told.keys = serde_json::from_str("\"spi,spi,secret\"").ok();
        assert!(told.keys.is_some() && !format!("{told:?}").contains("secret"));
        tracer.tell(Instant::now(), Some("1"), told);
    };
    tell();
    tracer.named("1", "alice");
    tell();
    let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| lines.next()).map(text).collect();
    assert_eq!(told.iter().map(|line| line.contains("secret")).collect::<Vec<_>>(), [false, true]);
    assert!(std::iter::from_fn(|| plain.0.next()).all(|line| !text(line).contains("secret")));
}

#[test]
fn what_a_stranger_sends_is_cut() {
    let mut told = Told::packet(Layer::Ike, Direction::In, client(7), "ä".repeat(9000));
    (0..1000).for_each(|_| told.field("x", "y".repeat(9000)));
    assert!(told.title.len() <= VALUE_BYTES + 4 && told.fields.len() <= FIELD_BYTES / VALUE_BYTES);
    (0..1000).for_each(|_| told.field("x", ""));
    assert!(told.fields.len() <= FIELDS);
    assert!(told.fields.iter().all(|field| field.value.len() <= VALUE_BYTES + 4));
}
