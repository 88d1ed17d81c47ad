// Rows of pictures of one height each, as wide as the page. Every size is known before a picture
// is loaded, so nothing moves when it comes.

const NARROWEST = 0.45; // of width to height; what is beyond is cut at its edges
const WIDEST = 2.8;

export const CAPTION = 30; // pixels below a picture

export function ratioOf({ width, height }) {
  const ratio = width > 0 && height > 0 ? width / height : 4 / 3;
  return Math.min(WIDEST, Math.max(NARROWEST, ratio));
}

/** The height that rows should have, and the space between pictures, for a page of this width. */
export function measures(width) {
  if (width < 520) return { height: 150, gap: 8 };
  if (width < 900) return { height: 180, gap: 12 };
  return { height: Math.min(280, 200 + (width - 900) / 12), gap: 16 };
}

/** The rows of pictures with these ratios: [{first, count, height, full}]. Only the last row may
 *  not be full; it keeps the height that rows should have. */
export function rowsOf(ratios, width, { height, gap }) {
  const rows = [];
  let first = 0;
  let sum = 0;
  const fitted = (count, ratio) => (width - gap * (count - 1)) / ratio;
  ratios.forEach((ratio, index) => {
    const count = index - first + 1;
    const now = fitted(count, sum + ratio);
    sum += ratio;
    if (now > height) return;
    const before = count > 1 ? fitted(count - 1, sum - ratio) : Infinity;
    if (before / height < height / now) { // nearer to the height without this one
      rows.push({ first, count: count - 1, height: before, full: true });
      first = index;
      sum = ratio;
      const alone = fitted(1, ratio);
      if (alone > height) return;
      rows.push({ first, count: 1, height: alone, full: true });
    } else {
      rows.push({ first, count, height: now, full: true });
    }
    first = index + 1;
    sum = 0;
  });
  if (first < ratios.length) rows.push({ first, count: ratios.length - first, height, full: false });
  return rows;
}

/** The index of the picture above (`step` -1) or below (1) another one: of those in the next row,
 *  the one whose middle is nearest. */
export function vertical(rows, ratios, gap, index, step) {
  const now = rows.findIndex((row) => index < row.first + row.count);
  const next = rows[now + step];
  if (!next) return index;
  const middles = (row) => {
    let left = 0;
    return Array.from({ length: row.count }, (_, place) => {
      const width = ratios[row.first + place] * row.height;
      left += width + gap;
      return left - gap - width / 2;
    });
  };
  const middle = middles(rows[now])[index - rows[now].first];
  const distances = middles(next).map((other) => Math.abs(other - middle));
  return next.first + distances.indexOf(Math.min(...distances));
}
