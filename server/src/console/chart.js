// Charts over time, drawn by hand: lines and areas for what stands or flows, bars for what is counted. The same numbers are there as a table.
import { h, s, fresh, show } from "./dom.js";
import { moment, timeOfDay } from "./format.js";

const HEIGHT = 168;
const EDGE = { right: 10, top: 10, bottom: 22 };
/** Of a digit on an axis. */
const DIGIT = 6.4;

/**
 * A chart that draws itself again with `update(points)`; each point has a time `at`, unix seconds. `series`: `{ name, value(point) }`, two at most;
 * `format` writes their values; `bars` stacks them instead of drawing lines.
 */
export function chart({ title, series, format, bars = false }) {
  const id = fresh("chart");
  const drawing = h("div", { class: "drawing" });
  const readout = h("p", { class: "readout muted" });
  const rows = h("tbody");
  const columns = h("tr", null, h("th", { scope: "col" }, "Time"), series.map((one) => h("th", { scope: "col", class: "number" }, one.name)));
  const numbers = h("table", null, h("caption", { class: "unseen" }, `${title}, as numbers`), h("thead", null, columns), rows);
  const box = h("div", { class: "numbers", tabindex: "0", role: "region", "aria-label": `${title}, as numbers` }, numbers);
  const legend = h("ul", { class: "legend", "aria-hidden": "true" }, series.map((one, index) => h("li", { class: colour(one, index) }, one.name)));
  const details = h("details", null, h("summary", null, "As a table", h("span", { class: "unseen" }, `: ${title}`)), box);
  const head = h("div", { class: "chart-head" }, h("h3", { id: `${id}-name` }, title), legend);
  const node = h("figure", { class: "chart", "aria-labelledby": `${id}-name` }, head, drawing, readout, details);
  node.drawsItself = true;
  let points = [];
  const draw = () => drawAll({ id, title, series, format, bars, points, drawing, readout });
  const list = () => details.open && show(rows, points.slice(-120).reverse().map((point) => row(point, series, format)));
  details.ontoggle = list;
  new ResizeObserver(draw).observe(drawing);
  return { node, update: (fresh) => ((points = fresh), draw(), list()) };
}

const colour = (one, index) => `series-${index}${one.faults ? " faults" : ""}`;

const row = (point, series, format) =>
  h("tr", { key: point.at }, h("th", { scope: "row" }, moment(point.at)), series.map((one) => h("td", { class: "number" }, format(one.value(point)))));

function drawAll(chart) {
  const { drawing, points, series, format, readout } = chart;
  const width = Math.floor(drawing.clientWidth);
  if (!width) return;
  if (points.length < 2) {
    drawing.replaceChildren(h("p", { class: "empty" }, "The first points come after some 20 seconds."));
    readout.textContent = "";
    return;
  }
  const told = (point) => series.map((one) => `${one.name} ${format(one.value(point))}`).join(", ");
  const scale = scales(chart, width);
  const cursor = s("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, x1: 0, x2: 0, visibility: "hidden" });
  const last = points.at(-1);
  const rest = () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = `${timeOfDay(last.at)}  ${told(last)}`;
  };
  const point = (event) => {
    const x = event.clientX - drawing.getBoundingClientRect().left;
    const nearest = points.reduce((best, one) => (Math.abs(scale.x(one.at) - x) < Math.abs(scale.x(best.at) - x) ? one : best));
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, scale.x(nearest.at));
    cursor.setAttribute("visibility", "visible");
    readout.textContent = `${timeOfDay(nearest.at)}  ${told(nearest)}`;
  };
  const most = series.map((one) => `most ${one.name}: ${format(Math.max(...points.map(one.value)))}`).join("; ");
  const description = `From ${moment(points[0].at)} to ${moment(last.at)}; ${most}; now ${told(last)}. The numbers are in the table below.`;
  const props = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-labelledby": `${chart.id}-title ${chart.id}-desc` };
  const words = [s("title", { id: `${chart.id}-title` }, chart.title), s("desc", { id: `${chart.id}-desc` }, description)];
  const shapes = chart.bars ? barShapes(chart, scale) : lineShapes(chart, scale);
  drawing.replaceChildren(s("svg", { ...props, onpointermove: point, onpointerleave: rest }, words, axes(scale, format, width), shapes, cursor));
  rest();
}

function scales({ points, series, bars, format }, width) {
  const top = (point) => (bars ? series.reduce((sum, one) => sum + one.value(point), 0) : Math.max(...series.map((one) => one.value(point))));
  const most = nice(Math.max(...points.map(top), 1));
  const [from, to] = [points[0].at, points.at(-1).at];
  const left = Math.max(26, ...[most, most / 2].map((value) => 12 + DIGIT * format(value).length));
  const [inner, height] = [width - left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom];
  const x = (at) => left + ((at - from) / Math.max(to - from, 1)) * inner;
  return { most, from, to, left, inner, x, y: (value) => EDGE.top + height - (value / most) * height };
}

/** A round number above. */
function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * size).find((round) => round >= value) ?? value;
}

function axes(scale, format, width) {
  const halves = scale.most === 1 ? [0, 1] : [0, 0.5, 1];
  const across = halves.map((share) => {
    const y = scale.y(share * scale.most);
    const line = s("line", { class: "grid", x1: scale.left, x2: width - EDGE.right, y1: y, y2: y });
    return [line, s("text", { class: "tick-text", x: scale.left - 6, y: y + 4, "text-anchor": "end" }, format(share * scale.most))];
  });
  const count = Math.max(2, Math.min(6, Math.floor(scale.inner / 90)));
  const times = Array.from({ length: count }, (_, index) => scale.from + ((scale.to - scale.from) * index) / (count - 1));
  const anchor = (index) => (index === 0 ? "start" : index === count - 1 ? "end" : "middle");
  const below = times.map((at, index) => s("text", { class: "tick-text", x: scale.x(at), y: HEIGHT - 6, "text-anchor": anchor(index) }, timeOfDay(at)));
  return s("g", { "aria-hidden": "true" }, across, below);
}

function lineShapes({ points, series }, scale) {
  const path = (one) => points.map((point, index) => `${index ? "L" : "M"}${scale.x(point.at).toFixed(1)} ${scale.y(one.value(point)).toFixed(1)}`).join("");
  const ground = scale.y(0).toFixed(1);
  const area = (one) => `${path(one)}L${scale.x(scale.to).toFixed(1)} ${ground}L${scale.x(scale.from).toFixed(1)} ${ground}Z`;
  return series.map((one, index) => s("g", { class: colour(one, index) }, s("path", { class: "area", d: area(one) }), s("path", { class: "line", d: path(one) })));
}

function barShapes({ points, series }, scale) {
  const wide = Math.max(1, (scale.inner / points.length) * 0.8);
  return points.map((point) => {
    let below = 0;
    return series.map((one, index) => {
      const value = one.value(point);
      const [y, foot] = [scale.y(below + value), scale.y(below)];
      below += value;
      if (!value) return null;
      const x = Math.min(Math.max(scale.x(point.at) - wide / 2, scale.left), scale.left + scale.inner - wide);
      return s("rect", { class: `bar ${colour(one, index)}`, x: x.toFixed(1), y: y.toFixed(1), width: wide.toFixed(1), height: Math.max(foot - y, 1).toFixed(1) });
    });
  });
}
