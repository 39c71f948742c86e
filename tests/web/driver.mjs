// A browser that obeys lines on standard input: {"call": "page.click", "args": ["#theme"]}, one line of answer for each.
// `node driver.mjs PROFILE`: PROFILE is a directory of its own for what the browser keeps.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const PATIENCE = 10_000; // milliseconds

const context = await chromium.launchPersistentContext(process.argv[2], {
  executablePath: "/usr/bin/chromium",
  args: FLAGS,
  viewport: { width: 1280, height: 900 },
  timezoneId: "UTC",
  locale: "en-GB",
});
context.setDefaultTimeout(PATIENCE);
const browser = { context, page: context.pages()[0], complaints: [] };

/** A fresh page, without anything that an earlier one has kept. */
browser.anew = async (width, height, colorScheme) => {
  await browser.page.close({ runBeforeUnload: false }).catch(() => {});
  await context.clearCookies();
  browser.complaints.length = 0;
  const page = await context.newPage();
  browser.page = page;
  page.on("pageerror", (error) => browser.complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && browser.complaints.push(message.text()));
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme });
};
browser.complained = () => browser.complaints;

async function obey({ call, args }) {
  const path = call.split(".");
  const method = path.pop();
  const on = path.reduce((thing, name) => thing[name], browser);
  return plain(await on[method](...args));
}

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const answer = await obey(JSON.parse(line));
    console.log(JSON.stringify({ answer }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await context.close();

/** Handles and responses of Playwright are of no use to the other end. */
function plain(answer) {
  const data = typeof answer !== "object" || Array.isArray(answer) || Object.getPrototypeOf(answer ?? {}) === Object.prototype;
  return data ? answer ?? null : null;
}
