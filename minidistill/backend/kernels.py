"""The CUDA kernels of the CuPy backend: what stands between the matrix products of a training step, fused.

`real` is the type of the arrays, `pixel` of images. A thread computes one element, except in `objective` (a block of
threads for a row) and in `max_norm` (a block for 32 columns), which add up across threads. Each kernel computes what
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

__device__ unsigned int word(unsigned int counter, unsigned int s1, unsigned int s2, unsigned int stream) {
    return mix(mix(counter + s1) ^ s2 ^ stream);
}

// Whether element i of (R, rows, columns) is kept: four columns of a row share a word, a byte each.
__device__ bool kept(long long i, int rows, int columns, const unsigned int* s1, const unsigned int* s2,
                     unsigned int stream, int threshold) {
    int column = i % columns, row = i / columns % rows, replica = i / columns / rows;
    unsigned int counter = row * ((columns + 3) / 4) + column / 4;
    unsigned int w = word(counter, s1[replica], s2[replica], stream);
    return (int)((w >> 8 * (column % 4)) & 255) < threshold;
}

__device__ long long element() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// --- layers ---

extern "C" __global__ void dropout(const real* x, real* out, bool* keep, const unsigned int* s1,
                                   const unsigned int* s2, unsigned int stream, int threshold, real scale, int rows,
                                   int columns, long long size) {
    long long i = element();
    if (i >= size) return;
    keep[i] = kept(i, rows, columns, s1, s2, stream, threshold);
    out[i] = keep[i] ? x[i] * scale : (real)0;
}

// y = dropout(max(y + b, 0)); no dropout at threshold 256. A NaN stays one.
extern "C" __global__ void hidden(real* y, const real* b, const unsigned int* s1, const unsigned int* s2,
                                  unsigned int stream, int threshold, real scale, int rows, int columns,
                                  long long size) {
    long long i = element();
    if (i >= size) return;
    real h = y[i] + b[i / columns / rows * columns + i % columns];
    bool open = !(h <= 0) && (threshold == 256 || kept(i, rows, columns, s1, s2, stream, threshold));
    y[i] = open ? h * scale : (real)0;
}

extern "C" __global__ void relu_backward(real* dh, const real* h, real scale, long long size) {
    long long i = element();
    if (i < size) dh[i] = h[i] > 0 ? dh[i] * scale : (real)0;
}

// --- batches ---

// out (M, H, W) = images moved by (dy, dx), zeros moving in.
extern "C" __global__ void shift(const pixel* images, const long long* dy, const long long* dx, pixel* out, int H,
                                 int W, long long size) {
    long long i = element();
    if (i >= size) return;
    long long image = i / W / H, y = i / W % H - dy[image], x = i % W - dx[image];
    out[i] = 0 <= y && y < H && 0 <= x && x < W ? images[(image * H + y) * W + x] : (pixel)0;
}

// dy and dx of row i of (R, B), uniform in -reach..reach.
extern "C" __global__ void moves(const long long* index, const unsigned int* s1, const unsigned int* s2,
                                 unsigned int stream, int reach, long long* dy, long long* dx, int B, long long size) {
    long long i = element();
    if (i >= size) return;
    unsigned int w = word((unsigned int)index[i], s1[i / B], s2[i / B], stream), span = 2 * reach + 1;
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

// Eq. 7 of one row, a block's: loss_rows (R, B), dz (R, B, N) times scale. T (R) or, with T_step 0, (1).
extern "C" __global__ void objective(const real* z, const real* v, const long long* y, const real* T, int T_step,
                                     real alpha, real scale, real* loss_rows, real* dz, int B, int N) {
    long long row = blockIdx.x;
    z += row * N;
    v += row * N;
    dz += row * N;
    real temperature = T[row / B * T_step], loss = 0;
    real z_max, z_log, v_max, v_log, hard_max, hard_log;
    if (alpha > 0) {
        log_sum(z, temperature, N, &z_max, &z_log);
        log_sum(v, temperature, N, &v_max, &v_log);
    }
    if (alpha < 1) log_sum(z, (real)1, N, &hard_max, &hard_log);
    for (int i = threadIdx.x; i < N; i += blockDim.x) {
        real gradient = 0;
        if (alpha > 0) {
            real log_q = (z[i] - z_max) / temperature - z_log, log_p = (v[i] - v_max) / temperature - v_log;
            real q = exp(log_q), p = exp(log_p), d = log_p - log_q;
            real kl = d > -1 ? p * (d + expm1(-d)) : p * d + (q - p);
            loss += alpha * temperature * temperature * kl;
            gradient = alpha * temperature * (q - p);
        }
        if (alpha < 1) {
            real log_q = (z[i] - hard_max) - hard_log, right = y[row] == i;
            loss -= (1 - alpha) * right * log_q;
            gradient += (1 - alpha) * (exp(log_q) - right);
        }
        dz[i] = scale * gradient;
    }
    loss = over_block(loss, false);
    if (threadIdx.x == 0) loss_rows[row] = loss;
}

extern "C" __global__ void nesterov(real* w, real* v, const real* g, real momentum, long long size) {
    long long i = element();
    if (i >= size) return;
    v[i] = momentum * (v[i] + g[i]);
    w[i] -= v[i] + g[i];
}

// A block for 32 columns of one replica's W: threadIdx.x is the column, threadIdx.y a share of the rows.
extern "C" __global__ void max_norm(real* W, real limit, int n_in, int n_out) {
    __shared__ real sums[8][32];
    int tx = threadIdx.x, ty = threadIdx.y, column = blockIdx.x * 32 + tx;
    W += (long long)blockIdx.y * n_in * n_out;
    real sum = 0;
    if (column < n_out)
        for (int i = ty; i < n_in; i += 8) sum += W[(long long)i * n_out + column] * W[(long long)i * n_out + column];
    sums[ty][tx] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < 8; i++) sum += sums[i][tx];
    real norm = sqrt(sum);
    if (column < n_out && norm > limit)
        for (int i = ty; i < n_in; i += 8) W[(long long)i * n_out + column] *= limit / norm;
}
"""
