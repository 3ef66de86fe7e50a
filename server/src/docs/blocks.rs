//! What somebody may copy from a page is read by what would read it: command lines by clap, configuration by its reader.
use super::{pages, root};
use crate::cli::Cli;
use crate::config::Config;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, Parser as _};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A fenced block.
pub(super) struct Block {
    /// Page and line.
    pub(super) place: String,
    /// Its language: the first word behind the fence.
    language: String,
    pub(super) text: String,
}

fn blocks(file: &str, page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (index, line) in page.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                inside = true;
                let language = info.split(' ').next().unwrap_or_default().to_owned();
                blocks.push(Block { place: format!("{file}:{}", index + 1), language, text: String::new() });
            }
            None if inside => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    assert!(!inside, "{file}: a block without end");
    blocks
}

pub(super) fn all(language: &str) -> Vec<Block> {
    pages().iter().flat_map(|(file, page)| blocks(file, page)).filter(|block| block.language == language).collect()
}

/// Lines as a shell sees them: continued ones joined, without what stands in here documents.
fn shell_lines(text: &str) -> Vec<String> {
    let (mut lines, mut here): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in text.replace("\\\n", " ").lines() {
        match &here {
            Some(end) if line.trim() == end => here = None,
            Some(_) => {}
            None => {
                here = line.split_once("<<").map(|(_, word)| word.split(' ').next().unwrap_or_default().trim_matches('\'').to_owned());
                lines.push(line.to_owned());
            }
        }
    }
    lines
}

/// The commands of a line, each as its words.
fn shell_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let (mut quote, mut started, mut redirected) = (None, false, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                started = true;
            }
            (None, '#') if !started => break,
            (None, ' ' | '|' | ';' | '&' | '>' | '<') => {
                if started && !std::mem::take(&mut redirected) {
                    words.push(std::mem::take(&mut word));
                }
                word.clear();
                started = false;
                if matches!(letter, '|' | ';' | '&') {
                    commands.push(std::mem::take(&mut words));
                } else if letter != ' ' {
                    redirected = true;
                    // A blank may stand before the file.
                    while letters.next_if(|next| matches!(next, ' ' | '>' | '<' | '&')).is_some() {}
                }
            }
            (None, letter) => {
                word.push(letter);
                started = true;
            }
        }
    }
    if started && !redirected {
        words.push(word);
    }
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}

/// Values for the environment in front of a command do not count.
fn of_evergate(mut words: Vec<String>) -> Option<Vec<String>> {
    while words.first().is_some_and(|word| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()))
    }) {
        words.remove(0);
    }
    while words.first().is_some_and(|word| word == "timeout") {
        words.drain(..2.min(words.len()));
    }
    words.first().is_some_and(|word| word == "evergate" || word.ends_with("release/evergate")).then_some(words)
}

