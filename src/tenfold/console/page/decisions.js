// What it did and why: each decision opens into its reason, the facts it saw, how its effects ended, and what was rejected.
import { signal } from "./vendor/signals-core.js";
import { get, problem } from "./state.js";
import { Card, State, ago, clock, html, memo, num, percent, plural } from "./ui.js";

const opened = signal({}); // by id: what is known of it; null while it is asked for
const older = signal([]);
const SHOWN_MORE = 50;

export const open = async (id) => {
  opened.value = { ...opened.value, [id]: opened.value[id] ?? null };
  try {
    opened.value = { ...opened.value, [id]: await get(`api/decisions/${id}`) };
  } catch (error) {
    close(id);
    problem.value = error.message;
  }
};
const close = (id) => {
  const { [id]: _, ...rest } = opened.value;
  opened.value = rest;
};

// A way to the decision that did something.
export const Because = ({ id }) =>
  html`<button class="because" onClick=${async () => {
    await open(id);
    (document.getElementById(`decision-${id}`) || document.getElementById("decisions")).scrollIntoView({ block: "center" });
    document.getElementById(`opens-${id}`)?.focus();
  }}>${id}</button>`;

// What was seen, flat and without what is not known: {engine: {kind, state, since}} becomes lines of name and figure.
const lines = (saw) =>
  Object.entries(saw || {}).flatMap(([key, value]) =>
    value == null || value === "" || key === "seen_at" ? []
    : Array.isArray(value) ? [[key, value.join(", ")]]
    : typeof value === "object" ? lines(value)
    : [[key, typeof value !== "number" ? String(value) : value > 1e9 && /(_at|since)$/.test(key) ? clock(value) : num(value)]],
  );
const Part = ({ title, children }) => html`<h4>${title}</h4>${children}`;

const Known = ({ d, saw = lines(d.saw) }) => html`<div class="known">
  ${d.facts.length + d.clamps.length + d.effects.length + d.rejected.length + saw.length === 0 && html`<p><small>It rests on its reason alone, and did nothing more.</small></p>`}
  ${d.facts.length > 0 && html`<${Part} title="The facts it saw"><ul>${d.facts.map((f) => html`<li>${f}</li>`)}</ul><//>`}
  ${d.clamps.length > 0 && html`<${Part} title="What each bound made of it"><ul>${d.clamps.map((c) => html`<li>${c}</li>`)}</ul><//>`}
  ${d.confidence_ratio < 1 && html`<p><small>${percent(d.confidence_ratio)} sure that it is needed.</small></p>`}
  ${saw.length > 0 && html`<${Part} title="Figures of its subject"><dl class="saw">${saw.map(([key, value]) => html`<div><dt>${key.replaceAll("_", " ")}</dt><dd>${value}</dd></div>`)}</dl><//>`}
  ${d.effects.length > 0 && html`<${Part} title="What it did"><ul>${d.effects.map((e) => html`<li><${State} state=${e.outcome || "pending"} /> ${e.text}${e.note && html` <small>${e.note}</small>`}</li>`)}</ul><//>`}
  ${d.rejected.length > 0 && html`<${Part} title="Rejected"><ul>${d.rejected.map((r) => html`<li>${r.effect} <small>${r.why}</small></li>`)}</ul><//>`}
</div>`;

const Decision = memo(({ d, age, isOpen, known }) =>
  html`<li class="decision" id=${`decision-${d.id}`}>
    <button id=${`opens-${d.id}`} aria-expanded=${String(isOpen)} onClick=${() => (isOpen ? close(d.id) : open(d.id))}>
      <span class="row spread"><span><b>${d.subject}</b> <span class="chip">${d.by}</span></span><time title=${clock(d.at)}>${age}</time></span>
      <span class="why">${d.why}</span>
      <span class="row">${d.effects.slice(0, 2).map((e) => html`<span class="effect">${e}</span>`)}${d.effects.length > 2 && html`<small>+${d.effects.length - 2}</small>`}
        ${d.effects.length > 0 && html`<${State} state=${d.outcome} />`}${d.rejected > 0 && html`<small>${d.rejected} rejected</small>`}</span>
    </button>
    ${isOpen && (known ? html`<${Known} d=${known} />` : html`<p class="known"><small>asking…</small></p>`)}
  </li>`);

const more = async (before) => {
  try {
    older.value = [...older.value, ...(await get(`api/decisions?before=${before}&limit=${SHOWN_MORE}`))];
  } catch (error) {
    problem.value = error.message;
  }
};

export const Decisions = ({ decisions, at }) => {
  const last = decisions.at(-1);
  const all = last ? [...decisions, ...older.value.filter((d) => d.at < last.at)] : [];
  return html`<${Card} id="decisions" title="What it did, and why" cls="story" more=${decisions.length > 0 && html`<small>${plural(all.length, "decision")}</small>`}>
    <ol class="timeline" tabindex="0" role="list" aria-label="Decisions, newest first">
      ${all.map((d) => html`<${Decision} key=${d.id} d=${d} age=${ago(at - d.at)} isOpen=${d.id in opened.value} known=${opened.value[d.id]} />`)}
      ${all.length >= SHOWN_MORE && html`<li><button class="button small" onClick=${() => more(all.at(-1).id)}>Older</button></li>`}
    </ol>
    ${!all.length && html`<p class="empty">It did not have to do anything yet.</p>`}
  <//>`;
};
