// The whole page: sign in, dashboard, tasks, live feed. No framework, no build step.

const $ = id => document.getElementById(id);
const STATES = { todo: "To do", doing: "Doing", done: "Done" };
const NEXT = { todo: "doing", doing: "done", done: "todo" };
let projectId = null;
let seen = null;        // the last news we saw: {epoch, n}
let socket = null;
let retryAfterMs = 250;

async function api(path, method = "GET", body, headers = {}) {
  const answer = await fetch(path, { method, body: body && JSON.stringify(body), headers });
  $("served-by").textContent = (answer.headers.get("x-served-by") ?? "?").split(";")[0];
  const content = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(content.error), { status: answer.status });
  $("trouble").hidden = true;
  return content;
}

// A write keeps its key over tries, so that a second try after a lost answer does nothing twice.
async function write(path, body) {
  const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), part => part.toString(36)).join("");
  for (let tries = 3; ; tries--) {
    try {
      return await api(path, "POST", body, { "idempotency-key": key });
    } catch (error) {
      if (tries === 1 || (error.status && error.status !== 503)) throw error;
      await new Promise(go => setTimeout(go, 1000));
    }
  }
}

function trouble(error) {
  if (error.status === 401) return showSignIn();
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
}

function on(id, event, act) {
  $(id).addEventListener(event, happened => {
    happened.preventDefault();
    Promise.resolve(act(happened)).catch(trouble);
  });
}

function element(tag, text, attributes = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...attributes });
}

function showSignIn() {
  socket?.close();
  $("sign-in").hidden = false;
  $("board").hidden = $("who").hidden = true;
}

async function showBoard() {
  const me = await api("/api/me");
  $("company").textContent = `${me.user}, ${me.company} (${me.tier})`;
  $("sign-in").hidden = true;
  $("board").hidden = $("who").hidden = false;
  seen = null;
  await refresh();
  listen();
}

async function refresh() {
  const [counts, { projects }] = await Promise.all([api("/api/dashboard"), api("/api/projects")]);
  const tiles = [["projects", "projects"], ["todo", "to do"], ["doing", "doing"], ["done", "done"], ["late", "late"]];
  $("counts").replaceChildren(...tiles.map(([name, label]) => {
    const tile = element("div", label, { className: name });
    tile.prepend(element("b", counts[name]));
    return tile;
  }));
  if (!projects.some(project => project.project_id === projectId)) projectId = projects[0]?.project_id ?? null;
  $("project").replaceChildren(...projects.map(({ project_id, name }) =>
    element("option", name, { value: project_id, selected: project_id === projectId })));
  await refreshTasks();
}

async function refreshTasks() {
  if (!projectId) return;
  const { tasks } = await api(`/api/projects/${projectId}/tasks`);
  $("tasks").replaceChildren(...tasks.map(task => {
    const line = element("li", "", { className: task.status });
    const state = element("button", STATES[task.status], { className: "quiet" });
    state.addEventListener("click", () => {
      api(`/api/projects/${projectId}/tasks/${task.task_id}`, "PATCH", { status: NEXT[task.status] }).catch(trouble);
    });
    line.append(element("span", task.title), state);
    return line;
  }));
}

// News often come in bunches; one refresh after the last of a bunch is enough.
let refreshing;
function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => refresh().catch(trouble), 150);
}

function listen() {
  socket?.close();
  const mine = socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/feed`);
  mine.onmessage = ({ data }) => {
    const said = JSON.parse(data);
    if (said.type === "hello") {
      $("live").className = "dot on";
      $("live").title = "connected";
      $("feed-by").textContent = said.instance;
      retryAfterMs = 250;
      if (seen) mine.send(JSON.stringify({ since: seen.n, epoch: seen.epoch }));
      else seen = { epoch: said.epoch, n: said.n };
    } else if (said.type === "news") {
      seen = { epoch: said.epoch, n: said.n };
      tell(said);
      refreshSoon();
    } else if (said.type === "gap") {
      refreshSoon();
    }
  };
  mine.onclose = () => {
    $("live").className = "dot";
    $("live").title = "not connected";
    if (mine !== socket || $("board").hidden) return;
    // Everybody comes back when an instance goes: not all at the same moment.
    setTimeout(() => mine === socket && listen(), retryAfterMs * (0.5 + Math.random()));
    retryAfterMs = Math.min(2 * retryAfterMs, 5000);
  };
}

function tell({ kind, data }) {
  const what = data.title ?? data.name ?? data.url ?? data.kind;
  const line = element("li", "");
  line.append(element("span", `${kind.replace(".", " ")}: ${what}`), element("time", new Date().toLocaleTimeString()));
  $("news").prepend(line);
  while ($("news").children.length > 30) $("news").lastChild.remove();
}

on("sign-in", "submit", async ({ target }) => {
  const { company, name, password } = Object.fromEntries(new FormData(target));
  try {
    await api("/api/login", "POST", { company, email: `${name}@${company}.example`, password });
  } catch (error) {
    $("trouble").textContent = error.message;
    $("trouble").hidden = false;
    return;
  }
  await showBoard();
});
on("sign-out", "click", async () => { await api("/api/logout", "POST"); $("news").replaceChildren(); showSignIn(); });
on("project", "change", ({ target }) => { projectId = target.value; return refreshTasks(); });
on("add-task", "submit", async ({ target }) => {
  await write(`/api/projects/${projectId}/tasks`, { title: target.elements.title.value });
  target.reset();
});
on("analyse", "submit", async ({ target }) => {
  const site = await write("/api/analysis", { url: target.elements.url.value, work: 20 });
  $("analysis").textContent =
    `${site.pages} pages, ${site.words} words, ${site.headings} headings, ${site.links} links: ${site.score} of 100.`;
});

showBoard().catch(trouble);
