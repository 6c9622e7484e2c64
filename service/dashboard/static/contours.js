// @ts-check
// Isolines on a rectangular grid by marching squares, joined to lines.

/** @typedef {{ level: number, points: [number, number][] }} Isoline */

/** Sides of a square that a line joins, by which of its corners are high: 1 upper left, 2 upper
 * right, 4 lower right, 8 lower left. Sides: 0 top, 1 right, 2 bottom, 3 left. */
const JOINS = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

/** Return the isolines of values on a grid; no line passes a square with a missing corner.
 * @param {Float32Array} values row by row @param {number} width @param {number} spacing
 * @param {number} most lines of more levels than this are not drawn
 * @returns {Isoline[]} points in grid units */
export function isolines(values, width, spacing, most = 200) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const [first, last] = [Math.ceil(low / spacing), Math.floor(high / spacing)];
  if (!(last - first < most)) return [];
  /** @type {Isoline[]} */
  const out = [];
  for (let k = first; k <= last; k++) {
    for (const points of levelLines(values, width, k * spacing)) out.push({ level: k * spacing, points });
  }
  return out;
}

/** @param {Float32Array} values @param {number} width @param {number} level */
function levelLines(values, width, level) {
  /** @type {Map<number, number[]>} */
  const joined = new Map();
  const height = values.length / width;
  /** An edge of the grid: even to the right of its corner, odd below it.
   * @param {number} corner @param {number} side */
  const edge = (corner, side) => 2 * (corner + (side === 1 ? 1 : side === 2 ? width : 0)) + (side & 1);
  /** @param {number} from @param {number} to */
  const join = (from, to) => {
    const known = joined.get(from);
    if (known) known.push(to);
    else joined.set(from, [to]);
  };
  for (let row = 0; row < height - 1; row++) {
    for (let column = 0; column < width - 1; column++) {
      const corner = row * width + column;
      const [a, b] = [values[corner], values[corner + 1]];
      const [c, d] = [values[corner + width + 1], values[corner + width]];
      const sum = a + b + c + d;
      if (sum !== sum) continue;
      let which = (a >= level ? 1 : 0) | (b >= level ? 2 : 0) | (c >= level ? 4 : 0) | (d >= level ? 8 : 0);
      // A saddle is high or low in its middle, by the mean of its corners.
      if ((which === 5 || which === 10) && sum / 4 >= level) which = 15 - which;
      for (const [from, to] of JOINS[which]) {
        join(edge(corner, from), edge(corner, to));
        join(edge(corner, to), edge(corner, from));
      }
    }
  }
  return chains(joined).map((chain) => chain.map((each) => crossing(values, width, each, level)));
}

/** Return the chains of joined edges, ends first, then rings.
 * @param {Map<number, number[]>} joined */
function chains(joined) {
  /** @type {number[][]} */
  const out = [];
  /** @param {number} start */
  const follow = (start) => {
    const chain = [start];
    let [now, next] = [start, joined.get(start)?.pop()];
    while (next !== undefined) {
      const back = /** @type {number[]} */ (joined.get(next));
      back.splice(back.indexOf(now), 1);
      chain.push(next);
      [now, next] = [next, back.pop()];
    }
    if (chain.length > 1) out.push(chain);
  };
  for (const [start, to] of joined) if (to.length === 1) follow(start);
  for (const start of joined.keys()) follow(start);
  return out;
}

/** @param {Float32Array} values @param {number} width @param {number} edge @param {number} level
 * @returns {[number, number]} */
function crossing(values, width, edge, level) {
  const corner = edge >> 1;
  const down = edge & 1;
  const [from, to] = [values[corner], values[corner + (down ? width : 1)]];
  const part = from === to ? 0.5 : (level - from) / (to - from);
  const [column, row] = [corner % width, Math.floor(corner / width)];
  return down ? [column, row + part] : [column + part, row];
}
