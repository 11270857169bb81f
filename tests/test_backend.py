"""Every backend computes what the reference does, which is held to plain NumPy in double (or longer) precision here.

Buffers that a method must fill hold NaN before the call, and so does the memory around operands that are views.
"""

import re
import sys
import types

import fake_cupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import examples

import minidistill as md
from minidistill import random
from minidistill.backend import Backend, CupyBackend, blas
from minidistill.backend.blas import find_library
from minidistill.backend.reference import CHUNK, XP_FUNCTIONS

sizes = st.integers(1, 9)
leads = st.sampled_from([(), (1,), (3,)])
dtypes = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)

LAYOUTS = {  # (rows, columns) -> the shape that holds them, and the view of it that is the matrix
    "by rows": (lambda m, n: (m, n), lambda x: x),
    "by columns": (lambda m, n: (n, m), lambda x: x.swapaxes(-1, -2)),
    "part of wider rows": (lambda m, n: (m, n + 2), lambda x: x[..., 1:-1]),
    "part of longer columns": (lambda m, n: (n, m + 2), lambda x: x[..., 1:-1].swapaxes(-1, -2)),
    "every second row": (lambda m, n: (2 * m, n), lambda x: x[..., ::2, :]),
    "every second column": (lambda m, n: (m, 2 * n), lambda x: x[..., ::2]),
    "upside down": (lambda m, n: (m, n), lambda x: x[..., ::-1, :]),
    "mirrored": (lambda m, n: (m, n), lambda x: x[..., ::-1]),
}
few = settings(max_examples=examples(10))  # for laws that are tried once for each of several cases
EACH_IN_TURN = [(x, "by columns", "by rows") for x in LAYOUTS] + [("by rows", x, "by rows") for x in LAYOUTS]
EACH_IN_TURN += [("by columns", "by rows", x) for x in LAYOUTS]  # of a, b and out


def move(backend, x):
    """A copy of x on the backend's device."""
    return backend.asarray(np.array(x))


def poison(backend, shape, dtype):
    return move(backend, np.full(shape, 255 if np.dtype(dtype).kind == "u" else np.nan, dtype))


def matrix(backend, x, layout):
    """x (..., m, n) on the device in this layout, with NaN around it."""
    held_in, view = LAYOUTS[layout]
    a = view(poison(backend, (*x.shape[:-2], *held_in(*x.shape[-2:])), x.dtype))
    a[...] = move(backend, x)
    return a


def precise(x):
    """x in the next longer floating-point type."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def assert_within(backend, result, truth, ulps, scale=None):
    """|result - truth| <= ulps of the result's dtype, relative to `scale` (the truth, if absent)."""
    error = np.abs(backend.to_host(result).astype(truth.dtype) - truth)
    bound = ulps * np.finfo(result.dtype).eps * np.abs(truth if scale is None else scale)
    assert (error <= bound).all(), f"error {np.max(error / (bound + 1e-300)):.3g} times the bound"


def assert_unchanged(backend, *pairs):
    for on_device, before in pairs:
        np.testing.assert_array_equal(backend.to_host(on_device), before)


# --- layers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("places", EACH_IN_TURN)
@few
@given(rng=rngs, dtype=dtypes, lead=leads, m=sizes, k=sizes, n=sizes)
def test_accumulate_adds_the_product_to_beta_out_in_every_layout(backend, places, beta, rng, dtype, lead, m, k, n):
    a, b, c = (rng.standard_normal((*lead, *s)).astype(dtype) for s in ((m, k), (k, n), (m, n)))
    if beta == 0:
        c[...] = np.nan  # unread by contract
    A, B, C = (matrix(backend, x, place) for x, place in zip((a, b, c), places, strict=True))
    assert backend.accumulate(A, B, out=C, beta=beta) is C
    kept = beta * precise(c) if beta else 0.0
    scale = np.abs(kept) + np.abs(precise(a)) @ np.abs(precise(b))
    assert_within(backend, C, kept + precise(a) @ precise(b), 2 * (k + 2), scale)
    assert_unchanged(backend, (A, a), (B, b))


@pytest.mark.parametrize("places", EACH_IN_TURN)
@few
@given(rng=rngs, dtype=dtypes, lead=leads, m=sizes, k=sizes, n=sizes)
def test_matmul_is_the_product_in_every_layout(backend, places, rng, dtype, lead, m, k, n):
    a, b = (rng.standard_normal((*lead, *s)).astype(dtype) for s in ((m, k), (k, n)))
    out = matrix(backend, np.full((*lead, m, n), np.nan, dtype), places[2])
    A, B = matrix(backend, a, places[0]), matrix(backend, b, places[1])
    assert backend.matmul(A, B, out=out) is out
    assert_within(backend, out, precise(a) @ precise(b), 2 * k, np.abs(precise(a)) @ np.abs(precise(b)))
    assert_unchanged(backend, (A, a), (B, b))


