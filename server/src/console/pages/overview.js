// The gateway at a glance.
import { get, post, remove } from "../api.js";
import { chart } from "../chart.js";
import { ask } from "../dialog.js";
import { card, empty, facts, h, icon, loading, s, sentence, show, state, trouble } from "../dom.js";
import { listen } from "../events.js";
import { ago, bytes, date, duration, ending, expiry, many, moment, number, outcome, plural, rate } from "../format.js";
import { choice, field, table } from "../table.js";

export const title = "Overview";

const SPANS = [["hour", "Last hour"], ["day", "Last day"]];
const STATUS_PACE = 5000;
const STANDING = { alive: "good", slow: "warn", dead: "bad", unknown: "idle" };

export function open({ view, app, query, keep, current }) {
  const parts = Object.fromEntries(["attention", "tiles", "charts", "below"].map((name) => [name, h("div", { class: name })]));
  show(view, loading("Asking how the gateway is"));
  let [status, blocks, failed, counters, before] = [null, null, [], null, null];
  const charts = makeCharts(query.get("span") === "day" ? "day" : "hour", (span) => {
    keep({ span: span === "day" ? "day" : "" });
    history();
  });
  parts.charts.append(charts.node);

  const history = async () => {
    try {
      const report = await get("/v1/history", { span: charts.span() });
      if (current()) charts.update(report.points);
    } catch {
      // The next try is due anyway; the rest of the page tells what is wrong.
    }
  };
  const tiles = () => status && show(parts.tiles, tilesOf(status, counters, before));
  const refresh = async () => {
    try {
      const asked = [get("/v1/status"), get("/v1/blocks"), get("/v1/attempts", { failed: true, limit: 5 })];
      const [told, list, attempts] = await Promise.all(asked);
      if (!current()) return;
      const first = !status;
      [status, blocks, failed] = [told, list, attempts.attempts];
      if (first) {
        view.replaceChildren(...Object.values(parts));
        history();
      }
      show(parts.attention, attention(status, blocks, app, refresh));
      tiles();
      show(parts.below, below(status, blocks, failed));
    } catch (problem) {
      if (current() && status) show(parts.attention, trouble(problem, refresh));
      else if (current()) show(view, trouble(problem, refresh));
    }
  };
  const end = listen((event) => {
    if (event.event === "counters") {
      [before, counters] = [counters, event];
      tiles();
    } else if (event.event === "state") {
      // A gateway that has started again counts from nothing.
      before = counters = null;
    } else {
      soon();
    }
  });
  let due = 0;
  const soon = () => (due ||= setTimeout(() => ((due = 0), refresh()), 800));
  const timers = [setInterval(refresh, STATUS_PACE), setInterval(history, 10000)];
  refresh();
  return () => {
    end();
    clearTimeout(due);
    timers.forEach(clearInterval);
  };
}

function makeCharts(first, changed) {
  let span = first;
  const made = [
    chart({ title: "Sessions", format: number, series: [{ name: "IKEv2", value: (point) => point.sessions_ikev2 }, { name: "SSTP", value: (point) => point.sessions_sstp }] }),
    chart({ title: "Throughput", format: rate, series: [{ name: "from clients", value: (point) => (point.octets_in * 8) / point.secs }, { name: "to clients", value: (point) => (point.octets_out * 8) / point.secs }] }),
    chart({ title: "Logins", format: number, bars: true, series: [{ name: "came up", value: (point) => point.established }, { name: "failed", faults: true, value: (point) => point.failed }] }),
  ];
  const button = ([value, text]) => h("label", { class: "segment" }, h("input", { type: "radio", name: "span", value, checked: value === span, onchange: () => changed((span = value)) }), h("span", null, text));
  const spans = h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, "How far the charts reach back"), SPANS.map(button));
  const node = card("Over time", { actions: spans }, h("div", { class: "chart-row" }, made.map((one) => one.node)));
  return { node, span: () => span, update: (points) => made.forEach((one) => one.update(points)) };
}

const tile = (name, value, ...more) => h("div", { class: "tile", key: name }, h("h2", null, name), h("p", { class: "big" }, value), h("p", { class: "muted" }, more));

