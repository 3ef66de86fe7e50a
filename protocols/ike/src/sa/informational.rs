//! INFORMATIONAL requests on an established IKE SA (RFC 7296 sections 1.4 and 2.25.1).
use super::child::ChildPhase;
use super::established::Established;
use super::{Core, IkeSa, Role, notify_text};
use crate::api::{Event, Output};
use crate::endpoint::Shared;
use crate::nat::{detect, detection_notifies};
use crate::wire::{Delete, Notify, Payload, Payloads, notify};

/// What the peer complains about goes into the record.
pub(super) fn note_errors(core: &Core, cx: &mut Shared, payloads: &Payloads) {
    for error in payloads.notifies().filter(|notify| notify.is_error()) {
        core.note(cx, format!("the peer reports {}", notify_text(error)));
    }
}

/// Deletes the Child SAs that the peer names by its inbound SPIs, and names ours. One whose DELETE of ours is on its way is not named
/// again; one that we do not know is not mentioned.
pub(super) fn delete_children(state: &mut Established, core: &Core, cx: &mut Shared, payloads: &Payloads) -> Vec<Payload> {
    let mut answered = Vec::new();
    let deletes: Vec<u32> = payloads.deletes().filter_map(esp_spis).flatten().copied().collect();
    for spi_out in deletes {
        let Some(child) = state.children.values().find(|child| child.spi_out == spi_out) else { continue };
        let (spi_in, phase) = (child.spi_in, child.phase);
        if !matches!(phase, ChildPhase::Deleting | ChildPhase::Ending(_)) {
            answered.push(spi_in);
        }
        state.retire(core, cx, spi_in);
    }
    if answered.is_empty() { Vec::new() } else { vec![Payload::Delete(Delete::Esp(answered))] }
}

fn esp_spis(delete: &Delete) -> Option<&Vec<u32>> {
    match delete {
        Delete::Esp(spis) => Some(spis),
        Delete::Ike | Delete::Other { .. } => None,
    }
}

/// What an initiator says of its new path: with MOBIKE its addresses (RFC 4555 section 3.5), without it that it is there, which suffices on a
/// new TCP connection (RFC 9329 section 6.1).
pub(super) fn moved(sa: &IkeSa, core: &Core) -> Vec<Payload> {
    let Role::Initiator(config) = &core.role else { return Vec::new() };
    if !core.traits.mobike {
        return Vec::new();
    }
    let nat = detection_notifies(sa.spi_i, sa.spi_r, core.path, config.force_encapsulation);
    let update = Notify::new(notify::UPDATE_SA_ADDRESSES, []);
    std::iter::once(update).chain(nat).map(Payload::Notify).collect()
}

/// MOBIKE (RFC 4555): the client says that it moved to where this request came from; NAT is looked for anew, and COOKIE2 goes back as
/// it came.
pub(super) fn mobility(sa: &IkeSa, core: &mut Core, cx: &mut Shared, payloads: &Payloads) -> Vec<Payload> {
    if core.is_initiator() || !core.traits.mobike {
        return Vec::new();
    }
    let path = core.reply_path;
    let detected = detect(payloads, sa.spi_i, sa.spi_r, path);
    if payloads.notify(notify::UPDATE_SA_ADDRESSES).is_some() {
        let nat = detected.unwrap_or(core.nat);
        if (path, nat) != (core.path, core.nat) {
            (core.path, core.nat) = (path, nat);
            core.event(cx, Event::Moved(path));
            if path.connection.is_some() {
                // Nothing else sends it again there.
                cx.transmit_all(path, sa.unanswered());
            }
            cx.out.push_back(Output::Repath { session: core.id, path, encapsulate: core.encapsulates() });
        }
    }
    let mut answer: Vec<Payload> = payloads.notify(notify::COOKIE2).cloned().map(Payload::Notify).into_iter().collect();
    if detected.is_some() {
        answer.extend(detection_notifies(sa.spi_i, sa.spi_r, path, false).map(Payload::Notify));
    }
    answer
}
