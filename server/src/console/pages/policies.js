// The network policies, and what they say to a login that somebody describes.
import { get, post } from "../api.js";
import { card, empty, h, icon, loading, sentence, show, state, trouble } from "../dom.js";
import { plural } from "../format.js";
import { choice, field, table, tick } from "../table.js";

export const title = "Policies";

const METHODS = [["eap", "EAP"], ["certificate", "Certificate"], ["mschapv2", "MS-CHAPv2"], ["chap", "CHAP"], ["pap", "PAP"]];
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

export function open({ view, query, current }) {
  const [list, answer] = [h("div"), h("div", { class: "answer", "aria-live": "polite" })];
  const refresh = async () => {
    try {
      const { policies } = await get("/v1/policies");
      if (current()) show(list, policies.length ? policyTable(policies) : empty("There is no policy: nobody is let in. Add a [[policy]] to the configuration."));
    } catch (problem) {
      if (current()) show(list, trouble(problem, refresh));
    }
  };
  const test = async (question) => {
    show(answer, loading("Asking the policies"));
    try {
      const verdict = await post("/v1/policies/test", question);
      if (current()) show(answer, told(verdict));
    } catch (problem) {
      if (current()) show(answer, trouble(problem));
    }
  };
  show(list, loading("Asking for the policies"));
  const tester = card("Try them", { key: "tester" }, h("p", { class: "muted" }, "Describe a login. Nobody logs in, and nothing is asked of RADIUS."), form(query, test), answer);
  show(view, card("In their order", { key: "list" }, h("p", { class: "muted" }, "The first that matches decides, and none means no."), list), tester);
  refresh();
}

function policyTable(policies) {
  const several = (lines, none) => (lines.length ? h("ul", { class: "plain" }, lines.map((line) => h("li", null, line))) : h("span", { class: "muted" }, none));
  const columns = [
    { id: "number", label: "No.", number: true, cell: (one) => one.number },
    { id: "name", label: "Policy", cell: (one) => h("strong", null, one.name) },
    { id: "what", label: "Says", tight: true, cell: (one) => (one.enabled ? state(one.grant ? "good" : "bad", one.grant ? "grants" : "denies") : state("idle", "switched off")) },
    { id: "conditions", label: "Conditions", cell: (one) => several(one.conditions, "everybody") },
    { id: "constraints", label: "Constraints", cell: (one) => several(one.constraints, "none") },
    { id: "settings", label: "Settings", cell: (one) => several(one.settings, "none") },
  ];
  const rows = policies.map((policy, index) => ({ ...policy, number: index + 1 }));
  return table({ caption: "Network policies", columns, rows, key: (one) => one.name });
}

function form(query, test) {
  const text = (id, props = {}) => h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", ...props });
  const user = text("user", { value: query.get("user") ?? "", placeholder: "ann@example.com" });
  const tunnel = choice({ id: "tunnel" }, [["ikev2", "IKEv2"], ["sstp", "SSTP"]], query.get("tunnel") ?? "ikev2");
  const method = choice({ id: "method" }, METHODS, "eap");
  const eapType = text("eap_type", { placeholder: "EAP-TLS" });
  const groups = text("groups", { placeholder: "staff, admins" });
  const attributes = h("textarea", { id: "attributes", rows: "2", spellcheck: "false", placeholder: "Filter-Id=staff" });
  const [day, hour] = [choice({ id: "day" }, [["", "Now"], ...DAYS.map((one) => [one, one])], ""), h("input", { id: "hour", type: "time", value: "12:00" })];
  const client = text("client", { placeholder: "198.51.100.7" });
  const machine = text("machine", { placeholder: "pc1.example.com" });
  const server = text("radius_server");
  const subject = text("certificate_subject", { placeholder: "CN=pc1, O=Example" });
  const issuer = text("certificate_issuer");
  const names = text("certificate_san", { placeholder: "pc1.example.com" });
  const purposes = text("certificate_eku", { placeholder: "clientAuth" });
  const sessions = h("input", { id: "sessions", type: "number", min: "0", value: "0" });
  const unconfirmed = tick("Nobody has checked the name", { id: "unconfirmed" });
  const listed = (value, by) => value.split(by).map((one) => one.trim()).filter(Boolean);
  const submit = (event) => {
    event.preventDefault();
    const question = { user: user.value.trim(), tunnel: tunnel.value, method: method.value, unconfirmed: unconfirmed.box.checked, sessions: Number(sessions.value) || 0 };
    const given = { eap_type: eapType, client, machine, radius_server: server, certificate_subject: subject, certificate_issuer: issuer };
    for (const [name, input] of Object.entries(given)) if (input.value.trim()) question[name] = input.value.trim();
    const lists = { groups: [groups, ","], attributes: [attributes, "\n"], certificate_san: [names, ","], certificate_eku: [purposes, ","] };
    for (const [name, [input, by]] of Object.entries(lists)) if (input.value.trim()) question[name] = listed(input.value, by);
    if (day.value) question.time = `${day.value} ${hour.value}`;
    test(question);
  };
  const more = h("details", null, h("summary", null, "More about it"), h("div", { class: "fields" },
    field("Machine", machine), field("RADIUS server", server, "Who let it in; local: the local provider."), field("Sessions that are up", sessions),
    field("Certificate subject", subject), field("Certificate issuer", issuer), field("Alternative names", names, "Several with commas."), field("Key usages", purposes, "Several with commas."), unconfirmed.node));
  return h("form", { class: "tester", onsubmit: submit }, h("div", { class: "fields" },
    field("User", user), field("Tunnel", tunnel), field("Method", method), field("EAP method", eapType), field("Groups", groups, "Several with commas."),
    field("Client address", client), field("Day", day), field("Time", hour), field("RADIUS attributes", attributes, "NAME=VALUE, one a line.")),
  more, h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Ask the policies")));
}

function told(verdict) {
  const who = verdict.policy ? `policy ${verdict.policy}` : "no policy matches";
  const level = verdict.granted ? "good" : "bad";
  const open = verdict.open_for_minutes !== null && verdict.open_for_minutes !== undefined && `Its hours end in ${plural(verdict.open_for_minutes, "minute")}.`;
  const columns = [
    { id: "policy", label: "Policy", cell: (one) => one.policy },
    { id: "matches", label: "Matches", tight: true, cell: (one) => (one.matches ? state("good", "yes, it decides") : state("idle", "no")) },
    { id: "reason", label: "First condition that fails", wide: true, cell: (one) => one.reason ?? "" },
  ];
  return [
    h("div", { class: `notice ${level} verdict` }, icon(level), h("div", null,
      h("p", null, h("strong", null, verdict.granted ? "Granted" : "Refused"), ` by ${who}`.replace("by no policy", ": no policy"), `; NPS reason ${verdict.reason}.`),
      verdict.refusal && h("p", null, sentence(verdict.refusal)), open && h("p", null, open))),
    verdict.tried.length > 0 && table({ caption: "Policies tried", columns, rows: verdict.tried, key: (one) => one.policy }),
  ];
}