function tilesOf(status, counters, before) {
  const sessions = counters ?? status;
  const seconds = counters && before ? Math.max(1, counters.at - before.at) : 0;
  const speed = (name) => (seconds ? rate(((counters[name] - before[name]) * 8) / seconds) : "…");
  const kinds = counters ? `${number(counters.sessions_ikev2)} IKEv2, ${number(counters.sessions_sstp)} SSTP` : "";
  const traffic = status.dataplane;
  const totals = counters ?? traffic;
  const { established = 0, failed = 0 } = counters ?? status.ike;
  return [
    tile("Sessions", h("a", { href: "#/sessions" }, number(sessions.sessions)), kinds),
    tile("From clients", speed("octets_in"), `${bytes(totals.octets_in)} since the start`),
    tile("To clients", speed("octets_out"), `${bytes(totals.octets_out)} since the start`),
    tile("Logins", h("a", { href: "#/attempts" }, number(established)), `came up, ${number(failed)} failed, ${number(sessions.half_open)} under way`),
    tile("Running for", duration(status.uptime_secs), `version ${status.version}`),
  ];
}

/** What somebody should look at, worst first; a word of calm if nothing. */
function attention(status, blocks, app, refresh) {
  const found = [...ofDrain(status), ...ofBlocks(blocks), ...ofRadius(status), ...ofCertificates(status), ...ofLists(status), ...ofPools(status), ...ofBooks(status)];
  found.sort((one, other) => ["bad", "warn", "idle"].indexOf(one.level) - ["bad", "warn", "idle"].indexOf(other.level));
  const calm = h("p", { class: "notice good", key: "calm" }, icon("good"), h("span", null, "Nothing needs attention."));
  const line = ({ level, text, page }) => h("li", { class: `notice ${level}`, key: text }, icon(level), h("span", null, text, page && [" ", h("a", { href: `#/${page}` }, "Look")]));
  const list = found.length ? h("ul", { class: "notices", "aria-label": "What needs attention", key: "notices" }, found.map(line)) : calm;
  return [list, app.operates && drainButton(status, app, refresh)];
}

function ofDrain({ drain }) {
  if (!drain) return [];
  const to = drain.to ? ` to ${drain.to}` : "";
  return [{ level: "warn", text: `The gateway is being emptied${to}: ${plural(drain.left, "client")} left, ${number(drain.sent_away)} sent away; everybody is told goodbye at ${moment(drain.ends_at)}.` }];
}

function ofBlocks({ blocks, unread = [] }) {
  const doubtful = blocks.filter((one) => one.unjudged).length;
  return [
    ...(unread.length ? [{ level: "warn", text: `${plural(unread.length, "entry", "entries")} of the block list ${unread.length === 1 ? "is" : "are"} not in force.`, page: "blocks" }] : []),
    ...(doubtful ? [{ level: "warn", text: `Logins came in that nobody could compare with ${plural(doubtful, "entry", "entries")} of the block list.`, page: "blocks" }] : []),
  ];
}

function ofRadius({ radius, local, eap_certificates }) {
  const dead = radius.filter((server) => server.standing === "dead");
  const slow = radius.filter((server) => server.standing === "slow");
  const alone = dead.length && dead.length === radius.length && !local;
  const ends = eap_certificates.map((one) => [one, Math.floor((one.not_after - Date.now() / 1000) / 86400)]).filter(([, days]) => days < 30);
  return [
    ...(alone ? [{ level: "bad", text: "No RADIUS server answers: nobody can log in.", page: "doctor" }] : dead.map((server) => ({ level: "bad", text: `RADIUS server ${server.name} does not answer.`, page: "doctor" }))),
    ...slow.map((server) => ({ level: "warn", text: `RADIUS server ${server.name} is slow: logins wait for it.`, page: "doctor" })),
    ...ends.map(([one, days]) => ({ level: ending(days)[0], text: `RADIUS server ${one.radius} shows clients the certificate ${one.subject}: ${ending(days)[1]}.` })),
    ...(local?.failure ? [{ level: "warn", text: `The users file was not read again: ${local.failure}` }] : []),
    ...(local?.lockouts?.length ? [{ level: "idle", text: `${plural(local.lockouts.length + local.more_lockouts, "user or source", "users or sources")} may not log in for a while after wrong passwords.` }] : []),
  ];
}

