// The pictures on the page: their elements, which one has the focus, and the next page of them
// when the reader comes near the end.

import { button, byId, icon, make } from "./dom.js";
import { CAPTION, measures, ratioOf, rowsOf, vertical } from "./grid.js";
import { similarity } from "./words.js";

const SIDES = [160, 320, 640, 1280]; // of thumbnails
const AHEAD = "1500px"; // below the window, the next page is fetched
const AT_ONCE = 6; // pictures that are loaded before the others
const FEW = 40; // of so many the reader has hardly seen the first
const PAUSE = 300; // milliseconds

const list = byId("hits");
const end = byId("end");

export class Results {
  /** `actions`: open(hit), similar(hit), more(): the next page is wanted, address(hit). */
  constructor(actions) {
    this.actions = actions;
    this.clear();
    new ResizeObserver(() => this.layOut()).observe(list);
    this.watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && actions.more(), { rootMargin: AHEAD });
    list.addEventListener("focusin", (event) => this.focused(event.target.closest("li")));
    list.addEventListener("click", (event) => this.clicked(event));
    list.addEventListener("dragstart", (event) => this.dragged(event));
  }

  clear() {
    for (const picture of list.querySelectorAll("img")) if (!picture.complete) picture.removeAttribute("src"); // or it is loaded to its end
    this.hits = [];
    this.items = [];
    this.ratios = [];
    this.rows = [];
    this.current = 0;
    this.width = 0;
    list.replaceChildren();
    list.style.removeProperty("min-height");
  }

  /** Show further hits; those that are shown already are left out. Returns how many are new. */
  add(hits) {
    const shown = new Set(this.hits.map((hit) => hit.id));
    const fresh = hits.filter((hit) => !shown.has(hit.id));
    const start = this.hits.length;
    this.hits.push(...fresh);
    this.ratios.push(...fresh.map(ratioOf));
    const items = fresh.map((hit, index) => this.item(hit, start + index));
    this.items.push(...items);
    list.append(...items);
    this.layOut(this.rows.at(-1)?.full === false ? this.rows.at(-1).first : start);
    return fresh.length;
  }

  item(hit, index) {
    const words = [hit.name, hit.group !== null && hit.group !== undefined ? `${hit.group}` : "", hit.fits === false ? "weak" : ""];
    const picture = make("img", { alt: "", decoding: "async", ...(index < AT_ONCE ? { fetchpriority: "high" } : { loading: "lazy" }) });
    const link = make("a", { class: "open", href: this.actions.address(hit), tabindex: index === this.current ? 0 : -1,
      "aria-label": `${words.filter(Boolean).join(", ")}, similarity ${similarity(hit.similarity)}` }, picture);
    const similar = button(icon("similar"), undefined, { class: "round similar", title: "More like this", tabindex: -1,
      "aria-label": `More like ${hit.name}` });
    const caption = make("p", { class: "caption", "aria-hidden": "true" },
      make("span", { class: "title", title: hit.path }, hit.group ?? hit.name),
      hit.paths.length > 1 ? make("span", { title: `${hit.paths.length} copies` }, `×${hit.paths.length}`) : null,
      hit.fits === false ? make("span", { class: "weak" }, "weak") : null,
      make("span", { class: "score" }, similarity(hit.similarity)));
    return make("li", { data: { index }, class: hit.fits === false ? "is-weak" : null }, link, similar, caption);
  }

  /** Give each picture from `start` its size; without it all, if the page's width has changed. */
  layOut(start = null) {
    const width = Math.floor(list.getBoundingClientRect().width);
    if (!width || (start === null && width === this.width)) return;
    const from = width === this.width ? start : 0;
    this.width = width;
    this.measures = measures(width);
    const { gap } = this.measures;
    const kept = this.rows.filter((row) => row.first < from);
    const added = rowsOf(this.ratios.slice(from), width, this.measures);
    this.rows = [...kept, ...added.map((row) => ({ ...row, first: row.first + from }))];
    list.style.setProperty("--gap", `${gap}px`);
    for (const row of this.rows.slice(kept.length)) this.layOutRow(row);
  }

  layOutRow({ first, count, height }) {
    for (let index = first; index < first + count; index += 1) {
      const width = Math.floor(this.ratios[index] * height * 64) / 64 - 1 / 32; // never one too wide
      const item = this.items[index];
      const picture = item.querySelector("img");
      item.style.width = `${width}px`;
      item.style.height = `${height + CAPTION}px`;
      picture.width = Math.round(width);
      picture.height = Math.round(height);
      const address = thumbnail(this.hits[index], Math.max(width, height));
      if (picture.getAttribute("src") !== address) picture.src = address;
    }
  }

  /** Watch for the end of the list, or stop. The pictures in sight come first. */
  watch(more) {
    this.watcher.disconnect();
    clearTimeout(this.watching);
    if (more) this.watching = setTimeout(() => this.watcher.observe(end), this.hits.length > FEW ? 0 : PAUSE);
  }

  focused(item) {
    if (item) this.setCurrent(Number(item.dataset.index));
  }

  setCurrent(index) {
    this.items[this.current]?.querySelectorAll("a, button").forEach((part) => part.setAttribute("tabindex", -1));
    this.current = index;
    this.items[index]?.querySelectorAll("a, button").forEach((part) => part.setAttribute("tabindex", 0));
  }

  focus(index = this.current, { scroll = true } = {}) {
    const link = this.items[index]?.querySelector("a");
    if (!link) return;
    link.focus({ preventScroll: true });
    if (scroll) this.items[index].scrollIntoView({ block: "nearest" });
  }

  /** The index to which a key leads, or null. */
  next(key) {
    const last = this.hits.length - 1;
    const step = (by) => Math.min(last, Math.max(0, this.current + by));
    const turn = (by) => vertical(this.rows, this.ratios, this.measures.gap, this.current, by);
    const moves = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1), Home: () => 0, End: () => last };
    return last >= 0 && moves[key] ? moves[key]() : null;
  }

  clicked(event) {
    const item = event.target.closest("li");
    if (!item || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab is the browser's
    const hit = this.hits[Number(item.dataset.index)];
    if (event.target.closest(".similar")) this.actions.similar(hit);
    else if (event.target.closest("a")) {
      event.preventDefault();
      this.actions.open(hit);
    }
  }

  dragged(event) {
    const item = event.target.closest?.("li");
    if (item) event.dataTransfer.setData("text/x-clipindex", this.hits[Number(item.dataset.index)].id);
  }
}

/** The address of a thumbnail for a picture that is shown so many pixels long. */
export function thumbnail(hit, longest) {
  const wanted = longest * Math.min(2, window.devicePixelRatio || 1) * 0.85; // a little soft is not seen
  const side = SIDES.find((one) => one >= wanted) ?? SIDES.at(-1);
  return `${hit.thumbnail}?side=${side}&v=${hit.sha256.slice(0, 16)}`; // a browser keeps it for good
}
