//! `docs/reference/commands.md`, out of the definition that the command line is read by.
use super::{cell, head, hold};
use crate::cli::Cli;
use clap::{Arg, Command, CommandFactory as _};

#[test]
fn docs_reference_of_the_commands() {
    let mut command = Cli::command();
    command.build();
    let mut text = head(
        "Commands",
        "Every command of `evergate`, as `evergate COMMAND --help` says it too. `--config FILE` and `--json` go with each of them.",
    );
    describe(&command, "evergate", &mut text);
    hold("reference/commands.md", &text);
}

fn describe(command: &Command, path: &str, text: &mut String) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let (about, examples) = about.split_once("Examples:\n").unwrap_or((&about, ""));
    text.push_str(&format!("\n## {path}\n\n"));
    about.trim().lines().for_each(|line| text.push_str(&format!("{}\n", cell(line))));
    let names: Vec<_> = command.get_visible_aliases().collect();
    if !names.is_empty() {
        text.push_str(&format!("\nAlso: `{}`\n", names.join("`, `")));
    }
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string().replace("Usage: ", "");
    text.push_str(&format!("\n```text\n{}\n```\n", usage.trim()));
    let own = |arg: &&Arg| !arg.is_hide_set() && !["help", "version", "config", "json"].contains(&arg.get_id().as_str());
    let arguments: Vec<_> = command.get_arguments().filter(own).collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | meaning |\n|---|---|\n");
        arguments.iter().for_each(|arg| text.push_str(&row(arg)));
    }
    for examples in [examples, after.as_str()].into_iter().filter(|examples| !examples.is_empty()) {
        text.push_str(&format!("\n```text\n{}\n```\n", examples.trim_end()));
    }
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        describe(inner, &format!("{path} {}", inner.get_name()), text);
    }
}

fn row(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let takes = arg.get_action().takes_values();
    let default = if defaults.is_empty() || !takes || arg.is_hide_default_value_set() {
        String::new()
    } else {
        format!(" [default: {}]", defaults.join(", "))
    };
    let shown = if arg.is_positional() { arg.to_string() } else { flags(arg) };
    format!("| `{}` | {} |\n", shown.replace('|', "\\|"), cell(&format!("{help}{default}")))
}

fn flags(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    format!("{short}{arg}")
}
