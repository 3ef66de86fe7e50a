// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const stamp = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short" });

export const number = (value) => whole.format(value);

function scaled(value, unit) {
  const steps = ["", "k", "M", "G", "T", "P", "E"];
  const step = Math.min(steps.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(Math.abs(value), 1)) / 3)));
  return `${short.format(value / 1000 ** step)} ${steps[step]}${unit}`;
}

export const bytes = (value) => scaled(value, "B");
export const rate = (bitsPerSecond) => scaled(bitsPerSecond, "bit/s");

/** Of an address pool: those of IPv6 have more than anybody counts. */
export const many = (value) => (value < 1e9 ? number(value) : `2^${Math.round(Math.log2(value))}`);

/** `3 d 4 h`, `12 min 5 s` */
export function duration(seconds) {
  const left = Math.max(0, Math.round(seconds));
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => left >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const [nextSize, nextUnit] = parts[first + 1] ?? [1, ""];
  const rest = nextUnit ? Math.floor((left % size) / nextSize) : 0;
  return `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${nextUnit}` : ""}`;
}

/** Local date and time of a unix time. */
export const moment = (seconds) => stamp.format(new Date(seconds * 1000));
export const timeOfDay = (seconds) => clock.format(new Date(seconds * 1000));
export const date = (seconds) => day.format(new Date(seconds * 1000));

export const now = () => Math.floor(Date.now() / 1000);

/** `3 min ago` */
export const ago = (seconds) => (now() - seconds < 2 ? "just now" : `${duration(now() - seconds)} ago`);

export const plural = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

/** How near the end of a certificate is. */
export function ending(daysLeft) {
  if (daysLeft < 0) return ["bad", `expired ${plural(-daysLeft, "day")} ago`];
  return [daysLeft < 7 ? "bad" : daysLeft < 30 ? "warn" : "good", `${plural(daysLeft, "day")} left`];
}

/** How a place stands from which a revocation list comes. */
export function expiry({ list, trouble }) {
  if (!list) return ["bad", "none has come"];
  if (list.secs_left <= 0) return ["bad", `ran out ${duration(-list.secs_left)} ago`];
  return [trouble ? "warn" : "good", `${trouble ? "not renewed, " : ""}${duration(list.secs_left)} left`];
}

/** How an attempt stands. */
export function outcome(word) {
  return { up: ["good", "up"], failed: ["bad", "failed"], ended: ["idle", "ended"], running: ["warn", "under way"] }[word] ?? ["idle", word];
}
