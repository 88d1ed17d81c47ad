// One picture, large, with all that is known of it.

import { button, byId, copy, icon, make } from "./dom.js";
import { thumbnail } from "./results.js";
import { exists, point } from "./service.js";
import { bytes, count, moment, place } from "./words.js";

const LARGEST = 1280; // pixels of a thumbnail
const ENLARGED = 2; // a small picture is shown at most so many times its size

const dialog = byId("detail");
const part = (selector) => dialog.querySelector(selector);

export class Detail {
  /** `actions`: close(), step(by), similar(hit), add(hit, sign), filter(name, value), near(location). */
  constructor(actions) {
    this.actions = actions;
    this.hit = null;
    part(".close").addEventListener("click", () => actions.close());
    part(".previous").addEventListener("click", () => actions.step(-1));
    part(".next").addEventListener("click", () => actions.step(1));
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      actions.close();
    });
    part(".stage").addEventListener("click", (event) => {
      if (!event.target.closest("button, img")) actions.close();
    });
    part(".large").addEventListener("load", () => part(".frame").classList.add("is-loaded"));
    part(".large").addEventListener("error", () => this.replaceLarge());
    this.listenForSwipes();
  }

  get isOpen() {
    return dialog.open;
  }

  /** Show a hit, or with only its id a picture that is not among the hits. */
  async show(hit, { isFirst, isLast }) {
    part(".previous").disabled = isFirst;
    part(".next").disabled = isLast;
    if (!dialog.open) dialog.showModal();
    if (this.hit?.id === hit.id) return;
    this.hit = hit;
    if (hit.thumbnail) this.draw(hit);
    this.stop?.abort();
    this.stop = new AbortController();
    try {
      const known = await point(hit.id, this.stop.signal);
      if (this.hit?.id !== hit.id) return;
      const isDrawn = Boolean(hit.thumbnail);
      this.hit = { ...known, ...hit };
      if (isDrawn) this.drawFacts(this.hit);
      else this.draw(this.hit);
    } catch (problem) {
      if (problem.name !== "AbortError" && !hit.thumbnail) this.refuse(problem);
    }
  }

  hide() {
    this.stop?.abort();
    this.hit = null;
    dialog.close();
    part(".small").removeAttribute("src");
    part(".large").removeAttribute("src");
  }

  draw(hit) {
    const frame = part(".frame");
    frame.classList.remove("is-loaded");
    frame.hidden = false;
    part(".missing").hidden = true;
    frame.style.setProperty("--ratio", hit.width && hit.height ? `${hit.width} / ${hit.height}` : "4 / 3");
    frame.style.setProperty("--width", `${(hit.width || 4000) * ENLARGED}px`);
    frame.style.setProperty("--height", `${(hit.height || 4000) * ENLARGED}px`);
    part(".small").src = thumbnail(hit, 320);
    part(".large").src = `/original/${encodeURIComponent(hit.id)}`;
    part(".large").alt = hit.name;
    part("h2").textContent = hit.name;
    this.drawFacts(hit);
  }

  /** A format that this browser does not show has a large thumbnail; a file may also be gone. */
  async replaceLarge() {
    const large = part(".large");
    const address = large.getAttribute("src");
    const { hit } = this;
    if (!address || !hit) return;
    const isThere = address.startsWith("/original/") && await exists(address);
    if (this.hit !== hit) return;
    if (isThere) large.src = thumbnail(hit, LARGEST);
    else this.missing();
  }

  missing() {
    const line = part(".missing");
    line.textContent = "The picture itself cannot be shown: its file was moved, changed or deleted since it was indexed, or is on a disk that is not mounted.";
    line.hidden = false;
  }

  refuse(problem) {
    part(".frame").hidden = true;
    part("h2").textContent = "This picture is not here";
    part(".content").replaceChildren();
    part(".missing").textContent = [problem.message, problem.hint].filter(Boolean).join(". ");
    part(".missing").hidden = false;
  }

  drawFacts(hit) {
    part(".content").replaceChildren(...[
      make("div", { class: "actions" },
        button("More like this", () => this.actions.similar(hit), { class: "solid" }),
        button("Add", () => this.actions.add(hit, 1), { class: "link", title: "Add this picture to the search" }),
        button("Subtract", () => this.actions.add(hit, -1), { class: "link", title: "Subtract this picture from the search" })),
      this.facts(hit),
      this.labels("Tags", hit.tags),
      this.labels("Metadata", hit.meta),
      this.paths(hit.paths?.length ? hit.paths : [hit.path]),
    ].filter(Boolean));
  }

  facts(hit) {
    const near = hit.location && button(place(hit.location), () => this.actions.near(hit.location), { class: "link", title: "Pictures taken near this place" });
    const camera = hit.camera && button(hit.camera, () => this.actions.filter("camera", hit.camera), { class: "link", title: "Pictures of this camera" });
    const original = make("a", { href: `/original/${encodeURIComponent(hit.id)}`, target: "_blank", rel: "noopener" }, "Open the picture alone");
    const verdict = { true: "fits the search", false: "weak: hardly stands out" }[hit.fits];
    const rows = [
      ["Group", hit.group === null || hit.group === undefined ? null : String(hit.group)],
      ["Taken", moment(hit.taken)],
      ["Camera", camera],
      ["Place", near],
      ["Size", [hit.width && `${hit.width} × ${hit.height}`, hit.bytes && bytes(hit.bytes), hit.format].filter(Boolean).join(", ")],
      ["Similarity", typeof hit.similarity === "number" ? hit.similarity.toFixed(4) : null],
      ["z", typeof hit.z === "number" ? [hit.z.toFixed(1), verdict].filter(Boolean).join(", ") : null],
      ["Indexed", hit.indexed_at && moment(hit.indexed_at)],
      ["Source", hit.source && hit.source !== "local" ? hit.source : null],
      ["SHA-256", hit.sha256 && make("code", { class: "digest" }, hit.sha256)],
      ["", original],
    ];
    return make("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  labels(title, values) {
    const entries = Object.entries(values ?? {});
    if (!entries.length) return null;
    return make("section", {}, make("h3", {}, title), make("dl", {}, entries.map(([key, value]) =>
      make("div", {}, make("dt", {}, key), make("dd", {},
        button(value === "" ? "(empty)" : String(value), () => this.actions.filter("where", `${key}=${value}`), { class: "link", title: "Only pictures with this" }))))));
  }

  paths(paths) {
    const title = paths.length === 1 ? "File" : count(paths.length, "copy", "copies");
    return make("section", {}, make("h3", {}, title), make("ul", { class: "paths" }, paths.map((path) =>
      make("li", {}, make("code", {}, path), button(icon("copy"), () => copy(path), { class: "plain", title: "Copy the path", "aria-label": `Copy the path ${path}` })))));
  }

  listenForSwipes() {
    let start = null;
    const stage = part(".stage");
    stage.addEventListener("touchstart", (event) => { start = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
    stage.addEventListener("touchend", (event) => {
      const last = event.changedTouches[0];
      if (!start || visualViewport?.scale > 1.05) return;
      const [x, y] = [last.clientX - start.clientX, last.clientY - start.clientY];
      if (Math.abs(x) > 50 && Math.abs(x) > 2 * Math.abs(y)) this.actions.step(x < 0 ? 1 : -1);
      start = null;
    });
  }
}
