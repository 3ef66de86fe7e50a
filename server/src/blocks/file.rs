//! Where the block list outlives a restart: a file in `[server] state_dir`, replaced as a whole.
//!
//! What stands in it and is not understood keeps nobody out, which is told; it stays in the file as it is, so that nothing is lost by a mistake of
//! somebody's, or of another version.
use super::{MAX_BLOCKS, checked};
use crate::api::types::Block;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

const NAME: &str = "blocks.json";
/// The gateway writes the whole list, which it does not read again.
pub const MENDING: &str =
    "stop the gateway, mend or remove the entry, start the gateway (what is changed in the file while it runs is written over)";
/// Bytes read at most: a full list of long entries.
const MAX_FILE: u64 = (MAX_BLOCKS as u64) * 8_192;
/// From a save that failed to the next try.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    blocks: Vec<Value>,
}

/// What a file holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Kept {
    pub blocks: Vec<Block>,
    /// What is not understood, a sentence each.
    pub unread: Vec<String>,
    /// The highest number of an entry, understood or not.
    pub highest: u64,
}

/// What happens once a list is on disk, or cannot be put there.
type Then = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Writes lists, one after the other, on a thread of its own: the control task waits for no disk. A list that could not be written is tried again until
/// it is, or until there is another.
#[derive(Debug)]
pub struct BlockFile {
    lists: mpsc::Sender<(Vec<Block>, Then)>,
}

impl BlockFile {
    /// Reads the list and begins to keep it.
    ///
    /// # Errors
    /// The file is there and cannot be read: whoever stands on it must not come in unnoticed.
    pub fn start(state_dir: &Path) -> anyhow::Result<(Self, Kept)> {
        Self::start_with(state_dir, AGAIN)
    }

    fn start_with(state_dir: &Path, again: Duration) -> anyhow::Result<(Self, Kept)> {
        let path = state_dir.join(NAME);
        let (kept, unread) = read(&path).map_err(|error| {
            anyhow::anyhow!(
                "the block list {} cannot be read: {error}; repair the file, or remove it to begin with an empty one",
                path.display()
            )
        })?;
        for what in &kept.unread {
            tracing::warn!("block list: {what}; it keeps nobody out, and stays in the file until somebody mends it: {MENDING}");
        }
        let (lists, waiting) = mpsc::channel::<(Vec<Block>, Then)>();
        std::thread::Builder::new().name("blocks".into()).spawn(move || keep(&path, &unread, &waiting, again))?;
        Ok((Self { lists }, kept))
    }

    /// Puts the list on disk; `then` hears what came of it.
    pub fn save(&self, blocks: Vec<Block>, then: impl FnOnce(io::Result<()>) + Send + 'static) {
        if let Err(mpsc::SendError((_, then))) = self.lists.send((blocks, Box::new(then))) {
            then(Err(io::Error::other("the thread that writes the block list has stopped")));
        }
    }
}

fn keep(path: &Path, unread: &[Value], waiting: &Receiver<(Vec<Block>, Then)>, again: Duration) {
    let mut owed: Option<Vec<Block>> = None;
    loop {
        let next = if owed.is_some() { waiting.recv_timeout(again) } else { waiting.recv().map_err(|_| RecvTimeoutError::Disconnected) };
        match (next, &owed) {
            (Ok((blocks, then)), _) => {
                let outcome = write(path, &blocks, unread);
                owed = outcome.is_err().then_some(blocks);
                then(outcome);
            }
            (Err(RecvTimeoutError::Timeout), Some(blocks)) => {
                if write(path, blocks, unread).is_ok() {
                    tracing::info!(file = %path.display(), "the block list is saved after all");
                    owed = None;
                }
            }
            (Err(_), owed) => {
                // The gateway stops: the last chance.
                if let Some(Err(error)) = owed.as_ref().map(|blocks| write(path, blocks, unread)) {
                    tracing::error!(%error, file = %path.display(), "the last changes of the block list are lost");
                }
                return;
            }
        }
    }
}

/// What is understood, and what is not as it stands there.
fn read(path: &Path) -> io::Result<(Kept, Vec<Value>)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    let written: Written = serde_json::from_slice(&text)?;
    let lines = lines(&text);
    let (mut kept, mut unread, mut numbers) = (Kept::default(), Vec::new(), BTreeSet::new());
    for (index, value) in written.blocks.into_iter().enumerate() {
        kept.highest = kept.highest.max(value.get("id").and_then(Value::as_u64).unwrap_or(0));
        match understood(&value, &numbers) {
            Ok(block) => {
                numbers.insert(block.id);
                kept.blocks.push(block);
            }
            Err(problem) => {
                let line = lines.get(index).copied().unwrap_or_default();
                kept.unread.push(format!("{} line {line}: entry {} is not understood: {problem}", path.display(), index + 1));
                unread.push(value);
            }
        }
    }
    Ok((kept, unread))
}

