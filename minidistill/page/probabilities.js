// What the networks say of a digit: numbers as text, the table of p, q and (q - p)/T, and the formulas filled in.

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