const ofCertificates = ({ certificates }) =>
  certificates.filter((one) => one.days_left < 30).map((one) => ({ level: ending(one.days_left)[0], text: `Certificate ${one.name}: ${ending(one.days_left)[1]}.`, page: "certificates" }));

const ofLists = ({ revocation }) =>
  revocation.map((one) => [one, ...expiry(one)]).filter(([, level]) => level !== "good").map(([one, level, text]) => {
    const why = one.trouble ? `: ${one.trouble}` : "";
    return { level, text: sentence(`Revocation list from ${one.source}, ${text}${why}`), page: "certificates" };
  });

const ofPools = ({ pools }) =>
  pools.filter((pool) => pool.used >= pool.size * 0.8).map((pool) => {
    const full = pool.used >= pool.size;
    return { level: full ? "bad" : "warn", text: `Pool ${pool.pool} (${pool.family}) is ${full ? "exhausted: nobody gets an address of it" : `${Math.floor((100 * pool.used) / pool.size)} % used`}.` };
  });

function ofBooks({ accounting }) {
  if (!accounting) return [];
  return [
    ...(accounting.journal_failure ? [{ level: "bad", text: `Accounting records are in memory only: ${accounting.journal_failure}` }] : []),
    ...(accounting.radius_failure ? [{ level: "warn", text: `${plural(accounting.queued, "accounting record")} wait for a RADIUS server: ${accounting.radius_failure}` }] : []),
  ];
}

function below(status, blocks, failed) {
  return [
    card("RADIUS servers", { key: "radius", class: "half" }, radiusTable(status)),
    card("Address pools", { key: "pools", class: "half" }, poolList(status.pools)),
    card("Failed logins, the newest", { key: "failed", class: "half", actions: h("a", { href: "#/attempts?failed=1" }, "All") }, failedTable(failed)),
    card("Certificates", { key: "certificates", class: "half", actions: h("a", { href: "#/certificates" }, "All") }, certificateTable(status.certificates)),
    card("Listeners", { key: "listeners", class: "half" }, listenerTable(status.listeners)),
    card("Also", { key: "also", class: "half" }, also(status, blocks)),
  ];
}

function radiusTable({ radius, local }) {
  const lines = radius.map((server) => ({ ...server, sent: server.counters.sent, lost: server.counters.timeouts }));
  const none = local ? empty(`Nobody is asked: ${plural(local.users, "user")} of ${local.users_file}.`) : empty("There is none.");
  if (!lines.length) return none;
  const columns = [
    { id: "name", label: "Server", cell: (one) => [h("strong", null, one.name), " ", h("span", { class: "muted" }, one.address)] },
    { id: "standing", label: "State", tight: true, cell: (one) => state(STANDING[one.standing] ?? "idle", one.standing === "unknown" ? "not asked yet" : one.standing) },
    { id: "rtt", label: "Answers in", number: true, cell: (one) => (one.round_trip_ms === null ? "–" : `${number(one.round_trip_ms)} ms`) },
    { id: "flight", label: "In flight", number: true, cell: (one) => number(one.in_flight) },
    { id: "lost", label: "Unanswered", number: true, cell: (one) => `${number(one.lost)} of ${number(one.sent)}` },
  ];
  return table({ caption: "RADIUS servers", columns, rows: lines, key: (one) => one.name });
}

function poolList(pools) {
  if (!pools.length) return empty("There is none.");
  const line = (pool) => {
    const share = pool.size ? pool.used / pool.size : 0;
    const level = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good";
    const label = `${pool.pool}, ${pool.family}: ${number(pool.used)} of ${many(pool.size)} used`;
    const meter = s("svg", { class: `meter ${level}`, role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) }, s("rect", { class: "rest", width: "100%", height: "100%" }), s("rect", { width: `${Math.min(100, share * 100)}%`, height: "100%" }));
    return h("li", { key: `${pool.pool} ${pool.family}` }, h("span", null, h("strong", null, pool.pool), " ", h("span", { class: "muted" }, pool.family)), meter, h("span", { class: "number" }, `${number(pool.used)} / ${many(pool.size)}`));
  };
  return h("ul", { class: "meters" }, pools.map(line));
}