@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize(
    "shared", ["by all replicas", "by all replicas, with an axis", "by all rows", "by all columns"]
)
@few
@given(rng=rngs, dtype=dtypes, m=sizes, k=sizes, n=sizes)
def test_accumulate_takes_an_operand_that_is_shared(backend, shared, beta, rng, dtype, m, k, n):
    shape = {"by all replicas": (m, k), "by all rows": (3, 1, k), "by all columns": (3, m, 1)}.get(shared, (1, m, k))
    a, b, c = (rng.standard_normal(s).astype(dtype) for s in (shape, (3, k, n), (3, m, n)))
    A, C = move(backend, a), move(backend, c)
    if shared in ("by all rows", "by all columns"):
        A, a = backend.xp.broadcast_to(A, (3, m, k)), np.broadcast_to(a, (3, m, k))
    assert backend.accumulate(A, move(backend, b), out=C, beta=beta) is C
    scale = beta * np.abs(precise(c)) + np.abs(precise(a)) @ np.abs(precise(b))
    assert_within(backend, C, beta * precise(c) + precise(a) @ precise(b), 2 * (k + 2), scale)


def test_operands_that_do_not_fit_are_refused_and_not_read_beyond_their_ends(backend):
    a, b, out, x, y = (move(backend, np.ones(shape)) for shape in ((2, 3), (3, 4), (3, 4), 6, 4))
    with pytest.raises(ValueError, match=r".+"):
        backend.accumulate(a, b, out=out, beta=0.5)
    with pytest.raises(ValueError, match=r".+"):
        backend.accumulate(b, b, out=out, beta=0.5)
    with pytest.raises(ValueError, match=r".+"):
        backend.add_scaled(x, y, -1.0)


@given(rng=rngs, dtype=dtypes, lead=leads, rows=sizes, n=sizes)
def test_affine_is_the_product_and_the_bias(backend, rng, dtype, lead, rows, n):
    x, W, b = (
        rng.integers(-2, 3, (*lead, *shape)).astype(dtype) for shape in ((rows, 3), (3, n), (1, n))
    )  # exact sums
    operands = [(move(backend, array), array) for array in (x, W, b)]
    out = poison(backend, (*lead, rows, n), dtype)
    assert backend.affine(*(moved for moved, _ in operands), out=out) is out
    assert_unchanged(backend, (out, x @ W + b), *operands)


@given(rng=rngs, dtype=dtypes, lead=leads, rows=sizes, n=sizes, scale=st.sampled_from([1.0, 2.0, 256 / 205]))
def test_relu_backward_scales_where_h_is_positive_and_is_zero_elsewhere(backend, rng, dtype, lead, rows, n, scale):
    h = rng.integers(-1, 2, (*lead, rows, n)).astype(dtype)
    dh = rng.standard_normal(h.shape).astype(dtype)
    H, dH, positive = move(backend, h), move(backend, dh), move(backend, rng.random(h.shape) < 0.5)
    assert backend.relu_backward(dH, H, scale, positive) is dH
    assert_within(backend, dH, np.where(h > 0, scale * precise(dh), 0), 1)
    assert_unchanged(backend, (H, h))


@pytest.mark.parametrize("in_place", [False, True])
@given(rng=rngs, dtype=dtypes, lead=leads, rows=sizes, n=sizes, threshold=st.integers(1, 256))
def test_dropout_keeps_the_units_that_the_reference_keeps(backend, in_place, rng, dtype, lead, rows, n, threshold):
    x, key = rng.standard_normal((*lead, rows, n)).astype(dtype), random.purpose_key(random.DROPOUT, 5)
    seeds = [1, 2, 3][: lead[0]] if lead else 1
    keep = random.KeepMask(np, x.shape).draw(random.seed_key(seeds), key, threshold)
    X, seed = move(backend, x), random.seed_key(seeds, backend.asarray)
    out = X if in_place else poison(backend, x.shape, dtype)
    mask = random.KeepMask(backend.xp, x.shape)
    assert backend.dropout(X, mask, seed, key, threshold, out) is out
    assert_within(backend, out, np.where(keep, precise(x) * (256 / threshold), 0), 1)
    if not in_place:
        assert_unchanged(backend, (X, x))


