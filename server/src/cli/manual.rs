//! Manual pages and completions, out of the same definition that the command line is read by.
use super::Cli;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::fs;
use std::io::Result;
use std::path::Path;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// Writes a page for the program and one for each command to `folder`/man, and completions to `folder`/completions.
pub fn write(folder: &Path) -> Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    [&pages, &completions].into_iter().try_for_each(fs::create_dir_all)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "evergate", &completions)?;
    }
    clap_mangen::generate_to(Cli::command(), &pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page_and_hidden_ones_none() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let page = |name: &str| fs::read_to_string(folder.path().join("man").join(name));
        for command in Cli::command().get_subcommands() {
            let name = format!("evergate-{}.1", command.get_name());
            assert_eq!(page(&name).is_ok(), !command.is_hide_set(), "{name}");
        }
        assert!(page("evergate.1").unwrap().contains("EVERGATE_LOG"));
        assert!(page("evergate-sessions-disconnect.1").unwrap().contains("user"));
        for name in ["evergate.bash", "evergate.fish", "_evergate"] {
            assert!(fs::read_to_string(folder.path().join("completions").join(name)).unwrap().contains("quickstart"), "{name}");
        }
    }
}
