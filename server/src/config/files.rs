//! Files that the configuration names: certificates, keys, secrets.
use super::error::ConfigError;
use super::notes::NotedFile;
use super::reader::Section;
use crypto::Zeroizing;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The largest such file; a chain or a bundle of authorities is far smaller.
const MAX_FILE: u64 = 4 << 20;

/// Reads a file that everybody may see.
pub(super) fn read(section: &Section<'_>, key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let file = open(section, key, path)?;
    let metadata = file.metadata().map_err(|error| unreadable(section, key, path, &error))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(section, key, path, &error))?;
    note(section, key, path, &metadata, &bytes);
    Ok(bytes)
}

/// Reads a file that only the gateway should see; warns where others may read it too.
pub(super) fn read_secret(
    section: &Section<'_>,
    key: &str,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let file = open(section, key, path)?;
    let metadata = file.metadata().map_err(|error| unreadable(section, key, path, &error))?;
    if metadata.permissions().mode() & 0o007 != 0 {
        warnings.push(format!("{}: {key} = {:?} is open to all users of this host: chmod o= {}", section.title(), path, path.display()));
    }
    // Read in one go into a buffer of the file's size: a growing buffer would leave copies behind.
    let size = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(section, key, path, &error))?;
    note(section, key, path, &metadata, &bytes);
    Ok(bytes)
}

fn note(section: &Section<'_>, key: &str, path: &Path, metadata: &Metadata, bytes: &[u8]) {
    section.notes().files.borrow_mut().push(NotedFile::new(section.title(), key, path, metadata, bytes));
}

/// Reads the file that `key` must name, which holds a secret and nothing else: its bytes without the line end.
pub(super) fn read_secret_line(
    section: &Section<'_>,
    key: &str,
    what: &str,
    warnings: &mut Vec<String>,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let missing = || section.error(key, format!("is missing; expected the path of a file that holds {what} and nothing else"));
    let path = section.path(key)?.ok_or_else(missing)?;
    let mut secret = read_secret(section, key, &path, warnings)?;
    let length = secret.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    secret.truncate(length);
    if secret.is_empty() {
        return Err(section.error(key, format!("{} is empty; expected {what}", path.display())));
    }
    Ok(secret)
}

fn open(section: &Section<'_>, key: &str, path: &Path) -> Result<File, ConfigError> {
    let file = File::open(path).map_err(|error| unreadable(section, key, path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(section, key, path, &error))?;
    if metadata.is_dir() {
        return Err(section.error(key, format!("{} is a directory; expected a file", path.display())));
    }
    if metadata.len() > MAX_FILE {
        return Err(section.error(key, format!("{} is {} bytes long; expected at most {MAX_FILE}", path.display(), metadata.len())));
    }
    Ok(file)
}

fn unreadable(section: &Section<'_>, key: &str, path: &Path, error: &std::io::Error) -> ConfigError {
    section.error(key, format!("{} cannot be read: {error}", path.display()))
}
