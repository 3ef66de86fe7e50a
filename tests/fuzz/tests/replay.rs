//! Replays the committed corpora on a stable toolchain.
use std::path::Path;

#[test]
fn every_corpus_is_replayed() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in fuzz_targets::TARGETS {
        let folder = corpora.join(name);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            let data = std::fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("{} breaks {name}", file.display());
            }
        }
    }
}

#[test]
fn nothing_at_all_and_much_of_nothing() {
    for (_, target) in fuzz_targets::TARGETS {
        target(&[]);
        for len in [1, 20, 28, 32, 64, 1500, 65_535] {
            target(&vec![0; len]);
            target(&vec![0xff; len]);
        }
    }
}
