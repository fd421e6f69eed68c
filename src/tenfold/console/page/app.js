// The page: put together, kept up to date, and led by keys.
import { effect, signal } from "./vendor/signals-core.js";
import { render } from "./vendor/preact.js";
import { ask } from "./asking.js";
import { Chart } from "./charts.js";
import { Decisions } from "./decisions.js";
import { Alerts, Budget, Engines, Instances, Release, Targets, Tenants, isAllShown, tenantWanted } from "./panels.js";
import { go, history, isReading, line, listen, marks, moment, pause, problem, range, shift, silent, span, until, view, width } from "./state.js";
import { Card, Icon, Spark, ago, clock, day, html, lately, money, ms, num, percent } from "./ui.js";
import { ManyRegions, World } from "./world.js";

const $ = (id) => document.getElementById(id);
const SPANS = [[900, "15 min"], [3600, "1 h"], [21600, "6 h"], [86400, "24 h"]];
const THEMES = ["auto", "light", "dark"];
const REGIONS_DRAWN_MAX = 10;
const TROUBLES_MAX = 3;
const LONG = 64; // letters of a sentence that is set smaller

const theme = signal(localStorage.theme || "auto");
effect(() => (document.documentElement.dataset.theme = theme.value));

const turn = () => (theme.value = localStorage.theme = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]);
const toggle = () => (moment.value === null ? pause() : go(null));

const Line = () => {
  const [hue, text] =
    moment.value !== null ? ["busy", `Paused at ${clock(moment.value)}`]
    : line.value === "live" ? ["good", "Live"]
    : line.value === "past" ? ["idle", "A run that is over"]
    : line.value === "ended" ? ["warn", "Not live: the control plane stopped"]
    : line.value === "unknown" ? ["warn", "Not signed in"]
    : line.value === "lost" ? ["bad", `Not live: silent for ${ago(silent.value)}`]
    : line.value === "waiting" ? ["busy", "Waiting for the first look"]
    : ["busy", "Connecting"];
  return html`<span class="line ${hue}" id="line"><i class="dot ${hue}" />${text}</span>`;
};

const Top = ({ project }) => html`<header class="top">
  <div class="brand"><img src="page/icon.svg" alt="" width="24" height="24" /><b>${project?.name || "Tenfold"}</b>${project?.environment && html`<span class="chip">${project.environment}</span>`}</div>
  <${Line} />
  <nav aria-label="Parts of the page">${[["now", "Now"], ["regions", "Regions"], ["decisions", "Decisions"], ["charts", "Charts"], ["targets", "Targets"], ["instances", "Instances"]].map(([id, name]) => html`<a href=${`#${id}`}>${name}</a>`)}</nav>
  <button class="button icon-only" onClick=${turn} aria-label="Theme: ${theme.value}" title="Theme: ${theme.value} (T)"><${Icon} name="theme" /></button>
  <button class="button icon-only" onClick=${() => $("help").showModal()} aria-label="Help" title="Help (?)"><${Icon} name="help" /></button>
</header>`;

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

