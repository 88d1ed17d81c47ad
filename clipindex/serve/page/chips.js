// Everything of a search beside the text in its field: further terms, pictures and filters, each
// a chip that can be taken away.

import { button, byId, icon, make } from "./dom.js";
import { keptPicture } from "./dropped.js";
import { mainTerm, withFilter } from "./state.js";
import { filterWords } from "./words.js";

const WEIGHTS = [1, 2, 3, 0.5];
const LOST = "This picture is not in this browser; drop it again";

const row = byId("chips");
const list = byId("chip-list");

/** Draw the chips of a state. `change` gets the state that a click leads to, `nameOf` the name of
 *  an indexed picture by its id. */
export function drawChips(state, { change, nameOf }) {
  const main = mainTerm(state);
  const further = state.terms.filter((one) => one !== main);
  const filters = Object.entries(state.filters).filter(([name]) => name !== "within");
  list.replaceChildren(
    ...further.map((one) => termChip(one, state, change, nameOf)),
    ...filters.flatMap(([name, value]) => [value].flat().map((part) => filterChip(name, part, state, change))));
  row.hidden = state.terms.length === 0 && filters.length === 0;
}

function termChip(one, state, change, nameOf) {
  const replaced = (part) => change({ ...state, open: "", terms: state.terms.flatMap((other) => (other === one ? part : [other])) });
  const chip = make("li", { class: `chip term${one.sign < 0 ? " is-minus" : ""}` });
  const label = make("span", { class: "words" });
  const say = (words) => {
    label.textContent = words;
    remove.setAttribute("aria-label", `Take away: ${words}`);
  };
  const remove = button(icon("close"), () => replaced([]), { class: "plain" });
  if (state.terms.length > 1 && one.kind !== "image") {
    const sign = one.sign > 0 ? "+" : "−";
    chip.append(button(sign, () => replaced([{ ...one, sign: -one.sign }]), {
      class: "plain sign", title: one.sign > 0 ? "Subtract it instead" : "Add it instead",
      "aria-label": one.sign > 0 ? "Added; subtract it instead" : "Subtracted; add it instead" }));
  }
  if (one.kind === "text") say(one.value);
  else pictureChip(one, chip, say, nameOf);
  chip.append(label);
  if (state.terms.length > 1 && one.kind !== "image") {
    const next = WEIGHTS[(WEIGHTS.indexOf(one.weight) + 1) % WEIGHTS.length];
    const words = one.weight === 0.5 ? "½" : `${one.weight}`;
    chip.append(button(`×${words}`, () => replaced([{ ...one, weight: next }]), {
      class: "plain weight", title: "How much it counts: once, twice, three times, half", "aria-label": `Counts ${words} times; change` }));
  }
  chip.append(remove);
  return chip;
}

function pictureChip(one, chip, say, nameOf) {
  const picture = make("img", { alt: "", width: 28, height: 28 });
  picture.addEventListener("error", () => picture.replaceWith(icon("picture"))); // no browser shows HEIC
  chip.append(picture);
  say(one.kind === "like" ? "this picture" : "your picture");
  if (one.kind === "like") {
    picture.src = `/thumb/${encodeURIComponent(one.value)}?side=160`;
    nameOf(one.value).then(say, () => {});
    return;
  }
  keptPicture(one.value).then((kept) => {
    if (kept) picture.src = kept.address;
    else picture.replaceWith(icon("picture"));
    say(kept ? kept.name : LOST);
  });
}

function filterChip(name, value, state, change) {
  const words = filterWords(name, value, state.filters);
  const without = Array.isArray(state.filters[name]) ? state.filters[name].filter((other) => other !== value) : null;
  return make("li", { class: "chip filter" },
    make("span", { class: "words", title: typeof value === "string" ? value : null }, words),
    button(icon("close"), () => change(withFilter(state, name, without)), { class: "plain", "aria-label": `Remove the filter: ${words}` }));
}

/** The small field in which a further term is typed; `add` gets the text and its sign. */
export function listenForTerms(add) {
  const form = byId("term-form");
  const input = form.querySelector("input");
  let sign = 1;
  const close = (focus) => {
    form.hidden = true;
    input.value = "";
    if (focus) byId(sign > 0 ? "add-term" : "subtract-term").focus();
  };
  const open = (chosen) => {
    sign = chosen;
    form.querySelector(".sign").textContent = sign > 0 ? "+" : "−";
    input.setAttribute("aria-label", sign > 0 ? "Term to add" : "Term to subtract");
    form.hidden = false;
    input.focus();
  };
  byId("add-term").addEventListener("click", () => open(1));
  byId("subtract-term").addEventListener("click", () => open(-1));
  input.addEventListener("blur", () => input.value.trim() || close(false));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close(true);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    close(true);
    if (text) add(text, sign);
  });
}
