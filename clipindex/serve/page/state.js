// What is searched for, and how it is written into the page's address. The names are those of
// /search, so that an address can be turned into a call of the service by hand.

export const LISTS = ["under", "camera", "type", "orientation", "where", "where_not"];
export const SINGLES = ["taken", "after", "before", "near", "within", "min_size", "min_score", "min_z"];
export const SWITCHES = ["copies", "exclude_self", "ensemble"];
export const SORTED_AT_ONCE = 200; // the best so many are put into another order
export const MOST_SORTED = 1000; // the service gives no more at once

const WEIGHTED = /^(\d{1,7}(?:\.\d{1,4})?)\*(.+)$/s;

/** A search without terms and filters. */
export function emptyState() {
  return { terms: [], filters: {}, sort: "score", group: "", most: 0, open: "" };
}

/** `kind`: text, like (a picture of the index, by its id) or image (one of the user's, by the key
 *  under which this browser keeps it). */
export function term(kind, value, { sign = 1, weight = 1 } = {}) {
  return { kind, value, sign, weight };
}

export function textTerm(text, sign = 1) {
  const [, weight, value] = WEIGHTED.exec(text) ?? [null, "1", text];
  return term("text", value, { sign, weight: Number(weight) || 1 });
}

function weighted({ weight, value }) {
  return weight === 1 ? value : `${weight}*${value}`;
}

/** The text that stands in the search field: the first one that is added. */
export function mainTerm(state) {
  return state.terms.find((one) => one.kind === "text" && one.sign > 0);
}

export function mainText(state) {
  const main = mainTerm(state);
  return main ? weighted(main) : "";
}

/** The state with another text in the search field; an empty one takes it away. */
export function withText(state, text) {
  const main = mainTerm(state);
  const others = state.terms.filter((one) => one !== main);
  return { ...state, terms: text ? [textTerm(text), ...others] : others, open: "" };
}

export function withFilter(state, name, value) {
  const filters = { ...state.filters, [name]: value };
  if (!value || value.length === 0) delete filters[name];
  return { ...state, filters, open: "" };
}

/** The number of filters that are set. */
export function filterCount({ filters }) {
  const counts = Object.entries(filters).map(([name, value]) =>
    name === "within" ? 0 : Array.isArray(value) ? value.length : 1);
  return counts.reduce((total, count) => total + count, 0);
}

/** The state that an address (`?q=...`) means. Names that it does not know are left out. */
export function read(search) {
  const given = new URLSearchParams(search);
  const state = emptyState();
  const picture = (kind, text, sign) => ({ ...textTerm(text, sign), kind });
  state.terms = [
    ...given.getAll("q").filter(Boolean).map((text) => textTerm(text)),
    ...given.getAll("minus").filter(Boolean).map((text) => textTerm(text, -1)),
    ...given.getAll("like").filter(Boolean).map((text) => picture("like", text, 1)),
    ...given.getAll("unlike").filter(Boolean).map((text) => picture("like", text, -1)),
    ...given.getAll("image").filter(Boolean).map((text) => picture("image", text, 1)),
  ];
  for (const name of LISTS) {
    const values = given.getAll(name).filter(Boolean);
    if (values.length) state.filters[name] = values;
  }
  for (const name of SINGLES) if (given.get(name)) state.filters[name] = given.get(name);
  for (const name of SWITCHES) if (given.get(name) === "true") state.filters[name] = true;
  state.sort = ["taken", "path"].includes(given.get("sort")) ? given.get("sort") : "score";
  state.group = given.get("group_by") ?? "";
  state.most = Math.max(0, Math.min(MOST_SORTED, Number.parseInt(given.get("limit"), 10) || 0));
  state.open = given.get("open") ?? "";
  return state;
}

/** What is asked of the service, without limit and offset and without the user's pictures. */
export function fieldsOf(state) {
  const fields = new URLSearchParams();
  for (const one of state.terms) {
    if (one.kind === "text") fields.append(one.sign > 0 ? "q" : "minus", weighted(one));
    if (one.kind === "like") fields.append(one.sign > 0 ? "like" : "unlike", weighted(one));
  }
  for (const name of LISTS) for (const value of state.filters[name] ?? []) fields.append(name, value);
  for (const name of SINGLES) {
    if (name === "within" && !state.filters.near) continue;
    if (state.filters[name]) fields.append(name, state.filters[name]);
  }
  for (const name of SWITCHES) if (state.filters[name]) fields.append(name, "true");
  if (state.sort !== "score") fields.append("sort", state.sort);
  if (state.group) fields.append("group_by", state.group);
  return fields;
}

/** The address of a state, relative to the page's own. */
export function addressOf(state) {
  const fields = fieldsOf(state);
  for (const one of state.terms) if (one.kind === "image") fields.append("image", weighted(one));
  if (state.most) fields.append("limit", state.most);
  if (state.open) fields.append("open", state.open);
  const text = fields.toString();
  return text ? `/?${text}` : "/";
}

/** Two states with the same one show the same pictures. */
export function identityOf(state) {
  return addressOf({ ...state, open: "" });
}
