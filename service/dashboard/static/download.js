// @ts-check
// What the pages draw, as files: a chart as SVG with its colours written out, its values as CSV.

/** Properties that the style sheet sets, which a picture on its own does not have. */
const PROPERTIES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "font-weight", "visibility",
];

/** Return a chart of the page as the text of an SVG file.
 * @param {SVGElement} svg */
export function svgText(svg) {
  const copy = /** @type {SVGElement} */ (svg.cloneNode(true));
  const [from, to] = [[svg, ...svg.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    const target = to[i];
    target.removeAttribute("style");
    target.removeAttribute("class");
    target.removeAttribute("tabindex");
    for (const name of PROPERTIES) {
      const value = style.getPropertyValue(name);
      if (value) target.setAttribute(name, value);
    }
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")];
  copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", getComputedStyle(document.documentElement).getPropertyValue("--card")]]) {
    paper.setAttribute(name ?? "", (value ?? "").trim());
  }
  copy.prepend(paper);
  for (const part of copy.querySelectorAll('[visibility="hidden"]')) part.remove();
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}

/** Return rows as CSV: numbers and words as they are, quoted where they must be.
 * @param {(string | number | null)[][]} rows */
export function csvText(rows) {
  /** @param {string | number | null} value */
  const cell = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

/** Save text as a file.
 * @param {string} text @param {string} name @param {string} type */
export function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Let a button save the chart that is shown.
 * @param {HTMLElement} button @param {() => SVGElement | null} find @param {string} name of the file, without its ending */
export function bindPicture(button, find, name) {
  button.addEventListener("click", () => {
    const svg = find();
    if (svg) save(svgText(svg), `pear-${name}.svg`, "image/svg+xml");
  });
}
