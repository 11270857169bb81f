// The page: its one state, which the other scripts show and change, the slider of T, and the start.

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
  z: null, // the student's logits, null for an empty field
  v: null, // the teacher's
  chosen: null, // the class that was clicked, null for the teacher's own
};

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

start().catch((error) => {
  $("failed").hidden = false;
  throw error;
});
