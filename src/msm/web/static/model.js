// What the page knows: variables, their values, the link, and what became of what was set.

const TIMEOUT = 20000; // milliseconds after which a fate that nobody told is not waited for any more
const UNDECIDED = ["sending", "pending"];
const BITS = ["bool", "coil", "discrete"];

export const model = {
  title: "",
  readOnly: false,
  variables: new Map(), // name -> what it is
  rows: new Map(), // name -> {text, number, quality, error}
  read: new Map(), // name -> when it was read from the device, in seconds of the server
  link: {},
  connected: false,
  writes: new Map(), // name -> {id, fate, cause}, the last one of each variable
  offset: 0, // seconds that the server's clock is ahead

  /** The server's time, in seconds since 1970. */
  now() {
    return Date.now() / 1000 + model.offset;
  },

  /** Take in a message; tells what of it is new. */
  take(news) {
    model.offset = news.now - Date.now() / 1000;
    if ("read_only" in news) model.readOnly = news.read_only;
    if (news.variables) {
      model.title = news.title;
      model.variables = new Map(news.variables.map((variable) => [variable.name, variable]));
      model.rows = new Map([...model.rows].filter(([name]) => model.variables.has(name)));
    }
    for (const [name, [text, number, quality, error]] of Object.entries(news.rows)) {
      model.rows.set(name, { text, number, quality, error });
    }
    if (news.link) model.link = news.link;
    if (news.read) model.read = new Map([...model.variables.keys()].map((name, at) => [name, news.read[at]]));
    for (const write of news.writes ?? []) {
      if (model.writes.get(write.name)?.id === write.id) model.writes.set(write.name, write);
    }
    return {
      variables: Boolean(news.variables),
      rows: Object.keys(news.rows),
      writes: (news.writes ?? []).map((write) => write.name),
    };
  },

  /** The server is gone, and with it whatever was to be told of these writes. */
  forgetPending() {
    for (const [name, write] of model.writes) {
      if (UNDECIDED.includes(write.fate)) {
        model.writes.set(name, { ...write, fate: "unknown", cause: "the server was lost before it told" });
      }
    }
  },
};

let number = 0;

/** Set a variable. Its fate comes later, in `model.writes`. */
export function set(link, name, to) {
  number += 1;
  const id = number;
  const sent = link.send({ id, set: name, to: String(to) });
  const cause = sent ? "" : "the server does not answer";
  model.writes.set(name, { id, name, fate: sent ? "sending" : "invalid", cause });
  if (sent) setTimeout(() => giveUp(name, id), TIMEOUT);
}

function giveUp(name, id) {
  const write = model.writes.get(name);
  if (write?.id === id && UNDECIDED.includes(write.fate)) {
    model.writes.set(name, { ...write, fate: "unknown", cause: "its fate was never told" });
  }
}

/** What a person reads: nothing where no value has ever come. */
export function shownValue(variable, row) {
  const never = row.quality === "never" || (row.quality === "bad" && !model.read.get(variable.name));
  if (never && variable.access !== "wo") return "—";
  return isBit(variable) ? (row.number ? "on" : "off") : row.text;
}

/** Is it a single bit? */
export function isBit(variable) {
  return BITS.includes(variable.type);
}

/** How long ago a variable was read, in words. */
export function age(name) {
  const at = model.read.get(name);
  if (!at) return "";
  const seconds = Math.max(0, model.now() - at);
  if (seconds < 2) return "now";
  if (seconds < 100) return `${Math.round(seconds)} s ago`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}
