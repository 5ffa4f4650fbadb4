// Live pages: events only say that something changed; what it looks like now is asked of the server again.
import { refreshTimes } from "./time.js";

const DEBOUNCE = 150; // ms after the first event of a burst
const AT_MOST_EVERY = 700; // ms between two questions
const FIRST_RETRY = 500; // ms; doubles up to
const LAST_RETRY = 20000;

const main = document.getElementById("content");
const chosen = new Map(); // details that the reader opened or closed, by id

/**
 * Calls back for every event of these topics, and with null after each connection: what happened before it is unknown.
 * Answers a function that subscribes to topics which came since.
 */
export function subscribe(topics, onEvent) {
  let wait = FIRST_RETRY;
  let lost = false;
  let socket;
  let sent;
  const address = new URL(document.body.dataset.root + "ws", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  function consume() {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (const path of topics()) {
      if (sent.has(path)) continue;
      sent.add(path);
      socket.send(JSON.stringify({ cmd: "startConsuming", path, _id: sent.size }));
    }
  }
  function connect() {
    socket = new WebSocket(address);
    sent = new Set();
    socket.onopen = () => {
      wait = FIRST_RETRY;
      consume();
      tell("");
      lost = false;
      onEvent(null);
    };
    socket.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.k) onEvent(event);
    };
    socket.onclose = () => {
      if (!lost) tell("Not connected: this page may be old.");
      lost = true;
      setTimeout(connect, wait * (0.7 + Math.random() * 0.6));
      wait = Math.min(wait * 2, LAST_RETRY);
    };
  }
  connect();
  return consume;
}

function tell(text) {
  const place = document.getElementById("connection");
  if (place && place.textContent !== text) place.textContent = text;
}

/** Asks for the same address as a fragment. */
export async function fetchFragment(name, query = {}) {
  const address = new URL(location.href);
  for (const [key, value] of Object.entries(query)) address.searchParams.set(key, value);
  address.searchParams.set("fragment", name);
  const answer = await fetch(address);
  if (!answer.ok) return null;
  const template = document.createElement("template");
  template.innerHTML = await answer.text();
  return template.content;
}

// The reader's work must survive: chosen boxes, what is being typed, what was opened.
function swap(old, fresh) {
  for (const details of fresh.querySelectorAll("details[id]")) {
    if (chosen.has(details.id)) details.open = chosen.get(details.id);
  }
  for (const box of old.querySelectorAll("input[type=checkbox][id]:checked")) {
    const same = fresh.querySelector("#" + CSS.escape(box.id));
    if (same) same.checked = true;
  }
  const scrolled = [...old.querySelectorAll(".log")].map((log) => log.scrollTop);
  const focus = old.contains(document.activeElement) ? pathOf(old, document.activeElement) : null;
  old.replaceWith(fresh);
  [...fresh.querySelectorAll(".log")].forEach((log, index) => { log.scrollTop = scrolled[index] ?? 0; });
  if (focus) elementAt(fresh, focus)?.focus({ preventScroll: true });
}

function pathOf(root, element) {
  const path = [];
  for (let at = element; at !== root; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
  return path;
}

function elementAt(root, path) {
  return path.reduce((at, index) => at?.children[index], root);
}

const written = new Map(); // what the server last wrote for each part; our own clocks change the document

async function refresh() {
  const content = await fetchFragment("content");
  if (!content) return;
  const meta = content.querySelector("meta[name=topics]");
  main.dataset.topics = meta.content;
  meta.remove();
  const parts = [...content.querySelectorAll("[data-live][id]")];
  const known = [...main.querySelectorAll("[data-live][id]")];
  if (parts.map((part) => part.id).join() !== known.map((part) => part.id).join()) {
    written.clear();
    main.replaceChildren(content);
  } else {
    for (const part of parts) {
      const html = part.outerHTML;
      if (written.get(part.id) === html) continue;
      written.set(part.id, html);
      swap(document.getElementById(part.id), part);
    }
  }
  refreshTimes();
  document.dispatchEvent(new CustomEvent("refreshed"));
}

export function startLive() {
  document.addEventListener("click", (event) => {
    const details = event.target.closest?.("summary")?.parentElement;
    if (details?.id) setTimeout(() => chosen.set(details.id, details.open));
  });
  const topics = () => (main.dataset.topics ?? "").split(/\s+/).filter(Boolean);
  if (topics().length === 0) return;
  let planned = false;
  let last = 0;
  let dirty = false;
  const plan = () => {
    if (document.hidden) { dirty = true; return; }
    if (planned) return;
    planned = true;
    setTimeout(async () => {
      planned = false;
      last = Date.now();
      await refresh().catch(() => {}); // the server is away: the next event or the reconnection asks again
      consume();
    }, Math.max(DEBOUNCE, last + AT_MOST_EVERY - Date.now()));
  };
  document.addEventListener("visibilitychange", () => { if (dirty && !document.hidden) { dirty = false; plan(); } });
  const consume = subscribe(topics, plan);
}
