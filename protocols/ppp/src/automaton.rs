//! The option negotiation automaton (RFC 1661 section 4.1), for LCP, IPCP and IPv6CP alike.
//!
//! Left out: the event Down, because a lower layer that goes down is the end of a link or of its network protocols and of the automaton
//! with it, and the restart option of the event Open.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Initial,
    Starting,
    Closed,
    Stopped,
    Closing,
    Stopping,
    ReqSent,
    AckRcvd,
    AckSent,
    Opened,
}

/// The RFC's abbreviation beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Up,
    Open,
    Close,
    /// TO+
    Timeout,
    /// TO-
    TimeoutLast,
    /// RCR+
    GoodRequest,
    /// RCR-
    BadRequest,
    /// RCA
    Ack,
    /// RCN
    NakOrReject,
    /// RTR
    TerminateRequest,
    /// RTA
    TerminateAck,
    /// RUC
    UnknownCode,
    /// RXJ+
    HarmlessReject,
    /// RXJ-
    FatalReject,
    /// RXR
    Echo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// tlu
    ThisLayerUp,
    /// tld
    ThisLayerDown,
    /// tlf; tls has no use here, the lower layer is always started
    ThisLayerFinished,
    /// irc
    InitializeRestartCount,
    /// zrc
    ZeroRestartCount,
    /// scr
    SendConfigureRequest,
    /// sca, scn
    SendConfigureReply,
    /// str
    SendTerminateRequest,
    /// sta
    SendTerminateAck,
    /// scj
    SendCodeReject,
    /// ser
    SendEchoReply,
}

/// One cell of the table: what to do, and the next state. `None` where the event cannot happen: nothing is done.
pub(crate) fn step(state: State, event: Event) -> Option<(&'static [Action], State)> {
    match event {
        Event::Up => up(state),
        Event::Open => open(state),
        Event::Close => close(state),
        Event::Timeout | Event::TimeoutLast => timeout(state, event == Event::TimeoutLast),
        _ if matches!(state, State::Initial | State::Starting) => None,
        Event::GoodRequest => Some(good_request(state)),
        Event::BadRequest => Some(bad_request(state)),
        Event::Ack => Some(ack(state)),
        Event::NakOrReject => Some(nak_or_reject(state)),
        Event::TerminateRequest => Some(terminate_request(state)),
        Event::TerminateAck => Some(terminate_ack(state)),
        Event::UnknownCode => Some((&[Action::SendCodeReject], state)),
        Event::HarmlessReject => Some((&[], if state == State::AckRcvd { State::ReqSent } else { state })),
        Event::FatalReject => Some(fatal_reject(state)),
        Event::Echo if state == State::Opened => Some((&[Action::SendEchoReply], state)),
        Event::Echo => Some((&[], state)),
    }
}

