// Who is kept out by hand.
import { get, post, remove } from "../api.js";
import { ask } from "../dialog.js";
import { card, empty, h, icon, loading, sentence, show, trouble } from "../dom.js";
import { duration, moment, now, plural } from "../format.js";
import { choice, field, table, tick } from "../table.js";

export const title = "Blocks";

const KINDS = { user: "User", machine: "Machine", certificate: "Certificate", address: "Address" };
const TIMES = [["", "until it is taken back"], ["900", "15 minutes"], ["3600", "1 hour"], ["28800", "8 hours"], ["86400", "1 day"], ["604800", "1 week"], ["2592000", "30 days"]];
const HINTS = {
  user: "alice: in every realm and form of the name. alice@corp.example: in that realm alone, and not where a login leaves the realm out.",
  machine: "The name of a computer, without regard to case.",
  certificate: "Serial number or SHA-256 fingerprint, in hexadecimal.",
  address: "An address outside of the tunnel, or a prefix: 198.51.100.0/24.",
};

export function open({ view, app, query, keep, current }) {
  const body = h("div");
  const refresh = async () => {
    try {
      const { blocks, unread = [] } = await get("/v1/blocks");
      if (current()) show(body, warningsOf(blocks, unread), blocks.length ? blockTable(blocks, app, take) : nobody());
    } catch (problem) {
      if (current()) show(body, trouble(problem, refresh));
    }
  };
  const nobody = () => empty("Nobody is kept out.", app.operates && h("p", null, "Somebody who is, is refused whatever RADIUS and the policies say."));
  const take = async (block) => {
    const [kind, value] = who(block);
    const name = `${KINDS[kind].toLowerCase()} ${value}`;
    const done = await ask({ title: "Let them in again?", body: h("p", null, `Then RADIUS and the policies decide about ${name} as about everybody else.`), action: "Let in", act: () => remove(`/v1/blocks/${block.id}`) });
    if (done) app.tell(`No longer kept out: ${name}.`);
    refresh();
  };
  const add = async (given = {}) => {
    const done = await askWhom(given);
    if (done) app.tell(`Kept out: ${who(done).join(" ")}.`);
    refresh();
  };
  const button = app.operates && h("button", { type: "button", class: "primary", onclick: () => add() }, "Keep somebody out …");
  show(body, loading("Asking for the list"));
  show(view, card("The block list", { key: "list", actions: button }, body));
  refresh();
  if (app.operates && Object.hasOwn(KINDS, query.get("kind") ?? "")) {
    add({ kind: query.get("kind"), value: query.get("value") ?? "" });
    keep({});
  }
  const timer = setInterval(refresh, 15000);
  return () => clearInterval(timer);
}

/** Kind and value of an entry. */
const who = (block) => Object.entries(block.who)[0];

/** What keeps nobody out, or not for certain. */
function warningsOf(blocks, unread) {
  const told = [
    ...unread.map((what) => `Not in force: ${sentence(what)}`),
    ...blocks.filter((one) => one.unjudged).map((one) => `${plural(one.unjudged, "login")} came in that nobody could compare with ${who(one).join(" ")}; their attempts say why.`),
  ];
  if (unread.length) told.push("To mend what is not in force: stop the gateway, mend or remove the entry in its file, start the gateway. What is changed in the file while it runs is written over.");
  const line = (text) => h("li", { class: "notice warn", key: text }, icon("warn"), h("span", null, text));
  return told.length > 0 && h("ul", { class: "notices", "aria-label": "What keeps nobody out", key: "warnings" }, told.map(line));
}

function blockTable(blocks, app, take) {
  const columns = [
    { id: "kind", label: "Kind", cell: (one) => KINDS[who(one)[0]] ?? who(one)[0] },
    { id: "value", label: "Who", cell: (one) => h("strong", null, who(one)[1]) },
    { id: "reason", label: "Reason", wide: true, cell: (one) => one.reason ?? "" },
    { id: "added", label: "Since", cell: (one) => moment(one.added_at) },
    { id: "until", label: "Until", cell: (one) => (one.until ? h("span", { title: `${duration(one.until - now())} left` }, moment(one.until)) : "taken back") },
  ];
  const button = (one) => h("button", { type: "button", class: "quiet", onclick: () => take(one) }, "Let in", h("span", { class: "unseen" }, ` ${who(one)[1]}`));
  const all = app.operates ? [...columns, { id: "act", label: "", cell: button }] : columns;
  return [table({ caption: "Who is kept out", columns: all, rows: blocks, key: (one) => one.id }), h("p", { class: "muted" }, plural(blocks.length, "entry", "entries"))];
}

function askWhom({ kind = "user", value = "" }) {
  const kinds = choice({ id: "kind", onchange: () => hint() }, Object.entries(KINDS), kind);
  const name = h("input", { id: "who", type: "text", value, required: true, autocomplete: "off", spellcheck: "false" });
  const time = choice({ id: "for" }, TIMES, "");
  const reason = h("input", { id: "reason", type: "text", maxlength: "200", autocomplete: "off" });
  const leave = tick("End their sessions too", { id: "disconnect", checked: true });
  const named = field("Who", name, HINTS[kind]);
  const hint = () => (named.querySelector(".hint").textContent = HINTS[kinds.value]);
  const body = [field("What", kinds), named, field("For", time), field("Reason", reason, "It is in the refused attempts, for whoever helps the user."), leave.node];
  const act = () => post("/v1/blocks", { who: { [kinds.value]: name.value.trim() }, disconnect: leave.box.checked, ...(time.value ? { for_secs: Number(time.value) } : {}), ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) });
  return ask({ title: "Keep somebody out", body, action: "Keep out", danger: true, act });
}
