// Who is connected.
import { get, post } from "../api.js";
import { ask } from "../dialog.js";
import { card, empty, facts, h, loading, show, state, trouble } from "../dom.js";
import { listen } from "../events.js";
import { ago, bytes, duration, moment, now, number, plural, rate } from "../format.js";
import { choice, field, pager, settled, sorted, table, tick } from "../table.js";

export const title = "Sessions";

/** Sessions asked for at once; rows on a page. */
const [BATCH, ROWS] = [1000, 50];
const REFRESH = 10000;
const HOLDS = [["", "no"], ["300", "for 5 minutes"], ["900", "for 15 minutes"], ["3600", "for 1 hour"], ["28800", "for 8 hours"], ["86400", "for a day"]];
const KINDS = { ikev2: "IKEv2", sstp: "SSTP" };

export function open(page) {
  return page.id ? one(page) : list(page);
}

function list({ view, app, query, keep, current }) {
  let [sessions, total, problem, from] = [null, 0, null, 0];
  let sort = { by: query.get("sort") ?? "id", down: query.get("down") === "1" };
  const wanted = { search: query.get("search") ?? "", tunnel: query.get("tunnel") ?? "", policy: query.get("policy") ?? "" };
  const body = h("div", { class: "body" });

  const remember = () => keep({ ...wanted, sort: sort.by === "id" ? "" : sort.by, down: sort.down ? "1" : "" });
  const draw = () => {
    if (problem) return show(body, trouble(problem, refresh));
    if (!sessions) return show(body, loading("Asking who is connected"));
    const fitting = sessions.filter((one) => (!wanted.tunnel || one.tunnel === wanted.tunnel) && (!wanted.policy || one.policy === wanted.policy));
    const columns = columnsOf(app, end);
    from = Math.min(from, Math.max(0, Math.floor((fitting.length - 1) / ROWS) * ROWS));
    const rows = sorted(fitting, columns, sort).slice(from, from + ROWS);
    if (!rows.length) return show(body, nobody());
    const onsort = (changed) => ((sort = changed), (from = 0), remember(), draw());
    const rest = total > sessions.length && h("p", { class: "notice warn" }, `${number(total)} sessions fit; the first ${number(sessions.length)} are here. Search for a name or an address to see others.`);
    const all = wanted.tunnel || wanted.policy ? fitting.length : total;
    show(body, rest, table({ caption: "Sessions", columns, rows, key: (one) => one.id, sort, onsort }), pager({ from, size: ROWS, count: fitting.length, total: all, onmove: (to) => ((from = to), draw()) }));
  };
  const nobody = () => {
    const filtered = Object.values(wanted).some(Boolean);
    if (!filtered) return empty("Nobody is connected.", h("p", null, "If somebody should be: ", h("a", { href: "#/attempts?failed=1" }, "failed logins"), " say why not."));
    return empty("No session fits.", h("button", { type: "button", onclick: clear }, "Show all"));
  };
  const clear = () => {
    Object.assign(wanted, { search: "", tunnel: "", policy: "" });
    for (const control of filters.controls) control.value = "";
    remember();
    refresh();
  };
  const refresh = async () => {
    try {
      const page = await get("/v1/sessions", { limit: BATCH, search: wanted.search });
      if (!current()) return;
      [sessions, total, problem] = [page.sessions, page.total, null];
      filters.offer(sessions);
    } catch (wrong) {
      if (!current()) return;
      problem = wrong;
    }
    draw();
  };
  const end = async (session) => (await disconnect(session, app)) && refresh();
  const filters = filtersOf(wanted, (again) => ((from = 0), remember(), again ? refresh() : draw()));
  show(view, filters.node, body);
  draw();
  refresh();
  const soon = settled(refresh, 500);
  const hear = (event) => ["session_up", "session_down", "missed"].includes(event.event) && soon();
  const deaf = listen(hear);
  const timer = setInterval(() => sessions && sessions.length <= 300 && refresh(), REFRESH);
  return () => (deaf(), clearInterval(timer));
}

function filtersOf(wanted, changed) {
  const search = h("input", { type: "search", id: "search", value: wanted.search, placeholder: "User, address, policy", autocomplete: "off", spellcheck: "false" });
  const tunnel = choice({ id: "tunnel", onchange: () => ((wanted.tunnel = tunnel.value), changed(false)) }, [["", "All"], ...Object.entries(KINDS)], wanted.tunnel);
  const policy = choice({ id: "policy", onchange: () => ((wanted.policy = policy.value), changed(false)) }, [["", "All"], ...(wanted.policy ? [[wanted.policy, wanted.policy]] : [])], wanted.policy);
  const ask = settled(() => ((wanted.search = search.value.trim()), changed(true)));
  search.oninput = ask;
  const node = h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, field("Search", search), field("Tunnel", tunnel), field("Policy", policy));
  const offer = (sessions) => {
    const known = new Set([...policy.options].map((option) => option.value));
    for (const { policy: name } of sessions) if (!known.has(name)) known.add(name) && policy.append(h("option", { value: name }, name));
  };
  return { node, offer, controls: [search, tunnel, policy] };
}

