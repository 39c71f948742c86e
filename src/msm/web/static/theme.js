// Light or dark: as the system says, until somebody chooses. Not a module: it runs before the page is drawn.
"use strict";

const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),

  get dark() {
    const chosen = localStorage.getItem("msm-theme");
    return chosen ? chosen === "dark" : theme.system.matches;
  },

  show() {
    document.documentElement.dataset.theme = theme.dark ? "dark" : "light";
    document.dispatchEvent(new Event("theme"));
  },

  toggle() {
    localStorage.setItem("msm-theme", theme.dark ? "light" : "dark");
    theme.show();
  },
};

theme.system.addEventListener("change", theme.show);
theme.show();
window.theme = theme;
