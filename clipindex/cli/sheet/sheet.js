"use strict";
const root = document.documentElement;
const filter = document.getElementById("filter");
const theme = document.getElementById("theme");
const cards = [...document.querySelectorAll(".card")];
const dark = matchMedia("(prefers-color-scheme: dark)");

// A page that was opened as a file may have no storage.
const remembered = {
  get() { try { return localStorage.getItem("clipindex-theme"); } catch { return null; } },
  set(value) { try { localStorage.setItem("clipindex-theme", value); } catch { /* not kept */ } },
};

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
}

function showTheme() {
  theme.setAttribute("aria-pressed", String(isDark()));
}

const kept = remembered.get();
if (kept === "dark" || kept === "light") root.dataset.theme = kept;
showTheme();
dark.addEventListener("change", showTheme);
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remembered.set(root.dataset.theme);
  showTheme();
});

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) {
    const path = card.dataset.path.toLowerCase();
    card.hidden = !words.every((word) => path.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".card:not([hidden])");
  }
  const any = cards.some((card) => !card.hidden);
  document.getElementById("none").hidden = any || cards.length === 0;
}
filter.addEventListener("input", applyFilter);

const middle = (box) => (box.left + box.right) / 2;

// The nearest picture in the direction of an arrow: the next one, or the one above or below.
function neighbour(from, key, links) {
  const at = links.indexOf(from);
  if (at < 0) return links[0];
  if (key === "ArrowRight") return links[at + 1];
  if (key === "ArrowLeft") return links[at - 1];
  const down = key === "ArrowDown";
  const here = from.getBoundingClientRect();
  let best, nearest = Infinity;
  for (const link of down ? links.slice(at + 1) : links.slice(0, at).reverse()) {
    const box = link.getBoundingClientRect();
    const rows = down ? box.top - here.top : here.top - box.top;
    if (rows < 1) continue;
    const distance = rows * 1000 + Math.abs(middle(box) - middle(here));
    if (distance < nearest) [best, nearest] = [link, distance];
  }
  return best;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape") {
    filter.value = "";
    applyFilter();
    if (document.activeElement === filter) filter.blur();
  } else if (document.activeElement === filter) {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    document.querySelector(".card:not([hidden]) .open")?.focus();
  } else if (event.key === "/") {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key.startsWith("Arrow")) {
    const links = [...document.querySelectorAll(".card:not([hidden]) .open")];
    const next = neighbour(document.activeElement, event.key, links);
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.closest(".card").scrollIntoView({ block: "nearest" });
  }
});
