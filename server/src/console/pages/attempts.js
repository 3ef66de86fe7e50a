// Every try to log in, and why it came to nothing.
import { get } from "../api.js";
import { card, empty, facts, h, icon, lines, loading, sentence, show, state, trouble } from "../dom.js";
import { listen } from "../events.js";
import { moment, number, outcome } from "../format.js";
import { field, settled, table, tick } from "../table.js";

export const title = "Attempts";

const BATCH = 50;

export function open(page) {
  return page.id ? one(page) : list(page);
}

function list({ view, query, keep, current }) {
  let [attempts, next, problem, busy, deep] = [null, null, null, false, false];
  const wanted = { search: query.get("search") ?? "", user: query.get("user") ?? "", failed: query.get("failed") ?? "" };
  const body = h("div", { class: "body" });

  const draw = () => {
    if (problem) return show(body, trouble(problem, refresh));
    if (!attempts) return show(body, loading("Asking for the attempts"));
    if (!attempts.length) return show(body, none());
    const older = next && h("button", { type: "button", disabled: busy, onclick: more }, busy ? "Asking …" : "Older ones");
    const count = h("span", { class: "muted", "aria-live": "polite" }, `${number(attempts.length)} shown, newest first`);
    show(body, table({ caption: "Login attempts", columns: COLUMNS, rows: attempts, key: (row) => row.id }), h("div", { class: "pager" }, count, older));
  };
  const none = () => {
    if (Object.values(wanted).some(Boolean)) return empty("No attempt that is kept fits.");
    return empty("Nobody has tried to log in yet.", h("p", null, "If somebody has: nothing of it arrived here. ", h("a", { href: "#/doctor" }, "The doctor"), " looks for what is in the way."));
  };
  const asked = (before) => get("/v1/attempts", { limit: BATCH, ...wanted, failed: Boolean(wanted.failed), before });
  const refresh = async () => {
    try {
      const page = await asked();
      if (!current()) return;
      // Older ones that somebody has asked for stay; what is new goes in front.
      const known = deep && page.next ? olderOf(attempts ?? [], page.attempts) : [];
      if (!known.length) next = page.next ?? null;
      [attempts, problem] = [[...page.attempts, ...known], null];
    } catch (wrong) {
      if (!current()) return;
      problem = wrong;
    }
    draw();
  };
  const more = async () => {
    busy = deep = true;
    draw();
    try {
      const from = next;
      const page = await asked(from);
      if (!current()) return;
      // The list may have begun anew meanwhile.
      if (attempts && from === next) [attempts, next] = [[...attempts, ...page.attempts], page.next ?? null];
    } catch (wrong) {
      problem = wrong;
    }
    busy = false;
    draw();
  };
  const changed = () => {
    keep(wanted);
    [attempts, deep] = [null, false];
    refresh();
  };
  show(view, filtersOf(wanted, changed), body);
  draw();
  refresh();
  const soon = settled(refresh, 600);
  const deaf = listen((event) => ["session_up", "attempt", "missed"].includes(event.event) && soon());
  return deaf;
}

/** What follows the fresh ones of those that were there: nothing if some between the two may be missing. */
function olderOf(before, fresh) {
  const ids = new Set(fresh.map((row) => row.id));
  const joins = before.some((row) => ids.has(row.id));
  return joins ? before.filter((row) => !ids.has(row.id)) : [];
}

function filtersOf(wanted, changed) {
  const text = (name, label, props) => {
    const input = h("input", { id: name, value: wanted[name], autocomplete: "off", spellcheck: "false", ...props });
    const settle = settled(() => ((wanted[name] = input.value.trim()), changed()));
    input.oninput = settle;
    return field(label, input);
  };
  const failed = tick("Failed ones only", { checked: Boolean(wanted.failed), onchange: () => ((wanted.failed = failed.box.checked ? "1" : ""), changed()) });
  const search = text("search", "Search", { type: "search", placeholder: "User, address, stage, cause" });
  return h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, search, text("user", "User, exactly", { type: "text" }), failed.node);
}

const COLUMNS = [
  { id: "when", label: "Began", tight: true, cell: (row) => h("a", { href: `#/attempts/${encodeURIComponent(row.id)}` }, moment(row.started_at)) },
  { id: "user", label: "User", who: true, cell: (row) => row.user ?? h("span", { class: "muted" }, "not known") },
  { id: "client", label: "Client", tight: true, cell: (row) => h("span", { class: "address" }, row.client) },
  { id: "outcome", label: "Outcome", tight: true, cell: (row) => state(...outcome(row.outcome)) },
  { id: "stage", label: "Stage", tight: true, cell: (row) => h("code", null, row.stage) },
  { id: "cause", label: "Cause", wide: true, cell: (row) => row.cause ?? "" },
];

