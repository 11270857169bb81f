// A digit to draw, by pointer or by keyboard, and test images to take instead.

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