# --- loss and update ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_T", [False, True], ids=["one T", "a T for each replica"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@few
@given(rng=rngs, dtype=dtypes, lead=leads, rows=sizes, N=st.integers(2, 9), T=st.floats(0.5, 20))
def test_objective_is_the_balanced_objective_and_writes_its_own_loss_alone(
    backend, alpha, own_T, rng, dtype, lead, rows, N, T
):
    z, v = (rng.uniform(-5, 5, (*lead, rows, N)).astype(dtype) for _ in "zv")
    y = rng.integers(0, N, (*lead, rows))
    T = T * np.arange(1, 1 + lead[0]).reshape(-1, 1, 1).astype(dtype) if own_T and lead else T
    losses, dz = poison(backend, (3, *lead), dtype), poison(backend, z.shape, dtype)
    Z, V, Y = move(backend, z), move(backend, v) if alpha else None, move(backend, y) if alpha < 1 else None
    backend.objective(Z, V, Y, T if np.ndim(T) == 0 else move(backend, T), alpha, losses[1, ...], dz)
    assert_unchanged(backend, *((a, x) for a, x in ((Z, z), (V, v), (Y, y)) if a is not None))

    T = np.float64(T)
    log_q, log_p, log_q_1 = (u - np.log(np.exp(u).sum(-1, keepdims=True)) for u in (z / T, v / T, precise(z)))
    onehot = y[..., None] == np.arange(N)
    rows_soft, rows_hard = T**2 * np.exp(log_p) * (log_p - log_q), -(onehot * log_q_1)
    soft, hard = T * (np.exp(log_q) - np.exp(log_p)), np.exp(log_q_1) - onehot
    loss_scale, dz_scale = alpha * np.max(T) ** 2 + 1, 1 / rows * (alpha * np.max(T) + 1)  # up to 10/T in an exponent
    loss = (alpha * rows_soft + (1 - alpha) * rows_hard).sum(-1).mean(-1)
    assert_within(backend, losses[1, ...], loss, 64, 10 / np.min(T) * loss_scale)
    assert_within(backend, dz, 1 / rows * (alpha * soft + (1 - alpha) * hard), 64, (1 + 10 / np.min(T)) * dz_scale)
    assert np.isnan(backend.to_host(losses)[[0, 2]]).all()


@pytest.mark.parametrize("factor", [-1.0, 0.3])
@pytest.mark.parametrize(("y_step", "x_step"), [(1, 1), (2, 1), (1, 2), (-1, 1), (2, -1)])
@few
@given(rng=rngs, dtype=dtypes, size=st.integers(2, 10_000))
def test_add_scaled_adds_a_multiple_of_contiguous_and_other_vectors(backend, y_step, x_step, factor, rng, dtype, size):
    y, x = rng.standard_normal((2, 2 * size)).astype(dtype)
    Y, X = move(backend, y), move(backend, x)
    view = Y[::y_step][:size]
    assert backend.add_scaled(view, X[::x_step][:size], factor) is view
    part, truth, scale = x[::x_step][:size], precise(y), np.abs(precise(y))
    truth[::y_step][:size] += factor * precise(part)
    scale[::y_step][:size] += np.abs(precise(part))
    assert_within(backend, Y, truth, 2, scale)
    assert_unchanged(backend, (X, x))


@few
@given(rng=rngs, dtype=dtypes, lead=leads, rows=sizes, n=sizes, beta=st.sampled_from([0.0, 0.9]))
def test_accumulate_sum_adds_the_sum_over_the_batch_to_beta_out(backend, rng, dtype, lead, rows, n, beta):
    x, out = rng.standard_normal((*lead, rows, n)).astype(dtype), rng.standard_normal((*lead, 1, n)).astype(dtype)
    X, OUT = move(backend, x), move(backend, out) if beta else poison(backend, out.shape, dtype)
    assert backend.accumulate_sum(X, out=OUT, beta=beta) is OUT
    kept = beta * precise(out)
    scale = np.abs(kept) + np.abs(precise(x)).sum(axis=-2, keepdims=True)
    assert_within(backend, OUT, kept + precise(x).sum(axis=-2, keepdims=True), 2 * (rows + 2), scale)
    assert_unchanged(backend, (X, x))


