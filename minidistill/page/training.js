// The toy on the screen: its buttons, its squares, and how much of them student and teacher agree on.

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
