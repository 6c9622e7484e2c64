// Charts by plotly.js, which the server reads from the installed Python package.

const COLOURS = { pear: "#0b6e4f", persistence: "#b8570b", climatology: "#5b5f97" };
const NAMES = { pear: "PEAR", persistence: "Persistence", climatology: "Climatology" };
const DASH = { pear: "solid", persistence: "dash", climatology: "dot" };
let loading = null;

/** Load plotly once, on first use. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const guard = JSON.parse(document.getElementById("page-data").textContent).style_guard;
    if (guard) {
      // Prevents the map library inside plotly from adding a style element.
      const inert = document.createElement("template");
      inert.id = guard;
      document.head.append(inert);
    }
    const script = document.createElement("script");
    script.src = "/static/vendor/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("the chart library did not load"));
    document.head.append(script);
  });
  return loading;
}

const LAYOUT = {
  margin: { l: 56, r: 12, t: 34, b: 44 },
  separators: ".\u2009",
  font: { family: "system-ui, sans-serif", size: 12, color: "#1d2733" },
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(0,0,0,0)",
  legend: { orientation: "h", y: 1.02, x: 0, yanchor: "bottom" },
  hovermode: "x unified",
};
const CONFIG = { displayModeBar: false, responsive: true };
const DATES = [
  { dtickrange: [null, 86_400_000 - 1], value: "%H:%M\n%d %b" },
  { dtickrange: [86_400_000, null], value: "%d %b" },
];
const GRID = { gridcolor: "#e3e8ee", zerolinecolor: "#b6c0cc" };

/** Draw a score by lead time for model and baselines. */
export async function scoreChart(element, records, metric, units) {
  const Plotly = await plotly();
  const traces = ["pear", "persistence", "climatology"].flatMap((forecaster) => {
    const rows = records
      .filter((record) => record.forecaster === forecaster)
      .sort((a, b) => a.lead_days - b.lead_days);
    return [...band(rows, metric, COLOURS[forecaster]), {
      x: rows.map((row) => row.lead_days),
      y: rows.map((row) => row[metric]),
      name: NAMES[forecaster],
      mode: "lines+markers",
      line: { color: COLOURS[forecaster], dash: DASH[forecaster], width: 2.5 },
      marker: { size: 6 },
    }];
  });
  const title = metric === "acc" ? "Anomaly correlation" : `${metric.toUpperCase()} (${units})`;
  const layout = {
    ...LAYOUT,
    xaxis: { ...GRID, title: { text: "Lead time (days)" }, dtick: 1 },
    yaxis: { ...GRID, title: { text: title }, range: metric === "acc" ? [-0.1, 1.02] : undefined, rangemode: "tozero" },
  };
  await Plotly.react(element, traces, layout, CONFIG);
}

/** Return the confidence interval of a score as a band, if the evaluation has one. */
function band(rows, metric, colour) {
  const [low, high] = [`${metric}_low`, `${metric}_high`];
  if (!rows.length || !(low in rows[0])) return [];
  const days = rows.map((row) => row.lead_days);
  return [{
    x: [...days, ...days.toReversed()],
    y: [...rows.map((row) => row[high]), ...rows.map((row) => row[low]).toReversed()],
    fill: "toself", fillcolor: `${colour}22`, line: { width: 0 }, hoverinfo: "skip", showlegend: false,
  }];
}

/** Draw the time series at a point; a line marks the valid time of the map. */
export async function meteogram(element, times, values, now, label, units) {
  const Plotly = await plotly();
  const trace = {
    x: times, y: values, mode: "lines+markers", name: label,
    line: { color: COLOURS.pear, width: 2.5 }, marker: { size: 6 },
  };
  const layout = {
    ...LAYOUT,
    margin: { ...LAYOUT.margin, t: 10 },
    showlegend: false,
    shapes: [{
      type: "line", x0: times[now], x1: times[now], y0: 0, y1: 1, yref: "paper",
      line: { color: "#1d2733", width: 1.5, dash: "dot" },
    }],
    xaxis: { ...GRID, title: { text: "Valid time (UTC)" }, type: "date", hoverformat: "%Y-%m-%d %H:%M", tickformatstops: DATES, nticks: element.clientWidth < 420 ? 4 : 6 },
    yaxis: { ...GRID, title: { text: units } },
  };
  await Plotly.react(element, [trace], layout, CONFIG);
}
