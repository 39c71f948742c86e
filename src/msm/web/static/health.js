// How the link does: in the bar, as a notice when something is wrong, and in full.

import { el, setText } from "./dom.js";
import { model } from "./model.js";

const state = document.querySelector("#state");
const notice = document.querySelector("#notice");
const card = document.querySelector("#health");
const FATES = ["acknowledged", "pending", "superseded", "rejected", "expired", "unknown"];
let noticed = "";
let lostAt = 0;

/** The server was found, or lost. */
export function serverIs(there, reason) {
  if (there) lostAt = 0;
  else lostAt ||= Date.now();
  model.reason = reason;
}

/** Show all of it. */
export function showHealth() {
  const { link } = model;
  const now = !model.connected ? "no server" : link.state ?? "own memory";
  state.dataset.state = now;
  setText(state, now === "online" ? `online · ${milliseconds(link.cycle)}` : now);
  showNotice(now, link);
  if (card.offsetParent) showCard(link);
}

function showNotice(now, link) {
  let kind = "";
  let heading = "";
  let text = "";
  if (now === "no server" && lostAt) {
    kind = "bad";
    heading = "The server of this page does not answer.";
    text = `Values are those of ${new Date(lostAt).toLocaleTimeString()}, and cannot be set. Trying again. ${model.reason ? `(${model.reason})` : ""}`;
  } else if (now === "offline" || now === "connecting" || now === "closed") {
    kind = "warn";
    heading = now === "connecting" ? "The device has not answered yet." : "The device does not answer.";
    text = `Values are the last that were read. ${link.diagnosis.split("\n")[0]}`;
  }
  document.body.dataset.link = kind;
  if (noticed === kind + text) return;
  noticed = kind + text;
  notice.className = kind;
  notice.replaceChildren(...(kind ? [el("strong", {}, heading), " ", text] : []));
}

function milliseconds(seconds) {
  return seconds ? `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms` : "…";
}

function showCard(link) {
  if (!link.state) {
    card.replaceChildren(el("h2", {}, "Link"), el("p", {}, "This memory is the program's own: no client keeps it the same as a device."));
    return;
  }
  card.replaceChildren(
    el("div", { class: "card-head" }, el("h2", {}, "Link"), el("code", {}, link.endpoint)),
    el("p", { class: "diagnosis" }, link.diagnosis),
    el("div", { class: "figures" },
      figure("State", link.state), figure("Last poll took", milliseconds(link.cycle)), figure("Polls", link.cycles),
      figure("Requests", link.requests), figure("Reconnects", link.reconnects), figure("Conflicts", link.conflicts)),
    el("div", { class: "lists" },
      list("What became of assignments", FATES.map((fate) => [fate, link.fates[fate]])),
      list("Errors", Object.entries(link.errors), "none")),
  );
}

function figure(name, value) {
  return el("p", { class: "figure" }, el("span", { class: "quiet" }, name), el("span", { class: "number" }, number(value)));
}

function number(value) {
  return typeof value === "number" ? value.toLocaleString("en") : value;
}

function list(heading, pairs, nothing = "") {
  return el("section", {}, el("h3", {}, heading),
    pairs.length ? el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, number(value))])) : el("p", { class: "quiet" }, nothing));
}
