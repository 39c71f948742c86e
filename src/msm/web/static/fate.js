// What became of what was set, beside the variable.

import { el, icon } from "./dom.js";
import { model } from "./model.js";

const SIGN = { sending: "…", pending: "…", acknowledged: "✓", done: "✓", superseded: "↷", rejected: "✕", expired: "✕", unknown: "?", invalid: "✕" };
const WORD = { invalid: "not sent", done: "set", superseded: "overtaken" };
const GONE_AFTER = 6000; // milliseconds: what went well is soon no news

/** An element that tells the fate of the last write of a variable. */
export function fateLine(name) {
  const line = el("p", { class: "fate", role: "status" });
  let shown = "";
  let timer;

  function clear() {
    line.replaceChildren();
    line.removeAttribute("data-fate");
  }

  return {
    element: line,
    show() {
      const write = model.writes.get(name);
      const now = write ? `${write.id} ${write.fate}` : "";
      if (!write || now === shown) return;
      shown = now;
      clearTimeout(timer);
      line.dataset.fate = write.fate;
      const word = WORD[write.fate] ?? write.fate;
      line.replaceChildren(
        el("span", { "aria-hidden": "true" }, SIGN[write.fate] ?? ""),
        el("span", {}, el("strong", {}, word), write.cause ? `: ${write.cause}` : ""),
      );
      if (["acknowledged", "done"].includes(write.fate)) timer = setTimeout(clear, GONE_AFTER);
      else if (!["sending", "pending"].includes(write.fate)) {
        line.append(el("button", { type: "button", class: "icon-button small", "aria-label": "Dismiss", click: clear }, icon("close")));
      }
    },
  };
}
