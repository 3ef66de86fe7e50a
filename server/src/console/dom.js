// Elements are made of values, never of markup: whatever strangers call themselves stays text.

const SVG = "http://www.w3.org/2000/svg";
let numbers = 0;

/** An id that nothing else in the page has. */
export const fresh = (prefix) => `${prefix}-${++numbers}`;

/** An element. `props`: attributes; functions under `on..` hear events; `key` tells rows apart; null and false leave an attribute out. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") hear(node, name, value);
    else if (name === "key") node.keyOfRow = String(value);
    else if (name === "value" || name === "checked" || name === "selected" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

function hear(node, name, heard) {
  node[name] = heard;
  (node.heard ??= new Set()).add(name);
}

function add(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Makes `node` hold these children, keeping what is already there: focus, selection and scrolling survive. */
export function show(node, ...children) {
  const wanted = document.createDocumentFragment();
  add(wanted, children);
  morphChildren(node, wanted);
  return node;
}

function morphChildren(node, wanted) {
  const fresh = [...wanted.childNodes];
  const keys = new Set(fresh.map((child) => child.keyOfRow).filter((key) => key !== undefined));
  const kept = new Map();
  for (const child of [...node.childNodes]) {
    if (child.keyOfRow === undefined) continue;
    // What goes, goes first: what stays is then in its place, and need not be moved, which would take the focus from it.
    if (keys.has(child.keyOfRow)) kept.set(child.keyOfRow, child);
    else child.remove();
  }
  let place = node.firstChild;
  for (const child of fresh) {
    const known = child.keyOfRow === undefined ? (place && alike(place, child) ? place : null) : kept.get(child.keyOfRow);
    if (!known || !alike(known, child)) {
      node.insertBefore(child, place);
    } else if (known === place) {
      place = place.nextSibling;
      morph(known, child);
    } else {
      node.insertBefore(known, place);
      morph(known, child);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

const alike = (one, other) => one.nodeName === other.nodeName && one.keyOfRow === other.keyOfRow;

function morph(node, wanted) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  // What draws itself is its own business.
  if (node.drawsItself) return;
  for (const { name } of [...node.attributes]) if (!wanted.hasAttribute(name) && name !== "open") node.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  for (const name of node.heard ?? []) if (!wanted.heard?.has(name)) node[name] = null;
  for (const name of wanted.heard ?? []) hear(node, name, wanted[name]);
  if ("disabled" in wanted) node.disabled = wanted.disabled;
  // What somebody is writing stays.
  if (["INPUT", "SELECT", "TEXTAREA"].includes(node.nodeName)) return;
  morphChildren(node, wanted);
}

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  sessions: "M16 19v-1a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4v1M9.500 10.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7M21 19v-1a4 4 0 0 0-3-3.850M15 3.700a3.500 3.500 0 0 1 0 6.600",
  attempts: "M10 17l5-5-5-5M15 12H3M15 3h4a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2h-4",
  policies: "M9 6h11M9 12h11M9 18h11M4 6l.8.8L6.500 5M4 12l.8.8 1.700-1.800M4 18l.8.8 1.700-1.800",
  configuration: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5M9 19.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5",
  doctor: "M12 21s-8-4.600-8-11a4.500 4.500 0 0 1 8-2.800A4.500 4.500 0 0 1 20 10c0 6.400-8 11-8 11M7 12h3l1.500-3 2 5 1-2H17",
  blocks: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M5.700 5.700l12.600 12.600",
  certificates: "M12 14a5 5 0 1 0 0-10 5 5 0 0 0 0 10M8.500 12.500L7 21l5-2.500L17 21l-1.500-8.500",
  good: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M8 12.500l2.800 2.800L16 9.500",
  warn: "M12 4L2.500 20h19L12 4M12 10v4.500M12 17.300v.2",
  bad: "M8 3h8l5 5v8l-5 5H8l-5-5V8l5-5M9 9l6 6M15 9l-6 6",
  idle: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M8 12h8",
  menu: "M4 6h16M4 12h16M4 18h16",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
};

/** A drawing that says nothing by itself. */
export function icon(name, extra = "") {
  return s("svg", { class: `icon ${extra}`.trim(), viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, s("path", { d: ICONS[name] }));
}

/** How something stands, by drawing, colour and word: `good`, `warn`, `bad` or `idle`. */
export const state = (level, text) => h("span", { class: `state ${level}` }, icon(level), h("span", null, text));

/** Names with values; those without a value are left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && !(Array.isArray(value) && !value.length));
  return h("dl", { class: "facts" }, given.map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))));
}

/** A part of a page under a heading. */
export function card(title, props, ...children) {
  const id = fresh("card");
  const { actions, class: extra = "", level = "h2", ...rest } = props ?? {};
  const head = h("div", { class: "card-head" }, h(level, { id }, title), actions && h("div", { class: "actions" }, actions));
  return h("section", { class: `card ${extra}`.trim(), "aria-labelledby": id, ...rest }, head, children);
}

/** While something is on its way. */
export const loading = (what) => h("p", { class: "empty", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `${what} …`);

/** Nothing there, and what that means or what to do. */
export const empty = (text, ...more) => h("div", { class: "empty" }, h("p", null, text), more);

/** What went wrong, and what to do. */
export function trouble(problem, again) {
  const retry = again && h("button", { type: "button", onclick: again }, "Try again");
  const remedy = problem.remedy && h("p", null, sentence(problem.remedy));
  return h("div", { class: "notice bad", role: "alert" }, icon("bad"), h("div", null, h("p", null, h("strong", null, sentence(problem.message))), remedy, retry));
}

/** With a capital letter in front and a full stop behind. */
export function sentence(text) {
  const whole = text.trim();
  return whole ? whole[0].toUpperCase() + whole.slice(1) + (/[.!?…]$/.test(whole) ? "" : ".") : "";
}

/** Lines to type, with a button that copies them. */
export function lines(place, texts, app) {
  const text = texts.join("\n");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      app.tell("Copied.");
    } catch {
      getSelection().selectAllChildren(code);
      app.tell("Selected: copy it with Ctrl+C.");
    }
  };
  const code = h("code", null, text);
  const button = h("button", { type: "button", class: "quiet", onclick: copy }, icon("copy"), "Copy", h("span", { class: "unseen" }, ` what to type: ${place}`));
  return h("figure", { class: "lines" }, h("figcaption", null, h("span", null, sentence(place).replace(/\.$/, "")), button), h("pre", { tabindex: "0" }, code));
}
