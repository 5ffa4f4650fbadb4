// The list of builders narrows while one types; the address follows, so that it can be kept and sent.

const form = document.querySelector("[data-filter]");
const input = form.elements.name;

function rows() {
  return [...document.querySelectorAll("#builders tr[data-name]")];
}

function narrow() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows()) {
    row.hidden = !words.every((word) => row.dataset.name.includes(word));
    if (!row.hidden) shown += 1;
  }
  document.getElementById("no-builders").hidden = shown > 0;
}

function remember() {
  const address = new URL(location.href);
  const fields = new FormData(form);
  for (const name of ["name", "result", "tag", "all"]) {
    const value = fields.get(name);
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  history.replaceState(null, "", address);
}

// Rows that the server left out come back only by asking it.
const complete = !new URL(location.href).searchParams.get("name");
let asked;
input.addEventListener("input", () => {
  remember();
  if (complete) return narrow();
  clearTimeout(asked);
  asked = setTimeout(() => form.requestSubmit(), 400);
});
for (const control of form.querySelectorAll("select, input[type=checkbox]")) {
  control.addEventListener("change", () => form.requestSubmit());
}
document.addEventListener("refreshed", narrow);
narrow();
