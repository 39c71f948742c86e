// Elements, made without HTML: whatever a name or a value has in it, it is text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with its attributes; functions are listeners, false and undefined leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Change a text only where it is another one: what does not change is not drawn anew. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const PATHS = {
  pin: "M8 2.2l1.8 3.7 4 .6-2.9 2.8.7 4L8 11.4l-3.6 1.9.7-4L2.200 6.500l4-.6z",
  trend: "M1.500 11.500l4-5 3 3 6-7",
  pencil: "M2.500 13.500l.7-3 7.600-7.600 2.300 2.300-7.600 7.600z",
  close: "M4 4l8 8M12 4l-8 8",
  moon: "M13 9.800A5.500 5.500 0 0 1 6.200 3 5.500 5.500 0 1 0 13 9.800z",
  sun: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1.100 1.100M11.900 11.900L13 13M13 3l-1.100 1.100M4.100 11.900L3 13",
};

/** A small drawing beside or in place of a word; it says nothing to a screen reader. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}
