// A search from its question to the pictures on the page, and what is said on the way.

import { button, byId, make } from "./dom.js";
import { keptPicture } from "./dropped.js";
import { search } from "./service.js";
import { SORTED_AT_ONCE, MOST_SORTED, identityOf } from "./state.js";
import { count, sentence } from "./words.js";

const AT_ONCE = 30;
const MOST_AT_ONCE = 300; // after a reload, far down the list
const REMEMBERED = 12; // searches whose pictures are shown at once when the reader comes back
const SOON = 250; // milliseconds until a search is said to be under way
const TRIES = 4; // while the index is busy

const status = byId("status");
const end = byId("end");
const later = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("", "AbortError")); });
});

export class Search {
  /** `results` shows the hits; `change` gets the state to which a button leads. */
  constructor(results, change) {
    this.results = results;
    this.change = change;
    this.remembered = new Map(); // identity -> {hits, answer, seconds, scroll, current}
    this.state = null;
    this.clear();
  }

  clear() {
    this.stop?.abort();
    this.identity = "";
    this.answer = null;
    this.results.clear();
    this.results.watch(false);
    this.say("");
    end.replaceChildren();
    for (const id of ["verdict", "notes", "problem", "progress"]) byId(id).hidden = true;
  }

  /** Keep what is shown for the way back. */
  remember() {
    if (!this.answer) return;
    this.remembered.delete(this.identity);
    this.remembered.set(this.identity, { hits: this.results.hits, answer: this.answer, current: this.results.current, scroll: scrollY });
    if (this.remembered.size > REMEMBERED) this.remembered.delete(this.remembered.keys().next().value);
  }

  /** Show the pictures of a state. `back`: {scroll, shown} where the reader was here before. */
  async run(state, back = null) {
    const identity = identityOf(state);
    if (identity === this.identity && this.answer) return;
    this.remember();
    this.stop?.abort();
    this.state = state;
    this.identity = identity;
    this.answer = null;
    const known = back && this.remembered.get(identity);
    if (known) {
      this.show(known.answer, known.hits);
      this.results.setCurrent(known.current);
      scrollTo({ top: known.scroll, behavior: "instant" });
      return;
    }
    const answer = await this.ask({ limit: this.firstLimit(back), offset: 0 });
    if (!answer) return;
    this.show(answer, answer.results);
    scrollTo({ top: back?.scroll ?? 0, behavior: "instant" });
  }

  /** The next page, when the reader comes near the end of this one. */
  async more() {
    if (!this.answer?.more || this.isAsking || this.state.sort !== "score") return;
    const answer = await this.ask({ limit: AT_ONCE, offset: this.offset });
    if (!answer) return;
    this.answer = { ...this.answer, more: answer.more && answer.results.length > 0 };
    this.offset += answer.results.length;
    this.results.add(answer.results);
    this.sayCount();
    this.sayEnd();
    this.results.watch(this.answer.more); // a new look, in case the end is in sight still
  }

  firstLimit(back) {
    if (this.state.sort !== "score") return this.state.most || SORTED_AT_ONCE;
    return Math.max(AT_ONCE, Math.min(MOST_AT_ONCE, back?.shown ?? 0));
  }

  /** A page of the answer; null where another search has begun, or where it failed and that is
   *  said. While the index is busy it is asked again. */
  async ask({ limit, offset }) {
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.isAsking = true;
    byId("problem").hidden = true;
    byId("hits").setAttribute("aria-busy", "true");
    const soon = setTimeout(() => this.progress(true, offset === 0), SOON);
    try {
      const pictures = await this.pictures();
      if (!pictures) return null;
      for (let tries = 1; ; tries += 1) {
        try {
          return await search(this.state, { limit, offset, pictures, signal });
        } catch (problem) {
          if (!problem.isPassing || tries === TRIES) throw problem;
          this.say(`${problem.message}. Trying again …`);
          await later(1000 * Math.max(problem.wait, tries), signal);
        }
      }
    } catch (problem) {
      if (problem.name !== "AbortError" && !signal.aborted) this.fail(problem, offset);
      return null;
    } finally {
      clearTimeout(soon);
      if (this.stop.signal === signal) {
        this.isAsking = false;
        this.progress(false);
        byId("hits").setAttribute("aria-busy", "false");
      }
    }
  }

