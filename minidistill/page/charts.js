// Curves by temperature and by step, in SVG.

// lines: {points: [[x, y]], colour, name, thin}. x and y: {from, to, ticks, log}. now: where x is.
function chart(svg, x, y, lines, now, text) {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  if (!width) return; // not shown
  const [left, right, top, bottom] = [46, width - 78, 10, height - 24];
  const share = (axis, value) => {
    const of = axis.log ? Math.log : (one) => one;
    return (of(Math.max(value, axis.from)) - of(axis.from)) / (of(axis.to) - of(axis.from));
  };
  const across = (value) => left + (right - left) * share(x, value);
  const down = (value) => bottom - (bottom - top) * share(y, value);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", text);
  svg.replaceChildren();
  const add = (tag, attributes, content = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    made.textContent = content;
    svg.append(made);
  };
  for (const tick of y.ticks) {
    add("line", { class: "grid", x1: left, x2: right, y1: down(tick), y2: down(tick) });
    add("text", { x: left - 8, y: down(tick) + 4, "text-anchor": "end" }, y.text ? y.text(tick) : String(tick));
  }
  for (const tick of x.ticks) add("text", { x: across(tick), y: bottom + 18, "text-anchor": "middle" }, String(tick));
  add("text", { x: right + 24, y: bottom + 18 }, x.name);
  if (now !== null) add("line", { class: "now", x1: across(now), x2: across(now), y1: top, y2: bottom });
  let below = Infinity; // names at the right must not lie upon each other
  for (const line of [...lines].sort((a, b) => b.points.at(-1)?.[1] - a.points.at(-1)?.[1])) {
    if (!line.points.length) continue;
    const d = line.points.map(([a, b], k) => `${k ? "L" : "M"}${across(a).toFixed(1)} ${down(b).toFixed(1)}`).join("");
    add("path", {
      d,
      stroke: line.colour,
      ...(line.thin && { style: "stroke-width: 1; opacity: 0.6" }),
      ...(line.dashes && { "stroke-dasharray": line.dashes }),
    });
    const at = now === null ? null : line.points.find(([a]) => a === now);
    if (at) add("circle", { cx: across(at[0]), cy: down(at[1]), r: 4, fill: line.colour });
    const [endX, endY] = line.points.at(-1);
    below = below === Infinity ? down(endY) + 4 : Math.max(down(endY) + 4, below + 14);
    if (line.name)
      add("text", { class: "end", x: across(endX) + 8, y: below, style: `fill: ${line.colour}` }, line.name);
  }
}

function showCharts() {
  const { T, z, v } = state;
  const across = { from: 0.5, to: 50, log: true, ticks: [0.5, 1, 2, 5, 10, 20, 50], name: "T" };
  const curve = (of) => TEMPERATURES.map((one) => [one, of(one)]);
  const entropies = [];
  if (v) entropies.push({ name: "H(p)", colour: style("--teacher"), points: curve((one) => entropy(softmax(v, one))) });
  if (z) entropies.push({ name: "H(q)", colour: style("--student"), points: curve((one) => entropy(softmax(z, one))) });
  const most = Math.log(N);
  const halves = [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4].filter((one) => one < most);
  const up = { from: 0, to: 1.04 * most, ticks: halves, text: (one) => one.toFixed(1) };
  const values = entropies.map(({ name, points }) => `${name} is ${points.find(([one]) => one >= T)[1].toFixed(2)}`);
  const told = values.join(", ") || "nothing is drawn";
  chart($("chart-entropy"), across, up, entropies, T, `Entropy by temperature. At T = ${T} ${told}.`);
  if (state.networks.teacher) showSizes(across, curve);
}

// Σ|q - p|/T by T, and T² times it.
function showSizes(across, curve) {
  const { T, z, v } = state;
  const slopes = (one) => gradient(softmax(z, one), softmax(v, one), one);
  const size = (one) => slopes(one).reduce((sum, slope) => sum + Math.abs(slope), 0);
  const colour = style("--gradient");
  const lines = [
    { name: "times T²", colour, dashes: "6 4", points: v ? curve((one) => one * one * size(one)) : [] },
    { name: "as it is", colour, points: v ? curve(size) : [] },
  ];
  const decades = lines.flatMap(({ points }) => points.map(([, a]) => Math.log10(a))).filter(Number.isFinite);
  const high = Math.ceil(Math.max(-3, ...decades) + 0.1);
  const low = Math.max(high - 6, Math.floor(Math.min(high - 1, ...decades))); // six decades are enough to see
  const text = (one) => (one >= 0.01 ? String(+one.toPrecision(1)) : `10${superscript(Math.round(Math.log10(one)))}`);
  const ticks = Array.from({ length: high - low + 1 }, (_, k) => 10 ** (low + k));
  const up = { from: 10 ** low, to: 10 ** high, log: true, ticks, text };
  for (const line of lines) line.points = line.points.filter(([, a]) => a >= 10 ** low);
  const told = v ? `At T = ${T} it is ${short(size(T))}, times T² ${short(T * T * size(T))}.` : "Nothing is drawn.";
  chart($("chart-gradient"), across, up, lines, T, `Size of the gradient by temperature. ${told}`);
}
