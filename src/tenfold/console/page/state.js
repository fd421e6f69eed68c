// What the page shows: the present as /api/events tells it, or a moment of the past from /api/state?at=.
import { batch, computed, signal } from "./vendor/signals-core.js";

export const view = signal(null); // the whole state that is shown
export const moment = signal(null); // the moment that is looked at, in seconds since the epoch; null: the present
export const line = signal("connecting"); // live; past: of a run that is over; waiting: for its first look; lost; ended: it stopped just now; unknown: nobody signed in
export const silent = signal(0); // seconds since the last event
export const range = signal(900); // seconds that charts and time bar span at the most
export const until = signal(0); // where they end
const first = signal(null); // when the journal begins
export const width = computed(() => Math.min(range.value, Math.max(WIDTH_S_MIN, until.value - (first.value ?? 0))));
export const history = signal({ times: [], series: {} });
export const marks = signal([]); // decisions, oldest first
export const problem = signal("");
export const isReading = signal(false); // the past is asked for

const SILENT_S_MAX = 5;
const WIDTH_S_MIN = 90;
const MINUTE_S = 60;
const RETRY_MS = 2000;
const MARKS_MAX = 500;
let newest = null;
let heard = Date.now();
let step = 1;
let source;

export async function get(path, options) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw Object.assign(new Error(body?.error || `The console answered ${response.status}.`), { status: response.status });
  return body;
}

export function listen() {
  source = new EventSource("api/events");
  source.addEventListener("state", (event) => take(JSON.parse(event.data)));
  source.addEventListener("nothing", () => (line.value = "waiting"));
  source.addEventListener("gone", () => (line.value = "ended"));
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) return refused();
    if (line.value !== "ended") line.value = "lost";
  };
}

// An event source does not say why it was refused: a plain question does.
const refused = () =>
  get("api/span").then(
    () => "connecting",
    (error) => (error.status === 401 ? "unknown" : line.value === "ended" ? "ended" : "lost"),
  ).then((found) => {
    line.value = found;
    if (found !== "unknown") setTimeout(listen, RETRY_MS);
  });

// A connection that is half open tells nobody, and where nothing changes nothing is sent: what is silent is asked.
setInterval(async () => {
  silent.value = Math.round((Date.now() - heard) / 1000);
  if (line.value !== "live" || silent.value < SILENT_S_MAX) return;
  try {
    take(await get("api/state", { signal: AbortSignal.timeout(2000) }));
  } catch {
    line.value = "lost";
    source.close();
    listen();
  }
}, 1000);

function take(change) {
  const was = line.value;
  newest = { ...newest, ...change };
  heard = Date.now();
  batch(() => {
    line.value = newest.live ? "live" : "past";
    silent.value = 0;
    if (moment.value === null) {
      view.value = newest;
      until.value = newest.at;
    }
    if (change.decisions) mark(change.decisions);
    if (was === line.value) grow(newest);
  });
  if (was !== line.value) load();
}

function mark(decisions) {
  const known = new Map(marks.value.map((d) => [d.id, d]));
  for (const decision of decisions) known.set(decision.id, decision);
  marks.value = [...known.values()].sort((a, b) => a.at - b.at).slice(-MARKS_MAX);
}

function grow({ at, summary, regions, cost }) {
  const { times, series } = history.value;
  if (times.length && at - times.at(-1) < step * 0.6) return;
  if (step >= MINUTE_S) return load(); // means over a minute are the console's to make
  const now = { ...summary, instances: summary.instances_ready, cost_per_hour: cost?.per_hour };
  for (const region of regions) now[`region:${region.name}:requests_per_s`] = region.requests_per_s;
  const old = times.findIndex((t) => t >= at - range.value);
  const cut = (list) => (old > 0 ? list.slice(old) : list);
  const grown = {};
  for (const key in { ...series, ...now }) {
    if (typeof (now[key] ?? 0) === "number") grown[key] = [...cut(series[key] || times.map(() => null)), now[key] ?? null];
  }
  history.value = { times: [...cut(times), at], series: grown };
}

export async function load() {
  const to = until.value;
  if (!to) return;
  isReading.value = true;
  try {
    const [past, decisions, kept] = await Promise.all([
      get(`api/history?from=${to - range.value}&to=${to}&points=900`),
      get("api/decisions?limit=200"),
      get("api/span"),
    ]);
    const all = Object.values(past.series);
    step = past.step_s;
    batch(() => {
      history.value = { times: Array.from(all[0] || [], (_, i) => past.start + i * step), series: past.series };
      mark(decisions);
      first.value = kept.first_at;
      problem.value = "";
    });
  } catch (error) {
    problem.value = `History can't be shown: ${error.message}`;
  }
  isReading.value = false;
}

// Dragging asks for many moments: one question at a time, and the last one is always asked.
let asking = false;
export async function go(at) {
  moment.value = at;
  if (at === null) return follow();
  if (asking) return;
  asking = true;
  for (let shown; shown !== moment.value && moment.value !== null; ) {
    shown = moment.value;
    try {
      const found = await get(`api/state?at=${shown}`);
      if (moment.value !== null) view.value = found;
      problem.value = "";
    } catch (error) {
      problem.value = `That moment can't be shown: ${error.message}`;
    }
  }
  asking = false;
}

export const pause = () => view.value && (moment.value = view.value.at);

export const shift = (by) => {
  const at = Math.min((moment.value ?? until.value) + by, until.value);
  if (at > until.value - width.value) go(at);
};

function follow() {
  batch(() => {
    view.value = newest;
    until.value = newest?.at || 0;
    problem.value = "";
  });
  load();
}

export const span = (seconds) => {
  range.value = seconds;
  if (moment.value !== null && moment.value < until.value - seconds) go(until.value - seconds);
  load();
};
