// The filters: a drawer beside the pictures, on a phone above them. What there is to choose from
// comes from the index.

import { button, byId, make } from "./dom.js";
import { filterCount, withFilter } from "./state.js";
import { count, sentence, shortFolder } from "./words.js";

const SHOWN = 7; // values of a list; the others are a click away
const WIDE = matchMedia("(min-width: 60rem)");

const dialog = byId("filters");
const opener = byId("show-filters");
const groups = byId("filter-groups");

export class Drawer {
  /** `actions`: state() as it is, change(state), facets(): a promise of what there is. */
  constructor(actions) {
    this.actions = actions;
    this.syncs = [];
    opener.addEventListener("click", () => this.toggle());
    byId("close-filters").addEventListener("click", () => this.close());
    byId("clear-filters").addEventListener("click", () => actions.change({ ...actions.state(), filters: {}, open: "" }));
    dialog.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && this.close()); // beside it
    dialog.addEventListener("close", () => this.closed());
    WIDE.addEventListener("change", () => this.close());
  }

  get isOpen() {
    return dialog.open;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  async open() {
    if (WIDE.matches) dialog.show();
    else dialog.showModal();
    document.body.classList.add("has-drawer");
    opener.setAttribute("aria-expanded", "true");
    if (!this.syncs.length) groups.replaceChildren(make("p", { class: "soft" }, "Reading what there is …"));
    try {
      this.build(await this.actions.facets());
    } catch (problem) {
      if (!this.syncs.length) groups.replaceChildren(make("p", {}, problem.message), button("Try again", () => this.open(), { class: "solid" }));
    }
  }

  close() {
    if (dialog.open) dialog.close();
  }

  closed() {
    document.body.classList.remove("has-drawer");
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  }

  /** Show which filters are set. */
  sync() {
    const number = filterCount(this.actions.state());
    const badge = opener.querySelector(".count");
    badge.hidden = number === 0;
    badge.textContent = number;
    byId("clear-filters").hidden = number === 0;
    for (const sync of this.syncs) sync(this.actions.state().filters);
  }

  build(facets) {
    if (facets === this.facets) return this.sync();
    this.facets = facets;
    this.syncs = [];
    const counted = (values, words, write = String) => values.map(([value, number]) => ({ value: write(value), words: words(value), number }));
    groups.replaceChildren(...[
      this.dates(facets.taken),
      this.list("Folder", "under", counted(facets.folders, shortFolder)),
      ...Object.entries(facets.tags).map(([key, values]) => this.labels(key, values)),
      this.list("Camera", "camera", counted(facets.cameras, String)),
      this.list("Type", "type", counted(facets.types, String, (type) => type.toLowerCase())),
      this.list("Orientation", "orientation", ["landscape", "portrait", "square"].map((value) => ({ value, words: sentence(value) }))),
      this.fields("Place", [["near", "Near", "48.858, 2.294"], ["within", "Within", "1km"]], "Latitude and longitude in degrees"),
      this.fields("At least", [["min_size", "Size", "1920x1080 or 2MB"], ["min_score", "Similarity", "0.25"], ["min_z", "z", "3"]]),
      this.condition(),
      this.switches(),
    ].filter(Boolean));
    return this.sync();
  }

  group(title, ...content) {
    return make("fieldset", {}, make("legend", {}, title), ...content);
  }

  /** A group of values of which several may be chosen; null where there is none. */
  list(title, name, values) {
    if (!values.length) return null;
    const chosen = (value) => (this.actions.state().filters[name] ?? []).includes(value);
    return this.group(title, ...folded(values.map((one) => this.check(one, () => chosen(one.value), () => this.flip(name, one.value)))));
  }

  /** The values of a tag or of metadata, each of which may be asked for or excluded. */
  labels(key, values) {
    if (!values.length) return null;
    const has = (name, value) => (this.actions.state().filters[name] ?? []).includes(value);
    const rows = values.map(([value, number]) => {
      const wanted = `${key}=${value}`;
      const words = value === "" ? "(empty)" : String(value);
      const line = this.check({ words, number }, () => has("where", wanted), () => this.flip("where", wanted));
      const without = button("not", () => this.flip("where_not", wanted), { class: "link not", "aria-label": `not ${key} ${words}` });
      this.syncs.push(() => without.setAttribute("aria-pressed", has("where_not", wanted)));
      return make("div", { class: "pair" }, line, without);
    });
    return this.group(key, ...folded(rows));
  }

  check({ value, words, number }, isSet, flip) {
    const box = make("input", { type: "checkbox", onchange: flip });
    this.syncs.push(() => { box.checked = isSet(); });
    return make("label", { class: "check", title: value }, box, make("span", { class: "words" }, words),
      number === undefined ? null : make("span", { class: "number" }, number.toLocaleString("en")));
  }

  flip(name, value) {
    const state = this.actions.state();
    const before = state.filters[name] ?? [];
    this.actions.change(withFilter(state, name, before.includes(value) ? before.filter((one) => one !== value) : [...before, value]));
  }

  dates(taken) {
    if (!taken) return null;
    const [first, last] = taken.map((text) => text.slice(0, 10));
    return this.fields("Date taken", [["taken", "In", last.slice(0, 4)], ["after", "Since", first], ["before", "Before", last]],
      "A year, a month or a day: 2024, 2024-06, 2024-06-12");
  }

  /** Fields of one value each: [[name, words, example]]. */
  fields(title, rows, hint = null) {
    const lines = rows.map(([name, words, example]) => {
      const input = make("input", { type: "text", placeholder: example, autocomplete: "off", spellcheck: "false",
        onchange: () => this.actions.change(withFilter(this.actions.state(), name, input.value.replaceAll(" ", ""))) });
      this.syncs.push((filters) => { if (input !== document.activeElement || filters[name]) input.value = filters[name] ?? ""; });
      input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());
      return make("label", { class: "entry" }, make("span", {}, words), input);
    });
    return this.group(title, ...lines, hint && make("p", { class: "soft" }, hint));
  }

  condition() {
    const input = make("input", { type: "text", placeholder: "price<50", autocomplete: "off", spellcheck: "false" });
    const add = () => {
      const text = input.value.trim();
      input.value = "";
      if (text) this.flip("where", text);
    };
    input.addEventListener("keydown", (event) => event.key === "Enter" && add());
    return this.group("Tag or metadata", make("div", { class: "entry" },
      make("label", {}, make("span", {}, "Condition"), input), button("Add", add, { class: "link" })));
  }

  switches() {
    const words = { copies: "Show each copy of a picture", exclude_self: "Leave out the pictures searched with", ensemble: "Put short texts into several sentences" };
    const set = (name) => Boolean(this.actions.state().filters[name]);
    return this.group("More", ...Object.entries(words).map(([name, text]) =>
      this.check({ words: text }, () => set(name), () => this.actions.change(withFilter(this.actions.state(), name, !set(name))))));
  }
}

function folded(rows) {
  if (rows.length <= SHOWN + 1) return rows;
  const rest = rows.slice(SHOWN);
  return [...rows.slice(0, SHOWN), make("details", {}, make("summary", {}, count(rest.length, "more", "more")), ...rest)];
}
