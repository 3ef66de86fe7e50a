//! INFORMATIONAL requests on an established IKE SA (RFC 7296 sections 1.4 and 2.25.1).
use super::child::ChildPhase;
use super::established::Established;
use super::{Core, notify_text};
use crate::endpoint::Shared;
use crate::wire::{Delete, Payload, Payloads};

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
