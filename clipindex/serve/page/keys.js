// The keys that work wherever nothing is typed into a field.

import { byId, copy, isTyping } from "./dom.js";

/** `page`: results, detail, drawer, and what keys do: step(by), similar(hit), closeDetail(). */
export function listenForKeys(page) {
  const plain = {
    "/": () => focusQuery(),
    "?": () => byId("help").showModal(),
    f: () => page.drawer.toggle(),
    m: () => withHit(page, (hit) => page.similar(hit)),
    c: () => withHit(page, (hit) => copy(hit.path)),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event)) {
      if (event.target === byId("query")) leaveQuery(event, page);
      return;
    }
    if (page.detail.isOpen) inDetail(event, page, plain);
    else if (!document.querySelector("dialog:modal")) inPage(event, page, plain);
  });
}

function focusQuery() {
  const query = byId("query");
  scrollTo({ top: scrollY }); // an inert scroll: the field is always in sight
  query.focus();
  query.select();
}

function withHit(page, act) {
  const hit = page.detail.isOpen ? page.detail.hit : page.focusedHit();
  if (hit?.path) act(hit);
}

function leaveQuery(event, page) {
  if (event.key === "Escape" || (event.key === "ArrowDown" && page.results.hits.length)) {
    event.preventDefault();
    event.target.blur();
    page.results.focus();
  }
}

function inDetail(event, page, plain) {
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (steps[event.key]) {
    event.preventDefault();
    page.step(steps[event.key]);
  } else if (event.key === "m" || event.key === "c") {
    plain[event.key]();
  }
}

function inPage(event, page, plain) {
  if (event.key === "Escape" && page.drawer.isOpen) page.drawer.close();
  else if (event.target.closest?.("#filters")) return;
  else if (plain[event.key]) {
    event.preventDefault();
    plain[event.key]();
  } else if (page.focusedHit() || event.target === document.body || event.target === byId("hits")) {
    const next = page.focusedHit() ? page.results.next(event.key) : ["ArrowRight", "ArrowDown"].includes(event.key) && !scrolls() ? 0 : null;
    if (next === null) return;
    event.preventDefault();
    page.results.focus(next);
  }
}

/** Whether the arrow keys already move the page: then they are left to it. */
function scrolls() {
  return scrollY > 0;
}