  /** The user's own pictures among the terms; null where one is not in this browser. */
  async pictures() {
    const images = this.state.terms.filter((one) => one.kind === "image");
    const pictures = await Promise.all(images.map((one) => keptPicture(one.value)));
    if (pictures.every(Boolean)) return pictures;
    this.results.clear();
    this.complain("This search has a picture that is not in this browser.",
      "A link carries no pictures. Drop the picture again, or take its chip away.", []);
    return null;
  }

  show(answer, hits) {
    this.answer = { ...answer, results: undefined };
    this.offset = hits.length;
    this.results.clear();
    this.results.add(hits);
    byId("hits").classList.toggle("none-fits", answer.nothing_fits === true);
    this.sayVerdict();
    this.sayNotes();
    this.sayCount();
    this.sayEnd();
    byId("problem").hidden = true;
    this.results.watch(this.answer.more);
  }

  progress(shown, isNew = false) {
    byId("progress").hidden = !shown;
    document.body.classList.toggle("is-asking", shown && isNew);
    if (shown && isNew) this.say("Searching …");
  }

  say(words) {
    if (status.textContent !== words) status.textContent = words;
  }

  sayCount() {
    const number = this.results.hits.length;
    const words = { score: "", taken: ", by date", path: ", by folder and name" }[this.state.sort];
    const seconds = typeof this.answer.seconds === "number" ? ` in ${this.answer.seconds.toFixed(2)} s` : "";
    this.say(number ? `${this.answer.more ? "The best " : ""}${count(number, "picture")}${words}${seconds}` : "Nothing found");
  }

  /** Whether anything fits, in the shell's words. */
  sayVerdict() {
    const { nothing_fits: nothing, best_z: best } = this.answer;
    const box = byId("verdict");
    box.hidden = nothing !== true;
    const score = typeof best === "number" ? `: best z ${best.toFixed(1)}` : "";
    const rest = this.results.hits.length ? "These are the nearest pictures all the same." : "";
    box.replaceChildren(make("strong", {}, `Nothing fits${score}`), rest && make("span", {}, rest));
  }

  sayNotes() {
    const notes = this.answer.notes ?? [];
    const list = byId("notes");
    list.hidden = notes.length === 0;
    list.replaceChildren(...notes.map((note) => make("li", {}, sentence(note))));
  }

  /** What stands below the last picture. */
  sayEnd() {
    const { hits } = this.results;
    const hasFilters = Object.keys(this.state.filters).length > 0;
    end.replaceChildren();
    if (!hits.length) {
      end.append(make("p", {}, "Nothing found."));
      if (hasFilters) end.append(button("Remove the filters", () => this.change({ ...this.state, filters: {} }), { class: "solid" }));
    } else if (!this.answer.more) {
      end.append(make("p", {}, hits.length > AT_ONCE / 2 ? "These are all." : ""));
    } else if (this.state.sort !== "score" && hits.length < MOST_SORTED) {
      const most = Math.min(MOST_SORTED, hits.length * 2);
      end.append(make("p", {}, `These are the best ${hits.length}, in another order.`),
        button(`Take the best ${most}`, () => this.change({ ...this.state, most }), { class: "solid" }));
    }
  }

  fail(problem, offset) {
    const retry = button("Try again", () => (offset ? this.more() : this.rerun()), { class: "solid" });
    if (offset) {
      end.replaceChildren(make("p", {}, [problem.message, problem.hint].filter(Boolean).join(" ")), retry);
      this.results.watch(false);
      return;
    }
    this.results.clear();
    for (const id of ["verdict", "notes"]) byId(id).hidden = true;
    end.replaceChildren();
    this.complain(problem.message, problem.hint, problem.status === 0 || problem.isPassing || problem.status >= 500 ? [retry] : []);
  }

  complain(words, hint, buttons) {
    this.say("");
    byId("problem").replaceChildren(make("p", {}, make("strong", {}, words)), hint && make("p", {}, hint), ...buttons);
    byId("problem").hidden = false;
  }

  rerun() {
    this.identity = "";
    return this.run(this.state);
  }
}
