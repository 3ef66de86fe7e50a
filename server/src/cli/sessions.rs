//! `evergate sessions`: who is connected, one of them in full, and the end of some.
use super::args::{Hold, SessionsCommand, Which};
use super::text::Style;
use super::{Cli, Unanswered, ask, control_socket, print, show};
use crate::api::types::SessionList;
use crate::api::{self, Call, Disconnect, SessionsQuery};
use std::io::{Result, Write};

/// Sessions asked for at a time.
const PAGE: usize = 1_000;

/// Answers `evergate sessions`; returns the exit code.
pub(super) fn sessions(cli: &Cli, command: Option<&SessionsCommand>, style: Style, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    match command {
        None | Some(SessionsCommand::List) => match all(cli) {
            Ok(list) => print(cli, &list, show::sessions, style, out),
            Err(unanswered) => unanswered.tell(err),
        },
        Some(SessionsCommand::Show { id }) => ask(cli, Ok(Call::get(format!("/v1/sessions/{id}"))), show::session, style, out, err),
        Some(SessionsCommand::Disconnect(which)) => {
            let (Which { id, user }, Hold { hold, reason }) = (&which.which, &which.hold);
            let hold_secs = hold.map(|time| time.as_secs());
            let order = Disconnect { id: *id, user: user.clone(), hold_secs, reason: reason.clone() };
            ask(cli, Call::post("/v1/sessions/disconnect", &order), show::disconnected, style, out, err)
        }
    }
}

/// All of them, page by page.
fn all(cli: &Cli) -> std::result::Result<SessionList, Unanswered> {
    let path = control_socket(cli).map_err(Unanswered::Unknown)?;
    let mut all = SessionList::default();
    loop {
        let query = SessionsQuery { limit: Some(PAGE), after: all.next, ..SessionsQuery::default() };
        let page: SessionList = api::ask(&path, &Call::get("/v1/sessions").with_query(&query)?)?;
        all.sessions.extend(page.sessions);
        (all.total, all.next) = (page.total, page.next);
        if all.next.is_none() {
            return Ok(all);
        }
    }
}
