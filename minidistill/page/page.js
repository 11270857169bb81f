// What is seen and touched: the one state below, and functions that show it. Nothing here computes a probability.

const $ = (id) => document.getElementById(id);
const blockOf = (name) => $(`data-${name}`)?.textContent;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const TEMPERATURES = [
  [0.5, 1, 0.05],
  [1, 2, 0.1],
  [2, 5, 0.2],
  [5, 10, 0.5],
  [10, 20, 1],
  [20, 50, 2],
  [50, 51, 1],
].flatMap(([from, to, step]) =>
  Array.from({ length: Math.round((to - from) / step) }, (_, k) => +(from + k * step).toFixed(2)),
); // even steps that are about even on a logarithmic scale

const about = JSON.parse(blockOf("about"));
const N = about.classes.length;
const state = {
  T: 4,
  networks: {}, // student, and teacher if there is one: their layers
  images: null, // test images, if there are any
  strokes: [], // what was drawn, in a field of 1 x 1
  pen: { x: 0.5, y: 0.5, down: false, shown: false }, // the keyboard's
  picked: null, // the number of a test image in the page
  x: new Float64Array(SIDE * SIDE), // what the networks see
  z: null,
  v: null, // the student's logits and the teacher's, null for an empty field
  chosen: null, // the class that was clicked, null for the teacher's own
};

// --- numbers as text ------------------------------------------------------------------------------------------------

const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(c)]);
const minus = (text) => text.replace("-", "−");

// exp(logarithm), which may be larger than any number here.
function power(logarithm) {
  const exponent = Math.floor(logarithm / Math.LN10);
  if (exponent > -3 && exponent < 5) return short(Math.exp(logarithm));
  return `${Math.exp(logarithm - exponent * Math.LN10).toFixed(1)} × 10${superscript(exponent)}`;
}

// Three digits that count.
function short(number) {
  if (number === 0) return "0";
  const [digits, exponent] = number.toExponential(2).split("e");
  if (exponent < -3 || exponent > 4) return minus(`${(+digits).toFixed(1)} × 10`) + superscript(+exponent);
  return minus(number.toFixed(Math.max(0, 2 - exponent)));
}

const probability = (p) => (p === 0 || p >= 0.0005 ? p.toFixed(3) : short(p));

// --- the temperature ------------------------------------------------------------------------------------------------

function makeSlider() {
  const slider = $("T");
  slider.max = TEMPERATURES.length - 1;
  slider.value = TEMPERATURES.indexOf(state.T);
  slider.addEventListener("input", () => {
    state.T = TEMPERATURES[slider.value];
    later(show);
  });
  for (const T of [0.5, 1, 2, 5, 10, 20, 50]) {
    const tick = document.createElement("span");
    const share = TEMPERATURES.indexOf(T) / (TEMPERATURES.length - 1);
    tick.style.left = `calc(8px + ${share} * (100% - 16px))`; // the thumb is 16 wide
    tick.textContent = T;
    $("ticks").append(tick);
  }
}

// --- the drawing ----------------------------------------------------------------------------------------------------

function makeField() {
  const field = $("field");
  const place = (event) => {
    const box = field.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  let drawing = null; // the pointer that draws; a second finger does not
  field.addEventListener("pointerdown", (event) => {
    if (drawing !== null || event.button > 0) return;
    drawing = event.pointerId;
    field.setPointerCapture(drawing);
    state.pen.shown = state.pen.down = false;
    beginStroke(place(event));
  });
  field.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    for (const one of event.getCoalescedEvents?.() ?? []) state.strokes.at(-1).push(place(one));
    state.strokes.at(-1).push(place(event));
    drawn();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    field.addEventListener(end, (event) => {
      if (event.pointerId === drawing) drawing = null;
    });
  }
  field.addEventListener("keydown", drawByKey);
  field.addEventListener("blur", () => {
    state.pen.shown = state.pen.down = false;
    showField();
  });
  $("clear").addEventListener("click", () => {
    state.strokes = [];
    drawn();
  });
  $("undo").addEventListener("click", () => {
    state.strokes.pop();
    drawn();
  });
}

