// The last minutes of the variables that are drawn: first what the server remembers, then what comes.

import { model } from "./model.js";

export const SPAN = 300; // seconds
const kept = new Map(); // name -> {times, numbers}
const NONE = { times: [], numbers: [] };

/** Keep the samples of these variables, and of no other. */
export async function follow(names) {
  for (const name of kept.keys()) if (!names.includes(name)) kept.delete(name);
  const missing = names.filter((name) => !kept.has(name));
  for (const name of missing) kept.set(name, { times: [], numbers: [] });
  for (let at = 0; at < missing.length; at += 16) await remember(missing.slice(at, at + 16));
}

/** Ask anew for all of them: something was missed. */
export function refollow() {
  const names = [...kept.keys()];
  kept.clear();
  return follow(names);
}

async function remember(names) {
  const query = names.map((name) => `name=${encodeURIComponent(name)}`).join("&");
  try {
    const answer = await fetch(`/trends?${query}`);
    if (!answer.ok) return;
    const { times, numbers } = await answer.json();
    for (const name of names) {
      const since = kept.get(name);
      if (!since) continue;
      const newer = since.times.findIndex((time) => time > (times.at(-1) ?? 0));
      const rest = newer < 0 ? since.times.length : newer;
      since.times = [...times, ...since.times.slice(rest)];
      since.numbers = [...numbers[name], ...since.numbers.slice(rest)];
    }
  } catch {
    // the server is gone: the page says so, and asks again when it is back
  }
}

/** Note what the variables are now. */
export function sample() {
  const now = model.now();
  for (const [name, { times, numbers }] of kept) {
    const row = model.rows.get(name);
    const fresh = row && (row.quality === "good" || row.quality === "own");
    times.push(now);
    numbers.push(fresh ? row.number : null);
    const old = times.findIndex((time) => time > now - SPAN);
    times.splice(0, old);
    numbers.splice(0, old);
  }
}

/** The samples of a variable. */
export function samples(name) {
  return kept.get(name) ?? NONE;
}
