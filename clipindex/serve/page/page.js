// The page: one state, kept in the address, and the parts that show it.

import { drawChips, listenForTerms } from "./chips.js";
import { Detail } from "./detail.js";
import { byId } from "./dom.js";
import { Drawer } from "./drawer.js";
import { listen } from "./dropped.js";
import { listenForKeys } from "./keys.js";
import { Results } from "./results.js";
import { Search } from "./search.js";
import { facets, point } from "./service.js";
import { addressOf, identityOf, mainText, read, term, textTerm, withFilter, withText } from "./state.js";
import { count } from "./words.js";

const FACETS_LAST = 60_000; // milliseconds; an ingest may add some meanwhile
const NEAR = "10km";

const query = byId("query");
const names = new Map(); // id -> a promise of the picture's name

let state = read(location.search);
let knownFacets = { time: -FACETS_LAST, promise: null };

const results = new Results({
  open: (hit) => go({ ...state, open: hit.id }),
  similar,
  more: () => searching.more(),
  address: (hit) => addressOf({ ...state, open: hit.id }),
});
const searching = new Search(results, (next) => go(next));
const detail = new Detail({
  close: closeDetail,
  step,
  similar,
  add: (hit, sign) => addTerms([term("like", hit.id, { sign })]),
  filter: (name, value) => go(withFilter(state, name, [...new Set([...(state.filters[name] ?? []), value])])),
  near: ({ lat, lon }) => go({ ...withFilter(withFilter(state, "near", `${lat},${lon}`), "within", NEAR) }),
});
const drawer = new Drawer({ state: () => state, change: (next) => go(next), facets: latestFacets });

// --- the state and the address

/** Go to another state; the reader can come back. */
function go(next) {
  noteWhere();
  const isSame = addressOf(next) === addressOf(state);
  const opens = next.open && !state.open;
  state = next;
  history[isSame ? "replaceState" : "pushState"]({ opened: Boolean(opens) }, "", addressOf(state));
  draw();
}

/** Note how far the reader is, for the way back and for a reload. */
function noteWhere() {
  searching.remember();
  history.replaceState({ ...history.state, scroll: scrollY, shown: results.hits.length }, "");
}

addEventListener("popstate", () => {
  searching.remember();
  state = read(location.search);
  draw(history.state ?? {});
});
addEventListener("scrollend", noteWhere);

function draw(back = null) {
  const hasTerms = state.terms.length > 0;
  if (document.activeElement !== query || back) query.value = mainText(state);
  byId("clear").hidden = !query.value;
  byId("sort").value = state.sort;
  drawGroups();
  drawChips(state, { change: go, nameOf });
  drawer.sync();
  document.documentElement.classList.toggle("is-start", !hasTerms);
  document.title = hasTerms ? `${mainText(state) || "Pictures like this"} – clipindex` : "clipindex";
  if (hasTerms) searching.run(state, back).then(drawDetail);
  else searching.clear();
  drawDetail();
}

function drawDetail() {
  const index = results.hits.findIndex((hit) => hit.id === state.open);
  if (state.open) {
    if (index >= 0) results.setCurrent(index);
    const hit = results.hits[index] ?? { id: state.open };
    detail.show(hit, { isFirst: index <= 0, isLast: index < 0 || index === results.hits.length - 1 });
  } else if (detail.isOpen) {
    const { current } = results; // a dialog that closes gives the focus back to where it was
    detail.hide();
    results.focus(current);
  }
}

// --- what a reader does

function similar(hit) {
  names.set(hit.id, Promise.resolve(hit.name));
  go({ ...state, terms: [term("like", hit.id)], open: "" });
  query.value = "";
  byId("clear").hidden = true;
}

function addTerms(terms) {
  go({ ...state, terms: [...state.terms, ...terms], open: "" });
}

function closeDetail() {
  if (history.state?.opened) return history.back();
  state = { ...state, open: "" };
  history.replaceState({ ...history.state, opened: false }, "", addressOf(state));
  return draw();
}

/** The picture before or after the one that is open. */
function step(by) {
  const index = results.hits.findIndex((hit) => hit.id === state.open);
  const hit = index < 0 ? null : results.hits[index + by];
  if (!hit) return;
  state = { ...state, open: hit.id };
  history.replaceState(history.state, "", addressOf(state));
  if (index + by > results.hits.length - 5) searching.more().then(drawDetail);
  drawDetail();
}

function focusedHit() {
  const item = document.activeElement?.closest("#hits li");
  return item ? results.hits[Number(item.dataset.index)] : null;
}

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const next = withText(state, query.value.trim());
  if (identityOf(next) === identityOf(state) && next.terms.length) return searching.rerun();
  return go(next);
});
query.addEventListener("input", () => { byId("clear").hidden = !query.value; });
byId("clear").addEventListener("click", () => {
  query.value = "";
  byId("clear").hidden = true;
  query.focus();
});
document.querySelector("header .name").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(read(""));
  query.value = "";
  query.focus();
});
byId("sort").addEventListener("change", (event) => go({ ...state, sort: event.target.value, most: 0 }));
byId("group").addEventListener("change", (event) => go({ ...state, group: event.target.value }));
byId("show-help").addEventListener("click", () => byId("help").showModal());
listenForTerms((text, sign) => addTerms([textTerm(text, sign)]));
listen({
  searchWith: (keys) => {
    query.value = "";
    go({ ...state, terms: keys.map((key) => term("image", key)), open: "" });
  },
  searchLike: (id) => similar(results.hits.find((hit) => hit.id === id) ?? { id, name: "this picture" }),
});
listenForKeys({ results, detail, drawer, similar, step, focusedHit });

// --- what the index has

function nameOf(id) {
  const known = results.hits.find((hit) => hit.id === id);
  if (!names.has(id)) names.set(id, known ? Promise.resolve(known.name) : point(id).then((found) => found.name));
  return names.get(id);
}

function latestFacets() {
  if (performance.now() - knownFacets.time > FACETS_LAST) {
    const promise = facets();
    knownFacets = { time: performance.now(), promise };
    promise.then((found) => { knownFacets.keys = Object.keys(found.tags); drawGroups(); },
      () => { knownFacets.time = -FACETS_LAST; });
  }
  return knownFacets.promise;
}

function drawGroups() {
  const select = byId("group");
  const keys = [...new Set([...(knownFacets.keys ?? []), state.group].filter(Boolean))];
  if (keys.join() !== [...select.options].slice(1).map((one) => one.value).join()) {
    select.replaceChildren(select.options[0], ...keys.map((key) => new Option(key, key)));
  }
  select.value = state.group;
}

history.scrollRestoration = "manual";
draw(history.state ?? {});
if (document.documentElement.classList.contains("is-start")) query.focus();
latestFacets().then(({ points, collection, model }) => {
  byId("collection").textContent = `${count(points, "picture")} in ${collection}, seen by ${model}`;
}, () => {});
