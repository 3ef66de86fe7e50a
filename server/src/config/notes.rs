//! What reading a configuration leaves behind: which files were read, and which addresses names stood for before.
use crypto::hash::{HashAlgorithm, hash};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Taken while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) files: RefCell<Vec<NotedFile>>,
    /// Names of hosts with the addresses in use: one that still counts is kept, and serves while its name cannot be looked up.
    pub(super) addresses: BTreeMap<String, Vec<IpAddr>>,
}

/// A file that a key names, as it was when it was read.
#[derive(Clone)]
pub(super) struct NotedFile {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// SHA-256 of what it held.
    pub(super) digest: [u8; 32],
    pub(super) look: Look,
}

/// The digest of a short secret tells it to who tries them all.
impl std::fmt::Debug for NotedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotedFile")
            .field("section", &self.section)
            .field("key", &self.key)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NotedFile {
    pub(super) fn new(section: String, key: &str, path: &Path, metadata: &Metadata, bytes: &[u8]) -> Self {
        let digest = digest(&[bytes]);
        Self { section, key: key.to_owned(), path: path.to_owned(), digest, look: Look::of(metadata) }
    }
}

/// SHA-256.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(&hash(HashAlgorithm::Sha256, parts));
    digest
}

/// By what a changed file is known: device, inode, size, and the time of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.len(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }

    /// Of the file that `path` leads to, through links; `None`: there is none.
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}
