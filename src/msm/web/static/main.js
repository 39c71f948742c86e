// Brings the parts of the page together.

import { icon, setText } from "./dom.js";
import { choices } from "./choices.js";
import { serverIs, showHealth } from "./health.js";
import { Link } from "./link.js";
import { model, set } from "./model.js";
import { follow, refollow, sample } from "./samples.js";
import { buildTable, showAges, showChoices, showFates, showRows } from "./table.js";
import { startTabs } from "./tabs.js";
import { buildTiles, moveTiles, showTiles } from "./tiles.js";
import { buildTrend, moveTrend } from "./trend.js";

const themeButton = document.querySelector("#theme");
const layout = document.querySelector("#layout");
let came = false;

const link = new Link(onNews, onServer);

function onServer(there, reason) {
  model.connected = there;
  document.body.classList.toggle("cut-off", !there);
  serverIs(there, reason);
  if (!there) {
    model.forgetPending();
    showFates(model.writes.keys());
  } else if (came) {
    refollow();
  }
  showHealth();
}

function onNews(news) {
  const fresh = model.take(news);
  if (fresh.variables) declare();
  showRows(fresh.rows);
  showTiles(fresh.rows);
  showFates(fresh.writes);
  sample();
  if (news.link) showHealth();
  came = true;
}

function declare() {
  document.title = `${model.title} · MSM`;
  setText(document.querySelector("#title"), model.title);
  document.querySelector("#read-only").hidden = !model.readOnly;
  choices.restore();
  buildTable(send, chosen);
  chosen();
  if (layout.src) showLayout();
}

function send(name, text) {
  set(link, name, text);
  showFates([name]);
}

/** Other tiles or other curves. */
function chosen() {
  buildTiles();
  showTiles(choices.tiles);
  showChoices();
  buildTrend(chosen);
  follow([...new Set([...choices.tiles, ...choices.plotted])]).then(move);
}

/** Time goes on, whether something comes or not. */
function move() {
  showAges();
  moveTiles();
  moveTrend();
}

function showLayout() {
  layout.src = `/layout.svg?${Date.now()}`;
}

function showTheme() {
  themeButton.replaceChildren(icon(theme.dark ? "sun" : "moon"));
  themeButton.setAttribute("aria-pressed", String(theme.dark));
  if (came) buildTrend(chosen);
  if (layout.src) showLayout();
}

themeButton.addEventListener("click", () => theme.toggle());
document.addEventListener("theme", showTheme);
showTheme();
startTabs((tab) => {
  if (tab === "memory") showLayout();
  showHealth();
  move();
});
setInterval(move, 500);
