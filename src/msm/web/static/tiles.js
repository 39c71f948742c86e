// The pinned variables, large, each with its last minutes.

import { el, setText, svg } from "./dom.js";
import { choices } from "./choices.js";
import { age, isBit, model, shownValue } from "./model.js";
import { samples, SPAN } from "./samples.js";

const WIDTH = 200;
const HEIGHT = 36;
const DIGITS = 5;
const SIGN = { stale: "◐", bad: "✕", never: "○" };
const section = document.querySelector("#tiles");
let tiles = new Map();

/** One tile for each pinned variable. */
export function buildTiles() {
  tiles = new Map(choices.tiles.map((name) => [name, tile(model.variables.get(name))]));
  section.replaceChildren(...[...tiles.values()].map((each) => each.element));
}

function tile(variable) {
  const value = el("span", { class: "value" });
  const when = el("span", { class: "age" });
  const curve = svg("path", { class: "curve", "vector-effect": "non-scaling-stroke" });
  const area = svg("path", { class: "area" });
  const spark = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, curve);
  const unit = variable.unit ? el("span", { class: "unit" }, variable.unit) : undefined;
  const element = el(
    "article",
    { class: "tile", "aria-label": variable.label || variable.name },
    el("p", { class: "tile-head" }, el("span", { class: "tile-name", title: variable.name }, variable.label || variable.name), when),
    el("p", { class: "tile-value" }, value, unit),
    variable.plots ? spark : undefined,
  );
  return { element, variable, value, when, curve, area };
}

/** Show what is new of these variables. */
export function showTiles(names) {
  for (const name of names) {
    const tile = tiles.get(name);
    const row = model.rows.get(name);
    if (!tile || !row) continue;
    tile.element.dataset.quality = row.quality;
    const text = shownValue(tile.variable, row);
    setText(tile.value, rounded(tile.variable, text, row.number));
    tile.value.title = text;
    tile.element.classList.toggle("long", tile.value.textContent.length > 8);
  }
}

/** A number that has many digits, without those that nobody reads from afar; the table has them all. */
function rounded(variable, text, number) {
  const long = text.length > DIGITS + 2 && number !== null && !isBit(variable) && !Number.isInteger(number);
  return long && variable.type !== "enum" ? Number(number.toPrecision(DIGITS)).toString() : text;
}

/** Time goes on: ages, and curves that move to the left. */
export function moveTiles() {
  for (const [name, { element, variable, when, curve, area }] of tiles) {
    const { quality } = element.dataset;
    setText(when, SIGN[quality] ? `${SIGN[quality]} ${age(name).replace(" ago", "") || "not read"}` : "");
    when.title = SIGN[quality] ? `${quality} ${age(name)}` : "";
    if (!variable.plots) continue;
    const lines = polylines(samples(name));
    curve.setAttribute("d", lines.map((points) => `M${points.map(([x, y]) => `${x} ${y}`).join("L")}`).join(""));
    area.setAttribute("d", lines.map((points) => `M${points[0][0]} ${HEIGHT}L${points.map(([x, y]) => `${x} ${y}`).join("L")}L${points.at(-1)[0]} ${HEIGHT}Z`).join(""));
  }
}

/** The curve as lines; a gap ends one and begins another. */
function polylines({ times, numbers }) {
  const known = numbers.filter((number) => number !== null);
  const low = Math.min(...known);
  const high = Math.max(...known);
  const end = model.now();
  const begin = Math.max(end - SPAN, times[0] ?? end);
  const lines = [];
  let line = [];
  for (let at = 0; at < times.length; at += 1) {
    if (numbers[at] === null) {
      if (line.length) lines.push(line);
      line = [];
      continue;
    }
    const x = ((times[at] - begin) / Math.max(end - begin, 1)) * WIDTH;
    const y = high > low ? HEIGHT - 3 - ((numbers[at] - low) / (high - low)) * (HEIGHT - 8) : HEIGHT / 2;
    line.push([x.toFixed(1), y.toFixed(1)]);
  }
  if (line.length) lines.push(line);
  return lines;
}