function columnsOf(app, end) {
  const columns = [
    { id: "user", label: "User", who: true, value: (one) => one.user, cell: (one) => [h("a", { href: `#/sessions/${one.id}` }, one.user || "no name"), quiet(one)] },
    { id: "tunnel", label: "Tunnel", tight: true, value: (one) => one.tunnel, cell: (one) => KINDS[one.tunnel] ?? one.tunnel },
    { id: "client", label: "Client", tight: true, value: (one) => one.client, cell: (one) => h("span", { class: "address" }, one.client) },
    { id: "inner", label: "Inner address", tight: true, value: (one) => one.inner[0] ?? "", cell: (one) => one.inner.map((address) => h("span", { class: "address line" }, address)) },
    { id: "policy", label: "Policy", value: (one) => one.policy, cell: (one) => one.policy },
    { id: "since", label: "Connected", number: true, value: (one) => now() - one.connected_at, cell: (one) => h("span", { title: moment(one.connected_at) }, duration(now() - one.connected_at)) },
    { id: "in", label: "From client", number: true, value: (one) => one.octets_in, cell: (one) => bytes(one.octets_in) },
    { id: "out", label: "To client", number: true, value: (one) => one.octets_out, cell: (one) => bytes(one.octets_out) },
  ];
  const button = (one) => h("button", { type: "button", class: "quiet", onclick: () => end(one) }, "Disconnect", h("span", { class: "unseen" }, ` ${one.user}, session ${one.id}`));
  return app.operates ? [...columns, { id: "act", label: "", cell: button }] : columns;
}

const quiet = (one) => (one.silent_since ? [" ", state("warn", "silent")] : one.resting_since ? [" ", state("idle", "resting")] : null);

/** Asks, and ends it; whether anybody was told to go. */
async function disconnect(session, app) {
  const hold = choice({ id: "hold" }, HOLDS, "");
  const reason = h("input", { id: "reason", maxlength: "200", autocomplete: "off" });
  const all = tick(`All sessions of ${session.user}`, { id: "all" });
  const body = [
    h("p", null, `${KINDS[session.tunnel] ?? session.tunnel} from ${session.client}, connected for ${duration(now() - session.connected_at)}. Windows with Always On comes back within seconds, unless it is kept out.`),
    all.node,
    field("Keep the user out", hold),
    field("Reason", reason, "For the block list and for who looks at the refused logins."),
  ];
  const act = () => {
    const whom = all.box.checked ? { user: session.user } : { id: session.id };
    const held = hold.value ? { hold_secs: Number(hold.value), ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) } : {};
    return post("/v1/sessions/disconnect", { ...whom, ...held });
  };
  const done = await ask({ title: `Disconnect ${session.user}?`, body, action: "Disconnect", danger: true, act });
  if (done) app.tell(`${plural(done.ids.length, "session")} told to end${done.blocks?.length ? ", and kept out" : ""}.`);
  return Boolean(done);
}

function one({ view, app, id, current, rename }) {
  const refresh = async () => {
    try {
      const session = await get(`/v1/sessions/${encodeURIComponent(id)}`);
      if (!current()) return;
      rename(session.user);
      show(view, detail(session, app, () => disconnect(session, app).then((done) => done && app.go("sessions"))));
    } catch (problem) {
      if (current()) show(view, problem.status === 404 ? gone(id) : trouble(problem, refresh));
    }
  };
  show(view, loading("Asking for the session"));
  refresh();
  const deaf = listen((event) => event.event === "session_down" && String(event.id) === id && refresh());
  const timer = setInterval(refresh, 3000);
  return () => (deaf(), clearInterval(timer));
}

const gone = (id) => empty(`Session ${id} has ended.`, h("p", null, h("a", { href: "#/sessions" }, "All sessions"), " · ", h("a", { href: "#/attempts" }, "Attempts"), " say how."));

function detail(one, app, end) {
  const rates = one.rate_limit_in || one.rate_limit_out;
  const button = app.operates && h("button", { type: "button", class: "danger", onclick: end }, "Disconnect …");
  return [
    card(`Session ${one.id}`, { key: "session", actions: button }, facts([
      ["State", one.silent_since ? state("warn", `silent, ${ago(one.silent_since)}`) : one.resting_since ? state("idle", `without a Child SA, ${ago(one.resting_since)}`) : state("good", "up")],
      ["User", one.user],
      ["Connected", `${duration(now() - one.connected_at)}, since ${moment(one.connected_at)}`],
      ["Tunnel", KINDS[one.tunnel] ?? one.tunnel],
      ["Client", h("span", { class: "address" }, one.client)],
      ["Inner addresses", one.inner.join(", ")],
      ["Networks behind it", (one.networks ?? []).join(", ")],
      ["Policy", h("a", { href: "#/policies" }, one.policy)],
      ["RADIUS server", one.radius],
      ["Attempt", h("a", { href: `#/attempts/${encodeURIComponent(one.attempt)}` }, one.attempt)],
    ])),
    card("Traffic", { key: "traffic", class: "half" }, facts([
      ["From the client", `${bytes(one.octets_in)}, ${plural(one.packets_in, "packet")}`],
      ["To the client", `${bytes(one.octets_out)}, ${plural(one.packets_out, "packet")}`],
      ["Filters", one.filters.join(", ")],
      ["Dropped by filters", one.filters.length ? `${number(one.filtered_in)} from the client, ${number(one.filtered_out)} to it` : null],
      ["Rate limit", rates ? `${one.rate_limit_in ? rate(one.rate_limit_in) : "none"} from the client, ${one.rate_limit_out ? rate(one.rate_limit_out) : "none"} to it` : null],
      ["Dropped beyond it", rates ? plural(one.rate_limited, "packet") : null],
    ])),
    card("Protection", { key: "protection", class: "half" }, facts([
      ["IKE", one.ike_suite],
      ["ESP", one.esp_suite],
      ["TLS", one.tls],
      ["Certificate shown", one.certificate],
      ["NAT on the way", one.tunnel === "ikev2" ? one.nat : null],
      ["IKE SA rekeyed", one.ike_rekeyed_at && ago(one.ike_rekeyed_at)],
      ["Child SA rekeyed", one.child_rekeyed_at && ago(one.child_rekeyed_at)],
    ])),
  ];
}
