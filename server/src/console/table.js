// Tables: sorted by a click on a heading, one block a row where the screen is narrow.
import { h, icon } from "./dom.js";
import { number } from "./format.js";

/**
 * `columns`: `{ id, label, cell(row), value(row)?, number?, tight?, wide?, who? }`; with `value` it can be sorted by. `rows`: each with what `key(row)` tells it by.
 * `narrow`: it fits on a phone as it is. `sort`: `{ by, down }`, and `onsort` gets another one. Roles are written out: a table that is laid out as blocks would lose them.
 */
export function table({ caption, columns, rows, key, sort, onsort, narrow = false }) {
  const head = h("tr", { role: "row" }, columns.map((column) => heading(column, sort, onsort)));
  const body = rows.map((row) => h("tr", { role: "row", key: key(row) }, columns.map((column) => cell(column, row))));
  return h(
    "table",
    { class: narrow ? null : "stack", role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, head),
    h("tbody", { role: "rowgroup" }, body),
  );
}

function heading(column, sort, onsort) {
  const props = { scope: "col", role: "columnheader", class: column.number ? "number" : null };
  if (!column.value || !onsort) return h("th", props, column.label || h("span", { class: "unseen" }, "Actions"));
  const sorted = sort?.by === column.id;
  const turn = () => onsort({ by: column.id, down: sorted ? !sort.down : Boolean(column.number) });
  const direction = sorted ? (sort.down ? "descending" : "ascending") : null;
  const mark = sorted ? icon(sort.down ? "down" : "up", "small") : null;
  return h("th", { ...props, "aria-sort": direction }, h("button", { type: "button", class: "sort", onclick: turn }, column.label, mark));
}

function cell(column, row) {
  const kinds = [column.number && "number", column.wide && "wide", column.tight && "tight", column.who && "name", !column.label && "act"].filter(Boolean).join(" ");
  return h("td", { role: "cell", class: kinds || null, "data-label": column.label || null }, h("div", null, column.cell(row)));
}

/** The rows in the order that `sort` says. */
export function sorted(rows, columns, sort) {
  const column = columns.find((one) => one.id === sort?.by);
  if (!column?.value) return rows;
  const order = (one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const inOrder = [...rows].sort(order);
  return sort.down ? inOrder.reverse() : inOrder;
}

/** Which rows of how many are shown, and the way to the others. */
export function pager({ from, size, count, total, onmove }) {
  const to = Math.min(from + size, count);
  const text = count ? `${number(from + 1)} to ${number(to)} of ${number(total ?? count)}` : "";
  const step = (label, target, possible) => h("button", { type: "button", disabled: !possible, onclick: () => onmove(target) }, label);
  return h("div", { class: "pager" }, h("span", { class: "muted", "aria-live": "polite" }, text), step("Previous", Math.max(0, from - size), from > 0), step("Next", from + size, to < count));
}

/** A field with its label; `hint` says what it takes. */
export function field(label, control, hint = null) {
  const id = control.id || (control.id = `field-${label.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`);
  const help = hint && h("span", { class: "hint", id: `${id}-hint` }, hint);
  if (help) control.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, help);
}

export function tick(label, props) {
  const box = h("input", { type: "checkbox", ...props });
  return { box, node: h("label", { class: "tick" }, box, h("span", null, label)) };
}

export function choice(props, options, chosen) {
  return h("select", props, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

/** Runs `act` once nobody has called for a while. */
export function settled(act, wait = 250) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}
