// Elements, made without any markup in strings: a file may be called whatever it likes.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element. `given`: attributes; `on...` a listener, `class`, `data` and `style` as expected. */
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, rule] of Object.entries(value)) element.style.setProperty(key, rule);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

export function button(text, onclick, given = {}) {
  return make("button", { type: "button", onclick, ...given }, text);
}

/** Whether a key was typed into a field and is none of ours. */
export function isTyping(event) {
  return event.target.closest?.("input:not([type=checkbox]), textarea, select") !== null;
}

let toastEnds = 0;

/** A few words at the lower edge, for a moment. */
export function toast(text) {
  const line = byId("toast");
  line.textContent = text;
  line.classList.add("is-shown");
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => line.classList.remove("is-shown"), 2500);
}

/** Copy a text and say so. Without https a browser has no clipboard, so the old way is tried. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make("textarea", { class: "unseen" });
    (document.querySelector("dialog:modal") ?? document.body).append(field);
    field.value = text;
    const focused = document.activeElement;
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    focused?.focus?.();
    if (!copied) return toast("This browser does not let a page copy; select the path instead");
  }
  return toast("Path copied");
}