function one({ view, app, id, current, rename }) {
  const refresh = async () => {
    try {
      const told = await get("/v1/explain", { what: id });
      if (!current()) return;
      rename(told.attempt.user ? `Attempt of ${told.attempt.user}` : "Attempt");
      show(view, story(told, app));
    } catch (problem) {
      if (current()) show(view, trouble(problem, refresh), h("p", null, h("a", { href: "#/attempts" }, "All attempts")));
    }
  };
  show(view, loading("Asking what became of it"));
  refresh();
  const soon = settled(refresh, 400);
  return listen((event) => ((event.event === "attempt" && event.attempt.id === id) || (event.event === "session_up" && event.session.attempt === id)) && soon());
}

function story({ attempt, told, commands, cases }, app) {
  const failed = attempt.outcome === "failed";
  return [
    card(failed ? "Why it failed" : "What became of it", { key: "story", class: "story" },
      h("div", { class: "prose" }, told.map((line) => h("p", null, line))),
      failed && attempt.fix && h("div", { class: "notice idle" }, icon("good"), h("div", null, h("strong", null, "What to do"), h("p", null, sentence(attempt.fix)))),
      commands.map((one) => lines(one.where, one.lines, app)),
      next(attempt, app)),
    card("Facts", { key: "facts", class: "half" }, facts([
      ["Outcome", state(...outcome(attempt.outcome))],
      ["Stage reached", h("code", null, attempt.stage)],
      ["Cause", attempt.cause],
      ["User", attempt.user ?? "not known"],
      ["Client", h("span", { class: "address" }, attempt.client)],
      ["Dialled", h("span", { class: "address" }, attempt.gateway)],
      ["Tunnel", attempt.tunnel],
      ["Began", moment(attempt.started_at)],
      ["Windows shows", attempt.windows_code],
      ["NPS reason", attempt.nps_reason],
      ["Id", h("code", null, attempt.id)],
    ])),
    attempt.decision.length > 0 && card("Policies, in their order", { key: "decision", class: "half" }, h("ol", { class: "plain" }, attempt.decision.map((line) => h("li", null, line)))),
    card("Timeline", { key: "timeline", class: attempt.decision.length ? "" : "half" }, timeline(attempt)),
    (attempt.offered.length > 0 || attempt.accepted.length > 0) && card("Ciphers", { key: "ciphers" }, ciphers(attempt)),
    cases.length > 0 && card("What else may be behind it", { key: "cases" }, cases.map((one) => known(one, app))),
  ];
}

function next(attempt, app) {
  const links = [];
  const address = attempt.client.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  if (attempt.user) links.push(["Try the policies", `policies?${new URLSearchParams({ user: attempt.user, tunnel: attempt.tunnel })}`], ["Other attempts of this user", `attempts?${new URLSearchParams({ user: attempt.user })}`]);
  links.push(["Attempts from this address", `attempts?${new URLSearchParams({ search: address })}`]);
  if (app.operates) links.push(["Keep the address out", `blocks?${new URLSearchParams({ kind: "address", value: address })}`]);
  if (app.operates && attempt.user) links.push(["Keep the user out", `blocks?${new URLSearchParams({ kind: "user", value: attempt.user })}`]);
  return h("ul", { class: "links", "aria-label": "From here" }, links.map(([text, href]) => h("li", null, h("a", { href: `#/${href}` }, text))));
}

function timeline({ timeline, timeline_lost }) {
  const columns = [
    { id: "at", label: "After", number: true, cell: (line) => `${number(line.at_ms)} ms` },
    { id: "text", label: "What", cell: (line) => line.text },
  ];
  const rows = timeline.map((line, index) => ({ ...line, index }));
  const lost = timeline_lost > 0 && h("p", { class: "muted" }, `${number(timeline_lost)} further lines were counted, not kept.`);
  return [table({ caption: "Timeline", narrow: true, columns, rows, key: (line) => line.index }), lost];
}

function ciphers({ offered, accepted }) {
  const part = (name, texts) => h("div", { class: "half" }, h("h3", null, name), texts.length ? h("ul", { class: "codes" }, texts.map((text) => h("li", null, h("code", null, text)))) : h("p", { class: "muted" }, "nothing"));
  return h("div", { class: "pair" }, part("Offered by the client", offered), part("Accepted", accepted));
}

function known(one, app) {
  const numbers = Object.keys(one.numbers).join(", ");
  return h("details", { key: one.title }, h("summary", null, h("strong", null, one.title), " ", h("span", { class: "muted" }, numbers)), facts([
    ["What the gateway sees", sentence(one.seen)],
    ["Cause", sentence(one.cause)],
    ["What to do", sentence(one.fix)],
  ]), one.commands.map((each) => lines(each.where, each.lines, app)));
}
