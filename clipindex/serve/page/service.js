// The calls of the service. Every failure becomes a Problem: words, and what to do next.

import { byId } from "./dom.js";
import { fieldsOf } from "./state.js";
import { sentence } from "./words.js";

const BUSY = [408, 429, 502, 503, 504];
const TOKEN = "clipindex token"; // in the memory of this tab; pictures are fetched with a cookie

export class Problem extends Error {
  constructor(words, { status = 0, hint = "", wait = 0 } = {}) {
    super(words);
    Object.assign(this, { status, hint, wait });
  }

  /** Whether the same call may succeed in a moment. */
  get isPassing() {
    return BUSY.includes(this.status);
  }
}

/** A page of results: {results, notes, nothing_fits, best_z, more, seconds}. */
export async function search(state, { limit, offset, pictures, signal }) {
  const fields = fieldsOf(state);
  fields.append("limit", limit);
  if (offset) fields.append("offset", offset);
  if (!pictures.length) return call(`/search?${fields}`, { signal });
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  for (const { file, name } of pictures) form.append("image", file, name || "picture");
  return call("/search", { method: "POST", body: form, signal });
}

/** All that is known of one picture. */
export function point(id, signal) {
  return call(`/points/${encodeURIComponent(id)}`, { signal });
}

/** Whether the service has what an address names. */
export async function exists(address) {
  const answer = await fetch(address, { method: "HEAD", headers: bearer(sessionStorage.getItem(TOKEN)) }).catch(() => null);
  return answer?.ok ?? false;
}

/** What there is to filter by. */
export function facets() {
  return call("/facets", {});
}

async function call(address, options) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: bearer(sessionStorage.getItem(TOKEN)) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer.", {
      hint: "Is `clipindex serve` still running? Start it again, then retry.",
    });
  }
  if (answer.status === 401) {
    sessionStorage.removeItem(TOKEN);
    await askForToken();
    return call(address, options);
  }
  if (answer.ok) return answer.json();
  throw await problemOf(answer);
}

function bearer(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function problemOf(answer) {
  const told = await answer.json().catch(() => ({}));
  const words = typeof told.error === "string" ? told.error : `The service answered with status ${answer.status}.`;
  const wait = Number(answer.headers.get("Retry-After")) || 0;
  return new Problem(sentence(words), { status: answer.status, hint: sentence(told.hint ?? ""), wait });
}

let asked = null;

/** Ask until a token is right. The service answers it with a cookie, for the pictures. */
function askForToken() {
  asked ??= new Promise((resolve) => {
    const dialog = byId("token");
    const input = byId("token-input");
    const wrong = dialog.querySelector(".wrong");
    const form = dialog.querySelector("form");
    wrong.textContent = "";
    dialog.addEventListener("cancel", keepOpen);
    form.addEventListener("submit", submit);
    dialog.showModal();

    function keepOpen(event) {
      event.preventDefault();
    }

    async function submit(event) {
      event.preventDefault();
      const words = await refusalOf(input.value.trim());
      wrong.textContent = words;
      if (words) return input.select();
      input.value = "";
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("cancel", keepOpen);
      dialog.close();
      asked = null;
      return resolve();
    }
  });
  return asked;
}

/** Why the service does not take the token; empty where it does. */
async function refusalOf(token) {
  try {
    const answer = await fetch("/session", { method: "POST", headers: bearer(token) });
    if (answer.ok) {
      sessionStorage.setItem(TOKEN, token);
      return "";
    }
    return answer.status === 401 || answer.status === 403 ? "This token is not right." : (await problemOf(answer)).message;
  } catch {
    return /^[\x21-\x7e]*$/.test(token) ? "The service does not answer." : "No token has such characters.";
  }
}
