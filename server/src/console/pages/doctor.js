// What on the host, and between it and others, keeps clients from connecting.
import { get } from "../api.js";
import { card, h, icon, loading, show, state, trouble } from "../dom.js";
import { moment, now, plural } from "../format.js";

export const title = "Doctor";

const GROUPS = [["fail", "bad", "Failed"], ["warn", "warn", "To look at"], ["ok", "good", "In order"]];

export function open({ view, current }) {
  const body = h("div", { "aria-live": "polite", "aria-busy": "false" });
  const again = h("button", { type: "button", class: "primary", onclick: () => look() }, "Look again");
  const abort = new AbortController();
  const look = async () => {
    again.disabled = true;
    body.setAttribute("aria-busy", "true");
    show(body, loading("The gateway looks around; servers that do not answer may take it half a minute"));
    try {
      const report = await get("/v1/doctor", {}, abort.signal);
      if (current()) show(body, findings(report));
    } catch (problem) {
      if (current() && problem.name !== "AbortError") show(body, trouble(problem, look));
    }
    again.disabled = false;
    body.setAttribute("aria-busy", "false");
  };
  const about = h("p", { class: "muted" }, "Sockets, firewall, forwarding, routes, pools, clock, files, names, certificates and RADIUS servers, as the running gateway finds them. It changes nothing and logs nobody in. From outside: ", h("code", null, "evergate doctor --probe NAME"), " on another machine.");
  show(view, card("The gateway and what is around it", { key: "doctor", actions: again }, about, body));
  look();
  return () => abort.abort();
}

function findings({ ok, findings }) {
  const of = (level) => findings.filter((one) => one.level === level);
  const [failed, warned] = [of("fail").length, of("warn").length];
  const level = ok ? (warned ? "warn" : "good") : "bad";
  const summary = `${plural(failed, "check")} failed, ${warned} to look at, ${of("ok").length} in order`;
  return [
    h("p", { class: `notice ${level}` }, icon(level), h("span", null, `${summary}; ${moment(now())}.`)),
    GROUPS.map(([word, kind, title]) => group(of(word), kind, title)),
  ];
}

function group(list, kind, title) {
  if (!list.length) return null;
  const line = (one) => h("li", { key: `${one.check} ${one.text}` }, state(kind, one.check), h("div", null, h("p", null, one.text), one.remedy && h("p", { class: "remedy" }, one.remedy)));
  return h("section", { key: title }, h("h3", null, `${title} (${list.length})`), h("ul", { class: "findings" }, list.map(line)));
}
