// The frame around the pages: who is signed in, where one is, what is live.
import { Problem, get, takeKey, token } from "./api.js";
import { h, icon, loading, show, state, trouble } from "./dom.js";
import { inform } from "./dialog.js";
import { login } from "./login.js";
import * as events from "./events.js";
import * as overview from "./pages/overview.js";
import * as sessions from "./pages/sessions.js";
import * as attempts from "./pages/attempts.js";
import * as policies from "./pages/policies.js";
import * as configuration from "./pages/configuration.js";
import * as doctor from "./pages/doctor.js";
import * as blocks from "./pages/blocks.js";
import * as certificates from "./pages/certificates.js";

const PAGES = { overview, sessions, attempts, policies, configuration, doctor, blocks, certificates };
const THEMES = { system: "As the system", light: "Light", dark: "Dark" };
const [top, side, main, toasts] = ["top", "side", "main", "toasts"].map((id) => document.getElementById(id));

/** What pages get: who looks, and what the frame does for them. */
const app = { caller: null, operates: false, name: "", tell, go };
let leave = () => {};
let visit = 0;

/** Says something that passes. */
function tell(text, level = "good") {
  const toast = h("p", { class: `toast ${level}` }, icon(level), h("span", null, text));
  toasts.append(toast);
  setTimeout(() => toast.remove(), level === "bad" ? 12000 : 5000);
}

/** Goes to a page: `sessions`, `attempts/ID`; `query` is kept in the address. */
function go(path, query = {}) {
  location.hash = address(path, query);
}

function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(given).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Where the address points: page, what of it, and its query. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  return { page: Object.hasOwn(PAGES, page) ? page : "overview", id: decoded(rest.join("/")), query: new URLSearchParams(query ?? "") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function open() {
  leave();
  const ours = ++visit;
  const { page, id, query } = place();
  const view = h("div", { class: `page ${page}` });
  const title = h("h1", { tabindex: "-1" }, PAGES[page].title);
  const keep = (changed) => ours === visit && history.replaceState(null, "", address(id ? `${page}/${encodeURIComponent(id)}` : page, changed));
  main.replaceChildren(h("div", { class: "page-head" }, title), view);
  name(PAGES[page].title);
  for (const link of side.querySelectorAll("a")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  side.classList.remove("open");
  top.querySelector(".menu")?.setAttribute("aria-expanded", "false");
  const rename = (text) => ((title.textContent = text), name(text));
  leave = PAGES[page].open({ view, app, id, query, keep, rename, current: () => ours === visit }) ?? (() => {});
  scrollTo(0, 0);
}

function name(text) {
  document.title = `${text} · ${app.name || "Evergate"}`;
}

/** The page after this one is read from its heading on. */
function moved() {
  open();
  main.querySelector("h1").focus({ preventScroll: true });
}

function theme(wanted) {
  if (wanted) localStorage.setItem("evergate.theme", wanted);
  const kept = localStorage.getItem("evergate.theme");
  const chosen = Object.hasOwn(THEMES, kept) ? kept : "system";
  document.documentElement.dataset.theme = chosen;
  return chosen;
}

function frame() {
  const live = h("span", { class: "live", id: "live" });
  const menu = h("button", { type: "button", class: "menu quiet", "aria-expanded": "false", "aria-controls": "side", onclick: () => menu.setAttribute("aria-expanded", String(side.classList.toggle("open"))) }, icon("menu"), "Menu");
  const themes = h("select", { "aria-label": "Theme", class: "theme", onchange: () => theme(themes.value) }, Object.entries(THEMES).map(([value, text]) => h("option", { value, selected: value === theme() }, text)));
  const who = h("span", { class: "who", title: app.caller.name }, app.caller.name, app.operates ? "" : " (may only look)");
  const out = token.get() && h("button", { type: "button", class: "quiet", onclick: signOut }, "Sign out");
  const help = h("button", { type: "button", class: "quiet", onclick: keyboard }, "Keyboard");
  show(top, menu, h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/console/icon.svg", alt: "", width: "20", height: "20" }), h("strong", null, app.name)), live, h("span", { class: "grow" }), who, out);
  const link = ([page, { title }]) => h("li", null, h("a", { href: `#/${page}`, "data-page": page }, icon(page), title));
  show(side, h("div", { class: "stay" }, h("ul", null, Object.entries(PAGES).map(link)), h("div", { class: "tools" }, themes, help)));
  top.hidden = side.hidden = false;
  tellState(events.streamState());
}

function tellState(told) {
  const live = document.getElementById("live");
  const words = { live: ["good", "Live"], waiting: ["warn", "Connecting again …"], off: ["idle", "Connecting …"] };
  if (live) show(live, state(...words[told]));
}

function keyboard() {
  const on = localStorage.getItem("evergate.keys") !== "off";
  const box = h("input", { type: "checkbox", checked: on, onchange: () => localStorage.setItem("evergate.keys", box.checked ? "on" : "off") });
  const keys = h("dl", { class: "facts" }, h("div", null, h("dt", null, h("kbd", null, "/")), h("dd", null, "to the search of this page")), h("div", null, h("dt", null, h("kbd", null, "?")), h("dd", null, "this help")), h("div", null, h("dt", null, h("kbd", null, "Esc")), h("dd", null, "closes a dialog")));
  inform("Keyboard", keys, h("label", { class: "tick" }, box, h("span", null, "Single keys do this")));
}

function signOut() {
  token.forget();
  events.stop();
  leave();
  visit++;
  location.replace("#/overview");
  location.reload();
}

function strange(problem) {
  events.stop();
  leave();
  leave = () => {};
  visit++;
  top.hidden = side.hidden = true;
  const wasKnown = token.get();
  token.forget();
  name("Sign in");
  login(main, wasKnown ? `${problem.message}.`.replace(/^./, (first) => first.toUpperCase()) : null, begin);
}

/** Asks who we are; whoever is known gets the frame and a page. */
async function begin() {
  show(main, loading("Asking the gateway"));
  try {
    const [caller, status] = await Promise.all([get("/v1/caller"), get("/v1/status")]);
    app.caller = caller;
    app.operates = caller.role === "operate";
    app.name = status.name;
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 401) return strange(problem);
    return show(main, trouble(problem, begin));
  }
  frame();
  follow();
  open();
}

/** A browser has six connections to one gateway for all its tabs, and each stream holds one: a tab that nobody sees does without. */
function follow() {
  if (document.hidden) events.stop();
  else events.start();
}

theme();
takeKey();
addEventListener("hashchange", () => {
  const key = location.hash.startsWith("#key=");
  takeKey();
  if (key) begin();
  else if (app.caller && location.hash.startsWith("#/")) moved();
});
document.addEventListener("visibilitychange", () => app.caller && !top.hidden && follow());
addEventListener("evergate:unknown", (event) => app.caller && !top.hidden && strange(event.detail));
events.listen((event) => event.event === "state" && tellState(event.state));
document.getElementById("skip").onclick = (event) => {
  event.preventDefault();
  main.focus();
};
addEventListener("keydown", (event) => {
  const writes = event.target.closest?.("input, select, textarea, dialog, [contenteditable]");
  if (writes || event.ctrlKey || event.metaKey || event.altKey || localStorage.getItem("evergate.keys") === "off") return;
  const search = main.querySelector("input[type=search]");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  }
  if (event.key === "?" && app.caller) keyboard();
});
begin();
