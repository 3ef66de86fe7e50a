//! `docs/reference/errors.md`, out of the table that `evergate explain` reads.
use super::{anchor, cell, head, hold};
use crate::explain::names::Names;
use crate::explain::numbers::{Case, rows};

const ABOUT: &str = "What Windows shows, what it means, what the gateway sees of it, and what to change. `evergate explain NUMBER --more` prints the same, and \
`evergate explain last` finds out which of several causes it was. [Troubleshooting](../troubleshooting.md) says where to begin.

The commands are for PowerShell on the client unless the text says otherwise. `Read-Host` asks for what only you know; on the gateway `evergate explain` \
puts its own names in.";

#[test]
fn docs_reference_of_the_error_numbers() {
    let mut text = head("Error numbers", ABOUT);
    text.push_str("\n| number | name | tunnel | means |\n|---|---|---|---|\n");
    let mut lines: Vec<_> = rows().iter().flat_map(|case| case.numbers.iter().map(move |(number, name)| (number, name, case))).collect();
    lines.sort_by_key(|(number, _, case)| (number.parse::<u64>().unwrap_or(u64::MAX), (*number).clone(), case.title.clone()));
    for (number, name, case) in lines {
        let tunnels = case.tunnels.join(", ");
        text.push_str(&format!("| {number} | {} | {tunnels} | [{}](#{}) |\n", cell(name), cell(&case.title), anchor(&case.title)));
    }
    rows().iter().for_each(|case| describe(&case.filled(&Names::default(), None), &mut text));
    hold("reference/errors.md", &text);
}

fn describe(case: &Case, text: &mut String) {
    let numbers: Vec<_> = case.numbers.iter().map(|(number, name)| format!("**{number}** {name}")).collect();
    text.push_str(&format!("\n## {}\n\n{} ({})\n\n", case.title, cell(&numbers.join(", ")), case.tunnels.join(", ")));
    text.push_str(&format!("- The gateway sees: {}\n", cell(&case.seen)));
    if let Some(why) = &case.client_only {
        text.push_str(&format!("- No gateway can tell: {}\n", cell(why)));
    }
    if let Some(counter) = &case.counted {
        text.push_str(&format!("- Counted as: `{counter}` (`evergate status`)\n"));
    }
    text.push_str(&format!("- Cause: {}\n- What to do: {}\n", cell(&case.cause), cell(&case.fix)));
    for commands in &case.commands {
        let language = if commands.place.starts_with("on the gateway") { "text" } else { "powershell" };
        text.push_str(&format!("\n{}:\n\n```{language}\n{}\n```\n", capital(&cell(&commands.place)), commands.lines.join("\n")));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
