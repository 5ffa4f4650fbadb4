// Every control with data-key has a key: it is focused if one types into it, else pressed. `?` lists them.

function controls() {
  return [...document.querySelectorAll("[data-key]")].filter((control) => control.offsetParent !== null);
}

function label(control) {
  return control.getAttribute("aria-label") || control.title.replace(/ \(.\)$/, "") || control.placeholder || control.textContent.trim();
}

function list() {
  const dialog = document.createElement("dialog");
  const title = document.createElement("h2");
  title.textContent = "Keys";
  const keys = document.createElement("dl");
  for (const control of controls()) {
    const key = document.createElement("dt");
    key.append(Object.assign(document.createElement("kbd"), { textContent: control.dataset.key }));
    keys.append(key, Object.assign(document.createElement("dd"), { textContent: label(control) }));
  }
  dialog.append(title, keys);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

export function startKeys() {
  document.querySelector(".keys")?.removeAttribute("hidden");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, textarea, select, dialog")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "?") return list();
    const control = controls().find((control) => control.dataset.key === event.key);
    if (!control) return;
    event.preventDefault();
    if (control.matches("input")) control.select();
    else if (control.matches("button.danger")) control.focus();
    else control.click();
  });
}
