// Where it runs: regions on a map with their load, the ways between them and who serves whose clients; one card for each region.
import { Component } from "./vendor/preact.js";
import { ask } from "./asking.js";
import { Bar, Card, Icon, State, ago, html, lately, memo, ms, num, percent, plural, Spark, tone } from "./ui.js";
import { history, width } from "./state.js";

const ASPECT = 360 / 134;
const NARROWEST = 130;
const LOSSY = 0.01;
const CUT = 0.5;
const CROWDED = 12;
const DOTS_MAX = 40;
const LABELLED_PAIRS_MAX = 6;

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const spot = ({ at: [lat, lon] }) => ({ x: lon + 180, y: 90 - lat });

// The part of the world that holds all regions with some room around them.
function frame(spots) {
  const side = (key) => [Math.min(...spots.map((s) => s[key])), Math.max(...spots.map((s) => s[key]))];
  const [left, right] = side("x");
  const [top, bottom] = side("y");
  const w = clamp(Math.max((right - left) * 1.35, (bottom - top) * 1.7 * ASPECT), NARROWEST, 360);
  const h = w / ASPECT;
  return { x: clamp((left + right - w) / 2, 0, 360 - w), y: clamp((top + bottom - h) / 2, 12, 146 - h), w, h };
}

const bow = (a, b, bend = 0.16) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - Math.hypot(a.x - b.x, a.y - b.y) * bend });
const curve = (a, b, bend) => `M${a.x} ${a.y}Q${bow(a, b, bend).x} ${bow(a, b, bend).y} ${b.x} ${b.y}`;

const crest = (a, b) => ({ x: (a.x + 2 * bow(a, b).x + b.x) / 4, y: (a.y + 2 * bow(a, b).y + b.y) / 4 });

// Both directions of a way as one.
function pairs(links) {
  const found = new Map();
  for (const { from, to, rtt_ms, late_ratio } of links) {
    const ends = [from, to].sort();
    const known = found.get(`${ends}`);
    found.set(`${ends}`, {
      ends,
      rtt_ms: rtt_ms ?? known?.rtt_ms,
      late: Math.max(late_ratio, known?.late ?? 0),
    });
  }
  return [...found.values()];
}

// Beside its place, where it covers least of what was laid down before.
function placed(regions, at, width, height, isSmall, tops) {
  const boxes = [
    ...regions.map((r) => ({ x: at(r).x - 11, y: at(r).y - 11, w: 22, h: 22 })),
    ...tops.map(({ x, y }) => ({ x: x - 26, y: y - 9, w: 52, h: 18 })),
  ];
  const over = (a, b) =>
    Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
  return regions.map((region) => {
    const { x, y } = at(region);
    const w = isSmall ? region.name.length * 6 + 8 : Math.max(112, region.name.length * 7.4 + 26);
    const h = isSmall ? 16 : 58;
    const tries = [[x + 17, y - h / 2], [x - 17 - w, y - h / 2], [x - w / 2, y + 17], [x - w / 2, y - 17 - h]].map(([left, top]) => {
      const box = { x: clamp(left, 2, width - w - 2), y: clamp(top, 2, height - h - 2), w, h };
      return { box, cost: boxes.reduce((sum, b) => sum + over(box, b), 0) };
    });
    const best = tries.reduce((a, b) => (b.cost < a.cost ? b : a)).box;
    boxes.push(best);
    return best;
  });
}

const Dots = memo(({ instances }) =>
  html`<span class="dots" aria-hidden="true">
    ${instances.slice(0, DOTS_MAX).map((i) => html`<i key=${i.id} class="dot ${i.frozen ? "warn" : tone(i.state)}" title="${i.id} ${i.state}" />`)}
    ${instances.length > DOTS_MAX && html`<small>+${instances.length - DOTS_MAX}</small>`}
  </span>`);

