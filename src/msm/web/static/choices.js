// Which variables are tiles and which are in the trend: kept by this browser for each device.

import { isBit, model } from "./model.js";

const TILES = 6;
const PLOTTED = 2;
export const MOST_PLOTTED = 4;

function key(what) {
  return `msm ${model.title} ${what}`;
}

function load(what, fallback) {
  try {
    const names = JSON.parse(localStorage.getItem(key(what)));
    if (Array.isArray(names)) return names.filter((name) => model.variables.has(name));
  } catch {
    // somebody else wrote there: begin anew
  }
  return fallback();
}

const all = () => [...model.variables.values()];
const names = (variables) => variables.map((variable) => variable.name);
// What has a unit was measured, and is more worth seeing than a number that only names something.
const measured = (variables) => [...variables.filter((each) => each.unit), ...variables.filter((each) => !each.unit)];
const quantities = () => measured(all().filter((each) => each.plots && each.type !== "enum" && !isBit(each)));

export const choices = {
  tiles: [],
  plotted: [],

  /** Take up what was chosen the last time. */
  restore() {
    choices.tiles = load("tiles", () => names([...new Set([...quantities(), ...all()])].slice(0, TILES)));
    choices.plotted = load("plotted", () => names(quantities().slice(0, PLOTTED)));
  },

  /** Take a variable out, or in. */
  toggle(what, name) {
    const chosen = choices[what];
    const most = what === "plotted" ? MOST_PLOTTED : 24;
    choices[what] = chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name].slice(-most);
    localStorage.setItem(key(what), JSON.stringify(choices[what]));
  },
};
