//! `evergate token`: what a caller of the Admin API proves itself with over TLS.
use super::args::TokenArgs;
use super::text::{Mark, Style};
use super::{FAILED, OK};
use crate::api::token_hash;
use crypto::{Random as _, SystemRandom, Zeroizing};
use std::io::{Result, Write};

/// Bytes of a token: nobody guesses it, so its hash needs no salt and no slowness.
const LEN: usize = 32;

/// Makes one; returns the exit code.
pub(super) fn token(args: &TokenArgs, json: bool, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if args.name.is_empty() || !args.name.chars().all(good) {
        writeln!(err, "error: {:?} is no name of a token: it takes letters, digits, '.', '_', '-' and '@'", args.name)?;
        return Ok(FAILED);
    }
    let mut bytes = Zeroizing::new([0; LEN]);
    SystemRandom.fill(&mut *bytes);
    let token = Zeroizing::new(hexadecimal(&*bytes));
    let line = format!("{} {} {}", if args.operate { "operate" } else { "read" }, args.name, hexadecimal(&token_hash(&token)));
    if json {
        writeln!(out, "{}", serde_json::json!({ "token": *token, "line": line }))?;
        return Ok(OK);
    }
    writeln!(out, "{}", style.mark(Mark::Heading, "The token, for the caller; it is shown this once"))?;
    writeln!(out, "  {}", *token)?;
    writeln!(out, "{}", style.mark(Mark::Heading, "A line for the file that tokens_file of [api] names; then evergate reload"))?;
    writeln!(out, "  {line}")?;
    Ok(OK)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
