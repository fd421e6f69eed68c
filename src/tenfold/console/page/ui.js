// Small things that all parts of the page use: figures as text, tones of states, icons.
import { Component, h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);

// A part that is drawn again only when what it is given has changed.
export const memo = (draw) =>
  class extends Component {
    shouldComponentUpdate(next) {
      return Object.keys(next).some((key) => next[key] !== this.props[key]);
    }
    render(props) {
      return draw(props);
    }
  };

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const finest = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 3 });
const told = (say) => (x, ...more) => (x == null || Number.isNaN(x) ? NONE : say(x, ...more));
export const num = told((x) => (Math.abs(x) < 1 ? fine : Math.abs(x) < 10 ? tenths : whole).format(x));
export const ms = told((x) => (x < 1000 ? `${num(x)} ms` : `${tenths.format(x / 1000)} s`));
export const percent = told((x) => `${(Math.abs(x) < 0.1 && x !== 0 ? tenths : whole).format(x * 100)}%`);
export const exactly = told((x) => finest.format(x));
export const mib = told((x) => `${whole.format(x / 2 ** 20)} MiB`);
export const money = told((x, currency) => `${x < 10 ? x.toFixed(2) : whole.format(x)} ${currency}`);
export const plural = (n, word) => `${whole.format(n)} ${word}${n === 1 ? "" : "s"}`;
export const ago = told((s) => {
  const t = Math.max(0, Math.round(s));
  if (t < 60) return `${t} s`;
  if (t < 3600) return `${Math.floor(t / 60)} min`;
  return t < 86400 ? `${Math.floor(t / 3600)} h ${Math.floor((t % 3600) / 60)} min` : `${Math.floor(t / 86400)} d`;
});
export const clock = told((t) => new Date(t * 1000).toLocaleTimeString("en-GB"));
export const day = (t) => new Date(t * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });

const TONES = {
  good: "ready serving running primary standby leads healthy done succeeded",
  busy: "starting returning pending retryable warm",
  warn: "unhealthy warning unknown refused frozen unwell",
  bad: "out exited failed critical lost",
};
const toneOf = new Map(Object.entries(TONES).flatMap(([tone, states]) => states.split(" ").map((s) => [s, tone])));
export const tone = (state) => toneOf.get(state) || "idle";

const PATHS = {
  good: "M3.5 8.5l3 3 6-7",
  bad: "M4 4l8 8M12 4l-8 8",
  warn: "M8 3.5v5.5M8 12v.1",
  busy: "M12.5 8a4.5 4.5 0 1 1-1.5-3.4M11 2v2.8h-2.8",
  idle: "M4 8h8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3l7.5 5L5 13z",
  theme: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  help: "M5.8 6.2a2.2 2.2 0 1 1 3.3 1.9c-.7.4-1.1.8-1.1 1.7M8 12.2v.1",
};
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
export const State = ({ state, as }) => html`<span class="state ${as || tone(state)}"><${Icon} name=${as || tone(state)} />${state}</span>`;

export const Bar = ({ ratio, tone: hue = "accent", mark, label }) =>
  html`<div class="gauge ${hue}" role="img" aria-label=${label}>
    <i style=${{ width: `${Math.min(1, Math.max(0, ratio ?? 0)) * 100}%` }} />
    ${mark != null && html`<b style=${{ left: `${mark * 100}%` }} />`}
  </div>`;

const GAP_RATIO = 0.06; // so much of the span without a figure breaks a line

// A line without axes: points are [place in the span (0..1), value].
export const Spark = ({ points = [], hue = "accent" }) => {
  if (points.length < 2) return html`<svg class="spark" aria-hidden="true" />`;
  const top = Math.max(...points.map(([, v]) => v)) || 1;
  const isWhole = points.every(([x], i) => !i || x - points[i - 1][0] < GAP_RATIO);
  const d = points.map(([x, v], i) => `${i && x - points[i - 1][0] < GAP_RATIO ? "L" : "M"}${(x * 100).toFixed(1)} ${(26 - (v / top) * 23).toFixed(1)}`).join("");
  return html`<svg class="spark ${hue}" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">
    ${isWhole && html`<path class="area" d=${`${d}L${points.at(-1)[0] * 100} 28L${points[0][0] * 100} 28Z`} />`}<path d=${d} />
  </svg>`;
};

// A series within the span up to a moment, thinned to what a small drawing can show.
export const lately = ({ times, series }, key, at, span, n = 60) => {
  const values = series[key] || [];
  const shown = times.map((t, i) => [1 - (at - t) / span, values[i]]).filter(([x, v]) => v != null && x >= 0 && x <= 1);
  const each = Math.ceil(shown.length / n);
  return shown.filter((_, i) => (shown.length - 1 - i) % each === 0);
};

export const Card = ({ title, id, more, cls = "", children }) =>
  html`<section class="card ${cls}" id=${id} aria-labelledby=${`${id}-title`} tabindex="-1">
    <div class="head"><h2 id=${`${id}-title`}>${title}</h2>${more}</div>
    ${children}
  </section>`;