function failedTable(failed) {
  if (!failed.length) return empty("None is kept.");
  const columns = [
    { id: "when", label: "When", tight: true, cell: (one) => ago(one.started_at) },
    { id: "user", label: "User", who: true, cell: (one) => h("a", { href: `#/attempts/${encodeURIComponent(one.id)}` }, one.user ?? "not known") },
    { id: "cause", label: "Cause", wide: true, cell: (one) => h("span", { class: "clip", title: one.cause ?? "" }, one.cause ?? outcome(one.outcome)[1]) },
  ];
  return table({ caption: "The newest failed logins", columns, rows: failed, key: (one) => one.id });
}

function certificateTable(certificates) {
  const columns = [
    { id: "name", label: "Name", cell: (one) => h("strong", null, one.name) },
    { id: "left", label: "Left", cell: (one) => state(...ending(one.days_left)) },
    { id: "end", label: "Ends", cell: (one) => date(one.not_after) },
  ];
  return table({ caption: "Certificates by their end", columns, rows: certificates, key: (one) => one.name });
}

function listenerTable(listeners) {
  const rows = listeners.flatMap((listener) => listener.sockets.map((socket) => ({ ...socket, ...listener, sockets: null })));
  const columns = [
    { id: "name", label: "Listener", cell: (one) => [h("strong", null, one.name), " ", h("span", { class: "muted" }, one.protocol)] },
    { id: "address", label: "Address", cell: (one) => h("code", null, one.address) },
    { id: "packets", label: "Received", number: true, cell: (one) => number(one.packets) },
  ];
  return table({ caption: "Listeners", columns, rows, key: (one) => `${one.name} ${one.address}` });
}

function also(status, blocks) {
  const drops = Object.values(status.dataplane.drops).reduce((sum, one) => sum + one, 0);
  const books = status.accounting;
  return facts([
    ["Kept out by hand", [h("a", { href: "#/blocks" }, plural(blocks.blocks.length, "entry", "entries")), blocks.unread?.length > 0 && `, ${number(blocks.unread.length)} more not in force`]],
    ["Emptied", status.drain ? `until ${moment(status.drain.ends_at)}` : "no"],
    ["Packets", `${number(status.dataplane.packets_in)} from clients, ${number(status.dataplane.packets_out)} to them, ${number(drops)} dropped`],
    ["Accounting", books && `${number(books.open)} open, ${number(books.queued)} waiting, ${number(books.confirmed)} confirmed`],
    ["Running since", moment(status.started_at)],
  ]);
}

function drainButton(status, app, refresh) {
  const done = () => (refresh(), app.tell(status.drain ? "The gateway takes clients again." : "The gateway is being emptied."));
  const cancel = () => ask({ title: "Take clients again?", body: h("p", null, "Those who were sent away do not come back by themselves."), action: "Take clients", act: () => remove("/v1/drain") }).then((said) => said && done());
  const begin = () => {
    const to = h("input", { id: "drain-to", autocomplete: "off", placeholder: "vpn2.example.com" });
    const within = choice({ id: "drain-within" }, [["300", "5 minutes"], ["900", "15 minutes"], ["1800", "30 minutes"], ["3600", "1 hour"], ["14400", "4 hours"]], "1800");
    const body = [h("p", null, "Nobody new comes in from now on, and those who are in leave within the time."), field("Within", within), field("Send clients to", to, "A gateway; empty: nowhere. Only clients that follow redirects go there.")];
    const act = () => post("/v1/drain", { within_secs: Number(within.value), ...(to.value.trim() ? { to: to.value.trim() } : {}) });
    ask({ title: "Empty the gateway?", body, action: "Empty it", danger: true, act }).then((said) => said && done());
  };
  return h("button", { type: "button", key: "drain", onclick: status.drain ? cancel : begin }, status.drain ? "Take clients again …" : "Empty the gateway …");
}
