// What runs, and what a reload would make of it.
import { get, post } from "../api.js";
import { ask } from "../dialog.js";
import { card, empty, h, icon, loading, show, state, trouble } from "../dom.js";
import { plural } from "../format.js";
import { field, settled, table, tick } from "../table.js";

export const title = "Configuration";

export function open({ view, app, current }) {
  const [what, changes] = [h("div"), h("div", { "aria-live": "polite" })];
  const search = h("input", { type: "search", id: "search", autocomplete: "off", placeholder: "Key, value or section" });
  let [shown, foreseen] = [null, null];

  const draw = () => shown && show(what, sections(shown, search.value.trim().toLowerCase()));
  const read = async () => {
    try {
      shown = await get("/v1/configuration");
      if (current()) draw();
    } catch (problem) {
      if (current()) show(what, trouble(problem, read));
    }
  };
  const look = async () => {
    show(changes, loading("Reading the files again"));
    try {
      foreseen = await get("/v1/configuration/changes");
      if (current()) show(changes, difference(foreseen, "would"));
    } catch (problem) {
      foreseen = null;
      if (current()) show(changes, trouble(problem));
    }
  };
  const reload = async () => {
    const done = await askForReload(foreseen);
    if (!done || !current()) return;
    const ended = done.ended.length ? `, ${plural(done.ended.length, "session")} told to end` : "";
    app.tell(`Reloaded: ${plural(done.changes.length, "change")} taken${ended}.`);
    show(changes, difference(done, "did"));
    read();
  };
  search.oninput = settled(draw, 100);
  const again = h("button", { type: "button", onclick: look }, "Look again");
  const button = app.operates && h("button", { type: "button", class: "primary", onclick: reload }, "Reload …");
  show(view, card("What a reload would change", { key: "changes", actions: [again, button] }, changes), card("What runs", { key: "what" }, h("div", { class: "filters" }, field("Search", search)), what));
  show(what, loading("Asking for the configuration"));
  read();
  look();
}

function sections(shown, text) {
  const fits = (section, key) => !text || [section.kind, section.name ?? "", key.key, key.value].some((one) => one.toLowerCase().includes(text));
  const parts = shown.sections.map((section) => ({ ...section, keys: section.keys.filter((key) => fits(section, key)) })).filter((section) => section.keys.length);
  const warnings = !text && shown.warnings.map((warning) => h("li", { class: "notice warn", key: warning }, icon("warn"), h("span", null, warning)));
  if (!parts.length) return empty(`Nothing that is written fits ${JSON.stringify(text)}.`, h("p", null, "What is not written has the value that the example configuration names."));
  return [
    warnings && warnings.length > 0 && h("ul", { class: "notices", "aria-label": "Warnings" }, warnings),
    h("p", { class: "muted" }, "As it was applied last. What is not written has the value that the example configuration names; of secrets only the files' paths are known here. Main file: ", h("code", null, shown.path)),
    parts.map((section) => sectionTable(section, shown.path)),
  ];
}

function sectionTable(section, main) {
  const folder = main.replace(/[^/]*$/, "");
  const columns = [
    { id: "key", label: "Key", cell: (one) => h("code", null, one.key) },
    { id: "value", label: "Value", wide: true, cell: (one) => [h("code", null, one.value), one.file && h("span", { class: "tag" }, "file")] },
    { id: "origin", label: "Written in", cell: (one) => h("span", { class: "muted" }, one.origin.replace(folder, "")) },
  ];
  const heading = section.name ? [section.kind, " ", h("q", null, section.name)] : section.kind;
  const name = `${section.kind} ${section.name ?? ""}`;
  return h("section", { class: "section", key: `${name} ${section.origin}` }, h("h3", null, heading), table({ caption: name, columns, rows: section.keys, key: (one) => one.key }));
}

/** What a reload `would` change, or `did`. */
function difference(report, how) {
  const refused = report.judged.filter((one) => one.verdict === "refused");
  const nothing = !report.changes.length && !report.needs_restart.length;
  const list = (title, changes, level, note) => changes.length > 0 && h("div", { key: title }, h("h3", null, state(level, title)), note && h("p", { class: "muted" }, note), h("ul", { class: "changes" }, changes.map(change)));
  return [
    nothing && h("p", { class: "notice good" }, icon("good"), h("span", null, how === "would" ? "Nothing: the files say what runs." : "Nothing was different.")),
    list(how === "would" ? "Would take effect" : "Has taken effect", report.changes, "good"),
    list("Needs a restart", report.needs_restart, "warn", "It stays as it was until then."),
    report.warnings.map((warning) => h("p", { class: "notice warn", key: warning }, icon("warn"), h("span", null, warning))),
    report.judged.length > 0 && h("div", { key: "judged" }, h("h3", null, state(refused.length ? "warn" : "idle", `${plural(report.judged.length, "session")} would not get today what ${report.judged.length === 1 ? "it has" : "they have"}`)), judged(report)),
  ];
}

function change(one) {
  const words = { added: "good", removed: "bad", changed: "warn", reordered: "warn" };
  const key = (part) => h("li", null, h("code", null, part.key), " ", part.content ? h("span", { class: "muted" }, "what the file holds") : [part.before !== null && h("del", null, part.before), part.before !== null && part.after !== null && " → ", part.after !== null && h("ins", null, part.after)]);
  return h("li", { key: `${one.section} ${one.change}` }, h("strong", null, one.section), " ", state(words[one.change] ?? "idle", one.change), one.keys.length > 0 && h("ul", null, one.keys.map(key)));
}

function judged({ judged, applied, ended }) {
  const columns = [
    { id: "id", label: "Session", number: true, cell: (one) => h("a", { href: `#/sessions/${one.id}` }, one.id) },
    { id: "user", label: "User", cell: (one) => one.user },
    { id: "policy", label: "Granted by", cell: (one) => one.policy },
    { id: "verdict", label: "Now", tight: true, cell: (one) => (ended.includes(one.id) ? state("bad", "told to end") : one.verdict === "refused" ? state("bad", "refused") : applied.includes(one.id) ? state("good", "applied") : state("idle", "otherwise")) },
    { id: "cause", label: "Why", wide: true, cell: (one) => [one.cause, one.only_login.length > 0 && h("span", { class: "muted" }, ` (only another login brings ${one.only_login.join(", ")})`)] },
  ];
  return table({ caption: "Sessions that the policies judge otherwise", columns, rows: judged, key: (one) => one.id });
}

function askForReload(foreseen) {
  const sessions = (verdict) => foreseen?.judged.filter((one) => one.verdict === verdict).length ?? 0;
  const [refused, otherwise] = [sessions("refused"), sessions("otherwise")];
  const give = tick(otherwise ? `Apply filters, rates and time limits to ${plural(otherwise, "session")} that would get others` : "Apply filters, rates and time limits to sessions that are up", { id: "apply-to-sessions" });
  const end = tick(refused ? `End the ${plural(refused, "session")} that would be refused` : "End sessions that the policies refuse then", { id: "end-refused" });
  const count = foreseen ? `${plural(foreseen.changes.length, "change")} would take effect` : "What would change is not known";
  const body = [h("p", null, `${count}. It is all or nothing: if anything is wrong, everything stays as it is. No session changes or ends unless you ask for it.`), give.node, end.node];
  return ask({ title: "Reload the configuration?", body, action: "Reload", act: () => post("/v1/configuration/reload", { apply_to_sessions: give.box.checked, end_refused: end.box.checked }) });
}
