// Figures over time, with the decisions as marks. The same as text for who can't see it: what each line is at the moment that is looked at.
import { signal } from "./vendor/signals-core.js";
import { go, history, marks, moment, until, width } from "./state.js";
import { clock, day, html, memo } from "./ui.js";

const GAP_STEPS = 4;
const MANY = 24; // more marks than this are dots without lines
const NEAR_RATIO = 0.008;
const EDGE_RATIO = 0.07; // no label so close to an end, where it would be cut
const TICKS_S = [20, 60, 180, 300, 900, 1800, 3600, 10800, 14400, 21600];
const under = signal(null); // the moment under the pointer, in all charts

// The greatest index whose time is not later than `at`.
const index = (times, at) => {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

// A round number that is not less, whose half is round as well.
function round(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.2, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= most * 0.999);
}

// A tick that came late leaves a step without a figure: the line goes on over that, and breaks where more is missing.
function path(times, values, from, span, top, isStepped) {
  const gap = (GAP_STEPS * (times.at(-1) - times[0])) / (times.length - 1);
  let d = "";
  let last = -Infinity;
  times.forEach((t, i) => {
    const v = values[i];
    if (v == null || t < from) return;
    const x = (((t - from) / span) * 1000).toFixed(1);
    const y = (100 - (v / top) * 100).toFixed(1);
    d += !(t - last <= gap) ? `M${x} ${y}` : isStepped ? `H${x}V${y}` : `L${x} ${y}`;
    last = t;
  });
  return d;
}

// The area below a line: each piece of it goes down to the bottom and back.
const below = (d) =>
  d.split("M").slice(1).map((piece) => {
    const xs = piece.match(/(^|[LH])[\d.]+/g).map((x) => x.replace(/[LH]/, ""));
    return `M${piece}L${xs.at(-1)} 100L${xs[0]} 100Z`;
  }).join("");

const Lines = memo(({ series, times, known, from, span, top }) => {
  const drawn = series.map((s) => ({ ...s, d: path(times, known[s.key] || [], from, span, top, s.isStepped) }));
  return html`<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
    ${drawn.map((s) => s.isFilled && html`<path key=${`${s.key}-area`} class="area ${s.hue}" d=${below(s.d)} />`)}
    ${drawn.map((s) => html`<path key=${s.key} class="line ${s.hue}" d=${s.d} />`)}
  </svg>`;
});

const pointed = (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  return until.value - width.value * (1 - Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
};

export const Chart = ({ title, series, say, least = 1 }) => {
  const { times, series: known } = history.value;
  const span = width.value;
  const from = until.value - span;
  const x = (t) => `${((t - from) / span) * 100}%`;
  const top = round(Math.max(least, ...series.map((s) => most(known[s.key]))));
  const at = under.value ?? moment.value ?? until.value;
  const i = index(times, at);
  const told = series.map((s) => ({ ...s, text: say(known[s.key]?.[i]) }));
  const near = under.value && marks.value.findLast((m) => Math.abs(m.at - under.value) < span * NEAR_RATIO);
  const shown = marks.value.filter((m) => m.at > from && m.at <= until.value);
  const each = TICKS_S.find((s) => span / s <= 5.5);
  const hours = Array.from({ length: 6 }, (_, n) => (Math.ceil(from / each) + n) * each).filter((t) => t < until.value - span * EDGE_RATIO && t > from + span * EDGE_RATIO);
  return html`<figure class="chart">
    <figcaption><h3>${title}</h3>
      <span class="values">${told.map((s) => html`<span key=${s.key}><i class="swatch ${s.hue}" />${s.label} <b>${s.text}</b></span>`)}</span>
    </figcaption>
    <div class="plot ${shown.length > MANY ? "many" : ""}" role="img" aria-label="${title} at ${clock(at)}: ${told.map((s) => `${s.label} ${s.text}, at most ${say(most(known[s.key]))}`).join("; ")}."
      onPointerMove=${(e) => (under.value = pointed(e))} onPointerLeave=${() => (under.value = null)} onClick=${(e) => go(Math.round(pointed(e)))}>
      ${[0, 0.5, 1].map((n) => html`<i key=${n} class="grid" style=${{ bottom: `${n * 100}%` }}><small>${say(top * n)}</small></i>`)}
      <${Lines} series=${series} times=${times} known=${known} from=${from} span=${span} top=${top} />
      ${shown.map((m) => html`<i key=${m.id} class="tick ${m.outcome === "failed" ? "bad" : ""}" style=${{ left: x(m.at) }} />`)}
      ${moment.value !== null && html`<i class="after" style=${{ left: x(moment.value) }} />`}
      ${under.value && html`<i class="under" style=${{ left: x(under.value) }} />`}
    </div>
    <div class="hours" aria-hidden="true">${near ? html`<b>${near.effects[0] || near.subject}</b> ${near.why}` : hours.map((t) => html`<span key=${t} style=${{ left: x(t) }}>${each % 86400 ? clock(t).slice(0, each < 60 ? 8 : 5) : day(t)}</span>`)}</div>
  </figure>`;
};

const most = (values = []) => values.reduce((top, v) => Math.max(top, v ?? 0), 0);
