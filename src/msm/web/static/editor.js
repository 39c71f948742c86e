// How a value is shown and set: a switch, a menu, switches for flags, or a field.

import { el, icon, setText } from "./dom.js";
import { isBit, model, shownValue } from "./model.js";

/** What shows a variable's value, and sets it where it may be; `send` is called with the new value as text. */
export function editor(variable, send) {
  const kind = model.readOnly ? "" : variable.editor;
  return (MAKE[kind] ?? plain)(variable, send);
}

const MAKE = { switch: toggle, menu, flags, field };

function unitOf(variable) {
  return variable.unit ? el("span", { class: "unit" }, variable.unit) : undefined;
}

/** Nothing to set: the text. */
function plain(variable) {
  const value = el("span", { class: "value" });
  const lamp = isBit(variable);
  return {
    element: el("span", { class: lamp ? "reading lamp" : "reading" }, value, unitOf(variable)),
    show(row) {
      setText(value, shownValue(variable, row));
      if (lamp) value.parentElement.dataset.on = row.number ? "on" : "off";
    },
  };
}

function toggle(variable, send) {
  const word = el("span", { class: "value" });
  const button = el(
    "button",
    { type: "button", role: "switch", class: "switch", "aria-label": variable.name, "aria-checked": "false", click: press },
    el("span", { class: "knob" }),
  );
  function press() {
    send(button.getAttribute("aria-checked") === "true" ? "false" : "true");
  }
  return {
    element: el("span", { class: "reading" }, button, word),
    show(row) {
      button.setAttribute("aria-checked", row.number ? "true" : "false");
      setText(word, shownValue(variable, row));
    },
  };
}

function menu(variable, send) {
  const unknown = el("option", { hidden: true });
  const select = el(
    "select",
    { "aria-label": variable.name, change: () => send(select.value) },
    unknown,
    ...variable.choices.map((name) => el("option", { value: name }, name)),
  );
  return {
    element: el("span", { class: "reading" }, select),
    show(row) {
      const text = shownValue(variable, row);
      if (!variable.choices.includes(text)) {
        setText(unknown, text);
        unknown.value = text;
      }
      if (select.value !== text) select.value = text; // a menu that is open stays as it is
    },
  };
}

function flags(variable, send) {
  const set = new Set();
  const buttons = new Map(variable.choices.map((name) => [name, flag(name)]));
  function flag(name) {
    return el("button", { type: "button", class: "flag", "aria-pressed": "false", click: () => press(name) }, name);
  }
  function press(name) {
    const now = new Set(set);
    if (!now.delete(name)) now.add(name);
    send(now.size ? [...now].join("|") : "0");
  }
  return {
    element: el("span", { class: "reading flags", role: "group", "aria-label": variable.name }, ...buttons.values()),
    show(row) {
      set.clear();
      for (const name of row.text.split("|")) if (buttons.has(name)) set.add(name);
      for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(set.has(name)));
    },
  };
}

function field(variable, send) {
  const value = el("span", { class: "value" });
  const open = el("button", { type: "button", class: "edit", click: begin }, value, unitOf(variable), icon("pencil"));
  const box = el("span", { class: "reading" }, open);
  const hintId = `hint-${variable.name}`;
  let waits = false;
  let input;

  function begin() {
    input = el("input", {
      type: "text",
      value: value.textContent === "—" ? "" : value.textContent,
      "aria-label": `New value of ${variable.name}${variable.unit ? ` in ${variable.unit}` : ""}`,
      "aria-describedby": hintId,
      inputmode: variable.plots ? "decimal" : false,
      autocomplete: "off",
      spellcheck: "false",
      keydown: (event) => event.key === "Escape" && end(),
    });
    const form = el(
      "form",
      { class: "editing", submit },
      input,
      el("button", { type: "submit", class: "primary" }, "Set"),
      el("button", { type: "button", click: end }, "Cancel"),
      el("span", { class: "hint quiet", id: hintId }, variable.hint),
    );
    box.replaceChildren(form);
    input.select();
  }

  function submit(event) {
    event.preventDefault();
    input.removeAttribute("aria-invalid");
    waits = true;
    send(input.value.trim());
  }

  function end() {
    const had = box.contains(document.activeElement);
    waits = false;
    box.replaceChildren(open);
    if (had) open.focus();
  }

  return {
    element: box,
    show(row) {
      setText(value, shownValue(variable, row));
      open.setAttribute("aria-label", `${variable.name}: ${value.textContent} ${variable.unit}, change it`);
    },
    /** It stays open while what was typed is not what the variable takes. */
    told(fate) {
      if (!waits || fate === "sending") return;
      waits = false;
      if (fate !== "invalid") return end();
      input.setAttribute("aria-invalid", "true");
      input.focus();
    },
  };
}