type Cell = (&'static [Action], State);

fn up(state: State) -> Option<Cell> {
    match state {
        State::Initial => Some((&[], State::Closed)),
        State::Starting => Some((&[Action::InitializeRestartCount, Action::SendConfigureRequest], State::ReqSent)),
        _ => None,
    }
}

fn open(state: State) -> Option<Cell> {
    Some(match state {
        State::Initial => (&[], State::Starting),
        State::Closed => (&[Action::InitializeRestartCount, Action::SendConfigureRequest], State::ReqSent),
        State::Closing => (&[], State::Stopping),
        other => (&[], other),
    })
}

fn close(state: State) -> Option<Cell> {
    const TERMINATE: &[Action] = &[Action::InitializeRestartCount, Action::SendTerminateRequest];
    Some(match state {
        State::Initial => (&[], State::Initial),
        State::Starting => (&[Action::ThisLayerFinished], State::Initial),
        State::Closed | State::Stopped => (&[], State::Closed),
        State::Closing | State::Stopping => (&[], State::Closing),
        State::ReqSent | State::AckRcvd | State::AckSent => (TERMINATE, State::Closing),
        State::Opened => (&[Action::ThisLayerDown, Action::InitializeRestartCount, Action::SendTerminateRequest], State::Closing),
    })
}

fn timeout(state: State, last: bool) -> Option<Cell> {
    Some(match (state, last) {
        (State::Closing | State::Stopping, false) => (&[Action::SendTerminateRequest], state),
        (State::Closing, true) => (&[Action::ThisLayerFinished], State::Closed),
        (State::Stopping, true) => (&[Action::ThisLayerFinished], State::Stopped),
        (State::ReqSent | State::AckRcvd, false) => (&[Action::SendConfigureRequest], State::ReqSent),
        (State::AckSent, false) => (&[Action::SendConfigureRequest], State::AckSent),
        (State::ReqSent | State::AckRcvd | State::AckSent, true) => (&[Action::ThisLayerFinished], State::Stopped),
        _ => return None,
    })
}

fn good_request(state: State) -> Cell {
    use Action::{InitializeRestartCount, SendConfigureReply, SendConfigureRequest, SendTerminateAck, ThisLayerDown, ThisLayerUp};
    match state {
        State::Closed => (&[SendTerminateAck], state),
        State::Stopped => (&[InitializeRestartCount, SendConfigureRequest, SendConfigureReply], State::AckSent),
        State::ReqSent | State::AckSent => (&[SendConfigureReply], State::AckSent),
        State::AckRcvd => (&[SendConfigureReply, ThisLayerUp], State::Opened),
        State::Opened => (&[ThisLayerDown, SendConfigureRequest, SendConfigureReply], State::AckSent),
        other => (&[], other),
    }
}

fn bad_request(state: State) -> Cell {
    use Action::{InitializeRestartCount, SendConfigureReply, SendConfigureRequest, SendTerminateAck, ThisLayerDown};
    match state {
        State::Closed => (&[SendTerminateAck], state),
        State::Stopped => (&[InitializeRestartCount, SendConfigureRequest, SendConfigureReply], State::ReqSent),
        State::ReqSent | State::AckSent => (&[SendConfigureReply], State::ReqSent),
        State::AckRcvd => (&[SendConfigureReply], state),
        State::Opened => (&[ThisLayerDown, SendConfigureRequest, SendConfigureReply], State::ReqSent),
        other => (&[], other),
    }
}

fn ack(state: State) -> Cell {
    match state {
        State::Closed | State::Stopped => (&[Action::SendTerminateAck], state),
        State::ReqSent => (&[Action::InitializeRestartCount], State::AckRcvd),
        State::AckRcvd => (&[Action::SendConfigureRequest], State::ReqSent),
        State::AckSent => (&[Action::InitializeRestartCount, Action::ThisLayerUp], State::Opened),
        State::Opened => (&[Action::ThisLayerDown, Action::SendConfigureRequest], State::ReqSent),
        other => (&[], other),
    }
}

fn nak_or_reject(state: State) -> Cell {
    match state {
        State::Closed | State::Stopped => (&[Action::SendTerminateAck], state),
        State::ReqSent | State::AckSent => (&[Action::InitializeRestartCount, Action::SendConfigureRequest], state),
        State::AckRcvd => (&[Action::SendConfigureRequest], State::ReqSent),
        State::Opened => (&[Action::ThisLayerDown, Action::SendConfigureRequest], State::ReqSent),
        other => (&[], other),
    }
}

fn terminate_request(state: State) -> Cell {
    match state {
        State::ReqSent | State::AckRcvd | State::AckSent => (&[Action::SendTerminateAck], State::ReqSent),
        State::Opened => (&[Action::ThisLayerDown, Action::ZeroRestartCount, Action::SendTerminateAck], State::Stopping),
        other => (&[Action::SendTerminateAck], other),
    }
}

fn terminate_ack(state: State) -> Cell {
    match state {
        State::Closing => (&[Action::ThisLayerFinished], State::Closed),
        State::Stopping => (&[Action::ThisLayerFinished], State::Stopped),
        State::AckRcvd => (&[], State::ReqSent),
        State::Opened => (&[Action::ThisLayerDown, Action::SendConfigureRequest], State::ReqSent),
        other => (&[], other),
    }
}

fn fatal_reject(state: State) -> Cell {
    match state {
        State::Closed | State::Closing => (&[Action::ThisLayerFinished], State::Closed),
        State::Opened => (&[Action::ThisLayerDown, Action::InitializeRestartCount, Action::SendTerminateRequest], State::Stopping),
        _ => (&[Action::ThisLayerFinished], State::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 10] = [
        State::Initial,
        State::Starting,
        State::Closed,
        State::Stopped,
        State::Closing,
        State::Stopping,
        State::ReqSent,
        State::AckRcvd,
        State::AckSent,
        State::Opened,
    ];

    /// RFC 1661 section 4.1 as printed, the columns being the states 0 to 9. Marks of footnotes (p, r, x) are left out, and tls, which
    /// nobody listens to; sca and scn are one action with two contents.
    const TABLE: [(Event, [&str; 10]); 15] = [
        (Event::Up, ["2", "irc,scr/6", "-", "-", "-", "-", "-", "-", "-", "-"]),
        (Event::Open, ["1", "1", "irc,scr/6", "3", "5", "5", "6", "7", "8", "9"]),
        (Event::Close, ["0", "tlf/0", "2", "2", "4", "4", "irc,str/4", "irc,str/4", "irc,str/4", "tld,irc,str/4"]),
        (Event::Timeout, ["-", "-", "-", "-", "str/4", "str/5", "scr/6", "scr/6", "scr/8", "-"]),
        (Event::TimeoutLast, ["-", "-", "-", "-", "tlf/2", "tlf/3", "tlf/3", "tlf/3", "tlf/3", "-"]),
        (Event::GoodRequest, ["-", "-", "sta/2", "irc,scr,sc/8", "4", "5", "sc/8", "sc,tlu/9", "sc/8", "tld,scr,sc/8"]),
        (Event::BadRequest, ["-", "-", "sta/2", "irc,scr,sc/6", "4", "5", "sc/6", "sc/7", "sc/6", "tld,scr,sc/6"]),
        (Event::Ack, ["-", "-", "sta/2", "sta/3", "4", "5", "irc/7", "scr/6", "irc,tlu/9", "tld,scr/6"]),
        (Event::NakOrReject, ["-", "-", "sta/2", "sta/3", "4", "5", "irc,scr/6", "scr/6", "irc,scr/8", "tld,scr/6"]),
        (Event::TerminateRequest, ["-", "-", "sta/2", "sta/3", "sta/4", "sta/5", "sta/6", "sta/6", "sta/6", "tld,zrc,sta/5"]),
        (Event::TerminateAck, ["-", "-", "2", "3", "tlf/2", "tlf/3", "6", "6", "8", "tld,scr/6"]),
        (Event::UnknownCode, ["-", "-", "scj/2", "scj/3", "scj/4", "scj/5", "scj/6", "scj/7", "scj/8", "scj/9"]),
        (Event::HarmlessReject, ["-", "-", "2", "3", "4", "5", "6", "6", "8", "9"]),
        (Event::FatalReject, ["-", "-", "tlf/2", "tlf/3", "tlf/2", "tlf/3", "tlf/3", "tlf/3", "tlf/3", "tld,irc,str/5"]),
        (Event::Echo, ["-", "-", "2", "3", "4", "5", "6", "7", "8", "ser/9"]),
    ];

    fn short(action: Action) -> &'static str {
        match action {
            Action::ThisLayerUp => "tlu",
            Action::ThisLayerDown => "tld",
            Action::ThisLayerFinished => "tlf",
            Action::InitializeRestartCount => "irc",
            Action::ZeroRestartCount => "zrc",
            Action::SendConfigureRequest => "scr",
            Action::SendConfigureReply => "sc",
            Action::SendTerminateRequest => "str",
            Action::SendTerminateAck => "sta",
            Action::SendCodeReject => "scj",
            Action::SendEchoReply => "ser",
        }
    }

    fn print(cell: Option<Cell>) -> String {
        let Some((actions, next)) = cell else { return "-".into() };
        let number = STATES.iter().position(|state| *state == next).unwrap();
        let actions: Vec<_> = actions.iter().map(|action| short(*action)).collect();
        if actions.is_empty() { number.to_string() } else { format!("{}/{number}", actions.join(",")) }
    }

    #[test]
    fn every_cell_is_that_of_the_rfc() {
        for (event, row) in TABLE {
            for (state, expected) in STATES.into_iter().zip(row) {
                assert_eq!(print(step(state, event)), expected, "{event:?} in {state:?}");
            }
        }
    }
}
