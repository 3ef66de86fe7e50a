// What happens on the gateway, as it happens: one stream for the whole page, opened again when it breaks.
import { send } from "./api.js";

/** Counters come each second: longer silence means that nobody is there. */
const SILENCE = 8000;
const PAUSES = [1000, 2000, 5000, 10000, 20000];

const hearers = new Set();
let told = "off";
let abort = null;

/** Calls with each event, and with `{event: "state", state}`: `live`, `waiting` or `off`. Returns what ends it. */
export function listen(hear) {
  hearers.add(hear);
  return () => hearers.delete(hear);
}

export const streamState = () => told;

export function stop() {
  abort?.abort();
  abort = null;
}

/** Opens the stream and keeps it open until `stop`. */
export async function start() {
  stop();
  const ours = (abort = new AbortController());
  for (let failures = 0; abort === ours; failures++) {
    const heard = await follow(ours.signal);
    if (abort !== ours) break;
    if (heard) failures = 0;
    say("waiting");
    await pause(PAUSES[Math.min(failures, PAUSES.length - 1)], ours.signal);
  }
  if (abort === null) say("off");
}

function tell(event) {
  for (const hear of [...hearers]) hear(event);
}

function say(state) {
  if (state === told) return;
  told = state;
  tell({ event: "state", state });
}

function pause(time, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, time);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}

/** Whether anything came before the stream broke. */
async function follow(signal) {
  const silence = new AbortController();
  let timer = 0;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE);
  };
  let heard = false;
  try {
    alive();
    const answer = await send("GET", "/v1/events", { accept: "text/event-stream", signal: AbortSignal.any([signal, silence.signal]) });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      alive();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) heard = understand(event) || heard;
    }
  } catch {
    // Whatever the reason: it is tried again, and the page says that it waits.
  } finally {
    clearTimeout(timer);
  }
  return heard;
}

function understand(text) {
  const data = text.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
  if (!data.length) return false;
  let event;
  try {
    event = JSON.parse(data.join("\n"));
  } catch {
    return false;
  }
  const missed = told !== "live" || event.missed;
  say("live");
  // Something happened that nobody was told, before the stream began or in it: whoever shows a list asks for it again.
  if (missed) tell({ event: "missed" });
  if (!event.missed) tell(event);
  return true;
}