function beginStroke(point) {
  if (state.picked !== null) state.strokes = [];
  state.strokes.push([point]);
  drawn();
}

function drawByKey(event) {
  const pen = state.pen;
  const step = event.shiftKey ? 0.01 : 0.04;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (move) {
    [pen.x, pen.y] = [pen.x + move[0], pen.y + move[1]].map((one) => Math.max(0, Math.min(1, one)));
    if (pen.down) state.strokes.at(-1).push([pen.x, pen.y]);
  } else if (event.key === " ") {
    pen.down = !pen.down;
    if (pen.down) beginStroke([pen.x, pen.y]);
  } else if (event.key === "Backspace" || event.key === "Delete") {
    state.strokes = [];
    pen.down = false;
  } else return;
  event.preventDefault(); // the page stays where it is
  pen.shown = true;
  if (pen.down || !move) drawn();
  else showField();
}

// The strokes are another digit now.
function drawn() {
  state.picked = null;
  state.x = asMnist(state.strokes);
  later(see);
}

// Once in a frame, however many events come.
const later = (() => {
  const wanted = new Set();
  return (what) => {
    if (!wanted.size) {
      requestAnimationFrame(() => {
        const all = [...wanted];
        wanted.clear();
        for (const one of all) one();
      });
    }
    wanted.add(what);
  };
})();

// Let the networks look at x.
function see() {
  const empty = !state.x.some((one) => one > 0);
  state.z = empty ? null : forward(state.networks.student, state.x);
  state.v = empty || !state.networks.teacher ? null : forward(state.networks.teacher, state.x);
  showDigit();
}