fn understood(value: &Value, numbers: &BTreeSet<u64>) -> Result<Block, String> {
    let block: Block = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    if numbers.contains(&block.id) {
        return Err(format!("another entry has the id {} too", block.id));
    }
    if numbers.len() >= MAX_BLOCKS {
        return Err(format!("there are more than {MAX_BLOCKS}"));
    }
    checked(block).map_err(|(error, remedy)| format!("{error} ({remedy})"))
}

/// The line on which each entry begins: what stands after the bracket of the list, or after a comma in it.
fn lines(text: &[u8]) -> Vec<usize> {
    let (mut found, mut line, mut depth, mut in_text, mut escaped, mut is_next) = (Vec::new(), 1, 0, false, false, false);
    for &byte in text {
        line += usize::from(byte == b'\n');
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        if is_next && !byte.is_ascii_whitespace() {
            found.push(line);
            is_next = false;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        is_next |= depth == 2 && matches!(byte, b'[' | b',');
    }
    found
}

/// Whole or not at all: the file takes its name when it is complete, and neither is lost with the power.
fn write(path: &Path, blocks: &[Block], unread: &[Value]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh: PathBuf = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let known = blocks.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let blocks = known.into_iter().chain(unread.iter().cloned()).collect();
    file.write_all(&serde_json::to_vec_pretty(&Written { blocks })?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Blocked;

    fn block(id: u64) -> Block {
        Block {
            id,
            who: Blocked::Address("192.0.2.0/24".into()),
            reason: Some("noise".into()),
            added_at: 1,
            until: Some(2_000_000_000),
            names: Vec::new(),
            unjudged: 0,
        }
    }

    fn saved(file: &BlockFile, blocks: Vec<Block>) -> io::Result<()> {
        let (told, hears) = mpsc::channel();
        file.save(blocks, move |outcome| told.send(outcome).unwrap());
        hears.recv().unwrap()
    }

    #[test]
    fn a_list_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (file, empty) = BlockFile::start(&state).unwrap();
        assert_eq!(empty, Kept::default());
        let named = Block { who: Blocked::Certificate("ab".into()), names: vec!["alice".into()], ..block(8) };
        saved(&file, vec![block(7), named.clone()]).unwrap();
        assert_eq!(BlockFile::start(&state).unwrap().1, Kept { blocks: vec![block(7), named], unread: Vec::new(), highest: 8 });
    }

    #[test]
    fn a_damaged_list_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{\"blocks\": [").unwrap();
        let error = BlockFile::start(folder.path()).unwrap_err().to_string();
        assert!(error.contains("blocks.json") && error.contains("repair"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_told_by_its_line_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let text = r#"{"blocks": [
  {"id": 1, "who": {"user": "ann, [bob] \"}"}, "added_at": 1},
  {"id": 2,
   "who": {"planet": "mars"}, "added_at": 1},
  {"id": 9, "who": {"address": "here"}, "added_at": 1, "note": "mine"}, 4,
  {"id": 1, "who": {"user": "eve"}, "added_at": 1},
  {"id": 3, "who": {"user": "cid"}, "added_at": 1}
]}"#;
        fs::write(&path, text).unwrap();
        let (file, kept) = BlockFile::start(folder.path()).unwrap();
        assert_eq!(kept.blocks.iter().map(|block| block.id).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(kept.highest, 9);
        for (told, (line, problem)) in kept.unread.iter().zip([
            ("line 3: entry 2", "planet"),
            ("line 5: entry 3", "here"),
            ("line 5: entry 4", ""),
            ("line 6: entry 5", "id 1 too"),
        ]) {
            assert!(told.contains(line) && told.contains(problem), "{told}");
        }
        assert_eq!(kept.unread.len(), 4);
        saved(&file, vec![block(10)]).unwrap();
        let after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(after["blocks"][2], serde_json::json!({"id": 9, "who": {"address": "here"}, "added_at": 1, "note": "mine"}));
        assert_eq!(after["blocks"].as_array().unwrap().len(), 5);
        assert_eq!(BlockFile::start(folder.path()).unwrap().1.unread.len(), 3, "eve's number is free now");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_and_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (file, _) = BlockFile::start_with(&state, Duration::from_millis(5)).unwrap();
        fs::write(&state, "no folder").unwrap();
        assert!(saved(&file, vec![block(7)]).is_err());
        fs::remove_file(&state).unwrap();
        let is_there = || BlockFile::start(&state).is_ok_and(|(_, kept)| kept.blocks == [block(7)]);
        assert!((0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            is_there()
        }));
    }
}
