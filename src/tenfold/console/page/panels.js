// Parts that list what is: targets, error budgets, alerts, cost, the release, instances, engines, tenants.
import { signal } from "./vendor/signals-core.js";
import { ask } from "./asking.js";
import { Because } from "./decisions.js";
import { Bar, Card, Icon, State, ago, exactly, html, memo, mib, money, ms, num, percent, plural, tone } from "./ui.js";

const SHOWN = 40;
const ANSWERS_MAX = 4;
const isAll = signal(false);
const wanted = signal("");

export const Targets = memo(({ targets }) =>
  html`<${Card} id="targets" title="Targets" more=${targets.length > 0 && html`<small>${targets.filter((t) => t.is_met).length} of ${targets.length} met now</small>`}>
    ${targets.length ? html`<ul class="list">${targets.map((t) => {
      const hue = t.is_met == null ? "idle" : t.is_met ? "good" : "bad";
      return html`<li key=${t.name}>
        <p class="row spread"><span class="tone ${hue}"><${Icon} name=${hue} /><b class="ink">${t.name.replaceAll("_", " ")}</b><span class="unseen">${t.is_met == null ? "not measured" : t.is_met ? "met" : "missed"}</span></span>
          <span>${t.measured_text ?? "not measured"} <small>of ${t.target_text}</small></span></p>
        <${Bar} ratio=${(t.ratio_of_target ?? 0) / 1.25} mark=${0.8} tone=${hue} label=${t.ratio_of_target == null ? "not measured" : `${percent(t.ratio_of_target)} of the target`} />
        <small>${t.how}</small></li>`;
    })}</ul>` : html`<p class="empty">The blueprint names no targets. Add <code>targets</code>, and this shows how far off each is.</p>`}
  <//>`);

export const Budget = memo(({ objectives, cost }) =>
  html`<${Card} id="budget" title="Error budget and cost">
    ${objectives.map((o) => html`<div class="block" key=${o.name}>
      <p class="row spread"><b>${o.name}</b><span><b>${percent(o.budget_left_ratio)}</b> <small>left of ${o.window_days} days at ${exactly(o.good_ratio)}</small></span></p>
      <${Bar} ratio=${o.budget_left_ratio} tone=${o.budget_left_ratio > 0.5 ? "good" : o.budget_left_ratio > 0.1 ? "warn" : "bad"} label="${percent(o.budget_left_ratio)} of the error budget is left" />
      <p class="row"><small>burns</small>${Object.entries(o.burn).map(([span, rate]) => html`<span class="chip ${rate > 14 ? "bad" : rate > 1 ? "warn" : ""}">${span} ${num(rate)}×</span>`)}</p>
    </div>`)}
    ${!objectives.length && html`<p class="empty">No objective: <code>targets.availability</code> and <code>targets.latency</code> make one.</p>`}
    ${cost ? html`<div class="block">
      <p class="row spread"><b>Cost</b><span><b>${money(cost.per_hour, cost.currency)}</b> <small>an hour</small></span></p>
      ${cost.budget_monthly != null && html`<${Bar} ratio=${(cost.month_forecast ?? cost.month_so_far ?? 0) / cost.budget_monthly} mark=${cost.alert_at_ratio} tone=${cost.month_forecast > cost.budget_monthly ? "bad" : cost.month_forecast > cost.budget_monthly * (cost.alert_at_ratio ?? 1) ? "warn" : "accent"} label="Forecast against the month's budget" />`}
      <p><small>${money(cost.month_so_far, cost.currency)} this month, ${money(cost.month_forecast, cost.currency)} expected${cost.budget_monthly != null && `, of ${money(cost.budget_monthly, cost.currency)}`}. Prices as of ${cost.prices_as_of}.</small></p>
    </div>` : html`<p class="empty">No cost: name prices or a <code>budget</code>.</p>`}
  <//>`);

export const Alerts = memo(({ alerts, anomalies, at }) => {
  const firing = alerts.filter((a) => a.is_firing).length;
  return html`<${Card} id="alerts" title="Alerts" more=${html`<small>${firing ? `${firing} firing` : "none firing"}</small>`}>
    ${!alerts.length && !anomalies.length && html`<p class="empty"><${Icon} name="good" /> Nothing calls for anybody.</p>`}
    <ul class="list">${alerts.map((a) => html`<li key=${a.key} class=${a.is_firing ? "" : "over"}>
      <p class="row spread"><${State} state=${a.severity} as=${a.is_firing ? null : "good"} /><small>${a.is_firing ? "for" : "over, began"} ${ago(at - a.since)}${!a.is_firing && " ago"}</small></p>
      <p>${a.text}</p>
      ${a.answered_by.length > 0 && html`<p class="row"><small>answered by</small>${a.answered_by.slice(-ANSWERS_MAX).map((id) => html`<${Because} id=${id} />`)}${a.answered_by.length > ANSWERS_MAX && html`<small>and ${a.answered_by.length - ANSWERS_MAX} before</small>`}</p>`}</li>`)}
    ${anomalies.map((a) => html`<li key=${a.series}><p class="row spread"><${State} state="unusual" as="warn" /><small>for ${ago(at - a.since)}</small></p>
      <p><b>${a.series}</b> is ${num(a.value)}, expected ${num(a.expected)}</p></li>`)}</ul>
  <//>`;
});

const stepTone = ({ state }) => (state === "running" ? "busy" : tone(state));

