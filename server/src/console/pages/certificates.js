// What the gateway shows, which client gets what and why, and what is known of certificates that were taken back.
import { get } from "../api.js";
import { card, empty, facts, h, icon, loading, sentence, show, state, trouble } from "../dom.js";
import { date, ending, expiry, moment, number } from "../format.js";
import { table } from "../table.js";

export const title = "Certificates";

export function open({ view, current }) {
  const refresh = async () => {
    try {
      const [report, status] = await Promise.all([get("/v1/certificates"), get("/v1/status")]);
      if (current()) show(view, report.certificates.map(certificate), clients(report.clients), lists(status.revocation));
    } catch (problem) {
      if (current()) show(view, trouble(problem, refresh));
    }
  };
  show(view, loading("Asking for the certificates"));
  refresh();
}

function certificate(one, _, list) {
  const problems = one.problems.map((problem) => h("li", { class: "notice warn", key: problem }, icon("warn"), h("span", null, problem)));
  return card(one.name, { key: one.name, class: list.length > 1 ? "half" : "", actions: state(...ending(one.days_left)) },
    problems.length > 0 && h("ul", { class: "notices", "aria-label": `What clients may stumble over with ${one.name}` }, problems),
    facts([
      ["Made out to", one.made_out_to.join(", ")],
      ["Subject", one.subject],
      ["Issuer", one.issuer],
      ["Valid", `${date(one.not_before)} to ${date(one.not_after)}`],
      ["Key", one.key],
      ["Purposes", one.extended_key_usage.join(", ")],
      ["Shown by", one.listeners.length ? one.listeners.join(", ") : "no listener"],
      ["Default of", one.default_of.join(", ")],
      ["Shown to who dials", one.dialled.join(", ")],
      ["Preferred at", one.addresses.join(", ")],
      ["Preferred for realms", one.realms.join(", ")],
      ["Serial", h("code", null, one.serial)],
      ["SHA-256", h("code", { class: "break" }, one.fingerprint)],
      ["Revocation", one.revocation.map((place) => h("span", { class: "line" }, `${place.kind} ${place.url}`))],
    ]),
    h("details", null, h("summary", null, "Chain", h("span", { class: "unseen" }, ` of ${one.name}`)), chain(one)));
}

function chain({ name, chain }) {
  const columns = [
    { id: "subject", label: "Subject", wide: true, cell: (link) => link.subject },
    { id: "issuer", label: "Issuer", wide: true, cell: (link) => link.issuer },
    { id: "end", label: "Ends", cell: (link) => date(link.not_after) },
    { id: "sent", label: "Sent", cell: (link) => (link.sent ? "yes" : "no, clients have it") },
  ];
  return table({ caption: `Chain of ${name}`, columns, rows: chain, key: (link) => `${link.subject} ${link.not_after}` });
}

function clients(list) {
  const columns = [
    { id: "listener", label: "Listener", cell: (one) => one.listener },
    { id: "client", label: "Client", cell: (one) => one.client },
    { id: "tells", label: "It tells", cell: (one) => one.tells },
    { id: "certificate", label: "It gets", tight: true, cell: (one) => (one.certificate ? h("strong", null, one.certificate) : state("bad", "none")) },
    { id: "why", label: "Why", wide: true, cell: (one) => [one.why, one.remarks.map((remark) => h("span", { class: "line muted" }, remark)), passed(one)] },
  ];
  const rows = list.map((one, index) => ({ ...one, index }));
  return card("Which client gets which", { key: "clients" }, rows.length ? table({ caption: "Which client gets which certificate", columns, rows, key: (one) => one.index }) : empty("No listener shows a certificate."));
}

const passed = (one) => one.passed_over.length > 0 && h("details", null, h("summary", null, "Passed over"), h("ul", { class: "plain" }, one.passed_over.map((other) => h("li", null, h("strong", null, other.certificate), `: ${other.reason}`))));

function lists(revocation) {
  const columns = [
    { id: "source", label: "From", wide: true, cell: (one) => [h("code", { class: "break" }, one.source), one.trouble && h("span", { class: "line muted" }, sentence(one.trouble))] },
    { id: "state", label: "State", tight: true, cell: (one) => state(...expiry(one)) },
    { id: "issuer", label: "Issuer", wide: true, cell: (one) => one.list?.issuer ?? "–" },
    { id: "revoked", label: "Revoked", number: true, cell: (one) => (one.list ? number(one.list.entries) : "–") },
    { id: "issued", label: "Issued", tight: true, cell: (one) => (one.list ? moment(one.list.issued_at) : "–") },
    { id: "next", label: "Next update", tight: true, cell: (one) => (one.list ? moment(one.list.next_update) : "–") },
  ];
  const none = () => empty("No list is read: crl in the configuration says where they come from.");
  return card("Revocation lists", { key: "revocation" }, revocation.length ? table({ caption: "Revocation lists", columns, rows: revocation, key: (one) => one.source }) : none());
}
