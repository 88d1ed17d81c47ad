// The user's own pictures: dropped, pasted or chosen. They are kept in this browser, so that going
// back or reloading searches with them again; a link carries only their key.

import { byId, toast } from "./dom.js";

const MOST_KEPT = 20;
const MOST_AT_ONCE = 4;
const kept = new Map(); // key -> {file, name, address}; what IndexedDB holds, or would hold

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("clipindex", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("pictures", { keyPath: "key" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function store(mode, act) {
  const opened = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = opened.transaction("pictures", mode);
      const asked = act(transaction.objectStore("pictures"));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    opened.close();
  }
}

/** Keep a picture; returns its key. A browser that keeps nothing still has it until a reload. */
async function keep(file) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const name = file.name && file.name !== "image.png" ? file.name : "pasted picture";
  kept.set(key, { file, name, address: URL.createObjectURL(file) });
  try {
    await store("readwrite", (pictures) => pictures.put({ key, file, name, time: Date.now() }));
    const all = await store("readonly", (pictures) => pictures.getAll());
    const oldest = all.sort((one, other) => other.time - one.time).slice(MOST_KEPT);
    for (const { key: old } of oldest) await store("readwrite", (pictures) => pictures.delete(old));
  } catch {
    // a private window, or a full disk
  }
  return key;
}

/** A picture that was kept: {file, name, address}; null where this browser does not have it. */
export async function keptPicture(key) {
  if (kept.has(key)) return kept.get(key);
  const found = await store("readonly", (pictures) => pictures.get(key)).catch(() => undefined);
  if (!found) return null;
  kept.set(key, { file: found.file, name: found.name, address: URL.createObjectURL(found.file) });
  return kept.get(key);
}

/** Call `searchWith` with the keys of pictures that come in any way, and `searchLike` with the id
 *  of one of the page's own that is dropped on it. */
export function listen({ searchWith, searchLike }) {
  const shade = byId("drop");
  const chooser = byId("file");
  let depth = 0; // dragenter and dragleave come for every element on the way
  const isDrag = (event) => ["Files", "text/x-clipindex", "text/uri-list"].some((kind) => event.dataTransfer?.types.includes(kind));
  const show = (shown) => {
    depth = shown ? depth : 0;
    shade.hidden = !shown;
  };

  async function take(files) {
    const pictures = [...files].filter((file) => /^image\//.test(file.type) || /\.(heic|heif|avif|tiff?|jxl|cr2|cr3|nef|arw|dng|raf|orf|rw2)$/i.test(file.name));
    if (!pictures.length) return toast(files.length ? "This is no picture" : "Drop the picture's file, not a link to it");
    if (pictures.length > MOST_AT_ONCE) toast(`The first ${MOST_AT_ONCE} pictures are searched with`);
    const keys = [];
    for (const file of pictures.slice(0, MOST_AT_ONCE)) keys.push(await keep(file));
    return searchWith(keys);
  }

  addEventListener("dragenter", (event) => {
    if (!isDrag(event)) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) show(false);
  });
  addEventListener("dragend", () => show(false));
  addEventListener("dragover", (event) => isDrag(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isDrag(event)) return;
    event.preventDefault();
    show(false);
    const id = event.dataTransfer.getData("text/x-clipindex");
    if (id) searchLike(id);
    else take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (document.querySelector("dialog:modal") || !event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });
  byId("choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    take(chooser.files);
    chooser.value = "";
  });
}
