//! `evergate block`: who is kept out by hand.
use super::args::{BlockArgs, BlockCommand};
use super::text::{Mark, Style, cell, clean, heading, table, time};
use super::{Cli, FAILED, ask};
use crate::api::Call;
use crate::api::types::{Block, BlockList, Blocked};
use crate::blocks::MENDING;
use std::io::{Result, Write};

/// Answers `evergate block ...`; returns the exit code.
pub(super) fn block(cli: &Cli, args: &BlockArgs, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    match &args.command {
        BlockCommand::List => ask(cli, Ok(Call::get("/v1/blocks")), list, style, out, err),
        BlockCommand::Add(add) => match add.order() {
            Some(order) => ask(cli, Call::post("/v1/blocks", &order), added, style, out, err),
            None => writeln!(err, "error: nobody is named").map(|()| FAILED),
        },
        BlockCommand::Remove { id } => ask(cli, Ok(Call::delete(format!("/v1/blocks/{id}"))), removed, style, out, err),
    }
}

fn list(BlockList { blocks, unread }: &BlockList, style: Style, out: &mut dyn Write) -> Result<()> {
    if blocks.is_empty() {
        writeln!(out, "nobody is kept out by hand")?;
    } else {
        rows(blocks, style, out)?;
    }
    for block in blocks.iter().filter(|block| block.unjudged > 0) {
        let (id, logins) = (block.id, block.unjudged);
        writeln!(out, "block {id}: {logins} logins came in that nobody could compare with it (evergate attempts show says why)")?;
    }
    for what in unread {
        writeln!(out, "not in force: {}", clean(what))?;
    }
    if !unread.is_empty() {
        writeln!(out, "to mend that: {MENDING}")?;
    }
    Ok(())
}

/// Those that have just been made, under a heading.
pub(super) fn made(blocks: &[Block], style: Style, out: &mut dyn Write) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    heading(out, style, "Kept out")?;
    rows(blocks, style, out)
}

fn rows(blocks: &[Block], style: Style, out: &mut dyn Write) -> Result<()> {
    let row = |block: &Block| {
        let until = block.until.map_or_else(|| "it is removed".into(), time);
        vec![
            cell(block.id.to_string()),
            cell(block.who.to_string()).marked(Mark::Attention),
            cell(time(block.added_at)),
            cell(until),
            cell(block.reason.as_deref().unwrap_or("")),
        ]
    };
    table(out, style, &["ID", "WHO", "SINCE", "UNTIL", "REASON"], &blocks.iter().map(row).collect::<Vec<_>>())
}

fn added(block: &Block, _: Style, out: &mut dyn Write) -> Result<()> {
    let until = block.until.map_or_else(|| "it is removed".into(), time);
    writeln!(out, "{} is kept out until {until} (evergate block remove {})", clean(&block.who.to_string()), block.id)?;
    match &block.who {
        Blocked::Certificate(_) if block.names.is_empty() => {
            writeln!(
                out,
                "Where EAP hides certificates (TLS 1.3) it would need a name, and none is known: keep out the user or machine too"
            )
        }
        Blocked::Certificate(_) => {
            let names = block.names.join(", ");
            writeln!(out, "Where EAP hides certificates (TLS 1.3) it is taken for that of {}", clean(&names))
        }
        _ => Ok(()),
    }
}

fn removed(block: &Block, _: Style, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{} is no longer kept out", clean(&block.who.to_string()))
}