@pytest.mark.parametrize("size", [1, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
@settings(max_examples=5)
@given(rng=rngs, dtype=dtypes, m=st.floats(0, 0.99))
def test_nesterov_is_its_equations_on_vectors_longer_and_shorter_than_a_chunk(backend, size, rng, dtype, m):
    w, v, g = rng.standard_normal((3, size)).astype(dtype)
    W, V, G = (move(backend, x) for x in (w, v, g))
    backend.nesterov(W, V, G, m)
    w, v, g_long = precise(w), precise(v), precise(g)
    scale = np.abs(v) + np.abs(g_long)
    assert_within(backend, V, m * (v + g_long), 2, scale)
    assert_within(backend, W, w - (m * (v + g_long) + g_long), 4, np.abs(w) + 2 * scale)
    assert_unchanged(backend, (G, g))


@pytest.mark.parametrize("size", [1, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
@settings(max_examples=5)
@given(rng=rngs, dtype=dtypes, step=st.integers(1, 1000), decay=st.sampled_from([0.0, 0.5]))
def test_adamw_is_its_equations_on_vectors_longer_and_shorter_than_a_chunk(backend, size, rng, dtype, step, decay):
    w, m, v, g = rng.standard_normal((4, size)).astype(dtype)
    v = np.abs(v)
    W, M, V, G = (move(backend, x) for x in (w, m, v, g))
    backend.adamw(W, M, V, G, 0.125, 0.5, 0.75, 1e-8, decay, step)  # rates whose complements are exact
    w, m, v, g_long = (precise(x) for x in (w, m, v, g))
    m_scale = np.abs(m) + np.abs(g_long)
    m, v = 0.5 * m + 0.5 * g_long, 0.75 * v + 0.25 * g_long**2
    correction, root = 1 - 0.5**step, np.sqrt(v / (1 - 0.75**step)) + 1e-8
    assert_within(backend, M, m, 2, m_scale)
    assert_within(backend, V, v, 4)
    truth = w - 0.125 * (m / correction / root + decay * w)
    assert_within(backend, W, truth, 16, np.abs(w) + 0.125 * m_scale / correction / root)
    assert_unchanged(backend, (G, g))


@pytest.mark.parametrize("size", [1, CHUNK + 1])
@few
@given(rng=rngs, dtype=dtypes)
def test_flush_sets_what_lies_below_the_smallest_normal_number_to_0_and_leaves_the_rest(backend, size, rng, dtype):
    """On a GPU nothing: subnormal numbers are as fast as others there."""
    tiny = np.finfo(dtype).tiny
    x = (rng.choice([-1, 1], size) * tiny * 2 ** rng.uniform(-20, 20, size)).astype(dtype)
    x[0] = rng.choice(np.array([tiny, np.nextafter(tiny, dtype.type(0)), 0, np.inf, np.nan], dtype))
    on_device, halves = move(backend, x), move(backend, np.full(3, 1e-7, np.float16))
    backend.flush(on_device, halves)
    wanted = x if backend.name == "cupy" else np.where(abs(x) < tiny, dtype.type(0), x)
    np.testing.assert_array_equal(backend.to_host(on_device), wanted)
    assert (backend.to_host(halves) == np.float16(1e-7)).all()  # subnormal, but half of what float16 has is


@pytest.mark.parametrize("limit", [1e-6, 1.0, 1e4])
@few
@given(rng=rngs, dtype=dtypes, lead=leads, n_in=sizes, n_out=sizes)
def test_max_norm_scales_long_columns_to_the_limit_and_leaves_the_others_as_they_are(
    backend, limit, rng, dtype, lead, n_in, n_out
):
    w = (limit * rng.standard_normal((*lead, n_in, n_out)) * rng.integers(0, 3, n_out)).astype(dtype)  # some are 0
    W = move(backend, w)
    backend.max_norm(W, limit)
    norms = np.sqrt((precise(w) ** 2).sum(axis=-2, keepdims=True))
    assert_within(backend, W, precise(w) * np.minimum(1, limit / np.maximum(norms, 1e-9 * limit)), n_in + 8)
    short = np.broadcast_to(norms < 0.99 * limit, w.shape)
    np.testing.assert_array_equal(backend.to_host(W)[short], w[short])


# --- batches -----------------------------------------------------------------------------------------------------


@given(rng=rngs, rows=sizes, lead=leads, B=sizes, row=st.sampled_from([(), (5,), (2, 3)]),
       dtype=st.sampled_from([np.uint8, np.int64, np.float32]))  # fmt: skip
def test_take_gathers_whole_rows_for_every_replica(backend, rng, rows, lead, B, row, dtype):
    array, index = rng.integers(0, 256, (rows, *row)).astype(dtype), rng.integers(0, rows, (*lead, B))
    on_device, index_on_device = move(backend, array), move(backend, index)
    out = move(backend, np.full((*lead, B, *row), 77, dtype))
    assert backend.take(on_device, index_on_device, out=out) is out
    truth = [array[i] for i in index.ravel()]
    assert_unchanged(backend, (out, np.reshape(truth, out.shape)), (on_device, array), (index_on_device, index))


@given(rng=rngs, M=sizes, H=sizes, W=sizes, reach=st.integers(0, 4), dtype=st.sampled_from([np.uint8, np.float32]))
def test_translate_moves_each_image_by_its_own_offset_and_its_buffers_can_be_used_again(
    backend, rng, M, H, W, reach, dtype
):
    padded = move(backend, np.zeros((M, H + 2 * reach, W + 2 * reach), dtype))
    for _ in range(2):
        images, (dy, dx) = rng.integers(1, 256, (M, H, W)).astype(dtype), rng.integers(-reach, reach + 1, (2, M))
        truth = np.zeros_like(images)
        for i, y, x in np.ndindex(M, H, W):
            if 0 <= y + dy[i] < H and 0 <= x + dx[i] < W:
                truth[i, y + dy[i], x + dx[i]] = images[i, y, x]
        arguments, out = [move(backend, a) for a in (images, dy, dx)], poison(backend, images.shape, dtype)
        assert backend.translate(*arguments, reach, padded, out) is out
        assert_unchanged(backend, (out, truth), *zip(arguments, (images, dy, dx), strict=True))


@given(rng=rngs, shape=st.tuples(sizes, sizes), out_dtype=dtypes)
def test_to_unit_interval_divides_pixels_by_255_and_copies_anything_else(backend, rng, shape, out_dtype):
    pixels, out = rng.choice([0, 1, 127, 254, 255], shape).astype(np.uint8), poison(backend, shape, out_dtype)
    assert backend.to_unit_interval(move(backend, pixels), out) is out
    assert_within(backend, out, precise(np.zeros(1, out_dtype)) + pixels / precise(np.full(1, 255, out_dtype)), 2)
    assert backend.to_host(out).max() <= 1
    for x in (rng.standard_normal(shape), rng.standard_normal(shape).astype(np.float32)):
        backend.to_unit_interval(move(backend, x), out)
        assert_unchanged(backend, (out, x.astype(out_dtype)))


# --- a training, and the switch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [7, [7, 8]])
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_training_gives_the_same_network_on_every_backend(backend, seeds, nesterov):
    def train(on):
        rng = np.random.default_rng(0)
        data = md.Dataset(rng.integers(0, 256, (50, 4, 4), dtype=np.uint8), rng.integers(0, 3, 50), on)
        teacher = md.Network.mlp([16, 8, 3], backend=on, dtype=np.float64)
        data = md.TransferSet.from_teacher(teacher, data, jitter=1)
        student = md.Network.mlp([16, 20, 20, 3], seeds=seeds, dropout=0.3, input_dropout=0.2, backend=on, dtype=float)
        optimizer = md.SGD(md.linear_decay(0.1), nesterov=nesterov, max_norm=1.5)
        objective = md.Objective(temperature=3, alpha=0.5)
        md.fit(student, data, objective, optimizer, epochs=3, batch_size=16, jitter=1, progress=False)
        return on.to_host(student.parameters)

    truth = train(Backend())
    assert np.abs(train(backend) - truth).max() <= 1e-12 * np.abs(truth).max()


@pytest.fixture
def unset(monkeypatch):
    """No backend chosen yet, by anybody."""
    monkeypatch.setattr("minidistill.backend._current", None)
    monkeypatch.delenv("MINIDISTILL_BACKEND", raising=False)
    return monkeypatch


def fake_backend():
    return CupyBackend(xp=fake_cupy)


def test_numpy_is_current_until_another_is_set(unset):
    assert md.get_backend().name == "numpy"
    assert md.get_backend() is md.get_backend()
    chosen = fake_backend()
    assert md.set_backend(chosen) is chosen is md.get_backend()
    assert md.set_backend("numpy") is md.get_backend() is not chosen


def test_the_environment_variable_names_the_first_backend_and_is_read_once(unset):
    unset.setitem(sys.modules, "cupy", None)
    unset.setenv("MINIDISTILL_BACKEND", "cupy")
    with pytest.raises(md.BackendUnavailable):
        md.get_backend()
    unset.setenv("MINIDISTILL_BACKEND", "")
    assert md.get_backend().name == "numpy"
    unset.setenv("MINIDISTILL_BACKEND", "cupy")
    assert md.get_backend().name == "numpy"


@pytest.mark.parametrize("name", ["torch", "", "NumPy", None, 3])
def test_an_unknown_backend_is_refused_by_name_and_leaves_the_current_one(unset, name):
    current = md.set_backend(fake_backend())
    with pytest.raises(md.ArgumentError) as caught:
        md.set_backend(name)
    assert str(caught.value) == f"backend must be one of 'numpy', 'cupy', got {name!r}"
    assert md.get_backend() is current


def test_an_unknown_backend_in_the_environment_is_refused_with_the_name_of_the_variable(unset):
    unset.setenv("MINIDISTILL_BACKEND", "torch")
    with pytest.raises(md.ArgumentError, match=r"^MINIDISTILL_BACKEND must be one of 'numpy', 'cupy', got 'torch'$"):
        md.get_backend()


def test_without_cupy_the_error_says_what_to_install(unset):
    unset.setitem(sys.modules, "cupy", None)
    with pytest.raises(md.BackendUnavailable, match=r"^backend 'cupy' needs the package CuPy.*: sh setup\.sh cuda12x"):
        md.set_backend("cupy")


def test_with_cupy_but_no_gpu_the_error_says_that_the_gpu_is_missing(unset):
    cupy = types.ModuleType("cupy")
    cupy.__version__, cupy.is_available = "14.2.0", lambda: False
    unset.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(md.BackendUnavailable, match=r"^backend 'cupy' needs an NVIDIA GPU: CuPy 14\.2\.0 is installed"):
        md.set_backend("cupy")
    cupy.is_available = lambda: True
    vars(cupy).update({name: getattr(np, name) for name in XP_FUNCTIONS.split()})
    assert md.set_backend("cupy").xp is cupy


def test_networks_and_data_keep_the_backend_with_which_they_were_made(unset):
    md.set_backend(fake_backend())
    network, data = md.Network.mlp([4, 3, 2]), md.Dataset(np.ones((6, 4)), np.arange(6) % 2)
    md.set_backend("numpy")
    assert type(network.parameters) is type(data.inputs) is type(network.predict(np.ones((2, 4)))) is fake_cupy.ndarray
    md.fit(network, data, md.Objective(alpha=0), md.SGD(0.1), epochs=1, progress=False)
    assert type(network.parameters) is fake_cupy.ndarray
    assert type(md.Network.mlp([4, 3, 2]).parameters) is np.ndarray


# --- the BLAS of the NumPy backend -------------------------------------------------------------------------------


def test_blas_is_the_one_that_the_environment_names(unset):
    unset.setenv("MINIDISTILL_BLAS", "numpy")
    assert find_library() is None
    assert type(md.set_backend("numpy")) is Backend
    unset.setenv("MINIDISTILL_BLAS", "accelerate")
    with pytest.raises(md.ArgumentError, match=r"^MINIDISTILL_BLAS must be one of .*, got 'accelerate'"):
        md.set_backend("numpy")


def test_a_blas_that_is_not_installed_is_an_error_that_says_what_to_install(unset, tmp_path):
    unset.setattr(sys, "prefix", str(tmp_path))
    unset.setenv("MINIDISTILL_BLAS", "mkl")
    with pytest.raises(md.BackendUnavailable, match=r"got 'mkl': sh setup\.sh mkl"):
        md.set_backend("numpy")


@pytest.mark.parametrize("intel", [True, False])
def test_mkl_is_taken_unasked_on_the_processors_of_its_maker_alone(unset, intel):
    unset.delenv("MINIDISTILL_BLAS", raising=False)
    unset.setattr(blas, "_is_intel", lambda: intel)
    unset.setattr(blas, "_files", lambda folders, part: iter([part]))
    unset.setattr(blas, "Library", lambda path, is_numpys: types.SimpleNamespace(path=path, routines=True))
    assert find_library().path == ("mkl_rt" if intel else "openblas")


@pytest.mark.parametrize("name", ["openblas", "mkl"])
def test_a_library_tells_its_version_threads_and_kernels(name):
    try:
        library = find_library(name)
    except md.BackendUnavailable as error:
        pytest.skip(str(error))
    assert re.match(r"(OpenBLAS|MKL) \d+\.\d+.*, \d+ threads?, kernels for \w+.*, /", str(library))
