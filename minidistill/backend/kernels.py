"""The CUDA kernels of the CuPy backend: what stands between the matrix products of a training step, fused.

`real` is the type of the arrays, `pixel` of images. A thread computes one element, except in `objective` (a block of
threads for a row) and in `max_norm` (a block for 8 columns), which add up across threads. Each kernel computes what
the method of the same name in reference.py does.
"""

SOURCE = r"""
// --- random bits, as in random.py ---

__device__ unsigned int mix(unsigned int x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

__device__ unsigned int word(unsigned int counter, unsigned int s1, unsigned int s2, unsigned int key) {
    return mix(mix(counter + s1) ^ s2 ^ key);
}

// Whether element i of (R, rows, columns) is kept: four columns of a row share a word, a byte each.
__device__ bool kept(long long i, int rows, int columns, const unsigned int* s1, const unsigned int* s2,
                     unsigned int key, int threshold) {
    int column = i % columns, row = i / columns % rows, replica = i / columns / rows;
    unsigned int counter = row * ((columns + 3) / 4) + column / 4;
    unsigned int w = word(counter, s1[replica], s2[replica], key);
    return (int)((w >> 8 * (column % 4)) & 255) < threshold;
}

__device__ long long element() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// --- layers ---

extern "C" __global__ void dropout(const real* x, real* out, bool* keep, const unsigned int* s1,
                                   const unsigned int* s2, unsigned int key, int threshold, real scale, int rows,
                                   int columns, long long size) {
    long long i = element();
    if (i >= size) return;
    keep[i] = kept(i, rows, columns, s1, s2, key, threshold);
    out[i] = keep[i] ? x[i] * scale : (real)0;
}

// y = dropout(max(y + b, 0)); no dropout at threshold 256. A NaN stays one.
extern "C" __global__ void bias_relu_dropout(real* y, const real* b, const unsigned int* s1, const unsigned int* s2,
                                  unsigned int key, int threshold, real scale, int rows, int columns,
                                  long long size) {
    long long i = element();
    if (i >= size) return;
    real h = y[i] + b[i / columns / rows * columns + i % columns];
    bool open = !(h <= 0) && (threshold == 256 || kept(i, rows, columns, s1, s2, key, threshold));
    y[i] = open ? h * scale : (real)0;
}

extern "C" __global__ void relu_backward(real* dy, const real* y, real scale, long long size) {
    long long i = element();
    if (i < size) dy[i] = y[i] > 0 ? dy[i] * scale : (real)0;
}

// --- batches ---

// out (M, H, W) = images moved by (dy, dx), zeros moving in.
extern "C" __global__ void translate(const pixel* images, const long long* dy, const long long* dx, pixel* out, int H,
                                 int W, long long size) {
    long long i = element();
    if (i >= size) return;
    long long image = i / W / H, y = i / W % H - dy[image], x = i % W - dx[image];
    out[i] = 0 <= y && y < H && 0 <= x && x < W ? images[(image * H + y) * W + x] : (pixel)0;
}

// dy and dx of row i of (R, B), uniform in -reach..reach.
extern "C" __global__ void jitter_offsets(const long long* index, const unsigned int* s1, const unsigned int* s2,
                                 unsigned int key, int reach, long long* dy, long long* dx, int B, long long size) {
    long long i = element();
    if (i >= size) return;
    unsigned int w = word((unsigned int)index[i], s1[i / B], s2[i / B], key), span = 2 * reach + 1;
    dy[i] = (long long)((w >> 16) * span >> 16) - reach;
    dx[i] = (long long)((w & 0xFFFF) * span >> 16) - reach;
}

// --- loss and update ---

// The sum or the maximum of x over the threads of a block, the same in all of them; blockDim.x is a power of 2.
__device__ real over_block(real x, bool maximum) {
    __shared__ real cells[256];
    int t = threadIdx.x;
    cells[t] = x;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) {
            real other = cells[t + half];
            cells[t] = maximum ? (other > cells[t] ? other : cells[t]) : cells[t] + other;
        }
        __syncthreads();
    }
    x = cells[0];
    __syncthreads();
    return x;
}

// log Σ exp((u - m)/T), and the maximum m, which is taken out before the division: so a common offset costs no digits
__device__ void log_sum(const real* u, real T, int N, real* maximum, real* log_of_sum) {
    real m = u[threadIdx.x < N ? threadIdx.x : 0], sum = 0;
    for (int i = threadIdx.x; i < N; i += blockDim.x) m = u[i] > m ? u[i] : m;
    m = over_block(m, true);
    for (int i = threadIdx.x; i < N; i += blockDim.x) sum += exp((u[i] - m) / T);
    *maximum = m;
    *log_of_sum = log(over_block(sum, false));
}

// p, d and, as the result, p (exp(d) - 1): `compare` of losses/digits.py, for one class.
__device__ real change(real z, real v, real z_max, real v_max, real T, real log_of_sum, real* p, real* d) {
    real below_z = z - z_max, below_v = v - v_max, larger = below_z < below_v ? -below_z : -below_v;
    *d = (fabs(z - v) <= larger ? (z - v) - (z_max - v_max) : below_z - below_v) / T;
    *p = exp(below_v / T - log_of_sum);
    return *d < 1 ? *p * expm1(*d) : exp(below_z / T - log_of_sum) - *p;
}

// p (exp(r) - 1 - r) for a small r, as kl_rows there.
__device__ real second_order(real p, real r) {
    return p * r * r / 2 * (1 + r / 3 * (1 + r / 4 * (1 + r / 5 * (1 + r / 6 * (1 + r / 7 * (1 + r / 8))))));
}

// log(1 + x) with all digits (Kahan): what rounding adds to 1 + x is divided out again.
__device__ real log_one_plus(real x) {
    real u = 1 + x;
    return u == 1 ? x : log(u) * x / (u - 1);
}

// The balanced objective of one row, a block's: loss_rows (R, B), dz (R, B, N). T (R) or, with T_step 0, (1).
extern "C" __global__ void objective(const real* z, const real* v, const long long* y, const real* T, int T_step,
                                     real alpha, real* loss_rows, real* dz, int B, int N) {
    long long row = blockIdx.x;
    z += row * N;
    v += row * N;
    dz += row * N;
    real temperature = T[row / B * T_step], loss = 0, A = 0, others = 0, p, d, z_max, z_log, v_max, v_log;
    log_sum(z, (real)1, N, &z_max, &z_log);  // the maximum for both terms, the logarithm for the hard one
    if (alpha > 0) {
        log_sum(v, temperature, N, &v_max, &v_log);
        for (int i = threadIdx.x; i < N; i += blockDim.x)
            A += change(z[i], v[i], z_max, v_max, temperature, v_log, &p, &d);
        A = over_block(A, false);
    }
    if (alpha < 1) {
        for (int i = threadIdx.x; i < N; i += blockDim.x)
            if (y[row] != i) others += exp((z[i] - z_max) - z_log);
        others = over_block(others, false);
    }
    for (int i = threadIdx.x; i < N; i += blockDim.x) {
        real gradient = 0;
        if (alpha > 0) {
            real of_p = change(z[i], v[i], z_max, v_max, temperature, v_log, &p, &d);
            real difference = (of_p - p * A) / (1 + A), r = d - log_one_plus(A);
            real kl = fabs(r) < (real)0.05 ? second_order(p, r) : difference - p * r;
            loss += alpha * temperature * temperature * kl;
            gradient = alpha * temperature * difference;
        }
        if (alpha < 1) {
            real log_q = (z[i] - z_max) - z_log;
            if (y[row] == i) loss -= (1 - alpha) * log_q;
            gradient += (1 - alpha) * (y[row] == i ? -others : exp(log_q));
        }
        dz[i] = gradient / B;
    }
    loss = over_block(loss, false);
    if (threadIdx.x == 0) loss_rows[row] = loss;
}

extern "C" __global__ void add_scaled(real* y, const real* x, real factor, long long size) {
    long long i = element();
    if (i < size) y[i] += factor * x[i];
}

extern "C" __global__ void nesterov(real* w, real* velocity, const real* g, real momentum, long long size) {
    long long i = element();
    if (i >= size) return;
    velocity[i] = momentum * (velocity[i] + g[i]);
    w[i] -= velocity[i] + g[i];
}

// rate and scale2 hold the corrections of the bias towards 0; kept is 1 - learning rate times weight decay.
extern "C" __global__ void adamw(real* w, real* first, real* second, const real* g, real rate, real beta1, real rest1,
                                 real beta2, real rest2, real scale2, real epsilon, real kept, long long size) {
    long long i = element();
    if (i >= size) return;
    first[i] = beta1 * first[i] + rest1 * g[i];
    second[i] = beta2 * second[i] + rest2 * g[i] * g[i];
    w[i] = kept * w[i] - rate * (first[i] / (sqrt(second[i] * scale2) + epsilon));
}

// A block for 8 columns, 32 bytes and more of a row, of one replica's W: threadIdx.x is the column, threadIdx.y a share
// of the rows. Replicas are counted by blockIdx.x, which alone may exceed 65,535.
extern "C" __global__ void max_norm(real* W, real limit, int n_in, int n_out) {
    __shared__ real sums[32][8];
    int tx = threadIdx.x, ty = threadIdx.y, column = blockIdx.y * 8 + tx;
    W += (long long)blockIdx.x * n_in * n_out;
    real sum = 0;
    if (column < n_out)
        for (int i = ty; i < n_in; i += 32) sum += W[(long long)i * n_out + column] * W[(long long)i * n_out + column];
    sums[ty][tx] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < 32; i++) sum += sums[i][tx];
    real norm = sqrt(sum);
    if (column < n_out && norm > limit)
        for (int i = ty; i < n_in; i += 32) W[(long long)i * n_out + column] *= limit / norm;
}
"""
