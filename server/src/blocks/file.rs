//! Where the block list outlives a restart: a file in `[server] state_dir`, replaced as a whole.
use super::MAX_BLOCKS;
use crate::api::types::Block;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

const NAME: &str = "blocks.json";
/// Bytes read at most: a full list of long entries.
const MAX_FILE: u64 = (MAX_BLOCKS as u64) * 1_024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    blocks: Vec<Block>,
}

/// What happens once a list is on disk, or cannot be put there.
type Then = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Writes lists, one after the other, on a thread of its own: the control task waits for no disk.
#[derive(Debug)]
pub struct BlockFile {
    lists: mpsc::Sender<(Vec<Block>, Then)>,
}

impl BlockFile {
    /// Reads the list and begins to keep it.
    ///
    /// # Errors
    /// The file is there and cannot be read: whoever stands on it must not come in unnoticed.
    pub fn start(state_dir: &Path) -> anyhow::Result<(Self, Vec<Block>)> {
        let path = state_dir.join(NAME);
        let blocks = read(&path).map_err(|error| {
            anyhow::anyhow!(
                "the block list {} cannot be read: {error}; repair the file, or remove it to begin with an empty one",
                path.display()
            )
        })?;
        let (lists, waiting) = mpsc::channel::<(Vec<Block>, Then)>();
        std::thread::Builder::new().name("blocks".into()).spawn(move || {
            for (blocks, then) in waiting {
                then(write(&path, blocks));
            }
        })?;
        Ok((Self { lists }, blocks))
    }

    /// Puts the list on disk; `then` hears what came of it.
    pub fn save(&self, blocks: Vec<Block>, then: impl FnOnce(io::Result<()>) + Send + 'static) {
        if let Err(mpsc::SendError((_, then))) = self.lists.send((blocks, Box::new(then))) {
            then(Err(io::Error::other("the thread that writes the block list has stopped")));
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Block>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice::<Kept>(&text)?.blocks)
}

/// Whole or not at all: the file takes its name when it is complete.
fn write(path: &PathBuf, blocks: Vec<Block>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(&Kept { blocks })?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Blocked;

    #[test]
    fn a_list_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (file, empty) = BlockFile::start(&state).unwrap();
        assert!(empty.is_empty());
        let block = Block {
            id: 7,
            who: Blocked::Address("192.0.2.0/24".into()),
            reason: Some("noise".into()),
            added_at: 1,
            until: Some(2_000_000_000),
        };
        let (told, hears) = mpsc::channel();
        file.save(vec![block.clone()], move |outcome| told.send(outcome).unwrap());
        hears.recv().unwrap().unwrap();
        assert_eq!(BlockFile::start(&state).unwrap().1, [block]);
    }

    #[test]
    fn a_damaged_list_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{\"blocks\": [").unwrap();
        let error = BlockFile::start(folder.path()).unwrap_err().to_string();
        assert!(error.contains("blocks.json") && error.contains("repair"), "{error}");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (file, _) = BlockFile::start(&state).unwrap();
        fs::write(&state, "no folder").unwrap();
        let (told, hears) = mpsc::channel();
        file.save(Vec::new(), move |outcome| told.send(outcome).unwrap());
        assert!(hears.recv().unwrap().is_err());
    }
}