// x (784 numbers in [0, 1]) on a canvas of 28 x 28, in the colour of ink.
function paint(canvas, x) {
  const [red, green, blue] = inkColour();
  const image = new ImageData(SIDE, SIDE);
  x.forEach((dark, i) => image.data.set([red, green, blue, 255 * dark], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function inkColour() {
  const hex = style("--ink").slice(1);
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function showField() {
  const canvas = $("field");
  const field = canvas.getContext("2d");
  const size = canvas.width;
  field.clearRect(0, 0, size, size);
  field.strokeStyle = field.fillStyle = style("--ink");
  if (state.picked !== null) {
    field.imageSmoothingEnabled = false;
    field.drawImage($("seen"), 0, 0, size, size);
  }
  field.lineWidth = size / 12;
  field.lineCap = field.lineJoin = "round";
  for (const stroke of state.picked === null ? state.strokes : []) {
    field.beginPath();
    stroke.forEach(([x, y], k) => field[k ? "lineTo" : "moveTo"](x * size, y * size));
    if (stroke.length === 1) field.lineTo(stroke[0][0] * size, stroke[0][1] * size); // a dot
    field.stroke();
  }
  if (!state.strokes.length && state.picked === null && !state.pen.shown) {
    field.fillStyle = style("--soft");
    field.font = `${size / 18}px system-ui, sans-serif`;
    field.textAlign = "center";
    field.fillText("draw a digit here", size / 2, size / 2);
  }
  if (state.pen.shown) {
    field.lineWidth = 4;
    field.strokeStyle = style("--focus");
    field.beginPath();
    field.arc(state.pen.x * size, state.pen.y * size, size / (state.pen.down ? 24 : 16), 0, 2 * Math.PI);
    field.stroke();
  }
}

// --- test images ----------------------------------------------------------------------------------------------------

async function makeGallery() {
  const images = JSON.parse(blockOf("images"));
  $("gallery").hidden = !images;
  $("no-gallery").hidden = !!images;
  if (!images) return;
  images.pixels = new Uint8Array(await inflated(images.pixels));
  state.images = images;
  const right = (role) => (i) => images[role][i] === images.label[i];
  const teacher = state.networks.teacher;
  const rows = images.index.map((_, i) => i);
  const groups = {
    "that the student gets wrong": rows.filter((i) => !right("student")(i)),
    ...(teacher && { "that the teacher gets wrong": rows.filter((i) => !right("teacher")(i)) }),
    [teacher ? "that both get right" : "that it gets right"]: rows.filter(
      (i) => right("student")(i) && (!teacher || right("teacher")(i)),
    ),
  };
  Object.entries(groups).forEach(([name, members], k) => {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "group", checked: k === 0 });
    radio.addEventListener("change", () => fillGallery(members));
    const all = images.wrong[["student", teacher ? "teacher" : ""][k]];
    label.append(radio, `${name} (${all > members.length ? `${members.length} of ${all}` : members.length})`);
    $("groups").append(label);
  });
  $("thumbs").addEventListener("keydown", moveInGallery);
  const [first] = Object.values(groups).filter((members) => members.length);
  fillGallery(Object.values(groups)[0]);
  if (first) pick(first.find((i) => !teacher || right("teacher")(i)) ?? first[0]);
}

const imageOf = (i) =>
  Float64Array.from(state.images.pixels.subarray(SIDE * SIDE * i, SIDE * SIDE * (i + 1)), (one) => one / 255);

function fillGallery(members) {
  const { index, label, student, teacher } = state.images;
  $("thumbs").replaceChildren(
    ...members.map((i, k) => {
      const button = Object.assign(document.createElement("button"), { type: "button", tabIndex: k ? -1 : 0 });
      const says = (role, one) => (one ? `, the ${role} says ${about.classes[one[i]]}` : "");
      const told = `test image ${index[i]}, a ${about.classes[label[i]]}`;
      button.title = told + says("student", student) + says("teacher", teacher);
      button.setAttribute("aria-label", button.title);
      button.dataset.image = i;
      const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
      paint(canvas, imageOf(i));
      button.append(canvas);
      button.addEventListener("click", () => pick(i));
      return button;
    }),
  );
  showPicked();
}

// One thumbnail is in the order of tabs; arrows go from it to the others.
function moveInGallery(event) {
  const buttons = [...$("thumbs").children];
  const at = buttons.indexOf(document.activeElement);
  const columns = getComputedStyle($("thumbs")).gridTemplateColumns.split(" ").length;
  const to = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: 0,
    End: buttons.length - 1,
  }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!buttons[to]) return;
  buttons[at].tabIndex = -1;
  buttons[to].tabIndex = 0;
  buttons[to].focus();
}

function pick(i) {
  state.picked = i;
  state.strokes = [];
  state.x = imageOf(i);
  see();
}

function showPicked() {
  for (const button of $("thumbs").children) {
    button.setAttribute("aria-pressed", String(button.dataset.image === String(state.picked)));
  }
}

// --- probabilities --------------------------------------------------------------------------------------------------

function makeTable() {
  const cell = (kind) =>
    `<td class="${kind}"><div class="cell"><span></span><div class="track"><div></div></div></div></td>`;
  about.classes.forEach((name, i) => {
    const row = document.createElement("tr");
    const cells = cell("p of-teacher") + cell("q") + cell("signed of-teacher");
    row.innerHTML = `<th scope="row"><button type="button"></button></th>${cells}`;
    row.querySelector("button").textContent = name;
    row.querySelector("button").addEventListener("click", () => {
      state.chosen = state.chosen === i ? null : i;
      showDigit();
    });
    $("classes").tBodies[0].append(row);
  });
  $("times").addEventListener("change", showDigit);
}

const chosen = () => state.chosen ?? (state.z ? argmax(state.v ?? state.z) : 0);

// The smallest round number that is not smaller; bars are drawn to this scale.
function roundUp(number) {
  const unit = 10 ** Math.floor(Math.log10(number));
  return unit * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * unit >= number * 0.9999);
}

