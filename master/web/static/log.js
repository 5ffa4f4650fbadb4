// The log page: ranges of lines, further windows while scrolling, follow mode, exact colours.
import { fetchFragment, subscribe } from "./live.js";

const MAX_WINDOWS = 8; // kept in the page; those far away are dropped, so that millions of lines fit
const log = document.getElementById("log");
const lines = document.getElementById("lines");
const follow = document.getElementById("follow");
const windows = () => [...lines.querySelectorAll(".window")];
const number = (element, name) => Number(element.dataset[name]);

function paint(root) {
  for (const span of root.querySelectorAll("[data-fg]")) span.style.color = span.dataset.fg;
  for (const span of root.querySelectorAll("[data-bg]")) span.style.background = span.dataset.bg;
}

// Ranges: #L10 or #L10-L20; shift and a click make one.
function range() {
  const found = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
  if (!found) return null;
  const ends = [Number(found[1]), Number(found[2] ?? found[1])];
  return [Math.min(...ends), Math.max(...ends)];
}

function mark() {
  const wanted = range();
  for (const line of log.querySelectorAll(".l")) {
    const at = Number(line.id.slice(1));
    line.classList.toggle("marked", wanted ? at >= wanted[0] && at <= wanted[1] : at === Number(log.dataset.wanted));
  }
  return wanted;
}

async function show() {
  const wanted = mark();
  if (!wanted) return;
  let line = document.getElementById("L" + wanted[0]);
  if (!line) {
    const content = await fetchFragment("lines", { from: Math.max(1, wanted[0] - 20) });
    const fresh = content?.querySelector(".window");
    if (!fresh) return;
    windows().forEach((old) => old.remove());
    lines.append(fresh);
    added(fresh);
    line = document.getElementById("L" + wanted[0]);
  }
  line?.scrollIntoView({ block: "center" });
}

log.addEventListener("click", (event) => {
  const link = event.target.closest(".l > a");
  if (!link) return;
  event.preventDefault();
  const line = Number(link.dataset.n);
  const wanted = range();
  const address = new URL(location.href);
  const first = event.shiftKey && wanted ? wanted[0] : line;
  address.searchParams.set("line", Math.min(first, line));
  for (const name of ["from", "count"]) address.searchParams.delete(name);
  address.hash = first === line ? `L${line}` : `L${Math.min(first, line)}-L${Math.max(first, line)}`;
  history.replaceState(null, "", address);
  setFollow(false);
  mark();
});

// Windows: the links at both ends load what they lead to when they come into sight.
let loading = false;

function link(kind, query, text) {
  log.querySelector(`.more[rel=${kind}]`)?.remove();
  if (!query) return;
  const more = Object.assign(document.createElement("a"), { className: "more", rel: kind, href: "?" + new URLSearchParams(query), textContent: text });
  if (kind === "prev") lines.prepend(more);
  else lines.append(more);
  sight.observe(more);
}

function ends() {
  const all = windows();
  const first = all[0];
  const last = all[all.length - 1];
  if (!first) return;
  const previous = number(first, "previous");
  link("prev", previous && { to: number(first, "first") - 1, count: number(first, "previousCount") }, `Lines ${previous} to ${number(first, "first") - 1}`);
  const next = number(last, "next");
  link("next", next && { from: next }, `Lines from ${next} on`);
}

function added(fresh) {
  paint(fresh);
  mark();
  ends();
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) load(entry.target);
}, { root: log, rootMargin: "600px" });

async function load(more) {
  if (loading) return;
  loading = true;
  const query = Object.fromEntries(new URL(more.href).searchParams);
  const content = await fetchFragment("lines", query).catch(() => null);
  const fresh = content?.querySelector(".window");
  if (fresh && more.isConnected) { // else a jump to another place was faster
    const before = more.rel === "prev";
    const height = log.scrollHeight;
    more.remove();
    if (before) lines.prepend(fresh);
    else lines.append(fresh);
    const all = windows();
    added(fresh);
    if (before) log.scrollTop += log.scrollHeight - height;
    if (windows().length > MAX_WINDOWS) drop(before);
  }
  loading = false;
  catchUp();
}