class WorldMap extends Component {
  componentDidMount() {
    this.watch = new ResizeObserver(([entry]) => this.setState({ width: entry.contentRect.width }));
    this.watch.observe(this.box);
  }
  componentWillUnmount() {
    this.watch.disconnect();
  }
  render({ regions: all, links, groups }, { width = 800 }) {
    const regions = all.filter((r) => r.at);
    const view = frame(regions.map(spot));
    const height = width / ASPECT;
    const isSmall = width < 560 || regions.length > 6;
    const px = ({ x, y }) => ({ x: ((x - view.x) / view.w) * width, y: ((y - view.y) / view.h) * height });
    const at = new Map(regions.map((r) => [r.name, px(spot(r))]));
    const ways = pairs(links).filter(({ ends }) => ends.every((name) => at.has(name)));
    const told = ways.filter(({ late }) => late > LOSSY || !(isSmall || ways.length > LABELLED_PAIRS_MAX));
    const tops = told.map(({ ends: [a, b] }) => crest(at.get(a), at.get(b)));
    const labels = placed(regions, (r) => at.get(r.name), width, height, isSmall, tops);
    const flows = regions.flatMap((r) => r.ways.filter((w) => w.to !== r.name && w.ratio > 0.005 && at.has(w.to)).map((w) => ({ from: r.name, ...w })));
    return html`<div class="map" ref=${(box) => (this.box = box || this.box)}>
      <svg class="land" viewBox="${view.x} ${view.y} ${view.w} ${view.h}" aria-hidden="true"><use href="page/land.svg#land" /></svg>
      <svg class="ways ${ways.length > CROWDED ? "crowded" : ""}" viewBox="0 0 ${width} ${height}" aria-hidden="true">
        ${ways.map(({ ends: [a, b], late }) => html`<path key=${a + b} class="way ${late > CUT ? "bad" : late > LOSSY ? "warn" : ""}" d=${curve(at.get(a), at.get(b))} />`)}
        ${flows.map(({ from, to, ratio }) => html`<path key=${`${from}>${to}`} class="flow" stroke-width=${1.5 + ratio * 3} d=${curve(at.get(from), at.get(to), 0.34)} />`)}
      </svg>
      ${told.map(({ ends, rtt_ms, late }, i) => html`<span key=${`${ends}`} class="rtt ${late > CUT ? "bad" : late > LOSSY ? "warn" : ""}" style=${{ left: `${tops[i].x}px`, top: `${tops[i].y}px` }}>
        ${late > CUT ? "cut" : [rtt_ms != null && ms(rtt_ms), late > LOSSY && `${percent(late)} late`].filter(Boolean).join(" · ")}</span>`)}
      ${regions.map((r, i) => {
        const hue = tone(r.state === "serving" ? "ready" : r.state);
        const load = r.capacity_users && r.users != null ? clamp(r.users / r.capacity_users, 0, 1) : null;
        return html`<a key=${r.name} href=${`#region-${r.name}`} class="place ${hue}" style=${{ left: `${at.get(r.name).x}px`, top: `${at.get(r.name).y}px`, "--load": `${(load ?? 1) * 360}deg` }}
            aria-label="${r.name}: ${r.state}, ${num(r.users)} users"><i /></a>
          <div key=${`${r.name}:`} class="label ${isSmall ? "small" : ""}" aria-hidden="true" style=${{ left: `${labels[i].x}px`, top: `${labels[i].y}px`, width: `${labels[i].w}px` }}>
            <b>${r.name}</b>${!isSmall && html`<span>${r.state === "serving" ? html`${num(r.requests_per_s)}/s · ${ms(r.p95_ms)}` : r.state}</span><${Dots} instances=${groups.get(r.name) || NOBODY} />`}
          </div>`;
      })}
    </div>`;
  }
}
const NOBODY = [];

