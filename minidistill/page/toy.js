// A toy that trains in the page: a student with one hidden layer learns three spiral arms from 60 points of the plane.
// As examples/00_by_hand.py, of which tests/test_page.py makes the same gradients. A matrix is a list of rows, a batch
// has B of them, and there are N = 3 classes.

const transposed = (A) => A[0].map((_, j) => A.map((row) => row[j]));
const product = (A, B) => A.map((row) => B[0].map((_, j) => row.reduce((sum, a, i) => sum + a * B[i][j], 0)));
const sumOfRows = (A) => A.reduce((sum, row) => sum.map((a, j) => a + row[j]));

// The hidden units h (B, H) and the logits z (B, N) of points x (B, 2).
function toyForward({ W1, b1, W2, b2 }, x) {
  const h = product(x, W1).map((row) => row.map((a, j) => Math.max(a + b1[j], 0)));
  return { h, z: product(h, W2).map((row) => row.map((a, j) => a + b2[j])) };
}

// The gradients of C = T² mean_B(-Σ p log q), with p of the teacher's logits v (B, N), q of the student's z.
function toyGradients(student, x, v, T) {
  const { h, z } = toyForward(student, x);
  // T² times Eq. 2: as T grows, q - p shrinks as 1/T too, and T² undoes both
  const dz = z.map((row, i) => gradient(softmax(row, T), softmax(v[i], T), T).map((one) => (T * T * one) / x.length));
  // back through the second matrix, and through the units above 0 alone
  const da = product(dz, transposed(student.W2)).map((row, i) => row.map((one, j) => (h[i][j] > 0 ? one : 0)));
  return {
    W1: product(transposed(x), da),
    b1: sumOfRows(da), // (2, H), (H)
    W2: product(transposed(h), dz),
    b2: sumOfRows(dz), // (H, N), (N)
  };
}

// One step of gradient descent with momentum, in place: u becomes 0.9 u + rate g, and is taken from w.
function toyStep(student, velocities, x, v, T, rate) {
  const gradients = toyGradients(student, x, v, T);
  const step = (w, u, g) =>
    w.forEach((one, i) => {
      if (Array.isArray(one)) return step(one, u[i], g[i]);
      u[i] = 0.9 * u[i] + rate * g[i];
      w[i] -= u[i];
    });
  for (const name in student) step(student[name], velocities[name], gradients[name]);
}

// The teacher: a formula, three arms that turn with the radius.
function toyTeacher([x, y]) {
  const r = Math.hypot(x, y);
  const turn = Math.atan2(y, x) - 2.5 * r;
  return [0, 1, 2].map((k) => 6 * Math.min(1, r / 0.3) * Math.cos(turn - (2 * Math.PI * k) / 3));
}

// Numbers in [0, 1) that look random, the same in every browser: Weyl's sequence, with its bits mixed (Steele 2014).
function toyRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let bits = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32;
  };
}

// A student with H hidden units, and velocities of 0.
function toyStudent(random, H) {
  const matrix = (n, m, bound) =>
    Array.from({ length: n }, () => Array.from({ length: m }, () => bound * (2 * random() - 1)));
  const student = { W1: matrix(2, H, 2), b1: matrix(1, H, 1)[0], W2: matrix(H, 3, 1.7 / Math.sqrt(H)), b2: [0, 0, 0] };
  const zero = (one) => (Array.isArray(one) ? one.map(zero) : 0);
  return { student, velocities: Object.fromEntries(Object.entries(student).map(([name, w]) => [name, zero(w)])) };
}
