// What a person asks of the control plane: each in a dialog that names what will happen, with the token, and shows the answer.
import { get } from "./state.js";

const $ = (id) => document.getElementById(id);
const ANSWER_TRIES = 60;
const WORDS = {
  drain: (subject) => [`Drain ${subject}`, "It gets no new traffic; what is under way ends by itself. Others must hold its load meanwhile.", { subject, is_undo: false }],
  back: (subject) => [`Take ${subject} back`, "It gets traffic again, a little at first.", { subject, is_undo: true }],
  login: () => ["Sign in", "This console is open to other machines: what it shows needs its token.", {}],
  rollback: (to) => [`Roll back to ${to}`, "The release that served before serves again, step by step, and without a pause.", { to }],
};
let path, body;

export function ask(kind, subject, isUndo) {
  const [title, text, question] = WORDS[isUndo ? "back" : kind](subject);
  path = kind;
  body = question;
  $("ask-title").textContent = $("ask-do").textContent = title;
  $("ask-text").textContent = text;
  $("ask-token").value = sessionStorage.token || "";
  $("ask-token-label").hidden = Boolean(sessionStorage.token);
  $("ask-do").disabled = false;
  answer("");
  $("ask").showModal();
}

const answer = (text, tone = "") => {
  $("ask-answer").textContent = text;
  $("ask-answer").className = tone;
};

async function send() {
  const token = $("ask-token").value.trim();
  $("ask-do").disabled = true;
  answer("Asking…");
  try {
    if (path === "login") body = { token };
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const response = await fetch(path === "login" ? "api/login" : `api/actions/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const told = await response.json().catch(() => ({}));
    if (response.status === 401) {
      sessionStorage.removeItem("token");
      $("ask-token-label").hidden = false;
      $("ask-token").focus();
    }
    if (!response.ok) throw new Error(told.error || `The console answered ${response.status}.`);
    sessionStorage.token = token;
    if (path === "login") return location.reload();
    answer("Asked; waiting for the control plane…");
    const { ok, text } = await answered(told.request);
    answer(text, ok ? "good" : "bad");
  } catch (error) {
    answer(error.message, "bad");
    $("ask-do").disabled = false;
  }
}

async function answered(request) {
  for (let n = 0; n < ANSWER_TRIES; n++) {
    const told = await get(`api/requests/${request}`);
    if (told.answer) return told.answer;
    await new Promise((wake) => setTimeout(wake, 500));
  }
  return { ok: true, text: "No answer yet: the timeline will show what comes of it." };
}

$("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("ask-close").addEventListener("click", () => $("ask").close());