/// What ends well, although nothing is done.
const HELP: &[ErrorKind] = &[ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
/// In the middle of a sentence a command may be named without what it needs.
const NAMED: &[ErrorKind] = &[
    ErrorKind::DisplayHelp,
    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ErrorKind::MissingRequiredArgument,
    ErrorKind::MissingSubcommand,
];

/// `accepted`: what may be wrong with it.
fn parses(place: &str, words: &[String], accepted: &[ErrorKind]) {
    // A description of the usage, not a use of it.
    if words.iter().any(|word| word == "COMMAND" || word.starts_with('[')) {
        return;
    }
    if let Err(error) = Cli::try_parse_from(words) {
        assert!(accepted.contains(&error.kind()), "{place}: {}\n{error}", words.join(" "));
    }
}

#[test]
fn docs_commands_of_the_pages_are_commands() {
    let mut read = 0;
    for (file, page) in pages() {
        for block in blocks(&file, &page).iter().filter(|block| ["sh", "text"].contains(&block.language.as_str())) {
            let lines = shell_lines(&block.text);
            let prompts = lines.iter().filter(|line| block.language == "sh" || line.starts_with("evergate "));
            // Examples of the reference say behind two blanks what a line is for.
            let lines = prompts.map(|line| line.split("   ").next().unwrap_or_default());
            for words in lines.flat_map(shell_commands).filter_map(of_evergate) {
                parses(&block.place, &words, HELP);
                read += 1;
            }
        }
        let code = page.split('`').skip(1).step_by(2).filter(|code| code.starts_with("evergate ") && !code.contains('\n'));
        for words in code.flat_map(shell_commands).filter_map(of_evergate) {
            parses(&file, &words, NAMED);
            read += 1;
        }
    }
    assert!(read > 120, "{read}");
}

#[test]
fn docs_examples_of_the_manual_pages_are_commands() {
    fn examples(command: &Command, lines: &mut Vec<String>) {
        let texts = [command.get_long_about(), command.get_after_long_help()].into_iter().flatten();
        for text in texts.map(ToString::to_string) {
            lines.extend(
                text.lines()
                    .map(str::trim_start)
                    .filter(|line| line.starts_with("evergate ") || line.contains("| evergate "))
                    .map(str::to_owned),
            );
        }
        command.get_subcommands().for_each(|inner| examples(inner, lines));
    }
    let mut lines = Vec::new();
    examples(&Cli::command(), &mut lines);
    assert!(lines.len() > 60, "{}", lines.len());
    for line in lines {
        let line = line.split("  ").next().unwrap_or_default().to_owned();
        shell_commands(&line).into_iter().filter_map(of_evergate).for_each(|words| parses("examples", &words, HELP));
    }
}

#[test]
fn docs_lines_are_split_as_a_shell_does() {
    let split = |line: &str| shell_commands(line).into_iter().filter_map(of_evergate).collect::<Vec<_>>();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(split("pwgen 20 1 | A_B=1 evergate user add bob"), [words("evergate user add bob")]);
    assert_eq!(
        split("evergate check > out.txt && evergate check --json | jq '.a | .b' # no"),
        [words("evergate check"), words("evergate check --json")]
    );
    assert_eq!(split("evergate block add --reason \"lost laptop\""), [vec!["evergate", "block", "add", "--reason", "lost laptop"]]);
    assert_eq!(shell_lines("cat <<'X' > f\nevergate nonsense\nX\nevergate \\\n  check\n"), ["cat <<'X' > f", "evergate    check"]);
    assert!(std::panic::catch_unwind(|| parses("here", &words("evergate nonsense"), NAMED)).is_err());
}

/// A configuration in parts, each with its title and its name.
fn parts(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') || parts.is_empty() {
            parts.push((line.split(']').next().unwrap_or_default().to_owned(), String::new()));
        }
        if let Some((title, part)) = parts.last_mut() {
            if let Some(name) = line.strip_prefix("name = ").filter(|_| title.starts_with("[[") && !title.contains(' ')) {
                *title = format!("{title} {}", name.split('#').next().unwrap_or_default().trim());
            }
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// `base` with the sections of `block` in place of its own of the same name. Lines without a section are of the listener for IKEv2.
fn merged(base: &str, block: &str) -> String {
    let own = parts(block);
    if !block.trim_start().starts_with(['[', '#']) {
        return base.replacen("protocol = \"ikev2\"\n", &format!("protocol = \"ikev2\"\n{block}"), 1);
    }
    let kept = parts(base).into_iter().filter(|(title, _)| !own.iter().any(|(other, _)| other == title));
    kept.chain(own.iter().cloned()).map(|(_, part)| part).collect()
}

/// The files that pages name, for everybody who reads a configuration of theirs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["vpn.example.com".into()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let texts =
        [("vpn.pem", pem.as_str()), ("ca.pem", &pem), ("vpn.key", &key.serialize_pem()), ("nps1.secret", "a secret of good length")];
    for (name, text) in texts {
        fs::write(folder.path().join(name), text).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[test]
fn docs_configurations_load() {
    let folder = folder();
    let path = folder.path().join("evergate.toml");
    let mut read = 0;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let whole = |block: &Block| block.language == "toml" && block.text.contains("[server]");
    let usual = blocks("README.md", &readme).into_iter().find(whole).expect("README has a whole configuration").text;
    for (file, page) in pages() {
        let found = blocks(&file, &page);
        // Parts are of the page's own configuration, where it has one.
        let base = found.iter().find(|block| whole(block)).map_or(usual.as_str(), |block| &block.text);
        for block in found.iter().filter(|block| block.language == "toml") {
            let text = if whole(block) { block.text.clone() } else { merged(base, &block.text) };
            fs::write(&path, text.replace("/etc/evergate/", "")).unwrap();
            if let Err(error) = Config::load(&path, &[]) {
                panic!("{}: {error}\n{text}", block.place);
            }
            read += 1;
        }
    }
    assert!(read >= 12, "{read}");
}

/// A block without a language is read by nobody.
#[test]
fn docs_blocks_say_what_they_are() {
    const KNOWN: &[&str] = &["sh", "text", "toml", "powershell", "nft", "yaml", "mermaid"];
    // HAProxy's and FreeRADIUS's own.
    let theirs = |block: &Block| block.place.starts_with("README.md") && block.language.is_empty();
    let odd = |block: &Block| !theirs(block) && !KNOWN.contains(&block.language.as_str());
    let found: Vec<_> = pages().iter().flat_map(|(file, page)| blocks(file, page)).filter(odd).map(|block| block.place).collect();
    assert_eq!(found, Vec::<String>::new());
}
