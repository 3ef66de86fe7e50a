// Questions to the gateway. The token is kept for this tab alone, and goes with each question in a header: there are no cookies.

const KEPT = "evergate.token";

/** Why something did not work, and what to do. `status` 0: no answer at all. */
export class Problem extends Error {
  constructor(status, error, remedy) {
    super(error);
    this.status = status;
    this.remedy = remedy;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEPT),
  set: (text) => sessionStorage.setItem(KEPT, text),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** An address printed by `evergate console` carries its key behind the `#`, where it is not sent anywhere. */
export function takeKey() {
  const key = /^#key=([0-9a-f]+)$/.exec(location.hash);
  if (!key) return;
  token.set(key[1]);
  history.replaceState(null, "", location.pathname);
}

/** Sends a request; its answer, once the head is there. */
export async function send(method, path, { body, signal, accept } = {}) {
  const headers = {};
  const known = token.get();
  if (known) headers.Authorization = `Bearer ${known}`;
  if (accept) headers.Accept = accept;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: text, signal, cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "the gateway does not answer", "look whether it runs (systemctl status evergate) and whether this computer still reaches it");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const problem = new Problem(answer.status, told.error ?? `the gateway answers ${answer.status}`, told.remedy ?? "try again");
  if (problem.status === 401) dispatchEvent(new CustomEvent("evergate:unknown", { detail: problem }));
  throw problem;
}

const json = async (method, path, options) => (await send(method, path, options)).json();

/** `query`: names with values; empty ones are left out. */
export function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return json("GET", text ? `${path}?${text}` : path, { signal });
}

export const post = (path, body) => json("POST", path, { body });
export const remove = (path) => json("DELETE", path);