export const Release = memo(({ release, isLive }) => {
  const { serving, previous, operation } = release;
  return html`<${Card} id="release" title="Release" more=${html`<small>${serving ? html`<code>${serving}</code> serves` : "none serves yet"}</small>`}>
    ${operation && html`<p><b>${operation.is_undoing ? "Undoing " : ""}${operation.kind}</b> of <code>${operation.release}</code>${operation.why && `: ${operation.why}`}</p>
      <ol class="steps">${operation.steps.map((s) => html`<li key=${s.name} class=${stepTone(s)}><${Icon} name=${stepTone(s)} /><span>${s.name}</span><span class="unseen">${s.state}</span></li>`)}</ol>`}
    ${!operation && html`<p class="empty">Nothing is on its way${previous && html`; <code>${previous}</code> served before`}.</p>`}
    <p class="row"><button class="button small" disabled=${!previous || !isLive} onClick=${() => ask("rollback", previous)}>Roll back</button>
      <button class="button small" disabled aria-describedby="purge-why">Purge</button><small id="purge-why">purge: the edge keeps no answers yet</small></p>
  <//>`;
});

const Life = ({ i, at, from }) => {
  const width = at - from;
  const x = (t) => `${Math.max(0, ((t - from) / width) * 100)}%`;
  const hue = i.frozen ? "warn" : tone(i.state);
  return html`<li class="life">
    <span class="name"><${State} state=${i.frozen ? "frozen" : i.state} as=${hue} /><b>${i.id}</b></span>
    <span class="bar" aria-hidden="true"><i class="was" style=${{ left: x(i.started_at), right: `${100 - parseFloat(x(i.since))}%` }} /><i class=${hue} style=${{ left: x(i.since) }} /></span>
    <span class="num">${ago(at - i.started_at)}</span>
    <span class="num wide">${num(i.cpu_cores)} cores</span><span class="num wide">${mib(i.memory_bytes)}</span>
    <span class="note">${i.started_by && html`<${Because} id=${i.started_by} /> `}${i.note || i.why}</span>
    <button class="drain" onClick=${() => ask("drain", i.id)}>Drain<span class="unseen"> ${i.id}</span></button>
  </li>`;
};

export const Instances = memo(({ instances, services, at, from, all }) => {
  const groups = Map.groupBy(instances, (i) => `${i.service}@${i.region}`);
  let left = all ? Infinity : SHOWN;
  const rows = services.map((s) => {
    const mine = groups.get(`${s.name}@${s.region}`) || [];
    const shown = mine.slice(0, Math.max(left, 0));
    left -= shown.length;
    return html`<section class="pool" key=${`${s.name}@${s.region}`}>
      <p class="row spread"><span><b>${s.name}</b> <small>in ${s.region}</small></span><span>${s.wanted || s.ready ? html`<b>${s.ready}</b> <small>of ${s.wanted} ready</small>` : html`<b>asleep</b>`}</span></p>
      ${s.why && html`<p class="why">${s.why}</p>`}
      ${s.cold_wait_ms && html`<p class="why">${plural(s.cold_starts, "cold start")}: requests waited ${ms(s.cold_wait_ms[0])}, ${ms(s.cold_wait_ms[1])} at the most</p>`}
      <ul class="lives">${shown.map((i) => html`<${Life} key=${i.id} i=${i} at=${at} from=${from} />`)}</ul></section>`;
  });
  return html`<${Card} id="instances" title="Instances" cls="wide" more=${html`<small>each bar is its life in the span below</small>`}>
    ${rows}${!services.length && html`<p class="empty">No service is wanted yet.</p>`}
    ${instances.length > SHOWN && html`<button class="button" onClick=${() => (isAll.value = !all)}>${all ? "Show fewer" : `Show all ${instances.length}`}</button>`}
  <//>`;
});
export const isAllShown = isAll;

export const Engines = memo(({ engines }) =>
  html`<${Card} id="engines" title="Engines">
    ${!engines.length && html`<p class="empty">No engine runs yet.</p>`}
    <div class="scroll" tabindex="0" role="group" aria-label="Engines"><table><tbody>${engines.map((e) => html`<tr key=${e.key}><th scope="row">${e.kind}<small> ${e.region}</small></th><td><${State} state=${e.state} /></td>
      <td>${e.role || "–"}${e.lag_s > 0.5 && html` <small>${ago(e.lag_s)} behind</small>`}</td><td class="num">${num(e.cpu_cores)}<small> cores</small></td><td class="num">${mib(e.memory_bytes)}</td><td><small>${e.note || e.version}</small></td></tr>`)}</tbody></table></div>
  <//>`);

export const Tenants = memo(({ tenants, find }) => {
  if (!tenants?.length) return null;
  const found = tenants.filter((t) => t.id.includes(find) || t.region.includes(find)).sort((a, b) => (b.requests_per_s ?? 0) - (a.requests_per_s ?? 0));
  return html`<${Card} id="tenants" title=${plural(tenants.length, "tenant")} more=${html`<input type="search" placeholder="Find" aria-label="Find a tenant or a region" value=${find} onInput=${(e) => (wanted.value = e.target.value)} />`}>
    <div class="scroll tall" tabindex="0" role="group" aria-label="Tenants"><table><thead><tr><th scope="col">Tenant</th><th scope="col">Served by</th><th scope="col" class="num">Requests/s</th></tr></thead>
      <tbody>${found.slice(0, SHOWN).map((t) => html`<tr key=${t.id}><th scope="row">${t.id}</th><td>${t.region}</td><td class="num">${num(t.requests_per_s)}</td></tr>`)}</tbody></table></div>
    ${found.length > SHOWN && html`<p><small>and ${found.length - SHOWN} more: type to find one</small></p>`}
  <//>`;
});
export const tenantWanted = wanted;