// What is dropped can be scrolled back to: its neighbour's link leads there.
function drop(atEnd) {
  const all = windows();
  const [gone, neighbour] = atEnd ? [all[all.length - 1], all[all.length - 2]] : all;
  const height = log.scrollHeight;
  gone.remove();
  if (atEnd) {
    neighbour.dataset.next = number(neighbour, "last") + 1;
  } else {
    const first = number(neighbour, "first");
    neighbour.dataset.previous = Math.max(1, first - 500);
    neighbour.dataset.previousCount = first - neighbour.dataset.previous;
  }
  ends();
  if (!atEnd) log.scrollTop -= height - log.scrollHeight;
}

// Growth: an event says that there is more; it is fetched from behind the last line that is here.
let missed = false; // an event came while something was loading

const follows = () => follow.getAttribute("aria-pressed") === "true";

function setFollow(on) {
  follow.setAttribute("aria-pressed", String(on));
  if (on) toEnd();
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
}

function catchUp() {
  if (!missed) return;
  missed = false;
  grow();
}

async function grow() {
  const all = windows();
  const last = all[all.length - 1];
  if (!last || number(last, "next")) return; // the end is not on the page
  if (loading) { missed = true; return; }
  loading = true;
  const content = await fetchFragment("lines", { from: number(last, "last") + 1, count: 1000 }).catch(() => null);
  loading = false;
  const fresh = content?.querySelector(".window");
  if (!fresh || number(fresh, "last") < number(fresh, "first")) return catchUp();
  const following = follows();
  document.getElementById("empty")?.remove();
  lines.append(fresh);
  paint(fresh);
  join();
  mark();
  ends();
  document.getElementById("total").textContent = fresh.dataset.total;
  if (following) toEnd();
  if (number(fresh, "next")) await grow();
  else catchUp();
}

// Growth comes in small pieces: they become part of the last window until that is large.
function join() {
  const [before, last] = windows().slice(-2);
  if (number(last, "last") - number(before, "first") < 1000) {
    before.append(...last.children);
    for (const name of ["last", "total"]) before.dataset[name] = last.dataset[name];
    if (last.dataset.next) before.dataset.next = last.dataset.next;
    last.remove();
  } else if (windows().length > MAX_WINDOWS) {
    drop(false);
  }
}

function startGrowing() {
  follow.hidden = false;
  follow.addEventListener("click", () => setFollow(!follows()));
  // Who scrolls up wants to read; who comes back to the end wants to follow.
  let before = log.scrollTop;
  log.addEventListener("scroll", () => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 4;
    if (atEnd || log.scrollTop < before) follow.setAttribute("aria-pressed", String(atEnd));
    before = log.scrollTop;
  }, { passive: true });
  if (!range() && !log.dataset.wanted) setFollow(true);
  const id = log.dataset.log;
  subscribe(() => [`logs/${id}/append`, `logs/${id}/finished`], (event) => {
    grow();
    if (event?.k.endsWith("/finished")) {
      document.getElementById("growing")?.replaceChildren("finished");
      setFollow(false);
      follow.hidden = true;
    }
  });
}

// Only what the page shows changes, so the address can say it without another question.
for (const choice of document.querySelectorAll("[data-hide]")) {
  choice.addEventListener("click", (event) => {
    event.preventDefault();
    const address = new URL(location.href);
    address.searchParams.set("hide", choice.dataset.hide);
    history.replaceState(null, "", address);
    log.classList.replace([...log.classList].find((name) => name.startsWith("hide-")), `hide-${choice.dataset.hide || "none"}`);
    document.querySelectorAll("[data-hide]").forEach((other) => other.removeAttribute("aria-current"));
    choice.setAttribute("aria-current", "true");
  });
}

paint(document);
ends();
addEventListener("hashchange", show);
if (range()) show();
else if (log.dataset.wanted) document.getElementById("L" + log.dataset.wanted)?.scrollIntoView({ block: "center" });
else if (log.classList.contains("at-end")) toEnd();
if ("grows" in log.dataset) startGrowing();
