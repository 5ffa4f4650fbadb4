// Times, durations and progress bars go on between two answers of the server, in its words and by its clock.

const offset = Number(document.body.dataset.now) - Date.now() / 1000;
const furthest = new Map(); // progress bars by id: none ever goes back, whatever a new estimate says
const STEADY = 0.8;

export const now = () => Date.now() / 1000 + offset;

function roughly(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function ago(seconds) {
  if (seconds < -60) return `in ${roughly(-seconds)}`;
  return seconds < 5 ? "just now" : `${roughly(seconds)} ago`;
}

export function duration(total) {
  const seconds = Math.max(0, Math.floor(total));
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${two((seconds % 86400) / 3600)} h`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function advance(bar, time) {
  const elapsed = time - Number(bar.dataset.since);
  const usual = Math.max(1, Number(bar.dataset.usual));
  const share = Math.max(0, elapsed) / usual;
  const done = share < STEADY ? share : 1 - (1 - STEADY) * Math.exp(-(share - STEADY) / (1 - STEADY));
  const value = Math.max(furthest.get(bar.id) ?? 0, Math.floor(done * 1000), bar.value);
  furthest.set(bar.id, value);
  bar.value = value;
  const left = bar.parentElement.querySelector(".left");
  if (left) write(left, elapsed < usual ? `about ${roughly(usual - elapsed)} left` : `${roughly(elapsed - usual)} over its usual time`);
}

export function refreshTimes() {
  const time = now();
  for (const element of document.querySelectorAll("time[data-at]")) {
    const seconds = time - Number(element.dataset.at);
    if (seconds < 2592000) write(element, ago(seconds));
  }
  for (const element of document.querySelectorAll("[data-since]")) {
    if (element.tagName === "PROGRESS") advance(element, time);
    else write(element, duration(time - Number(element.dataset.since)));
  }
}

export function startClock() {
  refreshTimes();
  setInterval(() => document.hidden || refreshTimes(), 1000);
  document.addEventListener("visibilitychange", () => document.hidden || refreshTimes());
}
