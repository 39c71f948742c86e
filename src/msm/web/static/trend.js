// The trend: a few variables over the last minutes, drawn by uPlot.

import uPlot from "./vendor/uPlot.esm.js";
import { el, icon } from "./dom.js";
import { choices } from "./choices.js";
import { model } from "./model.js";
import { samples } from "./samples.js";

const HEIGHT = 240;
const AXES = 2; // scales that have room for their numbers
const LEAST = 20; // seconds that are shown, also where less is known
const place = document.querySelector("#plot");
const chips = document.querySelector("#trend-names");
let plot;
let minutes = 5;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draw the trend anew: other variables, other colours, another width. */
export function buildTrend(chosen) {
  plot?.destroy();
  plot = undefined;
  chips.replaceChildren(...choices.plotted.map((name, at) => chip(name, at, chosen)));
  if (!choices.plotted.length) {
    place.replaceChildren(el("p", { class: "quiet empty" }, "Choose a variable of the table by its curve button."));
    return;
  }
  place.replaceChildren();
  const variables = choices.plotted.map((name) => model.variables.get(name));
  const scales = [...new Set(variables.map(scaleOf))];
  plot = new uPlot(
    {
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [showNumbers] },
      scales: { x: { time: true, range: span }, ...Object.fromEntries(scales.map((scale) => [scale, { range: room }])) },
      axes: [timeAxis(), ...scales.slice(0, AXES).map(numberAxis)],
      series: [{}, ...variables.map((variable, at) => ({
        label: variable.name,
        scale: scaleOf(variable),
        stroke: colour(`--series-${at + 1}`),
        width: 2,
        points: { show: false },
        paths: steps(variable) ? uPlot.paths.stepped({ align: 1 }) : undefined,
      }))],
    },
    data(),
    place,
  );
}

const NO_UNIT = "number";

function scaleOf(variable) {
  return variable.unit || NO_UNIT;
}

/** A bit or a state has nothing in between. */
function steps(variable) {
  return ["bool", "coil", "discrete", "enum"].includes(variable.type);
}

/** A little room above and below, also for what does not move. */
function room(_plot, low, high) {
  if (low === null) return [0, 1];
  const margin = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low - margin, high + margin];
}

/** The minutes that are shown; less where there are less. */
function span(_plot, first) {
  const now = model.now();
  return [Math.max(now - minutes * 60, Math.min(first ?? now, now - LEAST)), now];
}

function axis(more) {
  const font = "12px system-ui, sans-serif";
  return { stroke: colour("--quiet"), font, labelFont: font, ticks: { show: false }, ...more };
}

function timeAxis() {
  return axis({ scale: "x", space: 80, size: 30, grid: { stroke: colour("--line"), width: 1 }, values: (_plot, times) => times.map(clock) });
}

/** The first scale at the left with its lines, the second one at the right. */
function numberAxis(scale, at) {
  const named = scale === NO_UNIT ? {} : { label: scale, labelSize: 20 };
  return axis({ scale, side: at ? 1 : 3, size: 50, grid: { show: at === 0, stroke: colour("--line"), width: 1 }, ...named });
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function chip(name, at, chosen) {
  const remove = () => {
    choices.toggle("plotted", name);
    chosen();
  };
  return el(
    "span",
    { class: `chip series-${at + 1}` },
    el("span", { class: "swatch", "aria-hidden": "true" }),
    el("span", {}, name),
    el("span", { class: "at-cursor" }),
    el("button", { type: "button", class: "icon-button small", "aria-label": `Take ${name} out of the trend`, click: remove }, icon("close")),
  );
}

/** The numbers under the cursor, in the chips. */
function showNumbers({ cursor, data: columns }) {
  [...chips.children].forEach((each, at) => {
    const number = cursor.idx === null || cursor.idx === undefined ? undefined : columns[at + 1]?.[cursor.idx];
    each.querySelector(".at-cursor").textContent = number === undefined || number === null ? "" : Number(number.toPrecision(6)).toString();
  });
}

/** All curves over one row of times. */
function data() {
  return uPlot.join(choices.plotted.map((name) => {
    const { times, numbers } = samples(name);
    return [times, numbers];
  }));
}

/** Time goes on. */
export function moveTrend() {
  if (plot && place.offsetParent) plot.setData(data());
}

for (const button of document.querySelectorAll("#trend [data-minutes]")) {
  button.addEventListener("click", () => {
    minutes = Number(button.dataset.minutes);
    for (const other of document.querySelectorAll("#trend [data-minutes]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    moveTrend();
  });
}

new ResizeObserver(() => {
  if (plot && place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
}).observe(place);
