// Addresses of Buildbot's own interface, whose routes stand behind a '#' that no server sees: mails, statuses, bookmarks.

const NUMBER = /^\d+$/;

/** The page that answers a route such as `builders/1/builds/2`, from the first page on; null where there is none. */
export function pageOf(route) {
  const parts = route.split("?")[0].split("/").filter(Boolean).map(encoded);
  const [kind, key, more, number, what, step, , log] = parts;
  switch (kind) {
    case "builders":
      if (more === "builds" && number) {
        const build = `builders/${key}/builds/${number}`;
        if (what !== "steps" || !step) return build;
        return log ? `${build}/steps/${step}/logs/${log}` : `${build}#step-${step}`;
      }
      if (more === "force" && number) return `builders/${key}/force/${number}`;
      return key ? `builders/${key}` : "builders";
    case "buildrequests":
      return key ? `buildrequests/${key}` : "pending";
    case "pendingbuildrequests":
      return "pending";
    case "workers":
      return key ? `workers/${key}` : "workers";
    case "changes":
      return NUMBER.test(key) ? `changes?below=${Number(key) + 1}` : "changes";
    case "projects":
    case "waterfall":
    case "grid":
      return "builders";
    case "console":
      return "changes";
    case "masters":
    case "schedulers":
      return "about#" + kind;
    case "about":
    case "settings":
      return "about";
    default:
      return null;
  }
}

function encoded(part) {
  try {
    return encodeURIComponent(decodeURIComponent(part));
  } catch {
    return encodeURIComponent(part);
  }
}

/** The route in an address: `#/…`, or without the slash as Buildbot once wrote it. */
function routeIn(hash) {
  if (hash.startsWith("#/")) return hash.slice(2);
  return /^#(builders|buildrequests|changes|workers)\//.test(hash) ? hash.slice(1) : null;
}

/** Leads to the page that the address means; whether it does. */
export function followRoute() {
  const route = routeIn(location.hash);
  const page = route === null ? null : pageOf(route);
  if (page === null) return false;
  location.replace(new URL(document.body.dataset.root + page, location.href));
  return true;
}

followRoute();
addEventListener("hashchange", followRoute);