function showTable(q, p, slopes) {
  const times = $("times").checked ? state.T ** 2 : 1;
  const limit = slopes && roundUp(Math.max(1e-300, ...slopes.map((one) => Math.abs(one * times))));
  const fill = (cell, text, from, to) => {
    cell.querySelector("span").textContent = text;
    Object.assign(cell.querySelector(".track div").style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
  };
  [...$("classes").tBodies[0].rows].forEach((row, i) => {
    row.classList.toggle("chosen", i === chosen());
    row.querySelector("button").setAttribute("aria-pressed", String(i === chosen()));
    fill(row.cells[1], p ? probability(p[i]) : "–", 0, p?.[i] ?? 0);
    fill(row.cells[2], q ? probability(q[i]) : "–", 0, q?.[i] ?? 0);
    const share = slopes ? (slopes[i] * times) / limit / 2 : 0;
    fill(row.cells[3], slopes ? short(slopes[i] * times) : "–", 0.5 + Math.min(share, 0), 0.5 + Math.max(share, 0));
  });
  $("gradient-head").innerHTML = `${$("times").checked ? "<i>T</i>²" : ""}(<i>q</i> − <i>p</i>)/<i>T</i>`;
  const scale = limit >= 0.001 ? +limit.toPrecision(2) : limit && short(limit).replace(".0 ", " ");
  $("gradient-axis").textContent = slopes ? `bars to ±${scale}` : "";
  $("entropy-p").textContent = p ? entropy(p).toFixed(3) : "–";
  $("entropy-q").textContent = q ? entropy(q).toFixed(3) : "–";
  $("cross-entropy").textContent = p ? softCrossEntropy(state.z, p, state.T).toFixed(3) : "–";
}

function showVerdict(q, p) {
  const parts = [];
  const say = (role, probabilities) => {
    const best = argmax(probabilities);
    const name = Object.assign(document.createElement("b"), { className: role, textContent: role });
    parts.push("The ", name, ` says ${about.classes[best]} (${probability(probabilities[best])}). `);
  };
  if (p) say("teacher", p);
  if (q) say("student", q);
  if (state.picked !== null) parts.push(`It is a ${about.classes[state.images.label[state.picked]]}.`);
  if (!q) parts.push("The field is empty.");
  $("verdict").replaceChildren(...parts);
  speak("spoken", `T = ${state.T}. ${$("verdict").textContent}${q ? ` Entropy of q ${entropy(q).toFixed(2)}.` : ""}`);
}

// For screen readers, once nothing has changed for a moment.
const speak = (() => {
  const timers = {};
  return (id, text) => {
    clearTimeout(timers[id]);
    timers[id] = setTimeout(() => ($(id).textContent = text), 700);
  };
})();

// --- the formulas, in MathML ----------------------------------------------------------------------------------------

const math = (tag, ...children) => {
  const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
  made.append(...children);
  return made;
};
const letter = (name) => math("mi", name);
const sign = (text) => math("mo", text);
const number = (text) => math("mn", text);
const fraction = (above, below) => math("mfrac", math("mrow", ...above), math("mrow", ...below));
const indexed = (name, i) => math("msub", letter(name), i === "j" ? letter(i) : math("mtext", i));
const exp = (...inner) => [letter("exp"), sign("("), ...inner, sign(")")];

// Eq. 1 of one class, first in letters and then in numbers.
function eq1(prob, logit, logits, T, i, name) {
  const most = Math.max(...logits);
  const logSum = most / T + Math.log(logits.reduce((sum, one) => sum + Math.exp((one - most) / T), 0));
  const sum = math("munder", sign("∑"), letter("j"));
  return [
    [indexed(prob, name), sign("=")],
    [
      fraction(exp(indexed(logit, name), sign("/"), letter("T")), [
        sum,
        ...exp(indexed(logit, "j"), sign("/"), letter("T")),
      ]),
      sign("="),
    ],
    [fraction(exp(number(short(logits[i])), sign("/"), number(T)), [number(power(logSum))]), sign("=")],
    [fraction([number(power(logits[i] / T))], [number(power(logSum))]), sign("=")],
    [number(probability(softmax(logits, T)[i]))],
  ];
}

function showFormulas(q, p, slopes) {
  const { T, z, v } = state;
  const i = chosen();
  const name = about.classes[i];
  $("chosen").textContent = name;
  const rows = q ? [["student, Eq. 1", eq1("q", "z", z, T, i, name)]] : [];
  if (p) {
    rows.unshift(["teacher, Eq. 1", eq1("p", "v", v, T, i, name)]);
    const slope = fraction([sign("∂"), letter("C")], [sign("∂"), indexed("z", name)]);
    rows.push([
      "gradient, Eq. 2",
      [
        [slope, sign("=")],
        [fraction([indexed("q", name), sign("−"), indexed("p", name)], [letter("T")]), sign("=")],
        [fraction([number(probability(q[i])), sign("−"), number(probability(p[i]))], [number(T)]), sign("=")],
        [number(short(slopes[i]))],
      ],
    ]);
    const mean = (logits) => logits.reduce((a, b) => a + b, 0) / N;
    const [from, to] = [z[i] - mean(z), v[i] - mean(v)];
    const square = () => math("msup", letter("T"), number("2"));
    const about0 = (one) => (one < 0 ? [sign("("), number(short(one)), sign(")")] : [number(short(one))]);
    rows.push([
      "at high T, Eq. 4, logits from their means",
      [
        [slope.cloneNode(true), sign("≈")],
        [fraction([indexed("z", name), sign("−"), indexed("v", name)], [letter("N"), square()]), sign("=")],
        [
          fraction(
            [number(short(from)), sign("−"), ...about0(to)],
            [number(N), sign("·"), math("msup", number(T), number("2"))],
          ),
          sign("="),
        ],
        [number(short(highTemperature(z, v, T)[i]))],
      ],
    ]);
  }
  const empty = Object.assign(document.createElement("p"), { className: "note", textContent: "Draw something first." });
  $("formulas").replaceChildren(...(rows.length ? rows.map(formula) : [empty]));
}

// A line of pieces, each with its sign behind, so that a narrow screen may break it.
function formula([name, pieces]) {
  const row = document.createElement("div");
  const told = Object.assign(document.createElement("span"), { className: "name", textContent: name });
  const line = Object.assign(document.createElement("span"), { className: "pieces" });
  for (const piece of pieces) {
    const made = math("math", ...piece);
    made.setAttribute("displaystyle", "true"); // fractions of full size
    line.append(made);
  }
  row.append(told, line);
  return row;
}

// --- charts ---------------------------------------------------------------------------------------------------------

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

// --- the toy --------------------------------------------------------------------------------------------------------

const TOY = { POINTS: 60, HIDDEN: 32, RATE: 0.02, CELLS: 56, EVERY: 20, MOST: 20000 };
const toy = { running: false, runs: [] };

function makeToy() {
  const random = toyRandom(1);
  toy.x = Array.from({ length: TOY.POINTS }, () => [1.9 * random() - 0.95, 1.9 * random() - 0.95]);
  toy.v = toy.x.map(toyTeacher);
  const side = Array.from({ length: TOY.CELLS }, (_, k) => (2 * k + 1) / TOY.CELLS - 1);
  toy.cells = side.flatMap((y) => side.map((x) => [x, y]));
  toy.cellsV = toy.cells.map(toyTeacher);
  toy.cellsClass = toy.cellsV.map(argmax);
  $("toy-run").addEventListener("click", () => runToy(!toy.running));
  $("toy-step").addEventListener("click", () => {
    runToy(false);
    trainToy(100);
  });
  $("toy-again").addEventListener("click", () => {
    runToy(false);
    startToy();
  });
  startToy();
}

function startToy() {
  if (toy.steps) toy.runs = [...toy.runs.slice(-3), toy.curve];
  Object.assign(toy, toyStudent(toyRandom(2), TOY.HIDDEN), { steps: 0, curve: { points: [], told: new Set() } });
  judgeToy();
  showToy();
}

function runToy(running) {
  toy.running = running;
  $("toy-run").textContent = running ? "Pause" : "Train";
  if (running) requestAnimationFrame(frameOfToy);
  else speak("toy-spoken", `${toy.steps} steps, they agree on ${$("toy-agreement").textContent} of the square`);
}

// As many steps as fit into a frame beside the drawing of it.
function frameOfToy() {
  if (!toy.running) return;
  const start = performance.now();
  do trainToy(1, false);
  while (performance.now() - start < 12 && toy.steps < TOY.MOST);
  showToy();
  if (toy.steps < TOY.MOST) requestAnimationFrame(frameOfToy);
  else runToy(false);
}

// What the toy learns from: soft targets at this T, or hard labels: logits too far apart for any doubt, at T = 1.
function toyTargets() {
  const hard = document.querySelector('input[name="targets"]:checked').value === "hard";
  const certain = (v) => v.map((_, k) => (k === argmax(v) ? 60 : 0));
  return { hard, v: hard ? toy.v.map(certain) : toy.v, T: hard ? 1 : state.T };
}

function trainToy(steps, shown = true) {
  const { hard, v, T } = toyTargets();
  toy.curve.told.add(hard ? "hard" : T);
  for (let k = 0; k < steps; k++) {
    toyStep(toy.student, toy.velocities, toy.x, v, T, TOY.RATE);
    toy.steps += 1;
    if (toy.steps % TOY.EVERY === 0) judgeToy();
  }
  if (shown) showToy();
}

function judgeToy() {
  toy.cellsZ = toyForward(toy.student, toy.cells).z;
  toy.agreement = toy.cellsZ.filter((z, i) => argmax(z) === toy.cellsClass[i]).length / toy.cells.length;
  toy.curve.points.push([toy.steps, toy.agreement]);
}

function nameOfRun({ told }) {
  const named = [...told].map((one) => (one === "hard" ? "hard" : `T = ${one}`));
  return named.length > 1 ? "several T" : (named[0] ?? "");
}

function showToy() {
  const { v, T } = toyTargets();
  const z = toyForward(toy.student, toy.x).z;
  const excess = z.map((row, i) => {
    const p = softmax(v[i], T);
    return T * T * (softCrossEntropy(row, p, T) - entropy(p));
  });
  const loss = excess.reduce((sum, one) => sum + one, 0) / excess.length;
  const percent = `${(100 * toy.agreement).toFixed(1)}%`;
  $("toy-steps").textContent = toy.steps.toLocaleString("en");
  $("toy-loss").textContent = short(Math.max(0, loss));
  $("toy-agreement").textContent = percent;
  paintSquare($("toy-teacher"), toy.cellsV);
  paintSquare($("toy-student"), toy.cellsZ);
  $("toy-teacher").setAttribute(
    "aria-label",
    `Three spiral arms, one for each class, softer at a higher T; T = ${state.T}`,
  );
  $("toy-student").setAttribute(
    "aria-label",
    `What the student makes of the square after ${toy.steps} steps; they agree on ${percent} of it`,
  );
  const most = Math.max(1000, ...[toy.curve, ...toy.runs].map((run) => run.points.at(-1)[0]));
  const unit = [200, 500, 1000, 2000, 5000].find((one) => most / one <= 6) ?? 5000;
  const across = {
    from: 0,
    to: most,
    ticks: Array.from({ length: Math.floor(most / unit) + 1 }, (_, k) => k * unit),
    name: "steps",
  };
  const up = { from: 0.3, to: 1, ticks: [0.4, 0.6, 0.8, 1], text: (one) => `${Math.round(100 * one)}%` };
  const lines = [toy.curve, ...toy.runs].map((run, k) => ({
    points: run.points,
    name: nameOfRun(run),
    colour: style(k ? "--soft" : "--student"),
    thin: k > 0,
  }));
  chart($("chart-toy"), across, up, lines, null, `They agree on ${percent} of the square after ${toy.steps} steps.`);
}

// The probabilities at T of every cell as a mixture of the classes' colours, and the points as shapes: ● ■ ▲.
function paintSquare(canvas, logits) {
  const square = canvas.getContext("2d");
  const colours = [0, 1, 2].map((k) => style(`--class-${k}`).split(",").map(Number));
  const image = new ImageData(TOY.CELLS, TOY.CELLS);
  logits.forEach((row, i) => {
    const probabilities = softmax(row, state.T);
    const mixed = [0, 1, 2].map((c) => probabilities.reduce((sum, one, k) => sum + one * colours[k][c], 0));
    image.data.set([...mixed, 255], 4 * i);
  });
  const small = Object.assign(document.createElement("canvas"), { width: TOY.CELLS, height: TOY.CELLS });
  small.getContext("2d").putImageData(image, 0, 0);
  square.drawImage(small, 0, 0, canvas.width, canvas.height);
  square.fillStyle = style("--paper");
  square.strokeStyle = style("--ink");
  square.lineWidth = 2;
  toy.x.forEach(([x, y], i) => {
    const [cx, cy, r] = [((x + 1) / 2) * canvas.width, ((y + 1) / 2) * canvas.height, 7];
    const kind = argmax(toy.v[i]);
    square.beginPath();
    if (kind === 0) square.arc(cx, cy, r, 0, 2 * Math.PI);
    if (kind === 1) square.rect(cx - r, cy - r, 2 * r, 2 * r);
    if (kind === 2)
      [
        [0, -r - 2],
        [r + 2, r],
        [-r - 2, r],
      ].forEach(([dx, dy], k) => square[k ? "lineTo" : "moveTo"](cx + dx, cy + dy));
    square.closePath();
    square.fill();
    square.stroke();
  });
}

// --- all of it ------------------------------------------------------------------------------------------------------

function show() {
  const T = state.T;
  $("T-shown").textContent = T < 10 ? T.toFixed(Number.isInteger(+(10 * T).toFixed(6)) ? 1 : 2) : T;
  $("T").setAttribute("aria-valuetext", `T = ${T}`);
  showDigit();
  if (!toy.running) showToy();
}

function showDigit() {
  const { T, z, v } = state;
  const q = z && softmax(z, T);
  const p = v && softmax(v, T);
  const slopes = p && gradient(q, p, T);
  paint($("seen"), state.x);
  showField();
  showPicked();
  showVerdict(q, p);
  showTable(q, p, slopes);
  showFormulas(q, p, slopes);
  showCharts();
}

function showAbout() {
  for (const role of ["teacher", "student"]) {
    const one = about[role];
    if (!one) continue;
    const [images, changed] = [one.images, one.changed].map((n) => n.toLocaleString("en"));
    const texts = [
      ` is ${one.name}, ${one.parameters.toLocaleString("en")} parameters, its weights here in ${about.bits} bits.`,
    ];
    if (one.errors !== null) {
      texts.push(`It errs on ${one.errors_in_page.toLocaleString("en")} of ${images} test images;`);
      texts.push(`in full precision it errs on ${one.errors.toLocaleString("en")}.`);
    }
    texts.push(`The fewer bits move no logit by more than ${short(one.largest_change)} on them,`);
    texts.push(`where logits spread by ${short(one.spread)}, and ${changed} of the ${images} change their class.`);
    const line = document.createElement("p");
    const name = Object.assign(document.createElement("b"), { className: role, textContent: role });
    line.append("The ", name, texts.join(" "));
    $("about").append(line);
  }
}

async function start() {
  for (const role of ["teacher", "student"]) {
    if (about[role]) state.networks[role] = readLayers(about[role].layers, await inflated(blockOf(role)));
  }
  document.body.classList.toggle("alone", !about.teacher);
  $("alone").hidden = !!about.teacher;
  makeSlider();
  makeField();
  makeTable();
  makeToy();
  showAbout();
  show();
  await makeGallery();
  const again = () => {
    for (const button of $("thumbs").children) paint(button.firstChild, imageOf(+button.dataset.image));
    show();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", show);
  document.documentElement.dataset.ready = "";
}

start();