const RegionCard = ({ r, at, instances, points }) => {
  const isOff = r.state === "drained";
  const away = r.ways.filter((w) => w.to !== r.name && w.ratio > 0.005);
  const load = r.capacity_users ? r.users / r.capacity_users : null;
  return html`<article class="region ${tone(r.state === "serving" ? "ready" : r.state)}" id=${`region-${r.name}`} tabindex="-1">
    <div class="head">
      <h3>${r.name}${r.is_leading && html` <span class="chip" title="The control plane leads from here">leads</span>`}${r.residency && html` <span class="chip" title="Data of this residency stays here">${r.residency}</span>`}</h3>
      <${State} state=${r.state} as=${r.state === "serving" ? "good" : null} />
    </div>
    <dl class="facts">
      <div><dt>Users</dt><dd>${num(r.users)}${r.capacity_users && html`<small> of ${num(r.capacity_users)}</small>`}</dd></div>
      <div><dt>Requests</dt><dd>${num(r.requests_per_s)}<small>/s</small></dd></div>
      <div><dt>p95</dt><dd>${ms(r.p95_ms)}</dd></div>
      <div><dt>Errors</dt><dd class=${r.errors_per_s > 0 ? "bad" : ""}>${num(r.errors_per_s)}<small>/s</small></dd></div>
    </dl>
    ${load != null && html`<${Bar} ratio=${load} tone=${load > 0.9 ? "bad" : load > 0.7 ? "warn" : "accent"} label="${percent(load)} of its capacity" />`}
    <${Spark} points=${points} />
    <p class="row"><${Dots} instances=${instances} /><small>${r.instances_ready} of ${plural(r.instances_total, "instance")} ready</small></p>
    ${r.why && html`<p class="why">${r.why}${r.since && html` <small>(${ago(at - r.since)})</small>`}</p>`}
    ${away.length > 0 && html`<p class="why moved">${away.map((w) => `${percent(w.ratio)} of its clients go to ${w.to}`).join(", ")}.</p>`}
    <p class="row spread"><small>${r.gateway ? html`<span title=${r.gateway.version}>gateway <b class="tone ${tone(r.gateway.state)}">${r.gateway.state}</b></span>` : "no gateway was seen"}</small>
      <button class="button small" onClick=${() => ask("drain", `region/${r.name}`, isOff)}>${isOff ? "Take back" : "Drain"}<span class="unseen"> ${r.name}</span></button></p>
  </article>`;
};

const RoundTrips = memo(({ regions, links }) => {
  const by = new Map(links.map((l) => [`${l.from}>${l.to}`, l]));
  return html`<details class="more"><summary>Round trips as a table</summary>
    <div class="scroll" tabindex="0" role="group" aria-label="Round trips"><table><thead><tr><th scope="col">from / to</th>${regions.map((r) => html`<th scope="col">${r.name}</th>`)}</tr></thead>
    <tbody>${regions.map((a) => html`<tr><th scope="row">${a.name}</th>${regions.map((b) => {
      const link = by.get(`${a.name}>${b.name}`);
      return html`<td class=${link?.late_ratio > LOSSY ? "warn" : ""}>${link ? ms(link.rtt_ms) : "–"}${link?.late_ratio > LOSSY && html` <small>${percent(link.late_ratio)} late</small>`}</td>`;
    })}</tr>`)}</tbody></table></div></details>`;
});

const CARDS_BESIDE_MAX = 4;

const Cards = ({ regions, groups, at }) => {
  const past = history.value;
  return html`<div class="regions n${Math.min(regions.length, CARDS_BESIDE_MAX)}">${regions.map((r) =>
    html`<${RegionCard} key=${r.name} r=${r} at=${at} instances=${groups.get(r.name) || NOBODY} points=${lately(past, `region:${r.name}:requests_per_s`, at, width.value)} />`)}</div>`;
};

// The map with the cards of a few regions below it; many cards get a row of their own.
export const World = memo(({ regions, links, instances, at }) => {
  const groups = Map.groupBy(instances, (i) => i.region);
  const isMapped = regions.filter((r) => r.at).length > 1;
  return html`<${Card} id="regions" title=${regions.length > 1 ? plural(regions.length, "region") : "Where it runs"}>
    ${isMapped && html`<${WorldMap} regions=${regions} links=${links} groups=${groups} />`}
    ${(!isMapped || regions.length <= CARDS_BESIDE_MAX) && html`<${Cards} regions=${regions} groups=${groups} at=${at} />`}
    ${links.length > 0 && html`<${RoundTrips} regions=${regions} links=${links} />`}
    ${regions.length === 0 && html`<p class="empty">No region was seen yet.</p>`}
  <//>`;
});

export const ManyRegions = memo(({ regions, instances, at }) => regions.filter((r) => r.at).length > CARDS_BESIDE_MAX &&
  html`<${Card} id="each" title="Each region"><${Cards} regions=${regions} groups=${Map.groupBy(instances, (i) => i.region)} at=${at} /><//>`);
