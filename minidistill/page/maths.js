// The maths of the page, in the paper's letters: z the student's logits, v the teacher's, q and p their probabilities,
// T the temperature. tests/test_page.py holds every function to NumPy.

// Eq. 1: q_i = exp(z_i/T) / Σ_j exp(z_j/T). The maximum cancels, and nothing overflows.
function softmax(z, T) {
  const most = Math.max(...z);
  const e = Array.from(z, (one) => Math.exp((one - most) / T));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((one) => one / sum);
}

// -Σ_i q_i log q_i, in nats: 0 for one certain class, log N for N equal ones.
function entropy(q) {
  return -q.reduce((sum, one) => sum + (one > 0 ? one * Math.log(one) : 0), 0);
}

// C = -Σ_i p_i log q_i, with q of the logits z at T; log q_i = z_i/T - log Σ_j exp(z_j/T), which no q of 0 disturbs.
function softCrossEntropy(z, p, T) {
  const most = Math.max(...z);
  const logSum = Math.log(z.reduce((sum, one) => sum + Math.exp((one - most) / T), 0));
  return p.reduce((sum, one, i) => sum - one * ((z[i] - most) / T - logSum), 0);
}

// Eq. 2: dC/dz_i = (q_i - p_i)/T. Where q and p are both near 1 their difference has no digits left; but all of them
// sum to 0, so that it is minus the sum of the others.
function gradient(q, p, T) {
  const slopes = q.map((one, i) => (one - p[i]) / T);
  const i = q.findIndex((one) => one > 0.5);
  if (i >= 0) slopes[i] = -slopes.reduce((sum, one, j) => (j === i ? sum : sum + one), 0);
  return slopes;
}

// Eq. 4, what Eq. 2 comes to as T grows: (z_i - v_i)/(N T²), with each network's logits taken from their mean.
function highTemperature(z, v, T) {
  const mean = (logits) => logits.reduce((a, b) => a + b, 0) / logits.length;
  return Array.from(z, (one, i) => (one - mean(z) - v[i] + mean(v)) / (z.length * T * T));
}

function argmax(z) {
  return z.indexOf(Math.max(...z));
}

// The bytes that were compressed by zlib and written in base64.
async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

// A network's arrays out of its bytes: the float32 vectors of all layers first, then the int8 matrices.
function readLayers(layers, buffer) {
  const sizes = (layer) => (layer.kind === "Dense" ? [layer.n_out, layer.n_out] : [layer.n_in, layer.n_in]);
  const withArrays = layers.filter((layer) => layer.kind !== "ReLU");
  let start = 0;
  for (const layer of withArrays) {
    const [first, second] = sizes(layer).map((n) => {
      const array = new Float32Array(buffer, start, n);
      start += 4 * n;
      return array;
    });
    Object.assign(layer, layer.kind === "Dense" ? { s: first, b: second } : { mean: first, scale: second });
  }
  for (const layer of withArrays.filter((one) => one.kind === "Dense")) {
    layer.q = new Int8Array(buffer, start, layer.n_in * layer.n_out);
    start += layer.n_in * layer.n_out;
  }
  return layers;
}

// The logits of x. A Dense layer is x W + b with W = q s: whole numbers q, and one scale s for each unit.
function forward(layers, x) {
  let h = Float64Array.from(x);
  for (const layer of layers) {
    if (layer.kind === "Standardise") {
      h = h.map((one, i) => (one - layer.mean[i]) * layer.scale[i]);
    } else if (layer.kind === "ReLU") {
      h = h.map((one) => Math.max(one, 0));
    } else {
      const { q, s, b, n_in, n_out } = layer;
      const y = new Float64Array(n_out);
      for (let i = 0; i < n_in; i++) {
        if (h[i] === 0) continue; // most pixels, and half of the hidden units
        for (let j = 0; j < n_out; j++) y[j] += h[i] * q[i * n_out + j];
      }
      h = y.map((one, j) => one * s[j] + b[j]);
    }
  }
  return Array.from(h);
}

// How MNIST's digits were made: each was scaled to fit a box of 20 x 20, keeping its shape, and put into 28 x 28 with
// its centre of mass in the middle. Networks that learned from them know no other digits.
const SIDE = 28,
  BOX = 20,
  MIDDLE = 14.5; // pixel i reaches from i to i + 1, and MNIST's middle is pixel 14
const PEN = 3.0,
  EDGE = 1.3; // a stroke's width, and that of its grey edge, as in MNIST: 104 of ink in a digit
const SMALLEST = 0.1; // of the drawing's field: what is smaller is a dot, and stays one

// Strokes, lists of points [x, y] in a field of 1 x 1, as 28 x 28 pixels in [0, 1].
function asMnist(strokes) {
  const points = strokes.flat();
  if (!points.length) return new Float64Array(SIDE * SIDE);
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const scale = (BOX - PEN) / Math.max(right - left, bottom - top, SMALLEST);
  const placed = (dx, dy) =>
    strokes.map((stroke) =>
      stroke.map(([x, y]) => [
        SIDE / 2 + dx + (x - (left + right) / 2) * scale,
        SIDE / 2 + dy + (y - (top + bottom) / 2) * scale,
      ]),
    );
  const [x, y] = centreOfMass(ink(placed(0, 0)));
  const margin = (SIDE - BOX) / 2; // no further than to the rim, where something would be cut off
  const move = (from) => Math.max(-margin, Math.min(margin, MIDDLE - from));
  return ink(placed(move(x), move(y)));
}

// Strokes in pixels, drawn with the pen: 1 within it, 0 outside, and grey by the distance at its edge.
function ink(strokes) {
  const x = new Float64Array(SIDE * SIDE);
  const reach = PEN / 2 + EDGE / 2;
  const within = (from, to) => [Math.max(0, Math.floor(from - reach)), Math.min(SIDE - 1, Math.floor(to + reach))];
  for (const stroke of strokes) {
    stroke.forEach(([bx, by], k) => {
      const [ax, ay] = stroke[Math.max(0, k - 1)];
      const length = (bx - ax) ** 2 + (by - ay) ** 2;
      const [left, right] = within(Math.min(ax, bx), Math.max(ax, bx));
      const [top, bottom] = within(Math.min(ay, by), Math.max(ay, by));
      for (let row = top; row <= bottom; row++) {
        for (let column = left; column <= right; column++) {
          const [cx, cy] = [column + 0.5 - ax, row + 0.5 - ay];
          const along = length && Math.max(0, Math.min(1, (cx * (bx - ax) + cy * (by - ay)) / length));
          const distance = Math.hypot(cx - along * (bx - ax), cy - along * (by - ay));
          const dark = Math.max(0, Math.min(1, (PEN / 2 - distance) / EDGE + 0.5));
          x[row * SIDE + column] = Math.max(x[row * SIDE + column], dark);
        }
      }
    });
  }
  return x;
}

function centreOfMass(x) {
  let [mass, across, down] = [0, 0, 0];
  x.forEach((dark, i) => {
    mass += dark;
    across += dark * ((i % SIDE) + 0.5);
    down += dark * (Math.floor(i / SIDE) + 0.5);
  });
  return [across / mass, down / mass];
}
