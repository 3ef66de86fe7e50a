//! A configuration out of what a Windows server with RRAS (Routing and Remote Access) says about itself: `netsh ras dump`, and the cmdlets of the module
//! RemoteAccess as text, JSON or CLIXML.
//!
//! What has no equivalent is named. What only the administrator knows is left as a value that no key takes, so that the gateway does not start before
//! it is filled in. Secrets are neither read nor made up.
mod ciphers;
mod read;
mod server;
#[cfg(test)]
mod tests;
mod write;

/// Bytes of a file that are read at most.
pub(crate) const SIZE_MAX: usize = 16 << 20;

/// What a server's files come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The configuration.
    pub toml: String,
    /// What is otherwise than it was, or has no equivalent, one sentence each.
    pub notes: Vec<String>,
    /// What is to be put in its place before the gateway starts.
    pub to_fill: Vec<String>,
}

/// What the files do not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// What clients dial.
    pub name: Option<&'a str>,
    /// `[[policy]]` sections out of an export of NPS.
    pub policies: Option<&'a str>,
}

/// Reads the files of one server, each with its name. Without any, what an export of NPS does not say is to be filled in.
///
/// # Errors
/// Which file cannot be read, and why, or that none of them is of RRAS.
pub fn migrate(files: &[(&str, &[u8])], options: &Options<'_>) -> Result<Migrated, String> {
    let mut facts = Vec::new();
    for (name, bytes) in files {
        facts.push((*name, read_file(bytes).map_err(|problem| format!("{name} {problem}"))?));
    }
    let server = server::Server::new(&facts);
    if !(server.known || files.is_empty() && options.policies.is_some()) {
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "{} holds nothing of RRAS; expected the output of `netsh ras dump`, Get-RemoteAccess, Get-VpnServerConfiguration, Get-VpnAuthProtocol or \
             Get-RemoteAccessRadius",
            names.join(", ")
        ));
    }
    Ok(write::write(&server, options))
}

fn read_file(bytes: &[u8]) -> Result<read::Facts, String> {
    if bytes.len() > SIZE_MAX {
        return Err(format!("has more than the {SIZE_MAX} bytes that are read at most"));
    }
    // A console writes in a code page, which nothing in the file names.
    let told = "is neither UTF-8 nor UTF-16: write it from PowerShell, as in `netsh ras dump | Out-File -Encoding utf8 dump.txt`";
    read::read(&crate::nps::decoded(bytes).ok_or(told)?)
}
