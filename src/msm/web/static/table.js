// The table of all variables.

import { el, icon, setText } from "./dom.js";
import { choices } from "./choices.js";
import { editor } from "./editor.js";
import { fateLine } from "./fate.js";
import { age, model } from "./model.js";

const QUALITY = { good: "", own: "", stale: "stale", bad: "bad", never: "not read" };
const body = document.querySelector("#variables tbody");
const search = document.querySelector("#search");
const lines = new Map(); // name -> its parts

/** @param send called with a name and a text; @param chosen called when a tile or a curve was chosen. */
export function buildTable(send, chosen) {
  lines.clear();
  for (const variable of model.variables.values()) lines.set(variable.name, line(variable, send, chosen));
  body.replaceChildren(...[...lines.values()].map((each) => each.element));
  filter();
}

function line(variable, send, chosen) {
  const { name } = variable;
  const value = editor(variable, (text) => send(name, text));
  const fate = fateLine(name);
  const quality = el("span", { class: "quality" });
  const when = el("span", { class: "age" });
  const error = el("p", { class: "error" });
  const pin = choice("pin", `Show ${name} as a tile`, () => toggle("tiles"));
  const plot = variable.plots ? choice("trend", `Show ${name} in the trend`, () => toggle("plotted")) : undefined;

  function toggle(what) {
    choices.toggle(what, name);
    chosen();
  }

  const element = el(
    "tr",
    { role: "row" },
    el("th", { role: "rowheader", scope: "row" },
      el("span", { class: "name" }, name), variable.label ? el("span", { class: "label quiet" }, variable.label) : undefined),
    el("td", { role: "cell", class: "cell-value" }, value.element, fate.element),
    el("td", { role: "cell", class: "cell-read" }, quality, when, error),
    el("td", { role: "cell", class: "cell-place quiet" }, place(variable), el("span", { class: "type" }, variable.type), access(variable)),
    el("td", { role: "cell", class: "cell-choose" }, plot, pin),
  );
  return { element, variable, value, fate, quality, when, error, pin, plot };
}

function choice(name, label, click) {
  return el("button", { type: "button", class: `icon-button ${name}`, "aria-pressed": "false", "aria-label": label, title: label, click }, icon(name));
}

function place(variable) {
  const last = variable.cells > 1 ? `–${variable.address + variable.cells - 1}` : "";
  return el("span", { class: "address" }, `${variable.table} ${variable.address}${last}`);
}

function access(variable) {
  const words = { ro: "read-only", wo: "write-only" };
  return words[variable.access] ? el("span", { class: "access" }, words[variable.access]) : undefined;
}

/** Show what is new of these variables. */
export function showRows(names) {
  for (const name of names) {
    const line = lines.get(name);
    const row = model.rows.get(name);
    if (!line || !row) continue;
    line.element.dataset.quality = row.quality;
    line.value.show(row);
    setText(line.quality, QUALITY[row.quality] ?? row.quality);
    setText(line.error, row.quality === "bad" ? row.error : "");
  }
}

/** Show what became of what was set. */
export function showFates(names) {
  for (const name of names) {
    const line = lines.get(name);
    if (!line) continue;
    line.fate.show();
    const { fate } = model.writes.get(name) ?? {};
    if (fate) line.value.told?.(fate);
    if (fate === "rejected" || fate === "invalid") showRows([name]); // a switch is where it was
  }
}

/** Time goes on. */
export function showAges() {
  for (const [name, line] of lines) setText(line.when, age(name));
}

/** Which variables are tiles and curves. */
export function showChoices() {
  for (const [name, line] of lines) {
    line.pin.setAttribute("aria-pressed", String(choices.tiles.includes(name)));
    line.plot?.setAttribute("aria-pressed", String(choices.plotted.includes(name)));
  }
}

function filter() {
  const wanted = search.value.trim().toLowerCase();
  let found = 0;
  for (const { element, variable } of lines.values()) {
    const fits = `${variable.name} ${variable.label} ${variable.table} ${variable.address}`.toLowerCase().includes(wanted);
    element.hidden = !fits;
    found += fits;
  }
  document.querySelector("#count").textContent = wanted ? `${found} of ${lines.size}` : `${lines.size}`;
  document.querySelector("#nothing").hidden = found > 0;
}

search.addEventListener("input", filter);
search.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    search.value = "";
    filter();
  }
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing && search.offsetParent) {
    event.preventDefault();
    search.focus();
  }
});
