// Numbers, dates and sizes as people read them.

const whole = new Intl.NumberFormat("en");
const UNITS = ["bytes", "kB", "MB", "GB"];
const SIGNS = { "<=": "≤", ">=": "≥" };

export function count(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/** A message of the command line, which begins in lower case, as a sentence. */
export function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function bytes(number) {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  const amount = number / 1000 ** step;
  return `${step && amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${UNITS[step]}`;
}

/** `2024-06-12T09:30:00` of a camera's clock, which has no time zone, as a date and a time. */
export function moment(taken) {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d:\d\d))?/.exec(taken ?? "");
  if (!match) return taken ?? "";
  const day = new Date(Date.UTC(Number(match[1]), match[2] - 1, Number(match[3])));
  const text = day.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  return match[4] ? `${text}, ${match[4]}` : text;
}

export function similarity(number) {
  return typeof number === "number" ? number.toFixed(2) : "";
}

export function place({ lat, lon }) {
  return `${lat.toFixed(5)}, ${lon.toFixed(5)}`;
}

/** The last two parts of a path, which usually tell it from its neighbours. */
export function shortFolder(path) {
  const parts = path.split(/[/\\]/).filter(Boolean);
  return parts.slice(-2).join(" / ") || path;
}

/** A condition (`owner=ann`, `price<50`) as key, sign and value. */
export function condition(text) {
  const match = /^([A-Za-z0-9_]+)(<=|>=|<|>|=)(.*)$/s.exec(text);
  return match ? { key: match[1], sign: SIGNS[match[2]] ?? match[2], value: match[3] } : { key: text, sign: "", value: "" };
}

const FILTER_WORDS = {
  under: (value) => `in ${shortFolder(value)}`,
  camera: (value) => value,
  type: (value) => value.toUpperCase(),
  orientation: (value) => value,
  where: (value) => Object.values(condition(value)).join(" "),
  where_not: (value) => `not ${Object.values(condition(value)).join(" ")}`,
  taken: (value) => `taken ${value}`,
  after: (value) => `since ${value}`,
  before: (value) => `before ${value}`,
  near: (value, filters) => `within ${filters.within || "1km"} of ${value.replace(",", ", ")}`,
  min_size: (value) => `at least ${value.replace("x", " × ")}`,
  min_score: (value) => `similarity from ${value}`,
  min_z: (value) => `z from ${value}`,
  copies: () => "each copy",
  exclude_self: () => "without the pictures searched with",
  ensemble: () => "several sentences",
};

/** A filter as a chip says it. */
export function filterWords(name, value, filters) {
  return FILTER_WORDS[name](value, filters);
}
