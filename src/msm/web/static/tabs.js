// Tabs: by click, by the arrow keys, and by the address.

const tabs = [...document.querySelectorAll("[role=tab]")];

/** @param shown called when another tab is shown. */
export function startTabs(shown) {
  function show(tab, { focus = false } = {}) {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    history.replaceState(null, "", `#${tab.id.replace("tab-", "")}`);
    shown(tab.id.replace("tab-", ""));
  }

  for (const [at, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(tabs[(at + step + tabs.length) % tabs.length], { focus: true });
    });
  }
  const wanted = tabs.find((tab) => `#${tab.id.replace("tab-", "")}` === location.hash);
  if (wanted) show(wanted);
}
