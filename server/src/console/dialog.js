// Questions that stand before everything else: <dialog> keeps the focus inside, Escape closes it, and the focus returns to where it came from.
import { h, fresh, sentence } from "./dom.js";

/**
 * Asks, and carries out: `act` is called with nothing and may throw a Problem, which is shown while the dialog stays open. Resolves to what `act`
 * returns, or to undefined where somebody changed their mind.
 */
export function ask({ title, body, action, danger = false, act }) {
  return new Promise((done) => {
    const [id, before] = [fresh("dialog"), document.activeElement];
    const failed = h("p", { class: "notice bad", role: "alert", hidden: true });
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    let outcome;
    const submit = async (event) => {
      event.preventDefault();
      if (go.disabled) return;
      go.disabled = true;
      failed.hidden = true;
      try {
        outcome = await act();
        dialog.close();
      } catch (problem) {
        failed.textContent = [problem.message, problem.remedy].filter(Boolean).map(sentence).join(" ");
        failed.hidden = false;
      }
      go.disabled = false;
    };
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const form = h("form", { onsubmit: submit }, h("h2", { id }, title), body, failed, h("div", { class: "buttons" }, cancel, go));
    const closed = () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      done(outcome);
    };
    const dialog = h("dialog", { "aria-labelledby": id, onclose: closed }, form);
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input:not([type=checkbox]), select, textarea") ?? cancel).focus();
  });
}

/** Tells something that is closed again. */
export function inform(title, ...body) {
  const [id, before] = [fresh("dialog"), document.activeElement];
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  const closed = () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
  };
  const dialog = h("dialog", { "aria-labelledby": id, onclose: closed }, h("h2", { id }, title), body, h("div", { class: "buttons" }, close));
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}