const Meta = ({ s: { project, release, targets, objectives, cost } }) => {
  const told = targets.filter((t) => t.is_met != null);
  return html`<dl class="meta">
    ${project.address && html`<div><dt>Address</dt><dd><a href=${project.address}>${project.address.replace(/^https?:\/\//, "")}</a></dd></div>`}
    ${release.serving && html`<div><dt>Release</dt><dd>${release.serving}</dd></div>`}
    ${told.length > 0 && html`<div><dt>Targets</dt><dd>${told.filter((t) => t.is_met).length} of ${told.length} met</dd></div>`}
    ${objectives.length > 0 && html`<div><dt>Error budget</dt><dd>${percent(Math.min(...objectives.map((o) => o.budget_left_ratio)))} left</dd></div>`}
    ${cost && html`<div><dt>Cost</dt><dd>${money(cost.per_hour, cost.currency)}/h</dd></div>`}
  </dl>`;
};

const Hero = ({ s }) => {
  const acted = s.decisions.filter((d) => d.effects.length);
  const newest = acted.find((d) => d.by !== "route") || acted[0] || s.decisions[0]; // routes follow what others decide
  const { operation } = s.release;
  const more = s.health.troubles.slice(1); // the first is in the sentence
  const hue = s.regions.length + s.instances.length === 0 ? "busy" : s.health.is_well ? "good" : "bad";
  return html`<section class="hero ${hue}" id="now" aria-labelledby="now-title" tabindex="-1">
    <span class="seal"><${Icon} name=${hue} /></span>
    <div>
      <h1 id="now-title" class=${s.health.sentence.length > LONG ? "long" : ""}>${sentence(s.health.sentence)}</h1>
      ${more.length > 0 && html`<ul class="troubles">${more.slice(0, TROUBLES_MAX).map((t) => html`<li>${t}</li>`)}${more.length > TROUBLES_MAX && html`<li>and ${more.length - TROUBLES_MAX} more</li>`}</ul>`}
      ${operation ? html`<p class="doing"><b>${operation.kind}</b> of <code>${operation.release}</code>: ${operation.step}. ${operation.why}</p>`
        : newest && html`<p class="doing"><span>${ago(s.at - newest.at)} ago</span> <b>${newest.effects[0] || newest.subject}</b> because ${newest.why}</p>`}
    </div>
    <${Meta} s=${s} />
  </section>`;
};

const Figure = ({ name, value, unit, more, hue, points }) => html`<div class="figure ${hue || ""}">
  <dt>${name}</dt><dd><b>${value}</b>${unit && html`<small>${unit}</small>`}</dd>
  <dd class="sub">${more || "\u00a0"}</dd><${Spark} points=${points} hue=${hue || "accent"} />
</div>`;

const Figures = ({ s }) => {
  const { summary: f, at } = s;
  const past = (key) => lately(history.value, key, at, width.value);
  return html`<dl class="figures" aria-label="Key figures">
    <${Figure} name="Users" value=${num(f.users)} more=${f.users_are} points=${past("users")} />
    <${Figure} name="Requests" value=${num(f.requests_per_s)} unit="/s" more=${f.connections != null && `${num(f.connections)} connections`} points=${past("requests_per_s")} />
    <${Figure} name="Response p95" value=${ms(f.p95_ms)} more="p50 ${ms(f.p50_ms)} · p99 ${ms(f.p99_ms)}" points=${past("p95_ms")} />
    <${Figure} name="Errors" value=${num(f.errors_per_s)} unit="/s" hue=${f.errors_per_s > 0 ? "bad" : ""} more=${f.requests_per_s > 0 ? `${percent(f.errors_per_s / f.requests_per_s)} of requests` : ""} points=${past("errors_per_s")} />
    <${Figure} name="Cache hits" value=${percent(f.cache_hit_ratio)} more=${f.cache_hit_ratio == null ? "the edge keeps no answers" : "of what may be kept"} points=${past("cache_hit_ratio")} />
    <${Figure} name="Instances" value=${num(f.instances_ready)} unit=" of ${num(f.instances_total)}" hue=${f.instances_ready < f.instances_total ? "warn" : ""} more="ready" points=${past("instances")} />
  </dl>`;
};

const LATENCY = ["p99", "p95", "p50"].map((p) => ({ key: `${p}_ms`, label: p, hue: p }));
const ERRORS = [{ key: "errors_per_s", label: "all", hue: "bad", isFilled: true }];
const HOLDS = [{ key: "users", label: "users", hue: "accent", isFilled: true }];
const RUNS = [{ key: "instances", label: "ready", hue: "good", isFilled: true, isStepped: true }];
const ALL = { key: "requests_per_s", label: "all", hue: "accent", isFilled: true };

// The same list as long as the regions are the same: lines are drawn anew only when they changed.
const SUM = { ...ALL, hue: "mark" };
let drawn = [ALL];
const requests = (names) => {
  const wanted = names.length > 1 ? names.slice(0, REGIONS_DRAWN_MAX) : [];
  if (wanted.join() !== drawn.slice(1).map((s) => s.label).join())
    drawn = [wanted.length ? SUM : ALL, ...wanted.map((name, i) => ({ key: `region:${name}:requests_per_s`, label: name, hue: `r${i}` }))];
  return drawn;
};

const Charts = ({ regions }) => html`<${Card} id="charts" title="Over time" cls="wide" more=${html`<small>${isReading.value ? "reading the past…" : html`<i class="dot mark" /> a decision · click to look at a moment`}</small>`}>
  <div class="charts">
    <${Chart} title="Response time" say=${ms} least=${10} series=${LATENCY} />
    <${Chart} title="Requests/s" say=${num} series=${requests(regions.map((r) => r.name))} />
    <${Chart} title="Errors/s" say=${num} series=${ERRORS} />
    <${Chart} title="Users" say=${num} series=${HOLDS} />
    <${Chart} title="Instances" say=${num} series=${RUNS} />
  </div>
<//>`;

const TimeBar = () => {
  const from = until.value - width.value;
  const at = moment.value ?? until.value;
  const x = (t) => ((t - from) / width.value) * 100;
  return html`<footer class="time" aria-label="Time">
    <button class="button icon-only main" onClick=${toggle} aria-label=${moment.value === null ? "Pause" : "Go on live"}><${Icon} name=${moment.value === null ? "pause" : "play"} /></button>
    <div class="track">
      <${Spark} points=${lately(history.value, "requests_per_s", until.value, width.value, 240)} />
      ${marks.value.filter((m) => m.at > from && m.at <= until.value).map((m) => html`<i key=${m.id} class="tick ${m.outcome === "failed" ? "bad" : ""}" style=${{ left: `${x(m.at)}%` }} />`)}
      <input type="range" min=${from} max=${until.value} step="1" value=${at} aria-label="Moment that is shown" aria-valuetext=${moment.value === null ? "now" : clock(at)}
        onInput=${(e) => go(Number(e.target.value) >= until.value - 1 ? null : Number(e.target.value))} />
    </div>
    <output>${clock(at)}<small>${day(at)}</small></output>
    <div class="spans" role="group" aria-label="Span">${SPANS.map(([seconds, name]) => html`<button aria-pressed=${String(range.value === seconds)} onClick=${() => span(seconds)}>${name}</button>`)}</div>
    ${moment.value !== null && html`<button class="button main" onClick=${() => go(null)}>Back to live</button>`}
  </footer>`;
};

const Page = () => {
  const s = view.value;
  const [first, then] =
    line.value === "unknown" ? ["Who is there?", html`<button class="button main" onClick=${() => ask("login")}>Sign in</button>`]
    : ["lost", "ended"].includes(line.value) ? ["No answer.", html`The control plane does not answer: does <code>tenfold up</code> run?`]
    : line.value === "waiting" ? ["Nothing was seen yet.", "The control plane has not looked for the first time. This page fills by itself."]
    : ["One moment.", "The control plane is asked how things are."];
  if (!s) return html`<${Top} /><main><section class="hero busy" id="now"><span class="seal"><${Icon} name="busy" /></span><div><h1>${first}</h1><p class="doing">${then}</p></div></section></main>`;
  const isWide = s.regions.length > 1;
  const world = html`<${World} regions=${s.regions} links=${s.links} instances=${s.instances} at=${s.at} />`;
  const beside = html`<${Alerts} alerts=${s.alerts} anomalies=${s.anomalies} at=${s.at} /><${Release} release=${s.release} isLive=${moment.value === null} />`;
  return html`<${Top} project=${s.project} />
    <main data-seq=${s.seq} data-at=${s.at} class=${moment.value !== null ? "paused" : ["live", "past"].includes(line.value) ? "" : "stale"}>
      ${problem.value && html`<p class="problem" role="alert">${problem.value}</p>`}
      <${Hero} s=${s} />
      <${Figures} s=${s} />
      <div class="two"><div class="stack">${world}${!isWide && html`<div class="pair">${beside}</div>`}</div><${Decisions} decisions=${s.decisions} at=${s.at} /></div>
      <${ManyRegions} regions=${s.regions} instances=${s.instances} at=${s.at} />
      <${Charts} regions=${s.regions} />
      <div class=${isWide ? "three" : "two even"}><${Targets} targets=${s.targets} /><${Budget} objectives=${s.objectives} cost=${s.cost} />${isWide && html`<div class="stack">${beside}</div>`}</div>
      <${Instances} instances=${s.instances} services=${s.services} at=${s.at} from=${s.at - width.value} all=${isAllShown.value} />
      <div class="two even"><${Engines} engines=${s.engines} /><${Tenants} tenants=${s.tenants} find=${tenantWanted.value} /></div>
    </main>
    <${TimeBar} />`;
};

$("page").textContent = "";
effect(() => render(Page(), $("page")));

// What a screen reader says: not each figure, only what became different.
let wasSaid = "";
effect(() => {
  const s = view.value;
  const key = s && [s.health.is_well, line.value === "live", ...s.regions.map((r) => r.name + r.state), ...s.alerts.filter((a) => a.is_firing).map((a) => a.key)].join();
  if (!s || key === wasSaid) return;
  wasSaid = key;
  $("said").textContent = `${line.value === "live" || moment.value !== null ? "" : "Not live. "}${s.health.sentence}`;
  document.title = `${s.health.is_well ? "" : "! "}${s.project.name} · Tenfold`;
});

const jump = (id) => {
  $(id)?.scrollIntoView({ block: "start" });
  $(id)?.focus({ preventScroll: true });
};
const PARTS = ["now", "regions", "decisions", "charts", "targets", "instances"];
const KEYS = {
  " ": toggle,
  l: () => go(null),
  t: turn,
  "?": () => $("help").showModal(),
  ArrowLeft: (e) => shift(e.shiftKey ? -60 : -10),
  ArrowRight: (e) => shift(e.shiftKey ? 60 : 10),
};
PARTS.forEach((id, n) => (KEYS[n + 1] = () => jump(id)));

$("keys-on").checked = localStorage.keys !== "off";
$("keys-on").addEventListener("change", (e) => (localStorage.keys = e.target.checked ? "on" : "off"));
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (localStorage.keys === "off" || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.closest("input, select, textarea") || (key === " " && target.closest("button, a, summary"))) return;
  if (key.startsWith("Arrow") && target.closest(".scroll, .timeline")) return;
  const act = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

listen();
